//! Appends, upserts and look-ups of many rows at once: the one place whose SQL is built at run time.
//!
//! Rows come as columns. SQLite gets multi-row `VALUES` with plain `?` (a numbered parameter would be
//! searched for in a list on every bind), PostgreSQL gets `UNNEST` over one array per column.
//! Give rows in key order: out of order, a B-tree insert costs several times as much.
//!
//! Table and column names are literals of this crate, never data.

use std::fmt::Write as _;

use chrono::NaiveDate;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, FromRow};

use super::{Conn, DbError, Result, Tx};

/// Rows in one SQLite statement; bounded also by [`SQLITE_BINDS_MAX`].
const SQLITE_ROWS: usize = 500;
/// SQLite's own limit of bind parameters in one statement.
const SQLITE_BINDS_MAX: usize = 32_766;
/// Rows in one PostgreSQL statement: bounds the arrays held in memory on both sides.
const POSTGRES_ROWS: usize = 20_000;

/// One column of a bulk statement, all rows.
#[derive(Debug)]
pub enum Column<'a> {
    Int(Vec<i64>),
    OptInt(Vec<Option<i64>>),
    Text(Vec<&'a str>),
    OptText(Vec<Option<&'a str>>),
    Bytes(Vec<&'a [u8]>),
    Date(Vec<Option<NaiveDate>>),
}

impl Column<'_> {
    fn len(&self) -> usize {
        match self {
            Column::Int(v) => v.len(),
            Column::OptInt(v) => v.len(),
            Column::Text(v) => v.len(),
            Column::OptText(v) => v.len(),
            Column::Bytes(v) => v.len(),
            Column::Date(v) => v.len(),
        }
    }

    fn postgres_type(&self) -> &'static str {
        match self {
            Column::Int(_) | Column::OptInt(_) => "bigint[]",
            Column::Text(_) | Column::OptText(_) => "text[]",
            Column::Bytes(_) => "bytea[]",
            Column::Date(_) => "date[]",
        }
    }

    fn bind_sqlite(&self, row: usize, args: &mut SqliteArguments) -> Result<()> {
        match self {
            Column::Int(v) => args.add(v[row]),
            Column::OptInt(v) => args.add(v[row]),
            Column::Text(v) => args.add(v[row]),
            Column::OptText(v) => args.add(v[row]),
            Column::Bytes(v) => args.add(v[row]),
            Column::Date(v) => args.add(v[row]),
        }
        .map_err(|e| DbError::Sql {
            doing: "binding a value",
            source: sqlx::Error::Encode(e),
        })
    }

    fn bind_postgres(&self, rows: std::ops::Range<usize>, args: &mut PgArguments) -> Result<()> {
        match self {
            Column::Int(v) => args.add(&v[rows]),
            Column::OptInt(v) => args.add(&v[rows]),
            Column::Text(v) => args.add(&v[rows]),
            Column::OptText(v) => args.add(&v[rows]),
            Column::Bytes(v) => args.add(&v[rows]),
            Column::Date(v) => args.add(&v[rows]),
        }
        .map_err(|e| DbError::Sql {
            doing: "binding an array",
            source: sqlx::Error::Encode(e),
        })
    }
}

/// Named columns of equal length.
pub type Columns<'a> = Vec<(&'static str, Column<'a>)>;

/// What to do with a row whose key is present.
#[derive(Clone, Copy, Debug)]
enum OnConflict {
    Fail,
    Skip,
    Replace {
        key: &'static [&'static str],
    },
    Add {
        table: &'static str,
        key: &'static [&'static str],
    },
}

/// Appends rows; a key that is present is an error, because the caller has looked before.
pub async fn append(tx: &mut Tx, table: &'static str, columns: Columns<'_>) -> Result<()> {
    insert(tx, table, columns, OnConflict::Fail)
        .await
        .map(|_| ())
}

/// Appends rows, leaving those whose key is present as they are. Returns how many were new.
pub async fn append_new(tx: &mut Tx, table: &'static str, columns: Columns<'_>) -> Result<u64> {
    insert(tx, table, columns, OnConflict::Skip).await
}

