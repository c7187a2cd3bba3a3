//! Interchange files, version 1: the CSV files of a bundle (`interchange.md`), row by row.
//!
//! Invariants: columns are bound by name in any order; an absent optional column reads as absent; a
//! row that cannot be read is a [`Defect`] naming its column, and the next row is read all the same.
//! Absent on purpose: resolving ids (that is intake), and any judgement of what a row says.

use std::borrow::Cow;
use std::io::Read;
use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;

use super::lines::{Line, Lines, SHOWN_BYTES};
use super::xml::clip;
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

/// The longest reference accepted, in characters.
pub const REFERENCE_MAX_CHARS: usize = 256;
/// The longest name, memo or other text accepted, in characters.
pub const TEXT_MAX_CHARS: usize = 2_000;

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

/// A row as text of at most [`SHOWN_BYTES`] and a mark where it was cut.
fn record_text(line: &[u8]) -> String {
    let shown = &line[..line.len().min(SHOWN_BYTES)];
    let mut text = String::from_utf8_lossy(shown).replace('\0', "\u{fffd}");
    if shown.len() < line.len() {
        text.push_str("… (cut)");
    }
    text
}

/// One row, its fields bound by the index they have in [`FileKind::columns`].
pub struct Row<'a> {
    bytes: &'a [u8],
    fields: &'a [Range<usize>],
    text: &'a [u8],
    positions: &'a [Option<usize>],
    kind: FileKind,
    pub line: u64,
}

type Field<T> = Result<T, Defect>;

impl<'a> Row<'a> {
    /// The row as `(column, value)` pairs, for rows that wait for their parent.
    pub fn to_pairs(&self) -> Vec<(String, String)> {
        (self.kind.columns())
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
        record_text(self.text)
    }

    /// What the row is about, of its kind: the id of a fact or record, the account's day of a statement.
    pub fn subject(&self) -> String {
        let columns: &[usize] = match self.kind {
            FileKind::BankStatements => &[0, 1],
            FileKind::Settlements => &[2, 0],
            FileKind::Freezes => &[0, 2],
            _ => &[0],
        };
        let part =
            |column: &usize| String::from_utf8_lossy(self.bytes(*column).unwrap_or_default());
        columns.iter().map(part).collect::<Vec<_>>().join(" ")
    }

    fn name(&self, column: usize) -> &'static str {
        self.kind.columns()[column].trim_end_matches('?')
    }

    /// The defect of a field, with its place.
    pub fn defect(&self, code: DefectCode, column: usize, found: impl Into<String>) -> Defect {
        Defect::new(code, found)
            .line(self.line)
            .column(self.name(column))
    }

    /// The field's bytes, `None` where the column is absent or the cell empty.
    pub fn bytes(&self, column: usize) -> Option<&'a [u8]> {
        let field = self.fields.get(self.positions[column]?)?.clone();
        (!field.is_empty()).then(|| &self.bytes[field])
    }

    /// Text of at most [`TEXT_MAX_CHARS`], empty where absent.
    pub fn text(&self, column: usize) -> Field<&'a str> {
        self.text_within(column, TEXT_MAX_CHARS)
    }

    fn text_within(&self, column: usize, chars_max: usize) -> Field<&'a str> {
        let text = std::str::from_utf8(self.bytes(column).unwrap_or_default()).map_err(|_| {
            let found = "the field is not UTF-8; a bundle is UTF-8 throughout";
            self.defect(DefectCode::BadEncoding, column, found)
        })?;
        if text.contains('\0') {
            return Err(self.defect(DefectCode::BadEncoding, column, "the field has a NUL byte"));
        }
        if text.len() > chars_max && text.chars().count() > chars_max {
            let chars = text.chars().count();
            let found =
                format!("the text has {chars} characters; at most {chars_max} are accepted");
            return Err(self.defect(DefectCode::TooLarge, column, found));
        }
        Ok(text)
    }

    /// A reference of at most [`REFERENCE_MAX_CHARS`]: as matching compares it ([`plain_reference`]), and
    /// as sent where that differs, else empty.
    pub fn reference(&self, column: usize) -> Field<(Cow<'a, str>, &'a str)> {
        let sent = self.text_within(column, REFERENCE_MAX_CHARS)?;
        let plain = plain_reference(sent);
        let differs = if plain == sent { "" } else { sent };
        Ok((plain, differs))
    }

    /// Text, `None` where absent.
    pub fn opt_text(&self, column: usize) -> Field<Option<&'a str>> {
        let text = self.text(column)?;
        Ok((!text.is_empty()).then_some(text))
    }

    /// An opaque id of 1 to 64 characters.
    pub fn id(&self, column: usize) -> Field<&'a str> {
        let text = self.text_within(column, usize::MAX)?;
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
                format!(
                    "{:?} is not a whole number",
                    clip(&String::from_utf8_lossy(bytes))
                ),
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
                format!("{:?} is not a date", clip(&String::from_utf8_lossy(bytes))),
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
                        clip(&String::from_utf8_lossy(bytes)),
                        allowed.join(", ")
                    ),
                )
            })
    }
}

/// A reference as matching compares it (`feeds.md` §4.20): in Unicode's compatibility form, so that
/// full-width letters and digits meet plain ones, and without the white space, zero-width and control
/// characters that exports leave around ids.
pub fn plain_reference(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Cow::Borrowed(text);
    }
    let invisible =
        |c: &char| c.is_control() || matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}');
    // Before the compatibility form, which makes a plain space of a hard one.
    let kept = text.chars().filter(|c| !invisible(c) && *c != '\u{a0}');
    let plain: String = kept.nfkc().collect();
    let plain = plain.trim();
    if plain == text {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(plain.to_owned())
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

    #[test]
    fn a_reference_has_no_invisible_characters() {
        assert_eq!(plain_reference(" TX\u{200b}1\t\u{1f}2 "), "TX12");
        assert!(matches!(plain_reference("TX1"), Cow::Borrowed("TX1")));
        assert!(matches!(plain_reference("学费1"), Cow::Borrowed("学费1")));
    }

    #[test]
    fn a_full_width_reference_is_its_plain_one() {
        assert_eq!(plain_reference("ＲＸ１"), "RX1");
        assert_eq!(plain_reference("　（Ａ－１）\u{a0}"), "(A-1)");
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
