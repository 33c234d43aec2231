//! Carrying out what the core asks for: calls of `/scale` and probes of pods, each answered exactly once.
//!
//! Frames are not among them: they belong to the stream, which the control loop holds.

use std::sync::Arc;

use catnap_activator_core::{Activator, Probe, Scale, ScaleError};
use catnap_runtime::Causes;
use catnap_wire::{PodUid, RevisionId};
use tracing::debug;

use crate::scale::ScaleClient;

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Of a GET of `/scale`.
    Read(RevisionId, u64, Result<Scale, ScaleError>),
    /// Of a PUT of `/scale`.
    Raised(RevisionId, u64, Result<(), ScaleError>),
    /// Of a probe.
    Probed(RevisionId, PodUid, bool),
}

impl Answer {
    /// Tells the core.
    pub(crate) fn tell(self, activator: &Activator) {
        match self {
            Self::Read(revision, attempt, result) => activator.scale_read(&revision, attempt, result),
            Self::Raised(revision, attempt, result) => activator.scale_raised(&revision, attempt, result),
            Self::Probed(revision, pod, answered) => activator.probed(&revision, &pod, answered),
        }
    }
}

/// GET `/scale`.
pub(crate) async fn read_scale(scale: ScaleClient, revision: RevisionId, attempt: u64) -> Answer {
    let result = scale.read(&revision).await;
    debug!(%revision, attempt, ?result, "read the scale without an autoscaler");
    Answer::Read(revision, attempt, result)
}

/// PUT `/scale`.
pub(crate) async fn raise_scale(
    scale: ScaleClient,
    revision: RevisionId,
    attempt: u64,
    replicas: u32,
    resource_version: Arc<str>,
) -> Answer {
    let result = scale.raise(&revision, replicas, &resource_version).await;
    tracing::info!(%revision, attempt, replicas, ?result, "raised the scale without an autoscaler");
    Answer::Raised(revision, attempt, result)
}

/// One attempt at a pod's port.
pub(crate) async fn probe(revision: RevisionId, probe: Probe) -> Answer {
    let answered = catnap_activator_http::probe(&probe).await;
    if let Err(error) = &answered {
        debug!(%revision, pod = %probe.uid, error = %Causes(error), "pod does not answer yet");
    }
    Answer::Probed(revision, probe.uid, answered.is_ok())
}
