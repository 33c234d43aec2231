//! The body of a response on its way to the client: the function's as it arrives, or our own.
//!
//! It owns the exchange: when it ends, breaks or is dropped, the pod's slot and the record of the request go with it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::body::{PodBody, PodError};
use crate::headers;
use crate::lease::Lease;
use crate::observe::Outcome;
use crate::progress::{Expiry, Stage};
use crate::record::Record;
use crate::tunnel::Tunnel;

/// Why a body that had begun is not sent to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResponseBodyError {
    /// The pod broke off.
    #[error("the pod broke off its response")]
    Pod(#[source] PodError),
    /// A time limit of the function ended it.
    #[error("the response took too long")]
    TimedOut,
}

/// A response's body.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    own: Option<Bytes>,
    /// The rest of it comes from a pod, by way of [`Progress::rest`](crate::progress::Progress::rest).
    from_pod: bool,
    /// Why it does not come to its end.
    failed: Option<ResponseBodyError>,
    /// Trailers may follow, so the codec must not know the length.
    chunked: bool,
    /// `None` for an exchange that goes on elsewhere.
    record: Option<Record>,
    /// What follows the head of a response that switches protocols.
    tunnel: Option<Box<Tunnel>>,
}

impl ResponseBody {
    /// Ours, in one piece.
    pub(crate) fn own(bytes: Bytes, record: Record) -> Self {
        let own = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self { own, from_pod: false, failed: None, chunked: false, record: Some(record), tunnel: None }
    }

    /// None.
    pub(crate) fn nothing() -> Self {
        Self { own: None, from_pod: false, failed: None, chunked: false, record: None, tunnel: None }
    }

    /// Its head was all that the client waits for: what the pod may still send is no part of the answer.
    pub(crate) fn without_rest(mut self) -> Self {
        if let Some(record) = self.record.as_mut().filter(|_| self.from_pod) {
            record.outcome = Outcome::Answered;
        }
        Self::nothing()
    }

    /// None, for an exchange that goes on in a tunnel.
    pub(crate) fn switched(tunnel: Tunnel) -> Self {
        let mut body = Self::nothing();
        body.tunnel = Some(Box::new(tunnel));
        body
    }

    /// What goes on behind the head.
    pub(crate) fn take_tunnel(&mut self) -> Option<Box<Tunnel>> {
        self.tunnel.take()
    }

    /// The function's. `endless`: only its client, or no byte for too long, ends it.
    pub(crate) fn pod(incoming: PodBody, chunked: bool, endless: bool, lease: Lease, record: Record) -> Self {
        let mut body =
            Self { own: None, from_pod: true, failed: None, chunked, record: Some(record), tunnel: None };
        if incoming.is_end_stream() {
            body.finish(lease);
        } else if let Some(record) = &body.record {
            record.progress.enter(if endless { Stage::Stream } else { Stage::Body });
            *record.progress.rest() = Some((incoming, lease));
        }
        body
    }

    /// The last byte is here: gives the slot back at once, for the client may take its time with it.
    fn finish(&mut self, lease: Lease) {
        self.end(Outcome::Answered);
        lease.finish();
    }

    fn break_off(&mut self, lease: Lease) {
        let Some(progress) = self.record.as_ref().map(|record| Arc::clone(&record.progress)) else { return };
        self.end(if progress.broken() { Outcome::ClientLeft } else { Outcome::BrokenOff });
        lease.break_off(progress);
    }

    fn end(&mut self, outcome: Outcome) {
        self.from_pod = false;
        if let Some(record) = &mut self.record {
            record.outcome = outcome;
            record.progress.enter(Stage::Ended);
        }
    }

    /// Codecs drop at once what they have not written yet: they get time to write the head, and what came after it.
    fn fail<T>(&mut self, error: ResponseBodyError, context: &Context<'_>) -> Poll<T> {
        self.failed = Some(error);
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn timed_out(&mut self) {
        let expiry = self.record.as_ref().and_then(|record| record.progress.expiry());
        self.end(expiry.map_or(Outcome::ClientLeft, |expiry| Outcome::TimedOut(Expiry::reason(expiry))));
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let Some(record) = self.record.as_ref().filter(|_| self.from_pod) else { return };
        let progress = Arc::clone(&record.progress);
        let answered = record.outcome == Outcome::Answered;
        let rest = progress.rest().take();
        match rest {
            Some((incoming, lease)) => lease.leave(incoming, progress, answered),
            None => self.timed_out(),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        let this = self.get_mut();
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(record) = this.record.as_ref().filter(|_| this.from_pod) else {
            return Poll::Ready(this.own.take().map(|bytes| Ok(Frame::data(bytes))));
        };
        let progress = &record.progress;
        let mut rest = progress.rest();
        let Some((incoming, _)) = &mut *rest else {
            drop(rest);
            this.timed_out();
            return this.fail(ResponseBodyError::TimedOut, context);
        };
        let polled = Pin::new(&mut *incoming).poll_frame(context);
        let Poll::Ready(mut frame) = polled else {
            progress.wake_on_expiry(context);
            return Poll::Pending;
        };
        let mut grpc_status = None;
        let goes_on = match &mut frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    grpc_status = headers::grpc_status(trailers);
                    headers::clean_trailers(trailers);
                }
                progress.count_response(frame.data_ref().map_or(0, Bytes::len) as u64);
                !incoming.is_end_stream()
            }
            Some(Err(_)) | None => false,
        };
        let ended = if goes_on { None } else { rest.take() };
        drop(rest);
        if let Some(record) = this.record.as_mut().filter(|_| grpc_status.is_some()) {
            record.grpc_answered(grpc_status);
        }
        let lease = ended.map(|(_, lease)| lease);
        match frame {
            Some(Err(error)) => {
                if let Some(lease) = lease {
                    this.break_off(lease);
                }
                this.fail(ResponseBodyError::Pod(error), context)
            }
            frame => {
                if let Some(lease) = lease {
                    this.finish(lease);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(ResponseBodyError::Pod)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.own.is_none() && !self.from_pod && self.failed.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.record.as_ref().filter(|_| self.from_pod) {
            Some(_) if self.chunked => SizeHint::default(),
            Some(record) => match &*record.progress.rest() {
                Some((incoming, _)) => incoming.size_hint(),
                None => SizeHint::default(),
            },
            None => SizeHint::with_exact(self.own.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}
