//! The formulae.

mod accounts;
mod contracts;
mod deposits;
mod earning;

use std::collections::HashMap;

pub use accounts::Account;
pub(super) use accounts::frozen_on;
use accounts::{account, inferred_mode};
pub use contracts::ContractPosition;
use contracts::contract_positions;
pub(super) use contracts::finish;
pub use deposits::DepositShort;
use deposits::charging_cycle;
pub(super) use deposits::{Deposit, cycle_share, deposit_required, deposits_short};
pub(super) use earning::{allowed_release, earned, reserve_ends, reserve_of, runs, turning_days};

use super::Status;
use crate::base::{Day, Money};
use crate::policy::{Policy, Regime};
use crate::reconcile::{
    ContractTerms, CreditOutcome, DebitOutcome, ExpectedRange, Facts, Matching, PaymentOutcome,
};
use crate::registry::{self, AccountKind, CustodyMode, Institution, Prepays};

/// One institution's numbers as of the day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub mode: Option<CustodyMode>,
    pub status: Option<Status>,
    pub required: Money,
    pub held: Money,
    pub explained: Money,
    pub uncovered: Money,
    /// min(held + explained, required); zero where unknown and the policy says so.
    pub covered: Money,
    pub deposit_required: Money,
    pub deposit_held: Money,
    pub unearned_confirmed: Money,
    pub unearned_delivered: Money,
    pub in_transit: Money,
    pub fee_window: Money,
    pub unidentified: Money,
    pub frozen: Money,
    pub contracts: i64,
    /// In the denominator of 应托管尽托管率.
    pub must_be_held: bool,
    /// In its numerator.
    pub under_custody: bool,
    pub accounts_expected: i64,
    pub accounts_proven: i64,
    pub missing_days: i64,
    /// Releases are told per contract, so contracts can be tested one by one.
    pub contract_level: bool,
    /// Σ released from custody accounts.
    pub released: Money,
    /// Σ allowed to be released.
    pub allowed: Money,
    /// Σ released − Σ allowed, where releases are not told per contract.
    pub premature: Money,
    /// RELEASABLE: what may leave the account now, never into a shortage; zero where UNKNOWN.
    pub releasable: Money,
    /// The numerator of PROT: what account and deposit together would pay of Σ U_conf.
    pub protected: Money,
    /// Value of confirmed and deemed lessons, and the deemed part of it.
    pub consumed: Money,
    pub deemed: Money,
    /// Fees told by orders or payments, and those of them credited to accounts that count.
    pub fees_recorded: Money,
    pub fees_credited: Money,
}

/// What [`measure`] found: the institution, its contracts and deposits with a finding, its accounts.
#[derive(Debug)]
pub struct Measured {
    pub position: Position,
    pub contracts: Vec<ContractPosition>,
    pub deposits_short: Vec<DepositShort>,
    pub accounts: Vec<Account>,
}

