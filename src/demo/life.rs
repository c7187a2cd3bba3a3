//! One institution's life: contracts signed, lessons taught and confirmed, day by day.
//!
//! Invariants: lessons are never taught beyond what the contract's cleared fees pay for (unless the
//! institution charges afterwards); a lesson counts from the business day whose bundle confirms it;
//! what it is worth is the cumulative floor of `domain.md` §6.1 with gifts pooled.
//! Money lives in [`super::flows`], trouble in [`super::acts`], the truth in [`super::truth`].

use crate::base::{Day, DefectCode, Money};

use super::books::{Bank, Book};
use super::calendar::Calendar;
use super::chance::Chance;
use super::city::{Institution, SUBJECTS};
use super::flows::{Batch, Payment};
use super::rows::{LessonRow, OrderRow, Reported};
use super::trouble::Act;
use super::truth::Observer;
use super::{Planted, PlantedDefect};

/// Sales per institution, business day and unit of size, in thousandths.
const SALES_PERMILLE: i64 = 90;
/// Lessons a contract may have (§ economics of the brief: 16 to 60).
const LESSONS: [i64; 9] = [16, 20, 24, 30, 32, 36, 40, 48, 60];
/// The cheapest and the dearest lesson, in fen.
const PRICE_FEN: (i64, i64) = (3_000, 50_000);
/// What a family may pay at once for non-academic training, in fen.
const CAP_FEN: i64 = 500_000;
/// Weeks within which a contract is taught, so that it stays inside three calendar months.
const WEEKS: i64 = 12;

/// A contract as its institution knows it. Money in fen.
pub(super) struct Contract {
    pub(super) id: String,
    pub(super) ordered_on: Day,
    pub(super) amount: i64,
    /// Paid and gift lessons.
    pub(super) lessons: i64,
    pub(super) per_session: i64,
    pub(super) next_session: Day,
    /// Lessons taught, and lessons confirmed to the platform.
    pub(super) taught: i64,
    pub(super) counted: i64,
    pub(super) paid: i64,
    pub(super) cleared: i64,
    pub(super) fees: i64,
    pub(super) refunded: i64,
    pub(super) released: i64,
    pub(super) closed: bool,
}

impl Contract {
    /// v(k): what `lessons` lessons are worth.
    pub(super) fn worth(&self, lessons: i64) -> i64 {
        Money::from_fen(self.amount)
            .share_floored(lessons, self.lessons)
            .fen()
    }

    /// E: the value of confirmed lessons.
    pub(super) fn earned(&self) -> i64 {
        self.worth(self.counted)
    }

    /// What custody must hold for it.
    pub(super) fn required(&self) -> i64 {
        (self.paid - self.refunded - self.earned()).max(0)
    }

    /// Paid in full and credited in full, nothing taught that is not confirmed.
    pub(super) fn is_settled(&self) -> bool {
        !self.closed
            && self.cleared == self.amount
            && self.paid == self.amount
            && self.taught == self.counted
    }
}

/// A lesson taught whose confirmation is still to come.
struct Lesson {
    id: String,
    contract: usize,
    consumed_on: Day,
    lessons: i64,
    amount: i64,
    confirm_at: usize,
}

/// Running numbers of one institution's ids.
#[derive(Default)]
pub(super) struct Numbers {
    pub(super) orders: usize,
    pub(super) payments: usize,
    pub(super) lessons: usize,
    pub(super) refunds: usize,
    pub(super) releases: usize,
    pub(super) batches: usize,
    pub(super) entries: usize,
    pub(super) references: usize,
}

