//! Interchange files, version 1: the CSV files of a bundle (`interchange.md`), row by row.
//!
//! Invariants: columns are bound by name in any order; an absent optional column reads as absent; a
//! row that cannot be read is a [`Defect`] naming its column, and the next row is read all the same.
//! Absent on purpose: resolving ids (that is intake), and any judgement of what a row says.

mod kind;
mod row;

use std::io::Read;

use super::lines::{Line, Lines};
use crate::base::{Defect, DefectCode};

pub use kind::FileKind;
use row::record_text;
pub use row::{FACT_YEARS, REFERENCE_MAX_CHARS, Row, TEXT_MAX_CHARS, plain_reference};

/// A bundle file being read.
pub struct Reader<R> {
    lines: Lines<R>,
    kind: FileKind,
    /// Position in the file of each of [`FileKind::columns`].
    positions: Vec<Option<usize>>,
    header_len: usize,
    /// Columns of the file that the contract does not name: said once, then ignored.
    pub unknown_columns: Vec<String>,
}

impl<R: Read> Reader<R> {
    /// Reads the header line.
    ///
    /// # Errors
    /// A header that cannot be read or lacks a required column; then no row can be used.
    pub fn new(kind: FileKind, input: R) -> Result<Reader<R>, Defect> {
        let mut lines = Lines::new(input);
        let no_header = |found: String| Defect::new(DefectCode::Malformed, found).line(1);
        match lines.next() {
            Ok(Line::Row) => {}
            Ok(Line::Broken(found)) => return Err(no_header(found).line(lines.line)),
            Ok(Line::End) => return Err(no_header("the file has no header line".to_owned())),
            Err(e) => return Err(Defect::new(DefectCode::Unreadable, e.to_string()).line(1)),
        }
        let header_line = lines.line;
        let (bytes, fields) = lines.fields();
        let mut names: Vec<String> = Vec::with_capacity(fields.len());
        for field in fields {
            let name = std::str::from_utf8(&bytes[field.clone()]).map_err(|_| {
                let found = "the header line is not UTF-8; a bundle is UTF-8 throughout";
                Defect::new(DefectCode::BadEncoding, found).line(header_line)
            })?;
            names.push(name.trim().to_owned());
        }
        let mut positions = Vec::new();
        for column in kind.columns() {
            let (name, optional) = match column.strip_suffix('?') {
                Some(name) => (name, true),
                None => (*column, false),
            };
            let mut places = (0..names.len()).filter(|i| names[*i] == name);
            let position = places.next();
            if places.next().is_some() {
                let found = format!("the header names the column {name} twice");
                return Err(Defect::new(DefectCode::Malformed, found)
                    .line(header_line)
                    .column(name));
            }
            if position.is_none() && !optional {
                return Err(Defect::new(
                    DefectCode::MissingColumn,
                    format!("the header has no column {name}"),
                )
                .line(header_line)
                .column(name));
            }
            positions.push(position);
        }
        let known = |n: &str| kind.columns().iter().any(|c| c.trim_end_matches('?') == n);
        let unknown_columns = names.iter().filter(|n| !known(n)).cloned().collect();
        Ok(Reader {
            lines,
            kind,
            positions,
            header_len: names.len(),
            unknown_columns,
        })
    }

    /// The next row, `None` at the end. A row that is no row at all is a defect; go on with the next.
    pub fn next_row(&mut self) -> Option<Result<Row<'_>, Defect>> {
        let found = match self.lines.next() {
            Ok(Line::End) => return None,
            Ok(Line::Row) => {
                let (bytes, fields) = self.lines.fields();
                if fields.len() == self.header_len {
                    return Some(Ok(Row {
                        bytes,
                        fields,
                        text: self.lines.text(),
                        positions: &self.positions,
                        kind: self.kind,
                        line: self.lines.line,
                    }));
                }
                let (found, wanted) = (fields.len(), self.header_len);
                Defect::new(
                    DefectCode::Malformed,
                    format!("the row has {found} fields, the header {wanted}"),
                )
            }
            Ok(Line::Broken(found)) => Defect::new(DefectCode::Malformed, found),
            // The input failed: what follows is not there, which is not the end of the file.
            Err(e) => Defect::new(DefectCode::Unreadable, e.to_string()),
        };
        Some(Err(found.line(self.lines.line)))
    }

    /// Bytes of the file read so far.
    pub fn position(&self) -> u64 {
        self.lines.position()
    }

    /// Gives the input back.
    pub fn into_inner(self) -> R {
        self.lines.into_inner()
    }

    /// The row last read, as text for the quarantine (invalid bytes shown as U+FFFD).
    pub fn raw_record(&self) -> String {
        record_text(self.lines.text())
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Result<i64, Defect>> {
        let mut reader = Reader::new(FileKind::BankStatements, text.as_bytes()).unwrap();
        let mut out = Vec::new();
        while let Some(row) = reader.next_row() {
            out.push(row.and_then(|r| r.fen(3)));
        }
        out
    }

    #[test]
    fn binds_columns_by_name_in_any_order() {
        let rows = read("closing_fen,opening_fen,extra,date,account_id\n7,1,x,2025-03-01,A\n");
        assert_eq!(rows, vec![Ok(7)]);
    }

    #[test]
    fn a_letter_in_an_amount_names_line_and_column() {
        let rows =
            read("account_id,date,opening_fen,closing_fen\nA,2025-03-01,1,1x\nA,2025-03-02,1,2\n");
        let defect = rows[0].as_ref().unwrap_err();
        assert_eq!(
            (
                defect.code,
                defect.place.line,
                defect.place.column.as_deref()
            ),
            (DefectCode::BadAmount, Some(2), Some("closing_fen"))
        );
        assert_eq!(rows[1], Ok(2));
    }

    #[test]
    fn lines_are_counted_alike_with_either_ending() {
        for end in ["\n", "\r\n"] {
            let rows = [
                "account_id,date,opening_fen,closing_fen",
                "A,2025-03-01,1,2",
                "A,2025-03-02,1,x",
            ];
            let rows = read(&(rows.join(end) + end));
            let defect = rows[1].as_ref().unwrap_err();
            assert_eq!(defect.place.line, Some(3), "{end:?}");
        }
    }

    #[test]
    fn blank_lines_count_as_an_editor_counts_them() {
        let header = "account_id,date,opening_fen,closing_fen";
        let lines = |text: &str| -> Vec<_> {
            let rows = read(text);
            rows.into_iter()
                .map(|r| r.unwrap_err().place.line)
                .collect()
        };
        let text = format!("{header}\n\n\nD1\nA,2026-01-01,1,x\n\n,y\n");
        assert_eq!(lines(&text), [Some(4), Some(5), Some(7)]);
        assert_eq!(lines(&format!("{header}\r\n\r\nD1")), [Some(3)]);
        assert_eq!(lines(&format!("\u{feff}\n{header}\nD1")), [Some(3)]);
    }

    #[test]
    fn a_missing_column_is_named() {
        let text = "account_id,date,opening_fen\n";
        let Err(defect) = Reader::new(FileKind::BankStatements, text.as_bytes()) else {
            panic!("the header should be refused");
        };
        assert_eq!(
            (defect.code, defect.place.column.as_deref()),
            (DefectCode::MissingColumn, Some("closing_fen"))
        );
    }
}
