//! U+0000 in what a statement says, however it came in: a character reference, an escape, a cell of a
//! workbook.
//!
//! Invariant: no item behind this guard holds one; PostgreSQL keeps none in a text.

use super::{Entry, Item, Statement};
use crate::base::{Defect, DefectCode};

/// Refuses an item one of whose texts holds U+0000, naming the field.
pub(super) fn check(item: &Item) -> Result<(), Defect> {
    let (field, line) = match item {
        Item::Open(statement) | Item::Close(statement) => (in_statement(statement), None),
        Item::Entry(entry) => (in_entry(entry), Some(entry.line)),
        Item::Defect(_) | Item::Refused(_) => (None, None),
    };
    let Some(field) = field else {
        return Ok(());
    };
    let found = "the text holds the character U+0000, which no statement may";
    let defect = Defect::new(DefectCode::Malformed, found).column(field);
    Err(match line {
        Some(line) => defect.line(line),
        None => defect,
    })
}

fn in_statement(statement: &Statement) -> Option<&'static str> {
    let kind = |balance: &Option<super::Balance>| balance.as_ref().is_some_and(|b| nul(&b.kind));
    let fields = [
        ("account", nul_in(statement.account.as_ref())),
        ("currency", nul_in(statement.currency.as_ref())),
        ("number", nul_in(statement.number.as_ref())),
        ("opening", kind(&statement.opening)),
        ("closing", kind(&statement.closing)),
    ];
    first(&fields)
}

fn in_entry(entry: &Entry) -> Option<&'static str> {
    let original = entry.reversal.as_ref().and_then(|r| r.original.as_ref());
    let detail = |d: &super::Detail| {
        nul(&d.currency) || nul_in(d.reference.as_ref()) || nul_in(d.counterparty.as_ref())
    };
    let fields = [
        ("currency", nul(&entry.currency)),
        ("customer_ref", nul_in(entry.customer_ref.as_ref())),
        ("bank_ref", nul_in(entry.bank_ref.as_ref())),
        ("code", nul_in(entry.code.as_ref())),
        ("counterparty", nul_in(entry.counterparty.as_ref())),
        ("memo", nul(&entry.memo)),
        ("reversal", nul_in(original)),
        ("details", entry.details.iter().any(detail)),
    ];
    first(&fields)
}

fn first(fields: &[(&'static str, bool)]) -> Option<&'static str> {
    fields
        .iter()
        .find(|(_, holds)| *holds)
        .map(|(name, _)| *name)
}

fn nul_in(text: Option<&String>) -> bool {
    text.is_some_and(|text| nul(text))
}

fn nul(text: &str) -> bool {
    memchr::memchr(0, text.as_bytes()).is_some()
}
