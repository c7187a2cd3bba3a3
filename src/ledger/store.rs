//! SQL of the ledger. The only writer of `posting` and its running totals.

use std::collections::{HashMap, HashSet};

use super::Kind;
use super::chain::{Chain, GENESIS};
use super::contracts::Slot;
use super::rows::Rows;
use crate::base::{Day, InstId, Money};
use crate::on;
use crate::registry::Terms;
use crate::store::bulk::{self, Column, bytes, ints, texts};
use crate::store::{DbError, Result, Tx, days};

/// The end of an institution's chain and its next numbers.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub seq: i64,
    pub hash: Chain,
    pub contracts: i64,
}

impl Default for Head {
    fn default() -> Head {
        Head {
            seq: 0,
            hash: GENESIS,
            contracts: 0,
        }
    }
}

/// A posted fact's current version.
#[derive(Clone, Debug)]
pub struct Existing {
    pub seq: i64,
    pub revision: i64,
    /// False where it was reversed and nothing put in its place.
    pub stands: bool,
    pub day: Day,
    pub contract_no: i64,
    pub account_no: i64,
    pub amount: Money,
    pub stated: Option<Money>,
    pub confirmed: Option<Day>,
    pub reference: String,
    pub channel: i64,
    pub state: i64,
    pub quantity: i64,
    pub note: String,
    pub debit: i64,
    pub credit: i64,
}

fn chain(bytes: &[u8], table: &'static str) -> Result<Chain> {
    bytes
        .try_into()
        .map_err(|_| DbError::Inconsistent(format!("{table} has a link of {} bytes", bytes.len())))
}

/// Heads of institutions; one without a row has posted nothing.
pub async fn heads(tx: &mut Tx, inst_ids: &[i64]) -> Result<HashMap<i64, Head>> {
    type Row = (i64, i64, Vec<u8>, i64);
    let rows: Vec<Row> = bulk::lookup(
        tx,
        vec![("inst_id", ints(inst_ids, |id| *id))],
        "SELECT h.inst_id, h.seq, h.hash, h.contracts \
         FROM wanted w CROSS JOIN institution_head h WHERE h.inst_id = w.inst_id",
    )
    .await?;
    rows.into_iter()
        .map(|(inst_id, seq, hash, contracts)| {
            let hash = chain(&hash, "institution_head")?;
            Ok((
                inst_id,
                Head {
                    seq,
                    hash,
                    contracts,
                },
            ))
        })
        .collect()
}

pub async fn put_heads(tx: &mut Tx, heads: &[(i64, Head)]) -> Result<()> {
    bulk::upsert(
        tx,
        "institution_head",
        &["inst_id"],
        vec![
            ("inst_id", ints(heads, |(i, _)| *i)),
            ("seq", ints(heads, |(_, h)| h.seq)),
            ("hash", bytes(heads, |(_, h)| h.hash.as_slice())),
            ("contracts", ints(heads, |(_, h)| h.contracts)),
        ],
    )
    .await
}

#[derive(sqlx::FromRow)]
struct ExistingRow {
    inst_id: i64,
    kind: i64,
    source_id: String,
    revision: i64,
    reverses: Option<i64>,
    seq: i64,
    business_day: i64,
    contract_no: i64,
    account_no: i64,
    amount_fen: i64,
    stated_fen: Option<i64>,
    confirmed_day: Option<i64>,
    reference: String,
    channel: i64,
    state: i64,
    quantity: i64,
    debit: i64,
    credit: i64,
    note: Option<String>,
}

/// What tells a fact apart: institution, kind, the sender's id, and for a bank line its account, since a
/// bank numbers its lines per account (0 for other kinds).
pub(super) type FactKey = (i64, i64, String, i64);

/// The account's part in a [`FactKey`].
pub(super) fn key_account(kind: i64, account_no: i64) -> i64 {
    if kind == Kind::BankLine.number() {
        account_no
    } else {
        0
    }
}

