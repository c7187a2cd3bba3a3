//! Tags and texts of an OFX file, for both of its forms: SGML (OFX 1), whose leaves need no closing
//! tag, and XML (OFX 2), which some banks fill with SGML all the same.
//!
//! Invariants: no DOCTYPE; a tag, comment or text is at most [`TOKEN_MAX_BYTES`] long, so that a line
//! without end is refused; an entity that is not predefined stays as written, since SGML files carry
//! bare ampersands.
//! Absent on purpose: a tree, attributes, and a list of all elements of the standard.

use memchr::{memchr, memchr_iter, memmem};

use crate::base::{Defect, DefectCode};
use crate::wire::xml::{TOKEN_MAX_BYTES, clip};

/// What stands next in the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A tag opened; its name in upper case without prefix and attributes.
    Open(String),
    Close(String),
    /// `<NAME/>`: opened and closed at once.
    Empty(String),
    /// Text without padding, references resolved; never blank.
    Text(String),
    /// The file is over.
    End,
}

/// A scanner over a whole text.
pub(crate) struct Tags<'t> {
    text: &'t str,
    at: usize,
    line: u64,
}

impl<'t> Tags<'t> {
    pub(crate) fn new(text: &'t str) -> Tags<'t> {
        Tags {
            text,
            at: 0,
            line: 1,
        }
    }

    /// The line reached, counted from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// A defect at the line reached.
    pub(crate) fn defect(&self, code: DefectCode, found: impl Into<String>) -> Defect {
        Defect::new(code, found).line(self.line)
    }

    /// What is left of the text.
    pub(crate) fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// Steps over what stands before the first tag: the header of OFX 1.
    pub(crate) fn skip_to_tag(&mut self) -> &'t str {
        let end = self.rest().find('<').unwrap_or(self.rest().len());
        self.take(end)
    }

    /// # Errors `FORBIDDEN`, `TOO_LARGE`, `TRUNCATED`, `MALFORMED` with the line.
    pub(crate) fn next(&mut self) -> Result<Token, Defect> {
        loop {
            let rest = self.rest();
            if rest.is_empty() {
                return Ok(Token::End);
            }
            if let Some(inside) = rest.strip_prefix("<![CDATA[") {
                let end = self.limited(memmem::find(inside.as_bytes(), b"]]>"), inside.len())?;
                let text = inside[..end].trim().to_owned();
                self.take(end + 12);
                if text.is_empty() {
                    continue;
                }
                return Ok(Token::Text(text));
            }
            let skipped = [("<!--", "-->"), ("<?", "?>")];
            if let Some((open, close)) = skipped.iter().find(|(open, _)| rest.starts_with(open)) {
                let inside = &rest[open.len()..];
                let found = memmem::find(inside.as_bytes(), close.as_bytes());
                let end = self.limited(found, inside.len())?;
                self.take(open.len() + end + close.len());
                continue;
            }
            if rest.starts_with("<!") {
                return Err(self.defect(DefectCode::Forbidden, "the file carries a DOCTYPE"));
            }
            if rest.starts_with('<') {
                return self.tag();
            }
            let end = memchr(b'<', rest.as_bytes()).unwrap_or(rest.len());
            self.limited(Some(end), rest.len())?;
            let text = resolve(self.take(end).trim());
            if !text.is_empty() {
                return Ok(Token::Text(text));
            }
        }
    }

    fn tag(&mut self) -> Result<Token, Defect> {
        let inside = &self.rest()[1..];
        let end = self.limited(memchr(b'>', inside.as_bytes()), inside.len())?;
        let tag = inside[..end].trim();
        let (closes, tag) = tag
            .strip_prefix('/')
            .map_or((false, tag), |tag| (true, tag));
        let (empty, tag) = tag
            .strip_suffix('/')
            .map_or((false, tag), |tag| (true, tag));
        let name = tag.split(char::is_whitespace).next().unwrap_or_default();
        let name = name.rsplit(':').next().unwrap_or(name);
        let fits = !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if !fits {
            let found = format!("<{}> is no tag", clip(tag));
            return Err(self.defect(DefectCode::Malformed, found));
        }
        let name = name.to_ascii_uppercase();
        self.take(end + 2);
        Ok(match (closes, empty) {
            (true, _) => Token::Close(name),
            (false, true) => Token::Empty(name),
            (false, false) => Token::Open(name),
        })
    }

