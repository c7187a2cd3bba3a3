//! The terminal: arguments in, reports and exit codes out. Each command calls what the web calls.
//!
//! Reports and `--json` objects go to stdout; people's text, progress bars and logs to stderr. Exit
//! codes: 0 done, 1 error, 2 usage, 75 temporary; `reconcile` also 3 (red flags) and 4 (input
//! incomplete), as `interchange.md` fixes them.

mod args;
mod bank_sim;
mod config;
mod copy;
mod decide;
mod deliveries;
mod demo;
mod explain;
mod feed;
mod import;
mod progress;
mod reload;
mod serve;
mod verify;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use serde_json::json;
use tracing_subscriber::EnvFilter;

use crate::base::{Day, Instant, Money};
use crate::config::Config;
use crate::feed::owed::Obligations;
use crate::intake::{self, ImportError};
use crate::report::{self, Form, Wanted};
use crate::run::{self, RunError};
use crate::schedule::AskError;
use crate::store::DbError;
use crate::store::Tx;
use crate::wire::Assumptions;
use crate::{app, check, wire};

use args::{Args, Command, ReportFormat, ReportName, StatementCommand};

/// Try again later (EX_TEMPFAIL of sysexits).
const EXIT_TEMPORARY: u8 = 75;
/// How much of a statement file is read at a time.
const INSPECT_BUFFER_BYTES: usize = 256 * 1024;

/// Runs the command line and returns its exit code.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => return fail(&anyhow::Error::new(e).context("starting the runtime")),
    };
    start_log(&args);
    let ended = runtime.block_on(dispatch(args));
    // Work that does not end is not waited for: it may be why the command has failed.
    runtime.shutdown_background();
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Whoever read the output has had enough, as `head` has: nothing went wrong. A connection to a database
/// that breaks is another thing, and is wrapped in what was being done.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    (error.downcast_ref::<io::Error>()).is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

fn fail(error: &anyhow::Error) -> ExitCode {
    let temporary = error.chain().any(|cause| {
        cause.downcast_ref::<DbError>().is_some_and(DbError::is_temporary)
            || matches!(cause.downcast_ref::<RunError>(), Some(RunError::Db(e)) if e.is_temporary())
            || matches!(cause.downcast_ref::<ImportError>(), Some(ImportError::Db(e)) if e.is_temporary())
            || matches!(cause.downcast_ref::<AskError>(), Some(AskError::Db(e)) if e.is_temporary())
    });
    let _ = writeln!(io::stderr(), "jintuo: {error:#}");
    ExitCode::from(if temporary { EXIT_TEMPORARY } else { 1 })
}

/// Logs go to stderr: for people on a terminal, as JSON off one.
fn start_log(args: &Args) {
    let default = if matches!(args.command, Command::Serve { .. }) {
        "info"
    } else {
        "warn"
    };
    let filter = EnvFilter::try_new(args.log.as_deref().unwrap_or(default))
        .unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let started = if io::stderr().is_terminal() {
        log.with_target(false).try_init()
    } else {
        log.json().flatten_event(true).try_init()
    };
    if let Err(e) = started {
        let _ = writeln!(io::stderr(), "jintuo: no log: {e}");
    }
}

