//! One camt statement while it is read: what its elements mean, in the order they close.
//!
//! The tags come from [`super::camt`]; here they become a head, balances and entries. Which balance
//! opens and which closes a statement is chosen in [`choose`], the one place that knows the
//! external balance types of ISO 20022.

use std::io::BufRead;

use rust_decimal::Decimal;

use super::amount::{iso_day, iso_instant, plain, some_text};
use super::camt::Tag;
use super::camt_entry::{Draft, add, append, direction_of, reversal};
use super::xml::{XmlReader, clip};
use super::{Balance, Entry, EntryStatus, Statement};
use crate::base::{Day, Defect, DefectCode};

/// How many balances one statement may carry.
const BALANCES_MAX: usize = 1_000;

/// A statement being read.
#[derive(Default)]
pub(super) struct Open {
    pub(super) head: Statement,
    pub(super) announced: bool,
    balances: Vec<Balance>,
    balance_currencies: Vec<String>,
    pub(super) draft: Draft,
    from: Option<Day>,
    to: Option<Day>,
    account_currency: bool,
    foreign: bool,
    /// What is wrong with the batch of the entry closed last.
    pub(super) batch_remark: Option<Defect>,
    counted: Totals,
    declared: Declared,
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

impl Open {
    pub(super) fn new(head: Statement) -> Open {
        Open {
            head,
            ..Open::default()
        }
    }

    pub(super) fn head_text(&mut self, path: &[Tag], text: &str) {
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
            [CpyDplctInd] => self.head.duplicate = matches!(text, "DUPL" | "CODU"),
            [StmtPgntn | RptPgntn | NtfctnPgntn, PgNb] => {
                self.head.pages = text.parse().ok().map(|page| (page, page));
            }
            [CreDtTm] => self.head.made_at = iso_instant(text).or(self.head.made_at),
            [FrToDt, FrDtTm] => self.from = first_day(text).or(self.from),
            [FrToDt, ToDtTm] => self.to = iso_day(text).or(self.to),
            [TxsSummry, TtlNtries, NbOfNtries] => self.declared.entries = plain(text),
            [TxsSummry, TtlCdtNtries, Sum] => self.declared.credits = plain(text),
            [TxsSummry, TtlDbtNtries, Sum] => self.declared.debits = plain(text),
            _ => {}
        }
    }

    pub(super) fn balance_text(
        &mut self,
        path: &[Tag],
        text: &str,
        xml: &XmlReader<impl BufRead>,
    ) -> Result<(), Defect> {
        use Tag::*;
        match path {
            [Tp, CdOrPrtry, Cd | Prtry] | [Tp, Cd | Prtry] => text.clone_into(&mut self.draft.kind),
            [Amt] => once(&mut self.draft.amount, amount(text, "Bal/Amt", xml)?, xml)?,
            [CdtDbtInd] => {
                once(
                    &mut self.draft.direction,
                    direction(text, "Bal/CdtDbtInd", xml)?,
                    xml,
                )?;
            }
            [Dt, Dt | DtTm] | [Dt] if !text.is_empty() => {
                self.draft.day = Some(day(text, "Bal/Dt", xml)?);
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn entry_text(
        &mut self,
        path: &[Tag],
        text: &str,
        xml: &XmlReader<impl BufRead>,
    ) -> Result<(), Defect> {
        use Tag::*;
        let draft = &mut self.draft;
        match path {
            [NtryRef] => draft.entry_ref = some_text(text),
            [Amt] => once(&mut draft.amount, amount(text, "Ntry/Amt", xml)?, xml)?,
            [CdtDbtInd] => {
                once(
                    &mut draft.direction,
                    direction(text, "Ntry/CdtDbtInd", xml)?,
                    xml,
                )?;
            }
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
                draft.add_code(text);
            }
            [AddtlNtryInf] => append(&mut draft.information, text),
            [NtryDtls, Btch, NbOfTxs] => add(&mut draft.batch.said_details, plain(text)),
            [NtryDtls, Btch, TtlAmt] => add(&mut draft.batch.said_sum, plain(text)),
            [NtryDtls, TxDtls] | [TxDtls] => draft.close_detail(),
            [NtryDtls, TxDtls, rest @ ..] | [TxDtls, rest @ ..] => draft.detail_text(rest, text),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn close_balance(&mut self, xml: &XmlReader<impl BufRead>) -> Result<(), Defect> {
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

    pub(super) fn close_entry(
        &mut self,
        xml: &XmlReader<impl BufRead>,
        ordinal: u64,
    ) -> Result<Entry, Defect> {
        let mut draft = std::mem::take(&mut self.draft);
        let amount = signed(&draft, "Ntry", xml)?;
        self.batch_remark = draft.batch.check(amount.abs()).map(|found| {
            Defect::new(DefectCode::DeclaredTotals, found)
                .line(ordinal)
                .column("NtryDtls/Btch")
        });
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
        let single = draft.batch.details <= 1;
        if !single {
            draft.keep_closed();
        }
        let reversal = reversal(&draft, single);
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
            reversal,
            customer_ref: draft.customer_ref.filter(|_| single),
            bank_ref: draft.servicer_ref.or(draft.entry_ref),
            code: some(draft.code),
            counterparty: counterparty.filter(|_| single),
            memo,
            details: draft.details,
            line: ordinal,
        })
    }

    /// One remark per statement on entries in another currency than the account's.
    pub(super) fn check_currency(&mut self, entry: &Entry, ordinal: u64) -> Option<Defect> {
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
    pub(super) fn settle(&mut self) {
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

    pub(super) fn check_declared(&self) -> Option<Defect> {
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

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
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

/// Sets a value that decides money: where it comes twice, no choice between the two is right.
fn once<T>(slot: &mut Option<T>, value: T, xml: &XmlReader<impl BufRead>) -> Result<(), Defect> {
    if slot.replace(value).is_some() {
        let found = "an entry or balance has its amount or direction twice";
        return Err(xml.defect(DefectCode::Malformed, found));
    }
    Ok(())
}

fn amount(text: &str, element: &str, xml: &XmlReader<impl BufRead>) -> Result<Decimal, Defect> {
    plain(text).ok_or_else(|| {
        let found = format!("{:?} is not an amount", clip(text));
        xml.defect(DefectCode::BadAmount, found).column(element)
    })
}

fn direction(text: &str, element: &str, xml: &XmlReader<impl BufRead>) -> Result<bool, Defect> {
    direction_of(text).ok_or_else(|| {
        let found = format!("{:?} is neither CRDT nor DBIT", clip(text));
        xml.defect(DefectCode::BadCode, found).column(element)
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(kinds: &[&str]) -> (Option<usize>, Option<usize>) {
        let balance = |kind: &&str| Balance {
            amount: Decimal::ONE,
            day: None,
            kind: (*kind).into(),
        };
        choose(&kinds.iter().map(balance).collect::<Vec<_>>())
    }

    #[test]
    fn balance_types_in_their_order() {
        assert_eq!(kinds(&["PRCD", "OPBD", "CLBD", "CLAV"]), (Some(1), Some(2)));
        assert_eq!(kinds(&["PRCD", "FWAV", "CLBD"]), (Some(0), Some(2)));
        assert_eq!(kinds(&["ITBD"]), (None, Some(0)));
        assert_eq!(kinds(&["ITBD", "ITBD"]), (Some(0), Some(1)));
        assert_eq!(kinds(&["ITBD", "CLBD"]), (Some(0), Some(1)));
        assert_eq!(kinds(&["CLAV"]), (None, Some(0)));
        assert_eq!(kinds(&["FWAV", "XPCD"]), (None, None));
    }
}
