//! Results kept as changes: a row holds from the run that found it (`from_run`) up to, and without, the
//! run that found otherwise (`to_run`). A run writes what differs from what stands and nothing else.

use std::collections::HashMap;
use std::hash::Hash;

use super::bulk::{self, Columns, repeated};
use super::{DbError, Result, Tx};

/// The open end of `to_run`: the row stands.
pub const OPEN: i64 = i64::MAX;

/// The run that changes results, and the policy version whose results they are.
#[derive(Clone, Copy, Debug)]
pub struct ByRun {
    pub policy_no: i64,
    pub run_id: i64,
    /// Nothing is written: what the run found is compared with what is stored as found by it.
    pub only_compared: bool,
}

/// Compares what stands with what a run found, by key: the standing rows that end, in their order, and
/// the found ones that are new, in theirs. Keys are unique on both sides.
pub fn differ<'s, 'f, K: Eq + Hash, S, F>(
    standing: &'s [S],
    found: &'f [F],
    key_of_standing: impl Fn(&'s S) -> K,
    key_of_found: impl Fn(&'f F) -> K,
    says_the_same: impl Fn(&S, &F) -> bool,
) -> (Vec<&'s S>, Vec<&'f F>) {
    let mut places: HashMap<K, usize> = standing.iter().map(key_of_standing).zip(0..).collect();
    let mut new = Vec::new();
    let mut ended = Vec::new();
    for row in found {
        let stands = places.remove(&key_of_found(row));
        if stands.is_some_and(|at| says_the_same(&standing[at], row)) {
            continue;
        }
        ended.extend(stands);
        new.push(row);
    }
    ended.extend(places.into_values());
    ended.sort_unstable();
    (ended.into_iter().map(|at| &standing[at]).collect(), new)
}

/// Ends the standing rows of the keys `ended` (`from_run` among them) and appends `new` from this run, unless
/// the two are only compared; says how many rows that is.
///
/// # Errors
/// An ended key that is not stored: the caller has just read it in the same transaction.
pub async fn write(
    tx: &mut Tx,
    table: &'static str,
    by: ByRun,
    mut ended: Columns<'_>,
    mut new: Columns<'_>,
) -> Result<u64> {
    let (total, rows) = (bulk::rows(&ended), bulk::rows(&new));
    let differing = (total + rows) as u64;
    if by.only_compared {
        return Ok(differing);
    }
    ended.push(("policy_no", repeated(by.policy_no, total)));
    let changed = end(tx, table, by.run_id, ended).await?;
    if changed != total as u64 {
        return Err(DbError::Inconsistent(format!(
            "{total} rows of {table} were to end at run {}, {changed} did",
            by.run_id
        )));
    }
    new.push(("policy_no", repeated(by.policy_no, rows)));
    new.push(("from_run", repeated(by.run_id, rows)));
    bulk::append(tx, table, new).await?;
    Ok(differing)
}

/// Ends whatever stands for the institutions; there may be nothing.
pub async fn end_all_of(
    tx: &mut Tx,
    table: &'static str,
    by: ByRun,
    inst_ids: &[i64],
) -> Result<u64> {
    let keys = vec![
        ("inst_id", bulk::ints(inst_ids, |id| *id)),
        ("policy_no", repeated(by.policy_no, inst_ids.len())),
        ("to_run", repeated(OPEN, inst_ids.len())),
    ];
    end(tx, table, by.run_id, keys).await
}

async fn end(tx: &mut Tx, table: &'static str, run_id: i64, mut keys: Columns<'_>) -> Result<u64> {
    let body = format!(
        "UPDATE {table} SET to_run = wanted.ending_run FROM wanted WHERE {}",
        bulk::same_key(table, &keys)
    );
    keys.push(("ending_run", repeated(run_id, bulk::rows(&keys))));
    bulk::change(tx, keys, &body).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written() {
        let standing = [("a", 1), ("b", 2), ("c", 3)];
        let found = [("d", 4), ("c", 30), ("a", 1)];
        let (ended, new) = differ(&standing, &found, |s| s.0, |f| f.0, |s, f| s == f);
        assert_eq!(ended, [&("b", 2), &("c", 3)]);
        assert_eq!(new, [&("d", 4), &("c", 30)]);
    }
}
