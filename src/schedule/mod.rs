//! When: feeds are fetched, what they bring is taken in, and each working day is reconciled, unattended.
//!
//! All state is in the database: work is a row per feed, day and kind ([`crate::feed::jobs`]), so a process
//! may be killed anywhere and any number of replicas may serve one PostgreSQL. [`Service::tick`] does what
//! is due and says when to look again; [`Service::serve`] does the same for each feed by itself and for
//! the books, so that a bank that does not answer holds up nobody else.
//!
//! ```text
//! a feed's firing ──► fetch: ask for one day, keep each file as a delivery
//!                       └──► book: deliveries into one import ──► days that are in, or at their deadline ──► run
//! ```
//!
//! Invariants: each working day is asked for and reconciled by itself, oldest first, also after an outage; a
//! day is reconciled once when every account has delivered, or at its deadline with what is missing marked,
//! and again where a statement came later; what one file, bank or day does wrong stays with it.
//! Absent on purpose: a queue in memory, a leader, catching up further than the settings say.

mod book;
mod fetch;
mod keeper;
mod lacking;
mod pulse;
mod store;
pub mod times;
pub mod watch;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Duration;

use chrono_tz::Tz;
use tokio::sync::{Notify, Semaphore, watch as signal};
use tokio::task::JoinSet;

use crate::base::{Clock, Day, Instant};
use crate::config::{self, Config};
use crate::feed::deliveries::ATTEMPTS_MAX;
use crate::feed::jobs::{BEAT, Claim, store as jobs};
use crate::feed::source::{self, Source, SourceError, Surroundings};
use crate::intake;
use crate::policy::Policy;
use crate::store::{Db, DbError, Engine};

pub use book::Booked;
pub use fetch::{AskError, Fetched, Outcome};
pub use lacking::feeds_without_accounts;
use pulse::Worker;
pub use pulse::{Fetches, Pulse};
use times::{Firings, start_of};

/// Feeds that are asked at the same time.
const FETCHES_MAX: usize = 16;
/// The most time one feed may take for one day; its claim is prolonged meanwhile.
const FETCH_TIME_MAX: Duration = Duration::from_secs(300);
/// The most time the reading of one file may take.
const READ_TIME_MAX: Duration = Duration::from_secs(900);
/// The longest sleep: pushes come, and other replicas and commands work, without telling us.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The shortest sleep.
const REST: Duration = Duration::from_secs(1);
/// How long work goes on to its next checkpoint after the service was told to stop.
const STOPPING_TIME_MAX: Duration = Duration::from_secs(5);

/// Where feeds' sources come from: the world, or a script.
pub trait Sources: Send + Sync {
    /// # Errors
    /// Settings, a secret or a key that cannot be used.
    fn open(&self, feed: &config::Feed) -> Result<Option<Box<dyn Source>>, SourceError>;
}

impl Sources for Surroundings {
    fn open(&self, feed: &config::Feed) -> Result<Option<Box<dyn Source>>, SourceError> {
        source::open(feed, self)
    }
}

/// Makes a watcher of each import.
pub type Watchers = Arc<dyn Fn() -> Box<dyn intake::Progress> + Send + Sync>;

/// A feed with its cron expression read.
#[derive(Clone, Debug)]
struct Feed {
    settings: config::Feed,
    firings: Firings,
}

/// The scheduler: shared handles, no state of its own.
#[derive(Clone)]
pub struct Service {
    db: Db,
    feeds: Arc<[Feed]>,
    run: config::Run,
    zone: Tz,
    sources: Arc<dyn Sources>,
    holder: String,
    watchers: Watchers,
    fetch_time_max: Duration,
    read_time_max: Duration,
    beat: Duration,
    reading: book::Current,
    fetches: Arc<Semaphore>,
    arrived: Arc<Notify>,
    pulse: Arc<Pulse>,
    stopping: Arc<AtomicBool>,
}

/// A file whose reading does not end.
#[derive(Debug, thiserror::Error)]
#[error(
    "reading {file} does not end; it is tried again after the next start, and left alone after {ATTEMPTS_MAX} attempts"
)]
pub struct Stuck {
    pub file: String,
}

/// What a tick did.
#[derive(Debug, Default)]
pub struct Done {
    pub fetched: Vec<Fetched>,
    pub booked: Booked,
    /// When there may be something to do again.
    pub wake: Option<Instant>,
}

