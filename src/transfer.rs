//! The books from one database into another, of the same kind or not: SQLite, PostgreSQL, Citus.
//!
//! Invariants: the target is new, and what is written into it is one transaction: a copy that is cut off
//! leaves nothing behind, and the same command begins anew. Before that transaction ends every table has been
//! read back from the target and has the rows and the digest it has in the source. Nothing is imported or
//! reconciled in either meanwhile. The source stays as it is.
//! Absent on purpose: resuming half-way (a table could have grown meanwhile); copying a part of the books.

use crate::store::lock::Job;
use crate::store::transfer::{self, Content, Other, Table};
use crate::store::{Db, DbError, Tx};

/// Why books were not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("the target has rows of {0} already: the books go into a new database")]
    NotEmpty(String),
    #[error("{0} is not in the target what it is in the source; nothing was copied")]
    Differs(String),
    #[error("copying the books")]
    Db(#[from] DbError),
}

/// A table, in the source and in the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    pub table: String,
    pub source: Content,
    pub target: Content,
}

impl Compared {
    pub fn agrees(&self) -> bool {
        self.source == self.target
    }
}

/// Copies every table; `done` is called with each that has been copied and read back.
///
/// # Errors
/// A target that has rows, a job that is running in either, a value that the target does not take.
pub async fn copy(
    from: &Db,
    to: &Db,
    mut done: impl FnMut(&Compared),
) -> Result<Vec<Compared>, CopyError> {
    let _held = (
        from.lock(Job::Import).await?,
        from.lock(Job::Run).await?,
        to.lock(Job::Import).await?,
        to.lock(Job::Run).await?,
    );
    let mut source = from.begin_read().await?;
    let mut target = to.begin_write().await?;
    let tables = transfer::tables(&mut source, &mut target).await?;
    for table in &tables {
        if !transfer::is_empty(&mut target, table).await? {
            return Err(CopyError::NotEmpty(table.name.clone()));
        }
    }
    let mut all = Vec::with_capacity(tables.len());
    for table in &tables {
        let poured = transfer::pour(&mut source, table, Other::Append(&mut target)).await?;
        let compared = read_back((&mut source, &mut target), table, poured).await?;
        if !compared.agrees() {
            return Err(CopyError::Differs(compared.table));
        }
        done(&compared);
        all.push(compared);
    }
    target.commit().await?;
    source.rollback().await?;
    Ok(all)
}

/// Reads every table in both and compares them.
///
/// # Errors
/// Schemas that differ, a database that cannot be read.
pub async fn compare(
    from: &Db,
    to: &Db,
    mut done: impl FnMut(&Compared),
) -> Result<Vec<Compared>, CopyError> {
    let mut source = from.begin_read().await?;
    let mut target = to.begin_read().await?;
    let mut all = Vec::new();
    for table in transfer::tables(&mut source, &mut target).await? {
        let read = transfer::pour(&mut source, &table, Other::Awake(&mut target)).await?;
        let compared = read_back((&mut source, &mut target), &table, read).await?;
        done(&compared);
        all.push(compared);
    }
    target.rollback().await?;
    source.rollback().await?;
    Ok(all)
}

async fn read_back(
    (source, target): (&mut Tx, &mut Tx),
    table: &Table,
    read: Content,
) -> Result<Compared, DbError> {
    Ok(Compared {
        table: table.name.clone(),
        source: read,
        target: transfer::pour(target, table, Other::Awake(source)).await?,
    })
}
