//! A proved file against what is stored: days and lines appended, revised, disputed, in one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::super::ImportError;
use super::super::session::Session;
use super::life::{Becomes, Change, Line, Relation, Said, change, judge};
use super::plan::{Plan, SaidDay, Stated};
use crate::base::{Day, Defect, DefectCode, InstId, Money};
use crate::feed::store::{
    self, Dispute, StatementDay, StatementKey, StatementVersion, StoredDay, lines_digest,
};
use crate::ledger::store::StandingLine;
use crate::ledger::{self, Draft, Kind, Posted};
use crate::store::{Tx, days};

type AccountDay = (i64, i64, i64);

/// The claimant's name for what a bundle's `bank_statements.csv` says.
const BUNDLE: &str = "bank_statements.csv";
/// Days a defect names; the rest are counted.
const NAMED_DAYS_MAX: usize = 5;

/// The pages a file was read for.
pub(super) struct Pages<'p> {
    pub(super) digest: &'p [u8],
    /// Accounts, as written, whose pages were read together.
    pub(super) accounts: Vec<String>,
}

/// What is stored about the days that a file, or a part of a bundle, speaks of.
#[derive(Default)]
struct Stored {
    days: HashMap<AccountDay, StoredDay>,
    lines: HashMap<AccountDay, Vec<StandingLine>>,
    /// Statements by the account and the file that brought them.
    statements: HashMap<AccountDay, Vec<StatementKey>>,
    disputes: HashMap<AccountDay, Vec<Dispute>>,
}

impl Stored {
    /// Reads what is stored of days. Lines are read for days that a statement states, and, where
    /// `all_lines`, for every day.
    async fn read(
        tx: &mut Tx,
        keys: &[AccountDay],
        (statements, all_lines): (bool, bool),
    ) -> Result<Stored, ImportError> {
        let mut stored = Stored::default();
        for day in store::statement_days(tx, keys).await? {
            stored
                .days
                .insert((day.inst_id, day.account_no, day.day), day);
        }
        if statements {
            let mut files: Vec<AccountDay> = (stored.days.values())
                .map(|d| (d.inst_id, d.account_no, d.source_no))
                .collect();
            files.sort_unstable();
            files.dedup();
            for (key, source_no, _) in store::statements_of_files(tx, &files).await? {
                let file = (key.inst_id, key.account_no, source_no);
                stored.statements.entry(file).or_default().push(key);
            }
            for dispute in store::disputes(tx, keys).await? {
                let key = (dispute.inst_id, dispute.account_no, dispute.day);
                stored.disputes.entry(key).or_default().push(dispute);
            }
        }
        let mut spans: BTreeMap<(i64, i64), (i64, i64)> = BTreeMap::new();
        for key in keys
            .iter()
            .filter(|k| all_lines || stored.days.contains_key(k))
        {
            let span = spans.entry((key.0, key.1)).or_insert((key.2, key.2));
            *span = (span.0.min(key.2), span.1.max(key.2));
        }
        for (account, span) in spans {
            for line in ledger::store::lines(tx, account, span, i64::MAX).await? {
                let key = (account.0, account.1, line.day);
                stored.lines.entry(key).or_default().push(line);
            }
        }
        Ok(stored)
    }

    /// The statement whose word stands for a day; none where a bundle's row does.
    fn standing(&self, key: &AccountDay) -> Option<&StatementKey> {
        let day = self.days.get(key)?;
        let brought = self.statements.get(&(key.0, key.1, day.source_no))?;
        (brought.iter()).find(|s| (s.first_day..=s.last_day).contains(&key.2))
    }

    fn said(&self, key: &AccountDay) -> Said<'_> {
        let lines = self.lines.get(key).map_or(&[][..], Vec::as_slice);
        Said {
            balances: (self.days.get(key)).map(|d| (d.opening_fen, d.closing_fen)),
            lines: (lines.iter())
                .map(|l| Line {
                    fen: l.fen,
                    id: &l.source_id,
                    reference: &l.reference,
                })
                .collect(),
        }
    }

    /// The open claim of a claimant on a day, if any.
    fn claim(&self, key: &AccountDay, claimant: &str) -> Option<&Dispute> {
        let claims = self.disputes.get(key)?;
        claims.iter().find(|d| d.claimant == claimant)
    }
}

