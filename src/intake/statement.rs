//! Statement files: kept by digest, parsed, proved, and taken whole or not at all.
//!
//! A file whose bytes were taken before is a no-op. A file that cannot be read, does not balance, names
//! an account nobody registered, or contradicts a stored statement is quarantined with its reason; its
//! bytes are kept, and it may be sent again once the cause is mended.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::Read;

use sha2::{Digest, Sha256};

use super::bundle::Input;
use super::facts::role;
use super::session::Session;
use super::{ImportError, STATEMENT_BYTES_MAX};
use crate::base::{Day, Defect, DefectCode, Money};
use crate::feed::store::{self, StatementDay};
use crate::ledger::{self, Batch, Draft, Kind, NO_CONTRACT, Posted, Span};
use crate::registry::{Account, Registry};
use crate::store::{Tx, days};
use crate::wire::interchange::plain_reference;
use crate::wire::{self, Entry, EntryStatus, Statement, Verdict};

/// Takes one statement file in.
pub(super) async fn take_in(session: &mut Session<'_>, file: &Input) -> Result<(), ImportError> {
    let source_no = session.open_file(&file.name, "statement").await?;
    let bytes = match read(file) {
        Ok(bytes) => bytes,
        Err(defect) => {
            refuse(session, source_no, vec![defect.file(&file.name)]);
            return Ok(());
        }
    };
    session.step_progress(bytes.len() as u64);
    session.note_statements(source_no, &file.name, &bytes);
    let digest = Sha256::digest(&bytes).to_vec();
    let mut tx = session.begin_write().await?;
    let known = store::is_known(&mut tx, &digest).await?;
    store::keep_raw(&mut tx, &digest, &bytes).await?;
    tx.commit().await?;
    if let Some(result) = session.file_result(source_no) {
        result.digest = digest;
        result.bytes = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        if known {
            result.outcome = "known";
        }
    }
    if known {
        session.count(source_no).same += 1;
        return Ok(());
    }
    match plan(&session.registry, &bytes, source_no) {
        Ok(plan) => post(session, plan, source_no, &file.name).await,
        Err(defects) => {
            let named = defects.into_iter().map(|d| d.file(&file.name)).collect();
            refuse(session, source_no, named);
            Ok(())
        }
    }
}

