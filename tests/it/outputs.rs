//! What leaves the product: report files, pages over HTTP, and the guards around stored rows.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use jintuo::config::Config;
use jintuo::store::{APPEND_ONLY_TABLES, DbError};
use jintuo::{app, web};

use crate::books::{AS_OF, seed};
use crate::harness::{Store, on_both, on_sqlite};
use crate::small::{self, small};

on_both!(
    reports_have_the_columns_of_the_contract,
    a_formula_stays_text,
    pages_answer_from_the_database,
    history_cannot_be_changed,
    one_import_at_a_time,
);

/// PostgreSQL's grants know no replacement.
#[test]
fn history_cannot_be_replaced() {
    on_sqlite(replace);
}

/// Reports and the columns they begin with (`interchange.md`).
const HEADERS: [(&str, &str); 4] = [
    (
        "institutions",
        "institution_id,district_id,required_fen,held_fen,uncovered_fen,status",
    ),
    (
        "districts",
        "district_id,required_fen,held_fen,uncovered_fen,institutions,uncovered_institutions,\
         amount_coverage,custody_rate",
    ),
    (
        "breaks",
        "code,subject,institution_id,date,amount_fen,n,severity,due_on",
    ),
    ("matches", "match_id,kind,entry_id,n,amount_fen"),
];

async fn reports_have_the_columns_of_the_contract(store: Store) {
    store.import(1, &[&seed(3)]).await;
    store.reconcile(2, AS_OF, "workload").await;
    for (name, header) in HEADERS {
        let args = ["report", name, "--as-of", AS_OF];
        let csv = store
            .jintuo(&[&args[..], &["--format", "csv"]].concat())
            .ended(0);
        assert!(csv.stdout.starts_with(b"\xEF\xBB\xBF"), "{name}: a BOM");
        let text = csv.text();
        let first = text
            .trim_start_matches('\u{FEFF}')
            .lines()
            .next()
            .unwrap_or_default();
        assert!(first.starts_with(header), "{name}: {first}");
        let json = store.jintuo(&[&args[..], &["--json"]].concat()).ended(0);
        let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("one object");
        assert_eq!(json["schema"], format!("jintuo.report.{name}/1"));
        assert_eq!(json["as_of"], AS_OF);
        assert_eq!(
            json["rows"].as_array().map(Vec::len),
            Some(text.lines().count() - 1),
            "{name}: every form has the same rows"
        );
        // A file is the same bytes as the terminal's.
        let out = store.dir.path().join(format!("{name}.csv"));
        let file = out.display().to_string();
        let rest = ["--format", "csv", "--out", &file];
        let silent = store.jintuo(&[&args[..], &rest].concat()).ended(0);
        assert_eq!(silent.stdout, b"");
        assert_eq!(std::fs::read(&out).expect("the file"), csv.stdout, "{name}");
    }
}

async fn a_formula_stays_text(store: Store) {
    let mut bundle = small();
    let file = bundle.0.get_mut("institutions").expect("a file");
    file.1 = vec!["I1,D1,\"=HYPERLINK(\"\"x\"\")\"".to_owned()];
    store
        .import(1, &[&bundle.write(&store.dir, "formula")])
        .await;
    store.reconcile(2, small::AS_OF, "workload").await;
    let csv = store
        .jintuo(&["report", "institutions", "--format", "csv"])
        .ended(0);
    assert!(
        csv.text().contains(",\"'=HYPERLINK(\"\"x\"\")\","),
        "{}",
        csv.text()
    );
    let json = store.jintuo(&["report", "institutions", "--json"]).ended(0);
    assert!(
        json.text().contains(r#""name":"=HYPERLINK(\"x\")""#),
        "{}",
        json.text()
    );
}

/// One request over a real loopback connection: status line and headers, body.
fn get(address: std::net::SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("the service listens");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    (head.to_owned(), body.to_owned())
}

async fn pages_answer_from_the_database(store: Store) {
    store.import(1, &[&seed(7)]).await;
    store.reconcile(2, AS_OF, "default").await;
    let db = store.open(3).await;
    let state = app::web_state(db.clone(), &Config::default(), true).expect("a state");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(web::serve(listener, state, async {
        let _ = stopped.await;
    }));
    let asked = tokio::task::spawn_blocking(move || {
        [
            "/",
            "/districts/D002",
            "/livez",
            "/readyz",
            "/districts/D999",
            "/nowhere",
        ]
        .map(|path| (path, get(address, path)))
    });
    let answers = asked.await.expect("answers");
    stop.send(()).expect("the service runs");
    serving
        .await
        .expect("a task")
        .expect("the service ends well");
    db.close().await;
    for (path, (head, body)) in &answers {
        let missing = matches!(*path, "/districts/D999" | "/nowhere");
        let status = if missing { "404" } else { "200" };
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}")),
            "{path}: {head}"
        );
        for banned in [" style=", "<style", "<script", "onclick="] {
            assert!(!body.contains(banned), "{path} has {banned}");
        }
    }
    let (_, (_, overview)) = &answers[0];
    for district in ["D000", "D001", "D002", "D003"] {
        assert!(
            overview.contains(&format!("监管区{district}")),
            "{district} on the overview"
        );
    }
    let (_, (head, district)) = &answers[1];
    assert!(district.contains("监管区D002"));
    assert!(
        district.contains("培训机构I"),
        "its institutions are listed"
    );
    assert!(
        head.to_lowercase().contains("content-security-policy"),
        "{head}"
    );
}

