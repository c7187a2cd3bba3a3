//! Bills of payment channels, replies of direct links, archives, corrections and batches: what the
//! fixtures say, what must be refused, and that pieces of any size read alike in every format.

mod archives;
mod hostile;
mod pieces;

use std::path::Path;

use jintuo::base::DefectCode;
use jintuo::wire::bill::{self, Bill, BillState, Kind};
use jintuo::wire::direct::{AmountUnit, Bank, Settings};
use jintuo::wire::{
    Entry, Format, ReversalKind, Statement, Verdict, inspect, join_pages, parse, parse_with, sniff,
    verify,
};
use rust_decimal::Decimal;

/// Every format there is a parser for.
fn formats() -> Vec<Format> {
    let mut formats = vec![Format::Camt, Format::Mt940, Format::BankCsv, Format::Zip];
    formats.extend(Bank::ALL.map(Format::Direct));
    formats.extend(Kind::ALL.map(Format::Bill));
    formats
}

fn fixture(path: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wire");
    std::fs::read(root.join(path)).expect("a fixture is readable")
}

fn yuan(text: &str) -> Decimal {
    text.parse().expect("a decimal")
}

/// The one statement of a fixture and the codes of its remarks.
fn one(path: &str) -> (Statement, Vec<DefectCode>) {
    let bytes = fixture(path);
    let format = sniff(&bytes).expect("a known format");
    let (mut statements, defects) = parse(format, bytes.as_slice());
    assert_eq!(statements.len(), 1, "{path}: {defects:?}");
    let codes = defects.into_iter().map(|defect| defect.code).collect();
    (statements.remove(0), codes)
}

fn ends(statement: &Statement) -> Option<(String, String)> {
    let amount = |balance: &Option<jintuo::wire::Balance>| {
        balance
            .as_ref()
            .map(|balance| balance.amount.normalize().to_string())
    };
    amount(&statement.opening).zip(amount(&statement.closing))
}

fn pair(opening: &str, closing: &str) -> Option<(String, String)> {
    Some((opening.to_owned(), closing.to_owned()))
}

fn read_bill(path: &str) -> Result<Bill, DefectCode> {
    let bytes = fixture(path);
    let format = sniff(&bytes).expect("a known format");
    bill::read_bill(format, bytes.as_slice()).map_err(|defect| defect.code)
}

