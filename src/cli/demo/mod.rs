//! The demo: a simulated city is lived through day by day, then served.
//!
//! Institutions' bundles are imported; banks' statements come as they come to `jintuo serve`: the banks are
//! served on a loopback port, and each morning the scheduler asks them, takes in what they deliver and
//! reconciles the day before.
//!
//! Invariants: the demo's clock is put forward from one morning to the next and then stands still, so the
//! same seed gives the same figures on any day.

mod banks;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::DemoArgs;
use super::progress::DayBar;
use super::{holder, serve};
use crate::base::{Clock, Day, Instant};
use crate::config::{ClockTime, Config, Run};
use crate::demo::{City, Plan, simulate};
use crate::feed::owed;
use crate::feed::source::Surroundings;
use crate::feed::source::resolver::Trust;
use crate::policy::CHINA;
use crate::report::{self, Form, Wanted};
use crate::schedule::{Outcome, Service};
use crate::store::Db;
use crate::{app, intake};

use banks::Banks;

/// The demo's last business day: fixed, so that the same seed gives the same figures on any day.
const LAST_DAY: &str = "2026-06-30";
/// Ports tried after the first one.
const PORTS_TRIED: u16 = 50;
/// When institutions' bundles of the day before are in.
const BUNDLES_AT: ClockTime = ClockTime { hour: 6, minute: 0 };

/// A city that has been lived through, with its banks.
struct Lived {
    /// The database, read by the clock of the last morning.
    db: Db,
    config: Config,
    service: Service,
    banks: Banks,
}

pub(super) async fn demo(
    config: &Config,
    own_database: bool,
    options: &DemoArgs,
) -> anyhow::Result<u8> {
    let folder = Folder::new(options.dir.as_deref())?;
    let mut config = config.clone();
    if !own_database {
        config.database.url = format!("sqlite:{}", folder.path.join("jintuo.db").display());
    }
    let mut err = io::stderr();
    writeln!(
        err,
        "simulating {} institutions over {} days",
        options.institutions, options.days
    )?;
    let plan = Plan {
        seed: options.seed,
        institutions: options.institutions,
        business_days: business_days(options.days)?,
    };
    let city = simulate(&plan, &folder.path.join("city"))?;
    let db = app::open(&config).await?;
    let lived = live(db, config, &city).await?;
    let mut tx = lived.db.begin_read().await?;
    if let Some(run) = report::find_run(&mut tx, &Wanted::default()).await? {
        let mut out = io::stdout().lock();
        report::districts(&mut tx, &run)
            .await?
            .write(Form::Table, &run.head, &mut out)?;
        out.flush()?;
    }
    tx.rollback().await?;
    if !options.no_serve {
        show(&lived, options).await?;
    }
    lived.db.close().await;
    Ok(0)
}

/// Serves the pages, and goes on asking the banks, until told to stop.
async fn show(lived: &Lived, options: &DemoArgs) -> anyhow::Result<()> {
    let (db, config) = (&lived.db, &lived.config);
    let mut err = io::stderr();
    let listener = listen(options.port).await?;
    let admin = match &options.admin_listen {
        Some(address) => serve::listen_for_admin(address).await?,
        None => None,
    };
    writeln!(
        err,
        "banks at {}\nthe demo's clock stands at {}, so nothing more falls due\n\
         http://127.0.0.1:{}/  (Ctrl-C ends the demo)",
        lived.banks.address,
        db.clock().wall(db.clock().now()),
        listener.local_addr()?.port(),
    )?;
    let service = lived.service.clone();
    let state = app::web_state(db.clone(), config, true).map_err(anyhow::Error::msg)?;
    serve::until_told(db, config, service, state, (listener, admin)).await
}

