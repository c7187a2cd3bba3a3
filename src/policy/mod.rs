//! Parameters in force: every legal number is data with its basis, never a constant in code.
//!
//! A policy is a document (TOML); its bytes decide its version. A run names the version it used, so
//! the same (as-of day, known-at instant, version) gives the same figures for ever.
//! Absent on purpose: editing a version. Another text is another version.

pub mod calendar;
mod rules;
mod store;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{Day, FlagCode, Severity};

pub use calendar::{CHINA, Calendar, Deadline};
pub use rules::{
    CANDIDATES_MAX, CREDITS_MAX, DayUnit, MatchRule, Method, PARTS_MAX, RulePack, Tolerance, Within,
};
pub use store::{PolicyVersion, named, numbered};

const BUILT_IN: [&str; 2] = [include_str!("default.toml"), include_str!("workload.toml")];

/// The name of the policy used where none is given.
pub const DEFAULT: &str = "default";

/// One version's parameters.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub name: String,
    pub title: String,
    pub held: Held,
    pub explained: Explained,
    pub windows: Windows,
    pub lessons: Lessons,
    pub release: Release,
    pub deposit: Deposit,
    pub statements: Statements,
    pub coverage: Coverage,
    pub uncovered_red: UncoveredRed,
    pub tiers: Tiers,
    /// By which rules lines are matched, where and from when on.
    pub rule_packs: Vec<RulePack>,
    /// Findings this policy raises; a code that is not listed is not raised.
    pub flags: BTreeMap<String, FlagRule>,
    #[serde(default)]
    pub legal_basis: Vec<LegalBasis>,
}

/// What counts as held (`domain.md` §6.3).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    pub unidentified_counts: bool,
    pub unfiled_accounts_count: bool,
}

/// What explains a gap (`domain.md` §6.5).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explained {
    pub in_transit: bool,
    pub fee_window_days: i32,
}

/// Days a channel may take from capture to credit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    pub unit: DayUnit,
    pub transfer: i32,
    pub wechat: i32,
    pub alipay: i32,
    pub pos: i32,
    pub qr: i32,
    pub ecny: i32,
    pub cash: i32,
}

/// Who bears a gift lesson (`domain.md` §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GiftRule {
    /// Gift lessons share the price; the liability lasts to the last lesson.
    Pooled,
    /// Gift lessons are worth nothing and are used last.
    GiftZero,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lessons {
    pub gift: GiftRule,
}

/// When money may leave a custody account (`domain.md` §2.1, §6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regime {
    /// In step with confirmed lessons; weekly settlement, dual accounts and e-CNY release the same value.
    #[serde(alias = "weekly", alias = "dual", alias = "ecny")]
    OneLesson,
    /// The whole order, once all of it is consumed and a time for appeals has passed.
    OrderEnd,
    /// Equal monthly parts, whatever was taught.
    Tranche,
    /// A share of the fees of the last months stays in the account.
    ReserveRatio,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    pub regime: Regime,
    /// Working days between the last lesson and the release, at the end of an order.
    pub order_end_days: i32,
    /// Parts of a release by tranches, one a month, each due at the end of its month.
    pub tranches: u32,
    /// Share of the fees of the last `reserve_months` months that a reserve ratio keeps.
    pub reserve_bp: i64,
    pub reserve_months: u32,
}

/// What a risk deposit is measured against (`domain.md` §6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DepositBasis {
    /// The minimum stated with the account.
    Minimum,
    /// The larger of that minimum, the policy's floor and all students' fees of one charging cycle.
    ChargingCycle,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deposit {
    pub basis: DepositBasis,
    pub cycle_months: u32,
    pub kappa_bp: i64,
    pub floor_fen: i64,
}

/// On which days an account owes a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// Every day between the first and the last statement date known.
    Bundle,
    /// Working days from the account's first known statement.
    Working,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statements {
    pub expected: Expected,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    pub unknown_counts_as_zero: bool,
}

/// From when uncovered funds are red.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UncoveredRed {
    pub share_bp: i64,
    pub amount_fen: i64,
}

/// Tiers of a coverage rate on pages, in basis points.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tiers {
    pub full_bp: i64,
    pub watch_bp: i64,
    pub amber_bp: i64,
}

/// How a finding is raised.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlagRule {
    pub severity: Severity,
    /// Working days to cure, counted from the day the condition was first true; absent = no deadline.
    pub cure_days: Option<i32>,
    /// Working days after which an amber finding turns red.
    pub red_after_days: Option<i32>,
}

/// Where a parameter comes from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LegalBasis {
    pub parameter: String,
    pub title: String,
    pub rule: String,
    pub verified: bool,
}

/// How a fee reached the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    Transfer,
    Wechat,
    Alipay,
    Pos,
    Qr,
    Cash,
    Ecny,
}

