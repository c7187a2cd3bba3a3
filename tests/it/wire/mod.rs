//! Statement files from outside: the project's own fixtures, the corpora of other projects, hostile
//! bytes, and properties of reading in pieces.

mod properties;

use std::fmt::Write as _;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jintuo::base::DefectCode;
use jintuo::wire::{Format, Inspection, Item, Verdict, inspect, parse, sniff, stream};
use rust_decimal::Decimal;

/// Rows of `expected.tsv` that differ from what the file's own balances say, with the reason. Each
/// names the fields that differ, so that the other fields stay tested.
const EXCEPTIONS: [(&str, &[&str], &str); 4] = [
    (
        "mt940-wolph/ASNB__mt940.txt",
        &["opening", "closing"],
        "blank in the table; all 31 messages carry :60F: and :62F: and balance",
    ),
    (
        "mt940-wolph/ASNB__mt940_with_spaces_for_entry_date.txt",
        &["opening", "closing"],
        "blank in the table; all 31 messages carry :60F: and :62F: and balance",
    ),
    (
        "mt940-wolph/self-provided__raphaelm.sta",
        &["closing"],
        "blank in the table; :62x: leaves the currency out, and the three messages balance",
    ),
    (
        "cn-bank-exports/boc__debit__example-boc-records.csv",
        &["opening", "closing"],
        "derived from the running balance, all 16 links of which hold newest first",
    ),
];

/// Formats of the table that the product reads; others are left to later work.
const READ_FORMATS: [&str; 10] = [
    "camt.052",
    "camt.053",
    "camt.054",
    "mt940",
    "mt942",
    "icbc csv",
    "abc csv",
    "boc csv",
    "cmb csv",
    "bocom csv",
];

#[test]
fn corpora_agree_with_the_table() {
    let Some(corpora) = corpora() else { return };
    let table =
        std::fs::read_to_string(corpora.join("expected.tsv")).expect("expected.tsv is readable");
    let (mut checked, mut wrong) = (0, String::new());
    for row in table.lines().skip(1) {
        let cells: Vec<&str> = row.split('\t').collect();
        let wanted = READ_FORMATS.iter().any(|f| cells[1].starts_with(f));
        if wanted {
            checked += 1;
            check_row(&corpora, &cells, &mut wrong);
        }
    }
    println!("corpora: {checked} rows checked");
    assert!(wrong.is_empty(), "{wrong}");
    assert!(
        checked > 60,
        "the table has {checked} rows of the formats read"
    );
}

fn check_row(corpora: &Path, cells: &[&str], wrong: &mut String) {
    let bytes = std::fs::read(corpora.join(cells[0])).expect("a file of the table is readable");
    let found = inspect(cells[0], &bytes);
    let sum = |pick: fn(&Inspection) -> &String| -> Decimal {
        found
            .iter()
            .map(|i| Decimal::from_str(pick(i)).expect("amounts are decimal"))
            .sum()
    };
    let refused = found[0].verdict == Verdict::Refused;
    let fields = [
        (
            "entries",
            Some(Decimal::from(found.iter().map(|i| i.entries).sum::<u64>())).filter(|_| !refused),
        ),
        (
            "opening",
            found.first().and_then(|i| number(i.opening.as_deref())),
        ),
        (
            "closing",
            found.last().and_then(|i| number(i.closing.as_deref())),
        ),
        ("credits", Some(sum(|i| &i.credits)).filter(|_| !refused)),
        ("debits", Some(sum(|i| &i.debits)).filter(|_| !refused)),
    ];
    let excepted = EXCEPTIONS
        .iter()
        .find(|(file, ..)| *file == cells[0])
        .map_or(&[][..], |e| e.1);
    for ((name, is), said) in fields.into_iter().zip(&cells[2..7]) {
        let said = number(Some(said).copied().filter(|text| !text.is_empty()));
        if (is != said) != excepted.contains(&name) {
            writeln!(
                wrong,
                "{}: {name} is {is:?}, the table says {said:?}",
                cells[0]
            )
            .expect("a string");
        }
    }
    let balanced = found
        .iter()
        .filter(|i| i.verdict == Verdict::Balanced)
        .count();
    let note = cells.get(7).copied().unwrap_or_default();
    if let Some(said) = note
        .split("self-balancing=")
        .nth(1)
        .and_then(|t| t.split(['/', ';']).next())
    {
        let said: usize = said.parse().expect("a count");
        if said != balanced && excepted.is_empty() {
            writeln!(
                wrong,
                "{}: {balanced} balance, the table says {said}",
                cells[0]
            )
            .expect("a string");
        }
    }
}

