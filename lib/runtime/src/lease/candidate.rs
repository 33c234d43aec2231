//! Standing by: a candidate follows the Lease and takes it when nobody holds it, or nobody renewed it for its whole duration.
//!
//! The watch says at once that a Lease was given back, but nothing depends on it: what was seen last is taken only on its
//! resourceVersion, and a Lease that turned out to be another one, or of which nothing is heard, is read.

use std::pin::pin;

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::object::{self, LeaseObject};
use super::{Election, Held, LeaseError, REQUEST_TIMEOUT, RETRY_AFTER};
use crate::Causes;
use crate::watch::Change;

/// What a candidate knows.
struct Candidate<'a> {
    object: &'a LeaseObject,
    /// Most transitions seen: terms rise even when somebody deletes the Lease.
    transitions: &'a mut i32,
    sighting: Option<Sighting>,
    /// What was seen is not the last word: it is to be read.
    in_doubt: bool,
    /// When to look if the watch says nothing.
    look_at: Instant,
}

/// The Lease as it was seen last; `None`: there is none.
struct Sighting {
    lease: Option<Lease>,
    /// When this version of it was seen first.
    since: Instant,
}

impl Election {
    /// Waits until this process holds the Lease; `None` when `release` came first.
    pub(super) async fn stand_by(&self, transitions: &mut i32, release: &CancellationToken) -> Option<Held> {
        let mut changes = pin!(self.object.follow());
        let mut candidate = Candidate {
            object: &self.object,
            transitions,
            sighting: None,
            in_doubt: true,
            // The watch begins with a list, which leaves nothing to read.
            look_at: Instant::now() + RETRY_AFTER,
        };
        loop {
            tokio::select! {
                biased;
                () = release.cancelled() => return None,
                Some(change) = changes.next() => candidate.see(match change {
                    Change::Listed(mut leases) => leases.pop(),
                    Change::Applied(lease) => Some(lease),
                    Change::Deleted(_) => None,
                }),
                () = sleep_until(candidate.look_at) => {}
            }
            match candidate.try_acquire().await {
                Ok(None) => {}
                Ok(held) => return held,
                Err(error) => tracing::warn!(error = %Causes(&error), "cannot campaign"),
            }
        }
    }
}

impl Candidate<'_> {
    fn see(&mut self, lease: Option<Lease>) {
        let version = |lease: &Option<Lease>| lease.as_ref()?.metadata.resource_version.clone();
        let known = self.sighting.take().filter(|known| version(&known.lease) == version(&lease));
        let since = known.map_or_else(Instant::now, |known| known.since);
        *self.transitions = lease.as_ref().map_or(0, object::transitions).max(*self.transitions);
        self.sighting = Some(Sighting { lease, since });
        self.in_doubt = false;
    }

    /// Takes the Lease if it is free; else it is looked at again when it may be.
    async fn try_acquire(&mut self) -> Result<Option<Held>, LeaseError> {
        self.look_at = Instant::now() + RETRY_AFTER;
        if self.in_doubt {
            let lease = self.object.read(Instant::now() + REQUEST_TIMEOUT).await?;
            self.see(lease);
        }
        let Some(Sighting { lease, since }) = &self.sighting else { return Ok(None) };
        let (sent, transitions) = (Instant::now(), *self.transitions);
        let until = sent + REQUEST_TIMEOUT;
        let written = match lease {
            Some(lease) if !self.object.is_free(lease) && sent < *since + object::duration(lease) => {
                self.look_at = *since + object::duration(lease);
                return Ok(None);
            }
            // Unless it is accepted, somebody else was quicker, or it landed without an answer.
            Some(lease) => {
                self.in_doubt = true;
                self.object.write(&self.object.taken(lease.clone(), transitions), until).await?
            }
            None => {
                self.in_doubt = true;
                self.object.create(transitions, until).await?
            }
        };
        Ok(written.map(|lease| Held { lease, sent }))
    }
}
