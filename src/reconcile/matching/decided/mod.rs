//! What people decided: matched before any rule, kept apart from every rule.
//!
//! Invariants: decisions are applied in the order of their numbers, so that of two that want one movement the
//! earlier holds; one that no longer fits its facts is not applied and says why; a line the bank took back settles
//! nothing, whoever says so; the lines of a match are of one account, so that each account is proved by itself, and of
//! the kind the payments were reported into, since what custody does not hold covers nothing.

use std::collections::HashMap;

use super::outcome::{By, CreditOutcome, PaymentOutcome};
use super::{Joined, Matcher};
use crate::base::{Day, Money};
use crate::decision::{Decision, DecisionKind, Side};
use crate::reconcile::MatchKind;
use crate::reconcile::facts::Facts;
use crate::registry::AccountKind;

/// Why a decision is not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// A member that no longer stands, or is not known.
    Gone { side: Side, id: String },
    /// A member's amount is another one than when this was decided.
    Changed { id: String, was: Money, is: Money },
    /// The bank took a line back.
    Undone { id: String },
    /// An earlier decision settles a member otherwise, or keeps two of them apart.
    Decided { id: String, by: i64 },
    /// The lines are of several accounts.
    Accounts,
    /// The payments were reported into accounts of another kind than the lines'.
    Kinds,
}

impl Lapse {
    pub fn english(&self, inst_id: i64) -> String {
        match self {
            Lapse::Gone { side, id } => format!("{} {id} no longer stands", side.as_str()),
            Lapse::Changed { id, was, is } => format!("{id} is {is} now, and was {was}"),
            Lapse::Undone { id } => format!("the bank took {id} back"),
            Lapse::Decided { id, by } => format!("D{inst_id}.{by} decides otherwise about {id}"),
            Lapse::Accounts => {
                "the lines are of several accounts; a match has lines of one".to_owned()
            }
            Lapse::Kinds => {
                "their accounts are of different kinds, and what custody does not hold \
                             covers nothing"
                    .to_owned()
            }
        }
    }
}

/// Movements by their ids.
pub struct Named<'a> {
    facts: &'a Facts,
    payments: HashMap<&'a str, usize>,
    credits: HashMap<(i64, &'a str), usize>,
}

/// Places of a decision's payments and credits, in order of their days and ids.
pub struct Members {
    pub payments: Vec<usize>,
    pub credits: Vec<usize>,
}

impl<'a> Named<'a> {
    pub fn of(facts: &'a Facts) -> Named<'a> {
        let payments = facts.payments.iter().enumerate();
        let credits = facts.credits.iter().enumerate();
        Named {
            facts,
            payments: payments.map(|(i, p)| (facts.text(p.id), i)).collect(),
            credits: credits
                .map(|(i, l)| ((l.account_no, facts.text(l.id)), i))
                .collect(),
        }
    }

    /// The members of a decision as they stand.
    ///
    /// # Errors
    /// Why it has lapsed: a member is gone or has another amount.
    pub fn members(&self, decision: &Decision) -> Result<Members, Lapse> {
        let f = self.facts;
        let mut members = Members {
            payments: Vec::new(),
            credits: Vec::new(),
        };
        for m in &decision.members {
            let (place, places) = match m.side {
                Side::Payment => (self.payments.get(m.id.as_str()), &mut members.payments),
                Side::Line => {
                    let key = (m.account_no, m.id.as_str());
                    (self.credits.get(&key), &mut members.credits)
                }
            };
            let place = *place.ok_or_else(|| Lapse::Gone {
                side: m.side,
                id: m.id.clone(),
            })?;
            let is = match m.side {
                Side::Payment => f.payments[place].amount,
                Side::Line => f.credits[place].amount,
            };
            if is != m.amount {
                return Err(Lapse::Changed {
                    id: m.id.clone(),
                    was: m.amount,
                    is,
                });
            }
            places.push(place);
        }
        (members.payments)
            .sort_unstable_by_key(|i| (f.payments[*i].day, f.text(f.payments[*i].id)));
        members.credits.sort_unstable_by_key(|i| {
            let l = &f.credits[*i];
            (l.day, l.account_no, f.text(l.id))
        });
        Ok(members)
    }

    /// Whether what is matched may be: lines of one account, which is of the kind the payments were reported into.
    ///
    /// # Errors
    /// Why not.
    pub fn may_settle(
        &self,
        members: &Members,
        kind_of: &impl Fn(i64) -> AccountKind,
    ) -> Result<(), Lapse> {
        let f = self.facts;
        let mut accounts = members.credits.iter().map(|i| f.credits[*i].account_no);
        let first = accounts.next();
        if !accounts.all(|no| Some(no) == first) {
            return Err(Lapse::Accounts);
        }
        let kind = first.map(kind_of);
        let mut reported = members.payments.iter().map(|i| f.payments[*i].account_no);
        if reported.all(|no| Some(kind_of(no)) == kind) {
            Ok(())
        } else {
            Err(Lapse::Kinds)
        }
    }
}

impl Matcher<'_> {
    /// Applies what people decided and holds on the day.
    pub(super) fn decided(&mut self, day: Day, kind_of: &impl Fn(i64) -> AccountKind) {
        let facts = self.facts;
        if facts.decisions.is_empty() {
            return;
        }
        let named = Named::of(facts);
        let held = |kind| {
            let of_kind = move |d: &&Decision| d.kind == kind && d.holds_on(day);
            facts.decisions.iter().filter(of_kind)
        };
        for decision in held(DecisionKind::Unmatch) {
            match named.members(decision) {
                Ok(m) => {
                    for payment in &m.payments {
                        let pairs = m.credits.iter().map(|credit| (*payment, *credit));
                        for pair in pairs {
                            let by = decision.id.decision_no;
                            self.made.kept_apart.entry(pair).or_insert(by);
                        }
                    }
                }
                Err(lapse) => self.made.lapsed.push((decision.id.decision_no, lapse)),
            }
        }
        for decision in held(DecisionKind::Match) {
            if let Err(lapse) = self.decided_match(&named, decision, kind_of) {
                self.made.lapsed.push((decision.id.decision_no, lapse));
            }
        }
    }

