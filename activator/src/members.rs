//! The live activators: who takes part in choosing which of them acts first.

use std::collections::HashMap;
use std::net::IpAddr;

use catnap_runtime::watch::Change;
use catnap_wire::PodUid;
use k8s_openapi::api::core::v1::Pod;

/// Selects the activators among the pods of the install namespace.
pub(crate) const SELECTOR: &str = "app.kubernetes.io/name=catnap,app.kubernetes.io/component=activator";

/// An activator's pod, and whether it is one that can act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Activator {
    uid: PodUid,
    /// It takes its share of what is to be done.
    pub(crate) live: bool,
    /// Its container runs.
    pub(crate) runs: bool,
    pub(crate) address: Option<IpAddr>,
}

impl Activator {
    /// Trims a pod; `None` when it has no UID.
    pub(crate) fn trim(pod: Pod) -> Option<Self> {
        let uid = PodUid::from(pod.metadata.uid.as_deref()?);
        let status = pod.status.unwrap_or_default();
        let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let live = !ended && status.pod_ip.is_some() && pod.metadata.deletion_timestamp.is_none();
        let address = status.pod_ip.as_deref().and_then(|address| address.parse().ok());
        let mut containers = status.container_statuses.iter().flatten();
        let runs =
            containers.any(|container| container.state.as_ref().is_some_and(|state| state.running.is_some()));
        Some(Self { uid, live, runs, address })
    }
}

/// All activators of the installation, kept up to date by a watch.
#[derive(Debug, Default)]
pub(crate) struct Members(HashMap<PodUid, Activator>);

impl Members {
    /// Takes a change in and gives the live ones, in a stable order.
    pub(crate) fn apply(&mut self, change: Change<Activator>) -> Vec<PodUid> {
        match change {
            Change::Listed(all) => self.0 = all.into_iter().map(|one| (one.uid.clone(), one)).collect(),
            Change::Applied(one) => drop(self.0.insert(one.uid.clone(), one)),
            Change::Deleted(one) => drop(self.0.remove(&one.uid)),
        }
        let live = self.0.values().filter(|one| one.live);
        let mut live: Vec<_> = live.map(|one| one.uid.clone()).collect();
        live.sort();
        live
    }

    /// The pod of this UID, if there is one.
    pub(crate) fn get(&self, uid: &PodUid) -> Option<&Activator> {
        self.0.get(uid)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn activator(uid: &str, status: &Value) -> Activator {
        let pod = json!({"metadata": {"uid": uid}, "status": status});
        Activator::trim(serde_json::from_value(pod).unwrap()).unwrap()
    }

    #[test]
    fn only_pods_with_an_address_that_have_not_ended_are_members() {
        let mut members = Members::default();
        let live = json!({"phase": "Running", "podIP": "10.0.0.1"});
        let listed = vec![
            activator("b", &live),
            activator("a", &live),
            activator("starting", &json!({"phase": "Pending"})),
            activator("evicted", &json!({"phase": "Failed", "podIP": "10.0.0.2"})),
        ];
        assert_eq!(members.apply(Change::Listed(listed)), ["a".into(), "b".into()]);
        let deleted = Change::Deleted(activator("a", &live));
        assert_eq!(members.apply(deleted), ["b".into()]);
        assert_eq!(
            members.apply(Change::Applied(activator("starting", &live))),
            ["b".into(), "starting".into()]
        );
    }
}
