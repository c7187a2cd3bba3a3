//! Which facts nothing that happens later can change any more.

use std::collections::{HashMap, HashSet};

use super::{Folding, Judged, Settled};
use crate::base::Day;
use crate::decision::Side;
use crate::ledger;
use crate::policy::{Method, Regime};
use crate::position::formulae::reserve_ends;
use crate::reconcile::{By, CreditOutcome, DebitOutcome, Payment, PaymentOutcome, Span};

/// True for a method that takes the only choice among what is open.
fn chooses(method: &Method) -> bool {
    matches!(method, Method::Subset { .. } | Method::Group { .. })
}

impl Folding<'_> {
    /// True where a rule of the pack that is asked before this one chooses among what is open.
    fn is_chosen(&self, by: By) -> bool {
        let By::Rule(at) = by else {
            return true;
        };
        let Some((_, pack)) = self.judged.packs.get(at.pack) else {
            return true;
        };
        pack.rules
            .iter()
            .take(at.rule + 1)
            .any(|r| chooses(&r.method))
    }

    fn has_choice(&self) -> bool {
        let mut rules = self.judged.packs.iter().flat_map(|(_, p)| &p.rules);
        rules.any(|r| chooses(&r.method))
    }

    /// The last day on which a line may settle a payment that names none.
    fn reach(&self, p: &Payment) -> Day {
        let rules = self.judged.packs.iter().flat_map(|(_, p)| &p.rules);
        let last = rules.filter_map(|r| match &r.method {
            Method::Batch { within }
            | Method::Subset { within, .. }
            | Method::Group { within, .. } => Some(within.last(p.day)),
            _ => None,
        });
        last.max().unwrap_or(p.day)
    }

    /// Payments and credits that are to stay open: repeated by others, decided about, candidates of a review.
    fn marked(&self) -> (HashSet<usize>, HashSet<usize>) {
        let Judged {
            facts, matching, ..
        } = self.judged;
        let mut payments: HashSet<usize> = HashSet::new();
        let mut credits: HashSet<usize> = HashSet::new();
        for outcome in &matching.payments {
            if let PaymentOutcome::Duplicate { of } = outcome {
                payments.insert(*of);
            }
        }
        for outcome in &matching.credits {
            if let CreditOutcome::Duplicate { of } = outcome {
                credits.insert(*of);
            }
        }
        payments.extend(matching.reviews.iter().flat_map(|r| &r.candidates));
        let members = || facts.decisions.iter().flat_map(|d| &d.members);
        if members().next().is_some() {
            let named: HashSet<(Side, &str)> = members().map(|m| (m.side, m.id.as_str())).collect();
            let is_named = |side, id: Span| named.contains(&(side, facts.text(id)));
            let of = |(i, named): (usize, bool)| named.then_some(i);
            let named_payments = facts.payments.iter().map(|p| is_named(Side::Payment, p.id));
            payments.extend(named_payments.enumerate().filter_map(of));
            let named_lines = facts.credits.iter().map(|l| is_named(Side::Line, l.id));
            credits.extend(named_lines.enumerate().filter_map(of));
        }
        // Of a contract's payments on one day into two accounts none may be told by a sum.
        let mut account: HashMap<(i64, Day), (i64, bool)> = HashMap::new();
        for p in &facts.payments {
            let known = account
                .entry((p.contract_no, p.day))
                .or_insert((p.account_no, false));
            known.1 |= known.0 != p.account_no;
        }
        let split = |p: &Payment| account.get(&(p.contract_no, p.day)).is_some_and(|a| a.1);
        payments.extend((0..facts.payments.len()).filter(|i| split(&facts.payments[*i])));
        (payments, credits)
    }

    pub(super) fn settled(&self) -> Settled {
        let Judged {
            facts,
            matching,
            policy,
            ..
        } = self.judged;
        let until = self.until;
        let mut settled = Settled {
            payments: vec![false; facts.payments.len()],
            credits: vec![false; facts.credits.len()],
            debits: vec![false; facts.debits.len()],
            refunds: vec![false; facts.refunds.len()],
            releases: vec![false; facts.releases.len()],
        };
        let (marked_payments, marked_credits) = self.marked();
        let in_window = |p: &Payment| {
            policy.release.regime == Regime::ReserveRatio && reserve_ends(policy, p.day) > until
        };
        for (place, g) in matching.groups.iter().enumerate() {
            let pack = match g.by {
                By::Rule(at) => self.judged.packs.get(at.pack).filter(|_| at.pack > 0),
                By::Decision(_) => continue,
            };
            let judged_by_it = |day: Day| pack.is_none_or(|(from, _)| day >= *from);
            let payment_fits = |i: usize| {
                let p = &facts.payments[i];
                let in_time = matches!(matching.payments[i], PaymentOutcome::Settled { late_days, .. } if late_days <= 0);
                in_time
                    && p.day <= until
                    && judged_by_it(p.day)
                    && !in_window(p)
                    && !marked_payments.contains(&i)
            };
            let credit_fits = |i: usize| {
                let l = &facts.credits[i];
                let fee_over =
                    g.fee == 0 || l.day.plus(policy.explained.fee_window_days + 1) <= until;
                l.day <= until && fee_over && judged_by_it(l.day) && !marked_credits.contains(&i)
            };
            let fits = g.difference == 0
                && !self.is_chosen(g.by)
                && matching.payments_of(place).all(payment_fits)
                && matching.credits_of(place).all(credit_fits);
            if fits {
                matching
                    .payments_of(place)
                    .for_each(|i| settled.payments[i] = true);
                matching
                    .credits_of(place)
                    .for_each(|i| settled.credits[i] = true);
            }
        }
        for (i, p) in facts.payments.iter().enumerate() {
            if matching.payments[i] == PaymentOutcome::NotTested
                && !in_window(p)
                && self.reach(p) <= until
                && p.day <= until
                && !marked_payments.contains(&i)
            {
                settled.payments[i] = true;
            }
        }
        let has_choice = self.has_choice();
        for (i, l) in facts.credits.iter().enumerate() {
            if l.day > until || marked_credits.contains(&i) {
                continue;
            }
            match matching.credits[i] {
                CreditOutcome::Undone { debit } if facts.debits[debit].day <= until => {
                    settled.credits[i] = true;
                    settled.debits[debit] = true;
                }
                CreditOutcome::NotTested => {
                    let pooled = l.code == i64::from(ledger::LINE_SETTLEMENT) && l.channel != 0;
                    settled.credits[i] = !(pooled && has_choice);
                }
                _ => {}
            }
        }
        let debits = facts
            .debits
            .iter()
            .enumerate()
            .filter(|(_, l)| l.day <= until);
        for (i, _) in debits {
            match matching.debits[i] {
                DebitOutcome::Release { release } if facts.releases[release].day <= until => {
                    settled.debits[i] = true;
                    settled.releases[release] = true;
                }
                DebitOutcome::Refund { refund } if facts.refunds[refund].day <= until => {
                    settled.debits[i] = true;
                    settled.refunds[refund] = true;
                }
                DebitOutcome::NotTested => settled.debits[i] = true,
                _ => {}
            }
        }
        settled
    }
}
