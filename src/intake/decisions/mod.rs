//! Decisions of people: proposed by one, approved by another, undone singly.
//!
//! Each step is an import of its own, so that a run knows a decision from its approval on and a run as known before
//! says what it said. What a proposal names is looked up and tried against what is known at that moment; an approval
//! tries it again.
//!
//! Invariants: nobody approves what they proposed; what is settled already is not matched again; no fact is touched.

mod find;
mod list;
mod look;

use crate::base::{Day, FlagCode, Money};
use crate::decision::{
    self, Decision, DecisionId, DecisionKind, Said, Step, WAIVED_DAYS_MAX, may_be_written_off,
    same_person,
};
use crate::store::lock::Job;
use crate::store::{Db, Tx};

use super::ImportError;
use super::own::Own;
use look::Site;

pub use list::{Listed, Standing, list};

/// Characters of a name and of a reason.
const NAME_CHARS_MAX: usize = 100;
const REASON_CHARS_MAX: usize = 1_000;
/// What the books call a decision's import.
const KIND: &str = "decision";

/// What somebody proposes.
#[derive(Clone, Debug)]
pub struct Proposal {
    pub what: What,
    /// Needed where more than one institution knows the ids.
    pub institution: Option<String>,
    /// The last as-of day on which it holds.
    pub expires: Option<Day>,
    pub reason: String,
    pub by: String,
}

#[derive(Clone, Debug)]
pub enum What {
    /// `difference` is the lines less the payments, as far as it is accepted.
    Match {
        members: Members,
        difference: Money,
    },
    Unmatch(Members),
    WriteOff(NamedFinding),
    Waive(NamedFinding),
}

/// Movements by the ids of their senders; a line as `ENTRY` or `ACCOUNT/ENTRY`.
#[derive(Clone, Debug, Default)]
pub struct Members {
    pub payments: Vec<String>,
    pub lines: Vec<String>,
}

/// A finding of the newest run; the subject of a line as `ENTRY` or `ACCOUNT/ENTRY`.
#[derive(Clone, Debug)]
pub struct NamedFinding {
    pub code: FlagCode,
    pub subject: String,
    /// Needed where the subject has the finding on several days.
    pub date: Option<Day>,
}

impl What {
    const fn kind(&self) -> DecisionKind {
        match self {
            What::Match { .. } => DecisionKind::Match,
            What::Unmatch(_) => DecisionKind::Unmatch,
            What::WriteOff(_) => DecisionKind::WriteOff,
            What::Waive(_) => DecisionKind::Waive,
        }
    }
}

/// Records a proposal. Nothing changes before another person approves it.
///
/// # Errors
/// [`ImportError::Refused`] with the field and what to do; a database error.
pub async fn propose(db: &Db, proposal: &Proposal) -> Result<Decision, ImportError> {
    let lock = db.lock(Job::Import).await?;
    let mut tx = lock.begin_write(db).await?;
    let site = Site::known(&mut tx, db.clock()).await?;
    check_words(&proposal.by, Some(&proposal.reason))?;
    check_expiry(proposal, site.today)?;
    let mut decision = site.draft(&mut tx, proposal).await?;
    if let Some(why) = site.refuses(&mut tx, &decision).await? {
        return Err(ImportError::Refused(why));
    }
    decision.id.decision_no = decision::store::next_no(&mut tx, decision.id.inst_id).await?;
    let own = Own::open(&mut tx, &format!("proposal {}", decision.id), KIND).await?;
    decision::store::append(&mut tx, &decision, own.source_no).await?;
    own.complete(&mut tx).await?;
    tx.commit().await?;
    Ok(decision)
}

