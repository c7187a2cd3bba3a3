//! An invented city for tests and previews: the 16 supervising districts of Zhengzhou on their tile
//! grid, each with a few institutions.
//!
//! Invariants: the city's sums are the districts' sums, a district's are its own; names and figures
//! are made up; the same call gives the same city.

use std::sync::Arc;

use crate::base::{Day, FlagCode, Instant, Money, Ratio, Severity};
use crate::intake::{FileSummary, Summary};
use crate::report::{
    Completeness, DistrictPage, DistrictRow, FeedGap, FindingRow, InstitutionRow, Overview,
    RunHead, Status, TrendPoint,
};
use crate::web::preview::{ImportPreview, NoPreview, Previews, Upload};
use crate::web::{BoxFuture, PageError, PageSource, Site, Thresholds, WebState};
use crate::wire::Assumptions;

/// A name that tries to be markup and a formula.
pub(super) const HOSTILE_NAME: &str = "<b>=HYPERLINK(\"x\")</b>";

/// District code, name, column, row, required and uncovered in yuan, institutions, unknown ones.
type Plan = (&'static str, &'static str, u8, u8, i64, i64, i64, i64);

const DISTRICTS: [Plan; 16] = [
    ("410106", "上街区", 2, 1, 12_340_000, 0, 41, 0),
    ("ZZ-GX", "高新区", 3, 1, 22_010_000, 255_000, 98, 0),
    ("410108", "惠济区", 4, 1, 15_160_000, 256_000, 72, 0),
    ("410181", "巩义市", 1, 2, 12_100_000, 1_049_000, 66, 0),
    ("410182", "荥阳市", 2, 2, 11_000_000, 175_000, 58, 2),
    ("410102", "中原区", 3, 2, 41_020_000, 2_363_000, 139, 0),
    ("410105", "金水区", 4, 2, 78_030_000, 1_723_000, 231, 0),
    ("ZZ-ZD", "郑东新区", 5, 2, 55_200_000, 0, 162, 0),
    ("410122", "中牟县", 6, 2, 13_970_000, 254_000, 77, 0),
    ("410185", "登封市", 1, 3, 9_870_000, 1_263_000, 49, 1),
    ("410183", "新密市", 2, 3, 13_210_000, 325_000, 63, 0),
    ("410103", "二七区", 3, 3, 39_870_000, 4_469_000, 128, 0),
    ("410104", "管城回族区", 4, 3, 33_760_000, 1_961_000, 104, 0),
    ("ZZ-JK", "经开区", 5, 3, 24_300_000, 0, 81, 3),
    ("ZZ-HK", "航空港区", 6, 3, 20_080_000, 4, 69, 0),
    ("410184", "新郑市", 4, 4, 18_700_000, 2_706_000, 84, 0),
];

const AS_OF: (i32, u32, u32) = (2026, 6, 30);

fn as_of() -> Day {
    Day::from_ymd(AS_OF.0, AS_OF.1, AS_OF.2).expect("a date")
}

fn yuan(value: i64) -> Money {
    Money::from_fen(value * 100)
}

fn cover(required: Money, uncovered: Money) -> Option<Ratio> {
    Ratio::new(
        i128::from(required.fen() - uncovered.fen()),
        i128::from(required.fen()),
    )
}

pub(super) fn site() -> Site {
    Site {
        city: "郑州市".to_owned(),
        zone: chrono_tz::Asia::Shanghai,
        thresholds: Thresholds {
            full_bp: 10_000,
            watch_bp: 9_500,
            amber_bp: 9_000,
        },
        demo: true,
    }
}

fn run() -> RunHead {
    let at = |text: &str| text.parse::<Instant>().expect("an instant");
    RunHead {
        run_id: 42,
        as_of: as_of(),
        known_at: at("2026-06-30T22:10:00Z"),
        completed_at: at("2026-06-30T22:12:31Z"),
        policy: "default".to_owned(),
        policy_version: 3,
    }
}

fn district(plan: &Plan) -> DistrictRow {
    let (id, name, column, row, required, uncovered, institutions, unknown) = *plan;
    let (required, uncovered) = (yuan(required), yuan(uncovered));
    DistrictRow {
        district_id: id.to_owned(),
        name: name.to_owned(),
        is_zone: id.starts_with("ZZ"),
        tile: Some((column, row)),
        required,
        held: required.less_floored(uncovered),
        uncovered,
        institutions,
        uncovered_institutions: if uncovered > Money::ZERO {
            institutions / 30 + 1
        } else {
            0
        },
        unknown_institutions: unknown,
        red_flags: uncovered.fen() / 40_000_000,
        amber_flags: uncovered.fen() / 20_000_000,
        amount_coverage: cover(required, uncovered),
        custody_rate: Ratio::new(
            i128::from(institutions - institutions / 20),
            institutions.into(),
        ),
    }
}

