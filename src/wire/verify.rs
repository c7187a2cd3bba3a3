//! Whether a statement proves itself: opening + Σ booked = closing, in exact decimals; whether the
//! statements of one file follow each other; and what appears twice (`feeds.md` §4.6–4.8).
//!
//! Invariants: pending entries never count; a duplicate is named and kept, since two equal fees on
//! one day are real; a break is named and never repaired.
//! Absent on purpose: a tolerance. A statement that is one cent off is off.

use std::collections::HashMap;

use rust_decimal::Decimal;

use super::pages::is_interim;
use super::{Entry, EntryStatus, Statement, Verdict};
use crate::base::{Day, Defect, DefectCode};

/// How many duplicates of one statement are named.
const DUPLICATES_NAMED_MAX: usize = 100;

/// The verdict of the arithmetic, with its reasons.
pub fn verify(statement: &Statement) -> (Verdict, Vec<Defect>) {
    let mut defects = duplicate_entries(&statement.entries);
    let (opening, closing) = match (&statement.opening, &statement.closing) {
        (Some(opening), Some(closing)) => (opening, closing),
        (None, None) => {
            let found = "the statement carries no balance and proves nothing";
            defects.push(Defect::new(DefectCode::NoBalances, found));
            return (Verdict::NoBalances, defects);
        }
        (one, _) => {
            let missing = if one.is_some() { "closing" } else { "opening" };
            let found = format!("the statement has no {missing} balance");
            defects.push(Defect::new(DefectCode::OneSided, found));
            return (Verdict::OneSided, defects);
        }
    };
    if let Some(defect) = foreign_entry(statement) {
        defects.push(defect);
        return (Verdict::Unbalanced, defects);
    }
    let reaches = |keep: &dyn Fn(&Entry) -> bool| {
        let booked = statement.entries.iter().filter(|e| is_booked(e) && keep(e));
        booked
            .map(|e| e.amount)
            .try_fold(opening.amount, Decimal::checked_add)
    };
    let total = reaches(&|_| true);
    if total == Some(closing.amount) {
        return (Verdict::Balanced, defects);
    }
    // The value-date basis (§4.7): an entry valued after the closing day is not in the closing
    // balance.
    let valued_by_then =
        |day: Day| move |e: &Entry| e.value_on.is_none_or(|value_on| value_on <= day);
    if let Some(day) = closing.day
        && reaches(&valued_by_then(day)) == Some(closing.amount)
    {
        return (Verdict::ExplainedByValueDate, defects);
    }
    defects.push(unbalanced(opening.amount, total, closing.amount));
    (Verdict::Unbalanced, defects)
}

/// Compares each statement with the one before it of the same account and currency, in the order of
/// their days: a `GAP` where opening and previous closing differ, a `DUPLICATE` where one comes
/// twice. The number is the statement's index.
pub fn continuity(statements: &[Statement]) -> Vec<(usize, Defect)> {
    let mut accounts: Vec<Vec<usize>> = Vec::new();
    let mut index: HashMap<(Option<&str>, Option<&str>), usize> = HashMap::new();
    for (at, statement) in statements.iter().enumerate() {
        let account = (statement.account.as_deref(), statement.currency.as_deref());
        let group = *index.entry(account).or_insert(accounts.len());
        if group == accounts.len() {
            accounts.push(Vec::new());
        }
        accounts[group].push(at);
    }
    let mut defects = Vec::new();
    for mut group in accounts {
        // Stable: pages of one day stay in the order of the file.
        group.sort_by_key(|at| {
            statements[*at]
                .opening
                .as_ref()
                .and_then(|balance| balance.day)
        });
        for (place, at) in group.iter().enumerate() {
            let next = group.get(place + 1).map(|next| &statements[*next]);
            defects.extend(missing_page(&statements[*at], next).map(|defect| (*at, defect)));
        }
        for pair in group.windows(2) {
            let (before, after) = (&statements[pair[0]], &statements[pair[1]]);
            defects.extend(follow(before, after).map(|defect| (pair[1], defect)));
        }
    }
    defects
}

