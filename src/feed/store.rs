//! SQL of imports: the import row, its files, what was quarantined and what waits.

use sha2::{Digest, Sha256};

use crate::base::{Defect, Instant};
use crate::on;
use crate::store::bulk::{self, Column};
use crate::store::{DbError, Result, Tx};

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
    let (cut,): (i64,) = on!(tx, c => sqlx::query_as(
            "SELECT CAST(COALESCE(MAX(f.source_no), 0) AS BIGINT) FROM source_file f \
             JOIN import i ON i.import_no = f.import_no WHERE i.completed_at <= $1")
            .bind(known_at).fetch_one(c).await)
    .map_err(DbError::sql("finding what was known"))?;
    Ok(cut)
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

/// True where a file of these bytes has been taken in.
pub async fn is_known(tx: &mut Tx, digest: &[u8]) -> Result<bool> {
    let row: Option<(i64,)> = on!(tx, c => sqlx::query_as(
            "SELECT source_no FROM source_file WHERE digest = $1 AND outcome = 'used' LIMIT 1")
            .bind(digest).fetch_optional(c).await)
    .map_err(DbError::sql("looking for a file"))?;
    Ok(row.is_some())
}

/// Keeps a file's bytes by their digest.
pub async fn keep_raw(tx: &mut Tx, digest: &[u8], content: &[u8]) -> Result<()> {
    let now = tx.now();
    let bytes = i64::try_from(content.len()).unwrap_or(i64::MAX);
    on!(tx, c => sqlx::query(
            "INSERT INTO raw_file (digest, received_at, bytes, content) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING")
            .bind(digest).bind(now).bind(bytes).bind(content).execute(c).await.map(|_| ()))
    .map_err(DbError::sql("keeping a file's bytes"))
}

/// A row that cannot be used.
#[derive(Clone, Debug)]
pub struct Quarantined {
    pub source_no: i64,
    pub defect: Defect,
    pub record: String,
}

/// Keeps rows that cannot be used; the same row for the same reason is kept once.
pub async fn quarantine(tx: &mut Tx, rows: &[Quarantined]) -> Result<()> {
    let digests: Vec<Vec<u8>> = rows
        .iter()
        .map(|q| {
            let mut h = Sha256::new();
            for part in [
                q.defect.code.as_str(),
                q.defect.place.file.as_str(),
                q.defect.place.column.as_deref().unwrap_or_default(),
                q.record.as_str(),
                q.defect.found.as_str(),
            ] {
                h.update((part.len() as u64).to_le_bytes());
                h.update(part.as_bytes());
            }
            h.finalize().to_vec()
        })
        .collect();
    let line = |q: &Quarantined| i64::try_from(q.defect.place.line.unwrap_or(0)).unwrap_or(0);
    let column = |q: &'_ Quarantined| q.defect.place.column.clone().unwrap_or_default();
    let columns: Vec<String> = rows.iter().map(column).collect();
    bulk::append_new(
        tx,
        "quarantine",
        vec![
            (
                "record_digest",
                Column::Bytes(digests.iter().map(Vec::as_slice).collect()),
            ),
            (
                "source_no",
                Column::Int(rows.iter().map(|q| q.source_no).collect()),
            ),
            (
                "file",
                Column::Text(rows.iter().map(|q| q.defect.place.file.as_str()).collect()),
            ),
            ("line", Column::Int(rows.iter().map(line).collect())),
            (
                "column_name",
                Column::Text(columns.iter().map(String::as_str).collect()),
            ),
            (
                "code",
                Column::Int(rows.iter().map(|q| q.defect.code.number()).collect()),
            ),
            (
                "found",
                Column::Text(rows.iter().map(|q| q.defect.found.as_str()).collect()),
            ),
            (
                "record",
                Column::Text(rows.iter().map(|q| q.record.as_str()).collect()),
            ),
        ],
    )
    .await
    .map(|_| ())
}

/// A row that waits for its parent: its cells by column name.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub digest: Vec<u8>,
    pub source_no: i64,
    pub line: i64,
    pub kind: &'static str,
    pub parent_id: String,
    pub record: String,
}

