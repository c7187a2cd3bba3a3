//! The rules, in order: lines that undo each other, reports of one reference, reference matches, channel batches, debits.

mod reversals;

use std::collections::HashMap;

use super::facts::{Facts, Line, Payment};
use super::{MatchKind, MatchedItem, MatchedLine};
use crate::base::{Day, Money};
use crate::ledger;
use crate::policy::{Channel, Policy};
use crate::registry::AccountKind;
use crate::store::days;
use reversals::Pair;

/// What became of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentOutcome {
    /// A later report of a reference that another payment reported first.
    Duplicate { of: usize },
    /// Settled by the credit with its reference. `late_days` count beyond the window.
    Matched {
        credit: usize,
        difference: i64,
        late_days: i32,
    },
    /// Settled with others by one credit.
    Batched { credit: usize, late_days: i32 },
    /// Not credited, still inside its window.
    InTransit { window_end: Day },
    /// Not credited, and the window is over.
    Overdue { window_end: Day },
    /// Reported into an account that owes no statements, and not seen there: nothing can be said.
    NotTested,
}

/// What became of a credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreditOutcome {
    Matched {
        payment: usize,
    },
    /// The settlement of a batch of `payments` payments.
    Batch {
        payments: usize,
    },
    /// A further credit of a reference that another credit settled first.
    Duplicate {
        of: usize,
    },
    /// Taken back by a debit, or itself what takes a debit back: nothing is left of either.
    Undone {
        debit: usize,
    },
    /// Settles nothing that was reported.
    Unmatched,
    /// Settles nothing that was reported, on an account where that is the institution's own business.
    NotTested,
}

/// What became of a debit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebitOutcome {
    Release {
        release: usize,
    },
    Refund {
        refund: usize,
    },
    /// Taken back by a credit, or itself what takes a credit back.
    Undone {
        credit: usize,
    },
    Unauthorised,
    NotTested,
}

/// The outcome of every movement, by its place in [`Facts`].
#[derive(Debug, Default)]
pub struct Matching {
    pub payments: Vec<PaymentOutcome>,
    pub credits: Vec<CreditOutcome>,
    pub debits: Vec<DebitOutcome>,
    /// Fees a channel kept of settled batches, with the day of the credit.
    pub fees: Vec<(Day, Money)>,
}

impl Matching {
    /// The lines that were matched.
    pub fn lines(&self, facts: &Facts) -> Vec<MatchedLine> {
        let mut lines = Vec::new();
        let mut matched = |line: &Line, kind: MatchKind, payment_seq: i64, n: i64| {
            lines.push(MatchedLine {
                inst_id: facts.inst_id,
                entry_seq: line.seq,
                kind,
                payment_seq,
                n,
                amount_fen: line.amount.fen(),
            });
        };
        for (line, outcome) in facts.credits.iter().zip(&self.credits) {
            match outcome {
                CreditOutcome::Matched { payment } => {
                    matched(line, MatchKind::OneToOne, facts.payments[*payment].seq, 1);
                }
                CreditOutcome::Batch { payments } => {
                    let n = i64::try_from(*payments).unwrap_or(i64::MAX);
                    matched(line, MatchKind::Batch, 0, n);
                }
                CreditOutcome::Undone { debit } => {
                    matched(line, MatchKind::Reversal, facts.debits[*debit].seq, 1);
                }
                _ => {}
            }
        }
        for (line, outcome) in facts.debits.iter().zip(&self.debits) {
            let (kind, seq) = match outcome {
                DebitOutcome::Release { release } => {
                    (MatchKind::Release, facts.releases[*release].seq)
                }
                DebitOutcome::Refund { refund } => (MatchKind::Refund, facts.refunds[*refund].seq),
                DebitOutcome::Undone { credit } => {
                    (MatchKind::Reversal, facts.credits[*credit].seq)
                }
                _ => continue,
            };
            matched(line, kind, seq, 1);
        }
        lines
    }

    /// The payments that batches hold.
    pub fn items(&self, facts: &Facts) -> Vec<MatchedItem> {
        facts
            .payments
            .iter()
            .zip(&self.payments)
            .filter_map(|(p, outcome)| match outcome {
                PaymentOutcome::Batched { credit, .. } => Some(MatchedItem {
                    inst_id: facts.inst_id,
                    payment_seq: p.seq,
                    entry_seq: facts.credits[*credit].seq,
                }),
                _ => None,
            })
            .collect()
    }
}

