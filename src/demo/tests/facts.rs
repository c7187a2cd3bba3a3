//! Finds every fact (late, altered, doubled, stray, unauthorised) in the rows and the banks' lines
//! alone, and compares with the planted ones, both ways and with the amounts.

use std::collections::{BTreeMap, BTreeSet};

use super::plan;
use crate::base::FlagCode;
use crate::demo::books::Label;
use crate::demo::trouble::Standing;
use crate::demo::{World, build};

type Fact = (FlagCode, String, i64);

/// A payment as the matcher needs it.
struct Fee {
    id: String,
    amount: i64,
    window_end: usize,
}

fn facts(world: &World) -> BTreeSet<Fact> {
    let mut found = BTreeSet::new();
    let mut fees: BTreeMap<String, Fee> = BTreeMap::new();
    let mut orders_of_money_out: BTreeMap<String, i64> = BTreeMap::new();
    let mut batches: BTreeMap<String, i64> = BTreeMap::new();
    for day in &world.days {
        for row in &day.payments {
            let window_end = world.calendar.window_end(row.paid_on);
            let fee = Fee {
                id: row.payment_id.clone(),
                amount: row.amount_fen,
                window_end,
            };
            if fees.contains_key(&row.reference) {
                found.insert((FlagCode::DuplicateReport, fee.id, fee.amount));
            } else {
                fees.insert(row.reference.clone(), fee);
            }
        }
        batches.extend(
            day.settlements
                .iter()
                .map(|s| (s.batch_no.clone(), s.net_fen)),
        );
        let refunds = day
            .refunds
            .iter()
            .map(|r| (r.refund_id.clone(), r.amount_fen));
        let releases = day
            .releases
            .iter()
            .map(|r| (r.release_id.clone(), r.amount_fen));
        orders_of_money_out.extend(refunds.chain(releases));
    }
    let mut credited = BTreeSet::new();
    for book in world.accounts.iter().map(|a| &a.book) {
        for (i, entry) in book
            .days
            .iter()
            .enumerate()
            .flat_map(|(i, d)| d.iter().map(move |e| (i, e)))
        {
            let (id, amount) = (entry.id.clone(), entry.amount);
            match (entry.label, fees.get(&entry.reference)) {
                (Label::Debit, _) => {
                    if orders_of_money_out.remove(&entry.reference) != Some(-amount) {
                        found.insert((FlagCode::UnauthorisedDebit, id, -amount));
                    }
                }
                (Label::Settlement, _) => {
                    assert_eq!(batches.remove(&entry.reference), Some(amount), "{id}");
                }
                (Label::Transfer, None) => {
                    found.insert((FlagCode::UnmatchedCredit, id, amount));
                }
                (Label::Transfer, Some(_)) if !credited.insert(entry.reference.clone()) => {
                    found.insert((FlagCode::DuplicateCredit, id, amount));
                }
                (Label::Transfer, Some(fee)) if fee.amount != amount => {
                    let difference = amount - fee.amount;
                    found.insert((FlagCode::AmountMismatch, fee.id.clone(), difference));
                }
                (Label::Transfer, Some(fee)) if i > fee.window_end => {
                    found.insert((FlagCode::LateCredit, fee.id.clone(), amount));
                }
                (Label::Transfer, Some(_)) => {}
            }
        }
    }
    assert!(
        orders_of_money_out.is_empty(),
        "every refund and release is executed"
    );
    assert!(batches.is_empty(), "every settlement is credited");
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
