//! The city page 总览: how complete, how much, where, since when, who.
//!
//! Invariants: every district is a link, as a tile and as a row; the districts' sums are made from
//! the rows shown, and a difference from the city's figures is said on the page.
//! Absent on purpose: a map. Tiles need no boundary data, and the inner districts stay readable.

use std::collections::BTreeSet;

use askama::Template;

use crate::base::{FlagCode, Money};
use crate::report::{DistrictRow, FeedGap, Overview};

use super::chart::{self, Trend};
use super::figures::{Coverage, Kpi, kpis};
use super::format::{basis_points, count, percent, tile_shortfall};
use super::parts::{Badge, Filter, Foot, Freshness, Layout, is_incomplete};
use super::site::{Site, Tier};
use super::table::{InstitutionTable, Sums, district_href};
use super::{Asked, PageError};

/// The largest tile grid the style sheet places, in columns and rows.
const MAX_TILES_ACROSS: u8 = 12;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    page: Layout,
    fresh: Freshness,
    filter: Filter,
    kpis: Vec<Kpi>,
    tiles: Vec<Tile>,
    /// Districts the grid has no place for.
    loose: Vec<Tile>,
    legend: Vec<Badge>,
    any_zone: bool,
    table: DistrictTable,
    trend: Option<Trend>,
    institutions: InstitutionTable,
    gaps: Vec<GapLine>,
    gaps_extent: String,
    foot: Foot,
}

/// Missing or broken statement days of one account.
struct GapLine {
    name: String,
    href: String,
    district: String,
    account: String,
    what: &'static str,
    days: String,
    first: String,
    last: String,
}

/// One district on the grid.
struct Tile {
    href: String,
    /// `c3 r2`, empty without a place.
    place: String,
    tier: &'static str,
    zone: bool,
    name: String,
    coverage: String,
    mark: &'static str,
    note: String,
    exact: String,
    /// Institutions with unknown coverage, empty where there are none.
    unknown: String,
}

struct DistrictTable {
    unit: &'static str,
    rows: Vec<DistrictLine>,
    total: DistrictLine,
    /// The rows do not add up to the city's figures.
    differs: bool,
}

struct DistrictLine {
    href: String,
    name: String,
    sums: Sums,
    coverage: String,
    custody: String,
    institutions: String,
    short: String,
    unknown: String,
    red: String,
    amber: String,
}

fn gap_line(asked: &Asked, gap: &FeedGap) -> GapLine {
    GapLine {
        name: gap.institution_name.clone(),
        href: district_href(asked, &gap.district_id),
        district: gap.district_name.clone(),
        account: gap.account_tail.clone(),
        what: if gap.code == FlagCode::FeedMissing {
            "缺对账单"
        } else {
            "不能自证或有争议"
        },
        days: count(gap.days),
        first: gap.first.to_string(),
        last: gap.last.to_string(),
    }
}

pub(super) fn render(site: &Site, asked: &Asked, overview: &Overview) -> Result<String, PageError> {
    let run = &overview.run;
    let mut page = Layout::new(
        site,
        asked,
        format!("资金覆盖总览 {} {}", site.city, run.as_of),
        true,
    )
    .section("#districts", "区县")
    .section("#trend", "走势");
    if !overview.gaps.is_empty() {
        page = page.section("#gaps", "对账单缺口");
    }
    let page = page.section("#worst", "缺口机构");
    let mut kpis = kpis(
        site,
        &overview.total,
        &overview.completeness,
        &overview.trend,
    );
    kpis.push(alerts(overview));
    let (tiles, loose) = tiles(site, asked, &overview.districts);
    let extent = format!(
        "覆盖率升序，所列 {} 家 / 共 {} 家",
        overview.worst.len(),
        count(overview.worst_total)
    );
    let template = OverviewPage {
        page,
        fresh: Freshness::new(site, asked, run, &overview.completeness),
        filter: Filter::new("/".to_owned(), asked, Some(run.as_of), &overview.days),
        kpis,
        tiles,
        loose,
        legend: legend(site),
        any_zone: overview.districts.iter().any(|d| d.is_zone),
        table: district_table(site, asked, overview),
        trend: chart::trend("全市", &overview.trend, site.thresholds.amber_bp),
        institutions: InstitutionTable::new(site, asked, extent, true, &overview.worst),
        gaps: (overview.gaps.iter()).map(|g| gap_line(asked, g)).collect(),
        gaps_extent: format!(
            "最近的在前，所列 {} 户 / 共 {} 户",
            overview.gaps.len(),
            count(overview.gaps_total)
        ),
        foot: Foot::new(site, run),
    };
    Ok(template.render()?)
}

