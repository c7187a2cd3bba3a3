//! Bytes to UTF-8 text, strictly: a byte that fits no rule is a defect, never a replacement
//! character.
//!
//! Two doors, one rule each (`feeds.md` §2, §4.14):
//! - [`read_text`] for MT and CSV files, which name no charset: byte order mark, else strict UTF-8
//!   of the whole file, else strict GB18030, else refused. The whole file must be seen to tell, so
//!   it is held once and limited by [`TEXT_MAX_BYTES`]; UTF-8 is taken over without a copy.
//! - [`Decoded`] for XML, which names its charset in its first bytes: a streaming adapter of fixed
//!   memory, with a budget that stops a reader from buffering an endless token.
//!
//! Neither lets U+0000 through: no database holds it in a text, and no bank means it. Blocks of it behind the
//! end of a text file are padding, and are cut off.
//!
//! Absent on purpose: statistical detection, and lossy decoding.

use std::io::{self, BufRead, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding, GB18030, GBK, UTF_8};
use memchr::{memchr, memchr_iter};

use crate::base::{Defect, DefectCode};

/// The longest MT or CSV file that is read; larger ones are split by their sender.
pub const TEXT_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// The longest line of an MT or CSV file.
pub const LINE_MAX_BYTES: usize = 64 * 1024;
/// How many bytes are looked at for an XML declaration.
const DECLARATION_BYTES: usize = 1024;
/// How many raw bytes are decoded at a time.
const CHUNK_BYTES: usize = 32 * 1024;
/// Room for a decoded chunk: no supported charset grows more than threefold in UTF-8.
const CHUNK_OUT_BYTES: usize = CHUNK_BYTES * 3 + 64;

/// Reads a whole text file and tells its charset by the fixed rule of the module.
///
/// # Errors `UNREADABLE`, `TOO_LARGE` (file or line), `TRUNCATED` (empty), `BAD_ENCODING` with byte
/// and line, `MALFORMED` for U+0000 with its line.
pub(crate) fn read_text(reader: impl BufRead) -> Result<String, Defect> {
    let bytes = read_bytes(reader, TEXT_MAX_BYTES, "TEXT_MAX_BYTES")?;
    check_lines(&bytes)?;
    decode_bytes(bytes)
}

/// Reads a whole file into memory, no further than its limit.
///
/// # Errors `UNREADABLE`, `TOO_LARGE` with the limit and its name.
pub(crate) fn read_bytes(
    reader: impl BufRead,
    bytes_max: u64,
    limit: &str,
) -> Result<Vec<u8>, Defect> {
    let mut bytes = Vec::new();
    reader
        .take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| unreadable(&e))?;
    if bytes.len() as u64 > bytes_max {
        let found = format!("the file is longer than {bytes_max} bytes (limit {limit})");
        return Err(Defect::new(DefectCode::TooLarge, found));
    }
    Ok(bytes)
}

/// Tells the charset of whole bytes by the fixed rule of the module; for texts of tags, whose lines
/// have no limit.
///
/// # Errors `TRUNCATED` (empty), `BAD_ENCODING` with byte and line, `MALFORMED` for U+0000.
pub(crate) fn decode_bytes(bytes: Vec<u8>) -> Result<String, Defect> {
    let text = without_nul(decode_text(bytes)?)?;
    if text.trim().is_empty() {
        return Err(Defect::new(DefectCode::Truncated, "the file is empty"));
    }
    Ok(text)
}

/// Decodes bytes in the charset their own header names.
///
/// # Errors `BAD_ENCODING` with byte and line, `MALFORMED` for U+0000.
pub(crate) fn decode_as(encoding: &'static Encoding, bytes: Vec<u8>) -> Result<String, Defect> {
    decoded_as(encoding, bytes).and_then(without_nul)
}

fn decoded_as(encoding: &'static Encoding, bytes: Vec<u8>) -> Result<String, Defect> {
    if encoding == UTF_8 {
        return String::from_utf8(bytes).map_err(|e| {
            let at = e.utf8_error().valid_up_to();
            bad_encoding("UTF-8", at, e.as_bytes(), at)
        });
    }
    strict(encoding, &bytes).map_err(|at| bad_encoding(encoding.name(), at, &bytes, at))
}

/// Decodes the start of a file for recognition only; the tail of a cut character is dropped.
pub(crate) fn decode_head(bytes: &[u8], limit: usize) -> String {
    let cut = bytes.len() > limit;
    let head = &bytes[..bytes.len().min(limit)];
    if let Some((encoding, length)) = Encoding::for_bom(head) {
        return encoding
            .decode_without_bom_handling(&head[length..])
            .0
            .into_owned();
    }
    match std::str::from_utf8(head) {
        Ok(text) => text.to_owned(),
        Err(e) if cut && e.error_len().is_none() => {
            String::from_utf8_lossy(&head[..e.valid_up_to()]).into_owned()
        }
        Err(_) => GB18030.decode_without_bom_handling(head).0.into_owned(),
    }
}

