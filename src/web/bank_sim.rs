//! Simulated banks over HTTP and HTTPS: `GET /banks/{bank}/statements?from=…&to=…&cursor=…`, one file an answer, as
//! `config::Https` describes it. For trying feeds out; never part of the service.
//!
//! Invariants: trouble depends on the number of the request at its bank, so that the same requests meet the
//! same trouble; a file is not shown before its day; a client that is slow with its handshake keeps nobody
//! waiting; who does not prove what the bank asks for ([`crate::bank_sim::Door`]) is answered 401 and counts as
//! nobody; a signed request is good once.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use chrono::TimeDelta;
use rustls::ServerConfig;
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::bank_sim::{Admitted, Shown, Sim, SimBank, Today, WireTrouble};
use crate::base::{Day, Instant};
use crate::feed::source::signature;

/// Seconds to stay away after 429.
const RETRY_AFTER_SECONDS: &str = "1";
/// The longest a handshake may take.
const GREETING_TIME_MAX: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct SimState {
    sim: Arc<Sim>,
    /// Requests so far, by bank.
    requests: Arc<BTreeMap<&'static str, AtomicUsize>>,
    /// Nonces used up, each with when nobody would accept it any more.
    used: Arc<Mutex<BTreeMap<String, Instant>>>,
    today: Today,
}

#[derive(Deserialize)]
struct Asked {
    from: Day,
    to: Day,
    cursor: Option<usize>,
}

/// Serves simulated banks until `stop` completes.
///
/// # Errors
/// A listener that fails.
pub async fn serve(
    listener: TcpListener,
    sim: impl Into<Arc<Sim>> + Send,
    today: Today,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let router = router(sim.into(), today);
    // Not gracefully: requests that are never answered would keep it for ever.
    tokio::select! {
        served = axum::serve(listener, router) => served,
        () = stop => Ok(()),
    }
}

/// The same over TLS.
///
/// # Errors
/// See [`serve`].
pub async fn serve_tls(
    listener: TcpListener,
    tls: ServerConfig,
    sim: impl Into<Arc<Sim>> + Send,
    today: Today,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let router = router(sim.into(), today);
    let listener = TlsListener {
        listener,
        tls: TlsAcceptor::from(Arc::new(tls)),
        greeting: JoinSet::new(),
    };
    tokio::select! {
        served = axum::serve(listener, router) => served,
        () = stop => Ok(()),
    }
}

fn router(sim: Arc<Sim>, today: Today) -> Router {
    let counters = sim.banks.iter().map(|b| (b.name, AtomicUsize::new(0)));
    let state = SimState {
        requests: Arc::new(counters.collect()),
        used: Arc::default(),
        sim,
        today,
    };
    Router::new()
        .route("/banks/{bank}/statements", get(answer))
        .with_state(state)
}

/// A connection whose handshake is done, or has failed.
type Greeted = Option<(TlsStream<TcpStream>, SocketAddr)>;

/// Accepts connections and shakes hands with several at once.
struct TlsListener {
    listener: TcpListener,
    tls: TlsAcceptor,
    greeting: JoinSet<Greeted>,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                (stream, peer) = Listener::accept(&mut self.listener) => {
                    let tls = self.tls.clone();
                    self.greeting.spawn(async move {
                        let greeted = tokio::time::timeout(GREETING_TIME_MAX, tls.accept(stream));
                        let stream = greeted.await.ok()?.ok()?;
                        Some((stream, peer))
                    });
                }
                Some(greeted) = self.greeting.join_next() => {
                    if let Ok(Some(greeted)) = greeted {
                        return greeted;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Whether a request proves what its bank asks for, for the first time.
fn is_admitted(state: &SimState, bank: &SimBank, (uri, headers): (&Uri, &HeaderMap)) -> bool {
    let text = |name: &str| {
        let value = headers.get(name).and_then(|v| v.to_str().ok());
        value.unwrap_or_default()
    };
    let shown = Shown {
        authorization: text(header::AUTHORIZATION.as_str()),
        key_id: text(signature::KEY_HEADER),
        timestamp: text(signature::TIMESTAMP_HEADER),
        nonce: text(signature::NONCE_HEADER),
        signature: text(signature::SIGNATURE_HEADER),
    };
    let target = uri.path_and_query().map_or("", PathAndQuery::as_str);
    match bank.door.admits((bank.name, target), shown) {
        Admitted::No => false,
        Admitted::Yes => true,
        Admitted::Once(expires) => {
            let mut used = state.used.lock().unwrap_or_else(PoisonError::into_inner);
            // One that expires with or before this one's own time is refused for its time.
            let own = expires - TimeDelta::seconds(3 * signature::WINDOW_SECONDS);
            used.retain(|_, until| *until > own);
            let nonce = format!("{} {}", bank.name, shown.nonce);
            used.insert(nonce, expires).is_none()
        }
    }
}

async fn answer(
    State(state): State<SimState>,
    Path(bank): Path<String>,
    Query(asked): Query<Asked>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let (Some(bank), Some(counter)) = (state.sim.bank(&bank), state.requests.get(bank.as_str()))
    else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if !is_admitted(&state, bank, (&uri, &headers)) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let number = counter.fetch_add(1, Ordering::Relaxed);
    match bank.wire.get(number).copied().flatten() {
        None => {}
        Some(WireTrouble::ServerError) => return StatusCode::BAD_GATEWAY.into_response(),
        Some(WireTrouble::TooMany) => {
            let wait = [(header::RETRY_AFTER, RETRY_AFTER_SECONDS)];
            return (StatusCode::TOO_MANY_REQUESTS, wait).into_response();
        }
        // Whoever asked gives up in the end, which ends this too.
        Some(WireTrouble::BlackHole) => std::future::pending().await,
    }
    let shown = bank.visible(asked.from, asked.to, (state.today)());
    let at = asked.cursor.unwrap_or(0);
    let Some(file) = shown.get(at) else {
        let none = if at == 0 {
            StatusCode::NO_CONTENT
        } else {
            StatusCode::GONE
        };
        return none.into_response();
    };
    let name = format!("attachment; filename=\"{}\"", file.name);
    let headers = [
        (header::CONTENT_DISPOSITION, name),
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
    ];
    let mut response = (headers, file.bytes.clone()).into_response();
    if at + 1 < shown.len() {
        let next = header::HeaderValue::from(at + 1);
        response.headers_mut().insert("jintuo-next", next);
    }
    response
}
