//! Rows of a bill under their header: cells found by the names of their columns.

use rust_decimal::Decimal;

use super::super::amount::{cell_day, plain};
use super::super::bank::profile::{key, split};
use super::super::xml::clip;
use crate::base::{Day, Defect, DefectCode};

/// The names of the columns, in the form of [`key`].
pub(super) struct Header(Vec<String>);

/// One row of cells.
pub(super) struct Row<'h> {
    header: &'h Header,
    cells: Vec<String>,
    pub(super) line: u64,
}

impl Header {
    pub(super) fn new(line: &str) -> Header {
        let mut names: Vec<String> = cells(line).iter().map(|name| key(name)).collect();
        while names.last().is_some_and(String::is_empty) {
            names.pop();
        }
        Header(names)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|other| other == name)
    }

    /// The row under the header.
    ///
    /// # Errors `MALFORMED` where the number of cells differs, or a name stands there twice.
    pub(super) fn row(&self, line: &str, number: u64) -> Result<Row<'_>, Defect> {
        let mut cells = cells(line);
        while cells.len() > self.0.len() && cells.last().is_some_and(String::is_empty) {
            cells.pop();
        }
        if cells.len() != self.0.len() {
            let found = format!("{} cells stand under {} columns", cells.len(), self.0.len());
            return Err(Defect::new(DefectCode::Malformed, found).line(number));
        }
        Ok(Row {
            header: self,
            cells,
            line: number,
        })
    }
}

/// The cells of a line. WeChat puts a backtick before every value and leaves commas inside values
/// as they are, so a line of values is cut where a comma and a backtick meet.
pub(super) fn cells(line: &str) -> Vec<String> {
    let line = line.trim_end_matches(['\r', '\n']);
    let plain = |text: &str| {
        text.trim_matches(|c: char| c.is_whitespace() || c == '`')
            .to_owned()
    };
    match line.strip_prefix('`') {
        Some(rest) => rest.split(",`").map(plain).collect(),
        None => split(line, b',').iter().map(|text| plain(text)).collect(),
    }
}

impl Row<'_> {
    /// The first filled cell under one of these names; `0` and `/` of an id are for the caller.
    pub(super) fn text(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| {
            let at = self.header.0.iter().position(|other| other == name)?;
            Some(self.cells[at].as_str()).filter(|text| !text.is_empty())
        })
    }

    pub(super) fn required(&self, names: &[&str]) -> Result<&str, Defect> {
        self.text(names)
            .ok_or_else(|| self.defect(DefectCode::MissingValue, "the cell is empty", names))
    }

    /// The day of a cell that holds a day and a time.
    pub(super) fn day(&self, names: &[&str]) -> Result<Day, Defect> {
        let text = self.required(names)?;
        cell_day(text).ok_or_else(|| {
            let found = format!("{:?} is not a day", clip(text));
            self.defect(DefectCode::BadDate, found, names)
        })
    }

    /// A signed amount of yuan; an empty cell or an absent column is zero.
    pub(super) fn yuan(&self, names: &[&str]) -> Result<Decimal, Defect> {
        let Some(text) = self.text(names) else {
            return Ok(Decimal::ZERO);
        };
        yuan(text).ok_or_else(|| {
            let found = format!("{:?} is not an amount of whole fen", clip(text));
            self.defect(DefectCode::BadAmount, found, names)
        })
    }

    pub(super) fn defect(
        &self,
        code: DefectCode,
        found: impl Into<String>,
        names: &[&str],
    ) -> Defect {
        let name = names.first().copied().unwrap_or_default();
        Defect::new(code, found).line(self.line).column(name)
    }
}

/// A signed amount whose decimals past the fen are zeros: `0.00000`, `7.79000`, `-0.06`.
pub(super) fn yuan(text: &str) -> Option<Decimal> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let amount = plain(digits)?.normalize();
    (amount.scale() <= 2).then(|| if negative { -amount } else { amount })
}

/// A running sum; an overflow is a defect of the row.
pub(super) fn add(sum: &mut Decimal, more: Decimal, line: u64) -> Result<(), Defect> {
    *sum = sum.checked_add(more).ok_or_else(|| {
        Defect::new(DefectCode::BadAmount, "the sum of the rows overflows").line(line)
    })?;
    Ok(())
}

/// Compares one declared figure.
pub(super) fn agree(name: &str, said: Decimal, counted: Decimal, line: u64) -> Result<(), Defect> {
    if said == counted {
        return Ok(());
    }
    let found = format!("declares {said}, the rows give {counted}");
    let defect = Defect::new(DefectCode::DeclaredTotals, found);
    Err(defect.line(line).column(name))
}

/// The refusal of a bill whose end is missing.
pub(super) fn truncated(found: &str, line: u64) -> Defect {
    Defect::new(DefectCode::Truncated, found).line(line)
}
