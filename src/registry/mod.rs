//! Who and what is supervised: districts, institutions, licences, accounts, contracts.
//!
//! Invariants: a record is never edited, it gets a next version that carries the file it came from; an
//! institution keeps its number (`inst_id`) for ever, whatever its district, name or credit code.
//! Absent on purpose: deriving a district from a credit code or an address (`domain.md` §1.10).

mod index;
pub mod store;

pub use index::IdIndex;

use crate::base::{AccountNo, Day, InstId, Money};

/// A district or function zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct District {
    pub district_id: String,
    pub name: String,
    /// `gb`, `stat` or `internal`: whether the unit has a GB/T 2260 code, a statistical one, or none.
    pub kind: String,
    pub gb_code: Option<String>,
    pub parent_id: Option<String>,
    pub tile_col: Option<i64>,
    pub tile_row: Option<i64>,
}

/// A supervised institution in one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Institution {
    pub institution_id: String,
    pub district_id: String,
    pub name: String,
    pub uscc: Option<String>,
    pub licence_kind: Option<String>,
    pub licence_no: Option<String>,
    pub licence_from: Option<Day>,
    pub licence_to: Option<Day>,
    /// `education`, `scitech`, `culture_tourism` or `sports`.
    pub department: Option<String>,
    pub category: Option<String>,
    pub subject: Option<String>,
    pub prepays: Prepays,
    pub status: String,
    pub platform_since: Option<Day>,
    pub opened_on: Option<Day>,
    pub custody_mode: Option<CustodyMode>,
}

/// Whether an institution takes fees ahead; unknown counts as prepaying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Prepays {
    Yes,
    PayAfter,
    Unknown,
}

impl Prepays {
    pub const NAMES: [&'static str; 3] = ["yes", "pay_after", "unknown"];

    pub fn from_name(name: &str) -> Prepays {
        match name {
            "yes" => Prepays::Yes,
            "pay_after" => Prepays::PayAfter,
            _ => Prepays::Unknown,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Prepays::Yes => "yes",
            Prepays::PayAfter => "pay_after",
            Prepays::Unknown => "unknown",
        }
    }
}

/// How prepaid money is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CustodyMode {
    Bank,
    Deposit,
    Hybrid,
    None,
}

impl CustodyMode {
    pub const NAMES: [&'static str; 4] = ["bank", "deposit", "hybrid", "none"];

    pub fn from_name(name: &str) -> Option<CustodyMode> {
        match name {
            "bank" => Some(CustodyMode::Bank),
            "deposit" => Some(CustodyMode::Deposit),
            "hybrid" => Some(CustodyMode::Hybrid),
            "none" => Some(CustodyMode::None),
            _ => None,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            CustodyMode::Bank => "bank",
            CustodyMode::Deposit => "deposit",
            CustodyMode::Hybrid => "hybrid",
            CustodyMode::None => "none",
        }
    }

    pub const fn number(self) -> i64 {
        match self {
            CustodyMode::None => 0,
            CustodyMode::Bank => 1,
            CustodyMode::Deposit => 2,
            CustodyMode::Hybrid => 3,
        }
    }
}

/// What an account is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccountKind {
    Custody,
    Deposit,
    Settlement,
    Undeclared,
}

impl AccountKind {
    pub const NAMES: [&'static str; 4] = ["CUSTODY", "DEPOSIT", "SETTLEMENT", "UNDECLARED"];

    pub fn from_name(name: &str) -> Option<AccountKind> {
        match name {
            "CUSTODY" => Some(AccountKind::Custody),
            "DEPOSIT" => Some(AccountKind::Deposit),
            "SETTLEMENT" => Some(AccountKind::Settlement),
            "UNDECLARED" => Some(AccountKind::Undeclared),
            _ => None,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            AccountKind::Custody => "CUSTODY",
            AccountKind::Deposit => "DEPOSIT",
            AccountKind::Settlement => "SETTLEMENT",
            AccountKind::Undeclared => "UNDECLARED",
        }
    }

    /// Custody and deposit accounts owe statements; an institution's other accounts do not.
    pub const fn owes_statements(self) -> bool {
        matches!(self, AccountKind::Custody | AccountKind::Deposit)
    }
}

/// A bank account in one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    pub inst_id: InstId,
    pub account_no: AccountNo,
    pub account_id: String,
    pub kind: AccountKind,
    pub min_deposit: Money,
    pub bank_code: Option<String>,
    pub branch_district_id: Option<String>,
    pub agreement_no: Option<String>,
    pub agreement_from: Option<Day>,
    pub agreement_to: Option<Day>,
    pub filed_on: Option<Day>,
    pub status: Option<String>,
}

