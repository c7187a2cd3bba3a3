//! PostgreSQL over several nodes: where the tables lie in a database that has the extension Citus.
//!
//! Whether a database is one is read from the database ([`topology`]): whoever creates the extension in it has
//! decided so for every replica and command at once. A parameter of the address would be one more thing that
//! two replicas can have differently, and what is laid out cannot be taken back by an address.
//!
//! Invariants: a table of institutions is distributed by `inst_id`, all of them alike, so that what belongs to
//! one institution lies together and a transaction about it touches one node; a table that statements join
//! with them is on every node; every other table is on the coordinator alone, rows that are claimed and locked
//! among them. Migrations are PostgreSQL's own; what they make is laid out afterwards, in one transaction.
//! Absent on purpose: triggers (history is guarded by rights, which the nodes share), foreign keys on what is
//! distributed, a number of shards (the server's `citus.shard_count` says it), nodes added or moved.

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;
use sqlx::{AssertSqlSafe, PgPool, Postgres, Transaction};

use super::{DbError, RUNTIME_ROLE, Result};

/// How many nodes a database is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// SQLite, or PostgreSQL on one node.
    Single,
    /// PostgreSQL with the extension Citus.
    Citus,
}

/// Tables of institutions, distributed by `inst_id`; the first one says how, the others lie with it.
pub const DISTRIBUTED_TABLES: &[&str] = &[
    "posting",
    "posting_note",
    "ledger_balance",
    "institution",
    "institution_head",
    "account",
    "contract",
    "contract_state",
    "settlement",
    "account_freeze",
    "statement_day",
    "statement",
    "statement_dispute",
    "statement_exemption",
    "decision",
    "decision_item",
    "decision_event",
    "position",
    "finding",
    "account_proof",
    "match_line",
    "match_item",
    "match_review",
    "news",
    "carried",
];

/// Tables that statements join with those of institutions, and reference data: on every node.
pub const REFERENCE_TABLES: &[&str] = &[
    "district",
    "licence",
    "institution_directory",
    "account_directory",
    "contract_directory",
    "policy_version",
    "run",
];

/// Tables looked up by a digest and joined with nothing: distributed by it, since their bytes are many.
pub const DIGEST_TABLES: &[&str] = &["raw_piece"];

/// What a database is.
pub(super) async fn topology(pool: &PgPool) -> Result<Topology> {
    let (citus,): (bool,) =
        sqlx::query_as("SELECT COUNT(*) > 0 FROM pg_extension WHERE extname = 'citus'")
            .fetch_one(pool)
            .await
            .map_err(DbError::sql("reading the server's extensions"))?;
    Ok(if citus {
        Topology::Citus
    } else {
        Topology::Single
    })
}

/// True where a node has refused a row of a COPY. Its coordinator passes on what the node said, and not the
/// state: an error with a detail is one of a constraint, a disk or a lock has none.
pub(super) fn is_refused_by_a_node(error: &dyn DatabaseError) -> bool {
    (error.try_downcast_ref::<PgDatabaseError>())
        .is_some_and(|e| e.routine() == Some("ReportCopyError") && e.detail().is_some())
}

