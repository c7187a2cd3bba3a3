//! What one asking of a feed for a day stores: files with their mark, and when the bank may be asked again.
//!
//! Invariants: every transaction proves and prolongs the claim, so that a replica that has lost it keeps
//! nothing more and asks nothing more.
//! Absent on purpose: trust in an instant further off than the feed's least distance and what two replicas'
//! clocks may differ by.

use std::time::Duration;

use super::{Feed, Service};
use crate::base::Instant;
use crate::feed::deliveries::{self, Kept};
use crate::feed::jobs::{Claim, store as rows};
use crate::feed::source::{Arrived, BoxFuture, KeepError, Sink};
use crate::store::{DbError, Tx};

/// What the clocks of two replicas may differ by. An instant that a clock ahead of ours has stored lies further
/// off than the least distance and is to be kept all the same; clocks that are set by NTP differ by less, and a
/// clock that was put back by more holds nobody up.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

/// Keeps each file and where to go on after it, while the claim holds.
pub(super) struct Keeper<'a> {
    service: &'a Service,
    feed: &'a str,
    pub(super) claim: &'a Claim,
    min_interval: Duration,
    /// What the latest request has stored.
    pub(super) not_before: Option<Instant>,
    pub(super) new: usize,
    pub(super) known: usize,
    pub(super) refused: usize,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(service: &'a Service, feed: &'a Feed, claim: &'a Claim) -> Keeper<'a> {
        Keeper {
            service,
            feed: &feed.settings.name,
            claim,
            min_interval: feed.settings.source.min_interval(),
            not_before: None,
            new: 0,
            known: 0,
            refused: 0,
        }
    }

    async fn note_request(&mut self) -> Result<(), DbError> {
        if self.min_interval.is_zero() {
            return Ok(());
        }
        let mut tx = self.service.db.begin_write().await?;
        rows::prolong(&mut tx, self.claim).await?;
        let not_before = tx.now() + self.min_interval;
        deliveries::set_not_before(&mut tx, self.feed, not_before).await?;
        tx.commit().await?;
        self.not_before = Some(not_before);
        Ok(())
    }

    async fn store(&mut self, file: &Arrived) -> Result<(), DbError> {
        let mut tx = self.service.db.begin_write().await?;
        rows::prolong(&mut tx, self.claim).await?;
        let kept = deliveries::keep_delivery(&mut tx, self.feed, &file.name, &file.bytes).await?;
        if let Some(mark) = &file.mark {
            deliveries::set_mark(&mut tx, self.feed, mark).await?;
        }
        tx.commit().await?;
        match kept {
            Kept::New(_) => {
                self.new += 1;
                self.service.arrived.notify_one();
            }
            Kept::Known(_) => self.known += 1,
        }
        Ok(())
    }
}

impl Sink for Keeper<'_> {
    fn keep(&mut self, file: Arrived) -> BoxFuture<'_, Result<(), KeepError>> {
        Box::pin(async move { self.store(&file).await.map_err(KeepError::from) })
    }

    fn asks(&mut self) -> BoxFuture<'_, Result<(), KeepError>> {
        Box::pin(async move { self.note_request().await.map_err(KeepError::from) })
    }

    fn refused(&mut self, name: &str, reason: &str) {
        self.refused += 1;
        tracing::warn!(
            feed.name = %self.feed,
            file.name = %name,
            file.refused = %reason,
            "a feed's file is not taken"
        );
    }
}

/// Until when a feed's bank is to be left alone. What is further off than the least distance and
/// [`CLOCK_SKEW_MAX`] was stored by a clock that has been put back since, or under other settings.
pub(super) async fn rests(tx: &mut Tx, feed: &Feed) -> Result<Option<Instant>, DbError> {
    let interval = feed.settings.source.min_interval();
    if interval.is_zero() {
        return Ok(None);
    }
    let now = tx.now();
    let until = deliveries::not_before(tx, &feed.settings.name).await?;
    let furthest = now + interval + CLOCK_SKEW_MAX;
    Ok(until.filter(|until| now < *until && *until <= furthest))
}
