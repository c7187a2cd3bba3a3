//! What the service says of itself: whether it is ready, and figures for Prometheus.
//!
//! Ready means that the database answers, its schema is this program's, and the scheduler's loops go on.
//! Figures of the process are read as they are; those of the books are read at a scrape, at most once in
//! `KEPT_FOR`, whoever scrapes.
//!
//! Invariants: no label names an account, an institution, a file or a person; labels are feeds of the
//! settings, banks up to a limit, days of the working window and words of the program, so that their number
//! is bounded; a database that does not answer costs its figures and nothing else.

mod text;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant as Moment, timeout};

use crate::base::{Day, Instant};
use crate::config::{Config, Source};
use crate::feed::owed::Obligations;
use crate::reconcile::days::DayState;
use crate::schedule::Pulse;
use crate::schedule::watch::{Standing, standing};
use crate::store::{Db, DbError, Engine};
use crate::web::{BoxFuture, Traffic, admin};

use text::Exposition;

/// How long what was read from the books is shown again.
const KEPT_FOR: Duration = Duration::from_secs(15);
/// How long the database may take to answer a probe, and a scrape.
const PROBE_TIME_MAX: Duration = Duration::from_secs(3);
const SCRAPE_TIME_MAX: Duration = Duration::from_secs(8);

/// Watches one service.
pub struct Monitor {
    db: Db,
    config: Config,
    obligations: Obligations,
    pulse: Arc<Pulse>,
    traffic: Arc<Traffic>,
    /// What was read last, and when; locked while it is read, so that scrapes share it.
    read: Mutex<Option<(Moment, Arc<Standing>)>>,
}

impl Monitor {
    /// # Errors
    /// A zone that is none.
    pub fn new(
        db: Db,
        config: &Config,
        pulse: Arc<Pulse>,
        traffic: Arc<Traffic>,
    ) -> Result<Monitor, String> {
        Ok(Monitor {
            db,
            config: config.clone(),
            obligations: Obligations::of(config)?,
            pulse,
            traffic,
            read: Mutex::new(None),
        })
    }

    async fn is_ready(&self) -> Result<(), String> {
        match timeout(PROBE_TIME_MAX, self.db.is_current()).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(format!("the database: {e}")),
            Err(_) => return Err("the database does not answer".to_owned()),
        }
        self.pulse.alive()
    }

    /// How everything stands; `None` where the database does not answer.
    async fn standing(&self) -> Option<Arc<Standing>> {
        let mut read = self.read.lock().await;
        if let Some((at, standing)) = &*read
            && at.elapsed() < KEPT_FOR
        {
            return Some(Arc::clone(standing));
        }
        *read = None;
        match timeout(SCRAPE_TIME_MAX, self.ask()).await {
            Ok(Ok(standing)) => {
                let standing = Arc::new(standing);
                *read = Some((Moment::now(), Arc::clone(&standing)));
                Some(standing)
            }
            Ok(Err(e)) => {
                tracing::warn!(error = &e as &dyn std::error::Error, "reading figures");
                None
            }
            Err(_) => {
                tracing::warn!(limit = ?SCRAPE_TIME_MAX, "reading figures took too long");
                None
            }
        }
    }

    async fn ask(&self) -> Result<Standing, DbError> {
        let mut tx = self.db.begin_read().await?;
        let now = tx.now();
        let found = standing(&mut tx, &self.config, &self.obligations, now).await?;
        tx.rollback().await?;
        Ok(found)
    }

    async fn exposition(&self) -> String {
        let standing = self.standing().await;
        let mut text = Exposition::default();
        self.of_process(&mut text, standing.is_some());
        self.of_feeds(&mut text);
        self.of_traffic(&mut text);
        if let Some(standing) = standing {
            let now = self.db.clock().now();
            of_days(&mut text, &standing, self.db.clock().day_of(now));
            of_books(&mut text, &standing, (self.db.clock().day_of(now), now));
        }
        text.into_text()
    }

    fn of_process(&self, text: &mut Exposition, database_answers: bool) {
        let engine = match self.db.engine() {
            Engine::Sqlite => "sqlite",
            Engine::Postgres => "postgres",
        };
        let build = [("version", env!("CARGO_PKG_VERSION")), ("database", engine)];
        text.gauge("jintuo_build_info", "The program, always 1.")
            .sample(&build, 1);
        text.gauge(
            "jintuo_database_up",
            "1 where the books could be read for this answer.",
        )
        .value(u8::from(database_answers));
        text.gauge(
            "jintuo_scheduler_up",
            "1 while every loop of the scheduler goes on.",
        )
        .value(u8::from(self.pulse.alive().is_ok()));
        let pools = self.db.pools();
        let mut used = text.gauge(
            "jintuo_database_connections",
            "Open connections to the database, by pool and state.",
        );
        for pool in &pools {
            used.sample(&[("pool", pool.pool), ("state", "used")], pool.used);
            used.sample(&[("pool", pool.pool), ("state", "idle")], pool.idle);
        }
        let mut max = text.gauge(
            "jintuo_database_connections_max",
            "The most connections a pool may open.",
        );
        for pool in &pools {
            max.sample(&[("pool", pool.pool)], pool.max);
        }
        let (runs, failures) = self.pulse.runs();
        text.counter(
            "jintuo_runs_completed_total",
            "Days reconciled by this process.",
        )
        .value(runs);
        text.counter(
            "jintuo_run_failures_total",
            "Attempts of this process at reconciling a day that failed.",
        )
        .value(failures);
    }

    fn of_feeds(&self, text: &mut Exposition) {
        let mut info = text.gauge(
            "jintuo_feed_info",
            "A feed of the settings and the bank it belongs to, always 1.",
        );
        for feed in &self.config.feed {
            let kind = match &feed.source {
                Source::Folder { .. } => "folder",
                Source::Https(_) => "https",
                Source::Sftp(_) => "sftp",
                Source::Push { .. } => "push",
            };
            let labels = [
                ("feed", feed.name.as_str()),
                ("bank", &feed.bank),
                ("kind", kind),
            ];
            info.sample(&labels, 1);
        }
        let fetches = self.pulse.fetches();
        let mut attempts = text.counter(
            "jintuo_fetch_attempts_total",
            "Times this process asked a feed for a day.",
        );
        for (feed, fetch) in &fetches {
            attempts.sample(&[("feed", feed)], fetch.attempts);
        }
        let mut outcomes = text.counter(
            "jintuo_fetches_total",
            "What asking a feed for a day came to.",
        );
        for (feed, fetch) in &fetches {
            let mut came_to = |what, n| outcomes.sample(&[("feed", feed), ("outcome", what)], n);
            came_to("answered", fetch.answered);
            came_to("failed", fetch.failed);
            came_to("lost", fetch.lost);
        }
        let mut files = text.counter(
            "jintuo_fetched_files_total",
            "Files that a feed brought: new, known by name and bytes, or not taken.",
        );
        for (feed, fetch) in &fetches {
            let mut brought = |sort, n| files.sample(&[("feed", feed), ("sort", sort)], n);
            brought("new", fetch.files_new);
            brought("known", fetch.files_known);
            brought("refused", fetch.files_refused);
        }
    }

    fn of_traffic(&self, text: &mut Exposition) {
        let mut requests = text.counter(
            "jintuo_http_requests_total",
            "Requests answered on the pages' port, by class of address and status.",
        );
        for ((route, status), n) in self.traffic.answers() {
            let status = status.to_string();
            requests.sample(&[("route", route.as_str()), ("status", &status)], n);
        }
        text.gauge(
            "jintuo_http_requests_in_flight",
            "Requests under way on the pages' port.",
        )
        .value(self.traffic.in_flight());
        text.counter(
            "jintuo_http_requests_shed_total",
            "Requests refused because too many were under way.",
        )
        .value(self.traffic.requests_shed());
        text.counter(
            "jintuo_http_connections_turned_away_total",
            "Connections refused because there were too many.",
        )
        .value(self.traffic.connections_turned_away());
    }
}

