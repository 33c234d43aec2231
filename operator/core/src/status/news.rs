//! What is new since the last status, for Events on the Function.

use catnap_crds::{FunctionStatus, HostStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{
    Reason,
    condition::{PROVING, REVISION_READY, ROLLING_OUT, ROUTES_READY, find},
};

/// Something that happened, for an Event on the Function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The Event's reason.
    pub reason: &'static str,
    /// The Event's action: with the revision it keeps different news from being taken for one that repeats.
    pub action: String,
    /// The revision that it is about, where it is about one.
    pub revision: Option<String>,
    /// Whether it is bad.
    pub warning: bool,
    /// For a person.
    pub note: String,
}

/// What `status` says that `previous` did not.
pub(super) fn news(previous: &FunctionStatus, status: &FunctionStatus) -> Vec<News> {
    let changed = |before: &Option<String>, after: &Option<String>| after.clone().filter(|_| before != after);
    let mut news = Vec::new();
    let mut tell = |reason, action: &str, revision: Option<String>, warning, note| {
        news.push(News { reason, action: action.to_owned(), revision, warning, note });
    };
    if let Some(name) = changed(&previous.latest_created_revision, &status.latest_created_revision) {
        let note = format!("Revision {name} was made");
        tell("RevisionCreated", "Create", Some(name), false, note);
    }
    if let Some(name) = changed(&previous.latest_ready_revision, &status.latest_ready_revision) {
        let note = format!("Revision {name} takes all traffic");
        tell("RevisionReady", "Route", Some(name), false, note);
    }
    for (type_, failed, waits) in [
        (REVISION_READY, "RevisionFailed", "RevisionNotReady"),
        (ROUTES_READY, "RoutesFailed", "RoutesNotReady"),
    ] {
        let Some(now) = find(&status.conditions, type_).filter(|now| is_trouble(now)) else { continue };
        let known = find(&previous.conditions, type_);
        if known.is_some_and(|known| (&known.status, &known.reason) == (&now.status, &now.reason)) {
            continue;
        }
        let revision = status.latest_created_revision.clone().filter(|_| type_ == REVISION_READY);
        let reason = if now.status == "False" { failed } else { waits };
        tell(reason, &now.reason, revision, true, format!("{}: {}", now.reason, now.message));
    }
    let same =
        |host: &HostStatus, known: &HostStatus| (&host.host, &host.reason) == (&known.host, &known.reason);
    for host in status.hosts.iter().filter(|host| !host.accepted) {
        if !previous.hosts.iter().any(|known| same(host, known)) {
            let note = format!("{}: {}: {}", host.reason, host.host, host.message);
            // An action has at most 128 characters.
            let action = host.host.get(..128).unwrap_or(&host.host);
            tell("HostConflict", action, None, true, note);
        }
    }
    news
}

/// Whether a condition says no, or gives a cause for not knowing. What becomes of hosts has Events of its own.
fn is_trouble(condition: &Condition) -> bool {
    let host = [Reason::HostTaken, Reason::HostNotAllowed].map(Reason::as_str);
    match condition.status.as_str() {
        "True" => false,
        "False" => !host.contains(&condition.reason.as_str()),
        _ => ![PROVING, ROLLING_OUT].contains(&condition.reason.as_str()),
    }
}
