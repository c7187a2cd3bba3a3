//! Posting: drafts to rows. Replays are no-ops, differences are reversed and posted anew, and a fact that
//! its sender takes back is reversed only; sent again later, it stands again as its next revision.
//!
//! Rows of one transaction are taken in the order (institution, kind, source id, content): the order of
//! the unique index, independent of the order in which a file gave them.

use std::borrow::Cow;
use std::collections::HashMap;

use super::chain::Link;
use super::contracts::{Contracts, Slot};
use super::live::Live;
use super::rows::Rows;
use super::store::{self, Existing, FactKey, Head, key_account};
use super::{Batch, Draft, Kind, LedgerAccount, LessonState, accounts};
use crate::base::{Day, InstId, Money};
use crate::store::{DbError, Result, Tx, days};

/// What became of the rows of one source file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Posted {
    pub new: u64,
    pub same: u64,
    pub revised: u64,
}

/// Posts the drafts at `order`, which are sorted by [`sorted`] and hold every draft of their
/// institutions in this batch. Counts go to `posted`, by source file.
///
/// # Errors
/// A database error, or stored data that contradict themselves; the transaction is then useless.
pub async fn post(
    tx: &mut Tx,
    batch: &Batch,
    order: &[u32],
    contracts: &mut Contracts,
    posted: &mut HashMap<i64, Posted>,
) -> Result<()> {
    let mut insts: Vec<i64> = order
        .iter()
        .map(|i| batch.drafts[*i as usize].inst_id.0)
        .collect();
    insts.dedup();
    let heads = store::heads(tx, &insts).await?;
    let existing = existing_of(tx, batch, order, &heads).await?;
    load_corrected(tx, &existing, contracts).await?;
    let mut rows = Rows::with_capacity(order.len());
    let mut changed = Vec::new();
    let mut new_heads = Vec::with_capacity(insts.len());
    let mut from = 0;
    while from < order.len() {
        let inst_id = batch.drafts[order[from] as usize].inst_id;
        let to = from
            + order[from..]
                .iter()
                .take_while(|i| batch.drafts[**i as usize].inst_id == inst_id)
                .count();
        let head = heads.get(&inst_id.0).copied().unwrap_or_default();
        let mut poster = Poster {
            inst_id,
            head,
            batch,
            existing: &existing,
            contracts: &mut *contracts,
            rows: &mut rows,
            changed: &mut changed,
            recheck: Vec::new(),
            posted: &mut *posted,
        };
        poster.institution(&order[from..to])?;
        let head = poster.head;
        new_heads.push((inst_id.0, head));
        from = to;
    }
    write(tx, rows, &new_heads, contracts, &changed).await
}

/// Sorts a batch's drafts the way [`post`] wants them.
///
/// Of several rows of one id the one sent last stands; within one file, whose rows have no order, the one
/// with the greatest content.
pub fn sorted(batch: &Batch, contracts: &Contracts) -> Vec<u32> {
    // Numbers first: whole institutions and kinds fall together without touching any text.
    let key = |d: &Draft| (d.inst_id, d.kind);
    let mut order: Vec<((InstId, Kind), u32)> = batch.drafts.iter().map(key).zip(0..).collect();
    order.sort_unstable();
    for group in order.chunk_by_mut(|a, b| a.0 == b.0) {
        group.sort_unstable_by(|(_, a), (_, b)| {
            let (x, y) = (&batch.drafts[*a as usize], &batch.drafts[*b as usize]);
            (batch.text(x.source_id).cmp(batch.text(y.source_id)))
                .then_with(|| own_account(x).cmp(&own_account(y)))
                .then_with(|| x.sent_no.cmp(&y.sent_no))
                .then_with(|| content(batch, contracts, x).cmp(&content(batch, contracts, y)))
        });
    }
    order.into_iter().map(|(_, i)| i).collect()
}

fn own_account(d: &Draft) -> i64 {
    key_account(d.kind.number(), d.account_no)
}

type Content<'a> = (
    bool,
    Day,
    Option<Day>,
    Money,
    i64,
    i64,
    i64,
    u8,
    u8,
    &'a str,
    &'a str,
);

