//! SQL of deliveries and of nonces.

use sha2::{Digest, Sha256};

use crate::base::Instant;
use crate::feed::store::keep_raw;
use crate::on;
use crate::store::{DbError, Result, Tx};

/// The state of a delivery nobody has read yet.
pub const RECEIVED: &str = "received";
/// The state of a delivery that is in the books.
pub const TAKEN: &str = "taken";
/// The state of a delivery that could not be used; its note says why.
pub const QUARANTINED: &str = "quarantined";
/// The state of a delivery that names an account nobody has registered: it is read again once accounts
/// have been imported.
pub const EARLY: &str = "early";
/// The state of a delivery whose reader ended with it too often: it is left alone.
pub const POISON: &str = "poison";
/// The state of a delivery that a person has set aside for good.
pub const DISCARDED: &str = "discarded";
/// How often a delivery may end its reader.
pub const ATTEMPTS_MAX: i64 = 3;
/// The most deliveries that are read together, and their bytes.
const BATCH_FILES_MAX: i64 = 64;
const BATCH_BYTES_MAX: i64 = 64 << 20;
/// How often a number is tried that another transaction takes at the same time.
const NUMBERS_TRIED_MAX: u32 = 100;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    New(i64),
    /// The feed has brought this file, by name and bytes, before.
    Known(i64),
}

impl Kept {
    pub fn number(self) -> i64 {
        match self {
            Kept::New(no) | Kept::Known(no) => no,
        }
    }
}

/// Keeps a file's bytes and its delivery.
///
/// # Errors
/// A database that does not answer, or whose numbers are taken faster than we can count.
pub async fn keep_delivery(tx: &mut Tx, feed: &str, name: &str, bytes: &[u8]) -> Result<Kept> {
    let digest = Sha256::digest(bytes).to_vec();
    keep_raw(tx, &digest, bytes).await?;
    let length = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    for _ in 0..NUMBERS_TRIED_MAX {
        if let Some(no) = find(tx, feed, &digest, name).await? {
            return Ok(Kept::Known(no));
        }
        if let Some(no) = insert(tx, feed, name, &digest, length).await? {
            return Ok(Kept::New(no));
        }
    }
    Err(DbError::Busy("keeping of deliveries"))
}

async fn find(tx: &mut Tx, feed: &str, digest: &[u8], name: &str) -> Result<Option<i64>> {
    let row: Option<(i64,)> = on!(tx, c => sqlx::query_as(
            "SELECT delivery_no FROM delivery WHERE feed = $1 AND digest = $2 AND name = $3")
            .bind(feed).bind(digest).bind(name).fetch_optional(c).await)
    .map_err(DbError::sql("looking for a delivery"))?;
    Ok(row.map(|(no,)| no))
}

/// `None` where another transaction has taken the number, or brought the same file, in the meantime:
/// the statement has then waited for it to commit, and a next look sees what it did.
async fn insert(
    tx: &mut Tx,
    feed: &str,
    name: &str,
    digest: &[u8],
    bytes: i64,
) -> Result<Option<i64>> {
    let now = tx.now();
    let row: Option<(i64,)> = on!(tx, c => sqlx::query_as(
            "INSERT INTO delivery (delivery_no, feed, name, digest, bytes, received_at, state, \
                    attempts, note) \
             SELECT CAST(COALESCE(MAX(delivery_no), 0) + 1 AS BIGINT), $1, $2, $3, $4, $5, $6, 0, '' \
             FROM delivery WHERE TRUE \
             ON CONFLICT DO NOTHING RETURNING delivery_no")
            .bind(feed).bind(name).bind(digest).bind(bytes).bind(now).bind(RECEIVED)
            .fetch_optional(c).await)
    .map_err(DbError::sql("recording a delivery"))?;
    Ok(row.map(|(no,)| no))
}

/// Uses a nonce up, once: false where it has been used before. Of two transactions at once the second
/// waits for the first.
pub async fn use_nonce(tx: &mut Tx, key_id: &str, nonce: &str, expires: Instant) -> Result<bool> {
    let rows = on!(tx, c => sqlx::query(
            "INSERT INTO push_nonce (key_id, nonce, expires_at) VALUES ($1, $2, $3) \
             ON CONFLICT DO NOTHING")
            .bind(key_id).bind(nonce).bind(expires).execute(c).await.map(|r| r.rows_affected()))
    .map_err(DbError::sql("using a nonce"))?;
    Ok(rows == 1)
}

