//! One account of an institution as of the day: what it closes with, what is frozen of it.

use crate::base::{Day, Money};
use crate::policy::Policy;
use crate::reconcile::{AccountDays, ExpectedRange, Facts, Stated, prove};
use crate::registry::{self, AccountKind, CustodyMode};
use crate::store::days;

/// One account of an institution as of the day.
#[derive(Clone, Debug)]
pub struct Account {
    pub account_no: i64,
    pub account_id: String,
    pub kind: AccountKind,
    pub filed: bool,
    pub agreement_covers: bool,
    pub in_use: bool,
    pub min_deposit: Money,
    /// Closing balance of the newest proven statement.
    pub closing: Money,
    /// Frozen by third parties.
    pub frozen: Money,
    pub days: AccountDays,
}

pub(super) fn account(
    a: &registry::Account,
    facts: &Facts,
    policy: &Policy,
    range: Option<ExpectedRange>,
    day: Day,
) -> Account {
    let account_no = a.account_no.0;
    let days = if a.kind.owes_statements() {
        let stated = Stated {
            closed: a.is_closed(),
            ..facts.stated(account_no)
        };
        prove(&stated, policy, range, day)
    } else {
        AccountDays::default()
    };
    let closing = Money::from_fen(days.latest.map_or(0, |(_, closing)| closing));
    let moved = |l: &crate::reconcile::Line| l.account_no == account_no;
    Account {
        account_no,
        account_id: a.account_id.clone(),
        kind: a.kind,
        filed: a.is_filed(day),
        agreement_covers: a.agreement_covers(day),
        in_use: (facts.carried.account(account_no)).is_some_and(|a| a.first_use.is_some())
            || facts.credits.iter().any(moved)
            || facts.debits.iter().any(moved)
            || facts.payments.iter().any(|p| p.account_no == account_no),
        min_deposit: a.min_deposit,
        closing,
        frozen: frozen_on(facts, account_no, closing, day),
        days,
    }
}

pub(super) fn inferred_mode(accounts: &[Account]) -> CustodyMode {
    let has = |kind| accounts.iter().any(|a| a.kind == kind);
    match (has(AccountKind::Custody), has(AccountKind::Deposit)) {
        (true, true) => CustodyMode::Hybrid,
        (true, false) => CustodyMode::Bank,
        (false, true) => CustodyMode::Deposit,
        (false, false) => CustodyMode::None,
    }
}

/// What third parties have frozen of an account on a day, at most its balance.
pub(in crate::position) fn frozen_on(
    facts: &Facts,
    account_no: i64,
    closing: Money,
    day: Day,
) -> Money {
    let epoch = days::number(day);
    let mut frozen = Money::ZERO;
    for f in facts.freezes.iter().filter(|f| f.account_no == account_no) {
        let in_force = f.from_day.is_none_or(|d| d <= epoch) && f.to_day.is_none_or(|d| d >= epoch);
        // A regulator's hold protects the money; a third party's takes it away.
        if in_force && f.kind != "regulator" {
            frozen = frozen.saturating_add(f.amount_fen.map_or(closing, Money::from_fen));
        }
    }
    frozen.min(Money::from_fen(closing.fen().max(0)))
}
