//! The import row and its files: what is numbered, what is seen, what became of each file.

use std::collections::HashSet;

use crate::base::{AmountUnit, Instant};
use crate::on;
use crate::store::bulk::{self, ints};
use crate::store::{DbError, Result, Tx};
use crate::wire::Assumptions;

/// How an import begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    New(i64),
    /// An interrupted import goes on under its number: the same command, or one that left nothing
    /// half-taken. The text is the command it was given.
    Resumed(i64, String),
    /// An interrupted import of other inputs has a bundle half in the books.
    HalfTaken(String),
}

/// Opens an import, or goes on with one that was interrupted. Rows that an interrupted import brought
/// become visible with the import that goes on with it, so another command may do so only where no
/// bundle is half-taken (statement files are taken whole or not at all), or where it says so (`adopt`).
pub async fn open(tx: &mut Tx, source: &str, adopt: bool) -> Result<Opened> {
    let open: Option<(i64, String)> = on!(tx, c => sqlx::query_as(
            "SELECT import_no, source FROM import WHERE completed_at IS NULL ORDER BY import_no LIMIT 1")
            .fetch_optional(c).await)
    .map_err(DbError::sql("looking for an interrupted import"))?;
    if let Some((import_no, interrupted)) = open {
        let bundle: Option<(i64,)> = on!(tx, c => sqlx::query_as(
                "SELECT source_no FROM source_file WHERE import_no = $1 AND kind <> 'statement' LIMIT 1")
                .bind(import_no).fetch_optional(c).await)
        .map_err(DbError::sql("looking at an interrupted import"))?;
        if bundle.is_some() && interrupted != source && !adopt {
            return Ok(Opened::HalfTaken(interrupted));
        }
        on!(tx, c => sqlx::query(
                "UPDATE source_file SET outcome = 'interrupted' WHERE import_no = $1 AND outcome = 'reading'")
                .bind(import_no).execute(c).await.map(|_| ()))
        .map_err(DbError::sql("closing an interrupted import's files"))?;
        return Ok(Opened::Resumed(import_no, interrupted));
    }
    let (import_no,): (i64,) = on!(tx, c => sqlx::query_as(
            "SELECT CAST(COALESCE(MAX(import_no), 0) + 1 AS BIGINT) FROM import")
            .fetch_one(c).await)
    .map_err(DbError::sql("numbering the import"))?;
    let now = tx.now();
    on!(tx, c => sqlx::query("INSERT INTO import (import_no, source, started_at) VALUES ($1, $2, $3)")
            .bind(import_no).bind(source).bind(now).execute(c).await.map(|_| ()))
    .map_err(DbError::sql("opening the import"))?;
    Ok(Opened::New(import_no))
}

/// Makes everything the import brought visible, later than anything seen before: neither an earlier
/// import's completion nor the known-at of a run that has looked may be at or after it, whatever the
/// clocks of two machines say.
pub async fn complete(tx: &mut Tx, import_no: i64) -> Result<()> {
    tx.order_visibility().await?;
    let latest = latest_visible(tx).await?;
    let run: (Option<Instant>,) = on!(tx, c => sqlx::query_as("SELECT MAX(known_at) FROM run")
            .fetch_one(c).await)
    .map_err(DbError::sql("looking at what runs have seen"))?;
    let now = [latest, run.0]
        .into_iter()
        .flatten()
        .map(|seen| seen + chrono::TimeDelta::microseconds(1))
        .fold(tx.now(), Instant::max);
    let changed = on!(tx, c => sqlx::query(
            "UPDATE import SET completed_at = $2 WHERE import_no = $1 AND completed_at IS NULL")
            .bind(import_no).bind(now).execute(c).await.map(|r| r.rows_affected()))
    .map_err(DbError::sql("completing the import"))?;
    if changed == 1 {
        Ok(())
    } else {
        Err(DbError::Inconsistent(format!(
            "import {import_no} was not open"
        )))
    }
}

/// When the newest import became visible.
pub async fn latest_visible(tx: &mut Tx) -> Result<Option<Instant>> {
    let (latest,): (Option<Instant>,) = on!(tx, c => sqlx::query_as(
            "SELECT MAX(completed_at) FROM import").fetch_one(c).await)
    .map_err(DbError::sql("looking for the newest import"))?;
    Ok(latest)
}

