//! The only code that names a database: one body, two drivers.
//!
//! A store function is written once and expanded per driver by [`on!`](crate::on); what truly differs between
//! SQLite and PostgreSQL is listed in [`dialect`]. Bulk appends and bulk look-ups, which differ in
//! their text only, live in [`bulk`]; results that are kept as changes in [`changes`]. What a job would do
//! is played through and taken back by [`Db::rehearse`].
//!
//! Invariants: one transaction has one `now`; dropping a [`Tx`] rolls it back; a write transaction on
//! SQLite takes the write lock at its start, so it never fails half-way for lack of it.
//! Absent on purpose: repository traits, `sqlx::Any` (it cannot carry dates or `SUM`), global pools,
//! retries (an error from COMMIT is not a rollback: the caller repeats the whole step by its key).

pub mod bulk;
mod cache;
pub mod changes;
mod citus;
pub mod days;
pub mod dialect;
pub mod lock;
mod health;
mod migrate;
pub mod news;
mod rehearsal;
mod safety;
pub mod transfer;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::SubsecRound;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, PgPool, Postgres, Sqlite, SqlitePool, Transaction};

pub use citus::{DIGEST_TABLES, DISTRIBUTED_TABLES, REFERENCE_TABLES, Topology};
pub use health::PoolUse;
pub use migrate::APPEND_ONLY_TABLES;
pub use rehearsal::{Lent, Rehearsal};

use crate::base::{Clock, Instant};

/// How long a SQLite writer waits for another process's transaction.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// Readers beside the one SQLite writer.
const SQLITE_READERS_MAX: u32 = 4;
/// PostgreSQL connections of one process.
const POSTGRES_CONNECTIONS_MAX: u32 = 8;
/// How long PostgreSQL keeps a transaction, and the locks it holds, whose process says nothing: a stopped
/// replica must not stop the others.
pub const STOPPED_AFTER: Duration = Duration::from_secs(60);
/// Rows the SQLite worker may run ahead of its reader.
const SQLITE_ROW_BUFFER: usize = 512;
/// The role that holds only the rights the service needs; made by the first migration if allowed.
pub const RUNTIME_ROLE: &str = "jintuo_runtime";

/// Runs one body on whichever driver the transaction has. The text is expanded once per driver, so
/// each driver's own types are checked.
#[macro_export]
macro_rules! on {
    ($tx:expr, $c:ident => $body:expr) => {
        match &mut *$tx.conn {
            $crate::store::Conn::Sqlite(t) => {
                let $c = &mut **t;
                $body
            }
            $crate::store::Conn::Postgres(t) => {
                let $c = &mut **t;
                $body
            }
        }
    };
}

/// What can go wrong between us and the database.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error("{doing}")]
    Sql {
        doing: &'static str,
        #[source]
        source: sqlx::Error,
    },
    #[error("migrating the database")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    #[error("database address {0:?} is neither sqlite:PATH nor postgres://…")]
    Address(String),
    #[error("{0}")]
    Unsafe(String),
    /// There is nothing where the address leads: no file, or no schema.
    #[error("{0}; import something first: jintuo import DIR")]
    Absent(String),
    #[error("{0} is already running on this database; try again when it has ended")]
    Busy(&'static str),
    #[error("stored data contradict themselves: {0}")]
    Inconsistent(String),
    #[error("locking {path}")]
    Lock {
        path: String,
        #[source]
        source: std::io::Error,
    },
}

impl DbError {
    /// Names what was attempted.
    pub fn sql(doing: &'static str) -> impl FnOnce(sqlx::Error) -> DbError {
        move |source| DbError::Sql { doing, source }
    }

    /// True where the same command may succeed later without any change (exit code 75).
    pub fn is_temporary(&self) -> bool {
        match self {
            DbError::Busy(_) => true,
            DbError::Sql { source, .. } => match source {
                sqlx::Error::PoolTimedOut => true,
                // serialization failure, deadlock, lock not available, SQLITE_BUSY
                sqlx::Error::Database(e) => matches!(
                    e.code().as_deref(),
                    Some("40001" | "40P01" | "55P03" | "5" | "517")
                ),
                _ => false,
            },
            _ => false,
        }
    }

