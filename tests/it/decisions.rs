//! Decisions of people, from outside: proposed, approved by another, applied, expired, lapsed, undone.

use jintuo::base::{FlagCode, Money};
use jintuo::decision::store::append_event;
use jintuo::decision::{Decision, DecisionId, Said, Step};
use jintuo::intake::ImportError;
use jintuo::intake::decisions::{self, Listed, Members, NamedFinding, Proposal, Standing, What};
use jintuo::report::{self, Wanted};
use jintuo::run;
use serde_json::Value;

use crate::bundle::Bundle;
use crate::harness::{Books, Rows, Store, day, minute, on_both};

on_both!(
    a_match_holds_from_its_approval_until_it_is_undone,
    a_revision_of_a_member_ends_a_match,
    an_unmatch_keeps_two_apart,
    a_waiver_covers_up_to_its_last_day,
    a_write_off_ends_where_the_amount_grows,
    two_people_decide,
    a_line_is_claimed_once,
    what_does_not_fit_is_refused_with_what_to_do,
    the_terminal_tells_all_of_it,
    a_check_tells_what_no_command_writes,
);

const AS_OF: &str = "2026-01-09";

fn bundle() -> Bundle {
    Bundle::of(&[
        ("districts", "district_id,name\nD1,示例区\n"),
        (
            "institutions",
            "institution_id,district_id,name\nI1,D1,示例机构\nI2,D1,另一机构\n",
        ),
        (
            "accounts",
            "account_id,institution_id,kind,min_deposit_fen,status\n\
             A1,I1,CUSTODY,0,filed\nA2,I1,CUSTODY,0,filed\nA3,I1,SETTLEMENT,0,filed\n\
             B1,I2,CUSTODY,0,filed\n",
        ),
        (
            "orders",
            "order_id,institution_id,student_id,ordered_on,lessons,unit_price_fen,amount_fen\n\
             O1,I1,S1,2026-01-05,10,10000,100000\nO2,I2,S2,2026-01-05,10,10000,100000\n",
        ),
        (
            "payments",
            "payment_id,order_id,institution_id,account_id,paid_on,channel,reference,amount_fen\n\
             P1,O1,I1,A1,2026-01-05,TRANSFER,R1,10000\n\
             P2,O1,I1,A1,2026-01-05,TRANSFER,R2,20000\n\
             P3,O1,I1,A1,2026-01-05,TRANSFER,R3,5000\n\
             P4,O1,I1,A1,2026-01-05,TRANSFER,R4,20000\n\
             Q1,O2,I2,B1,2026-01-05,TRANSFER,R1,10000\n",
        ),
        (
            "bank_statements",
            "account_id,date,opening_fen,closing_fen\n\
             A1,2026-01-05,0,10000\nA1,2026-01-06,10000,33700\nA2,2026-01-06,0,700\n\
             B1,2026-01-05,0,0\n",
        ),
        (
            "bank_entries",
            "entry_id,account_id,booked_on,code,direction,amount_fen,reference,memo\n\
             E1,A1,2026-01-05,TRF,C,10000,R1,TRANSFER\n\
             E2,A1,2026-01-06,TRF,C,20000,R9,TRANSFER\n\
             E3,A1,2026-01-06,TRF,C,4500,R3,TRANSFER\n\
             E5,A1,2026-01-06,TRF,D,800,X,\n\
             E6,A2,2026-01-06,TRF,C,700,,\n",
        ),
    ])
}

/// Imported at minute 0 and reconciled at minute 1.
async fn start(store: &Store) {
    let folder = bundle().write(&store.dir, "bundle");
    store.import(0, &[&folder]).await;
    store.reconcile(1, AS_OF, "default").await;
}

fn members(payments: &[&str], lines: &[&str]) -> Members {
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    Members {
        payments: owned(payments),
        lines: owned(lines),
    }
}

fn matching(payments: &[&str], lines: &[&str], difference: i64) -> What {
    What::Match {
        members: members(payments, lines),
        difference: Money::from_fen(difference),
    }
}

fn finding(code: FlagCode, subject: &str) -> NamedFinding {
    NamedFinding {
        code,
        subject: subject.to_owned(),
        date: None,
    }
}

