//! The ledger: one row is one fact and one posting, debit and credit of the same amount.
//!
//! Invariants: debits equal credits by construction; an institution's postings are numbered without a
//! gap and chained by hash; a source id has at most one posting per revision, so a replay adds nothing;
//! a correction is a reversal of the old row and a new row, both dated when the fact happened and
//! learned when the correction came; running totals move in the same transaction as the rows.
//! Absent on purpose: an update or delete of a posting; a journal beside its lines (half the rows and no
//! unbalanced state to guard); matches as postings (they depend on a policy, facts do not).
//!
//! # The chart
//! A payment debits CLEARING and credits UNEARNED; the bank's credit debits CUSTODY and credits
//! CLEARING: what stays in CLEARING is reported and not banked (debit) or banked and not reported
//! (credit). A confirmed lesson moves UNEARNED to EARNED. A refund or release owes PAYABLE, a bank debit
//! pays it: what stays in PAYABLE is approved and unpaid (credit) or paid without approval (debit).
//!
//! # When a lesson counts
//! A lesson is delivered on one day and often confirmed on a later one; money may move from the later day
//! on. Its posting is dated on the day of the lesson, as every fact is on the day it happened, and carries
//! `confirmed_day` only where confirmation came later: NULL, the usual case, costs a row one byte and the
//! chain nothing. Whoever asks what was confirmed by a day counts a lesson from the later of the two days
//! and, in between, as claimed; a reversal carries both days, so it cancels its row on every day. One
//! posting dated on the confirmation would lose the delivery, and two postings per lesson would double
//! the largest table. Running totals hold no day: they say what is earned by all that is known.

mod chain;
mod contracts;
mod live;
mod post;
mod rows;
pub mod store;

pub use chain::{ALGORITHM_SHA256, Chain, GENESIS, Link};
pub use contracts::{Contracts, NO_CONTRACT, Slot};
pub use post::{Posted, post, sorted};

use crate::base::{Day, InstId, Money};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Payment,
    Lesson,
    Refund,
    Release,
    /// A line of a bank statement; its `quantity` is 1 for money in, −1 for money out.
    BankLine,
    /// The part of a channel batch the channel kept as its fee.
    ChannelFee,
    /// The part of a channel batch the channel kept to pay refunds.
    ChannelRefund,
    /// The difference a changed contract makes to what was earned.
    Revaluation,
}

impl Kind {
    pub const ALL: [Kind; 8] = [
        Kind::Payment,
        Kind::Lesson,
        Kind::Refund,
        Kind::Release,
        Kind::BankLine,
        Kind::ChannelFee,
        Kind::ChannelRefund,
        Kind::Revaluation,
    ];

    /// The number in `posting.kind`.
    pub const fn number(self) -> i64 {
        match self {
            Kind::Payment => 1,
            Kind::Lesson => 2,
            Kind::Refund => 3,
            Kind::Release => 4,
            Kind::BankLine => 5,
            Kind::ChannelFee => 7,
            Kind::ChannelRefund => 8,
            Kind::Revaluation => 9,
        }
    }

    pub fn from_number(number: i64) -> Option<Kind> {
        Kind::ALL.into_iter().find(|k| k.number() == number)
    }
}

/// The fixed chart of accounts. Bank account, contract and channel are columns, not more accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LedgerAccount {
    /// Money at the bank in custody accounts.
    Custody,
    /// Money at the bank in risk-deposit accounts.
    Deposit,
    /// Money at the bank in other accounts of the institution.
    OtherBank,
    /// Reported but not banked (debit), or banked but not reported (credit).
    Clearing,
    /// Owed to students in lessons.
    Unearned,
    /// Earned by lessons and not yet released.
    Earned,
    /// Approved to leave the account (credit); paid without approval (debit).
    Payable,
    ChannelFee,
    /// The other side of risk-deposit movements.
    DepositFunding,
    /// Facts without a money effect: claimed, disputed and void lessons, refunds not agreed.
    Memo,
    MemoContra,
}