    /// True where the database has understood a statement and refused it, so that what it was given may be
    /// why. A connection, a lock, a disk, a missing right or table is no data's doing.
    pub fn may_be_of_the_data(&self) -> bool {
        let DbError::Sql { source, .. } = self else {
            return false;
        };
        match source {
            sqlx::Error::Database(e) if citus::is_refused_by_a_node(e.as_ref()) => true,
            // SQLSTATE has five characters, a result code of SQLite at most four.
            sqlx::Error::Database(e) => match e.code().as_deref() {
                Some(state) if state.len() == 5 => !PG_NOT_OF_THE_DATA
                    .iter()
                    .any(|class| state.starts_with(class)),
                Some(code) => (code.parse::<i64>())
                    .is_ok_and(|code| !SQLITE_NOT_OF_THE_DATA.contains(&(code & 0xff))),
                None => false,
            },
            sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => {
                true
            }
            _ => false,
        }
    }
}

/// Classes of errors: connection, transaction state, authorization, rollback, rights and names, resources,
/// object state, operator, system, settings, internal.
const PG_NOT_OF_THE_DATA: [&str; 13] = [
    "08", "25", "28", "3D", "3F", "40", "42", "53", "55", "57", "58", "F0", "XX",
];
/// `BUSY`, `LOCKED`, `NOMEM`, `READONLY`, `INTERRUPT`, `IOERR`, `CORRUPT`, `FULL`, `CANTOPEN`, `PROTOCOL`,
/// `SCHEMA`, `AUTH`, `NOTADB`.
const SQLITE_NOT_OF_THE_DATA: [i64; 13] = [5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 17, 23, 26];

pub type Result<T> = std::result::Result<T, DbError>;

/// Which engine a database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

#[derive(Clone)]
enum Pools {
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres {
        pool: PgPool,
    },
    /// The one connection of a rehearsal.
    Rehearsal(Arc<rehearsal::Stage>),
}

/// An open database.
#[derive(Clone)]
pub struct Db {
    pools: Pools,
    topology: Topology,
    clock: Clock,
    /// Where the process-wide locks of an embedded database lie; `None` for memory and PostgreSQL.
    path: Option<std::path::PathBuf>,
    stopped_after: Duration,
    warnings: Vec<String>,
}

/// A connection inside a transaction; matched by [`on!`](crate::on).
pub enum Conn {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// A transaction with its one `now`.
pub struct Tx {
    pub conn: Lent,
    topology: Topology,
    now: Instant,
    clock: Clock,
}

/// Choices that only tests and evaluations make.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Accept storage settings that may lose acknowledged money.
    pub unsafe_dev: bool,
    /// Work in this PostgreSQL schema instead of the connection's own.
    pub schema: Option<String>,
    /// For commands that only read: a database that is not there, or not up to date, is an error and
    /// is not made.
    pub existing: bool,
    /// How long PostgreSQL keeps a transaction whose process says nothing; [`STOPPED_AFTER`] without it.
    pub stopped_after: Option<Duration>,
}

impl Db {
    /// Opens `sqlite:PATH`, `sqlite::memory:` or `postgres://…` and migrates it to this version.
    ///
    /// # Errors
    /// An address of another kind, a database that cannot be reached or migrated, or storage
    /// settings under which an acknowledged write could be lost.
    pub async fn open(url: &str, clock: Clock, options: &OpenOptions) -> Result<Db> {
        let db = if url.starts_with("sqlite:") {
            open_sqlite(url, clock, options).await?
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            open_postgres(url, clock, options).await?
        } else {
            return Err(DbError::Address(url.to_owned()));
        };
        Ok(db)
    }

    pub fn engine(&self) -> Engine {
        match &self.pools {
            Pools::Sqlite { .. } => Engine::Sqlite,
            Pools::Postgres { .. } => Engine::Postgres,
            Pools::Rehearsal(stage) => stage.engine,
        }
    }

    /// How many nodes it is on.
    pub fn topology(&self) -> Topology {
        self.topology
    }

