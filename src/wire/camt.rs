//! ISO 20022 cash management statements: camt.052 (report), camt.053 (statement), camt.054
//! (notification), any version, read as a stream of tags.
//!
//! Versions are folded into one model by local names (`feeds.md` §1.2): `Sts` or `Sts/Cd`, `Dbtr/Nm` or
//! `Dbtr/Pty/Nm`, `Id/IBAN`, `Id/Othr/Id` or `Id/PrtryAcct/Id`.
//!
//! Invariants: one entry per `Ntry`, never per `TxDtls`; the sign is `CdtDbtInd` alone, `RvslInd` only
//! marks; anything but `BOOK` is pending; an amount, sign or day that cannot be read refuses the file.
//! Absent on purpose: an allow-list of versions, and validation against the schemas, which banks do not
//! keep to.

use std::io::BufRead;

use rust_decimal::Decimal;

use super::amount::{iso_day, plain, some_text};
use super::xml::{Node, XmlReader, clip};
use super::{Balance, Entry, EntryStatus, Item, MEMO_MAX_BYTES, Sink, Statement};
use crate::base::{Day, Defect, DefectCode};

/// How many balances one statement may carry.
const BALANCES_MAX: usize = 1_000;

macro_rules! tags {
    ($($tag:ident),* $(,)?) => {
        /// The elements the fold looks at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Tag { Statement, Message, Iban, Other, $($tag),* }

        impl Tag {
            fn of(name: &str) -> Tag {
                match name {
                    "Stmt" | "Rpt" | "Ntfctn" => Tag::Statement,
                    "IBAN" => Tag::Iban,
                    $(stringify!($tag) => Tag::$tag,)*
                    _ if message_kind(name).is_some() => Tag::Message,
                    _ => Tag::Other,
                }
            }
        }
    };
}

tags! {
    Acct, AcctSvcrRef, AddtlNtryInf, Amt, Bal, BkTxCd, BookgDt, Ccy, Cd, CdOrPrtry, Cdtr,
    CdtDbtInd, Dbtr, Domn, Dt, DtTm, ElctrncSeqNb, EndToEndId, Fmly, FrDtTm, FrToDt, Id,
    NbOfNtries, Nm, Ntry, NtryDtls, NtryRef, Othr, Prtry, PrtryAcct, Pty, Refs, RltdPties, RmtInf,
    RvslInd, Sts, SubFmlyCd, Sum, ToDtTm, Tp, TtlCdtNtries, TtlDbtNtries, TtlNtries, TxDtls,
    TxsSummry, Ustrd, ValDt,
}

/// `camt.052` … by the local name of the message element, versions of 2005 carry a suffix.
fn message_kind(name: &str) -> Option<&'static str> {
    const KINDS: [(&str, &str); 3] = [
        ("BkToCstmrAcctRpt", "camt.052"),
        ("BkToCstmrStmt", "camt.053"),
        ("BkToCstmrDbtCdtNtfctn", "camt.054"),
    ];
    KINDS
        .iter()
        .find(|(local, _)| name.starts_with(local))
        .map(|(_, kind)| *kind)
}

/// `camt.053.001.08` where a text carries the name of a statement message.
pub(crate) fn version_in(text: &str) -> Option<&str> {
    for (at, _) in text.match_indices("camt.05") {
        let name = text.get(at..at + 15).unwrap_or_default();
        let bytes = name.as_bytes();
        let fits = bytes.len() == 15
            && matches!(bytes[7], b'2'..=b'4')
            && name.get(8..13) == Some(".001.")
            && bytes[13].is_ascii_digit()
            && bytes[14].is_ascii_digit();
        if fits {
            return Some(name);
        }
    }
    None
}

/// Whether a tag name marks a statement message.
pub(crate) fn is_message(local_name: &str) -> bool {
    message_kind(local_name).is_some()
}

/// Reads one file.
///
/// # Errors
/// The defect that refuses it.
pub(crate) fn read(source: impl BufRead, sink: &mut Sink<'_>) -> Result<(), Defect> {
    let mut xml = XmlReader::new(source);
    let mut fold = Fold {
        sink,
        path: Vec::new(),
        format: None,
        open: None,
        statements: 0,
        entries: 0,
    };
    loop {
        match xml.next()? {
            Node::Start => fold.start(&xml)?,
            Node::End => fold.end(&mut xml)?,
            Node::Done => break,
        }
    }
    if fold.statements == 0 {
        let found = "the file holds no statement, report or notification element";
        return Err(xml.defect(DefectCode::Malformed, found));
    }
    Ok(())
}

