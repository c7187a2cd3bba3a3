//! SQL of the registry. Every record is a row per version; the newest known at a point is the one with
//! the highest version among the files up to that point.

use chrono::NaiveDate;

use super::{
    Account, AccountKind, Contract, CustodyMode, District, Institution, Licence, Prepays, Record,
    Registry,
};
use crate::base::{AccountNo, Day, InstId, Money};
use crate::on;
use crate::store::bulk::{self, Column};
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

fn days(date: Option<NaiveDate>) -> Option<Day> {
    date.map(Day::from_date)
}

fn date(day: Option<Day>) -> Option<NaiveDate> {
    day.map(Day::date)
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
            licence_from: days(r.licence_from),
            licence_to: days(r.licence_to),
            department: r.department,
            category: r.category,
            subject: r.subject,
            prepays: Prepays::from_name(&r.prepays),
            status: r.status,
            platform_since: days(r.platform_since),
            opened_on: days(r.opened_on),
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
            agreement_from: days(r.agreement_from),
            agreement_to: days(r.agreement_to),
            filed_on: days(r.filed_on),
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
            licence_from: days(r.licence_from),
            licence_to: days(r.licence_to),
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

/// One version to append.
pub struct NewVersion<T> {
    pub version: i64,
    pub source_no: i64,
    pub value: T,
}

macro_rules! ints {
    ($rows:expr, $f:expr) => {
        Column::Int($rows.iter().map($f).collect())
    };
}
macro_rules! opt_ints {
    ($rows:expr, $f:expr) => {
        Column::OptInt($rows.iter().map($f).collect())
    };
}
macro_rules! texts {
    ($rows:expr, $f:expr) => {
        Column::Text($rows.iter().map($f).collect())
    };
}
macro_rules! opt_texts {
    ($rows:expr, $f:expr) => {
        Column::OptText($rows.iter().map($f).collect())
    };
}
macro_rules! dates {
    ($rows:expr, $f:expr) => {
        Column::Date($rows.iter().map($f).collect())
    };
}

pub async fn append_districts(tx: &mut Tx, rows: &[NewVersion<District>]) -> Result<()> {
    bulk::append(
        tx,
        "district",
        vec![
            (
                "district_id",
                texts!(rows, |r| r.value.district_id.as_str()),
            ),
            ("version", ints!(rows, |r| r.version)),
            ("source_no", ints!(rows, |r| r.source_no)),
            ("name", texts!(rows, |r| r.value.name.as_str())),
            ("kind", texts!(rows, |r| r.value.kind.as_str())),
            ("gb_code", opt_texts!(rows, |r| r.value.gb_code.as_deref())),
            (
                "parent_id",
                opt_texts!(rows, |r| r.value.parent_id.as_deref()),
            ),
            ("tile_col", opt_ints!(rows, |r| r.value.tile_col)),
            ("tile_row", opt_ints!(rows, |r| r.value.tile_row)),
        ],
    )
    .await
}

pub async fn append_licences(tx: &mut Tx, rows: &[NewVersion<Licence>]) -> Result<()> {
    bulk::append(
        tx,
        "licence",
        vec![
            ("licence_no", texts!(rows, |r| r.value.licence_no.as_str())),
            ("version", ints!(rows, |r| r.version)),
            ("source_no", ints!(rows, |r| r.source_no)),
            ("name", texts!(rows, |r| r.value.name.as_str())),
            ("uscc", opt_texts!(rows, |r| r.value.uscc.as_deref())),
            (
                "district_id",
                texts!(rows, |r| r.value.district_id.as_str()),
            ),
            ("department", texts!(rows, |r| r.value.department.as_str())),
            ("licence_from", dates!(rows, |r| date(r.value.licence_from))),
            ("licence_to", dates!(rows, |r| date(r.value.licence_to))),
            ("status", opt_texts!(rows, |r| r.value.status.as_deref())),
        ],
    )
    .await
}

/// The highest number handed out to an institution.
pub async fn last_inst_id(tx: &mut Tx) -> Result<i64> {
    let (last,): (i64,) = on!(tx, c => sqlx::query_as(
            "SELECT CAST(COALESCE(MAX(inst_id), 0) AS BIGINT) FROM institution_directory")
            .fetch_one(c).await)
    .map_err(DbError::sql("numbering institutions"))?;
    Ok(last)
}

pub async fn append_institutions(
    tx: &mut Tx,
    rows: &[NewVersion<(InstId, Institution)>],
) -> Result<()> {
    let first: Vec<_> = rows.iter().filter(|r| r.version == 1).collect();
    bulk::append(
        tx,
        "institution_directory",
        vec![
            (
                "institution_id",
                texts!(first, |r| r.value.1.institution_id.as_str()),
            ),
            ("inst_id", ints!(first, |r| r.value.0.0)),
        ],
    )
    .await?;
    bulk::append(
        tx,
        "institution",
        vec![
            ("inst_id", ints!(rows, |r| r.value.0.0)),
            ("version", ints!(rows, |r| r.version)),
            ("source_no", ints!(rows, |r| r.source_no)),
            (
                "institution_id",
                texts!(rows, |r| r.value.1.institution_id.as_str()),
            ),
            (
                "district_id",
                texts!(rows, |r| r.value.1.district_id.as_str()),
            ),
            ("name", texts!(rows, |r| r.value.1.name.as_str())),
            ("uscc", opt_texts!(rows, |r| r.value.1.uscc.as_deref())),
            (
                "licence_kind",
                opt_texts!(rows, |r| r.value.1.licence_kind.as_deref()),
            ),
            (
                "licence_no",
                opt_texts!(rows, |r| r.value.1.licence_no.as_deref()),
            ),
            (
                "licence_from",
                dates!(rows, |r| date(r.value.1.licence_from)),
            ),
            ("licence_to", dates!(rows, |r| date(r.value.1.licence_to))),
            (
                "department",
                opt_texts!(rows, |r| r.value.1.department.as_deref()),
            ),
            (
                "category",
                opt_texts!(rows, |r| r.value.1.category.as_deref()),
            ),
            (
                "subject",
                opt_texts!(rows, |r| r.value.1.subject.as_deref()),
            ),
            ("prepays", texts!(rows, |r| r.value.1.prepays.as_str())),
            ("status", texts!(rows, |r| r.value.1.status.as_str())),
            (
                "platform_since",
                dates!(rows, |r| date(r.value.1.platform_since)),
            ),
            ("opened_on", dates!(rows, |r| date(r.value.1.opened_on))),
            (
                "custody_mode",
                opt_texts!(rows, |r| r.value.1.custody_mode.map(CustodyMode::as_str)),
            ),
        ],
    )
    .await
}

pub async fn append_accounts(tx: &mut Tx, rows: &[NewVersion<Account>]) -> Result<()> {
    let first: Vec<_> = rows.iter().filter(|r| r.version == 1).collect();
    bulk::append(
        tx,
        "account_directory",
        vec![
            ("account_id", texts!(first, |r| r.value.account_id.as_str())),
            ("inst_id", ints!(first, |r| r.value.inst_id.0)),
            ("account_no", ints!(first, |r| r.value.account_no.0)),
        ],
    )
    .await?;
    bulk::append(
        tx,
        "account",
        vec![
            ("inst_id", ints!(rows, |r| r.value.inst_id.0)),
            ("account_no", ints!(rows, |r| r.value.account_no.0)),
            ("version", ints!(rows, |r| r.version)),
            ("source_no", ints!(rows, |r| r.source_no)),
            ("account_id", texts!(rows, |r| r.value.account_id.as_str())),
            ("kind", texts!(rows, |r| r.value.kind.as_str())),
            (
                "min_deposit_fen",
                ints!(rows, |r| r.value.min_deposit.fen()),
            ),
            (
                "bank_code",
                opt_texts!(rows, |r| r.value.bank_code.as_deref()),
            ),
            (
                "branch_district_id",
                opt_texts!(rows, |r| r.value.branch_district_id.as_deref()),
            ),
            (
                "agreement_no",
                opt_texts!(rows, |r| r.value.agreement_no.as_deref()),
            ),
            (
                "agreement_from",
                dates!(rows, |r| date(r.value.agreement_from)),
            ),
            ("agreement_to", dates!(rows, |r| date(r.value.agreement_to))),
            ("filed_on", dates!(rows, |r| date(r.value.filed_on))),
            ("status", opt_texts!(rows, |r| r.value.status.as_deref())),
        ],
    )
    .await
}

/// A contract version to append, and where it belongs.
pub struct NewContract<'a> {
    pub inst_id: InstId,
    pub contract_no: i64,
    pub version: i64,
    pub source_no: i64,
    pub order_id: &'a str,
    pub value: &'a Contract,
}

