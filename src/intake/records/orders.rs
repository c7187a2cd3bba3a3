//! Orders: contracts with their terms. A changed contract revalues what was earned, in the transaction
//! that stores it.

use std::collections::HashMap;

use super::{count, draft, non_empty, owned, post_with, versions};
use crate::base::{Defect, DefectCode, InstId};
use crate::intake::ImportError;
use crate::intake::rows::Taken;
use crate::intake::session::Session;
use crate::ledger::{self, Batch, Draft, Kind, Slot};
use crate::registry::Contract;
use crate::registry::store::{self as registry, NewContract, StoredContract};
use crate::store::Tx;
use crate::wire::interchange::Row;

/// An order as sent; the order of its fields is the order in which orders are stored.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct NewOrder {
    inst_id: InstId,
    order_id: String,
    value: Contract,
    line: u64,
}

#[derive(Default)]
pub(super) struct Collected(Vec<NewOrder>);

impl Collected {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn order(
        &mut self,
        session: &mut Session<'_>,
        file: &str,
        row: &Row<'_>,
    ) -> Result<Taken, Defect> {
        let order_id = row.id(0)?;
        let institution_id = row.id(1)?;
        let value = Contract {
            student_ref: row.id(2)?.to_owned(),
            ordered_on: row.day(3)?,
            lessons: row.fen(4)?,
            unit_price: row.fen(5)?,
            amount: row.fen(6)?,
            gift_lessons: row.opt_fen(7)?.unwrap_or(0),
            list_price: row.opt_fen(8)?,
            subject_group: owned(row.opt_text(9)?),
            kind: row
                .code(10, &["hours", "period", "unlimited"], Some(""))
                .map(non_empty)?,
            starts_on: row.opt_day(11)?,
            ends_on: row.opt_day(12)?,
            extras: row.opt_fen(13)?.unwrap_or(0),
        };
        if value.extras > value.amount {
            return Err(row.defect(
                DefectCode::BadAmount,
                13,
                format!(
                    "extras of {} fen exceed the amount of {}",
                    value.extras, value.amount
                ),
            ));
        }
        let Some((inst_id, _)) = session.registry.institutions.get(institution_id) else {
            return Ok(Taken::Waits(institution_id.to_owned()));
        };
        let inst_id = *inst_id;
        if i128::from(value.lessons) * i128::from(value.unit_price)
            != i128::from(value.amount - value.extras)
        {
            let found = format!(
                "{} lessons at {} fen are not the lesson part of {} fen",
                value.lessons,
                value.unit_price,
                value.amount - value.extras
            );
            session.note_defect(row.defect(DefectCode::UnpricedOrder, 5, found).file(file));
        }
        self.0.push(NewOrder {
            inst_id,
            order_id: order_id.to_owned(),
            value,
            line: row.line,
        });
        Ok(Taken::Yes)
    }

    pub(super) async fn store(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
        file: &str,
    ) -> Result<(), ImportError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut orders = std::mem::take(&mut self.0);
        orders.sort_unstable();
        let mut tx = session.begin_write().await?;
        let known = known_contracts(&mut tx, session, &orders).await?;
        let mut insts: Vec<i64> = orders.iter().map(|o| o.inst_id.0).collect();
        insts.dedup();
        let mut heads = ledger::store::heads(&mut tx, &insts).await?;
        let mut claimed: HashMap<&str, InstId> = HashMap::new();
        let mut rows: Vec<NewContract<'_>> = Vec::with_capacity(orders.len());
        for group in orders.chunk_by(|a, b| (a.inst_id, &a.order_id) == (b.inst_id, &b.order_id)) {
            let (order_id, inst_id) = (group[0].order_id.as_str(), group[0].inst_id);
            let stored = known.get(order_id);
            let owner = stored.map_or_else(
                || *claimed.entry(order_id).or_insert(inst_id),
                |stored| stored.inst_id,
            );
            if owner != inst_id {
                refuse(session, source_no, file, group);
                continue;
            }
            let found = versions(
                stored.map(|k| (k.version, &k.value)),
                group.iter().map(|o| &o.value),
            );
            let contract_no = stored.map_or_else(
                || {
                    let head = heads.entry(inst_id.0).or_default();
                    head.contracts += 1;
                    head.contracts
                },
                |k| k.contract_no,
            );
            for (order, version) in group.iter().zip(found) {
                count(session, source_no, version);
                if let Some(version) = version {
                    rows.push(NewContract {
                        inst_id,
                        contract_no,
                        version,
                        source_no,
                        order_id,
                        value: &order.value,
                    });
                }
            }
        }
        registry::append_contracts(&mut tx, &rows).await?;
        let mut heads: Vec<_> = heads.into_iter().collect();
        heads.sort_unstable_by_key(|(inst_id, _)| *inst_id);
        ledger::store::put_heads(&mut tx, &heads).await?;
        // With the terms that cause them: a crash between the two would leave the old value standing.
        revalue(&mut tx, session, &rows).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// An order of one id belongs to the institution that had it first.
fn refuse(session: &mut Session<'_>, source_no: i64, file: &str, orders: &[NewOrder]) {
    for order in orders {
        let id = &order.order_id;
        let found = format!("order {id} belongs to another institution");
        let defect = Defect::new(DefectCode::Conflict, found).file(file);
        let defect = defect.line(order.line).column("institution_id");
        session.quarantine(source_no, defect, id.clone());
    }
}

/// Puts the contracts at hand and brings what was earned under older terms to the new ones.
async fn revalue(
    tx: &mut Tx,
    session: &mut Session<'_>,
    rows: &[NewContract<'_>],
) -> Result<(), ImportError> {
    let revised: Vec<&str> = rows
        .iter()
        .filter(|r| r.version > 1)
        .map(|r| r.order_id)
        .collect();
    for (order_id, slot) in ledger::store::contracts_by_order(tx, &revised).await? {
        if session.contracts.get(&order_id).is_none() {
            session.contracts.put(&order_id, slot);
        }
    }
    let mut batch = Batch::default();
    for row in rows {
        let slot = Slot::new(row.inst_id, row.contract_no, row.value.terms());
        let contract = session.contracts.put(row.order_id, slot);
        if row.version > 1 {
            let (day, source_no) = (row.value.ordered_on, row.source_no);
            let base = draft(&mut batch, Kind::Revaluation, day, row.order_id, source_no);
            batch.drafts.push(Draft {
                inst_id: row.inst_id,
                contract,
                ..base
            });
        }
    }
    post_with(tx, session, &batch).await
}

/// Stored contracts among the orders of a portion; none has to be looked for on a first load.
async fn known_contracts<'o>(
    tx: &mut Tx,
    session: &Session<'_>,
    orders: &'o [NewOrder],
) -> Result<HashMap<&'o str, StoredContract>, ImportError> {
    let mut wanted: Vec<&'o str> = orders
        .iter()
        .map(|o| o.order_id.as_str())
        .filter(|id| !session.first_load || session.contracts.get(id).is_some())
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    let stored = registry::contracts(tx, &wanted).await?;
    let mut known = HashMap::with_capacity(stored.len());
    for contract in stored {
        if let Ok(at) = wanted.binary_search(&contract.order_id.as_str()) {
            known.insert(wanted[at], contract);
        }
    }
    Ok(known)
}