struct Fold<'f, 's> {
    sink: &'f mut Sink<'s>,
    path: Vec<Tag>,
    format: Option<String>,
    open: Option<Open>,
    statements: usize,
    entries: u64,
}

/// A statement being read.
#[derive(Default)]
struct Open {
    head: Statement,
    announced: bool,
    balances: Vec<Balance>,
    balance_currencies: Vec<String>,
    draft: Draft,
    from: Option<Day>,
    to: Option<Day>,
    account_currency: bool,
    foreign: bool,
    counted: Totals,
    declared: Declared,
}

/// A balance or an entry being read: both have an amount, a currency and a direction.
#[derive(Default)]
struct Draft {
    kind: String,
    amount: Option<Decimal>,
    currency: String,
    direction: Option<bool>,
    day: Option<Day>,
    value_on: Option<Day>,
    status: Option<EntryStatus>,
    reversal: bool,
    entry_ref: Option<String>,
    servicer_ref: Option<String>,
    codes: Vec<String>,
    details: usize,
    customer_ref: Option<String>,
    debtor: Option<String>,
    creditor: Option<String>,
    memo: String,
    information: String,
}

#[derive(Default)]
struct Totals {
    entries: u64,
    credits: Decimal,
    debits: Decimal,
}

/// `TxsSummry`: what the bank says the statement adds up to.
#[derive(Default)]
struct Declared {
    entries: Option<Decimal>,
    credits: Option<Decimal>,
    debits: Option<Decimal>,
}

impl Fold<'_, '_> {
    fn start(&mut self, xml: &XmlReader<impl BufRead>) -> Result<(), Defect> {
        if let Some(version) = xml.namespaces.iter().find_map(|uri| version_in(uri)) {
            self.format = Some(version.to_owned());
        }
        let tag = Tag::of(&xml.name);
        self.path.push(tag);
        match (tag, self.path.as_slice()) {
            (Tag::Message, _) if self.format.is_none() => {
                self.format = message_kind(&xml.name).map(str::to_owned);
            }
            (Tag::Statement, [.., Tag::Message, _]) => {
                let format = self.format.clone().unwrap_or_default();
                let head = Statement {
                    format,
                    ..Statement::default()
                };
                self.open = Some(Open {
                    head,
                    ..Open::default()
                });
                self.statements += 1;
            }
            (_, [.., Tag::Message, Tag::Statement, Tag::Bal]) => self.reset_draft(),
            (_, [.., Tag::Message, Tag::Statement, Tag::Ntry]) => {
                self.entries += 1;
                self.reset_draft();
                self.announce();
            }
            (Tag::TxDtls, _) => {
                if let Some(open) = &mut self.open {
                    open.draft.details += 1;
                }
            }
            (Tag::Amt, [.., Tag::Statement, Tag::Bal | Tag::Ntry, _]) => {
                if let Some(open) = &mut self.open {
                    open.draft.currency.clone_from(&xml.currency);
                }
            }
            _ => {}
        }
        if self.statements > 0 && self.format.is_none() {
            return Err(xml.defect(DefectCode::UnknownFormat, "no camt.052/.053/.054 message"));
        }
        Ok(())
    }

    fn reset_draft(&mut self) {
        if let Some(open) = &mut self.open {
            open.draft = Draft::default();
        }
    }

    /// Tells the sink that the statement has begun, before its first entry.
    fn announce(&mut self) {
        if let Some(open) = self.open.as_mut().filter(|open| !open.announced) {
            open.announced = true;
            open.settle();
            (self.sink)(Item::Open(open.head.clone()));
        }
    }

