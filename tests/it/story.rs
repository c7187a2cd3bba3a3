//! A simulated city, day by day: what was planted is found on its day, with its amount, and ends on its
//! day; nothing else is found.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jintuo::base::{Clock, Day, FlagCode};
use jintuo::demo::{City, Plan, Planted, simulate};
use jintuo::policy::{CHINA, DEFAULT};
use jintuo::report::{self, Wanted};
use jintuo::store::{Db, OpenOptions};
use jintuo::{check, intake, run};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn business_days(last: &str, count: usize) -> Vec<Day> {
    let mut day: Day = last.parse().expect("a date");
    let mut days = Vec::new();
    while days.len() < count {
        if CHINA.is_working(day) {
            days.push(day);
        }
        day = day.plus(-1);
    }
    days.reverse();
    days
}

type Found = BTreeMap<(FlagCode, String, String), i64>;

fn planted_on(city: &City, day: Day) -> Found {
    city.planted
        .iter()
        .filter(|p| p.day <= day && p.cured.is_none_or(|cured| day < cured))
        .map(|p| {
            (
                (code(p), p.institution_id.clone(), p.subject.clone()),
                p.amount.fen(),
            )
        })
        .collect()
}

/// A statement file that does not balance is refused whole, so its day has no statement.
fn code(planted: &Planted) -> FlagCode {
    match planted.code {
        FlagCode::FeedBroken => FlagCode::FeedMissing,
        code => code,
    }
}

/// Findings of a day as the planted list names them; amounts of states move, so only facts keep theirs.
async fn found_on(db: &Db, day: Day) -> Found {
    let mut tx = db.begin_read().await.expect("the step works");
    let wanted = Wanted {
        as_of: Some(day),
        ..Wanted::default()
    };
    let run = report::find_run(&mut tx, &wanted)
        .await
        .expect("readable")
        .expect("a completed run");
    let findings = report::store::findings(&mut tx, &run, None)
        .await
        .expect("the step works");
    findings
        .into_iter()
        .filter(|f| f.code != FlagCode::TimingGap)
        .map(|f| ((f.code, f.institution_id, f.subject), f.amount.fen()))
        .collect()
}

#[tokio::test]
async fn what_was_planted_is_found_and_nothing_else() {
    let folder = Folder(std::env::temp_dir().join(format!("jintuo-story-{}", std::process::id())));
    let plan = Plan {
        seed: 7,
        institutions: 200,
        business_days: business_days("2026-06-30", 60),
    };
    let city = simulate(&plan, &folder.0).expect("the step works");
    let clock = Clock::system(chrono_tz::Asia::Shanghai);
    let db = Db::open("sqlite::memory:", clock, &OpenOptions::default())
        .await
        .expect("the step works");
    let options = intake::Options::default();
    let quiet = &mut intake::Silent;
    intake::import(
        &db,
        std::slice::from_ref(&city.registry_bundle),
        &options,
        quiet,
    )
    .await
    .expect("the step works");
    let mut wrong = Vec::new();
    for day in &city.days {
        intake::import(&db, &day.inputs(), &options, quiet)
            .await
            .expect("the step works");
        let options = run::Options {
            threads: None,
            as_of: day.day,
            known_at: None,
            policy: DEFAULT.to_owned(),
            district: None,
        };
        run::day(&db, &options, &mut run::Silent)
            .await
            .expect("the step works");
        let (planted, found) = (planted_on(&city, day.day), found_on(&db, day.day).await);
        for key in planted.keys().filter(|k| !found.contains_key(*k)) {
            wrong.push(format!("{} missed {key:?}", day.day));
        }
        for key in found.keys().filter(|k| !planted.contains_key(*k)) {
            wrong.push(format!("{} invented {key:?}", day.day));
        }
        // The planted list leaves the balance of an unfiled account out.
        let amounts = |p: &&Planted| p.day == day.day && p.code != FlagCode::UnfiledAccount;
        for p in city.planted.iter().filter(amounts) {
            let key = (code(p), p.institution_id.clone(), p.subject.clone());
            if let Some(amount) = found.get(&key).filter(|a| **a != p.amount.fen()) {
                wrong.push(format!(
                    "{} {key:?}: {amount}, planted {}",
                    day.day,
                    p.amount.fen()
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(check::check(&db).await.expect("the step works"), []);
}
