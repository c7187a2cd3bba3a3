//! Bytes to records and defects. Pure: no I/O beyond the reader it is handed, no database, no
//! clock.
//!
//! Invariants: bad data is a value, never an `Err`; a parser keeps every entry it can read, booked
//! or not; amounts are exact decimals; reading from a stream in pieces of any size gives the same
//! result.
//! Absent on purpose: guessing. A format is told from its bytes ([`sniff`]), a sign from the
//! format's own rule, and whether a statement proves itself from its balances ([`verify`]), never
//! from the parser's own success.

mod amount;
mod bank;
mod camt;
mod camt_statement;
mod daily;
mod decode;
mod identity;
mod inspect;
mod mt940;
mod mt_field;
mod ofx;
mod pages;
mod sniff;
mod verify;
mod xml;

use std::io::BufRead;

pub mod interchange;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::base::{Day, Defect, DefectCode};

pub use bank::SHEET_MAX_BYTES;
pub use daily::{DAYS_MAX, daily_balances};
pub use decode::{LINE_MAX_BYTES, TEXT_MAX_BYTES};
pub use identity::entry_identity;
pub use inspect::{Inspection, inspect};
pub use pages::join_pages;
pub use sniff::{resembles_statement, sniff};
pub use verify::{continuity, verify};
pub use xml::{ATTRIBUTES_MAX, DEPTH_MAX, NAMESPACES_MAX, TOKEN_MAX_BYTES};

/// How many remarks on one file are kept; a file with more is wrong in one way many times over.
pub const DEFECTS_MAX: usize = 1_000;
/// How many entries [`parse`] collects. Longer files go through [`stream`].
pub const ENTRIES_MAX: usize = 5_000_000;
/// The longest memo kept of one entry, in bytes; a longer one is cut at a line of its own.
pub const MEMO_MAX_BYTES: usize = 64 * 1024;

/// The statement formats told apart by [`sniff`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// ISO 20022 camt.052/.053/.054, any version.
    Camt,
    /// SWIFT MT940 and MT942.
    Mt940,
    /// A bank's own CSV export, read through a column-mapping profile.
    BankCsv,
    /// OFX 1 (SGML) and OFX 2 (XML), statements of bank accounts and cards.
    Ofx,
    /// A bank's own export called `.xls`: a BIFF8 workbook or an HTML table.
    BankXls,
    /// A bank's own export as an `.xlsx` workbook.
    BankXlsx,
}

impl Format {
    /// The family's name: `camt`, `mt940`, `bank-csv`, `ofx`, `bank-xls`, `bank-xlsx`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Camt => "camt",
            Format::Mt940 => "mt940",
            Format::BankCsv => "bank-csv",
            Format::Ofx => "ofx",
            Format::BankXls => "bank-xls",
            Format::BankXlsx => "bank-xlsx",
        }
    }
}

/// Whether an entry has reached the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryStatus {
    Booked,
    /// Pending, informational, expected: never counts towards a balance.
    Pending,
}

/// One entry of a statement. `amount` is signed: money in is positive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whether it has reached the account.
    pub status: EntryStatus,
    /// Signed in the account's favour; a reversal already carries its own direction.
    pub amount: Decimal,
    /// ISO 4217; empty where neither the entry nor its statement names one.
    pub currency: String,
    /// The bank's booking day (`BookgDt`, the entry date of `:61:`); drives statements.
    pub booked_on: Option<Day>,
    /// The day interest runs from (`ValDt`, the value date of `:61:`).
    pub value_on: Option<Day>,
    /// The reference the payer gave (camt `EndToEndId`, MT `:61:` customer reference), if any.
    pub customer_ref: Option<String>,
    /// The bank's own reference (camt `AcctSvcrRef` or `NtryRef`, MT `//` reference), if any.
    pub bank_ref: Option<String>,
    /// Bank transaction code or label, verbatim.
    pub code: Option<String>,
    /// Name of the other side: debtor of money in, creditor of money out; none for a batch.
    pub counterparty: Option<String>,
    /// Free text verbatim: `RmtInf/Ustrd` and `AddtlNtryInf`, `:86:`, the memo columns.
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
    /// As the file writes it: IBAN or `Othr/Id`, `:25:`, a preamble line or column.
    pub account: Option<String>,
    pub currency: Option<String>,
    /// The bank's number or id of the statement.
    pub number: Option<String>,
    /// First and last day the statement says it covers (camt `FrToDt`; the first and last row of a
    /// CSV export). `None` where only the balances carry days.
    pub period: Option<(Day, Day)>,
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

