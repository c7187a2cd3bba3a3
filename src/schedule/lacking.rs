//! Feeds that can bring nothing: no account is known to be held at their bank.

use super::store;
use crate::config;
use crate::store::{Db, DbError};

/// Feeds whose `bank` no registered account carries as its `bank_code`, and what to do: nothing they bring
/// can be taken in, and no account of theirs is missed. None while no account names its bank.
///
/// # Errors
/// A database that does not answer.
pub async fn feeds_without_accounts(
    db: &Db,
    feeds: impl IntoIterator<Item = &config::Feed>,
) -> Result<Vec<(String, String)>, DbError> {
    let mut tx = db.begin_read().await?;
    let codes = store::bank_codes(&mut tx).await?;
    tx.rollback().await?;
    if codes.is_empty() {
        return Ok(Vec::new());
    }
    let lacking = feeds.into_iter().filter_map(|feed| {
        let bank = &feed.bank;
        if codes.contains(bank) {
            return None;
        }
        let alike = codes.iter().find(|code| code.eq_ignore_ascii_case(bank));
        let why = match alike {
            Some(code) => format!("{bank:?} is spelt {code:?} in accounts.csv; set `bank` so"),
            None => format!("no account in accounts.csv has bank_code {bank:?}"),
        };
        Some((feed.name.clone(), why))
    });
    Ok(lacking.collect())
}
