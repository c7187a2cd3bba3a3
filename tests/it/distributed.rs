//! SQL that a distributed PostgreSQL would refuse, and where each table lies in one. Runs without one: the
//! shapes are those that Citus 13 was seen to refuse. What is seen of a real one is the rest of this suite on it.

use std::collections::BTreeSet;

use jintuo::store::{DIGEST_TABLES, DISTRIBUTED_TABLES, REFERENCE_TABLES, Topology};

use crate::tidy::{root, sources, used, walk};

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
