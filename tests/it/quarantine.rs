//! Wrong files: named with place and remedy, kept, and nothing that was stored changes.

use std::path::Path;

use jintuo::base::DefectCode;

use crate::books::{self, AS_OF, seed};
use crate::bundle::Bundle;
use crate::harness::{Dir, Store, day, fixture, jintuo, on_both};
use crate::small::{self, small};

on_both!(
    a_wrong_row_is_named_and_changes_nothing,
    a_wrong_statement_file_is_named_and_changes_nothing,
    the_rest_of_the_file_is_used,
    exit_codes_are_those_of_the_contract,
);

/// File, its text, the place and code expected.
const WRONG_ROWS: [(&str, &str, u64, Option<&str>, &str); 8] = [
    (
        "payments",
        "payment_id,order_id,institution_id,account_id,paid_on,channel,reference,amount_fen\n\
         P1,O1,I1,A1,2026-01-05,TRANSFER,R1,9O000\n",
        2,
        Some("amount_fen"),
        "BAD_AMOUNT",
    ),
    (
        "payments",
        "payment_id,order_id,institution_id,account_id,paid_on,channel,reference,amount_fen\n\
         P1,O1,I1,A1,2026-13-05,TRANSFER,R1,90000\n",
        2,
        Some("paid_on"),
        "BAD_DATE",
    ),
    (
        "payments",
        "payment_id,order_id,institution_id,account_id,paid_on,channel,reference\n\
         P1,O1,I1,A1,2026-01-05,TRANSFER,R1\n",
        1,
        Some("amount_fen"),
        "MISSING_COLUMN",
    ),
    (
        "lessons",
        "consumption_id,order_id,consumed_on,lessons,amount_fen,state\n\
         L1,O1,2026-01-06,3,30000,maybe\n",
        2,
        Some("state"),
        "BAD_CODE",
    ),
    (
        "lessons",
        "consumption_id,order_id,consumed_on,lessons,amount_fen\nL1,O1,2026-01-06,-3,30000\n",
        2,
        Some("lessons"),
        "BAD_AMOUNT",
    ),
    (
        "bank_statements",
        "account_id,date,opening_fen,closing_fen\nA1,2026-01-06,100000,99999999999999999999\n",
        2,
        Some("closing_fen"),
        "BAD_AMOUNT",
    ),
    (
        "bank_entries",
        "entry_id,account_id,booked_on,code,direction,amount_fen,reference,memo\n\
         E1,A1,2026-01-05,TRF,X,1,R1,TRANSFER\n",
        2,
        Some("direction"),
        "BAD_CODE",
    ),
    (
        "orders",
        "order_id,institution_id,student_id,ordered_on,lessons,unit_price_fen,amount_fen\n\
         O1,I1,S1,2026-01-05,10\n",
        2,
        None,
        "MALFORMED",
    ),
];

async fn a_wrong_row_is_named_and_changes_nothing(store: Store) {
    store.import(1, &[&small().write(&store.dir, "base")]).await;
    store.reconcile(1, small::AS_OF, "workload").await;
    let wanted = jintuo::report::Wanted {
        as_of: Some(day(small::AS_OF)),
        ..Default::default()
    };
    let before = store.books(&wanted).await;
    let stored = store.rows("posting").await;
    for (at, (stem, text, line, column, code)) in (2..).zip(WRONG_ROWS) {
        let file = store.dir.write(&format!("wrong-{at}/{stem}.csv"), text);
        let folder = file.parent().expect("a folder");
        let summary = store.import(at, &[folder]).await;
        let defect = summary.quarantined.first().expect("a named defect");
        assert_eq!(summary.quarantined.len(), 1, "{text}");
        assert_eq!(defect.code.as_str(), code, "{text}");
        assert_eq!(defect.place.file, format!("{stem}.csv"));
        assert_eq!(defect.place.line, Some(line), "{text}");
        assert_eq!(defect.place.column.as_deref(), column, "{text}");
        let said = defect.to_string();
        assert!(said.contains(defect.code.advice()), "no remedy in {said}");
        store.reconcile(at, small::AS_OF, "workload").await;
        let after = store.books(&wanted).await;
        assert_eq!(after.essence(), before.clone().essence(), "{text}");
        assert_eq!(store.rows("posting").await, stored);
        assert_eq!(store.rows("quarantine").await, at - 1, "{text}");
        // The same wrong file again is the same wrong row, kept once.
        store.import(at, &[folder]).await;
        assert_eq!(store.rows("quarantine").await, at - 1, "{text}");
    }
    assert_eq!(store.check().await, []);
}

/// A registry in which every account of the wire fixtures is known.
pub(crate) fn registry(accounts: &[&str]) -> Bundle {
    let mut bundle = small().only(&["districts", "institutions", "accounts"]);
    let file = bundle.0.get_mut("accounts").expect("a file");
    for account in accounts {
        file.1.push(format!("{account},I1,CUSTODY,0"));
    }
    bundle
}

