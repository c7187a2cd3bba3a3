//! Tables read in key order, whatever they are, and written into another database; each with a digest that
//! is the same on SQLite and on PostgreSQL.
//!
//! What a table holds is read from the schema of the database, so a table that a later migration makes is
//! copied too. SQLite keeps days and instants as text; of which columns that is so the other side says, and
//! between two SQLite databases they pass as the text they are. A digest sees that text on every side.
//! Absent on purpose: a list of tables to keep up; a format of its own between the two.

use std::collections::BTreeMap;

use chrono::{NaiveDate, SecondsFormat};
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, ColumnIndex, Decode, Row, Type};

use super::bulk::{self, Column, Columns};
use super::{Conn, DbError, Result, Tx};
use crate::base::Instant;

/// Tables that belong to a database and not to the books.
const LEFT_OUT: [&str; 2] = ["_sqlx_migrations", "job_lock"];
/// Institutions read at a time: a coordinator keeps what it gathers until it has all of it.
const INSTITUTIONS_AT_ONCE: i64 = 256;
/// Rows written at a time, and bytes of text and files among them.
const BATCH_ROWS: usize = 20_000;
const BATCH_BYTES: usize = 8 << 20;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Int,
    Text,
    Bytes,
    Date,
    Instant,
}

impl Kind {
    fn of(declared: &str) -> Option<Kind> {
        Some(match declared {
            "bigint" | "INTEGER" => Kind::Int,
            "text" | "TEXT" => Kind::Text,
            "bytea" | "BLOB" => Kind::Bytes,
            "date" => Kind::Date,
            "timestamp with time zone" => Kind::Instant,
            _ => return None,
        })
    }
}

/// A table as both databases have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    columns: Vec<(String, Kind)>,
    key: Vec<String>,
}

impl Table {
    /// Read in portions of institutions where the key begins with them.
    fn is_of_institutions(&self) -> bool {
        self.key.first().is_some_and(|first| first == "inst_id")
    }

    fn select(&self, portion: Option<(i64, i64)>) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        let scope = match portion {
            Some(_) => " WHERE inst_id BETWEEN $1 AND $2",
            None => "",
        };
        format!(
            "SELECT {} FROM {}{scope} ORDER BY {}",
            names.join(", "),
            self.name,
            self.key.join(", ")
        )
    }
}

/// How many rows of a table were read, and their digest in order of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub rows: u64,
    pub digest: [u8; 32],
}

/// The tables of the books, as both databases have them; one that others lead to comes before them.
///
/// # Errors
/// Schemas that differ.
pub async fn tables(from: &mut Tx, to: &mut Tx) -> Result<Vec<Table>> {
    let (ours, mut theirs) = (declared(from).await?, declared(to).await?);
    let mut tables = Vec::new();
    for (name, mine) in ours {
        let other = theirs.remove(&name).unwrap_or_default();
        tables.push(agreed(name, mine, other)?);
    }
    if let Some(name) = theirs.into_keys().next() {
        return Err(differ(&name));
    }
    tables.sort_by_key(|t| (t.name != "import", t.name.clone()));
    Ok(tables)
}

fn differ(table: &str) -> DbError {
    DbError::Inconsistent(format!("the two databases have different tables {table}"))
}

/// Column, declared type, place in the key.
type Declared = Vec<(String, String, i64)>;

fn agreed(name: String, mut mine: Declared, mut other: Declared) -> Result<Table> {
    mine.sort_unstable();
    other.sort_unstable();
    let names = |columns: &Declared| columns.iter().map(|c| c.0.clone()).collect::<Vec<_>>();
    if names(&mine) != names(&other) {
        return Err(differ(&name));
    }
    let mut columns = Vec::new();
    let mut key: Vec<(i64, String)> = Vec::new();
    for ((column, one, place), (_, two, _)) in mine.into_iter().zip(other) {
        let kind = match (Kind::of(&one), Kind::of(&two)) {
            (Some(Kind::Text), Some(said)) | (Some(said), Some(Kind::Text)) => said,
            (Some(one), Some(two)) if one == two => one,
            _ => return Err(differ(&name)),
        };
        if place >= 0 {
            key.push((place, column.clone()));
        }
        columns.push((column, kind));
    }
    key.sort_unstable();
    Ok(Table {
        name,
        columns,
        key: key.into_iter().map(|(_, column)| column).collect(),
    })
}

