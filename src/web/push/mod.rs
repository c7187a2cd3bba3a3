//! Statements that banks push: `POST /v1/feeds/{feed}/statements`, signed as
//! [`crate::feed::source::signature`] lays down. `?name=` gives the file a name.
//!
//! | answer | when |
//! |---|---|
//! | 202 `{"delivery", "digest", "state"}` | the file is kept |
//! | 200, the same | the feed has brought this file before |
//! | 401 | no such feed or key, a clock too far off, a wrong signature: always the same words |
//! | 408 | the body did not come in time |
//! | 409 | the nonce has been used, or is being used: sign again with a new one |
//! | 413, 415, 422 | too large; no type a statement has; no body, another than was signed, or a name that is none |
//! | 429, 503 | too many; come back after `Retry-After` |
//!
//! Invariants: nothing is read of a body before the signature over the head is proved, in which the digest of
//! the body stands, so that who has no key takes no place; never more is read than [`BODY_BYTES_MAX`] and than
//! there are places for ([`Limits`]), of which a feed has its share; nothing is kept of which the digest is
//! another; the file and the nonce are kept in one transaction, so that of two equal requests at once exactly
//! one is accepted; 202 is said after the commit. Errors are `application/problem+json`.
//! Keys are read again when the service is told to ([`Inbox::reload`]): all of them, or none where one cannot
//! be used.
//! Absent on purpose: a detail in 401; a body's time and pace, which are the server's; reading the file,
//! which is intake's.

mod places;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, HttpBody as _};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{self, HeaderMap};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{BoxFuture, PageError, WebState};
use crate::base::Instant;
use crate::base::entropy::hex;
use crate::config::Config;
use crate::feed::source::signature::{self, Claim, Headers, Key};

pub use places::Limits;
use places::{NoPlace, Place, Places};

/// The most one push may hold.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// Pushes of one key within a minute.
const PUSHES_PER_MINUTE_MAX: u32 = 600;
/// Seconds to stay away after 429 and 503.
const RETRY_AFTER_SECONDS: &str = "10";
/// The most characters of a file's name.
const NAME_CHARS_MAX: usize = 200;
/// Types a statement comes as.
const TYPES: [&str; 11] = [
    "application/octet-stream",
    "application/xml",
    "text/xml",
    "text/plain",
    "text/csv",
    "text/html",
    "application/json",
    "application/zip",
    "application/x-ofx",
    "application/vnd.ms-excel",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
];

/// A push whose signature is proved.
#[derive(Clone, Debug)]
pub struct Pushed {
    pub feed: String,
    pub name: String,
    pub bytes: Vec<u8>,
    pub key_id: String,
    pub nonce: String,
    /// Until when the nonce must be remembered.
    pub expires: Instant,
}

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    Kept(Delivered),
    Known(Delivered),
    NonceUsed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub delivery: i64,
    pub digest: Vec<u8>,
    pub state: String,
}

/// Where pushes go: the database, or a list in tests.
pub trait FeedInbox: Send + Sync {
    /// The keys a feed's pushes may be signed with; none where it is not pushed, or not there.
    fn keys(&self, feed: &str) -> Arc<[Key]>;

    /// Takes the keys of other settings, all of them or none, for feeds that are there.
    fn reload(&self, config: &Config) -> Result<(), PageError>;

    /// The time signatures are judged by.
    fn now(&self) -> Instant;

    /// Keeps file, delivery and nonce in one transaction.
    fn receive(&self, push: Pushed) -> BoxFuture<'_, Result<Receipt, PageError>>;
}

/// An inbox with what keeps it from being flooded.
pub struct Inbox {
    port: Arc<dyn FeedInbox>,
    places: Places,
    /// Pushes by key in the minute that is named.
    pushes: Mutex<(i64, HashMap<String, u32>)>,
}

impl Inbox {
    pub fn new(port: Arc<dyn FeedInbox>) -> Inbox {
        Inbox::within(port, Limits::default())
    }

    /// An inbox with other limits than the usual ones.
    pub fn within(port: Arc<dyn FeedInbox>, limits: Limits) -> Inbox {
        Inbox {
            port,
            places: Places::new(limits),
            pushes: Mutex::new((0, HashMap::new())),
        }
    }

