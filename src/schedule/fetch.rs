//! Asking feeds: one job per feed and day, one feed's days one after the other.
//!
//! A job is done when the source has answered for its day. While an account of the feed's bank lacks that
//! day's statement, it is opened again at the feed's next firings. A failure that may go away by itself
//! rests the whole feed for a growing while; one that needs somebody's doing, or does not go away, waits for
//! the next firing. Before each request the instant is stored before which the bank may not be asked again;
//! a day is claimed only past it, or by the fetch that stored it, whose source keeps the distance itself.

use std::time::Duration;

use chrono::TimeDelta;

use super::keeper::{Keeper, rests};
use super::store::{self, Bank};
use super::times::days_owed;
use super::{Feed, Service, catching, earlier};
use crate::base::{Day, Instant};
use crate::feed::deliveries;
use crate::feed::jobs::{self, Claim, Key, Kind, store as rows};
use crate::feed::source::{Source, SourceError, Window};
use crate::policy::CHINA;
use crate::store::{DbError, Tx, days};

/// Failures after which a day waits for its feed's firings: after half an hour.
const RETRIES_MAX: i64 = 6;
/// A day that failed and waits longer than this does not rest its feed.
const REST_MAX: TimeDelta = TimeDelta::minutes(20);

/// What asking a feed for one day came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub feed: String,
    pub day: Day,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The source answered; files that are new, known, and not taken.
    Answered {
        new: usize,
        known: usize,
        refused: usize,
    },
    /// It did not, or wrongly; it is asked again at an instant.
    Failed { reason: String, again: Instant },
    /// Another replica has taken the work over.
    Lost,
}

/// Why a feed cannot be asked for a day.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("no feed is called {0:?}; jintuo config print lists those of the settings")]
    NoFeed(String),
    #[error("feed {0:?} is not asked: its bank pushes")]
    Pushed(String),
    #[error("feed {feed:?} is asked for working days from {first} to {last}, not for {day}")]
    NotOwed {
        feed: String,
        day: Day,
        first: Day,
        last: Day,
    },
}

/// A feed's work as planned.
pub(super) struct Planned {
    /// Days to ask for now, in the order in which to ask.
    due: Vec<Day>,
    wake: Option<Instant>,
    pub(super) bank: Bank,
    /// The first day the feed owes.
    pub(super) first: Day,
    /// Days that are due and have not been asked for yet.
    pub(super) unasked: Vec<Day>,
}

impl Service {
    /// Has a feed asked for a day again at its next turn, whatever became of it before.
    ///
    /// # Errors
    /// A feed or a day that is not asked for; [`DbError::Busy`] while a replica asks for it.
    pub async fn ask_again(&self, name: &str, day: Day) -> Result<(), AskError> {
        let feed = self.feeds.iter().find(|f| f.settings.name == name);
        let feed = feed.ok_or_else(|| AskError::NoFeed(name.to_owned()))?;
        if feed.settings.source.is_pushed() {
            return Err(AskError::Pushed(name.to_owned()));
        }
        let (first, today) = (self.plan(feed).await?.first, self.today());
        if !days_owed(first, today).any(|owed| owed == day) {
            return Err(AskError::NotOwed {
                feed: name.to_owned(),
                day,
                first,
                last: today.plus(-1),
            });
        }
        let mut tx = self.db.begin_write().await?;
        if !rows::rearm(&mut tx, &key(feed, day), "to be asked again by hand").await? {
            return Err(DbError::Busy("the asking for this day").into());
        }
        Ok(tx.commit().await?)
    }

    /// Asks one feed for the days that are due; returns when to look again.
    pub(super) async fn fetch(
        &self,
        feed: &Feed,
    ) -> Result<(Vec<Fetched>, Option<Instant>), DbError> {
        if feed.settings.source.is_pushed() {
            return Ok((Vec::new(), None));
        }
        let planned = self.plan(feed).await?;
        if planned.due.is_empty() {
            return Ok((Vec::new(), planned.wake));
        }
        let opened = self.sources.open(&feed.settings);
        let mut fetched = Vec::new();
        let mut own_turn = None;
        for day in planned.due {
            // One replica at a time asks a feed.
            let Some(claim) = self.claim_turn(feed, day, own_turn).await? else {
                break;
            };
            self.pulse.asked(&feed.settings.name);
            let (outcome, go_on) = match &opened {
                Ok(Some(source)) => {
                    let mut keeper = Keeper::new(self, feed, &claim);
                    let asked = self.ask(feed, day, source.as_ref(), &mut keeper).await?;
                    own_turn = keeper.not_before.or(own_turn);
                    asked
                }
                Ok(None) => break,
                Err(e) => self.failed(feed, day, &claim, e).await?,
            };
            self.pulse.came_to(&feed.settings.name, &outcome);
            fetched.push(Fetched {
                feed: feed.settings.name.clone(),
                day,
                outcome,
            });
            if !go_on || self.is_stopping() {
                break;
            }
        }
        // What failed waits by its row now.
        Ok((fetched, self.plan(feed).await?.wake))
    }

