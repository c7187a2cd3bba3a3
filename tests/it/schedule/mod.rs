//! The scheduler, with banks that do as a script says and a clock that is put forward by hand; the built
//! binary in the end.

mod crash;
mod decisions;
mod paced;
mod quarter;
mod replicas;
mod served;
mod simulated;
mod watched;
mod world;

use std::sync::Arc;

use jintuo::base::Day;
use jintuo::intake;
use jintuo::schedule::Outcome;
use jintuo::store::lock::Job;

use crate::bundle::Bundle;
use crate::harness::{Store, day, on_both};
use world::{BANKS, FIRST, Reply, World, at, prompt, statement, working_days};

on_both!(
    each_day_runs_once_in_order_whatever_banks_do,
    missed_days_are_caught_up_one_by_one,
    a_late_file_opens_its_day_and_those_after_it,
    a_day_does_not_wait_for_accounts_that_owe_none,
    a_file_that_ends_its_reader_is_left_alone_and_others_go_on,
    a_day_waits_for_deliveries_that_cannot_be_read_yet_but_not_for_ever,
    a_file_that_came_before_its_account_is_read_again,
    a_refusal_waits_for_the_next_firing,
    a_site_without_feeds_runs_nothing,
    days_a_command_reconciled_stay_as_they_are,
);

async fn each_day_runs_once_in_order_whatever_banks_do(store: Store) {
    let days = working_days(10);
    let (hole, storm, late) = (days[2], days[4], days[6]);
    let world = World::new(store, move |feed, on, now, before| match feed {
        "abc" if on == hole && before < 2 => Reply::Never,
        "abc" if on == hole => Reply::Nothing,
        "ccb" if on == storm && before < 3 => Reply::Busy,
        "icbc" if on == late && now < at(&late.plus(1).to_string(), 11, 0) => Reply::Nothing,
        _ => Reply::Files(vec![statement(feed, on)]),
    })
    .await;
    let ticks = world.live(at(FIRST, 0, 0), at("2026-01-18", 0, 0)).await;
    let runs: Vec<(Day, i64)> = (ticks.iter())
        .flat_map(|(_, done)| &done.booked.runs)
        .map(|run| (run.as_of, run.accounts_unproven))
        .collect();
    // The late day runs at its deadline without its statements, and again once they are there.
    let expected: Vec<(Day, i64)> = (days.iter())
        .flat_map(|d| match *d {
            d if d == hole => vec![(d, 2)],
            d if d == late => vec![(d, 2), (d, 0)],
            d => vec![(d, 0)],
        })
        .collect();
    assert_eq!(runs, expected);
    for (now, done) in &ticks {
        assert_eq!(done.booked.failures, Vec::<String>::new());
        for run in &done.booked.runs {
            let deadline = at(&run.as_of.plus(1).to_string(), 10, 30);
            assert!(
                *now <= deadline || run.as_of == late,
                "{} at {now}",
                run.as_of
            );
            // A day that is in does not wait; one that is not waits to the end.
            assert_eq!(run.accounts_unproven > 0, *now == deadline, "{}", run.as_of);
        }
    }
    // Another bank's silence cost nobody a file: all days of all banks but one, each taken once.
    let deliveries = world.deliveries().await;
    assert_eq!(deliveries.len(), BANKS.len() * days.len() - 1);
    assert!(
        deliveries
            .iter()
            .all(|(_, state, n)| (state.as_str(), *n) == ("taken", 1))
    );
    let lines = i64::try_from(deliveries.len() * 2).expect("few");
    assert_eq!(world.store.rows("posting").await, lines);
    assert_eq!(world.store.check().await, []);
    // Each window is one day, and the storm was asked again and again.
    let asked = world.asked();
    assert!(asked.iter().all(|(_, window)| window.first == window.last));
    let storms = asked.iter().filter(|(f, w)| f == "ccb" && w.last == storm);
    assert_eq!(storms.count(), 4);
    world.db.close().await;
}

async fn missed_days_are_caught_up_one_by_one(store: Store) {
    let world = World::new(store, prompt).await;
    let days = working_days(7);
    world
        .live(at(FIRST, 0, 0), at(&days[3].to_string(), 12, 0))
        .await;
    let before = world.asked().len();
    assert_eq!(world.runs().await.len(), 3);
    // Four working days and a weekend later.
    let back = at(&days[6].plus(1).to_string(), 6, 0);
    let done = world.tick(back).await;
    let runs: Vec<Day> = done.booked.runs.iter().map(|run| run.as_of).collect();
    assert_eq!(runs, days[3..]);
    assert!(
        done.booked
            .runs
            .iter()
            .all(|run| run.accounts_unproven == 0)
    );
    for bank in BANKS {
        let asked = world.asked();
        let asked: Vec<Day> = (asked[before..].iter())
            .filter(|(feed, _)| feed == bank)
            .map(|(_, window)| window.last)
            .collect();
        assert_eq!(asked, days[3..], "{bank}");
    }
    // Nothing is left to do.
    let again = world.tick(back).await;
    assert!(
        again.fetched.is_empty() && again.booked.runs.is_empty(),
        "{again:?}"
    );
    assert!(again.wake > Some(back));
    assert_eq!(world.store.check().await, []);
    world.db.close().await;
}