/// What a file changes.
#[derive(Default)]
struct Changes {
    days: Vec<StatementDay>,
    voids: Vec<Draft>,
    disputes: Vec<Dispute>,
    statements: Vec<StatementVersion>,
    /// Drafts of the plan that are posted.
    kept: HashSet<usize>,
    same_days: i64,
    revised_days: i64,
    new_days: i64,
    /// Disputed days by the account they are of.
    contradicted: BTreeMap<String, Vec<Day>>,
}

/// Posts a proved file in one transaction. A day that contradicts a stored one is kept as a dispute and
/// named; the file's other days stand.
pub(super) async fn post(
    session: &mut Session<'_>,
    mut plan: Plan,
    pages: Pages<'_>,
    (source_no, name): (i64, &str),
) -> Result<(), ImportError> {
    let mut keys: Vec<AccountDay> = (plan.statements.iter())
        .flat_map(|s| (s.days.iter()).map(|d| day_key(s, d)))
        .collect();
    keys.sort_unstable();
    let mut tx = session.begin_write().await?;
    let stored = Stored::read(
        &mut tx,
        &keys,
        (session.has_statements, session.has_bundle_lines),
    )
    .await?;
    let names: Vec<StatementKey> = plan.statements.iter().map(|s| s.key.clone()).collect();
    let mut versions: HashMap<StatementKey, i64> = HashMap::new();
    if session.has_statements {
        for (key, _, version) in store::statement_versions(&mut tx, &names).await? {
            let newest = versions.entry(key).or_insert(version);
            *newest = version.max(*newest);
        }
    }
    let mut changes = Changes::default();
    for stated in &plan.statements {
        let version = versions.get(&stated.key).copied();
        let supersede = session.options.supersede;
        compare(
            &mut changes,
            &mut plan.batch,
            stated,
            &stored,
            (version, source_no, supersede),
        );
    }
    changes.days.sort_unstable();
    store::append_statement_days(&mut tx, &changes.days).await?;
    store::append_statements(&mut tx, &changes.statements).await?;
    store::append_disputes(&mut tx, &changes.disputes).await?;
    if plan.incomplete.is_empty() {
        store::stop_waiting_for_pages(&mut tx, &pages.accounts).await?;
    } else {
        store::wait_for_pages(&mut tx, pages.digest, &plan.incomplete, source_no).await?;
    }
    let mut at = 0;
    plan.batch.drafts.retain(|_| {
        at += 1;
        changes.kept.contains(&(at - 1))
    });
    plan.batch.drafts.append(&mut changes.voids);
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
    session.days_stored_to = Some(i64::MAX);
    session.has_statements = true;
    tell(session, &changes, &plan, posted, (source_no, name));
    Ok(())
}

fn day_key(stated: &Stated, day: &SaidDay) -> AccountDay {
    (stated.key.inst_id, stated.key.account_no, day.day)
}

