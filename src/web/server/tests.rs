//! Each limit, reached through a socket on loopback. Where a limit is a time, the clock is tokio's paused
//! one, which goes on only while nothing else can be done.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, Semaphore, oneshot};

use super::{Limits, Places, one_sender, serve_within};
use crate::base::entropy::hex;
use crate::base::{Day, Instant};
use crate::config::{Algorithm, Config, SecretBytes};
use crate::feed::source::signature::{Key, Request, body_digest, sign};
use crate::report::{DistrictPage, Overview};
use crate::web::push::{self, Delivered, FeedInbox, Inbox, Pushed, Receipt};
use crate::web::sample::{self, SampleSource};
use crate::web::{BoxFuture, PageError, PageSource, WebState};

/// Served on loopback until told to stop.
struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Served {
    async fn start(state: WebState, limits: Limits) -> Served {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let stopped = async { stopped.await.unwrap_or_default() };
            serve_within(listener, state, limits, stopped).await
        });
        Served {
            address,
            stop,
            task,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// From another address of this machine.
    async fn connect_from(&self, own: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        let own: IpAddr = own.parse().unwrap();
        socket.bind(SocketAddr::new(own, 0)).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// What comes until the server closes.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // A server that refuses may close before it has read everything.
        let _ = stream.write_all(bytes).await;
        rest(stream).await
    }

    async fn get(&self, path: &str) -> String {
        self.exchange(get(path).as_bytes()).await
    }
}

async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: jintuo\r\nconnection: close\r\n\r\n")
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

fn city() -> WebState {
    sample::state(SampleSource::City)
}

/// Pages that are not ready until told so.
#[derive(Default)]
struct Gate {
    asked: Notify,
    open: Notify,
}

impl PageSource for Gate {
    fn overview(&self, _: Option<Day>) -> BoxFuture<'_, Result<Option<Overview>, PageError>> {
        Box::pin(async {
            self.asked.notify_one();
            self.open.notified().await;
            Ok(Some(sample::overview()))
        })
    }

    fn district(
        &self,
        _: String,
        _: Option<Day>,
    ) -> BoxFuture<'_, Result<Option<DistrictPage>, PageError>> {
        Box::pin(async { Ok(None) })
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), PageError>> {
        Box::pin(async { Ok(()) })
    }
}

fn gated() -> (Arc<Gate>, WebState) {
    let gate = Arc::new(Gate::default());
    let source: Arc<dyn PageSource> = gate.clone();
    (gate, WebState { source, ..city() })
}

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
const AT: &str = "2026-06-30T10:30:00Z";
const PATH: &str = "/v1/feeds/icbc/statements";

/// Keeps nothing; its clock stands at [`AT`].
struct Counter {
    kept: Semaphore,
}

fn key() -> Key {
    Key::new("k1", Algorithm::HmacSha256, SecretBytes::new(KEY)).unwrap()
}

impl FeedInbox for Counter {
    fn keys(&self, _: &str) -> Arc<[Key]> {
        Arc::from([key()])
    }

    fn reload(&self, _: &Config) -> Result<(), PageError> {
        Ok(())
    }

    fn now(&self) -> Instant {
        AT.parse().unwrap()
    }

    fn receive(&self, push: Pushed) -> BoxFuture<'_, Result<Receipt, PageError>> {
        Box::pin(async move {
            self.kept.add_permits(1);
            Ok(Receipt::Kept(Delivered {
                delivery: 1,
                digest: body_digest(&push.bytes),
                state: "received".to_owned(),
            }))
        })
    }
}

fn pushed(limits: push::Limits) -> (Arc<Counter>, WebState) {
    let counter = Arc::new(Counter {
        kept: Semaphore::new(0),
    });
    let inbox = Inbox::within(counter.clone(), limits);
    let inbox = Some(Arc::new(inbox));
    (counter, WebState { inbox, ..city() })
}

/// The head of a push of a body, announced by `length`.
fn push_head(body: &[u8], length: &str) -> String {
    signed_head("icbc", "nonce-nonce-0001", body, length)
}