/// Matches an institution's movements up to `day`. `kind_of` tells an account's kind.
pub fn match_lines(
    facts: &Facts,
    policy: &Policy,
    day: Day,
    kind_of: impl Fn(i64) -> AccountKind,
) -> Matching {
    let mut m = Matcher {
        facts,
        policy,
        payments: vec![None; facts.payments.len()],
        credits: vec![None; facts.credits.len()],
        fees: Vec::new(),
    };
    let undone = reversals::pairs(facts);
    for pair in &undone {
        m.credits[pair.credit] = Some(CreditOutcome::Undone { debit: pair.debit });
    }
    m.by_reference();
    m.by_settlement();
    m.by_batch_sum();
    let payments = facts
        .payments
        .iter()
        .zip(m.payments)
        .map(|(p, outcome)| match outcome {
            Some(outcome) => outcome,
            None if kind_of(p.account_no) == AccountKind::Custody => unsettled(policy, p, day),
            None => PaymentOutcome::NotTested,
        })
        .collect();
    let credits = facts
        .credits
        .iter()
        .zip(m.credits)
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
    Matching {
        payments,
        credits,
        debits: match_debits(facts, &undone, kind_of),
        fees: m.fees,
    }
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

struct Matcher<'a> {
    facts: &'a Facts,
    policy: &'a Policy,
    payments: Vec<Option<PaymentOutcome>>,
    credits: Vec<Option<CreditOutcome>>,
    fees: Vec<(Day, Money)>,
}

impl<'a> Matcher<'a> {
    fn late_days(&self, p: &Payment, credited: Day) -> i32 {
        let end = self.policy.window_end(channel(p.channel), p.day);
        self.policy.days_beyond(end, credited)
    }

    /// The first report of a reference counts, and the first credit of it settles.
    fn by_reference(&mut self) {
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
            (
                l.account_no,
                facts.text(l.reference),
                l.day,
                facts.text(l.id),
            )
        };
        credits.sort_unstable_by(|a, b| credit_key(a).cmp(&credit_key(b)));
        let mut c = 0;
        let mut first: Option<usize> = None;
        for i in reports {
            let p = &facts.payments[i];
            let key = (p.account_no, facts.text(p.reference));
            if let Some(f) = first {
                let q = &facts.payments[f];
                if (q.account_no, facts.text(q.reference)) == key {
                    self.payments[i] = Some(PaymentOutcome::Duplicate { of: f });
                    continue;
                }
            }
            first = Some(i);
            if channel(p.channel).settles_in_batches() {
                continue;
            }
            let line_key = |at: usize| {
                let l: &Line = &facts.credits[credits[at]];
                (l.account_no, facts.text(l.reference))
            };
            while c < credits.len() && line_key(c) < key {
                c += 1;
            }
            if c < credits.len() && line_key(c) == key {
                let winner = credits[c];
                let line = &facts.credits[winner];
                self.payments[i] = Some(PaymentOutcome::Matched {
                    credit: winner,
                    difference: line.amount.fen() - p.amount.fen(),
                    late_days: self.late_days(p, line.day),
                });
                self.credits[winner] = Some(CreditOutcome::Matched { payment: i });
                c += 1;
                while c < credits.len() && line_key(c) == key {
                    self.credits[credits[c]] = Some(CreditOutcome::Duplicate { of: winner });
                    c += 1;
                }
            }
        }
    }

    /// A settlement the channel itself described: its number is the credit's reference, its net the
    /// credit's amount, its gross the sum of the payments it covers.
    fn by_settlement(&mut self) {
        let facts = self.facts;
        if facts.settlements.is_empty() {
            return;
        }
        let mut by_reference: HashMap<(i64, &str), Vec<usize>> = HashMap::new();
        for (i, line) in facts.credits.iter().enumerate() {
            if self.credits[i].is_none() {
                by_reference
                    .entry((line.account_no, facts.text(line.reference)))
                    .or_default()
                    .push(i);
            }
        }
        let mut by_channel: HashMap<(i64, i64), Vec<(i64, usize)>> = HashMap::new();
        for (i, p) in facts.payments.iter().enumerate() {
            if self.payments[i].is_none() {
                let day = days::number(p.day);
                by_channel
                    .entry((p.account_no, p.channel))
                    .or_default()
                    .push((day, i));
            }
        }
        by_channel
            .values_mut()
            .for_each(|open| open.sort_unstable());
        let mut settlements: Vec<_> = facts.settlements.iter().collect();
        settlements.sort_by(|a, b| {
            (a.account_no, a.period_from_day, &a.batch_no).cmp(&(
                b.account_no,
                b.period_from_day,
                &b.batch_no,
            ))
        });
        for s in settlements {
            let Some(lines) = by_reference.get(&(s.account_no, s.batch_no.as_str())) else {
                continue;
            };
            let Some(credit) = lines
                .iter()
                .copied()
                .filter(|i| {
                    self.credits[*i].is_none() && facts.credits[*i].amount.fen() == s.net_fen
                })
                .min_by_key(|i| (facts.credits[*i].day, facts.text(facts.credits[*i].id)))
            else {
                continue;
            };
            let open = by_channel
                .get(&(s.account_no, s.channel))
                .map_or(&[][..], Vec::as_slice);
            let from = open.partition_point(|(day, _)| *day < s.period_from_day);
            let members: Vec<usize> = open[from..]
                .iter()
                .take_while(|(day, _)| *day <= s.period_to_day)
                .map(|(_, i)| *i)
                .filter(|i| self.payments[*i].is_none())
                .collect();
            let gross: i128 = members
                .iter()
                .map(|i| i128::from(facts.payments[*i].amount.fen()))
                .sum();
            if members.is_empty() || gross != i128::from(s.gross_fen) {
                continue;
            }
            self.settle(&members, credit);
            if s.fee_fen > 0 {
                self.fees
                    .push((facts.credits[credit].day, Money::from_fen(s.fee_fen)));
            }
        }
    }

    /// Terminals without a reference: all payments of one account, channel and day are one credit of
    /// that channel with their sum, inside the search window. Where several fit, the earliest batch
    /// takes the earliest credit.
    fn by_batch_sum(&mut self) {
        let facts = self.facts;
        let mut groups: HashMap<(i64, i64, Day), Vec<usize>> = HashMap::new();
        for (i, p) in facts.payments.iter().enumerate() {
            if self.payments[i].is_none() && channel(p.channel).settles_in_batches() {
                groups
                    .entry((p.account_no, p.channel, p.day))
                    .or_default()
                    .push(i);
            }
        }
        if groups.is_empty() {
            return;
        }
        let mut credits: HashMap<(i64, i64, i64), Vec<usize>> = HashMap::new();
        for (i, l) in facts.credits.iter().enumerate() {
            if self.credits[i].is_none() && l.code == i64::from(ledger::LINE_SETTLEMENT) {
                credits
                    .entry((l.account_no, l.channel, l.amount.fen()))
                    .or_default()
                    .push(i);
            }
        }
        for lines in credits.values_mut() {
            lines.sort_unstable_by_key(|i| {
                (facts.credits[*i].day, facts.text(facts.credits[*i].id))
            });
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_unstable_by_key(|(key, _)| *key);
        for ((account_no, channel_no, day), members) in groups {
            let sum: i128 = members
                .iter()
                .map(|i| i128::from(facts.payments[*i].amount.fen()))
                .sum();
            let Ok(sum) = i64::try_from(sum) else {
                continue;
            };
            let Some(lines) = credits.get(&(account_no, channel_no, sum)) else {
                continue;
            };
            let last = day.plus(self.policy.windows.batch_search_days);
            let credit = lines.iter().copied().find(|i| {
                let l = &facts.credits[*i];
                self.credits[*i].is_none() && l.day >= day && l.day <= last
            });
            if let Some(credit) = credit {
                self.settle(&members, credit);
            }
        }
    }

    fn settle(&mut self, members: &[usize], credit: usize) {
        let credited = self.facts.credits[credit].day;
        for i in members {
            let late_days = self.late_days(&self.facts.payments[*i], credited);
            self.payments[*i] = Some(PaymentOutcome::Batched { credit, late_days });
        }
        self.credits[credit] = Some(CreditOutcome::Batch {
            payments: members.len(),
        });
    }
}

