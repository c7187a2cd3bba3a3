//! The header of an OFX file: which form it has and which charset its text is in.
//!
//! OFX 1 names a charset in its `ENCODING:` and `CHARSET:` lines, OFX 2 in its XML declaration; a byte
//! order mark goes before both. Decoding is strict: a byte the charset has not refuses the file.
//! Windows-1252 (`CHARSET:1252`, what programs write by default) knows nearly every byte, so bytes
//! that are UTF-8 throughout are read as UTF-8 under it, and its five undefined bytes are refused.
//! Absent on purpose: statistical detection.

use encoding_rs::{Encoding, GB18030, GBK, UTF_8, WINDOWS_1252};

use crate::base::{Defect, DefectCode};
use crate::wire::decode::{declared_charset, decode_as, decode_bytes};

/// How many bytes are looked at for the header.
const HEADER_BYTES: usize = 1024;

/// The keys of an OFX 1 header that may follow a charset.
const KEYS: [&str; 7] = [
    "CHARSET:",
    "COMPRESSION:",
    "OLDFILEUID:",
    "NEWFILEUID:",
    "SECURITY:",
    "VERSION:",
    "DATA:",
];

/// The two forms of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sgml,
    Xml,
}

impl Dialect {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Dialect::Sgml => "ofx1",
            Dialect::Xml => "ofx2",
        }
    }
}

/// Whether the head of a text is an OFX file.
pub(crate) fn recognises(head: &str) -> bool {
    let head = head.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let starts = |text: &str, word: &str| {
        text.get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    if starts(head, "OFXHEADER") {
        return true;
    }
    let mut parts = head
        .split('<')
        .skip(1)
        .filter(|part| !part.starts_with("!--"));
    let first = parts.find(|part| !starts(part, "?xml")).unwrap_or_default();
    head.starts_with('<')
        && (starts(first, "?OFX")
            || first
                .split(['>', ' '])
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case("OFX")))
}

/// The form and the text of a file.
///
/// # Errors `BAD_ENCODING` with byte and line, `TRUNCATED` for an empty file.
pub(crate) fn decode(bytes: Vec<u8>) -> Result<(Dialect, String), Defect> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Defect::new(DefectCode::Truncated, "the file is empty"));
    }
    let head = &bytes[..bytes.len().min(HEADER_BYTES)];
    let header = String::from_utf8_lossy(head).into_owned();
    let is_xml = header.contains("<?xml") || header.contains("<?OFX");
    let dialect = if is_xml { Dialect::Xml } else { Dialect::Sgml };
    if Encoding::for_bom(&bytes).is_some() {
        return Ok((dialect, decode_bytes(bytes)?));
    }
    let encoding = match dialect {
        Dialect::Xml => match declared_charset(head) {
            Some(label) => Some(known(&String::from_utf8_lossy(label))?),
            None => Some(UTF_8),
        },
        Dialect::Sgml => of_header(header.split('<').next().unwrap_or_default())?,
    };
    let text = match encoding {
        None => decode_bytes(bytes)?,
        Some(encoding) if encoding == WINDOWS_1252 => western(bytes)?,
        Some(encoding) => decode_as(encoding, bytes)?,
    };
    Ok((dialect, text))
}

/// The charset an OFX 1 header names; `None` where it names none.
fn of_header(header: &str) -> Result<Option<&'static Encoding>, Defect> {
    let value = |key: &str| {
        let upper = header.to_ascii_uppercase();
        let at = upper.find(key)? + key.len();
        let rest = upper[at..].trim_start();
        let value = rest.split(char::is_whitespace).next()?;
        // Some programs write the whole header without a line break or blank.
        let end = KEYS.iter().filter_map(|key| value.find(key)).min();
        Some(value[..end.unwrap_or(value.len())].to_owned())
    };
    let encoding = value("ENCODING:").unwrap_or_default();
    if matches!(encoding.as_str(), "UTF-8" | "UTF8") {
        return Ok(Some(UTF_8));
    }
    match value("CHARSET:").unwrap_or_default().as_str() {
        "" | "NONE" => Ok(None),
        "936" | "CP936" | "54936" | "GB2312" | "GBK" | "GB18030" => Ok(Some(GB18030)),
        "65001" => Ok(Some(UTF_8)),
        code if code.bytes().all(|b| b.is_ascii_digit()) => {
            known(&format!("windows-{code}")).map(Some)
        }
        label if label.starts_with("8859") => known(&format!("iso-{label}")).map(Some),
        label => known(label).map(Some),
    }
}

