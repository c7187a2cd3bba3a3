//! SQL of scheduled work.

use super::{CLAIM, Claim, Key, Kind};
use crate::base::Instant;
use crate::on;
use crate::store::{DbError, Result, Tx};

/// Makes sure that work has its row; it waits until `due_at`.
pub async fn plan(tx: &mut Tx, key: &Key, due_at: Instant) -> Result<()> {
    on!(tx, c => sqlx::query(
            "INSERT INTO job (feed, day, kind, state, attempts, due_at, holder, fence, note) \
             VALUES ($1, $2, $3, 'waiting', 0, $4, '', 0, '') ON CONFLICT DO NOTHING")
            .bind(&key.feed).bind(key.day).bind(key.kind.as_str()).bind(due_at)
            .execute(c).await.map(|_| ()))
    .map_err(DbError::sql("planning work"))
}

/// Claims work that is due, or whose holder's time is over; `None` where it is done, held or not due.
pub async fn claim(tx: &mut Tx, key: &Key, holder: &str) -> Result<Option<Claim>> {
    let now = tx.now();
    let changed = on!(tx, c => sqlx::query(
            "UPDATE job SET state = 'working', holder = $4, fence = fence + 1, \
                    attempts = attempts + 1, held_until = $6 \
             WHERE feed = $1 AND day = $2 AND kind = $3 \
               AND ((state = 'waiting' AND due_at <= $5) OR (state = 'working' AND held_until < $5))")
            .bind(&key.feed).bind(key.day).bind(key.kind.as_str()).bind(holder).bind(now)
            .bind(now + CLAIM).execute(c).await.map(|r| r.rows_affected()))
    .map_err(DbError::sql("claiming work"))?;
    if changed == 0 {
        return Ok(None);
    }
    let (fence, attempt): (i64, i64) = on!(tx, c => sqlx::query_as(
            "SELECT fence, attempts FROM job WHERE feed = $1 AND day = $2 AND kind = $3")
            .bind(&key.feed).bind(key.day).bind(key.kind.as_str()).fetch_one(c).await)
    .map_err(DbError::sql("claiming work"))?;
    Ok(Some(Claim {
        key: key.clone(),
        fence,
        attempt,
    }))
}

/// Ends a claim: the work is done. Belongs into the transaction that writes the effect.
///
/// # Errors
/// [`DbError::Busy`] where another replica has taken the work over; the transaction must not commit.
pub async fn finish(tx: &mut Tx, claim: &Claim, note: &str) -> Result<()> {
    let now = tx.now();
    end(tx, claim, "done", now, Some(now), note).await
}

/// Ends a claim: the work is tried again from `due_at` on.
///
/// # Errors
/// See [`finish`].
pub async fn retry(tx: &mut Tx, claim: &Claim, due_at: Instant, note: &str) -> Result<()> {
    end(tx, claim, "waiting", due_at, None, note).await
}

/// Proves a claim and prolongs it. Belongs into every transaction of work that takes several.
///
/// # Errors
/// See [`finish`].
pub async fn prolong(tx: &mut Tx, claim: &Claim) -> Result<()> {
    let key = &claim.key;
    let until = tx.now() + CLAIM;
    let changed = on!(tx, c => sqlx::query(
            "UPDATE job SET held_until = $5 \
             WHERE feed = $1 AND day = $2 AND kind = $3 AND fence = $4 AND state = 'working'")
            .bind(&key.feed).bind(key.day).bind(key.kind.as_str()).bind(claim.fence).bind(until)
            .execute(c).await.map(|r| r.rows_affected()))
    .map_err(DbError::sql("prolonging work"))?;
    if changed == 1 {
        Ok(())
    } else {
        Err(DbError::Busy("another replica's work"))
    }
}

/// Makes work due now that was to wait for its time; work that waits after a failure goes on waiting.
pub async fn hasten(tx: &mut Tx, key: &Key) -> Result<()> {
    let now = tx.now();
    on!(tx, c => sqlx::query(
            "UPDATE job SET due_at = $4 WHERE feed = $1 AND day = $2 AND kind = $3 \
               AND state = 'waiting' AND attempts = 0 AND due_at > $4")
            .bind(&key.feed).bind(key.day).bind(key.kind.as_str()).bind(now)
            .execute(c).await.map(|_| ()))
    .map_err(DbError::sql("hastening work"))
}