    /// Plans jobs for days that are owed and opens those of days that are not whole.
    pub(super) async fn plan(&self, feed: &Feed) -> Result<Planned, DbError> {
        let (now, today) = (self.now(), self.today());
        let horizon = self.horizon(today);
        let settings = &feed.settings;
        let mut tx = self.db.begin_read().await?;
        let cut = store::visible(&mut tx).await?;
        let days = (horizon, today);
        let bank = store::bank(&mut tx, &settings.bank, settings.first_day, days, cut).await?;
        let known = rows::rows(&mut tx, Kind::Fetch, days::number(horizon)).await?;
        let rests = rests(&mut tx, feed).await?;
        tx.rollback().await?;
        // Where nothing says since when, the latest working day.
        let latest = CHINA.working_day_at_or_before(today.plus(-1));
        let first = bank.first_day()?.unwrap_or(latest).max(horizon);
        let mut planned = Planned {
            due: Vec::new(),
            wake: Some(self.tomorrow(today)),
            bank,
            first,
            unasked: Vec::new(),
        };
        if settings.source.is_pushed() {
            return Ok(planned);
        }
        let known: Vec<rows::Row> = (known.into_iter())
            .filter(|row| row.feed == settings.name)
            .collect();
        let (mut new, mut again, mut due) = (Vec::new(), Vec::new(), Vec::new());
        for day in days_owed(first, today) {
            let row = known.iter().find(|row| row.day == days::number(day));
            let at = match row {
                None => {
                    let at = feed.firings.first_for(day);
                    new.extend(at.map(|at| (day, at)));
                    at
                }
                Some(row) if row.is_done() => {
                    let asked = row.done_at.unwrap_or(now);
                    let at = (planned.bank.lacking(day) > 0)
                        .then(|| feed.firings.again(day, asked))
                        .flatten();
                    again.extend(at.filter(|at| *at <= now).map(|_| day));
                    at
                }
                Some(row) if row.is_held(now) => row.held_until,
                Some(row) if row.is_due(now) => Some(now),
                Some(row) => Some(row.due_at),
            };
            if at.is_some_and(|at| at <= now) {
                let attempts = row.map_or(0, |row| if row.is_done() { 0 } else { row.attempts });
                due.push((attempts, day));
            }
            let tried = row.is_some_and(|row| {
                row.done_at.is_some() || row.attempts > i64::from(row.is_held(now))
            });
            let is_asked_for = row.is_some_and(|row| row.is_held(now));
            if !tried && (is_asked_for || at.is_some_and(|at| at <= now)) {
                planned.unasked.push(day);
            }
            planned.wake = earlier(planned.wake, at);
        }
        if !new.is_empty() || !again.is_empty() {
            let mut tx = self.db.begin_write().await?;
            for (day, at) in new {
                rows::plan(&mut tx, &key(feed, day), at).await?;
            }
            for day in again {
                rows::reopen(&mut tx, &key(feed, day), now, "the day is not whole").await?;
            }
            tx.commit().await?;
        }
        // Days that have failed come after those that have not: one that always fails starves nobody.
        due.sort_unstable();
        planned.due = due.into_iter().map(|(_, day)| day).collect();
        let failing: Vec<&rows::Row> = (known.iter())
            .filter(|row| row.state == "waiting" && row.attempts > 0)
            .collect();
        if !failing.is_empty() {
            // A bank that does not answer is not waited for.
            planned.unasked.clear();
        }
        let failed = (failing.iter().map(|row| row.due_at))
            .filter(|due| *due > now && *due - now <= REST_MAX);
        let held = (known.iter().filter(|row| row.is_held(now))).filter_map(|row| row.held_until);
        let rests = rests.filter(|_| !planned.due.is_empty());
        if let Some(until) = held.chain(failed).chain(rests).max() {
            planned.due.clear();
            planned.wake = Some(until.min(self.tomorrow(today)));
        }
        Ok(planned)
    }

    pub(super) async fn claim(&self, key: &Key) -> Result<Option<Claim>, DbError> {
        let mut tx = self.db.begin_write().await?;
        let claim = rows::claim(&mut tx, key, &self.holder).await?;
        tx.commit().await?;
        Ok(claim)
    }

