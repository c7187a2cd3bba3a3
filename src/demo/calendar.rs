//! The simulator's business days, and the calendar days that each of them carries.
//!
//! Invariant: the days are those the caller's working-day calendar chose, ascending; nothing here
//! knows a weekday. An index at or beyond [`Calendar::len`] lies after the simulated period.

use crate::base::Day;

/// Working days within which a fee must reach the account (default policy, all channels used here).
pub(super) const WINDOW_WORKING_DAYS: usize = 3;

/// Business days by index.
pub(super) struct Calendar {
    business: Vec<Day>,
}

impl Calendar {
    /// A calendar of the given days, sorted, each once.
    pub(super) fn new(days: &[Day]) -> Calendar {
        let mut business = days.to_vec();
        business.sort_unstable();
        business.dedup();
        Calendar { business }
    }

    pub(super) fn len(&self) -> usize {
        self.business.len()
    }

    pub(super) fn day(&self, index: usize) -> Day {
        self.business[index]
    }

    /// The business day before `index`; the calendar day before for the first.
    pub(super) fn previous(&self, index: usize) -> Day {
        if index == 0 {
            self.business[0].plus(-1)
        } else {
            self.business[index - 1]
        }
    }

    /// Calendar days whose news business day `index` carries: itself and the rest days before it.
    pub(super) fn carried(&self, index: usize) -> Vec<Day> {
        self.previous(index)
            .next()
            .through(self.day(index))
            .collect()
    }

    /// Index of the `count`-th business day strictly after `day` (the trigger day never counts).
    pub(super) fn after(&self, day: Day, count: usize) -> usize {
        self.business.partition_point(|b| *b <= day) + count - 1
    }

    /// Index at which a fee of `day` that is still uncredited becomes overdue.
    pub(super) fn window_end(&self, day: Day) -> usize {
        self.after(day, WINDOW_WORKING_DAYS)
    }

    /// Index at `percent` of the period.
    pub(super) fn at_percent(&self, percent: usize) -> usize {
        self.len() * percent / 100
    }
}