    /// The end of a token, unless it is missing or too far away.
    fn limited(&self, end: Option<usize>, left: usize) -> Result<usize, Defect> {
        if end.unwrap_or(left) > TOKEN_MAX_BYTES {
            let found = format!(
                "a tag, comment or text is longer than {TOKEN_MAX_BYTES} bytes (limit TOKEN_MAX_BYTES)"
            );
            return Err(self.defect(DefectCode::TooLarge, found));
        }
        end.ok_or_else(|| self.defect(DefectCode::Truncated, "the file ends inside a tag"))
    }

    fn take(&mut self, bytes: usize) -> &'t str {
        let taken = &self.text[self.at..self.at + bytes];
        self.line += memchr_iter(b'\n', taken.as_bytes()).count() as u64;
        self.at += bytes;
        taken
    }
}

/// Predefined and numeric references resolved, anything else as written.
pub(crate) fn resolve(text: &str) -> String {
    /// The longest reference looked at, `&#x10FFFF;`.
    const REFERENCE_MAX_BYTES: usize = 12;
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        resolved.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest
            .bytes()
            .take(REFERENCE_MAX_BYTES)
            .position(|b| b == b';');
        match end.and_then(|end| Some((end, character(&rest[1..end])?))) {
            Some((end, character)) => {
                resolved.push(character);
                rest = &rest[end + 1..];
            }
            None => {
                resolved.push('&');
                rest = &rest[1..];
            }
        }
    }
    resolved.push_str(rest);
    resolved
}

fn character(name: &str) -> Option<char> {
    let number = |digits: &str, radix| {
        let code = u32::from_str_radix(digits, radix).ok()?;
        char::from_u32(code).filter(|c| *c != '\0')
    };
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        _ => {
            let digits = name.strip_prefix('#')?;
            match digits.strip_prefix(['x', 'X']) {
                Some(hex) => number(hex, 16),
                None => number(digits, 10),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Vec<Token>, (DefectCode, Option<u64>)> {
        let mut tags = Tags::new(text);
        let mut found = Vec::new();
        loop {
            match tags.next().map_err(|d| (d.code, d.place.line))? {
                Token::End => return Ok(found),
                token => found.push(token),
            }
        }
    }

    #[test]
    fn both_forms_give_the_same_tokens() {
        let open = |name: &str| Token::Open(name.into());
        let sgml = tokens("<OFX>\n<NAME>AT&T &amp; Co&#20313;\n</OFX>").unwrap();
        let text = Token::Text("AT&T & Co余".into());
        let end = Token::Close("OFX".into());
        assert_eq!(sgml, [open("OFX"), open("NAME"), text, end]);
        let xml = tokens("<?OFX x?><!-- c --><o:ofx a='1'><![CDATA[ <b> ]]></ofx>").unwrap();
        assert_eq!(
            xml,
            [
                open("OFX"),
                Token::Text("<b>".into()),
                Token::Close("OFX".into())
            ]
        );
        assert_eq!(tokens("<A/>").unwrap(), [Token::Empty("A".into())]);
    }

    #[test]
    fn what_is_no_tag_is_refused_where_it_stands() {
        let long = "x".repeat(TOKEN_MAX_BYTES + 1);
        for (text, code) in [
            ("\n<!DOCTYPE OFX>".to_owned(), DefectCode::Forbidden),
            ("\n<OFX".to_owned(), DefectCode::Truncated),
            ("\n<a b".to_owned() + &long, DefectCode::TooLarge),
            (format!("\n<A>{long}"), DefectCode::TooLarge),
            (format!("\n<!--{long}-->"), DefectCode::TooLarge),
            ("\n<÷ 2>".to_owned(), DefectCode::Malformed),
        ] {
            let (found, line) = tokens(&text).unwrap_err();
            assert_eq!(
                (found, line.is_some_and(|l| l >= 2)),
                (code, true),
                "{}",
                clip(&text)
            );
        }
    }
}
