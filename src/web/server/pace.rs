//! The pace of both directions: a body that comes, and comes fast enough; an answer that is taken.
//!
//! Invariants: only time in which we wait for the other side counts against it; a body is counted while it
//! is read, whatever length it announced.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::Limits;

/// What is asked of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    bytes_max: u64,
    time_max: Duration,
    window: Duration,
    window_bytes_min: u64,
}

impl Pace {
    pub(super) fn of(limits: &Limits) -> Pace {
        Pace {
            bytes_max: limits.body_bytes_max,
            time_max: limits.body_time_max,
            window: limits.body_window,
            window_bytes_min: limits.body_window_bytes_min,
        }
    }
}

/// A body that ends in [`io::ErrorKind::TimedOut`] where it comes too slowly, and in
/// [`io::ErrorKind::FileTooLarge`] where it is too large.
pub(super) struct PacedBody<B> {
    body: B,
    pace: Pace,
    came: u64,
    end: Pin<Box<Sleep>>,
    window: Pin<Box<Sleep>>,
    came_in_window: u64,
}

impl<B> PacedBody<B> {
    pub(super) fn new(body: B, pace: Pace) -> PacedBody<B> {
        PacedBody {
            body,
            pace,
            came: 0,
            end: Box::pin(sleep(pace.time_max)),
            window: Box::pin(sleep(pace.window)),
            came_in_window: 0,
        }
    }

    /// Pending while the body may still come, the error once it is too late.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(io::ErrorKind::TimedOut.into());
        }
        while self.window.as_mut().poll(cx).is_ready() {
            if self.came_in_window < self.pace.window_bytes_min {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            self.came_in_window = 0;
            self.window
                .as_mut()
                .reset(Instant::now() + self.pace.window);
        }
        Poll::Pending
    }
}

impl<B> HttpBody for PacedBody<B>
where
    B: HttpBody<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let frame = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Pending => return this.wait(cx).map(|late| Some(Err(late))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(frame)) => frame.map_err(io::Error::other),
        };
        if let Ok(frame) = &frame {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            this.came += bytes;
            this.came_in_window += bytes;
            if this.came > this.pace.bytes_max {
                return Poll::Ready(Some(Err(io::ErrorKind::FileTooLarge.into())));
            }
        }
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection whose writes fail once the other side has taken nothing for so long.
pub(super) struct PacedWrites<S> {
    stream: S,
    time_max: Duration,
    /// Since a write has had to wait.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<S> PacedWrites<S> {
    pub(super) fn new(stream: S, time_max: Duration) -> PacedWrites<S> {
        PacedWrites {
            stream,
            time_max,
            stuck: None,
        }
    }
}

impl<S: AsyncWrite + Unpin> PacedWrites<S> {
    fn paced<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let done = write(Pin::new(&mut self.stream), cx);
        if done.is_ready() {
            self.stuck = None;
            return done;
        }
        let time_max = self.time_max;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(time_max)));
        ready!(stuck.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PacedWrites<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().paced(cx, |s, cx| s.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.paced(cx, |s, cx| s.poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().paced(cx, |s, cx| s.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().paced(cx, |s, cx| s.poll_shutdown(cx))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PacedWrites<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}
