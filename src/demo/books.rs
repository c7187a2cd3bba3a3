//! The banks' own books: one account's entries by business day, and the statement they make.
//!
//! Invariants: a day's closing is its opening plus its entries and is the next day's opening; money
//! moves on business days only. Amounts are plain `i64` fen: the simulator's sums stay far below the
//! limits that make [`crate::base::Money`] checked.

use std::fmt;

use crate::base::Day;

/// A bank, told apart by the format it delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bank {
    /// camt.053.001.08, one file a day with every account.
    CamtEight,
    /// camt.053.001.02, one file a day with every account.
    CamtTwo,
    /// MT940, one file a day, one message an account.
    Swift,
    /// The bank's own CSV export in GB18030, one file an account and day.
    Export,
    /// Canonical rows inside the day's bundle.
    Canonical,
}

impl Bank {
    /// The fictional bank code.
    pub(super) fn code(self) -> &'static str {
        match self {
            Bank::CamtEight => "DEMO-A",
            Bank::CamtTwo => "DEMO-B",
            Bank::Swift => "DEMO-C",
            Bank::Export => "DEMO-D",
            Bank::Canonical => "DEMO-E",
        }
    }

    /// The stem of the bank's file names.
    pub(super) fn stem(self) -> &'static str {
        match self {
            Bank::CamtEight => "bank-a",
            Bank::CamtTwo => "bank-b",
            Bank::Swift => "bank-c",
            Bank::Export => "bank-d",
            Bank::Canonical => "bank-e",
        }
    }
}

/// What a line is, as the canonical label says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    Transfer,
    Settlement,
    Debit,
}

impl Label {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Label::Transfer => "TRF",
            Label::Settlement => "STL",
            Label::Debit => "DBT",
        }
    }
}

/// One line of an account: positive in the account's favour.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The bank's own id, at most 16 characters; empty where it gives none, as the reference.
    pub(super) id: String,
    pub(super) amount: i64,
    pub(super) label: Label,
    /// What payment, batch, release or refund it settles, at most 16 characters.
    pub(super) reference: String,
    /// An ASCII word: the channel, or the reason of a debit.
    pub(super) memo: &'static str,
}

impl Entry {
    /// The other side, never a person's name.
    pub(super) fn counterparty(&self) -> &'static str {
        match (self.label, self.memo) {
            (Label::Settlement, _) => "示例收单清算中心",
            (Label::Transfer, "TRANSFER") => "示例家长付款户",
            (Label::Transfer, _) => "示例支付备付金户",
            (Label::Debit, "RELEASE") => "示例机构结算户",
            (Label::Debit, "REFUND") => "示例家长收款户",
            (Label::Debit, _) => "示例往来户",
        }
    }
}

/// One account's book over the whole period.
#[derive(Clone, Debug)]
pub(super) struct Book {
    pub(super) account_id: String,
    /// The holder's name.
    pub(super) holder: String,
    pub(super) bank: Bank,
    /// Balance before the first business day.
    pub(super) opening: i64,
    /// Entries by business-day index.
    pub(super) days: Vec<Vec<Entry>>,
}

impl Book {
    /// Balance after business day `index`.
    pub(super) fn closing(&self, index: usize) -> i64 {
        let entries = self.days.iter().take(index + 1).flatten();
        self.opening + entries.map(|e| e.amount).sum::<i64>()
    }

    /// The statement of business day `index`.
    pub(super) fn statement(&self, index: usize, day: Day, previous: Day) -> Statement<'_> {
        let closing = self.closing(index);
        let entries = self.days[index].as_slice();
        let moved: i64 = entries.iter().map(|e| e.amount).sum();
        Statement {
            book: self,
            number: index + 1,
            version: 0,
            day,
            previous,
            opening: closing - moved,
            closing,
            entries,
        }
    }
}

/// One account-day as a bank states it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Statement<'a> {
    pub(super) book: &'a Book,
    /// Counted from 1 with the account's first statement.
    pub(super) number: usize,
    /// 0 of the first word, more of its corrections.
    pub(super) version: u8,
    pub(super) day: Day,
    /// The business day of the opening balance.
    pub(super) previous: Day,
    pub(super) opening: i64,
    pub(super) closing: i64,
    pub(super) entries: &'a [Entry],
}

/// Fen printed as yuan with two decimals and the given decimal mark, without separators.
pub(super) struct Yuan(pub(super) i64, pub(super) char);

impl fmt::Display for Yuan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let fen = self.0.unsigned_abs();
        write!(f, "{sign}{}{}{:02}", fen / 100, self.1, fen % 100)
    }
}
