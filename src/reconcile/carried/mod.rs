//! What is carried forward (结转) of one institution instead of facts that are settled for good.
//!
//! A run must not read an institution's whole history to judge one more day. Up to a day, [`Carried::until`],
//! everything that can no longer change is kept as sums: movements that settle each other without a finding,
//! statement days that are proven, lessons that have counted. What is open stays a fact of its own. A run of a
//! later day reads what is carried, the facts that are open and what was learned since, and says the same as
//! one that reads everything; where news reach behind the day, or touch something that is settled, it does
//! read everything.
//!
//! Invariants: what is carried is a function of facts, policy and day; it is a copy of nothing but itself, so
//! losing it costs time only; [`crate::run`] keeps it only where today's result is the same with it and without.

mod bytes;
mod code;

use super::facts::LessonSums;
use super::statements::BrokenDay;
use crate::base::{Day, Money};

pub use code::{Decoded, decode, encode};

/// Sums of what is settled. Empty where nothing is, which is how an institution begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// All that is carried happened, and had its effect, by this day. `None` = nothing is carried.
    pub until: Option<Day>,
    /// In order of contract_no.
    pub contracts: Vec<ContractCarried>,
    /// In order of account_no.
    pub accounts: Vec<AccountCarried>,
    /// Of references and ids that settled facts had: sorted hashes. A later fact that names one of them may
    /// undo what is carried.
    pub names: Vec<u32>,
    pub first_payment: Option<Day>,
    /// Settled credits.
    pub settled: i64,
    /// A settled release names no contract.
    pub has_whole_releases: bool,
    /// Released from custody accounts.
    pub released: Money,
    pub swept: SweptCarried,
    /// Of what open facts did up to the day: where it is another one today, what is carried no longer holds.
    pub past: u64,
}

/// One contract's sums over settled facts, and its states at the end of the day carried until.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContractCarried {
    pub contract_no: i64,
    pub paid: Money,
    pub refunded: Money,
    pub released: Money,
    pub cleared: Money,
    /// The part of `cleared` in accounts that counted as held.
    pub credited: Money,
    pub lessons: LessonSums,
    /// Day and account of its first settled payment.
    pub first_paid: Option<(Day, i64)>,
    pub short: Option<Day>,
    pub negative: Option<Day>,
    pub premature: Option<Day>,
    /// Since when all its lessons have counted.
    pub completed: Option<Day>,
}

/// One account's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountCarried {
    pub account_no: i64,
    /// It counted as filed when this was carried.
    pub filed: bool,
    pub first_use: Option<Day>,
    /// Net movement of settled lines, in fen.
    pub moved: i64,
    pub days: DaysCarried,
    pub proof: ProofCarried,
}

/// Statement days up to the day; the last one stays a fact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaysCarried {
    pub missing: Vec<Day>,
    pub exempt: Vec<Day>,
    pub broken: Vec<BrokenDay>,
    pub last_expected: Option<Day>,
    /// Money before the first known day, in fen, and that day.
    pub brought_forward: Option<(Day, i64)>,
    /// Days that do not go on from the one before or do not add up, with what is missing, in fen.
    pub gaps: Vec<(Day, i64)>,
}

/// Parts of the three-way proof that settled facts make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProofCarried {
    pub cash: i64,
    pub unallocated: i64,
    pub fee: i64,
    pub fees: i64,
    pub batch_refund: i64,
    pub batch_refunds: i64,
}

/// Since when the institution's states have held, as of the day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweptCarried {
    pub uncovered: Option<Day>,
    pub covered: Option<Day>,
    pub premature: Option<Day>,
    /// By account_no, in order.
    pub deposits: Vec<(i64, Day)>,
}

impl Carried {
    pub fn account(&self, account_no: i64) -> Option<&AccountCarried> {
        let at = self
            .accounts
            .binary_search_by_key(&account_no, |a| a.account_no);
        at.ok().map(|at| &self.accounts[at])
    }

    pub fn contract(&self, contract_no: i64) -> Option<&ContractCarried> {
        let at = self
            .contracts
            .binary_search_by_key(&contract_no, |c| c.contract_no);
        at.ok().map(|at| &self.contracts[at])
    }

    /// True where a settled fact had this reference or id, or one that hashes like it.
    pub fn knows(&self, name: &str) -> bool {
        !name.is_empty() && self.names.binary_search(&hash(name)).is_ok()
    }

    /// True for a day of which all is settled.
    pub fn covers(&self, day: Day) -> bool {
        self.until.is_some_and(|until| day <= until)
    }
}

/// FNV-1a, folded to 32 bits: names are kept in the database, so it is the same in every version.
pub fn hash(name: &str) -> u32 {
    let mut h = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name.as_bytes() {
        h = (h ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let [a, b, c, d, ..] = (h ^ (h >> 32)).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

impl ContractCarried {
    pub fn has_money(&self) -> bool {
        [
            self.paid,
            self.refunded,
            self.released,
            self.cleared,
            self.credited,
        ] != [Money::ZERO; 5]
    }

    pub fn of(contract_no: i64) -> ContractCarried {
        ContractCarried {
            contract_no,
            lessons: LessonSums {
                contract_no,
                ..LessonSums::default()
            },
            ..ContractCarried::default()
        }
    }
}
