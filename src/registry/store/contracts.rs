//! Contracts: versions to append, and the newest ones by order id.

use crate::base::InstId;
use crate::registry::Contract;
use crate::store::bulk::{self, ints, opt_ints, opt_texts, texts};
use crate::store::news::{self, News, NewsKind};
use crate::store::{Result, Tx, days};

/// A contract version to append, and where it belongs.
pub struct NewContract<'a> {
    pub inst_id: InstId,
    pub contract_no: i64,
    pub version: i64,
    pub source_no: i64,
    pub order_id: &'a str,
    pub value: &'a Contract,
}

/// Appends contract versions; the first version also enters the directory. Give rows in order of
/// (inst_id, contract_no).
pub async fn append_contracts(tx: &mut Tx, rows: &[NewContract<'_>]) -> Result<()> {
    bulk::append(
        tx,
        "contract",
        vec![
            ("inst_id", ints(rows, |r| r.inst_id.0)),
            ("contract_no", ints(rows, |r| r.contract_no)),
            ("version", ints(rows, |r| r.version)),
            ("source_no", ints(rows, |r| r.source_no)),
            ("order_id", texts(rows, |r| r.order_id)),
            ("student_ref", texts(rows, |r| r.value.student_ref.as_str())),
            (
                "ordered_day",
                ints(rows, |r| days::number(r.value.ordered_on)),
            ),
            ("lessons", ints(rows, |r| r.value.lessons)),
            ("gift_lessons", ints(rows, |r| r.value.gift_lessons)),
            ("unit_price_fen", ints(rows, |r| r.value.unit_price)),
            ("amount_fen", ints(rows, |r| r.value.amount)),
            ("extras_fen", ints(rows, |r| r.value.extras)),
            ("list_price_fen", opt_ints(rows, |r| r.value.list_price)),
            (
                "subject_group",
                opt_texts(rows, |r| r.value.subject_group.as_deref()),
            ),
            ("kind", opt_texts(rows, |r| r.value.kind.as_deref())),
            (
                "starts_day",
                opt_ints(rows, |r| days::opt_number(r.value.starts_on)),
            ),
            (
                "ends_day",
                opt_ints(rows, |r| days::opt_number(r.value.ends_on)),
            ),
        ],
    )
    .await?;
    let told = |r: &NewContract<'_>| {
        News::of(
            NewsKind::Contract,
            (r.inst_id.0, 0),
            r.source_no,
            r.contract_no,
        )
    };
    news::append(tx, rows.iter().map(told).collect()).await?;
    let mut first: Vec<_> = rows.iter().filter(|r| r.version == 1).collect();
    first.sort_unstable_by_key(|r| r.order_id);
    bulk::append(
        tx,
        "contract_directory",
        vec![
            ("order_id", texts(&first, |r| r.order_id)),
            ("inst_id", ints(&first, |r| r.inst_id.0)),
            ("contract_no", ints(&first, |r| r.contract_no)),
        ],
    )
    .await
}

#[derive(sqlx::FromRow)]
struct ContractRecord {
    order_id: String,
    inst_id: i64,
    contract_no: i64,
    version: i64,
    student_ref: String,
    ordered_day: i64,
    lessons: i64,
    gift_lessons: i64,
    unit_price_fen: i64,
    amount_fen: i64,
    extras_fen: i64,
    list_price_fen: Option<i64>,
    subject_group: Option<String>,
    kind: Option<String>,
    starts_day: Option<i64>,
    ends_day: Option<i64>,
}

/// A contract's newest version, with its numbers.
pub struct StoredContract {
    pub order_id: String,
    pub inst_id: InstId,
    pub contract_no: i64,
    pub version: i64,
    pub value: Contract,
}

/// The newest versions of contracts by order id.
pub async fn contracts(tx: &mut Tx, order_ids: &[&str]) -> Result<Vec<StoredContract>> {
    let rows: Vec<ContractRecord> = bulk::lookup(
        tx,
        vec![("order_id", texts(order_ids, |id| id))],
        "SELECT c.order_id, c.inst_id, c.contract_no, c.version, c.student_ref, c.ordered_day, \
                c.lessons, c.gift_lessons, c.unit_price_fen, c.amount_fen, c.extras_fen, \
                c.list_price_fen, c.subject_group, c.kind, c.starts_day, c.ends_day \
         FROM wanted w CROSS JOIN contract_directory d CROSS JOIN contract c \
         WHERE d.order_id = w.order_id AND c.inst_id = d.inst_id AND c.contract_no = d.contract_no \
           AND c.version = (SELECT MAX(v.version) FROM contract v \
                            WHERE v.inst_id = c.inst_id AND v.contract_no = c.contract_no)",
    )
    .await?;
    rows.into_iter()
        .map(|r| {
            let value = Contract {
                student_ref: r.student_ref,
                ordered_on: days::day(r.ordered_day, "contract")?,
                lessons: r.lessons,
                gift_lessons: r.gift_lessons,
                unit_price: r.unit_price_fen,
                amount: r.amount_fen,
                extras: r.extras_fen,
                list_price: r.list_price_fen,
                subject_group: r.subject_group,
                kind: r.kind,
                starts_on: days::opt_day(r.starts_day, "contract")?,
                ends_on: days::opt_day(r.ends_day, "contract")?,
            };
            Ok(StoredContract {
                order_id: r.order_id,
                inst_id: InstId(r.inst_id),
                contract_no: r.contract_no,
                version: r.version,
                value,
            })
        })
        .collect()
}
