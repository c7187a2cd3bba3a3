//! Simulated banks: their files are written, then served until told to stop.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::args::BankSimArgs;
use super::stop_signal;
#[cfg(feature = "sftp")]
use crate::bank_sim::sftp;
use crate::bank_sim::tls::{self, TlsFiles};
use crate::bank_sim::{
    ACCOUNTS_MAX, BANKS, DAYS_MAX, Door, Plan, Sim, Today, drop_files, write_registry,
};
#[cfg(feature = "sftp")]
use crate::base::Entropy;
use crate::base::{Clock, Day};
use crate::config::{Algorithm, Config, Secret};
use crate::policy::CHINA;
use crate::web;

/// How often to look whether another day has begun.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Who logs in over SFTP.
#[cfg(feature = "sftp")]
const SFTP_USER: &str = "jintuo";

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
    let mut sim = Sim::new(&Plan {
        seed: options.seed,
        days: working_days(options.last, options.days),
        banks: options.banks,
        absent: options.absent,
        accounts: options.accounts,
        trouble_permille: options.trouble,
        wire_permille: options.wire_trouble,
    });
    shut_doors(options, &mut sim, clock)?;
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
    let fixed = options.today;
    let today: Today = Arc::new(move || fixed.unwrap_or_else(|| clock.day_of(clock.now())));
    serve(options, sim.into(), &today).await?;
    Ok(0)
}

/// Has banks ask for what the options say.
fn shut_doors(options: &BankSimArgs, sim: &mut Sim, clock: Clock) -> anyhow::Result<()> {
    let kinds = [
        (&options.bearer, None),
        (&options.hmac_sha256, Some(Algorithm::HmacSha256)),
        (&options.hmac_sm3, Some(Algorithm::HmacSm3)),
    ];
    let doors = (kinds.into_iter()).flat_map(|(list, kind)| list.iter().map(move |d| (d, kind)));
    for ((name, file), algorithm) in doors {
        let secret = Secret::File(file.clone()).read()?;
        let bank = sim.banks.iter_mut().find(|b| b.name == name.as_str());
        let bank = bank.with_context(|| format!("{name} is not served; see --banks"))?;
        anyhow::ensure!(
            matches!(bank.door, Door::Open),
            "{name} asks for one proof, not for two"
        );
        bank.door = match algorithm {
            None => Door::Bearer(secret),
            Some(algorithm) => Door::signed(name, algorithm, (secret, clock))?,
        };
    }
    Ok(())
}

/// Serves over HTTP or HTTPS and SFTP, and goes on dropping files, until told to stop.
async fn serve(options: &BankSimArgs, sim: Arc<Sim>, today: &Today) -> anyhow::Result<()> {
    let mut err = io::stderr();
    let listener = bind(&options.listen).await?;
    let address = listener.local_addr()?;
    let tls = tls_files(options, address)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    for bank in &sim.banks {
        let name = bank.name;
        writeln!(err, "{scheme}://{address}/banks/{name}/statements")?;
    }
    let (stopper, stopped) = watch::channel(false);
    let stop = || {
        let mut stopped = stopped.clone();
        async move {
            let _ = stopped.wait_for(|s| *s).await;
        }
    };
    let dropping = tokio::spawn(keep_dropping(
        Arc::clone(&sim),
        Arc::clone(today),
        options.dir.join("drop"),
    ));
    #[cfg(feature = "sftp")]
    let sftp = match &options.sftp {
        Some(listen) => {
            let (listener, door) = sftp_door(options, listen).await?;
            let at = listener.local_addr()?;
            for bank in &sim.banks {
                writeln!(err, "sftp://{}@{at}/{}", door.user, bank.name)?;
            }
            let disk = Arc::new(sftp::SimDisk {
                sim: Arc::clone(&sim),
                today: Arc::clone(today),
            });
            Some(tokio::spawn(sftp::serve(listener, door, disk, stop())))
        }
        None => None,
    };
    // A program that started us reads where we are.
    writeln!(io::stdout(), "{scheme}://{address}/")?;
    io::stdout().flush()?;
    let ending = async {
        stop_signal().await;
        let _ = stopper.send(true);
    };
    let served = async {
        match tls {
            None => web::bank_sim::serve(listener, sim, Arc::clone(today), stop()).await,
            Some(files) => {
                let tls = tls::server_config(&files)?;
                web::bank_sim::serve_tls(listener, tls, sim, Arc::clone(today), stop()).await
            }
        }
    };
    let served = tokio::select! {
        served = served => served,
        () = ending => Ok(()),
    };
    dropping.abort();
    #[cfg(feature = "sftp")]
    if let Some(sftp) = sftp {
        sftp.abort();
    }
    Ok(served?)
}