async fn dispatch(args: Args) -> anyhow::Result<u8> {
    if let Command::Config { command } = &args.command {
        // Settings that cannot be used are what it is for.
        return config::config(
            command,
            args.config.as_deref(),
            args.db.as_deref(),
            args.json,
        )
        .await;
    }
    let mut config = Config::load(args.config.as_deref())?;
    if let Some(url) = &args.db {
        config.database.url.clone_from(url);
    }
    let json = args.json;
    match args.command {
        Command::Import {
            inputs,
            adopt_interrupted,
            supersede,
            dry_run,
            assumed,
        } => {
            let options = intake::Options {
                assumed: assumed.into(),
                adopt: adopt_interrupted,
                supersede,
                ..intake::Options::default()
            };
            import::import(&config, &inputs, &options, dry_run, json).await
        }
        Command::Statement {
            command: StatementCommand::Inspect { files, assumed },
        } => inspect(&files, &assumed.into(), json),
        Command::Feed { command } => feed::feed(&config, command, json).await,
        Command::Reconcile {
            as_of,
            known_at,
            policy,
            district,
            threads,
        } => {
            let options = run::Options {
                threads: threads.map(usize::from),
                as_of,
                known_at,
                policy,
                district,
            };
            reconcile(&config, &options, json).await
        }
        Command::Report {
            name,
            as_of,
            known_at,
            policy,
            district,
            format,
            out,
        } => {
            let form = if json { ReportFormat::Json } else { format };
            let wanted = Wanted {
                as_of,
                known_at,
                policy: policy.as_deref(),
                whole_city: false,
                district: district.as_deref(),
            };
            report(&config, name, &wanted, form, out).await
        }
        Command::Explain {
            id,
            as_of,
            known_at,
            policy,
        } => {
            let wanted = Wanted {
                as_of,
                known_at,
                policy: policy.as_deref(),
                ..Wanted::default()
            };
            explain::explain(&config, &id, &wanted, json).await
        }
        Command::Verify {
            replay,
            as_of,
            known_at,
            policy,
            threads,
        } => {
            let wanted = Wanted {
                as_of,
                known_at,
                policy: policy.as_deref(),
                ..Wanted::default()
            };
            let how = (replay, threads.map(usize::from));
            verify::verify(&config, &wanted, how, json).await
        }
        Command::Decide { command } => decide::decide(&config, command, json).await,
        Command::Check => run_check(&config, json).await,
        // Was answered before the settings were needed.
        Command::Config { .. } => Ok(0),
        Command::Copy {
            from,
            to,
            only_compare,
        } => copy::copy(&config, (&from, &to), only_compare, json).await,
        Command::Migrate => {
            app::open(&config).await?.close().await;
            if json {
                writeln!(io::stdout(), "{}", json!({ "schema": "jintuo.migrate/1" }))?;
            }
            Ok(0)
        }
        Command::Serve {
            listen,
            admin_listen,
        } => {
            config.server.listen = listen.unwrap_or(config.server.listen);
            config.server.admin_listen = admin_listen.unwrap_or(config.server.admin_listen);
            serve::serve(&config, args.config).await
        }
        Command::BankSim(options) => bank_sim::bank_sim(&config, &options).await,
        Command::Demo(options) => demo::demo(&config, args.db.is_some(), &options).await,
    }
}

fn inspect(files: &[PathBuf], assumed: &Assumptions, json: bool) -> anyhow::Result<u8> {
    let mut all = Vec::new();
    let mut unread = 0_u32;
    for path in files {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => {
                let reader = io::BufReader::with_capacity(INSPECT_BUFFER_BYTES, file);
                all.extend(wire::inspect_with(&name, reader, assumed));
            }
            Err(e) => {
                writeln!(io::stderr(), "jintuo: reading {name}: {e}")?;
                unread += 1;
            }
        }
    }
    let mut out = io::stdout().lock();
    if json {
        let object = json!({ "schema": "jintuo.statement/1", "statements": all });
        writeln!(out, "{object}")?;
        return Ok(u8::from(unread > 0));
    }
    for s in &all {
        let text = |v: &Option<String>| v.clone().unwrap_or_else(|| "-".to_owned());
        writeln!(
            out,
            "{}: {} account {} {} opening {} closing {} entries {} credits {} debits {} pending {} {}",
            s.file,
            text(&s.format),
            text(&s.account),
            text(&s.currency),
            text(&s.opening),
            text(&s.closing),
            s.entries,
            s.credits,
            s.debits,
            s.pending,
            serde_json::to_value(s.verdict)?
                .as_str()
                .unwrap_or_default(),
        )?;
        if !s.assumed.is_empty() {
            writeln!(out, "  not in the file, as given: {}", s.assumed)?;
        }
        for defect in &s.defects {
            writeln!(out, "  {defect}")?;
        }
    }
    Ok(u8::from(unread > 0))
}

async fn reconcile(config: &Config, options: &run::Options, json: bool) -> anyhow::Result<u8> {
    let db = app::open(config).await?;
    run::refuse_the_future(options.as_of, db.clock())?;
    let mut bar = progress::RunBar::new();
    let summary = run::day(&db, options, &mut bar).await?;
    db.close().await;
    if json {
        let object = json!({
            "schema": "jintuo.reconcile/1",
            "run_id": summary.run_id,
            "as_of": summary.as_of,
            "known_at": summary.known_at,
            "policy": options.policy,
            "institutions": summary.institutions,
            "matched": summary.matched,
            "findings": summary.findings,
            "red": summary.red,
            "amber": summary.amber,
            "waived": summary.waived,
            "accounts_unproven": summary.accounts_unproven,
        });
        writeln!(io::stdout(), "{object}")?;
    } else {
        writeln!(
            io::stderr(),
            "run {} as of {}: {} institutions, {} lines matched, {} findings ({} red, {} amber), {} waived, {} accounts unproven",
            summary.run_id,
            summary.as_of,
            summary.institutions,
            summary.matched,
            summary.findings,
            summary.red,
            summary.amber,
            summary.waived,
            summary.accounts_unproven,
        )?;
    }
    if let Some(district) = &options.district {
        writeln!(
            io::stderr(),
            "this run is of {district} alone; see it with: jintuo report institutions --as-of {} --district {district}",
            summary.as_of,
        )?;
    }
    Ok(summary.exit_code())
}

