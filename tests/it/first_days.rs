//! A state's first day and deadline are functions of the facts: the day it has been listed from without a
//! break, whichever days were reconciled before.

use std::collections::{BTreeMap, BTreeSet};

use jintuo::base::{Day, FlagCode};
use jintuo::policy::{CHINA, Policy};
use jintuo::report::Wanted;

use crate::books::{AS_OF, seed};
use crate::bundle::Bundle;
use crate::harness::{Books, Store, day, on_both};

/// States that are found day by day; NO_CUSTODY runs from the first fee, which may be before.
const STATES: [FlagCode; 6] = [
    FlagCode::UncoveredFunds,
    FlagCode::UnfiledAccount,
    FlagCode::NegativeContract,
    FlagCode::ContractShort,
    FlagCode::PrematureRelease,
    FlagCode::DepositBelowMin,
];
const FIRST: &str = "2025-02-20";

on_both!(
    a_contracts_state_is_dated_by_its_first_day,
    a_state_is_dated_by_its_first_day,
    one_go_gives_the_list_of_a_history,
);

fn wanted(on: Day, policy: &'static str) -> Wanted<'static> {
    Wanted {
        as_of: Some(on),
        policy: Some(policy),
        ..Wanted::default()
    }
}

async fn books_of(store: &Store, at: i64, on: Day, policy: &'static str) -> Books {
    store.reconcile(at, &on.to_string(), policy).await;
    store.books(&wanted(on, policy)).await
}

async fn a_state_is_dated_by_its_first_day(store: Store) {
    for n in [1, 43] {
        let store = store.another().await;
        store.import(1, &[&seed(n)]).await;
        let tested = day_by_day(&store, FIRST, AS_OF).await;
        assert!(tested.contains(&FlagCode::UncoveredFunds), "{tested:?}");
        assert!(tested.contains(&FlagCode::DepositBelowMin), "{tested:?}");
        store.remove().await;
    }
}

async fn a_contracts_state_is_dated_by_its_first_day(store: Store) {
    store
        .import(1, &[&contracts().write(&store.dir, "bundle")])
        .await;
    let tested = day_by_day(&store, "2026-01-05", "2026-01-16").await;
    for code in [
        FlagCode::NegativeContract,
        FlagCode::ContractShort,
        FlagCode::PrematureRelease,
    ] {
        assert!(
            tested.contains(&code),
            "{code} was never listed: {tested:?}"
        );
    }
}

/// Runs every day under both policies and expects each state to be due from the day it has been listed
/// from without a break. Returns the states that were listed.
async fn day_by_day(store: &Store, first: &str, last: &str) -> BTreeSet<FlagCode> {
    let mut tested = BTreeSet::new();
    for policy in ["default", "workload"] {
        let rules = Policy::built_in(policy).expect("a built-in policy");
        let mut listed: BTreeMap<(FlagCode, String), Day> = BTreeMap::new();
        for (at, on) in (2..).zip(day(first).through(day(last))) {
            let breaks = books_of(store, at, on, policy).await.breaks;
            let mut today = BTreeMap::new();
            for code in STATES {
                for row in breaks.0.iter().filter(|r| r["code"] == code.as_str()) {
                    let key = (code, row["subject"].clone());
                    let since = listed.get(&key).copied().unwrap_or(on);
                    let cure = rules.flag(code).and_then(|rule| rule.cure_days);
                    let due = cure.map(|days| CHINA.add_working_days(since, days).day);
                    let due = due.map(|d| d.to_string()).unwrap_or_default();
                    assert_eq!(
                        row["due_on"], due,
                        "{key:?} on {on} since {since}, {policy}"
                    );
                    today.insert(key, since);
                    tested.insert(code);
                }
            }
            listed = today;
        }
    }
    tested
}

/// Releases told per contract: of O1 before its lessons, which catch up; of O2 beyond what the account
/// ever received for it; of O3, which is earned day by day, before its time, and its fee never arrives. Other
/// money covers the account.
fn contracts() -> Bundle {
    let mut statements = "account_id,date,opening_fen,closing_fen\n".to_owned();
    let mut balance = 900_000;
    for (n, on) in (0..).zip(day("2026-01-05").through(day("2026-01-16"))) {
        let moved = match n {
            0 => 100_000,
            3 => -50_000,
            4 => -20_000,
            _ => 0,
        };
        statements += &format!("A1,{on},{balance},{}\n", balance + moved);
        balance += moved;
    }
    Bundle::of(&[
        ("districts", "district_id,name\nD1,示例区\n"),
        (
            "institutions",
            "institution_id,district_id,name\nI1,D1,示例机构\n",
        ),
        (
            "accounts",
            "account_id,institution_id,kind,min_deposit_fen,filed_on\nA1,I1,CUSTODY,0,2026-01-01\n",
        ),
        (
            "orders",
            "order_id,institution_id,student_id,ordered_on,lessons,unit_price_fen,amount_fen,kind,\
             starts_on,ends_on\n\
             O1,I1,S1,2026-01-05,10,10000,100000,,,\n\
             O2,I1,S2,2026-01-05,20,5000,100000,,,\n\
             O3,I1,S3,2026-01-05,0,0,10000,unlimited,2026-01-05,2026-01-14\n",
        ),
        (
            "payments",
            "payment_id,order_id,institution_id,account_id,paid_on,channel,reference,amount_fen\n\
             P1,O1,I1,A1,2026-01-05,TRANSFER,R1,100000\n\
             P2,O2,I1,A1,2026-01-05,TRANSFER,R2,100000\n\
             P3,O3,I1,A1,2026-01-05,TRANSFER,R3,10000\n",
        ),
        (
            "lessons",
            "consumption_id,order_id,consumed_on,lessons,amount_fen,state,confirmed_on\n\
             L1,O1,2026-01-10,5,50000,confirmed,2026-01-12\n\
             L2,O2,2026-01-14,4,20000,confirmed,\n",
        ),
        (
            "releases",
            "release_id,account_id,approved_on,amount_fen,order_id\n\
             X1,A1,2026-01-08,50000,O1\n\
             X2,A1,2026-01-09,20000,O2\n\
             X3,A1,2026-01-07,5000,O3\n",
        ),
        ("bank_statements", &statements),
        (
            "bank_entries",
            "entry_id,account_id,booked_on,code,direction,amount_fen,reference,memo\n\
             E1,A1,2026-01-05,TRF,C,100000,R1,TRANSFER\n\
             E2,A1,2026-01-08,DBT,D,50000,X1,\n\
             E3,A1,2026-01-09,DBT,D,20000,X2,\n",
        ),
    ])
}

async fn one_go_gives_the_list_of_a_history(store: Store) {
    store.import(1, &[&seed(43)]).await;
    let one_go = store.another().await;
    one_go.import(1, &[&seed(43)]).await;
    for policy in ["default", "workload"] {
        for (at, on) in (2..).zip(day(FIRST).through(day(AS_OF))) {
            store.reconcile(at, &on.to_string(), policy).await;
        }
        let last = day(AS_OF);
        let history = store.books(&wanted(last, policy)).await;
        let once = books_of(&one_go, 2, last, policy).await;
        assert_eq!(history.essence(), once.essence(), "under {policy}");
    }
    one_go.remove().await;
}