fn number(text: Option<&str>) -> Option<Decimal> {
    text.map(|text| Decimal::from_str(text).expect("amounts are decimal"))
}

/// The folder of corpora, or one line that says it is absent.
pub(crate) fn corpora() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora");
    let path = std::env::var_os("FEED_CORPUS").map_or(default, PathBuf::from);
    if path.join("expected.tsv").is_file() {
        return Some(path);
    }
    eprintln!(
        "skipped: no corpora at {} (set FEED_CORPUS)",
        path.display()
    );
    None
}

#[test]
fn every_corpus_file_is_survived() {
    let Some(corpora) = corpora() else { return };
    let mut files = 0;
    for folder in std::fs::read_dir(corpora).expect("readable") {
        let folder = folder.expect("readable").path();
        for file in folder.read_dir().into_iter().flatten() {
            let file = file.expect("readable").path();
            let bytes = std::fs::read(&file).expect("readable");
            let found = inspect("f", &bytes);
            assert!(!found.is_empty(), "{}", file.display());
            for format in [Format::Camt, Format::Mt940, Format::BankCsv] {
                parse(format, bytes.as_slice());
            }
            files += 1;
        }
    }
    assert!(files > 100);
}

/// Writes the inspections of a fixture for review where `UPDATE_FIXTURES` is set.
fn updating() -> bool {
    std::env::var_os("UPDATE_FIXTURES").is_some()
}

#[test]
fn fixtures_are_read_as_written() {
    let files = fixtures();
    files.iter().for_each(|file| check_wire(file));
    assert!(files.len() >= 10, "{} fixtures", files.len());
}

fn fixtures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wire");
    let mut files = Vec::new();
    for source in std::fs::read_dir(root).expect("fixtures are there") {
        for file in source
            .expect("readable")
            .path()
            .read_dir()
            .expect("a folder per source")
        {
            files.push(file.expect("readable").path());
        }
    }
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension != "json")
    });
    files.sort();
    files
}

/// Reads one fixture and compares with the `.json` beside it, whole and in pieces.
fn check_wire(file: &Path) {
    let bytes = std::fs::read(file).expect("readable");
    let name = file.file_name().expect("named").to_string_lossy();
    let mut found = serde_json::to_value(inspect(&name, &bytes)).expect("serialisable");
    for defects in found
        .as_array_mut()
        .into_iter()
        .flatten()
        .filter_map(|s| s.get_mut("defects"))
    {
        for defect in defects.as_array_mut().into_iter().flatten() {
            // The catalogue's own words; the fixtures are about what is found.
            let remedy = defect.as_object_mut().and_then(|d| d.remove("remedy"));
            assert!(remedy.is_some_and(|r| r.as_str().is_some_and(|r| !r.is_empty())));
        }
    }
    let beside = file.with_extension("json");
    if updating() {
        let text = serde_json::to_string_pretty(&found).expect("serialisable");
        std::fs::write(&beside, text + "\n").expect("writable");
    }
    let said = std::fs::read_to_string(&beside).unwrap_or_else(|_| "null".into());
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(found, said, "{}", file.display());
    if let Some(format) = sniff(&bytes) {
        assert_same_in_pieces(format, &bytes);
    }
}

pub(crate) fn assert_same_in_pieces(format: Format, bytes: &[u8]) {
    let whole = items(format, bytes, usize::MAX);
    for size in [1, 7, 64 * 1024] {
        assert_eq!(
            items(format, bytes, size),
            whole,
            "{format:?} in pieces of {size}"
        );
    }
}

fn items(format: Format, bytes: &[u8], size: usize) -> Vec<Item> {
    let mut items = Vec::new();
    if size == usize::MAX {
        stream(format, bytes, &mut |item| items.push(item));
    } else {
        stream(format, BufReader::with_capacity(size, bytes), &mut |item| {
            items.push(item)
        });
    }
    items
}

