//! Large statement files: kept in pieces, then read twice from there, statement by statement. The first
//! time everything is proved and nothing posted, the second time it is posted, some statements in each
//! transaction.
//!
//! Invariants: a file that cannot be used is refused whole, with every reason, before anything of it is in
//! the books; what is posted is what was proved, since both are read from the bytes that are kept; a file of
//! which a part is posted is not known yet, and whatever import comes next finishes it first ([`super::half`]):
//! statements that are there already are found equal. Memory is that of the largest statement, or of one part.
//! Absent on purpose: waiting for pages in other files. A file that needs them is read as a whole where it is
//! not too large for that, and refused otherwise.

use std::io::{BufRead, Read};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::super::bundle::Input;
use super::super::session::Session;
use super::super::{ImportError, STATEMENT_BYTES_MAX, STATEMENT_ENTRIES_MAX, STREAMED_BYTES_MAX};
use super::plan::Plan;
use super::reading::Reading;
use super::{Arrived, is_settled, located, plan, post, refuse, take_whole};
use crate::base::{Defect, DefectCode};
use crate::feed::store::{self, PIECE_BYTES};
use crate::registry::Registry;
use crate::store::DbError;
use crate::wire::{self, Assumptions, DEFECTS_MAX, Format, Statement};

/// Pieces kept in one transaction: a long one keeps other writers waiting.
pub(super) const PIECES_AT_ONCE: usize = 4;
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
pub(super) enum Proof {
    Holds(Held),
    Refused(Vec<Defect>),
    /// It must be read as a whole.
    Whole,
}

/// What is noted of a file that is proved.
pub(super) struct Held {
    remarks: Vec<Defect>,
    assumed: Assumptions,
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
        let reading = Reading::<(), _>::start(kept.pieces.clone(), move |bytes, _| {
            wire::inspect_with(&named, bytes, &assumed)
        });
        let inspected = reading.whole(session.db).await?;
        session.note_inspected(source_no, inspected);
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
    let (name, source_no) = (arrived.name, arrived.source_no);
    match prove(session, arrived, pieces).await? {
        Ok(Proof::Holds(held)) => post_proved(session, arrived, (pieces, held)).await,
        Ok(Proof::Refused(why)) => {
            let named = why.into_iter().map(|d| d.file(name)).collect();
            refuse(session, source_no, named);
            Ok(())
        }
        Ok(Proof::Whole) => {
            let mut tx = session.db.begin_read().await?;
            let bytes = store::raw(&mut tx, &arrived.digest).await?;
            tx.rollback().await?;
            take_whole(session, arrived, &bytes).await
        }
        Err(why) => {
            let defect = Defect::new(DefectCode::Unreadable, why).file(name);
            refuse(session, source_no, vec![defect]);
            Ok(())
        }
    }
}

/// Reads a kept file once and proves it; why that cannot be, where its bytes are not what was kept.
pub(super) async fn prove(
    session: &Session<'_>,
    arrived: &Arrived<'_>,
    pieces: &[Vec<u8>],
) -> Result<Result<Proof, String>, ImportError> {
    let terms = Terms::of(session, arrived);
    let reading = Reading::<(), _>::start(pieces.to_vec(), move |bytes, _| terms.prove(bytes));
    match reading.whole(session.db).await {
        Ok(proof) => Ok(Ok(proof)),
        Err(ImportError::Db(DbError::Inconsistent(why))) => Ok(Err(why)),
        Err(e) => Err(e),
    }
}

/// Posts a proved file.
pub(super) async fn post_proved(
    session: &mut Session<'_>,
    arrived: &Arrived<'_>,
    (pieces, held): (&[Vec<u8>], Held),
) -> Result<(), ImportError> {
    for remark in held.remarks {
        session.note_defect(remark.file(arrived.name));
    }
    session.note_assumed(arrived.source_no, held.assumed.clone());
    post_parts(session, arrived, (pieces, &held.assumed)).await
}

/// What a file is read and proved with.
struct Terms {
    registry: Arc<Registry>,
    assumed: Assumptions,
    bank: Option<String>,
    source_no: i64,
    bytes: u64,
    part_lines: usize,
}

/// Some statements of a proved file.
struct Part {
    plan: Plan,
    is_last: bool,
}

/// The account of a statement, its first and its last day.
type Span = ((i64, i64), i64, i64);

impl Terms {
    fn of(session: &Session<'_>, arrived: &Arrived<'_>) -> Terms {
        Terms {
            registry: Arc::clone(&session.registry),
            assumed: session.options.assumed.clone(),
            bank: session.options.bank.clone(),
            source_no: arrived.source_no,
            bytes: arrived.bytes,
            part_lines: session.options.group_lines,
        }
    }

    fn plan(&self, statements: &[Statement]) -> Result<Plan, Vec<Defect>> {
        let terms = (self.source_no, &self.assumed, self.bank.as_deref());
        plan::plan(&self.registry, statements, terms)
    }

