//! The upload preview: `GET /imports/new` asks for files, `POST /imports/preview` says what an import of
//! them would do. Nothing is stored, and nothing here imports: there is no sign-in yet.
//!
//! | answer | when |
//! |---|---|
//! | 200 | the preview, also where every file is refused |
//! | 400 | no multipart form, or one that breaks off |
//! | 403 | the form stands on another site |
//! | 408 | the body did not come in time |
//! | 413 | more than [`BODY_BYTES_MAX`] or [`FILES_MAX`] |
//! | 422 | no file, nothing that can be read as a bundle or statement, or a field that holds no account or unit |
//! | 503 | another preview or import is at work, or this one took too long; `Retry-After` |
//!
//! Invariants: a file's name is a label and never a path; one preview at a time, for at most
//! [`PREVIEW_TIME_MAX`], because it keeps writers waiting; a preview whose reader has gone still ends,
//! and the next waits for it.
//! Absent on purpose: a token against cross-site forms. A foreign form can at most make the reader's
//! browser show the reader a preview; what a browser says of the form's site is checked all the same.
//! Our own pages send no referrer, so that browsers send `Origin: null` with their form: only another
//! origin that is named, or a `Sec-Fetch-Site` that says so, tells a foreign one.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest as _, Multipart, Request, State};
use axum::http::header::{self, HeaderMap};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::Semaphore;

use super::message::Problem;
use super::{BoxFuture, PageError, WebState, answer, preview_page};
use crate::intake::Summary;
use crate::wire::Assumptions;

/// The most bytes of one upload, its files together and what stands around them.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// Files of one upload.
pub const FILES_MAX: usize = 64;
/// The longest a body may take to come.
const BODY_TIME_MAX: Duration = Duration::from_secs(120);
/// Bodies being read at once; a further one is told to come back.
const BODIES_MAX: usize = 2;
/// The longest a preview may take: less than writers wait for it.
pub const PREVIEW_TIME_MAX: Duration = Duration::from_secs(20);
/// Seconds to stay away after 503.
const RETRY_AFTER_SECONDS: &str = "10";
/// Fields of the form that are no files: what a file may leave open.
pub(super) const ACCOUNT_FIELD: &str = "account";
pub(super) const AMOUNT_UNIT_FIELD: &str = "amount_unit";
/// The most bytes of such a field.
const TEXT_BYTES_MAX: usize = 256;
/// The most characters of a file's name.
const NAME_CHARS_MAX: usize = 200;

/// A file as it was sent. The name says what it is called, never where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// What the form holds.
#[derive(Debug, Default)]
pub(super) struct Form {
    files: Vec<Upload>,
    assumed: Assumptions,
}

/// Why there is no preview.
#[derive(Debug)]
pub enum NoPreview {
    /// Nothing that can be read: why.
    Nothing(String),
    /// A file of a bundle, and an account or a unit, which are of statements only.
    Apart,
    /// An import was interrupted and is half in the books.
    HalfTaken,
    /// Another import is at work.
    Busy,
    /// It took longer than [`PREVIEW_TIME_MAX`].
    TooLong,
    Failed(PageError),
}

/// Says what an import would do: the database, or canned words in tests.
pub trait ImportPreview: Send + Sync {
    /// `assumed` is what statement files that leave it open are taken to say.
    fn preview(
        &self,
        files: Vec<Upload>,
        assumed: Assumptions,
    ) -> BoxFuture<'static, Result<Summary, NoPreview>>;
}

/// The port with what keeps it from being flooded.
pub struct Previews {
    port: Arc<dyn ImportPreview>,
    bodies: Semaphore,
    one: Arc<Semaphore>,
}

impl Previews {
    pub fn new(port: Arc<dyn ImportPreview>) -> Previews {
        Previews {
            port,
            bodies: Semaphore::new(BODIES_MAX),
            one: Arc::new(Semaphore::new(1)),
        }
    }
}

pub(super) async fn show_form(State(state): State<WebState>) -> Response {
    answer(
        &state.site,
        preview_page::form(&state.site).map_err(Problem::from),
    )
}