impl Waiting {
    /// # Errors
    /// None in practice: pairs of text always serialise.
    pub fn new(
        source_no: i64,
        line: u64,
        kind: &'static str,
        parent_id: &str,
        cells: &[(String, String)],
    ) -> Waiting {
        let record = serde_json::to_string(cells).unwrap_or_default();
        let mut h = Sha256::new();
        h.update(kind.as_bytes());
        h.update([0]);
        h.update(record.as_bytes());
        Waiting {
            digest: h.finalize().to_vec(),
            source_no,
            line: i64::try_from(line).unwrap_or(0),
            kind,
            parent_id: parent_id.to_owned(),
            record,
        }
    }
}

/// Keeps rows that wait; a row that already waits is kept once.
pub async fn wait(tx: &mut Tx, rows: &[Waiting]) -> Result<()> {
    bulk::append_new(
        tx,
        "waiting_row",
        vec![
            (
                "record_digest",
                Column::Bytes(rows.iter().map(|w| w.digest.as_slice()).collect()),
            ),
            (
                "source_no",
                Column::Int(rows.iter().map(|w| w.source_no).collect()),
            ),
            ("line", Column::Int(rows.iter().map(|w| w.line).collect())),
            ("kind", Column::Text(rows.iter().map(|w| w.kind).collect())),
            (
                "parent_id",
                Column::Text(rows.iter().map(|w| w.parent_id.as_str()).collect()),
            ),
            (
                "record",
                Column::Text(rows.iter().map(|w| w.record.as_str()).collect()),
            ),
        ],
    )
    .await
    .map(|_| ())
}

/// Rows of a kind that wait from earlier imports, as sent: digest, cells, file.
pub async fn waiting(tx: &mut Tx, kind: &'static str) -> Result<Vec<(Vec<u8>, String, i64)>> {
    on!(tx, c => sqlx::query_as(
            "SELECT record_digest, record, source_no FROM waiting_row WHERE kind = $1 ORDER BY source_no, line")
            .bind(kind).fetch_all(c).await)
    .map_err(DbError::sql("reading rows that wait"))
}

/// Takes rows off the waiting list: they have found their parent.
pub async fn stop_waiting(tx: &mut Tx, digests: &[Vec<u8>]) -> Result<()> {
    let digests = Column::Bytes(digests.iter().map(Vec::as_slice).collect());
    bulk::delete(tx, "waiting_row", vec![("record_digest", digests)])
        .await
        .map(|_| ())
}

/// A statement day to store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatementDay {
    pub inst_id: i64,
    pub account_no: i64,
    pub day: i64,
    /// The file that first brought it: of several rows of one day the one sent last stands.
    pub sent_no: i64,
    pub opening_fen: i64,
    pub closing_fen: i64,
    pub source_no: i64,
    pub version: i64,
}

/// Newest versions of statement days, by (inst_id, account_no, day).
pub async fn statement_days(
    tx: &mut Tx,
    keys: &[(i64, i64, i64)],
) -> Result<Vec<(i64, i64, i64, i64, i64, i64)>> {
    bulk::lookup(
        tx,
        vec![
            ("inst_id", Column::Int(keys.iter().map(|k| k.0).collect())),
            (
                "account_no",
                Column::Int(keys.iter().map(|k| k.1).collect()),
            ),
            ("day", Column::Int(keys.iter().map(|k| k.2).collect())),
        ],
        "SELECT s.inst_id, s.account_no, s.day, s.version, s.opening_fen, s.closing_fen \
         FROM wanted w CROSS JOIN statement_day s \
         WHERE s.inst_id = w.inst_id AND s.account_no = w.account_no AND s.day = w.day \
           AND s.version = (SELECT MAX(v.version) FROM statement_day v WHERE v.inst_id = s.inst_id \
                              AND v.account_no = s.account_no AND v.day = s.day)",
    )
    .await
}

/// True where no account has a statement day yet: a first load needs no look-ups.
pub async fn has_no_statement_days(tx: &mut Tx) -> Result<bool> {
    let row: Option<(i64,)> =
        on!(tx, c => sqlx::query_as("SELECT inst_id FROM statement_day LIMIT 1")
            .fetch_optional(c).await)
        .map_err(DbError::sql("looking for statement days"))?;
    Ok(row.is_none())
}