async fn bind(listen: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(listen).await;
    listener.with_context(|| format!("listening on {listen}"))
}

/// Where the certificate is that is served with, made if need be.
fn tls_files(options: &BankSimArgs, address: SocketAddr) -> anyhow::Result<Option<TlsFiles>> {
    let files = match (&options.tls, &options.tls_cert, &options.tls_key) {
        (Some(folder), ..) => {
            let mut names = options.tls_name.clone();
            names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
            if !address.ip().is_unspecified() && !address.ip().is_loopback() {
                names.push(address.ip().to_string());
            }
            let made = tls::make(folder, &names)?;
            writeln!(
                io::stderr(),
                "ca_file = {:?}\nclient_cert_file = {:?}",
                made.ca,
                made.client
            )?;
            Some(made.server)
        }
        (None, Some(certificate), Some(key)) => Some(TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
            client_ca: None,
        }),
        _ => None,
    };
    match (files, &options.client_ca) {
        (Some(files), client_ca) => Ok(Some(TlsFiles {
            client_ca: client_ca.clone(),
            ..files
        })),
        (None, Some(_)) => anyhow::bail!("--client-ca needs --tls, or --tls-cert and --tls-key"),
        (None, None) => Ok(None),
    }
}

#[cfg(feature = "sftp")]
async fn sftp_door(
    options: &BankSimArgs,
    listen: &str,
) -> anyhow::Result<(TcpListener, sftp::Door)> {
    let folder = options.dir.join("sftp");
    let door = sftp::door(&folder, SFTP_USER, &Entropy::system())?;
    writeln!(
        io::stderr(),
        "host_key: {:?}\nkey: {:?}",
        folder.join("host_key.pub"),
        folder.join("login_key")
    )?;
    Ok((bind(listen).await?, door))
}

/// Drops what becomes visible as days go by.
async fn keep_dropping(sim: Arc<Sim>, today: Today, folder: PathBuf) {
    let mut dropped = today();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let day = today();
        if day != dropped {
            match drop_files(&sim, day, &folder) {
                Ok(_) => dropped = day,
                Err(e) => {
                    tracing::error!(error = &e as &dyn std::error::Error, "dropping files");
                }
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_another_day_shows_is_dropped_while_serving() {
        let first: Day = "2026-06-01".parse().unwrap();
        let sim = Sim::new(&Plan {
            seed: 1,
            days: vec![first, first.next()],
            banks: 1,
            absent: 0,
            accounts: 1,
            trouble_permille: 0,
            wire_permille: 0,
        });
        let name = format!("jintuo-bank-sim-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let passed = Arc::new(AtomicI32::new(0));
        let days = Arc::clone(&passed);
        let today: Today = Arc::new(move || first.plus(days.load(Ordering::SeqCst)));
        let dropping = tokio::spawn(keep_dropping(sim.into(), today, folder.clone()));
        let dropped = || fs::read_dir(folder.join("sim-a")).map_or(0, Iterator::count);
        let mut seen = Vec::new();
        for day in 0..3 {
            passed.store(day, Ordering::SeqCst);
            // The clock stands still but for this.
            tokio::time::sleep(LOOK_EVERY * 2).await;
            seen.push(dropped());
        }
        dropping.abort();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(seen, [0, 2, 4], "each with its companion");
    }
}
