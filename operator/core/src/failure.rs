//! Why pods of a revision do not become ready, read from what kubelet, scheduler and controllers say about them.

use std::time::Duration;

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ContainerStatus, Pod},
    },
    jiff::Timestamp,
};

use crate::{Finality, Problem, Reason, Scope};

/// Clusters grow and quotas are raised: for this long such a failure counts as passing.
pub const QUOTA_PATIENCE: Duration = Duration::from_secs(600);
/// A container that ended this often and is not ready crashes in a loop, also between two back-offs.
const CRASH_RESTARTS: i32 = 2;
const MAX_MESSAGE: usize = 500;

/// Why a pod does not become ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure.
    pub reason: Reason,
    /// For a person.
    pub message: String,
    /// Since when, where the cluster tells.
    pub since: Option<Timestamp>,
}

impl Failure {
    /// As a problem of the revision at this time.
    pub fn problem(&self, now: Timestamp) -> Problem {
        let waits = matches!(self.reason, Reason::Unschedulable | Reason::QuotaExceeded);
        let patience_over = self.patience_ends().is_none_or(|end| end <= now);
        let finality = if waits && !patience_over { Finality::Passing } else { Finality::Final };
        Problem { reason: self.reason, message: self.message.clone(), finality, scope: Scope::Revision }
    }

    /// When a failure that may pass counts as final; `None` for those that are at once.
    pub fn patience_ends(&self) -> Option<Timestamp> {
        match self.reason {
            Reason::Unschedulable | Reason::QuotaExceeded => {
                self.since.and_then(|since| since.checked_add(QUOTA_PATIENCE).ok())
            }
            _ => None,
        }
    }
}

/// Why this pod is not ready, if that is a failure and not just time that it needs.
pub(crate) fn pod_failure(pod: &Pod) -> Option<Failure> {
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let container = containers.filter_map(container_failure).min_by_key(|failure| failure.reason);
    container.or_else(|| {
        let scheduled =
            status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled")?;
        (scheduled.status == "False" && scheduled.reason.as_deref() == Some("Unschedulable")).then(|| {
            Failure {
                reason: Reason::Unschedulable,
                message: bounded(scheduled.message.as_deref().unwrap_or("no node has room for a pod")),
                since: scheduled.last_transition_time.as_ref().map(|time| time.0),
            }
        })
    })
}

/// Why a Deployment makes no pods, or none that become ready.
pub(crate) fn deployment_failure(deployment: &Deployment) -> Option<Failure> {
    let conditions = || deployment.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    let refused =
        conditions().find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True");
    if let Some(refused) = refused {
        let message = refused.message.as_deref().unwrap_or("pods cannot be created");
        let reason =
            if message.contains("exceeded quota") { Reason::QuotaExceeded } else { Reason::PodRejected };
        let since = refused.last_transition_time.as_ref().map(|time| time.0);
        return Some(Failure { reason, message: bounded(message), since });
    }
    conditions()
        .find(|condition| {
            condition.type_ == "Progressing"
                && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
        })
        .map(|overdue| Failure {
            reason: Reason::NeverReady,
            message: "the container runs, but its port does not pass the readiness check".to_owned(),
            since: overdue.last_transition_time.as_ref().map(|time| time.0),
        })
}

fn container_failure(container: &ContainerStatus) -> Option<Failure> {
    let state = container.state.as_ref()?;
    let failure = |reason, message: String| Some(Failure { reason, message: bounded(&message), since: None });
    if let Some(waiting) = &state.waiting {
        let detail = waiting.message.as_deref().unwrap_or_default();
        match waiting.reason.as_deref().unwrap_or_default() {
            "ErrImagePull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed" => {
                // The back-off's message ends with that of the attempt before: one text for both.
                let detail = detail.rsplit_once("ErrImagePull: ").map_or(detail, |(_, detail)| detail);
                return failure(
                    Reason::ImagePullFailed,
                    format!("the image {} cannot be pulled: {detail}", container.image),
                );
            }
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                return failure(
                    Reason::ContainerCannotStart,
                    format!("the container cannot be started: {detail}"),
                );
            }
            "CrashLoopBackOff" => return failure(Reason::CrashLoop, crash_message(container)),
            _ => {}
        }
    }
    (container.restart_count >= CRASH_RESTARTS && !container.ready)
        .then(|| failure(Reason::CrashLoop, crash_message(container)))
        .flatten()
}

/// Without counts and times, so that it stays the same from one crash to the next.
fn crash_message(container: &ContainerStatus) -> String {
    let states = [&container.state, &container.last_state];
    let ended = states.into_iter().flatten().find_map(|state| state.terminated.as_ref());
    let how = ended.map_or_else(String::new, |ended| {
        let detail = ended.message.as_deref().or(ended.reason.as_deref()).unwrap_or_default();
        format!(": exit code {} {detail}", ended.exit_code)
    });
    format!("the container ends again and again{}", how.trim_end())
}

fn bounded(message: &str) -> String {
    message.trim().chars().take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests;
