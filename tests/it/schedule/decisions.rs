//! What people decide: a delivery is read again or set aside, a day is asked for again.

use std::sync::Arc;

use jintuo::feed::deliveries::{self, Decision, Listed};
use jintuo::intake::{self, ImportError};
use jintuo::schedule::{AskError, Outcome, feeds_without_accounts};
use jintuo::store::DbError;
use jintuo::store::lock::Job;

use super::Bug;
use super::world::{FIRST, Reply, World, account, at, prompt, statement};
use crate::harness::{Ran, Store, day, fixture, on_both};

on_both!(
    a_poison_delivery_is_read_again_once_somebody_says_so,
    a_discarded_delivery_is_never_tried_again,
    a_refused_delivery_is_read_again_under_new_settings,
    a_day_is_asked_for_again_by_hand,
    no_bank_states_the_accounts_of_another,
    a_feed_whose_bank_no_account_names_is_told,
);

async fn listed(world: &World, all: bool) -> Vec<Listed> {
    let mut tx = world.db.begin_read().await.expect("a transaction");
    let listed = deliveries::listed(&mut tx, all).await.expect("deliveries");
    tx.rollback().await.expect("a rollback");
    listed
}

async fn decide(world: &World, no: i64, decision: Decision) -> Result<(), ImportError> {
    intake::decide(&world.db, no, decision, ("the bank was asked", "officer")).await
}

