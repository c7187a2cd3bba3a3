use super::super::facts::{Approval, Line};
use super::*;
use crate::ledger;
use crate::store::days;

pub(super) fn day(n: i32) -> Day {
    "2025-03-03".parse::<Day>().unwrap().plus(n)
}

fn workload() -> Policy {
    Policy::parse(include_str!("../../policy/workload.toml")).unwrap()
}

/// The credits that settle a payment, the difference, and its days beyond the window.
pub(super) fn settled(m: &Matching, payment: usize) -> Option<(Vec<usize>, i64, i32)> {
    let PaymentOutcome::Settled { group, late_days } = m.payments[payment] else {
        return None;
    };
    let difference = m.groups[group].difference;
    Some((m.credits_of(group).collect(), difference, late_days))
}

pub(super) fn settles(m: &Matching, credit: usize) -> Option<Vec<usize>> {
    match m.credits[credit] {
        CreditOutcome::Settles { group } => Some(m.payments_of(group).collect()),
        _ => None,
    }
}

pub(super) struct World(pub(super) Facts);

impl World {
    pub(super) fn payment(
        &mut self,
        id: &str,
        d: i32,
        channel: Channel,
        reference: &str,
        fen: i64,
    ) {
        let (id, reference) = (self.0.keep(id), self.0.keep(reference));
        let seq = i64::try_from(self.0.payments.len()).unwrap() + 1;
        self.0.payments.push(Payment {
            seq,
            day: day(d),
            contract_no: 1,
            account_no: 1,
            amount: Money::from_fen(fen),
            channel: channel.number(),
            id,
            reference,
        });
    }

    pub(super) fn credit(
        &mut self,
        id: &str,
        d: i32,
        code: u8,
        channel: i64,
        reference: &str,
        fen: i64,
    ) {
        let (id, reference) = (self.0.keep(id), self.0.keep(reference));
        let seq = i64::try_from(self.0.credits.len()).unwrap() + 1_000;
        self.0.credits.push(Line {
            seq,
            day: day(d),
            account_no: 1,
            amount: Money::from_fen(fen),
            channel,
            code: i64::from(code),
            correction: None,
            id,
            reference,
        });
    }

    pub(super) fn debit(&mut self, id: &str, d: i32, reference: &str, fen: i64) {
        self.credit(id, d, ledger::LINE_OTHER, 0, reference, fen);
        let line = self.0.credits.pop().unwrap();
        let seq = i64::try_from(self.0.debits.len()).unwrap() + 2_000;
        self.0.debits.push(Line { seq, ..line });
    }

    fn run(&self, as_of: i32) -> Matching {
        self.run_by(&workload(), as_of)
    }

    pub(super) fn run_by(&self, policy: &Policy, as_of: i32) -> Matching {
        let packs = policy.packs("D");
        match_lines(&self.0, (policy, &packs), day(as_of), |_| {
            AccountKind::Custody
        })
    }
}

#[test]
fn the_first_report_and_the_first_credit_of_a_reference_count() {
    let mut w = World(Facts::default());
    w.payment("P2", 0, Channel::Transfer, "R1", 100);
    w.payment("P1", 1, Channel::Transfer, "R1", 100);
    w.credit("E2", 1, ledger::LINE_TRANSFER, 0, "R1", 100);
    w.credit("E1", 1, ledger::LINE_TRANSFER, 0, "R1", 100);
    let m = w.run(9);
    assert_eq!(m.payments[0], PaymentOutcome::Duplicate { of: 1 });
    assert_eq!(settled(&m, 1), Some((vec![1], 0, 0)));
    assert_eq!(m.credits[0], CreditOutcome::Duplicate { of: 1 });
    assert_eq!(settles(&m, 1), Some(vec![1]));
}