/// Forgets nonces that nobody would accept any more.
pub async fn forget_nonces(tx: &mut Tx) -> Result<u64> {
    let now = tx.now();
    on!(tx, c => sqlx::query("DELETE FROM push_nonce WHERE expires_at < $1")
            .bind(now).execute(c).await.map(|r| r.rows_affected()))
    .map_err(DbError::sql("forgetting nonces"))
}

/// What a delivery says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub delivery_no: i64,
    pub digest: Vec<u8>,
    pub state: String,
}

/// # Errors
/// A number that is none, or a database that does not answer.
pub async fn delivery(tx: &mut Tx, delivery_no: i64) -> Result<Delivery> {
    let row: Option<(Vec<u8>, String)> = on!(tx, c => sqlx::query_as(
            "SELECT digest, state FROM delivery WHERE delivery_no = $1")
            .bind(delivery_no).fetch_optional(c).await)
    .map_err(DbError::sql("reading a delivery"))?;
    let (digest, state) =
        row.ok_or_else(|| DbError::Inconsistent(format!("there is no delivery {delivery_no}")))?;
    Ok(Delivery {
        delivery_no,
        digest,
        state,
    })
}

/// The state of a delivery; `None` where the number is none.
pub async fn state(tx: &mut Tx, delivery_no: i64) -> Result<Option<String>> {
    let row: Option<(String,)> = on!(tx, c => sqlx::query_as(
            "SELECT state FROM delivery WHERE delivery_no = $1")
            .bind(delivery_no).fetch_optional(c).await)
    .map_err(DbError::sql("reading a delivery"))?;
    Ok(row.map(|(state,)| state))
}

/// A delivery to be read.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Unread {
    pub delivery_no: i64,
    pub feed: String,
    pub name: String,
    pub digest: Vec<u8>,
    pub bytes: i64,
    pub attempts: i64,
}

/// True where something has been delivered that is to be read, for the first time or again.
pub async fn is_any_unread(tx: &mut Tx) -> Result<bool> {
    let row: Option<(i64,)> = on!(tx, c => sqlx::query_as(
            "SELECT delivery_no FROM delivery WHERE state = $1 OR (state = $2 AND import_no < \
               (SELECT MAX(import_no) FROM source_file WHERE kind = 'accounts')) LIMIT 1")
            .bind(RECEIVED).bind(EARLY).fetch_optional(c).await)
    .map_err(DbError::sql("looking for deliveries"))?;
    Ok(row.is_some())
}

/// Since when the oldest delivery waits that nobody has read.
pub async fn unread_since(tx: &mut Tx) -> Result<Option<Instant>> {
    let (since,): (Option<Instant>,) = on!(tx, c => sqlx::query_as(
            "SELECT MIN(received_at) FROM delivery WHERE state = $1")
            .bind(RECEIVED).fetch_one(c).await)
    .map_err(DbError::sql("looking for deliveries"))?;
    Ok(since)
}

/// Has deliveries read again that came before their accounts, where accounts have been imported since.
pub async fn read_early_again(tx: &mut Tx) -> Result<u64> {
    on!(tx, c => sqlx::query(
            "UPDATE delivery SET state = $1, attempts = 0 WHERE state = $2 AND import_no < \
               (SELECT MAX(import_no) FROM source_file WHERE kind = 'accounts')")
            .bind(RECEIVED).bind(EARLY).execute(c).await.map(|r| r.rows_affected()))
    .map_err(DbError::sql("having deliveries read again"))
}

/// Gives up deliveries whose reader has ended with them too often, and says which.
pub async fn give_up(tx: &mut Tx) -> Result<Vec<Unread>> {
    let poison: Vec<Unread> = on!(tx, c => sqlx::query_as(
            "SELECT delivery_no, feed, name, digest, bytes, attempts FROM delivery \
             WHERE state = $1 AND attempts >= $2 ORDER BY delivery_no")
            .bind(RECEIVED).bind(ATTEMPTS_MAX).fetch_all(c).await)
    .map_err(DbError::sql("looking for deliveries"))?;
    for delivery in &poison {
        let note = format!(
            "reading it ended the reader, or the database refused what it holds, {} times; see the log",
            delivery.attempts
        );
        settle(tx, delivery.delivery_no, POISON, None, &note).await?;
    }
    Ok(poison)
}

