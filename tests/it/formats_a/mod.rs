//! OFX, spreadsheets and the profiles of single banks: the corpora of other projects, workbooks
//! written here byte by byte, hostile files, and reading in pieces.

mod books;
mod hostile;
mod profiles;

use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;

use jintuo::base::DefectCode;
use jintuo::wire::{Inspection, Verdict, inspect};
use rust_decimal::Decimal;

use crate::wire::corpora;

/// Fields of `expected.tsv` that a file does not give, with the reason.
const EXCEPTIONS: [(&str, &[&str], &str); 12] = [
    (
        "ofx-ofxparse/fail_nice__date_missing.ofx",
        &["closing"],
        "refused: three transactions have no day, and the table's reader drops them",
    ),
    (
        "ofx-ofxparse/fail_nice__decimal_error.ofx",
        &["closing"],
        "refused: $120 is not an amount and 201120000000 is no day",
    ),
    (
        "ofx-ofxparse/ofx-v102-empty-tags.ofx",
        &["entries", "credits"],
        "one transaction of 12.34; the table drops it for its empty FITID",
    ),
    (
        "ofx-ofxparse/fidelity-savings.ofx",
        &["entries", "credits", "debits"],
        "an investment statement is no bank statement",
    ),
    (
        "ofx-ofxparse/fidelity.ofx",
        &["entries", "credits", "debits"],
        "an investment statement is no bank statement",
    ),
    (
        "ofx-ofxparse/investment_401k.ofx",
        &["entries"],
        "an investment statement is no bank statement",
    ),
    (
        "ofx-ofxparse/investment_medium.ofx",
        &["entries", "credits", "debits"],
        "an investment statement is no bank statement",
    ),
    (
        "ofx-ofxparse/tiaacref.ofx",
        &["entries"],
        "an investment statement is no bank statement",
    ),
    (
        "ofx-ofxparse/vanguard.ofx",
        &["entries"],
        "an investment statement is no bank statement",
    ),
    (
        "ofx-ofxparse/vanguard401k.ofx",
        &["entries"],
        "an investment statement is no bank statement",
    ),
    (
        "cn-bank-exports/boc__debit__example-boc-records.csv",
        &["opening", "closing"],
        "blank in the table; derived from the running balance, all 16 links of which hold",
    ),
    (
        "cn-bank-exports/spdb_debit__example-spdb_debit-records.xls",
        &["opening", "closing"],
        "blank in the table; derived from the running balance, all 3 links of which hold",
    ),
];

/// Formats of the table that are checked here.
const FORMATS: [&str; 12] = [
    "ofx",
    "icbc csv",
    "abc csv",
    "boc csv",
    "bocom csv",
    "cmb csv",
    "cmb card csv",
    "cgb card csv",
    "bocom card csv",
    "spdb xls",
    "citic card xls",
    "ccb xls",
];

#[test]
fn corpora_give_the_figures_of_the_table() {
    let Some(corpora) = corpora() else { return };
    let table = std::fs::read_to_string(corpora.join("expected.tsv")).expect("readable");
    let (mut checked, mut wrong) = (0, String::new());
    for row in table.lines().skip(1) {
        let cells: Vec<&str> = row.split('\t').collect();
        if FORMATS.contains(&cells[1]) {
            checked += 1;
            check_row(&corpora, &cells, &mut wrong);
        }
    }
    println!("corpora: {checked} rows checked");
    assert!(wrong.is_empty(), "{wrong}");
    assert!(
        checked >= 36,
        "the table has {checked} rows of the formats read"
    );
}