/// What a parser pushes while it reads: `(Open Entry* Close)*`, remarks anywhere, and at most one
/// `Refused`, which is last and takes back all before it, since statement files are all-or-nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A statement begins: what is known before its first entry. `entries` is empty.
    Open(Statement),
    Entry(Entry),
    /// The statement is over: its head again, now complete. `entries` is empty.
    Close(Statement),
    /// A remark on the open statement, or on the latest one if none is open.
    Defect(Defect),
    /// The file cannot be used; nothing follows.
    Refused(Defect),
}

/// Where a parser pushes items.
pub type Sink<'s> = dyn FnMut(Item) + 's;

/// Reads a statement file piece by piece. camt is read in fixed memory; MT and CSV files, whose
/// charset shows only at their end, are held once and limited by [`TEXT_MAX_BYTES`].
pub fn stream(format: Format, reader: impl BufRead, sink: &mut Sink<'_>) {
    let mut remarks = 0_usize;
    let mut limited = |item: Item| {
        if matches!(item, Item::Defect(_)) {
            remarks += 1;
            if remarks > DEFECTS_MAX {
                return;
            }
        }
        sink(item);
    };
    let result = match format {
        Format::Camt => camt::read(reader, &mut limited),
        Format::Mt940 => {
            decode::read_text(reader).and_then(|text| mt940::read(&text, &mut limited))
        }
        Format::BankCsv => {
            decode::read_text(reader).and_then(|text| bank::read_csv(&text, &mut limited))
        }
        Format::Ofx => decode::read_bytes(reader, TEXT_MAX_BYTES, "TEXT_MAX_BYTES")
            .and_then(|bytes| ofx::read(bytes, &mut limited)),
        Format::BankXls => decode::read_bytes(reader, SHEET_MAX_BYTES, "SHEET_MAX_BYTES")
            .and_then(|bytes| bank::read_xls(bytes, &mut limited)),
        Format::BankXlsx => decode::read_bytes(reader, SHEET_MAX_BYTES, "SHEET_MAX_BYTES")
            .and_then(|bytes| bank::read_xlsx(bytes, &mut limited)),
    };
    if let Err(defect) = result {
        sink(Item::Refused(defect));
    }
}

/// Reads a whole statement file. A refused file gives no statements, and its last defect says why.
pub fn parse(format: Format, reader: impl BufRead) -> (Vec<Statement>, Vec<Defect>) {
    let mut parsed = Collected::default();
    stream(format, reader, &mut |item| parsed.push(item));
    let Collected {
        statements,
        defects,
        refused,
        ..
    } = parsed.finish();
    let statements = if refused { Vec::new() } else { statements };
    (
        statements,
        defects.into_iter().map(|(_, defect)| defect).collect(),
    )
}

/// The items of one file put together: statements, and remarks with the statement they belong to.
#[derive(Default)]
struct Collected {
    statements: Vec<Statement>,
    defects: Vec<(usize, Defect)>,
    refused: bool,
    open: bool,
    entries: Vec<Entry>,
    count: usize,
}

impl Collected {
    fn push(&mut self, item: Item) {
        match item {
            Item::Open(_) => self.open = true,
            Item::Entry(entry) => {
                self.count += 1;
                if self.count <= ENTRIES_MAX {
                    self.entries.push(entry);
                }
            }
            Item::Close(mut statement) => {
                statement.entries = std::mem::take(&mut self.entries);
                self.statements.push(statement);
                self.open = false;
            }
            Item::Defect(defect) => self.remark(defect),
            Item::Refused(defect) => {
                self.remark(defect);
                self.refused = true;
            }
        }
    }

    fn remark(&mut self, defect: Defect) {
        let latest = self.statements.len();
        self.defects.push((
            if self.open {
                latest
            } else {
                latest.saturating_sub(1)
            },
            defect,
        ));
    }

    fn finish(mut self) -> Collected {
        if self.count > ENTRIES_MAX && !self.refused {
            let found = format!("the file has more than {ENTRIES_MAX} entries (limit ENTRIES_MAX)");
            self.push(Item::Refused(Defect::new(DefectCode::TooLarge, found)));
        }
        self
    }
}
