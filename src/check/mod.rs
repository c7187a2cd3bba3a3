//! Named invariants of a database, re-proved from its rows. Silent where all hold.
//!
//! What is proved: each institution's chain is whole and gapless, and every fact names a file that was
//! read; running balances and contract totals are the fold of the postings; a reversal mirrors the row it
//! names; versions of a record have no gap and its directory entry leads to it; a file's bytes are those
//! of its digest; two people stand behind each decision in force; results belong to runs, and each account is
//! proved to the fen; a run's districts are the sums of its institutions; history cannot be changed by the
//! login the service uses.
//! Absent on purpose: reconciling again to compare results, which is a run's work, not a check's.

mod records;

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};

use crate::base::Money;
use crate::base::entropy::hex;
use crate::decision;
use crate::feed::store as kept;
use crate::ledger::{GENESIS, Kind, LessonState, Link, store as ledger_store};
use crate::position::DistrictTotals;
use crate::registry::Terms;
use crate::report::{self, Wanted};
use crate::store::lock::Job;
use crate::store::{APPEND_ONLY_TABLES, Db, DbError, Engine, bulk, dialect};
use crate::{on, store::Tx};
use records::RECORDS;

/// A broken invariant, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub invariant: &'static str,
    pub what: String,
}

/// Institutions folded together: bounds memory.
const INSTITUTIONS_AT_ONCE: i64 = 256;
/// Findings named in full; the rest are the same story.
const BROKEN_MAX: usize = 50;

struct Check {
    broken: Vec<Broken>,
}

impl Check {
    fn say(&mut self, invariant: &'static str, what: impl Into<String>) {
        if self.broken.len() < BROKEN_MAX {
            self.broken.push(Broken {
                invariant,
                what: what.into(),
            });
        }
    }
}

/// Checks everything.
///
/// # Errors
/// A database that cannot be read.
pub async fn check(db: &Db) -> Result<Vec<Broken>, DbError> {
    let mut check = Check { broken: Vec::new() };
    let mut tx = db.begin_read().await?;
    postings(&mut tx, &mut check).await?;
    erased(&mut tx, &mut check).await?;
    raw_files(&mut tx, &mut check).await?;
    records(&mut tx, &mut check).await?;
    statement_days(&mut tx, &mut check).await?;
    // An import that is running is not an interrupted one.
    if !db.is_locked(Job::Import).await? {
        imports(&mut tx, &mut check).await?;
    }
    decisions(&mut tx, &mut check).await?;
    districts(&mut tx, &mut check).await?;
    append_only(&mut tx, &mut check).await?;
    tx.rollback().await?;
    Ok(check.broken)
}

#[derive(sqlx::FromRow)]
struct PostingRow {
    inst_id: i64,
    seq: i64,
    source_no: i64,
    kind: i64,
    debit: i64,
    credit: i64,
    amount_fen: i64,
    business_day: i64,
    contract_no: i64,
    account_no: i64,
    source_id: String,
    revision: i64,
    reverses: Option<i64>,
    reference: String,
    channel: i64,
    state: i64,
    quantity: i64,
    stated_fen: Option<i64>,
    confirmed_day: Option<i64>,
    hash: Vec<u8>,
    note: Option<String>,
}

/// One institution's fold while its rows pass by.
#[derive(Default)]
struct Fold {
    inst_id: i64,
    seq: i64,
    link: Option<[u8; 33]>,
    balances: HashMap<i64, (i128, i128)>,
    /// contract_no → (lessons counted, earned)
    contracts: HashMap<i64, (i64, i128)>,
    /// seq → (debit, credit, amount), for reversals.
    rows: HashMap<i64, (i64, i64, i64)>,
}

/// Numbers of all files. Read by themselves: they belong to no institution.
async fn sources(tx: &mut Tx) -> Result<HashSet<i64>, DbError> {
    let mut sources = HashSet::new();
    let sql = "SELECT source_no FROM source_file";
    bulk::each(tx, sql, &[], |(no,): (i64,)| {
        sources.insert(no);
        Ok(())
    })
    .await?;
    Ok(sources)
}

/// Every statement day names a file that was read.
async fn statement_days(tx: &mut Tx, check: &mut Check) -> Result<(), DbError> {
    let sources = sources(tx).await?;
    let sql = "SELECT DISTINCT source_no FROM statement_day";
    bulk::each(tx, sql, &[], |(no,): (i64,)| {
        if !sources.contains(&no) {
            check.say("provenance", format!("statement days of file {no}"));
        }
        Ok(())
    })
    .await
}

