//! Rows that are records: districts, institutions, licences, accounts, orders, settlements, freezes.
//!
//! A record that differs from the stored one gets a next version; equal ones are no-ops.

use std::collections::HashMap;

use super::ImportError;
use super::facts::channel_number;
use super::session::{Session, Taken};
use crate::base::{AccountNo, Day, Defect, DefectCode, InstId, Money, uscc};
use crate::feed::store::{self, Freeze, Settlement};
use crate::ledger::{self, Batch, Draft, Kind, Slot};
use crate::policy::Channel;
use crate::registry::store::{NewContract, NewVersion, StoredContract};
use crate::registry::{
    self, Account, AccountKind, Contract, CustodyMode, District, Institution, Licence, Prepays,
    Record,
};
use crate::wire::interchange::{FileKind, Row};

/// Orders stored in one portion.
pub(super) const CONTRACT_ROWS: usize = 100_000;

/// Records of one file, collected.
pub(super) struct Collected {
    kind: FileKind,
    districts: Vec<District>,
    institutions: Vec<Institution>,
    licences: Vec<Licence>,
    accounts: Vec<Account>,
    /// Order id, institution, contract, line.
    orders: Vec<(String, InstId, Contract, u64)>,
    settlements: Vec<Settlement>,
    freezes: Vec<Freeze>,
}

impl Collected {
    pub(super) fn new(kind: FileKind) -> Collected {
        Collected {
            kind,
            districts: Vec::new(),
            institutions: Vec::new(),
            licences: Vec::new(),
            accounts: Vec::new(),
            orders: Vec::new(),
            settlements: Vec::new(),
            freezes: Vec::new(),
        }
    }

    /// Rows collected and not stored; registry records are stored at the file's end.
    pub(super) fn len(&self) -> usize {
        self.orders.len() + self.settlements.len() + self.freezes.len()
    }

    pub(super) fn row(
        &mut self,
        session: &mut Session<'_>,
        file: &str,
        row: &Row<'_>,
    ) -> Result<Taken, Defect> {
        match self.kind {
            FileKind::Districts => self.district(row),
            FileKind::Institutions => self.institution(session, file, row),
            FileKind::Licences => self.licence(session, file, row),
            FileKind::Accounts => self.account(session, row),
            FileKind::Orders => self.order(session, file, row),
            FileKind::Settlements => self.settlement(session, row),
            FileKind::Freezes => self.freeze(session, row),
            _ => unreachable!("facts are taken elsewhere"),
        }
    }

    fn district(&mut self, row: &Row<'_>) -> Result<Taken, Defect> {
        let district_id = row.id(0)?;
        let value = District {
            district_id: district_id.to_owned(),
            name: required_text(row, 1)?,
            kind: row
                .code(2, &["gb", "stat", "internal"], Some("internal"))?
                .to_owned(),
            gb_code: owned(row.opt_text(3)?),
            parent_id: owned(row.opt_id(4)?),
            tile_col: row.opt_fen(5)?,
            tile_row: row.opt_fen(6)?,
        };
        self.districts.push(value);
        Ok(Taken::Yes)
    }

    fn institution(
        &mut self,
        session: &mut Session<'_>,
        file: &str,
        row: &Row<'_>,
    ) -> Result<Taken, Defect> {
        let institution_id = row.id(0)?;
        let district_id = row.id(1)?;
        let value = Institution {
            institution_id: institution_id.to_owned(),
            district_id: district_id.to_owned(),
            name: required_text(row, 2)?,
            uscc: owned(row.opt_text(3)?),
            licence_kind: owned(row.opt_text(4)?),
            licence_no: owned(row.opt_text(5)?),
            licence_from: row.opt_day(6)?,
            licence_to: row.opt_day(7)?,
            department: row
                .code(
                    8,
                    &["education", "scitech", "culture_tourism", "sports"],
                    Some(""),
                )
                .map(non_empty)?,
            category: row
                .code(9, &["academic", "non_academic"], Some(""))
                .map(non_empty)?,
            subject: owned(row.opt_text(10)?),
            prepays: Prepays::from_name(row.code(11, &Prepays::NAMES, Some("unknown"))?),
            status: row.opt_text(12)?.unwrap_or("active").to_owned(),
            platform_since: row.opt_day(13)?,
            opened_on: row.opt_day(14)?,
            custody_mode: CustodyMode::from_name(row.code(15, &CustodyMode::NAMES, Some(""))?),
        };
        if session.registry.districts.get(district_id).is_none() {
            return Ok(Taken::Waits(district_id.to_owned()));
        }
        if let Some(Err(e)) = value.uscc.as_deref().map(uscc::validate) {
            let defect = row.defect(DefectCode::BadUscc, 3, e.to_string());
            session.note_defect(defect.file(file));
        }
        self.institutions.push(value);
        Ok(Taken::Yes)
    }

