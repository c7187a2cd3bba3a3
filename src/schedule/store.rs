//! SQL of what is due: which accounts owe statements and have none, which days have changed since they
//! were reconciled. Everything is of completed imports only.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::Day;
use crate::feed;
use crate::on;
use crate::registry::AccountKind;
use crate::store::{DbError, Result, Tx, days};

/// What the accounts of one bank owe and have delivered.
#[derive(Clone, Debug, Default)]
pub(super) struct Bank {
    /// Accounts that owe statements: institution, number, the first known day, and, of a closed one that its
    /// newest statement proves empty, the last.
    accounts: Vec<(i64, i64, Option<i64>, Option<i64>)>,
    /// How many of them have a statement, by day.
    delivered: BTreeMap<i64, i64>,
    /// Accounts that owe none, by day.
    exempt: BTreeMap<i64, BTreeSet<(i64, i64)>>,
    /// The first day owed, where the feed's settings say.
    since: Option<i64>,
}

impl Bank {
    /// Whether an account owes a day's statement.
    pub(super) fn owes(&self, day: Day) -> bool {
        self.owing(days::number(day)) > 0
    }

    /// How many accounts owe a day's statement and have delivered none.
    pub(super) fn lacking(&self, day: Day) -> i64 {
        let day = days::number(day);
        let delivered = self.delivered.get(&day).copied().unwrap_or(0);
        self.owing(day).saturating_sub(delivered).max(0)
    }

    /// How many accounts have delivered a day's statement.
    pub(super) fn delivered(&self, day: Day) -> i64 {
        let delivered = self.delivered.get(&days::number(day)).copied();
        delivered.unwrap_or(0)
    }

    /// How many accounts owe none for a day, for a stated reason.
    pub(super) fn exempt(&self, day: Day) -> i64 {
        let exempt = self.exempt.get(&days::number(day)).map_or(0, BTreeSet::len);
        i64::try_from(exempt).unwrap_or(i64::MAX)
    }

    fn owing(&self, day: i64) -> i64 {
        let exempt = self.exempt.get(&day);
        let owing = (self.accounts.iter())
            .filter(|(inst_id, account_no, first, last)| {
                let begun = match self.since {
                    Some(since) => since <= day,
                    None => first.is_none_or(|first| first <= day),
                };
                let exempt = exempt.is_some_and(|e| e.contains(&(*inst_id, *account_no)));
                begun && last.is_none_or(|last| day <= last) && !exempt
            })
            .count();
        i64::try_from(owing).unwrap_or(i64::MAX)
    }

    /// The first day its accounts owe a statement for; `None` where nothing says.
    pub(super) fn first_day(&self) -> Result<Option<Day>> {
        let first = self
            .since
            .or(self.accounts.iter().filter_map(|a| a.2).min());
        days::opt_day(first, "statement_day")
    }
}

/// What has been seen: the highest file number of completed imports.
pub(super) async fn visible(tx: &mut Tx) -> Result<i64> {
    let latest = feed::store::latest_visible(tx).await?;
    match latest {
        Some(latest) => feed::store::cut(tx, latest).await,
        None => Ok(0),
    }
}

/// The bank codes that accounts carry, as they stand.
pub(super) async fn bank_codes(tx: &mut Tx) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = on!(tx, c => sqlx::query_as(
            "SELECT DISTINCT a.bank_code FROM account a \
             WHERE a.bank_code IS NOT NULL AND a.version = \
                (SELECT MAX(v.version) FROM account v WHERE v.inst_id = a.inst_id \
                   AND v.account_no = a.account_no) \
             ORDER BY a.bank_code")
            .fetch_all(c).await)
    .map_err(DbError::sql("reading which banks hold accounts"))?;
    Ok(rows.into_iter().map(|(code,)| code).collect())
}

