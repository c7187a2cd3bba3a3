//! What accounts go through, and what banks make of it.

use crate::base::Day;
use crate::demo::chance::Chance;
use crate::demo::{Format, Line, Stated};

use super::{
    ACCOUNTS_MAX, BANKS, DAYS_MAX, Delivery, Door, Manifest, Plan, Planted, PlantedWire,
    REQUESTS_PLANNED, Sim, SimBank, Trouble, Truth, WireTrouble,
};

/// A truncated file keeps so many hundredths of its bytes.
const TRUNCATED_KEEPS_PERCENT: usize = 60;
/// The longest a late file is late, in days.
const LATE_DAYS_MAX: i64 = 3;
/// A fee, which banks book without id or reference; the same whenever it is booked.
const FEE_FEN: i64 = -1_500;
/// Out of a thousand days, how many have two fees, and how many one.
const TWO_FEES_PERMILLE: i64 = 60;
const ONE_FEE_PERMILLE: i64 = 120;
/// How far off a day is that is adrift.
const ADRIFT_FEN: i64 = 100;
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
    let absent = index + plan.absent >= BANKS.len().min(plan.banks);
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
            let trouble = if absent {
                Some(Trouble::Never)
            } else {
                trouble
            };
            let made = deliver(&mut account, format, &stated, trouble, following);
            let is_shown = !trouble.is_some_and(Trouble::hides_the_truth);
            manifest.statements.push(Truth {
                bank: name,
                account_id: stated.account_id.clone(),
                day: *day,
                number: stated.number,
                opening_fen: stated.opening_fen,
                closing_fen: stated.closing_fen(),
                lines: stated.lines.len(),
                fees: stated.lines.iter().filter(|l| l.id.is_empty()).count(),
                file: made.truth.name.clone(),
                visible_from: is_shown.then_some(made.truth.visible_from),
            });
            manifest.planted.extend(trouble.map(|trouble| Planted {
                bank: name,
                account_id: stated.account_id.clone(),
                day: *day,
                trouble,
                file: made.wrong.as_ref().unwrap_or(&made.truth).name.clone(),
            }));
            deliveries.extend(made.wrong);
            deliveries.extend(is_shown.then_some(made.truth));
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
        door: Door::Open,
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
    /// What went wrong with the day before.
    last: Option<Trouble>,
}

/// The files of an account-day.
struct Made {
    /// Wrong, or one too many.
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
            last: None,
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
        let fees = match self.chance.between(0, 999) {
            n if n < TWO_FEES_PERMILLE => 2,
            n if n < TWO_FEES_PERMILLE + ONE_FEE_PERMILLE => 1,
            _ => 0,
        };
        for _ in 0..fees {
            self.balance += FEE_FEN;
            lines.push(Line {
                id: String::new(),
                amount_fen: FEE_FEN,
                reference: String::new(),
            });
        }
        Stated {
            account_id: self.id.clone(),
            holder: format!("模拟机构{}", &self.id[..2]),
            number,
            day,
            previous,
            version: 0,
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

    /// What goes wrong with a day, of what can: a CSV file has no number to keep or to change, a
    /// correction needs a line to correct, pages are SWIFT's and have lines, and a day adrift stands between two without trouble.
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
            Trouble::Never,
            Trouble::Adrift,
            Trouble::Overtaken,
            Trouble::LatePage,
            Trouble::LostPage,
        ]);
        let possible = match trouble {
            Trouble::Corrected => format != Format::Csv && !stated.lines.is_empty(),
            // Which of two was made later only camt says.
            Trouble::Overtaken => format.tells_time() && !stated.lines.is_empty(),
            Trouble::Adrift => self.last.is_none() && stated.number > 1,
            Trouble::Contradicting => format != Format::Csv,
            Trouble::Reordered => following.is_some(),
            Trouble::LatePage | Trouble::LostPage => {
                format == Format::Mt940 && stated.lines.len() > 1
            }
            _ => true,
        };
        let calm = self.last == Some(Trouble::Adrift);
        self.last = (strikes && possible && !calm).then_some(trouble);
        self.last
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
        None | Some(Trouble::Never) => (None, named("", due, bytes)),
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
            let early = named("-first", due, without_last_line(stated).write(format).1);
            let late = Stated {
                version: 1,
                ..stated.clone()
            };
            (Some(early), named("", next, late.write(format).1))
        }
        Some(Trouble::Overtaken) => {
            let early = named("-first", next, without_last_line(stated).write(format).1);
            let late = Stated {
                version: 1,
                ..stated.clone()
            };
            (Some(early), named("", due, late.write(format).1))
        }
        Some(Trouble::Adrift) => {
            let adrift = Stated {
                opening_fen: stated.opening_fen + ADRIFT_FEN,
                ..stated.clone()
            };
            (None, named("", due, adrift.write(format).1))
        }
        Some(trouble @ (Trouble::LatePage | Trouble::LostPage)) => {
            let [first, second] = pages(stated);
            let shown = if trouble == Trouble::LatePage {
                next
            } else {
                due
            };
            let first = named("-page1", due, first);
            (Some(first), named("-page2", shown, second))
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

fn without_last_line(stated: &Stated) -> Stated {
    let mut early = stated.clone();
    early.lines.pop();
    early
}

/// An MT940 statement in two pages: the first closes, and the second opens, with an interim balance.
fn pages(stated: &Stated) -> [Vec<u8>; 2] {
    let mut first = stated.clone();
    let rest = first.lines.split_off(first.lines.len() / 2);
    let second = Stated {
        opening_fen: first.closing_fen(),
        previous: stated.day,
        lines: rest,
        ..stated.clone()
    };
    let page = |stated: &Stated, marks: &[(&str, &str)]| {
        let (_, bytes) = stated.write(Format::Mt940);
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        for (whole, paged) in marks {
            text = text.replacen(whole, paged, 1);
        }
        text.into_bytes()
    };
    [
        page(&first, &[(":62F:", ":62M:")]),
        page(&second, &[("/001\r\n", "/002\r\n"), (":60F:", ":60M:")]),
    ]
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
