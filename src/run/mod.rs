//! Second half of the story: books to findings, for one (as-of day, known-at instant).
//!
//! A run works through its institutions in portions. Several are prepared at a time (facts in, matched,
//! measured, flagged), each in a reading transaction; one at a time, in order, is written in a transaction of
//! its own, so what a run says does not depend on how many are prepared. It is seen when its row is complete. A run that was killed leaves its row
//! incomplete and changes no completed run: results are kept per run, so the command is given again.

mod carry;
mod judge;
mod portion;
mod replay;
mod store;
mod totals;

use std::sync::Arc;

use crate::base::{Clock, Day, InstId, Instant};
use crate::feed;
use crate::feed::jobs::{Claim, store as jobs};
use crate::flag;
use crate::policy::{self, Expected};
use crate::position::{self, DistrictTotals};
use crate::reconcile;
use crate::reconcile::store::Seen;
use crate::registry::{self, Registry};
use crate::store::changes::ByRun;
use crate::store::lock::Job;
use crate::store::{Db, DbError, Tx};

pub use replay::{Differing, Replayed, Subject, replay};

use portion::{Ahead, Context, Found};
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
    /// Portions prepared at a time, if the database has connections for so many; `None` = as many as there
    /// are processors.
    pub threads: Option<usize>,
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
    /// Findings that people have written off or waived; not among those above.
    pub waived: u64,
    pub matched: u64,
    /// Accounts that owe a statement and have none proven.
    pub accounts_unproven: i64,
    /// Institutions of which all facts were read, and not only what is open and new.
    pub read_whole: usize,
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
        only_compared: false,
    };

    let mut totals = Totals::new(&registry, options.district.as_deref());
    let scope = scope(&registry, options.district.as_deref());
    progress.total(scope.len() as u64);
    // A run of what was known before finds nothing that is carried, and makes nothing.
    let carries = options.known_at.is_none();
    let context = Arc::new(Context::new(&registry, policy, range, (seen, carries)));
    drop(registry);
    let mut read_whole = 0;
    let mut ahead = Ahead::new(db, context, options.threads, portions(&scope));
    while let Some(found) = ahead.next().await? {
        let mut tx = lock.begin_write(db).await?;
        if let Some(claim) = claim {
            jobs::prolong(&mut tx, claim).await?;
        }
        write(&mut tx, by, &found).await?;
        reconcile::store::keep_carried(&mut tx, by.policy_no, &found.carried).await?;
        tx.commit().await?;
        totals.add(&found.positions, &found.findings);
        totals.matched += found.matched;
        read_whole += found.read_whole;
        progress.done(found.institutions as u64);
    }
    let mut tx = lock.begin_write(db).await?;
    let inst_ids: Vec<i64> = scope.iter().map(|id| id.0).collect();
    store::leave_out(&mut tx, by, options.district.as_deref(), &inst_ids).await?;
    store::append_districts(&mut tx, run_id, &totals.districts).await?;
    store::complete(&mut tx, run_id).await?;
    if let Some(claim) = claim {
        jobs::finish(&mut tx, claim, &format!("run {run_id}")).await?;
    }
    tx.commit().await?;
    tracing::info!(
        run.no = run_id,
        institutions = scope.len(),
        institutions.read_whole = read_whole,
        "a run is complete"
    );
    progress.end();
    Ok(Summary {
        read_whole,
        ..totals.summary(run_id, options.as_of, known_at, scope.len())
    })
}

/// Institutions in scope, by number.
fn scope(registry: &Registry, district: Option<&str>) -> Vec<InstId> {
    let mut scope: Vec<InstId> = registry
        .institutions
        .iter()
        .filter(|(_, i)| district.is_none_or(|d| i.district_id == d))
        .map(|(id, _)| *id)
        .collect();
    scope.sort_unstable();
    scope
}

/// Cuts a scope into runs of consecutive numbers, so that a portion is a range of the ledger's key.
fn portions(scope: &[InstId]) -> Vec<(InstId, InstId)> {
    let mut portions: Vec<(InstId, InstId)> = Vec::new();
    for id in scope {
        let full = |first: InstId| id.0 - first.0 >= PORTION_INSTITUTIONS as i64;
        match portions.last_mut() {
            Some((first, last)) if last.0 + 1 == id.0 && !full(*first) => *last = *id,
            _ => portions.push((*id, *id)),
        }
    }
    portions
}

/// Writes what differs from what stands.
async fn write(tx: &mut Tx, by: ByRun, found: &Found) -> Result<Differing, DbError> {
    let range = found.range;
    Ok(Differing {
        matches: reconcile::store::store_matches(
            tx,
            range,
            by,
            &found.asked,
            (&found.lines, &found.items, &found.reviews),
        )
        .await?,
        positions: position::store::store(tx, range, by, &found.positions).await?,
        proofs: position::store::store_proofs(tx, range, by, &found.proofs).await?,
        findings: flag::store::store(tx, range, by, &found.findings).await?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portion_is_a_range_without_holes() {
        let scope: Vec<InstId> = (1..=600).filter(|n| *n != 300).map(InstId).collect();
        let cut: Vec<(i64, i64)> = (portions(&scope).iter()).map(|(a, b)| (a.0, b.0)).collect();
        assert_eq!(cut, [(1, 256), (257, 299), (301, 556), (557, 600)]);
        assert!(portions(&[]).is_empty());
    }
}
