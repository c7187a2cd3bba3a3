//! The rows of a bank's own export, whatever they came from, bound to columns through a
//! [`super::profile`] and told apart by account and currency.
//!
//! The file is preamble, header, rows, footer. Preamble lines such as `账号,6217…` give account,
//! currency and balances; footers are recognised by their words, never by position, and a total
//! they declare is compared. Blank, `-`, `--` and `/` mean absent, not zero.
//!
//! Invariants: a row without a readable day or amount refuses the file; the running balance is used
//! only where every row links to its neighbour, in ascending or descending order, and gives opening
//! (first balance − first amount) and closing then; where it links in neither order, or begins or
//! ends elsewhere than the preamble declares, the statement says `OUT_OF_ORDER` and proves nothing. Rows keep the order of the file. A file of several
//! accounts or currencies gives one statement each. An account or reference that a spreadsheet has
//! turned into a number of more than 15 digits is gone, and refuses the file.
//! Absent on purpose: guessing decimal commas (`1.234,56` is refused) and years; a day without a
//! year takes the one nearest to the month the bill names.

use std::collections::HashMap;

use rust_decimal::Decimal;

use super::group::{COLUMN, Declared, Group};
use super::preamble::Preamble;
use super::profile::{Binding, Column, Perspective, currency_code, key};
use crate::base::{Day, Defect, DefectCode};
use crate::wire::amount::{cell, cell_day, nearest_day};
use crate::wire::xml::clip;
use crate::wire::{
    Balance, DEFECTS_MAX, Entry, EntryStatus, Item, Reversal, Sink, Statement, running,
};

/// How many accounts one file may interleave.
const ACCOUNTS_MAX: usize = 10_000;
/// How many cells a row may have.
pub(super) const COLUMNS_MAX: usize = 512;
/// Columns whose text must be exact to the last digit.
pub(super) const EXACT_COLUMNS: [Column; 3] = [
    Column::Account,
    Column::Reference,
    Column::CustomerReference,
];

/// A file while its rows are taken in.
pub(super) struct Table {
    /// The format's family, `bank-csv`, at the head of its name.
    family: &'static str,
    pub(super) binding: Binding,
    preamble: Preamble,
    groups: Vec<Group>,
    index: HashMap<(Option<String>, Option<String>), usize>,
    totals: Option<Declared>,
    remarks: Vec<Defect>,
}

impl Table {
    pub(super) fn new(family: &'static str, binding: Binding) -> Table {
        Table {
            family,
            binding,
            preamble: Preamble::default(),
            groups: Vec::new(),
            index: HashMap::new(),
            totals: None,
            remarks: Vec::new(),
        }
    }

    /// Takes a row that stands before the header.
    ///
    /// # Errors `TOO_LARGE`.
    pub(super) fn before(&mut self, cells: &[String], line: u64) -> Result<(), Defect> {
        check_width(cells.len(), line)?;
        self.preamble.take(cells, self.binding.profile);
        Ok(())
    }

    /// Takes a row that stands behind the header: an entry, a footer, or nothing.
    ///
    /// # Errors
    /// The defect that refuses the file.
    pub(super) fn row(&mut self, cells: &[String], line: u64) -> Result<(), Defect> {
        check_width(cells.len(), line)?;
        match self.footer(cells) {
            Some(totals) => self.totals = totals.or(self.totals),
            None => self.entry(cells, line)?,
        }
        Ok(())
    }

    /// Whether the preamble has named the account.
    pub(super) fn names_account(&self) -> bool {
        self.preamble.account.is_some()
    }

    /// Adds a remark, shown with the first statement.
    pub(super) fn remark(&mut self, defect: Defect) {
        if self.remarks.len() < DEFECTS_MAX {
            self.remarks.push(defect);
        }
    }

    /// Whether cells look like a row of the table: a day stands where days stand.
    pub(super) fn is_row(&self, cells: &[String]) -> bool {
        self.one(cells, Column::Date)
            .is_some_and(|date| self.day(&date).is_some())
    }

    /// Whether a row is blank or a footer, and the totals it declares.
    fn footer(&self, cells: &[String]) -> Option<Option<Declared>> {
        if cells.iter().all(|text| present(text).is_none()) {
            return Some(None);
        }
        if self.is_row(cells) {
            return None;
        }
        let first = key(cells.iter().find_map(|text| present(text))?);
        let footers = &self.binding.profile.footers;
        if !footers.iter().any(|word| first.contains(word.as_str())) {
            return None;
        }
        let sum = |column| self.one(cells, column).and_then(|text| cell(&text));
        let sums = (sum(Column::MoneyIn), sum(Column::MoneyOut));
        let declares = first.contains("合计") && sums != (None, None);
        Some(declares.then_some(sums))
    }

    /// The day of a cell; one without a year belongs to the month the bill names.
    fn day(&self, text: &str) -> Option<Day> {
        cell_day(text).or_else(|| {
            let (month, day) = text.trim().split_once('/')?;
            let short = |part: &str| matches!(part.len(), 1 | 2);
            let fits = short(month) && short(day);
            fits.then(|| nearest_day(&format!("{month:0>2}{day:0>2}"), self.preamble.month?))
                .flatten()
        })
    }

