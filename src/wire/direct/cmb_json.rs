//! 招商银行 CloudDC `trsQryByBreakPoint`, the decrypted JSON reply.
//!
//! `TRANSQUERYBYBREAKPOINT_Z1` declares numbers and sums each way and with `ctnFlag` whether more
//! is to come; `_Z2` are the rows, each with its balance; `_Y1` is the point to go on from. The reply
//! does not name the account unless it goes on: an archive that keeps request and reply together
//! (`{"request":…,"response":…}`) gives it from `TRANSQUERYBYBREAKPOINT_X1`.
//!
//! Invariants: a number that is not a text is taken only where its digits are exact.

use std::io::{BufRead, Read};

use serde_json::{Map, Value};

use super::cmb::{CURRENCIES, flag, signed};
use super::records::Fields;
use super::{
    Head, Page, Reply, Row, answered, count, currency, day, direction, memo, owned, required, yuan,
};
use crate::base::{Defect, DefectCode};
use crate::wire::Entry;

/// The longest reply; a page holds some dozens of rows.
const BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The most digits of a JSON number that are certain to be as written.
const EXACT_DIGITS: usize = 15;

const TOTALS: &str = "TRANSQUERYBYBREAKPOINT_Z1";
const ROWS: &str = "TRANSQUERYBYBREAKPOINT_Z2";
const GO_ON: &str = "TRANSQUERYBYBREAKPOINT_Y1";
const ASKED: &str = "TRANSQUERYBYBREAKPOINT_X1";

pub(super) fn read(source: impl BufRead) -> Result<Reply, Defect> {
    let text = text(source)?;
    let root: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|e| {
        let code = match e.classify() {
            serde_json::error::Category::Eof => DefectCode::Truncated,
            _ => DefectCode::Malformed,
        };
        Defect::new(code, format!("the JSON is broken: {e}")).line(e.line() as u64)
    })?;
    let answer = root.get("response").unwrap_or(&root);
    let said = fields(answer.get("head").and_then(Value::as_object))?;
    let code = said.text("resultcode");
    answered(
        code,
        &["SUC0000", "000000"],
        said.text("resultmsg"),
        "resultcode",
    )?;
    let body = answer
        .get("body")
        .and_then(Value::as_object)
        .ok_or_else(|| {
            Defect::new(DefectCode::Malformed, "the reply has no body").column("body")
        })?;
    let (asked, goes_on) = (
        first(path(&root, "request"), ASKED)?,
        first(Some(body), GO_ON)?,
    );
    let head = head(&first(Some(body), TOTALS)?, &goes_on, &asked)?;
    let mut rows = Vec::new();
    for (line, value) in (1_u64..).zip(list(Some(body), ROWS)) {
        let placed = |defect: Defect| defect.line(line);
        let fields = fields(value.as_object()).map_err(placed)?;
        let mut row = row(&fields, &head).map_err(placed)?;
        row.entry.line = line;
        rows.push(row);
    }
    let mut head = head;
    name_currency(&mut head, &rows);
    Ok(Reply::new(head, rows))
}

fn text(source: impl BufRead) -> Result<String, Defect> {
    let mut bytes = Vec::new();
    let read = source.take(BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|e| {
        Defect::new(
            DefectCode::Unreadable,
            format!("the file could not be read: {e}"),
        )
    })?;
    if bytes.len() as u64 > BYTES_MAX {
        let found = format!("the reply is longer than {BYTES_MAX} bytes (limit BYTES_MAX)");
        return Err(Defect::new(DefectCode::TooLarge, found));
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Defect::new(
            DefectCode::BadEncoding,
            format!("byte {at} of the file is not UTF-8"),
        )
    })
}

fn path<'v>(root: &'v Value, name: &str) -> Option<&'v Map<String, Value>> {
    root.get(name)?.get("body")?.as_object()
}