fn proposal(what: What, expires: Option<&str>) -> Proposal {
    Proposal {
        what,
        institution: None,
        expires: expires.map(day),
        reason: "the bank was asked".to_owned(),
        by: "Li Na".to_owned(),
    }
}

async fn try_propose(store: &Store, at: i64, proposal: &Proposal) -> Result<Decision, ImportError> {
    let db = store.open(at).await;
    let proposed = decisions::propose(&db, proposal).await;
    db.close().await;
    proposed
}

async fn propose(store: &Store, at: i64, what: What, expires: Option<&str>) -> DecisionId {
    let proposed = try_propose(store, at, &proposal(what, expires)).await;
    proposed.expect("it is proposed").id
}

async fn try_say(
    store: &Store,
    at: i64,
    id: DecisionId,
    step: Step,
    by: &str,
) -> Result<Decision, ImportError> {
    let db = store.open(at).await;
    let said = decisions::say(&db, id, step, (by, "looked at")).await;
    db.close().await;
    said
}

/// Proposes, and has another person approve it two minutes later.
async fn decide(store: &Store, at: i64, what: What, expires: Option<&str>) -> DecisionId {
    let id = propose(store, at, what, expires).await;
    let approved = try_say(store, at + 2, id, Step::Approved, "Zhao").await;
    approved.expect("it is approved");
    id
}