    fn end(&mut self, xml: &mut XmlReader<impl BufRead>) -> Result<(), Defect> {
        let text = std::mem::take(&mut xml.text);
        if let Some(at) = self.statement_at() {
            let path = &self.path[at + 1..];
            if let Some(open) = &mut self.open {
                match path {
                    [] => {}
                    [Tag::Bal] => open.close_balance(xml)?,
                    [Tag::Ntry] => {
                        let entry = open.close_entry(xml, self.entries)?;
                        if let Some(defect) = open.check_currency(&entry, self.entries) {
                            (self.sink)(Item::Defect(defect));
                        }
                        (self.sink)(Item::Entry(entry));
                    }
                    [Tag::Ntry, rest @ ..] => open.entry_text(rest, text.trim(), xml)?,
                    [Tag::Bal, rest @ ..] => open.balance_text(rest, text.trim(), xml)?,
                    rest => open.head_text(rest, text.trim()),
                }
                if path.is_empty() {
                    self.close_statement();
                }
            }
        }
        xml.text = text;
        xml.text.clear();
        self.path.pop();
        Ok(())
    }

    fn statement_at(&self) -> Option<usize> {
        self.open.as_ref()?;
        self.path
            .windows(2)
            .position(|pair| pair == [Tag::Message, Tag::Statement])
            .map(|at| at + 1)
    }

    fn close_statement(&mut self) {
        self.announce();
        let Some(mut open) = self.open.take() else {
            return;
        };
        open.settle();
        if let Some(defect) = open.check_declared() {
            (self.sink)(Item::Defect(defect));
        }
        (self.sink)(Item::Close(open.head));
    }
}

impl Open {
    fn head_text(&mut self, path: &[Tag], text: &str) {
        use Tag::*;
        match path {
            [Id] => self.head.number = some_text(text),
            [ElctrncSeqNb] if self.head.number.is_none() => self.head.number = some_text(text),
            [Acct, Id, Iban] | [Acct, Id, Othr | PrtryAcct, Id] => {
                self.head.account = some_text(text);
            }
            [Acct, Ccy] => {
                self.head.currency = some_text(text);
                self.account_currency = true;
            }
            [FrToDt, FrDtTm] => self.from = first_day(text).or(self.from),
            [FrToDt, ToDtTm] => self.to = iso_day(text).or(self.to),
            [TxsSummry, TtlNtries, NbOfNtries] => self.declared.entries = plain(text),
            [TxsSummry, TtlCdtNtries, Sum] => self.declared.credits = plain(text),
            [TxsSummry, TtlDbtNtries, Sum] => self.declared.debits = plain(text),
            _ => {}
        }
    }

