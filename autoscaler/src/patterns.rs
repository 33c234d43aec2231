//! What was learned of functions, in `ConfigMap`s that outlive the leader: read when it takes over, written rarely.
//!
//! [`Shelf`] decides when, without I/O; [`PatternClient`] asks the API server. A shard that was not read is never written, so
//! that what others learned is not lost, and what cannot be understood is dropped.

use std::collections::BTreeMap;
use std::time::Duration;

use catnap_autoscaler_core::{Leader, Learned};
use catnap_runtime::Causes;
use catnap_runtime::lease::Leadership;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout};

/// `ConfigMap`s that the functions are spread over; named in the chart's role one by one.
pub(crate) const SHARDS: usize = 4;
/// Functions in one of them, at some 130 bytes each: well under a megabyte. Further ones are learned anew by each leader.
const MOST_FUNCTIONS: usize = 4_000;
/// Pause after a question that was not answered.
const RETRY: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const MANAGER: &str = "catnap-autoscaler";

/// Stored patterns by the UID of the function.
pub(crate) type Contents = BTreeMap<String, Vec<u8>>;

/// `metadata.resourceVersion` of a shard; `None`: it does not exist yet.
pub(crate) type Version = Option<String>;

/// Something to ask the API server for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Job {
    Read(usize),
    /// In place of what was read at this version; if somebody has written since, nothing.
    Write(usize, Contents, Version),
}

/// What came of it; `None`: nothing.
#[derive(Debug)]
pub(crate) enum Done {
    Read(usize, Option<(Contents, Version)>),
    Written(usize, Option<Version>),
}

/// The shards during one term.
#[derive(Debug)]
pub(crate) struct Shelf {
    /// A shard is written at most this often, and only when it has changed.
    interval: Duration,
    shards: [Shard; SHARDS],
}

#[derive(Clone, Debug, Default)]
struct Shard {
    /// As the API server has it; `None`: not read.
    stored: Option<(Contents, Version)>,
    /// The leader has what was stored: what it has learned since is not dropped for it.
    restored: bool,
    /// What is being written.
    writing: Option<Contents>,
    /// A question is not answered.
    asked: bool,
    /// No question before.
    after: Duration,
}

impl Shelf {
    fn new(interval: Duration) -> Self {
        Self { interval, shards: std::array::from_fn(|_| Shard::default()) }
    }

    /// What to ask for now. Answer each with [`Shelf::done`].
    pub(crate) fn due(&mut self, leader: &mut Leader, now: Duration) -> Vec<Job> {
        let mut jobs = Vec::new();
        for (number, shard) in self.shards.iter_mut().enumerate() {
            if shard.asked || now < shard.after {
                continue;
            }
            let Some((stored, version)) = &shard.stored else {
                shard.asked = true;
                jobs.push(Job::Read(number));
                continue;
            };
            shard.after = now + self.interval;
            let own = leader.patterns().filter(|(uid, _)| shard_of(uid) == number);
            let contents: Contents =
                own.map(|(uid, learned)| (uid.to_string(), learned.stored())).take(MOST_FUNCTIONS).collect();
            if contents != *stored {
                shard.asked = true;
                shard.writing = Some(contents.clone());
                jobs.push(Job::Write(number, contents, version.clone()));
            }
        }
        jobs
    }

    /// What to write before the term ends, however soon after the last time.
    pub(crate) fn last(&mut self, leader: &mut Leader) -> Vec<Job> {
        for shard in &mut self.shards {
            shard.after = Duration::ZERO;
        }
        let mut jobs = self.due(leader, Duration::ZERO);
        jobs.retain(|job| matches!(job, Job::Write(..)));
        jobs
    }

