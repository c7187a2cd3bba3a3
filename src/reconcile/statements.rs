//! Which days an account owed a statement, which it proved, which are missing or broken.
//!
//! A statement day proves itself: opening + Σ lines of the day = closing. A missing day is named, and so is
//! one of which another statement says otherwise; later statements, which prove themselves, are still used.
//!
//! A closed account owes nothing after the day that proves it empty, if it stayed empty (`domain.md` §2.3,
//! zero-balance proof); closed with a balance it goes on owing. Its closing has no date of its own: the
//! statements say when.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::carried::DaysCarried;
use super::facts::{Claim, Exemption, Facts, StatedDay};
use crate::base::Day;
use crate::feed::store::lines_digest;
use crate::policy::{CHINA, Expected, Policy};

/// First and last statement day known over all accounts: the expected range of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedRange {
    pub first: Day,
    pub last: Day,
}

/// What a statement day that does not tie differs from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// The day's own lines do not lead from its opening to its closing.
    Lines,
    /// The closing of the day before.
    DayBefore,
    /// Another statement of the day, which has not been settled.
    OtherStatement,
}

/// A statement day that does not tie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenDay {
    pub day: Day,
    /// What the statement says less what the other side says, in fen; of two statements, their closings.
    pub difference: i64,
    pub against: Against,
}

/// What is known of one account's statements up to the as-of day.
#[derive(Clone, Debug, Default)]
pub struct Stated<'f> {
    /// In order.
    pub days: &'f [StatedDay],
    /// Net movement of each day that has lines, in order.
    pub moved: Vec<(Day, i128)>,
    /// In order of days.
    pub claims: Vec<OpenClaim<'f>>,
    pub exemptions: &'f [Exemption],
    /// No statement is owed for days before; `None` = from the first one known.
    pub first_owed: Option<Day>,
    /// The account is closed, as far as is known.
    pub closed: bool,
    /// What days up to one came to. Of these, `days` holds the last one, which is proven.
    pub carried: Option<(Day, &'f DaysCarried)>,
}

/// A claim that differs from what stands.
#[derive(Clone, Copy, Debug)]
pub struct OpenClaim<'f> {
    pub day: Day,
    pub claimant: &'f str,
    pub closing: i64,
}

/// One account's statement days up to the as-of day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountDays {
    /// Days a statement was owed for, exempt ones left out.
    pub expected: Vec<Day>,
    pub missing: Vec<Day>,
    pub exempt: Vec<Day>,
    pub broken: Vec<BrokenDay>,
    /// The newest day that proves itself, with its closing balance in fen.
    pub latest: Option<(Day, i64)>,
    /// The last day a statement was owed for; `None` where none is owed yet.
    pub last_expected: Option<Day>,
    /// Closed and proven empty before the as-of day: nothing is owed any more.
    pub ended: bool,
    /// A statement is owed and none is proven for the as-of day or the last expected day before it.
    pub unproven: bool,
    /// Closing balances of proven days, oldest first.
    pub closings: Vec<(Day, i64)>,
}

impl Facts {
    /// What is known of one account's statements.
    pub fn stated(&self, account_no: i64) -> Stated<'_> {
        let days = of_account(&self.days, account_no, |d| d.account_no);
        let claims = of_account(&self.claims, account_no, |c| c.account_no);
        let lines = || {
            let credits = self.credits.iter().map(|l| (l, 1_i64));
            let debits = self.debits.iter().map(|l| (l, -1_i64));
            credits
                .chain(debits)
                .filter(move |(l, _)| l.account_no == account_no)
                .map(|(l, sign)| (l.day, sign * l.amount.fen()))
        };
        let lines_of = |day: Day| {
            lines()
                .filter(|(d, _)| *d == day)
                .map(|(_, fen)| fen)
                .collect()
        };
        Stated {
            days,
            moved: moved_by_day(lines()),
            claims: open_claims(days, claims, lines_of),
            exemptions: of_account(&self.exemptions, account_no, |e| e.account_no),
            first_owed: None,
            closed: false,
            carried: (self.carried.until).zip(self.carried.account(account_no).map(|a| &a.days)),
        }
    }
}

/// Claims that differ from what stands. One that says the same, because the standing statement was
/// revised since, is settled by itself. `lines_of` gives the signed amounts of a day's lines.
pub fn open_claims<'f>(
    days: &[StatedDay],
    claims: &'f [Claim],
    lines_of: impl Fn(Day) -> Vec<i64>,
) -> Vec<OpenClaim<'f>> {
    (claims.iter())
        .filter(|claim| {
            let at = days.binary_search_by_key(&claim.day, |d| d.day);
            !at.is_ok_and(|at| {
                (days[at].opening, days[at].closing) == (claim.opening, claim.closing)
                    && lines_digest(lines_of(claim.day)) == claim.lines_digest
            })
        })
        .map(|claim| OpenClaim {
            day: claim.day,
            claimant: &claim.claimant,
            closing: claim.closing,
        })
        .collect()
}

