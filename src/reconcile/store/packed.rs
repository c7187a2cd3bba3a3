//! Facts packed into one text per institution: a unit separator between fields and a record separator
//! between facts. A driver's cost per row is many times its cost per byte, and a run reads every open
//! fact. Ids and references hold no control characters, which intake sees to
//! ([`crate::wire::interchange`]).

use crate::base::Day;
use crate::store::{DbError, Result, days};

/// Splits a packed text into facts, and a fact into its fields.
pub(super) fn unpack(packed: &str) -> impl Iterator<Item = Fields<'_>> {
    packed
        .split('\u{1e}')
        .filter(|fact| !fact.is_empty())
        .map(|fact| Fields(fact.split('\u{1f}')))
}

pub(super) struct Fields<'a>(std::str::Split<'a, char>);

impl<'a> Fields<'a> {
    pub(super) fn text(&mut self) -> Result<&'a str> {
        self.0
            .next()
            .ok_or_else(|| DbError::Inconsistent("a packed fact is too short".to_owned()))
    }

    pub(super) fn int(&mut self) -> Result<i64> {
        let text = self.text()?;
        text.parse()
            .map_err(|_| DbError::Inconsistent(format!("{text:?} in a packed fact is no number")))
    }

    pub(super) fn opt_int(&mut self) -> Result<Option<i64>> {
        if self.0.clone().next() == Some("") {
            self.text()?;
            return Ok(None);
        }
        self.int().map(Some)
    }

    pub(super) fn day(&mut self, table: &'static str) -> Result<Day> {
        days::day(self.int()?, table)
    }
}
