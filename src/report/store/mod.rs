//! SQL of reports: reads of one completed run, and nothing else.

mod matching;

use std::cmp::Reverse;
use std::collections::HashMap;

use chrono::NaiveDate;

pub use matching::{MatchRow, ProofRow, ReviewRow, matches, proofs, reviews};

use super::{RunHead, Status};
use crate::base::{Day, FlagCode, Instant, Money, Severity};
use crate::flag::Evidence;
use crate::flag::store::code_and_severity;
use crate::on;
use crate::position::DistrictTotals;
use crate::store::bulk::{self, ints, repeated};
use crate::store::{DbError, Result, Tx, days};

/// Which run a report wants.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// `None` = the newest as-of day that has a completed run.
    pub as_of: Option<Day>,
    /// Only runs whose knowledge is not newer.
    pub known_at: Option<Instant>,
    pub policy: Option<&'a str>,
    /// Only runs over all districts.
    pub whole_city: bool,
    /// One district: the run that knew most of it, over all districts or over this one alone. The report
    /// is then of this district.
    pub district: Option<&'a str>,
}

/// A completed run with what reading its results needs.
#[derive(Clone, Debug)]
pub struct Run {
    pub head: RunHead,
    pub policy_no: i64,
    pub source_cut: i64,
    /// The one district it is read for, `None` for all.
    pub district_id: Option<String>,
}

#[derive(sqlx::FromRow)]
struct RunRow {
    run_id: i64,
    policy_no: i64,
    name: String,
    as_of: NaiveDate,
    known_at: Instant,
    source_cut: i64,
    district_id: Option<String>,
    completed_at: Instant,
}

/// The completed run of the newest day that is wanted: one over all districts before one of a district,
/// then the one that knew most, then the newest. For one district, whatever knew most of it comes first.
pub async fn find_run(tx: &mut Tx, wanted: &Wanted<'_>) -> Result<Option<Run>> {
    // Open ends instead of optional clauses keep this one statement.
    let first = wanted.as_of.unwrap_or(Day::MIN).date();
    let last = wanted.as_of.unwrap_or(Day::MAX).date();
    let known_at = wanted.known_at.unwrap_or(Instant::MAX_UTC_STORED);
    let policy = wanted.policy.unwrap_or("");
    let whole = i64::from(wanted.whole_city);
    let district = wanted.district.unwrap_or("");
    let row: Option<RunRow> = on!(tx, c => sqlx::query_as(
            "SELECT r.run_id, r.policy_no, p.name, r.as_of, r.known_at, r.source_cut, \
                    r.district_id, r.completed_at \
             FROM run r JOIN policy_version p ON p.policy_no = r.policy_no \
             WHERE r.completed_at IS NOT NULL AND r.as_of >= $1 AND r.as_of <= $2 \
               AND r.known_at <= $3 AND ($4 = '' OR p.name = $4) \
               AND ($5 = 0 OR r.district_id IS NULL) \
               AND ($6 = '' OR r.district_id IS NULL OR r.district_id = $6) \
             ORDER BY r.as_of DESC, CASE WHEN r.district_id IS NULL OR $6 <> '' THEN 0 ELSE 1 END, \
                      r.source_cut DESC, r.run_id DESC LIMIT 1")
            .bind(first).bind(last).bind(known_at).bind(policy).bind(whole).bind(district)
            .fetch_optional(c).await)
    .map_err(DbError::sql("finding a run"))?;
    Ok(row.map(|r| Run {
        head: RunHead {
            run_id: r.run_id,
            as_of: Day::from_date(r.as_of),
            known_at: r.known_at,
            completed_at: r.completed_at,
            policy: r.name,
            policy_version: r.policy_no,
        },
        policy_no: r.policy_no,
        source_cut: r.source_cut,
        district_id: wanted.district.map(str::to_owned).or(r.district_id),
    }))
}

/// The one district a run was of; `None` for all.
pub async fn district_of_run(tx: &mut Tx, run_id: i64) -> Result<Option<String>> {
    let row: Option<(Option<String>,)> =
        on!(tx, c => sqlx::query_as("SELECT district_id FROM run WHERE run_id = $1")
            .bind(run_id).fetch_optional(c).await)
        .map_err(DbError::sql("reading a run"))?;
    Ok(row.and_then(|(district,)| district))
}