async fn history_cannot_be_changed(store: Store) {
    store.import(1, &[&small().write(&store.dir, "base")]).await;
    store.reconcile(1, small::AS_OF, "workload").await;
    let db = store.open(2).await;
    if store.is_postgres() {
        let said = db.warnings().join("\n");
        assert!(said.contains("owner of its tables"), "{said:?}");
    }
    for table in APPEND_ONLY_TABLES {
        let column = first_column(table);
        for sql in [
            format!("UPDATE {table} SET {column} = {column}"),
            format!("DELETE FROM {table}"),
        ] {
            let mut tx = db.begin_write().await.expect("a transaction");
            let before: (i64,) = {
                let count = format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table}");
                jintuo::on!(tx, c => sqlx::query_as(sqlx::AssertSqlSafe(count)).fetch_one(c).await)
                    .expect("rows can be counted")
            };
            let done = jintuo::on!(tx, c => sqlx::query(sqlx::AssertSqlSafe(sql.clone()))
                .execute(c).await.map(|r| r.rows_affected()));
            // SQLite's trigger speaks per row, PostgreSQL refuses the statement.
            let refused = done.is_err() || (before.0 == 0 && !store.is_postgres());
            assert!(refused, "{sql}: {done:?}");
            tx.rollback().await.expect("a rollback");
        }
    }
    db.close().await;
    for table in [
        "posting",
        "statement_day",
        "contract",
        "account",
        "policy_version",
    ] {
        assert!(store.rows(table).await > 0, "{table} was tested with rows");
    }
    assert_eq!(store.check().await, []);
}

/// A replacement removes a row without asking the guard against deletes.
async fn replace(store: Store) {
    store.import(1, &[&small().write(&store.dir, "base")]).await;
    store.reconcile(1, small::AS_OF, "workload").await;
    let db = store.open(2).await;
    let mut tried = 0;
    for table in APPEND_ONLY_TABLES {
        let mut tx = db.begin_write().await.expect("a transaction");
        let sql = format!("INSERT OR REPLACE INTO {table} SELECT * FROM {table}");
        let done = jintuo::on!(tx, c => sqlx::query(sqlx::AssertSqlSafe(sql.clone()))
            .execute(c).await.map(|r| r.rows_affected()));
        // Postings and their notes are chained by hash, and no other table may go without its guard.
        let chained = ["posting", "posting_note"].contains(table);
        assert!(chained || !matches!(done, Ok(1..)), "{sql}: {done:?}");
        tried += usize::from(done.is_err());
        tx.rollback().await.expect("a rollback");
    }
    assert!(tried >= 7, "only {tried} tables were tested with rows");
    // Nor by another key than the first one.
    for sql in [
        "INSERT OR REPLACE INTO policy_version SELECT 99, name, digest, params, loaded_at \
         FROM policy_version",
        "INSERT OR REPLACE INTO institution_directory SELECT 'IX', inst_id \
         FROM institution_directory",
        "INSERT OR REPLACE INTO raw_file (rowid, digest, received_at, bytes, content) \
         SELECT rowid, x'00', received_at, bytes, content FROM raw_file",
    ] {
        let mut tx = db.begin_write().await.expect("a transaction");
        let done = jintuo::on!(tx, c => sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()))
            .execute(c).await.map(|r| r.rows_affected()));
        assert!(!matches!(done, Ok(1..)), "{sql}: {done:?}");
        tx.rollback().await.expect("a rollback");
    }
    let mut tx = db.begin_write().await.expect("a transaction");
    jintuo::on!(tx, c => sqlx::query(
            "INSERT OR REPLACE INTO posting SELECT inst_id, seq, source_no, kind, debit, credit, \
             amount_fen + 1, business_day, contract_no, account_no, source_id, revision, reverses, \
             reference, channel, state, quantity, stated_fen, confirmed_day, hash FROM posting WHERE seq = 1")
        .execute(c).await.map(|_| ()))
    .expect("the chain tells, not the table");
    tx.commit().await.expect("a commit");
    db.close().await;
    assert!(!store.check().await.is_empty());
}

fn first_column(table: &str) -> &'static str {
    match table {
        "raw_file" => "bytes",
        "raw_piece" => "digest",
        "district" | "licence" => "name",
        "policy_version" => "params",
        _ => "inst_id",
    }
}

async fn one_import_at_a_time(store: Store) {
    let db = store.open(1).await;
    let lock = db
        .lock(jintuo::store::lock::Job::Import)
        .await
        .expect("free");
    let base = small().write(&store.dir, "base");
    match store.try_import(2, &[&base]).await {
        Err(jintuo::intake::ImportError::Db(e @ DbError::Busy(_))) => assert!(e.is_temporary()),
        other => panic!("a second import: {other:?}"),
    }
    let ran = store
        .jintuo(&["import", &base.display().to_string()])
        .ended(75);
    assert!(ran.stderr.contains("try again"), "{}", ran.stderr);
    drop(lock);
    db.close().await;
    store.import(3, &[&base]).await;
}
