//! Pages for people: the city overview, a district's page, and what an import of uploaded files would
//! do; whole HTML from the server.
//!
//! Figures come through one port, [`PageSource`], as the read models of `report`; a page shows
//! exactly these values. The handlers extract, ask the port once, and dress the answer.
//!
//! Invariants: every answer carries the security headers; pages with amounts are never stored;
//! day and unit live in the address, so a bookmark is a saved filter; an address that cannot be
//! read is answered with what to type instead.
//! Absent on purpose: JavaScript, inline style, and anything fetched from another host. Each page
//! is whole in a hardened browser on a closed network.

pub mod admin;
mod assets;
pub mod bank_sim;
mod chart;
mod district;
mod figures;
mod format;
mod message;
mod overview;
mod parts;
pub mod preview;
mod preview_page;
pub mod push;
#[cfg(test)]
mod sample;
mod server;
mod site;
mod table;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::middleware;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use crate::base::Day;
use crate::base::ids::SOURCE_ID_MAX_CHARS;
use crate::report::{DistrictPage, Overview};

use format::Unit;
use message::Problem;
pub use server::{Limits, Route, Traffic, serve, serve_within};
pub use site::{Site, Thresholds, Tier};

/// A future that a port hands out.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where pages get their figures: the books, or invented ones in tests and previews.
///
/// `as_of: None` asks for the latest completed run.
pub trait PageSource: Send + Sync {
    /// The city's figures, `None` where no run of the day is complete.
    fn overview(&self, as_of: Option<Day>) -> BoxFuture<'_, Result<Option<Overview>, PageError>>;

    /// A district's figures, `None` where there is no such district or no completed run.
    fn district(
        &self,
        id: String,
        as_of: Option<Day>,
    ) -> BoxFuture<'_, Result<Option<DistrictPage>, PageError>>;

    /// Whether pages can be answered now.
    fn ready(&self) -> BoxFuture<'_, Result<(), PageError>>;
}

/// Why a page could not be made; the cause is logged, never shown.
#[derive(Debug, thiserror::Error)]
#[error("make a page")]
pub struct PageError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl PageError {
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> PageError {
        PageError(cause.into())
    }
}

impl From<askama::Error> for PageError {
    fn from(cause: askama::Error) -> PageError {
        PageError::new(cause)
    }
}

/// What the handlers share.
#[derive(Clone)]
pub struct WebState {
    pub source: Arc<dyn PageSource>,
    pub site: Arc<Site>,
    /// Where pushes of banks go; without it none is accepted.
    pub inbox: Option<Arc<push::Inbox>>,
    /// Says what an import of uploaded files would do.
    pub previews: Arc<preview::Previews>,
    /// Counts what is asked and answered.
    pub traffic: Arc<Traffic>,
}

/// All routes, with the security headers around them.
pub fn router(state: WebState) -> Router {
    Router::new()
        .route("/", get(show_overview))
        .route("/districts/{id}", get(show_district))
        .route("/imports/new", get(preview::show_form))
        .route(
            "/imports/preview",
            post(preview::show_preview).layer(DefaultBodyLimit::max(preview::BODY_BYTES_MAX)),
        )
        .route("/assets/{name}", get(show_asset))
        .route("/v1/feeds/{feed}/statements", post(push::receive))
        .route("/livez", get(|| async { plain(StatusCode::OK, "ok\n") }))
        .route("/readyz", get(show_ready))
        .fallback(show_missing)
        .method_not_allowed_fallback(show_not_allowed)
        .layer(middleware::map_response(secure))
        .with_state(state)
}

/// What the address asks for.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    as_of: Option<Day>,
    unit: Option<Unit>,
}

/// The parameters as typed; an empty field is no choice.
#[derive(Deserialize)]
struct Params {
    #[serde(default)]
    as_of: String,
    #[serde(default)]
    unit: String,
}

