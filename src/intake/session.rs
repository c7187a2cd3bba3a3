//! One import under way: what it knows, what it has collected, what it has counted.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::facts::Pending;
use super::opened::{Counts, OpenFile};
use super::records;
use super::stated::Seen;
use super::statement;
use super::waits::Waits;
use super::{FileSummary, ImportError, Options, Progress, SUMMARY_DEFECTS_MAX, Summary};
use crate::base::{Defect, DefectCode, InstId};
use crate::feed::deliveries;
use crate::feed::store::{
    self, FileResult, HalfPosted, Opened, Quarantined, StatementDay, TakenFile,
};
use crate::ledger::{self, Batch, Contracts, Posted};
use crate::registry::{self, Registry};
use crate::store::lock::JobLock;
use crate::store::{Db, DbError, Tx};
use crate::wire::Assumptions;
use crate::wire::interchange::FileKind;

/// Postings in one transaction: bounds what a crash can lose, and the log of a writer.
const TRANSACTION_ROWS: usize = 100_000;

pub(super) struct Session<'a> {
    pub(super) db: &'a Db,
    lock: &'a JobLock,
    /// Shared with readers of large files.
    pub(super) registry: Arc<Registry>,
    pub(super) contracts: Contracts,
    pub(super) batch: Batch,
    pub(super) days: Vec<StatementDay>,
    pub(super) pending: Vec<Pending>,
    /// Nothing was stored when the import began: an id not met in this import is new.
    pub(super) first_load: bool,
    /// Statement days up to this one may be stored; later ones cannot be.
    pub(super) days_stored_to: Option<i64>,
    /// Statement files have been taken in, now or before.
    pub(super) has_statements: bool,
    /// Bundles have brought bank lines, now or before.
    pub(super) has_bundle_lines: bool,
    /// Lines of statement files that no row of a bundle has named in this import.
    pub(super) unexplained: statement::Unexplained,
    /// Rows of bundles that name a line of a statement file: account and id.
    pub(super) explained: HashSet<(i64, i64, String)>,
    pub(super) counts: HashMap<i64, Counts>,
    pub(super) summary: Summary,
    files: Vec<OpenFile>,
    /// Nobody sees the summary: what is remarkable goes into the log.
    pub(super) is_unattended: bool,
    /// The delivery whose file is read next.
    pub(super) reading: Option<i64>,
    pub(super) quarantined: Vec<Quarantined>,
    pub(super) waits: Waits,
    pub(super) last_inst_id: i64,
    pub(super) last_account_no: HashMap<InstId, i64>,
    import_no: i64,
    /// Files that an interrupted import has brought into the books in part.
    pub(super) half_posted: Vec<HalfPosted>,
    /// A large file passes through.
    pub(super) narrow: bool,
    pub(super) options: Options,
    progress: &'a mut dyn Progress,
    bytes_done: u64,
    /// What the statements of a rehearsal say.
    pub(super) seen: Seen,
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
        let half_posted = match &resumed {
            Some(_) => store::half_posted(&mut tx, import_no).await?,
            None => Vec::new(),
        };
        let registry = registry::store::load(&mut tx, i64::MAX).await?;
        let first_load = ledger::store::is_empty(&mut tx).await?;
        let first_days = store::has_no_statement_days(&mut tx).await?;
        let has_statements = store::has_statements(&mut tx).await?;
        let has_bundle_lines = store::has_file_of(&mut tx, FileKind::BankEntries.stem()).await?;
        let last_inst_id = registry::store::last_inst_id(&mut tx).await?;
        let waits = Waits::open(&mut tx).await?;
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
            registry: Arc::new(registry),
            contracts: Contracts::default(),
            batch: Batch::default(),
            days: Vec::new(),
            pending: Vec::new(),
            first_load,
            days_stored_to: if first_days { None } else { Some(i64::MAX) },
            has_statements,
            has_bundle_lines,
            unexplained: HashMap::new(),
            explained: HashSet::new(),
            counts: HashMap::new(),
            summary: Summary {
                import_no,
                resumed,
                ..Summary::default()
            },
            files: Vec::new(),
            is_unattended: false,
            reading: None,
            quarantined: Vec::new(),
            waits,
            last_inst_id,
            last_account_no,
            import_no,
            half_posted,
            narrow: false,
            options,
            progress,
            bytes_done: 0,
            seen: Seen::default(),
        })
    }

    /// Starts a write transaction under the import's lock.
    pub(super) async fn begin_write(&self) -> Result<Tx, DbError> {
        let mut tx = self.lock.begin_write(self.db).await?;
        if self.narrow {
            tx.narrow_cache(true).await?;
        }
        Ok(tx)
    }

    /// The registry, to add to it.
    pub(super) fn registry_mut(&mut self) -> &mut Registry {
        Arc::make_mut(&mut self.registry)
    }

    /// Says that no large file passes through any more.
    pub(super) async fn widen(&mut self) -> Result<(), DbError> {
        self.narrow = false;
        let mut tx = self.begin_write().await?;
        tx.narrow_cache(false).await?;
        tx.rollback().await
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
        self.opened(source_no, name, kind);
        Ok(source_no)
    }

    /// Numbers a statement file and keeps its bytes, before anybody reads them. Says as what they were taken
    /// in before; nothing where they were not, or are to be taken anew.
    pub(super) async fn keep_file(
        &mut self,
        name: &str,
        (digest, bytes): (&[u8], &[u8]),
    ) -> Result<(i64, Vec<TakenFile>), ImportError> {
        let mut tx = self.begin_write().await?;
        let source_no = store::open_file(&mut tx, self.import_no, name, "statement").await?;
        let taken = if self.options.supersede {
            Vec::new()
        } else {
            store::taken_files(&mut tx, digest).await?
        };
        store::keep_raw(&mut tx, digest, bytes).await?;
        tx.commit().await?;
        self.opened(source_no, name, "statement");
        Ok((source_no, taken))
    }

    pub(super) fn opened(&mut self, source_no: i64, name: &str, kind: &'static str) {
        self.has_bundle_lines |= kind == FileKind::BankEntries.stem();
        self.progress.file(name);
        let file = OpenFile::new(source_no, (name, kind), self.reading);
        self.files.push(file);
    }

    pub(super) fn file_result(&mut self, source_no: i64) -> Option<&mut FileResult> {
        self.files
            .iter_mut()
            .find(|f| f.source_no == source_no)
            .map(|f| &mut f.result)
    }

    pub(super) fn note_assumed(&mut self, source_no: i64, assumed: Assumptions) {
        if let Some(file) = self.files.iter_mut().find(|f| f.source_no == source_no) {
            file.assumed = assumed;
        }
    }

    /// What becomes of a file that was taken in before: it is known, unless it was this import that took it
    /// and was interrupted after it. What it did then stands, and is not done again: files that came
    /// after it may have changed it.
    pub(super) fn outcome_again(&self, first: &TakenFile) -> &'static str {
        let earlier = (self.files.first()).is_some_and(|f| first.source_no < f.source_no);
        match first.outcome.as_str() {
            _ if !earlier || first.import_no != self.import_no => "known",
            "disputed" => "disputed",
            "waiting" => "waiting",
            _ => "used",
        }
    }

    /// Says in the transaction that posts a file what became of it, so that a file is taken in once however
    /// often its import is interrupted.
    pub(super) async fn close_file(&mut self, tx: &mut Tx, source_no: i64) -> Result<(), DbError> {
        store::quarantine(tx, &self.quarantined).await?;
        self.quarantined.clear();
        let counts = self.counts.get(&source_no).copied().unwrap_or_default();
        if let Some(result) = self.file_result(source_no) {
            counts.tell(result);
            store::close_file(tx, source_no, result).await?;
        }
        Ok(())
    }

    /// Says in a transaction that posts a part of a file that the rest follows.
    pub(super) async fn leave_file_open(
        &mut self,
        tx: &mut Tx,
        source_no: i64,
    ) -> Result<(), DbError> {
        store::quarantine(tx, &self.quarantined).await?;
        self.quarantined.clear();
        let counts = self.counts.get(&source_no).copied().unwrap_or_default();
        let supersede = self.options.supersede;
        if let Some(result) = self.file_result(source_no) {
            counts.tell(result);
            store::close_file(tx, source_no, &result.half_posted(supersede)).await?;
        }
        Ok(())
    }

    /// What people call a file of this import.
    pub(super) fn file_name(&self, source_no: i64) -> &str {
        (self.files.iter())
            .find(|f| f.source_no == source_no)
            .map_or("an earlier file", |f| f.name.as_str())
    }

    pub(super) fn cannot_read(&mut self, source_no: i64) {
        if let Some(result) = self.file_result(source_no) {
            result.outcome = "unreadable";
        }
    }

    pub(super) fn count(&mut self, source_no: i64) -> &mut Counts {
        self.counts.entry(source_no).or_default()
    }

    /// Says how much is to be read.
    pub(super) fn start(&mut self, bytes: u64) {
        self.progress.total(bytes);
    }

    pub(super) fn step_progress(&mut self, bytes: u64) {
        self.bytes_done += bytes;
        self.progress.bytes(self.bytes_done);
    }

    /// Keeps a row that cannot be used; it is written with the next flush.
    pub(super) fn quarantine(&mut self, source_no: i64, defect: Defect, record: String) {
        self.count(source_no).quarantined += 1;
        tracing::debug!(file.source_no = source_no, defect = %defect, "quarantined");
        self.note_quarantined(defect.clone());
        if let Some(file) = self.files.iter_mut().find(|f| f.source_no == source_no)
            && file.delivery_no.is_some()
            && file.reason.is_empty()
        {
            file.reason = defect.to_string();
            file.is_early = defect.code == DefectCode::UnknownAccount;
        }
        self.seen.refused(source_no, &defect);
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

    /// Notes a questionable row, or file, that is used all the same. It is of the file opened last.
    pub(super) fn note_defect(&mut self, defect: Defect) {
        self.summary.defects_total += 1;
        if self.is_unattended
            && let Some(file) = self.files.last_mut()
        {
            file.remark(&defect);
        }
        if self.summary.defects.len() < SUMMARY_DEFECTS_MAX {
            self.summary.defects.push(defect);
        }
    }

    /// Posts what has been collected: statement days, then facts institution by institution.
    pub(super) async fn flush(&mut self) -> Result<(), ImportError> {
        statement::bundle_lines(self).await?;
        self.flush_days().await?;
        self.flush_kept().await?;
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
        self.end_outdone().await
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

    /// Writes rows that cannot be used and rows that wait.
    pub(super) async fn flush_kept(&mut self) -> Result<(), ImportError> {
        if self.quarantined.is_empty() && self.waits.len() == 0 {
            return Ok(());
        }
        let mut tx = self.begin_write().await?;
        store::quarantine(&mut tx, &self.quarantined).await?;
        self.waits.write(&mut tx).await?;
        tx.commit().await?;
        self.quarantined.clear();
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
        let days = statement::bundle_days(self, &mut tx, days).await?;
        let new = self.new_days(&mut tx, days).await?;
        store::append_statement_days(&mut tx, &new).await?;
        tx.commit().await?;
        self.days_stored_to = self.days_stored_to.max(latest);
        Ok(())
    }

    /// Drops days that are stored equal and numbers the versions of those that differ.
    async fn new_days(
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
            .map(|s| {
                let key = (s.inst_id, s.account_no, s.day);
                (key, (s.version, s.opening_fen, s.closing_fen))
            })
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
        for file in &mut self.files {
            file.tell_rest();
            let counts = self
                .counts
                .get(&file.source_no)
                .copied()
                .unwrap_or_default();
            let note = file.note();
            let result = &mut file.result;
            counts.tell(result);
            store::close_file(&mut tx, file.source_no, result).await?;
            if let Some(delivery_no) = file.delivery_no {
                let state = match result.outcome {
                    "quarantined" if file.is_early => deliveries::EARLY,
                    "quarantined" | "unreadable" => deliveries::QUARANTINED,
                    _ => deliveries::TAKEN,
                };
                let import_no = Some(self.import_no);
                deliveries::settle(&mut tx, delivery_no, state, import_no, &note).await?;
            }
            self.seen.became(file.source_no, result);
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
                assumed: std::mem::take(&mut file.assumed),
            });
        }
        store::complete(&mut tx, self.import_no).await?;
        tx.commit().await?;
        self.progress.done();
        (self.summary.statements, self.summary.statements_total) = self.seen.finish();
        Ok(self.summary)
    }
}
