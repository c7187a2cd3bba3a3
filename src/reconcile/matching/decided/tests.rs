use super::super::tests::{World, day, settled, settles};
use super::super::{Matching, match_lines};
use super::*;
use crate::decision::{DecisionId, Member, Said, Step};
use crate::ledger;
use crate::policy::{Channel, Policy};
use crate::store::days;

/// An account that is not custody.
const OTHER: i64 = 2;

fn default() -> Policy {
    Policy::built_in("default").expect("the policy")
}

impl World {
    /// An approved decision about ids with the amounts they have.
    fn decide(&mut self, kind: DecisionKind, payments: &[(&str, i64)], lines: &[(&str, i64)]) {
        let member = |side, account_no, (id, fen): &(&str, i64)| Member {
            side,
            account_no,
            id: (*id).to_owned(),
            amount: Money::from_fen(*fen),
        };
        let payments = payments.iter().map(|p| member(Side::Payment, 0, p));
        let lines = lines.iter().map(|l| member(Side::Line, 1, l));
        let decision_no = i64::try_from(self.0.decisions.len()).expect("few") + 1;
        let at = chrono::DateTime::UNIX_EPOCH;
        self.0.decisions.push(Decision {
            id: DecisionId {
                inst_id: 1,
                decision_no,
            },
            kind,
            about: None,
            members: payments.chain(lines).collect(),
            amount: Money::ZERO,
            expires: None,
            proposed_by: "Li Na".into(),
            reason: "asked".into(),
            proposed_at: at,
            said: vec![Said {
                step: Step::Approved,
                by: "Zhao".into(),
                reason: String::new(),
                at,
            }],
        });
    }

    fn unmatch(&mut self, payment: (&str, i64), line: (&str, i64)) {
        self.decide(DecisionKind::Unmatch, &[payment], &[line]);
    }

    fn settlement(&mut self, id: &str, d: i32, reference: &str, fen: i64) {
        let channel = Channel::Pos.number();
        self.credit(id, d, ledger::LINE_SETTLEMENT, channel, reference, fen);
    }

    fn go(&self) -> Matching {
        self.run_by(&default(), 20)
    }
}

fn is_open(m: &Matching, payment: usize) -> bool {
    matches!(
        m.payments[payment],
        PaymentOutcome::Overdue { .. } | PaymentOutcome::InTransit { .. }
    )
}

#[test]
fn two_that_are_kept_apart_meet_by_no_reference() {
    let mut w = World(Facts::default());
    w.payment("P1", 0, Channel::Transfer, "R1", 100);
    w.credit("E1", 0, ledger::LINE_TRANSFER, 0, "R1", 100);
    assert!(settled(&w.go(), 0).is_some());
    w.unmatch(("P1", 100), ("E1", 100));
    let m = w.go();
    assert!(is_open(&m, 0));
    assert_eq!(m.credits[0], CreditOutcome::Unmatched);
    assert_eq!(m.kept_apart[&(0, 0)], 1);
    // The next credit of the reference settles, and the first does not repeat it.
    w.credit("E2", 1, ledger::LINE_TRANSFER, 0, "R1", 100);
    let m = w.go();
    assert_eq!(settled(&m, 0).map(|s| s.0), Some(vec![1]));
    assert_eq!(m.credits[0], CreditOutcome::Unmatched);
}

#[test]
fn two_that_are_kept_apart_meet_in_no_parts() {
    let mut w = World(Facts::default());
    w.payment("P1", 0, Channel::Transfer, "R1", 100);
    for (id, fen) in [("E1", 30), ("E2", 30), ("E3", 70)] {
        w.credit(id, 0, ledger::LINE_TRANSFER, 0, "R1", fen);
    }
    w.unmatch(("P1", 100), ("E1", 30));
    assert_eq!(settled(&w.go(), 0).map(|s| s.0), Some(vec![1, 2]));
}

