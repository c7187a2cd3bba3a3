//! Dry runs: they say what the import then does, and leave nothing, however they end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::task::Poll;

use jintuo::intake::{self, Becomes, Summary};
use jintuo::store::lock::Job;
use jintuo::store::{Db, DbError};
use jintuo::wire::Verdict;
use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::harness::{Dir, Store, command, fixture, on_both};
use crate::quarantine::registry;
use crate::small::small;

on_both!(
    a_dry_run_says_what_the_import_then_does,
    a_dry_run_may_be_cut_anywhere,
    a_rehearsal_and_the_job_keep_apart,
    steps_of_a_rehearsal_are_kept_taken_back_or_dropped,
    the_command_stores_nothing_and_makes_no_database,
);

const ACCOUNT: &str = "6217000010001234567";

fn camt() -> String {
    std::fs::read_to_string(fixture("wire/camt/booked_and_pending.xml")).expect("a fixture")
}

/// What the store's tables hold, row by row.
async fn dump(store: &Store) -> BTreeMap<String, Vec<String>> {
    let db = store.open(0).await;
    let mut tx = db.begin_read().await.expect("a transaction");
    let tables = if store.is_postgres() {
        "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = current_schema()"
    } else {
        "SELECT name FROM sqlite_master WHERE type = 'table'"
    };
    let tables: Vec<(String,)> =
        jintuo::on!(tx, c => sqlx::query_as(tables).fetch_all(c).await).expect("tables");
    let mut found = BTreeMap::new();
    for (table,) in tables {
        let row = if store.is_postgres() {
            format!("CAST({table} AS TEXT)")
        } else {
            let sql = format!("SELECT name FROM pragma_table_info('{table}')");
            let columns: Vec<(String,)> = jintuo::on!(tx, c => sqlx::query_as(
                sqlx::AssertSqlSafe(sql)).fetch_all(c).await)
            .expect("columns");
            let columns: Vec<String> = columns
                .iter()
                .map(|c| format!("quote(\"{}\")", c.0))
                .collect();
            columns.join(" || ',' || ")
        };
        let sql = format!("SELECT {row} FROM {table} ORDER BY 1");
        let rows: Vec<(String,)> = jintuo::on!(tx, c => sqlx::query_as(
            sqlx::AssertSqlSafe(sql)).fetch_all(c).await)
        .expect("rows");
        found.insert(table, rows.into_iter().map(|r| r.0).collect());
    }
    tx.rollback().await.expect("a rollback");
    db.close().await;
    assert!(found.len() > 20, "every table is looked at: {found:?}");
    found
}

async fn rehearse(store: &Store, at: i64, inputs: &[&Path]) -> Summary {
    let db = store.open(at).await;
    let inputs: Vec<PathBuf> = inputs.iter().map(|p| p.to_path_buf()).collect();
    let options = intake::Options::default();
    let summary = intake::rehearse(&db, &inputs, &options, &mut intake::Silent).await;
    db.close().await;
    summary.expect("the rehearsal works")
}

/// A summary without what only a dry run has.
fn essence(summary: &Summary) -> Value {
    let mut value = serde_json::to_value(summary).expect("a summary is JSON");
    let object = value.as_object_mut().expect("an object");
    for name in ["dry_run", "statements", "statements_total"] {
        object.remove(name).expect(name);
    }
    value
}

/// Rehearses, imports, compares; the verdicts and what becomes of the statements.
async fn compare(store: &Store, at: i64, inputs: &[&Path]) -> (Summary, Vec<(Verdict, Becomes)>) {
    let before = dump(store).await;
    let said = rehearse(store, at, inputs).await;
    assert!(said.dry_run);
    assert_eq!(dump(store).await, before, "a dry run changed something");
    let done = store.import(at, inputs).await;
    assert_eq!(essence(&said), essence(&done));
    assert!(!done.dry_run && done.statements.is_empty());
    let statements = said.statements.iter();
    let statements = statements.map(|s| (s.says.verdict, s.outcome)).collect();
    (said, statements)
}