/// The part of a list, ordered by account, that is one account's.
pub(super) fn of_account<T>(list: &[T], account_no: i64, account: impl Fn(&T) -> i64) -> &[T] {
    let from = list.partition_point(|x| account(x) < account_no);
    let to = list.partition_point(|x| account(x) <= account_no);
    &list[from..to]
}

/// Proves the statement days of one account as of `day`.
pub fn prove(
    stated: &Stated<'_>,
    policy: &Policy,
    range: Option<ExpectedRange>,
    day: Day,
) -> AccountDays {
    let days = stated.days;
    let mut result = AccountDays::default();
    let until = stated.carried.map(|(until, _)| until);
    if let Some((_, carried)) = stated.carried {
        result.broken.clone_from(&carried.broken);
    }
    for said in days {
        if until.is_some_and(|until| said.day <= until) {
            result.closings.push((said.day, said.closing));
            continue;
        }
        let lines = (stated.moved)
            .binary_search_by_key(&said.day, |m| m.0)
            .map_or(0, |at| stated.moved[at].1);
        let tie = i128::from(said.closing) - i128::from(said.opening) - lines;
        let claim = stated.claims.partition_point(|c| c.day < said.day);
        let claim = stated.claims.get(claim).filter(|c| c.day == said.day);
        let broken = match claim {
            Some(claim) => Some((said.closing - claim.closing, Against::OtherStatement)),
            None if tie != 0 => Some((i64::try_from(tie).unwrap_or(i64::MAX), Against::Lines)),
            None => None,
        };
        match broken {
            None => result.closings.push((said.day, said.closing)),
            Some((difference, against)) => result.broken.push(BrokenDay {
                day: said.day,
                difference,
                against,
            }),
        }
    }
    let known = stated.first_owed.or(days.first().map(|d| d.day));
    let after = until.map(|until| until.plus(1));
    let first = known.map(|first| after.map_or(first, |after| first.max(after)));
    let mut owed = expected_days(policy, (range, after), first, day);
    if stated.closed
        && policy.statements.expected == Expected::Working
        && let Some(emptied) = emptied(days, &result)
    {
        let to = owed.partition_point(|d| *d <= emptied);
        result.ended = to < owed.len();
        owed.truncate(to);
    }
    let exempt = |d: &Day| (stated.exemptions.iter()).any(|e| (e.first..=e.last).contains(d));
    (result.exempt, result.expected) = owed.into_iter().partition(exempt);
    result.missing = missing(&result.expected, days);
    if let Some((_, carried)) = stated.carried {
        result.missing.splice(0..0, carried.missing.iter().copied());
        result.exempt.splice(0..0, carried.exempt.iter().copied());
    }
    // A day that begins with money the day before did not have proves nothing either.
    let broken = opening_breaks(days, &mut result);
    result.closings.retain(|(day, _)| !broken.contains(day));
    result.latest = result.closings.last().copied();
    let expected_before = stated
        .carried
        .and_then(|(_, carried)| carried.last_expected);
    result.last_expected = result.expected.last().copied().or(expected_before);
    result.unproven = result
        .last_expected
        .is_some_and(|owed| result.latest.is_none_or(|(latest, _)| latest < owed));
    result
}

/// The first day that is proven to close with nothing and after which no statement tells of a balance, or
/// does not tie.
fn emptied(days: &[StatedDay], proof: &AccountDays) -> Option<Day> {
    let with_balance = days.iter().filter(|d| d.closing != 0).map(|d| d.day).max();
    let broken = proof.broken.iter().map(|b| b.day).max();
    let after = with_balance.max(broken);
    let mut closings = proof.closings.iter().map(|(day, _)| *day);
    closings.find(|day| after.is_none_or(|after| *day > after))
}

fn missing(expected: &[Day], days: &[StatedDay]) -> Vec<Day> {
    let mut at = 0;
    let mut missing = Vec::new();
    for owed in expected {
        while at < days.len() && days[at].day < *owed {
            at += 1;
        }
        if days.get(at).is_none_or(|d| d.day != *owed) {
            missing.push(*owed);
        }
    }
    missing
}

