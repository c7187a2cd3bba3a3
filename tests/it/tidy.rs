//! The house rules that a reviewer would tire of: order of modules, dead files, equal migrations, who
//! may name a driver. Prints the largest files and functions without judging them. What a distributed
//! PostgreSQL would refuse is in `distributed.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::harness::{Store, on_both};

/// Uses of `dialect::pick` the product may have.
const PICKS_MAX: usize = 10;

pub(crate) struct Source {
    /// Path below `src/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|e| e.expect("an entry").path())
        .collect();
    entries.sort_unstable();
    for entry in entries {
        if entry.is_dir() {
            walk(&entry, extension, found);
        } else if entry.extension().is_some_and(|e| e == extension) {
            found.push(entry);
        }
    }
}

pub(crate) fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut paths = Vec::new();
    walk(&src, "rs", &mut paths);
    paths
        .into_iter()
        .map(|path| Source {
            path: (path.strip_prefix(&src).expect("below src"))
                .to_string_lossy()
                .into_owned(),
            text: std::fs::read_to_string(&path).expect("a source is text"),
        })
        .collect()
}

/// A line without its comment; strings are left as they are.
fn code(line: &str) -> &str {
    let trimmed = line.trim_start();
    if trimmed.starts_with("//") {
        return "";
    }
    line.split(" // ").next().unwrap_or(line)
}

fn code_of(text: &str) -> String {
    text.lines().map(code).collect::<Vec<_>>().join("\n")
}

/// True where `word` stands in `text` with nothing of a name around it.
fn has_word(text: &str, word: &str) -> bool {
    let named = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(named) && !text[at + word.len()..].starts_with(named))
}

