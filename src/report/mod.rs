//! Reports: read models of one completed run, as tables for export and as values for pages.
//!
//! A report is of the whole city or of one district; the latter is read from the run that knew most of it.
//!
//! Invariants: every figure of a report belongs to one run; a district or institution without facts has
//! its row of zeros; a total is the sum of the rows listed.
//! Absent on purpose: computing. What is not stored by a run is not reported.

mod banks;
pub mod explain;
mod model;
mod pages;
mod rates;
pub mod store;
pub mod table;
mod waived;

pub use banks::banks;
pub use explain::{Explanation, explain};
pub use model::*;
pub use pages::{district_page, overview};
pub use store::{Run, Wanted, find_run};
pub use table::{Cell, Form, Table};
pub use waived::waived;

use rates::Rates;

use std::collections::HashMap;

use crate::base::{Money, Ratio};
use crate::decision::DecisionId;
use crate::policy::{self, Policy};
use crate::reconcile::{Doubt, MatchKind};
use crate::registry::{self, CustodyMode};
use crate::store::{Result, Tx, days};

fn fraction(ratio: Option<Ratio>) -> Cell {
    ratio.map_or(Cell::Empty, |r| Cell::Fraction(r.to_fraction()))
}

fn share(part: Money, whole: Money) -> Cell {
    fraction(Ratio::new(i128::from(part.fen()), i128::from(whole.fen())))
}

/// True where a run tells of a district.
pub async fn covers(tx: &mut Tx, run: &Run, district_id: &str) -> Result<bool> {
    let totals = store::district_totals(tx, &[run.head.run_id]).await?;
    let districts = totals.get(&run.head.run_id).into_iter().flatten();
    Ok(districts.into_iter().any(|(id, _)| id == district_id))
}

/// The districts report.
pub async fn districts(tx: &mut Tx, run: &Run) -> Result<Table> {
    let registry = registry::store::load(tx, run.source_cut).await?;
    let mut totals = store::district_totals(tx, &[run.head.run_id]).await?;
    let positions = store::positions(tx, run, None).await?;
    let mut rates = Rates::by_district(&registry, &positions, run.head.as_of);
    let rows = totals
        .remove(&run.head.run_id)
        .unwrap_or_default()
        .into_iter()
        .filter(|(id, _)| run.district_id.as_ref().is_none_or(|only| only == id))
        .map(|(district_id, d)| {
            let name = registry.districts.get(&district_id).map(|r| r.name.clone());
            let r = rates.remove(&district_id).unwrap_or_default();
            let row = vec![
                Cell::text(district_id),
                Cell::Int(d.required.fen()),
                Cell::Int(d.held.fen()),
                Cell::Int(d.uncovered.fen()),
                Cell::Int(d.institutions),
                Cell::Int(d.uncovered_institutions),
                fraction(d.amount_coverage()),
                fraction(d.custody_rate()),
                Cell::opt(name),
                Cell::Int(d.unknown_institutions),
                Cell::Int(d.red_flags),
                Cell::Int(d.amber_flags),
                Cell::Int(d.accounts_expected),
                Cell::Int(d.accounts_proven),
            ];
            row.into_iter().chain(r.cells()).collect()
        })
        .collect();
    Ok(Table {
        name: "districts",
        columns: &[
            "district_id",
            "required_fen",
            "held_fen",
            "uncovered_fen",
            "institutions",
            "uncovered_institutions",
            "amount_coverage",
            "custody_rate",
            "name",
            "unknown_institutions",
            "red_flags",
            "amber_flags",
            "accounts_expected",
            "accounts_proven",
            "full_coverage",
            "custody_rate_ministry",
            "registration_rate",
            "intake_rate",
            "protection",
            "prepaid_stock_fen",
            "deemed_share",
            "releasable_fen",
            "uncovered_top10_share",
            "uncovered_wd0_1_fen",
            "uncovered_wd2_5_fen",
            "uncovered_wd6_20_fen",
            "uncovered_wd21_fen",
        ],
        rows,
    })
}