/// Names days that open with another balance than the day before closed with, unless a missing, exempt or
/// broken day explains it, and returns those that prove nothing for it.
///
/// A statement may begin with days for which none is owed, as Monday's does that goes on from Friday: the
/// first day it is owed for is the one that is named, and no day before it proves anything.
fn opening_breaks(days: &[StatedDay], result: &mut AccountDays) -> HashSet<Day> {
    let mut named: HashSet<Day> = result.broken.iter().map(|b| b.day).collect();
    let disputed: HashSet<Day> = (result.broken.iter())
        .filter(|b| b.against == Against::OtherStatement)
        .map(|b| b.day)
        .collect();
    let between = |list: &[Day], from: Day, to: Day| {
        let next = list.partition_point(|m| *m <= from);
        list.get(next).is_some_and(|m| *m < to)
    };
    let mut proves_nothing = HashSet::new();
    for (at, pair) in days.windows(2).enumerate() {
        let (before, after) = (&pair[0], &pair[1]);
        let explained = between(&result.missing, before.day, after.day)
            || between(&result.exempt, before.day, after.day)
            || disputed.contains(&before.day);
        if explained || after.opening == before.closing {
            continue;
        }
        let (day, last) = reach(&days[at + 1..], &result.expected);
        proves_nothing.extend(after.day.through(last));
        // A day is named once, though it is broken within itself too, or a weekend before it is twice.
        if named.insert(day) {
            result.broken.push(BrokenDay {
                day,
                difference: after.opening - before.closing,
                against: Against::DayBefore,
            });
        }
    }
    proves_nothing
}

/// Of days, as long as they follow each other: the first one that is owed, which is to be named and is the
/// last to prove nothing. Where none is owed, the first one is named and none of them proves anything.
fn reach(days: &[StatedDay], expected: &[Day]) -> (Day, Day) {
    let first = days[0].day;
    let mut last = first;
    for (day, said) in first.through(Day::MAX).zip(days) {
        if day != said.day {
            break;
        }
        last = day;
        if expected.binary_search(&day).is_ok() {
            return (day, day);
        }
    }
    (first, last)
}

fn expected_days(
    policy: &Policy,
    (range, after): (Option<ExpectedRange>, Option<Day>),
    first: Option<Day>,
    day: Day,
) -> Vec<Day> {
    match policy.statements.expected {
        Expected::Bundle => match range {
            Some(range) => (range.first.max(after.unwrap_or(range.first)))
                .through(range.last.min(day))
                .collect(),
            None => Vec::new(),
        },
        // An account that never sent a statement owes at least the latest working day's.
        Expected::Working => {
            let last = CHINA.working_day_at_or_before(day);
            let first = first.unwrap_or(last);
            first
                .through(last)
                .filter(|d| CHINA.is_working(*d))
                .collect()
        }
    }
}

