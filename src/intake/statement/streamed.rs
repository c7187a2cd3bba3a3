//! Large statement files: kept in pieces, then read twice from there, statement by statement. The first
//! time everything is proved and nothing posted, the second time it is posted, some statements in each
//! transaction.
//!
//! Invariants: a file that cannot be used is refused whole, with every reason, before anything of it is in
//! the books; what is posted is what was proved, since both are read from the bytes that are kept; a file of
//! which a part is posted is not known yet, and whatever import comes next posts the rest first, from the
//! kept bytes ([`finish_half_posted`]): statements that are there already are found equal. Memory is that of
//! the largest statement, or of one group.
//! Absent on purpose: waiting for pages in other files. A file that needs them is read as a whole where it is
//! not too large for that, and refused otherwise.

use std::io::Read;

use sha2::{Digest, Sha256};

use super::super::bundle::Input;
use super::super::session::Session;
use super::super::{ImportError, STATEMENT_BYTES_MAX, STATEMENT_ENTRIES_MAX, STREAMED_BYTES_MAX};
use super::reading::Reading;
use super::{Arrived, is_settled, located, plan, post, refuse, take_whole};
use crate::base::{Defect, DefectCode};
use crate::feed::store::{self, HalfPosted, PIECE_BYTES};
use crate::store::DbError;
use crate::wire::{self, Assumptions, DEFECTS_MAX, Format, Statement};

/// Pieces kept in one transaction: a long one keeps other writers waiting.
const PIECES_AT_ONCE: usize = 8;
/// How much of a file tells its format.
const HEAD_BYTES: u64 = 64 << 10;
/// What a statement counts beside its lines in a group, for its days.
const STATEMENT_WEIGHT: usize = 20;

/// A file kept in pieces.
struct Kept {
    digest: Vec<u8>,
    bytes: u64,
    pieces: Vec<Vec<u8>>,
}

/// What the first reading says.
enum Proof {
    Holds {
        remarks: Vec<Defect>,
        assumed: Assumptions,
    },
    Refused(Vec<Defect>),
    /// It must be read as a whole.
    Whole,
}

/// Whether a file can be read statement by statement.
pub(super) fn suits(file: &Input) -> bool {
    let mut head = Vec::new();
    let read = file
        .open(HEAD_BYTES)
        .and_then(|source| source.take(HEAD_BYTES).read_to_end(&mut head));
    read.is_ok() && wire::sniff(&head).is_some_and(Format::streams)
}

/// Takes a large file in.
pub(super) async fn take_in(session: &mut Session<'_>, file: &Input) -> Result<(), ImportError> {
    session.narrow = true;
    let source_no = session.open_file(&file.name, "statement").await?;
    match keep(session, file).await? {
        Ok(kept) => take_kept(session, kept, (source_no, &file.name)).await?,
        Err(defect) => refuse(session, source_no, vec![defect.file(&file.name)]),
    }
    session.widen().await?;
    Ok(())
}

async fn take_kept(
    session: &mut Session<'_>,
    kept: Kept,
    (source_no, name): (i64, &str),
) -> Result<(), ImportError> {
    let mut tx = session.begin_write().await?;
    let taken = if session.options.supersede {
        Vec::new()
    } else {
        store::taken_files(&mut tx, &kept.digest).await?
    };
    store::keep_raw_of(&mut tx, &kept.digest, kept.bytes, &kept.pieces).await?;
    tx.commit().await?;
    if session.summary.dry_run {
        let (named, assumed) = (name.to_owned(), session.options.assumed.clone());
        let mut reading = Reading::start(&kept.pieces, move |bytes, _| {
            wire::inspect_with(&named, bytes, &assumed)
        });
        while reading.next(session.db).await?.is_some() {}
        session.note_inspected(source_no, reading.end().await?);
    }
    let arrived = Arrived {
        source_no,
        name,
        digest: kept.digest,
        bytes: kept.bytes,
    };
    if is_settled(session, &arrived, &taken) {
        return Ok(());
    }
    prove_and_post(session, &arrived, &kept.pieces).await
}

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
        finish(session, &half).await?;
        session.options = options;
        session.widen().await?;
    }
    Ok(())
}

