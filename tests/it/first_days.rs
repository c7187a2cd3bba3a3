//! A state's first day and deadline are functions of the facts: the day it has been listed from without a
//! break, whichever days were reconciled before.

use std::collections::BTreeMap;

use jintuo::base::{Day, FlagCode};
use jintuo::policy::{CHINA, Policy};
use jintuo::report::Wanted;

use crate::books::{AS_OF, seed};
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
    let mut tested: BTreeMap<&str, u32> = BTreeMap::new();
    for n in [1, 43] {
        let store = store.another().await;
        store.import(1, &[&seed(n)]).await;
        for policy in ["default", "workload"] {
            let rules = Policy::built_in(policy).expect("a built-in policy");
            let mut listed: BTreeMap<(&str, String), Day> = BTreeMap::new();
            for (at, on) in (2..).zip(day(FIRST).through(day(AS_OF))) {
                let breaks = books_of(&store, at, on, policy).await.breaks;
                let mut today = BTreeMap::new();
                for code in STATES {
                    for row in breaks.0.iter().filter(|r| r["code"] == code.as_str()) {
                        let key = (code.as_str(), row["subject"].clone());
                        let first = listed.get(&key).copied().unwrap_or(on);
                        let cure = rules.flag(code).and_then(|rule| rule.cure_days);
                        let due = cure.map(|days| CHINA.add_working_days(first, days).day);
                        let due = due.map(|d| d.to_string()).unwrap_or_default();
                        assert_eq!(
                            row["due_on"], due,
                            "{key:?} on {on} since {first}, {policy}"
                        );
                        today.insert(key, first);
                        *tested.entry(code.as_str()).or_default() += 1;
                    }
                }
                listed = today;
            }
        }
        store.remove().await;
    }
    for code in [
        FlagCode::UncoveredFunds,
        FlagCode::ContractShort,
        FlagCode::DepositBelowMin,
    ] {
        assert!(
            tested.contains_key(code.as_str()),
            "{code} was never listed: {tested:?}"
        );
    }
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
