//! When a day's statement is owed, and when a missing one is late or a gap.
//!
//! A statement of day D is owed by a time of the day after, in the site's zone; a little later it is a
//! gap. Which days are owed at all is the calendar's business (`reconcile`).

use std::collections::HashMap;

use chrono::{NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Timelike as _};
use chrono_tz::Tz;

use crate::base::{Day, Instant};
use crate::config::{ClockTime, Config, Feed};

/// By when, where no feed is set for an account's bank: half past eight, two hours of grace.
const EXPECTED_BY: ClockTime = ClockTime {
    hour: 8,
    minute: 30,
};
const GRACE_MINUTES: u32 = 120;

/// The statements that accounts of one bank owe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// The feed that brings them; empty where none is set.
    pub feed: String,
    expected_by: ClockTime,
    grace_minutes: u32,
    /// No statement is owed for days before.
    pub first_day: Option<Day>,
}

impl Default for Owed {
    fn default() -> Owed {
        Owed {
            feed: String::new(),
            expected_by: EXPECTED_BY,
            grace_minutes: GRACE_MINUTES,
            first_day: None,
        }
    }
}

impl From<&Feed> for Owed {
    fn from(feed: &Feed) -> Owed {
        Owed {
            feed: feed.name.clone(),
            expected_by: feed.expected_by,
            grace_minutes: feed.grace_minutes,
            first_day: feed.first_day,
        }
    }
}

impl Owed {
    /// The instant by which the statement of `day` should be here.
    pub fn expected_at(&self, day: Day, zone: Tz) -> Instant {
        at(day.plus(1), self.expected_by, zone)
    }

    /// The instant from which a missing statement of `day` is a gap.
    pub fn gap_at(&self, day: Day, zone: Tz) -> Instant {
        self.expected_at(day, zone) + TimeDelta::minutes(i64::from(self.grace_minutes))
    }
}

/// What every bank's accounts owe.
#[derive(Clone, Debug)]
pub struct Obligations {
    pub zone: Tz,
    by_bank: HashMap<String, Owed>,
    other: Owed,
}

impl Obligations {
    /// Obligations of a site without feeds.
    pub fn without_feeds(zone: Tz) -> Obligations {
        Obligations {
            zone,
            by_bank: HashMap::new(),
            other: Owed::default(),
        }
    }

    /// # Errors
    /// A zone that is none.
    pub fn of(config: &Config) -> Result<Obligations, String> {
        let mut obligations = Obligations::without_feeds(config.zone()?);
        for feed in &config.feed {
            (obligations.by_bank).insert(feed.bank.clone(), Owed::from(feed));
        }
        Ok(obligations)
    }

    /// What an account at this bank owes.
    pub fn of_bank(&self, bank_code: Option<&str>) -> &Owed {
        bank_code
            .and_then(|bank| self.by_bank.get(bank))
            .unwrap_or(&self.other)
    }
}

/// A time of a day in a zone; see [`instant`].
pub fn at(day: Day, time: ClockTime, zone: Tz) -> Instant {
    let minutes = TimeDelta::minutes(i64::from(time.hour * 60 + time.minute));
    instant(day.date().and_time(NaiveTime::MIN) + minutes, zone)
}

/// What the site's wall clock shows, as an instant. Where clocks jump over it, the first instant after
/// the jump; where they pass it twice, the first time.
pub fn instant(local: NaiveDateTime, zone: Tz) -> Instant {
    // Clocks jump to a whole minute, and by a day at most.
    let minute = local - TimeDelta::seconds(i64::from(local.second()));
    std::iter::once(local)
        .chain((1..=24 * 60).map(|minutes| minute + TimeDelta::minutes(minutes)))
        .find_map(|local| zone.from_local_datetime(&local).earliest())
        .map_or_else(
            || local.and_utc(),
            |found| found.with_timezone(&chrono::Utc),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> Instant {
        text.parse().expect("an instant")
    }

    fn day(text: &str) -> Day {
        text.parse().expect("a day")
    }

    #[test]
    fn a_statement_is_owed_the_morning_after_and_then_late_and_then_a_gap() {
        let owed = Owed::default();
        let zone = chrono_tz::Asia::Shanghai;
        let friday = day("2026-06-05");
        assert_eq!(owed.expected_at(friday, zone), utc("2026-06-06T00:30:00Z"));
        assert_eq!(owed.gap_at(friday, zone), utc("2026-06-06T02:30:00Z"));
    }

    #[test]
    fn what_the_clocks_jump_over_comes_right_after_the_jump() {
        let jumped = day("2026-03-29").date().and_hms_opt(1, 10, 20);
        let after = instant(jumped.expect("a time"), chrono_tz::Europe::London);
        assert_eq!(after, utc("2026-03-29T01:00:00Z"));
    }

    #[test]
    fn a_time_the_clocks_jump_over_or_pass_twice_is_one_instant() {
        let half_past = |hour| ClockTime { hour, minute: 30 };
        for (zone, on, hour, expected) in [
            (
                chrono_tz::Europe::London,
                "2026-03-29",
                1,
                "2026-03-29T01:00:00Z",
            ),
            (
                chrono_tz::Europe::London,
                "2026-10-25",
                1,
                "2026-10-25T00:30:00Z",
            ),
            (
                chrono_tz::America::New_York,
                "2026-03-08",
                2,
                "2026-03-08T07:00:00Z",
            ),
            (
                chrono_tz::America::New_York,
                "2026-11-01",
                1,
                "2026-11-01T05:30:00Z",
            ),
            (
                chrono_tz::Australia::Lord_Howe,
                "2026-10-04",
                2,
                "2026-10-03T15:30:00Z",
            ),
            (
                chrono_tz::Asia::Kathmandu,
                "2026-06-05",
                8,
                "2026-06-05T02:45:00Z",
            ),
        ] {
            assert_eq!(
                at(day(on), half_past(hour), zone),
                utc(expected),
                "{zone} {on}"
            );
        }
    }
}
