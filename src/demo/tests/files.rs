//! Reads the banks' files back with readers of its own and holds them against the books.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{Folder, plan};
use crate::base::{FlagCode, Money};
use crate::demo::books::Bank;
use crate::demo::{World, banks, build, simulate};

/// A statement as a reader finds it in a file: account, day, balances, references with amounts.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    account: String,
    day: String,
    opening: i64,
    closing: i64,
    lines: Vec<(String, i64)>,
}

fn fen(text: &str) -> i64 {
    Money::parse_yuan(&text.replace(',', ".")).unwrap().fen()
}

/// The text between two marks, and what follows.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<(&'a str, &'a str)> {
    let start = text.find(from)? + from.len();
    let end = start + text[start..].find(to)?;
    Some((&text[start..end], &text[end..]))
}

fn tag<'a>(text: &'a str, name: &str) -> &'a str {
    between(text, &format!("<{name}>"), &format!("</{name}>"))
        .unwrap()
        .0
}

fn signed(block: &str) -> i64 {
    let amount = fen(between(block, "<Amt Ccy=\"CNY\">", "</Amt>").unwrap().0);
    if tag(block, "CdtDbtInd") == "DBIT" {
        -amount
    } else {
        amount
    }
}

fn read_camt(text: &str) -> Vec<Read> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((statement, next)) = between(rest, "<Stmt>", "</Stmt>") {
        let (mut balances, mut lines, mut inner) = (Vec::new(), Vec::new(), statement);
        while let Some((block, after)) = between(inner, "<Bal>", "</Bal>") {
            balances.push(signed(block));
            inner = after;
        }
        while let Some((block, after)) = between(inner, "<Ntry>", "</Ntry>") {
            lines.push((tag(block, "EndToEndId").to_owned(), signed(block)));
            inner = after;
        }
        let account = tag(tag(statement, "Othr"), "Id").to_owned();
        found.push(Read {
            account,
            day: between(statement, "<FrDtTm>", "T").unwrap().0.to_owned(),
            opening: balances[0],
            closing: balances[1],
            lines,
        });
        rest = next;
    }
    found
}

fn read_swift(text: &str) -> Vec<Read> {
    let balance = |value: &str| {
        let amount = fen(&value[10..]);
        if value.starts_with('D') {
            -amount
        } else {
            amount
        }
    };
    let mut found = Vec::new();
    for message in text.split("\r\n-\r\n").filter(|m| !m.is_empty()) {
        let field = |name: &str| message.lines().find_map(|l| l.strip_prefix(name)).unwrap();
        let (closing, mut lines) = (field(":62F:"), Vec::new());
        for line in message.lines().filter_map(|l| l.strip_prefix(":61:")) {
            let (head, tail) = line[11..].split_once('N').unwrap();
            let sign = if line.as_bytes()[10] == b'D' { -1 } else { 1 };
            let (reference, own) = tail[3..].split_once("//").unwrap();
            assert!(reference.len() <= 16 && own.len() <= 16, "{line}");
            lines.push((reference.to_owned(), sign * fen(head)));
        }
        found.push(Read {
            account: field(":25:").to_owned(),
            day: format!("20{}-{}-{}", &closing[1..3], &closing[3..5], &closing[5..7]),
            opening: balance(field(":60F:")),
            closing: balance(closing),
            lines,
        });
    }
    found
}

fn read_export(bytes: &[u8]) -> Read {
    let (text, _, broken) = encoding_rs::GB18030.decode(bytes);
    assert!(!broken);
    let preamble = |name: &str| text.lines().find_map(|l| l.strip_prefix(name));
    let mut lines = Vec::new();
    let mut balances = Vec::new();
    let rows = text
        .lines()
        .skip_while(|l| *l != banks::export::HEADER)
        .skip(1);
    for row in rows {
        let cells: Vec<&str> = row.split(',').collect();
        let amount = if cells[1].is_empty() {
            -fen(cells[2])
        } else {
            fen(cells[1])
        };
        balances.push((amount, fen(cells[3])));
        lines.push((cells[6].to_owned(), amount));
    }
    let (opening, closing) = match (balances.first(), balances.last()) {
        (Some((amount, after)), Some((_, closing))) => (after - amount, *closing),
        _ => (
            fen(preamble("期初余额,").unwrap()),
            fen(preamble("期末余额,").unwrap()),
        ),
    };
    Read {
        account: preamble("账号,").unwrap().to_owned(),
        day: preamble("截止日期,").unwrap().to_owned(),
        opening,
        closing,
        lines,
    }
}

/// What the books say of an account-day, as a reader should find it.
fn booked(world: &World, book: usize, i: usize) -> Read {
    let statement =
        world.accounts[book]
            .book
            .statement(i, world.calendar.day(i), world.calendar.previous(i));
    let lines = statement
        .entries
        .iter()
        .map(|e| (e.reference.clone(), e.amount))
        .collect();
    let (opening, closing) = (statement.opening, statement.closing);
    Read {
        account: statement.book.account_id.clone(),
        day: statement.day.to_string(),
        opening,
        closing,
        lines,
    }
}

