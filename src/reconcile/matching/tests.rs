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
            id,
            reference,
        });
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
