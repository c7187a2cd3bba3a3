//! A quarter of a year with twelve banks and every kind of trouble, over real sockets and in folders: each
//! account-day ends proven or named, nothing is lost or doubled, and nobody is shown as known without a
//! fresh statement that is proven. One bank never comes; fees without any reference equal each other within
//! statements and across them.

use std::collections::{BTreeMap, BTreeSet};

use jintuo::bank_sim::{BANKS, Manifest, Plan, Sim, Trouble, write_registry};
use jintuo::base::Day;
use jintuo::policy::CHINA;
use jintuo::report::Wanted;

use super::simulated::Feeds;
use crate::harness::{Store, day, on_both};

on_both!(every_day_of_a_quarter_ends_proven_or_named);

/// The first and last day with statements: a quarter.
const FIRST: &str = "2026-04-01";
const LAST: &str = "2026-06-30";
/// Every third bank drops its files into a folder.
const FEEDS: Feeds = Feeds {
    banks: BANKS.len(),
    drops: |at| at % 3 == 2,
    schedule: "0 0 7,9,12 * * *",
    first_day: FIRST,
};

/// Trouble by account and day.
fn planted(manifest: &Manifest) -> BTreeMap<(&str, Day), Trouble> {
    (manifest.planted.iter())
        .map(|p| ((p.account_id.as_str(), p.day), p.trouble))
        .collect()
}

/// What was planted at the account's day before.
fn planted_before(sim: &Sim, account_id: &str, on: Day) -> Option<Trouble> {
    let own = (sim.manifest.statements.iter()).filter(|t| t.account_id == account_id);
    let before = own.map(|t| t.day).filter(|d| *d < on).max()?;
    let planted = planted(&sim.manifest);
    planted.get(&(account_id, before)).copied()
}

/// Institutions that must be unknown as of a day: a statement of the day is not shown yet, contradicted, or
/// does not go on from the day before.
fn unknown(sim: &Sim, on: Day, today: Day) -> BTreeSet<String> {
    let trouble = planted(&sim.manifest);
    (sim.manifest.statements.iter())
        .filter(|t| t.day == on)
        .filter(|t| match trouble.get(&(t.account_id.as_str(), on)) {
            Some(Trouble::Late | Trouble::Truncated | Trouble::LatePage) => {
                t.visible_from > Some(today)
            }
            Some(Trouble::Contradicting | Trouble::Never | Trouble::LostPage | Trouble::Adrift) => {
                true
            }
            _ => planted_before(sim, &t.account_id, on) == Some(Trouble::Adrift),
        })
        .map(|t| t.bank.to_owned())
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
        absent: 1,
        accounts: 1,
        trouble_permille: 150,
        wire_permille: 12,
    });
    let kinds: BTreeSet<Trouble> = sim.manifest.planted.iter().map(|p| p.trouble).collect();
    assert_eq!(kinds.len(), 11, "all troubles are planted: {kinds:?}");
    let delivered = (sim.manifest.statements.iter()).filter(|t| t.visible_from.is_some());
    let fees: Vec<(&str, usize)> = (delivered.clone()).map(|t| (t.bank, t.fees)).collect();
    assert!(
        fees.iter().any(|(_, fees)| *fees == 2),
        "two equal fees in a statement"
    );
    let in_two = |w: &[(&str, usize)]| w[0].0 == w[1].0 && w[0].1 > 0 && w[1].1 > 0;
    assert!(fees.windows(2).any(in_two), "and in two running");
    let registry = store.dir.path().join("registry");
    write_registry(&sim, &registry).expect("a folder");
    store.import(0, &[&registry]).await;
    let db = store.open(0).await;
    // A week more for what comes late.
    for today in day(FIRST).through(day(LAST).plus(8)) {
        FEEDS.live((&store, &db), &sim, (today, 6, 13)).await;
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
    let config = store.dir.path().join("jintuo.toml").display().to_string();
    let ran = store.jintuo(&[
        "--config", &config, "feed", "status", "--as-of", LAST, "--json",
    ]);
    let status: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("one object");
    let trouble = planted(&sim.manifest);
    let mut seen = BTreeSet::new();
    for row in status["days"].as_array().expect("days") {
        let text = |key: &str| row[key].as_str().expect("text");
        let key = (text("account_id"), day(text("date")));
        assert!(seen.insert(key), "{key:?} twice");
        let expected = match trouble.get(&key) {
            Some(Trouble::Contradicting | Trouble::Adrift) => "disputed",
            Some(Trouble::Never | Trouble::LostPage) => "gap",
            _ if planted_before(&sim, key.0, key.1) == Some(Trouble::Adrift) => "disputed",
            Some(Trouble::Corrected) => "revised",
            _ => "proven",
        };
        assert_eq!(text("state"), expected, "{row}");
    }
    assert_eq!(seen.len(), days.len() * BANKS.len());

    // Nothing lost, nothing doubled: what stands is the truth, to the line. Of a contradiction the first
    // statement stands, which has one line more.
    let contradicted = (trouble.values()).filter(|t| **t == Trouble::Contradicting);
    let lines: usize = delivered.map(|t| t.lines).sum();
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
        let expected = match trouble.get(&key) {
            // The one line more is of as much.
            Some(Trouble::Contradicting | Trouble::Adrift) => Some(truth.closing_fen + 100),
            Some(Trouble::Never | Trouble::LostPage) => None,
            _ => Some(truth.closing_fen),
        };
        let stated = closings.get(&(truth.account_id.clone(), truth.day));
        assert_eq!(stated.copied(), expected, "{truth:?}");
    }
    let disputes = i64::try_from(contradicted.count()).expect("few");
    assert_eq!(store.rows("statement_dispute").await, disputes);
    assert_eq!(store.check().await, []);
}