fn list<'v>(body: Option<&'v Map<String, Value>>, name: &str) -> &'v [Value] {
    let list = body.and_then(|body| body.get(name));
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn first(body: Option<&Map<String, Value>>, name: &str) -> Result<Fields, Defect> {
    fields(list(body, name).first().and_then(Value::as_object))
}

/// The texts of an object, numbers as their digits.
fn fields(object: Option<&Map<String, Value>>) -> Result<Fields, Defect> {
    let mut fields = Fields::default();
    for (name, value) in object.into_iter().flatten() {
        let text = match value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => {
                let text = number.to_string();
                let digits = text.bytes().filter(u8::is_ascii_digit).count();
                if digits > EXACT_DIGITS || text.contains(['e', 'E']) {
                    let found = format!("the number {text} may have lost digits; send it as text");
                    return Err(Defect::new(DefectCode::BadAmount, found).column(name.as_str()));
                }
                text
            }
            _ => continue,
        };
        fields.push(name.clone(), text);
    }
    Ok(fields)
}

fn head(totals: &Fields, goes_on: &Fields, asked: &Fields) -> Result<Head, Defect> {
    let account = owned(asked, "cardNbr")
        .or_else(|| owned(goes_on, "acctNbr"))
        .or_else(|| owned(totals, "queryAcctNbr"));
    let more = match totals.text("ctnFlag") {
        Some("Y") => true,
        Some("N") => false,
        other => {
            let found = format!("ctnFlag {other:?} is neither Y nor N");
            return Err(Defect::new(DefectCode::Truncated, found).column("ctnFlag"));
        }
    };
    // A query that was itself a continuation says so in what was asked.
    let follows =
        asked.text("queryAcctNbr").is_some() || asked.text("transactionSequence").is_some();
    let said = |number: &str, sum: &str| -> Result<_, Defect> {
        Ok(count(totals, number)?.zip(yuan(totals, sum)?))
    };
    Ok(Head {
        account,
        page: Page {
            follows,
            goes_on: more,
        },
        declared: [
            said("creditNums", "creditAmount")?,
            said("debitNums", "debitAmount")?.map(|(count, sum)| (count, sum.abs())),
        ],
        ..Head::default()
    })
}

fn row(fields: &Fields, _head: &Head) -> Result<Row, Defect> {
    let credit = direction(fields, "loanCode", ["C", "D"])?;
    let amount = required(yuan(fields, "transAmount")?, "transAmount")?;
    let reversal = flag(fields.text("reversalFlag"), "reversalFlag")?;
    let (amount, other_sign) = signed(amount, credit, reversal.is_some(), "transAmount")?;
    let code = fields.text("currencyNbr").unwrap_or_default();
    let entry = Entry {
        amount,
        currency: currency(&CURRENCIES, code).0.unwrap_or_default(),
        booked_on: Some(required(day(fields, "transDate")?, "transDate")?),
        value_on: day(fields, "valueDate")?,
        customer_ref: owned(fields, "yurRef"),
        bank_ref: owned(fields, "transSequenceIdn"),
        code: owned(fields, "textCode"),
        counterparty: owned(fields, "ctpAcctName"),
        memo: memo(fields, &["remarkTextClt", "businessText", "extendedRemark"]),
        reversal,
        ..Entry::default()
    };
    Ok(Row {
        entry,
        balance: yuan(fields, "acctOnlineBal")?,
        number: None,
        other_sign,
    })
}

/// The reply names the currency in its rows only.
fn name_currency(head: &mut Head, rows: &[Row]) {
    let named = rows.iter().map(|row| &row.entry.currency);
    head.currency = named.clone().find(|name| !name.is_empty()).cloned();
    let iso = |name: &&String| name.bytes().all(|b| b.is_ascii_uppercase());
    if let Some(code) = named
        .filter(|name| !name.is_empty())
        .find(|name| !iso(name))
    {
        let found = format!("{code:?} is no currency code of this bank's table");
        head.remarks
            .push(Defect::new(DefectCode::BadCode, found).column("currencyNbr"));
    }
}