    /// Takes the keys of other settings, without a restart.
    ///
    /// # Errors
    /// A key that cannot be used; then the keys stay as they are.
    pub fn reload(&self, config: &Config) -> Result<(), PageError> {
        self.port.reload(config)
    }

    /// Counts a proved push; false where its key has sent too many within this minute.
    fn count(&self, feed: &str, key_id: &str) -> bool {
        let minute = self.port.now().timestamp().div_euclid(60);
        let mut pushes = self.pushes.lock().unwrap_or_else(PoisonError::into_inner);
        if pushes.0 != minute {
            *pushes = (minute, HashMap::new());
        }
        let count = pushes.1.entry(format!("{feed}/{key_id}")).or_default();
        *count += 1;
        *count <= PUSHES_PER_MINUTE_MAX
    }
}

/// Why a push is not kept.
#[derive(Debug)]
enum Refusal {
    Unauthorized(&'static str),
    TooSlow,
    NonceUsed,
    TooLarge,
    UnknownType,
    Unusable(&'static str),
    TooMany,
    Busy,
    BrokenOff,
    Failed(PageError),
}

#[derive(Deserialize)]
pub(super) struct Params {
    name: Option<String>,
}

pub(super) async fn receive(
    State(state): State<WebState>,
    Path(feed): Path<String>,
    params: Result<Query<Params>, QueryRejection>,
    request: Request,
) -> Response {
    let name = params.map(|Query(params)| params.name);
    let done = match &state.inbox {
        Some(inbox) => take(inbox, &feed, name.ok(), request).await,
        None => Err(Refusal::Unauthorized("no feed is pushed")),
    };
    let (status, delivered) = match done {
        Ok(Receipt::Kept(delivered)) => (StatusCode::ACCEPTED, delivered),
        Ok(Receipt::Known(delivered)) => (StatusCode::OK, delivered),
        Ok(Receipt::NonceUsed) => return refuse(&feed, &Refusal::NonceUsed),
        Err(refusal) => return refuse(&feed, &refusal),
    };
    let digest = hex(&delivered.digest);
    tracing::info!(feed.name = %feed, delivery = delivered.delivery, digest = %digest, "push kept");
    let body = json!({
        "delivery": delivered.delivery,
        "digest": digest,
        "state": delivered.state,
    });
    answer(status, "application/json", &body)
}

/// Proves, reads, keeps, in this order. `name` is `None` where the query cannot be read.
async fn take(
    inbox: &Inbox,
    feed: &str,
    name: Option<Option<String>>,
    request: Request,
) -> Result<Receipt, Refusal> {
    let (parts, body) = request.into_parts();
    let target = target(&parts.uri);
    let keys = inbox.port.keys(feed);
    let request = signature::Request {
        method: parts.method.as_str(),
        target: &target,
        feed,
    };
    let headers = signed_headers(&parts.headers)?;
    let claim = Claim::new(&keys, request, headers, inbox.port.now()).map_err(unauthorized)?;
    claim.prove().map_err(unauthorized)?;
    check_type(&parts.headers)?;
    let name = match name {
        Some(None) => format!("push-{}", hex(&claim.digest()[..8])),
        Some(Some(name)) if is_file_name(&name) => name,
        _ => return Err(Refusal::Unusable("the name is no file's name")),
    };
    if !inbox.count(feed, headers.key_id) {
        return Err(Refusal::TooMany);
    }
    let place = inbox.places.take(feed, headers.key_id, headers.nonce);
    let mut place = place.map_err(|none| match none {
        NoPlace::Full => Refusal::Busy,
        NoPlace::HeadTaken => Refusal::NonceUsed,
    })?;
    let bytes = read(body, &mut place).await?;
    if bytes.is_empty() {
        return Err(Refusal::Unusable("there is no body"));
    }
    if Sha256::digest(&bytes)[..] != *claim.digest() {
        return Err(Refusal::Unusable("the body is not the one that was signed"));
    }
    let push = Pushed {
        feed: feed.to_owned(),
        name,
        bytes,
        key_id: headers.key_id.to_owned(),
        nonce: headers.nonce.to_owned(),
        expires: claim.expires(),
    };
    inbox.port.receive(push).await.map_err(Refusal::Failed)
}

/// Path and query, as sent.
fn target(uri: &Uri) -> String {
    uri.path_and_query()
        .map_or_else(|| uri.path().to_owned(), ToString::to_string)
}

fn unauthorized(refused: signature::Refused) -> Refusal {
    use signature::Refused;
    Refusal::Unauthorized(match refused {
        Refused::UnknownKey => "no key of this id",
        Refused::Timestamp => "the timestamp is none, or too far from our clock",
        Refused::Nonce => "the nonce is of a wrong form",
        Refused::Digest => "the digest is of a wrong form",
        Refused::Field => "a signed field holds a control character",
        Refused::Signature => "the signature is wrong",
    })
}

/// The five headers, each exactly once.
fn signed_headers(headers: &HeaderMap) -> Result<Headers<'_>, Refusal> {
    let one = |name: &'static str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next().and_then(|v| v.to_str().ok());
        let alone = values.next().is_none();
        value.filter(|_| alone).ok_or(Refusal::Unauthorized(
            "a signature header is missing or doubled",
        ))
    };
    Ok(Headers {
        key_id: one(signature::KEY_HEADER)?,
        timestamp: one(signature::TIMESTAMP_HEADER)?,
        nonce: one(signature::NONCE_HEADER)?,
        digest: one(signature::DIGEST_HEADER)?,
        signature: one(signature::SIGNATURE_HEADER)?,
    })
}

