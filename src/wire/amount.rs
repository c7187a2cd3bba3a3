//! Amounts, days and small texts as the statement formats write them. Exact or refused.

use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime};
use rust_decimal::Decimal;

use crate::base::{Day, Instant};

/// China Standard Time, east of Greenwich.
const CHINA_HOURS: i32 = 8;

/// The most digits before the point: SWIFT allows 15 in all, ISO 20022 13 beside 5 decimals. With
/// both limits the sum of `ENTRIES_MAX` amounts still fits a `Decimal` exactly.
const WHOLE_MAX_DIGITS: usize = 15;
/// The most digits behind the point; ISO 20022 allows 5.
const FRACTION_MAX_DIGITS: usize = 6;

/// `digits[.digits]` without sign, exponent or separators (ISO 20022
/// `ActiveOrHistoricCurrencyAndAmount`); leading zeros do not count.
pub(crate) fn plain(text: &str) -> Option<Decimal> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let fits = !whole.is_empty()
        && digits(whole)
        && digits(fraction)
        && whole.trim_start_matches('0').len() <= WHOLE_MAX_DIGITS
        && fraction.len() <= FRACTION_MAX_DIGITS;
    if !fits {
        return None;
    }
    let figures = whole
        .trim_start_matches('0')
        .bytes()
        .chain(fraction.bytes());
    let value = figures.fold(0_i128, |value, figure| {
        value * 10 + i128::from(figure - b'0')
    });
    Decimal::try_from_i128_with_scale(value, u32::try_from(fraction.len()).ok()?).ok()
}

/// `15d` of SWIFT: digits with a decimal comma; banks also leave the comma out.
pub(crate) fn comma(text: &str) -> Option<Decimal> {
    if text.contains('.') {
        return None;
    }
    plain(&text.replacen(',', ".", 1))
}

/// `+1,234.50`, `-3.00`, `¥12`, `12.00元`: a cell of a bank's own export with thousands commas in
/// their places. `1,23` is refused.
pub(crate) fn cell(text: &str) -> Option<Decimal> {
    let mut text = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '¥' | '￥' | '元'));
    let mut negative = false;
    if let Some(rest) = text.strip_prefix('-') {
        (negative, text) = (true, rest);
    } else if let Some(rest) = text.strip_prefix('+') {
        text = rest;
    }
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '¥' | '￥'));
    let amount = if text.contains(',') {
        plain(&ungroup(text)?)?
    } else {
        plain(text)?
    };
    Some(if negative { -amount } else { amount })
}

fn ungroup(text: &str) -> Option<String> {
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut groups = whole.split(',');
    let first = groups.next()?;
    let fits = (1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3);
    (fits && !rest.contains(',')).then(|| whole.replace(',', "") + rest)
}

/// `YYYY-MM-DD`, alone or at the head of an ISO date-time or zoned date. The day is the bank's
/// local one, as written, whatever the offset says (`feeds.md` §4.23).
pub(crate) fn iso_day(text: &str) -> Option<Day> {
    let (day, rest) = text.trim().split_at_checked(10)?;
    let ends = rest.is_empty() || rest.starts_with(['T', 'Z', '+', '-', ' ']);
    ends.then(|| Day::parse_iso(day.as_bytes())).flatten()
}

/// `2026-01-02T18:30:00+08:00`, `…Z`, `….123`; without an offset it is China Standard Time.
pub(crate) fn iso_instant(text: &str) -> Option<Instant> {
    let text = text.trim();
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
    local_instant(local, CHINA_HOURS)
}

/// The day of an instant in China.
pub fn china_day(at: Instant) -> Option<Day> {
    let zone = FixedOffset::east_opt(CHINA_HOURS * 3_600)?;
    Some(Day::from_date(at.with_timezone(&zone).date_naive()))
}

/// An instant that a clock `hours` east of Greenwich shows.
pub(crate) fn local_instant(local: NaiveDateTime, hours: i32) -> Option<Instant> {
    let zone = FixedOffset::east_opt(hours.checked_mul(3_600)?)?;
    Some(local.and_local_timezone(zone).single()?.to_utc())
}

/// `20250101`, `2025-1-2`, `2025/12/03  14:06:51`, `2025年1月2日`: the day of a cell.
pub(crate) fn cell_day(text: &str) -> Option<Day> {
    let text = text.trim();
    let head: String = text
        .chars()
        .take_while(|c| !matches!(c, ' ' | 'T' | '\u{3000}'))
        .collect();
    if head.len() == 8 && head.bytes().all(|b| b.is_ascii_digit()) {
        return within(ymd(&head[..4], &head[4..6], &head[6..])?);
    }
    let mut parts = head
        .split(['-', '/', '.', '年', '月', '日'])
        .filter(|part| !part.is_empty());
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if year.len() != 4 || parts.next().is_some() {
        return None;
    }
    within(ymd(year, month, day)?)
}

fn ymd(year: &str, month: &str, day: &str) -> Option<Day> {
    Day::from_ymd(
        number(year)?,
        u32::try_from(number(month)?).ok()?,
        u32::try_from(number(day)?).ok()?,
    )
}

