//! Serving the router on a listener until told to stop.

use tokio::net::TcpListener;

use super::{WebState, router};

/// Serves pages until `stop` completes; requests under way are finished.
///
/// # Errors
/// A listener that fails.
pub async fn serve(
    listener: TcpListener,
    state: WebState,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(state))
        .with_graceful_shutdown(stop)
        .await
}