fn read(file: &Input) -> Result<Vec<u8>, Defect> {
    let unreadable = |e: std::io::Error| Defect::new(DefectCode::Unreadable, e.to_string());
    let mut bytes = Vec::new();
    file.open(STATEMENT_BYTES_MAX)
        .map_err(unreadable)?
        .take(STATEMENT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > STATEMENT_BYTES_MAX {
        let found = format!("the file has more than {STATEMENT_BYTES_MAX} bytes");
        return Err(Defect::new(DefectCode::TooLarge, found));
    }
    Ok(bytes)
}

/// Quarantines a whole file.
fn refuse(session: &mut Session<'_>, source_no: i64, defects: Vec<Defect>) {
    let no_statement =
        |d: &Defect| matches!(d.code, DefectCode::UnknownFormat | DefectCode::Unreadable);
    let unreadable = defects.iter().any(no_statement);
    for defect in defects {
        session.quarantine(source_no, defect, "whole file".to_owned());
    }
    if let Some(result) = session.file_result(source_no) {
        result.outcome = if unreadable {
            "unreadable"
        } else {
            "quarantined"
        };
    }
}

/// A file's statement days and lines, ready to be posted.
struct Plan {
    days: Vec<StatementDay>,
    batch: Batch,
}

/// Parses and proves a file.
///
/// # Errors
/// Why the file cannot be used, every reason.
fn plan(registry: &Registry, bytes: &[u8], source_no: i64) -> Result<Plan, Vec<Defect>> {
    let Some(format) = wire::sniff(bytes) else {
        // Inspection says why in words: an empty file, a broken charset, an unknown format.
        let mut why: Vec<Defect> = wire::inspect("", bytes)
            .into_iter()
            .flat_map(|i| i.defects)
            .collect();
        let said = why.iter().any(|d| d.code == DefectCode::UnknownFormat);
        if !said && !wire::resembles_statement(bytes) {
            let found = "the bytes are no statement in a known format";
            why.push(Defect::new(DefectCode::UnknownFormat, found));
        }
        return Err(why);
    };
    let (statements, defects) = wire::parse(format, bytes);
    if statements.is_empty() {
        return Err(if defects.is_empty() {
            vec![Defect::new(
                DefectCode::Malformed,
                "the file has no statement",
            )]
        } else {
            defects
        });
    }
    let mut plan = Plan {
        days: Vec::new(),
        batch: Batch::default(),
    };
    let mut refused = Vec::new();
    for statement in wire::join_pages(statements) {
        if let Err(defect) = add(&mut plan, registry, &statement, source_no) {
            refused.push(defect);
        }
    }
    let mut days: Vec<AccountDay> = plan
        .days
        .iter()
        .map(|d| (d.inst_id, d.account_no, d.day))
        .collect();
    days.sort_unstable();
    if days.windows(2).any(|pair| pair[0] == pair[1]) {
        let found = "the file states one account's day twice";
        refused.push(Defect::new(DefectCode::Duplicate, found));
    }
    if refused.is_empty() {
        Ok(plan)
    } else {
        Err(refused)
    }
}

fn add(
    plan: &mut Plan,
    registry: &Registry,
    statement: &Statement,
    source_no: i64,
) -> Result<(), Defect> {
    // Only end-of-day statements prove a day; intraday reports and advices are for looking at.
    let intraday = ["camt.052", "camt.054", "mt942"];
    let interim = statement
        .closing
        .as_ref()
        .is_some_and(|c| c.kind == "62M" || c.kind == "ITBD");
    if intraday.iter().any(|f| statement.format.starts_with(f)) || interim {
        let found = format!("{} proves no end of day", statement.format);
        return Err(Defect::new(DefectCode::NoBalances, found));
    }
    let account = account_of(registry, statement)?;
    let (verdict, defects) = wire::verify(statement);
    if verdict != Verdict::Balanced {
        let code = match verdict {
            Verdict::NoBalances => DefectCode::NoBalances,
            Verdict::OneSided => DefectCode::OneSided,
            _ => DefectCode::Unbalanced,
        };
        let found = defects.into_iter().find(|d| d.code == code).map_or_else(
            || {
                format!(
                    "the statement of account {} does not prove itself",
                    account.account_id
                )
            },
            |d| format!("account {}: {}", account.account_id, d.found),
        );
        return Err(Defect::new(code, found));
    }
    let covered = wire::daily_balances(statement)?;
    let (Some(first), Some(last)) = (covered.first().map(|d| d.0), covered.last().map(|d| d.0))
    else {
        return Err(Defect::new(
            DefectCode::BadDate,
            "the statement covers no day",
        ));
    };
    for (day, opening, closing) in covered {
        plan.days.push(StatementDay {
            inst_id: account.inst_id.0,
            account_no: account.account_no.0,
            day: days::number(day),
            sent_no: source_no,
            opening_fen: opening.fen(),
            closing_fen: closing.fen(),
            source_no,
            version: 0,
        });
    }
    let ids = wire::entry_identity(statement, &statement.entries);
    for (entry, id) in statement.entries.iter().zip(ids) {
        if entry.status == EntryStatus::Booked {
            line(
                &mut plan.batch,
                account,
                entry,
                &id,
                (first, last, source_no),
            )?;
        }
    }
    Ok(())
}

fn account_of<'r>(registry: &'r Registry, statement: &Statement) -> Result<&'r Account, Defect> {
    let Some(written) = statement.account.as_deref() else {
        return Err(Defect::new(
            DefectCode::MissingValue,
            "the statement names no account",
        ));
    };
    // MT940 may put the bank before the account, and papers print numbers in groups.
    let plain: String = written.chars().filter(|c| !c.is_whitespace()).collect();
    let tail = plain.rsplit('/').next().unwrap_or(&plain);
    [written, plain.as_str(), tail]
        .into_iter()
        .find_map(|id| registry.accounts.get(id))
        .ok_or_else(|| {
            let found = format!("account {written} is not registered");
            Defect::new(DefectCode::UnknownAccount, found).column("account")
        })
}

fn line(
    batch: &mut Batch,
    account: &Account,
    entry: &Entry,
    id: &str,
    (first, last, source_no): (Day, Day, i64),
) -> Result<(), Defect> {
    let amount = Money::from_yuan(entry.amount)
        .map_err(|e| Defect::new(DefectCode::BadAmount, e.to_string()).line(entry.line))?;
    // The same day as the statement's own balances count it on: an entry booked late belongs to the
    // statement that brings it.
    let day = entry.booked_on.unwrap_or(last).clamp(first, last);
    let code = entry.code.as_deref().unwrap_or_default();
    let is = |label: &str| code.ends_with(label);
    let reference = entry
        .customer_ref
        .as_deref()
        .or(entry.bank_ref.as_deref())
        .unwrap_or_default();
    let value_on = entry
        .value_on
        .filter(|v| *v != day)
        .map(|v| v.to_string())
        .unwrap_or_default();
    let booked_on = entry
        .booked_on
        .filter(|b| *b != day)
        .map(|b| b.to_string())
        .unwrap_or_default();
    let note = ledger::note(&[
        ("bank_ref", entry.bank_ref.as_deref().unwrap_or_default()),
        ("booked_on", &booked_on),
        (
            "counterparty",
            entry.counterparty.as_deref().unwrap_or_default(),
        ),
        ("memo", &entry.memo),
        ("value_on", &value_on),
    ]);
    let draft = Draft {
        inst_id: account.inst_id,
        kind: Kind::BankLine,
        role: role(account),
        day,
        contract: NO_CONTRACT,
        account_no: account.account_no.0,
        amount: Money::from_fen(amount.fen().abs()),
        channel: 0,
        state: if is("STL") {
            ledger::LINE_SETTLEMENT
        } else if is("TRF") {
            ledger::LINE_TRANSFER
        } else if is("DBT") {
            ledger::LINE_DEBIT
        } else {
            ledger::LINE_OTHER
        },
        quantity: if amount < Money::ZERO { -1 } else { 1 },
        source_id: batch.keep(id),
        reference: if reference.is_empty() {
            Span::default()
        } else {
            batch.keep(&plain_reference(reference))
        },
        source_no,
        sent_no: source_no,
        note: batch.keep(&note),
    };
    batch.drafts.push(draft);
    Ok(())
}