fn modules() -> Vec<String> {
    let lib = std::fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs is there");
    lib.lines()
        .filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

/// The modules of this crate that a source names, `use crate::{a, b::c}` and macros included.
pub(crate) fn used(text: &str) -> BTreeSet<String> {
    let text = code_of(text);
    let mut found = BTreeSet::new();
    let name = |s: &str| -> String {
        s.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(name(rest));
            continue;
        };
        let mut depth = 1;
        let mut start = true;
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => start = true,
                c if start && depth == 1 && !c.is_whitespace() => {
                    found.insert(name(&group[i..]));
                    start = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    // The macro that picks a driver belongs to the store.
    if found.remove("on") {
        found.insert("store".to_owned());
    }
    found
}

#[test]
fn a_module_uses_only_modules_above_it() {
    let order = modules();
    assert!(order.len() > 10, "lib.rs lists its modules: {order:?}");
    let rank: BTreeMap<&str, usize> = (0..)
        .zip(&order)
        .map(|(rank, name)| (name.as_str(), rank))
        .collect();
    let mut upward = Vec::new();
    for source in sources() {
        let module = source.path.split(['/', '.']).next().unwrap_or_default();
        let Some(own) = rank.get(module) else {
            continue;
        };
        for name in used(&source.text) {
            match rank.get(name.as_str()) {
                Some(other) if other > own => {
                    upward.push(format!(
                        "src/{} uses {name}, which is below it",
                        source.path
                    ));
                }
                _ => {}
            }
        }
    }
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

#[test]
fn no_file_is_dead() {
    let sources = sources();
    let paths: BTreeSet<&str> = sources.iter().map(|s| s.path.as_str()).collect();
    let mut alive = BTreeSet::from(["lib.rs".to_owned(), "main.rs".to_owned()]);
    for source in &sources {
        let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
        let base = match file {
            "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
            other => format!("{folder}/{}", other.trim_end_matches(".rs")),
        };
        let base = base.trim_start_matches('/');
        for line in source.text.lines().map(str::trim) {
            let line = line.trim_start_matches("pub(crate) ");
            let line = line.trim_start_matches("pub(super) ");
            let line = line.trim_start_matches("pub ");
            let Some(name) = line.strip_prefix("mod ").and_then(|l| l.strip_suffix(';')) else {
                continue;
            };
            let prefix = if base.is_empty() {
                String::new()
            } else {
                format!("{base}/")
            };
            alive.insert(format!("{prefix}{name}.rs"));
            alive.insert(format!("{prefix}{name}/mod.rs"));
        }
    }
    let dead: Vec<&&str> = paths.iter().filter(|p| !alive.contains(**p)).collect();
    assert!(dead.is_empty(), "no mod line leads to {dead:?}");
}

#[test]
fn drivers_and_frameworks_are_named_where_they_belong() {
    type Allowed = (&'static str, fn(&str) -> bool);
    let allowed: [Allowed; 3] = [
        ("sqlx", |path| {
            path.starts_with("store/") || path.ends_with("/store.rs") || path.contains("/store/")
        }),
        ("axum", |path| path.starts_with("web/") || path == "web.rs"),
        ("clap", |path| path.starts_with("cli/") || path == "cli.rs"),
    ];
    let mut wrong = Vec::new();
    for source in sources() {
        let text = code_of(&source.text);
        // Deriving a row and running one literal is all that the checker asks of the driver.
        let text = if source.path == "check/mod.rs" {
            text.replace("#[derive(sqlx::FromRow)]", "")
                .replace("sqlx::query_as(", "")
        } else {
            text
        };
        for (name, may) in allowed {
            if has_word(&text, name) && !may(&source.path) {
                wrong.push(format!("src/{} names {name}", source.path));
            }
        }
        for float in ["f32", "f64"] {
            if has_word(&text, float) {
                wrong.push(format!("src/{} has the type {float}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_databases_differ_in_few_places() {
    let picks: usize = sources()
        .iter()
        .map(|s| code_of(&s.text).matches("dialect::pick(").count())
        .sum();
    assert!(picks <= PICKS_MAX, "{picks} uses of dialect::pick");
    let names = |engine: &str| {
        let mut paths = Vec::new();
        walk(&root().join("migrations").join(engine), "sql", &mut paths);
        paths
            .into_iter()
            .map(|p| p.file_name().map(std::ffi::OsStr::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(names("sqlite"), names("postgres"));
}

/// Prints; whether a file is too large is for its reader to say.
#[test]
fn the_largest_files_and_functions() {
    let mut files = Vec::new();
    let mut functions = Vec::new();
    for source in sources() {
        files.push((source.text.lines().count(), source.path.clone()));
        let mut open: Option<(usize, usize, String)> = None;
        for (number, line) in source.text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            match &open {
                Some((from, at, name)) if *at == indent && line.trim() == "}" => {
                    functions.push((number - from + 1, format!("{} {name}", source.path)));
                    open = None;
                }
                None if line.contains("fn ") && !code(line).is_empty() => {
                    let name = line.split("fn ").nth(1).unwrap_or_default();
                    let name = name.split(['(', '<']).next().unwrap_or_default();
                    open = Some((number, indent, name.to_owned()));
                }
                _ => {}
            }
            if open.is_some() && line.trim_end().ends_with(';') && line.contains("fn ") {
                open = None;
            }
        }
    }
    for list in [&mut files, &mut functions] {
        list.sort_unstable_by(|a, b| b.cmp(a));
        for (lines, name) in list.iter().take(5) {
            println!("{lines:>5} lines  {name}");
        }
    }
    assert!(!functions.is_empty(), "functions are found");
}

/// Tables, their columns and indexes, in one list.
async fn schema(store: &Store) -> BTreeSet<String> {
    let db = store.open(0).await;
    let mut tx = db.begin_read().await.expect("a transaction");
    let sql = if store.is_postgres() {
        "SELECT c.relname || '.' || a.attname FROM pg_class c \
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 \
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') \
         UNION ALL \
         SELECT 'index ' || indexname FROM pg_indexes WHERE schemaname = current_schema()"
    } else {
        "SELECT m.name || '.' || c.name FROM sqlite_master m, pragma_table_info(m.name) c \
         WHERE m.type = 'table' \
         UNION ALL SELECT 'index ' || name FROM sqlite_master WHERE type = 'index'"
    };
    let rows: Vec<(String,)> = jintuo::on!(tx, c => sqlx::query_as(sql).fetch_all(c).await)
        .expect("the schema can be read");
    tx.rollback().await.expect("a rollback");
    db.close().await;
    // Each engine names the indexes of its primary keys in its own way; the migrator's table is its own.
    rows.into_iter()
        .map(|(name,)| name)
        .filter(|n| !n.contains("_sqlx_migrations"))
        .filter(|n| !n.ends_with("_pkey") && !n.contains("sqlite_autoindex"))
        .filter(|n| !n.starts_with("sqlite_"))
        .collect()
}

on_both!(the_schemas_agree);

async fn the_schemas_agree(store: Store) {
    let own = schema(&store).await;
    assert!(own.contains("posting.inst_id"), "{own:?}");
    assert!(own.contains("index posting_source"), "{own:?}");
    if !store.is_postgres() {
        return;
    }
    let dir = crate::harness::Dir::new();
    let sqlite = Store::sqlite_in(dir);
    let other = schema(&sqlite).await;
    let differ: Vec<&String> = own.symmetric_difference(&other).collect();
    assert!(differ.is_empty(), "only one database has {differ:?}");
}
