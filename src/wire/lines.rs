//! The rows of a bundle's CSV, one physical line each.
//!
//! Invariants: a row ends with its line whatever its quotation marks say, so that a stray one costs its
//! own row and no other; memory is bounded by [`ROW_BYTES_MAX`]; lines are counted as an editor counts
//! them, blank ones too; LF, CR LF and CR end a line.
//! Absent on purpose: fields over several lines. No field of the interchange needs one.

use std::io::{self, Read};
use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2};

/// The longest row read, in bytes.
pub const ROW_BYTES_MAX: usize = 1 << 20;
/// Bytes held at first; more only for a row that needs them.
const BUFFER_BYTES: usize = 64 << 10;
/// Bytes shown of a row that cannot be used.
pub(super) const SHOWN_BYTES: usize = 4 << 10;

/// A byte order mark.
const MARK: &[u8] = b"\xEF\xBB\xBF";

const QUOTES: &str = "a quotation mark is missing or stray: write one row on one line, put a field that holds \
                      commas or quotation marks in quotation marks, and double those inside it";

/// A line that was read.
pub(super) enum Line {
    /// Its fields are in [`Lines::fields`].
    Row,
    /// No row: what was found, with its remedy.
    Broken(String),
    End,
}

/// A CSV being read.
pub(super) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// Unread bytes of the buffer.
    unread: Range<usize>,
    at_end: bool,
    /// The last line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    /// Bytes taken from the input.
    taken: u64,
    /// Number of the line read last, from 1.
    pub(super) line: u64,
    /// Place in the buffer of the line read last.
    text: Range<usize>,
    /// Fields of a line with quotation marks, or the head of one that is too long.
    plain: Vec<u8>,
    is_plain: bool,
    fields: Vec<Range<usize>>,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R) -> Lines<R> {
        Lines {
            input,
            buffer: vec![0; BUFFER_BYTES],
            unread: 0..0,
            at_end: false,
            after_cr: false,
            taken: 0,
            line: 0,
            text: 0..0,
            plain: Vec::new(),
            is_plain: false,
            fields: Vec::new(),
        }
    }

    /// Reads the next line that is not blank.
    pub(super) fn next(&mut self) -> io::Result<Line> {
        loop {
            if !self.next_line()? {
                return Ok(Line::End);
            }
            if self.line == 1 && self.buffer[self.text.clone()].starts_with(MARK) {
                self.text.start += MARK.len();
            }
            if self.text.len() > ROW_BYTES_MAX {
                let found = format!(
                    "the row has more than {ROW_BYTES_MAX} bytes: end each row with its line, and shorten its fields"
                );
                return Ok(Line::Broken(found));
            }
            if !self.text.is_empty() {
                break;
            }
        }
        Ok(if self.split() {
            Line::Row
        } else {
            Line::Broken(QUOTES.to_owned())
        })
    }

    /// The fields of the row read last: their bytes and places.
    pub(super) fn fields(&self) -> (&[u8], &[Range<usize>]) {
        let bytes = if self.is_plain {
            &self.plain
        } else {
            &self.buffer
        };
        (bytes, &self.fields)
    }

    /// The line read last, as sent; only its head where it is too long.
    pub(super) fn text(&self) -> &[u8] {
        if self.text.len() > ROW_BYTES_MAX {
            &self.plain
        } else {
            &self.buffer[self.text.clone()]
        }
    }

    /// Bytes read up to the end of the line read last.
    pub(super) fn position(&self) -> u64 {
        self.taken - self.unread.len() as u64
    }

    pub(super) fn into_inner(self) -> R {
        self.input
    }

    /// Finds the next line; false at the end. A line that is too long is read to its end all the same,
    /// and its place is longer than [`ROW_BYTES_MAX`].
    fn next_line(&mut self) -> io::Result<bool> {
        if self.unread.is_empty() && !self.fill()? {
            return Ok(false);
        }
        if self.after_cr && self.buffer[self.unread.start] == b'\n' {
            self.unread.start += 1;
        }
        self.after_cr = false;
        let mut searched = 0;
        loop {
            let unread = &self.buffer[self.unread.clone()];
            if let Some(at) = memchr2(b'\n', b'\r', &unread[searched..]) {
                self.after_cr = unread[searched + at] == b'\r';
                self.take(searched + at, 1);
                return Ok(true);
            }
            searched = unread.len();
            if searched > ROW_BYTES_MAX {
                return self.pass_over(searched);
            }
            if !self.fill()? {
                let rest = self.unread.len();
                self.take(rest, 0);
                return Ok(rest > 0);
            }
        }
    }

    fn take(&mut self, length: usize, ending: usize) {
        self.text = self.unread.start..self.unread.start + length;
        self.unread.start += length + ending;
        self.line += 1;
    }

    /// Goes to the end of a line that is too long, keeping its head.
    fn pass_over(&mut self, length: usize) -> io::Result<bool> {
        self.plain.clear();
        let head = self.unread.start..self.unread.start + SHOWN_BYTES + 1;
        self.plain.extend_from_slice(&self.buffer[head]);
        self.line += 1;
        self.unread.start = self.unread.end;
        self.text = 0..length;
        while self.fill()? {
            let unread = &self.buffer[self.unread.clone()];
            if let Some(at) = memchr2(b'\n', b'\r', unread) {
                self.after_cr = unread[at] == b'\r';
                self.unread.start += at + 1;
                break;
            }
            self.unread.start = self.unread.end;
        }
        Ok(true)
    }

    /// Takes more of the input behind what is unread; false at its end.
    fn fill(&mut self) -> io::Result<bool> {
        if self.at_end {
            return Ok(false);
        }
        if self.unread.start > 0 {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        if self.unread.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = loop {
            match self.input.read(&mut self.buffer[self.unread.end..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.unread.end += read;
        self.taken += read as u64;
        self.at_end = read == 0;
        Ok(read > 0)
    }

    /// Finds the fields of the line; false where its quotation marks do not pair.
    fn split(&mut self) -> bool {
        self.fields.clear();
        let line = &self.buffer[self.text.clone()];
        self.is_plain = memchr(b'"', line).is_some();
        if self.is_plain {
            return unquote(line, &mut self.plain, &mut self.fields);
        }
        let mut start = self.text.start;
        for at in memchr_iter(b',', line) {
            let comma = self.text.start + at;
            self.fields.push(start..comma);
            start = comma + 1;
        }
        self.fields.push(start..self.text.end);
        true
    }
}

/// Splits a line with quotation marks. Outside a quoted field they are text as long as they pair.
fn unquote(line: &[u8], plain: &mut Vec<u8>, fields: &mut Vec<Range<usize>>) -> bool {
    plain.clear();
    let mut rest = line;
    loop {
        let start = plain.len();
        if let Some(quoted) = rest.strip_prefix(b"\"") {
            rest = quoted;
            loop {
                let Some(at) = memchr(b'"', rest) else {
                    return false;
                };
                plain.extend_from_slice(&rest[..at]);
                rest = &rest[at + 1..];
                let Some(doubled) = rest.strip_prefix(b"\"") else {
                    break;
                };
                plain.push(b'"');
                rest = doubled;
            }
        } else {
            let end = memchr(b',', rest).unwrap_or(rest.len());
            if !memchr_iter(b'"', &rest[..end]).count().is_multiple_of(2) {
                return false;
            }
            plain.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
        }
        fields.push(start..plain.len());
        match rest.split_first() {
            None => return true,
            Some((b',', more)) => rest = more,
            Some(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of a length.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(buffer.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    /// Lines with their fields; none for a broken one.
    fn read(text: &str, piece: usize) -> Vec<(u64, Option<Vec<String>>)> {
        let mut lines = Lines::new(Pieces(text.as_bytes(), piece));
        let mut found = Vec::new();
        loop {
            let row = match lines.next().expect("a slice can be read") {
                Line::End => break,
                Line::Broken(_) => None,
                Line::Row => {
                    let (bytes, fields) = lines.fields();
                    let text = |f: &Range<usize>| String::from_utf8_lossy(&bytes[f.clone()]).into();
                    Some(fields.iter().map(text).collect())
                }
            };
            found.push((lines.line, row));
        }
        assert_eq!(lines.position(), text.len() as u64);
        found
    }

    #[track_caller]
    fn check(text: &str, expected: &[(u64, Option<&[&str]>)]) {
        for piece in [1, 7, 1 << 16] {
            let found = read(text, piece);
            let found: Vec<(u64, Option<Vec<&str>>)> = (found.iter())
                .map(|(line, row)| {
                    let row = row.as_ref().map(|r| r.iter().map(String::as_str).collect());
                    (*line, row)
                })
                .collect();
            let expected: Vec<_> = (expected.iter())
                .map(|(line, row)| (*line, row.map(<[&str]>::to_vec)))
                .collect();
            assert_eq!(found, expected, "{text:?} in pieces of {piece}");
        }
    }

    #[test]
    fn a_row_is_a_line_and_blank_lines_count() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["a,b", "", "", "c,", ",d", "e"].join(end);
            let rows: [(u64, Option<&[&str]>); 4] = [
                (1, Some(&["a", "b"])),
                (4, Some(&["c", ""])),
                (5, Some(&["", "d"])),
                (6, Some(&["e"])),
            ];
            check(&text, &rows);
            check(&(text + end), &rows);
        }
        check("", &[]);
    }

    #[test]
    fn quoted_fields_hold_commas_and_doubled_marks() {
        let row: &[&str] = &["a,b", "c\"d", "", "e \"f\" g", "h"];
        check("\"a,b\",\"c\"\"d\",\"\",e \"f\" g,h\n", &[(1, Some(row))]);
    }

    #[test]
    fn a_stray_mark_costs_its_own_line() {
        for broken in ["a,\"b", "a,b\"", "\"a\"b,c", "a,\"b\"\"", "\""] {
            let text = format!("x\n{broken}\ny\n");
            check(&text, &[(1, Some(&["x"])), (2, None), (3, Some(&["y"]))]);
        }
    }

    #[test]
    fn a_row_without_end_is_passed_over() {
        let long = "x".repeat(ROW_BYTES_MAX + 1);
        let fits = "x".repeat(ROW_BYTES_MAX);
        for end in ["\n", "\r\n"] {
            let text = [long.as_str(), "a", &fits, "b", ""].join(end);
            let rows: [(u64, Option<&[&str]>); 4] = [
                (1, None),
                (2, Some(&["a"])),
                (3, Some(&[&fits])),
                (4, Some(&["b"])),
            ];
            check(&text, &rows);
        }
        assert_eq!(read(&long, 1 << 16), [(1, None)]);
    }
}
