//! The admin port: what a planted gap looks like, when the service is not ready, and that the two ports
//! have nothing in common.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use jintuo::base::{Day, Instant};
use jintuo::config::Config;
use jintuo::feed::owed::Obligations;
use jintuo::feed::store::cut;
use jintuo::intake::{Exempt, exempt};
use jintuo::monitor::Monitor;
use jintuo::policy::Policy;
use jintuo::reconcile::days::DayState;
use jintuo::reconcile::store::{DaysWanted, Seen, each_account_days};
use jintuo::schedule::Pulse;
use jintuo::store::Db;
use jintuo::web::{self, Traffic, admin, admin::Watch as _};
use jintuo::{app, registry};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::world::{FIRST, Reply, World, account, at, prompt, statement, working_days};
use crate::exposition::Exposition;
use crate::harness::{Dir, Store, on_both};

on_both!(
    a_gap_is_seen_in_the_figures_and_goes,
    states_are_those_of_the_ledger_of_days,
    without_its_database_the_service_lives_and_is_not_ready,
    the_two_ports_have_nothing_in_common,
);

impl World {
    fn monitor(&self, now: Instant) -> Monitor {
        let (pulse, traffic) = (self.service(now).pulse(), Arc::<Traffic>::default());
        self.monitor_of(now, pulse, traffic)
    }

    fn monitor_of(&self, now: Instant, pulse: Arc<Pulse>, traffic: Arc<Traffic>) -> Monitor {
        let db = self.service_db(now);
        Monitor::new(db, &self.config, pulse, traffic).expect("settings that work")
    }

    async fn figures(&self, now: Instant) -> Exposition {
        Exposition::parse(&self.monitor(now).metrics().await)
    }
}

/// Serves until it is dropped.
struct Port {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Port {
    async fn of<F>(serve: impl FnOnce(TcpListener) -> F) -> Port
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let served = serve(listener);
        let task = tokio::spawn(async move {
            let _ = served.await;
        });
        Port { address, task }
    }

    async fn admin(monitor: Monitor) -> Port {
        let never = std::future::pending();
        Port::of(|listener| admin::serve(listener, Arc::new(monitor), never)).await
    }

