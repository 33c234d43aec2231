//! Why pods of a revision do not become ready, read from what kubelet, scheduler and controllers say about them.

use std::time::Duration;

use catnap_crds::names;
use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus},
    jiff::Timestamp,
};

use crate::{Finality, Problem, RawDeployment, Reason, RevisionRecord, Scope};

mod ended;

pub(crate) use ended::{Ended, one_after_the_other};

/// Clusters grow, quotas are raised, and programs that start slowly do start: for this long such a failure counts as passing.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// A pod that has its node for this long and is not ready is told of: soon enough for a person who waits, and later than most
/// programs start.
const SLOW: Duration = Duration::from_secs(45);
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
        let patience_lasts = self.patience_ends().is_some_and(|end| end > now);
        let finality = if patience_lasts { Finality::Passing } else { Finality::Final };
        Problem { reason: self.reason, message: self.message.clone(), finality, scope: Scope::Revision }
    }

    /// When a failure that may pass counts as final; `None` for those that are at once.
    pub fn patience_ends(&self) -> Option<Timestamp> {
        match self.reason {
            Reason::Unschedulable | Reason::QuotaExceeded | Reason::NeverReady | Reason::PodFailed => {
                self.since.and_then(|since| since.checked_add(PATIENCE).ok())
            }
            _ => None,
        }
    }
}

/// Why this pod is not ready, if that is a failure at `now` and not just time that it needs.
pub(crate) fn pod_failure(pod: &Pod, record: Option<&RevisionRecord>, now: Timestamp) -> Option<Failure> {
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let container = containers.filter_map(container_failure).min_by_key(|failure| failure.reason);
    container.or_else(|| unschedulable(status)).or_else(|| ignored(pod, status, now)).or_else(|| {
        let start = Start::of(status)?;
        (start.slow_at()? <= now).then(|| Failure {
            reason: Reason::NeverReady,
            message: bounded(&start.message(record)),
            since: Some(start.since),
        })
    })
}

/// When a pod that is not ready yet will have taken long.
pub(crate) fn slow_at(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let ignored = ignored_since(pod, status).and_then(|since| since.checked_add(SLOW).ok());
    ignored.or_else(|| Start::of(status)?.slow_at())
}

fn unschedulable(status: &PodStatus) -> Option<Failure> {
    let scheduled = condition(status, "PodScheduled").filter(|it| it.status == "False")?;
    (scheduled.reason.as_deref() == Some("Unschedulable")).then(|| Failure {
        reason: Reason::Unschedulable,
        message: bounded(scheduled.message.as_deref().unwrap_or("no node has room for a pod")),
        since: scheduled.last_transition_time.as_ref().map(|time| time.0),
    })
}

/// Since when nobody says anything of a pod: no scheduler whether there is a node for it, or the node's kubelet whether it begins.
fn ignored_since(pod: &Pod, status: &PodStatus) -> Option<Timestamp> {
    let PodStatus { init_container_statuses, container_statuses, .. } = status;
    let begun = [init_container_statuses, container_statuses].into_iter().flatten().any(|it| !it.is_empty());
    let since = match placed(status) {
        Some(condition) => &condition.last_transition_time,
        None => &pod.metadata.creation_timestamp,
    };
    since.as_ref().filter(|_| !begun).map(|time| time.0)
}

/// That the pod has a node, in the scheduler's words.
fn placed(status: &PodStatus) -> Option<&PodCondition> {
    condition(status, "PodScheduled").filter(|it| it.status == "True")
}

