//! Second half of the story: books to findings, for one (as-of day, known-at instant).
//!
//! A run works through its institutions in portions, each one transaction: facts in, matched, measured,
//! flagged, differences out. It is seen when its row is complete. A run that was killed leaves its row
//! incomplete and changes no completed run: results are kept per run, so the command is given again.

mod store;
mod totals;

use std::collections::HashMap;

use crate::base::{Clock, Day, InstId, Instant};
use crate::feed;
use crate::feed::jobs::{Claim, store as jobs};
use crate::flag;
use crate::ledger;
use crate::policy::{self, Expected, PolicyVersion, Regime};
use crate::position::store::NewPosition;
use crate::position::{self, DistrictTotals, Measured, Since};
use crate::reconcile::store::Seen;
use crate::reconcile::{
    self, CreditOutcome, ExpectedRange, Facts, LessonDay, Matching, match_lines,
};
use crate::registry::{self, AccountKind, Institution, Registry};
use crate::store::changes::ByRun;
use crate::store::lock::Job;
use crate::store::{Db, DbError, Tx};

use totals::Totals;

/// Institutions in one transaction: bounds memory and what a crash repeats.
const PORTION_INSTITUTIONS: usize = 256;

/// What to reconcile.
#[derive(Clone, Debug)]
pub struct Options {
    pub as_of: Day,
    /// `None` = now.
    pub known_at: Option<Instant>,
    pub policy: String,
    /// `None` = all districts.
    pub district: Option<String>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Summary {
    pub run_id: i64,
    pub as_of: Day,
    pub known_at: Instant,
    pub institutions: usize,
    pub districts: Vec<(String, DistrictTotals)>,
    pub findings: u64,
    pub red: u64,
    pub amber: u64,
    pub matched: u64,
    /// Accounts that owe a statement and have none proven.
    pub accounts_unproven: i64,
}

impl Summary {
    /// 0 done, 3 red flags, 4 input incomplete; 4 outranks 3 (`interchange.md`).
    pub fn exit_code(&self) -> u8 {
        if self.accounts_unproven > 0 {
            4
        } else if self.red > 0 {
            3
        } else {
            0
        }
    }
}

/// Progress of a run.
pub trait Progress: Send {
    fn total(&mut self, institutions: u64);
    fn done(&mut self, institutions: u64);
    fn end(&mut self);
}

/// Shows nothing.
pub struct Silent;

impl Progress for Silent {
    fn total(&mut self, _: u64) {}
    fn done(&mut self, _: u64) {}
    fn end(&mut self) {}
}

/// Why a run could not work.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("no policy is called {0:?}; there are default and workload")]
    NoPolicy(String),
    #[error("no district is called {0:?}; see districts.csv")]
    NoDistrict(String),
    #[error("{0} is in the future: nobody knows yet what will be known then")]
    Future(Instant),
    #[error("{0} is not over and {1} is the day it is; give that day or an earlier one")]
    NotYet(Day, Day),
    #[error("nothing is known at {0}; import something first")]
    Nothing(Instant),
}

struct Context<'a> {
    accounts: HashMap<InstId, Vec<&'a registry::Account>>,
    policy: PolicyVersion,
    range: Option<ExpectedRange>,
    by: ByRun,
    seen: Seen,
}

/// Refuses a day that has not begun. Asked for by whoever takes the day from a person; a simulated city and
/// tests run on days of their own.
///
/// # Errors
/// A day after the clock's.
pub fn refuse_the_future(as_of: Day, clock: &Clock) -> Result<(), RunError> {
    let today = clock.day_of(clock.now());
    if as_of > today {
        return Err(RunError::NotYet(as_of, today));
    }
    Ok(())
}

