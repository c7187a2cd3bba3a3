//! SQL of the life of statements: which one stands for a day, what contradicts it, pages that wait.

use std::fmt;

use sha2::{Digest, Sha256};

use super::bank_facts::StoredDay;
use super::imports::assumptions;
use super::kept::raw;
use crate::base::Day;
use crate::base::entropy::hex;
use crate::on;
use crate::store::bulk::{self, bytes, ints, opt_ints, texts};
use crate::store::news::{self, News, NewsKind};
use crate::store::{DbError, Result, Tx};
use crate::wire::Assumptions;

/// A statement as its bank names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatementKey {
    pub inst_id: i64,
    pub account_no: i64,
    /// The format without its version: `camt.053`, `mt940`, `bank-csv:icbc`.
    pub family: String,
    /// Empty where the bank gives none.
    pub number: String,
    pub first_day: i64,
    pub last_day: i64,
}

/// `mt940 9/1 of 2026-06-01 to 2026-06-03`.
impl fmt::Display for StatementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = |n: i64| Day::from_epoch(i32::try_from(n).unwrap_or(0));
        write!(f, "{}", self.family)?;
        if !self.number.is_empty() {
            write!(f, " {}", self.number)?;
        }
        write!(f, " of {}", day(self.first_day))?;
        if self.last_day != self.first_day {
            write!(f, " to {}", day(self.last_day))?;
        }
        Ok(())
    }
}

/// A version of a statement to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementVersion {
    pub key: StatementKey,
    pub version: i64,
    pub source_no: i64,
    /// When the bank made it, in milliseconds; `None` where its format does not say.
    pub made_ms: Option<i64>,
    /// It says what stands, and was made later.
    pub confirms: bool,
    pub lines: i64,
    pub added: i64,
    pub removed: i64,
    pub changed: i64,
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    inst_id: i64,
    account_no: i64,
    family: String,
    number: String,
    first_day: i64,
    last_day: i64,
    source_no: i64,
    version: i64,
    made_ms: Option<i64>,
}

/// A version of a statement that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownVersion {
    pub key: StatementKey,
    pub source_no: i64,
    pub version: i64,
    pub made_ms: Option<i64>,
}

impl From<KeyRow> for KnownVersion {
    fn from(r: KeyRow) -> Self {
        let key = StatementKey {
            inst_id: r.inst_id,
            account_no: r.account_no,
            family: r.family,
            number: r.number,
            first_day: r.first_day,
            last_day: r.last_day,
        };
        KnownVersion {
            key,
            source_no: r.source_no,
            version: r.version,
            made_ms: r.made_ms,
        }
    }
}

/// True where a statement file has been taken in: bundles alone leave none.
pub async fn has_statements(tx: &mut Tx) -> Result<bool> {
    let row: Option<(i64,)> = on!(tx, c => sqlx::query_as("SELECT inst_id FROM statement LIMIT 1")
            .fetch_optional(c).await)
    .map_err(DbError::sql("looking for statements"))?;
    Ok(row.is_some())
}