fn why<T: std::fmt::Debug>(refused: Result<T, ImportError>) -> String {
    match refused {
        Err(ImportError::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

async fn refused(store: &Store, what: What) -> String {
    why(try_propose(store, 9_000, &proposal(what, None)).await)
}

async fn listed(store: &Store, at: i64) -> Vec<Listed> {
    let db = store.open(at).await;
    let mut tx = db.begin_read().await.expect("a transaction");
    let listed = decisions::list(&mut tx, db.clock(), true)
        .await
        .expect("decisions are listed");
    tx.rollback().await.expect("a rollback");
    db.close().await;
    listed
}

async fn waived(store: &Store) -> Rows {
    let db = store.open(0).await;
    let mut tx = db.begin_read().await.expect("a transaction");
    let run = report::find_run(&mut tx, &Wanted::default()).await;
    let run = run.expect("runs can be read").expect("there is a run");
    let table = report::waived(&mut tx, &run).await.expect("a report");
    let mut bytes = Vec::new();
    table
        .write(report::Form::Csv, &run.head, &mut bytes)
        .expect("a report is written");
    tx.rollback().await.expect("a rollback");
    db.close().await;
    Rows::parse(&bytes)
}

async fn books(store: &Store) -> Books {
    store.books(&Wanted::default()).await
}

fn has(books: &Books, code: &str, subject: &str) -> bool {
    let rows = books.breaks.0.iter();
    rows.into_iter()
        .any(|r| r["code"] == code && r["subject"] == subject)
}

/// Reconciles at a minute what was known at another.
async fn known_at(store: &Store, at: i64, known: i64) -> Books {
    let db = store.open(at).await;
    let options = run::Options {
        threads: None,
        as_of: day(AS_OF),
        known_at: Some(minute(known)),
        policy: "default".to_owned(),
        district: None,
    };
    run::day(&db, &options, &mut run::Silent)
        .await
        .expect("the run works");
    db.close().await;
    let wanted = Wanted {
        known_at: Some(minute(known)),
        ..Wanted::default()
    };
    store.books(&wanted).await
}

fn explained(store: &Store, id: &str) -> Value {
    let ran = store.jintuo(&["explain", id, "--json"]).ended(0);
    let all: Value = serde_json::from_slice(&ran.stdout).expect("json");
    all["explanations"][0].clone()
}

async fn a_match_holds_from_its_approval_until_it_is_undone(store: Store) {
    start(&store).await;
    let before = books(&store).await;
    assert!(has(&before, "UNMATCHED_CREDIT", "E2"));
    assert!(has(&before, "TRANSIT_OVERDUE", "P2"));
    let id = propose(&store, 2, matching(&["P2"], &["E2"], 0), None).await;
    assert_eq!(id.to_string(), "D1.1");
    store.reconcile(3, AS_OF, "default").await;
    assert_eq!(books(&store).await, before, "a proposal changes nothing");
    try_say(&store, 5, id, Step::Approved, "Zhao")
        .await
        .expect("approved");
    store.reconcile(6, AS_OF, "default").await;
    let after = books(&store).await;
    assert!(!has(&after, "UNMATCHED_CREDIT", "E2"));
    assert!(!has(&after, "TRANSIT_OVERDUE", "P2"));
    let row = after.matches.find("entry_id", "E2");
    assert_eq!(
        (row["decision"].as_str(), row["rule"].as_str()),
        ("D1.1", "")
    );
    assert_eq!(after.matches.find("entry_id", "E1")["decision"], "");
    // Money whose payment is known counts as held; what is required is what it was.
    let of = |b: &Books, column: &str| b.institutions.find("institution_id", "I1")[column].clone();
    assert_eq!(of(&after, "required_fen"), of(&before, "required_fen"));
    assert_eq!(
        (of(&before, "held_fen"), of(&after, "held_fen")),
        ("13700".into(), "33700".into())
    );
    let movement = explained(&store, "P2")["movements"][0].clone();
    assert_eq!(movement["outcome"], "settled");
    assert_eq!(movement["rule"], Value::Null);
    assert_eq!(movement["decision"]["by"], "Li Na");
    assert_eq!(movement["decision"]["approved_by"], "Zhao");
    let text = store.jintuo(&["explain", "E2"]).ended(0).text();
    let said = "by decision D1.1 of Li Na, approved by Zhao: the bank was asked";
    assert!(text.contains(said), "{text}");
    // What was known before the approval says what it said.
    assert_eq!(known_at(&store, 7, 4).await, before);
    assert_eq!(known_at(&store, 8, 6).await, after);
    try_say(&store, 9, id, Step::Undone, "Li Na")
        .await
        .expect("one person undoes");
    store.reconcile(10, AS_OF, "default").await;
    assert_eq!(books(&store).await, before);
    let again = why(try_say(&store, 11, id, Step::Undone, "Zhao").await);
    assert!(again.contains("was undone by Li Na"), "{again}");
    assert_eq!(store.check().await, []);
}

async fn a_revision_of_a_member_ends_a_match(store: Store) {
    start(&store).await;
    let id = decide(&store, 2, matching(&["P2"], &["E2"], 0), None).await;
    let revised = bundle().revised("payments", "P2", "amount_fen", "21000");
    let folder = revised.write(&store.dir, "revised");
    store.import(10, &[&folder]).await;
    store.reconcile(11, AS_OF, "default").await;
    let lapsed = books(&store).await;
    assert!(has(&lapsed, "UNMATCHED_CREDIT", "E2"));
    assert!(has(&lapsed, "TRANSIT_OVERDUE", "P2"));
    let list = listed(&store, 12).await;
    assert_eq!(list[0].standing, Standing::Lapsed);
    assert_eq!(list[0].note, "P2 is 210.00 now, and was 200.00");
    // The revision is revised back: the decision fits again.
    let back = bundle().revised("payments", "P2", "amount_fen", "20000");
    let folder = back.write(&store.dir, "back");
    store.import(20, &[&folder]).await;
    store.reconcile(21, AS_OF, "default").await;
    let row = books(&store).await;
    assert_eq!(
        row.matches.find("entry_id", "E2")["decision"],
        id.to_string()
    );
    assert_eq!(listed(&store, 22).await[0].standing, Standing::InForce);
    assert_eq!(store.check().await, []);
}

async fn an_unmatch_keeps_two_apart(store: Store) {
    start(&store).await;
    let first = refused(&store, matching(&["P1"], &["E2"], 10_000)).await;
    assert!(
        first.contains("jintuo decide unmatch --payment P1 --line A1/E1"),
        "{first}"
    );
    let apart = What::Unmatch(members(&["P1"], &["A1/E1"]));
    decide(&store, 2, apart.clone(), Some("2026-01-12")).await;
    store.reconcile(5, AS_OF, "default").await;
    let after = books(&store).await;
    assert!(has(&after, "UNMATCHED_CREDIT", "E1"));
    assert!(has(&after, "TRANSIT_OVERDUE", "P1"));
    let near = explained(&store, "P1")["movements"][0]["near"].clone();
    assert_eq!(near[0]["candidate"]["id"], "E1");
    assert_eq!(near[0]["vetoes"][0]["why"], "decided_otherwise");
    assert_eq!(near[0]["vetoes"][0]["decision"], "D1.1");
    let again = refused(&store, apart).await;
    assert_eq!(again, "D1.1 keeps them apart already");
    let against = refused(&store, matching(&["P1"], &["E1"], 0)).await;
    assert!(against.contains("jintuo decide undo D1.1"), "{against}");
    // It is over after its last day.
    store.reconcile(9_001, "2026-01-12", "default").await;
    assert!(has(&books(&store).await, "UNMATCHED_CREDIT", "E1"));
    store.reconcile(9_002, "2026-01-13", "default").await;
    assert!(!has(&books(&store).await, "UNMATCHED_CREDIT", "E1"));
}

async fn a_waiver_covers_up_to_its_last_day(store: Store) {
    start(&store).await;
    let before = books(&store).await;
    let debit = || finding(FlagCode::UnauthorisedDebit, "E5");
    let endless = refused(&store, What::Waive(debit())).await;
    assert!(endless.contains("--expires"), "{endless}");
    let long = proposal(What::Waive(debit()), Some("2026-04-08"));
    let long = why(try_propose(&store, 2, &long).await);
    assert!(
        long.contains("92 days") && long.contains("2026-04-07"),
        "{long}"
    );
    let past = proposal(What::Waive(debit()), Some("2026-01-04"));
    let past = why(try_propose(&store, 2, &past).await);
    assert!(past.contains("is over"), "{past}");
    let red = refused(&store, What::WriteOff(debit())).await;
    assert!(red.contains("waived for a time"), "{red}");

    decide(&store, 2, What::Waive(debit()), Some("2026-01-12")).await;
    let summary = store.reconcile(5, AS_OF, "default").await;
    let after = books(&store).await;
    assert!(!has(&after, "UNAUTHORISED_DEBIT", "E5"));
    assert_eq!(summary.waived, 1);
    assert_eq!(after.institutions, before.institutions);
    let red = |b: &Books| b.districts.find("district_id", "D1")["red_flags"].clone();
    assert_ne!(red(&after), red(&before));
    let list = waived(&store).await;
    let row = list.find("subject", "E5");
    assert_eq!(row["decision"], "D1.1");
    assert_eq!(row["expires_on"], "2026-01-12");
    assert_eq!(
        (row["proposed_by"].as_str(), row["approved_by"].as_str()),
        ("Li Na", "Zhao")
    );
    let told = explained(&store, "E5")["findings"][0].clone();
    assert_eq!(told["decision"], "D1.1");
    let twice = refused(&store, What::Unmatch(members(&["P1"], &["E5"]))).await;
    assert!(twice.contains("is money out"), "{twice}");

    store.reconcile(6, "2026-01-12", "default").await;
    assert!(!has(&books(&store).await, "UNAUTHORISED_DEBIT", "E5"));
    let summary = store.reconcile(7, "2026-01-13", "default").await;
    assert!(has(&books(&store).await, "UNAUTHORISED_DEBIT", "E5"));
    assert_eq!(summary.waived, 0);
    assert_eq!(store.check().await, []);
}

async fn a_write_off_ends_where_the_amount_grows(store: Store) {
    start(&store).await;
    let mismatch = finding(FlagCode::AmountMismatch, "P3");
    let expires = proposal(What::WriteOff(mismatch.clone()), Some("2026-02-01"));
    let expires = why(try_propose(&store, 2, &expires).await);
    assert!(expires.contains("is for good"), "{expires}");
    let id = decide(&store, 2, What::WriteOff(mismatch.clone()), None).await;
    store.reconcile(5, AS_OF, "default").await;
    assert!(!has(&books(&store).await, "AMOUNT_MISMATCH", "P3"));
    assert_eq!(
        waived(&store).await.find("subject", "P3")["kind"],
        "write_off"
    );
    let twice = refused(&store, What::WriteOff(mismatch)).await;
    assert!(twice.contains("is covered by D1.1 already"), "{twice}");
    // 5.00 were missing; now 15.00 are.
    let revised = bundle().revised("payments", "P3", "amount_fen", "6000");
    let folder = revised.write(&store.dir, "revised");
    store.import(10, &[&folder]).await;
    store.reconcile(11, AS_OF, "default").await;
    assert!(has(&books(&store).await, "AMOUNT_MISMATCH", "P3"));
    let list = listed(&store, 12).await;
    assert_eq!(list[0].standing, Standing::Lapsed);
    assert_eq!(list[0].note, "it is -15.00 now, and was -5.00");
    // Less than was written off is covered.
    let revised = bundle().revised("payments", "P3", "amount_fen", "4700");
    let folder = revised.write(&store.dir, "less");
    store.import(13, &[&folder]).await;
    store.reconcile(14, AS_OF, "default").await;
    assert!(!has(&books(&store).await, "AMOUNT_MISMATCH", "P3"));
    try_say(&store, 15, id, Step::Undone, "Zhao")
        .await
        .expect("undone");
    store.reconcile(16, AS_OF, "default").await;
    assert!(has(&books(&store).await, "AMOUNT_MISMATCH", "P3"));
}

async fn two_people_decide(store: Store) {
    start(&store).await;
    let id = propose(&store, 2, matching(&["P2"], &["E2"], 0), None).await;
    for same in ["Li Na", " li na ", "LINA", "Ｌｉ　Ｎａ"] {
        let said = why(try_say(&store, 3, id, Step::Approved, same).await);
        assert!(said.contains("--by names another person"), "{said}");
    }
    let early = why(try_say(&store, 3, id, Step::Undone, "Zhao").await);
    assert!(early.contains("jintuo decide reject D1.1"), "{early}");
    try_say(&store, 4, id, Step::Rejected, "Li Na")
        .await
        .expect("one withdraws one's own");
    let late = why(try_say(&store, 5, id, Step::Approved, "Zhao").await);
    assert_eq!(late, "D1.1 was rejected by Li Na");
    let none = DecisionId {
        inst_id: 1,
        decision_no: 9,
    };
    let none = why(try_say(&store, 5, none, Step::Approved, "Zhao").await);
    assert!(none.contains("there is no decision D1.9"), "{none}");
    // The next one has the next number.
    let next = decide(&store, 6, matching(&["P2"], &["E2"], 0), None).await;
    assert_eq!(next.to_string(), "D1.2");
    let late = why(try_say(&store, 9, next, Step::Rejected, "Zhao").await);
    assert!(late.contains("jintuo decide undo D1.2"), "{late}");
    let standing: Vec<Standing> = (listed(&store, 10).await.iter())
        .map(|l| l.standing)
        .collect();
    assert_eq!(standing, [Standing::InForce, Standing::Rejected]);
    assert_eq!(store.rows("decision_event").await, 2);
    assert_eq!(store.check().await, []);
}

async fn a_line_is_claimed_once(store: Store) {
    start(&store).await;
    let one = propose(&store, 2, matching(&["P2"], &["E2"], 0), None).await;
    let other = propose(&store, 3, matching(&["P4"], &["E2"], 0), None).await;
    try_say(&store, 4, other, Step::Approved, "Zhao")
        .await
        .expect("approved");
    let second = why(try_say(&store, 5, one, Step::Approved, "Zhao").await);
    assert!(second.contains("jintuo decide undo D1.2"), "{second}");
    store.reconcile(6, AS_OF, "default").await;
    let after = books(&store).await;
    assert_eq!(
        after
            .matches
            .column("entry_id")
            .iter()
            .filter(|e| **e == "E2")
            .count(),
        1
    );
    assert!(has(&after, "TRANSIT_OVERDUE", "P2") && !has(&after, "TRANSIT_OVERDUE", "P4"));
    let list = listed(&store, 7).await;
    assert_eq!(list[0].standing, Standing::Proposed);
    assert!(list[0].note.contains("no longer fits"), "{}", list[0].note);
    // Undone singly, the other may be had.
    try_say(&store, 8, other, Step::Undone, "Zhao")
        .await
        .expect("undone");
    try_say(&store, 9, one, Step::Approved, "Zhao")
        .await
        .expect("approved");
    store.reconcile(10, AS_OF, "default").await;
    assert!(!has(&books(&store).await, "TRANSIT_OVERDUE", "P2"));
}

async fn what_does_not_fit_is_refused_with_what_to_do(store: Store) {
    start(&store).await;
    let wrong = |what: What| async { refused(&store, what).await };
    let unknown = wrong(matching(&["P9"], &["E2"], 0)).await;
    assert!(unknown.contains("no payment is called P9"), "{unknown}");
    let unknown = wrong(matching(&["P2"], &["E9"], 0)).await;
    assert!(unknown.contains("no line is called E9"), "{unknown}");
    let two = wrong(matching(&["Q1"], &["E2"], 10_000)).await;
    assert!(two.contains("Q1 is of I2 and E2 of I1"), "{two}");
    let differs = wrong(matching(&["P4"], &["E6"], 0)).await;
    assert!(differs.contains("--difference=-193.00"), "{differs}");
    let debit = wrong(matching(&["P2"], &["E5"], 0)).await;
    assert!(debit.contains("is money out"), "{debit}");
    let twice = wrong(matching(&["P2", "P2"], &["E2"], 0)).await;
    assert!(twice.contains("payment P2 is named twice"), "{twice}");
    let none = wrong(What::Waive(finding(FlagCode::LateCredit, "E2"))).await;
    assert!(none.contains("--expires"), "{none}");
    let none = wrong(What::WriteOff(finding(FlagCode::LateCredit, "E2"))).await;
    assert!(none.contains("has no finding LATE_CREDIT/E2"), "{none}");
    for (by, reason, field) in [
        ("", "why", "--by"),
        ("Li Na", " ", "--reason"),
        ("Li", "a\nb", "--reason"),
    ] {
        let proposal = Proposal {
            by: by.to_owned(),
            reason: reason.to_owned(),
            ..proposal(matching(&["P2"], &["E2"], 0), None)
        };
        let why = why(try_propose(&store, 2, &proposal).await);
        assert!(why.contains(field), "{why}");
    }
    let elsewhere = Proposal {
        institution: Some("I2".to_owned()),
        ..proposal(matching(&["P2"], &["E2"], 0), None)
    };
    let elsewhere = why(try_propose(&store, 2, &elsewhere).await);
    assert!(
        elsewhere.contains("no payment of I2 is called P2"),
        "{elsewhere}"
    );
    // A second institution, and a second account, with the same ids.
    let more = Bundle::of(&[
        (
            "payments",
            "payment_id,order_id,institution_id,account_id,paid_on,channel,reference,amount_fen\n\
             P2,O2,I2,B1,2026-01-05,TRANSFER,R2,20000\n",
        ),
        (
            "bank_statements",
            "account_id,date,opening_fen,closing_fen\n\
             B1,2026-01-06,0,20000\nA2,2026-01-07,700,20700\nA3,2026-01-06,0,20000\n",
        ),
        (
            "bank_entries",
            "entry_id,account_id,booked_on,code,direction,amount_fen,reference,memo\n\
             E2,B1,2026-01-06,TRF,C,20000,,\nE2,A2,2026-01-07,TRF,C,20000,,\n\
             E8,A3,2026-01-06,TRF,C,20000,,\n",
        ),
    ]);
    let folder = more.write(&store.dir, "more");
    store.import(3, &[&folder]).await;
    store.reconcile(4, AS_OF, "default").await;
    let kinds = wrong(matching(&["P4"], &["E8"], 0)).await;
    assert!(kinds.contains("different kinds"), "{kinds}");
    let accounts = wrong(matching(&["P4"], &["A1/E2", "A2/E6"], 700)).await;
    assert!(accounts.contains("lines of one"), "{accounts}");
    let both = wrong(matching(&["P2"], &["E2"], 0)).await;
    assert!(both.contains("--institution"), "{both}");
    let lines = wrong(matching(&["P4"], &["E2"], 0)).await;
    assert!(lines.contains("--line ACCOUNT/E2"), "{lines}");
    let findings = wrong(What::WriteOff(finding(FlagCode::UnmatchedCredit, "E2"))).await;
    assert!(findings.contains("say which"), "{findings}");
    // Across accounts of one kind, people may.
    decide(&store, 9_001, matching(&["P4"], &["A2/E2"], 0), None).await;
    let of_line = finding(FlagCode::UnmatchedCredit, "A1/E2");
    decide(&store, 9_010, What::WriteOff(of_line), None).await;
    store.reconcile(9_020, AS_OF, "default").await;
    let after = books(&store).await;
    assert!(!has(&after, "TRANSIT_OVERDUE", "P4"));
    let of_b1: Vec<_> = (after.breaks.0.iter())
        .filter(|r| r["code"] == "UNMATCHED_CREDIT" && r["subject"] == "E2")
        .collect();
    assert_eq!(of_b1.len(), 1);
    assert_eq!(of_b1[0]["institution_id"], "I2");
    assert_eq!(store.check().await, []);
}

async fn the_terminal_tells_all_of_it(store: Store) {
    start(&store).await;
    let word = ["--reason", "a slip of the pen", "--by", "Li Na"];
    let decide = |args: &[&str]| store.jintuo(&[&["decide"], args].concat());
    let propose = [&["match", "--payment", "P2", "--line", "A1/E2"][..], &word].concat();
    let ran = decide(&propose).ended(0);
    assert!(
        ran.stderr.contains("jintuo decide approve D1.1"),
        "{}",
        ran.stderr
    );
    let shown = decide(&["list"]).ended(0).text();
    assert!(
        shown.contains("D1.1  proposed  I1  match P2 (200.00) with A1/E2 (200.00)"),
        "{shown}"
    );
    let ran = decide(&["approve", "D1.1", "--by", "LI NA"]).ended(1);
    assert!(ran.stderr.contains("another person"), "{}", ran.stderr);
    decide(&["approve", "D1.1", "--by", "Zhao"]).ended(0);
    let write_off = [&["write-off", "AMOUNT_MISMATCH/P3"][..], &word].concat();
    decide(&write_off).ended(0);
    decide(&["approve", "D1.2", "--by", "Zhao", "--reason", "seen"]).ended(0);
    store.reconcile(9, AS_OF, "default").await;
    let list = decide(&["list", "--json"]).ended(0);
    let list: Value = serde_json::from_slice(&list.stdout).expect("json");
    assert_eq!(list["schema"], "jintuo.decisions/1");
    assert_eq!(list["decisions"][1]["kind"], "write_off");
    assert_eq!(list["decisions"][1]["finding"]["code"], "AMOUNT_MISMATCH");
    assert_eq!(list["decisions"][1]["said"][0]["reason"], "seen");
    let report = store.jintuo(&["report", "waived"]).ended(0).text();
    assert!(report.contains("a slip of the pen"), "{report}");
    let ran = decide(&["undo", "D1.2", "--by", "Li Na"]);
    assert_eq!(ran.code, 2, "a reason is asked for: {}", ran.stderr);
    decide(&[&["undo", "D1.2"][..], &word].concat()).ended(0);
    assert!(!decide(&["list"]).ended(0).text().contains("D1.2"));
    assert!(
        decide(&["list", "--all"])
            .ended(0)
            .text()
            .contains("D1.2  undone")
    );
    let ran = decide(&[&["waive", "NO_SUCH/P3"][..], &word].concat()).ended(1);
    assert!(
        ran.stderr.contains("is no code of a finding"),
        "{}",
        ran.stderr
    );
    assert_eq!(store.check().await, []);
}

async fn a_check_tells_what_no_command_writes(store: Store) {
    start(&store).await;
    let id = propose(&store, 2, matching(&["P2"], &["E2"], 0), None).await;
    assert_eq!(store.check().await, []);
    let db = store.open(3).await;
    let mut tx = db.begin_write().await.expect("a transaction");
    let said = Said {
        step: Step::Approved,
        by: "LI NA".to_owned(),
        reason: String::new(),
        at: minute(3),
    };
    append_event(&mut tx, id, &said, 1).await.expect("a row");
    tx.commit().await.expect("a commit");
    db.close().await;
    let broken = store.check().await;
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert_eq!(broken[0].what, "D1.1 was approved by its author");
}