/// Appends contract versions; the first version also enters the directory. Give rows in order of
/// (inst_id, contract_no).
pub async fn append_contracts(tx: &mut Tx, rows: &[NewContract<'_>]) -> Result<()> {
    let epoch = |d: Option<Day>| d.map(|d| i64::from(d.epoch()));
    bulk::append(
        tx,
        "contract",
        vec![
            ("inst_id", ints!(rows, |r| r.inst_id.0)),
            ("contract_no", ints!(rows, |r| r.contract_no)),
            ("version", ints!(rows, |r| r.version)),
            ("source_no", ints!(rows, |r| r.source_no)),
            ("order_id", texts!(rows, |r| r.order_id)),
            (
                "student_ref",
                texts!(rows, |r| r.value.student_ref.as_str()),
            ),
            (
                "ordered_day",
                ints!(rows, |r| i64::from(r.value.ordered_on.epoch())),
            ),
            ("lessons", ints!(rows, |r| r.value.lessons)),
            ("gift_lessons", ints!(rows, |r| r.value.gift_lessons)),
            ("unit_price_fen", ints!(rows, |r| r.value.unit_price)),
            ("amount_fen", ints!(rows, |r| r.value.amount)),
            ("extras_fen", ints!(rows, |r| r.value.extras)),
            ("list_price_fen", opt_ints!(rows, |r| r.value.list_price)),
            (
                "subject_group",
                opt_texts!(rows, |r| r.value.subject_group.as_deref()),
            ),
            ("kind", opt_texts!(rows, |r| r.value.kind.as_deref())),
            ("starts_day", opt_ints!(rows, |r| epoch(r.value.starts_on))),
            ("ends_day", opt_ints!(rows, |r| epoch(r.value.ends_on))),
        ],
    )
    .await?;
    let mut first: Vec<_> = rows.iter().filter(|r| r.version == 1).collect();
    first.sort_unstable_by_key(|r| r.order_id);
    bulk::append(
        tx,
        "contract_directory",
        vec![
            ("order_id", texts!(first, |r| r.order_id)),
            ("inst_id", ints!(first, |r| r.inst_id.0)),
            ("contract_no", ints!(first, |r| r.contract_no)),
        ],
    )
    .await
}

#[derive(sqlx::FromRow)]
struct ContractRecord {
    order_id: String,
    inst_id: i64,
    contract_no: i64,
    version: i64,
    student_ref: String,
    ordered_day: i64,
    lessons: i64,
    gift_lessons: i64,
    unit_price_fen: i64,
    amount_fen: i64,
    extras_fen: i64,
    list_price_fen: Option<i64>,
    subject_group: Option<String>,
    kind: Option<String>,
    starts_day: Option<i64>,
    ends_day: Option<i64>,
}

/// A contract's newest version, with its numbers.
pub struct StoredContract {
    pub order_id: String,
    pub inst_id: InstId,
    pub contract_no: i64,
    pub version: i64,
    pub value: Contract,
}

/// The newest versions of contracts by order id.
pub async fn contracts(tx: &mut Tx, order_ids: &[&str]) -> Result<Vec<StoredContract>> {
    let rows: Vec<ContractRecord> = bulk::lookup(
        tx,
        vec![("order_id", Column::Text(order_ids.to_vec()))],
        "SELECT c.order_id, c.inst_id, c.contract_no, c.version, c.student_ref, c.ordered_day, \
                c.lessons, c.gift_lessons, c.unit_price_fen, c.amount_fen, c.extras_fen, \
                c.list_price_fen, c.subject_group, c.kind, c.starts_day, c.ends_day \
         FROM wanted w CROSS JOIN contract_directory d CROSS JOIN contract c \
         WHERE d.order_id = w.order_id AND c.inst_id = d.inst_id AND c.contract_no = d.contract_no \
           AND c.version = (SELECT MAX(v.version) FROM contract v \
                            WHERE v.inst_id = c.inst_id AND v.contract_no = c.contract_no)",
    )
    .await?;
    let day = |epoch: i64| {
        i32::try_from(epoch)
            .map(Day::from_epoch)
            .map_err(|_| DbError::Inconsistent(format!("contract has the day {epoch}")))
    };
    rows.into_iter()
        .map(|r| {
            let value = Contract {
                student_ref: r.student_ref,
                ordered_on: day(r.ordered_day)?,
                lessons: r.lessons,
                gift_lessons: r.gift_lessons,
                unit_price: r.unit_price_fen,
                amount: r.amount_fen,
                extras: r.extras_fen,
                list_price: r.list_price_fen,
                subject_group: r.subject_group,
                kind: r.kind,
                starts_on: r.starts_day.map(day).transpose()?,
                ends_on: r.ends_day.map(day).transpose()?,
            };
            Ok(StoredContract {
                order_id: r.order_id,
                inst_id: InstId(r.inst_id),
                contract_no: r.contract_no,
                version: r.version,
                value,
            })
        })
        .collect()
}
