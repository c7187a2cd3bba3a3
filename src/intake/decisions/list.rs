//! Decisions for people's eyes: proposals first, what is in force, and what no longer fits.

use std::collections::HashMap;

use super::find::finding_of;
use super::look::{Look, Site, words};
use crate::base::Clock;
use crate::decision::{self, Decision, DecisionKind, Step};
use crate::flag::has_grown;
use crate::store::{Result, Tx};

/// How a decision stands today.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    Proposed,
    InForce,
    /// Approved, but its facts are other ones now: it is not applied.
    Lapsed,
    Expired,
    Rejected,
    Undone,
}

impl Standing {
    pub const fn as_str(self) -> &'static str {
        match self {
            Standing::Proposed => "proposed",
            Standing::InForce => "in_force",
            Standing::Lapsed => "lapsed",
            Standing::Expired => "expired",
            Standing::Rejected => "rejected",
            Standing::Undone => "undone",
        }
    }

    const fn is_over(self) -> bool {
        matches!(
            self,
            Standing::Expired | Standing::Rejected | Standing::Undone
        )
    }
}

#[derive(Clone, Debug)]
pub struct Listed {
    pub decision: Decision,
    pub institution_id: String,
    pub standing: Standing,
    /// What it does, or would.
    pub what: String,
    /// What is remarkable: why it is not applied or could not be approved.
    pub note: String,
}

/// Decisions by how they stand; those that are over only if `all`.
///
/// # Errors
/// A database error.
pub async fn list(tx: &mut Tx, clock: &Clock, all: bool) -> Result<Vec<Listed>> {
    let site = Site::known(tx, clock).await?;
    let mut looks: HashMap<i64, Option<Look<'_>>> = HashMap::new();
    let mut listed = Vec::new();
    for decision in decision::store::known(tx, (0, i64::MAX), site.source_cut).await? {
        let inst_id = decision.id.inst_id;
        let moves = matches!(decision.kind, DecisionKind::Match | DecisionKind::Unmatch);
        let is_over = over(&site, &decision);
        if moves && is_over.is_none() && !looks.contains_key(&inst_id) {
            let look = site.look(tx, inst_id).await?;
            looks.insert(inst_id, look);
        }
        let look = looks.get(&inst_id).and_then(Option::as_ref);
        let (standing, note) = match is_over {
            Some(standing) => (standing, String::new()),
            None if decision.is_open() => {
                let why = match look {
                    Some(look) if moves => look.refuses(&decision),
                    _ => site.refuses(tx, &decision).await?,
                };
                let note = why.map(|why| format!("no longer fits: {why}"));
                (Standing::Proposed, note.unwrap_or_default())
            }
            None if moves => applied(look, &decision),
            None => covers(tx, &site, &decision).await?,
        };
        if all || !standing.is_over() {
            listed.push(Listed {
                institution_id: site.institution_id(inst_id).to_owned(),
                what: words(&site, &decision),
                decision,
                standing,
                note,
            });
        }
    }
    listed.sort_by_key(|l| (l.standing, l.decision.id));
    Ok(listed)
}

fn over(site: &Site, decision: &Decision) -> Option<Standing> {
    match decision.said.last().map(|s| s.step) {
        Some(Step::Rejected) => Some(Standing::Rejected),
        Some(Step::Undone) => Some(Standing::Undone),
        _ => decision
            .has_expired(site.today)
            .then_some(Standing::Expired),
    }
}

/// Whether a match or unmatch is applied today.
fn applied(look: Option<&Look<'_>>, decision: &Decision) -> (Standing, String) {
    let no = decision.id.decision_no;
    let lapse = look.and_then(|look| look.matching.lapsed.iter().find(|(of, _)| *of == no));
    match lapse {
        Some((_, why)) => (Standing::Lapsed, why.english(decision.id.inst_id)),
        None => (Standing::InForce, String::new()),
    }
}

/// Whether a write-off or waiver covers its finding.
async fn covers(tx: &mut Tx, site: &Site, decision: &Decision) -> Result<(Standing, String)> {
    let Some(run) = &site.run else {
        return Ok((Standing::InForce, String::new()));
    };
    let day = run.head.as_of;
    Ok(match finding_of(tx, run, decision).await? {
        None => {
            let note = format!("the run of {day} has no such finding");
            (Standing::InForce, note)
        }
        Some(f) if has_grown(decision.amount, f.amount) => {
            let note = format!("it is {} now, and was {}", f.amount, decision.amount);
            (Standing::Lapsed, note)
        }
        Some(f) if f.decision_no == 0 => {
            let note = format!("from the next run on; the run of {day} did not know it");
            (Standing::InForce, note)
        }
        Some(_) => (Standing::InForce, String::new()),
    })
}
