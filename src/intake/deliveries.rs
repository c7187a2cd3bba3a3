//! Deliveries: statement files that feeds brought, taken oldest first, several in one import.
//!
//! An attempt is counted in a transaction of its own before a byte is read, so a file that ends its reader,
//! or its process, is known as the one that did; a batch that ended so is read one by one afterwards. What
//! became of each is said in the transaction that completes the import. An attempt that failed for a reason
//! of ours is taken back; one whose data the database refused stays counted, as if it had ended the reader.
//! Absent on purpose: catching the panic, which is the caller's.

use std::collections::HashMap;

use super::bundle::Input;
use super::session::Session;
use super::{ImportError, Options, Progress, Summary, statement};
use crate::base::{Defect, DefectCode};
use crate::feed::deliveries::{self, Decision, Unread};
use crate::feed::store;
use crate::store::lock::{Job, JobLock};
use crate::store::{Db, DbError};
use crate::wire::Assumptions;

/// What the books call an import of deliveries.
const SOURCE: &str = "deliveries";

/// What holds of a feed's files.
#[derive(Clone, Debug, Default)]
pub struct FeedTerms {
    /// Its bank: no other bank's accounts are its to state.
    pub bank: String,
    /// What the files may leave open.
    pub assumed: Assumptions,
}

/// The terms of each feed, by its name.
pub type TermsOfFeeds = HashMap<String, FeedTerms>;

/// Takes the oldest deliveries nobody has read; `None` where there are none.
///
/// # Errors
/// A database error; [`crate::store::DbError::Busy`] while another import runs;
/// [`ImportError::HalfTaken`] while a bundle is half in the books.
pub async fn take_deliveries(
    db: &Db,
    terms: &TermsOfFeeds,
    progress: &mut dyn Progress,
) -> Result<Option<Summary>, ImportError> {
    let mut tx = db.begin_read().await?;
    let any = deliveries::is_any_unread(&mut tx).await?;
    tx.rollback().await?;
    if !any {
        return Ok(None);
    }
    let lock = db.lock(Job::Import).await?;
    let mut session = Session::open(db, &lock, SOURCE, Options::default(), progress).await?;
    session.is_unattended = true;
    statement::finish_half_posted(&mut session).await?;
    let batch = begin(db, &lock).await?;
    let taken = take(db, session, &batch, terms).await;
    if let Err(failed) = &taken
        && !matches!(failed, ImportError::Db(e) if e.may_be_of_the_data())
        && let Err(e) = take_back(db, &lock, &batch).await
    {
        tracing::warn!(error = %e, "attempts at deliveries stay counted");
    }
    taken.map(Some)
}

/// Has a delivery that is not in the books read again, or set aside for good, and records who decided so
/// and why.
///
/// # Errors
/// [`ImportError::Refused`] where its state does not allow it; [`DbError::Busy`] where it is being read, or
/// its state has changed meanwhile.
pub async fn decide(
    db: &Db,
    delivery_no: i64,
    decision: Decision,
    (reason, by): (&str, &str),
) -> Result<(), ImportError> {
    let refused = |why: String| {
        Err(ImportError::Refused(format!(
            "delivery {delivery_no} {why}"
        )))
    };
    let mut tx = db.begin_read().await?;
    let state = deliveries::state(&mut tx, delivery_no).await?;
    tx.rollback().await?;
    let Some(state) = state else {
        return refused("is none; see: jintuo feed deliveries".to_owned());
    };
    let word = (reason, by);
    match (state.as_str(), decision) {
        (deliveries::TAKEN, _) => refused("is in the books".to_owned()),
        (deliveries::DISCARDED, _) => refused(
            "was discarded; what it holds comes in as a new file, or by jintuo import".to_owned(),
        ),
        (deliveries::RECEIVED, Decision::Retry) => refused("waits to be read already".to_owned()),
        // A reader holds this lock as long as it reads.
        (deliveries::RECEIVED, Decision::Discard) => {
            let lock = db.lock(Job::Import).await?;
            let mut tx = lock.begin_write(db).await?;
            deliveries::decide(&mut tx, (delivery_no, &state), decision, word).await?;
            Ok(tx.commit().await?)
        }
        _ => {
            let mut tx = db.begin_write().await?;
            deliveries::decide(&mut tx, (delivery_no, &state), decision, word).await?;
            Ok(tx.commit().await?)
        }
    }
}

/// What failed was not the files' doing.
async fn take_back(db: &Db, lock: &JobLock, batch: &[Unread]) -> Result<(), DbError> {
    let mut tx = lock.begin_write(db).await?;
    deliveries::count_attempt(&mut tx, batch, -1).await?;
    tx.commit().await
}

/// Gives up what has ended its reader too often and counts an attempt at what is next.
async fn begin(db: &Db, lock: &JobLock) -> Result<Vec<Unread>, ImportError> {
    let mut tx = lock.begin_write(db).await?;
    deliveries::read_early_again(&mut tx).await?;
    let poison = deliveries::give_up(&mut tx).await?;
    let batch = deliveries::next_batch(&mut tx).await?;
    deliveries::count_attempt(&mut tx, &batch, 1).await?;
    tx.commit().await?;
    for delivery in poison {
        tracing::error!(
            delivery.no = delivery.delivery_no,
            feed.name = %delivery.feed,
            file.name = %delivery.name,
            delivery.attempts = delivery.attempts,
            "a delivery ends its reader and is left alone; its bytes are kept"
        );
    }
    Ok(batch)
}

async fn take(
    db: &Db,
    mut session: Session<'_>,
    batch: &[Unread],
    terms: &TermsOfFeeds,
) -> Result<Summary, ImportError> {
    session.start(
        batch
            .iter()
            .map(|d| u64::try_from(d.bytes).unwrap_or(0))
            .sum(),
    );
    for delivery in batch {
        session.reading = Some(delivery.delivery_no);
        let of_feed = terms.get(&delivery.feed).cloned();
        session.options.bank = of_feed.as_ref().map(|terms| terms.bank.clone());
        session.options.assumed = of_feed.unwrap_or_default().assumed;
        let name = format!("{}/{}", delivery.feed, delivery.name);
        match kept_bytes(db, &delivery.digest).await? {
            Ok(bytes) => statement::take_in(&mut session, &Input::at_hand(name, bytes)).await?,
            Err(why) => {
                let defect = Defect::new(DefectCode::Unreadable, why);
                statement::refuse_unread(&mut session, &name, defect).await?;
            }
        }
    }
    session.complete().await
}

/// A delivery's bytes, or why they are not what was delivered: such a file is nobody's word.
async fn kept_bytes(db: &Db, digest: &[u8]) -> Result<Result<Vec<u8>, String>, DbError> {
    let mut tx = db.begin_read().await?;
    let kept = store::raw(&mut tx, digest).await;
    tx.rollback().await?;
    match kept {
        Ok(bytes) => Ok(Ok(bytes)),
        Err(DbError::Inconsistent(why)) => Ok(Err(why)),
        Err(e) => Err(e),
    }
}
