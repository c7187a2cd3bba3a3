//! One import under way: what it knows, what it has collected, what it has counted.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::bundle::Input;
use super::facts::Pending;
use super::records;
use super::{FileSummary, ImportError, Options, Progress, SUMMARY_DEFECTS_MAX, Summary};
use crate::base::{Defect, DefectCode, InstId};
use crate::feed::store::{self, FileResult, Opened, Quarantined, StatementDay, Waiting};
use crate::ledger::{self, Batch, Contracts, Posted};
use crate::registry::{self, Registry};
use crate::store::lock::JobLock;
use crate::store::{Db, DbError, Tx};
use crate::wire::interchange::{FileKind, Reader, Row};

/// Postings in one transaction: bounds what a crash can lose, and the log of a writer.
const TRANSACTION_ROWS: usize = 100_000;
/// Text of ids, references and notes collected before it is posted.
const BATCH_TEXT_BYTES: usize = 512 << 20;
/// Contracts kept in memory; beyond it they are read again when needed.
const CONTRACTS_MAX: usize = 12_000_000;
/// Rows between two reports of progress.
const PROGRESS_ROWS: u64 = 8_192;

/// Counts of one file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) new: i64,
    pub(super) same: i64,
    pub(super) revised: i64,
    pub(super) waiting: i64,
    pub(super) quarantined: i64,
}

struct OpenFile {
    source_no: i64,
    name: String,
    kind: &'static str,
    result: FileResult,
}

/// What a row became.
pub(super) enum Taken {
    /// Collected; counted when it is posted.
    Yes,
    /// Waits for the named parent.
    Waits(String),
}

pub(super) struct Session<'a> {
    pub(super) db: &'a Db,
    lock: &'a JobLock,
    pub(super) registry: Registry,
    pub(super) contracts: Contracts,
    pub(super) batch: Batch,
    pub(super) days: Vec<StatementDay>,
    pub(super) pending: Vec<Pending>,
    /// Nothing was stored when the import began: an id not met in this import is new.
    pub(super) first_load: bool,
    /// Statement days up to this one may be stored; later ones cannot be.
    pub(super) days_stored_to: Option<i64>,
    pub(super) counts: HashMap<i64, Counts>,
    pub(super) summary: Summary,
    files: Vec<OpenFile>,
    quarantined: Vec<Quarantined>,
    waiting: Vec<Waiting>,
    pub(super) last_inst_id: i64,
    pub(super) last_account_no: HashMap<InstId, i64>,
    /// Files that first brought the rows being retried, in their order; empty while reading a file.
    sent: std::collections::VecDeque<i64>,
    sent_now: Option<i64>,
    /// Facts that wait, by kind and id: accepting a later row of the id ends the wait.
    waiting_ids: HashMap<(FileKind, String), Vec<Vec<u8>>>,
    superseded: HashSet<Vec<u8>>,
    /// Digests of rows that waited since the list was last cleared.
    waits_again: HashSet<Vec<u8>>,
    import_no: i64,
    options: Options,
    progress: &'a mut dyn Progress,
    bytes_done: u64,
}

