//! One kind of object, followed for ever: each trimmed to what a process needs before it is kept.
//!
//! A watch that breaks is taken up again with a growing delay; until then nothing is forgotten, so an API server that is
//! gone changes nothing. What a new list no longer holds is known to be gone when that list is complete. An object that
//! cannot be read is left out of a list, and otherwise stays as it was known until it is deleted.

use std::fmt::Debug;
use std::time::Duration;

use catnap_crds::guarded::Guarded;
use futures::{Stream, StreamExt};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Config, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::Causes;
use crate::backoff::GrowingDelay;

/// Seconds after which a watch is asked for anew, which bounds how long a silently dropped connection goes unnoticed.
pub const WATCH_SECONDS: u32 = 60;
/// An API server that restarts is noticed within a few seconds of its return.
const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// What became of the objects followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// These are all there are.
    Listed(Vec<T>),
    /// New or different.
    Applied(T),
    /// Gone; as it was last.
    Deleted(T),
}

/// Follows what `config` selects.
///
/// `trim` answers `None` for an object that is to be left out; it must know an object that goes as well as one that comes,
/// by its metadata alone when it goes.
/// `failed` is called, for metrics, when the watch breaks and when an object cannot be read; both are logged already.
pub fn follow<K, T>(
    api: Api<Guarded<K>>,
    config: Config,
    trim: impl Fn(K) -> Option<T> + Send + 'static,
    failed: impl Fn() + Send + 'static,
) -> impl Stream<Item = Change<T>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Debug + Default + DeserializeOwned + Send + 'static,
    T: Send + 'static,
{
    let events = watch_objects(api, config.timeout(WATCH_SECONDS)).backoff(WatchBackoff::default());
    changes(events, trim, failed)
}

/// The changes that a watcher's events make, lists delivered whole.
fn changes<K, T>(
    events: impl Stream<Item = watcher::Result<Event<Guarded<K>>>> + Send,
    trim: impl Fn(K) -> Option<T> + Send,
    failed: impl Fn() + Send,
) -> impl Stream<Item = Change<T>> + Send
where
    K: Resource<DynamicType = ()> + Default + Send,
    T: Send,
{
    let mut listing = Vec::new();
    events.filter_map(move |event| {
        let read = |object| readable(object, &failed).and_then(&trim);
        let change = match event {
            Ok(Event::Init) => {
                listing.clear();
                None
            }
            Ok(Event::InitApply(object)) => {
                listing.extend(read(object));
                None
            }
            Ok(Event::InitDone) => Some(Change::Listed(std::mem::take(&mut listing))),
            Ok(Event::Apply(object)) => read(object).map(Change::Applied),
            Ok(Event::Delete(object)) => trim(object.into_outline()).map(Change::Deleted),
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), error = %Causes(&error), "watch interrupted, keeping what is known");
                failed();
                None
            }
        };
        std::future::ready(change)
    })
}

fn readable<K: Resource<DynamicType = ()>>(object: Guarded<K>, failed: &impl Fn()) -> Option<K> {
    match object.0 {
        Ok(object) => Some(object),
        Err(unreadable) => {
            let (namespace, name) = (&unreadable.metadata.namespace, &unreadable.metadata.name);
            tracing::warn!(kind = %K::kind(&()), namespace, name, error = %Causes(&unreadable), "object left out");
            failed();
            None
        }
    }
}

/// Delays between the tries of one watch.
///
/// A watcher says `Init` before every try to list, which its stream takes for a success: the delay would never grow. So it
/// starts over after some time without a failure instead.
#[derive(Debug)]
struct WatchBackoff {
    delay: GrowingDelay,
    last_failure: Option<Instant>,
}

impl Default for WatchBackoff {
    fn default() -> Self {
        Self { delay: GrowingDelay::new(FIRST_DELAY, LONGEST_DELAY), last_failure: None }
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        // Failures in a row are the longest delay and one request apart.
        if self.last_failure.replace(now).is_some_and(|last| now - last > 4 * LONGEST_DELAY) {
            self.delay.start_over();
        }
        Some(self.delay.delay())
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests;
