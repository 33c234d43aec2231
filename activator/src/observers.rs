//! Everybody whom the data path tells of its requests: metrics always, the access log and traces when they are configured.

use std::sync::Arc;

use catnap_activator_http::{Ended, Observer};

use crate::access_log::AccessLog;
use crate::metrics::Metrics;
use crate::traces::Traces;

/// Tells each of them.
#[derive(Debug)]
pub(crate) struct Observers {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) traces: Option<Traces>,
}

impl Observer for Observers {
    fn wants_details(&self) -> bool {
        self.access_log.is_some()
    }

    fn began(&self) {
        self.metrics.began();
    }

    fn ended(&self, exchange: &Ended<'_>) {
        self.metrics.ended(exchange);
        if let Some(log) = &self.access_log {
            log.ended(exchange);
        }
        if let Some(traces) = &self.traces {
            traces.ended(exchange);
        }
    }

    fn unparsable(&self, exchange: &Ended<'_>) {
        self.metrics.unparsable(exchange);
        if let Some(log) = &self.access_log {
            log.ended(exchange);
        }
    }

    fn turned_away(&self) {
        self.metrics.turned_away();
    }

    fn looked_at(&self, worker: usize, busy: f64, refuses: bool) {
        self.metrics.looked_at(worker, busy, refuses);
    }
}

#[cfg(test)]
mod tests;