/// Measures one institution.
pub fn measure(
    institution: &Institution,
    registered: &[&registry::Account],
    facts: &Facts,
    matching: &Matching,
    (policy, range, day): (&Policy, Option<ExpectedRange>, Day),
) -> Measured {
    let accounts: Vec<Account> = registered
        .iter()
        .map(|a| account(a, facts, policy, range, day))
        .collect();
    let contract_level =
        !facts.carried.has_whole_releases && facts.releases.iter().all(|r| r.contract_no != 0);
    let view = (policy, day);
    let contracts = contract_positions(facts, matching, view, contract_level, &accounts);
    let mut p = Position {
        contract_level,
        ..Position::default()
    };
    p.contracts = i64::try_from(facts.contracts.len()).unwrap_or(i64::MAX);
    let sum = |f: fn(&ContractPosition) -> Money| {
        contracts
            .iter()
            .fold(Money::ZERO, |s, c| s.saturating_add(f(c)))
    };
    p.unearned_confirmed = sum(|c| c.unearned_confirmed);
    p.unearned_delivered = sum(|c| c.unearned_delivered);
    p.in_transit = sum(|c| c.in_transit);
    p.released = custody_releases(facts, &accounts);
    p.allowed = sum(|c| c.allowed);
    if !contract_level {
        p.premature = p.released.less_floored(p.allowed);
    }
    (p.consumed, p.deemed) = consumed(facts, &contracts);
    (p.fees_recorded, p.fees_credited) = fees(facts, &contracts);
    let counts = |a: &&Account| policy.held.unfiled_accounts_count || a.filed;
    p.unidentified = unidentified(facts, matching, |_| true);
    p.fee_window = fee_window(matching, policy, day);
    let custody = || {
        accounts
            .iter()
            .filter(|a| a.kind == AccountKind::Custody)
            .filter(counts)
    };
    let deposits = || accounts.iter().filter(|a| a.kind == AccountKind::Deposit);
    p.frozen = total(
        accounts.iter().filter(|a| a.kind == AccountKind::Custody),
        |a| a.frozen,
    );
    let mut excluded = total(custody(), |a| a.frozen);
    if !policy.held.unidentified_counts {
        let counted = |no: i64| custody().any(|a| a.account_no == no);
        excluded = excluded.saturating_add(unidentified(facts, matching, counted));
    }
    let custody_held = held_of(total(custody(), |a| a.closing), excluded);
    p.deposit_held = total(deposits(), |a| a.closing.less_floored(a.frozen));
    let mode = institution
        .custody_mode
        .unwrap_or_else(|| inferred_mode(&accounts));
    p.mode = Some(mode);
    if matches!(mode, CustodyMode::Deposit | CustodyMode::Hybrid) {
        let c3 = charging_cycle(facts, policy.deposit.cycle_months, day);
        p.deposit_required = deposit_required(total(deposits(), |a| a.min_deposit), c3, policy);
    }
    let proven = |a: &Account| (a.days.latest.is_some()).then(|| a.closing.less_floored(a.frozen));
    let stated: Vec<Deposit> = deposits()
        .map(|a| (a.account_no, a.min_deposit, proven(a)))
        .collect();
    let deposits_short = deposits_short(&stated, p.deposit_required);
    let custody_required = match policy.release.regime {
        Regime::ReserveRatio => reserve_of(policy, fees_in_window(facts, matching, view)),
        _ => sum(|c| c.required),
    };
    (p.required, p.held) = match mode {
        CustodyMode::Bank | CustodyMode::Hybrid | CustodyMode::None => {
            (custody_required, custody_held)
        }
        CustodyMode::Deposit => (p.deposit_required, p.deposit_held),
    };
    cover(&mut p, &accounts, policy);
    p.releasable = releasable(&p, &contracts, custody_held.less_floored(custody_required));
    p.protected = protected(&p, custody_held, policy);
    p.under_custody = accounts.iter().any(|a| {
        a.kind.owes_statements()
            && (policy.held.unfiled_accounts_count || (a.filed && a.agreement_covers))
    });
    p.must_be_held = institution.prepays != Prepays::PayAfter
        && !matches!(institution.status.as_str(), "closed" | "revoked");
    let contracts = contracts
        .into_iter()
        .filter(|c| c.short > Money::ZERO || c.negative > Money::ZERO || c.premature > Money::ZERO)
        .collect();
    Measured {
        position: p,
        contracts,
        deposits_short,
        accounts,
    }
}

/// RELEASABLE (`domain.md` §6.5): of each contract what the regime allows and its own cash covers, less what
/// was released, and in all no more than the account holds beyond its requirement. Where releases are not
/// told per contract, all of them are taken off the sum.
fn releasable(p: &Position, contracts: &[ContractPosition], excess: Money) -> Money {
    if p.status == Some(Status::Unknown) {
        return Money::ZERO;
    }
    let own = |c: &ContractPosition| c.allowed.min(c.cleared.less_floored(c.refunded));
    let sum = |f: &dyn Fn(&ContractPosition) -> Money| {
        (contracts.iter()).fold(Money::ZERO, |sum, c| sum.saturating_add(f(c)))
    };
    let free = if p.contract_level {
        sum(&|c| own(c).less_floored(c.released))
    } else {
        sum(&own).less_floored(p.released)
    };
    free.min(excess)
}

/// The numerator of PROT (`domain.md` §6.5): the account first, the deposit for the rest.
fn protected(p: &Position, custody_held: Money, policy: &Policy) -> Money {
    if p.status == Some(Status::Unknown) && policy.coverage.unknown_counts_as_zero {
        return Money::ZERO;
    }
    let owed = p.unearned_confirmed;
    let by_account = custody_held.less_floored(Money::ZERO).min(owed);
    let by_deposit = p.deposit_held.min(owed.less_floored(by_account));
    by_account.saturating_add(by_deposit)
}

