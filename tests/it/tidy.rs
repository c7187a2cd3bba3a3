//! The house rules that a reviewer would tire of: order of modules, dead files, equal migrations, who
//! may name a driver, SQL that a distributed PostgreSQL would refuse. Prints the largest files and
//! functions without judging them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jintuo::store::{DIGEST_TABLES, DISTRIBUTED_TABLES, REFERENCE_TABLES, Topology};

use crate::harness::{Store, on_both};

/// Uses of `dialect::pick` the product may have.
const PICKS_MAX: usize = 10;

/// Tables that belong to no institution, with the reason why their keys need no `inst_id`.
const SHARED_TABLES: [(&str, &str); 22] = [
    (
        "delivery_decision",
        "files of a feed hold many institutions",
    ),
    ("delivery", "files of a feed hold many institutions"),
    ("job", "a feed's work of a day, for the whole site"),
    ("feed_mark", "a feed's files hold many institutions"),
    ("push_nonce", "a bank's key, for the whole site"),
    ("import", "an import brings many institutions"),
    ("source_file", "a file speaks of many institutions"),
    ("raw_file", "bytes are kept before anybody has read them"),
    ("raw_piece", "bytes are kept before anybody has read them"),
    (
        "waiting_page",
        "a file that waits may speak of many accounts",
    ),
    (
        "quarantine",
        "a row that cannot be read names nobody for sure",
    ),
    ("waiting_row", "its institution may be what it waits for"),
    ("district", "reference data, replicated"),
    ("licence", "the registries' own list, not an institution's"),
    (
        "institution_directory",
        "a directory: sender's id to number",
    ),
    ("account_directory", "a directory: sender's id to number"),
    ("contract_directory", "a directory: sender's id to number"),
    ("policy_version", "reference data, replicated"),
    ("run", "a run covers many institutions"),
    ("district_coverage", "a sum over institutions"),
    ("job_lock", "a small local table"),
    ("_sqlx_migrations", "the migrator's"),
];

