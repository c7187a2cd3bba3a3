//! Serving the router on a listener until told to stop, with a limit on everything a stranger can make
//! us hold.
//!
//! | what | limit | past it |
//! |---|---|---|
//! | connections, of all and of one address | [`Limits::connections_max`], [`Limits::connections_per_address_max`] | a bare 503, closed |
//! | a request's head, and the pause between two requests | [`Limits::head_time_max`] | closed |
//! | requests under way | [`Limits::requests_max`] | 503 with `Retry-After`; `/livez` is answered all the same |
//! | a body: announced length, bytes, time, pace | [`pace::Pace`] | 413; the reader's error, and closed |
//! | a request's answer | [`Limits::request_time_max`] | 503 |
//! | an answer that nobody takes | [`Limits::write_time_max`] | closed |
//! | finishing after the stop | [`Limits::drain_time_max`] | cut off |
//!
//! Invariants: nothing is held for a connection past the limits, so memory is bounded by them; a limit that
//! is reached costs others nothing but the place.
//! Absent on purpose: `axum::serve`, which has no limit and whose connections have no timer; HTTP/2, which
//! pages do not need and whose resets would need limits of their own; reading `X-Forwarded-For`, which
//! anybody can write: behind a gateway the gateway's address is the one that is counted.

mod pace;
#[cfg(test)]
mod tests;
mod traffic;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::http::header::{self, HeaderValue};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{WebState, plain, router, secure};
use pace::{Pace, PacedBody, PacedWrites};
pub use traffic::{Route, Traffic};

/// The most a request's head may hold.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// The most a connection reads ahead.
const READ_AHEAD_BYTES_MAX: usize = 64 << 10;
/// How long the listener rests where the machine has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// The least time between two lines of the log about connections turned away.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// Seconds to stay away after 503.
const RETRY_AFTER_SECONDS: &str = "10";
/// What a connection is told for which there is no place.
const TURNED_AWAY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\n\
                             connection: close\r\ncontent-length: 0\r\n\r\n";

/// How much of everything there may be at once, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connections_max: usize,
    /// A gateway in front is one address: no smaller than [`Limits::requests_max`].
    pub connections_per_address_max: usize,
    pub requests_max: usize,
    pub head_time_max: Duration,
    /// The most a body may hold on any route; routes have smaller limits of their own.
    pub body_bytes_max: u64,
    pub body_time_max: Duration,
    /// A body brings at least `body_window_bytes_min` in each such window in which it is waited for.
    pub body_window: Duration,
    pub body_window_bytes_min: u64,
    pub request_time_max: Duration,
    pub write_time_max: Duration,
    pub drain_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 1_024,
            connections_per_address_max: 256,
            requests_max: 128,
            head_time_max: Duration::from_secs(10),
            body_bytes_max: 72 << 20,
            body_time_max: Duration::from_secs(120),
            body_window: Duration::from_secs(10),
            body_window_bytes_min: 10 << 10,
            request_time_max: Duration::from_secs(300),
            write_time_max: Duration::from_secs(30),
            // Within the unit's TimeoutStopSec.
            drain_time_max: Duration::from_secs(25),
        }
    }
}

/// Serves until `stop` completes; requests under way are finished.
///
/// # Errors
/// A listener that fails.
pub async fn serve(
    listener: TcpListener,
    state: WebState,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    serve_within(listener, state, Limits::default(), stop).await
}

/// Serves within other limits than the usual ones.
///
/// # Errors
/// A listener that fails.
pub async fn serve_within(
    listener: TcpListener,
    state: WebState,
    limits: Limits,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let traffic = Arc::clone(&state.traffic);
    serve_router(listener, router(state), traffic, limits, stop).await
}

