//! Risk deposits (风险保证金): what is required and which are below it.

use std::collections::HashMap;

use super::earning::runs;
use crate::base::{Day, Money};
use crate::policy::{DepositBasis, Policy};
use crate::reconcile::{ContractTerms, Facts};

/// REQ_dep (`domain.md` §6.4): the minimum stated with the accounts, the policy's floor, and all
/// students' fees of one charging cycle (C3), whichever is largest.
pub(in crate::position) fn deposit_required(stated: Money, c3: Money, policy: &Policy) -> Money {
    match policy.deposit.basis {
        DepositBasis::Minimum => stated,
        DepositBasis::ChargingCycle => stated
            .max(Money::from_fen(policy.deposit.floor_fen))
            .max(c3.share_ceiled(policy.deposit.kappa_bp, 10_000)),
    }
}

/// C3: fees of one charging cycle over contracts that still run.
pub(super) fn charging_cycle(facts: &Facts, months: u32, day: Day) -> Money {
    let delivered: HashMap<i64, i64> = facts
        .lessons
        .iter()
        .map(|l| (l.contract_no, l.confirmed))
        .collect();
    let lessons = |c: &ContractTerms| delivered.get(&c.contract_no).copied().unwrap_or(0);
    facts
        .contracts
        .iter()
        .filter(|c| runs(c, lessons(c), day))
        .fold(Money::ZERO, |sum, c| {
            sum.saturating_add(cycle_share(c, months))
        })
}

/// A contract's fees of one charging cycle; one without dates counts in full.
pub(in crate::position) fn cycle_share(c: &ContractTerms, months: u32) -> Money {
    match (c.starts_on, c.ends_on) {
        (Some(start), Some(end)) if end > start.plus_months(months) => {
            let cycle = i64::from(start.plus_months(months).since(start));
            c.amount.share_ceiled(cycle, i64::from(end.since(start)))
        }
        _ => c.amount,
    }
}

/// A risk deposit that is below what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DepositShort {
    pub account_no: i64,
    pub required: Money,
    pub held: Money,
}

/// One deposit account: number, minimum stated with it, and what is held, `None` where no statement
/// proves it.
pub(in crate::position) type Deposit = (i64, Money, Option<Money>);

/// Deposits below the requirement. Measured against its account's own minimum, each account stands for
/// itself; against a charging cycle, the institution's deposits stand together, under the first of them.
pub(in crate::position) fn deposits_short(
    deposits: &[Deposit],
    required: Money,
) -> Vec<DepositShort> {
    let add = |sum: Money, m: Money| sum.saturating_add(m);
    let stated = deposits.iter().map(|d| d.1).fold(Money::ZERO, add);
    let all = deposits.iter().filter_map(|d| d.2).fold(Money::ZERO, add);
    let candidates: Vec<DepositShort> = if required > stated {
        let together = |d: &Deposit| DepositShort {
            account_no: d.0,
            required,
            held: all,
        };
        deposits.first().map(together).into_iter().collect()
    } else {
        let alone = |d: &Deposit| {
            Some(DepositShort {
                account_no: d.0,
                required: d.1,
                held: d.2?,
            })
        };
        deposits.iter().filter_map(alone).collect()
    };
    (candidates.into_iter())
        .filter(|d| d.required > d.held)
        .collect()
}
