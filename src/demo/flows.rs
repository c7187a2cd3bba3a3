//! Money of one institution: fees through channels into the account, refunds and releases out of it.
//!
//! Invariants: money moves on business days only; a release never exceeds confirmed earned value
//! less channel fees unless an act of [`super::acts`] says so, nor the excess of the account over
//! what families are owed unless the institution has an act to play: its bank pays into a shortage,
//! so that the shortage does not heal by itself; a refund is executed on the day it is reported.

use crate::base::{Day, FlagCode};

use super::books::{Entry, Label};
use super::city::Mode;
use super::life::Life;
use super::rows::{PaymentRow, RefundRow, ReleaseRow, SettlementRow};

/// Acquirers' fee: 38 basis points, floored.
const FEE_BASIS_POINTS: i64 = 38;
/// Batches start after the first lessons were earned, which pay for the channel fees.
const FIRST_BATCH_INDEX: usize = 5;
/// The part of earned value, in thousandths, that is released: all; less a cushion where channels
/// charge fees; or little.
const RELEASED_PERMILLE: (i64, i64, i64) = (1000, 940, 400);
/// A release below this is left for the next week, in fen.
const LEAST_RELEASE_FEN: i64 = 2_000;
/// Business days between releases; where there is an act to play every lesson is released at once
/// (一课一消), so that what is missing is not hidden by a week's earnings.
const RELEASE_EVERY: usize = 5;
/// Refunds per institution and business day, in thousandths.
const REFUND_PERMILLE: i64 = 14;

/// What becomes of a fee on its way to the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Credited with the business day that carries it.
    SameDay,
    /// Credited one business day later.
    NextDay,
    /// One credit with all fees of the channel and day, one business day later, net of fee.
    Batched,
    Never,
    /// Credited with so many thousandths.
    Altered(i64),
    /// Credited so many business days after its window.
    Late(usize),
    /// Credited twice.
    Twice,
}

/// A fee on its way.
pub(super) struct Payment {
    pub(super) id: String,
    pub(super) contract: usize,
    pub(super) paid_on: Day,
    pub(super) amount: i64,
    pub(super) channel: &'static str,
    pub(super) reference: String,
    /// Index from which it is overdue while uncredited.
    pub(super) overdue_at: usize,
    pub(super) credited: bool,
    /// Index and amount of its own credit, if it gets one.
    credit: Option<(usize, i64)>,
    second_credit_at: Option<usize>,
}

/// An acquirer's batch: all fees of one channel and day.
pub(super) struct Batch {
    number: String,
    channel: &'static str,
    paid_on: Day,
    credit_at: usize,
    members: Vec<usize>,
}