/// The oldest deliveries, to be read together: one alone where it has ended its reader before, so that
/// only the one that does is blamed.
pub async fn next_batch(tx: &mut Tx) -> Result<Vec<Unread>> {
    let mut batch: Vec<Unread> = on!(tx, c => sqlx::query_as(
            "SELECT delivery_no, feed, name, digest, bytes, attempts FROM delivery \
             WHERE state = $1 ORDER BY delivery_no LIMIT $2")
            .bind(RECEIVED).bind(BATCH_FILES_MAX).fetch_all(c).await)
    .map_err(DbError::sql("looking for deliveries"))?;
    let mut bytes = 0;
    let together = (batch.iter().enumerate())
        .take_while(|(at, d)| {
            bytes += d.bytes;
            *at == 0 || (d.attempts == 0 && bytes <= BATCH_BYTES_MAX)
        })
        .count();
    let suspect = batch.first().is_some_and(|d| d.attempts > 0);
    batch.truncate(if suspect { 1 } else { together });
    Ok(batch)
}

/// Counts an attempt at reading deliveries (+1), or takes back one that failed for a reason of ours (-1).
pub async fn count_attempt(tx: &mut Tx, batch: &[Unread], count: i64) -> Result<()> {
    for delivery in batch {
        on!(tx, c => sqlx::query(
                "UPDATE delivery SET attempts = attempts + $3 WHERE delivery_no = $1 AND state = $2")
                .bind(delivery.delivery_no).bind(RECEIVED).bind(count).execute(c).await.map(|_| ()))
        .map_err(DbError::sql("counting an attempt"))?;
    }
    Ok(())
}

/// Says what became of a delivery. Belongs into the transaction that makes it so.
///
/// # Errors
/// A delivery that was settled before.
pub async fn settle(
    tx: &mut Tx,
    delivery_no: i64,
    state: &str,
    import_no: Option<i64>,
    note: &str,
) -> Result<()> {
    let changed = on!(tx, c => sqlx::query(
            "UPDATE delivery SET state = $2, import_no = $3, note = $4 \
             WHERE delivery_no = $1 AND state = $5")
            .bind(delivery_no).bind(state).bind(import_no).bind(note).bind(RECEIVED)
            .execute(c).await.map(|r| r.rows_affected()))
    .map_err(DbError::sql("settling a delivery"))?;
    if changed == 1 {
        Ok(())
    } else {
        Err(DbError::Inconsistent(format!(
            "delivery {delivery_no} was settled before"
        )))
    }
}

/// A delivery for people's eyes.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Listed {
    pub delivery_no: i64,
    pub feed: String,
    pub name: String,
    pub digest: Vec<u8>,
    pub bytes: i64,
    pub received_at: Instant,
    pub state: String,
    pub attempts: i64,
    /// Why it could not be used, or what is remarkable about it.
    pub note: String,
    /// What its file does not say and was taken from settings.
    pub assumed_account: Option<String>,
    pub assumed_unit: Option<String>,
    /// What a person decided last.
    pub decision: Option<String>,
    pub reason: Option<String>,
    pub decided_by: Option<String>,
    pub decided_at: Option<Instant>,
}

/// Deliveries in the order they came; those that are in the books only if `all`.
pub async fn listed(tx: &mut Tx, all: bool) -> Result<Vec<Listed>> {
    let left_out = if all { "" } else { TAKEN };
    on!(tx, c => sqlx::query_as(
            "SELECT d.delivery_no, d.feed, d.name, d.digest, d.bytes, d.received_at, d.state, \
                    d.attempts, d.note, \
                    (SELECT MAX(f.assumed_account) FROM source_file f \
                      WHERE f.digest = d.digest AND f.import_no = d.import_no) AS assumed_account, \
                    (SELECT MAX(f.assumed_unit) FROM source_file f \
                      WHERE f.digest = d.digest AND f.import_no = d.import_no) AS assumed_unit, \
                    w.decision, w.reason, w.decided_by, w.decided_at \
             FROM delivery d LEFT JOIN delivery_decision w ON w.delivery_no = d.delivery_no \
               AND w.version = (SELECT MAX(v.version) FROM delivery_decision v \
                                WHERE v.delivery_no = d.delivery_no) \
             WHERE d.state <> $1 ORDER BY d.delivery_no")
            .bind(left_out).fetch_all(c).await)
    .map_err(DbError::sql("listing deliveries"))
}

/// What a person may decide of a delivery that is not in the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Its attempts start anew.
    Retry,
    /// It is never tried again; its bytes stay.
    Discard,
}

