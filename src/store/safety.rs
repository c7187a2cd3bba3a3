//! Storage settings under which an acknowledged write could be lost are refused at start-up, with
//! the words that mend them (`assurance.md` §2.4). SQLite's are set by us; PostgreSQL's are the site's.

use sqlx::PgPool;

use super::{DbError, RUNTIME_ROLE, Result};

/// Settings that must be on, and how.
const MUST_BE_ON: [(&str, &str); 2] = [
    (
        "fsync",
        "set fsync = on in postgresql.conf and restart the server",
    ),
    (
        "full_page_writes",
        "set full_page_writes = on in postgresql.conf and reload",
    ),
];

/// Checks the nodes of a Citus database as [`postgres`] checks its coordinator. Whether each has a standby
/// that acknowledges is not seen from here.
///
/// # Errors
/// A node with settings under which an acknowledged write could be lost.
pub(super) async fn nodes(pool: &PgPool) -> Result<()> {
    for (setting, remedy) in MUST_BE_ON {
        of_nodes(pool, setting, |value| value == "on", remedy).await?;
    }
    let remedy = "set synchronous_commit = on in postgresql.conf and reload";
    of_nodes(pool, "synchronous_commit", |value| value != "off", remedy).await
}

async fn of_nodes(
    pool: &PgPool,
    setting: &'static str,
    is_safe: fn(&str) -> bool,
    remedy: &str,
) -> Result<()> {
    let rows: Vec<(String, i64, bool, String)> = sqlx::query_as(
        "SELECT nodename, CAST(nodeport AS BIGINT), success, result \
         FROM run_command_on_workers('SELECT current_setting(' || quote_literal($1) || ')')",
    )
    .bind(setting)
    .fetch_all(pool)
    .await
    .map_err(DbError::sql("reading the nodes' settings"))?;
    match (rows.iter()).find(|(_, _, success, value)| !(*success && is_safe(value))) {
        Some((host, port, _, value)) => Err(DbError::Unsafe(format!(
            "the node {host}:{port} runs with {setting} = {value}: acknowledged money could be lost; \
             {remedy}"
        ))),
        None => Ok(()),
    }
}

/// Checks the server. Returns warnings.
///
/// # Errors
/// `fsync` or `full_page_writes` off, or a standby that acknowledges nothing.
pub(super) async fn postgres(pool: &PgPool, unsafe_dev: bool) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for (setting, remedy) in MUST_BE_ON {
        let (value,): (String,) = sqlx::query_as("SELECT current_setting($1)")
            .bind(setting)
            .fetch_one(pool)
            .await
            .map_err(DbError::sql("reading the server's settings"))?;
        if value != "on" && !unsafe_dev {
            return Err(DbError::Unsafe(format!(
                "PostgreSQL runs with {setting} = {value}: a power cut could lose acknowledged \
                 money; {remedy}"
            )));
        }
    }
    let (commit,): (String,) = sqlx::query_as("SELECT current_setting('synchronous_commit')")
        .fetch_one(pool)
        .await
        .map_err(DbError::sql("reading the server's settings"))?;
    if commit == "off" && !unsafe_dev {
        return Err(DbError::Unsafe(
            "PostgreSQL runs with synchronous_commit = off: a crash could lose acknowledged money; \
             set synchronous_commit = on in postgresql.conf and reload"
                .to_owned(),
        ));
    }
    let (checksums,): (String,) = sqlx::query_as("SELECT current_setting('data_checksums')")
        .fetch_one(pool)
        .await
        .map_err(DbError::sql("reading the server's settings"))?;
    if checksums != "on" {
        warnings.push(
            "PostgreSQL runs without data checksums; enable them with pg_checksums while the \
             server is stopped"
                .to_owned(),
        );
    }
    // Without the right to read statistics the rows are there and their columns are NULL. A backup that is
    // being taken is no standby: nobody fails over to it.
    let (async_standbys, synchronous, unseen): (i64, i64, i64) = sqlx::query_as(
        "SELECT COUNT(*) FILTER (WHERE sync_state = 'async'), \
                COUNT(*) FILTER (WHERE sync_state <> 'async'), \
                COUNT(*) FILTER (WHERE sync_state IS NULL) FROM pg_stat_replication \
         WHERE COALESCE(application_name, '') NOT IN ('pg_basebackup', 'pg_receivewal')",
    )
    .fetch_one(pool)
    .await
    .map_err(DbError::sql("reading the server's standbys"))?;
    let standbys = Standbys {
        asynchronous: async_standbys,
        synchronous,
        unseen,
    };
    match standbys.judge() {
        Ok(warning) => warnings.extend(warning),
        Err(_) if unsafe_dev => {}
        Err(reason) => return Err(DbError::Unsafe(reason)),
    }
    Ok(warnings)
}

/// Standbys by what they acknowledge.
struct Standbys {
    asynchronous: i64,
    synchronous: i64,
    /// Those this login may not look at.
    unseen: i64,
}

impl Standbys {
    /// A warning, or why the service must not work with them.
    fn judge(&self) -> std::result::Result<Option<String>, String> {
        if self.asynchronous > 0 && self.synchronous == 0 && self.unseen == 0 {
            return Err(
                "PostgreSQL has only asynchronous standbys: a fail-over would lose acknowledged \
                 money; set synchronous_standby_names"
                    .to_owned(),
            );
        }
        Ok((self.unseen > 0).then(|| {
            format!(
                "PostgreSQL has {} standbys that this login may not look at: if they acknowledge \
                 nothing, a fail-over would lose acknowledged money; as a superuser: GRANT \
                 pg_read_all_stats TO jintuo_service",
                self.unseen
            )
        }))
    }
}

/// True where the login owns the tables it works on.
pub(super) async fn owns_tables(pool: &PgPool) -> Result<bool> {
    let (owns,): (bool,) = sqlx::query_as(
        "SELECT COALESCE(bool_or(pg_has_role(current_user, c.relowner, 'MEMBER')), false) \
         FROM pg_class c WHERE c.oid = to_regclass('posting')",
    )
    .fetch_one(pool)
    .await
    .map_err(DbError::sql("reading who owns the tables"))?;
    Ok(owns)
}

/// True where the runtime role exists and the login may step down to it.
pub(super) async fn may_become_runtime(pool: &PgPool) -> Result<bool> {
    let (may,): (bool,) = sqlx::query_as(
        "SELECT COALESCE(bool_or(pg_has_role(current_user, oid, 'MEMBER')), false) \
         FROM pg_roles WHERE rolname = $1",
    )
    .bind(RUNTIME_ROLE)
    .fetch_one(pool)
    .await
    .map_err(DbError::sql("reading the runtime role"))?;
    Ok(may)
}

#[cfg(test)]
mod tests {
    use super::Standbys;

    #[test]
    fn standbys_that_acknowledge_nothing_are_refused_and_unseen_ones_named() {
        let judge = |asynchronous, synchronous, unseen| {
            let standbys = Standbys {
                asynchronous,
                synchronous,
                unseen,
            };
            standbys.judge()
        };
        assert_eq!(judge(0, 0, 0), Ok(None));
        assert_eq!(judge(2, 1, 0), Ok(None));
        assert!(judge(1, 0, 0).is_err_and(|e| e.contains("synchronous_standby_names")));
        let unseen = judge(0, 0, 1).expect("a warning");
        assert!(unseen.is_some_and(|w| w.contains("GRANT pg_read_all_stats")));
    }
}
