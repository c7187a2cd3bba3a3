//! The formulae.

use std::collections::HashMap;

use super::Status;
use crate::base::{Day, Money};
use crate::ledger::REFUND_SETTLED;
use crate::policy::{DepositBasis, GiftRule, Policy};
use crate::reconcile::{
    AccountDays, ContractTerms, CreditOutcome, ExpectedRange, Facts, Matching, PaymentOutcome,
    prove,
};
use crate::registry::{self, AccountKind, CustodyMode, Institution, Prepays};

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
    /// Released for this contract.
    pub released: Money,
    /// Credited to the account for this contract.
    pub cleared: Money,
    /// Captured, inside its window.
    pub in_transit: Money,
    /// U_conf: owed to the student on confirmed lessons.
    pub unearned_confirmed: Money,
    /// U_deliv: owed on delivered lessons.
    pub unearned_delivered: Money,
    /// s_c: owed and not backed by the contract's own cash or transit.
    pub short: Money,
    /// cash_c < 0, as a positive amount.
    pub negative: Money,
    /// Released beyond confirmed lessons.
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
    /// Σ earned on confirmed lessons.
    pub earned_confirmed: Money,
    /// Σ released − Σ earned on confirmed lessons, where releases are not told per contract.
    pub premature: Money,
}

/// What [`measure`] found: the institution, its contracts with a finding, its accounts.
#[derive(Debug)]
pub struct Measured {
    pub position: Position,
    pub contracts: Vec<ContractPosition>,
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
    let contracts = contract_positions(facts, matching, policy, contract_level, &accounts);
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
    p.earned_confirmed = sum(|c| c.earned_confirmed);
    if !contract_level {
        p.premature = p.released.less_floored(p.earned_confirmed);
    }
    let counts = |a: &&Account| policy.held.unfiled_accounts_count || a.filed;
    p.unidentified = unidentified(facts, matching);
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
        excluded = excluded.saturating_add(p.unidentified);
    }
    // What is excluded was in the account, so it never makes a balance negative; an overdraft stays one.
    let balance = total(custody(), |a| a.closing);
    let custody_held = balance
        .checked_sub(excluded.min(balance.less_floored(Money::ZERO)))
        .unwrap_or(balance);
    p.deposit_held = total(deposits(), |a| a.closing.less_floored(a.frozen));
    let mode = institution
        .custody_mode
        .unwrap_or_else(|| inferred_mode(&accounts));
    p.mode = Some(mode);
    if matches!(mode, CustodyMode::Deposit | CustodyMode::Hybrid) {
        p.deposit_required = deposit_required(facts, policy, day, deposits());
    }
    (p.required, p.held) = match mode {
        CustodyMode::Bank | CustodyMode::Hybrid | CustodyMode::None => {
            (p.unearned_confirmed, custody_held)
        }
        CustodyMode::Deposit => (p.deposit_required, p.deposit_held),
    };
    cover(&mut p, &accounts, policy);
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
        accounts,
    }
}

/// Gap, explanation, status (`domain.md` §6.5); nothing here is netted against another institution.
fn cover(p: &mut Position, accounts: &[Account], policy: &Policy) {
    let gap = p.required.less_floored(p.held);
    let explanation = if policy.explained.in_transit && p.mode != Some(CustodyMode::Deposit) {
        p.in_transit.saturating_add(p.fee_window)
    } else {
        Money::ZERO
    };
    p.explained = gap.min(explanation);
    p.uncovered = gap.less_floored(p.explained);
    let owing: Vec<&Account> = accounts
        .iter()
        .filter(|a| a.kind.owes_statements())
        .collect();
    let expected = owing
        .iter()
        .filter(|a| a.days.last_expected.is_some())
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
        prove(facts, account_no, policy, range, day)
    } else {
        AccountDays::default()
    };
    let closing = Money::from_fen(days.latest.map_or(0, |(_, closing)| closing));
    let epoch = i64::from(day.epoch());
    let mut frozen = Money::ZERO;
    for f in facts.freezes.iter().filter(|f| f.account_no == account_no) {
        let in_force = f.from_day.is_none_or(|d| d <= epoch) && f.to_day.is_none_or(|d| d >= epoch);
        // A regulator's hold protects the money; a third party's takes it away.
        if in_force && f.kind != "regulator" {
            frozen = frozen.saturating_add(f.amount_fen.map_or(closing, Money::from_fen));
        }
    }
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
        frozen: frozen.min(Money::from_fen(closing.fen().max(0))),
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

