//! The scorecard of banks (数据报送质量): per bank and month how late, how often corrected, how well named.
//!
//! A day belongs to the month it is in. It is on time where its statement was known by the instant it was
//! owed at; a bank without a feed in the settings is held to the default time.

mod store;

use std::collections::{BTreeMap, HashMap};

use super::{Cell, Run, Table};
use crate::base::{Day, Instant, Ratio};
use crate::feed::owed::Obligations;
use crate::policy::{Expected, Policy};
use crate::reconcile::days::DayState;
use crate::reconcile::store::{DaysWanted, Seen, each_account_days, expected_range};
use crate::registry;
use crate::store::{DbError, Result, Tx};

/// What a bank did in a month.
#[derive(Clone, Debug, Default)]
struct Card {
    accounts: BTreeMap<(i64, i64), ()>,
    expected: i64,
    on_time: i64,
    late: i64,
    missing: i64,
    exempt: i64,
    disputed: i64,
    revised: i64,
    corrections: i64,
    repeats: i64,
    /// Minutes from owed to known, of the latest statement that came.
    worst_minutes: i64,
    lines: i64,
    lines_named: i64,
}

/// Bank, year and month.
type CardKey = (String, i32, u32);

/// The scorecard, as known to a run and up to its day.
pub async fn banks(tx: &mut Tx, run: &Run, obligations: &Obligations) -> Result<Table> {
    let registry = registry::store::load(tx, run.source_cut).await?;
    let bank_of: HashMap<(i64, i64), String> = (registry.accounts.iter())
        .filter(|a| a.kind.owes_statements())
        .map(|a| {
            let key = (a.inst_id.0, a.account_no.0);
            (key, a.bank_code.clone().unwrap_or_default())
        })
        .collect();
    let as_of = run.head.as_of;
    let mut cards: BTreeMap<CardKey, Card> = BTreeMap::new();
    let mut arrived: HashMap<((i64, i64), Day), Instant> = HashMap::new();
    store::each_arrival(tx, run.source_cut, |account, day, at| {
        if bank_of.contains_key(&account) && day <= as_of {
            arrived.insert((account, day), at);
        }
    })
    .await?;
    let policy = Policy::built_in(&run.head.policy).ok_or_else(|| {
        DbError::Inconsistent(format!("run {} has no built-in policy", run.head.run_id))
    })?;
    let range = match policy.statements.expected {
        Expected::Bundle => expected_range(tx, run.source_cut).await?,
        Expected::Working => None,
    };
    let wanted = DaysWanted {
        policy: &policy,
        obligations,
        range,
        seen: Seen {
            day: as_of,
            source_cut: run.source_cut,
        },
        now: run.head.known_at,
    };
    each_account_days(tx, &registry, wanted, |account, days| {
        let key = (account.inst_id.0, account.account_no.0);
        let bank = account.bank_code.as_deref();
        let owed = obligations.of_bank(bank);
        for day in days {
            let card = card(&mut cards, bank.unwrap_or_default(), day.day);
            card.accounts.insert(key, ());
            card.expected += 1;
            match day.state {
                DayState::Exempt => card.exempt += 1,
                DayState::Late | DayState::Gap => card.missing += 1,
                DayState::Disputed => card.disputed += 1,
                DayState::Revised => card.revised += 1,
                DayState::Proven => {}
            }
            if let Some(at) = arrived.get(&(key, day.day)) {
                let due = owed.expected_at(day.day, obligations.zone);
                let minutes = (*at - due).num_minutes();
                card.on_time += i64::from(*at <= due);
                card.late += i64::from(*at > due);
                card.worst_minutes = card.worst_minutes.max(minutes);
            }
        }
    })
    .await?;
    let mut count = |account: &(i64, i64), day: Day, add: &dyn Fn(&mut Card)| {
        if let Some(bank) = bank_of.get(account).filter(|_| day <= as_of) {
            add(card(&mut cards, bank, day));
        }
    };
    store::each_correction(tx, run.source_cut, |account, day| {
        count(&account, day, &|card| card.corrections += 1);
    })
    .await?;
    store::each_repeat(tx, run.source_cut, |account, day, times| {
        count(&account, day, &|card| card.repeats += times);
    })
    .await?;
    store::each_line_count(tx, run.source_cut, |account, day, (lines, named)| {
        count(&account, day, &|card| {
            card.lines += lines;
            card.lines_named += named;
        });
    })
    .await?;
    Ok(table(cards))
}

fn card<'c>(cards: &'c mut BTreeMap<CardKey, Card>, bank: &str, day: Day) -> &'c mut Card {
    let (year, month) = day.year_month();
    cards.entry((bank.to_owned(), year, month)).or_default()
}

fn table(cards: BTreeMap<CardKey, Card>) -> Table {
    let share =
        |part: i64, whole: i64| super::fraction(Ratio::new(i128::from(part), i128::from(whole)));
    let rows = (cards.into_iter())
        .map(|((bank, year, month), c)| {
            vec![
                Cell::text(bank),
                Cell::text(format!("{year}-{month:02}")),
                Cell::Int(i64::try_from(c.accounts.len()).unwrap_or(i64::MAX)),
                Cell::Int(c.expected),
                Cell::Int(c.on_time),
                Cell::Int(c.late),
                Cell::Int(c.missing),
                Cell::Int(c.exempt),
                Cell::Int(c.disputed),
                Cell::Int(c.revised),
                Cell::Int(c.corrections),
                Cell::Int(c.repeats),
                Cell::Int(c.worst_minutes),
                share(c.on_time, c.expected - c.exempt),
                Cell::Int(c.lines),
                share(c.lines_named, c.lines),
            ]
        })
        .collect();
    Table {
        name: "banks",
        columns: &[
            "bank_code",
            "month",
            "accounts",
            "days_expected",
            "days_on_time",
            "days_late",
            "days_missing",
            "days_exempt",
            "days_disputed",
            "days_revised",
            "corrections",
            "repeats",
            "worst_delay_minutes",
            "on_time_rate",
            "lines",
            "reference_rate",
        ],
        rows,
    }
}
