//! One contract: what was paid, earned, released for it, and what is short.

use std::collections::HashMap;

use super::super::dense::Dense;
use super::Account;
use super::earning::{allowed_release, completions, earned};
use crate::base::{Day, Money};
use crate::ledger::REFUND_SETTLED;
use crate::policy::Policy;
use crate::reconcile::{Facts, Matching, PaymentOutcome};
use crate::registry::AccountKind;

/// One contract's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContractPosition {
    pub contract_no: i64,
    /// P: reported payments, duplicates left out.
    pub paid: Money,
    /// R: refunds settled.
    pub refunded: Money,
    /// E on confirmed lessons.
    pub earned_confirmed: Money,
    /// What the release regime lets leave the account for this contract.
    pub allowed: Money,
    /// Released for this contract.
    pub released: Money,
    /// Credited to the account for this contract.
    pub cleared: Money,
    /// The part of it in accounts that count as held (filed ones).
    pub credited: Money,
    /// Captured, inside its window.
    pub in_transit: Money,
    /// U_conf: owed to the student on confirmed lessons.
    pub unearned_confirmed: Money,
    /// U_deliv: owed on delivered lessons.
    pub unearned_delivered: Money,
    /// What must be held for it: paid, not refunded and not allowed to leave. U_conf where money leaves in
    /// step with confirmed lessons.
    pub required: Money,
    /// s_c: required and not backed by the contract's own cash or transit.
    pub short: Money,
    /// cash_c < 0, as a positive amount.
    pub negative: Money,
    /// Released beyond what the regime allows.
    pub premature: Money,
}

/// Every contract with money or lessons, in order of contract_no.
pub(super) fn contract_positions(
    facts: &Facts,
    matching: &Matching,
    (policy, day): (&Policy, Day),
    contract_level: bool,
    accounts: &[Account],
) -> Vec<ContractPosition> {
    // Money in an account of the institution's own backs no contract.
    let custody = |account_no: i64| {
        (accounts.iter()).find(|a| a.account_no == account_no && a.kind == AccountKind::Custody)
    };
    let mut by_no: Dense<ContractPosition> = Dense::default();
    fn slot(map: &mut Dense<ContractPosition>, no: i64) -> &mut ContractPosition {
        let slot = map.entry(no);
        slot.contract_no = no;
        slot
    }
    for c in facts.carried.contracts.iter().filter(|c| c.has_money()) {
        let to = slot(&mut by_no, c.contract_no);
        (to.paid, to.refunded, to.released) = (c.paid, c.refunded, c.released);
        (to.cleared, to.credited) = (c.cleared, c.credited);
    }
    for (payment, outcome) in facts.payments.iter().zip(&matching.payments) {
        let c = slot(&mut by_no, payment.contract_no);
        match outcome {
            PaymentOutcome::Duplicate { .. } => continue,
            PaymentOutcome::Settled { group, .. } => {
                if let Some(account) = custody(payment.account_no) {
                    let (_, credited) = matching.arrived(facts, *group, payment);
                    c.cleared = c.cleared.saturating_add(credited);
                    if policy.held.unfiled_accounts_count || account.filed {
                        c.credited = c.credited.saturating_add(credited);
                    }
                }
            }
            PaymentOutcome::InTransit { .. } if custody(payment.account_no).is_some() => {
                c.in_transit = c.in_transit.saturating_add(payment.amount);
            }
            PaymentOutcome::InTransit { .. }
            | PaymentOutcome::Overdue { .. }
            | PaymentOutcome::NotTested => {}
        }
        c.paid = c.paid.saturating_add(payment.amount);
    }
    for refund in facts
        .refunds
        .iter()
        .filter(|r| r.state == i64::from(REFUND_SETTLED))
    {
        let c = slot(&mut by_no, refund.contract_no);
        c.refunded = c.refunded.saturating_add(refund.amount);
    }
    for release in facts.releases.iter().filter(|r| r.contract_no != 0) {
        let c = slot(&mut by_no, release.contract_no);
        c.released = c.released.saturating_add(release.amount);
    }
    let mut delivered: HashMap<i64, Money> = HashMap::new();
    for lessons in &facts.lessons {
        let Some(contract) = facts
            .contract(lessons.contract_no)
            .filter(|_| lessons.has_any())
        else {
            continue;
        };
        let value = |count: i64| earned(policy, contract, count, day);
        let confirmed = value(lessons.confirmed);
        slot(&mut by_no, lessons.contract_no).earned_confirmed = confirmed;
        let delivers = if lessons.delivered == lessons.confirmed {
            confirmed
        } else {
            value(lessons.delivered)
        };
        delivered.insert(lessons.contract_no, delivers);
    }
    for contract in facts.contracts.iter().filter(|c| c.term().is_some()) {
        let value = earned(policy, contract, 0, day);
        slot(&mut by_no, contract.contract_no).earned_confirmed = value;
        delivered.insert(contract.contract_no, value);
    }
    let completed = completions(facts);
    let mut contracts: Vec<ContractPosition> = by_no.into_values().collect();
    for c in &mut contracts {
        c.allowed = facts.contract(c.contract_no).map_or(Money::ZERO, |k| {
            let value = (c.paid, c.earned_confirmed);
            let completed = completed.get(&c.contract_no).copied();
            allowed_release(policy, k, value, completed, day)
        });
        finish(
            c,
            delivered
                .get(&c.contract_no)
                .copied()
                .unwrap_or(Money::ZERO),
            contract_level,
        );
    }
    contracts
}

/// Works a contract's other numbers out from its sums and the value of its delivered lessons.
pub(in crate::position) fn finish(
    c: &mut ContractPosition,
    earned_delivered: Money,
    contract_level: bool,
) {
    let owed = |earned: Money| c.paid.less_floored(c.refunded.saturating_add(earned));
    c.unearned_confirmed = owed(c.earned_confirmed);
    c.unearned_delivered = owed(earned_delivered);
    c.required = owed(c.allowed);
    if !contract_level {
        return;
    }
    let out = c.refunded.saturating_add(c.released);
    let backed = c.cleared.less_floored(out).saturating_add(c.in_transit);
    c.negative = out.less_floored(c.cleared);
    // A negative cash balance adds to what is missing.
    c.short = c.required.saturating_add(c.negative).less_floored(backed);
    c.premature = c.released.less_floored(c.allowed);
}