#[test]
fn the_window_is_tested_on_both_sides() {
    for (credited, late) in [(3, 0), (4, 1)] {
        let mut w = World(Facts::default());
        w.payment("P1", 0, Channel::Wechat, "R1", 100);
        w.credit("E1", credited, ledger::LINE_TRANSFER, 0, "R1", 90);
        assert_eq!(settled(&w.run(9), 0), Some((vec![0], -10, late)));
    }
    let mut w = World(Facts::default());
    w.payment("P1", 0, Channel::Wechat, "R1", 100);
    assert_eq!(
        w.run(2).payments[0],
        PaymentOutcome::InTransit { window_end: day(3) }
    );
    assert_eq!(
        w.run(3).payments[0],
        PaymentOutcome::Overdue { window_end: day(3) }
    );
}

#[test]
fn an_amount_alone_matches_nothing() {
    let mut w = World(Facts::default());
    w.payment("P1", 0, Channel::Wechat, "R1", 100);
    w.payment("P2", 0, Channel::Wechat, "", 100);
    w.credit("E1", 0, ledger::LINE_TRANSFER, 0, "R9", 100);
    w.credit("E2", 0, ledger::LINE_TRANSFER, 0, "", 100);
    let m = w.run(9);
    assert!(
        m.payments
            .iter()
            .all(|p| matches!(p, PaymentOutcome::Overdue { .. }))
    );
    assert_eq!(m.credits, [CreditOutcome::Unmatched; 2]);
}

#[test]
fn a_batch_is_its_sum_inside_the_search_window() {
    for (credited, found) in [(-1, false), (0, true), (30, true), (31, false)] {
        let mut w = World(Facts::default());
        w.payment("P1", 0, Channel::Pos, "", 100);
        w.payment("P2", 0, Channel::Pos, "", 50);
        w.payment("P3", 0, Channel::Qr, "", 150);
        w.credit(
            "E1",
            credited,
            ledger::LINE_SETTLEMENT,
            Channel::Pos.number(),
            "S",
            150,
        );
        let m = w.run(60);
        let batched = settled(&m, 0).is_some_and(|(credits, ..)| credits == [0]);
        assert_eq!(batched, found, "credited on day {credited}");
        assert_eq!(settles(&m, 0) == Some(vec![0, 1]), found);
        assert!(
            matches!(m.payments[2], PaymentOutcome::Overdue { .. }),
            "another channel"
        );
    }
}

#[test]
fn equal_batches_take_their_credits_in_order_of_days() {
    let mut w = World(Facts::default());
    w.payment("P2", 1, Channel::Pos, "", 100);
    w.payment("P1", 0, Channel::Pos, "", 100);
    w.credit(
        "E2",
        3,
        ledger::LINE_SETTLEMENT,
        Channel::Pos.number(),
        "S2",
        100,
    );
    w.credit(
        "E1",
        2,
        ledger::LINE_SETTLEMENT,
        Channel::Pos.number(),
        "S1",
        100,
    );
    let m = w.run(9);
    assert_eq!(settled(&m, 1), Some((vec![1], 0, 0)));
    assert_eq!(settled(&m, 0), Some((vec![0], 0, 0)));
}

#[test]
fn a_described_settlement_is_gross_less_fee_and_refunds() {
    let mut w = World(Facts::default());
    w.payment("P1", 0, Channel::Wechat, "", 10_000);
    w.payment("P2", 1, Channel::Wechat, "", 5_000);
    w.credit("E1", 2, ledger::LINE_SETTLEMENT, 0, "B1", 13_910);
    let epoch = |n: i32| days::number(day(n));
    w.0.settlements.push(crate::feed::store::Settlement {
        inst_id: 1,
        account_no: 1,
        batch_no: "B1".into(),
        channel: Channel::Wechat.number(),
        period_from_day: epoch(0),
        period_to_day: epoch(1),
        gross_fen: 15_000,
        fee_fen: 90,
        refund_fen: 1_000,
        net_fen: 13_910,
        expected_day: None,
    });
    let m = w.run(9);
    assert_eq!(settles(&m, 0), Some(vec![0, 1]));
    assert_eq!(m.fees, [(day(2), Money::from_fen(90))]);
    // A gross that is not the payments' sum is no match.
    w.0.settlements[0].gross_fen = 15_001;
    assert_eq!(w.run(9).credits[0], CreditOutcome::Unmatched);
}

