//! `jintuo explain`: the fields compared and the candidates not taken, from outside.

use serde_json::Value;

use crate::bundle::Bundle;
use crate::harness::{Rows, Store, on_both};

on_both!(
    a_match_says_its_rule_and_what_was_compared,
    what_was_not_matched_says_why_each_candidate_was_not,
    lines_left_to_people_are_kept_with_their_candidates,
    a_finding_says_what_it_rests_on,
    an_account_is_proved_item_by_item,
);

fn bundle() -> Bundle {
    Bundle::of(&[
        ("districts", "district_id,name\nD1,示例区\n"),
        (
            "institutions",
            "institution_id,district_id,name\nI1,D1,示例机构\n",
        ),
        (
            "accounts",
            "account_id,institution_id,kind,min_deposit_fen,status\n\
             A1,I1,CUSTODY,0,filed\nA2,I1,CUSTODY,0,filed\n",
        ),
        (
            "orders",
            "order_id,institution_id,student_id,ordered_on,lessons,unit_price_fen,amount_fen\n\
             O1,I1,S1,2026-01-05,10,10000,100000\n",
        ),
        (
            "payments",
            "payment_id,order_id,institution_id,account_id,paid_on,channel,reference,amount_fen\n\
             P1,O1,I1,A1,2026-01-05,TRANSFER,R1,10000\n\
             P2,O1,I1,A1,2026-01-05,WECHAT,R2,20000\n\
             P3,O1,I1,A1,2026-01-05,POS,,3000\n\
             P4,O1,I1,A1,2026-01-06,POS,,3000\n\
             P5,O1,I1,A1,2026-01-07,POS,,500\n\
             P6,O1,I1,A1,2026-01-06,QR,,700\n",
        ),
        (
            "refunds",
            "refund_id,order_id,refunded_on,amount_fen\nF1,O1,2026-01-06,900\n",
        ),
        (
            "releases",
            "release_id,account_id,approved_on,amount_fen\n\
             REL1,A1,2026-01-06,700\nREL2,A1,2026-01-06,700\n",
        ),
        (
            "bank_statements",
            "account_id,date,opening_fen,closing_fen\n\
             A1,2026-01-05,0,10000\nA1,2026-01-06,10000,10000\nA1,2026-01-07,10000,32090\n\
             A2,2026-01-07,0,20000\n",
        ),
        (
            "bank_entries",
            "entry_id,account_id,booked_on,code,direction,amount_fen,reference,memo\n\
             E1,A1,2026-01-05,TRF,C,10000,R1,TRANSFER\n\
             E2,A2,2026-01-07,TRF,C,20000,R2,WECHAT\n\
             E3,A1,2026-01-07,TRF,C,20000,R9,TRANSFER\n\
             E4,A1,2026-01-07,STL,C,3500,,POS\n\
             E5,A1,2026-01-07,TRF,D,800,F1,\n\
             E6,A1,2026-01-07,STL,C,90,,QR\n\
             E9,A1,2026-01-07,TRF,D,700,REL1,\n",
        ),
    ])
}

async fn start(store: &Store) {
    let bundle = bundle().write(&store.dir, "bundle");
    let summary = store.import(1, &[&bundle]).await;
    assert_eq!(summary.quarantined, []);
    store.reconcile(2, "2026-01-07", "default").await;
}

fn explained(store: &Store, id: &str) -> Value {
    let ran = store.jintuo(&["explain", id, "--json"]);
    let value: Value = serde_json::from_slice(&ran.stdout).expect("one object");
    assert_eq!(value["schema"], "jintuo.explain/1");
    value["explanations"][0].clone()
}

/// Candidates with the reasons against each.
fn near(movement: &Value) -> Vec<(String, Vec<String>)> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
    (list(&movement["near"]).iter())
        .map(|n| {
            let why = list(&n["vetoes"]).iter().map(|v| text(&v["why"])).collect();
            (text(&n["candidate"]["id"]), why)
        })
        .collect()
}

async fn a_match_says_its_rule_and_what_was_compared(store: Store) {
    start(&store).await;
    for id in ["P1", "E1"] {
        let told = explained(&store, id);
        let movement = &told["movements"][0];
        assert_eq!(movement["outcome"], "settled");
        assert_eq!(movement["rule"]["rule"], "reference");
        assert_eq!(movement["rule"]["pack"], "standard-1");
        let compared = movement["compared"].to_string();
        assert_eq!(
            compared,
            r#"[["account","A1","A1"],["reference","R1","R1"],["amount","100.00","100.00"],["day","2026-01-05","2026-01-05"]]"#
        );
    }
    let text = store.jintuo(&["explain", "E1"]).ended(0).stdout;
    let text = String::from_utf8(text).expect("text");
    assert!(
        text.contains("by rule reference (reference) of pack standard-1"),
        "{text}"
    );
    let unknown = store.jintuo(&["explain", "E404"]).ended(1);
    assert!(unknown.stderr.contains("knows no bank line"));
}

