//! `config check` and `config print`: what is wrong with the settings, and what is in force.
//!
//! Invariants: looks at files and the environment only, never at the network, and into the database only where
//! that is asked for; nothing that is printed opens a door.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde_json::json;

use super::args::ConfigCommand;
use crate::app;
use crate::config::{Config, Examined, Origin, Problem, Shown};
use crate::feed::source;
use crate::policy::Policy;
use crate::schedule;

pub(super) async fn config(
    command: &ConfigCommand,
    file: Option<&Path>,
    url: Option<&str>,
    json: bool,
) -> anyhow::Result<u8> {
    let examined = Config::examine(file, url)?;
    match command {
        ConfigCommand::Check { accounts } => {
            let lacking = if *accounts {
                without_accounts(&examined.config).await
            } else {
                Vec::new()
            };
            check(examined, lacking, json)
        }
        ConfigCommand::Print { redact } => print(&examined, *redact, json),
    }
}

/// Feeds whose bank holds no account in the books, or why the books cannot tell.
async fn without_accounts(config: &Config) -> Vec<Problem> {
    let found = async {
        let db = app::open_existing(config).await?;
        let found = schedule::feeds_without_accounts(&db, &config.feed).await;
        db.close().await;
        found
    };
    match found.await {
        Ok(found) => (found.into_iter())
            .map(|(feed, problem)| Problem {
                fatal: false,
                ..Problem::new(
                    format!("feed[{feed}].bank"),
                    problem,
                    "nothing it brings is taken in: write `bank` as accounts.csv does, or import the accounts",
                )
            })
            .collect(),
        Err(e) => vec![Problem::new(
            "database.url",
            format!("{:#}", anyhow::Error::from(e)),
            "mend it, or look at the settings alone, without --accounts",
        )],
    }
}

fn check(examined: Examined, lacking: Vec<Problem>, json: bool) -> anyhow::Result<u8> {
    let mut problems = examined.unreadable;
    problems.extend(examined.problems);
    let policy = &examined.config.run.policy;
    if Policy::built_in(policy).is_none() {
        let problem = format!("there is no policy {policy:?}");
        problems.push(Problem::new(
            "run.policy",
            problem,
            "name default or workload",
        ));
    }
    problems.extend(examined.config.feed.iter().flat_map(source::check));
    problems.extend(lacking);
    let fatal = problems.iter().filter(|p| p.fatal).count();
    if json {
        let object = json!({
            "schema": "jintuo.config/1",
            "usable": fatal == 0,
            "problems": problems,
        });
        writeln!(io::stdout(), "{object}")?;
    } else {
        let mut err = io::stderr().lock();
        for Problem {
            key,
            problem,
            remedy,
            fatal,
        } in &problems
        {
            let sort = if *fatal { "" } else { "warning: " };
            writeln!(err, "{sort}{key}: {problem}\n    {remedy}")?;
        }
        match fatal {
            0 => writeln!(err, "the settings can be used")?,
            1 => writeln!(err, "1 thing to mend")?,
            n => writeln!(err, "{n} things to mend")?,
        }
    }
    Ok(u8::from(fatal > 0))
}

fn print(examined: &Examined, redact: bool, json: bool) -> anyhow::Result<u8> {
    if let Some(Problem { key, problem, .. }) = examined.unreadable.first() {
        anyhow::bail!("{key}: {problem}; jintuo config check names all that is wrong");
    }
    let shown = examined.shown(redact).map_err(anyhow::Error::msg)?;
    let mut out = io::stdout().lock();
    if json {
        let object = json!({
            "schema": "jintuo.settings/1",
            "settings": shown.settings,
            "origins": shown.origins,
        });
        writeln!(out, "{object}")?;
    } else {
        write_toml(&shown, &mut out)?;
    }
    Ok(0)
}

/// TOML that can be read again, each value with where it comes from.
fn write_toml(shown: &Shown, out: &mut impl Write) -> io::Result<()> {
    for (section, value) in &shown.settings {
        match value {
            toml::Value::Table(table) => {
                writeln!(out, "[{section}]")?;
                write_keys(section, table, &shown.origins, out)?;
            }
            toml::Value::Array(entries) => {
                for (at, table) in entries.iter().enumerate() {
                    let Some(table) = table.as_table() else {
                        continue;
                    };
                    writeln!(out, "[[{section}]]")?;
                    let mut own = table.clone();
                    let source = own.remove("source");
                    let key = format!("{section}[{at}]");
                    write_keys(&key, &own, &shown.origins, out)?;
                    if let Some(toml::Value::Table(source)) = source {
                        writeln!(out, "[{section}.source]")?;
                        write_keys(&format!("{key}.source"), &source, &shown.origins, out)?;
                    }
                }
            }
            other => writeln!(out, "{section} = {other}")?,
        }
    }
    Ok(())
}

fn write_keys(
    path: &str,
    table: &toml::Table,
    origins: &BTreeMap<String, Origin>,
    out: &mut impl Write,
) -> io::Result<()> {
    for (name, value) in table {
        let path = format!("{path}.{name}");
        // A value of several parts comes from where its first part does.
        let within = origins.range(path.clone()..).next();
        let origin = match within.filter(|(key, _)| key.starts_with(&path)) {
            Some((_, Origin::File)) => "file".to_owned(),
            Some((_, Origin::Environment(variable))) => variable.clone(),
            Some((_, Origin::CommandLine)) => "--db".to_owned(),
            Some((_, Origin::Default)) | None => "default".to_owned(),
        };
        writeln!(out, "{name} = {value}  # {origin}")?;
    }
    writeln!(out)
}