fn read_file(path: &Path) -> Vec<Read> {
    let bytes = fs::read(path).unwrap();
    match path.extension().and_then(|e| e.to_str()) {
        Some("xml") => read_camt(std::str::from_utf8(&bytes).unwrap()),
        Some("sta") => read_swift(std::str::from_utf8(&bytes).unwrap()),
        _ => vec![read_export(&bytes)],
    }
}

#[test]
fn every_file_says_what_the_books_say_and_every_account_day_comes_once() {
    let folder = Folder::new("books");
    let world = build(&plan(3)).unwrap();
    let city = simulate(&plan(3), &folder.0).unwrap();
    let place: BTreeMap<String, usize> = world
        .accounts
        .iter()
        .enumerate()
        .map(|(i, a)| (a.book.account_id.clone(), i))
        .collect();
    let mut due: BTreeSet<(usize, usize)> = BTreeSet::new();
    for (book, owned) in world.accounts.iter().enumerate() {
        due.extend(
            (0..60)
                .filter(|_| owned.book.bank != Bank::Canonical)
                .map(|i| (book, i)),
        );
    }
    let (mut cut, mut untied) = (0, 0);
    for (i, day) in city.days.iter().enumerate() {
        for path in day.statements.iter().map(|f| &f.path) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let past = ["late-", "resent-", "corrected-"]
                .iter()
                .any(|p| name.starts_with(p));
            let whole = fs::read(path).unwrap();
            if name.ends_with(".xml") && !whole.ends_with(b"</Document>\n") {
                cut += 1;
                continue;
            }
            for read in read_file(path) {
                let book = place[&read.account];
                let days = if past {
                    (i.saturating_sub(3)..i).collect()
                } else {
                    vec![i]
                };
                let hit = days.into_iter().find(|d| booked(&world, book, *d) == read);
                match hit {
                    Some(d) => assert!(due.remove(&(book, d)), "{name}: stated twice"),
                    None => untied += 1,
                }
            }
        }
    }
    assert_eq!(
        (cut, untied),
        (1, 1),
        "one file cut short, one that does not tie"
    );
    let missing = due.into_iter().map(|(book, i)| {
        (
            world.accounts[book].book.account_id.clone(),
            world.calendar.day(i),
        )
    });
    let never = world
        .planted
        .iter()
        .filter(|p| p.code == FlagCode::FeedMissing && p.cured.is_none());
    let never: BTreeSet<_> = never.map(|p| (p.subject.clone(), p.day)).collect();
    assert_eq!(missing.collect::<BTreeSet<_>>(), never);
}

#[test]
fn canonical_rows_say_what_the_books_say() {
    let folder = Folder::new("canonical");
    let world = build(&plan(3)).unwrap();
    let city = simulate(&plan(3), &folder.0).unwrap();
    let mut found: BTreeMap<(String, String), Read> = BTreeMap::new();
    for day in &city.days {
        for row in cells(&day.bundle.join("bank_statements.csv")) {
            let [account, date, opening, closing] = row.try_into().unwrap();
            let (opening, closing) = (opening.parse().unwrap(), closing.parse().unwrap());
            let read = Read {
                account: account.clone(),
                day: date.clone(),
                opening,
                closing,
                lines: Vec::new(),
            };
            assert_eq!(found.insert((account, date), read), None);
        }
        for row in cells(&day.bundle.join("bank_entries.csv")) {
            let amount: i64 = row[5].parse().unwrap();
            let amount = if row[4] == "D" { -amount } else { amount };
            let read = found.get_mut(&(row[1].clone(), row[2].clone())).unwrap();
            read.lines.push((row[6].clone(), amount));
        }
    }
    let mut expected = 0;
    for (book, owned) in world.accounts.iter().enumerate() {
        for i in (0..60).filter(|_| owned.book.bank == Bank::Canonical) {
            let key = (
                owned.book.account_id.clone(),
                world.calendar.day(i).to_string(),
            );
            assert_eq!(found[&key], booked(&world, book, i));
            expected += 1;
        }
    }
    assert_eq!(found.len(), expected);
}

/// The rows of a CSV file, without its header line; none where there is no file.
fn cells(path: &Path) -> Vec<Vec<String>> {
    let Ok(mut reader) = csv::Reader::from_path(path) else {
        return Vec::new();
    };
    reader
        .records()
        .map(|r| r.unwrap().iter().map(str::to_owned).collect())
        .collect()
}

#[test]
fn books_tie_and_run_on_from_day_to_day() {
    for seed in 1..=5 {
        let world = build(&plan(seed)).unwrap();
        for (book, owned) in world.accounts.iter().enumerate() {
            let mut closing = owned.book.opening;
            for i in 0..world.calendar.len() {
                let read = booked(&world, book, i);
                assert_eq!(read.opening, closing, "{} day {i}", read.account);
                closing += read.lines.iter().map(|(_, fen)| fen).sum::<i64>();
                assert_eq!(read.closing, closing, "{} day {i}", read.account);
                assert!(closing >= 0, "{} is overdrawn on day {i}", read.account);
            }
        }
    }
}
