//! Statements pulled over HTTPS: one GET per window and page.
//!
//! The window is widened by the overlap, in working days, and cut into pieces of the bank's limit. A piece is asked for with
//! `from` and `to`; an answer's body is a file, its header `Jintuo-Next` the cursor to ask for the next one
//! with, and 204 means that there is nothing. The mark names the piece and cursor to go on at, so that an
//! interrupted pull repeats no page; it is empty once a pull is complete.
//!
//! Invariants: redirects are not followed and no proxy is asked; a body is counted while it is read; a
//! request has one time limit from dialling to the last byte; requests of one source keep their least
//! distance, and each is noted with the sink first, which keeps the distance to other sources' requests;
//! nothing of a body, and no header we sent, is in an error.
//! Absent on purpose: HTTP/2, compression, cookies; a retry.

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use chrono::DateTime;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls_platform_verifier::BuilderVerifierExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant as Moment;

use crate::base::{Clock, Day, Entropy};
use crate::config::{self, Auth, Secret};
use crate::policy::CHINA;

use super::resolver::{Door, Unresolved};
use super::signature::{self, Key, Request};
use super::{Arrived, BoxFuture, Sink, Source, SourceError, Surroundings, Window, keep};

/// The most pages of one piece.
const PAGES_MAX: u32 = 10_000;
/// The most characters of a cursor, and of a file's name.
const CURSOR_CHARS_MAX: usize = 1_024;
const NAME_CHARS_MAX: usize = 200;
/// The longest wait a bank may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest a connection may take to be made.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(20);
/// The most headers of an answer.
const HEADERS_MAX: usize = 64;
const NEXT_HEADER: HeaderName = HeaderName::from_static("jintuo-next");

/// An HTTPS feed.
pub(super) struct Https {
    feed: String,
    url: Url,
    client: Client,
    proof: Proof,
    clock: Clock,
    entropy: Entropy,
    window_days: i32,
    overlap_days: u32,
    body_max: u64,
    min_interval: Duration,
    /// Before this moment no further request is made.
    next_request: Mutex<Option<Moment>>,
}

/// How a request proves who asks.
enum Proof {
    None,
    Bearer(HeaderValue),
    Signed(Key),
}

/// Where an interrupted pull goes on.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Mark {
    first: Day,
    last: Day,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    #[serde(default)]
    page: u32,
}

/// One answer.
enum Answer {
    Nothing,
    File {
        name: Option<String>,
        bytes: Vec<u8>,
        next: Option<String>,
    },
    /// The bank does not know the cursor (any more).
    NoSuchCursor,
}

