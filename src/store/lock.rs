//! One import, and one run, at a time on one database.
//!
//! Held by the operating system (a lock file beside an embedded database) or by the database (a row
//! lock on PostgreSQL), so that it ends with its holder: a command killed half-way can be given again
//! at once. A server may drop the connection that holds the row without its holder noticing, so every
//! transaction of a job begins by proving its fence ([`JobLock::begin_write`]): a later holder has moved
//! it on, and waits for transactions that proved it before. The connection that holds the row is used every
//! few seconds, and the server ends what is silent for longer ([`super::STOPPED_AFTER`]): a process that was
//! stopped, or a machine that is gone, holds nobody up for more than a minute.
//! Absent on purpose: leases with a clock, advisory locks (not visible through a second coordinator of
//! a distributed PostgreSQL).

use std::fs::{File, OpenOptions, TryLockError};
use std::time::Duration;

use chrono::SubsecRound as _;
use sqlx::{Postgres, Transaction};

use super::{Conn, Db, DbError, Pools, Result, Tx, begin};

/// What may run only once at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    Import,
    Run,
}

impl Job {
    pub(super) fn name(self) -> &'static str {
        match self {
            Job::Import => "import",
            Job::Run => "run",
        }
    }

    pub(super) fn in_words(self) -> &'static str {
        match self {
            Job::Import => "another import",
            Job::Run => "another reconciliation run",
        }
    }
}

/// Held until dropped or until the process ends.
pub struct JobLock {
    job: Job,
    fence: i64,
    _file: Option<File>,
    _row: Option<Heartbeat>,
}

/// Keeps a lock's connection from falling silent; ends the transaction, and the lock, when dropped.
struct Heartbeat(tokio::task::JoinHandle<()>);

impl Heartbeat {
    /// How many times a connection is used in the time after which the server would end it.
    const BEATS: u32 = 4;

