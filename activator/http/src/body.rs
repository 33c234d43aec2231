//! A body on its way from a client or from a pod, whichever protocol brings it.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::config::STREAM_WINDOW;
use crate::http1::{Http1Body, Http1Error, Http1RequestBody, Http1RequestBodyError};
use crate::http2_body::{Http2Body, Http2Error};
use crate::io::{Io, Stream};

/// Of a client's request.
pub(crate) type ClientBody = AnyBody<Http1RequestBody>;
pub(crate) type ClientBodyError = AnyBodyError<Http1RequestBodyError>;
/// Of a pod's response.
pub(crate) type PodBody = AnyBody<Http1Body>;
pub(crate) type PodError = AnyBodyError<Http1Error>;

/// Why a body could not be read to its end, or an exchange with a pod broke off before it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnyBodyError<E: Error + 'static> {
    /// Over HTTP/1.1.
    #[error("the connection was of no more use")]
    Http1(#[source] E),
    /// Over HTTP/2.
    #[error("the stream broke off")]
    Http2(#[source] Http2Error),
}

/// A body on its way.
#[derive(Debug)]
pub(crate) enum AnyBody<B> {
    Http1(B),
    Http2(Http2Body),
}

impl ClientBodyError {
    /// The client is there, but what it sent is no body (RFC 9112 7.1): why.
    pub(crate) fn malformed(&self) -> Option<&'static str> {
        if let Self::Http1(Http1RequestBodyError::Malformed(what)) = self { Some(*what) } else { None }
    }

    /// True when the HTTP/2 connection ended, and nothing was said of the stream.
    pub(crate) fn lost_connection(&self) -> bool {
        matches!(self, Self::Http2(error) if error.lost_connection())
    }
}

impl ClientBody {
    /// True when the rest of it is certainly not here: it never comes once the client left.
    pub(crate) fn lacks_bytes(&self) -> bool {
        match self {
            Self::Http1(body) => body.lacks_bytes(),
            // More than its stream's window is nowhere on the way.
            Self::Http2(body) => body.size_hint().lower() > u64::from(STREAM_WINDOW),
        }
    }
}

impl PodBody {
    /// The connection itself, when the response switched to another protocol.
    pub(crate) fn into_stream(self) -> Option<Stream<Io>> {
        match self {
            Self::Http1(body) => body.into_stream(),
            Self::Http2(_) => None,
        }
    }
}

impl<B> Body for AnyBody<B>
where
    B: Body<Data = Bytes, Error: Error + 'static> + Unpin,
{
    type Data = Bytes;
    type Error = AnyBodyError<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Http1(body) => {
                Pin::new(body).poll_frame(context).map(|frame| Some(frame?.map_err(AnyBodyError::Http1)))
            }
            Self::Http2(body) => {
                Pin::new(body).poll_frame(context).map(|frame| Some(frame?.map_err(AnyBodyError::Http2)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}
