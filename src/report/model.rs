//! What reports and pages are made of: plain values of one completed run.

use crate::base::{Day, FlagCode, Instant, Money, Ratio, Severity};
pub use crate::position::Status;

/// The completed run that every figure of a report belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunHead {
    pub run_id: i64,
    pub as_of: Day,
    pub known_at: Instant,
    pub completed_at: Instant,
    pub policy: String,
    pub policy_version: i64,
}

/// How complete the day's bank data is. Comes before any percentage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completeness {
    /// Accounts that owe a statement for the day.
    pub accounts_expected: i64,
    /// Of these, accounts with a statement that proves itself.
    pub accounts_proven: i64,
    /// Institutions whose status is UNKNOWN because of a missing or broken statement.
    pub institutions_unknown: i64,
    /// Days without a statement, over all accounts and all days up to the as-of day.
    pub missing_days: i64,
    /// Credits on the books that match nothing reported.
    pub unmatched_credits: i64,
}

/// One district's line: sums over its institutions, never netted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistrictRow {
    pub district_id: String,
    pub name: String,
    /// A function zone without a GB/T 2260 code of its own (dashed border on the tile grid).
    pub is_zone: bool,
    /// Column and row on the tile grid, counted from 1, if the site gives one.
    pub tile: Option<(u8, u8)>,
    pub required: Money,
    pub held: Money,
    pub uncovered: Money,
    pub institutions: i64,
    /// Institutions with uncovered funds.
    pub uncovered_institutions: i64,
    pub unknown_institutions: i64,
    pub red_flags: i64,
    pub amber_flags: i64,
    /// 金额覆盖率: Σ min(held + explained, required) ÷ Σ required; `None` = nothing required.
    pub amount_coverage: Option<Ratio>,
    /// 应托管尽托管率: institutions under a filed arrangement ÷ institutions that must be.
    pub custody_rate: Option<Ratio>,
}

/// One institution's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstitutionRow {
    pub institution_id: String,
    pub name: String,
    pub district_id: String,
    pub district_name: String,
    /// Last four characters of the custody account, if there is one.
    pub account_tail: Option<String>,
    pub required: Money,
    pub held: Money,
    /// Part of the gap explained by money in transit and channel fees inside their window.
    pub explained: Money,
    pub uncovered: Money,
    pub status: Status,
    /// min(held + explained, required) ÷ required; `None` = nothing required.
    pub coverage: Option<Ratio>,
    /// Working days, the as-of day included, since funds were first found uncovered.
    pub days_uncovered: i64,
    /// The most severe open finding.
    pub worst_flag: Option<(FlagCode, Severity)>,
    pub flags: i64,
}

/// One point of the coverage trend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrendPoint {
    pub day: Day,
    /// The scope's coverage on the day.
    pub coverage: Option<Ratio>,
    /// The lowest district's coverage on the day (city page only).
    pub lowest: Option<Ratio>,
    /// False where a statement was missing: the point is drawn hollow.
    pub complete: bool,
}

/// Statement days of one account that are missing, or that are here and prove nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedGap {
    pub institution_name: String,
    pub district_id: String,
    pub district_name: String,
    /// Last four characters of the account.
    pub account_tail: String,
    /// `FEED_MISSING` or `FEED_BROKEN`.
    pub code: FlagCode,
    pub days: i64,
    pub first: Day,
    pub last: Day,
}

/// Everything on the city page.
#[derive(Clone, Debug)]
pub struct Overview {
    pub run: RunHead,
    pub completeness: Completeness,
    /// All districts summed; its `name` is the city's.
    pub total: DistrictRow,
    pub districts: Vec<DistrictRow>,
    /// Oldest first.
    pub trend: Vec<TrendPoint>,
    /// Institutions with uncovered or unknown funds, worst coverage first, at most a page.
    pub worst: Vec<InstitutionRow>,
    /// How many there are in all.
    pub worst_total: i64,
    /// Accounts with statement days that are missing or broken, those still silent first, at most a page.
    pub gaps: Vec<FeedGap>,
    pub gaps_total: i64,
    /// Institutions with at least one red, else amber, finding.
    pub red_institutions: i64,
    pub amber_institutions: i64,
    /// Days that have a completed run, newest first, for the as-of choice.
    pub days: Vec<Day>,
}

/// One open finding as a page lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingRow {
    pub code: FlagCode,
    pub severity: Severity,
    pub subject: String,
    pub institution_id: String,
    pub institution_name: String,
    pub date: Day,
    pub amount: Money,
    /// Days beyond the tolerance for LATE_CREDIT, else 0.
    pub n: i64,
    pub due_on: Option<Day>,
    /// True where the due date lies beyond the published working-day calendar.
    pub due_is_provisional: bool,
    /// The arithmetic in words, with the ids it rests on.
    pub evidence: String,
}

/// Everything on a district's page.
#[derive(Clone, Debug)]
pub struct DistrictPage {
    pub run: RunHead,
    pub completeness: Completeness,
    pub district: DistrictRow,
    pub trend: Vec<TrendPoint>,
    /// Worst coverage first, at most a page.
    pub institutions: Vec<InstitutionRow>,
    /// Most severe first, at most a page.
    pub findings: Vec<FindingRow>,
    pub findings_total: i64,
    pub days: Vec<Day>,
}
