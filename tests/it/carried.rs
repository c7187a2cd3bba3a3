//! A run that reads what is open and new says the same as one that reads everything: cities that live for two
//! months, in which anything may be told late, twice or otherwise, replayed after every day.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jintuo::base::Day;

use crate::bundle::{Bundle, Chance};
use crate::harness::{Store, day, on_both, on_own_postgres, postgres_url};
use crate::replay::replayed;

on_both!(
    each_day_of_a_troubled_city_is_what_a_replay_says,
    a_quiet_day_reads_no_institution_whole,
    news_behind_what_is_carried_reads_one_institution_whole,
    days_that_a_later_bundle_owes_are_missing_all_the_same,
);

const FIRST: &str = "2025-03-03";
const INSTITUTIONS: usize = 5;

/// A line the bank will book.
struct Due {
    on: Day,
    inst: usize,
    line: String,
    fen: i64,
}

struct City {
    chance: Chance,
    troubled: bool,
    today: Day,
    number: u64,
    due: Vec<Due>,
    balances: BTreeMap<usize, i64>,
    orders: Vec<(u64, usize, i64)>,
    /// Payments by number: as last reported.
    payments: Vec<(u64, String)>,
    files: BTreeMap<&'static str, String>,
}

const HEADS: [(&str, &str); 10] = [
    ("districts", "district_id,name"),
    ("institutions", "institution_id,district_id,name"),
    (
        "accounts",
        "account_id,institution_id,kind,min_deposit_fen,filed_on",
    ),
    (
        "orders",
        "order_id,institution_id,student_id,ordered_on,lessons,unit_price_fen,amount_fen,kind,starts_on,ends_on",
    ),
    (
        "payments",
        "payment_id,order_id,institution_id,account_id,paid_on,channel,reference,amount_fen",
    ),
    (
        "lessons",
        "consumption_id,order_id,consumed_on,lessons,amount_fen,state,confirmed_on",
    ),
    ("refunds", "refund_id,order_id,refunded_on,amount_fen"),
    ("releases", "release_id,account_id,approved_on,amount_fen"),
    (
        "settlements",
        "batch_no,channel,account_id,period_from,period_to,gross_fen,fee_fen,refund_fen,net_fen",
    ),
    ("freezes", "account_id,kind,document_no,amount_fen,from,to"),
];

impl City {
    fn new(seed: u64, troubled: bool) -> City {
        City {
            chance: Chance(seed),
            troubled,
            today: day(FIRST),
            number: 0,
            due: Vec::new(),
            balances: BTreeMap::new(),
            orders: Vec::new(),
            payments: Vec::new(),
            files: BTreeMap::new(),
        }
    }

    fn row(&mut self, file: &'static str, row: &str) {
        let head = HEADS.iter().find(|(name, _)| *name == file).map_or_else(
            || match file {
                "bank_statements" => "account_id,date,opening_fen,closing_fen",
                _ => "entry_id,account_id,booked_on,code,direction,amount_fen,reference,memo",
            },
            |(_, head)| head,
        );
        let text = self
            .files
            .entry(file)
            .or_insert_with(|| format!("{head}\n"));
        let _ = writeln!(text, "{row}");
    }