/// Judges each day of one statement and collects what it changes.
fn compare(
    changes: &mut Changes,
    batch: &mut ledger::Batch,
    stated: &Stated,
    stored: &Stored,
    (version, source_no, supersede): (Option<i64>, i64, bool),
) {
    let claimant = stated.key.to_string();
    let mut total = Change::default();
    let mut differs = false;
    let mut lines = 0;
    for day in &stated.days {
        lines += day.drafts.len();
        let key = day_key(stated, day);
        let here = Said {
            balances: Some((day.opening_fen, day.closing_fen)),
            lines: (day.drafts.iter()).map(|at| line_of(batch, *at)).collect(),
        };
        let known = stored.days.contains_key(&key) || stored.lines.contains_key(&key);
        let becomes = known.then(|| {
            let there = stored.said(&key);
            let becomes = judge(&there, &here, relation(stated, day, stored));
            if becomes == Becomes::Disputed && supersede {
                return (Becomes::Revised(change(&there.lines, &here.lines)), there);
            }
            (becomes, there)
        });
        let open = stored.claim(&key, &claimant).filter(|d| d.settled == 0);
        let said_row = |version: i64| StatementDay {
            inst_id: key.0,
            account_no: key.1,
            day: day.day,
            sent_no: source_no,
            opening_fen: day.opening_fen,
            closing_fen: day.closing_fen,
            source_no,
            version,
        };
        let claim_row = |settled: i64, version: i64, claimant: &str| Dispute {
            inst_id: key.0,
            account_no: key.1,
            day: day.day,
            claimant: claimant.to_owned(),
            version,
            source_no,
            opening_fen: day.opening_fen,
            closing_fen: day.closing_fen,
            lines_digest: lines_digest(here.lines.iter().map(|l| l.fen)),
            settled,
        };
        let next = stored.days.get(&key).map_or(1, |d| d.version + 1);
        let mut voids = Vec::new();
        match becomes {
            None => {
                changes.new_days += 1;
                changes.days.push(said_row(next));
                changes.kept.extend(day.drafts.iter().copied());
            }
            Some((Becomes::Same, _)) => changes.same_days += 1,
            Some((Becomes::Grows, there)) => {
                differs = true;
                total.added += here.lines.len() - there.lines.len();
                changes.revised_days += 1;
                changes.days.push(said_row(next));
                changes.kept.extend(day.drafts.iter().copied());
            }
            Some((Becomes::Proves { new }, _)) => {
                changes.new_days += 1;
                changes.days.push(said_row(next));
                changes.kept.extend(new.iter().map(|at| day.drafts[*at]));
            }
            Some((Becomes::Revised(change), there)) => {
                differs = true;
                total.added += change.added;
                total.removed += change.removed;
                total.changed += change.changed;
                changes.revised_days += 1;
                changes.days.push(said_row(next));
                changes.kept.extend(day.drafts.iter().copied());
                let here: HashSet<&str> = here.lines.iter().map(|l| l.id).collect();
                voids = (there.lines.iter())
                    .filter(|l| !here.contains(l.id))
                    .map(|l| l.id.to_owned())
                    .collect();
                if supersede {
                    let others = stored.disputes.get(&key).map_or(&[][..], Vec::as_slice);
                    changes.disputes.extend(
                        (others.iter())
                            .filter(|d| d.settled == 0 && d.claimant != claimant)
                            .map(|d| Dispute {
                                settled: 1,
                                version: d.version + 1,
                                source_no,
                                ..d.clone()
                            }),
                    );
                }
            }
            Some((Becomes::Disputed, _)) => {
                differs = true;
                let row = claim_row(0, 0, &claimant);
                let newest = stored.claim(&key, &claimant);
                let again = newest.is_some_and(|d| {
                    d.settled == 0
                        && (d.opening_fen, d.closing_fen) == (row.opening_fen, row.closing_fen)
                        && d.lines_digest == row.lines_digest
                });
                if !again {
                    let version = newest.map_or(1, |d| d.version + 1);
                    changes.disputes.push(Dispute { version, ..row });
                }
                let named = changes.contradicted.entry(stated.account_id.clone());
                named.or_default().push(date(day.day));
                continue;
            }
        }
        if let Some(claim) = open {
            let row = claim_row(1, claim.version + 1, &claimant);
            changes.disputes.push(row);
        }
        for id in voids {
            changes.voids.push(void(batch, key, &id, source_no));
        }
    }
    if version.is_none() || differs {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        changes.statements.push(StatementVersion {
            key: stated.key.clone(),
            version: version.map_or(1, |v| v + 1),
            source_no,
            lines: count(lines),
            added: count(total.added),
            removed: count(total.removed),
            changed: count(total.changed),
        });
    }
}

