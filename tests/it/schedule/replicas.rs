//! Several services on one PostgreSQL: one effect per feed, day and kind.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jintuo::base::{Clock, Day, Instant};
use jintuo::feed::jobs::{BEAT, CLAIM, Kind, store as jobs};
use jintuo::schedule::Outcome;
use jintuo::store::Db;

use super::world::{BANKS, FIRST, Reply, World, at, prompt, statement, working_days};
use crate::harness::{day, on_servers};

#[test]
fn services_that_tick_at_once_have_one_effect() {
    on_servers(|store| async move {
        let world = World::new(store, prompt).await;
        let (one, two) = (world.store.open(0).await, world.store.open(0).await);
        let days = working_days(4);
        for on in &days {
            for (hour, minute) in [(6, 0), (6, 1), (10, 30), (10, 31), (10, 45)] {
                let now = at(&on.plus(1).to_string(), hour, minute);
                let (a, b) = (
                    world.service_on(&one, now, "one"),
                    world.service_on(&two, now, "two"),
                );
                let before = world.asked().len();
                let (a, b) = tokio::join!(a.tick(), b.tick());
                a.expect("the database works");
                b.expect("the database works");
                let asked = &world.asked()[before..];
                let once: BTreeSet<(&str, Day)> =
                    asked.iter().map(|(f, w)| (f.as_str(), w.last)).collect();
                assert_eq!(once.len(), asked.len(), "nobody is asked twice at once");
            }
        }
        let deliveries = world.deliveries().await;
        assert_eq!(deliveries.len(), BANKS.len() * days.len());
        assert!(
            deliveries
                .iter()
                .all(|(_, s, n)| (s.as_str(), *n) == ("taken", 1))
        );
        let runs = world.runs().await;
        assert_eq!(runs.len(), days.len());
        assert!(runs.values().all(|n| *n == 1), "{runs:?}");
        assert_eq!(world.store.check().await, []);
        for db in [one, two, world.db] {
            db.close().await;
        }
    });
}

#[test]
fn a_replica_that_was_paused_past_its_claim_keeps_nothing_more() {
    on_servers(|store| async move {
        let on = day(FIRST);
        let world = World::new(store, move |feed, on, _, before| {
            let file = |n: u32| {
                let mut file = statement(feed, on);
                file.name = format!("{n}-{}", file.name);
                file
            };
            match feed {
                "icbc" if before == 0 => Reply::FilesAndSilence(vec![file(1)], vec![file(2)]),
                _ => Reply::Files(vec![file(1)]),
            }
        })
        .await;
        let next = on.plus(1).to_string();
        let (one, two) = (world.store.open(0).await, world.store.open(0).await);
        let slow = world
            .service_on(&one, at(&next, 6, 0), "slow")
            .with_fetch_time(std::time::Duration::from_secs(60));
        let slow = tokio::spawn(async move { slow.tick().await });
        world.banks.silent.notified().await;
        let other = world.service_on(&two, at(&next, 6, 2), "other");
        let done = other.tick().await.expect("the database works");
        assert_eq!(done.booked.runs.len(), 1);
        world.banks.go_on.notify_one();
        let late = slow.await.expect("it ends").expect("the database works");
        let icbc = late.fetched.iter().find(|f| f.feed == "icbc");
        assert_eq!(icbc.map(|f| &f.outcome), Some(&Outcome::Lost));
        let icbc = world.deliveries().await;
        let icbc = icbc.iter().filter(|(name, ..)| name.contains("icbc"));
        assert_eq!(
            icbc.count(),
            1,
            "what came after the claim was over is not kept"
        );
        assert_eq!(
            world.runs().await.values().copied().collect::<Vec<_>>(),
            [1]
        );
        for db in [one, two, world.db] {
            db.close().await;
        }
    });
}

/// Until when the feed's only day is held.
async fn held_until(db: &Db, feed: &str) -> Option<Instant> {
    let mut tx = db.begin_read().await.expect("a transaction");
    let rows = jobs::rows(&mut tx, Kind::Fetch, 0).await.expect("rows");
    tx.rollback().await.expect("a rollback");
    let row = rows.iter().find(|row| row.feed == feed);
    row.and_then(|row| row.held_until)
}