    /// Reading transactions that one job may hold at a time, so that pages need not wait for it.
    pub fn readers_of_a_job(&self) -> usize {
        let readers = match &self.pools {
            Pools::Sqlite { readers, .. } => readers.options().get_max_connections() / 2,
            Pools::Postgres { pool } => pool.options().get_max_connections() / 2,
            Pools::Rehearsal(_) => 1,
        };
        usize::try_from(readers).unwrap_or(1).max(1)
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The same database read by another clock.
    pub fn with_clock(&self, clock: Clock) -> Db {
        Db {
            clock,
            ..self.clone()
        }
    }

    /// Storage settings an operator should know about.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Starts a transaction that may write.
    pub async fn begin_write(&self) -> Result<Tx> {
        let conn = match &self.pools {
            Pools::Sqlite { writer, .. } => Conn::Sqlite(
                writer
                    .begin_with("BEGIN IMMEDIATE")
                    .await
                    .map_err(DbError::sql("starting a write transaction"))?,
            ),
            Pools::Postgres { pool } => Conn::Postgres(
                begin(pool, "BEGIN")
                    .await
                    .map_err(DbError::sql("starting a write transaction"))?,
            ),
            Pools::Rehearsal(stage) => return Ok(self.tx(stage.begin().await?)),
        };
        Ok(self.tx(Lent::own(conn)))
    }

    /// Starts a transaction that reads one unchanging picture of the database.
    pub async fn begin_read(&self) -> Result<Tx> {
        let conn = match &self.pools {
            Pools::Sqlite { readers, .. } => Conn::Sqlite(
                readers
                    .begin()
                    .await
                    .map_err(DbError::sql("starting a read transaction"))?,
            ),
            Pools::Postgres { pool } => Conn::Postgres(
                begin(pool, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    .await
                    .map_err(DbError::sql("starting a read transaction"))?,
            ),
            Pools::Rehearsal(stage) => return Ok(self.tx(stage.begin().await?)),
        };
        Ok(self.tx(Lent::own(conn)))
    }

    fn tx(&self, conn: Lent) -> Tx {
        Tx {
            conn,
            topology: self.topology,
            now: self.clock.now().trunc_subsecs(6),
            clock: self.clock,
        }
    }

    /// Closes every connection, letting SQLite fold its log back into the file.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres { pool } => pool.close().await,
            // Ends with its holder.
            Pools::Rehearsal(_) => {}
        }
    }
}

impl Tx {
    /// The instant every row of this transaction carries.
    pub fn now(&self) -> Instant {
        self.now
    }

    pub fn engine(&self) -> Engine {
        match *self.conn {
            Conn::Sqlite(_) => Engine::Sqlite,
            Conn::Postgres(_) => Engine::Postgres,
        }
    }

    /// Makes the transaction's writes durable.
    ///
    /// # Errors
    /// An error here is **not** a rollback: the outcome is unknown, and the caller repeats the step
    /// under the same keys.
    pub async fn commit(self) -> Result<()> {
        if self.conn.is_rehearsed() {
            return self.conn.release().await;
        }
        match self.conn.into_own()? {
            Conn::Sqlite(t) => t.commit().await,
            Conn::Postgres(t) => t.commit().await,
        }
        .map_err(DbError::sql("committing"))
    }

    /// Takes back the transaction's writes.
    pub async fn rollback(mut self) -> Result<()> {
        if self.conn.is_rehearsed() {
            return self.conn.take_back().await;
        }
        match self.conn.into_own()? {
            Conn::Sqlite(t) => t.rollback().await,
            Conn::Postgres(t) => t.rollback().await,
        }
        .map_err(DbError::sql("rolling back"))
    }
}

/// Starts a transaction on PostgreSQL, to the end even where its caller is dropped: the driver counts a
/// transaction only when it has begun, so a half-begun one would go back to the pool still open.
async fn begin(
    pool: &PgPool,
    statement: &'static str,
) -> std::result::Result<Transaction<'static, Postgres>, sqlx::Error> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin_with(statement).await });
    begun.await.map_err(|_| sqlx::Error::WorkerCrashed)?
}

