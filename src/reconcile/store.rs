//! SQL of reconciliation: one institution range's facts in, differences of matches out.

use std::collections::HashMap;

use sqlx::FromRow;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use super::facts::{
    Approval, ContractTerms, Facts, LessonSums, Line, Movement, Payment, StatedDay,
};
use super::statements::ExpectedRange;
use crate::base::{Day, Money};
use crate::feed::store::{Freeze, Settlement};
use crate::ledger::Kind;
use crate::ledger::store::day as epoch_day;
use crate::on;
use crate::registry::Terms;
use crate::store::bulk::{self, Column};
use crate::store::{DbError, Result, Tx};

/// What is visible: facts of files up to `source_cut`, that happened up to `day`.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub day: Day,
    pub source_cut: i64,
}

/// The open end of `to_run`.
pub const OPEN: i64 = i64::MAX;

/// Facts of the institutions numbered `first..=last`, in that order; one without facts is absent.
pub async fn facts(tx: &mut Tx, first: i64, last: i64, seen: Seen) -> Result<Vec<Facts>> {
    let mut by_inst: HashMap<i64, Facts> = HashMap::new();
    movements(tx, first, last, seen, &mut by_inst).await?;
    lessons(tx, first, last, seen, &mut by_inst).await?;
    contracts(tx, first, last, seen, &mut by_inst).await?;
    days(tx, first, last, seen, &mut by_inst).await?;
    settlements(tx, first, last, seen, &mut by_inst).await?;
    freezes(tx, first, last, seen, &mut by_inst).await?;
    let mut facts: Vec<Facts> = by_inst
        .into_iter()
        .map(|(inst_id, mut facts)| {
            facts.inst_id = inst_id;
            facts
        })
        .collect();
    facts.sort_unstable_by_key(|f| f.inst_id);
    Ok(facts)
}

/// Streams the rows of a query over an institution range, calling `take` on each.
async fn each<R>(
    tx: &mut Tx,
    sql: &'static str,
    (first, last, seen): (i64, i64, Seen),
    take: impl FnMut(R) -> Result<()>,
) -> Result<()>
where
    R: Send + Unpin + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow>,
{
    bulk::each(tx, sql, &[first, last, seen.source_cut, i64::from(seen.day.epoch())], take).await
}

type MovementRow = (
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    String,
    String,
    Option<i64>,
);

async fn movements(
    tx: &mut Tx,
    first: i64,
    last: i64,
    seen: Seen,
    by_inst: &mut HashMap<i64, Facts>,
) -> Result<()> {
    let mut current: Option<(i64, Facts, Vec<Movement>, Vec<i64>)> = None;
    let sql = "SELECT inst_id, seq, kind, business_day, contract_no, account_no, amount_fen, \
                      channel, state, source_id, reference, reverses \
               FROM posting \
               WHERE inst_id BETWEEN $1 AND $2 AND kind IN (1, 3, 4, 5, 6) AND source_no <= $3 \
                 AND business_day <= $4 \
               ORDER BY inst_id, seq";
    each(tx, sql, (first, last, seen), |r: MovementRow| {
        if current.as_ref().is_none_or(|c| c.0 != r.0) {
            finish(current.take(), by_inst);
            current = Some((r.0, Facts::default(), Vec::new(), Vec::new()));
        }
        if let Some((_, facts, movements, reversed)) = &mut current {
            match r.11 {
                Some(seq) => reversed.push(seq),
                None => movements.push(movement(facts, &r)?),
            }
        }
        Ok(())
    })
    .await?;
    finish(current, by_inst);
    Ok(())
}

fn finish(
    current: Option<(i64, Facts, Vec<Movement>, Vec<i64>)>,
    by_inst: &mut HashMap<i64, Facts>,
) {
    if let Some((inst_id, mut facts, movements, reversed)) = current {
        facts.take(&movements, &reversed);
        by_inst.insert(inst_id, facts);
    }
}

