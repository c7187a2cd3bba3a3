//! Payments and credits of one account and reference.

use std::collections::BTreeMap;
use std::ops::Range;

use super::outcome::{By, CreditOutcome, PaymentOutcome, RuleAt};
use super::{Era, Matcher, channel};
use crate::ledger;
use crate::policy::{Channel, PARTS_MAX, Tolerance, Within};
use crate::reconcile::MatchKind;

/// First reports, each with the credits of its reference in order of their days.
pub(super) struct Joined {
    /// Payment and its range in `credits`.
    pairs: Vec<(usize, Range<usize>)>,
    credits: Vec<usize>,
}

impl Joined {
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &[usize])> {
        self.pairs
            .iter()
            .map(|(payment, range)| (*payment, &self.credits[range.clone()]))
    }
}

impl Matcher<'_> {
    /// Joins first reports with the credits of their account and reference; later reports are duplicates.
    pub(super) fn reports(&mut self) -> Joined {
        let facts = self.facts;
        let mut reports: Vec<usize> = (0..facts.payments.len())
            .filter(|i| !facts.text(facts.payments[*i].reference).is_empty())
            .collect();
        let report_key = |i: &usize| {
            let p = &facts.payments[*i];
            (p.account_no, facts.text(p.reference), facts.text(p.id))
        };
        reports.sort_unstable_by(|a, b| report_key(a).cmp(&report_key(b)));
        let mut credits: Vec<usize> = (0..facts.credits.len())
            .filter(|i| self.credits[*i].is_none())
            .filter(|i| {
                let l = &facts.credits[*i];
                l.code != i64::from(ledger::LINE_SETTLEMENT) && !facts.text(l.reference).is_empty()
            })
            .collect();
        let credit_key = |i: &usize| {
            let l = &facts.credits[*i];
            let reference = facts.text(l.reference);
            (l.account_no, reference, l.day, facts.text(l.id))
        };
        credits.sort_unstable_by(|a, b| credit_key(a).cmp(&credit_key(b)));
        let named = |at: usize| {
            let l = &facts.credits[credits[at]];
            (l.account_no, facts.text(l.reference))
        };
        let mut pairs = Vec::new();
        let mut c = 0;
        let mut first: Option<usize> = None;
        for i in reports {
            let p = &facts.payments[i];
            let key = (p.account_no, facts.text(p.reference));
            let before = first.map(|f| &facts.payments[f]);
            if let Some((f, q)) = first.zip(before)
                && (q.account_no, facts.text(q.reference)) == key
            {
                self.payments[i].get_or_insert(PaymentOutcome::Duplicate { of: f });
                continue;
            }
            first = Some(i);
            if channel(p.channel).settles_in_batches() {
                continue;
            }
            while c < credits.len() && named(c) < key {
                c += 1;
            }
            let from = c;
            while c < credits.len() && named(c) == key {
                c += 1;
            }
            if from < c {
                pairs.push((i, from..c));
            }
        }
        Joined { pairs, credits }
    }

    /// The first credit of a reference settles; what a channel may keep is no difference.
    pub(super) fn by_reference(
        &mut self,
        (at, era): (RuleAt, Era),
        joined: &Joined,
        tolerance: &BTreeMap<Channel, Tolerance>,
    ) {
        let facts = self.facts;
        for (payment, credits) in joined.iter() {
            let p = &facts.payments[payment];
            if self.payments[payment].is_some() || !era.holds(p.day) {
                continue;
            }
            let open = |i: &usize| self.credits[*i].is_none() && !self.is_kept_apart(payment, *i);
            let Some(winner) = credits.iter().copied().find(open) else {
                continue;
            };
            let difference = facts.credits[winner].amount.fen() - p.amount.fen();
            let kept = tolerance
                .get(&channel(p.channel))
                .map_or(0, |t| t.of(p.amount));
            let (difference, fee) = if difference < 0 && -difference <= kept {
                (0, -difference)
            } else {
                (difference, 0)
            };
            let one = (By::Rule(at), MatchKind::OneToOne);
            self.settle(one, (&[payment], &[winner]), (difference, fee));
            self.repeat(payment, credits, winner);
        }
    }

    /// Credits of a reference, in order, until they add up to the payment: at least two, none of which is the
    /// payment's amount by itself.
    pub(super) fn in_parts(&mut self, (at, era): (RuleAt, Era), joined: &Joined, within: Within) {
        let facts = self.facts;
        for (payment, credits) in joined.iter().filter(|(_, credits)| credits.len() > 1) {
            let p = &facts.payments[payment];
            if self.payments[payment].is_some() || !era.holds(p.day) {
                continue;
            }
            let open: Vec<usize> = (credits.iter().copied())
                .filter(|i| self.credits[*i].is_none() && !self.is_kept_apart(payment, *i))
                .collect();
            let fen = |i: &usize| facts.credits[*i].amount.fen();
            let Some(parts) = parts(&open, p.amount.fen(), fen) else {
                continue;
            };
            let parts = &open[parts];
            let last = parts.last().map(|i| facts.credits[*i].day);
            if last.is_none_or(|day| day > within.last(p.day)) {
                continue;
            }
            let split = (By::Rule(at), MatchKind::Split);
            self.settle(split, (&[payment], parts), (0, 0));
            self.repeat(payment, credits, parts[0]);
        }
    }

    /// What is left of a payment's reference repeats the credit that settled it, unless people say that it is
    /// not the payment's.
    pub(super) fn repeat(&mut self, payment: usize, credits: &[usize], of: usize) {
        for i in credits {
            if !self.is_kept_apart(payment, *i) {
                self.credits[*i].get_or_insert(CreditOutcome::Duplicate { of });
            }
        }
    }
}

/// The shortest beginning of `open`, of two or more, that adds up to `amount`.
fn parts(open: &[usize], amount: i64, fen: impl Fn(&usize) -> i64) -> Option<Range<usize>> {
    if open.iter().any(|i| fen(i) == amount) {
        return None;
    }
    let mut sum = 0_i64;
    for (at, i) in open.iter().enumerate().take(PARTS_MAX) {
        sum = sum.checked_add(fen(i))?;
        if sum == amount {
            return (at > 0).then_some(0..at + 1);
        }
        if sum > amount {
            return None;
        }
    }
    None
}