    fn registry(&mut self) {
        self.row("districts", "D1,区一");
        for i in 0..INSTITUTIONS {
            self.row("institutions", &format!("I{i},D1,机构{i}"));
            self.row("accounts", &format!("A{i},I{i},CUSTODY,0,2025-01-01"));
            if i == 3 {
                self.row("accounts", "B3,I3,DEPOSIT,5000000,2025-01-01");
            }
        }
    }

    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.chance.below(n) == 0
    }

    /// A day of the past, up to `days` back.
    fn back(&mut self, days: usize) -> Day {
        let n = i32::try_from(self.chance.below(days)).expect("small");
        self.today.plus(-n).max(day(FIRST))
    }

    fn institution(&mut self, inst: usize) {
        for _ in 0..self.chance.below(3) {
            self.sell(inst);
        }
        let orders: Vec<(u64, usize, i64)> = self
            .orders
            .iter()
            .filter(|o| o.1 == inst)
            .copied()
            .collect();
        for (order, _, price) in &orders {
            if self.one_in(4) {
                let n = self.next();
                let late = self.troubled && self.one_in(8);
                let on = if late { self.back(30) } else { self.today };
                let state = ["confirmed", "deemed", "claimed"][self.chance.below(3)];
                let confirmed = if state != "claimed" && self.one_in(3) {
                    on.plus(2).to_string()
                } else {
                    String::new()
                };
                self.row(
                    "lessons",
                    &format!("L{n},O{order},{on},1,{price},{state},{confirmed}"),
                );
            }
        }
        if let Some((order, _, price)) = orders.first().copied().filter(|_| self.one_in(12)) {
            let n = self.next();
            self.row("refunds", &format!("R{n},O{order},{},{price}", self.today));
            if !self.one_in(4) {
                self.debit(inst, &format!("R{n}"), price);
            }
        }
        if self.one_in(6) {
            let n = self.next();
            self.row("releases", &format!("X{n},A{inst},{},20000", self.today));
            if !self.one_in(5) {
                self.debit(inst, &format!("X{n}"), 20_000);
            }
        }
        if self.troubled {
            self.trouble(inst);
        }
        self.batches(inst);
    }

    fn sell(&mut self, inst: usize) {
        let n = self.next();
        let price = 10_000 + i64::try_from(self.chance.below(50)).expect("small") * 100;
        let amount = price * 10;
        let late = self.troubled && self.one_in(12);
        let on = if late { self.back(25) } else { self.today };
        let by_time = self.one_in(5);
        let (kind, ends) = if by_time {
            ("period", on.plus(40).to_string())
        } else {
            ("hours", String::new())
        };
        let starts = if by_time {
            on.to_string()
        } else {
            String::new()
        };
        self.row(
            "orders",
            &format!("O{n},I{inst},S{n},{on},10,{price},{amount},{kind},{starts},{ends}"),
        );
        self.orders.push((n, inst, price));
        let channel = ["TRANSFER", "WECHAT", "POS", "QR"][self.chance.below(4)];
        let reference = format!("T{n}");
        let row = format!("P{n},O{n},I{inst},A{inst},{on},{channel},{reference},{amount}");
        self.row("payments", &row);
        self.payments.push((n, row));
        if matches!(channel, "POS" | "QR") {
            return;
        }
        // Banked on the day, late, twice, otherwise or never.
        let fate = self.chance.below(if self.troubled { 12 } else { 60 });
        let after = if fate == 1 {
            9
        } else {
            i32::try_from(self.chance.below(3)).expect("small")
        };
        let fen = if fate == 2 { amount - 100 } else { amount };
        if fate != 0 {
            self.credit(inst, after, "TRF", &reference, fen);
        }
        if fate == 3 {
            self.credit(inst, after + 1, "TRF", &reference, fen);
        }
        if fate == 4 {
            let again = self.next();
            self.row(
                "payments",
                &format!("P{again},O{n},I{inst},A{inst},{on},{channel},{reference},{amount}"),
            );
        }
    }

    /// Yesterday's terminal payments come as one credit, or in parts that a rule has to choose, or as described.
    fn batches(&mut self, inst: usize) {
        let yesterday = self.today.plus(-1).to_string();
        for channel in ["POS", "QR"] {
            let mut of_day = Vec::new();
            for (_, row) in &self.payments {
                let f: Vec<&str> = row.split(',').collect();
                if f[2] == format!("I{inst}") && f[4] == yesterday && f[5] == channel {
                    of_day.push(f[7].parse::<i64>().expect("an amount"));
                }
            }
            let sum: i64 = of_day.iter().sum();
            match self.chance.below(6) {
                _ if of_day.is_empty() => {}
                0 => self.credit(inst, 0, "STL", "", of_day[0]),
                1 => {
                    let n = self.next();
                    let fee = sum / 200;
                    let row = format!(
                        "Z{n},{channel},A{inst},{yesterday},{yesterday},{sum},{fee},0,{}",
                        sum - fee
                    );
                    self.row("settlements", &row);
                    self.credit(inst, 1, "STL", &format!("Z{n}"), sum - fee);
                }
                _ => self.settlement(inst, channel, sum),
            }
        }
    }

    fn settlement(&mut self, inst: usize, channel: &str, fen: i64) {
        let n = self.next();
        let line = format!("E{n},A{inst},{},STL,C,{fen},,{channel}", self.today);
        self.due.push(Due {
            on: self.today,
            inst,
            line,
            fen,
        });
    }

    fn credit(&mut self, inst: usize, after: i32, code: &str, reference: &str, fen: i64) {
        let (n, on) = (self.next(), self.today.plus(after));
        let line = format!("E{n},A{inst},{on},{code},C,{fen},{reference},");
        self.due.push(Due {
            on,
            inst,
            line,
            fen,
        });
    }

    fn debit(&mut self, inst: usize, reference: &str, fen: i64) {
        let (n, on) = (self.next(), self.today.plus(1));
        let line = format!("E{n},A{inst},{on},DBT,D,{fen},{reference},");
        self.due.push(Due {
            on,
            inst,
            line,
            fen: -fen,
        });
    }

    fn trouble(&mut self, inst: usize) {
        if self.one_in(15) {
            self.credit(inst, 0, "TRF", &format!("Q{}", self.number), 12_300);
        }
        if self.one_in(25) {
            self.debit(inst, "", 4_500);
        }
        // A fee is reported otherwise, soon or long after.
        if self.one_in(8) && !self.payments.is_empty() {
            let at = self.chance.below(self.payments.len());
            let mut f: Vec<String> = self.payments[at].1.split(',').map(str::to_owned).collect();
            let fen: i64 = f[7].parse().expect("an amount");
            f[7] = (fen + 500).to_string();
            let row = f.join(",");
            self.row("payments", &row);
            self.payments[at].1 = row;
        }
        if self.one_in(30) {
            let n = self.next();
            let from = self.back(20);
            self.row("freezes", &format!("A{inst},court,C{n},3000,{from},"));
        }
        if self.one_in(40) {
            let (n, to) = (self.next(), self.today.plus(5));
            self.row(
                "freezes",
                &format!("A{inst},police,C{n},2000,{},{to}", self.today),
            );
        }
        // An order gets other terms.
        if self.one_in(25) && !self.orders.is_empty() {
            let at = self.chance.below(self.orders.len());
            let (order, of, price) = self.orders[at];
            let row = format!(
                "O{order},I{of},S{order},{},12,{price},{},hours,,",
                self.today,
                price * 12
            );
            self.row("orders", &row);
        }
        if self.one_in(60) {
            let filed = self.today.plus(3);
            self.row("accounts", &format!("A{inst},I{inst},CUSTODY,0,{filed}"));
        }
    }

    /// The day's bundle.
    fn day(&mut self) -> Bundle {
        if self.today == day(FIRST) {
            self.registry();
        }
        for inst in 0..INSTITUTIONS {
            self.institution(inst);
        }
        let today = self.today;
        let (booked, due): (Vec<Due>, Vec<Due>) = std::mem::take(&mut self.due)
            .into_iter()
            .partition(|d| d.on <= today);
        self.due = due;
        for inst in 0..INSTITUTIONS {
            let opening = self.balances.get(&inst).copied().unwrap_or(1_000_000);
            let lines = || booked.iter().filter(|d| d.inst == inst);
            let closing = opening + lines().map(|d| d.fen).sum::<i64>();
            // A bank may be silent: then its lines come with the next statement, on their day.
            if self.troubled && self.one_in(25) {
                self.due
                    .extend(booked.iter().filter(|d| d.inst == inst).map(|d| {
                        Due {
                            on: today.plus(1),
                            inst,
                            line: d
                                .line
                                .replace(&format!(",{},", d.on), &format!(",{},", today.plus(1))),
                            fen: d.fen,
                        }
                    }));
                continue;
            }
            for d in booked.iter().filter(|d| d.inst == inst) {
                self.row("bank_entries", &d.line);
            }
            self.row(
                "bank_statements",
                &format!("A{inst},{today},{opening},{closing}"),
            );
            // And it may say something else of a day than before.
            if self.troubled && self.one_in(60) {
                let old = self.back(22);
                self.row(
                    "bank_statements",
                    &format!("A{inst},{old},{opening},{}", opening + 7),
                );
            }
            self.balances.insert(inst, closing);
        }
        self.row("bank_statements", &format!("B3,{today},4000000,4000000"));
        self.today = today.plus(1);
        self.bundle()
    }

    fn bundle(&mut self) -> Bundle {
        let files = std::mem::take(&mut self.files);
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        Bundle::of(&files)
    }
}

