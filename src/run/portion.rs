//! One portion of institutions, from the facts to what is to be written; several portions at a time.
//!
//! Invariants: a portion reads in one transaction and judges each institution by itself; portions come out in
//! the order they went in, however many are prepared at a time; no more than that many are in memory. What is
//! computed leaves the runtime's threads to the pages that a service answers meanwhile.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{JoinHandle, block_in_place};

use crate::base::InstId;
use crate::flag::{self, Finding};
use crate::ledger;
use crate::policy::{PolicyVersion, Regime};
use crate::position::store::NewPosition;
use crate::position::{self, AccountProof, Measured, Since};
use crate::reconcile::store::Seen;
use crate::reconcile::{
    self, CreditOutcome, ExpectedRange, Facts, LessonDay, MatchedItem, MatchedLine, Matching,
    ReviewedLine, match_lines,
};
use crate::registry::{Account, AccountKind, Institution, Registry};
use crate::store::{Db, DbError};

/// What a run judges by.
pub(super) struct Context {
    institutions: HashMap<InstId, (Institution, Vec<Account>)>,
    policy: PolicyVersion,
    range: Option<ExpectedRange>,
    seen: Seen,
}

impl Context {
    pub(super) fn new(
        registry: &Registry,
        policy: PolicyVersion,
        range: Option<ExpectedRange>,
        seen: Seen,
    ) -> Context {
        let mut institutions: HashMap<InstId, (Institution, Vec<Account>)> = registry
            .institutions
            .iter()
            .map(|(id, institution)| (*id, (institution.clone(), Vec::new())))
            .collect();
        for account in registry.accounts.iter() {
            if let Some((_, accounts)) = institutions.get_mut(&account.inst_id) {
                accounts.push(account.clone());
            }
        }
        Context {
            institutions,
            policy,
            range,
            seen,
        }
    }
}

/// What a portion of institutions comes to.
pub(super) struct Found {
    /// First and last institution.
    pub(super) range: (i64, i64),
    pub(super) institutions: usize,
    pub(super) lines: Vec<MatchedLine>,
    pub(super) items: Vec<MatchedItem>,
    pub(super) reviews: Vec<ReviewedLine>,
    pub(super) positions: Vec<NewPosition>,
    pub(super) proofs: Vec<(i64, AccountProof)>,
    pub(super) findings: Vec<(i64, Finding)>,
    /// Credits that were matched.
    pub(super) matched: u64,
}

/// Portions being prepared, in order.
pub(super) struct Ahead {
    db: Db,
    context: Arc<Context>,
    threads: usize,
    rest: std::vec::IntoIter<(InstId, InstId)>,
    under_way: VecDeque<JoinHandle<Result<Found, DbError>>>,
}

impl Ahead {
    pub(super) fn new(
        db: &Db,
        context: Arc<Context>,
        threads: Option<usize>,
        portions: Vec<(InstId, InstId)>,
    ) -> Ahead {
        let processors = || thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.unwrap_or_else(processors);
        Ahead {
            db: db.clone(),
            context,
            threads: threads.clamp(1, db.readers_of_a_job()),
            rest: portions.into_iter(),
            under_way: VecDeque::new(),
        }
    }

    /// The next portion, once it is prepared; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Found>, DbError> {
        while self.under_way.len() < self.threads
            && let Some(range) = self.rest.next()
        {
            let work = find(self.db.clone(), self.context.clone(), range);
            self.under_way.push_back(tokio::spawn(work));
        }
        let Some(next) = self.under_way.pop_front() else {
            return Ok(None);
        };
        next.await.map_err(failed)?.map(Some)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        for work in &self.under_way {
            work.abort();
        }
    }
}

/// Passes a panic on to whoever waits for the portion.
fn failed(e: tokio::task::JoinError) -> DbError {
    match e.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => DbError::Inconsistent("a portion of the run was given up".to_owned()),
    }
}

struct Worked<'a> {
    inst_id: InstId,
    institution: &'a Institution,
    accounts: Vec<&'a Account>,
    facts: Facts,
    matching: Matching,
    measured: Measured,
}

impl Worked<'_> {
    /// Since when its states have held; `lessons` where one of them needs the sweep.
    fn since(&self, context: &Context, lessons: Option<&[LessonDay]>) -> Since {
        position::since(
            &self.accounts,
            &self.facts,
            &self.matching,
            &self.measured,
            (&context.policy.policy, context.seen.day),
            lessons,
        )
    }
}

