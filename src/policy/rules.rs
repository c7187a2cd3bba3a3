//! Rule packs: by which rules bank lines are matched, in which order, where, and from when on.
//!
//! A pack is part of its policy's document, so that a run's policy version names the rules it used. A fact is
//! judged by the pack in force on its own day in its institution's district: a new pack never judges what
//! happened before it.
//! Absent on purpose: a rule by amount alone, and one by counterparty text. Text orders the candidates that a
//! person is shown; it never decides.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{CHINA, Channel};
use crate::base::{Day, Money};

/// The most payments of one subset search: both halves of its sums are listed, so cost grows with 2^(n/2).
pub const CANDIDATES_MAX: usize = 24;
/// The most credits that one group may hold.
pub const CREDITS_MAX: usize = 3;
/// The most credits that may pay one fee in parts.
pub const PARTS_MAX: usize = 12;

/// How days of a window are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DayUnit {
    Calendar,
    Working,
    /// Working days, where what is captured on a rest day belongs to the next working day's settlement.
    Settlement,
}

impl DayUnit {
    /// The last day of a window of `days` that a fact of `from` opens.
    pub fn last(self, from: Day, days: i32) -> Day {
        match self {
            DayUnit::Calendar => from.plus(days),
            DayUnit::Working => CHINA.add_working_days(from, days).day,
            DayUnit::Settlement => CHINA.add_working_days(settled_on(from), days).day,
        }
    }

    /// Days by which `day` lies beyond a window's end.
    pub fn beyond(self, end: Day, day: Day) -> i32 {
        match self {
            DayUnit::Calendar => day.since(end).max(0),
            DayUnit::Working | DayUnit::Settlement => CHINA.working_days_between(end, day),
        }
    }
}

/// The first working day at or after a day.
fn settled_on(day: Day) -> Day {
    if CHINA.is_working(day) {
        day
    } else {
        CHINA.add_working_days(day, 1).day
    }
}

/// A stretch of days that begins with a fact's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Within {
    pub days: i32,
    pub unit: DayUnit,
}

impl Within {
    pub fn last(self, from: Day) -> Day {
        self.unit.last(from, self.days)
    }
}

/// How much a channel may keep of a payment before its credit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tolerance {
    /// Of the amount, in hundredths of a percent; rounded up to a whole fen.
    #[serde(default)]
    pub bp: i64,
    /// At least so many fen.
    #[serde(default)]
    pub fen: i64,
}

impl Tolerance {
    /// The most that may be missing of an amount.
    pub fn of(self, amount: Money) -> i64 {
        let share = (i128::from(amount.fen()) * i128::from(self.bp)).div_euclid(10_000)
            + i128::from((i128::from(amount.fen()) * i128::from(self.bp)).rem_euclid(10_000) > 0);
        i64::try_from(share).unwrap_or(i64::MAX).max(self.fen)
    }
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// A line the bank marks as undoing another, and that one: account, amount, reference, direction.
    Reversal,
    /// One payment and one credit of its account and reference.
    Reference {
        tolerance: BTreeMap<Channel, Tolerance>,
    },
    /// One payment and several credits of its account and reference that add up to it.
    Split { within: Within },
    /// One credit and the payments of a batch as its channel describes it: number, period, gross, fee,
    /// refunds, net.
    Settlement,
    /// One credit of a channel and all payments of that channel and one day.
    Batch { within: Within },
    /// One credit of a channel and the only choice of open payments that adds up to it.
    Subset { within: Within, candidates: usize },
    /// Several credits of a channel and the only choice of open payments that adds up to them.
    Group {
        within: Within,
        candidates: usize,
        credits: usize,
    },
}

impl Method {
    /// The word in a pack's document.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Method::Reversal => "reversal",
            Method::Reference { .. } => "reference",
            Method::Split { .. } => "split",
            Method::Settlement => "settlement",
            Method::Batch { .. } => "batch",
            Method::Subset { .. } => "subset",
            Method::Group { .. } => "group",
        }
    }
}

/// One rule of a pack.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct MatchRule {
    /// Unique in its pack; stored with every match.
    pub name: String,
    pub method: Method,
}

/// The rules of some districts from a day on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulePack {
    pub name: String,
    pub from: Day,
    /// Empty = every district that no other pack names on that day.
    #[serde(default)]
    pub districts: Vec<String>,
    pub rules: Vec<MatchRule>,
}

/// A rule as a document has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    method: String,
    within: Option<Within>,
    candidates: Option<usize>,
    credits: Option<usize>,
    tolerance: Option<BTreeMap<String, Tolerance>>,
}

impl TryFrom<Written> for MatchRule {
    type Error = String;

