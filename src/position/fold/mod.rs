//! Folding facts that are settled for good into what is carried forward.
//!
//! Invariants: a fact is folded only where nothing that happens later can change what became of it, and what did
//! become of it is no finding; what is folded is told by its sums and known by its names.
//!
//! What stays open, though it is settled: what people decided about, what a rule chose among several
//! (`subset`, `group`), since a later line may contest the choice, and what another fact repeats.

mod settled;
mod sums;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::formulae::Measured;
use super::proof::AccountProof;
use super::since::Stood;
use crate::base::Day;
use crate::feed::store::Settlement;
use crate::policy::{CHINA, Policy, Regime, RulePack};
use crate::reconcile::carried::Carried;
use crate::reconcile::known::{Folding as When, Known, LessonRow};
use crate::reconcile::{ExpectedRange, Facts, Matching};
use crate::registry::{self, AccountKind};
use crate::store::days;

/// Days that stay open whatever became of them: what is reported a holiday late is still no news of a day that
/// is over.
pub const OPEN_DAYS: i32 = 14;
/// How far behind these a day is looked for on which every account's statement is proven.
const LOOKED_BACK_DAYS: i32 = 31;

/// The day up to which facts may be folded: every custody account states and proves it, so that each proof
/// is of that day or a later one. Where a bundle says which days are owed, none beyond it: a later bundle may owe
/// them. `None` where there is no such day.
pub fn foldable_until(
    registered: &[&registry::Account],
    facts: &Facts,
    measured: &Measured,
    (range, day): (Option<ExpectedRange>, Day),
) -> Option<Day> {
    let owing = || {
        measured
            .accounts
            .iter()
            .filter(|a| a.kind.owes_statements())
    };
    // A closed account may come to owe days again that it did not.
    if registered
        .iter()
        .any(|a| a.kind.owes_statements() && a.is_closed())
    {
        return None;
    }
    let claimed = facts.claims.iter().map(|c| c.day.plus(-1));
    let last = claimed
        .chain(range.map(|range| range.last))
        .fold(day.plus(-OPEN_DAYS), Day::min);
    let proven = |until: Day| {
        owing().all(|a| {
            let key = (a.account_no, until);
            let after = facts.days.partition_point(|d| (d.account_no, d.day) <= key);
            let stated = facts.days[..after]
                .last()
                .filter(|d| d.account_no == a.account_no);
            stated.is_none_or(|d| {
                let closes = a
                    .days
                    .closings
                    .binary_search_by_key(&d.day, |c| c.0)
                    .is_ok();
                closes && (a.kind != AccountKind::Custody || d.day == until)
            })
        })
    };
    let before = facts.carried.until;
    (0..=LOOKED_BACK_DAYS)
        .map(|n| last.plus(-n))
        .take_while(|until| before.is_none_or(|before| *until > before))
        .find(|until| proven(*until))
        .or(before)
}

/// What is folded, by the facts' places.
struct Settled {
    payments: Vec<bool>,
    credits: Vec<bool>,
    debits: Vec<bool>,
    refunds: Vec<bool>,
    releases: Vec<bool>,
}

/// One institution as a run has judged it.
#[derive(Clone, Copy)]
pub struct Judged<'a> {
    pub facts: &'a Facts,
    pub matching: &'a Matching,
    pub measured: &'a Measured,
    pub proofs: &'a [AccountProof],
    pub policy: &'a Policy,
    pub packs: &'a [(Day, &'a RulePack)],
}

/// Folds what is settled up to `until`, at the end of which the institution `stood` so. `known` is what
/// the facts are a view of.
pub fn fold(judged: Judged<'_>, known: &Known, until: Day, stood: &Stood) -> Known {
    let folding = Folding { judged, until };
    let settled = folding.settled();
    let carried = folding.carried(known, &settled, stood);
    folding.rest(known, &settled, carried)
}

struct Folding<'a> {
    judged: Judged<'a>,
    until: Day,
}

impl Folding<'_> {
    fn kind(&self, account_no: i64) -> AccountKind {
        let accounts = &self.judged.measured.accounts;
        let found = accounts.iter().find(|a| a.account_no == account_no);
        found.map_or(AccountKind::Undeclared, |a| a.kind)
    }

    /// True for lessons that time does nothing more to.
    fn is_over(&self, r: &LessonRow) -> bool {
        let policy = self.judged.policy;
        let due = match policy.release.regime {
            Regime::OrderEnd => {
                CHINA
                    .add_working_days(r.counts_from(), policy.release.order_end_days)
                    .day
            }
            _ => r.counts_from(),
        };
        r.day <= self.until && due <= self.until && r.counts_from() <= self.until
    }

    /// What stays a fact.
    fn rest(&self, known: &Known, settled: &Settled, carried: Carried) -> Known {
        let facts = self.judged.facts;
        let mut gone: HashSet<i64> = HashSet::new();
        gone.extend(places(&facts.payments, &settled.payments).map(|(_, p)| p.seq));
        gone.extend(places(&facts.credits, &settled.credits).map(|(_, l)| l.seq));
        gone.extend(places(&facts.debits, &settled.debits).map(|(_, l)| l.seq));
        gone.extend(places(&facts.refunds, &settled.refunds).map(|(_, a)| a.seq));
        gone.extend(places(&facts.releases, &settled.releases).map(|(_, a)| a.seq));
        let k = &known.facts;
        let mut rest = Facts::default();
        rest.inst_id = k.inst_id;
        rest.carried = Arc::new(carried);
        rest.contracts.clone_from(&k.contracts);
        rest.append(k, |seq| !gone.contains(&seq));
        rest.days = (k.days.iter().enumerate())
            .filter(|(i, d)| {
                let next = k.days.get(i + 1).filter(|n| n.account_no == d.account_no);
                // The last one until the day stays: what comes next goes on from it.
                d.day > self.until || next.is_none_or(|n| n.day > self.until)
            })
            .map(|(_, d)| *d)
            .collect();
        // By account and reference: whether a credit is folded, and whether one is not.
        let mut credits: HashMap<(i64, &str), (bool, bool)> = HashMap::new();
        for l in k.credits.iter().filter(|_| !k.settlements.is_empty()) {
            let named = credits
                .entry((l.account_no, k.text(l.reference)))
                .or_default();
            let folded = gone.contains(&l.seq);
            (named.0, named.1) = (named.0 || folded, named.1 || !folded);
        }
        let is_over = |s: &&Settlement| {
            let over = days::day(s.period_to_day, "settlement").is_ok_and(|d| d <= self.until);
            over && credits.get(&(s.account_no, s.batch_no.as_str())) == Some(&(true, false))
        };
        rest.settlements = k
            .settlements
            .iter()
            .filter(|s| !is_over(s))
            .cloned()
            .collect();
        (rest.freezes, rest.exemptions) = (k.freezes.clone(), k.exemptions.clone());
        (rest.claims, rest.decisions) = (k.claims.clone(), k.decisions.clone());
        Known {
            facts: rest,
            lessons: known
                .lessons
                .iter()
                .filter(|r| !self.is_over(r))
                .copied()
                .collect(),
            seq: known.seq,
            gone: Vec::new(),
            folding: When::default(),
        }
    }
}

fn places<'a, T>(list: &'a [T], settled: &'a [bool]) -> impl Iterator<Item = (usize, &'a T)> {
    list.iter()
        .enumerate()
        .zip(settled)
        .filter(|(_, settled)| **settled)
        .map(|(one, _)| one)
}
