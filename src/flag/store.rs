//! SQL of findings: a row per change, like positions.

use std::collections::HashMap;

use super::Finding;
use crate::base::{FlagCode, Severity};
use crate::on;
use crate::reconcile::store::OPEN;
use crate::store::bulk::{self, Column};
use crate::store::{DbError, Result, Tx};

type Key = (i64, i64, String, i64, i64);

#[derive(sqlx::FromRow)]
struct Row {
    inst_id: i64,
    code: i64,
    subject: String,
    account_no: i64,
    date_day: i64,
    from_run: i64,
    amount_fen: i64,
    n: i64,
    severity: i64,
    first_day: i64,
    due_day: Option<i64>,
    evidence: String,
}

fn date_day(finding: &Finding) -> i64 {
    finding.date.map_or(0, |d| i64::from(d.epoch()))
}

/// Stores what changed in the findings of institutions `first..=last` since the run before.
pub async fn store(
    tx: &mut Tx,
    (first, last): (i64, i64),
    (policy_no, run_id): (i64, i64),
    findings: &[(i64, Finding)],
) -> Result<()> {
    let open: Vec<Row> = on!(tx, c => sqlx::query_as(
            "SELECT inst_id, code, subject, account_no, date_day, from_run, amount_fen, n, severity, first_day, \
                    due_day, evidence \
             FROM finding WHERE inst_id BETWEEN $1 AND $2 AND policy_no = $3 AND to_run = $4")
            .bind(first).bind(last).bind(policy_no).bind(OPEN).fetch_all(c).await)
    .map_err(DbError::sql("reading findings"))?;
    let mut known: HashMap<Key, Row> = open
        .into_iter()
        .map(|r| {
            (
                (
                    r.inst_id,
                    r.code,
                    r.subject.clone(),
                    r.account_no,
                    r.date_day,
                ),
                r,
            )
        })
        .collect();
    let mut new: Vec<&(i64, Finding)> = Vec::new();
    let mut ended: Vec<Row> = Vec::new();
    for found in findings {
        let (inst_id, finding) = found;
        let code = finding.code.number();
        let (subject, account) = (finding.subject.clone(), finding.account_no);
        match known.remove(&(*inst_id, code, subject, account, date_day(finding))) {
            Some(row) if says_the_same(&row, finding) => continue,
            Some(row) => ended.push(row),
            None => {}
        }
        new.push(found);
    }
    ended.extend(known.into_values());
    let keys = vec![
        (
            "inst_id",
            Column::Int(ended.iter().map(|r| r.inst_id).collect()),
        ),
        ("policy_no", Column::Int(vec![policy_no; ended.len()])),
        ("code", Column::Int(ended.iter().map(|r| r.code).collect())),
        (
            "subject",
            Column::Text(ended.iter().map(|r| r.subject.as_str()).collect()),
        ),
        (
            "account_no",
            Column::Int(ended.iter().map(|r| r.account_no).collect()),
        ),
        (
            "date_day",
            Column::Int(ended.iter().map(|r| r.date_day).collect()),
        ),
        (
            "from_run",
            Column::Int(ended.iter().map(|r| r.from_run).collect()),
        ),
    ];
    bulk::end_at(tx, "finding", run_id, keys).await?;
    append(tx, policy_no, run_id, &new).await
}

fn says_the_same(row: &Row, finding: &Finding) -> bool {
    row.amount_fen == finding.amount.fen()
        && row.n == finding.n
        && row.severity == finding.severity.number()
        && row.first_day == i64::from(finding.first_day.epoch())
        && row.due_day == finding.due_on.map(|d| i64::from(d.epoch()))
        && row.evidence == finding.evidence.to_json()
}

async fn append(tx: &mut Tx, policy_no: i64, run_id: i64, rows: &[&(i64, Finding)]) -> Result<()> {
    let evidence: Vec<String> = rows.iter().map(|(_, r)| r.evidence.to_json()).collect();
    let ints = |f: fn(&Finding) -> i64| Column::Int(rows.iter().map(|(_, r)| f(r)).collect());
    bulk::append(
        tx,
        "finding",
        vec![
            (
                "inst_id",
                Column::Int(rows.iter().map(|(i, _)| *i).collect()),
            ),
            ("policy_no", Column::Int(vec![policy_no; rows.len()])),
            ("code", ints(|r| r.code.number())),
            (
                "subject",
                Column::Text(rows.iter().map(|(_, r)| r.subject.as_str()).collect()),
            ),
            ("account_no", ints(|r| r.account_no)),
            ("date_day", ints(date_day)),
            ("from_run", Column::Int(vec![run_id; rows.len()])),
            ("amount_fen", ints(|r| r.amount.fen())),
            ("n", ints(|r| r.n)),
            ("severity", ints(|r| r.severity.number())),
            ("first_day", ints(|r| i64::from(r.first_day.epoch()))),
            (
                "due_day",
                Column::OptInt(
                    rows.iter()
                        .map(|(_, r)| r.due_on.map(|d| i64::from(d.epoch())))
                        .collect(),
                ),
            ),
            ("due_provisional", ints(|r| i64::from(r.due_is_provisional))),
            (
                "evidence",
                Column::Text(evidence.iter().map(String::as_str).collect()),
            ),
        ],
    )
    .await
}

/// Reads a stored code and severity.
pub fn code_and_severity(code: i64, severity: i64) -> Result<(FlagCode, Severity)> {
    match (FlagCode::from_number(code), Severity::from_number(severity)) {
        (Some(code), Some(severity)) => Ok((code, severity)),
        _ => Err(DbError::Inconsistent(format!(
            "finding has the code {code} and the severity {severity}"
        ))),
    }
}