/// Current versions of facts by (inst_id, kind, source_id), on whatever account.
///
/// The index is asked by itself (`k`): asked for the row as well, SQLite takes the primary key and reads
/// an institution's whole history for every fact.
pub(super) async fn existing(
    tx: &mut Tx,
    keys: &[(i64, i64, &str)],
) -> Result<HashMap<FactKey, Existing>> {
    let mut found: HashMap<FactKey, Existing> = HashMap::new();
    if keys.is_empty() {
        return Ok(found);
    }
    let rows: Vec<ExistingRow> = bulk::lookup(
        tx,
        vec![
            ("inst_id", ints(keys, |k| k.0)),
            ("kind", ints(keys, |k| k.1)),
            ("source_id", texts(keys, |k| k.2)),
        ],
        "SELECT p.inst_id, p.kind, p.source_id, p.revision, p.reverses, p.seq, p.business_day, p.contract_no, \
                p.account_no, p.amount_fen, p.stated_fen, p.reference, p.channel, p.state, \
                p.quantity, p.confirmed_day, p.debit, p.credit, n.note \
         FROM wanted w CROSS JOIN posting k CROSS JOIN posting p \
         LEFT JOIN posting_note n ON n.inst_id = p.inst_id AND n.seq = p.seq \
         WHERE k.inst_id = w.inst_id AND k.kind = w.kind AND k.source_id = w.source_id \
           AND p.inst_id = k.inst_id AND p.seq = k.seq",
    )
    .await?;
    let reversed: HashSet<(i64, i64)> = (rows.iter())
        .filter_map(|r| r.reverses.map(|seq| (r.inst_id, seq)))
        .collect();
    for r in rows.into_iter().filter(|r| r.reverses.is_none()) {
        let row = Existing {
            seq: r.seq,
            revision: r.revision,
            stands: !reversed.contains(&(r.inst_id, r.seq)),
            day: days::day(r.business_day, "posting")?,
            contract_no: r.contract_no,
            account_no: r.account_no,
            amount: Money::from_fen(r.amount_fen),
            stated: r.stated_fen.map(Money::from_fen),
            confirmed: days::opt_day(r.confirmed_day, "posting")?,
            reference: r.reference,
            channel: r.channel,
            state: r.state,
            quantity: r.quantity,
            note: r.note.unwrap_or_default(),
            debit: r.debit,
            credit: r.credit,
        };
        let account = key_account(r.kind, r.account_no);
        let key = (r.inst_id, r.kind, r.source_id, account);
        if found
            .get(&key)
            .is_none_or(|known| known.revision < row.revision)
        {
            found.insert(key, row);
        }
    }
    Ok(found)
}

pub(super) async fn append_postings(tx: &mut Tx, rows: Rows<'_>) -> Result<()> {
    bulk::append(
        tx,
        "posting",
        vec![
            ("inst_id", Column::Int(rows.inst_id)),
            ("seq", Column::Int(rows.seq)),
            ("source_no", Column::Int(rows.source_no)),
            ("kind", Column::Int(rows.kind)),
            ("debit", Column::Int(rows.debit)),
            ("credit", Column::Int(rows.credit)),
            ("amount_fen", Column::Int(rows.amount_fen)),
            ("business_day", Column::Int(rows.business_day)),
            ("contract_no", Column::Int(rows.contract_no)),
            ("account_no", Column::Int(rows.account_no)),
            ("source_id", texts(&rows.source_id, AsRef::as_ref)),
            ("revision", Column::Int(rows.revision)),
            ("reverses", Column::OptInt(rows.reverses)),
            ("reference", Column::Text(rows.reference)),
            ("channel", Column::Int(rows.channel)),
            ("state", Column::Int(rows.state)),
            ("quantity", Column::Int(rows.quantity)),
            ("stated_fen", Column::OptInt(rows.stated_fen)),
            ("confirmed_day", Column::OptInt(rows.confirmed_day)),
            ("hash", bytes(&rows.hash, <[u8; 33]>::as_slice)),
        ],
    )
    .await
}

pub(super) async fn append_notes(tx: &mut Tx, notes: &[(i64, i64, &str)]) -> Result<()> {
    bulk::append(
        tx,
        "posting_note",
        vec![
            ("inst_id", ints(notes, |n| n.0)),
            ("seq", ints(notes, |n| n.1)),
            ("note", texts(notes, |n| n.2)),
        ],
    )
    .await
}

