//! WeChat Pay: the trade bill (交易账单) and the fund bill (资金账单).
//!
//! Both are a header, rows, the header of the totals and the totals. Every value carries a backtick
//! in front; the byte order mark may be mangled to `?`. The trade bill has 27 columns in type ALL,
//! fewer in older files and in type SUCCESS, two more in type REFUND.

use rust_decimal::Decimal;

use super::super::bank::profile::key;
use super::super::{Entry, Reversal};
use super::table::{Header, Row, add, agree, cells, truncated};
use super::{Bill, BillRow, BillState, Fund, Kind};
use crate::base::{Defect, DefectCode};

const TRADE_TOTALS: &str = "总交易单数";
const FUND_TOTALS: &str = "资金流水总笔数";

/// Names of the totals and of the columns they add up. Refunds are summed by size: older files sign
/// them.
const TRADE_SUMS: [(&[&str], &[&str], bool); 6] = [
    (
        &["应结订单总金额", "总交易额"],
        &["应结订单金额", "总金额"],
        false,
    ),
    (&["退款总金额", "总退款金额"], &["退款金额"], true),
    (
        &["充值券退款总金额", "总代金券退款金额", "总企业红包退款金额"],
        &[
            "充值券退款金额",
            "代金券或立减优惠退款金额",
            "企业红包退款金额",
        ],
        true,
    ),
    (&["手续费总金额"], &["手续费"], false),
    (&["订单总金额"], &["订单金额"], false),
    (&["申请退款总金额"], &["申请退款金额"], true),
];

pub(super) fn recognises(head: &str) -> Option<Kind> {
    let header = Header::new(bare(head.lines().next()?));
    if header.has("交易时间") && header.has("微信订单号") && header.has("商户订单号")
    {
        return Some(Kind::WechatTrade);
    }
    let fund = header.has("记账时间") && header.has("资金流水单号") && header.has("账户结余(元)");
    fund.then_some(Kind::WechatFund)
}

/// A header line without a mangled byte order mark.
fn bare(line: &str) -> &str {
    line.trim_start_matches(['\u{feff}', '?', '？', ' '])
}

/// A bill cut into its header, its rows and its totals.
struct Parts<'t> {
    header: Header,
    rows: Vec<(u64, &'t str)>,
    totals: Vec<(String, String)>,
    totals_line: u64,
}

