//! Statement files: kept by digest, parsed, proved, compared with what is stored.
//!
//! A file whose bytes were taken before is a no-op; one that was read with the help of settings is so under
//! the same settings, and is refused under others. A file that cannot be read, does not balance or names
//! an account nobody registered is quarantined whole with its reason; its bytes are kept, and it may be
//! sent again once the cause is mended. Of a statement that can be used, each day is judged for itself
//! ([`life`]): new, the same again, a revision, or a contradiction, which is kept as a dispute. A page
//! whose neighbour is missing waits for it. A large file of a format that can be read so is taken statement
//! by statement ([`streamed`]).

mod bundle;
mod half;
mod life;
mod plan;
mod post;
mod reading;
mod stored;
mod streamed;

use std::collections::BTreeSet;
use std::io::Read;

use sha2::{Digest, Sha256};

use super::bundle::Input;
use super::session::Session;
use super::{ImportError, STATEMENT_BYTES_MAX};
use crate::base::{Defect, DefectCode};
use crate::feed::store::{self, TakenFile};
use crate::wire::{self, Assumptions, Statement};

pub(super) use bundle::{Unexplained, bundle_days, bundle_lines};
pub(super) use half::finish_half_posted;
use plan::Plan;

/// A file whose bytes are kept.
struct Arrived<'f> {
    source_no: i64,
    name: &'f str,
    digest: Vec<u8>,
    bytes: u64,
}

/// Takes one statement file in.
pub(super) async fn take_in(session: &mut Session<'_>, file: &Input) -> Result<(), ImportError> {
    if file.size() > session.options.whole_bytes_max && streamed::suits(file) {
        return streamed::take_in(session, file).await;
    }
    let bytes = match read(file) {
        Ok(bytes) => bytes,
        Err(defect) => return refuse_unread(session, &file.name, defect).await,
    };
    let digest = Sha256::digest(&bytes).to_vec();
    let (source_no, taken) = session.keep_file(&file.name, (&digest, &bytes)).await?;
    session.step_progress(bytes.len() as u64);
    session.note_statements(source_no, &file.name, &bytes);
    let arrived = Arrived {
        source_no,
        name: &file.name,
        digest,
        bytes: bytes.len() as u64,
    };
    if is_settled(session, &arrived, &taken) {
        return Ok(());
    }
    take_whole(session, &arrived, &bytes).await
}

/// Notes a file, and whether nothing is left to be done with it: its bytes are known, or cannot be read
/// otherwise than before.
fn is_settled(session: &mut Session<'_>, arrived: &Arrived<'_>, taken: &[TakenFile]) -> bool {
    let assumed = session.options.assumed.clone();
    let known = taken.iter().find(|t| t.assumed.hold_under(&assumed));
    let again = known.map(|first| session.outcome_again(first));
    if let Some(result) = session.file_result(arrived.source_no) {
        result.digest.clone_from(&arrived.digest);
        result.bytes = i64::try_from(arrived.bytes).unwrap_or(i64::MAX);
        result.outcome = again.unwrap_or(result.outcome);
    }
    if known.is_some() {
        session.count(arrived.source_no).same += 1;
        // Taken again since, it is the word that stands.
        if again == Some("known") && taken.iter().all(|t| t.is_corrected) {
            let found = "these bytes were corrected since; they change nothing, unless the file is imported with \
                         --supersede";
            session.note_defect(Defect::new(DefectCode::Conflict, found).file(arrived.name));
        }
        return true;
    }
    let contradicts = |with: &&Assumptions| with.contradict(&assumed);
    let Some(with) = taken.iter().map(|t| &t.assumed).find(contradicts) else {
        return false;
    };
    let found = format!(
        "the same bytes were taken in as {with} by settings, which now say {assumed}; \
         if these are right, import the file with --supersede"
    );
    let defect = Defect::new(DefectCode::Conflict, found).file(arrived.name);
    refuse(session, arrived.source_no, vec![defect]);
    true
}

/// Proves and posts a file that is at hand as a whole.
async fn take_whole(
    session: &mut Session<'_>,
    arrived: &Arrived<'_>,
    bytes: &[u8],
) -> Result<(), ImportError> {
    let (source_no, name) = (arrived.source_no, arrived.name);
    let assumed = session.options.assumed.clone();
    match with_waiting_pages(session, bytes, (source_no, &assumed)).await? {
        Ok((mut plan, pages)) => {
            for remark in std::mem::take(&mut plan.remarks) {
                session.note_defect(remark.file(name));
            }
            session.note_assumed(source_no, pages.assumed.clone());
            let pages = post::Pages {
                digest: &arrived.digest,
                ..pages
            };
            post::post(session, plan, pages, (source_no, name)).await
        }
        Err(defects) => {
            let named = defects.into_iter().map(|d| d.file(name)).collect();
            refuse(session, source_no, named);
            Ok(())
        }
    }
}