/// Tables and what is declared of their columns.
async fn declared(tx: &mut Tx) -> Result<BTreeMap<String, Declared>> {
    let sql = match &*tx.conn {
        Conn::Sqlite(_) => {
            "SELECT m.name, c.name, c.type, CAST(c.pk - 1 AS INTEGER) FROM sqlite_master m, \
                    pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'"
        }
        Conn::Postgres(_) => {
            "SELECT CAST(c.relname AS TEXT), CAST(a.attname AS TEXT), format_type(a.atttypid, NULL), \
                    CAST(COALESCE(array_position(CAST(i.indkey AS int2[]), a.attnum), -1) AS BIGINT) \
             FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
             LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary \
             WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' \
               AND a.attnum > 0 AND NOT a.attisdropped"
        }
    };
    let rows: Vec<(String, String, String, i64)> =
        crate::on!(tx, c => sqlx::query_as(sql).fetch_all(c).await)
            .map_err(DbError::sql("reading the schema"))?;
    let mut tables: BTreeMap<String, Declared> = BTreeMap::new();
    for (table, column, kind, place) in rows {
        if !LEFT_OUT.contains(&table.as_str()) {
            tables.entry(table).or_default().push((column, kind, place));
        }
    }
    Ok(tables)
}

/// True where a table has no row.
pub async fn is_empty(tx: &mut Tx, table: &Table) -> Result<bool> {
    let sql = format!("SELECT 1 FROM {} LIMIT 1", table.name);
    let found = crate::on!(tx, c => sqlx::query(AssertSqlSafe(sql)).fetch_optional(c).await
        .map(|row| row.is_some()))
    .map_err(DbError::sql("looking for rows"))?;
    Ok(!found)
}

/// The transaction on the other database while a table is read.
pub enum Other<'t> {
    /// The rows are appended to the same table.
    Append(&'t mut Tx),
    /// It is used now and then: a server ends a transaction whose process says nothing for long.
    Awake(&'t mut Tx),
}

/// Reads a table in order of its key.
///
/// # Errors
/// A value the other database does not take, among others a text with U+0000.
pub async fn pour(from: &mut Tx, table: &Table, mut other: Other<'_>) -> Result<Content> {
    let mut sum = Sha256::new();
    let mut rows = 0;
    for portion in portions(from, table).await? {
        let sql = table.select(portion);
        let mut batch = Batch::of(table);
        crate::on!(from, c => {
            let query = sqlx::query(AssertSqlSafe(sql));
            let query = match portion {
                Some((first, last)) => query.bind(first).bind(last),
                None => query,
            };
            let mut stream = query.fetch(c);
            while let Some(row) = std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
                batch.take(&row.map_err(DbError::sql("reading a table"))?, &mut sum)?;
                rows += 1;
                if batch.is_full() {
                    batch.empty_into(table, &mut other).await?;
                }
            }
        });
        batch.empty_into(table, &mut other).await?;
    }
    Ok(Content {
        rows,
        digest: sum.finalize().into(),
    })
}

/// Ranges of institutions that are all of a table; one range without ends where it is not theirs.
async fn portions(tx: &mut Tx, table: &Table) -> Result<Vec<Option<(i64, i64)>>> {
    if !table.is_of_institutions() {
        return Ok(vec![None]);
    }
    let sql = format!("SELECT MIN(inst_id), MAX(inst_id) FROM {}", table.name);
    let ends: (Option<i64>, Option<i64>) =
        crate::on!(tx, c => sqlx::query_as(AssertSqlSafe(sql)).fetch_one(c).await)
            .map_err(DbError::sql("finding the last institution"))?;
    let (Some(mut first), Some(last)) = ends else {
        return Ok(Vec::new());
    };
    let mut portions = Vec::new();
    while first <= last {
        portions.push(Some((first, first + INSTITUTIONS_AT_ONCE - 1)));
        first += INSTITUTIONS_AT_ONCE;
    }
    Ok(portions)
}

