//! SQL of what is carried forward, and of what was learned since.

use std::collections::HashMap;

use super::Seen;
use super::facts::{
    SettlementRow, claims, decisions, exemptions, freezes, packed_contracts, packed_days,
    read_contracts, read_days, settlement,
};
use super::postings::later_postings;
use crate::base::Day;
use crate::on;
use crate::reconcile::carried::Decoded;
use crate::reconcile::facts::Facts;
use crate::reconcile::known::{Known, News, Records};
use crate::store::bulk::{self, bytes, ints, repeated};
use crate::store::news::{News as NewsRow, NewsKind};
use crate::store::{DbError, Result, Tx, days};

/// What is carried of an institution, as it is kept.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct CarriedRow {
    pub inst_id: i64,
    /// The last file it knows.
    pub source_cut: i64,
    /// A digest of what it was computed by besides facts.
    pub basis: Vec<u8>,
    pub content: Vec<u8>,
}

/// What is carried of institutions `first..=last` under a policy version.
pub async fn carried_rows(
    tx: &mut Tx,
    (first, last): (i64, i64),
    policy_no: i64,
) -> Result<Vec<CarriedRow>> {
    on!(tx, c => sqlx::query_as(
            "SELECT inst_id, source_cut, basis, content FROM carried \
             WHERE inst_id BETWEEN $1 AND $2 AND policy_no = $3")
            .bind(first).bind(last).bind(policy_no).fetch_all(c).await)
    .map_err(DbError::sql("reading what is carried"))
}

/// Keeps what is carried in place of what was.
pub async fn keep_carried(tx: &mut Tx, policy_no: i64, rows: &[CarriedRow]) -> Result<()> {
    bulk::upsert(
        tx,
        "carried",
        &["inst_id", "policy_no"],
        vec![
            ("inst_id", ints(rows, |r| r.inst_id)),
            ("policy_no", repeated(policy_no, rows.len())),
            ("source_cut", ints(rows, |r| r.source_cut)),
            ("basis", bytes(rows, |r| r.basis.as_slice())),
            ("content", bytes(rows, |r| r.content.as_slice())),
        ],
    )
    .await
    .map(|_| ())
}

/// What is known of institutions by what is carried of them, each up to its file, and was learned since; one of
/// which all facts have to be read is absent.
pub async fn known_since(
    tx: &mut Tx,
    mut carried: Vec<(i64, Decoded)>,
    cut: i64,
) -> Result<Vec<Known>> {
    carried.sort_unstable_by_key(|(_, d)| d.known.facts.inst_id);
    let of = |d: &Decoded| (d.known.facts.inst_id, d.known.seq);
    let after: Vec<(i64, i64)> = carried.iter().map(|(_, d)| of(d)).collect();
    let mut postings = later_postings(tx, &after, cut).await?;
    let cuts: Vec<(i64, i64)> = carried
        .iter()
        .map(|(cut, d)| (d.known.facts.inst_id, *cut))
        .collect();
    let with_records = carried.iter().filter(|(_, d)| d.has_records);
    let with_records = with_records.map(|(_, d)| d.known.facts.inst_id).collect();
    let mut news = news(tx, &cuts, cut, with_records).await?;
    let mut found = Vec::with_capacity(carried.len());
    for (_, Decoded { mut known, .. }) in carried {
        let inst_id = known.facts.inst_id;
        let postings = postings.remove(&inst_id).unwrap_or_default();
        if known.learn(postings, news.remove(&inst_id).unwrap_or_default()) {
            found.push(known);
        }
    }
    Ok(found)
}

/// Records learned after each institution's cut.
async fn news(
    tx: &mut Tx,
    after: &[(i64, i64)],
    cut: i64,
    with_records: Vec<i64>,
) -> Result<HashMap<i64, News>> {
    let rows: Vec<NewsRow> = bulk::lookup(
        tx,
        vec![
            ("inst_id", ints(after, |a| a.0)),
            ("after", ints(after, |a| a.1)),
            ("source_cut", repeated(cut, after.len())),
        ],
        "SELECT n.inst_id, n.source_no, n.kind, n.account_no, n.first_no, n.last_no \
         FROM wanted w CROSS JOIN news n \
         WHERE n.inst_id = w.inst_id AND n.source_no > w.after AND n.source_no <= w.source_cut",
    )
    .await?;
    let of = |kind: NewsKind| -> Vec<NewsRow> {
        let mut rows: Vec<NewsRow> = rows
            .iter()
            .filter(|n| n.kind == kind.number())
            .copied()
            .collect();
        rows.sort_unstable();
        rows
    };
    let mut found: HashMap<i64, News> = HashMap::new();
    contracts(tx, &of(NewsKind::Contract), &mut found).await?;
    statement_days(tx, &of(NewsKind::StatementDay), &mut found).await?;
    settlements(tx, &of(NewsKind::Settlement), &mut found).await?;
    let mut whole = with_records;
    for n in of(NewsKind::Record) {
        let day = days::day(n.first_no, "news")?;
        let from = &mut found.entry(n.inst_id).or_default().records_from;
        *from = Some(from.map_or(day, |from| from.min(day)));
        whole.push(n.inst_id);
    }
    whole.extend(of(NewsKind::Decision).iter().map(|n| n.inst_id));
    whole.sort_unstable();
    whole.dedup();
    for (inst_id, records) in records(tx, &whole, cut).await? {
        found.entry(inst_id).or_default().records = records;
    }
    Ok(found)
}