async fn a_dry_run_says_what_the_import_then_does(store: Store) {
    let known = registry(&[ACCOUNT]).write(&store.dir, "registry");
    let (said, statements) = compare(&store, 1, &[&known]).await;
    assert!(said.files.iter().map(|f| f.new).sum::<i64>() > 0);
    assert_eq!(statements, []);

    let good = store.dir.write("good.xml", camt());
    let (said, statements) = compare(&store, 2, &[&good]).await;
    assert_eq!(statements, [(Verdict::Balanced, Becomes::New)]);
    let stated = &said.statements[0];
    let figures = (&stated.says.opening, &stated.says.closing);
    assert_eq!(
        serde_json::to_value((figures, &stated.booked)).expect("JSON"),
        json!([
            ["10000.00", "14360.00"],
            { "from": "2026-06-02", "to": "2026-06-04", "credits": "5360.00", "debits": "1000.00" }
        ])
    );
    assert!(said.files[0].new > 0);

    // The same bytes; then the same days in other bytes.
    let (_, statements) = compare(&store, 3, &[&good]).await;
    assert_eq!(statements, [(Verdict::Balanced, Becomes::Known)]);
    let other = camt().replace("<MsgId>M-1</MsgId>", "<MsgId>M-2</MsgId>");
    let other = store.dir.write("other.xml", other);
    let (_, statements) = compare(&store, 4, &[&other]).await;
    assert_eq!(statements, [(Verdict::Balanced, Becomes::Known)]);

    let conflict = camt()
        .replace("10000.00", "20000.00")
        .replace("14360.00", "24360.00")
        .replace("<Id>2026-06-04</Id>", "<Id>another</Id>");
    let conflict = store.dir.write("conflict.xml", conflict);
    let (said, statements) = compare(&store, 5, &[&conflict]).await;
    assert_eq!(statements, [(Verdict::Balanced, Becomes::Conflict)]);
    assert!(said.files[0].quarantined > 0);

    let unbalanced = camt().replace("14360.00", "14360.01");
    let unbalanced = store.dir.write("unbalanced.xml", unbalanced);
    let nothing = store.dir.write("nothing.xml", "no statement");
    let (said, statements) = compare(&store, 6, &[&unbalanced, &nothing]).await;
    assert_eq!(
        statements,
        [
            (Verdict::Unbalanced, Becomes::Quarantined),
            (Verdict::Refused, Becomes::Quarantined)
        ]
    );
    let remedies = serde_json::to_value(&said.quarantined[0]).expect("JSON");
    assert_eq!(
        (&remedies["code"], &remedies["file"]),
        (&json!("UNBALANCED"), &json!("unbalanced.xml"))
    );

    // A bundle with a bad row, a row that waits, a correction.
    let facts = |amount: &str| {
        Bundle::of(&[
            (
                "orders",
                "order_id,institution_id,student_id,ordered_on,lessons,unit_price_fen,amount_fen\n\
                 O1,I1,S1,2026-06-01,10,100000,1000000\nO2,I1,S1,2026-06-01,10,100000,wrong\n",
            ),
            (
                "payments",
                &format!(
                    "payment_id,order_id,institution_id,account_id,paid_on,channel,reference,\
                     amount_fen\nP1,O1,I1,{ACCOUNT},2026-06-02,TRANSFER,P-9,{amount}\n\
                     P2,O9,I1,{ACCOUNT},2026-06-02,TRANSFER,P-8,5\n"
                ),
            ),
        ])
    };
    let first = facts("1000000").zip(&store.dir, "facts.zip");
    let (said, _) = compare(&store, 7, &[&first]).await;
    let sum = |f: fn(&intake::FileSummary) -> i64| said.files.iter().map(f).sum::<i64>();
    assert_eq!((sum(|f| f.quarantined), sum(|f| f.waiting)), (1, 1));
    let corrected = facts("1000001").write(&store.dir, "corrected");
    let (said, _) = compare(&store, 8, &[&corrected]).await;
    assert_eq!(said.files.iter().map(|f| f.revised).sum::<i64>(), 1);
    assert_eq!(store.check().await, []);
}

async fn a_dry_run_may_be_cut_anywhere(store: Store) {
    let bundle = small().write(&store.dir, "small");
    let known = registry(&[ACCOUNT]).write(&store.dir, "registry");
    store.import(1, &[&known]).await;
    let before = dump(&store).await;
    let file = store.dir.write("first.xml", camt());
    let (mut polls, mut ended) = (1, false);
    while !ended {
        let db = store.open(2).await;
        let inputs = [bundle.clone(), file.clone()];
        let options = intake::Options::default();
        let mut silent = intake::Silent;
        let mut work = Box::pin(intake::rehearse(&db, &inputs, &options, &mut silent));
        let mut left = polls;
        ended = std::future::poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(false);
            }
            left -= 1;
            work.as_mut().poll(context).map(|done| done.is_ok())
        })
        .await;
        drop(work);
        // The same process goes on at once.
        db.rehearse(Job::Import).await.expect("the lock is free");
        db.close().await;
        polls += 1 + polls / 2;
    }
    assert!(polls > 20, "it was cut at many points");
    assert_eq!(dump(&store).await, before);
    store.import(3, &[&bundle, &file]).await;
    assert_eq!(store.check().await, []);
}

