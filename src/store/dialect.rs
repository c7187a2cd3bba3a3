//! Where the two databases differ, as code. The whole list:
//!
//! | matter | SQLite | PostgreSQL | answer |
//! |---|---|---|---|
//! | write lock | one writer, taken by `BEGIN IMMEDIATE` | row locks | [`super::Db::begin_write`] |
//! | bulk insert and look-up | multi-row `VALUES (?, …)` | `UNNEST($1::bigint[], …)` | [`super::bulk`] |
//! | placeholders | `$1`, but `?` in bulk: SQLite searches a named parameter list for every bind | `$1` | literals use `$1` |
//! | `SUM(bigint)` | integer | numeric | `CAST(COALESCE(SUM(x), 0) AS BIGINT)` |
//! | text order | bytes | collation | `COLLATE "C"` in the PostgreSQL migration |
//! | a unique violation | leaves the transaction usable | aborts it | never caught: looked up before, or `ON CONFLICT` |
//! | append-only | triggers | grants | first migration |
//! | one import at a time | lock file beside the database | row lock | [`super::lock`] |
//! | layout | – | one node, or tables distributed by institution (Citus) | [`super::Topology`]: the layout, COPY for every append, keys materialized |
//! | partitions by month | – | none: the key of a fact would have to hold the month, and a fact sent again under another day would not meet its row | no partitions; Citus where tables grow too large |
//! | dates, booleans, instants | TEXT, INTEGER, TEXT | DATE, BOOLEAN, TIMESTAMPTZ | sqlx's own codecs; hot tables keep days since 1970 as integers |

use super::{Engine, Tx};

/// Picks between two literals that stand side by side. `tests/it/tidy.rs` counts the uses.
pub fn pick(tx: &Tx, sqlite: &'static str, postgres: &'static str) -> &'static str {
    match tx.engine() {
        Engine::Sqlite => sqlite,
        Engine::Postgres => postgres,
    }
}
