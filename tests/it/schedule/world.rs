//! A small city with three banks that do as a script says, and a clock that is put forward by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jintuo::base::{Clock, Day, Instant};
use jintuo::config::{self, ClockTime, Config};
use jintuo::feed::source::{Arrived, BoxFuture, Sink, Source, SourceError, Window};
use jintuo::policy::CHINA;
use jintuo::schedule::{Done, Service, Sources};
use jintuo::store::Db;
use tokio::sync::Notify;

use crate::bundle::Bundle;
use crate::harness::{Store, day};

pub(super) const BANKS: [&str; 3] = ["abc", "ccb", "icbc"];
/// The first day that is owed, a Monday.
pub(super) const FIRST: &str = "2026-01-05";
const ZONE: chrono_tz::Tz = chrono_tz::Asia::Shanghai;

/// What a bank does when it is asked.
pub(super) enum Reply {
    Files(Vec<Arrived>),
    /// Hands files over and then says nothing more until [`Bank::go_on`].
    FilesAndSilence(Vec<Arrived>, Vec<Arrived>),
    Nothing,
    Busy,
    Never,
    Refusal,
}

type Script = Box<dyn Fn(&str, Day, Instant, usize) -> Reply + Send + Sync>;

/// All banks of the city.
pub(super) struct Banks {
    script: Script,
    now: Mutex<Instant>,
    /// Who was asked for which window.
    pub(super) asked: Mutex<Vec<(String, Window)>>,
    /// Told when a bank falls silent.
    pub(super) silent: Notify,
    /// Lets a silent bank go on.
    pub(super) go_on: Notify,
}

struct Door {
    banks: Arc<Banks>,
    feed: String,
}

impl Source for Door {
    fn fetch<'a>(
        &'a self,
        window: Window,
        _: Option<String>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<Option<String>, SourceError>> {
        let banks = &self.banks;
        let before = {
            let mut asked = banks.asked.lock().expect("a lock");
            let same = |(feed, w): &&(String, Window)| *feed == self.feed && *w == window;
            let before = asked.iter().filter(same).count();
            asked.push((self.feed.clone(), window));
            before
        };
        let now = *banks.now.lock().expect("a lock");
        let reply = (banks.script)(&self.feed, window.last, now, before);
        Box::pin(async move {
            let asks = sink.asks().await;
            asks.map_err(|source| SourceError::Keep {
                name: String::new(),
                source,
            })?;
            match reply {
                Reply::Files(files) => keep(sink, files).await?,
                Reply::FilesAndSilence(files, more) => {
                    keep(sink, files).await?;
                    banks.silent.notify_one();
                    banks.go_on.notified().await;
                    keep(sink, more).await?;
                }
                Reply::Nothing => {}
                Reply::Busy => {
                    return Err(SourceError::Temporary {
                        doing: "asking the bank",
                        reason: "503".to_owned(),
                        after: None,
                    });
                }
                Reply::Never => std::future::pending().await,
                Reply::Refusal => {
                    return Err(SourceError::Permanent {
                        doing: "asking the bank",
                        reason: "401".to_owned(),
                    });
                }
            }
            Ok(None)
        })
    }
}

async fn keep(sink: &mut dyn Sink, files: Vec<Arrived>) -> Result<(), SourceError> {
    for file in files {
        let name = file.name.clone();
        let kept = sink.keep(file).await;
        kept.map_err(|source| SourceError::Keep { name, source })?;
    }
    Ok(())
}

struct City(Arc<Banks>);

impl Sources for City {
    fn open(&self, feed: &config::Feed) -> Result<Option<Box<dyn Source>>, SourceError> {
        Ok(Some(Box::new(Door {
            banks: Arc::clone(&self.0),
            feed: feed.name.clone(),
        })))
    }
}

/// A database with its registry, and its banks.
pub(super) struct World {
    pub(super) store: Store,
    pub(super) db: Db,
    pub(super) config: Config,
    pub(super) banks: Arc<Banks>,
}

impl World {
    pub(super) async fn new(
        store: Store,
        script: impl Fn(&str, Day, Instant, usize) -> Reply + Send + Sync + 'static,
    ) -> World {
        store
            .import(0, &[&registry().write(&store.dir, "registry")])
            .await;
        let db = store.open(0).await;
        let feed = |bank: &str| config::Feed {
            name: bank.to_owned(),
            bank: bank.to_uppercase(),
            schedule: "0 0 6-12 * * *".to_owned(),
            expected_by: ClockTime {
                hour: 8,
                minute: 30,
            },
            grace_minutes: 120,
            first_day: Some(day(FIRST)),
            account: None,
            amount_unit: None,
            source: config::Source::Folder {
                path: "unused".into(),
                taken: None,
                companion: None,
            },
        };
        let config = Config {
            feed: BANKS.iter().map(|bank| feed(bank)).collect(),
            ..Config::default()
        };
        let banks = Banks {
            script: Box::new(script),
            now: Mutex::new(at(FIRST, 0, 0)),
            asked: Mutex::default(),
            silent: Notify::new(),
            go_on: Notify::new(),
        };
        World {
            store,
            db,
            config,
            banks: Arc::new(banks),
        }
    }

    /// A service that has just been started, its clock at an instant.
    pub(super) fn service(&self, now: Instant) -> Service {
        self.service_on(&self.db, now, "one")
    }

    pub(super) fn service_on(&self, db: &Db, now: Instant, holder: &str) -> Service {
        self.service_by(db, Clock::fixed(now, ZONE), holder)
    }

    pub(super) fn service_by(&self, db: &Db, clock: Clock, holder: &str) -> Service {
        *self.banks.now.lock().expect("a lock") = clock.now();
        let db = db.with_clock(clock);
        let city = Arc::new(City(Arc::clone(&self.banks)));
        Service::new(db, &self.config, city, holder)
            .expect("settings that work")
            .with_fetch_time(Duration::from_secs(3))
    }

