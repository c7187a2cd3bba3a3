//! The built server, killed in the middle of a fetch, between keeping and reading, and while it posts: the
//! next one ends in the books of one that was left alone. The moments are given by whom it waits for, a bank
//! that holds its answer at a byte or a database that holds a table, never by a clock.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use jintuo::base::{Clock, Day};
use jintuo::policy::CHINA;
use jintuo::report::Wanted;
use jintuo::store::lock::Job;
use sqlx::Connection as _;

use crate::bundle::Bundle;
use crate::harness::{Books, Store, command, on_both};

on_both!(
    a_server_may_be_killed_inside_an_answer,
    a_server_may_be_killed_before_it_reads_what_it_kept,
    a_server_may_be_killed_while_it_posts,
);

const ACCOUNTS: [&str; 2] = ["6217000001", "6217000002"];

/// A bank that shows one file a page, and holds the answers it is told to hold.
struct Bank {
    address: SocketAddr,
    /// One word each time an answer is held.
    holds: mpsc::Receiver<()>,
}

impl Bank {
    /// Of each answer in its turn so many bytes are sent and no more; those after it are whole.
    fn start(files: Vec<String>, holds: &[Option<Cut>]) -> Bank {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("a port");
        let (held, holds_said) = mpsc::channel();
        let mut holds: VecDeque<Option<Cut>> = holds.iter().copied().collect();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(connection) = connection else { return };
                serve(connection, &files, &mut holds, &held);
            }
        });
        Bank {
            address,
            holds: holds_said,
        }
    }
}

/// Where an answer is cut: before its head, so many hundredths of its body, or before its last byte.
#[derive(Clone, Copy)]
enum Cut {
    Head,
    Percent(usize),
    LastByte,
}

/// Answers the requests of one connection.
fn serve(
    stream: TcpStream,
    files: &[String],
    holds: &mut VecDeque<Option<Cut>>,
    held: &mpsc::Sender<()>,
) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut stream = stream;
    loop {
        let mut asked = String::new();
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap_or(0) > 2 {
            asked += &line;
            line.clear();
        }
        let Some(target) = asked.split(' ').nth(1) else {
            return;
        };
        let cursor = target.split("cursor=").nth(1).unwrap_or("0");
        let page: usize = cursor.split('&').next().unwrap_or("0").parse().unwrap_or(0);
        let body = &files[page];
        let next = if page + 1 < files.len() {
            format!("jintuo-next: {}\r\n", page + 1)
        } else {
            String::new()
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{next}\
             content-disposition: attachment; filename=\"{page}.xml\"\r\n\r\n",
            body.len()
        );
        let sent = match holds.pop_front().flatten() {
            None => {
                let _ = stream.write_all((head + body).as_bytes());
                continue;
            }
            Some(Cut::Head) => 0,
            Some(Cut::Percent(percent)) => head.len() + body.len() * percent / 100,
            Some(Cut::LastByte) => head.len() + body.len() - 1,
        };
        let whole = head + body;
        let _ = stream.write_all(&whole.as_bytes()[..sent]);
        let _ = held.send(());
        // Nothing more until whoever asked is dead.
        let _ = reader.read(&mut [0; 1]);
        return;
    }
}

/// One day of one account, with lines of a yuan and some fen.
fn statement(account: &str, on: Day, lines: usize) -> String {
    let fen: Vec<usize> = (0..lines).map(|n| 100 + n % 97).collect();
    let yuan = |fen: usize| format!("{}.{:02}", fen / 100, fen % 100);
    let balance = |kind: &str, fen: usize| {
        format!(
            "<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Amt Ccy=\"CNY\">{}</Amt>\
             <CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>{on}</Dt></Dt></Bal>\n",
            yuan(fen)
        )
    };
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\"><BkToCstmrStmt><Stmt>\
         <Id>S-{account}</Id><Acct><Id><Othr><Id>{account}</Id></Othr></Id><Ccy>CNY</Ccy></Acct>\n"
    );
    text += &balance("OPBD", 0);
    text += &balance("CLBD", fen.iter().sum());
    for (n, fen) in fen.iter().enumerate() {
        text += &format!(
            "<Ntry><NtryRef>{n}</NtryRef><Amt Ccy=\"CNY\">{}</Amt><CdtDbtInd>CRDT</CdtDbtInd>\
             <Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>{on}</Dt></BookgDt>\
             <AcctSvcrRef>R{account}{n:06}</AcctSvcrRef></Ntry>\n",
            yuan(*fen)
        );
    }
    text + "</Stmt></BkToCstmrStmt></Document>\n"
}

/// One database, one bank, one day that is owed.
struct Site {
    store: Store,
    config: PathBuf,
    on: Day,
}

