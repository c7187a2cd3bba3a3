//! Bills of payment channels: WeChat Pay and Alipay (`feeds.md` §1.5).
//!
//! Two kinds, which must not be taken for each other. A fund bill (微信资金账单, 支付宝账务明细) lists
//! the movements of the account the channel keeps, each with its balance: a [`Statement`] like a
//! bank's. A trade bill (交易账单, 业务明细) lists orders with gross, fee and refund; it has no
//! balance, so as a statement it proves nothing ([`super::Verdict::NoBalances`]), and its rows are
//! read as [`BillRow`]s, which a settlement groups to one credit of the custody account: one payment
//! shows as an order, as a bill row and, net of fees and lumped, as a bank entry.
//!
//! Invariants: columns are bound by name, never by place; a bill without its totals is truncated
//! and refused, one whose totals differ from its rows is refused; amounts are exact, and a fraction
//! of a fen is refused; who paid is not kept.
//! Absent on purpose: one row of money for both a refund and its order; each is a row.

mod alipay;
mod table;
mod wechat;

use std::io::BufRead;

use rust_decimal::Decimal;

use super::{Entry, EntryStatus, Format, Item, Sink, Statement, archive, decode, running};
use crate::base::{Day, Defect, DefectCode};

/// The bills that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 微信支付交易账单 of type ALL, SUCCESS or REFUND.
    WechatTrade,
    /// 微信支付资金账单.
    WechatFund,
    /// 支付宝业务明细 (`trade`).
    AlipayTrade,
    /// 支付宝账务明细 (`signcustomer`).
    AlipayAccount,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [
        Kind::WechatTrade,
        Kind::WechatFund,
        Kind::AlipayTrade,
        Kind::AlipayAccount,
    ];

    /// The format's name, `wechat-trade` …
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::WechatTrade => "wechat-trade",
            Kind::WechatFund => "wechat-fund",
            Kind::AlipayTrade => "alipay-trade",
            Kind::AlipayAccount => "alipay-account",
        }
    }
}

/// How far a row of a trade bill has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BillState {
    Paid,
    Refunded,
    /// A refund the channel has begun (`PROCESSING`). The row is never updated: the outcome shows in
    /// the fund bill.
    RefundPending,
    /// A refund that failed or has to be made another way (`FAIL`, `CHANGE`).
    RefundFailed,
    /// The order was taken back before it was settled (`REVOKED`).
    Revoked,
}

/// One row of a trade bill. Amounts are yuan, exact to the fen, never negative but for `fee`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillRow {
    /// The channel's local day of the payment or the refund.
    pub day: Day,
    /// The merchant's order number (商户订单号).
    pub order: String,
    /// The channel's number of the order (微信订单号, 支付宝交易号).
    pub channel_ref: String,
    /// The channel's number of the refund, on a row of one.
    pub refund_ref: Option<String>,
    /// What the merchant is owed for the order (应结订单金额, 商家实收) before the fee; zero on a
    /// refund row.
    pub gross: Decimal,
    /// What the channel keeps; negative where it gives a fee back.
    pub fee: Decimal,
    /// What goes back to the payer; zero on a payment row.
    pub refund: Decimal,
    pub state: BillState,
    /// Line within the file, counted from 1.
    pub line: u64,
}

impl BillRow {
    /// What the row adds to a settlement: gross − refund − fee, `None` past the range of a decimal.
    pub fn net(&self) -> Option<Decimal> {
        let paid = self.gross.checked_sub(self.refund)?;
        paid.checked_sub(self.fee)
    }
}

/// A trade bill whose totals agree with its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    pub kind: Kind,
    /// The merchant's number as the bill writes it, where it does.
    pub merchant: Option<String>,
    /// The days the bill covers, from its preamble or its rows.
    pub period: Option<(Day, Day)>,
    pub rows: Vec<BillRow>,
}

/// Reads a trade bill, alone or in its archive.
///
/// # Errors
/// The defect that refuses it: a fund bill or another format is `UNKNOWN_FORMAT`; a missing trailer
/// `TRUNCATED`; totals that differ `DECLARED_TOTALS`; and those of a row with its line.
pub fn read_bill(format: Format, reader: impl BufRead) -> Result<Bill, Defect> {
    match format {
        Format::Bill(kind) => trade_bill(kind, &decode::read_text(reader)?),
        Format::Zip => {
            let unpacked = archive::unpack(reader)?;
            let texts = archive::texts(unpacked)?;
            let bill = texts.iter().find_map(|text| match recognises(&text.text) {
                Some(kind @ (Kind::WechatTrade | Kind::AlipayTrade)) => Some((kind, text)),
                _ => None,
            });
            let (kind, text) = bill.ok_or_else(no_trade_bill)?;
            let bill = trade_bill(kind, &text.text)?;
            check_summaries(kind, &bill.rows, &texts)?;
            Ok(bill)
        }
        _ => Err(no_trade_bill()),
    }
}

fn no_trade_bill() -> Defect {
    let found = "the bytes are no trade bill of WeChat Pay or Alipay";
    Defect::new(DefectCode::UnknownFormat, found)
}

