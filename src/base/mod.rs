//! The words of the domain: money, days, ids, codes. Pure: no I/O, no async, no globals.

pub mod clock;
pub mod code;
pub mod day;
pub mod entropy;
pub mod ids;
pub mod money;
pub mod uscc;

pub use clock::Clock;
pub use code::{Defect, DefectCode, FlagCode, Place, Severity};
pub use day::{Day, Instant};
pub use entropy::Entropy;
pub use ids::{AccountNo, InstId};
pub use money::{AmountUnit, Money, MoneyError, Ratio};
