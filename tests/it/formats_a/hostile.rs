//! Files made to hurt: each is refused in bounded time and memory, with a defect that names the place
//! or the limit.

use std::io::{BufReader, Read};

use jintuo::base::{Defect, DefectCode};
use jintuo::wire::{
    Format, Item, SHEET_MAX_BYTES, TEXT_MAX_BYTES, Verdict, inspect, sniff, stream,
};
use proptest::prelude::*;

use super::books::{CCB, biff, container, parts, record, xls, xlsx, zipped};
use crate::wire::assert_same_in_pieces;

const OFX: &str = "OFXHEADER:100\nDATA:OFXSGML\nCHARSET:936\n\n<OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS>\
    <CURDEF>CNY<BANKACCTFROM><BANKID>1<ACCTID>6217</BANKACCTFROM><BANKTRANLIST><STMTTRN>\
    <TRNTYPE>DEP<DTPOSTED>20260604[+8:CST]<TRNAMT>5.00<FITID>1<MEMO>学费 &amp; 书</STMTTRN>\
    </BANKTRANLIST><LEDGERBAL><BALAMT>9<DTASOF>20260605</LEDGERBAL></STMTRS></STMTTRNRS>\
    </BANKMSGSRSV1></OFX>\n";

fn refusal(bytes: &[u8]) -> Defect {
    let mut found = inspect("f", bytes);
    assert_eq!((found.len(), found[0].verdict), (1, Verdict::Refused));
    found[0].defects.pop().expect("a refusal has a defect")
}

#[test]
fn texts_without_end() {
    let long = "x".repeat(3_000_000);
    for (name, text, code, limit) in [
        (
            "endless text",
            OFX.replace("<MEMO>", &format!("<MEMO>{long}")),
            DefectCode::TooLarge,
            "TOKEN_MAX_BYTES",
        ),
        (
            "endless tag",
            OFX.replace("<MEMO>", &format!("<MEMO{long}")),
            DefectCode::TooLarge,
            "TOKEN_MAX_BYTES",
        ),
        (
            "depth",
            OFX.replace("<MEMO>", &"<A>".repeat(200_000)),
            DefectCode::Forbidden,
            "DEPTH_MAX",
        ),
        (
            "columns",
            format!("日期,金额\n{}", ",".repeat(1_000_000)),
            DefectCode::TooLarge,
            "LINE_MAX_BYTES",
        ),
        (
            "columns below the line's limit",
            format!("日期,金额\n2026-06-04,5{}\n", ",".repeat(60_000)),
            DefectCode::TooLarge,
            "COLUMNS_MAX",
        ),
        (
            "columns before the header",
            format!("{}\n日期,金额\n", ",".repeat(60_000)),
            DefectCode::TooLarge,
            "COLUMNS_MAX",
        ),
        (
            "nested HTML",
            format!(
                "<table><tr><td>日期<td>金额<tr><td>{}",
                "<div>".repeat(200_000)
            ),
            DefectCode::Forbidden,
            "DEPTH_MAX",
        ),
        (
            "nested tables",
            format!(
                "<table><tr><td>日期<td>金额</tr>{}",
                "<table>".repeat(200_000)
            ),
            DefectCode::Forbidden,
            "DEPTH_MAX",
        ),
        (
            "columns in HTML",
            format!(
                "<table><tr><td>日期<td>金额<tr>{}",
                "<td>".repeat(1_000_000)
            ),
            DefectCode::TooLarge,
            "COLUMNS_MAX",
        ),
        (
            "endless cell in HTML",
            format!("<table><tr><td>日期<td>金额<tr><td>{long}"),
            DefectCode::TooLarge,
            "TOKEN_MAX_BYTES",
        ),
    ] {
        let defect = refusal(&encoding_rs::GB18030.encode(&text).0);
        assert_eq!(defect.code, code, "{name}: {defect}");
        assert!(defect.found.contains(limit), "{name}: {defect}");
        assert!(defect.place.line.is_some(), "{name}: {defect}");
    }
}

/// Counts what is read of an endless source.
struct Endless<'h> {
    head: &'h [u8],
    read: u64,
}

impl Read for Endless<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = if self.head.is_empty() {
            into.fill(0);
            into.len()
        } else {
            self.head.read(into)?
        };
        self.read += length as u64;
        Ok(length)
    }
}

