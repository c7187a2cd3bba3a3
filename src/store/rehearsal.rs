//! A job played through on one connection and taken back: the job's own code says what it would do.
//!
//! [`Db::rehearse`] opens one transaction and gives a [`Db`] whose transactions are savepoints of it.
//! A commit keeps a step for the steps after it, a rollback takes the step back, and the end takes
//! back everything, however it comes: [`Rehearsal::end`], a drop, a killed process.
//!
//! Invariants: nothing of a rehearsal is ever committed, not even the fence of the job's lock; the job
//! itself cannot run meanwhile, nor does a rehearsal begin while it runs or is half-way in a
//! transaction; a rehearsal has one transaction at a time. Readers go on. Other writers wait: all of
//! them on SQLite, on PostgreSQL those that touch the same rows; so whoever lets strangers rehearse
//! limits the time.
//! Absent on purpose: a copy of the database to play in (a city's books are large, and a copy is old),
//! and code that tells what an import would do without doing it (it would tell something else one day).

use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use super::lock::{Job, JobLock, lock_file, row};
use super::{Conn, Db, DbError, Engine, Pools, Result};

/// A rehearsal under way.
pub struct Rehearsal {
    db: Db,
    stage: Arc<Stage>,
}

/// The one connection of a rehearsal, and what keeps the job itself from running.
pub(super) struct Stage {
    pub(super) engine: Engine,
    job: Job,
    fence: i64,
    _file: Option<File>,
    place: Mutex<Place>,
}

enum Place {
    /// `true` where a transaction was dropped and its savepoint still stands.
    Free(Conn, bool),
    Taken,
    Over,
}

impl Db {
    /// Starts to play a job through.
    ///
    /// # Errors
    /// [`DbError::Busy`] where the job is running.
    pub async fn rehearse(&self, job: Job) -> Result<Rehearsal> {
        let (file, conn, fence) = match &self.pools {
            Pools::Sqlite { .. } => {
                let file = match &self.path {
                    Some(path) => Some(lock_file(path, job.name(), job.in_words())?),
                    None => None,
                };
                (file, self.begin_write().await?.conn.into_own()?, 0)
            }
            Pools::Postgres { pool } => {
                let doing = "starting a rehearsal";
                let mut t = pool.begin().await.map_err(DbError::sql(doing))?;
                let sql = "SELECT fence FROM job_lock WHERE job = $1 FOR UPDATE";
                let (fence,) = row(job, &mut t, sql).await?;
                // A rehearsal that waits long for another writer keeps others waiting itself.
                sqlx::query("SET LOCAL lock_timeout = '10s'")
                    .execute(&mut *t)
                    .await
                    .map_err(DbError::sql(doing))?;
                (None, Conn::Postgres(t), fence)
            }
            Pools::Rehearsal(_) => return Err(DbError::Busy("a rehearsal")),
        };
        let stage = Arc::new(Stage {
            engine: self.engine(),
            job,
            fence,
            _file: file,
            place: Mutex::new(Place::Free(conn, false)),
        });
        let db = Db {
            pools: Pools::Rehearsal(Arc::clone(&stage)),
            clock: self.clock,
            topology: self.topology,
            path: None,
            warnings: self.warnings.clone(),
            stopped_after: self.stopped_after,
        };
        Ok(Rehearsal { db, stage })
    }
}

impl Rehearsal {
    /// The database to play on.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Takes everything back and lets the job's lock go.
    ///
    /// # Errors
    /// A connection that failed; the database has then taken everything back by itself.
    pub async fn end(self) -> Result<()> {
        let conn = match self.stage.leave(Place::Over) {
            Place::Free(conn, _) => conn,
            Place::Taken | Place::Over => return Ok(()),
        };
        match conn {
            Conn::Sqlite(t) => t.rollback().await,
            Conn::Postgres(t) => t.rollback().await,
        }
        .map_err(DbError::sql("ending a rehearsal"))
    }
}

impl Stage {
    /// Starts a transaction of the rehearsal.
    pub(super) async fn begin(self: &Arc<Stage>) -> Result<Lent> {
        let (conn, unfinished) = match self.leave(Place::Taken) {
            Place::Free(conn, unfinished) => (conn, unfinished),
            other => {
                self.leave(other);
                return Err(DbError::Busy("another transaction of a rehearsal"));
            }
        };
        let mut lent = Lent {
            conn: Some(conn),
            stage: Some(Arc::clone(self)),
            unfinished,
        };
        if unfinished {
            lent.take_back().await?;
        }
        lent.run("SAVEPOINT step").await?;
        lent.unfinished = true;
        Ok(lent)
    }

    /// The lock of the rehearsed job, which the rehearsal holds.
    pub(super) fn lock(&self, job: Job) -> Result<JobLock> {
        if job == self.job {
            Ok(JobLock::of_rehearsal(job, self.fence))
        } else {
            Err(DbError::Busy("the rehearsal of another job"))
        }
    }

    fn leave(&self, place: Place) -> Place {
        let mut now = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut now, place)
    }
}

/// A transaction's connection: its own, or lent by a rehearsal, which gets it back.
pub struct Lent {
    /// `None` only once it has been given back.
    conn: Option<Conn>,
    stage: Option<Arc<Stage>>,
    /// Its savepoint stands.
    unfinished: bool,
}

impl Lent {
    pub(super) fn own(conn: Conn) -> Lent {
        Lent {
            conn: Some(conn),
            stage: None,
            unfinished: false,
        }
    }

    pub(super) fn is_rehearsed(&self) -> bool {
        self.stage.is_some()
    }

    pub(super) fn into_own(mut self) -> Result<Conn> {
        match (self.stage.is_none(), self.conn.take()) {
            (true, Some(conn)) => Ok(conn),
            (_, conn) => {
                self.conn = conn;
                Err(DbError::Busy("a rehearsal"))
            }
        }
    }

    /// Keeps what the step did, for the steps after it.
    pub(super) async fn release(mut self) -> Result<()> {
        self.run("RELEASE SAVEPOINT step").await?;
        self.unfinished = false;
        Ok(())
    }

    /// Takes the step back.
    pub(super) async fn take_back(&mut self) -> Result<()> {
        self.run("ROLLBACK TO SAVEPOINT step; RELEASE SAVEPOINT step")
            .await?;
        self.unfinished = false;
        Ok(())
    }

    async fn run(&mut self, sql: &'static str) -> Result<()> {
        match &mut **self {
            Conn::Sqlite(t) => sqlx::raw_sql(sql).execute(&mut **t).await.map(|_| ()),
            Conn::Postgres(t) => sqlx::raw_sql(sql).execute(&mut **t).await.map(|_| ()),
        }
        .map_err(DbError::sql("a step of a rehearsal"))
    }
}

impl Deref for Lent {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        self.conn.as_ref().expect("held until it is given back")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("held until it is given back")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(stage), Some(conn)) = (&self.stage, self.conn.take()) {
            let was = stage.leave(Place::Free(conn, self.unfinished));
            if matches!(was, Place::Over) {
                // The rehearsal ended before this transaction did: with it goes the connection.
                stage.leave(Place::Over);
            }
        }
    }
}
