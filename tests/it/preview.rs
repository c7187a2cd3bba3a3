//! The upload preview over a socket, on both databases: what it shows is what the import then does.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use jintuo::app;
use jintuo::config::Config;
use jintuo::store::Db;
use jintuo::store::lock::Job;
use jintuo::web;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Store, fixture, on_both};
use crate::quarantine::registry;

on_both!(
    a_preview_shows_proof_repeats_conflicts_and_quarantine,
    a_bundle_is_previewed_as_a_zip_or_file_by_file,
    a_preview_waits_for_no_import,
    a_preview_is_told_what_files_leave_open,
);

const ACCOUNT: &str = "6217000010001234567";
const BOUNDARY: &str = "X-boundary";

/// A service on loopback; it stops with its holder.
struct Service {
    address: SocketAddr,
    db: Db,
    task: tokio::task::JoinHandle<()>,
}

impl Service {
    async fn start(store: &Store, at: i64) -> Service {
        let db = store.open(at).await;
        let state = app::web_state(db.clone(), &Config::default(), true).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let _ = web::serve(listener, state, std::future::pending()).await;
        });
        Service { address, db, task }
    }

    async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
        self.db.close().await;
    }

    /// Uploads files; status and page.
    async fn preview(&self, files: &[(&str, &[u8])]) -> (u16, String) {
        self.preview_with(&[], files).await
    }

    /// The same, with other fields of the form.
    async fn preview_with(
        &self,
        fields: &[(&str, &str)],
        files: &[(&str, &[u8])],
    ) -> (u16, String) {
        let mut body = Vec::new();
        for (name, value) in fields {
            write!(
                body,
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
            .unwrap();
        }
        for (name, bytes) in files {
            write!(
                body,
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"files\"; \
                 filename=\"{name}\"\r\n\r\n"
            )
            .unwrap();
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        }
        write!(body, "--{BOUNDARY}--\r\n").unwrap();
        let head = format!(
            "POST /imports/preview HTTP/1.1\r\nHost: jintuo\r\nConnection: close\r\n\
             Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, page) = text.split_once("\r\n\r\n").expect("an answer");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, page.to_owned())
    }
}

fn camt() -> String {
    std::fs::read_to_string(fixture("wire/camt/booked_and_pending.xml")).unwrap()
}

#[track_caller]
fn shows(page: &str, expected: &[&str]) {
    assert!(page.contains("什么都没有保存"), "{page}");
    for text in expected {
        assert!(page.contains(text), "{text} in {page}");
    }
}

async fn sizes(store: &Store) -> [i64; 5] {
    [
        store.rows("import").await,
        store.rows("source_file").await,
        store.rows("raw_file").await,
        store.rows("posting").await,
        store.rows("statement_day").await,
    ]
}

async fn a_preview_shows_proof_repeats_conflicts_and_quarantine(store: Store) {
    let known = registry(&[ACCOUNT]).write(&store.dir, "registry");
    store.import(1, &[&known]).await;
    let before = sizes(&store).await;
    let service = Service::start(&store, 2).await;
    let (status, page) = service.preview(&[("good.xml", camt().as_bytes())]).await;
    assert_eq!(status, 200, "{page}");
    let proof = "<td class=\"num\">10,000.00</td><td class=\"num\">5,360.00</td>\
                 <td class=\"num\">1,000.00</td><td class=\"num\">14,360.00</td>";
    shows(
        &page,
        &[
            "good.xml",
            ACCOUNT,
            "2026-06-02 至 2026-06-04",
            proof,
            "<span aria-hidden=\"true\">✓</span> 平衡",
            "<span aria-hidden=\"true\">✓</span> 新增",
        ],
    );
    service.stop().await;
    assert_eq!(sizes(&store).await, before);

    let good = store.dir.write("good.xml", camt());
    store.import(3, &[&good]).await;
    let before = sizes(&store).await;
    let conflict = camt()
        .replace("10000.00", "20000.00")
        .replace("14360.00", "24360.00")
        .replace("<Id>2026-06-04</Id>", "<Id>another</Id>");
    let unbalanced = camt().replace("14360.00", "14360.05");
    let service = Service::start(&store, 4).await;
    let files = [
        ("again.xml", camt()),
        ("conflict.xml", conflict),
        ("unbalanced.xml", unbalanced),
        ("nothing.txt", "nothing".to_owned()),
    ];
    let files: Vec<(&str, &[u8])> = files.iter().map(|(n, t)| (*n, t.as_bytes())).collect();
    let (status, page) = service.preview(&files).await;
    assert_eq!(status, 200, "{page}");
    shows(
        &page,
        &[
            "<span aria-hidden=\"true\">–</span> 重复",
            "与已存矛盾，列为争议",
            "<code>CONFLICT</code>",
            "<span aria-hidden=\"true\">✗</span> 不平</span><small>期末差 0.05</small>",
            "<code>UNBALANCED</code>",
            "明细推不出期末余额",
            "<code>UNKNOWN_FORMAT</code>",
            "整个文件",
        ],
    );
    let (status, page) = service.preview(&[("empty.csv", b"")]).await;
    assert_eq!(status, 200, "{page}");
    service.stop().await;
    assert_eq!(sizes(&store).await, before);
    assert_eq!(store.check().await, []);
}

async fn a_bundle_is_previewed_as_a_zip_or_file_by_file(store: Store) {
    let bundle = registry(&[ACCOUNT]);
    let zip = std::fs::read(bundle.zip(&store.dir, "bundle.zip")).unwrap();
    let orders = "order_id,institution_id,student_id,ordered_on,lessons,unit_price_fen,amount_fen\n\
                  O1,I1,S1,2026-06-01,10,100000,1000000\nO2,I1,S1,2026-06-01,10,100000,wrong\n";
    let service = Service::start(&store, 1).await;
    let whole = [
        ("机构.zip", zip.as_slice()),
        ("x/../orders.csv", orders.as_bytes()),
    ];
    let (status, page) = service.preview(&whole).await;
    assert_eq!(status, 200, "{page}");
    shows(
        &page,
        &[
            "机构.zip/accounts.csv",
            "<span class=\"name\">orders.csv</span>",
            "<code>BAD_AMOUNT</code>",
            "第 3 行，amount_fen",
            "请用数字填写金额",
        ],
    );
    let folder = bundle.write(&store.dir, "bundle");
    let mut files = Vec::new();
    for stem in bundle.0.keys() {
        let name = format!("{stem}.csv");
        let bytes = std::fs::read(Path::new(&folder).join(&name)).unwrap();
        files.push((name, bytes));
    }
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(n, b)| (n.as_str(), b.as_slice()))
        .collect();
    let (status, page) = service.preview(&files).await;
    assert_eq!(status, 200, "{page}");
    shows(&page, &["accounts.csv"]);
    assert!(!page.contains("id=\"refused\""), "{page}");
    service.stop().await;
    assert_eq!(sizes(&store).await, [0; 5]);
}

