//! SQL of reconciliation: one institution range's facts in, differences of matches out.
//!
//! Facts are read packed: one row per institution, its facts as one text with a unit separator between
//! fields and a record separator between facts. A driver's cost per row is many times its cost per
//! byte, and a run reads every open fact. Ids and references hold no control characters, which intake
//! sees to ([`crate::wire::interchange`]).

use std::collections::HashMap;

use super::facts::{
    Approval, ContractTerms, Facts, LessonDay, LessonSums, Line, Movement, Payment, StatedDay,
};
use super::statements::ExpectedRange;
use crate::base::{Day, Money};
use crate::feed::store::{Freeze, Settlement};
use crate::ledger::store::day as epoch_day;
use crate::ledger::{Kind, LessonState};
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
    postings(tx, first, last, seen, &mut by_inst).await?;
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

/// First and last institution, file cut and day, as queries bind them.
fn binds((first, last, seen): (i64, i64, Seen)) -> [i64; 4] {
    [first, last, seen.source_cut, i64::from(seen.day.epoch())]
}

/// Splits a packed text into facts, and a fact into its fields.
fn unpack(packed: &str) -> impl Iterator<Item = Fields<'_>> {
    packed
        .split('\u{1e}')
        .filter(|fact| !fact.is_empty())
        .map(|fact| Fields(fact.split('\u{1f}')))
}

struct Fields<'a>(std::str::Split<'a, char>);

impl<'a> Fields<'a> {
    fn text(&mut self) -> Result<&'a str> {
        self.0
            .next()
            .ok_or_else(|| DbError::Inconsistent("a packed fact is too short".to_owned()))
    }

    fn int(&mut self) -> Result<i64> {
        let text = self.text()?;
        text.parse()
            .map_err(|_| DbError::Inconsistent(format!("{text:?} in a packed fact is no number")))
    }

    fn opt_int(&mut self) -> Result<Option<i64>> {
        if self.0.clone().next() == Some("") {
            self.text()?;
            return Ok(None);
        }
        self.int().map(Some)
    }

    fn day(&mut self, table: &'static str) -> Result<Day> {
        epoch_day(self.int()?, table)
    }
}

/// Payments, refunds, releases, bank lines and lessons, in one pass over the institutions' postings.
async fn postings(
    tx: &mut Tx,
    first: i64,
    last: i64,
    seen: Seen,
    by_inst: &mut HashMap<i64, Facts>,
) -> Result<()> {
    let sql = "SELECT inst_id, string_agg( \
                 CASE WHEN kind = 2 THEN \
                   format('2\u{1f}%s\u{1f}%s\u{1f}%s', contract_no, state, \
                          CASE WHEN revision < 0 THEN -quantity ELSE quantity END) \
                 ELSE \
                   format('%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s', \
                          kind, seq, COALESCE(reverses, 0), business_day, contract_no, account_no, \
                          amount_fen, channel, state, quantity, source_id, reference) \
                 END, '\u{1e}') \
               FROM posting \
               WHERE inst_id BETWEEN $1 AND $2 AND kind <= 5 AND source_no <= $3 \
                 AND business_day <= $4 \
               GROUP BY inst_id";
    bulk::each(
        tx,
        sql,
        &binds((first, last, seen)),
        |(inst_id, packed): (i64, String)| {
            let facts = by_inst.entry(inst_id).or_default();
            let mut movements = Vec::new();
            let mut reversed = Vec::new();
            for mut fields in unpack(&packed) {
                let kind = fields.int()?;
                if kind == Kind::Lesson.number() {
                    lesson(facts, &mut fields)?;
                    continue;
                }
                let seq = fields.int()?;
                match fields.int()? {
                    0 => movements.push(movement(facts, kind, seq, &mut fields)?),
                    target => reversed.push(target),
                }
            }
            movements.sort_unstable_by_key(Movement::seq);
            facts.take(&movements, &reversed);
            Ok(())
        },
    )
    .await
}

/// Adds a lesson row to its contract's sums; contract numbers are dense, so they index the sums.
fn lesson(facts: &mut Facts, fields: &mut Fields<'_>) -> Result<()> {
    let contract_no = fields.int()?;
    let state = u8::try_from(fields.int()?).unwrap_or(0);
    let quantity = fields.int()?;
    let at = usize::try_from(contract_no - 1)
        .map_err(|_| DbError::Inconsistent(format!("a lesson of contract {contract_no}")))?;
    while facts.lessons.len() <= at {
        let contract_no = i64::try_from(facts.lessons.len()).unwrap_or(i64::MAX) + 1;
        facts.lessons.push(LessonSums {
            contract_no,
            ..LessonSums::default()
        });
    }
    let sums = &mut facts.lessons[at];
    if LessonState::counts(state) {
        sums.confirmed += quantity;
        sums.delivered += quantity;
    } else if state == LessonState::Claimed.number() {
        sums.delivered += quantity;
    }
    Ok(())
}

