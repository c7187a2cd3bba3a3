//! 中信银行 `DLTRNALL`, XML `stream` with `list/row`, in GBK.
//!
//! `creditDebitFlag` C is money in, D money out, beside an unsigned `tranAmount`; `balance` stands
//! behind the row. `rfTranDt` and `rfTranNo` (only if the request asked with `controlFlag` 1) name
//! the entry a row takes back; `e3rtFlag` 0 is 退汇. `returnRecords` of `totalRecords` are in the
//! reply, which does not say which ones they are. Domestic replies name no currency.

use super::records::{Fields, Shape};
use super::{
    Head, Page, Row, answered, count, currency, day, direction, memo, owned, required, yuan,
};
use crate::base::{Defect, DefectCode};
use crate::wire::{Entry, Reversal, ReversalKind};

pub(super) const SHAPE: Shape = Shape {
    root: "stream",
    row: "row",
    attribute: "",
};

/// `traCryType`.
const CURRENCIES: [(&str, &str); 1] = [("01", "CNY")];
/// The reply to a query that found nothing.
const NOTHING_FOUND: &str = "EEEEEEE";

pub(super) fn head(fields: &Fields, rows: usize) -> Result<Head, Defect> {
    let (code, words) = (
        fields.text("stream/status"),
        fields.text("stream/statusText"),
    );
    answered(code, &["AAAAAAA", NOTHING_FOUND], words, "status")?;
    let mut remarks = Vec::new();
    let rows = rows as u64;
    let returned = count(fields, "stream/returnRecords")?.unwrap_or(rows);
    if returned != rows {
        let found = format!("returnRecords declares {returned} rows, {rows} are present");
        return Err(Defect::new(DefectCode::Truncated, found).column("returnRecords"));
    }
    let total = count(fields, "stream/totalRecords")?.unwrap_or(rows);
    if total < rows {
        let found = format!("totalRecords declares {total} rows, {rows} are present");
        remarks.push(Defect::new(DefectCode::DeclaredTotals, found).column("totalRecords"));
    }
    Ok(Head {
        account: owned(fields, "stream/accountNo"),
        page: Page {
            follows: total > rows,
            goes_on: total > rows,
        },
        remarks,
        ..Head::default()
    })
}

pub(super) fn row(fields: &Fields, _head: &Head) -> Result<Row, Defect> {
    let credit = direction(fields, "creditDebitFlag", ["C", "D"])?;
    let amount = required(yuan(fields, "tranAmount")?, "tranAmount")?;
    if amount.is_sign_negative() && !amount.is_zero() {
        let found = format!("{amount} is negative; the flag carries the direction");
        return Err(Defect::new(DefectCode::BadAmount, found).column("tranAmount"));
    }
    let code = fields.text("traCryType").unwrap_or_default();
    let entry = Entry {
        amount: if credit { amount } else { -amount },
        currency: currency(&CURRENCIES, code).0.unwrap_or_default(),
        booked_on: Some(required(day(fields, "tranDate")?, "tranDate")?),
        value_on: day(fields, "valueDate")?,
        customer_ref: owned(fields, "clientId").or_else(|| owned(fields, "chkNum")),
        bank_ref: owned(fields, "tranNo"),
        code: owned(fields, "hostTranCode"),
        counterparty: owned(fields, "oppAccountName"),
        memo: memo(fields, &["abstract"]),
        reversal: reversal(fields)?,
        ..Entry::default()
    };
    Ok(Row {
        entry,
        balance: yuan(fields, "balance")?,
        number: None,
        other_sign: false,
    })
}

fn reversal(fields: &Fields) -> Result<Option<Reversal>, Defect> {
    if let Some(original) = owned(fields, "rfTranNo") {
        return Ok(Some(Reversal {
            original: Some(original),
            original_on: day(fields, "rfTranDt")?,
            kind: ReversalKind::Reversed,
        }));
    }
    let returned = fields.text("e3rtFlag") == Some("0");
    Ok(match returned {
        true => Some(Reversal {
            original_on: day(fields, "e3rtDate")?,
            ..Reversal::unlinked(ReversalKind::Returned)
        }),
        false => None,
    })
}
