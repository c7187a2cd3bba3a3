//! Replies of 银企直联, the direct links between a bank and its corporate customers: the statement
//! query of six of them, as their contracts describe it (`feeds.md` §1.6).
//!
//! Each bank is one file that says which fields mean what; reading rows, checking the chain of
//! running balances and judging the page are common. A reply is one page of one account.
//!
//! Invariants: a row without a readable day, amount or direction refuses the reply; a reply in
//! which the bank reports an error is refused with the bank's words; a page that is not the whole
//! answer says so with a `GAP` and with balances of the type that stands between pages, so that it
//! closes no day; currency codes are the bank's own, read through its table, and an unknown one is
//! kept verbatim with a remark.
//! Absent on purpose: signatures and ciphers, which belong to the transport; and any guess at the
//! unit of ICBC amounts, which has to be settled ([`super::Assumptions`]).

mod ccb;
mod cib;
mod citic;
mod cmb;
mod cmb_json;
mod icbc;
mod records;

use std::io::BufRead;

use rust_decimal::Decimal;

use super::running::{self, BETWEEN_PAGES};
use super::xml::clip;
use super::{Assumptions, Entry, Item, Sink, Statement, amount, assume};
use crate::base::{Day, Defect, DefectCode};

use records::{Fields, Shape};

/// The banks whose replies are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bank {
    /// 招商银行 CloudDC, JSON, `trsQryByBreakPoint`.
    CmbCloudDc,
    /// 招商银行, the older front-end, XML `CMBSDKPGK`, `GetTransInfo`.
    CmbSdk,
    /// 建设银行, XML `TX`, `6WY101`.
    Ccb6wy101,
    /// 工商银行, XML `CMS`, `QHISD`.
    IcbcQhisd,
    /// 中信银行, XML `stream`, `DLTRNALL`.
    CiticDltrnall,
    /// 兴业银行, XML `FOX`, `SCUSTSTMTTRNRS`.
    CibFox,
}

impl Bank {
    /// Every bank.
    pub const ALL: [Bank; 6] = [
        Bank::CmbCloudDc,
        Bank::CmbSdk,
        Bank::Ccb6wy101,
        Bank::IcbcQhisd,
        Bank::CiticDltrnall,
        Bank::CibFox,
    ];

    /// The format's name, `direct:ccb-6wy101` …
    pub const fn as_str(self) -> &'static str {
        match self {
            Bank::CmbCloudDc => "direct:cmb-clouddc",
            Bank::CmbSdk => "direct:cmb-sdk",
            Bank::Ccb6wy101 => "direct:ccb-6wy101",
            Bank::IcbcQhisd => "direct:icbc-qhisd",
            Bank::CiticDltrnall => "direct:citic-dltrnall",
            Bank::CibFox => "direct:cib-fox",
        }
    }

    /// Whether no source says if its amounts are fen or yuan.
    pub(crate) const fn leaves_unit_open(self) -> bool {
        matches!(self, Bank::IcbcQhisd)
    }
}

/// The bank whose reply a text begins, by its root element and the code of the call.
pub(crate) fn recognises(head: &str) -> Option<Bank> {
    let has = |word: &str| head.contains(word);
    if head.starts_with('{') {
        let named = has("trsQryByBreakPoint") || has("TRANSQUERYBYBREAKPOINT_Z");
        return named.then_some(Bank::CmbCloudDc);
    }
    let tag = |name: &str| {
        head.match_indices('<').any(|(at, _)| {
            let rest = head[at + 1..].strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['>', ' ', '\r', '\n', '\t', '/']))
        })
    };
    if tag("CMBSDKPGK") {
        return Some(Bank::CmbSdk);
    }
    if tag("TX") && has("6WY101") {
        return Some(Bank::Ccb6wy101);
    }
    if tag("CMS") && has("QHISD") {
        return Some(Bank::IcbcQhisd);
    }
    if tag("FOX") && has("SCUSTSTMTTRNRS") {
        return Some(Bank::CibFox);
    }
    let citic = has("DLTRNALL") || tag("returnRecords") || tag("creditDebitFlag");
    (tag("stream") && citic).then_some(Bank::CiticDltrnall)
}

/// Reads one reply.
///
/// # Errors
/// The defect that refuses it.
pub(crate) fn read(
    bank: Bank,
    source: impl BufRead,
    assumed: &Assumptions,
    sink: &mut Sink<'_>,
) -> Result<(), Defect> {
    assume::check_unit(bank, assumed)?;
    let reply = match bank {
        Bank::CmbCloudDc => cmb_json::read(source)?,
        Bank::CmbSdk => from_xml(source, &cmb::SHAPE, cmb::head, cmb::row)?,
        Bank::Ccb6wy101 => from_xml(source, &ccb::SHAPE, ccb::head, ccb::row)?,
        Bank::IcbcQhisd => {
            let unit = assumed.amount_unit.ok_or_else(icbc::unit_unknown)?;
            let row = |fields: &Fields, head: &Head| icbc::row(fields, head, unit);
            from_xml(source, &icbc::SHAPE, icbc::head, row)?
        }
        Bank::CiticDltrnall => from_xml(source, &citic::SHAPE, citic::head, citic::row)?,
        Bank::CibFox => from_xml(source, &cib::SHAPE, cib::head, cib::row)?,
    };
    reply.push(bank, assumed, sink);
    Ok(())
}

