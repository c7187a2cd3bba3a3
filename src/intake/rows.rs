//! Reading: rows of a file become records or facts, wait for a parent, or are quarantined.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::ImportError;
use super::bundle::Input;
use super::facts::PENDING_MAX;
use super::records::{CONTRACT_ROWS, Collected};
use super::session::Session;
use crate::base::{Defect, DefectCode};
use crate::feed::store::Waiting;
use crate::wire::interchange::{FileKind, Reader, Row};

/// Text of ids, references and notes collected before it is posted.
const BATCH_TEXT_BYTES: usize = 512 << 20;
/// Rows collected that cannot be used or wait, before they are written.
const KEPT_ROWS: usize = 20_000;
/// Contracts kept in memory; beyond it they are read again when needed.
const CONTRACTS_MAX: usize = 12_000_000;
/// Rows between two reports of progress.
const PROGRESS_ROWS: u64 = 8_192;

/// What a row became.
pub(super) enum Taken {
    /// Collected; counted when it is posted.
    Yes,
    /// Waits for the named parent.
    Waits(String),
}

impl Session<'_> {
    /// Reads one file of a bundle.
    pub(super) async fn bundle_file(
        &mut self,
        kind: FileKind,
        file: &Input,
    ) -> Result<(), ImportError> {
        let source_no = self.open_file(&file.name, kind.stem()).await?;
        let input = match file.open(self.options.zip_entry_bytes_max) {
            Ok(input) => input,
            Err(e) => {
                let defect = Defect::new(DefectCode::Unreadable, e.to_string()).file(&file.name);
                self.quarantine(source_no, defect, String::new());
                self.cannot_read(source_no);
                return Ok(());
            }
        };
        let hashed = Hashed::new(input);
        let hashed = self.rows(kind, source_no, &file.name, hashed).await?;
        let (digest, bytes) = hashed.finish();
        if self.count(source_no).waiting > 0 {
            self.waits.file_left_rows(kind);
        }
        self.step_progress(0);
        if let Some(result) = self.file_result(source_no) {
            result.digest = digest;
            result.bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        }
        Ok(())
    }

    /// Reads rows of one kind to the end.
    pub(super) async fn rows(
        &mut self,
        kind: FileKind,
        source_no: i64,
        name: &str,
        input: Hashed,
    ) -> Result<Hashed, ImportError> {
        let mut reader = match Reader::new(kind, input) {
            Ok(reader) => reader,
            Err(defect) => {
                self.quarantine(source_no, defect.file(name), "header".to_owned());
                self.cannot_read(source_no);
                return Ok(Hashed::new(Box::new(io::empty())));
            }
        };
        for column in &reader.unknown_columns {
            self.summary
                .ignored
                .push(format!("column {column} of {name}"));
        }
        let mut collected = Collected::new(kind);
        let mut since_progress = 0;
        let mut bytes_seen = 0;
        while let Some(row) = reader.next_row() {
            since_progress += 1;
            self.waits.next_row();
            match row {
                Ok(row) => self.row(kind, source_no, name, &row, &mut collected),
                Err(defect) if defect.code == DefectCode::Unreadable => {
                    return Err(ImportError::Read {
                        path: name.into(),
                        source: io::Error::other(defect.found),
                    });
                }
                Err(defect) => {
                    let record = reader.raw_record();
                    self.quarantine(source_no, defect.file(name), record);
                }
            }
            if self.pending.len() >= PENDING_MAX {
                self.resolve(name).await?;
            }
            if collected.len() >= CONTRACT_ROWS {
                collected.store(self, source_no, name).await?;
            }
            if self.waits.len() + self.quarantined.len() >= KEPT_ROWS {
                self.flush_kept().await?;
            }
            if self.batch.len() + self.days.len() >= self.options.batch_rows
                || self.batch.text_bytes() >= BATCH_TEXT_BYTES
            {
                self.resolve(name).await?;
                self.flush().await?;
            }
            if since_progress == PROGRESS_ROWS {
                since_progress = 0;
                let read = reader.position();
                self.step_progress(read - bytes_seen);
                bytes_seen = read;
            }
        }
        let read = reader.position();
        self.step_progress(read - bytes_seen);
        collected.store(self, source_no, name).await?;
        self.resolve(name).await?;
        if self.contracts.len() > CONTRACTS_MAX {
            self.flush().await?;
            self.contracts.clear();
            self.first_load = false;
        }
        Ok(reader.into_inner())
    }

    fn row(
        &mut self,
        kind: FileKind,
        source_no: i64,
        name: &str,
        row: &Row<'_>,
        collected: &mut Collected,
    ) {
        let taken = match kind {
            FileKind::Districts
            | FileKind::Institutions
            | FileKind::Licences
            | FileKind::Accounts
            | FileKind::Orders
            | FileKind::Settlements
            | FileKind::Freezes => collected.row(self, name, row),
            _ => self.fact(kind, source_no, row),
        };
        match taken {
            Ok(Taken::Yes) => self.waits.end_older(kind, source_no, row),
            Ok(Taken::Waits(parent)) => {
                self.waits.end_older(kind, source_no, row);
                let about = (kind.stem(), row.subject());
                let place = (source_no, row.line);
                self.wait(Waiting::new(place, about, &parent, &row.to_pairs()));
            }
            Err(defect) => self.quarantine(source_no, defect.file(name), row.raw_record()),
        }
    }

    /// Keeps a row that waits; it is written with the next flush.
    pub(super) fn wait(&mut self, row: Waiting) {
        self.count(row.source_no).waiting += 1;
        self.waits.keep(row);
    }
}

/// Hashes bytes while they are read.
pub(super) struct Hashed {
    input: Box<dyn Read + Send>,
    digest: Sha256,
    bytes: u64,
}

impl Hashed {
    pub(super) fn new(input: Box<dyn Read + Send>) -> Hashed {
        Hashed {
            input,
            digest: Sha256::new(),
            bytes: 0,
        }
    }

    fn finish(self) -> (Vec<u8>, u64) {
        (self.digest.finalize().to_vec(), self.bytes)
    }
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.digest.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}
