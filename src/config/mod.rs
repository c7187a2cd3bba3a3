//! Settings: defaults, then a TOML file, then `JINTUO__SECTION__KEY` from the environment; flags of the
//! command line come last and are the caller's.
//!
//! Invariants: the only place that reads the environment; an unknown section or key is an error that
//! names it, never a silent default; no error and nothing shown holds a secret.

mod check;
mod feeds;
mod show;

use std::collections::BTreeMap;
use std::path::Path;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

pub use check::{Examined, Origin, Problem};
pub use feeds::{
    Algorithm, Auth, ClockTime, Feed, Https, PushKey, Secret, SecretBytes, SecretError, Sftp,
    Source,
};
pub use show::Shown;

/// The environment's prefix.
const PREFIX: &str = "JINTUO__";

/// Everything a site may set.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub site: Site,
    pub database: Database,
    pub server: Server,
    pub run: Run,
    /// Where statements come from, one entry per bank.
    pub feed: Vec<Feed>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Site {
    /// The city's name as pages print it.
    pub city: String,
    /// The IANA zone in which days are cut.
    pub zone: String,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite:PATH` or `postgres://…`.
    pub url: String,
    /// Accept storage settings that may lose acknowledged money. For tests and trials only.
    pub unsafe_dev: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// The address pages are served on.
    pub listen: String,
    /// The address liveness, readiness and metrics are served on; empty for none.
    pub admin_listen: String,
}

/// When days are reconciled by themselves.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Run {
    /// The policy of scheduled runs.
    pub policy: String,
    /// The time of the day after, in the site's zone, at which a day is reconciled at the latest, with
    /// what is missing marked.
    pub deadline: ClockTime,
    /// How many days back missed days are fetched and reconciled.
    pub catch_up_days: u32,
}

impl Default for Run {
    fn default() -> Run {
        Run {
            policy: "default".to_owned(),
            deadline: ClockTime {
                hour: 10,
                minute: 30,
            },
            catch_up_days: 31,
        }
    }
}

impl Default for Site {
    fn default() -> Site {
        Site {
            city: "郑州市".to_owned(),
            zone: "Asia/Shanghai".to_owned(),
        }
    }
}

impl Default for Database {
    fn default() -> Database {
        Database {
            url: "sqlite:jintuo.db".to_owned(),
            unsafe_dev: false,
        }
    }
}

impl Default for Server {
    fn default() -> Server {
        Server {
            listen: "127.0.0.1:8080".to_owned(),
            admin_listen: "127.0.0.1:9464".to_owned(),
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("reading {path}")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{origin}: {reason}")]
    Invalid { origin: String, reason: String },
}

impl Config {
    /// Reads the file, if one is named, and the environment.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key, or a value of another type.
    pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
        Config::parse(Layers::read(file)?)
    }

    /// Reads the same and `--db`, and says all that is wrong with it.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn examine(
        file: Option<&Path>,
        url_of_flag: Option<&str>,
    ) -> Result<Examined, ConfigError> {
        Ok(Examined::new(Layers::read(file)?, url_of_flag))
    }

    fn parse(layers: Layers) -> Result<Config, ConfigError> {
        let origin = layers.origin.clone();
        let examined = Examined::new(layers, None);
        // A flag may still go over an address; the database's own is judged when it is opened.
        let of_flags = ["server.listen", "server.admin_listen", "database.url"];
        let mut found = examined.unreadable.iter().chain(&examined.problems);
        let found = found.find(|p| p.fatal && !of_flags.contains(&p.key.as_str()));
        match found {
            None => Ok(examined.config),
            Some(problem) => Err(ConfigError::Invalid {
                origin,
                reason: format!("{}: {}", problem.key, problem.problem),
            }),
        }
    }

    /// The site's zone.
    ///
    /// # Errors
    /// A name that is no IANA zone.
    pub fn zone(&self) -> Result<Tz, String> {
        self.site
            .zone
            .parse()
            .map_err(|_| format!("site.zone: {:?} is no IANA zone", self.site.zone))
    }
}

/// What is laid over what.
struct Layers {
    /// The file's name, for messages.
    origin: String,
    file: toml::Table,
    /// The file with the environment over it.
    merged: toml::Table,
    /// `JINTUO_DB`.
    url: Option<String>,
    /// Keys that do not come from the file.
    elsewhere: BTreeMap<String, Origin>,
    /// What could not be laid.
    problems: Vec<Problem>,
}

