//! What is carried of an institution: read before it is judged, made anew after.
//!
//! Invariant: what is carried is kept only where it says today what all that was known says: the same position,
//! proofs, findings, first days and matches.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::judge::{Judgement, judge};
use super::portion::Context;
use crate::base::InstId;
use crate::flag::Finding;
use crate::position::{self, Judged};
use crate::reconcile::carried::{decode, encode};
use crate::reconcile::known::{Folding, Known};
use crate::reconcile::store::{CarriedRow, carried_rows, known_since};
use crate::store::{Result, Tx};

pub(super) struct Carry<'a> {
    context: &'a Context,
}

impl<'a> Carry<'a> {
    pub(super) fn of(context: &'a Context) -> Carry<'a> {
        Carry { context }
    }

    /// What is known of institutions by what is carried of them, where it holds; and when those are to be folded
    /// of which something is carried that does not.
    pub(super) async fn known(
        &self,
        tx: &mut Tx,
        range: (i64, i64),
    ) -> Result<(Vec<Known>, HashMap<i64, Folding>)> {
        let context = self.context;
        let mut others = HashMap::new();
        if !context.carries {
            return Ok((Vec::new(), others));
        }
        let cut = context.seen.source_cut;
        let rows = carried_rows(tx, range, context.policy.policy_no).await?;
        let mut held = Vec::with_capacity(rows.len());
        for row in rows {
            others.insert(row.inst_id, Folding::Now);
            let holds = row.source_cut <= cut && self.basis(row.inst_id) == Some(row.basis);
            let decoded = decode(row.inst_id, &row.content).filter(|_| holds);
            let Some(decoded) = decoded.filter(|d| self.counts_alike(&d.known)) else {
                continue;
            };
            if decoded.known.facts.carried.covers(context.seen.day.plus(1)) {
                others.insert(row.inst_id, Folding::Never);
            } else {
                held.push((row.source_cut, decoded));
            }
        }
        let known = known_since(tx, held, cut).await?;
        Ok((known, others))
    }

    /// True where the institution's accounts count as they did.
    fn counts_alike(&self, known: &Known) -> bool {
        let (carried, day) = (&known.facts.carried, self.context.seen.day);
        let registered = self.context.institutions.get(&InstId(known.facts.inst_id));
        registered.is_some_and(|(_, accounts)| {
            carried.accounts.len() == accounts.len()
                && accounts.iter().all(|a| {
                    let was = carried.account(a.account_no.0);
                    was.is_some_and(|was| was.filed == a.is_filed(day))
                })
        })
    }

    /// A digest of what, besides facts, an institution is judged by.
    fn basis(&self, inst_id: i64) -> Option<Vec<u8>> {
        let context = self.context;
        let registered = context.institutions.get(&InstId(inst_id))?;
        let first = context.range.map(|range| range.first);
        let text = format!("{}|{first:?}|{registered:?}", env!("CARGO_PKG_VERSION"));
        Some(Sha256::digest(text.as_bytes()).to_vec())
    }

    /// What is to be carried of an institution from now on; `None` where nothing can be, or no more than is.
    pub(super) fn on(
        &self,
        j: &Judgement<'_>,
        findings: &[Finding],
        name: &dyn Fn(i64) -> String,
    ) -> Option<CarriedRow> {
        let (until, stood) = j.until.zip(j.since.stood.as_ref())?;
        let judged = Judged {
            facts: &j.facts,
            matching: &j.matching,
            measured: &j.measured,
            proofs: &j.proofs,
            policy: &self.context.policy.policy,
            packs: &j.packs,
        };
        let folded = position::fold(judged, &j.known, until, stood);
        let mut again = judge(self.context, folded)?;
        if !says_the_same(j, findings, &again, name) {
            tracing::warn!(
                institution.no = j.facts.inst_id,
                until = %until,
                "an institution's settled facts cannot be carried: all of them are read again next time"
            );
            return None;
        }
        // The only holder from here on, so that nothing is copied to note it.
        drop(again.facts);
        Arc::make_mut(&mut again.known.facts.carried).past = again.since.past;
        let f = &j.known.facts;
        let has_records = !(f.freezes.is_empty()
            && f.exemptions.is_empty()
            && f.claims.is_empty()
            && f.decisions.is_empty());
        Some(CarriedRow {
            inst_id: f.inst_id,
            source_cut: self.context.seen.source_cut,
            basis: self.basis(f.inst_id)?,
            content: encode(&again.known, has_records),
        })
    }
}

/// True where two judgements, of which the second knows settled facts by their sums, say the same.
fn says_the_same(
    j: &Judgement<'_>,
    findings: &[Finding],
    again: &Judgement<'_>,
    name: &dyn Fn(i64) -> String,
) -> bool {
    let open: HashSet<i64> = again
        .facts
        .credits
        .iter()
        .chain(&again.facts.debits)
        .map(|l| l.seq)
        .collect();
    let lines = |j: &Judgement<'_>| {
        let mut lines = j.matching.lines(&j.facts);
        lines.retain(|l| open.contains(&l.entry_seq));
        lines.sort_unstable();
        lines
    };
    let items = |j: &Judgement<'_>| {
        let mut items = j.matching.items(&j.facts);
        items.retain(|i| open.contains(&i.entry_seq));
        items.sort_unstable();
        items
    };
    let proofs = |j: &Judgement<'_>| -> Vec<_> {
        j.proofs
            .iter()
            .map(|p| (p.account_no, position::store::ProofSums::of(p)))
            .collect()
    };
    let states = |j: &Judgement<'_>| (j.since.uncovered, j.since.premature, j.since.first_payment);
    j.measured.position == again.measured.position
        && states(j) == states(again)
        && j.since.contracts == again.since.contracts
        && j.since.deposits == again.since.deposits
        && j.since.first_use == again.since.first_use
        && proofs(j) == proofs(again)
        && lines(j) == lines(again)
        && items(j) == items(again)
        && j.matching.reviewed(&j.facts) == again.matching.reviewed(&again.facts)
        && j.matched() == again.matched()
        && findings == again.findings(name)
}
