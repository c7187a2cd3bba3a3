//! Rows of an HTML table that a bank calls `.xls`.
//!
//! Invariants: elements nest at most [`DEPTH_MAX`] deep; a tag or text is at most
//! [`TOKEN_MAX_BYTES`] long; a file that ends inside a table is refused; scripts and styles are
//! stepped over.
//! Absent on purpose: cells that span rows, since a row would miss a column without saying so.

use memchr::{memchr, memchr_iter};

use super::{Cell, Sheets};
use crate::base::{Defect, DefectCode};
use crate::wire::bank::profile::bind;
use crate::wire::bank::rows::check_width;
use crate::wire::decode::decode_bytes;
use crate::wire::ofx::resolve;
use crate::wire::xml::{DEPTH_MAX, TOKEN_MAX_BYTES};

/// Elements without content, and those whose closing tag may be left out.
const UNCOUNTED: [&str; 27] = [
    "area", "base", "br", "col", "colgroup", "embed", "hr", "img", "input", "link", "meta",
    "param", "source", "track", "wbr", "p", "li", "dd", "dt", "option", "thead", "tbody", "tfoot",
    "tr", "td", "th", "!doctype",
];

/// Whether the head of a text is an HTML file with a table whose header line a profile knows.
pub(crate) fn recognises(head: &str) -> bool {
    let start = head
        .get(..64.min(head.len()))
        .unwrap_or(head)
        .to_ascii_lowercase();
    let is_html = [
        "<html",
        "<!doctype html",
        "<table",
        "<meta",
        "<head",
        "<?xml",
        "<style",
    ];
    if !is_html.iter().any(|tag| start.starts_with(tag)) {
        return false;
    }
    let mut known = false;
    // The head may end anywhere, so how the walk ends says nothing.
    let _ = walk(head, &mut |event| {
        if let Event::Row(cells, _) = event {
            let texts: Vec<String> = cells.into_iter().map(|cell| cell.text).collect();
            known = known || bind(&texts).is_some();
        }
        Ok(())
    });
    known
}

pub(super) fn read(bytes: Vec<u8>, sheets: &mut Sheets<'_, '_>) -> Result<(), Defect> {
    let text = decode_bytes(bytes)?;
    walk(&text, &mut |event| {
        match event {
            Event::Row(cells, line) => {
                sheets.count(cells.len(), line)?;
                for cell in &cells {
                    sheets.count_text(&cell.text, line)?;
                }
                sheets.row(cells, line)?;
            }
            Event::TableEnd => sheets.end_sheet(),
        }
        Ok(())
    })
}

enum Event {
    /// The cells of a row, and its number in its table.
    Row(Vec<Cell>, u64),
    TableEnd,
}

/// What is open while a table is read.
#[derive(Default)]
struct Open {
    depth: usize,
    tables: usize,
    row: Option<Vec<Cell>>,
    cell: Option<String>,
    span: usize,
    rows: u64,
    line: u64,
}

fn walk(text: &str, take: &mut dyn FnMut(Event) -> Result<(), Defect>) -> Result<(), Defect> {
    let mut open = Open {
        line: 1,
        ..Open::default()
    };
    let mut rest = text;
    while !rest.is_empty() {
        let at = memchr(b'<', rest.as_bytes()).unwrap_or(rest.len());
        let (words, next) = rest.split_at(at);
        open.text(words)?;
        open.line += memchr_iter(b'\n', words.as_bytes()).count() as u64;
        let close = if next.starts_with("<!--") { "-->" } else { ">" };
        let Some(end) = next.find(close).filter(|_| !next.is_empty()) else {
            if next.is_empty() {
                break;
            }
            return Err(open.cut(next.len()));
        };
        if end > TOKEN_MAX_BYTES {
            return Err(open.cut(end));
        }
        let tag = &next[..end + close.len()];
        open.line += memchr_iter(b'\n', tag.as_bytes()).count() as u64;
        rest = &next[tag.len()..];
        if tag.starts_with("<!--") {
            continue;
        }
        let inside = tag[1..tag.len() - 1].trim_end_matches('/').trim();
        let (closes, name) = inside
            .strip_prefix('/')
            .map_or((false, inside), |name| (true, name));
        let name = name
            .split(char::is_whitespace)
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        if !closes && matches!(name.as_str(), "script" | "style") {
            let end = format!("</{name}");
            let skipped = find_ignoring_case(rest, &end).ok_or_else(|| open.cut(0))?;
            open.line += memchr_iter(b'\n', &rest.as_bytes()[..skipped]).count() as u64;
            rest = &rest[skipped..];
            open.depth += 1;
            continue;
        }
        open.tag(&name, closes, inside, take)?;
    }
    if open.tables > 0 {
        return Err(open.cut(0));
    }
    Ok(())
}

impl Open {
    fn text(&mut self, words: &str) -> Result<(), Defect> {
        let Some(cell) = &mut self.cell else {
            return Ok(());
        };
        if cell.len() + words.len() > TOKEN_MAX_BYTES {
            let found = format!(
                "the text of a cell is longer than {TOKEN_MAX_BYTES} bytes (limit TOKEN_MAX_BYTES)"
            );
            return Err(Defect::new(DefectCode::TooLarge, found).line(self.line));
        }
        cell.push_str(words);
        Ok(())
    }

