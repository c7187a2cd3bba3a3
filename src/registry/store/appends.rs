//! New versions of districts, licences, institutions and accounts; a first version enters its directory.

use crate::base::InstId;
use crate::registry::{Account, CustodyMode, District, Institution, Licence};
use crate::store::bulk::{self, dates, ints, opt_ints, opt_texts, texts};
use crate::store::{Result, Tx};

/// One version to append.
pub struct NewVersion<T> {
    pub version: i64,
    pub source_no: i64,
    pub value: T,
}

pub async fn append_districts(tx: &mut Tx, rows: &[NewVersion<District>]) -> Result<()> {
    bulk::append(
        tx,
        "district",
        vec![
            ("district_id", texts(rows, |r| r.value.district_id.as_str())),
            ("version", ints(rows, |r| r.version)),
            ("source_no", ints(rows, |r| r.source_no)),
            ("name", texts(rows, |r| r.value.name.as_str())),
            ("kind", texts(rows, |r| r.value.kind.as_str())),
            ("gb_code", opt_texts(rows, |r| r.value.gb_code.as_deref())),
            (
                "parent_id",
                opt_texts(rows, |r| r.value.parent_id.as_deref()),
            ),
            ("tile_col", opt_ints(rows, |r| r.value.tile_col)),
            ("tile_row", opt_ints(rows, |r| r.value.tile_row)),
        ],
    )
    .await
}

pub async fn append_licences(tx: &mut Tx, rows: &[NewVersion<Licence>]) -> Result<()> {
    bulk::append(
        tx,
        "licence",
        vec![
            ("licence_no", texts(rows, |r| r.value.licence_no.as_str())),
            ("version", ints(rows, |r| r.version)),
            ("source_no", ints(rows, |r| r.source_no)),
            ("name", texts(rows, |r| r.value.name.as_str())),
            ("uscc", opt_texts(rows, |r| r.value.uscc.as_deref())),
            ("district_id", texts(rows, |r| r.value.district_id.as_str())),
            ("department", texts(rows, |r| r.value.department.as_str())),
            ("licence_from", dates(rows, |r| r.value.licence_from)),
            ("licence_to", dates(rows, |r| r.value.licence_to)),
            ("status", opt_texts(rows, |r| r.value.status.as_deref())),
        ],
    )
    .await
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
                texts(&first, |r| r.value.1.institution_id.as_str()),
            ),
            ("inst_id", ints(&first, |r| r.value.0.0)),
        ],
    )
    .await?;
    bulk::append(
        tx,
        "institution",
        vec![
            ("inst_id", ints(rows, |r| r.value.0.0)),
            ("version", ints(rows, |r| r.version)),
            ("source_no", ints(rows, |r| r.source_no)),
            (
                "institution_id",
                texts(rows, |r| r.value.1.institution_id.as_str()),
            ),
            (
                "district_id",
                texts(rows, |r| r.value.1.district_id.as_str()),
            ),
            ("name", texts(rows, |r| r.value.1.name.as_str())),
            ("uscc", opt_texts(rows, |r| r.value.1.uscc.as_deref())),
            (
                "licence_kind",
                opt_texts(rows, |r| r.value.1.licence_kind.as_deref()),
            ),
            (
                "licence_no",
                opt_texts(rows, |r| r.value.1.licence_no.as_deref()),
            ),
            ("licence_from", dates(rows, |r| r.value.1.licence_from)),
            ("licence_to", dates(rows, |r| r.value.1.licence_to)),
            (
                "department",
                opt_texts(rows, |r| r.value.1.department.as_deref()),
            ),
            (
                "category",
                opt_texts(rows, |r| r.value.1.category.as_deref()),
            ),
            ("subject", opt_texts(rows, |r| r.value.1.subject.as_deref())),
            ("prepays", texts(rows, |r| r.value.1.prepays.as_str())),
            ("status", texts(rows, |r| r.value.1.status.as_str())),
            ("platform_since", dates(rows, |r| r.value.1.platform_since)),
            ("opened_on", dates(rows, |r| r.value.1.opened_on)),
            (
                "custody_mode",
                opt_texts(rows, |r| r.value.1.custody_mode.map(CustodyMode::as_str)),
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
            ("account_id", texts(&first, |r| r.value.account_id.as_str())),
            ("inst_id", ints(&first, |r| r.value.inst_id.0)),
            ("account_no", ints(&first, |r| r.value.account_no.0)),
        ],
    )
    .await?;
    bulk::append(
        tx,
        "account",
        vec![
            ("inst_id", ints(rows, |r| r.value.inst_id.0)),
            ("account_no", ints(rows, |r| r.value.account_no.0)),
            ("version", ints(rows, |r| r.version)),
            ("source_no", ints(rows, |r| r.source_no)),
            ("account_id", texts(rows, |r| r.value.account_id.as_str())),
            ("kind", texts(rows, |r| r.value.kind.as_str())),
            ("min_deposit_fen", ints(rows, |r| r.value.min_deposit.fen())),
            (
                "bank_code",
                opt_texts(rows, |r| r.value.bank_code.as_deref()),
            ),
            (
                "branch_district_id",
                opt_texts(rows, |r| r.value.branch_district_id.as_deref()),
            ),
            (
                "agreement_no",
                opt_texts(rows, |r| r.value.agreement_no.as_deref()),
            ),
            ("agreement_from", dates(rows, |r| r.value.agreement_from)),
            ("agreement_to", dates(rows, |r| r.value.agreement_to)),
            ("filed_on", dates(rows, |r| r.value.filed_on)),
            ("status", opt_texts(rows, |r| r.value.status.as_deref())),
        ],
    )
    .await
}
