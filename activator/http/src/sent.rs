//! A request that a pod with a limit is working on: it goes on when nobody waits for it any more, and only its end frees
//! the slot.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;

use crate::body::PodBody;
use crate::lease::Lease;
use crate::progress::Progress;
use crate::upstream::SendError;

type Answer = Result<Response<PodBody>, SendError>;

/// Resolves to the response's head. Dropped before, it reads the response for nobody.
pub(crate) struct Sent<S: Future<Output = Answer> + Send + 'static> {
    /// `None` once it resolved.
    under_way: Option<(Pin<Box<S>>, Lease)>,
    request: Arc<Progress>,
}

impl<S: Future<Output = Answer> + Send + 'static> Sent<S> {
    pub(crate) fn new(sending: Pin<Box<S>>, lease: Lease, request: Arc<Progress>) -> Self {
        Self { under_way: Some((sending, lease)), request }
    }
}

impl<S: Future<Output = Answer> + Send + 'static> Future for Sent<S> {
    type Output = (Answer, Lease);

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<(Answer, Lease)> {
        let this = self.get_mut();
        let Some((sending, _)) = &mut this.under_way else { return Poll::Pending };
        let answer = ready!(sending.as_mut().poll(context));
        match this.under_way.take() {
            Some((_, lease)) => Poll::Ready((answer, lease)),
            None => Poll::Pending,
        }
    }
}

impl<S: Future<Output = Answer> + Send + 'static> Drop for Sent<S> {
    fn drop(&mut self) {
        if let Some((sending, lease)) = self.under_way.take() {
            lease.go_on(sending, Arc::clone(&self.request));
        }
    }
}