fn check_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    let kind = kind
        .and_then(|k| k.split(';').next())
        .unwrap_or_default()
        .trim();
    let known = TYPES.iter().any(|t| t.eq_ignore_ascii_case(kind));
    if !known || headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Refusal::UnknownType);
    }
    Ok(())
}

/// The body, counted while it is read.
async fn read(mut body: Body, place: &mut Place<'_>) -> Result<Vec<u8>, Refusal> {
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(Refusal::TooLarge);
    }
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.map_err(broken_off)?.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > BODY_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        if !place.grow(data.len()) {
            return Err(Refusal::Busy);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

fn broken_off(error: axum::Error) -> Refusal {
    let cause = error.into_inner();
    match cause
        .downcast_ref::<std::io::Error>()
        .map(std::io::Error::kind)
    {
        Some(std::io::ErrorKind::TimedOut) => Refusal::TooSlow,
        _ => Refusal::BrokenOff,
    }
}

fn is_file_name(name: &str) -> bool {
    let good = |c: char| !c.is_control() && !matches!(c, '/' | '\\');
    !name.is_empty()
        && name.chars().count() <= NAME_CHARS_MAX
        && name.chars().all(good)
        && !name.starts_with('.')
}

fn refuse(feed: &str, refusal: &Refusal) -> Response {
    let (status, title, detail) = match refusal {
        Refusal::Unauthorized(reason) => {
            tracing::warn!(feed.name = %feed, reason, "push refused");
            (StatusCode::UNAUTHORIZED, "not accepted", None)
        }
        Refusal::TooSlow => (
            StatusCode::REQUEST_TIMEOUT,
            "the body did not come in time",
            None,
        ),
        Refusal::NonceUsed => (
            StatusCode::CONFLICT,
            "the nonce has been used",
            Some("sign the request again with a new nonce"),
        ),
        Refusal::TooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is too large",
            Some("send at most 64 MiB"),
        ),
        Refusal::UnknownType => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "no type a statement has",
            Some("send application/octet-stream, uncompressed"),
        ),
        Refusal::Unusable(what) => (StatusCode::UNPROCESSABLE_ENTITY, "not usable", Some(*what)),
        Refusal::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too many pushes", None),
        Refusal::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", None),
        Refusal::BrokenOff => (StatusCode::BAD_REQUEST, "the body broke off", None),
        Refusal::Failed(error) => {
            tracing::error!(error = error as &dyn std::error::Error, "keep a push");
            (StatusCode::SERVICE_UNAVAILABLE, "not possible now", None)
        }
    };
    let mut body = json!({ "type": "about:blank", "title": title, "status": status.as_u16() });
    if let (Some(detail), Some(object)) = (detail, body.as_object_mut()) {
        object.insert("detail".to_owned(), json!(detail));
    }
    let mut response = answer(status, "application/problem+json", &body);
    if [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ]
    .contains(&status)
    {
        let wait = header::HeaderValue::from_static(RETRY_AFTER_SECONDS);
        response.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    response
}

fn answer(status: StatusCode, kind: &'static str, body: &serde_json::Value) -> Response {
    let headers = [(header::CONTENT_TYPE, kind)];
    (status, headers, body.to_string()).into_response()
}
