//! What positions say of a past day, of closed accounts, of contracts earned by time, and of one district.

use jintuo::base::Money;
use jintuo::report::{self, Wanted};

use crate::bundle::Bundle;
use crate::harness::{Books, Rows, Store, command, day, on_both, on_servers};

on_both!(
    a_lesson_counts_from_its_confirmation,
    a_later_confirmation_dates_a_state,
    a_closed_account_is_not_waited_for,
    an_unlimited_contract_that_is_over_owes_nothing,
    a_payment_of_nothing_raises_nothing,
    a_district_is_read_from_the_run_that_knew_most_of_it,
    rates_are_told_per_district,
    a_deadline_beyond_the_calendar_is_told_as_provisional,
    a_day_that_is_not_over_is_refused,
    outputs_that_cannot_be_written_are_named,
);

/// One institution with an order of 10 lessons for 10,000 fen, paid and banked on 2026-05-06.
fn books_with(more: &[(&str, &str)]) -> Bundle {
    let mut statements =
        "account_id,date,opening_fen,closing_fen\nA1,2026-05-06,0,10000\n".to_owned();
    for on in day("2026-05-07").through(day("2026-06-05")) {
        statements += &format!("A1,{on},10000,10000\n");
    }
    let files = [
        ("districts", "district_id,name\nD1,示例区\n"),
        (
            "institutions",
            "institution_id,district_id,name\nI1,D1,示例机构\n",
        ),
        (
            "accounts",
            "account_id,institution_id,kind,min_deposit_fen,filed_on,status\n\
             A1,I1,CUSTODY,0,2026-01-05,filed\n",
        ),
        (
            "orders",
            "order_id,institution_id,student_id,ordered_on,lessons,unit_price_fen,amount_fen\n\
             O2,I1,S1,2026-05-06,10,1000,10000\n",
        ),
        (
            "payments",
            "payment_id,order_id,institution_id,account_id,paid_on,channel,reference,amount_fen\n\
             P1,O2,I1,A1,2026-05-06,TRANSFER,R1,10000\n",
        ),
        (
            "bank_entries",
            "entry_id,account_id,booked_on,code,direction,amount_fen,reference,memo\n\
             E1,A1,2026-05-06,TRF,C,10000,R1,\n",
        ),
        ("bank_statements", statements.as_str()),
    ];
    let mut bundle = Bundle::of(&files);
    bundle.0.extend(Bundle::of(more).0);
    bundle
}

const LESSONS: &str = "consumption_id,order_id,consumed_on,lessons,amount_fen,state,confirmed_on\n";

async fn as_of(store: &Store, at: i64, on: &str) -> Books {
    store.reconcile(at, on, "default").await;
    let wanted = Wanted {
        as_of: Some(day(on)),
        ..Wanted::default()
    };
    store.books(&wanted).await
}

/// U_conf and U_deliv of I1.
async fn unearned(store: &Store, at: i64, on: &str) -> (String, String) {
    let books = as_of(store, at, on).await;
    let row = books.institutions.find("institution_id", "I1");
    assert_eq!(row["required_fen"], row["unearned_confirmed_fen"]);
    (
        row["unearned_confirmed_fen"].clone(),
        row["unearned_delivered_fen"].clone(),
    )
}

async fn a_lesson_counts_from_its_confirmation(store: Store) {
    let lessons = |rows: &str| books_with(&[("lessons", &format!("{LESSONS}{rows}"))]);
    let first = lessons(
        "L1,O2,2026-05-07,5,5000,confirmed,2026-05-20\n\
         L2,O2,2026-05-08,1,1000,deemed,2026-05-29\n\
         L3,O2,2026-05-08,1,1000,claimed,2026-05-08\n\
         L4,O2,2026-05-11,1,1000,confirmed,2026-05-10\n",
    );
    store.import(1, &[&first.write(&store.dir, "first")]).await;
    let expected = [
        ("2026-05-06", "10000", "10000"),
        ("2026-05-07", "10000", "5000"),
        ("2026-05-08", "10000", "3000"),
        ("2026-05-11", "9000", "2000"),
        ("2026-05-19", "9000", "2000"),
        ("2026-05-20", "4000", "2000"),
        ("2026-05-28", "4000", "2000"),
        ("2026-05-29", "3000", "2000"),
    ];
    for (at, (on, confirmed, delivered)) in (2..).zip(expected) {
        let found = unearned(&store, at, on).await;
        assert_eq!(found, (confirmed.to_owned(), delivered.to_owned()), "{on}");
    }
    // The sender corrects the day of confirmation, then takes the lesson back.
    let other = lessons("L1,O2,2026-05-07,5,5000,confirmed,2026-05-15\n");
    store.import(20, &[&other.write(&store.dir, "other")]).await;
    assert_eq!(unearned(&store, 21, "2026-05-14").await.0, "9000");
    assert_eq!(unearned(&store, 22, "2026-05-15").await.0, "4000");
    let void = lessons("L1,O2,2026-05-07,5,5000,void,2026-05-15\n");
    store.import(30, &[&void.write(&store.dir, "void")]).await;
    for (at, on) in [(31, "2026-05-14"), (32, "2026-05-15")] {
        let found = unearned(&store, at, on).await;
        assert_eq!(found, ("9000".to_owned(), "7000".to_owned()), "{on}");
    }
    assert_eq!(store.check().await, []);
}