async fn finish(session: &mut Session<'_>, half: &HalfPosted) -> Result<(), ImportError> {
    let mut tx = session.db.begin_read().await?;
    let pieces = store::raw_pieces(&mut tx, &half.digest).await?;
    tx.rollback().await?;
    let arrived = Arrived {
        source_no: half.source_no,
        name: &half.name,
        digest: half.digest.clone(),
        bytes: u64::try_from(half.bytes).unwrap_or(0),
    };
    is_settled(session, &arrived, &[]);
    prove_and_post(session, &arrived, &pieces).await
}

/// Keeps a file's bytes, a piece at a time.
async fn keep(
    session: &mut Session<'_>,
    file: &Input,
) -> Result<Result<Kept, Defect>, ImportError> {
    let unreadable = |e: std::io::Error| Defect::new(DefectCode::Unreadable, e.to_string());
    let mut source = match file.open(STREAMED_BYTES_MAX) {
        Ok(source) => source,
        Err(e) => return Ok(Err(unreadable(e))),
    };
    let mut digest = Sha256::new();
    let (mut bytes, mut pieces, mut unkept) = (0_u64, Vec::new(), Vec::new());
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let next = (&mut source).take(PIECE_BYTES as u64);
        if let Err(e) = { next }.read_to_end(&mut piece) {
            return Ok(Err(unreadable(e)));
        }
        let over = piece.is_empty();
        if !over {
            bytes += piece.len() as u64;
            session.step_progress(piece.len() as u64);
            digest.update(&piece);
            let own = Sha256::digest(&piece).to_vec();
            pieces.push(own.clone());
            unkept.push((own, piece));
        }
        if bytes > STREAMED_BYTES_MAX {
            let found = format!("the file has more than {STREAMED_BYTES_MAX} bytes");
            return Ok(Err(Defect::new(DefectCode::TooLarge, found)));
        }
        if unkept.len() == PIECES_AT_ONCE || over {
            let mut tx = session.begin_write().await?;
            store::keep_pieces(&mut tx, &unkept).await?;
            tx.commit().await?;
            unkept.clear();
        }
        if over {
            break;
        }
    }
    let digest = digest.finalize().to_vec();
    Ok(Ok(Kept {
        digest,
        bytes,
        pieces,
    }))
}

async fn prove_and_post(
    session: &mut Session<'_>,
    arrived: &Arrived<'_>,
    pieces: &[Vec<u8>],
) -> Result<(), ImportError> {
    let name = arrived.name;
    match prove(session, arrived, pieces).await? {
        Proof::Holds { remarks, assumed } => {
            for remark in remarks {
                session.note_defect(remark.file(name));
            }
            session.note_assumed(arrived.source_no, assumed.clone());
            post_groups(session, arrived, (pieces, &assumed)).await
        }
        Proof::Refused(why) => {
            let named = why.into_iter().map(|d| d.file(name)).collect();
            refuse(session, arrived.source_no, named);
            Ok(())
        }
        Proof::Whole => {
            let mut tx = session.db.begin_read().await?;
            let bytes = store::raw(&mut tx, &arrived.digest).await?;
            tx.rollback().await?;
            take_whole(session, arrived, &bytes).await
        }
    }
}

/// Starts to read a file's statements.
fn statements(
    pieces: &[Vec<u8>],
    assumed: &Assumptions,
) -> Reading<Result<Vec<Defect>, Vec<Defect>>> {
    let assumed = assumed.clone();
    Reading::start(pieces, move |bytes, take| {
        wire::one_by_one(Format::Camt, bytes, &assumed, STATEMENT_ENTRIES_MAX, take)
    })
}