/// What a sparse file of any size looks like to a reader.
#[test]
fn reading_stops_at_the_limit() {
    for (format, head, limit) in [
        (Format::Ofx, OFX.as_bytes(), TEXT_MAX_BYTES),
        (Format::BankCsv, "日期,金额\n".as_bytes(), TEXT_MAX_BYTES),
        (Format::BankXls, b"\xd0\xcf\x11\xe0", SHEET_MAX_BYTES),
        (Format::BankXlsx, b"PK\x03\x04", SHEET_MAX_BYTES),
    ] {
        let mut source = Endless { head, read: 0 };
        let mut last = None;
        stream(format, BufReader::new(&mut source), &mut |item| {
            last = Some(item)
        });
        let Some(Item::Refused(defect)) = last else {
            panic!("{format:?} is not refused");
        };
        assert_eq!(defect.code, DefectCode::TooLarge, "{defect}");
        assert!(
            source.read <= limit + 64 * 1024,
            "{format:?} read {}",
            source.read
        );
    }
}

/// A workbook whose sheet begins with white space of a length.
fn bomb(bytes: usize) -> Vec<u8> {
    let mut parts = parts(&[("s", false, CCB)]);
    let sheet = parts.last_mut().expect("a sheet");
    sheet.1 = " ".repeat(bytes) + &sheet.1;
    zipped(&parts)
}

#[test]
fn a_zip_bomb_is_stopped_by_its_ratio() {
    let bytes = bomb(40_000_000);
    assert!(bytes.len() < 200_000, "{} bytes", bytes.len());
    let defect = refusal(&bytes);
    assert_eq!(defect.code, DefectCode::TooLarge, "{defect}");
    assert!(
        defect.found.contains("RATIO_MAX") && defect.found.contains("sheet1.xml"),
        "{defect}"
    );
}

#[test]
fn a_lying_header_is_refused_where_the_lie_shows() {
    let mut bytes = bomb(3_000_000);
    let real =
        u32::try_from(parts(&[("s", false, CCB)]).last().expect("it fits").1.len() + 3_000_000)
            .expect("it fits");
    // Both headers of the part say 100 bytes.
    let real = real.to_le_bytes();
    let places: Vec<usize> = (0..bytes.len() - 4)
        .filter(|at| bytes[*at..*at + 4] == real)
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + 4].copy_from_slice(&100_u32.to_le_bytes());
    }
    let defect = refusal(&bytes);
    assert_eq!(defect.code, DefectCode::Malformed, "{defect}");
    assert!(
        defect.found.contains("sheet1.xml") && defect.found.contains("declared"),
        "{defect}"
    );
}

#[test]
fn workbooks_that_announce_too_much() {
    let with = |name: &str, text: String| {
        let mut parts = parts(&[("s", false, CCB)]);
        parts.retain(|(other, _)| other != name);
        parts.push((name.to_owned(), text));
        zipped(&parts)
    };
    let rows = |row: &str| format!("<worksheet><sheetData>{row}</sheetData></worksheet>");
    let sheet = "xl/worksheets/sheet1.xml";
    let shared = "xl/sharedStrings.xml";
    for (name, bytes, limit) in [
        (
            "strings",
            with(
                shared,
                "<sst uniqueCount = \"99999999999\"><si><t>a</t></si></sst>".into(),
            ),
            "STRINGS_MAX",
        ),
        (
            "styles",
            with(
                "xl/styles.xml",
                format!("<styleSheet>{}</styleSheet>", "<xf/>\n".repeat(600_000)),
            ),
            "OTHER_PART_MAX_BYTES",
        ),
        (
            "a far cell",
            with(sheet, rows("<row r=\"1\"><c r=\"XFD1\"><v>1</v></c></row>")),
            "COLUMNS_MAX",
        ),
        (
            "a long string",
            with(
                sheet,
                rows(&format!(
                    "<row r=\"1\"><c r=\"A1\" t=\"str\"><v>{}</v></c></row>",
                    "x".repeat(70_000)
                )),
            ),
            "TOKEN_MAX_BYTES",
        ),
    ] {
        let defect = refusal(&bytes);
        assert_eq!(defect.code, DefectCode::TooLarge, "{name}: {defect}");
        assert!(defect.found.contains(limit), "{name}: {defect}");
    }
    let many: Vec<(String, String)> = parts(&[("s", false, CCB)])
        .into_iter()
        .chain((0..1_000).map(|at| (format!("xl/x{at}.xml"), String::new())))
        .collect();
    assert!(refusal(&zipped(&many)).found.contains("PARTS_MAX"));
    let utf16 = with(
        shared,
        "<?xml version=\"1.0\" encoding=\"utf-16\"?><sst/>".into(),
    );
    assert_eq!(refusal(&utf16).code, DefectCode::BadEncoding);
}