impl<'a> Session<'a> {
    pub(super) async fn open(
        db: &'a Db,
        lock: &'a JobLock,
        source: &str,
        options: Options,
        progress: &'a mut dyn Progress,
    ) -> Result<Session<'a>, ImportError> {
        let mut tx = lock.begin_write(db).await?;
        let (import_no, resumed) = match store::open(&mut tx, source, options.adopt).await? {
            Opened::New(import_no) => (import_no, None),
            Opened::Resumed(import_no, interrupted) => (import_no, Some(interrupted)),
            Opened::HalfTaken(interrupted) => return Err(ImportError::HalfTaken(interrupted)),
        };
        let registry = registry::store::load(&mut tx, i64::MAX).await?;
        let first_load = ledger::store::is_empty(&mut tx).await?;
        let first_days = store::has_no_statement_days(&mut tx).await?;
        let last_inst_id = registry::store::last_inst_id(&mut tx).await?;
        let mut waiting_ids: HashMap<(FileKind, String), Vec<Vec<u8>>> = HashMap::new();
        for kind in FileKind::ALL.into_iter().filter(|k| k.is_fact()) {
            for (digest, record, _) in store::waiting(&mut tx, kind.stem()).await? {
                let id = cells(&record)?.into_iter().next().unwrap_or_default().1;
                waiting_ids.entry((kind, id)).or_default().push(digest);
            }
        }
        tx.commit().await?;
        let mut last_account_no = HashMap::new();
        for account in registry.accounts.iter() {
            let last = last_account_no.entry(account.inst_id).or_insert(0);
            *last = account.account_no.0.max(*last);
        }
        if let Some(interrupted) = &resumed {
            tracing::warn!(
                import.no = import_no,
                import.source = %interrupted,
                "an interrupted import is completed with this one"
            );
        }
        Ok(Session {
            db,
            lock,
            registry,
            contracts: Contracts::default(),
            batch: Batch::default(),
            days: Vec::new(),
            pending: Vec::new(),
            first_load,
            days_stored_to: if first_days { None } else { Some(i64::MAX) },
            counts: HashMap::new(),
            summary: Summary {
                import_no,
                resumed,
                ..Summary::default()
            },
            files: Vec::new(),
            quarantined: Vec::new(),
            waiting: Vec::new(),
            sent: std::collections::VecDeque::new(),
            sent_now: None,
            waiting_ids,
            superseded: HashSet::new(),
            waits_again: HashSet::new(),
            last_inst_id,
            last_account_no,
            import_no,
            options,
            progress,
            bytes_done: 0,
        })
    }

    /// Starts a write transaction under the import's lock.
    pub(super) async fn begin_write(&self) -> Result<Tx, DbError> {
        self.lock.begin_write(self.db).await
    }

    /// Numbers a file about to be read.
    pub(super) async fn open_file(
        &mut self,
        name: &str,
        kind: &'static str,
    ) -> Result<i64, ImportError> {
        let mut tx = self.begin_write().await?;
        let source_no = store::open_file(&mut tx, self.import_no, name, kind).await?;
        tx.commit().await?;
        self.progress.file(name);
        self.files.push(OpenFile {
            source_no,
            name: name.to_owned(),
            kind,
            result: FileResult {
                outcome: "used",
                ..FileResult::default()
            },
        });
        Ok(source_no)
    }

    pub(super) fn file_result(&mut self, source_no: i64) -> Option<&mut FileResult> {
        self.files
            .iter_mut()
            .find(|f| f.source_no == source_no)
            .map(|f| &mut f.result)
    }

    fn cannot_read(&mut self, source_no: i64) {
        if let Some(result) = self.file_result(source_no) {
            result.outcome = "unreadable";
        }
    }

    pub(super) fn count(&mut self, source_no: i64) -> &mut Counts {
        self.counts.entry(source_no).or_default()
    }

    pub(super) fn step_progress(&mut self, bytes: u64) {
        self.bytes_done += bytes;
        self.progress.bytes(self.bytes_done);
    }

    /// Reads one file of a bundle.
    pub(super) async fn bundle_file(
        &mut self,
        kind: FileKind,
        file: &Input,
    ) -> Result<(), ImportError> {
        let source_no = self.open_file(&file.name, kind.stem()).await?;
        let input = match file.open() {
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
        self.step_progress(0);
        if let Some(result) = self.file_result(source_no) {
            result.digest = digest;
            result.bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        }
        Ok(())
    }

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
        self.waits_again.clear();
        self.sent = rows.iter().map(|r| r.2).collect();
        self.rows(
            kind,
            source_no,
            "rows that waited",
            Hashed::new(Box::new(io::Cursor::new(bytes))),
        )
        .await?;
        self.sent_now = None;
        self.flush().await?;
        let again = std::mem::take(&mut self.waits_again);
        let found: Vec<Vec<u8>> = digests.into_iter().filter(|d| !again.contains(d)).collect();
        let mut tx = self.begin_write().await?;
        store::stop_waiting(&mut tx, &found).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Reads rows of one kind to the end.
    async fn rows(
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
        let mut collected = records::Collected::new(kind);
        let mut since_progress = 0;
        let mut bytes_seen = 0;
        while let Some(row) = reader.next_row() {
            since_progress += 1;
            self.sent_now = self.sent.pop_front();
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
            if self.pending.len() >= super::facts::PENDING_MAX {
                self.resolve(name).await?;
            }
            if collected.len() >= records::CONTRACT_ROWS {
                collected.store(self, source_no, name).await?;
            }
            let kept = self.waiting.len() + self.quarantined.len();
            if self.batch.len() + self.days.len() + kept >= self.options.batch_rows
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
        collected: &mut records::Collected,
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
            Ok(Taken::Yes) => self.end_older_wait(kind, row),
            Ok(Taken::Waits(parent)) => {
                self.end_older_wait(kind, row);
                let waits =
                    Waiting::new(source_no, row.line, kind.stem(), &parent, &row.to_pairs());
                if kind.is_fact()
                    && let Ok(id) = row.id(0)
                {
                    let digests = self.waiting_ids.entry((kind, id.to_owned()));
                    digests.or_default().push(waits.digest.clone());
                }
                self.wait(waits);
            }
            Err(defect) => self.quarantine(source_no, defect.file(name), row.raw_record()),
        }
    }

    /// The file that first brought the row being read.
    pub(super) fn sent_no(&self, source_no: i64) -> i64 {
        self.sent_now.unwrap_or(source_no)
    }

    /// An older row of the same fact that still waits has been outdone by the one just read.
    fn end_older_wait(&mut self, kind: FileKind, row: &Row<'_>) {
        if self.waiting_ids.is_empty() || self.sent_now.is_some() || !kind.is_fact() {
            return;
        }
        if let Ok(id) = row.id(0)
            && let Some(digests) = self.waiting_ids.remove(&(kind, id.to_owned()))
        {
            self.superseded.extend(digests);
        }
    }

    /// Keeps a row that waits; it is written with the next flush.
    pub(super) fn wait(&mut self, row: Waiting) {
        self.count(row.source_no).waiting += 1;
        self.waits_again.insert(row.digest.clone());
        // Sent again as it was: it goes on waiting.
        self.superseded.remove(&row.digest);
        self.waiting.push(row);
    }

    /// Keeps a row that cannot be used; it is written with the next flush.
    pub(super) fn quarantine(&mut self, source_no: i64, defect: Defect, record: String) {
        self.count(source_no).quarantined += 1;
        tracing::debug!(file.source_no = source_no, defect = %defect, "quarantined");
        self.note_quarantined(defect.clone());
        self.quarantined.push(Quarantined {
            source_no,
            defect,
            record,
        });
    }

    pub(super) fn note_quarantined(&mut self, defect: Defect) {
        if self.summary.quarantined.len() < SUMMARY_DEFECTS_MAX {
            self.summary.quarantined.push(defect);
        }
    }

    /// Notes a questionable row that is used all the same.
    pub(super) fn note_defect(&mut self, defect: Defect) {
        self.summary.defects_total += 1;
        if self.summary.defects.len() < SUMMARY_DEFECTS_MAX {
            self.summary.defects.push(defect);
        }
    }

    /// Posts what has been collected: statement days, then facts institution by institution.
    pub(super) async fn flush(&mut self) -> Result<(), ImportError> {
        self.flush_kept().await?;
        self.flush_days().await?;
        let order = ledger::sorted(&self.batch, &self.contracts);
        let mut from = 0;
        while from < order.len() {
            let to = self.transaction_end(&order, from);
            let mut posted: HashMap<i64, Posted> = HashMap::new();
            let mut tx = self.begin_write().await?;
            ledger::post(
                &mut tx,
                &self.batch,
                &order[from..to],
                &mut self.contracts,
                &mut posted,
            )
            .await?;
            tx.commit().await?;
            for (source_no, p) in posted {
                let counts = self.count(source_no);
                counts.new += i64::try_from(p.new).unwrap_or(i64::MAX);
                counts.same += i64::try_from(p.same).unwrap_or(i64::MAX);
                counts.revised += i64::try_from(p.revised).unwrap_or(i64::MAX);
            }
            from = to;
        }
        self.batch.clear();
        Ok(())
    }

    /// The end of the transaction that starts at `from`: whole institutions, about
    /// [`TRANSACTION_ROWS`] rows.
    fn transaction_end(&self, order: &[u32], from: usize) -> usize {
        let mut to = (from + TRANSACTION_ROWS).min(order.len());
        let inst = |i: usize| self.batch.drafts[order[i] as usize].inst_id;
        while to < order.len() && inst(to) == inst(to - 1) {
            to += 1;
        }
        to
    }

    async fn flush_kept(&mut self) -> Result<(), ImportError> {
        if self.quarantined.is_empty() && self.waiting.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin_write().await?;
        store::quarantine(&mut tx, &self.quarantined).await?;
        store::wait(&mut tx, &self.waiting).await?;
        tx.commit().await?;
        self.quarantined.clear();
        self.waiting.clear();
        Ok(())
    }

    async fn flush_days(&mut self) -> Result<(), ImportError> {
        if self.days.is_empty() {
            return Ok(());
        }
        let mut days = std::mem::take(&mut self.days);
        days.sort_unstable();
        let latest = days.iter().map(|d| d.day).max();
        let mut tx = self.begin_write().await?;
        let new = self.new_days(&mut tx, days).await?;
        store::append_statement_days(&mut tx, &new).await?;
        tx.commit().await?;
        self.days_stored_to = self.days_stored_to.max(latest);
        Ok(())
    }

    /// Drops days that are stored equal and numbers the versions of those that differ.
    pub(super) async fn new_days(
        &mut self,
        tx: &mut Tx,
        sorted: Vec<StatementDay>,
    ) -> Result<Vec<StatementDay>, ImportError> {
        let mut keys: Vec<(i64, i64, i64)> = sorted
            .iter()
            .filter(|d| self.days_stored_to.is_some_and(|to| d.day <= to))
            .map(|d| (d.inst_id, d.account_no, d.day))
            .collect();
        keys.dedup();
        let stored: HashMap<(i64, i64, i64), (i64, i64, i64)> = store::statement_days(tx, &keys)
            .await?
            .into_iter()
            .map(|(i, a, d, version, opening, closing)| ((i, a, d), (version, opening, closing)))
            .collect();
        let key = |d: &StatementDay| (d.inst_id, d.account_no, d.day);
        let mut new: Vec<StatementDay> = Vec::with_capacity(sorted.len());
        for group in sorted.chunk_by(|a, b| key(a) == key(b)) {
            let balances: Vec<(i64, i64)> =
                (group.iter().map(|d| (d.opening_fen, d.closing_fen))).collect();
            let known = stored
                .get(&key(&group[0]))
                .map(|(version, opening, closing)| (*version, (*opening, *closing)));
            let known = known.as_ref().map(|(version, b)| (*version, b));
            for (day, version) in group.iter().zip(records::versions(known, balances.iter())) {
                records::count(self, day.source_no, version);
                if let Some(version) = version {
                    new.push(StatementDay { version, ..*day });
                }
            }
        }
        Ok(new)
    }

    /// Posts the rest, records what became of each file and makes the import visible.
    pub(super) async fn complete(mut self) -> Result<Summary, ImportError> {
        self.flush().await?;
        let mut tx = self.begin_write().await?;
        let outdone: Vec<Vec<u8>> = self.superseded.drain().collect();
        store::stop_waiting(&mut tx, &outdone).await?;
        for file in &mut self.files {
            let counts = self
                .counts
                .get(&file.source_no)
                .copied()
                .unwrap_or_default();
            let result = &mut file.result;
            result.new = counts.new;
            result.same = counts.same;
            result.revised = counts.revised;
            result.waiting = counts.waiting;
            result.quarantined = counts.quarantined;
            store::close_file(&mut tx, file.source_no, result).await?;
            if counts.quarantined > 0 {
                tracing::info!(
                    file.name = %file.name,
                    file.source_no = file.source_no,
                    rows.quarantined = counts.quarantined,
                    "rows or files could not be used; see the import's summary"
                );
            }
            self.summary.files.push(FileSummary {
                file: file.name.clone(),
                kind: file.kind.to_owned(),
                outcome: result.outcome.to_owned(),
                new: counts.new,
                same: counts.same,
                revised: counts.revised,
                waiting: counts.waiting,
                quarantined: counts.quarantined,
            });
        }
        store::complete(&mut tx, self.import_no).await?;
        tx.commit().await?;
        self.progress.done();
        Ok(self.summary)
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

/// Hashes bytes while they are read.
pub(super) struct Hashed {
    input: Box<dyn Read + Send>,
    digest: Sha256,
    bytes: u64,
}

impl Hashed {
    fn new(input: Box<dyn Read + Send>) -> Hashed {
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
