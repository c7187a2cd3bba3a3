//! A guarded event reader over `quick-xml`: what a bank statement may be made of, and nothing else.
//!
//! Invariants (`feeds.md` §4.15): no DOCTYPE, no entity but the five predefined and numeric ones,
//! at most [`DEPTH_MAX`] levels, [`ATTRIBUTES_MAX`] attributes, [`TOKEN_MAX_BYTES`] in a token or
//! text; one root element, closed, with nothing but white space, comments and instructions around
//! it.
//! Absent on purpose: a tree. Memory is one token, whatever the length of the file.

use std::io::BufRead;

use quick_xml::events::{BytesRef, BytesStart, Event};

use super::decode::Decoded;
use crate::base::{Defect, DefectCode};

/// How deep elements may nest.
pub const DEPTH_MAX: usize = 64;
/// How many attributes a tag may carry.
pub const ATTRIBUTES_MAX: usize = 32;
/// How many namespaces a tag may declare.
pub const NAMESPACES_MAX: usize = 16;
/// How long a tag, a comment or the text of an element may be, in bytes.
pub const TOKEN_MAX_BYTES: usize = 64 * 1024;

/// What [`XmlReader::next`] found; names and text are read from the reader's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// A tag opened: see `name`, `currency`, `namespaces`.
    Start,
    /// The innermost tag closed; `text` is the text since the last tag.
    End,
    /// The root is closed and the file is over.
    Done,
}

/// The reader. Fields hold the latest node.
pub(crate) struct XmlReader<R: BufRead> {
    reader: quick_xml::Reader<Decoded<R>>,
    buffer: Vec<u8>,
    depth: usize,
    root_closed: bool,
    /// Local name of the tag that opened.
    pub(crate) name: String,
    /// Its `Ccy` attribute, or the one watched in its place; empty if none.
    pub(crate) currency: String,
    watched: &'static str,
    /// The namespaces it declares.
    pub(crate) namespaces: Vec<String>,
    /// Text since the last tag.
    pub(crate) text: String,
}

impl<R: BufRead> XmlReader<R> {
    pub(crate) fn new(source: R) -> XmlReader<R> {
        XmlReader::watching(source, "Ccy")
    }

    /// A reader that keeps another attribute than `Ccy`.
    pub(crate) fn watching(source: R, watched: &'static str) -> XmlReader<R> {
        let mut reader = quick_xml::Reader::from_reader(Decoded::new(source));
        reader.config_mut().expand_empty_elements = true;
        XmlReader {
            reader,
            buffer: Vec::new(),
            depth: 0,
            root_closed: false,
            name: String::new(),
            currency: String::new(),
            watched,
            namespaces: Vec::new(),
            text: String::new(),
        }
    }

    /// A defect at the line reached.
    pub(crate) fn defect(&self, code: DefectCode, found: impl Into<String>) -> Defect {
        Defect::new(code, found).line(self.reader.get_ref().line())
    }