fn alerts(overview: &Overview) -> Kpi {
    let (red, amber) = (overview.red_institutions, overview.amber_institutions);
    Kpi {
        label: "预警机构",
        value: count(red.saturating_add(amber)),
        unit: format!("/ {} 家", count(overview.total.institutions)),
        badges: vec![
            Badge::counted(Tier::Red, "红色", red),
            Badge::counted(Tier::Amber, "黄色", amber),
        ],
        ..Kpi::default()
    }
}

/// Tiles in reading order, and those without a place of their own.
fn tiles(site: &Site, asked: &Asked, districts: &[DistrictRow]) -> (Vec<Tile>, Vec<Tile>) {
    let mut taken = BTreeSet::new();
    let (mut placed, mut loose) = (Vec::new(), Vec::new());
    for district in districts {
        let fits = |side: u8| (1..=MAX_TILES_ACROSS).contains(&side);
        match district.tile {
            Some((column, row)) if fits(column) && fits(row) && taken.insert((row, column)) => {
                let place = format!("c{column} r{row}");
                placed.push(((row, column), tile(site, asked, district, place)));
            }
            _ => loose.push(tile(site, asked, district, String::new())),
        }
    }
    placed.sort_by_key(|(place, _)| *place);
    (placed.into_iter().map(|(_, tile)| tile).collect(), loose)
}

fn tile(site: &Site, asked: &Asked, district: &DistrictRow, place: String) -> Tile {
    let coverage = Coverage::of_district(site, district, false);
    let short = district.uncovered > Money::ZERO;
    let note = match coverage.tier {
        _ if short => format!("缺口 {}万", tile_shortfall(district.uncovered)),
        Tier::Unknown => format!("{}家 无法判定", count(district.unknown_institutions)),
        Tier::NotApplicable => format!("{} 家机构", count(district.institutions)),
        _ if coverage.provisional => "暂计".to_owned(),
        tier => tier.word().to_owned(),
    };
    Tile {
        href: district_href(asked, &district.district_id),
        place,
        tier: coverage.tier.class(),
        zone: district.is_zone,
        name: district.name.clone(),
        coverage: coverage.text,
        mark: coverage.tier.mark(),
        note,
        exact: format!("缺口 {} 元", district.uncovered),
        unknown: match district.unknown_institutions {
            0 => String::new(),
            // The tile's large type says it already.
            _ if coverage.tier == Tier::Unknown && !short => String::new(),
            n => count(n),
        },
    }
}

fn legend(site: &Site) -> Vec<Badge> {
    let t = &site.thresholds;
    let (full, watch, amber) = (
        basis_points(t.full_bp),
        basis_points(t.watch_bp),
        basis_points(t.amber_bp),
    );
    vec![
        Badge::worded(Tier::Full, format!("足额 ≥{full}")),
        Badge::worded(Tier::Watch, format!("关注 {watch}–{full}")),
        Badge::worded(Tier::Amber, format!("黄色预警 {amber}–{watch}")),
        Badge::worded(Tier::Red, format!("红色预警 <{amber}")),
        Badge::of(Tier::Unknown),
        Badge::of(Tier::NotApplicable),
    ]
}

fn district_table(site: &Site, asked: &Asked, overview: &Overview) -> DistrictTable {
    let sum = |of: fn(&DistrictRow) -> Money| {
        overview
            .districts
            .iter()
            .map(of)
            .fold(Money::ZERO, Money::saturating_add)
    };
    let summed = DistrictRow {
        required: sum(|d| d.required),
        held: sum(|d| d.held),
        uncovered: sum(|d| d.uncovered),
        ..overview.total.clone()
    };
    DistrictTable {
        unit: asked.unit().chinese(),
        rows: overview
            .districts
            .iter()
            .map(|d| district_line(site, asked, d, false))
            .collect(),
        total: district_line(site, asked, &summed, is_incomplete(&overview.completeness)),
        differs: summed != overview.total,
    }
}

fn district_line(site: &Site, asked: &Asked, row: &DistrictRow, incomplete: bool) -> DistrictLine {
    let coverage = Coverage::of_district(site, row, incomplete);
    let shown = if coverage.provisional && coverage.bar.is_some() {
        format!("{}（暂计）", coverage.text)
    } else {
        coverage.text
    };
    DistrictLine {
        href: district_href(asked, &row.district_id),
        name: row.name.clone(),
        sums: Sums::new(row.required, row.held, row.uncovered, asked.unit()),
        coverage: shown,
        custody: row.custody_rate.map_or_else(|| "—".to_owned(), percent),
        institutions: count(row.institutions),
        short: count(row.uncovered_institutions),
        unknown: count(row.unknown_institutions),
        red: count(row.red_flags),
        amber: count(row.amber_flags),
    }
}