impl Layers {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    fn read(file: Option<&Path>) -> Result<Layers, ConfigError> {
        let text = match file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
                path: path.display().to_string(),
                source,
            })?,
        };
        let origin = file.map_or("settings".to_owned(), |p| p.display().to_string());
        let mut variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        variables.sort();
        let url = std::env::var("JINTUO_DB").ok();
        Ok(Layers::lay(&text, origin, &variables, url))
    }

    fn lay(
        text: &str,
        origin: String,
        variables: &[(String, String)],
        url: Option<String>,
    ) -> Layers {
        let mut problems = Vec::new();
        let file: toml::Table = text.parse().unwrap_or_else(|e: toml::de::Error| {
            // The message alone: the parser's whole text repeats the line, which may hold a password.
            let before = e
                .span()
                .and_then(|span| text.get(..span.start))
                .unwrap_or(text);
            let key = format!("line {}", before.matches('\n').count() + 1);
            problems.push(Problem::new(key, e.message(), "mend the file's TOML"));
            toml::Table::new()
        });
        let mut merged = file.clone();
        let mut elsewhere = BTreeMap::new();
        for (name, value) in variables {
            let path = name.trim_start_matches(PREFIX).to_lowercase();
            let placed = path.split_once("__").and_then(|(section, key)| {
                let table = merged
                    .entry(section)
                    .or_insert_with(|| toml::Value::Table(toml::Table::new()));
                table.as_table_mut()?.insert(key.to_owned(), typed(value));
                Some(format!("{section}.{key}"))
            });
            match placed {
                Some(key) => {
                    elsewhere.insert(key, Origin::Environment(name.clone()));
                }
                None => problems.push(Problem::new(
                    name,
                    "names no section and key",
                    "name it JINTUO__SECTION__KEY; a feed is set in the file only",
                )),
            }
        }
        Layers {
            origin,
            file,
            merged,
            url,
            elsewhere,
            problems,
        }
    }
}

/// A variable's value as the type it looks like.
fn typed(value: &str) -> toml::Value {
    match value {
        "true" => toml::Value::Boolean(true),
        "false" => toml::Value::Boolean(false),
        _ => value.parse().map_or_else(
            |_| toml::Value::String(value.to_owned()),
            toml::Value::Integer,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables: Vec<_> = variables
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        let origin = "jintuo.toml".to_owned();
        Config::parse(Layers::lay(text, origin, &variables, None))
    }

    #[test]
    fn the_environment_goes_over_the_file_and_the_file_over_defaults() {
        let text = "[site]\ncity = \"示例市\"\n[server]\nlisten = \"127.0.0.1:1\"\n";
        let config = parse(text, &[("JINTUO__SERVER__LISTEN", "127.0.0.1:2")]).unwrap();
        assert_eq!(config.site.city, "示例市");
        assert_eq!(config.server.listen, "127.0.0.1:2");
        assert_eq!(config.database.url, "sqlite:jintuo.db");
    }

    #[test]
    fn a_feed_that_cannot_work_is_named() {
        let feed = |name: &str, schedule: &str| {
            format!(
                "[[feed]]\nname = {name:?}\nbank = \"B\"\nschedule = {schedule:?}\n\
                 source = {{ kind = \"folder\", path = \"in\" }}\n"
            )
        };
        let good = feed("icbc", "0 */15 6-12 * * *");
        assert_eq!(parse(&good, &[]).unwrap().feed.len(), 1);
        for (text, named) in [
            (good.repeat(2), "icbc"),
            (feed("ic bc", "0 0 8 * * *"), "ic bc"),
            (feed("icbc", "every morning"), "schedule"),
        ] {
            let error = parse(&text, &[]).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn what_is_not_known_is_named() {
        let error = parse("[site]\ncityy = \"x\"\n", &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains("cityy"), "{error}");
        assert!(parse("[site]\nzone = \"Mars/Base\"\n", &[]).is_err());
        assert!(parse("", &[("JINTUO__LISTEN", "x")]).is_err());
    }

    #[test]
    fn a_run_has_a_deadline_and_looks_back_some_days() {
        let run = parse("[run]\ndeadline = \"09:15\"\n", &[]).unwrap().run;
        assert_eq!(
            (run.deadline.to_string(), run.catch_up_days),
            ("09:15".to_owned(), 31)
        );
        for wrong in [
            "deadline = \"9:15\"",
            "catch_up_days = 0",
            "catch_up_days = 367",
        ] {
            assert!(parse(&format!("[run]\n{wrong}\n"), &[]).is_err(), "{wrong}");
        }
    }
}