/// A server; it dies with its holder.
struct Serving {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Site {
    fn new(store: Store, bank: SocketAddr) -> Site {
        let clock = Clock::system(chrono_tz::Asia::Shanghai);
        let on = CHINA.working_day_at_or_before(clock.day_of(clock.now()).plus(-1));
        let [one, two] = ACCOUNTS;
        let accounts = format!(
            "account_id,institution_id,kind,min_deposit_fen,bank_code\n\
             {one},I1,CUSTODY,0,ABC\n{two},I1,CUSTODY,0,ABC\n"
        );
        let registry = Bundle::of(&[
            ("districts", "district_id,name\nD1,示例区\n"),
            (
                "institutions",
                "institution_id,district_id,name\nI1,D1,示例机构\n",
            ),
            ("accounts", &accounts),
        ])
        .write(&store.dir, "registry");
        let config = store.dir.write(
            "jintuo.toml",
            format!(
                "[database]\nunsafe_dev = true\n[server]\nlisten = \"127.0.0.1:0\"\n\
                 admin_listen = \"\"\n\
                 [[feed]]\nname = \"abc\"\nbank = \"ABC\"\nschedule = \"* * * * * *\"\n\
                 first_day = \"{on}\"\n[feed.source]\nkind = \"https\"\n\
                 url = \"http://{bank}/statements\"\nallow_loopback_http = true\n\
                 overlap_days = 0\nmin_interval_ms = 0\n"
            ),
        );
        store
            .jintuo(&["import", &registry.to_string_lossy()])
            .ended(0);
        Site { store, config, on }
    }

