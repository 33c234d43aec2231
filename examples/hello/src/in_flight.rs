//! How many requests this process is serving at once, and the most that it ever saw.
//!
//! A request counts from its head to the end of its response body, so that a test can hold a platform's
//! concurrency limit against what the function really met.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Counts requests in flight, shared by all connections.
#[derive(Clone)]
pub(crate) struct InFlight {
    counts: Arc<Counts>,
    limit: Option<usize>,
}

#[derive(Default)]
struct Counts {
    now: AtomicUsize,
    highest: AtomicUsize,
}

/// More requests at once than the limit allows: the platform broke its promise.
pub(crate) struct Exceeded {
    pub(crate) now: usize,
    pub(crate) limit: usize,
}

impl InFlight {
    /// With a limit, entering above it is an error.
    pub(crate) fn new(limit: Option<usize>) -> Self {
        Self { counts: Arc::new(Counts::default()), limit }
    }

    /// Counts one request until the guard is dropped.
    pub(crate) fn enter(&self) -> (Guard, Result<(), Exceeded>) {
        let now = self.counts.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.counts.highest.fetch_max(now, Ordering::SeqCst);
        let within = match self.limit {
            Some(limit) if now > limit => Err(Exceeded { now, limit }),
            _ => Ok(()),
        };
        (Guard(Arc::clone(&self.counts)), within)
    }

    /// The most requests that were ever in flight together.
    pub(crate) fn highest(&self) -> usize {
        self.counts.highest.load(Ordering::SeqCst)
    }
}

/// One request in flight.
pub(crate) struct Guard(Arc<Counts>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A response body that keeps its request counted until it is sent or given up.
pub(crate) struct Counted<B> {
    body: B,
    _guard: Option<Guard>,
}

impl<B> Counted<B> {
    pub(crate) fn new(body: B, guard: Option<Guard>) -> Self {
        Self { body, _guard: guard }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
