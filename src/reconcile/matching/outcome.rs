//! What becomes of every movement, and the groups that settle each other.

use std::collections::HashMap;

use super::decided::Lapse;
use crate::base::{Day, Money};
use crate::reconcile::facts::{Facts, Payment};
use crate::reconcile::{Line, MatchKind, MatchedItem, MatchedLine, ReviewedLine};

/// What became of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentOutcome {
    /// A later report of a reference that another payment reported first.
    Duplicate { of: usize },
    /// Settled by the credits of a group. `late_days` count beyond the window.
    Settled { group: usize, late_days: i32 },
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
    /// Settles the payments of a group.
    Settles { group: usize },
    /// A further credit of a reference that another credit settled first.
    Duplicate { of: usize },
    /// Taken back by a debit, or itself what takes a debit back: nothing is left of either.
    Undone { debit: usize },
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

/// A rule by its place: the pack's among its district's, and its own in the pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleAt {
    pub pack: usize,
    pub rule: usize,
}

/// Who says that payments and credits settle each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Rule(RuleAt),
    /// People, by the number of their decision.
    Decision(i64),
}

/// Payments and credits that settle each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    pub by: By,
    pub kind: MatchKind,
    /// Places of its payments in [`Matching::members`], and of its credits behind them.
    from: u32,
    payments: u32,
    credits: u32,
    /// Credits and what the channel kept, less payments, in fen; 0 but where one reference
    /// names two amounts, or people accept a difference.
    pub difference: i64,
    /// What the channel kept, in fen.
    pub fee: i64,
}

/// Why open credits and payments were left to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// More than one choice of payments adds up.
    Ambiguous,
    /// The only choice of two credits holds one payment.
    Contested,
    /// There are more open payments than the rule may try.
    TooMany { candidates: usize },
}

impl Doubt {
    /// The number in `match_review.doubt`.
    pub const fn number(self) -> i64 {
        match self {
            Doubt::Ambiguous => 1,
            Doubt::Contested => 2,
            Doubt::TooMany { .. } => 3,
        }
    }

    /// The word for a number of `match_review.doubt`.
    pub const fn word(number: i64) -> &'static str {
        match number {
            1 => "ambiguous",
            2 => "contested",
            3 => "too_many",
            _ => "?",
        }
    }
}

/// A credit that a rule left to people, with payments it may settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    pub rule: RuleAt,
    pub credit: usize,
    pub doubt: Doubt,
    /// Places of payments: of all choices that were found, or of all that would have had to be tried.
    pub candidates: Vec<usize>,
}

/// The outcome of every movement, by its place in [`Facts`].
#[derive(Debug, Default)]
pub struct Matching {
    pub payments: Vec<PaymentOutcome>,
    pub credits: Vec<CreditOutcome>,
    pub debits: Vec<DebitOutcome>,
    pub groups: Vec<Group>,
    members: Vec<u32>,
    /// Fees a channel kept of settled payments, with the day of the credit.
    pub fees: Vec<(Day, Money)>,
    /// In order of credits.
    pub reviews: Vec<Review>,
    /// Pairs of a payment and a credit that people keep apart, with the number of their decision.
    pub kept_apart: HashMap<(usize, usize), i64>,
    /// Decisions that are not applied, by number, and why.
    pub lapsed: Vec<(i64, Lapse)>,
}

impl Matching {
    /// Adds a group and returns its place.
    pub(super) fn group(
        &mut self,
        (by, kind): (By, MatchKind),
        (payments, credits): (&[usize], &[usize]),
        (difference, fee): (i64, i64),
    ) -> usize {
        let place = |n: usize| u32::try_from(n).expect("one institution's movements are bounded");
        let from = place(self.members.len());
        self.members
            .extend(payments.iter().chain(credits).map(|i| place(*i)));
        self.groups.push(Group {
            by,
            kind,
            from,
            payments: place(payments.len()),
            credits: place(credits.len()),
            difference,
            fee,
        });
        self.groups.len() - 1
    }