/// The run that is wanted.
async fn wanted_run(tx: &mut Tx, wanted: &Wanted<'_>) -> anyhow::Result<report::Run> {
    if let Some(run) = report::find_run(tx, wanted).await? {
        return Ok(run);
    }
    let day = wanted.as_of.map_or("any day".to_owned(), |d| d.to_string());
    let known = wanted.known_at.map_or(String::new(), |k| {
        format!(" that knew no more than {}", k.to_rfc3339())
    });
    anyhow::bail!("no completed run of {day}{known}; run: jintuo reconcile --as-of DATE");
}

async fn report(
    config: &Config,
    name: ReportName,
    wanted: &Wanted<'_>,
    format: ReportFormat,
    out: Option<PathBuf>,
) -> anyhow::Result<u8> {
    let db = app::open_existing(config).await?;
    let mut tx = db.begin_read().await?;
    let run = wanted_run(&mut tx, wanted).await?;
    if let Some(district) = wanted.district
        && !report::covers(&mut tx, &run, district).await?
    {
        return Err(RunError::NoDistrict(district.to_owned()).into());
    }
    let table = match name {
        ReportName::Districts => report::districts(&mut tx, &run).await?,
        ReportName::Institutions => report::institutions(&mut tx, &run).await?,
        ReportName::Breaks => report::breaks(&mut tx, &run).await?,
        ReportName::Matches => report::matches(&mut tx, &run).await?,
        ReportName::Proofs => report::proofs(&mut tx, &run).await?,
        ReportName::Reviews => report::reviews(&mut tx, &run).await?,
        ReportName::Waived => report::waived(&mut tx, &run).await?,
        ReportName::Banks => {
            let obligations = Obligations::of(config).map_err(anyhow::Error::msg)?;
            report::banks(&mut tx, &run, &obligations).await?
        }
    };
    tx.rollback().await?;
    db.close().await;
    let form = match format {
        ReportFormat::Table => Form::Table,
        ReportFormat::Json => Form::Json,
        ReportFormat::Csv => Form::Csv,
    };
    match out {
        Some(path) => {
            let writing = || format!("writing {}", path.display());
            let file = File::create(&path).with_context(writing)?;
            let mut file = io::BufWriter::new(file);
            table
                .write(form, &run.head, &mut file)
                .with_context(writing)?;
            file.flush().with_context(writing)?;
        }
        None => {
            let mut stdout = io::BufWriter::new(io::stdout().lock());
            table.write(form, &run.head, &mut stdout)?;
            stdout.flush()?;
        }
    }
    Ok(0)
}

async fn run_check(config: &Config, json: bool) -> anyhow::Result<u8> {
    let db = app::open_existing(config).await?;
    let broken = check::check(&db).await?;
    if json {
        let list: Vec<_> = broken
            .iter()
            .map(|b| json!({ "invariant": b.invariant, "what": b.what }))
            .collect();
        writeln!(
            io::stdout(),
            "{}",
            json!({ "schema": "jintuo.check/1", "broken": list })
        )?;
    } else {
        for b in &broken {
            writeln!(io::stderr(), "{}: {}", b.invariant, b.what)?;
        }
    }
    db.close().await;
    Ok(u8::from(!broken.is_empty()))
}

/// Names this process in the rows it works at.
fn holder() -> String {
    format!("process {}", std::process::id())
}

/// Completes on Ctrl-C or SIGTERM.
async fn stop_signal() {
    let interrupt = tokio::signal::ctrl_c();
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = interrupt.await;
        }
    }
}

/// Reads `2026-06-30T08:00:00+08:00`.
fn parse_instant(text: &str) -> Result<Instant, String> {
    chrono::DateTime::parse_from_rfc3339(text)
        .map(|i| i.with_timezone(&chrono::Utc))
        .map_err(|e| format!("{text:?} is not an instant such as 2026-06-30T08:00:00+08:00: {e}"))
}

fn parse_yuan(text: &str) -> Result<Money, String> {
    Money::parse_yuan(text).map_err(|e| e.to_string())
}

fn parse_day(text: &str) -> Result<Day, String> {
    text.parse()
}