/// The statements that files brought, by (inst_id, account_no, source_no).
pub async fn statements_of_files(
    tx: &mut Tx,
    keys: &[(i64, i64, i64)],
) -> Result<Vec<KnownVersion>> {
    let rows: Vec<KeyRow> = bulk::lookup(
        tx,
        vec![
            ("inst_id", ints(keys, |k| k.0)),
            ("account_no", ints(keys, |k| k.1)),
            ("source_no", ints(keys, |k| k.2)),
        ],
        "SELECT s.inst_id, s.account_no, s.family, s.number, s.first_day, s.last_day, s.source_no, \
                s.version, s.made_ms \
         FROM wanted w CROSS JOIN statement s \
         WHERE s.inst_id = w.inst_id AND s.account_no = w.account_no AND s.source_no = w.source_no",
    )
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Versions of statements by their keys.
pub async fn statement_versions(tx: &mut Tx, keys: &[StatementKey]) -> Result<Vec<KnownVersion>> {
    let rows: Vec<KeyRow> = bulk::lookup(
        tx,
        vec![
            ("inst_id", ints(keys, |k| k.inst_id)),
            ("account_no", ints(keys, |k| k.account_no)),
            ("family", texts(keys, |k| k.family.as_str())),
            ("number", texts(keys, |k| k.number.as_str())),
            ("first_day", ints(keys, |k| k.first_day)),
            ("last_day", ints(keys, |k| k.last_day)),
        ],
        "SELECT s.inst_id, s.account_no, s.family, s.number, s.first_day, s.last_day, s.source_no, \
                s.version, s.made_ms \
         FROM wanted w CROSS JOIN statement s \
         WHERE s.inst_id = w.inst_id AND s.account_no = w.account_no AND s.family = w.family \
           AND s.number = w.number AND s.first_day = w.first_day AND s.last_day = w.last_day",
    )
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

pub async fn append_statements(tx: &mut Tx, rows: &[StatementVersion]) -> Result<()> {
    bulk::append(
        tx,
        "statement",
        vec![
            ("inst_id", ints(rows, |r| r.key.inst_id)),
            ("account_no", ints(rows, |r| r.key.account_no)),
            ("family", texts(rows, |r| r.key.family.as_str())),
            ("number", texts(rows, |r| r.key.number.as_str())),
            ("first_day", ints(rows, |r| r.key.first_day)),
            ("last_day", ints(rows, |r| r.key.last_day)),
            ("version", ints(rows, |r| r.version)),
            ("source_no", ints(rows, |r| r.source_no)),
            ("made_ms", opt_ints(rows, |r| r.made_ms)),
            ("confirms", ints(rows, |r| i64::from(r.confirms))),
            ("lines", ints(rows, |r| r.lines)),
            ("lines_added", ints(rows, |r| r.added)),
            ("lines_removed", ints(rows, |r| r.removed)),
            ("lines_changed", ints(rows, |r| r.changed)),
        ],
    )
    .await
}

/// What a statement says of a day for which another one stands.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Dispute {
    pub inst_id: i64,
    pub account_no: i64,
    pub day: i64,
    /// The statement that says it, as [`StatementKey`] prints.
    pub claimant: String,
    pub version: i64,
    pub source_no: i64,
    pub opening_fen: i64,
    pub closing_fen: i64,
    /// Over the amounts of its lines, sorted.
    pub lines_digest: Vec<u8>,
    /// 1 once the claim and what stands agree.
    pub settled: i64,
}

/// The newest version of every claim on days, by (inst_id, account_no, day).
pub async fn disputes(tx: &mut Tx, keys: &[(i64, i64, i64)]) -> Result<Vec<Dispute>> {
    bulk::lookup(
        tx,
        vec![
            ("inst_id", ints(keys, |k| k.0)),
            ("account_no", ints(keys, |k| k.1)),
            ("day", ints(keys, |k| k.2)),
        ],
        "SELECT d.inst_id, d.account_no, d.day, d.claimant, d.version, d.source_no, d.opening_fen, \
                d.closing_fen, d.lines_digest, d.settled \
         FROM wanted w CROSS JOIN statement_dispute d \
         WHERE d.inst_id = w.inst_id AND d.account_no = w.account_no AND d.day = w.day \
           AND d.version = (SELECT MAX(v.version) FROM statement_dispute v \
                            WHERE v.inst_id = d.inst_id AND v.account_no = d.account_no \
                              AND v.day = d.day AND v.claimant = d.claimant)",
    )
    .await
}

pub async fn append_disputes(tx: &mut Tx, rows: &[Dispute]) -> Result<()> {
    bulk::append(
        tx,
        "statement_dispute",
        vec![
            ("inst_id", ints(rows, |r| r.inst_id)),
            ("account_no", ints(rows, |r| r.account_no)),
            ("day", ints(rows, |r| r.day)),
            ("claimant", texts(rows, |r| r.claimant.as_str())),
            ("version", ints(rows, |r| r.version)),
            ("source_no", ints(rows, |r| r.source_no)),
            ("opening_fen", ints(rows, |r| r.opening_fen)),
            ("closing_fen", ints(rows, |r| r.closing_fen)),
            ("lines_digest", bytes(rows, |r| r.lines_digest.as_slice())),
            ("settled", ints(rows, |r| r.settled)),
        ],
    )
    .await?;
    let told = |r: &Dispute| {
        News::of(
            NewsKind::Record,
            (r.inst_id, r.account_no),
            r.source_no,
            r.day,
        )
    };
    news::append(tx, rows.iter().map(told).collect()).await
}

/// What becomes of a file of which only a part is in the books and the rest cannot follow. It is not known: given
/// again, it is taken in.
pub const UNFINISHED: &str = "unfinished";
/// How the claimant is called that disputes what such a file brought; its digest and name follow.
pub const UNFINISHED_CLAIMANT: &str = "unfinished file ";
/// Digits of the digest in a claimant's name.
const CLAIMANT_DIGITS: usize = 16;
/// Characters of the file's name there.
const CLAIMANT_NAME_CHARS: usize = 200;

/// Who disputes the days of an unfinished file.
pub fn unfinished_claimant(digest: &[u8], name: &str) -> String {
    let name = name.rsplit('/').next().unwrap_or(name).chars();
    claimant_of(digest) + &name.take(CLAIMANT_NAME_CHARS).collect::<String>()
}

fn claimant_of(digest: &[u8]) -> String {
    let digits: String = hex(digest).chars().take(CLAIMANT_DIGITS).collect();
    format!("{UNFINISHED_CLAIMANT}{digits} ")
}

/// The days that a file has brought.
pub async fn days_of_file(tx: &mut Tx, source_no: i64) -> Result<Vec<StoredDay>> {
    on!(tx, c => sqlx::query_as(
            "SELECT inst_id, account_no, day, version, source_no, opening_fen, closing_fen \
             FROM statement_day WHERE source_no = $1 ORDER BY inst_id, account_no, day")
            .bind(source_no).fetch_all(c).await)
    .map_err(DbError::sql("looking for the days of a file"))
}

/// Settles what an unfinished file left disputed, now that its bytes are in the books as a whole. Belongs into
/// the transaction that posts the last of them.
pub async fn settle_unfinished(tx: &mut Tx, digest: &[u8], source_no: i64) -> Result<()> {
    let left: Option<(i64,)> = on!(tx, c => sqlx::query_as(
            "SELECT source_no FROM source_file WHERE digest = $1 AND outcome = $2 LIMIT 1")
            .bind(digest).bind(UNFINISHED).fetch_optional(c).await)
    .map_err(DbError::sql("looking for an unfinished file"))?;
    if left.is_none() {
        return Ok(());
    }
    let mut open: Vec<Dispute> = on!(tx, c => sqlx::query_as(
            "SELECT inst_id, account_no, day, claimant, version, source_no, opening_fen, closing_fen, \
                    lines_digest, settled \
             FROM statement_dispute d WHERE claimant LIKE $1 AND settled = 0 \
               AND version = (SELECT MAX(v.version) FROM statement_dispute v \
                              WHERE v.inst_id = d.inst_id AND v.account_no = d.account_no \
                                AND v.day = d.day AND v.claimant = d.claimant)")
            .bind(format!("{}%", claimant_of(digest))).fetch_all(c).await)
    .map_err(DbError::sql("looking for the days of an unfinished file"))?;
    for claim in &mut open {
        claim.version += 1;
        claim.settled = 1;
        claim.source_no = source_no;
    }
    append_disputes(tx, &open).await
}

/// Days for which an account owes no statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exemption {
    pub inst_id: i64,
    pub account_no: i64,
    pub first_day: i64,
    pub last_day: i64,
    /// Empty where the exemption has ended.
    pub reason: String,
}

