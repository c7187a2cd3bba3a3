//! Facts of a range of institutions: what was known and had happened.

use std::collections::HashMap;

use super::Seen;
use super::packed::unpack;
use super::postings::postings;
use crate::base::Money;
use crate::decision;
use crate::feed::store::{Freeze, Settlement};
use crate::reconcile::facts::{Claim, ContractTerms, Exemption, Facts, StatedDay};
use crate::reconcile::known::{Folding, Known};
use crate::registry::Terms;
use crate::store::{Result, Tx, bulk, days};

/// Facts of the institutions numbered `first..=last` as of the day seen, in that order; one without facts is
/// absent.
pub async fn facts(tx: &mut Tx, first: i64, last: i64, seen: Seen) -> Result<Vec<Facts>> {
    let known = known(tx, (first, last), seen).await?;
    let mut facts: Vec<Facts> = known
        .into_values()
        .map(|k| k.into_as_of(seen.day))
        .collect();
    facts.sort_unstable_by_key(|f| f.inst_id);
    Ok(facts)
}

/// All facts of institutions that happened up to the day seen; one without facts is absent.
pub async fn known(
    tx: &mut Tx,
    (first, last): (i64, i64),
    seen: Seen,
) -> Result<HashMap<i64, Known>> {
    let mut lessons = HashMap::new();
    let mut by_inst: HashMap<i64, Facts> = HashMap::new();
    for (inst_id, new) in postings(tx, (first, last), seen).await? {
        lessons.insert(inst_id, (new.lessons, new.seq));
        by_inst.insert(inst_id, new.facts);
    }
    contracts(tx, first, last, seen, &mut by_inst).await?;
    statement_days(tx, first, last, seen, &mut by_inst).await?;
    claims(tx, first, last, seen, &mut by_inst).await?;
    exemptions(tx, first, last, seen, &mut by_inst).await?;
    settlements(tx, first, last, seen, &mut by_inst).await?;
    freezes(tx, first, last, seen, &mut by_inst).await?;
    decisions(tx, first, last, seen, &mut by_inst).await?;
    let whole = |(inst_id, mut facts): (i64, Facts)| {
        facts.inst_id = inst_id;
        let (lessons, seq) = lessons.remove(&inst_id).unwrap_or_default();
        (
            inst_id,
            Known {
                facts,
                lessons,
                seq,
                gone: Vec::new(),
                folding: Folding::default(),
            },
        )
    };
    Ok(by_inst.into_iter().map(whole).collect())
}

/// First and last institution, file cut and day, as queries bind them.
pub(super) fn binds((first, last, seen): (i64, i64, Seen)) -> [i64; 4] {
    [first, last, seen.source_cut, days::number(seen.day)]
}

/// Contracts, their fields packed.
macro_rules! packed_contracts {
    ($from_where:literal) => {
        concat!(
            "SELECT c.inst_id, string_agg( \
               format('%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s', c.contract_no, \
                      c.version, c.ordered_day, c.lessons, c.gift_lessons, c.amount_fen, c.extras_fen, \
                      c.starts_day, c.ends_day, \
                      CASE WHEN c.kind IN ('period', 'unlimited') THEN 1 ELSE 0 END), '\u{1e}') ",
            $from_where
        )
    };
}
pub(super) use packed_contracts;

/// Statement days, their fields packed.
macro_rules! packed_days {
    ($from_where:literal) => {
        concat!(
            "SELECT s.inst_id, string_agg( \
               format('%s\u{1f}%s\u{1f}%s\u{1f}%s\u{1f}%s', s.account_no, s.day, s.version, s.opening_fen, \
                      s.closing_fen), '\u{1e}') ",
            $from_where
        )
    };
}
pub(super) use packed_days;

async fn contracts(
    tx: &mut Tx,
    first: i64,
    last: i64,
    seen: Seen,
    by_inst: &mut HashMap<i64, Facts>,
) -> Result<()> {
    let sql = packed_contracts!(
        "FROM contract c \
         WHERE c.inst_id BETWEEN $1 AND $2 AND c.source_no <= $3 \
         GROUP BY c.inst_id"
    );
    let binds = binds((first, last, seen));
    bulk::each(tx, sql, &binds[..3], |(inst_id, packed): (i64, String)| {
        by_inst.entry(inst_id).or_default().contracts = read_contracts(&packed)?;
        Ok(())
    })
    .await
}

/// Contracts in order of their numbers. The newest version says when a contract was made: an older one must not
/// show through.
pub(super) fn read_contracts(packed: &str) -> Result<Vec<ContractTerms>> {
    let mut versions = Vec::new();
    for mut fields in unpack(packed) {
        let (contract_no, version) = (fields.int()?, fields.int()?);
        let ordered_on = fields.day("contract")?;
        let (lessons, gift_lessons) = (fields.int()?, fields.int()?);
        let (amount, extras) = (fields.int()?, fields.int()?);
        let terms = ContractTerms {
            contract_no,
            ordered_on,
            terms: Terms {
                lesson_amount: Money::from_fen(amount - extras),
                lessons,
                gift_lessons,
            },
            amount: Money::from_fen(amount),
            starts_on: days::opt_day(fields.opt_int()?, "contract")?,
            ends_on: days::opt_day(fields.opt_int()?, "contract")?,
            by_time: fields.int()? == 1,
        };
        versions.push((version, terms));
    }
    versions.sort_unstable_by_key(|(version, c)| (c.contract_no, std::cmp::Reverse(*version)));
    versions.dedup_by_key(|(_, c)| c.contract_no);
    Ok(versions.into_iter().map(|(_, c)| c).collect())
}

