//! Taking deliveries in and reconciling days.
//!
//! A day is reconciled when all accounts have delivered, or at its deadline; days in their order, so one
//! that fails or has to wait stops those after it. A reconciled day of which a later file speaks, or
//! before which one does, is opened again: that is found from file numbers, whoever imported the file.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use tokio::time::Instant as Moment;

use super::fetch::Planned;
use super::times::{days_owed, deadline_of};
use super::{Service, catching, earlier, store};
use crate::base::{Day, Instant};
use crate::config;
use crate::feed::deliveries;
use crate::feed::jobs::{self, Claim, Key, Kind, store as rows};
use crate::intake::{self, FeedTerms, ImportError, TermsOfFeeds};
use crate::run::{self, RunError};
use crate::store::{DbError, days};
use crate::wire::Assumptions;

/// How long a day waits for deliveries that somebody else is reading.
const READING_MAX: TimeDelta = TimeDelta::minutes(30);
/// Readings that failed, by a panic or by data the database refused, after which one pass goes on; each is counted
/// as an attempt at the deliveries that were read.
const FAILURES_MAX: usize = 100;

/// What was taken in and reconciled.
#[derive(Debug, Default)]
pub struct Booked {
    pub imports: Vec<intake::Summary>,
    pub runs: Vec<run::Summary>,
    /// Why something could not be done now.
    pub failures: Vec<String>,
    pub wake: Option<Instant>,
}

impl Service {
    /// Takes in everything delivered and reconciles the days that are due.
    ///
    /// # Errors
    /// See [`Service::tick`].
    pub async fn book(&self) -> Result<Booked, DbError> {
        let mut booked = Booked::default();
        if self.feeds.is_empty() {
            return Ok(booked);
        }
        self.take_in(&mut booked).await;
        self.reconcile(&mut booked).await?;
        Ok(booked)
    }

    async fn take_in(&self, booked: &mut Booked) {
        let mut failures = 0;
        let terms: TermsOfFeeds = (self.feeds.iter())
            .map(|feed| (feed.settings.name.clone(), terms_of(&feed.settings)))
            .collect();
        while !self.is_stopping() && failures < FAILURES_MAX {
            let mut reading = Reading {
                watcher: (self.watchers)(),
                file: Arc::clone(&self.reading),
            };
            let taken = catching(intake::take_deliveries(&self.db, &terms, &mut reading)).await;
            drop(reading);
            match taken {
                Ok(Ok(None)) => return,
                Ok(Ok(Some(summary))) => {
                    tell_import(&summary);
                    booked.imports.push(summary);
                }
                // Somebody imports; the next look finds what is left.
                Ok(Err(ImportError::Db(DbError::Busy(_)))) => return,
                Ok(Err(e)) => {
                    tracing::error!(error = &e as &dyn std::error::Error, "taking deliveries in");
                    booked.failures.push(e.to_string());
                    // The attempt is counted: what comes next is read without it.
                    if !matches!(&e, ImportError::Db(e) if e.may_be_of_the_data()) {
                        return;
                    }
                    failures += 1;
                }
                Err(panic) => {
                    failures += 1;
                    tracing::error!(panic = %panic, "the reader of deliveries panicked");
                    booked.failures.push(panic);
                }
            }
        }
    }

    async fn reconcile(&self, booked: &mut Booked) -> Result<(), DbError> {
        let (now, today) = (self.now(), self.today());
        let planned = self.plan_runs().await?;
        booked.wake = Some(self.tomorrow(today));
        let horizon = days::number(self.horizon(today));
        let mut tx = self.db.begin_read().await?;
        let known = rows::rows(&mut tx, Kind::Run, horizon).await?;
        let unread = deliveries::unread_since(&mut tx).await?;
        tx.rollback().await?;
        let reads = unread.is_some_and(|since| now - since < READING_MAX);
        for row in known.iter().filter(|row| !row.is_done()) {
            if self.is_stopping() {
                return Ok(());
            }
            let day = days::day(row.day, "job")?;
            if !row.is_due(now) {
                let at = row.held_until.filter(|_| row.is_held(now));
                booked.wake = earlier(booked.wake, Some(at.unwrap_or(row.due_at)));
                break;
            }
            // A bank that has not been asked for the day yet is asked first, and what another replica or
            // a command keeps us from reading is read first; either takes minutes at most.
            let unasked = planned.iter().any(|p| p.unasked.contains(&day));
            if (unasked || reads) && !is_ready(&planned, day) {
                booked.wake = Some(now);
                break;
            }
            let Some(claim) = self.claim(&key(day)).await? else {
                break;
            };
            if !self.run_day(day, &claim, booked).await? {
                break;
            }
        }
        Ok(())
    }