fn content<'a>(batch: &'a Batch, contracts: &Contracts, d: &Draft) -> Content<'a> {
    (
        d.void,
        d.day,
        d.confirmed,
        d.amount,
        d.quantity,
        contracts.number_of(d.contract),
        d.account_no,
        d.channel,
        d.state,
        batch.text(d.reference),
        batch.text(d.note),
    )
}

type Key<'a> = (i64, i64, &'a str);

async fn existing_of(
    tx: &mut Tx,
    batch: &Batch,
    order: &[u32],
    heads: &HashMap<i64, Head>,
) -> Result<HashMap<FactKey, Existing>> {
    let mut keys: Vec<Key<'_>> = order
        .iter()
        .map(|i| &batch.drafts[*i as usize])
        .filter(|d| heads.get(&d.inst_id.0).is_some_and(|h| h.seq > 0))
        .map(|d| (d.inst_id.0, d.kind.number(), batch.text(d.source_id)))
        .collect();
    keys.dedup();
    store::existing(tx, &keys).await
}

/// Loads the contracts of posted lessons: a correction may name another contract than the old row.
async fn load_corrected(
    tx: &mut Tx,
    existing: &HashMap<FactKey, Existing>,
    contracts: &mut Contracts,
) -> Result<()> {
    let mut missing: Vec<(i64, i64)> = existing
        .iter()
        .filter(|((_, kind, _, _), _)| *kind == Kind::Lesson.number())
        .map(|((inst_id, _, _, _), row)| (*inst_id, row.contract_no))
        .filter(|(i, no)| contracts.numbered(InstId(*i), *no).is_none())
        .collect();
    missing.sort_unstable();
    missing.dedup();
    for (order_id, slot) in store::contracts_by_number(tx, &missing).await? {
        contracts.put(&order_id, slot);
    }
    Ok(())
}

/// Posts one institution's drafts onto the end of its chain.
struct Poster<'a, 'b> {
    inst_id: InstId,
    head: Head,
    batch: &'a Batch,
    existing: &'a HashMap<FactKey, Existing>,
    contracts: &'b mut Contracts,
    rows: &'b mut Rows<'a>,
    changed: &'b mut Vec<u32>,
    /// Contracts whose earned value may be off after a reversal or with other terms.
    recheck: Vec<(u32, Day, i64)>,
    posted: &'b mut HashMap<i64, Posted>,
}

