//! Cells of a BIFF8 workbook, read behind [`super::biff_guard`].

use std::io::Cursor;

use calamine::{
    CellErrorType, Data, ExcelDateTime, Reader, SheetType, SheetVisible, Xls, XlsError,
};

use super::{Cell, Sheets, biff_guard, broken, guarded, protected};
use crate::base::Defect;

pub(super) fn read(bytes: Vec<u8>, sheets: &mut Sheets<'_, '_>) -> Result<(), Defect> {
    biff_guard::check(&bytes)?;
    let book = || {
        let mut book = Xls::new(Cursor::new(bytes)).map_err(|e| refusal(&e))?;
        let names: Vec<String> = (book.sheets_metadata().iter())
            .filter(|s| s.typ == SheetType::WorkSheet && s.visible == SheetVisible::Visible)
            .map(|sheet| sheet.name.clone())
            .collect();
        let mut ranges = Vec::new();
        for name in names {
            ranges.push(book.worksheet_range(&name).map_err(|e| refusal(&e))?);
        }
        Ok(ranges)
    };
    for range in guarded(book)? {
        let (first_row, first_column) = range.start().unwrap_or((0, 0));
        let indent = usize::try_from(first_column).unwrap_or(usize::MAX);
        for (line, row) in (u64::from(first_row) + 1..).zip(range.rows()) {
            sheets.count(row.len(), line)?;
            let mut cells = vec![Cell::default(); indent];
            for value in row {
                if let Data::String(text) = value {
                    sheets.count_text(text, line)?;
                }
                cells.push(text_of(value));
            }
            let filled = cells.iter().rposition(|cell| *cell != Cell::default());
            cells.truncate(filled.map_or(0, |last| last + 1));
            sheets.row(cells, line)?;
        }
        sheets.end_sheet();
    }
    Ok(())
}

fn text_of(value: &Data) -> Cell {
    match value {
        Data::Int(number) => Cell::number(number.to_string()),
        Data::Float(number) => Cell::number(number.to_string()),
        Data::String(text) => Cell::text(text),
        Data::Bool(truth) => Cell::text(if *truth { "TRUE" } else { "FALSE" }),
        Data::DateTime(date) => date_text(date),
        Data::DateTimeIso(text) | Data::DurationIso(text) => Cell::text(text),
        Data::Error(error) => error_text(error),
        Data::Empty => Cell::default(),
    }
}

/// A date cell as `2026-06-05 08:15:00`; the day is the one the sheet shows.
pub(super) fn date_text(date: &ExcelDateTime) -> Cell {
    let (year, month, day, hour, minute, second, _) = date.to_ymd_hms_milli();
    Cell::text(&format!(
        "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
    ))
}

/// A formula that failed, such as `#REF!`, stays a text, which no amount and no day can be.
pub(super) fn error_text(error: &CellErrorType) -> Cell {
    Cell::text(&error.to_string())
}

fn refusal(error: &XlsError) -> Defect {
    match error {
        XlsError::Password => protected(),
        other => broken(other),
    }
}
