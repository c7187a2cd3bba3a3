//! Signed pushes over a socket, on both databases: what is accepted, once, and what is not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use jintuo::app;
use jintuo::config::{Algorithm, Config, SecretBytes};
use jintuo::feed::deliveries::{self, Kept};
use jintuo::feed::source::signature::{Key, Request, body_digest, sign, timestamp};
use jintuo::store::Db;
use jintuo::web;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Store, minute, on_both};

on_both!(
    a_push_is_kept_once,
    of_two_equal_pushes_at_once_one_is_accepted,
    what_is_not_signed_right_is_not_accepted,
    what_cannot_be_a_statement_is_refused,
    nonces_are_forgotten_when_nobody_accepts_them_any_more,
    deliveries_are_numbered_in_the_order_of_commits,
    a_reload_takes_keys_of_feeds_that_are_there,
);

const KEY: &str = "0123456789abcdef0123456789abcdef";
const PATH: &str = "/v1/feeds/icbc/statements";

/// A service on loopback; it stops with its holder.
struct Service {
    address: SocketAddr,
    db: Db,
    task: tokio::task::JoinHandle<()>,
}

impl Service {
    async fn start(store: &Store) -> Service {
        Service::start_at(store, 0).await
    }

    async fn start_at(store: &Store, at: i64) -> Service {
        let secret = store.dir.write("push-key", KEY);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&secret, mode).unwrap();
        let secret = secret.display().to_string();
        let mut config = Config::default();
        let push = format!(
            "name = \"icbc\"\nbank = \"ICBC\"\n[source]\nkind = \"push\"\n\
             keys = [{{ id = \"k1\", algorithm = \"hmac-sha256\", key = {{ file = {secret:?} }} }},\n\
             {{ id = \"k2\", algorithm = \"hmac-sm3\", key = {{ file = {secret:?} }} }}]"
        );
        config.feed.push(toml::from_str(&push).unwrap());
        let folder = "name = \"abc\"\nbank = \"ABC\"\n[source]\nkind = \"folder\"\npath = \"/in\"";
        config.feed.push(toml::from_str(folder).unwrap());
        let db = store.open(at).await;
        let state = app::web_state(db.clone(), &config, true).unwrap();
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

    async fn send(&self, push: &Push<'_>) -> Answer {
        self.exchange(&push.bytes()).await
    }

    async fn exchange(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A server that refuses may close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text).await;
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_lowercase(),
            body: serde_json::from_str(body).unwrap_or(Value::Null),
        }
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

/// A push, signed right unless it is spoilt.
#[derive(Clone)]
struct Push<'a> {
    method: &'a str,
    target: &'a str,
    key_id: &'a str,
    algorithm: Algorithm,
    secret: &'a str,
    at: i64,
    nonce: &'a str,
    kind: &'a str,
    body: &'a [u8],
    /// Sent in the place of what was signed.
    sent_target: Option<&'a str>,
    sent_body: Option<&'a [u8]>,
    signature: Option<&'a str>,
}

const GOOD: Push<'static> = Push {
    method: "POST",
    target: PATH,
    key_id: "k1",
    algorithm: Algorithm::HmacSha256,
    secret: KEY,
    at: 0,
    nonce: "nonce-nonce-0001",
    kind: "application/xml",
    body: b"<Document/>",
    sent_target: None,
    sent_body: None,
    signature: None,
};

impl Push<'_> {
    fn bytes(&self) -> Vec<u8> {
        let key = Key::new(self.key_id, self.algorithm, SecretBytes::new(self.secret)).unwrap();
        let path = self.target.split('?').next().unwrap();
        let feed = path.split('/').nth(3).unwrap();
        let request = Request {
            method: self.method,
            target: self.target,
            feed,
        };
        let time = timestamp(minute(0) + chrono::Duration::seconds(self.at));
        let digest = body_digest(self.body);
        let signed = sign(&key, request, &time, self.nonce, &digest);
        let digest = jintuo::base::entropy::hex(&digest);
        let (target, body) = (
            self.sent_target.unwrap_or(self.target),
            self.sent_body.unwrap_or(self.body),
        );
        let head = format!(
            "{} {target} HTTP/1.1\r\nhost: jintuo\r\nconnection: close\r\ncontent-type: {}\r\n\
             content-length: {}\r\njintuo-key: {}\r\njintuo-timestamp: {time}\r\n\
             jintuo-nonce: {}\r\njintuo-digest: {digest}\r\njintuo-signature: {}\r\n\r\n",
            self.method,
            self.kind,
            body.len(),
            self.key_id,
            self.nonce,
            self.signature.unwrap_or(&signed),
        );
        [head.as_bytes(), body].concat()
    }
}

