//! Lines a bank takes back (冲正) or that come back (退汇), with the line they undo.

use std::collections::HashMap;

use super::super::facts::{Facts, Line};
use crate::ledger::Correction;

/// A credit and a debit of which one undoes the other, by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) credit: usize,
    pub(super) debit: usize,
}

/// Pairs marked lines with what they undo: the same account, amount and reference, the other direction, not
/// later than the mark; of several the latest. A line is undone once. A mark without such a line stays a
/// line like any other, and so does 补帐, which undoes nothing.
pub(super) fn pairs(facts: &Facts) -> Vec<Pair> {
    let undoes = |l: &Line| {
        matches!(
            l.correction,
            Some(Correction::Reversed | Correction::Returned)
        ) && !facts.text(l.reference).is_empty()
    };
    let marked_debits = marked(facts, &facts.debits, undoes);
    let marked_credits = marked(facts, &facts.credits, undoes);
    let debits = undone(facts, &marked_debits, &facts.debits, &facts.credits, undoes);
    let credits = undone(
        facts,
        &marked_credits,
        &facts.credits,
        &facts.debits,
        undoes,
    );
    let of_debits = debits
        .into_iter()
        .map(|(debit, credit)| Pair { credit, debit });
    let of_credits = (credits.into_iter()).map(|(credit, debit)| Pair { credit, debit });
    of_debits.chain(of_credits).collect()
}

/// Places of marked lines, oldest first.
fn marked(facts: &Facts, lines: &[Line], undoes: impl Fn(&Line) -> bool) -> Vec<usize> {
    let mut places: Vec<usize> = (0..lines.len()).filter(|i| undoes(&lines[*i])).collect();
    places.sort_unstable_by_key(|i| (lines[*i].day, facts.text(lines[*i].id)));
    places
}

/// For each marked line the line of the other direction it undoes, where there is one.
fn undone(
    facts: &Facts,
    marked: &[usize],
    lines: &[Line],
    others: &[Line],
    undoes: impl Fn(&Line) -> bool,
) -> Vec<(usize, usize)> {
    if marked.is_empty() {
        return Vec::new();
    }
    let key = |l: &Line| (l.account_no, l.amount.fen(), facts.text(l.reference));
    let mut originals: HashMap<(i64, i64, &str), Vec<usize>> = HashMap::new();
    for (at, other) in others.iter().enumerate().filter(|(_, l)| !undoes(l)) {
        originals.entry(key(other)).or_default().push(at);
    }
    for places in originals.values_mut() {
        places.sort_unstable_by_key(|i| (others[*i].day, facts.text(others[*i].id)));
    }
    let mut found = Vec::new();
    for mark in marked {
        let line = &lines[*mark];
        if let Some(places) = originals.get_mut(&key(line)) {
            let until = places.partition_point(|i| others[*i].day <= line.day);
            if until > 0 {
                found.push((*mark, places.remove(until - 1)));
            }
        }
    }
    found
}