pub(super) async fn show_preview(State(state): State<WebState>, request: Request) -> Response {
    let page = async {
        check_site(request.headers())?;
        let form = read(&state.previews, request).await?;
        let summary = preview(&state.previews, form).await?;
        Ok(preview_page::render(&state.site, &summary)?)
    };
    let mut response = answer(&state.site, page.await);
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        let wait = HeaderValue::from_static(RETRY_AFTER_SECONDS);
        response.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    response
}

/// Refuses a form that stands on another site, as far as the browser says so.
fn check_site(headers: &HeaderMap) -> Result<(), Problem> {
    let one = |name| headers.get(name).map(|v: &HeaderValue| v.to_str().ok());
    let from_here = match (one("sec-fetch-site"), one("origin"), one("host")) {
        (Some(site), _, _) => matches!(site, Some("same-origin" | "none")),
        (None, None | Some(Some("null")), _) => true,
        (None, Some(origin), host) => {
            let named = origin.and_then(|o| o.split_once("://")).map(|o| o.1);
            named.is_some() && Some(named) == host
        }
    };
    if from_here {
        Ok(())
    } else {
        Err(Problem::ForeignForm)
    }
}

/// The form, its bytes counted while they are read.
async fn read(previews: &Previews, request: Request) -> Result<Form, Problem> {
    let _slot = previews.bodies.try_acquire().map_err(|_| Problem::Busy)?;
    let reading = async {
        let form = Multipart::from_request(request, &()).await;
        let mut form = form.map_err(|_| Problem::BadUpload)?;
        let mut files = Vec::new();
        let mut assumed = Assumptions::default();
        let mut total = 0;
        while let Some(field) = form.next_field().await.map_err(broken)? {
            let Some(name) = field.file_name().map(label) else {
                assume(&mut assumed, field).await?;
                continue;
            };
            let bytes = bytes(field, BODY_BYTES_MAX - total).await?;
            // A browser sends one nameless empty file where none was chosen.
            if name.is_empty() && bytes.is_empty() {
                continue;
            }
            if files.len() == FILES_MAX {
                return Err(Problem::TooLarge);
            }
            total += bytes.len();
            files.push(Upload { name, bytes });
        }
        Ok(Form { files, assumed })
    };
    let read = tokio::time::timeout(BODY_TIME_MAX, reading).await;
    let form = read.map_err(|_| Problem::TooSlow)??;
    if form.files.is_empty() {
        return Err(Problem::NothingToPreview(String::new()));
    }
    Ok(form)
}

/// Takes what a field says that is no file; one left empty says nothing, and one we do not ask for is not read.
async fn assume(assumed: &mut Assumptions, field: Field<'_>) -> Result<(), Problem> {
    let name = field.name().unwrap_or_default().to_owned();
    if name != ACCOUNT_FIELD && name != AMOUNT_UNIT_FIELD {
        return Ok(());
    }
    let text = bytes(field, TEXT_BYTES_MAX).await;
    let text = text.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
    if name == ACCOUNT_FIELD {
        let wrong = |text: &str| Problem::BadAccount(text.to_owned());
        let text = text.map_err(|e| match e {
            Problem::TooLarge => wrong("…"),
            other => other,
        })?;
        if text.contains([' ', '/']) || text.contains(char::is_control) {
            return Err(wrong(&text));
        }
        assumed.account = Some(text).filter(|t| !t.is_empty());
    } else {
        let text = text.map_err(|e| match e {
            Problem::TooLarge => Problem::BadAmountUnit("…".to_owned()),
            other => other,
        })?;
        assumed.amount_unit = match text.as_str() {
            "" => None,
            text => Some(
                text.parse()
                    .map_err(|_| Problem::BadAmountUnit(text.to_owned()))?,
            ),
        };
    }
    Ok(())
}