/// Released against a lesson that was not confirmed yet: premature until it is.
async fn a_later_confirmation_dates_a_state(store: Store) {
    let releases = "release_id,account_id,approved_on,amount_fen,order_id\n\
                    X1,A1,2026-05-12,2000,O2\nX2,A1,2026-05-25,5000,O2\n";
    let lessons = format!("{LESSONS}L1,O2,2026-05-07,4,4000,confirmed,2026-05-20\n");
    let bundle = books_with(&[("lessons", &lessons), ("releases", releases)]);
    store.import(1, &[&bundle.write(&store.dir, "b")]).await;
    let premature = |books: &Books| -> Vec<String> {
        (books.breaks.0.iter())
            .filter(|r| r["code"] == "PREMATURE_RELEASE")
            .map(|r| r["due_on"].clone())
            .collect()
    };
    // Found on 12 May, due the next working day; the lessons are confirmed on the 20th.
    let early = as_of(&store, 2, "2026-05-19").await;
    assert_eq!(premature(&early), ["2026-05-13"]);
    let cured = as_of(&store, 3, "2026-05-20").await;
    assert_eq!(premature(&cured), Vec::<String>::new());
    let again = as_of(&store, 4, "2026-05-28").await;
    assert_eq!(premature(&again), ["2026-05-26"]);
}

async fn a_closed_account_is_not_waited_for(store: Store) {
    // A1 gave everything to A1b and closed; its last statements say zero.
    let mut statements = "account_id,date,opening_fen,closing_fen\n".to_owned();
    for on in day("2026-05-25").through(day("2026-06-05")) {
        let (left, now) = if on < day("2026-05-28") {
            (10_000, 10_000)
        } else {
            (0, 0)
        };
        if on <= day("2026-05-29") {
            let opening = if on == day("2026-05-28") {
                10_000
            } else {
                left
            };
            statements += &format!("A1,{on},{opening},{now}\n");
        }
        if on >= day("2026-06-01") {
            statements += &format!("A1b,{on},10000,10000\n");
        }
    }
    let bundle = books_with(&[
        (
            "accounts",
            "account_id,institution_id,kind,min_deposit_fen,filed_on,status\n\
             A1,I1,CUSTODY,0,2026-01-05,closed\nA1b,I1,CUSTODY,0,2026-05-25,filed\n",
        ),
        ("bank_statements", &statements),
        (
            "bank_entries",
            "entry_id,account_id,booked_on,code,direction,amount_fen,reference,memo\n\
             E1,A1,2026-05-06,TRF,C,10000,R1,\nE2,A1,2026-05-28,DBT,D,10000,MOVE,\n",
        ),
    ]);
    store.import(1, &[&bundle.write(&store.dir, "b")]).await;
    let books = as_of(&store, 2, "2026-06-05").await;
    let row = books.institutions.find("institution_id", "I1");
    assert_eq!(
        (row["status"].as_str(), row["held_fen"].as_str()),
        ("COVERED", "10000")
    );
    let missing = |books: &Books| -> Vec<String> {
        (books.breaks.0.iter())
            .filter(|r| r["code"] == "FEED_MISSING")
            .map(|r| r["date"].clone())
            .collect()
    };
    assert_eq!(missing(&books), Vec::<String>::new());
    let ledger = |on: &str| {
        let ran = store.jintuo(&["feed", "status", "--as-of", on, "--json"]);
        let value: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("one object");
        let days = value["days"].as_array().cloned().unwrap_or_default();
        let of_a1 = days.iter().filter(|d| d["account_id"] == "A1");
        let last = of_a1
            .filter_map(|d| d["date"].as_str().map(str::to_owned))
            .max();
        (ran.code, last)
    };
    assert_eq!(ledger("2026-06-05"), (0, Some("2026-05-28".to_owned())));
    // Money comes back: it owes again, in the run and in the ledger of days.
    let again = Bundle::of(&[(
        "bank_statements",
        "account_id,date,opening_fen,closing_fen\nA1,2026-06-01,5,5\n",
    )]);
    store.import(3, &[&again.write(&store.dir, "again")]).await;
    let books = as_of(&store, 4, "2026-06-05").await;
    let row = books.institutions.find("institution_id", "I1");
    assert_eq!(row["status"], "UNKNOWN");
    let owed = ["2026-06-02", "2026-06-03", "2026-06-04", "2026-06-05"];
    assert_eq!(missing(&books), owed);
    assert_eq!(ledger("2026-06-05"), (4, Some("2026-06-05".to_owned())));
}