    fn serve(&self) -> Serving {
        let config = self.config.to_string_lossy();
        let mut child = command(&["--db", &self.store.url, "--config", &config, "serve"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = BufReader::new(child.stderr.take().expect("a pipe"));
        Serving {
            child,
            lines: log.lines(),
        }
    }

    /// Lets a server work until the day is whole, tells it to stop, and looks at the books.
    async fn finish(&self) -> Books {
        let mut serving = self.serve();
        let mut said = String::new();
        loop {
            let line = serving.lines.next().expect(&said).expect("text");
            said += &format!("{line}\n");
            if line.contains("a day is reconciled") && line.contains("\"run.accounts_unproven\":0")
            {
                break;
            }
        }
        let id = serving.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status();
        assert!(told.expect("kill is there").success());
        let rest: Vec<_> = serving.lines.by_ref().collect();
        let ended = serving.child.wait().expect("it ends");
        assert_eq!(ended.code(), Some(0), "{rest:?}");
        assert_eq!(self.store.check().await, []);
        assert_eq!(self.store.jintuo(&["check"]).ended(0).text(), "");
        let wanted = Wanted {
            as_of: Some(self.on),
            ..Wanted::default()
        };
        self.store.books(&wanted).await.essence()
    }

    /// Kills a server. A claim outlives its holder where there may be other servers: its time passes here.
    async fn kill(&self, mut serving: Serving) {
        serving.child.kill().expect("it can be killed");
        let status = serving.child.wait().expect("it ends");
        assert_eq!(status.code(), None, "it was alive");
        if self.store.is_postgres() {
            let over = "UPDATE job SET held_until = '2000-01-01T00:00:00Z' WHERE state = 'working'";
            self.store.as_superuser(over).await;
        }
    }

    /// State and attempts of each delivery.
    async fn deliveries(&self) -> Vec<(String, i64)> {
        let db = self.store.open(0).await;
        let mut tx = db.begin_read().await.expect("a transaction");
        let sql = "SELECT state, attempts FROM delivery ORDER BY delivery_no";
        let rows = jintuo::on!(tx, c => sqlx::query_as(sql).fetch_all(c).await);
        tx.rollback().await.expect("a rollback");
        db.close().await;
        rows.expect("deliveries can be read")
    }

    async fn remove(self) {
        self.store.remove().await;
    }
}

/// What a server that is left alone makes of the same files.
async fn left_alone(store: &Store, files: &[String]) -> (Books, i64) {
    let bank = Bank::start(files.to_vec(), &[]);
    let site = Site::new(store.another().await, bank.address);
    let books = site.finish().await;
    let postings = site.store.rows("posting").await;
    site.remove().await;
    (books, postings)
}

fn day_of_files(lines: usize) -> Vec<String> {
    let clock = Clock::system(chrono_tz::Asia::Shanghai);
    let on = CHINA.working_day_at_or_before(clock.day_of(clock.now()).plus(-1));
    ACCOUNTS.map(|account| statement(account, on, lines)).into()
}

async fn a_server_may_be_killed_inside_an_answer(store: Store) {
    let files = day_of_files(40);
    let (expected, postings) = left_alone(&store, &files).await;
    let cuts = [Cut::Head, Cut::Percent(0), Cut::Percent(50), Cut::LastByte].map(Some);
    let bank = Bank::start(files, &cuts);
    let site = Site::new(store.another().await, bank.address);
    for cut in 0..cuts.len() {
        let serving = site.serve();
        bank.holds.recv().expect("an answer is held");
        site.kill(serving).await;
        assert_eq!(site.deliveries().await, [], "cut {cut}");
    }
    assert_eq!(site.finish().await, expected);
    assert_eq!(site.store.rows("posting").await, postings);
    let taken = ("taken".to_owned(), 1);
    assert_eq!(site.deliveries().await, [taken.clone(), taken]);
    site.remove().await;
}

/// The bank is asked for the second page once the first is kept; that one cannot be read meanwhile, because
/// somebody else imports.
async fn a_server_may_be_killed_before_it_reads_what_it_kept(store: Store) {
    let files = day_of_files(40);
    let (expected, postings) = left_alone(&store, &files).await;
    let bank = Bank::start(files, &[None, Some(Cut::Head)]);
    let site = Site::new(store.another().await, bank.address);
    let db = site.store.open(0).await;
    let importing = db.lock(Job::Import).await.expect("nobody imports");
    let serving = site.serve();
    bank.holds.recv().expect("an answer is held");
    site.kill(serving).await;
    drop(importing);
    db.close().await;
    assert_eq!(site.deliveries().await, [("received".to_owned(), 0)]);
    assert_eq!(site.finish().await, expected);
    assert_eq!(site.store.rows("posting").await, postings);
    // Pages that were kept are not asked for again: the bank showed each once.
    assert_eq!(site.store.rows("delivery").await, 2);
    site.remove().await;
}

async fn a_server_may_be_killed_while_it_posts(store: Store) {
    let files = day_of_files(4_000);
    let (expected, postings) = left_alone(&store, &files).await;
    assert_eq!(postings, 8_000);
    let bank = Bank::start(files, &[]);
    let site = Site::new(store.another().await, bank.address);
    for kill in 1..=2 {
        if site.store.is_postgres() {
            killed_waiting_for_postings(&site).await;
        } else {
            killed_holding_the_writers_place(&site, kill).await;
        }
        // Whatever it had written of the first file is gone with it.
        assert_eq!(site.store.rows("posting").await, 0, "kill {kill}");
        let begun = site.deliveries().await;
        let tried = |d: &(String, i64)| d.0 == "received" && d.1 == kill;
        assert!(begun.first().is_some_and(tried), "kill {kill}: {begun:?}");
    }
    assert_eq!(site.finish().await, expected);
    assert_eq!(site.store.rows("posting").await, postings);
    let states = site.deliveries().await;
    assert!(
        states.iter().all(|(state, _)| state == "taken"),
        "{states:?}"
    );
    site.remove().await;
}

/// Nobody may write postings until the server is dead, and it is killed once it wants to.
async fn killed_waiting_for_postings(site: &Site) {
    let url = &site.store.url;
    let mut holding = sqlx::PgConnection::connect(url).await.expect("a server");
    let lock = "BEGIN; LOCK TABLE posting IN SHARE MODE";
    let locked = sqlx::raw_sql(lock).execute(&mut holding).await;
    locked.expect("nobody writes postings");
    let serving = site.serve();
    let waiting =
        "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND relation = 'posting'::regclass";
    let mut waits = 0_i64;
    while waits == 0 {
        let found = sqlx::query_scalar(waiting).fetch_one(&mut holding).await;
        waits = found.expect("locks can be looked at");
    }
    site.kill(serving).await;
    holding.close().await.expect("the lock ends");
}

/// Killed inside the write transaction that follows the numbering of the first file: the one that posts, which
/// a trigger keeps from ending at its first posting.
async fn killed_holding_the_writers_place(site: &Site, attempt: i64) {
    const TURNED_AWAY: u32 = 500;
    let options: sqlx::sqlite::SqliteConnectOptions = site.store.url.parse().expect("an address");
    let options = options.busy_timeout(std::time::Duration::ZERO);
    let mut other = sqlx::SqliteConnection::connect_with(&options)
        .await
        .expect("the file opens");
    let endless = "CREATE TRIGGER endless AFTER INSERT ON posting BEGIN \
                   SELECT (WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) \
                           SELECT COUNT(*) FROM n); END";
    let made = sqlx::raw_sql(endless).execute(&mut other).await;
    made.expect("nobody posts to the end");
    let serving = site.serve();
    let numbered = "SELECT COUNT(*) FROM delivery d WHERE d.state = 'received' AND d.attempts >= $1 \
                    AND EXISTS (SELECT 1 FROM source_file f WHERE f.kind = 'statement' \
                      OR f.name LIKE 'abc/%')";
    let mut turned_away = 0;
    while turned_away < TURNED_AWAY {
        let begun: i64 = sqlx::query_scalar(numbered)
            .bind(attempt)
            .fetch_one(&mut other)
            .await
            .expect("deliveries can be read");
        let free = sqlx::raw_sql("BEGIN IMMEDIATE; ROLLBACK")
            .execute(&mut other)
            .await;
        turned_away = if begun > 0 && free.is_err() {
            turned_away + 1
        } else {
            0
        };
    }
    // Before the kill: the last one to leave would tidy up after it.
    other.close().await.expect("the connection closes");
    site.kill(serving).await;
    let mut other = sqlx::SqliteConnection::connect_with(&options)
        .await
        .expect("the file opens");
    let dropped = sqlx::raw_sql("DROP TRIGGER endless").execute(&mut other);
    dropped.await.expect("postings end again");
    other.close().await.expect("the connection closes");
}
