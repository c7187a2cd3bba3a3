//! Alipay: the trade bill (业务明细) and the account bill (账务明细, `signcustomer`), and the summary
//! that comes beside each in the archive.
//!
//! Lines that begin with `#` are preamble and trailer: `#账号：[…]`, the period, a line
//! `#…明细列表…` before the header, `#…列表结束` behind the rows, then the totals in words. Ids end in a
//! tab. A refund is a row with negative amounts; a service fee is negative where it is charged.

use rust_decimal::Decimal;

use super::super::amount::{cell_day, some_text};
use super::super::bank::profile::key;
use super::super::{Entry, Reversal};
use super::table::{Header, Row, add, agree, truncated, yuan};
use super::{Bill, BillRow, BillState, Fund, Kind};
use crate::base::{Day, Defect, DefectCode};

const RECEIVED: [&str; 2] = ["商家实收(元)", "订单金额(元)"];
const INCOME: [&str; 2] = ["收入金额(+元)", "收入(元)"];
const OUTGO: [&str; 2] = ["支出金额(-元)", "支出(元)"];

pub(super) fn recognises(head: &str) -> Option<Kind> {
    let marked = |list: &str| is_marked(head, list);
    if marked("业务明细列表") {
        Some(Kind::AlipayTrade)
    } else if marked("账务明细列表") {
        Some(Kind::AlipayAccount)
    } else {
        None
    }
}

pub(super) fn is_summary(head: &str) -> bool {
    is_marked(head, "业务汇总列表") || is_marked(head, "账务汇总列表")
}

/// Whether a list of that name begins in the text; a copy cut before its end still shows it.
fn is_marked(head: &str, list: &str) -> bool {
    let lines = head.lines().map(str::trim_start);
    lines
        .take_while(|line| line.starts_with('#') || line.is_empty())
        .any(|line| line.contains(list))
}

/// A file cut into preamble, header, rows and trailer.
struct Parts<'t> {
    account: Option<String>,
    period: Option<(Day, Day)>,
    header: Header,
    rows: Vec<(u64, &'t str)>,
    trailer: Vec<(u64, &'t str)>,
}

impl<'t> Parts<'t> {
    fn of(text: &'t str) -> Result<Parts<'t>, Defect> {
        let mut lines = (1_u64..)
            .zip(text.lines())
            .filter(|(_, line)| !line.trim().is_empty());
        let (mut account, mut period) = (None, None);
        let mut header = None;
        let mut last = 1;
        for (number, line) in lines.by_ref() {
            last = number;
            let Some(words) = line.trim_start().strip_prefix('#') else {
                header = Some(Header::new(line));
                break;
            };
            account = account.or_else(|| bracketed(words, &["账号", "账户"]).and_then(some_text));
            period = period.or_else(|| period_of(words));
        }
        let header = header.ok_or_else(|| truncated("the bill ends before its header", last))?;
        let mut rows = Vec::new();
        for (number, line) in lines.by_ref() {
            last = number;
            match line.trim_start().strip_prefix('#') {
                None => rows.push((number, line)),
                Some(words) if words.contains("列表结束") => {
                    let trailer: Vec<(u64, &str)> = lines.collect();
                    let stray = trailer
                        .iter()
                        .find(|(_, line)| !line.trim_start().starts_with('#'));
                    if let Some((number, _)) = stray {
                        let found = "rows follow the end of the list";
                        return Err(Defect::new(DefectCode::Malformed, found).line(*number));
                    }
                    return Ok(Parts {
                        account,
                        period,
                        header,
                        rows,
                        trailer,
                    });
                }
                Some(_) => {
                    let found = "a comment stands among the rows";
                    return Err(Defect::new(DefectCode::Malformed, found).line(number));
                }
            }
        }
        Err(truncated("the bill ends without its …列表结束", last))
    }

    /// The totals of a label such as 交易合计: figures by their words.
    fn totals(&self, label: &str) -> Result<Totals, Defect> {
        for (number, line) in &self.trailer {
            let words = line.trim_start().trim_start_matches('#');
            let Some((name, rest)) = words.split_once(['：', ':']) else {
                continue;
            };
            if name.trim() == label {
                return Totals::of(rest, *number);
            }
        }
        let ends = [self.rows.last(), self.trailer.last()];
        let last = (ends.into_iter().flatten())
            .map(|(number, _)| *number)
            .max();
        let last = last.unwrap_or(1);
        Err(truncated(
            &format!("the bill ends without its {label}"),
            last,
        ))
    }
}

/// `10374笔，商家实收共28790.16元，商家优惠共0.00元`.
struct Totals {
    count: Decimal,
    sums: Vec<(String, Decimal)>,
    line: u64,
}

impl Totals {
    fn of(text: &str, line: u64) -> Result<Totals, Defect> {
        let bad = || {
            let found = format!("{:?} is no total", text.trim());
            Defect::new(DefectCode::Malformed, found).line(line)
        };
        let mut totals = Totals {
            count: Decimal::ZERO,
            sums: Vec::new(),
            line,
        };
        let mut counted = false;
        for part in text.trim().split(['，', ',']) {
            let part = part.trim();
            if let Some(number) = part.strip_suffix('笔') {
                totals.count = yuan(number.trim()).ok_or_else(bad)?;
                counted = true;
            } else if let Some(part) = part.strip_suffix('元') {
                let figure = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
                let name = part.trim_end_matches(figure);
                let amount = yuan(&part[name.len()..]).ok_or_else(bad)?;
                totals
                    .sums
                    .push((name.trim_end_matches('共').trim().to_owned(), amount));
            }
        }
        if counted { Ok(totals) } else { Err(bad()) }
    }

    /// Compares the count and each sum whose words are known.
    fn agree(&self, label: &str, count: u64, sums: &[(&[&str], Decimal)]) -> Result<(), Defect> {
        agree(label, self.count, Decimal::from(count), self.line)?;
        for (names, counted) in sums {
            let said = self
                .sums
                .iter()
                .find(|(name, _)| names.contains(&name.as_str()));
            if let Some((name, said)) = said {
                agree(
                    &format!("{label} {name}"),
                    said.abs(),
                    counted.abs(),
                    self.line,
                )?;
            }
        }
        Ok(())
    }
}

/// The text in the brackets behind one of these words.
fn bracketed<'t>(words: &'t str, names: &[&str]) -> Option<&'t str> {
    let rest = names
        .iter()
        .find_map(|name| words.trim_start().strip_prefix(name))?;
    let inside = rest.split_once('[')?.1;
    inside.split_once(']').map(|(inside, _)| inside)
}