fn replay(store: &Store, as_of: Day, policy: &str) {
    let day = as_of.to_string();
    let value = replayed(store, &["--as-of", &day, "--policy", policy], 0);
    assert_eq!(value["agrees"], true, "{day}, {policy}: {value}");
}

/// Lives `days` days; returns institutions read whole on each day, of both policies.
async fn live(store: &Store, city: &mut City, days: i32, policies: &[&str]) -> Vec<usize> {
    let mut whole = Vec::new();
    for n in 0..days {
        let today = city.today;
        let bundle = city.day().write(&store.dir, &format!("day-{today}"));
        let at = i64::from(today.since(day(FIRST))) * 1440;
        store.import(at, &[&bundle]).await;
        // Where there are several policies, each has its days.
        let mine = |(at, _): &(usize, &&str)| {
            policies.len() == 1
                || (usize::try_from(n).unwrap_or(0) + at).is_multiple_of(2)
                || n % 5 == 0
        };
        for (_, policy) in policies.iter().enumerate().filter(mine) {
            let summary = store.reconcile(at + 5, &today.to_string(), policy).await;
            whole.push(summary.read_whole);
            replay(store, today, policy);
            // A run of a day before, of which less is open, once in a while.
            if n > 20 && n % 7 == 0 {
                let before = today.plus(-9);
                store.reconcile(at + 7, &before.to_string(), policy).await;
                replay(store, before, policy);
            }
        }
    }
    whole
}