impl Life<'_> {
    /// The channel of a new fee, by the institution's habit.
    pub(super) fn draw_channel(&mut self, i: usize) -> (&'static str, Fate) {
        let batch = self.institution.batchy && i >= FIRST_BATCH_INDEX && self.chance.permille(800);
        if batch {
            return (self.chance.pick(["POS", "QR"]), Fate::Batched);
        }
        let channel = self.chance.pick(["TRANSFER", "WECHAT", "ALIPAY", "WECHAT"]);
        let prompt = channel == "TRANSFER" || self.chance.permille(500);
        (channel, if prompt { Fate::SameDay } else { Fate::NextDay })
    }

    /// Takes a contract's whole fee.
    pub(super) fn take_fee(
        &mut self,
        i: usize,
        contract: usize,
        on: Day,
        channel: &'static str,
        fate: Fate,
    ) -> usize {
        self.take_part(
            i,
            contract,
            on,
            self.contracts[contract].amount,
            channel,
            fate,
        );
        self.payments.len().saturating_sub(1)
    }

    /// Takes part of a contract's fee; nothing where there is no account to take it into.
    pub(super) fn take_part(
        &mut self,
        i: usize,
        contract: usize,
        on: Day,
        amount: i64,
        channel: &'static str,
        fate: Fate,
    ) {
        if self.account.is_none() {
            return;
        }
        self.numbers.payments += 1;
        let id = format!(
            "P{:04}{:05}",
            self.institution.number, self.numbers.payments
        );
        let overdue_at = self.calendar.window_end(on);
        let credit = match fate {
            Fate::SameDay | Fate::Twice => Some((i, amount)),
            Fate::NextDay => Some((i + 1, amount)),
            Fate::Altered(permille) => Some((i + 1, amount * permille / 1000)),
            Fate::Late(days) => Some((overdue_at + days, amount)),
            Fate::Batched | Fate::Never => None,
        };
        let reference = self.reference(prefix(channel));
        let payment = Payment {
            id,
            contract,
            paid_on: on,
            amount,
            channel,
            reference,
            overdue_at,
            credited: false,
            credit,
            second_credit_at: (fate == Fate::Twice).then_some(i + 1),
        };
        self.contracts[contract].paid += amount;
        let row = self.payment_row(&payment, payment.id.clone());
        self.report(i).payments.push(row);
        self.payments.push(payment);
        if fate == Fate::Batched {
            self.join_batch(self.payments.len() - 1);
        }
    }

    pub(super) fn payment_row(&self, payment: &Payment, payment_id: String) -> PaymentRow {
        PaymentRow {
            payment_id,
            order_id: self.contracts[payment.contract].id.clone(),
            institution_id: self.institution.id.clone(),
            account_id: self.book.account_id.clone(),
            paid_on: payment.paid_on,
            channel: payment.channel,
            reference: payment.reference.clone(),
            amount_fen: payment.amount,
        }
    }

    /// A reference of 12 characters, unique over the city: a bijection of institution and number.
    pub(super) fn reference(&mut self, prefix: &str) -> String {
        self.numbers.references += 1;
        let plain = (self.institution.number * 100_000 + self.numbers.references) % 10_000_000_000;
        let opaque = plain * 637_413_623 % 10_000_000_000;
        format!("{prefix}{opaque:010}")
    }

    fn join_batch(&mut self, payment: usize) {
        let (on, channel) = (
            self.payments[payment].paid_on,
            self.payments[payment].channel,
        );
        let open = self
            .batches
            .iter_mut()
            .find(|b| b.paid_on == on && b.channel == channel);
        if let Some(batch) = open {
            batch.members.push(payment);
            return;
        }
        self.numbers.batches += 1;
        self.batches.push(Batch {
            number: format!("B{:04}{:05}", self.institution.number, self.numbers.batches),
            channel,
            paid_on: on,
            credit_at: self.calendar.after(on, 1),
            members: vec![payment],
        });
    }

    pub(super) fn collect_instalments(&mut self, i: usize) {
        let today = self.calendar.day(i);
        let (due, later) = std::mem::take(&mut self.instalments)
            .into_iter()
            .partition(|(on, ..)| *on <= today);
        self.instalments = later;
        let due: Vec<(Day, usize, i64)> = due;
        for (on, contract, amount) in due {
            let (channel, fate) = self.draw_channel(i);
            self.take_part(i, contract, on, amount, channel, fate);
        }
    }

    /// Puts a line on the account and returns its id.
    pub(super) fn book_line(
        &mut self,
        i: usize,
        amount: i64,
        label: Label,
        reference: String,
        memo: &'static str,
    ) -> String {
        self.numbers.entries += 1;
        let id = format!("E{:04}{:05}", self.institution.number, self.numbers.entries);
        self.book.days[i].push(Entry {
            id: id.clone(),
            amount,
            label,
            reference,
            memo,
        });
        id
    }

    pub(super) fn post_credits(&mut self, i: usize) {
        for p in 0..self.payments.len() {
            if let Some((at, amount)) = self.payments[p].credit
                && at == i
            {
                self.credit_payment(i, p, amount);
            }
            if self.payments[p].second_credit_at == Some(i) {
                let (amount, channel) = (self.payments[p].amount, self.payments[p].channel);
                let reference = self.payments[p].reference.clone();
                let id = self.book_line(i, amount, Label::Transfer, reference, channel);
                self.unidentified += amount;
                self.plant(FlagCode::DuplicateCredit, id, i, amount);
            }
        }
        for b in 0..self.batches.len() {
            if self.batches[b].credit_at == i {
                self.credit_batch(i, b);
            }
        }
        self.batches.retain(|b| b.credit_at > i);
    }

    fn credit_payment(&mut self, i: usize, p: usize, amount: i64) {
        let payment = &mut self.payments[p];
        payment.credited = true;
        let (id, reported, contract) = (payment.id.clone(), payment.amount, payment.contract);
        let (reference, channel) = (payment.reference.clone(), payment.channel);
        let late = i > payment.overdue_at;
        self.contracts[contract].cleared += amount;
        self.book_line(i, amount, Label::Transfer, reference, channel);
        if amount != reported {
            self.plant(FlagCode::AmountMismatch, id, i, amount - reported);
        } else if late {
            self.plant(FlagCode::LateCredit, id, i, reported);
        }
    }

    fn credit_batch(&mut self, i: usize, b: usize) {
        let members = self.batches[b].members.clone();
        let (number, channel) = (self.batches[b].number.clone(), self.batches[b].channel);
        let paid_on = self.batches[b].paid_on;
        let gross: i64 = members.iter().map(|p| self.payments[*p].amount).sum();
        let rate = if self.institution.free_acquiring {
            0
        } else {
            FEE_BASIS_POINTS
        };
        let fee = gross * rate / 10_000;
        let mut unallotted = fee;
        for p in &members {
            let share = (self.payments[*p].amount * rate / 10_000 + 1).min(unallotted);
            unallotted -= share;
            let contract = self.payments[*p].contract;
            self.contracts[contract].cleared += self.payments[*p].amount;
            self.contracts[contract].fees += share;
            self.payments[*p].credited = true;
        }
        self.book_line(i, gross - fee, Label::Settlement, number.clone(), channel);
        let row = SettlementRow {
            batch_no: number,
            channel,
            account_id: self.book.account_id.clone(),
            period_from: paid_on,
            period_to: paid_on,
            gross_fen: gross,
            fee_fen: fee,
            refund_fen: 0,
            net_fen: gross - fee,
            expected_on: self.calendar.day(i),
        };
        self.report(i).settlements.push(row);
    }

    /// What the account holds at the end of business day `i`, so far.
    pub(super) fn balance(&self, i: usize) -> i64 {
        self.book.closing(i)
    }

    /// What families are owed.
    pub(super) fn required(&self) -> i64 {
        self.contracts
            .iter()
            .map(super::life::Contract::required)
            .sum()
    }

    pub(super) fn refund_sometimes(&mut self, i: usize) {
        if !self.chance.permille(REFUND_PERMILLE) {
            return;
        }
        let pick = self.chance.index(self.contracts.len());
        let contract = &self.contracts[pick];
        let amount = contract.required();
        let own = contract.is_settled() && amount > 0 && contract.released <= contract.earned();
        if own && self.balance(i) - self.unidentified >= amount {
            let cause = if contract.counted == 0 {
                "cooling"
            } else {
                self.chance.pick(["consumer", "institution"])
            };
            self.refund(i, pick, amount, cause);
        }
    }

    /// Refunds and closes a contract: row and debit on the same day.
    pub(super) fn refund(&mut self, i: usize, index: usize, amount: i64, cause: &'static str) {
        self.numbers.refunds += 1;
        let id = format!("F{:04}{:05}", self.institution.number, self.numbers.refunds);
        let today = self.calendar.day(i);
        let ordered_on = self.contracts[index].ordered_on;
        let wait = i32::try_from(self.chance.between(3, 9)).unwrap_or(3);
        let requested_on = today.plus(-wait).max(ordered_on);
        let row = RefundRow {
            refund_id: id.clone(),
            order_id: self.contracts[index].id.clone(),
            refunded_on: today,
            amount_fen: amount,
            requested_on,
            agreed_on: requested_on.plus(2).min(today),
            cause,
        };
        self.report(i).refunds.push(row);
        self.book_line(i, -amount, Label::Debit, id, "REFUND");
        self.contracts[index].refunded += amount;
        self.contracts[index].closed = true;
    }

    pub(super) fn release_earned(&mut self, i: usize) {
        let custody = matches!(self.institution.mode, Mode::Bank | Mode::Hybrid);
        let troubled = !self.institution.acts.is_empty();
        let every = if troubled && !self.institution.thrifty {
            1
        } else {
            RELEASE_EVERY
        };
        if !custody || i % every != self.institution.number % every {
            return;
        }
        let held = self.balance(i) - self.unidentified;
        let mut budget = if !troubled {
            held - self.required()
        } else {
            held
        };
        if self.institution.by_order {
            for index in 0..self.contracts.len() {
                let amount = (self.releasable(index) - self.contracts[index].released).min(budget);
                if amount >= LEAST_RELEASE_FEN {
                    budget -= amount;
                    self.release_order(i, index, amount);
                }
            }
        } else {
            let earned: i64 = (0..self.contracts.len()).map(|c| self.releasable(c)).sum();
            let amount = (earned - self.pooled_release).min(budget);
            if amount >= LEAST_RELEASE_FEN {
                self.pooled_release += amount;
                self.release(i, amount, String::new());
            }
        }
    }

    /// What a contract allows to have been released so far.
    fn releasable(&self, index: usize) -> i64 {
        let contract = &self.contracts[index];
        let permille = match (self.institution.thrifty, self.institution.batchy) {
            (true, _) => RELEASED_PERMILLE.2,
            (false, true) => RELEASED_PERMILLE.1,
            (false, false) => RELEASED_PERMILLE.0,
        };
        let earned = contract.earned().min(contract.cleared - contract.refunded);
        (earned - contract.fees).max(0) * permille / 1000
    }

    pub(super) fn release_order(&mut self, i: usize, index: usize, amount: i64) {
        self.contracts[index].released += amount;
        let order_id = self.contracts[index].id.clone();
        self.release(i, amount, order_id);
    }

    fn release(&mut self, i: usize, amount: i64, order_id: String) {
        self.numbers.releases += 1;
        let id = format!(
            "R{:04}{:05}",
            self.institution.number, self.numbers.releases
        );
        let row = ReleaseRow {
            release_id: id.clone(),
            account_id: self.book.account_id.clone(),
            approved_on: self.calendar.day(i),
            amount_fen: amount,
            order_id,
        };
        self.report(i).releases.push(row);
        self.book_line(i, -amount, Label::Debit, id, "RELEASE");
    }
}

fn prefix(channel: &str) -> &'static str {
    match channel {
        "WECHAT" => "WX",
        "ALIPAY" => "AL",
        "POS" => "PS",
        "QR" => "QR",
        _ => "TR",
    }
}
