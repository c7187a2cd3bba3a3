//! Writes a simulated city to disk: the registry bundle, then a folder per business day.
//!
//! Invariants: files are written in a fixed order with fixed names, so that equal worlds give equal
//! bytes; a bundle file without rows is not written. Absent on purpose: deleting. The caller hands
//! over a folder that is new or empty.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::banks::{camt, export, swift};
use super::books::{Bank, Statement};
use super::rows::{EntryRow, Reported, StatementRow};
use super::{BankFile, DayFiles, World, registry};
use crate::base::Day;

/// A truncated file keeps so many thousandths of its bytes.
const TRUNCATED_KEEPS_PERMILLE: usize = 620;

/// Writes the registry bundle and returns its folder.
pub(super) fn registry(world: &World, out: &Path) -> io::Result<PathBuf> {
    let folder = out.join("registry");
    make(&folder)?;
    let start = world.calendar.day(0);
    rows(&folder, "districts.csv", &registry::districts())?;
    rows(
        &folder,
        "institutions.csv",
        &registry::institutions(&world.institutions, start),
    )?;
    rows(
        &folder,
        "licences.csv",
        &registry::licences(&world.institutions, start),
    )?;
    rows(
        &folder,
        "accounts.csv",
        &registry::accounts(&world.institutions, start),
    )?;
    Ok(folder)
}

/// Writes business day `i`: its bundle and the banks' files.
pub(super) fn day(world: &World, i: usize, out: &Path) -> io::Result<DayFiles> {
    let day = world.calendar.day(i);
    let folder = out.join("days").join(day.to_string());
    let (bundle, statements) = (folder.join("bundle"), folder.join("statements"));
    make(&bundle)?;
    make(&statements)?;
    reported(&bundle, &world.days[i])?;
    canonical(world, i, &bundle)?;
    let mut files = Vec::new();
    for file in statement_files(world, i) {
        let path = statements.join(file.name);
        fs::write(&path, file.bytes).map_err(|e| at(&path, e))?;
        files.push(BankFile {
            bank: file.bank.code(),
            day: file.day,
            path,
        });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(DayFiles {
        day,
        bundle,
        statements: files,
    })
}

fn reported(folder: &Path, reported: &Reported) -> io::Result<()> {
    rows(folder, "orders.csv", &reported.orders)?;
    rows(folder, "payments.csv", &reported.payments)?;
    rows(folder, "lessons.csv", &reported.lessons)?;
    rows(folder, "refunds.csv", &reported.refunds)?;
    rows(folder, "releases.csv", &reported.releases)?;
    rows(folder, "settlements.csv", &reported.settlements)
}

/// The statement of account-day (`book`, `i`).
fn statement(world: &World, book: usize, i: usize) -> Statement<'_> {
    let (day, previous) = (world.calendar.day(i), world.calendar.previous(i));
    world.accounts[book].book.statement(i, day, previous)
}

/// A bank's statements of day `i`, less those it withholds.
fn of_bank(world: &World, bank: Bank, i: usize) -> Vec<(usize, Statement<'_>)> {
    let accounts = world.accounts.iter().enumerate();
    accounts
        .filter(|(index, a)| a.book.bank == bank && world.delivery.is_prompt(*index, i))
        .map(|(index, _)| (index, statement(world, index, i)))
        .collect()
}

/// Canonical statement days and lines, with those that come late today.
fn canonical(world: &World, i: usize, folder: &Path) -> io::Result<()> {
    let mut days = of_bank(world, Bank::Canonical, i);
    let late = world.delivery.late_on(i);
    let late = late.filter(|(book, _)| world.accounts[*book].book.bank == Bank::Canonical);
    days.extend(late.map(|(book, d)| (book, statement(world, book, d))));
    let heads: Vec<StatementRow<'_>> = days
        .iter()
        .map(|(_, s)| StatementRow {
            account_id: &s.book.account_id,
            date: s.day,
            opening_fen: s.opening,
            closing_fen: s.closing,
        })
        .collect();
    let lines: Vec<EntryRow<'_>> = days.iter().flat_map(|(_, s)| entry_rows(*s)).collect();
    rows(folder, "bank_statements.csv", &heads)?;
    rows(folder, "bank_entries.csv", &lines)
}