async fn each_day_of_a_troubled_city_is_what_a_replay_says(store: Store) {
    // Another city for whoever looks for more: CARRIED_SEED=12 cargo nextest run troubled_city.
    let seed = std::env::var_os("CARRIED_SEED");
    let number = |seed: std::ffi::OsString| seed.to_string_lossy().parse::<u64>();
    let seed = seed.map_or(316, |seed| number(seed).expect("CARRIED_SEED is a number"));
    let mut city = City::new(seed, true);
    let whole = live(&store, &mut city, 44, &["default", "workload"]).await;
    let late = &whole[30..];
    let all = late.len() * INSTITUTIONS;
    let read: usize = late.iter().sum();
    assert!(read > 0, "no news ever came late: the city is not troubled");
    assert!(
        read * 10 < all * 9,
        "{read} of {all} were read whole: {whole:?}"
    );
}

async fn a_quiet_day_reads_no_institution_whole(store: Store) {
    let mut city = City::new(11, false);
    let whole = live(&store, &mut city, 26, &["workload"]).await;
    assert_eq!(whole[0], INSTITUTIONS);
    // Each is folded when its turn has come, and its first release changes how all of its days are judged.
    assert_eq!(whole[10..].iter().sum::<usize>(), 0, "{whole:?}");
}

async fn news_behind_what_is_carried_reads_one_institution_whole(store: Store) {
    let mut city = City::new(3, false);
    live(&store, &mut city, 24, &["default"]).await;
    let (order, inst, price) = city.orders[0];
    city.row(
        "lessons",
        &format!("LATE,O{order},{FIRST},1,{price},confirmed,"),
    );
    let whole = live(&store, &mut city, 2, &["default"]).await;
    assert_eq!(whole, [1, 0], "of institution {inst}");
}

