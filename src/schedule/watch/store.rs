//! SQL of how everything stands. Everything is of completed imports only.

use std::collections::BTreeMap;

use crate::base::{Day, FlagCode};
use crate::feed::deliveries::{EARLY, POISON, QUARANTINED, RECEIVED};
use crate::on;
use crate::registry::AccountKind;
use crate::report::Run;
use crate::store::{DbError, Result, Tx, days};

/// Counts of account-days by bank and day.
pub(super) type ByBankAndDay = BTreeMap<(String, i64), i64>;

/// Codes of banks whose accounts owe statements.
pub(super) async fn banks(tx: &mut Tx, cut: i64) -> Result<Vec<String>> {
    let [custody, deposit] = [AccountKind::Custody, AccountKind::Deposit].map(AccountKind::as_str);
    let rows: Vec<(String,)> = on!(tx, c => sqlx::query_as(
            "SELECT DISTINCT a.bank_code FROM account a \
             WHERE a.bank_code IS NOT NULL AND a.source_no <= $1 AND a.kind IN ($2, $3) \
               AND a.version = (SELECT MAX(v.version) FROM account v WHERE v.inst_id = a.inst_id \
                 AND v.account_no = a.account_no AND v.source_no <= $1) \
             ORDER BY a.bank_code")
            .bind(cut).bind(custody).bind(deposit).fetch_all(c).await)
    .map_err(DbError::sql("reading which banks there are"))?;
    Ok(rows.into_iter().map(|(code,)| code).collect())
}

/// Account-days of a range, both ends included, that their bank has corrected.
pub(super) async fn revised(
    tx: &mut Tx,
    (first, last): (Day, Day),
    cut: i64,
) -> Result<ByBankAndDay> {
    let rows: Vec<(String, i64, i64)> = on!(tx, c => sqlx::query_as(
            "SELECT a.bank_code, d.day, CAST(COUNT(*) AS BIGINT) FROM ( \
               SELECT DISTINCT inst_id, account_no, day FROM statement_day \
               WHERE day BETWEEN $1 AND $2 AND version > 1 AND source_no <= $3) d \
             JOIN account a ON a.inst_id = d.inst_id AND a.account_no = d.account_no \
             WHERE a.bank_code IS NOT NULL AND a.source_no <= $3 AND a.version = \
               (SELECT MAX(v.version) FROM account v WHERE v.inst_id = a.inst_id \
                  AND v.account_no = a.account_no AND v.source_no <= $3) \
             GROUP BY a.bank_code, d.day")
            .bind(days::number(first)).bind(days::number(last)).bind(cut).fetch_all(c).await)
    .map_err(DbError::sql("counting corrected statements"))?;
    Ok(by_bank_and_day(rows))
}

/// Account-days of a range, both ends included, that a run has found broken.
pub(super) async fn disputed(
    tx: &mut Tx,
    run: &Run,
    (first, last): (Day, Day),
) -> Result<ByBankAndDay> {
    let rows: Vec<(String, i64, i64)> = on!(tx, c => sqlx::query_as(
            "SELECT a.bank_code, d.date_day, CAST(COUNT(*) AS BIGINT) FROM ( \
               SELECT DISTINCT inst_id, subject, date_day FROM finding \
               WHERE policy_no = $1 AND to_run > $2 AND from_run <= $2 AND code = $3 \
                 AND date_day BETWEEN $4 AND $5) d \
             JOIN account a ON a.inst_id = d.inst_id AND a.account_id = d.subject \
             WHERE a.bank_code IS NOT NULL AND a.source_no <= $6 AND a.version = \
               (SELECT MAX(v.version) FROM account v WHERE v.inst_id = a.inst_id \
                  AND v.account_no = a.account_no AND v.source_no <= $6) \
             GROUP BY a.bank_code, d.date_day")
            .bind(run.policy_no).bind(run.head.run_id).bind(FlagCode::FeedBroken.number())
            .bind(days::number(first)).bind(days::number(last)).bind(run.source_cut)
            .fetch_all(c).await)
    .map_err(DbError::sql("counting disputed statements"))?;
    Ok(by_bank_and_day(rows))
}

fn by_bank_and_day(rows: Vec<(String, i64, i64)>) -> ByBankAndDay {
    let keyed = rows.into_iter().map(|(bank, day, n)| ((bank, day), n));
    keyed.collect()
}

/// The newest day of which any account of a bank has a statement.
pub(super) async fn newest_statement(tx: &mut Tx, code: &str, cut: i64) -> Result<Option<Day>> {
    let (newest,): (Option<i64>,) = on!(tx, c => sqlx::query_as(
            "SELECT MAX((SELECT MAX(s.day) FROM statement_day s WHERE s.inst_id = a.inst_id \
                AND s.account_no = a.account_no AND s.source_no <= $2)) \
             FROM account a WHERE a.bank_code = $1 AND a.source_no <= $2")
            .bind(code).bind(cut).fetch_one(c).await)
    .map_err(DbError::sql("looking for a bank's newest statement"))?;
    days::opt_day(newest, "statement_day")
}

/// Deliveries that are not in the books, by state.
pub(super) async fn deliveries(tx: &mut Tx) -> Result<Vec<(&'static str, i64)>> {
    let mut counts = Vec::new();
    for state in [RECEIVED, EARLY, QUARANTINED, POISON] {
        let (n,): (i64,) = on!(tx, c => sqlx::query_as(
                "SELECT CAST(COUNT(*) AS BIGINT) FROM delivery WHERE state = $1")
                .bind(state).fetch_one(c).await)
        .map_err(DbError::sql("counting deliveries"))?;
        counts.push((state, n));
    }
    Ok(counts)
}
