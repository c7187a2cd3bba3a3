//! Versions of one statement in any order, statements that differ in words alone, and late lines that
//! nothing but their day tells apart.

use std::fmt::Write as _;

use jintuo::base::DefectCode;
use jintuo::intake;
use jintuo::report::Wanted;

use crate::harness::{Store, day, on_both};
use crate::small::small;

on_both!(
    an_original_after_its_correction_changes_nothing,
    a_correction_after_its_original_revises,
    other_references_under_another_number_are_told,
    late_lines_of_two_statements_stay_two,
);

/// A camt.053 statement of account A1 of a day in January 2026: number, hour it was made, opening in yuan,
/// lines (yuan in, reference, day they were booked).
fn camt(
    number: &str,
    (on, made): (u32, u32),
    opening: i64,
    lines: &[(i64, Option<&str>, u32)],
) -> String {
    let balance = |kind: &str, yuan: i64| {
        format!(
            "<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Amt Ccy=\"CNY\">{yuan}</Amt>\
             <CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-01-{on:02}</Dt></Dt></Bal>"
        )
    };
    let mut text = format!(
        "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\"><BkToCstmrStmt>\
         <GrpHdr><MsgId>M</MsgId><CreDtTm>2026-01-{on:02}T{made:02}:00:00+08:00</CreDtTm></GrpHdr>\
         <Stmt><Id>{number}</Id>\
         <FrToDt><FrDtTm>2026-01-{on:02}T00:00:00</FrDtTm><ToDtTm>2026-01-{on:02}T23:59:59</ToDtTm></FrToDt>\
         <Acct><Id><Othr><Id>A1</Id></Othr></Id><Ccy>CNY</Ccy></Acct>{}{}",
        balance("OPBD", opening),
        balance("CLBD", opening + lines.iter().map(|l| l.0).sum::<i64>()),
    );
    for (yuan, reference, booked) in lines {
        let reference = reference.map_or_else(String::new, |r| {
            format!(
                "<NtryDtls><TxDtls><Refs><EndToEndId>{r}</EndToEndId></Refs></TxDtls></NtryDtls>"
            )
        });
        write!(
            text,
            "<Ntry><Amt Ccy=\"CNY\">{yuan}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>\
             <BookgDt><Dt>2026-01-{booked:02}</Dt></BookgDt>{reference}</Ntry>"
        )
        .expect("writes to a string");
    }
    text + "</Stmt></BkToCstmrStmt></Document>"
}

async fn take(store: &Store, at: i64, text: &str) -> intake::Summary {
    let file = store.dir.write(&format!("file-{at}.xml"), text);
    let summary = store.import(at, &[&file]).await;
    assert_eq!(summary.quarantined, []);
    assert_eq!(summary.files[0].outcome, "used");
    summary
}

async fn held(store: &Store, as_of: &str) -> String {
    store.reconcile(60 * 24 * 30, as_of, "workload").await;
    let wanted = Wanted {
        as_of: Some(day(as_of)),
        ..Wanted::default()
    };
    let books = store.books(&wanted).await;
    books.institutions.find("institution_id", "I1")["held_fen"].clone()
}

const FIRST: [(i64, Option<&str>, u32); 2] = [(500, Some("X"), 8), (30, Some("Y"), 8)];
const MENDED: [(i64, Option<&str>, u32); 1] = [(400, Some("X"), 8)];

async fn an_original_after_its_correction_changes_nothing(store: Store) {
    let bundle = small().write(&store.dir, "small");
    store.import(1, &[&bundle]).await;
    take(&store, 2, &camt("9", (8, 20), 2000, &MENDED)).await;
    let (postings, days) = (
        store.rows("posting").await,
        store.rows("statement_day").await,
    );
    let late = take(&store, 3, &camt("9", (8, 18), 2000, &FIRST)).await;
    let told: Vec<&str> = late.defects.iter().map(|d| d.found.as_str()).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("2026-01-08: the bank made this statement before"),
        "{told:?}"
    );
    assert_eq!(store.rows("posting").await, postings);
    assert_eq!(store.rows("statement_day").await, days);
    assert_eq!(store.rows("raw_file").await, 2, "it is kept all the same");
    assert_eq!(held(&store, "2026-01-08").await, "240000");
    assert_eq!(store.check().await, []);
}

async fn a_correction_after_its_original_revises(store: Store) {
    let bundle = small().write(&store.dir, "small");
    store.import(1, &[&bundle]).await;
    take(&store, 2, &camt("9", (8, 18), 2000, &FIRST)).await;
    let mended = take(&store, 3, &camt("9", (8, 20), 2000, &MENDED)).await;
    assert_eq!(mended.defects, []);
    assert_eq!(held(&store, "2026-01-08").await, "240000");
    assert_eq!(store.check().await, []);
}

async fn other_references_under_another_number_are_told(store: Store) {
    let bundle = small().write(&store.dir, "small");
    store.import(1, &[&bundle]).await;
    let of = |reference| [(500, Some(reference), 8)];
    take(&store, 2, &camt("9", (8, 18), 2000, &of("X"))).await;
    // Made at the same hour: nothing says which one holds.
    let other = take(&store, 3, &camt("10", (8, 18), 2000, &of("W"))).await;
    let codes: Vec<DefectCode> = other.defects.iter().map(|d| d.code).collect();
    assert_eq!(codes, [DefectCode::Conflict]);
    assert_eq!(
        store
            .rows("posting WHERE kind = 5 AND reference = 'W' AND reverses IS NULL")
            .await,
        0
    );
    // Made later: its words hold.
    let later = take(&store, 4, &camt("11", (8, 19), 2000, &of("V"))).await;
    assert_eq!(later.defects, []);
    assert_eq!(
        store
            .rows("posting WHERE kind = 5 AND reference = 'V' AND reverses IS NULL")
            .await,
        1
    );
    assert_eq!(held(&store, "2026-01-08").await, "250000");
    assert_eq!(store.check().await, []);
}

async fn late_lines_of_two_statements_stay_two(store: Store) {
    let bundle = small().write(&store.dir, "small");
    store.import(1, &[&bundle]).await;
    // Two fees of one amount, without reference, entered on two days for one earlier day.
    take(&store, 2, &camt("9", (8, 18), 2000, &[(500, None, 7)])).await;
    take(&store, 3, &camt("10", (9, 18), 2500, &[(500, None, 7)])).await;
    assert_eq!(
        store
            .rows("posting WHERE kind = 5 AND amount_fen = 50000")
            .await,
        2
    );
    assert_eq!(held(&store, "2026-01-08").await, "250000");
    assert_eq!(held(&store, "2026-01-09").await, "300000");
    let ran = store.jintuo(&["feed", "status", "--as-of", "2026-01-09", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("one object");
    assert!(
        value["counts"]["disputed"].as_i64().unwrap_or(0) == 0,
        "{value}"
    );
    assert_eq!(store.check().await, []);
}
