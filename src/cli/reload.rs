//! `SIGHUP` while serving: the settings are read again, and the keys of pushes taken from them.
//!
//! Invariants: where the settings or one key cannot be used, every key stays as it is and the log says why.
//! Absent on purpose: other settings, which need a restart; looking at files by itself, which would catch a
//! key half written.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::web::push::Inbox;

/// From now on a hang-up no longer ends the process.
pub(super) fn on_hangup(file: Option<PathBuf>, inbox: Arc<Inbox>) -> std::io::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            let config = Config::load(file.as_deref()).map_err(anyhow::Error::new);
            let taken = config.and_then(|c| inbox.reload(&c).map_err(anyhow::Error::new));
            match taken {
                Ok(()) => tracing::info!("keys of pushes are read again"),
                Err(e) => {
                    tracing::error!(error = %format!("{e:#}"), "keys of pushes stay as they are")
                }
            }
        }
    });
    Ok(())
}
