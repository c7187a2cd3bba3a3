//! Random facts of one institution: whatever the portions and the order they come in, debits equal
//! credits, what is owed is the fold of the facts, a replay adds nothing, and matching gives one result.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jintuo::base::{Clock, Money};
use jintuo::policy::Policy;
use jintuo::position::{self, ItemKind};
use jintuo::reconcile::{
    AccountDays, Approval, CreditOutcome, DebitOutcome, Facts, Line, Payment, PaymentOutcome,
    StatedDay, match_lines,
};
use jintuo::registry::AccountKind;
use jintuo::report::{self, Wanted};
use jintuo::store::{Db, OpenOptions};
use jintuo::{check, intake, run};
use proptest::prelude::*;

use crate::bundle::{Bundle, Chance};
use crate::harness::{Dir, day, minute};

const WORKLOAD: &str = "workload";
const FIRST: &str = "2026-01-05";
pub(crate) const LAST: &str = "2026-01-24";
const DAYS: i32 = 20;

/// An order and what happened to it: each fact with its day, counted from the first.
#[derive(Clone, Debug)]
struct Order {
    lessons: i64,
    amount: i64,
    payments: Vec<(i32, i64)>,
    /// Day, lessons, state.
    taken: Vec<(i32, i64, &'static str)>,
    refunds: Vec<(i32, i64)>,
}

fn orders() -> impl Strategy<Value = Vec<Order>> {
    let fact_day = || 0..DAYS;
    let states = prop::sample::select(vec!["claimed", "confirmed", "deemed", "disputed", "void"]);
    let order = (
        1_i64..40,
        1_i64..2_000_000,
        prop::collection::vec((fact_day(), 0_i64..1_500_000), 0..4),
        prop::collection::vec((fact_day(), 0_i64..15, states), 0..6),
        prop::collection::vec((fact_day(), 0_i64..400_000), 0..2),
    );
    let order = order.prop_map(|(lessons, amount, payments, taken, refunds)| Order {
        lessons,
        amount,
        payments,
        taken,
        refunds,
    });
    prop::collection::vec(order, 1..5)
}

impl Order {
    /// What custody must hold of it: the cumulative floor, never below zero.
    fn required(&self) -> i64 {
        let counted = |s: &str| matches!(s, "confirmed" | "deemed");
        let taken: i64 = (self.taken.iter())
            .filter(|t| counted(t.2))
            .map(|t| t.1)
            .sum();
        let earned = self.amount * taken.min(self.lessons) / self.lessons;
        let paid: i64 = self.payments.iter().map(|p| p.1).sum();
        let refunded: i64 = self.refunds.iter().map(|r| r.1).sum();
        (paid - earned - refunded).max(0)
    }
}

fn date(offset: i32) -> String {
    day(FIRST).plus(offset).to_string()
}

fn bundle(orders: &[Order]) -> Bundle {
    let mut rows: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (o, order) in orders.iter().enumerate() {
        let mut add = |stem, row| rows.entry(stem).or_default().push(row);
        let (first, lessons, amount) = (date(0), order.lessons, order.amount);
        add(
            "orders",
            format!("O{o},I1,S{o},{first},{lessons},1,{amount}"),
        );
        for (n, (d, fen)) in order.payments.iter().enumerate() {
            let (d, id) = (date(*d), format!("{o}-{n}"));
            add(
                "payments",
                format!("P{id},O{o},I1,A1,{d},TRANSFER,R{id},{fen}"),
            );
        }
        for (n, (d, count, state)) in order.taken.iter().enumerate() {
            add(
                "lessons",
                format!("L{o}-{n},O{o},{},{count},77,{state}", date(*d)),
            );
        }
        for (n, (d, fen)) in order.refunds.iter().enumerate() {
            add("refunds", format!("F{o}-{n},O{o},{},{fen}", date(*d)));
        }
    }
    let mut bundle = Bundle::of(&[
        ("districts", "district_id,name\nD1,示例区\n"),
        (
            "institutions",
            "institution_id,district_id,name\nI1,D1,示例机构\n",
        ),
        (
            "accounts",
            "account_id,institution_id,kind,min_deposit_fen\nA1,I1,CUSTODY,0\n",
        ),
        (
            "orders",
            "order_id,institution_id,student_id,ordered_on,lessons,unit_price_fen,amount_fen\n",
        ),
        (
            "payments",
            "payment_id,order_id,institution_id,account_id,paid_on,channel,reference,amount_fen\n",
        ),
        (
            "lessons",
            "consumption_id,order_id,consumed_on,lessons,amount_fen,state\n",
        ),
        ("refunds", "refund_id,order_id,refunded_on,amount_fen\n"),
    ]);
    for (stem, rows) in rows {
        bundle.0.get_mut(stem).expect("a file").1 = rows;
    }
    bundle
}

/// Deals a bundle's rows out over several bundles.
fn dealt(whole: &Bundle, parts: usize, chance: &mut Chance) -> Vec<Bundle> {
    let mut dealt = vec![Bundle::default(); parts];
    for (stem, (header, rows)) in &whole.0 {
        let mut rows = rows.clone();
        chance.shuffle(&mut rows);
        for row in rows {
            let part = &mut dealt[chance.below(parts)].0;
            let file = part
                .entry(stem.clone())
                .or_insert_with(|| (header.clone(), Vec::new()));
            file.1.push(row);
        }
    }
    dealt.retain(|b| !b.0.is_empty());
    dealt
}

async fn imported(db: &Db, path: PathBuf, batch_rows: usize) -> intake::Summary {
    let options = intake::Options {
        batch_rows,
        ..intake::Options::default()
    };
    intake::import(db, &[path], &options, &mut intake::Silent)
        .await
        .expect("the import works")
}

/// Debits and credits of every balance, the number of postings, and what is required.
async fn figures(db: &Db) -> (i64, i64, i64, i64) {
    let options = run::Options {
        threads: None,
        as_of: day(LAST),
        known_at: None,
        policy: WORKLOAD.to_owned(),
        district: None,
    };
    run::day(db, &options, &mut run::Silent)
        .await
        .expect("the run works");
    let mut tx = db.begin_read().await.expect("a transaction");
    let run = report::find_run(&mut tx, &Wanted::default())
        .await
        .expect("runs can be read")
        .expect("a run");
    let position = report::store::positions(&mut tx, &run, None)
        .await
        .expect("positions can be read");
    let (debit, credit, postings): (i64, i64, i64) = jintuo::on!(tx, c => sqlx::query_as(
            "SELECT CAST(COALESCE(SUM(debit_fen), 0) AS BIGINT), \
                    CAST(COALESCE(SUM(credit_fen), 0) AS BIGINT), \
                    (SELECT CAST(COUNT(*) AS BIGINT) FROM posting) FROM ledger_balance")
            .fetch_one(c).await)
    .expect("balances can be read");
    tx.rollback().await.expect("a rollback");
    (debit, credit, postings, position[0].required.fen())
}

async fn any_portions_and_order(orders: Vec<Order>, parts: usize, seed: u64, batch_rows: usize) {
    let clock = Clock::fixed(minute(1), chrono_tz::Asia::Shanghai);
    let db = Db::open("sqlite::memory:", clock, &OpenOptions::default())
        .await
        .expect("a database");
    let dir = Dir::new();
    let whole = bundle(&orders);
    let portions = dealt(&whole, parts, &mut Chance(seed));
    for (n, portion) in portions.iter().enumerate() {
        imported(&db, portion.write(&dir, &n.to_string()), batch_rows).await;
    }
    let after = figures(&db).await;
    assert_eq!(after.0, after.1, "debits equal credits");
    let required: i64 = orders.iter().map(Order::required).sum();
    assert_eq!(after.3, required, "{orders:?}");
    assert_eq!(check::check(&db).await.expect("the check works"), []);
    // All of it again, in one piece: nothing is new.
    let again = imported(&db, whole.write(&dir, "whole"), batch_rows).await;
    for file in &again.files {
        assert_eq!(
            (file.new, file.revised, file.waiting, file.quarantined),
            (0, 0, 0, 0),
            "{file:?}"
        );
    }
    assert_eq!(figures(&db).await, after);
    assert_eq!(check::check(&db).await.expect("the check works"), []);
    db.close().await;
}

/// A movement of an institution with two accounts, few references and few amounts, so that they meet.
#[derive(Clone, Debug)]
pub(crate) struct Move {
    kind: u8,
    day: i32,
    account: i64,
    amount: i64,
    channel: i64,
    reference: u8,
    settlement: bool,
}

pub(crate) fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = (
        0..5_u8,
        0..DAYS,
        1..3_i64,
        1..6_i64,
        0..6_i64,
        0..8_u8,
        any::<bool>(),
    );
    let one = one.prop_map(
        |(kind, day, account, amount, channel, reference, settlement)| Move {
            kind,
            day,
            account,
            amount: amount * 100,
            channel,
            reference,
            settlement,
        },
    );
    prop::collection::vec(one, 0..60)
}

