//! What another statement of a stored day means: the same again, more of an unfinished day, a revision,
//! an outdated version, or a contradiction. Pure.
//!
//! Invariants: lines are compared as multisets, so two equal fees of a day stay two and an overlap adds
//! nothing; which of two windows of an unfinished day came first makes no difference, and neither does it
//! of two versions of a statement whose bank says when it made them. Where it does not (MT940, most
//! exports) the version that comes later holds.
//! Absent on purpose: choosing between two statements that contradict each other. The day is disputed
//! until the bank, or a person with a reason, says which one holds.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

/// A line as it is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line<'a> {
    pub(super) fen: i64,
    /// The identity of the entry, with its number among equals.
    pub(super) id: &'a str,
    pub(super) reference: &'a str,
}

/// One day as a statement says it.
#[derive(Clone, Debug, Default)]
pub(super) struct Said<'a> {
    /// Opening and closing in fen; `None` where only lines are known.
    pub(super) balances: Option<(i64, i64)>,
    pub(super) lines: Vec<Line<'a>>,
}

/// How the one who speaks is related to the one whose word stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Relation {
    /// Both are one statement: account, format family, number and period are the same.
    pub(super) same_statement: bool,
    /// Both are of one format family, so that they name one line alike.
    pub(super) same_family: bool,
    /// Whether the bank made the one that speaks after (`Greater`) or before (`Less`) the one that stands;
    /// `Equal` where it does not say.
    pub(super) made: Age,
    /// The stored statement is an export without number and this is its last day, which may not have been
    /// over.
    pub(super) stored_open: bool,
    /// The same of the statement that is read.
    pub(super) said_open: bool,
    /// It came after the day: an export that has fewer lines then is no earlier window of it.
    pub(super) day_over: bool,
    /// The bank calls what is read a copy.
    pub(super) is_copy: bool,
}

/// `Equal` by default: nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Age(pub(super) Ordering);

impl Default for Age {
    fn default() -> Self {
        Age(Ordering::Equal)
    }
}

/// What becomes of a stored day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Becomes {
    /// Nothing: it is stored already, whatever format or window brings it again.
    Same,
    /// The same amounts with other references, by another statement of the same bank, which does not say
    /// which of the two it made later: the first one stands.
    Reworded,
    /// The bank made it before the one that stands.
    Outdated,
    /// An export of the day with fewer lines than the one that stands, which came while the day was not over.
    Shorter,
    /// The bank corrects its statement, or an unfinished day had more lines in the end.
    Revised(Change),
    /// Lines came before any statement and the statement proves them; those at `new` come to them.
    Proves { new: Vec<usize> },
    /// Two statements say different things.
    Disputed,
}

/// How many lines a revision brings, takes back, and changes (one of each with one reference).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) added: usize,
    pub(super) removed: usize,
    pub(super) changed: usize,
}

impl Change {
    pub(super) fn add(&mut self, other: Change) {
        self.added += other.added;
        self.removed += other.removed;
        self.changed += other.changed;
    }
}

/// Compares what is read (`said`) with what stands (`stored`).
pub(super) fn judge(stored: &Said<'_>, said: &Said<'_>, relation: Relation) -> Becomes {
    let Some(stored_balances) = stored.balances else {
        return match unmatched(&stored.lines, &said.lines) {
            Some(new) => Becomes::Proves { new },
            None => Becomes::Disputed,
        };
    };
    let same_balances = Some(stored_balances) == said.balances;
    let same_opening = said.balances.map(|b| b.0) == Some(stored_balances.0);
    // Exports of one unfinished day are one statement by name; the one with fewer lines is the earlier one,
    // whichever came first.
    let earlier = same_opening && relation.said_open && contains(&stored.lines, &said.lines);
    let shorter = if relation.day_over {
        Becomes::Disputed
    } else {
        Becomes::Shorter
    };
    let fewer = said.lines.len() < stored.lines.len() || !same_balances;
    if relation.same_statement && relation.stored_open && earlier {
        return if fewer { shorter } else { Becomes::Same };
    }
    let same_amounts = same_balances && amounts(&stored.lines) == amounts(&said.lines);
    if relation.same_statement || (relation.same_family && same_amounts) {
        let change = change(&stored.lines, &said.lines);
        return match relation.made.0 {
            _ if same_balances && change == Change::default() => Becomes::Same,
            _ if relation.is_copy => Becomes::Disputed,
            Ordering::Less => Becomes::Outdated,
            Ordering::Equal if !relation.same_statement => Becomes::Reworded,
            _ => Becomes::Revised(change),
        };
    }
    if same_amounts {
        return Becomes::Same;
    }
    if same_opening && relation.stored_open && contains(&said.lines, &stored.lines) {
        return Becomes::Revised(change(&stored.lines, &said.lines));
    }
    if earlier {
        return if fewer { shorter } else { Becomes::Same };
    }
    Becomes::Disputed
}