async fn a_push_is_kept_once(store: Store) {
    let service = Service::start(&store).await;
    let named = Push {
        target: "/v1/feeds/icbc/statements?name=%E5%AF%B9%E8%B4%A6.xml",
        ..GOOD
    };
    let first = service.send(&named).await;
    assert_eq!(first.status, 202, "{first:?}");
    assert_eq!(first.body["delivery"], 1);
    assert_eq!(first.body["state"], "received");
    let digest = jintuo::base::entropy::hex(&body_digest(GOOD.body));
    assert_eq!(first.body["digest"], digest.as_str());
    assert!(
        first.head.contains("x-content-type-options: nosniff"),
        "{}",
        first.head
    );
    // The same request again: its nonce is used up. Signed anew: known.
    let again = service.send(&named).await;
    assert_eq!(again.status, 409, "{again:?}");
    let anew = Push {
        nonce: "nonce-nonce-0002",
        ..named.clone()
    };
    let known = service.send(&anew).await;
    assert_eq!((known.status, &known.body), (200, &first.body));
    // A nonce belongs to its key.
    let other_key = Push {
        key_id: "k2",
        algorithm: Algorithm::HmacSm3,
        body: b"other",
        ..GOOD
    };
    let other = service.send(&other_key).await;
    assert_eq!(
        (other.status, &other.body["delivery"]),
        (202, &Value::from(2))
    );
    service.stop().await;
    assert_eq!(store.rows("delivery").await, 2);
    assert_eq!(store.rows("raw_file").await, 2);
    assert_eq!(store.rows("push_nonce").await, 3);
}

async fn of_two_equal_pushes_at_once_one_is_accepted(store: Store) {
    // Two replicas, one database.
    let (one, two) = (Service::start(&store).await, Service::start(&store).await);
    for round in 0..10 {
        let nonce = format!("nonce-nonce-race-{round}");
        let body = format!("statement {round}");
        let push = Push {
            nonce: &nonce,
            body: body.as_bytes(),
            ..GOOD
        };
        let (a, b) = tokio::join!(one.send(&push), two.send(&push));
        let mut statuses = [a.status, b.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [202, 409], "{a:?} {b:?}");
    }
    one.stop().await;
    two.stop().await;
    assert_eq!(store.rows("delivery").await, 10);
}

async fn what_is_not_signed_right_is_not_accepted(store: Store) {
    let service = Service::start(&store).await;
    let with = |change: &dyn Fn(&mut Push<'static>)| {
        let mut push = GOOD;
        change(&mut push);
        push
    };
    let spoilt = [
        with(&|p| p.key_id = "nobody"),
        with(&|p| p.secret = "another key of enough bytes"),
        with(&|p| p.algorithm = Algorithm::HmacSm3),
        with(&|p| p.at = 301),
        with(&|p| p.at = -301),
        with(&|p| p.nonce = "short"),
        with(&|p| p.sent_target = Some("/v1/feeds/icbc/statements?name=b.xml")),
        with(&|p| p.sent_target = Some("/v1/feeds/abc/statements")),
        with(&|p| p.target = "/v1/feeds/abc/statements"),
        with(&|p| p.target = "/v1/feeds/nobody/statements"),
        with(&|p| p.signature = Some("")),
        with(&|p| p.signature = Some("00")),
    ];
    let mut answers = Vec::new();
    for push in &spoilt {
        answers.push(service.send(push).await);
    }
    let text = String::from_utf8(GOOD.bytes()).unwrap();
    for header in [
        "jintuo-key",
        "jintuo-timestamp",
        "jintuo-nonce",
        "jintuo-digest",
        "jintuo-signature",
    ] {
        let line = text.lines().find(|l| l.starts_with(header)).unwrap();
        let without = text.replace(&format!("{line}\r\n"), "");
        answers.push(service.exchange(without.as_bytes()).await);
        let doubled = text.replace(&format!("{line}\r\n"), &format!("{line}\r\n{line}\r\n"));
        answers.push(service.exchange(doubled.as_bytes()).await);
    }
    for answer in &answers {
        assert_eq!(answer.status, 401, "{answer:?}");
        assert_eq!(answer.body, answers[0].body, "the sender learns nothing");
        assert!(
            answer.head.contains("application/problem+json"),
            "{}",
            answer.head
        );
    }
    // A clock a little off is none of these.
    for (at, nonce) in [(300, "nonce-nonce-ahead"), (-300, "nonce-nonce-behind")] {
        let push = Push { at, nonce, ..GOOD };
        assert!(service.send(&push).await.status < 300);
    }
    service.stop().await;
    assert_eq!(store.rows("delivery").await, 1);
}

