//! Cells of an `.xlsx` workbook, read as a stream behind [`super::zip_guard`].

use std::io::Cursor;

use calamine::{DataRef, Reader, SheetType, SheetVisible, Xlsx, XlsxError};

use super::{Cell, Sheets, broken, check_sheets, guarded, protected, zip_guard};
use crate::base::{Defect, DefectCode};
use crate::wire::bank::rows::{COLUMNS_MAX, check_width};

pub(super) fn read(bytes: Vec<u8>, sheets: &mut Sheets<'_, '_>) -> Result<(), Defect> {
    zip_guard::check(&bytes)?;
    let mut book = guarded(|| Xlsx::new(Cursor::new(bytes)).map_err(|e| refusal(&e)))?;
    let names: Vec<String> = (book.sheets_metadata().iter())
        .filter(|s| s.typ == SheetType::WorkSheet && s.visible == SheetVisible::Visible)
        .map(|sheet| sheet.name.clone())
        .collect();
    check_sheets(names.len())?;
    for name in names {
        guarded(|| sheet(&mut book, &name, sheets))?;
        sheets.end_sheet();
    }
    Ok(())
}

fn sheet(
    book: &mut Xlsx<Cursor<Vec<u8>>>,
    name: &str,
    sheets: &mut Sheets<'_, '_>,
) -> Result<(), Defect> {
    let mut cells = book.worksheet_cells_reader(name).map_err(|e| refusal(&e))?;
    let mut row: Vec<Cell> = Vec::new();
    let mut line = 0_u64;
    while let Some(cell) = cells.next_cell().map_err(|e| refusal(&e))? {
        let (at_row, at_column) = cell.get_position();
        let at_line = u64::from(at_row) + 1;
        sheets.count(1, at_line)?;
        if at_line != line {
            if at_line < line {
                let found = "the rows of the sheet are out of order";
                return Err(Defect::new(DefectCode::Malformed, found).line(at_line));
            }
            if !row.is_empty() {
                sheets.row(std::mem::take(&mut row), line)?;
            }
            line = at_line;
        }
        if let DataRef::SharedString(text) = cell.get_value() {
            sheets.count_text(text, at_line)?;
        } else if let DataRef::String(text) = cell.get_value() {
            sheets.count_text(text, at_line)?;
        }
        let cell = text_of(cell.get_value());
        let at = usize::try_from(at_column).unwrap_or(usize::MAX);
        if at < row.len() && row[at] != Cell::default() {
            let found = "a cell of the sheet comes twice";
            return Err(Defect::new(DefectCode::Malformed, found).line(at_line));
        }
        if cell == Cell::default() {
            continue;
        }
        check_width(at.saturating_add(1), at_line)?;
        if row.len() <= at {
            row.resize(at + 1, Cell::default());
        }
        row[at] = cell;
        debug_assert!(row.len() <= COLUMNS_MAX);
    }
    if !row.is_empty() {
        sheets.row(row, line)?;
    }
    Ok(())
}

fn text_of(value: &DataRef<'_>) -> Cell {
    match value {
        DataRef::Int(number) => Cell::number(number.to_string()),
        DataRef::Float(number) => Cell::number(number.to_string()),
        DataRef::String(text) => Cell::text(text),
        DataRef::SharedString(text) => Cell::text(text),
        DataRef::Bool(truth) => Cell::text(if *truth { "TRUE" } else { "FALSE" }),
        DataRef::DateTime(date) => super::xls::date_text(date),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => Cell::text(text),
        DataRef::Error(error) => super::xls::error_text(error),
        DataRef::Empty => Cell::default(),
    }
}

fn refusal(error: &XlsxError) -> Defect {
    match error {
        XlsxError::Password => protected(),
        other => broken(other),
    }
}
