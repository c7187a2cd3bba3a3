//! The version of a fact that stands, stored or just posted, and whether a draft says the same.

use super::contracts::Contracts;
use super::store::Existing;
use super::{Batch, Draft, accounts};
use crate::base::{Day, Money};

/// The current version of a posted fact.
#[derive(Clone, Debug)]
pub(super) struct Live<'a> {
    pub(super) seq: i64,
    pub(super) revision: i64,
    /// False once it has been reversed and nothing put in its place.
    pub(super) stands: bool,
    pub(super) day: Day,
    pub(super) contract_no: i64,
    pub(super) account_no: i64,
    pub(super) amount: Money,
    pub(super) stated: Option<Money>,
    pub(super) confirmed: Option<Day>,
    pub(super) reference: &'a str,
    pub(super) channel: i64,
    pub(super) state: i64,
    pub(super) quantity: i64,
    pub(super) note: &'a str,
    pub(super) debit: i64,
    pub(super) credit: i64,
}

impl<'a> Live<'a> {
    pub(super) fn stored(row: &'a Existing) -> Live<'a> {
        Live {
            seq: row.seq,
            revision: row.revision,
            stands: row.stands,
            day: row.day,
            contract_no: row.contract_no,
            account_no: row.account_no,
            amount: row.amount,
            stated: row.stated,
            confirmed: row.confirmed,
            reference: &row.reference,
            channel: row.channel,
            state: row.state,
            quantity: row.quantity,
            note: &row.note,
            debit: row.debit,
            credit: row.credit,
        }
    }

    pub(super) fn equals(&self, draft: &Draft, batch: &Batch, contracts: &Contracts) -> bool {
        if draft.void || !self.stands {
            return draft.void && !self.stands;
        }
        let contract_no = contracts.number_of(draft.contract);
        // An account that changed its kind moves its lines to the other side of the chart.
        let (debit, credit) = accounts(draft.kind, draft.state, draft.role, draft.quantity);
        (self.debit, self.credit) == (debit.number(), credit.number())
            && self.day == draft.day
            && self.confirmed == draft.confirmed
            && self.stated.unwrap_or(self.amount) == draft.amount
            && self.quantity == draft.quantity
            && self.contract_no == contract_no
            && self.account_no == draft.account_no
            && self.channel == i64::from(draft.channel)
            && self.state == i64::from(draft.state)
            && self.reference == batch.text(draft.reference)
            && self.note == batch.text(draft.note)
    }
}
