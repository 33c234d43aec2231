//! Spans that a collector takes and then rejects, which OTLP calls a partial success.
//!
//! The exporter tells only its own log of them. So that is what is listened to while it sends, and it goes nowhere else.

use std::fmt;
use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Name of the exporter in what it logs, and of the fields of a partial success.
const EXPORTER: &str = "opentelemetry-otlp";
const SPANS: &str = "rejected_spans";
const WHY: &str = "error_message";

/// Listens while something is sent. Clones hear the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Listener(Arc<Mutex<Rejected>>);

/// What a collector rejected.
#[derive(Debug, Default)]
pub(super) struct Rejected {
    pub(super) spans: u64,
    /// In the collector's words.
    pub(super) why: String,
}

impl Listener {
    /// What was heard since the last call.
    pub(super) fn heard(&self) -> Rejected {
        take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == EXPORTER && *metadata.level() == Level::WARN
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    // Of spans nothing is wanted.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Rejected {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == SPANS {
            self.spans = u64::try_from(value).unwrap_or(0);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == WHY {
            value.clone_into(&mut self.why);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