impl Channel {
    pub const ALL: [Channel; 7] = [
        Channel::Transfer,
        Channel::Wechat,
        Channel::Alipay,
        Channel::Pos,
        Channel::Qr,
        Channel::Cash,
        Channel::Ecny,
    ];
    /// The values of `channel` in interchange files, in [`Channel::ALL`]'s order.
    pub const NAMES: [&'static str; 7] =
        ["TRANSFER", "WECHAT", "ALIPAY", "POS", "QR", "CASH", "ECNY"];

    pub fn from_name(name: &str) -> Option<Channel> {
        Channel::NAMES
            .iter()
            .position(|n| *n == name)
            .map(|i| Channel::ALL[i])
    }

    /// The number the ledger keeps; 0 stands for none.
    pub const fn number(self) -> i64 {
        match self {
            Channel::Transfer => 1,
            Channel::Wechat => 2,
            Channel::Alipay => 3,
            Channel::Pos => 4,
            Channel::Qr => 5,
            Channel::Cash => 6,
            Channel::Ecny => 7,
        }
    }

    pub fn from_number(number: i64) -> Option<Channel> {
        Channel::ALL.into_iter().find(|c| c.number() == number)
    }

    /// Terminals settle in batches without the payer's reference.
    pub const fn settles_in_batches(self) -> bool {
        matches!(self, Channel::Pos | Channel::Qr)
    }
}

impl Policy {
    /// Reads a policy document.
    ///
    /// # Errors
    /// A document of another shape, or a flag whose code does not exist.
    pub fn parse(text: &str) -> Result<Policy, String> {
        let policy: Policy = toml::from_str(text).map_err(|e| e.to_string())?;
        rules::check(&policy.rule_packs).map_err(|e| format!("policy {}: {e}", policy.name))?;
        for code in policy.flags.keys() {
            if !FlagCode::ALL.iter().any(|c| c.as_str() == code) {
                return Err(format!("policy {}: no flag is called {code}", policy.name));
            }
        }
        Ok(policy)
    }

    /// The built-in policy of a name.
    pub fn built_in(name: &str) -> Option<Policy> {
        BUILT_IN
            .iter()
            .filter_map(|text| Policy::parse(text).ok())
            .find(|p| p.name == name)
    }

    /// The window of a channel in the policy's unit.
    pub fn window(&self, channel: Channel) -> i32 {
        let w = &self.windows;
        match channel {
            Channel::Transfer => w.transfer,
            Channel::Wechat => w.wechat,
            Channel::Alipay => w.alipay,
            Channel::Pos => w.pos,
            Channel::Qr => w.qr,
            Channel::Cash => w.cash,
            Channel::Ecny => w.ecny,
        }
    }

    /// The last day on which a payment captured on `paid` may be credited in time.
    pub fn window_end(&self, channel: Channel, paid: Day) -> Day {
        let days = self.window(channel);
        self.windows.unit.last(paid, days)
    }

    /// Days by which `credited` lies beyond a window's end, in the policy's unit.
    pub fn days_beyond(&self, window_end: Day, credited: Day) -> i32 {
        self.windows.unit.beyond(window_end, credited)
    }

    /// The rule packs of a district, each with the day from which it holds, oldest first.
    pub fn packs(&self, district: &str) -> Vec<(Day, &RulePack)> {
        rules::packs_of(&self.rule_packs, district)
    }

    pub fn flag(&self, code: FlagCode) -> Option<&FlagRule> {
        self.flags.get(code.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_policies_are_whole() {
        let policies: Vec<Policy> = BUILT_IN.iter().map(|t| Policy::parse(t).unwrap()).collect();
        assert_eq!(policies[0].name, DEFAULT);
        for code in FlagCode::ALL {
            assert!(
                policies[0].flag(*code).is_some(),
                "{code} has no rule in the default policy"
            );
        }
        assert_eq!(policies[1].name, "workload");
    }

    #[test]
    fn windows_count_in_the_policys_unit() {
        let default = Policy::parse(BUILT_IN[0]).unwrap();
        let workload = Policy::parse(BUILT_IN[1]).unwrap();
        let friday: Day = "2026-09-18".parse().unwrap();
        assert_eq!(
            workload.window_end(Channel::Pos, friday).to_string(),
            "2026-09-21"
        );
        // Sunday the 20th is a make-up working day.
        assert_eq!(
            default.window_end(Channel::Pos, friday).to_string(),
            "2026-09-22"
        );
        assert_eq!(
            default.window_end(Channel::Cash, friday).to_string(),
            "2026-09-20"
        );
        let end: Day = "2026-09-30".parse().unwrap();
        assert_eq!(default.days_beyond(end, "2026-10-09".parse().unwrap()), 2);
        assert_eq!(workload.days_beyond(end, "2026-10-09".parse().unwrap()), 9);
    }

    #[test]
    fn an_unknown_flag_or_field_is_refused() {
        assert!(Policy::parse(&BUILT_IN[0].replace("NO_CUSTODY ", "NO_SUCH ")).is_err());
        assert!(Policy::parse(&BUILT_IN[0].replace("cycle_months", "cycle_weeks")).is_err());
    }
}
