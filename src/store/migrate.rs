//! Brings a database to this version. Forward only; a released file is never edited.
//!
//! The migrator runs only where something is pending, so that a login without the right to change the
//! schema can serve a database that its owner has migrated.

use sqlx::migrate::Migrator;
use sqlx::{PgPool, SqlitePool};

use super::{DbError, Result};

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// Tables whose rows are never changed or removed: guarded by triggers on SQLite and by grants on
/// PostgreSQL, in the migrations that make them.
pub const APPEND_ONLY_TABLES: &[&str] = &[
    "raw_file",
    "raw_piece",
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
    "statement",
    "statement_dispute",
    "statement_exemption",
    "delivery_decision",
    "decision",
    "decision_item",
    "decision_event",
    "news",
    "posting",
    "posting_note",
    "policy_version",
];

/// How a database's schema stands to this version of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Schema {
    Empty,
    Older,
    Current,
}

pub(super) async fn sqlite(pool: &SqlitePool, may_write: bool) -> Result<()> {
    let table: Option<(String,)> =
        sqlx::query_as("SELECT name FROM sqlite_master WHERE name = '_sqlx_migrations'")
            .fetch_optional(pool)
            .await
            .map_err(DbError::sql("looking for the schema"))?;
    let applied = if table.is_none() {
        Vec::new()
    } else {
        applied_sqlite(pool).await?
    };
    if wanted(&SQLITE, &applied, may_write)? {
        SQLITE.run(pool).await.map_err(DbError::Migrate)?;
    }
    Ok(())
}

pub(super) async fn postgres(pool: &PgPool, may_write: bool) -> Result<()> {
    let (table,): (bool,) = sqlx::query_as("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(pool)
        .await
        .map_err(DbError::sql("looking for the schema"))?;
    let applied = if table {
        applied_postgres(pool).await?
    } else {
        Vec::new()
    };
    if wanted(&POSTGRES, &applied, may_write)? {
        POSTGRES.run(pool).await.map_err(DbError::Migrate)?;
    }
    Ok(())
}

async fn applied_sqlite(pool: &SqlitePool) -> Result<Vec<i64>> {
    let rows: Vec<(i64,)> = sqlx::query_as("SELECT version FROM _sqlx_migrations")
        .fetch_all(pool)
        .await
        .map_err(DbError::sql("reading the schema's version"))?;
    Ok(rows.into_iter().map(|r| r.0).collect())
}

async fn applied_postgres(pool: &PgPool) -> Result<Vec<i64>> {
    let rows: Vec<(i64,)> = sqlx::query_as("SELECT version FROM _sqlx_migrations")
        .fetch_all(pool)
        .await
        .map_err(DbError::sql("reading the schema's version"))?;
    Ok(rows.into_iter().map(|r| r.0).collect())
}

/// Whether the migrator has to run.
///
/// # Errors
/// A command that only reads and finds no schema, or an older one; a schema newer than the program.
fn wanted(migrator: &Migrator, applied: &[i64], may_write: bool) -> Result<bool> {
    let known: Vec<i64> = migrator.iter().map(|m| m.version).collect();
    if let Some(newer) = applied.iter().find(|v| !known.contains(v)) {
        return Err(DbError::Unsafe(format!(
            "the database has schema version {newer}, which this program does not know; use the \
             program that made it or a newer one"
        )));
    }
    let schema = if applied.is_empty() {
        Schema::Empty
    } else if applied.len() < known.len() {
        Schema::Older
    } else {
        Schema::Current
    };
    match (schema, may_write) {
        (Schema::Current, _) => Ok(false),
        (_, true) => Ok(true),
        (Schema::Empty, false) => Err(DbError::Absent("the database is empty".to_owned())),
        (Schema::Older, false) => Err(DbError::Unsafe(
            "the database has an older schema; bring it up to date: jintuo migrate".to_owned(),
        )),
    }
}
