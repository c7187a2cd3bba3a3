//! The days a statement proves, each with its opening and closing balance in fen.
//!
//! A statement of several days holds one proof; the ledger and the expected-days rule want one row
//! per day. The days run from the statement's period (camt `FrToDt`, a CSV export's rows) where it
//! has one that ends on the closing day. Otherwise they run from the opening balance's day to the
//! closing one's, and the opening day itself belongs only if an entry is booked on it or it is the
//! closing day: banks date an opening balance on the day before as often as on the day itself, and
//! a day the statement does not cover must not look proven.
//!
//! Invariants: only a balanced statement gives days; an entry booked before the first day counts on
//! the first, one booked after the last on the last (banks enter late what they value early), so
//! that the last day closes with the statement's closing balance.

use std::collections::BTreeMap;

use super::pages::is_interim;
use super::verify::is_booked;
use super::{Entry, Statement, Verdict, verify};
use crate::base::{Day, Defect, DefectCode, Money};

/// How many days one statement may cover.
pub const DAYS_MAX: i32 = 3_700;

/// Opening and closing of each day of a balanced CNY statement.
///
/// # Errors `UNBALANCED`, `NO_BALANCES`, `ONE_SIDED` as [`verify`] says; `BAD_CODE` for another
/// currency; `GAP` for a page whose neighbour is missing; `BAD_AMOUNT` for a fraction of a fen;
/// `BAD_DATE` for balances without days or in the wrong order.
pub fn daily_balances(statement: &Statement) -> Result<Vec<(Day, Money, Money)>, Defect> {
    let (verdict, defects) = verify(statement);
    if verdict != Verdict::Balanced {
        let reason = defects
            .into_iter()
            .find(|d| d.code != DefectCode::Duplicate);
        let other = if statement.unordered {
            "the running balances do not lead from opening to closing"
        } else {
            "the statement ties on the value date only, so its days cannot be told"
        };
        return Err(reason.unwrap_or_else(|| Defect::new(DefectCode::Unbalanced, other)));
    }
    // The days of one page are not the account's days: a page that is missing may move them.
    for (balance, what) in [
        (&statement.opening, "opens"),
        (&statement.closing, "closes"),
    ] {
        if balance.as_ref().is_some_and(is_interim) {
            let found = format!("the statement {what} between two pages, the other one is missing");
            return Err(Defect::new(DefectCode::Gap, found));
        }
    }
    if let Some(currency) = statement
        .currency
        .as_deref()
        .filter(|currency| *currency != "CNY")
    {
        let found = format!("the statement is in {currency}; the ledger keeps CNY only");
        return Err(Defect::new(DefectCode::BadCode, found));
    }
    let (first, last) = days(statement)?;
    let mut moved: BTreeMap<Day, Money> = BTreeMap::new();
    for entry in statement.entries.iter().filter(|entry| is_booked(entry)) {
        let day = posting_day(entry, (first, last));
        let amount = fen(entry.amount).map_err(|defect| defect.line(entry.line))?;
        let sum = moved.entry(day).or_insert(Money::ZERO);
        *sum = sum.checked_add(amount).ok_or_else(overflow)?;
    }
    let mut balance = match &statement.opening {
        Some(opening) => fen(opening.amount)?,
        None => Money::ZERO,
    };
    let mut rows = Vec::new();
    for day in first.through(last) {
        let change = moved.get(&day).copied().unwrap_or(Money::ZERO);
        let closing = balance.checked_add(change).ok_or_else(overflow)?;
        rows.push((day, balance, closing));
        balance = closing;
    }
    Ok(rows)
}

/// The day of a statement from `first` to `last` that an entry counts on: one booked late belongs to the
/// statement that brings it.
pub fn posting_day(entry: &Entry, (first, last): (Day, Day)) -> Day {
    entry.booked_on.unwrap_or(last).clamp(first, last)
}