/// The highest file number known at an instant; facts beyond it are not known yet.
pub async fn cut(tx: &mut Tx, known_at: Instant) -> Result<i64> {
    let cut: Option<(i64,)> = on!(tx, c => sqlx::query_as(
            "SELECT f.source_no FROM source_file f \
             JOIN import i ON i.import_no = f.import_no WHERE i.completed_at <= $1 \
             ORDER BY f.source_no DESC LIMIT 1")
            .bind(known_at).fetch_optional(c).await)
    .map_err(DbError::sql("finding what was known"))?;
    Ok(cut.map_or(0, |(cut,)| cut))
}

/// Numbers a file about to be read.
pub async fn open_file(tx: &mut Tx, import_no: i64, name: &str, kind: &str) -> Result<i64> {
    let (source_no,): (i64,) = on!(tx, c => sqlx::query_as(
            "SELECT CAST(COALESCE(MAX(source_no), 0) + 1 AS BIGINT) FROM source_file")
            .fetch_one(c).await)
    .map_err(DbError::sql("numbering a file"))?;
    on!(tx, c => sqlx::query(
            "INSERT INTO source_file (source_no, import_no, name, kind, bytes, outcome, rows_new, \
                    rows_same, rows_revised, rows_waiting, rows_quarantined) \
             VALUES ($1, $2, $3, $4, 0, 'reading', 0, 0, 0, 0, 0)")
            .bind(source_no).bind(import_no).bind(name).bind(kind).execute(c).await.map(|_| ()))
    .map_err(DbError::sql("recording a file"))?;
    Ok(source_no)
}

/// What became of a file.
#[derive(Clone, Debug, Default)]
pub struct FileResult {
    pub digest: Vec<u8>,
    pub bytes: i64,
    pub outcome: &'static str,
    pub new: i64,
    pub same: i64,
    pub revised: i64,
    pub waiting: i64,
    pub quarantined: i64,
}

pub async fn close_file(tx: &mut Tx, source_no: i64, result: &FileResult) -> Result<()> {
    let r = result;
    on!(tx, c => sqlx::query(
            "UPDATE source_file SET digest = $2, bytes = $3, outcome = $4, rows_new = $5, \
                    rows_same = $6, rows_revised = $7, rows_waiting = $8, rows_quarantined = $9 \
             WHERE source_no = $1")
            .bind(source_no).bind(&r.digest).bind(r.bytes).bind(r.outcome).bind(r.new)
            .bind(r.same).bind(r.revised).bind(r.waiting).bind(r.quarantined)
            .execute(c).await.map(|_| ()))
    .map_err(DbError::sql("recording what became of a file"))
}

/// A file as it was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenFile {
    pub source_no: i64,
    pub import_no: i64,
    pub outcome: String,
    /// With what help it was read.
    pub assumed: Assumptions,
    /// A statement of it that does not say when it was made has been corrected by another file since.
    pub is_corrected: bool,
}

/// Files of these bytes that have been taken in, the first one first.
pub async fn taken_files(tx: &mut Tx, digest: &[u8]) -> Result<Vec<TakenFile>> {
    type Row = (i64, i64, String, Option<String>, Option<String>);
    let rows: Vec<Row> = on!(tx, c => sqlx::query_as(
            "SELECT source_no, import_no, outcome, assumed_account, assumed_unit FROM source_file \
             WHERE digest = $1 AND outcome IN ('used', 'disputed', 'waiting') ORDER BY source_no")
            .bind(digest).fetch_all(c).await)
    .map_err(DbError::sql("looking for a file"))?;
    let corrected = corrected(tx, &rows.iter().map(|r| r.0).collect::<Vec<_>>()).await?;
    (rows.into_iter())
        .map(|(source_no, import_no, outcome, account, unit)| {
            Ok(TakenFile {
                source_no,
                import_no,
                outcome,
                assumed: assumptions(account, unit.as_deref())?,
                is_corrected: corrected.contains(&source_no),
            })
        })
        .collect()
}

