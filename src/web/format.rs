//! Figures as people read them: amounts in 元, 万元 or 亿元, percentages, counts.
//!
//! Invariants: integer fen in, text out; an amount rounds half away from zero to the decimals of
//! its place; a shortfall above zero never prints as zero; a coverage is floored.
//! Absent on purpose: floats, and a formatter in the browser. A figure is written once, here, so
//! that page, print and report say the same.

use crate::base::{Money, Ratio};

/// Decimals of an amount in tables and headline figures.
const DECIMALS: u32 = 2;

/// The unit a page's tables are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Unit {
    Yuan,
    #[default]
    Wan,
    Yi,
}

impl Unit {
    pub(super) const ALL: [Unit; 3] = [Unit::Yuan, Unit::Wan, Unit::Yi];

    /// The value of the `unit` parameter.
    pub(super) const fn param(self) -> &'static str {
        match self {
            Unit::Yuan => "yuan",
            Unit::Wan => "wan",
            Unit::Yi => "yi",
        }
    }

    pub(super) fn from_param(text: &str) -> Option<Unit> {
        Unit::ALL.into_iter().find(|unit| unit.param() == text)
    }

    pub(super) const fn chinese(self) -> &'static str {
        match self {
            Unit::Yuan => "元",
            Unit::Wan => "万元",
            Unit::Yi => "亿元",
        }
    }

    const fn fen(self) -> i128 {
        match self {
            Unit::Yuan => 100,
            Unit::Wan => 1_000_000,
            Unit::Yi => 10_000_000_000,
        }
    }

    /// The largest unit an amount fills at least once.
    fn fitting(amount: Money) -> Unit {
        let fen = i128::from(amount.fen()).abs();
        if fen >= Unit::Yi.fen() {
            Unit::Yi
        } else if fen >= Unit::Wan.fen() {
            Unit::Wan
        } else {
            Unit::Yuan
        }
    }
}

/// An amount in a stated unit: `1,706.80`.
pub(super) fn amount(value: Money, unit: Unit) -> String {
    rounded(value, unit, DECIMALS)
}

/// A shortfall in a stated unit; what is above zero but rounds to zero reads `<0.01`.
pub(super) fn shortfall(value: Money, unit: Unit) -> String {
    never_zero(value, unit, DECIMALS)
}

/// A shortfall in 万元 with one decimal, for a tile: `446.9`, `<0.1`.
pub(super) fn tile_shortfall(value: Money) -> String {
    never_zero(value, Unit::Wan, 1)
}

/// A headline amount and the unit that suits it.
pub(super) fn headline(value: Money) -> (String, &'static str) {
    let unit = Unit::fitting(value);
    (amount(value, unit), unit.chinese())
}

/// The exact amount in yuan, for a `title`: `17,068,000.00 元`.
pub(super) fn exact(value: Money) -> String {
    format!("{value} 元")
}

/// A floored percentage, `95.92%`.
pub(super) fn percent(ratio: Ratio) -> String {
    format!("{}%", ratio.to_percent())
}

/// Basis points as a short percentage: `90%`, `92.5%`.
pub(super) fn basis_points(points: i64) -> String {
    let (whole, rest) = (points / 100, points % 100);
    if rest == 0 {
        format!("{whole}%")
    } else if rest % 10 == 0 {
        format!("{whole}.{}%", rest / 10)
    } else {
        format!("{whole}.{rest:02}%")
    }
}

/// A change between two floored rates in percentage points; arrows, since ▲ is a warning's mark.
pub(super) fn change(from: Ratio, to: Ratio) -> String {
    let points = to.basis_points() - from.basis_points();
    let size = points.unsigned_abs();
    let (arrow, sign) = match points {
        0 => return "持平".to_owned(),
        1.. => ("↑", "+"),
        _ => ("↓", "−"),
    };
    format!("{arrow} {sign}{}.{:02} 个百分点", size / 100, size % 100)
}

/// A whole number with thousands separators.
pub(super) fn count(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}", grouped(u128::from(value.unsigned_abs())))
}

