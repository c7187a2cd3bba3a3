//! One portion of institutions, from the facts to what is to be written; several portions at a time.
//!
//! Invariants: a portion reads in one transaction and judges each institution by itself; portions come out in
//! the order they went in, however many are prepared at a time; no more than that many are in memory. What is
//! computed leaves the runtime's threads to the pages that a service answers meanwhile. An institution is judged
//! by what is carried of it and was learned since, or, where that does not hold, by all its facts.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{JoinHandle, block_in_place};

use super::carry::Carry;
use super::judge::{Judgement, judge};
use crate::base::{Day, InstId};
use crate::flag::Finding;
use crate::ledger;
use crate::policy::PolicyVersion;
use crate::position::AccountProof;
use crate::position::store::NewPosition;
use crate::reconcile::known::Known;
use crate::reconcile::store::{Asked, CarriedRow, Seen};
use crate::reconcile::{self, ExpectedRange, MatchedItem, MatchedLine, ReviewedLine};
use crate::registry::{Account, Institution, Registry};
use crate::store::{Db, DbError, Result, Tx};

/// What a run judges by.
pub(super) struct Context {
    pub(super) institutions: HashMap<InstId, (Institution, Vec<Account>)>,
    pub(super) policy: PolicyVersion,
    pub(super) range: Option<ExpectedRange>,
    pub(super) seen: Seen,
    /// Whether what is carried is used and made.
    pub(super) carries: bool,
}

impl Context {
    pub(super) fn new(
        registry: &Registry,
        policy: PolicyVersion,
        range: Option<ExpectedRange>,
        (seen, carries): (Seen, bool),
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
            carries,
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
    /// Of what the lines, items and reviews tell.
    pub(super) asked: Asked,
    /// To be carried from now on.
    pub(super) carried: Vec<CarriedRow>,
    /// Institutions of which all facts were read.
    pub(super) read_whole: usize,
}

/// Portions being prepared, in order.
pub(super) struct Ahead {
    db: Db,
    context: Arc<Context>,
    threads: usize,
    rest: std::vec::IntoIter<(InstId, InstId)>,
    under_way: VecDeque<JoinHandle<Result<Found>>>,
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
    pub(super) async fn next(&mut self) -> Result<Option<Found>> {
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

/// Reads, matches, measures and flags the institutions numbered from the first to the last.
async fn find(db: Db, context: Arc<Context>, (first, last): (InstId, InstId)) -> Result<Found> {
    let mut tx = db.begin_read().await?;
    let ids: Vec<i64> = (first.0..=last.0)
        .filter(|id| context.institutions.contains_key(&InstId(*id)))
        .collect();
    let carry = Carry::of(&context);
    let (known, others) = carry.known(&mut tx, (first.0, last.0)).await?;
    let mut judged = compute(|| judge_all(&context, known));
    judged.retain(Judgement::holds);
    let held: HashSet<i64> = judged.iter().map(|j| j.known.facts.inst_id).collect();
    let rest: Vec<i64> = ids.into_iter().filter(|id| !held.contains(id)).collect();
    let mut whole = all_facts(&mut tx, &context, &rest).await?;
    let known = rest.iter().map(|id| {
        let mut known = whole.remove(id).unwrap_or_default();
        known.facts.inst_id = *id;
        known.folding = others.get(id).copied().unwrap_or_default();
        known
    });
    let known = known.collect();
    judged.extend(compute(|| judge_all(&context, known)));
    judged.sort_unstable_by_key(|j| j.known.facts.inst_id);
    // Order ids of the contracts that have a finding.
    let contracts: Vec<(i64, i64)> = (judged.iter())
        .flat_map(|j| (j.measured.contracts.iter()).map(|c| (j.facts.inst_id, c.contract_no)))
        .collect();
    let order_ids: HashMap<(i64, i64), String> =
        ledger::store::contracts_by_number(&mut tx, &contracts)
            .await?
            .into_iter()
            .map(|(id, slot)| ((slot.inst_id.0, slot.contract_no), id))
            .collect();
    tx.rollback().await?;
    let mut found = Found {
        range: (first.0, last.0),
        institutions: judged.len(),
        lines: Vec::new(),
        items: Vec::new(),
        reviews: Vec::new(),
        positions: Vec::new(),
        proofs: Vec::new(),
        findings: Vec::new(),
        matched: 0,
        asked: Asked {
            whole: rest,
            ..Asked::default()
        },
        carried: Vec::new(),
        read_whole: 0,
    };
    found.read_whole = found.asked.whole.len();
    compute(|| {
        for j in judged {
            let inst = j.facts.inst_id;
            let name = |no: i64| order_ids.get(&(inst, no)).cloned().unwrap_or_default();
            found.add(&carry, j, &name);
        }
    });
    Ok(found)
}

fn judge_all(context: &Context, known: Vec<Known>) -> Vec<Judgement<'_>> {
    (known.into_iter())
        .filter_map(|known| judge(context, known))
        .collect()
}

/// Numbers of institutions so near each other that those between are read with them: a few institutions' facts
/// cost less than asking once more.
const NEAR: i64 = 8;

/// All facts of institutions, whose numbers are in order, and of some between them.
async fn all_facts(
    tx: &mut Tx,
    context: &Context,
    inst_ids: &[i64],
) -> Result<HashMap<i64, Known>> {
    // What happens after the day is carried with the rest.
    let day = if context.carries {
        Day::MAX
    } else {
        context.seen.day
    };
    let seen = Seen {
        day,
        ..context.seen
    };
    let mut found = HashMap::new();
    for ids in inst_ids.chunk_by(|a, b| b - a <= NEAR) {
        let range = (ids[0], ids[ids.len() - 1]);
        found.extend(reconcile::store::known(tx, range, seen).await?);
    }
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
    fn add(&mut self, carry: &Carry<'_>, j: Judgement<'_>, name: &dyn Fn(i64) -> String) {
        let inst = j.facts.inst_id;
        let findings = j.findings(name);
        self.carried.extend(carry.on(&j, &findings, name));
        self.lines.extend(j.matching.lines(&j.facts));
        self.items.extend(j.matching.items(&j.facts));
        self.reviews.extend(j.matching.reviewed(&j.facts));
        self.matched += j.matched();
        if j.facts.carried.until.is_some() {
            let f = &j.known.facts;
            let lines = f.credits.iter().chain(&f.debits).map(|l| l.seq);
            self.asked.lines.extend(
                lines
                    .chain(j.known.gone.iter().copied())
                    .map(|seq| (inst, seq)),
            );
            let payments = f.payments.iter().map(|p| p.seq);
            self.asked.payments.extend(
                payments
                    .chain(j.known.gone.iter().copied())
                    .map(|seq| (inst, seq)),
            );
        }
        self.proofs.extend(j.proofs.into_iter().map(|p| (inst, p)));
        self.positions.push(NewPosition {
            inst_id: inst,
            district_id: j.institution.district_id.clone(),
            position: j.measured.position,
            uncovered_since: j.since.uncovered,
        });
        self.findings
            .extend(findings.into_iter().map(|f| (inst, f)));
    }
}
