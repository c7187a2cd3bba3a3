//! Statements and entries of an OFX file while they are read, and the values of their leaves.

use chrono::NaiveDateTime;
use rust_decimal::Decimal;

use super::Scope;
use super::tags::Tags;
use crate::base::{Day, Defect, DefectCode, Instant};
use crate::wire::amount::{cell, iso_day, local_instant, plain};
use crate::wire::xml::clip;
use crate::wire::{Balance, Statement};

/// A statement while it is read.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) head: Statement,
    pub(super) opened: bool,
    pub(super) from: Option<Day>,
    pub(super) to: Option<Day>,
    pub(super) closing: Option<Decimal>,
    pub(super) closing_day: Option<Day>,
}

impl Draft {
    pub(super) fn settle(&mut self) {
        self.head.period = self.from.zip(self.to).filter(|(from, to)| from <= to);
        let day = self.closing_day;
        let kind = "LEDGERBAL".to_owned();
        self.head.closing = self.closing.map(|amount| Balance { amount, day, kind });
    }
}

/// An entry while it is read.
#[derive(Default)]
pub(super) struct EntryDraft {
    pub(super) pending: bool,
    pub(super) amount: Option<Decimal>,
    pub(super) booked_on: Option<Day>,
    pub(super) value_on: Option<Day>,
    pub(super) currency: Option<String>,
    pub(super) code: Option<String>,
    pub(super) id: Option<String>,
    pub(super) reference: Option<String>,
    pub(super) cheque: Option<String>,
    pub(super) name: Option<String>,
    pub(super) memo: String,
    pub(super) corrects: Option<String>,
    pub(super) correction: Option<String>,
    pub(super) line: u64,
}

impl EntryDraft {
    pub(super) fn take(
        &mut self,
        scope: Scope,
        name: &str,
        value: String,
        tags: &Tags<'_>,
    ) -> Result<(), Defect> {
        let dated = |text: &str| {
            day(text).ok_or_else(|| {
                let found = format!("{:?} is no day of the form YYYYMMDD", clip(text));
                tags.defect(DefectCode::BadDate, found).column(name)
            })
        };
        match (scope, name) {
            (Scope::Payee, "NAME") => self.name = self.name.take().or(Some(value)),
            (Scope::Currency, "CURSYM") => self.currency = currency(&value),
            (Scope::Entry, "TRNAMT") => {
                if self.amount.is_some() {
                    let found = "the transaction has two amounts";
                    return Err(tags.defect(DefectCode::Malformed, found).column(name));
                }
                self.amount = Some(amount(&value).ok_or_else(|| bad(name, &value, tags))?);
            }
            (Scope::Entry, "DTPOSTED") => self.booked_on = Some(dated(&value)?),
            (Scope::Entry, "DTTRAN") if self.pending => self.booked_on = Some(dated(&value)?),
            (Scope::Entry, "DTAVAIL") => self.value_on = day(&value),
            (Scope::Entry, "TRNTYPE") => self.code = Some(value),
            (Scope::Entry, "FITID") => self.id = Some(value),
            (Scope::Entry, "REFNUM") => self.reference = Some(value),
            // Banks write 0 for transactions that are no cheques.
            (Scope::Entry, "CHECKNUM") => {
                self.cheque = Some(value).filter(|number| number.bytes().any(|b| b != b'0'));
            }
            (Scope::Entry, "NAME" | "EXTDNAME") => self.name = Some(value),
            (Scope::Entry, "MEMO") => self.memo = value,
            (Scope::Entry, "CORRECTFITID") => self.corrects = Some(value),
            (Scope::Entry, "CORRECTACTION") => self.correction = Some(value),
            _ => {}
        }
        Ok(())
    }
}

pub(super) fn bad(name: &str, value: &str, tags: &Tags<'_>) -> Defect {
    let found = format!("{:?} is not an amount", clip(value));
    tags.defect(DefectCode::BadAmount, found).column(name)
}

pub(super) fn currency(text: &str) -> Option<String> {
    let fits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_alphabetic());
    fits.then(|| text.to_ascii_uppercase())
}

/// `YYYYMMDD[HHMMSS[.XXX]][[offset[:zone]]]`: the day as written, which is the bank's own.
pub(super) fn day(text: &str) -> Option<Day> {
    /// The longest date-time with its zone.
    const TAIL_MAX_BYTES: usize = 40;
    let (head, tail) = text.split_at_checked(8)?;
    if !head.bytes().all(|b| b.is_ascii_digit()) {
        return iso_day(text);
    }
    let known = |c: char| c.is_ascii_alphanumeric() || "+-.:[]/_ ".contains(c);
    let fits = tail.len() <= TAIL_MAX_BYTES && tail.chars().all(known);
    let iso = format!("{}-{}-{}", &head[..4], &head[4..6], &head[6..]);
    fits.then(|| iso_day(&iso)).flatten()
}

/// `YYYYMMDDHHMMSS[.XXX][[offset[:zone]]]`: Greenwich's where there is no offset (OFX 1.6, 3.2.8.2).
pub(super) fn instant(text: &str) -> Option<Instant> {
    let (stamp, zone) = text.split_once('[').unwrap_or((text, ""));
    let local = NaiveDateTime::parse_from_str(stamp.get(..14)?, "%Y%m%d%H%M%S").ok()?;
    let hours = zone
        .trim_end_matches(']')
        .split(':')
        .next()
        .unwrap_or_default();
    let hours = if hours.is_empty() {
        0
    } else {
        hours.parse().ok()?
    };
    local_instant(local, hours)
}

/// `-6.60`, `+00115.8331`, `.5`, `12,34`, `1.234,56`: signed, with a point or a comma. One comma
/// before three digits may be either and is refused.
pub(super) fn amount(text: &str) -> Option<Decimal> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let whole = |digits: String| {
        if digits.starts_with('.') {
            format!("0{digits}")
        } else {
            digits
        }
    };
    let amount = match (digits.find(','), digits.find('.')) {
        (None, _) => plain(&whole(digits.to_owned()))?,
        (Some(comma), None) => {
            let fraction = digits.len() - comma - 1;
            let single = digits.matches(',').count() == 1 && fraction != 3;
            plain(&whole(single.then(|| digits.replace(',', "."))?))?
        }
        (Some(comma), Some(point)) if comma < point => cell(digits)?,
        (Some(_), Some(_)) => {
            let swapped = digits
                .replace('.', "'")
                .replace(',', ".")
                .replace('\'', ",");
            cell(&swapped)?
        }
    };
    // `cell` also knows signs of its own, which may not follow the first.
    if !digits.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | ',')) {
        return None;
    }
    Some(if negative { -amount } else { amount })
}
