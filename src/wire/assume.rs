//! What a statement file leaves open and the agreement with its bank settles: which account it is of, and
//! in which unit its amounts are.
//!
//! Invariants: an assumption fills a gap and never overrules what a file, or its format's contract, says: a
//! file that says otherwise is refused whole, naming both; what was filled is noted in the statement.
//! Absent on purpose: a default for either, since a guess would book money to a wrong account or wrong a
//! hundredfold.

use std::fmt;

use serde::Serialize;

use super::{Format, Item, Sink, Statement, direct};
use crate::base::{AmountUnit, Defect, DefectCode};

/// What is taken as said where a file does not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Assumptions {
    /// The account as it is registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The unit of a direct link's reply whose contract leaves it open (ICBC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_unit: Option<AmountUnit>,
}

impl Assumptions {
    pub const fn is_empty(&self) -> bool {
        self.account.is_none() && self.amount_unit.is_none()
    }

    /// Whether a file that was read with the help of `self` reads the same with `given`.
    pub fn hold_under(&self, given: &Assumptions) -> bool {
        let holds = self.account.is_none() || self.account == given.account;
        holds && (self.amount_unit.is_none() || self.amount_unit == given.amount_unit)
    }

    /// Whether `given` says otherwise.
    pub fn contradict(&self, given: &Assumptions) -> bool {
        let differ = self.account.is_some() && given.account.is_some();
        let units = self.amount_unit.is_some() && given.amount_unit.is_some();
        (differ && self.account != given.account)
            || (units && self.amount_unit != given.amount_unit)
    }

    /// Adds what another statement of the file was filled with.
    pub fn add(&mut self, other: &Assumptions) {
        if self.account.is_none() {
            self.account.clone_from(&other.account);
        }
        self.amount_unit = self.amount_unit.or(other.amount_unit);
    }
}

impl fmt::Display for Assumptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = self.account.as_ref().map(|a| format!("account {a}"));
        let unit = (self.amount_unit).map(|unit| format!("amounts in {}", unit.as_str()));
        let said: Vec<String> = account.into_iter().chain(unit).collect();
        f.write_str(&said.join(", "))
    }
}

/// How an account that is written in a statement may stand in the registry, the likeliest first: MT940 may
/// put the bank before the account, and papers print numbers in groups.
pub fn account_spellings(written: &str) -> [String; 3] {
    let plain: String = written.chars().filter(|c| !c.is_whitespace()).collect();
    let tail = plain.rsplit('/').next().unwrap_or(&plain).to_owned();
    [written.to_owned(), plain, tail]
}

/// Fills the gaps of what a parser pushes.
pub(super) struct Filling<'a> {
    assumed: &'a Assumptions,
    unit: Option<AmountUnit>,
    refused: bool,
}

impl<'a> Filling<'a> {
    pub(super) fn new(format: Format, assumed: &'a Assumptions) -> Filling<'a> {
        let open = matches!(format, Format::Direct(bank) if bank.leaves_unit_open());
        Filling {
            assumed,
            unit: assumed.amount_unit.filter(|_| open),
            refused: false,
        }
    }

    /// Passes an item on; after a refusal nothing more.
    pub(super) fn push(&mut self, item: Item, sink: &mut Sink<'_>) {
        if self.refused {
            return;
        }
        let item = match item {
            Item::Open(statement) => self.fill(statement).map(Item::Open),
            Item::Close(statement) => self.fill(statement).map(Item::Close),
            other => Ok(other),
        };
        let item = item.unwrap_or_else(Item::Refused);
        self.refused = matches!(item, Item::Refused(_));
        sink(item);
    }

    fn fill(&self, mut statement: Statement) -> Result<Statement, Defect> {
        statement.assumed.amount_unit = self.unit;
        let Some(account) = &self.assumed.account else {
            return Ok(statement);
        };
        match &statement.account {
            None => {
                statement.account = Some(account.clone());
                statement.assumed.account = Some(account.clone());
                Ok(statement)
            }
            Some(written) if account_spellings(written).contains(account) => Ok(statement),
            Some(written) => {
                let found = format!("the file names account {written}, the settings {account}");
                Err(Defect::new(DefectCode::Conflict, found).column("account"))
            }
        }
    }
}

/// The refusal of a reply whose contract names another unit than the settings.
pub(super) fn check_unit(bank: direct::Bank, assumed: &Assumptions) -> Result<(), Defect> {
    if bank.leaves_unit_open() || assumed.amount_unit != Some(AmountUnit::Fen) {
        return Ok(());
    }
    let found = format!(
        "amounts of {} are yuan by its contract, the settings say fen",
        bank.as_str()
    );
    Err(Defect::new(DefectCode::Conflict, found).column("amount_unit"))
}