/// All districts of the sample.
pub(super) fn districts() -> Vec<DistrictRow> {
    DISTRICTS.iter().map(district).collect()
}

fn total(districts: &[DistrictRow]) -> DistrictRow {
    let sum = |of: fn(&DistrictRow) -> i64| districts.iter().map(of).sum::<i64>();
    let required = Money::from_fen(sum(|d| d.required.fen()));
    let uncovered = Money::from_fen(sum(|d| d.uncovered.fen()));
    let institutions = sum(|d| d.institutions);
    DistrictRow {
        district_id: "410100".to_owned(),
        name: "郑州市".to_owned(),
        is_zone: false,
        tile: None,
        required,
        held: Money::from_fen(sum(|d| d.held.fen())),
        uncovered,
        institutions,
        uncovered_institutions: sum(|d| d.uncovered_institutions),
        unknown_institutions: sum(|d| d.unknown_institutions),
        red_flags: sum(|d| d.red_flags),
        amber_flags: sum(|d| d.amber_flags),
        amount_coverage: cover(required, uncovered),
        custody_rate: Ratio::new(
            i128::from(institutions - institutions / 20),
            institutions.into(),
        ),
    }
}

fn trend(last: Option<Ratio>, with_lowest: bool) -> Vec<TrendPoint> {
    const CITY: [i128; 12] = [
        8_807, 8_640, 8_995, 9_075, 9_130, 9_210, 9_115, 9_020, 9_265, 9_340, 9_410, 9_592,
    ];
    const LOWEST: [i128; 12] = [
        7_020, 6_602, 7_150, 7_480, 7_705, 7_990, 7_812, 7_633, 8_081, 8_320, 8_490, 8_553,
    ];
    let first = Day::from_ymd(2025, 7, 31).expect("a date");
    let point = |(month, (city, lowest)): (u32, (i128, i128))| TrendPoint {
        day: if month == 11 {
            as_of()
        } else {
            first.plus_months(month)
        },
        coverage: if month == 11 {
            last
        } else {
            Ratio::new(city, 10_000)
        },
        lowest: Ratio::new(lowest, 10_000).filter(|_| with_lowest),
        complete: month != 4 && month != 11,
    };
    (0..).zip(CITY.into_iter().zip(LOWEST)).map(point).collect()
}

/// One institution's line; figures in yuan.
fn institution(
    (number, name, district): (usize, &str, &DistrictRow),
    (required, held, explained): (i64, i64, i64),
    flag: Option<(FlagCode, Severity)>,
    status: Status,
) -> InstitutionRow {
    let (required, held, explained) = (yuan(required), yuan(held), yuan(explained));
    let uncovered = required.less_floored(held).less_floored(explained);
    InstitutionRow {
        institution_id: format!("JG-{}-{number:04}", district.district_id),
        name: name.to_owned(),
        district_id: district.district_id.clone(),
        district_name: district.name.clone(),
        account_tail: (number != 7).then(|| format!("{:04}", 4_402 + number * 1_171 % 5_000)),
        required,
        held,
        explained,
        uncovered,
        status,
        coverage: cover(required, uncovered),
        days_uncovered: i64::try_from(number % 13).expect("small"),
        worst_flag: flag,
        flags: i64::try_from(number % 3).expect("small") + 1,
    }
}

/// Nine institutions of trouble, the worst first.
fn worst(districts: &[DistrictRow]) -> Vec<InstitutionRow> {
    let mut rows = troubled(districts);
    let coverage = |row: &InstitutionRow| row.coverage.map(Ratio::basis_points);
    rows.sort_by_key(|row| (row.status == Status::Unknown, coverage(row)));
    rows
}