    fn licence(
        &mut self,
        session: &mut Session<'_>,
        file: &str,
        row: &Row<'_>,
    ) -> Result<Taken, Defect> {
        let licence_no = row.id(0)?;
        let value = Licence {
            licence_no: licence_no.to_owned(),
            name: required_text(row, 1)?,
            uscc: owned(row.opt_text(2)?),
            district_id: row.id(3)?.to_owned(),
            department: row
                .code(
                    4,
                    &["education", "scitech", "culture_tourism", "sports"],
                    None,
                )?
                .to_owned(),
            licence_from: row.opt_day(5)?,
            licence_to: row.opt_day(6)?,
            status: owned(row.opt_text(7)?),
        };
        if let Some(Err(e)) = value.uscc.as_deref().map(uscc::validate) {
            let defect = row.defect(DefectCode::BadUscc, 2, e.to_string());
            session.note_defect(defect.file(file));
        }
        self.licences.push(value);
        Ok(Taken::Yes)
    }

    fn account(&mut self, session: &mut Session<'_>, row: &Row<'_>) -> Result<Taken, Defect> {
        let account_id = row.id(0)?;
        let institution_id = row.id(1)?;
        let kind = row.code(2, &AccountKind::NAMES, None)?;
        let statuses = [
            "pending",
            "filed",
            "frozen",
            "part_frozen",
            "closing",
            "closed",
        ];
        let mut value = Account {
            inst_id: InstId(0),
            account_no: AccountNo(0),
            account_id: account_id.to_owned(),
            kind: AccountKind::from_name(kind).unwrap_or(AccountKind::Undeclared),
            min_deposit: Money::from_fen(row.fen(3)?),
            bank_code: owned(row.opt_text(4)?),
            branch_district_id: owned(row.opt_id(5)?),
            agreement_no: owned(row.opt_text(6)?),
            agreement_from: row.opt_day(7)?,
            agreement_to: row.opt_day(8)?,
            filed_on: row.opt_day(9)?,
            status: row.code(10, &statuses, Some("")).map(non_empty)?,
        };
        let Some((inst_id, _)) = session.registry.institutions.get(institution_id) else {
            return Ok(Taken::Waits(institution_id.to_owned()));
        };
        value.inst_id = *inst_id;
        let known = session.registry.accounts.get(account_id);
        if known.is_some_and(|k| k.inst_id != value.inst_id) {
            return Err(row.defect(
                DefectCode::Conflict,
                1,
                format!("account {account_id} is registered with another institution"),
            ));
        }
        self.accounts.push(value);
        Ok(Taken::Yes)
    }

