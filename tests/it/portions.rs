//! A run says the same however many portions of institutions it prepares at a time.

use std::fmt::Write as _;

use jintuo::report::Wanted;
use jintuo::run;

use crate::bundle::Bundle;
use crate::harness::{Store, day, on_both};

on_both!(a_run_does_not_depend_on_its_threads);

const DAY: &str = "2025-03-12";
/// Three portions.
const INSTITUTIONS: usize = 600;

/// Institutions of which every third has less than it should, every seventh a fee the bank does not know and
/// every eleventh no statement.
fn city() -> Bundle {
    let mut institutions = "institution_id,district_id,name\n".to_owned();
    let mut accounts = "account_id,institution_id,kind,min_deposit_fen\n".to_owned();
    let mut orders =
        "order_id,institution_id,student_id,ordered_on,lessons,unit_price_fen,amount_fen\n"
            .to_owned();
    let mut payments =
        "payment_id,order_id,institution_id,account_id,paid_on,channel,reference,amount_fen\n"
            .to_owned();
    let mut statements = "account_id,date,opening_fen,closing_fen\n".to_owned();
    let mut entries =
        "entry_id,account_id,booked_on,code,direction,amount_fen,reference,memo\n".to_owned();
    for n in 1..=INSTITUTIONS {
        let district = n % 3;
        let paid = 10_000 + n;
        let _ = writeln!(institutions, "I{n},D{district},机构{n}");
        let _ = writeln!(accounts, "A{n},I{n},CUSTODY,0");
        let _ = writeln!(orders, "O{n},I{n},S{n},2025-03-03,10,{paid},{}", 10 * paid);
        let _ = writeln!(
            payments,
            "P{n},O{n},I{n},A{n},2025-03-03,TRANSFER,R{n},{}",
            10 * paid
        );
        let held = if n % 7 == 0 { 0 } else { 10 * paid };
        if held > 0 {
            let _ = writeln!(entries, "E{n},A{n},2025-03-03,TRF,C,{held},R{n},");
        }
        let taken = if n % 3 == 0 { held / 2 } else { 0 };
        if taken > 0 {
            let _ = writeln!(entries, "D{n},A{n},2025-03-04,DBT,D,{taken},,");
        }
        let mut balance = 0;
        for on in 1..=12 {
            let opening = balance;
            match on {
                3 => balance += held,
                4 => balance -= taken,
                _ => {}
            }
            if n % 11 != 0 || on < 10 {
                let _ = writeln!(statements, "A{n},2025-03-{on:02},{opening},{balance}");
            }
        }
    }
    Bundle::of(&[
        ("districts", "district_id,name\nD0,甲区\nD1,乙区\nD2,丙区\n"),
        ("institutions", &institutions),
        ("accounts", &accounts),
        ("orders", &orders),
        ("payments", &payments),
        ("bank_statements", &statements),
        ("bank_entries", &entries),
    ])
}

async fn a_run_does_not_depend_on_its_threads(store: Store) {
    let bundle = city().write(&store.dir, "city");
    let mut said = Vec::new();
    for threads in [1, 2, 8] {
        let other = store.another().await;
        let taken = other.import(0, &[&bundle]).await;
        assert_eq!(taken.quarantined, []);
        let db = other.open(1).await;
        let options = run::Options {
            threads: Some(threads),
            as_of: day(DAY),
            known_at: None,
            policy: "workload".to_owned(),
            district: None,
        };
        let summary = run::day(&db, &options, &mut run::Silent)
            .await
            .expect("the run works");
        db.close().await;
        assert_eq!(summary.institutions, INSTITUTIONS);
        assert!(summary.findings > 100, "{summary:?}");
        said.push(other.books(&Wanted::default()).await);
        assert_eq!(other.check().await, []);
        other.remove().await;
    }
    assert_eq!(said[0], said[1]);
    assert_eq!(said[0], said[2]);
}
