//! The program behind `lines.py`: does what an import of statement files does besides storing them, and
//! says how long each part worked.
//!
//! `lines FILE…` reads every file, proves its statements and gives each line its identity (`parse`), then
//! chains one posting a line (`chain`), and prints one line of JSON with nanoseconds of this thread on a
//! processor. Without arguments, as under `cargo bench`, it says how to run it.

use std::fs;
use std::io::{self, Write};

use jintuo::ledger::{self, GENESIS, Kind, Link};
use jintuo::wire::{self, Statement};

fn main() -> io::Result<()> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let mut out = io::stdout().lock();
    if files.iter().all(|f| f.starts_with("--")) {
        return writeln!(out, "run benches/lines.py");
    }
    let (mut lines, mut parse, mut chain, mut head) = (0, 0, 0, GENESIS);
    for file in &files {
        let started = worked()?;
        let read = prove(&fs::read(file)?)?;
        let parsed = worked()?;
        let texts = texts(&read);
        lines += texts.len();
        let collected = worked()?;
        for ((id, reference, note), seq) in texts.iter().zip(0..) {
            head = link(seq, (id, reference, note)).after(&head);
        }
        let chained = worked()?;
        parse += parsed - started;
        chain += chained - collected;
    }
    let end = head[1];
    writeln!(
        out,
        "{{\"lines\": {lines}, \"parse_ns\": {parse}, \"chain_ns\": {chain}, \"end\": {end}}}"
    )
}

/// Nanoseconds this thread has been on a processor.
fn worked() -> io::Result<u64> {
    let said = fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = said.split(' ').next().unwrap_or_default();
    first.parse().map_err(io::Error::other)
}

type Proved = Vec<(Statement, Vec<String>)>;

fn prove(bytes: &[u8]) -> io::Result<Proved> {
    let format = wire::sniff(bytes).ok_or_else(|| io::Error::other("an unknown format"))?;
    let (statements, _) = wire::parse(format, bytes);
    let joined = wire::join_pages(statements);
    let mut proved = Vec::with_capacity(joined.len());
    for statement in joined {
        let days = wire::daily_balances(&statement).map_err(|d| io::Error::other(d.to_string()))?;
        let (Some((first, ..)), Some((last, ..))) = (days.first(), days.last()) else {
            return Err(io::Error::other("a statement of no day"));
        };
        let day = |e| (e, wire::posting_day(e, (*first, *last)));
        let ids = wire::entry_identity(&statement, statement.entries.iter().map(day));
        proved.push((statement, ids));
    }
    Ok(proved)
}

/// Id, reference and note of every line.
fn texts(proved: &Proved) -> Vec<(&str, &str, String)> {
    let mut texts = Vec::new();
    for (statement, ids) in proved {
        for (entry, id) in statement.entries.iter().zip(ids) {
            let note = ledger::note(&[
                ("bank_ref", entry.bank_ref.as_deref().unwrap_or_default()),
                (
                    "counterparty",
                    entry.counterparty.as_deref().unwrap_or_default(),
                ),
                ("memo", &entry.memo),
            ]);
            let reference = entry.customer_ref.as_deref().unwrap_or_default();
            texts.push((id.as_str(), reference, note));
        }
    }
    texts
}

fn link<'a>(seq: i64, (source_id, reference, note): (&'a str, &'a str, &'a str)) -> Link<'a> {
    Link {
        inst_id: 1,
        seq,
        source_no: 1,
        kind: Kind::BankLine.number(),
        debit: 1,
        credit: 4,
        amount_fen: 100,
        business_day: 20_000,
        contract_no: 0,
        account_no: 1,
        source_id,
        revision: 0,
        reverses: None,
        reference,
        channel: 0,
        state: 0,
        quantity: 1,
        stated_fen: None,
        confirmed_day: None,
        note,
    }
}