    /// Status, headers and body.
    async fn ask(&self, method: &str, path: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
        let status = head.split(' ').nth(1).expect("a status");
        (
            status.parse().expect("a number"),
            head.to_owned(),
            body.to_owned(),
        )
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn a_gap_is_seen_in_the_figures_and_goes(store: Store) {
    let days = working_days(3);
    let hole = days[1];
    let comes = at(&days[2].plus(1).to_string(), 6, 0);
    let world = World::new(store, move |feed, on, now, _| match feed {
        "icbc" if on == hole && now < comes => Reply::Nothing,
        _ => Reply::Files(vec![statement(feed, on)]),
    })
    .await;
    // The morning on which it is owed: first it is not yet due, then late, then a gap.
    let morning = |hour, minute| at(&hole.plus(1).to_string(), hour, minute);
    world.live(at(FIRST, 0, 0), morning(8, 29)).await;
    let icbc = |state| [("bank", "ICBC"), ("state", state)];
    let count = |figures: &Exposition, state| figures.get("jintuo_account_days", &icbc(state));
    let figures = world.figures(morning(8, 29)).await;
    assert_eq!(
        (count(&figures, "late"), count(&figures, "gap")),
        (Some(0), Some(0))
    );
    assert_eq!(figures.series("jintuo_account_days_missing"), 0);
    let figures = world.figures(morning(8, 31)).await;
    assert_eq!(
        (count(&figures, "late"), count(&figures, "gap")),
        (Some(2), Some(0))
    );
    world.live(morning(8, 30), morning(10, 40)).await;
    let figures = world.figures(morning(10, 40)).await;
    assert_eq!(
        (count(&figures, "late"), count(&figures, "gap")),
        (Some(0), Some(2))
    );
    let missing = [("bank", "ICBC"), ("day", &*hole.to_string())];
    assert_eq!(
        figures.get("jintuo_account_days_missing", &missing),
        Some(2)
    );
    let age = |figures: &Exposition, bank| {
        figures.get("jintuo_bank_newest_proven_age_days", &[("bank", bank)])
    };
    assert_eq!(
        (age(&figures, "ICBC"), age(&figures, "ABC")),
        (Some(2), Some(1))
    );
    assert_eq!(figures.get("jintuo_run_newest_day_age_days", &[]), Some(1));
    assert_eq!(
        figures.get("jintuo_deliveries", &[("state", "poison")]),
        Some(0)
    );
    // It comes a day later.
    world
        .live(morning(11, 0), comes + chrono::TimeDelta::hours(1))
        .await;
    let figures = world.figures(comes + chrono::TimeDelta::hours(1)).await;
    assert_eq!(
        (count(&figures, "late"), count(&figures, "gap")),
        (Some(0), Some(0))
    );
    assert_eq!(count(&figures, "proven"), Some(6));
    assert_eq!(age(&figures, "ICBC"), Some(1));
    // Nothing tells of an account.
    for word in figures.words() {
        for bank in super::BANKS {
            assert!(!word.contains(&account(bank, 1)), "{word}");
        }
    }
    world.db.close().await;
}

/// One bank leaves a day out, another contradicts itself on a day, the third owes none for one and corrects
/// another: the figures count what `feed status` lists.
async fn states_are_those_of_the_ledger_of_days(store: Store) {
    let days = working_days(8);
    let (hole, freed, disputed, revised) = (days[3], days[2], days[2], days[5]);
    let world = World::new(store, move |feed, on, _, _| match feed {
        "abc" if on == hole => Reply::Nothing,
        "ccb" if on == disputed => {
            let good = statement(feed, on);
            let text = String::from_utf8(good.bytes.clone()).expect("text");
            let mut other = good.clone();
            other.name = format!("other-{}", good.name);
            // Another number, a line and a closing of one yuan more.
            other.bytes = text
                .replace(&format!("-{on}</Id>"), &format!("-{on}-B</Id>"))
                .replace(
                    "<Ntry><Amt Ccy=\"CNY\">10.00",
                    "<Ntry><Amt Ccy=\"CNY\">11.00",
                )
                .replace(">30.00<", ">31.00<")
                .into_bytes();
            Reply::Files(vec![good, other])
        }
        "icbc" if on == freed => Reply::Nothing,
        "icbc" if on == revised => {
            let first = statement(feed, on);
            let mut second = first.clone();
            second.name = format!("second-{}", first.name);
            let text = String::from_utf8(first.bytes.clone()).expect("text");
            let bytes = text.replace("-1</AcctSvcrRef>", "-2</AcctSvcrRef>");
            second.bytes = bytes.into_bytes();
            Reply::Files(vec![first, second])
        }
        _ => Reply::Files(vec![statement(feed, on)]),
    })
    .await;
    for n in 1..=2 {
        let none = Exempt {
            account_id: account("icbc", n),
            first: freed,
            last: freed,
            reason: "系统停机".to_owned(),
        };
        assert!(exempt(&world.db, &none).await.expect("an exemption"));
    }
    let now = at(&days[7].to_string(), 12, 0);
    world.live(at(FIRST, 0, 0), now).await;
    let figures = world.figures(now).await;
    let ledger = ledger(&world.service_db(now), &world.config, now, days[7].plus(-1)).await;
    for state in [
        DayState::Gap,
        DayState::Disputed,
        DayState::Exempt,
        DayState::Revised,
    ] {
        let all: i64 = (ledger.iter().filter(|((_, s), _)| *s == state))
            .map(|(_, n)| n)
            .sum();
        assert_eq!(all, 2, "{state:?}: {ledger:?}");
    }
    for bank in ["ABC", "CCB", "ICBC"] {
        for state in DayState::ALL {
            let labels = [("bank", bank), ("state", state.as_str())];
            let listed = ledger.get(&(bank.to_owned(), state)).copied().unwrap_or(0);
            assert_eq!(
                figures.get("jintuo_account_days", &labels),
                Some(listed),
                "{bank} {state:?}: {ledger:?}"
            );
        }
    }
    world.db.close().await;
}

/// Account-days by bank and state, proved from everything that is known.
async fn ledger(
    db: &Db,
    config: &Config,
    now: Instant,
    last: Day,
) -> BTreeMap<(String, DayState), i64> {
    let mut tx = db.begin_read().await.expect("a transaction");
    let source_cut = cut(&mut tx, now).await.expect("a cut");
    let registry = registry::store::load(&mut tx, source_cut)
        .await
        .expect("a registry");
    let wanted = DaysWanted {
        policy: &Policy::built_in("default").expect("the default policy"),
        obligations: &Obligations::of(config).expect("settings that work"),
        range: None,
        seen: Seen {
            day: last,
            source_cut,
        },
        now,
    };
    let mut counts = BTreeMap::new();
    each_account_days(&mut tx, &registry, wanted, |account, days| {
        for day in days {
            let bank = account.bank_code.clone().unwrap_or_default();
            *counts.entry((bank, day.state)).or_default() += 1;
        }
    })
    .await
    .expect("the ledger of days");
    tx.rollback().await.expect("a rollback");
    counts
}

async fn without_its_database_the_service_lives_and_is_not_ready(store: Store) {
    let world = World::new(store, prompt).await;
    let now = at(&working_days(2)[1].to_string(), 9, 0);
    let service = world.service(now);
    let monitor = world.monitor_of(now, service.pulse(), Arc::default());
    let port = Port::admin(monitor).await;
    let (status, _, body) = port.ask("GET", "/readyz").await;
    assert_eq!(
        (status, &*body),
        (503, "not ready: the scheduler has not begun\n")
    );
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let working = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        service.serve(stopped).await
    });
    world.when_asked(super::BANKS.len()).await;
    assert_eq!(port.ask("GET", "/readyz").await.0, 200);
    let (status, head, body) = port.ask("GET", "/metrics").await;
    let head = head.to_ascii_lowercase();
    assert!(
        head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
        "{head}"
    );
    assert!(
        status == 200 && head.contains("cache-control: no-store"),
        "{head}"
    );
    let figures = Exposition::parse(&body);
    assert_eq!(figures.get("jintuo_database_up", &[]), Some(1));
    assert_eq!(figures.get("jintuo_scheduler_up", &[]), Some(1));
    for bank in super::BANKS {
        let asked = figures.get("jintuo_fetch_attempts_total", &[("feed", bank)]);
        assert_eq!(asked, Some(1), "{bank}");
    }
    world.db.close().await;
    let (status, _, body) = port.ask("GET", "/readyz").await;
    assert!(
        status == 503 && body.starts_with("not ready: the database"),
        "{status} {body}"
    );
    assert_eq!(port.ask("GET", "/livez").await.0, 200);
    // What was read just now is shown for a while; a port without it says what it knows.
    let later = world.monitor(now);
    let figures = Exposition::parse(&later.metrics().await);
    assert_eq!(figures.get("jintuo_database_up", &[]), Some(0));
    assert_eq!(figures.series("jintuo_account_days"), 0);
    assert_eq!(figures.get("jintuo_http_requests_in_flight", &[]), Some(0));
    let _ = stop.send(());
    working.await.expect("a task").expect("nothing is stuck");
}