fn check_lines(bytes: &[u8]) -> Result<(), Defect> {
    let mut start = 0;
    let ends = memchr_iter(b'\n', bytes).chain(std::iter::once(bytes.len()));
    for (line, end) in (1_u64..).zip(ends) {
        if end - start > LINE_MAX_BYTES {
            return Err(Defect::new(
                DefectCode::TooLarge,
                format!("a line is longer than {LINE_MAX_BYTES} bytes (limit LINE_MAX_BYTES)"),
            )
            .line(line));
        }
        start = end + 1;
    }
    Ok(())
}

fn decode_text(mut bytes: Vec<u8>) -> Result<String, Defect> {
    if let Some((encoding, length)) = Encoding::for_bom(&bytes) {
        bytes.drain(..length);
        if encoding == UTF_8 {
            return String::from_utf8(bytes).map_err(|e| {
                let at = e.utf8_error().valid_up_to();
                bad_encoding(
                    "UTF-8, as its byte order mark says",
                    at + length,
                    e.as_bytes(),
                    at,
                )
            });
        }
        return strict(encoding, &bytes)
            .map_err(|at| bad_encoding(encoding.name(), at + length, &bytes, at));
    }
    let (bytes, utf8_at) = match String::from_utf8(bytes) {
        Ok(text) => return Ok(text),
        Err(e) => {
            let at = e.utf8_error().valid_up_to();
            (e.into_bytes(), at)
        }
    };
    strict(GB18030, &bytes).map_err(|gb_at| {
        let at = utf8_at.max(gb_at);
        bad_encoding("UTF-8 or GB18030", at, &bytes, at)
    })
}

/// Decodes without replacement; the error is the offset of the first byte that does not fit.
fn strict(encoding: &'static Encoding, bytes: &[u8]) -> Result<String, usize> {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let room = decoder
        .max_utf8_buffer_length_without_replacement(bytes.len())
        .unwrap_or(0);
    let mut text = String::with_capacity(room);
    match decoder.decode_to_string_without_replacement(bytes, &mut text, true) {
        (DecoderResult::InputEmpty, _) => Ok(text),
        (DecoderResult::OutputFull, read) => Err(read),
        (DecoderResult::Malformed(bad, after), read) => {
            Err(read.saturating_sub(usize::from(bad) + usize::from(after)))
        }
    }
}

fn bad_encoding(charset: &str, offset: usize, bytes: &[u8], at: usize) -> Defect {
    let line = 1 + memchr_iter(b'\n', &bytes[..at.min(bytes.len())]).count();
    Defect::new(
        DefectCode::BadEncoding,
        format!("byte {offset} of the file is not {charset}"),
    )
    .line(line as u64)
}

/// Cuts padding off and refuses any other U+0000.
fn without_nul(mut text: String) -> Result<String, Defect> {
    let padding = |c: char| c.is_whitespace() || matches!(c, '\0' | '\u{1a}');
    let end = text.trim_end_matches(padding).len();
    match memchr(0, text.as_bytes()) {
        None => {}
        Some(at) if at >= end => text.truncate(at),
        Some(at) => return Err(nul().line(1 + newlines(&text.as_bytes()[..at]))),
    }
    Ok(text)
}

fn nul() -> Defect {
    let found = "a text holds the character U+0000, which no statement may";
    Defect::new(DefectCode::Malformed, found)
}

fn unreadable(e: &io::Error) -> Defect {
    Defect::new(
        DefectCode::Unreadable,
        format!("the file could not be read: {e}"),
    )
}

/// A reader of strict UTF-8 over a reader of XML bytes in their declared charset.
///
/// Invariants: memory is fixed; the first failure is kept as a [`Defect`] and repeated; at most
/// `budget` bytes are handed out between two calls of [`Decoded::allow`].
pub(crate) struct Decoded<R> {
    source: R,
    decoder: Decoder,
    head: Vec<u8>,
    head_at: usize,
    out: Vec<u8>,
    out_at: usize,
    out_end: usize,
    offset: u64,
    /// The line at the head of `out`. Lines are counted a chunk at a time, since a reader takes a few
    /// bytes at a time.
    line: u64,
    allowed: usize,
    budget: usize,
    failure: Option<Defect>,
    /// A byte that does not fit, or U+0000, behind text that is handed out first: what comes before a failure
    /// must not depend on the size of the pieces.
    pending: Option<Defect>,
    ended: bool,
}

