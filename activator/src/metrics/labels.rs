//! Label sets of the activator's metrics. Every value is the name of an object that exists, or from a list.

use std::sync::Arc;

use catnap_activator_core::FunctionName;
use prometheus_client::encoding::EncodeLabelSet;

/// Of a revision of a Function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct RevisionLabels {
    pub(super) namespace: Arc<str>,
    pub(super) function: Arc<str>,
    /// Empty when no pod ever had the request.
    pub(super) revision: Arc<str>,
}

/// Of a Function.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FunctionLabels {
    pub(super) namespace: Arc<str>,
    pub(super) function: Arc<str>,
}

impl From<&FunctionName> for FunctionLabels {
    fn from(name: &FunctionName) -> Self {
        Self { namespace: Arc::clone(&name.namespace), function: Arc::clone(&name.name) }
    }
}

/// Of requests that ended in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) namespace: Arc<str>,
    pub(super) function: Arc<str>,
    pub(super) revision: Arc<str>,
    pub(super) code: &'static str,
    pub(super) reason: &'static str,
}

/// Of a phase of a revision's cold starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PhaseLabels {
    pub(super) namespace: Arc<str>,
    pub(super) function: Arc<str>,
    pub(super) revision: Arc<str>,
    pub(super) phase: &'static str,
}

/// Of a thread that moves bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct WorkerLabels {
    pub(super) worker: String,
}

/// Of what belongs to no Function.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabels {
    pub(super) reason: &'static str,
}

/// The class of a status code; empty without one.
pub(super) const fn code_class(status: Option<u16>) -> &'static str {
    match status {
        Some(100..=199) => "1xx",
        Some(200..=299) => "2xx",
        Some(300..=399) => "3xx",
        Some(400..=499) => "4xx",
        Some(_) => "5xx",
        None => "",
    }
}