/// Value of the lessons that count, and the part of it that was deemed confirmed. A contract earned by time
/// has no lessons to confirm.
fn consumed(facts: &Facts, contracts: &[ContractPosition]) -> (Money, Money) {
    let value = |no: i64| {
        let at = contracts.binary_search_by_key(&no, |c| c.contract_no);
        at.map_or(Money::ZERO, |at| contracts[at].earned_confirmed)
    };
    let by_time = |no: i64| facts.contract(no).is_some_and(|c| c.term().is_some());
    let add = |sum: Money, m: Money| sum.saturating_add(m);
    let all = contracts.iter().map(|c| c.earned_confirmed);
    let timed = facts.contracts.iter().filter(|c| c.term().is_some());
    let timed = timed.map(|c| value(c.contract_no)).fold(Money::ZERO, add);
    let deemed = (facts.lessons.iter())
        .filter(|l| l.deemed > 0 && !by_time(l.contract_no))
        .map(|l| value(l.contract_no).share_floored(l.deemed, l.confirmed))
        .fold(Money::ZERO, add);
    (all.fold(Money::ZERO, add).less_floored(timed), deemed)
}

/// Fees recorded anywhere, and those credited to accounts that count (`domain.md` §6.6, IntakeRate). A fee is
/// recorded by its order and, beyond the order's amount, by the payments reported.
fn fees(facts: &Facts, contracts: &[ContractPosition]) -> (Money, Money) {
    let ordered = |sum: Money, c: &ContractTerms| sum.saturating_add(c.amount);
    let mut recorded = facts.contracts.iter().fold(Money::ZERO, ordered);
    let mut credited = Money::ZERO;
    for c in contracts {
        let amount = facts
            .contract(c.contract_no)
            .map_or(Money::ZERO, |k| k.amount);
        recorded = recorded.saturating_add(c.paid.less_floored(amount));
        credited = credited.saturating_add(c.credited.min(amount.max(c.paid)));
    }
    (recorded, credited)
}

/// Fees of the rolling window of a reserve ratio.
fn fees_in_window(facts: &Facts, matching: &Matching, (policy, day): (&Policy, Day)) -> Money {
    (facts.payments.iter().zip(&matching.payments))
        .filter(|(_, outcome)| !matches!(outcome, PaymentOutcome::Duplicate { .. }))
        .filter(|(p, _)| day < reserve_ends(policy, p.day))
        .fold(Money::ZERO, |sum, (p, _)| sum.saturating_add(p.amount))
}

/// A balance less what does not count. What is excluded was in the account, so it never makes a balance
/// negative; an overdraft stays one.
pub(super) fn held_of(balance: Money, excluded: Money) -> Money {
    balance
        .checked_sub(excluded.min(balance.less_floored(Money::ZERO)))
        .unwrap_or(balance)
}

/// What is missing after money on its way has explained what it can.
pub(super) fn uncovered_of(
    required: Money,
    held: Money,
    on_its_way: Money,
    policy: &Policy,
) -> Money {
    let gap = required.less_floored(held);
    if policy.explained.in_transit {
        gap.less_floored(gap.min(on_its_way))
    } else {
        gap
    }
}

/// Gap, explanation, status (`domain.md` §6.5); nothing here is netted against another institution.
fn cover(p: &mut Position, accounts: &[Account], policy: &Policy) {
    let gap = p.required.less_floored(p.held);
    let on_its_way = if p.mode == Some(CustodyMode::Deposit) {
        Money::ZERO
    } else {
        p.in_transit.saturating_add(p.fee_window)
    };
    p.uncovered = uncovered_of(p.required, p.held, on_its_way, policy);
    p.explained = gap.less_floored(p.uncovered);
    let owing: Vec<&Account> = accounts
        .iter()
        .filter(|a| a.kind.owes_statements())
        .collect();
    let expected = owing
        .iter()
        .filter(|a| a.days.last_expected.is_some() && !a.days.ended)
        .count();
    let unproven = owing.iter().filter(|a| a.days.unproven).count();
    p.accounts_expected = i64::try_from(expected).unwrap_or(0);
    p.accounts_proven = i64::try_from(expected - unproven).unwrap_or(0);
    p.missing_days =
        i64::try_from(owing.iter().map(|a| a.days.missing.len()).sum::<usize>()).unwrap_or(0);
    let status = if unproven > 0 {
        Status::Unknown
    } else if p.required == Money::ZERO {
        Status::NotApplicable
    } else if p.uncovered > Money::ZERO {
        Status::Short
    } else if gap > Money::ZERO {
        Status::Timing
    } else {
        Status::Covered
    };
    p.status = Some(status);
    p.covered = if status == Status::Unknown && policy.coverage.unknown_counts_as_zero {
        Money::ZERO
    } else {
        p.held
            .less_floored(Money::ZERO)
            .saturating_add(p.explained)
            .min(p.required)
    };
}

