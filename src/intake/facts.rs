//! Rows that are facts: payments, lessons, refunds, releases, bank lines and statement days.
//!
//! A row names its order; orders met before in this import are at hand, others are looked up in
//! portions ([`Session::resolve`]).

use std::collections::HashSet;

use super::ImportError;
use super::rows::Taken;
use super::session::Session;
use crate::base::{Day, Defect, DefectCode, InstId, Money};
use crate::feed::store::{StatementDay, Waiting};
use crate::ledger::{self, BankRole, Draft, Kind, LessonState};
use crate::policy::Channel;
use crate::registry::{Account, AccountKind};
use crate::store::days;
use crate::wire::interchange::{FileKind, Row};

/// Rows whose order is looked up in one portion.
pub(super) const PENDING_MAX: usize = 20_000;
/// The most lessons one row may consume.
const LESSONS_MAX: i64 = 100_000;

/// A collected draft whose order is not at hand yet.
pub(super) struct Pending {
    draft: usize,
    order_id: String,
    subject: String,
    kind: FileKind,
    line: u64,
    cells: Vec<(String, String)>,
    record: String,
    source_no: i64,
}

/// How an order id was resolved.
enum Order {
    Known(u32),
    /// To be looked up with the next portion.
    Later,
    /// Certainly not stored.
    Unknown,
}

pub(super) fn role(account: &Account) -> BankRole {
    match account.kind {
        AccountKind::Custody => BankRole::Custody,
        AccountKind::Deposit => BankRole::Deposit,
        AccountKind::Settlement | AccountKind::Undeclared => BankRole::Other,
    }
}