/// Confirmed lessons of the institutions by contract and day: what a sweep for first days needs. An
/// institution without lessons has an empty list.
pub async fn lesson_days(
    tx: &mut Tx,
    inst_ids: &[i64],
    seen: Seen,
) -> Result<HashMap<i64, Vec<LessonDay>>> {
    let mut by_inst: HashMap<i64, Vec<LessonDay>> =
        inst_ids.iter().map(|id| (*id, Vec::new())).collect();
    let (cut, day) = (seen.source_cut, i64::from(seen.day.epoch()));
    let rows: Vec<(i64, i64, i64, i64, i64)> = bulk::lookup(
        tx,
        vec![
            ("inst_id", Column::Int(inst_ids.to_vec())),
            ("source_cut", Column::Int(vec![cut; inst_ids.len()])),
            ("day", Column::Int(vec![day; inst_ids.len()])),
        ],
        "SELECT p.inst_id, p.contract_no, p.business_day, p.state, \
                CAST(SUM(CASE WHEN p.revision < 0 THEN -p.quantity ELSE p.quantity END) AS BIGINT) \
         FROM wanted w CROSS JOIN posting p \
         WHERE p.inst_id = w.inst_id AND p.kind = 2 AND p.source_no <= w.source_cut \
           AND p.business_day <= w.day \
         GROUP BY p.inst_id, p.contract_no, p.business_day, p.state",
    )
    .await?;
    for (inst_id, contract_no, day, state, confirmed) in rows {
        if LessonState::counts(u8::try_from(state).unwrap_or(0)) {
            by_inst.entry(inst_id).or_default().push(LessonDay {
                contract_no,
                day: epoch_day(day, "posting")?,
                confirmed,
            });
        }
    }
    Ok(by_inst)
}

fn movement(facts: &mut Facts, kind: i64, seq: i64, fields: &mut Fields<'_>) -> Result<Movement> {
    let kind = Kind::from_number(kind)
        .ok_or_else(|| DbError::Inconsistent(format!("posting has the kind {kind}")))?;
    let day = fields.day("posting")?;
    let contract_no = fields.int()?;
    let account_no = fields.int()?;
    let amount = Money::from_fen(fields.int()?);
    let channel = fields.int()?;
    let state = fields.int()?;
    let quantity = fields.int()?;
    let id = facts.keep(fields.text()?);
    Ok(match kind {
        Kind::Payment => Movement::Payment(Payment {
            seq,
            day,
            contract_no,
            account_no,
            amount,
            channel,
            id,
            reference: facts.keep(fields.text()?),
        }),
        Kind::Refund => Movement::Refund(Approval {
            seq,
            day,
            contract_no,
            account_no,
            amount,
            state,
            id,
        }),
        Kind::Release => Movement::Release(Approval {
            seq,
            day,
            contract_no,
            account_no,
            amount,
            state,
            id,
        }),
        _ => {
            let reference = facts.keep(fields.text()?);
            let line = Line {
                seq,
                day,
                account_no,
                amount,
                channel,
                code: state,
                id,
                reference,
            };
            if quantity < 0 {
                Movement::Debit(line)
            } else {
                Movement::Credit(line)
            }
        }
    })
}