    fn entry(&mut self, cells: &[String], line: u64) -> Result<(), Defect> {
        self.check_numbers(cells, line)?;
        let date = self.one(cells, Column::Date).unwrap_or_default();
        let booked_on = self.day(&date).ok_or_else(|| {
            let found = format!("{:?} is not a day with its year", clip(&date));
            self.defect(DefectCode::BadDate, found, line, Column::Date)
        })?;
        let (amount, priced_in) = self.amount(cells, line)?;
        let value_on = self
            .one(cells, Column::ValueDate)
            .and_then(|text| self.day(&text));
        let profile = self.binding.profile;
        let currency = self
            .one(cells, Column::Currency)
            .and_then(|text| currency_code(&text))
            .or(priced_in)
            .or_else(|| self.preamble.currency.clone())
            .or_else(|| profile.default_currency.clone());
        let account = self
            .one(cells, Column::Account)
            .or_else(|| self.preamble.account.clone());
        let (balance, masked) = match self.one(cells, Column::Balance) {
            Some(text) => (cell(&text), cell(&text).is_none().then_some(line)),
            None => (None, None),
        };
        let memo: Vec<String> = self
            .binding
            .cells(Column::Memo)
            .iter()
            .filter_map(|at| filled(cells, *at))
            .collect();
        let code = self.one(cells, Column::Code);
        let memo = memo.join(" ");
        let entry = Entry {
            status: EntryStatus::Booked,
            amount,
            currency: currency.clone().unwrap_or_default(),
            booked_on: Some(booked_on),
            value_on,
            customer_ref: self.one(cells, Column::CustomerReference),
            bank_ref: self.one(cells, Column::Reference),
            reversal: Reversal::in_words([code.as_deref().unwrap_or_default(), &memo]),
            details: Vec::new(),
            code,
            counterparty: self.one(cells, Column::Counterparty),
            memo,
            line,
        };
        let group = self.group(account, currency, line)?;
        group.entries.push(entry);
        group.balances.push(balance);
        group.masked = group.masked.or(masked);
        Ok(())
    }

    fn group(
        &mut self,
        account: Option<String>,
        currency: Option<String>,
        line: u64,
    ) -> Result<&mut Group, Defect> {
        let next = self.groups.len();
        let at = *self
            .index
            .entry((account.clone(), currency.clone()))
            .or_insert(next);
        if at == next {
            if next >= ACCOUNTS_MAX {
                let found = format!(
                    "the file interleaves more than {ACCOUNTS_MAX} accounts (limit ACCOUNTS_MAX)"
                );
                return Err(Defect::new(DefectCode::TooLarge, found).line(line));
            }
            let (entries, balances) = (Vec::new(), Vec::new());
            self.groups.push(Group {
                account,
                currency,
                entries,
                balances,
                masked: None,
            });
        }
        Ok(&mut self.groups[at])
    }

    /// An account or reference in exponent form has lost its last digits in a spreadsheet.
    fn check_numbers(&self, cells: &[String], line: u64) -> Result<(), Defect> {
        let exponent = |text: &str| {
            let (digits, power) = text.split_once(['E', 'e'])?;
            let power = power.strip_prefix('+')?;
            let number = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            (!digits.is_empty() && number(digits) && !power.is_empty() && number(power))
                .then_some(())
        };
        for column in EXACT_COLUMNS {
            let Some(text) = self.one(cells, column) else {
                continue;
            };
            if exponent(&text).is_some() {
                let found = format!(
                    "{:?} is a number with its last digits cut off; send the column as text",
                    clip(&text)
                );
                return Err(self.defect(DefectCode::BadId, found, line, column));
            }
        }
        Ok(())
    }

    /// The signed amount of a row, with the currency written before it: two columns, or one signed,
    /// or one beside a mark.
    fn amount(&self, cells: &[String], line: u64) -> Result<(Decimal, Option<String>), Defect> {
        let money_in = self.number(cells, Column::MoneyIn, line)?;
        let money_out = self.number(cells, Column::MoneyOut, line)?;
        let books = self.binding.profile.perspective == Perspective::Books;
        let turn = |amount: Decimal| if books { -amount } else { amount };
        match (money_in, money_out) {
            (Some((income, currency)), None) => return Ok((turn(income), currency)),
            (None, Some((outgo, currency))) => return Ok((turn(-outgo), currency)),
            // Banks fill the other column with 0.00; both filled is a net the row does not explain.
            (Some((income, one)), Some((outgo, other))) if income.is_zero() || outgo.is_zero() => {
                return Ok((turn(income - outgo), one.or(other)));
            }
            (Some(_), Some(_)) => {
                let found = "money in and money out are both filled";
                return Err(self.defect(DefectCode::BadAmount, found, line, Column::MoneyIn));
            }
            (None, None) => {}
        }
        let (amount, currency) = self.number(cells, Column::Amount, line)?.ok_or_else(|| {
            self.defect(
                DefectCode::MissingValue,
                "the row has no amount",
                line,
                Column::Amount,
            )
        })?;
        let Some(mark) = self.one(cells, Column::Direction) else {
            return Ok((turn(amount), currency));
        };
        let word = key(&mark);
        let is = |marks: &[String]| marks.contains(&word);
        if is(&self.binding.profile.credit_marks) {
            Ok((turn(amount), currency))
        } else if is(&self.binding.profile.debit_marks) {
            // Some banks mark the direction and sign the amount as well.
            let amount = if amount > Decimal::ZERO {
                -amount
            } else {
                amount
            };
            Ok((turn(amount), currency))
        } else {
            let found = format!("{:?} is neither money in nor money out", clip(&mark));
            Err(self.defect(DefectCode::BadCode, found, line, Column::Direction))
        }
    }