    fn read(
        &self,
        bytes: impl BufRead,
        take: &mut dyn FnMut(Statement),
    ) -> Result<Vec<Defect>, Vec<Defect>> {
        let entries_max = STATEMENT_ENTRIES_MAX;
        wire::one_by_one(Format::Camt, bytes, &self.assumed, entries_max, take)
    }

    /// Reads a file to its end and proves every statement. Of each, only the account and the days are held.
    fn prove(&self, bytes: impl BufRead) -> Proof {
        let (mut spans, mut refused, mut paged) = (Vec::new(), Vec::new(), Vec::new());
        let mut filled = Assumptions::default();
        let mut planned = Vec::new();
        let read = self.read(bytes, &mut |statement| {
            filled.add(&statement.assumed);
            if wire::is_page(&statement) {
                paged.push(statement.account.unwrap_or_default());
                return;
            }
            match self.plan(std::slice::from_ref(&statement)) {
                Ok(plan) => {
                    spans.extend(plan.statements.iter().map(|s| -> Span {
                        let account = (s.key.inst_id, s.key.account_no);
                        (account, s.key.first_day, s.key.last_day)
                    }));
                    let room = DEFECTS_MAX.saturating_sub(planned.len());
                    planned.extend(plan.remarks.into_iter().take(room));
                }
                Err(why) if refused.len() < DEFECTS_MAX => refused.extend(why),
                Err(_) => {}
            }
        });
        let small = self.bytes <= STATEMENT_BYTES_MAX;
        let mut remarks = match read {
            Ok(_) if small && !paged.is_empty() => return Proof::Whole,
            Ok(remarks) => remarks,
            Err(why) if small && why.iter().any(|d| d.code == DefectCode::TooLarge) => {
                return Proof::Whole;
            }
            Err(why) => return Proof::Refused(why),
        };
        refused.extend(paged.iter().take(DEFECTS_MAX).map(|account| {
            let found = format!(
                "a page of account {account} has no neighbour in the file; a file of more than \
                 {STATEMENT_BYTES_MAX} bytes must have all pages of its statements"
            );
            Defect::new(DefectCode::Gap, found)
        }));
        if says_a_day_twice(spans) {
            let found = "the file states one account's day twice";
            refused.push(Defect::new(DefectCode::Duplicate, found));
        }
        if !refused.is_empty() {
            return Proof::Refused(located(refused, remarks));
        }
        remarks.extend(planned);
        Proof::Holds(Held {
            remarks,
            assumed: filled,
        })
    }

    /// Reads a proved file again and gives it part by part.
    fn parts(&self, bytes: impl BufRead, give: &mut dyn FnMut(Part)) -> Result<(), Vec<Defect>> {
        let (mut statements, mut weight) = (Vec::new(), 0);
        let mut refused = Vec::new();
        self.read(bytes, &mut |statement| {
            let more = statement.entries.len() + STATEMENT_WEIGHT;
            if weight > 0 && weight + more > self.part_lines {
                let is_last = false;
                match self.plan(&std::mem::take(&mut statements)) {
                    Ok(plan) => give(Part { plan, is_last }),
                    Err(why) => refused.extend(why),
                }
                weight = 0;
            }
            weight += more;
            statements.push(statement);
        })?;
        let plan = self.plan(&statements)?;
        if !refused.is_empty() {
            return Err(refused);
        }
        let is_last = true;
        give(Part { plan, is_last });
        Ok(())
    }
}

/// A statement covers every day from its first to its last.
fn says_a_day_twice(mut spans: Vec<Span>) -> bool {
    spans.sort_unstable();
    (spans.windows(2)).any(|pair| pair[0].0 == pair[1].0 && pair[1].1 <= pair[0].2)
}

/// Posts a proved file, each part in a transaction.
async fn post_parts(
    session: &mut Session<'_>,
    arrived: &Arrived<'_>,
    (pieces, assumed): (&[Vec<u8>], &Assumptions),
) -> Result<(), ImportError> {
    let terms = Terms::of(session, arrived);
    let mut reading = Reading::start(pieces.to_vec(), move |bytes, give| terms.parts(bytes, give));
    let mut is_over = false;
    while let Some(part) = reading.next(session.db).await? {
        is_over = part.is_last;
        let pages = post::Pages {
            digest: &arrived.digest,
            accounts: Vec::new(),
            assumed: assumed.clone(),
            unfinished: !part.is_last,
        };
        post::post(session, part.plan, pages, (arrived.source_no, arrived.name)).await?;
    }
    reading.end().await?.map_err(|why| {
        let why = why.first().map(ToString::to_string).unwrap_or_default();
        let found = format!("{} was proved and is not any more: {why}", arrived.name);
        DbError::Inconsistent(found)
    })?;
    if is_over {
        return Ok(());
    }
    let found = format!("{} was proved and has no end", arrived.name);
    Err(DbError::Inconsistent(found).into())
}
