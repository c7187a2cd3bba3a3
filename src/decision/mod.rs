//! What people decided beside the rules: movements belong together or do not, a finding is written off or waived.
//!
//! Invariants: a decision holds once another person than its author has approved it, until it is undone or its
//! last day is over; its members are named by their senders' ids with the amounts they had, so that a revision
//! neither loses a decision nor slips under it; nothing here changes a fact, so no order is ever edited to agree
//! with the bank.
//! Absent on purpose: who may decide. Names are as given, until people sign in.

pub mod store;

use std::fmt;
use std::str::FromStr;

use crate::base::{Day, FlagCode, Instant, Money};
use crate::wire::interchange::plain_reference;

/// Calendar days a waiver may hold at most: a quarter.
pub const WAIVED_DAYS_MAX: i32 = 92;

/// `D1.3`: the third decision about the institution numbered 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecisionId {
    pub inst_id: i64,
    pub decision_no: i64,
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "D{}.{}", self.inst_id, self.decision_no)
    }
}

impl FromStr for DecisionId {
    type Err = String;

    fn from_str(text: &str) -> Result<DecisionId, String> {
        let numbers = text.strip_prefix(['D', 'd']).and_then(|t| {
            let (inst_id, decision_no) = t.split_once('.')?;
            Some((inst_id.parse().ok()?, decision_no.parse().ok()?))
        });
        numbers
            .map(|(inst_id, decision_no)| DecisionId {
                inst_id,
                decision_no,
            })
            .ok_or_else(|| format!("{text:?} is not a decision such as D1.3"))
    }
}

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecisionKind {
    /// Payments and lines settle each other.
    Match,
    /// Payments and lines do not settle each other, whatever the rules say.
    Unmatch,
    /// A finding about a fact is closed for good.
    WriteOff,
    /// A finding is left out for a time.
    Waive,
}

impl DecisionKind {
    const ALL: [DecisionKind; 4] = [
        DecisionKind::Match,
        DecisionKind::Unmatch,
        DecisionKind::WriteOff,
        DecisionKind::Waive,
    ];

    pub const fn number(self) -> i64 {
        match self {
            DecisionKind::Match => 1,
            DecisionKind::Unmatch => 2,
            DecisionKind::WriteOff => 3,
            DecisionKind::Waive => 4,
        }
    }

    pub fn from_number(number: i64) -> Option<DecisionKind> {
        Self::ALL.into_iter().find(|k| k.number() == number)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            DecisionKind::Match => "match",
            DecisionKind::Unmatch => "unmatch",
            DecisionKind::WriteOff => "write_off",
            DecisionKind::Waive => "waive",
        }
    }
}

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Approved,
    Rejected,
    Undone,
}

impl Step {
    const ALL: [Step; 3] = [Step::Approved, Step::Rejected, Step::Undone];

    pub const fn number(self) -> i64 {
        match self {
            Step::Approved => 1,
            Step::Rejected => 2,
            Step::Undone => 3,
        }
    }

    pub fn from_number(number: i64) -> Option<Step> {
        Self::ALL.into_iter().find(|s| s.number() == number)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Step::Approved => "approved",
            Step::Rejected => "rejected",
            Step::Undone => "undone",
        }
    }
}

/// Somebody's word on a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub step: Step,
    pub by: String,
    pub reason: String,
    pub at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    Payment,
    Line,
}

impl Side {
    pub const fn number(self) -> i64 {
        match self {
            Side::Payment => 1,
            Side::Line => 2,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Side::Payment => "payment",
            Side::Line => "line",
        }
    }
}

/// A movement that a match or unmatch is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub side: Side,
    /// Of a line, whose id is its bank's; 0 for a payment.
    pub account_no: i64,
    pub id: String,
    /// What it was when this was proposed.
    pub amount: Money,
}

/// The finding that a write-off or waiver is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub code: FlagCode,
    pub subject: String,
    /// Of a bank line; 0 else.
    pub account_no: i64,
    /// `None` for a state, which has no day of its own.
    pub date: Option<Day>,
}

/// A proposal with what became of it, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub id: DecisionId,
    pub kind: DecisionKind,
    pub about: Option<About>,
    pub members: Vec<Member>,
    /// The finding's amount, or the difference that a match accepts.
    pub amount: Money,
    /// The last as-of day on which it holds.
    pub expires: Option<Day>,
    pub proposed_by: String,
    pub reason: String,
    pub proposed_at: Instant,
    /// In the order it was said.
    pub said: Vec<Said>,
}

impl Decision {
    pub fn is_open(&self) -> bool {
        self.said.is_empty()
    }

    /// Who approved it, unless it was undone since.
    pub fn approved(&self) -> Option<&Said> {
        self.said.last().filter(|s| s.step == Step::Approved)
    }

    /// What is wrong with it as a record, whoever wrote it.
    pub fn broken(&self) -> Option<&'static str> {
        let steps: Vec<Step> = self.said.iter().map(|s| s.step).collect();
        let has = |side| self.members.iter().any(|m| m.side == side);
        let is_whole = has(Side::Payment) && has(Side::Line);
        let approver = self.said.iter().find(|s| s.step == Step::Approved);
        let of_findings = matches!(self.kind, DecisionKind::WriteOff | DecisionKind::Waive);
        if !matches!(
            steps[..],
            [] | [Step::Approved] | [Step::Rejected] | [Step::Approved, Step::Undone]
        ) {
            Some("was decided in a wrong order")
        } else if approver.is_some_and(|s| same_person(&s.by, &self.proposed_by)) {
            Some("was approved by its author")
        } else if of_findings != self.about.is_some() {
            Some("is about no finding where it should be, or about one where it should not")
        } else if !of_findings && !is_whole {
            Some("has no member on one side")
        } else if self.kind == DecisionKind::Waive && self.expires.is_none() {
            Some("is a waiver without end")
        } else {
            None
        }
    }

    pub fn has_expired(&self, day: Day) -> bool {
        self.expires.is_some_and(|last| last < day)
    }

    /// True where it is to be applied as of a day.
    pub fn holds_on(&self, day: Day) -> bool {
        self.approved().is_some() && !self.has_expired(day)
    }
}

/// True where two names are one person's, as far as case, spaces and widths of letters go.
pub fn same_person(one: &str, other: &str) -> bool {
    let plain = |name: &str| -> String {
        let name = plain_reference(name);
        let letters = name.chars().filter(|c| !c.is_whitespace());
        letters.flat_map(char::to_lowercase).collect()
    };
    plain(one) == plain(other)
}

/// True where a finding of this code may be closed for good: it is about a fact that will not change by waiting.
pub const fn may_be_written_off(code: FlagCode) -> bool {
    matches!(
        code,
        FlagCode::AmountMismatch
            | FlagCode::UnmatchedCredit
            | FlagCode::DuplicateCredit
            | FlagCode::DuplicateReport
            | FlagCode::LateCredit
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_persons_whatever_their_case_and_spaces() {
        assert!(same_person("Wang Li", "wangli"));
        assert!(same_person("王 丽", " 王丽　"));
        assert!(same_person("Ｗａｎｇ", "WANG"));
        assert!(!same_person("Wang Li", "Wang Lin"));
    }

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = DecisionId {
            inst_id: 12,
            decision_no: 3,
        };
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "D1", "1.3", "D1.x", "D.3", "DD1.3"] {
            assert!(text.parse::<DecisionId>().is_err(), "{text}");
        }
    }
}