fn from_xml(
    source: impl BufRead,
    shape: &Shape,
    head: impl Fn(&Fields, usize) -> Result<Head, Defect>,
    row: impl Fn(&Fields, &Head) -> Result<Row, Defect>,
) -> Result<Reply, Defect> {
    let records = records::read(source, shape)?;
    let head = head(&records.head, records.rows.len())?;
    let mut rows = Vec::with_capacity(records.rows.len());
    for (line, fields) in (1_u64..).zip(&records.rows) {
        let mut row = row(fields, &head).map_err(|defect| defect.line(line))?;
        row.entry.line = line;
        rows.push(row);
    }
    Ok(Reply::new(head, rows))
}

/// What stands above the rows.
#[derive(Debug, Default)]
struct Head {
    account: Option<String>,
    currency: Option<String>,
    period: Option<(Day, Day)>,
    page: Page,
    remarks: Vec<Defect>,
    /// Declared numbers and sums of money in and out, compared where present.
    declared: [Option<(u64, Decimal)>; 2],
}

/// Which part of the answer a reply is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Page {
    /// Rows before this page are in another reply.
    follows: bool,
    /// Rows after this page are in another reply.
    goes_on: bool,
}

/// One movement and the balance behind it.
#[derive(Debug, Default)]
struct Row {
    entry: Entry,
    balance: Option<Decimal>,
    /// The bank's own running number of the row, where it promises one without gaps.
    number: Option<u64>,
    /// The entry's other possible sign: a marked correction with a negative amount is a red entry
    /// with some banks and a signed debit with others. The running balance decides.
    other_sign: bool,
}

struct Reply {
    head: Head,
    rows: Vec<Row>,
}

impl Reply {
    fn new(head: Head, rows: Vec<Row>) -> Reply {
        Reply { head, rows }
    }

    fn push(self, bank: Bank, assumed: &Assumptions, sink: &mut Sink<'_>) {
        let Reply { head, rows } = self;
        let mut statement = Statement {
            format: bank.as_str().to_owned(),
            account: head.account,
            currency: head.currency,
            period: head.period,
            ..Statement::default()
        };
        let mut remarks = head.remarks;
        remarks.extend(gap_in_numbers(&rows));
        let balances: Vec<Option<Decimal>> = rows.iter().map(|row| row.balance).collect();
        let doubtful: Vec<bool> = rows.iter().map(|row| row.other_sign).collect();
        let mut entries: Vec<Entry> = rows.into_iter().map(|row| row.entry).collect();
        let mut broken = running::settle(&mut statement, &entries, &balances, "balance");
        if broken.is_some() && doubtful.contains(&true) {
            let turn = |entries: &mut [Entry]| {
                let doubted = entries.iter_mut().zip(&doubtful).filter(|(_, d)| **d);
                doubted.for_each(|(entry, _)| entry.amount = -entry.amount);
            };
            turn(&mut entries);
            if running::settle(&mut statement, &entries, &balances, "balance").is_none() {
                broken = None;
            } else {
                turn(&mut entries);
            }
        }
        remarks.extend(broken);
        remarks.extend(declared_differs(&head.declared, &entries));
        remarks.extend(mark_page(&mut statement, head.page));
        if statement.account.is_none() && assumed.account.is_none() {
            let found = "the reply does not name its account";
            remarks.push(Defect::new(DefectCode::MissingValue, found).column("account"));
        }
        sink(Item::Open(statement.clone()));
        remarks
            .into_iter()
            .for_each(|defect| sink(Item::Defect(defect)));
        entries
            .into_iter()
            .for_each(|entry| sink(Item::Entry(entry)));
        sink(Item::Close(statement));
    }
}

/// Says that a page is not the whole answer.
fn mark_page(statement: &mut Statement, page: Page) -> Option<Defect> {
    let between = |balance: &mut Option<super::Balance>| {
        if let Some(balance) = balance {
            BETWEEN_PAGES.clone_into(&mut balance.kind);
        }
    };
    let missing = match (page.follows, page.goes_on) {
        (false, false) => return None,
        (true, true) => "before or after",
        (true, false) => "before",
        (false, true) => "after",
    };
    if page.follows {
        between(&mut statement.opening);
    }
    if page.goes_on {
        between(&mut statement.closing);
    }
    let found =
        format!("the reply is one page of several; pages {missing} it are not in this file");
    Some(Defect::new(DefectCode::Gap, found).column("page"))
}