    /// Reads on to the next tag.
    ///
    /// # Errors
    /// The defect that refuses the file.
    pub(crate) fn next(&mut self) -> Result<Node, Defect> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.next_in(&mut buffer);
        self.buffer = buffer;
        result
    }

    fn next_in(&mut self, buffer: &mut Vec<u8>) -> Result<Node, Defect> {
        loop {
            buffer.clear();
            self.reader.get_mut().allow(TOKEN_MAX_BYTES);
            let event = match self.reader.read_event_into(buffer) {
                Ok(event) => event,
                Err(e) => return Err(self.refusal(&e)),
            };
            match event {
                Event::Start(tag) | Event::Empty(tag) => {
                    self.open(&tag)?;
                    return Ok(Node::Start);
                }
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    self.root_closed = self.depth == 0;
                    return Ok(Node::End);
                }
                Event::Text(text) => self.append(&text)?,
                Event::CData(text) => self.append(&text)?,
                Event::GeneralRef(reference) => self.append_reference(&reference)?,
                Event::DocType(_) => {
                    return Err(self.defect(DefectCode::Forbidden, "the file carries a DOCTYPE"));
                }
                Event::Decl(_) if self.depth > 0 || self.root_closed => {
                    let found = "a second XML declaration: several documents in one file";
                    return Err(self.defect(DefectCode::Malformed, found));
                }
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
                Event::Eof => return self.end_of_file(),
            }
        }
    }

    fn open(&mut self, tag: &BytesStart<'_>) -> Result<(), Defect> {
        self.text.clear();
        self.name.clear();
        self.name.push_str(tag.local_name().as_ref());
        self.currency.clear();
        self.namespaces.clear();
        if self.root_closed {
            let found = format!(
                "element {:?} follows the end of the document",
                clip(&self.name)
            );
            return Err(self.defect(DefectCode::Malformed, found));
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let found = format!("elements nest deeper than {DEPTH_MAX} (limit DEPTH_MAX)");
            return Err(self.defect(DefectCode::Forbidden, found));
        }
        if tag.attributes_raw().is_empty() {
            return Ok(());
        }
        for (count, attribute) in tag.attributes().enumerate() {
            if count >= ATTRIBUTES_MAX {
                let found = format!(
                    "a tag has more than {ATTRIBUTES_MAX} attributes (limit ATTRIBUTES_MAX)"
                );
                return Err(self.defect(DefectCode::Forbidden, found));
            }
            let attribute = attribute
                .map_err(|e| self.defect(DefectCode::Malformed, format!("bad attribute: {e}")))?;
            let key = attribute.key.as_ref();
            if key == self.watched {
                self.currency.push_str(attribute.value.trim());
            } else if key == "xmlns" || key.starts_with("xmlns:") {
                self.namespaces.push(attribute.value.clone().into_owned());
            }
        }
        if self.namespaces.len() > NAMESPACES_MAX {
            let found = format!(
                "a tag declares more than {NAMESPACES_MAX} namespaces (limit NAMESPACES_MAX)"
            );
            return Err(self.defect(DefectCode::Forbidden, found));
        }
        Ok(())
    }

    fn append(&mut self, text: &str) -> Result<(), Defect> {
        if self.depth == 0 {
            if text
                .trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
                .is_empty()
            {
                return Ok(());
            }
            let side = if self.root_closed { "after" } else { "before" };
            let found = format!("text {:?} stands {side} the document", clip(text.trim()));
            return Err(self.defect(DefectCode::Malformed, found));
        }
        if self.text.len() + text.len() > TOKEN_MAX_BYTES {
            let found =
                format!("a text is longer than {TOKEN_MAX_BYTES} bytes (limit TOKEN_MAX_BYTES)");
            return Err(self.defect(DefectCode::TooLarge, found));
        }
        self.text.push_str(text);
        Ok(())
    }

    fn append_reference(&mut self, reference: &BytesRef<'_>) -> Result<(), Defect> {
        let character = match reference.resolve_char_ref() {
            Ok(Some(character)) => Some(character),
            Ok(None) => match reference.as_ref() {
                "lt" => Some('<'),
                "gt" => Some('>'),
                "amp" => Some('&'),
                "apos" => Some('\''),
                "quot" => Some('"'),
                _ => None,
            },
            Err(_) => None,
        };
        match character {
            Some(character) => self.append(character.encode_utf8(&mut [0; 4])),
            None => {
                let found = format!(
                    "the entity {:?} is not one of the predefined",
                    clip(reference)
                );
                Err(self.defect(DefectCode::Forbidden, found))
            }
        }
    }

    fn end_of_file(&self) -> Result<Node, Defect> {
        if self.root_closed {
            return Ok(Node::Done);
        }
        let found = if self.depth == 0 {
            "the file holds no XML document".to_owned()
        } else {
            format!(
                "the file ends inside the document, {} elements are open",
                self.depth
            )
        };
        Err(self.defect(DefectCode::Truncated, found))
    }

    fn refusal(&self, error: &quick_xml::Error) -> Defect {
        if let Some(defect) = self.reader.get_ref().failure() {
            return defect.clone();
        }
        let code = match error {
            quick_xml::Error::Syntax(_) => DefectCode::Truncated,
            _ => DefectCode::Malformed,
        };
        self.defect(
            code,
            format!("the XML is broken: {}", clip(&error.to_string())),
        )
    }
}

/// The first characters of a text of unknown length, for messages.
pub(crate) fn clip(text: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Result<Vec<String>, DefectCode> {
        let mut reader = XmlReader::new(xml.as_bytes());
        let mut texts = Vec::new();
        loop {
            match reader.next().map_err(|d| d.code)? {
                Node::Start => {}
                Node::End => texts.push(std::mem::take(&mut reader.text)),
                Node::Done => return Ok(texts),
            }
        }
    }

    #[test]
    fn reads_text_with_references() {
        assert_eq!(
            read("<a><b>A&amp;B&#20313;<![CDATA[<c>]]></b></a>\n").unwrap()[0],
            "A&B余<c>"
        );
        assert_eq!(read("<a/>").unwrap(), [""]);
    }

    #[test]
    fn refuses_what_a_statement_may_not_carry() {
        let bomb = "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>";
        assert_eq!(read(bomb), Err(DefectCode::Forbidden));
        assert_eq!(read("<a>&x;</a>"), Err(DefectCode::Forbidden));
        assert_eq!(read(&"<a>".repeat(200_000)), Err(DefectCode::Forbidden));
        let many: String = (0..40).map(|i| format!(" a{i}='1'")).collect();
        assert_eq!(read(&format!("<a{many}/>")), Err(DefectCode::Forbidden));
        let long = "x".repeat(TOKEN_MAX_BYTES + 1);
        assert_eq!(read(&format!("<a>{long}</a>")), Err(DefectCode::TooLarge));
        assert_eq!(
            read(&format!("<a><!--{long}--></a>")),
            Err(DefectCode::TooLarge)
        );
        let half = "x".repeat(TOKEN_MAX_BYTES / 2);
        assert_eq!(
            read(&format!("<a>{half}&amp;{half}</a>")),
            Err(DefectCode::TooLarge)
        );
    }

    #[test]
    fn the_root_must_close_and_stand_alone() {
        for cut in ["<a><b></b>", "<a><b", "<a", "<a><!-- ", "", "<a>"] {
            assert_eq!(read(cut), Err(DefectCode::Truncated), "{cut}");
        }
        for wrong in [
            "<a></b>",
            "<a/>x",
            "<a/><b/>",
            "x<a/>",
            "<a/><?xml version='1.0'?><a/>",
        ] {
            assert_eq!(read(wrong), Err(DefectCode::Malformed), "{wrong}");
        }
    }
}
