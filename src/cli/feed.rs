//! `jintuo feed`: which statements are here, which are missing, and why.

use std::io::{self, Write};

use serde_json::json;

use super::args::FeedCommand;
use super::deliveries;
use crate::app;
use crate::base::{Day, Instant};
use crate::config::Config;
use crate::feed::deliveries::Decision;
use crate::feed::owed::Obligations;
use crate::feed::store as feed_store;
use crate::intake::{self, Exempt};
use crate::policy::{self, Expected, Policy};
use crate::reconcile::days::{DayState, LedgerDay};
use crate::reconcile::store::{DaysWanted, Seen, each_account_days, expected_range};
use crate::registry;
use crate::report::{self, Wanted};
use crate::store::Tx;

/// Input is incomplete (`interchange.md`).
const EXIT_INCOMPLETE: u8 = 4;
/// Days in a bad state that are listed for people; the rest are counted.
const LISTED_MAX: usize = 200;

/// How many account-days are in each state, in the order of [`DayState::ALL`].
#[derive(Default)]
struct Counts([u64; DayState::ALL.len()]);

impl Counts {
    fn add(&mut self, state: DayState) {
        let at = DayState::ALL.iter().position(|s| *s == state);
        self.0[at.unwrap_or(0)] += 1;
    }

    fn each(&self) -> impl Iterator<Item = (DayState, u64)> + '_ {
        DayState::ALL.into_iter().zip(self.0)
    }

    fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    fn unsettled(&self) -> u64 {
        (self.each())
            .filter(|(state, _)| !state.is_settled())
            .map(|(_, n)| n)
            .sum()
    }
}

/// Runs `jintuo feed`.
pub(super) async fn feed(config: &Config, command: FeedCommand, json: bool) -> anyhow::Result<u8> {
    match command {
        FeedCommand::Status { as_of, policy } => {
            status(config, as_of, policy.as_deref(), json).await
        }
        FeedCommand::Exempt {
            account,
            from,
            to,
            reason,
            end,
        } => {
            let reason = reason.filter(|_| !end).unwrap_or_default();
            let wanted = Exempt {
                account_id: account,
                first: from,
                last: to,
                reason,
            };
            exempt(config, &wanted, json).await
        }
        FeedCommand::Deliveries { all } => deliveries::list(config, all, json).await,
        FeedCommand::Retry { delivery, word } => {
            deliveries::decide(config, delivery, Decision::Retry, &word, json).await
        }
        FeedCommand::Discard { delivery, word } => {
            deliveries::decide(config, delivery, Decision::Discard, &word, json).await
        }
        FeedCommand::Fetch { feed, day } => deliveries::fetch(config, &feed, day, json).await,
    }
}