async fn open_sqlite(url: &str, clock: Clock, options: &OpenOptions) -> Result<Db> {
    let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
    let memory = path == ":memory:";
    let base = if memory {
        // One connection is the whole database, so writer and readers are the same pool.
        SqliteConnectOptions::new().in_memory(true)
    } else {
        let file = path.split('?').next().unwrap_or(path);
        if options.existing && !std::path::Path::new(file).exists() {
            return Err(DbError::Absent(format!("there is no database at {file}")));
        }
        SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
    };
    let base = base
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(SQLITE_BUSY_TIMEOUT)
        .row_buffer_size(SQLITE_ROW_BUFFER)
        .pragma("cache_size", cache::CACHE)
        .pragma("temp_store", "MEMORY")
        .pragma("journal_size_limit", "67108864")
        .pragma("wal_autocheckpoint", "16384")
        .disable_statement_logging();
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(base.clone())
        .await
        .map_err(DbError::sql("opening the SQLite database"))?;
    migrate::sqlite(&writer, !options.existing).await?;
    let readers = if memory {
        writer.clone()
    } else {
        SqlitePoolOptions::new()
            .max_connections(SQLITE_READERS_MAX)
            .connect_with(base.read_only(true))
            .await
            .map_err(DbError::sql("opening the SQLite database for reading"))?
    };
    let path = (!memory).then(|| std::path::PathBuf::from(path.split('?').next().unwrap_or(path)));
    Ok(Db {
        pools: Pools::Sqlite { writer, readers },
        topology: Topology::Single,
        clock,
        path,
        stopped_after: STOPPED_AFTER,
        warnings: Vec::new(),
    })
}

async fn open_postgres(url: &str, clock: Clock, options: &OpenOptions) -> Result<Db> {
    let mut connect = PgConnectOptions::from_str(url)
        .map_err(DbError::sql("reading the PostgreSQL address"))?
        .application_name("jintuo")
        .disable_statement_logging();
    let stopped_after = options.stopped_after.unwrap_or(STOPPED_AFTER);
    if let Some(schema) = &options.schema {
        connect = connect.options([("search_path", schema.as_str())]);
    }
    let owner = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(connect.clone())
        .await
        .map_err(DbError::sql("connecting to PostgreSQL"))?;
    let mut warnings = safety::postgres(&owner, options.unsafe_dev).await?;
    migrate::postgres(&owner, !options.existing).await?;
    let topology = citus::topology(&owner).await?;
    let shares_owner = safety::owns_tables(&owner).await?;
    let mut may_step_down = safety::may_become_runtime(&owner).await?;
    if topology == Topology::Citus {
        if !options.unsafe_dev {
            safety::nodes(&owner).await?;
        }
        citus::lay_out(&owner, !options.existing).await?;
        if shares_owner && may_step_down {
            may_step_down = citus::let_runtime_log_in(&owner).await?;
        }
    }
    owner.close().await;
    if shares_owner {
        warnings.push(format!(
            "the service logs in as the owner of its tables; give it a login of its own that is a \
             member of {RUNTIME_ROLE}"
        ));
    }
    let pool = PgPoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS_MAX)
        // Work that is dropped while it ends a COPY leaves the server's answer unread, and the driver a step
        // behind ever after. A ping does not notice; whoever asks for a value does.
        .test_before_acquire(false)
        .before_acquire(|conn, _| {
            Box::pin(async move {
                let answer: Option<(i32,)> =
                    sqlx::query_as("SELECT 1").fetch_optional(conn).await?;
                Ok(answer == Some((1,)))
            })
        })
        .after_connect(move |conn, _| {
            Box::pin(async move {
                sqlx::query("SELECT set_config('idle_in_transaction_session_timeout', $1, FALSE)")
                    .bind(format!("{}ms", stopped_after.as_millis()))
                    .execute(&mut *conn)
                    .await?;
                // Even a login that owns the tables works with the rights of the service only.
                if shares_owner && may_step_down {
                    sqlx::query("SET ROLE jintuo_runtime")
                        .execute(&mut *conn)
                        .await?;
                }
                Ok(())
            })
        })
        .connect_with(connect)
        .await
        .map_err(DbError::sql("connecting to PostgreSQL"))?;
    Ok(Db {
        pools: Pools::Postgres { pool },
        topology,
        clock,
        path: None,
        stopped_after,
        warnings,
    })
}
