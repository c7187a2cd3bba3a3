//! Workloads against their truth, and the same books whichever way the facts came.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jintuo::report::Wanted;

use crate::bundle::Bundle;
use crate::harness::{Books, Rows, Store, day, fixture, on_both};

const SEEDS: [u32; 5] = [1, 2, 3, 7, 43];
/// The last day of every workload of `fixtures/workload`.
pub(crate) const AS_OF: &str = "2025-03-24";
/// Kinds of the truth table and their codes (`interchange.md`).
const CODES: [(&str, &str); 10] = [
    ("payment_not_banked", "TRANSIT_OVERDUE"),
    ("in_transit", "TIMING_GAP"),
    ("amount_mismatch", "AMOUNT_MISMATCH"),
    ("late", "LATE_CREDIT"),
    ("duplicate_report", "DUPLICATE_REPORT"),
    ("duplicate_bank", "DUPLICATE_CREDIT"),
    ("banked_not_reported", "UNMATCHED_CREDIT"),
    ("unauthorised_withdrawal", "UNAUTHORISED_DEBIT"),
    ("missing_statement", "FEED_MISSING"),
    ("low_risk_deposit", "DEPOSIT_BELOW_MIN"),
];
const PARENTS: [&str; 4] = ["districts", "institutions", "accounts", "orders"];

pub(crate) fn seed(n: u32) -> PathBuf {
    fixture(&format!("workload/seed-{n}"))
}

pub(crate) fn wanted() -> Wanted<'static> {
    Wanted {
        as_of: Some(day(AS_OF)),
        policy: Some("workload"),
        ..Wanted::default()
    }
}

/// Imports each bundle a minute after the one before, reconciles, and expects the truth.
pub(crate) async fn imported(store: &Store, bundles: &[&Path]) -> Books {
    for (at, bundle) in (1..).zip(bundles) {
        store.import(at, &[bundle]).await;
    }
    settled(store).await
}

/// Reconciles the last day; the books, whose invariants hold.
pub(crate) async fn settled(store: &Store) -> Books {
    store.reconcile(100, AS_OF, "workload").await;
    assert_eq!(store.check().await, []);
    store.books(&wanted()).await
}

on_both!(
    truth_of_seed_1,
    truth_of_seed_2,
    truth_of_seed_3,
    truth_of_seed_7,
    truth_of_seed_43,
    twice_is_once,
    the_order_of_rows_does_not_matter,
    halves_make_the_whole,
    children_may_come_before_their_parents,
    a_zip_is_a_folder,
    day_by_day_ends_like_one_go,
    statements_alone_may_come_twice,
    a_contradicting_row_is_settled_once,
);

async fn truth_of_seed_1(store: Store) {
    against_truth(&store, 1).await;
}

async fn truth_of_seed_2(store: Store) {
    against_truth(&store, 2).await;
}

async fn truth_of_seed_3(store: Store) {
    against_truth(&store, 3).await;
}

async fn truth_of_seed_7(store: Store) {
    against_truth(&store, 7).await;
}

async fn truth_of_seed_43(store: Store) {
    against_truth(&store, 43).await;
}

async fn against_truth(store: &Store, n: u32) {
    let books = imported(store, &[&seed(n)]).await;
    assert_is_truth(&books, n);
}

fn truth(n: u32, name: &str) -> Rows {
    let path = seed(n).join(format!("truth_{name}.csv"));
    Rows::parse(&std::fs::read(path).expect("the truth is there"))
}

/// The mapping of `benches/truth.py`, both ways: nothing missed and nothing invented.
pub(crate) fn assert_is_truth(books: &Books, n: u32) {
    let figures = [
        "institution_id",
        "required_fen",
        "held_fen",
        "uncovered_fen",
    ];
    assert_eq!(
        books.institutions.only(&figures),
        truth(n, "institutions").only(&figures)
    );
    let figures = [
        "district_id",
        "required_fen",
        "held_fen",
        "uncovered_fen",
        "institutions",
        "uncovered_institutions",
    ];
    assert_eq!(
        books.districts.only(&figures),
        truth(n, "districts").only(&figures)
    );
    let told = truth(n, "breaks");
    let facts = [
        "code",
        "subject",
        "institution_id",
        "date",
        "amount_fen",
        "n",
    ];
    let code_of = BTreeMap::from(CODES);
    let mine = Rows(
        (books.breaks.0.iter())
            .filter(|r| CODES.iter().any(|(_, code)| r["code"] == *code))
            .cloned()
            .collect(),
    );
    let planted = Rows(
        (told.0.iter())
            .filter_map(|r| {
                let code = code_of.get(r["kind"].as_str())?;
                let mut row = r.clone();
                row.insert("code".to_owned(), (*code).to_owned());
                Some(row)
            })
            .collect(),
    );
    assert_eq!(mine.only(&facts), planted.only(&facts));
    let batches = |rows: &Rows, kind: &str, name: &str, id: &str| -> Vec<[String; 3]> {
        let mut found: Vec<[String; 3]> = (rows.0.iter())
            .filter(|r| r[kind] == name)
            .map(|r| [r[id].clone(), r["n"].clone(), r["amount_fen"].clone()])
            .collect();
        found.sort_unstable();
        found
    };
    assert_eq!(
        batches(&books.matches, "kind", "N:1", "entry_id"),
        batches(&told, "kind", "batch_settlement", "subject")
    );
}

#[test]
fn the_seeds_plant_every_kind() {
    let found: Vec<String> = SEEDS
        .iter()
        .flat_map(|n| truth(*n, "breaks").0)
        .map(|mut r| r.remove("kind").expect("a kind"))
        .collect();
    for (kind, _) in CODES {
        assert!(found.iter().any(|k| k == kind), "no seed plants {kind}");
    }
    let uncovered = |n: &u32| {
        truth(*n, "districts")
            .0
            .iter()
            .any(|r| r["uncovered_fen"] != "0")
    };
    assert!(SEEDS.iter().any(uncovered), "every seed is covered in full");
}

