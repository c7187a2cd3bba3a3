//! Doing a completed run again from the facts it knew, and comparing row by row with what it left.
//!
//! Invariants: nothing is written; the run's own day, cut of file numbers, policy version and district are used,
//! so whatever was learned or decided since makes no difference.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::portion::{Ahead, Context};
use super::totals::Totals;
use super::{Progress, RunError, portions, scope, write};
use crate::base::Day;
use crate::policy::{self, Expected, PolicyVersion};
use crate::position::DistrictTotals;
use crate::reconcile;
use crate::reconcile::store::Seen;
use crate::registry;
use crate::store::Db;
use crate::store::changes::ByRun;

/// A completed run that is done again.
#[derive(Clone, Debug)]
pub struct Subject {
    pub run_id: i64,
    pub policy_no: i64,
    pub as_of: Day,
    pub source_cut: i64,
    /// The one district it was a run of.
    pub district_id: Option<String>,
    /// The sums it left, by district.
    pub districts: BTreeMap<String, DistrictTotals>,
}

/// Rows that stand and were not found again, and rows found that do not stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Differing {
    pub matches: u64,
    pub positions: u64,
    pub proofs: u64,
    pub findings: u64,
}

impl Differing {
    pub fn total(self) -> u64 {
        self.matches + self.positions + self.proofs + self.findings
    }
}

/// What a replay came to.
#[derive(Clone, Debug, Default)]
pub struct Replayed {
    pub institutions: usize,
    pub differing: Differing,
    /// First and last institution number of each portion that differs.
    pub portions: Vec<(i64, i64)>,
    /// Districts whose sums are not those that are stored.
    pub districts: Vec<String>,
}

impl Replayed {
    /// True where the run left what the facts say.
    pub fn agrees(&self) -> bool {
        self.differing == Differing::default() && self.districts.is_empty()
    }
}

/// Does a run again and compares.
///
/// # Errors
/// A database error; a policy version or district that is gone.
pub async fn replay(
    db: &Db,
    subject: &Subject,
    threads: Option<usize>,
    progress: &mut dyn Progress,
) -> Result<Replayed, RunError> {
    let mut tx = db.begin_read().await?;
    let registry = registry::store::load(&mut tx, subject.source_cut).await?;
    let policy = PolicyVersion {
        policy_no: subject.policy_no,
        policy: policy::numbered(&mut tx, subject.policy_no).await?,
    };
    let range = match policy.policy.statements.expected {
        Expected::Bundle => reconcile::store::expected_range(&mut tx, subject.source_cut).await?,
        Expected::Working => None,
    };
    tx.rollback().await?;
    let by = ByRun {
        policy_no: subject.policy_no,
        run_id: subject.run_id,
        only_compared: true,
    };
    let seen = Seen {
        day: subject.as_of,
        source_cut: subject.source_cut,
    };
    let district = subject.district_id.as_deref();
    let mut totals = Totals::new(&registry, district);
    let scope = scope(&registry, district);
    progress.total(scope.len() as u64);
    let context = Arc::new(Context::new(&registry, policy, range, (seen, false)));
    drop(registry);
    let mut replayed = Replayed {
        institutions: scope.len(),
        ..Replayed::default()
    };
    let mut ahead = Ahead::new(db, context, threads, portions(&scope));
    while let Some(found) = ahead.next().await? {
        let mut tx = db.begin_read().await?;
        let differing = write(&mut tx, by, &found).await?;
        tx.rollback().await?;
        totals.add(&found.positions, &found.findings);
        if differing.total() > 0 {
            replayed.portions.push(found.range);
        }
        let d = &mut replayed.differing;
        d.matches += differing.matches;
        d.positions += differing.positions;
        d.proofs += differing.proofs;
        d.findings += differing.findings;
        progress.done(found.institutions as u64);
    }
    progress.end();
    let stored = &subject.districts;
    let names = stored.keys().chain(totals.districts.keys());
    replayed.districts = names
        .filter(|id| stored.get(*id) != totals.districts.get(*id))
        .cloned()
        .collect();
    replayed.districts.sort_unstable();
    replayed.districts.dedup();
    Ok(replayed)
}
