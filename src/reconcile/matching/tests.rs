use super::super::facts::Approval;
use super::*;
use crate::store::days;

fn day(n: i32) -> Day {
    "2025-03-03".parse::<Day>().unwrap().plus(n)
}

fn workload() -> Policy {
    Policy::parse(include_str!("../../policy/workload.toml")).unwrap()
}

struct World(Facts);

impl World {
    fn payment(&mut self, id: &str, d: i32, channel: Channel, reference: &str, fen: i64) {
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

    fn credit(&mut self, id: &str, d: i32, code: u8, channel: i64, reference: &str, fen: i64) {
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

    fn debit(&mut self, id: &str, d: i32, reference: &str, fen: i64) {
        self.credit(id, d, ledger::LINE_OTHER, 0, reference, fen);
        let line = self.0.credits.pop().unwrap();
        let seq = i64::try_from(self.0.debits.len()).unwrap() + 2_000;
        self.0.debits.push(Line { seq, ..line });
    }

    fn run(&self, as_of: i32) -> Matching {
        match_lines(&self.0, &workload(), day(as_of), |_| AccountKind::Custody)
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
    assert_eq!(
        m.payments[1],
        PaymentOutcome::Matched {
            credit: 1,
            difference: 0,
            late_days: 0
        }
    );
    assert_eq!(
        m.credits,
        [
            CreditOutcome::Duplicate { of: 1 },
            CreditOutcome::Matched { payment: 1 }
        ]
    );
}

#[test]
fn the_window_is_tested_on_both_sides() {
    for (credited, late) in [(3, 0), (4, 1)] {
        let mut w = World(Facts::default());
        w.payment("P1", 0, Channel::Wechat, "R1", 100);
        w.credit("E1", credited, ledger::LINE_TRANSFER, 0, "R1", 90);
        assert_eq!(
            w.run(9).payments[0],
            PaymentOutcome::Matched {
                credit: 0,
                difference: -10,
                late_days: late
            }
        );
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
        let batched = matches!(m.payments[0], PaymentOutcome::Batched { credit: 0, .. });
        assert_eq!(batched, found, "credited on day {credited}");
        assert_eq!(m.credits[0] == CreditOutcome::Batch { payments: 2 }, found);
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
    assert_eq!(
        m.payments[1],
        PaymentOutcome::Batched {
            credit: 1,
            late_days: 0
        }
    );
    assert_eq!(
        m.payments[0],
        PaymentOutcome::Batched {
            credit: 0,
            late_days: 0
        }
    );
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
    assert_eq!(m.credits[0], CreditOutcome::Batch { payments: 2 });
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
    assert!(matches!(
        m.payments[0],
        PaymentOutcome::Matched { credit: 1, .. }
    ));
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
