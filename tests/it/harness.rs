//! Databases, folders and the built binary, for every test of this binary.
//!
//! A test written with [`on_both!`] runs on SQLite always, on PostgreSQL where `TEST_PG_URL` names a server,
//! and on PostgreSQL over several nodes where `TEST_CITUS_URL` names a coordinator, each time on a database
//! of its own: a file in a folder of the test, or a schema of the test.
//! Both go when the test ends. Clocks stand still and are set by the test.
//! Absent on purpose: sleeps, retries, shared databases, networks beyond loopback.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::TimeZone as _;
use jintuo::base::{Clock, Day, Instant};
use jintuo::check::{self, Broken};
use jintuo::intake::{self, ImportError};
use jintuo::report::{self, Form, Table, Wanted};
use jintuo::run;
use jintuo::store::{Db, OpenOptions};

/// Makes `$name::sqlite`, `$name::postgres` and `$name::citus` of one `async fn(Store)`.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[test]
            fn sqlite() {
                crate::harness::on_sqlite(super::$name);
            }
            #[test]
            fn postgres() {
                crate::harness::on_postgres(super::$name);
            }
            #[test]
            fn citus() {
                crate::harness::on_citus(super::$name);
            }
        }
    )*};
}
pub(crate) use on_both;

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A folder that goes with its holder.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Dir {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("jintuo-it-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary folder can be written");
        Dir(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("a folder can be made");
        }
        std::fs::write(&path, bytes).expect("a file can be written");
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A database of one test.
pub(crate) struct Store {
    pub(crate) url: String,
    schema: Option<String>,
    pub(crate) dir: Dir,
}

/// 2026-01-05 08:00 in the site's zone, and so many minutes.
pub(crate) fn minute(n: i64) -> Instant {
    let start = chrono::Utc
        .with_ymd_and_hms(2026, 1, 5, 0, 0, 0)
        .single()
        .expect("an instant");
    start + chrono::Duration::minutes(n)
}

pub(crate) fn day(text: &str) -> Day {
    text.parse().expect("a day")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

pub(crate) fn on_sqlite<F: Future<Output = ()>>(body: impl FnOnce(Store) -> F) {
    runtime().block_on(body(Store::sqlite_in(Dir::new())));
}

pub(crate) fn on_postgres<F: Future<Output = ()>>(body: impl FnOnce(Store) -> F) {
    if let Some(server) = postgres_url() {
        on_server(server, body);
    }
}

pub(crate) fn on_citus<F: Future<Output = ()>>(body: impl FnOnce(Store) -> F) {
    if let Some(server) = citus_url() {
        on_server(server, body);
    }
}

/// On PostgreSQL, and then on several nodes: for what SQLite does otherwise.
pub(crate) fn on_servers<F: Future<Output = ()>>(body: impl Fn(Store) -> F) {
    on_postgres(&body);
    on_citus(&body);
}

fn on_server<F: Future<Output = ()>>(server: String, body: impl FnOnce(Store) -> F) {
    runtime().block_on(async {
        let root = Store {
            url: with_schema(&server, "public"),
            schema: Some("public".to_owned()),
            dir: Dir::new(),
        };
        let store = root.another().await;
        let schema = store.schema.clone().unwrap_or_default();
        body(store).await;
        execute(&server, &format!("DROP SCHEMA {schema} CASCADE")).await;
    });
}

/// On a PostgreSQL database of the test's own, which reads by indexes wherever it can, however small the tables.
pub(crate) fn on_own_postgres<F: Future<Output = ()>>(name: &str, body: impl FnOnce(Store) -> F) {
    let Some(server) = postgres_url() else {
        return;
    };
    runtime().block_on(async {
        let name = format!("{name}_{}", std::process::id());
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        execute(&server, &drop).await;
        execute(&server, &format!("CREATE DATABASE {name}")).await;
        execute(
            &server,
            &format!("ALTER DATABASE {name} SET enable_seqscan = off"),
        )
        .await;
        let (address, _) = server
            .rsplit_once('/')
            .expect("TEST_PG_URL names a database");
        let store = Store {
            url: with_schema(&format!("{address}/{name}"), "public"),
            schema: Some("public".to_owned()),
            dir: Dir::new(),
        };
        body(store).await;
        execute(&server, &drop).await;
    });
}

fn with_schema(server: &str, schema: &str) -> String {
    let join = if server.contains('?') { '&' } else { '?' };
    format!("{server}{join}options[search_path]={schema}")
}

/// The server to test on, or one line that says why there is none.
pub(crate) fn postgres_url() -> Option<String> {
    url_of("TEST_PG_URL", "PostgreSQL")
}

/// The coordinator to test on; its database has the extension Citus.
pub(crate) fn citus_url() -> Option<String> {
    url_of("TEST_CITUS_URL", "PostgreSQL over several nodes")
}

fn url_of(variable: &str, what: &str) -> Option<String> {
    let url = std::env::var_os(variable).map(|u| u.to_string_lossy().into_owned());
    if url.is_none() {
        eprintln!("skipped: set {variable}=postgres://… to run this test on {what} too");
    }
    url
}

async fn execute(server: &str, sql: &str) {
    use sqlx::Connection as _;
    let mut connection = sqlx::PgConnection::connect(server)
        .await
        .expect("the server to test on answers");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await
        .expect("a statement of the harness");
    connection.close().await.expect("the connection closes");
}

impl Store {
    pub(crate) fn sqlite_in(dir: Dir) -> Store {
        Store {
            url: format!("sqlite:{}", dir.path().join("books.db").display()),
            schema: None,
            dir,
        }
    }

    /// Opens the database with a clock that stands at a minute.
    pub(crate) async fn open(&self, at: i64) -> Db {
        self.try_open(at).await.expect("the database opens")
    }

    async fn try_open(&self, at: i64) -> Result<Db, jintuo::store::DbError> {
        let zone = chrono_tz::Asia::Shanghai;
        let options = OpenOptions {
            unsafe_dev: true,
            schema: self.schema.clone(),
            existing: false,
            stopped_after: None,
        };
        Db::open(self.server(), Clock::fixed(minute(at), zone), &options).await
    }

    /// Imports at a minute.
    pub(crate) async fn import(&self, at: i64, inputs: &[&Path]) -> intake::Summary {
        self.try_import(at, inputs).await.expect("the import works")
    }

    pub(crate) async fn try_import(
        &self,
        at: i64,
        inputs: &[&Path],
    ) -> Result<intake::Summary, ImportError> {
        let db = self.open(at).await;
        let inputs: Vec<PathBuf> = inputs.iter().map(|p| p.to_path_buf()).collect();
        let options = intake::Options::default();
        let result = intake::import(&db, &inputs, &options, &mut intake::Silent).await;
        db.close().await;
        result
    }

    /// Rows that all statements so far have read or written, in tables and indexes of a PostgreSQL database of
    /// one's own.
    pub(crate) async fn rows_touched(&self) -> i64 {
        use sqlx::Connection as _;
        let mut connection = sqlx::PgConnection::connect(&self.url)
            .await
            .expect("the server answers");
        let schema = self.schema.as_deref().unwrap_or_default();
        let asks = |sql: &'static str| sqlx::query_as::<_, (i64,)>(sql).bind(schema);
        // A server process adds its counts up when it ends, which is after its client has gone.
        let others = "SELECT COUNT(*) FROM pg_stat_activity \
                      WHERE datname = current_database() AND pid <> pg_backend_pid() \
                        AND backend_type = 'client backend' AND $1 <> ''";
        while asks(others)
            .fetch_one(&mut connection)
            .await
            .expect("a count")
            .0
            > 0
        {}
        let sum = "SELECT CAST(COALESCE((SELECT SUM(seq_tup_read + n_tup_ins + n_tup_upd + n_tup_del) \
                     FROM pg_stat_user_tables WHERE schemaname = $1), 0) \
                   + COALESCE((SELECT SUM(idx_tup_read) FROM pg_stat_user_indexes WHERE schemaname = $1), 0) \
                   AS BIGINT)";
        let (rows,) = asks(sum).fetch_one(&mut connection).await.expect("a sum");
        connection.close().await.expect("the connection closes");
        rows
    }

    /// Reconciles at a minute.
    pub(crate) async fn reconcile(&self, at: i64, as_of: &str, policy: &str) -> run::Summary {
        let db = self.open(at).await;
        let options = run::Options {
            threads: None,
            as_of: day(as_of),
            known_at: None,
            policy: policy.to_owned(),
            district: None,
        };
        let summary = run::day(&db, &options, &mut run::Silent)
            .await
            .expect("the run works");
        db.close().await;
        summary
    }

    pub(crate) async fn check(&self) -> Vec<Broken> {
        let db = self.open(0).await;
        let broken = check::check(&db).await.expect("the check works");
        db.close().await;
        broken
    }

    /// The four reports of the newest run that is wanted.
    pub(crate) async fn books(&self, wanted: &Wanted<'_>) -> Books {
        let db = self.open(0).await;
        let mut tx = db.begin_read().await.expect("a transaction");
        let run = report::find_run(&mut tx, wanted)
            .await
            .expect("runs can be read")
            .expect("there is a completed run");
        let tables = [
            report::institutions(&mut tx, &run).await,
            report::districts(&mut tx, &run).await,
            report::breaks(&mut tx, &run).await,
            report::matches(&mut tx, &run).await,
        ]
        .map(|t| Rows::of(&t.expect("a report"), &run));
        tx.rollback().await.expect("a rollback");
        db.close().await;
        let [institutions, districts, breaks, matches] = tables;
        Books {
            institutions,
            districts,
            breaks,
            matches,
        }
    }

    /// Runs SQL in the store's schema as the login of the test server, which owns everything.
    pub(crate) async fn as_superuser(&self, sql: &str) {
        execute(&self.url, sql).await;
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.schema.is_some()
    }

    /// An empty database of the same kind; give it to [`Store::remove`] in the end.
    pub(crate) async fn another(&self) -> Store {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let dir = Dir::new();
        match &self.schema {
            None => Store::sqlite_in(dir),
            Some(_) => {
                let server = self.server().to_owned();
                let schema = format!("it_{}_{number}", std::process::id());
                // One may be left of a process that was killed and had this number.
                execute(
                    &server,
                    &format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}"),
                )
                .await;
                Store {
                    url: with_schema(&server, &schema),
                    schema: Some(schema),
                    dir,
                }
            }
        }
    }

    pub(crate) async fn remove(self) {
        if let Some(schema) = &self.schema {
            execute(self.server(), &format!("DROP SCHEMA {schema} CASCADE")).await;
        }
    }

    /// The address without the schema.
    pub(crate) fn server(&self) -> &str {
        let at = self.url.find("options[search_path]");
        at.map_or(&self.url, |at| &self.url[..at - 1])
    }

    /// Counts the rows of a table.
    pub(crate) async fn rows(&self, table: &str) -> i64 {
        let db = self.open(0).await;
        let mut tx = db.begin_read().await.expect("a transaction");
        let sql = format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table}");
        let (n,): (i64,) = jintuo::on!(tx, c => sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .fetch_one(c).await)
        .expect("rows can be counted");
        tx.rollback().await.expect("a rollback");
        db.close().await;
        n
    }

    /// Runs the built binary on this database.
    pub(crate) fn jintuo(&self, args: &[&str]) -> Ran {
        jintuo(&[&["--db", &self.url], args].concat())
    }
}