/// What a bank's accounts owe and have delivered of days in a range, both ends included.
pub(super) async fn bank(
    tx: &mut Tx,
    code: &str,
    since: Option<Day>,
    (first, last): (Day, Day),
    cut: i64,
) -> Result<Bank> {
    let [custody, deposit] = [AccountKind::Custody, AccountKind::Deposit].map(AccountKind::as_str);
    let accounts: Vec<(i64, i64, Option<i64>, Option<i64>)> = on!(tx, c => sqlx::query_as(
            "SELECT a.inst_id, a.account_no, (SELECT MIN(s.day) FROM statement_day s WHERE s.inst_id = a.inst_id \
                       AND s.account_no = a.account_no AND s.source_no <= $2), \
                    (SELECT s.day FROM statement_day s WHERE a.status = 'closed' \
                       AND s.inst_id = a.inst_id AND s.account_no = a.account_no \
                       AND s.source_no <= $2 AND s.closing_fen = 0 AND s.day = \
                         (SELECT MAX(v.day) FROM statement_day v WHERE v.inst_id = s.inst_id \
                            AND v.account_no = s.account_no AND v.source_no <= $2) \
                     ORDER BY s.version DESC LIMIT 1) \
             FROM account a \
             WHERE a.bank_code = $1 AND a.source_no <= $2 AND a.kind IN ($3, $4) AND a.version = \
                (SELECT MAX(v.version) FROM account v WHERE v.inst_id = a.inst_id \
                   AND v.account_no = a.account_no AND v.source_no <= $2)")
            .bind(code).bind(cut).bind(custody).bind(deposit).fetch_all(c).await)
    .map_err(DbError::sql("reading which accounts owe statements"))?;
    let delivered: Vec<(i64, i64)> = on!(tx, c => sqlx::query_as(
            "SELECT d.day, CAST(COUNT(*) AS BIGINT) FROM ( \
               SELECT DISTINCT s.inst_id, s.account_no, s.day FROM account a \
               JOIN statement_day s ON s.inst_id = a.inst_id AND s.account_no = a.account_no \
               WHERE a.bank_code = $1 AND a.source_no <= $2 AND a.kind IN ($3, $4) AND a.version = \
                  (SELECT MAX(v.version) FROM account v WHERE v.inst_id = a.inst_id \
                     AND v.account_no = a.account_no AND v.source_no <= $2) \
                 AND s.source_no <= $2 AND s.day BETWEEN $5 AND $6 \
                 AND NOT EXISTS (SELECT 1 FROM statement_exemption e WHERE e.inst_id = s.inst_id \
                   AND e.account_no = s.account_no AND e.first_day <= s.day AND e.last_day >= s.day \
                   AND e.source_no <= $2 AND e.reason <> '' AND e.version = \
                     (SELECT MAX(v.version) FROM statement_exemption v WHERE v.inst_id = e.inst_id \
                        AND v.account_no = e.account_no AND v.first_day = e.first_day \
                        AND v.last_day = e.last_day AND v.source_no <= $2))) d \
             GROUP BY d.day")
            .bind(code).bind(cut).bind(custody).bind(deposit)
            .bind(days::number(first)).bind(days::number(last)).fetch_all(c).await)
    .map_err(DbError::sql("reading which statements have come"))?;
    let exemptions: Vec<(i64, i64, i64, i64)> = on!(tx, c => sqlx::query_as(
            "SELECT e.inst_id, e.account_no, e.first_day, e.last_day FROM account a \
             JOIN statement_exemption e ON e.inst_id = a.inst_id AND e.account_no = a.account_no \
             WHERE a.bank_code = $1 AND a.source_no <= $2 AND a.kind IN ($3, $4) AND a.version = \
                (SELECT MAX(v.version) FROM account v WHERE v.inst_id = a.inst_id \
                   AND v.account_no = a.account_no AND v.source_no <= $2) \
               AND e.source_no <= $2 AND e.reason <> '' AND e.version = \
                (SELECT MAX(v.version) FROM statement_exemption v WHERE v.inst_id = e.inst_id \
                   AND v.account_no = e.account_no AND v.first_day = e.first_day \
                   AND v.last_day = e.last_day AND v.source_no <= $2)")
            .bind(code).bind(cut).bind(custody).bind(deposit).fetch_all(c).await)
    .map_err(DbError::sql("reading which days are exempt"))?;
    let mut exempt: BTreeMap<i64, BTreeSet<(i64, i64)>> = BTreeMap::new();
    for (inst_id, account_no, from, to) in exemptions {
        for day in from.max(days::number(first))..=to.min(days::number(last)) {
            exempt.entry(day).or_default().insert((inst_id, account_no));
        }
    }
    Ok(Bank {
        exempt,
        accounts,
        delivered: delivered.into_iter().collect(),
        since: since.map(days::number),
    })
}