/// The state of one institution's life.
pub(super) struct Life<'a> {
    pub(super) institution: &'a Institution,
    pub(super) calendar: &'a Calendar,
    pub(super) days: &'a mut [Reported],
    pub(super) chance: Chance,
    pub(super) account: Option<String>,
    pub(super) book: Book,
    pub(super) contracts: Vec<Contract>,
    pub(super) payments: Vec<Payment>,
    pub(super) batches: Vec<Batch>,
    /// Second instalments to come: day, contract, amount.
    pub(super) instalments: Vec<(Day, usize, i64)>,
    lessons: Vec<Lesson>,
    /// Credits that match nothing reported: not held for anyone.
    pub(super) unidentified: i64,
    /// Released without naming a contract.
    pub(super) pooled_release: i64,
    pub(super) acts: Vec<(usize, Act)>,
    /// The next lesson row gets a letter in its amount.
    pub(super) smudge: bool,
    pub(super) numbers: Numbers,
    pub(super) observer: Observer,
    pub(super) planted: Vec<Planted>,
    pub(super) defects: Vec<PlantedDefect>,
}

/// What is left of a life: the collecting account's book, and what went wrong.
pub(super) struct Lived {
    pub(super) book: Option<Book>,
    /// Σ contract amounts: no deposit rule can ask for more.
    pub(super) contracted: i64,
    pub(super) planted: Vec<Planted>,
    pub(super) defects: Vec<PlantedDefect>,
}

/// Lives one institution through the calendar, reporting into `days`.
pub(super) fn live(
    seed: u64,
    institution: &Institution,
    calendar: &Calendar,
    days: &mut [Reported],
) -> Lived {
    let mut life = Life::new(seed, institution, calendar, days);
    for i in 0..calendar.len() {
        life.business_day(i);
    }
    let book = life.account.is_some().then_some(life.book);
    Lived {
        book,
        contracted: life.contracts.iter().map(|c| c.amount).sum(),
        planted: life.planted,
        defects: life.defects,
    }
}

