//! Scheduled work: one row, and one effect, per feed, day and kind, on any number of replicas.
//!
//! A replica claims a row for a little more than a minute and prolongs its claim while it works, so that
//! what a killed one held is taken over soon and what a living one holds is not, however long it takes. The
//! fence moves on with every claim. The transaction that writes
//! the effect also ends the claim ([`store::finish`]) and fails where the fence has moved: a replica
//! that was paused past its time cannot write what another has taken over.
//! Absent on purpose: trusting the lease's clock. It only decides who may try.

pub mod store;

use std::time::Duration;

/// How long a claim lasts unless it is ended or prolonged.
pub const CLAIM: Duration = Duration::from_secs(75);
/// How often a claim is prolonged while work is under way: two beats may fail before it is lost.
pub const BEAT: Duration = Duration::from_secs(25);
/// The first pause after a failure; it doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_secs(30);
const PAUSE_MAX: Duration = Duration::from_secs(900);

/// What kind of work a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Ask a feed for a day's statements.
    Fetch,
    /// Reconcile a day.
    Run,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Fetch => "fetch",
            Kind::Run => "run",
        }
    }
}

/// Which work: a run belongs to no feed and has an empty one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub feed: String,
    pub day: i64,
    pub kind: Kind,
}

/// Work a replica has claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub key: Key,
    pub fence: i64,
    /// This attempt's number, from 1.
    pub attempt: i64,
}

/// How long to wait after a failed attempt: doubling, at most a quarter of an hour, and spread by up to a
/// quarter so that feeds and replicas do not come back in step. `seed` tells them apart.
pub fn pause(attempt: i64, seed: &str) -> Duration {
    let doublings = u32::try_from(attempt.clamp(1, 16)).unwrap_or(1) - 1;
    let whole = PAUSE
        .saturating_mul(2_u32.saturating_pow(doublings))
        .min(PAUSE_MAX);
    // FNV-1a: any spread will do, as long as it is the same for the same attempt.
    let hash = (seed.bytes().chain(attempt.to_le_bytes()))
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    whole + whole.saturating_mul(u32::try_from(hash % 256).unwrap_or(0)) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_are_bounded_and_spread() {
        let seconds = |attempt| pause(attempt, "icbc").as_secs();
        assert!((30..=38).contains(&seconds(1)));
        assert!((60..=75).contains(&seconds(2)));
        for attempt in [6, 7, 100, i64::MAX] {
            assert!((900..=1125).contains(&seconds(attempt)), "{attempt}");
        }
        let spread: std::collections::BTreeSet<u128> = (0..20)
            .map(|n| pause(3, &format!("feed-{n}")).as_millis())
            .collect();
        assert!(spread.len() > 10);
        assert_eq!(pause(3, "icbc"), pause(3, "icbc"));
    }
}
