//! `jintuo check` and `jintuo verify`: the books and the runs proved again.

use std::io::{self, Write};

use serde_json::json;

use super::{progress, run_check, wanted_run};
use crate::app;
use crate::config::Config;
use crate::report::{self, Wanted};
use crate::run;

/// The invariants of the books; with `replay`, then the wanted run done again from the facts it knew.
pub(super) async fn verify(
    config: &Config,
    wanted: &Wanted<'_>,
    (replay, threads): (bool, Option<usize>),
    json: bool,
) -> anyhow::Result<u8> {
    if !replay {
        return run_check(config, json).await;
    }
    let db = app::open_existing(config).await?;
    let mut tx = db.begin_read().await?;
    let found = wanted_run(&mut tx, wanted).await?;
    let run_id = found.head.run_id;
    let mut totals = report::store::district_totals(&mut tx, &[run_id]).await?;
    let district_id = report::store::district_of_run(&mut tx, run_id).await?;
    tx.rollback().await?;
    let subject = run::Subject {
        run_id,
        policy_no: found.policy_no,
        as_of: found.head.as_of,
        source_cut: found.source_cut,
        district_id,
        districts: totals
            .remove(&run_id)
            .unwrap_or_default()
            .into_iter()
            .collect(),
    };
    let mut bar = progress::RunBar::new();
    let replayed = run::replay(&db, &subject, threads, &mut bar).await?;
    db.close().await;
    let d = replayed.differing;
    let agrees = replayed.agrees();
    if json {
        let object = json!({
            "schema": "jintuo.verify/1",
            "run_id": run_id,
            "as_of": found.head.as_of,
            "known_at": found.head.known_at,
            "policy": found.head.policy,
            "institutions": replayed.institutions,
            "agrees": agrees,
            "differing": {
                "matches": d.matches,
                "positions": d.positions,
                "proofs": d.proofs,
                "findings": d.findings,
            },
            "institution_ranges": replayed.portions,
            "districts": replayed.districts,
        });
        writeln!(io::stdout(), "{object}")?;
    } else if agrees {
        writeln!(
            io::stderr(),
            "run {run_id} as of {} by {}: {} institutions done again, every row is as it was left",
            found.head.as_of,
            found.head.policy,
            replayed.institutions,
        )?;
    } else {
        writeln!(
            io::stderr(),
            "run {run_id} as of {} by {} is not what the facts say: {} rows of matches, {} of positions, {} of \
             proofs, {} of findings differ, among institutions numbered {:?}; districts {:?}",
            found.head.as_of,
            found.head.policy,
            d.matches,
            d.positions,
            d.proofs,
            d.findings,
            replayed.portions,
            replayed.districts,
        )?;
    }
    Ok(u8::from(!agrees))
}
