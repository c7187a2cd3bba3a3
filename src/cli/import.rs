//! `jintuo import`: files taken in, or what would become of them.

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::json;

use super::progress;
use crate::app;
use crate::base::Day;
use crate::config::Config;
use crate::intake::{self, Stated, Summary};

pub(super) async fn import(
    config: &Config,
    inputs: &[PathBuf],
    options: &intake::Options,
    dry_run: bool,
    json: bool,
) -> anyhow::Result<u8> {
    let mut bar = progress::ImportBar::new();
    let (db, summary) = if dry_run {
        let db = app::open_to_rehearse(config).await?;
        let summary = intake::rehearse(&db, inputs, options, &mut bar).await?;
        (db, summary)
    } else {
        let db = app::open(config).await?;
        let summary = intake::import(&db, inputs, options, &mut bar).await?;
        (db, summary)
    };
    db.close().await;
    if json {
        let mut value = serde_json::to_value(&summary)?;
        if let Some(object) = value.as_object_mut() {
            object.insert("schema".to_owned(), json!("jintuo.import/1"));
        }
        writeln!(io::stdout(), "{value}")?;
    } else {
        print_import(&summary)?;
    }
    let used = summary.files.iter().any(|f| f.outcome != "unreadable");
    Ok(u8::from(!used))
}

fn print_import(summary: &Summary) -> anyhow::Result<()> {
    let mut err = io::stderr().lock();
    if let Some(interrupted) = &summary.resumed {
        writeln!(
            err,
            "completed with the interrupted import of {interrupted}"
        )?;
    }
    writeln!(
        err,
        "{:<34} {:>10} {:>10} {:>8} {:>8} {:>11}  outcome",
        "file", "new", "same", "revised", "waiting", "quarantined"
    )?;
    for f in &summary.files {
        writeln!(
            err,
            "{:<34} {:>10} {:>10} {:>8} {:>8} {:>11}  {}",
            f.file, f.new, f.same, f.revised, f.waiting, f.quarantined, f.outcome
        )?;
    }
    for f in summary.files.iter().filter(|f| !f.assumed.is_empty()) {
        writeln!(
            err,
            "not in the file, as given: {} of {}",
            f.assumed, f.file
        )?;
    }
    for statement in &summary.statements {
        writeln!(err, "{}", in_words(statement)?)?;
    }
    let more = summary.statements_total - summary.statements.len() as u64;
    if more > 0 {
        writeln!(err, "statement: {more} more")?;
    }
    for what in &summary.ignored {
        writeln!(err, "ignored: {what}")?;
    }
    for defect in &summary.quarantined {
        writeln!(err, "quarantined: {defect}")?;
    }
    for defect in &summary.defects {
        writeln!(err, "note: {defect}")?;
    }
    let repeated = u64::try_from(summary.defects.len()).unwrap_or(0);
    if summary.defects_total > repeated {
        writeln!(
            err,
            "note: {} more of the kind",
            summary.defects_total - repeated
        )?;
    }
    if summary.dry_run {
        writeln!(err, "dry run: nothing was stored")?;
    }
    Ok(())
}

/// One line: the proof, its verdict, and what would become of the statement.
fn in_words(statement: &Stated) -> anyhow::Result<String> {
    let Stated {
        says,
        booked,
        outcome,
    } = statement;
    let text = |v: &Option<String>| v.clone().unwrap_or_else(|| "-".to_owned());
    let day = |d: Option<Day>| d.map_or_else(|| "-".to_owned(), |d| d.to_string());
    let word = |v: serde_json::Value| v.as_str().unwrap_or_default().to_owned();
    Ok(format!(
        "statement: {} account {} {} to {} {} opening {} + credits {} - debits {} = closing {} {}; {}",
        says.file,
        text(&says.account),
        day(booked.from),
        day(booked.to),
        text(&says.currency),
        text(&says.opening),
        booked.credits,
        booked.debits,
        text(&says.closing),
        word(serde_json::to_value(says.verdict)?),
        word(serde_json::to_value(outcome)?),
    ))
}