async fn a_preview_waits_for_no_import(store: Store) {
    let known = registry(&[ACCOUNT]).write(&store.dir, "registry");
    store.import(1, &[&known]).await;
    let service = Service::start(&store, 2).await;
    let other = store.open(2).await;
    let lock = other.lock(Job::Import).await.unwrap();
    let (status, page) = service.preview(&[("good.xml", camt().as_bytes())]).await;
    assert_eq!(status, 503, "{page}");
    assert!(page.contains("请稍后再试"), "{page}");
    drop(lock);
    other.close().await;
    let (status, page) = service.preview(&[("good.xml", camt().as_bytes())]).await;
    assert_eq!(status, 200, "{page}");
    service.stop().await;
}

async fn a_preview_is_told_what_files_leave_open(store: Store) {
    let known = registry(&["W1", "0200000000000000001"]).write(&store.dir, "registry");
    store.import(1, &[&known]).await;
    let fund = std::fs::read(fixture("wire/wechat/fund.csv")).unwrap();
    let icbc = std::fs::read(fixture("wire/direct/icbc_qhisd.xml")).unwrap();
    let service = Service::start(&store, 2).await;
    let files = [("fund.csv", fund.as_slice())];
    let (status, page) = service.preview(&files).await;
    assert_eq!(status, 200, "{page}");
    shows(&page, &["id=\"refused\""]);
    let (status, page) = service.preview_with(&[("account", "W1")], &files).await;
    assert_eq!(status, 200, "{page}");
    shows(&page, &["文件未写明，按填写：账号 W1", "账户 W1"]);
    assert!(!page.contains("id=\"refused\""), "{page}");
    for (unit, opening) in [("yuan", "100,000.00"), ("fen", "1,000.00")] {
        let fields = [("account", ""), ("amount_unit", unit)];
        let (status, page) = (service.preview_with(&fields, &[("a.xml", icbc.as_slice())])).await;
        assert_eq!(status, 200, "{page}");
        let opening = format!("<td class=\"num\">{opening}</td>");
        shows(&page, &[&opening, "按填写：金额以"]);
        assert!(!page.contains("id=\"refused\""), "{page}");
    }
    // Neither is of a bundle's files.
    let rows = b"district_id,name\nD9,\xe7\xa4\xba\xe4\xbe\x8b\n";
    let both = [("districts.csv", rows.as_slice()), files[0]];
    let (status, page) = service.preview_with(&[("account", "W1")], &both).await;
    assert_eq!(status, 422, "{page}");
    assert!(page.contains("请把对账单和数据包的文件分开预览"), "{page}");
    service.stop().await;
    assert_eq!(store.rows("posting").await, 0);
}
