//! U+0000 in a statement, and whatever else a database refuses: the file is named, and nothing waits for it.

use jintuo::base::DefectCode;
use jintuo::feed::deliveries::keep_delivery;
use jintuo::intake::{self, Options, Silent, TermsOfFeeds};

use crate::harness::{Store, on_both};
use crate::small::small;

on_both!(
    a_nul_in_a_statement_is_a_defect_of_the_file,
    a_delivery_the_database_refuses_holds_nobody_up,
    a_delivery_with_a_nul_holds_nobody_up,
    a_delivery_of_absurd_amounts_holds_nobody_up,
);

const MT940: &str = ":20:S\n:25:A1\n:28C:9/1\n:60F:C260107CNY2000,00\n\
                     :61:2601080108C500,NTRFXREF\n:86:memo\n:62F:C260108CNY2500,00\n-\n";
const EXPORT: &str = "账号,A1\n起止日期：2026-01-08 至 2026-01-08\n\n\
                      交易日期,借方发生额,贷方发生额,账户余额,对方户名,摘要,流水号\n\
                      20260108,,500.00,2500.00,,,XREF\n";
const REPLY: &str = r#"{"request":{"body":{"TRANSQUERYBYBREAKPOINT_X1":[{"cardNbr":"A1",
"beginDate":"20260108","endDate":"20260108"}]}},"response":{"head":{"funcode":"trsQryByBreakPoint",
"resultcode":"SUC0000"},"body":{"TRANSQUERYBYBREAKPOINT_Z1":[{"ctnFlag":"N","debitNums":"0",
"debitAmount":"0.00","creditNums":"1","creditAmount":"500.00"}],"TRANSQUERYBYBREAKPOINT_Z2":[
{"transDate":"20260108","transSequenceIdn":"XREF","loanCode":"C","transAmount":"500.00",
"currencyNbr":"10","remarkTextClt":"memo","acctOnlineBal":"2500.00"}]}}}"#;

fn camt(reference: &str) -> String {
    let balance = |kind: &str, yuan: i64| {
        format!(
            "<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Amt Ccy=\"CNY\">{yuan}</Amt>\
             <CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-01-08</Dt></Dt></Bal>"
        )
    };
    format!(
        "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\"><BkToCstmrStmt>\
         <GrpHdr><MsgId>M</MsgId><CreDtTm>2026-01-08T20:00:00+08:00</CreDtTm></GrpHdr>\
         <Stmt><Id>9</Id>\n<Acct><Id><Othr><Id>A1</Id></Othr></Id><Ccy>CNY</Ccy></Acct>{}{}\n\
         <Ntry><Amt Ccy=\"CNY\">500</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>\
         <BookgDt><Dt>2026-01-08</Dt></BookgDt><NtryDtls><TxDtls><Refs>\
         <EndToEndId>{reference}</EndToEndId></Refs></TxDtls></NtryDtls></Ntry>\
         </Stmt></BkToCstmrStmt></Document>",
        balance("OPBD", 2000),
        balance("CLBD", 2500),
    )
}

async fn a_nul_in_a_statement_is_a_defect_of_the_file(store: Store) {
    store
        .import(1, &[&small().write(&store.dir, "small")])
        .await;
    // Name, text, and the line and field named.
    let cases: [(&str, String, Option<u64>, Option<&str>); 10] = [
        ("reference.xml", camt("X\0F"), Some(3), None),
        (
            "number.xml",
            camt("X").replace("<Id>9", "<Id>9\0"),
            Some(1),
            None,
        ),
        (
            "account.xml",
            camt("X").replace("<Id>A1", "<Id>A1\0"),
            Some(2),
            None,
        ),
        ("escaped.xml", camt("X&#0;F"), None, None),
        ("cell.csv", EXPORT.replace("XREF", "X\0F"), Some(5), None),
        ("memo.sta", MT940.replace("memo", "me\0mo"), Some(6), None),
        ("number.sta", MT940.replace("9/1", "9\0/1"), Some(3), None),
        ("account.sta", MT940.replace("A1", "A\0"), Some(2), None),
        (
            "reply.json",
            REPLY.replace("XREF", "X\\u0000F"),
            Some(1),
            Some("bank_ref"),
        ),
        (
            "memo.json",
            REPLY.replace("memo", "me\\u0000mo"),
            Some(1),
            Some("memo"),
        ),
    ];
    for (name, text, line, field) in cases {
        assert!(
            text.contains('\0') || text.contains("u0000") || text.contains("#0;"),
            "{name}"
        );
        let file = store.dir.write(name, text);
        let summary = store.import(2, &[&file]).await;
        let defect = summary.quarantined.first().expect("a reason");
        assert_eq!(summary.files[0].outcome, "quarantined", "{name}: {defect}");
        if name != "escaped.xml" {
            let place = (
                defect.code,
                defect.place.line,
                defect.place.column.as_deref(),
            );
            assert_eq!(
                place,
                (DefectCode::Malformed, line, field),
                "{name}: {defect}"
            );
        }
    }
    let whole = ["whole.xml", "whole.sta", "whole.csv", "whole.json"];
    let padded = format!("{MT940}\0\0\0");
    for (name, text) in whole.iter().zip([&camt("XREF"), &padded, EXPORT, REPLY]) {
        let file = store.dir.write(name, text);
        let summary = store.import(3, &[&file]).await;
        assert_eq!(
            summary.files[0].outcome, "used",
            "{name}: {:?}",
            summary.quarantined
        );
    }
    assert_eq!(store.check().await, []);
}