pub async fn append_statement_days(tx: &mut Tx, rows: &[StatementDay]) -> Result<()> {
    bulk::append(
        tx,
        "statement_day",
        vec![
            (
                "inst_id",
                Column::Int(rows.iter().map(|r| r.inst_id).collect()),
            ),
            (
                "account_no",
                Column::Int(rows.iter().map(|r| r.account_no).collect()),
            ),
            ("day", Column::Int(rows.iter().map(|r| r.day).collect())),
            (
                "version",
                Column::Int(rows.iter().map(|r| r.version).collect()),
            ),
            (
                "source_no",
                Column::Int(rows.iter().map(|r| r.source_no).collect()),
            ),
            (
                "opening_fen",
                Column::Int(rows.iter().map(|r| r.opening_fen).collect()),
            ),
            (
                "closing_fen",
                Column::Int(rows.iter().map(|r| r.closing_fen).collect()),
            ),
        ],
    )
    .await
}

/// A channel batch (结算批次) or an account's freeze, in one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Settlement {
    pub inst_id: i64,
    pub account_no: i64,
    pub batch_no: String,
    pub channel: i64,
    pub period_from_day: i64,
    pub period_to_day: i64,
    pub gross_fen: i64,
    pub fee_fen: i64,
    pub refund_fen: i64,
    pub net_fen: i64,
    pub expected_day: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct SettlementRecord {
    inst_id: i64,
    account_no: i64,
    batch_no: String,
    version: i64,
    channel: i64,
    period_from_day: i64,
    period_to_day: i64,
    gross_fen: i64,
    fee_fen: i64,
    refund_fen: i64,
    net_fen: i64,
    expected_day: Option<i64>,
}

/// Newest versions of settlements by (inst_id, account_no, batch_no).
pub async fn settlements(tx: &mut Tx, keys: &[(i64, i64, &str)]) -> Result<Vec<(i64, Settlement)>> {
    let rows: Vec<SettlementRecord> = bulk::lookup(
        tx,
        vec![
            ("inst_id", Column::Int(keys.iter().map(|k| k.0).collect())),
            (
                "account_no",
                Column::Int(keys.iter().map(|k| k.1).collect()),
            ),
            ("batch_no", Column::Text(keys.iter().map(|k| k.2).collect())),
        ],
        "SELECT s.inst_id, s.account_no, s.batch_no, s.version, s.channel, s.period_from_day, \
                s.period_to_day, s.gross_fen, s.fee_fen, s.refund_fen, s.net_fen, s.expected_day \
         FROM wanted w CROSS JOIN settlement s \
         WHERE s.inst_id = w.inst_id AND s.account_no = w.account_no AND s.batch_no = w.batch_no \
           AND s.version = (SELECT MAX(v.version) FROM settlement v WHERE v.inst_id = s.inst_id \
                              AND v.account_no = s.account_no AND v.batch_no = s.batch_no)",
    )
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| {
            let value = Settlement {
                inst_id: r.inst_id,
                account_no: r.account_no,
                batch_no: r.batch_no,
                channel: r.channel,
                period_from_day: r.period_from_day,
                period_to_day: r.period_to_day,
                gross_fen: r.gross_fen,
                fee_fen: r.fee_fen,
                refund_fen: r.refund_fen,
                net_fen: r.net_fen,
                expected_day: r.expected_day,
            };
            (r.version, value)
        })
        .collect())
}

