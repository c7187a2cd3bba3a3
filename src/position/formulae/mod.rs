//! The formulae.

mod earning;

use std::collections::HashMap;

pub(super) use earning::{
    allowed_release, completions, earned, reserve_ends, reserve_of, runs, turning_days,
};

use super::Status;
use crate::base::{Day, Money};
use crate::ledger::REFUND_SETTLED;
use crate::policy::{DepositBasis, Policy, Regime};
use crate::reconcile::{
    AccountDays, ContractTerms, CreditOutcome, DebitOutcome, ExpectedRange, Facts, Matching,
    PaymentOutcome, Stated, prove,
};
use crate::registry::{self, AccountKind, CustodyMode, Institution, Prepays};
use crate::store::days;

/// One account of an institution as of the day.
#[derive(Clone, Debug)]
pub struct Account {
    pub account_no: i64,
    pub account_id: String,
    pub kind: AccountKind,
    pub filed: bool,
    pub agreement_covers: bool,
    pub in_use: bool,
    pub min_deposit: Money,
    /// Closing balance of the newest proven statement.
    pub closing: Money,
    /// Frozen by third parties.
    pub frozen: Money,
    pub days: AccountDays,
}

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
    let contract_level = facts.releases.iter().all(|r| r.contract_no != 0);
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

fn account(
    a: &registry::Account,
    facts: &Facts,
    policy: &Policy,
    range: Option<ExpectedRange>,
    day: Day,
) -> Account {
    let account_no = a.account_no.0;
    let days = if a.kind.owes_statements() {
        let stated = Stated {
            closed: a.is_closed(),
            ..facts.stated(account_no)
        };
        prove(&stated, policy, range, day)
    } else {
        AccountDays::default()
    };
    let closing = Money::from_fen(days.latest.map_or(0, |(_, closing)| closing));
    let moved = |l: &crate::reconcile::Line| l.account_no == account_no;
    Account {
        account_no,
        account_id: a.account_id.clone(),
        kind: a.kind,
        filed: a.is_filed(day),
        agreement_covers: a.agreement_covers(day),
        in_use: facts.credits.iter().any(moved)
            || facts.debits.iter().any(moved)
            || facts.payments.iter().any(|p| p.account_no == account_no),
        min_deposit: a.min_deposit,
        closing,
        frozen: frozen_on(facts, account_no, closing, day),
        days,
    }
}

fn inferred_mode(accounts: &[Account]) -> CustodyMode {
    let has = |kind| accounts.iter().any(|a| a.kind == kind);
    match (has(AccountKind::Custody), has(AccountKind::Deposit)) {
        (true, true) => CustodyMode::Hybrid,
        (true, false) => CustodyMode::Bank,
        (false, true) => CustodyMode::Deposit,
        (false, false) => CustodyMode::None,
    }
}

/// What third parties have frozen of an account on a day, at most its balance.
pub(super) fn frozen_on(facts: &Facts, account_no: i64, closing: Money, day: Day) -> Money {
    let epoch = days::number(day);
    let mut frozen = Money::ZERO;
    for f in facts.freezes.iter().filter(|f| f.account_no == account_no) {
        let in_force = f.from_day.is_none_or(|d| d <= epoch) && f.to_day.is_none_or(|d| d >= epoch);
        // A regulator's hold protects the money; a third party's takes it away.
        if in_force && f.kind != "regulator" {
            frozen = frozen.saturating_add(f.amount_fen.map_or(closing, Money::from_fen));
        }
    }
    frozen.min(Money::from_fen(closing.fen().max(0)))
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
        .fold(Money::ZERO, |sum, r| sum.saturating_add(r.amount))
}

/// REQ_dep (`domain.md` §6.4): the minimum stated with the accounts, the policy's floor, and all
/// students' fees of one charging cycle (C3), whichever is largest.
pub(super) fn deposit_required(stated: Money, c3: Money, policy: &Policy) -> Money {
    match policy.deposit.basis {
        DepositBasis::Minimum => stated,
        DepositBasis::ChargingCycle => stated
            .max(Money::from_fen(policy.deposit.floor_fen))
            .max(c3.share_ceiled(policy.deposit.kappa_bp, 10_000)),
    }
}

/// C3: fees of one charging cycle over contracts that still run.
fn charging_cycle(facts: &Facts, months: u32, day: Day) -> Money {
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
pub(super) fn cycle_share(c: &ContractTerms, months: u32) -> Money {
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
pub(super) type Deposit = (i64, Money, Option<Money>);

/// Deposits below the requirement. Measured against its account's own minimum, each account stands for
/// itself; against a charging cycle, the institution's deposits stand together, under the first of them.
pub(super) fn deposits_short(deposits: &[Deposit], required: Money) -> Vec<DepositShort> {
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

/// Every contract with money or lessons, in order of contract_no.
fn contract_positions(
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
    let mut by_no: HashMap<i64, ContractPosition> = HashMap::with_capacity(facts.contracts.len());
    fn slot(map: &mut HashMap<i64, ContractPosition>, no: i64) -> &mut ContractPosition {
        map.entry(no).or_insert_with(|| ContractPosition {
            contract_no: no,
            ..Default::default()
        })
    }
    for (payment, outcome) in facts.payments.iter().zip(&matching.payments) {
        let c = slot(&mut by_no, payment.contract_no);
        match outcome {
            PaymentOutcome::Duplicate { .. } => continue,
            PaymentOutcome::Matched { .. } | PaymentOutcome::Batched { .. } => {
                if let Some(account) = custody(payment.account_no) {
                    let credited = match outcome {
                        PaymentOutcome::Matched { credit, .. } => facts.credits[*credit].amount,
                        _ => payment.amount,
                    };
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
        let Some(contract) = facts.contract(lessons.contract_no) else {
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
    let completed = completions(&facts.contracts, &facts.lesson_days);
    let mut contracts: Vec<ContractPosition> = by_no.into_values().collect();
    contracts.sort_unstable_by_key(|c| c.contract_no);
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
pub(super) fn finish(c: &mut ContractPosition, earned_delivered: Money, contract_level: bool) {
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

#[cfg(test)]
mod tests;
