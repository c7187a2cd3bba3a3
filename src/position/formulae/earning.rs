//! What a contract has earned by a day, and what the release regime lets leave the account for it.
//!
//! A regime is a policy's parameter (`domain.md` §2.1, §6.4). Where a regime lets more leave than was
//! earned, or less, the requirement follows it: what may leave need not be held.

use std::collections::HashMap;

use crate::base::{Day, Money};
use crate::policy::{CHINA, GiftRule, Policy, Regime};
use crate::reconcile::{ContractTerms, Facts, LessonDay};
use crate::registry::Terms;

/// E of a contract (`domain.md` §6.1): by its confirmed lessons, or by the time that has passed of one sold
/// by time, the as-of day included.
pub(in crate::position) fn earned(
    policy: &Policy,
    contract: &ContractTerms,
    lessons: i64,
    day: Day,
) -> Money {
    let terms = &contract.terms;
    match contract.term() {
        Some((start, end)) => {
            let whole = i64::from(end.since(start)) + 1;
            let used = (i64::from(day.since(start)) + 1).clamp(0, whole);
            terms.lesson_amount.share_floored(used, whole)
        }
        None => by_lessons(policy, terms, lessons),
    }
}

fn by_lessons(policy: &Policy, terms: &Terms, lessons: i64) -> Money {
    match policy.lessons.gift {
        GiftRule::Pooled => terms.value_of(lessons),
        GiftRule::GiftZero => terms.value_of_paid(lessons),
    }
}

/// True while a contract is neither over nor used up.
pub(in crate::position) fn runs(contract: &ContractTerms, lessons: i64, day: Day) -> bool {
    let over = contract.ends_on.is_some_and(|end| end < day);
    !over && (contract.term().is_some() || lessons < contract.terms.pool())
}

/// allowed_release_c (`domain.md` §6.4): what may have left the account for a contract by a day. `completed`
/// is the day on which the last lesson counted.
pub(in crate::position) fn allowed_release(
    policy: &Policy,
    contract: &ContractTerms,
    (paid, earned_confirmed): (Money, Money),
    completed: Option<Day>,
    day: Day,
) -> Money {
    let whole = contract.terms.lesson_amount;
    match policy.release.regime {
        Regime::OneLesson => earned_confirmed,
        Regime::OrderEnd => {
            let completed = contract.term().map_or(completed, |(_, end)| Some(end));
            let due = completed.map(|on| order_end_due(policy, on));
            if due.is_some_and(|due| due <= day) {
                whole
            } else {
                Money::ZERO
            }
        }
        Regime::Tranche => {
            let (tranches, start) = (policy.release.tranches, first_day(contract));
            let due = (1..=tranches).filter(|n| start.plus_months(*n) <= day);
            let due = i64::try_from(due.count()).unwrap_or(0);
            whole.share_floored(due, i64::from(tranches))
        }
        // A share of recent fees stays in the account; the rest is free.
        Regime::ReserveRatio => paid,
    }
}

/// The day on which a completed order may be released.
fn order_end_due(policy: &Policy, completed: Day) -> Day {
    (CHINA.add_working_days(completed, policy.release.order_end_days)).day
}

fn first_day(contract: &ContractTerms) -> Day {
    contract.starts_on.unwrap_or(contract.ordered_on)
}

/// Days on which earned value or what may be released changes by itself, with no fact of that day, up to
/// `last`.
pub(in crate::position) fn turning_days(
    policy: &Policy,
    contract: &ContractTerms,
    lessons: &[LessonDay],
    (after, last): (Option<Day>, Day),
) -> Vec<Day> {
    let mut days: Vec<Day> = match contract.term() {
        Some((start, end)) => {
            let from = after.map_or(start, |after| start.max(after.plus(1)));
            from.through(end.min(last)).collect()
        }
        None => Vec::new(),
    };
    match policy.release.regime {
        Regime::OneLesson | Regime::ReserveRatio => {}
        Regime::OrderEnd => {
            let of = |l: &&LessonDay| l.contract_no == contract.contract_no;
            let ends = contract.term().map(|(_, end)| end);
            let from = lessons.iter().filter(of).map(|l| l.day).chain(ends);
            days.extend(from.map(|on| order_end_due(policy, on)));
        }
        Regime::Tranche => {
            let start = first_day(contract);
            days.extend((1..=policy.release.tranches).map(|n| start.plus_months(n)));
        }
    }
    days.retain(|d| *d <= last && after.is_none_or(|after| *d > after));
    days
}

/// The day since which each contract's lessons have all counted.
pub(in crate::position) fn completions(facts: &Facts) -> HashMap<i64, Day> {
    let mut by_day: Vec<&LessonDay> = facts.lesson_days.iter().collect();
    by_day.sort_unstable_by_key(|l| (l.contract_no, l.day));
    let carried = facts.carried.contracts.iter();
    let mut found: HashMap<i64, Day> = carried
        .filter_map(|c| Some((c.contract_no, c.completed?)))
        .collect();
    for one in by_day.chunk_by(|a, b| a.contract_no == b.contract_no) {
        let no = one[0].contract_no;
        let Some(pool) = facts.contract(no).map(|c| c.terms.pool()) else {
            continue;
        };
        let before = facts
            .carried
            .contract(no)
            .map_or(0, |c| c.lessons.confirmed);
        let (mut sum, mut since) = (before, found.remove(&no));
        for l in one {
            sum += l.confirmed;
            since = if pool == 0 || sum < pool {
                None
            } else {
                since.or(Some(l.day))
            };
        }
        if let Some(day) = since {
            found.insert(no, day);
        }
    }
    found
}

/// Whether a fee paid on `paid` counts in the rolling window of a reserve ratio.
pub(in crate::position) fn reserve_ends(policy: &Policy, paid: Day) -> Day {
    paid.plus_months(policy.release.reserve_months)
}

/// What a reserve ratio requires of the fees of its window.
pub(in crate::position) fn reserve_of(policy: &Policy, fees: Money) -> Money {
    fees.share_ceiled(policy.release.reserve_bp, 10_000)
}