/// Reconciles one day.
///
/// # Errors
/// An unknown policy or district, or a database error.
pub async fn day(
    db: &Db,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Summary, RunError> {
    work_day(db, options, None, progress).await
}

/// Reconciles one day as scheduled work: the transaction that completes the run ends the claim.
///
/// # Errors
/// See [`day`]; [`DbError::Busy`] where another replica has taken the work over.
pub async fn claimed_day(
    db: &Db,
    options: &Options,
    claim: &Claim,
    progress: &mut dyn Progress,
) -> Result<Summary, RunError> {
    work_day(db, options, Some(claim), progress).await
}

async fn work_day(
    db: &Db,
    options: &Options,
    claim: Option<&Claim>,
    progress: &mut dyn Progress,
) -> Result<Summary, RunError> {
    let lock = db.lock(Job::Run).await?;
    let mut tx = lock.begin_write(db).await?;
    tx.order_visibility().await?;
    let visible = feed::store::latest_visible(&mut tx).await?;
    let now = visible.map_or(tx.now(), |v| v.max(tx.now()));
    let known_at = options.known_at.unwrap_or(now);
    if known_at > now {
        return Err(RunError::Future(known_at));
    }
    let policy = policy::named(&mut tx, &options.policy)
        .await?
        .ok_or_else(|| RunError::NoPolicy(options.policy.clone()))?;
    let source_cut = feed::store::cut(&mut tx, known_at).await?;
    if source_cut == 0 {
        return Err(RunError::Nothing(known_at));
    }
    let registry = registry::store::load(&mut tx, source_cut).await?;
    if let Some(district) = &options.district
        && registry.districts.get(district).is_none()
    {
        return Err(RunError::NoDistrict(district.clone()));
    }
    let range = match policy.policy.statements.expected {
        Expected::Bundle => reconcile::store::expected_range(&mut tx, source_cut).await?,
        Expected::Working => None,
    };
    let seen = Seen {
        day: options.as_of,
        source_cut,
    };
    let run_id = store::open(&mut tx, policy.policy_no, options, known_at, source_cut).await?;
    tx.commit().await?;
    let by = ByRun {
        policy_no: policy.policy_no,
        run_id,
    };

    let mut accounts: HashMap<InstId, Vec<&registry::Account>> = HashMap::new();
    for account in registry.accounts.iter() {
        accounts.entry(account.inst_id).or_default().push(account);
    }
    let context = Context {
        accounts,
        policy,
        range,
        by,
        seen,
    };
    let scope = scope(&registry, options.district.as_deref());
    progress.total(scope.len() as u64);
    let mut totals = Totals::new(&registry, options.district.as_deref());
    for portion in portions(&scope) {
        let mut tx = lock.begin_write(db).await?;
        if let Some(claim) = claim {
            jobs::prolong(&mut tx, claim).await?;
        }
        reconcile_portion(&mut tx, &context, portion, &mut totals).await?;
        tx.commit().await?;
        progress.done(portion.len() as u64);
    }
    let mut tx = lock.begin_write(db).await?;
    let inst_ids: Vec<i64> = scope.iter().map(|(id, _)| id.0).collect();
    store::leave_out(&mut tx, by, options.district.as_deref(), &inst_ids).await?;
    store::append_districts(&mut tx, run_id, &totals.districts).await?;
    store::complete(&mut tx, run_id).await?;
    if let Some(claim) = claim {
        jobs::finish(&mut tx, claim, &format!("run {run_id}")).await?;
    }
    tx.commit().await?;
    progress.end();
    Ok(totals.summary(run_id, options.as_of, known_at, scope.len()))
}

/// Institutions in scope, by number.
fn scope<'a>(registry: &'a Registry, district: Option<&str>) -> Vec<(InstId, &'a Institution)> {
    let mut scope: Vec<(InstId, &Institution)> = registry
        .institutions
        .iter()
        .filter(|(_, i)| district.is_none_or(|d| i.district_id == d))
        .map(|(id, i)| (*id, i))
        .collect();
    scope.sort_unstable_by_key(|(id, _)| *id);
    scope
}

/// Cuts a scope into runs of consecutive numbers, so that a portion is a range of the ledger's key.
fn portions<'s, 'a>(
    scope: &'s [(InstId, &'a Institution)],
) -> impl Iterator<Item = &'s [(InstId, &'a Institution)]> {
    let mut rest = scope;
    std::iter::from_fn(move || {
        let first = rest.first()?.0.0;
        let len = rest
            .iter()
            .take(PORTION_INSTITUTIONS)
            .zip(first..)
            .take_while(|((id, _), n)| id.0 == *n)
            .count();
        let (portion, after) = rest.split_at(len);
        rest = after;
        Some(portion)
    })
}

struct Worked<'a> {
    inst_id: InstId,
    institution: &'a Institution,
    accounts: &'a [&'a registry::Account],
    facts: Facts,
    matching: Matching,
    measured: Measured,
}

impl Worked<'_> {
    /// Since when its states have held; `lessons` where one of them needs the sweep.
    fn since(&self, context: &Context<'_>, lessons: Option<&[LessonDay]>) -> Since {
        position::since(
            self.accounts,
            &self.facts,
            &self.matching,
            &self.measured,
            (&context.policy.policy, context.seen.day),
            lessons,
        )
    }
}

