//! The reconciliation-day ledger: each day an account owes a statement for is in exactly one state.
//!
//! Invariants: pure; a day is never left out because nothing came for it; a day that two statements tell
//! differently, or that does not tie, is disputed and not proven.
//! Absent on purpose: storing states. They follow from what is known, the calendar and the time.

use chrono::SecondsFormat;
use chrono_tz::Tz;
use serde::Serialize;

use super::facts::StatedDay;
use super::statements::{AccountDays, Against, BrokenDay, OpenClaim, Stated};
use crate::base::{Day, Instant};
use crate::feed::owed::Owed;
use crate::feed::store::UNFINISHED_CLAIMANT;

/// How a day of an account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DayState {
    /// A statement is here and proves itself.
    Proven,
    /// The same, after the bank has corrected it.
    Revised,
    /// None is owed, for a stated reason.
    Exempt,
    /// None is here and its time has come.
    Late,
    /// None is here and the time of grace is over.
    Gap,
    /// Two statements say different things, or one contradicts itself or the day before.
    Disputed,
}

impl DayState {
    pub const ALL: [DayState; 6] = [
        DayState::Proven,
        DayState::Revised,
        DayState::Exempt,
        DayState::Late,
        DayState::Gap,
        DayState::Disputed,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            DayState::Proven => "proven",
            DayState::Revised => "revised",
            DayState::Exempt => "exempt",
            DayState::Late => "late",
            DayState::Gap => "gap",
            DayState::Disputed => "disputed",
        }
    }

    /// Whether nothing is to be done about the day.
    pub const fn is_settled(self) -> bool {
        matches!(
            self,
            DayState::Proven | DayState::Revised | DayState::Exempt
        )
    }
}

/// One day of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerDay {
    pub day: Day,
    pub state: DayState,
    /// Why, in words; empty for a day that is proven by the bank's first word.
    pub reason: String,
}

/// The days of one account, oldest first. A day whose time has not come is listed only once its statement
/// is here.
pub fn day_ledger(
    stated: &Stated<'_>,
    proof: &AccountDays,
    owed: &Owed,
    (zone, now): (Tz, Instant),
) -> Vec<LedgerDay> {
    let mut days: Vec<LedgerDay> = (proof.expected.iter())
        .filter_map(|day| {
            let (state, reason) = state_of(*day, stated, proof, owed, (zone, now))?;
            Some(LedgerDay {
                day: *day,
                state,
                reason,
            })
        })
        .collect();
    let reason = |day: Day| {
        let exemption = (stated.exemptions.iter()).find(|e| (e.first..=e.last).contains(&day));
        exemption.map(|e| e.reason.clone()).unwrap_or_default()
    };
    days.extend(proof.exempt.iter().map(|day| LedgerDay {
        day: *day,
        state: DayState::Exempt,
        reason: reason(*day),
    }));
    days.sort_by_key(|d| d.day);
    days
}

fn state_of(
    day: Day,
    stated: &Stated<'_>,
    proof: &AccountDays,
    owed: &Owed,
    (zone, now): (Tz, Instant),
) -> Option<(DayState, String)> {
    if let Some(claim) = stated.claims.iter().find(|c| c.day == day) {
        return Some((DayState::Disputed, claimed(claim, stated)));
    }
    if let Some(broken) = proof.broken.iter().find(|b| b.day == day) {
        return Some((DayState::Disputed, broke(broken)));
    }
    if let Ok(at) = stated.days.binary_search_by_key(&day, |d| d.day) {
        let StatedDay { version, .. } = stated.days[at];
        return Some(if version > 1 {
            (DayState::Revised, format!("version {version}"))
        } else {
            (DayState::Proven, String::new())
        });
    }
    let (due, gap) = (owed.expected_at(day, zone), owed.gap_at(day, zone));
    if now < due {
        return None;
    }
    let due = (due.with_timezone(&zone)).to_rfc3339_opts(SecondsFormat::Secs, false);
    Some(if now < gap {
        (DayState::Late, format!("owed by {due}"))
    } else {
        (DayState::Gap, format!("owed by {due}, none has come"))
    })
}

fn claimed(claim: &OpenClaim<'_>, stated: &Stated<'_>) -> String {
    if claim.claimant.starts_with(UNFINISHED_CLAIMANT) {
        return format!("{} is only in part in the books", claim.claimant);
    }
    let at = stated.days.binary_search_by_key(&claim.day, |d| d.day);
    match at.ok().map(|at| claim.closing - stated.days[at].closing) {
        None => format!("{} has not the lines that are known", claim.claimant),
        Some(0) => format!("{} has other lines", claim.claimant),
        Some(fen) => format!("{} closes with {fen:+} fen", claim.claimant),
    }
}

fn broke(broken: &BrokenDay) -> String {
    let fen = broken.difference;
    match broken.against {
        Against::Lines => format!("closing less opening and lines is {fen:+} fen"),
        Against::DayBefore => format!("opens with {fen:+} fen beside the closing before"),
        Against::OtherStatement => format!("another statement closes with {:+} fen", -fen),
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::Exemption;
    use super::super::statements::prove;
    use super::*;
    use crate::policy::Policy;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    fn said(day_text: &str, version: i64, opening: i64, closing: i64) -> StatedDay {
        StatedDay {
            account_no: 1,
            day: day(day_text),
            version,
            opening,
            closing,
        }
    }

    #[test]
    fn every_expected_day_is_in_one_state() {
        // Mon 1 June to Tue 9 June 2026; the 6th and 7th are a weekend.
        let days = [
            said("2026-06-01", 1, 5, 5),
            said("2026-06-02", 2, 5, 5),
            said("2026-06-03", 1, 5, 9),
            said("2026-06-05", 1, 9, 9),
        ];
        let exemptions = [Exemption {
            account_no: 1,
            first: day("2026-06-04"),
            last: day("2026-06-04"),
            reason: "bank closed for system change".to_owned(),
        }];
        let stated = Stated {
            days: &days,
            exemptions: &exemptions,
            ..Stated::default()
        };
        let policy = Policy::built_in("default").unwrap();
        let as_of = day("2026-06-10");
        let proof = prove(&stated, &policy, None, as_of);
        // Wed the 10th, 09:00 in Shanghai: the 9th is late, the 8th a gap, the 10th not owed yet.
        let now: Instant = "2026-06-10T01:00:00Z".parse().unwrap();
        let zone = chrono_tz::Asia::Shanghai;
        let ledger = day_ledger(&stated, &proof, &Owed::default(), (zone, now));
        let states: Vec<_> = ledger
            .iter()
            .map(|d| (d.day.to_string(), d.state.as_str()))
            .collect();
        let expected = [
            ("2026-06-01", "proven"),
            ("2026-06-02", "revised"),
            ("2026-06-03", "disputed"),
            ("2026-06-04", "exempt"),
            ("2026-06-05", "proven"),
            ("2026-06-08", "gap"),
            ("2026-06-09", "late"),
        ];
        assert_eq!(states, expected.map(|(d, s)| (d.to_owned(), s)));
        assert_eq!(ledger[6].reason, "owed by 2026-06-10T08:30:00+08:00");
        assert_eq!(ledger[3].reason, "bank closed for system change");
    }
}