fn ignored(pod: &Pod, status: &PodStatus, now: Timestamp) -> Option<Failure> {
    let since = ignored_since(pod, status)?;
    let scheduled = condition(status, "PodScheduled");
    let gated = scheduled.and_then(|it| it.reason.as_deref()) == Some("SchedulingGated");
    let said = scheduled.and_then(|it| it.message.as_deref()).filter(|message| !message.is_empty());
    let (reason, message) = if placed(status).is_some() {
        let message = "the kubelet of the pod's node has not begun with it; `kubectl describe pods` tells which node that is";
        (Reason::NeverReady, message)
    } else if gated {
        let message =
            "the pod has scheduling gates: no node is looked for before whoever set them removes them";
        (Reason::Unschedulable, message)
    } else if let Some(message) = said {
        // It looked, and went wrong itself: `SchedulerError`.
        (Reason::Unschedulable, message)
    } else {
        let message = "no scheduler has looked at the pod: a schedulerName in podTemplate must be that of one that runs, and a \
                       nodeName that of a node that is there";
        (Reason::Unschedulable, message)
    };
    let slow = since.checked_add(SLOW).is_ok_and(|slow_at| slow_at <= now);
    slow.then(|| Failure { reason, message: bounded(message), since: Some(since) })
}

/// A container that nothing is known to be wrong with and that is not ready.
struct Start<'a> {
    container: &'a ContainerStatus,
    since: Timestamp,
}

impl<'a> Start<'a> {
    /// That of the function's container, or else of another.
    fn of(status: &'a PodStatus) -> Option<Self> {
        let unready = status.container_statuses.iter().flatten().filter(|container| !container.ready);
        let container = unready.min_by_key(|container| container.name != names::CONTAINER)?;
        let state = container.state.as_ref()?;
        let changed =
            |type_: &str| condition(status, type_)?.last_transition_time.as_ref().map(|time| time.0);
        let since = match (&state.running, &state.waiting) {
            // Not from the start on where it was ready meanwhile.
            (Some(running), _) => running.started_at.as_ref().map(|time| time.0).max(changed("Ready")),
            (None, Some(_)) => changed("PodScheduled"),
            (None, None) => None,
        };
        since.map(|since| Self { container, since })
    }

    fn slow_at(&self) -> Option<Timestamp> {
        self.since.checked_add(SLOW).ok()
    }

    /// Without times, so that it stays the same.
    fn message(&self, record: Option<&RevisionRecord>) -> String {
        let name = &self.container.name;
        if self.container.state.as_ref().is_none_or(|state| state.running.is_none()) {
            return format!(
                "the container {name} has not started: its image is still being pulled, an init container runs, or a volume \
                 cannot be mounted; `kubectl describe pods` tells"
            );
        }
        let check = match record {
            Some(record) if name == names::CONTAINER && !record.requires_ready => unanswered(record),
            _ => "its readiness or startup probe does not pass".to_owned(),
        };
        format!("the container {name} runs and is not ready: {check}")
    }
}

/// What the readiness check of a Function misses.
fn unanswered(record: &RevisionRecord) -> String {
    let RevisionRecord { port, readiness_path, .. } = record;
    if readiness_path.is_empty() {
        format!(
            "nothing accepts connections on port {port}; the program must listen on the port that $PORT names, on all addresses, \
             or spec.port must name the one that it listens on"
        )
    } else {
        format!("GET {readiness_path} on port {port} is not answered with a status from 200 to 399")
    }
}

fn condition<'a>(status: &'a PodStatus, type_: &str) -> Option<&'a PodCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

/// Since when a Deployment has not all the pods it wants, `now` where it does not know it yet; `None` where it tells nothing of it.
pub(crate) fn lacks_since(deployment: &RawDeployment, now: Timestamp) -> Option<Timestamp> {
    let mut conditions = deployment.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    let available = conditions.find(|condition| condition.type_ == "Available")?;
    if available.status == "True" {
        return Some(now);
    }
    available.last_transition_time.as_ref().map(|time| time.0)
}

/// Why a Deployment makes no pods.
pub(crate) fn deployment_failure(deployment: &RawDeployment) -> Option<Failure> {
    let mut conditions = deployment.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    let refused =
        conditions.find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")?;
    let message = refused.message.as_deref().unwrap_or("pods cannot be created");
    let reason = if message.contains("exceeded quota") { Reason::QuotaExceeded } else { Reason::PodRejected };
    let since = refused.last_transition_time.as_ref().map(|time| time.0);
    Some(Failure { reason, message: bounded(message), since })
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
