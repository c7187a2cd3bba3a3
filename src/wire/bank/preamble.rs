//! What stands before the header line: account, currency, balances, days.

use rust_decimal::Decimal;

use super::profile::{Profile, currency_code, key};
use super::rows::present;
use crate::base::Day;
use crate::wire::amount::{cell, cell_day, some_text};

#[derive(Default)]
pub(super) struct Preamble {
    pub(super) account: Option<String>,
    pub(super) currency: Option<String>,
    pub(super) opening: Option<Decimal>,
    pub(super) closing: Option<Decimal>,
    pub(super) from: Option<Day>,
    pub(super) to: Option<Day>,
    /// The first day of the month a bill is for.
    pub(super) month: Option<Day>,
}

impl Preamble {
    /// Reads `key,value` and `key: value` pairs of one line.
    pub(super) fn take(&mut self, cells: &[String], profile: &Profile) {
        for (at, text) in cells.iter().enumerate() {
            if profile.days_of_month {
                self.month = self.month.or_else(|| month_in(text));
            }
            let split = text.split_once([':', '：']);
            let (name, value) = match split {
                Some((name, value)) if !value.trim().is_empty() => (name, value.to_owned()),
                Some((name, _)) => (name, next_filled(&cells[at + 1..])),
                None => (text.as_str(), next_filled(&cells[at + 1..])),
            };
            let name = key(name);
            let is = |keys: &[String]| keys.contains(&name);
            // `账号：6217… 户名：…`: the next pair of the cell is no part of the value.
            let value = match value.trim().split_once(char::is_whitespace) {
                Some((first, rest)) if rest.contains([':', '：']) => first.to_owned(),
                _ => value,
            };
            let Some(value) = some_text(&value) else {
                continue;
            };
            if is(&profile.account_keys) {
                self.account = self.account.take().or(Some(value));
            } else if is(&profile.currency_keys) {
                self.currency = self.currency.take().or(currency_code(&value));
            } else if is(&profile.opening_keys) {
                self.opening = cell(&value);
            } else if is(&profile.closing_keys) {
                self.closing = cell(&value);
            } else if is(&profile.from_keys) {
                self.from = cell_day(&value);
            } else if is(&profile.to_keys) {
                self.to = cell_day(&value);
            } else if is(&profile.range_keys)
                && let Some((from, to)) = day_range(&value)
            {
                (self.from, self.to) = (Some(from), Some(to));
            }
        }
    }
}

/// `2024年01月` within a title: its first day.
fn month_in(text: &str) -> Option<Day> {
    let (before, behind) = text.split_once('年')?;
    let year: String = before
        .chars()
        .rev()
        .take_while(char::is_ascii_digit)
        .collect();
    let year: String = year.chars().rev().collect();
    let (month, _) = behind.split_once('月')?;
    cell_day(&format!("{year}-{month}-1"))
}

/// `20251201-20251231`, `2025-12-01至2025-12-31`: the first and the last day.
fn day_range(text: &str) -> Option<(Day, Day)> {
    let (from, to) = text.split_once(['至', '~']).or_else(|| {
        let mut dashes = text.match_indices('-').map(|(at, _)| at);
        let at = dashes.next()?;
        dashes
            .next()
            .is_none()
            .then(|| (&text[..at], &text[at + 1..]))
    })?;
    let (from, to) = (cell_day(from)?, cell_day(to)?);
    (from <= to).then_some((from, to))
}

fn next_filled(cells: &[String]) -> String {
    cells
        .iter()
        .find_map(|text| present(text))
        .unwrap_or_default()
        .to_owned()
}
