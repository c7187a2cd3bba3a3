//! The rows of one account and currency, and the balances its running balance proves.

use rust_decimal::Decimal;

use crate::base::{Defect, DefectCode};
use crate::wire::{Balance, Entry, Statement};

/// The rows of one account and currency.
pub(super) struct Group {
    pub(super) account: Option<String>,
    pub(super) currency: Option<String>,
    pub(super) entries: Vec<Entry>,
    pub(super) balances: Vec<Option<Decimal>>,
    pub(super) masked: Option<u64>,
}

/// What a footer says money in and money out add up to.
pub(super) type Declared = (Option<Decimal>, Option<Decimal>);

impl Group {
    /// Period as stated and from the rows, balances from the running balance where it links.
    pub(super) fn settle(&self, head: &mut Statement) -> Option<Defect> {
        let stated = head.period.into_iter().flat_map(|(from, to)| [from, to]);
        let days = self
            .entries
            .iter()
            .filter_map(|entry| entry.booked_on)
            .chain(stated);
        head.period = days.clone().min().zip(days.max());
        if let Some(line) = self.masked {
            let found = "a running balance is not an amount; the running balance is not used";
            return Some(
                Defect::new(DefectCode::BadAmount, found)
                    .line(line)
                    .column("Balance"),
            );
        }
        let balances: Option<Vec<Decimal>> = self.balances.iter().copied().collect();
        let balances = balances.filter(|balances| !balances.is_empty())?;
        let (first_day, last_day) = head.period?;
        let amount = |at: usize| self.entries[at].amount;
        let last = balances.len() - 1;
        let links = |before: usize, after: usize| {
            balances[before].checked_add(amount(after)) == Some(balances[after])
        };
        let (oldest, newest) = if (1..=last).all(|i| links(i - 1, i)) {
            (0, last)
        } else if (1..=last).all(|i| links(i, i - 1)) {
            (last, 0)
        } else {
            let found =
                "the running balances link neither downwards nor upwards; they are not used";
            return Some(Defect::new(DefectCode::OutOfOrder, found).column("Balance"));
        };
        let balance = |amount, day| Balance {
            amount,
            day: Some(day),
            kind: "running".to_owned(),
        };
        head.opening = Some(balance(balances[oldest] - amount(oldest), first_day));
        head.closing = Some(balance(balances[newest], last_day));
        None
    }

    pub(super) fn check_totals(&self, (said_in, said_out): Declared) -> Option<Defect> {
        let sum = |keep: fn(&Decimal) -> bool| {
            self.entries
                .iter()
                .map(|e| e.amount)
                .filter(keep)
                .map(|a| a.abs())
                .sum::<Decimal>()
        };
        let income = sum(|amount| *amount > Decimal::ZERO);
        let outgo = sum(|amount| *amount < Decimal::ZERO);
        let agrees =
            said_in.is_none_or(|said| said == income) && said_out.is_none_or(|said| said == outgo);
        (!agrees).then(|| {
            let found =
                format!("the footer's totals differ from the rows, {income} in and {outgo} out");
            Defect::new(DefectCode::DeclaredTotals, found)
        })
    }
}
