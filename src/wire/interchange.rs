//! Interchange files, version 1: the CSV files of a bundle (`interchange.md`), row by row.
//!
//! Invariants: columns are bound by name in any order; an absent optional column reads as absent; a
//! row that cannot be read is a [`Defect`] naming its column, and the next row is read all the same.
//! Absent on purpose: resolving ids (that is intake), and any judgement of what a row says.

use std::io::Read;

use csv::ByteRecord;

use crate::base::ids::SOURCE_ID_MAX_CHARS;
use crate::base::{Day, Defect, DefectCode};

/// The files of a bundle, in the order they must be read: parents before children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    Districts,
    Institutions,
    Licences,
    Accounts,
    Orders,
    Payments,
    Lessons,
    Refunds,
    Releases,
    Settlements,
    Freezes,
    BankStatements,
    BankEntries,
}

impl FileKind {
    pub const ALL: [FileKind; 13] = [
        FileKind::Districts,
        FileKind::Institutions,
        FileKind::Licences,
        FileKind::Accounts,
        FileKind::Orders,
        FileKind::Payments,
        FileKind::Lessons,
        FileKind::Refunds,
        FileKind::Releases,
        FileKind::Settlements,
        FileKind::Freezes,
        FileKind::BankStatements,
        FileKind::BankEntries,
    ];

    /// The file's name without `.csv`.
    pub const fn stem(self) -> &'static str {
        match self {
            FileKind::Districts => "districts",
            FileKind::Institutions => "institutions",
            FileKind::Licences => "licences",
            FileKind::Accounts => "accounts",
            FileKind::Orders => "orders",
            FileKind::Payments => "payments",
            FileKind::Lessons => "lessons",
            FileKind::Refunds => "refunds",
            FileKind::Releases => "releases",
            FileKind::Settlements => "settlements",
            FileKind::Freezes => "freezes",
            FileKind::BankStatements => "bank_statements",
            FileKind::BankEntries => "bank_entries",
        }
    }

    pub fn from_stem(stem: &str) -> Option<FileKind> {
        FileKind::ALL.into_iter().find(|kind| kind.stem() == stem)
    }

    /// The kind of a file named `payments.csv`.
    pub fn from_file_name(name: &str) -> Option<FileKind> {
        FileKind::from_stem(name.strip_suffix(".csv")?)
    }

    /// A file of facts, each with an id of its own in the first column.
    pub const fn is_fact(self) -> bool {
        matches!(
            self,
            FileKind::Payments
                | FileKind::Lessons
                | FileKind::Refunds
                | FileKind::Releases
                | FileKind::BankEntries
        )
    }

    /// Column names; those that may be absent end in `?`.
    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            FileKind::Districts => &[
                "district_id",
                "name",
                "kind?",
                "gb_code?",
                "parent_id?",
                "tile_col?",
                "tile_row?",
            ],
            FileKind::Institutions => &[
                "institution_id",
                "district_id",
                "name",
                "uscc?",
                "licence_kind?",
                "licence_no?",
                "licence_from?",
                "licence_to?",
                "department?",
                "category?",
                "subject?",
                "prepays?",
                "status?",
                "platform_since?",
                "opened_on?",
                "custody_mode?",
            ],
            FileKind::Licences => &[
                "licence_no",
                "name",
                "uscc?",
                "district_id",
                "department",
                "licence_from?",
                "licence_to?",
                "status?",
            ],
            FileKind::Accounts => &[
                "account_id",
                "institution_id",
                "kind",
                "min_deposit_fen",
                "bank_code?",
                "branch_district_id?",
                "agreement_no?",
                "agreement_from?",
                "agreement_to?",
                "filed_on?",
                "status?",
            ],
            FileKind::Orders => &[
                "order_id",
                "institution_id",
                "student_id",
                "ordered_on",
                "lessons",
                "unit_price_fen",
                "amount_fen",
                "gift_lessons?",
                "list_price_fen?",
                "subject_group?",
                "kind?",
                "starts_on?",
                "ends_on?",
                "extras_fen?",
            ],
            FileKind::Payments => &[
                "payment_id",
                "order_id",
                "institution_id",
                "account_id",
                "paid_on",
                "channel",
                "reference",
                "amount_fen",
            ],
            FileKind::Lessons => &[
                "consumption_id",
                "order_id",
                "consumed_on",
                "lessons",
                "amount_fen",
                "state?",
                "confirmed_on?",
            ],
            FileKind::Refunds => &[
                "refund_id",
                "order_id",
                "refunded_on",
                "amount_fen",
                "requested_on?",
                "agreed_on?",
                "cause?",
                "state?",
            ],
            FileKind::Releases => &[
                "release_id",
                "account_id",
                "approved_on",
                "amount_fen",
                "order_id?",
            ],
            FileKind::Settlements => &[
                "batch_no",
                "channel",
                "account_id",
                "period_from",
                "period_to",
                "gross_fen",
                "fee_fen",
                "refund_fen",
                "net_fen",
                "expected_on?",
            ],
            FileKind::Freezes => &[
                "account_id",
                "kind",
                "document_no",
                "amount_fen?",
                "from?",
                "to?",
            ],
            FileKind::BankStatements => &["account_id", "date", "opening_fen", "closing_fen"],
            FileKind::BankEntries => &[
                "entry_id",
                "account_id",
                "booked_on",
                "code",
                "direction",
                "amount_fen",
                "reference",
                "memo",
                "value_on?",
                "counterparty?",
            ],
        }
    }
}

