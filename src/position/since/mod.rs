//! Since when a state has held: one sweep over an institution's facts, oldest first.
//!
//! A function of the same facts, matching, policy and day as the position itself, with every lesson on
//! its day: which days were reconciled before, and what was known then, plays no part. A payment that
//! is matched as of the day counts as matched from its credit on.

mod events;
mod sweep;

use std::collections::HashMap;

use super::formulae::Measured;
use crate::base::{Day, Money};
use crate::policy::Policy;
use crate::reconcile::carried::SweptCarried;
use crate::reconcile::{Facts, Matching};
use crate::registry;

use events::{events, fnv};
use sweep::Sweep;

/// The first day of the unbroken time up to the as-of day in which each state has held; absent where
/// it does not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Since {
    pub uncovered: Option<Day>,
    /// Released beyond what the regime allows, institution as a whole.
    pub premature: Option<Day>,
    /// By contract_no.
    pub contracts: HashMap<i64, ContractSince>,
    /// A deposit below its requirement, by account_no.
    pub deposits: HashMap<i64, Day>,
    /// First movement or report on each account, by account_no.
    pub first_use: HashMap<i64, Day>,
    /// First payment reported.
    pub first_payment: Option<Day>,
    /// What open facts did up to the day that is carried until ([`crate::reconcile::carried::Carried::past`]).
    pub past: u64,
    /// How it stood at the end of the day that was asked for.
    pub stood: Option<Stood>,
}

impl Since {
    /// The same where no state holds as of the day.
    pub fn of_no_state(self) -> Since {
        Since {
            uncovered: None,
            premature: None,
            contracts: HashMap::new(),
            deposits: HashMap::new(),
            ..self
        }
    }
}

/// States at the end of a day, to be carried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stood {
    pub swept: SweptCarried,
    /// States of each contract, by contract_no, and since when its lessons have all counted.
    pub contracts: HashMap<i64, (ContractSince, Option<Day>)>,
}

/// Like [`Since`], for one contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContractSince {
    /// Short while the institution as a whole was covered.
    pub short: Option<Day>,
    pub negative: Option<Day>,
    pub premature: Option<Day>,
}

/// True where a state that needs the sweep holds.
pub fn needs_sweep(measured: &Measured) -> bool {
    let p = &measured.position;
    p.uncovered > Money::ZERO
        || p.premature > Money::ZERO
        || !measured.contracts.is_empty()
        || !measured.deposits_short.is_empty()
}

/// Finds since when the states of `measured` have held. Without a sweep only first uses are told. `at` is a day
/// of which it is also told how things stood.
pub fn since(
    registered: &[&registry::Account],
    facts: &Facts,
    matching: &Matching,
    measured: &Measured,
    (policy, day): (&Policy, Day),
    (sweeps, at): (bool, Option<Day>),
) -> Since {
    let carried = &facts.carried;
    let first_payment = facts
        .payments
        .iter()
        .map(|p| p.day)
        .chain(carried.first_payment)
        .min();
    let used = carried
        .accounts
        .iter()
        .filter_map(|a| Some((a.account_no, a.first_use?)));
    let mut found = Since {
        first_payment,
        first_use: used.collect(),
        ..Since::default()
    };
    let uses = (facts
        .credits
        .iter()
        .chain(&facts.debits)
        .map(|l| (l.account_no, l.day)))
    .chain(facts.payments.iter().map(|p| (p.account_no, p.day)));
    for (account_no, used) in uses {
        let first = found.first_use.entry(account_no).or_insert(used);
        *first = used.min(*first);
    }
    if sweeps {
        let mut sweep = Sweep::new(registered, facts, measured, policy);
        let context = (policy, registered, day);
        let events = events(facts, matching, measured, context);
        let from = carried.until.map_or(Day::MIN, |until| until.plus(1));
        // What decides how every day is swept is part of what was done before.
        let p = &measured.position;
        found.past = fnv(&(p.contract_level, p.mode.map(|mode| mode.number())));
        for (on, changes) in events.range(..from) {
            for change in changes {
                found.past = found.past.wrapping_add(fnv(&(*on, *change)));
                sweep.apply(*change);
            }
        }
        if let Some(until) = carried.until {
            sweep.resume(until);
        }
        let mut stood = at;
        for (on, changes) in events.range(from..=day) {
            if stood.is_some_and(|at| *on > at) {
                (found.stood, stood) = (Some(sweep.stood()), None);
            }
            sweep.step(*on, changes);
        }
        if stood.is_some() {
            found.stood = Some(sweep.stood());
        }
        found.uncovered = sweep.uncovered;
        found.premature = sweep.premature;
        found.contracts = sweep.states(&measured.contracts);
        found.deposits = sweep.deposits_since;
    }
    found
}
