//! SQL of what a run's matching says: matches, what was left to people, proofs of accounts.

use super::Run;
use crate::on;
use crate::position::store::ProofSums;
use crate::store::{DbError, Result, Tx};

/// One match of a run.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct MatchRow {
    pub inst_id: i64,
    pub entry_seq: i64,
    pub kind: i64,
    pub entry_id: String,
    pub n: i64,
    pub amount_fen: i64,
    pub pack: i64,
    pub rule: i64,
    pub difference_fen: i64,
    pub fee_fen: i64,
    pub decision_no: i64,
}

/// Matches of a run in order of institution and line.
pub async fn matches(tx: &mut Tx, run: &Run) -> Result<Vec<MatchRow>> {
    let district = run.district_id.as_deref().unwrap_or("");
    on!(tx, c => sqlx::query_as(
            "SELECT m.inst_id, m.entry_seq, m.kind, e.source_id AS entry_id, m.n, m.amount_fen, \
                    m.pack, m.rule, m.difference_fen, m.fee_fen, m.decision_no \
             FROM match_line m JOIN posting e ON e.inst_id = m.inst_id AND e.seq = m.entry_seq \
             WHERE m.policy_no = $1 AND m.to_run > $2 AND m.from_run <= $2 \
               AND ($3 = '' OR EXISTS (SELECT 1 FROM position p WHERE p.inst_id = m.inst_id \
                     AND p.policy_no = m.policy_no AND p.to_run > $2 AND p.from_run <= $2 \
                     AND p.district_id = $3)) \
             ORDER BY m.inst_id, m.entry_seq")
            .bind(run.policy_no).bind(run.head.run_id).bind(district).fetch_all(c).await)
    .map_err(DbError::sql("reading matches"))
}

/// A credit that the rules left to people, with one payment it may settle.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ReviewRow {
    pub inst_id: i64,
    pub entry_seq: i64,
    pub entry_id: String,
    pub booked_day: i64,
    pub amount_fen: i64,
    pub payment_id: String,
    pub paid_day: i64,
    pub payment_fen: i64,
    pub pack: i64,
    pub rule: i64,
    pub doubt: i64,
}

/// What a run left to people, in order of institution, line and payment.
pub async fn reviews(tx: &mut Tx, run: &Run) -> Result<Vec<ReviewRow>> {
    let district = run.district_id.as_deref().unwrap_or("");
    on!(tx, c => sqlx::query_as(
            "SELECT r.inst_id, r.entry_seq, e.source_id AS entry_id, e.business_day AS booked_day, \
                    e.amount_fen, p.source_id AS payment_id, p.business_day AS paid_day, \
                    p.amount_fen AS payment_fen, r.pack, r.rule, r.doubt \
             FROM match_review r \
             JOIN posting e ON e.inst_id = r.inst_id AND e.seq = r.entry_seq \
             JOIN posting p ON p.inst_id = r.inst_id AND p.seq = r.payment_seq \
             WHERE r.policy_no = $1 AND r.to_run > $2 AND r.from_run <= $2 \
               AND ($3 = '' OR EXISTS (SELECT 1 FROM position o WHERE o.inst_id = r.inst_id \
                     AND o.policy_no = r.policy_no AND o.to_run > $2 AND o.from_run <= $2 \
                     AND o.district_id = $3)) \
             ORDER BY r.inst_id, r.entry_seq, p.business_day, p.source_id")
            .bind(run.policy_no).bind(run.head.run_id).bind(district).fetch_all(c).await)
    .map_err(DbError::sql("reading lines left to people"))
}

/// The proof of one account.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ProofRow {
    pub inst_id: i64,
    pub account_id: String,
    #[sqlx(flatten)]
    pub sums: ProofSums,
}

/// Proofs of a run in order of institution and account.
pub async fn proofs(tx: &mut Tx, run: &Run) -> Result<Vec<ProofRow>> {
    let district = run.district_id.as_deref().unwrap_or("");
    on!(tx, c => sqlx::query_as(
            "SELECT p.inst_id, a.account_id, p.day, p.closing_fen, p.under_way_in_fen, \
                    p.under_way_out_fen, p.contract_cash_fen, p.unallocated_fen, p.unidentified_fen, \
                    p.difference_fen, p.fee_fen, p.batch_refund_fen, p.unauthorised_fen, \
                    p.brought_forward_fen, p.gap_fen, p.items, p.expired_items \
             FROM account_proof p \
             JOIN account_directory a ON a.inst_id = p.inst_id AND a.account_no = p.account_no \
             WHERE p.policy_no = $1 AND p.to_run > $2 AND p.from_run <= $2 \
               AND ($3 = '' OR EXISTS (SELECT 1 FROM position o WHERE o.inst_id = p.inst_id \
                     AND o.policy_no = p.policy_no AND o.to_run > $2 AND o.from_run <= $2 \
                     AND o.district_id = $3)) \
             ORDER BY p.inst_id, p.account_no")
            .bind(run.policy_no).bind(run.head.run_id).bind(district).fetch_all(c).await)
    .map_err(DbError::sql("reading proofs of accounts"))
}
