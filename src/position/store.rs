//! SQL of positions: a row per change, from the run that found it up to the run that found otherwise.

use super::{AccountProof, Item, ItemKind, Position};
use crate::base::{Day, Money};
use crate::on;
use crate::store::bulk::{ints, opt_ints, texts};
use crate::store::changes::{self, ByRun};
use crate::store::{DbError, Result, Tx, days};

/// A position to store, with what the registry says of its institution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPosition {
    pub inst_id: i64,
    pub district_id: String,
    pub position: Position,
    pub uncovered_since: Option<Day>,
}

#[derive(sqlx::FromRow)]
struct Row {
    inst_id: i64,
    from_run: i64,
    district_id: String,
    mode: i64,
    status: i64,
    required_fen: i64,
    held_fen: i64,
    explained_fen: i64,
    uncovered_fen: i64,
    covered_fen: i64,
    deposit_required_fen: i64,
    deposit_held_fen: i64,
    unearned_confirmed_fen: i64,
    unearned_delivered_fen: i64,
    in_transit_fen: i64,
    fee_window_fen: i64,
    unidentified_fen: i64,
    frozen_fen: i64,
    releasable_fen: i64,
    protected_fen: i64,
    consumed_fen: i64,
    deemed_fen: i64,
    fees_recorded_fen: i64,
    fees_credited_fen: i64,
    contracts: i64,
    must_be_held: i64,
    under_custody: i64,
    accounts_expected: i64,
    accounts_proven: i64,
    missing_days: i64,
    uncovered_since_day: Option<i64>,
}

impl NewPosition {
    fn to_row(&self, from_run: i64) -> Row {
        let p = &self.position;
        Row {
            inst_id: self.inst_id,
            from_run,
            district_id: self.district_id.clone(),
            mode: p.mode.map_or(0, crate::registry::CustodyMode::number),
            status: p.status.map_or(0, super::Status::number),
            required_fen: p.required.fen(),
            held_fen: p.held.fen(),
            explained_fen: p.explained.fen(),
            uncovered_fen: p.uncovered.fen(),
            covered_fen: p.covered.fen(),
            deposit_required_fen: p.deposit_required.fen(),
            deposit_held_fen: p.deposit_held.fen(),
            unearned_confirmed_fen: p.unearned_confirmed.fen(),
            unearned_delivered_fen: p.unearned_delivered.fen(),
            in_transit_fen: p.in_transit.fen(),
            fee_window_fen: p.fee_window.fen(),
            unidentified_fen: p.unidentified.fen(),
            frozen_fen: p.frozen.fen(),
            releasable_fen: p.releasable.fen(),
            protected_fen: p.protected.fen(),
            consumed_fen: p.consumed.fen(),
            deemed_fen: p.deemed.fen(),
            fees_recorded_fen: p.fees_recorded.fen(),
            fees_credited_fen: p.fees_credited.fen(),
            contracts: p.contracts,
            must_be_held: i64::from(p.must_be_held),
            under_custody: i64::from(p.under_custody),
            accounts_expected: p.accounts_expected,
            accounts_proven: p.accounts_proven,
            missing_days: p.missing_days,
            uncovered_since_day: days::opt_number(self.uncovered_since),
        }
    }
}

impl Row {
    /// Equal but for the run that found it.
    fn says_the_same(&self, other: &Row) -> bool {
        let numbers = |r: &Row| {
            [
                r.mode,
                r.status,
                r.required_fen,
                r.held_fen,
                r.explained_fen,
                r.uncovered_fen,
                r.covered_fen,
                r.deposit_required_fen,
                r.deposit_held_fen,
                r.unearned_confirmed_fen,
                r.unearned_delivered_fen,
                r.in_transit_fen,
                r.fee_window_fen,
                r.unidentified_fen,
                r.frozen_fen,
                r.releasable_fen,
                r.protected_fen,
                r.consumed_fen,
                r.deemed_fen,
                r.fees_recorded_fen,
                r.fees_credited_fen,
                r.contracts,
                r.must_be_held,
                r.under_custody,
                r.accounts_expected,
                r.accounts_proven,
                r.missing_days,
                r.uncovered_since_day.unwrap_or(-1),
            ]
        };
        self.district_id == other.district_id && numbers(self) == numbers(other)
    }
}

