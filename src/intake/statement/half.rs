//! Large files of which an interrupted import has posted a part: finished from the bytes that are kept, or, where
//! these cannot be read any more or the database refuses what they say, set aside by name.
//!
//! Invariants: nothing that an unfinished file brought proves a day: each of its account-days is disputed, in the
//! transaction that sets the file aside, until the same bytes are taken in as a whole, under whatever name; the
//! file holds nobody else up; an error that is not of its own making ends the import as any other does.
//! Absent on purpose: taking back what was posted. Each statement of it was proved when it came.

use sha2::{Digest, Sha256};

use super::super::ImportError;
use super::super::session::Session;
use super::streamed::{PIECES_AT_ONCE, Proof, post_proved, prove};
use super::{Arrived, is_settled, refuse};
use crate::base::{Defect, DefectCode};
use crate::feed::store::{self, Dispute, HalfPosted, PIECE_BYTES};
use crate::store::DbError;

/// Posts what is missing of files that an interrupted import has posted in part.
pub(in super::super) async fn finish_half_posted(
    session: &mut Session<'_>,
) -> Result<(), ImportError> {
    for half in std::mem::take(&mut session.half_posted) {
        tracing::warn!(
            file.name = %half.name,
            file.source_no = half.source_no,
            "a statement file was left half in the books; the rest of it follows"
        );
        session.opened(half.source_no, &half.name, "statement");
        session.narrow = true;
        // As it was read, and as its statements were proved, when its import began.
        let options = session.options.clone();
        session.options.assumed = half.assumed.clone();
        session.options.supersede = half.supersede;
        session.options.bank = None;
        let finished = finish(session, &half).await?;
        session.options = options;
        session.widen().await?;
        if let Err(why) = finished {
            set_aside(session, &half, &why).await?;
        }
    }
    Ok(())
}

/// Finishes a file, or says why that cannot be.
async fn finish(
    session: &mut Session<'_>,
    half: &HalfPosted,
) -> Result<Result<(), String>, ImportError> {
    let arrived = Arrived {
        source_no: half.source_no,
        name: &half.name,
        digest: half.digest.clone(),
        bytes: u64::try_from(half.bytes).unwrap_or(0),
    };
    is_settled(session, &arrived, &[]);
    let pieces = match kept_pieces(session, &half.digest).await {
        Err(ImportError::Db(DbError::Inconsistent(why))) => return Ok(Err(why)),
        pieces => pieces?,
    };
    match prove(session, &arrived, &pieces).await? {
        Ok(Proof::Holds(held)) => match post_proved(session, &arrived, (&pieces, held)).await {
            // It would be refused whenever it is tried.
            Err(ImportError::Db(e)) if e.may_be_of_the_data() => Ok(Err(with_cause(&e))),
            posted => posted.map(Ok),
        },
        Ok(Proof::Refused(why)) => {
            let why = why.first().map(ToString::to_string).unwrap_or_default();
            Ok(Err(format!("it was proved and is not any more: {why}")))
        }
        Ok(Proof::Whole) => {
            let why = "it was read statement by statement and cannot be any more";
            Ok(Err(why.to_owned()))
        }
        Err(why) => Ok(Err(why)),
    }
}

fn with_cause(e: &DbError) -> String {
    let cause = std::error::Error::source(e);
    cause.map_or_else(|| e.to_string(), |cause| format!("{e}: {cause}"))
}

/// Digests of the pieces of a kept file. One that a feed had brought before it was read in pieces is kept as a
/// whole, and is cut again here: its pieces were kept before anything of it was posted.
async fn kept_pieces(session: &Session<'_>, digest: &[u8]) -> Result<Vec<Vec<u8>>, ImportError> {
    let mut tx = session.db.begin_read().await?;
    let pieces = store::raw_pieces(&mut tx, digest).await?;
    if !pieces.is_empty() {
        tx.rollback().await?;
        return Ok(pieces);
    }
    let whole = store::raw(&mut tx, digest).await?;
    tx.rollback().await?;
    let cut: Vec<(Vec<u8>, Vec<u8>)> = (whole.chunks(PIECE_BYTES))
        .map(|piece| (Sha256::digest(piece).to_vec(), piece.to_vec()))
        .collect();
    for some in cut.chunks(PIECES_AT_ONCE) {
        let mut tx = session.begin_write().await?;
        store::keep_pieces(&mut tx, some).await?;
        tx.commit().await?;
    }
    Ok(cut.into_iter().map(|(digest, _)| digest).collect())
}

/// Claims of unfinished files that a person's word settles: another file states the day as it stands.
pub(super) fn settled(claims: &[Dispute], source_no: i64) -> impl Iterator<Item = Dispute> {
    let open = |d: &&Dispute| d.settled == 0 && d.claimant.starts_with(store::UNFINISHED_CLAIMANT);
    claims.iter().filter(open).map(move |d| Dispute {
        settled: 1,
        version: d.version + 1,
        source_no,
        ..d.clone()
    })
}

/// Leaves a file as it is: what it brought proves nothing, and others go on.
async fn set_aside(
    session: &mut Session<'_>,
    half: &HalfPosted,
    why: &str,
) -> Result<(), ImportError> {
    let again = if half.supersede {
        " with --supersede"
    } else {
        ""
    };
    let found = format!(
        "only a part of the file is in the books and the rest cannot follow: {why}; the days it brought are \
         disputed until that is mended and it is given again{again}, or another file that states them is with \
         --supersede"
    );
    tracing::error!(file.name = %half.name, file.source_no = half.source_no, why, "a file stays half in the books");
    let defect = Defect::new(DefectCode::Unreadable, found).file(&half.name);
    refuse(session, half.source_no, vec![defect]);
    if let Some(result) = session.file_result(half.source_no) {
        result.outcome = store::UNFINISHED;
    }
    let mut tx = session.begin_write().await?;
    let days = store::days_of_file(&mut tx, half.source_no).await?;
    let keys: Vec<(i64, i64, i64)> = (days.iter())
        .map(|d| (d.inst_id, d.account_no, d.day))
        .collect();
    let claimant = store::unfinished_claimant(&half.digest, &half.name);
    let known = store::disputes(&mut tx, &keys).await?;
    let claims: Vec<Dispute> = (days.iter().zip(&keys))
        .map(|(day, key)| {
            let own = (known.iter())
                .find(|d| d.claimant == claimant && (d.inst_id, d.account_no, d.day) == *key);
            Dispute {
                inst_id: day.inst_id,
                account_no: day.account_no,
                day: day.day,
                claimant: claimant.clone(),
                version: own.map_or(1, |d| d.version + 1),
                source_no: half.source_no,
                opening_fen: day.opening_fen,
                closing_fen: day.closing_fen,
                // Of no lines whatever, so that nothing that stands settles it.
                lines_digest: Vec::new(),
                settled: 0,
            }
        })
        .collect();
    store::append_disputes(&mut tx, &claims).await?;
    session.close_file(&mut tx, half.source_no).await?;
    Ok(tx.commit().await?)
}
