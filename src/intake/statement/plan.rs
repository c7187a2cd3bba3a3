//! A statement file's bytes to days and lines, proved, before anything stored is looked at. Pure.

use crate::base::{Day, Defect, DefectCode, Money};
use crate::feed::store::StatementKey;
use crate::ledger::{self, Batch, Draft, Kind, NO_CONTRACT, Span};
use crate::registry::{Account, Registry};
use crate::store::days;
use crate::wire::interchange::plain_reference;
use crate::wire::{self, Entry, EntryStatus, ReversalKind, Statement, Verdict};

use super::super::facts::role;

/// What a file says, ready to be compared with what is stored.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) statements: Vec<Stated>,
    pub(super) batch: Batch,
    /// Accounts, as written, of pages whose neighbour is missing.
    pub(super) incomplete: Vec<String>,
}

/// One statement of one account.
pub(super) struct Stated {
    pub(super) key: StatementKey,
    pub(super) account_id: String,
    /// In order of days.
    pub(super) days: Vec<SaidDay>,
}

/// What a statement says of one day.
pub(super) struct SaidDay {
    pub(super) day: i64,
    pub(super) opening_fen: i64,
    pub(super) closing_fen: i64,
    /// Its lines, by place in the plan's batch.
    pub(super) drafts: Vec<usize>,
}

/// Reads a file's statements as the file gives them, page by page.
///
/// # Errors
/// Why the file cannot be used, every reason.
pub(super) fn statements(bytes: &[u8]) -> Result<Vec<Statement>, Vec<Defect>> {
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
    if !statements.is_empty() {
        return Ok(statements);
    }
    Err(if defects.is_empty() {
        let found = "the file has no statement";
        vec![Defect::new(DefectCode::Malformed, found)]
    } else {
        defects
    })
}

/// Proves statements whose pages have been joined.
///
/// # Errors
/// Why they cannot be used, every reason.
pub(super) fn plan(
    registry: &Registry,
    statements: &[Statement],
    source_no: i64,
) -> Result<Plan, Vec<Defect>> {
    let mut plan = Plan::default();
    let mut refused = Vec::new();
    for statement in statements {
        if let Err(defect) = add(&mut plan, registry, statement, source_no) {
            refused.push(defect);
        }
    }
    let mut days: Vec<(i64, i64, i64)> = (plan.statements.iter())
        .flat_map(|s| (s.days.iter()).map(|d| (s.key.inst_id, s.key.account_no, d.day)))
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
    if intraday.iter().any(|f| statement.format.starts_with(f)) {
        let found = format!("{} proves no end of day", statement.format);
        return Err(Defect::new(DefectCode::NoBalances, found));
    }
    let account = account_of(registry, statement)?;
    prove(statement, account)?;
    if wire::is_page(statement) {
        plan.incomplete
            .push(statement.account.clone().unwrap_or_default());
        return Ok(());
    }
    let covered = wire::daily_balances(statement)?;
    let (Some((first, ..)), Some((last, ..))) = (covered.first().copied(), covered.last().copied())
    else {
        let found = "the statement covers no day";
        return Err(Defect::new(DefectCode::BadDate, found));
    };
    let mut said: Vec<SaidDay> = (covered.into_iter())
        .map(|(day, opening, closing)| SaidDay {
            day: days::number(day),
            opening_fen: opening.fen(),
            closing_fen: closing.fen(),
            drafts: Vec::new(),
        })
        .collect();
    let ids = wire::entry_identity(statement, &statement.entries);
    for (entry, id) in statement.entries.iter().zip(ids) {
        if entry.status != EntryStatus::Booked {
            continue;
        }
        // The same day as the statement's own balances count it on: an entry booked late belongs to the
        // statement that brings it.
        let day = entry.booked_on.unwrap_or(last).clamp(first, last);
        let at = usize::try_from(days::number(day) - days::number(first)).unwrap_or(0);
        said[at].drafts.push(plan.batch.drafts.len());
        line(&mut plan.batch, account, entry, &id, (day, source_no))?;
    }
    plan.statements.push(Stated {
        key: StatementKey {
            inst_id: account.inst_id.0,
            account_no: account.account_no.0,
            family: family(&statement.format).to_owned(),
            number: statement.number.clone().unwrap_or_default(),
            first_day: days::number(first),
            last_day: days::number(last),
        },
        account_id: account.account_id.clone(),
        days: said,
    });
    Ok(())
}

fn prove(statement: &Statement, account: &Account) -> Result<(), Defect> {
    let (verdict, defects) = wire::verify(statement);
    let code = match verdict {
        Verdict::Balanced => return Ok(()),
        Verdict::NoBalances => DefectCode::NoBalances,
        Verdict::OneSided => DefectCode::OneSided,
        _ => DefectCode::Unbalanced,
    };
    let account_id = &account.account_id;
    let found = defects.into_iter().find(|d| d.code == code).map_or_else(
        || format!("the statement of account {account_id} does not prove itself"),
        |d| format!("account {account_id}: {}", d.found),
    );
    Err(Defect::new(code, found))
}

/// The format without its version: a bank may move on while a statement is being corrected.
fn family(format: &str) -> &str {
    match format.strip_prefix("camt.") {
        Some(rest) => &format[..format.len() - rest.len() + rest.find('.').unwrap_or(rest.len())],
        None => format,
    }
}

fn account_of<'r>(registry: &'r Registry, statement: &Statement) -> Result<&'r Account, Defect> {
    let Some(written) = statement.account.as_deref() else {
        let found = "the statement names no account";
        return Err(Defect::new(DefectCode::MissingValue, found));
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
    (day, source_no): (Day, i64),
) -> Result<(), Defect> {
    let amount = Money::from_yuan(entry.amount)
        .map_err(|e| Defect::new(DefectCode::BadAmount, e.to_string()).line(entry.line))?;
    let code = entry.code.as_deref().unwrap_or_default();
    let is = |label: &str| code.ends_with(label);
    let reference = entry
        .customer_ref
        .as_deref()
        .or(entry.bank_ref.as_deref())
        .unwrap_or_default();
    let other_day = |on: Option<Day>| {
        on.filter(|d| *d != day)
            .map(|d| d.to_string())
            .unwrap_or_default()
    };
    let reversal = entry.reversal.as_ref();
    let note = ledger::note(&[
        ("bank_ref", entry.bank_ref.as_deref().unwrap_or_default()),
        ("booked_on", &other_day(entry.booked_on)),
        (
            "counterparty",
            entry.counterparty.as_deref().unwrap_or_default(),
        ),
        ("memo", &entry.memo),
        ("reversal", reversal.map_or("", |r| reversal_name(r.kind))),
        (
            "reversal_of",
            reversal
                .and_then(|r| r.original.as_deref())
                .unwrap_or_default(),
        ),
        ("value_on", &other_day(entry.value_on)),
    ]);
    let draft = Draft {
        inst_id: account.inst_id,
        kind: Kind::BankLine,
        role: role(account),
        day,
        confirmed: None,
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
        void: false,
    };
    batch.drafts.push(draft);
    Ok(())
}

const fn reversal_name(kind: ReversalKind) -> &'static str {
    match kind {
        ReversalKind::Reversed => "reversed",
        ReversalKind::Supplement => "supplement",
        ReversalKind::Returned => "returned",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_the_format_without_its_version() {
        for (format, expected) in [
            ("camt.053.001.08", "camt.053"),
            ("camt.053", "camt.053"),
            ("mt940", "mt940"),
            ("bank-csv:icbc", "bank-csv:icbc"),
        ] {
            assert_eq!(family(format), expected);
        }
    }
}
