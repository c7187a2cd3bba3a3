//! The three-way proof of a custody account as of its newest proven day (`domain.md` §7.6): what the bank states,
//! set right by what is under way, is to the fen what the books say, which is what is kept for contracts and an
//! identified rest.
//!
//! ```text
//! closing + under way in − under way out   =   Σ contract cash + unallocated + rest
//! ```
//!
//! The left side starts from the bank's own balance, the right one from what institutions reported; every
//! difference between the two is an item with a kind, an id, the day it began and, where its time is limited, the
//! day it is over. Σ contract cash counts each fee as reported, less refunds and releases of its contract.
//!
//! Invariants: items are listed, never netted against each other; a statement day that does not go on from the
//! one before is an item of its own (a gap), not a plug: it is summed from the days, and the proof fails if the
//! lines say otherwise.

use std::collections::HashMap;

use serde::Serialize;

use super::formulae::Account;
use crate::base::{Day, FlagCode, Money};
use crate::ledger::REFUND_SETTLED;
use crate::policy::{CHINA, Channel, Policy};
use crate::reconcile::carried::ProofCarried;
use crate::reconcile::{CreditOutcome, DebitOutcome, Facts, Line, Matching, PaymentOutcome};
use crate::registry::AccountKind;

/// What kind of difference an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    /// Reported as paid, not credited yet.
    InTransit,
    /// Credited before it was reported as paid.
    CreditedAhead,
    /// Approved to leave, not debited yet.
    ReleasePending,
    RefundPending,
    /// Debited before it was approved.
    DebitedAhead,
    /// A line that the bank takes back on a later day.
    TakenBackLater,
    /// Settles nothing that was reported.
    Unidentified,
    /// Repeats a credit.
    Duplicate,
    /// A line that differs from the payment it settles.
    Difference,
    /// Kept by the channel, to be refilled.
    Fee,
    /// Refunds a channel took out of a batch.
    BatchRefund,
    /// Left without a release or refund.
    Unauthorised,
    /// In the account before the first known day.
    BroughtForward,
    /// A statement that does not go on from the one before, or does not add up.
    Gap,
}

impl ItemKind {
    /// True for what is under way between the bank and the books.
    pub const fn is_under_way(self) -> bool {
        matches!(
            self,
            ItemKind::InTransit
                | ItemKind::CreditedAhead
                | ItemKind::ReleasePending
                | ItemKind::RefundPending
                | ItemKind::DebitedAhead
                | ItemKind::TakenBackLater
        )
    }
}

/// One reconciling item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    pub kind: ItemKind,
    /// The payment, line, release or refund; empty where it is a day's.
    pub id: String,
    pub opened_on: Day,
    /// The last day on which it is in order, as far as the policy sets one.
    pub expires_on: Option<Day>,
    /// What it adds to its side.
    #[serde(rename = "amount_fen")]
    pub amount: Money,
}

/// The proof of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountProof {
    pub account_no: i64,
    /// The day that is proved.
    pub day: Day,
    pub closing: Money,
    /// Fees as reported, less refunds and releases, of all contracts that pay into the account.
    pub contract_cash: Money,
    /// Releases that name no contract, negative.
    pub unallocated: Money,
    /// In order of kinds, days and ids.
    pub items: Vec<Item>,
    /// Items of settled facts, which are carried as sums.
    pub carried: ProofCarried,
}

impl AccountProof {
    /// The sum of the items of some kinds.
    pub fn sum(&self, is: impl Fn(ItemKind) -> bool) -> Money {
        let of = self.items.iter().filter(|i| is(i.kind));
        let sum = of.fold(Money::ZERO, |sum, i| sum.saturating_add(i.amount));
        let fee = if is(ItemKind::Fee) {
            self.carried.fee
        } else {
            0
        };
        let refund = if is(ItemKind::BatchRefund) {
            self.carried.batch_refund
        } else {
            0
        };
        sum.saturating_add(Money::from_fen(fee.saturating_add(refund)))
    }

    /// The bank's closing set right by what is under way.
    pub fn adjusted_bank(&self) -> Money {
        self.closing
            .saturating_add(self.sum(ItemKind::is_under_way))
    }