#[test]
fn two_that_are_kept_apart_meet_in_no_batch() {
    // By the day's sum.
    let mut w = World(Facts::default());
    w.payment("P1", 0, Channel::Pos, "", 100);
    w.payment("P2", 0, Channel::Pos, "", 50);
    w.settlement("E1", 1, "", 150);
    w.settlement("E2", 2, "", 150);
    assert_eq!(settles(&w.go(), 0), Some(vec![0, 1]));
    w.unmatch(("P2", 50), ("E1", 150));
    let m = w.go();
    assert_eq!(settles(&m, 1), Some(vec![0, 1]), "the later credit");
    assert_eq!(m.credits[0], CreditOutcome::Unmatched);
    // As the channel describes it.
    let mut w = World(Facts::default());
    w.payment("P1", 0, Channel::Pos, "", 100);
    w.settlement("E1", 1, "B1", 100);
    w.0.settlements.push(crate::feed::store::Settlement {
        inst_id: 1,
        account_no: 1,
        batch_no: "B1".into(),
        channel: Channel::Pos.number(),
        period_from_day: days::number(day(0)),
        period_to_day: days::number(day(0)),
        gross_fen: 100,
        fee_fen: 0,
        refund_fen: 0,
        net_fen: 100,
        expected_day: None,
    });
    assert_eq!(settles(&w.go(), 0), Some(vec![0]));
    w.unmatch(("P1", 100), ("E1", 100));
    assert_eq!(w.go().credits[0], CreditOutcome::Unmatched);
}

#[test]
fn keeping_two_apart_leaves_the_other_choice() {
    // 35 is 5 and either of two payments of 30, until people say which it is not.
    let mut w = World(Facts::default());
    w.payment("P1", 0, Channel::Pos, "", 30);
    w.payment("P2", 1, Channel::Pos, "", 30);
    w.payment("P3", 2, Channel::Pos, "", 5);
    w.settlement("E1", 2, "", 35);
    let m = w.go();
    assert_eq!(
        (m.credits[0], m.reviews.len()),
        (CreditOutcome::Unmatched, 1)
    );
    w.unmatch(("P1", 30), ("E1", 35));
    let m = w.go();
    assert_eq!(settles(&m, 0), Some(vec![1, 2]));
    assert_eq!(m.reviews, []);
    // Two credits together: the same.
    w.0.credits.clear();
    w.0.decisions.clear();
    w.settlement("E2", 2, "", 17);
    w.settlement("E3", 2, "", 18);
    assert_eq!(settles(&w.go(), 0), None);
    w.unmatch(("P1", 30), ("E3", 18));
    assert_eq!(settles(&w.go(), 0), Some(vec![1, 2]));
}

#[test]
fn what_people_match_comes_before_the_rules() {
    let mut w = World(Facts::default());
    w.payment("P1", 0, Channel::Transfer, "R1", 100);
    w.payment("P2", 0, Channel::Transfer, "R1", 100);
    w.credit("E1", 0, ledger::LINE_TRANSFER, 0, "R1", 100);
    w.credit("E9", 1, ledger::LINE_TRANSFER, 0, "R9", 100);
    w.decide(DecisionKind::Match, &[("P1", 100)], &[("E9", 100)]);
    let m = w.go();
    assert_eq!(settled(&m, 0).map(|s| s.0), Some(vec![1]));
    assert_eq!(m.groups[0].by, By::Decision(1));
    // The reference's own credit comes a second time; its second report stays one.
    assert_eq!(m.credits[0], CreditOutcome::Duplicate { of: 1 });
    assert_eq!(m.payments[1], PaymentOutcome::Duplicate { of: 0 });
    // A second report that people match is no repetition.
    w.0.decisions.clear();
    w.decide(DecisionKind::Match, &[("P2", 100)], &[("E9", 100)]);
    let m = w.go();
    assert_eq!(settled(&m, 0).map(|s| s.0), Some(vec![0]));
    assert_eq!(settled(&m, 1).map(|s| s.0), Some(vec![1]));
}

#[test]
fn a_difference_falls_on_the_last_payment() {
    let arrived = |banked: i64| -> Vec<i64> {
        let mut w = World(Facts::default());
        w.payment("P2", 1, Channel::Transfer, "", 50);
        w.payment("P1", 0, Channel::Transfer, "", 100);
        w.payment("P3", 2, Channel::Transfer, "", 10);
        w.credit("E1", 2, ledger::LINE_TRANSFER, 0, "", banked);
        let paid = [("P1", 100), ("P2", 50), ("P3", 10)];
        w.decide(DecisionKind::Match, &paid, &[("E1", banked)]);
        let m = w.go();
        assert_eq!(m.groups[0].difference, banked - 160);
        assert_eq!(m.groups[0].kind, MatchKind::Batch);
        let of = |i: usize| m.arrived(&w.0, 0, &w.0.payments[i]).1.fen();
        vec![of(1), of(0), of(2)]
    };
    assert_eq!(arrived(160), [100, 50, 10]);
    assert_eq!(arrived(200), [100, 50, 50]);
    assert_eq!(arrived(155), [100, 50, 5]);
    assert_eq!(arrived(120), [100, 20, 0]);
    assert_eq!(arrived(70), [70, 0, 0]);
}

