//! SQL of runs and of what they say of each district.

use std::collections::BTreeMap;

use super::Options;
use crate::base::Instant;
use crate::on;
use crate::position::DistrictTotals;
use crate::store::bulk::{self, ints, repeated, texts};
use crate::store::changes::{self, ByRun, OPEN};
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
/// that have left its district: a run's results are of its own scope only. `scope` is sorted.
///
/// Reads what stands outside the scope's numbers, few as a rule, or of a district what stands in it.
pub(super) async fn leave_out(
    tx: &mut Tx,
    by: ByRun,
    district: Option<&str>,
    scope: &[i64],
) -> Result<()> {
    let ranges = match district {
        None => gaps(scope),
        Some(_) => vec![(0, i64::MAX)],
    };
    let standing: Vec<(i64,)> = bulk::lookup(
        tx,
        vec![
            ("first", ints(&ranges, |r| r.0)),
            ("last", ints(&ranges, |r| r.1)),
            ("policy_no", repeated(by.policy_no, ranges.len())),
            ("to_run", repeated(OPEN, ranges.len())),
            ("district_id", texts(&ranges, |_| district.unwrap_or(""))),
        ],
        "SELECT p.inst_id FROM wanted w CROSS JOIN position p \
         WHERE p.inst_id BETWEEN w.first AND w.last AND p.policy_no = w.policy_no \
           AND p.to_run = w.to_run AND (w.district_id = '' OR p.district_id = w.district_id) \
         ORDER BY p.inst_id",
    )
    .await?;
    let gone: Vec<i64> = (standing.into_iter().map(|(inst_id,)| inst_id))
        .filter(|inst_id| scope.binary_search(inst_id).is_err())
        .collect();
    for table in [
        "position",
        "finding",
        "match_line",
        "match_item",
        "match_review",
        "account_proof",
    ] {
        changes::end_all_of(tx, table, by, &gone).await?;
    }
    Ok(())
}

/// The ranges of institution numbers between those of a sorted scope, both ends included.
fn gaps(scope: &[i64]) -> Vec<(i64, i64)> {
    let after = [0].iter().chain(scope).map(|id| id + 1);
    let before = scope.iter().map(|id| id - 1).chain([i64::MAX]);
    after.zip(before).filter(|(a, b)| a <= b).collect()
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
    let ints = |of: fn(&DistrictTotals) -> i64| ints(districts.values(), of);
    bulk::append(
        tx,
        "district_coverage",
        vec![
            ("run_id", repeated(run_id, districts.len())),
            ("district_id", texts(districts.keys(), String::as_str)),
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

#[cfg(test)]
mod tests {
    use super::gaps;

    #[test]
    fn a_scope_and_its_gaps_are_all_numbers() {
        assert_eq!(gaps(&[]), [(1, i64::MAX)]);
        assert_eq!(gaps(&[1, 2, 4]), [(3, 3), (5, i64::MAX)]);
    }
}