async fn twice_is_once(store: Store) {
    let first = imported(&store, &[&seed(3)]).await;
    let before = sizes(&store).await;
    let again = store.import(2, &[&seed(3)]).await;
    for file in &again.files {
        assert_eq!(
            (file.new, file.revised, file.waiting, file.quarantined),
            (0, 0, 0, 0),
            "{file:?}"
        );
    }
    let total: i64 = again.files.iter().map(|f| f.same).sum();
    assert_eq!(
        usize::try_from(total).expect("a count"),
        Bundle::read(&seed(3)).rows()
    );
    assert_eq!(sizes(&store).await, before);
    let mut second = settled(&store).await;
    let mut first = first;
    // Not even the numbers of matches move.
    for books in [&mut first, &mut second] {
        books.districts = Rows(Vec::new());
    }
    assert_eq!(first, second);
}

async fn the_order_of_rows_does_not_matter(store: Store) {
    let bundle = Bundle::read(&seed(7)).shuffled(20_250_301);
    let path = bundle.write(&store.dir, "shuffled");
    let books = imported(&store, &[&path]).await;
    assert_is_truth(&books, 7);
}

async fn halves_make_the_whole(store: Store) {
    let bundle = Bundle::read(&seed(43));
    let half = |odd: usize| {
        bundle
            .filter(|_, at, _| at % 2 == odd)
            .write(&store.dir, &format!("half-{odd}"))
    };
    let books = imported(&store, &[&half(1), &half(0)]).await;
    assert_is_truth(&books, 43);
    assert_eq!(store.rows("waiting_row").await, 0);
}

async fn children_may_come_before_their_parents(store: Store) {
    let bundle = Bundle::read(&seed(3));
    let facts = bundle
        .filter(|stem, _, _| !PARENTS.contains(&stem))
        .write(&store.dir, "facts");
    let summary = store.import(1, &[&facts]).await;
    let waiting: i64 = summary.files.iter().map(|f| f.waiting).sum();
    let orphans = bundle.rows() - bundle.only(&PARENTS).rows();
    assert_eq!(usize::try_from(waiting).expect("a count"), orphans);
    // Then the parents, youngest first.
    let paths: Vec<PathBuf> = PARENTS
        .iter()
        .rev()
        .map(|stem| bundle.only(&[stem]).write(&store.dir, stem))
        .collect();
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    for (at, path) in (2..).zip(paths) {
        store.import(at, &[path]).await;
    }
    let books = settled(&store).await;
    assert_is_truth(&books, 3);
    assert_eq!(store.rows("waiting_row").await, 0);
}

async fn a_zip_is_a_folder(store: Store) {
    let zip = Bundle::read(&seed(1)).zip(&store.dir, "bundle.zip");
    let books = imported(&store, &[&zip]).await;
    assert_is_truth(&books, 1);
}

async fn day_by_day_ends_like_one_go(store: Store) {
    for (at, (day, bundle)) in (1..).zip(Bundle::read(&seed(3)).by_day()) {
        let path = bundle.write(&store.dir, &day);
        store.import(at, &[&path]).await;
        store.reconcile(at, &day, "workload").await;
    }
    let daily = store.books(&wanted()).await;
    assert_is_truth(&daily, 3);
    // A run over all days at once says the same of everything, not only of the truth's kinds.
    assert_eq!(daily.essence(), settled(&store).await.essence());
}

async fn statements_alone_may_come_twice(store: Store) {
    let bundle = Bundle::read(&seed(1));
    let registry = bundle
        .only(&["districts", "institutions", "accounts"])
        .write(&store.dir, "registry");
    let statements = bundle
        .only(&["bank_statements"])
        .write(&store.dir, "statements");
    store.import(1, &[&registry]).await;
    store.import(2, &[&statements]).await;
    let before = store.rows("statement_day").await;
    store.import(3, &[&statements]).await;
    assert_eq!(store.rows("statement_day").await, before);
    let books = imported(&store, &[&seed(1)]).await;
    assert_is_truth(&books, 1);
}

/// One id with two contents in one file: which of them stands does not depend on the file's order,
/// and sending the file again adds nothing.
async fn a_contradicting_row_is_settled_once(store: Store) {
    let bundle = Bundle::read(&seed(2));
    let mut doubled = bundle.clone();
    for (stem, column) in [
        ("payments", "amount_fen"),
        ("lessons", "lessons"),
        ("orders", "amount_fen"),
        ("bank_statements", "closing_fen"),
        ("accounts", "min_deposit_fen"),
    ] {
        let id = bundle.0[stem].1[5]
            .split(',')
            .next()
            .expect("an id")
            .to_owned();
        let other = bundle.revised(stem, &id, column, "7").0[stem].1[0].clone();
        doubled.0.get_mut(stem).expect("a file").1.insert(0, other);
    }
    let path = doubled.write(&store.dir, "doubled");
    let first = imported(&store, &[&path]).await.essence();
    let before = sizes(&store).await;
    let turned = doubled.shuffled(5).write(&store.dir, "turned");
    for (at, path) in [(2, &path), (3, &turned)] {
        store.import(at, &[path]).await;
        assert_eq!(sizes(&store).await, before, "import {at}");
    }
    assert_eq!(settled(&store).await.essence(), first);
}

/// Rows of the tables that only grow.
async fn sizes(store: &Store) -> [i64; 4] {
    [
        store.rows("posting").await,
        store.rows("contract").await,
        store.rows("statement_day").await,
        store.rows("account").await,
    ]
}