/// Which of these files have a statement that does not say when it was made and has been corrected since.
/// Asked by itself: files belong to no institution, so a distributed database cannot join them with statements.
async fn corrected(tx: &mut Tx, source_nos: &[i64]) -> Result<HashSet<i64>> {
    let rows: Vec<(i64,)> = bulk::lookup(
        tx,
        vec![("source_no", ints(source_nos, |no| *no))],
        "SELECT DISTINCT s.source_no FROM wanted w CROSS JOIN statement s JOIN statement t \
             ON t.inst_id = s.inst_id AND t.account_no = s.account_no \
            AND t.family = s.family AND t.number = s.number \
            AND t.first_day = s.first_day AND t.last_day = s.last_day AND t.version > s.version \
            AND t.lines_added + t.lines_removed + t.lines_changed > 0 \
         WHERE s.source_no = w.source_no AND s.made_ms IS NULL",
    )
    .await?;
    Ok(rows.into_iter().map(|(source_no,)| source_no).collect())
}

/// What is said of a file of which a part is in the books, while the rest follows.
const POSTING: &str = "posting";
/// The same of one whose word holds against what other statements said.
const SUPERSEDING: &str = "superseding";

/// A file of which a part is in the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HalfPosted {
    pub source_no: i64,
    pub name: String,
    pub digest: Vec<u8>,
    pub bytes: i64,
    /// Its word holds against what other statements said.
    pub supersede: bool,
    /// With what help it was read.
    pub assumed: Assumptions,
}

impl FileResult {
    /// What is said of the file until the rest of it is in the books. Such a file is not known yet.
    #[must_use]
    pub fn half_posted(&self, supersede: bool) -> FileResult {
        FileResult {
            outcome: if supersede { SUPERSEDING } else { POSTING },
            ..self.clone()
        }
    }
}

/// Files of an import of which a part is in the books: whoever goes on with it finishes them from the bytes
/// that are kept, whatever else it is given.
pub async fn half_posted(tx: &mut Tx, import_no: i64) -> Result<Vec<HalfPosted>> {
    type Row = (
        i64,
        String,
        Vec<u8>,
        i64,
        String,
        Option<String>,
        Option<String>,
    );
    let rows: Vec<Row> = on!(tx, c => sqlx::query_as(
            "SELECT source_no, name, digest, bytes, outcome, assumed_account, assumed_unit \
             FROM source_file WHERE import_no = $1 AND outcome IN ($2, $3) ORDER BY source_no")
            .bind(import_no).bind(POSTING).bind(SUPERSEDING).fetch_all(c).await)
    .map_err(DbError::sql("looking for files that are half in the books"))?;
    (rows.into_iter())
        .map(|(source_no, name, digest, bytes, outcome, account, unit)| {
            Ok(HalfPosted {
                source_no,
                name,
                digest,
                bytes,
                supersede: outcome == SUPERSEDING,
                assumed: assumptions(account, unit.as_deref())?,
            })
        })
        .collect()
}

/// Assumptions as their columns keep them.
pub(super) fn assumptions(account: Option<String>, unit: Option<&str>) -> Result<Assumptions> {
    let amount_unit = unit
        .map(|unit| unit.parse().map_err(DbError::Inconsistent))
        .transpose()?;
    Ok(Assumptions {
        account,
        amount_unit,
    })
}

/// Notes what a file does not say itself. Belongs into the transaction that posts it.
pub async fn note_assumed(tx: &mut Tx, source_no: i64, assumed: &Assumptions) -> Result<()> {
    let unit = assumed.amount_unit.map(AmountUnit::as_str);
    on!(tx, c => sqlx::query(
            "UPDATE source_file SET assumed_account = $2, assumed_unit = $3 WHERE source_no = $1")
            .bind(source_no).bind(assumed.account.as_deref()).bind(unit)
            .execute(c).await.map(|_| ()))
    .map_err(DbError::sql("recording what a file does not say"))
}

/// True where a file of a kind has been taken in.
pub async fn has_file_of(tx: &mut Tx, kind: &str) -> Result<bool> {
    let row: Option<(i64,)> = on!(tx, c => sqlx::query_as(
            "SELECT source_no FROM source_file WHERE kind = $1 LIMIT 1")
            .bind(kind).fetch_optional(c).await)
    .map_err(DbError::sql("looking for files of a kind"))?;
    Ok(row.is_some())
}
