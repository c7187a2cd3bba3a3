//! What changes on which day, as facts, matching and time tell it.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use crate::base::{Day, Money};
use crate::ledger::REFUND_SETTLED;
use crate::policy::{Channel, Policy, Regime};
use crate::position::formulae::{Measured, reserve_ends, returned_on, turning_days};
use crate::reconcile::{CreditOutcome, Facts, Matching, PaymentOutcome};
use crate::registry::{self, AccountKind};

/// A number of a value, to be added to those of others.
pub(super) fn fnv(value: &impl Hash) -> u64 {
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
pub(super) enum Change {
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

pub(super) fn events(
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
