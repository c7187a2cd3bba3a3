//! Matching bank lines with what was reported, for one institution as of one day.
//!
//! Invariants: nothing here crosses an institution or an account; the result does not depend on the
//! order in which facts were learned, only on which are known; a line is claimed once; nothing is
//! matched on an amount alone. Only people match across accounts of an institution, of one kind ([`Lapse`]).
//! Absent on purpose: state between runs. Matching is a function of facts, policy and day; what a run
//! stores are the differences to the run before ([`store`]).

pub mod carried;
pub mod days;
mod facts;
pub mod known;
mod matching;
mod statements;
pub mod store;
pub mod why;

pub use facts::{
    Approval, Claim, ContractTerms, Exemption, Facts, LessonDay, LessonSums, Line, Movement,
    Payment, Span, StatedDay,
};
pub use matching::{
    By, CreditOutcome, DebitOutcome, Doubt, Group, Lapse, Matching, Members, Named, PaymentOutcome,
    Review, RuleAt, match_lines,
};
pub use statements::{
    AccountDays, Against, BrokenDay, ExpectedRange, OpenClaim, Stated, moved_by_day, open_claims,
    prove,
};

/// How a line was matched; the number in `match_line.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatchKind {
    /// One payment, one credit, by account and reference.
    OneToOne,
    /// Payments of one channel and day, one settlement credit.
    Batch,
    /// A debit and the release that approved it.
    Release,
    /// A debit and the refund it paid.
    Refund,
    /// A line and the line it undoes (冲正, 退汇).
    Reversal,
    /// One payment, several credits.
    Split,
    /// Several payments, several credits.
    Group,
}

impl MatchKind {
    pub const fn number(self) -> i64 {
        match self {
            MatchKind::OneToOne => 1,
            MatchKind::Batch => 2,
            MatchKind::Release => 3,
            MatchKind::Refund => 4,
            MatchKind::Reversal => 5,
            MatchKind::Split => 6,
            MatchKind::Group => 7,
        }
    }

    /// How so many payments are settled by so many credits.
    pub const fn of(payments: usize, credits: usize) -> MatchKind {
        match (payments, credits) {
            (1, 1) => MatchKind::OneToOne,
            (_, 1) => MatchKind::Batch,
            (1, _) => MatchKind::Split,
            _ => MatchKind::Group,
        }
    }

    /// The word in the matches report.
    pub const fn as_str(self) -> &'static str {
        match self {
            MatchKind::OneToOne => "1:1",
            MatchKind::Batch => "N:1",
            MatchKind::Release => "RELEASE",
            MatchKind::Refund => "REFUND",
            MatchKind::Reversal => "REVERSAL",
            MatchKind::Split => "1:N",
            MatchKind::Group => "N:M",
        }
    }

    pub fn from_number(number: i64) -> Option<MatchKind> {
        [
            MatchKind::OneToOne,
            MatchKind::Batch,
            MatchKind::Release,
            MatchKind::Refund,
            MatchKind::Reversal,
            MatchKind::Split,
            MatchKind::Group,
        ]
        .into_iter()
        .find(|k| k.number() == number)
    }
}

/// A line that was matched, as the run keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MatchedLine {
    pub inst_id: i64,
    pub entry_seq: i64,
    pub kind: MatchKind,
    /// The payment, the approval or the line it undoes; 0 for several payments, which are [`MatchedItem`]s.
    pub payment_seq: i64,
    /// How many payments or approvals it stands for.
    pub n: i64,
    pub amount_fen: i64,
    /// The rule that matched it: the place of its pack among the district's, oldest first, and its own place
    /// in the pack from 1. 0 for debits and lines that undo each other, whose kind says all, and for
    /// what people matched.
    pub pack: i64,
    pub rule: i64,
    /// Of the group, on its first line: credits and what the channel kept, less payments.
    pub difference_fen: i64,
    /// Of the group, on its first line: what the channel kept.
    pub fee_fen: i64,
    /// The decision that matched it instead of a rule; 0 for none.
    pub decision_no: i64,
}

/// One of several payments that are settled together, with the first line that settles them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MatchedItem {
    pub inst_id: i64,
    pub payment_seq: i64,
    pub entry_seq: i64,
}

/// A credit that the rules left to people, with a payment it may settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReviewedLine {
    pub inst_id: i64,
    pub entry_seq: i64,
    pub payment_seq: i64,
    /// As in [`MatchedLine`].
    pub pack: i64,
    pub rule: i64,
    /// [`Doubt::number`].
    pub doubt: i64,
}
