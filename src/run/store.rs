//! SQL of runs and of what they say of each district.

use std::collections::BTreeMap;

use super::Options;
use crate::base::Instant;
use crate::on;
use crate::position::DistrictTotals;
use crate::reconcile::store::OPEN;
use crate::store::bulk::{self, Column};
use crate::store::{DbError, Result, Tx};

pub(super) async fn open(
    tx: &mut Tx,
    policy_no: i64,
    options: &Options,
    known_at: Instant,
    source_cut: i64,
) -> Result<i64> {
    let (run_id,): (i64,) = on!(tx, c => sqlx::query_as(
            "SELECT CAST(COALESCE(MAX(run_id), 0) + 1 AS BIGINT) FROM run").fetch_one(c).await)
    .map_err(DbError::sql("numbering the run"))?;
    let now = tx.now();
    on!(tx, c => sqlx::query(
            "INSERT INTO run (run_id, policy_no, as_of, known_at, source_cut, district_id, started_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(run_id).bind(policy_no).bind(options.as_of.date()).bind(known_at)
            .bind(source_cut).bind(&options.district).bind(now).execute(c).await.map(|_| ()))
    .map_err(DbError::sql("opening the run"))?;
    Ok(run_id)
}

/// Ends what earlier runs of the policy say of institutions this run would cover and does not know, or
/// that have left its district: a run's results are of its own scope only.
pub(super) async fn leave_out(
    tx: &mut Tx,
    (policy_no, run_id): (i64, i64),
    district: Option<&str>,
    in_scope: impl Fn(i64) -> bool,
) -> Result<()> {
    let open: Vec<(i64, String)> = on!(tx, c => sqlx::query_as(
            "SELECT inst_id, district_id FROM position WHERE policy_no = $1 AND to_run = $2 \
             ORDER BY inst_id")
            .bind(policy_no).bind(OPEN).fetch_all(c).await)
    .map_err(DbError::sql("reading what earlier runs cover"))?;
    let gone: Vec<i64> = open
        .into_iter()
        .filter(|(_, d)| district.is_none_or(|id| id == d))
        .map(|(inst_id, _)| inst_id)
        .filter(|inst_id| !in_scope(*inst_id))
        .collect();
    for table in ["position", "finding", "match_line", "match_item"] {
        let keys = vec![
            ("inst_id", Column::Int(gone.clone())),
            ("policy_no", Column::Int(vec![policy_no; gone.len()])),
        ];
        bulk::end_open_at(tx, table, run_id, OPEN, keys).await?;
    }
    Ok(())
}

pub(super) async fn complete(tx: &mut Tx, run_id: i64) -> Result<()> {
    let now = tx.now();
    let changed = on!(tx, c => sqlx::query(
            "UPDATE run SET completed_at = $2 WHERE run_id = $1 AND completed_at IS NULL")
            .bind(run_id).bind(now).execute(c).await.map(|r| r.rows_affected()))
    .map_err(DbError::sql("completing the run"))?;
    if changed == 1 {
        Ok(())
    } else {
        Err(DbError::Inconsistent(format!("run {run_id} was not open")))
    }
}

pub(super) async fn append_districts(
    tx: &mut Tx,
    run_id: i64,
    districts: &BTreeMap<String, DistrictTotals>,
) -> Result<()> {
    let ints = |f: fn(&DistrictTotals) -> i64| Column::Int(districts.values().map(f).collect());
    bulk::append(
        tx,
        "district_coverage",
        vec![
            ("run_id", Column::Int(vec![run_id; districts.len()])),
            (
                "district_id",
                Column::Text(districts.keys().map(String::as_str).collect()),
            ),
            ("required_fen", ints(|d| d.required.fen())),
            ("held_fen", ints(|d| d.held.fen())),
            ("uncovered_fen", ints(|d| d.uncovered.fen())),
            ("covered_fen", ints(|d| d.covered.fen())),
            ("institutions", ints(|d| d.institutions)),
            ("uncovered_institutions", ints(|d| d.uncovered_institutions)),
            ("unknown_institutions", ints(|d| d.unknown_institutions)),
            ("must_be_held", ints(|d| d.must_be_held)),
            ("under_custody", ints(|d| d.under_custody)),
            ("red_flags", ints(|d| d.red_flags)),
            ("amber_flags", ints(|d| d.amber_flags)),
            ("unmatched_credits", ints(|d| d.unmatched_credits)),
            ("accounts_expected", ints(|d| d.accounts_expected)),
            ("accounts_proven", ints(|d| d.accounts_proven)),
            ("missing_days", ints(|d| d.missing_days)),
        ],
    )
    .await
}