fn troubled(districts: &[DistrictRow]) -> Vec<InstitutionRow> {
    use {FlagCode::*, Severity::*};
    let of = |i: usize| &districts[i % districts.len()];
    vec![
        institution(
            (1, "示例星辰艺术培训中心", of(11)),
            (3_862_000, 2_147_500, 0),
            Some((UncoveredFunds, Red)),
            Status::Short,
        ),
        institution(
            (2, "示例启明学科培训学校", of(15)),
            (2_984_000, 1_710_200, 0),
            Some((UnauthorisedDebit, Red)),
            Status::Short,
        ),
        institution(
            (3, HOSTILE_NAME, of(9)),
            (1_427_500, 831_000, 12_000),
            Some((UncoveredFunds, Red)),
            Status::Short,
        ),
        institution(
            (4, "示例蓝鲸编程", of(4)),
            (2_059_000, 1_426_600, 0),
            Some((FeedMissing, Amber)),
            Status::Unknown,
        ),
        institution(
            (5, "示例博雅语言", of(6)),
            (1_880_000, 1_394_300, 0),
            Some((TransitOverdue, Amber)),
            Status::Short,
        ),
        institution(
            (6, "示例童声合唱", of(5)),
            (961_200, 749_000, 30_000),
            Some((UncoveredFunds, Amber)),
            Status::Short,
        ),
        institution(
            (7, "示例锐思科技", of(12)),
            (1_643_300, 0, 0),
            Some((NoCustody, Red)),
            Status::Short,
        ),
        institution(
            (8, "示例和风书画", of(3)),
            (884_000, 710_200, 0),
            Some((UncoveredFunds, Watch)),
            Status::Short,
        ),
        institution(
            (9, "示例云朵舞蹈", of(14)),
            (200_800, 200_796, 0),
            None,
            Status::Short,
        ),
    ]
}

fn finding(index: usize, row: &InstitutionRow) -> Option<FindingRow> {
    let (code, severity) = row.worst_flag?;
    let offset = i32::try_from(index).expect("small");
    Some(FindingRow {
        code,
        severity,
        subject: format!("PAY-2026-{:06}", 18_000 + index * 77),
        institution_id: row.institution_id.clone(),
        institution_name: row.name.clone(),
        date: as_of().plus(-offset),
        amount: row.uncovered,
        n: i64::from(offset % 4),
        due_on: (index != 3).then(|| as_of().plus(10 + offset)),
        due_is_provisional: index.is_multiple_of(2),
        evidence: format!(
            "应监管 {} − 实际托管 {} − 在途已说明 {} = {}；账户流水 E-{}，规则版本 3",
            row.required,
            row.held,
            row.explained,
            row.uncovered,
            9_100 + index
        ),
    })
}

pub(super) fn completeness() -> Completeness {
    Completeness {
        accounts_expected: 1_398,
        accounts_proven: 1_391,
        institutions_unknown: 6,
        missing_days: 23,
        unmatched_credits: 17,
    }
}

/// The day with nothing missing.
pub(super) fn complete_data() -> Completeness {
    Completeness {
        accounts_expected: 1_398,
        accounts_proven: 1_398,
        unmatched_credits: 17,
        ..Completeness::default()
    }
}

pub(super) fn overview() -> Overview {
    let districts = districts();
    let total = total(&districts);
    Overview {
        run: run(),
        completeness: completeness(),
        trend: trend(total.amount_coverage, true),
        total,
        worst: worst(&districts),
        worst_total: 46,
        gaps: gaps(),
        gaps_total: 9,
        red_institutions: 11,
        amber_institutions: 35,
        days: (0..30).map(|back| as_of().plus(-back)).collect(),
        districts,
    }
}

fn gaps() -> Vec<FeedGap> {
    let gap = |name: &str, tail: &str, code, days, back: (i32, i32)| FeedGap {
        institution_name: name.to_owned(),
        district_id: "410102".to_owned(),
        district_name: "中原区".to_owned(),
        account_tail: tail.to_owned(),
        code,
        days,
        first: as_of().plus(-back.0),
        last: as_of().plus(-back.1),
    };
    vec![
        gap("启明培训学校", "4402", FlagCode::FeedMissing, 12, (16, 0)),
        gap("星河艺术中心", "7731", FlagCode::FeedBroken, 1, (4, 4)),
    ]
}

/// The overview of a day with nothing missing.
pub(super) fn complete_overview() -> Overview {
    let mut districts = districts();
    for district in &mut districts {
        district.unknown_institutions = 0;
    }
    let mut trend = overview().trend;
    trend.last_mut().expect("twelve points").complete = true;
    let total = total(&districts);
    Overview {
        completeness: complete_data(),
        gaps: Vec::new(),
        gaps_total: 0,
        total,
        districts,
        trend,
        ..overview()
    }
}

