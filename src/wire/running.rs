//! The running balance of a list of rows: what it proves, in which order.
//!
//! Invariants: every link is checked; the order is found, never assumed; rows that link in neither
//! order give no balances and an `OUT_OF_ORDER` remark with the first row that does not link; so do
//! rows that begin or end elsewhere than the file declares. Such a statement is `unordered` and proves
//! nothing, whatever balances it declares.

use rust_decimal::Decimal;

use super::{Balance, Entry, Statement};
use crate::base::{Day, Defect, DefectCode};

/// The type of a balance taken from a running column.
pub(crate) const RUNNING: &str = "running";
/// The type of one that stands between two pages of a reply; [`super::join_pages`] joins there, and
/// it closes no day.
pub(crate) const BETWEEN_PAGES: &str = "ITBD";

/// Opening, closing and period of a statement from its rows and the balance behind each row, oldest
/// first or newest first. The period of the head is widened to the days of the rows.
pub(crate) fn settle(
    head: &mut Statement,
    entries: &[Entry],
    balances: &[Option<Decimal>],
    column: &str,
) -> Option<Defect> {
    let stated = head.period.into_iter().flat_map(|(from, to)| [from, to]);
    let days = entries.iter().filter_map(|e| e.booked_on).chain(stated);
    head.period = days.clone().min().zip(days.max());
    let known: Option<Vec<Decimal>> = balances.iter().copied().collect();
    let known = known.filter(|known| !known.is_empty() && known.len() == entries.len())?;
    match ends(entries, &known) {
        Ok((opening, closing)) => {
            let (first, last) = head.period.unzip();
            head.unordered = false;
            head.opening = Some(balance(opening, first));
            head.closing = Some(balance(closing, last));
            None
        }
        Err(at) => {
            let line = entries.get(at).map_or(1, |entry| entry.line);
            let found =
                "the running balances link neither downwards nor upwards; they are not used";
            head.unordered = true;
            let defect = Defect::new(DefectCode::OutOfOrder, found);
            Some(defect.line(line).column(column))
        }
    }
}

/// Puts the balances a file declares in the place of those its rows gave, which must be the same.
pub(crate) fn declare(
    head: &mut Statement,
    (opening, closing): (Option<Balance>, Option<Balance>),
    column: &str,
) -> Option<Defect> {
    let differs = |declared: &Option<Balance>, found: &Option<Balance>, what: &str| {
        let (declared, found) = (declared.as_ref()?.amount, found.as_ref()?.amount);
        (declared != found).then(|| {
            format!("the file declares {what} of {declared}, its running balances give {found}")
        })
    };
    let differs = differs(&opening, &head.opening, "an opening balance")
        .or_else(|| differs(&closing, &head.closing, "a closing balance"));
    head.opening = opening.or(head.opening.take());
    head.closing = closing.or(head.closing.take());
    let found = differs?;
    head.unordered = true;
    Some(Defect::new(DefectCode::OutOfOrder, found).column(column))
}

fn balance(amount: Decimal, day: Option<Day>) -> Balance {
    Balance {
        amount,
        day,
        kind: RUNNING.to_owned(),
    }
}

/// Opening and closing, or the index of the first row that links to its neighbour in neither order.
fn ends(entries: &[Entry], balances: &[Decimal]) -> Result<(Decimal, Decimal), usize> {
    let last = balances.len() - 1;
    let links = |before: usize, after: usize| {
        balances[before].checked_add(entries[after].amount) == Some(balances[after])
    };
    let downwards = (1..=last).find(|at| !links(at - 1, *at));
    let upwards = (1..=last).find(|at| !links(*at, at - 1));
    let (oldest, newest) = match (downwards, upwards) {
        (None, _) => (0, last),
        (_, None) => (last, 0),
        // The better of the two orders shows where the break is.
        (Some(down), Some(up)) => return Err(down.max(up)),
    };
    let opening = balances[oldest].checked_sub(entries[oldest].amount);
    opening
        .map(|opening| (opening, balances[newest]))
        .ok_or(oldest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(rows: &[(i64, i64)]) -> (Option<(i64, i64)>, Option<u64>) {
        let entries: Vec<Entry> = (1..)
            .zip(rows)
            .map(|(line, (amount, _))| Entry {
                amount: Decimal::from(*amount),
                line,
                ..Entry::default()
            })
            .collect();
        let balances: Vec<_> = rows.iter().map(|(_, b)| Some(Decimal::from(*b))).collect();
        let mut head = Statement::default();
        let defect = settle(&mut head, &entries, &balances, "b");
        let whole = |b: Balance| i64::try_from(b.amount).unwrap();
        let ends = head.opening.map(whole).zip(head.closing.map(whole));
        (ends, defect.and_then(|d| d.place.line))
    }

    #[test]
    fn either_order_proves_and_neither_is_named() {
        assert_eq!(
            settled(&[(5, 15), (-3, 12), (1, 13)]),
            (Some((10, 13)), None)
        );
        assert_eq!(
            settled(&[(1, 13), (-3, 12), (5, 15)]),
            (Some((10, 13)), None)
        );
        assert_eq!(settled(&[(5, 15), (-3, 12), (1, 14)]), (None, Some(3)));
        assert_eq!(settled(&[]), (None, None));
    }
}
