//! A body that comes over HTTP/2, from a client or from a pod.
//!
//! The codec takes a stream that its sender reset with `NO_ERROR` for one that ended. Only `END_STREAM` ends a body (RFC 9113
//! 8.1): what lacks it is cut short, and must not look whole to whoever it is passed on to.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// Why a stream broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Http2Error {
    /// The codec says so.
    #[error("the stream or its connection failed")]
    Codec(#[source] hyper::Error),
    /// It was reset before its end, as if nothing was wrong.
    #[error("the stream was reset without an error before its end")]
    CutShort,
}

impl Http2Error {
    /// True when the connection ended, and nothing was said of the stream.
    pub(crate) fn lost_connection(&self) -> bool {
        let Self::Codec(error) = self else { return false };
        let cause = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
        cause.is_some_and(|error| error.is_io() || error.is_go_away())
    }
}

/// A body on its way over HTTP/2.
#[derive(Debug)]
pub(crate) struct Http2Body(Incoming);

impl Http2Body {
    pub(crate) fn new(incoming: Incoming) -> Self {
        Self(incoming)
    }
}

impl Body for Http2Body {
    type Data = Bytes;
    type Error = Http2Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Http2Error>>> {
        Pin::new(&mut self.0).poll_frame(context).map(|frame| match frame {
            None if !self.0.is_end_stream() => Some(Err(Http2Error::CutShort)),
            frame => frame.map(|frame| frame.map_err(Http2Error::Codec)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