fn follow(before: &Statement, after: &Statement) -> Option<Defect> {
    if before == after && before.opening.is_some() {
        let number = after.number.as_deref().unwrap_or("without number");
        return Some(Defect::new(
            DefectCode::Duplicate,
            format!("statement {number} comes twice"),
        ));
    }
    let (closing, opening) = (before.closing.as_ref()?, after.opening.as_ref()?);
    (closing.amount != opening.amount).then(|| {
        let (opening, closing) = (opening.amount, closing.amount);
        let found = format!("opens with {opening}, the statement before it closed with {closing}");
        Defect::new(DefectCode::Gap, found)
    })
}

/// A SWIFT page that closes with `:62M:` promises another that opens with `:60M:`.
fn missing_page(page: &Statement, next: Option<&Statement>) -> Option<Defect> {
    let promises = page
        .closing
        .as_ref()
        .is_some_and(|closing| closing.kind == "62M");
    let follows = next
        .and_then(|next| next.opening.as_ref())
        .is_some_and(is_interim);
    (promises && !follows).then(|| {
        let found = "the page closes with :62M:, the page after it is missing";
        Defect::new(DefectCode::Gap, found).column(":62M:")
    })
}

pub(crate) fn is_booked(entry: &Entry) -> bool {
    entry.status == EntryStatus::Booked
}

fn foreign_entry(statement: &Statement) -> Option<Defect> {
    let own = statement.currency.as_deref()?;
    let foreign =
        |entry: &&Entry| is_booked(entry) && !entry.currency.is_empty() && entry.currency != own;
    let entry = statement.entries.iter().find(foreign)?;
    let found = format!(
        "a booked entry is in {}, the balances are in {own}",
        entry.currency
    );
    Some(Defect::new(DefectCode::Unbalanced, found).line(entry.line))
}

fn unbalanced(opening: Decimal, total: Option<Decimal>, closing: Decimal) -> Defect {
    let Some(total) = total else {
        return Defect::new(DefectCode::Unbalanced, "the sum of the entries overflows");
    };
    let difference = match total.checked_sub(closing) {
        Some(difference) => difference.to_string(),
        None => "more than can be counted".to_owned(),
    };
    let found = format!(
        "opening {opening} and the booked entries give {total}, closing is {closing}: \
         difference {difference}"
    );
    Defect::new(DefectCode::Unbalanced, found)
}

fn duplicate_entries(entries: &[Entry]) -> Vec<Defect> {
    let mut first = HashMap::with_capacity(entries.len());
    let mut defects = Vec::new();
    for entry in entries {
        let days = (entry.booked_on, entry.value_on);
        let references = (&entry.customer_ref, &entry.bank_ref, &entry.code);
        let texts = (&entry.counterparty, &entry.memo, entry.reversal);
        let all = (
            entry.status,
            entry.amount,
            &entry.currency,
            days,
            references,
            texts,
        );
        let line = *first.entry(all).or_insert(entry.line);
        if line != entry.line && defects.len() < DUPLICATES_NAMED_MAX {
            let found = format!("the entry equals the one at {line} in every field; both are kept");
            defects.push(Defect::new(DefectCode::Duplicate, found).line(entry.line));
        }
    }
    defects
}

#[cfg(test)]
mod tests {
    use super::super::Balance;
    use super::*;

    fn yuan(text: &str) -> Decimal {
        Decimal::from_str_exact(text).unwrap()
    }

    fn balance(text: &str, day: &str) -> Option<Balance> {
        Some(Balance {
            amount: yuan(text),
            day: Some(day.parse().unwrap()),
            kind: String::new(),
        })
    }