fn signed_head(feed: &str, nonce: &str, body: &[u8], length: &str) -> String {
    let target = &format!("/v1/feeds/{feed}/statements");
    let request = Request {
        method: "POST",
        target,
        feed,
    };
    let digest = body_digest(body);
    let signature = sign(&key(), request, AT, nonce, &digest);
    let digest = hex(&digest);
    format!(
        "POST {target} HTTP/1.1\r\nhost: jintuo\r\nconnection: close\r\n{length}\r\n\
         content-type: application/octet-stream\r\njintuo-key: k1\r\njintuo-timestamp: {AT}\r\n\
         jintuo-nonce: {nonce}\r\njintuo-digest: {digest}\r\n\
         jintuo-signature: {signature}\r\n\r\n"
    )
}

fn announced(body: &[u8]) -> String {
    push_head(body, &format!("content-length: {}", body.len()))
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_end_is_given_up() {
    let served = Served::start(city(), Limits::default()).await;
    let began = tokio::time::Instant::now();
    let answer = served.exchange(b"GET /livez HTTP/1.1\r\nhost: jin").await;
    assert_eq!(answer, "");
    assert!(began.elapsed() >= Limits::default().head_time_max);
    assert!(began.elapsed() < Limits::default().head_time_max * 2);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_is_given_up() {
    let served = Served::start(city(), Limits::default()).await;
    let (mut from_server, mut to_server) = served.connect().await.into_split();
    let dripping = tokio::spawn(async move {
        let _ = to_server.write_all(b"GET /livez HTTP/1.1\r\n").await;
        // Ends with the connection.
        while to_server.write_all(b"x: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let began = tokio::time::Instant::now();
    let mut bytes = Vec::new();
    let _ = from_server.read_to_end(&mut bytes).await;
    assert!(bytes.is_empty());
    assert!(began.elapsed() < Limits::default().head_time_max * 2);
    dripping.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_asks_nothing_more_is_closed() {
    let served = Served::start(city(), Limits::default()).await;
    let keep = get("/livez").replace("connection: close\r\n", "");
    let answer = served.exchange(keep.as_bytes()).await;
    assert_eq!(status(&answer), "200");
    assert!(!answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let served = Served::start(city(), Limits::default()).await;
    let long = format!("GET /livez HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(40_000));
    assert_eq!(status(&served.exchange(long.as_bytes()).await), "431");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming_is_given_up() {
    let (counter, state) = pushed(push::Limits::default());
    let served = Served::start(state, Limits::default()).await;
    let body = [b'x'; 1_000];
    let half = [announced(&body).as_bytes(), &body[..500]].concat();
    let answer = served.exchange(&half).await;
    assert_eq!(status(&answer), "408", "{answer}");
    assert_eq!(counter.kept.available_permits(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_is_given_up_in_the_end_whatever_its_pace() {
    let limits = Limits {
        body_window_bytes_min: 1,
        ..Limits::default()
    };
    let (_, state) = pushed(push::Limits::default());
    let served = Served::start(state, limits).await;
    let (mut from_server, mut to_server) = served.connect().await.into_split();
    let began = tokio::time::Instant::now();
    let dripping = tokio::spawn(async move {
        let head = announced(&[b'x'; 1_000]);
        let _ = to_server.write_all(head.as_bytes()).await;
        while to_server.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let mut bytes = Vec::new();
    let _ = from_server.read_to_end(&mut bytes).await;
    let answer = String::from_utf8(bytes).unwrap();
    assert_eq!(status(&answer), "408", "{answer}");
    assert!(began.elapsed() >= limits.body_time_max);
    assert!(began.elapsed() < limits.body_time_max + Duration::from_secs(10));
    drop(from_server);
    dripping.await.unwrap();
}

/// No byte of these bodies is sent: an answer means that none was waited for.
#[tokio::test]
async fn an_announced_length_beyond_the_limit_is_refused_unread() {
    let (_, state) = pushed(push::Limits::default());
    let served = Served::start(state, Limits::default()).await;
    let giant = "content-length: 2147483648";
    for request in [
        push_head(b"", giant),
        push_head(b"", giant).replace("POST", "PUT"),
        push_head(b"", giant).replace(PATH, "/"),
        push_head(b"", giant).replace(PATH, "/nowhere"),
        push_head(b"", "content-length: 67108865"),
    ] {
        let answer = served.exchange(request.as_bytes()).await;
        assert_eq!(status(&answer), "413", "{answer}");
        assert!(answer.contains("x-content-type-options: nosniff"));
    }
    // Without a right key not even an allowed length is waited for.
    let stranger = push_head(b"", "content-length: 67108864").replace("key: k1", "key: k2");
    let answer = served.exchange(stranger.as_bytes()).await;
    assert_eq!(status(&answer), "401", "{answer}");
}

/// Heads with a key's id that everybody may know and without the key, each with an allowed length of which
/// no byte comes: none takes a place, so the only one there is is the bank's.
#[tokio::test]
async fn who_cannot_sign_takes_no_place() {
    let (counter, state) = pushed(push::Limits {
        bodies_max: 1,
        ..push::Limits::default()
    });
    let served = Served::start(state, Limits::default()).await;
    let body = [b'x'; 600];
    let mut strangers = Vec::new();
    for n in 0..40 {
        let head = signed_head(
            "icbc",
            &format!("nonce-nonce-{n:04}"),
            b"",
            "content-length: 67108864",
        );
        let forged = head.replace("jintuo-signature: ", "jintuo-signature: 00");
        let mut stream = served.connect().await;
        stream.write_all(forged.as_bytes()).await.unwrap();
        strangers.push(stream);
    }
    let whole = [announced(&body).as_bytes(), &body].concat();
    assert_eq!(status(&served.exchange(&whole).await), "202");
    for stream in strangers {
        assert_eq!(status(&rest(stream).await), "401");
    }
    assert_eq!(counter.kept.available_permits(), 1);
}

/// A bank that sends slowly, or a head that was overheard: other banks have their places all the same.
#[tokio::test]
async fn slow_bodies_of_one_feed_leave_the_others_theirs() {
    let (counter, state) = pushed(push::Limits {
        bodies_max: 4,
        bodies_of_feed_max: 2,
        bytes_max: 2_000,
        bytes_of_feed_max: 1_000,
    });
    let served = Served::start(state, Limits::default()).await;
    let body = [b'x'; 1_000];
    let length = "content-length: 1000";
    let head = |feed: &str, nonce: &str| signed_head(feed, nonce, &body, length);
    let mut slow = Vec::new();
    for nonce in ["nonce-nonce-slow1", "nonce-nonce-slow2"] {
        let asking = head("icbc", nonce).replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");
        let mut stream = served.connect().await;
        stream.write_all(asking.as_bytes()).await.unwrap();
        // The body is asked for: its place is taken.
        let mut told = [0; 25];
        stream.read_exact(&mut told).await.unwrap();
        assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"x").await.unwrap();
        // The same head again takes none.
        let again = served.exchange(head("icbc", nonce).as_bytes()).await;
        assert_eq!(status(&again), "409", "{again}");
        slow.push(stream);
    }
    let third = served
        .exchange(head("icbc", "nonce-nonce-third").as_bytes())
        .await;
    assert_eq!(status(&third), "503", "{third}");
    for n in 0..3 {
        let nonce = format!("nonce-nonce-good{n}");
        let whole = [head("abc", &nonce).as_bytes(), &body].concat();
        assert_eq!(status(&served.exchange(&whole).await), "202");
    }
    // A slow sender who does send is kept too.
    let mut last = slow.pop().unwrap();
    drop(slow);
    last.write_all(&body[1..]).await.unwrap();
    assert_eq!(status(&rest(last).await), "202");
    assert_eq!(counter.kept.available_permits(), 4);
}

#[tokio::test]
async fn bodies_together_stay_within_their_limit() {
    let (counter, state) = pushed(push::Limits {
        bytes_max: 1_000,
        ..push::Limits::default()
    });
    let served = Served::start(state, Limits::default()).await;
    let body = [b'x'; 600];
    let whole = [announced(&body).as_bytes(), &body].concat();
    // One alone beyond the limit, and two that would be together.
    let large = [b'x'; 1_001];
    let answer = served
        .exchange(&[announced(&large).as_bytes(), &large].concat())
        .await;
    assert_eq!(status(&answer), "503", "{answer}");
    assert!(answer.contains("retry-after: 10"), "{answer}");
    for _ in 0..3 {
        // A body that was kept has given its share back.
        assert_eq!(status(&served.exchange(&whole).await), "202");
    }
    assert_eq!(counter.kept.available_permits(), 3);
}

#[tokio::test]
async fn there_is_a_limit_to_connections_of_an_address_and_of_all() {
    let limits = Limits {
        connections_max: 3,
        connections_per_address_max: 2,
        ..Limits::default()
    };
    let served = Served::start(city(), limits).await;
    // The listener takes connections in their order, so these are held when the next one comes.
    let (_one, _two) = (served.connect().await, served.connect().await);
    let third = rest(served.connect().await).await;
    assert_eq!(status(&third), "503");
    assert!(third.contains("retry-after: 10"), "{third}");
    let mut other = served.connect_from("127.0.0.2").await;
    let full = rest(served.connect_from("127.0.0.3").await).await;
    assert_eq!(status(&full), "503");
    other.write_all(get("/livez").as_bytes()).await.unwrap();
    assert_eq!(status(&rest(other).await), "200");
}

#[test]
fn a_place_that_is_left_is_free() {
    let limits = Limits {
        connections_max: 2,
        connections_per_address_max: 1,
        ..Limits::default()
    };
    let (one, two): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    let places = Arc::new(Places::default());
    let held = places.take(one, &limits).unwrap();
    assert!(places.take(one, &limits).is_none());
    let other = places.take(two, &limits).unwrap();
    assert!(places.take("10.0.0.3".parse().unwrap(), &limits).is_none());
    drop(held);
    assert!(places.take(one, &limits).is_some());
    drop(other);
    assert!(places.taken.lock().unwrap().is_empty());
    // An IPv6 network is one sender, an IPv4 address is itself however it is written.
    let sender = |text: &str| one_sender(text.parse().unwrap());
    assert_eq!(sender("2001:db8::1"), sender("2001:db8::ffff:1"));
    assert_ne!(sender("2001:db8::1"), sender("2001:db8:0:1::1"));
    assert_eq!(sender("::ffff:10.0.0.1"), one);
}

#[tokio::test]
async fn a_request_beyond_the_limit_is_told_to_come_back() {
    let (gate, state) = gated();
    let limits = Limits {
        requests_max: 1,
        ..Limits::default()
    };
    let served = Served::start(state, limits).await;
    let mut slow = served.connect().await;
    slow.write_all(get("/").as_bytes()).await.unwrap();
    gate.asked.notified().await;
    let busy = served.get("/readyz").await;
    assert_eq!(status(&busy), "503");
    assert!(busy.contains("retry-after: 10"), "{busy}");
    assert!(busy.contains("cache-control: no-store"), "{busy}");
    assert_eq!(status(&served.get("/livez").await), "200");
    gate.open.notify_one();
    assert_eq!(status(&rest(slow).await), "200");
    assert_eq!(status(&served.get("/readyz").await), "200");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_too_long_is_given_up() {
    let (_gate, state) = gated();
    let served = Served::start(state, Limits::default()).await;
    assert_eq!(status(&served.get("/").await), "503");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_takes_is_given_up() {
    let (near, far) = tokio::io::duplex(16);
    let mut writes = super::PacedWrites::new(near, Duration::from_secs(30));
    let stuck = writes.write_all(&[0; 100]).await.unwrap_err();
    assert_eq!(stuck.kind(), std::io::ErrorKind::TimedOut);
    drop(far);
}

#[tokio::test]
async fn a_request_under_way_is_finished_after_the_stop() {
    let (gate, state) = gated();
    let served = Served::start(state, Limits::default()).await;
    let mut slow = served.connect().await;
    slow.write_all(get("/").as_bytes()).await.unwrap();
    gate.asked.notified().await;
    served.stop.send(()).unwrap();
    gate.open.notify_one();
    let answer = rest(slow).await;
    assert_eq!(status(&answer), "200");
    assert!(answer.ends_with("</html>\n") || answer.ends_with("</html>"));
    served.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_stop_waits_no_longer_than_its_limit() {
    let (gate, state) = gated();
    let served = Served::start(state, Limits::default()).await;
    let mut slow = served.connect().await;
    slow.write_all(get("/").as_bytes()).await.unwrap();
    gate.asked.notified().await;
    let began = tokio::time::Instant::now();
    served.stop.send(()).unwrap();
    served.task.await.unwrap().unwrap();
    let limit = Limits::default().drain_time_max;
    assert!(began.elapsed() >= limit && began.elapsed() < limit * 2);
    assert_eq!(rest(slow).await, "");
}
