//! Rules of rows and of CSV; whole files are fixtures.

use super::profile::{Profile, bind_to};
use super::rows::Table;
use crate::base::DefectCode;
use crate::wire::{Balance, Format, Item, Statement, parse};

fn one(text: &str) -> (Statement, Vec<DefectCode>) {
    let (mut statements, defects) = parse(Format::BankCsv, text.as_bytes());
    (
        statements.remove(0),
        defects.into_iter().map(|d| d.code).collect(),
    )
}

fn ends(statement: &Statement) -> Option<(String, String)> {
    let text = |b: &Option<Balance>| b.as_ref().map(|b| b.amount.to_string());
    text(&statement.opening).zip(text(&statement.closing))
}

#[test]
fn running_balance_links_in_both_orders() {
    let up = "账号,=\"0123456\"\n日期,收入,支出,余额,摘要\n\
              2026-01-02,\"1,000.00\",,1500.00,a\n2026-01-03,-,200,1300,b\n合计,1000,200\n";
    let (statement, defects) = one(up);
    assert_eq!(statement.account.as_deref(), Some("0123456"));
    assert_eq!(ends(&statement), Some(("500.00".into(), "1300".into())));
    assert_eq!(defects, []);
    let down = "日期,金额,余额\n2026-01-03,-200,1300\n2026-01-02,1000,1500\n";
    assert_eq!(ends(&one(down).0), Some(("500".into(), "1300".into())));
    let neither = "日期,金额,余额\n2026-01-03,-200,1300\n2026-01-02,1000,1501\n";
    assert_eq!(
        (ends(&one(neither).0), one(neither).1),
        (None, vec![DefectCode::OutOfOrder])
    );
}

#[test]
fn accounts_of_one_file_are_told_apart() {
    let text =
        "日期,账号,金额,币种\n2026-01-02,1,5,人民币\n2026-01-02,2,6,CNY\n2026-01-03,1,7,CNY\n";
    let (statements, _) = parse(Format::BankCsv, text.as_bytes());
    let counts: Vec<_> = statements
        .iter()
        .map(|s| (s.account.as_deref().unwrap(), s.entries.len()))
        .collect();
    assert_eq!(counts, [("1", 2), ("2", 1)]);
}

#[test]
fn refuses_a_row_it_cannot_read() {
    for (row, code) in [
        ("2026-01-02,12..34", DefectCode::BadAmount),
        ("2026-01-02,\"1.234,56\"", DefectCode::BadAmount),
        ("2026-01-02,", DefectCode::MissingValue),
        ("01/02,5", DefectCode::BadDate),
    ] {
        let text = format!("Date,Amount\n{row}\n");
        let (statements, defects) = parse(Format::BankCsv, text.as_bytes());
        assert_eq!(
            (statements.len(), defects[0].code, defects[0].place.line),
            (0, code, Some(2))
        );
    }
}

#[test]
fn a_missing_quotation_mark_is_never_silent() {
    let refusal = |rows: &str| {
        let text = format!("日期,金额,摘要\n{rows}");
        parse(Format::BankCsv, text.as_bytes())
            .1
            .first()
            .map(|d| d.code)
    };
    assert_eq!(
        refusal("2026-01-02,5,\"学\n2026-01-03,6,b\n"),
        Some(DefectCode::Truncated)
    );
    let swallowed = "2026-01-02,5,\"学\n2026-01-03,6,b\n2026-01-04,7,\"c\n";
    assert_eq!(refusal(swallowed), Some(DefectCode::Malformed));
    assert_eq!(
        refusal("2026-01-02,5,\"学\n费 \"\"三\"\"\"\n2026-01-03,6,5\" b\n"),
        None
    );
}

#[test]
fn a_file_without_rows_proves_the_days_it_states() {
    let text = "账号,6217\n币种,人民币\n起始日期,2026-06-26\n截止日期,2026-06-29\n期初余额,5.00\n\
                期末余额,5.00\n交易日期,收入,支出,余额,摘要,流水号\n";
    let (statements, defects) = parse(Format::BankCsv, text.as_bytes());
    assert!(defects.is_empty(), "{defects:?}");
    let days = crate::wire::daily_balances(&statements[0]).unwrap();
    assert_eq!(
        days.len(),
        4,
        "every day of the period stands at 5.00: {days:?}"
    );
    assert!(
        days.iter()
            .all(|(_, opening, closing)| (opening.fen(), closing.fen()) == (500, 500))
    );
}

#[test]
fn a_preamble_cell_of_several_pairs() {
    let text = "账号：6217000 户名：某某 币种：美元\n日期,金额\n2026-01-02,5\n";
    assert_eq!(one(text).0.account.as_deref(), Some("6217000"));
}

/// An institution's own books are the mirror image: 借 is money into the bank account.
#[test]
fn the_books_perspective_turns_every_sign() {
    let profile = "name = 'b'\nperspective = 'books'\nfooters = []\ncredit_marks = ['贷']\n\
                   debit_marks = ['借']\n[columns]\ndate = ['日期']\namount = ['金额']\n\
                   direction = ['借贷']\nbalance = ['余额']\n";
    let profile: &'static Profile = Box::leak(Box::new(Profile::parse(profile).unwrap()));
    let header = ["日期", "借贷", "金额", "余额"].map(str::to_owned);
    let mut table = Table::new("bank-csv", bind_to(profile, &header).unwrap());
    for (line, row) in (1..).zip(["2026-01-02,借,5,15", "2026-01-03,贷,1,14"]) {
        let cells: Vec<String> = row.split(',').map(str::to_owned).collect();
        table.row(&cells, line).unwrap();
    }
    let mut head = Statement::default();
    table.finish(&mut |item| {
        if let Item::Close(statement) = item {
            head = statement;
        }
    });
    assert_eq!(ends(&head), Some(("10".into(), "14".into())));
}

#[test]
fn declared_totals_and_balances_are_compared() {
    let text =
        "期初余额：100\n期末余额：90\n日期,借贷,金额\n2026-01-02,借,5\n2026-01-02,贷,5\n合计,,1\n";
    let (statement, _) = one(text);
    assert_eq!(ends(&statement), Some(("100".into(), "90".into())));
    let wrong = "日期,收入,支出\n2026-01-02,5,\n合计,6,0\n";
    assert_eq!(one(wrong).1, [DefectCode::DeclaredTotals]);
}

#[test]
fn a_row_that_is_cut_is_never_taken_for_a_whole_one() {
    let first = |rows: &str| {
        let text = format!("日期,金额,余额,摘要,流水号\n{rows}");
        let defects = parse(Format::BankCsv, text.as_bytes()).1;
        defects.first().map(|d| (d.code, d.place.line))
    };
    let whole = "2026-01-02,5,5,学费,1\n2026-01-03,6,11,学费,2";
    assert_eq!(first(whole), None);
    // Cut inside the last row, where its amount and balance still link.
    let cut = whole.len() - ",2".len();
    assert_eq!(first(&whole[..cut]), Some((DefectCode::Truncated, Some(3))));
    // A bank that leaves empty cells off ends its lines.
    assert_eq!(first("2026-01-02,5,5,学费,1\n2026-01-03,6,11\n"), None);
}
