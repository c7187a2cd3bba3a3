//! Plays the acts of [`super::trouble`] in one institution's life.
//!
//! Invariant: an act that finds no partner today is played on the next business day; every fact it
//! plants carries the subject that the files will show. States that follow from it (money overdue,
//! uncovered, released too early) are found by [`super::truth`], never guessed here.

use crate::base::{DefectCode, FlagCode, Money};

use super::Planted;
use super::books::Label;
use super::flows::Fate;
use super::life::Life;
use super::trouble::Act;

/// How much of a contract's unearned value a premature release takes, in thousandths.
const PREMATURE_PERMILLE: i64 = 400;
/// By how much of the contract an excessive refund goes beyond its cash, in thousandths.
const OVER_REFUND_PERMILLE: i64 = 120;
/// A stray credit, in fen.
const STRAY_FEN: (i64, i64) = (80_000, 400_000);

impl Life<'_> {
    /// Plays what is due; an act without a partner waits a day.
    pub(super) fn perform(&mut self, i: usize) {
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.acts)
            .into_iter()
            .partition(|(at, _)| *at <= i);
        self.acts = later;
        for (_, act) in due {
            if !self.play(i, act) {
                self.acts.push((i + 1, act));
            }
        }
    }

    /// Records a fact that a reconciliation of day `i` can see.
    pub(super) fn plant(&mut self, code: FlagCode, subject: String, i: usize, amount: i64) {
        self.planted.push(Planted {
            code,
            institution_id: self.institution.id.clone(),
            subject,
            day: self.calendar.day(i),
            cured: None,
            amount: Money::from_fen(amount),
        });
    }

    fn play(&mut self, i: usize, act: Act) -> bool {
        match act {
            Act::NeverBanked => self.sell_marked(i, Fate::Never),
            Act::Misbanked(permille) => self.sell_marked(i, Fate::Altered(permille)),
            Act::Late(days) => self.sell_marked(i, Fate::Late(days)),
            Act::CreditedTwice => self.sell_marked(i, Fate::Twice),
            Act::ReportedTwice => self.report_twice(i),
            Act::Stray => {
                let amount = self.chance.between(STRAY_FEN.0, STRAY_FEN.1);
                let reference = self.reference("UN");
                let id = self.book_line(i, amount, Label::Transfer, reference, "TRANSFER");
                self.unidentified += amount;
                self.plant(FlagCode::UnmatchedCredit, id, i, amount);
                true
            }
            Act::Drain(permille, days) => self.drain(i, permille, days),
            Act::Premature => self.release_early(i),
            Act::OverRefund => self.refund_too_much(i),
            Act::EarlyLesson => self.teach_before_order(i),
            Act::LetterInAmount => {
                self.smudge = true;
                true
            }
        }
    }

    /// A new contract paid at once, whose fee meets the given fate.
    fn sell_marked(&mut self, i: usize, fate: Fate) -> bool {
        let today = self.calendar.day(i);
        let contract = self.sign_new(i, today);
        let channel = self.chance.pick(["TRANSFER", "WECHAT", "ALIPAY"]);
        self.take_fee(i, contract, today, channel, fate);
        true
    }

    fn report_twice(&mut self, i: usize) -> bool {
        let today = self.calendar.day(i);
        if i + 1 >= self.calendar.len() {
            return true;
        }
        let contract = self.sign_new(i, today);
        let payment = self.take_fee(i, contract, today, "WECHAT", Fate::NextDay);
        self.numbers.payments += 1;
        let id = format!(
            "P{:04}{:05}",
            self.institution.number, self.numbers.payments
        );
        let row = self.payment_row(&self.payments[payment], id.clone());
        let amount = row.amount_fen;
        self.report(i + 1).payments.push(row);
        self.plant(FlagCode::DuplicateReport, id, i + 1, amount);
        true
    }

    fn drain(&mut self, i: usize, permille: i64, days: usize) -> bool {
        let amount = self.balance(i) * permille / 100_000 * 100;
        if amount <= 0 {
            return false;
        }
        let reference = self.reference("DB");
        let id = self.book_line(i, -amount, Label::Debit, reference, "PAYMENT");
        self.plant(FlagCode::UnauthorisedDebit, id, i, amount);
        if days > 1 {
            self.acts.push((i + 1, Act::Drain(permille, days - 1)));
        }
        true
    }

    fn release_early(&mut self, i: usize) -> bool {
        let candidates = self
            .contracts
            .iter()
            .enumerate()
            .filter(|(_, c)| c.is_settled());
        let Some((index, contract)) = candidates.max_by_key(|(_, c)| c.required()) else {
            return false;
        };
        let ahead = contract.required() * PREMATURE_PERMILLE / 100_000 * 100;
        let amount = (contract.earned() - contract.released).max(0) + ahead;
        if ahead <= 0 || self.balance(i) < amount {
            return false;
        }
        self.release_order(i, index, amount);
        true
    }

    fn refund_too_much(&mut self, i: usize) -> bool {
        let mut candidates = self.contracts.iter().enumerate();
        let Some((index, contract)) =
            candidates.find(|(_, c)| c.is_settled() && c.released > 0 && c.required() > 0)
        else {
            return false;
        };
        let cash = contract.cleared - contract.refunded - contract.released;
        let amount = cash + contract.amount * OVER_REFUND_PERMILLE / 1000;
        if self.balance(i) < amount {
            return false;
        }
        self.refund(i, index, amount, "institution");
        true
    }

    /// The order and its fee come a business day after the first lesson.
    fn teach_before_order(&mut self, i: usize) -> bool {
        if i + 1 >= self.calendar.len() {
            return true;
        }
        let contract = self.sign_new(i + 1, self.calendar.day(i));
        let amount = self.contracts[contract].amount;
        self.instalments
            .push((self.calendar.day(i + 1), contract, amount));
        let lesson = self.teach_at_once(i, contract);
        self.note_defect(i, DefectCode::UnknownParent, "lessons.csv", &lesson);
        true
    }
}