/// Freezes, exemptions, claims and decisions of institutions, which have few of them.
async fn records(tx: &mut Tx, inst_ids: &[i64], cut: i64) -> Result<HashMap<i64, Records>> {
    let mut by_inst: HashMap<i64, Facts> = HashMap::new();
    let seen = Seen {
        day: Day::MAX,
        source_cut: cut,
    };
    for range in inst_ids.chunk_by(|a, b| a + 1 == *b) {
        let (first, last) = (range[0], range[range.len() - 1]);
        claims(tx, first, last, seen, &mut by_inst).await?;
        exemptions(tx, first, last, seen, &mut by_inst).await?;
        freezes(tx, first, last, seen, &mut by_inst).await?;
        decisions(tx, first, last, seen, &mut by_inst).await?;
    }
    let records = |f: Facts| Records {
        freezes: f.freezes,
        exemptions: f.exemptions,
        claims: f.claims,
        decisions: f.decisions,
    };
    Ok(by_inst
        .into_iter()
        .map(|(inst_id, f)| (inst_id, records(f)))
        .collect())
}

async fn contracts(tx: &mut Tx, news: &[NewsRow], found: &mut HashMap<i64, News>) -> Result<()> {
    let rows: Vec<(i64, String)> = bulk::lookup(
        tx,
        ranges(news),
        packed_contracts!(
            "FROM wanted w CROSS JOIN contract c \
             WHERE c.inst_id = w.inst_id AND c.contract_no BETWEEN w.first_no AND w.last_no \
               AND c.source_no = w.source_no \
             GROUP BY c.inst_id"
        ),
    )
    .await?;
    for (inst_id, packed) in rows {
        let contracts = &mut found.entry(inst_id).or_default().contracts;
        contracts.extend(read_contracts(&packed)?);
    }
    Ok(())
}

async fn statement_days(
    tx: &mut Tx,
    news: &[NewsRow],
    found: &mut HashMap<i64, News>,
) -> Result<()> {
    let rows: Vec<(i64, String)> = bulk::lookup(
        tx,
        ranges(news),
        packed_days!(
            "FROM wanted w CROSS JOIN statement_day s \
             WHERE s.inst_id = w.inst_id AND s.account_no = w.account_no \
               AND s.day BETWEEN w.first_no AND w.last_no AND s.source_no = w.source_no \
             GROUP BY s.inst_id"
        ),
    )
    .await?;
    for (inst_id, packed) in rows {
        found
            .entry(inst_id)
            .or_default()
            .days
            .extend(read_days(&packed)?);
    }
    Ok(())
}

async fn settlements(tx: &mut Tx, news: &[NewsRow], found: &mut HashMap<i64, News>) -> Result<()> {
    let rows: Vec<SettlementRow> = bulk::lookup(
        tx,
        ranges(news),
        "SELECT s.inst_id, s.account_no, s.batch_no, s.channel, s.period_from_day, s.period_to_day, \
                s.gross_fen, s.fee_fen, s.refund_fen, s.net_fen, s.expected_day \
         FROM wanted w CROSS JOIN settlement s \
         WHERE s.inst_id = w.inst_id AND s.account_no = w.account_no \
           AND s.period_from_day >= w.first_no AND s.source_no = w.source_no \
         ORDER BY s.inst_id, s.account_no, s.batch_no, s.version",
    )
    .await?;
    for row in rows {
        let settlement = settlement(row);
        found
            .entry(settlement.inst_id)
            .or_default()
            .settlements
            .push(settlement);
    }
    Ok(())
}

/// News by institution, account, file and what it tells of. Files come in order, so that the newest word is the last.
fn ranges(news: &[NewsRow]) -> bulk::Columns<'static> {
    vec![
        ("inst_id", ints(news, |n| n.inst_id)),
        ("account_no", ints(news, |n| n.account_no)),
        ("source_no", ints(news, |n| n.source_no)),
        ("first_no", ints(news, |n| n.first_no)),
        ("last_no", ints(news, |n| n.last_no)),
    ]
}
