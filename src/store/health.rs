//! How the database does: whether it is there and of this version, and how many connections are in use.

use super::{Db, DbError, Pools, Result, migrate};

/// Connections of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUse {
    pub pool: &'static str,
    pub used: u64,
    pub idle: u64,
    pub max: u64,
}

impl Db {
    /// Asks the database whether it is there and its schema is this program's.
    ///
    /// # Errors
    /// A database that does not answer, is gone, or has another schema.
    pub async fn is_current(&self) -> Result<()> {
        match &self.pools {
            Pools::Sqlite { readers, .. } => {
                // What is open goes on working after its file was removed, and is lost at the end.
                if let Some(path) = self.path.as_ref().filter(|path| !path.exists()) {
                    return Err(DbError::Unsafe(format!("{} is gone", path.display())));
                }
                migrate::sqlite(readers, false).await
            }
            Pools::Postgres { pool } => migrate::postgres(pool, false).await,
            Pools::Rehearsal(_) => Ok(()),
        }
    }

    /// How many connections are in use.
    pub fn pools(&self) -> Vec<PoolUse> {
        match &self.pools {
            Pools::Sqlite { writer, readers } => {
                vec![of_pool("writer", writer), of_pool("readers", readers)]
            }
            Pools::Postgres { pool } => vec![of_pool("all", pool)],
            Pools::Rehearsal(_) => Vec::new(),
        }
    }
}

fn of_pool<D: sqlx::Database>(name: &'static str, pool: &sqlx::Pool<D>) -> PoolUse {
    let idle = u64::try_from(pool.num_idle()).unwrap_or(u64::MAX);
    PoolUse {
        pool: name,
        // The two are not read at once.
        used: u64::from(pool.size()).saturating_sub(idle),
        idle,
        max: u64::from(pool.options().get_max_connections()),
    }
}
