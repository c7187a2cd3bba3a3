//! What is said of a movement: data for programs, with the words for people made where they are read.

use serde::Serialize;

use super::Veto;
use crate::base::{Day, Money};

/// One movement by its place in [`Facts`](crate::reconcile::Facts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum At {
    Payment(usize),
    Credit(usize),
    Debit(usize),
    Release(usize),
    Refund(usize),
}

/// A movement as people know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    pub kind: &'static str,
    pub id: String,
    pub account_no: i64,
    pub day: Day,
    pub amount: Money,
    pub reference: String,
    pub channel: Option<&'static str>,
}

/// The rule that matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NamedRule {
    pub pack: String,
    pub rule: String,
    pub method: &'static str,
}

/// The people who matched, or keep apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NamedDecision {
    pub decision: String,
    pub by: String,
    pub approved_by: String,
    pub reason: String,
}

/// A field that a method compares, and both sides of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compared {
    pub field: &'static str,
    pub reported: String,
    pub banked: String,
}

/// A candidate that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Near {
    pub candidate: Moved,
    pub vetoes: Vec<Veto>,
}

/// What became of a movement and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Why {
    pub subject: Moved,
    pub outcome: &'static str,
    pub rule: Option<NamedRule>,
    /// The decision that matched it instead of a rule.
    pub decision: Option<NamedDecision>,
    pub compared: Vec<Compared>,
    /// What it was matched with, or what it repeats.
    pub with: Vec<Moved>,
    pub difference: Money,
    pub fee: Money,
    pub near: Vec<Near>,
}

impl NamedDecision {
    pub fn english(&self) -> String {
        let NamedDecision {
            decision,
            by,
            approved_by,
            reason,
        } = self;
        format!("decision {decision} of {by}, approved by {approved_by}: {reason}")
    }

    pub fn chinese(&self) -> String {
        let NamedDecision {
            decision,
            by,
            approved_by,
            reason,
        } = self;
        format!("{by} 提出、{approved_by} 复核的决定 {decision}：{reason}")
    }
}
