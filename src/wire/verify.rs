//! Whether a statement proves itself: opening + Σ booked = closing, in exact decimals; whether the
//! statements of one file follow each other; and what appears twice (`feeds.md` §4.6–4.8).
//!
//! Invariants: pending entries never count; a duplicate is named and kept, since two equal fees on
//! one day are real; a break is named and never repaired.
//! Absent on purpose: a tolerance. A statement that is one cent off is off.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::pages::is_interim;
use super::proof::Proof;
use super::{Entry, EntryStatus, Statement, Verdict};
use crate::base::{Defect, DefectCode};

/// The verdict of the arithmetic, with its reasons.
pub fn verify(statement: &Statement) -> (Verdict, Vec<Defect>) {
    let mut proof = Proof::default();
    for entry in &statement.entries {
        proof.add(entry);
    }
    proof.judge(statement)
}

/// A statement without its entries, and a digest that stands for them.
pub(crate) struct Outline<'s> {
    pub(crate) head: &'s Statement,
    pub(crate) entries: EntriesDigest,
}

impl Outline<'_> {
    fn of(statement: &Statement) -> Outline<'_> {
        let mut proof = Proof::default();
        statement.entries.iter().for_each(|entry| proof.add(entry));
        Outline {
            head: statement,
            entries: proof.entries(),
        }
    }
}

/// Stands for a list of entries when two statements are compared: their number and a chained hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EntriesDigest {
    count: u64,
    hash: [u64; 2],
}

impl EntriesDigest {
    /// The digest with one entry more.
    pub(crate) fn add(&mut self, key: [u64; 2], line: u64) {
        self.count += 1;
        for (at, part) in key.into_iter().enumerate() {
            let mut hasher = DefaultHasher::new();
            (self.hash[at], part, line).hash(&mut hasher);
            self.hash[at] = hasher.finish();
        }
    }
}

/// Compares each statement with the one before it of the same account and currency, in the order of
/// their days: a `GAP` where opening and previous closing differ, a `DUPLICATE` where one comes
/// twice. The number is the statement's index.
pub fn continuity(statements: &[Statement]) -> Vec<(usize, Defect)> {
    let outlines: Vec<Outline<'_>> = statements.iter().map(Outline::of).collect();
    continuity_of(&outlines)
}

/// [`continuity`] of statements whose entries have been read and let go.
pub(crate) fn continuity_of(statements: &[Outline<'_>]) -> Vec<(usize, Defect)> {
    let mut accounts: Vec<Vec<usize>> = Vec::new();
    let mut index: HashMap<(Option<&str>, Option<&str>), usize> = HashMap::new();
    for (at, statement) in statements.iter().enumerate() {
        let head = statement.head;
        let account = (head.account.as_deref(), head.currency.as_deref());
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
                .head
                .opening
                .as_ref()
                .and_then(|balance| balance.day)
        });
        for (place, at) in group.iter().enumerate() {
            let next = group.get(place + 1).map(|next| statements[*next].head);
            defects.extend(missing_page(statements[*at].head, next).map(|defect| (*at, defect)));
        }
        for pair in group.windows(2) {
            let (before, after) = (&statements[pair[0]], &statements[pair[1]]);
            defects.extend(follow(before, after).map(|defect| (pair[1], defect)));
        }
    }
    defects
}

fn follow(before: &Outline<'_>, after: &Outline<'_>) -> Option<Defect> {
    let same = before.entries == after.entries && same_head(before.head, after.head);
    let (before, after) = (before.head, after.head);
    if same && before.opening.is_some() {
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

/// Equal in everything but the entries.
fn same_head(one: &Statement, other: &Statement) -> bool {
    let ends = |s: &Statement| (s.opening.clone(), s.closing.clone());
    let names = |s: &Statement| (s.format.clone(), s.account.clone(), s.currency.clone());
    names(one) == names(other)
        && one.number == other.number
        && one.period == other.period
        && ends(one) == ends(other)
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

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

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
            reversal: None,
            details: Vec::new(),
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
