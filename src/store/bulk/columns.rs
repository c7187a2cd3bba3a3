//! Rows as columns: what each driver is bound to, and the helpers that make them.

use std::fmt::Write as _;

use chrono::NaiveDate;
use sqlx::Arguments as _;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;

use crate::base::{Day, Instant};
use crate::store::{DbError, Result};

/// One column of a bulk statement, all rows.
#[derive(Debug)]
pub enum Column<'a> {
    Int(Vec<i64>),
    OptInt(Vec<Option<i64>>),
    Text(Vec<&'a str>),
    OptText(Vec<Option<&'a str>>),
    Bytes(Vec<&'a [u8]>),
    OptBytes(Vec<Option<&'a [u8]>>),
    Date(Vec<Option<NaiveDate>>),
    Instant(Vec<Option<Instant>>),
}

impl Column<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Column::Int(v) => v.len(),
            Column::OptInt(v) => v.len(),
            Column::Text(v) => v.len(),
            Column::OptText(v) => v.len(),
            Column::Bytes(v) => v.len(),
            Column::OptBytes(v) => v.len(),
            Column::Date(v) => v.len(),
            Column::Instant(v) => v.len(),
        }
    }

    fn postgres_type(&self) -> &'static str {
        match self {
            Column::Int(_) | Column::OptInt(_) => "bigint[]",
            Column::Text(_) | Column::OptText(_) => "text[]",
            Column::Bytes(_) | Column::OptBytes(_) => "bytea[]",
            Column::Date(_) => "date[]",
            Column::Instant(_) => "timestamptz[]",
        }
    }

    fn bind_sqlite(&self, row: usize, args: &mut SqliteArguments) -> Result<()> {
        match self {
            Column::Int(v) => args.add(v[row]),
            Column::OptInt(v) => args.add(v[row]),
            Column::Text(v) => args.add(v[row]),
            Column::OptText(v) => args.add(v[row]),
            Column::Bytes(v) => args.add(v[row]),
            Column::OptBytes(v) => args.add(v[row]),
            Column::Date(v) => args.add(v[row]),
            Column::Instant(v) => args.add(v[row]),
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
            Column::OptBytes(v) => args.add(&v[rows]),
            Column::Date(v) => args.add(&v[rows]),
            Column::Instant(v) => args.add(&v[rows]),
        }
        .map_err(|e| DbError::Sql {
            doing: "binding an array",
            source: sqlx::Error::Encode(e),
        })
    }
}

/// Day 0 of PostgreSQL's binary dates.
const POSTGRES_EPOCH: NaiveDate = NaiveDate::from_ymd_opt(2000, 1, 1).expect("a day");

/// The same instant in microseconds since 1970.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A field of a binary COPY: its length and its bytes, or no length where there is no value.
fn copy_field(value: Option<&[u8]>, out: &mut Vec<u8>) {
    let len = value.map_or(-1, |v| i32::try_from(v.len()).expect("a field is bounded"));
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(value.unwrap_or_default());
}

/// Writes a row of a binary COPY.
pub(super) fn copy_row(columns: &Columns<'_>, row: usize, out: &mut Vec<u8>) {
    let fields = i16::try_from(columns.len()).expect("a table has few columns");
    out.extend_from_slice(&fields.to_be_bytes());
    let int = |v: Option<i64>, out: &mut Vec<u8>| match v {
        Some(v) => copy_field(Some(&v.to_be_bytes()), out),
        None => copy_field(None, out),
    };
    for (_, column) in columns {
        match column {
            Column::Int(v) => int(Some(v[row]), out),
            Column::OptInt(v) => int(v[row], out),
            Column::Text(v) => copy_field(Some(v[row].as_bytes()), out),
            Column::OptText(v) => copy_field(v[row].map(str::as_bytes), out),
            Column::Bytes(v) => copy_field(Some(v[row]), out),
            Column::OptBytes(v) => copy_field(v[row], out),
            Column::Date(v) => {
                let days = v[row].map(|d| d.signed_duration_since(POSTGRES_EPOCH).num_days());
                let days = days.map(|n| i32::try_from(n).expect("a day is bounded").to_be_bytes());
                copy_field(days.as_ref().map(<[u8; 4]>::as_slice), out);
            }
            Column::Instant(v) => {
                let micros = |at: Instant| at.timestamp_micros() - POSTGRES_EPOCH_MICROS;
                int(v[row].map(micros), out);
            }
        }
    }
}

/// Named columns of equal length.
pub type Columns<'a> = Vec<(&'a str, Column<'a>)>;

/// Rows of named columns.
pub(crate) fn rows(columns: &Columns<'_>) -> usize {
    columns.first().map_or(0, |(_, c)| c.len())
}

/// A column of what `of` says of each row; its siblings below likewise.
pub fn ints<I: IntoIterator>(rows: I, of: impl Fn(I::Item) -> i64) -> Column<'static> {
    Column::Int(rows.into_iter().map(of).collect())
}

pub fn opt_ints<I: IntoIterator>(rows: I, of: impl Fn(I::Item) -> Option<i64>) -> Column<'static> {
    Column::OptInt(rows.into_iter().map(of).collect())
}

pub fn texts<'a, I: IntoIterator>(rows: I, of: impl Fn(I::Item) -> &'a str) -> Column<'a> {
    Column::Text(rows.into_iter().map(of).collect())
}

pub fn opt_texts<'a, I: IntoIterator>(
    rows: I,
    of: impl Fn(I::Item) -> Option<&'a str>,
) -> Column<'a> {
    Column::OptText(rows.into_iter().map(of).collect())
}

pub fn bytes<'a, I: IntoIterator>(rows: I, of: impl Fn(I::Item) -> &'a [u8]) -> Column<'a> {
    Column::Bytes(rows.into_iter().map(of).collect())
}

pub fn dates<I: IntoIterator>(rows: I, of: impl Fn(I::Item) -> Option<Day>) -> Column<'static> {
    let date = |row| of(row).map(Day::date);
    Column::Date(rows.into_iter().map(date).collect())
}

/// One value in every one of `rows` rows.
pub fn repeated(value: i64, rows: usize) -> Column<'static> {
    Column::Int(vec![value; rows])
}

pub(super) fn push_names(sql: &mut String, columns: &Columns<'_>) {
    for (i, (name, _)) in columns.iter().enumerate() {
        let comma = if i > 0 { ", " } else { "" };
        let _ = write!(sql, "{comma}{name}");
    }
}

/// The condition that a row of `table` has the key of a wanted one.
pub(crate) fn same_key(table: &str, keys: &Columns<'_>) -> String {
    let same: Vec<String> = keys
        .iter()
        .map(|(name, _)| format!("{table}.{name} = wanted.{name}"))
        .collect();
    same.join(" AND ")
}

pub(super) fn unnest(columns: &Columns<'_>) -> String {
    let mut sql = "UNNEST(".to_owned();
    for (i, (_, column)) in columns.iter().enumerate() {
        let comma = if i > 0 { ", " } else { "" };
        let _ = write!(sql, "{comma}${}::{}", i + 1, column.postgres_type());
    }
    sql.push(')');
    sql
}

pub(super) fn sqlite_arguments(
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

pub(super) fn postgres_arguments(
    columns: &Columns<'_>,
    rows: std::ops::Range<usize>,
) -> Result<PgArguments> {
    let mut args = PgArguments::default();
    for (_, column) in columns {
        column.bind_postgres(rows.clone(), &mut args)?;
    }
    Ok(args)
}