    /// Places of a group's payments.
    pub fn payments_of(&self, group: usize) -> impl ExactSizeIterator<Item = usize> + '_ {
        let g = self.groups[group];
        let from = g.from as usize;
        self.members[from..from + g.payments as usize]
            .iter()
            .map(|i| *i as usize)
    }

    /// Places of a group's credits, in order of their days.
    pub fn credits_of(&self, group: usize) -> impl ExactSizeIterator<Item = usize> + '_ {
        let g = self.groups[group];
        let from = (g.from + g.payments) as usize;
        self.members[from..from + g.credits as usize]
            .iter()
            .map(|i| *i as usize)
    }

    /// When a settled payment had arrived in full, and how much of it: where one payment has its credits for
    /// itself, what they bring; else its own amount, since a batch that did not add up would be no match of a
    /// rule. Of a difference that people accept between several payments and their credits, the earliest payments
    /// have arrived first and the last one has the rest.
    pub fn arrived(&self, facts: &Facts, group: usize, payment: &Payment) -> (Day, Money) {
        let day = |i: usize| facts.credits[i].day;
        let arrived = self.credits_of(group).map(day).max().unwrap_or(payment.day);
        let g = self.groups[group];
        let amount = if g.difference == 0 || g.payments == 1 {
            payment.amount.fen().saturating_add(g.difference)
        } else {
            self.share(facts, group, payment)
        };
        (arrived, Money::from_fen(amount))
    }

    /// What of a group's credits is left for a payment after those before it.
    fn share(&self, facts: &Facts, group: usize, payment: &Payment) -> i64 {
        let fen = |i: usize| facts.payments[i].amount.fen();
        let total = self.payments_of(group).map(fen).sum::<i64>();
        let mut left = total.saturating_add(self.groups[group].difference);
        let last = self.payments_of(group).last();
        for i in self.payments_of(group) {
            if facts.payments[i].seq == payment.seq {
                return if last == Some(i) {
                    left
                } else {
                    left.min(fen(i))
                }
                .max(0);
            }
            left -= fen(i).min(left.max(0));
        }
        0
    }

    /// The lines that were matched.
    pub fn lines(&self, facts: &Facts) -> Vec<MatchedLine> {
        let mut lines = Vec::new();
        let line = |entry: &Line, kind: MatchKind, payment_seq: i64| MatchedLine {
            inst_id: facts.inst_id,
            entry_seq: entry.seq,
            kind,
            payment_seq,
            n: 1,
            amount_fen: entry.amount.fen(),
            pack: 0,
            rule: 0,
            difference_fen: 0,
            fee_fen: 0,
            decision_no: 0,
        };
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        for (place, g) in self.groups.iter().enumerate() {
            let only = (g.payments == 1)
                .then(|| self.payments_of(place).next())
                .flatten();
            let payment_seq = only.map_or(0, |i| facts.payments[i].seq);
            let (pack, rule, decision_no) = match g.by {
                By::Rule(at) => (number(at.pack), number(at.rule) + 1, 0),
                By::Decision(decision_no) => (0, 0, decision_no),
            };
            for (at, credit) in self.credits_of(place).enumerate() {
                let first = at == 0;
                lines.push(MatchedLine {
                    n: number(g.payments as usize),
                    pack,
                    rule,
                    decision_no,
                    difference_fen: if first { g.difference } else { 0 },
                    fee_fen: if first { g.fee } else { 0 },
                    ..line(&facts.credits[credit], g.kind, payment_seq)
                });
            }
        }
        for (entry, outcome) in facts.credits.iter().zip(&self.credits) {
            if let CreditOutcome::Undone { debit } = outcome {
                lines.push(line(entry, MatchKind::Reversal, facts.debits[*debit].seq));
            }
        }
        for (entry, outcome) in facts.debits.iter().zip(&self.debits) {
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
            lines.push(line(entry, kind, seq));
        }
        lines
    }

    /// The payments of groups with several, each with the first of its credits.
    pub fn items(&self, facts: &Facts) -> Vec<MatchedItem> {
        let mut items = Vec::new();
        for (place, _) in self
            .groups
            .iter()
            .enumerate()
            .filter(|(_, g)| g.payments > 1)
        {
            let first = self.credits_of(place).next();
            let entry_seq = first.map_or(0, |i| facts.credits[i].seq);
            items.extend(self.payments_of(place).map(|i| MatchedItem {
                inst_id: facts.inst_id,
                payment_seq: facts.payments[i].seq,
                entry_seq,
            }));
        }
        items
    }

    /// What is left to people, one row a candidate.
    pub fn reviewed(&self, facts: &Facts) -> Vec<ReviewedLine> {
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        (self.reviews.iter())
            .flat_map(|r| (r.candidates.iter()).map(move |i| (r, *i)))
            .map(|(r, payment)| ReviewedLine {
                inst_id: facts.inst_id,
                entry_seq: facts.credits[r.credit].seq,
                payment_seq: facts.payments[payment].seq,
                pack: number(r.rule.pack),
                rule: number(r.rule.rule) + 1,
                doubt: r.doubt.number(),
            })
            .collect()
    }
}