async fn postings(tx: &mut Tx, check: &mut Check) -> Result<(), DbError> {
    let sources = sources(tx).await?;
    let sql = "SELECT p.inst_id, p.seq, p.source_no, p.kind, p.debit, p.credit, p.amount_fen, \
                      p.business_day, p.contract_no, p.account_no, p.source_id, p.revision, \
                      p.reverses, p.reference, p.channel, p.state, p.quantity, p.stated_fen, \
                      p.confirmed_day, \
                      p.hash, n.note \
               FROM posting p \
               LEFT JOIN posting_note n ON n.inst_id = p.inst_id AND n.seq = p.seq \
               WHERE p.inst_id BETWEEN $1 AND $2 \
               ORDER BY p.inst_id, p.seq";
    let (last,): (i64,) = on!(tx, c => sqlx::query_as(
            "SELECT CAST(COALESCE(MAX(inst_id), 0) AS BIGINT) FROM posting").fetch_one(c).await)
    .map_err(DbError::sql("finding the last institution"))?;
    let mut first = 1;
    while first <= last {
        let mut folds: Vec<Fold> = Vec::new();
        let range = [first, first + INSTITUTIONS_AT_ONCE - 1];
        bulk::each(tx, sql, &range, |row: PostingRow| {
            if folds.last().is_none_or(|f| f.inst_id != row.inst_id) {
                if let Some(last) = folds.last_mut() {
                    last.rows = HashMap::new();
                }
                folds.push(Fold {
                    inst_id: row.inst_id,
                    ..Fold::default()
                });
            }
            if let Some(fold) = folds.last_mut() {
                fold.take(&row, check);
            }
            if !sources.contains(&row.source_no) {
                let place = format!("institution {} seq {}", row.inst_id, row.seq);
                check.say("provenance", format!("{place} names no file that was read"));
            }
            Ok(())
        })
        .await?;
        compare(tx, &folds, check).await?;
        first += INSTITUTIONS_AT_ONCE;
    }
    Ok(())
}

impl Fold {
    fn take(&mut self, row: &PostingRow, check: &mut Check) {
        let place = format!("institution {} seq {}", row.inst_id, row.seq);
        if row.seq != self.seq + 1 {
            check.say("gapless", format!("{place} follows seq {}", self.seq));
        }
        self.seq = row.seq;
        let link = Link {
            inst_id: row.inst_id,
            seq: row.seq,
            source_no: row.source_no,
            kind: row.kind,
            debit: row.debit,
            credit: row.credit,
            amount_fen: row.amount_fen,
            business_day: row.business_day,
            contract_no: row.contract_no,
            account_no: row.account_no,
            source_id: &row.source_id,
            revision: row.revision,
            reverses: row.reverses,
            reference: &row.reference,
            channel: row.channel,
            state: row.state,
            quantity: row.quantity,
            stated_fen: row.stated_fen,
            confirmed_day: row.confirmed_day,
            note: row.note.as_deref().unwrap_or_default(),
        };
        let hash = link.after(&self.link.unwrap_or(GENESIS));
        if hash.as_slice() != row.hash.as_slice() {
            check.say(
                "chain",
                format!("{place} does not follow from the rows before it"),
            );
        }
        self.link = Some(hash);
        self.balances.entry(row.debit).or_default().0 += i128::from(row.amount_fen);
        self.balances.entry(row.credit).or_default().1 += i128::from(row.amount_fen);
        match row.reverses {
            Some(target) => {
                if self.rows.get(&target) != Some(&(row.credit, row.debit, row.amount_fen)) {
                    check.say("reversal", format!("{place} does not mirror seq {target}"));
                }
            }
            None => {
                self.rows
                    .insert(row.seq, (row.debit, row.credit, row.amount_fen));
            }
        }
        self.contract(row);
    }

    fn contract(&mut self, row: &PostingRow) {
        let amount = i128::from(row.amount_fen);
        let earned = if row.debit == crate::ledger::LedgerAccount::Unearned.number() {
            amount
        } else {
            -amount
        };
        if row.kind == Kind::Lesson.number()
            && LessonState::counts(u8::try_from(row.state).unwrap_or(0))
        {
            let lessons = if row.reverses.is_some() {
                -row.quantity
            } else {
                row.quantity
            };
            let c = self.contracts.entry(row.contract_no).or_default();
            c.0 += lessons;
            c.1 += earned;
        } else if row.kind == Kind::Revaluation.number() {
            self.contracts.entry(row.contract_no).or_default().1 += earned;
        }
    }
}