impl Https {
    pub(super) fn new(
        feed: &str,
        settings: &config::Https,
        surroundings: &Surroundings,
    ) -> Result<Https, SourceError> {
        let door = Door::new(
            &settings.allow_private,
            settings.allow_loopback_http,
            surroundings.trust,
            surroundings.lookup.clone(),
        )?;
        let (url, door) = door.open(&settings.url)?;
        let timeout = Duration::from_secs(settings.timeout_seconds.max(1));
        let client = Client::builder()
            .tls_backend_preconfigured(tls(settings)?)
            .https_only(url.scheme() == "https")
            .dns_resolver(door)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .http1_only()
            .http1_max_headers(HEADERS_MAX)
            .connect_timeout(timeout.min(CONNECT_TIMEOUT_MAX))
            .timeout(timeout)
            .user_agent(concat!("jintuo/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| SourceError::permanent("making the client", cause(&e)))?;
        let days = |days: u32| i32::try_from(days).unwrap_or(i32::MAX);
        Ok(Https {
            feed: feed.to_owned(),
            url,
            client,
            proof: proof(&settings.auth)?,
            clock: surroundings.clock,
            entropy: surroundings.entropy.clone(),
            window_days: days(settings.window_days.max(1)),
            overlap_days: settings.overlap_days,
            body_max: settings.body_max_bytes,
            min_interval: Duration::from_millis(settings.min_interval_ms),
            next_request: Mutex::new(None),
        })
    }

    async fn run(
        &self,
        window: Window,
        mark: Option<String>,
        sink: &mut dyn Sink,
    ) -> Result<Option<String>, SourceError> {
        let from = working_days_before(window.first, self.overlap_days);
        let resumed: Option<Mark> = mark
            .and_then(|m| serde_json::from_str(&m).ok())
            .filter(|m: &Mark| m.first <= m.last && m.first <= window.last);
        let mut piece = match resumed {
            Some(mark) => Some(mark),
            None => self.piece(from, window),
        };
        while let Some(mark) = piece {
            let next = self.piece(mark.last.next(), window);
            self.pull(mark, next.as_ref(), sink).await?;
            piece = next;
        }
        Ok(None)
    }

    /// The piece that begins on a day.
    fn piece(&self, first: Day, window: Window) -> Option<Mark> {
        (first <= window.last).then(|| Mark {
            first,
            last: first.plus(self.window_days - 1).min(window.last),
            cursor: None,
            page: 0,
        })
    }

    /// Pulls the pages of one piece.
    async fn pull(
        &self,
        mut mark: Mark,
        next_piece: Option<&Mark>,
        sink: &mut dyn Sink,
    ) -> Result<(), SourceError> {
        let doing = "pulling a page";
        let mut began_again = false;
        while mark.page < PAGES_MAX {
            self.take_turn(sink).await?;
            let answer = self.ask(&mark).await?;
            let (name, bytes, next) = match answer {
                Answer::Nothing => return Ok(()),
                Answer::NoSuchCursor if began_again => {
                    return Err(SourceError::permanent(
                        doing,
                        "the bank refuses its own cursor",
                    ));
                }
                Answer::NoSuchCursor => {
                    began_again = true;
                    // Cursors do not live for ever; what the pages hold is known by its digest.
                    (mark.cursor, mark.page) = (None, 0);
                    continue;
                }
                Answer::File { name, bytes, next } => (name, bytes, next),
            };
            if next.is_some() && next == mark.cursor {
                return Err(SourceError::permanent(doing, "the cursor does not move on"));
            }
            let (first, last, page) = (mark.first, mark.last, mark.page);
            let name = name.unwrap_or_else(|| format!("{first}_{last}_{page}"));
            mark.page += 1;
            mark.cursor = next;
            let done = mark.cursor.is_none();
            let reached = if done { next_piece } else { Some(&mark) };
            // An empty mark says that the pull is complete.
            let reached = reached.map_or(Ok(String::new()), serde_json::to_string);
            let mark_text = reached.map_err(|e| SourceError::permanent(doing, e.to_string()))?;
            let mark_text = Some(mark_text);
            keep(
                sink,
                Arrived {
                    name,
                    bytes,
                    mark: mark_text,
                },
            )
            .await?;
            if done {
                return Ok(());
            }
        }
        Err(SourceError::permanent(
            doing,
            "the bank's pages have no end",
        ))
    }

    async fn ask(&self, mark: &Mark) -> Result<Answer, SourceError> {
        let mut url = self.url.clone();
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("from", &mark.first.to_string());
            query.append_pair("to", &mark.last.to_string());
            if let Some(cursor) = &mark.cursor {
                query.append_pair("cursor", cursor);
            }
        }
        let headers = self.headers(&url)?;
        let sent = self.client.get(url).headers(headers).send().await;
        let response = sent.map_err(|e| failed("asking the bank", &e))?;
        match response.status() {
            StatusCode::OK => {
                let next = header_text(&response, &NEXT_HEADER, CURSOR_CHARS_MAX)?;
                let name = response.headers().get(header::CONTENT_DISPOSITION);
                let name = name.and_then(|v| v.to_str().ok()).and_then(file_name);
                let bytes = self.body(response).await?;
                Ok(Answer::File { name, bytes, next })
            }
            StatusCode::NO_CONTENT => Ok(Answer::Nothing),
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::GONE
                if mark.cursor.is_some() =>
            {
                Ok(Answer::NoSuchCursor)
            }
            status => Err(self.refusal(status, &response)),
        }
    }

    fn headers(&self, url: &Url) -> Result<HeaderMap, SourceError> {
        let mut headers = HeaderMap::new();
        let plain = HeaderValue::from_static;
        headers.insert(header::ACCEPT, plain("*/*"));
        headers.insert(header::ACCEPT_ENCODING, plain("identity"));
        match &self.proof {
            Proof::None => {}
            Proof::Bearer(token) => {
                headers.insert(header::AUTHORIZATION, token.clone());
            }
            Proof::Signed(key) => {
                let doing = "signing a request";
                let nonce = (self.entropy.token())
                    .map_err(|e| SourceError::temporary(doing, e.to_string()))?;
                let timestamp = signature::timestamp(self.clock.now());
                let target = match url.query() {
                    Some(query) => format!("{}?{query}", url.path()),
                    None => url.path().to_owned(),
                };
                let request = Request {
                    method: "GET",
                    target: &target,
                    feed: &self.feed,
                };
                let empty = signature::body_digest(b"");
                let signature = signature::sign(key, request, &timestamp, &nonce, &empty);
                for (name, value) in [
                    (signature::KEY_HEADER, key.id.as_str()),
                    (signature::TIMESTAMP_HEADER, &timestamp),
                    (signature::NONCE_HEADER, &nonce),
                    (signature::SIGNATURE_HEADER, &signature),
                ] {
                    let value = HeaderValue::from_str(value)
                        .map_err(|_| SourceError::permanent(doing, "the key's id is no header"))?;
                    headers.insert(HeaderName::from_static(name), value);
                }
            }
        }
        Ok(headers)
    }

    /// Keeps the least distance between two requests.
    async fn take_turn(&self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        let mut next = self.next_request.lock().await;
        if let Some(moment) = *next {
            tokio::time::sleep_until(moment).await;
        }
        let noted = sink.asks().await;
        noted.map_err(|source| SourceError::Keep {
            name: "the time of a request".to_owned(),
            source,
        })?;
        *next = Some(Moment::now() + self.min_interval);
        Ok(())
    }

    /// The body, counted while it is read: a length that was announced may be a lie.
    async fn body(&self, mut response: Response) -> Result<Vec<u8>, SourceError> {
        let doing = "reading the bank's answer";
        let too_long = || {
            let limit = self.body_max;
            SourceError::permanent(doing, format!("it is longer than {limit} bytes"))
        };
        if let Some(coding) = response.headers().get(header::CONTENT_ENCODING)
            && coding != "identity"
        {
            let reason = "it is compressed, which was not asked for";
            return Err(SourceError::permanent(doing, reason));
        }
        if response.content_length().is_some_and(|n| n > self.body_max) {
            return Err(too_long());
        }
        let mut bytes = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|e| failed(doing, &e))? {
            if (bytes.len() + part.len()) as u64 > self.body_max {
                return Err(too_long());
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }

    fn refusal(&self, status: StatusCode, response: &Response) -> SourceError {
        let doing = "asking the bank";
        let reason = format!("it answered {}", status.as_u16());
        let again = status.is_server_error()
            || [
                StatusCode::REQUEST_TIMEOUT,
                StatusCode::TOO_EARLY,
                StatusCode::TOO_MANY_REQUESTS,
            ]
            .contains(&status);
        if again {
            let after = response.headers().get(header::RETRY_AFTER);
            let after = after.and_then(|v| v.to_str().ok());
            SourceError::Temporary {
                doing,
                reason,
                after: after.and_then(|text| self.retry_after(text)),
            }
        } else if status.is_redirection() {
            SourceError::permanent(doing, format!("{reason}; redirects are not followed"))
        } else {
            SourceError::permanent(doing, reason)
        }
    }

    /// Seconds, or a date.
    fn retry_after(&self, text: &str) -> Option<Duration> {
        let wait = match text.trim().parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => {
                let at = DateTime::parse_from_rfc2822(text.trim()).ok()?;
                (at.to_utc() - self.clock.now())
                    .to_std()
                    .unwrap_or_default()
            }
        };
        Some(wait.min(RETRY_AFTER_MAX))
    }
}

impl Source for Https {
    fn fetch<'a>(
        &'a self,
        window: Window,
        mark: Option<String>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<Option<String>, SourceError>> {
        Box::pin(self.run(window, mark, sink))
    }
}

/// So many working days back: over a long holiday, calendar days would reach no statement at all.
fn working_days_before(day: Day, count: u32) -> Day {
    let mut first = day;
    for _ in 0..count {
        if first <= Day::MIN {
            break;
        }
        first = CHINA.working_day_at_or_before(first.plus(-1));
    }
    first
}

fn proof(auth: &Auth) -> Result<Proof, SourceError> {
    Ok(match auth {
        Auth::None => Proof::None,
        Auth::Bearer { token } => {
            let bytes = [b"Bearer ", token.read()?.expose()].concat();
            let mut value = HeaderValue::from_bytes(&bytes).map_err(|_| {
                SourceError::permanent("reading a secret", format!("{token} holds no token"))
            })?;
            value.set_sensitive(true);
            Proof::Bearer(value)
        }
        Auth::Hmac {
            key_id,
            algorithm,
            key,
        } => Proof::Signed(
            Key::new(key_id, *algorithm, key.read()?)
                .map_err(|e| SourceError::permanent("reading a key", e.to_string()))?,
        ),
    })
}

/// TLS 1.2 and 1.3 with the bank's own authority or the system's, and our certificate if it asks for one.
fn tls(settings: &config::Https) -> Result<rustls::ClientConfig, SourceError> {
    let doing = "preparing TLS";
    let wrong = |reason: String| SourceError::permanent(doing, reason);
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong(e.to_string()))?;
    let builder = match &settings.ca_file {
        Some(path) => builder.with_root_certificates(roots(path)?),
        None => builder
            .with_platform_verifier()
            .map_err(|e| wrong(e.to_string()))?,
    };
    let Some(path) = &settings.client_cert_file else {
        return Ok(builder.with_no_client_auth());
    };
    let (chain, key) = identity(path)?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|e| wrong(format!("{}: {e}", path.display())))
}

