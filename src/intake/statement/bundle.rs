//! A bundle's rows about days that statement files state: such a day is whole, so its lines are there already
//! under the identities the file gave them, and its balances stand.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::ImportError;
use super::super::session::Session;
use super::post::date;
use super::stored::{AccountDay, BUNDLE, Stored};
use crate::base::{Defect, DefectCode};
use crate::feed::store::{self, Dispute, StatementDay, lines_digest};
use crate::ledger::{Draft, Kind};
use crate::store::{Tx, days};

/// Rows of a bundle's `bank_statements.csv` about such days are taken out: equal ones, and those that were
/// settled before, are counted; others become disputes.
pub(in super::super) async fn bundle_days(
    session: &mut Session<'_>,
    tx: &mut Tx,
    rows: Vec<StatementDay>,
) -> Result<Vec<StatementDay>, ImportError> {
    if !session.has_statements {
        return Ok(rows);
    }
    let keys: BTreeSet<AccountDay> = (rows.iter())
        .map(|d| (d.inst_id, d.account_no, d.day))
        .collect();
    let keys: Vec<AccountDay> = keys.into_iter().collect();
    let stored = Stored::read(tx, &keys, (true, false)).await?;
    let mut left = Vec::with_capacity(rows.len());
    // Of several rows of one day the last one holds.
    let mut claims: BTreeMap<AccountDay, Dispute> = BTreeMap::new();
    for row in rows {
        let key = (row.inst_id, row.account_no, row.day);
        let (Some(_), Some(day)) = (stored.standing(&key), stored.days.get(&key)) else {
            left.push(row);
            continue;
        };
        let says = (row.opening_fen, row.closing_fen);
        let equal = (day.opening_fen, day.closing_fen) == says;
        let newest = stored.claim(&key, BUNDLE);
        let open = newest.is_some_and(|d| d.settled == 0);
        let repeated = newest.is_some_and(|d| (d.opening_fen, d.closing_fen) == says);
        if equal || repeated {
            session.count(row.source_no).same += 1;
        } else {
            let on = date(row.day);
            let found = format!("a statement file says otherwise of {on}; the day is disputed");
            let defect = Defect::new(DefectCode::Conflict, found).file(BUNDLE);
            let record = format!("{on},{},{}", row.opening_fen, row.closing_fen);
            session.quarantine(row.source_no, defect, record);
        }
        if repeated || (equal && !open) {
            claims.remove(&key);
            continue;
        }
        let lines = stored.lines.get(&key).map_or(&[][..], Vec::as_slice);
        let claim = Dispute {
            inst_id: key.0,
            account_no: key.1,
            day: key.2,
            claimant: BUNDLE.to_owned(),
            version: newest.map_or(1, |d| d.version + 1),
            source_no: row.source_no,
            opening_fen: row.opening_fen,
            closing_fen: row.closing_fen,
            lines_digest: lines_digest(lines.iter().map(|l| l.fen)),
            settled: i64::from(equal),
        };
        claims.insert(key, claim);
    }
    let claims: Vec<Dispute> = claims.into_values().collect();
    store::append_disputes(tx, &claims).await?;
    Ok(left)
}

/// Lines of a day, by amount, that no row of a bundle has named in this import.
pub(in super::super) type Unexplained = HashMap<AccountDay, HashMap<i64, usize>>;

/// Takes a bundle's bank lines of such days out of the batch. One whose amount the day has no more of is
/// quarantined; references do not matter, since two senders write them differently.
pub(in super::super) async fn bundle_lines(session: &mut Session<'_>) -> Result<(), ImportError> {
    if !session.has_statements {
        return Ok(());
    }
    let line_day = |d: &Draft| (d.inst_id.0, d.account_no, days::number(d.day));
    let keys: BTreeSet<AccountDay> = (session.batch.drafts.iter())
        .filter(|d| d.kind == Kind::BankLine)
        .map(line_day)
        .collect();
    if keys.is_empty() {
        return Ok(());
    }
    let keys: Vec<AccountDay> = keys.into_iter().collect();
    let mut tx = session.db.begin_read().await?;
    let stored = Stored::read(&mut tx, &keys, (true, false)).await?;
    tx.rollback().await?;
    let of_file = |d: &Draft| d.kind == Kind::BankLine && stored.standing(&line_day(d)).is_some();
    let (of_files, kept): (Vec<Draft>, Vec<Draft>) = std::mem::take(&mut session.batch.drafts)
        .into_iter()
        .partition(of_file);
    session.batch.drafts = kept;
    for draft in of_files {
        let key = line_day(&draft);
        let id = session.batch.text(draft.source_id).to_owned();
        let fen = draft.quantity * draft.amount.fen();
        let lines = session.unexplained.entry(key).or_insert_with(|| {
            let mut by_fen: HashMap<i64, usize> = HashMap::new();
            for line in stored.lines.get(&key).into_iter().flatten() {
                *by_fen.entry(line.fen).or_default() += 1;
            }
            by_fen
        });
        let known = (key.0, key.1, id);
        if session.explained.contains(&known) {
            session.count(draft.source_no).same += 1;
            continue;
        }
        match lines.get_mut(&fen) {
            Some(left) if *left > 0 => {
                *left -= 1;
                session.explained.insert(known);
                session.count(draft.source_no).same += 1;
            }
            _ => {
                let (id, day) = (known.2, draft.day);
                let found = format!("the statement of {day} has no line of {fen} fen such as {id}");
                let defect = Defect::new(DefectCode::Conflict, found)
                    .file(session.file_name(draft.source_no))
                    .column("entry_id");
                session.quarantine(draft.source_no, defect, format!("{id},{day},{fen}"));
            }
        }
    }
    Ok(())
}