/// The far end of time as both databases can store it.
trait StoredInstant {
    const MAX_UTC_STORED: Instant;
}

impl StoredInstant for Instant {
    // 9999-12-31T23:59:59Z
    const MAX_UTC_STORED: Instant = match Instant::from_timestamp(253_402_300_799, 0) {
        Some(instant) => instant,
        None => Instant::MAX_UTC,
    };
}

#[derive(sqlx::FromRow)]
struct DistrictTotalsRow {
    run_id: i64,
    district_id: String,
    required_fen: i64,
    held_fen: i64,
    uncovered_fen: i64,
    covered_fen: i64,
    institutions: i64,
    uncovered_institutions: i64,
    unknown_institutions: i64,
    must_be_held: i64,
    under_custody: i64,
    red_flags: i64,
    amber_flags: i64,
    unmatched_credits: i64,
    accounts_expected: i64,
    accounts_proven: i64,
    missing_days: i64,
}

/// What runs say of each district, by run and district.
pub async fn district_totals(
    tx: &mut Tx,
    run_ids: &[i64],
) -> Result<HashMap<i64, Vec<(String, DistrictTotals)>>> {
    let rows: Vec<DistrictTotalsRow> = bulk::lookup(
        tx,
        vec![("run_id", ints(run_ids, |id| *id))],
        "SELECT d.run_id, d.district_id, d.required_fen, d.held_fen, d.uncovered_fen, \
                d.covered_fen, d.institutions, d.uncovered_institutions, d.unknown_institutions, \
                d.must_be_held, d.under_custody, d.red_flags, d.amber_flags, d.unmatched_credits, \
                d.accounts_expected, d.accounts_proven, d.missing_days \
         FROM wanted w CROSS JOIN district_coverage d WHERE d.run_id = w.run_id \
         ORDER BY d.run_id, d.district_id",
    )
    .await?;
    let mut totals: HashMap<i64, Vec<(String, DistrictTotals)>> = HashMap::new();
    for r in rows {
        let district = DistrictTotals {
            required: Money::from_fen(r.required_fen),
            held: Money::from_fen(r.held_fen),
            uncovered: Money::from_fen(r.uncovered_fen),
            covered: Money::from_fen(r.covered_fen),
            institutions: r.institutions,
            uncovered_institutions: r.uncovered_institutions,
            unknown_institutions: r.unknown_institutions,
            must_be_held: r.must_be_held,
            under_custody: r.under_custody,
            red_flags: r.red_flags,
            amber_flags: r.amber_flags,
            unmatched_credits: r.unmatched_credits,
            accounts_expected: r.accounts_expected,
            accounts_proven: r.accounts_proven,
            missing_days: r.missing_days,
        };
        totals
            .entry(r.run_id)
            .or_default()
            .push((r.district_id, district));
    }
    Ok(totals)
}

/// One institution's position in a run.
#[derive(Clone, Debug)]
pub struct PositionRow {
    pub inst_id: i64,
    pub institution_id: String,
    pub district_id: String,
    pub mode: i64,
    pub status: Status,
    pub required: Money,
    pub held: Money,
    pub explained: Money,
    pub uncovered: Money,
    pub covered: Money,
    pub deposit_required: Money,
    pub deposit_held: Money,
    pub unearned_confirmed: Money,
    pub unearned_delivered: Money,
    pub releasable: Money,
    pub protected: Money,
    pub consumed: Money,
    pub deemed: Money,
    pub fees_recorded: Money,
    pub fees_credited: Money,
    pub contracts: i64,
    /// It prepays and is active, so it must be under custody; and whether it is.
    pub must_be_held: bool,
    pub under_custody: bool,
    pub missing_days: i64,
    pub uncovered_since: Option<Day>,
}

#[derive(sqlx::FromRow)]
struct PositionRecord {
    inst_id: i64,
    institution_id: String,
    district_id: String,
    mode: i64,
    status: i64,
    required_fen: i64,
    held_fen: i64,
    explained_fen: i64,
    uncovered_fen: i64,
    covered_fen: i64,
    deposit_required_fen: i64,
    deposit_held_fen: i64,
    unearned_confirmed_fen: i64,
    unearned_delivered_fen: i64,
    releasable_fen: i64,
    protected_fen: i64,
    consumed_fen: i64,
    deemed_fen: i64,
    fees_recorded_fen: i64,
    fees_credited_fen: i64,
    contracts: i64,
    must_be_held: i64,
    under_custody: i64,
    missing_days: i64,
    uncovered_since_day: Option<i64>,
}

