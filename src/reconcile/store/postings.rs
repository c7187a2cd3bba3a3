//! Facts that are postings: movements one by one, lessons summed. A lesson that was confirmed after the
//! as-of day is claimed (1) on it.

use std::collections::HashMap;

use super::Seen;
use super::facts::binds;
use super::packed::{Fields, unpack};
use crate::base::Money;
use crate::ledger::{self, Kind, LessonState};
use crate::reconcile::facts::{Approval, Facts, LessonDay, LessonSums, Line, Movement, Payment};
use crate::store::bulk::{self, ints, repeated};
use crate::store::{DbError, Result, Tx, days};

/// Payments, refunds, releases, bank lines and lessons, in one pass over the institutions' postings.
pub(super) async fn postings(
    tx: &mut Tx,
    first: i64,
    last: i64,
    seen: Seen,
    by_inst: &mut HashMap<i64, Facts>,
) -> Result<()> {
    let sql = "SELECT inst_id, string_agg( \
                 CASE WHEN kind = 2 THEN \
                   format('2\u{1f}%s\u{1f}%s\u{1f}%s', contract_no, \
                          CASE WHEN confirmed_day > $4 THEN 1 ELSE state END, \
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
        if state == LessonState::Deemed.number() {
            sums.deemed += quantity;
        }
        sums.delivered += quantity;
    } else if state == LessonState::Claimed.number() {
        sums.delivered += quantity;
    }
    Ok(())
}

/// Confirmed lessons of the institutions by contract and the day they count from: what a sweep for first days needs. An
/// institution without lessons has an empty list.
pub async fn lesson_days(
    tx: &mut Tx,
    inst_ids: &[i64],
    seen: Seen,
) -> Result<HashMap<i64, Vec<LessonDay>>> {
    let mut by_inst: HashMap<i64, Vec<LessonDay>> =
        inst_ids.iter().map(|id| (*id, Vec::new())).collect();
    let (cut, day) = (seen.source_cut, days::number(seen.day));
    let rows: Vec<(i64, i64, i64, i64, i64)> = bulk::lookup(
        tx,
        vec![
            ("inst_id", ints(inst_ids, |id| *id)),
            ("source_cut", repeated(cut, inst_ids.len())),
            ("day", repeated(day, inst_ids.len())),
        ],
        "SELECT p.inst_id, p.contract_no, COALESCE(p.confirmed_day, p.business_day), p.state, \
                CAST(SUM(CASE WHEN p.revision < 0 THEN -p.quantity ELSE p.quantity END) AS BIGINT) \
         FROM wanted w CROSS JOIN posting p \
         WHERE p.inst_id = w.inst_id AND p.kind = 2 AND p.source_no <= w.source_cut \
           AND COALESCE(p.confirmed_day, p.business_day) <= w.day \
         GROUP BY p.inst_id, p.contract_no, COALESCE(p.confirmed_day, p.business_day), p.state",
    )
    .await?;
    for (inst_id, contract_no, day, state, confirmed) in rows {
        if LessonState::counts(u8::try_from(state).unwrap_or(0)) {
            by_inst.entry(inst_id).or_default().push(LessonDay {
                contract_no,
                day: days::day(day, "posting")?,
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
            let (code, correction) = ledger::read_line_state(state);
            let line = Line {
                seq,
                day,
                account_no,
                amount,
                channel,
                code,
                correction,
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
