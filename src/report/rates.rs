//! The rates of `domain.md` §6.5 and §6.6 of one district: sums and counts of what a run stored of its
//! institutions, and the registry as the run knew it.
//!
//! What is absent for want of data is listed in [`crate::position`].

use std::collections::{HashMap, HashSet};

use super::store::PositionRow;
use super::{Cell, Status, fraction, share};
use crate::base::{Day, Money, Ratio};
use crate::policy::CHINA;
use crate::registry::{Licence, Registry};

/// Institutions whose uncovered funds are set against all.
const TOP: usize = 10;
/// Working days since funds were first uncovered: the last of each class; what is older is the last class.
const AGES: [i32; 3] = [1, 5, 20];

/// What the rates of a district are made of.
#[derive(Debug, Default)]
pub(super) struct Rates {
    /// FullCov: institutions that need coverage or whose need is unknown, and those that have all of it.
    to_cover: i128,
    fully_covered: i128,
    /// L, and L that is on the platform.
    licensed: i128,
    licensed_on_platform: i128,
    /// W, and the institutions of W that are under custody.
    on_platform: i128,
    held_on_platform: i128,
    stock: Money,
    protected: Money,
    consumed: Money,
    deemed: Money,
    fees_recorded: Money,
    fees_credited: Money,
    releasable: Money,
    /// Of each institution that has any.
    uncovered: Vec<Money>,
    by_age: [Money; AGES.len() + 1],
}

impl Rates {
    pub(super) fn by_district(
        registry: &Registry,
        positions: &[PositionRow],
        day: Day,
    ) -> HashMap<String, Rates> {
        let mut found: HashMap<String, Rates> = HashMap::new();
        for p in positions {
            let institution = registry.institutions.get(&p.institution_id);
            let since = institution.and_then(|(_, i)| i.platform_since);
            let r = found.entry(p.district_id.clone()).or_default();
            r.held_on_platform += i128::from(
                p.must_be_held && p.under_custody && since.is_some_and(|since| since <= day),
            );
            r.position(p, day);
        }
        let mut known: HashSet<&str> = HashSet::new();
        for (_, i) in registry.institutions.iter() {
            if i.platform_since.is_some_and(|since| since <= day) {
                found.entry(i.district_id.clone()).or_default().on_platform += 1;
                known.extend(i.uscc.as_deref());
                known.extend(i.licence_no.as_deref());
            }
        }
        for l in registry.licences.iter().filter(|l| is_active(l, day)) {
            let r = found.entry(l.district_id.clone()).or_default();
            let on_platform = known.contains(l.licence_no.as_str())
                || l.uscc.as_deref().is_some_and(|code| known.contains(code));
            r.licensed += 1;
            r.licensed_on_platform += i128::from(on_platform);
        }
        found
    }

    fn position(&mut self, p: &PositionRow, day: Day) {
        let add = |to: &mut Money, amount: Money| *to = to.saturating_add(amount);
        let needs = p.required > Money::ZERO;
        self.to_cover += i128::from(needs || p.status == Status::Unknown);
        let full = matches!(p.status, Status::Covered | Status::Timing);
        self.fully_covered += i128::from(needs && full);
        add(&mut self.stock, p.unearned_confirmed);
        add(&mut self.protected, p.protected);
        add(&mut self.consumed, p.consumed);
        add(&mut self.deemed, p.deemed);
        add(&mut self.fees_recorded, p.fees_recorded);
        add(&mut self.fees_credited, p.fees_credited);
        add(&mut self.releasable, p.releasable);
        if p.uncovered > Money::ZERO {
            self.uncovered.push(p.uncovered);
            let since = p.uncovered_since.unwrap_or(day);
            let age = CHINA.working_days_between(since, day);
            let class = AGES.iter().position(|last| age <= *last);
            add(&mut self.by_age[class.unwrap_or(AGES.len())], p.uncovered);
        }
    }

    /// The columns of the districts report, in its order.
    pub(super) fn cells(mut self) -> Vec<Cell> {
        self.uncovered
            .sort_unstable_by_key(|u| std::cmp::Reverse(*u));
        let sum = |all: &[Money]| (all.iter()).fold(Money::ZERO, |s, u| s.saturating_add(*u));
        let top = sum(&self.uncovered[..self.uncovered.len().min(TOP)]);
        let rate = |part: i128, whole: i128| fraction(Ratio::new(part, whole));
        let mut cells = vec![
            rate(self.fully_covered, self.to_cover),
            rate(self.held_on_platform, self.on_platform),
            rate(self.licensed_on_platform, self.licensed),
            share(self.fees_credited, self.fees_recorded),
            share(self.protected, self.stock),
            Cell::Int(self.stock.fen()),
            share(self.deemed, self.consumed),
            Cell::Int(self.releasable.fen()),
            share(top, sum(&self.uncovered)),
        ];
        cells.extend(self.by_age.map(|uncovered| Cell::Int(uncovered.fen())));
        cells
    }
}

/// Licensed on a day and not closed, as far as its registry says.
fn is_active(l: &Licence, day: Day) -> bool {
    let in_force = l.licence_from.is_none_or(|d| d <= day) && l.licence_to.is_none_or(|d| d >= day);
    let over = ["closed", "revoked", "expired", "cancelled"];
    in_force && !l.status.as_deref().is_some_and(|s| over.contains(&s))
}
