//! 兴业银行 "FOX", XML `SCUSTSTMTTRNRS` with one `STMTTRN` a row.
//!
//! `TRNTYPE` says CREDIT or DEBIT; a negative `TRNAMT` is 冲正 and turns the direction; `BALAMT`
//! stands behind the row; `TRANLIST@MORE` Y says that pages follow. `CBBZ` 冲补标志: 1 冲正, 2 补帐,
//! 3 隔日补账; `BCZBZ` 被冲账标志 marks the entry that was taken back, which stays an entry.
//! `SUBNO` and `VIRACCTID` name the virtual sub-account, kept in the memo.

use super::records::{Fields, Shape};
use super::{Head, Page, Row, answered, currency, day, direction, memo, owned, required, yuan};
use crate::base::{Defect, DefectCode};
use crate::wire::{Entry, Reversal, ReversalKind};

pub(super) const SHAPE: Shape = Shape {
    root: "FOX",
    row: "STMTTRN",
    attribute: "MORE",
};

const CURRENCIES: [(&str, &str); 2] = [("01", "CNY"), ("RMB", "CNY")];

pub(super) fn head(fields: &Fields, _rows: usize) -> Result<Head, Defect> {
    for code in fields.all("STATUS/CODE") {
        answered(
            Some(code),
            &["0"],
            fields.text("STATUS/MESSAGE"),
            "STATUS/CODE",
        )?;
    }
    let (currency, remark) = currency(
        &CURRENCIES,
        fields.text("SCUSTSTMTRS/CURDEF").unwrap_or_default(),
    );
    let goes_on = match fields.text("TRANLIST@MORE") {
        Some("Y") => true,
        Some("N") => false,
        other => {
            let found = format!("MORE {other:?} is neither Y nor N");
            return Err(Defect::new(DefectCode::Truncated, found).column("TRANLIST@MORE"));
        }
    };
    let from = day(fields, "TRANLIST/DTSTART")?;
    let to = day(fields, "TRANLIST/DTEND")?;
    Ok(Head {
        account: owned(fields, "ACCTFROM/ACCTID"),
        currency,
        // A page that goes on has not reached the last day asked for.
        period: from.zip(to).filter(|(from, to)| !goes_on && from <= to),
        page: Page {
            follows: false,
            goes_on,
        },
        remarks: remark.into_iter().collect(),
        ..Head::default()
    })
}

pub(super) fn row(fields: &Fields, head: &Head) -> Result<Row, Defect> {
    let credit = direction(fields, "TRNTYPE", ["CREDIT", "DEBIT"])?;
    let amount = required(yuan(fields, "TRNAMT")?, "TRNAMT")?;
    let own = currency(&CURRENCIES, fields.text("CURRENCY").unwrap_or_default()).0;
    let mut memo = memo(fields, &["MEMO", "SUMMDESC", "PURPOSE"]);
    for name in ["SUBNO", "VIRACCTID"] {
        if let Some(text) = fields.text(name) {
            let separator = if memo.is_empty() { "" } else { "\n" };
            memo.push_str(&format!("{separator}{name} {text}"));
        }
    }
    let entry = Entry {
        amount: if credit { amount } else { -amount },
        currency: own.or_else(|| head.currency.clone()).unwrap_or_default(),
        booked_on: Some(required(day(fields, "DTACCT")?, "DTACCT")?),
        customer_ref: owned(fields, "CHEQUENUM"),
        bank_ref: ["ATTACHINFO", "HXJYLSBH", "SRVRTID"]
            .into_iter()
            .find_map(|name| owned(fields, name)),
        code: owned(fields, "TRNCODE"),
        counterparty: owned(fields, "CORRELATE_NAME"),
        reversal: reversal(fields, amount.is_sign_negative() && !amount.is_zero())?,
        memo,
        ..Entry::default()
    };
    Ok(Row {
        entry,
        balance: yuan(fields, "BALAMT")?,
        number: None,
        other_sign: false,
    })
}

fn reversal(fields: &Fields, negative: bool) -> Result<Option<Reversal>, Defect> {
    let kind = match fields.text("CBBZ") {
        Some("1") => Some(ReversalKind::Reversed),
        Some("2" | "3") => Some(ReversalKind::Supplement),
        None | Some("0") => negative.then_some(ReversalKind::Reversed),
        Some(other) => {
            let found = format!("{other:?} is none of 0, 1, 2, 3");
            return Err(Defect::new(DefectCode::BadCode, found).column("CBBZ"));
        }
    };
    Ok(kind.map(Reversal::unlinked))
}
