//! A bank's least distance between requests holds across fetches, starts and replicas.

use std::sync::Arc;
use std::time::Duration;

use jintuo::base::{Day, Instant};
use jintuo::schedule::Fetched;

use super::world::{BANKS, FIRST, Reply, World, at, prompt, statement};
use crate::harness::{Store, day, on_both, on_servers};

on_both!(
    a_bank_is_left_alone_until_its_time_whoever_starts,
    the_days_of_one_fetch_are_asked_for_by_one_source,
    what_a_killed_replica_asked_last_is_known_to_the_next,
    an_instant_of_a_clock_that_was_put_back_holds_nobody_up,
    a_replica_whose_clock_is_seconds_behind_keeps_the_distance,
);

const DISTANCE: Duration = Duration::from_secs(600);

/// A city whose banks are asked at most every ten minutes.
async fn world(
    store: Store,
    script: impl Fn(&str, Day, Instant, usize) -> Reply + Send + Sync + 'static,
) -> World {
    let mut world = World::new(store, script).await;
    for feed in &mut world.config.feed {
        let text = format!(
            "kind = \"https\"\nurl = \"https://bank.example/\"\nmin_interval_ms = {}",
            DISTANCE.as_millis()
        );
        feed.source = toml::from_str(&text).expect("settings that work");
    }
    world
}

/// When the feed was asked for what.
fn of<'a>(fetched: &'a [Fetched], feed: &str) -> Vec<&'a Fetched> {
    fetched.iter().filter(|f| f.feed == feed).collect()
}

async fn a_bank_is_left_alone_until_its_time_whoever_starts(store: Store) {
    let world = world(store, prompt).await;
    let first = at("2026-01-06", 6, 0);
    assert_eq!(of(&world.tick(first).await.fetched, "icbc").len(), 1);
    // The bank has answered, and somebody wants the day again.
    let soon = first + Duration::from_secs(30);
    let again = world.service(soon).ask_again("icbc", day(FIRST)).await;
    again.expect("nobody asks");
    let free = first + DISTANCE;
    for early in [soon, free - Duration::from_secs(1)] {
        let done = world.tick(early).await;
        assert_eq!(of(&done.fetched, "icbc"), Vec::<&Fetched>::new());
        assert_eq!(done.wake, Some(free));
    }
    assert_eq!(of(&world.tick(free).await.fetched, "icbc").len(), 1);
    assert_eq!(world.asked().len(), BANKS.len() + 1);
    world.db.close().await;
}

async fn the_days_of_one_fetch_are_asked_for_by_one_source(store: Store) {
    let world = world(store, prompt).await;
    let done = world.tick(at("2026-01-08", 6, 0)).await;
    let days: Vec<Day> = (of(&done.fetched, "icbc").iter()).map(|f| f.day).collect();
    assert_eq!(days, ["2026-01-05", "2026-01-06", "2026-01-07"].map(day));
    world.db.close().await;
}

async fn what_a_killed_replica_asked_last_is_known_to_the_next(store: Store) {
    let world = world(store, |feed, on, _, before| match feed {
        "icbc" if before == 0 => Reply::FilesAndSilence(Vec::new(), Vec::new()),
        _ => Reply::Files(vec![statement(feed, on)]),
    })
    .await;
    let first = at("2026-01-06", 6, 0);
    let doomed = world.service(first).with_fetch_time(DISTANCE);
    let doomed = tokio::spawn(async move { doomed.tick().await });
    world.banks.silent.notified().await;
    doomed.abort();
    assert!(doomed.await.is_err(), "it was killed while it asked");
    // Its claim is over, the distance is not.
    let done = world.tick(first + Duration::from_secs(120)).await;
    assert_eq!(of(&done.fetched, "icbc"), Vec::<&Fetched>::new());
    let done = world.tick(first + DISTANCE).await;
    assert_eq!(of(&done.fetched, "icbc").len(), 1);
    world.db.close().await;
}

async fn an_instant_of_a_clock_that_was_put_back_holds_nobody_up(store: Store) {
    let world = world(store, prompt).await;
    world.tick(at("2026-01-06", 9, 0)).await;
    let back = at("2026-01-06", 7, 0);
    let again = world.service(back).ask_again("icbc", day(FIRST)).await;
    again.expect("nobody asks");
    assert_eq!(of(&world.tick(back).await.fetched, "icbc").len(), 1);
    world.db.close().await;
}

#[test]
fn of_two_replicas_that_begin_at_once_one_asks_a_bank() {
    on_servers(|store| async move {
        let world = Arc::new(world(store, prompt).await);
        let (one, two) = (world.store.open(0).await, world.store.open(0).await);
        let now = at("2026-01-09", 6, 0);
        let (a, b) = (
            world.service_on(&one, now, "one"),
            world.service_on(&two, now, "two"),
        );
        let (a, b) = tokio::join!(a.tick(), b.tick());
        let (a, b) = (
            a.expect("the database works").fetched,
            b.expect("the database works").fetched,
        );
        for bank in BANKS {
            let (a, b) = (of(&a, bank).len(), of(&b, bank).len());
            assert_eq!((a + b, a.min(b)), (4, 0), "{bank}: {a} and {b}");
        }
        for db in [&one, &two, &world.db] {
            db.close().await;
        }
    });
}

async fn a_replica_whose_clock_is_seconds_behind_keeps_the_distance(store: Store) {
    let world = world(store, prompt).await;
    let asked_at = at("2026-01-06", 6, 0);
    assert_eq!(of(&world.tick(asked_at).await.fetched, "icbc").len(), 1);
    for behind in [1, 59] {
        let behind = asked_at - Duration::from_secs(behind);
        let again = world.service(behind).ask_again("icbc", day(FIRST)).await;
        again.expect("nobody asks");
        let done = world.tick(behind).await;
        assert_eq!(of(&done.fetched, "icbc"), Vec::<&Fetched>::new());
    }
    let done = world.tick(asked_at + DISTANCE).await;
    assert_eq!(of(&done.fetched, "icbc").len(), 1);
    world.db.close().await;
}
