//! The demo: a simulated city is written, taken in and reconciled day by day, then served.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::args::DemoArgs;
use super::progress::DayBar;
use super::stop_signal;
use crate::base::Day;
use crate::config::Config;
use crate::demo::{City, Plan, simulate};
use crate::policy::CHINA;
use crate::report::{self, Form, Wanted};
use crate::store::Db;
use crate::{app, intake, policy, run, web};

/// The demo's last business day: fixed, so that the same seed gives the same figures on any day.
const LAST_DAY: &str = "2026-06-30";
/// Ports tried after the first one.
const PORTS_TRIED: u16 = 50;

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
    play(&db, &city).await?;
    let mut tx = db.begin_read().await?;
    if let Some(run) = report::find_run(&mut tx, &Wanted::default()).await? {
        let mut out = io::stdout().lock();
        report::districts(&mut tx, &run)
            .await?
            .write(Form::Table, &run.head, &mut out)?;
        out.flush()?;
    }
    tx.rollback().await?;
    if !options.no_serve {
        let listener = listen(options.port).await?;
        let address = listener.local_addr()?;
        writeln!(
            err,
            "http://127.0.0.1:{}/  (Ctrl-C ends the demo)",
            address.port()
        )?;
        let state = app::web_state(db.clone(), &config, true).map_err(anyhow::Error::msg)?;
        web::serve(listener, state, stop_signal()).await?;
    }
    db.close().await;
    Ok(0)
}

/// Takes in and reconciles every day, as a scheduled job would.
async fn play(db: &Db, city: &City) -> anyhow::Result<()> {
    let quiet = &mut intake::Silent;
    let import = intake::Options::default();
    intake::import(
        db,
        std::slice::from_ref(&city.registry_bundle),
        &import,
        quiet,
    )
    .await?;
    let bar = DayBar::new(city.days.len());
    for day in &city.days {
        bar.day(day.day);
        let mut inputs = vec![day.bundle.clone()];
        inputs.extend(day.statements.iter().cloned());
        intake::import(db, &inputs, &import, quiet).await?;
        let options = run::Options {
            threads: None,
            as_of: day.day,
            known_at: None,
            policy: policy::DEFAULT.to_owned(),
            district: None,
        };
        run::day(db, &options, &mut run::Silent).await?;
        bar.done();
    }
    bar.end();
    Ok(())
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