/// The first reply of icbc comes in two halves, the second when it is told to.
fn halves(feed: &str, on: Day, _: Instant, before: usize) -> Reply {
    match feed {
        "icbc" if before == 0 => Reply::FilesAndSilence(vec![statement(feed, on)], Vec::new()),
        _ => Reply::Files(vec![statement(feed, on)]),
    }
}

#[test]
fn a_long_fetch_is_not_taken_from_a_living_replica() {
    on_servers(|store| async move {
        let on = day(FIRST);
        let world = World::new(store, halves).await;
        let start = at(&on.plus(1).to_string(), 6, 0);
        let second: &'static AtomicI64 = Box::leak(Box::new(AtomicI64::new(start.timestamp())));
        let (one, two) = (world.store.open(0).await, world.store.open(0).await);
        let clock = Clock::by_hand(second, chrono_tz::Asia::Shanghai);
        let slow = world
            .service_by(&one, clock, "slow")
            .with_fetch_time(Duration::from_secs(60))
            .with_beat(Duration::from_millis(1));
        let slow = tokio::spawn(async move { slow.tick().await });
        world.banks.silent.notified().await;
        let asked = |world: &World| world.asked().iter().filter(|(f, _)| f == "icbc").count();
        let mut now = start;
        for _ in 0..24 {
            now += BEAT;
            second.store(now.timestamp(), Ordering::SeqCst);
            while held_until(&two, "icbc").await < Some(now + CLAIM) {
                tokio::task::yield_now().await;
            }
            let other = world.service_by(&two, clock, "other");
            other.tick().await.expect("the database works");
            assert_eq!(asked(&world), 1, "nobody else asks");
        }
        assert!(now - start >= chrono::TimeDelta::minutes(10));
        world.banks.go_on.notify_one();
        let done = slow.await.expect("it ends").expect("the database works");
        let icbc = done.fetched.iter().find(|f| f.feed == "icbc");
        let outcome = icbc.map(|f| &f.outcome);
        assert!(
            matches!(outcome, Some(Outcome::Answered { new: 1, .. })),
            "{outcome:?}"
        );
        assert_eq!(world.runs().await.len(), 1);
        for db in [one, two, world.db] {
            db.close().await;
        }
    });
}

#[test]
fn a_replica_that_finds_its_claim_taken_over_stops_asking() {
    on_servers(|store| async move {
        let on = day(FIRST);
        let world = World::new(store, halves).await;
        let start = at(&on.plus(1).to_string(), 6, 0);
        let (one, two) = (world.store.open(0).await, world.store.open(0).await);
        // Its clock stands still, so that its beats prolong nothing.
        let slow = world
            .service_on(&one, start, "slow")
            .with_fetch_time(Duration::from_secs(60))
            .with_beat(Duration::from_millis(1));
        let slow = tokio::spawn(async move { slow.tick().await });
        world.banks.silent.notified().await;
        let within = world.service_on(&two, start + CLAIM, "other");
        within.tick().await.expect("the database works");
        let asked = |world: &World| world.asked().iter().filter(|(f, _)| f == "icbc").count();
        assert_eq!(asked(&world), 1, "the claim still holds");
        let after = start + CLAIM + Duration::from_secs(1);
        let other = world.service_on(&two, after, "other");
        other.tick().await.expect("the database works");
        assert_eq!(asked(&world), 2);
        // The bank is still silent: the beat tells.
        let late = slow.await.expect("it ends").expect("the database works");
        let icbc = late.fetched.iter().find(|f| f.feed == "icbc");
        assert_eq!(icbc.map(|f| &f.outcome), Some(&Outcome::Lost));
        assert_eq!(
            world.runs().await.values().copied().collect::<Vec<_>>(),
            [1]
        );
        for db in [one, two, world.db] {
            db.close().await;
        }
    });
}