fn check_row(corpora: &Path, cells: &[&str], wrong: &mut String) {
    let bytes = std::fs::read(corpora.join(cells[0])).expect("a file of the table is readable");
    let found = inspect(cells[0], &bytes);
    let number = |text: &str| Decimal::from_str(text).expect("amounts are decimal");
    let sum = |pick: fn(&Inspection) -> &String| -> Decimal {
        found.iter().map(|i| number(pick(i))).sum()
    };
    let is: [(&str, Option<Decimal>); 5] = [
        (
            "entries",
            Some(Decimal::from(found.iter().map(|i| i.entries).sum::<u64>())),
        ),
        ("opening", found[0].opening.as_deref().map(number)),
        (
            "closing",
            found.last().and_then(|i| i.closing.as_deref()).map(number),
        ),
        ("credits", Some(sum(|i| &i.credits))),
        ("debits", Some(sum(|i| &i.debits))),
    ];
    let excepted = EXCEPTIONS
        .iter()
        .find(|(file, ..)| *file == cells[0])
        .map_or(&[][..], |e| e.1);
    for ((name, is), said) in is.into_iter().zip(&cells[2..7]) {
        // Several statements: the table lists all closings, and the last one counts.
        let said = said
            .rsplit('|')
            .next()
            .filter(|text| !text.is_empty())
            .map(number);
        if (is != said) != excepted.contains(&name) {
            writeln!(
                wrong,
                "{}: {name} is {is:?}, the table says {said:?}; {:?}",
                cells[0], found[0].defects
            )
            .expect("a string");
        }
    }
}

#[test]
fn formats_and_verdicts_of_the_corpora() {
    let Some(corpora) = corpora() else { return };
    for (file, format, verdict) in [
        ("ofx-ofxparse/bank_medium.ofx", "ofx1", Verdict::OneSided),
        ("ofx-ofxparse/suncorp.ofx", "ofx2", Verdict::OneSided),
        ("ofx-ofxparse/anzcc.ofx", "ofx2", Verdict::OneSided),
        (
            "ofx-ofxparse/multiple_accounts.ofx",
            "ofx2",
            Verdict::OneSided,
        ),
        (
            "ofx-ofxparse/fail_nice__empty_balance.ofx",
            "ofx1",
            Verdict::NoBalances,
        ),
        ("ofx-ofxparse/vanguard.ofx", "ofx", Verdict::Refused),
        (
            "cn-bank-exports/spdb_debit__example-spdb_debit-records.xls",
            "bank-xls:spdb",
            Verdict::Balanced,
        ),
        (
            "cn-bank-exports/citic__credit__example-citic-records.xls",
            "bank-xls:citic_card",
            Verdict::NoBalances,
        ),
        (
            "cn-bank-exports/boc__debit__example-boc-records.csv",
            "bank-csv:boc",
            Verdict::Balanced,
        ),
        (
            "cn-bank-exports/cgb_credit__example-cgb_credit-records.csv",
            "bank-csv:cgb_card",
            Verdict::NoBalances,
        ),
        (
            "cn-bank-exports/cmb__credit__example-cmb-records.csv",
            "bank-csv:cmb_card",
            Verdict::NoBalances,
        ),
        (
            "cn-bank-exports/bocom_credit__example-bocom_credit-records.csv",
            "bank-csv:bocom_card",
            Verdict::NoBalances,
        ),
        (
            "cn-bank-exports/boc__credit__example-boc-records.csv",
            "bank-csv:boc_card",
            Verdict::NoBalances,
        ),
    ] {
        let bytes = std::fs::read(corpora.join(file)).expect("readable");
        let found = inspect(file, &bytes);
        let is = (found[0].format.as_deref(), found[0].verdict);
        assert_eq!(
            is,
            (Some(format), verdict),
            "{file}: {:?}",
            found[0].defects
        );
    }
}

#[test]
fn what_is_no_bank_statement_says_so() {
    let Some(corpora) = corpora() else { return };
    let refusal = |file: &str| {
        let bytes = std::fs::read(corpora.join(file)).expect("readable");
        let defect = inspect(file, &bytes)[0].defects.last().cloned();
        defect
            .map(|d| (d.code, d.found))
            .expect("a refusal has a defect")
    };
    let (code, found) = refusal("ofx-ofxparse/td_ameritrade.ofx");
    assert_eq!(code, DefectCode::UnknownFormat);
    assert!(found.contains("investment"), "{found}");
    let (code, found) = refusal("ofx-ofxparse/error_message.ofx");
    assert_eq!(code, DefectCode::Malformed);
    assert!(found.contains("2000"), "{found}");
    let (code, _) = refusal("ofx-ofxparse/fail_nice__date_missing.ofx");
    assert_eq!(code, DefectCode::MissingValue);
    let (code, _) = refusal("ofx-ofxparse/fail_nice__decimal_error.ofx");
    assert_eq!(code, DefectCode::BadDate);
    let (code, _) = refusal("cn-bank-exports/hxsec__example-hxsec-records.xls");
    assert_eq!(code, DefectCode::UnknownFormat);
}