/// The difference between two versions of a statement's day.
pub(super) fn change(stored: &[Line<'_>], said: &[Line<'_>]) -> Change {
    let here: HashSet<&str> = said.iter().map(|l| l.id).collect();
    let there: HashSet<&str> = stored.iter().map(|l| l.id).collect();
    let mut gone: HashMap<&str, usize> = HashMap::new();
    let mut removed = 0;
    for line in stored.iter().filter(|l| !here.contains(l.id)) {
        removed += 1;
        *gone.entry(line.reference).or_default() += 1;
    }
    let (mut added, mut changed) = (0, 0);
    for line in said.iter().filter(|l| !there.contains(l.id)) {
        match gone.get_mut(line.reference) {
            Some(n) if *n > 0 && !line.reference.is_empty() => {
                *n -= 1;
                changed += 1;
                removed -= 1;
            }
            _ => added += 1,
        }
    }
    Change {
        added,
        removed,
        changed,
    }
}

fn amounts(lines: &[Line<'_>]) -> Vec<i64> {
    let mut amounts: Vec<i64> = lines.iter().map(|l| l.fen).collect();
    amounts.sort_unstable();
    amounts
}

/// Whether every line of `part` is a line of `whole`. Identities number equal lines, so they compare as
/// multisets.
fn contains(whole: &[Line<'_>], part: &[Line<'_>]) -> bool {
    let ids: HashSet<&str> = whole.iter().map(|l| l.id).collect();
    part.iter().all(|l| ids.contains(l.id))
}

/// Places in `said` that no stored line explains, or `None` where a stored line is not among `said`. A
/// line is explained by its amount and reference, else by its amount: two senders name lines differently.
pub(super) fn unmatched(stored: &[Line<'_>], said: &[Line<'_>]) -> Option<Vec<usize>> {
    let mut free = vec![true; said.len()];
    let mut left = Vec::new();
    let mut by_both: HashMap<(i64, &str), Vec<usize>> = HashMap::new();
    let mut by_fen: HashMap<i64, Vec<usize>> = HashMap::new();
    for (at, line) in said.iter().enumerate().rev() {
        by_both
            .entry((line.fen, line.reference))
            .or_default()
            .push(at);
        by_fen.entry(line.fen).or_default().push(at);
    }
    for line in stored {
        let exact = by_both.get_mut(&(line.fen, line.reference));
        match exact.and_then(Vec::pop) {
            Some(at) => free[at] = false,
            None => left.push(line),
        }
    }
    for line in left {
        let candidates = by_fen.get_mut(&line.fen)?;
        let at = loop {
            let at = candidates.pop()?;
            if free[at] {
                break at;
            }
        };
        free[at] = false;
    }
    Some((0..said.len()).filter(|at| free[*at]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(balances: (i64, i64), lines: &[(&'static str, i64)]) -> Said<'static> {
        Said {
            balances: Some(balances),
            lines: lines
                .iter()
                .map(|(id, fen)| Line {
                    fen: *fen,
                    id,
                    reference: id.trim_end_matches('\''),
                })
                .collect(),
        }
    }

    #[test]
    fn the_same_day_in_another_format_is_the_same() {
        let stored = said((0, 5), &[("a", 2), ("b", 3)]);
        let other = said((0, 5), &[("x", 3), ("y", 2)]);
        let becomes = judge(&stored, &other, Relation::default());
        assert_eq!(becomes, Becomes::Same);
        let netted = said((0, 5), &[("z", 5)]);
        let becomes = judge(&stored, &netted, Relation::default());
        assert_eq!(becomes, Becomes::Disputed, "one line is not two");
    }

    #[test]
    fn a_statement_sent_again_with_other_content_is_a_revision() {
        let relation = Relation {
            same_statement: true,
            ..Relation::default()
        };
        let stored = said((0, 6), &[("a", 2), ("b", 3), ("c", 1)]);
        let again = said((0, 9), &[("a", 2), ("b'", 4), ("d", 3)]);
        let becomes = judge(&stored, &again, relation);
        let change = Change {
            added: 1,
            removed: 1,
            changed: 1,
        };
        assert_eq!(becomes, Becomes::Revised(change));
        assert_eq!(judge(&stored, &stored.clone(), relation), Becomes::Same);
    }

    #[test]
    fn of_two_versions_the_one_made_later_holds_in_either_order() {
        let original = said((0, 6), &[("a", 2), ("b", 4)]);
        let corrected = said((0, 5), &[("a", 2), ("c", 3)]);
        let of_one = |age| Relation {
            same_statement: true,
            same_family: true,
            made: Age(age),
            ..Relation::default()
        };
        let change = Change {
            added: 1,
            removed: 1,
            changed: 0,
        };
        let later = of_one(Ordering::Greater);
        let becomes = judge(&original, &corrected, later);
        assert_eq!(becomes, Becomes::Revised(change));
        let earlier = of_one(Ordering::Less);
        assert_eq!(judge(&corrected, &original, earlier), Becomes::Outdated);
        let again = judge(&corrected, &corrected.clone(), earlier);
        assert_eq!(again, Becomes::Same);
    }

    #[test]
    fn a_copy_that_differs_corrects_nothing() {
        let stored = said((0, 5), &[("a", 2), ("b", 3)]);
        let other = said((0, 6), &[("a", 2), ("c", 4)]);
        let copy = Relation {
            same_statement: true,
            is_copy: true,
            made: Age(Ordering::Greater),
            ..Relation::default()
        };
        assert_eq!(judge(&stored, &other, copy), Becomes::Disputed);
        assert_eq!(judge(&stored, &stored.clone(), copy), Becomes::Same);
    }

    #[test]
    fn other_references_under_another_number_are_not_swallowed() {
        let first = said((0, 5), &[("a", 2), ("b", 3)]);
        let second = said((0, 5), &[("a", 2), ("c", 3)]);
        let of = |age| Relation {
            same_family: true,
            made: Age(age),
            ..Relation::default()
        };
        let becomes = |age| judge(&first, &second, of(age));
        assert_eq!(becomes(Ordering::Equal), Becomes::Reworded);
        assert_eq!(becomes(Ordering::Less), Becomes::Outdated);
        assert!(matches!(becomes(Ordering::Greater), Becomes::Revised(_)));
        let other_format = judge(&first, &second, Relation::default());
        assert_eq!(
            other_format,
            Becomes::Same,
            "formats name lines differently"
        );
    }

    #[test]
    fn windows_of_an_unfinished_day_grow_and_never_double_in_either_order() {
        let noon = said((0, 4), &[("fee-1", 2), ("fee-2", 2)]);
        let night = said((0, 9), &[("fee-1", 2), ("fee-2", 2), ("c", 5)]);
        let stored_open = Relation {
            stored_open: true,
            ..Relation::default()
        };
        let said_open = Relation {
            said_open: true,
            ..Relation::default()
        };
        let grown = Change {
            added: 1,
            ..Change::default()
        };
        assert_eq!(judge(&noon, &night, stored_open), Becomes::Revised(grown));
        assert_eq!(judge(&night, &noon, said_open), Becomes::Shorter);
        let too_late = Relation {
            day_over: true,
            ..said_open
        };
        // Once the day is over, fewer lines are another word on it.
        assert_eq!(judge(&night, &noon, too_late), Becomes::Disputed);
        let one_period = Relation {
            same_statement: true,
            stored_open: true,
            said_open: true,
            ..Relation::default()
        };
        assert_eq!(judge(&noon, &night, one_period), Becomes::Revised(grown));
        assert_eq!(judge(&night, &noon, one_period), Becomes::Shorter);
        // A day that was over cannot grow, and a day that shrinks is no window of it.
        assert_eq!(judge(&noon, &night, Relation::default()), Becomes::Disputed);
        let lost = said((0, 2), &[("fee-1", 2)]);
        assert_eq!(judge(&noon, &lost, stored_open), Becomes::Disputed);
    }

    #[test]
    fn lines_without_a_statement_are_proved_by_it_and_not_doubled() {
        let lines = Said {
            balances: None,
            ..said((0, 0), &[("r", 2), ("s", 2)])
        };
        let mut statement = said((0, 9), &[("x", 2), ("s'", 2), ("n", 5)]);
        statement.lines[1].reference = "s";
        let becomes = judge(&lines, &statement, Relation::default());
        assert_eq!(becomes, Becomes::Proves { new: vec![2] });
        let other = said((0, 2), &[("x", 2)]);
        let becomes = judge(&lines, &other, Relation::default());
        assert_eq!(becomes, Becomes::Disputed, "a line the bank does not have");
    }
}