fn movement(facts: &mut Facts, r: &MovementRow) -> Result<Movement> {
    let kind = Kind::from_number(r.2)
        .ok_or_else(|| DbError::Inconsistent(format!("posting has the kind {}", r.2)))?;
    let day = epoch_day(r.3, "posting")?;
    let amount = Money::from_fen(r.6);
    let id = facts.keep(&r.9);
    Ok(match kind {
        Kind::Payment => Movement::Payment(Payment {
            seq: r.1,
            day,
            contract_no: r.4,
            account_no: r.5,
            amount,
            channel: r.7,
            id,
            reference: facts.keep(&r.10),
        }),
        Kind::Refund | Kind::Release => {
            let approval = Approval {
                seq: r.1,
                day,
                contract_no: r.4,
                account_no: r.5,
                amount,
                state: r.8,
                id,
            };
            if kind == Kind::Refund {
                Movement::Refund(approval)
            } else {
                Movement::Release(approval)
            }
        }
        _ => {
            let line = Line {
                seq: r.1,
                day,
                account_no: r.5,
                amount,
                channel: r.7,
                code: r.8,
                id,
                reference: facts.keep(&r.10),
            };
            if kind == Kind::BankCredit {
                Movement::Credit(line)
            } else {
                Movement::Debit(line)
            }
        }
    })
}

async fn lessons(
    tx: &mut Tx,
    first: i64,
    last: i64,
    seen: Seen,
    by_inst: &mut HashMap<i64, Facts>,
) -> Result<()> {
    let sql = "SELECT inst_id, contract_no, \
                 CAST(SUM(CASE WHEN state IN (2, 3) THEN \
                            CASE WHEN revision < 0 THEN -quantity ELSE quantity END ELSE 0 END) \
                      AS BIGINT), \
                 CAST(SUM(CASE WHEN state IN (1, 2, 3) THEN \
                            CASE WHEN revision < 0 THEN -quantity ELSE quantity END ELSE 0 END) \
                      AS BIGINT) \
               FROM posting \
               WHERE inst_id BETWEEN $1 AND $2 AND kind = 2 AND source_no <= $3 \
                 AND business_day <= $4 \
               GROUP BY inst_id, contract_no ORDER BY inst_id, contract_no";
    each(
        tx,
        sql,
        (first, last, seen),
        |(inst_id, contract_no, confirmed, delivered)| {
            by_inst
                .entry(inst_id)
                .or_default()
                .lessons
                .push(LessonSums {
                    contract_no,
                    confirmed,
                    delivered,
                });
            Ok(())
        },
    )
    .await
}

type ContractRow = (i64, i64, i64, i64, i64, i64, Option<i64>, Option<i64>);

async fn contracts(
    tx: &mut Tx,
    first: i64,
    last: i64,
    seen: Seen,
    by_inst: &mut HashMap<i64, Facts>,
) -> Result<()> {
    // Versions come oldest first; the last one stands.
    let sql = "SELECT inst_id, contract_no, lessons, gift_lessons, amount_fen, extras_fen, \
                      starts_day, ends_day \
               FROM contract \
               WHERE inst_id BETWEEN $1 AND $2 AND source_no <= $3 AND ordered_day <= $4 \
               ORDER BY inst_id, contract_no, version";
    each(tx, sql, (first, last, seen), |r: ContractRow| {
        let contract = ContractTerms {
            contract_no: r.1,
            terms: Terms {
                lesson_amount: Money::from_fen(r.4 - r.5),
                lessons: r.2,
                gift_lessons: r.3,
            },
            amount: Money::from_fen(r.4),
            starts_on: r.6.map(|d| epoch_day(d, "contract")).transpose()?,
            ends_on: r.7.map(|d| epoch_day(d, "contract")).transpose()?,
        };
        let contracts = &mut by_inst.entry(r.0).or_default().contracts;
        match contracts.last_mut() {
            Some(last) if last.contract_no == r.1 => *last = contract,
            _ => contracts.push(contract),
        }
        Ok(())
    })
    .await
}

async fn days(
    tx: &mut Tx,
    first: i64,
    last: i64,
    seen: Seen,
    by_inst: &mut HashMap<i64, Facts>,
) -> Result<()> {
    let sql = "SELECT inst_id, account_no, day, opening_fen, closing_fen \
               FROM statement_day \
               WHERE inst_id BETWEEN $1 AND $2 AND source_no <= $3 AND day <= $4 \
               ORDER BY inst_id, account_no, day, version";
    each(
        tx,
        sql,
        (first, last, seen),
        |r: (i64, i64, i64, i64, i64)| {
            let stated = StatedDay {
                account_no: r.1,
                day: epoch_day(r.2, "statement_day")?,
                opening: r.3,
                closing: r.4,
            };
            let days = &mut by_inst.entry(r.0).or_default().days;
            match days.last_mut() {
                Some(last) if (last.account_no, last.day) == (stated.account_no, stated.day) => {
                    *last = stated;
                }
                _ => days.push(stated),
            }
            Ok(())
        },
    )
    .await
}