/// Positions of a run, by institution id. `district` narrows them.
pub async fn positions(tx: &mut Tx, run: &Run, district: Option<&str>) -> Result<Vec<PositionRow>> {
    let district = district.or(run.district_id.as_deref()).unwrap_or("");
    let rows: Vec<PositionRecord> = on!(tx, c => sqlx::query_as(
            "SELECT p.inst_id, d.institution_id, p.district_id, p.mode, p.status, p.required_fen, \
                    p.held_fen, p.explained_fen, p.uncovered_fen, p.covered_fen, \
                    p.deposit_required_fen, p.deposit_held_fen, p.unearned_confirmed_fen, \
                    p.unearned_delivered_fen, p.releasable_fen, p.protected_fen, p.consumed_fen, \
                    p.deemed_fen, p.fees_recorded_fen, p.fees_credited_fen, p.contracts, \
                    p.must_be_held, p.under_custody, p.missing_days, p.uncovered_since_day \
             FROM position p JOIN institution_directory d ON d.inst_id = p.inst_id \
             WHERE p.policy_no = $1 AND p.to_run > $2 AND p.from_run <= $2 \
               AND ($3 = '' OR p.district_id = $3) \
             ORDER BY d.institution_id")
            .bind(run.policy_no).bind(run.head.run_id).bind(district).fetch_all(c).await)
    .map_err(DbError::sql("reading positions"))?;
    rows.into_iter()
        .map(|r| {
            Ok(PositionRow {
                status: Status::from_number(r.status).ok_or_else(|| {
                    DbError::Inconsistent(format!("position has the status {}", r.status))
                })?,
                inst_id: r.inst_id,
                institution_id: r.institution_id,
                district_id: r.district_id,
                mode: r.mode,
                required: Money::from_fen(r.required_fen),
                held: Money::from_fen(r.held_fen),
                explained: Money::from_fen(r.explained_fen),
                uncovered: Money::from_fen(r.uncovered_fen),
                covered: Money::from_fen(r.covered_fen),
                deposit_required: Money::from_fen(r.deposit_required_fen),
                deposit_held: Money::from_fen(r.deposit_held_fen),
                unearned_confirmed: Money::from_fen(r.unearned_confirmed_fen),
                unearned_delivered: Money::from_fen(r.unearned_delivered_fen),
                releasable: Money::from_fen(r.releasable_fen),
                protected: Money::from_fen(r.protected_fen),
                consumed: Money::from_fen(r.consumed_fen),
                deemed: Money::from_fen(r.deemed_fen),
                fees_recorded: Money::from_fen(r.fees_recorded_fen),
                fees_credited: Money::from_fen(r.fees_credited_fen),
                contracts: r.contracts,
                must_be_held: r.must_be_held != 0,
                under_custody: r.under_custody != 0,
                missing_days: r.missing_days,
                uncovered_since: days::opt_day(r.uncovered_since_day, "position")?,
            })
        })
        .collect()
}

/// One finding of a run.
#[derive(Clone, Debug)]
pub struct FindingRecord {
    pub inst_id: i64,
    pub institution_id: String,
    pub code: FlagCode,
    pub severity: Severity,
    pub subject: String,
    /// The fact's own day, or the run's as-of day for a state.
    pub date: Day,
    pub amount: Money,
    pub n: i64,
    pub due_on: Option<Day>,
    pub due_is_provisional: bool,
    pub evidence: Evidence,
    /// The account of a bank line; 0 for other subjects.
    pub account_no: i64,
    /// True for a state, which has no day of its own.
    pub is_state: bool,
    /// The write-off or waiver that covers it; 0 for none.
    pub decision_no: i64,
}

#[derive(sqlx::FromRow)]
struct FindingRow {
    inst_id: i64,
    institution_id: String,
    code: i64,
    severity: i64,
    subject: String,
    date_day: i64,
    amount_fen: i64,
    n: i64,
    due_day: Option<i64>,
    due_provisional: i64,
    evidence: String,
    account_no: i64,
    decision_no: i64,
}

/// An account's statement days that a run found missing, or broken.
#[derive(Clone, Debug)]
pub struct GapRow {
    pub institution_id: String,
    pub account_id: String,
    pub code: FlagCode,
    pub days: i64,
    pub first: Day,
    pub last: Day,
}