struct Source {
    /// Path below `src/`.
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
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

fn sources() -> Vec<Source> {
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
fn used(text: &str) -> BTreeSet<String> {
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

/// Shapes a distributed PostgreSQL refuses, and where in the code's SQL they are allowed.
#[test]
fn sql_stays_within_what_a_distributed_database_can_do() {
    let mut wrong = Vec::new();
    for source in sources() {
        for literal in sql_literals(&source.text) {
            let sql = literal.to_uppercase();
            let mut refuse = |what: &str| {
                wrong.push(format!("src/{}: {what} in {literal:?}", source.path));
            };
            for what in refused_shapes(&sql) {
                refuse(&what);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let mut paths = Vec::new();
    walk(&root().join("migrations/postgres"), "sql", &mut paths);
    for path in paths {
        let sql = std::fs::read_to_string(&path).expect("a migration is text");
        let sql = sql.to_uppercase();
        for shape in [
            "CREATE TRIGGER",
            "CREATE POLICY",
            "ROW LEVEL SECURITY",
            "EXCLUDE USING",
            "USING GIST",
            "DEFERRABLE",
            "CREATE SEQUENCE",
            "SERIAL",
            "AS IDENTITY",
            "INHERITS",
        ] {
            assert!(!sql.contains(shape), "{shape} in {}", path.display());
        }
        let keys = keys_without_inst_id(&sql);
        assert!(keys.is_empty(), "{}: {keys:?}", path.display());
        let references = references_of_distributed(&sql);
        assert!(references.is_empty(), "{}: {references:?}", path.display());
    }
}

/// String literals that are SQL: they begin with one of its verbs.
fn sql_literals(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('"') {
        rest = &rest[at + 1..];
        let mut literal = String::new();
        let mut chars = rest.char_indices();
        let mut end = rest.len();
        while let Some((i, c)) = chars.next() {
            match c {
                '\\' => {
                    chars.next();
                    literal.push(' ');
                }
                '"' => {
                    end = i;
                    break;
                }
                c => literal.push(c),
            }
        }
        rest = rest.get(end + 1..).unwrap_or_default();
        let literal = literal.split_whitespace().collect::<Vec<_>>().join(" ");
        let verbs = [
            "SELECT ", "WITH ", "INSERT ", "UPDATE ", "DELETE ", "MERGE ",
        ];
        if verbs.iter().any(|v| literal.starts_with(v)) {
            found.push(literal);
        }
    }
    found
}

/// What a distributed PostgreSQL refuses of a statement in capitals.
fn refused_shapes(sql: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (shape, what) in [
        ("ROLLUP", "ROLLUP"),
        ("CUBE (", "CUBE"),
        ("GROUPING SETS", "GROUPING SETS"),
        ("MERGE INTO", "MERGE"),
        ("WITH RECURSIVE", "a recursive CTE"),
        ("SKIP LOCKED", "SKIP LOCKED"),
        ("PG_ADVISORY", "an advisory lock"),
        ("PG_NOTIFY", "NOTIFY"),
        ("LOCK TABLE", "LOCK TABLE"),
        ("SET INST_ID", "an update of the shard key"),
        (", INST_ID = $", "an update of the shard key"),
        ("TABLESAMPLE", "TABLESAMPLE"),
        ("NEXTVAL", "a sequence"),
    ] {
        if sql.contains(shape) {
            wrong.push(what.to_owned());
        }
    }
    let tables = tables_of(sql);
    let locks = [
        "FOR UPDATE",
        "FOR SHARE",
        "FOR NO KEY UPDATE",
        "FOR KEY SHARE",
    ];
    let of_institutions = tables.iter().any(|(table, _)| is_distributed(table));
    if of_institutions && locks.iter().any(|l| sql.contains(l)) && !sql.contains("INST_ID =") {
        wrong.push("a lock without inst_id".to_owned());
    }
    wrong.extend(owned_join_without_inst_id(sql));
    if let Some((local, _)) = tables.iter().find(|(table, _)| is_local(table))
        && of_institutions
    {
        wrong.push(format!(
            "{local} is on the coordinator, with a table of institutions"
        ));
    }
    wrong
}

fn is_distributed(table: &str) -> bool {
    (DISTRIBUTED_TABLES.iter()).any(|name| name.eq_ignore_ascii_case(table))
}

fn is_shared(table: &str) -> bool {
    (SHARED_TABLES.iter()).any(|(name, _)| name.eq_ignore_ascii_case(table))
}

/// On the coordinator alone.
fn is_local(table: &str) -> bool {
    let mut elsewhere = REFERENCE_TABLES.iter().chain(DIGEST_TABLES);
    is_shared(table) && !elsewhere.any(|name| name.eq_ignore_ascii_case(table))
}

/// Tables a statement in capitals reads or writes, each with the name it goes by; subqueries have none.
fn tables_of(sql: &str) -> Vec<(&str, &str)> {
    let plain = |word: &&str| word.chars().all(|c| c.is_alphanumeric() || c == '_');
    let words: Vec<&str> = (sql.split_whitespace())
        .flat_map(|word| word.split_inclusive(['(', ')', ',']))
        .collect();
    let mut found = Vec::new();
    for pair in words.windows(2) {
        if !["FROM", "JOIN", "INTO", "UPDATE"].contains(&pair[0]) {
            continue;
        }
        let table = pair[1].trim_end_matches([')', ',', '(']);
        if !(plain(&table) && table.chars().any(|c| c.is_alphabetic())) {
            continue;
        }
        let place = pair[1].as_ptr() as usize - sql.as_ptr() as usize;
        let mut after = sql[place + table.len()..].split_whitespace();
        let next = after.next().unwrap_or_default();
        let next = if next == "AS" {
            after.next().unwrap_or_default()
        } else {
            next
        };
        let next = next.trim_end_matches([')', ',']);
        let keywords = [
            "WHERE", "ON", "SET", "CROSS", "LEFT", "JOIN", "GROUP", "ORDER", "LIMIT", "FOR",
            "UNION", "HAVING", "SELECT", "VALUES", "INNER",
        ];
        let named = !next.is_empty() && plain(&next) && !keywords.contains(&next);
        found.push((table, if named { next } else { table }));
    }
    found
}

/// A table of institutions beside another one without a condition on its number. Of one of them the others'
/// conditions speak. What a UNION adds up is read branch by branch.
fn owned_join_without_inst_id(sql: &str) -> Option<String> {
    // Where an INSERT puts its rows is no table it reads.
    let read = sql.strip_prefix("INSERT INTO ").unwrap_or(sql);
    let owned: Vec<(&str, &str)> = (tables_of(read).into_iter())
        .filter(|(table, _)| is_distributed(table))
        .collect();
    let bound = |alias: &str| {
        sql.contains(&format!("{alias}.INST_ID ="))
            || sql.contains(&format!("= {alias}.INST_ID"))
            || sql.contains(&format!("{alias}.INST_ID BETWEEN"))
    };
    // Keys that are looked up are sent to every node.
    let beside = tables_of(read)
        .iter()
        .any(|t| t.0 != "WANTED" && !is_distributed(t.0));
    let joined = |table: &str| beside && sql.contains(&format!("JOIN {table} "));
    let mut loose = (owned.iter()).filter(|(_, alias)| !bound(alias));
    let first = loose.next()?;
    let second = loose.next().filter(|_| !sql.contains("UNION"));
    let alone = second.is_none() && !joined(first.0);
    (!alone).then(|| {
        let (table, _) = second.unwrap_or(first);
        format!("a join of {table} without inst_id")
    })
}

#[test]
fn the_lint_knows_a_bad_join_and_a_bad_key() {
    let bad = "SELECT 1 FROM POSTING P JOIN MATCH_LINE M ON M.ENTRY_SEQ = P.SEQ";
    assert!(owned_join_without_inst_id(bad).is_some());
    let good = "SELECT 1 FROM POSTING P JOIN MATCH_LINE M ON M.INST_ID = P.INST_ID";
    assert_eq!(refused_shapes(good), Vec::<String>::new());
    for bad in [
        "SELECT 1 FROM STATEMENT S WHERE EXISTS (SELECT 1 FROM POSTING P WHERE P.SEQ = S.VERSION)",
        "SELECT 1 FROM STATEMENT S WHERE NOT EXISTS (SELECT 1 FROM SOURCE_FILE F WHERE F.SOURCE_NO = \
         S.SOURCE_NO)",
        "SELECT SEQ FROM INSTITUTION_HEAD WHERE SEQ > 0 FOR UPDATE",
        "UPDATE POSITION SET INST_ID = 2",
        "SELECT INST_ID FROM POSITION GROUP BY ROLLUP (INST_ID)",
        "WITH RECURSIVE D AS (SELECT 1) SELECT 1 FROM D",
        "SELECT FEED FROM JOB FOR UPDATE SKIP LOCKED",
    ] {
        assert!(!refused_shapes(bad).is_empty(), "{bad}");
    }
    let key = "CREATE TABLE POSTING (\n INST_ID BIGINT REFERENCES INSTITUTION (INST_ID));";
    assert_eq!(references_of_distributed(key).len(), 1);
    let keys = "CREATE TABLE POSTING (\n SEQ BIGINT PRIMARY KEY);\n\
                CREATE UNIQUE INDEX X ON POSTING (BANK_REF)";
    assert_eq!(keys_without_inst_id(keys).len(), 2);
    assert_eq!(
        sql_literals("f(\"SELECT a \\\n  FROM t\")"),
        ["SELECT a FROM t"]
    );
    let uses = "use crate::{base::Day, web};\nfn f() { crate::on!(t, c => crate::store::x()) }";
    let found: Vec<String> = used(uses).into_iter().collect();
    assert_eq!(found, ["base", "store", "web"]);
}

/// Foreign keys of tables of institutions: they more than double what an append costs, and the intake has
/// looked before.
fn references_of_distributed(sql: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for statement in sql.split(';') {
        let words: Vec<&str> = statement.split_whitespace().collect();
        let made = words
            .windows(2)
            .position(|w| w[1] == "TABLE" && w[0] != "ON");
        let table = made
            .and_then(|at| words.get(at + 2))
            .map_or("", |t| t.trim_matches('('));
        if is_distributed(table) && words.contains(&"REFERENCES") {
            wrong.push(table.to_owned());
        }
    }
    wrong
}

#[test]
fn every_table_has_its_place() {
    let mut paths = Vec::new();
    walk(&root().join("migrations/postgres"), "sql", &mut paths);
    let mut made = BTreeSet::new();
    for path in paths {
        let sql = std::fs::read_to_string(&path).expect("a migration is text");
        for line in sql.lines() {
            if let Some(rest) = line.strip_prefix("CREATE TABLE ") {
                made.insert(rest.trim_end_matches(" (").to_owned());
            }
        }
    }
    for table in &made {
        assert_ne!(is_distributed(table), is_shared(table), "{table}");
    }
    let named = DISTRIBUTED_TABLES
        .iter()
        .chain(REFERENCE_TABLES)
        .chain(DIGEST_TABLES);
    for table in named {
        assert!(made.contains(*table), "{table} is made by no migration");
    }
}

/// Unique keys of institution-owned tables that lack the institution's number.
fn keys_without_inst_id(sql: &str) -> Vec<String> {
    let shared = is_shared;
    let mut wrong = Vec::new();
    for statement in sql.split(';') {
        let words: Vec<&str> = statement.split_whitespace().collect();
        if let Some(at) = words.windows(2).position(|w| w == ["CREATE", "TABLE"]) {
            let table = words[at + 2].trim_matches('(');
            for line in statement.lines().map(str::trim) {
                let key = line.contains("PRIMARY KEY") || line.starts_with("UNIQUE");
                if key && !shared(table) && !line.contains("INST_ID") {
                    wrong.push(format!("{table}: {line}"));
                }
            }
        } else if let Some(at) = words.iter().position(|w| *w == "UNIQUE") {
            let text = words[at..].join(" ");
            let table = text.split(" ON ").nth(1).unwrap_or_default();
            let table = table.split([' ', '(']).next().unwrap_or_default();
            if !shared(table) && !text.contains("INST_ID") {
                wrong.push(text);
            }
        }
    }
    wrong
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

#[test]
fn a_distributed_database_is_laid_out_as_said() {
    crate::harness::on_citus(|store| async move {
        let db = store.open(0).await;
        assert_eq!(db.topology(), Topology::Citus);
        let mut tx = db.begin_read().await.expect("a transaction");
        let sql = "SELECT CAST(c.relname AS TEXT), CAST(d.partmethod AS TEXT), d.colocationid::BIGINT \
                   FROM pg_dist_partition d JOIN pg_class c ON c.oid = d.logicalrelid \
                   WHERE c.relnamespace = current_schema()::regnamespace";
        let rows: Vec<(String, String, i64)> =
            jintuo::on!(tx, c => sqlx::query_as(sql).fetch_all(c).await)
                .expect("the layout can be read");
        tx.rollback().await.expect("a rollback");
        db.close().await;
        let of = |how: &str| -> BTreeSet<&str> {
            let rows = rows.iter().filter(|r| r.1 == how);
            rows.map(|r| r.0.as_str()).collect()
        };
        let hashed = DISTRIBUTED_TABLES.iter().chain(DIGEST_TABLES).copied();
        assert_eq!(of("h"), hashed.collect());
        assert_eq!(of("n"), REFERENCE_TABLES.iter().copied().collect());
        let together: BTreeSet<i64> = (rows.iter())
            .filter(|r| DISTRIBUTED_TABLES.contains(&r.0.as_str()))
            .map(|r| r.2)
            .collect();
        assert_eq!(together.len(), 1, "what is an institution's lies together");
    });
}
