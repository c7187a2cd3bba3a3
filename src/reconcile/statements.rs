//! Which days an account owed a statement, which it proved, which are missing or broken.
//!
//! A statement day proves itself: opening + Σ lines of the day = closing. A missing day is named; later
//! statements, which prove themselves, are still used.

use std::collections::HashSet;

use super::facts::Facts;
use crate::base::Day;
use crate::policy::{CHINA, Expected, Policy};

/// First and last statement day known over all accounts: the expected range of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedRange {
    pub first: Day,
    pub last: Day,
}

/// A statement day that does not tie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenDay {
    pub day: Day,
    /// What the statement says less what its lines say, in fen.
    pub difference: i64,
    /// True where the day's own lines do not lead to its closing; false where its opening differs from
    /// the closing before.
    pub within: bool,
}

/// One account's statement days up to the as-of day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountDays {
    pub missing: Vec<Day>,
    pub broken: Vec<BrokenDay>,
    /// The newest day that proves itself, with its closing balance in fen.
    pub latest: Option<(Day, i64)>,
    /// The last day a statement was owed for; `None` where none is owed yet.
    pub last_expected: Option<Day>,
    /// A statement is owed and none is proven for the as-of day or the last expected day before it.
    pub unproven: bool,
    /// Closing balances of proven days, oldest first.
    pub closings: Vec<(Day, i64)>,
}

/// Proves the statement days of one account as of `day`.
pub fn prove(
    facts: &Facts,
    account_no: i64,
    policy: &Policy,
    range: Option<ExpectedRange>,
    day: Day,
) -> AccountDays {
    let from = facts.days.partition_point(|d| d.account_no < account_no);
    let to = facts.days.partition_point(|d| d.account_no <= account_no);
    let days = &facts.days[from..to];
    let moved = moved_by_day(facts, account_no);
    let mut result = AccountDays::default();
    for stated in days {
        let lines = moved
            .binary_search_by_key(&stated.day, |m| m.0)
            .map_or(0, |at| moved[at].1);
        let difference = i128::from(stated.closing) - i128::from(stated.opening) - lines;
        if difference == 0 {
            result.closings.push((stated.day, stated.closing));
        } else {
            let difference = i64::try_from(difference).unwrap_or(i64::MAX);
            result.broken.push(BrokenDay {
                day: stated.day,
                difference,
                within: true,
            });
        }
    }
    result.latest = result.closings.last().copied();
    let expected = expected_days(policy, range, days.first().map(|d| d.day), day);
    let mut at = 0;
    for owed in &expected {
        while at < days.len() && days[at].day < *owed {
            at += 1;
        }
        if days.get(at).is_none_or(|d| d.day != *owed) {
            result.missing.push(*owed);
        }
    }
    let within: HashSet<Day> = result.broken.iter().map(|b| b.day).collect();
    for pair in days.windows(2) {
        let next = result.missing.partition_point(|m| *m <= pair[0].day);
        let gap = result.missing.get(next).is_some_and(|m| *m < pair[1].day);
        // A day that is broken within itself is named once.
        let named = within.contains(&pair[1].day);
        if !gap && !named && pair[1].opening != pair[0].closing {
            let difference = pair[1].opening - pair[0].closing;
            result.broken.push(BrokenDay {
                day: pair[1].day,
                difference,
                within: false,
            });
        }
    }
    result.last_expected = expected.last().copied();
    result.unproven = result
        .last_expected
        .is_some_and(|owed| result.latest.is_none_or(|(latest, _)| latest < owed));
    result
}

fn expected_days(
    policy: &Policy,
    range: Option<ExpectedRange>,
    first_known: Option<Day>,
    day: Day,
) -> Vec<Day> {
    match policy.statements.expected {
        Expected::Bundle => match range {
            Some(range) => range.first.through(range.last.min(day)).collect(),
            None => Vec::new(),
        },
        // An account that never sent a statement owes at least the latest working day's.
        Expected::Working => {
            let last = CHINA.working_day_at_or_before(day);
            let first = first_known.unwrap_or(last);
            first
                .through(last)
                .filter(|d| CHINA.is_working(*d))
                .collect()
        }
    }
}