/// Prints the ledger of days. Exit code 4 where a day is late, a gap or disputed.
async fn status(
    config: &Config,
    as_of: Option<Day>,
    policy: Option<&str>,
    json: bool,
) -> anyhow::Result<u8> {
    let db = app::open_existing(config).await?;
    let mut tx = db.begin_read().await?;
    let obligations = Obligations::of(config).map_err(anyhow::Error::msg)?;
    let now = tx.now();
    let source_cut = feed_store::cut(&mut tx, now).await?;
    let as_of = match as_of {
        Some(day) => day,
        None => last_owed(&mut tx, config, &obligations, (source_cut, now)).await?,
    };
    let policy = named_policy(&mut tx, policy, as_of).await?;
    let registry = registry::store::load(&mut tx, source_cut).await?;
    let range = match policy.statements.expected {
        Expected::Bundle => expected_range(&mut tx, source_cut).await?,
        Expected::Working => None,
    };
    let wanted = DaysWanted {
        policy: &policy,
        obligations: &obligations,
        range,
        seen: Seen {
            day: as_of,
            source_cut,
        },
        now,
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut counts = Counts::default();
    if json {
        write!(
            out,
            "{{\"schema\":\"jintuo.feed-status/1\",\"as_of\":\"{as_of}\",\"policy\":{},\"days\":[",
            json!(policy.name)
        )?;
    }
    let mut written = Ok(());
    let mut listed = 0;
    each_account_days(&mut tx, &registry, wanted, |account, days| {
        for day in days {
            let first = counts.total() == 0;
            counts.add(day.state);
            let shown = json || !day.state.is_settled();
            listed += usize::from(shown);
            if written.is_err() || !shown || (!json && listed > LISTED_MAX) {
                continue;
            }
            let (id, bank) = (&account.account_id, account.bank_code.as_deref());
            written = if json {
                let comma = if first { "" } else { "," };
                write!(out, "{comma}{}", row(id, bank, &day))
            } else {
                let LedgerDay { day, state, reason } = day;
                writeln!(out, "{day}  {:<8}  {id}  {reason}", state.as_str())
            };
        }
    })
    .await?;
    written?;
    if json {
        let by_state: serde_json::Map<String, serde_json::Value> = (counts.each())
            .map(|(state, n)| (state.as_str().to_owned(), json!(n)))
            .collect();
        writeln!(out, "],\"counts\":{}}}", json!(by_state))?;
    } else {
        if listed > LISTED_MAX {
            writeln!(out, "and {} more; --json lists all", listed - LISTED_MAX)?;
        }
        let by_state: Vec<String> = (counts.each())
            .map(|(state, n)| format!("{} {n}", state.as_str()))
            .collect();
        writeln!(out, "account-days as of {as_of}: {}", by_state.join(", "))?;
    }
    out.flush()?;
    tx.rollback().await?;
    db.close().await;
    Ok(if counts.unsettled() > 0 {
        EXIT_INCOMPLETE
    } else {
        0
    })
}

fn row(account_id: &str, bank: Option<&str>, day: &LedgerDay) -> serde_json::Value {
    json!({
        "account_id": account_id,
        "bank": bank,
        "date": day.day,
        "state": day.state,
        "reason": day.reason,
    })
}

/// The last day that any account owes: with feeds, the last one whose time has come; without any, the
/// newest one known, since nothing else is awaited.
async fn last_owed(
    tx: &mut Tx,
    config: &Config,
    obligations: &Obligations,
    (source_cut, now): (i64, Instant),
) -> anyhow::Result<Day> {
    let yesterday = Day::from_date(now.with_timezone(&obligations.zone).date_naive()).plus(-1);
    let newest = expected_range(tx, source_cut).await?.map(|r| r.last);
    if config.feed.is_empty() {
        return Ok(newest.unwrap_or(yesterday));
    }
    Ok(newest.map_or(yesterday, |newest| newest.max(yesterday)))
}

/// The policy that is named, else that of the day's newest run, else the default.
async fn named_policy(tx: &mut Tx, name: Option<&str>, as_of: Day) -> anyhow::Result<Policy> {
    let wanted = Wanted {
        as_of: Some(as_of),
        ..Wanted::default()
    };
    let name = match name {
        Some(name) => name.to_owned(),
        None => report::find_run(tx, &wanted)
            .await?
            .map_or(policy::DEFAULT.to_owned(), |run| run.head.policy),
    };
    let found = Policy::built_in(&name);
    found.ok_or_else(|| anyhow::anyhow!("no policy is called {name:?}"))
}

/// Records that an account owes no statement for some days, and why.
async fn exempt(config: &Config, exempt: &Exempt, json: bool) -> anyhow::Result<u8> {
    let db = app::open(config).await?;
    let changed = intake::exempt(&db, exempt).await?;
    db.close().await;
    let (from, to) = (exempt.first, exempt.last);
    if json {
        let object = json!({
            "schema": "jintuo.feed-exempt/1",
            "account_id": exempt.account_id,
            "from": from,
            "to": to,
            "reason": exempt.reason,
            "changed": changed,
        });
        writeln!(io::stdout(), "{object}")?;
    } else {
        let what = match (changed, exempt.reason.is_empty()) {
            (false, _) => "is as it was",
            (true, false) => "owes no statement",
            (true, true) => "owes statements again",
        };
        writeln!(
            io::stderr(),
            "{} {what} from {from} to {to}",
            exempt.account_id
        )?;
    }
    Ok(0)
}
