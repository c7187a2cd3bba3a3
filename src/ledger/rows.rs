//! Rows on their way into the ledger, column by column, as the bulk append wants them.

use std::borrow::Cow;
use std::collections::HashMap;

use super::chain::{Chain, Link};

/// The postings of one transaction, column by column.
#[derive(Default)]
pub(super) struct Rows<'a> {
    pub(super) inst_id: Vec<i64>,
    pub(super) seq: Vec<i64>,
    pub(super) source_no: Vec<i64>,
    pub(super) kind: Vec<i64>,
    pub(super) debit: Vec<i64>,
    pub(super) credit: Vec<i64>,
    pub(super) amount_fen: Vec<i64>,
    pub(super) business_day: Vec<i64>,
    pub(super) contract_no: Vec<i64>,
    pub(super) account_no: Vec<i64>,
    pub(super) source_id: Vec<Cow<'a, str>>,
    pub(super) revision: Vec<i64>,
    pub(super) reverses: Vec<Option<i64>>,
    pub(super) reference: Vec<&'a str>,
    pub(super) channel: Vec<i64>,
    pub(super) state: Vec<i64>,
    pub(super) quantity: Vec<i64>,
    pub(super) stated_fen: Vec<Option<i64>>,
    pub(super) confirmed_day: Vec<Option<i64>>,
    pub(super) hash: Vec<Chain>,
    /// (inst_id, seq, note) of the postings that have one.
    pub(super) notes: Vec<(i64, i64, &'a str)>,
    /// Debit and credit moved per (inst_id, ledger account).
    pub(super) balances: HashMap<(i64, i64), (i128, i128)>,
}

impl<'a> Rows<'a> {
    pub(super) fn with_capacity(n: usize) -> Self {
        Rows {
            inst_id: Vec::with_capacity(n),
            seq: Vec::with_capacity(n),
            source_no: Vec::with_capacity(n),
            kind: Vec::with_capacity(n),
            debit: Vec::with_capacity(n),
            credit: Vec::with_capacity(n),
            amount_fen: Vec::with_capacity(n),
            business_day: Vec::with_capacity(n),
            contract_no: Vec::with_capacity(n),
            account_no: Vec::with_capacity(n),
            source_id: Vec::with_capacity(n),
            revision: Vec::with_capacity(n),
            reverses: Vec::with_capacity(n),
            reference: Vec::with_capacity(n),
            channel: Vec::with_capacity(n),
            state: Vec::with_capacity(n),
            quantity: Vec::with_capacity(n),
            stated_fen: Vec::with_capacity(n),
            confirmed_day: Vec::with_capacity(n),
            hash: Vec::with_capacity(n),
            ..Rows::default()
        }
    }

    pub(super) fn push(&mut self, link: Link<'_>, texts: (Cow<'a, str>, &'a str), hash: Chain) {
        self.inst_id.push(link.inst_id);
        self.seq.push(link.seq);
        self.source_no.push(link.source_no);
        self.kind.push(link.kind);
        self.debit.push(link.debit);
        self.credit.push(link.credit);
        self.amount_fen.push(link.amount_fen);
        self.business_day.push(link.business_day);
        self.contract_no.push(link.contract_no);
        self.account_no.push(link.account_no);
        self.source_id.push(texts.0);
        self.revision.push(link.revision);
        self.reverses.push(link.reverses);
        self.reference.push(texts.1);
        self.channel.push(link.channel);
        self.state.push(link.state);
        self.quantity.push(link.quantity);
        self.stated_fen.push(link.stated_fen);
        self.confirmed_day.push(link.confirmed_day);
        self.hash.push(hash);
        let debit = self.balances.entry((link.inst_id, link.debit)).or_default();
        debit.0 += i128::from(link.amount_fen);
        let credit = self
            .balances
            .entry((link.inst_id, link.credit))
            .or_default();
        credit.1 += i128::from(link.amount_fen);
    }
}
