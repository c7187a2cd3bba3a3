//! `jintuo explain`: why it was matched, or why not.

use std::io::{self, Write};

use serde_json::json;

use super::wanted_run;
use crate::app;
use crate::config::Config;
use crate::report::{self, Explanation, Wanted};

pub(super) async fn explain(
    config: &Config,
    id: &str,
    wanted: &Wanted<'_>,
    json: bool,
) -> anyhow::Result<u8> {
    let db = app::open_existing(config).await?;
    let mut tx = db.begin_read().await?;
    let run = wanted_run(&mut tx, wanted).await?;
    let told = report::explain(&mut tx, &run, id).await?;
    tx.rollback().await?;
    db.close().await;
    let mut out = io::stdout().lock();
    if json {
        let object = json!({
            "schema": "jintuo.explain/1",
            "id": id,
            "run_id": run.head.run_id,
            "as_of": run.head.as_of,
            "known_at": run.head.known_at,
            "policy": run.head.policy,
            "explanations": told.iter().map(Explanation::to_json).collect::<Vec<_>>(),
        });
        writeln!(out, "{object}")?;
        return Ok(u8::from(told.is_empty()));
    }
    if told.is_empty() {
        anyhow::bail!(
            "the run of {} knows no bank line, payment, release, refund or finding of {id:?}; ids are in \
             the matches and breaks reports and in the bundles",
            run.head.as_of
        );
    }
    for explanation in &told {
        writeln!(
            out,
            "{} {}",
            explanation.institution_id, explanation.institution
        )?;
        for line in explanation.english() {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(0)
}
