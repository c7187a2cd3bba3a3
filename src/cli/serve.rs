//! `jintuo serve`: pages, pushes, the scheduler and the admin port in one process, until it is told to stop.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{holder, reload, stop_signal};
use crate::app;
use crate::config::Config;
use crate::feed::source::{self, Surroundings};
use crate::monitor::Monitor;
use crate::schedule::Service;
use crate::store::Db;
use crate::web::{self, WebState};

/// Serves pages and pushes, and works at feeds, deliveries and runs, until it is told to stop.
pub(super) async fn serve(config: &Config, file: Option<PathBuf>) -> anyhow::Result<u8> {
    // How tests have the whole service ask a bank of their own; a release build has no such mood.
    let trial = cfg!(debug_assertions) && config.database.unsafe_dev;
    if let Some(problem) = config.feed.iter().find_map(source::only_for_trials)
        && !trial
    {
        anyhow::bail!("{}: {}; {}", problem.key, problem.problem, problem.remedy);
    }
    let db = app::open(config).await?;
    let _alone = db.lock_server()?;
    let listen = &config.server.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("listening on {listen}"))?;
    let admin = listen_for_admin(&config.server.admin_listen).await?;
    let address = listener.local_addr()?;
    let sources = Arc::new(Surroundings::of_service(*db.clock()));
    let service =
        Service::new(db.clone(), config, sources, &holder()).map_err(anyhow::Error::msg)?;
    let state = app::web_state(db.clone(), config, false).map_err(anyhow::Error::msg)?;
    if let Some(inbox) = &state.inbox {
        reload::on_hangup(file, Arc::clone(inbox))?;
    }
    writeln!(io::stderr(), "serving http://{address}/")?;
    until_told(&db, config, service, state, (listener, admin)).await?;
    db.close().await;
    Ok(0)
}

/// The admin port; `None` where the address is empty.
pub(super) async fn listen_for_admin(address: &str) -> anyhow::Result<Option<TcpListener>> {
    if address.is_empty() {
        return Ok(None);
    }
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("listening on {address}, the admin port (server.admin_listen, empty for none)")
    })?;
    writeln!(
        io::stderr(),
        "admin port http://{}/ (livez, readyz, metrics)",
        listener.local_addr()?
    )?;
    Ok(Some(listener))
}

/// Serves on both listeners and has the service work, until the process is told to stop; then ends each in
/// its order.
pub(super) async fn until_told(
    db: &Db,
    config: &Config,
    service: Service,
    state: WebState,
    (pages, admin): (TcpListener, Option<TcpListener>),
) -> anyhow::Result<()> {
    let (stopper, stopped) = watch::channel(false);
    let stop = |mut stopped: watch::Receiver<bool>| async move {
        let _ = stopped.wait_for(|s| *s).await;
    };
    let watched = admin.map(|listener| {
        let traffic = Arc::clone(&state.traffic);
        let monitor = Monitor::new(db.clone(), config, service.pulse(), traffic)?;
        let served = web::admin::serve(listener, Arc::new(monitor), stop(stopped.clone()));
        Ok(tokio::spawn(served))
    });
    let watched = watched
        .transpose()
        .map_err(|e: String| anyhow::Error::msg(e))?;
    let mut pages = tokio::spawn(web::serve(pages, state, stop(stopped.clone())));
    let mut work = tokio::spawn(async move { service.serve(stop(stopped)).await });
    let early = tokio::select! {
        () = stop_signal() => None,
        ended = &mut pages => Some(ended.map_err(anyhow::Error::new).and_then(|e| Ok(e?))),
        ended = &mut work => Some(ended.map_err(anyhow::Error::new).and_then(|e| Ok(e?))),
    };
    let _ = stopper.send(true);
    if let Some(ended) = early {
        // One of the two has failed, and with it the service.
        ended?;
        anyhow::bail!("the service ended without being told to");
    }
    work.await??;
    // A reader who does not take the page is cut off by the server's own limit.
    pages.await??;
    if let Some(watched) = watched {
        watched.await??;
    }
    Ok(())
}