/// Delivers a bad file and a good one behind it, looks six times, and gives the state of the bad one.
async fn looked_at_six_times(store: &Store, bad: &str) -> String {
    let db = store.open(2).await;
    let mut tx = db.begin_write().await.expect("a transaction");
    for (name, text) in [("bad.xml", bad), ("good.xml", &camt("GOOD"))] {
        let kept = keep_delivery(&mut tx, "feed", name, text.as_bytes()).await;
        kept.expect("a delivery");
    }
    tx.commit().await.expect("a commit");
    let mut said = Vec::new();
    for _ in 0..6 {
        let done = intake::take_deliveries(&db, &TermsOfFeeds::default(), &mut Silent).await;
        said.push(match done {
            Ok(Some(summary)) => format!("{:?}", summary.files),
            Ok(None) => "nothing".to_owned(),
            Err(e) => format!("{e:?}"),
        });
    }
    db.close().await;
    let good = store
        .rows("delivery WHERE name = 'good.xml' AND state = 'taken'")
        .await;
    assert_eq!(good, 1, "{said:#?}");
    for (state, what) in [
        (
            "quarantined",
            "delivery WHERE name = 'bad.xml' AND state = 'quarantined'",
        ),
        (
            "poison",
            "delivery WHERE name = 'bad.xml' AND state = 'poison'",
        ),
    ] {
        if store.rows(what).await == 1 {
            return state.to_owned();
        }
    }
    panic!("the bad one still waits: {said:#?}");
}

async fn a_delivery_with_a_nul_holds_nobody_up(store: Store) {
    store
        .import(1, &[&small().write(&store.dir, "small")])
        .await;
    assert_eq!(
        looked_at_six_times(&store, &camt("B\0D")).await,
        "quarantined"
    );
}

/// Has the database refuse every line whose reference is `BAD`.
pub(crate) async fn refuse_bad(store: &Store) {
    if store.is_postgres() {
        let hang = "ALTER TABLE posting ADD CONSTRAINT no_bad CHECK (reference <> 'BAD')";
        store.as_superuser(hang).await;
    } else {
        let db = store.open(2).await;
        let mut tx = db.begin_write().await.expect("a transaction");
        let hang = "CREATE TRIGGER no_bad BEFORE INSERT ON posting WHEN NEW.reference = 'BAD' \
                    BEGIN SELECT RAISE(ABORT, 'bad'); END";
        jintuo::on!(tx, c => sqlx::query(hang).execute(c).await.map(|_| ())).expect("a trigger");
        tx.commit().await.expect("a commit");
        db.close().await;
    }
}

async fn a_delivery_the_database_refuses_holds_nobody_up(store: Store) {
    store
        .import(1, &[&small().write(&store.dir, "small")])
        .await;
    refuse_bad(&store).await;
    assert_eq!(looked_at_six_times(&store, &camt("BAD")).await, "poison");
    let ended = intake::import(
        &store.open(9).await,
        &[small().write(&store.dir, "again")],
        &Options::default(),
        &mut Silent,
    )
    .await;
    assert!(ended.is_ok(), "{:?}", ended.err());
}

async fn a_delivery_of_absurd_amounts_holds_nobody_up(store: Store) {
    store
        .import(1, &[&small().write(&store.dir, "small")])
        .await;
    // Lines that cancel, each nearly as large as an amount can be.
    let lot = "90000000000000000";
    let lines: String = (["C", "D"].iter().cycle().zip(1..=6))
        .map(|(side, n)| format!(":61:2601090109{side}{lot},NTRFL{n}\n"))
        .collect();
    let text = format!(
        ":20:S\n:25:A1\n:28C:7/1\n:60F:C260108CNY2000,00\n{lines}:62F:C260109CNY2000,00\n-\n"
    );
    let state = looked_at_six_times(&store, &text).await;
    assert!(
        ["quarantined", "poison"].contains(&state.as_str()),
        "{state}"
    );
    assert_eq!(store.check().await, []);
}