fn of_days(text: &mut Exposition, standing: &Standing, today: Day) {
    let mut days = text.gauge(
        "jintuo_account_days",
        "Account-days of the working window by bank and state; disputed ones as the newest run found them.",
    );
    for bank in &standing.banks {
        for (state, n) in DayState::ALL.iter().zip(bank.states) {
            days.sample(&[("bank", &bank.bank), ("state", state.as_str())], n);
        }
    }
    let mut missing = text.gauge(
        "jintuo_account_days_missing",
        "Statements of the working window that are late or a gap, by bank and day, of the newest 31 such days.",
    );
    for bank in &standing.banks {
        for (day, n) in &bank.missing {
            missing.sample(&[("bank", &bank.bank), ("day", &day.to_string())], n);
        }
    }
    let mut age = text.gauge(
        "jintuo_bank_newest_proven_age_days",
        "Days since the newest day of which a bank's statement is proven; left out where there is none.",
    );
    for bank in &standing.banks {
        if let Some(day) = bank.newest_proven {
            age.sample(&[("bank", &bank.bank)], today.since(day));
        }
    }
    let window = standing
        .window
        .map_or(0, |(first, last)| last.since(first) + 1);
    text.gauge(
        "jintuo_window_days",
        "Calendar days of the working window, the last one yesterday.",
    )
    .value(window);
    text.gauge(
        "jintuo_banks_left_out",
        "Banks that are not counted because there are too many.",
    )
    .value(standing.banks_left_out);
}

fn of_books(text: &mut Exposition, standing: &Standing, (today, now): (Day, Instant)) {
    let mut failing = text.gauge(
        "jintuo_fetch_days_failing",
        "Days a feed was asked for in vain and will be asked for again.",
    );
    for (feed, n) in &standing.failing {
        failing.sample(&[("feed", feed)], n);
    }
    let mut deliveries = text.gauge(
        "jintuo_deliveries",
        "Files delivered that are not in the books: received ones wait to be read, early ones for their \
         accounts, quarantined ones could not be used, poison ones ended their reader.",
    );
    for (state, n) in &standing.deliveries {
        deliveries.sample(&[("state", state)], n);
    }
    let seconds = |since: Instant| (now - since).num_seconds().max(0);
    text.gauge(
        "jintuo_delivery_oldest_waiting_seconds",
        "Since when the oldest delivery waits to be read; 0 where none does.",
    )
    .value(standing.unread_since.map_or(0, seconds));
    if let Some((day, completed)) = standing.newest_run {
        text.gauge(
            "jintuo_run_newest_day_age_days",
            "Days since the day of the newest completed run.",
        )
        .value(today.since(day));
        text.gauge(
            "jintuo_run_newest_age_seconds",
            "Seconds since the newest day's newest run was completed.",
        )
        .value(seconds(completed));
    }
}

impl admin::Watch for Monitor {
    fn ready(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.is_ready())
    }

    fn metrics(&self) -> BoxFuture<'_, String> {
        Box::pin(self.exposition())
    }
}