impl<R: BufRead> Decoded<R> {
    /// Reads the first bytes and settles the charset: byte order mark, else declaration, else
    /// UTF-8.
    pub(crate) fn new(mut source: R) -> Decoded<R> {
        let mut head = Vec::new();
        let failure = fill_head(&mut source, &mut head)
            .err()
            .map(|e| unreadable(&e));
        let (encoding, skip, unknown) = charset_of(&head);
        Decoded {
            source,
            decoder: encoding.new_decoder_without_bom_handling(),
            head,
            head_at: skip,
            out: vec![0; CHUNK_OUT_BYTES],
            out_at: 0,
            out_end: 0,
            offset: skip as u64,
            line: 1,
            allowed: usize::MAX,
            budget: usize::MAX,
            failure: failure.or(unknown),
            pending: None,
            ended: false,
        }
    }

    /// Lets the reader take at most `bytes` until the next call.
    pub(crate) fn allow(&mut self, bytes: usize) {
        self.allowed = bytes;
        self.budget = bytes;
    }

    /// The line reached, counted from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line + newlines(&self.out[..self.out_at])
    }

    /// The failure behind an I/O error of this reader.
    pub(crate) fn failure(&self) -> Option<&Defect> {
        self.failure.as_ref()
    }

    fn refill(&mut self) -> Result<(), Defect> {
        self.line += newlines(&self.out[..self.out_end]);
        (self.out_at, self.out_end) = (0, 0);
        let from_head = self.head_at < self.head.len();
        let raw = if from_head {
            &self.head[self.head_at..]
        } else {
            self.source.fill_buf().map_err(|e| unreadable(&e))?
        };
        let raw = &raw[..raw.len().min(CHUNK_BYTES)];
        let last = raw.is_empty();
        let (result, read, written) =
            self.decoder
                .decode_to_utf8_without_replacement(raw, &mut self.out, last);
        if let Some(at) = memchr(0, &self.out[..written]) {
            let line = self.line + newlines(&self.out[..at]);
            self.pending = Some(nul().line(line));
            (self.out_at, self.out_end) = (0, at);
            return Ok(());
        }
        if let DecoderResult::Malformed(bad, after) = result {
            let back = u64::from(bad) + u64::from(after);
            let at = (self.offset + read as u64).saturating_sub(back);
            let line = self.line + newlines(&self.out[..written]);
            let name = self.decoder.encoding().name();
            let found = format!("byte {at} of the file is not {name}");
            self.pending = Some(Defect::new(DefectCode::BadEncoding, found).line(line));
            (self.out_at, self.out_end) = (0, written);
            return Ok(());
        }
        if from_head {
            self.head_at += read;
        } else {
            self.source.consume(read);
        }
        self.offset += read as u64;
        self.out_at = 0;
        self.out_end = written;
        self.ended = last && result == DecoderResult::InputEmpty;
        Ok(())
    }

    fn fail(&mut self, defect: Defect) -> io::Error {
        let error = io::Error::other(defect.to_string());
        self.failure = Some(defect);
        error
    }
}

impl<R: BufRead> BufRead for Decoded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if let Some(defect) = &self.failure {
            return Err(io::Error::other(defect.to_string()));
        }
        while self.out_at == self.out_end && !self.ended {
            let refilled = match self.pending.take() {
                Some(defect) => Err(defect),
                None => self.refill(),
            };
            if let Err(defect) = refilled {
                return Err(self.fail(defect));
            }
        }
        if self.budget == 0 && self.out_at < self.out_end {
            let allowed = self.allowed;
            let found = format!(
                "a tag, comment or text is longer than {allowed} bytes (limit TOKEN_MAX_BYTES)"
            );
            let defect = Defect::new(DefectCode::TooLarge, found).line(self.line());
            return Err(self.fail(defect));
        }
        let end = self.out_end.min(self.out_at.saturating_add(self.budget));
        Ok(&self.out[self.out_at..end])
    }

    fn consume(&mut self, amount: usize) {
        let end = self.out_end.min(self.out_at + amount);
        self.budget = self.budget.saturating_sub(end - self.out_at);
        self.out_at = end;
    }
}

