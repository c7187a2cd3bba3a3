//! Appends, upserts and look-ups of many rows at once: with [`super::transfer`] the one place whose SQL is
//! built at run time.
//!
//! Rows come as columns. SQLite gets multi-row `VALUES` with plain `?` (a numbered parameter would be
//! searched for in a list on every bind), PostgreSQL gets `UNNEST` over one array per column, or a binary
//! COPY where many rows are only appended. What is distributed over nodes gets a COPY always: the coordinator
//! hands its rows on as they come, while it would first collect those of an `INSERT … SELECT`; and keys that are
//! looked up there are materialized.
//! Give rows in key order: out of order, a B-tree insert costs several times as much.
//!
//! Table and column names are literals of this crate or the schema's own, never data.

mod columns;

pub use columns::{Column, Columns, bytes, dates, ints, opt_ints, opt_texts, repeated, texts};
pub(super) use columns::{rows, same_key};

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, FromRow};

use super::{Conn, DISTRIBUTED_TABLES, DbError, Result, Topology, Tx};
use columns::{copy_row, postgres_arguments, push_names, sqlite_arguments, unnest};

/// Rows in one SQLite statement; bounded also by [`SQLITE_BINDS_MAX`].
const SQLITE_ROWS: usize = 500;
/// SQLite's own limit of bind parameters in one statement.
const SQLITE_BINDS_MAX: usize = 32_766;
/// Rows in one PostgreSQL statement: bounds the arrays held in memory on both sides.
const POSTGRES_ROWS: usize = 20_000;
/// From so many rows on, PostgreSQL gets a plain append as COPY, which costs it half of `UNNEST` a row and
/// a few more messages in all.
const POSTGRES_COPY_ROWS_MIN: usize = 100;
/// Bytes of a COPY sent at a time.
const POSTGRES_COPY_BYTES: usize = 1 << 18;

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
pub async fn append(tx: &mut Tx, table: &str, columns: Columns<'_>) -> Result<()> {
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
    table: &str,
    columns: Columns<'_>,
    on_conflict: OnConflict,
) -> Result<u64> {
    let total = rows(&columns);
    debug_assert!(
        columns.iter().all(|(_, c)| c.len() == total),
        "columns of equal length"
    );
    if total == 0 {
        return Ok(0);
    }
    let verb = match (&*tx.conn, on_conflict) {
        // A failed append ends its transaction anyway, so the statement keeps no journal to undo itself.
        (Conn::Sqlite(_), OnConflict::Fail) => "INSERT OR FAIL",
        (Conn::Postgres(_), OnConflict::Fail)
            if total >= POSTGRES_COPY_ROWS_MIN || is_distributed(tx.topology, table) =>
        {
            return copy(tx, table, &columns).await;
        }
        _ => "INSERT",
    };
    let mut head = format!("{verb} INTO {table} (");
    push_names(&mut head, &columns);
    head.push_str(") ");
    let tail = conflict_clause(&columns, on_conflict);
    let mut affected = 0;
    match &mut *tx.conn {
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

fn is_distributed(topology: Topology, table: &str) -> bool {
    topology == Topology::Citus && DISTRIBUTED_TABLES.contains(&table)
}

/// Appends rows by PostgreSQL's binary COPY.
async fn copy(tx: &mut Tx, table: &str, columns: &Columns<'_>) -> Result<u64> {
    const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
    let Conn::Postgres(t) = &mut *tx.conn else {
        return Ok(0);
    };
    let mut sql = format!("COPY {table} (");
    push_names(&mut sql, columns);
    sql.push_str(") FROM STDIN (FORMAT binary)");
    let mut copy = (t.copy_in_raw(&sql).await).map_err(DbError::sql("appending rows"))?;
    let mut bytes = HEADER.to_vec();
    for row in 0..rows(columns) {
        copy_row(columns, row, &mut bytes);
        if bytes.len() >= POSTGRES_COPY_BYTES {
            (copy.send(bytes.as_slice()).await).map_err(DbError::sql("appending rows"))?;
            bytes.clear();
        }
    }
    bytes.extend_from_slice(&TRAILER);
    (copy.send(bytes.as_slice()).await).map_err(DbError::sql("appending rows"))?;
    copy.finish().await.map_err(DbError::sql("appending rows"))
}

/// Runs a statement that changes rows, `WITH wanted (…) …`, once per portion of keys; returns how many
/// rows it changed.
pub(super) async fn change(tx: &mut Tx, keys: Columns<'_>, body: &str) -> Result<u64> {
    let total = rows(&keys);
    let mut names = String::new();
    push_names(&mut names, &keys);
    let mut affected = 0;
    let mut from = 0;
    while from < total {
        let step = match &*tx.conn {
            Conn::Sqlite(_) => SQLITE_ROWS.min(SQLITE_BINDS_MAX / keys.len()),
            Conn::Postgres(_) => POSTGRES_ROWS,
        };
        let to = (from + step).min(total);
        affected += match &mut *tx.conn {
            Conn::Sqlite(t) => {
                let values = placeholders(keys.len(), to - from);
                let sql = format!("WITH wanted ({names}) AS (VALUES {values}) {body}");
                let args = sqlite_arguments(&keys, from..to)?;
                let query =
                    sqlx::query_with(AssertSqlSafe(sql), args).persistent(to - from == step);
                query.execute(&mut **t).await.map(|r| r.rows_affected())
            }
            Conn::Postgres(t) => {
                let wanted = wanted(tx.topology, &names, &keys);
                let sql = format!("{wanted} {body}");
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

/// Keys as a table. A coordinator sends what is materialized to each node once, and the arrays themselves
/// with the statement of every shard: for 20,000 keys and 8 shards four times the work.
fn wanted(topology: Topology, names: &str, keys: &Columns<'_>) -> String {
    let how = match topology {
        Topology::Single => "",
        Topology::Citus => "MATERIALIZED ",
    };
    format!(
        "WITH wanted ({names}) AS {how}(SELECT * FROM {})",
        unnest(keys)
    )
}

/// Deletes rows by key. `IN` and not `EXISTS`, for which SQLite reads the whole table once a portion.
pub async fn delete(tx: &mut Tx, table: &'static str, keys: Columns<'_>) -> Result<u64> {
    let mut names = String::new();
    push_names(&mut names, &keys);
    let body = format!("DELETE FROM {table} WHERE ({names}) IN (SELECT {names} FROM wanted)");
    change(tx, keys, &body).await
}

/// Runs `body` once per portion of keys. The keys are visible to it as the table `wanted` with the
/// columns' names; join with `CROSS JOIN … WHERE` so that SQLite keeps `wanted` outermost.
pub async fn lookup<R>(tx: &mut Tx, keys: Columns<'_>, body: &'static str) -> Result<Vec<R>>
where
    R: Send + Unpin + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow>,
{
    let total = rows(&keys);
    let mut found = Vec::new();
    let mut names = String::new();
    push_names(&mut names, &keys);
    match &mut *tx.conn {
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
            let sql = format!("{} {body}", wanted(tx.topology, &names, &keys));
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
