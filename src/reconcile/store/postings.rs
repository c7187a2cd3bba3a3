//! Facts that are postings: movements and lessons.

use std::collections::{HashMap, HashSet};

use super::Seen;
use super::facts::binds;
use super::packed::{Fields, unpack};
use crate::base::Money;
use crate::ledger::{self, Kind};
use crate::reconcile::facts::{Approval, Facts, Line, Movement, Payment};
use crate::reconcile::known::{LessonRow, NewPostings};
use crate::store::bulk::{self, ints, repeated};
use crate::store::{DbError, Result, Tx, days};

/// A posting's fields, packed.
macro_rules! packed {
    ($from_where:literal) => {
        concat!(
            "SELECT p.inst_id, string_agg( \
               CASE WHEN p.kind = 2 THEN \
                 format('2\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s', p.seq, p.contract_no, p.business_day, \
                        p.confirmed_day, p.state, CASE WHEN p.revision < 0 THEN -p.quantity ELSE p.quantity END) \
               ELSE \
                 format('%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s', \
                        p.kind, p.seq, COALESCE(p.reverses, 0), p.business_day, p.contract_no, p.account_no, \
                        p.amount_fen, p.channel, p.state, p.quantity, p.source_id, p.reference) \
               END, '\u{1e}') ",
            $from_where
        )
    };
}

/// Payments, refunds, releases, bank lines and lessons that happened up to the day, in one pass over the
/// institutions' postings.
pub(super) async fn postings(
    tx: &mut Tx,
    (first, last): (i64, i64),
    seen: Seen,
) -> Result<HashMap<i64, NewPostings>> {
    let sql = packed!(
        "FROM posting p \
         WHERE p.inst_id BETWEEN $1 AND $2 AND p.kind <= 5 AND p.source_no <= $3 \
           AND p.business_day <= $4 \
         GROUP BY p.inst_id"
    );
    let mut found = HashMap::new();
    bulk::each(
        tx,
        sql,
        &binds((first, last, seen)),
        |(inst_id, packed): (i64, String)| {
            found.insert(inst_id, read(&packed)?);
            Ok(())
        },
    )
    .await?;
    Ok(found)
}

/// Postings after a number, of any day, by (inst_id, number). `+p.kind` keeps planners from looking for kinds in
/// an index, which leads to all of an institution's postings.
pub(super) async fn later_postings(
    tx: &mut Tx,
    after: &[(i64, i64)],
    source_cut: i64,
) -> Result<HashMap<i64, NewPostings>> {
    let rows: Vec<(i64, String)> = bulk::lookup(
        tx,
        vec![
            ("inst_id", ints(after, |a| a.0)),
            ("seq", ints(after, |a| a.1)),
            ("source_cut", repeated(source_cut, after.len())),
        ],
        packed!(
            "FROM wanted w CROSS JOIN posting p \
             WHERE p.inst_id = w.inst_id AND p.seq > w.seq AND +p.kind <= 5 \
               AND p.source_no <= w.source_cut \
             GROUP BY p.inst_id"
        ),
    )
    .await?;
    rows.iter()
        .map(|(inst_id, packed)| Ok((*inst_id, read(packed)?)))
        .collect()
}

fn read(packed: &str) -> Result<NewPostings> {
    let mut new = NewPostings::default();
    let mut movements = Vec::new();
    for mut fields in unpack(packed) {
        let kind = fields.int()?;
        let seq = fields.int()?;
        new.seq = new.seq.max(seq);
        if kind == Kind::Lesson.number() {
            new.lessons.push(lesson(&mut fields)?);
            continue;
        }
        match fields.int()? {
            0 => movements.push(movement(&mut new.facts, kind, seq, &mut fields)?),
            target => new.reversed.push(target),
        }
    }
    movements.sort_unstable_by_key(Movement::seq);
    new.facts.take(&movements, &new.reversed);
    let here: HashSet<i64> = movements.iter().map(Movement::seq).collect();
    let reversed = std::mem::take(&mut new.reversed);
    (new.undone, new.reversed) = reversed.into_iter().partition(|seq| here.contains(seq));
    Ok(new)
}

fn lesson(fields: &mut Fields<'_>) -> Result<LessonRow> {
    let contract_no = fields.int()?;
    if contract_no < 1 {
        return Err(DbError::Inconsistent(format!(
            "a lesson of contract {contract_no}"
        )));
    }
    Ok(LessonRow {
        contract_no,
        day: fields.day("posting")?,
        confirmed_on: days::opt_day(fields.opt_int()?, "posting")?,
        state: u8::try_from(fields.int()?).unwrap_or(0),
        n: fields.int()?,
    })
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
