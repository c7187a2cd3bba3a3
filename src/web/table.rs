//! The table of institutions that the city page and a district's page share.
//!
//! Invariants: every row shows required, held, explained and short, so that its arithmetic can be
//! followed; the sum line names the rows it sums; accounts show their tail only.
//! Absent on purpose: links to an institution's own page until there is one.

use crate::base::{Money, Severity};
use crate::report::{InstitutionRow, Status};

use super::Asked;
use super::figures::Coverage;
use super::format::{Unit, amount, count, exact, shortfall, url_part};
use super::parts::Badge;
use super::site::{Site, Tier};

/// A table of institutions in one stated unit.
#[derive(Debug)]
pub(super) struct InstitutionTable {
    /// Order and number of rows, `覆盖率升序，所列 9 家 / 共 46 家`.
    pub(super) extent: String,
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
        extent: String,
        show_district: bool,
        rows: &[InstitutionRow],
    ) -> InstitutionTable {
        let unit = asked.unit();
        let sum = |of: fn(&InstitutionRow) -> Money| {
            rows.iter().map(of).fold(Money::ZERO, Money::saturating_add)
        };
        InstitutionTable {
            extent,
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