fn relation(stated: &Stated, day: &SaidDay, stored: &Stored) -> Relation {
    let open = |s: &StatementKey| s.number.is_empty() && s.last_day == day.day;
    let standing = stored.standing(&day_key(stated, day));
    Relation {
        same_statement: standing == Some(&stated.key),
        stored_open: standing.is_some_and(open),
        said_open: open(&stated.key),
    }
}

fn line_of(batch: &ledger::Batch, at: usize) -> Line<'_> {
    let draft = &batch.drafts[at];
    Line {
        fen: draft.quantity * draft.amount.fen(),
        id: batch.text(draft.source_id),
        reference: batch.text(draft.reference),
    }
}

/// A draft that takes a stored line back.
fn void(batch: &mut ledger::Batch, key: AccountDay, id: &str, source_no: i64) -> Draft {
    let id = batch.keep(id);
    Draft {
        inst_id: InstId(key.0),
        account_no: key.1,
        amount: Money::ZERO,
        void: true,
        ..Draft::new(Kind::BankLine, date(key.2), id, source_no)
    }
}

fn date(day: i64) -> Day {
    Day::from_epoch(i32::try_from(day).unwrap_or(0))
}

/// Counts what became of a file and names what needs somebody's eye.
fn tell(
    session: &mut Session<'_>,
    changes: &Changes,
    plan: &Plan,
    posted: HashMap<i64, Posted>,
    (source_no, name): (i64, &str),
) {
    for (source_no, p) in posted {
        let counts = session.count(source_no);
        counts.new += i64::try_from(p.new).unwrap_or(i64::MAX);
        counts.same += i64::try_from(p.same).unwrap_or(i64::MAX);
        counts.revised += i64::try_from(p.revised).unwrap_or(i64::MAX);
    }
    let counts = session.count(source_no);
    counts.new += changes.new_days;
    counts.same += changes.same_days;
    counts.revised += changes.revised_days;
    for (account_id, days) in &changes.contradicted {
        let found = format!(
            "account {account_id}: another statement says otherwise of {}",
            named_days(days)
        );
        let defect = Defect::new(DefectCode::Conflict, found).file(name);
        session.quarantine(source_no, defect, format!("disputed days of {account_id}"));
    }
    for account in &plan.incomplete {
        session.count(source_no).waiting += 1;
        let found = format!("a page of account {account} waits for the page beside it");
        session.note_defect(Defect::new(DefectCode::Gap, found).file(name));
    }
    if let Some(result) = session.file_result(source_no) {
        if !changes.contradicted.is_empty() {
            result.outcome = "disputed";
        } else if !plan.incomplete.is_empty() {
            result.outcome = "waiting";
        }
    }
}

fn named_days(days: &[Day]) -> String {
    let named: Vec<String> = (days.iter().take(NAMED_DAYS_MAX))
        .map(ToString::to_string)
        .collect();
    let more = days.len().saturating_sub(NAMED_DAYS_MAX);
    let rest = if more > 0 {
        format!(" and {more} more days")
    } else {
        String::new()
    };
    named.join(", ") + &rest
}