async fn an_unlimited_contract_that_is_over_owes_nothing(store: Store) {
    let bundle = books_with(&[(
        "orders",
        "order_id,institution_id,student_id,ordered_on,lessons,unit_price_fen,amount_fen,kind,\
         starts_on,ends_on\n\
         O2,I1,S1,2026-01-01,0,0,10000,unlimited,2026-01-01,2026-04-10\n",
    )]);
    store.import(1, &[&bundle.write(&store.dir, "b")]).await;
    let books = as_of(&store, 2, "2026-05-08").await;
    let row = books.institutions.find("institution_id", "I1");
    assert_eq!(
        (row["required_fen"].as_str(), row["status"].as_str()),
        ("0", "NOT_APPLICABLE")
    );
    assert_eq!(row["excess_fen"], "10000");
    assert_eq!(row["releasable_fen"], "10000");
}

async fn a_payment_of_nothing_raises_nothing(store: Store) {
    let bundle = books_with(&[(
        "payments",
        "payment_id,order_id,institution_id,account_id,paid_on,channel,reference,amount_fen\n\
         P1,O2,I1,A1,2026-05-06,TRANSFER,R1,10000\nP0,O2,I1,A1,2026-05-06,TRANSFER,R0,0\n",
    )]);
    store.import(1, &[&bundle.write(&store.dir, "b")]).await;
    for (at, on) in [(2, "2026-05-06"), (3, "2026-05-29")] {
        assert_eq!(as_of(&store, at, on).await.breaks.0, [], "{on}");
    }
}

/// Two districts; I1 in D1 with its books, I9 in D2 with nothing.
fn two_districts() -> Bundle {
    books_with(&[
        ("districts", "district_id,name\nD1,示例区\nD2,示例二区\n"),
        (
            "institutions",
            "institution_id,district_id,name\nI1,D1,示例机构\nI9,D2,示例九\n",
        ),
    ])
}

async fn a_district_is_read_from_the_run_that_knew_most_of_it(store: Store) {
    let on = "2026-05-08";
    store
        .import(1, &[&two_districts().write(&store.dir, "b")])
        .await;
    store.reconcile(2, on, "default").await;
    let lesson = format!("{LESSONS}L1,O2,2026-05-07,4,4000,confirmed,\n");
    let more = Bundle::of(&[("lessons", &lesson)]);
    store.import(3, &[&more.write(&store.dir, "more")]).await;
    let ran = store.jintuo(&["reconcile", "--as-of", on, "--district", "D1"]);
    assert!(
        ran.code == 0 || ran.code == 3 || ran.code == 4,
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("--district D1"), "{}", ran.stderr);
    let required = |args: &[&str]| -> Vec<(String, String)> {
        let base = ["report", "institutions", "--format", "csv", "--as-of", on];
        let ran = store.jintuo(&[&base[..], args].concat()).ended(0);
        let rows = Rows::parse(&ran.stdout);
        (rows.0.iter())
            .map(|r| (r["institution_id"].clone(), r["required_fen"].clone()))
            .collect()
    };
    let rows = |rows: &[(&str, &str)]| -> Vec<(String, String)> {
        let own = |(id, fen): &(&str, &str)| ((*id).to_owned(), (*fen).to_owned());
        rows.iter().map(own).collect()
    };
    // The city stays with the run over all of it; the district shows what is known of it by now.
    assert_eq!(required(&[]), rows(&[("I1", "10000"), ("I9", "0")]));
    assert_eq!(required(&["--district", "D1"]), rows(&[("I1", "6000")]));
    assert_eq!(required(&["--district", "D2"]), rows(&[("I9", "0")]));
    let csv = ["report", "districts", "--format", "csv", "--district", "D1"];
    let districts = Rows::parse(&store.jintuo(&csv).ended(0).stdout);
    assert_eq!(districts.column("district_id"), ["D1"]);
    assert_eq!(districts.column("required_fen"), ["6000"]);
    for name in ["breaks", "matches"] {
        store.jintuo(&["report", name, "--district", "D2"]).ended(0);
    }
    let unknown = ["report", "districts", "--district", "D9"];
    let ran = store.jintuo(&unknown).ended(1);
    assert!(ran.stderr.contains("D9"), "{}", ran.stderr);
    // Pages hold to the same.
    let db = store.open(9).await;
    let mut tx = db.begin_read().await.expect("a transaction");
    let city = report::overview(&mut tx, "示例市", None)
        .await
        .expect("a page");
    assert_eq!(city.expect("a run").total.required, Money::from_fen(10_000));
    let district = report::district_page(&mut tx, "D1", None)
        .await
        .expect("a page");
    let district = district.expect("a run");
    assert_eq!(district.district.required, Money::from_fen(6_000));
    assert_eq!(district.institutions.len(), 1);
    assert_eq!(district.trend.len(), 1);
    tx.rollback().await.expect("a rollback");
    db.close().await;
    // A later run over all districts knows as much, and is the newest.
    store.reconcile(10, on, "default").await;
    assert_eq!(required(&[]), rows(&[("I1", "6000"), ("I9", "0")]));
    assert_eq!(required(&["--district", "D1"]), rows(&[("I1", "6000")]));
}