async fn a_late_file_opens_its_day_and_those_after_it(store: Store) {
    let days = working_days(4);
    let missing = days[1];
    let world = World::new(store, move |feed, on, _, _| {
        if feed == "icbc" && on == missing {
            Reply::Nothing
        } else {
            Reply::Files(vec![statement(feed, on)])
        }
    })
    .await;
    world
        .live(at(FIRST, 0, 0), at(&days[3].plus(1).to_string(), 12, 0))
        .await;
    assert!(world.runs().await.values().all(|n| *n == 1));
    // Somebody gives the file to the command.
    let late = statement("icbc", missing);
    let file = world.store.dir.write(&late.name, &late.bytes);
    let now = at(&days[3].plus(1).to_string(), 12, 10);
    let db = world
        .db
        .with_clock(jintuo::base::Clock::fixed(now, chrono_tz::Asia::Shanghai));
    let options = intake::Options::default();
    intake::import(&db, &[file], &options, &mut intake::Silent)
        .await
        .expect("the import works");
    let done = world.tick(now).await;
    let runs: Vec<(Day, i64)> = (done.booked.runs.iter())
        .map(|run| (run.as_of, run.accounts_unproven))
        .collect();
    assert_eq!(runs, [(missing, 0), (days[2], 0), (days[3], 0)]);
    assert_eq!(world.tick(now).await.booked.runs.len(), 0);
    world.db.close().await;
}

async fn a_day_does_not_wait_for_accounts_that_owe_none(store: Store) {
    let days = working_days(2);
    let exempt = days[1];
    let world = World::new(store, move |feed, on, _, _| {
        if feed == "icbc" && on == exempt {
            Reply::Nothing
        } else {
            Reply::Files(vec![statement(feed, on)])
        }
    })
    .await;
    let from = at(FIRST, 0, 0);
    for n in 1..=2 {
        let exemption = intake::Exempt {
            account_id: world::account("icbc", n),
            first: exempt,
            last: exempt,
            reason: "the bank changes its system".to_owned(),
        };
        let db = world
            .db
            .with_clock(jintuo::base::Clock::fixed(from, chrono_tz::Asia::Shanghai));
        let done = intake::exempt(&db, &exemption).await;
        assert!(done.expect("an exemption"));
    }
    let ticks = world
        .live(from, at(&exempt.plus(1).to_string(), 12, 0))
        .await;
    let ran: Vec<_> = (ticks.iter())
        .flat_map(|(at, done)| done.booked.runs.iter().map(|r| (r.as_of, *at)))
        .collect();
    assert_eq!(ran.len(), 2, "{ran:?}");
    // Long before the deadline at half past ten.
    assert!(ran[1].1 < at(&exempt.plus(1).to_string(), 7, 0), "{ran:?}");
    assert_eq!(ran[1].0, exempt);
    assert_eq!(world.store.check().await, []);
    world.db.close().await;
}

/// Panics at a file of a name, as a parser with a bug would.
struct Bug;

impl intake::Progress for Bug {
    fn total(&mut self, _: u64) {}
    fn file(&mut self, name: &str) {
        assert!(!name.contains("ccb"), "a bug that {name} meets");
    }
    fn bytes(&mut self, _: u64) {}
    fn done(&mut self) {}
}

async fn a_file_that_ends_its_reader_is_left_alone_and_others_go_on(store: Store) {
    let world = World::new(store, prompt).await;
    let now = at(&day(FIRST).plus(1).to_string(), 6, 0);
    let service = world.service(now).watched(Arc::new(|| Box::new(Bug)));
    let done = service.tick().await.expect("the database works");
    // Once with the others, twice alone.
    assert_eq!(done.booked.failures.len(), 3, "{:?}", done.booked.failures);
    let states: Vec<(String, String, i64)> = world.deliveries().await;
    for (name, state, attempts) in &states {
        let poison = name.starts_with("ccb");
        assert_eq!(state, if poison { "poison" } else { "taken" }, "{name}");
        assert!(
            if poison {
                *attempts == 3
            } else {
                *attempts <= 2
            },
            "{name}: {attempts}"
        );
    }
    assert_eq!(states.len(), 3);
    // It stays alone; the day runs at its deadline and names what is missing.
    let done = service.tick().await.expect("the database works");
    assert_eq!(done.booked.failures, Vec::<String>::new());
    let done = world
        .tick(at(&day(FIRST).plus(1).to_string(), 10, 30))
        .await;
    let unproven: Vec<i64> = (done.booked.runs.iter())
        .map(|run| run.accounts_unproven)
        .collect();
    assert_eq!(unproven, [2]);
    assert_eq!(world.store.check().await, []);
    world.db.close().await;
}

