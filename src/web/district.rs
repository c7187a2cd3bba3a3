//! A district's page 区县: the same figures for its institutions, and its findings.
//!
//! Invariants: findings are in 元 to the fen, whatever unit the tables are in; a due date beyond
//! the published working-day calendar is called provisional.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use askama::Template;

use crate::base::{Day, FlagCode, Severity};
use crate::report::{DistrictPage, FindingRow};

use super::chart::{self, Trend};
use super::figures::{Kpi, kpis};
use super::format::{count, url_part};
use super::parts::{Badge, Filter, Foot, Freshness, Layout};
use super::site::{Site, Tier};
use super::table::InstitutionTable;
use super::{Asked, PageError};

/// The longest name that fits beside its line.
const MAX_LABEL_CHARS: usize = 5;

#[derive(Template)]
#[template(path = "district.html")]
struct DistrictView {
    page: Layout,
    name: String,
    zone: bool,
    fresh: Freshness,
    filter: Filter,
    kpis: Vec<Kpi>,
    trend: Option<Trend>,
    institutions: InstitutionTable,
    rules: Vec<RuleLine>,
    findings: Vec<FindingLine>,
    findings_total: String,
    foot: Foot,
}

/// The listed findings of one rule and severity.
struct RuleLine {
    badge: Badge,
    code: &'static str,
    chinese: &'static str,
    findings: String,
    institutions: String,
    first_due: String,
}

struct FindingLine {
    code: &'static str,
    chinese: &'static str,
    /// Days beyond the tolerance, empty where that says nothing.
    late: String,
    badge: Badge,
    subject: String,
    institution: String,
    institution_href: String,
    date: String,
    amount: String,
    due: String,
    provisional: bool,
    evidence: String,
}

pub(super) fn render(site: &Site, asked: &Asked, data: &DistrictPage) -> Result<String, PageError> {
    let (run, district) = (&data.run, &data.district);
    let title = format!("{} {} {}", district.name, site.city, run.as_of);
    let page = Layout::new(site, asked, title, false)
        .section("#trend", "走势")
        .section("#institutions", "机构")
        .section("#findings", "发现");
    let mut kpis = kpis(site, district, &data.completeness, &data.trend);
    kpis.push(alerts(data));
    let extent = format!(
        "覆盖率升序，所列 {} 家 / 共 {} 家",
        data.institutions.len(),
        count(district.institutions)
    );
    let fits = district.name.chars().count() <= MAX_LABEL_CHARS;
    let scope = if fits { &district.name } else { "本区县" };
    let action = format!("/districts/{}", url_part(&district.district_id));
    let template = DistrictView {
        page,
        name: district.name.clone(),
        zone: district.is_zone,
        fresh: Freshness::new(site, asked, run, &data.completeness),
        filter: Filter::new(action, asked, Some(run.as_of), &data.days),
        kpis,
        trend: chart::trend(scope, &data.trend, site.thresholds.amber_bp),
        institutions: InstitutionTable::new(site, asked, extent, false, &data.institutions),
        rules: rules(&data.findings),
        findings: data.findings.iter().map(finding).collect(),
        findings_total: count(data.findings_total),
        foot: Foot::new(site, run),
    };
    Ok(template.render()?)
}

fn alerts(data: &DistrictPage) -> Kpi {
    let district = &data.district;
    Kpi {
        label: "未结发现",
        value: count(data.findings_total),
        unit: format!("项 / {} 家机构", count(district.institutions)),
        badges: vec![
            Badge::counted(Tier::Red, "红色", district.red_flags),
            Badge::counted(Tier::Amber, "黄色", district.amber_flags),
        ],
        ..Kpi::default()
    }
}

/// Listed findings by severity and rule, most severe first.
fn rules(findings: &[FindingRow]) -> Vec<RuleLine> {
    let mut groups: BTreeMap<(Reverse<Severity>, FlagCode), Vec<&FindingRow>> = BTreeMap::new();
    for row in findings {
        groups
            .entry((Reverse(row.severity), row.code))
            .or_default()
            .push(row);
    }
    let mut lines = Vec::with_capacity(groups.len());
    for ((Reverse(severity), code), rows) in groups {
        let institutions: BTreeSet<&str> = rows.iter().map(|r| r.institution_id.as_str()).collect();
        lines.push(RuleLine {
            badge: Badge::of(Tier::of_severity(severity)),
            code: code.as_str(),
            chinese: code.chinese(),
            findings: rows.len().to_string(),
            institutions: institutions.len().to_string(),
            first_due: day_or_dash(rows.iter().filter_map(|r| r.due_on).min()),
        });
    }
    lines
}

fn day_or_dash(day: Option<Day>) -> String {
    day.map_or_else(|| "—".to_owned(), |day| day.to_string())
}

fn finding(row: &FindingRow) -> FindingLine {
    FindingLine {
        code: row.code.as_str(),
        chinese: row.code.chinese(),
        late: match row.n {
            0 => String::new(),
            days => format!("逾 {} 天", count(days)),
        },
        badge: Badge::of(Tier::of_severity(row.severity)),
        subject: row.subject.clone(),
        institution: row.institution_name.clone(),
        institution_href: format!("#{}", url_part(&format!("i-{}", row.institution_id))),
        date: row.date.to_string(),
        amount: row.amount.to_string(),
        due: day_or_dash(row.due_on),
        provisional: row.due_on.is_some() && row.due_is_provisional,
        evidence: row.evidence.clone(),
    }
}