fn number(text: &str) -> Option<i32> {
    (text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

fn within(day: Day) -> Option<Day> {
    (Day::MIN..=Day::MAX).contains(&day).then_some(day)
}

/// A SWIFT `YYMMDD`: years 80–99 are 19xx. `Err` carries the last day of the month where the day of
/// month is one a 30/360 calendar has and the civil one has not (30 February).
pub(crate) fn swift_day(text: &str) -> Option<Result<Day, Day>> {
    if text.len() != 6 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (year, month, day) = (
        number(&text[..2])?,
        number(&text[2..4])?,
        number(&text[4..])?,
    );
    let year = if year >= 80 { 1900 + year } else { 2000 + year };
    let (month, day) = (u32::try_from(month).ok()?, u32::try_from(day).ok()?);
    if let Some(day) = Day::from_ymd(year, month, day) {
        return Some(Ok(day));
    }
    let last = (28..31)
        .rev()
        .find_map(|last| Day::from_ymd(year, month, last))?;
    (29..=31).contains(&day).then_some(Err(last))
}

/// The day `MMDD` nearest to another day: an entry date carries no year, and a value date in
/// January may belong to an entry of December.
pub(crate) fn nearest_day(text: &str, near: Day) -> Option<Day> {
    let (month, day) = (number(text.get(..2)?)?, number(text.get(2..)?)?);
    let (month, day) = (u32::try_from(month).ok()?, u32::try_from(day).ok()?);
    let year = near.date().year();
    (year - 1..=year + 1)
        .filter_map(|year| Day::from_ymd(year, month, day))
        .min_by_key(|candidate| candidate.since(near).abs())
}

/// The text, unless it is blank or one of the fillers that stand for nothing.
pub(crate) fn some_text(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_or_refused() {
        let d = |t: &str| Decimal::from_str_exact(t).unwrap();
        assert_eq!(plain("5442.09000"), Some(d("5442.09000")));
        assert_eq!(
            [
                plain("12..34"),
                plain("-1"),
                plain("1e3"),
                plain(""),
                plain(".5")
            ],
            [None; 5]
        );
        assert_eq!(plain("999999999999999.999"), Some(d("999999999999999.999")));
        assert_eq!([plain("1000000000000000"), plain("0.0000001")], [None; 2]);
        assert_eq!(comma("00000000000000001000,00"), Some(d("1000.00")));
        assert_eq!(comma("000000001000,00"), Some(d("1000.00")));
        assert_eq!(
            [comma("24,"), comma("500")],
            [Some(d("24")), Some(d("500"))]
        );
        assert_eq!([comma("1.000,00"), comma("1,2,3")], [None; 2]);
        assert_eq!(cell("-2,600.00"), Some(d("-2600.00")));
        assert_eq!(cell("¥28.16"), Some(d("28.16")));
        assert_eq!(
            [
                cell("1,23"),
                cell("xx,yyyy.zz"),
                cell("1.234,5"),
                cell("--1")
            ],
            [None; 4]
        );
    }

    #[test]
    fn instants_with_and_without_an_offset() {
        let at = |text: &str| iso_instant(text).map(|i| i.timestamp_millis() - 1_767_349_800_000);
        for text in [
            "2026-01-02T18:30:00+08:00",
            "2026-01-02T10:30:00Z",
            "2026-01-02T18:30:00",
            " 2026-01-02T18:30:00.000 ",
        ] {
            assert_eq!(at(text), Some(0), "{text}");
        }
        assert_eq!(at("2026-01-02T18:30:00.250"), Some(250));
        for text in ["2026-01-02", "2026-13-02T18:30:00", "", "T"] {
            assert_eq!(at(text), None, "{text}");
        }
    }

    #[test]
    fn days_of_every_dialect() {
        let day = |t: &str| t.parse::<Day>().unwrap();
        assert_eq!(
            iso_day("2025-07-23T00:00:00.000000000"),
            Some(day("2025-07-23"))
        );
        assert_eq!(iso_day("2025-07-23+08:00"), Some(day("2025-07-23")));
        assert_eq!(cell_day("2025/12/03  14:06:51"), Some(day("2025-12-03")));
        assert_eq!(cell_day("20250101"), Some(day("2025-01-01")));
        assert_eq!(cell_day("2025年1月2日"), Some(day("2025-01-02")));
        assert_eq!(
            [cell_day("12/29"), cell_day("2025-02-30"), cell_day("合计")],
            [None; 3]
        );
        assert_eq!(swift_day("160230"), Some(Err(day("2016-02-29"))));
        assert_eq!(swift_day("161340"), None);
    }

    #[test]
    fn an_entry_date_takes_the_nearest_year() {
        let day = |t: &str| t.parse::<Day>().unwrap();
        assert_eq!(
            nearest_day("1231", day("2026-01-02")),
            Some(day("2025-12-31"))
        );
        assert_eq!(
            nearest_day("0102", day("2025-12-31")),
            Some(day("2026-01-02"))
        );
        assert_eq!(nearest_day("1301", day("2025-12-31")), None);
    }
}
