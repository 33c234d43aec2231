//! The body of a pod's response, whichever protocol brought it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::http1::{Http1Body, Http1Error};
use crate::http2_body::{Http2Body, Http2Error};
use crate::io::{Io, Stream};

/// Why an exchange with a pod broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PodError {
    /// Over HTTP/1.1.
    #[error("the exchange with the pod broke off")]
    Http1(#[source] Http1Error),
    /// Over HTTP/2.
    #[error("the stream to the pod broke off")]
    Http2(#[source] Http2Error),
}

/// A body on its way from a pod.
#[derive(Debug)]
pub(crate) enum PodBody {
    Http1(Http1Body),
    Http2(Http2Body),
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

impl Body for PodBody {
    type Data = Bytes;
    type Error = PodError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PodError>>> {
        match self.get_mut() {
            Self::Http1(body) => {
                Pin::new(body).poll_frame(context).map(|frame| Some(frame?.map_err(PodError::Http1)))
            }
            Self::Http2(body) => {
                Pin::new(body).poll_frame(context).map(|frame| Some(frame?.map_err(PodError::Http2)))
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