/// Values of one column.
enum Cells {
    Int(Vec<Option<i64>>),
    Text(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
    Date(Vec<Option<NaiveDate>>),
    Instant(Vec<Option<Instant>>),
}

impl Cells {
    fn of(kind: Kind) -> Cells {
        match kind {
            Kind::Int => Cells::Int(Vec::new()),
            Kind::Text => Cells::Text(Vec::new()),
            Kind::Bytes => Cells::Bytes(Vec::new()),
            Kind::Date => Cells::Date(Vec::new()),
            Kind::Instant => Cells::Instant(Vec::new()),
        }
    }

    fn column(&self) -> Column<'_> {
        match self {
            Cells::Int(v) => Column::OptInt(v.clone()),
            Cells::Text(v) => Column::OptText(v.iter().map(Option::as_deref).collect()),
            Cells::Bytes(v) => Column::OptBytes(v.iter().map(Option::as_deref).collect()),
            Cells::Date(v) => Column::Date(v.clone()),
            Cells::Instant(v) => Column::Instant(v.clone()),
        }
    }
}

/// Rows that were read and not written yet.
struct Batch {
    cells: Vec<Cells>,
    rows: usize,
    bytes: usize,
}

impl Batch {
    fn of(table: &Table) -> Batch {
        Batch {
            cells: table
                .columns
                .iter()
                .map(|(_, kind)| Cells::of(*kind))
                .collect(),
            rows: 0,
            bytes: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// Takes a row, and its part of the digest: each value with its length, so that no two rows read alike.
    fn take<R: Row>(&mut self, row: &R, sum: &mut Sha256) -> Result<()>
    where
        usize: ColumnIndex<R>,
        for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
        for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
        for<'r> Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
        for<'r> NaiveDate: Decode<'r, R::Database> + Type<R::Database>,
        for<'r> Instant: Decode<'r, R::Database> + Type<R::Database>,
    {
        let failed = || DbError::sql("reading a value");
        for (at, cells) in self.cells.iter_mut().enumerate() {
            match cells {
                Cells::Int(v) => {
                    let value: Option<i64> = row.try_get(at).map_err(failed())?;
                    add(sum, value.map(i64::to_be_bytes).as_ref());
                    v.push(value);
                }
                Cells::Text(v) => {
                    let value: Option<String> = row.try_get(at).map_err(failed())?;
                    self.bytes += value.as_ref().map_or(0, String::len);
                    add(sum, value.as_ref());
                    v.push(value);
                }
                Cells::Bytes(v) => {
                    let value: Option<Vec<u8>> = row.try_get(at).map_err(failed())?;
                    self.bytes += value.as_ref().map_or(0, Vec::len);
                    add(sum, value.as_ref());
                    v.push(value);
                }
                Cells::Date(v) => {
                    let value: Option<NaiveDate> = row.try_get(at).map_err(failed())?;
                    add(sum, value.map(|day| day.to_string()).as_ref());
                    v.push(value);
                }
                Cells::Instant(v) => {
                    let value: Option<Instant> = row.try_get(at).map_err(failed())?;
                    let text = |at: Instant| at.to_rfc3339_opts(SecondsFormat::AutoSi, false);
                    add(sum, value.map(text).as_ref());
                    v.push(value);
                }
            }
        }
        self.rows += 1;
        Ok(())
    }

    async fn empty_into(&mut self, table: &Table, other: &mut Other<'_>) -> Result<()> {
        match other {
            Other::Append(to) => {
                let names = table.columns.iter().map(|(name, _)| name.as_str());
                let columns: Columns<'_> =
                    names.zip(self.cells.iter().map(Cells::column)).collect();
                bulk::append(to, &table.name, columns).await?;
            }
            Other::Awake(tx) => {
                crate::on!(tx, c => sqlx::query("SELECT 1").execute(c).await.map(|_| ()))
                    .map_err(DbError::sql("keeping a transaction awake"))?;
            }
        }
        *self = Batch::of(table);
        Ok(())
    }
}

fn add(sum: &mut Sha256, value: Option<&impl AsRef<[u8]>>) {
    match value {
        Some(value) => {
            let value = value.as_ref();
            sum.update([1]);
            sum.update((value.len() as u64).to_be_bytes());
            sum.update(value);
        }
        None => sum.update([0]),
    }
}