type TypedParams = Result<Query<Params>, QueryRejection>;

impl Asked {
    fn read(params: TypedParams) -> Result<Asked, Problem> {
        let Query(params) = params.map_err(|_| Problem::BadQuery)?;
        let (day, unit) = (params.as_of.trim(), params.unit.trim());
        let as_of = match day {
            "" => None,
            text => {
                let day = Day::parse_iso(text.as_bytes());
                Some(day.ok_or_else(|| Problem::BadDay(text.to_owned()))?)
            }
        };
        let unit = match unit {
            "" => None,
            text => {
                let unit = Unit::from_param(text);
                Some(unit.ok_or_else(|| Problem::BadUnit(text.to_owned()))?)
            }
        };
        Ok(Asked { as_of, unit })
    }

    fn unit(&self) -> Unit {
        self.unit.unwrap_or_default()
    }

    /// The same choice for a link: only what was asked for, so that "latest" stays latest.
    fn query(&self) -> String {
        let day = self.as_of.map(|day| format!("as_of={day}"));
        let unit = self.unit.map(|unit| format!("unit={}", unit.param()));
        let parts: Vec<String> = day.into_iter().chain(unit).collect();
        if parts.is_empty() {
            String::new()
        } else {
            format!("?{}", parts.join("&"))
        }
    }
}

async fn show_overview(State(state): State<WebState>, params: TypedParams) -> Response {
    let page = async {
        let asked = Asked::read(params)?;
        let found = state.source.overview(asked.as_of).await?;
        let overview = found.ok_or(Problem::NoRun(asked.as_of))?;
        Ok(overview::render(&state.site, &asked, &overview)?)
    };
    answer(&state.site, page.await)
}

async fn show_district(
    State(state): State<WebState>,
    Path(id): Path<String>,
    params: TypedParams,
) -> Response {
    let page = async {
        let asked = Asked::read(params)?;
        if id.chars().count() > SOURCE_ID_MAX_CHARS {
            return Err(Problem::NoSuchPage);
        }
        let found = state.source.district(id.clone(), asked.as_of).await?;
        let data = found.ok_or(Problem::NoDistrict {
            id,
            as_of: asked.as_of,
        })?;
        Ok(district::render(&state.site, &asked, &data)?)
    };
    answer(&state.site, page.await)
}

async fn show_asset(State(state): State<WebState>, uri: Uri) -> Response {
    if uri.path() != assets::css_path() {
        return answer(&state.site, Err(Problem::NoSuchPage));
    }
    let headers = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, assets::CSS).into_response()
}

async fn show_ready(State(state): State<WebState>) -> Response {
    match state.source.ready().await {
        Ok(()) => plain(StatusCode::OK, "ready\n"),
        Err(error) => {
            log(&error);
            plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
        }
    }
}

async fn show_missing(State(state): State<WebState>) -> Response {
    answer(&state.site, Err(Problem::NoSuchPage))
}

async fn show_not_allowed(State(state): State<WebState>) -> Response {
    answer(&state.site, Err(Problem::MethodNotAllowed))
}

/// A page, or the page that says why there is none.
fn answer(site: &Site, page: Result<String, Problem>) -> Response {
    let problem = match page {
        Ok(html) => return Html(html).into_response(),
        Err(problem) => problem,
    };
    if let Problem::Failed(error) = &problem {
        log(error);
    }
    let status = problem.status();
    match message::render(site, &problem) {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            log(&error);
            plain(StatusCode::INTERNAL_SERVER_ERROR, "no page could be made\n")
        }
    }
}

fn log(error: &PageError) {
    tracing::error!(error = error as &dyn std::error::Error, "answer a page");
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        text,
    )
        .into_response()
}

const SECURITY_HEADERS: [(HeaderName, HeaderValue); 3] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; \
             base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
];

async fn secure(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.extend(SECURITY_HEADERS);
    // What is not a digest-named asset may carry amounts.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