/// Reads, matches, measures and flags the institutions numbered from the first to the last.
async fn find(
    db: Db,
    context: Arc<Context>,
    (first, last): (InstId, InstId),
) -> Result<Found, DbError> {
    let range = (first.0, last.0);
    let mut tx = db.begin_read().await?;
    let mut facts: HashMap<i64, Facts> =
        reconcile::store::facts(&mut tx, range.0, range.1, context.seen)
            .await?
            .into_iter()
            .map(|f| (f.inst_id, f))
            .collect();
    if context.policy.policy.release.regime == Regime::OrderEnd {
        let all: Vec<i64> = facts.keys().copied().collect();
        for (inst_id, days) in reconcile::store::lesson_days(&mut tx, &all, context.seen).await? {
            facts.entry(inst_id).or_default().lesson_days = days;
        }
    }
    let worked: Vec<Worked<'_>> = compute(|| {
        (first.0..=last.0)
            .map(InstId)
            .filter_map(|id| {
                let (institution, accounts) = context.institutions.get(&id)?;
                let facts = facts.remove(&id.0).unwrap_or_default();
                Some(work(&context, id, (institution, accounts), facts))
            })
            .collect()
    });
    // Order ids of the contracts that have a finding.
    let contracts: Vec<(i64, i64)> = (worked.iter())
        .flat_map(|w| (w.measured.contracts.iter()).map(|c| (w.inst_id.0, c.contract_no)))
        .collect();
    let order_ids: HashMap<(i64, i64), String> =
        ledger::store::contracts_by_number(&mut tx, &contracts)
            .await?
            .into_iter()
            .map(|(id, slot)| ((slot.inst_id.0, slot.contract_no), id))
            .collect();
    let swept: Vec<i64> = (worked.iter())
        .filter(|w| position::needs_sweep(&w.measured))
        .map(|w| w.inst_id.0)
        .collect();
    let lessons = reconcile::store::lesson_days(&mut tx, &swept, context.seen).await?;
    tx.rollback().await?;
    let mut found = Found {
        range,
        institutions: worked.len(),
        lines: Vec::new(),
        items: Vec::new(),
        reviews: Vec::new(),
        positions: Vec::new(),
        proofs: Vec::new(),
        findings: Vec::new(),
        matched: 0,
    };
    compute(|| {
        for w in &worked {
            let lessons = lessons.get(&w.inst_id.0).map(Vec::as_slice);
            found.add(&context, w, lessons, &order_ids);
        }
    });
    Ok(found)
}

/// Computes where others need not wait for it; a runtime of one thread has no such place.
fn compute<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => block_in_place(work),
        _ => work(),
    }
}

impl Found {
    fn add(
        &mut self,
        context: &Context,
        w: &Worked<'_>,
        lessons: Option<&[LessonDay]>,
        order_ids: &HashMap<(i64, i64), String>,
    ) {
        let inst = w.inst_id.0;
        self.lines.extend(w.matching.lines(&w.facts));
        self.items.extend(w.matching.items(&w.facts));
        self.reviews.extend(w.matching.reviewed(&w.facts));
        let policy = &context.policy.policy;
        let proofs = position::prove_accounts(&w.measured.accounts, &w.facts, &w.matching, policy);
        self.proofs.extend(proofs.into_iter().map(|p| (inst, p)));
        let since = w.since(context, lessons);
        self.positions.push(NewPosition {
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
        self.findings.extend(raised.into_iter().map(|f| (inst, f)));
        let matched = |c: &&CreditOutcome| matches!(c, CreditOutcome::Settles { .. });
        self.matched += w.matching.credits.iter().filter(matched).count() as u64;
    }
}

fn work<'a>(
    context: &'a Context,
    inst_id: InstId,
    (institution, accounts): (&'a Institution, &'a [Account]),
    facts: Facts,
) -> Worked<'a> {
    let kind_of = |no: i64| {
        accounts
            .iter()
            .find(|a| a.account_no.0 == no)
            .map_or(AccountKind::Undeclared, |a| a.kind)
    };
    let accounts: Vec<&Account> = accounts.iter().collect();
    let policy = &context.policy.policy;
    let packs = policy.packs(&institution.district_id);
    let matching = match_lines(&facts, (policy, &packs), context.seen.day, kind_of);
    let measured = position::measure(
        institution,
        &accounts,
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