    fn decided_match(
        &mut self,
        named: &Named<'_>,
        decision: &Decision,
        kind_of: &impl Fn(i64) -> AccountKind,
    ) -> Result<(), Lapse> {
        let facts = self.facts;
        let members = named.members(decision)?;
        let (payments, credits) = (&members.payments, &members.credits);
        for i in payments {
            if let Some(PaymentOutcome::Settled { group, .. }) = self.payments[*i] {
                let id = facts.text(facts.payments[*i].id);
                return Err(self.decided_before(group, id));
            }
        }
        for i in credits {
            let id = facts.text(facts.credits[*i].id);
            match self.credits[*i] {
                Some(CreditOutcome::Settles { group }) => {
                    return Err(self.decided_before(group, id));
                }
                Some(CreditOutcome::Undone { .. }) => {
                    return Err(Lapse::Undone { id: id.to_owned() });
                }
                _ => {}
            }
            let apart = payments
                .iter()
                .find_map(|p| self.made.kept_apart.get(&(*p, *i)));
            if let Some(by) = apart {
                let (id, by) = (id.to_owned(), *by);
                return Err(Lapse::Decided { id, by });
            }
        }
        named.may_settle(&members, kind_of)?;
        let kind = MatchKind::of(payments.len(), credits.len());
        let paid = payments
            .iter()
            .map(|i| i128::from(facts.payments[*i].amount.fen()));
        let banked = credits
            .iter()
            .map(|i| i128::from(facts.credits[*i].amount.fen()));
        let difference = banked.sum::<i128>() - paid.sum::<i128>();
        // Sums of a group lie far inside 64 bits: an amount has fifteen digits at most.
        let difference = i64::try_from(difference).unwrap_or(0);
        let by = By::Decision(decision.id.decision_no);
        self.settle((by, kind), (payments, credits), (difference, 0));
        Ok(())
    }

    fn decided_before(&self, group: usize, id: &str) -> Lapse {
        let by = match self.made.groups[group].by {
            By::Decision(by) => by,
            By::Rule(_) => 0,
        };
        Lapse::Decided {
            id: id.to_owned(),
            by,
        }
    }

    /// What is left of a reference whose payment people have settled repeats the credit that settled it.
    pub(super) fn repeat_decided(&mut self, joined: &Joined) {
        if self.made.groups.is_empty() {
            return;
        }
        for (payment, credits) in joined.iter() {
            let Some(PaymentOutcome::Settled { group, .. }) = self.payments[payment] else {
                continue;
            };
            let first = self.made.credits_of(group).next();
            if let Some(of) = first {
                self.repeat(payment, credits, of);
            }
        }
    }

    /// True where people keep a payment and a credit apart.
    pub(super) fn is_kept_apart(&self, payment: usize, credit: usize) -> bool {
        let apart = &self.made.kept_apart;
        !apart.is_empty() && apart.contains_key(&(payment, credit))
    }

    /// True where people keep one of the payments and one of the credits apart.
    pub(super) fn are_kept_apart(&self, payments: &[usize], credits: &[usize]) -> bool {
        !self.made.kept_apart.is_empty()
            && (payments.iter()).any(|p| credits.iter().any(|c| self.is_kept_apart(*p, *c)))
    }
}

#[cfg(test)]
mod tests;
