//! The Chinese working-day calendar: weekdays, public holidays, make-up working days (调休).
//!
//! Invariants: counting excludes the trigger day; a day beyond the published years is reckoned by
//! weekdays and marked provisional, never passed off as known.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::base::Day;

const DATA: &str = include_str!("calendar_cn.toml");

/// The published calendar, read once.
pub static CHINA: LazyLock<Calendar> =
    LazyLock::new(|| Calendar::parse(DATA).expect("the embedded calendar is tested"));

/// Which days are worked, from `first` on.
#[derive(Clone, Debug)]
pub struct Calendar {
    first: Day,
    /// One entry per day of the published years.
    worked: Vec<bool>,
    /// Working days in the published years strictly before each day, for counting in one step.
    before: Vec<i32>,
}

/// A deadline, and whether it lies beyond the published years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    pub day: Day,
    pub provisional: bool,
}

#[derive(Deserialize)]
struct File {
    year: Vec<Year>,
}

#[derive(Deserialize)]
struct Year {
    year: i32,
    off: Vec<(Day, Day)>,
    worked: Vec<Day>,
}

impl Calendar {
    /// Reads the calendar's data file: consecutive years, each with days off and days worked.
    ///
    /// # Errors
    /// A file of another shape, or years that do not follow each other.
    pub fn parse(text: &str) -> Result<Calendar, String> {
        let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
        let (Some(first), Some(last)) = (file.year.first(), file.year.last()) else {
            return Err("the calendar has no year".to_owned());
        };
        if file.year.windows(2).any(|w| w[1].year != w[0].year + 1) {
            return Err("the calendar's years do not follow each other".to_owned());
        }
        let start = Day::from_ymd(first.year, 1, 1).ok_or("no such year")?;
        let end = Day::from_ymd(last.year, 12, 31).ok_or("no such year")?;
        let mut worked: Vec<bool> = start.through(end).map(|d| !d.is_weekend()).collect();
        let mut set = |day: Day, value: bool| {
            if let Ok(i) = usize::try_from(day.since(start))
                && let Some(slot) = worked.get_mut(i)
            {
                *slot = value;
            }
        };
        for year in &file.year {
            for (from, to) in &year.off {
                from.through(*to).for_each(|d| set(d, false));
            }
            year.worked.iter().for_each(|d| set(*d, true));
        }
        let mut count = 0;
        let before = worked
            .iter()
            .map(|w| {
                let before = count;
                count += i32::from(*w);
                before
            })
            .collect();
        Ok(Calendar {
            first: start,
            worked,
            before,
        })
    }

    fn index(&self, day: Day) -> Option<usize> {
        usize::try_from(day.since(self.first))
            .ok()
            .filter(|i| *i < self.worked.len())
    }

    /// True where the year of the day has been published.
    pub fn is_published(&self, day: Day) -> bool {
        self.index(day).is_some()
    }

    /// True on a working day; by weekday alone outside the published years.
    pub fn is_working(&self, day: Day) -> bool {
        self.index(day)
            .map_or(!day.is_weekend(), |i| self.worked[i])
    }

    /// The day `count` working days after `from`, which itself is not counted.
    pub fn add_working_days(&self, from: Day, count: i32) -> Deadline {
        let mut day = from;
        let mut left = count;
        let mut provisional = false;
        while left > 0 {
            day = day.plus(1);
            provisional |= !self.is_published(day);
            left -= i32::from(self.is_working(day));
        }
        Deadline { day, provisional }
    }

    /// Working days after `from` up to and including `to`; 0 where `to` is not later.
    pub fn working_days_between(&self, from: Day, to: Day) -> i32 {
        if to <= from {
            return 0;
        }
        match (self.index(from.plus(1)), self.index(to)) {
            (Some(a), Some(b)) => self.before[b] - self.before[a] + i32::from(self.worked[b]),
            _ => from
                .plus(1)
                .through(to)
                .map(|d| i32::from(self.is_working(d)))
                .sum(),
        }
    }

    /// The last working day at or before `day`.
    pub fn working_day_at_or_before(&self, day: Day) -> Day {
        let mut d = day;
        while !self.is_working(d) && d > Day::MIN {
            d = d.plus(-1);
        }
        d
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    #[test]
    fn vectors_of_domain_4() {
        for (from, n, to) in [
            ("2026-02-13", 1, "2026-02-14"), // a worked Saturday
            ("2026-02-13", 15, "2026-03-12"),
            ("2026-09-18", 15, "2026-10-15"),
            ("2026-09-30", 1, "2026-10-08"),
            ("2026-05-08", 1, "2026-05-09"),
        ] {
            let deadline = CHINA.add_working_days(day(from), n);
            assert_eq!(
                (deadline.day, deadline.provisional),
                (day(to), false),
                "{from} + {n}"
            );
            assert_eq!(CHINA.working_days_between(day(from), day(to)), n);
        }
        let worked = day("2026-01-01")
            .through(day("2026-12-31"))
            .filter(|d| CHINA.is_working(*d));
        assert_eq!(worked.count(), 248);
    }

    #[test]
    fn beyond_the_horizon_is_provisional() {
        let deadline = CHINA.add_working_days(day("2026-12-25"), 5);
        assert!(deadline.provisional);
        let days = i32::try_from(CHINA.worked.len()).unwrap();
        assert_eq!(CHINA.first.plus(days - 1), day("2026-12-31"));
    }

    #[test]
    fn counting_agrees_with_walking() {
        for from in day("2025-12-20").through(day("2026-03-20")) {
            for to in from.through(from.plus(40)) {
                let walked = from
                    .plus(1)
                    .through(to)
                    .filter(|d| CHINA.is_working(*d))
                    .count();
                assert_eq!(
                    CHINA.working_days_between(from, to),
                    i32::try_from(walked).unwrap()
                );
            }
        }
    }

    #[test]
    fn years_must_follow_each_other() {
        let text = "[[year]]\nyear = 2023\noff = []\nworked = []\n[[year]]\nyear = 2025\noff = []\nworked = []\n";
        assert!(Calendar::parse(text).is_err());
    }
}
