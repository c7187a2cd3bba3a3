//! The only place that asks the machine for the time, and the only one that knows the site's zone.

use chrono::{TimeZone, Utc};
use chrono_tz::Tz;

use super::day::{Day, Instant};

/// Where "now" comes from: the system, or a fixed instant in tests and in the demo.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    fixed: Option<Instant>,
    zone: Tz,
}

impl Clock {
    /// The machine's clock, read in the site's zone.
    pub fn system(zone: Tz) -> Clock {
        Clock { fixed: None, zone }
    }

    /// A clock that stands still.
    pub fn fixed(at: Instant, zone: Tz) -> Clock {
        Clock {
            fixed: Some(at),
            zone,
        }
    }

    /// The current instant.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    pub fn now(&self) -> Instant {
        self.fixed.unwrap_or_else(Utc::now)
    }

    /// The site's civil day at an instant.
    pub fn day_of(&self, at: Instant) -> Day {
        Day::from_date(at.with_timezone(&self.zone).date_naive())
    }

    /// An instant as the site's wall clock shows it, `2026-06-30 08:15`.
    pub fn wall(&self, at: Instant) -> String {
        self.zone
            .from_utc_datetime(&at.naive_utc())
            .format("%Y-%m-%d %H:%M")
            .to_string()
    }
}