impl Decision {
    pub const fn as_str(self) -> &'static str {
        match self {
            Decision::Retry => "retry",
            Decision::Discard => "discard",
        }
    }

    const fn leads_to(self) -> &'static str {
        match self {
            Decision::Retry => RECEIVED,
            Decision::Discard => DISCARDED,
        }
    }
}

/// Records a decision about a delivery and does as it says.
///
/// # Errors
/// A number that is none; [`DbError::Busy`] where its state is no longer the one that was decided upon.
pub async fn decide(
    tx: &mut Tx,
    (delivery_no, seen): (i64, &str),
    decision: Decision,
    (reason, by): (&str, &str),
) -> Result<()> {
    let before: Option<(i64, String)> = on!(tx, c => sqlx::query_as(
            "SELECT attempts, note FROM delivery WHERE delivery_no = $1")
            .bind(delivery_no).fetch_optional(c).await)
    .map_err(DbError::sql("reading a delivery"))?;
    let (attempts, note) = before
        .ok_or_else(|| DbError::Inconsistent(format!("there is no delivery {delivery_no}")))?;
    let changed = on!(tx, c => sqlx::query(
            "UPDATE delivery SET state = $4, attempts = 0, import_no = NULL, note = $5 \
             WHERE delivery_no = $1 AND state = $2 AND attempts = $3")
            .bind(delivery_no).bind(seen).bind(attempts).bind(decision.leads_to())
            .bind(if decision == Decision::Discard { reason } else { "" })
            .execute(c).await.map(|r| r.rows_affected()))
    .map_err(DbError::sql("deciding about a delivery"))?;
    if changed != 1 {
        return Err(DbError::Busy("other work on this delivery"));
    }
    let now = tx.now();
    on!(tx, c => sqlx::query(
            "INSERT INTO delivery_decision (delivery_no, version, decision, reason, decided_by, \
                    decided_at, state, attempts, note) \
             SELECT $1, CAST(COALESCE(MAX(version), 0) + 1 AS BIGINT), $2, $3, $4, $5, $6, $7, $8 \
             FROM delivery_decision WHERE delivery_no = $1")
            .bind(delivery_no).bind(decision.as_str()).bind(reason).bind(by).bind(now).bind(seen)
            .bind(attempts).bind(&note).execute(c).await.map(|_| ()))
    .map_err(DbError::sql("recording a decision"))
}

/// Where a feed's fetch goes on.
pub async fn mark(tx: &mut Tx, feed: &str) -> Result<Option<String>> {
    let row: Option<(String,)> = on!(tx, c => sqlx::query_as(
            "SELECT mark FROM feed_mark WHERE feed = $1").bind(feed).fetch_optional(c).await)
    .map_err(DbError::sql("reading a feed's mark"))?;
    Ok(row.map(|(mark,)| mark).filter(|mark| !mark.is_empty()))
}

/// Remembers where a feed's fetch goes on; an empty mark is none.
pub async fn set_mark(tx: &mut Tx, feed: &str, mark: &str) -> Result<()> {
    on!(tx, c => sqlx::query(
            "INSERT INTO feed_mark (feed, mark) VALUES ($1, $2) \
             ON CONFLICT (feed) DO UPDATE SET mark = excluded.mark")
            .bind(feed).bind(mark).execute(c).await.map(|_| ()))
    .map_err(DbError::sql("storing a feed's mark"))
}

/// The instant before which a feed's bank may not be asked again, if it was asked at all.
pub async fn not_before(tx: &mut Tx, feed: &str) -> Result<Option<Instant>> {
    let row: Option<(Option<Instant>,)> = on!(tx, c => sqlx::query_as(
            "SELECT not_before FROM feed_mark WHERE feed = $1").bind(feed).fetch_optional(c).await)
    .map_err(DbError::sql("reading when a bank may be asked"))?;
    Ok(row.and_then(|(not_before,)| not_before))
}

/// Notes that a feed's bank is asked now and may not be asked again before an instant.
pub async fn set_not_before(tx: &mut Tx, feed: &str, at: Instant) -> Result<()> {
    on!(tx, c => sqlx::query(
            "INSERT INTO feed_mark (feed, mark, not_before) VALUES ($1, '', $2) \
             ON CONFLICT (feed) DO UPDATE SET not_before = excluded.not_before")
            .bind(feed).bind(at).execute(c).await.map(|_| ()))
    .map_err(DbError::sql("noting when a bank may be asked"))
}
