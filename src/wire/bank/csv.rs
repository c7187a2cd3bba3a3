//! The rows of a CSV or TSV export. A text that is called `.xls` is one of these as often as not.
//!
//! Invariants: a quotation mark that is missing is found, never read over; `="0123"` is the text
//! 0123.

use super::profile::{detect, split};
use super::rows::Table;
use crate::base::{Defect, DefectCode};
use crate::wire::Sink;

/// Whether the head of a text is such an export.
pub(crate) fn recognises(head: &str) -> bool {
    detect(head).is_some()
}

/// Reads one file.
///
/// # Errors
/// The defect that refuses it.
pub(crate) fn read(text: &str, sink: &mut Sink<'_>) -> Result<(), Defect> {
    let (binding, place) = detect(text).ok_or_else(no_header)?;
    let mut table = Table::new("bank-csv", binding);
    for (line, text) in (1_u64..).zip(text[..place.header.start].lines()) {
        let cells: Vec<String> = split(text, place.delimiter)
            .iter()
            .map(|c| unwrap_cell(c))
            .collect();
        table.before(&cells, line)?;
    }
    let rows = &text[place.header.end..];
    if ends_in_quotes(rows, place.delimiter) {
        let found = "the file ends inside a quoted cell";
        return Err(Defect::new(DefectCode::Truncated, found));
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(place.delimiter)
        .from_reader(rows.as_bytes());
    let columns = split(&text[place.header.clone()], place.delimiter).len();
    let mut last = (0, 0);
    let mut record = csv::StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(e) => {
                let found = format!("the CSV is broken: {e}");
                return Err(Defect::new(DefectCode::Malformed, found));
            }
        }
        let line = place.header_line + record.position().map_or(0, csv::Position::line);
        check_quotes(&table, place.delimiter, &record, line)?;
        let cells: Vec<String> = record.iter().map(unwrap_cell).collect();
        last = (if table.is_row(&cells) { cells.len() } else { 0 }, line);
        table.row(&cells, line)?;
    }
    // A file that is cut may be cut where its rows still link: the last one is then shorter.
    if last.0 > 0 && last.0 < columns && !rows.ends_with(['\n', '\r']) {
        let found = format!("the last row has {} cells of {columns} and no end", last.0);
        return Err(Defect::new(DefectCode::Truncated, found).line(last.1));
    }
    table.finish(sink);
    Ok(())
}

/// The refusal of a file without a line of known column names.
pub(super) fn no_header() -> Defect {
    let found = "no header line has a date and an amount column of a known profile";
    Defect::new(DefectCode::MissingColumn, found)
}

/// A missing quotation mark makes one cell of many rows, which must not be lost in silence.
fn check_quotes(
    table: &Table,
    delimiter: u8,
    record: &csv::StringRecord,
    line: u64,
) -> Result<(), Defect> {
    let is_row = |text: &str| table.is_row(&split(text, delimiter));
    let swallowed = |text: &str| text.contains('\n') && text.lines().skip(1).any(is_row);
    if record.iter().any(swallowed) {
        let found = "a quoted cell holds other rows: a quotation mark is missing";
        return Err(Defect::new(DefectCode::Malformed, found).line(line));
    }
    Ok(())
}

/// Whether a quoted cell is still open at the end of a text; a reader of CSV closes it in silence.
fn ends_in_quotes(text: &str, delimiter: u8) -> bool {
    let (mut quoted, mut at_start) = (false, true);
    for byte in text.bytes() {
        if quoted {
            // A doubled mark closes and opens again, which leaves the state as it was.
            quoted = byte != b'"';
            at_start = !quoted;
        } else {
            quoted = byte == b'"' && at_start;
            at_start = byte == delimiter || matches!(byte, b'\n' | b'\r');
        }
    }
    quoted
}

/// A cell without padding, byte order mark, and the `="…"` that keeps spreadsheets from counting.
pub(super) fn unwrap_cell(text: &str) -> String {
    let text =
        text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}'));
    let inner = text
        .strip_prefix("=\"")
        .and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(text).trim().to_owned()
}
