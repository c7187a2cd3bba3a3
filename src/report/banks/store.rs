//! SQL of the scorecard: when statements came, how often they were corrected or sent again, what their
//! lines say.

use crate::base::{Day, Instant};
use crate::store::{Result, Tx, bulk, days};

/// An account by institution and number.
pub(super) type AccountKey = (i64, i64);

/// Calls `take` with the account, day and instant at which each statement day was first known.
pub(super) async fn each_arrival(
    tx: &mut Tx,
    source_cut: i64,
    mut take: impl FnMut(AccountKey, Day, Instant),
) -> Result<()> {
    let sql = "SELECT s.inst_id, s.account_no, s.day, i.completed_at \
               FROM statement_day s JOIN source_file f ON f.source_no = s.source_no \
               JOIN import i ON i.import_no = f.import_no \
               WHERE s.version = 1 AND s.source_no <= $1 AND i.completed_at IS NOT NULL";
    bulk::each(
        tx,
        sql,
        &[source_cut],
        |(inst, account, day, at): (i64, i64, i64, Instant)| {
            take((inst, account), days::day(day, "statement_day")?, at);
            Ok(())
        },
    )
    .await
}

/// Corrections of statements: a version after the first.
pub(super) const CORRECTIONS: &str = "SELECT inst_id, account_no, last_day FROM statement \
     WHERE version > 1 AND confirms = 0 AND source_no <= $1";
/// Statements that came again with the same bytes.
pub(super) const REPEATS: &str = "SELECT s.inst_id, s.account_no, s.last_day \
     FROM statement s JOIN source_file f ON f.source_no = s.source_no \
     JOIN source_file r ON r.digest = f.digest AND r.outcome = 'known' \
     WHERE r.source_no <= $1";

/// Calls `take` with the account and last day of each statement that `sql` finds.
pub(super) async fn each_statement(
    tx: &mut Tx,
    sql: &'static str,
    source_cut: i64,
    mut take: impl FnMut(AccountKey, Day),
) -> Result<()> {
    bulk::each(
        tx,
        sql,
        &[source_cut],
        |(inst, account, day): (i64, i64, i64)| {
            take((inst, account), days::day(day, "statement")?);
            Ok(())
        },
    )
    .await
}

/// Calls `take` with the lines of each account and day that stand: how many, and how many of them carry a
/// reference.
pub(super) async fn each_line_count(
    tx: &mut Tx,
    source_cut: i64,
    mut take: impl FnMut(AccountKey, Day, (i64, i64)),
) -> Result<()> {
    // A reversal takes the row back that it names, which has its reference.
    let sql = "SELECT inst_id, account_no, business_day, \
                      CAST(SUM(CASE WHEN reverses IS NULL THEN 1 ELSE -1 END) AS BIGINT), \
                      CAST(SUM(CASE WHEN reference = '' THEN 0 \
                                    WHEN reverses IS NULL THEN 1 ELSE -1 END) AS BIGINT) \
               FROM posting WHERE kind = 5 AND source_no <= $1 \
               GROUP BY inst_id, account_no, business_day";
    bulk::each(
        tx,
        sql,
        &[source_cut],
        |(inst, account, day, lines, named): (i64, i64, i64, i64, i64)| {
            let day = days::day(day, "posting")?;
            take((inst, account), day, (lines, named));
            Ok(())
        },
    )
    .await
}