/// Net movement of each day that has lines, in order of days.
pub fn moved_by_day(lines: impl Iterator<Item = (Day, i64)>) -> Vec<(Day, i128)> {
    let mut moved: Vec<(Day, i128)> = lines.map(|(day, fen)| (day, i128::from(fen))).collect();
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
                version: 1,
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
    fn a_statement_over_a_weekend_that_does_not_go_on_is_named_on_the_day_it_is_owed_for() {
        // Friday the 5th; Monday's statement speaks of the weekend as well, and opens with two fen more.
        let facts = facts(&[
            ("2026-06-05", 5, 5),
            ("2026-06-06", 7, 7),
            ("2026-06-07", 7, 7),
            ("2026-06-08", 7, 9),
            ("2026-06-09", 9, 9),
        ]);
        let mut stated = facts.stated(1);
        stated.moved = vec![(day("2026-06-08"), 2)];
        let proof = |on: &str| {
            let upto = stated.days.partition_point(|d| d.day <= day(on));
            let known = Stated {
                days: &stated.days[..upto],
                ..stated.clone()
            };
            prove(&known, &policy("default"), None, day(on))
        };
        let monday = proof("2026-06-08");
        let broken = BrokenDay {
            day: day("2026-06-08"),
            difference: 2,
            against: Against::DayBefore,
        };
        assert_eq!(monday.broken, [broken]);
        assert_eq!(monday.latest, Some((day("2026-06-05"), 5)));
        assert!(monday.unproven);
        assert!(!proof("2026-06-09").unproven, "a later day goes on from it");
        // On Sunday nothing is owed since Friday's, and what has come proves nothing.
        let sunday = proof("2026-06-07");
        assert_eq!(sunday.broken[0].day, day("2026-06-06"));
        assert_eq!(sunday.latest, Some((day("2026-06-05"), 5)));
    }

    #[test]
    fn a_day_that_two_jumps_before_it_are_named_by_is_named_once() {
        // Friday the 5th; Saturday and Sunday each open with other money than the day before closed with.
        let facts = facts(&[
            ("2026-06-05", 5, 5),
            ("2026-06-06", 7, 7),
            ("2026-06-07", 9, 9),
            ("2026-06-08", 9, 9),
        ]);
        let on = day("2026-06-08");
        let proof = prove(&facts.stated(1), &policy("default"), None, on);
        let named: Vec<(Day, i64)> = proof.broken.iter().map(|b| (b.day, b.difference)).collect();
        assert_eq!(named, [(on, 2)]);
        assert_eq!(proof.latest, Some((day("2026-06-05"), 5)));
    }

    #[test]
    fn a_missing_day_is_named_and_later_days_are_used() {
        let facts = facts(&[("2026-06-01", 5, 5), ("2026-06-03", 7, 7)]);
        let range = ExpectedRange {
            first: day("2026-06-01"),
            last: day("2026-06-03"),
        };
        let days = prove(
            &facts.stated(1),
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
        let days = prove(
            &facts.stated(1),
            &policy("default"),
            None,
            day("2026-05-11"),
        );
        assert_eq!(days.missing, [day("2026-05-09")]);
        let sunday = prove(
            &facts.stated(1),
            &policy("default"),
            None,
            day("2026-05-10"),
        );
        assert_eq!(sunday.last_expected, Some(day("2026-05-09")));
    }

    #[test]
    fn an_unbalanced_day_proves_nothing() {
        let facts = facts(&[("2026-06-01", 5, 5), ("2026-06-02", 5, 9)]);
        let days = prove(
            &facts.stated(1),
            &policy("default"),
            None,
            day("2026-06-02"),
        );
        assert_eq!(
            days.broken,
            [BrokenDay {
                day: day("2026-06-02"),
                difference: 4,
                against: Against::Lines
            }]
        );
        assert_eq!(days.latest, Some((day("2026-06-01"), 5)));
        assert!(days.unproven);
    }

    #[test]
    fn a_silent_account_is_unproven() {
        let days = prove(
            &facts(&[]).stated(1),
            &policy("default"),
            None,
            day("2026-06-02"),
        );
        assert_eq!(
            (days.missing.as_slice(), days.unproven),
            ([day("2026-06-02")].as_slice(), true)
        );
    }

    #[test]
    fn a_closed_account_owes_until_it_is_proven_empty() {
        let closed = |days: &[(&str, i64, i64)], name: &str, range: Option<ExpectedRange>| {
            let facts = facts(days);
            let stated = Stated {
                closed: true,
                ..facts.stated(1)
            };
            let on = day("2026-06-05");
            let days = prove(&stated, &policy(name), range, on);
            let missing: Vec<String> = days.missing.iter().map(Day::to_string).collect();
            (missing.join(" "), days.unproven, days.ended)
        };
        let told = |missing: &str, unproven, ended| (missing.to_owned(), unproven, ended);
        let (thursday, friday) = (("2026-05-28", 0, 0), ("2026-05-29", 0, 0));
        let emptied = closed(&[thursday, friday], "default", None);
        assert_eq!(emptied, told("", false, true));
        // Filled again: it goes on owing from there.
        let later = ("2026-06-03", 7, 7);
        assert_eq!(
            closed(&[thursday, friday, later], "default", None),
            told("2026-06-01 2026-06-02 2026-06-04 2026-06-05", true, false)
        );
        // A day that does not tie proves nothing.
        let untied = ("2026-06-01", 5, 0);
        assert_eq!(
            closed(&[thursday, friday, untied], "default", None),
            told("2026-06-02 2026-06-03 2026-06-04 2026-06-05", true, false)
        );
        let range = ExpectedRange {
            first: day("2026-05-28"),
            last: day("2026-06-01"),
        };
        let workload = closed(&[thursday, friday], "workload", Some(range));
        assert_eq!(
            workload,
            told("2026-05-30 2026-05-31 2026-06-01", true, false)
        );
    }

    #[test]
    fn an_opening_that_differs_without_a_missing_day_is_broken() {
        let facts = facts(&[("2026-06-05", 5, 5), ("2026-06-08", 6, 6)]);
        let days = prove(
            &facts.stated(1),
            &policy("default"),
            None,
            day("2026-06-08"),
        );
        assert_eq!(
            days.broken,
            [BrokenDay {
                day: day("2026-06-08"),
                difference: 1,
                against: Against::DayBefore
            }]
        );
        assert_eq!(days.latest, Some((day("2026-06-05"), 5)));
        assert!(days.unproven, "what nobody brought covers nothing");
    }
}