/// A city of three districts on its first day: two want one tile, one requires nothing and has no
/// tile, and the rows do not add up to the city's figures.
pub(super) fn small_city() -> Overview {
    let mut districts: Vec<_> = districts().into_iter().take(3).collect();
    districts[1].tile = districts[0].tile;
    let last = &mut districts[2];
    (last.tile, last.amount_coverage, last.custody_rate) = (Some((13, 1)), None, None);
    (last.required, last.held, last.uncovered) = (Money::ZERO, Money::ZERO, Money::ZERO);
    let mut total = total(&districts);
    total.held = Money::from_fen(total.held.fen() + 1);
    Overview {
        completeness: complete_data(),
        gaps: Vec::new(),
        gaps_total: 0,
        total,
        districts,
        trend: Vec::new(),
        worst: Vec::new(),
        worst_total: 0,
        red_institutions: 0,
        amber_institutions: 0,
        ..overview()
    }
}

fn district_trend(district: &DistrictRow) -> Vec<TrendPoint> {
    let mut points = trend(district.amount_coverage, false);
    points.last_mut().expect("twelve points").complete = district.unknown_institutions == 0;
    points
}

pub(super) fn district_page(id: &str) -> Option<DistrictPage> {
    let district = districts().into_iter().find(|d| d.district_id == id)?;
    let institutions = worst(std::slice::from_ref(&district));
    let findings: Vec<_> = institutions
        .iter()
        .enumerate()
        .filter_map(|(i, row)| finding(i, row))
        .collect();
    let unknown = district.unknown_institutions;
    Some(DistrictPage {
        run: run(),
        completeness: Completeness {
            institutions_unknown: unknown,
            ..complete_data()
        },
        trend: district_trend(&district),
        institutions,
        findings_total: district.red_flags + district.amber_flags,
        findings,
        days: vec![as_of()],
        district,
    })
}

/// A port that answers from the sample: one day, or none, or an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SampleSource {
    City,
    Complete,
    /// Another city: see [`small_city`].
    Small,
    Empty,
    Broken,
}

impl SampleSource {
    fn answer<T: Send + 'static>(
        self,
        wanted: Option<Day>,
        value: Option<T>,
    ) -> BoxFuture<'static, Result<Option<T>, PageError>> {
        let of_day = wanted.is_none_or(|day| day == as_of());
        Box::pin(async move {
            match self {
                SampleSource::City | SampleSource::Complete | SampleSource::Small => {
                    Ok(value.filter(|_| of_day))
                }
                SampleSource::Empty => Ok(None),
                SampleSource::Broken => Err(PageError::new("the disk of 10.0.0.7 is full")),
            }
        })
    }
}

impl PageSource for SampleSource {
    fn overview(&self, as_of: Option<Day>) -> BoxFuture<'_, Result<Option<Overview>, PageError>> {
        if *self == SampleSource::Small {
            return self.answer(as_of, Some(small_city()));
        }
        let value = if *self == SampleSource::Complete {
            complete_overview()
        } else {
            overview()
        };
        self.answer(as_of, Some(value))
    }

    fn district(
        &self,
        id: String,
        as_of: Option<Day>,
    ) -> BoxFuture<'_, Result<Option<DistrictPage>, PageError>> {
        self.answer(as_of, district_page(&id))
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), PageError>> {
        let answer = self.answer(None, Some(()));
        Box::pin(async move { answer.await.map(|_| ()) })
    }
}

/// A port that says what was uploaded, as files that would be used.
struct SamplePreview;

impl ImportPreview for SamplePreview {
    fn preview(
        &self,
        files: Vec<Upload>,
        assumed: Assumptions,
    ) -> BoxFuture<'static, Result<Summary, NoPreview>> {
        let files = files.into_iter().map(move |f| FileSummary {
            assumed: assumed.clone(),
            file: f.name,
            kind: "statement".to_owned(),
            outcome: "used".to_owned(),
            new: i64::try_from(f.bytes.len()).unwrap(),
            ..FileSummary::default()
        });
        let summary = Summary {
            files: files.collect(),
            dry_run: true,
            ..Summary::default()
        };
        Box::pin(async move { Ok(summary) })
    }
}

pub(super) fn state(source: SampleSource) -> WebState {
    WebState {
        source: Arc::new(source),
        site: Arc::new(site()),
        inbox: None,
        previews: Arc::new(Previews::new(Arc::new(SamplePreview))),
        traffic: Arc::default(),
    }
}
