//! Debits and approvals: what paid which, and why each near one did not.

use super::{At, Explainer, Veto, Why};
use crate::base::Money;
use crate::reconcile::facts::Approval;
use crate::reconcile::matching::DebitOutcome;

impl Explainer<'_> {
    pub(super) fn debit(&self, d: usize, why: &mut Why) {
        let paid = self.paid_by(d);
        why.outcome = match self.matching.debits[d] {
            DebitOutcome::Release { .. } => "released",
            DebitOutcome::Refund { .. } => "refunded",
            DebitOutcome::Undone { .. } => "undone",
            DebitOutcome::Unauthorised => "unauthorised",
            DebitOutcome::NotTested => "not_tested",
        };
        why.with = paid.map(|at| self.moved(at)).into_iter().collect();
        if paid.is_none() {
            why.near = self.nearest(self.approvals().filter_map(|at| self.pair(at, d, at)));
        }
    }

    /// A release or a refund.
    pub(super) fn approval(&self, at: At, why: &mut Why) {
        let debits = 0..self.facts.debits.len();
        let paid = debits.clone().find(|d| self.paid_by(*d) == Some(at));
        why.outcome = if paid.is_some() { "paid" } else { "not_paid" };
        why.with = paid.map(|d| self.moved(At::Debit(d))).into_iter().collect();
        if paid.is_none() {
            why.near = self.nearest(debits.filter_map(|d| self.pair(at, d, At::Debit(d))));
        }
    }

    fn approvals(&self) -> impl Iterator<Item = At> {
        let releases = (0..self.facts.releases.len()).map(At::Release);
        releases.chain((0..self.facts.refunds.len()).map(At::Refund))
    }

    fn approved(&self, at: At) -> Option<&Approval> {
        match at {
            At::Release(i) => self.facts.releases.get(i),
            At::Refund(i) => self.facts.refunds.get(i),
            _ => None,
        }
    }

    /// What a debit paid, or the line that undoes it.
    fn paid_by(&self, d: usize) -> Option<At> {
        match self.matching.debits[d] {
            DebitOutcome::Release { release } => Some(At::Release(release)),
            DebitOutcome::Refund { refund } => Some(At::Refund(refund)),
            DebitOutcome::Undone { credit } => Some(At::Credit(credit)),
            DebitOutcome::Unauthorised | DebitOutcome::NotTested => None,
        }
    }

    /// An approval and a debit that share a reference or an amount, as a candidate of either: why they were not
    /// matched, and how near they are.
    fn pair(&self, at: At, d: usize, candidate: At) -> Option<(At, Vec<Veto>, (bool, i32))> {
        let f = self.facts;
        let (a, l) = (self.approved(at)?, &f.debits[d]);
        let (reported, banked) = (f.text(a.id), f.text(l.reference));
        let named = reported == banked;
        if !named && a.amount != l.amount {
            return None;
        }
        let mut vetoes = Vec::new();
        if !named {
            vetoes.push(Veto::OtherReference {
                reported: reported.to_owned(),
                banked: banked.to_owned(),
            });
        }
        // A refund may leave any account of the institution.
        if matches!(at, At::Release(_)) && a.account_no != l.account_no {
            vetoes.push(Veto::OtherAccount);
        }
        if a.amount != l.amount {
            let difference = Money::from_fen(l.amount.fen() - a.amount.fen());
            vetoes.push(Veto::OtherAmount { difference });
        }
        let others = (0..f.debits.len()).filter(|other| self.paid_by(*other) == Some(at));
        let others = others.map(|other| f.text(f.debits[other].id).to_owned());
        let own = self.paid_by(d).map(|other| self.moved(other).id);
        let by: Vec<String> = others.chain(own).collect();
        if !by.is_empty() {
            vetoes.push(Veto::Taken { by });
        }
        if vetoes.is_empty() {
            vetoes.push(Veto::NoRule);
        }
        Some((candidate, vetoes, (!named, a.day.since(l.day).abs())))
    }
}
