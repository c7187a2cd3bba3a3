//! What is kept of what arrived: raw files by digest, rows that cannot be used, rows that wait.

use sha2::{Digest, Sha256};

use crate::base::Defect;
use crate::on;
use crate::store::bulk::{self, bytes, ints, texts};
use crate::store::{DbError, Result, Tx};

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

/// How many bytes of a large file lie in one row: far below what either database holds in a value, and what
/// a reader needs at a time.
pub const PIECE_BYTES: usize = 1 << 20;
/// Bytes of a digest.
const DIGEST_BYTES: usize = 32;

/// Keeps pieces of a file by their own digests, which they are given with. One that is kept already is not
/// sent again.
pub async fn keep_pieces(tx: &mut Tx, pieces: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
    let known: Vec<(Vec<u8>,)> = bulk::lookup(
        tx,
        vec![("digest", bytes(pieces, |p| p.0.as_slice()))],
        "SELECT r.digest FROM wanted w CROSS JOIN raw_piece r WHERE r.digest = w.digest",
    )
    .await?;
    for (digest, content) in pieces.iter().filter(|p| !known.contains(&(p.0.clone(),))) {
        on!(tx, c => sqlx::query(
                "INSERT INTO raw_piece (digest, content) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(digest).bind(content).execute(c).await.map(|_| ()))
        .map_err(DbError::sql("keeping a piece of a file"))?;
    }
    Ok(())
}

/// Keeps a file whose pieces are kept, given by their digests in the order of the file.
pub async fn keep_raw_of(
    tx: &mut Tx,
    digest: &[u8],
    file_bytes: u64,
    pieces: &[Vec<u8>],
) -> Result<()> {
    let now = tx.now();
    let file_bytes = i64::try_from(file_bytes).unwrap_or(i64::MAX);
    on!(tx, c => sqlx::query(
            "INSERT INTO raw_file (digest, received_at, bytes, content, pieces) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING")
            .bind(digest).bind(now).bind(file_bytes).bind(Vec::<u8>::new()).bind(pieces.concat())
            .execute(c).await.map(|_| ()))
    .map_err(DbError::sql("keeping a file's bytes"))
}

/// Digests of the pieces of a kept file, in their order; none where it is kept in one.
///
/// # Errors
/// A digest nobody kept, or a database that does not answer.
pub async fn raw_pieces(tx: &mut Tx, digest: &[u8]) -> Result<Vec<Vec<u8>>> {
    let row: Option<(Vec<u8>,)> = on!(tx, c => sqlx::query_as(
            "SELECT pieces FROM raw_file WHERE digest = $1").bind(digest).fetch_optional(c).await)
    .map_err(DbError::sql("looking for a file's bytes"))?;
    let (pieces,) = row.ok_or_else(gone)?;
    Ok(pieces.chunks(DIGEST_BYTES).map(<[u8]>::to_vec).collect())
}

/// A kept piece's bytes.
///
/// # Errors
/// As [`raw_pieces`].
pub async fn raw_piece(tx: &mut Tx, digest: &[u8]) -> Result<Vec<u8>> {
    let row: Option<(Vec<u8>,)> = on!(tx, c => sqlx::query_as(
            "SELECT content FROM raw_piece WHERE digest = $1").bind(digest).fetch_optional(c).await)
    .map_err(DbError::sql("reading a piece of a file"))?;
    row.map(|(content,)| content).ok_or_else(gone)
}

/// A kept file's bytes, for files that fit into memory, and no others than were kept.
///
/// # Errors
/// As [`raw_pieces`]; bytes that are not what their digest says.
pub async fn raw(tx: &mut Tx, digest: &[u8]) -> Result<Vec<u8>> {
    type Row = (Vec<u8>, Vec<u8>);
    let row: Option<Row> = on!(tx, c => sqlx::query_as(
            "SELECT content, pieces FROM raw_file WHERE digest = $1").bind(digest).fetch_optional(c).await)
    .map_err(DbError::sql("reading a file's bytes"))?;
    let (mut content, pieces) = row.ok_or_else(gone)?;
    for piece in pieces.chunks(DIGEST_BYTES) {
        content.extend(raw_piece(tx, piece).await?);
    }
    if Sha256::digest(&content).as_slice() == digest {
        return Ok(content);
    }
    let found = "the kept bytes are not what their digest says".to_owned();
    Err(DbError::Inconsistent(found))
}

fn gone() -> DbError {
    DbError::Inconsistent("the bytes of a kept file are gone".to_owned())
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
    bulk::append_new(
        tx,
        "quarantine",
        vec![
            ("record_digest", bytes(&digests, Vec::as_slice)),
            ("source_no", ints(rows, |q| q.source_no)),
            ("file", texts(rows, |q| q.defect.place.file.as_str())),
            ("line", ints(rows, line)),
            (
                "column_name",
                texts(rows, |q| {
                    q.defect.place.column.as_deref().unwrap_or_default()
                }),
            ),
            ("code", ints(rows, |q| q.defect.code.number())),
            ("found", texts(rows, |q| q.defect.found.as_str())),
            ("record", texts(rows, |q| q.record.as_str())),
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
    /// What the row is about: a later row of it outdoes this one.
    pub subject: String,
    pub parent_id: String,
    pub record: String,
}

/// What tells a row that waits apart: kind, subject, digest.
pub type WaitingKey = (&'static str, String, Vec<u8>);

impl Waiting {
    pub fn new(
        (source_no, line): (i64, u64),
        (kind, subject): (&'static str, String),
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
            subject,
            parent_id: parent_id.to_owned(),
            record,
        }
    }

    pub fn key(&self) -> WaitingKey {
        (self.kind, self.subject.clone(), self.digest.clone())
    }
}

/// Keeps rows that wait, given in key order; a row that already waits is kept once.
pub async fn wait(tx: &mut Tx, rows: &[Waiting]) -> Result<()> {
    bulk::append_new(
        tx,
        "waiting_row",
        vec![
            ("kind", texts(rows, |w| w.kind)),
            ("subject", texts(rows, |w| w.subject.as_str())),
            ("record_digest", bytes(rows, |w| w.digest.as_slice())),
            ("source_no", ints(rows, |w| w.source_no)),
            ("line", ints(rows, |w| w.line)),
            ("parent_id", texts(rows, |w| w.parent_id.as_str())),
            ("record", texts(rows, |w| w.record.as_str())),
        ],
    )
    .await
    .map(|_| ())
}

/// A row that waits, as it was sent.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Kept {
    pub subject: String,
    pub record_digest: Vec<u8>,
    /// Its cells by column name.
    pub record: String,
    pub source_no: i64,
}

/// The next rows of a kind that wait, about `rows_max`, of subjects behind `after`: all rows of a subject
/// come together, in the order they were sent.
pub async fn waiting(
    tx: &mut Tx,
    kind: &'static str,
    after: &str,
    rows_max: i64,
) -> Result<Vec<Kept>> {
    let mut rows: Vec<Kept> = on!(tx, c => sqlx::query_as(
            "SELECT subject, record_digest, record, source_no FROM waiting_row \
             WHERE kind = $1 AND subject > $2 ORDER BY subject, record_digest LIMIT $3")
            .bind(kind).bind(after).bind(rows_max).fetch_all(c).await)
    .map_err(DbError::sql("reading rows that wait"))?;
    if i64::try_from(rows.len()).is_ok_and(|read| read == rows_max)
        && let Some(last) = rows.pop()
    {
        rows.retain(|row| row.subject != last.subject);
        rows.extend(waiting_of(tx, kind, &last.subject).await?);
    }
    rows.sort_by(|a, b| (&a.subject, a.source_no).cmp(&(&b.subject, b.source_no)));
    Ok(rows)
}

async fn waiting_of(tx: &mut Tx, kind: &'static str, subject: &str) -> Result<Vec<Kept>> {
    on!(tx, c => sqlx::query_as(
            "SELECT subject, record_digest, record, source_no FROM waiting_row \
             WHERE kind = $1 AND subject = $2 ORDER BY record_digest")
            .bind(kind).bind(subject).fetch_all(c).await)
    .map_err(DbError::sql("reading rows that wait"))
}

/// Whether rows of a kind wait.
pub async fn waits(tx: &mut Tx, kind: &'static str) -> Result<bool> {
    let row: Option<(i64,)> = on!(tx, c => sqlx::query_as(
            "SELECT source_no FROM waiting_row WHERE kind = $1 LIMIT 1")
            .bind(kind).fetch_optional(c).await)
    .map_err(DbError::sql("looking for rows that wait"))?;
    Ok(row.is_some())
}

/// Rows of one kind that wait about one of the subjects: subject, digest, file.
pub async fn waiting_about(
    tx: &mut Tx,
    kind: &'static str,
    subjects: &[&str],
) -> Result<Vec<(String, Vec<u8>, i64)>> {
    bulk::lookup(
        tx,
        vec![
            ("kind", texts(subjects, |_| kind)),
            ("subject", texts(subjects, |s| s)),
        ],
        "SELECT r.subject, r.record_digest, r.source_no FROM wanted w CROSS JOIN waiting_row r \
         WHERE r.kind = w.kind AND r.subject = w.subject",
    )
    .await
}

/// Takes rows off the waiting list: they have found their parent, or later rows have outdone them.
pub async fn stop_waiting(tx: &mut Tx, keys: &[WaitingKey]) -> Result<()> {
    let keys = vec![
        ("kind", texts(keys, |k| k.0)),
        ("subject", texts(keys, |k| k.1.as_str())),
        ("record_digest", bytes(keys, |k| k.2.as_slice())),
    ];
    bulk::delete(tx, "waiting_row", keys).await.map(|_| ())
}
