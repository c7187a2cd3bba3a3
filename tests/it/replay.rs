//! `jintuo verify --replay`: a run done again from what it knew is the run, and anything else is named.

use serde_json::Value;

use crate::harness::{Store, on_both};
use crate::small::{changes, small};

on_both!(
    runs_done_again_are_as_they_were_left,
    a_row_that_was_changed_is_named,
);

/// What a run done again came to, whether it agrees or not.
pub(crate) fn replayed(store: &Store, args: &[&str], code: i32) -> Value {
    let ran = store.jintuo(&[&["verify", "--replay", "--json"], args].concat());
    let ran = ran.ended(code);
    let value: Value = serde_json::from_slice(ran.stdout.as_ref()).expect("one object");
    assert_eq!(value["schema"], "jintuo.verify/1");
    value
}

async fn start(store: &Store) {
    let small = small().write(&store.dir, "small");
    store.import(1, &[&small]).await;
    store.reconcile(2, "2026-01-06", "default").await;
    store.reconcile(3, "2026-01-06", "workload").await;
    store.reconcile(4, "2026-01-07", "workload").await;
    let changes = changes().write(&store.dir, "changes");
    store.import(5, &[&changes]).await;
    store.reconcile(6, "2026-01-07", "workload").await;
}

async fn runs_done_again_are_as_they_were_left(store: Store) {
    start(&store).await;
    for (args, run_id, institutions) in [
        (vec![], 4, 2),
        (vec!["--threads", "1"], 4, 2),
        // A day before, and what was known before the changes: rows that have ended since.
        (vec!["--as-of", "2026-01-06", "--policy", "workload"], 2, 1),
        (
            vec![
                "--as-of",
                "2026-01-07",
                "--known-at",
                "2026-01-05T00:04:30Z",
            ],
            3,
            1,
        ),
        (vec!["--policy", "default"], 1, 1),
    ] {
        let value = replayed(&store, &args, 0);
        assert_eq!(value["run_id"], run_id, "{args:?}");
        assert_eq!(value["institutions"], institutions, "{args:?}");
        assert_eq!(value["agrees"], true, "{args:?}: {value}");
    }
    store.jintuo(&["verify"]).ended(0);
}

async fn a_row_that_was_changed_is_named(store: Store) {
    start(&store).await;
    let db = store.open(7).await;
    let mut tx = db.begin_write().await.expect("a transaction");
    for sql in [
        "UPDATE position SET held_fen = held_fen + 1 WHERE inst_id = 2 AND from_run = 4",
        "UPDATE district_coverage SET held_fen = held_fen + 1 WHERE run_id = 4",
        "UPDATE match_line SET n = 7 WHERE inst_id = 1 AND to_run = 4 AND from_run = 3",
    ] {
        jintuo::on!(tx, c => sqlx::query(sql).execute(c).await.map(|_| ()))
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    tx.commit().await.expect("a commit");
    db.close().await;
    let value = replayed(&store, &[], 1);
    // One row that was not found, and one that was found and is not there.
    assert_eq!(value["differing"]["positions"], 2, "{value}");
    assert_eq!(value["differing"]["findings"], 0, "{value}");
    assert_eq!(value["institution_ranges"], serde_json::json!([[1, 2]]));
    assert_eq!(value["districts"], serde_json::json!(["D1"]));
}
