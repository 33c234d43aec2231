//! A time in which nothing is asked of an API server that has answered 429.
//!
//! It only tells when that is over: what is put off for it, and what is given up, is for whoever asks.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// One pause, which may be over.
#[derive(Debug)]
pub(crate) struct Pause {
    until: Mutex<Instant>,
}

impl Pause {
    /// One that is over.
    pub(crate) fn new() -> Self {
        Self { until: Mutex::new(Instant::now()) }
    }

    /// It lasts so long from now on, or longer if it does already.
    pub(crate) fn extend(&self, length: Duration) {
        let mut until = self.until.lock();
        *until = (*until).max(Instant::now() + length);
    }

    pub(crate) fn is_over(&self) -> bool {
        *self.until.lock() <= Instant::now()
    }

    /// Waits until it is over, however often it is extended meanwhile.
    pub(crate) async fn over(&self) {
        while !self.is_over() {
            let until = *self.until.lock();
            sleep_until(until).await;
        }
    }
}
