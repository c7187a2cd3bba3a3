//! The only place that asks the machine for the time, and the only one that knows the site's zone.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{TimeZone, Utc};
use chrono_tz::Tz;

use super::day::{Day, Instant};

/// Where "now" comes from: the system, a fixed instant in tests and in the demo, or a test's hand.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    source: Source,
    zone: Tz,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    System,
    Fixed(Instant),
    /// Seconds since the epoch.
    ByHand(&'static AtomicI64),
}

impl Clock {
    /// The machine's clock, read in the site's zone.
    pub fn system(zone: Tz) -> Clock {
        Clock {
            source: Source::System,
            zone,
        }
    }

    /// A clock that stands still.
    pub fn fixed(at: Instant, zone: Tz) -> Clock {
        Clock {
            source: Source::Fixed(at),
            zone,
        }
    }

    /// A clock that shows whatever second since the epoch its holder sets.
    pub fn by_hand(second: &'static AtomicI64, zone: Tz) -> Clock {
        Clock {
            source: Source::ByHand(second),
            zone,
        }
    }

    /// The current instant.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    pub fn now(&self) -> Instant {
        match self.source {
            Source::System => Utc::now(),
            Source::Fixed(at) => at,
            Source::ByHand(second) => {
                let second = second.load(Ordering::SeqCst);
                Instant::from_timestamp(second, 0).unwrap_or(Instant::MAX_UTC)
            }
        }
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