/// Net movement of each day that has lines, in order of days.
fn moved_by_day(facts: &Facts, account_no: i64) -> Vec<(Day, i128)> {
    let credits = facts.credits.iter().map(|l| (l, 1_i128));
    let debits = facts.debits.iter().map(|l| (l, -1_i128));
    let mut moved: Vec<(Day, i128)> = credits
        .chain(debits)
        .filter(|(l, _)| l.account_no == account_no)
        .map(|(l, sign)| (l.day, sign * i128::from(l.amount.fen())))
        .collect();
    moved.sort_unstable_by_key(|m| m.0);
    moved.dedup_by(|next, sum| {
        let same = next.0 == sum.0;
        if same {
            sum.1 += next.1;
        }
        same
    });
    moved
}

#[cfg(test)]
mod tests {
    use super::super::facts::StatedDay;
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    fn facts(days: &[(&str, i64, i64)]) -> Facts {
        let mut facts = Facts::default();
        facts.days = days
            .iter()
            .map(|(d, opening, closing)| StatedDay {
                account_no: 1,
                day: day(d),
                opening: *opening,
                closing: *closing,
            })
            .collect();
        facts
    }

    fn policy(name: &str) -> Policy {
        Policy::parse(if name == "default" {
            include_str!("../policy/default.toml")
        } else {
            include_str!("../policy/workload.toml")
        })
        .unwrap()
    }

    #[test]
    fn a_missing_day_is_named_and_later_days_are_used() {
        let facts = facts(&[("2026-06-01", 5, 5), ("2026-06-03", 7, 7)]);
        let range = ExpectedRange {
            first: day("2026-06-01"),
            last: day("2026-06-03"),
        };
        let days = prove(
            &facts,
            1,
            &policy("workload"),
            Some(range),
            day("2026-06-30"),
        );
        assert_eq!(days.missing, [day("2026-06-02")]);
        assert_eq!(days.latest, Some((day("2026-06-03"), 7)));
        assert!(
            days.broken.is_empty(),
            "the gap explains the different opening"
        );
        assert!(!days.unproven);
    }

    #[test]
    fn rest_days_are_not_expected_by_default_and_make_up_days_are() {
        // Fri 2026-05-08, make-up Saturday the 9th, Sunday, Monday the 11th.
        let facts = facts(&[("2026-05-08", 5, 5), ("2026-05-11", 5, 5)]);
        let days = prove(&facts, 1, &policy("default"), None, day("2026-05-11"));
        assert_eq!(days.missing, [day("2026-05-09")]);
        let sunday = prove(&facts, 1, &policy("default"), None, day("2026-05-10"));
        assert_eq!(sunday.last_expected, Some(day("2026-05-09")));
    }

    #[test]
    fn an_unbalanced_day_proves_nothing() {
        let facts = facts(&[("2026-06-01", 5, 5), ("2026-06-02", 5, 9)]);
        let days = prove(&facts, 1, &policy("default"), None, day("2026-06-02"));
        assert_eq!(
            days.broken,
            [BrokenDay {
                day: day("2026-06-02"),
                difference: 4,
                within: true
            }]
        );
        assert_eq!(days.latest, Some((day("2026-06-01"), 5)));
        assert!(days.unproven);
    }

    #[test]
    fn a_silent_account_is_unproven() {
        let days = prove(&facts(&[]), 1, &policy("default"), None, day("2026-06-02"));
        assert_eq!(
            (days.missing.as_slice(), days.unproven),
            ([day("2026-06-02")].as_slice(), true)
        );
    }

    #[test]
    fn an_opening_that_differs_without_a_missing_day_is_broken() {
        let facts = facts(&[("2026-06-05", 5, 5), ("2026-06-08", 6, 6)]);
        let days = prove(&facts, 1, &policy("default"), None, day("2026-06-08"));
        assert_eq!(
            days.broken,
            [BrokenDay {
                day: day("2026-06-08"),
                difference: 1,
                within: false
            }]
        );
        assert_eq!(days.latest, Some((day("2026-06-08"), 6)));
    }
}
