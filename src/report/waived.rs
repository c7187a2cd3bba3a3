//! The waived report: findings that people have written off or waived, and who did.

use std::collections::HashMap;

use super::store::{self, Run};
use super::table::{Cell, Table};
use crate::decision::{self, Decision};
use crate::store::{Result, Tx};

/// The findings of a run that are left out of its breaks, a row each.
pub async fn waived(tx: &mut Tx, run: &Run) -> Result<Table> {
    let findings = store::waived(tx, run).await?;
    let all = if findings.is_empty() {
        Vec::new()
    } else {
        decision::store::known(tx, (0, i64::MAX), run.source_cut).await?
    };
    let decisions: HashMap<(i64, i64), &Decision> = (all.iter())
        .map(|d| ((d.id.inst_id, d.id.decision_no), d))
        .collect();
    let rows = findings.into_iter().map(|f| {
        let decision = decisions.get(&(f.inst_id, f.decision_no)).copied();
        let of = |text: fn(&Decision) -> String| Cell::opt(decision.map(text));
        vec![
            of(|d| d.id.to_string()),
            of(|d| d.kind.as_str().to_owned()),
            Cell::text(f.code.as_str()),
            Cell::text(f.subject),
            Cell::text(f.institution_id),
            Cell::text(f.date.to_string()),
            Cell::Int(f.amount.fen()),
            Cell::text(f.severity.as_str()),
            Cell::opt(decision.and_then(|d| d.expires).map(|day| day.to_string())),
            of(|d| d.proposed_by.clone()),
            Cell::opt(decision.and_then(|d| Some(d.approved()?.by.clone()))),
            of(|d| d.reason.clone()),
            Cell::text(f.code.chinese()),
        ]
    });
    Ok(Table {
        name: "waived",
        columns: &[
            "decision",
            "kind",
            "code",
            "subject",
            "institution_id",
            "date",
            "amount_fen",
            "severity",
            "expires_on",
            "proposed_by",
            "approved_by",
            "reason",
            "name",
        ],
        rows: rows.collect(),
    })
}