impl LedgerAccount {
    pub const ALL: [LedgerAccount; 11] = [
        LedgerAccount::Custody,
        LedgerAccount::Deposit,
        LedgerAccount::OtherBank,
        LedgerAccount::Clearing,
        LedgerAccount::Unearned,
        LedgerAccount::Earned,
        LedgerAccount::Payable,
        LedgerAccount::ChannelFee,
        LedgerAccount::DepositFunding,
        LedgerAccount::Memo,
        LedgerAccount::MemoContra,
    ];

    pub const fn number(self) -> i64 {
        match self {
            LedgerAccount::Custody => 1,
            LedgerAccount::Deposit => 2,
            LedgerAccount::OtherBank => 3,
            LedgerAccount::Clearing => 4,
            LedgerAccount::Unearned => 5,
            LedgerAccount::Earned => 6,
            LedgerAccount::Payable => 7,
            LedgerAccount::ChannelFee => 8,
            LedgerAccount::DepositFunding => 9,
            LedgerAccount::Memo => 10,
            LedgerAccount::MemoContra => 11,
        }
    }
}

/// Whether a lesson counts (消课状态).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LessonState {
    Claimed,
    Confirmed,
    Deemed,
    Disputed,
    Void,
}

impl LessonState {
    pub const NAMES: [&'static str; 5] = ["claimed", "confirmed", "deemed", "disputed", "void"];

    pub fn from_name(name: &str) -> Option<LessonState> {
        Some(match name {
            "claimed" => LessonState::Claimed,
            "confirmed" => LessonState::Confirmed,
            "deemed" => LessonState::Deemed,
            "disputed" => LessonState::Disputed,
            "void" => LessonState::Void,
            _ => return None,
        })
    }

    /// The number in `posting.state`.
    pub const fn number(self) -> u8 {
        match self {
            LessonState::Claimed => 1,
            LessonState::Confirmed => 2,
            LessonState::Deemed => 3,
            LessonState::Disputed => 4,
            LessonState::Void => 5,
        }
    }

    /// Confirmed or deemed: money may move, and custody is tested on these.
    pub const fn counts(number: u8) -> bool {
        matches!(number, 2 | 3)
    }
}

/// A refund that is not final: asked for or agreed, but not refunded. It stays a liability.
pub const REFUND_PENDING: u8 = 1;
/// A refund that counts from its date.
pub const REFUND_SETTLED: u8 = 0;

/// What a bank line's code says, in `posting.state`.
pub const LINE_OTHER: u8 = 0;
pub const LINE_TRANSFER: u8 = 1;
pub const LINE_SETTLEMENT: u8 = 2;
pub const LINE_DEBIT: u8 = 3;

/// What a bank marks a line as (`feeds.md` §4.12): three different events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correction {
    /// 冲正: takes an earlier line back.
    Reversed,
    /// 补帐: puts in what an earlier day missed.
    Supplement,
    /// 退汇: a payment came back from the other bank.
    Returned,
}

impl Correction {
    const ALL: [Correction; 3] = [
        Correction::Reversed,
        Correction::Supplement,
        Correction::Returned,
    ];
}

/// A line's `posting.state`: its code, and above it the correction it is marked as.
pub fn line_state(code: u8, correction: Option<Correction>) -> u8 {
    let marked = Correction::ALL.iter().position(|c| Some(*c) == correction);
    let number = marked.map_or(0, |at| at + 1);
    code + LINE_CODES * u8::try_from(number).unwrap_or(0)
}

/// The code and the correction in a line's `posting.state`.
pub fn read_line_state(state: i64) -> (i64, Option<Correction>) {
    let codes = i64::from(LINE_CODES);
    let marked = usize::try_from(state / codes).unwrap_or(0);
    let correction = marked.checked_sub(1).and_then(|at| Correction::ALL.get(at));
    (state % codes, correction.copied())
}

/// Numbers kept for codes in a line's state.
const LINE_CODES: u8 = 16;

/// The role of the bank account a line belongs to, as far as the chart needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BankRole {
    Custody,
    Deposit,
    Other,
}