/// Approves, rejects or undoes one decision, and returns it as it was before.
///
/// # Errors
/// [`ImportError::Refused`] where its state, its author or the facts do not allow it; a database error.
pub async fn say(
    db: &Db,
    id: DecisionId,
    step: Step,
    (by, reason): (&str, &str),
) -> Result<Decision, ImportError> {
    let lock = db.lock(Job::Import).await?;
    let mut tx = lock.begin_write(db).await?;
    let site = Site::known(&mut tx, db.clock()).await?;
    check_words(
        by,
        (step == Step::Undone || !reason.is_empty()).then_some(reason),
    )?;
    let known = decision::store::known(&mut tx, (id.inst_id, id.inst_id), site.source_cut).await?;
    let Some(decision) = known.into_iter().find(|d| d.id == id) else {
        let why = format!("there is no decision {id}; see: jintuo decide list --all");
        return Err(ImportError::Refused(why));
    };
    if let Some(why) = may_not(&mut tx, &site, &decision, step, by).await? {
        return Err(ImportError::Refused(why));
    }
    let said = Said {
        step,
        by: by.trim().to_owned(),
        reason: reason.trim().to_owned(),
        at: tx.now(),
    };
    let own = Own::open(&mut tx, &format!("{} {id}", step.as_str()), KIND).await?;
    decision::store::append_event(&mut tx, id, &said, own.source_no).await?;
    own.complete(&mut tx).await?;
    tx.commit().await?;
    Ok(decision)
}

/// Why somebody may not say this of a decision.
async fn may_not(
    tx: &mut Tx,
    site: &Site,
    decision: &Decision,
    step: Step,
    by: &str,
) -> Result<Option<String>, ImportError> {
    let id = decision.id;
    let last = decision.said.last();
    let was = last.map(|s| format!("{id} was {} by {}", s.step.as_str(), s.by));
    Ok(match (step, last.map(|s| s.step)) {
        (Step::Undone, Some(Step::Approved)) | (Step::Rejected, None) => None,
        (Step::Undone, None) => Some(format!(
            "{id} is only a proposal; reject it: jintuo decide reject {id}"
        )),
        (Step::Rejected, Some(Step::Approved)) => {
            was.map(|was| format!("{was}; take it back: jintuo decide undo {id}"))
        }
        (_, Some(_)) => was,
        (Step::Approved, None) if same_person(by, &decision.proposed_by) => Some(format!(
            "{id} was proposed by {}; --by names another person",
            decision.proposed_by
        )),
        (Step::Approved, None) if decision.has_expired(site.today) => Some(format!(
            "the last day of {id} is over; reject it and propose it anew"
        )),
        (Step::Approved, None) => (site.refuses(tx, decision).await?)
            .map(|why| format!("{id} no longer fits: {why}; reject it")),
    })
}

fn check_words(by: &str, reason: Option<&str>) -> Result<(), ImportError> {
    let words = [
        ("--by", "who decides", Some(by), NAME_CHARS_MAX),
        ("--reason", "why", reason, REASON_CHARS_MAX),
    ];
    for (field, what, text, most) in words {
        let Some(text) = text else { continue };
        let why = if text.trim().is_empty() {
            format!("{field} is empty; say {what}")
        } else if text.chars().count() > most {
            format!("{field} has more than {most} characters")
        } else if text.chars().any(char::is_control) {
            format!("{field} has control characters; write it in one line")
        } else {
            continue;
        };
        return Err(ImportError::Refused(why));
    }
    Ok(())
}

fn check_expiry(proposal: &Proposal, today: Day) -> Result<(), ImportError> {
    let latest = today.plus(WAIVED_DAYS_MAX);
    let why = match (&proposal.what, proposal.expires) {
        (_, Some(day)) if day < today => format!("--expires {day} is over; today is {today}"),
        (What::Waive(_), None) => {
            format!("a waiver ends: give its last day with --expires, {latest} at the latest")
        }
        (What::Waive(_), Some(day)) if day > latest => format!(
            "--expires {day} is more than {WAIVED_DAYS_MAX} days from today; {latest} at the latest"
        ),
        (What::WriteOff(_), Some(_)) => {
            "a write-off is for good and has no --expires; for a time: jintuo decide waive"
                .to_owned()
        }
        (What::WriteOff(f), None) if !may_be_written_off(f.code) => {
            let may: Vec<&str> = (FlagCode::ALL.iter())
                .filter(|code| may_be_written_off(**code))
                .map(|code| code.as_str())
                .collect();
            format!(
                "{} may change by itself and is not written off, but waived for a time; written off are {}",
                f.code,
                may.join(", ")
            )
        }
        _ => return Ok(()),
    };
    Err(ImportError::Refused(why))
}
