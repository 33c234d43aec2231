//! The body of a client's request, read when somebody asks for it. It shares the connection with whoever serves that.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use super::downstream::Downstream;
use crate::http1::chunked::Decoded;

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Http1RequestBodyError {
    /// The kernel says that the connection is broken.
    #[error("the client's connection broke")]
    Io(#[source] std::io::Error),
    /// The client closed the connection.
    #[error("the client closed the connection before the end of its request's body")]
    Closed,
    /// It is no body.
    #[error("the request's body is malformed: {0}")]
    Malformed(&'static str),
}

/// A body on its way from a client. Dropping it before its end tells the connection that nobody wants the rest.
#[derive(Debug)]
pub(crate) struct Http1RequestBody {
    /// `None` after the end: what comes then belongs to the next request.
    downstream: Option<Arc<Mutex<Downstream>>>,
    size: SizeHint,
}

impl Http1RequestBody {
    pub(super) fn new(downstream: Arc<Mutex<Downstream>>, size: SizeHint) -> Self {
        Self { downstream: Some(downstream), size }
    }

    /// No body.
    pub(super) fn empty() -> Self {
        Self { downstream: None, size: SizeHint::with_exact(0) }
    }

    /// True when the rest of it is not here: it never comes once the client left.
    pub(crate) fn lacks_bytes(&self) -> bool {
        self.downstream.as_ref().is_some_and(|downstream| downstream.lock().lacks_body())
    }
}

impl Body for Http1RequestBody {
    type Data = Bytes;
    type Error = Http1RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Http1RequestBodyError>>> {
        let this = self.get_mut();
        let Some(downstream) = &this.downstream else { return Poll::Ready(None) };
        let (decoded, over) = {
            let mut downstream = downstream.lock();
            let decoded = ready!(downstream.poll_body(context));
            // That the connection is of no more use says nothing of the body: only its own end ends it.
            let over = downstream.body.ended() || decoded.is_err();
            (decoded, over)
        };
        if over {
            this.downstream = None;
        }
        Poll::Ready(decoded.map(Decoded::into_frame).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.downstream.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked for before anything is read.
        self.size
    }
}

impl Drop for Http1RequestBody {
    fn drop(&mut self) {
        if let Some(downstream) = &self.downstream {
            downstream.lock().abandon_body();
        }
    }
}
