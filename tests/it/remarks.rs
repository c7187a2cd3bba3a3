//! What is kept and remarked is told where nobody sees the summary: with the delivery.

use jintuo::feed::deliveries::{Listed, keep_delivery, listed};
use jintuo::intake::{self, Silent, TermsOfFeeds};

use crate::harness::{Store, on_both};
use crate::small::small;

on_both!(
    a_remark_is_kept_with_its_delivery,
    remarks_of_a_file_are_bounded,
    an_original_that_comes_again_after_its_correction_is_remarked,
);

/// A statement of A1 that goes on from the small bundle.
fn mt940(lines: &[(i64, &str)]) -> String {
    let mut text = ":20:S\n:25:A1\n:28C:9/1\n:60F:C260107CNY2000,00\n".to_owned();
    let mut closing = 2000;
    for (yuan, reference) in lines {
        closing += yuan;
        text += &format!(":61:2601080108C{yuan},00NTRF{reference}\n");
    }
    text + &format!(":62F:C260108CNY{closing},00\n-\n")
}

/// The same as camt, made at an hour of the day.
fn camt(made: u32, lines: &[(i64, &str)]) -> String {
    let balance = |kind: &str, yuan: i64| {
        format!(
            "<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Amt Ccy=\"CNY\">{yuan}</Amt>\
             <CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-01-08</Dt></Dt></Bal>"
        )
    };
    let mut text = format!(
        "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\"><BkToCstmrStmt>\
         <GrpHdr><MsgId>M{made}</MsgId><CreDtTm>2026-01-08T{made}:00:00+08:00</CreDtTm></GrpHdr>\
         <Stmt><Id>9</Id><Acct><Id><Othr><Id>A1</Id></Othr></Id><Ccy>CNY</Ccy></Acct>{}{}",
        balance("OPBD", 2000),
        balance("CLBD", 2000 + lines.iter().map(|l| l.0).sum::<i64>()),
    );
    for (yuan, reference) in lines {
        text += &format!(
            "<Ntry><Amt Ccy=\"CNY\">{yuan}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>\
             <BookgDt><Dt>2026-01-08</Dt></BookgDt><NtryDtls><TxDtls><Refs>\
             <EndToEndId>{reference}</EndToEndId></Refs></TxDtls></NtryDtls></Ntry>"
        );
    }
    text + "</Stmt></BkToCstmrStmt></Document>"
}

/// Delivers files one after the other, each read alone, and gives what is kept of them.
async fn delivered(store: &Store, files: &[(&str, String)]) -> Vec<Listed> {
    store
        .import(1, &[&small().write(&store.dir, "small")])
        .await;
    for (at, (name, text)) in (2..).zip(files) {
        let db = store.open(at).await;
        let mut tx = db.begin_write().await.expect("a transaction");
        let kept = keep_delivery(&mut tx, "feed", name, text.as_bytes()).await;
        kept.expect("a delivery");
        tx.commit().await.expect("a commit");
        let taken = intake::take_deliveries(&db, &TermsOfFeeds::default(), &mut Silent).await;
        taken.expect("it works").expect("something to read");
        db.close().await;
    }
    let db = store.open(99).await;
    let mut tx = db.begin_read().await.expect("a transaction");
    let all = listed(&mut tx, true).await.expect("a list");
    tx.rollback().await.expect("a rollback");
    db.close().await;
    assert!(all.iter().all(|d| d.state == "taken"), "{all:?}");
    assert_eq!(store.check().await, []);
    all
}

async fn a_remark_is_kept_with_its_delivery(store: Store) {
    let newer = camt(20, &[(500, "X"), (30, "Y")]);
    let older = camt(18, &[(400, "X")]);
    let all = delivered(&store, &[("newer.xml", newer), ("older.xml", older)]).await;
    assert_eq!(all[0].note, "");
    let note = &all[1].note;
    assert!(
        note.starts_with("remarked: ") && note.contains("before the one that stands"),
        "{note}"
    );
    let ran = store.jintuo(&["feed", "deliveries", "--all"]);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(said.contains("before the one that stands"), "{said}");
}

async fn remarks_of_a_file_are_bounded(store: Store) {
    // A stray account behind a line is kept as its memo, and remarked.
    let stray = format!("{}:62F", ":25:nonsense\n".repeat(30));
    let text = mt940(&[(500, "X")]).replace(":62F", &stray);
    let all = delivered(&store, &[("odd.sta", text)]).await;
    let note = &all[0].note;
    assert!(note.ends_with("; and 27 more"), "{note}");
    assert!(note.chars().count() < 1_000, "{note}");
}

async fn an_original_that_comes_again_after_its_correction_is_remarked(store: Store) {
    let original = mt940(&[(500, "X"), (30, "Y")]);
    let correction = mt940(&[(400, "X")]);
    let all = delivered(
        &store,
        &[
            ("first.sta", original.clone()),
            ("again.sta", original.clone()),
            ("correction.sta", correction.clone()),
            ("correction-again.sta", correction),
            ("last.sta", original.clone()),
        ],
    )
    .await;
    let notes: Vec<&str> = all.iter().map(|d| d.note.as_str()).collect();
    assert_eq!(notes[..4], ["", "", "", ""]);
    assert!(
        notes[4].contains("corrected since") && notes[4].contains("--supersede"),
        "{notes:?}"
    );
    // Once a person has had them taken again, they stand.
    let file = store.dir.write("last.sta", original);
    let db = store.open(100).await;
    let options = intake::Options {
        supersede: true,
        ..intake::Options::default()
    };
    let done = intake::import(&db, std::slice::from_ref(&file), &options, &mut Silent).await;
    db.close().await;
    assert!(done.expect("it works").files[0].revised > 0);
    let again = store.import(101, &[&file]).await;
    assert_eq!(
        (again.files[0].outcome.as_str(), again.defects_total),
        ("known", 0)
    );
}
