//! Corrections: the old value is reversed and kept, earlier figures stand, later ones are right.

use jintuo::report::Wanted;
use jintuo::run;

use crate::bundle::Bundle;
use crate::harness::{Books, Store, day, minute, on_both};
use crate::small::{AS_OF, small};

on_both!(
    each_revision_moves_the_figure_it_should,
    a_past_run_can_be_repeated_after_a_revision,
);

/// File, id, columns changed, required afterwards. Before each it is 170,000: two payments of 100,000
/// less three lessons of 10,000.
type Revision = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    i64,
);

const REVISIONS: [Revision; 10] = [
    ("payments", "P1", &[("amount_fen", "90000")], 160_000),
    ("payments", "P1", &[("order_id", "O2")], 200_000),
    ("payments", "P2", &[("paid_on", "2026-01-09")], 70_000),
    ("lessons", "L1", &[("lessons", "5")], 150_000),
    ("lessons", "L1", &[("state", "void")], 200_000),
    ("lessons", "L1", &[("order_id", "O2")], 185_000),
    ("lessons", "L1", &[("consumed_on", "2026-01-08")], 200_000),
    (
        "orders",
        "O1",
        &[("unit_price_fen", "20000"), ("amount_fen", "200000")],
        140_000,
    ),
    ("orders", "O1", &[("lessons", "30")], 190_000),
    // An order that is not made yet earns nothing; its older version must not show through.
    ("orders", "O1", &[("ordered_on", "2026-02-01")], 200_000),
];

/// The books of the newest run that knew no more than a minute.
async fn known_at(store: &Store, at: i64) -> Books {
    let wanted = Wanted {
        as_of: Some(day(AS_OF)),
        known_at: Some(minute(at)),
        ..Wanted::default()
    };
    store.books(&wanted).await
}

fn required(books: &Books) -> &str {
    &books.institutions.find("institution_id", "I1")["required_fen"]
}

async fn each_revision_moves_the_figure_it_should(store: Store) {
    let whole = small().write(&store.dir, "whole");
    store.import(1, &[&whole]).await;
    store.reconcile(1, AS_OF, "workload").await;
    let mut now = 1;
    let original = known_at(&store, now).await.essence();
    assert_eq!(required(&original), "170000");
    for (number, (stem, id, cells, expected)) in REVISIONS.iter().enumerate() {
        let mut revision = small();
        for (column, value) in *cells {
            let one = revision.revised(stem, id, column, value);
            revision.0.extend(one.0);
        }
        let revision = revision
            .only(&[stem])
            .write(&store.dir, &number.to_string());
        let before = known_at(&store, now).await;
        let summary = store.import(now + 1, &[&revision]).await;
        let revised: i64 = summary.files.iter().map(|f| f.revised).sum();
        assert_eq!(revised, 1, "{stem} {id} {cells:?}");
        store.reconcile(now + 1, AS_OF, "workload").await;
        assert_eq!(store.check().await, [], "{stem} {id} {cells:?}");
        let after = known_at(&store, now + 1).await;
        assert_eq!(
            required(&after),
            expected.to_string(),
            "{stem} {id} {cells:?}"
        );
        // What was known before is told as it was known.
        assert_eq!(known_at(&store, now).await, before);
        // And back again: a second revision of the same row.
        store.import(now + 2, &[&whole]).await;
        store.reconcile(now + 2, AS_OF, "workload").await;
        assert_eq!(store.check().await, [], "{stem} {id} {cells:?} taken back");
        assert_eq!(
            known_at(&store, now + 2).await.essence(),
            original,
            "{stem} {id} {cells:?} taken back"
        );
        now += 2;
    }
}

async fn a_past_run_can_be_repeated_after_a_revision(store: Store) {
    let whole = small();
    store.import(1, &[&whole.write(&store.dir, "whole")]).await;
    store.reconcile(1, AS_OF, "workload").await;
    let before = known_at(&store, 1).await;
    let steps: [Bundle; 3] = [
        whole.revised("orders", "O1", "amount_fen", "300000"),
        whole.revised("lessons", "L1", "order_id", "O2"),
        whole.revised("bank_statements", "A1", "closing_fen", "90000"),
    ];
    for (at, bundle) in (2..).zip(&steps) {
        let path = bundle.write(&store.dir, &format!("step-{at}"));
        store.import(at, &[&path]).await;
        store.reconcile(at, AS_OF, "workload").await;
    }
    let db = store.open(50).await;
    let options = run::Options {
        threads: None,
        as_of: day(AS_OF),
        known_at: Some(minute(1)),
        policy: "workload".to_owned(),
        district: None,
    };
    run::day(&db, &options, &mut run::Silent)
        .await
        .expect("the run works");
    db.close().await;
    assert_eq!(known_at(&store, 1).await.essence(), before.essence());
    assert_eq!(store.check().await, []);
}
