//! Rows of spreadsheets: BIFF8 workbooks (`.xls`), zipped XML workbooks (`.xlsx`) and the HTML tables
//! that banks call `.xls`.
//!
//! Each visible sheet with a header line a profile knows is read on its own, with its own preamble;
//! rows are numbered as the sheet numbers them. `calamine` reads the cells, but only of files whose
//! structure [`zip_guard`] or [`biff_guard`] has walked first, since it trusts what a file says of
//! itself; should it panic all the same, the file is refused.
//!
//! Invariants: a file is held once, limited by [`SHEET_MAX_BYTES`]; its cells are limited by
//! [`CELLS_MAX`]; formulas are never computed, the value stored beside one is what counts; a number
//! is what 15 digits say, as every spreadsheet shows it, and an account or reference with more
//! refuses the file; nothing is unpacked to disk.
//! Absent on purpose: macros, charts, styles beyond what tells a date, and password-protected files.

mod biff_guard;
mod html;
mod ole;
mod xls;
mod xlsx;
mod zip_guard;

use super::csv::{no_header, unwrap_cell};
use super::profile::{Column, HEADER_SEARCH_ROWS, bind};
use super::rows::{EXACT_COLUMNS, Table, check_width};
use crate::base::{Defect, DefectCode};
use crate::wire::Sink;
use crate::wire::xml::TOKEN_MAX_BYTES;

pub(crate) use html::recognises as recognises_html;
pub(crate) use zip_guard::recognises as recognises_xlsx;

/// The longest spreadsheet that is read.
pub const SHEET_MAX_BYTES: u64 = 32 * 1024 * 1024;
/// How many cells the sheets of one file may have.
pub(super) const CELLS_MAX: usize = 4_000_000;
/// How much text the cells of one file may hold, each cell with its own copy, in bytes.
pub(super) const CELL_TEXT_MAX_BYTES: u64 = 256 * 1024 * 1024;
/// How many sheets one file may have.
pub(super) const SHEETS_MAX: usize = 64;
/// How many digits a number of a spreadsheet holds.
const NUMBER_MAX_DIGITS: usize = 15;
/// The first bytes of an OLE2 container, which holds a BIFF workbook.
const OLE_MAGIC: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// Whether the first bytes are a container of old spreadsheets.
pub(crate) fn recognises_ole(bytes: &[u8]) -> bool {
    bytes.starts_with(OLE_MAGIC)
}

/// Reads a file that is called `.xls`: a BIFF8 workbook or an HTML table.
///
/// # Errors
/// The defect that refuses it.
pub(crate) fn read_xls(bytes: Vec<u8>, sink: &mut Sink<'_>) -> Result<(), Defect> {
    let mut sheets = Sheets::new("bank-xls", sink);
    if recognises_ole(&bytes) {
        xls::read(bytes, &mut sheets)?;
    } else {
        html::read(bytes, &mut sheets)?;
    }
    sheets.finish()
}

/// Reads an `.xlsx` workbook.
///
/// # Errors
/// The defect that refuses it.
pub(crate) fn read_xlsx(bytes: Vec<u8>, sink: &mut Sink<'_>) -> Result<(), Defect> {
    let mut sheets = Sheets::new("bank-xlsx", sink);
    xlsx::read(bytes, &mut sheets)?;
    sheets.finish()
}

/// One cell as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Cell {
    text: String,
    /// A number whose last digits the spreadsheet has lost.
    is_cut: bool,
}

impl Cell {
    fn text(text: &str) -> Cell {
        Cell {
            text: unwrap_cell(text),
            is_cut: false,
        }
    }

    /// A number from its shortest decimal form, without exponent.
    fn number(text: String) -> Cell {
        let digits = |text: &str| {
            let figures: String = text.chars().filter(char::is_ascii_digit).collect();
            let figures = figures.trim_start_matches('0');
            let whole = !text.contains('.');
            // Zeros behind a whole number say how large it is, and are digits of an account.
            let figures = if whole {
                figures
            } else {
                figures.trim_end_matches('0')
            };
            figures.len()
        };
        let text = text.strip_suffix(".0").map_or(text.clone(), str::to_owned);
        let is_cut = digits(&text) > NUMBER_MAX_DIGITS;
        let text = if is_cut {
            fifteen_digits(&text).unwrap_or(text)
        } else {
            text
        };
        Cell { text, is_cut }
    }
}

/// A number with more digits than it can hold, as a spreadsheet shows it.
fn fifteen_digits(text: &str) -> Option<String> {
    let number = rust_decimal::Decimal::from_str_exact(text).ok()?;
    let shown = number.round_sf(u32::try_from(NUMBER_MAX_DIGITS).ok()?)?;
    Some(shown.normalize().to_string())
}

/// Takes rows sheet by sheet.
struct Sheets<'k, 's> {
    family: &'static str,
    sink: &'k mut Sink<'s>,
    cells: usize,
    text_bytes: u64,
    found: bool,
    /// Rows before the header.
    before: Vec<(Vec<Cell>, u64)>,
    table: Option<Table>,
}

impl<'k, 's> Sheets<'k, 's> {
    fn new(family: &'static str, sink: &'k mut Sink<'s>) -> Sheets<'k, 's> {
        Sheets {
            family,
            sink,
            cells: 0,
            text_bytes: 0,
            found: false,
            before: Vec::new(),
            table: None,
        }
    }