#[test]
fn hostile_files_are_refused_with_their_code() {
    let camt = "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\">";
    let bomb = "<!DOCTYPE D [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]>";
    let external = "<!DOCTYPE D [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>";
    let mut half = "<?xml version=\"1.0\" encoding=\"GB18030\"?>".to_owned() + camt;
    half.push_str("<BkToCstmrStmt><Stmt><Id>余");
    let half = encoding_rs::GB18030.encode(&half).0.into_owned();
    let mut csv = encoding_rs::GB18030
        .encode("日期,金额,摘要\n2026-01-01,5,学费余")
        .0
        .into_owned();
    csv.pop();
    let long = "x".repeat(3_000_000);
    let cases: Vec<(&str, Vec<u8>, DefectCode)> = vec![
        (
            "bomb",
            format!("{bomb}{camt}&b;</Document>").into(),
            DefectCode::Forbidden,
        ),
        (
            "external entity",
            format!("{external}{camt}&x;</Document>").into(),
            DefectCode::Forbidden,
        ),
        (
            "undeclared entity",
            format!("{camt}&x;</Document>").into(),
            DefectCode::Forbidden,
        ),
        (
            "depth",
            format!("{camt}{}", "<a>".repeat(200_000)).into(),
            DefectCode::Forbidden,
        ),
        (
            "cut in a tag",
            format!("{camt}<BkToCstmrStmt><Stm").into(),
            DefectCode::Truncated,
        ),
        (
            "cut in a statement",
            format!("{camt}<BkToCstmrStmt><Stmt>").into(),
            DefectCode::Truncated,
        ),
        (
            "garbage behind",
            format!("{camt}</Document>x").into(),
            DefectCode::Malformed,
        ),
        (
            "half a character, XML",
            half[..half.len() - 1].to_vec(),
            DefectCode::BadEncoding,
        ),
        ("half a character, CSV", csv, DefectCode::BadEncoding),
        (
            "endless text",
            format!("{camt}<Id>{long}").into(),
            DefectCode::TooLarge,
        ),
        (
            "endless line, MT",
            format!(":20:1\n:25:{long}").into(),
            DefectCode::TooLarge,
        ),
        (
            "endless line, CSV",
            format!("日期,金额\n{long}").into(),
            DefectCode::TooLarge,
        ),
        ("empty", Vec::new(), DefectCode::Truncated),
        ("blank", b"\r\n \n".to_vec(), DefectCode::Truncated),
        ("zip", b"PK\x03\x04....".to_vec(), DefectCode::UnknownFormat),
        (
            "pain",
            b"<Document xmlns='urn:iso:std:iso:20022:tech:xsd:pain.001.001.03'/>".to_vec(),
            DefectCode::UnknownFormat,
        ),
    ];
    for (name, bytes, code) in cases {
        let found = inspect(name, &bytes);
        assert_eq!(
            (found.len(), found[0].verdict, found[0].entries),
            (1, Verdict::Refused, 0),
            "{name}"
        );
        assert_eq!(
            found[0].defects.last().map(|d| d.code),
            Some(code),
            "{name}: {found:?}"
        );
    }
}

#[test]
fn a_file_cut_anywhere_never_panics_and_a_cut_camt_file_is_refused() {
    for file in fixtures() {
        let whole = std::fs::read(&file).expect("readable");
        let end = whole
            .iter()
            .rposition(|b| *b == b'>')
            .unwrap_or(whole.len());
        for cut in 0..end {
            let found = inspect("f", &whole[..cut]);
            let is_camt = file.extension().is_some_and(|extension| extension == "xml");
            let refused = found[0].verdict == Verdict::Refused;
            assert!(refused || !is_camt, "{} cut at {cut}", file.display());
        }
    }
}

/// Entries are made while they are read, so that only the reader's own memory is in play.
#[test]
fn a_long_camt_file_is_read_as_a_stream() {
    let entry = "<Ntry><Amt Ccy=\"CNY\">1.01</Amt><CdtDbtInd>CRDT</CdtDbtInd>\
                 <Sts><Cd>BOOK</Cd></Sts></Ntry>";
    let head =
        "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\"><BkToCstmrStmt><Stmt>";
    let read = |tail: &'static [u8]| {
        let entries = Repeated {
            text: entry.as_bytes(),
            left: 20_000,
            at: 0,
        };
        let (mut count, mut sum, mut refused) = (0, Decimal::ZERO, None);
        let file = head.as_bytes().chain(entries).chain(tail);
        stream(Format::Camt, BufReader::new(file), &mut |item| match item {
            Item::Entry(entry) => {
                count += 1;
                sum += entry.amount;
            }
            Item::Refused(defect) => refused = Some(defect.code),
            _ => {}
        });
        (count, sum.to_string(), refused)
    };
    let whole = (20_000, "20200.00".to_owned(), None);
    assert_eq!(read(b"</Stmt></BkToCstmrStmt></Document>"), whole);
    assert_eq!(read(b"<Ntry><Amt Ccy=\"CNY").2, Some(DefectCode::Truncated));
}

struct Repeated {
    text: &'static [u8],
    left: usize,
    at: usize,
}

impl std::io::Read for Repeated {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        let part = &self.text[self.at..];
        let length = part.len().min(into.len());
        into[..length].copy_from_slice(&part[..length]);
        self.at += length;
        if self.at == self.text.len() {
            (self.at, self.left) = (0, self.left - 1);
        }
        Ok(length)
    }
}