async fn contracts(
    tx: &mut Tx,
    first: i64,
    last: i64,
    seen: Seen,
    by_inst: &mut HashMap<i64, Facts>,
) -> Result<()> {
    let sql = "SELECT inst_id, string_agg( \
                 format('%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s', contract_no, \
                        version, ordered_day, lessons, gift_lessons, amount_fen, extras_fen, starts_day, ends_day), '\u{1e}') \
               FROM contract \
               WHERE inst_id BETWEEN $1 AND $2 AND source_no <= $3 \
               GROUP BY inst_id";
    // The newest version says when the contract was made: an older one must not show through.
    bulk::each(
        tx,
        sql,
        &binds((first, last, seen))[..3],
        |(inst_id, packed): (i64, String)| {
            let mut versions = Vec::new();
            for mut fields in unpack(&packed) {
                let (contract_no, version) = (fields.int()?, fields.int()?);
                let ordered_on = fields.day("contract")?;
                let (lessons, gift_lessons) = (fields.int()?, fields.int()?);
                let (amount, extras) = (fields.int()?, fields.int()?);
                let day = |d: Option<i64>| d.map(|d| epoch_day(d, "contract")).transpose();
                versions.push((
                    version,
                    ContractTerms {
                        contract_no,
                        ordered_on,
                        terms: Terms {
                            lesson_amount: Money::from_fen(amount - extras),
                            lessons,
                            gift_lessons,
                        },
                        amount: Money::from_fen(amount),
                        starts_on: day(fields.opt_int()?)?,
                        ends_on: day(fields.opt_int()?)?,
                    },
                ));
            }
            // The newest version stands.
            versions
                .sort_unstable_by_key(|(version, c)| (c.contract_no, std::cmp::Reverse(*version)));
            versions.dedup_by_key(|(_, c)| c.contract_no);
            by_inst.entry(inst_id).or_default().contracts = (versions.into_iter())
                .filter(|(_, c)| c.ordered_on <= seen.day)
                .map(|(_, c)| c)
                .collect();
            Ok(())
        },
    )
    .await
}

async fn days(
    tx: &mut Tx,
    first: i64,
    last: i64,
    seen: Seen,
    by_inst: &mut HashMap<i64, Facts>,
) -> Result<()> {
    let sql = "SELECT inst_id, string_agg( \
                 format('%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s', account_no, day, version, opening_fen, \
                        closing_fen), '\u{1e}') \
               FROM statement_day \
               WHERE inst_id BETWEEN $1 AND $2 AND source_no <= $3 AND day <= $4 \
               GROUP BY inst_id";
    bulk::each(
        tx,
        sql,
        &binds((first, last, seen)),
        |(inst_id, packed): (i64, String)| {
            let mut versions = Vec::new();
            for mut fields in unpack(&packed) {
                let account_no = fields.int()?;
                let day = fields.day("statement_day")?;
                let version = fields.int()?;
                let (opening, closing) = (fields.int()?, fields.int()?);
                versions.push((
                    version,
                    StatedDay {
                        account_no,
                        day,
                        opening,
                        closing,
                    },
                ));
            }
            versions.sort_unstable_by_key(|(version, d)| {
                (d.account_no, d.day, std::cmp::Reverse(*version))
            });
            versions.dedup_by_key(|(_, d)| (d.account_no, d.day));
            by_inst.entry(inst_id).or_default().days =
                versions.into_iter().map(|(_, d)| d).collect();
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
               WHERE inst_id BETWEEN $1 AND $2 AND source_no <= $3 \
               ORDER BY inst_id, account_no, batch_no, version";
    bulk::each(
        tx,
        sql,
        &binds((first, last, seen))[..3],
        |r: SettlementRow| {
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
        },
    )
    .await?;
    let day = i64::from(seen.day.epoch());
    for facts in by_inst.values_mut() {
        facts.settlements.retain(|s| s.period_from_day <= day);
    }
    Ok(())
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
               ORDER BY inst_id, account_no, document_no, version";
    bulk::each(tx, sql, &binds((first, last, seen))[..3], |r: FreezeRow| {
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
    .await?;
    let day = i64::from(seen.day.epoch());
    for facts in by_inst.values_mut() {
        facts.freezes.retain(|f| f.from_day.unwrap_or(0) <= day);
    }
    Ok(())
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
    end(tx, "match_line", "entry_seq", (policy_no, run_id), &known).await?;
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
    end(tx, "match_item", "payment_seq", (policy_no, run_id), &known).await?;
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

/// Ends matches that the run no longer finds.
async fn end<V>(
    tx: &mut Tx,
    table: &'static str,
    key: &'static str,
    (policy_no, run_id): (i64, i64),
    gone: &HashMap<(i64, i64), (i64, V)>,
) -> Result<()> {
    let mut gone: Vec<(i64, i64, i64)> = gone
        .iter()
        .map(|((inst, seq), (from, _))| (*inst, *seq, *from))
        .collect();
    gone.sort_unstable();
    let keys = vec![
        ("inst_id", Column::Int(gone.iter().map(|g| g.0).collect())),
        ("policy_no", Column::Int(vec![policy_no; gone.len()])),
        (key, Column::Int(gone.iter().map(|g| g.1).collect())),
        ("from_run", Column::Int(gone.iter().map(|g| g.2).collect())),
    ];
    bulk::end_at(tx, table, run_id, keys).await
}