    fn try_from(mut w: Written) -> Result<MatchRule, String> {
        let name = w.name.clone();
        let method = w.method()?;
        let left = [
            (w.within.is_some(), "within"),
            (w.candidates.is_some(), "candidates"),
            (w.credits.is_some(), "credits"),
            (w.tolerance.is_some(), "tolerance"),
        ];
        match left.iter().find(|(given, _)| *given) {
            Some((_, field)) => Err(format!("rule {name}: {} has no {field}", w.method)),
            None => Ok(MatchRule { name, method }),
        }
    }
}

impl Written {
    /// Takes the fields that its method has.
    fn method(&mut self) -> Result<Method, String> {
        Ok(match self.method.as_str() {
            "reversal" => Method::Reversal,
            "reference" => Method::Reference {
                tolerance: self.tolerance()?,
            },
            "split" => Method::Split {
                within: self.within()?,
            },
            "settlement" => Method::Settlement,
            "batch" => Method::Batch {
                within: self.within()?,
            },
            "subset" => Method::Subset {
                within: self.within()?,
                candidates: self.candidates()?,
            },
            "group" => Method::Group {
                within: self.within()?,
                candidates: self.candidates()?,
                credits: self.credits()?,
            },
            other => {
                return Err(format!(
                    "rule {}: no method is called {other:?}; there are reversal, reference, split, \
                     settlement, batch, subset, group",
                    self.name
                ));
            }
        })
    }

    fn missing(&self, field: &str) -> String {
        format!("rule {}: {} needs {field}", self.name, self.method)
    }

    fn within(&mut self) -> Result<Within, String> {
        let within = self.within.take();
        let within = within.ok_or_else(|| self.missing("within"))?;
        if within.days < 0 {
            return Err(format!("rule {}: within.days is negative", self.name));
        }
        Ok(within)
    }

    fn bounded(&self, n: Option<usize>, field: &str, bound: usize) -> Result<usize, String> {
        let n = n.ok_or_else(|| self.missing(field))?;
        if !(2..=bound).contains(&n) {
            return Err(format!("rule {}: {field} is from 2 to {bound}", self.name));
        }
        Ok(n)
    }

    fn candidates(&mut self) -> Result<usize, String> {
        let n = self.candidates.take();
        self.bounded(n, "candidates", CANDIDATES_MAX)
    }

    fn credits(&mut self) -> Result<usize, String> {
        let n = self.credits.take();
        self.bounded(n, "credits", CREDITS_MAX)
    }

    fn tolerance(&mut self) -> Result<BTreeMap<Channel, Tolerance>, String> {
        let mut by_channel = BTreeMap::new();
        for (name, tolerance) in self.tolerance.take().unwrap_or_default() {
            let channel = Channel::from_name(&name)
                .ok_or_else(|| format!("rule {}: no channel is called {name:?}", self.name))?;
            if tolerance.bp < 0 || tolerance.fen < 0 {
                return Err(format!("rule {}: a tolerance is negative", self.name));
            }
            by_channel.insert(channel, tolerance);
        }
        Ok(by_channel)
    }
}

/// The packs of one district, each with the day from which it holds, oldest first.
///
/// On a day, of the packs that name the district the one with the latest start holds; where none names it,
/// of those for all districts.
pub(super) fn packs_of<'p>(packs: &'p [RulePack], district: &str) -> Vec<(Day, &'p RulePack)> {
    let names = |p: &&RulePack| p.districts.iter().any(|d| d == district);
    let mut starts: Vec<Day> = (packs.iter())
        .filter(|p| p.districts.is_empty() || names(p))
        .map(|p| p.from)
        .collect();
    starts.sort_unstable();
    starts.dedup();
    let on = |day: Day, own: bool| {
        (packs.iter())
            .filter(|p| {
                p.from <= day
                    && if own {
                        names(p)
                    } else {
                        p.districts.is_empty()
                    }
            })
            .max_by_key(|p| p.from)
    };
    let mut held: Vec<(Day, &RulePack)> = (starts.into_iter())
        .filter_map(|day| on(day, true).or_else(|| on(day, false)).map(|p| (day, p)))
        .collect();
    held.dedup_by(|later, earlier| std::ptr::eq(later.1, earlier.1));
    held
}

