//! Senders' ids to dense numbers: one arena of text, one table of numbers.
//!
//! Resolving ids is the hot loop of an import, so an id costs its own bytes and eight more, and no
//! allocation of its own.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// A set of ids, each with the number of its insertion.
#[derive(Clone, Default)]
pub struct IdIndex {
    text: String,
    /// End of each id in `text`; an id starts where the one before it ends.
    ends: Vec<u32>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl IdIndex {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The id with a number handed out by [`IdIndex::insert`].
    pub fn id(&self, number: u32) -> &str {
        id_at(&self.text, &self.ends, number)
    }

    /// The number of an id.
    pub fn get(&self, id: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(id);
        self.table
            .find(hash, |n| id_at(&self.text, &self.ends, *n) == id)
            .copied()
    }

    /// The number of an id, added if it is new.
    pub fn insert(&mut self, id: &str) -> u32 {
        let hash = self.hasher.hash_one(id);
        let (text, ends) = (&mut self.text, &mut self.ends);
        if let Some(n) = self.table.find(hash, |n| id_at(text, ends, *n) == id) {
            return *n;
        }
        let number = u32::try_from(ends.len()).expect("fewer than 2^32 ids fit in memory");
        text.push_str(id);
        ends.push(u32::try_from(text.len()).expect("fewer than 4 GiB of ids fit in memory"));
        let hasher = &self.hasher;
        self.table
            .insert_unique(hash, number, |n| hasher.hash_one(id_at(text, ends, *n)));
        number
    }
}

fn id_at<'t>(text: &'t str, ends: &[u32], number: u32) -> &'t str {
    let n = number as usize;
    let from = if n == 0 { 0 } else { ends[n - 1] as usize };
    &text[from..ends[n] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_stable() {
        let mut index = IdIndex::default();
        for round in 0..2 {
            for i in 0..10_000_u32 {
                assert_eq!(index.insert(&format!("机构{i}")), i, "round {round}");
            }
        }
        assert_eq!(
            (index.len(), index.id(42), index.get("机构9999")),
            (10_000, "机构42", Some(9999))
        );
        assert_eq!(index.get("机构10000"), None);
    }
}