/// Facts in the order given; a movement's number, and so its id, stays with it.
pub(crate) fn facts(moves: &[(usize, Move)]) -> Facts {
    let mut facts = Facts::default();
    for (n, m) in moves {
        let seq = i64::try_from(*n).expect("a small number") + 1;
        let named = if m.reference == 0 {
            String::new()
        } else {
            format!("R{}", m.reference)
        };
        // An approval's own id is what a debit names.
        let approval = format!("R{}-{n}", m.reference);
        let (id, reference) = (facts.keep(&format!("M{n:03}")), facts.keep(&named));
        let day = day(FIRST).plus(m.day);
        let amount = Money::from_fen(m.amount);
        let line = Line {
            correction: None,
            seq,
            day,
            account_no: m.account,
            amount,
            channel: m.channel,
            code: if m.settlement { 2 } else { 1 },
            id,
            reference,
        };
        let approved = Approval {
            seq,
            day,
            contract_no: 1,
            account_no: m.account,
            amount,
            state: 0,
            id: facts.keep(if m.settlement { &named } else { &approval }),
        };
        match m.kind {
            0 => facts.payments.push(Payment {
                seq,
                day,
                contract_no: 1,
                account_no: m.account,
                amount,
                channel: m.channel.max(1),
                id,
                reference,
            }),
            1 => facts.credits.push(line),
            2 => facts.debits.push(line),
            3 => facts.releases.push(approved),
            _ => facts.refunds.push(approved),
        }
    }
    facts
}

