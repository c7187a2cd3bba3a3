//! `jintuo feed deliveries`, `retry`, `discard`, `fetch`: what feeds brought and what people decide of it.

use std::io::{self, Write};
use std::sync::Arc;

use serde_json::json;

use super::args::Word;
use crate::app;
use crate::base::Day;
use crate::base::entropy::hex;
use crate::config::Config;
use crate::feed::deliveries::{self, Decision, Listed};
use crate::feed::source::Surroundings;
use crate::intake;
use crate::schedule::Service;

/// Deliveries that are listed for people; the rest are counted.
const LISTED_MAX: usize = 200;
/// Characters of a digest that people tell files apart by.
const DIGEST_SHOWN: usize = 12;

/// Prints deliveries in the order they came.
pub(super) async fn list(config: &Config, all: bool, json: bool) -> anyhow::Result<u8> {
    let db = app::open_existing(config).await?;
    let mut tx = db.begin_read().await?;
    let listed = deliveries::listed(&mut tx, all).await?;
    tx.rollback().await?;
    let clock = *db.clock();
    db.close().await;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        let rows: Vec<serde_json::Value> = listed.iter().map(object).collect();
        let object = json!({ "schema": "jintuo.feed-deliveries/1", "deliveries": rows });
        writeln!(out, "{object}")?;
    } else {
        for d in listed.iter().take(LISTED_MAX) {
            let digest = hex(&d.digest);
            writeln!(
                out,
                "{:>6}  {:<11}  {}  attempts {}  {}/{}  {}  {}",
                d.delivery_no,
                d.state,
                clock.wall(d.received_at),
                d.attempts,
                d.feed,
                d.name,
                digest.get(..DIGEST_SHOWN).unwrap_or(&digest),
                d.note,
            )?;
            if let Some(assumed) = assumed(d) {
                writeln!(out, "        not in the file, from settings: {assumed}")?;
            }
            if let (Some(decision), Some(reason), Some(by), Some(at)) =
                (&d.decision, &d.reason, &d.decided_by, d.decided_at)
            {
                let at = clock.wall(at);
                writeln!(out, "        {decision} by {by} on {at}: {reason}")?;
            }
        }
        if listed.len() > LISTED_MAX {
            let more = listed.len() - LISTED_MAX;
            writeln!(out, "and {more} more; --json lists all")?;
        }
    }
    out.flush()?;
    Ok(0)
}

fn assumed(d: &Listed) -> Option<String> {
    let account = d.assumed_account.as_ref().map(|a| format!("account {a}"));
    let unit = (d.assumed_unit.as_ref()).map(|unit| format!("amounts in {unit}"));
    let said: Vec<String> = account.into_iter().chain(unit).collect();
    (!said.is_empty()).then(|| said.join(", "))
}

fn object(d: &Listed) -> serde_json::Value {
    let decision = (d.decision.as_ref()).map(|decision| {
        json!({
            "decision": decision,
            "reason": d.reason,
            "by": d.decided_by,
            "at": d.decided_at,
        })
    });
    json!({
        "delivery": d.delivery_no,
        "feed": d.feed,
        "name": d.name,
        "digest": hex(&d.digest),
        "bytes": d.bytes,
        "received_at": d.received_at,
        "state": d.state,
        "attempts": d.attempts,
        "reason": d.note,
        "assumed_account": d.assumed_account,
        "assumed_amount_unit": d.assumed_unit,
        "decided": decision,
    })
}

/// Has a delivery read again, or sets it aside.
pub(super) async fn decide(
    config: &Config,
    delivery: i64,
    decision: Decision,
    word: &Word,
    json: bool,
) -> anyhow::Result<u8> {
    let db = app::open(config).await?;
    let decided = intake::decide(&db, delivery, decision, (&word.reason, &word.by)).await;
    db.close().await;
    decided?;
    if json {
        let object = json!({
            "schema": format!("jintuo.feed-{}/1", decision.as_str()),
            "delivery": delivery,
            "reason": word.reason,
            "by": word.by,
        });
        writeln!(io::stdout(), "{object}")?;
    } else {
        let what = match decision {
            Decision::Retry => "is read again; a running service does so within a minute",
            Decision::Discard => "is never tried again; its bytes stay",
        };
        writeln!(io::stderr(), "delivery {delivery} {what}")?;
    }
    Ok(0)
}

/// Has the service ask a feed for a day again.
pub(super) async fn fetch(config: &Config, feed: &str, day: Day, json: bool) -> anyhow::Result<u8> {
    let db = app::open(config).await?;
    let sources = Arc::new(Surroundings::of_service(*db.clock()));
    let service = Service::new(db.clone(), config, sources, &super::holder());
    let asked = match service {
        Ok(service) => service.ask_again(feed, day).await.map_err(Into::into),
        Err(why) => Err(anyhow::Error::msg(why)),
    };
    db.close().await;
    asked?;
    if json {
        let object = json!({ "schema": "jintuo.feed-fetch/1", "feed": feed, "day": day });
        writeln!(io::stdout(), "{object}")?;
    } else {
        let what = "a running service does so at the feed's next turn";
        writeln!(io::stderr(), "{feed} is asked for {day} again; {what}")?;
    }
    Ok(0)
}