/// The institutions report.
pub async fn institutions(tx: &mut Tx, run: &Run) -> Result<Table> {
    let registry = registry::store::load(tx, run.source_cut).await?;
    let mode = |number: i64| {
        [
            CustodyMode::None,
            CustodyMode::Bank,
            CustodyMode::Deposit,
            CustodyMode::Hybrid,
        ]
        .into_iter()
        .find(|m| m.number() == number)
        .map(CustodyMode::as_str)
    };
    let rows = store::positions(tx, run, None)
        .await?
        .into_iter()
        .map(|p| {
            let name = registry
                .institutions
                .get(&p.institution_id)
                .map(|(_, i)| i.name.clone());
            let coverage = Ratio::new(i128::from(p.covered.fen()), i128::from(p.required.fen()));
            vec![
                Cell::text(p.institution_id),
                Cell::text(p.district_id),
                Cell::Int(p.required.fen()),
                Cell::Int(p.held.fen()),
                Cell::Int(p.uncovered.fen()),
                Cell::text(p.status.as_str()),
                Cell::opt(name),
                Cell::opt(mode(p.mode)),
                Cell::Int(p.explained.fen()),
                fraction(coverage),
                Cell::Int(p.deposit_required.fen()),
                Cell::Int(p.deposit_held.fen()),
                Cell::Int(p.unearned_confirmed.fen()),
                Cell::Int(p.unearned_delivered.fen()),
                Cell::Int(p.contracts),
                Cell::Int(p.missing_days),
                Cell::Int(p.held.less_floored(p.required).fen()),
                Cell::Int(p.releasable.fen()),
                share(p.protected, p.unearned_confirmed),
                Cell::Int(p.consumed.fen()),
                share(p.deemed, p.consumed),
                share(p.fees_credited, p.fees_recorded),
            ]
        })
        .collect();
    Ok(Table {
        name: "institutions",
        columns: &[
            "institution_id",
            "district_id",
            "required_fen",
            "held_fen",
            "uncovered_fen",
            "status",
            "name",
            "custody_mode",
            "explained_fen",
            "amount_coverage",
            "deposit_required_fen",
            "deposit_held_fen",
            "unearned_confirmed_fen",
            "unearned_delivered_fen",
            "contracts",
            "missing_days",
            "excess_fen",
            "releasable_fen",
            "protection",
            "consumed_fen",
            "deemed_share",
            "intake_rate",
        ],
        rows,
    })
}

/// The breaks report: every finding that stands, whatever its severity. Others are in [`waived()`].
pub async fn breaks(tx: &mut Tx, run: &Run) -> Result<Table> {
    let rows = store::findings(tx, run, None)
        .await?
        .into_iter()
        .map(|f| {
            vec![
                Cell::text(f.code.as_str()),
                Cell::text(f.subject),
                Cell::text(f.institution_id),
                Cell::text(f.date.to_string()),
                Cell::Int(f.amount.fen()),
                Cell::Int(f.n),
                Cell::text(f.severity.as_str()),
                Cell::opt(f.due_on.map(|d| d.to_string())),
                Cell::text(f.code.chinese()),
                Cell::text(f.evidence.english()),
                Cell::Bool(f.due_is_provisional),
            ]
        })
        .collect();
    Ok(Table {
        name: "breaks",
        columns: &[
            "code",
            "subject",
            "institution_id",
            "date",
            "amount_fen",
            "n",
            "severity",
            "due_on",
            "name",
            "evidence",
            "due_provisional",
        ],
        rows,
    })
}

/// Names of institutions, and of rules by institution, pack and place.
struct Names {
    policy: Policy,
    /// Id and district by number.
    institutions: HashMap<i64, (String, String)>,
}

impl Names {
    async fn of(tx: &mut Tx, run: &Run) -> Result<Names> {
        let registry = registry::store::load(tx, run.source_cut).await?;
        Ok(Names {
            policy: policy::numbered(tx, run.policy_no).await?,
            institutions: (registry.institutions.iter())
                .map(|(id, i)| (id.0, (i.institution_id.clone(), i.district_id.clone())))
                .collect(),
        })
    }

    fn institution(&self, inst_id: i64) -> Option<String> {
        self.institutions.get(&inst_id).map(|(id, _)| id.clone())
    }

    /// `None` for lines that no rule of a pack matched.
    fn rule(&self, inst_id: i64, pack: i64, rule: i64) -> Option<String> {
        let (_, district) = self.institutions.get(&inst_id)?;
        let packs = self.policy.packs(district);
        let (_, pack) = packs.get(usize::try_from(pack).ok()?)?;
        let rule = pack
            .rules
            .get(usize::try_from(rule.checked_sub(1)?).ok()?)?;
        Some(format!("{}/{}", pack.name, rule.name))
    }
}