async fn a_wrong_statement_file_is_named_and_changes_nothing(store: Store) {
    let known = registry(&["6217000010001234567"]).write(&store.dir, "registry");
    store.import(1, &[&known]).await;
    let good = "fixtures/wire/camt/booked_and_pending.xml";
    let xml = std::fs::read_to_string(fixture("wire/camt/booked_and_pending.xml"))
        .unwrap_or_else(|e| panic!("{good}: {e}"));
    let cut: String = xml.chars().take(xml.chars().count() / 2).collect();
    let half = std::fs::read(fixture("wire/bank_csv/half_a_character.csv")).expect("a fixture");
    let wrong: [(&str, Vec<u8>, DefectCode); 4] = [
        ("cut.xml", cut.into_bytes(), DefectCode::Truncated),
        (
            "unbalanced.xml",
            xml.replace("14360.00", "14361.00").into_bytes(),
            DefectCode::Unbalanced,
        ),
        (
            "unknown.xml",
            xml.replace("6217000010001234567", "6217000010001234999")
                .into_bytes(),
            DefectCode::UnknownAccount,
        ),
        ("half.csv", half, DefectCode::BadEncoding),
    ];
    for (at, (name, bytes, code)) in (2..).zip(wrong) {
        let file = store.dir.write(name, bytes);
        let summary = store.import(at, &[&file]).await;
        let codes: Vec<&str> = summary
            .quarantined
            .iter()
            .map(|d| d.code.as_str())
            .collect();
        assert!(codes.contains(&code.as_str()), "{name}: {codes:?}");
        assert_eq!(summary.quarantined[0].place.file, name);
        assert_eq!(summary.files[0].outcome, "quarantined", "{name}");
        assert_eq!(store.rows("statement_day").await, 0, "{name}");
        assert_eq!(store.rows("posting").await, 0, "{name}");
        assert_eq!(
            store.rows("raw_file").await,
            at - 1,
            "{name}: its bytes are kept"
        );
    }
}

async fn the_rest_of_the_file_is_used(store: Store) {
    let mut bundle = Bundle::read(&seed(2));
    for (_, rows) in bundle.0.values_mut() {
        let columns = rows[0].split(',').count();
        rows.insert(1, vec!["?"; columns + 1].join(","));
    }
    let books = books::imported(&store, &[&bundle.write(&store.dir, "holes")]).await;
    books::assert_is_truth(&books, 2);
    assert_eq!(
        usize::try_from(store.rows("quarantine").await).expect("a count"),
        bundle.0.len()
    );
}

async fn exit_codes_are_those_of_the_contract(store: Store) {
    let text = |path: &Path| path.display().to_string();
    let wrong = store.dir.write("wrong/payments.csv", WRONG_ROWS[0].1);
    let wrong = text(wrong.parent().expect("a folder"));
    store.jintuo(&["report", "districts"]).ended(1);
    store.jintuo(&["reconcile", "--as-of", AS_OF]).ended(1);
    store.jintuo(&["import", "/nowhere/at/all"]).ended(1);
    let broken = store.dir.write("broken.zip", b"PK\x03\x04 and no more");
    store.jintuo(&["import", &text(&broken)]).ended(1);
    let ran = store.jintuo(&["import", &wrong]).ended(0);
    for word in ["payments.csv", "amount_fen", "9O000", "quarantined"] {
        assert!(ran.stderr.contains(word), "{word} in {}", ran.stderr);
    }
    store
        .jintuo(&["import", &text(&small().write(&store.dir, "base"))])
        .ended(0);
    let reconcile = ["reconcile", "--policy", "workload", "--as-of"];
    store
        .jintuo(&[&reconcile[..], &[small::AS_OF]].concat())
        .ended(0);
    // A day nobody has sent yet outranks a red flag; a debit nobody approved is one.
    let debit = Bundle::of(&[
        (
            "bank_statements",
            "account_id,date,opening_fen,closing_fen\nA1,2026-01-08,200000,199999\n",
        ),
        (
            "bank_entries",
            "entry_id,account_id,booked_on,code,direction,amount_fen,reference,memo\n\
             E9,A1,2026-01-08,DBT,D,1,X,?\n",
        ),
    ]);
    store
        .jintuo(&["import", &text(&debit.write(&store.dir, "debit"))])
        .ended(0);
    store
        .jintuo(&[&reconcile[..], &["2026-01-08"]].concat())
        .ended(3);
    store
        .jintuo(&["reconcile", "--as-of", "2026-01-12"])
        .ended(4);
    store
        .jintuo(&["report", "breaks", "--as-of", "2026-01-08"])
        .ended(0);
    store.jintuo(&["report", "nonsense"]).ended(2);
    store.jintuo(&["reconcile"]).ended(2);
    store
        .jintuo(&["reconcile", "--as-of", "yesterday"])
        .ended(2);
    store.jintuo(&["check"]).ended(0);
}

#[test]
fn inspection_stores_nothing_and_ends_with_0_whatever_it_finds() {
    let dir = Dir::new();
    for name in [
        "wire/camt/booked_and_pending.xml",
        "wire/hostile/cut_mid_element.xml",
        "wire/bank_csv/half_a_character.csv",
    ] {
        let path = fixture(name).display().to_string();
        let db = format!("sqlite:{}", dir.path().join("no.db").display());
        let ran = jintuo(&["--db", &db, "statement", "inspect", &path, "--json"]).ended(0);
        let json: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("one object");
        assert_eq!(json["schema"], "jintuo.statement/1");
        assert_eq!(
            json["statements"].as_array().map(Vec::len),
            Some(1),
            "{name}"
        );
        assert!(!dir.path().join("no.db").exists(), "{name}");
    }
}