#[test]
fn old_workbooks_that_run_in_circles() {
    let good = xls(CCB);
    let at = |bytes: &mut Vec<u8>, place: usize, word: u32| {
        bytes[place..place + 4].copy_from_slice(&word.to_le_bytes());
    };
    // The directory's sector is the one behind the table; its link is the table's second word.
    let cases: [(&str, usize, u32); 6] = [
        ("the directory links to itself", 512 + 4, 1),
        ("the stream links to itself", 512 + 8, 2),
        ("a link leaves the table", 512 + 8, 0x00FF_FFFF),
        ("the list of tables links to itself", 68, 3),
        ("the directory lies behind the end", 48, 0x0000_FFFF),
        ("the sector size is unknown", 30, 0x0006_0005),
    ];
    for (name, place, word) in cases {
        let mut bytes = good.clone();
        at(&mut bytes, place, word);
        assert_eq!(refusal(&bytes).code, DefectCode::Malformed, "{name}");
    }
    let end = |stream: &[u8], extra: Vec<u8>| {
        let body = stream.len() - 4;
        container(&[&stream[..body], &extra, &stream[body..]].concat())
    };
    let stream = biff(CCB);
    let size = |bottom: u32, right: u16| {
        let columns = [0, right, 0].map(u16::to_le_bytes).concat();
        record(
            0x0200,
            &[&0_u32.to_le_bytes()[..], &bottom.to_le_bytes(), &columns].concat(),
        )
    };
    let far = [0xFFFF_u16, 0xFF, 0].map(u16::to_le_bytes).concat();
    let far = record(0x027E, &[&far[..], &2_u32.to_le_bytes()].concat());
    for (name, extra, limit) in [
        ("announced area", size(0xFFFF_FFFF, 256), "CELLS_MAX"),
        ("used area", far, "CELLS_MAX"),
        (
            "formulas",
            record(0x0006, &[0; 8_000]).repeat(140),
            "FORMULAS_MAX_BYTES",
        ),
    ] {
        let defect = refusal(&end(&stream, extra));
        assert_eq!(defect.code, DefectCode::TooLarge, "{name}: {defect}");
        assert!(defect.found.contains(limit), "{name}: {defect}");
    }
    for (name, extra, code) in [
        (
            "a cell without a place",
            record(0x027E, &[1]),
            DefectCode::Malformed,
        ),
        (
            "a number without its bytes",
            record(0x0203, &[1, 0, 1, 0]),
            DefectCode::Malformed,
        ),
        (
            "a sheet upside down",
            record(0x0200, &[9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
            DefectCode::Malformed,
        ),
    ] {
        assert_eq!(refusal(&end(&stream, extra)).code, code, "{name}");
    }
    let mut password = record(0x0809, &[0, 6, 5, 0, 0, 0, 0, 0]);
    password.extend(record(0x002F, &[1, 0]));
    assert_eq!(refusal(&container(&password)).code, DefectCode::Forbidden);
    let old = record(0x0809, &[0, 5, 5, 0, 0, 0, 0, 0]);
    assert_eq!(refusal(&container(&old)).code, DefectCode::UnknownFormat);
}

#[test]
fn one_string_in_many_cells_is_counted_in_each() {
    let text = "x".repeat(30_000);
    let mut data = [1_u32, 1].map(u32::to_le_bytes).concat();
    data.extend(30_000_u16.to_le_bytes());
    // The string goes on in a second record behind a byte that says how wide it is.
    data.push(0);
    data.extend(&text.as_bytes()[..8_000]);
    let mut strings = record(0x00FC, &data);
    for part in text.as_bytes()[8_000..].chunks(8_000) {
        strings.extend(record(0x003C, &[&[0], part].concat()));
    }
    let cell = |row: u16| record(0x00FD, &[row, 0, 0, 0, 0].map(u16::to_le_bytes).concat());
    let begin = record(0x0809, &[0, 6, 5, 0, 0, 0, 0, 0]);
    let end = record(0x000A, &[]);
    let start = begin.len() + strings.len() + 13 + end.len();
    let mut bound = u32::try_from(start)
        .expect("it fits")
        .to_le_bytes()
        .to_vec();
    bound.extend([0, 0, 1, 0, b's']);
    let globals = [begin.clone(), strings, record(0x0085, &bound), end.clone()].concat();
    assert_eq!(globals.len(), start);
    let cells: Vec<u8> = (0..5_000).flat_map(cell).collect();
    let defect = refusal(&container(&[globals, begin, cells, end].concat()));
    assert_eq!(defect.code, DefectCode::TooLarge, "{defect}");
    assert!(defect.found.contains("CELL_TEXT_MAX_BYTES"), "{defect}");
}

#[test]
fn a_file_cut_anywhere_never_panics() {
    let ofx = encoding_rs::GB18030.encode(OFX).0.into_owned();
    for bytes in [xlsx(CCB), ofx] {
        for cut in 0..bytes.len() - 1 {
            let found = inspect("f", &bytes[..cut]);
            assert_eq!(found[0].verdict, Verdict::Refused, "cut at {cut}");
        }
    }
    let bytes = xls(CCB);
    for cut in (0..bytes.len()).step_by(7) {
        assert!(!inspect("f", &bytes[..cut]).is_empty());
    }
}

/// Texts made of the formats' own pieces.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let tokens: Vec<&'static str> = vec![
        "OFXHEADER:100\nENCODING:USASCII\nCHARSET:936\n\n",
        "<?xml version=\"1.0\"?>",
        "<?OFX OFXHEADER=\"200\"?>",
        "<OFX>",
        "</OFX>",
        "<STMTRS>",
        "</STMTRS>",
        "<CCSTMTRS>",
        "<BANKTRANLIST>",
        "</BANKTRANLIST>",
        "<STMTTRN>",
        "</STMTTRN>",
        "<TRNAMT>-1.50",
        "<DTPOSTED>20260604[-5:EST]",
        "<FITID>1",
        "<MEMO>",
        "</MEMO>",
        "<LEDGERBAL>",
        "<BALAMT>2",
        "</LEDGERBAL>",
        "&amp;",
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
        "<",
        ">",
        "/",
        "余",
        "\n",
        "<table>",
        "</table>",
        "<tr>",
        "<td>",
        "日期",
        "金额",
        "2026-06-04",
        "5",
        "<style>",
        "</style>",
        "<td colspan=3>",
        "<br/>",
    ];
    let token = prop_oneof![
        8 => prop::sample::select(tokens).prop_map(|t| t.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn pieces_of_any_size_give_the_same_items(bytes in pieces()) {
        sniff(&bytes);
        for format in [Format::Ofx, Format::BankXls, Format::BankXlsx] {
            assert_same_in_pieces(format, &bytes);
        }
    }

    /// Workbooks with a few bytes changed: whatever the guards let through, nothing panics.
    #[test]
    fn damaged_workbooks_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        old in any::<bool>(),
    ) {
        let mut bytes = if old { xls(CCB) } else { xlsx(CCB) };
        for (place, byte) in changes {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert!(!inspect("f", &bytes).is_empty());
    }

    #[test]
    fn written_workbooks_and_ofx_read_back(amounts in prop::collection::vec(1_i64..99_999_999, 1..20)) {
        let mut text = OFX[..OFX.find("<STMTTRN>").expect("there")].to_owned();
        for (at, amount) in amounts.iter().enumerate() {
            let amount = rust_decimal::Decimal::new(*amount, 2);
            text += &format!("<STMTTRN><DTPOSTED>20260604<TRNAMT>-{amount}<FITID>{at}</STMTTRN>");
        }
        text += &OFX[OFX.find("</BANKTRANLIST>").expect("there")..];
        let found = inspect("f", &encoding_rs::GB18030.encode(&text).0);
        let sum = rust_decimal::Decimal::new(amounts.iter().sum(), 2);
        prop_assert_eq!(&found[0].debits, &sum.to_string());
        prop_assert_eq!(found[0].entries, amounts.len() as u64);
        prop_assert_eq!(found[0].verdict, Verdict::OneSided);
    }
}
