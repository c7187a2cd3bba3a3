//! The two structured fields of SWIFT MT940/942: `:61:` statement line and `:60x:`/`:62x:` balance.
//!
//! `:61:` is `6!n[4!n]2a[1!a]15d1!a3!c16x[//16x][34x]` in SWIFT's notation: value date, entry date,
//! mark, funds code, amount, transaction type, customer reference, bank reference. Banks leave the
//! entry date blank, pad amounts with zeros, and write names and IBANs into the reference.
//!
//! The mark is where programs go wrong: **RC is the reversal of a credit, money out; RD the
//! reversal of a debit, money in** (`feeds.md` §1.3, proved by the balances of a real file); EC and
//! ED are expected, not booked.

use rust_decimal::Decimal;

use super::amount::{comma, nearest_day, some_text, swift_day};
use super::{Balance, Entry, EntryStatus, Reversal, ReversalKind};
use crate::base::Day;

/// A field that could be read, with a remark where a date had to be mended.
pub(crate) struct Scanned<T> {
    pub(crate) value: T,
    pub(crate) remark: Option<String>,
}

/// Reads the first line of a `:61:` field. The memo is left empty.
///
/// # Errors
/// What is wrong, as a sentence.
pub(crate) fn statement_line(
    text: &str,
    currency: &str,
    line: u64,
) -> Result<Scanned<Entry>, String> {
    let value_text = text.get(..6).unwrap_or(text);
    let (value_on, mut remark) = mended_day(value_text, "value date")?;
    let (booked_on, rest) = entry_date(&text[6..], value_on, &mut remark);
    let (mark, rest) = Mark::read(rest.trim_start_matches(' '))?;
    // A funds code is the third letter of the currency and says nothing the balance does not.
    let rest = rest
        .strip_prefix(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(rest);
    let length = rest
        .bytes()
        .take_while(|b| b.is_ascii_digit() || *b == b',')
        .count();
    let (digits, rest) = rest.split_at(length);
    let amount =
        comma(digits).ok_or_else(|| format!("{digits:?} is not an amount with a comma"))?;
    if !is_type(rest) {
        return Err(format!(
            "the amount {digits:?} is not followed by a transaction type, N, F or S and three characters"
        ));
    }
    let (code, rest) = split_chars(rest, 4);
    let (customer, bank) = rest.split_once("//").unwrap_or((rest, ""));
    let (customer, name) = split_padded(customer);
    let entry = Entry {
        status: if mark.expected {
            EntryStatus::Pending
        } else {
            EntryStatus::Booked
        },
        amount: if mark.money_in { amount } else { -amount },
        currency: currency.to_owned(),
        booked_on: Some(booked_on),
        value_on: Some(value_on),
        // A reversal repeats the reference of what it reverses, where the bank has one.
        reversal: mark.reversal.then(|| Reversal {
            original: reference(customer),
            ..Reversal::unlinked(ReversalKind::Reversed)
        }),
        customer_ref: reference(customer),
        bank_ref: reference(bank),
        code: some_text(code),
        counterparty: some_text(name),
        memo: String::new(),
        details: Vec::new(),
        line,
    };
    Ok(Scanned {
        value: entry,
        remark,
    })
}

/// Whether a text begins with a transaction type, `1!a3!c`: it alone says that the amount before it is
/// whole. Real files leave the comma out where no cents follow (`C500NTRF`), pad the three characters
/// with blanks, and one bank writes M for the first.
fn is_type(text: &str) -> bool {
    let kind = text.as_bytes().first_chunk::<4>();
    let padded = |b: &u8| b.is_ascii_alphanumeric() || *b == b' ';
    kind.is_some_and(|[first, rest @ ..]| b"NFSM".contains(first) && rest.iter().all(padded))
}

/// The entry date and the text behind it; without one, or with one that is no day, the value date.
fn entry_date<'t>(text: &'t str, value_on: Day, remark: &mut Option<String>) -> (Day, &'t str) {
    let date = text
        .get(..4)
        .filter(|date| date.bytes().all(|b| b.is_ascii_digit()));
    let Some(date) = date else {
        return (value_on, text);
    };
    let booked_on = nearest_day(date, value_on).unwrap_or_else(|| {
        *remark = Some(format!(
            "entry date {date:?} is no day; the value date is taken"
        ));
        value_on
    });
    (booked_on, &text[4..])
}

/// A balance and its currency, empty where the bank leaves it out.
pub(crate) struct FieldBalance {
    pub(crate) balance: Balance,
    pub(crate) currency: String,
}

