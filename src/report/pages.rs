//! What the city page and a district's page show, read from one completed run.

use std::collections::HashMap;

use super::store::{self, PositionRow, Run, Wanted};
use super::{
    Completeness, DistrictPage, DistrictRow, FeedGap, FindingRow, InstitutionRow, Overview, Status,
    TrendPoint,
};
use crate::base::{Day, Money, Ratio, Severity};
use crate::policy::{self, CHINA};
use crate::position::DistrictTotals;
use crate::registry::{self, AccountKind, Registry};
use crate::store::{Result, Tx};

/// Institutions listed on the city page.
const WORST_MAX: usize = 8;
/// Accounts with missing statement days listed on the city page.
const GAPS_MAX: usize = 20;
/// Institutions and findings listed on a district's page.
const PAGE_ROWS: usize = 200;
/// Days of the trend.
const TREND_DAYS: i64 = 60;
/// Days offered to choose from.
const DAYS_OFFERED: i64 = 400;

/// The city page of a day, `None` where no run of it is complete.
pub async fn overview(tx: &mut Tx, city: &str, as_of: Option<Day>) -> Result<Option<Overview>> {
    let Some(run) = page_run(tx, as_of, None).await? else {
        return Ok(None);
    };
    let registry = registry::store::load(tx, run.source_cut).await?;
    let totals = totals_of(tx, &run).await?;
    let districts: Vec<DistrictRow> = totals
        .iter()
        .map(|(id, d)| district_row(&registry, id, d))
        .collect();
    let sum = DistrictTotals::sum(totals.iter().map(|(_, d)| d));
    let total = DistrictRow {
        name: city.to_owned(),
        is_zone: false,
        tile: None,
        ..district_row(&registry, "", &sum)
    };
    let mut worst: Vec<PositionRow> = store::positions(tx, &run, None)
        .await?
        .into_iter()
        .filter(|p| p.uncovered > Money::ZERO || p.status == Status::Unknown)
        .collect();
    let worst_total = i64::try_from(worst.len()).unwrap_or(i64::MAX);
    worst.sort_by(worst_first);
    worst.truncate(WORST_MAX);
    let worst = institution_rows(tx, &run, &registry, &worst).await?;
    let mut gaps = store::feed_gaps(tx, &run).await?;
    let gaps_total = i64::try_from(gaps.len()).unwrap_or(i64::MAX);
    gaps.truncate(GAPS_MAX);
    let gaps = gaps.into_iter().map(|g| feed_gap(&registry, g)).collect();
    let by_severity = store::worst_severities(tx, &run).await?;
    let count = |s: Severity| {
        by_severity
            .iter()
            .find(|(n, _)| *n == s.number())
            .map_or(0, |(_, count)| *count)
    };
    Ok(Some(Overview {
        completeness: completeness(&sum),
        total,
        districts,
        trend: trend(tx, &run, None).await?,
        worst,
        worst_total,
        gaps,
        gaps_total,
        red_institutions: count(Severity::Red),
        amber_institutions: count(Severity::Amber),
        days: days(tx, &run).await?,
        run: run.head,
    }))
}