impl<'t> Parts<'t> {
    fn of(text: &'t str, totals_name: &str) -> Result<Parts<'t>, Defect> {
        let numbered = (1_u64..).zip(text.lines());
        let mut lines = numbered.filter(|(_, line)| !line.trim().is_empty());
        let header = lines.next().map(|(_, line)| Header::new(bare(line)));
        let header = header.ok_or_else(|| truncated("the bill is empty", 1))?;
        let mut rows = Vec::new();
        let mut last = 1;
        for (number, line) in lines.by_ref() {
            last = number;
            let first = cells(line).first().map(|cell| key(cell));
            if first.as_deref() != Some(totals_name) {
                rows.push((number, line));
                continue;
            }
            let (totals_line, values) = lines
                .next()
                .ok_or_else(|| truncated("the bill ends before its totals", number))?;
            if let Some((number, _)) = lines.next() {
                let found = "lines follow the totals of the bill";
                return Err(Defect::new(DefectCode::Malformed, found).line(number));
            }
            let names: Vec<String> = cells(line).iter().map(|name| key(name)).collect();
            let values = cells(values);
            if names.len() != values.len() {
                return Err(truncated(
                    "the totals of the bill are incomplete",
                    totals_line,
                ));
            }
            let totals = names.into_iter().zip(values).collect();
            return Ok(Parts {
                header,
                rows,
                totals,
                totals_line,
            });
        }
        Err(truncated("the bill ends without its totals", last))
    }

    /// Compares the total of one of these names where the bill has it.
    fn agree(&self, names: &[&str], counted: Decimal) -> Result<(), Defect> {
        let Some((name, text)) =
            (self.totals.iter()).find(|(name, _)| names.contains(&name.as_str()))
        else {
            return Ok(());
        };
        let said = super::table::yuan(text).ok_or_else(|| {
            let found = format!("{text:?} is not a number");
            Defect::new(DefectCode::BadAmount, found)
                .line(self.totals_line)
                .column(name.as_str())
        })?;
        agree(name, said, counted, self.totals_line)
    }
}

pub(super) fn trade(text: &str) -> Result<Bill, Defect> {
    let parts = Parts::of(text, TRADE_TOTALS)?;
    let mut sums = [Decimal::ZERO; TRADE_SUMS.len()];
    let mut rows = Vec::with_capacity(parts.rows.len());
    let mut merchant = None;
    for (number, line) in &parts.rows {
        let row = parts.header.row(line, *number)?;
        for (sum, (_, columns, by_size)) in sums.iter_mut().zip(&TRADE_SUMS) {
            let amount = row.yuan(columns)?;
            add(sum, if *by_size { amount.abs() } else { amount }, *number)?;
        }
        if let Some(currency) = row.text(&["货币种类"]).filter(|text| *text != "CNY") {
            let found = format!("the order is in {currency:?}");
            return Err(row.defect(DefectCode::BadCode, found, &["货币种类"]));
        }
        let own = || row.text(&["商户号"]).map(str::to_owned);
        merchant = merchant.or_else(own);
        rows.push(trade_row(&row)?);
    }
    parts.agree(&[TRADE_TOTALS], Decimal::from(rows.len()))?;
    for (sum, (names, ..)) in sums.into_iter().zip(&TRADE_SUMS) {
        parts.agree(names, sum)?;
    }
    Ok(Bill {
        kind: Kind::WechatTrade,
        merchant,
        period: None,
        rows,
    })
}

fn trade_row(row: &Row<'_>) -> Result<BillRow, Defect> {
    let state = state(row)?;
    let gross = row.yuan(&["应结订单金额", "总金额"])?;
    if gross.is_sign_negative() && !gross.is_zero() {
        let found = format!("{gross} is negative");
        return Err(row.defect(DefectCode::BadAmount, found, &["应结订单金额"]));
    }
    let refund_ref = row.text(&["微信退款单号"]).filter(|text| *text != "0");
    // A bill of type REFUND keeps the time of the order beside that of the refund.
    let applied = row.text(&["退款申请时间"]).is_some();
    let time: &[&str] = if applied {
        &["退款申请时间"]
    } else {
        &["交易时间"]
    };
    Ok(BillRow {
        day: row.day(time)?,
        order: row.required(&["商户订单号"])?.to_owned(),
        channel_ref: row.required(&["微信订单号"])?.to_owned(),
        refund_ref: refund_ref.map(str::to_owned),
        gross,
        fee: row.yuan(&["手续费"])?,
        refund: row.yuan(&["退款金额"])?.abs(),
        state,
        line: row.line,
    })
}

fn state(row: &Row<'_>) -> Result<BillState, Defect> {
    let bad = |text: &str, names: &[&str]| {
        row.defect(
            DefectCode::BadCode,
            format!("{text:?} is no state of a bill"),
            names,
        )
    };
    match row.required(&["交易状态"])? {
        "SUCCESS" => Ok(BillState::Paid),
        "REVOKED" => Ok(BillState::Revoked),
        "REFUND" => match row.required(&["退款状态"])? {
            "SUCCESS" => Ok(BillState::Refunded),
            "PROCESSING" => Ok(BillState::RefundPending),
            "FAIL" | "CHANGE" => Ok(BillState::RefundFailed),
            other => Err(bad(other, &["退款状态"])),
        },
        other => Err(bad(other, &["交易状态"])),
    }
}

pub(super) fn fund(text: &str) -> Result<Fund, Defect> {
    let parts = Parts::of(text, FUND_TOTALS)?;
    let mut fund = Fund {
        account: None,
        period: None,
        entries: Vec::with_capacity(parts.rows.len()),
        balances: Vec::with_capacity(parts.rows.len()),
    };
    let mut counts = [0_u64; 2];
    let mut sums = [Decimal::ZERO; 2];
    for (number, line) in &parts.rows {
        let row = parts.header.row(line, *number)?;
        let amount = row.yuan(&["收支金额(元)"])?;
        let side = match row.required(&["收支类型"])? {
            "收入" => 0,
            "支出" => 1,
            other => {
                let found = format!("{other:?} is neither 收入 nor 支出");
                return Err(row.defect(DefectCode::BadCode, found, &["收支类型"]));
            }
        };
        if amount.is_sign_negative() && !amount.is_zero() {
            let found = format!("{amount} is negative");
            return Err(row.defect(DefectCode::BadAmount, found, &["收支金额(元)"]));
        }
        counts[side] += 1;
        add(&mut sums[side], amount, *number)?;
        row.required(&["账户结余(元)"])?;
        fund.balances.push(Some(row.yuan(&["账户结余(元)"])?));
        fund.entries
            .push(fund_entry(&row, if side == 0 { amount } else { -amount })?);
    }
    parts.agree(&[FUND_TOTALS], Decimal::from(fund.entries.len()))?;
    for (side, (number, sum)) in [("收入笔数", "收入金额"), ("支出笔数", "支出金额")]
        .into_iter()
        .enumerate()
    {
        parts.agree(&[number], Decimal::from(counts[side]))?;
        parts.agree(&[sum], sums[side])?;
    }
    Ok(fund)
}

fn fund_entry(row: &Row<'_>, amount: Decimal) -> Result<Entry, Defect> {
    let text = |name: &str| row.text(&[name]).map(str::to_owned);
    let memo = text("备注").unwrap_or_default();
    let code = text("业务类型").or_else(|| text("业务名称"));
    Ok(Entry {
        amount,
        currency: "CNY".to_owned(),
        booked_on: Some(row.day(&["记账时间"])?),
        customer_ref: text("业务凭证号").or_else(|| text("微信支付业务单号")),
        bank_ref: Some(row.required(&["资金流水单号"])?.to_owned()),
        reversal: Reversal::in_words(code.as_deref()),
        code,
        memo,
        line: row.line,
        ..Entry::default()
    })
}
