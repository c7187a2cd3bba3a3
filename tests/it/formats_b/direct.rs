//! Replies of direct links: the proof of a page, chains of pages, settings, errors a bank reports.

use jintuo::base::{AmountUnit, DefectCode};
use jintuo::wire::direct::Bank;
use jintuo::wire::{Assumptions, Format, Verdict, join_pages, parse, parse_with, sniff, verify};

use super::{ends, fixture, one, pair};

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
        none.is_empty() && defects[0].found.contains("amount_unit"),
        "{defects:?}"
    );
    let with = |unit| {
        let settings = Assumptions {
            amount_unit: Some(unit),
            ..Assumptions::default()
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
    let settings = Assumptions {
        amount_unit: Some(AmountUnit::Fen),
        ..Assumptions::default()
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
