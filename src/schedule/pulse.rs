//! What the scheduler has done since it was started, for whoever watches it.
//!
//! Invariants: counts only go up; there is one entry per feed of the settings, whatever banks say. Absent on
//! purpose: anything of a file or an account.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant as Moment;

use super::LOOK_EVERY;
use super::fetch::Outcome;

/// Rests after which a loop that should have woken up is taken for stopped.
const RESTS_MAX: u32 = 4;

/// Counts and loops of one [`super::Service`] and its clones.
#[derive(Debug, Default)]
pub struct Pulse {
    fetches: Mutex<BTreeMap<String, Fetches>>,
    loops: Mutex<BTreeMap<Worker, Beat>>,
    runs: AtomicU64,
    run_failures: AtomicU64,
}

/// What asking a feed has come to, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetches {
    pub attempts: u64,
    pub answered: u64,
    pub failed: u64,
    pub lost: u64,
    pub files_new: u64,
    pub files_known: u64,
    pub files_refused: u64,
}

/// Whose loop it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worker {
    Books,
    Feed(String),
}

#[derive(Clone, Copy, Debug)]
enum Beat {
    /// What works has limits of its own.
    Working,
    RestingSince(Moment),
    Ended,
}

/// A loop that goes on; it has ended when this is dropped, also where it panicked.
pub(super) struct Looping {
    pulse: Arc<Pulse>,
    worker: Worker,
}

impl Pulse {
    /// Counts of these feeds begin with nothing.
    pub(super) fn of<'f>(feeds: impl Iterator<Item = &'f str>) -> Pulse {
        let fetches = feeds.map(|feed| (feed.to_owned(), Fetches::default()));
        Pulse {
            fetches: Mutex::new(fetches.collect()),
            ..Pulse::default()
        }
    }

    /// What asking each feed that is asked has come to.
    pub fn fetches(&self) -> BTreeMap<String, Fetches> {
        locked(&self.fetches).clone()
    }

    /// Completed and failed runs.
    pub fn runs(&self) -> (u64, u64) {
        let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
        (count(&self.runs), count(&self.run_failures))
    }

    /// Whether every loop goes on.
    ///
    /// # Errors
    /// Which one does not.
    pub fn alive(&self) -> Result<(), String> {
        let loops = locked(&self.loops);
        if loops.is_empty() {
            return Err("the scheduler has not begun".to_owned());
        }
        for (worker, beat) in loops.iter() {
            let stopped = match beat {
                Beat::Working => continue,
                Beat::RestingSince(since) if since.elapsed() <= LOOK_EVERY * RESTS_MAX => continue,
                Beat::RestingSince(_) => "does not wake up",
                Beat::Ended => "has ended",
            };
            return Err(match worker {
                Worker::Books => format!("the work at the books {stopped}"),
                Worker::Feed(feed) => format!("the work at feed {feed} {stopped}"),
            });
        }
        Ok(())
    }

    pub(super) fn begin(self: &Arc<Pulse>, worker: Worker) -> Looping {
        locked(&self.loops).insert(worker.clone(), Beat::Working);
        Looping {
            pulse: Arc::clone(self),
            worker,
        }
    }

    pub(super) fn asked(&self, feed: &str) {
        self.count(feed, |f| f.attempts += 1);
    }

    pub(super) fn came_to(&self, feed: &str, outcome: &Outcome) {
        self.count(feed, |f| match outcome {
            Outcome::Answered { .. } => f.answered += 1,
            Outcome::Failed { .. } => f.failed += 1,
            Outcome::Lost => f.lost += 1,
        });
    }

    pub(super) fn brought(&self, feed: &str, (new, known, refused): (u64, u64, u64)) {
        self.count(feed, |f| {
            f.files_new += new;
            f.files_known += known;
            f.files_refused += refused;
        });
    }

    pub(super) fn ran(&self, well: bool) {
        let count = if well { &self.runs } else { &self.run_failures };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self, feed: &str, add: impl FnOnce(&mut Fetches)) {
        if let Some(fetches) = locked(&self.fetches).get_mut(feed) {
            add(fetches);
        }
    }
}

impl Looping {
    pub(super) fn works(&self) {
        self.set(Beat::Working);
    }

    pub(super) fn rests(&self) {
        self.set(Beat::RestingSince(Moment::now()));
    }

    fn set(&self, beat: Beat) {
        locked(&self.pulse.loops).insert(self.worker.clone(), beat);
    }
}

impl Drop for Looping {
    fn drop(&mut self) {
        self.set(Beat::Ended);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_does_not_wake_up_or_has_ended_is_named() {
        let pulse = Arc::new(Pulse::of(["icbc"].into_iter()));
        assert_eq!(pulse.alive(), Err("the scheduler has not begun".to_owned()));
        let (books, feed) = (
            pulse.begin(Worker::Books),
            pulse.begin(Worker::Feed("icbc".to_owned())),
        );
        // Work may take long.
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(pulse.alive(), Ok(()));
        books.rests();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(pulse.alive(), Ok(()));
        tokio::time::advance(LOOK_EVERY * RESTS_MAX).await;
        let asleep = "the work at the books does not wake up".to_owned();
        assert_eq!(pulse.alive(), Err(asleep));
        books.works();
        assert_eq!(pulse.alive(), Ok(()));
        drop(feed);
        let ended = "the work at feed icbc has ended".to_owned();
        assert_eq!(pulse.alive(), Err(ended));
    }

    #[test]
    fn only_feeds_of_the_settings_are_counted() {
        let pulse = Pulse::of(["icbc"].into_iter());
        for feed in ["icbc", "stranger"] {
            pulse.asked(feed);
            pulse.came_to(feed, &Outcome::Lost);
            pulse.brought(feed, (3, 2, 1));
        }
        let icbc = Fetches {
            attempts: 1,
            lost: 1,
            files_new: 3,
            files_known: 2,
            files_refused: 1,
            ..Fetches::default()
        };
        assert_eq!(pulse.fetches(), BTreeMap::from([("icbc".to_owned(), icbc)]));
    }
}