impl Service {
    /// `holder` names this replica in the rows it works at.
    ///
    /// # Errors
    /// A zone, a policy or a cron expression that is none.
    pub fn new(
        db: Db,
        config: &Config,
        sources: Arc<dyn Sources>,
        holder: &str,
    ) -> Result<Service, String> {
        let zone = config.zone()?;
        if Policy::built_in(&config.run.policy).is_none() {
            return Err(format!(
                "run.policy: no policy is called {:?}",
                config.run.policy
            ));
        }
        let feeds: Result<Vec<Feed>, String> = (config.feed.iter())
            .map(|settings| {
                let firings = Firings::new(&settings.schedule, zone)
                    .map_err(|e| format!("feed {:?}: schedule: {e}", settings.name))?;
                Ok(Feed {
                    settings: settings.clone(),
                    firings,
                })
            })
            .collect();
        let feeds = feeds?;
        let asked = feeds.iter().map(|f| &f.settings);
        let asked = asked.filter(|f| !f.source.is_pushed());
        let pulse = Arc::new(Pulse::of(asked.map(|f| f.name.as_str())));
        Ok(Service {
            db,
            feeds: feeds.into(),
            run: config.run.clone(),
            zone,
            sources,
            holder: holder.to_owned(),
            watchers: Arc::new(|| Box::new(intake::Silent)),
            fetch_time_max: FETCH_TIME_MAX,
            read_time_max: READ_TIME_MAX,
            beat: BEAT,
            reading: book::Current::default(),
            fetches: Arc::new(Semaphore::new(FETCHES_MAX)),
            arrived: Arc::new(Notify::new()),
            pulse,
            stopping: Arc::new(AtomicBool::new(false)),
        })
    }

    /// The same service by another clock.
    #[must_use]
    pub fn by_clock(&self, clock: Clock) -> Service {
        Service {
            db: self.db.with_clock(clock),
            ..self.clone()
        }
    }

    /// Has every import watched.
    #[must_use]
    pub fn watched(self, watchers: Watchers) -> Service {
        Service { watchers, ..self }
    }

    /// What it does, for whoever watches it.
    pub fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    /// Gives a feed less time for a day.
    #[must_use]
    pub fn with_fetch_time(self, most: Duration) -> Service {
        Service {
            fetch_time_max: most,
            ..self
        }
    }

    /// Gives the reading of a file less time.
    #[must_use]
    pub fn with_read_time(self, most: Duration) -> Service {
        Service {
            read_time_max: most,
            ..self
        }
    }

    /// Prolongs its claims more often.
    #[must_use]
    pub fn with_beat(self, beat: Duration) -> Service {
        Service { beat, ..self }
    }

    /// Does what is due: asks every feed, all at once, then takes in and reconciles.
    ///
    /// Dropping it anywhere is safe: a transaction under way is taken back, what is claimed is tried again
    /// when the claim is over.
    ///
    /// # Errors
    /// A database that does not answer. What banks and files do wrong is in the answer.
    pub async fn tick(&self) -> Result<Done, DbError> {
        let mut asking = JoinSet::new();
        for at in 0..self.feeds.len() {
            let service = self.clone();
            asking.spawn(async move { service.fetch(&service.feeds[at]).await });
        }
        let mut done = Done::default();
        let mut failed = None;
        while let Some(ended) = asking.join_next().await {
            match ended {
                Ok(Ok((fetched, wake))) => {
                    done.fetched.extend(fetched);
                    done.wake = earlier(done.wake, wake);
                }
                Ok(Err(e)) => failed = Some(e),
                Err(e) => tracing::error!(error = %e, "a fetch ended badly"),
            }
        }
        if let Some(failed) = failed {
            return Err(failed);
        }
        done.fetched
            .sort_by(|a, b| (&a.feed, a.day).cmp(&(&b.feed, b.day)));
        done.booked = self.book().await?;
        done.wake = earlier(done.wake, done.booked.wake);
        Ok(done)
    }

    /// Works until `stop`, then to the next checkpoint, for a few seconds at most.
    ///
    /// # Errors
    /// A file whose reading does not end. The process has to end, since nothing else ends its thread; the
    /// attempt is counted, so that after a few starts the file is left alone.
    pub async fn serve(&self, stop: impl Future<Output = ()>) -> Result<(), Stuck> {
        if self.db.engine() == Engine::Sqlite
            && let Err(e) = self.release().await
        {
            tracing::error!(
                error = &e as &dyn std::error::Error,
                "ending a killed server's claims"
            );
        }
        let feeds = self.feeds.iter().map(|feed| &feed.settings);
        match feeds_without_accounts(&self.db, feeds).await {
            Ok(found) => found.iter().for_each(|(feed, why)| {
                tracing::warn!(feed.name = %feed, feed.bank = %why, "a feed's bank holds no account");
            }),
            Err(e) => tracing::warn!(
                error = &e as &dyn std::error::Error,
                "looking for feeds without accounts"
            ),
        }
        let (stopper, stopped) = signal::channel(false);
        let mut loops = JoinSet::new();
        for at in 0..self.feeds.len() {
            if !self.feeds[at].settings.source.is_pushed() {
                let service = self.clone();
                let stopped = stopped.clone();
                loops
                    .spawn(async move { service.keep_fetching(&service.feeds[at], stopped).await });
            }
        }
        let service = self.clone();
        loops.spawn(async move { service.keep_booking(stopped).await });
        let stuck = tokio::select! {
            () = stop => None,
            stuck = self.stuck() => Some(stuck),
        };
        self.stopping.store(true, Ordering::Relaxed);
        let _ = stopper.send(true);
        if let Some(stuck) = stuck {
            return Err(stuck);
        }
        let ended = async { while loops.join_next().await.is_some() {} };
        if tokio::time::timeout(STOPPING_TIME_MAX, ended)
            .await
            .is_err()
        {
            tracing::info!("work under way is left; it goes on with the next start");
        }
        Ok(())
    }