async fn reconcile_portion(
    tx: &mut Tx,
    context: &Context<'_>,
    portion: &[(InstId, &Institution)],
    totals: &mut Totals,
) -> Result<(), DbError> {
    let (Some(first), Some(last)) = (portion.first(), portion.last()) else {
        return Ok(());
    };
    let range = (first.0.0, last.0.0);
    let mut facts: HashMap<i64, Facts> =
        reconcile::store::facts(tx, range.0, range.1, context.seen)
            .await?
            .into_iter()
            .map(|f| (f.inst_id, f))
            .collect();
    if context.policy.policy.release.regime == Regime::OrderEnd {
        let all: Vec<i64> = facts.keys().copied().collect();
        for (inst_id, days) in reconcile::store::lesson_days(tx, &all, context.seen).await? {
            facts.entry(inst_id).or_default().lesson_days = days;
        }
    }
    let worked: Vec<Worked<'_>> = portion
        .iter()
        .map(|(id, institution)| {
            let facts = facts.remove(&id.0).unwrap_or_default();
            work(context, *id, institution, facts)
        })
        .collect();
    let order_ids = order_ids(tx, &worked).await?;
    let swept: Vec<i64> = (worked.iter())
        .filter(|w| position::needs_sweep(&w.measured))
        .map(|w| w.inst_id.0)
        .collect();
    let lessons = reconcile::store::lesson_days(tx, &swept, context.seen).await?;
    let (mut lines, mut items, mut positions, mut findings) = (vec![], vec![], vec![], vec![]);
    for w in &worked {
        let inst = w.inst_id.0;
        lines.extend(w.matching.lines(&w.facts));
        items.extend(w.matching.items(&w.facts));
        let since = w.since(context, lessons.get(&inst).map(Vec::as_slice));
        positions.push(NewPosition {
            inst_id: inst,
            district_id: w.institution.district_id.clone(),
            position: w.measured.position.clone(),
            uncovered_since: since.uncovered,
        });
        let name = |no: i64| order_ids.get(&(inst, no)).cloned().unwrap_or_default();
        let raised = flag::raise(
            w.institution,
            &w.facts,
            &w.matching,
            (&w.measured, &since),
            (&context.policy.policy, context.seen.day),
            name,
        );
        findings.extend(raised.into_iter().map(|f| (inst, f)));
        totals.matched += w
            .matching
            .credits
            .iter()
            .filter(|c| {
                matches!(
                    c,
                    CreditOutcome::Matched { .. } | CreditOutcome::Batch { .. }
                )
            })
            .count() as u64;
    }
    reconcile::store::store_matches(tx, range, context.by, &lines, &items).await?;
    position::store::store(tx, range, context.by, &positions).await?;
    flag::store::store(tx, range, context.by, &findings).await?;
    totals.add(&positions, &findings);
    Ok(())
}

fn work<'a>(
    context: &'a Context<'_>,
    inst_id: InstId,
    institution: &'a Institution,
    facts: Facts,
) -> Worked<'a> {
    let accounts = context
        .accounts
        .get(&inst_id)
        .map_or(&[][..], Vec::as_slice);
    let kind_of = |no: i64| {
        accounts
            .iter()
            .find(|a| a.account_no.0 == no)
            .map_or(AccountKind::Undeclared, |a| a.kind)
    };
    let policy = &context.policy.policy;
    let matching = match_lines(&facts, policy, context.seen.day, kind_of);
    let measured = position::measure(
        institution,
        accounts,
        &facts,
        &matching,
        (policy, context.range, context.seen.day),
    );
    Worked {
        inst_id,
        institution,
        accounts,
        facts,
        matching,
        measured,
    }
}

/// Order ids of the contracts that have a finding.
async fn order_ids(
    tx: &mut Tx,
    worked: &[Worked<'_>],
) -> Result<HashMap<(i64, i64), String>, DbError> {
    let keys: Vec<(i64, i64)> = worked
        .iter()
        .flat_map(|w| {
            w.measured
                .contracts
                .iter()
                .map(|c| (w.inst_id.0, c.contract_no))
        })
        .collect();
    let found = ledger::store::contracts_by_number(tx, &keys).await?;
    Ok(found
        .into_iter()
        .map(|(id, slot)| ((slot.inst_id.0, slot.contract_no), id))
        .collect())
}
