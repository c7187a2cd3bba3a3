//! First half of the story: bytes to books.
//!
//! [`import`] takes bundles (folders and zips of interchange files) and statement files. It lands in
//! batches, each one transaction with its running totals, so a killed import is resumed by giving the
//! same command again: rows that landed are found equal. Readers see an import when it is complete.
//! [`take_deliveries`] takes what feeds brought; [`decisions`] records what people decide beside the rules.
//!
//! Invariants: a row that cannot be used changes nothing stored; a statement file that cannot be used is
//! quarantined whole, and one that can is taken in one transaction, or, where it is large, in several, of which
//! a later import posts those that are missing before it does anything else; the order of rows in a file does
//! not change the books. [`rehearse`] runs the same code and takes everything back: what it says is what an import would have said at that moment.

mod bundle;
pub mod decisions;
mod deliveries;
mod exempt;
mod facts;
mod opened;
mod own;
mod records;
mod rows;
mod session;
mod stated;
mod statement;
mod waits;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::base::{Defect, DefectCode};
use crate::store::lock::Job;
use crate::store::{Db, DbError};
use crate::wire::Assumptions;
use crate::wire::interchange::FileKind;

pub use exempt::{Exempt, exempt};
use session::Session;
pub use stated::{Becomes, Stated};

pub use deliveries::{FeedTerms, TermsOfFeeds, decide, take_deliveries};

/// The largest statement file of a format that is read as a whole.
pub const STATEMENT_BYTES_MAX: u64 = 64 << 20;
/// The largest statement file of a format that is read statement by statement.
pub const STREAMED_BYTES_MAX: u64 = 4 << 30;
/// The largest file of such a format that is read as a whole all the same: in one step, and in memory.
pub const WHOLE_BYTES_MAX: u64 = 16 << 20;
/// The most entries of one statement in a file that is read statement by statement: bounds the memory of an
/// import.
pub const STATEMENT_ENTRIES_MAX: usize = 200_000;
/// Lines of such a file that are posted in one transaction, whole statements.
pub const GROUP_LINES: usize = 5_000;
/// Rows collected before they are sorted and posted. Bounds the memory of an import.
pub const BATCH_ROWS: usize = 1_000_000;

/// Unpacked bytes of one entry of a zip.
pub const ZIP_ENTRY_BYTES_MAX: u64 = 16 << 30;

/// How an import is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rows collected before they are posted.
    pub batch_rows: usize,
    /// Go on even where an interrupted import of other inputs left a bundle half in the books.
    pub adopt: bool,
    /// What the statement files say holds against what other statements said of the same days: settles a
    /// dispute.
    pub supersede: bool,
    /// Unpacked bytes of one entry of a zip.
    pub zip_entry_bytes_max: u64,
    /// Bytes of a statement file that is read as a whole, whatever its format.
    pub whole_bytes_max: u64,
    /// Lines of a larger one that are posted together.
    pub group_lines: usize,
    /// What statement files may leave open.
    pub assumed: Assumptions,
    /// The bank whose accounts, and no others, statement files may state; any bank's where absent.
    pub bank: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            batch_rows: BATCH_ROWS,
            adopt: false,
            supersede: false,
            zip_entry_bytes_max: ZIP_ENTRY_BYTES_MAX,
            whole_bytes_max: WHOLE_BYTES_MAX,
            group_lines: GROUP_LINES,
            assumed: Assumptions::default(),
            bank: None,
        }
    }
}

/// A file to take in, under the name people know it by.
#[derive(Clone, Debug)]
pub struct Given {
    pub path: PathBuf,
    /// Tells the kind of an interchange file, as its name does; never used as a path.
    pub name: String,
}

/// Counts of one file, as the import ends with them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FileSummary {
    pub file: String,
    pub kind: String,
    pub outcome: String,
    pub new: i64,
    pub same: i64,
    pub revised: i64,
    pub waiting: i64,
    pub quarantined: i64,
    /// What the file does not say itself and was taken from settings; left out where nothing was.
    #[serde(skip_serializing_if = "Assumptions::is_empty")]
    pub assumed: Assumptions,
}

/// What an import did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    pub import_no: i64,
    pub files: Vec<FileSummary>,
    /// Rows and files that could not be used, the first of them in full.
    pub quarantined: Vec<Defect>,
    /// Rows that were used but say something questionable, the first of them in full.
    pub defects: Vec<Defect>,
    pub defects_total: u64,
    /// Said once: files and columns the contract does not name.
    pub ignored: Vec<String>,
    /// An import that was interrupted and is completed with this one.
    pub resumed: Option<String>,
    /// Everything above would be; nothing was stored.
    pub dry_run: bool,
    /// Of a rehearsal: what each statement says and what would become of it, the first of them in full.
    pub statements: Vec<Stated>,
    pub statements_total: u64,
}

/// Defects a summary repeats in full; the rest are counted.
pub const SUMMARY_DEFECTS_MAX: usize = 20;

/// Statements a rehearsal repeats in full; the rest are counted.
pub const SUMMARY_STATEMENTS_MAX: usize = 1_000;

