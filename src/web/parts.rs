//! What pages share: frame, completeness line, filter, headline figures, institution table, foot.
//!
//! Invariants: every text here is final, so templates only place it; nothing is marked safe, so
//! every name is escaped. A figure that missing data could change is called 暂计, and a coverage
//! that is not proven full never prints as 100 %.
//! Absent on purpose: links to pages that do not exist yet.

use crate::base::{Day, Money, Ratio, Severity};
use crate::report::{Completeness, DistrictRow, InstitutionRow, RunHead, Status, TrendPoint};

use super::Asked;
use super::assets;
use super::format::{self, Unit, amount, count, exact, percent, shortfall, url_part};
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
        let nav = vec![NavLink {
            href: home.clone(),
            text: "总览",
            current: at_home,
        }];
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

/// One headline figure.
#[derive(Debug, Default)]
pub(super) struct Kpi {
    pub(super) label: &'static str,
    pub(super) value: String,
    pub(super) unit: String,
    /// The exact amount, for the `title`.
    pub(super) exact: String,
    pub(super) notes: Vec<String>,
    pub(super) badges: Vec<Badge>,
    /// `lead`, `alarm` or nothing.
    pub(super) class: &'static str,
}

/// The five figures a city and a district have in common; alerts come sixth, from the page.
pub(super) fn kpis(
    site: &Site,
    row: &DistrictRow,
    data: &Completeness,
    trend: &[TrendPoint],
) -> Vec<Kpi> {
    let coverage = Coverage::of_district(site, row, is_incomplete(data));
    let mut notes = vec!["金额口径".to_owned()];
    if !coverage.provisional {
        notes.extend(change_note(trend));
    }
    let (value, unit) = coverage.split();
    let amount_rate = Kpi {
        label: if coverage.provisional {
            "资金覆盖率（暂计）"
        } else {
            "资金覆盖率"
        },
        value,
        unit,
        notes,
        badges: coverage.badges(),
        class: "lead",
        ..Kpi::default()
    };
    let (value, unit) = match row.custody_rate {
        Some(rate) => (rate.to_percent(), "%".to_owned()),
        None => ("—".to_owned(), String::new()),
    };
    let custody = Kpi {
        label: "机构托管率",
        value,
        unit,
        notes: vec!["机构口径：已备案托管 ÷ 应托管机构数".to_owned()],
        ..Kpi::default()
    };
    let proven = format!(
        "{} / {} 个账户已证实",
        count(data.accounts_proven),
        count(data.accounts_expected)
    );
    let gap_note = format!(
        "{} 家有缺口，不与盈余相抵",
        count(row.uncovered_institutions)
    );
    let gap_class = if row.uncovered > Money::ZERO {
        "alarm"
    } else {
        ""
    };
    vec![
        amount_rate,
        custody,
        money_kpi(
            "应监管余额",
            row.required,
            "未消课与退费准备".to_owned(),
            "",
        ),
        money_kpi("实际托管余额", row.held, proven, ""),
        money_kpi("资金缺口", row.uncovered, gap_note, gap_class),
    ]
}

fn money_kpi(label: &'static str, value: Money, note: String, class: &'static str) -> Kpi {
    let (text, unit) = format::headline(value);
    Kpi {
        label,
        value: text,
        unit: unit.to_owned(),
        exact: exact(value),
        notes: vec![note],
        class,
        ..Kpi::default()
    }
}

/// The change since the last complete day about a month before, if the last day is complete.
fn change_note(trend: &[TrendPoint]) -> Option<String> {
    let (last, earlier) = trend.split_last()?;
    let now = last.coverage.filter(|_| last.complete)?;
    let usable = |p: &&TrendPoint| p.complete && p.coverage.is_some();
    let a_month_on = |p: &&TrendPoint| p.day.plus_months(1) <= last.day;
    let before = earlier
        .iter()
        .rev()
        .filter(usable)
        .find(a_month_on)
        .or_else(|| earlier.iter().find(usable))?;
    Some(format!(
        "较 {} {}",
        before.day,
        format::change(before.coverage?, now)
    ))
}

/// A coverage as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Coverage {
    pub(super) text: String,
    pub(super) tier: Tier,
    /// Data are missing: the figure may still change.
    pub(super) provisional: bool,
    /// Width of the bar in percent, where there is a bar.
    pub(super) bar: Option<i128>,
}

impl Coverage {
    pub(super) fn of_district(site: &Site, row: &DistrictRow, incomplete: bool) -> Coverage {
        let provisional = incomplete || row.unknown_institutions > 0;
        Coverage::judge(site, row.amount_coverage, row.uncovered, provisional)
    }

    pub(super) fn of_institution(site: &Site, row: &InstitutionRow) -> Coverage {
        if row.status == Status::Unknown {
            return Coverage::word(Tier::Unknown);
        }
        Coverage::judge(site, row.coverage, row.uncovered, false)
    }

    fn judge(site: &Site, ratio: Option<Ratio>, gap: Money, provisional: bool) -> Coverage {
        let Some(ratio) = ratio else {
            let tier = if provisional {
                Tier::Unknown
            } else {
                Tier::NotApplicable
            };
            return Coverage {
                provisional,
                ..Coverage::word(tier)
            };
        };
        let tier = site.thresholds.tier(ratio);
        let bar = Some(ratio.basis_points() / 100);
        let full = ratio.basis_points() >= 10_000;
        if full && provisional {
            return Coverage {
                provisional,
                ..Coverage::word(Tier::Unknown)
            };
        }
        if full && gap > Money::ZERO {
            let text = "<100.00%".to_owned();
            return Coverage {
                text,
                tier: Tier::Watch,
                provisional,
                bar,
            };
        }
        Coverage {
            text: percent(ratio),
            tier,
            provisional,
            bar,
        }
    }

