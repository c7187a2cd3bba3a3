//! Services that end half-way: the next one goes on, and the books are the same.

use jintuo::feed::deliveries::keep_delivery;
use jintuo::feed::jobs::CLAIM;
use jintuo::report::Wanted;
use jintuo::schedule::Outcome;

use super::world::{FIRST, Reply, World, at, prompt, statement, working_days};
use crate::harness::{Books, Store, day, on_both, on_sqlite};
use crate::interrupted::cut;

on_both!(
    a_fetch_that_ends_after_keeping_a_file_is_made_again,
    claims_that_are_prolonged_all_the_time_change_nothing,
    taking_in_and_reconciling_may_be_cut_anywhere,
);

async fn a_fetch_that_ends_after_keeping_a_file_is_made_again(store: Store) {
    let world = World::new(store, |feed, on, _, before| {
        let file = || vec![statement(feed, on)];
        match feed {
            "icbc" if before == 0 => Reply::FilesAndSilence(file(), Vec::new()),
            _ => Reply::Files(file()),
        }
    })
    .await;
    let next = day(FIRST).plus(1).to_string();
    let service = world
        .service(at(&next, 6, 0))
        .with_fetch_time(std::time::Duration::from_secs(60));
    tokio::select! {
        _ = service.tick() => panic!("a bank is silent"),
        () = world.banks.silent.notified() => {}
    }
    // The claim is still held: nobody asks twice.
    let early = world.tick(at(&next, 6, 1)).await;
    let asked = |world: &World| world.asked().iter().filter(|(f, _)| f == "icbc").count();
    assert_eq!(asked(&world), 1);
    let lapsed = at(&next, 6, 0) + CLAIM + std::time::Duration::from_secs(1);
    let done = world.tick(lapsed).await;
    assert_eq!(asked(&world), 2);
    let total = world.deliveries().await;
    assert_eq!(total.len(), 3);
    assert!(
        total.iter().all(|(_, state, _)| state == "taken"),
        "{total:?}"
    );
    // The day ran when its last file was there, whichever tick found it.
    let runs = [early.booked.runs, done.booked.runs].concat();
    assert_eq!((runs.len(), runs[0].accounts_unproven), (1, 0));
    assert_eq!(world.store.rows("posting").await, 6);
    assert_eq!(world.store.check().await, []);
    world.db.close().await;
}

/// Beats meet every transaction of the work they stand beside, its last one included.
async fn claims_that_are_prolonged_all_the_time_change_nothing(store: Store) {
    let world = World::new(store, prompt).await;
    for on in working_days(4) {
        let service = world.service(at(&on.plus(1).to_string(), 6, 0));
        let service = service.with_beat(std::time::Duration::ZERO);
        let done = service.tick().await.expect("the database works");
        assert_eq!(done.booked.failures, Vec::<String>::new());
        let answered =
            |f: &&jintuo::schedule::Fetched| matches!(f.outcome, Outcome::Answered { .. });
        assert_eq!(done.fetched.iter().filter(answered).count(), 3, "{done:?}");
    }
    let runs = world.runs().await;
    assert_eq!(runs.len(), 4);
    assert!(runs.values().all(|n| *n == 1), "{runs:?}");
    assert_eq!(world.store.check().await, []);
    world.db.close().await;
}

/// Three days delivered and not yet read; one bank corrects itself on the last.
async fn delivered(store: Store) -> World {
    let world = World::new(store, prompt).await;
    let mut tx = world.db.begin_write().await.expect("a transaction");
    for on in working_days(3) {
        for bank in super::BANKS {
            let file = statement(bank, on);
            if (bank, on) == (super::BANKS[0], working_days(3)[2]) {
                let wrong = wrong(&file.bytes);
                keep_delivery(&mut tx, bank, &file.name, &wrong)
                    .await
                    .expect("kept");
            }
            keep_delivery(&mut tx, bank, &file.name, &file.bytes)
                .await
                .expect("kept");
        }
    }
    tx.commit().await.expect("a commit");
    world
}

/// The third day's statements with another amount.
fn wrong(bytes: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).expect("text");
    let other = text
        .replace(
            "<Ntry><Amt Ccy=\"CNY\">10.00",
            "<Ntry><Amt Ccy=\"CNY\">20.00",
        )
        .replace(">30.00", ">40.00");
    assert_ne!(text, other);
    other.into_bytes()
}

/// How much history there is: a file that is read twice must not add to it.
async fn history(world: &World) -> Vec<i64> {
    let mut rows = Vec::new();
    for table in ["posting", "statement", "statement_day", "statement_dispute"] {
        rows.push(world.store.rows(table).await);
    }
    rows
}

async fn books(world: &World) -> Books {
    let wanted = Wanted {
        as_of: working_days(3).last().copied(),
        ..Wanted::default()
    };
    world.store.books(&wanted).await.essence()
}

async fn taking_in_and_reconciling_may_be_cut_anywhere(store: Store) {
    let last = working_days(3)[2].plus(1).to_string();
    let undisturbed = delivered(store.another().await).await;
    let booked = undisturbed.tick(at(&last, 12, 0)).await.booked;
    assert_eq!((booked.imports.len(), booked.runs.len()), (1, 3));
    let (expected, history_expected) = (books(&undisturbed).await, history(&undisturbed).await);
    // Eighteen lines; two of them were other ones first, and were taken back.
    assert_eq!(history_expected, [22, 20, 20, 0]);
    undisturbed.db.close().await;
    undisturbed.store.remove().await;
    let step = if store.is_postgres() { 41 } else { 11 };
    let mut polls = 3;
    loop {
        let world = delivered(store.another().await).await;
        let ended = cut(polls, world.service(at(&last, 11, 30)).book()).await;
        // The claim of what was cut is over.
        world.tick(at(&last, 12, 0)).await;
        let runs = world.runs().await;
        assert_eq!(runs.len(), 3, "cut after {polls} polls");
        assert!(
            runs.values().all(|n| *n == 1),
            "cut after {polls} polls: {runs:?}"
        );
        let states = world.deliveries().await;
        assert!(
            states
                .iter()
                .all(|(_, state, n)| state == "taken" && *n <= 2),
            "cut after {polls} polls: {states:?}"
        );
        assert_eq!(
            history(&world).await,
            history_expected,
            "cut after {polls} polls"
        );
        assert_eq!(books(&world).await, expected, "cut after {polls} polls");
        assert_eq!(world.store.check().await, [], "cut after {polls} polls");
        world.db.close().await;
        world.store.remove().await;
        if ended {
            break;
        }
        polls += step;
    }
    assert!(polls > 60, "the work waits more than {polls} times");
}

/// An embedded database has one server: what a killed one had claimed is free when the next one starts.
#[test]
fn a_server_that_was_killed_holds_nothing_on_sqlite() {
    on_sqlite(|store| async move {
        let world = World::new(store, |feed, on, _, before| {
            if before == 0 {
                Reply::FilesAndSilence(vec![statement(feed, on)], Vec::new())
            } else {
                Reply::Never
            }
        })
        .await;
        let now = at(&day(FIRST).plus(1).to_string(), 6, 0);
        let long = std::time::Duration::from_secs(60);
        let service = world.service(now).with_fetch_time(long);
        tokio::select! {
            _ = service.tick() => panic!("every bank is silent"),
            () = world.when_asked(3) => {}
        }
        let next = world.service(now + chrono::TimeDelta::minutes(1));
        let next = next.with_fetch_time(long);
        next.serve(world.when_asked(6)).await.expect("it stops");
        world.db.close().await;
    });
}