#[test]
fn every_new_format_is_told_from_its_bytes() {
    for (path, name) in [
        ("wechat/trade_all.csv", "wechat-trade"),
        ("wechat/trade_success_mangled_mark.csv", "wechat-trade"),
        ("wechat/fund.csv", "wechat-fund"),
        ("alipay/trade.csv", "alipay-trade"),
        ("alipay/account_newest_first.csv", "alipay-account"),
        ("alipay/trade_archive.zip", "zip"),
        ("direct/cmb_clouddc.reply", "direct:cmb-clouddc"),
        ("direct/cmb_sdk.xml", "direct:cmb-sdk"),
        ("direct/ccb_6wy101.xml", "direct:ccb-6wy101"),
        ("direct/icbc_qhisd.xml", "direct:icbc-qhisd"),
        (
            "direct/citic_dltrnall_newest_first.xml",
            "direct:citic-dltrnall",
        ),
        ("direct/cib_fox.xml", "direct:cib-fox"),
    ] {
        let found = sniff(&fixture(path)).map(Format::as_str);
        assert_eq!(found, Some(name), "{path}");
    }
    let inside = inspect("f", &fixture("alipay/account_archive.zip"));
    assert_eq!(inside[0].format.as_deref(), Some("alipay-account"));
    let office = [b"PK\x03\x04".as_slice(), &[0; 26], b"[Content_Types].xml"].concat();
    assert_eq!(
        sniff(&office),
        None,
        "an office file is no archive of bills"
    );
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

/// The kinds of the corrections among entries, and the originals they name.
fn marks(entries: &[Entry]) -> Vec<Option<(ReversalKind, Option<String>)>> {
    let mark = |entry: &Entry| entry.reversal.clone().map(|r| (r.kind, r.original));
    entries.iter().map(mark).collect()
}

#[test]
fn replies_of_direct_links_prove_their_page() {
    for (path, account, opening, closing) in [
        (
            "direct/cmb_clouddc.reply",
            Some("371000000000001"),
            "1000",
            "2400",
        ),
        ("direct/cmb_sdk.xml", None, "2972246.01", "2973575.11"),
        (
            "direct/ccb_6wy101.xml",
            Some("41000000000000000001"),
            "1000",
            "1500",
        ),
        (
            "direct/citic_dltrnall_newest_first.xml",
            Some("8111000000000000001"),
            "800",
            "1000",
        ),
        (
            "direct/cib_fox.xml",
            Some("117010100100000001"),
            "1000",
            "1480",
        ),
    ] {
        let (statement, remarks) = one(path);
        assert_eq!(
            ends(&statement),
            pair(opening, closing),
            "{path}: {remarks:?}"
        );
        assert_eq!(verify(&statement).0, Verdict::Balanced, "{path}");
        assert_eq!(statement.account.as_deref(), account, "{path}");
        // 中信 and the older 招商 replies name no currency.
        let names = !path.contains("citic") && !path.contains("cmb_sdk");
        assert_eq!(
            statement.currency.as_deref(),
            names.then_some("CNY"),
            "{path}"
        );
        let unnamed = if account.is_none() {
            vec![DefectCode::MissingValue]
        } else {
            vec![]
        };
        assert_eq!(remarks, unnamed, "{path}");
    }
}

#[test]
fn corrections_say_of_which_kind_they_are_and_what_they_correct() {
    use ReversalKind::{Returned, Reversed, Supplement};
    let of = |path: &str| marks(&one(path).0.entries);
    let plain = || None;
    assert_eq!(
        of("direct/cmb_clouddc.reply"),
        [
            plain(),
            plain(),
            Some((Reversed, None)),
            Some((Supplement, None))
        ]
    );
    assert_eq!(
        of("direct/cmb_sdk.xml"),
        [plain(), plain(), Some((Reversed, None))]
    );
    assert_eq!(
        of("direct/ccb_6wy101.xml"),
        [plain(), plain(), Some((Reversed, None))]
    );
    assert_eq!(
        of("direct/citic_dltrnall_newest_first.xml"),
        [
            Some((Returned, None)),
            plain(),
            Some((Reversed, Some("00000000000099".to_owned()))),
            plain()
        ]
    );
    assert_eq!(
        of("direct/cib_fox.xml"),
        [
            plain(),
            plain(),
            Some((Reversed, None)),
            Some((Supplement, None))
        ]
    );
    assert_eq!(
        of("camt/report_of_the_day.xml"),
        [
            plain(),
            plain(),
            plain(),
            plain(),
            Some((Reversed, Some("I-1".to_owned()))),
            Some((Returned, Some("REFUND-9".to_owned())))
        ]
    );
    assert_eq!(
        of("mt/mt942_floor_offset_expected.sta"),
        [
            plain(),
            plain(),
            Some((Reversed, Some("ORDER-1".to_owned()))),
            plain(),
            plain()
        ]
    );
}

#[test]
fn a_page_that_is_not_the_whole_answer_says_so_and_closes_no_day() {
    for path in [
        "direct/cmb_clouddc_goes_on.reply",
        "direct/ccb_6wy101_page_one_of_two.xml",
        "direct/citic_dltrnall_part.xml",
        "direct/cib_fox_more.xml",
    ] {
        let (statement, remarks) = one(path);
        assert_eq!(remarks, [DefectCode::Gap], "{path}");
        let days = jintuo::wire::daily_balances(&statement).map_err(|defect| defect.code);
        assert_eq!(days, Err(DefectCode::Gap), "{path}");
        let kind = statement.closing.expect("a balance").kind;
        assert_eq!(kind, "ITBD", "{path}");
    }
    let bytes = fixture("direct/ccb_6wy101_page_one_of_two.xml");
    let page = |page: &str, from: &str| {
        let text = encoding_rs::GB18030
            .decode(&bytes)
            .0
            .replace("<PAGE>1<", page);
        let text = text.replace("1,500.00</AMT1><FLAG1>1</FLAG1><ACCNO2>6200</ACCNO2><ACC_NAME1>示例家长镕</ACC_NAME1><FLAG2>0</FLAG2><TRAN_FLOW>T1", from);
        let text = text.replace("GB2312", "UTF-8");
        parse(Format::Direct(Bank::Ccb6wy101), text.as_bytes()).0
    };
    let own = "1,500.00</AMT1><FLAG1>1</FLAG1><ACCNO2>6200</ACCNO2><ACC_NAME1>示例家长镕</ACC_NAME1><FLAG2>0</FLAG2><TRAN_FLOW>T1";
    let mut pages = page("<PAGE>1<", own);
    let mut second = page("<PAGE>2<", own);
    // The second page begins where the first ended.
    second[0].opening.clone_from(&pages[0].closing);
    pages.append(&mut second);
    let joined = join_pages(pages);
    assert_eq!(joined.len(), 1);
    assert_eq!(joined[0].entries.len(), 6);
    assert_eq!(
        joined[0].closing.as_ref().map(|b| b.kind.as_str()),
        Some("running")
    );
}

#[test]
fn a_gap_in_the_banks_own_numbers_is_named() {
    let (statement, remarks) = one("direct/ccb_6wy101_number_missing.xml");
    assert_eq!(remarks, [DefectCode::Gap]);
    assert_eq!(verify(&statement).0, Verdict::Balanced);
}

#[test]
fn icbc_amounts_need_a_configured_unit() {
    let bytes = fixture("direct/icbc_qhisd.xml");
    let format = Format::Direct(Bank::IcbcQhisd);
    let (none, defects) = parse(format, bytes.as_slice());
    assert!(
        none.is_empty() && defects[0].found.contains("icbc_amount_unit"),
        "{defects:?}"
    );
    let with = |unit| {
        let settings = Settings {
            icbc_amount_unit: Some(unit),
        };
        let (statements, _) = parse_with(format, bytes.as_slice(), &settings);
        ends(&statements[0])
    };
    assert_eq!(with(AmountUnit::Fen), pair("1000", "1480"));
    assert_eq!(with(AmountUnit::Yuan), pair("100000", "148000"));
    let text = encoding_rs::GB18030
        .decode(&bytes)
        .0
        .replace("50000<", "500.00<")
        .replace("GBK", "UTF-8");
    let settings = Settings {
        icbc_amount_unit: Some(AmountUnit::Fen),
    };
    let (none, defects) = parse_with(format, text.as_bytes(), &settings);
    assert_eq!((none.len(), defects[0].code), (0, DefectCode::BadAmount));
}

#[test]
fn a_reply_that_reports_an_error_is_refused_with_the_banks_words() {
    for (path, from, to) in [
        ("direct/cmb_clouddc.reply", "SUC0000", "ERR0001"),
        ("direct/cmb_sdk.xml", "<RETCOD>0", "<RETCOD>-9"),
        ("direct/ccb_6wy101.xml", "000000", "0130Z1"),
        (
            "direct/citic_dltrnall_newest_first.xml",
            "AAAAAAA",
            "ED01016",
        ),
        ("direct/cib_fox.xml", "<CODE>0", "<CODE>4"),
    ] {
        let bytes = fixture(path);
        let format = sniff(&bytes).expect("a known format");
        let (text, _, _) = match std::str::from_utf8(&bytes) {
            Ok(_) => encoding_rs::UTF_8.decode(&bytes),
            Err(_) => encoding_rs::GB18030.decode(&bytes),
        };
        let text = text
            .replace(from, to)
            .replace("GBK", "UTF-8")
            .replace("GB2312", "UTF-8");
        let (none, defects) = parse(format, text.as_bytes());
        assert_eq!(
            (none.len(), defects[0].code),
            (0, DefectCode::Malformed),
            "{path}"
        );
        assert!(
            defects[0].found.starts_with("the bank answers"),
            "{path}: {defects:?}"
        );
    }
}

#[test]
fn payments_of_a_batch_explain_their_entry_and_make_no_money() {
    let (statement, remarks) = one("camt/notification_batches.xml");
    let amounts: Vec<_> = statement.entries.iter().map(|e| e.amount).collect();
    assert_eq!(amounts, [yuan("300.00"), yuan("260.00")]);
    assert_eq!(
        remarks,
        [DefectCode::DeclaredTotals],
        "the second batch gives 250"
    );
    let batch = &statement.entries[0];
    assert_eq!(
        (batch.counterparty.as_deref(), batch.customer_ref.as_deref()),
        (None, None)
    );
    let details: Vec<_> = (batch.details.iter())
        .map(|d| (d.amount, d.reference.as_deref(), d.counterparty.as_deref()))
        .collect();
    assert_eq!(
        details,
        [
            (Some(yuan("100.00")), Some("ORDER-1"), Some("示例甲")),
            (Some(yuan("200.00")), Some("ORDER-2"), Some("示例乙")),
        ]
    );
}

#[test]
fn what_is_pending_or_expected_never_counts() {
    let found = inspect("f", &fixture("camt/report_of_the_day.xml"));
    assert_eq!((found[0].entries, found[0].pending), (6, 3));
    let (report, remarks) = one("mt/mt942_floor_offset_expected.sta");
    assert_eq!(
        remarks,
        [],
        "declared totals may leave expected entries out"
    );
    let pending = |e: &&Entry| e.status == jintuo::wire::EntryStatus::Pending;
    assert_eq!(report.entries.iter().filter(pending).count(), 2);
    let day = "2026-06-05".parse().expect("a day");
    assert_eq!(
        (report.period, report.currency.as_deref()),
        (Some((day, day)), Some("CNY"))
    );
}