pub(super) async fn statement_days(
    tx: &mut Tx,
    first: i64,
    last: i64,
    seen: Seen,
    by_inst: &mut HashMap<i64, Facts>,
) -> Result<()> {
    let sql = packed_days!(
        "FROM statement_day s \
         WHERE s.inst_id BETWEEN $1 AND $2 AND s.source_no <= $3 AND s.day <= $4 \
         GROUP BY s.inst_id"
    );
    let binds = binds((first, last, seen));
    bulk::each(tx, sql, &binds, |(inst_id, packed): (i64, String)| {
        by_inst.entry(inst_id).or_default().days = read_days(&packed)?;
        Ok(())
    })
    .await
}

/// Statement days in order of accounts and days, each in its newest version.
pub(super) fn read_days(packed: &str) -> Result<Vec<StatedDay>> {
    let mut days = Vec::new();
    for mut fields in unpack(packed) {
        days.push(StatedDay {
            account_no: fields.int()?,
            day: fields.day("statement_day")?,
            version: fields.int()?,
            opening: fields.int()?,
            closing: fields.int()?,
        });
    }
    days.sort_unstable_by_key(|d| (d.account_no, d.day, std::cmp::Reverse(d.version)));
    days.dedup_by_key(|d| (d.account_no, d.day));
    Ok(days)
}

/// Claims that nobody has settled, in their newest version.
pub(super) async fn claims(
    tx: &mut Tx,
    first: i64,
    last: i64,
    seen: Seen,
    by_inst: &mut HashMap<i64, Facts>,
) -> Result<()> {
    type Row = (i64, i64, i64, String, i64, i64, Vec<u8>, i64);
    let sql = "SELECT inst_id, account_no, day, claimant, opening_fen, closing_fen, lines_digest, \
                      settled \
               FROM statement_dispute \
               WHERE inst_id BETWEEN $1 AND $2 AND source_no <= $3 AND day <= $4 \
               ORDER BY inst_id, account_no, day, claimant, version";
    let mut newest: Vec<(i64, Claim, i64)> = Vec::new();
    bulk::each(
        tx,
        sql,
        &binds((first, last, seen)),
        |(inst, account_no, day, claimant, opening, closing, lines_digest, settled): Row| {
            let claim = Claim {
                account_no,
                day: days::day(day, "statement_dispute")?,
                claimant,
                opening,
                closing,
                lines_digest,
            };
            let key = |c: &Claim| (c.account_no, c.day, c.claimant.clone());
            if newest
                .last()
                .is_some_and(|(i, c, _)| *i == inst && key(c) == key(&claim))
            {
                newest.pop();
            }
            newest.push((inst, claim, settled));
            Ok(())
        },
    )
    .await?;
    for (inst, claim, _) in newest.into_iter().filter(|(_, _, settled)| *settled == 0) {
        by_inst.entry(inst).or_default().claims.push(claim);
    }
    Ok(())
}

/// Exemptions in their newest version; one without a reason has ended.
pub(super) async fn exemptions(
    tx: &mut Tx,
    first: i64,
    last: i64,
    seen: Seen,
    by_inst: &mut HashMap<i64, Facts>,
) -> Result<()> {
    type Row = (i64, i64, i64, i64, String);
    let sql = "SELECT inst_id, account_no, first_day, last_day, reason FROM statement_exemption \
               WHERE inst_id BETWEEN $1 AND $2 AND source_no <= $3 \
               ORDER BY inst_id, account_no, first_day, last_day, version";
    let mut newest: Vec<(i64, Exemption)> = Vec::new();
    bulk::each(
        tx,
        sql,
        &binds((first, last, seen))[..3],
        |(inst, account_no, from, to, reason): Row| {
            let exemption = Exemption {
                account_no,
                first: days::day(from, "statement_exemption")?,
                last: days::day(to, "statement_exemption")?,
                reason,
            };
            let key = |e: &Exemption| (e.account_no, e.first, e.last);
            if newest
                .last()
                .is_some_and(|(i, e)| *i == inst && key(e) == key(&exemption))
            {
                newest.pop();
            }
            newest.push((inst, exemption));
            Ok(())
        },
    )
    .await?;
    for (inst, exemption) in newest.into_iter().filter(|(_, e)| !e.reason.is_empty()) {
        by_inst.entry(inst).or_default().exemptions.push(exemption);
    }
    Ok(())
}

pub(super) type SettlementRow = (
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

pub(super) fn settlement(r: SettlementRow) -> Settlement {
    Settlement {
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
    }
}

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
            let settlement = settlement(r);
            let list = &mut by_inst.entry(settlement.inst_id).or_default().settlements;
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
    .await
}

/// Decisions that were approved and not undone, as far as was known.
pub(super) async fn decisions(
    tx: &mut Tx,
    first: i64,
    last: i64,
    seen: Seen,
    by_inst: &mut HashMap<i64, Facts>,
) -> Result<()> {
    for decision in decision::store::known(tx, (first, last), seen.source_cut).await? {
        if decision.approved().is_some() {
            let facts = by_inst.entry(decision.id.inst_id).or_default();
            facts.decisions.push(decision);
        }
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

pub(super) async fn freezes(
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
    .await
}
