//! The city's banks, served on a loopback port, and the feeds that pull from them.
//!
//! A file is shown from the morning after the business day on which the play has it come. The bank that
//! states in canonical rows is not among them: its rows travel in the bundles, as only they can.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::bank_sim::{Delivery, Door, Manifest, Sim, SimBank};
use crate::base::Day;
use crate::config::{Auth, ClockTime, Feed, Https, Source};
use crate::demo::City;
use crate::web;

/// When statements are asked for: once, before the day is reconciled.
const SCHEDULE: &str = "0 0 7 * * *";
const EXPECTED_BY: ClockTime = ClockTime {
    hour: 8,
    minute: 30,
};
const GRACE_MINUTES: u32 = 120;
/// A file of the demo is far smaller.
const BODY_BYTES_MAX: u64 = 64 << 20;
const TIMEOUT_SECONDS: u64 = 30;

/// The banks as they are served, until this is dropped.
pub(super) struct Banks {
    pub(super) address: SocketAddr,
    names: Vec<&'static str>,
    today: watch::Sender<Day>,
    server: tokio::task::JoinHandle<io::Result<()>>,
}

impl Banks {
    pub(super) async fn open(city: &City) -> io::Result<Banks> {
        let sim = sim(city)?;
        let names = sim.banks.iter().map(|b| b.name).collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (today, seen) = watch::channel(Day::MIN);
        let today_at_banks = Arc::new(move || *seen.borrow());
        let never = std::future::pending();
        let served = web::bank_sim::serve(listener, sim, today_at_banks, never);
        Ok(Banks {
            address,
            names,
            today,
            server: tokio::spawn(served),
        })
    }

    /// Puts the banks' day forward.
    pub(super) fn put_forward(&self, today: Day) {
        self.today.send_replace(today);
    }

    /// One feed a bank.
    pub(super) fn feeds(&self) -> Vec<Feed> {
        let feed = |name: &&str| Feed {
            account: None,
            amount_unit: None,
            name: (*name).to_owned(),
            bank: (*name).to_owned(),
            schedule: SCHEDULE.to_owned(),
            expected_by: EXPECTED_BY,
            grace_minutes: GRACE_MINUTES,
            first_day: None,
            source: Source::Https(Https {
                url: format!("http://{}/banks/{name}/statements", self.address),
                auth: Auth::None,
                window_days: 1,
                // A day that is not whole is asked for again by itself.
                overlap_days: 0,
                min_interval_ms: 0,
                body_max_bytes: BODY_BYTES_MAX,
                timeout_seconds: TIMEOUT_SECONDS,
                ca_file: None,
                client_cert_file: None,
                allow_private: Vec::new(),
                allow_loopback_http: true,
            }),
        };
        self.names.iter().map(feed).collect()
    }
}

impl Drop for Banks {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What each bank shows and when.
fn sim(city: &City) -> io::Result<Sim> {
    let mut banks: Vec<SimBank> = Vec::new();
    for day in &city.days {
        for file in &day.statements {
            let name = file.path.file_name().unwrap_or_default();
            let delivery = Delivery {
                name: name.to_string_lossy().into_owned(),
                day: file.day,
                visible_from: day.day.plus(1),
                bytes: std::fs::read(&file.path)?,
            };
            match banks.iter_mut().find(|b| b.name == file.bank) {
                Some(bank) => bank.deliveries.push(delivery),
                None => banks.push(SimBank {
                    name: file.bank,
                    deliveries: vec![delivery],
                    wire: Vec::new(),
                    door: Door::Open,
                }),
            }
        }
    }
    banks.sort_by_key(|b| b.name);
    Ok(Sim {
        banks,
        manifest: Manifest::default(),
    })
}
