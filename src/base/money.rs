//! Money as whole fen and ratios as exact fractions.
//!
//! Invariants: every sum is checked, a conversion that would lose a fraction of a fen is refused,
//! and a ratio is printed by floor so that 99.999 % never reads 100 %.
//! Absent on purpose: floats, currencies other than CNY inside the ledger, `Add` and `Sub` operators
//! (an overflow must be handled by its caller, not by a panic).

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Serialize};

/// An amount of CNY in fen (1 yuan = 100 fen); may be negative.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Money(i64);

/// The unit in which a sender writes amounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AmountUnit {
    Fen,
    Yuan,
}

impl AmountUnit {
    pub const fn as_str(self) -> &'static str {
        match self {
            AmountUnit::Fen => "fen",
            AmountUnit::Yuan => "yuan",
        }
    }
}

impl FromStr for AmountUnit {
    type Err = String;

    fn from_str(text: &str) -> Result<AmountUnit, String> {
        match text {
            "fen" => Ok(AmountUnit::Fen),
            "yuan" => Ok(AmountUnit::Yuan),
            _ => Err(format!("{text:?} is neither fen nor yuan")),
        }
    }
}

/// Why a text or decimal is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("{0:?} is not a decimal amount")]
    NotADecimal(String),
    #[error("{0} has a fraction of a fen")]
    FractionOfFen(String),
    #[error("the amount does not fit 64 bits of fen")]
    Overflow,
}

impl Money {
    pub const ZERO: Money = Money(0);

    /// An amount given in fen.
    pub const fn from_fen(fen: i64) -> Money {
        Money(fen)
    }

    /// The amount in fen.
    pub const fn fen(self) -> i64 {
        self.0
    }

    /// Parses yuan such as `1234.5`, `-3.00` or `5442.09000`.
    ///
    /// # Errors
    /// A text that is no plain decimal, or that has more than two decimals that are not zero.
    pub fn parse_yuan(text: &str) -> Result<Money, MoneyError> {
        let decimal =
            Decimal::from_str(text.trim()).map_err(|_| MoneyError::NotADecimal(text.to_owned()))?;
        Money::from_yuan(decimal)
    }

    /// Converts yuan to fen, exactly.
    ///
    /// # Errors
    /// A fraction of a fen, or an amount beyond 64 bits.
    pub fn from_yuan(yuan: Decimal) -> Result<Money, MoneyError> {
        let fen = yuan
            .checked_mul(Decimal::ONE_HUNDRED)
            .ok_or(MoneyError::Overflow)?;
        if !fen.fract().is_zero() {
            return Err(MoneyError::FractionOfFen(yuan.to_string()));
        }
        fen.to_i64().map(Money).ok_or(MoneyError::Overflow)
    }

    /// `self + other`, or `None` beyond 64 bits.
    pub fn checked_add(self, other: Money) -> Option<Money> {
        self.0.checked_add(other.0).map(Money)
    }

    /// `self - other`, or `None` beyond 64 bits.
    pub fn checked_sub(self, other: Money) -> Option<Money> {
        self.0.checked_sub(other.0).map(Money)
    }

    /// `self + other`, held at the 64-bit limit: for totals that are shown, never for postings.
    pub fn saturating_add(self, other: Money) -> Money {
        Money(self.0.saturating_add(other.0))
    }

    /// `max(0, self - other)`, the shape of every shortfall and remainder of `domain.md` §6.
    pub fn less_floored(self, other: Money) -> Money {
        Money(self.0.saturating_sub(other.0).max(0))
    }

    /// `floor(self × numerator ÷ denominator)` for a non-negative amount: the cumulative value of
    /// `numerator` lessons out of `denominator`. Zero where the denominator is not positive.
    pub fn share_floored(self, numerator: i64, denominator: i64) -> Money {
        if denominator <= 0 {
            return Money::ZERO;
        }
        let wide = i128::from(self.0) * i128::from(numerator);
        Money(i64::try_from(wide.div_euclid(i128::from(denominator))).unwrap_or(i64::MAX))
    }

