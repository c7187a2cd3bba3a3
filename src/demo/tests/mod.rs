//! The simulator judged: bytes by bytes, files by readers of their own, the truth by the rows.

mod facts;
mod files;
mod oracle;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::books::Bank;
use super::*;

/// 60 working days from Monday 2 March 2026, with the State Council's holidays of that spring.
fn spring() -> Vec<Day> {
    let day = |month, day| Day::from_ymd(2026, month, day).unwrap();
    let off = |d: Day| (day(4, 4)..=day(4, 6)).contains(&d) || (day(5, 1)..=day(5, 5)).contains(&d);
    let works = |d: &Day| (!d.is_weekend() && !off(*d)) || *d == day(5, 9);
    day(3, 2)
        .through(day(12, 31))
        .filter(works)
        .take(60)
        .collect()
}

fn plan(seed: u64) -> Plan {
    Plan {
        seed,
        institutions: 200,
        business_days: spring(),
    }
}

/// A fresh folder under the machine's temporary one, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("jintuo-demo-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut found, mut open) = (BTreeMap::new(), vec![self.0.clone()]);
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    let bytes = fs::read(&path).unwrap();
                    found.insert(path.strip_prefix(&self.0).unwrap().to_owned(), bytes);
                }
            }
        }
        found
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn equal_plans_give_equal_bytes_and_other_seeds_others() {
    let small = |seed| Plan {
        seed,
        institutions: 60,
        business_days: spring()[..25].to_vec(),
    };
    let (one, two, three) = (Folder::new("one"), Folder::new("two"), Folder::new("three"));
    let first = simulate(&small(7), &one.0).unwrap();
    let second = simulate(&small(7), &two.0).unwrap();
    simulate(&small(8), &three.0).unwrap();
    assert_eq!(one.files(), two.files());
    assert_eq!(first.planted, second.planted);
    assert_ne!(one.files(), three.files());
}

#[test]
fn a_plan_of_any_size_is_lived_or_refused() {
    let folder = Folder::new("sizes");
    for (institutions, days) in [(0, 1), (1, 1), (3, 2), (17, 5)] {
        let plan = Plan {
            seed: 1,
            institutions,
            business_days: spring()[..days].to_vec(),
        };
        assert_eq!(simulate(&plan, &folder.0).unwrap().days.len(), days);
    }
    let empty = Plan {
        seed: 1,
        institutions: 5,
        business_days: Vec::new(),
    };
    assert_eq!(
        simulate(&empty, &folder.0).unwrap_err().kind(),
        io::ErrorKind::InvalidInput
    );
}

#[test]
fn every_kind_of_trouble_is_planted_and_only_with_hosts_of_the_play() {
    for seed in 1..=5 {
        let world = build(&plan(seed)).unwrap();
        let codes: BTreeSet<_> = world.planted.iter().map(|p| p.code).collect();
        for code in FlagCode::ALL.iter().filter(|c| **c != FlagCode::TimingGap) {
            assert!(codes.contains(code), "seed {seed}: {code} is not planted");
        }
        let defects: BTreeSet<_> = world.defects.iter().map(|d| d.code.as_str()).collect();
        let wanted = [
            "BAD_AMOUNT",
            "BAD_USCC",
            "TRUNCATED",
            "UNBALANCED",
            "UNKNOWN_PARENT",
        ];
        assert_eq!(defects, BTreeSet::from(wanted), "seed {seed}");
        let plain: BTreeSet<_> = world
            .institutions
            .iter()
            .filter(|i| i.is_plain())
            .map(|i| &i.id)
            .collect();
        let truncated = world.delivery.truncated.map(|i| world.calendar.day(i));
        for found in world
            .planted
            .iter()
            .filter(|p| plain.contains(&p.institution_id))
        {
            let file = found.code == FlagCode::FeedMissing && Some(found.day) == truncated;
            assert!(
                file,
                "seed {seed}: a plain institution is in trouble: {found:?}"
            );
        }
    }
}

#[test]
fn planted_subjects_exist_and_cures_follow() {
    let world = build(&plan(3)).unwrap();
    let mut known: BTreeSet<String> = world.institutions.iter().map(|i| i.id.clone()).collect();
    for day in &world.days {
        known.extend(day.orders.iter().map(|o| o.order_id.clone()));
        known.extend(day.payments.iter().map(|p| p.payment_id.clone()));
    }
    for owned in &world.accounts {
        known.insert(owned.book.account_id.clone());
        if owned.book.bank == Bank::Canonical {
            known.extend(owned.book.days.iter().flatten().map(|e| e.id.clone()));
        }
    }
    for found in &world.planted {
        assert!(known.contains(&found.subject), "{found:?}");
        assert!(
            found.cured.is_none_or(|cured| cured > found.day),
            "{found:?}"
        );
    }
    let mut short = world
        .planted
        .iter()
        .filter(|p| p.code == FlagCode::ContractShort);
    assert!(
        short.any(|p| p.cured.is_none()),
        "a masked gap lasts to the end"
    );
    let last = world.calendar.day(world.calendar.len() - 1);
    let silent = |p: &&Planted| p.code == FlagCode::FeedMissing && p.day == last;
    assert_eq!(world.planted.iter().filter(silent).count(), 1);
}

#[test]
fn ids_are_unique_and_fit_a_swift_field() {
    let world = build(&plan(3)).unwrap();
    let mut seen = BTreeSet::new();
    let mut fresh = |id: &String| {
        assert!(id.len() <= 16 && id != "NONREF", "{id}");
        assert!(seen.insert(id.clone()), "{id} is used twice");
    };
    for day in &world.days {
        day.orders.iter().for_each(|r| fresh(&r.order_id));
        day.payments.iter().for_each(|r| fresh(&r.payment_id));
        day.refunds.iter().for_each(|r| fresh(&r.refund_id));
        day.releases.iter().for_each(|r| fresh(&r.release_id));
        day.settlements.iter().for_each(|r| fresh(&r.batch_no));
    }
    for owned in &world.accounts {
        let entries = owned.book.days.iter().flatten();
        entries.for_each(|e| fresh(&e.id));
    }
    let numbers: BTreeSet<_> = world.accounts.iter().map(|a| &a.book.account_id).collect();
    assert_eq!(numbers.len(), world.accounts.len());
    let names: BTreeSet<_> = world.institutions.iter().map(|i| &i.name).collect();
    assert_eq!(names.len(), world.institutions.len());
    let wrong = world
        .institutions
        .iter()
        .filter(|i| crate::base::uscc::validate(&i.uscc).is_err());
    assert_eq!(wrong.count(), 1);
}
