//! Bills of WeChat Pay and Alipay: fees and refunds of orders, movements of accounts, totals and ends.

use jintuo::base::DefectCode;
use jintuo::wire::bill::{self, Bill, BillState, Kind};
use jintuo::wire::{Format, Verdict, inspect, parse, sniff, verify};
use rust_decimal::Decimal;

use super::{ends, fixture, one, pair, yuan};

fn read_bill(path: &str) -> Result<Bill, DefectCode> {
    let bytes = fixture(path);
    let format = sniff(&bytes).expect("a known format");
    bill::read_bill(format, bytes.as_slice()).map_err(|defect| defect.code)
}

#[test]
fn a_trade_bill_keeps_gross_fee_and_refund_and_proves_nothing() {
    let bill = read_bill("wechat/trade_all.csv").expect("a bill");
    let rows: Vec<_> = (bill.rows.iter())
        .map(|row| {
            (
                row.order.as_str(),
                row.gross,
                row.fee,
                row.refund,
                row.state,
            )
        })
        .collect();
    let zero = Decimal::ZERO;
    assert_eq!(
        rows,
        [
            (
                "ORDER-1",
                yuan("1298.33"),
                yuan("7.79"),
                zero,
                BillState::Paid
            ),
            ("ORDER-2", yuan("200"), yuan("1.2"), zero, BillState::Paid),
            (
                "ORDER-2",
                zero,
                yuan("-0.3"),
                yuan("50"),
                BillState::Refunded
            ),
            ("ORDER-1", zero, zero, yuan("100"), BillState::RefundPending),
        ]
    );
    assert_eq!(bill.rows[2].net(), Some(yuan("-49.70")));
    assert_eq!(bill.merchant.as_deref(), Some("1900000001"));
    let (statement, _) = one("wechat/trade_all.csv");
    assert_eq!(verify(&statement).0, Verdict::NoBalances);
    assert!(jintuo::wire::daily_balances(&statement).is_err());
    let amounts: Vec<_> = statement.entries.iter().map(|e| e.amount).collect();
    assert_eq!(amounts, ["1298.33", "200", "-50", "-100"].map(yuan));
}

#[test]
fn columns_are_bound_by_name_whatever_the_set() {
    let success = read_bill("wechat/trade_success_mangled_mark.csv").expect("a bill");
    assert_eq!(
        (success.rows.len(), success.rows[0].gross),
        (1, yuan("0.01"))
    );
    let refund = read_bill("wechat/trade_refund.csv").expect("a bill");
    assert_eq!(
        refund.rows[0].day.to_string(),
        "2026-06-05",
        "the refund's day, not the order's"
    );
    assert_eq!(refund.rows[0].refund, yuan("20"));
    let older = read_bill("wechat/trade_older_columns.csv").expect("a bill");
    assert_eq!(
        (older.rows[0].gross, older.rows[0].fee),
        (yuan("88"), yuan("0.53"))
    );
}

#[test]
fn a_bill_without_its_end_or_with_other_totals_is_refused() {
    for (path, code) in [
        ("wechat/trade_cut_before_totals.csv", DefectCode::Truncated),
        ("wechat/trade_totals_differ.csv", DefectCode::DeclaredTotals),
        ("wechat/fund_row_lost.csv", DefectCode::DeclaredTotals),
        ("alipay/trade_no_trailer.csv", DefectCode::Truncated),
        ("alipay/trade_totals_differ.csv", DefectCode::DeclaredTotals),
        (
            "alipay/trade_summary_differs.zip",
            DefectCode::DeclaredTotals,
        ),
        ("alipay/account_no_totals.csv", DefectCode::Truncated),
    ] {
        let found = inspect("f", &fixture(path));
        assert_eq!(found[0].verdict, Verdict::Refused, "{path}");
        assert_eq!(
            found[0].defects[0].code, code,
            "{path}: {:?}",
            found[0].defects
        );
    }
}

#[test]
fn a_bill_cut_anywhere_is_refused() {
    for path in [
        "wechat/trade_all.csv",
        "wechat/fund.csv",
        "alipay/trade.csv",
        "alipay/trade_archive.zip",
    ] {
        let bytes = fixture(path);
        let format = sniff(&bytes).expect("a known format");
        // The last line may lose its end, and Alipay's time of export is no part of the bill.
        let text = String::from_utf8_lossy(&bytes).trim_end().len();
        let end = if path == "alipay/trade.csv" {
            bytes.len() * 9 / 10
        } else {
            text.min(bytes.len())
        };
        for cut in 0..end.saturating_sub(8) {
            let (statements, _) = parse(format, &bytes[..cut]);
            assert!(statements.is_empty(), "{path} cut at {cut}");
        }
    }
}

#[test]
fn fund_bills_prove_an_account_from_the_balance_of_each_row() {
    let (wechat, remarks) = one("wechat/fund.csv");
    assert_eq!((ends(&wechat), remarks), (pair("1000", "240.84"), vec![]));
    assert_eq!(verify(&wechat).0, Verdict::Balanced);
    let (alipay, remarks) = one("alipay/account_newest_first.csv");
    assert_eq!((ends(&alipay), remarks), (pair("998.8", "1318.58"), vec![]));
    assert_eq!(alipay.account.as_deref(), Some("20880000000000010156"));
    let days = jintuo::wire::daily_balances(&alipay).expect("balanced");
    assert_eq!(
        days.len(),
        1,
        "an end at midnight is no further day: {days:?}"
    );
    let (archive, _) = one("alipay/account_archive.zip");
    assert_eq!(archive.entries, alipay.entries);
    let (broken, remarks) = one("wechat/fund_links_broken.csv");
    assert_eq!(
        (ends(&broken), remarks),
        (None, vec![DefectCode::OutOfOrder])
    );
}

#[test]
fn an_alipay_refund_is_a_negative_row_with_its_number() {
    for path in ["alipay/trade.csv", "alipay/trade_archive.zip"] {
        let bill = read_bill(path).expect("a bill");
        let row = &bill.rows[2];
        assert_eq!(
            (row.refund, row.fee, row.gross),
            (yuan("100"), yuan("-0.6"), Decimal::ZERO)
        );
        assert_eq!(row.refund_ref.as_deref(), Some("B20260605"));
        assert_eq!(
            row.channel_ref, "2026060522001",
            "the tab behind an id is no part of it"
        );
        let net: Decimal = bill.rows.iter().filter_map(bill::BillRow::net).sum();
        assert_eq!(net, yuan("318.58"), "the summary's 实收净额");
    }
    assert_eq!(
        read_bill("alipay/account_archive.zip"),
        Err(DefectCode::UnknownFormat)
    );
    assert_eq!(read_bill("wechat/fund.csv"), Err(DefectCode::UnknownFormat));
}

#[test]
fn a_fraction_of_a_fen_is_refused_and_zeros_are_not() {
    let bytes = fixture("wechat/trade_all.csv");
    let text = String::from_utf8(bytes).expect("UTF-8");
    let exact = text
        .replace("`7.79000", "`7.79500")
        .replace("`8.69000", "`8.69500");
    let format = Format::Bill(Kind::WechatTrade);
    let refusal = bill::read_bill(format, exact.as_bytes()).map_err(|d| (d.code, d.place.line));
    assert_eq!(refusal, Err((DefectCode::BadAmount, Some(2))));
}