    /// What the books say is in the account.
    pub fn book(&self) -> Money {
        let cash = self.contract_cash.saturating_add(self.unallocated);
        cash.saturating_add(self.sum(|k| !k.is_under_way()))
    }

    /// Zero, or the proof fails.
    pub fn unexplained(&self) -> Money {
        Money::from_fen(self.adjusted_bank().fen() - self.book().fen())
    }
}

/// Proves the custody accounts of one institution; one without a proven day is absent.
pub fn prove_accounts(
    accounts: &[Account],
    facts: &Facts,
    matching: &Matching,
    policy: &Policy,
) -> Vec<AccountProof> {
    let pays_into = pays_into(facts);
    let custody = || accounts.iter().filter(|a| a.kind == AccountKind::Custody);
    let only = custody().map(|a| a.account_no).min().unwrap_or(0);
    (custody())
        .filter_map(|account| {
            let (day, closing) = account.days.latest?;
            let carried = facts.carried.account(account.account_no);
            let carried = carried.map_or(ProofCarried::default(), |a| a.proof);
            let mut proving = Proving {
                account_no: account.account_no,
                day,
                facts,
                matching,
                policy,
                cash: carried.cash,
                unallocated: carried.unallocated,
                carried,
                items: Vec::new(),
            };
            proving.groups();
            proving.payments();
            proving.credits();
            proving.debits();
            proving.approvals(|contract| pays_into.get(&contract).copied().unwrap_or(only));
            proving.days();
            Some(proving.proof(closing))
        })
        .collect()
}

/// The account each contract pays into: its first payment's.
fn pays_into(facts: &Facts) -> HashMap<i64, i64> {
    // A settled payment comes before an open one of its day, which is of the same account.
    let mut first: HashMap<i64, (Day, &str, i64)> = (facts.carried.contracts.iter())
        .filter_map(|c| {
            c.first_paid
                .map(|(day, account)| (c.contract_no, (day, "", account)))
        })
        .collect();
    for p in &facts.payments {
        let found = (p.day, facts.text(p.id), p.account_no);
        let known = first.entry(p.contract_no).or_insert(found);
        *known = found.min(*known);
    }
    first
        .into_iter()
        .map(|(c, (_, _, account))| (c, account))
        .collect()
}

struct Proving<'a> {
    account_no: i64,
    day: Day,
    facts: &'a Facts,
    matching: &'a Matching,
    policy: &'a Policy,
    cash: i64,
    unallocated: i64,
    carried: ProofCarried,
    items: Vec<Item>,
}

