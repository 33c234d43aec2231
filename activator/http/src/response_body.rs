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

/// A response's body. At most one of `own` and `pod` is there, and neither once it ended.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    own: Option<Bytes>,
    pod: Option<(Incoming, Lease)>,
    chunked: bool,
    /// `None` for an exchange that goes on elsewhere.
    record: Option<Record>,
}

impl ResponseBody {
    /// Ours, in one piece.
    pub(crate) fn own(bytes: Bytes, record: Record) -> Self {
        Self {
            own: Some(bytes).filter(|bytes| !bytes.is_empty()),
            pod: None,
            chunked: false,
            record: Some(record),
        }
    }

    /// None, for an exchange that goes on elsewhere.
    pub(crate) fn nothing() -> Self {
        Self { own: None, pod: None, chunked: false, record: None }
    }

    /// The function's. `chunked`: trailers may follow, so the codec must not know the length.
    pub(crate) fn pod(incoming: Incoming, chunked: bool, lease: Lease, record: Record) -> Self {
        let mut body = Self { own: None, pod: Some((incoming, lease)), chunked, record: Some(record) };
        body.finish_at_end();
        body
    }

    /// Gives the slot back as soon as the last byte is here: the client may take its time with it.
    fn finish_at_end(&mut self) {
        if let Some((_, lease)) = self.pod.take_if(|(incoming, _)| incoming.is_end_stream()) {
            self.finish(lease);
        }
    }

    fn finish(&mut self, lease: Lease) {
        self.end(Outcome::Answered);
        lease.finish();
    }

    fn break_off(&mut self, lease: Lease) {
        match self.record.as_ref().map(|record| Arc::clone(&record.request)) {
            Some(request) if request.broken() => spawn(async move { lease.settle(&request).await }),
            _ => self.end(Outcome::BrokenOff),
        }
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some(record) = &mut self.record {
            record.outcome = outcome;
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let (Some((incoming, lease)), Some(record)) = (self.pod.take(), &self.record) {
            lease.leave(incoming, Arc::clone(&record.request));
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
        let this = self.get_mut();
        let Some((incoming, _)) = &mut this.pod else {
            return Poll::Ready(this.own.take().map(|bytes| Ok(Frame::data(bytes))));
        };
        let frame = ready!(Pin::new(incoming).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            if let Some(record) = &mut this.record {
                record.response_bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
            }
            this.finish_at_end();
        } else if let Some((_, lease)) = this.pod.take() {
            if frame.is_none() {
                this.finish(lease);
            } else {
                this.break_off(lease);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.own.is_none() && self.pod.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.pod {
            Some(_) if self.chunked => SizeHint::default(),
            Some((incoming, _)) => incoming.size_hint(),
            None => SizeHint::with_exact(self.own.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}
