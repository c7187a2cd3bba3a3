//! What is asked and answered, counted.
//!
//! Invariants: an address that anybody may invent counts under one of few routes, so nobody can make us
//! remember it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use axum::http::StatusCode;

/// Classes of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    Overview,
    District,
    Import,
    Asset,
    Push,
    Probe,
    Other,
}

impl Route {
    /// The class of a path.
    pub fn of(path: &str) -> Route {
        match path {
            "/" => Route::Overview,
            "/livez" | "/readyz" => Route::Probe,
            _ if path.starts_with("/districts/") => Route::District,
            _ if path.starts_with("/imports/") => Route::Import,
            _ if path.starts_with("/assets/") => Route::Asset,
            _ if path.starts_with("/v1/feeds/") => Route::Push,
            _ => Route::Other,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Route::Overview => "overview",
            Route::District => "district",
            Route::Import => "import",
            Route::Asset => "asset",
            Route::Push => "push",
            Route::Probe => "probe",
            Route::Other => "other",
        }
    }
}

/// Counts of one listener.
#[derive(Debug, Default)]
pub struct Traffic {
    answers: Mutex<BTreeMap<(Route, u16), u64>>,
    in_flight: AtomicU64,
    shed: AtomicU64,
    turned_away: AtomicU64,
}

/// A request under way; it is over when this is dropped, also where nobody waits for its answer.
pub(super) struct UnderWay<'t> {
    traffic: &'t Traffic,
    route: Route,
}

impl Traffic {
    /// Answers by route and status.
    pub fn answers(&self) -> BTreeMap<(Route, u16), u64> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.clone()
    }

    /// Requests under way.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Requests refused because there were too many.
    pub fn requests_shed(&self) -> u64 {
        self.shed.load(Ordering::Relaxed)
    }

    /// Connections refused because there were too many.
    pub fn connections_turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self, route: Route) -> UnderWay<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        UnderWay {
            traffic: self,
            route,
        }
    }

    pub(super) fn shed(&self) {
        self.shed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }
}

impl UnderWay<'_> {
    pub(super) fn answered(self, status: StatusCode) {
        let answers = &self.traffic.answers;
        let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry((self.route, status.as_u16())).or_default() += 1;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.traffic.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