/// Inserts or replaces rows by key.
pub async fn upsert(
    tx: &mut Tx,
    table: &'static str,
    key: &'static [&'static str],
    columns: Columns<'_>,
) -> Result<()> {
    insert(tx, table, columns, OnConflict::Replace { key })
        .await
        .map(|_| ())
}

/// Inserts rows, or adds their values to the row of the same key.
pub async fn accumulate(
    tx: &mut Tx,
    table: &'static str,
    key: &'static [&'static str],
    columns: Columns<'_>,
) -> Result<()> {
    insert(tx, table, columns, OnConflict::Add { table, key })
        .await
        .map(|_| ())
}

async fn insert(
    tx: &mut Tx,
    table: &'static str,
    columns: Columns<'_>,
    on_conflict: OnConflict,
) -> Result<u64> {
    let total = columns.first().map_or(0, |(_, c)| c.len());
    debug_assert!(
        columns.iter().all(|(_, c)| c.len() == total),
        "columns of equal length"
    );
    if total == 0 {
        return Ok(0);
    }
    let mut head = format!("INSERT INTO {table} (");
    push_names(&mut head, &columns, "");
    head.push_str(") ");
    let tail = conflict_clause(&columns, on_conflict);
    let mut affected = 0;
    match &mut tx.conn {
        Conn::Sqlite(t) => {
            let step = SQLITE_ROWS.min(SQLITE_BINDS_MAX / columns.len());
            let full = format!("{head}VALUES {}{tail}", placeholders(columns.len(), step));
            let mut from = 0;
            while from < total {
                let to = (from + step).min(total);
                let args = sqlite_arguments(&columns, from..to)?;
                // Only the full-size statement is worth a place in the statement cache.
                let query = if to - from == step {
                    sqlx::query_with(AssertSqlSafe(full.clone()), args)
                } else {
                    let values = placeholders(columns.len(), to - from);
                    sqlx::query_with(AssertSqlSafe(format!("{head}VALUES {values}{tail}")), args)
                        .persistent(false)
                };
                affected += query
                    .execute(&mut **t)
                    .await
                    .map_err(DbError::sql("inserting rows"))?
                    .rows_affected();
                from = to;
            }
        }
        Conn::Postgres(t) => {
            let sql = format!("{head}SELECT * FROM {}{tail}", unnest(&columns));
            let mut from = 0;
            while from < total {
                let to = (from + POSTGRES_ROWS).min(total);
                let args = postgres_arguments(&columns, from..to)?;
                affected += sqlx::query_with(AssertSqlSafe(sql.clone()), args)
                    .execute(&mut **t)
                    .await
                    .map_err(DbError::sql("inserting rows"))?
                    .rows_affected();
                from = to;
            }
        }
    }
    Ok(affected)
}

/// Runs a statement that changes rows, `WITH wanted (…) …`, once per portion of keys; returns how many
/// rows it changed.
async fn change(tx: &mut Tx, keys: Columns<'_>, body: &str) -> Result<u64> {
    let total = keys.first().map_or(0, |(_, c)| c.len());
    let mut names = String::new();
    push_names(&mut names, &keys, "");
    let mut affected = 0;
    let mut from = 0;
    while from < total {
        let step = match &tx.conn {
            Conn::Sqlite(_) => SQLITE_ROWS.min(SQLITE_BINDS_MAX / keys.len()),
            Conn::Postgres(_) => POSTGRES_ROWS,
        };
        let to = (from + step).min(total);
        affected += match &mut tx.conn {
            Conn::Sqlite(t) => {
                let values = placeholders(keys.len(), to - from);
                let sql = format!("WITH wanted ({names}) AS (VALUES {values}) {body}");
                let args = sqlite_arguments(&keys, from..to)?;
                let query =
                    sqlx::query_with(AssertSqlSafe(sql), args).persistent(to - from == step);
                query.execute(&mut **t).await.map(|r| r.rows_affected())
            }
            Conn::Postgres(t) => {
                let sql = format!(
                    "WITH wanted ({names}) AS (SELECT * FROM {}) {body}",
                    unnest(&keys)
                );
                let args = postgres_arguments(&keys, from..to)?;
                let query = sqlx::query_with(AssertSqlSafe(sql), args);
                query.execute(&mut **t).await.map(|r| r.rows_affected())
            }
        }
        .map_err(DbError::sql("changing rows"))?;
        from = to;
    }
    Ok(affected)
}

