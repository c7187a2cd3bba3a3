//! The service's shared handles, pages answered from the database, and pushes kept in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use crate::base::entropy::Entropy;
use crate::base::{Clock, Day, Instant};
use crate::config::{Config, Source};
use crate::feed::deliveries::{self, Kept};
use crate::feed::source::signature::{Key, KeyError};
use crate::intake::{self, Given, ImportError, Summary};
use crate::policy::{self, Policy};
use crate::report;
use crate::store::{Db, DbError, OpenOptions};
use crate::web::preview::{ImportPreview, NoPreview, PREVIEW_TIME_MAX, Previews, Upload};
use crate::web::push::{Delivered, FeedInbox, Inbox, Pushed, Receipt};
use crate::web::{BoxFuture, PageError, PageSource, Site, Thresholds, WebState};
use crate::wire::Assumptions;

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

/// Opens the database of the settings to rehearse on it. Where there is none yet, or nothing in it, none
/// is made: an empty one in memory stands in, since what an import does is the same on every empty
/// database.
///
/// # Errors
/// See [`open_existing`].
pub async fn open_to_rehearse(config: &Config) -> Result<Db, DbError> {
    match open_existing(config).await {
        Err(DbError::Absent(_)) => {
            let mut empty = config.clone();
            "sqlite::memory:".clone_into(&mut empty.database.url);
            open(&empty).await
        }
        done => done,
    }
}

async fn open_as(config: &Config, existing: bool) -> Result<Db, DbError> {
    let zone = config.zone().map_err(DbError::Unsafe)?;
    let options = OpenOptions {
        unsafe_dev: config.database.unsafe_dev,
        schema: None,
        existing,
        stopped_after: None,
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
    keys: RwLock<PushKeys>,
}

/// Keys by feed.
type PushKeys = BTreeMap<String, Arc<[Key]>>;

impl DbInbox {
    /// Reads the keys of every feed that is pushed.
    ///
    /// # Errors
    /// A key that cannot be read or is too short.
    pub fn new(db: Db, config: &Config) -> Result<DbInbox, KeyError> {
        let keys = RwLock::new(push_keys(config)?);
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
    fn keys(&self, feed: &str) -> Arc<[Key]> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(feed).map_or_else(|| Arc::from([]), Arc::clone)
    }

    fn reload(&self, config: &Config) -> Result<(), PageError> {
        let mut new = push_keys(config).map_err(PageError::new)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        // A feed that was not there at the start has nobody who reads what it brings by its settings, and one
        // that went leaves none of its keys behind.
        for (feed, own) in keys.iter_mut() {
            *own = new.remove(feed).unwrap_or_default();
        }
        Ok(())
    }

    fn now(&self) -> Instant {
        self.db.clock().now()
    }

    fn receive(&self, push: Pushed) -> BoxFuture<'_, Result<Receipt, PageError>> {
        Box::pin(async move { self.keep(&push).await.map_err(PageError::new) })
    }
}

fn push_keys(config: &Config) -> Result<PushKeys, KeyError> {
    let mut keys = PushKeys::new();
    for feed in &config.feed {
        if let Source::Push { keys: settings } = &feed.source {
            let read: Result<Arc<[Key]>, KeyError> = settings.iter().map(Key::read).collect();
            keys.insert(feed.name.clone(), read?);
        }
    }
    Ok(keys)
}

/// Uploads played through on the database and taken back.
pub struct DbPreview {
    pub db: Db,
}

/// Unpacked bytes of one entry of an uploaded zip: what lies on the disk at a time.
const PREVIEW_ZIP_ENTRY_BYTES_MAX: u64 = 512 << 20;

impl ImportPreview for DbPreview {
    fn preview(
        &self,
        files: Vec<Upload>,
        assumed: Assumptions,
    ) -> BoxFuture<'static, Result<Summary, NoPreview>> {
        let db = self.db.clone();
        let runtime = tokio::runtime::Handle::current();
        // Reading files keeps a thread busy; pages have threads of their own.
        let work = tokio::task::spawn_blocking(move || {
            let spool = Spool::new(files).map_err(|e| NoPreview::Failed(PageError::new(e)))?;
            let options = intake::Options {
                zip_entry_bytes_max: PREVIEW_ZIP_ENTRY_BYTES_MAX,
                assumed,
                ..intake::Options::default()
            };
            let work = intake::rehearse_files(&db, &spool.files, &options);
            let done = runtime.block_on(tokio::time::timeout(PREVIEW_TIME_MAX, work));
            match done {
                Ok(Ok(summary)) => Ok(summary),
                Ok(Err(ImportError::Nothing(why))) => Err(NoPreview::Nothing(why)),
                // All that is refused of a preview: a bundle's file beside what is of statements.
                Ok(Err(ImportError::Refused(_))) => Err(NoPreview::Apart),
                Ok(Err(ImportError::HalfTaken(_))) => Err(NoPreview::HalfTaken),
                Ok(Err(ImportError::Db(e))) if e.is_temporary() => Err(NoPreview::Busy),
                Ok(Err(e)) => Err(NoPreview::Failed(PageError::new(e))),
                Err(_) => Err(NoPreview::TooLong),
            }
        });
        Box::pin(async move {
            work.await
                .unwrap_or_else(|e| Err(NoPreview::Failed(PageError::new(e))))
        })
    }
}

/// Uploaded files on disk, numbered; they go with their holder.
struct Spool {
    folder: PathBuf,
    files: Vec<Given>,
}

impl Spool {
    fn new(uploads: Vec<Upload>) -> std::io::Result<Spool> {
        let name = format!("jintuo-preview-{}", Entropy::system().token()?);
        let folder = std::env::temp_dir().join(name);
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&folder)?;
        let mut spool = Spool {
            folder,
            files: Vec::new(),
        };
        for upload in uploads {
            let path = spool.folder.join(spool.files.len().to_string());
            std::fs::write(&path, &upload.bytes)?;
            let name = upload.name;
            spool.files.push(Given { path, name });
        }
        Ok(spool)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_dir_all(&self.folder) {
            tracing::warn!(error = %e, "the files of a preview could not be removed");
        }
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
    let previews = DbPreview { db: db.clone() };
    let pages = DbPages {
        db,
        city: config.site.city.clone(),
    };
    Ok(WebState {
        source: Arc::new(pages),
        site: Arc::new(site),
        inbox: Some(Arc::new(Inbox::new(Arc::new(inbox)))),
        previews: Arc::new(Previews::new(Arc::new(previews))),
        traffic: Arc::default(),
    })
}