async fn a_file_that_came_before_its_account_is_read_again(store: Store) {
    let world = World::new(store, |feed, on, _, _| {
        let mut file = statement(feed, on);
        if feed == "ccb" {
            let text = String::from_utf8(file.bytes).expect("text");
            file.bytes = text.replace("6217000012", "6299").into_bytes();
        }
        Reply::Files(vec![file])
    })
    .await;
    let morning = |minute| at(&day(FIRST).plus(1).to_string(), 6, minute);
    world.tick(morning(0)).await;
    let state = async |world: &World| {
        let all = world.deliveries().await;
        let ccb = all.into_iter().find(|(name, ..)| name.starts_with("ccb"));
        ccb.expect("it came").1
    };
    assert_eq!(state(&world).await, "early");
    assert_eq!(world.tick(morning(10)).await.booked.imports.len(), 0);
    let account = Bundle::of(&[(
        "accounts",
        "account_id,institution_id,kind,min_deposit_fen,bank_code\n6299,I1,CUSTODY,0,CCB\n",
    )]);
    let dir = &world.store.dir;
    world
        .store
        .import(60, &[&account.write(dir, "account")])
        .await;
    assert_eq!(world.tick(morning(20)).await.booked.imports.len(), 1);
    assert_eq!(state(&world).await, "taken");
    assert_eq!(world.tick(morning(30)).await.booked.imports.len(), 0);
    world.db.close().await;
}

async fn a_day_waits_for_deliveries_that_cannot_be_read_yet_but_not_for_ever(store: Store) {
    let world = World::new(store, prompt).await;
    let on = day(FIRST).plus(1).to_string();
    let command = world.db.lock(Job::Import).await.expect("nobody imports");
    let runs = async |hour, minute| {
        let booked = world.tick(at(&on, hour, minute)).await.booked;
        let unproven = booked.runs.iter().map(|run| run.accounts_unproven);
        (booked.imports.len(), unproven.collect::<Vec<_>>())
    };
    assert_eq!(runs(10, 30).await, (0, vec![]));
    assert_eq!(runs(10, 59).await, (0, vec![]));
    assert_eq!(runs(11, 0).await, (0, vec![6]));
    drop(command);
    assert_eq!(runs(11, 1).await, (1, vec![0]));
    world.db.close().await;
}

async fn a_refusal_waits_for_the_next_firing(store: Store) {
    let world = World::new(store, |feed, on, _, before| match feed {
        "abc" if before == 0 => Reply::Refusal,
        _ => Reply::Files(vec![statement(feed, on)]),
    })
    .await;
    let morning = |hour, minute| at(&day(FIRST).plus(1).to_string(), hour, minute);
    let done = world.tick(morning(6, 0)).await;
    let abc = done.fetched.iter().find(|f| f.feed == "abc");
    let Some(Outcome::Failed { reason, again }) = abc.map(|f| &f.outcome) else {
        panic!("{abc:?}");
    };
    assert_eq!((reason.contains("401"), *again), (true, morning(7, 0)));
    assert_eq!(world.tick(morning(6, 59)).await.fetched, []);
    assert_eq!(world.tick(morning(7, 0)).await.fetched.len(), 1);
    world.db.close().await;
}

/// A day that somebody reconciled by hand before there were feeds is not reconciled again.
async fn days_a_command_reconciled_stay_as_they_are(store: Store) {
    let world = World::new(store, |_, _, _, _| Reply::Nothing).await;
    let days = working_days(4);
    for on in &days[..3] {
        for bank in BANKS {
            let file = statement(bank, *on);
            let path = world.store.dir.write(&file.name, &file.bytes);
            world.store.import(60, &[&path]).await;
        }
    }
    for on in &days[..2] {
        world.store.reconcile(61, &on.to_string(), "default").await;
    }
    let done = world.tick(at(&days[3].to_string(), 7, 0)).await;
    let runs: Vec<Day> = done.booked.runs.iter().map(|run| run.as_of).collect();
    assert_eq!(runs, [days[2]]);
    world.db.close().await;
}

async fn a_site_without_feeds_runs_nothing(store: Store) {
    let mut world = World::new(store, prompt).await;
    world.config.feed.clear();
    let done = world.tick(at("2026-01-20", 12, 0)).await;
    assert!(done.fetched.is_empty() && done.booked.runs.is_empty());
    assert_eq!(world.store.rows("job").await, 0);
    world.db.close().await;
}