async fn a_rehearsal_and_the_job_keep_apart(store: Store) {
    let known = registry(&[ACCOUNT]).write(&store.dir, "registry");
    store.import(1, &[&known]).await;
    let (db, other) = (store.open(2).await, store.open(2).await);
    let busy = |e: &DbError| matches!(e, DbError::Busy(_)) && e.is_temporary();

    let lock = other.lock(Job::Import).await.expect("the lock is free");
    let refused = db.rehearse(Job::Import).await.err();
    assert!(refused.as_ref().is_some_and(busy), "{refused:?}");
    drop(lock);
    other.close().await;

    let other = store.open(2).await;
    let rehearsal = db.rehearse(Job::Import).await.expect("the lock is free");
    let played = rehearsal.db();
    let mut step = played.begin_write().await.expect("a step");
    add_note(&mut step).await;
    step.commit().await.expect("kept");
    assert_eq!(notes(played).await, 1);
    assert!(
        played
            .is_locked(Job::Import)
            .await
            .is_ok_and(|locked| !locked)
    );
    for others in [&db, &other] {
        // Readers go on, and see nothing of it.
        assert_eq!(notes(others).await, 0);
        let refused = others.lock(Job::Import).await.err();
        assert!(refused.as_ref().is_some_and(busy), "{refused:?}");
    }
    assert!(played.lock(Job::Run).await.is_err());
    assert!(played.rehearse(Job::Import).await.is_err());
    rehearsal.end().await.expect("it ends");
    assert_eq!(notes(&db).await, 0);
    other.lock(Job::Import).await.expect("the lock is free");
    db.close().await;
    other.close().await;
}

async fn steps_of_a_rehearsal_are_kept_taken_back_or_dropped(store: Store) {
    let db = store.open(1).await;
    let rehearsal = db.rehearse(Job::Import).await.expect("the lock is free");
    let played = rehearsal.db();
    for (expected, end) in [(1, "commit"), (1, "rollback"), (1, "drop"), (2, "commit")] {
        let mut step = played.begin_write().await.expect("a step");
        add_note(&mut step).await;
        let second = played.begin_read().await.err();
        assert!(matches!(second, Some(DbError::Busy(_))), "{second:?}");
        match end {
            "commit" => step.commit().await.expect("kept"),
            "rollback" => step.rollback().await.expect("taken back"),
            _ => drop(step),
        }
        assert_eq!(notes(played).await, expected, "{end}");
    }
    // A step may fail and be given up; on PostgreSQL nothing else can follow a failed statement.
    let mut step = played.begin_write().await.expect("a step");
    let failed = jintuo::on!(step, c => sqlx::query("INSERT INTO nowhere VALUES (1)")
        .execute(c).await.map(|_| ()));
    assert!(failed.is_err());
    drop(step);
    assert_eq!(notes(played).await, 2);
    let late = played.clone();
    rehearsal.end().await.expect("it ends");
    assert!(late.begin_read().await.is_err());
    assert_eq!(notes(&db).await, 0);
    db.close().await;
}

async fn add_note(tx: &mut jintuo::store::Tx) {
    let sql = "INSERT INTO import (import_no, source, started_at) \
               SELECT COUNT(*) + 1000, 'x', '2026-01-05T00:00:00+00:00' FROM import";
    jintuo::on!(tx, c => sqlx::query(sql).execute(c).await.map(|_| ())).expect("a row");
}

async fn notes(db: &Db) -> i64 {
    let mut tx = db.begin_read().await.expect("a transaction");
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM import WHERE source = 'x'";
    let (n,): (i64,) =
        jintuo::on!(tx, c => sqlx::query_as(sql).fetch_one(c).await).expect("a count");
    tx.rollback().await.expect("a rollback");
    n
}

async fn the_command_stores_nothing_and_makes_no_database(store: Store) {
    let known = registry(&[ACCOUNT]).write(&store.dir, "registry");
    let file = store.dir.write("first.xml", camt());
    let (known, file) = (known.display().to_string(), file.display().to_string());

    // There is no database yet, or nothing in it.
    let empty = store.jintuo(&["--json", "import", "--dry-run", &known, &file]);
    let said: Value = serde_json::from_slice(&empty.ended(0).stdout).expect("JSON");
    assert_eq!(
        (&said["schema"], &said["dry_run"]),
        (&json!("jintuo.import/1"), &json!(true))
    );
    let stated = &said["statements"][0];
    assert_eq!(
        (&stated["verdict"], &stated["outcome"], &stated["account"]),
        (&json!("balanced"), &json!("new"), &json!(ACCOUNT))
    );
    store.jintuo(&["check"]).ended(1);
    if !store.is_postgres() {
        assert!(!store.dir.path().join("books.db").exists());
    }

    store.jintuo(&["import", &known, &file]).ended(0);
    let before = dump(&store).await;
    let again = store.jintuo(&["import", "--dry-run", &file]).ended(0);
    assert!(
        again.stderr.contains(
            "opening 10000.00 + credits 5360.00 - debits 1000.00 = closing 14360.00 balanced; known"
        ),
        "{}",
        again.stderr
    );
    assert!(again.stderr.ends_with("dry run: nothing was stored\n"));
    // The exit code is that of the import.
    let dir = Dir::new();
    let nothing = dir
        .write("nothing.txt", "no statement")
        .display()
        .to_string();
    store.jintuo(&["import", "--dry-run", &nothing]).ended(1);
    assert_eq!(dump(&store).await, before);
    let mut busy = command(&["--db", &store.url, "import", "--dry-run", &file]);
    let db = store.open(9).await;
    let lock = db.lock(Job::Import).await.expect("the lock is free");
    let output = busy.output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(75));
    drop(lock);
    db.close().await;
}
