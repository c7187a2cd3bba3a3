//! A quarter of a year with twelve banks and every kind of trouble, over real sockets and in folders: each
//! account-day ends proven or named, nothing is lost or doubled, and nobody is shown as known without a
//! statement.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jintuo::bank_sim::{BANKS, Manifest, Plan, Sim, Trouble, drop_files, write_registry};
use jintuo::base::{Clock, Day, Entropy};
use jintuo::config::{self, Config};
use jintuo::feed::source::Surroundings;
use jintuo::feed::source::resolver::{Trust, system_lookup};
use jintuo::policy::CHINA;
use jintuo::report::Wanted;
use jintuo::schedule::Service;

use super::world::at;
use crate::harness::{Store, day, on_both};

on_both!(every_day_of_a_quarter_ends_proven_or_named);

/// The first and last day with statements: a quarter.
const FIRST: &str = "2026-04-01";
const LAST: &str = "2026-06-30";
/// Every third bank drops its files into a folder.
fn drops(at: usize) -> bool {
    at % 3 == 2
}

fn settings(address: &str, store: &Store) -> Config {
    let mut text = String::new();
    for (at, (bank, _)) in BANKS.iter().enumerate() {
        let source = if drops(at) {
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
            "[[feed]]\nname = {bank:?}\nbank = {code:?}\nschedule = \"0 0 7,9,12 * * *\"\n\
             first_day = \"{FIRST}\"\nsource = {source}\n"
        );
    }
    let path = store.dir.write("jintuo.toml", text);
    let mut config = Config::load(Some(&path)).expect("settings that work");
    config.run = config::Run::default();
    config
}

/// Lives through one calendar day's morning.
async fn live(store: &Store, db: &jintuo::store::Db, sim: &Sim, today: Day) {
    drop_files(sim, today, &store.dir.path().join("drop")).expect("a folder");
    let listener = (tokio::net::TcpListener::bind(("127.0.0.1", 0)).await).expect("a port");
    let address = listener.local_addr().expect("a port").to_string();
    let config = settings(&address, store);
    let zone = chrono_tz::Asia::Shanghai;
    let (mut now, end) = (at(&today.to_string(), 6, 0), at(&today.to_string(), 12, 30));
    let never = std::future::pending();
    let clock = Clock::fixed(now, zone);
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
            "quarter",
        );
        let done = service.expect("settings that work").tick().await;
        let wake = done.expect("the database works").wake;
        now = (wake.expect("there is always tomorrow")).max(now + Duration::from_secs(30));
    }
    server.abort();
}

/// Trouble by account and day.
fn planted(manifest: &Manifest) -> BTreeMap<(&str, Day), Trouble> {
    (manifest.planted.iter())
        .map(|p| ((p.account_id.as_str(), p.day), p.trouble))
        .collect()
}

/// Institutions that must be unknown as of a day: a statement of the day is not shown yet, or contradicted.
fn unknown(sim: &Sim, on: Day, today: Day) -> BTreeSet<String> {
    let trouble = planted(&sim.manifest);
    (sim.manifest.statements.iter())
        .filter(|t| t.day == on)
        .filter(|t| match trouble.get(&(t.account_id.as_str(), on)) {
            Some(Trouble::Late | Trouble::Truncated) => t.visible_from > today,
            Some(Trouble::Contradicting) => true,
            _ => false,
        })
        .map(|t| t.bank.to_uppercase())
        .collect()
}

/// What stands as closing of each account and day.
async fn closings(store: &Store) -> BTreeMap<(String, Day), i64> {
    let db = store.open(0).await;
    let mut tx = db.begin_read().await.expect("a transaction");
    let sql = "SELECT a.account_id, s.day, s.closing_fen FROM statement_day s \
               JOIN account_directory a ON a.inst_id = s.inst_id AND a.account_no = s.account_no \
               ORDER BY s.version";
    let rows: Vec<(String, i64, i64)> =
        jintuo::on!(tx, c => sqlx::query_as(sql).fetch_all(c).await)
            .expect("statement days can be read");
    tx.rollback().await.expect("a rollback");
    db.close().await;
    (rows.into_iter())
        .map(|(account, on, fen)| {
            let on = Day::from_epoch(i32::try_from(on).expect("a day"));
            ((account, on), fen)
        })
        .collect()
}

