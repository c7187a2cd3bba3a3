//! `SIGHUP` while serving: the settings are read again, and the keys of pushes taken from them.
//!
//! Invariants: where the settings or one key cannot be used, every key stays as it is and the log says why;
//! what else has changed in the settings is named in the log and waits for a restart.
//! Absent on purpose: other settings, which are bound to listeners, jobs and clients that exist; files with
//! secrets and certificates of pulls, which each fetch reads anew; looking at files by itself, which would
//! catch a key half written.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, Source};
use crate::web::push::Inbox;

/// From now on a hang-up no longer ends the process.
pub(super) fn on_hangup(file: Option<PathBuf>, inbox: Arc<Inbox>) -> anyhow::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    // Without the command line's own words, which the file cannot change.
    let in_force = Config::load(file.as_deref())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            let config = Config::load(file.as_deref()).map_err(anyhow::Error::new);
            let taken = config.and_then(|c| {
                inbox.reload(&c).map_err(anyhow::Error::new)?;
                Ok(changed(&in_force, &c))
            });
            match taken {
                Ok(waiting) if waiting.is_empty() => {
                    tracing::info!("keys of pushes are read again");
                }
                Ok(waiting) => {
                    let waiting = waiting.join(", ");
                    tracing::warn!(
                        settings = %waiting,
                        "keys of pushes are read again; other settings that have changed wait for a restart"
                    );
                }
                Err(e) => {
                    tracing::error!(error = %format!("{e:#}"), "keys of pushes stay as they are")
                }
            }
        }
    });
    Ok(())
}

/// Sections and feeds whose settings differ in more than keys of pushes.
fn changed(in_force: &Config, read: &Config) -> Vec<String> {
    let (old, new) = (sections(in_force), sections(read));
    let mut names: Vec<String> = (old.iter().chain(&new))
        .map(|(name, _)| name.clone())
        .collect();
    names.sort_unstable();
    names.dedup();
    let of = |all: &[(String, Value)], name: &str| {
        let found = all.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.clone())
    };
    names.retain(|name| of(&old, name) != of(&new, name));
    names
}

fn sections(config: &Config) -> Vec<(String, Value)> {
    let value = |part: serde_json::Result<Value>| part.unwrap_or_default();
    let mut sections = vec![
        ("site".to_owned(), value(serde_json::to_value(&config.site))),
        (
            "database".to_owned(),
            value(serde_json::to_value(&config.database)),
        ),
        (
            "server".to_owned(),
            value(serde_json::to_value(&config.server)),
        ),
        ("run".to_owned(), value(serde_json::to_value(&config.run))),
    ];
    sections.extend(config.feed.iter().map(|feed| {
        let mut feed = feed.clone();
        if let Source::Push { keys } = &mut feed.source {
            keys.clear();
        }
        let name = format!("feed[{}]", feed.name);
        (name, value(serde_json::to_value(feed)))
    }));
    sections
}
