//! SQL of findings: a row per change, like positions.

use super::Finding;
use crate::base::{FlagCode, Severity};
use crate::on;
use crate::store::bulk::{ints, opt_ints, texts};
use crate::store::changes::{self, ByRun};
use crate::store::{DbError, Result, Tx, days};

type Key<'a> = (i64, i64, &'a str, i64, i64);

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
    decision_no: i64,
}

impl Row {
    fn key(&self) -> Key<'_> {
        (
            self.inst_id,
            self.code,
            &self.subject,
            self.account_no,
            self.date_day,
        )
    }

    fn says_the_same(&self, finding: &Finding) -> bool {
        self.amount_fen == finding.amount.fen()
            && self.n == finding.n
            && self.severity == finding.severity.number()
            && self.first_day == days::number(finding.first_day)
            && self.due_day == days::opt_number(finding.due_on)
            && self.evidence == finding.evidence.to_json()
            && self.decision_no == finding.decision_no
    }
}

fn key_of((inst_id, finding): &(i64, Finding)) -> Key<'_> {
    (
        *inst_id,
        finding.code.number(),
        &finding.subject,
        finding.account_no,
        date_day(finding),
    )
}

/// 0 for a state, which has no day of its own.
fn date_day(finding: &Finding) -> i64 {
    finding.date.map_or(0, days::number)
}

/// Stores what changed in the findings of institutions `first..=last` since the run before.
pub async fn store(
    tx: &mut Tx,
    (first, last): (i64, i64),
    by: ByRun,
    findings: &[(i64, Finding)],
) -> Result<u64> {
    let standing: Vec<Row> = on!(tx, c => sqlx::query_as(
            "SELECT inst_id, code, subject, account_no, date_day, from_run, amount_fen, n, severity, first_day, \
                    due_day, evidence, decision_no \
             FROM finding WHERE inst_id BETWEEN $1 AND $2 AND policy_no = $3 AND from_run <= $4 AND to_run > $4")
            .bind(first).bind(last).bind(by.policy_no).bind(by.run_id).fetch_all(c).await)
    .map_err(DbError::sql("reading findings"))?;
    let (ended, new) = changes::differ(&standing, findings, Row::key, key_of, |row, (_, f)| {
        row.says_the_same(f)
    });
    let evidence: Vec<String> = new.iter().map(|(_, f)| f.evidence.to_json()).collect();
    let ended = vec![
        ("inst_id", ints(&ended, |r| r.inst_id)),
        ("code", ints(&ended, |r| r.code)),
        ("subject", texts(&ended, |r| &r.subject)),
        ("account_no", ints(&ended, |r| r.account_no)),
        ("date_day", ints(&ended, |r| r.date_day)),
        ("from_run", ints(&ended, |r| r.from_run)),
    ];
    let new = vec![
        ("inst_id", ints(&new, |(inst_id, _)| *inst_id)),
        ("code", ints(&new, |(_, f)| f.code.number())),
        ("subject", texts(&new, |(_, f)| &f.subject)),
        ("account_no", ints(&new, |(_, f)| f.account_no)),
        ("date_day", ints(&new, |(_, f)| date_day(f))),
        ("amount_fen", ints(&new, |(_, f)| f.amount.fen())),
        ("n", ints(&new, |(_, f)| f.n)),
        ("severity", ints(&new, |(_, f)| f.severity.number())),
        ("first_day", ints(&new, |(_, f)| days::number(f.first_day))),
        (
            "due_day",
            opt_ints(&new, |(_, f)| days::opt_number(f.due_on)),
        ),
        (
            "due_provisional",
            ints(&new, |(_, f)| i64::from(f.due_is_provisional)),
        ),
        ("evidence", texts(&evidence, |json| json)),
        ("decision_no", ints(&new, |(_, f)| f.decision_no)),
    ];
    changes::write(tx, "finding", by, ended, new).await
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
