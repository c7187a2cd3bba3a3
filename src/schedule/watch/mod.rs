//! How feeds, deliveries and runs stand in the books, in few numbers, for whoever watches the service.
//!
//! It is asked again and again, so it reads the working window only (`run.catch_up_days`), never lines of
//! statements: which days are disputed is taken from the newest completed run, which has proved them.
//!
//! Invariants: nothing names an account or a file; banks are counted up to `BANKS_MAX`.

mod store;

use std::collections::BTreeMap;

use super::store::{bank, visible};
use super::times::days_owed;
use crate::base::{Day, Instant};
use crate::config::Config;
use crate::feed::jobs::{Kind, store as jobs};
use crate::feed::owed::Obligations;
use crate::reconcile::days::DayState;
use crate::report::{Wanted, find_run};
use crate::store::{Result, Tx, days};

/// Banks that are told apart; they are codes of accounts, which institutions' bundles bring.
const BANKS_MAX: usize = 64;
/// Days without a statement that are named of each bank, the newest ones.
const MISSING_DAYS_MAX: usize = 31;

/// How everything stands.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The first and the last day that is counted.
    pub window: Option<(Day, Day)>,
    pub banks: Vec<BankStanding>,
    /// Banks beyond those that are told apart.
    pub banks_left_out: usize,
    /// Deliveries that are not in the books, by state.
    pub deliveries: Vec<(&'static str, i64)>,
    /// Since when the oldest of them waits that nobody has read.
    pub unread_since: Option<Instant>,
    /// Days whose fetch has failed and is tried again, by feed.
    pub failing: BTreeMap<String, i64>,
    /// Day and completion of the newest completed run.
    pub newest_run: Option<(Day, Instant)>,
}

/// The account-days of one bank.
#[derive(Clone, Debug)]
pub struct BankStanding {
    /// Its code; empty for accounts that name none.
    pub bank: String,
    /// In the order of [`DayState::ALL`].
    pub states: [i64; DayState::ALL.len()],
    /// Statements that are late or a gap, by day: the newest 31 days with any.
    pub missing: Vec<(Day, i64)>,
    /// The newest day of which a statement is proven.
    pub newest_proven: Option<Day>,
}

/// Reads how everything stands now.
///
/// # Errors
/// A database that does not answer.
pub async fn standing(
    tx: &mut Tx,
    config: &Config,
    obligations: &Obligations,
    now: Instant,
) -> Result<Standing> {
    let today = Day::from_date(now.with_timezone(&obligations.zone).date_naive());
    let back = i32::try_from(config.run.catch_up_days).unwrap_or(i32::MAX);
    let window = (
        today.plus(-back).max(Day::MIN),
        today.plus(-1).max(Day::MIN),
    );
    let cut = visible(tx).await?;
    let run = find_run(tx, &Wanted::default()).await?;
    let mut codes = store::banks(tx, cut).await?;
    let banks_left_out = codes.len().saturating_sub(BANKS_MAX);
    codes.truncate(BANKS_MAX);
    let revised = store::revised(tx, window, cut).await?;
    let disputed = match &run {
        Some(run) => store::disputed(tx, run, window).await?,
        None => store::ByBankAndDay::new(),
    };
    let mut banks = Vec::new();
    for code in codes {
        let seen = Seen {
            window,
            today,
            now,
            cut,
            revised: &revised,
            disputed: &disputed,
        };
        banks.push(of_bank(tx, code, obligations, seen).await?);
    }
    let mut failing = BTreeMap::new();
    for row in jobs::rows(tx, Kind::Fetch, days::number(window.0)).await? {
        if row.state == "waiting" && row.attempts > 0 {
            *failing.entry(row.feed).or_default() += 1;
        }
    }
    Ok(Standing {
        window: Some(window),
        banks,
        banks_left_out,
        deliveries: store::deliveries(tx).await?,
        unread_since: crate::feed::deliveries::unread_since(tx).await?,
        failing,
        newest_run: run.map(|run| (run.head.as_of, run.head.completed_at)),
    })
}

/// What the banks have in common.
struct Seen<'s> {
    window: (Day, Day),
    today: Day,
    now: Instant,
    cut: i64,
    revised: &'s store::ByBankAndDay,
    disputed: &'s store::ByBankAndDay,
}

async fn of_bank(
    tx: &mut Tx,
    code: String,
    obligations: &Obligations,
    seen: Seen<'_>,
) -> Result<BankStanding> {
    let owed = obligations.of_bank(Some(&code));
    let bank = bank(tx, &code, owed.first_day, seen.window, seen.cut).await?;
    let first = bank
        .first_day()?
        .unwrap_or(seen.window.1)
        .max(seen.window.0);
    let (mut states, mut missing, mut newest) = ([0; DayState::ALL.len()], Vec::new(), None);
    let mut add = |state: DayState, n: i64| {
        let at = DayState::ALL.iter().position(|s| *s == state);
        states[at.unwrap_or(0)] += n;
    };
    let count = |of: &store::ByBankAndDay, day: Day| {
        let key = (code.clone(), days::number(day));
        of.get(&key).copied().unwrap_or(0)
    };
    for day in days_owed(first, seen.today) {
        let here = bank.delivered(day);
        let disputed = count(seen.disputed, day).min(here);
        let revised = count(seen.revised, day).min(here - disputed);
        add(DayState::Disputed, disputed);
        add(DayState::Revised, revised);
        add(DayState::Proven, here - disputed - revised);
        add(DayState::Exempt, bank.exempt(day));
        if here > disputed {
            newest = Some(day);
        }
        let (lacking, due) = (bank.lacking(day), owed.expected_at(day, obligations.zone));
        if lacking > 0 && seen.now >= due {
            let is_gap = seen.now >= owed.gap_at(day, obligations.zone);
            add(
                if is_gap {
                    DayState::Gap
                } else {
                    DayState::Late
                },
                lacking,
            );
            missing.push((day, lacking));
        }
    }
    missing.drain(..missing.len().saturating_sub(MISSING_DAYS_MAX));
    let newest_proven = match newest {
        Some(day) => Some(day),
        None => store::newest_statement(tx, &code, seen.cut).await?,
    };
    Ok(BankStanding {
        bank: code,
        states,
        missing,
        newest_proven,
    })
}
