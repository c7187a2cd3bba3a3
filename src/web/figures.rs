//! Headline figures, and coverage as it may be shown.
//!
//! Invariants: a figure that missing data could change is called 暂计, and a coverage that is not
//! proven full never prints as 100 %. The amount rate and the head-count rate stand side by side:
//! they part where the risk is.

use crate::base::{Money, Ratio};
use crate::report::{Completeness, DistrictRow, InstitutionRow, Status, TrendPoint};

use super::format::{self, count, exact, percent};
use super::parts::{Badge, is_incomplete};
use super::site::{Site, Tier};

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
        notes: vec!["机构口径".to_owned(), "已备案 ÷ 应托管".to_owned()],
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
        match self.tier {
            // The large type says it already.
            Tier::Unknown | Tier::NotApplicable => Vec::new(),
            tier if self.provisional => vec![Badge::of(tier), Badge::of(Tier::Unknown)],
            tier => vec![Badge::of(tier)],
        }
    }
}
