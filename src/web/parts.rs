//! What pages share: frame, badge, completeness line, filter, foot.
//!
//! Invariants: every text here is final, so templates only place it; nothing is marked safe, so
//! every name is escaped; how complete the data are is said before any percentage.
//! Absent on purpose: links to pages that do not exist yet.

use crate::base::Day;
use crate::report::{Completeness, RunHead};

use super::Asked;
use super::assets;
use super::format::{Unit, count};
use super::site::{Site, Tier};

/// The most days the as-of field suggests.
const MAX_SUGGESTED_DAYS: usize = 60;

/// The frame of every page.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) title: String,
    pub(super) city: String,
    pub(super) css: &'static str,
    pub(super) home: String,
    pub(super) nav: Vec<NavLink>,
    pub(super) demo: bool,
    pub(super) version: &'static str,
}

#[derive(Debug)]
pub(super) struct NavLink {
    pub(super) href: String,
    pub(super) text: &'static str,
    pub(super) current: bool,
}

impl Layout {
    /// `sections` are anchors of the page itself; the city page comes first.
    pub(super) fn new(site: &Site, asked: &Asked, title: String, at_home: bool) -> Layout {
        let home = format!("/{}", asked.query());
        let nav = vec![
            NavLink {
                href: home.clone(),
                text: "总览",
                current: at_home,
            },
            NavLink {
                href: "/imports/new".to_owned(),
                text: "导入预览",
                current: false,
            },
        ];
        Layout {
            title,
            city: site.city.clone(),
            css: assets::css_path(),
            home,
            nav,
            demo: site.demo,
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// Marks the link that leads to where the page belongs.
    pub(super) fn at(mut self, href: &str) -> Layout {
        for link in &mut self.nav {
            link.current = link.href == href;
        }
        self
    }

    pub(super) fn section(mut self, href: &str, text: &'static str) -> Layout {
        self.nav.push(NavLink {
            href: href.to_owned(),
            text,
            current: false,
        });
        self
    }
}

/// A mark and a word in a tier's colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Badge {
    pub(super) class: &'static str,
    pub(super) mark: &'static str,
    pub(super) text: String,
}

impl Badge {
    pub(super) fn of(tier: Tier) -> Badge {
        Badge::worded(tier, tier.word())
    }

    pub(super) fn worded(tier: Tier, text: impl Into<String>) -> Badge {
        Badge {
            class: tier.class(),
            mark: tier.mark(),
            text: text.into(),
        }
    }

    /// How many there are of a tier; none is no warning and takes no colour.
    pub(super) fn counted(tier: Tier, word: &str, number: i64) -> Badge {
        let badge = Badge::worded(tier, format!("{word} {}", count(number)));
        if number == 0 {
            Badge {
                class: Tier::NotApplicable.class(),
                ..badge
            }
        } else {
            badge
        }
    }
}

/// As-of line and completeness, which stand before any percentage.
#[derive(Debug)]
pub(super) struct Freshness {
    pub(super) as_of: String,
    pub(super) zone: &'static str,
    pub(super) run_id: i64,
    pub(super) known_at: String,
    /// Set where another day was asked for.
    pub(super) instead_of: Option<String>,
    pub(super) proven: String,
    pub(super) expected: String,
    pub(super) unknown: String,
    pub(super) missing_days: String,
    pub(super) unmatched: String,
    pub(super) incomplete: bool,
    /// What is missing, in words.
    pub(super) banner: String,
}

impl Freshness {
    pub(super) fn new(site: &Site, asked: &Asked, run: &RunHead, data: &Completeness) -> Freshness {
        let unproven = data
            .accounts_expected
            .saturating_sub(data.accounts_proven)
            .max(0);
        let mut missing = Vec::new();
        if unproven > 0 {
            missing.push(format!("{} 个账户没有可证实的对账单", count(unproven)));
        }
        if data.institutions_unknown > 0 {
            missing.push(format!(
                "{} 家机构无法判定是否足额",
                count(data.institutions_unknown)
            ));
        }
        Freshness {
            as_of: run.as_of.to_chinese(),
            zone: site.zone.name(),
            run_id: run.run_id,
            known_at: site.wall(run.known_at),
            instead_of: asked
                .as_of
                .filter(|day| *day != run.as_of)
                .map(|day| day.to_string()),
            proven: count(data.accounts_proven),
            expected: count(data.accounts_expected),
            unknown: count(data.institutions_unknown),
            missing_days: count(data.missing_days),
            unmatched: count(data.unmatched_credits),
            incomplete: is_incomplete(data),
            banner: missing.join("，"),
        }
    }
}

pub(super) fn is_incomplete(data: &Completeness) -> bool {
    data.accounts_proven < data.accounts_expected || data.institutions_unknown > 0
}

/// The form that chooses day and unit; its state lives in the address.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) action: String,
    pub(super) as_of: String,
    pub(super) days: Vec<String>,
    pub(super) units: Vec<UnitChoice>,
}

#[derive(Debug)]
pub(super) struct UnitChoice {
    pub(super) value: &'static str,
    pub(super) text: &'static str,
    pub(super) selected: bool,
}

impl Filter {
    pub(super) fn new(action: String, asked: &Asked, as_of: Option<Day>, days: &[Day]) -> Filter {
        let unit = asked.unit();
        Filter {
            action,
            as_of: as_of.map(|day| day.to_string()).unwrap_or_default(),
            days: days
                .iter()
                .take(MAX_SUGGESTED_DAYS)
                .map(Day::to_string)
                .collect(),
            units: Unit::ALL
                .map(|u| UnitChoice {
                    value: u.param(),
                    text: u.chinese(),
                    selected: u == unit,
                })
                .into(),
        }
    }
}

/// Where the figures come from and how they were rounded.
#[derive(Debug)]
pub(super) struct Foot {
    pub(super) run_id: i64,
    pub(super) policy: String,
    pub(super) known_at: String,
    pub(super) completed_at: String,
    pub(super) zone: &'static str,
    pub(super) version: &'static str,
    pub(super) demo: bool,
}

impl Foot {
    pub(super) fn new(site: &Site, run: &RunHead) -> Foot {
        Foot {
            run_id: run.run_id,
            policy: format!("{} 第 {} 版", run.policy, run.policy_version),
            known_at: site.wall(run.known_at),
            completed_at: site.wall(run.completed_at),
            zone: site.zone.name(),
            version: env!("CARGO_PKG_VERSION"),
            demo: site.demo,
        }
    }
}
