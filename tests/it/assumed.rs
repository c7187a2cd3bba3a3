//! What a file leaves open and settings say: the account of a file that names none, the unit of amounts.

use jintuo::base::AmountUnit;
use jintuo::intake::{self, ImportError, Summary};
use jintuo::wire::Assumptions;

use crate::bundle::Bundle;
use crate::harness::{Store, fixture, on_both, on_sqlite};

on_both!(
    a_file_that_names_no_account_is_taken_for_the_one_that_is_given,
    amounts_are_counted_in_the_unit_that_is_given,
    pages_that_wait_are_read_as_they_were,
);

/// Accounts that nobody's file names, and the one that the CCB fixture names.
fn registry() -> Bundle {
    Bundle::of(&[
        ("districts", "district_id,name\nD1,示例区\n"),
        (
            "institutions",
            "institution_id,district_id,name\nI1,D1,示例机构\n",
        ),
        (
            "accounts",
            "account_id,institution_id,kind,min_deposit_fen,bank_code\nW1,I1,CUSTODY,0,WX\n\
             W2,I1,CUSTODY,0,WX\n41000000000000000001,I1,CUSTODY,0,CCB\n\
             0200000000000000001,I1,CUSTODY,0,ICBC\n",
        ),
    ])
}

fn given(account: Option<&str>, amount_unit: Option<AmountUnit>) -> Assumptions {
    Assumptions {
        account: account.map(str::to_owned),
        amount_unit,
    }
}

async fn take(
    store: &Store,
    path: &std::path::Path,
    assumed: &Assumptions,
    supersede: bool,
) -> Summary {
    let db = store.open(1).await;
    let options = intake::Options {
        assumed: assumed.clone(),
        supersede,
        ..intake::Options::default()
    };
    let inputs = [path.to_path_buf()];
    let summary = intake::import(&db, &inputs, &options, &mut intake::Silent).await;
    db.close().await;
    summary.expect("the import works")
}

/// Outcome and first reason of a one-file import.
fn said(summary: &Summary) -> (&str, String) {
    let reason = summary.quarantined.first().map(ToString::to_string);
    (&summary.files[0].outcome, reason.unwrap_or_default())
}

/// What files were filled with, as it is kept: account and unit.
async fn kept(store: &Store) -> Vec<(Option<String>, Option<String>)> {
    let db = store.open(1).await;
    let mut tx = db.begin_read().await.expect("a transaction");
    let rows = jintuo::on!(tx, c => sqlx::query_as(
            "SELECT assumed_account, assumed_unit FROM source_file \
             WHERE assumed_account IS NOT NULL OR assumed_unit IS NOT NULL ORDER BY source_no")
            .fetch_all(c).await)
    .expect("files can be read");
    tx.rollback().await.expect("a rollback");
    db.close().await;
    rows
}

async fn a_file_that_names_no_account_is_taken_for_the_one_that_is_given(store: Store) {
    store
        .import(0, &[&registry().write(&store.dir, "registry")])
        .await;
    let fund = fixture("wire/wechat/fund.csv");
    let (none, w1, w2) = (
        given(None, None),
        given(Some("W1"), None),
        given(Some("W2"), None),
    );
    let without = take(&store, &fund, &none, false).await;
    let (outcome, reason) = said(&without);
    assert_eq!(outcome, "quarantined");
    assert!(
        reason.contains("`account` of the feed") && reason.contains("--account"),
        "{reason}"
    );
    let early = take(&store, &fund, &given(Some("W9"), None), false).await;
    assert!(said(&early).1.contains("W9 is not registered"), "{early:?}");
    let first = take(&store, &fund, &w1, false).await;
    assert_eq!(said(&first), ("used", String::new()));
    assert_eq!(first.files[0].assumed, w1);
    let posted = store.rows("posting").await;
    assert_eq!((posted, store.rows("statement_day").await), (4, 1));
    // The same under the same settings is nothing new; under others it is not taken twice.
    assert_eq!(said(&take(&store, &fund, &w1, false).await).0, "known");
    assert_eq!(
        said(&take(&store, &fund, &none, false).await).0,
        "quarantined"
    );
    let other = take(&store, &fund, &w2, false).await;
    let (outcome, reason) = said(&other);
    assert_eq!(outcome, "quarantined");
    assert!(
        reason.contains("account W1") && reason.contains("account W2"),
        "{reason}"
    );
    // A file that names its account is not given another, and needs none.
    let ccb = fixture("wire/direct/ccb_6wy101.xml");
    let other = take(&store, &ccb, &w1, false).await;
    let (outcome, reason) = said(&other);
    assert_eq!(outcome, "quarantined");
    assert!(
        reason.contains("41000000000000000001") && reason.contains("W1"),
        "{reason}"
    );
    assert_eq!(store.rows("posting").await, posted);
    let own = given(Some("41000000000000000001"), None);
    let named = take(&store, &ccb, &own, false).await;
    assert_eq!(said(&named).0, "used");
    assert!(named.files[0].assumed.is_empty(), "the file says it itself");
    assert_eq!(said(&take(&store, &ccb, &none, false).await).0, "known");
    assert_eq!(kept(&store).await, [(Some("W1".to_owned()), None)]);
    assert_eq!(store.check().await, []);
}

