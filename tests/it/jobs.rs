//! Scheduled work: one effect per feed, day and kind, whatever the replicas do.

use std::time::Duration;

use jintuo::base::{Clock, Instant};
use jintuo::feed::jobs::{CLAIM, Claim, Key, Kind, store as jobs};
use jintuo::store::{Db, DbError};

use crate::harness::{Store, minute, on_both};

on_both!(
    work_is_claimed_by_one_replica_and_done_once,
    a_replica_that_was_paused_cannot_end_what_another_took_over,
    work_that_failed_comes_back_when_it_is_due,
);

fn key() -> Key {
    Key {
        feed: "icbc".to_owned(),
        day: 20_000,
        kind: Kind::Fetch,
    }
}

async fn plan(db: &Db, due_at: Instant) {
    let mut tx = db.begin_write().await.expect("a transaction");
    jobs::plan(&mut tx, &key(), due_at).await.expect("planned");
    tx.commit().await.expect("a commit");
}

async fn claim(db: &Db, holder: &str) -> Option<Claim> {
    let mut tx = db.begin_write().await.expect("a transaction");
    let claim = jobs::claim(&mut tx, &key(), holder).await.expect("a look");
    tx.commit().await.expect("a commit");
    claim
}

async fn prolong(db: &Db, claim: &Claim) -> Result<(), DbError> {
    let mut tx = db.begin_write().await.expect("a transaction");
    jobs::prolong(&mut tx, claim).await?;
    tx.commit().await
}

async fn finish(db: &Db, claim: &Claim) -> Result<(), DbError> {
    let mut tx = db.begin_write().await.expect("a transaction");
    jobs::finish(&mut tx, claim, "3 files").await?;
    tx.commit().await
}

async fn work_is_claimed_by_one_replica_and_done_once(store: Store) {
    let (early, one, two) = (
        store.open(4).await,
        store.open(5).await,
        store.open(5).await,
    );
    plan(&one, minute(5)).await;
    plan(&two, minute(9)).await; // known: its time stands
    assert_eq!(claim(&early, "early").await, None);
    let held = claim(&one, "one").await.expect("due and free");
    assert_eq!((held.fence, held.attempt), (1, 1));
    assert_eq!(claim(&two, "two").await, None);
    finish(&one, &held).await.expect("held");
    assert_eq!(claim(&two, "two").await, None);
    assert!(matches!(finish(&one, &held).await, Err(DbError::Busy(_))));
    let mut tx = one.begin_read().await.expect("a transaction");
    let rows = jobs::rows(&mut tx, Kind::Fetch, 0).await.expect("rows");
    tx.rollback().await.expect("a rollback");
    let row = rows.first().expect("one row");
    assert_eq!(
        (row.state.as_str(), row.note.as_str(), rows.len()),
        ("done", "3 files", 1)
    );
    assert_eq!(row.done_at, Some(minute(5)));
}

async fn a_replica_that_was_paused_cannot_end_what_another_took_over(store: Store) {
    let paused = store.open(5).await;
    plan(&paused, minute(5)).await;
    let lost = claim(&paused, "paused").await.expect("due and free");
    let zone = chrono_tz::Asia::Shanghai;
    let at = |instant: Instant| paused.with_clock(Clock::fixed(instant, zone));
    let within = at(minute(5) + CLAIM);
    assert_eq!(claim(&within, "other").await, None);
    // Prolonged, it lasts as long again.
    prolong(&within, &lost).await.expect("held");
    let longer = at(minute(5) + 2 * CLAIM);
    assert_eq!(claim(&longer, "other").await, None);
    let after = at(minute(5) + 2 * CLAIM + Duration::from_secs(1));
    let held = claim(&after, "other")
        .await
        .expect("the time of the first is over");
    assert_eq!((held.fence, held.attempt), (2, 2));
    assert!(matches!(
        finish(&paused, &lost).await,
        Err(DbError::Busy(_))
    ));
    let beat = prolong(&paused, &lost).await;
    assert!(matches!(beat, Err(DbError::Busy(_))), "{beat:?}");
    finish(&after, &held).await.expect("held");
}

async fn work_that_failed_comes_back_when_it_is_due(store: Store) {
    let db = store.open(5).await;
    plan(&db, minute(5)).await;
    let held = claim(&db, "one").await.expect("due and free");
    let due = minute(5) + Duration::from_secs(90);
    let mut tx = db.begin_write().await.expect("a transaction");
    jobs::retry(&mut tx, &held, due, "503").await.expect("held");
    tx.commit().await.expect("a commit");
    assert_eq!(claim(&store.open(6).await, "one").await, None);
    let later = store.open(7).await;
    let again = claim(&later, "one").await.expect("due again");
    assert_eq!((again.fence, again.attempt), (2, 2));
    finish(&later, &again).await.expect("held");
    let mut tx = later.begin_write().await.expect("a transaction");
    let reopened = jobs::reopen(&mut tx, &key(), minute(8), "a correction").await;
    assert!(reopened.expect("done work is opened"));
    let twice = jobs::reopen(&mut tx, &key(), minute(8), "a correction").await;
    assert!(!twice.expect("waiting work stays"));
    tx.commit().await.expect("a commit");
    assert_eq!(claim(&later, "one").await, None);
    let third = claim(&store.open(8).await, "one")
        .await
        .expect("due once more");
    assert_eq!((third.fence, third.attempt), (3, 1));
}