/// Rows of a bundle's `bank_statements.csv` that statement files have spoken of already are taken out:
/// equal ones are counted, others become disputes.
pub(in super::super) async fn bundle_days(
    session: &mut Session<'_>,
    tx: &mut Tx,
    rows: Vec<StatementDay>,
) -> Result<Vec<StatementDay>, ImportError> {
    if !session.has_statements {
        return Ok(rows);
    }
    let mut keys: Vec<AccountDay> = (rows.iter())
        .map(|d| (d.inst_id, d.account_no, d.day))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let stored = Stored::read(tx, &keys, (true, false)).await?;
    let mut left = Vec::with_capacity(rows.len());
    let mut claims: BTreeMap<AccountDay, Dispute> = BTreeMap::new();
    for row in rows {
        let key = (row.inst_id, row.account_no, row.day);
        let (Some(_), Some(day)) = (stored.standing(&key), stored.days.get(&key)) else {
            left.push(row);
            continue;
        };
        let equal = (day.opening_fen, day.closing_fen) == (row.opening_fen, row.closing_fen);
        let newest = stored.claim(&key, BUNDLE);
        let open = newest.is_some_and(|d| d.settled == 0);
        let version = newest.map_or(1, |d| d.version + 1);
        if equal && !open {
            session.count(row.source_no).same += 1;
            claims.remove(&key);
            continue;
        }
        let lines = stored.lines.get(&key).map_or(&[][..], Vec::as_slice);
        let claim = Dispute {
            inst_id: key.0,
            account_no: key.1,
            day: key.2,
            claimant: BUNDLE.to_owned(),
            version,
            source_no: row.source_no,
            opening_fen: row.opening_fen,
            closing_fen: row.closing_fen,
            lines_digest: lines_digest(lines.iter().map(|l| l.fen)),
            settled: i64::from(equal),
        };
        let again = newest.is_some_and(|d| {
            (d.opening_fen, d.closing_fen, d.settled)
                == (claim.opening_fen, claim.closing_fen, claim.settled)
        });
        if equal || again {
            session.count(row.source_no).same += 1;
        } else {
            let found = format!(
                "a statement file says otherwise of {}; the day is disputed",
                date(row.day)
            );
            let defect = Defect::new(DefectCode::Conflict, found).file(BUNDLE);
            let record = format!("{},{},{}", date(row.day), row.opening_fen, row.closing_fen);
            session.quarantine(row.source_no, defect, record);
        }
        if !again {
            claims.insert(key, claim);
        }
    }
    let claims: Vec<Dispute> = claims.into_values().collect();
    store::append_disputes(tx, &claims).await?;
    Ok(left)
}

/// Lines of a day that a statement file states, which a bundle's rows have not explained yet.
pub(in super::super) type Unexplained = HashMap<AccountDay, Vec<(i64, String)>>;

/// Takes a bundle's bank lines of days that statement files state out of the batch: such a day is whole, so
/// its lines are there already under the identities the file gave them. A line that is not there is
/// quarantined.
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
    let mut tx = session.begin_write().await?;
    let stored = Stored::read(&mut tx, &keys, (true, false)).await?;
    tx.rollback().await?;
    let mut kept = Vec::with_capacity(session.batch.drafts.len());
    let mut strange = Vec::new();
    let mut same: HashMap<i64, i64> = HashMap::new();
    for draft in std::mem::take(&mut session.batch.drafts) {
        let key = line_day(&draft);
        if draft.kind != Kind::BankLine || stored.standing(&key).is_none() {
            kept.push(draft);
            continue;
        }
        let id = session.batch.text(draft.source_id);
        let reference = session.batch.text(draft.reference);
        let fen = draft.quantity * draft.amount.fen();
        let known = (key.0, key.1, id.to_owned());
        if session.explained.contains(&known) {
            *same.entry(draft.source_no).or_default() += 1;
            continue;
        }
        let lines = session.unexplained.entry(key).or_insert_with(|| {
            let lines = stored.lines.get(&key).map_or(&[][..], Vec::as_slice);
            (lines.iter().map(|l| (l.fen, l.reference.clone()))).collect()
        });
        let exact = lines.iter().position(|l| l.0 == fen && l.1 == reference);
        match exact.or_else(|| lines.iter().position(|l| l.0 == fen)) {
            Some(at) => {
                lines.swap_remove(at);
                session.explained.insert(known);
                *same.entry(draft.source_no).or_default() += 1;
            }
            None => strange.push((draft.source_no, draft.day, id.to_owned(), fen)),
        }
    }
    session.batch.drafts = kept;
    for (source_no, n) in same {
        session.count(source_no).same += n;
    }
    for (source_no, day, id, fen) in strange {
        let found = format!("the statement of {day} has no line of {fen} fen such as {id}");
        let name = session.file_name(source_no);
        let defect = Defect::new(DefectCode::Conflict, found)
            .file(name)
            .column("entry_id");
        session.quarantine(source_no, defect, format!("{id},{day},{fen}"));
    }
    Ok(())
}
