//! How much of a database a connection keeps at hand: whoever passes a large file through, each page once,
//! needs little of it. PostgreSQL's server sees to that itself.

use super::{Conn, DbError, Result, Tx};

/// What a SQLite connection keeps at hand.
pub(super) const CACHE: &str = "-65536";
/// What is left of it while a large file passes through.
const NARROW: &str = "PRAGMA cache_size = -4096";
const WIDE: &str = "PRAGMA cache_size = -65536";

impl Tx {
    /// Keeps little of the database at hand from now on, or as much as usual again. Holds for the connection,
    /// beyond the transaction.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn narrow_cache(&mut self, narrow: bool) -> Result<()> {
        if let Conn::Sqlite(t) = &mut *self.conn {
            sqlx::query(if narrow { NARROW } else { WIDE })
                .execute(&mut **t)
                .await
                .map_err(DbError::sql("setting the size of the cache"))?;
        }
        Ok(())
    }
}