/// Credits that match no order: they may be hidden liabilities.
fn unidentified(facts: &Facts, matching: &Matching) -> Money {
    facts
        .credits
        .iter()
        .zip(&matching.credits)
        .filter(|(_, o)| {
            matches!(
                o,
                CreditOutcome::Unmatched | CreditOutcome::Duplicate { .. }
            )
        })
        .fold(Money::ZERO, |sum, (l, _)| sum.saturating_add(l.amount))
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
/// students' fees of one charging cycle, whichever is largest.
fn deposit_required<'a>(
    facts: &Facts,
    policy: &Policy,
    day: Day,
    deposits: impl Iterator<Item = &'a Account>,
) -> Money {
    let stated = total(deposits, |a| a.min_deposit);
    match policy.deposit.basis {
        DepositBasis::Minimum => stated,
        DepositBasis::ChargingCycle => {
            let c3 = charging_cycle(facts, policy.deposit.cycle_months, day);
            stated
                .max(Money::from_fen(policy.deposit.floor_fen))
                .max(c3.share_ceiled(policy.deposit.kappa_bp, 10_000))
        }
    }
}

/// C3: fees of one charging cycle over contracts that still run; one without dates counts in full.
fn charging_cycle(facts: &Facts, months: u32, day: Day) -> Money {
    let delivered: HashMap<i64, i64> = facts
        .lessons
        .iter()
        .map(|l| (l.contract_no, l.confirmed))
        .collect();
    let runs = |c: &&ContractTerms| {
        c.ends_on.is_none_or(|end| end >= day)
            && delivered.get(&c.contract_no).copied().unwrap_or(0) < c.terms.pool()
    };
    facts
        .contracts
        .iter()
        .filter(runs)
        .fold(Money::ZERO, |sum, c| {
            let share = match (c.starts_on, c.ends_on) {
                (Some(start), Some(end)) if end > start.plus_months(months) => {
                    let cycle = i64::from(start.plus_months(months).since(start));
                    c.amount.share_ceiled(cycle, i64::from(end.since(start)))
                }
                _ => c.amount,
            };
            sum.saturating_add(share)
        })
}

