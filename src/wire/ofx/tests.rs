//! Rules of single elements; whole files are fixtures.

use super::super::{Format, Verdict, parse, verify};
use super::*;

fn file(inside: &str) -> String {
    format!(
        "OFXHEADER:100\nDATA:OFXSGML\n\n<OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS><CURDEF>CNY\
         <BANKACCTFROM><BANKID>1<ACCTID>6217</BANKACCTFROM><BANKTRANLIST>{inside}</BANKTRANLIST>\
         <LEDGERBAL><BALAMT>9<DTASOF>20260605</LEDGERBAL></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>\n"
    )
}

fn entry(inside: &str) -> String {
    file(&format!("<STMTTRN>{inside}</STMTTRN>"))
}

fn read(text: &str) -> (Vec<Statement>, Vec<DefectCode>) {
    let (statements, defects) = parse(Format::Ofx, text.as_bytes());
    (statements, defects.into_iter().map(|d| d.code).collect())
}

fn refusal(text: &str) -> Option<DefectCode> {
    let (statements, defects) = read(text);
    defects.last().copied().filter(|_| statements.is_empty())
}

#[test]
fn amounts_with_a_comma_only_where_it_can_be_nothing_else() {
    let said = |text: &str| amount(text).map(|a| a.to_string());
    for (text, value) in [
        ("-6.60", "-6.60"),
        ("+00000000000115.8331", "115.8331"),
        ("12,34", "12.34"),
        ("-.5", "-0.5"),
        ("1,234.56", "1234.56"),
        ("1.234,56", "1234.56"),
        ("1234,5678", "1234.5678"),
    ] {
        assert_eq!(said(text).as_deref(), Some(value), "{text}");
    }
    for text in [
        "1,234", "1,2,3", "$120", "--5", "-+5", "1e3", "", "12.34.5", "1.23,45",
    ] {
        assert_eq!(said(text), None, "{text}");
    }
}

#[test]
fn the_day_is_the_banks_own_whatever_the_zone() {
    let said = |text: &str| day(text).map(|d| d.to_string());
    for text in [
        "20260605",
        "20260605235959",
        "20260605235959.999[+8:CST]",
        "20260605000001[-:EST]",
        "20260605120000[0:GMT]",
        "20260605120000.000[+5.30:IST]",
        "2026-06-05",
        "20260605093914:014",
    ] {
        assert_eq!(said(text).as_deref(), Some("2026-06-05"), "{text}");
    }
    for text in ["201120000000", "20260231", "2026", "", "20260605x\u{4f59}"] {
        assert_eq!(said(text), None, "{text}");
    }
}

#[test]
fn an_entry_without_amount_or_day_refuses_the_file() {
    let whole = "<TRNTYPE>DEP<DTPOSTED>20260604<TRNAMT>5<FITID>1";
    assert_eq!(refusal(&entry(whole)), None);
    for (inside, code) in [
        ("<TRNTYPE>DEP<TRNAMT>5", DefectCode::MissingValue),
        ("<DTPOSTED><TRNAMT>5", DefectCode::MissingValue),
        ("<DTPOSTED>20260604", DefectCode::MissingValue),
        ("<DTPOSTED>20260604<TRNAMT>1,234", DefectCode::BadAmount),
        (
            "<DTPOSTED>20260604<TRNAMT>5<TRNAMT>6",
            DefectCode::Malformed,
        ),
        ("<DTPOSTED>20260631<TRNAMT>5", DefectCode::BadDate),
    ] {
        assert_eq!(refusal(&entry(inside)), Some(code), "{inside}");
    }
}

#[test]
fn empty_leaves_and_closed_leaves_are_alike() {
    let open = entry("<TRNTYPE>DEP<DTPOSTED>20260604<TRNAMT>5<FITID>7<MEMO><NAME>某某");
    let closed = entry(
        "<TRNTYPE>DEP</TRNTYPE><DTPOSTED>20260604</DTPOSTED><TRNAMT>5</TRNAMT><FITID>7</FITID>\
         <MEMO/><NAME>某某</NAME>",
    );
    assert_eq!(read(&open), read(&closed));
    let found = &read(&open).0[0];
    assert_eq!(found.entries[0].counterparty.as_deref(), Some("某某"));
    assert_eq!(verify(found).0, Verdict::OneSided);
}

