//! The body of a request on its way to a pod, kept up to 64 KiB until the response begins, so that the request can be sent
//! again.
//!
//! It is not read before a pod asks for it: what a held client sends stays in the kernel or in its stream's window.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use crate::body::{ClientBody, ClientBodyError};
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
    kept: Kept,
    /// Nothing is kept: it was too much, or will not be sent again.
    lost: bool,
    /// The attempt that may read.
    attempt: u32,
    /// That attempt is still there to read.
    attempted: bool,
}

/// What was read of a body. A piece may be one byte of a large buffer and hold all of that: only the first one is shared, and most
/// bodies have no other; the others are copied.
#[derive(Default)]
struct Kept {
    first: Bytes,
    others: Vec<u8>,
    trailers: Option<HeaderMap>,
}

/// What the exchange keeps of a request's body.
pub(crate) struct Replay<B = ClientBody> {
    source: Option<Arc<Mutex<Source<B>>>>,
    size: SizeHint,
    progress: Arc<Progress>,
    /// The client's connection, when it has no other request under way.
    socket: Option<Arc<Socket>>,
}

/// An attempt as it is seen by somebody who keeps neither it nor the body.
#[derive(Debug)]
pub(crate) struct Watched {
    source: Weak<Mutex<Source<ClientBody>>>,
    attempt: u32,
}

/// One attempt's view of the body.
pub(crate) struct RequestBody<B = ClientBody> {
    source: Option<Arc<Mutex<Source<B>>>>,
    size: SizeHint,
    attempt: u32,
    /// What an earlier attempt has read.
    again: VecDeque<Frame<Bytes>>,
    ended: bool,
    progress: Arc<Progress>,
    awaited: AwaitedUpload,
}

impl Replay {
    /// The last attempt, for whoever goes on without its client. `None`: there is no body.
    pub(crate) fn watched(&self) -> Option<Watched> {
        let source = self.source.as_ref()?;
        Some(Watched { source: Arc::downgrade(source), attempt: source.lock().attempt })
    }
}

impl Watched {
    /// True when the attempt is given up, or has come to its end.
    pub(crate) fn is_over(&self) -> bool {
        self.source.upgrade().is_none_or(|source| {
            let source = source.lock();
            source.attempt != self.attempt || !source.attempted
        })
    }

    /// True when the rest of the body is certainly not here: it never comes once the client left.
    pub(crate) fn lacks_bytes(&self) -> bool {
        self.source.upgrade().is_some_and(|source| source.lock().incoming.lacks_bytes())
    }
}

impl<B: Body<Data = Bytes, Error = ClientBodyError> + Unpin> Replay<B> {
    /// `socket`: the client's connection, when it has no other request under way.
    pub(crate) fn new(incoming: B, progress: Arc<Progress>, socket: Option<Arc<Socket>>) -> Self {
        let size = incoming.size_hint();
        let source = (!incoming.is_end_stream()).then(|| {
            let kept = Kept::default();
            Arc::new(Mutex::new(Source { incoming, kept, lost: false, attempt: 0, attempted: false }))
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

    /// True when all that was read of it can be sent again.
    pub(crate) fn is_kept(&self) -> bool {
        self.source.as_ref().is_none_or(|source| !source.lock().lost)
    }

    pub(crate) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// The body from its beginning, for one more attempt; an earlier one can read no more. `None`: some of it is gone.
    pub(crate) fn attempt(&self) -> Option<RequestBody<B>> {
        let (attempt, again) = match &self.source {
            None => (0, VecDeque::new()),
            Some(source) => {
                let mut source = source.lock();
                if source.lost {
                    return None;
                }
                source.attempt += 1;
                source.attempted = true;
                (source.attempt, source.kept.frames())
            }
        };
        let upload = if self.size.exact().is_some() { Upload::Sized } else { Upload::Unsized };
        Some(RequestBody {
            source: self.source.clone(),
            size: self.size,
            attempt,
            again,
            ended: self.source.is_none(),
            progress: Arc::clone(&self.progress),
            awaited: AwaitedUpload::new(self.socket.clone(), upload),
        })
    }

    /// The response began: nothing will be sent again.
    pub(crate) fn release(self) {
        if let Some(source) = &self.source {
            source.lock().lose();
        }
    }
}

impl RequestBody {
    /// No body.
    pub(crate) fn empty() -> Self {
        let size = SizeHint::with_exact(0);
        let awaited = AwaitedUpload::new(None, Upload::Sized);
        let again = VecDeque::new();
        Self { source: None, size, attempt: 0, again, ended: true, progress: Arc::default(), awaited }
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
        if let Some(frame) = this.again.pop_front() {
            this.ended = this.again.is_empty() && source.incoming.is_end_stream();
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
                this.ended = source.incoming.is_end_stream();
                let length = frame.data_ref().map_or(0, Bytes::len);
                this.progress.count_request(length);
                Poll::Ready(Some(Ok(frame)))
            }
            // All of it came before the connection was lost: the codec tells of the latter alone.
            Poll::Ready(Some(Err(error)))
                if error.lost_connection() && source.incoming.size_hint().exact() == Some(0) =>
            {
                this.ended = true;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                this.progress.break_request(error.malformed());
                source.lose();
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

impl<B> Drop for RequestBody<B> {
    fn drop(&mut self) {
        if let Some(source) = &self.source {
            let mut source = source.lock();
            if source.attempt == self.attempt {
                source.attempted = false;
            }
        }
    }
}

impl<B> Source<B> {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        let length = frame.data_ref().map_or(0, Bytes::len);
        if self.lost || self.kept.bytes() + length > REPLAY_BYTES {
            self.lose();
        } else {
            self.kept.add(frame);
        }
    }

    fn lose(&mut self) {
        self.lost = true;
        self.kept = Kept::default();
    }
}

impl Kept {
    /// Length of the data.
    fn bytes(&self) -> usize {
        self.first.len() + self.others.len()
    }

    fn add(&mut self, frame: &Frame<Bytes>) {
        match frame.data_ref() {
            Some(data) if self.first.is_empty() => self.first = data.clone(),
            Some(data) => self.others.extend_from_slice(data),
            None => self.trailers = frame.trailers_ref().cloned(),
        }
    }

    fn frames(&self) -> VecDeque<Frame<Bytes>> {
        let data = [self.first.clone(), Bytes::copy_from_slice(&self.others)];
        let data = data.into_iter().filter(|data| !data.is_empty()).map(Frame::data);
        data.chain(self.trailers.clone().map(Frame::trailers)).collect()
    }
}

#[cfg(test)]
mod tests;
