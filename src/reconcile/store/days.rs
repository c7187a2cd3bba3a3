//! The reconciliation-day ledger of all accounts, read in portions of institutions.

use std::collections::HashMap;

use chrono_tz::Tz;

use super::Seen;
use super::facts::{binds, claims, exemptions, statement_days};
use crate::base::{Day, Instant};
use crate::feed::owed::Obligations;
use crate::ledger;
use crate::policy::Policy;
use crate::reconcile::days::{LedgerDay, day_ledger};
use crate::reconcile::facts::Facts;
use crate::reconcile::statements::{
    ExpectedRange, Stated, moved_by_day, of_account, open_claims, prove,
};
use crate::registry::{Account, Registry};
use crate::store::{Result, Tx, bulk, days};

/// Institutions read at once: bounds memory.
const PORTION_INSTITUTIONS: i64 = 256;

/// What the ledger of days is asked for.
#[derive(Clone, Copy)]
pub struct DaysWanted<'w> {
    pub policy: &'w Policy,
    pub obligations: &'w Obligations,
    /// The days of a bundle, where the policy goes by it.
    pub range: Option<ExpectedRange>,
    pub seen: Seen,
    pub now: Instant,
}

/// Calls `take` with every account that owes statements and its days, in order of institutions.
pub async fn each_account_days(
    tx: &mut Tx,
    registry: &Registry,
    wanted: DaysWanted<'_>,
    mut take: impl FnMut(&Account, Vec<LedgerDay>),
) -> Result<()> {
    let mut accounts: Vec<&Account> = (registry.accounts.iter())
        .filter(|a| a.kind.owes_statements())
        .collect();
    accounts.sort_unstable_by_key(|a| (a.inst_id, a.account_no));
    let mut rest = accounts.as_slice();
    while let Some(first) = rest.first().map(|a| a.inst_id.0) {
        let last = first + PORTION_INSTITUTIONS - 1;
        let (portion, after) = rest.split_at(rest.partition_point(|a| a.inst_id.0 <= last));
        rest = after;
        let facts = feed_facts(tx, (first, last), wanted.seen).await?;
        for account in portion {
            let found = facts.get(&account.inst_id.0);
            let lines = disputed_lines(tx, account, found, wanted.seen).await?;
            take(account, of_one(account, found, &lines, wanted));
        }
    }
    Ok(())
}

/// What is known of statements: no single lines, which are many, but what they moved.
#[derive(Default)]
struct FeedFacts {
    facts: Facts,
    /// Account, day, net movement in fen.
    moved: Vec<(i64, Day, i64)>,
}

async fn feed_facts(
    tx: &mut Tx,
    (first, last): (i64, i64),
    seen: Seen,
) -> Result<HashMap<i64, FeedFacts>> {
    let mut by_inst: HashMap<i64, Facts> = HashMap::new();
    statement_days(tx, first, last, seen, &mut by_inst).await?;
    claims(tx, first, last, seen, &mut by_inst).await?;
    exemptions(tx, first, last, seen, &mut by_inst).await?;
    let mut found: HashMap<i64, FeedFacts> = (by_inst.into_iter())
        .map(|(inst, facts)| {
            let moved = Vec::new();
            (inst, FeedFacts { facts, moved })
        })
        .collect();
    // A reversal carries the sign of the row it takes back.
    let sql = "SELECT inst_id, account_no, business_day, \
                      CAST(SUM(CASE WHEN reverses IS NULL THEN quantity ELSE -quantity END * amount_fen) \
                           AS BIGINT) \
               FROM posting \
               WHERE inst_id BETWEEN $1 AND $2 AND kind = 5 AND source_no <= $3 AND business_day <= $4 \
               GROUP BY inst_id, account_no, business_day \
               ORDER BY inst_id, account_no, business_day";
    bulk::each(
        tx,
        sql,
        &binds((first, last, seen)),
        |(inst, account_no, day, fen): (i64, i64, i64, i64)| {
            let moved = &mut found.entry(inst).or_default().moved;
            moved.push((account_no, days::day(day, "posting")?, fen));
            Ok(())
        },
    )
    .await?;
    Ok(found)
}

/// Signed amounts of the lines of an account's days of which another statement says otherwise.
async fn disputed_lines(
    tx: &mut Tx,
    account: &Account,
    found: Option<&FeedFacts>,
    seen: Seen,
) -> Result<HashMap<Day, Vec<i64>>> {
    let mut lines: HashMap<Day, Vec<i64>> = HashMap::new();
    let number = account.account_no.0;
    let claims = found.map_or(&[][..], |f| {
        of_account(&f.facts.claims, number, |c| c.account_no)
    });
    let (Some(first), Some(last)) = (claims.first(), claims.last()) else {
        return Ok(lines);
    };
    let span = (days::number(first.day), days::number(last.day));
    let key = (account.inst_id.0, number);
    for line in ledger::store::lines(tx, key, span, seen.source_cut).await? {
        let day = days::day(line.day, "posting")?;
        lines.entry(day).or_default().push(line.fen);
    }
    Ok(lines)
}

fn of_one(
    account: &Account,
    found: Option<&FeedFacts>,
    lines: &HashMap<Day, Vec<i64>>,
    wanted: DaysWanted<'_>,
) -> Vec<LedgerDay> {
    let number = account.account_no.0;
    let nothing = FeedFacts::default();
    let found = found.unwrap_or(&nothing);
    let owed = wanted.obligations.of_bank(account.bank_code.as_deref());
    let said = of_account(&found.facts.days, number, |d| d.account_no);
    let moved = of_account(&found.moved, number, |m| m.0);
    let stated = Stated {
        days: said,
        moved: moved_by_day(moved.iter().map(|m| (m.1, m.2))),
        claims: open_claims(
            said,
            of_account(&found.facts.claims, number, |c| c.account_no),
            |day| lines.get(&day).cloned().unwrap_or_default(),
        ),
        exemptions: of_account(&found.facts.exemptions, number, |e| e.account_no),
        first_owed: owed.first_day,
        closed: account.is_closed(),
        carried: None,
    };
    let proof = prove(&stated, wanted.policy, wanted.range, wanted.seen.day);
    let zone: Tz = wanted.obligations.zone;
    day_ledger(&stated, &proof, owed, (zone, wanted.now))
}
