//! A proved file against what is stored: days and lines appended, revised, disputed, in one transaction.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::ImportError;
use super::super::session::Session;
use super::half;
use super::life::{Age, Becomes, Change, Line, Relation, Said, change, judge};
use super::plan::{Plan, SaidDay, Stated};
use super::stored::{AccountDay, BUNDLE, Stored};
use crate::base::{Day, Defect, DefectCode, InstId, Money};
use crate::feed::store::{
    self, Dispute, KnownVersion, StatementDay, StatementKey, StatementVersion, lines_digest,
};
use crate::ledger::{self, Draft, Kind, Posted};
use crate::wire::Assumptions;

/// Days a defect names; the rest are counted.
const NAMED_DAYS_MAX: usize = 5;

/// How a file was read.
pub(super) struct Pages<'p> {
    pub(super) digest: &'p [u8],
    /// Accounts, as written, whose pages were read together.
    pub(super) accounts: Vec<String>,
    /// What the file does not say itself.
    pub(super) assumed: Assumptions,
    /// More of the file follows in transactions of its own.
    pub(super) unfinished: bool,
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
    /// Days that other words were said of, or earlier ones, which do not hold.
    reworded: BTreeMap<String, Vec<Day>>,
    outdated: BTreeMap<String, Vec<Day>>,
    shorter: BTreeMap<String, Vec<Day>>,
}

/// Posts a proved file, or a part of one, in one transaction. A day that contradicts a stored one is kept as a dispute and
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
    let mut versions: HashMap<StatementKey, Newest> = HashMap::new();
    if session.has_statements {
        for known in store::statement_versions(&mut tx, &names).await? {
            let newest = versions.entry(known.key).or_default();
            newest.version = known.version.max(newest.version);
            newest.made_ms = known.made_ms.max(newest.made_ms);
        }
    }
    let mut changes = Changes::default();
    let today = session.db.clock().day_of(tx.now());
    for stated in &plan.statements {
        let version = versions.get(&stated.key).copied();
        let supersede = session.options.supersede;
        compare(
            &mut changes,
            &mut plan.batch,
            stated,
            &stored,
            (version, source_no, (supersede, today)),
        );
    }
    if !pages.assumed.is_empty() {
        store::note_assumed(&mut tx, source_no, &pages.assumed).await?;
    }
    changes.days.sort_unstable();
    store::append_statement_days(&mut tx, &changes.days).await?;
    store::append_statements(&mut tx, &changes.statements).await?;
    store::append_disputes(&mut tx, &changes.disputes).await?;
    if !pages.unfinished {
        store::settle_unfinished(&mut tx, pages.digest, source_no).await?;
    }
    let complete: Vec<String> = (pages.accounts.into_iter())
        .filter(|a| !plan.incomplete.contains(a))
        .collect();
    store::stop_waiting_for_pages(&mut tx, &complete).await?;
    store::wait_for_pages(&mut tx, pages.digest, &plan.incomplete, source_no).await?;
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
    tell(session, &changes, &plan, posted, (source_no, name));
    if pages.unfinished {
        session.leave_file_open(&mut tx, source_no).await?;
    } else {
        session.close_file(&mut tx, source_no).await?;
    }
    tx.commit().await?;
    session.days_stored_to = Some(i64::MAX);
    session.has_statements = true;
    Ok(())
}

fn day_key(stated: &Stated, day: &SaidDay) -> AccountDay {
    (stated.key.inst_id, stated.key.account_no, day.day)
}

/// What is known of a statement's versions.
#[derive(Clone, Copy, Default)]
struct Newest {
    version: i64,
    /// The latest instant at which the bank made one of them, a confirmation included.
    made_ms: Option<i64>,
}

/// A day as one statement says it.
struct Heard<'a> {
    key: AccountDay,
    day: &'a SaidDay,
    claimant: &'a str,
    source_no: i64,
}