/// Up to which file the newest completed run of each day has looked, of the whole city.
pub(super) async fn looked(tx: &mut Tx, policy: &str, first: Day) -> Result<BTreeMap<Day, i64>> {
    let rows: Vec<(chrono::NaiveDate, i64)> = on!(tx, c => sqlx::query_as(
            "SELECT r.as_of, CAST(MAX(r.source_cut) AS BIGINT) FROM run r \
             JOIN policy_version p ON p.policy_no = r.policy_no \
             WHERE p.name = $1 AND r.district_id IS NULL AND r.completed_at IS NOT NULL \
               AND r.as_of >= $2 \
             GROUP BY r.as_of")
            .bind(policy).bind(first.date()).fetch_all(c).await)
    .map_err(DbError::sql("reading which days are reconciled"))?;
    Ok(rows
        .into_iter()
        .map(|(day, cut)| (Day::from_date(day), cut))
        .collect())
}

/// The newest file, or exemption, that speaks of each day of a range, both ends included.
pub(super) async fn latest_sources(
    tx: &mut Tx,
    (first, last): (Day, Day),
    cut: i64,
) -> Result<BTreeMap<i64, i64>> {
    let (first, last) = (days::number(first), days::number(last));
    let said: Vec<(i64, i64)> = on!(tx, c => sqlx::query_as(
            "SELECT n.day, CAST(MAX(n.source_no) AS BIGINT) FROM ( \
               SELECT day, source_no FROM statement_day WHERE day BETWEEN $1 AND $2 \
               UNION ALL SELECT day, source_no FROM statement_dispute \
                         WHERE day BETWEEN $1 AND $2) n \
             WHERE n.source_no <= $3 GROUP BY n.day")
            .bind(first).bind(last).bind(cut).fetch_all(c).await)
    .map_err(DbError::sql("looking for the newest statements"))?;
    let exempt: Vec<(i64, i64, i64)> = on!(tx, c => sqlx::query_as(
            "SELECT first_day, last_day, source_no FROM statement_exemption \
             WHERE first_day <= $2 AND last_day >= $1 AND source_no <= $3")
            .bind(first).bind(last).bind(cut).fetch_all(c).await)
    .map_err(DbError::sql("looking for the newest exemptions"))?;
    let mut latest: BTreeMap<i64, i64> = said.into_iter().collect();
    for (from, to, source_no) in exempt {
        for day in from.max(first)..=to.min(last) {
            let newest = latest.entry(day).or_default();
            *newest = source_no.max(*newest);
        }
    }
    Ok(latest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exempt_account_that_owes_nothing_hides_no_other() {
        let bank = Bank {
            accounts: vec![(1, 1, Some(10), None), (2, 1, Some(20), None)],
            exempt: BTreeMap::from([(15, BTreeSet::from([(2, 1)]))]),
            ..Bank::default()
        };
        assert_eq!((bank.owing(15), bank.owing(20)), (1, 2));
        let both = Bank {
            exempt: BTreeMap::from([(20, BTreeSet::from([(2, 1)]))]),
            ..bank
        };
        assert_eq!(both.owing(20), 1);
    }
}
