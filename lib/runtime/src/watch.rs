//! One kind of object, followed for ever: each trimmed to what this process needs before it is kept.
//!
//! A watch that breaks is taken up again with a growing delay; until then nothing is forgotten, so an API server that is
//! gone changes no route. What a new list no longer holds is known to be gone when that list is complete.

use std::fmt::Debug;

use catnap_runtime::Causes;
use futures::{Stream, StreamExt};
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Config, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::backoff::GrowingDelay;

/// Seconds after which a watch is asked for anew, which bounds how long a silently dropped connection goes unnoticed.
const WATCH_SECONDS: u32 = 60;

/// What became of the objects followed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change<T> {
    /// These are all there are.
    Listed(Vec<T>),
    /// New or different.
    Applied(T),
    /// Gone.
    Deleted(T),
}

/// Follows what `config` selects. `trim` answers `None` only for an object that cannot be named.
pub(crate) fn follow<K, T>(
    api: Api<DeserializeGuard<K>>,
    config: Config,
    trim: impl Fn(K) -> Option<T> + Send + 'static,
) -> impl Stream<Item = Change<T>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    T: Send + 'static,
{
    let events = watch_objects(api, config.timeout(WATCH_SECONDS)).backoff(GrowingDelay::for_watches());
    changes(events, trim)
}

/// The changes that a watcher's events make, lists delivered whole.
fn changes<K, T>(
    events: impl Stream<Item = watcher::Result<Event<DeserializeGuard<K>>>> + Send,
    trim: impl Fn(K) -> Option<T> + Send,
) -> impl Stream<Item = Change<T>> + Send
where
    K: Resource<DynamicType = ()> + Send,
    T: Send,
{
    let mut listing = Vec::new();
    events.filter_map(move |event| {
        let change = match event {
            Ok(Event::Init) => {
                listing.clear();
                None
            }
            Ok(Event::InitApply(object)) => {
                listing.extend(readable(object).and_then(&trim));
                None
            }
            Ok(Event::InitDone) => Some(Change::Listed(std::mem::take(&mut listing))),
            Ok(Event::Apply(object)) => readable(object).and_then(&trim).map(Change::Applied),
            Ok(Event::Delete(object)) => readable(object).and_then(&trim).map(Change::Deleted),
            Err(error) => {
                warn!(kind = %K::kind(&()), error = %Causes(&error), "watch interrupted, keeping what is known");
                None
            }
        };
        std::future::ready(change)
    })
}

fn readable<K: Resource<DynamicType = ()>>(object: DeserializeGuard<K>) -> Option<K> {
    match object.0 {
        Ok(object) => Some(object),
        Err(invalid) => {
            let (namespace, name) = (invalid.metadata.namespace, invalid.metadata.name);
            warn!(kind = %K::kind(&()), namespace, name, error = invalid.error, "object left out: it cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn pod(name: &str) -> DeserializeGuard<Pod> {
        serde_json::from_value(serde_json::json!({"metadata": {"name": name}})).unwrap()
    }

    fn unreadable() -> DeserializeGuard<Pod> {
        serde_json::from_value(serde_json::json!({"metadata": {"name": "bad"}, "spec": {"containers": 3}}))
            .unwrap()
    }

    async fn seen(events: Vec<watcher::Result<Event<DeserializeGuard<Pod>>>>) -> Vec<Change<String>> {
        changes(futures::stream::iter(events), |pod: Pod| pod.metadata.name).collect().await
    }

    #[tokio::test]
    async fn a_list_arrives_whole_and_an_interruption_changes_nothing() {
        let events = vec![
            Ok(Event::Init),
            Ok(Event::InitApply(pod("a"))),
            Err(watcher::Error::NoResourceVersion),
            Ok(Event::Init),
            Ok(Event::InitApply(pod("b"))),
            Ok(Event::InitApply(unreadable())),
            Ok(Event::InitDone),
            Ok(Event::Apply(pod("c"))),
            Ok(Event::Delete(pod("b"))),
        ];
        let expected = [
            Change::Listed(vec!["b".to_owned()]),
            Change::Applied("c".to_owned()),
            Change::Deleted("b".to_owned()),
        ];
        assert_eq!(seen(events).await, expected);
    }
}