/// Deletes rows by key.
pub async fn delete(tx: &mut Tx, table: &'static str, keys: Columns<'_>) -> Result<u64> {
    let names: Vec<&str> = keys.iter().map(|(name, _)| *name).collect();
    let (names, same) = (names.join(", "), equal(table, &names));
    let body =
        format!("DELETE FROM {table} WHERE EXISTS (SELECT {names} FROM wanted WHERE {same})");
    change(tx, keys, &body).await
}

/// Ends result rows at a run: sets `to_run` on the rows of these keys.
///
/// # Errors
/// A key that is not stored: the caller has just read it in the same transaction.
pub async fn end_at(
    tx: &mut Tx,
    table: &'static str,
    run_id: i64,
    mut keys: Columns<'_>,
) -> Result<()> {
    let total = keys.first().map_or(0, |(_, c)| c.len());
    let names: Vec<&str> = keys.iter().map(|(name, _)| *name).collect();
    let body = format!(
        "UPDATE {table} SET to_run = wanted.ending_run FROM wanted WHERE {}",
        equal(table, &names)
    );
    keys.push(("ending_run", Column::Int(vec![run_id; total])));
    let changed = change(tx, keys, &body).await?;
    if changed == total as u64 {
        Ok(())
    } else {
        Err(DbError::Inconsistent(format!(
            "{total} rows of {table} were to end at run {run_id}, {changed} did"
        )))
    }
}

/// Ends at a run every row that stands open for these keys; there may be none.
pub async fn end_open_at(
    tx: &mut Tx,
    table: &'static str,
    run_id: i64,
    open: i64,
    mut keys: Columns<'_>,
) -> Result<u64> {
    let total = keys.first().map_or(0, |(_, c)| c.len());
    keys.push(("to_run", Column::Int(vec![open; total])));
    let names: Vec<&str> = keys.iter().map(|(name, _)| *name).collect();
    let body = format!(
        "UPDATE {table} SET to_run = wanted.ending_run FROM wanted WHERE {}",
        equal(table, &names)
    );
    keys.push(("ending_run", Column::Int(vec![run_id; total])));
    change(tx, keys, &body).await
}

fn equal(table: &str, names: &[&str]) -> String {
    let same: Vec<String> = names
        .iter()
        .map(|name| format!("{table}.{name} = wanted.{name}"))
        .collect();
    same.join(" AND ")
}

/// Runs `body` once per portion of keys. The keys are visible to it as the table `wanted` with the
/// columns' names; join with `CROSS JOIN … WHERE` so that SQLite keeps `wanted` outermost.
pub async fn lookup<R>(tx: &mut Tx, keys: Columns<'_>, body: &'static str) -> Result<Vec<R>>
where
    R: Send + Unpin + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow>,
{
    let total = keys.first().map_or(0, |(_, c)| c.len());
    let mut found = Vec::new();
    let mut names = String::new();
    push_names(&mut names, &keys, "");
    match &mut tx.conn {
        Conn::Sqlite(t) => {
            let step = SQLITE_ROWS.min(SQLITE_BINDS_MAX / keys.len());
            let sql = |rows: usize| {
                let values = placeholders(keys.len(), rows);
                format!("WITH wanted ({names}) AS (VALUES {values}) {body}")
            };
            let full = sql(step);
            let mut from = 0;
            while from < total {
                let to = (from + step).min(total);
                let args = sqlite_arguments(&keys, from..to)?;
                let text = if to - from == step {
                    full.clone()
                } else {
                    sql(to - from)
                };
                let query = sqlx::query_as_with::<_, R, _>(AssertSqlSafe(text), args)
                    .persistent(to - from == step);
                found.extend(
                    query
                        .fetch_all(&mut **t)
                        .await
                        .map_err(DbError::sql("looking rows up"))?,
                );
                from = to;
            }
        }
        Conn::Postgres(t) => {
            let sql = format!(
                "WITH wanted ({names}) AS (SELECT * FROM {}) {body}",
                unnest(&keys)
            );
            let mut from = 0;
            while from < total {
                let to = (from + POSTGRES_ROWS).min(total);
                let args = postgres_arguments(&keys, from..to)?;
                found.extend(
                    sqlx::query_as_with::<_, R, _>(AssertSqlSafe(sql.clone()), args)
                        .fetch_all(&mut **t)
                        .await
                        .map_err(DbError::sql("looking rows up"))?,
                );
                from = to;
            }
        }
    }
    Ok(found)
}