/// Stores what changed in the positions of institutions `first..=last` since the run before.
pub async fn store(
    tx: &mut Tx,
    (first, last): (i64, i64),
    by: ByRun,
    positions: &[NewPosition],
) -> Result<u64> {
    let standing: Vec<Row> = on!(tx, c => sqlx::query_as(
            "SELECT inst_id, from_run, district_id, mode, status, required_fen, held_fen, \
                    explained_fen, uncovered_fen, covered_fen, deposit_required_fen, \
                    deposit_held_fen, unearned_confirmed_fen, unearned_delivered_fen, \
                    in_transit_fen, fee_window_fen, unidentified_fen, frozen_fen, releasable_fen, \
                    protected_fen, consumed_fen, deemed_fen, fees_recorded_fen, fees_credited_fen, \
                    contracts, must_be_held, under_custody, accounts_expected, accounts_proven, missing_days, \
                    uncovered_since_day \
             FROM position \
             WHERE inst_id BETWEEN $1 AND $2 AND policy_no = $3 AND from_run <= $4 AND to_run > $4")
            .bind(first).bind(last).bind(by.policy_no).bind(by.run_id).fetch_all(c).await)
    .map_err(DbError::sql("reading positions"))?;
    let found: Vec<Row> = positions.iter().map(|p| p.to_row(by.run_id)).collect();
    let inst_id = |row: &Row| row.inst_id;
    let (ended, new) = changes::differ(&standing, &found, inst_id, inst_id, Row::says_the_same);
    let ended = vec![
        ("inst_id", ints(&ended, |r| r.inst_id)),
        ("from_run", ints(&ended, |r| r.from_run)),
    ];
    let new = vec![
        ("inst_id", ints(&new, |r| r.inst_id)),
        ("district_id", texts(&new, |r| &r.district_id)),
        ("mode", ints(&new, |r| r.mode)),
        ("status", ints(&new, |r| r.status)),
        ("required_fen", ints(&new, |r| r.required_fen)),
        ("held_fen", ints(&new, |r| r.held_fen)),
        ("explained_fen", ints(&new, |r| r.explained_fen)),
        ("uncovered_fen", ints(&new, |r| r.uncovered_fen)),
        ("covered_fen", ints(&new, |r| r.covered_fen)),
        (
            "deposit_required_fen",
            ints(&new, |r| r.deposit_required_fen),
        ),
        ("deposit_held_fen", ints(&new, |r| r.deposit_held_fen)),
        (
            "unearned_confirmed_fen",
            ints(&new, |r| r.unearned_confirmed_fen),
        ),
        (
            "unearned_delivered_fen",
            ints(&new, |r| r.unearned_delivered_fen),
        ),
        ("in_transit_fen", ints(&new, |r| r.in_transit_fen)),
        ("fee_window_fen", ints(&new, |r| r.fee_window_fen)),
        ("unidentified_fen", ints(&new, |r| r.unidentified_fen)),
        ("frozen_fen", ints(&new, |r| r.frozen_fen)),
        ("releasable_fen", ints(&new, |r| r.releasable_fen)),
        ("protected_fen", ints(&new, |r| r.protected_fen)),
        ("consumed_fen", ints(&new, |r| r.consumed_fen)),
        ("deemed_fen", ints(&new, |r| r.deemed_fen)),
        ("fees_recorded_fen", ints(&new, |r| r.fees_recorded_fen)),
        ("fees_credited_fen", ints(&new, |r| r.fees_credited_fen)),
        ("contracts", ints(&new, |r| r.contracts)),
        ("must_be_held", ints(&new, |r| r.must_be_held)),
        ("under_custody", ints(&new, |r| r.under_custody)),
        ("accounts_expected", ints(&new, |r| r.accounts_expected)),
        ("accounts_proven", ints(&new, |r| r.accounts_proven)),
        ("missing_days", ints(&new, |r| r.missing_days)),
        (
            "uncovered_since_day",
            opt_ints(&new, |r| r.uncovered_since_day),
        ),
    ];
    changes::write(tx, "position", by, ended, new).await
}

/// The sums of an account's proof, as they are stored and reported. Each has the sign with which it adds to its side,
/// but `under_way_out_fen`, which is what is to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ProofSums {
    pub day: i64,
    pub closing_fen: i64,
    pub under_way_in_fen: i64,
    pub under_way_out_fen: i64,
    pub contract_cash_fen: i64,
    pub unallocated_fen: i64,
    pub unidentified_fen: i64,
    pub difference_fen: i64,
    pub fee_fen: i64,
    pub batch_refund_fen: i64,
    pub unauthorised_fen: i64,
    pub brought_forward_fen: i64,
    pub gap_fen: i64,
    pub items: i64,
    pub expired_items: i64,
}