#[test]
fn an_approval_authorises_one_debit_of_its_amount() {
    let mut w = World(Facts::default());
    let id = w.0.keep("REL1");
    w.0.releases.push(crate::reconcile::facts::Approval {
        seq: 1,
        day: day(0),
        contract_no: 0,
        account_no: 1,
        amount: Money::from_fen(70),
        state: 0,
        id,
    });
    for (n, fen) in [(2, 70), (1, 70), (0, 71)] {
        let entry = w.0.keep(&format!("E{n}"));
        let reference = w.0.keep("REL1");
        w.0.debits.push(Line {
            correction: None,
            seq: 100 + i64::from(n),
            day: day(n),
            account_no: 1,
            amount: Money::from_fen(fen),
            channel: 0,
            code: 3,
            id: entry,
            reference,
        });
    }
    assert_eq!(
        w.run(9).debits,
        [
            DebitOutcome::Unauthorised,
            DebitOutcome::Release { release: 0 },
            DebitOutcome::Unauthorised
        ]
    );
}

#[test]
fn a_line_the_bank_takes_back_settles_nothing() {
    // A credit, taken back the next day, and paid anew on the third.
    let mut w = World(Facts::default());
    w.payment("P1", 0, Channel::Transfer, "R1", 100);
    w.credit("E1", 0, ledger::LINE_TRANSFER, 0, "R1", 100);
    w.debit("E2", 1, "R1", 100);
    w.0.debits[0].correction = Some(ledger::Correction::Reversed);
    let m = w.run(1);
    assert_eq!(m.credits, [CreditOutcome::Undone { debit: 0 }]);
    assert_eq!(m.debits, [DebitOutcome::Undone { credit: 0 }]);
    assert!(matches!(m.payments[0], PaymentOutcome::InTransit { .. }));
    let kinds: Vec<_> = m.lines(&w.0).iter().map(|l| (l.kind, l.n)).collect();
    assert_eq!(kinds, [(MatchKind::Reversal, 1); 2]);
    w.credit("E3", 2, ledger::LINE_TRANSFER, 0, "R1", 100);
    let m = w.run(2);
    assert!(settled(&m, 0).is_some_and(|(credits, ..)| credits == [1]));
}

#[test]
fn a_mark_undoes_the_latest_line_before_it_once_and_else_nothing() {
    let mut w = World(Facts::default());
    for (id, d) in [("E1", 0), ("E2", 3), ("E3", 9)] {
        w.credit(id, d, ledger::LINE_TRANSFER, 0, "R1", 100);
    }
    // Another amount, another reference, a supplement, an unmarked debit: none undoes anything.
    w.debit("D1", 5, "R1", 99);
    w.debit("D2", 5, "R2", 100);
    w.debit("D3", 5, "R1", 100);
    w.debit("D4", 5, "R1", 100);
    w.debit("D5", 5, "R1", 100);
    for (at, correction) in [
        (0, ledger::Correction::Reversed),
        (1, ledger::Correction::Reversed),
        (2, ledger::Correction::Supplement),
        (4, ledger::Correction::Returned),
    ] {
        w.0.debits[at].correction = Some(correction);
    }
    let m = w.run(10);
    assert_eq!(m.debits[4], DebitOutcome::Undone { credit: 1 });
    assert!(
        m.debits[..4]
            .iter()
            .all(|d| *d == DebitOutcome::Unauthorised)
    );
    assert_eq!(m.credits[1], CreditOutcome::Undone { debit: 4 });
    assert!(!matches!(m.credits[0], CreditOutcome::Undone { .. }));
    assert!(!matches!(m.credits[2], CreditOutcome::Undone { .. }));
}

