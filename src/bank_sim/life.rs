//! What accounts go through, and what banks make of it.

use crate::base::Day;
use crate::demo::chance::Chance;
use crate::demo::{Format, Line, Stated};

use super::{
    ACCOUNTS_MAX, BANKS, DAYS_MAX, Delivery, Manifest, Plan, Planted, PlantedWire,
    REQUESTS_PLANNED, Sim, SimBank, Trouble, Truth, WireTrouble,
};

/// A truncated file keeps so many hundredths of its bytes.
const TRUNCATED_KEEPS_PERCENT: usize = 60;
/// The longest a late file is late, in days.
const LATE_DAYS_MAX: i64 = 3;
/// Added to a statement's number to make another one.
const OTHER_NUMBER: usize = 5_000;
/// Requests that fail in a row once errors begin.
const STORM_REQUESTS: usize = 3;
/// Streams of chance: accounts from 0, the wire above.
const WIRE_STREAM: u64 = 1 << 32;

pub(super) fn live(plan: &Plan) -> Sim {
    let mut manifest = Manifest {
        schema: "jintuo.bank-sim/1",
        seed: plan.seed,
        ..Manifest::default()
    };
    let banks = (0..BANKS.len().min(plan.banks))
        .map(|index| bank(plan, index, &mut manifest))
        .collect();
    Sim { banks, manifest }
}

fn bank(plan: &Plan, index: usize, manifest: &mut Manifest) -> SimBank {
    let (name, format) = BANKS[index];
    let mut deliveries = Vec::new();
    for account in 0..plan.accounts.min(ACCOUNTS_MAX) {
        let mut account = Account::new(plan.seed, index, account);
        for (n, day) in plan.days.iter().take(DAYS_MAX).enumerate() {
            let previous = if n == 0 {
                day.plus(-1)
            } else {
                plan.days[n - 1]
            };
            let stated = account.state(n + 1, *day, previous);
            let following = plan.days.get(n + 1).copied();
            let trouble = account.trouble(plan.trouble_permille, format, &stated, following);
            let made = deliver(&mut account, format, &stated, trouble, following);
            manifest.statements.push(Truth {
                bank: name,
                account_id: stated.account_id.clone(),
                day: *day,
                number: stated.number,
                opening_fen: stated.opening_fen,
                closing_fen: stated.closing_fen(),
                lines: stated.lines.len(),
                file: made.truth.name.clone(),
                visible_from: made.truth.visible_from,
            });
            manifest.planted.extend(trouble.map(|trouble| Planted {
                bank: name,
                account_id: stated.account_id.clone(),
                day: *day,
                trouble,
                file: made.wrong.as_ref().unwrap_or(&made.truth).name.clone(),
            }));
            deliveries.extend(made.wrong);
            deliveries.push(made.truth);
        }
    }
    in_order(&mut deliveries, &manifest.planted, name);
    let wire = wire(plan, index);
    let planned = wire.iter().enumerate();
    manifest
        .wire
        .extend(planned.filter_map(|(request, trouble)| {
            trouble.map(|trouble| PlantedWire {
                bank: name,
                request,
                trouble,
            })
        }));
    SimBank {
        name,
        deliveries,
        wire,
    }
}

/// By the day they are shown and the day they state; what is reordered goes behind its juniors.
fn in_order(deliveries: &mut [Delivery], planted: &[Planted], bank: &str) {
    let behind: std::collections::BTreeSet<&str> = planted
        .iter()
        .filter(|p| p.bank == bank && p.trouble == Trouble::Reordered)
        .map(|p| p.file.as_str())
        .collect();
    deliveries.sort_by_key(|d| {
        let rank = behind.contains(d.name.as_str());
        (d.visible_from, rank, d.day)
    });
}

/// One account's chance and balance.
struct Account {
    id: String,
    chance: Chance,
    balance: i64,
    lines: usize,
}

/// The files of an account-day.
struct Made {
    /// Wrong, or one too many; shown no later than the truth.
    wrong: Option<Delivery>,
    truth: Delivery,
}

impl Account {
    fn new(seed: u64, bank: usize, number: usize) -> Account {
        let stream = (bank * ACCOUNTS_MAX + number) as u64;
        let mut chance = Chance::new(seed, stream);
        let balance = chance.between(1_000, 100_000) * 10_000;
        Account {
            id: format!("9{bank}0100{number:08}"),
            chance,
            balance,
            lines: 0,
        }
    }