    fn order(
        &mut self,
        session: &mut Session<'_>,
        file: &str,
        row: &Row<'_>,
    ) -> Result<Taken, Defect> {
        let order_id = row.id(0)?;
        let institution_id = row.id(1)?;
        let value = Contract {
            student_ref: row.id(2)?.to_owned(),
            ordered_on: row.day(3)?,
            lessons: row.fen(4)?,
            unit_price: row.fen(5)?,
            amount: row.fen(6)?,
            gift_lessons: row.opt_fen(7)?.unwrap_or(0),
            list_price: row.opt_fen(8)?,
            subject_group: owned(row.opt_text(9)?),
            kind: row
                .code(10, &["hours", "period", "unlimited"], Some(""))
                .map(non_empty)?,
            starts_on: row.opt_day(11)?,
            ends_on: row.opt_day(12)?,
            extras: row.opt_fen(13)?.unwrap_or(0),
        };
        if value.extras > value.amount {
            return Err(row.defect(
                DefectCode::BadAmount,
                13,
                format!(
                    "extras of {} fen exceed the amount of {}",
                    value.extras, value.amount
                ),
            ));
        }
        let Some((inst_id, _)) = session.registry.institutions.get(institution_id) else {
            return Ok(Taken::Waits(institution_id.to_owned()));
        };
        let inst_id = *inst_id;
        if i128::from(value.lessons) * i128::from(value.unit_price)
            != i128::from(value.amount - value.extras)
        {
            let found = format!(
                "{} lessons at {} fen are not the lesson part of {} fen",
                value.lessons,
                value.unit_price,
                value.amount - value.extras
            );
            session.note_defect(row.defect(DefectCode::UnpricedOrder, 5, found).file(file));
        }
        self.orders
            .push((order_id.to_owned(), inst_id, value, row.line));
        Ok(Taken::Yes)
    }

    fn settlement(&mut self, session: &mut Session<'_>, row: &Row<'_>) -> Result<Taken, Defect> {
        let batch_no = row.id(0)?;
        let channel = row.code(1, &Channel::NAMES, None)?;
        let account_id = row.id(2)?;
        let epoch = |d: Day| i64::from(d.epoch());
        let mut value = Settlement {
            inst_id: 0,
            account_no: 0,
            batch_no: batch_no.to_owned(),
            channel: i64::from(channel_number(channel)),
            period_from_day: epoch(row.day(3)?),
            period_to_day: epoch(row.day(4)?),
            gross_fen: row.fen(5)?,
            fee_fen: row.fen(6)?,
            refund_fen: row.fen(7)?,
            net_fen: row.integer(8)?,
            expected_day: row.opt_day(9)?.map(epoch),
        };
        if value.gross_fen - value.fee_fen - value.refund_fen != value.net_fen {
            return Err(row.defect(
                DefectCode::DeclaredTotals,
                8,
                format!(
                    "gross {} − fee {} − refunds {} is not net {}",
                    value.gross_fen, value.fee_fen, value.refund_fen, value.net_fen
                ),
            ));
        }
        let Some(account) = session.registry.accounts.get(account_id) else {
            return Ok(Taken::Waits(account_id.to_owned()));
        };
        value.inst_id = account.inst_id.0;
        value.account_no = account.account_no.0;
        self.settlements.push(value);
        Ok(Taken::Yes)
    }

    fn freeze(&mut self, session: &mut Session<'_>, row: &Row<'_>) -> Result<Taken, Defect> {
        let account_id = row.id(0)?;
        let kind = row.code(1, &["court", "police", "bank", "regulator"], None)?;
        let epoch = |d: Option<Day>| d.map(|d| i64::from(d.epoch()));
        let mut value = Freeze {
            inst_id: 0,
            account_no: 0,
            document_no: row.id(2)?.to_owned(),
            kind: kind.to_owned(),
            amount_fen: row.opt_fen(3)?,
            from_day: epoch(row.opt_day(4)?),
            to_day: epoch(row.opt_day(5)?),
        };
        let Some(account) = session.registry.accounts.get(account_id) else {
            return Ok(Taken::Waits(account_id.to_owned()));
        };
        value.inst_id = account.inst_id.0;
        value.account_no = account.account_no.0;
        self.freezes.push(value);
        Ok(Taken::Yes)
    }