fn entry_rows(statement: Statement<'_>) -> impl Iterator<Item = EntryRow<'_>> {
    statement.entries.iter().map(move |e| EntryRow {
        entry_id: &e.id,
        account_id: &statement.book.account_id,
        booked_on: statement.day,
        code: e.label.as_str(),
        direction: if e.amount < 0 { "D" } else { "C" },
        amount_fen: e.amount.abs(),
        reference: &e.reference,
        memo: e.memo,
        value_on: statement.day,
        counterparty: e.counterparty(),
    })
}

/// A bank file to be written.
struct Drafted {
    bank: Bank,
    /// The business day it states.
    day: Day,
    name: String,
    bytes: Vec<u8>,
}

/// Every bank file delivered on day `i`.
fn statement_files(world: &World, i: usize) -> Vec<Drafted> {
    let mut files = Vec::new();
    let mut add = |bank, d, name, bytes| {
        files.push(Drafted {
            bank,
            day: world.calendar.day(d),
            name,
            bytes,
        });
    };
    for bank in [Bank::CamtEight, Bank::CamtTwo, Bank::Swift] {
        let mut whole = bank_file(world, bank, i);
        if bank == Bank::CamtTwo
            && world.delivery.truncated == Some(i)
            && let Some((_, bytes)) = &mut whole
        {
            bytes.truncate(bytes.len() * TRUNCATED_KEEPS_PERMILLE / 1000);
        }
        if let Some((name, bytes)) = whole {
            add(bank, i, name, bytes);
        }
        let again = bank == Bank::CamtTwo && i > 0 && world.delivery.truncated == Some(i - 1);
        if again && let Some((name, bytes)) = bank_file(world, bank, i - 1) {
            add(bank, i - 1, format!("resent-{name}"), bytes);
        }
    }
    for (book, s) in of_bank(world, Bank::Export, i) {
        let spoilt = world.delivery.spoilt == Some((book, i));
        add(Bank::Export, i, export_name(&s), export::file(&s, spoilt));
    }
    if let Some((book, d)) = world.delivery.spoilt
        && d + 1 == i
    {
        let s = statement(world, book, d);
        let name = format!("corrected-{}", export_name(&s));
        add(Bank::Export, d, name, export::file(&s, false));
    }
    for (book, d) in world.delivery.late_on(i) {
        let s = statement(world, book, d);
        let bank = s.book.bank;
        if let Some((extension, bytes)) = render(bank, &[s]) {
            let (stem, account) = (bank.stem(), &s.book.account_id);
            let name = format!("late-{stem}-{}-{account}.{extension}", s.day);
            add(bank, d, name, bytes);
        }
    }
    files
}

/// A bank's one file of a day.
fn bank_file(world: &World, bank: Bank, i: usize) -> Option<(String, Vec<u8>)> {
    let statements: Vec<_> = of_bank(world, bank, i)
        .into_iter()
        .map(|(_, s)| s)
        .collect();
    if statements.is_empty() {
        return None;
    }
    let (extension, bytes) = render(bank, &statements)?;
    Some((
        format!("{}-{}.{extension}", bank.stem(), world.calendar.day(i)),
        bytes,
    ))
}

/// Statements of one day in a bank's format; `None` for canonical rows, which travel in the bundle.
pub(super) fn render(bank: Bank, statements: &[Statement<'_>]) -> Option<(&'static str, Vec<u8>)> {
    let first = statements.first()?;
    match bank {
        Bank::CamtEight | Bank::CamtTwo => Some((
            "xml",
            camt::document(bank, first.day, statements).into_bytes(),
        )),
        Bank::Swift => Some(("sta", swift::file(statements).into_bytes())),
        Bank::Export => Some(("csv", export::file(first, false))),
        Bank::Canonical => None,
    }
}

fn export_name(statement: &Statement<'_>) -> String {
    let stem = statement.book.bank.stem();
    format!("{stem}-{}-{}.csv", statement.day, statement.book.account_id)
}

/// One CSV file with its header line; none where there are no rows.
fn rows<T: Serialize>(folder: &Path, name: &str, rows: &[T]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let path = folder.join(name);
    let mut writer = csv::Writer::from_path(&path).map_err(|e| at(&path, e.into()))?;
    for row in rows {
        writer.serialize(row).map_err(|e| at(&path, e.into()))?;
    }
    writer.flush().map_err(|e| at(&path, e))
}

fn make(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder).map_err(|e| at(folder, e))
}

/// An error that names the path it happened at.
fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("write {}: {error}", path.display()))
}