fn total<'a>(accounts: impl Iterator<Item = &'a Account>, f: impl Fn(&Account) -> Money) -> Money {
    accounts.fold(Money::ZERO, |sum, a| sum.saturating_add(f(a)))
}

/// Credits that match no order and are still there: they may be hidden liabilities (`domain.md` §6.3).
fn unidentified(facts: &Facts, matching: &Matching, counts: impl Fn(i64) -> bool) -> Money {
    let back = returned_on(facts, matching);
    facts
        .credits
        .iter()
        .zip(&matching.credits)
        .enumerate()
        .filter(|(i, (l, o))| is_unidentified(o) && counts(l.account_no) && !back.contains_key(i))
        .fold(Money::ZERO, |sum, (_, (l, _))| sum.saturating_add(l.amount))
}

fn is_unidentified(outcome: &CreditOutcome) -> bool {
    matches!(
        outcome,
        CreditOutcome::Unmatched | CreditOutcome::Duplicate { .. }
    )
}

/// The day each unidentified credit, by its place, was sent back: by a debit that nothing else explains,
/// of the same account, amount and reference (the credit's own reference or its id). One debit returns
/// one credit.
pub(super) fn returned_on(facts: &Facts, matching: &Matching) -> HashMap<usize, Day> {
    let mut back = HashMap::new();
    let unexplained: Vec<usize> = (0..facts.debits.len())
        .filter(|i| matching.debits[*i] == DebitOutcome::Unauthorised)
        .collect();
    if unexplained.is_empty() {
        return back;
    }
    let mut credits: HashMap<(i64, i64, &str), Vec<usize>> = HashMap::new();
    for (i, (l, outcome)) in facts.credits.iter().zip(&matching.credits).enumerate() {
        if is_unidentified(outcome) {
            for name in [facts.text(l.reference), facts.text(l.id)] {
                let key = (l.account_no, l.amount.fen(), name);
                if !name.is_empty() {
                    credits.entry(key).or_default().push(i);
                }
            }
        }
    }
    for places in credits.values_mut() {
        places.sort_unstable_by_key(|i| (facts.credits[*i].day, facts.text(facts.credits[*i].id)));
    }
    let mut debits = unexplained;
    debits.sort_unstable_by_key(|i| (facts.debits[*i].day, facts.text(facts.debits[*i].id)));
    for i in debits {
        let d = &facts.debits[i];
        let key = (d.account_no, d.amount.fen(), facts.text(d.reference));
        let credit = credits.get(&key).and_then(|places| {
            (places.iter()).find(|c| facts.credits[**c].day <= d.day && !back.contains_key(*c))
        });
        if let Some(credit) = credit {
            back.insert(*credit, d.day);
        }
    }
    back
}

/// Channel fees deducted at the source and still inside their refill window.
fn fee_window(matching: &Matching, policy: &Policy, day: Day) -> Money {
    matching
        .fees
        .iter()
        .filter(|(credited, _)| day.since(*credited) <= policy.explained.fee_window_days)
        .fold(Money::ZERO, |sum, (_, fee)| sum.saturating_add(*fee))
}

fn custody_releases(facts: &Facts, accounts: &[Account]) -> Money {
    let custody = |no: i64| {
        accounts
            .iter()
            .any(|a| a.account_no == no && a.kind == AccountKind::Custody)
    };
    facts
        .releases
        .iter()
        .filter(|r| custody(r.account_no))
        .fold(facts.carried.released, |sum, r| {
            sum.saturating_add(r.amount)
        })
}

#[cfg(test)]
mod tests;
