//! First half of the story: bytes to books.
//!
//! [`import`] takes bundles (folders and zips of interchange files) and statement files. It lands in
//! batches, each one transaction with its running totals, so a killed import is resumed by giving the
//! same command again: rows that landed are found equal. Readers see an import when it is complete.
//! [`take_deliveries`] takes what feeds brought.
//!
//! Invariants: a row that cannot be used changes nothing stored; a statement file is taken whole or not
//! at all; the order of rows in a file does not change the books.

mod bundle;
mod deliveries;
mod exempt;
mod facts;
mod records;
mod rows;
mod session;
mod statement;
mod waits;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::base::{Defect, DefectCode};
use crate::store::lock::Job;
use crate::store::{Db, DbError};
use crate::wire::interchange::FileKind;

pub use exempt::{Exempt, exempt};
use session::Session;

pub use deliveries::take_deliveries;

/// The largest statement file taken in one piece.
pub const STATEMENT_BYTES_MAX: u64 = 64 << 20;
/// Rows collected before they are sorted and posted. Bounds the memory of an import.
pub const BATCH_ROWS: usize = 1_000_000;

/// How an import is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rows collected before they are posted.
    pub batch_rows: usize,
    /// Go on even where an interrupted import of other inputs left a bundle half in the books.
    pub adopt: bool,
    /// What the statement files say holds against what other statements said of the same days: settles a
    /// dispute.
    pub supersede: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            batch_rows: BATCH_ROWS,
            adopt: false,
            supersede: false,
        }
    }
}

/// Counts of one file, as the import ends with them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FileSummary {
    pub file: String,
    pub kind: String,
    pub outcome: String,
    pub new: i64,
    pub same: i64,
    pub revised: i64,
    pub waiting: i64,
    pub quarantined: i64,
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
}

/// Defects a summary repeats in full; the rest are counted.
pub const SUMMARY_DEFECTS_MAX: usize = 20;

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
    let lock = db.lock(Job::Import).await?;
    let mut files = Vec::new();
    let mut ignored = Vec::new();
    let mut unreadable = Vec::new();
    for input in inputs {
        match bundle::open(input, &mut files, &mut ignored) {
            Ok(()) => {}
            Err(source) => unreadable.push(
                Defect::new(DefectCode::Unreadable, source.to_string())
                    .file(input.display().to_string()),
            ),
        }
    }
    if files.is_empty() {
        let why = unreadable.first().map_or_else(
            || "no file of a bundle was found; see interchange files in the README".to_owned(),
            ToString::to_string,
        );
        return Err(ImportError::Nothing(why));
    }
    files.sort_by_key(bundle::Input::rank);
    progress.total(files.iter().map(bundle::Input::size).sum());
    let names: Vec<String> = inputs.iter().map(|p| whole_path(p)).collect();
    let mut session = Session::open(db, &lock, &names.join(" "), *options, progress).await?;
    session.summary.ignored = ignored;
    for defect in unreadable {
        session.note_quarantined(defect);
    }
    take_in(&mut session, &files).await?;
    session.complete().await
}

/// Reads every file, parents before children; after each kind, the rows of it that waited.
async fn take_in(session: &mut Session<'_>, files: &[bundle::Input]) -> Result<(), ImportError> {
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
