//! Finds every fact (late, altered, doubled, stray, unauthorised) in the rows and the banks' lines
//! alone, and compares with the planted ones, both ways and with the amounts.

use std::collections::{BTreeMap, BTreeSet};

use super::plan;
use crate::base::FlagCode;
use crate::demo::books::{Entry, Label};
use crate::demo::trouble::Standing;
use crate::demo::{World, build};

type Fact = (FlagCode, String, i64);

/// A payment as the matcher needs it.
struct Fee {
    id: String,
    amount: i64,
    window_end: usize,
}

/// What the institutions reported, by the reference the bank should show.
#[derive(Default)]
struct Expected {
    fees: BTreeMap<String, Fee>,
    batches: BTreeMap<String, i64>,
    money_out: BTreeMap<String, i64>,
    credited: BTreeSet<String>,
}

fn expected(world: &World, found: &mut BTreeSet<Fact>) -> Expected {
    let mut expected = Expected::default();
    for day in &world.days {
        for row in &day.payments {
            let (id, amount) = (row.payment_id.clone(), row.amount_fen);
            if expected.fees.contains_key(&row.reference) {
                found.insert((FlagCode::DuplicateReport, id, amount));
            } else {
                let window_end = world.calendar.window_end(row.paid_on);
                let fee = Fee {
                    id,
                    amount,
                    window_end,
                };
                expected.fees.insert(row.reference.clone(), fee);
            }
        }
        let batches = day.settlements.iter();
        expected
            .batches
            .extend(batches.map(|s| (s.batch_no.clone(), s.net_fen)));
        let refunds = day
            .refunds
            .iter()
            .map(|r| (r.refund_id.clone(), r.amount_fen));
        let releases = day
            .releases
            .iter()
            .map(|r| (r.release_id.clone(), r.amount_fen));
        expected.money_out.extend(refunds.chain(releases));
    }
    expected
}

/// What a line of business day `i` gives away, if anything.
fn judge(expected: &mut Expected, i: usize, entry: &Entry) -> Option<Fact> {
    let (id, amount, reference) = (entry.id.clone(), entry.amount, &entry.reference);
    if entry.label == Label::Debit {
        let authorised = expected.money_out.remove(reference) == Some(-amount);
        return (!authorised).then_some((FlagCode::UnauthorisedDebit, id, -amount));
    }
    if entry.label == Label::Settlement {
        assert_eq!(expected.batches.remove(reference), Some(amount), "{id}");
        return None;
    }
    let Some(fee) = expected.fees.get(reference) else {
        return Some((FlagCode::UnmatchedCredit, id, amount));
    };
    if !expected.credited.insert(reference.clone()) {
        Some((FlagCode::DuplicateCredit, id, amount))
    } else if fee.amount != amount {
        Some((
            FlagCode::AmountMismatch,
            fee.id.clone(),
            amount - fee.amount,
        ))
    } else if i > fee.window_end {
        Some((FlagCode::LateCredit, fee.id.clone(), amount))
    } else {
        None
    }
}

fn facts(world: &World) -> BTreeSet<Fact> {
    let mut found = BTreeSet::new();
    let mut expected = expected(world, &mut found);
    for book in world.accounts.iter().map(|a| &a.book) {
        for (i, day) in book.days.iter().enumerate() {
            found.extend(
                day.iter()
                    .filter_map(|entry| judge(&mut expected, i, entry)),
            );
        }
    }
    assert!(
        expected.money_out.is_empty(),
        "every refund and release is executed"
    );
    assert!(expected.batches.is_empty(), "every settlement is credited");
    found
}

#[test]
fn the_rows_alone_lead_to_the_planted_facts() {
    let of_fact = [
        FlagCode::AmountMismatch,
        FlagCode::LateCredit,
        FlagCode::DuplicateReport,
        FlagCode::DuplicateCredit,
        FlagCode::UnmatchedCredit,
        FlagCode::UnauthorisedDebit,
    ];
    for seed in 1..=5 {
        let world = build(&plan(seed)).unwrap();
        let planted = world.planted.iter().filter(|p| of_fact.contains(&p.code));
        let planted: BTreeSet<_> = planted
            .map(|p| (p.code, p.subject.clone(), p.amount.fen()))
            .collect();
        assert_eq!(facts(&world), planted, "seed {seed}");
    }
}

#[test]
fn deposits_are_ample_but_for_the_planted_one() {
    for seed in 1..=5 {
        let world = build(&plan(seed)).unwrap();
        let last = world.calendar.len() - 1;
        for (index, institution) in world.institutions.iter().enumerate() {
            let Some(account) = institution.deposit_account() else {
                continue;
            };
            let orders = world.days.iter().flat_map(|d| &d.orders);
            let own = orders.filter(|o| o.institution_id == institution.id);
            let contracted: i64 = own.map(|o| o.amount_fen).sum();
            let mut books = world.accounts.iter().filter(|a| a.institution == index);
            let book = books.find(|a| a.book.account_id == account).unwrap();
            let needed = contracted.max(institution.min_deposit());
            let shortage = needed - book.book.closing(last);
            let low = institution.standing == Some(Standing::LowDeposit);
            assert_eq!(shortage > 0, low, "seed {seed}: {account}");
            assert!(
                !low || needed == institution.min_deposit(),
                "the minimum binds"
            );
        }
    }
}