impl<'a> Poster<'a, '_> {
    fn institution(&mut self, order: &[u32]) -> Result<()> {
        let mut last: Option<(Kind, &'a str, i64, Live<'a>)> = None;
        for (at, i) in order.iter().enumerate() {
            let draft = &self.batch.drafts[*i as usize];
            if draft.kind == Kind::Revaluation {
                self.recheck
                    .push((draft.contract, draft.day, draft.source_no));
                continue;
            }
            let source_id = self.batch.text(draft.source_id);
            let account = own_account(draft);
            let live = match &last {
                Some((kind, id, on, live))
                    if *kind == draft.kind && *id == source_id && *on == account =>
                {
                    Some(live.clone())
                }
                _ if self.existing.is_empty() => None,
                _ => {
                    let kind = draft.kind.number();
                    let key = (self.inst_id.0, kind, source_id.to_owned(), account);
                    self.existing.get(&key).map(Live::stored)
                }
            };
            let stands = live.as_ref().is_some_and(|live| {
                live.equals(draft, self.batch, self.contracts)
                    || self.outdone(&order[at..], source_id, live)
            });
            let counts = self.posted.entry(draft.source_no).or_default();
            let live = match live {
                Some(live) if stands => {
                    counts.same += 1;
                    live
                }
                Some(live) if live.stands => {
                    counts.revised += 1;
                    self.reverse(draft, source_id, &live)?;
                    if draft.void {
                        Live {
                            stands: false,
                            ..live
                        }
                    } else {
                        self.add(draft, source_id, live.revision + 1)?
                    }
                }
                Some(gone) => {
                    counts.new += 1;
                    self.add(draft, source_id, gone.revision + 1)?
                }
                None if draft.void => {
                    return Err(DbError::Inconsistent(format!(
                        "fact {source_id} is taken back and was never posted"
                    )));
                }
                None => {
                    counts.new += 1;
                    self.add(draft, source_id, 0)?
                }
            };
            last = Some((draft.kind, source_id, account, live));
        }
        self.revalue()
    }

    /// True where this batch contradicts itself about a fact, and its last word is what stands: a
    /// replay adds nothing.
    fn outdone(&self, order: &[u32], source_id: &str, live: &Live<'a>) -> bool {
        let draft = |i: &u32| &self.batch.drafts[*i as usize];
        let same = |i: &&u32| {
            let (d, first) = (draft(i), draft(&order[0]));
            d.kind == first.kind
                && self.batch.text(d.source_id) == source_id
                && own_account(d) == own_account(first)
        };
        order
            .iter()
            .take_while(same)
            .last()
            .is_some_and(|i| live.equals(draft(i), self.batch, self.contracts))
    }

    fn next_seq(&mut self) -> i64 {
        self.head.seq += 1;
        self.head.seq
    }

    fn emit(&mut self, link: Link<'a>) {
        let hash = link.after(&self.head.hash);
        self.head.hash = hash;
        self.rows
            .push(link, (Cow::Borrowed(link.source_id), link.reference), hash);
    }

    /// Posts a draft as the given revision.
    fn add(&mut self, draft: &Draft, source_id: &'a str, revision: i64) -> Result<Live<'a>> {
        let (debit, credit) = accounts(draft.kind, draft.state, draft.role, draft.quantity);
        let mut amount = draft.amount;
        if draft.kind == Kind::Lesson && LessonState::counts(draft.state) {
            amount = self.earn(draft.contract, draft.quantity)?;
        }
        let contract_no = self.contracts.number_of(draft.contract);
        let live = Live {
            seq: self.next_seq(),
            revision,
            stands: true,
            day: draft.day,
            contract_no,
            account_no: draft.account_no,
            amount,
            stated: (amount != draft.amount).then_some(draft.amount),
            confirmed: draft.confirmed,
            reference: self.batch.text(draft.reference),
            channel: i64::from(draft.channel),
            state: i64::from(draft.state),
            quantity: draft.quantity,
            note: self.batch.text(draft.note),
            debit: debit.number(),
            credit: credit.number(),
        };
        self.emit(Link {
            inst_id: self.inst_id.0,
            seq: live.seq,
            source_no: draft.source_no,
            kind: draft.kind.number(),
            debit: live.debit,
            credit: live.credit,
            amount_fen: amount.fen(),
            business_day: days::number(draft.day),
            contract_no,
            account_no: draft.account_no,
            source_id,
            revision,
            reverses: None,
            reference: live.reference,
            channel: live.channel,
            state: live.state,
            quantity: draft.quantity,
            stated_fen: live.stated.map(Money::fen),
            confirmed_day: days::opt_number(live.confirmed),
            note: live.note,
        });
        if !live.note.is_empty() {
            self.rows.notes.push((self.inst_id.0, live.seq, live.note));
        }
        Ok(live)
    }

    /// Posts the mirror of a live posting: same day, debit and credit exchanged.
    fn reverse(&mut self, draft: &Draft, source_id: &'a str, live: &Live<'a>) -> Result<()> {
        let state = u8::try_from(live.state).unwrap_or(0);
        if draft.kind == Kind::Lesson && LessonState::counts(state) {
            // The old row's contract, which a correction may have changed.
            let number = self.slot_of(live.contract_no)?;
            let slot = &mut self.contracts.slots[number as usize];
            slot.lessons_counted -= live.quantity;
            slot.earned = checked(slot.earned.checked_sub(live.amount), "earned")?;
            self.touch(number);
            self.recheck.push((number, live.day, draft.source_no));
        }
        let seq = self.next_seq();
        self.emit(Link {
            inst_id: self.inst_id.0,
            seq,
            source_no: draft.source_no,
            kind: draft.kind.number(),
            debit: live.credit,
            credit: live.debit,
            amount_fen: live.amount.fen(),
            business_day: days::number(live.day),
            contract_no: live.contract_no,
            account_no: live.account_no,
            source_id,
            revision: -(live.revision + 1),
            reverses: Some(live.seq),
            reference: live.reference,
            channel: live.channel,
            state: live.state,
            quantity: live.quantity,
            stated_fen: live.stated.map(Money::fen),
            confirmed_day: days::opt_number(live.confirmed),
            note: "", // it names the row that has one
        });
        Ok(())
    }

    /// Counts lessons and returns what they earn: the step of the cumulative floor.
    fn earn(&mut self, contract: u32, quantity: i64) -> Result<Money> {
        let slot = self
            .contracts
            .slots
            .get_mut(contract as usize)
            .ok_or_else(|| DbError::Inconsistent("a lesson without its contract".to_owned()))?;
        slot.lessons_counted += quantity;
        let step = slot
            .terms
            .value_of(slot.lessons_counted)
            .less_floored(slot.earned);
        slot.earned = checked(slot.earned.checked_add(step), "earned")?;
        self.touch(contract);
        Ok(step)
    }

    /// Brings earned values back to the cumulative floor after reversals and with changed terms.
    fn revalue(&mut self) -> Result<()> {
        for (contract, day, source_no) in std::mem::take(&mut self.recheck) {
            let slot = self.contracts.slots[contract as usize];
            let target = slot.terms.value_of(slot.lessons_counted);
            if target == slot.earned {
                continue;
            }
            let (unearned, earned) = accounts(Kind::Revaluation, 0, super::BankRole::Other, 0);
            let (debit, credit, amount) = if target > slot.earned {
                (unearned, earned, target.less_floored(slot.earned))
            } else {
                (earned, unearned, slot.earned.less_floored(target))
            };
            self.contracts.slots[contract as usize].earned = target;
            self.touch(contract);
            self.emit_revaluation(contract, day, source_no, (debit, credit), amount);
        }
        Ok(())
    }

    fn emit_revaluation(
        &mut self,
        contract: u32,
        day: Day,
        source_no: i64,
        (debit, credit): (LedgerAccount, LedgerAccount),
        amount: Money,
    ) {
        let seq = self.next_seq();
        let order_id = self.contracts.order_id(contract).to_owned();
        let link = Link {
            inst_id: self.inst_id.0,
            seq,
            source_no,
            kind: Kind::Revaluation.number(),
            debit: debit.number(),
            credit: credit.number(),
            amount_fen: amount.fen(),
            business_day: days::number(day),
            contract_no: self.contracts.number_of(contract),
            account_no: 0,
            source_id: &order_id,
            revision: seq, // each is its own: nothing replays a revaluation
            reverses: None,
            reference: "",
            channel: 0,
            state: 0,
            quantity: 0,
            stated_fen: None,
            confirmed_day: None,
            note: "",
        };
        let hash = link.after(&self.head.hash);
        self.head.hash = hash;
        self.rows
            .push(link, (Cow::Owned(order_id.clone()), ""), hash);
    }

    fn touch(&mut self, contract: u32) {
        let slot = &mut self.contracts.slots[contract as usize];
        if !slot.dirty {
            slot.dirty = true;
            self.changed.push(contract);
        }
    }

    /// The slot of a contract loaded by [`load_corrected`] or posted to before.
    fn slot_of(&mut self, contract_no: i64) -> Result<u32> {
        self.contracts
            .numbered(self.inst_id, contract_no)
            .ok_or_else(|| {
                DbError::Inconsistent(format!(
                    "contract {contract_no} of institution {} is not loaded",
                    self.inst_id
                ))
            })
    }
}

fn checked(money: Option<Money>, what: &str) -> Result<Money> {
    money.ok_or_else(|| DbError::Inconsistent(format!("{what} exceeds 64 bits of fen")))
}

async fn write(
    tx: &mut Tx,
    mut rows: Rows<'_>,
    heads: &[(i64, Head)],
    contracts: &mut Contracts,
    changed: &[u32],
) -> Result<()> {
    store::append_notes(tx, &std::mem::take(&mut rows.notes)).await?;
    store::move_balances(tx, &std::mem::take(&mut rows.balances)).await?;
    store::append_postings(tx, rows).await?;
    store::put_heads(tx, heads).await?;
    let states: Vec<Slot> = changed
        .iter()
        .map(|n| contracts.slots[*n as usize])
        .collect();
    store::put_contract_states(tx, &states).await?;
    for n in changed {
        contracts.slots[*n as usize].dirty = false;
    }
    Ok(())
}
