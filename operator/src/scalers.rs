//! The `HorizontalPodAutoscaler`s of the cluster, by the Deployment that each is to scale: one at a revision's Deployment never
//! agrees with the autoscaler, and its owner is told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use catnap_operator_core::PodAutoscaler;
use catnap_runtime::watch::Change;
use k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
use kube::ResourceExt;
use parking_lot::RwLock;

/// What matters of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scaler {
    namespace: String,
    name: String,
    /// The Deployment that it is to scale, if it is one.
    deployment: Option<String>,
}

/// A Deployment: its namespace and its name.
pub(crate) type Target = (String, String);

/// All of them; nothing is known before there was a list.
#[derive(Debug, Default)]
pub(crate) struct Scalers(RwLock<Option<Index>>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Index {
    /// Names, by what they are to scale.
    by_target: HashMap<Target, BTreeSet<String>>,
    /// What each is to scale, by its namespace and name.
    targets: BTreeMap<(String, String), Target>,
}

impl Scaler {
    pub(crate) fn of(object: &HorizontalPodAutoscaler) -> Self {
        let target = object.spec.as_ref().map(|spec| &spec.scale_target_ref);
        let ours = |version: &String| version.starts_with("apps/");
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            deployment: target
                .filter(|target| target.kind == "Deployment" && target.api_version.as_ref().is_none_or(ours))
                .map(|target| target.name.clone()),
        }
    }
}

impl Scalers {
    /// Takes a change in, and tells for which Deployments something is different by it.
    pub(crate) fn observe(&self, change: Change<Scaler>) -> BTreeSet<Target> {
        let mut known = self.0.write();
        match change {
            Change::Applied(scaler) => known.as_mut().map(|known| known.put(scaler)).unwrap_or_default(),
            Change::Deleted(Scaler { namespace, name, .. }) => {
                let target = known.as_mut().and_then(|known| known.take(&(namespace, name)));
                target.into_iter().collect()
            }
            Change::Listed(all) => {
                let mut listed = Index::default();
                for scaler in all {
                    listed.put(scaler);
                }
                let before = known.take().unwrap_or_default();
                let different =
                    |target: &&Target| before.by_target.get(*target) != listed.by_target.get(*target);
                let targets = before.by_target.keys().chain(listed.by_target.keys());
                let different = targets.filter(different).cloned().collect();
                *known = Some(listed);
                different
            }
        }
    }

    /// Those that are to scale one of these Deployments of a namespace; `None` while that is not known.
    pub(crate) fn of<'a>(
        &self,
        namespace: &str,
        deployments: impl Iterator<Item = &'a str>,
    ) -> Option<Vec<PodAutoscaler>> {
        let known = self.0.read();
        let by_target = &known.as_ref()?.by_target;
        let mut found = Vec::new();
        for deployment in deployments {
            let names = by_target.get(&(namespace.to_owned(), deployment.to_owned()));
            found.extend(
                names
                    .into_iter()
                    .flatten()
                    .map(|name| PodAutoscaler { name: name.clone(), deployment: deployment.to_owned() }),
            );
        }
        found.sort();
        Some(found)
    }

    /// How many are to scale a Deployment.
    pub(crate) fn len(&self) -> usize {
        self.0.read().as_ref().map_or(0, |known| known.targets.len())
    }
}

impl Index {
    fn put(&mut self, scaler: Scaler) -> BTreeSet<Target> {
        let Scaler { namespace, name, deployment } = scaler;
        let target = deployment.map(|deployment| (namespace.clone(), deployment));
        let key = (namespace, name);
        if self.targets.get(&key) == target.as_ref() {
            return BTreeSet::new();
        }
        let mut different: BTreeSet<_> = self.take(&key).into_iter().collect();
        if let Some(target) = target {
            self.by_target.entry(target.clone()).or_default().insert(key.1.clone());
            self.targets.insert(key, target.clone());
            different.insert(target);
        }
        different
    }

    fn take(&mut self, key: &(String, String)) -> Option<Target> {
        let target = self.targets.remove(key)?;
        if let Some(names) = self.by_target.get_mut(&target) {
            names.remove(&key.1);
            if names.is_empty() {
                self.by_target.remove(&target);
            }
        }
        Some(target)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn scaler(name: &str, kind: &str, target: &str) -> Scaler {
        let object = json!({
            "metadata": {"name": name, "namespace": "n"},
            "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": target}},
        });
        Scaler::of(&serde_json::from_value(object).unwrap())
    }

    fn target(name: &str) -> Target {
        ("n".to_owned(), name.to_owned())
    }

    fn names(scalers: &Scalers, deployment: &str) -> Option<Vec<String>> {
        let found = scalers.of("n", [deployment].into_iter())?;
        Some(found.into_iter().map(|found| found.name).collect())
    }

    #[test]
    fn they_are_found_by_the_deployment_that_they_are_to_scale() {
        let scalers = Scalers::default();
        assert_eq!(names(&scalers, "a"), None, "nothing is known yet");
        let listed = vec![scaler("one", "Deployment", "a"), scaler("set", "StatefulSet", "a")];
        assert_eq!(scalers.observe(Change::Listed(listed)), [target("a")].into());
        assert_eq!(scalers.observe(Change::Applied(scaler("two", "Deployment", "a"))), [target("a")].into());
        assert_eq!(names(&scalers, "a").unwrap(), ["one", "two"]);
        assert_eq!(names(&scalers, "b").unwrap(), [""; 0]);
        assert_eq!(scalers.of("m", ["a"].into_iter()), Some(Vec::new()), "of another namespace");
        assert_eq!(scalers.len(), 2);
    }

    #[test]
    fn only_another_target_is_news() {
        let scalers = Scalers::default();
        scalers.observe(Change::Listed(vec![scaler("one", "Deployment", "a")]));
        assert_eq!(scalers.observe(Change::Applied(scaler("one", "Deployment", "a"))), BTreeSet::new());
        let moved = scalers.observe(Change::Applied(scaler("one", "Deployment", "b")));
        assert_eq!(moved, [target("a"), target("b")].into());
        assert_eq!(names(&scalers, "a").unwrap(), [""; 0]);
        let same = vec![scaler("one", "Deployment", "b")];
        assert_eq!(scalers.observe(Change::Listed(same)), BTreeSet::new());
        // As it may be told: without what could not be read of it.
        let gone = Scaler { deployment: None, ..scaler("one", "Deployment", "b") };
        assert_eq!(scalers.observe(Change::Deleted(gone)), [target("b")].into());
        assert_eq!(scalers.observe(Change::Listed(Vec::new())), BTreeSet::new());
        assert_eq!((names(&scalers, "b").unwrap(), scalers.len()), (Vec::new(), 0));
    }

    #[test]
    fn a_deployment_of_another_api_is_none() {
        let target = |version: Value| {
            let target = json!({"apiVersion": version, "kind": "Deployment", "name": "a"});
            let object = json!({
                "metadata": {"name": "one", "namespace": "n"},
                "spec": {"maxReplicas": 3, "scaleTargetRef": target},
            });
            Scaler::of(&serde_json::from_value(object).unwrap()).deployment
        };
        assert_eq!(target(json!("example.com/v1")), None);
        assert_eq!(target(json!("apps/v1")).as_deref(), Some("a"));
        assert_eq!(target(Value::Null).as_deref(), Some("a"));
    }
}
