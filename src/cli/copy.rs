//! `jintuo copy`: the books moved to another database.

use std::io::{self, Write};

use serde_json::json;

use crate::base::entropy::hex;
use crate::config::Config;
use crate::store::DbError;
use crate::transfer::{self, Compared};
use crate::{app, check};

/// Copies the books, then proves the target's invariants; with `only_compare` reads both and writes nothing.
pub(super) async fn copy(
    config: &Config,
    (from, to): (&str, &str),
    only_compare: bool,
    json: bool,
) -> anyhow::Result<u8> {
    if from == to {
        return Err(DbError::Unsafe("source and target are the same database".to_owned()).into());
    }
    let at = |url: &str| {
        let mut config = config.clone();
        url.clone_into(&mut config.database.url);
        config
    };
    let source = app::open_existing(&at(from)).await?;
    let tell = |c: &Compared| {
        if !json {
            let _ = writeln!(
                io::stdout(),
                "{} {} rows {} {}",
                c.table,
                c.source.rows,
                hex(&c.source.digest),
                if c.agrees() { "same" } else { "differs" },
            );
        }
    };
    let (target, tables) = if only_compare {
        let target = app::open_existing(&at(to)).await?;
        let tables = transfer::compare(&source, &target, tell).await?;
        (target, tables)
    } else {
        let target = app::open(&at(to)).await?;
        let tables = transfer::copy(&source, &target, tell).await?;
        (target, tables)
    };
    source.close().await;
    let broken = check::check(&target).await?;
    target.close().await;
    let agrees = tables.iter().all(Compared::agrees);
    if json {
        let object = json!({
            "schema": "jintuo.copy/1",
            "agrees": agrees,
            "tables": tables.iter().map(|c| json!({
                "table": c.table,
                "rows": c.source.rows,
                "digest": hex(&c.source.digest),
                "agrees": c.agrees(),
            })).collect::<Vec<_>>(),
            "broken": broken.iter().map(|b| json!({
                "invariant": b.invariant,
                "what": b.what,
            })).collect::<Vec<_>>(),
        });
        writeln!(io::stdout(), "{object}")?;
    } else {
        for b in &broken {
            writeln!(io::stderr(), "{}: {}", b.invariant, b.what)?;
        }
    }
    Ok(u8::from(!agrees || !broken.is_empty()))
}