/// Adds what a transaction moved to the running balances.
pub(super) async fn move_balances(
    tx: &mut Tx,
    moved: &HashMap<(i64, i64), (i128, i128)>,
) -> Result<()> {
    let mut keys: Vec<_> = moved.iter().collect();
    keys.sort_unstable_by_key(|(k, _)| **k);
    let fen = |v: i128| {
        i64::try_from(v).map_err(|_| DbError::Inconsistent("a balance exceeds 64 bits".to_owned()))
    };
    let debit = keys
        .iter()
        .map(|(_, v)| fen(v.0))
        .collect::<Result<Vec<_>>>()?;
    let credit = keys
        .iter()
        .map(|(_, v)| fen(v.1))
        .collect::<Result<Vec<_>>>()?;
    bulk::accumulate(
        tx,
        "ledger_balance",
        &["inst_id", "ledger_account"],
        vec![
            ("inst_id", ints(&keys, |(k, _)| k.0)),
            ("ledger_account", ints(&keys, |(k, _)| k.1)),
            ("debit_fen", Column::Int(debit)),
            ("credit_fen", Column::Int(credit)),
        ],
    )
    .await
}

pub(super) async fn put_contract_states(tx: &mut Tx, slots: &[Slot]) -> Result<()> {
    let mut slots: Vec<&Slot> = slots.iter().collect();
    slots.sort_unstable_by_key(|s| (s.inst_id, s.contract_no));
    bulk::upsert(
        tx,
        "contract_state",
        &["inst_id", "contract_no"],
        vec![
            ("inst_id", ints(&slots, |s| s.inst_id.0)),
            ("contract_no", ints(&slots, |s| s.contract_no)),
            ("lessons_counted", ints(&slots, |s| s.lessons_counted)),
            ("earned_fen", ints(&slots, |s| s.earned.fen())),
        ],
    )
    .await
}

type ContractRow = (String, i64, i64, i64, i64, i64, i64, i64, i64);

fn slot(
    (order_id, inst, no, amount, extras, lessons, gifts, counted, earned): ContractRow,
) -> (String, Slot) {
    let terms = Terms {
        lesson_amount: Money::from_fen(amount - extras),
        lessons,
        gift_lessons: gifts,
    };
    let slot = Slot::new(InstId(inst), no, terms).with_totals(counted, Money::from_fen(earned));
    (order_id, slot)
}

/// Contracts with their latest terms and running totals, by (inst_id, contract_no).
pub async fn contracts_by_number(tx: &mut Tx, keys: &[(i64, i64)]) -> Result<Vec<(String, Slot)>> {
    let rows: Vec<ContractRow> = bulk::lookup(
        tx,
        vec![
            ("inst_id", ints(keys, |k| k.0)),
            ("contract_no", ints(keys, |k| k.1)),
        ],
        "SELECT c.order_id, c.inst_id, c.contract_no, c.amount_fen, c.extras_fen, c.lessons, \
                c.gift_lessons, COALESCE(s.lessons_counted, 0), COALESCE(s.earned_fen, 0) \
         FROM wanted w CROSS JOIN contract c \
         LEFT JOIN contract_state s ON s.inst_id = c.inst_id AND s.contract_no = c.contract_no \
         WHERE c.inst_id = w.inst_id AND c.contract_no = w.contract_no \
           AND c.version = (SELECT MAX(v.version) FROM contract v \
                            WHERE v.inst_id = c.inst_id AND v.contract_no = c.contract_no)",
    )
    .await?;
    Ok(rows.into_iter().map(slot).collect())
}

/// The same by order id.
pub async fn contracts_by_order(tx: &mut Tx, order_ids: &[&str]) -> Result<Vec<(String, Slot)>> {
    let rows: Vec<ContractRow> = bulk::lookup(
        tx,
        vec![("order_id", texts(order_ids, |id| id))],
        "SELECT c.order_id, c.inst_id, c.contract_no, c.amount_fen, c.extras_fen, c.lessons, \
                c.gift_lessons, COALESCE(s.lessons_counted, 0), COALESCE(s.earned_fen, 0) \
         FROM wanted w CROSS JOIN contract_directory d CROSS JOIN contract c \
         LEFT JOIN contract_state s ON s.inst_id = c.inst_id AND s.contract_no = c.contract_no \
         WHERE d.order_id = w.order_id AND c.inst_id = d.inst_id AND c.contract_no = d.contract_no \
           AND c.version = (SELECT MAX(v.version) FROM contract v \
                            WHERE v.inst_id = c.inst_id AND v.contract_no = c.contract_no)",
    )
    .await?;
    Ok(rows.into_iter().map(slot).collect())
}

