//! One row and the values of its fields: days, amounts, ids, codes, texts.
//!
//! A value that cannot be read is a [`Defect`] naming its column.

use std::borrow::Cow;
use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;

use super::FileKind;
use crate::base::ids::SOURCE_ID_MAX_CHARS;
use crate::base::{Day, Defect, DefectCode};
use crate::wire::lines::SHOWN_BYTES;
use crate::wire::xml::clip;

/// Years in which a fact of a ledger of prepaid fees can lie.
pub const FACT_YEARS: std::ops::RangeInclusive<i32> = 2000..=2099;

/// The longest reference accepted, in characters.
pub const REFERENCE_MAX_CHARS: usize = 256;
/// The longest name, memo or other text accepted, in characters.
pub const TEXT_MAX_CHARS: usize = 2_000;
/// A row as text of at most [`SHOWN_BYTES`] and a mark where it was cut.
pub(super) fn record_text(line: &[u8]) -> String {
    let shown = &line[..line.len().min(SHOWN_BYTES)];
    let mut text = String::from_utf8_lossy(shown).replace('\0', "\u{fffd}");
    if shown.len() < line.len() {
        text.push_str("… (cut)");
    }
    text
}

/// One row, its fields bound by the index they have in [`FileKind::columns`].
pub struct Row<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) fields: &'a [Range<usize>],
    pub(super) text: &'a [u8],
    pub(super) positions: &'a [Option<usize>],
    pub(super) kind: FileKind,
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