/// Missing and broken statement days by account: the latest first, then the longest.
pub async fn feed_gaps(tx: &mut Tx, run: &Run) -> Result<Vec<GapRow>> {
    let codes = [FlagCode::FeedMissing, FlagCode::FeedBroken].map(FlagCode::number);
    let rows: Vec<(String, String, i64, i64, i64, i64)> = on!(tx, c => sqlx::query_as(
            "SELECT d.institution_id, f.subject, f.code, CAST(COUNT(*) AS BIGINT), \
                    MIN(f.date_day), MAX(f.date_day) \
             FROM finding f JOIN institution_directory d ON d.inst_id = f.inst_id \
             WHERE f.policy_no = $1 AND f.to_run > $2 AND f.from_run <= $2 AND f.code IN ($3, $4) \
               AND f.decision_no = 0 \
             GROUP BY d.institution_id, f.subject, f.code \
             ORDER BY MAX(f.date_day) DESC, COUNT(*) DESC, f.subject, f.code")
            .bind(run.policy_no).bind(run.head.run_id).bind(codes[0]).bind(codes[1])
            .fetch_all(c).await)
    .map_err(DbError::sql("reading missing statement days"))?;
    rows.into_iter()
        .map(|(institution_id, account_id, code, n, first, last)| {
            let code = FlagCode::from_number(code)
                .ok_or_else(|| DbError::Inconsistent(format!("finding has the code {code}")))?;
            Ok(GapRow {
                institution_id,
                account_id,
                code,
                days: n,
                first: days::day(first, "finding")?,
                last: days::day(last, "finding")?,
            })
        })
        .collect()
}

/// Findings of a run that stand, in order of code and subject. `district` narrows them.
pub async fn findings(
    tx: &mut Tx,
    run: &Run,
    district: Option<&str>,
) -> Result<Vec<FindingRecord>> {
    let district = district.or(run.district_id.as_deref()).unwrap_or("");
    findings_of(tx, run, (district, "", (0, 0))).await
}

/// Findings that people have written off or waived.
pub async fn waived(tx: &mut Tx, run: &Run) -> Result<Vec<FindingRecord>> {
    let district = run.district_id.as_deref().unwrap_or("");
    findings_of(tx, run, (district, "", (1, i64::MAX))).await
}

/// Findings about one subject, written off and waived ones among them.
pub async fn findings_about(tx: &mut Tx, run: &Run, subject: &str) -> Result<Vec<FindingRecord>> {
    let district = run.district_id.as_deref().unwrap_or("");
    findings_of(tx, run, (district, subject, (0, i64::MAX))).await
}

async fn findings_of(
    tx: &mut Tx,
    run: &Run,
    (district, subject, decisions): (&str, &str, (i64, i64)),
) -> Result<Vec<FindingRecord>> {
    let rows: Vec<FindingRow> = on!(tx, c => sqlx::query_as(
            "SELECT f.inst_id, d.institution_id, f.code, f.severity, f.subject, f.date_day, \
                    f.amount_fen, f.n, f.due_day, f.due_provisional, f.evidence, \
                    f.account_no, f.decision_no \
             FROM finding f JOIN institution_directory d ON d.inst_id = f.inst_id \
             WHERE f.policy_no = $1 AND f.to_run > $2 AND f.from_run <= $2 \
               AND ($3 = '' OR EXISTS (SELECT 1 FROM position p WHERE p.inst_id = f.inst_id \
                     AND p.policy_no = f.policy_no AND p.to_run > $2 AND p.from_run <= $2 \
                     AND p.district_id = $3)) \
               AND ($4 = '' OR f.subject = $4) AND f.decision_no BETWEEN $5 AND $6 \
             ORDER BY f.code, f.subject, f.account_no, f.date_day")
            .bind(run.policy_no).bind(run.head.run_id).bind(district).bind(subject)
            .bind(decisions.0).bind(decisions.1).fetch_all(c).await)
    .map_err(DbError::sql("reading findings"))?;
    rows.into_iter()
        .map(|r| {
            let (code, severity) = code_and_severity(r.code, r.severity)?;
            let date = match r.date_day {
                0 => run.head.as_of,
                day => days::day(day, "finding")?,
            };
            Ok(FindingRecord {
                inst_id: r.inst_id,
                institution_id: r.institution_id,
                code,
                severity,
                subject: r.subject,
                date,
                amount: Money::from_fen(r.amount_fen),
                n: r.n,
                due_on: days::opt_day(r.due_day, "finding")?,
                due_is_provisional: r.due_provisional != 0,
                evidence: Evidence::from_json(&r.evidence).ok_or_else(|| {
                    DbError::Inconsistent(format!("finding has the evidence {:?}", r.evidence))
                })?,
                account_no: r.account_no,
                is_state: r.date_day == 0,
                decision_no: r.decision_no,
            })
        })
        .collect()
}

