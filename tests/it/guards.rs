//! What must not slip through: erased books, knowledge from the future, a partial run taken for the whole,
//! a link that leads nowhere.

use std::path::Path;

use jintuo::base::DefectCode;
use jintuo::report::Wanted;
use jintuo::run;

use crate::bundle::Bundle;
use crate::harness::{Store, day, minute, on_both, on_sqlite};
use crate::small::{AS_OF, changes, small};

on_both!(
    nobody_knows_the_future,
    a_district_run_is_not_taken_for_the_city,
    an_older_knowledge_is_not_taken_for_the_newest,
    an_institution_not_yet_known_is_not_listed,
);

fn options(known_at: Option<i64>, district: Option<&str>) -> run::Options {
    run::Options {
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