pub async fn append_settlements(tx: &mut Tx, rows: &[(i64, i64, Settlement)]) -> Result<()> {
    bulk::append(
        tx,
        "settlement",
        vec![
            (
                "inst_id",
                Column::Int(rows.iter().map(|r| r.2.inst_id).collect()),
            ),
            (
                "account_no",
                Column::Int(rows.iter().map(|r| r.2.account_no).collect()),
            ),
            (
                "batch_no",
                Column::Text(rows.iter().map(|r| r.2.batch_no.as_str()).collect()),
            ),
            ("version", Column::Int(rows.iter().map(|r| r.0).collect())),
            ("source_no", Column::Int(rows.iter().map(|r| r.1).collect())),
            (
                "channel",
                Column::Int(rows.iter().map(|r| r.2.channel).collect()),
            ),
            (
                "period_from_day",
                Column::Int(rows.iter().map(|r| r.2.period_from_day).collect()),
            ),
            (
                "period_to_day",
                Column::Int(rows.iter().map(|r| r.2.period_to_day).collect()),
            ),
            (
                "gross_fen",
                Column::Int(rows.iter().map(|r| r.2.gross_fen).collect()),
            ),
            (
                "fee_fen",
                Column::Int(rows.iter().map(|r| r.2.fee_fen).collect()),
            ),
            (
                "refund_fen",
                Column::Int(rows.iter().map(|r| r.2.refund_fen).collect()),
            ),
            (
                "net_fen",
                Column::Int(rows.iter().map(|r| r.2.net_fen).collect()),
            ),
            (
                "expected_day",
                Column::OptInt(rows.iter().map(|r| r.2.expected_day).collect()),
            ),
        ],
    )
    .await
}

/// A freeze of an account (冻结), in one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Freeze {
    pub inst_id: i64,
    pub account_no: i64,
    pub document_no: String,
    pub kind: String,
    pub amount_fen: Option<i64>,
    pub from_day: Option<i64>,
    pub to_day: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct FreezeRecord {
    inst_id: i64,
    account_no: i64,
    document_no: String,
    version: i64,
    kind: String,
    amount_fen: Option<i64>,
    from_day: Option<i64>,
    to_day: Option<i64>,
}

/// Newest versions of freezes by (inst_id, account_no, document_no).
pub async fn freezes(tx: &mut Tx, keys: &[(i64, i64, &str)]) -> Result<Vec<(i64, Freeze)>> {
    let rows: Vec<FreezeRecord> = bulk::lookup(
        tx,
        vec![
            ("inst_id", Column::Int(keys.iter().map(|k| k.0).collect())),
            ("account_no", Column::Int(keys.iter().map(|k| k.1).collect())),
            ("document_no", Column::Text(keys.iter().map(|k| k.2).collect())),
        ],
        "SELECT f.inst_id, f.account_no, f.document_no, f.version, f.kind, f.amount_fen, f.from_day, \
                f.to_day \
         FROM wanted w CROSS JOIN account_freeze f \
         WHERE f.inst_id = w.inst_id AND f.account_no = w.account_no \
           AND f.document_no = w.document_no \
           AND f.version = (SELECT MAX(v.version) FROM account_freeze v WHERE v.inst_id = f.inst_id \
                              AND v.account_no = f.account_no AND v.document_no = f.document_no)",
    )
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| {
            let value = Freeze {
                inst_id: r.inst_id,
                account_no: r.account_no,
                document_no: r.document_no,
                kind: r.kind,
                amount_fen: r.amount_fen,
                from_day: r.from_day,
                to_day: r.to_day,
            };
            (r.version, value)
        })
        .collect())
}

pub async fn append_freezes(tx: &mut Tx, rows: &[(i64, i64, Freeze)]) -> Result<()> {
    bulk::append(
        tx,
        "account_freeze",
        vec![
            (
                "inst_id",
                Column::Int(rows.iter().map(|r| r.2.inst_id).collect()),
            ),
            (
                "account_no",
                Column::Int(rows.iter().map(|r| r.2.account_no).collect()),
            ),
            (
                "document_no",
                Column::Text(rows.iter().map(|r| r.2.document_no.as_str()).collect()),
            ),
            ("version", Column::Int(rows.iter().map(|r| r.0).collect())),
            ("source_no", Column::Int(rows.iter().map(|r| r.1).collect())),
            (
                "kind",
                Column::Text(rows.iter().map(|r| r.2.kind.as_str()).collect()),
            ),
            (
                "amount_fen",
                Column::OptInt(rows.iter().map(|r| r.2.amount_fen).collect()),
            ),
            (
                "from_day",
                Column::OptInt(rows.iter().map(|r| r.2.from_day).collect()),
            ),
            (
                "to_day",
                Column::OptInt(rows.iter().map(|r| r.2.to_day).collect()),
            ),
        ],
    )
    .await
}
