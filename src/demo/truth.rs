//! What a correct reconciliation must say of an institution at the end of a business day, from the
//! links the simulator made itself, never from a matching algorithm.
//!
//! The rules are the default policy's (`domain.md` §6): unidentified credits are not held, only filed
//! custody accounts count, money in transit explains a gap while its window lasts. Invariant: a state
//! is planted on the first day it is true and cured on the first day it is not; if it returns, it is
//! planted anew. Contract-level states are told only where releases name their contract.
//! Absent on purpose: channel fees as an explanation at institution level, because earned value left
//! in the account covers them, and TIMING_GAP, which is no trouble.

use std::collections::BTreeMap;

use crate::base::{Day, FlagCode, Money};

use super::Planted;
use super::city::Mode;
use super::life::Life;
use super::trouble::Standing;

/// States that are true now, each with its place in the list of the planted.
#[derive(Default)]
pub(super) struct Observer {
    open: BTreeMap<(i64, String), usize>,
}

/// A state found at the end of a day.
struct Seen {
    code: FlagCode,
    subject: String,
    amount: i64,
}

impl Observer {
    fn note(&mut self, seen: Vec<Seen>, institution: &str, day: Day, planted: &mut Vec<Planted>) {
        let mut now = BTreeMap::new();
        for state in seen {
            let key = (state.code.number(), state.subject.clone());
            let place = self.open.remove(&key).unwrap_or_else(|| {
                planted.push(Planted {
                    code: state.code,
                    institution_id: institution.to_owned(),
                    subject: state.subject,
                    day,
                    cured: None,
                    amount: Money::from_fen(state.amount),
                });
                planted.len() - 1
            });
            now.insert(key, place);
        }
        for place in self.open.values() {
            planted[*place].cured = Some(day);
        }
        self.open = now;
    }
}

impl Life<'_> {
    /// Looks at the end of business day `i`.
    pub(super) fn observe(&mut self, i: usize) {
        let mut seen = self.overdue(i);
        if matches!(self.institution.mode, Mode::Bank | Mode::Hybrid) {
            let uncovered = self.uncovered(i);
            if uncovered > 0 {
                let subject = self.institution.id.clone();
                seen.push(Seen {
                    code: FlagCode::UncoveredFunds,
                    subject,
                    amount: uncovered,
                });
            }
            if self.institution.by_order {
                self.contract_states(i, uncovered == 0, &mut seen);
            }
        }
        let day = self.calendar.day(i);
        self.observer
            .note(seen, &self.institution.id, day, &mut self.planted);
    }

    fn overdue(&self, i: usize) -> Vec<Seen> {
        let late = self
            .payments
            .iter()
            .filter(|p| !p.credited && p.overdue_at <= i);
        late.map(|p| Seen {
            code: FlagCode::TransitOverdue,
            subject: p.id.clone(),
            amount: p.amount,
        })
        .collect()
    }

    /// Fees reported, uncredited and still inside their window.
    fn in_transit(&self, i: usize, contract: Option<usize>) -> i64 {
        let open = self
            .payments
            .iter()
            .filter(|p| !p.credited && p.overdue_at > i);
        open.filter(|p| contract.is_none_or(|c| p.contract == c))
            .map(|p| p.amount)
            .sum()
    }

    /// UNCOV: required, less what filed custody holds, less what is in transit.
    fn uncovered(&self, i: usize) -> i64 {
        let filed = self.institution.standing != Some(Standing::Unfiled);
        let held = if filed {
            (self.balance(i) - self.unidentified).max(0)
        } else {
            0
        };
        let gap = (self.required() - held).max(0);
        (gap - self.in_transit(i, None)).max(0)
    }

    fn contract_states(&self, i: usize, covered: bool, seen: &mut Vec<Seen>) {
        for (index, contract) in self.contracts.iter().enumerate() {
            let cash = contract.cleared - contract.refunded - contract.released;
            let mut add = |code, amount: i64| {
                if amount > 0 {
                    seen.push(Seen {
                        code,
                        subject: contract.id.clone(),
                        amount,
                    });
                }
            };
            add(FlagCode::NegativeContract, -cash);
            add(
                FlagCode::PrematureRelease,
                contract.released - contract.earned(),
            );
            if covered {
                let gap = contract.required() - cash - self.in_transit(i, Some(index));
                add(FlagCode::ContractShort, gap);
            }
        }
    }
}