    /// Claims a day of a feed unless its bank was asked a moment ago by anybody else: `own_turn` is what
    /// this fetch has stored itself.
    async fn claim_turn(
        &self,
        feed: &Feed,
        day: Day,
        own_turn: Option<Instant>,
    ) -> Result<Option<Claim>, DbError> {
        let mut tx = self.db.begin_write().await?;
        let rests = rests(&mut tx, feed).await?;
        if rests.is_some() && rests != own_turn {
            tx.rollback().await?;
            return Ok(None);
        }
        let claim = rows::claim(&mut tx, &key(feed, day), &self.holder).await?;
        tx.commit().await?;
        Ok(claim)
    }

    /// Asks for one day and says whether to go on with the next.
    async fn ask(
        &self,
        feed: &Feed,
        day: Day,
        source: &dyn Source,
        keeper: &mut Keeper<'_>,
    ) -> Result<(Outcome, bool), DbError> {
        let name = &feed.settings.name;
        let claim = keeper.claim;
        let mut tx = self.db.begin_read().await?;
        let mark = deliveries::mark(&mut tx, name).await?;
        tx.rollback().await?;
        let window = Window {
            first: day,
            last: day,
        };
        let fetch = async {
            let _permit = self.fetches.acquire().await;
            let fetch = source.fetch(window, mark, &mut *keeper);
            tokio::time::timeout(self.fetch_time_max, catching(fetch)).await
        };
        // The claim is ended after the answer: while there is none, only another replica can have taken it.
        let answer = tokio::select! {
            biased;
            answer = fetch => answer,
            () = self.keep_claim(claim) => return Ok((Outcome::Lost, false)),
        };
        let broken = |reason: String| SourceError::Temporary {
            doing: "asking the bank",
            reason,
            after: None,
        };
        let files = [keeper.new, keeper.known, keeper.refused].map(|n| n as u64);
        self.pulse.brought(name, (files[0], files[1], files[2]));
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => Err(broken(panic)),
            Err(_) => Err(broken(format!(
                "no answer within {:?}",
                self.fetch_time_max
            ))),
        };
        let mark = match answer {
            Ok(mark) => mark.unwrap_or_default(),
            Err(e) => return self.failed(feed, day, claim, &e).await,
        };
        let (new, known, refused) = (keeper.new, keeper.known, keeper.refused);
        let note = format!("{new} new, {known} known, {refused} refused");
        let mut tx = self.db.begin_write().await?;
        deliveries::set_mark(&mut tx, name, &mark).await?;
        match rows::finish(&mut tx, claim, &note).await {
            Ok(()) => tx.commit().await?,
            Err(DbError::Busy(_)) => return lost(tx).await,
            Err(e) => return Err(e),
        }
        tracing::info!(
            feed.name = %name,
            feed.day = %day,
            files.new = new,
            files.known = known,
            files.refused = refused,
            "a feed answered"
        );
        self.arrived.notify_one();
        let outcome = Outcome::Answered {
            new,
            known,
            refused,
        };
        Ok((outcome, true))
    }

    async fn failed(
        &self,
        feed: &Feed,
        day: Day,
        claim: &Claim,
        error: &SourceError,
    ) -> Result<(Outcome, bool), DbError> {
        let name = &feed.settings.name;
        let now = self.now();
        let reason = with_causes(error);
        let temporary = error.is_temporary();
        let soon = temporary && claim.attempt <= RETRIES_MAX;
        let pause = jobs::pause(claim.attempt, name).max(error.after().unwrap_or(Duration::ZERO));
        let again = if soon {
            now + pause
        } else {
            feed.firings.next(now).unwrap_or(now + pause)
        };
        let mut tx = self.db.begin_write().await?;
        match rows::retry(&mut tx, claim, again, &reason).await {
            Ok(()) => tx.commit().await?,
            Err(DbError::Busy(_)) => return lost(tx).await,
            Err(e) => return Err(e),
        }
        tracing::warn!(
            feed.name = %name,
            feed.day = %day,
            feed.attempt = claim.attempt,
            feed.again = %again,
            error = %reason,
            "a feed did not answer"
        );
        Ok((Outcome::Failed { reason, again }, !temporary))
    }
}

async fn lost(tx: Tx) -> Result<(Outcome, bool), DbError> {
    tx.rollback().await?;
    Ok((Outcome::Lost, false))
}

fn key(feed: &Feed, day: Day) -> Key {
    Key {
        feed: feed.settings.name.clone(),
        day: days::number(day),
        kind: Kind::Fetch,
    }
}

fn with_causes(error: &SourceError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
