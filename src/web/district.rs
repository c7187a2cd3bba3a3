//! A district's page 区县: the same figures for its institutions, and its findings.
//!
//! Invariants: findings are in 元 to the fen, whatever unit the tables are in; a due date beyond
//! the published working-day calendar is called provisional.

use askama::Template;

use crate::report::{DistrictPage, FindingRow};

use super::chart::{self, Trend};
use super::format::{count, url_part};
use super::parts::{Badge, Filter, Foot, Freshness, InstitutionTable, Kpi, Layout, kpis};
use super::site::{Site, Tier};
use super::{Asked, PageError};

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
    findings: Vec<FindingLine>,
    findings_total: String,
    foot: Foot,
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
    let caption = format!(
        "机构（覆盖率升序，所列 {} 家 / 共 {} 家）",
        data.institutions.len(),
        count(district.institutions)
    );
    let action = format!("/districts/{}", url_part(&district.district_id));
    let template = DistrictView {
        page,
        name: district.name.clone(),
        zone: district.is_zone,
        fresh: Freshness::new(site, asked, run, &data.completeness),
        filter: Filter::new(action, asked, Some(run.as_of), &data.days),
        kpis,
        trend: chart::trend(&district.name, &data.trend, site.thresholds.amber_bp),
        institutions: InstitutionTable::new(site, asked, caption, false, &data.institutions),
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
            Badge::worded(Tier::Red, format!("红色 {}", count(district.red_flags))),
            Badge::worded(Tier::Amber, format!("黄色 {}", count(district.amber_flags))),
        ],
        ..Kpi::default()
    }
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
        due: row
            .due_on
            .map_or_else(|| "—".to_owned(), |day| day.to_string()),
        provisional: row.due_on.is_some() && row.due_is_provisional,
        evidence: row.evidence.clone(),
    }
}