    /// Lives through a day; the balance never falls below zero.
    fn state(&mut self, number: usize, day: Day, previous: Day) -> Stated {
        let opening_fen = self.balance;
        let mut lines = Vec::new();
        for _ in 0..self.chance.between(0, 4) {
            let line = if self.balance > 5_000_000 && self.chance.permille(300) {
                -self.chance.between(1, self.balance / 10)
            } else {
                self.chance.between(1, 500_000)
            };
            lines.push(self.line(line));
        }
        Stated {
            account_id: self.id.clone(),
            holder: format!("模拟机构{}", &self.id[..2]),
            number,
            day,
            previous,
            opening_fen,
            lines,
        }
    }

    fn line(&mut self, amount_fen: i64) -> Line {
        self.balance += amount_fen;
        self.lines += 1;
        let tail = &self.id[self.id.len() - 8..];
        Line {
            id: format!("S{tail}{:06}", self.lines),
            amount_fen,
            reference: format!("R{tail}{:06}", self.lines),
        }
    }

    /// What goes wrong with a day, of what can: a CSV file has no number to keep or to change, and a
    /// correction needs a line to correct.
    fn trouble(
        &mut self,
        permille: i64,
        format: Format,
        stated: &Stated,
        following: Option<Day>,
    ) -> Option<Trouble> {
        // Drawn in any case, so that a calm plan tells the same story.
        let strikes = self.chance.permille(permille);
        let trouble = self.chance.pick([
            Trouble::Late,
            Trouble::Duplicate,
            Trouble::Truncated,
            Trouble::Corrected,
            Trouble::Reordered,
            Trouble::Contradicting,
        ]);
        let possible = match trouble {
            Trouble::Corrected => format != Format::Csv && !stated.lines.is_empty(),
            Trouble::Contradicting => format != Format::Csv,
            Trouble::Reordered => following.is_some(),
            _ => true,
        };
        (strikes && possible).then_some(trouble)
    }
}

fn deliver(
    account: &mut Account,
    format: Format,
    stated: &Stated,
    trouble: Option<Trouble>,
    following: Option<Day>,
) -> Made {
    let (ending, bytes) = stated.write(format);
    let named = |mark: &str, visible_from: Day, bytes: Vec<u8>| Delivery {
        name: format!("{}-{}{mark}.{ending}", stated.account_id, stated.day),
        day: stated.day,
        visible_from,
        bytes,
    };
    let (due, next) = (stated.day.next(), stated.day.plus(2));
    let late = i32::try_from(account.chance.between(1, LATE_DAYS_MAX)).unwrap_or(1);
    let (wrong, truth) = match trouble {
        None => (None, named("", due, bytes)),
        Some(Trouble::Late) => (None, named("", due.plus(late), bytes)),
        Some(Trouble::Reordered) => {
            let shown = following.map_or(due, Day::next);
            (None, named("-behind", shown, bytes))
        }
        Some(Trouble::Duplicate) => {
            let again = named("-again", due, bytes.clone());
            (Some(again), named("", due, bytes))
        }
        Some(Trouble::Truncated) => {
            let kept = bytes.len() * TRUNCATED_KEEPS_PERCENT / 100;
            let cut = named("-cut", due, bytes[..kept].to_vec());
            (Some(cut), named("", next, bytes))
        }
        Some(Trouble::Corrected) => {
            let mut early = stated.clone();
            early.lines.pop();
            let early = named("-first", due, early.write(format).1);
            (Some(early), named("", next, bytes))
        }
        Some(Trouble::Contradicting) => {
            let mut other = stated.clone();
            other.number += OTHER_NUMBER;
            other.lines.push(Line {
                id: format!("X{}{:06}", &stated.account_id[6..], stated.number),
                amount_fen: 100,
                reference: String::from("X"),
            });
            let other = named("-other", due, other.write(format).1);
            (Some(other), named("", due, bytes))
        }
    };
    Made { wrong, truth }
}

/// Trouble by number of the request.
fn wire(plan: &Plan, bank: usize) -> Vec<Option<WireTrouble>> {
    let mut chance = Chance::new(plan.seed, WIRE_STREAM + bank as u64);
    let mut wire = Vec::with_capacity(REQUESTS_PLANNED);
    while wire.len() < REQUESTS_PLANNED {
        let strikes = chance.permille(plan.wire_permille);
        match chance.pick([
            WireTrouble::ServerError,
            WireTrouble::TooMany,
            WireTrouble::BlackHole,
        ]) {
            _ if !strikes => wire.push(None),
            WireTrouble::ServerError => {
                wire.extend([Some(WireTrouble::ServerError); STORM_REQUESTS]);
            }
            one => wire.push(Some(one)),
        }
    }
    wire.truncate(REQUESTS_PLANNED);
    wire
}