/// `起始日期：[2026年06月01日 00:00:00]   终止日期：[2026年06月02日 00:00:00]`. An end at midnight belongs
/// to the day before: the period is half open.
fn period_of(words: &str) -> Option<(Day, Day)> {
    let first = bracketed(words, &["起始日期", "起始时间"])?;
    let at = words.find("终止")?;
    let last = words[at..].split_once('[')?.1.split_once(']')?.0;
    let (from, to) = (cell_day(first)?, cell_day(last)?);
    let midnight = last.trim().ends_with("00:00:00");
    let to = if midnight && to > from {
        to.plus(-1)
    } else {
        to
    };
    (from <= to).then_some((from, to))
}

pub(super) fn trade(text: &str) -> Result<Bill, Defect> {
    let parts = Parts::of(text)?;
    let mut rows = Vec::with_capacity(parts.rows.len());
    // Per kind of row: paid and refunded.
    let mut counts = [0_u64; 2];
    let mut sums = [[Decimal::ZERO; 3]; 2];
    for (number, line) in &parts.rows {
        let row = parts.header.row(line, *number)?;
        let side = match row.required(&["业务类型"])? {
            "交易" => 0,
            "退款" => 1,
            other => {
                let found = format!("{other:?} is neither 交易 nor 退款");
                return Err(row.defect(DefectCode::BadCode, found, &["业务类型"]));
            }
        };
        counts[side] += 1;
        for (sum, names) in
            sums[side]
                .iter_mut()
                .zip([&RECEIVED[..], &["订单金额(元)"], &["商家优惠(元)"]])
        {
            add(sum, row.yuan(names)?, *number)?;
        }
        rows.push(trade_row(&row, side == 1)?);
    }
    for (side, label) in ["交易合计", "退款合计"].into_iter().enumerate() {
        let [received, ordered, discount] = sums[side];
        parts.totals(label)?.agree(
            label,
            counts[side],
            &[
                (&["商家实收", "商家实收退款"], received),
                (&["总金额", "退款"], ordered),
                (&["商家优惠", "商家优惠退款"], discount),
            ],
        )?;
    }
    Ok(Bill {
        kind: Kind::AlipayTrade,
        merchant: parts.account,
        period: parts.period,
        rows,
    })
}

fn trade_row(row: &Row<'_>, refunded: bool) -> Result<BillRow, Defect> {
    let amount = row.yuan(&RECEIVED)?;
    if amount.is_sign_negative() != refunded && !amount.is_zero() {
        let found = format!("{amount} has the wrong sign for its 业务类型");
        return Err(row.defect(DefectCode::BadAmount, found, &RECEIVED));
    }
    let time = ["完成时间", "创建时间"];
    let refund_ref = row.text(&["退款批次号/请求号", "退款批次号"]);
    Ok(BillRow {
        day: row.day(&time)?,
        order: row.required(&["商户订单号"])?.to_owned(),
        channel_ref: row.required(&["支付宝交易号"])?.to_owned(),
        refund_ref: refund_ref.filter(|_| refunded).map(str::to_owned),
        gross: if refunded { Decimal::ZERO } else { amount },
        fee: -row.yuan(&["服务费(元)"])?,
        refund: if refunded {
            amount.abs()
        } else {
            Decimal::ZERO
        },
        state: if refunded {
            BillState::Refunded
        } else {
            BillState::Paid
        },
        line: row.line,
    })
}