impl<R: BufRead> Read for Decoded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(into.len());
        into[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

fn newlines(text: &[u8]) -> u64 {
    memchr_iter(b'\n', text).count() as u64
}

fn fill_head(source: &mut impl BufRead, head: &mut Vec<u8>) -> io::Result<()> {
    while head.len() < DECLARATION_BYTES {
        let available = source.fill_buf()?;
        if available.is_empty() {
            break;
        }
        let length = available.len().min(DECLARATION_BYTES - head.len());
        head.extend_from_slice(&available[..length]);
        source.consume(length);
    }
    Ok(())
}

/// The charset of an XML file, the bytes of its byte order mark, and a defect for an unknown name.
fn charset_of(head: &[u8]) -> (&'static Encoding, usize, Option<Defect>) {
    if let Some((encoding, length)) = Encoding::for_bom(head) {
        return (encoding, length, None);
    }
    let Some(label) = declared_charset(head) else {
        return (UTF_8, 0, None);
    };
    match Encoding::for_label(label) {
        // GB2312 and GBK label files that use GB18030 characters; the larger set reads all three.
        Some(encoding) if encoding == GBK => (GB18030, 0, None),
        Some(encoding) => (encoding, 0, None),
        None => {
            let found = format!(
                "the charset {:?} is not known",
                String::from_utf8_lossy(label)
            );
            (
                UTF_8,
                0,
                Some(Defect::new(DefectCode::BadEncoding, found).line(1)),
            )
        }
    }
}

/// The charset an XML declaration names.
pub(crate) fn declared_charset(head: &[u8]) -> Option<&[u8]> {
    let start = head.iter().position(|b| !b.is_ascii_whitespace())?;
    let head = &head[start..];
    if !head.starts_with(b"<?xml") {
        return None;
    }
    let declaration = &head[..memchr::memmem::find(head, b"?>")?];
    let after = &declaration[memchr::memmem::find(declaration, b"encoding")? + 8..];
    let open = after.iter().position(|b| matches!(b, b'"' | b'\''))?;
    let value = &after[open + 1..];
    let close = value.iter().position(|b| *b == after[open])?;
    Some(&value[..close])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Result<String, (DefectCode, Option<u64>, String)> {
        read_text(bytes).map_err(|d| (d.code, d.place.line, d.found))
    }

    #[test]
    fn charset_rule_in_order() {
        assert_eq!(text("\u{feff}余额".as_bytes()), Ok("余额".into()));
        assert_eq!(text("余额".as_bytes()), Ok("余额".into()));
        assert_eq!(
            text(&GB18030.encode("余额,对方户名").0),
            Ok("余额,对方户名".into())
        );
        assert_eq!(text(b"\xff\xfe\x59\x4f"), Ok("余".into()));
    }

    #[test]
    fn half_a_character_is_named_by_byte_and_line() {
        let mut bytes = GB18030.encode("a\n余额").0.into_owned();
        bytes.pop();
        let (code, line, found) = text(&bytes).unwrap_err();
        assert_eq!((code, line), (DefectCode::BadEncoding, Some(2)));
        assert_eq!(found, "byte 4 of the file is not UTF-8 or GB18030");
    }

    #[test]
    fn nul_is_refused_with_its_line_and_padding_is_cut_off() {
        let (code, line, found) = text(b"a\nb\0c\n").unwrap_err();
        assert_eq!((code, line), (DefectCode::Malformed, Some(2)));
        assert!(found.contains("U+0000"));
        assert_eq!(text(b"a\n\x1a\0\0\r\n\0"), Ok("a\n\x1a".into()));
        for size in [1, 3, 65536] {
            let pieces = std::io::BufReader::with_capacity(size, &b"<a>\nb\0c</a>"[..]);
            let (mut reader, mut read) = (Decoded::new(pieces), String::new());
            assert!(reader.read_to_string(&mut read).is_err());
            let defect = reader.failure().expect("it failed");
            assert_eq!(
                (defect.code, defect.place.line),
                (DefectCode::Malformed, Some(2))
            );
        }
    }

    #[test]
    fn limits_have_names() {
        let endless = vec![b'x'; LINE_MAX_BYTES + 1];
        let (code, line, found) = text(&endless).unwrap_err();
        assert_eq!((code, line), (DefectCode::TooLarge, Some(1)));
        assert!(found.contains("LINE_MAX_BYTES"));
        assert_eq!(text(b" \r\n").unwrap_err().0, DefectCode::Truncated);
    }

    #[test]
    fn declared_gb2312_is_read_as_gb18030_in_pieces() {
        let xml = "<?xml version='1.0' encoding='GB2312'?><a>镕𠀀</a>";
        let bytes = GB18030.encode(xml).0.into_owned();
        for size in [1, 7, 65536] {
            let mut out = String::new();
            let pieces = std::io::BufReader::with_capacity(size, bytes.as_slice());
            Decoded::new(pieces).read_to_string(&mut out).unwrap();
            assert_eq!(out, xml);
        }
        let mut reader = Decoded::new(&bytes[..bytes.len() - 5]);
        assert!(reader.read_to_string(&mut String::new()).is_err());
        assert_eq!(reader.failure().unwrap().code, DefectCode::BadEncoding);
    }

    #[test]
    fn a_budget_stops_an_endless_token() {
        let mut reader = Decoded::new(&b"<aaaaaaaa"[..]);
        reader.allow(4);
        assert!(reader.read_to_string(&mut String::new()).is_err());
        assert_eq!(reader.failure().unwrap().code, DefectCode::TooLarge);
    }
}
