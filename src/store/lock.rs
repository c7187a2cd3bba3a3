//! One import, and one run, at a time on one database.
//!
//! Held by the operating system (a lock file beside an embedded database) or by the database (a row
//! lock on PostgreSQL), so that it ends with its holder: a command killed half-way can be given again
//! at once. Absent on purpose: leases with a clock, advisory locks (not visible through a second
//! coordinator of a distributed PostgreSQL).

use std::fs::{File, OpenOptions, TryLockError};

use sqlx::{Postgres, Transaction};

use super::{Db, DbError, Pools, Result};

/// What may run only once at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    Import,
    Run,
}

impl Job {
    fn name(self) -> &'static str {
        match self {
            Job::Import => "import",
            Job::Run => "run",
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Job::Import => "another import",
            Job::Run => "another reconciliation run",
        }
    }
}

/// Held until dropped or until the process ends.
pub struct JobLock {
    _file: Option<File>,
    _row: Option<Transaction<'static, Postgres>>,
}

impl Db {
    /// Takes the lock of a job.
    ///
    /// # Errors
    /// [`DbError::Busy`] where another process holds it: temporary, try again later.
    pub async fn lock(&self, job: Job) -> Result<JobLock> {
        match &self.pools {
            Pools::Sqlite { .. } => {
                let file = match &self.path {
                    Some(path) => Some(lock_file(path, job)?),
                    None => None,
                };
                Ok(JobLock {
                    _file: file,
                    _row: None,
                })
            }
            Pools::Postgres { pool } => {
                let doing = "locking a job";
                let mut t = pool.begin().await.map_err(DbError::sql(doing))?;
                let locked = sqlx::query("SELECT 1 FROM job_lock WHERE job = $1 FOR UPDATE NOWAIT")
                    .bind(job.name())
                    .execute(&mut *t)
                    .await;
                match locked {
                    Ok(_) => Ok(JobLock {
                        _file: None,
                        _row: Some(t),
                    }),
                    // lock_not_available
                    Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some("55P03") => {
                        Err(DbError::Busy(job.in_words()))
                    }
                    Err(source) => Err(DbError::Sql { doing, source }),
                }
            }
        }
    }
}

fn lock_file(database: &std::path::Path, job: Job) -> Result<File> {
    let mut path = database.as_os_str().to_owned();
    path.push(format!(".{}-lock", job.name()));
    let failed = |source| DbError::Lock {
        path: path.to_string_lossy().into_owned(),
        source,
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DbError::Busy(job.in_words())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
