//! SQL of reconciliation: one institution range's facts in, differences of matches out.

mod carried;
mod days;
mod facts;
mod matches;
mod packed;
mod postings;

pub use carried::{CarriedRow, carried_rows, keep_carried, known_since};
pub use days::{DaysWanted, each_account_days};
pub use facts::{facts, known};
pub use matches::{Asked, store_matches};

use super::statements::ExpectedRange;
use crate::base::Day;
use crate::on;
use crate::store::{DbError, Result, Tx, days as stored_days};

/// What is visible: facts of files up to `source_cut`, that happened up to `day`.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub day: Day,
    pub source_cut: i64,
}

/// First and last statement day of all accounts, as known.
pub async fn expected_range(tx: &mut Tx, source_cut: i64) -> Result<Option<ExpectedRange>> {
    // Each from its end of the index: the least and the greatest in one statement read all of it.
    let first: Option<(i64,)> = on!(tx, c => sqlx::query_as(
            "SELECT day FROM statement_day WHERE source_no <= $1 ORDER BY day LIMIT 1")
            .bind(source_cut).fetch_optional(c).await)
    .map_err(DbError::sql("finding the statements' first day"))?;
    let last: Option<(i64,)> = on!(tx, c => sqlx::query_as(
            "SELECT day FROM statement_day WHERE source_no <= $1 ORDER BY day DESC LIMIT 1")
            .bind(source_cut).fetch_optional(c).await)
    .map_err(DbError::sql("finding the statements' last day"))?;
    match (first, last) {
        (Some((first,)), Some((last,))) => Ok(Some(ExpectedRange {
            first: stored_days::day(first, "statement_day")?,
            last: stored_days::day(last, "statement_day")?,
        })),
        _ => Ok(None),
    }
}
