//! Matching: the rules of a district's packs, one after the other, over one institution's open movements.
//!
//! | step | settles | decided by |
//! |---|---|---|
//! | [`reversals`] | a line and the one it undoes | the bank's mark, account, amount, reference |
//! | [`decided`] | what people say belongs together | their decision, ids and amounts |
//! | [`reference`] | one payment, by one credit or in parts | account and reference |
//! | [`batches`] | a batch as described, a day's, the only choice that adds up | account, channel, window and sum |
//! | [`debits`] | a debit and what approved it | account, amount, reference |
//!
//! Invariants: the outcome does not depend on the order of the facts; a movement is claimed once; an amount
//! alone decides nothing; a reference that names something else vetoes, and so do people; where two choices are
//! equally good, neither is taken and both are listed ([`Review`]).

mod batches;
mod debits;
mod decided;
mod outcome;
mod reference;
mod reversals;
mod subset;

use super::MatchKind;
use super::facts::{Facts, Payment};
use crate::base::{Day, Money};
use crate::policy::{Channel, MatchRule, Policy, RulePack};
use crate::registry::AccountKind;

pub use decided::{Lapse, Members, Named};
pub use outcome::{
    By, CreditOutcome, DebitOutcome, Doubt, Group, Matching, PaymentOutcome, Review, RuleAt,
};
use reference::Joined;

/// Matches an institution's movements up to `day` by the packs of its district ([`Policy::packs`]). `kind_of`
/// tells an account's kind.
pub fn match_lines(
    facts: &Facts,
    (policy, packs): (&Policy, &[(Day, &RulePack)]),
    day: Day,
    kind_of: impl Fn(i64) -> AccountKind,
) -> Matching {
    let mut m = Matcher {
        facts,
        policy,
        packs,
        payments: vec![None; facts.payments.len()],
        credits: vec![None; facts.credits.len()],
        made: Matching::default(),
    };
    let undone = m.reversals();
    m.decided(day, &kind_of);
    let joined = m.reports();
    m.repeat_decided(&joined);
    let described = m.described();
    for (pack, (from, rules)) in packs.iter().enumerate() {
        let until = packs.get(pack + 1).map(|(day, _)| *day);
        let era = Era {
            from: (pack > 0).then_some(*from),
            until,
        };
        m.made.reviews.retain(|r| m.credits[r.credit].is_none());
        for (rule, MatchRule { method, .. }) in rules.rules.iter().enumerate() {
            let at = RuleAt { pack, rule };
            m.apply((at, era), method, &joined, &described);
        }
    }
    let Matcher {
        payments,
        credits,
        mut made,
        ..
    } = m;
    made.payments = (facts.payments.iter().zip(payments))
        .map(|(p, outcome)| match outcome {
            Some(outcome) => outcome,
            None if kind_of(p.account_no) == AccountKind::Custody => unsettled(policy, p, day),
            None => PaymentOutcome::NotTested,
        })
        .collect();
    made.credits = (facts.credits.iter().zip(credits))
        .map(|(l, outcome)| match outcome {
            Some(CreditOutcome::Duplicate { .. }) | None
                if kind_of(l.account_no) != AccountKind::Custody =>
            {
                CreditOutcome::NotTested
            }
            Some(outcome) => outcome,
            None => CreditOutcome::Unmatched,
        })
        .collect();
    let open = |r: &Review| made.credits[r.credit] == CreditOutcome::Unmatched;
    made.reviews = std::mem::take(&mut made.reviews)
        .into_iter()
        .filter(|r| open(r))
        .collect();
    made.reviews
        .sort_by_key(|r| (r.credit, r.rule.pack, r.rule.rule));
    made.reviews.dedup_by_key(|r| r.credit);
    made.debits = debits::outcomes(facts, &undone, kind_of);
    made
}

fn channel(number: i64) -> Channel {
    Channel::from_number(number).unwrap_or(Channel::Transfer)
}