    fn number(
        &self,
        cells: &[String],
        column: Column,
        line: u64,
    ) -> Result<Option<(Decimal, Option<String>)>, Defect> {
        let Some(text) = self.one(cells, column) else {
            return Ok(None);
        };
        let amount = cell(&text)
            .map(|amount| (amount, None))
            .or_else(|| priced(&text));
        amount.map(Some).ok_or_else(|| {
            let found = format!("{:?} is not an amount", clip(&text));
            self.defect(DefectCode::BadAmount, found, line, column)
        })
    }

    fn one(&self, cells: &[String], column: Column) -> Option<String> {
        self.binding
            .cells(column)
            .first()
            .and_then(|at| filled(cells, *at))
    }

    fn defect(
        &self,
        code: DefectCode,
        found: impl Into<String>,
        line: u64,
        column: Column,
    ) -> Defect {
        let name = format!("{column:?} of profile {}", self.binding.profile.name);
        Defect::new(code, found).line(line).column(name)
    }

    /// Gives the statements.
    pub(super) fn finish(mut self, sink: &mut Sink<'_>) {
        if let Some(found) = &self.binding.profile.remark {
            self.remarks
                .insert(0, Defect::new(DefectCode::BadCode, found));
        }
        let format = format!("{}:{}", self.family, self.binding.profile.name);
        let (totals, mut remarks) = (self.totals, self.remarks);
        let Preamble {
            account,
            currency,
            opening,
            closing,
            from,
            to,
            ..
        } = self.preamble;
        let stated = from.zip(to).filter(|(from, to)| from <= to);
        let mut groups = self.groups;
        if groups.is_empty() {
            let currency = currency.or_else(|| self.binding.profile.default_currency.clone());
            let (entries, balances) = (Vec::new(), Vec::new());
            groups.push(Group {
                account,
                currency,
                entries,
                balances,
                masked: None,
            });
        }
        let alone = groups.len() == 1;
        for group in groups {
            let mut head = Statement {
                format: format.clone(),
                account: group.account.clone(),
                currency: group.currency.clone(),
                period: stated,
                ..Statement::default()
            };
            let mut remark = group.settle(&mut head);
            if alone {
                let said = |amount: Option<Decimal>, day: Option<Day>| {
                    amount.map(|amount| Balance {
                        amount,
                        day,
                        kind: "preamble".to_owned(),
                    })
                };
                let (first, last) = head.period.unzip();
                let declared = (said(opening, first), said(closing, last));
                remark = remark.or(running::declare(&mut head, declared, COLUMN));
            }
            sink(Item::Open(head.clone()));
            remarks
                .drain(..)
                .chain(remark)
                .for_each(|defect| sink(Item::Defect(defect)));
            if let Some(defect) = totals.filter(|_| alone).and_then(|t| group.check_totals(t)) {
                sink(Item::Defect(defect));
            }
            group
                .entries
                .into_iter()
                .for_each(|entry| sink(Item::Entry(entry)));
            sink(Item::Close(head));
        }
    }
}

/// `CNY 123.18`, `CNY13.50`: an amount behind the code of its currency.
fn priced(text: &str) -> Option<(Decimal, Option<String>)> {
    let (code, rest) = text.trim().split_at_checked(3)?;
    let named = code.bytes().all(|b| b.is_ascii_uppercase());
    let currency = named.then(|| currency_code(code)).flatten()?;
    Some((cell(rest)?, Some(currency)))
}

/// # Errors `TOO_LARGE`.
pub(super) fn check_width(cells: usize, line: u64) -> Result<(), Defect> {
    if cells <= COLUMNS_MAX {
        return Ok(());
    }
    let found = format!("a row has more than {COLUMNS_MAX} cells (limit COLUMNS_MAX)");
    Err(Defect::new(DefectCode::TooLarge, found).line(line))
}

/// The text, unless it is a filler for nothing: blank, `/`, or dashes of any number.
pub(super) fn present(text: &str) -> Option<&str> {
    let text = text.trim();
    (!text.is_empty() && text != "/" && text.chars().any(|c| c != '-')).then_some(text)
}

fn filled(cells: &[String], at: usize) -> Option<String> {
    cells
        .get(at)
        .and_then(|text| present(text))
        .map(str::to_owned)
}
