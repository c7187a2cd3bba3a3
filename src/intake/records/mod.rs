//! Rows that are records: districts, institutions, licences, accounts, orders, settlements, freezes.
//!
//! A record that differs from the stored one gets a next version; equal ones are no-ops.

mod orders;
mod registry;
mod settlements;

use std::collections::HashMap;

use super::ImportError;
use super::rows::Taken;
use super::session::Session;
use crate::base::{Day, Defect, DefectCode};
use crate::ledger::{self, Batch, Draft, Kind};
use crate::store::Tx;
use crate::wire::interchange::{FileKind, Row};

/// Orders stored in one portion.
pub(super) const CONTRACT_ROWS: usize = 100_000;

/// Records of one file, collected.
pub(super) struct Collected {
    kind: FileKind,
    registry: registry::Collected,
    orders: orders::Collected,
    bank: settlements::Collected,
}

impl Collected {
    pub(super) fn new(kind: FileKind) -> Collected {
        Collected {
            kind,
            registry: registry::Collected::default(),
            orders: orders::Collected::default(),
            bank: settlements::Collected::default(),
        }
    }

    /// Rows collected and not stored; registry records are stored at the file's end.
    pub(super) fn len(&self) -> usize {
        self.orders.len() + self.bank.len()
    }

    pub(super) fn row(
        &mut self,
        session: &mut Session<'_>,
        file: &str,
        row: &Row<'_>,
    ) -> Result<Taken, Defect> {
        match self.kind {
            FileKind::Districts => self.registry.district(row),
            FileKind::Institutions => self.registry.institution(session, file, row),
            FileKind::Licences => self.registry.licence(session, file, row),
            FileKind::Accounts => self.registry.account(session, row),
            FileKind::Orders => self.orders.order(session, file, row),
            FileKind::Settlements => self.bank.settlement(session, row),
            FileKind::Freezes => self.bank.freeze(session, row),
            _ => unreachable!("facts are taken elsewhere"),
        }
    }

    /// Stores what has been collected.
    pub(super) async fn store(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
        file: &str,
    ) -> Result<(), ImportError> {
        match self.kind {
            FileKind::Orders => self.orders.store(session, source_no, file).await,
            FileKind::Settlements => self.bank.store_settlements(session, source_no).await,
            FileKind::Freezes => self.bank.store_freezes(session, source_no).await,
            _ => self.registry.store(session, source_no, file).await,
        }
    }
}

/// The versions of the values one id has in one file, sorted; `None` for a value that is stored. The
/// last one stands. Where it stands already nothing is new, so that a file which contradicts itself
/// can be sent again.
pub(super) fn versions<'v, T: PartialEq + 'v>(
    known: Option<(i64, &'v T)>,
    values: impl DoubleEndedIterator<Item = &'v T> + ExactSizeIterator + Clone,
) -> Vec<Option<i64>> {
    if known.is_some_and(|(_, stored)| values.clone().next_back() == Some(stored)) {
        return vec![None; values.len()];
    }
    let mut last = known;
    values
        .map(|value| match last {
            Some((_, stored)) if stored == value => None,
            _ => {
                let version = last.map_or(1, |(version, _)| version + 1);
                last = Some((version, value));
                Some(version)
            }
        })
        .collect()
}

pub(super) fn count(session: &mut Session<'_>, source_no: i64, version: Option<i64>) {
    let counts = session.count(source_no);
    match version {
        None => counts.same += 1,
        Some(1) => counts.new += 1,
        Some(_) => counts.revised += 1,
    }
}

/// Posts what records bring about, in the transaction that stores the records.
async fn post_with(
    tx: &mut Tx,
    session: &mut Session<'_>,
    batch: &Batch,
) -> Result<(), ImportError> {
    if !batch.is_empty() {
        let order = ledger::sorted(batch, &session.contracts);
        // Counted with the records' own rows.
        let mut posted = HashMap::new();
        ledger::post(tx, batch, &order, &mut session.contracts, &mut posted).await?;
    }
    Ok(())
}

fn draft(batch: &mut Batch, kind: Kind, day: Day, source_id: &str, source_no: i64) -> Draft {
    Draft::new(kind, day, batch.keep(source_id), source_no)
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

fn non_empty(text: &'static str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn required_text(row: &Row<'_>, column: usize) -> Result<String, Defect> {
    match row.opt_text(column)? {
        Some(text) => Ok(text.to_owned()),
        None => Err(row.defect(DefectCode::MissingValue, column, "the field is empty")),
    }
}