/// Reads a `:60F:`, `:60M:`, `:62F:` or `:62M:` field: `1!a6!n3!a15d`.
///
/// # Errors
/// What is wrong, as a sentence.
pub(crate) fn balance(text: &str, tag: &str) -> Result<Scanned<FieldBalance>, String> {
    let negative = match text.as_bytes().first() {
        Some(b'C') => false,
        Some(b'D') => true,
        _ => return Err("the balance does not begin with C or D".to_owned()),
    };
    let rest = &text[1..];
    let (day, remark) = mended_day(rest.get(..6).unwrap_or(rest), "balance date")?;
    let rest = &rest[6..];
    let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (currency, digits) = rest.split_at(letters);
    if !matches!(letters, 0 | 3) {
        return Err(format!("{currency:?} is not a currency"));
    }
    let digits = digits.trim();
    let amount =
        comma(digits).ok_or_else(|| format!("{digits:?} is not an amount with a comma"))?;
    let amount = if negative { -amount } else { amount };
    let balance = Balance {
        amount,
        day: Some(day),
        kind: tag.to_owned(),
    };
    Ok(Scanned {
        value: FieldBalance {
            balance,
            currency: currency.to_owned(),
        },
        remark,
    })
}

/// `:90C:`/`:90D:` of MT942, `5n3!a15d`: declared count and sum.
pub(crate) fn declared(text: &str) -> Option<(u64, Decimal)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let count = text[..digits].parse().ok()?;
    let sum = text[digits..].trim_start_matches(|c: char| c.is_ascii_alphabetic());
    Some((count, comma(sum.trim())?))
}

/// `:13D:` of MT942, `6!n4!n1x4!n`: the day of a report at the bank's clock, whose offset may be
/// left out.
pub(crate) fn report_day(text: &str) -> Option<Day> {
    let text = text.trim();
    let (day, rest) = text.split_at_checked(6)?;
    let (time, offset) = rest.split_at_checked(4)?;
    let clock = |text: &str, hours_max: u32| {
        let digits = text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit());
        let figure = |part: &str| part.parse::<u32>().ok();
        let (hours, minutes) = (figure(text.get(..2)?)?, figure(text.get(2..)?)?);
        (digits && hours <= hours_max && minutes < 60).then_some(())
    };
    // 24:00 is the end of a day with some banks; no zone is further than 14 hours away.
    clock(time, 24)?;
    if let Some(offset) = offset.strip_prefix(['+', '-']) {
        clock(offset, 14)?;
    } else if !offset.is_empty() {
        return None;
    }
    swift_day(day)?.ok()
}

/// `:34F:` of MT942, `3!a[1!a]15d`: the currency of a floor limit for debits (D), credits (C) or
/// both.
pub(crate) fn floor_currency(text: &str) -> Option<&str> {
    let (currency, rest) = text.trim().split_at_checked(3)?;
    let amount = rest.strip_prefix(['D', 'C']).unwrap_or(rest);
    let letters = currency.bytes().all(|b| b.is_ascii_uppercase());
    comma(amount.trim()).filter(|_| letters).map(|_| currency)
}

#[derive(Clone, Copy)]
struct Mark {
    money_in: bool,
    reversal: bool,
    expected: bool,
}

impl Mark {
    fn read(text: &str) -> Result<(Mark, &str), String> {
        const MARKS: [(&str, Mark); 6] = [
            (
                "RC",
                Mark {
                    money_in: false,
                    reversal: true,
                    expected: false,
                },
            ),
            (
                "RD",
                Mark {
                    money_in: true,
                    reversal: true,
                    expected: false,
                },
            ),
            (
                "EC",
                Mark {
                    money_in: true,
                    reversal: false,
                    expected: true,
                },
            ),
            (
                "ED",
                Mark {
                    money_in: false,
                    reversal: false,
                    expected: true,
                },
            ),
            (
                "C",
                Mark {
                    money_in: true,
                    reversal: false,
                    expected: false,
                },
            ),
            (
                "D",
                Mark {
                    money_in: false,
                    reversal: false,
                    expected: false,
                },
            ),
        ];
        MARKS
            .iter()
            .find_map(|(name, mark)| text.strip_prefix(name).map(|rest| (*mark, rest)))
            .ok_or_else(|| "no mark C, D, RC, RD, EC or ED after the dates".to_owned())
    }
}

fn mended_day(text: &str, what: &str) -> Result<(Day, Option<String>), String> {
    match swift_day(text) {
        Some(Ok(day)) => Ok((day, None)),
        Some(Err(day)) => Ok((
            day,
            Some(format!(
                "{what} {text} is no civil day; the month's last, {day}, is taken"
            )),
        )),
        None => Err(format!("{what} {text:?} is not YYMMDD")),
    }
}

fn split_chars(text: &str, count: usize) -> (&str, &str) {
    let end = text
        .char_indices()
        .nth(count)
        .map_or(text.len(), |(at, _)| at);
    text.split_at(end)
}

/// Splits `0121470966      W.P. Jansen`: a reference padded to 16 places and a name behind it.
fn split_padded(text: &str) -> (&str, &str) {
    text.split_once("  ").unwrap_or((text, ""))
}

