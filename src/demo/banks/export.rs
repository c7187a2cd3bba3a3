//! A bank's own CSV export, GB18030 with CR LF: one file an account and day.
//!
//! A preamble names the account, the currency and the day; a day without movement has no rows and
//! states 期初余额 and 期末余额 instead. 流水号 is the reference that matching needs.

use encoding_rs::GB18030;

use crate::demo::books::{Label, Statement, Yuan};

/// The header line of the rows.
pub(in crate::demo) const HEADER: &str = "交易日期,收入,支出,余额,对方户名,摘要,流水号";

/// The bytes of one account's file. With `spoilt`, the last running balance is a yuan off, so that
/// the file does not tie.
pub(in crate::demo) fn file(statement: &Statement<'_>, spoilt: bool) -> Vec<u8> {
    // GB18030 maps all of Unicode, so nothing is replaced.
    GB18030.encode(&text(statement, spoilt)).0.into_owned()
}

fn text(statement: &Statement<'_>, spoilt: bool) -> String {
    let day = statement.day;
    let mut lines = vec![
        format!("账号,{}", statement.book.account_id),
        format!("户名,{}", statement.book.holder),
        "币种,人民币".to_owned(),
        format!("起始日期,{day}"),
        format!("截止日期,{day}"),
    ];
    if statement.entries.is_empty() {
        lines.push(format!("期初余额,{}", Yuan(statement.opening, '.')));
        lines.push(format!("期末余额,{}", Yuan(statement.closing, '.')));
    }
    lines.push(HEADER.to_owned());
    let mut balance = statement.opening;
    for (n, entry) in statement.entries.iter().enumerate() {
        balance += entry.amount;
        let off = if spoilt && n + 1 == statement.entries.len() {
            100
        } else {
            0
        };
        let (money_in, money_out) = match entry.amount {
            0.. => (Yuan(entry.amount, '.').to_string(), String::new()),
            _ => (String::new(), Yuan(-entry.amount, '.').to_string()),
        };
        lines.push(format!(
            "{day},{money_in},{money_out},{},{},{},{}",
            Yuan(balance + off, '.'),
            entry.counterparty(),
            summary(entry.label, entry.memo),
            entry.reference
        ));
    }
    lines.join("\r\n") + "\r\n"
}

fn summary(label: Label, memo: &str) -> &'static str {
    match (label, memo) {
        (Label::Settlement, "POS") => "POS收单结算",
        (Label::Settlement, _) => "扫码收单结算",
        (Label::Transfer, "WECHAT") => "微信学费",
        (Label::Transfer, "ALIPAY") => "支付宝学费",
        (Label::Transfer, _) => "转账学费",
        (Label::Debit, "RELEASE") => "消课拨付",
        (Label::Debit, "REFUND") => "退费",
        (Label::Debit, _) => "转账支出",
    }
}
