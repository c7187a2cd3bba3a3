//! Workbooks written cell by cell, and what is read of them.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};

use jintuo::base::DefectCode;
use jintuo::wire::{Format, Inspection, Verdict, inspect, parse, sniff};

use crate::wire::assert_same_in_pieces;

/// A cell to write.
#[derive(Clone, Copy)]
pub(super) enum Write {
    Text(&'static str),
    /// A number as the file holds it.
    Number(&'static str),
    /// A number shown as a date.
    Date(u32),
    /// A formula with the value stored beside it.
    Formula(&'static str, &'static str),
    /// A formula that failed, `#REF!`.
    Failed,
    Nothing,
}

use Write::{Date, Failed, Formula, Nothing, Number, Text};

type Rows<'r> = &'r [&'r [Write]];

const CONTENT: &str = "<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\">\
    <Default Extension=\"xml\" ContentType=\"application/xml\"/></Types>";
const RELATIONS: &str = "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">\
    <Relationship Id=\"rId1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>";
const STYLES: &str = "<styleSheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\">\
    <cellXfs count=\"2\"><xf numFmtId=\"0\"/><xf numFmtId=\"14\"/></cellXfs></styleSheet>";

/// The parts of a workbook with its sheets, each with its name and whether it is hidden.
pub(super) fn parts(sheets: &[(&str, bool, Rows<'_>)]) -> Vec<(String, String)> {
    let mut strings = String::new();
    let (mut book, mut links, mut count) = (String::new(), String::new(), 0);
    let mut parts = Vec::new();
    for (at, (name, hidden, rows)) in (1..).zip(sheets) {
        let state = if *hidden { " state=\"hidden\"" } else { "" };
        write!(
            book,
            "<sheet name=\"{name}\" sheetId=\"{at}\"{state} r:id=\"rId{at}\"/>"
        )
        .expect("a string");
        write!(
            links,
            "<Relationship Id=\"rId{at}\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet\" Target=\"worksheets/sheet{at}.xml\"/>"
        )
        .expect("a string");
        let mut xml = String::from(
            "<worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"><sheetData>",
        );
        for (line, row) in (1..).zip(*rows) {
            write!(xml, "<row r=\"{line}\">").expect("a string");
            for (column, cell) in ('A'..).zip(*row) {
                let place = format!("{column}{line}");
                match cell {
                    Text(text) => {
                        write!(strings, "<si><t>{text}</t></si>").expect("a string");
                        write!(xml, "<c r=\"{place}\" t=\"s\"><v>{count}</v></c>")
                            .expect("a string");
                        count += 1;
                    }
                    Number(number) => {
                        write!(xml, "<c r=\"{place}\"><v>{number}</v></c>").expect("a string")
                    }
                    Date(days) => {
                        write!(xml, "<c r=\"{place}\" s=\"1\"><v>{days}</v></c>").expect("a string")
                    }
                    Formula(formula, value) => {
                        write!(xml, "<c r=\"{place}\"><f>{formula}</f><v>{value}</v></c>")
                            .expect("a string");
                    }
                    Failed => {
                        write!(xml, "<c r=\"{place}\" t=\"e\"><v>#REF!</v></c>").expect("a string");
                    }
                    Nothing => {}
                }
            }
            xml.push_str("</row>");
        }
        xml.push_str("</sheetData></worksheet>");
        parts.push((format!("xl/worksheets/sheet{at}.xml"), xml));
    }
    let main = "xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\" \
                xmlns:r=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships\"";
    let named = |name: &str, text: String| (name.to_owned(), text);
    let links =
        "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">"
            .to_owned()
            + &links
            + "</Relationships>";
    let mut all = vec![
        named("[Content_Types].xml", CONTENT.to_owned()),
        named("_rels/.rels", RELATIONS.to_owned()),
        named(
            "xl/workbook.xml",
            format!("<workbook {main}><sheets>{book}</sheets></workbook>"),
        ),
        named("xl/_rels/workbook.xml.rels", links),
        named("xl/styles.xml", STYLES.to_owned()),
        named(
            "xl/sharedStrings.xml",
            format!("<sst {main} count=\"{count}\" uniqueCount=\"{count}\">{strings}</sst>"),
        ),
    ];
    all.append(&mut parts);
    all
}

pub(super) fn zipped(parts: &[(String, String)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in parts {
        zip.start_file(name, zip::write::SimpleFileOptions::default())
            .expect("it fits");
        zip.write_all(text.as_bytes()).expect("it fits");
    }
    zip.finish().expect("it fits").into_inner()
}

/// An `.xlsx` of one sheet.
pub(super) fn xlsx(rows: Rows<'_>) -> Vec<u8> {
    zipped(&parts(&[("Sheet1", false, rows)]))
}

/// A BIFF8 `.xls` of one sheet; numbers are whole or have two decimals.
pub(super) fn xls(rows: Rows<'_>) -> Vec<u8> {
    container(&biff(rows))
}

pub(super) fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("it fits");
    [&kind.to_le_bytes()[..], &length.to_le_bytes(), data].concat()
}

/// The workbook stream: globals and one sheet.
pub(super) fn biff(rows: Rows<'_>) -> Vec<u8> {
    let begin = |kind: u16| {
        let words = [0x0600, kind, 0, 0, 0, 0, 6, 0];
        record(0x0809, &words.map(u16::to_le_bytes).concat())
    };
    let mut sheet = begin(0x0010);
    for (line, row) in (0_u16..).zip(rows) {
        for (column, cell) in (0_u16..).zip(*row) {
            let style = u16::from(matches!(cell, Date(_)));
            let place = [line, column, style].map(u16::to_le_bytes).concat();
            let short = |number: i32, hundredths: bool| {
                let rk = number << 2 | 2 | i32::from(hundredths);
                record(0x027E, &[&place[..], &rk.to_le_bytes()].concat())
            };
            sheet.extend(match cell {
                Text(text) => {
                    let units: Vec<u16> = text.encode_utf16().collect();
                    let length = u16::try_from(units.len()).expect("it fits").to_le_bytes();
                    let text: Vec<u8> = units.into_iter().flat_map(u16::to_le_bytes).collect();
                    record(0x0204, &[&place[..], &length, &[1], &text].concat())
                }
                Number(number) | Formula(_, number) => match number.split_once('.') {
                    Some(_) => short(number.replace('.', "").parse().expect("it fits"), true),
                    None => match number.parse::<i32>() {
                        Ok(number) if number < 1 << 28 => short(number, false),
                        _ => {
                            // The bits of a whole number as a double.
                            let whole: u64 = number.parse().expect("it fits");
                            let exponent = 63 - whole.leading_zeros();
                            let fraction = whole << (63 - exponent) << 1 >> 12;
                            let bits = u64::from(exponent + 1023) << 52 | fraction;
                            record(0x0203, &[&place[..], &bits.to_le_bytes()].concat())
                        }
                    },
                },
                Date(days) => short(i32::try_from(*days).expect("it fits"), false),
                Failed => record(0x0205, &[&place[..], &[0x17, 1]].concat()),
                Nothing => Vec::new(),
            });
        }
    }
    sheet.extend(record(0x000A, &[]));
    let style = |format: u16| {
        let mut data = [0_u8; 20];
        data[2..4].copy_from_slice(&format.to_le_bytes());
        record(0x00E0, &data)
    };
    let mut globals = [begin(0x0005), style(0), style(14)].concat();
    let name = b"s";
    let end = record(0x000A, &[]);
    let start = globals.len() + 4 + 8 + name.len() + end.len();
    let mut bound = u32::try_from(start)
        .expect("it fits")
        .to_le_bytes()
        .to_vec();
    bound.extend([0, 0, 1, 0]);
    bound.extend(name);
    globals.extend(record(0x0085, &bound));
    globals.extend(end);
    assert_eq!(globals.len(), start);
    [globals, sheet].concat()
}

/// An OLE2 container with the workbook as its one stream.
pub(super) fn container(stream: &[u8]) -> Vec<u8> {
    let mut stream = stream.to_vec();
    stream.resize(stream.len().max(4096), 0);
    let sectors = stream.len().div_ceil(512);
    let end = 0xFFFF_FFFE_u32;
    let tables = (sectors + 2).div_ceil(127);
    let mut header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec();
    header.resize(512, 0xFF);
    header[8..76].fill(0);
    header[26..34].copy_from_slice(&[3, 0, 0xFE, 0xFF, 9, 0, 6, 0]);
    let word = |n: usize| u32::try_from(n).expect("it fits").to_le_bytes();
    header[44..48].copy_from_slice(&word(tables));
    header[48..52].copy_from_slice(&word(tables));
    header[56..60].copy_from_slice(&word(4096));
    header[60..64].copy_from_slice(&end.to_le_bytes());
    header[68..72].copy_from_slice(&end.to_le_bytes());
    for table in 0..tables {
        header[76 + table * 4..80 + table * 4].copy_from_slice(&word(table));
    }
    let mut links: Vec<u32> = vec![0xFFFF_FFFD; tables];
    links.push(end);
    for sector in 0..sectors {
        let next = u32::try_from(tables + 2 + sector).expect("it fits");
        links.push(if sector + 1 == sectors { end } else { next });
    }
    links.resize(tables * 128, 0xFFFF_FFFF);
    let entry = |name: &str, kind: u8, start: usize, length: usize| {
        let mut entry = vec![0; 128];
        for (at, unit) in name.encode_utf16().enumerate() {
            entry[at * 2..at * 2 + 2].copy_from_slice(&unit.to_le_bytes());
        }
        entry[64] = u8::try_from(name.len() * 2 + 2).expect("it fits");
        (entry[66], entry[67]) = (kind, 1);
        entry[68..80].fill(0xFF);
        entry[116..120].copy_from_slice(&word(start));
        entry[120..124].copy_from_slice(&word(length));
        entry
    };
    let mut directory = entry("Root Entry", 5, 0, 0);
    directory[116..120].copy_from_slice(&end.to_le_bytes());
    directory.extend(entry("Workbook", 2, tables + 1, stream.len()));
    directory.resize(512, 0);
    let table: Vec<u8> = links.into_iter().flat_map(u32::to_le_bytes).collect();
    stream.resize(sectors * 512, 0);
    [header, table, directory, stream].concat()
}

/// A CCB export as a workbook: preamble, header, rows oldest first, footer.
pub(super) const CCB: Rows<'static> = &[
    &[Text("中国建设银行账户明细")],
    &[Text("账　　号：6217000010001234567")],
    &[
        Text("记账日"),
        Text("交易日期"),
        Text("支出"),
        Text("收入"),
        Text("账户余额"),
        Text("币种"),
        Text("摘要"),
        Text("对方账号"),
        Text("对方户名"),
        Text("交易流水号"),
    ],
    &[
        Text("20260604"),
        Text("20260604"),
        Nothing,
        Number("1200.50"),
        Number("2200.50"),
        Text("人民币"),
        Text("学费"),
        Text("6217000010007654321"),
        Text("张三"),
        Text("000123"),
    ],
    &[
        Date(46178),
        Text("20260605"),
        Number("200"),
        Nothing,
        Formula("E4-C5", "2000.50"),
        Text("人民币"),
        Text("退费"),
        Nothing,
        Text("李四"),
        Text("000124"),
    ],
    &[Text("以上数据仅供参考")],
];

pub(super) fn figures(found: &Inspection) -> [Option<&str>; 5] {
    [
        found.account.as_deref(),
        found.opening.as_deref(),
        found.closing.as_deref(),
        Some(&found.credits),
        Some(&found.debits),
    ]
}

#[test]
fn both_kinds_of_workbook_give_the_same_statement() {
    for (bytes, format) in [(xlsx(CCB), "bank-xlsx:ccb"), (xls(CCB), "bank-xls:ccb")] {
        let found = &inspect("f", &bytes)[0];
        assert_eq!(found.format.as_deref(), Some(format), "{:?}", found.defects);
        assert_eq!(
            figures(found),
            [
                Some("6217000010001234567"),
                Some("1000.0"),
                Some("2000.5"),
                Some("1200.5"),
                Some("200")
            ]
        );
        assert_eq!((found.verdict, found.defects.len()), (Verdict::Balanced, 0));
        let format = sniff(&bytes).expect("a format");
        let (statements, _) = parse(format, bytes.as_slice());
        let entries = &statements[0].entries;
        let lines: Vec<u64> = entries.iter().map(|e| e.line).collect();
        assert_eq!(lines, [4, 5], "rows are numbered as the sheet numbers them");
        assert_eq!(
            entries[1].booked_on.map(|d| d.to_string()).as_deref(),
            Some("2026-06-05")
        );
        assert_eq!(entries[0].bank_ref.as_deref(), Some("000123"));
        assert_same_in_pieces(format, &bytes);
    }
}

#[test]
fn an_html_table_called_xls_gives_the_same_statement() {
    let mut html = String::from("<html><head><meta charset=gb2312></head><body><table border=1>\n");
    for row in CCB {
        html.push_str("<tr>");
        for cell in *row {
            let text = match cell {
                Text(text) | Number(text) | Formula(_, text) => text,
                Date(_) => "2026/06/05",
                Failed => "#REF!",
                Nothing => "&nbsp;",
            };
            write!(html, "<td style='mso-number-format:\"\\@\"'>{text}").expect("a string");
        }
        html.push('\n');
    }
    html.push_str("</table></body></html>");
    let bytes = encoding_rs::GB18030.encode(&html).0.into_owned();
    assert_eq!(sniff(&bytes), Some(Format::BankXls));
    let found = &inspect("f", &bytes)[0];
    assert_eq!(
        found.format.as_deref(),
        Some("bank-xls:ccb"),
        "{:?}",
        found.defects
    );
    assert_eq!((found.entries, found.verdict), (2, Verdict::Balanced));
    assert_eq!(found.opening.as_deref(), Some("1000.00"));
    assert_same_in_pieces(Format::BankXls, &bytes);
    let cut = inspect("f", &bytes[..bytes.len() - "</table></body></html>".len()]);
    assert_eq!(cut[0].defects[0].code, DefectCode::Truncated);
}

#[test]
fn a_text_called_xls_is_read_as_what_it_is() {
    let text = "=\"账号\"\t=\"6217000010001234567\"\n=\"交易日期\"\t=\"收入\"\t支出\t余额\t流水号\n\
                =\"20260604\"\t5.00\t\t15.00\t=\"0001\"\n=\"20260605\"\t\t1.00\t14.00\t=\"0002\"\n";
    let bytes = encoding_rs::GB18030.encode(text).0.into_owned();
    let found = &inspect("f.xls", &bytes)[0];
    assert_eq!(found.format.as_deref(), Some("bank-csv:generic"));
    assert_eq!(
        figures(found),
        [
            Some("6217000010001234567"),
            Some("10.00"),
            Some("14.00"),
            Some("5.00"),
            Some("1.00")
        ]
    );
}

#[test]
fn numbers_that_have_lost_digits_never_pass_for_accounts() {
    let header: &[Write] = &[
        Text("交易日期"),
        Text("账号"),
        Text("金额"),
        Text("流水号"),
        Text("摘要"),
    ];
    let refusal = |rows: Rows<'_>| -> Vec<(DefectCode, Option<u64>)> {
        let all = [xlsx(rows), xls(rows)].map(|bytes| inspect("f", &bytes).remove(0));
        all.iter()
            .flat_map(|found| found.defects.last().map(|d| (d.code, d.place.line)))
            .filter(|(code, _)| *code != DefectCode::NoBalances)
            .collect()
    };
    let long = Number("6217000010001234567");
    let fits = Number("621700001000123");
    let text = Text("6217000010001234567");
    let row = |account, reference, memo| [Text("20260604"), account, Number("5"), reference, memo];
    assert_eq!(refusal(&[header, &row(fits, text, Nothing)]), []);
    let twice = |line| vec![(DefectCode::BadId, Some(line)); 2];
    assert_eq!(refusal(&[header, &row(long, text, Nothing)]), twice(2));
    assert_eq!(refusal(&[header, &row(text, long, Nothing)]), twice(2));
    let preamble: &[Write] = &[Text("账号"), long];
    assert_eq!(
        refusal(&[preamble, header, &row(Nothing, text, Nothing)]),
        twice(1)
    );
    // Elsewhere the cell is left out with a remark, never shown rounded.
    let found = inspect("f", &xlsx(&[header, &row(text, text, long)])).remove(0);
    assert_eq!(
        (found.entries, found.defects[0].code),
        (1, DefectCode::NoBalances)
    );
    assert!(found.defects.iter().any(|d| d.code == DefectCode::BadId));
    let csv = "交易日期,账号,金额\n20260604,6.21700001E+18,5\n";
    assert_eq!(
        inspect("f", csv.as_bytes())[0].defects[0].code,
        DefectCode::BadId
    );
}

#[test]
fn sheets_are_read_one_by_one_and_hidden_ones_left_alone() {
    let account = |text| {
        vec![
            vec![Text("账号"), Text(text)],
            vec![Text("日期"), Text("金额")],
            vec![Text("2026-06-04"), Number("5")],
        ]
    };
    let (one, two, hidden) = (account("1"), account("2"), account("3"));
    let rows = |sheet: &'static Vec<Vec<Write>>| -> Vec<&'static [Write]> {
        sheet.iter().map(Vec::as_slice).collect()
    };
    let leaked = [one, two, hidden].map(|sheet| rows(Box::leak(Box::new(sheet))));
    let notes: Rows<'_> = &[&[Text("说明")]];
    let bytes = zipped(&parts(&[
        ("一", false, &leaked[0]),
        ("二", false, &leaked[1]),
        ("三", true, &leaked[2]),
        ("说明", false, notes),
    ]));
    let found = inspect("f", &bytes);
    let accounts: Vec<_> = found.iter().filter_map(|i| i.account.as_deref()).collect();
    assert_eq!(accounts, ["1", "2"]);
}

#[test]
fn numbers_are_what_a_spreadsheet_shows() {
    let rows = |amount| -> Vec<u8> {
        xlsx(&[
            &[Text("日期"), Text("金额")],
            &[Text("2026-06-04"), Number(amount)],
        ])
    };
    let credits = |amount| inspect("f", &rows(amount))[0].credits.clone();
    assert_eq!(credits("0.30000000000000004"), "0.3");
    assert_eq!(credits("1234.5600000000001"), "1234.56");
    assert_eq!(credits("1.2E3"), "1200");
    let refused = inspect("f", &rows("0.3333333333333333"));
    assert_eq!(refused[0].defects[0].code, DefectCode::BadAmount);
    let rows: Rows<'_> = &[
        &[Text("日期"), Text("说明")],
        &[Text("2026-06-04"), Text("a")],
    ];
    assert_eq!(
        inspect("f", &xlsx(rows))[0].defects[0].code,
        DefectCode::MissingColumn
    );
}

#[test]
fn a_failed_formula_is_no_amount_and_no_harm_elsewhere() {
    let header: &[Write] = &[Text("日期"), Text("金额"), Text("摘要")];
    let good: &[Write] = &[Text("2026-06-04"), Number("5"), Failed];
    let bad: &[Write] = &[Text("2026-06-04"), Failed, Text("a")];
    for write in [xlsx as fn(Rows<'_>) -> Vec<u8>, xls] {
        let found = inspect("f", &write(&[header, good])).remove(0);
        assert_eq!(
            (found.entries, found.credits.as_str()),
            (1, "5"),
            "{:?}",
            found.defects
        );
        let found = inspect("f", &write(&[header, good, bad])).remove(0);
        let defect = &found.defects[0];
        assert_eq!(
            (defect.code, defect.place.line),
            (DefectCode::BadAmount, Some(3)),
            "{defect}"
        );
        assert!(defect.found.contains("#REF!"), "{defect}");
    }
}

#[test]
fn more_sheets_than_are_read_are_refused_not_dropped() {
    let rows: Rows<'_> = &[
        &[Text("日期"), Text("金额")],
        &[Text("2026-06-04"), Number("5")],
    ];
    let names: Vec<String> = (0..65).map(|at| format!("s{at}")).collect();
    let sheets: Vec<(&str, bool, Rows<'_>)> = names
        .iter()
        .map(|name| (name.as_str(), false, rows))
        .collect();
    assert_eq!(inspect("f", &zipped(&parts(&sheets[..64]))).len(), 64);
    let defect = inspect("f", &zipped(&parts(&sheets)))
        .remove(0)
        .defects
        .remove(0);
    assert_eq!(defect.code, DefectCode::TooLarge, "{defect}");
    assert!(defect.found.contains("SHEETS_MAX"), "{defect}");
}