/// Years in which a fact of a ledger of prepaid fees can lie.
pub const FACT_YEARS: std::ops::RangeInclusive<i32> = 2000..=2099;

/// A bundle file being read.
pub struct Reader<R> {
    csv: csv::Reader<R>,
    record: ByteRecord,
    kind: FileKind,
    /// Position in the file of each of [`FileKind::columns`].
    positions: Vec<Option<usize>>,
    header_len: usize,
    /// The CSV reader counts a line when it meets LF; in a CR LF file that is with the next record.
    line_offset: u64,
    /// Columns of the file that the contract does not name: said once, then ignored.
    pub unknown_columns: Vec<String>,
}

impl<R: Read> Reader<R> {
    /// Reads the header line.
    ///
    /// # Errors
    /// A header that cannot be read or lacks a required column; then no row can be used.
    pub fn new(kind: FileKind, input: R) -> Result<Reader<R>, Defect> {
        let mut csv = csv::ReaderBuilder::new()
            .flexible(true)
            .buffer_capacity(1 << 16)
            .from_reader(input);
        let header = csv
            .byte_headers()
            .map_err(|e| {
                Defect::new(DefectCode::Malformed, format!("no header line: {e}")).line(1)
            })?
            .clone();
        let line_offset = u64::from(csv.position().line() == 1);
        let mut names: Vec<String> = Vec::with_capacity(header.len());
        for (i, field) in header.iter().enumerate() {
            let field = if i == 0 {
                field.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(field)
            } else {
                field
            };
            let name = std::str::from_utf8(field).map_err(|_| {
                Defect::new(DefectCode::BadEncoding, "the header line is not UTF-8").line(1)
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
                    .line(1)
                    .column(name));
            }
            if position.is_none() && !optional {
                return Err(Defect::new(
                    DefectCode::MissingColumn,
                    format!("the header has no column {name}"),
                )
                .line(1)
                .column(name));
            }
            positions.push(position);
        }
        let known = |n: &str| kind.columns().iter().any(|c| c.trim_end_matches('?') == n);
        let unknown_columns = names.iter().filter(|n| !known(n)).cloned().collect();
        Ok(Reader {
            csv,
            record: ByteRecord::new(),
            kind,
            positions,
            header_len: header.len(),
            line_offset,
            unknown_columns,
        })
    }

    /// The next row, `None` at the end. A row that is no row at all is a defect; go on with the next.
    pub fn next_row(&mut self) -> Option<Result<Row<'_>, Defect>> {
        match self.csv.read_byte_record(&mut self.record) {
            Ok(false) => None,
            Ok(true) => {
                let line = self.line_offset + self.record.position().map_or(0, csv::Position::line);
                if self.record.len() != self.header_len {
                    return Some(Err(Defect::new(
                        DefectCode::Malformed,
                        format!(
                            "the row has {} fields, the header {}",
                            self.record.len(),
                            self.header_len
                        ),
                    )
                    .line(line)));
                }
                Some(Ok(Row {
                    record: &self.record,
                    positions: &self.positions,
                    columns: self.kind.columns(),
                    line,
                }))
            }
            Err(e) => {
                let line = self.line_offset + e.position().map_or(0, csv::Position::line);
                // The input failed: what follows is not there, which is not the end of the file.
                let code = if e.is_io_error() {
                    DefectCode::Unreadable
                } else {
                    DefectCode::Malformed
                };
                Some(Err(Defect::new(code, e.to_string()).line(line)))
            }
        }
    }

    /// Bytes of the file read so far, rows only.
    pub fn position(&self) -> u64 {
        self.csv.position().byte()
    }

    /// Gives the input back.
    pub fn into_inner(self) -> R {
        self.csv.into_inner()
    }

    /// The row last read, as text for the quarantine (invalid bytes shown as U+FFFD).
    pub fn raw_record(&self) -> String {
        record_text(&self.record)
    }
}

