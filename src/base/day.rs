//! Civil days of the site and instants of the machine.
//!
//! A bank's business day is a [`Day`], never derived from an instant by accident: only
//! [`crate::base::clock`] knows the zone. Hot tables keep a day as days since 1970-01-01.

use std::fmt;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in UTC.
pub type Instant = DateTime<Utc>;

/// A civil day, as days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

impl Day {
    /// The earliest and latest day the product accepts; a day outside is a typing error.
    pub const MIN: Day = Day(0);
    pub const MAX: Day = Day(47_481); // 2099-12-31

    /// A day counted from 1970-01-01.
    pub const fn from_epoch(days: i32) -> Day {
        Day(days)
    }

    /// Days since 1970-01-01.
    pub const fn epoch(self) -> i32 {
        self.0
    }

    /// A calendar date, `None` if it is no date.
    pub fn from_ymd(year: i32, month: u32, day: u32) -> Option<Day> {
        NaiveDate::from_ymd_opt(year, month, day).map(Day::from_date)
    }

    pub fn from_date(date: NaiveDate) -> Day {
        Day(date.to_epoch_days())
    }

    pub fn date(self) -> NaiveDate {
        NaiveDate::from_epoch_days(self.0).unwrap_or(NaiveDate::MAX)
    }

    /// Parses `YYYY-MM-DD` within [`Day::MIN`]..=[`Day::MAX`].
    pub fn parse_iso(text: &[u8]) -> Option<Day> {
        let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else {
            return None;
        };
        let digit = |b: &u8| b.is_ascii_digit().then(|| i32::from(b - b'0'));
        let year = digit(y1)? * 1000 + digit(y2)? * 100 + digit(y3)? * 10 + digit(y4)?;
        let month = digit(m1)? * 10 + digit(m2)?;
        let day = digit(d1)? * 10 + digit(d2)?;
        let day = Day(civil_to_epoch(year, month, day)?);
        (day >= Day::MIN && day <= Day::MAX).then_some(day)
    }

    pub fn plus(self, days: i32) -> Day {
        Day(self.0.saturating_add(days))
    }

    /// Calendar days from `earlier` to `self`.
    pub const fn since(self, earlier: Day) -> i32 {
        self.0 - earlier.0
    }

    /// The same day `months` calendar months later, clamped to the month's end: "3个月" is never 90 days.
    pub fn plus_months(self, months: u32) -> Day {
        self.date()
            .checked_add_months(Months::new(months))
            .map_or(self, Day::from_date)
    }

    /// Monday is 0.
    pub fn weekday(self) -> u32 {
        self.date().weekday().num_days_from_monday()
    }

    pub fn is_weekend(self) -> bool {
        self.weekday() >= 5
    }

    /// Year and month, for sums by month.
    pub fn year_month(self) -> (i32, u32) {
        let date = self.date();
        (date.year(), date.month())
    }

    pub fn year(self) -> i32 {
        self.date().year()
    }

    /// The next calendar day.
    pub fn next(self) -> Day {
        Day::from_date(
            self.date()
                .checked_add_days(Days::new(1))
                .unwrap_or(NaiveDate::MAX),
        )
    }

    /// Every day from `self` to `last`, both included.
    pub fn through(self, last: Day) -> impl Iterator<Item = Day> {
        (self.0..=last.0).map(Day)
    }

    /// `2026年6月30日`, for prose.
    pub fn to_chinese(self) -> String {
        let d = self.date();
        format!("{}年{}月{}日", d.year(), d.month(), d.day())
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date, `None` if there is no such date.
fn civil_to_epoch(year: i32, month: i32, day: i32) -> Option<i32> {
    const LENGTH: [i32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = *LENGTH.get(usize::try_from(month - 1).ok()?)? + i32::from(leap && month == 2);
    if day < 1 || day > length {
        return None;
    }
    // Howard Hinnant's days_from_civil, for the years the four digits allow.
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    Some(era * 146_097 + doe - 719_468)
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.date().format("%Y-%m-%d"))
    }
}

impl std::str::FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Day, String> {
        Day::parse_iso(text.as_bytes()).ok_or_else(|| format!("{text:?} is not a date YYYY-MM-DD"))
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Day, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_it_prints_for_every_day() {
        for day in Day::MIN.through(Day::MAX) {
            assert_eq!(Day::parse_iso(day.to_string().as_bytes()), Some(day));
        }
    }

    #[test]
    fn refuses_what_is_no_day() {
        for text in [
            "2025-02-29",
            "2025-2-01",
            "20250201",
            "2025-13-01",
            "1969-12-31",
            "2100-01-01",
        ] {
            assert_eq!(Day::parse_iso(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn three_months_clamp_to_the_months_end() {
        let day = Day::from_ymd(2025, 11, 30).unwrap();
        assert_eq!(day.plus_months(3).to_string(), "2026-02-28");
    }
}
