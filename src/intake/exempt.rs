//! Exemptions: days for which an account owes no statement, entered by a person with a reason.

use super::ImportError;
use super::own::Own;
use crate::base::Day;
use crate::feed::store;
use crate::registry;
use crate::store::lock::Job;
use crate::store::{Db, days};

/// Days an account is exempt from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exempt {
    pub account_id: String,
    pub first: Day,
    pub last: Day,
    /// Why; empty ends an exemption of the same days.
    pub reason: String,
}

/// Records an exemption, as an import of its own: what was known before knows nothing of it. False where
/// the same is recorded already.
///
/// # Errors
/// An account nobody registered, days in the wrong order, or a database error.
pub async fn exempt(db: &Db, exempt: &Exempt) -> Result<bool, ImportError> {
    if exempt.last < exempt.first {
        let (first, last) = (exempt.first, exempt.last);
        return Err(ImportError::Refused(format!("{last} is before {first}")));
    }
    let lock = db.lock(Job::Import).await?;
    let mut tx = lock.begin_write(db).await?;
    let registry = registry::store::load(&mut tx, i64::MAX).await?;
    let Some(account) = registry.accounts.get(&exempt.account_id) else {
        let found = format!("account {} is not registered", exempt.account_id);
        return Err(ImportError::Refused(found));
    };
    let row = store::Exemption {
        inst_id: account.inst_id.0,
        account_no: account.account_no.0,
        first_day: days::number(exempt.first),
        last_day: days::number(exempt.last),
        reason: exempt.reason.clone(),
    };
    let newest = store::exemption(&mut tx, &row).await?;
    let known = (newest.as_ref()).map_or("", |(_, reason)| reason.as_str());
    if known == exempt.reason {
        tx.rollback().await?;
        return Ok(false);
    }
    let source = format!("exemption of {}", exempt.account_id);
    let own = Own::open(&mut tx, &source, "exemption").await?;
    let version = newest.map_or(1, |(version, _)| version + 1);
    store::append_exemption(&mut tx, &row, (version, own.source_no)).await?;
    own.complete(&mut tx).await?;
    tx.commit().await?;
    Ok(true)
}
