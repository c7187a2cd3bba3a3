//! Matching bank lines with what was reported, for one institution as of one day.
//!
//! Invariants: nothing here crosses an institution or an account; the result does not depend on the
//! order in which facts were learned, only on which are known; a line is claimed once; nothing is
//! matched on an amount alone.
//! Absent on purpose: state between runs. Matching is a function of facts, policy and day; what a run
//! stores are the differences to the run before ([`store`]).

pub mod days;
mod facts;
mod matching;
mod statements;
pub mod store;

pub use facts::{
    Approval, Claim, ContractTerms, Exemption, Facts, LessonDay, LessonSums, Line, Movement,
    Payment, Span, StatedDay,
};
pub use matching::{CreditOutcome, DebitOutcome, Matching, PaymentOutcome, match_lines};
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
}

impl MatchKind {
    pub const fn number(self) -> i64 {
        match self {
            MatchKind::OneToOne => 1,
            MatchKind::Batch => 2,
            MatchKind::Release => 3,
            MatchKind::Refund => 4,
            MatchKind::Reversal => 5,
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
        }
    }

    pub fn from_number(number: i64) -> Option<MatchKind> {
        [
            MatchKind::OneToOne,
            MatchKind::Batch,
            MatchKind::Release,
            MatchKind::Refund,
            MatchKind::Reversal,
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
    /// The payment, the approval or the line it undoes; 0 for a batch, which has [`MatchedItem`]s.
    pub payment_seq: i64,
    /// How many payments or approvals it stands for.
    pub n: i64,
    pub amount_fen: i64,
}

/// A payment that a batch's line holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MatchedItem {
    pub inst_id: i64,
    pub payment_seq: i64,
    pub entry_seq: i64,
}
