//! When: firings of cron expressions, days that are worked, in the site's zone. Pure.
//!
//! A cron expression speaks of the wall clock. Where clocks jump over a time it fires once, right after the
//! jump; where they pass it twice it fires the first time only.

use chrono::TimeDelta;
use chrono_tz::Tz;

use crate::base::{Day, Instant};
use crate::config::ClockTime;
use crate::feed::owed;
use crate::policy::CHINA;

/// Further than any zone's clocks have been put back.
const PUT_BACK_MAX: TimeDelta = TimeDelta::hours(3);
const MIDNIGHT: ClockTime = ClockTime { hour: 0, minute: 0 };

/// A cron expression in a zone.
#[derive(Clone, Debug)]
pub struct Firings {
    schedule: cron::Schedule,
    zone: Tz,
}

impl Firings {
    /// # Errors
    /// An expression that is none.
    pub fn new(expression: &str, zone: Tz) -> Result<Firings, String> {
        let schedule = expression
            .parse()
            .map_err(|e: cron::error::Error| e.to_string())?;
        Ok(Firings { schedule, zone })
    }

    /// The first firing after an instant.
    pub fn next(&self, after: Instant) -> Option<Instant> {
        let wall = after.with_timezone(&self.zone).naive_local() - PUT_BACK_MAX;
        // The expression is asked as if the wall clock were one that is never moved.
        self.schedule
            .after(&wall.and_utc())
            .map(|fires| owed::instant(fires.naive_utc(), self.zone))
            .find(|fires| *fires > after)
    }

    /// The first firing on or after the day on which a day's statement is owed.
    pub fn first_for(&self, day: Day) -> Option<Instant> {
        let begins = start_of(day.plus(1), self.zone);
        self.next(begins - TimeDelta::microseconds(1))
    }

    /// When a day that was asked for at `asked` and is not whole is asked for again: at the next firing
    /// in its first days, later once a day.
    pub fn again(&self, day: Day, asked: Instant) -> Option<Instant> {
        /// Days after which a bank is asked for a day once a day only.
        const EAGER_DAYS: i32 = 3;
        let on = Day::from_date(asked.with_timezone(&self.zone).date_naive());
        if on.since(day) > EAGER_DAYS {
            self.next(start_of(on.plus(1), self.zone) - TimeDelta::microseconds(1))
        } else {
            self.next(asked)
        }
    }
}

/// The first instant of a day.
pub fn start_of(day: Day, zone: Tz) -> Instant {
    owed::at(day, MIDNIGHT, zone)
}

/// When a day is reconciled at the latest.
pub fn deadline_of(day: Day, deadline: ClockTime, zone: Tz) -> Instant {
    owed::at(day.plus(1), deadline, zone)
}

/// Working days before today, from `first` on.
pub fn days_owed(first: Day, today: Day) -> impl Iterator<Item = Day> {
    first
        .through(today.plus(-1))
        .filter(|day| CHINA.is_working(*day))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONES: [Tz; 5] = [
        chrono_tz::Asia::Shanghai,
        chrono_tz::Europe::London,
        chrono_tz::America::New_York,
        chrono_tz::Australia::Lord_Howe,
        chrono_tz::Asia::Kathmandu,
    ];

    fn day(text: &str) -> Day {
        text.parse().expect("a day")
    }

    fn utc(text: &str) -> Instant {
        text.parse().expect("an instant")
    }

    /// Ten years, each daily expression: the same number of firings as days, one on each.
    #[test]
    fn a_daily_firing_is_one_a_day_whatever_the_clocks_do() {
        let (first, last) = (day("2020-01-01"), day("2029-12-31"));
        for zone in ZONES {
            for expression in [
                "0 30 1 * * *",
                "0 15 2 * * *",
                "0 0 0 * * *",
                "30 59 23 * * *",
            ] {
                let firings = Firings::new(expression, zone).expect("an expression");
                let mut at = start_of(first, zone) - TimeDelta::microseconds(1);
                for expected in first.through(last) {
                    at = firings.next(at).expect("a firing");
                    let on = Day::from_date(at.with_timezone(&zone).date_naive());
                    assert_eq!(on, expected, "{zone} {expression}");
                }
            }
        }
    }

    #[test]
    fn every_business_date_has_one_deadline_and_one_first_firing_after_it() {
        let (first, last) = (day("2020-01-01"), day("2029-12-31"));
        for zone in ZONES {
            let firings = Firings::new("0 */15 2-4 * * *", zone).expect("an expression");
            for time in [(0, 0), (1, 30), (2, 15), (10, 30)] {
                let time = ClockTime {
                    hour: time.0,
                    minute: time.1,
                };
                let mut before = Instant::MIN_UTC;
                for business in first.through(last) {
                    let deadline = deadline_of(business, time, zone);
                    let on = Day::from_date(deadline.with_timezone(&zone).date_naive());
                    assert_eq!(on, business.plus(1), "{zone} {time}");
                    assert!(before < deadline, "{zone} {time} {business}");
                    before = deadline;
                    let fires = firings.first_for(business).expect("a firing");
                    let on = Day::from_date(fires.with_timezone(&zone).date_naive());
                    assert_eq!(on, business.plus(1), "{zone} {business}");
                }
            }
        }
    }

    #[test]
    fn a_skipped_time_fires_after_the_jump_and_a_doubled_one_once() {
        let london = chrono_tz::Europe::London;
        let half_past = Firings::new("0 30 1 * * *", london).expect("an expression");
        assert_eq!(
            half_past.next(utc("2026-03-29T00:00:00Z")),
            Some(utc("2026-03-29T01:00:00Z"))
        );
        // 01:30 comes at 00:30Z and again at 01:30Z.
        assert_eq!(
            half_past.next(utc("2026-10-25T00:29:00Z")),
            Some(utc("2026-10-25T00:30:00Z"))
        );
        for after in ["2026-10-25T00:30:00Z", "2026-10-25T01:10:00Z"] {
            assert_eq!(
                half_past.next(utc(after)),
                Some(utc("2026-10-26T01:30:00Z"))
            );
        }
        // Several skipped times are one firing.
        let often = Firings::new("0 */15 1 * * *", london).expect("an expression");
        assert_eq!(
            often.next(utc("2026-03-29T01:00:00Z")),
            Some(utc("2026-03-30T00:00:00Z"))
        );
    }

    #[test]
    fn a_day_that_is_not_whole_is_asked_for_at_each_firing_and_later_once_a_day() {
        let firings = Firings::new("0 0 6,9 * * *", chrono_tz::UTC).expect("an expression");
        let again = |asked| firings.again(day("2026-06-05"), utc(asked));
        assert_eq!(
            firings.first_for(day("2026-06-05")),
            Some(utc("2026-06-06T06:00:00Z"))
        );
        assert_eq!(
            again("2026-06-06T06:00:00Z"),
            Some(utc("2026-06-06T09:00:00Z"))
        );
        assert_eq!(
            again("2026-06-08T09:00:00Z"),
            Some(utc("2026-06-09T06:00:00Z"))
        );
        assert_eq!(
            again("2026-06-09T06:00:00Z"),
            Some(utc("2026-06-10T06:00:00Z"))
        );
    }

    #[test]
    fn rest_days_owe_nothing() {
        // Friday, make-up Saturday, Sunday, Monday.
        let owed: Vec<Day> = days_owed(day("2026-05-08"), day("2026-05-12")).collect();
        assert_eq!(owed, ["2026-05-08", "2026-05-09", "2026-05-11"].map(day));
    }
}
