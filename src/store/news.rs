//! What each file brought of an institution besides postings, so that a run finds it without reading what it
//! knows: postings are found by their numbers, which follow each other, and other records are not.
//!
//! Invariant: a row is written in the transaction that appends what it tells of.

use super::bulk::{self, ints};
use super::{Result, Tx};

/// What a file brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NewsKind {
    /// Contracts, by the first and last of their numbers.
    Contract,
    /// Days of an account's statements, by the first and last of them.
    StatementDay,
    /// A settlement of an account, by its period.
    Settlement,
    /// A freeze, an exemption or a claim, by its days.
    Record,
    /// What people decided.
    Decision,
}

impl NewsKind {
    pub const fn number(self) -> i64 {
        match self {
            NewsKind::Contract => 1,
            NewsKind::StatementDay => 2,
            NewsKind::Settlement => 3,
            NewsKind::Record => 4,
            NewsKind::Decision => 5,
        }
    }
}

/// One kind of records that a file brought of an institution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, sqlx::FromRow)]
pub struct News {
    pub inst_id: i64,
    pub source_no: i64,
    pub kind: i64,
    /// 0 where it is of no account.
    pub account_no: i64,
    pub first_no: i64,
    pub last_no: i64,
}

impl News {
    pub fn of(kind: NewsKind, (inst_id, account_no): (i64, i64), source_no: i64, no: i64) -> News {
        News {
            inst_id,
            source_no,
            kind: kind.number(),
            account_no,
            first_no: no,
            last_no: no,
        }
    }
}

/// Keeps news, those of one file, kind and account as one row.
pub async fn append(tx: &mut Tx, mut news: Vec<News>) -> Result<()> {
    news.sort_unstable();
    news.dedup_by(|next, row| {
        let key = |n: &News| (n.inst_id, n.source_no, n.kind, n.account_no);
        let same = key(next) == key(row);
        if same {
            row.last_no = row.last_no.max(next.last_no);
        }
        same
    });
    bulk::append_new(
        tx,
        "news",
        vec![
            ("inst_id", ints(&news, |n| n.inst_id)),
            ("source_no", ints(&news, |n| n.source_no)),
            ("kind", ints(&news, |n| n.kind)),
            ("account_no", ints(&news, |n| n.account_no)),
            ("first_no", ints(&news, |n| n.first_no)),
            ("last_no", ints(&news, |n| n.last_no)),
        ],
    )
    .await
    .map(|_| ())
}
