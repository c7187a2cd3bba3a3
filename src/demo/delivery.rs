//! Which bank delivers which statement when: everything on its day, but for the play's silences.
//!
//! Invariants: every account has a statement for every business day, also without movement; what is
//! late comes whole as a file of its own on a later day; a truncated or untied file is followed by a
//! good one on the next business day.

use std::collections::BTreeMap;

use crate::base::{DefectCode, FlagCode, Money};

use super::books::{Bank, Book};
use super::calendar::Calendar;
use super::city::{Institution, Mode};
use super::trouble::{Silence, TRUNCATED_AT_PERCENT};
use super::{Planted, PlantedDefect};

/// Lines an untied file needs: a single running balance contradicts nothing.
const LEAST_LINES_TO_SPOIL: usize = 2;

/// One account's book and whose it is.
pub(super) struct Owned {
    /// Index into the institutions.
    pub(super) institution: usize,
    pub(super) book: Book,
}

/// Exceptions from "every statement on its day".
#[derive(Default)]
pub(super) struct Delivery {
    /// Account-days that do not come on their day, and the day on which they do.
    withheld: BTreeMap<(usize, usize), Option<usize>>,
    /// The day whose [`Bank::CamtTwo`] file is cut short; the whole file comes the day after.
    pub(super) truncated: Option<usize>,
    /// The account-day whose file does not tie; the right file comes the day after.
    pub(super) spoilt: Option<(usize, usize)>,
    pub(super) planted: Vec<Planted>,
    pub(super) defects: Vec<PlantedDefect>,
}

impl Delivery {
    /// True where account `book`'s statement of day `i` comes on its day.
    pub(super) fn is_prompt(&self, book: usize, i: usize) -> bool {
        !self.withheld.contains_key(&(book, i))
    }

    /// Account-days that come late on day `i`.
    pub(super) fn late_on(&self, i: usize) -> impl Iterator<Item = (usize, usize)> {
        let due = self
            .withheld
            .iter()
            .filter(move |(_, until)| **until == Some(i));
        due.map(|(key, _)| *key)
    }
}

/// Plans the deliveries of all accounts.
pub(super) fn plan(
    institutions: &[Institution],
    accounts: &[Owned],
    calendar: &Calendar,
) -> Delivery {
    let mut delivery = Delivery::default();
    for (index, owned) in accounts.iter().enumerate() {
        let institution = &institutions[owned.institution];
        if let Some((percent, silence)) = institution.silence {
            let at = calendar.at_percent(percent);
            silence_account(
                &mut delivery,
                &institution.id,
                index,
                owned,
                at,
                silence,
                calendar,
            );
        }
    }
    truncate_bank(&mut delivery, institutions, accounts, calendar);
    delivery
}

fn silence_account(
    delivery: &mut Delivery,
    institution: &str,
    index: usize,
    owned: &Owned,
    at: usize,
    silence: Silence,
    calendar: &Calendar,
) {
    let last = calendar.len() - 1;
    let lines = |i: usize| owned.book.days[i].len();
    let (day, until) = match silence {
        Silence::Late(lag) => {
            let day = (at..last).find(|i| lines(*i) > 0).unwrap_or(at);
            (Some(day), Some(day + lag).filter(|until| *until <= last))
        }
        Silence::Never => ((at..last).find(|i| lines(*i) == 0), None),
        Silence::AtEnd => (Some(last), None),
        Silence::Broken => {
            let enough = |i: &usize| lines(*i) >= LEAST_LINES_TO_SPOIL;
            let day = (at..last)
                .find(enough)
                .or_else(|| (1..at.min(last)).rev().find(enough));
            if let Some(day) = day {
                delivery.spoilt = Some((index, day));
                let cured = Some(day + 1);
                note(
                    delivery,
                    FlagCode::FeedBroken,
                    institution,
                    owned,
                    day,
                    cured,
                    calendar,
                );
                delivery.defects.push(PlantedDefect {
                    code: DefectCode::Unbalanced,
                    day: calendar.day(day),
                    file: format!("{}-{}.csv", owned.book.bank.stem(), owned.book.account_id),
                    subject: owned.book.account_id.clone(),
                });
            }
            return;
        }
    };
    if let Some(day) = day {
        delivery.withheld.insert((index, day), until);
        note(
            delivery,
            FlagCode::FeedMissing,
            institution,
            owned,
            day,
            until,
            calendar,
        );
    }
}

fn truncate_bank(
    delivery: &mut Delivery,
    institutions: &[Institution],
    accounts: &[Owned],
    calendar: &Calendar,
) {
    let day = calendar.at_percent(TRUNCATED_AT_PERCENT);
    let mut hit = accounts
        .iter()
        .filter(|a| a.book.bank == Bank::CamtTwo)
        .peekable();
    if day + 1 >= calendar.len() || hit.peek().is_none() {
        return;
    }
    delivery.truncated = Some(day);
    for owned in hit {
        let institution = &institutions[owned.institution];
        // A settlement account's statement is sent, but nobody owes it.
        let settlement = institution.mode == Mode::Deposit
            && institution.collecting_account().as_ref() == Some(&owned.book.account_id);
        if settlement {
            continue;
        }
        let institution = &institution.id;
        note(
            delivery,
            FlagCode::FeedMissing,
            institution,
            owned,
            day,
            Some(day + 1),
            calendar,
        );
    }
    delivery.defects.push(PlantedDefect {
        code: DefectCode::Truncated,
        day: calendar.day(day),
        file: format!("{}.xml", Bank::CamtTwo.stem()),
        subject: Bank::CamtTwo.code().to_owned(),
    });
}

fn note(
    delivery: &mut Delivery,
    code: FlagCode,
    institution: &str,
    owned: &Owned,
    day: usize,
    cured: Option<usize>,
    calendar: &Calendar,
) {
    delivery.planted.push(Planted {
        code,
        institution_id: institution.to_owned(),
        subject: owned.book.account_id.clone(),
        day: calendar.day(day),
        cured: cured.map(|i| calendar.day(i)),
        amount: Money::ZERO,
    });
}