/// Text as one segment of a path, a query value or a fragment: all but unreserved is escaped.
pub(super) fn url_part(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn rounded(value: Money, unit: Unit, decimals: u32) -> String {
    let scale = 10_u128.pow(decimals);
    let steps = in_steps(value, unit, scale);
    let sign = if value.fen() < 0 && steps > 0 {
        "-"
    } else {
        ""
    };
    let width = decimals as usize;
    format!("{sign}{}.{:0width$}", grouped(steps / scale), steps % scale)
}

fn never_zero(value: Money, unit: Unit, decimals: u32) -> String {
    if value.fen() > 0 && in_steps(value, unit, 10_u128.pow(decimals)) == 0 {
        let width = decimals as usize;
        return format!("<0.{:0width$}", 1);
    }
    rounded(value, unit, decimals)
}

/// The size of an amount in steps of `1/scale` unit, rounded half up.
fn in_steps(value: Money, unit: Unit, scale: u128) -> u128 {
    let fen = u128::from(value.fen().unsigned_abs());
    let unit_fen = unit.fen().unsigned_abs();
    (fen * scale * 2 + unit_fen) / (unit_fen * 2)
}

fn grouped(value: u128) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fen(value: i64) -> Money {
        Money::from_fen(value)
    }

    #[test]
    fn amounts_are_exact_in_yuan_and_rounded_half_up_above() {
        assert_eq!(amount(fen(386_200_001), Unit::Yuan), "3,862,000.01");
        assert_eq!(amount(fen(386_205_000), Unit::Wan), "386.21");
        assert_eq!(amount(fen(386_204_999), Unit::Wan), "386.20");
        assert_eq!(amount(fen(41_900_000_000), Unit::Yi), "4.19");
        assert_eq!(amount(fen(-386_205_000), Unit::Wan), "-386.21");
        assert_eq!(amount(fen(-1), Unit::Wan), "0.00");
        assert_eq!(
            amount(fen(i64::MAX), Unit::Yuan),
            "92,233,720,368,547,758.07"
        );
        assert_eq!(amount(fen(i64::MIN), Unit::Yi), "-922,337,203.69");
    }

    #[test]
    fn a_shortfall_never_rounds_to_zero() {
        assert_eq!(shortfall(fen(1), Unit::Wan), "<0.01");
        assert_eq!(shortfall(fen(4_999), Unit::Wan), "<0.01");
        assert_eq!(shortfall(fen(5_000), Unit::Wan), "0.01");
        assert_eq!(shortfall(fen(1), Unit::Yi), "<0.01");
        assert_eq!(shortfall(fen(1), Unit::Yuan), "0.01");
        assert_eq!(shortfall(fen(0), Unit::Wan), "0.00");
        assert_eq!(tile_shortfall(fen(49_999)), "<0.1");
        assert_eq!(tile_shortfall(fen(446_930_000)), "446.9");
    }

    #[test]
    fn a_headline_picks_its_unit() {
        assert_eq!(headline(fen(41_938_000_000)), ("4.19".to_owned(), "亿元"));
        assert_eq!(
            headline(fen(1_706_800_000)),
            ("1,706.80".to_owned(), "万元")
        );
        assert_eq!(
            headline(fen(9_999_999_999)),
            ("10,000.00".to_owned(), "万元")
        );
        assert_eq!(headline(fen(350_000)), ("3,500.00".to_owned(), "元"));
        assert_eq!(headline(fen(1)), ("0.01".to_owned(), "元"));
    }

    #[test]
    fn a_coverage_is_floored() {
        let short = Ratio::new(99_999_999, 100_000_000).unwrap();
        assert_eq!(percent(short), "99.99%");
        assert_eq!(percent(Ratio::new(7, 7).unwrap()), "100.00%");
    }

    #[test]
    fn changes_carry_sign_and_shape() {
        let rate = |n| Ratio::new(n, 10_000).unwrap();
        assert_eq!(change(rate(9_410), rate(9_592)), "↑ +1.82 个百分点");
        assert_eq!(change(rate(9_592), rate(9_587)), "↓ −0.05 个百分点");
        assert_eq!(change(rate(9_592), rate(9_592)), "持平");
    }

    #[test]
    fn thresholds_counts_and_links_read_short() {
        assert_eq!(basis_points(9_000), "90%");
        assert_eq!(basis_points(9_250), "92.5%");
        assert_eq!(basis_points(9_999), "99.99%");
        assert_eq!(count(1_462), "1,462");
        assert_eq!(count(-1_000), "-1,000");
        assert_eq!(url_part("ZZ-ZD"), "ZZ-ZD");
        assert_eq!(url_part("a/b?\"区"), "a%2Fb%3F%22%E5%8C%BA");
    }
}
