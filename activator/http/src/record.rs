//! What is known of one exchange, told to the observer when it ends, whichever way that happens.

use std::sync::Arc;
use std::time::Instant;

use catnap_activator_core::{FunctionName, Phases, Slot};
use catnap_wire::message::RevisionId;

use crate::client::Client;
use crate::observe::{Ended, Outcome};
use crate::progress::Progress;

/// Begins with the parsed head, ends when dropped: with the last byte, or when somebody gave up.
#[derive(Debug)]
pub(crate) struct Record {
    client: Arc<Client>,
    started: Instant,
    function: Option<FunctionName>,
    revision: Option<RevisionId>,
    phases: Option<Phases>,
    first_byte: Option<std::time::Duration>,
    pub(crate) status: Option<u16>,
    /// Until something better is known, the client left.
    pub(crate) outcome: Outcome,
    attempts: u32,
    pub(crate) progress: Arc<Progress>,
}

impl Record {
    pub(crate) fn begin(client: Arc<Client>) -> Self {
        client.socket.exchange_began();
        client.worker.observer.began();
        Self {
            client,
            started: Instant::now(),
            function: None,
            revision: None,
            phases: None,
            first_byte: None,
            status: None,
            outcome: Outcome::ClientLeft,
            attempts: 0,
            progress: Arc::default(),
        }
    }

    pub(crate) fn routed(&mut self, function: &FunctionName) {
        self.function = Some(function.clone());
    }

    pub(crate) fn dispatched(&mut self, slot: &Slot) {
        self.attempts += 1;
        self.revision = Some(slot.revision().clone());
        self.phases = slot.phases();
    }

    pub(crate) fn head_sent(&mut self, status: u16) {
        self.status = Some(status);
        self.first_byte = Some(self.started.elapsed());
    }

    pub(crate) fn phases(&self) -> Option<&Phases> {
        self.phases.as_ref()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.client.worker.deadlines.forget(&self.progress);
        self.client.socket.exchange_ended();
        self.client.worker.observer.ended(&Ended {
            function: self.function.as_ref(),
            revision: self.revision.as_ref(),
            status: self.status,
            outcome: self.outcome,
            duration: self.started.elapsed(),
            first_byte: self.first_byte,
            phases: self.phases,
            attempts: self.attempts,
            request_bytes: self.progress.request_bytes(),
            response_bytes: self.progress.response_bytes(),
        });
    }
}
