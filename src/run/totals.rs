//! What a run sums up while it works: districts for its rows, findings and matches for its summary.

use std::collections::{BTreeMap, HashMap};

use super::Summary;
use crate::base::{Day, FlagCode, Instant, Money, Severity};
use crate::flag::Finding;
use crate::position::store::NewPosition;
use crate::position::{DistrictTotals, Status};
use crate::registry::Registry;

pub(super) struct Totals {
    pub(super) districts: BTreeMap<String, DistrictTotals>,
    findings: u64,
    red: u64,
    amber: u64,
    waived: u64,
    pub(super) matched: u64,
}

impl Totals {
    /// Every district in scope has its row, of zeros if need be.
    pub(super) fn new(registry: &Registry, district: Option<&str>) -> Totals {
        let districts = registry
            .districts
            .iter()
            .filter(|d| district.is_none_or(|id| d.district_id == id))
            .map(|d| (d.district_id.clone(), DistrictTotals::default()))
            .collect();
        Totals {
            districts,
            findings: 0,
            red: 0,
            amber: 0,
            waived: 0,
            matched: 0,
        }
    }

    pub(super) fn add(&mut self, positions: &[NewPosition], findings: &[(i64, Finding)]) {
        let mut district_of: HashMap<i64, &str> = HashMap::new();
        for new in positions {
            district_of.insert(new.inst_id, &new.district_id);
            let p = &new.position;
            let d = self.districts.entry(new.district_id.clone()).or_default();
            d.required = d.required.saturating_add(p.required);
            d.held = d.held.saturating_add(p.held);
            d.uncovered = d.uncovered.saturating_add(p.uncovered);
            d.covered = d.covered.saturating_add(p.covered);
            d.institutions += 1;
            d.uncovered_institutions += i64::from(p.uncovered > Money::ZERO);
            d.unknown_institutions += i64::from(p.status == Some(Status::Unknown));
            d.must_be_held += i64::from(p.must_be_held);
            d.under_custody += i64::from(p.must_be_held && p.under_custody);
            d.accounts_expected += p.accounts_expected;
            d.accounts_proven += p.accounts_proven;
            d.missing_days += p.missing_days;
        }
        for (inst_id, finding) in findings {
            if finding.decision_no != 0 {
                self.waived += 1;
                continue;
            }
            self.findings += 1;
            let Some(d) = district_of
                .get(inst_id)
                .and_then(|d| self.districts.get_mut(*d))
            else {
                continue;
            };
            match finding.severity {
                Severity::Red => {
                    self.red += 1;
                    d.red_flags += 1;
                }
                Severity::Amber => {
                    self.amber += 1;
                    d.amber_flags += 1;
                }
                Severity::Watch => {}
            }
            d.unmatched_credits += i64::from(finding.code == FlagCode::UnmatchedCredit);
        }
    }

    pub(super) fn summary(
        self,
        run_id: i64,
        as_of: Day,
        known_at: Instant,
        institutions: usize,
    ) -> Summary {
        let accounts_unproven = self
            .districts
            .values()
            .map(|d| d.accounts_expected - d.accounts_proven)
            .sum();
        Summary {
            run_id,
            as_of,
            known_at,
            institutions,
            districts: self.districts.into_iter().collect(),
            findings: self.findings,
            red: self.red,
            amber: self.amber,
            waived: self.waived,
            matched: self.matched,
            accounts_unproven,
            read_whole: 0,
        }
    }
}