#[test]
fn a_refund_that_comes_back_is_not_paid() {
    let mut w = World(Facts::default());
    let id = w.0.keep("F1");
    w.0.refunds.push(Approval {
        seq: 1,
        day: day(0),
        contract_no: 1,
        account_no: 0,
        amount: Money::from_fen(100),
        state: 0,
        id,
    });
    w.debit("D1", 1, "F1", 100);
    assert_eq!(w.run(1).debits, [DebitOutcome::Refund { refund: 0 }]);
    w.credit("E1", 3, ledger::LINE_OTHER, 0, "F1", 100);
    w.0.credits[0].correction = Some(ledger::Correction::Returned);
    // Paid again, it is the second payment that the refund authorises.
    w.debit("D2", 5, "F1", 100);
    let m = w.run(5);
    let undone = DebitOutcome::Undone { credit: 0 };
    assert_eq!(m.debits, [undone, DebitOutcome::Refund { refund: 0 }]);
    assert_eq!(m.credits, [CreditOutcome::Undone { debit: 0 }]);
}

/// The built-in default with another pack.
fn ruled(packs: &str) -> Policy {
    let text = include_str!("../../policy/default.toml");
    let (head, tail) = text.split_once("[[rule_packs]]").unwrap();
    let (_, tail) = tail.split_once("[[legal_basis]]").unwrap();
    Policy::parse(&format!("{head}{packs}\n[[legal_basis]]{tail}")).unwrap()
}

/// One pack of one rule.
fn one_rule(rule: &str) -> Policy {
    ruled(&format!(
        "[[rule_packs]]\nname = \"p\"\nfrom = \"2020-01-01\"\nrules = [{rule}]\n"
    ))
}

const CHOICE: &str = r#"{ name = "c", method = "subset", within = { days = 3, unit = "calendar" }, candidates = 4 }"#;

fn pos(w: &mut World, credits: &[(i32, i64)]) {
    for (n, (d, fen)) in credits.iter().enumerate() {
        let id = format!("E{n}");
        w.credit(
            &id,
            *d,
            ledger::LINE_SETTLEMENT,
            Channel::Pos.number(),
            "",
            *fen,
        );
    }
}

#[test]
fn a_fee_paid_in_parts_is_one_match_and_what_follows_repeats_it() {
    let policy = Policy::built_in("default").unwrap();
    let mut w = World(Facts::default());
    w.payment("P1", 0, Channel::Transfer, "R1", 300);
    w.credit("E1", 0, ledger::LINE_TRANSFER, 0, "R1", 100);
    w.credit("E2", 1, ledger::LINE_TRANSFER, 0, "R1", 200);
    w.credit("E3", 2, ledger::LINE_TRANSFER, 0, "R1", 200);
    let m = w.run_by(&policy, 9);
    assert_eq!(settled(&m, 0), Some((vec![0, 1], 0, 0)));
    assert_eq!(m.credits[2], CreditOutcome::Duplicate { of: 0 });
    let kinds: Vec<_> = m
        .lines(&w.0)
        .iter()
        .map(|l| (l.kind, l.payment_seq, l.n))
        .collect();
    assert_eq!(kinds, [(MatchKind::Split, 1, 1); 2]);
    // One credit of the whole amount is the credit; parts that do not add up are a difference.
    w.0.credits[1].amount = Money::from_fen(300);
    assert_eq!(settled(&w.run_by(&policy, 9), 0), Some((vec![0], -200, 0)));
    w.0.credits[1].amount = Money::from_fen(199);
    assert_eq!(settled(&w.run_by(&policy, 9), 0), Some((vec![0], -200, 0)));
}

#[test]
fn parts_must_all_come_inside_the_window() {
    // Monday; the third working day is Thursday.
    for (last, whole) in [(3, true), (4, false)] {
        let mut w = World(Facts::default());
        w.payment("P1", 0, Channel::Transfer, "R1", 300);
        w.credit("E1", 0, ledger::LINE_TRANSFER, 0, "R1", 100);
        w.credit("E2", last, ledger::LINE_TRANSFER, 0, "R1", 200);
        let m = w.run_by(&Policy::built_in("default").unwrap(), 9);
        let credits = settled(&m, 0).unwrap().0;
        assert_eq!(credits.len() == 2, whole, "the last part on day {last}");
    }
}