/// The authorities of a PEM file.
pub(super) fn roots(path: &Path) -> Result<rustls::RootCertStore, SourceError> {
    let place = path.display();
    let wrong = |reason: String| SourceError::permanent("preparing TLS", reason);
    let bytes = std::fs::read(path).map_err(|e| wrong(format!("{place}: {e}")))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|e| wrong(format!("{place}: {e}")))?;
        let added = roots.add(certificate);
        added.map_err(|e| wrong(format!("{place}: {e}")))?;
    }
    if roots.is_empty() {
        return Err(wrong(format!("{place} holds no certificate")));
    }
    Ok(roots)
}

/// Our certificate with its chain, and the key that belongs to it.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Reads a PEM file of certificate and key.
pub(super) fn identity(path: &Path) -> Result<Identity, SourceError> {
    let place = path.display();
    let wrong = |reason: String| SourceError::permanent("preparing TLS", reason);
    // It holds a key, so it is read with a secret's care.
    let pem = Secret::File(path.to_owned()).read()?;
    let chain = CertificateDer::pem_slice_iter(pem.expose()).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| wrong(format!("{place} holds no certificate")))?;
    let key = PrivateKeyDer::from_pem_slice(pem.expose());
    let key = key.map_err(|_| wrong(format!("{place} holds no key")))?;
    let provider = rustls::crypto::ring::default_provider();
    // Whether the two belong together is found out now rather than at the bank's door.
    rustls::sign::CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider)
        .map_err(|e| wrong(format!("{place}: {e}")))?;
    Ok((chain, key))
}

