//! What a run's matching changed: lines, the payments that several settle together, what is left to people.

use crate::on;
use crate::reconcile::{MatchedItem, MatchedLine, ReviewedLine};
use crate::store::bulk::{self, ints, repeated};
use crate::store::changes::{self, ByRun};
use crate::store::{DbError, Result, Tx};

/// Of which institutions and movements a run says what is matched: of others, which are settled for good, what
/// was said stands.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Institutions, whole.
    pub whole: Vec<i64>,
    /// Lines of others, by (inst_id, seq).
    pub lines: Vec<(i64, i64)>,
    /// Payments of others, by (inst_id, seq).
    pub payments: Vec<(i64, i64)>,
}

/// Stores what changed in the matches of what is asked, of institutions `first..=last`, since the run before; says how
/// many rows that is.
pub async fn store_matches(
    tx: &mut Tx,
    (first, last): (i64, i64),
    by: ByRun,
    asked: &Asked,
    (lines, items, reviews): (&[MatchedLine], &[MatchedItem], &[ReviewedLine]),
) -> Result<u64> {
    let differing = store_lines(tx, by, asked, lines).await?
        + store_items(tx, by, asked, items).await?
        + store_reviews(tx, (first, last), by, reviews).await?;
    Ok(differing)
}

/// Keys of what stands at a run for whole institutions.
fn of_whole(by: ByRun, inst_ids: &[i64]) -> bulk::Columns<'static> {
    vec![
        ("inst_id", ints(inst_ids, |id| *id)),
        ("policy_no", repeated(by.policy_no, inst_ids.len())),
        ("run_id", repeated(by.run_id, inst_ids.len())),
    ]
}

/// Keys of what stands at a run for single movements.
fn of_parts(by: ByRun, parts: &[(i64, i64)]) -> bulk::Columns<'static> {
    vec![
        ("inst_id", ints(parts, |p| p.0)),
        ("seq", ints(parts, |p| p.1)),
        ("policy_no", repeated(by.policy_no, parts.len())),
        ("run_id", repeated(by.run_id, parts.len())),
    ]
}

#[derive(sqlx::FromRow)]
struct LineRow {
    inst_id: i64,
    entry_seq: i64,
    from_run: i64,
    kind: i64,
    payment_seq: i64,
    n: i64,
    amount_fen: i64,
    pack: i64,
    rule: i64,
    difference_fen: i64,
    fee_fen: i64,
    decision_no: i64,
}

impl LineRow {
    fn says_the_same(&self, line: &MatchedLine) -> bool {
        let stands = [
            self.kind,
            self.payment_seq,
            self.n,
            self.amount_fen,
            self.pack,
            self.rule,
            self.difference_fen,
            self.fee_fen,
            self.decision_no,
        ];
        stands
            == [
                line.kind.number(),
                line.payment_seq,
                line.n,
                line.amount_fen,
                line.pack,
                line.rule,
                line.difference_fen,
                line.fee_fen,
                line.decision_no,
            ]
    }
}

async fn store_lines(tx: &mut Tx, by: ByRun, asked: &Asked, lines: &[MatchedLine]) -> Result<u64> {
    let mut standing: Vec<LineRow> = bulk::lookup(
        tx,
        of_whole(by, &asked.whole),
        "SELECT m.inst_id, m.entry_seq, m.from_run, m.kind, m.payment_seq, m.n, m.amount_fen, m.pack, m.rule, \
                m.difference_fen, m.fee_fen, m.decision_no \
         FROM wanted w CROSS JOIN match_line m \
         WHERE m.inst_id = w.inst_id AND m.policy_no = w.policy_no AND m.from_run <= w.run_id \
           AND m.to_run > w.run_id",
    )
    .await?;
    let of_lines: Vec<LineRow> = bulk::lookup(
        tx,
        of_parts(by, &asked.lines),
        "SELECT m.inst_id, m.entry_seq, m.from_run, m.kind, m.payment_seq, m.n, m.amount_fen, m.pack, m.rule, \
                m.difference_fen, m.fee_fen, m.decision_no \
         FROM wanted w CROSS JOIN match_line m \
         WHERE m.inst_id = w.inst_id AND m.policy_no = w.policy_no AND m.entry_seq = w.seq \
           AND m.from_run <= w.run_id AND m.to_run > w.run_id",
    )
    .await?;
    standing.extend(of_lines);
    let (mut ended, mut new) = changes::differ(
        &standing,
        lines,
        |row| (row.inst_id, row.entry_seq),
        |line| (line.inst_id, line.entry_seq),
        LineRow::says_the_same,
    );
    ended.sort_unstable_by_key(|r| (r.inst_id, r.entry_seq));
    new.sort_unstable();
    let ended = vec![
        ("inst_id", ints(&ended, |r| r.inst_id)),
        ("entry_seq", ints(&ended, |r| r.entry_seq)),
        ("from_run", ints(&ended, |r| r.from_run)),
    ];
    let new = vec![
        ("inst_id", ints(&new, |l| l.inst_id)),
        ("entry_seq", ints(&new, |l| l.entry_seq)),
        ("kind", ints(&new, |l| l.kind.number())),
        ("payment_seq", ints(&new, |l| l.payment_seq)),
        ("n", ints(&new, |l| l.n)),
        ("amount_fen", ints(&new, |l| l.amount_fen)),
        ("pack", ints(&new, |l| l.pack)),
        ("rule", ints(&new, |l| l.rule)),
        ("difference_fen", ints(&new, |l| l.difference_fen)),
        ("fee_fen", ints(&new, |l| l.fee_fen)),
        ("decision_no", ints(&new, |l| l.decision_no)),
    ];
    changes::write(tx, "match_line", by, ended, new).await
}