    /// The database, its clock at an instant.
    pub(super) fn service_db(&self, now: Instant) -> Db {
        self.db.with_clock(Clock::fixed(now, ZONE))
    }

    pub(super) async fn tick(&self, now: Instant) -> Done {
        self.service(now).tick().await.expect("the database works")
    }

    /// Ticks whenever the service wants to, each time as a process that has just been started.
    pub(super) async fn live(&self, from: Instant, to: Instant) -> Vec<(Instant, Done)> {
        let mut ticks = Vec::new();
        let mut now = from;
        while now < to {
            let done = self.tick(now).await;
            let wake = done.wake.expect("there is always tomorrow");
            // What is due now has been tried: the next look is later, if only by a little.
            let next = wake.max(now + chrono::TimeDelta::seconds(30));
            ticks.push((now, done));
            now = next;
        }
        ticks
    }

    pub(super) fn asked(&self) -> Vec<(String, Window)> {
        self.banks.asked.lock().expect("a lock").clone()
    }

    /// Completes when banks have been asked so many times.
    pub(super) async fn when_asked(&self, times: usize) {
        while self.asked().len() < times {
            tokio::task::yield_now().await;
        }
    }

    /// Deliveries as they stand: name, state, attempts.
    pub(super) async fn deliveries(&self) -> Vec<(String, String, i64)> {
        let mut tx = self.db.begin_read().await.expect("a transaction");
        let rows = jintuo::on!(tx, c => sqlx::query_as(
                "SELECT name, state, attempts FROM delivery ORDER BY delivery_no")
                .fetch_all(c).await)
        .expect("deliveries can be read");
        tx.rollback().await.expect("a rollback");
        rows
    }

    /// How many runs of each day are complete.
    pub(super) async fn runs(&self) -> BTreeMap<Day, i64> {
        let mut tx = self.db.begin_read().await.expect("a transaction");
        let rows: Vec<(chrono::NaiveDate, i64)> = jintuo::on!(tx, c => sqlx::query_as(
                "SELECT as_of, CAST(COUNT(*) AS BIGINT) FROM run WHERE completed_at IS NOT NULL \
                 GROUP BY as_of").fetch_all(c).await)
        .expect("runs can be read");
        tx.rollback().await.expect("a rollback");
        (rows.into_iter())
            .map(|(day, n)| (Day::from_date(day), n))
            .collect()
    }
}

/// A time of a day on the site's wall clock.
pub(super) fn at(on: &str, hour: u32, minute: u32) -> Instant {
    jintuo::feed::owed::at(day(on), ClockTime { hour, minute }, ZONE)
}

/// Working days, the first of which is [`FIRST`].
pub(super) fn working_days(count: usize) -> Vec<Day> {
    day(FIRST)
        .through(Day::MAX)
        .filter(|d| CHINA.is_working(*d))
        .take(count)
        .collect()
}

/// One institution and two custody accounts at each bank.
fn registry() -> Bundle {
    let mut accounts = "account_id,institution_id,kind,min_deposit_fen,bank_code\n".to_owned();
    for bank in BANKS {
        for n in 1..=2 {
            accounts += &format!(
                "{},I1,CUSTODY,0,{}\n",
                account(bank, n),
                bank.to_uppercase()
            );
        }
    }
    Bundle::of(&[
        ("districts", "district_id,name\nD1,示例区\n"),
        (
            "institutions",
            "institution_id,district_id,name\nI1,D1,示例机构\n",
        ),
        ("accounts", &accounts),
    ])
}

pub(super) fn account(bank: &str, n: usize) -> String {
    format!(
        "62170000{}{n}",
        BANKS.iter().position(|b| *b == bank).unwrap_or(9)
    )
}

/// A bank's file of one day: ten yuan come to each of its accounts every working day.
pub(super) fn statement(bank: &str, on: Day) -> Arrived {
    let days: Vec<Day> = working_days(60);
    let before = days.iter().position(|d| *d == on).expect("a working day");
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\"><BkToCstmrStmt>\
         <GrpHdr><MsgId>{bank}-{on}</MsgId><CreDtTm>{on}T20:00:00+08:00</CreDtTm></GrpHdr>"
    );
    for n in 1..=2 {
        let account = account(bank, n);
        let balance = |kind: &str, tens: usize| {
            format!(
                "<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Amt Ccy=\"CNY\">{}.00</Amt>\
                 <CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>{on}</Dt></Dt></Bal>",
                tens * 10
            )
        };
        text += &format!(
            "<Stmt><Id>{account}-{on}</Id><CreDtTm>{on}T20:00:00+08:00</CreDtTm>\
             <Acct><Id><Othr><Id>{account}</Id></Othr></Id><Ccy>CNY</Ccy></Acct>{}{}\
             <Ntry><Amt Ccy=\"CNY\">10.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>\
             <Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>{on}</Dt></BookgDt><ValDt><Dt>{on}</Dt></ValDt>\
             <AcctSvcrRef>{account}-{on}-1</AcctSvcrRef></Ntry></Stmt>",
            balance("OPBD", before),
            balance("CLBD", before + 1),
        );
    }
    text += "</BkToCstmrStmt></Document>";
    Arrived {
        name: format!("{bank}-{on}.xml"),
        bytes: text.into_bytes(),
        mark: Some(format!("after {on}")),
    }
}

/// Every bank delivers the day it is asked for.
pub(super) fn prompt(feed: &str, day: Day, _: Instant, _: usize) -> Reply {
    Reply::Files(vec![statement(feed, day)])
}
