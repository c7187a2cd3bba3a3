//! A bank's own CSV export, read through a [`super::profile`].
//!
//! The file is preamble, header, rows, footer. Preamble lines such as `账号,6217…` give account,
//! currency and balances; footers are recognised by their words, never by position, and a total
//! they declare is compared. Blank, `-`, `--` and `/` mean absent, not zero; `="0123"` is the text
//! 0123.
//!
//! Invariants: a row without a readable day or amount refuses the file; the running balance is used
//! only where every row links to its neighbour, in ascending or descending order, and gives opening
//! (first balance − first amount) and closing then; where it links in neither order the statement
//! has no balances and says `OUT_OF_ORDER`. Rows keep the order of the file. A file of several
//! accounts or currencies gives one statement each.
//! Absent on purpose: guessing decimal commas (`1.234,56` is refused) and years.

use std::collections::HashMap;

use rust_decimal::Decimal;

use super::amount::{cell, cell_day, some_text};
use super::profile::{Binding, Column, Perspective, Profile, currency_code, detect, key, split};
use super::xml::clip;
use super::{Balance, Entry, EntryStatus, Item, Reversal, Sink, Statement};
use crate::base::{Day, Defect, DefectCode};

/// How many accounts one file may interleave.
const ACCOUNTS_MAX: usize = 10_000;

/// Whether the head of a text is such an export.
pub(crate) fn recognises(head: &str) -> bool {
    detect(head).is_some()
}

/// Reads one file.
///
/// # Errors
/// The defect that refuses it.
pub(crate) fn read(text: &str, sink: &mut Sink<'_>) -> Result<(), Defect> {
    let binding = detect(text).ok_or_else(|| {
        let found = "no header line has a date and an amount column of a known profile";
        Defect::new(DefectCode::MissingColumn, found)
    })?;
    let mut preamble = Preamble::default();
    for line in text[..binding.header.start].lines() {
        let cells: Vec<String> = split(line, binding.delimiter)
            .iter()
            .map(|c| unwrap_cell(c))
            .collect();
        preamble.take(&cells, binding.profile);
    }
    let rows = &text[binding.header.end..];
    let mut file = File {
        binding,
        preamble,
        groups: Vec::new(),
        index: HashMap::new(),
    };
    let totals = file.rows(rows)?;
    file.push_all(totals, sink);
    Ok(())
}

struct File {
    binding: Binding,
    preamble: Preamble,
    groups: Vec<Group>,
    index: HashMap<(Option<String>, Option<String>), usize>,
}

/// The rows of one account and currency.
struct Group {
    account: Option<String>,
    currency: Option<String>,
    entries: Vec<Entry>,
    balances: Vec<Option<Decimal>>,
    masked: Option<u64>,
}

#[derive(Default)]
struct Preamble {
    account: Option<String>,
    currency: Option<String>,
    opening: Option<Decimal>,
    closing: Option<Decimal>,
    from: Option<Day>,
    to: Option<Day>,
}

/// What a footer says money in and money out add up to.
type Declared = (Option<Decimal>, Option<Decimal>);

impl Preamble {
    /// Reads `key,value` and `key: value` pairs of one line.
    fn take(&mut self, cells: &[String], profile: &Profile) {
        for (at, text) in cells.iter().enumerate() {
            let split = text.split_once([':', '：']);
            let (name, value) = match split {
                Some((name, value)) if !value.trim().is_empty() => (name, value.to_owned()),
                Some((name, _)) => (name, next_filled(&cells[at + 1..])),
                None => (text.as_str(), next_filled(&cells[at + 1..])),
            };
            let name = key(name);
            let is = |keys: &[String]| keys.contains(&name);
            // `账号：6217… 户名：…`: the next pair of the cell is no part of the value.
            let value = match value.trim().split_once(char::is_whitespace) {
                Some((first, rest)) if rest.contains([':', '：']) => first.to_owned(),
                _ => value,
            };
            let Some(value) = some_text(&value) else {
                continue;
            };
            if is(&profile.account_keys) {
                self.account = self.account.take().or(Some(value));
            } else if is(&profile.currency_keys) {
                self.currency = self.currency.take().or(currency_code(&value));
            } else if is(&profile.opening_keys) {
                self.opening = cell(&value);
            } else if is(&profile.closing_keys) {
                self.closing = cell(&value);
            } else if is(&profile.from_keys) {
                self.from = cell_day(&value);
            } else if is(&profile.to_keys) {
                self.to = cell_day(&value);
            }
        }
    }
}