async fn what_cannot_be_a_statement_is_refused(store: Store) {
    let service = Service::start(&store).await;
    let ask = async |push: Push<'_>| service.send(&push).await.status;
    let with_name = |target| Push { target, ..GOOD };
    assert_eq!(
        ask(Push {
            kind: "image/png",
            ..GOOD
        })
        .await,
        415
    );
    assert_eq!(ask(Push { body: b"", ..GOOD }).await, 422);
    // The head is signed right, the body is another, or none.
    for sent in [&b"<document/>"[..], b""] {
        let sent_body = Some(sent);
        assert_eq!(ask(Push { sent_body, ..GOOD }).await, 422);
    }
    for target in [
        "/v1/feeds/icbc/statements?name=",
        "/v1/feeds/icbc/statements?name=..%2Fa.xml",
        "/v1/feeds/icbc/statements?name=.hidden",
        "/v1/feeds/icbc/statements?name=a%00b",
        "/v1/feeds/icbc/statements?name=%ff",
    ] {
        let answer = ask(with_name(target)).await;
        // What is not UTF-8 becomes a character that stands for it, which is a name.
        let good = target.ends_with("%ff");
        assert_eq!(answer, if good { 202 } else { 422 }, "{target}");
    }
    let get = Push {
        method: "GET",
        ..GOOD
    };
    assert_eq!(ask(get).await, 405);
    // A length beyond the limit is refused before a byte of the body is there.
    let text = String::from_utf8(GOOD.bytes()).unwrap();
    let head = text.split_inclusive("\r\n\r\n").next().unwrap();
    let giant = head.replace(
        "content-length: 11",
        &format!("content-length: {}", (64 << 20) + 1),
    );
    assert_eq!(service.exchange(giant.as_bytes()).await.status, 413);
    // And one that was not announced, when it is reached.
    let chunked = head.replace("content-length: 11", "transfer-encoding: chunked");
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
    let endless = [chunked.as_str(), &chunk.repeat(65)].concat();
    assert_eq!(service.exchange(endless.as_bytes()).await.status, 413);
    service.stop().await;
}

async fn nonces_are_forgotten_when_nobody_accepts_them_any_more(store: Store) {
    let early = Service::start_at(&store, 0).await;
    assert_eq!(early.send(&GOOD).await.status, 202);
    early.stop().await;
    // Ten minutes on it is still known, after that it is gone, and its request long refused.
    for (at, nonces) in [(5, 2), (10, 3), (11, 3)] {
        let later = Service::start_at(&store, at).await;
        let nonce = format!("nonce-nonce-at-{at}");
        let push = Push {
            at: at * 60,
            nonce: &nonce,
            ..GOOD
        };
        assert_eq!(later.send(&push).await.status, 200);
        if at > 5 {
            assert_eq!(later.send(&GOOD).await.status, 401);
        }
        later.stop().await;
        assert_eq!(store.rows("push_nonce").await, nonces, "minute {at}");
    }
}

async fn deliveries_are_numbered_in_the_order_of_commits(store: Store) {
    let db = store.open(0).await;
    let keep = async |feed: &'static str, name: String, body: &'static str| {
        let mut tx = db.begin_write().await.unwrap();
        let kept = deliveries::keep_delivery(&mut tx, feed, &name, body.as_bytes())
            .await
            .unwrap();
        tx.commit().await.unwrap();
        kept
    };
    let (a, b, c, d) = tokio::join!(
        keep("icbc", "a".to_owned(), "A"),
        keep("icbc", "a".to_owned(), "A"),
        keep("icbc", "b".to_owned(), "A"),
        keep("abc", "a".to_owned(), "A"),
    );
    assert_eq!(a.number(), b.number());
    assert_ne!(
        matches!(a, Kept::New(_)),
        matches!(b, Kept::New(_)),
        "{a:?} {b:?}"
    );
    let mut numbers = [a.number(), c.number(), d.number()];
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
    // What is rolled back leaves no number behind.
    let mut tx = db.begin_write().await.unwrap();
    deliveries::keep_delivery(&mut tx, "icbc", "c", b"C")
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(keep("icbc", "d".to_owned(), "D").await, Kept::New(4));
    db.close().await;
    assert_eq!(store.rows("raw_file").await, 2);
}

async fn a_reload_takes_keys_of_feeds_that_are_there(store: Store) {
    use jintuo::web::push::FeedInbox as _;
    let secret = store.dir.write("push-key", KEY);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).unwrap();
    let config = |feeds: &[(&str, &[&str])]| {
        let feed = |(name, ids): &(&str, &[&str])| {
            let key = |id: &&str| {
                format!(
                    "{{ id = {id:?}, algorithm = \"hmac-sha256\", key = {{ file = {secret:?} }} }}"
                )
            };
            let keys: Vec<String> = ids.iter().map(key).collect();
            let keys = keys.join(", ");
            let text = format!(
                "name = {name:?}\nbank = {name:?}\nsource = {{ kind = \"push\", keys = [{keys}] }}"
            );
            toml::from_str(&text).unwrap()
        };
        Config {
            feed: feeds.iter().map(feed).collect(),
            ..Config::default()
        }
    };
    let db = store.open(0).await;
    let inbox = app::DbInbox::new(db.clone(), &config(&[("a", &["1"]), ("b", &["1"])])).unwrap();
    let ids = |feed: &str| -> Vec<String> {
        let keys = inbox.keys(feed);
        keys.iter().map(|key| key.id.clone()).collect()
    };
    // One has another key, one has gone, one is new.
    let other = config(&[("a", &["1", "2"]), ("c", &["1"])]);
    inbox.reload(&other).unwrap();
    assert_eq!(ids("a"), ["1", "2"]);
    assert!(ids("b").is_empty(), "its keys open nothing more");
    assert!(ids("c").is_empty(), "nobody would read what it brings");
    inbox.reload(&config(&[("b", &["3"])])).unwrap();
    assert_eq!((ids("a").len(), ids("b")), (0, vec!["3".to_owned()]));
    db.close().await;
}