/// An approval's id is sent once; a later one of the same id would be a revision.
pub(crate) fn sent_once(moves: Vec<Move>) -> Vec<Move> {
    let mut seen = BTreeSet::new();
    let mut kept = moves;
    kept.retain(|m| m.kind < 3 || !m.settlement || seen.insert((m.kind, m.reference)));
    kept
}

/// What became of each movement, by its number; partners by theirs.
fn outcomes(moves: &[(usize, Move)]) -> BTreeMap<i64, String> {
    let facts = facts(moves);
    let policy = Policy::built_in(WORKLOAD).expect("the policy");
    let kind = |account: i64| match account {
        1 => AccountKind::Custody,
        _ => AccountKind::Deposit,
    };
    let packs = policy.packs("D");
    let m = match_lines(&facts, (&policy, &packs), day(LAST), kind);
    let mut told = BTreeMap::new();
    for (p, outcome) in facts.payments.iter().zip(&m.payments) {
        let with = match outcome {
            PaymentOutcome::Duplicate { of } => facts.payments[*of].seq,
            PaymentOutcome::Settled { group, .. } => {
                m.credits_of(*group).map(|i| facts.credits[i].seq).sum()
            }
            _ => 0,
        };
        told.insert(p.seq, format!("{} {with}", word(outcome)));
    }
    for (l, outcome) in facts.credits.iter().zip(&m.credits) {
        let with = match outcome {
            CreditOutcome::Settles { group } => {
                m.payments_of(*group).map(|i| facts.payments[i].seq).sum()
            }
            CreditOutcome::Duplicate { of } => facts.credits[*of].seq,
            _ => 0,
        };
        told.insert(l.seq, format!("{} {with}", word(outcome)));
    }
    for (l, outcome) in facts.debits.iter().zip(&m.debits) {
        let with = match outcome {
            DebitOutcome::Release { release } => facts.releases[*release].seq,
            DebitOutcome::Refund { refund } => facts.refunds[*refund].seq,
            _ => 0,
        };
        told.insert(l.seq, format!("{} {with}", word(outcome)));
    }
    told
}