impl File {
    /// Reads all rows behind the header and gives the totals of the footer.
    fn rows(&mut self, text: &str) -> Result<Option<Declared>, Defect> {
        if ends_in_quotes(text, self.binding.delimiter) {
            let found = "the file ends inside a quoted cell";
            return Err(Defect::new(DefectCode::Truncated, found));
        }
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.binding.delimiter)
            .from_reader(text.as_bytes());
        let mut record = csv::StringRecord::new();
        let mut totals = None;
        loop {
            match reader.read_record(&mut record) {
                Ok(true) => {}
                Ok(false) => return Ok(totals),
                Err(e) => {
                    return Err(Defect::new(
                        DefectCode::Malformed,
                        format!("the CSV is broken: {e}"),
                    ));
                }
            }
            let line = self.binding.header_line + record.position().map_or(0, csv::Position::line);
            self.check_quotes(&record, line)?;
            let cells: Vec<String> = record.iter().map(unwrap_cell).collect();
            match self.footer(&cells) {
                Some(total) => totals = total.or(totals),
                None => self.row(&cells, line)?,
            }
        }
    }

    /// A missing quotation mark makes one cell of many rows, which must not be lost in silence.
    fn check_quotes(&self, record: &csv::StringRecord, line: u64) -> Result<(), Defect> {
        let is_row = |text: &str| {
            let cells = split(text, self.binding.delimiter);
            self.one(&cells, Column::Date)
                .is_some_and(|date| cell_day(&date).is_some())
        };
        let swallowed = |text: &str| text.contains('\n') && text.lines().skip(1).any(is_row);
        if record.iter().any(swallowed) {
            let found = "a quoted cell holds other rows: a quotation mark is missing";
            return Err(Defect::new(DefectCode::Malformed, found).line(line));
        }
        Ok(())
    }

    /// Whether a row is blank or a footer, and the totals it declares.
    fn footer(&self, cells: &[String]) -> Option<Option<Declared>> {
        if cells.iter().all(|text| present(text).is_none()) {
            return Some(None);
        }
        if self
            .one(cells, Column::Date)
            .and_then(|text| cell_day(&text))
            .is_some()
        {
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

    fn row(&mut self, cells: &[String], line: u64) -> Result<(), Defect> {
        let date = self.one(cells, Column::Date).unwrap_or_default();
        let booked_on = cell_day(&date).ok_or_else(|| {
            let found = format!("{:?} is not a day with its year", clip(&date));
            self.defect(DefectCode::BadDate, found, line, Column::Date)
        })?;
        let amount = self.amount(cells, line)?;
        let value_on = self
            .one(cells, Column::ValueDate)
            .and_then(|text| cell_day(&text));
        let profile = self.binding.profile;
        let currency = self
            .one(cells, Column::Currency)
            .and_then(|text| currency_code(&text))
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

    /// The signed amount of a row: two columns, or one signed, or one beside a mark.
    fn amount(&self, cells: &[String], line: u64) -> Result<Decimal, Defect> {
        let money_in = self.number(cells, Column::MoneyIn, line)?;
        let money_out = self.number(cells, Column::MoneyOut, line)?;
        let books = self.binding.profile.perspective == Perspective::Books;
        let turn = |amount: Decimal| if books { -amount } else { amount };
        match (money_in, money_out) {
            (Some(income), None) => return Ok(turn(income)),
            (None, Some(outgo)) => return Ok(turn(-outgo)),
            // Banks fill the other column with 0.00; both filled is a net the row does not explain.
            (Some(income), Some(outgo)) if income.is_zero() || outgo.is_zero() => {
                return Ok(turn(income - outgo));
            }
            (Some(_), Some(_)) => {
                let found = "money in and money out are both filled";
                return Err(self.defect(DefectCode::BadAmount, found, line, Column::MoneyIn));
            }
            (None, None) => {}
        }
        let amount = self.number(cells, Column::Amount, line)?.ok_or_else(|| {
            self.defect(
                DefectCode::MissingValue,
                "the row has no amount",
                line,
                Column::Amount,
            )
        })?;
        let Some(mark) = self.one(cells, Column::Direction) else {
            return Ok(amount);
        };
        let word = key(&mark);
        let is = |marks: &[String]| marks.contains(&word);
        if is(&self.binding.profile.credit_marks) {
            Ok(turn(amount))
        } else if is(&self.binding.profile.debit_marks) {
            // Some banks mark the direction and sign the amount as well.
            Ok(turn(if amount > Decimal::ZERO {
                -amount
            } else {
                amount
            }))
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
    ) -> Result<Option<Decimal>, Defect> {
        let Some(text) = self.one(cells, column) else {
            return Ok(None);
        };
        cell(&text).map(Some).ok_or_else(|| {
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

    fn push_all(self, totals: Option<Declared>, sink: &mut Sink<'_>) {
        let format = format!("bank-csv:{}", self.binding.profile.name);
        let Preamble {
            account,
            currency,
            opening,
            closing,
            from,
            to,
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
            let remark = group.settle(&mut head);
            if alone {
                let said = |amount: Option<Decimal>, day: Option<Day>| {
                    amount.map(|amount| Balance {
                        amount,
                        day,
                        kind: "preamble".to_owned(),
                    })
                };
                head.opening = said(opening, head.period.map(|p| p.0)).or(head.opening);
                head.closing = said(closing, head.period.map(|p| p.1)).or(head.closing);
            }
            sink(Item::Open(head.clone()));
            remark
                .into_iter()
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

impl Group {
    /// Period as stated and from the rows, balances from the running balance where it links.
    fn settle(&self, head: &mut Statement) -> Option<Defect> {
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

    fn check_totals(&self, (said_in, said_out): Declared) -> Option<Defect> {
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

/// Whether a quoted cell is still open at the end of a text; a reader of CSV closes it in silence.
fn ends_in_quotes(text: &str, delimiter: u8) -> bool {
    let (mut quoted, mut at_start) = (false, true);
    for byte in text.bytes() {
        if quoted {
            // A doubled mark closes and opens again, which leaves the state as it was.
            quoted = byte != b'"';
            at_start = !quoted;
        } else {
            quoted = byte == b'"' && at_start;
            at_start = byte == delimiter || matches!(byte, b'\n' | b'\r');
        }
    }
    quoted
}

/// A cell without padding, byte order mark, and the `="…"` that keeps spreadsheets from counting.
fn unwrap_cell(text: &str) -> String {
    let text =
        text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}'));
    let inner = text
        .strip_prefix("=\"")
        .and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(text).trim().to_owned()
}

/// The text, unless it is a filler for nothing: blank, `/`, or dashes of any number.
fn present(text: &str) -> Option<&str> {
    let text = text.trim();
    (!text.is_empty() && text != "/" && text.chars().any(|c| c != '-')).then_some(text)
}

fn filled(cells: &[String], at: usize) -> Option<String> {
    cells
        .get(at)
        .and_then(|text| present(text))
        .map(str::to_owned)
}

fn next_filled(cells: &[String]) -> String {
    cells
        .iter()
        .find_map(|text| present(text))
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::{Format, parse};
    use super::*;

    fn one(text: &str) -> (Statement, Vec<DefectCode>) {
        let (mut statements, defects) = parse(Format::BankCsv, text.as_bytes());
        (
            statements.remove(0),
            defects.into_iter().map(|d| d.code).collect(),
        )
    }

    fn ends(statement: &Statement) -> Option<(String, String)> {
        let text = |b: &Option<Balance>| b.as_ref().map(|b| b.amount.to_string());
        text(&statement.opening).zip(text(&statement.closing))
    }

    #[test]
    fn running_balance_links_in_both_orders() {
        let up = "账号,=\"0123456\"\n日期,收入,支出,余额,摘要\n\
                  2026-01-02,\"1,000.00\",,1500.00,a\n2026-01-03,-,200,1300,b\n合计,1000,200\n";
        let (statement, defects) = one(up);
        assert_eq!(statement.account.as_deref(), Some("0123456"));
        assert_eq!(ends(&statement), Some(("500.00".into(), "1300".into())));
        assert_eq!(defects, []);
        let down = "日期,金额,余额\n2026-01-03,-200,1300\n2026-01-02,1000,1500\n";
        assert_eq!(ends(&one(down).0), Some(("500".into(), "1300".into())));
        let neither = "日期,金额,余额\n2026-01-03,-200,1300\n2026-01-02,1000,1501\n";
        assert_eq!(
            (ends(&one(neither).0), one(neither).1),
            (None, vec![DefectCode::OutOfOrder])
        );
    }

    #[test]
    fn accounts_of_one_file_are_told_apart() {
        let text =
            "日期,账号,金额,币种\n2026-01-02,1,5,人民币\n2026-01-02,2,6,CNY\n2026-01-03,1,7,CNY\n";
        let (statements, _) = parse(Format::BankCsv, text.as_bytes());
        let counts: Vec<_> = statements
            .iter()
            .map(|s| (s.account.as_deref().unwrap(), s.entries.len()))
            .collect();
        assert_eq!(counts, [("1", 2), ("2", 1)]);
    }

    #[test]
    fn refuses_a_row_it_cannot_read() {
        for (row, code) in [
            ("2026-01-02,12..34", DefectCode::BadAmount),
            ("2026-01-02,\"1.234,56\"", DefectCode::BadAmount),
            ("2026-01-02,", DefectCode::MissingValue),
            ("01/02,5", DefectCode::BadDate),
        ] {
            let text = format!("Date,Amount\n{row}\n");
            let (statements, defects) = parse(Format::BankCsv, text.as_bytes());
            assert_eq!(
                (statements.len(), defects[0].code, defects[0].place.line),
                (0, code, Some(2))
            );
        }
    }

    #[test]
    fn a_missing_quotation_mark_is_never_silent() {
        let refusal = |rows: &str| {
            let text = format!("日期,金额,摘要\n{rows}");
            parse(Format::BankCsv, text.as_bytes())
                .1
                .first()
                .map(|d| d.code)
        };
        assert_eq!(
            refusal("2026-01-02,5,\"学\n2026-01-03,6,b\n"),
            Some(DefectCode::Truncated)
        );
        let swallowed = "2026-01-02,5,\"学\n2026-01-03,6,b\n2026-01-04,7,\"c\n";
        assert_eq!(refusal(swallowed), Some(DefectCode::Malformed));
        assert_eq!(
            refusal("2026-01-02,5,\"学\n费 \"\"三\"\"\"\n2026-01-03,6,5\" b\n"),
            None
        );
    }

    #[test]
    fn a_file_without_rows_proves_the_days_it_states() {
        let text = "账号,6217\n币种,人民币\n起始日期,2026-06-26\n截止日期,2026-06-29\n期初余额,5.00\n\
                    期末余额,5.00\n交易日期,收入,支出,余额,摘要,流水号\n";
        let (statements, defects) = parse(Format::BankCsv, text.as_bytes());
        assert!(defects.is_empty(), "{defects:?}");
        let days = crate::wire::daily_balances(&statements[0]).unwrap();
        assert_eq!(
            days.len(),
            4,
            "every day of the period stands at 5.00: {days:?}"
        );
        assert!(
            days.iter()
                .all(|(_, opening, closing)| (opening.fen(), closing.fen()) == (500, 500))
        );
    }

    #[test]
    fn a_preamble_cell_of_several_pairs() {
        let text = "账号：6217000 户名：某某 币种：美元\n日期,金额\n2026-01-02,5\n";
        assert_eq!(one(text).0.account.as_deref(), Some("6217000"));
    }

    /// An institution's own books are the mirror image: 借 is money into the bank account.
    #[test]
    fn the_books_perspective_turns_every_sign() {
        let profile = "name = 'b'\nperspective = 'books'\nfooters = []\ncredit_marks = ['贷']\n\
                       debit_marks = ['借']\n[columns]\ndate = ['日期']\namount = ['金额']\n\
                       direction = ['借贷']\nbalance = ['余额']\n";
        let profile: &'static Profile = Box::leak(Box::new(Profile::parse(profile).unwrap()));
        let header = ["日期", "借贷", "金额", "余额"].map(str::to_owned);
        let binding = super::super::profile::bind_to(profile, &header, b',').unwrap();
        let (groups, index) = (Vec::new(), HashMap::new());
        let mut file = File {
            binding,
            preamble: Preamble::default(),
            groups,
            index,
        };
        file.rows("2026-01-02,借,5,15\n2026-01-03,贷,1,14\n")
            .unwrap();
        let mut head = Statement::default();
        assert_eq!(file.groups[0].settle(&mut head), None);
        assert_eq!(ends(&head), Some(("10".into(), "14".into())));
    }

    #[test]
    fn declared_totals_and_balances_are_compared() {
        let text = "期初余额：100\n期末余额：90\n日期,借贷,金额\n2026-01-02,借,5\n2026-01-02,贷,5\n合计,,1\n";
        let (statement, _) = one(text);
        assert_eq!(ends(&statement), Some(("100".into(), "90".into())));
        let wrong = "日期,收入,支出\n2026-01-02,5,\n合计,6,0\n";
        assert_eq!(one(wrong).1, [DefectCode::DeclaredTotals]);
    }
}