    fn word(tier: Tier) -> Coverage {
        Coverage {
            text: tier.word().to_owned(),
            tier,
            provisional: false,
            bar: None,
        }
    }

    /// Number and sign apart, for large type.
    fn split(&self) -> (String, String) {
        match self.text.strip_suffix('%') {
            Some(number) => (number.to_owned(), "%".to_owned()),
            None => (self.text.clone(), String::new()),
        }
    }

    fn badges(&self) -> Vec<Badge> {
        let mut badges = vec![Badge::of(self.tier)];
        if self.provisional && self.tier != Tier::Unknown {
            badges.push(Badge::of(Tier::Unknown));
        }
        badges
    }
}

/// A table of institutions in one stated unit.
#[derive(Debug)]
pub(super) struct InstitutionTable {
    pub(super) caption: String,
    pub(super) unit: &'static str,
    pub(super) show_district: bool,
    pub(super) rows: Vec<InstitutionLine>,
    /// Sums of the listed rows.
    pub(super) total: Sums,
    pub(super) total_label: String,
}

#[derive(Debug)]
pub(super) struct InstitutionLine {
    pub(super) anchor: String,
    /// Empty on the district's own page.
    pub(super) href: String,
    pub(super) name: String,
    pub(super) district: String,
    pub(super) district_href: String,
    pub(super) account: String,
    pub(super) sums: Sums,
    /// In transit and explained, empty where there is none.
    pub(super) explained: String,
    pub(super) coverage: String,
    pub(super) bar: Option<i128>,
    pub(super) days: String,
    pub(super) rule: String,
    pub(super) rule_code: &'static str,
    pub(super) badges: Vec<Badge>,
}

/// Required, held and short, shown and exact.
#[derive(Debug)]
pub(super) struct Sums {
    pub(super) required: String,
    pub(super) required_exact: String,
    pub(super) held: String,
    pub(super) held_exact: String,
    pub(super) gap: String,
    pub(super) gap_exact: String,
}

impl Sums {
    pub(super) fn new(required: Money, held: Money, gap: Money, unit: Unit) -> Sums {
        Sums {
            required: amount(required, unit),
            required_exact: exact(required),
            held: amount(held, unit),
            held_exact: exact(held),
            gap: shortfall(gap, unit),
            gap_exact: exact(gap),
        }
    }
}

impl InstitutionTable {
    pub(super) fn new(
        site: &Site,
        asked: &Asked,
        caption: String,
        show_district: bool,
        rows: &[InstitutionRow],
    ) -> InstitutionTable {
        let unit = asked.unit();
        let sum = |of: fn(&InstitutionRow) -> Money| {
            rows.iter().map(of).fold(Money::ZERO, Money::saturating_add)
        };
        InstitutionTable {
            caption,
            unit: unit.chinese(),
            show_district,
            rows: rows
                .iter()
                .map(|row| line(site, asked, show_district, row))
                .collect(),
            total: Sums::new(
                sum(|r| r.required),
                sum(|r| r.held),
                sum(|r| r.uncovered),
                unit,
            ),
            total_label: format!("Σ 所列 {} 家", rows.len()),
        }
    }
}

fn line(site: &Site, asked: &Asked, linked: bool, row: &InstitutionRow) -> InstitutionLine {
    let unit = asked.unit();
    let anchor = format!("i-{}", row.institution_id);
    let district_href = district_href(asked, &row.district_id);
    let coverage = Coverage::of_institution(site, row);
    let (rule, rule_code) = match row.worst_flag {
        Some((code, _)) if row.flags > 1 => (
            format!("{} 等 {} 项", code.chinese(), count(row.flags)),
            code.as_str(),
        ),
        Some((code, _)) => (code.chinese().to_owned(), code.as_str()),
        None => ("—".to_owned(), ""),
    };
    let explained = match row.explained > Money::ZERO {
        true => format!("另在途 {}", shortfall(row.explained, unit)),
        false => String::new(),
    };
    InstitutionLine {
        href: if linked {
            format!("{district_href}#{}", url_part(&anchor))
        } else {
            String::new()
        },
        anchor,
        name: row.name.clone(),
        district: row.district_name.clone(),
        district_href,
        account: row.account_tail.clone().unwrap_or_default(),
        sums: Sums::new(row.required, row.held, row.uncovered, unit),
        explained,
        coverage: coverage.text,
        bar: coverage.bar,
        days: match row.days_uncovered {
            0 => "—".to_owned(),
            days => count(days),
        },
        rule,
        rule_code,
        badges: state(row.status, row.worst_flag.map(|(_, severity)| severity)),
    }
}

/// The worst finding's tier; UNKNOWN always stands beside it.
fn state(status: Status, severity: Option<Severity>) -> Vec<Badge> {
    let own = Badge::worded(Tier::of_status(status), status.chinese());
    match severity {
        Some(severity) if status == Status::Unknown => {
            vec![own, Badge::of(Tier::of_severity(severity))]
        }
        Some(severity) => vec![Badge::of(Tier::of_severity(severity))],
        None => vec![own],
    }
}

pub(super) fn district_href(asked: &Asked, district_id: &str) -> String {
    format!("/districts/{}{}", url_part(district_id), asked.query())
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