impl Heard<'_> {
    fn row(&self, version: i64) -> StatementDay {
        StatementDay {
            inst_id: self.key.0,
            account_no: self.key.1,
            day: self.key.2,
            sent_no: self.source_no,
            opening_fen: self.day.opening_fen,
            closing_fen: self.day.closing_fen,
            source_no: self.source_no,
            version,
        }
    }

    /// The next version of its claim, after `newest`.
    fn claim(&self, lines: &[Line<'_>], newest: Option<&Dispute>, settled: i64) -> Dispute {
        Dispute {
            inst_id: self.key.0,
            account_no: self.key.1,
            day: self.key.2,
            claimant: self.claimant.to_owned(),
            version: newest.map_or(1, |d| d.version + 1),
            source_no: self.source_no,
            opening_fen: self.day.opening_fen,
            closing_fen: self.day.closing_fen,
            lines_digest: lines_digest(lines.iter().map(|l| l.fen)),
            settled,
        }
    }
}

impl Stored {
    /// Open claims that a person's word settles, and, where a bundle's row stood, that it no longer does: the
    /// same row sent again is then known and disputes nothing.
    fn superseded(&self, heard: &Heard<'_>) -> Vec<Dispute> {
        let settled = |d: &Dispute| Dispute {
            settled: 1,
            version: d.version + 1,
            source_no: heard.source_no,
            ..d.clone()
        };
        let mut rows: Vec<Dispute> = (self.claims(&heard.key).iter())
            .filter(|d| d.settled == 0 && d.claimant != heard.claimant)
            .map(settled)
            .collect();
        let stood = self.days.get(&heard.key);
        if let Some(day) = stood.filter(|_| self.standing(&heard.key).is_none()) {
            let lines = self.said(&heard.key).lines;
            let newest = self.claim(&heard.key, BUNDLE);
            rows.retain(|d| d.claimant != BUNDLE);
            rows.push(Dispute {
                claimant: BUNDLE.to_owned(),
                opening_fen: day.opening_fen,
                closing_fen: day.closing_fen,
                ..heard.claim(&lines, newest, 1)
            });
        }
        rows
    }
}

/// Judges each day of one statement and collects what it changes.
fn compare(
    changes: &mut Changes,
    batch: &mut ledger::Batch,
    stated: &Stated,
    stored: &Stored,
    (newest_version, source_no, (supersede, today)): (Option<Newest>, i64, (bool, Day)),
) {
    let claimant = stated.key.to_string();
    let mut total = Change::default();
    let mut differs = false;
    let mut confirms = true;
    for day in &stated.days {
        let heard = Heard {
            key: day_key(stated, day),
            day,
            claimant: &claimant,
            source_no,
        };
        let lines = || day.drafts.iter().map(|at| line_of(batch, *at)).collect();
        let here = Said {
            balances: Some((day.opening_fen, day.closing_fen)),
            lines: lines(),
        };
        let next = stored.days.get(&heard.key).map_or(1, |d| d.version + 1);
        if !stored.knows(&heard.key) {
            changes.new_days += 1;
            changes.days.push(heard.row(next));
            changes.kept.extend(day.drafts.iter().copied());
            continue;
        }
        let there = stored.said(&heard.key);
        let relation = relation(stated, day, stored, (newest_version, today));
        let mut becomes = judge(&there, &here, relation);
        let stands = [
            Becomes::Disputed,
            Becomes::Reworded,
            Becomes::Outdated,
            Becomes::Shorter,
        ];
        if supersede && stands.contains(&becomes) {
            becomes = Becomes::Revised(change(&there.lines, &here.lines));
            changes.disputes.extend(stored.superseded(&heard));
        } else if supersede {
            let claims = stored.claims(&heard.key);
            changes.disputes.extend(half::settled(claims, source_no));
        }
        let newest = stored.claim(&heard.key, &claimant);
        if becomes == Becomes::Disputed {
            let claim = heard.claim(&here.lines, newest, 0);
            // A claim that is repeated is no other version of its statement.
            if !newest.is_some_and(|d| says_the_same(d, &claim)) {
                differs = true;
                changes.disputes.push(claim);
            }
            let named = changes.contradicted.entry(stated.account_id.clone());
            named.or_default().push(date(day.day));
            continue;
        }
        confirms &= becomes == Becomes::Same && relation.same_statement;
        if matches!(becomes, Becomes::Outdated | Becomes::Shorter) {
            changes.same_days += 1;
            let list = match becomes {
                Becomes::Shorter => &mut changes.shorter,
                _ => &mut changes.outdated,
            };
            let named = list.entry(stated.account_id.clone());
            named.or_default().push(date(day.day));
            continue;
        }
        if newest.is_some_and(|d| d.settled == 0) {
            changes.disputes.push(heard.claim(&here.lines, newest, 1));
        }
        let mut gone = Vec::new();
        match becomes {
            // What an identity does not cover, such as a memo, may be corrected all the same.
            Becomes::Same if relation.same_statement => {
                changes.same_days += 1;
                changes.kept.extend(day.drafts.iter().copied());
            }
            Becomes::Same | Becomes::Disputed | Becomes::Outdated | Becomes::Shorter => {
                changes.same_days += 1;
            }
            Becomes::Reworded => {
                changes.same_days += 1;
                let named = changes.reworded.entry(stated.account_id.clone());
                named.or_default().push(date(day.day));
            }
            Becomes::Proves { new } => {
                changes.new_days += 1;
                changes.days.push(heard.row(next));
                changes.kept.extend(new.iter().map(|at| day.drafts[*at]));
            }
            Becomes::Revised(change) => {
                differs = true;
                total.add(change);
                changes.revised_days += 1;
                changes.days.push(heard.row(next));
                changes.kept.extend(day.drafts.iter().copied());
                gone = removed(&there.lines, &here.lines);
            }
        }
        for id in gone {
            changes.voids.push(void(batch, heard.key, &id, source_no));
        }
    }
    let version = newest_version.map(|n| n.version);
    // The same again, made later than any version: what comes with an age between is outdated.
    let later = newest_version.is_some_and(|n| stated.made_ms > n.made_ms && n.made_ms.is_some());
    confirms &= later && !differs;
    if version.is_none() || differs || confirms {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let lines = stated.days.iter().map(|d| d.drafts.len()).sum();
        changes.statements.push(StatementVersion {
            key: stated.key.clone(),
            version: version.map_or(1, |v| v + 1),
            source_no,
            made_ms: stated.made_ms,
            confirms,
            lines: count(lines),
            added: count(total.added),
            removed: count(total.removed),
            changed: count(total.changed),
        });
    }
}

