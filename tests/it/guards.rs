//! What must not slip through: erased books, knowledge from the future, a partial run taken for the whole,
//! a link that leads nowhere.

use std::path::Path;
use std::time::Duration;

use jintuo::base::{Clock, DefectCode};
use jintuo::report::Wanted;
use jintuo::run;
use jintuo::store::lock::Job;
use jintuo::store::{Db, DbError, OpenOptions};

use crate::bundle::Bundle;
use crate::harness::{Store, day, minute, on_both, on_servers, on_sqlite};
use crate::small::{AS_OF, changes, small};

const SHANGHAI: chrono_tz::Tz = chrono_tz::Asia::Shanghai;

on_both!(
    nobody_knows_the_future,
    a_district_run_is_not_taken_for_the_city,
    an_older_knowledge_is_not_taken_for_the_newest,
    an_institution_not_yet_known_is_not_listed,
    what_was_known_does_not_change_afterwards,
    two_banks_may_number_their_lines_alike,
);

fn options(known_at: Option<i64>, district: Option<&str>) -> run::Options {
    run::Options {
        threads: None,
        as_of: day(AS_OF),
        known_at: known_at.map(minute),
        policy: "workload".to_owned(),
        district: district.map(str::to_owned),
    }
}

async fn run(store: &Store, at: i64, options: run::Options) -> Result<run::Summary, run::RunError> {
    let db = store.open(at).await;
    let summary = run::day(&db, &options, &mut run::Silent).await;
    db.close().await;
    summary
}

fn wanted() -> Wanted<'static> {
    Wanted {
        as_of: Some(day(AS_OF)),
        ..Wanted::default()
    }
}

async fn two_districts(store: &Store) {
    let second = Bundle::of(&[
        ("districts", "district_id,name\nD2,示例二区\n"),
        (
            "institutions",
            "institution_id,district_id,name\nI9,D2,示例九\n",
        ),
    ]);
    store
        .import(1, &[&small().write(&store.dir, "small")])
        .await;
    store
        .import(2, &[&second.write(&store.dir, "second")])
        .await;
}

async fn nobody_knows_the_future(store: Store) {
    two_districts(&store).await;
    let error = run(&store, 5, options(Some(6), None))
        .await
        .expect_err("refused");
    assert!(error.to_string().contains("future"), "{error}");
    run(&store, 5, options(Some(5), None))
        .await
        .expect("now is known");
}

async fn a_district_run_is_not_taken_for_the_city(store: Store) {
    two_districts(&store).await;
    run(&store, 5, options(None, None)).await.expect("a run");
    let city = store.books(&wanted()).await;
    assert_eq!(city.districts.column("district_id"), ["D1", "D2"]);
    run(&store, 6, options(None, Some("D2")))
        .await
        .expect("a run");
    assert_eq!(store.books(&wanted()).await, city);
}

async fn an_older_knowledge_is_not_taken_for_the_newest(store: Store) {
    store
        .import(1, &[&small().write(&store.dir, "small")])
        .await;
    store
        .import(3, &[&changes().write(&store.dir, "changes")])
        .await;
    run(&store, 4, options(None, None)).await.expect("a run");
    let newest = store.books(&wanted()).await;
    run(&store, 5, options(Some(1), None)).await.expect("a run");
    assert_eq!(store.books(&wanted()).await.essence(), newest.essence());
}

async fn an_institution_not_yet_known_is_not_listed(store: Store) {
    store
        .import(1, &[&small().write(&store.dir, "small")])
        .await;
    store
        .import(3, &[&changes().write(&store.dir, "changes")])
        .await;
    run(&store, 4, options(None, None)).await.expect("a run");
    run(&store, 5, options(Some(1), None)).await.expect("a run");
    let then = Wanted {
        known_at: Some(minute(1)),
        ..wanted()
    };
    let books = store.books(&then).await;
    assert_eq!(books.institutions.column("institution_id"), ["I1"]);
    assert!(books.breaks.0.iter().all(|r| r["institution_id"] == "I1"));
    assert_eq!(store.check().await, []);
}

#[test]
fn erased_books_are_missed() {
    on_sqlite(|store| async move {
        store
            .import(1, &[&small().write(&store.dir, "small")])
            .await;
        assert_eq!(store.check().await, []);
        let db = store.open(2).await;
        let mut tx = db.begin_write().await.expect("a transaction");
        for sql in ["DROP TRIGGER posting_no_delete", "DELETE FROM posting"] {
            jintuo::on!(tx, c => sqlx::query(sql).execute(c).await.map(|_| ()))
                .expect("the vandal's step");
        }
        tx.commit().await.expect("a commit");
        db.close().await;
        let broken = store.check().await;
        for invariant in ["head", "balance", "contract", "append-only"] {
            assert!(
                broken.iter().any(|b| b.invariant == invariant),
                "{invariant}: {broken:?}"
            );
        }
    });
}