    /// Stores what has been collected.
    pub(super) async fn store(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
        file: &str,
    ) -> Result<(), ImportError> {
        match self.kind {
            FileKind::Orders => self.store_orders(session, source_no, file).await,
            FileKind::Settlements => self.store_settlements(session, source_no).await,
            FileKind::Freezes => self.store_freezes(session, source_no).await,
            _ => self.store_registry(session, source_no, file).await,
        }
    }

    async fn store_registry(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
        file: &str,
    ) -> Result<(), ImportError> {
        let (districts, institutions, licences, accounts) = (
            self.new_districts(session, source_no),
            self.new_institutions(session, source_no),
            self.new_licences(session, source_no),
            self.new_accounts(session, source_no, file),
        );
        if districts.len() + institutions.len() + licences.len() + accounts.len() == 0 {
            return Ok(());
        }
        let mut tx = session.begin_write().await?;
        registry::store::append_districts(&mut tx, &districts).await?;
        registry::store::append_institutions(&mut tx, &institutions).await?;
        registry::store::append_licences(&mut tx, &licences).await?;
        registry::store::append_accounts(&mut tx, &accounts).await?;
        tx.commit().await?;
        Ok(())
    }

    fn new_districts(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
    ) -> Vec<NewVersion<District>> {
        self.districts.sort_unstable();
        let mut new = Vec::new();
        for group in self
            .districts
            .chunk_by(|a, b| a.district_id == b.district_id)
        {
            let id = &group[0].district_id;
            let known = session.registry.districts.record(id);
            let found = versions(known.map(|k| (k.version, &k.value)), group.iter());
            for (value, version) in group.iter().zip(found) {
                count(session, source_no, version);
                let Some(version) = version else { continue };
                let value = value.clone();
                (session.registry.districts).put(id, record(version, &value));
                new.push(NewVersion {
                    version,
                    source_no,
                    value,
                });
            }
        }
        new
    }

    fn new_institutions(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
    ) -> Vec<NewVersion<(InstId, Institution)>> {
        self.institutions.sort_unstable();
        let mut new = Vec::new();
        for group in (self.institutions).chunk_by(|a, b| a.institution_id == b.institution_id) {
            let id = &group[0].institution_id;
            let known = session.registry.institutions.record(id);
            let inst_id = known.map(|k| k.value.0);
            let found = versions(known.map(|k| (k.version, &k.value.1)), group.iter());
            let inst_id = inst_id.unwrap_or_else(|| session.next_inst_id());
            for (value, version) in group.iter().zip(found) {
                count(session, source_no, version);
                let Some(version) = version else { continue };
                let value = (inst_id, value.clone());
                (session.registry.institutions).put(id, record(version, &value));
                new.push(NewVersion {
                    version,
                    source_no,
                    value,
                });
            }
        }
        new.sort_by_key(|r| (r.value.0, r.version));
        new
    }

    fn new_licences(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
    ) -> Vec<NewVersion<Licence>> {
        self.licences.sort_unstable();
        let mut new = Vec::new();
        for group in (self.licences).chunk_by(|a, b| a.licence_no == b.licence_no) {
            let id = &group[0].licence_no;
            let known = session.registry.licences.record(id);
            let found = versions(known.map(|k| (k.version, &k.value)), group.iter());
            for (value, version) in group.iter().zip(found) {
                count(session, source_no, version);
                let Some(version) = version else { continue };
                let value = value.clone();
                (session.registry.licences).put(id, record(version, &value));
                new.push(NewVersion {
                    version,
                    source_no,
                    value,
                });
            }
        }
        new
    }