#[test]
fn what_no_longer_fits_is_not_applied_and_says_why() {
    let world = || {
        let mut w = World(Facts::default());
        w.payment("P1", 0, Channel::Transfer, "R1", 100);
        w.payment("P2", 0, Channel::Transfer, "R2", 100);
        w.credit("E1", 0, ledger::LINE_TRANSFER, 0, "R9", 100);
        w
    };
    let lapse = |w: &World| -> Vec<(i64, Lapse)> {
        let m = w.go();
        let by_rules = |g: &crate::reconcile::Group| matches!(g.by, By::Rule(_));
        assert!(
            m.groups
                .iter()
                .all(|g| by_rules(g) || w.0.decisions.len() > 1)
        );
        m.lapsed
    };
    let (pay, line) = ([("P1", 100)], [("E1", 100)]);
    let mut w = world();
    w.decide(DecisionKind::Match, &[("P9", 100)], &line);
    let (side, id) = (Side::Payment, "P9".to_owned());
    assert_eq!(lapse(&w), [(1, Lapse::Gone { side, id })]);
    let mut w = world();
    w.decide(DecisionKind::Unmatch, &pay, &[("E1", 99)]);
    let (id, was, is) = ("E1".to_owned(), Money::from_fen(99), Money::from_fen(100));
    assert_eq!(lapse(&w), [(1, Lapse::Changed { id, was, is })]);
    // The bank takes the line back.
    let mut w = world();
    w.decide(DecisionKind::Match, &pay, &line);
    w.debit("E2", 1, "R9", 100);
    w.0.debits[0].correction = Some(ledger::Correction::Reversed);
    assert_eq!(lapse(&w), [(1, Lapse::Undone { id: "E1".into() })]);
    // An earlier decision has the line, or keeps the two apart.
    let mut w = world();
    w.decide(DecisionKind::Match, &[("P2", 100)], &line);
    w.decide(DecisionKind::Match, &pay, &line);
    let decided = |by| Lapse::Decided {
        id: "E1".into(),
        by,
    };
    assert_eq!(lapse(&w), [(2, decided(1))]);
    let mut w = world();
    w.decide(DecisionKind::Match, &pay, &line);
    w.unmatch(pay[0], line[0]);
    assert_eq!(lapse(&w), [(1, decided(2))]);
    // Lines of two accounts.
    let mut w = world();
    w.credit("E2", 0, ledger::LINE_TRANSFER, 0, "", 7);
    w.0.credits[1].account_no = OTHER;
    w.decide(DecisionKind::Match, &pay, &[line[0], ("E2", 7)]);
    w.0.decisions[0].members[2].account_no = OTHER;
    assert_eq!(lapse(&w), [(1, Lapse::Accounts)]);
    // Of accounts of two kinds.
    let mut w = world();
    w.0.payments[0].account_no = OTHER;
    w.decide(DecisionKind::Match, &pay, &line);
    let policy = default();
    let packs = policy.packs("D");
    let kind = |no: i64| match no {
        1 => AccountKind::Custody,
        _ => AccountKind::Settlement,
    };
    let m = match_lines(&w.0, (&policy, &packs), day(9), kind);
    assert_eq!(m.lapsed, [(1, Lapse::Kinds)]);
}

#[test]
fn it_holds_up_to_its_last_day() {
    let mut w = World(Facts::default());
    w.payment("P1", 0, Channel::Transfer, "", 100);
    w.credit("E1", 0, ledger::LINE_TRANSFER, 0, "", 100);
    w.decide(DecisionKind::Match, &[("P1", 100)], &[("E1", 100)]);
    w.0.decisions[0].expires = Some(day(5));
    assert!(settled(&w.run_by(&default(), 5), 0).is_some());
    assert!(settled(&w.run_by(&default(), 6), 0).is_none());
    w.0.decisions[0].expires = None;
    w.0.decisions[0].said.clear();
    assert!(settled(&w.run_by(&default(), 5), 0).is_none());
}
