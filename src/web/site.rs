//! What a deployment says about itself, and the tiers its thresholds cut coverage into.
//!
//! Invariants: thresholds, city and zone are data; another city is another `Site`, not other code.
//! A tier is judged on the floored coverage, the same figure the page prints.
//! Absent on purpose: green. Colour means a warning tier and nothing else, and always comes with a
//! mark and a word.

use chrono_tz::Tz;

use crate::base::{Clock, Instant, Ratio, Severity};
use crate::report::Status;

/// A deployment.
#[derive(Clone, Debug)]
pub struct Site {
    /// The city's name, `郑州市`.
    pub city: String,
    /// The zone in which times are shown and days are cut.
    pub zone: Tz,
    pub thresholds: Thresholds,
    /// True where the institutions are invented; every page then says so.
    pub demo: bool,
}

impl Site {
    /// An instant on the site's wall clock.
    pub fn wall(&self, at: Instant) -> String {
        Clock::system(self.zone).wall(at)
    }
}

/// Lower ends of the coverage tiers, in basis points; below `amber_bp` is red.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    pub full_bp: i64,
    pub watch_bp: i64,
    pub amber_bp: i64,
}

impl Thresholds {
    pub fn tier(&self, coverage: Ratio) -> Tier {
        let points = coverage.basis_points();
        if points >= i128::from(self.full_bp) {
            Tier::Full
        } else if points >= i128::from(self.watch_bp) {
            Tier::Watch
        } else if points >= i128::from(self.amber_bp) {
            Tier::Amber
        } else {
            Tier::Red
        }
    }
}

/// How a figure is dressed: class, mark and word always together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    Full,
    Watch,
    Amber,
    Red,
    /// Data are missing, and nothing worse is proven.
    Unknown,
    /// Nothing is required.
    NotApplicable,
}

impl Tier {
    pub const fn class(self) -> &'static str {
        match self {
            Tier::Full => "full",
            Tier::Watch => "watch",
            Tier::Amber => "amber",
            Tier::Red => "red",
            Tier::Unknown => "unknown",
            Tier::NotApplicable => "none",
        }
    }

    pub const fn mark(self) -> &'static str {
        match self {
            Tier::Full => "✓",
            Tier::Watch => "○",
            Tier::Amber => "▲",
            Tier::Red => "◆",
            Tier::Unknown => "◇",
            Tier::NotApplicable => "–",
        }
    }

    pub const fn word(self) -> &'static str {
        match self {
            Tier::Full => "足额",
            Tier::Watch => "关注",
            Tier::Amber => "黄色预警",
            Tier::Red => "红色预警",
            Tier::Unknown => "数据不全",
            Tier::NotApplicable => "无应托管额",
        }
    }

    pub const fn of_severity(severity: Severity) -> Tier {
        match severity {
            Severity::Watch => Tier::Watch,
            Severity::Amber => Tier::Amber,
            Severity::Red => Tier::Red,
        }
    }

    pub const fn of_status(status: Status) -> Tier {
        match status {
            Status::Unknown => Tier::Unknown,
            Status::NotApplicable => Tier::NotApplicable,
            Status::Short | Status::Timing => Tier::Watch,
            Status::Covered => Tier::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_begins_exactly_at_its_threshold() {
        let thresholds = Thresholds {
            full_bp: 10_000,
            watch_bp: 9_500,
            amber_bp: 9_000,
        };
        let tier = |n| thresholds.tier(Ratio::new(n, 1_000_000).unwrap());
        assert_eq!(tier(1_000_000), Tier::Full);
        assert_eq!(tier(999_999), Tier::Watch);
        assert_eq!(tier(950_000), Tier::Watch);
        assert_eq!(tier(949_999), Tier::Amber);
        assert_eq!(tier(900_000), Tier::Amber);
        assert_eq!(tier(899_999), Tier::Red);
        assert_eq!(tier(0), Tier::Red);
    }
}
