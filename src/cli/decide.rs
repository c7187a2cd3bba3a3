//! `jintuo decide`: what people decide beside the rules.

use std::io::{self, Write};

use serde_json::json;

use super::args::{DecideCommand, MembersArgs, Terms, Voice, Word};
use crate::app;
use crate::base::{Day, FlagCode};
use crate::config::Config;
use crate::decision::{Decision, DecisionId, Step};
use crate::intake::decisions::{self, Listed, Members, NamedFinding, Proposal, Standing, What};

/// Decisions that are listed for people; the rest are counted.
const LISTED_MAX: usize = 200;

/// Runs `jintuo decide`.
pub(super) async fn decide(
    config: &Config,
    command: DecideCommand,
    json: bool,
) -> anyhow::Result<u8> {
    match command {
        DecideCommand::Match {
            members,
            difference,
            word,
            terms,
        } => {
            let members = members.into();
            let what = What::Match {
                members,
                difference,
            };
            propose(config, what, (word, terms), json).await
        }
        DecideCommand::Unmatch {
            members,
            word,
            terms,
        } => propose(config, What::Unmatch(members.into()), (word, terms), json).await,
        DecideCommand::WriteOff {
            finding,
            date,
            word,
            terms,
        } => {
            let what = What::WriteOff(named(&finding, date)?);
            propose(config, what, (word, terms), json).await
        }
        DecideCommand::Waive {
            finding,
            date,
            word,
            terms,
        } => {
            let what = What::Waive(named(&finding, date)?);
            propose(config, what, (word, terms), json).await
        }
        DecideCommand::Approve { decision, voice } => {
            say(config, decision, Step::Approved, voice, json).await
        }
        DecideCommand::Reject { decision, voice } => {
            say(config, decision, Step::Rejected, voice, json).await
        }
        DecideCommand::Undo { decision, word } => {
            let Word { reason, by } = word;
            say(config, decision, Step::Undone, Voice { by, reason }, json).await
        }
        DecideCommand::List { all } => list(config, all, json).await,
    }
}

impl From<MembersArgs> for Members {
    fn from(args: MembersArgs) -> Members {
        Members {
            payments: args.payments,
            lines: args.lines,
        }
    }
}

/// Reads `CODE/SUBJECT`.
fn named(finding: &str, date: Option<Day>) -> anyhow::Result<NamedFinding> {
    let (code, subject) = finding.split_once('/').unwrap_or((finding, ""));
    let known = FlagCode::ALL.iter().find(|c| c.as_str() == code);
    match known {
        Some(code) if !subject.is_empty() => Ok(NamedFinding {
            code: *code,
            subject: subject.to_owned(),
            date,
        }),
        Some(code) => {
            anyhow::bail!("name the finding as {code}/SUBJECT; see: jintuo report breaks")
        }
        None => anyhow::bail!(
            "{code:?} is no code of a finding; name it as CODE/SUBJECT; see: jintuo report breaks"
        ),
    }
}

async fn propose(
    config: &Config,
    what: What,
    (word, terms): (Word, Terms),
    json: bool,
) -> anyhow::Result<u8> {
    let db = app::open(config).await?;
    let proposal = Proposal {
        what,
        institution: terms.institution,
        expires: terms.expires,
        reason: word.reason,
        by: word.by,
    };
    let proposed = decisions::propose(&db, &proposal).await;
    db.close().await;
    let decision = proposed?;
    if json {
        let object = json!({
            "schema": "jintuo.decide-propose/1",
            "decision": decision.id.to_string(),
            "kind": decision.kind.as_str(),
            "by": decision.proposed_by,
        });
        writeln!(io::stdout(), "{object}")?;
    } else {
        let id = decision.id;
        writeln!(
            io::stderr(),
            "{id} is proposed; another person puts it in force: jintuo decide approve {id} --by NAME"
        )?;
    }
    Ok(0)
}

async fn say(
    config: &Config,
    id: DecisionId,
    step: Step,
    voice: Voice,
    json: bool,
) -> anyhow::Result<u8> {
    let db = app::open(config).await?;
    let said = decisions::say(&db, id, step, (&voice.by, &voice.reason)).await;
    db.close().await;
    said?;
    if json {
        let object = json!({
            "schema": "jintuo.decide-say/1",
            "decision": id.to_string(),
            "said": step.as_str(),
            "by": voice.by,
            "reason": voice.reason,
        });
        writeln!(io::stdout(), "{object}")?;
    } else {
        let from_then = match step {
            Step::Approved | Step::Undone => "; runs from now on go by it",
            Step::Rejected => "",
        };
        writeln!(io::stderr(), "{id} is {}{from_then}", step.as_str())?;
    }
    Ok(0)
}

async fn list(config: &Config, all: bool, json: bool) -> anyhow::Result<u8> {
    let db = app::open_existing(config).await?;
    let mut tx = db.begin_read().await?;
    let listed = decisions::list(&mut tx, db.clock(), all).await?;
    tx.rollback().await?;
    let clock = *db.clock();
    db.close().await;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        let rows: Vec<serde_json::Value> = listed.iter().map(object).collect();
        writeln!(
            out,
            "{}",
            json!({ "schema": "jintuo.decisions/1", "decisions": rows })
        )?;
        out.flush()?;
        return Ok(0);
    }
    for l in listed.iter().take(LISTED_MAX) {
        let (d, standing) = (&l.decision, l.standing.as_str().replace('_', " "));
        writeln!(
            out,
            "{}  {standing}  {}  {}",
            d.id, l.institution_id, l.what
        )?;
        let at = clock.wall(d.proposed_at);
        writeln!(
            out,
            "    proposed by {} on {at}: {}",
            d.proposed_by, d.reason
        )?;
        for s in &d.said {
            let colon = if s.reason.is_empty() { "" } else { ": " };
            let (step, at) = (s.step.as_str(), clock.wall(s.at));
            writeln!(out, "    {step} by {} on {at}{colon}{}", s.by, s.reason)?;
        }
        if !l.note.is_empty() {
            writeln!(out, "    {}", l.note)?;
        } else if l.standing == Standing::Proposed {
            writeln!(
                out,
                "    put in force with: jintuo decide approve {} --by NAME",
                d.id
            )?;
        }
    }
    if listed.len() > LISTED_MAX {
        let more = listed.len() - LISTED_MAX;
        writeln!(out, "and {more} more; --json lists all")?;
    }
    out.flush()?;
    Ok(0)
}

fn object(l: &Listed) -> serde_json::Value {
    let d: &Decision = &l.decision;
    let members: Vec<serde_json::Value> = (d.members.iter())
        .map(|m| json!({ "side": m.side.as_str(), "id": m.id, "amount_fen": m.amount.fen() }))
        .collect();
    let said: Vec<serde_json::Value> = (d.said.iter())
        .map(|s| json!({ "said": s.step.as_str(), "by": s.by, "reason": s.reason, "at": s.at }))
        .collect();
    let finding = d
        .about
        .as_ref()
        .map(|a| json!({ "code": a.code.as_str(), "subject": a.subject, "date": a.date }));
    json!({
        "decision": d.id.to_string(),
        "institution_id": l.institution_id,
        "kind": d.kind.as_str(),
        "standing": l.standing.as_str(),
        "what": l.what,
        "note": l.note,
        "members": members,
        "finding": finding,
        "amount_fen": d.amount.fen(),
        "expires_on": d.expires,
        "proposed_by": d.proposed_by,
        "reason": d.reason,
        "proposed_at": d.proposed_at,
        "said": said,
    })
}
