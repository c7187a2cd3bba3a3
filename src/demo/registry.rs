//! The registry bundle: districts, institutions, licences and accounts as the authorities keep them.
//!
//! Invariants: every filing, licence and agreement is dated, filings before the first business day;
//! what stands wrong (no account, not filed, deposit too low, wrong code) is planted by name.

use crate::base::{Day, DefectCode, FlagCode, Money};

use super::books::Book;
use super::city::{DISTRICTS, Institution, Mode, SUBJECTS};
use super::rows::{AccountRow, DistrictRow, InstitutionRow, LicenceRow};
use super::trouble::Standing;
use super::{Planted, PlantedDefect};

/// Licences of bodies that are not on the platform (应录未录).
const UNREGISTERED: [(usize, &str); 3] = [
    (1, "示例远山美术培训中心"),
    (8, "示例清溪舞蹈培训中心"),
    (14, "示例北辰编程培训中心"),
];
/// By how much the low deposit misses its minimum, in fen.
const DEPOSIT_SHORTAGE_FEN: i64 = 3_200_000;
/// Risk deposits are paid in whole thousands of yuan.
const DEPOSIT_STEP_FEN: i64 = 100_000;

pub(super) fn districts() -> Vec<DistrictRow> {
    let row = |d: &super::city::District| DistrictRow {
        district_id: d.id,
        name: d.name,
        kind: if d.coded { "gb" } else { "internal" },
        gb_code: if d.coded { d.id } else { "" },
        parent_id: "",
        tile_col: d.tile.0,
        tile_row: d.tile.1,
    };
    DISTRICTS.iter().map(row).collect()
}

pub(super) fn institutions(all: &[Institution], start: Day) -> Vec<InstitutionRow> {
    let row = |i: &Institution| {
        let (_, department, group) = SUBJECTS[i.subject];
        InstitutionRow {
            institution_id: i.id.clone(),
            district_id: DISTRICTS[i.district].id,
            name: i.name.clone(),
            uscc: i.uscc.clone(),
            licence_kind: "办学许可证",
            licence_no: licence_no(i.number, i.district),
            licence_from: start.plus(-age(i.number, 400, 700)),
            licence_to: start.plus(age(i.number, 400, 600)),
            department,
            category: if department == "education" {
                "academic"
            } else {
                "non_academic"
            },
            subject: group,
            prepays: if i.standing == Some(Standing::PayAfter) {
                "pay_after"
            } else {
                "yes"
            },
            status: "active",
            platform_since: start.plus(-age(i.number, 200, 180)),
            opened_on: start.plus(-age(i.number, 390, 2_000)),
            custody_mode: i.mode.as_str(),
        }
    };
    all.iter().map(row).collect()
}

pub(super) fn licences(all: &[Institution], start: Day) -> Vec<LicenceRow> {
    let row = |number: usize, district: usize, name: &str, uscc: &str, department| LicenceRow {
        licence_no: licence_no(number, district),
        name: name.to_owned(),
        uscc: uscc.to_owned(),
        district_id: DISTRICTS[district].id,
        department,
        licence_from: start.plus(-age(number, 400, 700)),
        licence_to: start.plus(age(number, 400, 600)),
        status: "valid",
    };
    let known = all.iter().map(|i| {
        row(
            i.number,
            i.district,
            &i.name,
            &i.uscc,
            SUBJECTS[i.subject].1,
        )
    });
    let strangers = UNREGISTERED.iter().enumerate();
    let unknown = strangers.map(|(n, (district, name))| {
        row(all.len() + 1 + n, *district, name, "", "culture_tourism")
    });
    known.chain(unknown).collect()
}