/// Every contract with money or lessons, in order of contract_no.
fn contract_positions(
    facts: &Facts,
    matching: &Matching,
    policy: &Policy,
    contract_level: bool,
    accounts: &[Account],
) -> Vec<ContractPosition> {
    // Money in an account of the institution's own backs no contract.
    let in_custody = |account_no: i64| {
        accounts
            .iter()
            .any(|a| a.account_no == account_no && a.kind == AccountKind::Custody)
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
            _ if !in_custody(payment.account_no) => {}
            PaymentOutcome::Matched { credit, .. } => {
                c.cleared = c.cleared.saturating_add(facts.credits[*credit].amount);
            }
            PaymentOutcome::Batched { .. } => c.cleared = c.cleared.saturating_add(payment.amount),
            PaymentOutcome::InTransit { .. } => {
                c.in_transit = c.in_transit.saturating_add(payment.amount);
            }
            PaymentOutcome::Overdue { .. } | PaymentOutcome::NotTested => {}
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
        let value = |count: i64| match policy.lessons.gift {
            GiftRule::Pooled => contract.terms.value_of(count),
            GiftRule::GiftZero => contract.terms.value_of_paid(count),
        };
        slot(&mut by_no, lessons.contract_no).earned_confirmed = value(lessons.confirmed);
        delivered.insert(lessons.contract_no, value(lessons.delivered));
    }
    let mut contracts: Vec<ContractPosition> = by_no.into_values().collect();
    contracts.sort_unstable_by_key(|c| c.contract_no);
    for c in &mut contracts {
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

fn finish(c: &mut ContractPosition, earned_delivered: Money, contract_level: bool) {
    let owed = |earned: Money| c.paid.less_floored(c.refunded.saturating_add(earned));
    c.unearned_confirmed = owed(c.earned_confirmed);
    c.unearned_delivered = owed(earned_delivered);
    if !contract_level {
        return;
    }
    let out = c.refunded.saturating_add(c.released);
    let backed = c.cleared.less_floored(out).saturating_add(c.in_transit);
    c.negative = out.less_floored(c.cleared);
    // A negative cash balance adds to what is missing.
    c.short = c
        .unearned_confirmed
        .saturating_add(c.negative)
        .less_floored(backed);
    c.premature = c.released.less_floored(c.earned_confirmed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{AccountNo, InstId};
    use crate::feed::store::Freeze;
    use crate::policy::Channel;
    use crate::position::DistrictTotals;
    use crate::reconcile::{LessonSums, Line, Payment, StatedDay, match_lines};
    use crate::registry::Terms;

    const INST: &str = "I1";

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    fn fen(fen: i64) -> Money {
        Money::from_fen(fen)
    }

    fn policy() -> Policy {
        Policy::built_in("default").unwrap()
    }

    fn institution() -> Institution {
        Institution {
            institution_id: INST.into(),
            district_id: "D".into(),
            name: "示例".into(),
            uscc: None,
            licence_kind: None,
            licence_no: None,
            licence_from: None,
            licence_to: None,
            department: None,
            category: None,
            subject: None,
            prepays: Prepays::Yes,
            status: "active".into(),
            platform_since: None,
            opened_on: None,
            custody_mode: None,
        }
    }

    fn registered(kind: AccountKind, no: i64, min: i64) -> registry::Account {
        registry::Account {
            inst_id: InstId(1),
            account_no: AccountNo(no),
            account_id: format!("A{no}"),
            kind,
            min_deposit: fen(min),
            bank_code: None,
            branch_district_id: None,
            agreement_no: None,
            agreement_from: None,
            agreement_to: None,
            filed_on: Some(day("2026-01-05")),
            status: None,
        }
    }

    /// One contract of 4,999.99 for 48 lessons and 12 gifts, paid into account 1.
    fn world(balance: i64) -> Facts {
        let mut facts = Facts::default();
        facts.contracts.push(ContractTerms {
            contract_no: 1,
            terms: Terms {
                lesson_amount: fen(499_999),
                lessons: 48,
                gift_lessons: 12,
            },
            amount: fen(499_999),
            starts_on: None,
            ends_on: None,
        });
        stated(&mut facts, 1, "2026-06-01", balance);
        facts
    }

    fn stated(facts: &mut Facts, account_no: i64, on: &str, closing: i64) {
        let moved: i64 = facts
            .credits
            .iter()
            .filter(|l| l.account_no == account_no && l.day == day(on))
            .map(|l| l.amount.fen())
            .sum();
        facts
            .days
            .retain(|d| (d.account_no, d.day) != (account_no, day(on)));
        facts.days.push(StatedDay {
            account_no,
            day: day(on),
            opening: closing - moved,
            closing,
        });
        facts.days.sort_by_key(|d| (d.account_no, d.day));
    }

    fn pay(facts: &mut Facts, id: &str, on: &str, amount: i64) {
        let (id, reference) = (facts.keep(id), facts.keep(id));
        facts.payments.push(Payment {
            seq: i64::try_from(facts.payments.len()).unwrap(),
            day: day(on),
            contract_no: 1,
            account_no: 1,
            amount: fen(amount),
            channel: Channel::Transfer.number(),
            id,
            reference,
        });
    }

    fn credit(facts: &mut Facts, reference: &str, on: &str, amount: i64) {
        let (id, reference) = (facts.keep(reference), facts.keep(reference));
        facts.credits.push(Line {
            seq: 100,
            day: day(on),
            account_no: 1,
            amount: fen(amount),
            channel: 0,
            code: 1,
            id,
            reference,
        });
    }

    fn run(facts: &Facts, accounts: &[registry::Account], policy: &Policy, on: &str) -> Measured {
        let refs: Vec<&registry::Account> = accounts.iter().collect();
        let kind = |no: i64| accounts.iter().find(|a| a.account_no.0 == no).unwrap().kind;
        let matching = match_lines(facts, policy, day(on), kind);
        measure(
            &institution(),
            &refs,
            facts,
            &matching,
            (policy, None, day(on)),
        )
    }

    fn custody() -> Vec<registry::Account> {
        vec![registered(AccountKind::Custody, 1, 0)]
    }

    #[test]
    fn vectors_of_domain_6_1_by_gift_rule() {
        let mut facts = world(0);
        pay(&mut facts, "P1", "2026-06-01", 499_999);
        facts.lessons.push(LessonSums {
            contract_no: 1,
            confirmed: 17,
            delivered: 20,
        });
        let p = run(&facts, &custody(), &policy(), "2026-06-01").position;
        assert_eq!(p.unearned_confirmed, fen(358_333));
        assert_eq!(p.unearned_delivered, fen(499_999 - 166_666));
        assert_eq!(
            p.required, p.unearned_confirmed,
            "custody is tested on confirmed lessons"
        );
        let mut zero = policy();
        zero.lessons.gift = GiftRule::GiftZero;
        let p = run(&facts, &custody(), &zero, "2026-06-01").position;
        assert_eq!(p.unearned_confirmed, fen(322_917));
    }

    #[test]
    fn a_contract_taught_beyond_its_payment_is_no_negative_liability() {
        let mut facts = world(0);
        pay(&mut facts, "P1", "2026-06-01", 1_000);
        facts.lessons.push(LessonSums {
            contract_no: 1,
            confirmed: 60,
            delivered: 60,
        });
        let p = run(&facts, &custody(), &policy(), "2026-06-01").position;
        assert_eq!(
            (p.required, p.status),
            (Money::ZERO, Some(Status::NotApplicable))
        );
    }

    #[test]
    fn status_is_the_first_that_applies() {
        let status = |balance: i64, paid: &str, credited: Option<&str>, on: &str| {
            let mut facts = world(0);
            facts.days.clear();
            pay(&mut facts, "P1", paid, 10_000);
            if let Some(credited) = credited {
                credit(&mut facts, "P1", credited, 10_000);
            }
            stated(&mut facts, 1, "2026-06-01", balance);
            let m = run(&facts, &custody(), &policy(), on);
            (m.position.status.unwrap(), m.position.uncovered.fen())
        };
        let on = "2026-06-01";
        assert_eq!(status(10_000, on, Some(on), on), (Status::Covered, 0));
        assert_eq!(status(9_999, on, Some(on), on), (Status::Short, 1));
        // Captured today, not credited, inside its window: explained.
        assert_eq!(status(0, on, None, on), (Status::Timing, 0));
        // Three working days later the window is over, and no later statement proves anything.
        assert_eq!(status(0, "2026-05-27", None, on), (Status::Short, 10_000));
        assert_eq!(status(0, on, None, "2026-06-02"), (Status::Unknown, 0));
        assert_eq!(
            status(10_000, on, Some(on), "2026-06-02"),
            (Status::Unknown, 0)
        );
    }

    #[test]
    fn unknown_counts_as_zero_in_effective_coverage_only() {
        let mut facts = world(10_000);
        pay(&mut facts, "P1", "2026-06-01", 10_000);
        credit(&mut facts, "P1", "2026-06-01", 10_000);
        stated(&mut facts, 1, "2026-06-01", 10_000);
        let p = run(&facts, &custody(), &policy(), "2026-06-02").position;
        assert_eq!((p.held, p.covered), (fen(10_000), Money::ZERO));
        let mut plain = policy();
        plain.coverage.unknown_counts_as_zero = false;
        let p = run(&facts, &custody(), &plain, "2026-06-02").position;
        assert_eq!((p.status, p.covered), (Some(Status::Unknown), fen(10_000)));
    }

    #[test]
    fn unidentified_and_frozen_money_is_not_held_but_never_makes_a_balance_negative() {
        let mut facts = world(0);
        pay(&mut facts, "P1", "2026-06-01", 10_000);
        credit(&mut facts, "P1", "2026-06-01", 10_000);
        credit(&mut facts, "STRANGE", "2026-06-01", 3_000);
        stated(&mut facts, 1, "2026-06-01", 12_000);
        let held = |facts: &Facts| {
            run(facts, &custody(), &policy(), "2026-06-01")
                .position
                .held
        };
        assert_eq!(held(&facts), fen(9_000));
        let mut freeze = Freeze {
            inst_id: 1,
            account_no: 1,
            document_no: "F".into(),
            kind: "court".into(),
            amount_fen: Some(4_000),
            from_day: None,
            to_day: None,
        };
        facts.freezes = vec![freeze.clone()];
        assert_eq!(held(&facts), fen(5_000));
        freeze.amount_fen = None;
        facts.freezes = vec![freeze.clone()];
        assert_eq!(held(&facts), Money::ZERO);
        freeze.kind = "regulator".into();
        facts.freezes = vec![freeze.clone()];
        assert_eq!(
            held(&facts),
            fen(9_000),
            "a regulator's hold protects the money"
        );
        freeze.kind = "police".into();
        freeze.to_day = Some(i64::from(day("2026-05-31").epoch()));
        facts.freezes = vec![freeze];
        assert_eq!(held(&facts), fen(9_000), "a freeze that has ended");
    }

    #[test]
    fn an_overdraft_stays_one_and_an_unfiled_account_holds_nothing() {
        let mut facts = world(-500);
        pay(&mut facts, "P1", "2026-05-01", 10_000);
        let p = run(&facts, &custody(), &policy(), "2026-06-01").position;
        assert_eq!((p.held, p.uncovered), (fen(-500), fen(10_500)));
        let mut unfiled = custody();
        unfiled[0].filed_on = None;
        stated(&mut facts, 1, "2026-06-01", 99_999);
        let p = run(&facts, &unfiled, &policy(), "2026-06-01").position;
        assert_eq!(
            (p.held, p.uncovered, p.under_custody),
            (Money::ZERO, fen(10_000), false)
        );
    }

    #[test]
    fn a_contracts_own_cash_is_tested_behind_a_covered_account() {
        let mut facts = world(0);
        pay(&mut facts, "P1", "2026-05-01", 10_000); // never credited
        stated(&mut facts, 1, "2026-06-01", 50_000); // other people's money
        let m = run(&facts, &custody(), &policy(), "2026-06-01");
        assert_eq!(m.position.status, Some(Status::Covered));
        assert_eq!(m.contracts[0].short, fen(10_000));
    }

    #[test]
    fn a_deposit_is_measured_against_one_charging_cycle() {
        let mut facts = world(0);
        facts.contracts[0].starts_on = Some(day("2026-03-01"));
        facts.contracts[0].ends_on = Some(day("2027-02-28"));
        stated(&mut facts, 1, "2026-06-01", 100_000);
        let accounts = vec![registered(AccountKind::Deposit, 1, 20_000)];
        let p = run(&facts, &accounts, &policy(), "2026-06-01").position;
        // 499,999 × 92 days of 364, rounded up.
        assert_eq!((p.required, p.held), (fen(126_374), fen(100_000)));
        assert_eq!(p.status, Some(Status::Short));
        facts.contracts[0].ends_on = None;
        let p = run(&facts, &accounts, &policy(), "2026-06-01").position;
        assert_eq!(
            p.required,
            fen(499_999),
            "a contract without dates counts in full"
        );
        let mut stated_minimum = policy();
        stated_minimum.deposit.basis = DepositBasis::Minimum;
        let p = run(&facts, &accounts, &stated_minimum, "2026-06-01").position;
        assert_eq!((p.required, p.status), (fen(20_000), Some(Status::Covered)));
    }

    #[test]
    fn vector_of_domain_6_6_is_not_netted() {
        let district = |required: i64, held: i64| DistrictTotals {
            required: fen(required),
            held: fen(held),
            covered: fen(held.min(required)),
            uncovered: fen((required - held).max(0)),
            ..DistrictTotals::default()
        };
        let parts = [
            district(100_000, 70_000),
            district(40_000, 90_000),
            district(10_000, 0),
        ];
        let sum = DistrictTotals::sum(&parts);
        assert_eq!(sum.amount_coverage().unwrap().to_percent(), "73.33");
        assert_eq!(sum.uncovered, fen(40_000));
    }
}
