//! Bytes to records and defects. Pure: no I/O beyond the reader it is handed, no database, no clock.
//!
//! Invariants: bad data is a value, never an `Err`; a parser keeps every entry it can read, booked or
//! not; amounts are exact decimals; reading from a stream in pieces of any size gives the same result.
//! Absent on purpose: guessing. A format is told from its bytes ([`sniff`]), a sign from the format's
//! own rule, and whether a statement proves itself from its balances ([`verify`]), never from the
//! parser's own success.

pub mod interchange;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::base::Day;

/// The statement formats told apart by [`sniff`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// ISO 20022 camt.052/.053/.054, any version.
    Camt,
    /// SWIFT MT940 and MT942.
    Mt940,
    /// A bank's own CSV export, read through a column-mapping profile.
    BankCsv,
}

/// Whether an entry has reached the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryStatus {
    Booked,
    /// Pending, informational, expected: never counts towards a balance.
    Pending,
}

/// One entry of a statement. `amount` is signed: money in is positive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub status: EntryStatus,
    /// Signed in the account's favour; a reversal already carries its own direction.
    pub amount: Decimal,
    pub currency: String,
    pub booked_on: Option<Day>,
    pub value_on: Option<Day>,
    /// The reference the payer gave (camt `EndToEndId`, MT `:61:` customer reference), if any.
    pub customer_ref: Option<String>,
    /// The bank's own reference (camt `AcctSvcrRef` or `NtryRef`, MT `//` reference), if any.
    pub bank_ref: Option<String>,
    /// Bank transaction code or label, verbatim.
    pub code: Option<String>,
    pub counterparty: Option<String>,
    pub memo: String,
    /// Marked as a reversal by the bank (`RvslInd`, `RC`/`RD`, 冲正).
    pub reversal: bool,
    /// Line (text formats) or element ordinal (XML) within the file, counted from 1.
    pub line: u64,
}

/// A balance with its date, where the format carries one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    pub amount: Decimal,
    pub day: Option<Day>,
    /// The format's own type, verbatim (`OPBD`, `60F` …).
    pub kind: String,
}

/// One statement of one account and currency as the file states it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// The format with its version, `camt.053.001.08`, `mt940`, `bank-csv:icbc`.
    pub format: String,
    pub account: Option<String>,
    pub currency: Option<String>,
    /// The bank's number or id of the statement.
    pub number: Option<String>,
    pub opening: Option<Balance>,
    pub closing: Option<Balance>,
    pub entries: Vec<Entry>,
}

/// What the arithmetic says of a statement (`feeds.md` §4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// opening + Σ booked = closing.
    Balanced,
    /// Ties only when entries valued after the statement's day are left out.
    ExplainedByValueDate,
    /// The lines do not lead from opening to closing.
    Unbalanced,
    /// Carries no balance: proves nothing.
    NoBalances,
    /// Only an opening or only a closing balance.
    OneSided,
    /// Could not be read as a statement.
    Refused,
}