/// The name of a variant, with nothing of its places in a list.
fn word(outcome: &impl std::fmt::Debug) -> String {
    let text = format!("{outcome:?}");
    text.split([' ', '{']).next().unwrap_or_default().to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn books_do_not_depend_on_portions_or_order(
        orders in orders(),
        parts in 1_usize..6,
        seed in any::<u64>(),
        batch_rows in prop::sample::select(vec![1, 3, 1_000_000]),
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(any_portions_and_order(orders, parts, seed, batch_rows));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn matching_does_not_depend_on_order(moves in moves(), seed in any::<u64>()) {
        let mut given: Vec<(usize, Move)> = sent_once(moves).into_iter().enumerate().collect();
        let expected = outcomes(&given);
        Chance(seed).shuffle(&mut given);
        prop_assert_eq!(outcomes(&given), expected);
    }
}

/// States days of account 1 by its lines: without those of `missing`, each opening off by `off` fen.
fn state(facts: &mut Facts, brought: i64, missing: &BTreeSet<i32>, off: &BTreeMap<i32, i64>) {
    let fen = |l: &Line| l.amount.fen();
    let mut balance = brought;
    for n in 0..DAYS {
        let on = day(FIRST).plus(n);
        let of = |lines: &[Line]| -> i64 {
            let own = lines.iter().filter(|l| l.account_no == 1 && l.day == on);
            own.map(fen).sum()
        };
        let moved = of(&facts.credits) - of(&facts.debits);
        balance += off.get(&n).copied().unwrap_or(0);
        if !missing.contains(&n) {
            facts.days.push(StatedDay {
                account_no: 1,
                day: on,
                version: 1,
                opening: balance,
                closing: balance + moved,
            });
        }
        balance += moved;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever moves, in whatever order, with days that are missing or do not go on: what the bank states and
    /// what the books say differ by listed items and by nothing else, on every day that a statement proves.
    #[test]
    fn bank_and_books_agree_to_the_fen(
        moves in moves(),
        brought in 0_i64..1_000_000,
        missing in prop::collection::btree_set(0..DAYS, 0..4),
        off in prop::collection::btree_map(0..DAYS, -500_i64..500, 0..3),
        upto in 0..DAYS,
        policy in prop::sample::select(vec![WORKLOAD, "default"]),
    ) {
        let moves = sent_once(moves);
        let numbered: Vec<(usize, Move)> = moves.into_iter().enumerate().collect();
        let mut facts = facts(&numbered);
        state(&mut facts, brought, &missing, &off);
        let policy = Policy::built_in(policy).expect("the policy");
        let packs = policy.packs("D");
        let kind = |account: i64| match account {
            1 => AccountKind::Custody,
            _ => AccountKind::Deposit,
        };
        let matching = match_lines(&facts, (&policy, &packs), day(LAST), kind);
        let proved = facts.days.iter().rfind(|d| d.day <= day(FIRST).plus(upto));
        let latest = proved.map(|d| (d.day, d.closing));
        let account = position::Account {
            account_no: 1,
            account_id: "A1".into(),
            kind: AccountKind::Custody,
            filed: true,
            agreement_covers: true,
            in_use: true,
            min_deposit: Money::ZERO,
            closing: Money::from_fen(latest.map_or(0, |(_, closing)| closing)),
            frozen: Money::ZERO,
            days: AccountDays { latest, ..AccountDays::default() },
        };
        let proofs = position::prove_accounts(&[account], &facts, &matching, &policy);
        prop_assert_eq!(proofs.len(), usize::from(latest.is_some()));
        for proof in proofs {
            prop_assert_eq!(proof.unexplained(), Money::ZERO, "{:?}", proof);
            // A gap is what the days say it is.
            let gaps: i64 = off.iter()
                .filter(|(n, _)| day(FIRST).plus(**n) <= proof.day)
                .map(|(_, fen)| fen)
                .sum();
            let first = facts.days.first().map(|d| d.day.since(day(FIRST))).unwrap_or(0);
            let before: i64 = off.range(..=first).map(|(_, fen)| fen).sum();
            prop_assert_eq!(proof.sum(|k| k == ItemKind::Gap).fen(), gaps - before);
        }
    }
}