/// Reads a file, together with pages that have waited for it, and proves it.
async fn with_waiting_pages(
    session: &Session<'_>,
    bytes: &[u8],
    (source_no, assumed): (i64, &Assumptions),
) -> Result<Result<(Plan, post::Pages<'static>), Vec<Defect>>, ImportError> {
    let (statements, remarks) = match plan::statements(bytes, assumed) {
        Ok(read) => read,
        Err(defects) => return Ok(Err(defects)),
    };
    let mut filled = Assumptions::default();
    (statements.iter()).for_each(|statement| filled.add(&statement.assumed));
    // Pages that are whole among themselves need none that wait.
    let mut statements = wire::join_pages(statements);
    let written = |s: &Statement| s.account.clone().unwrap_or_default();
    let paged: BTreeSet<String> = (statements.iter())
        .filter(|s| wire::is_page(s))
        .map(written)
        .collect();
    let paged: Vec<String> = paged.into_iter().collect();
    if !paged.is_empty() {
        let mut tx = session.db.begin_read().await?;
        let waiting = store::waiting_pages(&mut tx, &paged).await?;
        tx.rollback().await?;
        for (content, with) in waiting {
            // It was read when it came; a program that reads it no longer leaves it waiting.
            if let Ok((earlier, _)) = plan::statements(&content, &with) {
                let pages = earlier.into_iter().filter(wire::is_page);
                statements.extend(pages.filter(|s| paged.contains(&written(s))));
            }
        }
    }
    let joined = wire::join_pages(statements);
    Ok(
        match plan::plan(
            &session.registry,
            &joined,
            (source_no, assumed, session.options.bank.as_deref()),
        ) {
            Ok(mut plan) => {
                plan.remarks.extend(remarks);
                let pages = post::Pages {
                    digest: &[],
                    accounts: paged,
                    assumed: filled,
                    unfinished: false,
                };
                Ok((plan, pages))
            }
            Err(why) => Err(located(why, remarks)),
        },
    )
}

/// Reasons to refuse a file; where its running balances are one, the remark that names the row.
fn located(mut why: Vec<Defect>, remarks: Vec<Defect>) -> Vec<Defect> {
    let unordered = |d: &Defect| d.code == DefectCode::OutOfOrder;
    let mut rows = remarks.into_iter().filter(unordered).peekable();
    if rows.peek().is_some() {
        why.retain(|d| !unordered(d));
    }
    why.extend(rows);
    why
}

fn read(file: &Input) -> Result<Vec<u8>, Defect> {
    let unreadable = |e: std::io::Error| Defect::new(DefectCode::Unreadable, e.to_string());
    let too_large = || {
        let found = format!(
            "the file has more than {STATEMENT_BYTES_MAX} bytes; only camt files may be larger: \
             ask the bank for files of fewer days or accounts"
        );
        Defect::new(DefectCode::TooLarge, found)
    };
    if file.size() > STATEMENT_BYTES_MAX {
        return Err(too_large());
    }
    // What a size says is not believed, only made room for at once.
    let mut bytes = Vec::with_capacity(usize::try_from(file.size()).unwrap_or(0));
    file.open(STATEMENT_BYTES_MAX)
        .map_err(unreadable)?
        .take(STATEMENT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > STATEMENT_BYTES_MAX {
        return Err(too_large());
    }
    Ok(bytes)
}

/// Numbers and quarantines a file whose bytes cannot be had.
pub(super) async fn refuse_unread(
    session: &mut Session<'_>,
    name: &str,
    defect: Defect,
) -> Result<(), ImportError> {
    let source_no = session.open_file(name, "statement").await?;
    refuse(session, source_no, vec![defect.file(name)]);
    Ok(())
}

/// Quarantines a whole file.
fn refuse(session: &mut Session<'_>, source_no: i64, defects: Vec<Defect>) {
    let no_statement =
        |d: &Defect| matches!(d.code, DefectCode::UnknownFormat | DefectCode::Unreadable);
    let unreadable = defects.iter().any(no_statement);
    for defect in defects {
        session.quarantine(source_no, defect, "whole file".to_owned());
    }
    if let Some(result) = session.file_result(source_no) {
        result.outcome = if unreadable || result.bytes == 0 {
            "unreadable"
        } else {
            "quarantined"
        };
    }
}
