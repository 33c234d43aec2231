//! Whether the cluster has what Catnap needs, installed or not.

use super::finding::{Finding, State};
use super::read::Facts;

/// The oldest minor version of Kubernetes 1 that Catnap runs on, as in the chart's `kubeVersion`.
const OLDEST_MINOR: u32 = 30;
/// What Catnap does not work without.
const GROUPS: &[&str] = &[
    "apiextensions.k8s.io/v1",
    "apps/v1",
    "authentication.k8s.io/v1",
    "coordination.k8s.io/v1",
    "discovery.k8s.io/v1",
    "events.k8s.io/v1",
    "policy/v1",
    "rbac.authorization.k8s.io/v1",
];
/// Seats of its own at the API server are in this group; it works without.
const FLOW_CONTROL: &str = "flowcontrol.apiserver.k8s.io/v1";
/// Resources of `admissionregistration.k8s.io/v1` that the chart makes unless it is told not to.
const ADMISSION: [&str; 2] = ["validatingadmissionpolicies", "validatingadmissionpolicybindings"];

/// Version and APIs.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    vec![version(facts), groups(facts), flow_control(facts), admission(facts)]
}

/// What the user may not create of what the chart makes: whoever only looks after an installation need not.
pub(super) fn rights(facts: &Facts, installed: bool) -> Finding {
    const CHECK: &str = "your rights";
    let forbidden = match &facts.forbidden {
        Err(error) => return Finding::unknown(CHECK, error),
        Ok(forbidden) => forbidden,
    };
    if forbidden.is_empty() {
        return Finding::ok(CHECK, "you may create what the chart creates");
    }
    let message = format!("you may not create {}", forbidden.join(", "));
    let state = if installed { State::Warning } else { State::Missing };
    let advice = "install or upgrade as an administrator of the cluster; `kubectl auth can-i --list` tells your rights";
    Finding::new(CHECK, state, message).advised(advice)
}

/// The namespace that Catnap is to be in, where there is something to say of it.
pub(super) fn namespace(facts: &Facts, system: &str) -> Option<Finding> {
    const CHECK: &str = "namespace";
    match &facts.namespace {
        Ok(Some(found)) if found.metadata.deletion_timestamp.is_some() => {
            Some(Finding::new(CHECK, State::Failing, format!("{system} is being deleted")).advised(format!(
                "wait until it is gone, or see what keeps it: `kubectl describe namespace {system}`"
            )))
        }
        Ok(None) => Some(
            Finding::new(CHECK, State::Absent, format!("there is no {system} yet"))
                .advised("`helm install` makes it with `--create-namespace`"),
        ),
        // Whoever may not read it may still look after Catnap in it.
        Ok(Some(_)) | Err(_) => None,
    }
}

fn version(facts: &Facts) -> Finding {
    const CHECK: &str = "Kubernetes";
    let info = &facts.version;
    // Some providers write `30+`.
    let number = |text: &str| text.trim_end_matches(|it: char| !it.is_ascii_digit()).parse::<u32>().ok();
    let text = &info.git_version;
    match (number(&info.major), number(&info.minor)) {
        (Some(major), Some(minor)) if (major, minor) >= (1, OLDEST_MINOR) => Finding::ok(CHECK, text),
        (Some(_), Some(_)) => {
            Finding::new(CHECK, State::Missing, format!("{text} is older than 1.{OLDEST_MINOR}"))
                .advised("upgrade the cluster")
        }
        _ => Finding::new(CHECK, State::Warning, format!("the server calls its version `{text}`"))
            .advised(format!("Catnap needs Kubernetes 1.{OLDEST_MINOR} or later")),
    }
}

fn groups(facts: &Facts) -> Finding {
    const CHECK: &str = "APIs";
    let served = match &facts.groups {
        Err(error) => return Finding::unknown(CHECK, error),
        Ok(served) => served,
    };
    let missing: Vec<_> = GROUPS.iter().filter(|group| !served.contains(**group)).copied().collect();
    if missing.is_empty() {
        return Finding::ok(CHECK, "all that Catnap needs are served");
    }
    Finding::new(CHECK, State::Missing, format!("not served: {}", missing.join(", ")))
        .advised("have the API server serve them (its flag --runtime-config)")
}

fn flow_control(facts: &Facts) -> Finding {
    const CHECK: &str = "API priority";
    match &facts.groups {
        Err(error) => Finding::unknown(CHECK, error),
        Ok(served) if served.contains(FLOW_CONTROL) => Finding::ok(CHECK, "served"),
        Ok(_) => Finding::new(
            CHECK,
            State::Warning,
            format!(
                "{FLOW_CONTROL} is not served: a first request takes turns with every other service account"
            ),
        )
        .advised("install with `--set apiPriority.enabled=false`"),
    }
}

fn admission(facts: &Facts) -> Finding {
    const CHECK: &str = "admission policies' API";
    match &facts.admission {
        Err(error) => Finding::unknown(CHECK, error),
        Ok(served) if ADMISSION.iter().all(|kind| served.contains(*kind)) => Finding::ok(CHECK, "served"),
        Ok(_) => Finding::new(
            CHECK,
            State::Warning,
            "ValidatingAdmissionPolicy is not served as v1: nothing but RBAC bounds Catnap's own service accounts",
        )
        .advised("install with `--set admissionPolicies.scale=false,admissionPolicies.peers=false,admissionPolicies.pods=false`"),
    }
}