fn gap_in_numbers(rows: &[Row]) -> Option<Defect> {
    let broken = rows.windows(2).find_map(|pair| {
        let (before, after) = (pair[0].number?, pair[1].number?);
        (before.abs_diff(after) != 1).then_some((before, after, pair[1].entry.line))
    });
    let (before, after, line) = broken?;
    let found = format!("row number {after} follows {before}: rows are missing or repeated");
    Some(Defect::new(DefectCode::Gap, found).line(line))
}

fn declared_differs(declared: &[Option<(u64, Decimal)>; 2], entries: &[Entry]) -> Option<Defect> {
    for (side, name) in ["in", "out"].into_iter().enumerate() {
        let of_side = |entry: &&Entry| usize::from(entry.amount.is_sign_negative()) == side;
        let count = entries.iter().filter(of_side).count() as u64;
        let amounts = entries.iter().filter(of_side).map(|e| e.amount.abs());
        let sum = amounts
            .into_iter()
            .try_fold(Decimal::ZERO, Decimal::checked_add);
        if let Some(said) = declared[side].filter(|said| (said.0, Some(said.1)) != (count, sum)) {
            let sum = sum.map_or_else(|| "too much".to_owned(), |sum| sum.to_string());
            let found = format!(
                "declares {} rows of {} {name}, {count} of {sum} are present",
                said.0, said.1
            );
            return Some(Defect::new(DefectCode::DeclaredTotals, found));
        }
    }
    None
}

/// The ISO code of a bank's own currency code, and a remark where the table does not have it.
fn currency(table: &[(&str, &str)], text: &str) -> (Option<String>, Option<Defect>) {
    let text = text.trim();
    if text.is_empty() {
        return (None, None);
    }
    let own = table.iter().find(|(code, _)| *code == text);
    let known = own.map(|(_, iso)| (*iso).to_owned());
    match known.or_else(|| super::bank::profile::currency_code(text)) {
        Some(iso) => (Some(iso), None),
        None => {
            let found = format!("{:?} is no currency code of this bank's table", clip(text));
            let defect = Defect::new(DefectCode::BadCode, found).column("currency");
            (Some(text.to_owned()), Some(defect))
        }
    }
}

/// A signed amount of yuan, `1,234.50` and `-3.00` included.
fn yuan(fields: &Fields, name: &str) -> Result<Option<Decimal>, Defect> {
    let Some(text) = fields.text(name) else {
        return Ok(None);
    };
    amount::cell(text).map(Some).ok_or_else(|| {
        let found = format!("{:?} is not an amount", clip(text));
        Defect::new(DefectCode::BadAmount, found).column(name)
    })
}

fn required<T>(value: Option<T>, name: &str) -> Result<T, Defect> {
    value.ok_or_else(|| {
        Defect::new(DefectCode::MissingValue, format!("the row has no {name}")).column(name)
    })
}

/// A day, `20260604`, `2026/06/04` or `2026-06-04T10:15:43`.
fn day(fields: &Fields, name: &str) -> Result<Option<Day>, Defect> {
    let Some(text) = fields.text(name) else {
        return Ok(None);
    };
    amount::cell_day(text).map(Some).ok_or_else(|| {
        let found = format!("{:?} is not a day", clip(text));
        Defect::new(DefectCode::BadDate, found).column(name)
    })
}

/// Whether a mark means money in.
fn direction(fields: &Fields, name: &str, marks: [&str; 2]) -> Result<bool, Defect> {
    let text = required(fields.text(name), name)?;
    let at = marks.iter().position(|mark| *mark == text);
    at.map(|at| at == 0).ok_or_else(|| {
        let found = format!("{:?} is neither {} nor {}", clip(text), marks[0], marks[1]);
        Defect::new(DefectCode::BadCode, found).column(name)
    })
}

fn owned(fields: &Fields, name: &str) -> Option<String> {
    fields.text(name).map(str::to_owned)
}

/// The texts of several fields, one a line.
fn memo(fields: &Fields, names: &[&str]) -> String {
    let texts: Vec<&str> = names.iter().filter_map(|name| fields.text(name)).collect();
    texts.join("\n")
}

fn count(fields: &Fields, name: &str) -> Result<Option<u64>, Defect> {
    let Some(text) = fields.text(name) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        let found = format!("{:?} is not a number", clip(text));
        Defect::new(DefectCode::Malformed, found).column(name)
    })
}

/// The refusal of a reply in which the bank reports an error.
fn answered(
    code: Option<&str>,
    good: &[&str],
    words: Option<&str>,
    column: &str,
) -> Result<(), Defect> {
    let code = code.unwrap_or_default();
    if good.contains(&code) {
        return Ok(());
    }
    let words = words.unwrap_or_default();
    let found = format!("the bank answers {:?} {}", clip(code), clip(words));
    Err(Defect::new(DefectCode::Malformed, found.trim_end()).column(column))
}
