//! Rows that wait for a parent: kept, tried again with each import, and ended once a later row of the same
//! fact has come.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;

use super::ImportError;
use super::rows::Hashed;
use super::session::Session;
use crate::feed::store::{self, Kept, Waiting, WaitingKey};
use crate::store::{DbError, Tx};
use crate::wire::interchange::{FileKind, Row};

/// Rows that wait, read in one portion.
const PORTION_ROWS: i64 = 20_000;
/// Rows that have found their parent, taken off the list together once they are posted.
const FOUND_ROWS: usize = 200_000;
/// What the rows tried again are called.
const NAME: &str = "rows that waited";

/// What an import knows of rows that wait. Bounded: the rows themselves stay in the database.
#[derive(Default)]
pub(super) struct Waits {
    /// To be written with the next flush.
    pub(super) rows: Vec<Waiting>,
    /// Rows are being tried again, not read from a file.
    retrying: bool,
    /// Files that first brought the rows being tried again, in their order.
    sent: VecDeque<i64>,
    sent_now: Option<i64>,
    /// Kinds of facts of which rows from earlier files wait.
    kinds: HashSet<FileKind>,
    /// Facts read since rows were last written, and the file that brought them: they outdo older rows.
    seen: HashMap<(FileKind, String), i64>,
    /// Rows that later rows of their facts have outdone; they stop waiting once those are posted.
    outdone: HashSet<WaitingKey>,
    /// Digests of rows of the portion being tried again that go on waiting.
    again: HashSet<Vec<u8>>,
}

impl Waits {
    pub(super) async fn open(tx: &mut Tx) -> Result<Waits, ImportError> {
        let mut waits = Waits::default();
        for kind in FileKind::ALL.into_iter().filter(|k| k.is_fact()) {
            if store::waits(tx, kind.stem()).await? {
                waits.kinds.insert(kind);
            }
        }
        Ok(waits)
    }

    /// Goes on to the next of the rows being tried again, if there are any.
    pub(super) fn next_row(&mut self) {
        self.sent_now = self.sent.pop_front();
    }

    /// An older row of the same fact that still waits has been outdone by the one just read.
    pub(super) fn end_older(&mut self, kind: FileKind, source_no: i64, row: &Row<'_>) {
        if !self.retrying && self.kinds.contains(&kind) {
            self.seen.insert((kind, row.subject()), source_no);
        }
    }

    /// A row that cannot be used after all outdoes none.
    pub(super) fn forget(&mut self, kind: FileKind, subject: &str) {
        self.seen.remove(&(kind, subject.to_owned()));
    }

    /// Rows of a file that has been read wait: later files may outdo them.
    pub(super) fn file_left_rows(&mut self, kind: FileKind) {
        if kind.is_fact() {
            self.kinds.insert(kind);
        }
    }

    pub(super) fn keep(&mut self, row: Waiting) {
        if self.retrying {
            self.again.insert(row.digest);
        } else {
            self.rows.push(row);
        }
    }

    /// Rows kept in memory until they are written.
    pub(super) fn len(&self) -> usize {
        self.rows.len() + self.seen.len()
    }

    /// Writes the rows collected, and notes which older ones have been outdone.
    pub(super) async fn write(&mut self, tx: &mut Tx) -> Result<(), ImportError> {
        let mut seen: BTreeMap<FileKind, Vec<(&str, i64)>> = BTreeMap::new();
        for ((kind, subject), source_no) in &self.seen {
            seen.entry(*kind).or_default().push((subject, *source_no));
        }
        for (kind, mut seen) in seen {
            seen.sort_unstable();
            let subjects: Vec<&str> = seen.iter().map(|s| s.0).collect();
            for (subject, digest, source_no) in
                store::waiting_about(tx, kind.stem(), &subjects).await?
            {
                let by = seen.binary_search_by_key(&subject.as_str(), |s| s.0);
                if by.is_ok_and(|at| source_no < seen[at].1) {
                    self.outdone.insert((kind.stem(), subject, digest));
                }
            }
        }
        self.seen.clear();
        // Sent again as it was: it goes on waiting.
        if !self.outdone.is_empty() {
            for row in &self.rows {
                self.outdone.remove(&row.key());
            }
        }
        let key = |w: &Waiting| (w.kind, w.subject.clone());
        self.rows.sort_by_cached_key(key);
        store::wait(tx, &self.rows).await?;
        self.rows.clear();
        Ok(())
    }
}