async fn compare(tx: &mut Tx, folds: &[Fold], check: &mut Check) -> Result<(), DbError> {
    let insts: Vec<i64> = folds.iter().map(|f| f.inst_id).collect();
    let heads = ledger_store::heads(tx, &insts).await?;
    let balances = ledger_store::balances(tx, &insts).await?;
    let states = ledger_store::contract_states(tx, &insts).await?;
    for fold in folds {
        let inst = fold.inst_id;
        let head = heads.get(&inst).copied().unwrap_or_default();
        if (head.seq, Some(head.hash)) != (fold.seq, fold.link) {
            check.say(
                "head",
                format!(
                    "institution {inst} ends at seq {}, its head says {}",
                    fold.seq, head.seq
                ),
            );
        }
        for (account, (debit, credit)) in &fold.balances {
            let stored = balances.get(&(inst, *account)).copied().unwrap_or_default();
            if (i128::from(stored.0), i128::from(stored.1)) != (*debit, *credit) {
                check.say(
                    "balance",
                    format!("institution {inst} ledger account {account}"),
                );
            }
        }
        for (contract_no, (lessons, earned)) in &fold.contracts {
            let Some((counted, stored, terms)) = states.get(&(inst, *contract_no)) else {
                check.say(
                    "contract",
                    format!("institution {inst} contract {contract_no} has no totals"),
                );
                continue;
            };
            let (counted, stored, terms): (i64, i64, Terms) = (*counted, *stored, *terms);
            if counted != *lessons
                || i128::from(stored) != *earned
                || terms.value_of(counted) != Money::from_fen(stored)
            {
                check.say(
                    "contract",
                    format!("institution {inst} contract {contract_no}"),
                );
            }
        }
    }
    Ok(())
}