/// Reports of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) institutions: Rows,
    pub(crate) districts: Rows,
    pub(crate) breaks: Rows,
    pub(crate) matches: Rows,
}

impl Books {
    /// What must not depend on the way the facts came, nor on which days were run before: everything
    /// but the numbers that count arrivals.
    pub(crate) fn essence(self) -> Books {
        Books {
            institutions: self.institutions.only(&[
                "institution_id",
                "district_id",
                "required_fen",
                "held_fen",
                "uncovered_fen",
                "status",
                "explained_fen",
                "unearned_confirmed_fen",
                "unearned_delivered_fen",
                "contracts",
                "missing_days",
            ]),
            breaks: self.breaks.only(&[
                "code",
                "subject",
                "institution_id",
                "date",
                "amount_fen",
                "n",
                "severity",
                "due_on",
            ]),
            matches: self.matches.only(&["kind", "entry_id", "n", "amount_fen"]),
            districts: self.districts,
        }
    }
}

/// A report's rows, by column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rows(pub(crate) Vec<BTreeMap<String, String>>);

impl Rows {
    fn of(table: &Table, run: &report::Run) -> Rows {
        let mut bytes = Vec::new();
        table
            .write(Form::Csv, &run.head, &mut bytes)
            .expect("a report is written");
        Rows::parse(&bytes)
    }