#[test]
fn a_link_that_leads_nowhere_is_named_and_the_rest_is_read() {
    on_sqlite(|store| async move {
        let folder = small()
            .only(&["districts", "institutions"])
            .write(&store.dir, "small");
        for name in ["accounts.csv", "notes.txt"] {
            let nowhere = Path::new("nowhere");
            std::os::unix::fs::symlink(nowhere, folder.join(name)).expect("a link");
        }
        let summary = store.import(1, &[&folder]).await;
        let codes: Vec<_> = summary.quarantined.iter().map(|d| d.code).collect();
        assert_eq!(codes, [DefectCode::Unreadable]);
        assert!(
            summary.ignored.iter().any(|i| i.contains("notes.txt")),
            "{:?}",
            summary.ignored
        );
        assert_eq!(store.rows("institution").await, 1);
    });
}

/// An import and runs at one and the same instant of the clock.
async fn what_was_known_does_not_change_afterwards(store: Store) {
    store
        .import(1, &[&small().write(&store.dir, "small")])
        .await;
    let first = run(&store, 5, options(None, None)).await.expect("a run");
    store
        .import(5, &[&changes().write(&store.dir, "changes")])
        .await;
    let second = run(&store, 5, options(None, None)).await.expect("a run");
    assert!(second.known_at > first.known_at);
    assert_eq!((first.institutions, second.institutions), (1, 2));
    let options = run::Options {
        threads: None,
        known_at: Some(first.known_at),
        ..options(None, None)
    };
    let again = run(&store, 6, options).await.expect("a run");
    assert_eq!(again.districts, first.districts);
    assert_eq!(again.institutions, 1);
}

async fn two_banks_may_number_their_lines_alike(store: Store) {
    let bundle = Bundle::of(&[
        ("districts", "district_id,name\nD1,示例区\n"),
        (
            "institutions",
            "institution_id,district_id,name\nI1,D1,示例机构\n",
        ),
        (
            "accounts",
            "account_id,institution_id,kind,min_deposit_fen\nA1,I1,CUSTODY,0\nA2,I1,CUSTODY,0\n",
        ),
        (
            "bank_statements",
            "account_id,date,opening_fen,closing_fen\n\
             A1,2026-01-07,0,700\nA2,2026-01-07,0,500\n",
        ),
        (
            "bank_entries",
            "entry_id,account_id,booked_on,code,direction,amount_fen,reference,memo\n\
             1,A1,2026-01-07,TRF,C,700,,\n1,A2,2026-01-07,TRF,C,500,,\n",
        ),
    ]);
    let folder = bundle.write(&store.dir, "two");
    store.import(1, &[&folder]).await;
    let again = store.import(2, &[&folder]).await;
    assert!(
        again.files.iter().all(|f| (f.new, f.revised) == (0, 0)),
        "{again:?}"
    );
    run(&store, 3, options(None, None)).await.expect("a run");
    let books = store.books(&wanted()).await;
    assert_eq!(books.institutions.column("held_fen"), ["1200"]);
    let unmatched =
        |r: &&std::collections::BTreeMap<String, String>| r["code"] == "UNMATCHED_CREDIT";
    let amounts: Vec<&str> = (books.breaks.0.iter())
        .filter(unmatched)
        .map(|r| r["amount_fen"].as_str())
        .collect();
    assert_eq!(amounts, ["700", "500"]);
    assert!(books.breaks.0.iter().all(|r| r["code"] != "FEED_BROKEN"));
    assert_eq!(store.check().await, []);
}

/// A server may end the connection that holds a job's lock; whoever held it must not write on.
#[test]
fn a_lost_lock_cannot_write() {
    on_servers(|store| async move {
        let (one, two) = (store.open(1).await, store.open(2).await);
        let lost = one.lock(Job::Import).await.expect("the lock is free");
        assert!(matches!(two.lock(Job::Import).await, Err(DbError::Busy(_))));
        assert!(two.is_locked(Job::Import).await.expect("a look"));
        let tx = lost.begin_write(&one).await.expect("the lock is held");
        tx.rollback().await.expect("a rollback");
        store
            .as_superuser(
                "SELECT pg_terminate_backend(l.pid, 60000) FROM pg_locks l \
                 JOIN pg_class c ON c.oid = l.relation \
                 JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relname = 'job_lock' AND n.nspname = current_schema() \
                   AND l.mode = 'RowShareLock' AND l.pid <> pg_backend_pid()",
            )
            .await;
        let held = two.lock(Job::Import).await.expect("the lock is free again");
        let refused = lost.begin_write(&one).await;
        assert!(
            matches!(refused, Err(DbError::Busy(_))),
            "the old holder writes on"
        );
        held.begin_write(&two).await.expect("the new holder writes");
        drop((lost, held));
        one.close().await;
        two.close().await;
    });
}