    /// Completes when the reading of a file has taken too long.
    async fn stuck(&self) -> Stuck {
        loop {
            tokio::time::sleep(self.read_time_max / 4).await;
            let reading = self
                .reading
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            if let Some((since, file)) = reading
                && since.elapsed() > self.read_time_max
            {
                return Stuck { file };
            }
        }
    }

    /// An embedded database has one server: what is claimed when it starts is a killed one's.
    async fn release(&self) -> Result<(), DbError> {
        let mut tx = self.db.begin_write().await?;
        jobs::release(&mut tx).await?;
        tx.commit().await
    }

    async fn keep_fetching(&self, feed: &Feed, mut stopped: signal::Receiver<bool>) {
        let worker = Worker::Feed(feed.settings.name.clone());
        let looping = self.pulse.begin(worker);
        loop {
            looping.works();
            let wake = tokio::select! {
                fetched = self.fetch(feed) => match fetched {
                    Ok((_, wake)) => wake,
                    Err(e) => {
                        tracing::error!(feed.name = %feed.settings.name, error = &e as &dyn std::error::Error, "a feed's work");
                        None
                    }
                },
                _ = stopped.wait_for(|s| *s) => return,
            };
            looping.rests();
            tokio::select! {
                () = tokio::time::sleep(self.until(wake)) => {}
                _ = stopped.wait_for(|s| *s) => return,
            }
        }
    }

    async fn keep_booking(&self, mut stopped: signal::Receiver<bool>) {
        let looping = self.pulse.begin(Worker::Books);
        loop {
            looping.works();
            let wake = match self.book().await {
                Ok(booked) => booked.wake,
                Err(e) => {
                    tracing::error!(error = &e as &dyn std::error::Error, "the books' work");
                    None
                }
            };
            looping.rests();
            // Files that come at once are taken in at once.
            let next = async {
                tokio::time::sleep(REST).await;
                tokio::select! {
                    () = tokio::time::sleep(self.until(wake)) => {}
                    () = self.arrived.notified() => {}
                }
            };
            tokio::select! {
                () = next => {}
                _ = stopped.wait_for(|s| *s) => return,
            }
        }
    }

    /// How long to sleep: never busily, never past what others may have done.
    fn until(&self, wake: Option<Instant>) -> Duration {
        let wait = wake.map_or(LOOK_EVERY, |wake| {
            (wake - self.now()).to_std().unwrap_or(Duration::ZERO)
        });
        wait.clamp(REST, LOOK_EVERY)
    }

    /// Prolongs a claim again and again; completes when another replica has taken the work over. Polled
    /// beside the work, so that it ends with it, and stops where the process stands still.
    async fn keep_claim(&self, claim: &Claim) {
        loop {
            tokio::time::sleep(self.beat).await;
            match self.prolong(claim).await {
                Ok(()) => {}
                Err(DbError::Busy(_)) => return,
                // The next beat may do better; without one the claim ends, and the fence tells.
                Err(e) => tracing::warn!(
                    error = &e as &dyn std::error::Error,
                    "a claim was not prolonged"
                ),
            }
        }
    }

    async fn prolong(&self, claim: &Claim) -> Result<(), DbError> {
        let mut tx = self.db.begin_write().await?;
        jobs::prolong(&mut tx, claim).await?;
        tx.commit().await
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn now(&self) -> Instant {
        self.db.clock().now()
    }

    fn today(&self) -> Day {
        Day::from_date(self.now().with_timezone(&self.zone).date_naive())
    }

    /// The first day that is caught up with.
    fn horizon(&self, today: Day) -> Day {
        let days = i32::try_from(self.run.catch_up_days).unwrap_or(i32::MAX);
        today.plus(-days).max(Day::MIN)
    }

    /// The start of tomorrow: then another day is owed.
    fn tomorrow(&self, today: Day) -> Instant {
        start_of(today.plus(1), self.zone)
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Drives work and catches its panic, whose words it returns.
async fn catching<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(panic) => Poll::Ready(Err(words(&*panic))),
        }
    })
    .await
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