    /// Reads CSV, with or without a BOM.
    pub(crate) fn parse(bytes: &[u8]) -> Rows {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let mut csv = csv::Reader::from_reader(bytes);
        Rows(
            csv.deserialize()
                .collect::<Result<_, _>>()
                .expect("a report is CSV"),
        )
    }

    pub(crate) fn only(&self, columns: &[&str]) -> Rows {
        let mut rows: Vec<BTreeMap<String, String>> = self
            .0
            .iter()
            .map(|r| {
                columns
                    .iter()
                    .map(|c| ((*c).to_owned(), r[*c].clone()))
                    .collect()
            })
            .collect();
        rows.sort_unstable();
        Rows(rows)
    }

    /// The row whose column has a value.
    pub(crate) fn find(&self, column: &str, value: &str) -> &BTreeMap<String, String> {
        self.0
            .iter()
            .find(|r| r[column] == value)
            .unwrap_or_else(|| panic!("no row with {column} {value} in {self:?}"))
    }

    /// The values of one column, as found.
    pub(crate) fn column(&self, column: &str) -> Vec<&str> {
        self.0.iter().map(|r| r[column].as_str()).collect()
    }
}

/// How a command ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Fails unless the command ended with `code`.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Ran {
        assert_eq!(
            self.code,
            code,
            "stdout: {}\nstderr: {}",
            self.text(),
            self.stderr
        );
        self
    }
}

/// The built binary, ready to be started, without the settings of whoever runs the tests.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jintuo"));
    command.args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("JINTUO") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the built binary to its end.
pub(crate) fn jintuo(args: &[&str]) -> Ran {
    let Output {
        status,
        stdout,
        stderr,
    } = command(args).output().expect("the binary starts");
    Ran {
        code: status.code().unwrap_or(-1),
        stdout,
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// A file or folder of `fixtures/`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}