/// A district's page of a day, `None` where no run of the day is complete or no district is so called.
pub async fn district_page(
    tx: &mut Tx,
    district_id: &str,
    as_of: Option<Day>,
) -> Result<Option<DistrictPage>> {
    let Some(run) = page_run(tx, as_of, Some(district_id)).await? else {
        return Ok(None);
    };
    let registry = registry::store::load(tx, run.source_cut).await?;
    let totals = totals_of(tx, &run).await?;
    let Some((_, totals)) = totals.iter().find(|(id, _)| id == district_id) else {
        return Ok(None);
    };
    let mut positions = store::positions(tx, &run, Some(district_id)).await?;
    positions.sort_by(worst_first);
    positions.truncate(PAGE_ROWS);
    let mut findings = store::findings(tx, &run, Some(district_id)).await?;
    let findings_total = i64::try_from(findings.len()).unwrap_or(i64::MAX);
    findings.sort_by(|a, b| {
        (b.severity, a.due_on, a.code, &a.subject, a.date)
            .cmp(&(a.severity, b.due_on, b.code, &b.subject, b.date))
    });
    findings.truncate(PAGE_ROWS);
    let findings = findings
        .into_iter()
        .map(|f| FindingRow {
            institution_name: name_of(&registry, &f.institution_id),
            code: f.code,
            severity: f.severity,
            subject: f.subject,
            institution_id: f.institution_id,
            date: f.date,
            amount: f.amount,
            n: f.n,
            due_on: f.due_on,
            due_is_provisional: f.due_is_provisional,
            evidence: f.evidence.chinese(),
        })
        .collect();
    Ok(Some(DistrictPage {
        completeness: completeness(totals),
        district: district_row(&registry, district_id, totals),
        trend: trend(tx, &run, Some(district_id)).await?,
        institutions: institution_rows(tx, &run, &registry, &positions).await?,
        findings,
        findings_total,
        days: days(tx, &run).await?,
        run: run.head,
    }))
}

fn feed_gap(registry: &Registry, gap: store::GapRow) -> FeedGap {
    let institution = registry.institutions.get(&gap.institution_id);
    let district_id = institution.map_or(String::new(), |(_, i)| i.district_id.clone());
    FeedGap {
        institution_name: name_of(registry, &gap.institution_id),
        district_name: (registry.districts.get(&district_id))
            .map_or_else(|| district_id.clone(), |d| d.name.clone()),
        district_id,
        account_tail: last_four(&gap.account_id),
        code: gap.code,
        days: gap.days,
        first: gap.first,
        last: gap.last,
    }
}

/// The run a page shows: the city's is over all districts, a district's is whichever knew most of it.
async fn page_run(tx: &mut Tx, as_of: Option<Day>, district: Option<&str>) -> Result<Option<Run>> {
    let wanted = Wanted {
        as_of,
        policy: Some(policy::DEFAULT),
        whole_city: district.is_none(),
        district,
        ..Wanted::default()
    };
    store::find_run(tx, &wanted).await
}

async fn totals_of(tx: &mut Tx, run: &Run) -> Result<Vec<(String, DistrictTotals)>> {
    let mut totals = store::district_totals(tx, &[run.head.run_id]).await?;
    Ok(totals.remove(&run.head.run_id).unwrap_or_default())
}

fn completeness(d: &DistrictTotals) -> Completeness {
    Completeness {
        accounts_expected: d.accounts_expected,
        accounts_proven: d.accounts_proven,
        institutions_unknown: d.unknown_institutions,
        missing_days: d.missing_days,
        unmatched_credits: d.unmatched_credits,
    }
}

fn district_row(registry: &Registry, district_id: &str, d: &DistrictTotals) -> DistrictRow {
    let known = registry.districts.get(district_id);
    let tile = known.and_then(|k| {
        Some((
            u8::try_from(k.tile_col?).ok()?,
            u8::try_from(k.tile_row?).ok()?,
        ))
    });
    DistrictRow {
        district_id: district_id.to_owned(),
        name: known.map_or_else(|| district_id.to_owned(), |k| k.name.clone()),
        is_zone: known.is_some_and(|k| k.kind != "gb"),
        tile,
        required: d.required,
        held: d.held,
        uncovered: d.uncovered,
        institutions: d.institutions,
        uncovered_institutions: d.uncovered_institutions,
        unknown_institutions: d.unknown_institutions,
        red_flags: d.red_flags,
        amber_flags: d.amber_flags,
        amount_coverage: d.amount_coverage(),
        custody_rate: d.custody_rate(),
    }
}

fn coverage(p: &PositionRow) -> Option<Ratio> {
    Ratio::new(i128::from(p.covered.fen()), i128::from(p.required.fen()))
}

