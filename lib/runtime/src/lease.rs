//! Leadership by a Lease: one process of several acts, the others stand by.
//!
//! No wall clock is trusted: a candidate takes a Lease over after it saw it unchanged for its whole duration on its own clock, and
//! a leader stops acting two thirds into the duration after it sent the last renewal that was accepted. Candidates watch, so a
//! Lease that is given back is taken at once. Every write carries the resourceVersion it is based on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::Causes;

mod advertised;
mod candidate;
mod object;

pub use advertised::{ADDRESS_ANNOTATION, Advertised, FINGERPRINT_ANNOTATION, advertised};
use object::LeaseObject;

/// For how long others leave a Lease alone that its holder does not renew.
pub const DURATION: Duration = Duration::from_secs(6);
/// How often a leader renews.
pub const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How long a leader acts after it sent the last renewal that was accepted.
pub const ACT_WITHIN: Duration = Duration::from_secs(4);
/// Pause of a process that lost the Lease before it campaigns again.
const BETWEEN_TERMS: Duration = Duration::from_secs(1);
/// How soon something is tried again that failed.
const RETRY_AFTER: Duration = Duration::from_millis(500);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// What to campaign for.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Holder, different for every start of a process ([`crate::identity::holder`]).
    pub holder: String,
    /// Annotations that the Lease carries while this process leads.
    pub annotations: BTreeMap<String, String>,
}

/// The right to act, for as long as [`Leadership::is_valid`] says so.
#[derive(Clone, Debug)]
pub struct Leadership {
    /// `spec.leaseTransitions`: one more with every acquisition.
    pub transitions: u64,
    deadline: Arc<Mutex<Instant>>,
}

impl Leadership {
    /// Leadership that is never renewed: for tests of those who act by it.
    pub fn until(transitions: u64, deadline: Instant) -> Self {
        Self { transitions, deadline: Arc::new(Mutex::new(deadline)) }
    }

    /// To be asked right before every act: leadership may have run out before anybody could say so.
    pub fn is_valid(&self, now: Instant) -> bool {
        now < *self.deadline.lock()
    }
}

/// Why a step of the election failed.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The Lease cannot be read.
    #[error("cannot read lease {name}")]
    Read {
        /// The Lease.
        name: String,
        /// What the API server said.
        #[source]
        source: kube::Error,
    },
    /// The Lease cannot be written.
    #[error("cannot write lease {name}")]
    Write {
        /// The Lease.
        name: String,
        /// What the API server said.
        #[source]
        source: kube::Error,
    },
    /// No answer in time: a write may have landed or not.
    #[error("no answer about lease {name} in time")]
    Timeout {
        /// The Lease.
        name: String,
    },
}

/// A campaign for a Lease. Leadership is published on the channel that [`Election::new`] gives.
pub struct Election {
    object: LeaseObject,
    leadership: watch::Sender<Option<Leadership>>,
}

/// A Lease that this process holds.
struct Held {
    lease: Lease,
    /// When the write that was accepted last was sent.
    sent: Instant,
}

impl Election {
    /// A campaign that begins with [`Election::run`], and the channel that tells who leads: `Some` while this process does.
    pub fn new(client: Client, settings: LeaseSettings) -> (Self, watch::Receiver<Option<Leadership>>) {
        let (leadership, watched) = watch::channel(None);
        (Self { object: LeaseObject::new(client, settings), leadership }, watched)
    }

    /// Campaigns and leads until `release` is cancelled, then gives the Lease back.
    ///
    /// Whoever leads must have stopped acting before it cancels `release`, and no write may be in flight that another leader
    /// could not bear. What waits for its turn finds that its [`Leadership`] is not valid any more.
    pub async fn run(self, release: CancellationToken) {
        let mut transitions = 0;
        while let Some(held) = self.stand_by(&mut transitions, &release).await {
            self.lead(held, &release).await;
            // After a loss, so that whoever watches sees it before the next term begins.
            wait_until(Instant::now() + BETWEEN_TERMS, &release).await;
        }
    }

    /// Acts as the leader until the Lease is lost or released.
    async fn lead(&self, mut held: Held, release: &CancellationToken) {
        let transitions = object::transitions(&held.lease).unsigned_abs().into();
        let deadline = Arc::new(Mutex::new(held.sent + ACT_WITHIN));
        tracing::info!(lease = %self.object.settings.name, transitions, "leading");
        self.leadership.send_replace(Some(Leadership { transitions, deadline: Arc::clone(&deadline) }));
        let mut next = held.sent + RENEW_EVERY;
        loop {
            let valid_until = held.sent + ACT_WITHIN;
            wait_until(next.min(valid_until), release).await;
            if release.is_cancelled() {
                // What still waits for its turn must not begin any more.
                *deadline.lock() = held.sent;
                self.leadership.send_replace(None);
                if let Err(error) = self.release().await {
                    tracing::warn!(error = %Causes(&error), "cannot release; it will expire");
                }
                return;
            }
            let now = Instant::now();
            let renewed =
                if now < valid_until { self.renew(&held, now, valid_until).await } else { Ok(None) };
            match renewed {
                Ok(Some(renewed)) => {
                    held = renewed;
                    *deadline.lock() = held.sent + ACT_WITHIN;
                    next = held.sent + RENEW_EVERY;
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(error = %Causes(&error), "cannot renew");
                    next = Instant::now() + RETRY_AFTER;
                }
            }
        }
        tracing::warn!(lease = %self.object.settings.name, transitions, "no longer leading");
        // Somebody else may hold it before the deadline is over: nothing may be done with it any more.
        *deadline.lock() = held.sent;
        self.leadership.send_replace(None);
    }

    /// `None` when another holds the Lease now.
    async fn renew(&self, held: &Held, sent: Instant, until: Instant) -> Result<Option<Held>, LeaseError> {
        let until = until.min(sent + REQUEST_TIMEOUT);
        let renewed = self.object.renewed(held.lease.clone());
        if let Some(lease) = self.object.write(&renewed, until).await? {
            return Ok(Some(Held { lease, sent }));
        }
        // An earlier renewal without an answer may have landed, or somebody edited labels: look who holds it.
        let Some(lease) = self.object.read(until).await?.filter(|lease| self.object.is_ours(lease)) else {
            return Ok(None);
        };
        let sent = Instant::now();
        let renewed = self.object.renewed(lease);
        let written = self.object.write(&renewed, until).await?;
        Ok(written.map(|lease| Held { lease, sent }))
    }

    async fn release(&self) -> Result<(), LeaseError> {
        let until = Instant::now() + REQUEST_TIMEOUT;
        if let Some(lease) = self.object.read(until).await?.filter(|lease| self.object.is_ours(lease)) {
            self.object.write(&self.object.released(lease), until).await?;
        }
        Ok(())
    }
}

async fn wait_until(instant: Instant, release: &CancellationToken) {
    tokio::select! {
        () = release.cancelled() => {}
        () = sleep_until(instant) => {}
    }
}

#[cfg(test)]
mod tests;
