//! SQL of decisions: proposals, their members, what was said of them; rows are added and never changed.

use std::collections::HashMap;

use super::{About, Decision, DecisionId, DecisionKind, Member, Said, Side, Step};
use crate::base::{FlagCode, Instant, Money};
use crate::ledger::Kind;
use crate::on;
use crate::store::bulk::{self, ints, repeated, texts};
use crate::store::news::{self, News, NewsKind};
use crate::store::{DbError, Result, Tx, days};

#[derive(sqlx::FromRow)]
struct DecisionRow {
    inst_id: i64,
    decision_no: i64,
    kind: i64,
    code: i64,
    subject: String,
    account_no: i64,
    date_day: i64,
    amount_fen: i64,
    expires_day: Option<i64>,
    proposed_by: String,
    reason: String,
    proposed_at: Instant,
}

impl DecisionRow {
    fn read(self) -> Result<Decision> {
        let kind = DecisionKind::from_number(self.kind)
            .ok_or_else(|| DbError::Inconsistent(format!("decision has the kind {}", self.kind)))?;
        let about = match self.code {
            0 => None,
            code => Some(About {
                code: FlagCode::from_number(code).ok_or_else(|| {
                    DbError::Inconsistent(format!("decision has the code {code}"))
                })?,
                subject: self.subject,
                account_no: self.account_no,
                date: match self.date_day {
                    0 => None,
                    day => Some(days::day(day, "decision")?),
                },
            }),
        };
        Ok(Decision {
            id: DecisionId {
                inst_id: self.inst_id,
                decision_no: self.decision_no,
            },
            kind,
            about,
            members: Vec::new(),
            amount: Money::from_fen(self.amount_fen),
            expires: days::opt_day(self.expires_day, "decision")?,
            proposed_by: self.proposed_by,
            reason: self.reason,
            proposed_at: self.proposed_at,
            said: Vec::new(),
        })
    }
}

#[derive(sqlx::FromRow)]
struct ItemRow {
    inst_id: i64,
    decision_no: i64,
    side: i64,
    account_no: i64,
    source_id: String,
    amount_fen: i64,
}

#[derive(sqlx::FromRow)]
struct EventRow {
    inst_id: i64,
    decision_no: i64,
    event: i64,
    decided_by: String,
    reason: String,
    decided_at: Instant,
}

/// Decisions about the institutions numbered `first..=last`, in order, with what was known of them.
pub async fn known(
    tx: &mut Tx,
    (first, last): (i64, i64),
    source_cut: i64,
) -> Result<Vec<Decision>> {
    let rows: Vec<DecisionRow> = on!(tx, c => sqlx::query_as(
            "SELECT inst_id, decision_no, kind, code, subject, account_no, date_day, amount_fen, \
                    expires_day, proposed_by, reason, proposed_at \
             FROM decision WHERE inst_id BETWEEN $1 AND $2 AND source_no <= $3 \
             ORDER BY inst_id, decision_no")
            .bind(first).bind(last).bind(source_cut).fetch_all(c).await)
    .map_err(DbError::sql("reading decisions"))?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let items: Vec<ItemRow> = on!(tx, c => sqlx::query_as(
            "SELECT inst_id, decision_no, side, account_no, source_id, amount_fen \
             FROM decision_item WHERE inst_id BETWEEN $1 AND $2 \
             ORDER BY inst_id, decision_no, side, account_no, source_id")
            .bind(first).bind(last).fetch_all(c).await)
    .map_err(DbError::sql("reading members of decisions"))?;
    let events: Vec<EventRow> = on!(tx, c => sqlx::query_as(
            "SELECT inst_id, decision_no, event, decided_by, reason, decided_at \
             FROM decision_event WHERE inst_id BETWEEN $1 AND $2 AND source_no <= $3 \
             ORDER BY inst_id, decision_no, event_no")
            .bind(first).bind(last).bind(source_cut).fetch_all(c).await)
    .map_err(DbError::sql("reading what was decided"))?;
    let mut decisions = (rows.into_iter())
        .map(DecisionRow::read)
        .collect::<Result<Vec<Decision>>>()?;
    let places: HashMap<(i64, i64), usize> = (decisions.iter().enumerate())
        .map(|(at, d)| ((d.id.inst_id, d.id.decision_no), at))
        .collect();
    // Members of what is not known yet have no place.
    for r in items {
        if let Some(at) = places.get(&(r.inst_id, r.decision_no)) {
            decisions[*at].members.push(Member {
                side: if r.side == Side::Payment.number() {
                    Side::Payment
                } else {
                    Side::Line
                },
                account_no: r.account_no,
                id: r.source_id,
                amount: Money::from_fen(r.amount_fen),
            });
        }
    }
    for r in events {
        let step = Step::from_number(r.event).ok_or_else(|| {
            DbError::Inconsistent(format!("decision_event has the event {}", r.event))
        })?;
        if let Some(at) = places.get(&(r.inst_id, r.decision_no)) {
            decisions[*at].said.push(Said {
                step,
                by: r.decided_by,
                reason: r.reason,
                at: r.decided_at,
            });
        }
    }
    Ok(decisions)
}