    /// Plans a run of each day, opens those whose day has changed, hastens those whose day is in.
    async fn plan_runs(&self) -> Result<Vec<Planned>, DbError> {
        let (now, today) = (self.now(), self.today());
        let horizon = self.horizon(today);
        let mut feeds = Vec::new();
        for feed in self.feeds.iter() {
            feeds.push(self.plan(feed).await?);
        }
        let Some(first) = feeds.iter().map(|f| f.first).min() else {
            return Ok(feeds);
        };
        let mut tx = self.db.begin_read().await?;
        let cut = store::visible(&mut tx).await?;
        let known = rows::rows(&mut tx, Kind::Run, days::number(horizon)).await?;
        let looked = store::looked(&mut tx, &self.run.policy, horizon).await?;
        let yesterday = today.plus(-1);
        let said = store::latest_sources(&mut tx, (horizon, yesterday), cut).await?;
        tx.rollback().await?;
        let (mut new, mut changed, mut ready) = (Vec::new(), Vec::new(), Vec::new());
        let mut latest = 0;
        let mut reconciled = BTreeSet::new();
        for day in horizon.through(yesterday) {
            latest = latest.max(said.get(&days::number(day)).copied().unwrap_or(0));
            let looked = looked.get(&day);
            if looked.is_some_and(|looked| *looked >= latest) {
                reconciled.insert(day);
            }
            let row = known.iter().find(|row| row.day == days::number(day));
            let Some(row) = row else { continue };
            if row.is_done() && looked.is_some_and(|looked| *looked < latest) {
                changed.push(day);
            }
            let waits = row.state == "waiting" && row.attempts == 0 && row.due_at > now;
            if waits && is_ready(&feeds, day) {
                ready.push(day);
            }
        }
        for day in days_owed(first, today) {
            // Days before yesterday that a command has reconciled stay as they are.
            let by_command = day < yesterday && reconciled.contains(&day);
            if !by_command && !known.iter().any(|row| row.day == days::number(day)) {
                let deadline = deadline_of(day, self.run.deadline, self.zone);
                new.push((day, if is_ready(&feeds, day) { now } else { deadline }));
            }
        }
        if new.is_empty() && changed.is_empty() && ready.is_empty() {
            return Ok(feeds);
        }
        let mut tx = self.db.begin_write().await?;
        for (day, due) in new {
            rows::plan(&mut tx, &key(day), due).await?;
        }
        for day in changed {
            rows::reopen(&mut tx, &key(day), now, "a statement came later").await?;
        }
        for day in ready {
            rows::hasten(&mut tx, &key(day)).await?;
        }
        tx.commit().await?;
        Ok(feeds)
    }

    /// Reconciles a claimed day; true where the next may follow.
    async fn run_day(&self, day: Day, claim: &Claim, booked: &mut Booked) -> Result<bool, DbError> {
        let options = run::Options {
            threads: None,
            as_of: day,
            known_at: None,
            policy: self.run.policy.clone(),
            district: None,
        };
        let mut watcher = run::Silent;
        let run = run::claimed_day(&self.db, &options, claim, &mut watcher);
        let mut run = pin!(catching(run));
        // The run ends the claim itself, so a beat that finds it ended does not tell who did: the fence does.
        let ran = tokio::select! {
            biased;
            ran = &mut run => ran,
            () = self.keep_claim(claim) => run.await,
        };
        let failure = match ran {
            Ok(Ok(summary)) => {
                tracing::info!(
                    run.id = summary.run_id,
                    run.day = %day,
                    run.institutions = summary.institutions,
                    run.findings = summary.findings,
                    run.red = summary.red,
                    run.accounts_unproven = summary.accounts_unproven,
                    "a day is reconciled"
                );
                self.pulse.ran(true);
                booked.runs.push(summary);
                return Ok(true);
            }
            // Another run is under way, or another replica has taken this one over.
            Ok(Err(RunError::Db(DbError::Busy(what)))) => what.to_owned(),
            Ok(Err(e)) => {
                tracing::error!(run.day = %day, error = &e as &dyn std::error::Error, "reconciling a day");
                e.to_string()
            }
            Err(panic) => {
                tracing::error!(run.day = %day, panic = %panic, "a run panicked");
                panic
            }
        };
        self.pulse.ran(false);
        let again = self.now() + jobs::pause(claim.attempt, &self.holder);
        let mut tx = self.db.begin_write().await?;
        match rows::retry(&mut tx, claim, again, &failure).await {
            Ok(()) => tx.commit().await?,
            Err(DbError::Busy(_)) => tx.rollback().await?,
            Err(e) => return Err(e),
        }
        booked.wake = earlier(booked.wake, Some(again));
        booked.failures.push(format!("{day}: {failure}"));
        Ok(false)
    }
}

/// The file that is being read, and since when.
pub(super) type Current = Arc<Mutex<Option<(Moment, String)>>>;

/// Notes which file is read, so that one that never ends is found.
struct Reading {
    watcher: Box<dyn intake::Progress>,
    file: Current,
}

impl Reading {
    fn set(&self, file: Option<(Moment, String)>) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
    }
}

impl intake::Progress for Reading {
    fn total(&mut self, bytes: u64) {
        self.watcher.total(bytes);
    }

    fn file(&mut self, name: &str) {
        self.set(Some((Moment::now(), name.to_owned())));
        self.watcher.file(name);
    }

    fn bytes(&mut self, done: u64) {
        self.watcher.bytes(done);
    }

    fn done(&mut self) {
        self.watcher.done();
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.set(None);
    }
}

/// Whether every account of every feed's bank that owes a day's statement has delivered it.
fn is_ready(feeds: &[Planned], day: Day) -> bool {
    feeds.iter().any(|f| f.bank.owes(day)) && feeds.iter().all(|f| f.bank.lacking(day) == 0)
}

fn terms_of(feed: &config::Feed) -> FeedTerms {
    FeedTerms {
        bank: feed.bank.clone(),
        assumed: Assumptions {
            account: feed.account.clone(),
            amount_unit: feed.amount_unit,
        },
    }
}

fn key(day: Day) -> Key {
    Key {
        feed: String::new(),
        day: days::number(day),
        kind: Kind::Run,
    }
}

fn tell_import(summary: &intake::Summary) {
    let count = |outcome: &str| {
        summary
            .files
            .iter()
            .filter(|f| f.outcome == outcome)
            .count()
    };
    tracing::info!(
        import.no = summary.import_no,
        files.used = count("used"),
        files.known = count("known"),
        files.quarantined = count("quarantined") + count("unreadable"),
        rows.new = summary.files.iter().map(|f| f.new).sum::<i64>(),
        rows.revised = summary.files.iter().map(|f| f.revised).sum::<i64>(),
        "deliveries are taken in"
    );
}