    fn new_accounts(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
        file: &str,
    ) -> Vec<NewVersion<Account>> {
        (self.accounts).sort_unstable_by(|a, b| a.account_id.cmp(&b.account_id).then(a.cmp(b)));
        let mut new = Vec::new();
        for group in (self.accounts).chunk_by_mut(|a, b| a.account_id == b.account_id) {
            let id = group[0].account_id.clone();
            let owner = group[0].inst_id;
            let known = session.registry.accounts.record(&id).cloned();
            let account_no = known.as_ref().map(|k| k.value.account_no);
            let account_no = account_no.unwrap_or_else(|| session.next_account_no(owner));
            // Two institutions that claim one account in one file: the first by number has it.
            let own = group.partition_point(|a| a.inst_id == owner);
            let (group, others) = group.split_at_mut(own);
            for value in &mut *group {
                value.account_no = account_no;
            }
            let found = versions(known.as_ref().map(|k| (k.version, &k.value)), group.iter());
            for (value, version) in group.iter().zip(found) {
                count(session, source_no, version);
                let Some(version) = version else { continue };
                let value = value.clone();
                (session.registry.accounts).put(&id, record(version, &value));
                new.push(NewVersion {
                    version,
                    source_no,
                    value,
                });
            }
            for _ in others {
                let found = format!("account {id} is registered with another institution");
                let defect = Defect::new(DefectCode::Conflict, found).file(file);
                session.quarantine(source_no, defect.column("institution_id"), id.clone());
            }
        }
        new.sort_by_key(|r| (r.value.inst_id, r.value.account_no, r.version));
        new
    }