/// A process that is stopped, as by SIGSTOP, says nothing more: the server lets go of what it holds.
#[test]
fn a_stopped_holder_does_not_hold_others_up() {
    on_servers(|store| async move {
        let stopped = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let url = store.url.clone();
        let options = OpenOptions {
            unsafe_dev: true,
            stopped_after: Some(Duration::from_millis(400)),
            ..OpenOptions::default()
        };
        let two = Db::open(&url, Clock::fixed(minute(2), SHANGHAI), &options)
            .await
            .expect("the database opens");
        let (go_on, stop) = std::sync::mpsc::channel::<()>();
        let (hold, held) = tokio::sync::oneshot::channel();
        let holder = stopped.spawn(async move {
            let one = Db::open(&url, Clock::fixed(minute(1), SHANGHAI), &options)
                .await
                .expect("the database opens");
            let lost = one.lock(Job::Import).await.expect("the lock is free");
            let tx = lost.begin_write(&one).await.expect("the lock is held");
            hold.send(()).expect("somebody waits");
            // The only thread of this process stands still, in the middle of a transaction.
            stop.recv().expect("it goes on");
            assert!(tx.commit().await.is_err(), "its transaction is gone");
            let refused = lost.begin_write(&one).await;
            assert!(matches!(refused, Err(DbError::Busy(_))), "it writes on");
        });
        held.await.expect("the lock is taken");
        let next = two.lock(Job::Import).await.expect("the lock is free again");
        go_on.send(()).expect("it waits");
        holder.await.expect("the old holder is refused");
        next.begin_write(&two).await.expect("the new holder writes");
        drop(next);
        two.close().await;
        stopped.shutdown_background();
    });
}

/// A command that follows another at once finds the server still ending the first one's connection.
#[test]
fn a_lock_that_is_being_let_go_is_waited_for() {
    on_servers(|store| async move {
        let (one, two) = (store.open(1).await, store.open(2).await);
        for _ in 0..20 {
            let held = one.lock(Job::Import).await.expect("the lock is free");
            let letting_go = async { drop(held) };
            let (next, ()) = tokio::join!(two.lock(Job::Import), letting_go);
            drop(next.expect("the lock is let go"));
        }
        one.close().await;
        two.close().await;
    });
}

#[test]
fn a_vandal_is_named() {
    on_sqlite(|store| async move {
        let small = small().write(&store.dir, "small");
        store.import(1, &[&small]).await;
        store
            .import(2, &[&changes().write(&store.dir, "changes")])
            .await;
        let statement = crate::harness::fixture("tour/statement.xml");
        store.import(3, &[&statement]).await;
        run(&store, 4, options(None, None)).await.expect("a run");
        assert_eq!(store.check().await, []);
        let db = store.open(5).await;
        let mut tx = db.begin_write().await.expect("a transaction");
        for sql in [
            "DROP TRIGGER raw_file_no_update",
            "UPDATE raw_file SET content = x'00'",
            "DROP TRIGGER contract_no_delete",
            "DELETE FROM contract WHERE version = 1 AND order_id = 'O1'",
            "DROP TRIGGER institution_directory_no_update",
            "UPDATE institution_directory SET institution_id = 'I0' WHERE institution_id = 'I2'",
            "DELETE FROM source_file WHERE source_no = (SELECT MIN(source_no) FROM posting)",
            "UPDATE position SET from_run = 99",
            "UPDATE account_proof SET closing_fen = closing_fen + 1 WHERE account_no = 1",
            "DROP TRIGGER settlement_no_update",
            "UPDATE settlement SET version = 2",
            "INSERT INTO account_freeze VALUES (1, 1, 'F1', 2, 1, 'court', NULL, NULL, NULL)",
            "INSERT INTO statement VALUES (1, 1, 'mt940', '7', 1, 1, 2, 1, NULL, 0, 0, 0, 0, 0)",
            "INSERT INTO statement_dispute VALUES (1, 1, 9, 'X', 2, 1, 0, 0, x'', 0)",
            "INSERT INTO statement_exemption VALUES (1, 1, 3, 4, 2, 1, 'holiday')",
        ] {
            jintuo::on!(tx, c => sqlx::query(sql).execute(c).await.map(|_| ()))
                .unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
        tx.commit().await.expect("a commit");
        db.close().await;
        let broken = store.check().await;
        for record in [
            "order O1",
            "settlement B1",
            "freeze F1",
            "statement 7",
            "dispute",
            "exemption",
        ] {
            let named = |b: &jintuo::check::Broken| b.what.starts_with(record);
            assert!(
                broken.iter().any(|b| b.invariant == "versions" && named(b)),
                "{record}: {broken:?}"
            );
        }
        for invariant in [
            "raw-file",
            "versions",
            "directory",
            "provenance",
            "results",
            "three-way proof",
        ] {
            assert!(
                broken.iter().any(|b| b.invariant == invariant),
                "{invariant}: {broken:?}"
            );
        }
    });
}
