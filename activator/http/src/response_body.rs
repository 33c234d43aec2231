//! The body of a response on its way to the client: the function's as it arrives, or our own.
//!
//! It owns the exchange: when it ends, breaks or is dropped, the pod's slot and the record of the request go with it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::lease::{Lease, spawn};
use crate::observe::Outcome;
use crate::record::Record;

/// A response's body.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// Ours, in one piece; `None` when it is sent or there is none.
    Own { bytes: Option<Bytes>, _record: Option<Record> },
    /// The function's.
    Pod(PodBody),
}

/// A function's body with the exchange it belongs to.
#[derive(Debug)]
pub(crate) struct PodBody {
    /// Both `None` once it ended.
    rest: Option<(Incoming, Lease)>,
    chunked: bool,
    record: Record,
}

impl ResponseBody {
    pub(crate) fn own(bytes: Bytes, record: Record) -> Self {
        Self::Own { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()), _record: Some(record) }
    }

    /// Nothing, for an exchange that goes on elsewhere.
    pub(crate) fn nothing() -> Self {
        Self::Own { bytes: None, _record: None }
    }

    /// `chunked`: trailers may follow, so the codec must not know the length.
    pub(crate) fn pod(incoming: Incoming, chunked: bool, lease: Lease, record: Record) -> Self {
        let mut body = PodBody { rest: Some((incoming, lease)), chunked, record };
        body.finish_at_end();
        Self::Pod(body)
    }
}

impl PodBody {
    /// Gives the slot back as soon as the last byte is here: the client may take its time with it.
    fn finish_at_end(&mut self) {
        if let Some((_, lease)) = self.rest.take_if(|(incoming, _)| incoming.is_end_stream()) {
            self.record.outcome = Outcome::Answered;
            lease.finish();
        }
    }

    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some((incoming, _)) = self.rest.as_mut() else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(incoming).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                self.record.response_bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
                self.finish_at_end();
            }
            Some(Err(_)) => {
                if let Some((_, lease)) = self.rest.take() {
                    self.broke_off(lease);
                }
            }
            None => {
                if let Some((_, lease)) = self.rest.take() {
                    self.record.outcome = Outcome::Answered;
                    lease.finish();
                }
            }
        }
        Poll::Ready(frame)
    }

    fn broke_off(&mut self, lease: Lease) {
        let request = Arc::clone(&self.record.request);
        if request.broken() {
            spawn(async move { lease.settle(&request).await });
        } else {
            self.record.outcome = Outcome::BrokenOff;
        }
    }
}

impl Drop for PodBody {
    fn drop(&mut self) {
        if let Some((incoming, lease)) = self.rest.take() {
            lease.leave(incoming, Arc::clone(&self.record.request));
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Own { bytes, .. } => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pod(body) => body.poll_rest(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own { bytes, .. } => bytes.is_none(),
            Self::Pod(body) => body.rest.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own { bytes, .. } => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Pod(PodBody { rest: Some(_), chunked: true, .. }) => SizeHint::default(),
            Self::Pod(PodBody { rest: Some((incoming, _)), .. }) => incoming.size_hint(),
            Self::Pod(_) => SizeHint::with_exact(0),
        }
    }
}