/// What a run's findings say of one institution, without saying it all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flags {
    pub worst: Option<(FlagCode, Severity)>,
    pub n: i64,
}

/// How many findings institutions have, and which is the worst; one without findings is absent.
pub async fn flags(tx: &mut Tx, run: &Run, inst_ids: &[i64]) -> Result<HashMap<i64, Flags>> {
    let rows: Vec<(i64, i64, i64, i64)> = bulk::lookup(
        tx,
        vec![
            ("inst_id", ints(inst_ids, |id| *id)),
            ("policy_no", repeated(run.policy_no, inst_ids.len())),
            ("run_id", repeated(run.head.run_id, inst_ids.len())),
        ],
        "SELECT f.inst_id, f.code, f.severity, CAST(COUNT(*) AS BIGINT) \
         FROM wanted w CROSS JOIN finding f \
         WHERE f.inst_id = w.inst_id AND f.policy_no = w.policy_no AND f.to_run > w.run_id \
           AND f.from_run <= w.run_id AND f.decision_no = 0 \
         GROUP BY f.inst_id, f.code, f.severity",
    )
    .await?;
    let mut flags: HashMap<i64, Flags> = HashMap::new();
    for (inst_id, code, severity, n) in rows {
        let found = code_and_severity(code, severity)?;
        let flags = flags.entry(inst_id).or_default();
        flags.n += n;
        let rank = |(code, severity): (FlagCode, Severity)| (severity, Reverse(code));
        if flags.worst.is_none_or(|worst| rank(worst) < rank(found)) {
            flags.worst = Some(found);
        }
    }
    Ok(flags)
}

/// Institutions by their worst finding: (severity, how many).
pub async fn worst_severities(tx: &mut Tx, run: &Run) -> Result<Vec<(i64, i64)>> {
    on!(tx, c => sqlx::query_as(
            "WITH worst AS (SELECT inst_id, MAX(severity) AS severity FROM finding \
                            WHERE policy_no = $1 AND to_run > $2 AND from_run <= $2 \
                              AND decision_no = 0 \
                            GROUP BY inst_id) \
             SELECT severity, CAST(COUNT(*) AS BIGINT) FROM worst GROUP BY severity")
            .bind(run.policy_no).bind(run.head.run_id).fetch_all(c).await)
    .map_err(DbError::sql("counting institutions by severity"))
}

/// Of each as-of day up to `last` the completed run that knew most, newest day first, at most `limit`: runs
/// over all districts, and over `district` where one is named.
pub async fn runs_by_day(
    tx: &mut Tx,
    policy: &str,
    district: Option<&str>,
    (last, limit): (Day, i64),
) -> Result<Vec<(Day, i64)>> {
    let rows: Vec<(NaiveDate, i64)> = on!(tx, c => sqlx::query_as(
            "WITH ranked AS ( \
               SELECT r.as_of, r.run_id, ROW_NUMBER() OVER ( \
                        PARTITION BY r.as_of ORDER BY r.source_cut DESC, r.run_id DESC) AS place \
               FROM run r JOIN policy_version p ON p.policy_no = r.policy_no \
               WHERE p.name = $1 AND r.completed_at IS NOT NULL AND r.as_of <= $2 \
                 AND (r.district_id IS NULL OR r.district_id = $4)) \
             SELECT as_of, run_id FROM ranked WHERE place = 1 ORDER BY as_of DESC LIMIT $3")
            .bind(policy).bind(last.date()).bind(limit).bind(district.unwrap_or(""))
            .fetch_all(c).await)
    .map_err(DbError::sql("reading runs by day"))?;
    Ok(rows
        .into_iter()
        .map(|(day, run_id)| (Day::from_date(day), run_id))
        .collect())
}
