//! A statement file read one statement at a time, so that a file of any length needs the memory of its
//! largest statement.
//!
//! Invariants: the statements are those of [`super::parse_with`] after [`super::join_pages`], in the same order: as
//! they become whole, pages without their neighbours last. As with a whole file, a refusal says nothing of the statements before it: whoever
//! uses them reads the file to its end first.
//! Absent on purpose: splitting a statement. Its proof, its days and the running numbers of its entries
//! among equals belong to the whole.

use std::io::BufRead;

use super::pages::Chains;
use super::{
    Assumptions, Entry, Format, Item, STATEMENTS_MAX, Statement, stream_with, too_many_statements,
};
use crate::base::{Defect, DefectCode};

/// How many pages may wait for their neighbours at a time.
pub const PAGES_HELD_MAX: usize = 1_000;

/// Reads a file and hands its statements to `take`, each with at most `entries_max` entries. Gives what is
/// remarkable about the file.
///
/// # Errors
/// Why the file cannot be used, every reason; `TOO_LARGE` where one statement, or the pages that wait for
/// their neighbours, are too long to be held.
pub fn one_by_one(
    format: Format,
    reader: impl BufRead,
    assumed: &Assumptions,
    entries_max: usize,
    take: &mut dyn FnMut(Statement),
) -> Result<Vec<Defect>, Vec<Defect>> {
    let mut fold = Fold {
        entries_max,
        take,
        entries: Vec::new(),
        chains: Chains::default(),
        statements: 0,
        defects: Vec::new(),
        refused: false,
    };
    stream_with(format, reader, assumed, &mut |item| fold.push(item));
    if fold.refused {
        return Err(fold.defects);
    }
    for page in std::mem::take(&mut fold.chains).finish() {
        fold.hand_over(page);
    }
    if fold.statements == 0 && fold.defects.is_empty() {
        let found = "the file has no statement";
        fold.defects.push(Defect::new(DefectCode::Malformed, found));
    }
    if fold.statements == 0 {
        return Err(fold.defects);
    }
    Ok(fold.defects)
}

struct Fold<'t> {
    entries_max: usize,
    take: &'t mut dyn FnMut(Statement),
    /// Of the open statement.
    entries: Vec<Entry>,
    chains: Chains,
    statements: usize,
    defects: Vec<Defect>,
    refused: bool,
}

impl Fold<'_> {
    fn push(&mut self, item: Item) {
        match item {
            Item::Defect(defect) => self.defects.push(defect),
            Item::Refused(defect) => self.refuse(defect),
            _ if self.refused => {}
            Item::Open(_) => {}
            Item::Entry(entry) => {
                self.entries.push(entry);
                if self.entries.len() > self.entries_max {
                    self.too_long();
                }
            }
            Item::Close(mut statement) => {
                statement.entries = std::mem::take(&mut self.entries);
                if let Some(whole) = self.chains.take(statement) {
                    self.hand_over(whole);
                } else if self.chains.len() > PAGES_HELD_MAX
                    || self.chains.entries() > self.entries_max
                {
                    self.too_long();
                }
            }
        }
    }

    fn hand_over(&mut self, statement: Statement) {
        self.statements += 1;
        if self.statements > STATEMENTS_MAX {
            self.refuse(too_many_statements());
        } else if statement.entries.len() > self.entries_max {
            self.too_long();
        } else {
            (self.take)(statement);
        }
    }

    fn too_long(&mut self) {
        let max = self.entries_max;
        let found = format!(
            "a statement, or the pages that wait for their neighbours, have more than {max} entries or \
             {PAGES_HELD_MAX} pages; ask the bank for statements of fewer days, or in files of their own"
        );
        self.refuse(Defect::new(DefectCode::TooLarge, found));
    }

    fn refuse(&mut self, defect: Defect) {
        self.entries = Vec::new();
        self.chains = Chains::default();
        if !self.refused {
            self.refused = true;
            self.defects.push(defect);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{join_pages, parse};
    use super::*;

    fn message(account: &str, entries: usize) -> String {
        let lines = ":61:2606040604C1,NTRF\n".repeat(entries);
        format!(
            ":20:S\n:25:{account}\n:28C:1\n:60F:C260603CNY1,\n{lines}:62F:C260604CNY{},\n-\n",
            1 + entries
        )
    }

    fn read(text: &str, entries_max: usize) -> (Vec<Statement>, Result<Vec<Defect>, DefectCode>) {
        let mut statements = Vec::new();
        let done = one_by_one(
            Format::Mt940,
            text.as_bytes(),
            &Assumptions::default(),
            entries_max,
            &mut |s| statements.push(s),
        );
        (statements, done.map_err(|why| why[0].code))
    }

    #[test]
    fn gives_what_the_whole_file_gives() {
        let text = message("1", 2) + &message("2", 0) + &message("3", 3);
        let (whole, _) = parse(Format::Mt940, text.as_bytes());
        let (statements, done) = read(&text, 3);
        assert_eq!(statements, join_pages(whole));
        assert_eq!(done, Ok(vec![]));
    }

    #[test]
    fn refuses_what_it_cannot_hold_or_read() {
        let text = message("1", 2) + &message("2", 4);
        assert_eq!(read(&text, 3).1, Err(DefectCode::TooLarge));
        assert_eq!(read(":20:S\n", 3).1, Err(DefectCode::Malformed));
        let broken = message("1", 1) + ":20:S\n:25:1\n:60F:x\n";
        assert_eq!(read(&broken, 3).1, Err(DefectCode::Malformed));
        let many = format!(
            "{}{}",
            message("1", 1).replace(":62F:", ":62M:"),
            message("2", 3).replace(":60F:", ":60M:")
        );
        let (statements, done) = read(&many, 4);
        assert_eq!((statements.len(), done), (2, Ok(vec![])));
        assert_eq!(read(&many, 3).1, Err(DefectCode::TooLarge));
    }
}