impl Session<'_> {
    pub(super) fn fact(
        &mut self,
        kind: FileKind,
        source_no: i64,
        row: &Row<'_>,
    ) -> Result<Taken, Defect> {
        match kind {
            FileKind::Payments => self.payment(source_no, row),
            FileKind::Lessons => self.lesson(source_no, row),
            FileKind::Refunds => self.refund(source_no, row),
            FileKind::Releases => self.release(source_no, row),
            FileKind::BankStatements => self.statement_day(source_no, row),
            FileKind::BankEntries => self.bank_entry(source_no, row),
            _ => unreachable!("records are taken elsewhere"),
        }
    }

    fn order(&self, order_id: &str) -> Order {
        match self.contracts.get(order_id) {
            Some(number) => Order::Known(number),
            None if self.first_load => Order::Unknown,
            None => Order::Later,
        }
    }

    fn payment(&mut self, source_no: i64, row: &Row<'_>) -> Result<Taken, Defect> {
        let payment_id = row.id(0)?;
        let order_id = row.id(1)?;
        let institution_id = row.id(2)?;
        let account_id = row.id(3)?;
        let day = row.fact_day(4)?;
        let channel = row.code(5, &Channel::NAMES, None)?;
        let (reference, sent) = row.reference(6)?;
        let amount = row.fen(7)?;
        let Some((inst_id, _)) = self.registry.institutions.get(institution_id) else {
            return Ok(Taken::Waits(institution_id.to_owned()));
        };
        let inst_id = *inst_id;
        let Some(account) = self.registry.accounts.get(account_id) else {
            return Ok(Taken::Waits(account_id.to_owned()));
        };
        if account.inst_id != inst_id {
            return Err(row.defect(
                DefectCode::Conflict,
                3,
                format!("account {account_id} belongs to another institution"),
            ));
        }
        let draft = Draft {
            inst_id,
            account_no: account.account_no.0,
            channel: channel_number(channel),
            amount: Money::from_fen(amount),
            reference: self.batch.keep(&reference),
            note: self.batch.keep(&ledger::note(&[("reference", sent)])),
            ..self.draft(Kind::Payment, day, payment_id, source_no)
        };
        self.with_order(FileKind::Payments, order_id, draft, row)
    }

    fn lesson(&mut self, source_no: i64, row: &Row<'_>) -> Result<Taken, Defect> {
        let consumption_id = row.id(0)?;
        let order_id = row.id(1)?;
        let day = row.fact_day(2)?;
        let lessons = row.fen(3)?;
        let amount = row.fen(4)?;
        let state = row.code(5, &LessonState::NAMES, Some("confirmed"))?;
        let confirmed = row.opt_day(6)?;
        let confirmed_on = confirmed.map(|d| d.to_string()).unwrap_or_default();
        if lessons > LESSONS_MAX {
            return Err(row.defect(
                DefectCode::BadAmount,
                3,
                format!("{lessons} lessons in one row; at most {LESSONS_MAX} are accepted"),
            ));
        }
        let state = LessonState::from_name(state).map_or(0, LessonState::number);
        let draft = Draft {
            confirmed: confirmed.filter(|on| *on > day && LessonState::counts(state)),
            state,
            amount: Money::from_fen(amount),
            quantity: lessons,
            note: self
                .batch
                .keep(&ledger::note(&[("confirmed_on", &confirmed_on)])),
            ..self.draft(Kind::Lesson, day, consumption_id, source_no)
        };
        self.with_order(FileKind::Lessons, order_id, draft, row)
    }

    fn refund(&mut self, source_no: i64, row: &Row<'_>) -> Result<Taken, Defect> {
        let refund_id = row.id(0)?;
        let order_id = row.id(1)?;
        let day = row.fact_day(2)?;
        let amount = row.fen(3)?;
        let day_text = |d: Option<Day>| d.map(|d| d.to_string()).unwrap_or_default();
        let (requested_on, agreed_on) = (day_text(row.opt_day(4)?), day_text(row.opt_day(5)?));
        let cause = row.code(
            6,
            &["consumer", "institution", "force", "closure", "cooling"],
            Some(""),
        )?;
        // Without a state a refund counts from its date; a named state counts once it is paid.
        let state = row.text(7)?;
        let settled = matches!(state, "" | "paid" | "settled" | "refunded");
        let note = ledger::note(&[
            ("agreed_on", &agreed_on),
            ("cause", cause),
            ("requested_on", &requested_on),
            ("state", state),
        ]);
        let draft = Draft {
            state: if settled {
                ledger::REFUND_SETTLED
            } else {
                ledger::REFUND_PENDING
            },
            amount: Money::from_fen(amount),
            note: self.batch.keep(&note),
            ..self.draft(Kind::Refund, day, refund_id, source_no)
        };
        self.with_order(FileKind::Refunds, order_id, draft, row)
    }

    fn release(&mut self, source_no: i64, row: &Row<'_>) -> Result<Taken, Defect> {
        let release_id = row.id(0)?;
        let account_id = row.id(1)?;
        let day = row.fact_day(2)?;
        let amount = row.fen(3)?;
        let order_id = row.opt_id(4)?;
        let Some(account) = self.registry.accounts.get(account_id) else {
            return Ok(Taken::Waits(account_id.to_owned()));
        };
        let draft = Draft {
            inst_id: account.inst_id,
            role: role(account),
            account_no: account.account_no.0,
            amount: Money::from_fen(amount),
            ..self.draft(Kind::Release, day, release_id, source_no)
        };
        match order_id {
            Some(order_id) => self.with_order(FileKind::Releases, order_id, draft, row),
            None => {
                self.batch.drafts.push(draft);
                Ok(Taken::Yes)
            }
        }
    }

    fn statement_day(&mut self, source_no: i64, row: &Row<'_>) -> Result<Taken, Defect> {
        let account_id = row.id(0)?;
        let day = row.fact_day(1)?;
        let opening_fen = row.integer(2)?;
        let closing_fen = row.integer(3)?;
        let Some(account) = self.registry.accounts.get(account_id) else {
            return Ok(Taken::Waits(account_id.to_owned()));
        };
        self.days.push(StatementDay {
            inst_id: account.inst_id.0,
            account_no: account.account_no.0,
            day: days::number(day),
            sent_no: self.sent_no(source_no),
            opening_fen,
            closing_fen,
            source_no,
            version: 0,
        });
        Ok(Taken::Yes)
    }

    fn bank_entry(&mut self, source_no: i64, row: &Row<'_>) -> Result<Taken, Defect> {
        let entry_id = row.id(0)?;
        let account_id = row.id(1)?;
        let day = row.fact_day(2)?;
        let code = row.text(3)?;
        let direction = row.code(4, &["C", "D"], None)?;
        let amount = row.fen(5)?;
        let (reference, sent) = row.reference(6)?;
        let memo = row.text(7)?;
        let value_on = row.opt_day(8)?.filter(|v| *v != day);
        let counterparty = row.text(9)?;
        let Some(account) = self.registry.accounts.get(account_id) else {
            return Ok(Taken::Waits(account_id.to_owned()));
        };
        let (inst_id, role, account_no) = (account.inst_id, role(account), account.account_no.0);
        let channel = Channel::from_name(memo).map_or(0, channel_of);
        let value_on = value_on.map(|v| v.to_string()).unwrap_or_default();
        let note = ledger::note(&[
            ("counterparty", counterparty),
            ("memo", if channel == 0 { memo } else { "" }),
            ("reference", sent),
            ("value_on", &value_on),
        ]);
        let draft = Draft {
            inst_id,
            role,
            account_no,
            channel,
            state: match code {
                "TRF" => ledger::LINE_TRANSFER,
                "STL" => ledger::LINE_SETTLEMENT,
                "DBT" => ledger::LINE_DEBIT,
                _ => ledger::LINE_OTHER,
            },
            amount: Money::from_fen(amount),
            reference: self.batch.keep(&reference),
            quantity: if direction == "C" { 1 } else { -1 },
            note: self.batch.keep(&note),
            ..self.draft(Kind::BankLine, day, entry_id, source_no)
        };
        self.batch.drafts.push(draft);
        Ok(Taken::Yes)
    }

    /// A draft of a kind with nothing but its id, day and file.
    pub(super) fn draft(&mut self, kind: Kind, day: Day, source_id: &str, source_no: i64) -> Draft {
        Draft {
            sent_no: self.sent_no(source_no),
            ..Draft::new(kind, day, self.batch.keep(source_id), source_no)
        }
    }

    /// Collects a draft under its order, now or with the next look-up.
    fn with_order(
        &mut self,
        kind: FileKind,
        order_id: &str,
        mut draft: Draft,
        row: &Row<'_>,
    ) -> Result<Taken, Defect> {
        match self.order(order_id) {
            Order::Known(number) => {
                self.attach(&mut draft, number)
                    .map_err(|found| row.defect(DefectCode::Conflict, 1, found))?;
                self.batch.drafts.push(draft);
                Ok(Taken::Yes)
            }
            Order::Unknown => Ok(Taken::Waits(order_id.to_owned())),
            Order::Later => {
                self.pending.push(Pending {
                    draft: self.batch.drafts.len(),
                    order_id: order_id.to_owned(),
                    subject: row.subject(),
                    kind,
                    line: row.line,
                    cells: row.to_pairs(),
                    record: row.raw_record(),
                    source_no: draft.source_no,
                });
                self.batch.drafts.push(draft);
                Ok(Taken::Yes)
            }
        }
    }

    /// Gives a draft its contract, which must belong to the draft's institution.
    fn attach(&self, draft: &mut Draft, contract: u32) -> Result<(), String> {
        let owner = self.contracts.slot(contract).inst_id;
        if draft.inst_id != InstId(0) && draft.inst_id != owner {
            return Err(format!(
                "order {} belongs to another institution",
                self.contracts.order_id(contract)
            ));
        }
        draft.inst_id = owner;
        draft.contract = contract;
        Ok(())
    }

    /// Looks up the orders of pending rows. Rows of unknown orders wait.
    pub(super) async fn resolve(&mut self, file: &str) -> Result<(), ImportError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let mut wanted: Vec<&str> = pending
            .iter()
            .map(|p| p.order_id.as_str())
            .filter(|id| self.contracts.get(id).is_none())
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut tx = self.db.begin_read().await?;
        let found = ledger::store::contracts_by_order(&mut tx, &wanted).await?;
        tx.rollback().await?;
        for (order_id, slot) in found {
            self.contracts.put(&order_id, slot);
        }
        let mut dropped = HashSet::new();
        for p in pending {
            let mut draft = self.batch.drafts[p.draft];
            let Some(number) = self.contracts.get(&p.order_id) else {
                dropped.insert(p.draft);
                let about = (p.kind.stem(), p.subject);
                let place = (p.source_no, p.line);
                self.wait(Waiting::new(place, about, &p.order_id, &p.cells));
                continue;
            };
            match self.attach(&mut draft, number) {
                Ok(()) => self.batch.drafts[p.draft] = draft,
                Err(found) => {
                    dropped.insert(p.draft);
                    self.waits.forget(p.kind, &p.subject);
                    let defect = Defect::new(DefectCode::Conflict, found)
                        .file(file)
                        .line(p.line)
                        .column("order_id");
                    self.quarantine(p.source_no, defect, p.record);
                }
            }
        }
        if !dropped.is_empty() {
            let mut at = 0;
            self.batch.drafts.retain(|_| {
                at += 1;
                !dropped.contains(&(at - 1))
            });
        }
        Ok(())
    }
}

pub(super) fn channel_number(name: &str) -> u8 {
    Channel::from_name(name).map_or(0, channel_of)
}

fn channel_of(channel: Channel) -> u8 {
    u8::try_from(channel.number()).expect("channels have small numbers")
}
