//! What the statements of a rehearsed import say: each with its proof, as `jintuo statement inspect`
//! gives it, and with what would become of it.
//!
//! Invariants: the statements of a file share what is said of it; what would become
//! of it is read off what did become of it in the rehearsal.
//! Absent on purpose: this in a real import, which would read every file twice for it.

use std::collections::HashSet;

use serde::Serialize;

use super::session::Session;
use super::{SUMMARY_DEFECTS_MAX, SUMMARY_STATEMENTS_MAX};
use crate::base::{Defect, DefectCode};
use crate::feed::store::FileResult;
use crate::wire::{self, Booked, Inspection};

/// One statement of a file, or one file that is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stated {
    #[serde(flatten)]
    pub says: Inspection,
    /// The figures of the proof: opening + credits − debits = closing.
    pub booked: Booked,
    /// What would become of it.
    pub outcome: Becomes,
}

/// What would become of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Becomes {
    /// It brings days or lines that are not stored.
    New,
    /// Its bytes, or its days and lines, are stored already.
    Known,
    /// It changes what is stored.
    Revised,
    /// It contradicts what is stored: days become disputed.
    Conflict,
    /// A page waits for the page beside it.
    Waiting,
    /// It is refused for another reason.
    Quarantined,
}

/// The statements seen so far.
#[derive(Default)]
pub(super) struct Seen {
    /// With the number of their file.
    statements: Vec<(i64, Stated)>,
    total: u64,
    /// Files that contradict what is stored.
    conflicts: HashSet<i64>,
}

impl Seen {
    pub(super) fn refused(&mut self, source_no: i64, defect: &Defect) {
        if defect.code == DefectCode::Conflict {
            self.conflicts.insert(source_no);
        }
    }

    pub(super) fn became(&mut self, source_no: i64, result: &FileResult) {
        let outcome = match result.outcome {
            "used" if result.revised > 0 => Becomes::Revised,
            "used" if result.new > 0 || result.same == 0 => Becomes::New,
            "used" | "known" => Becomes::Known,
            "waiting" => Becomes::Waiting,
            _ if self.conflicts.contains(&source_no) => Becomes::Conflict,
            _ => Becomes::Quarantined,
        };
        let of_file = self.statements.iter_mut().filter(|s| s.0 == source_no);
        of_file.for_each(|s| s.1.outcome = outcome);
    }

    /// The first statements in full, and how many there are.
    pub(super) fn finish(self) -> (Vec<Stated>, u64) {
        let statements = self.statements.into_iter().map(|s| s.1);
        (statements.collect(), self.total)
    }
}

impl Session<'_> {
    /// Looks at a statement file of a rehearsal.
    pub(super) fn note_statements(&mut self, source_no: i64, name: &str, bytes: &[u8]) {
        if self.summary.dry_run {
            let said = wire::inspect_with(name, bytes, &self.options.assumed);
            self.note_inspected(source_no, said);
        }
    }

    /// Takes note of what the statements of a file say.
    pub(super) fn note_inspected(&mut self, source_no: i64, inspected: Vec<Inspection>) {
        for mut says in inspected {
            self.seen.total += 1;
            if self.seen.statements.len() < SUMMARY_STATEMENTS_MAX {
                says.defects.truncate(SUMMARY_DEFECTS_MAX);
                let stated = Stated {
                    booked: says.booked.clone(),
                    says,
                    outcome: Becomes::Quarantined,
                };
                self.seen.statements.push((source_no, stated));
            }
        }
    }
}