/// Progress of an import, for whoever shows it.
pub trait Progress: Send + Sync {
    /// Bytes to be read in all.
    fn total(&mut self, bytes: u64);
    /// A file has been started.
    fn file(&mut self, name: &str);
    /// Bytes read so far in all.
    fn bytes(&mut self, done: u64);
    /// Everything has been said.
    fn done(&mut self);
}

/// Shows nothing.
pub struct Silent;

impl Progress for Silent {
    fn total(&mut self, _: u64) {}
    fn file(&mut self, _: &str) {}
    fn bytes(&mut self, _: u64) {}
    fn done(&mut self) {}
}

/// Why an import could not work at all.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("reading {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{0}")]
    Refused(String),
    #[error("nothing to import: {0}")]
    Nothing(String),
    #[error(
        "an import of {0} was interrupted and is half in the books; give it again first \
         (jintuo import {0}), or add --adopt-interrupted to keep what it brought as it is"
    )]
    HalfTaken(String),
}

/// Takes in folders, zips and files.
///
/// # Errors
/// A database error, or nothing that could be read. Bad rows and bad files are no errors: they are
/// quarantined and named in the summary.
pub async fn import(
    db: &Db,
    inputs: &[PathBuf],
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Summary, ImportError> {
    let names: Vec<String> = inputs.iter().map(|p| whole_path(p)).collect();
    let given = given(inputs);
    work(db, &given, &names.join(" "), options, false, progress).await
}

/// Says what [`import`] would do, and stores nothing: the import is played through and taken back.
///
/// # Errors
/// As [`import`].
pub async fn rehearse(
    db: &Db,
    inputs: &[PathBuf],
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Summary, ImportError> {
    let names: Vec<String> = inputs.iter().map(|p| whole_path(p)).collect();
    play(db, &given(inputs), &names.join(" "), options, progress).await
}

/// [`rehearse`] for files that lie under other names than their own.
///
/// # Errors
/// As [`import`].
pub async fn rehearse_files(
    db: &Db,
    given: &[Given],
    options: &Options,
) -> Result<Summary, ImportError> {
    play(db, given, "a preview", options, &mut Silent).await
}

async fn play(
    db: &Db,
    given: &[Given],
    source: &str,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Summary, ImportError> {
    let rehearsal = db.rehearse(Job::Import).await?;
    let done = work(rehearsal.db(), given, source, options, true, progress).await;
    rehearsal.end().await?;
    done
}

async fn work(
    db: &Db,
    given: &[Given],
    source: &str,
    options: &Options,
    dry_run: bool,
    progress: &mut dyn Progress,
) -> Result<Summary, ImportError> {
    let lock = db.lock(Job::Import).await?;
    let mut files = Vec::new();
    let mut ignored = Vec::new();
    let mut unreadable = Vec::new();
    for input in given {
        match bundle::open(input, &mut files, &mut ignored) {
            Ok(()) => {}
            Err(source) => unreadable
                .push(Defect::new(DefectCode::Unreadable, source.to_string()).file(&input.name)),
        }
    }
    if files.is_empty() {
        let why = unreadable.first().map_or_else(
            || "no file of a bundle was found; see interchange files in the README".to_owned(),
            ToString::to_string,
        );
        return Err(ImportError::Nothing(why));
    }
    if !options.assumed.is_empty()
        && let Some(file) = files.iter().find(|file| file.kind().is_some())
    {
        let why = format!(
            "--account and --amount-unit are of statement files, and {} is of a bundle; give them apart",
            file.name
        );
        return Err(ImportError::Refused(why));
    }
    files.sort_by_key(bundle::Input::rank);
    progress.total(files.iter().map(bundle::Input::size).sum());
    let mut session = Session::open(db, &lock, source, options.clone(), progress).await?;
    session.summary.dry_run = dry_run;
    session.summary.ignored = ignored;
    for defect in unreadable {
        session.note_quarantined(defect);
    }
    take_in(&mut session, &files).await?;
    session.complete().await
}

/// Reads every file, parents before children; after each kind, the rows of it that waited.
async fn take_in(session: &mut Session<'_>, files: &[bundle::Input]) -> Result<(), ImportError> {
    statement::finish_half_posted(session).await?;
    for kind in FileKind::ALL {
        session.retry_waiting(kind).await?;
        for file in files.iter().filter(|f| f.kind() == Some(kind)) {
            session.bundle_file(kind, file).await?;
        }
    }
    session.flush().await?;
    for file in files.iter().filter(|f| f.kind().is_none()) {
        statement::take_in(session, file).await?;
    }
    Ok(())
}

fn given(inputs: &[PathBuf]) -> Vec<Given> {
    let name = |path: &PathBuf| Given {
        path: path.clone(),
        name: path.display().to_string(),
    };
    inputs.iter().map(name).collect()
}

/// What an input is called in the books: two bundles of one name in two folders are two inputs.
fn whole_path(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.to_string_lossy().into_owned()
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |n| n.to_string_lossy().into_owned(),
    )
}