    fn entry(amount: &str, value_on: &str, line: u64) -> Entry {
        Entry {
            status: EntryStatus::Booked,
            amount: yuan(amount),
            currency: "CNY".into(),
            booked_on: None,
            value_on: Some(value_on.parse().unwrap()),
            customer_ref: None,
            bank_ref: None,
            code: None,
            counterparty: None,
            memo: String::new(),
            reversal: false,
            line,
        }
    }

    fn statement(opening: &str, amounts: &[(&str, &str)], closing: &str) -> Statement {
        let entries = (1..)
            .zip(amounts)
            .map(|(line, (a, v))| entry(a, v, line))
            .collect();
        Statement {
            currency: Some("CNY".into()),
            opening: balance(opening, "2026-01-01"),
            closing: balance(closing, "2026-01-02"),
            entries,
            ..Statement::default()
        }
    }

    fn judge(statement: &Statement) -> (Verdict, Vec<DefectCode>) {
        let (verdict, defects) = verify(statement);
        (verdict, defects.into_iter().map(|d| d.code).collect())
    }

    #[test]
    fn verdicts() {
        let day = "2026-01-02";
        let even = statement("1.00", &[("2.50", day), ("-0.5", day)], "3.0");
        assert_eq!(judge(&even), (Verdict::Balanced, vec![]));
        let later = statement("1", &[("2", day), ("5", "2026-01-03")], "3");
        assert_eq!(judge(&later), (Verdict::ExplainedByValueDate, vec![]));
        let off = statement("1", &[("2", day)], "3.01");
        assert_eq!(
            judge(&off),
            (Verdict::Unbalanced, vec![DefectCode::Unbalanced])
        );
        assert!(verify(&off).1[0].found.ends_with("difference -0.01"));
        let one = Statement {
            opening: None,
            ..even.clone()
        };
        assert_eq!(judge(&one), (Verdict::OneSided, vec![DefectCode::OneSided]));
        let none = Statement {
            opening: None,
            closing: None,
            ..even.clone()
        };
        assert_eq!(
            judge(&none),
            (Verdict::NoBalances, vec![DefectCode::NoBalances])
        );
    }

    #[test]
    fn pending_entries_never_count() {
        let mut later = statement("1", &[("2", "2026-01-02"), ("9", "2026-01-02")], "3");
        later.entries[1].status = EntryStatus::Pending;
        assert_eq!(judge(&later).0, Verdict::Balanced);
    }

    #[test]
    fn a_promised_page_is_missed() {
        let mut page = statement("1", &[("2", "2026-01-02")], "3");
        if let Some(closing) = &mut page.closing {
            "62M".clone_into(&mut closing.kind);
        }
        let mut last = Statement {
            opening: page.closing.clone(),
            entries: vec![],
            ..page.clone()
        };
        last.closing = balance("3", "2026-01-02");
        assert_eq!(continuity(&[page.clone(), last]), []);
        assert_eq!(continuity(&[page])[0].1.code, DefectCode::Gap);
    }

    #[test]
    fn two_equal_fees_are_named_and_both_count() {
        let day = "2026-01-02";
        let twice = statement("10", &[("-4.50", day), ("-4.50", day)], "1");
        assert_eq!(
            judge(&twice),
            (Verdict::Balanced, vec![DefectCode::Duplicate])
        );
    }

    #[test]
    fn gaps_and_repeats_between_statements() {
        let day = "2026-01-02";
        let one = statement("1", &[("2", day)], "3");
        let next = Statement {
            opening: balance("3", day),
            closing: balance("3", day),
            entries: vec![],
            ..one.clone()
        };
        let off = Statement {
            opening: balance("4", "2026-01-03"),
            ..next.clone()
        };
        let other = Statement {
            account: Some("x".into()),
            ..off.clone()
        };
        let found: Vec<_> = continuity(&[next.clone(), one.clone(), other, off, one.clone()])
            .into_iter()
            .map(|(at, d)| (at, d.code))
            .collect();
        assert_eq!(found, [(4, DefectCode::Duplicate), (3, DefectCode::Gap)]);
    }
}