type SettlementRow = (
    i64,
    i64,
    String,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    Option<i64>,
);

async fn settlements(
    tx: &mut Tx,
    first: i64,
    last: i64,
    seen: Seen,
    by_inst: &mut HashMap<i64, Facts>,
) -> Result<()> {
    let sql = "SELECT inst_id, account_no, batch_no, channel, period_from_day, period_to_day, \
                      gross_fen, fee_fen, refund_fen, net_fen, expected_day \
               FROM settlement \
               WHERE inst_id BETWEEN $1 AND $2 AND source_no <= $3 AND period_from_day <= $4 \
               ORDER BY inst_id, account_no, batch_no, version";
    each(tx, sql, (first, last, seen), |r: SettlementRow| {
        let settlement = Settlement {
            inst_id: r.0,
            account_no: r.1,
            batch_no: r.2,
            channel: r.3,
            period_from_day: r.4,
            period_to_day: r.5,
            gross_fen: r.6,
            fee_fen: r.7,
            refund_fen: r.8,
            net_fen: r.9,
            expected_day: r.10,
        };
        let list = &mut by_inst.entry(r.0).or_default().settlements;
        match list.last_mut() {
            Some(last)
                if last.account_no == settlement.account_no
                    && last.batch_no == settlement.batch_no =>
            {
                *last = settlement;
            }
            _ => list.push(settlement),
        }
        Ok(())
    })
    .await
}

