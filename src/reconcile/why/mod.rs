//! Why a movement was matched, or why each candidate near it was not.
//!
//! Nothing is stored for it: matching is a function of facts, policy and day, so it is done again for the one
//! institution and looked at.
//!
//! Invariants: what is said of a match are the fields its method compares; a candidate that was not taken has at
//! least one reason; the nearest come first, and counterparty text decides between equally near ones only.

mod answer;
mod debits;
mod veto;

use std::collections::HashMap;

use super::facts::{Approval, Facts, Line, Payment};
use super::matching::{By, CreditOutcome, Doubt, Matching, PaymentOutcome, RuleAt};
use crate::base::{Day, Money};
use crate::ledger;
use crate::policy::{Channel, Method, RulePack};

pub use answer::{At, Compared, Moved, NamedDecision, NamedRule, Near, Why};
pub use veto::Veto;

/// How many candidates are listed.
const NEAR_MAX: usize = 10;
/// Candidates of the same amount are looked for among lines of so many days around.
const NEAR_DAYS: i32 = 31;

/// Looks at one institution's matching.
pub struct Explainer<'a> {
    pub facts: &'a Facts,
    pub matching: &'a Matching,
    pub packs: &'a [(Day, &'a RulePack)],
    /// Counterparty text of bank lines, by seq, where it is known.
    pub counterparties: &'a HashMap<i64, String>,
    /// The institution's own name: what a payer's bank often writes.
    pub payee: &'a str,
}

