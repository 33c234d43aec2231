//! The Lease object: following it, reading, creating and writing it with bounds in time, and what it looks like in each state.

use std::time::Duration;

use futures::Stream;
use http::StatusCode;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::watcher::Config;
use kube::{Api, Client};
use tokio::time::{Instant, timeout_at};

use super::{DURATION, LeaseError, LeaseSettings};
use crate::watch::{self, Change};

const DURATION_SECONDS: i32 = 6;
const _: () = assert!(DURATION.as_secs() == DURATION_SECONDS.unsigned_abs() as u64);

pub(super) struct LeaseObject {
    client: Client,
    api: Api<Lease>,
    pub(super) settings: LeaseSettings,
}

impl LeaseObject {
    pub(super) fn new(client: Client, settings: LeaseSettings) -> Self {
        Self { api: Api::namespaced(client.clone(), &settings.namespace), client, settings }
    }

    /// What becomes of it, for ever.
    pub(super) fn follow(&self) -> impl Stream<Item = Change<Lease>> + Send + 'static {
        let config = Config::default().fields(&format!("metadata.name={}", self.settings.name));
        watch::follow(Api::namespaced(self.client.clone(), &self.settings.namespace), config, Some, || ())
    }

    pub(super) async fn read(&self, until: Instant) -> Result<Option<Lease>, LeaseError> {
        let name = || self.settings.name.clone();
        match timeout_at(until, self.api.get_opt(&self.settings.name)).await {
            Ok(Ok(lease)) => Ok(lease),
            Ok(Err(source)) => Err(LeaseError::Read { name: name(), source }),
            Err(_) => Err(LeaseError::Timeout { name: name() }),
        }
    }

    /// `None` when somebody else created it first.
    pub(super) async fn create(&self, transitions: i32, until: Instant) -> Result<Option<Lease>, LeaseError> {
        let metadata = ObjectMeta { name: Some(self.settings.name.clone()), ..ObjectMeta::default() };
        let lease = self.taken(Lease { metadata, spec: None }, transitions);
        let parameters = PostParams::default();
        self.outcome(timeout_at(until, self.api.create(&parameters, &lease)).await)
    }

    /// `None` when it is not what `lease` is based on any more.
    pub(super) async fn write(&self, lease: &Lease, until: Instant) -> Result<Option<Lease>, LeaseError> {
        let parameters = PostParams::default();
        self.outcome(timeout_at(until, self.api.replace(&self.settings.name, &parameters, lease)).await)
    }

    fn outcome<E>(&self, answer: Result<kube::Result<Lease>, E>) -> Result<Option<Lease>, LeaseError> {
        let name = || self.settings.name.clone();
        match answer {
            Ok(Ok(lease)) => Ok(Some(lease)),
            Ok(Err(kube::Error::Api(status)))
                if status.code == StatusCode::CONFLICT || status.code == StatusCode::NOT_FOUND =>
            {
                Ok(None)
            }
            Ok(Err(source)) => Err(LeaseError::Write { name: name(), source }),
            Err(_) => Err(LeaseError::Timeout { name: name() }),
        }
    }

    pub(super) fn is_ours(&self, lease: &Lease) -> bool {
        holder(lease) == Some(&self.settings.holder)
    }

    /// True when nobody holds it, or this process does without knowing (a write that got no answer).
    pub(super) fn is_free(&self, lease: &Lease) -> bool {
        holder(lease).is_none() || self.is_ours(lease)
    }

    /// The next term after `transitions`.
    pub(super) fn taken(&self, mut lease: Lease, transitions: i32) -> Lease {
        let now = MicroTime(Timestamp::now());
        let spec = lease.spec.take().unwrap_or_default();
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.settings.holder.clone()),
            lease_duration_seconds: Some(DURATION_SECONDS),
            lease_transitions: Some(transitions.saturating_add(1)),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            ..spec
        });
        let annotations = lease.metadata.annotations.get_or_insert_default();
        annotations.extend(self.settings.annotations.clone());
        lease
    }

    pub(super) fn renewed(&self, mut lease: Lease) -> Lease {
        lease.spec.get_or_insert_default().renew_time = Some(MicroTime(Timestamp::now()));
        lease.metadata.annotations.get_or_insert_default().extend(self.settings.annotations.clone());
        lease
    }

    pub(super) fn released(&self, mut lease: Lease) -> Lease {
        lease.spec.get_or_insert_default().holder_identity = None;
        if let Some(annotations) = &mut lease.metadata.annotations {
            annotations.retain(|name, _| !self.settings.annotations.contains_key(name));
        }
        lease
    }
}

pub(super) fn holder(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref().filter(|holder| !holder.is_empty())
}

/// Never negative, as the API server sees to.
pub(super) fn transitions(lease: &Lease) -> i32 {
    lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0).max(0)
}

pub(super) fn duration(lease: &Lease) -> Duration {
    let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(DURATION, Duration::from_secs)
}