    fn of(mut row: Transaction<'static, Postgres>, stopped_after: Duration) -> Heartbeat {
        Heartbeat(tokio::spawn(async move {
            loop {
                tokio::time::sleep(stopped_after / Heartbeat::BEATS).await;
                // A connection that is lost loses the lock; the fence tells whoever writes.
                if sqlx::query("SELECT 1").execute(&mut *row).await.is_err() {
                    return;
                }
            }
        }))
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The one server of an embedded database; nothing on PostgreSQL, which any number may serve.
pub struct ServerLock {
    _file: Option<File>,
}

impl JobLock {
    pub(super) fn of_rehearsal(job: Job, fence: i64) -> JobLock {
        JobLock {
            job,
            fence,
            _file: None,
            _row: None,
        }
    }

    /// Starts a write transaction of the job.
    ///
    /// # Errors
    /// [`DbError::Busy`] where the lock was lost and another process holds it now.
    pub async fn begin_write(&self, db: &Db) -> Result<Tx> {
        let mut tx = db.begin_write().await?;
        if let Conn::Postgres(t) = &mut *tx.conn {
            // Compatible with the row lock of this job's holder, not with the next holder's update.
            let (fence,): (i64,) =
                sqlx::query_as("SELECT fence FROM job_lock WHERE job = $1 FOR KEY SHARE")
                    .bind(self.job.name())
                    .fetch_one(&mut **t)
                    .await
                    .map_err(DbError::sql("proving the job's lock"))?;
            if fence != self.fence {
                return Err(DbError::Busy(self.job.in_words()));
            }
        }
        Ok(tx)
    }
}

impl Db {
    /// Takes the lock of a job.
    ///
    /// # Errors
    /// [`DbError::Busy`] where another process holds it: temporary, try again later.
    pub async fn lock(&self, job: Job) -> Result<JobLock> {
        match &self.pools {
            Pools::Sqlite { .. } => {
                let file = match &self.path {
                    Some(path) => Some(lock_file(path, job.name(), job.in_words())?),
                    None => None,
                };
                Ok(JobLock {
                    job,
                    fence: 0,
                    _file: file,
                    _row: None,
                })
            }
            Pools::Postgres { pool } => {
                let doing = "locking a job";
                let mut t = begin(pool, "BEGIN").await.map_err(DbError::sql(doing))?;
                let (fence,) = row(
                    job,
                    &mut t,
                    "SELECT fence FROM job_lock WHERE job = $1 FOR UPDATE",
                )
                .await?;
                sqlx::query("UPDATE job_lock SET fence = $2 WHERE job = $1")
                    .bind(job.name())
                    .bind(fence + 1)
                    .execute(&mut *t)
                    .await
                    .map_err(DbError::sql(doing))?;
                t.commit().await.map_err(DbError::sql(doing))?;
                let mut t = begin(pool, "BEGIN").await.map_err(DbError::sql(doing))?;
                let (held,) = row(
                    job,
                    &mut t,
                    "SELECT fence FROM job_lock WHERE job = $1 FOR NO KEY UPDATE",
                )
                .await?;
                if held != fence + 1 {
                    return Err(DbError::Busy(job.in_words()));
                }
                Ok(JobLock {
                    job,
                    fence: held,
                    _file: None,
                    _row: Some(Heartbeat::of(t, self.stopped_after)),
                })
            }
            Pools::Rehearsal(stage) => stage.lock(job),
        }
    }

    /// Takes an embedded database for one server: a second one would fetch and run the same work.
    ///
    /// # Errors
    /// [`DbError::Busy`] where another server has it.
    pub fn lock_server(&self) -> Result<ServerLock> {
        let file = match &self.path {
            Some(path) => Some(lock_file(path, "serve", "another server")?),
            None => None,
        };
        Ok(ServerLock { _file: file })
    }

    /// True while another process, or another task of this one, works at a job.
    pub async fn is_locked(&self, job: Job) -> Result<bool> {
        let taken = match &self.pools {
            Pools::Sqlite { .. } => match &self.path {
                Some(path) => lock_file(path, job.name(), job.in_words()).map(|_| ()),
                None => Ok(()),
            },
            Pools::Postgres { pool } => {
                let doing = "looking at a job's lock";
                let mut t = begin(pool, "BEGIN").await.map_err(DbError::sql(doing))?;
                let sql = "SELECT fence FROM job_lock WHERE job = $1 FOR UPDATE";
                row(job, &mut t, sql).await.map(|_| ())
            }
            Pools::Rehearsal(stage) => stage.lock(job).map(|_| ()),
        };
        match taken {
            Ok(()) => Ok(false),
            Err(DbError::Busy(_)) => Ok(true),
            Err(e) => Err(e),
        }
    }
}

/// Locks a job's row with the given statement. A holder that has just ended may still be letting go, so
/// this waits a moment before it says that the job is taken.
pub(super) async fn row(
    job: Job,
    t: &mut Transaction<'static, Postgres>,
    sql: &'static str,
) -> Result<(i64,)> {
    let doing = "locking a job";
    sqlx::query("SET LOCAL lock_timeout = '1s'")
        .execute(&mut **t)
        .await
        .map_err(DbError::sql(doing))?;
    match sqlx::query_as(sql)
        .bind(job.name())
        .fetch_one(&mut **t)
        .await
    {
        Ok(row) => Ok(row),
        // lock_not_available
        Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some("55P03") => {
            Err(DbError::Busy(job.in_words()))
        }
        Err(source) => Err(DbError::Sql { doing, source }),
    }
}

impl Tx {
    /// Puts what becomes visible into one order: an import's completion and a run's look at what is
    /// known wait for each other, so that what was known at an instant never changes afterwards.
    pub async fn order_visibility(&mut self) -> Result<()> {
        // SQLite has one writer at a time anyway.
        if let Conn::Postgres(t) = &mut *self.conn {
            sqlx::query("SELECT 1 FROM job_lock WHERE job = 'visible' FOR UPDATE")
                .execute(&mut **t)
                .await
                .map_err(DbError::sql("ordering what becomes visible"))?;
            self.now = self.clock.now().trunc_subsecs(6);
        }
        Ok(())
    }
}

pub(super) fn lock_file(
    database: &std::path::Path,
    name: &str,
    in_words: &'static str,
) -> Result<File> {
    let mut path = database.as_os_str().to_owned();
    path.push(format!(".{name}-lock"));
    let failed = |source| DbError::Lock {
        path: path.to_string_lossy().into_owned(),
        source,
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DbError::Busy(in_words)),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