    /// Counts cells before they are kept.
    ///
    /// # Errors `TOO_LARGE`.
    fn count(&mut self, cells: usize, line: u64) -> Result<(), Defect> {
        self.cells += cells;
        if self.cells <= CELLS_MAX {
            return Ok(());
        }
        let found = format!("the file has more than {CELLS_MAX} cells (limit CELLS_MAX)");
        Err(Defect::new(DefectCode::TooLarge, found).line(line))
    }

    /// Counts the text of a cell before it is copied.
    ///
    /// # Errors `TOO_LARGE`.
    fn count_text(&mut self, text: &str, line: u64) -> Result<(), Defect> {
        self.text_bytes += text.len() as u64;
        let (size, limit) = if text.len() > TOKEN_MAX_BYTES {
            (TOKEN_MAX_BYTES as u64, "the text of a cell is longer than")
        } else if self.text_bytes > CELL_TEXT_MAX_BYTES {
            (CELL_TEXT_MAX_BYTES, "the text of all cells is longer than")
        } else {
            return Ok(());
        };
        let name = if size == CELL_TEXT_MAX_BYTES {
            "CELL_TEXT_MAX_BYTES"
        } else {
            "TOKEN_MAX_BYTES"
        };
        let found = format!("{limit} {size} bytes (limit {name})");
        Err(Defect::new(DefectCode::TooLarge, found).line(line))
    }

    /// Takes the next row of a sheet.
    fn row(&mut self, cells: Vec<Cell>, line: u64) -> Result<(), Defect> {
        check_width(cells.len(), line)?;
        let texts: Vec<String> = cells.iter().map(|cell| cell.text.clone()).collect();
        if let Some(table) = &mut self.table {
            return data_row(table, &cells, texts, line);
        }
        if texts.iter().all(String::is_empty) || self.before.len() >= HEADER_SEARCH_ROWS {
            return Ok(());
        }
        let Some(binding) = bind(&texts) else {
            self.before.push((cells, line));
            return Ok(());
        };
        let mut table = Table::new(self.family, binding);
        for (cells, line) in std::mem::take(&mut self.before) {
            let texts: Vec<String> = cells.iter().map(|cell| cell.text.clone()).collect();
            let was_named = table.names_account();
            table.before(&texts, line)?;
            if table.names_account() && !was_named && cells.iter().any(|cell| cell.is_cut) {
                return Err(cut(&table, Column::Account, line));
            }
        }
        self.table = Some(table);
        self.found = true;
        Ok(())
    }

    /// Ends a sheet.
    fn end_sheet(&mut self) {
        self.before.clear();
        if let Some(table) = self.table.take() {
            table.finish(self.sink);
        }
    }

    fn finish(self) -> Result<(), Defect> {
        if self.found { Ok(()) } else { Err(no_header()) }
    }
}

fn data_row(
    table: &mut Table,
    cells: &[Cell],
    mut texts: Vec<String>,
    line: u64,
) -> Result<(), Defect> {
    if cells.iter().any(|cell| cell.is_cut) {
        let is_cut = |at: &usize| cells.get(*at).is_some_and(|cell| cell.is_cut);
        for column in EXACT_COLUMNS {
            if table.binding.cells(column).iter().any(is_cut) {
                return Err(cut(table, column, line));
            }
        }
        for column in [Column::Counterparty, Column::Memo, Column::Code] {
            for at in table.binding.cells(column).to_vec() {
                if is_cut(&at) {
                    texts[at].clear();
                    let found = "a number of more than 15 digits has lost its last ones; left out";
                    let place = format!("{column:?}");
                    table.remark(
                        Defect::new(DefectCode::BadId, found)
                            .line(line)
                            .column(place),
                    );
                }
            }
        }
    }
    table.row(&texts, line)
}

fn cut(table: &Table, column: Column, line: u64) -> Defect {
    let found = format!(
        "a numeric cell holds more than {NUMBER_MAX_DIGITS} digits and has lost its last ones; \
         send the column as text"
    );
    let name = format!("{column:?} of profile {}", table.binding.profile.name);
    Defect::new(DefectCode::BadId, found)
        .line(line)
        .column(name)
}

/// # Errors `TOO_LARGE`.
fn check_sheets(sheets: usize) -> Result<(), Defect> {
    if sheets <= SHEETS_MAX {
        return Ok(());
    }
    let found = format!("the file has more than {SHEETS_MAX} sheets (limit SHEETS_MAX)");
    Err(Defect::new(DefectCode::TooLarge, found))
}

/// What `calamine` cannot read, or should not have been given.
fn broken(error: &impl std::fmt::Display) -> Defect {
    let found = format!(
        "the workbook is broken: {}",
        crate::wire::xml::clip(&error.to_string())
    );
    Defect::new(DefectCode::Malformed, found)
}

fn protected() -> Defect {
    let found = "the workbook is protected by a password; send it without one";
    Defect::new(DefectCode::Forbidden, found)
}

/// Runs a reader of foreign code; a panic of it refuses the file.
fn guarded<T>(read: impl FnOnce() -> Result<T, Defect>) -> Result<T, Defect> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(broken(&"its records contradict each other")))
}
