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
mod archive;
mod assume;
mod bank;
pub mod bill;
mod camt;
mod camt_entry;
mod camt_statement;
mod daily;
mod decode;
pub mod direct;
mod identity;
mod inspect;
mod lines;
mod mt940;
mod mt_field;
mod nul;
mod ofx;
mod one_by_one;
mod pages;
mod proof;
mod running;
mod sniff;
mod verify;
mod xml;

use std::io::BufRead;

pub mod interchange;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::base::{Day, Defect, DefectCode, Instant};

pub use amount::china_day;
pub use archive::{ARCHIVE_MAX_BYTES, MEMBERS_MAX, RATIO_MAX, UNPACKED_MAX_BYTES};
pub use assume::{Assumptions, account_spellings};
pub use bank::SHEET_MAX_BYTES;
pub use daily::{DAYS_MAX, daily_balances, posting_day};
pub use decode::{LINE_MAX_BYTES, TEXT_MAX_BYTES};
pub use identity::entry_identity;
pub use inspect::{Booked, Inspection, inspect, inspect_reader, inspect_with};
pub use lines::ROW_BYTES_MAX;
pub use one_by_one::{PAGES_HELD_MAX, one_by_one};
pub use pages::{is_page, join_pages};
pub use sniff::{resembles_statement, sniff};
pub use verify::{continuity, verify};
pub use xml::{ATTRIBUTES_MAX, DEPTH_MAX, NAMESPACES_MAX, TOKEN_MAX_BYTES};

/// How many remarks on one file are kept; a file with more is wrong in one way many times over.
pub const DEFECTS_MAX: usize = 1_000;
/// How many entries [`parse`] collects. Longer files go through [`stream`].
pub const ENTRIES_MAX: usize = 5_000_000;
/// The longest memo kept of one entry, in bytes; a longer one is cut at a line of its own.
pub const MEMO_MAX_BYTES: usize = 64 * 1024;
/// How many payments of one batch entry are kept; all of them are counted and summed.
pub const DETAILS_MAX: usize = 1_000;
/// How many statements one file may hold.
pub const STATEMENTS_MAX: usize = 100_000;

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
    /// A reply of a bank's direct link (银企直联).
    Direct(direct::Bank),
    /// A bill of a payment channel.
    Bill(bill::Kind),
    /// An archive of bills.
    Zip,
}

impl Format {
    /// The family's name: `camt`, `mt940`, `bank-csv`, `ofx`, `bank-xls`, `bank-xlsx`, `zip`; with the
    /// kind where a family has several: `direct:ccb-6wy101`, `wechat-trade`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Camt => "camt",
            Format::Mt940 => "mt940",
            Format::BankCsv => "bank-csv",
            Format::Ofx => "ofx",
            Format::BankXls => "bank-xls",
            Format::BankXlsx => "bank-xlsx",
            Format::Direct(bank) => bank.as_str(),
            Format::Bill(kind) => kind.as_str(),
            Format::Zip => "zip",
        }
    }

    /// Whether a file of any length is read in fixed memory.
    pub const fn streams(self) -> bool {
        matches!(self, Format::Camt)
    }
}

/// Whether an entry has reached the account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryStatus {
    #[default]
    Booked,
    /// Pending, informational, expected: never counts towards a balance.
    Pending,
}

/// What kind of correction a bank marked an entry as (`feeds.md` §4.12): three different events for
/// the rules of an escrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReversalKind {
    /// 冲正, 冲帐, `RvslInd`, `RC`/`RD`: takes an earlier entry back.
    Reversed,
    /// 补帐: puts in what an earlier day missed.
    Supplement,
    /// 退汇, `RtrInf`: a payment came back from the other bank.
    Returned,
}

/// The mark of a correction and, where the bank names it, the entry it corrects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reversal {
    pub kind: ReversalKind,
    /// The reference of the original as the bank writes it; `None` leaves the link open. It may name
    /// any reference of the original, so it is looked for among both.
    pub original: Option<String>,
    /// The day of the original, where the bank gives it beside the reference.
    pub original_on: Option<Day>,
}

impl Reversal {
    /// A mark without a link.
    pub const fn unlinked(kind: ReversalKind) -> Reversal {
        Reversal {
            kind,
            original: None,
            original_on: None,
        }
    }