/// Streams a query's rows, calling `take` on each; the rows are never all in memory.
pub async fn each<R>(
    tx: &mut Tx,
    sql: &'static str,
    binds: &[i64],
    mut take: impl FnMut(R) -> Result<()>,
) -> Result<()>
where
    R: Send + Unpin + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow>,
{
    crate::on!(tx, c => {
        let query = binds.iter().fold(sqlx::query_as::<_, R>(sql), |q, bind| q.bind(*bind));
        let mut rows = query.fetch(c);
        while let Some(row) = std::future::poll_fn(|cx| rows.as_mut().poll_next(cx)).await {
            take(row.map_err(DbError::sql("reading rows"))?)?;
        }
    });
    Ok(())
}

fn push_names(sql: &mut String, columns: &Columns<'_>, prefix: &str) {
    for (i, (name, _)) in columns.iter().enumerate() {
        let comma = if i > 0 { ", " } else { "" };
        let _ = write!(sql, "{comma}{prefix}{name}");
    }
}

fn conflict_clause(columns: &Columns<'_>, on_conflict: OnConflict) -> String {
    match on_conflict {
        OnConflict::Fail => String::new(),
        OnConflict::Skip => " ON CONFLICT DO NOTHING".to_owned(),
        OnConflict::Replace { key } => {
            update_clause(columns, key, |name| format!("{name} = excluded.{name}"))
        }
        OnConflict::Add { table, key } => update_clause(columns, key, |name| {
            format!("{name} = {table}.{name} + excluded.{name}")
        }),
    }
}

fn update_clause(columns: &Columns<'_>, key: &[&str], set: impl Fn(&str) -> String) -> String {
    let sets: Vec<String> = columns
        .iter()
        .filter(|(name, _)| !key.contains(name))
        .map(|(name, _)| set(name))
        .collect();
    format!(
        " ON CONFLICT ({}) DO UPDATE SET {}",
        key.join(", "),
        sets.join(", ")
    )
}

fn placeholders(columns: usize, rows: usize) -> String {
    let row = format!("({}?)", "?,".repeat(columns - 1));
    let mut sql = String::with_capacity((row.len() + 1) * rows);
    for i in 0..rows {
        if i > 0 {
            sql.push(',');
        }
        sql.push_str(&row);
    }
    sql
}

fn unnest(columns: &Columns<'_>) -> String {
    let mut sql = "UNNEST(".to_owned();
    for (i, (_, column)) in columns.iter().enumerate() {
        let comma = if i > 0 { ", " } else { "" };
        let _ = write!(sql, "{comma}${}::{}", i + 1, column.postgres_type());
    }
    sql.push(')');
    sql
}

fn sqlite_arguments(
    columns: &Columns<'_>,
    rows: std::ops::Range<usize>,
) -> Result<SqliteArguments> {
    let mut args = SqliteArguments::default();
    args.reserve(columns.len() * rows.len(), 0);
    for row in rows {
        for (_, column) in columns {
            column.bind_sqlite(row, &mut args)?;
        }
    }
    Ok(args)
}

fn postgres_arguments(columns: &Columns<'_>, rows: std::ops::Range<usize>) -> Result<PgArguments> {
    let mut args = PgArguments::default();
    for (_, column) in columns {
        column.bind_postgres(rows.clone(), &mut args)?;
    }
    Ok(args)
}
