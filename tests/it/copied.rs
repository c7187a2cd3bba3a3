//! `jintuo copy`: the books in another database, of the same kind or not, are the same books.

use jintuo::report::Wanted;
use jintuo::transfer::{self, CopyError};
use serde_json::Value;

use crate::harness::{Dir, Store, fixture, on_both};
use crate::interrupted::cut;
use crate::small::{self, changes, small};

on_both!(
    books_go_to_another_database_and_back,
    books_go_into_a_new_database_only,
    a_copy_that_is_cut_off_leaves_nothing,
    what_is_not_the_same_is_named,
);

/// Books in an embedded database, with something in nearly every table.
async fn books() -> Store {
    let store = Store::sqlite_in(Dir::new());
    store
        .import(1, &[&small().write(&store.dir, "small")])
        .await;
    store.reconcile(2, small::AS_OF, "workload").await;
    store
        .import(3, &[&changes().write(&store.dir, "changes")])
        .await;
    store.import(4, &[&fixture("tour/statement.xml")]).await;
    store
        .import(5, &[&store.dir.write("broken.xml", "no statement")])
        .await;
    store.reconcile(6, small::AS_OF, "workload").await;
    let proposed = store.jintuo(&[
        "decide",
        "unmatch",
        "--payment",
        "P2",
        "--line",
        "E2",
        "--by",
        "li",
        "--reason",
        "not the same",
    ]);
    proposed.ended(0);
    store
}

fn copied(from: &Store, to: &Store, more: &[&str], code: i32) -> Value {
    let copy = ["--json", "copy", "--from", &from.url, "--to", &to.url];
    let ran = crate::harness::jintuo(&[&copy, more].concat()).ended(code);
    serde_json::from_slice(&ran.stdout).expect("one object")
}

async fn books_go_to_another_database_and_back(store: Store) {
    let source = books().await;
    let there = copied(&source, &store, &[], 0);
    assert_eq!(there["agrees"], true);
    assert_eq!(there["broken"], Value::Array(Vec::new()));
    let rows = |table: &str| {
        let tables = there["tables"].as_array().expect("a list");
        let found = tables.iter().find(|t| t["table"] == table);
        found.expect("it was copied")["rows"]
            .as_i64()
            .expect("a number")
    };
    for table in [
        "posting",
        "raw_file",
        "quarantine",
        "finding",
        "decision",
        "run",
    ] {
        assert_eq!(rows(table), source.rows(table).await, "{table}");
        assert!(rows(table) > 0, "{table} is empty");
    }
    let wanted = Wanted::default();
    assert_eq!(store.books(&wanted).await, source.books(&wanted).await);
    store.jintuo(&["verify", "--replay"]).ended(0);
    let back = Store::sqlite_in(Dir::new());
    let home = copied(&store, &back, &[], 0);
    assert_eq!(home["tables"], there["tables"]);
    assert_eq!(
        copied(&source, &back, &["--only-compare"], 0)["tables"],
        there["tables"]
    );
    // Work goes on where it was left.
    for store in [&source, &store, &back] {
        store.reconcile(9, "2026-01-08", "workload").await;
        assert_eq!(store.check().await, []);
    }
    assert_eq!(store.books(&wanted).await, source.books(&wanted).await);
    assert_eq!(back.books(&wanted).await, source.books(&wanted).await);
}

async fn books_go_into_a_new_database_only(store: Store) {
    let source = books().await;
    store
        .import(1, &[&small().write(&store.dir, "small")])
        .await;
    let copy = ["copy", "--from", &source.url, "--to", &store.url];
    let refused = crate::harness::jintuo(&copy).ended(1);
    assert!(
        refused.stderr.contains("into a new database"),
        "{}",
        refused.stderr
    );
    let nowhere = Dir::new();
    let absent = format!("sqlite:{}", nowhere.path().join("none.db").display());
    let nothing = crate::harness::jintuo(&["copy", "--from", &absent, "--to", &store.url]).ended(1);
    assert!(
        nothing.stderr.contains("there is no database"),
        "{}",
        nothing.stderr
    );
    assert_eq!(store.check().await, []);
}

async fn a_copy_that_is_cut_off_leaves_nothing(store: Store) {
    let source = books().await;
    let step = if store.is_postgres() { 97 } else { 31 };
    let mut polls = 1;
    let mut cuts = 0;
    loop {
        let target = store.another().await;
        let (from, to) = (source.open(7).await, target.open(7).await);
        let ended = cut(polls, transfer::copy(&from, &to, |_| {})).await;
        if !ended {
            cuts += 1;
            // Nothing was kept, so the same copy begins anew.
            let again = transfer::copy(&from, &to, |_| {})
                .await
                .expect("it is copied");
            assert!(
                again.iter().all(transfer::Compared::agrees),
                "cut after {polls} polls"
            );
        }
        let more = transfer::copy(&from, &to, |_| {}).await;
        assert!(matches!(more, Err(CopyError::NotEmpty(_))), "{more:?}");
        from.close().await;
        to.close().await;
        assert_eq!(target.check().await, []);
        target.remove().await;
        if ended {
            break;
        }
        polls += step;
    }
    assert!(cuts > 2, "it was cut {cuts} times");
}

async fn what_is_not_the_same_is_named(store: Store) {
    let source = books().await;
    copied(&source, &store, &[], 0);
    let damage = "UPDATE ledger_balance SET debit_fen = debit_fen + 1 WHERE ledger_account = 1";
    let db = store.open(8).await;
    let mut tx = db.begin_write().await.expect("a transaction");
    jintuo::on!(tx, c => sqlx::query(damage).execute(c).await.map(|_| ())).expect("the damage");
    tx.commit().await.expect("a commit");
    db.close().await;
    let compared = copied(&source, &store, &["--only-compare"], 1);
    assert_eq!(compared["agrees"], false);
    let tables = compared["tables"].as_array().expect("a list");
    let differing: Vec<&Value> = (tables.iter())
        .filter(|t| t["agrees"] == false)
        .map(|t| &t["table"])
        .collect();
    assert_eq!(differing, ["ledger_balance"]);
    assert_eq!(compared["broken"][0]["invariant"], "balance");
}