impl ProofSums {
    pub fn of(proof: &AccountProof) -> ProofSums {
        let under_way = |out: bool| {
            let of = proof.items.iter().filter(|i| i.kind.is_under_way());
            let of = of.filter(|i| (i.amount < Money::ZERO) == out);
            of.fold(Money::ZERO, |sum, i| sum.saturating_add(i.amount))
                .fen()
        };
        let sum = |kinds: &[ItemKind]| proof.sum(|k| kinds.contains(&k)).fen();
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let expired = |i: &&Item| i.expires_on.is_some_and(|day| day < proof.day);
        ProofSums {
            day: days::number(proof.day),
            closing_fen: proof.closing.fen(),
            under_way_in_fen: under_way(false),
            under_way_out_fen: -under_way(true),
            contract_cash_fen: proof.contract_cash.fen(),
            unallocated_fen: proof.unallocated.fen(),
            unidentified_fen: sum(&[ItemKind::Unidentified, ItemKind::Duplicate]),
            difference_fen: sum(&[ItemKind::Difference]),
            fee_fen: sum(&[ItemKind::Fee]),
            batch_refund_fen: sum(&[ItemKind::BatchRefund]),
            unauthorised_fen: sum(&[ItemKind::Unauthorised]),
            brought_forward_fen: sum(&[ItemKind::BroughtForward]),
            gap_fen: sum(&[ItemKind::Gap]),
            items: count(proof.items.len()) + proof.carried.fees + proof.carried.batch_refunds,
            // A fee is carried once its time is over.
            expired_items: count(proof.items.iter().filter(expired).count()) + proof.carried.fees,
        }
    }

    /// The bank's closing set right by what is under way.
    pub fn adjusted_bank_fen(&self) -> i64 {
        self.closing_fen + self.under_way_in_fen - self.under_way_out_fen
    }

    /// What the books say is in the account.
    pub fn book_fen(&self) -> i64 {
        self.contract_cash_fen
            + self.unallocated_fen
            + self.unidentified_fen
            + self.difference_fen
            + self.fee_fen
            + self.batch_refund_fen
            + self.unauthorised_fen
            + self.brought_forward_fen
            + self.gap_fen
    }
}

#[derive(sqlx::FromRow)]
struct ProofRow {
    inst_id: i64,
    account_no: i64,
    from_run: i64,
    #[sqlx(flatten)]
    sums: ProofSums,
}

/// Stores what changed in the proofs of accounts of institutions `first..=last` since the run before.
pub async fn store_proofs(
    tx: &mut Tx,
    (first, last): (i64, i64),
    by: ByRun,
    proofs: &[(i64, AccountProof)],
) -> Result<u64> {
    let standing: Vec<ProofRow> = on!(tx, c => sqlx::query_as(
            "SELECT inst_id, account_no, from_run, day, closing_fen, under_way_in_fen, under_way_out_fen, \
                    contract_cash_fen, unallocated_fen, unidentified_fen, difference_fen, fee_fen, \
                    batch_refund_fen, unauthorised_fen, brought_forward_fen, gap_fen, items, expired_items \
             FROM account_proof \
             WHERE inst_id BETWEEN $1 AND $2 AND policy_no = $3 AND from_run <= $4 AND to_run > $4")
            .bind(first).bind(last).bind(by.policy_no).bind(by.run_id).fetch_all(c).await)
    .map_err(DbError::sql("reading proofs of accounts"))?;
    let found: Vec<(i64, i64, ProofSums)> = (proofs.iter())
        .map(|(inst_id, proof)| (*inst_id, proof.account_no, ProofSums::of(proof)))
        .collect();
    let (ended, new) = changes::differ(
        &standing,
        &found,
        |row| (row.inst_id, row.account_no),
        |proof| (proof.0, proof.1),
        |row, proof| row.sums == proof.2,
    );
    let ended = vec![
        ("inst_id", ints(&ended, |r| r.inst_id)),
        ("account_no", ints(&ended, |r| r.account_no)),
        ("from_run", ints(&ended, |r| r.from_run)),
    ];
    let sums = |of: fn(&ProofSums) -> i64| ints(&new, move |p| of(&p.2));
    let columns = vec![
        ("inst_id", ints(&new, |p| p.0)),
        ("account_no", ints(&new, |p| p.1)),
        ("day", sums(|s| s.day)),
        ("closing_fen", sums(|s| s.closing_fen)),
        ("under_way_in_fen", sums(|s| s.under_way_in_fen)),
        ("under_way_out_fen", sums(|s| s.under_way_out_fen)),
        ("contract_cash_fen", sums(|s| s.contract_cash_fen)),
        ("unallocated_fen", sums(|s| s.unallocated_fen)),
        ("unidentified_fen", sums(|s| s.unidentified_fen)),
        ("difference_fen", sums(|s| s.difference_fen)),
        ("fee_fen", sums(|s| s.fee_fen)),
        ("batch_refund_fen", sums(|s| s.batch_refund_fen)),
        ("unauthorised_fen", sums(|s| s.unauthorised_fen)),
        ("brought_forward_fen", sums(|s| s.brought_forward_fen)),
        ("gap_fen", sums(|s| s.gap_fen)),
        ("items", sums(|s| s.items)),
        ("expired_items", sums(|s| s.expired_items)),
    ];
    changes::write(tx, "account_proof", by, ended, columns).await
}