impl Account {
    /// Filed with the department on a day (备案).
    pub fn is_filed(&self, on: Day) -> bool {
        self.status.as_deref() == Some("filed") || self.filed_on.is_some_and(|d| d <= on)
    }

    /// Closed, whenever that was.
    pub fn is_closed(&self) -> bool {
        self.status.as_deref() == Some("closed")
    }

    /// Whether its agreement, if dates are known, covers a day.
    pub fn agreement_covers(&self, on: Day) -> bool {
        self.agreement_from.is_none_or(|d| d <= on) && self.agreement_to.is_none_or(|d| d >= on)
    }
}

/// The terms of a contract that its liability follows from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The lesson part A: the amount less extras.
    pub lesson_amount: Money,
    /// Lessons paid for.
    pub lessons: i64,
    pub gift_lessons: i64,
}

impl Terms {
    /// Lessons the price is spread over, gifts pooled.
    pub const fn pool(&self) -> i64 {
        self.lessons + self.gift_lessons
    }

    /// Value of the first `count` lessons, gifts pooled: the cumulative floor of `domain.md` §6.1, so
    /// that all lessons together are worth exactly the price.
    pub fn value_of(&self, count: i64) -> Money {
        self.lesson_amount
            .share_floored(count.clamp(0, self.pool()), self.pool())
    }

    /// The same where gifts are worth nothing and are used last.
    pub fn value_of_paid(&self, count: i64) -> Money {
        self.lesson_amount
            .share_floored(count.clamp(0, self.lessons), self.lessons)
    }
}

/// A contract (订单) in one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contract {
    pub student_ref: String,
    pub ordered_on: Day,
    pub lessons: i64,
    pub gift_lessons: i64,
    pub unit_price: i64,
    pub amount: i64,
    pub extras: i64,
    pub list_price: Option<i64>,
    pub subject_group: Option<String>,
    pub kind: Option<String>,
    pub starts_on: Option<Day>,
    pub ends_on: Option<Day>,
}

impl Contract {
    pub fn terms(&self) -> Terms {
        Terms {
            lesson_amount: Money::from_fen(self.amount - self.extras),
            lessons: self.lessons,
            gift_lessons: self.gift_lessons,
        }
    }
}

/// A licence as its registry lists it (应录尽录).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Licence {
    pub licence_no: String,
    pub name: String,
    pub uscc: Option<String>,
    pub district_id: String,
    pub department: String,
    pub licence_from: Option<Day>,
    pub licence_to: Option<Day>,
    pub status: Option<String>,
}

/// A record with the number of its version, counted from 1.
#[derive(Clone, Debug)]
pub struct Record<T> {
    pub version: i64,
    pub value: T,
}

/// Records by their senders' ids, in memory.
#[derive(Clone)]
pub struct Records<T> {
    ids: IdIndex,
    records: Vec<Record<T>>,
}

impl<T> Default for Records<T> {
    fn default() -> Records<T> {
        Records {
            ids: IdIndex::default(),
            records: Vec::new(),
        }
    }
}

impl<T> Records<T> {
    pub fn get(&self, id: &str) -> Option<&T> {
        self.record(id).map(|r| &r.value)
    }

    pub fn record(&self, id: &str) -> Option<&Record<T>> {
        self.ids.get(id).map(|n| &self.records[n as usize])
    }

    /// Puts a record in place of the one of the same id.
    pub fn put(&mut self, id: &str, record: Record<T>) {
        let n = self.ids.insert(id) as usize;
        if n < self.records.len() {
            self.records[n] = record;
        } else {
            self.records.push(record);
        }
    }

    /// All records, in the order in which their ids were first met.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.records.iter().map(|r| &r.value)
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// A city's districts, institutions, accounts and licences as known up to a point.
#[derive(Clone, Default)]
pub struct Registry {
    pub districts: Records<District>,
    pub institutions: Records<(InstId, Institution)>,
    pub accounts: Records<Account>,
    pub licences: Records<Licence>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_domain_6_1() {
        let terms = Terms {
            lesson_amount: Money::from_fen(499_999),
            lessons: 48,
            gift_lessons: 12,
        };
        let unearned = |earned: Money| 499_999 - earned.fen();
        assert_eq!(unearned(terms.value_of(17)), 358_333);
        assert_eq!(unearned(terms.value_of_paid(17)), 322_917);
        assert_eq!(terms.value_of(60).fen(), 499_999);
        assert_eq!(terms.value_of(99).fen(), 499_999);
        assert_eq!(terms.value_of_paid(50).fen(), 499_999);
    }
}