/// True where nothing has been posted yet: a first load needs no look-ups.
pub async fn is_empty(tx: &mut Tx) -> Result<bool> {
    let row: Option<(i64,)> =
        on!(tx, c => sqlx::query_as("SELECT inst_id FROM institution_head LIMIT 1")
            .fetch_optional(c).await)
        .map_err(DbError::sql("looking for postings"))?;
    Ok(row.is_none())
}

/// A bank line that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingLine {
    pub day: i64,
    /// Signed: money in is positive.
    pub fen: i64,
    pub source_id: String,
    pub reference: String,
}

/// Lines of an account that stand on the days `first..=last`, as known from files up to `source_cut`.
pub async fn lines(
    tx: &mut Tx,
    (inst_id, account_no): (i64, i64),
    (first, last): (i64, i64),
    source_cut: i64,
) -> Result<Vec<StandingLine>> {
    type Row = (i64, i64, i64, i64, Option<i64>, String, String);
    let rows: Vec<Row> = on!(tx, c => sqlx::query_as(
            "SELECT seq, business_day, quantity, amount_fen, reverses, source_id, reference FROM posting \
             WHERE inst_id = $1 AND account_no = $2 AND business_day BETWEEN $3 AND $4 AND kind = 5 \
               AND source_no <= $5")
            .bind(inst_id).bind(account_no).bind(first).bind(last).bind(source_cut)
            .fetch_all(c).await)
    .map_err(DbError::sql("reading an account's lines"))?;
    let reversed: HashSet<i64> = rows.iter().filter_map(|r| r.4).collect();
    let stands = |r: &Row| r.4.is_none() && !reversed.contains(&r.0);
    Ok((rows.into_iter().filter(stands))
        .map(|r| StandingLine {
            day: r.1,
            fen: r.2 * r.3,
            source_id: r.5,
            reference: r.6,
        })
        .collect())
}

/// Running balances by (inst_id, ledger account): debit and credit in fen.
pub async fn balances(tx: &mut Tx, inst_ids: &[i64]) -> Result<HashMap<(i64, i64), (i64, i64)>> {
    let rows: Vec<(i64, i64, i64, i64)> = bulk::lookup(
        tx,
        vec![("inst_id", ints(inst_ids, |id| *id))],
        "SELECT b.inst_id, b.ledger_account, b.debit_fen, b.credit_fen \
         FROM wanted w CROSS JOIN ledger_balance b WHERE b.inst_id = w.inst_id",
    )
    .await?;
    Ok(rows.into_iter().map(|r| ((r.0, r.1), (r.2, r.3))).collect())
}

/// Contract totals by (inst_id, contract_no): lessons counted, earned fen, newest terms.
pub async fn contract_states(
    tx: &mut Tx,
    inst_ids: &[i64],
) -> Result<HashMap<(i64, i64), (i64, i64, Terms)>> {
    let rows: Vec<(i64, i64, i64, i64, i64, i64, i64)> = bulk::lookup(
        tx,
        vec![("inst_id", ints(inst_ids, |id| *id))],
        "SELECT s.inst_id, s.contract_no, s.lessons_counted, s.earned_fen, \
                c.amount_fen - c.extras_fen, c.lessons, c.gift_lessons \
         FROM wanted w CROSS JOIN contract_state s \
         JOIN contract c ON c.inst_id = s.inst_id AND c.contract_no = s.contract_no \
         WHERE s.inst_id = w.inst_id \
           AND c.version = (SELECT MAX(v.version) FROM contract v \
                            WHERE v.inst_id = c.inst_id AND v.contract_no = c.contract_no)",
    )
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| {
            let terms = Terms {
                lesson_amount: Money::from_fen(r.4),
                lessons: r.5,
                gift_lessons: r.6,
            };
            ((r.0, r.1), (r.2, r.3, terms))
        })
        .collect())
}
