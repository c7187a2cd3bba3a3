//! Simulated banks over real sockets and in a folder, with errors, 429 and silence on the wire: every day
//! is in the end what the banks' manifest says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jintuo::bank_sim::{BANKS, BANKS_USUAL, Plan, Sim, drop_files, write_registry};
use jintuo::base::{Clock, Day, Entropy};
use jintuo::config::{self, Config};
use jintuo::feed::source::Surroundings;
use jintuo::feed::source::resolver::{Trust, system_lookup};
use jintuo::schedule::Service;

use super::world::{at, working_days};
use crate::harness::{Store, on_both};

on_both!(days_are_whole_in_the_end_whatever_the_wire_does);

/// Three banks are pulled, one drops its files into a folder.
fn settings(address: &str, store: &Store) -> Config {
    let mut text = String::new();
    for (bank, _) in &BANKS[..BANKS_USUAL] {
        let source = if *bank == "sim-c" {
            let path = store.dir.path().join("drop").join(bank);
            format!("{{ kind = \"folder\", path = {path:?}, companion = \".ok\" }}")
        } else {
            format!(
                "{{ kind = \"https\", url = \"http://{address}/banks/{bank}/statements\", \
                 allow_loopback_http = true, min_interval_ms = 0, timeout_seconds = 1 }}"
            )
        };
        let code = bank.to_uppercase();
        text += &format!(
            "[[feed]]\nname = {bank:?}\nbank = {code:?}\nschedule = \"0 0 6-12 * * *\"\n\
             first_day = \"{}\"\nsource = {source}\n",
            super::FIRST
        );
    }
    let path = store.dir.write("jintuo.toml", text);
    let mut config = Config::load(Some(&path)).expect("settings that work");
    config.run = config::Run::default();
    config
}

async fn days_are_whole_in_the_end_whatever_the_wire_does(store: Store) {
    let zone = chrono_tz::Asia::Shanghai;
    let days = working_days(4);
    let sim = Sim::new(&Plan {
        seed: 7,
        days: days.clone(),
        banks: BANKS_USUAL,
        accounts: 2,
        trouble_permille: 0,
        wire_permille: 120,
    });
    let registry = store.dir.path().join("registry");
    write_registry(&sim, &registry).expect("a folder");
    store.import(0, &[&registry]).await;
    let db = store.open(0).await;
    let (mut failures, mut ran) = (0, Vec::<(Day, i64)>::new());
    for on in &days {
        let today = on.plus(1);
        drop_files(&sim, today, &store.dir.path().join("drop")).expect("a folder");
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a port");
        let config = settings(&listener.local_addr().expect("a port").to_string(), &store);
        let (mut now, end) = (at(&today.to_string(), 0, 0), at(&today.to_string(), 13, 0));
        let clock = Clock::fixed(now, zone);
        let never = std::future::pending();
        let served = jintuo::web::bank_sim::serve(listener, sim.clone(), clock, Some(today), never);
        let server = tokio::spawn(served);
        while now < end {
            let clock = Clock::fixed(now, zone);
            let surroundings = Surroundings {
                clock,
                entropy: Entropy::counting(1),
                trust: Trust::Demo,
                lookup: system_lookup(),
            };
            let service = Service::new(
                db.with_clock(clock),
                &config,
                Arc::new(surroundings),
                "simulated",
            );
            let done = service.expect("settings that work").tick().await;
            let done = done.expect("the database works");
            failures += (done.fetched.iter())
                .filter(|f| matches!(f.outcome, jintuo::schedule::Outcome::Failed { .. }))
                .count();
            ran.extend(
                done.booked
                    .runs
                    .iter()
                    .map(|r| (r.as_of, r.accounts_unproven)),
            );
            let wake = done.wake.expect("there is always tomorrow");
            now = wake.max(now + Duration::from_secs(30));
        }
        server.abort();
    }
    assert!(failures > 0, "there was trouble");
    let whole: Vec<(Day, i64)> = days.iter().map(|on| (*on, 0)).collect();
    assert_eq!(ran, whole, "each day once, in order, with nothing missing");
    let lines: usize = sim.manifest.statements.iter().map(|t| t.lines).sum();
    assert_eq!(
        store.rows("posting").await,
        i64::try_from(lines).expect("few")
    );
    let stated: BTreeSet<(&str, Day)> = (sim.manifest.statements.iter())
        .map(|t| (t.account_id.as_str(), t.day))
        .collect();
    let stored = store.rows("statement_day").await;
    assert_eq!(stored, i64::try_from(stated.len()).expect("few"));
    assert_eq!(store.check().await, []);
    db.close().await;
}
