//! Channel settlements and freezes of accounts. What a channel kept of a batch is posted with it.

use std::collections::HashMap;

use super::{count, draft, post_with, versions};
use crate::base::{Day, Defect, DefectCode, InstId, Money};
use crate::feed::store::{self, Freeze, Settlement};
use crate::intake::ImportError;
use crate::intake::facts::channel_number;
use crate::intake::rows::Taken;
use crate::intake::session::Session;
use crate::ledger::{Batch, Draft, Kind};
use crate::policy::Channel;
use crate::store::days;
use crate::wire::interchange::Row;

#[derive(Default)]
pub(super) struct Collected {
    settlements: Vec<Settlement>,
    freezes: Vec<Freeze>,
}

impl Collected {
    pub(super) fn len(&self) -> usize {
        self.settlements.len() + self.freezes.len()
    }

    pub(super) fn settlement(
        &mut self,
        session: &mut Session<'_>,
        row: &Row<'_>,
    ) -> Result<Taken, Defect> {
        let batch_no = row.id(0)?;
        let channel = row.code(1, &Channel::NAMES, None)?;
        let account_id = row.id(2)?;
        let mut value = Settlement {
            inst_id: 0,
            account_no: 0,
            batch_no: batch_no.to_owned(),
            channel: i64::from(channel_number(channel)),
            period_from_day: days::number(row.day(3)?),
            period_to_day: days::number(row.day(4)?),
            gross_fen: row.fen(5)?,
            fee_fen: row.fen(6)?,
            refund_fen: row.fen(7)?,
            net_fen: row.integer(8)?,
            expected_day: days::opt_number(row.opt_day(9)?),
        };
        if value.gross_fen - value.fee_fen - value.refund_fen != value.net_fen {
            return Err(row.defect(
                DefectCode::DeclaredTotals,
                8,
                format!(
                    "gross {} − fee {} − refunds {} is not net {}",
                    value.gross_fen, value.fee_fen, value.refund_fen, value.net_fen
                ),
            ));
        }
        let Some(account) = session.registry.accounts.get(account_id) else {
            return Ok(Taken::Waits(account_id.to_owned()));
        };
        value.inst_id = account.inst_id.0;
        value.account_no = account.account_no.0;
        self.settlements.push(value);
        Ok(Taken::Yes)
    }

    pub(super) fn freeze(
        &mut self,
        session: &mut Session<'_>,
        row: &Row<'_>,
    ) -> Result<Taken, Defect> {
        let account_id = row.id(0)?;
        let kind = row.code(1, &["court", "police", "bank", "regulator"], None)?;
        let mut value = Freeze {
            inst_id: 0,
            account_no: 0,
            document_no: row.id(2)?.to_owned(),
            kind: kind.to_owned(),
            amount_fen: row.opt_fen(3)?,
            from_day: days::opt_number(row.opt_day(4)?),
            to_day: days::opt_number(row.opt_day(5)?),
        };
        let Some(account) = session.registry.accounts.get(account_id) else {
            return Ok(Taken::Waits(account_id.to_owned()));
        };
        value.inst_id = account.inst_id.0;
        value.account_no = account.account_no.0;
        self.freezes.push(value);
        Ok(Taken::Yes)
    }

    pub(super) async fn store_settlements(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
    ) -> Result<(), ImportError> {
        let mut rows = std::mem::take(&mut self.settlements);
        rows.sort_unstable();
        let keys: Vec<(i64, i64, &str)> = rows
            .iter()
            .map(|r| (r.inst_id, r.account_no, r.batch_no.as_str()))
            .collect();
        let mut tx = session.begin_write().await?;
        let known: HashMap<(i64, i64, String), (i64, Settlement)> =
            store::settlements(&mut tx, &keys)
                .await?
                .into_iter()
                .map(|(v, s)| ((s.inst_id, s.account_no, s.batch_no.clone()), (v, s)))
                .collect();
        let mut new = Vec::new();
        let mut kept = Batch::default();
        let key = |s: &Settlement| (s.inst_id, s.account_no, s.batch_no.clone());
        for group in rows.chunk_by(|a, b| key(a) == key(b)) {
            let stored = known.get(&key(&group[0])).map(|(v, s)| (*v, s));
            let mut before = stored.map_or((0, 0), |(_, s)| (s.fee_fen, s.refund_fen));
            for (row, version) in group.iter().zip(versions(stored, group.iter())) {
                count(session, source_no, version);
                let Some(version) = version else { continue };
                settlement_postings(&mut kept, row, before, source_no);
                before = (before.0.max(row.fee_fen), before.1.max(row.refund_fen));
                new.push((version, source_no, row.clone()));
            }
        }
        store::append_settlements(&mut tx, &new).await?;
        post_with(&mut tx, session, &kept).await?;
        tx.commit().await?;
        Ok(())
    }

    pub(super) async fn store_freezes(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
    ) -> Result<(), ImportError> {
        let mut rows = std::mem::take(&mut self.freezes);
        rows.sort_unstable();
        let keys: Vec<(i64, i64, &str)> = rows
            .iter()
            .map(|r| (r.inst_id, r.account_no, r.document_no.as_str()))
            .collect();
        let mut tx = session.begin_write().await?;
        let known: HashMap<(i64, i64, String), (i64, Freeze)> = store::freezes(&mut tx, &keys)
            .await?
            .into_iter()
            .map(|(v, f)| ((f.inst_id, f.account_no, f.document_no.clone()), (v, f)))
            .collect();
        let mut new = Vec::new();
        let key = |f: &Freeze| (f.inst_id, f.account_no, f.document_no.clone());
        for group in rows.chunk_by(|a, b| key(a) == key(b)) {
            let stored = known.get(&key(&group[0])).map(|(v, f)| (*v, f));
            for (row, version) in group.iter().zip(versions(stored, group.iter())) {
                count(session, source_no, version);
                if let Some(version) = version {
                    new.push((version, source_no, row.clone()));
                }
            }
        }
        store::append_freezes(&mut tx, &new).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Collects what a channel kept of a batch: its fee, and refunds paid out of it.
fn settlement_postings(
    batch: &mut Batch,
    row: &Settlement,
    (fee_before, refund_before): (i64, i64),
    source_no: i64,
) {
    let day = i32::try_from(row.expected_day.unwrap_or(row.period_to_day)).unwrap_or(0);
    for (kind, amount, known) in [
        (Kind::ChannelFee, row.fee_fen, fee_before > 0),
        (Kind::ChannelRefund, row.refund_fen, refund_before > 0),
    ] {
        if amount == 0 && !known {
            continue;
        }
        let source_id = format!("{}/{}", row.account_no, row.batch_no);
        let base = draft(batch, kind, Day::from_epoch(day), &source_id, source_no);
        batch.drafts.push(Draft {
            inst_id: InstId(row.inst_id),
            account_no: row.account_no,
            amount: Money::from_fen(amount),
            channel: u8::try_from(row.channel).unwrap_or(0),
            ..base
        });
    }
}