async fn bytes(mut field: Field<'_>, most: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > most {
            return Err(Problem::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn broken(error: MultipartError) -> Problem {
    if error.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::TooLarge
    } else {
        Problem::BadUpload
    }
}

/// The last part of what the browser calls the file, without what would garble a line.
fn label(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain = last.chars().filter(|c| !c.is_control());
    plain.take(NAME_CHARS_MAX).collect()
}

/// Runs on its own, so that a reader who leaves does not set the next one free too early.
async fn preview(previews: &Previews, form: Form) -> Result<Summary, Problem> {
    let slot = Arc::clone(&previews.one).try_acquire_owned();
    let slot = slot.map_err(|_| Problem::Busy)?;
    let work = previews.port.preview(form.files, form.assumed);
    let done = tokio::spawn(async move {
        let done = work.await;
        drop(slot);
        done
    });
    match done.await {
        Ok(Ok(summary)) => Ok(summary),
        Ok(Err(NoPreview::Nothing(why))) => Err(Problem::NothingToPreview(why)),
        Ok(Err(NoPreview::Apart)) => Err(Problem::Apart),
        Ok(Err(NoPreview::HalfTaken)) => Err(Problem::HalfTaken),
        Ok(Err(NoPreview::Busy)) => Err(Problem::Busy),
        Ok(Err(NoPreview::TooLong)) => Err(Problem::TooLong),
        Ok(Err(NoPreview::Failed(error))) => Err(Problem::Failed(error)),
        Err(panicked) => Err(Problem::Failed(PageError::new(panicked))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A port that works until it is told to end.
    struct Slow(Arc<Semaphore>);

    impl ImportPreview for Slow {
        fn preview(
            &self,
            _: Vec<Upload>,
            _: Assumptions,
        ) -> BoxFuture<'static, Result<Summary, NoPreview>> {
            let end = Arc::clone(&self.0);
            Box::pin(async move {
                end.acquire().await.unwrap().forget();
                Ok(Summary::default())
            })
        }
    }

    #[tokio::test]
    async fn a_reader_who_leaves_does_not_set_the_place_free() {
        let end = Arc::new(Semaphore::new(0));
        let previews = Previews::new(Arc::new(Slow(Arc::clone(&end))));
        let mut first = Box::pin(preview(&previews, Form::default()));
        assert!(
            std::future::poll_fn(|cx| std::task::Poll::Ready(first.as_mut().poll(cx).is_pending()))
                .await
        );
        drop(first);
        let second = preview(&previews, Form::default()).await;
        assert!(matches!(second, Err(Problem::Busy)), "{second:?}");
        end.add_permits(2);
        drop(previews.one.acquire().await.unwrap());
        assert!(preview(&previews, Form::default()).await.is_ok());
    }

    #[test]
    fn a_name_is_a_label() {
        for (sent, kept) in [
            ("payments.csv", "payments.csv"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\x\\对账单.xml", "对账单.xml"),
            ("a\r\nb\0c", "abc"),
            ("..", ".."),
            ("dir/", ""),
        ] {
            assert_eq!(label(sent), kept);
        }
        assert_eq!(label(&"长".repeat(500)).chars().count(), NAME_CHARS_MAX);
    }

    #[test]
    fn a_form_of_another_site_is_told_by_what_the_browser_says() {
        let ok = |headers: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, value.parse().unwrap());
            }
            check_site(&map).is_ok()
        };
        let host = ("host", "books.example:8080");
        assert!(ok(&[host]));
        assert!(ok(&[host, ("origin", "null")]));
        assert!(ok(&[host, ("origin", "http://books.example:8080")]));
        assert!(ok(&[
            host,
            ("origin", "null"),
            ("sec-fetch-site", "same-origin")
        ]));
        assert!(!ok(&[host, ("origin", "http://books.example")]));
        assert!(!ok(&[host, ("origin", "https://evil.example")]));
        assert!(!ok(&[host, ("origin", "nonsense")]));
        assert!(!ok(&[("origin", "https://evil.example")]));
        for site in ["cross-site", "same-site", "nonsense"] {
            assert!(!ok(&[host, ("origin", "null"), ("sec-fetch-site", site)]));
        }
    }
}
