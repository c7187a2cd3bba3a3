//! SQL of the registry. Every record is a row per version; the newest known at a point is the one with
//! the highest version among the files up to that point.

mod appends;
mod contracts;

pub use appends::{
    NewVersion, append_accounts, append_districts, append_institutions, append_licences,
};
pub use contracts::{NewContract, StoredContract, append_contracts, contracts};

use chrono::NaiveDate;

use super::{
    Account, AccountKind, CustodyMode, District, Institution, Licence, Prepays, Record, Registry,
};
use crate::base::{AccountNo, Day, InstId, Money};
use crate::on;
use crate::store::{DbError, Result, Tx};

#[derive(sqlx::FromRow)]
struct DistrictRecord {
    version: i64,
    district_id: String,
    name: String,
    kind: String,
    gb_code: Option<String>,
    parent_id: Option<String>,
    tile_col: Option<i64>,
    tile_row: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct InstitutionRecord {
    inst_id: i64,
    version: i64,
    institution_id: String,
    district_id: String,
    name: String,
    uscc: Option<String>,
    licence_kind: Option<String>,
    licence_no: Option<String>,
    licence_from: Option<NaiveDate>,
    licence_to: Option<NaiveDate>,
    department: Option<String>,
    category: Option<String>,
    subject: Option<String>,
    prepays: String,
    status: String,
    platform_since: Option<NaiveDate>,
    opened_on: Option<NaiveDate>,
    custody_mode: Option<String>,
}

#[derive(sqlx::FromRow)]
struct AccountRecord {
    inst_id: i64,
    account_no: i64,
    version: i64,
    account_id: String,
    kind: String,
    min_deposit_fen: i64,
    bank_code: Option<String>,
    branch_district_id: Option<String>,
    agreement_no: Option<String>,
    agreement_from: Option<NaiveDate>,
    agreement_to: Option<NaiveDate>,
    filed_on: Option<NaiveDate>,
    status: Option<String>,
}

#[derive(sqlx::FromRow)]
struct LicenceRecord {
    version: i64,
    licence_no: String,
    name: String,
    uscc: Option<String>,
    district_id: String,
    department: String,
    licence_from: Option<NaiveDate>,
    licence_to: Option<NaiveDate>,
    status: Option<String>,
}

fn day(date: Option<NaiveDate>) -> Option<Day> {
    date.map(Day::from_date)
}

/// The registry as the files numbered up to `cut` say it.
pub async fn load(tx: &mut Tx, cut: i64) -> Result<Registry> {
    let mut registry = Registry::default();
    load_districts(tx, cut, &mut registry).await?;
    load_institutions(tx, cut, &mut registry).await?;
    load_accounts(tx, cut, &mut registry).await?;
    load_licences(tx, cut, &mut registry).await?;
    Ok(registry)
}

async fn load_districts(tx: &mut Tx, cut: i64, registry: &mut Registry) -> Result<()> {
    let rows: Vec<DistrictRecord> = on!(tx, c => sqlx::query_as(
            "SELECT d.version, d.district_id, d.name, d.kind, d.gb_code, d.parent_id, d.tile_col, d.tile_row \
             FROM district d WHERE d.source_no <= $1 AND d.version = \
                (SELECT MAX(v.version) FROM district v \
                 WHERE v.district_id = d.district_id AND v.source_no <= $1) \
             ORDER BY d.district_id")
            .bind(cut).fetch_all(c).await)
    .map_err(DbError::sql("reading districts"))?;
    for r in rows {
        let value = District {
            district_id: r.district_id.clone(),
            name: r.name,
            kind: r.kind,
            gb_code: r.gb_code,
            parent_id: r.parent_id,
            tile_col: r.tile_col,
            tile_row: r.tile_row,
        };
        registry.districts.put(
            &r.district_id,
            Record {
                version: r.version,
                value,
            },
        );
    }
    Ok(())
}

async fn load_institutions(tx: &mut Tx, cut: i64, registry: &mut Registry) -> Result<()> {
    let rows: Vec<InstitutionRecord> = on!(tx, c => sqlx::query_as(
            "SELECT i.inst_id, i.version, i.institution_id, i.district_id, i.name, i.uscc, \
                    i.licence_kind, i.licence_no, i.licence_from, i.licence_to, i.department, \
                    i.category, i.subject, i.prepays, i.status, i.platform_since, i.opened_on, \
                    i.custody_mode \
             FROM institution i WHERE i.source_no <= $1 AND i.version = \
                (SELECT MAX(v.version) FROM institution v \
                 WHERE v.inst_id = i.inst_id AND v.source_no <= $1) \
             ORDER BY i.inst_id")
            .bind(cut).fetch_all(c).await)
    .map_err(DbError::sql("reading institutions"))?;
    for r in rows {
        let value = Institution {
            institution_id: r.institution_id.clone(),
            district_id: r.district_id,
            name: r.name,
            uscc: r.uscc,
            licence_kind: r.licence_kind,
            licence_no: r.licence_no,
            licence_from: day(r.licence_from),
            licence_to: day(r.licence_to),
            department: r.department,
            category: r.category,
            subject: r.subject,
            prepays: Prepays::from_name(&r.prepays),
            status: r.status,
            platform_since: day(r.platform_since),
            opened_on: day(r.opened_on),
            custody_mode: r.custody_mode.as_deref().and_then(CustodyMode::from_name),
        };
        let value = (InstId(r.inst_id), value);
        registry.institutions.put(
            &r.institution_id,
            Record {
                version: r.version,
                value,
            },
        );
    }
    Ok(())
}

async fn load_accounts(tx: &mut Tx, cut: i64, registry: &mut Registry) -> Result<()> {
    let rows: Vec<AccountRecord> = on!(tx, c => sqlx::query_as(
            "SELECT a.inst_id, a.account_no, a.version, a.account_id, a.kind, a.min_deposit_fen, \
                    a.bank_code, a.branch_district_id, a.agreement_no, a.agreement_from, \
                    a.agreement_to, a.filed_on, a.status \
             FROM account a WHERE a.source_no <= $1 AND a.version = \
                (SELECT MAX(v.version) FROM account v WHERE v.inst_id = a.inst_id \
                   AND v.account_no = a.account_no AND v.source_no <= $1) \
             ORDER BY a.inst_id, a.account_no")
            .bind(cut).fetch_all(c).await)
    .map_err(DbError::sql("reading accounts"))?;
    for r in rows {
        let kind = AccountKind::from_name(&r.kind).ok_or_else(|| {
            DbError::Inconsistent(format!(
                "account {} has the kind {:?}",
                r.account_id, r.kind
            ))
        })?;
        let value = Account {
            inst_id: InstId(r.inst_id),
            account_no: AccountNo(r.account_no),
            account_id: r.account_id.clone(),
            kind,
            min_deposit: Money::from_fen(r.min_deposit_fen),
            bank_code: r.bank_code,
            branch_district_id: r.branch_district_id,
            agreement_no: r.agreement_no,
            agreement_from: day(r.agreement_from),
            agreement_to: day(r.agreement_to),
            filed_on: day(r.filed_on),
            status: r.status,
        };
        registry.accounts.put(
            &r.account_id,
            Record {
                version: r.version,
                value,
            },
        );
    }
    Ok(())
}

async fn load_licences(tx: &mut Tx, cut: i64, registry: &mut Registry) -> Result<()> {
    let rows: Vec<LicenceRecord> = on!(tx, c => sqlx::query_as(
            "SELECT l.version, l.licence_no, l.name, l.uscc, l.district_id, l.department, \
                    l.licence_from, l.licence_to, l.status \
             FROM licence l WHERE l.source_no <= $1 AND l.version = \
                (SELECT MAX(v.version) FROM licence v \
                 WHERE v.licence_no = l.licence_no AND v.source_no <= $1) \
             ORDER BY l.licence_no")
            .bind(cut).fetch_all(c).await)
    .map_err(DbError::sql("reading licences"))?;
    for r in rows {
        let value = Licence {
            licence_no: r.licence_no.clone(),
            name: r.name,
            uscc: r.uscc,
            district_id: r.district_id,
            department: r.department,
            licence_from: day(r.licence_from),
            licence_to: day(r.licence_to),
            status: r.status,
        };
        registry.licences.put(
            &r.licence_no,
            Record {
                version: r.version,
                value,
            },
        );
    }
    Ok(())
}

/// The highest number handed out to an institution.
pub async fn last_inst_id(tx: &mut Tx) -> Result<i64> {
    let (last,): (i64,) = on!(tx, c => sqlx::query_as(
            "SELECT CAST(COALESCE(MAX(inst_id), 0) AS BIGINT) FROM institution_directory")
            .fetch_one(c).await)
    .map_err(DbError::sql("numbering institutions"))?;
    Ok(last)
}