/// A debit is authorised by a release of its account or a refund of the institution that it names, for
/// the same amount; each approval is used once, by the earliest debit.
fn match_debits(
    facts: &Facts,
    undone: &[Pair],
    kind_of: impl Fn(i64) -> AccountKind,
) -> Vec<DebitOutcome> {
    let mut outcomes: Vec<DebitOutcome> = facts
        .debits
        .iter()
        .map(|l| match kind_of(l.account_no) {
            AccountKind::Custody | AccountKind::Deposit => DebitOutcome::Unauthorised,
            AccountKind::Settlement | AccountKind::Undeclared => DebitOutcome::NotTested,
        })
        .collect();
    for pair in undone {
        outcomes[pair.debit] = DebitOutcome::Undone {
            credit: pair.credit,
        };
    }
    if facts.debits.is_empty() {
        return outcomes;
    }
    let releases: HashMap<&str, usize> = facts
        .releases
        .iter()
        .enumerate()
        .map(|(i, a)| (facts.text(a.id), i))
        .collect();
    let refunds: HashMap<&str, usize> = facts
        .refunds
        .iter()
        .enumerate()
        .map(|(i, a)| (facts.text(a.id), i))
        .collect();
    let mut used_releases = vec![false; facts.releases.len()];
    let mut used_refunds = vec![false; facts.refunds.len()];
    let mut order: Vec<usize> = (0..facts.debits.len()).collect();
    order.sort_unstable_by_key(|i| (facts.debits[*i].day, facts.text(facts.debits[*i].id)));
    for i in order {
        if outcomes[i] != DebitOutcome::Unauthorised {
            continue;
        }
        let line = &facts.debits[i];
        let reference = facts.text(line.reference);
        if let Some(at) = releases.get(reference) {
            let a = &facts.releases[*at];
            if a.account_no == line.account_no && a.amount == line.amount && !used_releases[*at] {
                used_releases[*at] = true;
                outcomes[i] = DebitOutcome::Release { release: *at };
                continue;
            }
        }
        if let Some(at) = refunds.get(reference)
            && facts.refunds[*at].amount == line.amount
            && !used_refunds[*at]
        {
            used_refunds[*at] = true;
            outcomes[i] = DebitOutcome::Refund { refund: *at };
        }
    }
    outcomes
}

#[cfg(test)]
mod tests;