#[tokio::test]
async fn a_database_whose_file_is_gone_is_not_ready() {
    let store = Store::sqlite_in(Dir::new());
    let db = store.open(0).await;
    db.is_current().await.expect("a database");
    std::fs::rename(
        store.dir.path().join("books.db"),
        store.dir.path().join("away"),
    )
    .expect("a rename");
    let error = db.is_current().await.expect_err("nothing is there");
    assert!(error.to_string().ends_with("books.db is gone"), "{error}");
    db.close().await;
}

async fn the_two_ports_have_nothing_in_common(store: Store) {
    let world = World::new(store, prompt).await;
    let now = at(&working_days(2)[1].to_string(), 12, 0);
    world.live(at(FIRST, 0, 0), now).await;
    let state = app::web_state(world.service_db(now), &world.config, false).expect("a state");
    let traffic = Arc::clone(&state.traffic);
    let pages = Port::of(|listener| web::serve(listener, state, std::future::pending())).await;
    let pulse = world.service(now).pulse();
    let admin = Port::admin(world.monitor_of(now, pulse, traffic)).await;
    for (path, status) in [
        ("/", 200),
        ("/metrics", 404),
        ("/districts/no-such", 404),
        ("/livez", 200),
    ] {
        assert_eq!(pages.ask("GET", path).await.0, status, "{path}");
    }
    assert_eq!(pages.ask("DELETE", "/").await.0, 405);
    for path in [
        "/",
        "/districts/D1",
        "/imports/new",
        "/v1/feeds/abc/statements",
    ] {
        assert_eq!(admin.ask("GET", path).await.0, 404, "{path}");
    }
    assert_eq!(admin.ask("POST", "/metrics").await.0, 405);
    let figures = Exposition::parse(&admin.ask("GET", "/metrics").await.2);
    for (route, status, n) in [
        ("overview", "200", 1),
        ("overview", "405", 1),
        ("other", "404", 1),
        ("district", "404", 1),
        ("probe", "200", 1),
    ] {
        let labels = [("route", route), ("status", status)];
        assert_eq!(
            figures.get("jintuo_http_requests_total", &labels),
            Some(n),
            "{route}"
        );
    }
    assert_eq!(figures.series("jintuo_http_requests_total"), 5);
    assert_eq!(figures.get("jintuo_http_requests_in_flight", &[]), Some(0));
    world.db.close().await;
}