async fn rates_are_told_per_district(store: Store) {
    let bundle = books_with(&[
        (
            "institutions",
            "institution_id,district_id,name,uscc,licence_no,platform_since\n\
             I1,D1,示例机构,,L-1,2026-01-01\nI2,D1,示例二,91410105MA0000002,,2026-05-01\n\
             I3,D1,示例三,,,2026-12-01\n",
        ),
        (
            "licences",
            "licence_no,name,uscc,district_id,department,licence_from,licence_to,status\n\
             L-1,示例机构,,D1,education,,,\n\
             L-2,示例二,91410105MA0000002,D1,education,,,active\n\
             L-3,示例三,,D1,sports,,,\n\
             L-4,示例四,,D1,sports,,2025-12-31,\n\
             L-5,示例五,,D1,sports,,,revoked\n",
        ),
        (
            "lessons",
            &format!(
                "{LESSONS}L1,O2,2026-05-07,3,3000,confirmed,\nL2,O2,2026-05-08,1,1000,deemed,\n"
            ),
        ),
    ]);
    store.import(1, &[&bundle.write(&store.dir, "b")]).await;
    let books = as_of(&store, 2, "2026-05-08").await;
    let row = books.districts.find("district_id", "D1");
    for (column, value) in [
        ("full_coverage", "1.0000"),
        ("custody_rate", "0.3333"),
        ("custody_rate_ministry", "0.5000"),
        ("registration_rate", "0.6666"),
        ("intake_rate", "1.0000"),
        ("protection", "1.0000"),
        ("prepaid_stock_fen", "6000"),
        ("deemed_share", "0.2500"),
        ("releasable_fen", "4000"),
        ("uncovered_top10_share", ""),
        ("uncovered_wd0_1_fen", "0"),
    ] {
        assert_eq!(row[column], value, "{column}");
    }
    // 3,000 fen leave unapproved on 11 May: uncovered from then, by age on each day.
    let mut statements = "account_id,date,opening_fen,closing_fen\n".to_owned();
    for on in day("2026-05-11").through(day("2026-06-10")) {
        let opening = if on == day("2026-05-11") {
            10_000
        } else {
            3_000
        };
        statements += &format!("A1,{on},{opening},3000\n");
    }
    let gone = Bundle::of(&[
        ("bank_statements", &statements),
        (
            "bank_entries",
            "entry_id,account_id,booked_on,code,direction,amount_fen,reference,memo\n\
             E7,A1,2026-05-11,DBT,D,7000,?,\n",
        ),
    ]);
    store.import(3, &[&gone.write(&store.dir, "gone")]).await;
    let ages = ["wd0_1", "wd2_5", "wd6_20", "wd21"].map(|a| format!("uncovered_{a}_fen"));
    for (at, on, class) in [
        (4, "2026-05-11", 0),
        (5, "2026-05-12", 0),
        (6, "2026-05-13", 1),
        (7, "2026-05-18", 1),
        (8, "2026-05-19", 2),
        (9, "2026-06-08", 2),
        (10, "2026-06-09", 3),
    ] {
        let books = as_of(&store, at, on).await;
        let row = books.districts.find("district_id", "D1");
        let mut expected = ["0"; 4];
        expected[class] = "3000";
        assert_eq!(ages.each_ref().map(|a| row[a].as_str()), expected, "{on}");
        assert_eq!(row["uncovered_top10_share"], "1.0000");
        assert_eq!(
            (row["full_coverage"].as_str(), row["protection"].as_str()),
            ("0.0000", "0.5000")
        );
    }
}

