//! The states of an institution and its contracts, kept from one day to the next.

use std::collections::HashMap;

use super::events::Change;
use super::{ContractSince, Stood};
use crate::base::{Day, Money};
use crate::policy::{Policy, Regime};
use crate::position::dense::Dense;
use crate::position::formulae::{
    Account, ContractPosition, Deposit, Measured, Position, allowed_release, cycle_share,
    deposit_required, deposits_short, earned, finish, frozen_on, held_of, reserve_of, runs,
    uncovered_of,
};
use crate::reconcile::Facts;
use crate::reconcile::carried::SweptCarried;
use crate::registry::{self, AccountKind, CustodyMode};

#[derive(Default)]
struct Swept {
    sums: ContractPosition,
    lessons: i64,
    /// Since when all its lessons have counted.
    completed: Option<Day>,
    runs: bool,
    /// What it adds to the fees of one charging cycle.
    cycle: Money,
    since: ContractSince,
}

/// An institution day by day.
pub(super) struct Sweep<'a> {
    registered: &'a [&'a registry::Account],
    facts: &'a Facts,
    accounts: &'a [Account],
    position: &'a Position,
    policy: &'a Policy,
    contracts: Dense<Swept>,
    /// Latest proven closing balance, by the account's place.
    closings: Vec<Option<Money>>,
    /// Unidentified money in each account, by its number.
    unidentified: HashMap<i64, i64>,
    required: i128,
    in_transit: i64,
    fees: i64,
    released: Money,
    /// Σ allowed to be released.
    allowed: i128,
    /// Fees in the window of a reserve ratio.
    window: i64,
    /// C3: fees of one charging cycle over contracts that run.
    cycle: i128,
    pub(super) deposits_since: HashMap<i64, Day>,
    pub(super) uncovered: Option<Day>,
    covered: Option<Day>,
    pub(super) premature: Option<Day>,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(
        registered: &'a [&'a registry::Account],
        facts: &'a Facts,
        measured: &'a Measured,
        policy: &'a Policy,
    ) -> Sweep<'a> {
        Sweep {
            registered,
            facts,
            accounts: &measured.accounts,
            position: &measured.position,
            policy,
            contracts: Dense::default(),
            closings: vec![None; measured.accounts.len()],
            unidentified: HashMap::new(),
            required: 0,
            in_transit: 0,
            fees: 0,
            released: Money::ZERO,
            allowed: 0,
            window: 0,
            cycle: 0,
            deposits_since: HashMap::new(),
            uncovered: None,
            covered: None,
            premature: None,
        }
    }

    /// Takes up where facts are carried until: sums of carried facts join those of open ones, states are the
    /// carried ones.
    pub(super) fn resume(&mut self, until: Day) {
        let carried = &self.facts.carried;
        let add = |to: &mut Money, amount: Money| *to = to.saturating_add(amount);
        for c in &carried.contracts {
            let s = self.contracts.entry(c.contract_no);
            add(&mut s.sums.paid, c.paid);
            add(&mut s.sums.cleared, c.cleared);
            add(&mut s.sums.refunded, c.refunded);
            add(&mut s.sums.released, c.released);
            s.lessons += c.lessons.confirmed;
            if let Some(k) = self.facts.contract(c.contract_no) {
                let over = k
                    .ends_on
                    .is_some_and(|end| end.plus(1).max(k.ordered_on) <= until);
                s.runs = k.ordered_on <= until && !over;
            }
        }
        self.released = self.released.saturating_add(carried.released);
        let known: Vec<i64> = self.contracts.iter().map(|(no, _)| no).collect();
        for contract_no in known {
            let was = carried.contract(contract_no).copied().unwrap_or_default();
            if let Some(s) = self.contracts.get_mut(contract_no) {
                s.completed = was.completed;
            }
            self.contract(until, contract_no);
            if let Some(s) = self.contracts.get_mut(contract_no) {
                s.since = ContractSince {
                    short: was.short,
                    negative: was.negative,
                    premature: was.premature,
                };
            }
        }
        self.uncovered = carried.swept.uncovered;
        self.covered = carried.swept.covered;
        self.premature = carried.swept.premature;
        self.deposits_since = carried.swept.deposits.iter().copied().collect();
    }

    pub(super) fn stood(&self) -> Stood {
        let mut deposits: Vec<(i64, Day)> = self
            .deposits_since
            .iter()
            .map(|(no, day)| (*no, *day))
            .collect();
        deposits.sort_unstable();
        Stood {
            swept: SweptCarried {
                uncovered: self.uncovered,
                covered: self.covered,
                premature: self.premature,
                deposits,
            },
            contracts: (self.contracts.iter())
                .map(|(no, s)| (no, (s.since, s.completed)))
                .collect(),
        }
    }

    pub(super) fn step(&mut self, on: Day, changes: &[Change]) {
        let mut touched = Vec::new();
        for change in changes {
            if let Some(contract_no) = self.apply(*change) {
                touched.push(contract_no);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for contract_no in touched {
            self.contract(on, contract_no);
        }
        self.institution(on);
    }

    /// Applies a change; the contract it is of, if any.
    pub(super) fn apply(&mut self, change: Change) -> Option<i64> {
        let contract_no = match change {
            Change::Paid(c, _)
            | Change::Cleared(c, _)
            | Change::Refunded(c, _)
            | Change::InTransit(c, _)
            | Change::Released(c, _)
            | Change::Runs(c, _)
            | Change::Time(c)
            | Change::Lessons(c, _) => c,
            Change::InWindow(fen) => {
                self.window = self.window.saturating_add(fen);
                return None;
            }
            Change::ReleasedFromCustody(amount) => {
                self.released = self.released.saturating_add(amount);
                return None;
            }
            Change::Unidentified(no, fen) => {
                let sum = self.unidentified.entry(no).or_default();
                *sum = sum.saturating_add(fen);
                return None;
            }
            Change::Fee(fen) => {
                self.fees = self.fees.saturating_add(fen);
                return None;
            }
            Change::Closing(place, fen) => {
                self.closings[place] = Some(Money::from_fen(fen));
                return None;
            }
            Change::Look => return None,
        };
        let c = self.contracts.entry(contract_no);
        let add = |to: &mut Money, amount: Money| *to = to.saturating_add(amount);
        match change {
            Change::Paid(_, amount) => add(&mut c.sums.paid, amount),
            Change::Cleared(_, amount) => add(&mut c.sums.cleared, amount),
            Change::Refunded(_, amount) => add(&mut c.sums.refunded, amount),
            Change::Released(_, amount) => add(&mut c.sums.released, amount),
            Change::Lessons(_, count) => c.lessons += count,
            Change::Runs(_, runs) => c.runs = runs,
            Change::InTransit(_, fen) => {
                add(&mut c.sums.in_transit, Money::from_fen(fen));
                self.in_transit = self.in_transit.saturating_add(fen);
            }
            _ => {}
        }
        Some(contract_no)
    }

    fn contract(&mut self, on: Day, contract_no: i64) {
        let contract = self.facts.contract(contract_no);
        let months = self.policy.deposit.cycle_months;
        let contract_level = self.position.contract_level;
        let Some(c) = self.contracts.get_mut(contract_no) else {
            return;
        };
        let (owed, value) = (c.sums.required, c.sums.allowed);
        if let Some(k) = contract {
            let all = k.terms.pool() > 0 && c.lessons >= k.terms.pool();
            keep(&mut c.completed, all, on);
            let paid = c.sums.paid;
            c.sums.earned_confirmed = earned(self.policy, k, c.lessons, on);
            let value = (paid, c.sums.earned_confirmed);
            c.sums.allowed = allowed_release(self.policy, k, value, c.completed, on);
        }
        let confirmed = c.sums.earned_confirmed;
        finish(&mut c.sums, confirmed, contract_level);
        self.required += i128::from(c.sums.required.fen()) - i128::from(owed.fen());
        self.allowed += i128::from(c.sums.allowed.fen()) - i128::from(value.fen());
        let cycle = contract
            .filter(|k| c.runs && runs(k, c.lessons, on))
            .map_or(Money::ZERO, |k| cycle_share(k, months));
        self.cycle += i128::from(cycle.fen()) - i128::from(c.cycle.fen());
        c.cycle = cycle;
        keep(&mut c.since.short, c.sums.short > Money::ZERO, on);
        keep(&mut c.since.negative, c.sums.negative > Money::ZERO, on);
        keep(&mut c.since.premature, c.sums.premature > Money::ZERO, on);
    }

    fn institution(&mut self, on: Day) {
        let money = |fen: i128| Money::from_fen(i64::try_from(fen).unwrap_or(i64::MAX));
        let deposits = self.deposits(on);
        let sum = |m: Money, n: Money| m.saturating_add(n);
        let stated = deposits.iter().map(|d| d.1).fold(Money::ZERO, sum);
        let mode = self.position.mode;
        let required = match mode {
            Some(CustodyMode::Deposit | CustodyMode::Hybrid) => {
                deposit_required(stated, money(self.cycle), self.policy)
            }
            _ => Money::ZERO,
        };
        let short = deposits_short(&deposits, required);
        self.deposits_since
            .retain(|no, _| short.iter().any(|d| d.account_no == *no));
        for d in short {
            self.deposits_since.entry(d.account_no).or_insert(on);
        }
        let uncovered = if mode == Some(CustodyMode::Deposit) {
            required.less_floored(deposits.iter().filter_map(|d| d.2).fold(Money::ZERO, sum))
        } else {
            let transit = Money::from_fen(self.in_transit.saturating_add(self.fees));
            let required = match self.policy.release.regime {
                Regime::ReserveRatio => reserve_of(self.policy, Money::from_fen(self.window)),
                _ => money(self.required),
            };
            uncovered_of(required, self.held(on), transit, self.policy)
        };
        keep(&mut self.uncovered, uncovered > Money::ZERO, on);
        keep(&mut self.covered, uncovered == Money::ZERO, on);
        let premature = self.released > money(self.allowed);
        keep(
            &mut self.premature,
            premature && !self.position.contract_level,
            on,
        );
    }

    fn held(&self, on: Day) -> Money {
        let (mut balance, mut excluded) = (Money::ZERO, Money::ZERO);
        let places = self
            .accounts
            .iter()
            .zip(&self.closings)
            .zip(self.registered);
        for ((a, closing), registered) in places {
            let counts = self.policy.held.unfiled_accounts_count || registered.is_filed(on);
            if a.kind != AccountKind::Custody || !counts {
                continue;
            }
            let closing = closing.unwrap_or(Money::ZERO);
            balance = balance.saturating_add(closing);
            excluded = excluded.saturating_add(frozen_on(self.facts, a.account_no, closing, on));
            if !self.policy.held.unidentified_counts {
                let fen = self.unidentified.get(&a.account_no).copied().unwrap_or(0);
                excluded = excluded.saturating_add(Money::from_fen(fen));
            }
        }
        held_of(balance, excluded)
    }

    fn deposits(&self, on: Day) -> Vec<Deposit> {
        (self.accounts.iter().zip(&self.closings))
            .filter(|(a, _)| a.kind == AccountKind::Deposit)
            .map(|(a, closing)| {
                let free = |c: Money| c.less_floored(frozen_on(self.facts, a.account_no, c, on));
                (a.account_no, a.min_deposit, closing.map(free))
            })
            .collect()
    }

    /// The contracts' states, of those that have one as of the day.
    pub(super) fn states(&self, wanted: &[ContractPosition]) -> HashMap<i64, ContractSince> {
        let state = |c: &ContractPosition| {
            let since = self.contracts.get(c.contract_no)?.since;
            // Told only behind a covered account, so it began when both were true.
            let short = since
                .short
                .zip(self.covered)
                .map(|(short, covered)| short.max(covered));
            Some((c.contract_no, ContractSince { short, ..since }))
        };
        wanted.iter().filter_map(state).collect()
    }
}

/// Keeps the first day of a state while it holds.
fn keep(since: &mut Option<Day>, holds: bool, on: Day) {
    match (holds, *since) {
        (true, None) => *since = Some(on),
        (false, _) => *since = None,
        (true, Some(_)) => {}
    }
}
