//! The body of a request on its way to a pod, kept up to 64 KiB until the response begins, so that the request can be sent
//! again.
//!
//! It is not read before a pod asks for it: what a held client sends stays in the kernel or in its stream's window.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use crate::client_body::{ClientBody, ClientBodyError};
use crate::config::{REPLAY_BYTES, STREAM_WINDOW};
use crate::headers;
use crate::pace::{AwaitedUpload, Upload};
use crate::progress::Progress;
use crate::socket::Socket;

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestBodyError {
    /// The client broke off.
    #[error("the client broke off its request")]
    Client(#[source] ClientBodyError),
    /// The request was given to another connection.
    #[error("the request is sent on another connection")]
    Superseded,
}

/// Where the body comes from, with what was read of it.
struct Source<B> {
    incoming: B,
    kept: Vec<Kept>,
    kept_bytes: usize,
    keeping: bool,
    /// Something was read and not kept.
    lost: bool,
    /// The attempt that may read.
    attempt: u32,
}

#[derive(Clone)]
enum Kept {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// What the exchange keeps of a request's body.
pub(crate) struct Replay<B = ClientBody> {
    source: Option<Arc<Mutex<Source<B>>>>,
    size: SizeHint,
    progress: Arc<Progress>,
    /// The client's connection, when it has no other request under way.
    socket: Option<Arc<Socket>>,
}

/// One attempt's view of the body.
pub(crate) struct RequestBody<B = ClientBody> {
    source: Option<Arc<Mutex<Source<B>>>>,
    size: SizeHint,
    attempt: u32,
    next: usize,
    ended: bool,
    progress: Arc<Progress>,
    awaited: AwaitedUpload,
}

impl<B: Body<Data = Bytes, Error = ClientBodyError> + Unpin> Replay<B> {
    /// `socket`: the client's connection, when it has no other request under way.
    pub(crate) fn new(incoming: B, progress: Arc<Progress>, socket: Option<Arc<Socket>>) -> Self {
        let size = incoming.size_hint();
        let source = (!incoming.is_end_stream()).then(|| {
            Arc::new(Mutex::new(Source {
                incoming,
                kept: Vec::new(),
                kept_bytes: 0,
                keeping: true,
                lost: false,
                attempt: 0,
            }))
        });
        Self { source, size, progress, socket }
    }

    /// True when the body is known to be small enough to be kept whole.
    pub(crate) fn small(&self) -> bool {
        self.source.is_none() || self.size.upper().is_some_and(|bytes| bytes <= REPLAY_BYTES as u64)
    }

    /// Most bytes of it that may arrive before anybody asks for them, over HTTP/2.
    pub(crate) fn ahead(&self) -> usize {
        let window = u64::from(STREAM_WINDOW);
        let ahead = if self.outstanding() { self.size.upper().unwrap_or(window).min(window) } else { 0 };
        usize::try_from(ahead).unwrap_or(usize::MAX)
    }

    /// True when some of the body is still to come from the client.
    pub(crate) fn outstanding(&self) -> bool {
        self.source.as_ref().is_some_and(|source| !source.lock().incoming.is_end_stream())
    }

    pub(crate) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// The body from its beginning, for one more attempt; an earlier one can read no more. `None`: some of it is gone.
    pub(crate) fn attempt(&self) -> Option<RequestBody<B>> {
        let attempt = match &self.source {
            None => 0,
            Some(source) => {
                let mut source = source.lock();
                if source.lost {
                    return None;
                }
                source.attempt += 1;
                source.attempt
            }
        };
        let upload = if self.size.exact().is_some() { Upload::Sized } else { Upload::Unsized };
        Some(RequestBody {
            source: self.source.clone(),
            size: self.size,
            attempt,
            next: 0,
            ended: self.source.is_none(),
            progress: Arc::clone(&self.progress),
            awaited: AwaitedUpload::new(self.socket.clone(), upload),
        })
    }

    /// The response began: nothing will be sent again.
    pub(crate) fn release(self) {
        if let Some(source) = &self.source {
            source.lock().keeping = false;
        }
    }
}

impl RequestBody {
    /// No body.
    pub(crate) fn empty() -> Self {
        let size = SizeHint::with_exact(0);
        let awaited = AwaitedUpload::new(None, Upload::Sized);
        Self { source: None, size, attempt: 0, next: 0, ended: true, progress: Arc::default(), awaited }
    }
}

impl<B: Body<Data = Bytes, Error = ClientBodyError> + Unpin> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = self.get_mut();
        let Some(source) = &this.source else { return Poll::Ready(None) };
        let mut source = source.lock();
        if source.attempt != this.attempt {
            return Poll::Ready(Some(Err(RequestBodyError::Superseded)));
        }
        if let Some(kept) = source.kept.get(this.next) {
            this.next += 1;
            let frame = match kept.clone() {
                Kept::Data(data) => Frame::data(data),
                Kept::Trailers(trailers) => Frame::trailers(trailers),
            };
            this.ended = this.next == source.kept.len() && source.incoming.is_end_stream();
            return Poll::Ready(Some(Ok(frame)));
        }
        let polled = Pin::new(&mut source.incoming).poll_frame(context);
        this.awaited.note(polled.is_pending());
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    headers::clean_trailers(trailers);
                }
                source.keep(&frame);
                this.next = source.kept.len();
                this.ended = source.incoming.is_end_stream();
                let length = frame.data_ref().map_or(0, Bytes::len);
                this.progress.count_request(length);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.progress.break_request(error.is_malformed());
                source.lost = true;
                Poll::Ready(Some(Err(RequestBodyError::Client(error))))
            }
            Poll::Ready(None) => {
                this.ended = true;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        // Codecs ask once, before they read.
        self.size
    }
}

impl<B> Source<B> {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        let kept = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Kept::Data(data.clone()),
            (_, Some(trailers)) => Kept::Trailers(trailers.clone()),
            _ => return,
        };
        if let Kept::Data(data) = &kept {
            self.kept_bytes += data.len();
        }
        if self.keeping && !self.lost && self.kept_bytes <= REPLAY_BYTES {
            self.kept.push(kept);
        } else {
            self.kept.clear();
            self.lost = true;
        }
    }
}

#[cfg(test)]
mod tests;