impl Explainer<'_> {
    /// Movements with an id.
    pub fn find(&self, id_wanted: &str) -> Vec<At> {
        let f = self.facts;
        let every = (0..f.payments.len()).map(|i| (f.payments[i].id, At::Payment(i)));
        let every = every.chain((0..f.credits.len()).map(|i| (f.credits[i].id, At::Credit(i))));
        let every = every.chain((0..f.debits.len()).map(|i| (f.debits[i].id, At::Debit(i))));
        let every = every.chain((0..f.releases.len()).map(|i| (f.releases[i].id, At::Release(i))));
        let every = every.chain((0..f.refunds.len()).map(|i| (f.refunds[i].id, At::Refund(i))));
        (every.filter(|(id, _)| f.text(*id) == id_wanted))
            .map(|(_, at)| at)
            .collect()
    }

    /// Why it became what it became.
    pub fn why(&self, at: At) -> Why {
        let mut why = Why {
            subject: self.moved(at),
            outcome: "",
            rule: None,
            decision: None,
            compared: Vec::new(),
            with: Vec::new(),
            difference: Money::ZERO,
            fee: Money::ZERO,
            near: Vec::new(),
        };
        match at {
            At::Payment(i) => self.payment(i, &mut why),
            At::Credit(i) => self.credit(i, &mut why),
            At::Debit(i) => self.debit(i, &mut why),
            At::Release(_) | At::Refund(_) => self.approval(at, &mut why),
        }
        why
    }

    fn moved(&self, at: At) -> Moved {
        let f = self.facts;
        let text = |span| f.text(span).to_owned();
        let approval = |kind, a: &Approval| Moved {
            kind,
            id: text(a.id),
            account_no: a.account_no,
            day: a.day,
            amount: a.amount,
            reference: String::new(),
            channel: None,
        };
        let line = |kind, l: &Line| Moved {
            kind,
            id: text(l.id),
            account_no: l.account_no,
            day: l.day,
            amount: l.amount,
            reference: text(l.reference),
            channel: channel_name(l.channel),
        };
        match at {
            At::Payment(i) => {
                let p = &f.payments[i];
                Moved {
                    kind: "payment",
                    id: text(p.id),
                    account_no: p.account_no,
                    day: p.day,
                    amount: p.amount,
                    reference: text(p.reference),
                    channel: channel_name(p.channel),
                }
            }
            At::Credit(i) => line("credit", &f.credits[i]),
            At::Debit(i) => line("debit", &f.debits[i]),
            At::Release(i) => approval("release", &f.releases[i]),
            At::Refund(i) => approval("refund", &f.refunds[i]),
        }
    }

    fn rule(&self, at: RuleAt) -> Option<NamedRule> {
        let (_, pack) = self.packs.get(at.pack)?;
        let rule = pack.rules.get(at.rule)?;
        Some(NamedRule {
            pack: pack.name.clone(),
            rule: rule.name.clone(),
            method: rule.method.as_str(),
        })
    }

    fn decision(&self, no: i64) -> Option<NamedDecision> {
        let decision = (self.facts.decisions.iter()).find(|d| d.id.decision_no == no)?;
        Some(NamedDecision {
            decision: decision.id.to_string(),
            by: decision.proposed_by.clone(),
            approved_by: decision.approved()?.by.clone(),
            reason: decision.reason.clone(),
        })
    }

    fn settled(&self, group: usize, why: &mut Why) {
        let g = self.matching.groups[group];
        why.outcome = "settled";
        let rule = match g.by {
            By::Rule(at) => Some(at),
            By::Decision(_) => None,
        };
        why.rule = rule.and_then(|at| self.rule(at));
        if let By::Decision(no) = g.by {
            why.decision = self.decision(no);
        }
        why.difference = Money::from_fen(g.difference);
        why.fee = Money::from_fen(g.fee);
        let payments: Vec<usize> = self.matching.payments_of(group).collect();
        let credits: Vec<usize> = self.matching.credits_of(group).collect();
        why.compared = self.compared(rule, &payments, &credits);
        let both =
            (payments.into_iter().map(At::Payment)).chain(credits.into_iter().map(At::Credit));
        let others = both.map(|at| self.moved(at));
        why.with = others.filter(|m| *m != why.subject).collect();
    }

    /// The fields a method compares; without one, those that people look at.
    fn compared(
        &self,
        rule: Option<RuleAt>,
        payments: &[usize],
        credits: &[usize],
    ) -> Vec<Compared> {
        let f = self.facts;
        let (Some(p), Some(l)) = (payments.first(), credits.first()) else {
            return Vec::new();
        };
        let (p, l) = (&f.payments[*p], &f.credits[*l]);
        let paid = payments.iter().map(|i| f.payments[*i].amount);
        let banked = credits.iter().map(|i| f.credits[*i].amount);
        let sum = |amounts: &mut dyn Iterator<Item = Money>| {
            amounts.fold(Money::ZERO, Money::saturating_add).to_string()
        };
        let days = |days: &mut dyn Iterator<Item = Day>| {
            let days: Vec<Day> = days.collect();
            match (days.iter().min(), days.iter().max()) {
                (Some(first), Some(last)) if first != last => format!("{first}..{last}"),
                (Some(day), _) => day.to_string(),
                _ => String::new(),
            }
        };
        let field = |field, reported: String, banked: String| Compared {
            field,
            reported,
            banked,
        };
        let account = |no: i64| no.to_string();
        let mut compared = vec![field(
            "account",
            account(p.account_no),
            account(l.account_no),
        )];
        let method = rule.and_then(|at| self.packs.get(at.pack)?.1.rules.get(at.rule));
        let method = method.map(|r| &r.method);
        let by_reference = matches!(
            method,
            None | Some(Method::Reference { .. } | Method::Split { .. })
        );
        if by_reference {
            let reference = |span| f.text(span).to_owned();
            compared.push(field(
                "reference",
                reference(p.reference),
                reference(l.reference),
            ));
        } else {
            let name = |no| channel_name(no).unwrap_or_default().to_owned();
            compared.push(field("channel", name(p.channel), name(l.channel)));
        }
        if method == Some(&Method::Settlement) {
            let described = (f.settlements.iter())
                .find(|s| s.account_no == l.account_no && s.batch_no == f.text(l.reference));
            if let Some(s) = described {
                compared.push(field(
                    "batch",
                    s.batch_no.clone(),
                    f.text(l.reference).to_owned(),
                ));
                let fen = |fen| Money::from_fen(fen).to_string();
                compared.push(field("gross", sum(&mut paid.clone()), fen(s.gross_fen)));
                compared.push(field("net", fen(s.net_fen), sum(&mut banked.clone())));
            }
        } else {
            compared.push(field(
                "amount",
                sum(&mut paid.clone()),
                sum(&mut banked.clone()),
            ));
        }
        compared.push(field(
            "day",
            days(&mut payments.iter().map(|i| f.payments[*i].day)),
            days(&mut credits.iter().map(|i| f.credits[*i].day)),
        ));
        compared
    }

    fn payment(&self, i: usize, why: &mut Why) {
        match self.matching.payments[i] {
            PaymentOutcome::Settled { group, .. } => return self.settled(group, why),
            PaymentOutcome::Duplicate { of } => {
                why.outcome = "repeats_a_report";
                why.with = vec![self.moved(At::Payment(of))];
                return;
            }
            PaymentOutcome::InTransit { .. } => why.outcome = "in_transit",
            PaymentOutcome::Overdue { .. } => why.outcome = "overdue",
            PaymentOutcome::NotTested => why.outcome = "not_tested",
        }
        let f = self.facts;
        let p = &f.payments[i];
        let near = (0..f.credits.len()).filter(|c| {
            let l = &f.credits[*c];
            let listed = |r: &super::matching::Review| r.credit == *c && r.candidates.contains(&i);
            let apart = self.matching.kept_apart.contains_key(&(i, *c));
            apart || related(f, p, l) || self.matching.reviews.iter().any(listed)
        });
        why.near = self
            .nearest(near.map(|c| (At::Credit(c), self.vetoes(i, c), distance(p, &f.credits[c]))));
    }

    fn credit(&self, c: usize, why: &mut Why) {
        match self.matching.credits[c] {
            CreditOutcome::Settles { group } => return self.settled(group, why),
            CreditOutcome::Duplicate { of } => {
                why.outcome = "repeats_a_credit";
                why.with = vec![self.moved(At::Credit(of))];
                return;
            }
            CreditOutcome::Undone { debit } => {
                why.outcome = "undone";
                why.with = vec![self.moved(At::Debit(debit))];
                return;
            }
            CreditOutcome::Unmatched => why.outcome = "unmatched",
            CreditOutcome::NotTested => why.outcome = "not_tested",
        }
        let f = self.facts;
        let l = &f.credits[c];
        let listed = |i: &usize| {
            let holds = |r: &super::matching::Review| r.credit == c && r.candidates.contains(i);
            let apart = self.matching.kept_apart.contains_key(&(*i, c));
            apart || self.matching.reviews.iter().any(holds)
        };
        let near = (0..f.payments.len()).filter(|i| related(f, &f.payments[*i], l) || listed(i));
        why.near = self.nearest(near.map(|i| {
            (
                At::Payment(i),
                self.vetoes(i, c),
                distance(&f.payments[i], l),
            )
        }));
    }

    /// The nearest first; of equally near ones those whose counterparty resembles the institution's name.
    fn nearest<D: Ord>(&self, candidates: impl Iterator<Item = (At, Vec<Veto>, D)>) -> Vec<Near> {
        let mut found: Vec<(D, bool, Near)> = candidates
            .map(|(at, vetoes, distance)| {
                let candidate = self.moved(at);
                let near = Near { candidate, vetoes };
                (distance, !self.resembles(at), near)
            })
            .collect();
        found.sort_by(|a, b| (&a.0, a.1, &a.2.candidate.id).cmp(&(&b.0, b.1, &b.2.candidate.id)));
        found.truncate(NEAR_MAX);
        found.into_iter().map(|(_, _, near)| near).collect()
    }

    fn resembles(&self, at: At) -> bool {
        let seq = match at {
            At::Credit(i) => self.facts.credits[i].seq,
            At::Debit(i) => self.facts.debits[i].seq,
            _ => return false,
        };
        let text = self.counterparties.get(&seq).map_or("", String::as_str);
        !text.is_empty() && (text.contains(self.payee) || self.payee.contains(text))
    }

    /// Why a payment and a credit were not matched with each other.
    fn vetoes(&self, payment: usize, credit: usize) -> Vec<Veto> {
        let f = self.facts;
        let (p, l) = (&f.payments[payment], &f.credits[credit]);
        let mut vetoes = Vec::new();
        if let Some(no) = self.matching.kept_apart.get(&(payment, credit)) {
            vetoes.extend(self.decision(*no).map(Veto::DecidedOtherwise));
        }
        if p.account_no != l.account_no {
            vetoes.push(Veto::OtherAccount);
        }
        let settlement = l.code == i64::from(ledger::LINE_SETTLEMENT);
        let (reported, banked) = (f.text(p.reference), f.text(l.reference));
        if settlement {
            if l.channel != p.channel && l.channel != 0 {
                let banked = channel_name(l.channel).unwrap_or_default().to_owned();
                vetoes.push(Veto::OtherChannel { banked });
            }
        } else if reported.is_empty() || banked.is_empty() {
            vetoes.push(Veto::NoReference);
        } else if reported != banked {
            vetoes.push(Veto::OtherReference {
                reported: reported.to_owned(),
                banked: banked.to_owned(),
            });
        }
        if l.day < p.day {
            vetoes.push(Veto::Before {
                days: p.day.since(l.day),
            });
        }
        vetoes.extend(self.taken(payment, credit));
        if settlement && !vetoes.iter().any(|v| matches!(v, Veto::Taken { .. })) {
            vetoes.extend(self.batch_vetoes(payment, credit));
        }
        if vetoes.is_empty() && p.amount != l.amount {
            let difference = Money::from_fen(l.amount.fen() - p.amount.fen());
            vetoes.push(Veto::OtherAmount { difference });
        }
        if vetoes.is_empty() {
            vetoes.push(Veto::NoRule);
        }
        vetoes
    }

    fn taken(&self, payment: usize, credit: usize) -> Option<Veto> {
        let f = self.facts;
        let payments = |group| {
            self.matching
                .payments_of(group)
                .map(|i| f.text(f.payments[i].id).to_owned())
        };
        let credits = |group| {
            self.matching
                .credits_of(group)
                .map(|i| f.text(f.credits[i].id).to_owned())
        };
        match (
            self.matching.credits[credit],
            self.matching.payments[payment],
        ) {
            (CreditOutcome::Settles { group }, _) => Some(Veto::Taken {
                by: payments(group).take(NEAR_MAX).collect(),
            }),
            (CreditOutcome::Undone { .. }, _) => Some(Veto::Undone),
            (CreditOutcome::Duplicate { of }, _) => Some(Veto::Taken {
                by: vec![f.text(f.credits[of].id).to_owned()],
            }),
            (_, PaymentOutcome::Settled { group, .. }) => Some(Veto::Taken {
                by: credits(group).take(NEAR_MAX).collect(),
            }),
            (_, PaymentOutcome::Duplicate { of }) => Some(Veto::Taken {
                by: vec![f.text(f.payments[of].id).to_owned()],
            }),
            _ => None,
        }
    }

    fn batch_vetoes(&self, payment: usize, credit: usize) -> Vec<Veto> {
        let f = self.facts;
        let (p, l) = (&f.payments[payment], &f.credits[credit]);
        let mut vetoes = Vec::new();
        let described = (f.settlements.iter())
            .find(|s| s.account_no == l.account_no && s.batch_no == f.text(l.reference));
        if let Some(s) = described {
            let batch_no = s.batch_no.clone();
            return vec![Veto::Described { batch_no }];
        }
        let last = (self.packs.iter())
            .flat_map(|(_, pack)| &pack.rules)
            .filter_map(|r| match &r.method {
                Method::Batch { within }
                | Method::Subset { within, .. }
                | Method::Group { within, .. } => Some(within.last(p.day)),
                _ => None,
            });
        if let Some(last) = last.max().filter(|last| l.day > *last) {
            vetoes.push(Veto::Beyond { last });
        }
        let of_day = (f.payments.iter().zip(&self.matching.payments)).filter(|(q, o)| {
            let open = matches!(
                o,
                PaymentOutcome::InTransit { .. } | PaymentOutcome::Overdue { .. }
            );
            open && (q.account_no, q.channel, q.day) == (p.account_no, p.channel, p.day)
        });
        let sum = of_day.fold(Money::ZERO, |sum, (q, _)| sum.saturating_add(q.amount));
        if sum != l.amount {
            vetoes.push(Veto::DaySum { day: p.day, sum });
        }
        let review = (self.matching.reviews.iter()).find(|r| r.credit == credit);
        vetoes.extend(review.map(|r| match r.doubt {
            Doubt::Ambiguous => Veto::Ambiguous,
            Doubt::Contested => Veto::Contested,
            Doubt::TooMany { candidates } => Veto::TooMany { candidates },
        }));
        vetoes
    }
}

/// The same reference, or the same amount within a month, or the channel's credit of a batch.
fn related(f: &Facts, p: &Payment, l: &Line) -> bool {
    let reference = f.text(p.reference);
    let near = l.day.since(p.day).abs() <= NEAR_DAYS;
    (!reference.is_empty() && reference == f.text(l.reference))
        || (near && p.amount == l.amount)
        || (near
            && l.code == i64::from(ledger::LINE_SETTLEMENT)
            && (l.account_no, l.channel) == (p.account_no, p.channel)
            && l.amount > p.amount)
}

/// What makes a candidate near: its reference, its account, its amount, its day.
fn distance(p: &Payment, l: &Line) -> (bool, i64, i32) {
    let amount = (l.amount.fen() - p.amount.fen()).abs();
    (
        p.account_no != l.account_no,
        amount,
        l.day.since(p.day).abs(),
    )
}

fn channel_name(number: i64) -> Option<&'static str> {
    let channel = Channel::from_number(number)?;
    let at = Channel::ALL.iter().position(|c| *c == channel)?;
    Channel::NAMES.get(at).copied()
}
