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
    a_stray_quotation_mark_costs_its_own_row,
    what_is_too_long_is_refused_and_shown_cut,
    running_balances_that_do_not_link_refuse_a_bank_export,
    an_empty_statement_file_is_named_once,
    a_zip_with_a_folder_is_told_so,
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

const PAYMENTS: &str =
    "payment_id,order_id,institution_id,account_id,paid_on,channel,reference,amount_fen";

async fn a_stray_quotation_mark_costs_its_own_row(store: Store) {
    let parents = small().only(&["districts", "institutions", "accounts", "orders"]);
    store
        .import(1, &[&parents.write(&store.dir, "parents")])
        .await;
    let row =
        |id: &str, reference: &str| format!("{id},O1,I1,A1,2026-01-05,TRANSFER,{reference},100\n");
    let text = [
        format!("{PAYMENTS}\n"),
        row("P0", "\"R0"),
        row("P1", "R1"),
        row("P2", "R2"),
        row("P3", "R3\""),
        row("P4", "\"R4, a \"\"quoted\"\" one\""),
    ];
    let file = store.dir.write("stray/payments.csv", text.concat());
    let summary = store.import(2, &[&file]).await;
    let lines: Vec<_> = summary.quarantined.iter().map(|d| d.place.line).collect();
    assert_eq!(lines, [Some(2), Some(5)]);
    for defect in &summary.quarantined {
        assert_eq!(defect.code, DefectCode::Malformed);
        assert!(
            defect.found.contains("a quotation mark is missing"),
            "{defect}"
        );
    }
    assert_eq!(store.rows("posting").await, 3);
    // Nothing closes it: still one row, and no more of the file is kept.
    let mut text = format!("{PAYMENTS}\n{}", row("P5", "\"R5"));
    for number in 0..2_000 {
        text += &row(&format!("Q{number}"), "R");
    }
    let file = store.dir.write("unclosed/payments.csv", text);
    let summary = store.import(3, &[&file]).await;
    assert_eq!(
        (summary.files[0].new, summary.files[0].quarantined),
        (2_000, 1)
    );
    assert!(record_bytes_max(&store, 4).await < 100);
    assert_eq!(store.check().await, []);
}

async fn record_bytes_max(store: &Store, at: i64) -> i64 {
    let db = store.open(at).await;
    let mut tx = db.begin_read().await.expect("a transaction");
    let sql = "SELECT CAST(MAX(LENGTH(record)) AS BIGINT) FROM quarantine";
    let (longest,): (i64,) = jintuo::on!(tx, c => sqlx::query_as(sql).fetch_one(c).await)
        .expect("the quarantine can be read");
    tx.rollback().await.expect("a rollback");
    db.close().await;
    longest
}

async fn what_is_too_long_is_refused_and_shown_cut(store: Store) {
    store.import(1, &[&small().write(&store.dir, "base")]).await;
    let stored = store.rows("posting").await;
    let long = "长".repeat(200_000);
    let header = "entry_id,account_id,booked_on,code,direction,amount_fen,reference,memo";
    let rows = [
        format!("X1,A1,2026-01-05,TRF,C,1,R,{long}\n"),
        format!("X2,A1,2026-01-05,TRF,C,1,{},m\n", "R".repeat(257)),
        format!("X3,A1,2026-01-05,TRF,C,1,R,{}\n", long.repeat(2)),
        format!(
            "X4,A1,2026-01-05,TRF,C,1,{},{}\n",
            "R".repeat(256),
            "m".repeat(2_000)
        ),
    ];
    let text = format!("{header}\n{}", rows.concat());
    let file = store.dir.write("long/bank_entries.csv", text);
    let summary = store.import(2, &[&file]).await;
    let said: Vec<_> = (summary.quarantined.iter())
        .map(|d| (d.place.line, d.place.column.as_deref(), d.code))
        .collect();
    let expected = [
        (Some(2), Some("memo"), DefectCode::TooLarge),
        (Some(3), Some("reference"), DefectCode::TooLarge),
        (Some(4), None, DefectCode::Malformed),
    ];
    assert_eq!(said, expected);
    assert_eq!(store.rows("posting").await, stored + 1);
    assert!(record_bytes_max(&store, 3).await <= 4_200);
}

async fn running_balances_that_do_not_link_refuse_a_bank_export(store: Store) {
    store
        .import(1, &[&registry(&[]).write(&store.dir, "registry")])
        .await;
    let export = |rows: &str| {
        format!("账号,A1\n期初余额,0.00\n期末余额,1000.00\n日期,金额,余额,摘要\n{rows}")
    };
    for (at, rows) in [
        // Neither order; one row, and not the closing declared; not the opening declared.
        "2026-01-05,1000.00,7.00,a\n2026-01-05,500.00,9999.00,b\n2026-01-06,-500.00,3.00,c\n",
        "2026-01-05,1000.00,999.00,a\n",
        "2026-01-05,1000.00,1100.00,a\n2026-01-05,0.00,1100.00,a\n",
    ]
    .into_iter()
    .enumerate()
    {
        let file = store.dir.write(&format!("{at}.csv"), export(rows));
        let said = jintuo::wire::inspect("f", export(rows).as_bytes());
        assert_eq!(said[0].verdict, jintuo::wire::Verdict::Unbalanced, "{rows}");
        assert!(
            said[0]
                .defects
                .iter()
                .any(|d| d.code == DefectCode::OutOfOrder)
        );
        let at = i64::try_from(at).expect("a number") + 2;
        let summary = store.import(at, &[&file]).await;
        let codes: Vec<_> = summary.quarantined.iter().map(|d| d.code).collect();
        assert_eq!(codes, [DefectCode::OutOfOrder], "{rows}");
        assert_eq!(summary.files[0].outcome, "quarantined");
    }
    assert_eq!(store.rows("statement_day").await, 0);
    // A footer whose totals differ is remarked on, and the statement proves itself all the same.
    let remarked = "账号,A1\n期初余额,0.00\n期末余额,1000.00\n日期,收入,支出,余额,摘要\n\
                    2026-01-05,1000.00,,1000.00,a\n2026-01-05,500.00,,1500.00,b\n\
                    2026-01-06,,500.00,1000.00,c\n合计,9.00,500.00\n";
    let file = store.dir.write("remarked.csv", remarked);
    let summary = store.import(9, &[&file]).await;
    assert_eq!(summary.quarantined, []);
    let codes: Vec<_> = summary.defects.iter().map(|d| d.code).collect();
    assert_eq!(codes, [DefectCode::DeclaredTotals]);
}

async fn an_empty_statement_file_is_named_once(store: Store) {
    store
        .import(1, &[&registry(&[]).write(&store.dir, "registry")])
        .await;
    let file = store.dir.write("empty.csv", "");
    let summary = store.import(2, &[&file]).await;
    let codes: Vec<_> = summary.quarantined.iter().map(|d| d.code).collect();
    assert_eq!(codes, [DefectCode::Truncated]);
    assert_eq!(summary.files[0].outcome, "unreadable");
}

async fn a_zip_with_a_folder_is_told_so(store: Store) {
    use std::io::Write as _;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("bundle/districts.csv", options)
        .expect("an entry");
    zip.write_all(b"district_id,name\nD1,x\n")
        .expect("its bytes");
    let file = store
        .dir
        .write("wrapped.zip", zip.finish().expect("a zip").into_inner());
    let error = store.try_import(1, &[&file]).await.expect_err("refused");
    assert!(
        error
            .to_string()
            .contains("a bundle zip has no sub-folders"),
        "{error}"
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
