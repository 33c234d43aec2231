//! The body of a client's request, whichever protocol brought it.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::http1::{Http1RequestBody, Http1RequestBodyError};

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientBodyError {
    /// Over HTTP/1.1.
    #[error("the client's connection was of no more use")]
    Http1(#[source] Http1RequestBodyError),
    /// Over HTTP/2.
    #[error("the client's stream broke off")]
    Http2(#[source] hyper::Error),
}

impl ClientBodyError {
    /// The client is there, but what it sent is no body (RFC 9112 7.1).
    pub(crate) fn is_malformed(&self) -> bool {
        match self {
            Self::Http1(error) => matches!(error, Http1RequestBodyError::Malformed(_)),
            Self::Http2(error) => {
                let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
                cause.is_some_and(|cause| {
                    matches!(cause.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
                })
            }
        }
    }
}

/// A body on its way from a client.
#[derive(Debug)]
pub(crate) enum ClientBody {
    Http1(Http1RequestBody),
    Http2(Incoming),
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
