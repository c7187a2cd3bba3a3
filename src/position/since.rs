//! Since when a state has held: one sweep over an institution's facts, oldest first.
//!
//! A function of the same facts, matching, policy and day as the position itself, with every lesson on
//! its day: which days were reconciled before, and what was known then, plays no part. A payment that
//! is matched as of the day counts as matched from its credit on.

use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};

use super::dense::Dense;
use super::formulae::{
    Account, ContractPosition, Deposit, Measured, Position, allowed_release, cycle_share,
    deposit_required, deposits_short, earned, finish, frozen_on, held_of, reserve_ends, reserve_of,
    returned_on, runs, turning_days, uncovered_of,
};
use crate::base::{Day, Money};
use crate::ledger::REFUND_SETTLED;
use crate::policy::Channel;
use crate::policy::{Policy, Regime};
use crate::reconcile::carried::SweptCarried;
use crate::reconcile::{CreditOutcome, Facts, Matching, PaymentOutcome};
use crate::registry::{self, AccountKind, CustodyMode};

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

/// A number of a value, to be added to those of others.
fn fnv(value: &impl Hash) -> u64 {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    value.hash(&mut hasher);
    hasher.finish()
}

/// FNV-1a: the same number in every version of the program, since it is kept.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What changes on a day.
#[derive(Clone, Copy, Debug, Hash)]
enum Change {
    Paid(i64, Money),
    Cleared(i64, Money),
    InTransit(i64, i64),
    Refunded(i64, Money),
    Released(i64, Money),
    /// From a custody account, for whatever contract.
    ReleasedFromCustody(Money),
    Lessons(i64, i64),
    /// Time alone changes what a contract has earned or may release.
    Time(i64),
    /// A fee enters (or leaves) the window of a reserve ratio.
    InWindow(i64),
    /// A contract is made (true) or has ended.
    Runs(i64, bool),
    /// Unidentified money comes (or goes back), by account.
    Unidentified(i64, i64),
    Fee(i64),
    /// An account's closing balance, by its place.
    Closing(usize, i64),
    /// An account is filed, or a freeze begins or ends: look again.
    Look,
}

fn events(
    facts: &Facts,
    matching: &Matching,
    measured: &Measured,
    (policy, registered, last): (&Policy, &[&registry::Account], Day),
) -> BTreeMap<Day, Vec<Change>> {
    // Of contracts that are carried the states are, and what time does to them from then on is told.
    let until = facts.carried.until;
    let is_new = |day: Day| until.is_none_or(|until| day > until);
    let lessons = &facts.lesson_days;
    let mut events: BTreeMap<Day, Vec<Change>> = BTreeMap::new();
    let mut at = |day: Day, change: Change| events.entry(day).or_default().push(change);
    let custody = |no: i64| {
        (measured.accounts.iter()).any(|a| a.account_no == no && a.kind == AccountKind::Custody)
    };
    for (p, outcome) in facts.payments.iter().zip(&matching.payments) {
        let c = p.contract_no;
        if matches!(outcome, PaymentOutcome::Duplicate { .. }) {
            continue;
        }
        at(p.day, Change::Paid(c, p.amount));
        if policy.release.regime == Regime::ReserveRatio {
            at(p.day, Change::InWindow(p.amount.fen()));
            at(
                reserve_ends(policy, p.day),
                Change::InWindow(-p.amount.fen()),
            );
        }
        if !custody(p.account_no) {
            continue;
        }
        let channel = Channel::from_number(p.channel).unwrap_or(Channel::Transfer);
        let window_end = policy.window_end(channel, p.day);
        let (credited, amount) = match outcome {
            PaymentOutcome::Settled { group, .. } => {
                let (day, amount) = matching.arrived(facts, *group, p);
                (Some(day), amount)
            }
            PaymentOutcome::InTransit { .. } | PaymentOutcome::Overdue { .. } => (None, p.amount),
            PaymentOutcome::Duplicate { .. } | PaymentOutcome::NotTested => continue,
        };
        let arrives = credited.unwrap_or(window_end).min(window_end);
        if arrives > p.day {
            at(p.day, Change::InTransit(c, p.amount.fen()));
            at(arrives, Change::InTransit(c, -p.amount.fen()));
        }
        if let Some(credited) = credited {
            at(credited.max(p.day), Change::Cleared(c, amount));
        }
    }
    for r in facts
        .refunds
        .iter()
        .filter(|r| r.state == i64::from(REFUND_SETTLED))
    {
        at(r.day, Change::Refunded(r.contract_no, r.amount));
    }
    for r in &facts.releases {
        if r.contract_no != 0 {
            at(r.day, Change::Released(r.contract_no, r.amount));
        }
        if custody(r.account_no) {
            at(r.day, Change::ReleasedFromCustody(r.amount));
        }
    }
    for c in &facts.contracts {
        if is_new(c.ordered_on) {
            at(c.ordered_on, Change::Runs(c.contract_no, true));
        }
        let over = c.ends_on.map(|end| end.plus(1).max(c.ordered_on));
        if let Some(over) = over.filter(|over| is_new(*over)) {
            at(over, Change::Runs(c.contract_no, false));
        }
    }
    for c in &facts.contracts {
        for day in turning_days(policy, c, lessons, (until, last)) {
            at(day, Change::Time(c.contract_no));
        }
    }
    for l in lessons {
        at(l.day, Change::Lessons(l.contract_no, l.confirmed));
    }
    let back = returned_on(facts, matching);
    for (i, (l, outcome)) in facts.credits.iter().zip(&matching.credits).enumerate() {
        if matches!(
            outcome,
            CreditOutcome::Unmatched | CreditOutcome::Duplicate { .. }
        ) {
            at(l.day, Change::Unidentified(l.account_no, l.amount.fen()));
            if let Some(day) = back.get(&i) {
                at(*day, Change::Unidentified(l.account_no, -l.amount.fen()));
            }
        }
    }
    for (credited, fee) in &matching.fees {
        at(*credited, Change::Fee(fee.fen()));
        let over = credited.plus(policy.explained.fee_window_days + 1);
        at(over, Change::Fee(-fee.fen()));
    }
    for (place, a) in measured.accounts.iter().enumerate() {
        for (day, closing) in &a.days.closings {
            at(*day, Change::Closing(place, *closing));
        }
    }
    for filed in registered.iter().filter_map(|a| a.filed_on) {
        at(filed, Change::Look);
    }
    for f in &facts.freezes {
        let day = |epoch: i64| i32::try_from(epoch).ok().map(Day::from_epoch);
        if let Some(from) = f.from_day.and_then(day) {
            at(from, Change::Look);
        }
        if let Some(to) = f.to_day.and_then(day) {
            at(to.plus(1), Change::Look);
        }
    }
    events
}

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

struct Sweep<'a> {
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
    deposits_since: HashMap<i64, Day>,
    uncovered: Option<Day>,
    covered: Option<Day>,
    premature: Option<Day>,
}

impl<'a> Sweep<'a> {
    fn new(
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
    fn resume(&mut self, until: Day) {
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

    fn stood(&self) -> Stood {
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

    fn step(&mut self, on: Day, changes: &[Change]) {
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
    fn apply(&mut self, change: Change) -> Option<i64> {
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
    fn states(&self, wanted: &[ContractPosition]) -> HashMap<i64, ContractSince> {
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
