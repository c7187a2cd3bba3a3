//! The fold behind [`super::verify()`]: takes entries one by one and keeps what a verdict needs, so
//! that a statement of any length is judged in fixed memory.
//!
//! Invariants: pending entries never count; the verdict of a fold is that of the whole list, but
//! that equal entries further apart than [`DUPLICATES_WINDOW`] are not named as duplicates.
//! Absent on purpose: keeping entries.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use rust_decimal::Decimal;

use super::verify::{EntriesDigest, is_booked};
use super::{Entry, Statement, Verdict};
use crate::base::{Day, Defect, DefectCode};

/// How many duplicates of one statement are named.
const DUPLICATES_NAMED_MAX: usize = 100;
/// Among how many neighbours an equal entry is looked for: about 12 MiB of digests.
const DUPLICATES_WINDOW: usize = 220_000;

/// What has been seen of a statement's entries.
#[derive(Default)]
pub(crate) struct Proof {
    /// Entries, and how many of them are booked.
    pub(crate) count: u64,
    pub(crate) booked: u64,
    /// Of all entries, booked or not; `None` after an overflow.
    pub(crate) credits: Sum,
    pub(crate) debits: Sum,
    /// Of booked entries.
    pub(crate) booked_credits: Sum,
    pub(crate) booked_debits: Sum,
    /// Booked amounts by value day; those without one under `None`.
    valued: BTreeMap<Option<Day>, Sum>,
    /// The first entry of each of the first two currencies among booked entries: at least one of
    /// any two is not the statement's own.
    currencies: Vec<(String, u64)>,
    digest: EntriesDigest,
    /// Digest of an entry to its line, in two halves: a full one becomes the old one.
    recent: HashMap<[u64; 2], u64>,
    older: HashMap<[u64; 2], u64>,
    duplicates: Vec<Defect>,
}

/// A sum that remembers its overflow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum(pub(crate) Option<Decimal>);

impl Default for Sum {
    fn default() -> Sum {
        Sum(Some(Decimal::ZERO))
    }
}

impl Sum {
    fn add(&mut self, more: Decimal) {
        self.0 = self.0.and_then(|sum| sum.checked_add(more));
    }
}

impl Proof {
    /// Takes the next entry.
    pub(crate) fn add(&mut self, entry: &Entry) {
        self.count += 1;
        let (side, booked_side) = if entry.amount.is_sign_negative() {
            (&mut self.debits, &mut self.booked_debits)
        } else {
            (&mut self.credits, &mut self.booked_credits)
        };
        side.add(entry.amount.abs());
        if is_booked(entry) {
            self.booked += 1;
            booked_side.add(entry.amount.abs());
            let day = self.valued.entry(entry.value_on).or_default();
            day.add(entry.amount);
            self.note_currency(entry);
        }
        let key = key(entry);
        self.digest.add(key, entry.line);
        self.note_duplicate(key, entry.line);
    }

    /// The digest of the entries taken.
    pub(crate) fn entries(&self) -> EntriesDigest {
        self.digest
    }

    /// The verdict for a statement with these balances, and its reasons.
    pub(crate) fn judge(mut self, head: &Statement) -> (Verdict, Vec<Defect>) {
        let mut defects = std::mem::take(&mut self.duplicates);
        let (opening, closing) = match (&head.opening, &head.closing) {
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
        // The parser has said where: a remark of its own.
        if head.unordered {
            return (Verdict::Unbalanced, defects);
        }
        if let Some(defect) = self.foreign_entry(head) {
            defects.push(defect);
            return (Verdict::Unbalanced, defects);
        }
        let total = self.reaches(opening.amount, None);
        if total == Some(closing.amount) {
            return (Verdict::Balanced, defects);
        }
        // The value-date basis (§4.7): an entry valued after the closing day is not in the closing
        // balance.
        if closing.day.is_some()
            && self.reaches(opening.amount, closing.day) == Some(closing.amount)
        {
            return (Verdict::ExplainedByValueDate, defects);
        }
        defects.push(unbalanced(opening.amount, total, closing.amount));
        (Verdict::Unbalanced, defects)
    }

    /// What the booked entries lead to, those valued after a day left out.
    fn reaches(&self, opening: Decimal, until: Option<Day>) -> Option<Decimal> {
        let kept = |day: &Option<Day>| until.is_none_or(|until| day.is_none_or(|day| day <= until));
        let sums = self.valued.iter().filter(|(day, _)| kept(day));
        sums.map(|(_, sum)| sum.0)
            .try_fold(opening, |total, sum| total.checked_add(sum?))
    }

    fn note_currency(&mut self, entry: &Entry) {
        let known = |name: &str| self.currencies.iter().any(|(other, _)| other == name);
        if !entry.currency.is_empty() && self.currencies.len() < 2 && !known(&entry.currency) {
            self.currencies.push((entry.currency.clone(), entry.line));
        }
    }

    fn foreign_entry(&self, head: &Statement) -> Option<Defect> {
        let own = head.currency.as_deref()?;
        let (currency, line) = self.currencies.iter().find(|(other, _)| other != own)?;
        let found = format!("a booked entry is in {currency}, the balances are in {own}");
        Some(Defect::new(DefectCode::Unbalanced, found).line(*line))
    }

    fn note_duplicate(&mut self, key: [u64; 2], line: u64) {
        let known = self.recent.get(&key).or_else(|| self.older.get(&key));
        if let Some(first) = known.copied() {
            if first != line && self.duplicates.len() < DUPLICATES_NAMED_MAX {
                let found =
                    format!("the entry equals the one at {first} in every field; both are kept");
                let defect = Defect::new(DefectCode::Duplicate, found).line(line);
                self.duplicates.push(defect);
            }
            return;
        }
        if self.recent.len() >= DUPLICATES_WINDOW {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key, line);
    }
}

/// Two hashes of all that tells an entry apart but its line: 128 bits, so that unequal entries do
/// not meet by chance.
fn key(entry: &Entry) -> [u64; 2] {
    let all = (
        (entry.status, entry.amount, &entry.currency),
        (entry.booked_on, entry.value_on),
        (&entry.customer_ref, &entry.bank_ref, &entry.code),
        (
            &entry.counterparty,
            &entry.memo,
            &entry.reversal,
            &entry.details,
        ),
    );
    [0_u8, 1].map(|salt| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        all.hash(&mut hasher);
        hasher.finish()
    })
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
