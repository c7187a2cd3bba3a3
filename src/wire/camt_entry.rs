//! One camt entry while it is read, with the payments inside it.
//!
//! Invariants: payments explain their entry and never count beside it; all of them are counted and
//! summed, [`DETAILS_MAX`] of them are kept.

use rust_decimal::Decimal;

use super::amount::{plain, some_text};
use super::camt::Tag;
use super::{DETAILS_MAX, Detail, EntryStatus, MEMO_MAX_BYTES, Reversal, ReversalKind};
use crate::base::Day;

/// A balance or an entry being read: both have an amount, a currency and a direction.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) kind: String,
    pub(super) amount: Option<Decimal>,
    pub(super) currency: String,
    pub(super) direction: Option<bool>,
    pub(super) day: Option<Day>,
    pub(super) value_on: Option<Day>,
    pub(super) status: Option<EntryStatus>,
    pub(super) reversal: bool,
    pub(super) entry_ref: Option<String>,
    pub(super) servicer_ref: Option<String>,
    /// Codes from the widest to the narrowest, joined by `/`.
    pub(super) code: String,
    pub(super) detail: Detail,
    detail_negative: Option<bool>,
    /// The payment closed last and whether it was a debit: of an entry of one payment nothing is kept of it.
    closed: Option<(Detail, bool)>,
    pub(super) details: Vec<Detail>,
    pub(super) batch: Batch,
    returned: bool,
    other_ref: Option<String>,
    pub(super) customer_ref: Option<String>,
    pub(super) debtor: Option<String>,
    pub(super) creditor: Option<String>,
    pub(super) memo: String,
    pub(super) information: String,
}

/// The payments of an entry as counted, and as `Btch` declares them.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) details: u64,
    /// Absolute; `None` once a payment has no amount of its own in the entry's currency.
    sum: Option<Decimal>,
    pub(super) said_details: Option<Decimal>,
    pub(super) said_sum: Option<Decimal>,
}

impl Draft {
    pub(super) fn start_detail(&mut self) {
        self.keep_closed();
        self.detail = Detail::default();
        self.detail_negative = None;
        (self.debtor, self.creditor) = (None, None);
    }

    pub(super) fn detail_text(&mut self, path: &[Tag], text: &str) {
        use Tag::*;
        match path {
            [Refs, EndToEndId] if !matches!(text, "NOTPROVIDED" | "NOT PROVIDED") => {
                self.customer_ref = some_text(text).or(self.customer_ref.take());
                self.detail.reference = some_text(text).or(self.detail.reference.take());
            }
            [Refs, InstrId | TxId | AcctSvcrRef] => {
                self.other_ref = self.other_ref.take().or_else(|| some_text(text));
                self.detail.reference = self.detail.reference.take().or_else(|| some_text(text));
            }
            [RtrInf, ..] => self.returned = true,
            // The amount of the payment itself stands before the one it was made of.
            [Amt] => self.detail.amount = plain(text),
            [AmtDtls, TxAmt, Amt] => {
                self.detail.amount = self.detail.amount.or_else(|| plain(text));
            }
            [CdtDbtInd] => self.detail_negative = direction_of(text).map(|credit| !credit),
            [RltdPties, Dbtr, Nm] | [RltdPties, Dbtr, Pty, Nm] => self.debtor = some_text(text),
            [RltdPties, Cdtr, Nm] | [RltdPties, Cdtr, Pty, Nm] => self.creditor = some_text(text),
            [RmtInf, Ustrd] => append(&mut self.memo, text),
            _ => {}
        }
    }

    pub(super) fn close_detail(&mut self) {
        let mut detail = std::mem::take(&mut self.detail);
        self.batch.details += 1;
        let negative = self
            .detail_negative
            .unwrap_or(self.direction == Some(false));
        let own = detail.currency.is_empty() || detail.currency == self.currency;
        let before = match self.batch.details {
            1 => Some(Decimal::ZERO),
            _ => self.batch.sum,
        };
        let against = negative != (self.direction == Some(false));
        let counted = detail.amount.filter(|_| own);
        let counted = counted.map(|amount| if against { -amount } else { amount });
        self.batch.sum = before
            .zip(counted)
            .and_then(|(sum, more)| sum.checked_add(more));
        detail.amount = (detail.amount).map(|amount| if negative { -amount } else { amount });
        self.closed = Some((detail, negative));
    }

    /// Keeps the payment closed last beside those before it, while its parties are known.
    pub(super) fn keep_closed(&mut self) {
        let Some((mut detail, negative)) = self.closed.take() else {
            return;
        };
        if self.details.len() < DETAILS_MAX {
            let party = if negative {
                &self.creditor
            } else {
                &self.debtor
            };
            detail.counterparty.clone_from(party);
            self.details.push(detail);
        }
    }

    pub(super) fn add_code(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if !self.code.is_empty() {
            self.code.push('/');
        }
        self.code.push_str(text);
    }
}

impl Batch {
    /// What `Btch` declares against the payments present and the entry's own amount; details that
    /// claim nothing are not judged, and a `Btch` without details is only a count.
    pub(super) fn check(&self, amount: Decimal) -> Option<String> {
        let claims = self.said_details.is_some() || self.said_sum.is_some();
        if !claims || self.details == 0 {
            return None;
        }
        let present = self.details;
        if self
            .said_details
            .is_some_and(|said| said != Decimal::from(present))
        {
            return Some(format!(
                "Btch declares other than the {present} payments present"
            ));
        }
        match self.sum {
            Some(sum) if sum != amount => Some(format!(
                "the payments of the batch give {sum}, the entry is {amount}"
            )),
            Some(sum) if self.said_sum.is_some_and(|said| said != sum) => Some(format!(
                "Btch declares other than the {sum} of the payments present"
            )),
            _ => None,
        }
    }
}

/// `RvslInd` marks the entry; `RtrInf` marks a returned payment, where the entry is one payment.
/// The references of a correction are those of the payment it corrects.
pub(super) fn reversal(draft: &Draft, single: bool) -> Option<Reversal> {
    let kind = if draft.returned && single {
        ReversalKind::Returned
    } else if draft.reversal {
        ReversalKind::Reversed
    } else {
        return None;
    };
    let reference = draft.customer_ref.as_ref().or(draft.other_ref.as_ref());
    Some(Reversal {
        original: reference.filter(|_| single).cloned(),
        ..Reversal::unlinked(kind)
    })
}

/// Adds up what several `Btch` of one entry declare; an unreadable figure declares nothing.
pub(super) fn add(sum: &mut Option<Decimal>, more: Option<Decimal>) {
    *sum = match (*sum, more) {
        (Some(sum), Some(more)) => sum.checked_add(more),
        (sum, more) => sum.or(more),
    };
}

pub(super) fn direction_of(text: &str) -> Option<bool> {
    match text {
        "CRDT" => Some(true),
        "DBIT" => Some(false),
        _ => None,
    }
}

/// Adds a line to a text, up to [`MEMO_MAX_BYTES`]: a batch of a million details has no memo worth
/// more.
pub(super) fn append(text: &mut String, more: &str) {
    if more.is_empty() || text.len() + more.len() >= MEMO_MAX_BYTES {
        return;
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(more);
}