    /// An answer; what was read goes to the leader.
    pub(crate) fn done(&mut self, done: Done, leader: &mut Leader, now: Duration) {
        let (Done::Read(number, _) | Done::Written(number, _)) = done;
        let Some(shard) = self.shards.get_mut(number) else { return };
        shard.asked = false;
        match done {
            Done::Read(_, Some((contents, version))) => {
                if !std::mem::replace(&mut shard.restored, true) {
                    restore(&contents, leader);
                }
                shard.stored = Some((contents, version));
                // Shards are written in turns, not all at once.
                let turn = self.interval / 4 * u32::try_from(number).unwrap_or(0);
                shard.after = now + self.interval + turn;
            }
            Done::Read(_, None) => shard.after = now + RETRY,
            Done::Written(_, Some(version)) => {
                shard.stored = shard.writing.take().map(|contents| (contents, version));
            }
            // It may have landed, or another leader has written: which version is current a read tells.
            Done::Written(_, None) => {
                (shard.writing, shard.stored) = (None, None);
                shard.after = now + RETRY;
            }
        }
    }
}

fn restore(contents: &Contents, leader: &mut Leader) {
    for (uid, bytes) in contents {
        match Learned::restored(bytes) {
            Ok(learned) => leader.restore_pattern(uid.as_str().into(), learned),
            Err(error) => tracing::warn!(uid, %error, "what was learned of a function is dropped"),
        }
    }
}

/// Where a function's pattern is kept, the same for every leader.
fn shard_of(uid: &str) -> usize {
    usize::from(Sha256::digest(uid)[0]) % SHARDS
}

/// Reads and writes of the `ConfigMap`s.
#[derive(Clone)]
pub(crate) struct PatternClient {
    maps: Api<ConfigMap>,
    interval: Duration,
}

impl PatternClient {
    /// For the install namespace; each `ConfigMap` is written at most once in `interval`.
    pub(crate) fn new(client: Client, namespace: &str, interval: Duration) -> Self {
        Self { maps: Api::namespaced(client, namespace), interval }
    }

    /// The shards of a new term, none of which was read.
    pub(crate) fn shelf(&self) -> Shelf {
        Shelf::new(self.interval)
    }

    /// Does it; a failure is logged and tried again later. Without leadership nothing is written.
    pub(crate) async fn carry_out(&self, job: Job, leadership: &Leadership) -> Done {
        match job {
            Job::Read(number) => {
                let read = timeout(REQUEST_TIMEOUT, self.maps.get_opt(&name(number))).await;
                Done::Read(number, answered(number, read).map(|map| map.map(contents).unwrap_or_default()))
            }
            Job::Write(number, ..) if !leadership.is_valid(Instant::now()) => Done::Written(number, None),
            Job::Write(number, contents, version) => {
                let map = object(number, contents, version);
                let parameters = PatchParams::apply(MANAGER).force();
                let patch = Patch::Apply(&map);
                let written =
                    timeout(REQUEST_TIMEOUT, self.maps.patch(&name(number), &parameters, &patch)).await;
                Done::Written(number, answered(number, written).map(|map| map.metadata.resource_version))
            }
        }
    }
}

fn answered<T>(
    number: usize,
    answer: Result<Result<T, kube::Error>, tokio::time::error::Elapsed>,
) -> Option<T> {
    match answer {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::warn!(shard = number, error = %Causes(&error), "cannot keep what was learned");
            None
        }
        Err(_) => None,
    }
}

fn name(number: usize) -> String {
    format!("catnap-patterns-{number}")
}

fn contents(map: ConfigMap) -> (Contents, Version) {
    let data = map.binary_data.unwrap_or_default();
    let contents = data.into_iter().map(|(uid, ByteString(bytes))| (uid, bytes)).collect();
    (contents, map.metadata.resource_version)
}

fn object(number: usize, contents: Contents, version: Version) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name(number)),
            resource_version: version,
            labels: Some([("app.kubernetes.io/managed-by".to_owned(), "catnap".to_owned())].into()),
            ..ObjectMeta::default()
        },
        binary_data: Some(contents.into_iter().map(|(uid, bytes)| (uid, ByteString(bytes))).collect()),
        ..ConfigMap::default()
    }
}

#[cfg(test)]
mod tests;