/// Serves any router.
pub(super) async fn serve_router(
    listener: TcpListener,
    router: Router,
    traffic: Arc<Traffic>,
    limits: Limits,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let shared = Arc::new(Shared {
        router,
        requests: Semaphore::new(limits.requests_max),
        traffic,
        limits,
    });
    let places = Arc::new(Places::default());
    let mut away = TurnedAway::default();
    let mut connections = JoinSet::new();
    let (stopping, stopped) = watch::channel(false);
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = stop.as_mut() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match places.take(peer.ip(), &limits) {
                Some(place) => {
                    let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
                    connections.spawn(async move {
                        let _place = place;
                        hold(stream, &shared, stopped).await;
                    });
                }
                None => {
                    shared.traffic.turned_away();
                    away.note(peer.ip());
                    turn_away(stream);
                }
            },
            Err(e) if is_of_one_connection(&e) => {}
            Err(e) => {
                tracing::error!(error = &e as &dyn std::error::Error, "accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    // There is a receiver as long as there is a connection.
    let _ = stopping.send(true);
    let finished = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.drain_time_max, finished).await.is_err() {
        tracing::warn!(connections = connections.len(), "cut off at the stop");
        connections.shutdown().await;
    }
    Ok(())
}

/// What connections share.
struct Shared {
    router: Router,
    requests: Semaphore,
    traffic: Arc<Traffic>,
    limits: Limits,
}

/// Answers the requests of one connection until it ends, or until the stop.
async fn hold(stream: TcpStream, shared: &Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    // Answers are written whole: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(PacedWrites::new(stream, shared.limits.write_time_max));
    let service = service_fn(|request| answer(Arc::clone(shared), request));
    // Without a timer the head's limit would silently not be kept.
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.head_time_max)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(READ_AHEAD_BYTES_MAX)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let stopping = async {
        // An error says that the server is gone, which is a stop too.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        tracing::debug!(error = &e as &dyn std::error::Error, "a connection ended");
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response, Infallible> {
    let under_way = shared.traffic.begin(Route::of(request.uri().path()));
    let answer = answer_within(&shared, request).await;
    if let Ok(response) = &answer {
        under_way.answered(response.status());
    }
    answer
}

async fn answer_within(
    shared: &Shared,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let limits = &shared.limits;
    let place = shared.requests.try_acquire();
    // Whoever asks whether we live would restart us for being busy.
    if place.is_err() && request.uri().path() != "/livez" {
        shared.traffic.shed();
        return Ok(refuse(StatusCode::SERVICE_UNAVAILABLE, "busy\n").await);
    }
    if request.body().size_hint().lower() > limits.body_bytes_max {
        let text = "the body is too large\n";
        return Ok(refuse(StatusCode::PAYLOAD_TOO_LARGE, text).await);
    }
    let request = request.map(|body| {
        if body.is_end_stream() {
            Body::empty()
        } else {
            Body::new(PacedBody::new(body, Pace::of(limits)))
        }
    });
    let answer = TowerToHyperService::new(shared.router.clone()).call(request);
    match timeout(limits.request_time_max, answer).await {
        Ok(answer) => answer,
        Err(_) => {
            tracing::warn!(limit = ?limits.request_time_max, "a request took too long");
            Ok(refuse(StatusCode::SERVICE_UNAVAILABLE, "this took too long\n").await)
        }
    }
}

/// An answer without the router, on a connection that ends with it.
async fn refuse(status: StatusCode, text: &'static str) -> Response {
    let mut response = secure(plain(status, text)).await;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let wait = HeaderValue::from_static(RETRY_AFTER_SECONDS);
        headers.insert(header::RETRY_AFTER, wait);
    }
    response
}

/// Places for connections.
#[derive(Default)]
struct Places {
    /// Taken ones, by address.
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's place; it is free again once this is dropped, also where its task panics.
struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    fn take(self: &Arc<Places>, peer: IpAddr, limits: &Limits) -> Option<Place> {
        let address = one_sender(peer);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.get(&address).copied().unwrap_or_default();
        if all >= limits.connections_max || own >= limits.connections_per_address_max {
            return None;
        }
        taken.insert(address, own + 1);
        Some(Place {
            places: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = &self.places.taken;
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// What counts as one address: a machine has a whole IPv6 network of 64 bits to itself.
fn one_sender(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

/// Says now and then how many connections were turned away.
#[derive(Default)]
struct TurnedAway {
    since: u64,
    said: Option<Instant>,
}

impl TurnedAway {
    fn note(&mut self, peer: IpAddr) {
        self.since += 1;
        if self
            .said
            .is_none_or(|said| said.elapsed() >= WARNING_INTERVAL)
        {
            tracing::warn!(connections = self.since, last.address = %peer, "turned away: no place");
            (self.since, self.said) = (0, Some(Instant::now()));
        }
    }
}

/// Says so without waiting: who floods us must not keep the listener.
fn turn_away(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        // A request that lies unread would cut the answer off with a reset.
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write(TURNED_AWAY);
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
