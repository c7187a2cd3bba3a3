//! Bills of payment channels, replies of direct links, archives, corrections and batches: what the
//! fixtures say, what must be refused, and that pieces of any size read alike in every format.

mod archives;
mod bills;
mod direct;
mod hostile;
mod pieces;

use std::path::Path;

use jintuo::base::DefectCode;
use jintuo::wire::bill::Kind;
use jintuo::wire::direct::Bank;
use jintuo::wire::{Entry, Format, ReversalKind, Statement, inspect, parse, sniff};
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

/// The kinds of the corrections among entries, and the originals they name.
fn marks(entries: &[Entry]) -> Vec<Option<(ReversalKind, Option<String>)>> {
    let mark = |entry: &Entry| entry.reversal.clone().map(|r| (r.kind, r.original));
    entries.iter().map(mark).collect()
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
