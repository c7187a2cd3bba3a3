//! Days as tables keep them: whole days since 1970-01-01.

use super::{DbError, Result};
use crate::base::Day;

/// A day as a number to store.
pub fn number(day: Day) -> i64 {
    i64::from(day.epoch())
}

pub fn opt_number(day: Option<Day>) -> Option<i64> {
    day.map(number)
}

/// A stored day; `table` is where it was read.
pub fn day(number: i64, table: &'static str) -> Result<Day> {
    i32::try_from(number)
        .map(Day::from_epoch)
        .map_err(|_| DbError::Inconsistent(format!("{table} has the day {number}")))
}

pub fn opt_day(number: Option<i64>, table: &'static str) -> Result<Option<Day>> {
    number.map(|number| day(number, table)).transpose()
}
