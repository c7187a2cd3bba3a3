//! An XML reply as head fields and rows: what all banks' replies have in common.
//!
//! Invariants: memory is bounded by [`ROWS_MAX`], [`FIELDS_MAX`] and [`BYTES_MAX`]; a field that a
//! row carries twice refuses the reply, since no choice between the two is right.

use std::io::BufRead;

use super::super::xml::{Node, XmlReader, clip};
use crate::base::{Defect, DefectCode};

/// How many rows one reply may have; banks send at most a few hundred a page.
const ROWS_MAX: usize = 200_000;
/// How many fields a head or a row may have.
const FIELDS_MAX: usize = 200;
/// How many bytes of text one reply may hold.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// How a bank's reply is built.
pub(super) struct Shape {
    /// The root element.
    pub(super) root: &'static str,
    /// The element that is one row.
    pub(super) row: &'static str,
    /// An attribute that is read as the field `element@attribute`, empty for none.
    pub(super) attribute: &'static str,
}

/// Named texts in their order. A head field is named `parent/name`, a row field by its own name.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// The first field of that name that is not blank.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All fields of that name that are not blank.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let own = self.0.iter().filter(move |(other, _)| other == name);
        own.map(|(_, text)| text.as_str())
            .filter(|text| !text.is_empty())
    }

    /// Whether a field of that name stands there, blank or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(other, _)| other == name)
    }

    pub(super) fn push(&mut self, name: String, text: String) {
        self.0.push((name, text));
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// A reply taken apart.
#[derive(Default)]
pub(super) struct Records {
    pub(super) head: Fields,
    pub(super) rows: Vec<Fields>,
}

/// Reads one reply.
///
/// # Errors
/// The defect that refuses it: as [`XmlReader`], a limit passed, another root, a field twice.
pub(super) fn read(source: impl BufRead, shape: &Shape) -> Result<Records, Defect> {
    let mut xml = XmlReader::watching(source, shape.attribute);
    let mut reading = Reading {
        shape,
        path: Vec::new(),
        records: Records::default(),
        row_depth: None,
        leaf: false,
        bytes: 0,
    };
    loop {
        match xml.next()? {
            Node::Start => reading.start(&xml)?,
            Node::End => reading.end(&xml)?,
            Node::Done => return Ok(reading.records),
        }
    }
}

struct Reading<'s> {
    shape: &'s Shape,
    path: Vec<String>,
    records: Records,
    row_depth: Option<usize>,
    /// Whether the innermost element has had no element inside.
    leaf: bool,
    bytes: usize,
}

impl Reading<'_> {
    fn start(&mut self, xml: &XmlReader<impl BufRead>) -> Result<(), Defect> {
        if self.path.is_empty() && xml.name != self.shape.root {
            let found = format!(
                "the root is {:?}, not {:?}",
                clip(&xml.name),
                self.shape.root
            );
            return Err(xml.defect(DefectCode::UnknownFormat, found));
        }
        self.path.push(xml.name.clone());
        self.leaf = true;
        if self.row_depth.is_none() && xml.name == self.shape.row {
            if self.records.rows.len() >= ROWS_MAX {
                let found = format!("the reply has more than {ROWS_MAX} rows (limit ROWS_MAX)");
                return Err(xml.defect(DefectCode::TooLarge, found));
            }
            self.row_depth = Some(self.path.len());
            self.records.rows.push(Fields::default());
            self.leaf = false;
        } else if !xml.currency.is_empty() {
            let name = format!("{}@{}", xml.name, self.shape.attribute);
            self.keep(name, &xml.currency, xml)?;
        }
        Ok(())
    }

    fn end(&mut self, xml: &XmlReader<impl BufRead>) -> Result<(), Defect> {
        if self.leaf {
            let name = self.path.last().cloned().unwrap_or_default();
            let parent = self
                .path
                .len()
                .checked_sub(2)
                .and_then(|at| self.path.get(at));
            let name = match parent {
                Some(parent) if self.row_depth.is_none() => format!("{parent}/{name}"),
                _ => name,
            };
            self.keep(name, xml.text.trim(), xml)?;
        }
        self.leaf = false;
        if self.row_depth == Some(self.path.len()) {
            self.row_depth = None;
        }
        self.path.pop();
        Ok(())
    }

    fn keep(
        &mut self,
        name: String,
        text: &str,
        xml: &XmlReader<impl BufRead>,
    ) -> Result<(), Defect> {
        self.bytes += name.len() + text.len();
        if self.bytes > BYTES_MAX {
            let found = format!("the reply holds more than {BYTES_MAX} bytes (limit BYTES_MAX)");
            return Err(xml.defect(DefectCode::TooLarge, found));
        }
        let row = self.row_depth.and_then(|_| self.records.rows.last_mut());
        let in_row = row.is_some();
        let fields = row.unwrap_or(&mut self.records.head);
        if in_row && fields.has(&name) {
            let found = format!("a row carries {:?} twice", clip(&name));
            return Err(xml.defect(DefectCode::Malformed, found));
        }
        if fields.len() >= FIELDS_MAX {
            let found = format!("more than {FIELDS_MAX} fields stand together (limit FIELDS_MAX)");
            return Err(xml.defect(DefectCode::TooLarge, found));
        }
        fields.push(name, text.to_owned());
        Ok(())
    }
}