/// Identities of stored lines that are no longer said.
fn removed(there: &[Line<'_>], here: &[Line<'_>]) -> Vec<String> {
    let here: HashSet<&str> = here.iter().map(|l| l.id).collect();
    (there.iter())
        .filter(|l| !here.contains(l.id))
        .map(|l| l.id.to_owned())
        .collect()
}

/// Whether an open claim is repeated.
fn says_the_same(newest: &Dispute, claim: &Dispute) -> bool {
    let says = |d: &Dispute| (d.settled, d.opening_fen, d.closing_fen);
    says(newest) == says(claim) && newest.lines_digest == claim.lines_digest
}

fn relation(
    stated: &Stated,
    day: &SaidDay,
    stored: &Stored,
    (newest, today): (Option<Newest>, Day),
) -> Relation {
    let open = |s: &StatementKey| s.number.is_empty() && s.last_day == day.day;
    let standing = stored.standing(&day_key(stated, day));
    let made = |known: &KnownVersion| {
        // A version that says what stands may have been made later than the one that brought it.
        let own = newest.filter(|_| known.key == stated.key);
        let known_ms = own.and_then(|n| n.made_ms).max(known.made_ms);
        Some(stated.made_ms?.cmp(&known_ms?))
    };
    Relation {
        same_statement: standing.is_some_and(|s| s.key == stated.key),
        same_family: standing.is_some_and(|s| s.key.family == stated.key.family),
        made: Age(standing.and_then(made).unwrap_or(Ordering::Equal)),
        stored_open: standing.is_some_and(|s| open(&s.key)),
        said_open: open(&stated.key),
        day_over: date(day.day) < today,
        is_copy: stated.is_copy,
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

pub(super) fn date(day: i64) -> Day {
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
    for (days_of, what) in [
        (
            &changes.reworded,
            "another statement gives the same amounts with other references",
        ),
        (
            &changes.outdated,
            "the bank made this statement before the one that stands",
        ),
        (
            &changes.shorter,
            "this export has fewer lines than the one that stands",
        ),
    ] {
        for (account_id, days) in days_of {
            let found = format!(
                "account {account_id}, {}: {what}; it changes nothing, unless the file is imported with \
                 --supersede",
                named_days(days)
            );
            session.note_defect(Defect::new(DefectCode::Conflict, found).file(name));
        }
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