    async fn store_orders(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
        file: &str,
    ) -> Result<(), ImportError> {
        if self.orders.is_empty() {
            return Ok(());
        }
        // Facts collected so far were valued with the terms known so far.
        let mut orders = std::mem::take(&mut self.orders);
        orders.sort_unstable_by(|a, b| (a.1, &a.0, &a.2).cmp(&(b.1, &b.0, &b.2)));
        let mut tx = session.begin_write().await?;
        let mut known = known_contracts(&mut tx, session, &orders).await?;
        let mut insts: Vec<i64> = orders.iter().map(|o| o.1.0).collect();
        insts.dedup();
        let mut heads = ledger::store::heads(&mut tx, &insts).await?;
        let mut new: Vec<(usize, i64, i64)> = Vec::with_capacity(orders.len());
        let mut at = 0;
        for group in orders.chunk_by(|a, b| (a.1, &a.0) == (b.1, &b.0)) {
            let (order_id, inst_id) = (&group[0].0, group[0].1);
            let stored = known.get(order_id.as_str());
            if stored.is_some_and(|k| k.inst_id != inst_id) {
                for order in group {
                    let found = format!("order {order_id} belongs to another institution");
                    let defect = Defect::new(DefectCode::Conflict, found).file(file);
                    let defect = defect.line(order.3).column("institution_id");
                    session.quarantine(source_no, defect, order_id.clone());
                }
                at += group.len();
                continue;
            }
            let found = versions(
                stored.map(|k| (k.version, &k.value)),
                group.iter().map(|o| &o.2),
            );
            let contract_no = stored.map_or_else(
                || {
                    let head = heads.entry(inst_id.0).or_default();
                    head.contracts += 1;
                    head.contracts
                },
                |k| k.contract_no,
            );
            for (order, version) in group.iter().zip(found) {
                count(session, source_no, version);
                at += 1;
                let Some(version) = version else { continue };
                new.push((at - 1, contract_no, version));
                known.insert(
                    order_id.as_str(),
                    StoredContract {
                        order_id: order_id.clone(),
                        inst_id,
                        contract_no,
                        version,
                        value: order.2.clone(),
                    },
                );
            }
        }
        let rows: Vec<NewContract<'_>> = new
            .iter()
            .map(|(at, contract_no, version)| NewContract {
                inst_id: orders[*at].1,
                contract_no: *contract_no,
                version: *version,
                source_no,
                order_id: &orders[*at].0,
                value: &orders[*at].2,
            })
            .collect();
        registry::store::append_contracts(&mut tx, &rows).await?;
        let mut heads: Vec<_> = heads.into_iter().collect();
        heads.sort_unstable_by_key(|(inst_id, _)| *inst_id);
        ledger::store::put_heads(&mut tx, &heads).await?;
        let revised: Vec<&str> = rows
            .iter()
            .filter(|r| r.version > 1)
            .map(|r| r.order_id)
            .collect();
        for (order_id, slot) in ledger::store::contracts_by_order(&mut tx, &revised).await? {
            if session.contracts.get(&order_id).is_none() {
                session.contracts.put(&order_id, slot);
            }
        }
        let mut revaluations = Batch::default();
        for row in &rows {
            let slot = Slot::new(row.inst_id, row.contract_no, row.value.terms());
            let number = session.contracts.put(row.order_id, slot);
            if row.version > 1 {
                let day = row.value.ordered_on;
                let base = draft(
                    &mut revaluations,
                    Kind::Revaluation,
                    day,
                    row.order_id,
                    source_no,
                );
                revaluations.drafts.push(Draft {
                    inst_id: row.inst_id,
                    contract: number,
                    ..base
                });
            }
        }
        // With the terms that cause them: a crash between the two would leave the old value standing.
        post_with(&mut tx, session, &revaluations).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn store_settlements(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
    ) -> Result<(), ImportError> {
        let mut rows = std::mem::take(&mut self.settlements);
        rows.sort_unstable();
        let keys: Vec<(i64, i64, &str)> = rows
            .iter()
            .map(|r| (r.inst_id, r.account_no, r.batch_no.as_str()))
            .collect();
        let mut tx = session.begin_write().await?;
        let known: HashMap<(i64, i64, String), (i64, Settlement)> =
            store::settlements(&mut tx, &keys)
                .await?
                .into_iter()
                .map(|(v, s)| ((s.inst_id, s.account_no, s.batch_no.clone()), (v, s)))
                .collect();
        let mut new = Vec::new();
        let mut kept = Batch::default();
        let key = |s: &Settlement| (s.inst_id, s.account_no, s.batch_no.clone());
        for group in rows.chunk_by(|a, b| key(a) == key(b)) {
            let stored = known.get(&key(&group[0])).map(|(v, s)| (*v, s));
            let mut before = stored.map_or((0, 0), |(_, s)| (s.fee_fen, s.refund_fen));
            for (row, version) in group.iter().zip(versions(stored, group.iter())) {
                count(session, source_no, version);
                let Some(version) = version else { continue };
                settlement_postings(&mut kept, row, before, source_no);
                before = (before.0.max(row.fee_fen), before.1.max(row.refund_fen));
                new.push((version, source_no, row.clone()));
            }
        }
        store::append_settlements(&mut tx, &new).await?;
        post_with(&mut tx, session, &kept).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn store_freezes(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
    ) -> Result<(), ImportError> {
        let mut rows = std::mem::take(&mut self.freezes);
        rows.sort_unstable();
        let keys: Vec<(i64, i64, &str)> = rows
            .iter()
            .map(|r| (r.inst_id, r.account_no, r.document_no.as_str()))
            .collect();
        let mut tx = session.begin_write().await?;
        let known: HashMap<(i64, i64, String), (i64, Freeze)> = store::freezes(&mut tx, &keys)
            .await?
            .into_iter()
            .map(|(v, f)| ((f.inst_id, f.account_no, f.document_no.clone()), (v, f)))
            .collect();
        let mut new = Vec::new();
        let key = |f: &Freeze| (f.inst_id, f.account_no, f.document_no.clone());
        for group in rows.chunk_by(|a, b| key(a) == key(b)) {
            let stored = known.get(&key(&group[0])).map(|(v, f)| (*v, f));
            for (row, version) in group.iter().zip(versions(stored, group.iter())) {
                count(session, source_no, version);
                if let Some(version) = version {
                    new.push((version, source_no, row.clone()));
                }
            }
        }
        store::append_freezes(&mut tx, &new).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Stored contracts among the orders of a portion; none has to be looked for on a first load.
async fn known_contracts<'o>(
    tx: &mut crate::store::Tx,
    session: &Session<'_>,
    orders: &'o [(String, InstId, Contract, u64)],
) -> Result<HashMap<&'o str, StoredContract>, ImportError> {
    let mut wanted: Vec<&'o str> = orders
        .iter()
        .map(|o| o.0.as_str())
        .filter(|id| !session.first_load || session.contracts.get(id).is_some())
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    let stored = registry::store::contracts(tx, &wanted).await?;
    let mut known = HashMap::with_capacity(stored.len());
    for contract in stored {
        if let Ok(at) = wanted.binary_search(&contract.order_id.as_str()) {
            known.insert(wanted[at], contract);
        }
    }
    Ok(known)
}

impl Session<'_> {
    fn next_inst_id(&mut self) -> InstId {
        self.last_inst_id += 1;
        InstId(self.last_inst_id)
    }

    fn next_account_no(&mut self, inst_id: InstId) -> AccountNo {
        let last = self.last_account_no.entry(inst_id).or_insert(0);
        *last += 1;
        AccountNo(*last)
    }
}

/// Posts what records bring about, in the transaction that stores the records.
async fn post_with(
    tx: &mut crate::store::Tx,
    session: &mut Session<'_>,
    batch: &Batch,
) -> Result<(), ImportError> {
    if !batch.is_empty() {
        let order = ledger::sorted(batch, &session.contracts);
        // Counted with the records' own rows.
        let mut posted = HashMap::new();
        ledger::post(tx, batch, &order, &mut session.contracts, &mut posted).await?;
    }
    Ok(())
}

fn draft(batch: &mut Batch, kind: Kind, day: Day, source_id: &str, source_no: i64) -> Draft {
    Draft::new(kind, day, batch.keep(source_id), source_no)
}

/// Collects what a channel kept of a batch: its fee, and refunds paid out of it.
fn settlement_postings(
    batch: &mut Batch,
    row: &Settlement,
    (fee_before, refund_before): (i64, i64),
    source_no: i64,
) {
    let day = i32::try_from(row.expected_day.unwrap_or(row.period_to_day)).unwrap_or(0);
    for (kind, amount, known) in [
        (Kind::ChannelFee, row.fee_fen, fee_before > 0),
        (Kind::ChannelRefund, row.refund_fen, refund_before > 0),
    ] {
        if amount == 0 && !known {
            continue;
        }
        let source_id = format!("{}/{}", row.account_no, row.batch_no);
        let base = draft(batch, kind, Day::from_epoch(day), &source_id, source_no);
        batch.drafts.push(Draft {
            inst_id: InstId(row.inst_id),
            account_no: row.account_no,
            amount: Money::from_fen(amount),
            channel: u8::try_from(row.channel).unwrap_or(0),
            ..base
        });
    }
}

fn record<T: Clone>(version: i64, value: &T) -> Record<T> {
    Record {
        version,
        value: value.clone(),
    }
}

/// The versions of the values one id has in one file, sorted; `None` for a value that is stored. The
/// last one stands. Where it stands already nothing is new, so that a file which contradicts itself
/// can be sent again.
pub(super) fn versions<'v, T: PartialEq + 'v>(
    known: Option<(i64, &'v T)>,
    values: impl DoubleEndedIterator<Item = &'v T> + ExactSizeIterator + Clone,
) -> Vec<Option<i64>> {
    if known.is_some_and(|(_, stored)| values.clone().next_back() == Some(stored)) {
        return vec![None; values.len()];
    }
    let mut last = known;
    values
        .map(|value| match last {
            Some((_, stored)) if stored == value => None,
            _ => {
                let version = last.map_or(1, |(version, _)| version + 1);
                last = Some((version, value));
                Some(version)
            }
        })
        .collect()
}

pub(super) fn count(session: &mut Session<'_>, source_no: i64, version: Option<i64>) {
    let counts = session.count(source_no);
    match version {
        None => counts.same += 1,
        Some(1) => counts.new += 1,
        Some(_) => counts.revised += 1,
    }
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

fn non_empty(text: &'static str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn required_text(row: &Row<'_>, column: usize) -> Result<String, Defect> {
    match row.opt_text(column)? {
        Some(text) => Ok(text.to_owned()),
        None => Err(row.defect(DefectCode::MissingValue, column, "the field is empty")),
    }
}