    fn balance_text(
        &mut self,
        path: &[Tag],
        text: &str,
        xml: &XmlReader<impl BufRead>,
    ) -> Result<(), Defect> {
        use Tag::*;
        match path {
            [Tp, CdOrPrtry, Cd | Prtry] | [Tp, Cd | Prtry] => text.clone_into(&mut self.draft.kind),
            [Amt] => self.draft.amount = Some(amount(text, "Bal/Amt", xml)?),
            [CdtDbtInd] => self.draft.direction = Some(direction(text, "Bal/CdtDbtInd", xml)?),
            [Dt, Dt | DtTm] | [Dt] if !text.is_empty() => {
                self.draft.day = Some(day(text, "Bal/Dt", xml)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn entry_text(
        &mut self,
        path: &[Tag],
        text: &str,
        xml: &XmlReader<impl BufRead>,
    ) -> Result<(), Defect> {
        use Tag::*;
        let draft = &mut self.draft;
        match path {
            [NtryRef] => draft.entry_ref = some_text(text),
            [Amt] => draft.amount = Some(amount(text, "Ntry/Amt", xml)?),
            [CdtDbtInd] => draft.direction = Some(direction(text, "Ntry/CdtDbtInd", xml)?),
            [RvslInd] => draft.reversal = matches!(text, "true" | "1"),
            [Sts] | [Sts, Cd | Prtry] if !text.is_empty() => {
                let booked = text == "BOOK";
                draft.status = Some(if booked {
                    EntryStatus::Booked
                } else {
                    EntryStatus::Pending
                });
            }
            [BookgDt, Dt | DtTm] => draft.day = Some(day(text, "Ntry/BookgDt", xml)?),
            [ValDt, Dt | DtTm] => draft.value_on = Some(day(text, "Ntry/ValDt", xml)?),
            [AcctSvcrRef] => draft.servicer_ref = some_text(text),
            [BkTxCd, Domn, Cd] | [BkTxCd, Domn, Fmly, Cd | SubFmlyCd] | [BkTxCd, Prtry, Cd] => {
                draft.codes.extend(some_text(text))
            }
            [AddtlNtryInf] => append(&mut draft.information, text),
            [NtryDtls, TxDtls, rest @ ..] | [TxDtls, rest @ ..] => draft.detail_text(rest, text),
            _ => {}
        }
        Ok(())
    }

    fn close_balance(&mut self, xml: &XmlReader<impl BufRead>) -> Result<(), Defect> {
        let draft = std::mem::take(&mut self.draft);
        let amount = signed(&draft, "Bal", xml)?;
        if self.balances.len() >= BALANCES_MAX {
            let found =
                format!("a statement has more than {BALANCES_MAX} balances (limit BALANCES_MAX)");
            return Err(xml.defect(DefectCode::TooLarge, found));
        }
        self.balances.push(Balance {
            amount,
            day: draft.day,
            kind: draft.kind,
        });
        self.balance_currencies.push(draft.currency);
        Ok(())
    }

    fn close_entry(
        &mut self,
        xml: &XmlReader<impl BufRead>,
        ordinal: u64,
    ) -> Result<Entry, Defect> {
        let draft = std::mem::take(&mut self.draft);
        let amount = signed(&draft, "Ntry", xml)?;
        self.counted.entries += 1;
        let side = if amount < Decimal::ZERO {
            &mut self.counted.debits
        } else {
            &mut self.counted.credits
        };
        *side = side
            .checked_add(amount.abs())
            .ok_or_else(|| xml.defect(DefectCode::BadAmount, "the sum of the entries overflows"))?;
        // A batch has no reference and no counterparty of its own.
        let single = draft.details <= 1;
        let counterparty = if draft.direction == Some(true) {
            draft.debtor
        } else {
            draft.creditor
        };
        let mut memo = draft.memo;
        append(&mut memo, &draft.information);
        Ok(Entry {
            status: draft.status.unwrap_or(EntryStatus::Booked),
            amount,
            currency: draft.currency,
            booked_on: draft.day,
            value_on: draft.value_on,
            customer_ref: draft.customer_ref.filter(|_| single),
            bank_ref: draft.servicer_ref.or(draft.entry_ref),
            code: (!draft.codes.is_empty()).then(|| draft.codes.join("/")),
            counterparty: counterparty.filter(|_| single),
            memo,
            reversal: draft.reversal,
            line: ordinal,
        })
    }

    /// One remark per statement on entries in another currency than the account's.
    fn check_currency(&mut self, entry: &Entry, ordinal: u64) -> Option<Defect> {
        if self.head.currency.is_none() {
            self.head.currency = some_text(&entry.currency);
        }
        let own = self.head.currency.as_deref()?;
        if self.foreign || own == entry.currency {
            return None;
        }
        self.foreign = true;
        let found = format!(
            "an entry is in {:?}, the account in {own:?}",
            clip(&entry.currency)
        );
        Some(
            Defect::new(DefectCode::BadCode, found)
                .line(ordinal)
                .column("Ntry/Amt/@Ccy"),
        )
    }

    /// Chooses opening, closing, period and currency from what has been read so far.
    fn settle(&mut self) {
        let (opening, closing) = choose(&self.balances);
        if !self.account_currency {
            let named = [opening, closing].into_iter().flatten();
            let currency = named
                .map(|i| &self.balance_currencies[i])
                .find(|c| !c.is_empty());
            self.head.currency = currency.cloned().or(self.head.currency.take());
        }
        self.head.opening = opening.map(|i| self.balances[i].clone());
        self.head.closing = closing.map(|i| self.balances[i].clone());
        self.head.period = self.from.zip(self.to).filter(|(from, to)| from <= to);
    }

    fn check_declared(&self) -> Option<Defect> {
        let Declared {
            entries,
            credits,
            debits,
        } = &self.declared;
        let counted = &self.counted;
        let differs = |said: &Option<Decimal>, is: Decimal| said.is_some_and(|said| said != is);
        let wrong = if differs(entries, Decimal::from(counted.entries)) {
            format!(
                "TxsSummry declares other than the {} entries present",
                counted.entries
            )
        } else if differs(credits, counted.credits) {
            format!(
                "TxsSummry declares other than the {} of credits present",
                counted.credits
            )
        } else if differs(debits, counted.debits) {
            format!(
                "TxsSummry declares other than the {} of debits present",
                counted.debits
            )
        } else {
            return None;
        };
        Some(Defect::new(DefectCode::DeclaredTotals, wrong).column("TxsSummry"))
    }
}

impl Draft {
    fn detail_text(&mut self, path: &[Tag], text: &str) {
        use Tag::*;
        match path {
            [Refs, EndToEndId] if !matches!(text, "NOTPROVIDED" | "NOT PROVIDED") => {
                self.customer_ref = some_text(text).or(self.customer_ref.take());
            }
            [RltdPties, Dbtr, Nm] | [RltdPties, Dbtr, Pty, Nm] => self.debtor = some_text(text),
            [RltdPties, Cdtr, Nm] | [RltdPties, Cdtr, Pty, Nm] => self.creditor = some_text(text),
            [RmtInf, Ustrd] => append(&mut self.memo, text),
            _ => {}
        }
    }
}

/// Opening and closing balance of a statement (ISO 20022 external balance types). A paginated
/// statement has `ITBD` where a page begins or ends; a feed of available balances only has `OPAV`
/// and `CLAV`.
fn choose(balances: &[Balance]) -> (Option<usize>, Option<usize>) {
    let find = |kind: &str| balances.iter().position(|balance| balance.kind == kind);
    let last = |kind: &str| balances.iter().rposition(|balance| balance.kind == kind);
    let booked_close = find("CLBD");
    let interim_opens = booked_close.is_some() || find("ITBD") != last("ITBD");
    let interim_open = find("ITBD").filter(|_| interim_opens);
    let opening = find("OPBD")
        .or(find("PRCD"))
        .or(interim_open)
        .or(find("OPAV"));
    let closing = booked_close
        .or(last("ITBD"))
        .or(find("CLAV"))
        .or(last("ITAV"));
    (opening, closing)
}

fn signed(draft: &Draft, element: &str, xml: &XmlReader<impl BufRead>) -> Result<Decimal, Defect> {
    let missing = |name: &str| {
        xml.defect(DefectCode::MissingValue, format!("{element} has no {name}"))
            .column(element)
    };
    let amount = draft.amount.ok_or_else(|| missing("Amt"))?;
    let credit = draft.direction.ok_or_else(|| missing("CdtDbtInd"))?;
    Ok(if credit { amount } else { -amount })
}

fn amount(text: &str, element: &str, xml: &XmlReader<impl BufRead>) -> Result<Decimal, Defect> {
    plain(text).ok_or_else(|| {
        let found = format!("{:?} is not an amount", clip(text));
        xml.defect(DefectCode::BadAmount, found).column(element)
    })
}

fn direction(text: &str, element: &str, xml: &XmlReader<impl BufRead>) -> Result<bool, Defect> {
    match text {
        "CRDT" => Ok(true),
        "DBIT" => Ok(false),
        _ => {
            let found = format!("{:?} is neither CRDT nor DBIT", clip(text));
            Err(xml.defect(DefectCode::BadCode, found).column(element))
        }
    }
}

fn day(text: &str, element: &str, xml: &XmlReader<impl BufRead>) -> Result<Day, Defect> {
    iso_day(text).ok_or_else(|| {
        let found = format!("{:?} is not a day", clip(text));
        xml.defect(DefectCode::BadDate, found).column(element)
    })
}

/// The first day of a period: one that begins in the afternoon covers the next day.
fn first_day(text: &str) -> Option<Day> {
    let day = iso_day(text)?;
    let afternoon = text
        .get(11..13)
        .is_some_and(|hour| ("12".."24").contains(&hour));
    Some(if afternoon { day.next() } else { day })
}

/// Adds a line to a text, up to [`MEMO_MAX_BYTES`]: a batch of a million details has no memo worth more.
fn append(text: &mut String, more: &str) {
    if more.is_empty() || text.len() + more.len() >= MEMO_MAX_BYTES {
        return;
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(more);
}
