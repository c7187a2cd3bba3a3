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
use jintuo::schedule::{Done, Outcome, Service};
use jintuo::store::Db;

use super::world::{at, working_days};
use crate::harness::{Store, on_both};

on_both!(days_are_whole_in_the_end_whatever_the_wire_does);

/// How the simulated banks are asked.
pub(super) struct Feeds {
    pub(super) banks: usize,
    /// Whether a bank drops its files into a folder instead of being pulled.
    pub(super) drops: fn(usize) -> bool,
    pub(super) schedule: &'static str,
    pub(super) first_day: &'static str,
}

impl Feeds {
    fn settings(&self, address: &str, store: &Store) -> Config {
        let mut text = String::new();
        for (at, (bank, _)) in BANKS.iter().take(self.banks).enumerate() {
            let source = if (self.drops)(at) {
                let path = store.dir.path().join("drop").join(bank);
                format!("{{ kind = \"folder\", path = {path:?}, companion = \".ok\" }}")
            } else {
                format!(
                    "{{ kind = \"https\", url = \"http://{address}/banks/{bank}/statements\", \
                     allow_loopback_http = true, min_interval_ms = 0, timeout_seconds = 1 }}"
                )
            };
            let (code, schedule, first) = (bank, self.schedule, self.first_day);
            text += &format!(
                "[[feed]]\nname = {bank:?}\nbank = {code:?}\nschedule = {schedule:?}\n\
                 first_day = {first:?}\nsource = {source}\n"
            );
        }
        let path = store.dir.write("jintuo.toml", text);
        let mut config = Config::load(Some(&path)).expect("settings that work");
        config.run = config::Run::default();
        config
    }

    /// Serves what the banks show on a day, and ticks from one hour to another whenever the service wants
    /// to, each time as a process that has just been started.
    pub(super) async fn live(
        &self,
        (store, db): (&Store, &Db),
        sim: &Sim,
        (today, from, to): (Day, u32, u32),
    ) -> Vec<Done> {
        drop_files(sim, today, &store.dir.path().join("drop")).expect("a folder");
        let listener = (tokio::net::TcpListener::bind(("127.0.0.1", 0)).await).expect("a port");
        let address = listener.local_addr().expect("a port").to_string();
        let config = self.settings(&address, store);
        let zone = chrono_tz::Asia::Shanghai;
        let (mut now, end) = (
            at(&today.to_string(), from, 0),
            at(&today.to_string(), to, 0),
        );
        let never = std::future::pending();
        let today = Arc::new(move || today);
        let served = jintuo::web::bank_sim::serve(listener, sim.clone(), today, never);
        let server = tokio::spawn(served);
        let mut ticks = Vec::new();
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
            let wake = done.wake.expect("there is always tomorrow");
            now = wake.max(now + Duration::from_secs(30));
            ticks.push(done);
        }
        server.abort();
        ticks
    }
}

/// Three banks are pulled, one drops its files into a folder.
const FEEDS: Feeds = Feeds {
    banks: BANKS_USUAL,
    drops: |at| at == 2,
    schedule: "0 0 6-12 * * *",
    first_day: super::FIRST,
};

async fn days_are_whole_in_the_end_whatever_the_wire_does(store: Store) {
    let days = working_days(4);
    let sim = Sim::new(&Plan {
        seed: 7,
        days: days.clone(),
        banks: BANKS_USUAL,
        absent: 0,
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
        for done in FEEDS.live((&store, &db), &sim, (on.plus(1), 0, 13)).await {
            failures += (done.fetched.iter())
                .filter(|f| matches!(f.outcome, Outcome::Failed { .. }))
                .count();
            let runs = done.booked.runs.iter();
            ran.extend(runs.map(|r| (r.as_of, r.accounts_unproven)));
        }
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
