//! Statement files against registered accounts: taken whole or not at all, once whatever their bytes.

use jintuo::base::DefectCode;
use jintuo::report::Wanted;

use crate::bundle::Bundle;
use crate::harness::{Store, day, fixture, on_both};
use crate::quarantine::registry;

on_both!(
    each_format_becomes_days_and_lines,
    the_same_statement_comes_once,
    conflicting_figures_are_disputed,
    a_file_is_taken_whole_or_not_at_all,
    a_statement_proves_what_is_held,
    an_archive_without_a_bundle_is_a_statement_file,
);

/// File, its account, statement days, lines booked: expected and pending lines are not.
const FILES: [(&str, &str, i64, i64); 3] = [
    (
        "wire/camt/booked_and_pending.xml",
        "6217000010001234567",
        3,
        3,
    ),
    (
        "wire/mt/gb18030_pages_and_reversals.sta",
        "371900000110001",
        1,
        5,
    ),
    (
        "wire/bank_csv/generic_newest_first.csv",
        "6217000010001234567",
        2,
        3,
    ),
];

async fn each_format_becomes_days_and_lines(store: Store) {
    for (name, account, days, lines) in FILES {
        let store = store.another().await;
        let known = registry(&[account]).write(&store.dir, "registry");
        store.import(1, &[&known]).await;
        let summary = store.import(2, &[&fixture(name)]).await;
        assert_eq!(summary.quarantined, [], "{name}");
        assert_eq!(store.rows("posting").await, lines, "{name}");
        assert!(store.rows("statement_day").await >= days, "{name}");
        assert_eq!(store.check().await, [], "{name}");
        // The same bytes again: a no-op.
        let stored = store.rows("statement_day").await;
        let again = store.import(3, &[&fixture(name)]).await;
        assert_eq!(again.files[0].outcome, "known", "{name}");
        assert_eq!(store.rows("posting").await, lines, "{name}");
        assert_eq!(store.rows("statement_day").await, stored, "{name}");
        assert_eq!(store.rows("raw_file").await, 1, "{name}");
        store.remove().await;
    }
}

fn camt() -> String {
    std::fs::read_to_string(fixture("wire/camt/booked_and_pending.xml")).expect("a fixture")
}

async fn with_camt(store: &Store) -> [i64; 2] {
    let known = registry(&["6217000010001234567"]).write(&store.dir, "registry");
    store.import(1, &[&known]).await;
    let file = store.dir.write("first.xml", camt());
    store.import(2, &[&file]).await;
    sizes(store).await
}

async fn sizes(store: &Store) -> [i64; 2] {
    [
        store.rows("posting").await,
        store.rows("statement_day").await,
    ]
}

async fn the_same_statement_comes_once(store: Store) {
    let before = with_camt(&store).await;
    // Other bytes, same figures: a re-export.
    let other = camt().replace("<MsgId>M-1</MsgId>", "<MsgId>M-2</MsgId>");
    let other = store.dir.write("other.xml", other.replace('\n', "\r\n"));
    let summary = store.import(3, &[&other]).await;
    assert_eq!(summary.quarantined, []);
    assert_eq!(sizes(&store).await, before);
    // Twice in one command, under two names.
    let third = store
        .dir
        .write("third.xml", format!("{}\n<!-- -->", camt()));
    let summary = store.import(4, &[&third, &other]).await;
    assert_eq!(summary.quarantined, []);
    assert_eq!(sizes(&store).await, before);
}