/// The matches report.
pub async fn matches(tx: &mut Tx, run: &Run) -> Result<Table> {
    let names = Names::of(tx, run).await?;
    let rows = store::matches(tx, run)
        .await?
        .into_iter()
        .map(|m| {
            let kind = MatchKind::from_number(m.kind).map_or("?", MatchKind::as_str);
            vec![
                Cell::text(format!("M{}.{}", m.inst_id, m.entry_seq)),
                Cell::text(kind),
                Cell::text(m.entry_id),
                Cell::Int(m.n),
                Cell::Int(m.amount_fen),
                Cell::opt(names.rule(m.inst_id, m.pack, m.rule)),
                Cell::Int(m.difference_fen),
                Cell::Int(m.fee_fen),
                Cell::opt((m.decision_no != 0).then(|| {
                    let (inst_id, decision_no) = (m.inst_id, m.decision_no);
                    DecisionId {
                        inst_id,
                        decision_no,
                    }
                    .to_string()
                })),
            ]
        })
        .collect();
    Ok(Table {
        name: "matches",
        columns: &[
            "match_id",
            "kind",
            "entry_id",
            "n",
            "amount_fen",
            "rule",
            "difference_fen",
            "fee_fen",
            "decision",
        ],
        rows,
    })
}

/// The reviews report: credits that the rules left to people, a row for each payment that may be meant.
pub async fn reviews(tx: &mut Tx, run: &Run) -> Result<Table> {
    let names = Names::of(tx, run).await?;
    let mut rows = Vec::new();
    for r in store::reviews(tx, run).await? {
        rows.push(vec![
            Cell::opt(names.institution(r.inst_id)),
            Cell::text(r.entry_id),
            Cell::text(days::day(r.booked_day, "posting")?.to_string()),
            Cell::Int(r.amount_fen),
            Cell::text(r.payment_id),
            Cell::text(days::day(r.paid_day, "posting")?.to_string()),
            Cell::Int(r.payment_fen),
            Cell::text(Doubt::word(r.doubt)),
            Cell::opt(names.rule(r.inst_id, r.pack, r.rule)),
        ]);
    }
    Ok(Table {
        name: "reviews",
        columns: &[
            "institution_id",
            "entry_id",
            "booked_on",
            "amount_fen",
            "payment_id",
            "paid_on",
            "payment_fen",
            "doubt",
            "rule",
        ],
        rows,
    })
}

/// The proofs report: of each custody account, bank and books to the fen.
pub async fn proofs(tx: &mut Tx, run: &Run) -> Result<Table> {
    let names = Names::of(tx, run).await?;
    let mut rows = Vec::new();
    for store::ProofRow {
        inst_id,
        account_id,
        sums,
    } in store::proofs(tx, run).await?
    {
        let (adjusted, book) = (sums.adjusted_bank_fen(), sums.book_fen());
        let mut row = vec![
            Cell::text(account_id),
            Cell::opt(names.institution(inst_id)),
            Cell::text(days::day(sums.day, "account_proof")?.to_string()),
        ];
        let numbers = [
            sums.closing_fen,
            sums.under_way_in_fen,
            sums.under_way_out_fen,
            adjusted,
            book,
            adjusted - book,
            sums.contract_cash_fen,
            sums.unallocated_fen,
            sums.unidentified_fen,
            sums.difference_fen,
            sums.fee_fen,
            sums.batch_refund_fen,
            sums.unauthorised_fen,
            sums.brought_forward_fen,
            sums.gap_fen,
            sums.items,
            sums.expired_items,
        ];
        row.extend(numbers.map(Cell::Int));
        rows.push(row);
    }
    Ok(Table {
        name: "proofs",
        columns: &[
            "account_id",
            "institution_id",
            "day",
            "closing_fen",
            "under_way_in_fen",
            "under_way_out_fen",
            "adjusted_bank_fen",
            "book_fen",
            "unexplained_fen",
            "contract_cash_fen",
            "unallocated_fen",
            "unidentified_fen",
            "difference_fen",
            "fee_fen",
            "batch_refund_fen",
            "unauthorised_fen",
            "brought_forward_fen",
            "gap_fen",
            "items",
            "expired_items",
        ],
        rows,
    })
}
