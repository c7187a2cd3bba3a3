//! The admin port: `/livez`, `/readyz` and `/metrics`, for whoever runs the service.
//!
//! Invariants: a router and a listener of its own, so none of it is reached through the pages' port; no
//! page, push or preview is reached through this one.
//! Absent on purpose: sign-in. It listens on loopback unless the settings say otherwise, and tells nothing
//! of accounts, institutions or persons.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::server::{Limits, serve_router};
use super::{BoxFuture, plain, secure};

/// Prometheus's text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// A few probes and scrapers.
const CONNECTIONS_MAX: usize = 64;
const REQUESTS_MAX: usize = 16;

/// Says how the service does.
pub trait Watch: Send + Sync {
    /// Whether it can work now; if not, why.
    fn ready(&self) -> BoxFuture<'_, Result<(), String>>;

    /// Its figures in Prometheus's text format.
    fn metrics(&self) -> BoxFuture<'_, String>;
}

/// Serves the admin port until `stop` completes.
///
/// # Errors
/// A listener that fails.
pub async fn serve(
    listener: TcpListener,
    watch: Arc<dyn Watch>,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let limits = Limits {
        connections_max: CONNECTIONS_MAX,
        connections_per_address_max: CONNECTIONS_MAX,
        requests_max: REQUESTS_MAX,
        body_bytes_max: 0,
        ..Limits::default()
    };
    // Its own requests would only hide those of pages.
    serve_router(listener, router(watch), Arc::default(), limits, stop).await
}

fn router(watch: Arc<dyn Watch>) -> Router {
    Router::new()
        .route("/livez", get(|| async { plain(StatusCode::OK, "ok\n") }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(|| async { plain(StatusCode::NOT_FOUND, "livez, readyz, metrics\n") })
        .layer(middleware::map_response(secure))
        .with_state(watch)
}

async fn ready(State(watch): State<Arc<dyn Watch>>) -> Response {
    match watch.ready().await {
        Ok(()) => plain(StatusCode::OK, "ready\n"),
        Err(reason) => {
            tracing::warn!(reason = %reason, "not ready");
            let text = format!("not ready: {reason}\n");
            let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            (StatusCode::SERVICE_UNAVAILABLE, headers, text).into_response()
        }
    }
}

async fn metrics(State(watch): State<Arc<dyn Watch>>) -> Response {
    let headers = [(header::CONTENT_TYPE, METRICS_TYPE)];
    (headers, watch.metrics().await).into_response()
}