pub(super) fn account(text: &str) -> Result<Fund, Defect> {
    let parts = Parts::of(text)?;
    let mut fund = Fund {
        account: parts.account.clone(),
        period: parts.period,
        entries: Vec::with_capacity(parts.rows.len()),
        balances: Vec::with_capacity(parts.rows.len()),
    };
    let mut counts = [0_u64; 2];
    let mut sums = [Decimal::ZERO; 2];
    for (number, line) in &parts.rows {
        let row = parts.header.row(line, *number)?;
        let (income, outgo) = (row.yuan(&INCOME)?.abs(), row.yuan(&OUTGO)?.abs());
        if !income.is_zero() && !outgo.is_zero() {
            let found = "income and outgo are both filled";
            return Err(row.defect(DefectCode::BadAmount, found, &INCOME));
        }
        let side = usize::from(!outgo.is_zero());
        counts[side] += 1;
        add(&mut sums[side], income + outgo, *number)?;
        row.required(&["账户余额(元)"])?;
        fund.balances.push(Some(row.yuan(&["账户余额(元)"])?));
        fund.entries.push(account_entry(&row, income - outgo)?);
    }
    for (side, label) in ["收入合计", "支出合计"].into_iter().enumerate() {
        let said = parts.totals(label)?;
        said.agree(label, counts[side], &[(&["", "总金额"], sums[side])])?;
    }
    Ok(fund)
}

fn account_entry(row: &Row<'_>, amount: Decimal) -> Result<Entry, Defect> {
    let text = |name: &str| row.text(&[name]).map(str::to_owned);
    let code = text("业务类型");
    let memo = [text("商品名称"), text("备注")];
    Ok(Entry {
        amount,
        currency: "CNY".to_owned(),
        booked_on: Some(row.day(&["发生时间", "入账时间"])?),
        customer_ref: text("商户订单号").or_else(|| text("业务流水号")),
        bank_ref: Some(row.required(&["账务流水号"])?.to_owned()),
        reversal: Reversal::in_words(code.as_deref()),
        code,
        memo: memo.into_iter().flatten().collect::<Vec<_>>().join(" "),
        line: row.line,
        ..Entry::default()
    })
}

/// Compares the 合计 row of the summary with the rows of the trade bill.
pub(super) fn check_trade_summary(text: &str, rows: &[BillRow]) -> Result<(), Defect> {
    let paid = rows
        .iter()
        .filter(|row| row.state == BillState::Paid)
        .count();
    let refunded = rows.len() - paid;
    let mut net = Decimal::ZERO;
    let mut fees = Decimal::ZERO;
    for row in rows {
        add(&mut net, row.gross - row.refund, row.line)?;
        add(&mut fees, -row.fee, row.line)?;
    }
    check_summary(
        text,
        &[
            (&["交易订单总笔数"], Decimal::from(paid)),
            (&["退款订单总笔数"], Decimal::from(refunded)),
            (&["商家实收(元)"], net),
            (&["服务费(元)"], fees),
        ],
    )
}

/// Compares the 合计 row of the summary with the movements of the account bill.
pub(super) fn check_account_summary(text: &str, entries: &[Entry]) -> Result<(), Defect> {
    let mut counts = [0_u64; 2];
    let mut sums = [Decimal::ZERO; 2];
    for entry in entries {
        let side = usize::from(entry.amount.is_sign_negative() && !entry.amount.is_zero());
        counts[side] += 1;
        add(&mut sums[side], entry.amount.abs(), entry.line)?;
    }
    check_summary(
        text,
        &[
            (&["收入笔数"], Decimal::from(counts[0])),
            (&INCOME, sums[0]),
            (&["支出笔数"], Decimal::from(counts[1])),
            (&OUTGO, sums[1]),
        ],
    )
}

fn check_summary(text: &str, figures: &[(&[&str], Decimal)]) -> Result<(), Defect> {
    let parts = Parts::of(text)?;
    let total = parts.rows.iter().find(|(_, line)| {
        let first = line.split(',').next().map(key);
        first.as_deref() == Some("合计")
    });
    let Some((number, line)) = total else {
        return Err(truncated("the summary has no row 合计", 1));
    };
    let row = parts.header.row(line, *number)?;
    for (names, counted) in figures {
        if row.text(names).is_some() {
            agree(names[0], row.yuan(names)?.abs(), counted.abs(), *number)?;
        }
    }
    Ok(())
}
