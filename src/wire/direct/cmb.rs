//! 招商银行, the older front-end: XML `CMBSDKPGK` with one `NTQTSINFZ` a row, in GBK.
//!
//! `AMTCDR` C is money in, D money out; `TRSAMTC`, `TRSAMTD` or `TRSAMT` the amount; `TRSBLV` the
//! balance behind it; `RSVFLG` `*` 冲帐, `X` 补帐. The reply has no page, and names no account or currency
//! unless `ACCNBR` or `CCYNBR` stand in it; the request knows them.

use rust_decimal::Decimal;

use super::records::{Fields, Shape};
use super::{Head, Row, answered, currency, day, direction, memo, owned, required, yuan};
use crate::base::{Defect, DefectCode};
use crate::wire::{Entry, Reversal, ReversalKind};

pub(super) const SHAPE: Shape = Shape {
    root: "CMBSDKPGK",
    row: "NTQTSINFZ",
    attribute: "",
};

/// The bank's numbers of currencies (`CCYNBR`, `currencyNbr`); others stay verbatim.
pub(super) const CURRENCIES: [(&str, &str); 1] = [("10", "CNY")];

pub(super) fn head(fields: &Fields, _rows: usize) -> Result<Head, Defect> {
    let (code, words) = (fields.text("INFO/RETCOD"), fields.text("INFO/ERRMSG"));
    answered(code, &["0"], words, "RETCOD")?;
    let (currency, remark) = currency(&CURRENCIES, fields.text("INFO/CCYNBR").unwrap_or_default());
    Ok(Head {
        account: owned(fields, "INFO/ACCNBR"),
        currency,
        remarks: remark.into_iter().collect(),
        ..Head::default()
    })
}

pub(super) fn row(fields: &Fields, head: &Head) -> Result<Row, Defect> {
    let credit = direction(fields, "AMTCDR", ["C", "D"])?;
    let own = if credit { "TRSAMTC" } else { "TRSAMTD" };
    let amount = match yuan(fields, own)? {
        Some(amount) => amount,
        None => required(yuan(fields, "TRSAMT")?, "TRSAMT")?,
    };
    let reversal = flag(fields.text("RSVFLG"), "RSVFLG")?;
    let (amount, other_sign) = signed(amount, credit, reversal.is_some(), own)?;
    let entry = Entry {
        amount,
        currency: head.currency.clone().unwrap_or_default(),
        booked_on: Some(required(day(fields, "ETYDAT")?, "ETYDAT")?),
        value_on: day(fields, "VLTDAT")?,
        customer_ref: owned(fields, "YURREF"),
        bank_ref: owned(fields, "REFNBR"),
        code: owned(fields, "TRSCOD"),
        counterparty: owned(fields, "RPYNAM"),
        memo: memo(fields, &["NARYUR", "NAREXT", "BUSNAR"]),
        reversal,
        ..Entry::default()
    };
    Ok(Row {
        entry,
        balance: yuan(fields, "TRSBLV")?,
        number: None,
        other_sign,
    })
}

/// `RSVFLG` and `reversalFlag`: `*` 冲帐, `X` 补帐.
pub(super) fn flag(text: Option<&str>, name: &str) -> Result<Option<Reversal>, Defect> {
    match text {
        None | Some("N") => Ok(None),
        Some("*") => Ok(Some(Reversal::unlinked(ReversalKind::Reversed))),
        Some("X") => Ok(Some(Reversal::unlinked(ReversalKind::Supplement))),
        Some(other) => {
            let found = format!("{other:?} is neither * nor X");
            Err(Defect::new(DefectCode::BadCode, found).column(name))
        }
    }
}

/// The sign of a row. Unsigned, the direction gives it. A debit may come signed, which says the same
/// twice. A negative amount on a marked correction is first read as a red entry, which turns the
/// direction, and is doubtful: the running balance decides.
pub(super) fn signed(
    amount: Decimal,
    credit: bool,
    corrects: bool,
    name: &str,
) -> Result<(Decimal, bool), Defect> {
    let size = amount.abs();
    let plain = if credit { size } else { -size };
    match (amount.is_sign_negative() && !amount.is_zero(), corrects) {
        (false, _) => Ok((plain, false)),
        (true, true) => Ok((-plain, true)),
        (true, false) if !credit => Ok((plain, false)),
        (true, false) => {
            let found = format!("{amount} is negative on the side of money in");
            Err(Defect::new(DefectCode::BadAmount, found).column(name))
        }
    }
}
