//! 建设银行 `6WY101`, XML in GB18030 that calls itself GB2312.
//!
//! `FLAG1` 0 is debit, 1 credit; `AMT1` is the balance behind the row; `DET_NO` has no gap;
//! `PAGE` of `TOTAL_PAGE` says which page it is; `TOTAL_RECORD` is the size of a full page.
//! Unverified: how a reversal is marked; only the words 冲正, 补帐 and 退汇 of the summary mark one.

use super::records::{Fields, Shape};
use super::{
    Head, Page, Row, answered, count, currency, day, direction, memo, owned, required, yuan,
};
use crate::base::{Defect, DefectCode};
use crate::wire::{Entry, Reversal};

pub(super) const SHAPE: Shape = Shape {
    root: "TX",
    row: "DETAILINFO",
    attribute: "",
};

/// `CURR_COD`.
const CURRENCIES: [(&str, &str); 1] = [("01", "CNY")];

pub(super) fn head(fields: &Fields, rows: usize) -> Result<Head, Defect> {
    let (code, words) = (fields.text("TX/RETURN_CODE"), fields.text("TX/RETURN_MSG"));
    answered(code, &["000000"], words, "RETURN_CODE")?;
    let (currency, remark) = currency(
        &CURRENCIES,
        fields.text("TX_INFO/CURR_COD").unwrap_or_default(),
    );
    let page = required(count(fields, "TX_INFO/PAGE")?, "PAGE")?;
    let pages = required(count(fields, "TX_INFO/TOTAL_PAGE")?, "TOTAL_PAGE")?;
    if page == 0 || page > pages.max(1) {
        let found = format!("page {page} of {pages} pages does not exist");
        return Err(Defect::new(DefectCode::Malformed, found).column("PAGE"));
    }
    let mut remarks: Vec<Defect> = remark.into_iter().collect();
    let rows = rows as u64;
    if let Some(full) = count(fields, "TX_INFO/TOTAL_RECORD")?
        && (rows > full || (page < pages && rows < full))
    {
        let found = format!("page {page} of {pages} has {rows} rows, a full page has {full}");
        remarks.push(Defect::new(DefectCode::DeclaredTotals, found).column("TOTAL_RECORD"));
    }
    Ok(Head {
        account: owned(fields, "TX_INFO/ACCNO1"),
        currency,
        page: Page {
            follows: page > 1,
            goes_on: page < pages,
        },
        remarks,
        ..Head::default()
    })
}

pub(super) fn row(fields: &Fields, head: &Head) -> Result<Row, Defect> {
    let credit = direction(fields, "FLAG1", ["1", "0"])?;
    let amount = required(yuan(fields, "AMT")?, "AMT")?;
    let memo = memo(fields, &["MESSAGE", "DET"]);
    let entry = Entry {
        amount: if credit { amount } else { -amount },
        currency: head.currency.clone().unwrap_or_default(),
        booked_on: Some(required(day(fields, "TRANDATE")?, "TRANDATE")?),
        bank_ref: owned(fields, "TRAN_FLOW"),
        customer_ref: owned(fields, "CRE_NO"),
        code: owned(fields, "CRE_TYP"),
        counterparty: owned(fields, "ACC_NAME1"),
        reversal: Reversal::in_words([memo.as_str()]),
        memo,
        ..Entry::default()
    };
    Ok(Row {
        entry,
        balance: yuan(fields, "AMT1")?,
        number: count(fields, "DET_NO")?,
        other_sign: false,
    })
}
