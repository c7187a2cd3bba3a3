//! The identity of an entry, rule 2 (`feeds.md` §4.2).
//!
//! No bank's reference is unique: references repeat within a statement, over days, and in batches.
//! The identity is therefore a digest of all that tells an entry apart, with a running number among
//! equals, so that two genuine equal fees of one day both survive and a file read twice adds
//! nothing. The day it is posted to is part of it: two statements that bring equal entries without
//! references, both booked late for one earlier day, bring two.
//!
//! Invariants: the rule has a name, `S2`, in every identity; a changed rule gets a new name, since
//! with it every entry would look new. The order of entries matters only among equals.

use std::collections::HashMap;

use rust_decimal::Decimal;
use sha2::{Digest, Sha256};

use super::{Entry, Statement};
use crate::base::Day;

/// The name of the rule at the head of every identity.
const RULE: &str = "S2";
/// How many bytes of the digest are kept.
const DIGEST_BYTES: usize = 16;

/// The identities of entries of a statement, each with the day it is posted to, in their order; each at
/// most 64 characters. Pending entries are to be left out: their number may change.
pub fn entry_identity<'e>(
    statement: &Statement,
    entries: impl IntoIterator<Item = (&'e Entry, Day)>,
) -> Vec<String> {
    let mut seen: HashMap<[u8; DIGEST_BYTES], u64> = HashMap::new();
    (entries.into_iter())
        .map(|(entry, day)| {
            let digest = digest(statement, entry, day);
            let occurrence = seen.entry(digest).or_insert(0);
            *occurrence += 1;
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{RULE}-{hex}-{occurrence}")
        })
        .collect()
}

fn digest(statement: &Statement, entry: &Entry, day: Day) -> [u8; DIGEST_BYTES] {
    let mut hash = Sha256::new();
    let currency = Some(entry.currency.as_str()).filter(|c| !c.is_empty());
    field(&mut hash, statement.account.as_deref());
    field(&mut hash, Some(&text(day)));
    field(&mut hash, entry.booked_on.map(text).as_deref());
    field(&mut hash, entry.value_on.map(text).as_deref());
    field(&mut hash, Some(&amount(entry.amount)));
    field(&mut hash, currency.or(statement.currency.as_deref()));
    field(&mut hash, entry.bank_ref.as_deref());
    field(&mut hash, entry.customer_ref.as_deref());
    field(&mut hash, entry.counterparty.as_deref());
    let full = hash.finalize();
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(&full[..DIGEST_BYTES]);
    digest
}

/// One field with its length in front, so that no two lists of fields give the same bytes; an
/// absent field is told from an empty one.
fn field(hash: &mut Sha256, text: Option<&str>) {
    let Some(text) = text else {
        hash.update([0]);
        return;
    };
    hash.update([1]);
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
}

fn text(day: Day) -> String {
    day.to_string()
}

/// 4.5 and 4.50 are one amount.
fn amount(amount: Decimal) -> String {
    amount.normalize().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::EntryStatus;
    use super::*;

    fn ids(statement: &Statement, entries: &[Entry]) -> Vec<String> {
        let on = "2026-01-02".parse().unwrap();
        entry_identity(statement, entries.iter().map(|e| (e, on)))
    }

    fn entry(amount: &str, bank_ref: Option<&str>) -> Entry {
        Entry {
            status: EntryStatus::Booked,
            amount: Decimal::from_str_exact(amount).unwrap(),
            currency: "CNY".into(),
            booked_on: Some("2026-01-02".parse().unwrap()),
            value_on: None,
            customer_ref: None,
            bank_ref: bank_ref.map(str::to_owned),
            code: None,
            counterparty: Some("余".into()),
            memo: String::new(),
            reversal: None,
            details: Vec::new(),
            line: 1,
        }
    }

    #[test]
    fn equals_are_numbered_and_order_matters_only_among_them() {
        let statement = Statement {
            account: Some("6217".into()),
            ..Statement::default()
        };
        let entries = [
            entry("4.50", None),
            entry("4.5", None),
            entry("4.50", Some("x")),
        ];
        let ids = ids(&statement, &entries);
        assert_eq!(ids[0].strip_suffix("-1"), ids[1].strip_suffix("-2"));
        assert!(ids.iter().all(|id| id.len() <= 64 && id.starts_with("S2-")));
        let mut turned = super::tests::ids(
            &statement,
            &[entries[2].clone(), entries[1].clone(), entries[0].clone()],
        );
        turned.sort();
        let mut sorted = ids.clone();
        sorted.sort();
        assert_eq!(turned, sorted);
        assert_eq!(
            sorted
                .iter()
                .collect::<std::collections::HashSet<_>>()
                .len(),
            3
        );
    }

    #[test]
    fn the_rule_is_pinned() {
        // A changed value here means that every stored entry would be imported again.
        let statement = Statement {
            account: Some("6217".into()),
            ..Statement::default()
        };
        let ids = ids(&statement, &[entry("-4.50", Some("x"))]);
        assert_eq!(ids, ["S2-53b06e663cd35c17ab0d8fd79bb69daf-1"]);
    }

    #[test]
    fn an_entry_posted_to_another_day_is_another_one() {
        let (statement, late) = (Statement::default(), entry("1", None));
        let on = |day: &str| entry_identity(&statement, [(&late, day.parse().unwrap())]);
        assert_ne!(on("2026-01-05"), on("2026-01-06"));
        assert_eq!(on("2026-01-05"), on("2026-01-05"));
    }

    #[test]
    fn absent_differs_from_empty() {
        let statement = Statement::default();
        let ids = ids(&statement, &[entry("1", None), entry("1", Some(""))]);
        assert_ne!(ids[0], ids[1]);
        assert!(ids[1].ends_with("-1"));
    }
}