fn trade_bill(kind: Kind, text: &str) -> Result<Bill, Defect> {
    match kind {
        Kind::WechatTrade => wechat::trade(text),
        Kind::AlipayTrade => alipay::trade(text),
        Kind::WechatFund | Kind::AlipayAccount => Err(no_trade_bill()),
    }
}

/// The kind of bill a text begins.
pub(crate) fn recognises(head: &str) -> Option<Kind> {
    alipay::recognises(head).or_else(|| wechat::recognises(head))
}

/// Whether a text is the summary that comes beside an Alipay bill.
pub(crate) fn is_summary(head: &str) -> bool {
    alipay::is_summary(head)
}

/// Reads one bill as a statement.
///
/// # Errors
/// The defect that refuses it.
pub(crate) fn read(kind: Kind, text: &str, sink: &mut Sink<'_>) -> Result<(), Defect> {
    match kind {
        Kind::WechatTrade | Kind::AlipayTrade => push_trade(trade_bill(kind, text)?, sink),
        Kind::WechatFund => wechat::fund(text)?.push(kind, sink),
        Kind::AlipayAccount => alipay::account(text)?.push(kind, sink),
    }
    Ok(())
}

/// Reads an archive: the statements of its members in order, the summaries beside them compared.
///
/// # Errors
/// The defect that refuses it; members are all or nothing.
pub(crate) fn read_archive(reader: impl BufRead, sink: &mut Sink<'_>) -> Result<(), Defect> {
    let unpacked = archive::unpack(reader)?;
    let texts = archive::texts(unpacked)?;
    let mut read_any = false;
    for text in texts.iter().filter(|text| !is_summary(&text.text)) {
        let kind = recognises(&text.text).ok_or_else(|| {
            let found = format!("{:?} in the archive is no bill that is read", text.name);
            Defect::new(DefectCode::UnknownFormat, found)
        })?;
        let within = |defect: Defect| Defect {
            found: format!("{:?} in the archive: {}", text.name, defect.found),
            ..defect
        };
        match kind {
            Kind::WechatTrade | Kind::AlipayTrade => {
                let bill = trade_bill(kind, &text.text).map_err(within)?;
                check_summaries(kind, &bill.rows, &texts)?;
                push_trade(bill, sink);
            }
            Kind::WechatFund | Kind::AlipayAccount => {
                let fund = match kind {
                    Kind::WechatFund => wechat::fund(&text.text),
                    _ => alipay::account(&text.text),
                };
                let fund = fund.map_err(within)?;
                if kind == Kind::AlipayAccount {
                    for summary in texts.iter().filter(|text| is_summary(&text.text)) {
                        alipay::check_account_summary(&summary.text, &fund.entries)?;
                    }
                }
                fund.push(kind, sink);
            }
        }
        read_any = true;
    }
    match read_any {
        true => Ok(()),
        false => Err(Defect::new(
            DefectCode::UnknownFormat,
            "the archive holds no bill",
        )),
    }
}

fn check_summaries(kind: Kind, rows: &[BillRow], texts: &[archive::Text]) -> Result<(), Defect> {
    if kind != Kind::AlipayTrade {
        return Ok(());
    }
    for summary in texts.iter().filter(|text| is_summary(&text.text)) {
        alipay::check_trade_summary(&summary.text, rows)?;
    }
    Ok(())
}

/// A fund bill as read: movements of one account with the balance behind each.
struct Fund {
    account: Option<String>,
    period: Option<(Day, Day)>,
    entries: Vec<Entry>,
    balances: Vec<Option<Decimal>>,
}

impl Fund {
    fn push(self, kind: Kind, sink: &mut Sink<'_>) {
        let mut head = Statement {
            format: kind.as_str().to_owned(),
            account: self.account,
            currency: Some("CNY".to_owned()),
            period: self.period,
            ..Statement::default()
        };
        let remark = running::settle(&mut head, &self.entries, &self.balances, "balance");
        sink(Item::Open(head.clone()));
        remark
            .into_iter()
            .for_each(|defect| sink(Item::Defect(defect)));
        let entries = self.entries.into_iter();
        entries.for_each(|entry| sink(Item::Entry(entry)));
        sink(Item::Close(head));
    }
}

/// A trade bill as a statement without balances: it can be looked at and cannot pass as an account.
fn push_trade(bill: Bill, sink: &mut Sink<'_>) {
    let days = bill.rows.iter().map(|row| row.day);
    let head = Statement {
        format: bill.kind.as_str().to_owned(),
        account: bill.merchant,
        currency: Some("CNY".to_owned()),
        period: bill.period.or_else(|| days.clone().min().zip(days.max())),
        ..Statement::default()
    };
    sink(Item::Open(head.clone()));
    for row in bill.rows {
        sink(Item::Entry(Entry {
            status: match row.state {
                BillState::Paid | BillState::Refunded | BillState::Revoked => EntryStatus::Booked,
                BillState::RefundPending | BillState::RefundFailed => EntryStatus::Pending,
            },
            amount: row.gross - row.refund,
            currency: "CNY".to_owned(),
            booked_on: Some(row.day),
            customer_ref: Some(row.order),
            bank_ref: Some(row.refund_ref.unwrap_or(row.channel_ref)),
            code: Some(format!("{:?}", row.state)),
            line: row.line,
            ..Entry::default()
        }));
    }
    sink(Item::Close(head));
}