/// The newest version of an exemption of the same account and days: its number and reason.
pub async fn exemption(tx: &mut Tx, row: &Exemption) -> Result<Option<(i64, String)>> {
    on!(tx, c => sqlx::query_as(
            "SELECT version, reason FROM statement_exemption \
             WHERE inst_id = $1 AND account_no = $2 AND first_day = $3 AND last_day = $4 \
             ORDER BY version DESC LIMIT 1")
            .bind(row.inst_id).bind(row.account_no).bind(row.first_day).bind(row.last_day)
            .fetch_optional(c).await)
    .map_err(DbError::sql("looking for an exemption"))
}

pub async fn append_exemption(
    tx: &mut Tx,
    row: &Exemption,
    (version, source_no): (i64, i64),
) -> Result<()> {
    on!(tx, c => sqlx::query(
            "INSERT INTO statement_exemption (inst_id, account_no, first_day, last_day, version, \
                    source_no, reason) VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(row.inst_id).bind(row.account_no).bind(row.first_day).bind(row.last_day)
            .bind(version).bind(source_no).bind(&row.reason).execute(c).await.map(|_| ()))
    .map_err(DbError::sql("recording an exemption"))?;
    let told = News::of(
        NewsKind::Record,
        (row.inst_id, row.account_no),
        source_no,
        row.first_day,
    );
    news::append(tx, vec![told]).await
}

/// A digest of the amounts of a day's lines, whatever their order.
pub fn lines_digest(fen: impl IntoIterator<Item = i64>) -> Vec<u8> {
    let mut fen: Vec<i64> = fen.into_iter().collect();
    fen.sort_unstable();
    let mut digest = Sha256::new();
    for amount in fen {
        digest.update(amount.to_be_bytes());
    }
    digest.finalize().to_vec()
}

/// Keeps a file as one that holds a page of these accounts whose neighbour has not come.
pub async fn wait_for_pages(
    tx: &mut Tx,
    digest: &[u8],
    accounts: &[String],
    source_no: i64,
) -> Result<()> {
    let digests = vec![digest; accounts.len()];
    bulk::append_new(
        tx,
        "waiting_page",
        vec![
            ("digest", bytes(&digests, |d| d)),
            ("account", texts(accounts, String::as_str)),
            ("source_no", ints(accounts, |_| source_no)),
        ],
    )
    .await
    .map(|_| ())
}

/// Bytes of the files that hold waiting pages of these accounts, in the order they came, each with what it
/// was read with.
pub async fn waiting_pages(
    tx: &mut Tx,
    accounts: &[String],
) -> Result<Vec<(Vec<u8>, Assumptions)>> {
    type Row = (i64, Vec<u8>, Option<String>, Option<String>);
    let mut rows: Vec<Row> = bulk::lookup(
        tx,
        vec![("account", texts(accounts, String::as_str))],
        "SELECT p.source_no, p.digest, s.assumed_account, s.assumed_unit \
         FROM wanted w CROSS JOIN waiting_page p \
         LEFT JOIN source_file s ON s.source_no = p.source_no \
         WHERE p.account = w.account",
    )
    .await?;
    rows.sort_unstable();
    rows.dedup_by(|a, b| a.1 == b.1);
    let mut pages = Vec::with_capacity(rows.len());
    for (_, digest, account, unit) in rows {
        match raw(tx, &digest).await {
            Ok(content) => pages.push((content, assumptions(account, unit.as_deref())?)),
            // Its page waits on, and the day with it.
            Err(DbError::Inconsistent(why)) => {
                tracing::error!(why, "a file whose page waits cannot be read any more");
            }
            Err(e) => return Err(e),
        }
    }
    Ok(pages)
}

/// The pages of these accounts have found their neighbours.
pub async fn stop_waiting_for_pages(tx: &mut Tx, accounts: &[String]) -> Result<()> {
    let accounts = texts(accounts, String::as_str);
    bulk::delete(tx, "waiting_page", vec![("account", accounts)])
        .await
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_of_lines_knows_no_order() {
        assert_eq!(lines_digest([1, -2, 1]), lines_digest([1, 1, -2]));
        assert_ne!(lines_digest([1, 1]), lines_digest([1]));
    }
}