async fn amounts_are_counted_in_the_unit_that_is_given(store: Store) {
    store
        .import(0, &[&registry().write(&store.dir, "registry")])
        .await;
    let icbc = fixture("wire/direct/icbc_qhisd.xml");
    let (yuan, fen) = (
        given(None, Some(AmountUnit::Yuan)),
        given(None, Some(AmountUnit::Fen)),
    );
    let without = take(&store, &icbc, &given(None, None), false).await;
    assert!(said(&without).1.contains("amount_unit"), "{without:?}");
    assert_eq!(said(&take(&store, &icbc, &yuan, false).await).0, "used");
    assert_eq!(said(&take(&store, &icbc, &yuan, false).await).0, "known");
    let other = take(&store, &icbc, &fen, false).await;
    let (outcome, reason) = said(&other);
    assert_eq!(outcome, "quarantined");
    assert!(
        reason.contains("in yuan") && reason.contains("in fen"),
        "{reason}"
    );
    let mended = take(&store, &icbc, &fen, true).await;
    assert_eq!(
        (said(&mended).0, mended.files[0].revised > 0),
        ("used", true)
    );
    assert_eq!(said(&take(&store, &icbc, &fen, false).await).0, "known");
    // A contract that names the unit is not overruled.
    let ccb = fixture("wire/direct/ccb_6wy101.xml");
    let refused = take(&store, &ccb, &fen, false).await;
    let reason = said(&refused).1;
    assert!(
        reason.contains("yuan by its contract") && reason.contains("fen"),
        "{reason}"
    );
    assert_eq!(said(&take(&store, &ccb, &yuan, false).await).0, "used");
    let unit = |unit: &str| (None, Some(unit.to_owned()));
    assert_eq!(kept(&store).await, [unit("yuan"), unit("fen")]);
    assert_eq!(store.check().await, []);
}

/// A page of a reply that does not name its account.
fn page(number: u32, row: u32, amount: &str, balance: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><TX><TX_CODE>6WY101</TX_CODE>\
         <RETURN_CODE>000000</RETURN_CODE><TX_INFO><CURR_COD>01</CURR_COD>\
         <TOTAL_PAGE>2</TOTAL_PAGE><PAGE>{number}</PAGE><TOTAL_RECORD>1</TOTAL_RECORD>\
         <DETAILLIST><DETAILINFO><TRANDATE>2026/06/05</TRANDATE><AMT>{amount}</AMT>\
         <AMT1>{balance}</AMT1><FLAG1>1</FLAG1><TRAN_FLOW>T{row}</TRAN_FLOW><DET_NO>{row}</DET_NO>\
         </DETAILINFO></DETAILLIST></TX_INFO></TX>"
    )
}

async fn pages_that_wait_are_read_as_they_were(store: Store) {
    store
        .import(0, &[&registry().write(&store.dir, "registry")])
        .await;
    let one = store.dir.write("one.xml", page(1, 1, "5.00", "105.00"));
    let two = store.dir.write("two.xml", page(2, 2, "7.00", "112.00"));
    let w1 = given(Some("W1"), None);
    assert_eq!(said(&take(&store, &two, &w1, false).await).0, "waiting");
    assert_eq!(store.rows("statement_day").await, 0);
    let first = take(&store, &one, &w1, false).await;
    assert_eq!(said(&first), ("used", String::new()));
    assert_eq!(store.rows("posting").await, 2);
    assert_eq!(store.rows("waiting_page").await, 0);
    assert_eq!(kept(&store).await.len(), 2);
    assert_eq!(store.check().await, []);
}

#[test]
fn commands_take_and_show_what_is_given() {
    on_sqlite(|store| async move {
        let registry = registry().write(&store.dir, "registry");
        let (bundle, fund) = (
            registry.display().to_string(),
            fixture("wire/wechat/fund.csv"),
        );
        let fund = fund.display().to_string();
        let both = store
            .jintuo(&["import", &bundle, &fund, "--account", "W1"])
            .ended(1);
        assert!(both.stderr.contains("give them apart"), "{}", both.stderr);
        store.jintuo(&["import", &bundle]).ended(0);
        let looked = store
            .jintuo(&["statement", "inspect", &fund, "--account", "W1"])
            .ended(0);
        assert!(looked.text().contains("account W1"), "{}", looked.text());
        assert!(
            looked.text().contains("not in the file"),
            "{}",
            looked.text()
        );
        let args = ["import", &fund, "--account", "W1", "--json"];
        let tried = store.jintuo(&[&args[..], &["--dry-run"]].concat()).ended(0);
        let object: serde_json::Value = serde_json::from_slice(&tried.stdout).expect("JSON");
        assert_eq!(object["statements"][0]["assumed"]["account"], "W1");
        let taken = store.jintuo(&args).ended(0);
        let object: serde_json::Value = serde_json::from_slice(&taken.stdout).expect("JSON");
        assert_eq!(object["files"][0]["assumed"]["account"], "W1");
        store
            .jintuo(&["import", &fund, "--amount-unit", "dollar"])
            .ended(2);
        let db = store.open(1).await;
        let options = intake::Options {
            assumed: given(Some("W1"), None),
            ..intake::Options::default()
        };
        let refused = intake::import(&db, &[registry], &options, &mut intake::Silent).await;
        assert!(
            matches!(refused, Err(ImportError::Refused(_))),
            "{refused:?}"
        );
        db.close().await;
    });
}
