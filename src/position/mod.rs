//! What should be held, what is held, and how well that covers, per contract and institution.
//!
//! Formulae of `domain.md` §6.1 and §6.3–§6.6, all on whole fen. Requirements are floored at zero per
//! contract and summed, so nothing is netted across contracts or institutions. Pure: a position is a
//! function of facts, matching, policy and day.

mod formulae;
pub mod store;

use serde::Serialize;

pub use formulae::{Account, ContractPosition, Measured, Position, measure};

/// Coverage status of an institution, first that applies (`domain.md` §6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// An account that owes a statement has none proven: never shown as coverage.
    Unknown,
    /// Nothing is required.
    NotApplicable,
    /// Uncovered funds.
    Short,
    /// Short on the bank's balance, fully explained by money in transit.
    Timing,
    Covered,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Unknown => "UNKNOWN",
            Status::NotApplicable => "NOT_APPLICABLE",
            Status::Short => "SHORT",
            Status::Timing => "TIMING",
            Status::Covered => "COVERED",
        }
    }

    pub const fn chinese(self) -> &'static str {
        match self {
            Status::Unknown => "数据不全",
            Status::NotApplicable => "无应托管额",
            Status::Short => "有缺口",
            Status::Timing => "在途",
            Status::Covered => "足额",
        }
    }

    pub const fn number(self) -> i64 {
        match self {
            Status::Unknown => 0,
            Status::NotApplicable => 1,
            Status::Short => 2,
            Status::Timing => 3,
            Status::Covered => 4,
        }
    }

    pub const fn from_number(number: i64) -> Option<Status> {
        match number {
            0 => Some(Status::Unknown),
            1 => Some(Status::NotApplicable),
            2 => Some(Status::Short),
            3 => Some(Status::Timing),
            4 => Some(Status::Covered),
            _ => None,
        }
    }
}