/// A header of visible ASCII within a limit.
fn header_text(
    response: &Response,
    name: &HeaderName,
    chars_max: usize,
) -> Result<Option<String>, SourceError> {
    let Some(value) = response.headers().get(name) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok("") => Ok(None),
        Ok(text) if text.len() <= chars_max => Ok(Some(text.to_owned())),
        _ => {
            let reason = format!("its header {name} is too long or no text");
            Err(SourceError::permanent("reading the bank's answer", reason))
        }
    }
}

/// The name in `attachment; filename="a.xml"`, if it is one that can stand without a folder.
fn file_name(disposition: &str) -> Option<String> {
    let name = disposition.split(';').find_map(|part| {
        let (key, value) = part.trim().split_once('=')?;
        key.eq_ignore_ascii_case("filename").then_some(value.trim())
    })?;
    let name = name.trim_matches('"');
    let good = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | '\\' | '"');
    let plain = !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.chars().all(good);
    (plain && !name.starts_with('.')).then(|| name.to_owned())
}

fn failed(doing: &'static str, error: &reqwest::Error) -> SourceError {
    let refused = chain(error).any(|e| {
        matches!(e.downcast_ref(), Some(Unresolved::Refused(_))) || tls_error(e).is_some()
    });
    let reason = cause(error);
    if refused || error.is_builder() {
        SourceError::permanent(doing, reason)
    } else {
        SourceError::temporary(doing, reason)
    }
}

/// The cause of a failure, in words that hold nothing of what was sent or answered: the client's own
/// texts may name the address with its query.
fn cause(error: &reqwest::Error) -> String {
    for e in chain(error) {
        if let Some(e) = e.downcast_ref::<Unresolved>() {
            return e.to_string();
        }
        if let Some(e) = tls_error(e) {
            return e.to_string();
        }
    }
    let io = chain(error)
        .filter_map(|e| e.downcast_ref::<io::Error>())
        .last();
    if error.is_timeout() {
        "no answer in time".to_owned()
    } else if error.is_connect() {
        io.map_or("no connection".to_owned(), |e| {
            format!("no connection: {}", e.kind())
        })
    } else if error.is_body() || error.is_decode() {
        "the answer broke off".to_owned()
    } else if error.is_builder() {
        "the client cannot be made of these settings".to_owned()
    } else {
        io.map_or("no answer".to_owned(), |e| {
            format!("no answer: {}", e.kind())
        })
    }
}

fn chain(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let first: &(dyn Error + 'static) = error;
    std::iter::successors(Some(first), |e: &&(dyn Error + 'static)| (*e).source())
}

/// What TLS said, which I/O errors wrap, some twice, without naming it as their source.
fn tls_error<'a>(mut error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    while let Some(inner) = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        error = inner;
    }
    error.downcast_ref()
}
