//! Districts, institutions, licences and accounts: read row by row, stored at the file's end as the
//! next versions of the registry.

use super::{count, non_empty, owned, required_text, versions};
use crate::base::{AccountNo, Defect, DefectCode, InstId, Money, uscc};
use crate::intake::ImportError;
use crate::intake::rows::Taken;
use crate::intake::session::Session;
use crate::registry::store::{self, NewVersion};
use crate::registry::{
    Account, AccountKind, CustodyMode, District, Institution, Licence, Prepays, Record, Records,
};
use crate::wire::interchange::Row;

/// Registry records of one file. Numbers are given when they are stored.
#[derive(Default)]
pub(super) struct Collected {
    districts: Vec<District>,
    institutions: Vec<(InstId, Institution)>,
    licences: Vec<Licence>,
    accounts: Vec<Account>,
}

impl Collected {
    pub(super) fn district(&mut self, row: &Row<'_>) -> Result<Taken, Defect> {
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

    pub(super) fn institution(
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
        self.institutions.push((InstId(0), value));
        Ok(Taken::Yes)
    }

    pub(super) fn licence(
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

    pub(super) fn account(
        &mut self,
        session: &mut Session<'_>,
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

    pub(super) async fn store(
        &mut self,
        session: &mut Session<'_>,
        source_no: i64,
        file: &str,
    ) -> Result<(), ImportError> {
        let districts = new_versions(session, source_no, &mut self.districts);
        let mut institutions = new_versions(session, source_no, &mut self.institutions);
        institutions.sort_by_key(|r| (r.value.0, r.version));
        let licences = new_versions(session, source_no, &mut self.licences);
        self.refuse_second_claims(session, source_no, file);
        let mut accounts = new_versions(session, source_no, &mut self.accounts);
        accounts.sort_by_key(|r| (r.value.inst_id, r.value.account_no, r.version));
        if districts.len() + institutions.len() + licences.len() + accounts.len() == 0 {
            return Ok(());
        }
        let mut tx = session.begin_write().await?;
        store::append_districts(&mut tx, &districts).await?;
        store::append_institutions(&mut tx, &institutions).await?;
        store::append_licences(&mut tx, &licences).await?;
        store::append_accounts(&mut tx, &accounts).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Two institutions that claim one account in one file: the first by number has it.
    fn refuse_second_claims(&mut self, session: &mut Session<'_>, source_no: i64, file: &str) {
        sort_by_id(&mut self.accounts);
        self.accounts.dedup_by(|account, kept| {
            let id = &account.account_id;
            let refused = *id == kept.account_id && account.inst_id != kept.inst_id;
            if refused {
                let found = format!("account {id} is registered with another institution");
                let defect = Defect::new(DefectCode::Conflict, found).file(file);
                session.quarantine(source_no, defect.column("institution_id"), id.clone());
            }
            refused
        });
    }
}

/// A record that the registry keeps in versions.
trait Versioned: Clone + Ord {
    fn id(&self) -> &str;

    fn records<'r>(session: &'r mut Session<'_>) -> &'r mut Records<Self>;

    /// Gives the rows of one id the number the record has, or the next one.
    fn number(_rows: &mut [Self], _session: &mut Session<'_>) {}
}

impl Versioned for District {
    fn id(&self) -> &str {
        &self.district_id
    }

    fn records<'r>(session: &'r mut Session<'_>) -> &'r mut Records<District> {
        &mut session.registry_mut().districts
    }
}

impl Versioned for Licence {
    fn id(&self) -> &str {
        &self.licence_no
    }

    fn records<'r>(session: &'r mut Session<'_>) -> &'r mut Records<Licence> {
        &mut session.registry_mut().licences
    }
}

impl Versioned for (InstId, Institution) {
    fn id(&self) -> &str {
        &self.1.institution_id
    }

    fn records<'r>(session: &'r mut Session<'_>) -> &'r mut Records<(InstId, Institution)> {
        &mut session.registry_mut().institutions
    }

    fn number(rows: &mut [Self], session: &mut Session<'_>) {
        let known = session.registry.institutions.get(rows[0].id());
        let inst_id = known.map(|(inst_id, _)| *inst_id);
        let inst_id = inst_id.unwrap_or_else(|| next_inst_id(session));
        for row in rows {
            row.0 = inst_id;
        }
    }
}

impl Versioned for Account {
    fn id(&self) -> &str {
        &self.account_id
    }

    fn records<'r>(session: &'r mut Session<'_>) -> &'r mut Records<Account> {
        &mut session.registry_mut().accounts
    }

    fn number(rows: &mut [Self], session: &mut Session<'_>) {
        let owner = rows[0].inst_id;
        let known = session.registry.accounts.get(rows[0].id());
        let account_no = known.map(|known| known.account_no);
        let account_no = account_no.unwrap_or_else(|| next_account_no(session, owner));
        for row in rows {
            row.account_no = account_no;
        }
    }
}

fn next_inst_id(session: &mut Session<'_>) -> InstId {
    session.last_inst_id += 1;
    InstId(session.last_inst_id)
}

fn next_account_no(session: &mut Session<'_>, inst_id: InstId) -> AccountNo {
    let last = session.last_account_no.entry(inst_id).or_insert(0);
    *last += 1;
    AccountNo(*last)
}

fn sort_by_id<T: Versioned>(rows: &mut [T]) {
    rows.sort_unstable_by(|a, b| a.id().cmp(b.id()).then_with(|| a.cmp(b)));
}

/// Enters what differs into the registry at hand; returns the versions to be stored, by id.
fn new_versions<T: Versioned>(
    session: &mut Session<'_>,
    source_no: i64,
    rows: &mut [T],
) -> Vec<NewVersion<T>> {
    sort_by_id(rows);
    let mut new = Vec::new();
    for group in rows.chunk_by_mut(|a, b| a.id() == b.id()) {
        T::number(group, session);
        let known = T::records(session).record(group[0].id());
        let found = versions(known.map(|k| (k.version, &k.value)), group.iter());
        for (value, version) in group.iter().zip(found) {
            count(session, source_no, version);
            let Some(version) = version else { continue };
            let value = value.clone();
            let record = Record {
                version,
                value: value.clone(),
            };
            T::records(session).put(value.id(), record);
            new.push(NewVersion {
                version,
                source_no,
                value,
            });
        }
    }
    new
}