/// Posts a proved file in one transaction, unless it contradicts what is stored.
async fn post(
    session: &mut Session<'_>,
    mut plan: Plan,
    source_no: i64,
    name: &str,
) -> Result<(), ImportError> {
    plan.days.sort_unstable();
    let mut tx = session.begin_write().await?;
    let known = match against_stored(&mut tx, &plan).await? {
        Ok(known) => known,
        Err(defects) => {
            tx.rollback().await?;
            refuse(
                session,
                source_no,
                defects.into_iter().map(|d| d.file(name)).collect(),
            );
            return Ok(());
        }
    };
    // Lines of days that are stored already are stored already, whatever format brought them.
    plan.batch
        .drafts
        .retain(|d| !known.contains(&(d.inst_id.0, d.account_no, days::number(d.day))));
    session.days_stored_to = Some(i64::MAX);
    let days = session.new_days(&mut tx, plan.days).await?;
    store::append_statement_days(&mut tx, &days).await?;
    let order = ledger::sorted(&plan.batch, &session.contracts);
    let mut posted: HashMap<i64, Posted> = HashMap::new();
    ledger::post(
        &mut tx,
        &plan.batch,
        &order,
        &mut session.contracts,
        &mut posted,
    )
    .await?;
    tx.commit().await?;
    for (source_no, p) in posted {
        let counts = session.count(source_no);
        counts.new += i64::try_from(p.new).unwrap_or(i64::MAX);
        counts.same += i64::try_from(p.same).unwrap_or(i64::MAX);
        counts.revised += i64::try_from(p.revised).unwrap_or(i64::MAX);
    }
    Ok(())
}

type AccountDay = (i64, i64, i64);

/// Account-days that are stored with the same balances and the same lines, or why the file
/// contradicts them.
async fn against_stored(
    tx: &mut Tx,
    plan: &Plan,
) -> Result<Result<HashSet<AccountDay>, Vec<Defect>>, ImportError> {
    let keys: Vec<AccountDay> = plan
        .days
        .iter()
        .map(|d| (d.inst_id, d.account_no, d.day))
        .collect();
    let stored: HashMap<AccountDay, (i64, i64)> = store::statement_days(tx, &keys)
        .await?
        .into_iter()
        .map(|(i, a, d, _, opening, closing)| ((i, a, d), (opening, closing)))
        .collect();
    let mut here: HashMap<AccountDay, Vec<i64>> = HashMap::new();
    for d in &plan.batch.drafts {
        let key = (d.inst_id.0, d.account_no, days::number(d.day));
        here.entry(key)
            .or_default()
            .push(d.quantity * d.amount.fen());
    }
    let accounts: BTreeSet<(i64, i64)> = stored.keys().map(|k| (k.0, k.1)).collect();
    let mut there: HashMap<AccountDay, Vec<i64>> = HashMap::new();
    for (inst_id, account_no) in accounts {
        let days = || {
            (stored
                .keys()
                .filter(|k| (k.0, k.1) == (inst_id, account_no)))
            .map(|k| k.2)
        };
        let span = (days().min().unwrap_or(0), days().max().unwrap_or(0));
        for (day, amount) in ledger::store::lines(tx, (inst_id, account_no), span).await? {
            there
                .entry((inst_id, account_no, day))
                .or_default()
                .push(amount);
        }
    }
    let mut known = HashSet::new();
    let mut conflicts = Vec::new();
    for day in &plan.days {
        let key = (day.inst_id, day.account_no, day.day);
        let Some(balances) = stored.get(&key) else {
            continue;
        };
        let date = Day::from_epoch(i32::try_from(day.day).unwrap_or(0));
        if *balances != (day.opening_fen, day.closing_fen) {
            let found = format!("the stored statement of {date} has other balances");
            conflicts.push(Defect::new(DefectCode::Conflict, found));
            continue;
        }
        let sorted = |lines: &mut HashMap<AccountDay, Vec<i64>>| {
            let mut amounts = lines.remove(&key).unwrap_or_default();
            amounts.sort_unstable();
            amounts
        };
        if sorted(&mut there) == sorted(&mut here) {
            known.insert(key);
        } else {
            let found = format!("the stored statement of {date} has other lines");
            conflicts.push(Defect::new(DefectCode::Conflict, found));
        }
    }
    Ok(if conflicts.is_empty() {
        Ok(known)
    } else {
        Err(conflicts)
    })
}