impl Session<'_> {
    /// Reads the rows that wait from earlier imports, now that more parents are known.
    pub(super) async fn retry_waiting(&mut self, kind: FileKind) -> Result<(), ImportError> {
        let mut after = String::new();
        let mut source_no = None;
        let mut found: Vec<WaitingKey> = Vec::new();
        loop {
            let mut tx = self.db.begin_read().await?;
            let portion = store::waiting(&mut tx, kind.stem(), &after, PORTION_ROWS).await?;
            tx.rollback().await?;
            let Some(last) = portion.last() else { break };
            last.subject.clone_into(&mut after);
            let source_no = match source_no {
                Some(source_no) => source_no,
                None => *source_no.insert(self.open_file(NAME, kind.stem()).await?),
            };
            self.retry(kind, source_no, &portion).await?;
            let again = std::mem::take(&mut self.waits.again);
            let settled = (portion.into_iter()).filter(|row| !again.contains(&row.record_digest));
            found.extend(settled.map(|row| (kind.stem(), row.subject, row.record_digest)));
            if found.len() >= FOUND_ROWS {
                self.flush().await?;
                self.stop_waiting(std::mem::take(&mut found)).await?;
            }
        }
        if source_no.is_some() {
            self.flush().await?;
            self.stop_waiting(found).await?;
        }
        Ok(())
    }

    /// Reads one portion of the rows that wait, as if a file had brought them.
    async fn retry(
        &mut self,
        kind: FileKind,
        source_no: i64,
        portion: &[Kept],
    ) -> Result<(), ImportError> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        let names: Vec<&str> = kind
            .columns()
            .iter()
            .map(|c| c.trim_end_matches('?'))
            .collect();
        let broken = |e: csv::Error| ImportError::Read {
            path: NAME.into(),
            source: io::Error::other(e),
        };
        csv.write_record(&names).map_err(broken)?;
        for row in portion {
            let cells = cells(&row.record)?;
            let cell = |name: &str| {
                cells
                    .iter()
                    .find(|(n, _)| n == name)
                    .map_or("", |(_, value)| value.as_str())
            };
            csv.write_record(names.iter().map(|n| cell(n)))
                .map_err(broken)?;
        }
        let bytes = csv
            .into_inner()
            .map_err(|e| broken(e.into_error().into()))?;
        self.waits.retrying = true;
        self.waits.sent = portion.iter().map(|row| row.source_no).collect();
        let input = Hashed::new(Box::new(io::Cursor::new(bytes)));
        self.rows(kind, source_no, NAME, input).await?;
        self.waits.retrying = false;
        self.waits.sent_now = None;
        Ok(())
    }

    /// Takes rows off the list whose facts, or later ones in their place, have been posted.
    async fn stop_waiting(&self, mut keys: Vec<WaitingKey>) -> Result<(), ImportError> {
        if keys.is_empty() {
            return Ok(());
        }
        keys.sort_unstable();
        let mut tx = self.begin_write().await?;
        store::stop_waiting(&mut tx, &keys).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes the rows off the list that later ones, posted by now, have outdone.
    pub(super) async fn end_outdone(&mut self) -> Result<(), ImportError> {
        let outdone = self.waits.outdone.drain().collect();
        self.stop_waiting(outdone).await
    }

    /// The file that first brought the row being read.
    pub(super) fn sent_no(&self, source_no: i64) -> i64 {
        self.waits.sent_now.unwrap_or(source_no)
    }
}

/// The cells of a row that waits.
fn cells(record: &str) -> Result<Vec<(String, String)>, ImportError> {
    serde_json::from_str(record).map_err(|e| {
        ImportError::Db(DbError::Inconsistent(format!(
            "waiting_row has the record {record:?}: {e}"
        )))
    })
}