/// Lives through every day: what institutions report is imported, what banks state is fetched and
/// reconciled the morning after, at the hour at which a day is reconciled with whatever is there.
async fn live(db: Db, mut config: Config, city: &City) -> anyhow::Result<Lived> {
    let banks = Banks::open(city).await?;
    config.feed = banks.feeds();
    // The site's own hours and policy would make other figures.
    config.run = Run::default();
    let zone = config.zone().map_err(anyhow::Error::msg)?;
    let at = |day: Day, time: ClockTime| {
        let morning: Instant = owed::at(day.plus(1), time, zone);
        Clock::fixed(morning, zone)
    };
    let mut service = service(&db, &config)?;
    let first = city.days.first().map_or(Day::MIN, |d| d.day);
    let registry = std::slice::from_ref(&city.registry_bundle);
    let (import, quiet) = (intake::Options::default(), &mut intake::Silent);
    let clock = at(first.plus(-1), BUNDLES_AT);
    intake::import(&db.with_clock(clock), registry, &import, quiet).await?;
    let bar = DayBar::new(city.days.len());
    let mut clock = *db.clock();
    for files in &city.days {
        let day = files.day;
        bar.day(day);
        let bundle = std::slice::from_ref(&files.bundle);
        let db = db.with_clock(at(day, BUNDLES_AT));
        intake::import(&db, bundle, &import, quiet).await?;
        banks.put_forward(day.plus(1));
        clock = at(day, config.run.deadline);
        service = service.by_clock(clock);
        reconcile(&service, day).await?;
        bar.done();
    }
    bar.end();
    Ok(Lived {
        db: db.with_clock(clock),
        config,
        service,
        banks,
    })
}

/// Has the scheduler do what is due on the morning after a day.
async fn reconcile(service: &Service, day: Day) -> anyhow::Result<()> {
    let done = service.tick().await?;
    for fetched in &done.fetched {
        if let Outcome::Failed { reason, .. } = &fetched.outcome {
            anyhow::bail!("{} of {}: {reason}", fetched.feed, fetched.day);
        }
    }
    let is_reconciled = done.booked.runs.iter().any(|run| run.as_of == day);
    anyhow::ensure!(
        is_reconciled,
        "{day} was not reconciled: {}",
        done.booked.failures.join("; ")
    );
    Ok(())
}

/// The scheduler as `jintuo serve` has it, but for the banks' being on this machine.
fn service(db: &Db, config: &Config) -> anyhow::Result<Service> {
    let surroundings = Surroundings {
        trust: Trust::Demo,
        ..Surroundings::of_service(*db.clock())
    };
    Service::new(db.clone(), config, Arc::new(surroundings), &holder()).map_err(anyhow::Error::msg)
}

/// Consecutive working days, the last one [`LAST_DAY`].
fn business_days(count: usize) -> anyhow::Result<Vec<Day>> {
    let mut day: Day = LAST_DAY.parse().map_err(anyhow::Error::msg)?;
    let mut days = Vec::with_capacity(count);
    while days.len() < count {
        if CHINA.is_working(day) {
            days.push(day);
        }
        day = day.plus(-1);
        anyhow::ensure!(day > Day::MIN, "too many days");
    }
    days.reverse();
    Ok(days)
}

/// The first free port from the one asked for.
async fn listen(first: u16) -> anyhow::Result<tokio::net::TcpListener> {
    let mut last = None;
    for port in first..=first.saturating_add(PORTS_TRIED) {
        match tokio::net::TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => return Ok(listener),
            Err(e) => last = Some(e),
        }
    }
    Err(
        anyhow::Error::new(last.unwrap_or_else(|| io::Error::other("no port")))
            .context("finding a free port"),
    )
}

/// Where the city lies: the user's folder, or a temporary one that goes with the demo.
struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Folder {
    fn new(dir: Option<&Path>) -> anyhow::Result<Folder> {
        let (path, temporary) = match dir {
            Some(dir) => (dir.to_owned(), false),
            None => {
                let name = format!("jintuo-demo-{}", std::process::id());
                (std::env::temp_dir().join(name), true)
            }
        };
        if path.exists() && std::fs::read_dir(&path)?.next().is_some() {
            anyhow::bail!("{} is not empty; name another folder", path.display());
        }
        std::fs::create_dir_all(&path)?;
        Ok(Folder { path, temporary })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            // Nothing of value is lost: the same seed makes the same city.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
