//! The rows of one account and currency, and the balances its running balance proves.

use rust_decimal::Decimal;

use crate::base::{Defect, DefectCode};
use crate::wire::{Entry, Statement, running};

/// What places of the running balance are called.
pub(super) const COLUMN: &str = "Balance";

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
        let remark = running::settle(head, &self.entries, &self.balances, COLUMN);
        let Some(line) = self.masked else {
            return remark;
        };
        let found = "a running balance is not an amount; the running balance is not used";
        let defect = Defect::new(DefectCode::BadAmount, found);
        Some(defect.line(line).column(COLUMN))
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