/// Lays out the tables that are not laid out yet.
///
/// # Errors
/// A coordinator that its nodes do not know; tables that are not laid out, for a command that only reads.
pub(super) async fn lay_out(pool: &PgPool, may_write: bool) -> Result<()> {
    if missing(pool).await?.is_empty() {
        return Ok(());
    }
    if !may_write {
        return Err(DbError::Unsafe(
            "tables of this database are not laid out over its nodes yet; as their owner: jintuo migrate"
                .to_owned(),
        ));
    }
    let (known,): (bool,) =
        sqlx::query_as("SELECT COUNT(*) > 0 FROM pg_dist_node WHERE groupid = 0")
            .fetch_one(pool)
            .await
            .map_err(DbError::sql("reading the nodes"))?;
    if !known {
        return Err(DbError::Unsafe(
            "the nodes do not know their coordinator; as a superuser: SELECT \
             citus_set_coordinator_host('HOST', PORT)"
                .to_owned(),
        ));
    }
    let doing = "laying out tables over the nodes";
    let mut t = pool.begin().await.map_err(DbError::sql(doing))?;
    // Two that open a new database at once: the second finds nothing left to do.
    for sql in [
        "SELECT 1 FROM job_lock WHERE job = 'visible' FOR UPDATE",
        "SET LOCAL citus.multi_shard_modify_mode TO 'sequential'",
    ] {
        sqlx::query(sql)
            .execute(&mut *t)
            .await
            .map_err(DbError::sql(doing))?;
    }
    let missing = missing(&mut *t).await?;
    for (table, sql) in statements().filter(|(table, _)| missing.iter().any(|m| m == table)) {
        lay_out_one(&mut t, table, sql).await?;
    }
    t.commit().await.map_err(DbError::sql(doing))
}

/// A table, and the call that lays it out.
fn statements() -> impl Iterator<Item = (&'static str, String)> {
    let first = DISTRIBUTED_TABLES[0];
    let owned = DISTRIBUTED_TABLES.iter().map(move |table| {
        let with = if *table == first { "none" } else { first };
        (
            *table,
            format!("create_distributed_table('{table}', 'inst_id', colocate_with => '{with}')"),
        )
    });
    let everywhere = REFERENCE_TABLES
        .iter()
        .map(|table| (*table, format!("create_reference_table('{table}')")));
    let by_digest = DIGEST_TABLES.iter().map(|table| {
        (
            *table,
            format!("create_distributed_table('{table}', 'digest', colocate_with => 'none')"),
        )
    });
    owned.chain(everywhere).chain(by_digest)
}

async fn lay_out_one(
    t: &mut Transaction<'static, Postgres>,
    table: &'static str,
    call: String,
) -> Result<()> {
    tracing::info!(table, "laying a table out over the nodes");
    sqlx::raw_sql(AssertSqlSafe(format!("SELECT {call}")))
        .execute(&mut **t)
        .await
        .map(|_| ())
        .map_err(DbError::sql("laying out a table over the nodes"))
}

/// Tables of this schema that are on the coordinator alone and should not be.
async fn missing<'e>(executor: impl sqlx::PgExecutor<'e>) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT CAST(c.relname AS TEXT) FROM pg_class c \
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' \
           AND NOT EXISTS (SELECT 1 FROM pg_dist_partition d WHERE d.logicalrelid = c.oid)",
    )
    .fetch_all(executor)
    .await
    .map_err(DbError::sql("reading how tables are laid out"))?;
    let wanted: Vec<&str> = statements().map(|(table, _)| table).collect();
    Ok((rows.into_iter().map(|(name,)| name))
        .filter(|name| wanted.contains(&name.as_str()))
        .collect())
}

/// Lets the runtime role log in, for a login that works under it: a coordinator asks its nodes as the role
/// it works under. The role has no password, so only where the nodes trust their coordinator does it help.
/// False where the role may not and this login cannot change that.
pub(super) async fn let_runtime_log_in(pool: &PgPool) -> Result<bool> {
    if runtime_may_log_in(pool).await? {
        return Ok(true);
    }
    // Refused without the right to; and another process may have done it just now.
    let altered = sqlx::query("ALTER ROLE jintuo_runtime LOGIN")
        .execute(pool)
        .await;
    if let Err(error) = altered {
        tracing::debug!(%error, "the runtime role was not allowed to log in");
    }
    runtime_may_log_in(pool).await
}

async fn runtime_may_log_in(pool: &PgPool) -> Result<bool> {
    let (may,): (bool,) = sqlx::query_as(
        "SELECT COALESCE(bool_or(rolcanlogin), false) FROM pg_roles WHERE rolname = $1",
    )
    .bind(RUNTIME_ROLE)
    .fetch_one(pool)
    .await
    .map_err(DbError::sql("reading the runtime role"))?;
    Ok(may)
}