/// Checks what the shape of a document does not.
///
/// # Errors
/// No pack for all districts, two packs that begin on one day for one district, a rule name twice.
pub(super) fn check(packs: &[RulePack]) -> Result<(), String> {
    if !packs.iter().any(|p| p.districts.is_empty()) {
        return Err("no rule pack holds for all districts".to_owned());
    }
    for (at, pack) in packs.iter().enumerate() {
        let mut names: Vec<&str> = pack.rules.iter().map(|r| r.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!(
                "rule pack {}: two rules are called {}",
                pack.name, twice[0]
            ));
        }
        let meets = |other: &RulePack| {
            let both = pack.districts.is_empty() && other.districts.is_empty();
            both || pack.districts.iter().any(|d| other.districts.contains(d))
        };
        let other = packs[at + 1..]
            .iter()
            .find(|p| p.name == pack.name || (p.from == pack.from && meets(p)));
        if let Some(other) = other {
            return Err(format!(
                "rule packs {} and {}: one name, or one day and district",
                pack.name, other.name
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    fn pack(name: &str, from: &str, districts: &[&str]) -> RulePack {
        RulePack {
            name: name.into(),
            from: day(from),
            districts: districts.iter().map(|d| (*d).to_owned()).collect(),
            rules: Vec::new(),
        }
    }

    fn rule(text: &str) -> Result<MatchRule, String> {
        toml::from_str(text).map_err(|e| e.to_string())
    }

    #[test]
    fn a_district_follows_its_own_packs_and_else_those_of_all() {
        let packs = [
            pack("all-1", "2020-01-01", &[]),
            pack("all-2", "2022-01-01", &[]),
            pack("east-1", "2021-01-01", &["E"]),
            pack("east-2", "2023-01-01", &["E", "W"]),
        ];
        let of = |district: &str| -> Vec<String> {
            (packs_of(&packs, district).iter())
                .map(|(from, p)| format!("{from} {}", p.name))
                .collect()
        };
        assert_eq!(of("N"), ["2020-01-01 all-1", "2022-01-01 all-2"]);
        let east = ["2020-01-01 all-1", "2021-01-01 east-1", "2023-01-01 east-2"];
        assert_eq!(of("E"), east);
        let west = ["2020-01-01 all-1", "2022-01-01 all-2", "2023-01-01 east-2"];
        assert_eq!(of("W"), west);
    }

    #[test]
    fn packs_that_contradict_each_other_are_refused() {
        let all = pack("all", "2020-01-01", &[]);
        let east = |name| pack(name, "2021-01-01", &["E"]);
        assert_eq!(check(&[all.clone(), east("e")]), Ok(()));
        assert!(check(&[east("e")]).is_err());
        assert!(check(&[all.clone(), east("e"), east("f")]).is_err());
        assert!(check(&[all.clone(), all]).is_err());
    }

    #[test]
    fn a_rule_has_the_fields_of_its_method_and_no_others() {
        let within = "within = { days = 3, unit = \"settlement\" }";
        let subset = format!("name = 's'\nmethod = 'subset'\n{within}\ncandidates = 24");
        assert!(rule(&subset).is_ok());
        for (text, why) in [
            (subset.replace("24", "25"), "from 2 to 24"),
            (subset.replace("24", "1"), "from 2 to 24"),
            (subset.replace("subset", "batch"), "batch has no candidates"),
            (subset.replace(within, ""), "needs within"),
            (subset.replace("days = 3", "days = -1"), "negative"),
            (
                "name = 'x'\nmethod = 'amount'".to_owned(),
                "no method is called",
            ),
            (
                "name = 'r'\nmethod = 'reference'\ntolerance = { CHEQUE = { bp = 1 } }".to_owned(),
                "no channel is called",
            ),
        ] {
            let found = rule(&text).unwrap_err();
            assert!(found.contains(why), "{text}: {found}");
        }
    }

    #[test]
    fn windows_in_three_units() {
        // Friday the 18th; Sunday the 20th is a make-up working day; Saturday the 19th is not.
        let (friday, saturday) = (day("2026-09-18"), day("2026-09-19"));
        let last = |unit: DayUnit, from, days| unit.last(from, days).to_string();
        assert_eq!(last(DayUnit::Calendar, friday, 1), "2026-09-19");
        assert_eq!(last(DayUnit::Working, saturday, 1), "2026-09-20");
        assert_eq!(last(DayUnit::Settlement, saturday, 1), "2026-09-21");
        assert_eq!(last(DayUnit::Settlement, saturday, 0), "2026-09-20");
        assert_eq!(last(DayUnit::Settlement, friday, 1), "2026-09-20");
    }

    #[test]
    fn a_tolerance_is_a_share_rounded_up_and_at_least_its_fen() {
        let of = |bp, fen, amount| Tolerance { bp, fen }.of(Money::from_fen(amount));
        assert_eq!(of(60, 0, 10_000), 60);
        assert_eq!(of(60, 0, 10_001), 61);
        assert_eq!(of(60, 100, 10_000), 100);
        assert_eq!(of(0, 0, 10_000), 0);
    }
}