fn record_text(record: &ByteRecord) -> String {
    let fields: Vec<_> = record.iter().map(String::from_utf8_lossy).collect();
    fields.join(",").replace('\0', "\u{fffd}")
}

/// One row, its fields bound by the index they have in [`FileKind::columns`].
pub struct Row<'a> {
    record: &'a ByteRecord,
    positions: &'a [Option<usize>],
    columns: &'static [&'static str],
    pub line: u64,
}

type Field<T> = Result<T, Defect>;

impl<'a> Row<'a> {
    /// The row as `(column, value)` pairs, for rows that wait for their parent.
    pub fn to_pairs(&self) -> Vec<(String, String)> {
        self.columns
            .iter()
            .enumerate()
            .filter_map(|(i, c)| {
                let value = self.bytes(i)?;
                Some((
                    c.trim_end_matches('?').to_owned(),
                    String::from_utf8_lossy(value).into_owned(),
                ))
            })
            .collect()
    }

    pub fn raw_record(&self) -> String {
        record_text(self.record)
    }

    fn name(&self, column: usize) -> &'static str {
        self.columns[column].trim_end_matches('?')
    }

    /// The defect of a field, with its place.
    pub fn defect(&self, code: DefectCode, column: usize, found: impl Into<String>) -> Defect {
        Defect::new(code, found)
            .line(self.line)
            .column(self.name(column))
    }

    /// The field's bytes, `None` where the column is absent or the cell empty.
    pub fn bytes(&self, column: usize) -> Option<&'a [u8]> {
        let field = self.record.get(self.positions[column]?)?;
        (!field.is_empty()).then_some(field)
    }

    /// Text, empty where absent.
    pub fn text(&self, column: usize) -> Field<&'a str> {
        let text = std::str::from_utf8(self.bytes(column).unwrap_or_default())
            .map_err(|_| self.defect(DefectCode::BadEncoding, column, "the field is not UTF-8"))?;
        if text.contains('\0') {
            return Err(self.defect(DefectCode::BadEncoding, column, "the field has a NUL byte"));
        }
        Ok(text)
    }

    /// A reference, as matching compares it: without the white space, zero-width and control characters
    /// that exports leave around ids (`feeds.md` §4.20).
    pub fn reference(&self, column: usize) -> Field<std::borrow::Cow<'a, str>> {
        self.text(column).map(plain_reference)
    }

    /// Text, `None` where absent.
    pub fn opt_text(&self, column: usize) -> Field<Option<&'a str>> {
        let text = self.text(column)?;
        Ok((!text.is_empty()).then_some(text))
    }

    /// An opaque id of 1 to 64 characters.
    pub fn id(&self, column: usize) -> Field<&'a str> {
        let text = self.text(column)?;
        if text.is_empty() {
            return Err(self.defect(DefectCode::MissingValue, column, "the id is empty"));
        }
        if text.len() > SOURCE_ID_MAX_CHARS && text.chars().count() > SOURCE_ID_MAX_CHARS {
            return Err(self.defect(
                DefectCode::BadId,
                column,
                format!("the id has {} characters", text.chars().count()),
            ));
        }
        if text.bytes().any(|b| b.is_ascii_control()) {
            return Err(self.defect(DefectCode::BadId, column, "the id has a control character"));
        }
        Ok(text)
    }

    pub fn opt_id(&self, column: usize) -> Field<Option<&'a str>> {
        if self.bytes(column).is_none() {
            Ok(None)
        } else {
            self.id(column).map(Some)
        }
    }

    /// A whole number, negative or not.
    pub fn integer(&self, column: usize) -> Field<i64> {
        let bytes = self.bytes(column).ok_or_else(|| {
            self.defect(DefectCode::MissingValue, column, "the number is missing")
        })?;
        parse_integer(bytes).ok_or_else(|| {
            self.defect(
                DefectCode::BadAmount,
                column,
                format!("{:?} is not a whole number", String::from_utf8_lossy(bytes)),
            )
        })
    }

    /// An amount in fen that may not be negative: the columns say what a sign would.
    pub fn fen(&self, column: usize) -> Field<i64> {
        let fen = self.integer(column)?;
        if fen < 0 {
            return Err(self.defect(DefectCode::BadAmount, column, format!("{fen} is negative")));
        }
        Ok(fen)
    }

    pub fn opt_fen(&self, column: usize) -> Field<Option<i64>> {
        if self.bytes(column).is_none() {
            Ok(None)
        } else {
            self.fen(column).map(Some)
        }
    }

    pub fn day(&self, column: usize) -> Field<Day> {
        let bytes = self
            .bytes(column)
            .ok_or_else(|| self.defect(DefectCode::MissingValue, column, "the date is missing"))?;
        Day::parse_iso(bytes).ok_or_else(|| {
            self.defect(
                DefectCode::BadDate,
                column,
                format!("{:?} is not a date", String::from_utf8_lossy(bytes)),
            )
        })
    }

    /// The day of a fact, inside [`FACT_YEARS`]: a typing error must not open decades of expected days.
    pub fn fact_day(&self, column: usize) -> Field<Day> {
        let day = self.day(column)?;
        if FACT_YEARS.contains(&day.year()) {
            Ok(day)
        } else {
            let (first, last) = (FACT_YEARS.start(), FACT_YEARS.end());
            let found = format!("{day} is outside the years {first} to {last}");
            Err(self.defect(DefectCode::BadDate, column, found))
        }
    }

    pub fn opt_day(&self, column: usize) -> Field<Option<Day>> {
        if self.bytes(column).is_none() {
            Ok(None)
        } else {
            self.day(column).map(Some)
        }
    }

    /// One of the values the contract allows, by its position; `absent` where the cell is empty.
    pub fn code(
        &self,
        column: usize,
        allowed: &[&'static str],
        absent: Option<&'static str>,
    ) -> Field<&'static str> {
        let Some(bytes) = self.bytes(column) else {
            return absent.ok_or_else(|| {
                self.defect(DefectCode::MissingValue, column, "the value is missing")
            });
        };
        allowed
            .iter()
            .copied()
            .find(|a| a.as_bytes() == bytes)
            .ok_or_else(|| {
                self.defect(
                    DefectCode::BadCode,
                    column,
                    format!(
                        "{:?} is not one of {}",
                        String::from_utf8_lossy(bytes),
                        allowed.join(", ")
                    ),
                )
            })
    }
}

