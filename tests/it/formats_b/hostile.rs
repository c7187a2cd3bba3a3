//! Hostile XML and JSON: every format of that kind refuses it, with the code of its reason.

use jintuo::base::{AmountUnit, DefectCode};
use jintuo::wire::direct::Bank;
use jintuo::wire::{Assumptions, Format, parse, parse_with};

/// An XML format, and a head that leads into the middle of a document of it.
fn heads() -> [(Format, &'static str, &'static str); 6] {
    let camt =
        "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\"><BkToCstmrStmt><Stmt>";
    [
        (Format::Camt, camt, "</Stmt></BkToCstmrStmt></Document>"),
        (
            Format::Direct(Bank::CmbSdk),
            "<CMBSDKPGK><INFO>",
            "</INFO></CMBSDKPGK>",
        ),
        (
            Format::Direct(Bank::Ccb6wy101),
            "<TX><TX_INFO>",
            "</TX_INFO></TX>",
        ),
        (
            Format::Direct(Bank::CiticDltrnall),
            "<stream><list>",
            "</list></stream>",
        ),
        (Format::Direct(Bank::CibFox), "<FOX><A>", "</A></FOX>"),
        (Format::Direct(Bank::IcbcQhisd), "<CMS><eb>", "</eb></CMS>"),
    ]
}

fn refusal(format: Format, text: &str) -> Option<DefectCode> {
    // With a unit, so that ICBC replies are read too.
    let settings = Assumptions {
        amount_unit: Some(AmountUnit::Yuan),
        ..Assumptions::default()
    };
    let (statements, defects) = parse_with(format, text.as_bytes(), &settings);
    assert!(
        statements.is_empty(),
        "{format:?} reads {} bytes",
        text.len()
    );
    defects.last().map(|defect| defect.code)
}

#[test]
fn every_xml_format_refuses_what_xml_can_do() {
    let bomb = "<!DOCTYPE D [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]>";
    let external = "<!DOCTYPE D [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>";
    let deep = "<a>".repeat(200_000);
    let long = "x".repeat(2_000_000);
    let flood: String = (0..100).map(|at| format!(" a{at}=\"1\"")).collect();
    for (format, head, tail) in heads() {
        for (text, code) in [
            (format!("{bomb}{head}&b;{tail}"), DefectCode::Forbidden),
            (format!("{external}{head}&x;{tail}"), DefectCode::Forbidden),
            (format!("{head}&x;{tail}"), DefectCode::Forbidden),
            (format!("{head}{deep}"), DefectCode::Forbidden),
            (format!("{head}<a{flood}/>{tail}"), DefectCode::Forbidden),
            (format!("{head}<a>{long}</a>{tail}"), DefectCode::TooLarge),
            (format!("{head}<a"), DefectCode::Truncated),
            (head.to_owned(), DefectCode::Truncated),
            (format!("{head}<a></b>{tail}"), DefectCode::Malformed),
        ] {
            assert_eq!(
                refusal(format, &text),
                Some(code),
                "{format:?} {}",
                &text[..40]
            );
        }
    }
}

/// A whole document with something behind it is refused even where the document alone is read.
#[test]
fn nothing_may_follow_a_document() {
    for path in ["camt/two_pages.xml", "direct/cib_fox.xml"] {
        let bytes = super::fixture(path);
        let format = jintuo::wire::sniff(&bytes).expect("a known format");
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert!(!parse(format, text.as_bytes()).0.is_empty(), "{path}");
        for more in ["x", "<a/>", "<?xml version='1.0'?><a/>"] {
            let code = refusal(format, &format!("{text}{more}"));
            assert_eq!(code, Some(DefectCode::Malformed), "{path} {more}");
        }
    }
}

#[test]
fn rows_cannot_say_two_things_or_fill_the_memory() {
    let head =
        "<TX><RETURN_CODE>000000</RETURN_CODE><TX_INFO><PAGE>1</PAGE><TOTAL_PAGE>1</TOTAL_PAGE>";
    let format = Format::Direct(Bank::Ccb6wy101);
    let twice = format!("{head}<DETAILINFO><AMT>1</AMT><AMT>2</AMT></DETAILINFO></TX_INFO></TX>");
    assert_eq!(refusal(format, &twice), Some(DefectCode::Malformed));
    let wide: String = (0..300).map(|at| format!("<f{at}>1</f{at}>")).collect();
    let wide = format!("{head}<DETAILINFO>{wide}</DETAILINFO></TX_INFO></TX>");
    assert_eq!(refusal(format, &wide), Some(DefectCode::TooLarge));
    let many = format!("{head}{}", "<DETAILINFO/>".repeat(250_000));
    assert_eq!(refusal(format, &many), Some(DefectCode::TooLarge));
    let fat = format!("<f>{}</f>", "x".repeat(60_000));
    let fat = format!(
        "{head}{}",
        format!("<DETAILINFO>{fat}</DETAILINFO>").repeat(600)
    );
    assert_eq!(refusal(format, &fat), Some(DefectCode::TooLarge));
}

#[test]
fn json_is_bounded_and_its_numbers_exact() {
    let format = Format::Direct(Bank::CmbCloudDc);
    let reply = |rows: &str| {
        format!(
            "{{\"response\":{{\"head\":{{\"resultcode\":\"SUC0000\"}},\"body\":{{\
             \"TRANSQUERYBYBREAKPOINT_Z1\":[{{\"ctnFlag\":\"N\"}}],\
             \"TRANSQUERYBYBREAKPOINT_Z2\":[{rows}]}}}}}}"
        )
    };
    let row = |amount: &str| {
        format!(
            "{{\"transDate\":\"20260605\",\"loanCode\":\"C\",\"transAmount\":{amount},\
             \"acctOnlineBal\":\"10.00\",\"currencyNbr\":10}}"
        )
    };
    let amount = |text: &str| {
        let (statements, _) = parse(format, reply(&row(text)).as_bytes());
        statements[0].entries[0].amount.to_string()
    };
    assert_eq!([amount("\"5.10\""), amount("5.1")], ["5.10", "5.1"]);
    let lossy = reply(&row("12345678901234567.89"));
    assert_eq!(refusal(format, &lossy), Some(DefectCode::BadAmount));
    assert_eq!(
        refusal(format, &"[".repeat(200_000)),
        Some(DefectCode::Malformed)
    );
    let whole = reply(&row("5"));
    assert_eq!(
        refusal(format, &whole[..whole.len() - 3]),
        Some(DefectCode::Truncated)
    );
    assert_eq!(
        refusal(format, &format!("{whole}x")),
        Some(DefectCode::Malformed)
    );
    let unsaid = whole.replace("\"ctnFlag\":\"N\"", "\"a\":\"N\"");
    assert_eq!(refusal(format, &unsaid), Some(DefectCode::Truncated));
}
