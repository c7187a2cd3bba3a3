//! A statement file's bytes to days and lines, proved, before anything stored is looked at. Pure.

use std::collections::HashMap;

use crate::base::{Day, Defect, DefectCode, Money};
use crate::feed::store::StatementKey;
use crate::ledger::{self, Batch, Correction, Draft, Kind, NO_CONTRACT, Span};
use crate::registry::{Account, Registry};
use crate::store::days;
use crate::wire::interchange::plain_reference;
use crate::wire::{self, Assumptions, Entry, EntryStatus, ReversalKind, Statement, Verdict};

use super::super::facts::role;

/// The most characters of a statement's number, which is a key of the books; banks use 35.
const NUMBER_CHARS_MAX: usize = 256;

/// What a file says, ready to be compared with what is stored.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) statements: Vec<Stated>,
    pub(super) batch: Batch,
    /// What is remarkable about the file, which is used all the same.
    pub(super) remarks: Vec<Defect>,
    /// Accounts, as written, of pages whose neighbour is missing.
    pub(super) incomplete: Vec<String>,
}

/// One statement of one account.
pub(super) struct Stated {
    pub(super) key: StatementKey,
    pub(super) account_id: String,
    /// When the bank made it, in milliseconds.
    pub(super) made_ms: Option<i64>,
    /// The bank calls it a copy.
    pub(super) is_copy: bool,
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

/// Reads a file's statements as the file gives them, page by page, and what is remarkable about them.
///
/// # Errors
/// Why the file cannot be used, every reason.
pub(super) fn statements(
    bytes: &[u8],
    assumed: &Assumptions,
) -> Result<(Vec<Statement>, Vec<Defect>), Vec<Defect>> {
    let Some(format) = wire::sniff(bytes) else {
        // Inspection says why in words: an empty file, a broken charset, an unknown format.
        let mut why: Vec<Defect> = wire::inspect("", bytes)
            .into_iter()
            .flat_map(|i| i.defects)
            .collect();
        let said = (why.iter()).any(|d| d.code == DefectCode::UnknownFormat) || bytes.is_empty();
        if !said && !wire::resembles_statement(bytes) {
            let found = "the bytes are no statement in a known format";
            why.push(Defect::new(DefectCode::UnknownFormat, found));
        }
        return Err(why);
    };
    let (statements, defects) = wire::parse_with(format, bytes, assumed);
    if !statements.is_empty() {
        return Ok((statements, defects));
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
    (source_no, assumed, bank): (i64, &Assumptions, Option<&str>),
) -> Result<Plan, Vec<Defect>> {
    let mut plan = Plan::default();
    let mut refused = Vec::new();
    for statement in statements {
        if let Err(defect) = add(&mut plan, registry, statement, (source_no, assumed, bank)) {
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
    (source_no, assumed, bank): (i64, &Assumptions, Option<&str>),
) -> Result<(), Defect> {
    // Only end-of-day statements prove a day; intraday reports and advices are for looking at.
    let intraday = ["camt.052", "camt.054", "mt942"];
    if intraday.iter().any(|f| statement.format.starts_with(f)) {
        let found = format!("{} proves no end of day", statement.format);
        return Err(Defect::new(DefectCode::NoBalances, found));
    }
    let number = statement.number.as_deref().unwrap_or_default();
    if number.chars().count() > NUMBER_CHARS_MAX {
        let found = format!("the statement's number has more than {NUMBER_CHARS_MAX} characters");
        return Err(Defect::new(DefectCode::TooLarge, found));
    }
    let account = account_of(registry, statement, assumed)?;
    if let (Some(bank), Some(own)) = (bank, account.bank_code.as_deref())
        && bank != own
    {
        let found = format!(
            "account {} is held at {own}, and the feed is {bank}'s: no bank states another's accounts; \
             where they are one, write `bank` of the feed as accounts.csv does",
            account.account_id
        );
        return Err(Defect::new(DefectCode::Conflict, found).column("account"));
    }
    if statement.unordered {
        let found = format!(
            "account {}: the running balances do not lead from opening to closing",
            account.account_id
        );
        return Err(Defect::new(DefectCode::OutOfOrder, found));
    }
    if wire::is_page(statement) {
        prove(statement, account)?;
        plan.incomplete
            .push(statement.account.clone().unwrap_or_default());
        return Ok(());
    }
    // The days prove the statement as well.
    let mut covered = wire::daily_balances(statement).map_err(|d| of_account(d, account))?;
    cut_at_its_making(plan, &mut covered, statement, account)?;
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
    let booked: Vec<(&Entry, Day)> = (statement.entries.iter())
        .filter(|entry| entry.status == EntryStatus::Booked)
        .map(|entry| (entry, wire::posting_day(entry, (first, last))))
        .collect();
    let ids = wire::entry_identity(statement, booked.iter().copied());
    let by_bank_ref = references(&statement.entries);
    for ((entry, day), id) in booked.into_iter().zip(ids) {
        let at = usize::try_from(days::number(day) - days::number(first)).unwrap_or(0);
        said[at].drafts.push(plan.batch.drafts.len());
        line(
            &mut plan.batch,
            account,
            entry,
            (&id, &by_bank_ref),
            (day, source_no),
        )?;
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
        made_ms: statement.made_at.map(|at| at.timestamp_millis()),
        is_copy: statement.duplicate,
        days: said,
    });
    Ok(())
}

/// Takes off the days after the one on which the bank made the statement: of these it says nothing yet, whatever
/// period its head names.
///
/// # Errors
/// A statement that moves money on such a day, or speaks of no other.
fn cut_at_its_making(
    plan: &mut Plan,
    covered: &mut Vec<(Day, Money, Money)>,
    statement: &Statement,
    account: &Account,
) -> Result<(), Defect> {
    let Some(made_on) = statement.made_at.and_then(wire::china_day) else {
        return Ok(());
    };
    let to_come = covered.partition_point(|(day, ..)| *day <= made_on);
    if to_come == covered.len() {
        return Ok(());
    }
    let moves = covered[to_come..]
        .iter()
        .any(|(_, opening, closing)| opening != closing);
    let last = covered[covered.len() - 1].0;
    let found = format!(
        "account {}: the statement was made on {made_on} and speaks of days up to {last}",
        account.account_id
    );
    if to_come == 0 || moves {
        return Err(Defect::new(DefectCode::BadDate, found));
    }
    let remark = Defect::new(
        DefectCode::BadDate,
        found + "; the days to come are not proven by it",
    );
    plan.remarks.push(remark);
    covered.truncate(to_come);
    Ok(())
}

/// Proves a page: it has no days of its own.
fn prove(statement: &Statement, account: &Account) -> Result<(), Defect> {
    let (verdict, defects) = wire::verify(statement);
    let code = match verdict {
        Verdict::Balanced => return Ok(()),
        Verdict::NoBalances => DefectCode::NoBalances,
        Verdict::OneSided => DefectCode::OneSided,
        _ => DefectCode::Unbalanced,
    };
    let said = defects.into_iter().find(|d| d.code == code);
    let defect = said.unwrap_or_else(|| Defect::new(code, "the page does not prove itself"));
    Err(of_account(defect, account))
}

fn of_account(defect: Defect, account: &Account) -> Defect {
    let found = format!("account {}: {}", account.account_id, defect.found);
    Defect { found, ..defect }
}

/// The format without its version: a bank may move on while a statement is being corrected.
fn family(format: &str) -> &str {
    match format.strip_prefix("camt.") {
        Some(rest) => &format[..format.len() - rest.len() + rest.find('.').unwrap_or(rest.len())],
        None => format,
    }
}

/// The account a statement is of. Where the settings name one, reading has made sure that the file names
/// it or none.
fn account_of<'r>(
    registry: &'r Registry,
    statement: &Statement,
    assumed: &Assumptions,
) -> Result<&'r Account, Defect> {
    let Some(written) = assumed.account.as_ref().or(statement.account.as_ref()) else {
        let found = "the statement names no account; where the agreement with the bank says which, \
                     set `account` of the feed, or import the file with --account";
        return Err(Defect::new(DefectCode::MissingValue, found).column("account"));
    };
    (wire::account_spellings(written).iter())
        .find_map(|id| registry.accounts.get(id))
        .ok_or_else(|| {
            let found = format!("account {written} is not registered");
            Defect::new(DefectCode::UnknownAccount, found).column("account")
        })
}

/// References of the payer by the bank's own: a bank may name either where it takes a line back.
fn references(entries: &[Entry]) -> HashMap<&str, &str> {
    let names_another = |e: &Entry| (e.reversal.as_ref()).is_some_and(|r| r.original.is_some());
    if !entries.iter().any(names_another) {
        return HashMap::new();
    }
    (entries.iter())
        .filter_map(|e| e.bank_ref.as_deref().zip(e.customer_ref.as_deref()))
        .collect()
}

fn line(
    batch: &mut Batch,
    account: &Account,
    entry: &Entry,
    (id, by_bank_ref): (&str, &HashMap<&str, &str>),
    (day, source_no): (Day, i64),
) -> Result<(), Defect> {
    let amount = Money::from_yuan(entry.amount)
        .map_err(|e| Defect::new(DefectCode::BadAmount, e.to_string()).line(entry.line))?;
    let code = entry.code.as_deref().unwrap_or_default();
    let is = |label: &str| code.ends_with(label);
    let code = if is("STL") {
        ledger::LINE_SETTLEMENT
    } else if is("TRF") {
        ledger::LINE_TRANSFER
    } else if is("DBT") {
        ledger::LINE_DEBIT
    } else {
        ledger::LINE_OTHER
    };
    let reversal = entry.reversal.as_ref();
    let own = entry.customer_ref.as_deref().or(entry.bank_ref.as_deref());
    // A line that undoes another one goes by the other one's reference.
    let original = reversal.and_then(|r| r.original.as_deref());
    let original = original.map(|r| by_bank_ref.get(r).copied().unwrap_or(r));
    let reference = original.or(own).unwrap_or_default();
    let other_day = |on: Option<Day>| {
        on.filter(|d| *d != day)
            .map(|d| d.to_string())
            .unwrap_or_default()
    };
    let plain = plain_reference(reference);
    let as_sent = match own {
        Some(own) if own != plain => own,
        _ => "",
    };
    let note = ledger::note(&[
        ("bank_ref", entry.bank_ref.as_deref().unwrap_or_default()),
        ("booked_on", &other_day(entry.booked_on)),
        (
            "counterparty",
            entry.counterparty.as_deref().unwrap_or_default(),
        ),
        ("memo", &entry.memo),
        ("reference", as_sent),
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
        state: ledger::line_state(code, reversal.map(|r| correction(r.kind))),
        quantity: if amount < Money::ZERO { -1 } else { 1 },
        source_id: batch.keep(id),
        reference: if reference.is_empty() {
            Span::default()
        } else {
            batch.keep(&plain)
        },
        source_no,
        sent_no: source_no,
        note: batch.keep(&note),
        void: false,
    };
    batch.drafts.push(draft);
    Ok(())
}

const fn correction(kind: ReversalKind) -> Correction {
    match kind {
        ReversalKind::Reversed => Correction::Reversed,
        ReversalKind::Supplement => Correction::Supplement,
        ReversalKind::Returned => Correction::Returned,
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
