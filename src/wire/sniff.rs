//! Tells a statement format from the bytes; the file's name is never asked.

use super::decode::decode_head;
use super::{Format, bank, camt, mt940, ofx};

/// How much of a file is looked at.
const HEAD_BYTES: usize = 64 * 1024;
/// How many lines are searched for an MT field.
const MT_SEARCH_LINES: usize = 200;

/// The format of a statement file, `None` if it is none the product reads.
///
/// camt is an XML file that names a camt.052/.053/.054 namespace or message element (ISO 20022); MT
/// is a text with a SWIFT block `{1:` or a field such as `:20:` at the head of a line; a bank CSV
/// has a header line that fits a profile; OFX has its header or an `<OFX>` root; a workbook is a zip
/// that begins with a part of one, an OLE2 container, or an HTML table with such a header line.
pub fn sniff(bytes: &[u8]) -> Option<Format> {
    if bank::recognises_xlsx(bytes) {
        return Some(Format::BankXlsx);
    }
    if bank::recognises_ole(bytes) {
        return Some(Format::BankXls);
    }
    let head = decode_head(bytes, HEAD_BYTES);
    let text = head.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if ofx::recognises(text) {
        return Some(Format::Ofx);
    }
    if bank::recognises_html(text) {
        return Some(Format::BankXls);
    }
    if text.starts_with('<') {
        return is_camt(text).then_some(Format::Camt);
    }
    if is_mt(text) {
        return Some(Format::Mt940);
    }
    bank::recognises_csv(text).then_some(Format::BankCsv)
}

fn is_camt(text: &str) -> bool {
    let names_message = |part: &str| {
        let name = part
            .split(|c: char| c.is_whitespace() || matches!(c, '>' | '/'))
            .next();
        name.is_some_and(|name| camt::is_message(name.rsplit(':').next().unwrap_or(name)))
    };
    camt::version_in(text).is_some() || text.split('<').any(names_message)
}

fn is_mt(text: &str) -> bool {
    text.lines().take(MT_SEARCH_LINES).any(|line| {
        let line = line.trim_start_matches(|c: char| c.is_control() || c == ' ');
        line.starts_with("{1:")
            || mt940::field_of(line).is_some_and(|(tag, _)| !matches!(tag, "NS" | "13"))
    })
}

/// Whether damaged bytes resemble a statement: a format shows once what cannot be decoded is left out.
/// Tells a broken statement from a file that is none; nothing is ever read this way.
pub fn resembles_statement(bytes: &[u8]) -> bool {
    let (text, _, _) = encoding_rs::GB18030.decode(bytes);
    sniff(text.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_their_bytes() {
        let camt = "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.13\">";
        assert_eq!(sniff(camt.as_bytes()), Some(Format::Camt));
        assert_eq!(sniff(b"<d:Document><d:BkToCstmrStmt>"), Some(Format::Camt));
        assert_eq!(
            sniff(b"<Document xmlns='urn:iso:std:iso:20022:tech:xsd:pain.001.001.03'>"),
            None
        );
        assert_eq!(sniff(b"\x01\r\n:20:ST1\r\n:25:1\r\n"), Some(Format::Mt940));
        assert_eq!(sniff(b"{1:F01X}{2:O940X}{4:\n:20:1"), Some(Format::Mt940));
        let csv = encoding_rs::GB18030
            .encode("交易日期,借方发生额,贷方发生额,余额\n")
            .0
            .into_owned();
        assert_eq!(sniff(&csv), Some(Format::BankCsv));
        assert_eq!([sniff(b""), sniff(b"PK\x03\x04")], [None; 2]);
        assert_eq!(sniff(b"OFXHEADER:100\n"), Some(Format::Ofx));
    }
}
