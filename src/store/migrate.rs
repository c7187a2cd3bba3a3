//! Brings a database to this version. Forward only; a released file is never edited.

use sqlx::{PgPool, SqlitePool};

use super::{DbError, Result};

/// Tables whose rows are never changed or removed: guarded by triggers on SQLite and by grants on
/// PostgreSQL, both in the first migration.
pub const APPEND_ONLY_TABLES: &[&str] = &[
    "raw_file",
    "district",
    "licence",
    "institution",
    "institution_directory",
    "account",
    "account_directory",
    "contract",
    "contract_directory",
    "settlement",
    "account_freeze",
    "statement_day",
    "posting",
    "bank_line",
    "policy_version",
];

pub(super) async fn sqlite(pool: &SqlitePool) -> Result<()> {
    sqlx::migrate!("migrations/sqlite")
        .run(pool)
        .await
        .map_err(DbError::Migrate)
}

pub(super) async fn postgres(pool: &PgPool) -> Result<()> {
    sqlx::migrate!("migrations/postgres")
        .run(pool)
        .await
        .map_err(DbError::Migrate)
}
