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
        let note = format!("Revision {name} {}", share_of(status, &name));
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

/// What the revision takes, in words.
fn share_of(status: &FunctionStatus, revision: &str) -> String {
    let shares = status.traffic.iter().filter(|share| share.revision == revision);
    match shares.map(|share| share.percent).sum() {
        100 => "takes all traffic".to_owned(),
        0 => "proved itself, and takes no traffic, as spec.traffic says".to_owned(),
        percent => format!("takes {percent} percent of the traffic"),
    }
}

/// Whether a condition says no, or gives a cause for not knowing. What becomes of hosts has Events of its own, and to wait for one's
/// turn is no trouble.
fn is_trouble(condition: &Condition) -> bool {
    let host = [Reason::HostTaken, Reason::HostNotAllowed].map(Reason::as_str);
    match condition.status.as_str() {
        "True" => false,
        "False" => !host.contains(&condition.reason.as_str()),
        _ => {
            let turns = [Reason::WaitingForProof, Reason::PredecessorLeaving].map(Reason::as_str);
            ![PROVING, ROLLING_OUT].iter().chain(&turns).any(|reason| *reason == condition.reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use catnap_crds::TrafficStatus;
    use serde_json::json;

    use super::*;

    fn told(status: &FunctionStatus) -> Vec<News> {
        news(&FunctionStatus::default(), status)
    }

    #[test]
    fn it_is_said_what_a_ready_revision_takes() {
        for (percent, words) in [
            (100, "Revision b takes all traffic"),
            (10, "Revision b takes 10 percent of the traffic"),
            (0, "Revision b proved itself, and takes no traffic, as spec.traffic says"),
        ] {
            let share = TrafficStatus { revision: "b".into(), percent, latest: true, tag: None };
            let status = FunctionStatus {
                latest_ready_revision: Some("b".into()),
                traffic: vec![share],
                ..FunctionStatus::default()
            };
            assert_eq!(told(&status)[0].note, words);
        }
    }

    #[test]
    fn to_wait_for_a_turn_is_no_trouble() {
        let waits = |reason: &str| {
            let condition = json!({
                "type": REVISION_READY, "status": "Unknown", "reason": reason, "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            let conditions = vec![serde_json::from_value(condition).unwrap()];
            told(&FunctionStatus { conditions, ..FunctionStatus::default() })
        };
        assert_eq!(waits("WaitingForProof"), []);
        assert_eq!(waits("PredecessorLeaving"), []);
        assert_eq!(waits("Unschedulable")[0].reason, "RevisionNotReady");
    }
}