fn known(label: &str) -> Result<&'static Encoding, Defect> {
    match Encoding::for_label(label.trim().as_bytes()) {
        // GB2312 and GBK label files that use GB18030 characters; the larger set reads all three.
        Some(encoding) if encoding == GBK => Ok(GB18030),
        Some(encoding) => Ok(encoding),
        None => {
            let found = format!(
                "the charset {:?} is not known",
                crate::wire::xml::clip(label)
            );
            Err(Defect::new(DefectCode::BadEncoding, found).line(1))
        }
    }
}

fn western(bytes: Vec<u8>) -> Result<String, Defect> {
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => return Ok(text),
        Err(e) => e.into_bytes(),
    };
    let undefined = |b: &u8| matches!(b, 0x81 | 0x8d | 0x8f | 0x90 | 0x9d);
    if let Some(at) = bytes.iter().position(undefined) {
        let line = 1 + memchr::memchr_iter(b'\n', &bytes[..at]).count() as u64;
        let found = format!("byte {at} of the file is not windows-1252");
        return Err(Defect::new(DefectCode::BadEncoding, found).line(line));
    }
    decode_as(WINDOWS_1252, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Result<(Dialect, String), DefectCode> {
        decode(bytes.to_vec()).map_err(|d| d.code)
    }

    #[test]
    fn the_header_names_the_charset() {
        let gbk = GB18030
            .encode("OFXHEADER:100\nENCODING:USASCII\nCHARSET:936\n\n<OFX>学费")
            .0;
        assert!(text(&gbk).unwrap().1.ends_with("学费"));
        let utf8 = "OFXHEADER:100\nENCODING:UTF-8\nCHARSET:NONE\n\n<OFX>学费";
        assert!(text(utf8.as_bytes()).unwrap().1.ends_with("学费"));
        let western = "OFXHEADER:100\nENCODING:USASCII\nCHARSET:1252\n<OFX>";
        assert!(
            text(&[western.as_bytes(), b"caf\xe9"].concat())
                .unwrap()
                .1
                .ends_with("café")
        );
        assert!(
            text(&[western.as_bytes(), "学".as_bytes()].concat())
                .unwrap()
                .1
                .ends_with('学')
        );
        assert_eq!(
            text(&[western.as_bytes(), b"\x81\xe9"].concat()),
            Err(DefectCode::BadEncoding)
        );
        let packed = "OFXHEADER:100DATA:OFXSGMLENCODING:USASCIICHARSET:8859-1COMPRESSION:NONE<OFX>";
        let packed = [packed.as_bytes(), b"\xe9"].concat();
        assert!(text(&packed).unwrap().1.ends_with('é'));
        let unknown = "OFXHEADER:100\nCHARSET:KLINGON\n<OFX>";
        assert_eq!(text(unknown.as_bytes()), Err(DefectCode::BadEncoding));
        let xml = GB18030
            .encode("<?xml version='1.0' encoding='gb2312'?><OFX>镕")
            .0;
        assert_eq!(text(&xml).unwrap().0, Dialect::Xml);
        assert_eq!(text(&xml[..xml.len() - 1]), Err(DefectCode::BadEncoding));
        assert_eq!(text(b" \n"), Err(DefectCode::Truncated));
    }

    #[test]
    fn told_from_other_texts() {
        for yes in [
            "\n OFXHEADER:100",
            "<OFX>",
            "<?xml version='1'?>\n<?OFX x?>",
            "<ofx>",
        ] {
            assert!(recognises(yes), "{yes}");
        }
        for no in ["<Document>", "OFX", "<?xml?><html>", "a<OFX>"] {
            assert!(!recognises(no), "{no}");
        }
    }
}