#[test]
fn an_aggregate_must_close() {
    let whole = entry("<DTPOSTED>20260604<TRNAMT>5");
    for (from, to, code) in [
        ("</STMTTRN>", "", DefectCode::Malformed),
        ("</OFX>", "", DefectCode::Truncated),
        ("</OFX>", "</OFX><OFX>", DefectCode::Malformed),
        ("</STMTRS>", "</STMTRS></STMTRS>", DefectCode::Malformed),
        ("<LEDGERBAL>", "<LEDGERBAL>text", DefectCode::Malformed),
        ("<STMTTRN>", "<STMTTRN><STMTTRN>", DefectCode::Malformed),
        ("<OFX>", "<!DOCTYPE OFX><OFX>", DefectCode::Forbidden),
        ("<OFX>", "<HTML><OFX>", DefectCode::Malformed),
    ] {
        assert_eq!(
            refusal(&whole.replacen(from, to, 1)),
            Some(code),
            "{from} → {to}"
        );
    }
    let deep = "<A>".repeat(200_000);
    assert_eq!(
        refusal(&whole.replace("<LEDGERBAL>", &deep)),
        Some(DefectCode::Forbidden)
    );
}

#[test]
fn a_correction_is_kept_marked_and_named() {
    let text = entry("<DTPOSTED>20260604<TRNAMT>5<FITID>8<CORRECTFITID>7<CORRECTACTION>REPLACE");
    let (statements, defects) = read(&text);
    assert!(statements[0].entries[0].reversal.is_some());
    assert_eq!(defects, [DefectCode::Conflict]);
}

#[test]
fn investments_and_errors_are_said_to_be_none() {
    let said = |text: &str| parse(Format::Ofx, text.as_bytes()).1.remove(0);
    let investment = "<OFX><INVSTMTMSGSRSV1><INVSTMTRS><STMTTRN></STMTTRN></INVSTMTRS>\
                      </INVSTMTMSGSRSV1></OFX>";
    assert_eq!(said(investment).code, DefectCode::UnknownFormat);
    let error = "<OFX><STMTTRNRS><STATUS><CODE>2000<SEVERITY>ERROR<MESSAGE>General</STATUS>\
                 </STMTTRNRS></OFX>";
    assert!(said(error).found.contains("2000 \"General\""));
    assert!(said("<OFX></OFX>").found.contains("no statement"));
}

#[test]
fn pending_and_foreign_entries_say_so() {
    let text = file(
        "<STMTTRNP><DTTRAN>20260604<TRNAMT>5</STMTTRNP>\
         <STMTTRN><DTPOSTED>20260604<TRNAMT>5<CURRENCY><CURRATE>1<CURSYM>usd</CURRENCY>\
         <PAYEE><NAME>n<CITY>c</PAYEE></STMTTRN>",
    );
    let entries = &read(&text).0[0].entries;
    assert_eq!(entries[0].status, EntryStatus::Pending);
    assert_eq!(
        (entries[0].currency.as_str(), entries[1].currency.as_str()),
        ("CNY", "USD")
    );
    assert_eq!(entries[1].counterparty.as_deref(), Some("n"));
}

#[test]
fn a_statement_is_as_old_as_its_answer() {
    let made = |stamp: &str| {
        let signed =
            format!("<OFX><SIGNONMSGSRSV1><SONRS><DTSERVER>{stamp}</SONRS></SIGNONMSGSRSV1>");
        let text =
            entry("<TRNTYPE>CREDIT<DTPOSTED>20260605<TRNAMT>9<FITID>1").replace("<OFX>", &signed);
        let (statements, _) = parse(Format::Ofx, text.as_bytes());
        statements[0].made_at.map(|at| at.to_rfc3339())
    };
    let utc = Some("2026-06-05T10:30:00+00:00".to_owned());
    assert_eq!(made("20260605103000"), utc);
    assert_eq!(made("20260605183000.000[+8:CST]"), utc);
    assert_eq!(made("20260605"), None, "a day is no instant");
}
