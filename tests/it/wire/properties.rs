//! Properties of every statement parser: no input panics, pieces of any size read alike, and what
//! is written reads back.

use std::fmt::Write as _;

use jintuo::wire::{Format, Statement, Verdict, inspect, parse, sniff};
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::assert_same_in_pieces;

/// Texts made of the formats' own pieces get further into the parsers than random bytes.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let tokens: Vec<&'static str> = vec![
        "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.02\">",
        "<BkToCstmrStmt>",
        "<Stmt>",
        "</Stmt>",
        "</BkToCstmrStmt>",
        "</Document>",
        "<Ntry>",
        "</Ntry>",
        "<Amt Ccy=\"CNY\">",
        "</Amt>",
        "1.23",
        "<CdtDbtInd>CRDT</CdtDbtInd>",
        "<Bal>",
        "</Bal>",
        "<Sts>BOOK</Sts>",
        "<Dt>2026-01-02</Dt>",
        "&amp;",
        "<!--",
        "-->",
        ":20:1\n",
        ":25:6217\n",
        ":28C:1/1\n",
        ":60F:C260101CNY1,\n",
        ":61:2601020102C1,00NTRFNONREF//余\n",
        ":62F:C260102CNY2,\n",
        ":86:",
        "-\n",
        "-}",
        "{1:F01}{4:\n",
        "\n",
        "日期,收入,支出,余额\n",
        "2026-01-02,1,,5\n",
        "合计,1,\n",
        "账号,1\n",
        "\"",
        ",",
        "-",
        "余",
        "\u{feff}",
    ];
    let token = prop_oneof![
        6 => prop::sample::select(tokens).prop_map(|t| t.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop_oneof![pieces(), noise()]) {
        sniff(&bytes);
        for format in [Format::Camt, Format::Mt940, Format::BankCsv] {
            let (statements, _) = parse(format, bytes.as_slice());
            for statement in &statements {
                let _ = jintuo::wire::daily_balances(statement);
            }
        }
        prop_assert!(!inspect("f", &bytes).is_empty());
    }

    #[test]
    fn pieces_of_any_size_give_the_same_items(bytes in pieces()) {
        for format in [Format::Camt, Format::Mt940, Format::BankCsv] {
            assert_same_in_pieces(format, &bytes);
        }
    }

    #[test]
    fn a_written_statement_reads_back(
        amounts in prop::collection::vec(-99_999_999_i64..99_999_999, 0..30),
        opening in -9_999_999_i64..9_999_999,
    ) {
        for (format, text) in written(&amounts, opening) {
            assert_same_in_pieces(format, text.as_bytes());
            let (statements, _) = parse(format, text.as_bytes());
            prop_assert_eq!(statements.len(), 1, "{}", text);
            check_written(&statements[0], &amounts)?;
        }
    }
}

fn check_written(statement: &Statement, amounts: &[i64]) -> Result<(), TestCaseError> {
    let read: Vec<Decimal> = statement.entries.iter().map(|e| e.amount).collect();
    let said: Vec<Decimal> = amounts.iter().map(|a| Decimal::new(*a, 2)).collect();
    prop_assert_eq!(read, said);
    prop_assert_eq!(jintuo::wire::verify(statement).0, Verdict::Balanced);
    let day = "2026-01-02".parse().expect("a day");
    let entries = statement.entries.iter().map(|entry| (entry, day));
    let ids = jintuo::wire::entry_identity(statement, entries);
    let distinct: std::collections::HashSet<_> = ids.iter().collect();
    prop_assert_eq!(distinct.len(), amounts.len());
    Ok(())
}

/// One statement in each format.
fn written(amounts: &[i64], opening: i64) -> [(Format, String); 3] {
    let closing = opening + amounts.iter().sum::<i64>();
    let plain = |fen: i64| Decimal::new(fen.abs(), 2).to_string();
    let comma = |fen: i64| plain(fen).replace('.', ",");
    let (mut mt, mut xml, mut csv) = (String::new(), String::new(), String::new());
    let mark = |fen: i64| if fen < 0 { "D" } else { "C" };
    let side = |fen: i64| if fen < 0 { "DBIT" } else { "CRDT" };
    let bal = |kind: &str, fen: i64| {
        format!(
            "<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Amt Ccy=\"CNY\">{}</Amt>\
             <CdtDbtInd>{}</CdtDbtInd></Bal>",
            plain(fen),
            side(fen)
        )
    };
    write!(
        mt,
        ":20:1\r\n:25:6217\r\n:28C:1\r\n:60F:{}260101CNY{}\r\n",
        mark(opening),
        comma(opening)
    )
    .expect("a string");
    write!(
        xml,
        "<Document><BkToCstmrStmt><Stmt>{}{}",
        bal("OPBD", opening),
        bal("CLBD", closing)
    )
    .expect("a string");
    write!(
        csv,
        "期初余额,{}\n期末余额,{}\n日期,金额,余额\n",
        Decimal::new(opening, 2),
        Decimal::new(closing, 2)
    )
    .expect("a string");
    let mut running = opening;
    for amount in amounts {
        running += amount;
        write!(
            mt,
            ":61:2601020102{}{}NTRFNONREF\r\n:86:学费\r\n",
            mark(*amount),
            comma(*amount)
        )
        .expect("a string");
        write!(
            xml,
            "<Ntry><Amt Ccy=\"CNY\">{}</Amt><CdtDbtInd>{}</CdtDbtInd><Sts>BOOK</Sts></Ntry>",
            plain(*amount),
            side(*amount)
        )
        .expect("a string");
        writeln!(
            csv,
            "2026-01-02,{},{}",
            Decimal::new(*amount, 2),
            Decimal::new(running, 2)
        )
        .expect("a string");
    }
    write!(
        mt,
        ":62F:{}260102CNY{}\r\n-\r\n",
        mark(closing),
        comma(closing)
    )
    .expect("a string");
    xml.push_str("</Stmt></BkToCstmrStmt></Document>");
    [
        (Format::Camt, xml),
        (Format::Mt940, mt),
        (Format::BankCsv, csv),
    ]
}