/// Lowest coverage first, then the largest gap; what needs nothing comes last.
fn worst_first(a: &PositionRow, b: &PositionRow) -> std::cmp::Ordering {
    let key = |p: &PositionRow| {
        let rate = if p.uncovered > Money::ZERO || p.status == Status::Unknown {
            coverage(p).map_or(-1, Ratio::basis_points)
        } else {
            coverage(p).map_or(20_000, |r| r.basis_points() + 10_000)
        };
        (rate, std::cmp::Reverse(p.uncovered))
    };
    key(a)
        .cmp(&key(b))
        .then_with(|| a.institution_id.cmp(&b.institution_id))
}

fn name_of(registry: &Registry, institution_id: &str) -> String {
    registry
        .institutions
        .get(institution_id)
        .map_or_else(|| institution_id.to_owned(), |(_, i)| i.name.clone())
}

async fn institution_rows(
    tx: &mut Tx,
    run: &Run,
    registry: &Registry,
    positions: &[PositionRow],
) -> Result<Vec<InstitutionRow>> {
    let mut tails: HashMap<i64, &str> = HashMap::new();
    for account in registry.accounts.iter() {
        let tail = tails.entry(account.inst_id.0);
        if account.kind == AccountKind::Custody {
            tail.or_insert(&account.account_id);
        }
    }
    let inst_ids: Vec<i64> = positions.iter().map(|p| p.inst_id).collect();
    let flags = store::flags(tx, run, &inst_ids).await?;
    let mut rows = Vec::with_capacity(positions.len());
    for p in positions {
        let flags = flags.get(&p.inst_id).copied().unwrap_or_default();
        let since = p.uncovered_since;
        rows.push(InstitutionRow {
            institution_id: p.institution_id.clone(),
            name: name_of(registry, &p.institution_id),
            district_id: p.district_id.clone(),
            district_name: registry
                .districts
                .get(&p.district_id)
                .map_or_else(|| p.district_id.clone(), |d| d.name.clone()),
            account_tail: tails.get(&p.inst_id).map(|id| last_four(id)),
            required: p.required,
            held: p.held,
            explained: p.explained,
            uncovered: p.uncovered,
            status: p.status,
            coverage: coverage(p),
            days_uncovered: since.map_or(0, |s| {
                i64::from(CHINA.working_days_between(s.plus(-1), run.head.as_of))
            }),
            worst_flag: flags.worst,
            flags: flags.n,
        });
    }
    Ok(rows)
}

fn last_four(account_id: &str) -> String {
    let chars: Vec<char> = account_id.chars().collect();
    chars[chars.len().saturating_sub(4)..].iter().collect()
}

async fn trend(tx: &mut Tx, run: &Run, district: Option<&str>) -> Result<Vec<TrendPoint>> {
    let until = (run.head.as_of, TREND_DAYS);
    let mut runs = store::runs_by_day(tx, &run.head.policy, district, until).await?;
    runs.reverse();
    if let Some(last) = runs.last_mut().filter(|(day, _)| *day == run.head.as_of) {
        last.1 = run.head.run_id;
    }
    let ids: Vec<i64> = runs.iter().map(|(_, id)| *id).collect();
    let mut totals = store::district_totals(tx, &ids).await?;
    Ok(runs
        .into_iter()
        .map(|(day, run_id)| {
            let all = totals.remove(&run_id).unwrap_or_default();
            let scope = DistrictTotals::sum(
                all.iter()
                    .filter(|(id, _)| district.is_none_or(|d| d == id))
                    .map(|(_, d)| d),
            );
            let lowest = all
                .iter()
                .filter_map(|(_, d)| d.amount_coverage())
                .min_by_key(|r| r.basis_points())
                .filter(|_| district.is_none());
            TrendPoint {
                day,
                coverage: scope.amount_coverage(),
                lowest,
                complete: scope.accounts_proven == scope.accounts_expected,
            }
        })
        .collect())
}

async fn days(tx: &mut Tx, run: &Run) -> Result<Vec<Day>> {
    let until = (Day::MAX, DAYS_OFFERED);
    let runs = store::runs_by_day(tx, &run.head.policy, run.district_id.as_deref(), until).await?;
    Ok(runs.into_iter().map(|(day, _)| day).collect())
}