    /// `ceil(self × numerator ÷ denominator)`, for requirements, which never round down.
    pub fn share_ceiled(self, numerator: i64, denominator: i64) -> Money {
        if denominator <= 0 {
            return self;
        }
        let wide = i128::from(self.0) * i128::from(numerator);
        let up = -((-wide).div_euclid(i128::from(denominator)));
        Money(i64::try_from(up).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Money {
    /// Yuan with two decimals and thousands separators, as on a page: `-1,234.50`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fen = self.0.unsigned_abs();
        let yuan = (fen / 100).to_string();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        for (i, digit) in yuan.chars().enumerate() {
            if i > 0 && (yuan.len() - i).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        write!(f, ".{:02}", fen % 100)
    }
}

/// An exact non-negative fraction of two sums, printed by floor. `None` stands for `0/0`: a rate
/// whose denominator is zero is *not applicable*, never 100 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    numerator: i128,
    denominator: i128,
}

impl Ratio {
    /// The fraction, or `None` where the denominator is zero.
    pub fn new(numerator: i128, denominator: i128) -> Option<Ratio> {
        (denominator > 0 && numerator >= 0).then_some(Ratio {
            numerator,
            denominator,
        })
    }

    /// Decimal fraction floored to four places, `0.7333`.
    pub fn to_fraction(self) -> String {
        let scaled = self.numerator * 10_000 / self.denominator;
        format!("{}.{:04}", scaled / 10_000, scaled % 10_000)
    }

    /// Percentage floored to two places without the sign, `73.33`.
    pub fn to_percent(self) -> String {
        let scaled = self.basis_points();
        format!("{}.{:02}", scaled / 100, scaled % 100)
    }

    /// Floored basis points: 10,000 is 100 %.
    pub fn basis_points(self) -> i128 {
        self.numerator * 10_000 / self.denominator
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_yuan_exactly() {
        let fen = |t: &str| Money::parse_yuan(t).map(Money::fen);
        assert_eq!(fen("1234.5"), Ok(123_450));
        assert_eq!(fen("-3.00"), Ok(-300));
        assert_eq!(fen("5442.09000"), Ok(544_209));
        assert_eq!(fen("8.855"), Err(MoneyError::FractionOfFen("8.855".into())));
        assert!(matches!(fen("12a"), Err(MoneyError::NotADecimal(_))));
        assert_eq!(fen("92233720368547758.08"), Err(MoneyError::Overflow));
    }

    #[test]
    fn prints_with_separators() {
        assert_eq!(Money::from_fen(-123_456_789).to_string(), "-1,234,567.89");
        assert_eq!(Money::from_fen(5).to_string(), "0.05");
    }

    #[test]
    fn cumulative_floor_has_no_drift() {
        // domain.md §6.1: A = 4,999.99, N = 48; after 17 lessons E = 1,770.82.
        let a = Money::from_fen(499_999);
        assert_eq!(a.share_floored(17, 48).fen(), 177_082);
        assert_eq!(a.share_floored(17, 60).fen(), 141_666);
        let steps: i64 = (1..=48)
            .map(|k| a.share_floored(k, 48).fen() - a.share_floored(k - 1, 48).fen())
            .sum();
        assert_eq!(steps, 499_999);
    }

    #[test]
    fn ratios_floor() {
        // domain.md §6.6: 110,000 of 150,000.
        let r = Ratio::new(110_000, 150_000).unwrap();
        assert_eq!(
            (r.to_fraction().as_str(), r.to_percent().as_str()),
            ("0.7333", "73.33")
        );
        assert_eq!(Ratio::new(99_999, 100_000).unwrap().to_percent(), "99.99");
        assert_eq!(Ratio::new(1, 0), None);
    }

    #[test]
    fn requirement_rounds_up() {
        assert_eq!(Money::from_fen(100).share_ceiled(1, 3).fen(), 34);
        assert_eq!(Money::from_fen(99).share_ceiled(1, 3).fen(), 33);
    }
}
