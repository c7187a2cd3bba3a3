//! What banks and channels state beside their lines: statement days, settlements, freezes, each a row
//! per version.

use crate::on;
use crate::store::bulk::{self, ints, opt_ints, texts};
use crate::store::news::{self, News, NewsKind};
use crate::store::{DbError, Result, Tx};

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

/// A stored statement day's newest version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredDay {
    pub inst_id: i64,
    pub account_no: i64,
    pub day: i64,
    pub version: i64,
    pub opening_fen: i64,
    pub closing_fen: i64,
    pub source_no: i64,
}

/// Newest versions of statement days, by (inst_id, account_no, day).
pub async fn statement_days(tx: &mut Tx, keys: &[(i64, i64, i64)]) -> Result<Vec<StoredDay>> {
    bulk::lookup(
        tx,
        vec![
            ("inst_id", ints(keys, |k| k.0)),
            ("account_no", ints(keys, |k| k.1)),
            ("day", ints(keys, |k| k.2)),
        ],
        "SELECT s.inst_id, s.account_no, s.day, s.version, s.opening_fen, s.closing_fen, \
                s.source_no \
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
            ("inst_id", ints(rows, |r| r.inst_id)),
            ("account_no", ints(rows, |r| r.account_no)),
            ("day", ints(rows, |r| r.day)),
            ("version", ints(rows, |r| r.version)),
            ("source_no", ints(rows, |r| r.source_no)),
            ("opening_fen", ints(rows, |r| r.opening_fen)),
            ("closing_fen", ints(rows, |r| r.closing_fen)),
        ],
    )
    .await?;
    let told = |r: &StatementDay| {
        News::of(
            NewsKind::StatementDay,
            (r.inst_id, r.account_no),
            r.source_no,
            r.day,
        )
    };
    news::append(tx, rows.iter().map(told).collect()).await
}

/// A channel batch (结算批次), in one version.
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
            ("inst_id", ints(keys, |k| k.0)),
            ("account_no", ints(keys, |k| k.1)),
            ("batch_no", texts(keys, |k| k.2)),
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
            ("inst_id", ints(rows, |r| r.2.inst_id)),
            ("account_no", ints(rows, |r| r.2.account_no)),
            ("batch_no", texts(rows, |r| r.2.batch_no.as_str())),
            ("version", ints(rows, |r| r.0)),
            ("source_no", ints(rows, |r| r.1)),
            ("channel", ints(rows, |r| r.2.channel)),
            ("period_from_day", ints(rows, |r| r.2.period_from_day)),
            ("period_to_day", ints(rows, |r| r.2.period_to_day)),
            ("gross_fen", ints(rows, |r| r.2.gross_fen)),
            ("fee_fen", ints(rows, |r| r.2.fee_fen)),
            ("refund_fen", ints(rows, |r| r.2.refund_fen)),
            ("net_fen", ints(rows, |r| r.2.net_fen)),
            ("expected_day", opt_ints(rows, |r| r.2.expected_day)),
        ],
    )
    .await?;
    let told = |r: &(i64, i64, Settlement)| News {
        last_no: r.2.period_to_day,
        ..News::of(
            NewsKind::Settlement,
            (r.2.inst_id, r.2.account_no),
            r.1,
            r.2.period_from_day,
        )
    };
    news::append(tx, rows.iter().map(told).collect()).await
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
            ("inst_id", ints(keys, |k| k.0)),
            ("account_no", ints(keys, |k| k.1)),
            ("document_no", texts(keys, |k| k.2)),
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
            ("inst_id", ints(rows, |r| r.2.inst_id)),
            ("account_no", ints(rows, |r| r.2.account_no)),
            ("document_no", texts(rows, |r| r.2.document_no.as_str())),
            ("version", ints(rows, |r| r.0)),
            ("source_no", ints(rows, |r| r.1)),
            ("kind", texts(rows, |r| r.2.kind.as_str())),
            ("amount_fen", opt_ints(rows, |r| r.2.amount_fen)),
            ("from_day", opt_ints(rows, |r| r.2.from_day)),
            ("to_day", opt_ints(rows, |r| r.2.to_day)),
        ],
    )
    .await?;
    let told = |r: &(i64, i64, Freeze)| {
        let from = r.2.from_day.unwrap_or(0);
        News::of(NewsKind::Record, (r.2.inst_id, r.2.account_no), r.1, from)
    };
    news::append(tx, rows.iter().map(told).collect()).await
}
