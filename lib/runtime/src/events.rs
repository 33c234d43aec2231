//! Events on Functions, at most one a minute of each kind and Function.
//!
//! The first is told at once; those that follow within the minute are counted, and the last of them is told at its end. What is
//! not written in time is given up: an Event is for people, and nothing waits for it.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::Causes;

mod aggregator;

use aggregator::Aggregator;

/// How long a process that ends waits for its last Events.
pub const LAST: Duration = Duration::from_secs(2);
/// Notices that may wait to be taken in.
const WAITING: usize = 1_024;
/// What is kept back is looked at this often.
const CHECK: Duration = Duration::from_secs(1);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// Kubernetes allows 1024 bytes of note.
const MAX_NOTE_BYTES: usize = 1_000;

/// The Function an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its UID.
    pub uid: Arc<str>,
}

/// Something worth telling a person. It repeats another one when all but warning and note are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What it is about.
    pub subject: Subject,
    /// The kind of it, for machines.
    pub reason: &'static str,
    /// What was done, or failed; at most 128 characters.
    pub action: Cow<'static, str>,
    /// The revision that it is about, where those of others are no repetitions of it.
    pub revision: Option<String>,
    /// Whether it is bad.
    pub warning: bool,
    /// For a person; what is too long for Kubernetes is cut off.
    pub note: String,
}

/// Who tells, and how.
pub struct Publisher {
    /// Client of the API server.
    pub client: Client,
    /// `reportingController` of the Events.
    pub controller: &'static str,
    /// `reportingInstance`: the pod.
    pub instance: String,
    /// Events that are written at the same time, at most.
    pub writers: usize,
}

impl Publisher {
    /// Gives where notices go, and the task that writes them to the API server until nobody sends any or `stop`, then what was
    /// sent or kept back by then. `count` is told what became of each Event: `Told`, `Failed` or `Timeout`.
    pub fn start(
        self,
        stop: CancellationToken,
        count: impl Fn(&'static str) + Send + 'static,
    ) -> (mpsc::Sender<Notice>, JoinHandle<()>) {
        let (notices, told) = mpsc::channel(WAITING);
        (notices, tokio::spawn(self.publish(told, stop, count)))
    }

    async fn publish(
        self,
        mut notices: mpsc::Receiver<Notice>,
        stop: CancellationToken,
        count: impl Fn(&'static str),
    ) {
        let mut aggregator = Aggregator::default();
        let mut waiting = VecDeque::new();
        let mut writes = FuturesUnordered::new();
        let mut check = interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sent = true;
        while sent || !writes.is_empty() {
            tokio::select! {
                Some(outcome) = writes.next() => count(outcome),
                () = stop.cancelled(), if !notices.is_closed() => notices.close(),
                notice = notices.recv(), if sent && waiting.is_empty() => {
                    if let Some(notice) = notice {
                        waiting.extend(aggregator.offer(notice, Instant::now()));
                    } else {
                        sent = false;
                        waiting.extend(aggregator.rest());
                    }
                },
                _ = check.tick(), if sent => waiting.extend(aggregator.due(Instant::now())),
            }
            while writes.len() < self.writers.max(1)
                && let Some(notice) = waiting.pop_front()
            {
                writes.push(self.write(notice));
            }
        }
    }

    async fn write(&self, notice: Notice) -> &'static str {
        let events = Api::<Event>::namespaced(self.client.clone(), &notice.subject.namespace);
        let reason = notice.reason;
        let event = event(notice, self.controller, &self.instance);
        match timeout(REQUEST_TIMEOUT, events.create(&PostParams::default(), &event)).await {
            Ok(Ok(_)) => "Told",
            Ok(Err(error)) => {
                tracing::debug!(reason, error = %Causes(&error), "cannot tell an event");
                "Failed"
            }
            Err(_) => "Timeout",
        }
    }
}

/// Shortens a note to so many bytes.
fn cut(note: &mut String, most: usize) {
    note.truncate(note.floor_char_boundary(most));
}

fn event(notice: Notice, controller: &str, instance: &str) -> Event {
    let Notice { subject, reason, action, revision, warning, mut note } = notice;
    let Subject { namespace, name, uid } = subject;
    let now = Timestamp::now();
    cut(&mut note, MAX_NOTE_BYTES);
    let related = revision.map(|revision| ObjectReference {
        api_version: Some(ControllerRevision::API_VERSION.to_owned()),
        kind: Some(ControllerRevision::KIND.to_owned()),
        namespace: Some(namespace.to_string()),
        name: Some(revision),
        ..ObjectReference::default()
    });
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            namespace: Some(namespace.to_string()),
            ..ObjectMeta::default()
        },
        action: Some(action.into_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(note),
        reason: Some(reason.to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some("catnap.dev/v1alpha1".to_owned()),
            kind: Some("Function".to_owned()),
            name: Some(name.to_string()),
            namespace: Some(namespace.to_string()),
            uid: Some(uid.to_string()),
            ..ObjectReference::default()
        }),
        related,
        reporting_controller: Some(controller.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        type_: Some(if warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests;