type FreezeRow = (
    i64,
    i64,
    String,
    String,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

async fn freezes(
    tx: &mut Tx,
    first: i64,
    last: i64,
    seen: Seen,
    by_inst: &mut HashMap<i64, Facts>,
) -> Result<()> {
    let sql = "SELECT inst_id, account_no, document_no, kind, amount_fen, from_day, to_day \
               FROM account_freeze \
               WHERE inst_id BETWEEN $1 AND $2 AND source_no <= $3 \
                 AND COALESCE(from_day, 0) <= $4 \
               ORDER BY inst_id, account_no, document_no, version";
    each(tx, sql, (first, last, seen), |r: FreezeRow| {
        let freeze = Freeze {
            inst_id: r.0,
            account_no: r.1,
            document_no: r.2,
            kind: r.3,
            amount_fen: r.4,
            from_day: r.5,
            to_day: r.6,
        };
        let list = &mut by_inst.entry(r.0).or_default().freezes;
        match list.last_mut() {
            Some(last)
                if last.account_no == freeze.account_no
                    && last.document_no == freeze.document_no =>
            {
                *last = freeze;
            }
            _ => list.push(freeze),
        }
        Ok(())
    })
    .await
}

/// First and last statement day of all accounts, as known.
pub async fn expected_range(tx: &mut Tx, source_cut: i64) -> Result<Option<ExpectedRange>> {
    let (first, last): (Option<i64>, Option<i64>) = on!(tx, c => sqlx::query_as(
            "SELECT MIN(day), MAX(day) FROM statement_day WHERE source_no <= $1")
            .bind(source_cut).fetch_one(c).await)
    .map_err(DbError::sql("finding the statements' range"))?;
    match (first, last) {
        (Some(first), Some(last)) => Ok(Some(ExpectedRange {
            first: epoch_day(first, "statement_day")?,
            last: epoch_day(last, "statement_day")?,
        })),
        _ => Ok(None),
    }
}

/// A match of one line as stored: kind, payment or approval, count, amount.
type MatchValue = (i64, i64, i64, i64);

/// Stores what changed in the matches of institutions `first..=last` since the run before.
pub async fn store_matches(
    tx: &mut Tx,
    (first, last): (i64, i64),
    (policy_no, run_id): (i64, i64),
    mut lines: Vec<(i64, i64, MatchValue)>,
    mut items: Vec<(i64, i64, i64)>,
) -> Result<()> {
    let stored: Vec<(i64, i64, i64, i64, i64, i64, i64)> = on!(tx, c => sqlx::query_as(
            "SELECT inst_id, entry_seq, from_run, kind, payment_seq, n, amount_fen FROM match_line \
             WHERE inst_id BETWEEN $1 AND $2 AND policy_no = $3 AND to_run = $4")
            .bind(first).bind(last).bind(policy_no).bind(OPEN).fetch_all(c).await)
    .map_err(DbError::sql("reading matches"))?;
    let mut known: HashMap<(i64, i64), (i64, MatchValue)> = stored
        .into_iter()
        .map(|r| ((r.0, r.1), (r.2, (r.3, r.4, r.5, r.6))))
        .collect();
    lines.retain(|(inst, entry, value)| match known.get(&(*inst, *entry)) {
        Some((_, v)) if v == value => {
            known.remove(&(*inst, *entry));
            false
        }
        _ => true,
    });
    for ((inst, entry), (from, _)) in &known {
        close(
            tx,
            "UPDATE match_line SET to_run = $5 WHERE inst_id = $1 AND policy_no = $2 \
                   AND entry_seq = $3 AND from_run = $4",
            [*inst, policy_no, *entry, *from, run_id],
        )
        .await?;
    }
    lines.sort_unstable();
    bulk::append(
        tx,
        "match_line",
        vec![
            ("inst_id", Column::Int(lines.iter().map(|l| l.0).collect())),
            ("policy_no", Column::Int(vec![policy_no; lines.len()])),
            (
                "entry_seq",
                Column::Int(lines.iter().map(|l| l.1).collect()),
            ),
            ("from_run", Column::Int(vec![run_id; lines.len()])),
            ("kind", Column::Int(lines.iter().map(|l| l.2.0).collect())),
            (
                "payment_seq",
                Column::Int(lines.iter().map(|l| l.2.1).collect()),
            ),
            ("n", Column::Int(lines.iter().map(|l| l.2.2).collect())),
            (
                "amount_fen",
                Column::Int(lines.iter().map(|l| l.2.3).collect()),
            ),
        ],
    )
    .await?;
    let stored: Vec<(i64, i64, i64, i64)> = on!(tx, c => sqlx::query_as(
            "SELECT inst_id, payment_seq, from_run, entry_seq FROM match_item \
             WHERE inst_id BETWEEN $1 AND $2 AND policy_no = $3 AND to_run = $4")
            .bind(first).bind(last).bind(policy_no).bind(OPEN).fetch_all(c).await)
    .map_err(DbError::sql("reading batches"))?;
    let mut known: HashMap<(i64, i64), (i64, i64)> = stored
        .into_iter()
        .map(|r| ((r.0, r.1), (r.2, r.3)))
        .collect();
    items.retain(
        |(inst, payment, entry)| match known.get(&(*inst, *payment)) {
            Some((_, e)) if e == entry => {
                known.remove(&(*inst, *payment));
                false
            }
            _ => true,
        },
    );
    for ((inst, payment), (from, _)) in &known {
        close(
            tx,
            "UPDATE match_item SET to_run = $5 WHERE inst_id = $1 AND policy_no = $2 \
                   AND payment_seq = $3 AND from_run = $4",
            [*inst, policy_no, *payment, *from, run_id],
        )
        .await?;
    }
    items.sort_unstable();
    bulk::append(
        tx,
        "match_item",
        vec![
            ("inst_id", Column::Int(items.iter().map(|i| i.0).collect())),
            ("policy_no", Column::Int(vec![policy_no; items.len()])),
            (
                "payment_seq",
                Column::Int(items.iter().map(|i| i.1).collect()),
            ),
            ("from_run", Column::Int(vec![run_id; items.len()])),
            (
                "entry_seq",
                Column::Int(items.iter().map(|i| i.2).collect()),
            ),
        ],
    )
    .await
}

async fn close(tx: &mut Tx, sql: &'static str, keys: [i64; 5]) -> Result<()> {
    let changed = on!(tx, c => sqlx::query(sql)
            .bind(keys[0]).bind(keys[1]).bind(keys[2]).bind(keys[3]).bind(keys[4])
            .execute(c).await.map(|r| r.rows_affected()))
    .map_err(DbError::sql("ending a match"))?;
    if changed == 1 {
        Ok(())
    } else {
        Err(DbError::Inconsistent(format!(
            "a match of institution {} was not open",
            keys[0]
        )))
    }
}