async fn a_deadline_beyond_the_calendar_is_told_as_provisional(store: Store) {
    let bundle = Bundle::of(&[
        ("districts", "district_id,name\nD1,示例区\n"),
        (
            "institutions",
            "institution_id,district_id,name\nI1,D1,示例机构\n",
        ),
        (
            "accounts",
            "account_id,institution_id,kind,min_deposit_fen,filed_on\nA1,I1,CUSTODY,0,2026-01-01\n",
        ),
        (
            "bank_statements",
            "account_id,date,opening_fen,closing_fen\n\
             A1,2026-12-24,0,5\nA1,2026-12-25,5,5\nA1,2026-12-28,5,5\nA1,2026-12-29,5,5\n\
             A1,2026-12-30,5,12\nA1,2026-12-31,12,12\n",
        ),
        (
            "bank_entries",
            "entry_id,account_id,booked_on,code,direction,amount_fen,reference,memo\n\
             E1,A1,2026-12-24,TRF,C,5,X1,\nE2,A1,2026-12-30,TRF,C,7,X2,\n",
        ),
    ]);
    store.import(1, &[&bundle.write(&store.dir, "b")]).await;
    let books = as_of(&store, 2, "2026-12-31").await;
    let told = |subject: &str| books.breaks.find("subject", subject)["due_provisional"].clone();
    assert_eq!(
        (told("E1"), told("E2")),
        ("false".to_owned(), "true".to_owned())
    );
    let json = store.jintuo(&["report", "breaks", "--json"]).ended(0);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("one object");
    let rows = json["rows"].as_array().expect("rows");
    let due = |subject: &str| {
        let row = rows.iter().find(|r| r["subject"] == subject);
        row.map(|r| r["due_provisional"].clone())
    };
    assert_eq!(due("E1"), Some(serde_json::Value::Bool(false)));
    assert_eq!(due("E2"), Some(serde_json::Value::Bool(true)));
}

async fn a_day_that_is_not_over_is_refused(store: Store) {
    store
        .import(1, &[&books_with(&[]).write(&store.dir, "b")])
        .await;
    let ran = store
        .jintuo(&["reconcile", "--as-of", "2099-01-01"])
        .ended(1);
    assert!(
        ran.stderr.contains("2099-01-01 is not over"),
        "{}",
        ran.stderr
    );
    assert_eq!(store.rows("run").await, 0);
    store
        .jintuo(&["reconcile", "--as-of", "2026-05-08"])
        .ended(0);
}

async fn outputs_that_cannot_be_written_are_named(store: Store) {
    store
        .import(1, &[&books_with(&[]).write(&store.dir, "b")])
        .await;
    store.reconcile(2, "2026-05-08", "default").await;
    let ran = store
        .jintuo(&["report", "breaks", "--out", "/nonexist/x"])
        .ended(1);
    assert!(ran.stderr.contains("/nonexist/x"), "{}", ran.stderr);
    // A reader that has gone is no failure.
    let statement = store.dir.write("a.sta", ":20:X\r\n:25:A1\r\n");
    let statement = statement.display().to_string();
    let report = ["--db", &store.url, "report", "institutions"];
    for args in [&["statement", "inspect", &statement][..], &report[..]] {
        let mut child = command(args)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the binary starts");
        drop(child.stdout.take());
        let ended = child.wait_with_output().expect("the binary ends");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success(), "{args:?}: {said}");
        let failed = said.lines().any(|line| line.starts_with("jintuo:"));
        assert!(!failed, "{args:?}: {said}");
    }
}

/// A login that owns its tables is told so by every command, once.
#[test]
fn a_shared_owner_is_warned_about_by_every_command() {
    on_servers(|store| async move {
        let bundle = books_with(&[]).write(&store.dir, "b");
        let bundle = bundle.display().to_string();
        for args in [
            &["import", &bundle][..],
            &["reconcile", "--as-of", "2026-05-08"],
            &["report", "districts"],
            &["check"],
        ] {
            let ran = store.jintuo(args);
            let told = ran.stderr.matches("owner of its tables").count();
            assert_eq!(told, 1, "{args:?}: {}", ran.stderr);
        }
    });
}