/// A reference, unless it is blank or one of SWIFT's words for none.
fn reference(text: &str) -> Option<String> {
    some_text(text).filter(|text| !matches!(text.as_str(), "NONREF" | "NOTPROVIDED"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Entry {
        statement_line(text, "EUR", 1).unwrap().value
    }

    fn yuan(text: &str) -> Decimal {
        Decimal::from_str_exact(text).unwrap()
    }

    #[test]
    fn a_reversed_credit_is_money_out_and_a_reversed_debit_money_in() {
        let signed = |mark: &str| {
            let entry = line(&format!("2601020102{mark}100,00NTRFNONREF"));
            (entry.amount, entry.reversal.is_some(), entry.status)
        };
        let booked = EntryStatus::Booked;
        assert_eq!(signed("C"), (yuan("100.00"), false, booked));
        assert_eq!(signed("D"), (yuan("-100.00"), false, booked));
        assert_eq!(signed("RC"), (yuan("-100.00"), true, booked));
        assert_eq!(signed("RD"), (yuan("100.00"), true, booked));
        assert_eq!(signed("RCR"), (yuan("-100.00"), true, booked));
        assert_eq!(signed("EC"), (yuan("100.00"), false, EntryStatus::Pending));
        assert_eq!(signed("ED"), (yuan("-100.00"), false, EntryStatus::Pending));
    }

    #[test]
    fn dialects_of_the_statement_line() {
        let citi = line("240312    DD212,39NMSCNONREF//");
        assert_eq!(
            (citi.amount, citi.customer_ref, citi.bank_ref),
            (yuan("-212.39"), None, None)
        );
        let rabobank = line("110527D000000001213,28N0440121470966      W.P. Jansen");
        assert_eq!(rabobank.amount, yuan("-1213.28"));
        assert_eq!(rabobank.customer_ref.as_deref(), Some("0121470966"));
        assert_eq!(rabobank.counterparty.as_deref(), Some("W.P. Jansen"));
        let asn = line("2001010101D65,00NOVBNL47INGB9999999999");
        assert_eq!(asn.customer_ref.as_deref(), Some("NL47INGB9999999999"));
        let knab = line("1407290729C500NTRF29-07-2014 10:05//B4G29PGDCK1QFV3E");
        assert_eq!(
            (knab.amount, knab.code.as_deref()),
            (yuan("500"), Some("NTRF"))
        );
        assert_eq!(knab.bank_ref.as_deref(), Some("B4G29PGDCK1QFV3E"));
    }

    #[test]
    fn the_year_of_an_entry_date_and_a_thirtieth_of_february() {
        let turn = line("2601021231D1,00NTRF");
        assert_eq!(turn.booked_on.unwrap().to_string(), "2025-12-31");
        let scanned = statement_line("1602300301DR6,00N024NONREF", "EUR", 1).unwrap();
        assert_eq!(scanned.value.value_on.unwrap().to_string(), "2016-02-29");
        assert_eq!(scanned.value.booked_on.unwrap().to_string(), "2016-03-01");
        assert!(scanned.remark.unwrap().contains("160230"));
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        for text in [
            "",
            "余额",
            "1811261126CR",
            "160101X5,00NTRF",
            "160101C5.00NTRF",
            "160101C1000xNTRF",
            "160101C1000,0x0NTRF",
            "160101C1000,00",
            "160101C1000,00NT",
            "16010",
        ] {
            assert!(statement_line(text, "EUR", 1).is_err(), "{text}");
        }
        for text in [
            "",
            "C16",
            "X160101EUR1,00",
            "C160101EURO1,00",
            "C160101EUR",
            "C160101余1,0",
        ] {
            assert!(balance(text, "60F").is_err(), "{text}");
        }
    }

    #[test]
    fn balances_with_and_without_currency() {
        let dated = balance("D070903EUR1970431,87", "60F").unwrap().value;
        assert_eq!(
            (dated.balance.amount, dated.currency.as_str()),
            (yuan("-1970431.87"), "EUR")
        );
        let bare = balance("C02032495000,00", "62F").unwrap().value;
        assert_eq!(
            (bare.balance.amount, bare.currency.as_str()),
            (yuan("95000.00"), "")
        );
        assert_eq!(declared("3PLN0,03"), Some((3, yuan("0.03"))));
    }

    #[test]
    fn the_head_of_a_report() {
        let day = |text: &str| report_day(text).map(|day| day.to_string());
        assert_eq!(day("2606051530+0800").as_deref(), Some("2026-06-05"));
        assert_eq!(day("2606052400-0930").as_deref(), Some("2026-06-05"));
        assert_eq!(day("2606051530").as_deref(), Some("2026-06-05"));
        assert_eq!(
            [
                day("260605"),
                day("2606051530+9900"),
                day("2606051560+0800")
            ],
            [None, None, None]
        );
        assert_eq!(floor_currency("CNYD1000,"), Some("CNY"));
        assert_eq!(floor_currency("EUR0,"), Some("EUR"));
        assert_eq!([floor_currency("CNY"), floor_currency("D1000,")], [None; 2]);
    }
}