/// The number of an institution's next decision.
pub async fn next_no(tx: &mut Tx, inst_id: i64) -> Result<i64> {
    let (next,): (i64,) = on!(tx, c => sqlx::query_as(
            "SELECT CAST(COALESCE(MAX(decision_no), 0) + 1 AS BIGINT) FROM decision \
             WHERE inst_id = $1")
            .bind(inst_id).fetch_one(c).await)
    .map_err(DbError::sql("numbering a decision"))?;
    Ok(next)
}

/// Records a proposal.
pub async fn append(tx: &mut Tx, decision: &Decision, source_no: i64) -> Result<()> {
    let d = decision;
    let about = d.about.as_ref();
    on!(tx, c => sqlx::query(
            "INSERT INTO decision (inst_id, decision_no, source_no, kind, code, subject, account_no, \
                    date_day, amount_fen, expires_day, proposed_by, reason, proposed_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)")
            .bind(d.id.inst_id).bind(d.id.decision_no).bind(source_no).bind(d.kind.number())
            .bind(about.map_or(0, |a| a.code.number())).bind(about.map_or("", |a| &a.subject))
            .bind(about.map_or(0, |a| a.account_no))
            .bind(about.and_then(|a| a.date).map_or(0, days::number))
            .bind(d.amount.fen()).bind(days::opt_number(d.expires)).bind(&d.proposed_by)
            .bind(&d.reason).bind(d.proposed_at).execute(c).await.map(|_| ()))
    .map_err(DbError::sql("recording a proposal"))?;
    bulk::append(
        tx,
        "decision_item",
        vec![
            ("inst_id", repeated(d.id.inst_id, d.members.len())),
            ("decision_no", repeated(d.id.decision_no, d.members.len())),
            ("side", ints(&d.members, |m| m.side.number())),
            ("account_no", ints(&d.members, |m| m.account_no)),
            ("source_id", texts(&d.members, |m| &m.id)),
            ("amount_fen", ints(&d.members, |m| m.amount.fen())),
        ],
    )
    .await?;
    tell(tx, d.id, source_no).await
}

async fn tell(tx: &mut Tx, id: DecisionId, source_no: i64) -> Result<()> {
    let told = News::of(
        NewsKind::Decision,
        (id.inst_id, 0),
        source_no,
        id.decision_no,
    );
    news::append(tx, vec![told]).await
}

/// Records what somebody said of a proposal.
pub async fn append_event(tx: &mut Tx, id: DecisionId, said: &Said, source_no: i64) -> Result<()> {
    on!(tx, c => sqlx::query(
            "INSERT INTO decision_event (inst_id, decision_no, event_no, source_no, event, decided_by, \
                    reason, decided_at) \
             SELECT $1, $2, CAST(COALESCE(MAX(event_no), 0) + 1 AS BIGINT), $3, $4, $5, $6, $7 \
             FROM decision_event WHERE inst_id = $1 AND decision_no = $2")
            .bind(id.inst_id).bind(id.decision_no).bind(source_no).bind(said.step.number())
            .bind(&said.by).bind(&said.reason).bind(said.at).execute(c).await.map(|_| ()))
    .map_err(DbError::sql("recording a decision"))?;
    tell(tx, id, source_no).await
}

/// Which institutions have had a payment or a bank line of an id: (side, id, institution).
pub async fn holders(
    tx: &mut Tx,
    wanted: &[(Side, &str)],
    source_cut: i64,
) -> Result<Vec<(Side, String, i64)>> {
    let kind = |side: Side| match side {
        Side::Payment => Kind::Payment.number(),
        Side::Line => Kind::BankLine.number(),
    };
    let rows: Vec<(i64, String, i64)> = bulk::lookup(
        tx,
        vec![
            ("kind", ints(wanted, |w| kind(w.0))),
            ("source_id", texts(wanted, |w| w.1)),
            ("source_cut", repeated(source_cut, wanted.len())),
        ],
        "SELECT DISTINCT w.kind, w.source_id, d.inst_id \
         FROM wanted w CROSS JOIN institution_directory d CROSS JOIN posting p \
         WHERE p.inst_id = d.inst_id AND p.kind = w.kind AND p.source_id = w.source_id \
           AND p.source_no <= w.source_cut",
    )
    .await?;
    let side = |number: i64| {
        if number == kind(Side::Payment) {
            Side::Payment
        } else {
            Side::Line
        }
    };
    Ok((rows.into_iter())
        .map(|(kind, id, inst_id)| (side(kind), id, inst_id))
        .collect())
}