/// A reference without invisible characters.
pub fn plain_reference(text: &str) -> std::borrow::Cow<'_, str> {
    let invisible =
        |c: char| c.is_control() || matches!(c, '\u{a0}' | '\u{200b}'..='\u{200d}' | '\u{feff}');
    let text = text.trim();
    if text.contains(invisible) {
        let kept: String = text.chars().filter(|c| !invisible(*c)).collect();
        std::borrow::Cow::Owned(kept.trim().to_owned())
    } else {
        std::borrow::Cow::Borrowed(text)
    }
}

/// Digits of a number: amounts below ten trillion yuan, whose sums cannot leave 64 bits.
const AMOUNT_DIGITS_MAX: usize = 15;

/// Plain digits with an optional sign; no spaces, no separators, no exponent.
fn parse_integer(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    if digits.is_empty() || digits.len() > AMOUNT_DIGITS_MAX {
        return None;
    }
    let mut value = 0_i64;
    for b in digits {
        if !b.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(b - b'0');
    }
    Some(if negative { -value } else { value })
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

    #[test]
    fn a_reference_has_no_invisible_characters() {
        assert_eq!(plain_reference(" TX\u{200b}1\t\u{1f}2 "), "TX12");
        assert!(matches!(
            plain_reference("TX1"),
            std::borrow::Cow::Borrowed("TX1")
        ));
    }

    #[test]
    fn integers_are_plain_digits() {
        assert_eq!(parse_integer(b"-12"), Some(-12));
        for bad in [
            "",
            "-",
            "1.0",
            "1,000",
            " 1",
            "1e3",
            "0x1",
            "9999999999999999999",
        ] {
            assert_eq!(parse_integer(bad.as_bytes()), None, "{bad}");
        }
    }
}
