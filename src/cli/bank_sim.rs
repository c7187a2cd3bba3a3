//! Simulated banks: their files are written, then served until told to stop.

use std::fs;
use std::io::{self, Write};
use std::sync::Arc;

use super::args::BankSimArgs;
use super::stop_signal;
use crate::bank_sim::{ACCOUNTS_MAX, BANKS, DAYS_MAX, Plan, Sim, drop_files, write_registry};
use crate::base::{Clock, Day};
use crate::config::Config;
use crate::policy::CHINA;
use crate::web;

pub(super) async fn bank_sim(config: &Config, options: &BankSimArgs) -> anyhow::Result<u8> {
    anyhow::ensure!(
        options.accounts <= ACCOUNTS_MAX,
        "at most {ACCOUNTS_MAX} accounts"
    );
    anyhow::ensure!(
        (1..=BANKS.len()).contains(&options.banks),
        "1 to {} banks",
        BANKS.len()
    );
    anyhow::ensure!(options.days <= DAYS_MAX, "at most {DAYS_MAX} days");
    let zone = config.zone().map_err(anyhow::Error::msg)?;
    let clock = Clock::system(zone);
    let sim = Sim::new(&Plan {
        seed: options.seed,
        days: working_days(options.last, options.days),
        banks: options.banks,
        accounts: options.accounts,
        trouble_permille: options.trouble,
        wire_permille: options.wire_trouble,
    });
    let banks: Vec<&str> = sim.banks.iter().map(|b| b.name).collect();
    let today = options.today.unwrap_or_else(|| clock.day_of(clock.now()));
    fs::create_dir_all(&options.dir)?;
    let manifest = serde_json::to_vec_pretty(&sim.manifest)?;
    fs::write(options.dir.join("manifest.json"), manifest)?;
    write_registry(&sim, &options.dir.join("registry"))?;
    let written = drop_files(&sim, today, &options.dir.join("drop"))?;
    let mut err = io::stderr();
    writeln!(err, "{written} files in {}", options.dir.display())?;
    if options.no_serve {
        return Ok(0);
    }
    let listener = tokio::net::TcpListener::bind(&options.listen).await?;
    let address = listener.local_addr()?;
    for bank in &banks {
        writeln!(err, "http://{address}/banks/{bank}/statements")?;
    }
    // A program that started us reads where we are.
    writeln!(io::stdout(), "http://{address}/")?;
    io::stdout().flush()?;
    let fixed = options.today;
    let today = Arc::new(move || fixed.unwrap_or_else(|| clock.day_of(clock.now())));
    web::bank_sim::serve(listener, sim, today, stop_signal()).await?;
    Ok(0)
}

/// Working days up to and with the last one, or the one before it.
fn working_days(last: Day, count: usize) -> Vec<Day> {
    let mut days = Vec::with_capacity(count);
    let mut day = last;
    while days.len() < count && day > Day::MIN {
        if CHINA.is_working(day) {
            days.push(day);
        }
        day = day.plus(-1);
    }
    days.reverse();
    days
}
