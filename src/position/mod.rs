//! What should be held, what is held, and how well that covers, per contract and institution.
//!
//! Formulae of `domain.md` §6.1 and §6.3–§6.5 on whole fen, and the sums the rates of §6.6 are made of.
//! Requirements are floored at zero per contract and summed, so nothing is netted across contracts or
//! institutions. Pure: a position is a function of facts, matching, policy and day.
//!
//! # What a sender cannot say yet
//! These parts of the formulae have no input in `interchange.md` and are left out, each on the side of more
//! being required or less being held:
//!
//! | part | what is missing |
//! |---|---|
//! | Tin, Tout (§6.1) | a file of transfers between contracts or students (转课, 转让) |
//! | suspended days of E_time | from and to of a suspension, beside an order |
//! | E_extras | the delivery of materials or board; extras stay owed until they are refunded |
//! | I, unswept interest (§6.3) | a code for interest on bank lines, and whose it is by the agreement |
//! | liens on deposits | a pledge among the kinds of `freezes.csv` |
//! | cohorts of hybrid custody (§6.4) | days of `custody_mode`, or the mode of a payment |
//! | DUAL's second deposit | which DEPOSIT account secures unconsumed lessons |
//! | PARENT_ESCROW and ECNY locks | the balance locked for each order; e-CNY is pooled like other money |
//! | SHANGHAI_CARD | last year's revenue of an institution |
//! | a regime per institution | the regime beside `custody_mode`; one policy has one regime |
//! | QualRate (§6.6) | whether an institution was reviewed |
//! | fees without an order (IntakeRate) | invoices and proven complaints |
//! | amounts by campus | campuses, and the campus of an order |
//!
//! Not built although the data exist: InstCov(effective), which waits for the rule DORMANT_ACCOUNT, and the
//! residual line of closed institutions that still owe lessons; they stay in their district.

mod dense;
mod fold;
mod formulae;
mod proof;
mod since;
pub mod store;

use serde::Serialize;

use crate::base::{Money, Ratio};

pub use fold::{Judged, OPEN_DAYS, fold, foldable_until};
pub use formulae::{Account, ContractPosition, DepositShort, Measured, Position, measure};
pub use proof::{AccountProof, Item, ItemKind, prove_accounts};
pub use since::{ContractSince, Since, Stood, needs_sweep, since};

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

/// One district's sums over its institutions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DistrictTotals {
    pub required: Money,
    pub held: Money,
    pub uncovered: Money,
    pub covered: Money,
    pub institutions: i64,
    pub uncovered_institutions: i64,
    pub unknown_institutions: i64,
    pub must_be_held: i64,
    pub under_custody: i64,
    pub red_flags: i64,
    pub amber_flags: i64,
    pub unmatched_credits: i64,
    pub accounts_expected: i64,
    pub accounts_proven: i64,
    pub missing_days: i64,
}

impl DistrictTotals {
    /// Sums districts: a city's figures are the sums of its districts', never netted.
    pub fn sum<'a>(districts: impl IntoIterator<Item = &'a DistrictTotals>) -> DistrictTotals {
        districts
            .into_iter()
            .fold(DistrictTotals::default(), |s, d| DistrictTotals {
                required: s.required.saturating_add(d.required),
                held: s.held.saturating_add(d.held),
                uncovered: s.uncovered.saturating_add(d.uncovered),
                covered: s.covered.saturating_add(d.covered),
                institutions: s.institutions + d.institutions,
                uncovered_institutions: s.uncovered_institutions + d.uncovered_institutions,
                unknown_institutions: s.unknown_institutions + d.unknown_institutions,
                must_be_held: s.must_be_held + d.must_be_held,
                under_custody: s.under_custody + d.under_custody,
                red_flags: s.red_flags + d.red_flags,
                amber_flags: s.amber_flags + d.amber_flags,
                unmatched_credits: s.unmatched_credits + d.unmatched_credits,
                accounts_expected: s.accounts_expected + d.accounts_expected,
                accounts_proven: s.accounts_proven + d.accounts_proven,
                missing_days: s.missing_days + d.missing_days,
            })
    }

    /// 金额覆盖率: Σ min(held + explained, required) ÷ Σ required.
    pub fn amount_coverage(&self) -> Option<Ratio> {
        Ratio::new(
            i128::from(self.covered.fen()),
            i128::from(self.required.fen()),
        )
    }

    /// 应托管尽托管率 (formal): institutions under a filed arrangement ÷ institutions that must be.
    pub fn custody_rate(&self) -> Option<Ratio> {
        Ratio::new(
            i128::from(self.under_custody),
            i128::from(self.must_be_held),
        )
    }
}
