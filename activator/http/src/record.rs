//! What is known of one exchange, told to the observer when it ends, whichever way that happens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use catnap_activator_core::{Function, Phases, Reason, Refusal, Slot};
use catnap_wire::message::RevisionId;
use http::HeaderValue;

use crate::client::Client;
use crate::observe::{Details, Ended, Line, Outcome};
use crate::progress::Progress;
use crate::trace::{StepKind, Trace};

/// Begins with the parsed head, ends when dropped: with the last byte, or when somebody gave up.
#[derive(Debug)]
pub(crate) struct Record {
    client: Arc<Client>,
    started: Instant,
    function: Option<Arc<Function>>,
    revision: Option<RevisionId>,
    /// When the wait for capacity began that it is in, and how long those before took.
    hold_began: Option<Instant>,
    held: Option<Duration>,
    /// `None` of most requests, which do not wait.
    phases: Option<Box<Phases>>,
    /// Those until it was sent for the first time, when it was sent twice.
    earlier: Option<Box<Phases>>,
    first_byte: Option<Duration>,
    pub(crate) status: Option<u16>,
    /// Of a gRPC call that the function answered.
    grpc_status: Option<u8>,
    /// Until something better is known, the client left.
    pub(crate) outcome: Outcome,
    attempts: u32,
    details: Option<Box<Details>>,
    pub(crate) progress: Arc<Progress>,
}

impl Record {
    /// `started`: when its head was here.
    pub(crate) fn begin(client: Arc<Client>, started: Instant) -> Self {
        client.socket.exchange_began(started);
        client.worker.observer.began();
        Self {
            client,
            started,
            function: None,
            revision: None,
            hold_began: None,
            held: None,
            phases: None,
            earlier: None,
            first_byte: None,
            status: None,
            grpc_status: None,
            outcome: Outcome::ClientLeft,
            attempts: 0,
            details: None,
            progress: Arc::default(),
        }
    }

    pub(crate) fn routed(&mut self, function: &Arc<Function>) {
        self.function = Some(Arc::clone(function));
        // Nobody else has it yet.
        if let Some(progress) = Arc::get_mut(&mut self.progress) {
            progress.belong_to(&self.client.worker, function);
        }
    }

    pub(crate) fn dispatched(&mut self, slot: &Slot) {
        self.attempts += 1;
        self.revision = Some(slot.revision().clone());
        let phases = match (self.earlier.as_deref().copied(), slot.phases()) {
            (Some(earlier), Some(phases)) => Some(earlier.and(phases)),
            (earlier, phases) => earlier.or(phases),
        };
        self.phases = phases.map(Box::new);
        if let Some(details) = &mut self.details {
            details.pod = Some(Arc::clone(slot.pod()));
        }
    }

    /// Catnap answers it itself. It may have been sent to another revision than the one that this is about, if it is about any.
    pub(crate) fn refused(&mut self, refusal: &Refusal) {
        self.outcome = Outcome::Refused(refusal.reason);
        self.revision.clone_from(&refusal.revision);
    }

    /// A pod that had it gave no response: its next wait is another one.
    pub(crate) fn send_again(&mut self) {
        self.earlier = self.phases.clone();
    }

    /// Keeps the details of the request, when somebody wants them.
    pub(crate) fn describe(&mut self, line: Line, request_id: &HeaderValue, trace: Option<Box<Trace>>) {
        if trace.is_some() || self.client.worker.observer.wants_details() {
            self.details = Some(Box::new(details(&self.client, line, request_id, trace)));
        }
    }

    /// The request waits from now on.
    pub(crate) fn wait(&mut self, kind: StepKind) {
        if kind == StepKind::Hold {
            self.hold_began = Some(Instant::now());
        }
        let started = self.started;
        if let Some(trace) = self.trace_mut() {
            trace.begin(kind, started);
        }
    }

    /// It does not wait any more.
    pub(crate) fn go_on(&mut self) {
        self.end_hold();
        let started = self.started;
        if let Some(trace) = self.trace_mut() {
            trace.end(started);
        }
    }

    fn end_hold(&mut self) {
        if let Some(began) = self.hold_began.take() {
            *self.held.get_or_insert_default() += began.elapsed();
        }
    }

    fn trace_mut(&mut self) -> Option<&mut Trace> {
        self.details.as_mut()?.trace.as_deref_mut()
    }

    pub(crate) fn head_sent(&mut self, status: u16) {
        self.status = Some(status);
        self.first_byte = Some(self.started.elapsed());
    }

    /// Head or trailers of the function's answer to a gRPC call: the latter say more.
    pub(crate) fn grpc_answered(&mut self, status: Option<u8>) {
        self.grpc_status = status.or(self.grpc_status);
    }

    /// When its head was parsed.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Where it was sent last.
    pub(crate) fn revision(&self) -> Option<&RevisionId> {
        self.revision.as_ref()
    }

    pub(crate) fn phases(&self) -> Option<&Phases> {
        self.phases.as_deref()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.client.worker.deadlines.forget(&self.progress);
        self.end_hold();
        let ended = Instant::now();
        self.client.socket.exchange_ended(ended);
        self.client.worker.observer.ended(&Ended {
            function: self.function.as_deref(),
            revision: self.revision.as_ref(),
            status: self.status,
            grpc_status: self.grpc_status,
            outcome: self.outcome,
            duration: ended.saturating_duration_since(self.started),
            first_byte: self.first_byte,
            held: self.held,
            phases: self.phases.as_deref().copied(),
            attempts: self.attempts,
            request_bytes: self.progress.request_bytes(),
            response_bytes: self.progress.response_bytes(),
            details: self.details.as_deref(),
        });
    }
}

fn details(client: &Client, line: Line, request_id: &HeaderValue, trace: Option<Box<Trace>>) -> Details {
    let Line { method, version, path_length } = line;
    let (tls, request_id) = (client.caller.tls(), request_id.clone());
    Details { method, version, tls, request_id, path_length, pod: None, trace }
}

/// Tells of what the parser refused, before it is answered.
pub(crate) fn unparsable(client: &Client, line: Line, reason: Reason, request_id: &HeaderValue) {
    let details = client.worker.observer.wants_details().then(|| details(client, line, request_id, None));
    client.worker.observer.unparsable(&Ended {
        function: None,
        revision: None,
        status: Some(reason.status()),
        grpc_status: None,
        outcome: Outcome::Refused(reason),
        duration: Duration::ZERO,
        first_byte: None,
        held: None,
        phases: None,
        attempts: 0,
        request_bytes: 0,
        response_bytes: 0,
        details: details.as_ref(),
    });
    tracing::debug!(peer = %client.socket.peer, %reason, "no request");
}
