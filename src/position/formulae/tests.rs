use super::*;
use crate::base::{AccountNo, InstId};
use crate::feed::store::Freeze;
use crate::policy::{Channel, DepositBasis, GiftRule};
use crate::position::DistrictTotals;
use crate::reconcile::{Approval, LessonDay, LessonSums, Line, Payment, StatedDay, match_lines};
use crate::registry::Terms;
use crate::store::days;

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
        ordered_on: day("2026-01-05"),
        terms: Terms {
            lesson_amount: fen(499_999),
            lessons: 48,
            gift_lessons: 12,
        },
        amount: fen(499_999),
        starts_on: None,
        ends_on: None,
        by_time: false,
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
        version: 1,
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
        correction: None,
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
    let packs = policy.packs("D");
    let matching = match_lines(facts, (policy, &packs), day(on), kind);
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
        deemed: 0,
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
        deemed: 0,
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
    freeze.to_day = Some(days::number(day("2026-05-31")));
    facts.freezes = vec![freeze];
    assert_eq!(held(&facts), fen(9_000), "a freeze that has ended");
}

#[test]
fn an_unidentified_credit_that_was_sent_back_takes_nothing_away() {
    let mut facts = world(0);
    pay(&mut facts, "P1", "2026-06-01", 10_000);
    credit(&mut facts, "P1", "2026-06-01", 10_000);
    credit(&mut facts, "STRANGE", "2026-06-01", 3_000);
    let held = |facts: &Facts| run(facts, &custody(), &policy(), "2026-06-01").position;
    for (reference, expected) in [("OTHER", 7_000), ("STRANGE", 10_000)] {
        let (id, named) = (facts.keep("D1"), facts.keep(reference));
        facts.debits = vec![Line {
            correction: None,
            seq: 200,
            day: day("2026-06-01"),
            account_no: 1,
            amount: fen(3_000),
            channel: 0,
            code: 3,
            id,
            reference: named,
        }];
        facts.days = vec![StatedDay {
            version: 1,
            account_no: 1,
            day: day("2026-06-01"),
            opening: 0,
            closing: 10_000,
        }];
        assert_eq!(held(&facts).held, fen(expected), "sent back as {reference}");
    }
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

/// A contract of 10,000 fen for ten lessons, paid and credited on 1 June.
fn paid_in_full() -> Facts {
    let mut facts = world(0);
    facts.days.clear();
    let c = &mut facts.contracts[0];
    (c.terms, c.amount) = (
        Terms {
            lesson_amount: fen(10_000),
            lessons: 10,
            gift_lessons: 0,
        },
        fen(10_000),
    );
    c.ordered_on = day("2026-03-02");
    pay(&mut facts, "P1", "2026-03-02", 10_000);
    credit(&mut facts, "P1", "2026-03-02", 10_000);
    stated(&mut facts, 1, "2026-03-02", 10_000);
    facts
}

#[test]
fn a_contract_sold_by_time_is_earned_by_time() {
    let mut facts = paid_in_full();
    let c = &mut facts.contracts[0];
    c.by_time = true;
    (c.starts_on, c.ends_on) = (Some(day("2026-01-01")), Some(day("2026-04-10"))); // 100 days
    c.terms.lessons = 0;
    let owed = |facts: &Facts, on: &str| {
        let p = run(facts, &custody(), &policy(), on).position;
        (p.unearned_confirmed.fen(), p.unearned_delivered.fen())
    };
    facts.contracts[0].ordered_on = day("2025-12-20");
    assert_eq!(owed(&facts, "2026-03-02"), (3_900, 3_900)); // 61 days used
    assert_eq!(owed(&facts, "2026-04-09"), (100, 100));
    assert_eq!(owed(&facts, "2026-04-10"), (0, 0));
    assert_eq!(owed(&facts, "2026-05-08"), (0, 0));
    // Nothing is earned before it starts, and lessons do not count.
    facts.contracts[0].starts_on = Some(day("2026-04-01"));
    facts.lessons.push(LessonSums {
        contract_no: 1,
        deemed: 0,
        confirmed: 5,
        delivered: 5,
    });
    assert_eq!(owed(&facts, "2026-03-31"), (10_000, 10_000));
    // Without both dates it is earned by its lessons, of which it has none to count against.
    facts.contracts[0].ends_on = None;
    assert_eq!(owed(&facts, "2026-05-08"), (10_000, 10_000));
}

fn with_regime(regime: Regime) -> Policy {
    let mut policy = policy();
    policy.release.regime = regime;
    policy
}

fn consume(facts: &mut Facts, on: &str, confirmed: i64) {
    facts.lessons = vec![LessonSums {
        contract_no: 1,
        deemed: 0,
        confirmed,
        delivered: confirmed,
    }];
    let (contract_no, day) = (1, day(on));
    facts.lesson_days = vec![LessonDay {
        contract_no,
        day,
        confirmed,
    }];
}

#[test]
fn the_requirement_follows_the_release_regime() {
    let required = |facts: &Facts, regime, on: &str| {
        let p = run(facts, &custody(), &with_regime(regime), on).position;
        p.required.fen()
    };
    let mut facts = paid_in_full();
    consume(&mut facts, "2026-03-13", 9);
    assert_eq!(required(&facts, Regime::OneLesson, "2026-03-13"), 1_000);
    assert_eq!(required(&facts, Regime::OrderEnd, "2026-12-31"), 10_000);
    consume(&mut facts, "2026-03-13", 10);
    // Fri 13 March + 15 working days is Fri 3 April.
    assert_eq!(required(&facts, Regime::OrderEnd, "2026-04-02"), 10_000);
    assert_eq!(required(&facts, Regime::OrderEnd, "2026-04-03"), 0);
    // Three equal parts, the whole by the end of the third month.
    facts.contracts[0].starts_on = Some(day("2026-03-05"));
    for (on, expected) in [
        ("2026-04-04", 10_000),
        ("2026-04-05", 6_667),
        ("2026-05-05", 3_334),
        ("2026-06-05", 0),
    ] {
        assert_eq!(required(&facts, Regime::Tranche, on), expected, "{on}");
    }
    // A fifth of the fees of three months, rounded up.
    facts.payments[0].amount = fen(10_001);
    assert_eq!(required(&facts, Regime::ReserveRatio, "2026-06-01"), 2_001);
    assert_eq!(required(&facts, Regime::ReserveRatio, "2026-06-02"), 0);
}

#[test]
fn what_is_released_beyond_the_regime_is_premature() {
    let mut facts = paid_in_full();
    consume(&mut facts, "2026-03-13", 5);
    let id = facts.keep("X1");
    facts.releases.push(Approval {
        seq: 9,
        day: day("2026-03-16"),
        contract_no: 1,
        account_no: 1,
        amount: fen(4_000),
        state: 0,
        id,
    });
    let premature = |regime, on: &str| -> i64 {
        let m = run(&facts, &custody(), &with_regime(regime), on);
        m.contracts.iter().map(|c| c.premature.fen()).sum()
    };
    assert_eq!(premature(Regime::OneLesson, "2026-03-16"), 0);
    assert_eq!(premature(Regime::OrderEnd, "2026-03-16"), 4_000);
    assert_eq!(premature(Regime::Tranche, "2026-03-16"), 4_000);
    assert_eq!(premature(Regime::Tranche, "2026-04-02"), 667);
    assert_eq!(premature(Regime::ReserveRatio, "2026-03-16"), 0);
}

#[test]
fn nothing_is_releasable_into_a_shortage() {
    let on = "2026-03-02";
    let releasable = |facts: &Facts, on: &str| {
        let p = run(facts, &custody(), &policy(), on).position;
        (p.releasable.fen(), p.held.less_floored(p.required).fen())
    };
    let mut facts = paid_in_full();
    consume(&mut facts, on, 4);
    assert_eq!(releasable(&facts, on), (4_000, 4_000));
    // Half of the excess is gone: only what is left may leave.
    stated(&mut facts, 1, on, 8_000);
    assert_eq!(releasable(&facts, on), (2_000, 2_000));
    stated(&mut facts, 1, on, 6_000);
    assert_eq!(releasable(&facts, on), (0, 0));
    // Other money in the account is no reason to release more than was earned.
    stated(&mut facts, 1, on, 50_000);
    assert_eq!(releasable(&facts, on), (4_000, 44_000));
    // What a contract never received cannot be released for it.
    facts.credits.clear();
    stated(&mut facts, 1, on, 50_000);
    assert_eq!(releasable(&facts, on).0, 0);
    // Unknown: nothing.
    let facts = paid_in_full();
    assert_eq!(releasable(&facts, "2026-03-03").0, 0);
}

#[test]
fn account_and_deposit_together_protect() {
    let mut facts = paid_in_full();
    stated(&mut facts, 1, "2026-03-02", 7_000);
    let mut accounts = custody();
    accounts.push(registered(AccountKind::Deposit, 2, 0));
    for (deposit, expected) in [(2_000, 9_000), (5_000, 10_000), (0, 7_000)] {
        stated(&mut facts, 2, "2026-03-02", deposit);
        let p = run(&facts, &accounts, &policy(), "2026-03-02").position;
        assert_eq!(p.protected, fen(expected), "deposit of {deposit}");
    }
}

#[test]
fn fees_are_recorded_by_orders_and_payments_and_count_in_filed_accounts() {
    let on = "2026-03-02";
    let mut facts = paid_in_full();
    facts.contracts[0].amount = fen(12_000);
    let fees = |facts: &Facts, accounts: &[registry::Account]| {
        let p = run(facts, accounts, &policy(), on).position;
        (p.fees_credited.fen(), p.fees_recorded.fen())
    };
    assert_eq!(fees(&facts, &custody()), (10_000, 12_000));
    // Paid beyond the order: the payment is the record.
    pay(&mut facts, "P2", on, 5_000);
    assert_eq!(fees(&facts, &custody()), (10_000, 15_000));
    let mut unfiled = custody();
    unfiled[0].filed_on = None;
    assert_eq!(fees(&facts, &unfiled), (0, 15_000));
}

#[test]
fn the_deemed_share_is_of_the_value_that_counts() {
    let mut facts = paid_in_full();
    facts.lessons.push(LessonSums {
        contract_no: 1,
        confirmed: 6,
        deemed: 2,
        delivered: 8,
    });
    let p = run(&facts, &custody(), &policy(), "2026-03-02").position;
    assert_eq!((p.consumed, p.deemed), (fen(6_000), fen(2_000)));
}

#[test]
fn a_closed_account_that_is_proven_empty_makes_nothing_unknown() {
    let mut facts = world(0);
    facts.days.clear();
    pay(&mut facts, "P1", "2026-05-26", 10_000);
    stated(&mut facts, 1, "2026-05-28", 0);
    stated(&mut facts, 1, "2026-05-29", 0);
    for on in [
        "2026-06-01",
        "2026-06-02",
        "2026-06-03",
        "2026-06-04",
        "2026-06-05",
    ] {
        stated(&mut facts, 2, on, 10_000);
    }
    let mut accounts = custody();
    accounts.push(registered(AccountKind::Custody, 2, 0));
    let p = run(&facts, &accounts, &policy(), "2026-06-05").position;
    assert_eq!(p.status, Some(Status::Unknown), "while it is open");
    accounts[0].status = Some("closed".into());
    let p = run(&facts, &accounts, &policy(), "2026-06-05").position;
    assert_eq!((p.status, p.missing_days), (Some(Status::Covered), 0));
    assert_eq!((p.accounts_expected, p.accounts_proven), (1, 1));
    // With a balance left it goes on owing.
    stated(&mut facts, 1, "2026-05-29", 1);
    let p = run(&facts, &accounts, &policy(), "2026-06-05").position;
    assert_eq!((p.status, p.missing_days), (Some(Status::Unknown), 5));
}

/// The sweep sees what each day's measure sees: a state ends for both on the same day, under every regime
/// and for a contract sold by time.
#[test]
fn the_sweep_agrees_with_the_measure_of_each_day() {
    let regimes = [
        Regime::OneLesson,
        Regime::OrderEnd,
        Regime::Tranche,
        Regime::ReserveRatio,
    ];
    for (regime, by_time) in regimes.into_iter().flat_map(|r| [(r, false), (r, true)]) {
        let policy = with_regime(regime);
        let mut facts = paid_in_full();
        consume(&mut facts, "2026-03-13", 10);
        let c = &mut facts.contracts[0];
        c.by_time = by_time;
        (c.starts_on, c.ends_on) = (Some(day("2026-03-05")), Some(day("2026-05-20")));
        let id = facts.keep("X1");
        facts.releases.push(Approval {
            seq: 9,
            day: day("2026-03-13"),
            contract_no: 1,
            account_no: 1,
            amount: fen(8_000),
            state: 0,
            id,
        });
        stated(&mut facts, 1, "2026-03-02", 1_000);
        let accounts = custody();
        let refs: Vec<&registry::Account> = accounts.iter().collect();
        let (mut uncovered, mut premature, first) = (0, 0, day("2026-03-13"));
        for on in first.through(day("2026-08-31")) {
            let kind = |_| AccountKind::Custody;
            let packs = policy.packs("D");
            let matching = match_lines(&facts, (&policy, &packs), on, kind);
            let view = (&policy, None, on);
            let m = measure(&institution(), &refs, &facts, &matching, view);
            let view = (&policy, on);
            let since = crate::position::since(&refs, &facts, &matching, &m, view, (true, None));
            let place = format!("{regime:?} by time {by_time} on {on}");
            let short = m.position.uncovered > Money::ZERO;
            assert_eq!(since.uncovered.is_some(), short, "{place}");
            let early = m.contracts.iter().any(|c| c.premature > Money::ZERO);
            let told = since.contracts.get(&1).and_then(|c| c.premature);
            assert_eq!(told.is_some(), early, "{place}");
            uncovered += i32::from(short);
            premature += i32::from(early);
        }
        let whole = 172;
        assert!(
            uncovered < whole && premature < whole,
            "{regime:?}: a state ends"
        );
    }
}