async fn conflicting_figures_are_disputed(store: Store) {
    let before = with_camt(&store).await;
    let conflicts = [
        // Other balances that prove themselves.
        camt()
            .replace("10000.00", "20000.00")
            .replace("14360.00", "24360.00"),
        // The same balances by other lines.
        camt()
            .replace(">4360.00<", ">4361.00<")
            .replace(
                "\"CNY\">1000.00</Amt><CdtDbtInd>DBIT",
                "\"CNY\">1001.00</Amt><CdtDbtInd>DBIT",
            )
            .replace("<Sum>6360.00", "<Sum>6361.00")
            .replace("<Sum>1000.00", "<Sum>1001.00"),
    ];
    for (at, text) in (3..).zip(conflicts) {
        // Another statement than the stored one; the same one would be a revision.
        let text = text.replace("<Id>2026-06-04</Id>", "<Id>another</Id>");
        let file = store.dir.write(&format!("conflict-{at}.xml"), text);
        let summary = store.import(at, &[&file]).await;
        let codes: Vec<DefectCode> = summary.quarantined.iter().map(|d| d.code).collect();
        assert!(
            codes.contains(&DefectCode::Conflict),
            "{:?}",
            summary.quarantined
        );
        assert_eq!(summary.files[0].outcome, "disputed");
        assert_eq!(sizes(&store).await, before);
    }
    assert_eq!(store.check().await, []);
}

async fn a_file_is_taken_whole_or_not_at_all(store: Store) {
    let known = registry(&["6217000010001234567"]).write(&store.dir, "registry");
    store.import(1, &[&known]).await;
    // A second statement in the same file, of an account nobody registered.
    let text = camt();
    let from = text.find("<Stmt>").expect("a statement");
    let to = text.find("</Stmt>").expect("its end") + "</Stmt>".len();
    let second = text[from..to].replace("6217000010001234567", "6217000010009999999");
    let both = format!("{}{second}{}", &text[..to], &text[to..]);
    let file = store.dir.write("both.xml", both);
    let summary = store.import(2, &[&file]).await;
    assert_eq!(summary.quarantined[0].code, DefectCode::UnknownAccount);
    assert_eq!(sizes(&store).await, [0, 0]);
    // Once the account is registered, the same bytes are taken.
    let more = registry(&["6217000010001234567", "6217000010009999999"]);
    store.import(3, &[&more.write(&store.dir, "more")]).await;
    let summary = store.import(4, &[&file]).await;
    assert_eq!(summary.quarantined, []);
    assert_eq!(store.rows("posting").await, 6);
    assert_eq!(store.check().await, []);
}

async fn a_statement_proves_what_is_held(store: Store) {
    with_camt(&store).await;
    let facts = Bundle::of(&[
        (
            "orders",
            "order_id,institution_id,student_id,ordered_on,lessons,unit_price_fen,amount_fen\n\
             O1,I1,S1,2026-06-01,10,100000,1000000\n",
        ),
        (
            "payments",
            "payment_id,order_id,institution_id,account_id,paid_on,channel,reference,amount_fen\n\
             P1,O1,I1,6217000010001234567,2026-06-02,TRANSFER,P-9,1000000\n",
        ),
    ]);
    store.import(3, &[&facts.write(&store.dir, "facts")]).await;
    store.reconcile(4, "2026-06-04", "workload").await;
    let wanted = Wanted {
        as_of: Some(day("2026-06-04")),
        ..Wanted::default()
    };
    let books = store.books(&wanted).await;
    let row = books.institutions.find("institution_id", "I1");
    // 14,360.00 at the bank covers 10,000.00 of lessons not given.
    assert_eq!(
        (row["held_fen"].as_str(), row["required_fen"].as_str()),
        ("1436000", "1000000")
    );
    let found = books.breaks.column("code");
    assert!(found.contains(&"UNAUTHORISED_DEBIT"), "{found:?}");
    assert!(found.contains(&"TIMING_GAP"), "{found:?}");
}

/// Its bytes are kept, and what is wrong with it is said: it is not passed over as an unknown bundle.
async fn an_archive_without_a_bundle_is_a_statement_file(store: Store) {
    let bills = crate::harness::fixture("wire/alipay/account_archive.zip");
    let summary = store.import(1, &[&bills]).await;
    let files: Vec<(&str, &str)> = (summary.files.iter())
        .map(|f| (f.kind.as_str(), f.outcome.as_str()))
        .collect();
    assert_eq!(files, [("statement", "quarantined")]);
    assert_eq!(summary.ignored, Vec::<String>::new());
    assert!(!summary.quarantined.is_empty());
    assert_eq!(store.rows("raw_file").await, 1);
    assert_eq!(store.check().await, []);
}