#[derive(sqlx::FromRow)]
struct ItemRow {
    inst_id: i64,
    payment_seq: i64,
    from_run: i64,
    entry_seq: i64,
}

async fn store_items(tx: &mut Tx, by: ByRun, asked: &Asked, items: &[MatchedItem]) -> Result<u64> {
    let mut standing: Vec<ItemRow> = bulk::lookup(
        tx,
        of_whole(by, &asked.whole),
        "SELECT m.inst_id, m.payment_seq, m.from_run, m.entry_seq FROM wanted w CROSS JOIN match_item m \
         WHERE m.inst_id = w.inst_id AND m.policy_no = w.policy_no AND m.from_run <= w.run_id \
           AND m.to_run > w.run_id",
    )
    .await?;
    let of_payments: Vec<ItemRow> = bulk::lookup(
        tx,
        of_parts(by, &asked.payments),
        "SELECT m.inst_id, m.payment_seq, m.from_run, m.entry_seq FROM wanted w CROSS JOIN match_item m \
         WHERE m.inst_id = w.inst_id AND m.policy_no = w.policy_no AND m.payment_seq = w.seq \
           AND m.from_run <= w.run_id AND m.to_run > w.run_id",
    )
    .await?;
    standing.extend(of_payments);
    let (mut ended, mut new) = changes::differ(
        &standing,
        items,
        |row| (row.inst_id, row.payment_seq),
        |item| (item.inst_id, item.payment_seq),
        |row, item| row.entry_seq == item.entry_seq,
    );
    ended.sort_unstable_by_key(|r| (r.inst_id, r.payment_seq));
    new.sort_unstable();
    let ended = vec![
        ("inst_id", ints(&ended, |r| r.inst_id)),
        ("payment_seq", ints(&ended, |r| r.payment_seq)),
        ("from_run", ints(&ended, |r| r.from_run)),
    ];
    let new = vec![
        ("inst_id", ints(&new, |i| i.inst_id)),
        ("payment_seq", ints(&new, |i| i.payment_seq)),
        ("entry_seq", ints(&new, |i| i.entry_seq)),
    ];
    changes::write(tx, "match_item", by, ended, new).await
}

#[derive(sqlx::FromRow)]
struct ReviewRow {
    inst_id: i64,
    entry_seq: i64,
    payment_seq: i64,
    from_run: i64,
    pack: i64,
    rule: i64,
    doubt: i64,
}

async fn store_reviews(
    tx: &mut Tx,
    (first, last): (i64, i64),
    by: ByRun,
    reviews: &[ReviewedLine],
) -> Result<u64> {
    let standing: Vec<ReviewRow> = on!(tx, c => sqlx::query_as(
            "SELECT inst_id, entry_seq, payment_seq, from_run, pack, rule, doubt FROM match_review \
             WHERE inst_id BETWEEN $1 AND $2 AND policy_no = $3 AND from_run <= $4 AND to_run > $4")
            .bind(first).bind(last).bind(by.policy_no).bind(by.run_id).fetch_all(c).await)
    .map_err(DbError::sql("reading lines left to people"))?;
    let (mut ended, mut new) = changes::differ(
        &standing,
        reviews,
        |row| (row.inst_id, row.entry_seq, row.payment_seq),
        |r| (r.inst_id, r.entry_seq, r.payment_seq),
        |row, r| (row.pack, row.rule, row.doubt) == (r.pack, r.rule, r.doubt),
    );
    if ended.is_empty() && new.is_empty() {
        return Ok(0);
    }
    ended.sort_unstable_by_key(|r| (r.inst_id, r.entry_seq, r.payment_seq));
    new.sort_unstable();
    let ended = vec![
        ("inst_id", ints(&ended, |r| r.inst_id)),
        ("entry_seq", ints(&ended, |r| r.entry_seq)),
        ("payment_seq", ints(&ended, |r| r.payment_seq)),
        ("from_run", ints(&ended, |r| r.from_run)),
    ];
    let new = vec![
        ("inst_id", ints(&new, |r| r.inst_id)),
        ("entry_seq", ints(&new, |r| r.entry_seq)),
        ("payment_seq", ints(&new, |r| r.payment_seq)),
        ("pack", ints(&new, |r| r.pack)),
        ("rule", ints(&new, |r| r.rule)),
        ("doubt", ints(&new, |r| r.doubt)),
    ];
    changes::write(tx, "match_review", by, ended, new).await
}