impl<'a> Life<'a> {
    fn new(
        seed: u64,
        institution: &'a Institution,
        calendar: &'a Calendar,
        days: &'a mut [Reported],
    ) -> Life<'a> {
        let account = institution.collecting_account();
        let acts = institution.acts.iter();
        Life {
            institution,
            calendar,
            days,
            chance: Chance::new(seed, u64::try_from(institution.number).unwrap_or(0)),
            book: Book {
                account_id: account.clone().unwrap_or_default(),
                holder: institution.name.clone(),
                bank: if account.is_some() {
                    institution.bank
                } else {
                    Bank::Canonical
                },
                opening: 0,
                days: vec![Vec::new(); calendar.len()],
            },
            account,
            contracts: Vec::new(),
            payments: Vec::new(),
            batches: Vec::new(),
            instalments: Vec::new(),
            lessons: Vec::new(),
            unidentified: 0,
            pooled_release: 0,
            acts: acts
                .map(|(percent, act)| (calendar.at_percent(*percent), *act))
                .collect(),
            smudge: false,
            numbers: Numbers::default(),
            observer: Observer::default(),
            planted: Vec::new(),
            defects: Vec::new(),
        }
    }

    /// One business day with the rest days before it: sales, credits, lessons, refunds, releases.
    fn business_day(&mut self, i: usize) {
        if i == 0 {
            self.bring_legacy();
        }
        for on in self.calendar.carried(i) {
            if self.chance.permille(self.institution.size * SALES_PERMILLE) {
                self.sell(i, on);
            }
        }
        self.collect_instalments(i);
        self.perform(i);
        self.post_credits(i);
        self.teach(i);
        self.confirm(i);
        if self.account.is_some() {
            self.refund_sometimes(i);
            self.release_earned(i);
        }
        self.observe(i);
    }

    /// Contracts from before the period: their unearned value is swept into the new account on the
    /// first day and reported as a payment, so that the account opens at zero and every fen of it is
    /// matched. What was taught before is no longer anyone's claim.
    fn bring_legacy(&mut self) {
        let first = self.calendar.day(0);
        let span = i32::try_from(WEEKS * 7).unwrap_or(0);
        for nth in 0..(2 + 2 * self.institution.size) {
            let lessons = self.chance.between(10, 40);
            let price = self.draw_price(lessons);
            let ordered_on = first.plus(-i32::try_from(self.chance.between(10, 45)).unwrap_or(10));
            let wait = if nth == 0 {
                0
            } else {
                self.chance.between(0, 6)
            };
            let session = first.plus(i32::try_from(wait).unwrap_or(0));
            let starts_on = ordered_on.plus(3);
            let terms = Terms {
                lessons,
                gifts: 0,
                price,
                ordered_on,
                starts_on,
                session,
            };
            let contract = self.sign(0, &terms, first.plus(span));
            self.take_fee(0, contract, first, "TRANSFER", super::flows::Fate::SameDay);
        }
    }

    fn sell(&mut self, i: usize, on: Day) {
        let contract = self.sign_new(i, on);
        let (channel, fate) = self.draw_channel(i);
        let amount = self.contracts[contract].amount;
        if self.chance.permille(150) {
            let first = amount * 3 / 5;
            let later = on.plus(i32::try_from(self.chance.between(14, 28)).unwrap_or(14));
            self.instalments.push((later, contract, amount - first));
            self.take_part(i, contract, on, first, channel, fate);
        } else {
            self.take_part(i, contract, on, amount, channel, fate);
        }
    }

    /// Signs a contract on ordinary terms; its order row goes with business day `i`.
    pub(super) fn sign_new(&mut self, i: usize, on: Day) -> usize {
        let lessons = self.chance.pick(LESSONS);
        let price = self.draw_price(lessons);
        let gifts = if self.chance.permille(80) {
            self.chance.between(2, 6)
        } else {
            0
        };
        let session = on.plus(i32::try_from(self.chance.between(1, 7)).unwrap_or(1));
        let terms = Terms {
            lessons,
            gifts,
            price,
            ordered_on: on,
            starts_on: session,
            session,
        };
        self.sign(
            i,
            &terms,
            session.plus(i32::try_from(WEEKS * 7).unwrap_or(0)),
        )
    }

    fn draw_price(&mut self, lessons: i64) -> i64 {
        let top = PRICE_FEN.1.min(CAP_FEN / lessons);
        let low = PRICE_FEN.0.max(top / 3);
        self.chance.between(low, top) / 100 * 100
    }

    fn sign(&mut self, i: usize, terms: &Terms, ends_on: Day) -> usize {
        self.numbers.orders += 1;
        let number = self.institution.number;
        let id = format!("O{number:04}{:04}", self.numbers.orders);
        let total = terms.lessons + terms.gifts;
        let amount = terms.lessons * terms.price;
        let (order, subject_group) = (self.numbers.orders, SUBJECTS[self.institution.subject].2);
        self.report(i).orders.push(OrderRow {
            order_id: id.clone(),
            institution_id: format!("I{number:04}"),
            student_id: student(number, order),
            ordered_on: terms.ordered_on,
            lessons: terms.lessons,
            unit_price_fen: terms.price,
            amount_fen: amount,
            gift_lessons: terms.gifts,
            subject_group,
            kind: "hours",
            starts_on: terms.starts_on,
            ends_on,
        });
        self.contracts.push(Contract {
            id,
            ordered_on: terms.ordered_on,
            amount,
            lessons: total,
            per_session: (total + WEEKS - 1) / WEEKS,
            next_session: terms.session,
            taught: 0,
            counted: 0,
            paid: 0,
            cleared: 0,
            fees: 0,
            refunded: 0,
            released: 0,
            closed: false,
        });
        self.contracts.len() - 1
    }

    /// Rows that go with business day `i`.
    pub(super) fn report(&mut self, i: usize) -> &mut Reported {
        let last = self.days.len() - 1;
        &mut self.days[i.min(last)]
    }

    /// Teaches at most one session of each contract: the latest first waits for its confirmation.
    fn teach(&mut self, i: usize) {
        let today = self.calendar.day(i);
        for index in 0..self.contracts.len() {
            let contract = &self.contracts[index];
            let due = contract.next_session <= today && contract.taught == contract.counted;
            if due && !contract.closed && contract.taught < contract.lessons {
                let on = contract.next_session;
                self.contracts[index].next_session = on.plus(7);
                self.teach_session(i, index, on);
            }
        }
    }

    fn teach_session(&mut self, i: usize, index: usize, on: Day) {
        let contract = &self.contracts[index];
        let lessons = contract.per_session.min(contract.lessons - contract.taught);
        let after = contract.worth(contract.taught + lessons);
        let charges_after = self.account.is_none();
        if after > contract.cleared - contract.refunded && !charges_after {
            return;
        }
        let amount = after - contract.worth(contract.taught);
        let claimed = self.chance.permille(50);
        let lag = if claimed { 3 } else { self.chance.index(2) };
        self.numbers.lessons += 1;
        let id = format!("L{:04}{:05}", self.institution.number, self.numbers.lessons);
        let mut lesson = Lesson {
            id,
            contract: index,
            consumed_on: on,
            lessons,
            amount,
            confirm_at: i + lag,
        };
        if self.smudge {
            self.smudge = false;
            lesson.confirm_at = i + 1;
            let mut row = self.lesson_row(&lesson, "confirmed", Some(self.calendar.day(i)));
            row.amount_fen = format!("{}O{}", lesson.amount / 100, lesson.amount % 10);
            self.note_defect(i, DefectCode::BadAmount, "lessons.csv", &lesson.id);
            self.report(i).lessons.push(row);
        } else if claimed {
            let row = self.lesson_row(&lesson, "claimed", None);
            self.report(i).lessons.push(row);
        }
        self.contracts[index].taught += lessons;
        self.lessons.push(lesson);
    }

    /// Teaches and confirms a contract's first session in the bundle of day `i`, whatever it paid.
    pub(super) fn teach_at_once(&mut self, i: usize, index: usize) -> String {
        let today = self.calendar.day(i);
        let contract = &mut self.contracts[index];
        let lessons = contract.per_session;
        let amount = contract.worth(lessons);
        contract.taught = lessons;
        self.numbers.lessons += 1;
        let id = format!("L{:04}{:05}", self.institution.number, self.numbers.lessons);
        let lesson = Lesson {
            id: id.clone(),
            contract: index,
            consumed_on: today,
            lessons,
            amount,
            confirm_at: i,
        };
        self.lessons.push(lesson);
        id
    }

    fn confirm(&mut self, i: usize) {
        let (due, waiting) = std::mem::take(&mut self.lessons)
            .into_iter()
            .partition(|l| l.confirm_at <= i);
        self.lessons = waiting;
        for lesson in due {
            let row = self.lesson_row(&lesson, "confirmed", Some(self.calendar.day(i)));
            self.contracts[lesson.contract].counted += lesson.lessons;
            self.report(i).lessons.push(row);
        }
    }

    fn lesson_row(&self, lesson: &Lesson, state: &'static str, on: Option<Day>) -> LessonRow {
        LessonRow {
            consumption_id: lesson.id.clone(),
            order_id: self.contracts[lesson.contract].id.clone(),
            consumed_on: lesson.consumed_on,
            lessons: lesson.lessons,
            amount_fen: lesson.amount.to_string(),
            state,
            confirmed_on: on,
        }
    }

    pub(super) fn note_defect(&mut self, i: usize, code: DefectCode, file: &str, subject: &str) {
        self.defects.push(PlantedDefect {
            code,
            day: self.calendar.day(i),
            file: file.to_owned(),
            subject: subject.to_owned(),
        });
    }
}

/// What a contract says.
struct Terms {
    lessons: i64,
    gifts: i64,
    price: i64,
    ordered_on: Day,
    starts_on: Day,
    session: Day,
}

/// A pupil's pseudonym. Families come back: every fourth order is an earlier pupil's.
fn student(institution: usize, order: usize) -> String {
    let pupil = if order.is_multiple_of(4) {
        order / 2
    } else {
        order
    };
    format!(
        "S{:08x}",
        (institution * 10_000 + pupil) * 2_654_435_761 % 4_294_967_291
    )
}