impl Proving<'_> {
    fn item(
        &mut self,
        kind: ItemKind,
        id: &str,
        (opened_on, expires_on): (Day, Option<Day>),
        fen: i64,
    ) {
        if fen != 0 {
            self.items.push(Item {
                kind,
                id: id.to_owned(),
                opened_on,
                expires_on,
                amount: Money::from_fen(fen),
            });
        }
    }

    /// When a finding of a code that began on a day is due.
    fn due(&self, code: FlagCode, day: Day) -> Option<Day> {
        let days = self.policy.flag(code)?.cure_days?;
        Some(CHINA.add_working_days(day, days).day)
    }

    fn groups(&mut self) {
        let (facts, matching) = (self.facts, self.matching);
        for (place, g) in matching.groups.iter().enumerate() {
            let payments = || matching.payments_of(place).map(|i| &facts.payments[i]);
            let credits = || matching.credits_of(place).map(|i| &facts.credits[i]);
            let (Some(p), Some(l)) = (payments().next(), credits().next()) else {
                continue;
            };
            if l.account_no != self.account_no {
                continue;
            }
            let paid: i64 = (payments().filter(|p| p.day <= self.day))
                .map(|p| p.amount.fen())
                .sum();
            let banked: i64 = (credits().filter(|l| l.day <= self.day))
                .map(|l| l.amount.fen())
                .sum();
            self.cash += paid;
            let whole =
                payments().all(|p| p.day <= self.day) && credits().all(|l| l.day <= self.day);
            let (id, entry) = (facts.text(p.id), facts.text(l.id));
            if !whole {
                let channel = Channel::from_number(p.channel).unwrap_or(Channel::Transfer);
                let window = Some(self.policy.window_end(channel, p.day));
                let (kind, since) = if paid >= banked {
                    (ItemKind::InTransit, (p.day, window))
                } else {
                    (ItemKind::CreditedAhead, (l.day, None))
                };
                self.item(kind, id, since, paid - banked);
                continue;
            }
            let since = (
                l.day.max(p.day),
                self.due(FlagCode::AmountMismatch, l.day.max(p.day)),
            );
            self.item(ItemKind::Difference, id, since, g.difference);
            let refill = l.day.plus(self.policy.explained.fee_window_days);
            self.item(ItemKind::Fee, entry, (l.day, Some(refill)), -g.fee);
            let rest = banked - paid - g.difference + g.fee;
            self.item(ItemKind::BatchRefund, entry, (l.day, None), rest);
        }
    }

    fn payments(&mut self) {
        let (facts, matching) = (self.facts, self.matching);
        for (p, outcome) in facts.payments.iter().zip(&matching.payments) {
            let (PaymentOutcome::InTransit { window_end } | PaymentOutcome::Overdue { window_end }) =
                outcome
            else {
                continue;
            };
            if p.account_no == self.account_no && p.day <= self.day {
                self.cash += p.amount.fen();
                let since = (p.day, Some(*window_end));
                self.item(ItemKind::InTransit, facts.text(p.id), since, p.amount.fen());
            }
        }
    }

    fn is_here(&self, l: &Line) -> bool {
        l.account_no == self.account_no && l.day <= self.day
    }

    fn credits(&mut self) {
        let (facts, matching) = (self.facts, self.matching);
        for (l, outcome) in facts.credits.iter().zip(&matching.credits) {
            if !self.is_here(l) {
                continue;
            }
            let (id, fen) = (facts.text(l.id), l.amount.fen());
            match outcome {
                CreditOutcome::Settles { .. } => {}
                CreditOutcome::Duplicate { .. } => {
                    let due = self.due(FlagCode::DuplicateCredit, l.day);
                    self.item(ItemKind::Duplicate, id, (l.day, due), fen);
                }
                CreditOutcome::Unmatched | CreditOutcome::NotTested => {
                    let due = self.due(FlagCode::UnmatchedCredit, l.day);
                    self.item(ItemKind::Unidentified, id, (l.day, due), fen);
                }
                CreditOutcome::Undone { debit } => {
                    if facts.debits[*debit].day > self.day {
                        self.item(ItemKind::TakenBackLater, id, (l.day, None), -fen);
                    }
                }
            }
        }
    }

    fn debits(&mut self) {
        let (facts, matching) = (self.facts, self.matching);
        for (l, outcome) in facts.debits.iter().zip(&matching.debits) {
            if !self.is_here(l) {
                continue;
            }
            let (id, fen) = (facts.text(l.id), l.amount.fen());
            let approved = match outcome {
                DebitOutcome::Release { release } => Some(&facts.releases[*release]),
                DebitOutcome::Refund { refund } => Some(&facts.refunds[*refund]),
                DebitOutcome::Undone { credit } => {
                    if facts.credits[*credit].day > self.day {
                        self.item(ItemKind::TakenBackLater, id, (l.day, None), fen);
                    }
                    continue;
                }
                DebitOutcome::Unauthorised | DebitOutcome::NotTested => {
                    let due = self.due(FlagCode::UnauthorisedDebit, l.day);
                    self.item(ItemKind::Unauthorised, id, (l.day, due), -fen);
                    continue;
                }
            };
            match approved {
                Some(a) if a.day <= self.day => self.leaves(a.contract_no, fen),
                _ => self.item(ItemKind::DebitedAhead, id, (l.day, None), fen),
            }
        }
    }

    fn leaves(&mut self, contract_no: i64, fen: i64) {
        if contract_no == 0 {
            self.unallocated -= fen;
        } else {
            self.cash -= fen;
        }
    }

    /// What was approved to leave the account and has not.
    fn approvals(&mut self, pays_into: impl Fn(i64) -> i64) {
        let (facts, matching) = (self.facts, self.matching);
        let mut paid_releases = vec![false; facts.releases.len()];
        let mut paid_refunds: Vec<Option<i64>> = vec![None; facts.refunds.len()];
        for (l, outcome) in facts.debits.iter().zip(&matching.debits) {
            match outcome {
                DebitOutcome::Release { release } => paid_releases[*release] = l.day <= self.day,
                // A refund is the account's that pays it.
                DebitOutcome::Refund { refund } if l.day <= self.day => {
                    paid_refunds[*refund] = Some(l.account_no);
                }
                _ => {}
            }
        }
        for (a, paid) in facts.releases.iter().zip(paid_releases) {
            if !paid && a.account_no == self.account_no && a.day <= self.day {
                self.leaves(a.contract_no, a.amount.fen());
                let id = facts.text(a.id);
                self.item(ItemKind::ReleasePending, id, (a.day, None), -a.amount.fen());
            }
        }
        for (a, paid) in facts.refunds.iter().zip(paid_refunds) {
            let settled = a.state == i64::from(REFUND_SETTLED) && a.day <= self.day;
            if settled && paid.is_none() && pays_into(a.contract_no) == self.account_no {
                self.leaves(a.contract_no, a.amount.fen());
                let id = facts.text(a.id);
                self.item(ItemKind::RefundPending, id, (a.day, None), -a.amount.fen());
            }
        }
    }

    /// What the statements say that their lines do not.
    fn days(&mut self) {
        let stated = self.facts.stated(self.account_no);
        let moved = |from: Option<Day>, to: Option<Day>| -> i128 {
            (stated.moved.iter())
                .filter(|(day, _)| from.is_none_or(|f| f <= *day) && to.is_none_or(|t| *day < t))
                .map(|(_, fen)| *fen)
                .sum()
        };
        let fen = |n: i128| i64::try_from(n).unwrap_or(i64::MAX);
        let days = stated.days.partition_point(|d| d.day <= self.day);
        let days = &stated.days[..days];
        let Some(first) = days.first() else {
            return;
        };
        let carried = self.facts.carried.account(self.account_no);
        let (until, known) = match stated.carried {
            Some((until, carried)) => (Some(until), Some(carried)),
            None => (None, None),
        };
        match known.and_then(|known| known.brought_forward) {
            Some((day, fen)) => self.item(ItemKind::BroughtForward, "", (day, None), fen),
            None => {
                let earlier = i128::from(carried.map_or(0, |a| a.moved));
                let before = i128::from(first.opening) - earlier - moved(None, Some(first.day));
                self.item(ItemKind::BroughtForward, "", (first.day, None), fen(before));
            }
        }
        for (day, fen) in known.iter().flat_map(|known| &known.gaps) {
            let due = self.due(FlagCode::FeedBroken, *day);
            self.item(ItemKind::Gap, "", (*day, due), *fen);
        }
        let mut at = 0;
        let mut after: Option<&crate::reconcile::StatedDay> = None;
        for said in days {
            // Lines come in order of days, as statements do.
            let mut between = 0_i128;
            let mut own = 0_i128;
            while let Some((day, n)) = stated.moved.get(at).filter(|(day, _)| *day <= said.day) {
                if *day == said.day {
                    own += n;
                } else if after.is_some() {
                    between += n;
                }
                at += 1;
            }
            if until.is_some_and(|until| said.day <= until) {
                after = Some(said);
                continue;
            }
            let jump = after.map_or(0, |b| {
                i128::from(said.opening) - i128::from(b.closing) - between
            });
            let tie = i128::from(said.closing) - i128::from(said.opening) - own;
            let due = self.due(FlagCode::FeedBroken, said.day);
            self.item(ItemKind::Gap, "", (said.day, due), fen(jump + tie));
            after = Some(said);
        }
    }

    fn proof(mut self, closing: i64) -> AccountProof {
        self.items
            .sort_by(|a, b| (a.kind, a.opened_on, &a.id).cmp(&(b.kind, b.opened_on, &b.id)));
        AccountProof {
            account_no: self.account_no,
            day: self.day,
            closing: Money::from_fen(closing),
            contract_cash: Money::from_fen(self.cash),
            unallocated: Money::from_fen(self.unallocated),
            items: self.items,
            carried: self.carried,
        }
    }
}
