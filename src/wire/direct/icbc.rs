//! 工商银行 `QHISD`, XML `CMS/eb/pub` and `CMS/eb/out/rd`.
//!
//! `Drcrf` 1 is debit, 2 credit, with the amount in `DebitAmount` or `CreditAmount` and `Balance`
//! behind the row; `NextTag` says that more is to come, `TotalNum` how many rows there are.
//! Unverified, and therefore a setting without a default: whether amounts are fen or yuan.

use rust_decimal::Decimal;

use super::records::{Fields, Shape};
use super::{
    Head, Page, Row, answered, count, currency, day, direction, memo, owned, required, yuan,
};
use crate::base::{AmountUnit, Defect, DefectCode};
use crate::wire::{Entry, Reversal};

pub(super) const SHAPE: Shape = Shape {
    root: "CMS",
    row: "rd",
    attribute: "",
};

/// `CurrType`.
const CURRENCIES: [(&str, &str); 2] = [("001", "CNY"), ("01", "CNY")];

/// The refusal of a reply whose unit nobody has configured.
pub(super) fn unit_unknown() -> Defect {
    let found = "no source says whether ICBC amounts are fen or yuan; \
                 set amount_unit of the feed, or import it with --amount-unit, from the agreement \
                 with the bank";
    Defect::new(DefectCode::BadAmount, found).column("DebitAmount")
}

pub(super) fn head(fields: &Fields, rows: usize) -> Result<Head, Defect> {
    let (code, words) = (fields.text("pub/RetCode"), fields.text("pub/RetMsg"));
    answered(code, &["0", "00000"], words, "RetCode")?;
    let (currency, remark) = currency(&CURRENCIES, fields.text("out/CurrType").unwrap_or_default());
    let goes_on = fields.text("out/NextTag").is_some();
    let mut remarks: Vec<Defect> = remark.into_iter().collect();
    let rows = rows as u64;
    if let Some(total) = count(fields, "out/TotalNum")?
        && (rows > total || (!goes_on && rows < total))
    {
        let found = format!("TotalNum declares {total} rows, {rows} are present");
        remarks.push(Defect::new(DefectCode::DeclaredTotals, found).column("TotalNum"));
    }
    Ok(Head {
        account: owned(fields, "out/AccNo"),
        currency,
        page: Page {
            follows: false,
            goes_on,
        },
        remarks,
        ..Head::default()
    })
}

pub(super) fn row(fields: &Fields, head: &Head, unit: AmountUnit) -> Result<Row, Defect> {
    let credit = direction(fields, "Drcrf", ["2", "1"])?;
    let (own, other) = if credit {
        ("CreditAmount", "DebitAmount")
    } else {
        ("DebitAmount", "CreditAmount")
    };
    let amount = required(in_unit(fields, own, unit)?, own)?;
    if in_unit(fields, other, unit)?.is_some_and(|amount| !amount.is_zero()) {
        let found = "debit and credit are both filled";
        return Err(Defect::new(DefectCode::BadAmount, found).column(other));
    }
    let memo = memo(fields, &["Summary", "UseCN", "PostScript"]);
    let entry = Entry {
        amount: if credit { amount } else { -amount },
        currency: head.currency.clone().unwrap_or_default(),
        booked_on: Some(required(day(fields, "Date")?, "Date")?),
        bank_ref: owned(fields, "Ref").or_else(|| owned(fields, "SerialNo")),
        customer_ref: owned(fields, "VouhNo"),
        code: owned(fields, "BusCode"),
        counterparty: owned(fields, "RecipName"),
        reversal: Reversal::in_words([memo.as_str()]),
        memo,
        ..Entry::default()
    };
    Ok(Row {
        entry,
        balance: in_unit(fields, "Balance", unit)?,
        number: None,
        other_sign: false,
    })
}

/// An amount in yuan; fen are whole numbers.
fn in_unit(fields: &Fields, name: &str, unit: AmountUnit) -> Result<Option<Decimal>, Defect> {
    let Some(amount) = yuan(fields, name)? else {
        return Ok(None);
    };
    if unit == AmountUnit::Yuan {
        return Ok(Some(amount));
    }
    if fields.text(name).is_some_and(|text| text.contains('.')) {
        let found = format!("{amount} has a decimal point, the setting says fen");
        return Err(Defect::new(DefectCode::BadAmount, found).column(name));
    }
    Ok(amount.checked_mul(Decimal::new(1, 2)))
}