/// Totals whose postings are gone: a fold over the postings alone would never visit them.
async fn erased(tx: &mut Tx, check: &mut Check) -> Result<(), DbError> {
    for (invariant, sql) in [
        (
            "head",
            "SELECT h.inst_id FROM institution_head h WHERE h.seq > 0 AND NOT EXISTS \
             (SELECT 1 FROM posting p WHERE p.inst_id = h.inst_id)",
        ),
        (
            "balance",
            "SELECT DISTINCT b.inst_id FROM ledger_balance b WHERE NOT EXISTS \
             (SELECT 1 FROM posting p WHERE p.inst_id = b.inst_id)",
        ),
        (
            "contract",
            "SELECT DISTINCT s.inst_id FROM contract_state s WHERE NOT EXISTS \
             (SELECT 1 FROM posting p WHERE p.inst_id = s.inst_id)",
        ),
    ] {
        bulk::each(tx, sql, &[], |(inst_id,): (i64,)| {
            check.say(
                invariant,
                format!("institution {inst_id} has totals and no postings"),
            );
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Files as received: their bytes are those of their digest, and a statement that was read is kept.
async fn raw_files(tx: &mut Tx, check: &mut Check) -> Result<(), DbError> {
    let mut in_pieces = Vec::new();
    let sql = "SELECT digest, bytes, content, pieces FROM raw_file";
    type Row = (Vec<u8>, i64, Vec<u8>, Vec<u8>);
    bulk::each(tx, sql, &[], |(digest, bytes, content, pieces): Row| {
        if !pieces.is_empty() {
            in_pieces.push((digest, bytes));
            return Ok(());
        }
        let whole = i64::try_from(content.len()).is_ok_and(|len| len == bytes);
        if !whole || Sha256::digest(&content).as_slice() != digest.as_slice() {
            check.say("raw-file", format!("file {} has other bytes", hex(&digest)));
        }
        Ok(())
    })
    .await?;
    for (digest, bytes) in in_pieces {
        let mut read = Sha256::new();
        let mut length = 0;
        for piece in kept::raw_pieces(tx, &digest).await? {
            match kept::raw_piece(tx, &piece).await {
                Ok(content) => {
                    length += i64::try_from(content.len()).unwrap_or(i64::MAX);
                    read.update(&content);
                }
                // One that is gone shows in the digest.
                Err(DbError::Inconsistent(_)) => {}
                Err(e) => return Err(e),
            }
        }
        if length != bytes || read.finalize().as_slice() != digest.as_slice() {
            check.say("raw-file", format!("file {} has other bytes", hex(&digest)));
        }
    }
    let sql = "SELECT f.source_no FROM source_file f WHERE f.kind = 'statement' \
                 AND f.digest IS NOT NULL AND LENGTH(f.digest) > 0 AND NOT EXISTS \
                 (SELECT 1 FROM raw_file r WHERE r.digest = f.digest)";
    bulk::each(tx, sql, &[], |(source_no,): (i64,)| {
        check.say(
            "raw-file",
            format!("the bytes of file {source_no} are not kept"),
        );
        Ok(())
    })
    .await
}

/// Records, their directories and results: each query finds what breaks the invariant and names it.
async fn records(tx: &mut Tx, check: &mut Check) -> Result<(), DbError> {
    for (invariant, sql) in RECORDS {
        bulk::each(tx, sql, &[], |(what,): (String,)| {
            check.say(invariant, what);
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Decisions are numbered without a gap and made as they must be.
async fn decisions(tx: &mut Tx, check: &mut Check) -> Result<(), DbError> {
    let mut last = (0, 0);
    for d in decision::store::known(tx, (0, i64::MAX), i64::MAX).await? {
        let id = d.id;
        let before = if last.0 == id.inst_id { last.1 } else { 0 };
        if id.decision_no != before + 1 {
            check.say("decision", format!("there is no decision before {id}"));
        }
        last = (id.inst_id, id.decision_no);
        if let Some(what) = d.broken() {
            check.say("decision", format!("{id} {what}"));
        }
    }
    Ok(())
}

async fn imports(tx: &mut Tx, check: &mut Check) -> Result<(), DbError> {
    let open: Vec<(i64, String)> = on!(tx, c => sqlx::query_as(
            "SELECT import_no, source FROM import WHERE completed_at IS NULL")
            .fetch_all(c).await)
    .map_err(DbError::sql("reading imports"))?;
    for (import_no, source) in open {
        check.say(
            "import",
            format!("import {import_no} of {source} was interrupted; give its command again"),
        );
    }
    Ok(())
}

async fn districts(tx: &mut Tx, check: &mut Check) -> Result<(), DbError> {
    let Some(run) = report::find_run(tx, &Wanted::default()).await? else {
        return Ok(());
    };
    let totals = report::store::district_totals(tx, &[run.head.run_id]).await?;
    let mut sums: HashMap<String, (i128, i128, i128, i64)> = HashMap::new();
    for p in report::store::positions(tx, &run, None).await? {
        let s = sums.entry(p.district_id).or_default();
        s.0 += i128::from(p.required.fen());
        s.1 += i128::from(p.held.fen());
        s.2 += i128::from(p.uncovered.fen());
        s.3 += 1;
    }
    for (district_id, d) in totals.get(&run.head.run_id).into_iter().flatten() {
        let told = |d: &DistrictTotals| {
            (
                i128::from(d.required.fen()),
                i128::from(d.held.fen()),
                i128::from(d.uncovered.fen()),
                d.institutions,
            )
        };
        if told(d) != sums.get(district_id).copied().unwrap_or_default() {
            check.say(
                "district",
                format!("run {} district {district_id}", run.head.run_id),
            );
        }
    }
    Ok(())
}

/// Triggers on SQLite, missing rights on PostgreSQL.
async fn append_only(tx: &mut Tx, check: &mut Check) -> Result<(), DbError> {
    let sql = dialect::pick(
        tx,
        // A posting and its note may be replaced: their hashes tell.
        "SELECT CAST(CASE WHEN COUNT(*) = CASE WHEN $1 IN ('posting', 'posting_note') THEN 2 ELSE 3 END \
              THEN 2 ELSE 0 END AS BIGINT) FROM sqlite_master \
         WHERE type = 'trigger' AND name IN ($1 || '_no_update', $1 || '_no_delete', $1 || '_no_replace')",
        "SELECT CAST(CASE WHEN has_table_privilege(current_user, $1, 'UPDATE') THEN 0 ELSE 1 END \
              + CASE WHEN has_table_privilege(current_user, $1, 'DELETE') THEN 0 ELSE 1 END AS BIGINT)",
    );
    for table in APPEND_ONLY_TABLES {
        let (guards,): (i64,) = on!(tx, c => sqlx::query_as(sql).bind(*table).fetch_one(c).await)
            .map_err(DbError::sql("reading the append-only guards"))?;
        if guards != 2 {
            let why = match tx.engine() {
                Engine::Sqlite => "its triggers are gone",
                Engine::Postgres => "the service's login may change or delete its rows",
            };
            check.say("append-only", format!("{table}: {why}"));
        }
    }
    Ok(())
}
