//! The service's shared handles, pages answered from the database, and pushes kept in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{Clock, Day, Instant};
use crate::config::{Config, Source};
use crate::feed::deliveries::{self, Kept};
use crate::feed::source::signature::{Key, KeyError};
use crate::policy::{self, Policy};
use crate::report;
use crate::store::{Db, DbError, OpenOptions};
use crate::web::push::{Delivered, FeedInbox, Inbox, Pushed, Receipt};
use crate::web::{BoxFuture, PageError, PageSource, Site, Thresholds, WebState};

/// Opens the database of the settings, bringing an empty or older one to this version.
///
/// # Errors
/// See [`Db::open`].
pub async fn open(config: &Config) -> Result<Db, DbError> {
    open_as(config, false).await
}

/// Opens the database of the settings for a command that only reads.
///
/// # Errors
/// See [`Db::open`]; also a database that does not exist or is not up to date.
pub async fn open_existing(config: &Config) -> Result<Db, DbError> {
    open_as(config, true).await
}

async fn open_as(config: &Config, existing: bool) -> Result<Db, DbError> {
    let zone = config.zone().map_err(DbError::Unsafe)?;
    let options = OpenOptions {
        unsafe_dev: config.database.unsafe_dev,
        schema: None,
        existing,
    };
    let db = Db::open(&config.database.url, Clock::system(zone), &options).await?;
    for warning in db.warnings() {
        tracing::warn!(database.warning = %warning, "storage");
    }
    Ok(db)
}

/// Pages read from the newest completed runs.
pub struct DbPages {
    pub db: Db,
    pub city: String,
}

impl PageSource for DbPages {
    fn overview(
        &self,
        as_of: Option<Day>,
    ) -> BoxFuture<'_, Result<Option<report::Overview>, PageError>> {
        Box::pin(async move {
            let mut tx = self.db.begin_read().await.map_err(PageError::new)?;
            let page = report::overview(&mut tx, &self.city, as_of)
                .await
                .map_err(PageError::new)?;
            tx.rollback().await.map_err(PageError::new)?;
            Ok(page)
        })
    }

    fn district(
        &self,
        id: String,
        as_of: Option<Day>,
    ) -> BoxFuture<'_, Result<Option<report::DistrictPage>, PageError>> {
        Box::pin(async move {
            let mut tx = self.db.begin_read().await.map_err(PageError::new)?;
            let page = report::district_page(&mut tx, &id, as_of)
                .await
                .map_err(PageError::new)?;
            tx.rollback().await.map_err(PageError::new)?;
            Ok(page)
        })
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), PageError>> {
        Box::pin(async move {
            let tx = self.db.begin_read().await.map_err(PageError::new)?;
            tx.rollback().await.map_err(PageError::new)
        })
    }
}

/// Pushes kept in the database.
pub struct DbInbox {
    db: Db,
    /// Keys by feed.
    keys: BTreeMap<String, Vec<Key>>,
}

impl DbInbox {
    /// Reads the keys of every feed that is pushed.
    ///
    /// # Errors
    /// A key that cannot be read or is too short.
    pub fn new(db: Db, config: &Config) -> Result<DbInbox, KeyError> {
        let mut keys = BTreeMap::new();
        for feed in &config.feed {
            if let Source::Push { keys: settings } = &feed.source {
                let read: Result<Vec<Key>, KeyError> = settings.iter().map(Key::read).collect();
                keys.insert(feed.name.clone(), read?);
            }
        }
        Ok(DbInbox { db, keys })
    }

    async fn keep(&self, push: &Pushed) -> Result<Receipt, DbError> {
        let mut tx = self.db.begin_write().await?;
        deliveries::forget_nonces(&mut tx).await?;
        if !deliveries::use_nonce(&mut tx, &push.key_id, &push.nonce, push.expires).await? {
            tx.rollback().await?;
            return Ok(Receipt::NonceUsed);
        }
        let kept = deliveries::keep_delivery(&mut tx, &push.feed, &push.name, &push.bytes).await?;
        let found = deliveries::delivery(&mut tx, kept.number()).await?;
        tx.commit().await?;
        let delivered = Delivered {
            delivery: found.delivery_no,
            digest: found.digest,
            state: found.state,
        };
        Ok(match kept {
            Kept::New(_) => Receipt::Kept(delivered),
            Kept::Known(_) => Receipt::Known(delivered),
        })
    }
}

impl FeedInbox for DbInbox {
    fn keys(&self, feed: &str) -> &[Key] {
        self.keys.get(feed).map_or(&[], Vec::as_slice)
    }

    fn now(&self) -> Instant {
        self.db.clock().now()
    }

    fn receive(&self, push: Pushed) -> BoxFuture<'_, Result<Receipt, PageError>> {
        Box::pin(async move { self.keep(&push).await.map_err(PageError::new) })
    }
}

/// What the router shares, with the thresholds of the default policy.
///
/// # Errors
/// A policy that cannot be read, a zone that is none, or a key of a push that cannot be used.
pub fn web_state(db: Db, config: &Config, demo: bool) -> Result<WebState, String> {
    let policy = Policy::built_in(policy::DEFAULT).ok_or("no default policy")?;
    let site = Site {
        city: config.site.city.clone(),
        zone: config.zone()?,
        thresholds: Thresholds {
            full_bp: policy.tiers.full_bp,
            watch_bp: policy.tiers.watch_bp,
            amber_bp: policy.tiers.amber_bp,
        },
        demo,
    };
    let inbox = DbInbox::new(db.clone(), config).map_err(|e| e.to_string())?;
    let pages = DbPages {
        db,
        city: config.site.city.clone(),
    };
    Ok(WebState {
        source: Arc::new(pages),
        site: Arc::new(site),
        inbox: Some(Arc::new(Inbox::new(Arc::new(inbox)))),
    })
}
