//! How many requests this process is serving at once, and the most that it ever saw.
//!
//! A request counts from its head to the end of its response body, so that a test can hold a platform's
//! concurrency limit against what the function really met, and see how long it was left without a request.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

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
    /// When a request ended last.
    ended: Mutex<Option<Instant>>,
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

    /// Counts one request until the guard is dropped. The time is how long there was none before it: zero for the first one.
    pub(crate) fn enter(&self) -> (Guard, Duration, Result<(), Exceeded>) {
        let now = self.counts.now.fetch_add(1, Ordering::SeqCst) + 1;
        let ended = *self.counts.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let free_for = ended.filter(|_| now == 1).map(|ended| ended.elapsed()).unwrap_or_default();
        self.counts.highest.fetch_max(now, Ordering::SeqCst);
        let within = match self.limit {
            Some(limit) if now > limit => Err(Exceeded { now, limit }),
            _ => Ok(()),
        };
        (Guard(Arc::clone(&self.counts)), free_for, within)
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
        // Before it is counted no more: whoever comes then looks at it.
        *self.0.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
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