    /// The mark that stands in a bank's own words: 冲正 or 冲帐, 补帐, 退汇.
    pub fn in_words<'t>(texts: impl IntoIterator<Item = &'t str>) -> Option<Reversal> {
        const WORDS: [(&str, ReversalKind); 6] = [
            ("冲正", ReversalKind::Reversed),
            ("冲帐", ReversalKind::Reversed),
            ("冲账", ReversalKind::Reversed),
            ("补帐", ReversalKind::Supplement),
            ("补账", ReversalKind::Supplement),
            ("退汇", ReversalKind::Returned),
        ];
        let kind_in = |text: &str| {
            let found = WORDS.iter().find(|(word, _)| text.contains(word));
            found.map(|(_, kind)| *kind)
        };
        texts.into_iter().find_map(kind_in).map(Reversal::unlinked)
    }
}

/// One payment inside a batch entry. It explains its entry and never counts beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Detail {
    /// Signed in the account's favour, as its entry is; `None` where the bank leaves it out.
    pub amount: Option<Decimal>,
    /// ISO 4217, may differ from the entry's; empty where none is named.
    pub currency: String,
    /// The reference the payer gave, else the bank's.
    pub reference: Option<String>,
    /// Name of the other side.
    pub counterparty: Option<String>,
}

/// One entry of a statement. `amount` is signed: money in is positive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Marked as a correction by the bank (`RvslInd`, `RC`/`RD`, 冲正); the sign is already the
    /// entry's own.
    pub reversal: Option<Reversal>,
    /// The payments of a batch (camt `TxDtls`), at most [`DETAILS_MAX`]; empty for a single payment.
    pub details: Vec<Detail>,
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
    /// When the bank made it (camt `CreDtTm`, OFX `DTSERVER`); of several pages, the latest. Of two
    /// versions of one statement the one made later holds, whichever comes first.
    pub made_at: Option<Instant>,
    /// The first and last page of its statement that it is, where the file says (`:28C:n/page`, camt `PgNb`).
    pub pages: Option<(u32, u32)>,
    /// The bank calls it a copy of one it has sent (camt `CpyDplctInd` DUPL or CODU).
    pub duplicate: bool,
    /// First and last day the statement says it covers (camt `FrToDt`; the first and last row of a
    /// CSV export). `None` where only the balances carry days.
    pub period: Option<(Day, Day)>,
    pub opening: Option<Balance>,
    pub closing: Option<Balance>,
    /// The running balance of its rows contradicts itself or the balances declared: it proves nothing.
    pub unordered: bool,
    /// What it does not say itself and was filled in.
    pub assumed: Assumptions,
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
    /// The lines do not lead from opening to closing, or not by the running balances the file gives.
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
///
/// Nothing is assumed where a file leaves something open; see [`stream_with`].
pub fn stream(format: Format, reader: impl BufRead, sink: &mut Sink<'_>) {
    stream_with(format, reader, &Assumptions::default(), sink);
}

/// [`stream`] with what a file may leave open.
pub fn stream_with(
    format: Format,
    reader: impl BufRead,
    assumed: &Assumptions,
    sink: &mut Sink<'_>,
) {
    let mut filling = assume::Filling::new(format, assumed);
    let (mut remarks, mut is_refused) = (0_usize, false);
    let mut limited = |item: Item| {
        if is_refused {
            return;
        }
        if matches!(item, Item::Defect(_)) {
            remarks += 1;
            if remarks > DEFECTS_MAX {
                return;
            }
        }
        let item = match nul::check(&item) {
            Ok(()) => item,
            Err(defect) => {
                is_refused = true;
                Item::Refused(defect)
            }
        };
        filling.push(item, sink);
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
        Format::Direct(bank) => direct::read(bank, reader, assumed, &mut limited),
        Format::Bill(kind) => {
            decode::read_text(reader).and_then(|text| bill::read(kind, &text, &mut limited))
        }
        Format::Zip => bill::read_archive(reader, &mut limited),
    };
    if let Err(defect) = result {
        limited(Item::Refused(defect));
    }
}

/// Reads a whole statement file. A refused file gives no statements, and its last defect says why.
pub fn parse(format: Format, reader: impl BufRead) -> (Vec<Statement>, Vec<Defect>) {
    parse_with(format, reader, &Assumptions::default())
}

/// [`parse`] with what a file may leave open.
pub fn parse_with(
    format: Format,
    reader: impl BufRead,
    assumed: &Assumptions,
) -> (Vec<Statement>, Vec<Defect>) {
    let mut parsed = Collected::default();
    stream_with(format, reader, assumed, &mut |item| parsed.push(item));
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

fn too_many_statements() -> Defect {
    let found =
        format!("the file has more than {STATEMENTS_MAX} statements (limit STATEMENTS_MAX)");
    Defect::new(DefectCode::TooLarge, found)
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
                self.open = false;
                if self.statements.len() < STATEMENTS_MAX {
                    self.statements.push(statement);
                } else if !self.refused {
                    self.remark(too_many_statements());
                    self.refused = true;
                }
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