#[test]
fn what_a_channel_may_keep_is_a_fee_and_no_difference() {
    let policy =
        one_rule(r#"{ name = "r", method = "reference", tolerance = { WECHAT = { bp = 60 } } }"#);
    for (channel, fen, difference, fee) in [
        (Channel::Wechat, 9_940, 0, 60),
        (Channel::Wechat, 9_939, -61, 0),
        (Channel::Wechat, 10_000, 0, 0),
        (Channel::Wechat, 10_001, 1, 0),
        (Channel::Alipay, 9_940, -60, 0),
    ] {
        let mut w = World(Facts::default());
        w.payment("P1", 0, channel, "R1", 10_000);
        w.credit("E1", 0, ledger::LINE_TRANSFER, 0, "R1", fen);
        let m = w.run_by(&policy, 9);
        let group = m.groups[0];
        assert_eq!((group.difference, group.fee), (difference, fee), "{fen}");
        let kept: Vec<i64> = m.fees.iter().map(|(_, fee)| fee.fen()).collect();
        assert_eq!(kept, if fee > 0 { vec![fee] } else { vec![] });
    }
}

#[test]
fn the_only_choice_settles_and_another_one_is_left_to_people() {
    let policy = one_rule(CHOICE);
    let mut w = World(Facts::default());
    for (id, fen) in [("P1", 100), ("P2", 250), ("P3", 30)] {
        w.payment(id, 0, Channel::Pos, "", fen);
    }
    pos(&mut w, &[(1, 130)]);
    let m = w.run_by(&policy, 9);
    assert_eq!(settles(&m, 0), Some(vec![0, 2]));
    assert_eq!(m.reviews, []);
    // A second payment of 30: which of the two it was, nobody can say.
    w.payment("P4", 1, Channel::Pos, "", 30);
    let m = w.run_by(&policy, 9);
    assert_eq!(m.credits[0], CreditOutcome::Unmatched);
    let review = &m.reviews[0];
    assert_eq!((review.credit, review.doubt), (0, Doubt::Ambiguous));
    assert_eq!(review.candidates, [0, 2, 3]);
    // One more, and there are more than the rule may try.
    w.payment("P5", 1, Channel::Pos, "", 7);
    let m = w.run_by(&policy, 9);
    assert_eq!(m.reviews[0].doubt, Doubt::TooMany { candidates: 5 });
    assert_eq!(m.reviewed(&w.0).len(), 5);
}

#[test]
fn a_choice_keeps_to_its_window_channel_and_account() {
    let policy = one_rule(CHOICE);
    for (credited, found) in [(-1, false), (0, true), (3, true), (4, false)] {
        let mut w = World(Facts::default());
        w.payment("P1", 0, Channel::Pos, "", 100);
        w.payment("P2", 0, Channel::Qr, "", 30);
        pos(&mut w, &[(credited, 100)]);
        let m = w.run_by(&policy, 30);
        assert_eq!(
            settled(&m, 0).is_some(),
            found,
            "credited on day {credited}"
        );
        w.0.credits[0].account_no = 2;
        assert_eq!(settled(&w.run_by(&policy, 30), 0), None, "another account");
    }
}

#[test]
fn what_two_credits_want_goes_to_neither() {
    let policy = one_rule(CHOICE);
    let mut w = World(Facts::default());
    w.payment("P1", 0, Channel::Pos, "", 100);
    w.payment("P2", 0, Channel::Pos, "", 40);
    pos(&mut w, &[(1, 100), (2, 100), (2, 40)]);
    let m = w.run_by(&policy, 9);
    assert_eq!(settles(&m, 2), Some(vec![1]), "nobody else wants it");
    assert_eq!(m.credits[..2], [CreditOutcome::Unmatched; 2]);
    let doubts: Vec<_> = m.reviews.iter().map(|r| (r.credit, r.doubt)).collect();
    assert_eq!(doubts, [(0, Doubt::Contested), (1, Doubt::Contested)]);
}

#[test]
fn what_is_settled_may_leave_one_choice() {
    let policy = one_rule(CHOICE);
    let mut w = World(Facts::default());
    // 70 is P1 alone or P2 and P3; the credit of 30 on the last day can only be P2.
    w.payment("P1", 0, Channel::Pos, "", 70);
    w.payment("P3", 0, Channel::Pos, "", 40);
    w.payment("P2", 1, Channel::Pos, "", 30);
    pos(&mut w, &[(1, 70), (4, 30)]);
    let m = w.run_by(&policy, 9);
    assert_eq!(settles(&m, 1), Some(vec![2]));
    assert_eq!(settles(&m, 0), Some(vec![0]));
    assert_eq!(m.reviews, []);
}

#[test]
fn several_credits_settle_several_payments_where_there_is_one_choice() {
    let policy = one_rule(
        r#"{ name = "g", method = "group", within = { days = 3, unit = "calendar" }, candidates = 4, credits = 2 }"#,
    );
    let mut w = World(Facts::default());
    // A terminal that cuts a day in two: 170 and 210 are not sums of whole payments.
    for (id, fen) in [("P1", 200), ("P2", 180)] {
        w.payment(id, 0, Channel::Pos, "", fen);
    }
    pos(&mut w, &[(1, 170), (1, 210)]);
    let m = w.run_by(&policy, 9);
    assert_eq!(settled(&m, 0), Some((vec![0, 1], 0, 0)));
    assert_eq!(settled(&m, 1), Some((vec![0, 1], 0, 0)));
    assert_eq!(m.groups[0].kind, MatchKind::Group);
    assert_eq!(m.items(&w.0).len(), 2);
    let n: Vec<i64> = m.lines(&w.0).iter().map(|l| l.n).collect();
    assert_eq!(n, [2, 2]);
}

#[test]
fn a_batch_that_its_channel_describes_is_not_guessed() {
    let mut w = World(Facts::default());
    w.payment("P1", 0, Channel::Pos, "", 100);
    w.credit(
        "E1",
        1,
        ledger::LINE_SETTLEMENT,
        Channel::Pos.number(),
        "B1",
        100,
    );
    assert_eq!(settles(&w.run(9), 0), Some(vec![0]));
    let epoch = days::number(day(0));
    w.0.settlements.push(crate::feed::store::Settlement {
        inst_id: 1,
        account_no: 1,
        batch_no: "B1".into(),
        channel: Channel::Pos.number(),
        period_from_day: epoch,
        period_to_day: epoch,
        gross_fen: 120,
        fee_fen: 20,
        refund_fen: 0,
        net_fen: 100,
        expected_day: None,
    });
    // The channel says that 120 were paid; what was reported is 100.
    assert_eq!(w.run(9).credits[0], CreditOutcome::Unmatched);
}

#[test]
fn a_pack_judges_what_happens_while_it_holds() {
    let policy = ruled(
        r#"
[[rule_packs]]
name = "old"
from = "2020-01-01"
rules = [{ name = "r", method = "reference" }]
[[rule_packs]]
name = "new"
from = "2025-03-05"
rules = [{ name = "r", method = "reference", tolerance = { WECHAT = { bp = 100 } } }]
[[rule_packs]]
name = "elsewhere"
from = "2020-01-01"
districts = ["E"]
rules = []
"#,
    );
    let mut w = World(Facts::default());
    for (n, d) in [(1, 1), (2, 2)] {
        w.payment(&format!("P{n}"), d, Channel::Wechat, &format!("R{n}"), 100);
        w.credit(
            &format!("E{n}"),
            9,
            ledger::LINE_TRANSFER,
            0,
            &format!("R{n}"),
            99,
        );
    }
    let m = w.run_by(&policy, 20);
    let differences: Vec<i64> = (0..2).map(|i| settled(&m, i).unwrap().1).collect();
    assert_eq!(differences, [-1, 0], "the day of the payment decides");
    let packs: Vec<i64> = m.lines(&w.0).iter().map(|l| l.pack).collect();
    assert_eq!(packs, [0, 1]);
    let elsewhere = policy.packs("E");
    let m = match_lines(&w.0, (&policy, &elsewhere), day(20), |_| {
        AccountKind::Custody
    });
    assert_eq!(m.credits, [CreditOutcome::Unmatched; 2]);
}