async fn days_that_a_later_bundle_owes_are_missing_all_the_same(store: Store) {
    // A bundle owes the days that any account has stated. Deposits that fall silent, one of which is folded.
    let mut registry =
        "account_id,institution_id,kind,min_deposit_fen\nA,I0,CUSTODY,0\n".to_owned();
    let mut institutions = "institution_id,district_id,name\nI0,D1,机构\n".to_owned();
    let mut stated = "account_id,date,opening_fen,closing_fen\nA,2025-03-03,5,5\n".to_owned();
    for n in 1..=4 {
        let _ = writeln!(institutions, "I{n},D1,机构{n}");
        let _ = writeln!(registry, "B{n},I{n},DEPOSIT,0");
        let _ = writeln!(stated, "B{n},2025-03-03,7,7");
    }
    let files = [
        ("districts", "district_id,name\nD1,区一\n"),
        ("institutions", &institutions),
        ("accounts", &registry),
        ("bank_statements", &stated),
    ];
    store
        .import(1, &[&Bundle::of(&files).write(&store.dir, "first")])
        .await;
    store.reconcile(2, "2025-05-05", "workload").await;
    let later = "account_id,date,opening_fen,closing_fen\nA,2025-03-04,5,5\n";
    let later = Bundle::of(&[("bank_statements", later)]).write(&store.dir, "later");
    store.import(3, &[&later]).await;
    let summary = store.reconcile(4, "2025-05-06", "workload").await;
    assert_eq!(
        summary.accounts_unproven, 4,
        "each deposit owes the 4th now"
    );
    replay(&store, day("2025-05-06"), "workload");
}

/// Days `from` to `to` of institutions that each sell, give and bank one lesson a day.
fn even(from: Day, to: Day) -> Bundle {
    let mut city = City::new(0, false);
    if from == day(FIRST) {
        city.registry();
    }
    for on in from.through(to) {
        let n = on.since(day(FIRST));
        for i in 0..INSTITUTIONS {
            let id = format!("{i}-{n}");
            city.row(
                "orders",
                &format!("O{id},I{i},S{id},{on},10,10000,100000,hours,,"),
            );
            city.row(
                "payments",
                &format!("P{id},O{id},I{i},A{i},{on},TRANSFER,T{id},100000"),
            );
            city.row("lessons", &format!("L{id},O{id},{on},1,10000,confirmed,"));
            city.row(
                "bank_entries",
                &format!("E{id},A{i},{on},TRF,C,100000,T{id},"),
            );
            let opening = i64::from(n) * 100_000;
            city.row(
                "bank_statements",
                &format!("A{i},{on},{opening},{}", opening + 100_000),
            );
        }
        city.row("bank_statements", &format!("B3,{on},6000000,6000000"));
    }
    city.bundle()
}

/// Rows that the runs of eight days touch in all tables and indexes, after a history of so many days.
async fn rows_touched(store: &Store, history: i32, policy: &str) -> i64 {
    let first_new = day(FIRST).plus(history);
    let mut touched = 0;
    for n in -1..12_i32 {
        let today = first_new.plus(n);
        let from = if n < 0 { day(FIRST) } else { today };
        let bundle = even(from, today).write(&store.dir, &format!("even-{history}-{today}"));
        let at = i64::from(n + 2) * 1440;
        store.import(at, &[&bundle]).await;
        let before = store.rows_touched().await;
        let summary = store.reconcile(at + 5, &today.to_string(), policy).await;
        if n >= 4 {
            touched += store.rows_touched().await - before;
            assert_eq!(summary.read_whole, 0);
        }
    }
    touched
}

#[test]
fn a_day_touches_as_many_rows_however_long_the_history_is() {
    if postgres_url().is_none() {
        return;
    }
    for policy in ["default", "workload"] {
        let (mut short, mut long) = (0, 0);
        on_own_postgres("touched_short", async |store: Store| {
            short = rows_touched(&store, 30, policy).await
        });
        on_own_postgres("touched_long", async |store: Store| {
            long = rows_touched(&store, 300, policy).await
        });
        // Statement days, lessons, fees, lines: 6 facts of each institution and one of a deposit, eight days.
        println!("{policy}: {short} rows after 30 days, {long} after 300");
        assert!(
            long * 100 <= short * 105,
            "{policy}: {short} rows after 30 days, {long} after 300"
        );
    }
}