async fn end(
    tx: &mut Tx,
    claim: &Claim,
    state: &'static str,
    due_at: Instant,
    done_at: Option<Instant>,
    note: &str,
) -> Result<()> {
    let key = &claim.key;
    let changed = on!(tx, c => sqlx::query(
            "UPDATE job SET state = $5, due_at = $6, done_at = $7, note = $8, held_until = NULL \
             WHERE feed = $1 AND day = $2 AND kind = $3 AND fence = $4 AND state = 'working'")
            .bind(&key.feed).bind(key.day).bind(key.kind.as_str()).bind(claim.fence).bind(state)
            .bind(due_at).bind(done_at).bind(note).execute(c).await.map(|r| r.rows_affected()))
    .map_err(DbError::sql("ending work"))?;
    if changed == 1 {
        Ok(())
    } else {
        Err(DbError::Busy("another replica's work"))
    }
}

/// Opens done work again, because what it rests on has changed.
pub async fn reopen(tx: &mut Tx, key: &Key, due_at: Instant, note: &str) -> Result<bool> {
    on!(tx, c => sqlx::query(
            "UPDATE job SET state = 'waiting', attempts = 0, due_at = $4, note = $5 \
             WHERE feed = $1 AND day = $2 AND kind = $3 AND state = 'done'")
            .bind(&key.feed).bind(key.day).bind(key.kind.as_str()).bind(due_at).bind(note)
            .execute(c).await.map(|r| r.rows_affected() == 1))
    .map_err(DbError::sql("opening work again"))
}

/// Makes work due now, whatever became of it before, unless somebody holds it; false where somebody does.
pub async fn rearm(tx: &mut Tx, key: &Key, note: &str) -> Result<bool> {
    let now = tx.now();
    plan(tx, key, now).await?;
    on!(tx, c => sqlx::query(
            "UPDATE job SET state = 'waiting', attempts = 0, due_at = $4, held_until = NULL, note = $5 \
             WHERE feed = $1 AND day = $2 AND kind = $3 \
               AND (state <> 'working' OR held_until < $4)")
            .bind(&key.feed).bind(key.day).bind(key.kind.as_str()).bind(now).bind(note)
            .execute(c).await.map(|r| r.rows_affected() == 1))
    .map_err(DbError::sql("making work due"))
}

/// One row of work, as status pages show it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Row {
    pub feed: String,
    pub day: i64,
    pub state: String,
    pub attempts: i64,
    pub due_at: Instant,
    pub held_until: Option<Instant>,
    pub done_at: Option<Instant>,
    pub note: String,
}

impl Row {
    pub fn is_done(&self) -> bool {
        self.state == "done"
    }

    /// True where somebody works at it, and may for a while.
    pub fn is_held(&self, now: Instant) -> bool {
        self.state == "working" && self.held_until.is_some_and(|until| until >= now)
    }

    /// True where it may be claimed.
    pub fn is_due(&self, now: Instant) -> bool {
        match self.state.as_str() {
            "waiting" => self.due_at <= now,
            "working" => !self.is_held(now),
            _ => false,
        }
    }
}

/// Work of a kind on days from `first` on, oldest first.
pub async fn rows(tx: &mut Tx, kind: Kind, first: i64) -> Result<Vec<Row>> {
    on!(tx, c => sqlx::query_as(
            "SELECT feed, day, state, attempts, due_at, held_until, done_at, note FROM job \
             WHERE kind = $1 AND day >= $2 ORDER BY day, feed")
            .bind(kind.as_str()).bind(first).fetch_all(c).await)
    .map_err(DbError::sql("reading work"))
}

/// Ends every claim: for the only server there can be, as it starts. What was claimed is tried again.
pub async fn release(tx: &mut Tx) -> Result<u64> {
    let now = tx.now();
    on!(tx, c => sqlx::query(
            "UPDATE job SET state = 'waiting', due_at = $1, held_until = NULL WHERE state = 'working'")
            .bind(now).execute(c).await.map(|r| r.rows_affected()))
    .map_err(DbError::sql("ending claims"))
}
