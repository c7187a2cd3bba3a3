//! Rows that are records: districts, institutions, licences, accounts, orders, settlements, freezes.
//!
//! A record that differs from the stored one gets a next version; equal ones are no-ops.

use std::collections::HashMap;

use super::ImportError;
use super::facts::channel_number;
use super::session::{Session, Taken};
use crate::base::{AccountNo, Day, Defect, DefectCode, InstId, Money, uscc};
use crate::feed::store::{self, Freeze, Settlement};
use crate::ledger::{self, Draft, Kind, NO_CONTRACT, Slot};
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
    districts: Vec<NewVersion<District>>,
    institutions: Vec<NewVersion<(InstId, Institution)>>,
    licences: Vec<NewVersion<Licence>>,
    accounts: Vec<NewVersion<Account>>,
    orders: Vec<(String, InstId, Contract)>,
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
        source_no: i64,
        file: &str,
        row: &Row<'_>,
    ) -> Result<Taken, Defect> {
        match self.kind {
            FileKind::Districts => self.district(session, source_no, row),
            FileKind::Institutions => self.institution(session, source_no, file, row),
            FileKind::Licences => self.licence(session, source_no, file, row),
            FileKind::Accounts => self.account(session, source_no, row),
            FileKind::Orders => self.order(session, file, row),
            FileKind::Settlements => self.settlement(session, row),
            FileKind::Freezes => self.freeze(session, row),
            _ => unreachable!("facts are taken elsewhere"),
        }
    }

    fn district(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
        row: &Row<'_>,
    ) -> Result<Taken, Defect> {
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
        let known = session.registry.districts.record(district_id);
        let version = next_version(known.map(|r| (r.version, &r.value)), &value);
        count(session, source_no, version);
        if let Some(version) = version {
            session.registry.districts.put(
                district_id,
                Record {
                    version,
                    value: value.clone(),
                },
            );
            self.districts.push(NewVersion {
                version,
                source_no,
                value,
            });
        }
        Ok(Taken::Yes)
    }

    fn institution(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
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
        let known = session.registry.institutions.record(institution_id);
        let version = next_version(known.map(|r| (r.version, &r.value.1)), &value);
        let inst_id = known.map(|r| r.value.0);
        count(session, source_no, version);
        if let Some(version) = version {
            let inst_id = inst_id.unwrap_or_else(|| session.next_inst_id());
            let value = (inst_id, value);
            session.registry.institutions.put(
                institution_id,
                Record {
                    version,
                    value: value.clone(),
                },
            );
            self.institutions.push(NewVersion {
                version,
                source_no,
                value,
            });
        }
        Ok(Taken::Yes)
    }

    fn licence(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
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
        let known = session.registry.licences.record(licence_no);
        let version = next_version(known.map(|r| (r.version, &r.value)), &value);
        count(session, source_no, version);
        if let Some(version) = version {
            session.registry.licences.put(
                licence_no,
                Record {
                    version,
                    value: value.clone(),
                },
            );
            self.licences.push(NewVersion {
                version,
                source_no,
                value,
            });
        }
        Ok(Taken::Yes)
    }

    fn account(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
        row: &Row<'_>,
    ) -> Result<Taken, Defect> {
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
        let known = session.registry.accounts.record(account_id);
        if let Some(known) = known {
            if known.value.inst_id != value.inst_id {
                return Err(row.defect(
                    DefectCode::Conflict,
                    1,
                    format!("account {account_id} is registered with another institution"),
                ));
            }
            value.account_no = known.value.account_no;
        }
        let version = next_version(known.map(|r| (r.version, &r.value)), &value);
        count(session, source_no, version);
        if let Some(version) = version {
            if version == 1 {
                value.account_no = session.next_account_no(value.inst_id);
            }
            session.registry.accounts.put(
                account_id,
                Record {
                    version,
                    value: value.clone(),
                },
            );
            self.accounts.push(NewVersion {
                version,
                source_no,
                value,
            });
        }
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
        self.orders.push((order_id.to_owned(), inst_id, value));
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
            _ => self.store_registry(session).await,
        }
    }

    async fn store_registry(&mut self, session: &mut Session<'_>) -> Result<(), ImportError> {
        if self.districts.len()
            + self.institutions.len()
            + self.licences.len()
            + self.accounts.len()
            == 0
        {
            return Ok(());
        }
        // A record met twice in one file comes with two versions; keys are in order all the same.
        self.districts
            .sort_by(|a, b| a.value.district_id.cmp(&b.value.district_id));
        self.licences
            .sort_by(|a, b| a.value.licence_no.cmp(&b.value.licence_no));
        self.institutions.sort_by_key(|r| (r.value.0, r.version));
        self.accounts
            .sort_by_key(|r| (r.value.inst_id, r.value.account_no, r.version));
        let mut tx = session.db.begin_write().await?;
        registry::store::append_districts(&mut tx, &self.districts).await?;
        registry::store::append_institutions(&mut tx, &self.institutions).await?;
        registry::store::append_licences(&mut tx, &self.licences).await?;
        registry::store::append_accounts(&mut tx, &self.accounts).await?;
        tx.commit().await?;
        self.districts.clear();
        self.institutions.clear();
        self.licences.clear();
        self.accounts.clear();
        Ok(())
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
        orders.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
        let mut tx = session.db.begin_write().await?;
        let mut known = known_contracts(&mut tx, session, &orders).await?;
        let mut insts: Vec<i64> = orders.iter().map(|o| o.1.0).collect();
        insts.dedup();
        let mut heads = ledger::store::heads(&mut tx, &insts).await?;
        let mut new: Vec<(usize, i64, i64)> = Vec::with_capacity(orders.len());
        for (at, (order_id, inst_id, value)) in orders.iter().enumerate() {
            let version = match known.get(order_id.as_str()) {
                Some(k) if k.inst_id != *inst_id => {
                    let found = format!("order {order_id} belongs to another institution");
                    let defect = Defect::new(DefectCode::Conflict, found).file(file);
                    session.quarantine(
                        source_no,
                        defect.column("institution_id"),
                        order_id.clone(),
                    );
                    continue;
                }
                k => next_version(k.map(|k| (k.version, &k.value)), value),
            };
            count(session, source_no, version);
            let Some(version) = version else { continue };
            let contract_no = known.get(order_id.as_str()).map_or_else(
                || {
                    let head = heads.entry(inst_id.0).or_default();
                    head.contracts += 1;
                    head.contracts
                },
                |k| k.contract_no,
            );
            known.insert(
                order_id.as_str(),
                StoredContract {
                    order_id: order_id.clone(),
                    inst_id: *inst_id,
                    contract_no,
                    version,
                    value: value.clone(),
                },
            );
            new.push((at, contract_no, version));
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
        tx.commit().await?;
        for row in &rows {
            let slot = Slot::new(row.inst_id, row.contract_no, row.value.terms());
            let number = session.contracts.put(row.order_id, slot);
            if row.version > 1 {
                session.revalue(number, row.value.ordered_on, source_no);
            }
        }
        Ok(())
    }

    async fn store_settlements(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
    ) -> Result<(), ImportError> {
        let mut rows = std::mem::take(&mut self.settlements);
        rows.sort_by(|a, b| {
            (a.inst_id, a.account_no, &a.batch_no).cmp(&(b.inst_id, b.account_no, &b.batch_no))
        });
        let keys: Vec<(i64, i64, &str)> = rows
            .iter()
            .map(|r| (r.inst_id, r.account_no, r.batch_no.as_str()))
            .collect();
        let mut tx = session.db.begin_write().await?;
        let mut known: HashMap<(i64, i64, String), (i64, Settlement)> =
            store::settlements(&mut tx, &keys)
                .await?
                .into_iter()
                .map(|(v, s)| ((s.inst_id, s.account_no, s.batch_no.clone()), (v, s)))
                .collect();
        let mut new = Vec::new();
        for row in rows {
            let key = (row.inst_id, row.account_no, row.batch_no.clone());
            let version = next_version(known.get(&key).map(|(v, s)| (*v, s)), &row);
            count(session, source_no, version);
            if let Some(version) = version {
                let before = known.get(&key).map(|(_, s)| (s.fee_fen, s.refund_fen));
                session.settlement_postings(&row, before, source_no);
                known.insert(key, (version, row.clone()));
                new.push((version, source_no, row));
            }
        }
        store::append_settlements(&mut tx, &new).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn store_freezes(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
    ) -> Result<(), ImportError> {
        let mut rows = std::mem::take(&mut self.freezes);
        rows.sort_by(|a, b| {
            (a.inst_id, a.account_no, &a.document_no).cmp(&(
                b.inst_id,
                b.account_no,
                &b.document_no,
            ))
        });
        let keys: Vec<(i64, i64, &str)> = rows
            .iter()
            .map(|r| (r.inst_id, r.account_no, r.document_no.as_str()))
            .collect();
        let mut tx = session.db.begin_write().await?;
        let mut known: HashMap<(i64, i64, String), (i64, Freeze)> = store::freezes(&mut tx, &keys)
            .await?
            .into_iter()
            .map(|(v, f)| ((f.inst_id, f.account_no, f.document_no.clone()), (v, f)))
            .collect();
        let mut new = Vec::new();
        for row in rows {
            let key = (row.inst_id, row.account_no, row.document_no.clone());
            let version = next_version(known.get(&key).map(|(v, f)| (*v, f)), &row);
            count(session, source_no, version);
            if let Some(version) = version {
                known.insert(key, (version, row.clone()));
                new.push((version, source_no, row));
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
    orders: &'o [(String, InstId, Contract)],
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

    /// Collects a check of a contract's earned value under its new terms.
    fn revalue(&mut self, contract: u32, day: Day, source_no: i64) {
        let order_id = self.contracts.order_id(contract).to_owned();
        let inst_id = self.contracts.slot(contract).inst_id;
        let draft = Draft {
            inst_id,
            contract,
            ..self.draft(Kind::Revaluation, day, &order_id, source_no)
        };
        self.batch.drafts.push(draft);
    }

    /// Collects what a channel kept of a batch: its fee, and refunds paid out of it.
    fn settlement_postings(
        &mut self,
        row: &Settlement,
        before: Option<(i64, i64)>,
        source_no: i64,
    ) {
        let day = i32::try_from(row.expected_day.unwrap_or(row.period_to_day)).unwrap_or(0);
        let (fee_before, refund_before) = before.unwrap_or((0, 0));
        for (kind, amount, known) in [
            (Kind::ChannelFee, row.fee_fen, fee_before > 0),
            (Kind::ChannelRefund, row.refund_fen, refund_before > 0),
        ] {
            if amount == 0 && !known {
                continue;
            }
            let source_id = format!("{}/{}", row.account_no, row.batch_no);
            let draft = Draft {
                inst_id: InstId(row.inst_id),
                contract: NO_CONTRACT,
                account_no: row.account_no,
                amount: Money::from_fen(amount),
                channel: u8::try_from(row.channel).unwrap_or(0),
                ..self.draft(kind, Day::from_epoch(day), &source_id, source_no)
            };
            // Counted with the settlement's own row.
            self.uncounted.insert(source_no);
            self.batch.drafts.push(draft);
        }
    }
}

/// The version a value gets: the next where it differs, `None` where it is stored.
fn next_version<T: PartialEq>(known: Option<(i64, &T)>, value: &T) -> Option<i64> {
    match known {
        None => Some(1),
        Some((_, stored)) if stored == value => None,
        Some((version, _)) => Some(version + 1),
    }
}

fn count(session: &mut Session<'_>, source_no: i64, version: Option<i64>) {
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
