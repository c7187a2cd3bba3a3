//! One institution judged: matched, measured, proved, and since when.

use super::portion::Context;
use crate::base::Day;
use crate::flag::{self, Finding};
use crate::policy::RulePack;
use crate::position::{self, AccountProof, Measured, Since};
use crate::reconcile::known::{Folding, Known};
use crate::reconcile::{CreditOutcome, Facts, Matching, match_lines};
use crate::registry::{Account, AccountKind, Institution};

/// What the facts of one institution come to as of the day.
pub(super) struct Judgement<'a> {
    pub(super) context: &'a Context,
    pub(super) institution: &'a Institution,
    pub(super) packs: Vec<(Day, &'a RulePack)>,
    /// What the facts are a view of.
    pub(super) known: Known,
    pub(super) facts: Facts,
    pub(super) matching: Matching,
    pub(super) measured: Measured,
    pub(super) proofs: Vec<AccountProof>,
    /// The day up to which its facts may be folded.
    pub(super) until: Option<Day>,
    pub(super) since: Since,
}

/// Judges an institution; `None` for one that the registry does not know.
pub(super) fn judge(context: &Context, known: Known) -> Option<Judgement<'_>> {
    let inst_id = crate::base::InstId(known.facts.inst_id);
    let (institution, accounts) = context.institutions.get(&inst_id)?;
    let kind_of = |no: i64| {
        let found = accounts.iter().find(|a| a.account_no.0 == no);
        found.map_or(AccountKind::Undeclared, |a| a.kind)
    };
    let accounts: Vec<&Account> = accounts.iter().collect();
    let (policy, day) = (&context.policy.policy, context.seen.day);
    let packs = policy.packs(&institution.district_id);
    let facts = known.as_of(day);
    let matching = match_lines(&facts, (policy, &packs), day, kind_of);
    let view = (policy, context.range, day);
    let measured = position::measure(institution, &accounts, &facts, &matching, view);
    let proofs = position::prove_accounts(&measured.accounts, &facts, &matching, policy);
    let until = (context.carries && is_due(&known, day))
        .then(|| position::foldable_until(&accounts, &facts, &measured, (context.range, day)))
        .flatten();
    let carried = facts.carried.until.is_some();
    let sweeps = carried || until.is_some() || position::needs_sweep(&measured);
    let view = (policy, day);
    let mut since = position::since(
        &accounts,
        &facts,
        &matching,
        &measured,
        view,
        (sweeps, until),
    );
    if !position::needs_sweep(&measured) {
        since = since.of_no_state();
    }
    Some(Judgement {
        context,
        institution,
        packs,
        known,
        facts,
        matching,
        measured,
        proofs,
        until,
        since,
    })
}

/// Days between two foldings of an institution.
const FOLDED_EACH_DAYS: i32 = 4;
/// Days after which it is folded whatever day it is.
const FOLDED_AFTER_DAYS: i32 = 2 * FOLDED_EACH_DAYS + position::OPEN_DAYS;

/// True where an institution's facts are to be folded: not every day, since that costs more than reading the
/// news of some days again, and not all institutions on one day, not even on the first.
fn is_due(known: &Known, day: Day) -> bool {
    let facts = &known.facts;
    let turn = i64::from(day.epoch()) + facts.inst_id;
    let late = |until: Day| day.since(until) > FOLDED_AFTER_DAYS;
    match known.folding {
        Folding::Never => false,
        Folding::Now => true,
        Folding::InTurn => {
            turn % i64::from(FOLDED_EACH_DAYS) == 0 || facts.carried.until.is_some_and(late)
        }
    }
}

impl Judgement<'_> {
    /// False where what open facts did in the time that is carried is another thing today.
    pub(super) fn holds(&self) -> bool {
        let carried = &self.facts.carried;
        carried.until.is_none() || carried.past == self.since.past
    }

    pub(super) fn findings(&self, order_id: impl Fn(i64) -> String) -> Vec<Finding> {
        flag::raise(
            self.institution,
            &self.facts,
            &self.matching,
            (&self.measured, &self.since),
            (&self.context.policy.policy, self.context.seen.day),
            order_id,
        )
    }

    /// Credits that were matched.
    pub(super) fn matched(&self) -> u64 {
        let settles = |c: &&CreditOutcome| matches!(c, CreditOutcome::Settles { .. });
        let open = self.matching.credits.iter().filter(settles).count() as u64;
        open + u64::try_from(self.facts.carried.settled).unwrap_or(0)
    }
}
