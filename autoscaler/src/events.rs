//! Events on Functions about what was scaled and why, at most one a minute of each kind and Function.
//!
//! The first is told at once; those that follow within the minute are counted, and the last of them is told at its end.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use catnap_runtime::Causes;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as EventObject;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::metrics::Metrics;

const QUIET: Duration = Duration::from_secs(60);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// Kubernetes allows 1024 bytes of note.
const MAX_NOTE_BYTES: usize = 1_000;

/// The Function an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Subject {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) uid: Arc<str>,
}

/// Something worth telling a person.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notice {
    pub(crate) subject: Subject,
    pub(crate) reason: &'static str,
    pub(crate) warning: bool,
    pub(crate) note: String,
}

/// Lets through one notice a minute of each kind and subject.
#[derive(Debug, Default)]
struct Aggregator {
    quiet: HashMap<(Subject, &'static str), Quiet>,
}

/// A minute in which a kind of notice was told already.
#[derive(Debug)]
struct Quiet {
    until: Instant,
    last: Option<Notice>,
    more: u32,
}

impl Quiet {
    fn from(now: Instant) -> Self {
        Self { until: now + QUIET, last: None, more: 0 }
    }
}

impl Aggregator {
    /// `Some` when it is to be told now.
    fn offer(&mut self, notice: Notice, now: Instant) -> Option<Notice> {
        match self.quiet.entry((notice.subject.clone(), notice.reason)) {
            Entry::Vacant(entry) => {
                entry.insert(Quiet::from(now));
                Some(notice)
            }
            Entry::Occupied(mut entry) => {
                let quiet = entry.get_mut();
                quiet.more += 1;
                quiet.last = Some(notice);
                None
            }
        }
    }

    /// What was kept back and is due.
    fn due(&mut self, now: Instant) -> Vec<Notice> {
        let mut due = Vec::new();
        self.quiet.retain(|_, quiet| {
            if quiet.until > now {
                return true;
            }
            let Some(mut notice) = quiet.last.take() else { return false };
            if quiet.more > 1 {
                notice.note = format!("{} (the last of {} within a minute)", notice.note, quiet.more);
            }
            due.push(notice);
            *quiet = Quiet::from(now);
            true
        });
        due
    }
}

/// Writes notices to the API server until nobody sends any.
pub(crate) async fn publish(
    client: Client,
    reporter: String,
    mut notices: mpsc::Receiver<Notice>,
    metrics: Metrics,
) {
    let mut aggregator = Aggregator::default();
    let mut check = interval(Duration::from_secs(1));
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let told = tokio::select! {
            notice = notices.recv() => match notice {
                Some(notice) => aggregator.offer(notice, Instant::now()).into_iter().collect(),
                None => return,
            },
            _ = check.tick() => aggregator.due(Instant::now()),
        };
        for notice in told {
            let events = Api::<EventObject>::namespaced(client.clone(), &notice.subject.namespace);
            let event = event(&notice, &reporter);
            let parameters = PostParams::default();
            match timeout(REQUEST_TIMEOUT, events.create(&parameters, &event)).await {
                Ok(Ok(_)) => metrics.event("Told"),
                Ok(Err(error)) => {
                    tracing::debug!(error = %Causes(&error), "cannot tell an event");
                    metrics.event("Failed");
                }
                Err(_) => metrics.event("Timeout"),
            }
        }
    }
}

fn event(notice: &Notice, reporter: &str) -> EventObject {
    let Subject { namespace, name, uid } = &notice.subject;
    let now = Timestamp::now();
    let mut note = notice.note.clone();
    note.truncate(note.floor_char_boundary(MAX_NOTE_BYTES));
    EventObject {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            namespace: Some(namespace.to_string()),
            ..ObjectMeta::default()
        },
        action: Some("Scaling".to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(note),
        reason: Some(notice.reason.to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some("catnap.dev/v1alpha1".to_owned()),
            kind: Some("Function".to_owned()),
            name: Some(name.to_string()),
            namespace: Some(namespace.to_string()),
            uid: Some(uid.to_string()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some("catnap.dev/autoscaler".to_owned()),
        reporting_instance: Some(reporter.to_owned()),
        type_: Some(if notice.warning { "Warning" } else { "Normal" }.to_owned()),
        ..EventObject::default()
    }
}

#[cfg(test)]
mod tests;
