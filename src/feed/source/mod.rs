//! How a feed's files are fetched: from a folder, over HTTPS, over SFTP. Transport only.
//!
//! A source hands each file to a [`Sink`], which keeps it durably, and only then acknowledges it where
//! it came from: a folder's file is moved, a cursor goes on. What is handed over twice is known by its
//! digest, so every step may be repeated.
//!
//! Invariants: every size, count and time has a limit; nothing is removed at the source; an error says
//! whether to try again, and never holds a secret or anything of an answer's body; an address is dialled
//! only through [`resolver`].
//! Absent on purpose: when to fetch and what files mean, which are the scheduler's and intake's; looking
//! into files; a retry, since an interrupted fetch goes on at its mark.

mod check;
mod folder;
mod https;
pub mod resolver;
#[cfg(feature = "sftp")]
mod sftp;
pub mod signature;

pub use check::{check, only_for_trials};

use std::pin::Pin;
use std::time::Duration;

use crate::base::{Clock, Day, Entropy};
use crate::config;

use resolver::{Lookup, Refused, Trust, system_lookup};

/// The most files one fetch looks at in a folder, here or at a bank.
pub const FOLDER_FILES_MAX: usize = 5_000;
/// The most bytes of a file taken from a folder.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// A future that a port hands out.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Days whose statements are wanted, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub first: Day,
    pub last: Day,
}

/// A file as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its name at the source, without folders.
    pub name: String,
    pub bytes: Vec<u8>,
    /// Where to go on once this file is kept: to be stored in the transaction that keeps it. `None`
    /// leaves the mark as it is.
    pub mark: Option<String>,
}

/// Where fetched files go.
pub trait Sink: Send {
    /// Keeps a file durably: when this returns, the source may acknowledge it.
    fn keep(&mut self, file: Arrived) -> BoxFuture<'_, Result<(), KeepError>>;

    /// Notes durably that the bank is asked now, so that its least distance between requests holds across
    /// fetches, starts and replicas. A request is made only after this returned.
    fn asks(&mut self) -> BoxFuture<'_, Result<(), KeepError>>;

    /// Hears of a file that was not taken and will not be without somebody's doing.
    fn refused(&mut self, name: &str, reason: &str);
}

/// Why a sink did not keep a file.
pub type KeepError = Box<dyn std::error::Error + Send + Sync>;

/// Somewhere files are fetched from.
pub trait Source: Send + Sync {
    /// Hands over what has come for a window, going on at the mark reached so far, and returns the next
    /// mark; `None` where there is nothing to remember.
    ///
    /// # Errors
    /// A source that does not answer or answers wrongly, or a sink that does not keep. What was kept
    /// before the error stays kept, and the mark the sink stored last is where to go on.
    fn fetch<'a>(
        &'a self,
        window: Window,
        mark: Option<String>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<Option<String>, SourceError>>;
}

/// Why a fetch ended early.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// May go away by itself.
    #[error("{doing}: {reason}")]
    Temporary {
        doing: &'static str,
        reason: String,
        /// How long the other side asks us to wait.
        after: Option<Duration>,
    },
    /// Needs somebody's doing: a setting, a key, the bank.
    #[error("{doing}: {reason}")]
    Permanent { doing: &'static str, reason: String },
    #[error("keeping {name}")]
    Keep {
        name: String,
        #[source]
        source: KeepError,
    },
}

impl SourceError {
    fn temporary(doing: &'static str, reason: impl Into<String>) -> SourceError {
        SourceError::Temporary {
            doing,
            reason: reason.into(),
            after: None,
        }
    }

    fn permanent(doing: &'static str, reason: impl Into<String>) -> SourceError {
        SourceError::Permanent {
            doing,
            reason: reason.into(),
        }
    }

    /// True where the same fetch may succeed later without any change.
    pub fn is_temporary(&self) -> bool {
        !matches!(self, SourceError::Permanent { .. })
    }

    /// How long the other side asks us to wait.
    pub fn after(&self) -> Option<Duration> {
        match self {
            SourceError::Temporary { after, .. } => *after,
            _ => None,
        }
    }
}

impl From<Refused> for SourceError {
    fn from(refused: Refused) -> SourceError {
        SourceError::permanent("reading the feed's address", refused.to_string())
    }
}

impl From<config::SecretError> for SourceError {
    fn from(error: config::SecretError) -> SourceError {
        SourceError::permanent("reading a secret", error.to_string())
    }
}

/// What sources need of the world.
#[derive(Clone)]
pub struct Surroundings {
    pub clock: Clock,
    pub entropy: Entropy,
    pub trust: Trust,
    pub lookup: Lookup,
}

impl Surroundings {
    /// The service's: the machine's own clock, randomness and resolver, and no trust. A build for
    /// development, and no other, reaches loopback for a feed whose setting says so, and `serve` starts with
    /// such a feed only under `database.unsafe_dev`: this is how tests have the whole service ask a bank of
    /// their own.
    pub fn of_service(clock: Clock) -> Surroundings {
        Surroundings {
            clock,
            entropy: Entropy::system(),
            trust: if cfg!(debug_assertions) {
                Trust::Demo
            } else {
                Trust::Strict
            },
            lookup: system_lookup(),
        }
    }
}

/// Opens a feed's source; `None` for a feed that is pushed.
///
/// # Errors
/// An address that may not be reached, or a secret, key or certificate that cannot be used.
pub fn open(
    feed: &config::Feed,
    surroundings: &Surroundings,
) -> Result<Option<Box<dyn Source>>, SourceError> {
    Ok(match &feed.source {
        config::Source::Folder {
            path,
            taken,
            companion,
        } => Some(Box::new(folder::Folder::new(
            path,
            taken.as_deref(),
            companion.clone(),
        ))),
        config::Source::Https(settings) => Some(Box::new(https::Https::new(
            &feed.name,
            settings,
            surroundings,
        )?)),
        #[cfg(feature = "sftp")]
        config::Source::Sftp(settings) => Some(Box::new(sftp::Sftp::new(settings, surroundings)?)),
        #[cfg(not(feature = "sftp"))]
        config::Source::Sftp(_) => {
            return Err(SourceError::permanent(
                "opening the feed",
                "this build has no SFTP; build it with the feature `sftp`",
            ));
        }
        config::Source::Push { .. } => None,
    })
}

/// Keeps a file, or says which one could not be kept.
async fn keep(sink: &mut dyn Sink, file: Arrived) -> Result<(), SourceError> {
    let name = file.name.clone();
    let kept = sink.keep(file).await;
    kept.map_err(|source| SourceError::Keep { name, source })
}

/// Endings of files that are still being written, whatever the feed's settings say.
fn is_unfinished(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.starts_with('.')
        || lower.ends_with('~')
        || [
            ".part",
            ".partial",
            ".tmp",
            ".temp",
            ".filepart",
            ".crdownload",
        ]
        .iter()
        .any(|end| lower.ends_with(end))
}
