//! One statement of one account, in the words of any of the city's banks, for whoever needs a single file.

use crate::base::Day;

use super::books::{Bank, Book, Entry, Label, Statement};
use super::write::render;

/// How a bank writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// camt.053.001.08
    Camt08,
    /// camt.053.001.02
    Camt02,
    Mt940,
    /// CSV in GB18030; it carries no statement number.
    Csv,
}

impl Format {
    /// Whether it says when the bank made the statement.
    pub const fn tells_time(self) -> bool {
        matches!(self, Format::Camt08 | Format::Camt02)
    }
}

/// A line: positive in the account's favour. Id and reference are at most 16 ASCII characters, or empty where
/// the bank gives none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub id: String,
    pub amount_fen: i64,
    pub reference: String,
}

/// A statement to be written.
#[derive(Clone, Debug)]
pub struct Stated {
    pub account_id: String,
    pub holder: String,
    pub number: usize,
    pub day: Day,
    /// The day of the opening balance.
    pub previous: Day,
    /// Corrections of one statement are made later, if the format says when.
    pub version: u8,
    pub opening_fen: i64,
    pub lines: Vec<Line>,
}

impl Stated {
    pub fn closing_fen(&self) -> i64 {
        self.opening_fen + self.lines.iter().map(|l| l.amount_fen).sum::<i64>()
    }

    /// The file's ending and bytes.
    pub fn write(&self, format: Format) -> (&'static str, Vec<u8>) {
        let bank = match format {
            Format::Camt08 => Bank::CamtEight,
            Format::Camt02 => Bank::CamtTwo,
            Format::Mt940 => Bank::Swift,
            Format::Csv => Bank::Export,
        };
        let entries: Vec<Entry> = self.lines.iter().map(entry).collect();
        let book = Book {
            account_id: self.account_id.clone(),
            holder: self.holder.clone(),
            bank,
            opening: self.opening_fen,
            days: Vec::new(),
        };
        let statement = Statement {
            book: &book,
            number: self.number,
            version: self.version,
            day: self.day,
            previous: self.previous,
            opening: self.opening_fen,
            closing: self.closing_fen(),
            entries: &entries,
        };
        // Each of these formats is a file; canonical rows are none of them.
        render(bank, &[statement]).unwrap_or_default()
    }
}

fn entry(line: &Line) -> Entry {
    let (label, memo) = if line.id.is_empty() {
        (Label::Debit, "FEE")
    } else if line.amount_fen < 0 {
        (Label::Debit, "RELEASE")
    } else {
        (Label::Transfer, "TRANSFER")
    };
    Entry {
        id: line.id.clone(),
        amount: line.amount_fen,
        label,
        reference: line.reference.clone(),
        memo,
    }
}
