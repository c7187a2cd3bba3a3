//! Where files come from: folders, HTTPS and SFTP, and the addresses none of them may reach. All on
//! loopback; what a bank says is scripted.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bank;
mod bank_sim;
mod folder;
mod https;
#[cfg(feature = "sftp")]
mod sftp;
mod ssrf;
mod tls;

use jintuo::base::{Clock, Entropy};
use jintuo::config::Feed;
use jintuo::feed::source::resolver::{Lookup, Trust, system_lookup};
use jintuo::feed::source::{
    self, Arrived, BoxFuture, KeepError, Sink, Source, SourceError, Surroundings, Window,
};

use crate::harness::{day, minute};

/// What a fetch brought, in memory.
#[derive(Default)]
struct Basket {
    files: Vec<Arrived>,
    refused: Vec<String>,
    /// Fails once it holds so many files.
    breaks_at: Option<usize>,
    /// The mark stored last.
    mark: Option<String>,
    /// Requests that were noted.
    requests: usize,
}

impl Basket {
    fn breaking_at(files: usize) -> Basket {
        Basket {
            breaks_at: Some(files),
            ..Basket::default()
        }
    }

    fn names(&self) -> Vec<&str> {
        self.files.iter().map(|f| f.name.as_str()).collect()
    }

    fn texts(&self) -> Vec<String> {
        let text = |f: &Arrived| String::from_utf8_lossy(&f.bytes).into_owned();
        self.files.iter().map(text).collect()
    }
}

impl Sink for Basket {
    fn keep(&mut self, file: Arrived) -> BoxFuture<'_, Result<(), KeepError>> {
        let full = self.breaks_at == Some(self.files.len());
        if !full {
            if file.mark.is_some() {
                self.mark.clone_from(&file.mark);
            }
            self.files.push(file);
        }
        Box::pin(async move {
            if full {
                Err("the disk is full".into())
            } else {
                Ok(())
            }
        })
    }

    fn asks(&mut self) -> BoxFuture<'_, Result<(), KeepError>> {
        self.requests += 1;
        Box::pin(async { Ok(()) })
    }

    fn refused(&mut self, name: &str, reason: &str) {
        self.refused.push(format!("{name}: {reason}"));
    }
}

/// A feed named `icbc` whose source is written as TOML.
fn feed(source: &str) -> Feed {
    let text = format!("name = \"icbc\"\nbank = \"ICBC\"\n[source]\n{source}\n");
    toml::from_str(&text).expect("a feed's settings")
}

fn surroundings(trust: Trust, lookup: Lookup) -> Surroundings {
    Surroundings {
        clock: Clock::fixed(minute(0), chrono_tz::Asia::Shanghai),
        entropy: Entropy::counting(1),
        trust,
        lookup,
    }
}

fn try_open(source: &str, surroundings: &Surroundings) -> Result<Box<dyn Source>, SourceError> {
    let opened = source::open(&feed(source), surroundings)?;
    Ok(opened.expect("a source that is fetched"))
}

/// A source as tests may open it: loopback is reached.
fn open(source: &str) -> Box<dyn Source> {
    let surroundings = surroundings(Trust::Demo, system_lookup());
    try_open(source, &surroundings).expect("a source")
}

fn june(first: u32, last: u32) -> Window {
    Window {
        first: day(&format!("2026-06-{first:02}")),
        last: day(&format!("2026-06-{last:02}")),
    }
}
