//! One fixture for each bank whose export has a profile: entries, sums, balances and verdict.

use std::path::Path;

use jintuo::wire::{Inspection, Verdict, inspect, parse, sniff};

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/wire/bank_profiles")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Entries, credits, debits, opening, closing.
type Figures<'f> = (u64, &'f str, &'f str, Option<&'f str>, Option<&'f str>);

fn figures(found: &Inspection) -> Figures<'_> {
    let (opening, closing) = (found.opening.as_deref(), found.closing.as_deref());
    (
        found.entries,
        &found.credits,
        &found.debits,
        opening,
        closing,
    )
}

#[test]
fn every_bank_has_a_file_that_reads_as_its_own() {
    let proved = |entries, credits, debits, opening, closing| -> (Figures<'static>, Verdict) {
        (
            (entries, credits, debits, Some(opening), Some(closing)),
            Verdict::Balanced,
        )
    };
    let bill = |entries, credits, debits| -> (Figures<'static>, Verdict) {
        ((entries, credits, debits, None, None), Verdict::NoBalances)
    };
    for (file, format, (said, verdict)) in [
        // Preamble, cells padded with blanks and tabs, newest first, a total below.
        (
            "icbc.csv",
            "bank-csv:icbc",
            proved(3, "1500.00", "320.50", "1000.00", "2179.50"),
        ),
        // Plus signs, a row with more cells than the header, oldest first.
        (
            "abc.csv",
            "bank-csv:abc",
            proved(3, "10000.01", "10.00", "1000.00", "10990.01"),
        ),
        // Newest first, dashes for nothing.
        (
            "boc.csv",
            "bank-csv:boc",
            proved(3, "50.00", "2671.89", "5861.89", "3240.00"),
        ),
        (
            "boc_card.csv",
            "bank-csv:boc_card",
            bill(2, "70.48", "50.00"),
        ),
        // TSV with ="…" in GB18030, days of the preamble.
        (
            "ccb.xls",
            "bank-csv:ccb",
            proved(3, "1010.25", "15", "89.75", "1085"),
        ),
        (
            "ccb_signed.csv",
            "bank-csv:ccb_signed",
            proved(2, "100.00", "30.00", "5.00", "75.00"),
        ),
        (
            "cmb.csv",
            "bank-csv:cmb",
            proved(3, "1234.00", "1003.00", "37.66", "268.66"),
        ),
        (
            "cmb_card.csv",
            "bank-csv:cmb_card",
            bill(3, "8056.78", "1.23"),
        ),
        // 借 Dr and 贷 Cr.
        (
            "bocom.csv",
            "bank-csv:bocom",
            proved(3, "11.23", "100.79", "3000.00", "2910.44"),
        ),
        (
            "bocom_card.csv",
            "bank-csv:bocom_card",
            bill(3, "186.53", "0"),
        ),
        // An HTML table.
        (
            "spdb.xls",
            "bank-xls:spdb",
            proved(3, "10.00", "7.76", "1985.21", "1987.45"),
        ),
        (
            "citic.csv",
            "bank-csv:citic",
            proved(3, "5000.00", "1200.30", "100.30", "3900.00"),
        ),
        (
            "citic_card.csv",
            "bank-csv:citic_card",
            bill(2, "5.90", "0.20"),
        ),
        (
            "cgb.csv",
            "bank-csv:cgb",
            proved(3, "800.00", "150.00", "0.00", "650.00"),
        ),
        (
            "cgb_card.csv",
            "bank-csv:cgb_card",
            bill(3, "15.90", "1227.88"),
        ),
    ] {
        let found = inspect(file, &fixture(file));
        assert_eq!(found.len(), 1, "{file}: one statement");
        assert_eq!(
            found[0].format.as_deref(),
            Some(format),
            "{file}: {:?}",
            found[0].defects
        );
        assert_eq!(figures(&found[0]), said, "{file}: {:?}", found[0].defects);
        assert_eq!(found[0].verdict, verdict, "{file}: {:?}", found[0].defects);
        assert_eq!(found[0].currency.as_deref(), Some("CNY"), "{file}");
    }
}

#[test]
fn days_of_a_bill_take_the_year_of_its_month() {
    let bytes = fixture("cmb_card.csv");
    let (statements, _) = parse(sniff(&bytes).expect("a format"), bytes.as_slice());
    let days: Vec<String> = statements[0]
        .entries
        .iter()
        .filter_map(|e| e.booked_on)
        .map(|d| d.to_string())
        .collect();
    assert_eq!(days, ["2023-12-29", "2024-01-03", "2024-01-07"]);
}

#[test]
fn a_stated_range_of_days_is_the_period() {
    let bytes = fixture("spdb.xls");
    let (statements, _) = parse(sniff(&bytes).expect("a format"), bytes.as_slice());
    let (from, to) = statements[0].period.expect("it fits");
    assert_eq!(
        (from.to_string(), to.to_string()),
        ("2025-12-01".into(), "2025-12-31".into())
    );
}

#[test]
fn one_broken_link_takes_the_balances_away() {
    let text = String::from_utf8(fixture("abc.csv"))
        .expect("it fits")
        .replace("10990.01", "10990.02");
    let found = inspect("f", text.as_bytes());
    assert_eq!(figures(&found[0]), (3, "10000.01", "10.00", None, None));
    assert_eq!(found[0].verdict, Verdict::NoBalances);
}