pub(super) fn accounts(all: &[Institution], start: Day) -> Vec<AccountRow> {
    let mut rows = Vec::new();
    for institution in all {
        let kind = if institution.mode == Mode::Deposit {
            "SETTLEMENT"
        } else {
            "CUSTODY"
        };
        if let Some(account) = institution.collecting_account() {
            rows.push(account_row(institution, account, kind, 0, start));
        }
        if let Some(account) = institution.deposit_account() {
            rows.push(account_row(
                institution,
                account,
                "DEPOSIT",
                institution.min_deposit(),
                start,
            ));
        }
    }
    rows
}

fn account_row(
    institution: &Institution,
    account_id: String,
    kind: &'static str,
    min_deposit_fen: i64,
    start: Day,
) -> AccountRow {
    let filed_on = start.plus(-age(institution.number, 60, 300));
    let agreed_on = filed_on.plus(-5);
    let filed = institution.standing != Some(Standing::Unfiled);
    AccountRow {
        account_id,
        institution_id: institution.id.clone(),
        kind,
        min_deposit_fen,
        bank_code: institution.bank.code(),
        branch_district_id: DISTRICTS[institution.district].id,
        agreement_no: format!("示例协议-{:04}-{}", institution.number, &kind[..1]),
        agreement_from: Some(agreed_on),
        agreement_to: Some(agreed_on.plus_months(36)),
        filed_on: filed.then_some(filed_on),
        status: if filed { "filed" } else { "pending" },
    }
}

/// The book of an institution's risk deposit: one balance, never moved. It is above whatever rule
/// asks for, unless it is the one that stands too low.
pub(super) fn deposit_book(
    institution: &Institution,
    contracted: i64,
    days: usize,
) -> Option<Book> {
    let minimum = institution.min_deposit();
    let ample = (minimum * 5 / 4).max(contracted * 11 / 10);
    let opening = if institution.standing == Some(Standing::LowDeposit) {
        minimum - DEPOSIT_SHORTAGE_FEN
    } else {
        (ample / DEPOSIT_STEP_FEN + 1) * DEPOSIT_STEP_FEN
    };
    institution.deposit_account().map(|account_id| Book {
        account_id,
        holder: institution.name.clone(),
        bank: institution.bank,
        opening,
        days: vec![Vec::new(); days],
    })
}

/// What stands wrong in the registry, visible from the first business day.
pub(super) fn planted(all: &[Institution], start: Day) -> Vec<Planted> {
    let flag = |i: &Institution, code, subject: String, fen| Planted {
        code,
        institution_id: i.id.clone(),
        subject,
        day: start,
        cured: None,
        amount: Money::from_fen(fen),
    };
    let one = |i: &Institution| match i.standing? {
        Standing::NoCustody => Some(flag(i, FlagCode::NoCustody, i.id.clone(), 0)),
        Standing::Unfiled => Some(flag(
            i,
            FlagCode::UnfiledAccount,
            i.collecting_account()?,
            0,
        )),
        Standing::LowDeposit => Some(flag(
            i,
            FlagCode::DepositBelowMin,
            i.deposit_account()?,
            DEPOSIT_SHORTAGE_FEN,
        )),
        Standing::BadUscc | Standing::PayAfter => None,
    };
    all.iter().filter_map(one).collect()
}

/// The wrong code.
pub(super) fn defects(all: &[Institution], start: Day) -> Vec<PlantedDefect> {
    let wrong = all.iter().filter(|i| i.standing == Some(Standing::BadUscc));
    wrong
        .map(|i| PlantedDefect {
            code: DefectCode::BadUscc,
            day: start,
            file: "institutions.csv".to_owned(),
            subject: i.id.clone(),
        })
        .collect()
}

/// The 13-digit number of the 2004 rule: area, 7 for training, serial.
fn licence_no(number: usize, district: usize) -> String {
    let area = if DISTRICTS[district].coded {
        DISTRICTS[district].id
    } else {
        "410100"
    };
    format!("{area}7{number:06}")
}

/// A spread of days, `least` to `least + spread`, by number.
fn age(number: usize, least: i32, spread: i32) -> i32 {
    least + i32::try_from(number * 37 % 1_009).unwrap_or(0) % spread
}