fn unsettled(policy: &Policy, p: &Payment, day: Day) -> PaymentOutcome {
    let window_end = policy.window_end(channel(p.channel), p.day);
    if window_end > day {
        PaymentOutcome::InTransit { window_end }
    } else {
        PaymentOutcome::Overdue { window_end }
    }
}

/// The days on which a pack holds.
#[derive(Clone, Copy, Debug)]
struct Era {
    /// `None` = from the beginning: what happened before the oldest pack is judged by it.
    from: Option<Day>,
    until: Option<Day>,
}

impl Era {
    fn holds(self, day: Day) -> bool {
        self.from.is_none_or(|from| from <= day) && self.until.is_none_or(|until| day < until)
    }
}

struct Matcher<'a> {
    facts: &'a Facts,
    policy: &'a Policy,
    packs: &'a [(Day, &'a RulePack)],
    payments: Vec<Option<PaymentOutcome>>,
    credits: Vec<Option<CreditOutcome>>,
    made: Matching,
}

impl Matcher<'_> {
    fn apply(
        &mut self,
        (at, era): (RuleAt, Era),
        method: &crate::policy::Method,
        joined: &Joined,
        described: &[bool],
    ) {
        use crate::policy::Method as M;
        match method {
            M::Reversal => {}
            M::Reference { tolerance } => self.by_reference((at, era), joined, tolerance),
            M::Split { within } => self.in_parts((at, era), joined, *within),
            M::Settlement => self.by_settlement((at, era)),
            M::Batch { within } => self.by_day((at, era), *within, described),
            M::Subset { within, candidates } => {
                let search = batches::Search {
                    within: *within,
                    candidates: *candidates,
                    credits: 1,
                };
                self.by_choice((at, era), search, described);
            }
            M::Group {
                within,
                candidates,
                credits,
            } => {
                let search = batches::Search {
                    within: *within,
                    candidates: *candidates,
                    credits: *credits,
                };
                self.by_choice((at, era), search, described);
            }
        }
    }

    fn late_days(&self, p: &Payment, credited: Day) -> i32 {
        let end = self.policy.window_end(channel(p.channel), p.day);
        self.policy.days_beyond(end, credited)
    }

    /// Settles payments by credits, which come in order of their days.
    fn settle(
        &mut self,
        (by, kind): (By, MatchKind),
        (payments, credits): (&[usize], &[usize]),
        (difference, fee): (i64, i64),
    ) {
        let facts = self.facts;
        let group = self
            .made
            .group((by, kind), (payments, credits), (difference, fee));
        let arrived = credits.iter().map(|i| facts.credits[*i].day).max();
        for i in payments {
            let p = &facts.payments[*i];
            let late_days = self.late_days(p, arrived.unwrap_or(p.day));
            self.payments[*i] = Some(PaymentOutcome::Settled { group, late_days });
        }
        for i in credits {
            self.credits[*i] = Some(CreditOutcome::Settles { group });
        }
        if let Some(day) = arrived.filter(|_| fee > 0) {
            self.made.fees.push((day, Money::from_fen(fee)));
        }
    }

    /// The rules in force on a day.
    fn rules_on(&self, day: Day) -> &[MatchRule] {
        let at = self.packs.partition_point(|(from, _)| *from <= day);
        self.packs
            .get(at.saturating_sub(1))
            .map_or(&[], |(_, p)| &p.rules)
    }

    /// Pairs of a line and the one it undoes, where a rule says so on the day of the later one.
    fn reversals(&mut self) -> Vec<reversals::Pair> {
        let facts = self.facts;
        let mut undone = reversals::pairs(facts);
        undone.retain(|pair| {
            let day = facts.credits[pair.credit]
                .day
                .max(facts.debits[pair.debit].day);
            let reversal = |r: &MatchRule| r.method == crate::policy::Method::Reversal;
            self.rules_on(day).iter().any(reversal)
        });
        for pair in &undone {
            self.credits[pair.credit] = Some(CreditOutcome::Undone { debit: pair.debit });
        }
        undone
    }
}

#[cfg(test)]
mod tests;
