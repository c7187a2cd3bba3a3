//! What positions say of a past day, of closed accounts, of contracts earned by time, and of one district.

use jintuo::report::Wanted;

use crate::bundle::Bundle;
use crate::harness::{Books, Store, day, on_both};

on_both!(
    a_lesson_counts_from_its_confirmation,
    a_later_confirmation_dates_a_state,
);

/// One institution with an order of 10 lessons for 10,000 fen, paid and banked on 2026-05-06.
fn books_with(more: &[(&str, &str)]) -> Bundle {
    let mut statements = "account_id,date,opening_fen,closing_fen\nA1,2026-05-06,0,10000\n".to_owned();
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
    let mut at = 2;
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
    for (on, confirmed, delivered) in expected {
        let found = unearned(&store, at, on).await;
        assert_eq!(found, (confirmed.to_owned(), delivered.to_owned()), "{on}");
        at += 1;
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