/// The first and last day covered.
fn days(statement: &Statement) -> Result<(Day, Day), Defect> {
    let opened = statement.opening.as_ref().and_then(|balance| balance.day);
    let closed = statement.closing.as_ref().and_then(|balance| balance.day);
    let booked = || {
        statement
            .entries
            .iter()
            .filter(|e| is_booked(e))
            .filter_map(|e| e.booked_on)
    };
    let last = closed
        .or(statement.period.map(|(_, last)| last))
        .ok_or_else(|| {
            Defect::new(
                DefectCode::BadDate,
                "the closing balance has no day and the file no period",
            )
        })?;
    let first = match (statement.period, opened) {
        (Some((first, end)), _) if end == last => first,
        (_, Some(opened)) if opened >= last || booked().any(|day| day == opened) => opened,
        (_, Some(opened)) => opened.next(),
        (_, None) => booked().min().unwrap_or(last),
    };
    if first > last {
        let found = format!("the opening balance is of {first}, after the closing one of {last}");
        return Err(Defect::new(DefectCode::BadDate, found));
    }
    if last.since(first) >= DAYS_MAX {
        let found = format!("the statement covers more than {DAYS_MAX} days (limit DAYS_MAX)");
        return Err(Defect::new(DefectCode::TooLarge, found));
    }
    Ok((first, last))
}

fn fen(amount: rust_decimal::Decimal) -> Result<Money, Defect> {
    Money::from_yuan(amount).map_err(|e| Defect::new(DefectCode::BadAmount, e.to_string()))
}

fn overflow() -> Defect {
    Defect::new(
        DefectCode::BadAmount,
        "a balance does not fit 64 bits of fen",
    )
}

#[cfg(test)]
mod tests {
    use super::super::{Format, parse};
    use super::*;

    fn days_of(mt: &str) -> Result<Vec<(String, i64, i64)>, DefectCode> {
        let (statements, _) = parse(Format::Mt940, mt.as_bytes());
        let rows = daily_balances(&statements[0]).map_err(|d| d.code)?;
        Ok(rows
            .into_iter()
            .map(|(d, o, c)| (d.to_string(), o.fen(), c.fen()))
            .collect())
    }

    fn message(opening: &str, lines: &[&str], closing: &str) -> String {
        let lines: String = lines.iter().map(|line| format!(":61:{line}\n")).collect();
        format!(":20:1\n:25:6217\n:28C:1\n:60F:{opening}\n{lines}:62F:{closing}\n-\n")
    }

    #[test]
    fn each_day_from_the_day_after_the_opening() {
        let lines = [
            "2606020602C100,00NTRF",
            "2606040604D40,00NTRF",
            "2606020602D1,50NTRF",
        ];
        let text = message("C260601CNY1000,", &lines, "C260604CNY1058,5");
        let row = |day: &str, opening, closing| (day.to_owned(), opening, closing);
        assert_eq!(
            days_of(&text).unwrap(),
            [
                row("2026-06-02", 100_000, 109_850),
                row("2026-06-03", 109_850, 109_850),
                row("2026-06-04", 109_850, 105_850),
            ]
        );
    }

    #[test]
    fn a_statement_of_one_day_and_a_late_entry() {
        let text = message("C260604CNY10,", &["2606010601C5,NTRF"], "C260604CNY15,");
        assert_eq!(
            days_of(&text).unwrap(),
            [("2026-06-04".to_owned(), 1_000, 1_500)]
        );
        let quiet = message("C260603CNY10,", &[], "C260604CNY10,");
        assert_eq!(
            days_of(&quiet).unwrap(),
            [("2026-06-04".to_owned(), 1_000, 1_000)]
        );
    }

    #[test]
    fn refuses_what_proves_nothing_in_fen() {
        let off = message("C260603CNY10,", &[], "C260604CNY11,");
        assert_eq!(days_of(&off), Err(DefectCode::Unbalanced));
        let euro = message("C260603EUR10,", &[], "C260604EUR10,");
        assert_eq!(days_of(&euro), Err(DefectCode::BadCode));
        let fraction = message("C260603CNY10,005", &[], "C260604CNY10,005");
        assert_eq!(days_of(&fraction), Err(DefectCode::BadAmount));
        let turned = message("C260605CNY10,", &[], "C260604CNY10,");
        assert_eq!(days_of(&turned), Err(DefectCode::BadDate));
    }
}
