//! Rows that wait for a parent: kept, tried again with each import, and ended once a later row of the same
//! fact has come.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;

use super::ImportError;
use super::rows::Hashed;
use super::session::Session;
use crate::feed::store::{self, Waiting};
use crate::store::{DbError, Tx};
use crate::wire::interchange::{FileKind, Row};

/// What an import knows of rows that wait.
#[derive(Default)]
pub(super) struct Waits {
    /// To be written with the next flush.
    pub(super) rows: Vec<Waiting>,
    /// Files that first brought the rows being tried again, in their order; empty while reading a file.
    sent: VecDeque<i64>,
    sent_now: Option<i64>,
    /// Facts that wait, by kind and id: accepting a later row of the id ends the wait.
    ids: HashMap<(FileKind, String), Vec<Vec<u8>>>,
    superseded: HashSet<Vec<u8>>,
    /// Digests of rows that waited since the list was last cleared.
    again: HashSet<Vec<u8>>,
}

impl Waits {
    pub(super) async fn open(tx: &mut Tx) -> Result<Waits, ImportError> {
        let mut waits = Waits::default();
        for kind in FileKind::ALL.into_iter().filter(|k| k.is_fact()) {
            for (digest, record, _) in store::waiting(tx, kind.stem()).await? {
                let id = cells(&record)?.into_iter().next().unwrap_or_default().1;
                waits.ids.entry((kind, id)).or_default().push(digest);
            }
        }
        Ok(waits)
    }

    /// Goes on to the next of the rows being tried again, if there are any.
    pub(super) fn next_row(&mut self) {
        self.sent_now = self.sent.pop_front();
    }

    /// An older row of the same fact that still waits has been outdone by the one just read.
    pub(super) fn end_older(&mut self, kind: FileKind, row: &Row<'_>) {
        if self.ids.is_empty() || self.sent_now.is_some() || !kind.is_fact() {
            return;
        }
        if let Ok(id) = row.id(0)
            && let Some(digests) = self.ids.remove(&(kind, id.to_owned()))
        {
            self.superseded.extend(digests);
        }
    }

    /// A fact that waits may be outdone by a later row of its id.
    pub(super) fn remember(&mut self, kind: FileKind, row: &Row<'_>, waits: &Waiting) {
        if kind.is_fact()
            && let Ok(id) = row.id(0)
        {
            let digests = self.ids.entry((kind, id.to_owned())).or_default();
            digests.push(waits.digest.clone());
        }
    }

    pub(super) fn keep(&mut self, row: Waiting) {
        self.again.insert(row.digest.clone());
        // Sent again as it was: it goes on waiting.
        self.superseded.remove(&row.digest);
        self.rows.push(row);
    }

    /// Rows that later rows of their facts have outdone.
    pub(super) fn outdone(&mut self) -> Vec<Vec<u8>> {
        self.superseded.drain().collect()
    }
}

impl Session<'_> {
    /// Reads the rows that wait from earlier imports, now that more parents are known.
    pub(super) async fn retry_waiting(&mut self, kind: FileKind) -> Result<(), ImportError> {
        let mut tx = self.db.begin_read().await?;
        let rows = store::waiting(&mut tx, kind.stem()).await?;
        tx.rollback().await?;
        if rows.is_empty() {
            return Ok(());
        }
        let source_no = self.open_file("rows that waited", kind.stem()).await?;
        let mut csv = csv::Writer::from_writer(Vec::new());
        let names: Vec<&str> = kind
            .columns()
            .iter()
            .map(|c| c.trim_end_matches('?'))
            .collect();
        let broken = |e: csv::Error| ImportError::Read {
            path: "waiting rows".into(),
            source: io::Error::other(e),
        };
        csv.write_record(&names).map_err(broken)?;
        let digests: Vec<Vec<u8>> = rows.iter().map(|r| r.0.clone()).collect();
        for (_, record, _) in &rows {
            let cells = cells(record)?;
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
        self.waits.again.clear();
        self.waits.sent = rows.iter().map(|r| r.2).collect();
        self.rows(
            kind,
            source_no,
            "rows that waited",
            Hashed::new(Box::new(io::Cursor::new(bytes))),
        )
        .await?;
        self.waits.sent_now = None;
        self.flush().await?;
        let again = std::mem::take(&mut self.waits.again);
        let found: Vec<Vec<u8>> = digests.into_iter().filter(|d| !again.contains(d)).collect();
        let mut tx = self.begin_write().await?;
        store::stop_waiting(&mut tx, &found).await?;
        tx.commit().await?;
        Ok(())
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
