//! Versions of one statement in any order, statements that differ in words alone, and late lines that
//! nothing but their day tells apart.

use std::fmt::Write as _;

use jintuo::base::DefectCode;
use jintuo::intake;
use jintuo::report::Wanted;

use crate::harness::{Store, day, on_both};
use crate::statement_life::{mt940_page, start, state};

on_both!(
    an_original_after_its_correction_changes_nothing,
    a_correction_after_its_original_revises,
    other_references_under_another_number_are_told,
    late_lines_of_two_statements_stay_two,
    a_version_that_confirms_outdates_what_was_made_before_it,
    a_copy_that_differs_is_disputed,
    a_statement_proves_no_day_to_come,
    a_shorter_export_is_told_and_disputed_once_the_day_is_over,
    a_page_without_net_movement_is_missed,
    pages_of_two_statements_are_not_joined,
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
    start(&store).await;
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
    start(&store).await;
    take(&store, 2, &camt("9", (8, 18), 2000, &FIRST)).await;
    let mended = take(&store, 3, &camt("9", (8, 20), 2000, &MENDED)).await;
    assert_eq!(mended.defects, []);
    assert_eq!(held(&store, "2026-01-08").await, "240000");
    assert_eq!(store.check().await, []);
}

async fn other_references_under_another_number_are_told(store: Store) {
    start(&store).await;
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
    start(&store).await;
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

async fn a_version_that_confirms_outdates_what_was_made_before_it(store: Store) {
    // At 18:00 right, at 19:00 wrong, at 20:00 the wrong one is taken back.
    let versions = [
        camt("9", (8, 18), 2000, &FIRST),
        camt("9", (8, 19), 2000, &MENDED),
        camt("9", (8, 20), 2000, &FIRST),
    ];
    for order in [[0, 1, 2], [0, 2, 1], [2, 0, 1], [1, 2, 0]] {
        let store = store.another().await;
        start(&store).await;
        for (at, version) in (2..).zip(order) {
            take(&store, at, &versions[version]).await;
        }
        assert_eq!(held(&store, "2026-01-08").await, "253000", "{order:?}");
        assert_eq!(store.check().await, []);
        store.remove().await;
    }
}

async fn a_copy_that_differs_is_disputed(store: Store) {
    start(&store).await;
    take(&store, 2, &camt("9", (8, 18), 2000, &FIRST)).await;
    let copy = |lines: &[(i64, Option<&str>, u32)]| {
        let head = "<Stmt><Id>9</Id><CpyDplctInd>DUPL</CpyDplctInd>";
        camt("9", (8, 20), 2000, lines).replace("<Stmt><Id>9</Id>", head)
    };
    take(&store, 3, &copy(&FIRST)).await;
    assert_eq!(state(&store, "2026-01-08"), "proven");
    let file = store.dir.write("copy.xml", copy(&MENDED));
    let differs = store.import(4, &[&file]).await;
    assert_eq!(differs.files[0].outcome, "disputed");
    assert_eq!(state(&store, "2026-01-08"), "disputed");
}

async fn a_statement_proves_no_day_to_come(store: Store) {
    start(&store).await;
    // Made on the 8th, its head and its closing balance speak of the whole month.
    let month = |text: &str| {
        let text = text.replace("2026-01-08T23:59:59", "2026-01-31T23:59:59");
        let (before, closing) = text.split_once("<Cd>CLBD</Cd>").expect("a closing balance");
        let closing = closing.replacen("<Dt>2026-01-08</Dt>", "<Dt>2026-01-31</Dt>", 1);
        format!("{before}<Cd>CLBD</Cd>{closing}")
    };
    let early = take(&store, 2, &month(&camt("9", (8, 20), 2000, &FIRST))).await;
    let codes: Vec<DefectCode> = early.defects.iter().map(|d| d.code).collect();
    assert_eq!(codes, [DefectCode::BadDate], "{early:?}");
    assert_eq!(state(&store, "2026-01-08"), "proven");
    assert_eq!(store.rows("statement_day WHERE day > 20461").await, 0);
    // Money that moves on a day to come is no statement.
    let moves = month(&camt("10", (8, 20), 2530, &[(7, Some("F"), 20)]));
    let file = store.dir.write("moves.xml", moves);
    let refused = store.import(3, &[&file]).await;
    assert_eq!(refused.files[0].outcome, "quarantined");
}

async fn a_shorter_export_is_told_and_disputed_once_the_day_is_over(store: Store) {
    let export = |rows: &[(i64, i64, &str)]| {
        let mut text = "账号,A1\n起止日期：2026-01-08 至 2026-01-08\n\n\
             交易日期,借方发生额,贷方发生额,账户余额,对方户名,摘要,流水号\n"
            .to_owned();
        for (credit, balance, serial) in rows {
            writeln!(text, "20260108,,{credit}.00,{balance}.00,,,{serial}").expect("a text");
        }
        text
    };
    start(&store).await;
    take(&store, 2, &export(&[(500, 2500, "X"), (30, 2530, "Y")])).await;
    let shorter = export(&[(500, 2500, "X")]);
    // While the day lasts it may be an earlier export.
    let told = take(&store, 3, &shorter).await;
    assert_eq!(told.defects.len(), 1, "{told:?}");
    assert!(told.defects[0].found.contains("fewer lines"), "{told:?}");
    assert_eq!(state(&store, "2026-01-08"), "proven");
    // After it, the bank says otherwise than before; a person may take its word.
    let file = store.dir.write("later.csv", format!("{shorter}\n"));
    let later = store.import(60 * 24 * 20, &[&file]).await;
    assert_eq!(later.files[0].outcome, "disputed");
    assert_eq!(state(&store, "2026-01-08"), "disputed");
    let path = file.to_string_lossy();
    store.jintuo(&["import", "--supersede", &path]).ended(0);
    assert_eq!(state(&store, "2026-01-08"), "revised");
    assert_eq!(held(&store, "2026-01-08").await, "250000");
    assert_eq!(store.check().await, []);
}

async fn a_page_without_net_movement_is_missed(store: Store) {
    start(&store).await;
    let one = mt940_page("9/1", 8, ("F", 2000), &[(5, "X")], "M");
    let two = mt940_page("9/2", 8, ("M", 2005), &[(700, "IN"), (-700, "OUT")], "M");
    let three = mt940_page("9/3", 8, ("M", 2005), &[(5, "Z")], "F");
    for (at, text) in [(2, &one), (3, &three)] {
        let file = store.dir.write(&format!("page-{at}.sta"), text);
        assert_eq!(store.import(at, &[&file]).await.files[0].outcome, "waiting");
    }
    assert_eq!(state(&store, "2026-01-08"), "gap");
    take(&store, 4, &two).await;
    assert_eq!(state(&store, "2026-01-08"), "proven");
    assert_eq!(
        store
            .rows("posting WHERE kind = 5 AND amount_fen = 70000")
            .await,
        2
    );
    // The same in one file, in another order.
    let again = store.another().await;
    start(&again).await;
    take(&again, 2, &(one + &three + &two)).await;
    assert_eq!(
        again
            .rows("posting WHERE kind = 5 AND amount_fen = 70000")
            .await,
        2
    );
    again.remove().await;
}

async fn pages_of_two_statements_are_not_joined(store: Store) {
    start(&store).await;
    // Number 9 loses its second page and number 10 its first; both stand at 2,005.00 between them.
    let nine = mt940_page("9/1", 8, ("F", 2000), &[(5, "X")], "M");
    let ten = mt940_page("10/2", 9, ("M", 2005), &[(5, "Z")], "F");
    for (at, text) in [(2, &nine), (3, &ten)] {
        let file = store.dir.write(&format!("page-{at}.sta"), text);
        assert_eq!(store.import(at, &[&file]).await.files[0].outcome, "waiting");
    }
    assert_eq!(state(&store, "2026-01-08"), "gap");
    assert_eq!(state(&store, "2026-01-09"), "gap");
}
