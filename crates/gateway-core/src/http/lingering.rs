//! The body of a request, read on behind an answer that did not need it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use http::HeaderMap;
use http::header::EXPECT;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::SLOWEST_UPLOAD;

/// Longest reading behind an answer.
const LONGEST: Duration = Duration::from_secs(30);
/// Longest reading when nothing comes; it grows with what does, at the speed of the slowest upload.
const SILENCE: Duration = Duration::from_secs(2);

/// A body that is read to its end, for a while, when nobody wants it any more. A connection that is closed
/// over unread bytes is reset by the kernel, and a client that is still sending never sees its answer
/// (RFC 9112, section 9.6).
pub(super) struct Lingering<B: http_body::Body<Data: Send> + Send + 'static> {
    /// None: there is nothing to read.
    body: Option<Pin<Box<B>>>,
    /// The client sends the body only when it is asked for (RFC 9110, section 10.1.1).
    waits: bool,
}

impl<B: http_body::Body<Data: Send> + Send + 'static> Lingering<B> {
    pub(super) fn new(body: B, headers: &HeaderMap) -> Self {
        // Checks come without a body and pay nothing for this.
        if body.is_end_stream() {
            return Self {
                body: None,
                waits: false,
            };
        }
        Self {
            body: Some(Box::pin(body)),
            waits: headers.contains_key(EXPECT),
        }
    }
}

impl<B: http_body::Body<Data: Send> + Send + 'static> http_body::Body for Lingering<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        this.waits = false;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let polled = body.as_mut().poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            this.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl<B: http_body::Body<Data: Send> + Send + 'static> Drop for Lingering<B> {
    fn drop(&mut self) {
        let rest = self.body.take();
        let Some(mut rest) = rest.filter(|body| !self.waits && !body.is_end_stream()) else {
            return;
        };
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let since = Instant::now();
            let mut patience = SILENCE;
            while let Ok(Some(Ok(frame))) = timeout_at(since + patience, rest.frame()).await {
                let bytes = frame.data_ref().map_or(0, Buf::remaining);
                patience += Duration::from_micros(bytes as u64 * 1_000_000 / SLOWEST_UPLOAD);
                patience = patience.min(LONGEST);
            }
        });
    }
}