/// Debit and credit of a fact.
pub fn accounts(
    kind: Kind,
    state: u8,
    role: BankRole,
    quantity: i64,
) -> (LedgerAccount, LedgerAccount) {
    use LedgerAccount as A;
    match kind {
        Kind::Payment => (A::Clearing, A::Unearned),
        Kind::Lesson if LessonState::counts(state) => (A::Unearned, A::Earned),
        Kind::Refund if state == REFUND_SETTLED => (A::Unearned, A::Payable),
        Kind::Lesson | Kind::Refund => (A::Memo, A::MemoContra),
        Kind::Release => match role {
            BankRole::Deposit => (A::DepositFunding, A::Payable),
            BankRole::Custody | BankRole::Other => (A::Earned, A::Payable),
        },
        Kind::BankLine => {
            let (bank, other) = match role {
                BankRole::Custody => (A::Custody, A::Clearing),
                BankRole::Deposit => (A::Deposit, A::DepositFunding),
                BankRole::Other => (A::OtherBank, A::Clearing),
            };
            if quantity < 0 {
                (A::Payable, bank)
            } else {
                (bank, other)
            }
        }
        Kind::ChannelFee => (A::ChannelFee, A::Clearing),
        Kind::ChannelRefund => (A::Payable, A::Clearing),
        Kind::Revaluation => (A::Unearned, A::Earned),
    }
}

/// A piece of a batch's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    from: u32,
    len: u32,
}

/// A fact about to be posted.
#[derive(Clone, Copy, Debug)]
pub struct Draft {
    pub inst_id: InstId,
    pub kind: Kind,
    pub role: BankRole,
    pub day: Day,
    /// The day a lesson that counts was confirmed, where that is after `day`.
    pub confirmed: Option<Day>,
    /// Number in [`Contracts`], or [`NO_CONTRACT`].
    pub contract: u32,
    pub account_no: i64,
    /// As the sender states it; the ledger values lessons itself.
    pub amount: Money,
    pub channel: u8,
    pub state: u8,
    pub quantity: i64,
    pub source_id: Span,
    pub reference: Span,
    pub source_no: i64,
    /// The file that first brought it: a row that waited is learned from a later file than it was sent
    /// in, and of two rows of one id the one sent later stands.
    pub sent_no: i64,
    /// What else it says: see [`note`].
    pub note: Span,
    /// The fact is taken back: reversed where it stands, and not posted anew.
    pub void: bool,
}

impl Draft {
    /// A draft with nothing but its kind, day, id and file.
    pub fn new(kind: Kind, day: Day, source_id: Span, source_no: i64) -> Draft {
        Draft {
            inst_id: InstId(0),
            kind,
            role: BankRole::Custody,
            day,
            confirmed: None,
            contract: NO_CONTRACT,
            account_no: 0,
            amount: Money::ZERO,
            channel: 0,
            state: 0,
            quantity: 0,
            source_id,
            reference: Span::default(),
            source_no,
            sent_no: source_no,
            note: Span::default(),
            void: false,
        }
    }
}

/// What a fact says beyond its posting, as the ledger keeps it: a JSON object of the cells that are not
/// empty, in the order given; empty text where there are none.
pub fn note(cells: &[(&str, &str)]) -> String {
    let mut note = Vec::new();
    for (name, value) in cells.iter().filter(|(_, value)| !value.is_empty()) {
        note.push(if note.is_empty() { b'{' } else { b',' });
        for (text, end) in [(name, ":"), (value, "")] {
            serde_json::to_writer(&mut note, text).expect("memory takes a text");
            note.extend_from_slice(end.as_bytes());
        }
    }
    if !note.is_empty() {
        note.push(b'}');
    }
    String::from_utf8(note).expect("JSON of texts is a text")
}

/// Facts collected to be posted together, their text in one piece.
#[derive(Default)]
pub struct Batch {
    pub drafts: Vec<Draft>,
    text: String,
}

impl Batch {
    pub fn len(&self) -> usize {
        self.drafts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    /// Bytes of text kept for the drafts.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Keeps a text for a draft.
    pub fn keep(&mut self, text: &str) -> Span {
        let from = u32::try_from(self.text.len()).expect("a batch is bounded far below 4 GiB");
        self.text.push_str(text);
        Span {
            from,
            len: u32::try_from(text.len()).expect("a field is bounded"),
        }
    }

    pub fn text(&self, span: Span) -> &str {
        let from = span.from as usize;
        &self.text[from..from + span.len as usize]
    }

    pub fn clear(&mut self) {
        self.drafts.clear();
        self.text.clear();
    }
}
