//! The body of a client's request, whichever protocol brought it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::http1::{Http1RequestBody, Http1RequestBodyError};
use crate::http2_body::{Http2Body, Http2Error};

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientBodyError {
    /// Over HTTP/1.1.
    #[error("the client's connection was of no more use")]
    Http1(#[source] Http1RequestBodyError),
    /// Over HTTP/2.
    #[error("the client's stream broke off")]
    Http2(#[source] Http2Error),
}

impl ClientBodyError {
    /// The client is there, but what it sent is no body (RFC 9112 7.1).
    pub(crate) fn is_malformed(&self) -> bool {
        matches!(self, Self::Http1(Http1RequestBodyError::Malformed(_)))
    }
}

/// A body on its way from a client.
#[derive(Debug)]
pub(crate) enum ClientBody {
    Http1(Http1RequestBody),
    Http2(Http2Body),
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = ClientBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientBodyError>>> {
        match self.get_mut() {
            Self::Http1(body) => {
                Pin::new(body).poll_frame(context).map(|frame| Some(frame?.map_err(ClientBodyError::Http1)))
            }
            Self::Http2(body) => {
                Pin::new(body).poll_frame(context).map(|frame| Some(frame?.map_err(ClientBodyError::Http2)))
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
