//! Policy versions as the database keeps them.

use sha2::{Digest, Sha256};

use super::{BUILT_IN, Policy};
use crate::on;
use crate::store::{DbError, Result, Tx};

/// A policy with the number of its version in this database.
#[derive(Clone, Debug)]
pub struct PolicyVersion {
    pub policy_no: i64,
    pub policy: Policy,
}

/// The newest text of a policy of that name: the built-in one, stored as a version if it is not yet.
/// Returns `None` where no policy is so called.
pub async fn named(tx: &mut Tx, name: &str) -> Result<Option<PolicyVersion>> {
    for text in BUILT_IN {
        let policy = Policy::parse(text).map_err(DbError::Inconsistent)?;
        if policy.name == name {
            let policy_no = keep(tx, name, text).await?;
            return Ok(Some(PolicyVersion { policy_no, policy }));
        }
    }
    Ok(None)
}

/// The policy of a version, as it was stored when a run first used it.
///
/// # Errors
/// A number without a version, or one whose text this program no longer reads.
pub async fn numbered(tx: &mut Tx, policy_no: i64) -> Result<Policy> {
    let row: Option<(String,)> = on!(tx, c => sqlx::query_as(
            "SELECT params FROM policy_version WHERE policy_no = $1")
            .bind(policy_no).fetch_optional(c).await)
    .map_err(DbError::sql("reading a policy version"))?;
    let Some((text,)) = row else {
        return Err(DbError::Inconsistent(format!(
            "there is no policy version {policy_no}"
        )));
    };
    Policy::parse(&text).map_err(DbError::Inconsistent)
}

async fn keep(tx: &mut Tx, name: &str, text: &str) -> Result<i64> {
    let digest = Sha256::digest(text.as_bytes()).to_vec();
    let known: Option<(i64,)> = on!(tx, c => sqlx::query_as(
            "SELECT policy_no FROM policy_version WHERE name = $1 AND digest = $2")
            .bind(name).bind(&digest).fetch_optional(c).await)
    .map_err(DbError::sql("reading policy versions"))?;
    if let Some((policy_no,)) = known {
        return Ok(policy_no);
    }
    let now = tx.now();
    let (next,): (i64,) = on!(tx, c => sqlx::query_as(
            "SELECT CAST(COALESCE(MAX(policy_no), 0) + 1 AS BIGINT) FROM policy_version")
            .fetch_one(c).await)
    .map_err(DbError::sql("numbering a policy version"))?;
    on!(tx, c => sqlx::query(
            "INSERT INTO policy_version (policy_no, name, digest, params, loaded_at) \
             VALUES ($1, $2, $3, $4, $5)")
            .bind(next).bind(name).bind(&digest).bind(text).bind(now).execute(c).await.map(|_| ()))
    .map_err(DbError::sql("storing a policy version"))?;
    Ok(next)
}