async fn every_day_of_a_quarter_ends_proven_or_named(store: Store) {
    let days: Vec<Day> = (day(FIRST).through(day(LAST)))
        .filter(|d| CHINA.is_working(*d))
        .collect();
    let sim = Sim::new(&Plan {
        seed: 20_260_701,
        days: days.clone(),
        banks: BANKS.len(),
        accounts: 1,
        trouble_permille: 120,
        wire_permille: 12,
    });
    let kinds: BTreeSet<Trouble> = sim.manifest.planted.iter().map(|p| p.trouble).collect();
    assert_eq!(kinds.len(), 6, "all troubles are planted: {kinds:?}");
    let registry = store.dir.path().join("registry");
    write_registry(&sim, &registry).expect("a folder");
    store.import(0, &[&registry]).await;
    let db = store.open(0).await;
    // A week more for what comes late.
    for today in day(FIRST).through(day(LAST).plus(8)) {
        live(&store, &db, &sim, today).await;
        let on = today.plus(-1);
        if !days.contains(&on) {
            continue;
        }
        let books = store
            .books(&Wanted {
                as_of: Some(on),
                ..Wanted::default()
            })
            .await;
        for row in &books.institutions.0 {
            let must = unknown(&sim, on, today).contains(&row["institution_id"]);
            let of_day = |p: &&jintuo::bank_sim::Planted| p.day == on;
            let why: Vec<_> = sim.manifest.planted.iter().filter(of_day).collect();
            assert!(!must || row["status"] == "UNKNOWN", "{on} {row:?} {why:?}");
        }
    }
    db.close().await;

    // Every account-day is in one state, and the state is what was planted.
    let ran = store.jintuo(&["feed", "status", "--as-of", LAST, "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("one object");
    let trouble = planted(&sim.manifest);
    let mut seen = BTreeSet::new();
    for row in status["days"].as_array().expect("days") {
        let text = |key: &str| row[key].as_str().expect("text");
        let key = (text("account_id"), day(text("date")));
        assert!(seen.insert(key), "{key:?} twice");
        let expected = match trouble.get(&key) {
            Some(Trouble::Contradicting) => "disputed",
            Some(Trouble::Corrected) => "revised",
            _ => "proven",
        };
        assert_eq!(text("state"), expected, "{row}");
    }
    assert_eq!(seen.len(), days.len() * BANKS.len());

    // Nothing lost, nothing doubled: what stands is the truth, to the line. Of a contradiction the first
    // statement stands, which has one line more.
    let contradicted = (trouble.values()).filter(|t| **t == Trouble::Contradicting);
    let lines: usize = sim.manifest.statements.iter().map(|t| t.lines).sum();
    let expected = lines + contradicted.clone().count();
    let posted = store
        .rows("posting WHERE kind = 5 AND reverses IS NULL")
        .await;
    let reversed = store
        .rows("posting WHERE kind = 5 AND reverses IS NOT NULL")
        .await;
    assert_eq!(posted - reversed, i64::try_from(expected).expect("few"));
    let closings = closings(&store).await;
    for truth in &sim.manifest.statements {
        let key = (truth.account_id.as_str(), truth.day);
        if trouble.get(&key) != Some(&Trouble::Contradicting) {
            let stated = closings.get(&(truth.account_id.clone(), truth.day));
            assert_eq!(stated, Some(&truth.closing_fen), "{truth:?}");
        }
    }
    let disputes = i64::try_from(contradicted.count()).expect("few");
    assert_eq!(store.rows("statement_dispute").await, disputes);
    assert_eq!(store.check().await, []);
}