    fn tag(
        &mut self,
        name: &str,
        closes: bool,
        inside: &str,
        take: &mut dyn FnMut(Event) -> Result<(), Defect>,
    ) -> Result<(), Defect> {
        if closes {
            if !UNCOUNTED.contains(&name) {
                self.depth = self.depth.saturating_sub(1);
            }
        } else if !UNCOUNTED.contains(&name) {
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                let found = format!("elements nest deeper than {DEPTH_MAX} (limit DEPTH_MAX)");
                return Err(Defect::new(DefectCode::Forbidden, found).line(self.line));
            }
        }
        match (name, closes) {
            ("table", false) => {
                if self.tables > 0 && self.cell.is_some() {
                    let found = "a table stands inside a cell of another";
                    return Err(Defect::new(DefectCode::Malformed, found).line(self.line));
                }
                (self.tables, self.rows) = (self.tables + 1, 0);
            }
            ("table", true) => {
                self.end_row(take)?;
                self.tables = self.tables.saturating_sub(1);
                take(Event::TableEnd)?;
            }
            ("tr", false) if self.tables > 0 => {
                self.end_row(take)?;
                self.rows += 1;
                self.row = Some(Vec::new());
            }
            ("tr", true) => self.end_row(take)?,
            ("td" | "th", false) if self.row.is_some() => {
                self.end_cell()?;
                if attribute(inside, "rowspan").is_some_and(|span| span > 1) {
                    let found = "a cell spans several rows; send the table without merged rows";
                    return Err(Defect::new(DefectCode::Malformed, found).line(self.rows));
                }
                self.span = attribute(inside, "colspan").unwrap_or(1).max(1);
                self.cell = Some(String::new());
            }
            ("td" | "th", true) => self.end_cell()?,
            ("br", _) => self.text(" ")?,
            _ => {}
        }
        Ok(())
    }

    fn end_cell(&mut self) -> Result<(), Defect> {
        let (Some(text), Some(row)) = (self.cell.take(), &mut self.row) else {
            return Ok(());
        };
        check_width(row.len().saturating_add(self.span), self.rows)?;
        row.push(Cell::text(&resolve(&text)));
        row.resize(row.len() + self.span - 1, Cell::default());
        Ok(())
    }

    fn end_row(&mut self, take: &mut dyn FnMut(Event) -> Result<(), Defect>) -> Result<(), Defect> {
        self.end_cell()?;
        match self.row.take() {
            Some(cells) => take(Event::Row(cells, self.rows)),
            None => Ok(()),
        }
    }

    /// A tag or table that does not end, or ends too far away.
    fn cut(&self, length: usize) -> Defect {
        if length > TOKEN_MAX_BYTES {
            let found =
                format!("a tag is longer than {TOKEN_MAX_BYTES} bytes (limit TOKEN_MAX_BYTES)");
            return Defect::new(DefectCode::TooLarge, found).line(self.line);
        }
        let found = "the file ends inside a table, a tag or a script";
        Defect::new(DefectCode::Truncated, found).line(self.line)
    }
}

/// The number an attribute gives.
fn attribute(tag: &str, name: &str) -> Option<usize> {
    let at = find_ignoring_case(tag, name)? + name.len();
    let value = tag[at..].trim_start().strip_prefix('=')?.trim_start();
    let value = value.trim_start_matches(['"', '\'']);
    let digits: String = value
        .chars()
        .take_while(char::is_ascii_digit)
        .take(6)
        .collect();
    digits.parse().ok()
}

fn find_ignoring_case(text: &str, word: &str) -> Option<usize> {
    let (text, word) = (text.as_bytes(), word.as_bytes());
    text.windows(word.len())
        .position(|window| window.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::xml::clip;

    fn rows(html: &str) -> Result<Vec<Vec<String>>, DefectCode> {
        let mut rows = Vec::new();
        walk(html, &mut |event| {
            if let Event::Row(cells, _) = event {
                rows.push(cells.into_iter().map(|cell| cell.text).collect());
            }
            Ok(())
        })
        .map_err(|d| d.code)?;
        Ok(rows)
    }

    #[test]
    fn cells_with_and_without_closing_tags() {
        let html = "<html><style>td{a:<b>}</style><body><TABLE border=1><tr><td colspan=\"2\">a&nbsp;&amp;b\
                    <td>c<br>d<tr><th>=\"0123\"</th><td/></tr></table><p>x</body>";
        assert_eq!(
            rows(html).unwrap(),
            [vec!["a &b", "", "c d"], vec!["0123", ""]]
        );
    }

    #[test]
    fn refused_in_bounded_memory() {
        let long = "x".repeat(TOKEN_MAX_BYTES + 1);
        for (html, code) in [
            (
                "<table><tr><td>".to_owned() + &"<div>".repeat(200_000),
                DefectCode::Forbidden,
            ),
            ("<table>".repeat(200_000), DefectCode::Forbidden),
            (
                "<table><tr>".to_owned() + &"<td>".repeat(200_000),
                DefectCode::TooLarge,
            ),
            (
                "<table><tr><td colspan=999999>x".to_owned() + "</table>",
                DefectCode::TooLarge,
            ),
            (
                format!("<table><tr><td>{long}</table>"),
                DefectCode::TooLarge,
            ),
            (format!("<table {long}"), DefectCode::TooLarge),
            ("<table><tr><td>a".to_owned(), DefectCode::Truncated),
            (
                "<table><tr><td rowspan=2>a</table>".to_owned(),
                DefectCode::Malformed,
            ),
        ] {
            assert_eq!(rows(&html), Err(code), "{}", clip(&html));
        }
    }
}