/// Reads a file to its end and proves every statement. Of each, only the account and the days are held.
async fn prove(
    session: &Session<'_>,
    arrived: &Arrived<'_>,
    pieces: &[Vec<u8>],
) -> Result<Proof, ImportError> {
    let given = &session.options.assumed;
    let terms = (arrived.source_no, given, session.options.bank.as_deref());
    let (mut spans, mut refused, mut paged) = (Vec::new(), Vec::new(), Vec::new());
    let mut filled = Assumptions::default();
    let mut reading = statements(pieces, given);
    while let Some(statement) = reading.next(session.db).await? {
        filled.add(&statement.assumed);
        if wire::is_page(&statement) {
            paged.push(statement.account.unwrap_or_default());
            continue;
        }
        match plan::plan(&session.registry, std::slice::from_ref(&statement), terms) {
            Ok(plan) => spans.extend(plan.statements.into_iter().map(|s| {
                let account = (s.key.inst_id, s.key.account_no);
                (account, s.key.first_day, s.key.last_day)
            })),
            Err(why) if refused.len() < DEFECTS_MAX => refused.extend(why),
            Err(_) => {}
        }
    }
    let small = arrived.bytes <= STATEMENT_BYTES_MAX;
    let remarks = match reading.end().await? {
        Ok(remarks) => remarks,
        Err(why) if small && why.iter().any(|d| d.code == DefectCode::TooLarge) => {
            return Ok(Proof::Whole);
        }
        Err(why) => return Ok(Proof::Refused(why)),
    };
    if small && !paged.is_empty() {
        return Ok(Proof::Whole);
    }
    for account in paged.iter().take(DEFECTS_MAX) {
        let found = format!(
            "a page of account {account} has no neighbour in the file; a file of more than \
             {STATEMENT_BYTES_MAX} bytes must have all pages of its statements"
        );
        refused.push(Defect::new(DefectCode::Gap, found));
    }
    // A statement covers every day from its first to its last.
    spans.sort_unstable();
    if (spans.windows(2)).any(|pair| pair[0].0 == pair[1].0 && pair[1].1 <= pair[0].2) {
        let found = "the file states one account's day twice";
        refused.push(Defect::new(DefectCode::Duplicate, found));
    }
    Ok(if refused.is_empty() {
        Proof::Holds {
            remarks,
            assumed: filled,
        }
    } else {
        Proof::Refused(located(refused, remarks))
    })
}

/// Reads a proved file again and posts it, some statements at a time.
async fn post_groups(
    session: &mut Session<'_>,
    arrived: &Arrived<'_>,
    (pieces, assumed): (&[Vec<u8>], &Assumptions),
) -> Result<(), ImportError> {
    let mut reading = statements(pieces, &session.options.assumed);
    let (mut group, mut weight) = (Vec::new(), 0);
    while let Some(statement) = reading.next(session.db).await? {
        let more = statement.entries.len() + STATEMENT_WEIGHT;
        if weight > 0 && weight + more > session.options.group_lines {
            post_group(
                session,
                arrived,
                (std::mem::take(&mut group), assumed, true),
            )
            .await?;
            weight = 0;
        }
        weight += more;
        group.push(statement);
    }
    if reading.end().await?.is_err() {
        return Err(no_longer(arrived));
    }
    post_group(session, arrived, (group, assumed, false)).await
}

async fn post_group(
    session: &mut Session<'_>,
    arrived: &Arrived<'_>,
    (group, assumed, unfinished): (Vec<Statement>, &Assumptions, bool),
) -> Result<(), ImportError> {
    let (given, bank) = (&session.options.assumed, session.options.bank.as_deref());
    let terms = (arrived.source_no, given, bank);
    let plan = plan::plan(&session.registry, &group, terms).map_err(|_| no_longer(arrived))?;
    drop(group);
    let pages = post::Pages {
        digest: &arrived.digest,
        accounts: Vec::new(),
        assumed: assumed.clone(),
        unfinished,
    };
    post::post(session, plan, pages, (arrived.source_no, arrived.name)).await
}

fn no_longer(arrived: &Arrived<'_>) -> ImportError {
    let found = format!("{} was proved and is not any more", arrived.name);
    DbError::Inconsistent(found).into()
}