fn refused(decided: Result<(), ImportError>) -> String {
    match decided {
        Err(ImportError::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// Decides with the built binary.
fn say(world: &World, verb: &str, no: i64) -> Ran {
    let no = no.to_string();
    let word = ["--by", "officer", "--reason", "a test file"];
    let args = [&["feed", verb, &no][..], &word].concat();
    world.store.jintuo(&args)
}

/// One delivery is poison, the others are in the books.
async fn poisoned(store: Store) -> (World, i64) {
    let world = World::new(store, prompt).await;
    let now = at(&day(FIRST).plus(1).to_string(), 6, 0);
    let service = world.service(now).watched(Arc::new(|| Box::new(Bug)));
    service.tick().await.expect("the database works");
    let left = listed(&world, false).await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!((left[0].state.as_str(), left[0].attempts), ("poison", 3));
    let no = left[0].delivery_no;
    (world, no)
}

async fn a_poison_delivery_is_read_again_once_somebody_says_so(store: Store) {
    let (world, no) = poisoned(store).await;
    decide(&world, no, Decision::Retry).await.expect("released");
    let left = listed(&world, false).await;
    assert_eq!((left[0].state.as_str(), left[0].attempts), ("received", 0));
    assert!(refused(decide(&world, no, Decision::Retry).await).contains("waits"));
    // A reader that still ends with it makes it poison again, and then it may be released again.
    let now = at(&day(FIRST).plus(1).to_string(), 6, 5);
    let service = world.service(now).watched(Arc::new(|| Box::new(Bug)));
    service.tick().await.expect("the database works");
    assert_eq!(listed(&world, false).await[0].state, "poison");
    decide(&world, no, Decision::Retry).await.expect("released");
    world.tick(now).await;
    assert_eq!(listed(&world, false).await, []);
    let all = listed(&world, true).await;
    let row = all.iter().find(|d| d.delivery_no == no).expect("listed");
    assert_eq!(row.state, "taken");
    let said = |v: &Option<String>| v.clone().unwrap_or_default();
    assert_eq!(said(&row.decision), "retry");
    assert_eq!(said(&row.reason), "the bank was asked");
    assert_eq!(said(&row.decided_by), "officer");
    assert_eq!(world.store.rows("delivery_decision").await, 2);
    assert!(refused(decide(&world, no, Decision::Discard).await).contains("in the books"));
    assert!(refused(decide(&world, 99, Decision::Retry).await).contains("is none"));
    assert_eq!(world.store.check().await, []);
    world.db.close().await;
}

async fn a_discarded_delivery_is_never_tried_again(store: Store) {
    let (world, no) = poisoned(store).await;
    let ran = world
        .store
        .jintuo(&["feed", "discard", &no.to_string(), "--by", "officer"]);
    assert_eq!(ran.code, 2, "a reason is asked for: {}", ran.stderr);
    say(&world, "discard", no).ended(0);
    let now = at(&day(FIRST).plus(1).to_string(), 6, 15);
    world.tick(now).await;
    let left = listed(&world, false).await;
    assert_eq!(
        (left[0].state.as_str(), left[0].note.as_str()),
        ("discarded", "a test file")
    );
    let ran = say(&world, "retry", no).ended(1);
    assert!(ran.stderr.contains("was discarded"), "{}", ran.stderr);
    // Its bytes stay, and the bank may bring it again without waking it.
    let bytes = statement("ccb", day(FIRST));
    let mut tx = world.db.begin_write().await.expect("a transaction");
    let again = deliveries::keep_delivery(&mut tx, "ccb", &bytes.name, &bytes.bytes).await;
    assert_eq!(again.expect("kept").number(), no);
    tx.commit().await.expect("a commit");
    let shown = world.store.jintuo(&["feed", "deliveries"]).ended(0).text();
    assert!(
        shown.contains("discard by officer") && shown.contains("a test file"),
        "{shown}"
    );
    let shown = world
        .store
        .jintuo(&["feed", "deliveries", "--json"])
        .ended(0);
    let object: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(object["deliveries"][0]["state"], "discarded");
    assert_eq!(object["deliveries"][0]["decided"]["by"], "officer");
    // What waits is not taken out of a reader's hands.
    let mut tx = world.db.begin_write().await.expect("a transaction");
    let waits = deliveries::keep_delivery(&mut tx, "ccb", "other.xml", b"?").await;
    let waits = waits.expect("kept").number();
    tx.commit().await.expect("a commit");
    let reader = world.db.lock(Job::Import).await.expect("nobody reads");
    let busy = decide(&world, waits, Decision::Discard).await;
    assert!(
        matches!(busy, Err(ImportError::Db(DbError::Busy(_)))),
        "{busy:?}"
    );
    say(&world, "discard", waits).ended(75);
    drop(reader);
    decide(&world, waits, Decision::Discard)
        .await
        .expect("free");
    world.db.close().await;
}

async fn a_refused_delivery_is_read_again_under_new_settings(store: Store) {
    let mut world = World::new(store, |feed, on, _, _| match feed {
        "ccb" => {
            let mut file = statement(feed, on);
            let bill = std::fs::read_to_string(fixture("wire/wechat/fund.csv"));
            let bill = bill
                .expect("a fixture")
                .replace("2026-06-05", &on.to_string());
            file.bytes = bill.into_bytes();
            Reply::Files(vec![file])
        }
        _ => Reply::Files(vec![statement(feed, on)]),
    })
    .await;
    let now = at(&day(FIRST).plus(1).to_string(), 6, 0);
    world.tick(now).await;
    let left = listed(&world, false).await;
    assert_eq!((left.len(), left[0].state.as_str()), (1, "quarantined"));
    assert!(left[0].note.contains("`account` of the feed"), "{left:?}");
    let feed = world.config.feed.iter_mut().find(|f| f.name == "ccb");
    feed.expect("a feed").account = Some(account("ccb", 1));
    world.tick(now).await;
    assert_eq!(
        listed(&world, false).await.len(),
        1,
        "nobody has said so yet"
    );
    decide(&world, left[0].delivery_no, Decision::Retry)
        .await
        .expect("released");
    world.tick(now).await;
    assert_eq!(listed(&world, false).await, []);
    let all = listed(&world, true).await;
    let assumed: Vec<Option<&str>> = (all.iter())
        .map(|d| d.assumed_account.as_deref())
        .filter(Option::is_some)
        .collect();
    assert_eq!(assumed, [Some(account("ccb", 1).as_str())]);
    let shown = world
        .store
        .jintuo(&["feed", "deliveries", "--all"])
        .ended(0)
        .text();
    assert!(
        shown.contains("not in the file, from settings: account"),
        "{shown}"
    );
    assert_eq!(world.store.check().await, []);
    world.db.close().await;
}

async fn a_day_is_asked_for_again_by_hand(store: Store) {
    let world = World::new(store, |feed, on, _, before| match feed {
        "abc" if before == 0 => Reply::Refusal,
        "icbc" => Reply::FilesAndSilence(vec![statement(feed, on)], Vec::new()),
        _ => Reply::Files(vec![statement(feed, on)]),
    })
    .await;
    let on = day(FIRST);
    let now = at(&on.plus(1).to_string(), 6, 0);
    let long = std::time::Duration::from_secs(60);
    let service = world.service(now).with_fetch_time(long);
    let ticking = tokio::spawn(async move { service.tick().await });
    world.banks.silent.notified().await;
    world.when_asked(3).await;
    let soon = world.service(now + chrono::TimeDelta::seconds(30));
    let held = soon.ask_again("icbc", on).await;
    assert!(
        matches!(held, Err(AskError::Db(DbError::Busy(_)))),
        "{held:?}"
    );
    world.banks.go_on.notify_one();
    ticking.await.expect("it ends").expect("the database works");
    // It waits for seven o'clock.
    assert_eq!(soon.tick().await.expect("the database works").fetched, []);
    soon.ask_again("abc", on).await.expect("it is owed");
    let done = soon.tick().await.expect("the database works");
    let asked: Vec<(&str, bool)> = (done.fetched.iter())
        .map(|f| {
            (
                f.feed.as_str(),
                matches!(f.outcome, Outcome::Answered { new: 1, .. }),
            )
        })
        .collect();
    assert_eq!(asked, [("abc", true)]);
    // A day that was answered may be asked for again as well.
    soon.ask_again("ccb", on).await.expect("it is owed");
    let done = soon.tick().await.expect("the database works");
    assert_eq!(done.fetched.len(), 1, "{done:?}");
    let none = soon.ask_again("boc", on).await;
    assert!(matches!(none, Err(AskError::NoFeed(_))), "{none:?}");
    for other in [on.plus(-1), on.plus(1)] {
        let not = soon.ask_again("abc", other).await;
        assert!(matches!(not, Err(AskError::NotOwed { .. })), "{not:?}");
    }
    assert_eq!(world.runs().await.len(), 1);
    world.db.close().await;
}

async fn no_bank_states_the_accounts_of_another(store: Store) {
    let world = World::new(store, prompt).await;
    let file = statement("ccb", day(FIRST));
    let mut tx = world.db.begin_write().await.expect("a transaction");
    (deliveries::keep_delivery(&mut tx, "abc", &file.name, &file.bytes).await).expect("kept");
    tx.commit().await.expect("a commit");
    // Before any bank is asked.
    world.tick(at(FIRST, 5, 0)).await;
    let left = listed(&world, false).await;
    for said in ["no bank states another's accounts", "`bank` of the feed"] {
        assert!(left[0].note.contains(said), "{left:?}");
    }
    assert_eq!(world.store.rows("statement_day").await, 0);
    assert_eq!(world.store.rows("posting").await, 0);
    world.db.close().await;
}

async fn a_feed_whose_bank_no_account_names_is_told(store: Store) {
    let mut world = World::new(store, prompt).await;
    let told = feeds_without_accounts(&world.db, &world.config.feed).await;
    assert_eq!(told.expect("it can be asked"), []);
    world.config.feed[0].bank = world.config.feed[0].bank.to_lowercase();
    world.config.feed[1].bank = "NOBODY".to_owned();
    let told = feeds_without_accounts(&world.db, &world.config.feed).await;
    let told = told.expect("it can be asked");
    let feeds: Vec<&str> = told.iter().map(|(feed, _)| feed.as_str()).collect();
    let named: Vec<&str> = (world.config.feed[..2].iter())
        .map(|f| f.name.as_str())
        .collect();
    assert_eq!(feeds, named);
    assert!(
        told[0].1.contains("is spelt") && told[1].1.contains("NOBODY"),
        "{told:?}"
    );
    world.db.close().await;
}
