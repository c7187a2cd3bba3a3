//! SQL of the scorecard: when statements came, how often they were corrected or sent again, what their
//! lines say. Files belong to no institution, so what is asked of them is asked by itself.

use std::collections::HashMap;

use crate::base::{Day, Instant};
use crate::store::bulk::{self, ints};
use crate::store::{Result, Tx, days};

/// An account by institution and number.
pub(super) type AccountKey = (i64, i64);

/// Calls `take` with the account, day and instant at which each statement day was first known.
pub(super) async fn each_arrival(
    tx: &mut Tx,
    source_cut: i64,
    mut take: impl FnMut(AccountKey, Day, Instant),
) -> Result<()> {
    let mut known: HashMap<i64, Instant> = HashMap::new();
    let sql = "SELECT f.source_no, i.completed_at FROM source_file f \
               JOIN import i ON i.import_no = f.import_no \
               WHERE f.source_no <= $1 AND i.completed_at IS NOT NULL";
    bulk::each(tx, sql, &[source_cut], |(file, at): (i64, Instant)| {
        known.insert(file, at);
        Ok(())
    })
    .await?;
    let sql = "SELECT inst_id, account_no, day, source_no FROM statement_day \
               WHERE version = 1 AND source_no <= $1";
    bulk::each(
        tx,
        sql,
        &[source_cut],
        |(inst, account, day, file): (i64, i64, i64, i64)| {
            if let Some(at) = known.get(&file) {
                take((inst, account), days::day(day, "statement_day")?, *at);
            }
            Ok(())
        },
    )
    .await
}

/// Calls `take` with the account and last day of each correction of a statement: a version after the first.
pub(super) async fn each_correction(
    tx: &mut Tx,
    source_cut: i64,
    mut take: impl FnMut(AccountKey, Day),
) -> Result<()> {
    let sql = "SELECT inst_id, account_no, last_day FROM statement \
               WHERE version > 1 AND confirms = 0 AND source_no <= $1";
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

/// Calls `take` with the account and last day of each statement that came again with the same bytes, and how
/// many times it did.
pub(super) async fn each_repeat(
    tx: &mut Tx,
    source_cut: i64,
    mut take: impl FnMut(AccountKey, Day, i64),
) -> Result<()> {
    let mut repeats: HashMap<i64, i64> = HashMap::new();
    let sql = "SELECT f.source_no, CAST(COUNT(*) AS BIGINT) FROM source_file f \
               JOIN source_file r ON r.digest = f.digest AND r.outcome = 'known' \
               WHERE r.source_no <= $1 GROUP BY f.source_no";
    bulk::each(tx, sql, &[source_cut], |(file, times): (i64, i64)| {
        repeats.insert(file, times);
        Ok(())
    })
    .await?;
    let mut files: Vec<i64> = repeats.keys().copied().collect();
    files.sort_unstable();
    let statements: Vec<(i64, i64, i64, i64)> = bulk::lookup(
        tx,
        vec![("source_no", ints(&files, |no| *no))],
        "SELECT s.inst_id, s.account_no, s.last_day, s.source_no \
         FROM wanted w CROSS JOIN statement s WHERE s.source_no = w.source_no",
    )
    .await?;
    for (inst, account, day, file) in statements {
        let times = repeats.get(&file).copied().unwrap_or(0);
        take((inst, account), days::day(day, "statement")?, times);
    }
    Ok(())
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