async fn what_was_not_matched_says_why_each_candidate_was_not(store: Store) {
    start(&store).await;
    let of = |id: &str| near(&explained(&store, id)["movements"][0]);
    let list = |why: &[&str]| why.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    // Its reference stands on the institution's other account, its amount under another reference.
    assert_eq!(
        of("P2"),
        [
            ("E3".to_owned(), list(&["other_reference"])),
            ("E2".to_owned(), list(&["other_account"])),
        ]
    );
    let unmatched = of("E3");
    assert_eq!(unmatched[0], ("P2".to_owned(), list(&["other_reference"])));
    // A debit for less than the refund it names.
    let debit = explained(&store, "E5")["movements"][0].clone();
    assert_eq!(debit["outcome"], "unauthorised");
    assert_eq!(near(&debit), [("F1".to_owned(), list(&["other_amount"]))]);
    let refund = explained(&store, "F1")["movements"][0].clone();
    assert_eq!(refund["outcome"], "not_paid");
    assert_eq!(near(&refund), [("E5".to_owned(), list(&["other_amount"]))]);
    // One debit pays one of two equal releases; the other one sees by whom it is taken.
    assert_eq!(
        explained(&store, "E9")["movements"][0]["with"][0]["id"],
        "REL1"
    );
    assert_eq!(
        of("REL2"),
        [("E9".to_owned(), list(&["other_reference", "taken"]))]
    );
    // Nothing of 90 was reported by QR codes.
    assert_eq!(of("E6"), []);
}

async fn lines_left_to_people_are_kept_with_their_candidates(store: Store) {
    start(&store).await;
    // 35.00 is 5.00 and either of two payments of 30.00.
    let line = explained(&store, "E4")["movements"][0].clone();
    assert_eq!(line["outcome"], "unmatched");
    let candidates: Vec<String> = near(&line).into_iter().map(|(id, _)| id).collect();
    assert_eq!(candidates, ["P4", "P3", "P5"]);
    for (id, why) in near(&line) {
        assert!(why.contains(&"ambiguous".to_owned()), "{id}: {why:?}");
    }
    assert_eq!(store.rows("match_review").await, 3);
    let reviews = store
        .jintuo(&["report", "reviews", "--format", "csv"])
        .ended(0);
    let reviews = Rows::parse(&reviews.stdout);
    assert_eq!(reviews.column("payment_id"), ["P3", "P4", "P5"]);
    assert_eq!(reviews.find("payment_id", "P3")["doubt"], "ambiguous");
    assert_eq!(
        reviews.find("payment_id", "P3")["rule"],
        "standard-1/only-choice"
    );
    let matches = store
        .jintuo(&["report", "matches", "--format", "csv"])
        .ended(0);
    let matches = Rows::parse(&matches.stdout);
    assert_eq!(
        matches.find("entry_id", "E1")["rule"],
        "standard-1/reference"
    );
    // Once one of the two is known to be another line's, there is one choice.
    let more = Bundle::of(&[
        (
            "bank_statements",
            "account_id,date,opening_fen,closing_fen\nA1,2026-01-08,32090,35090\nA2,2026-01-08,20000,20000\n",
        ),
        (
            "bank_entries",
            "entry_id,account_id,booked_on,code,direction,amount_fen,reference,memo\n\
             E7,A1,2026-01-08,STL,C,3000,,POS\n",
        ),
    ]);
    let more = more.write(&store.dir, "more");
    store.import(60 * 24 * 4, &[&more]).await;
    store
        .reconcile(60 * 24 * 4 + 1, "2026-01-08", "default")
        .await;
    let line = explained(&store, "E4")["movements"][0].clone();
    assert_eq!(line["outcome"], "settled");
    assert_eq!(store.rows("match_review WHERE to_run > 1000").await, 0);
    assert_eq!(store.check().await, []);
}

async fn a_finding_says_what_it_rests_on(store: Store) {
    start(&store).await;
    let told = explained(&store, "UNAUTHORISED_DEBIT/E5");
    assert_eq!(told["findings"][0]["code"], "UNAUTHORISED_DEBIT");
    assert_eq!(told["findings"][0]["amount_fen"], 800);
    assert_eq!(told["movements"][0]["outcome"], "unauthorised");
    // By the subject alone, whatever findings there are.
    let both = explained(&store, "E3");
    assert_eq!(both["findings"][0]["code"], "UNMATCHED_CREDIT");
    assert_eq!(both["movements"][0]["outcome"], "unmatched");
}

async fn an_account_is_proved_item_by_item(store: Store) {
    start(&store).await;
    let proof = explained(&store, "A1")["proof"].clone();
    assert_eq!(
        (&proof["closing_fen"], &proof["unexplained_fen"]),
        (&32_090.into(), &0.into())
    );
    let items: Vec<(String, String, i64)> = (proof["items"].as_array().into_iter().flatten())
        .map(|i| {
            let text = |name: &str| i[name].as_str().unwrap_or_default().to_owned();
            (
                text("kind"),
                text("id"),
                i["amount_fen"].as_i64().expect("fen"),
            )
        })
        .collect();
    let item = |kind: &str, id: &str, fen: i64| (kind.to_owned(), id.to_owned(), fen);
    assert_eq!(
        items,
        [
            item("in_transit", "P2", 20_000),
            item("in_transit", "P3", 3_000),
            item("in_transit", "P4", 3_000),
            item("in_transit", "P6", 700),
            item("in_transit", "P5", 500),
            item("release_pending", "REL2", -700),
            item("refund_pending", "F1", -900),
            item("unidentified", "E3", 20_000),
            item("unidentified", "E4", 3_500),
            item("unidentified", "E6", 90),
            item("unauthorised", "E5", -800),
        ]
    );
    let report = store
        .jintuo(&["report", "proofs", "--format", "csv"])
        .ended(0);
    let report = Rows::parse(&report.stdout);
    let row = report.find("account_id", "A1");
    assert_eq!(row["contract_cash_fen"], "36300");
    assert_eq!(row["adjusted_bank_fen"], row["book_fen"]);
    assert_eq!(
        (row["unexplained_fen"].as_str(), row["items"].as_str()),
        ("0", "11")
    );
    let text = store.jintuo(&["explain", "A1"]).ended(0).stdout;
    let text = String::from_utf8(text).expect("text");
    assert!(text.contains("unexplained 0.00"), "{text}");
}
