//! One request from its head to its response: admitted, perhaps held, sent to a pod, perhaps sent again.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use catnap_activator_core::{Admission, Destination, Function, Reason, Refusal, Slot, Waiting};
use http::header::{CONNECTION, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;

use crate::answer::{self, Asker};
use crate::body::ClientBody;
use crate::body::PodBody;
use crate::client::Client;
use crate::deadlines::Limits;
use crate::head::Head;
use crate::io::Protocol;
use crate::lease::Lease;
use crate::observe::Line;
use crate::pool::Want;
use crate::progress::Expiry;
use crate::record::Record;
use crate::request_body::Replay;
use crate::response_body::ResponseBody;
use crate::sent::Sent;
use crate::trace::StepKind;
use crate::tunnel::Tunnel;
use crate::upstream::SendError;
use crate::{forwarded, headers, timing};

/// The client went away: there is nobody to answer.
#[derive(Debug, thiserror::Error)]
#[error("the client left")]
pub(crate) struct ClientLeft;

/// Why a request has no response from a pod.
#[derive(Debug)]
enum End {
    Refused(Refusal),
    ClientLeft,
}

/// Why one pod gave no response.
enum Failure {
    /// Nothing reached the pod.
    NeverSent(Box<Slot>),
    /// The pod may have acted on it.
    NoHead,
    /// A time limit of the function ended it.
    TimedOut(Expiry),
    /// There is no descriptor or port for a connection, which is no pod's fault.
    NoResource,
    /// The client sent what is no body: why it is none.
    Malformed(&'static str),
    /// There is nobody to answer.
    ClientLeft,
}

/// A response's head, and what the rest of it comes from.
type Answered = (Response<PodBody>, Lease);

/// A request under way.
struct Exchange {
    client: Arc<Client>,
    destination: Destination,
    head: Head,
    body: Replay,
    record: Record,
    asker: Asker,
    /// When the caller of a gRPC call gives up.
    deadline: Option<tokio::time::Instant>,
    /// What it may take at a pod, from the first dispatch on that may have reached one.
    limits: Option<Limits>,
}

/// Answers one request, which begins with the call, not with the first poll. `began`: when its head was here.
// No `async fn`: its future would hold the arguments besides what is made of them.
pub(crate) fn serve(
    client: Arc<Client>,
    request: Request<ClientBody>,
    began: Instant,
) -> impl Future<Output = Result<Response<ResponseBody>, ClientLeft>> + Send {
    let version = request.version();
    let exchange = Exchange::begin(&client, request, began);
    async move {
        let (mut response, last) = match exchange {
            Ok(mut exchange) => {
                let sent = exchange.send().await;
                // Whoever asks for a tunnel may have sent the first bytes in it already.
                let last = exchange.head.asks_to_switch();
                (exchange.end(sent)?, last)
            }
            Err(refused) => (refused.response, refused.last),
        };
        let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let leaves = || client.worker.draining() || client.socket.is_leaving();
        if client.protocol == Protocol::Http1 && !switching && (last || leaves()) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        *response.version_mut() = version;
        Ok(response)
    }
}

/// A request that no function is asked for.
struct Refused {
    response: Response<ResponseBody>,
    /// The connection should end with it (HTTP/1.1).
    last: bool,
}

impl Exchange {
    /// Finds the function. What this needs is not kept while a pod is awaited, and what is kept is not moved.
    fn begin(
        client: &Arc<Client>,
        request: Request<ClientBody>,
        began: Instant,
    ) -> Result<Box<Self>, Box<Refused>> {
        let mut record = Record::begin(Arc::clone(client), began);
        let (mut parts, body) = request.into_parts();
        let checked = Head::check(&parts);
        let request_id = forwarded::identify(&mut parts.headers);
        let asker = Asker::new(&parts.method, &parts.headers, request_id);
        let line = Line::of(&parts);
        let routed = checked.and_then(|()| Head::host(&parts)).and_then(|host| {
            // A valid authority is ASCII.
            let authority = host.to_str().unwrap_or_default();
            let destination = client.worker.activator.route(client.listener, authority)?;
            Ok((destination, host))
        });
        match routed {
            Ok((destination, host)) => {
                record.routed(destination.function());
                let socket = (client.protocol == Protocol::Http1).then(|| Arc::clone(&client.socket));
                let body = Replay::new(body, Arc::clone(&record.progress), socket);
                let (head, trace) = Head::new(parts, host, &client.caller, client.sampling());
                record.describe(line, &asker.request_id, trace);
                let deadline = headers::grpc_timeout(head.headers())
                    .map(|timeout| tokio::time::Instant::now() + timeout);
                let (client, limits) = (Arc::clone(client), None);
                Ok(Box::new(Self { client, destination, head, body, record, asker, deadline, limits }))
            }
            Err(refusal) => {
                // Where its next request begins is not certain, or what comes next is no request.
                let last = parts.method == Method::CONNECT
                    || refusal.reason == Reason::BadRequest
                    || headers::upgrade(parts.version, &parts.headers).is_some();
                record.describe(line, &asker.request_id, None);
                Err(Box::new(Refused { response: refuse(record, &refusal, &asker), last }))
            }
        }
    }

    fn end(self: Box<Self>, sent: Result<Answered, End>) -> Result<Response<ResponseBody>, ClientLeft> {
        match sent {
            Ok((response, lease)) => Ok(self.answer(response, lease)),
            Err(End::Refused(refusal)) => {
                let Self { record, asker, .. } = *self;
                Ok(refuse(record, &refusal, &asker))
            }
            Err(End::ClientLeft) => Err(ClientLeft),
        }
    }

    /// Sends the request until a pod answers, or nothing more may be tried.
    async fn send(&mut self) -> Result<Answered, End> {
        let function = &Arc::clone(self.destination.function());
        let mut admission = self.client.worker.load.admit(&self.destination, self.record.started());
        let mut resent = false;
        loop {
            let slot = match admission {
                Admission::Dispatch(slot) => slot,
                Admission::Held(waiting) => {
                    self.record.wait(StepKind::Hold);
                    let granted = self.hold(function, waiting).await;
                    self.record.go_on();
                    if let Some(deadline) = self.deadline {
                        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
                        self.head.set_grpc_timeout(left);
                    }
                    granted?
                }
                Admission::Refused(refusal) => return Err(End::Refused(refusal)),
            };
            self.limit(function, &slot);
            let progress = Arc::clone(&self.record.progress);
            let attempted = {
                let mut attempt = pin!(self.attempt(slot));
                tokio::select! {
                    biased;
                    // The sweep does not look again at what it ended: a head that comes now comes too late.
                    expiry = progress.expired() => Err(Failure::TimedOut(expiry)),
                    attempted = &mut attempt => attempted,
                }
            };
            admission = match attempted {
                Ok(answered) => return Ok(answered),
                Err(Failure::NeverSent(slot)) => {
                    if !resent {
                        self.unlimit();
                    }
                    slot.connect_failed()
                }
                Err(Failure::NoHead) if !resent && self.replayable() => {
                    resent = true;
                    self.record.send_again();
                    self.destination.admit_again(self.record.revision())
                }
                Err(Failure::NoHead) => {
                    let detail = "the pod ended the exchange before its answer";
                    return Err(self.refused(Reason::UpstreamReset, detail));
                }
                Err(Failure::TimedOut(expiry)) => return Err(self.timed_out(expiry)),
                Err(Failure::NoResource) => {
                    let detail = "this process has no descriptor or port left for a connection to a pod";
                    return Err(self.refused(Reason::ProcessOverloaded, detail));
                }
                Err(Failure::Malformed(what)) => {
                    let detail = format!("the body is not made of chunks as RFC 9112 7.1 has them: {what}");
                    return Err(self.refused(Reason::BadRequest, &detail));
                }
                Err(Failure::ClientLeft) => return Err(End::ClientLeft),
            };
        }
    }

    /// The function's time limits count from now, unless they did already.
    fn limit(&mut self, function: &Function, slot: &Slot) {
        if self.limits.is_none() {
            let limits = *self.limits.insert(Limits::from_now(function.timeouts()));
            let deadlines = &self.client.worker.deadlines;
            // Only a function that speaks HTTP/2 has gRPC calls, whatever a client says.
            let grpc = self.asker.grpc && slot.protocol() == catnap_activator_core::Protocol::H2c;
            deadlines.watch(&self.record.progress, &self.client, limits, grpc);
        }
    }

    /// No pod has the request after all.
    fn unlimit(&mut self) {
        self.limits = None;
        self.client.worker.deadlines.forget(&self.record.progress);
    }

    fn timed_out(&self, expiry: Expiry) -> End {
        let detail = self.limits.map_or_else(String::new, |limits| limits.detail(expiry));
        self.refused(expiry.reason(), &detail)
    }

    fn refused(&self, reason: Reason, detail: &str) -> End {
        End::Refused(self.refusal(reason, detail))
    }

    /// An answer of our own, about the revision that the request was sent to last.
    fn refusal(&self, reason: Reason, detail: &str) -> Refusal {
        let refusal = self.destination.function().refusal(reason, detail.into());
        Refusal { revision: self.record.revision().cloned(), ..refusal }
    }

    /// Waits for a slot, for as long as the client does: the codec drops this when it leaves.
    async fn hold(&self, function: &Arc<Function>, waiting: Waiting) -> Result<Slot, End> {
        let Some(_held) = self.client.hold(function.name()) else {
            let detail = "this connection has too many requests waiting for the function";
            return Err(self.refused(Reason::QueueFull, detail));
        };
        let ahead = if self.client.protocol == Protocol::Http2 { self.body.ahead() } else { 0 };
        let _bytes = waiting.hold_bytes(self.head.bytes() + ahead).map_err(End::Refused)?;
        let deadline = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => pending().await,
            }
        };
        let slot = tokio::select! {
            biased;
            // It is held for a second attempt.
            expiry = self.record.progress.expired() => return Err(self.timed_out(expiry)),
            slot = waiting => slot.map_err(End::Refused)?,
            () = deadline => {
                // It is no fault of a revision that its caller gives it so little time.
                let detail = "the caller's own deadline passed".into();
                return Err(End::Refused(function.refusal(Reason::ActivationTimeout, detail)));
            }
        };
        // The grant may have overtaken the news of a FIN that is already here.
        if self.client.socket.hung_up() { Err(End::ClientLeft) } else { Ok(slot) }
    }

    /// True when the request may be sent again although a pod may have acted on it.
    fn replayable(&self) -> bool {
        self.head.idempotent() && self.body.is_kept()
    }

    /// Sends the request to the slot's pod. A pooled connection that turns out to be closed is replaced once. The slot is in the
    /// future from the call on.
    // No `async fn`, see `serve`.
    fn attempt(&mut self, slot: Slot) -> impl Future<Output = Result<Answered, Failure>> + Send {
        let worker = Arc::clone(&self.client.worker);
        let protocol = slot.protocol();
        let mut want = if self.head.upgrade(protocol).is_some() {
            // A tunnel keeps its connection, and is moved by this worker.
            Want::New
        } else if self.head.idempotent() && self.body.small() {
            Want::Any
        } else {
            Want::Recent
        };
        let pool = worker.pool(&slot);
        let until = self.limits.map(|limits| limits.unattended());
        let mut lease = Lease::new(slot, pool, until);
        async move {
            if let Some(slot) = lease.slot() {
                self.record.dispatched(slot);
            }
            loop {
                let Some(body) = self.body.attempt() else { return Err(self.no_head(lease)) };
                self.record.wait(StepKind::Connect);
                let connected = lease.connect(want, worker.config.connect_timeout).await;
                self.record.go_on();
                let sending = match connected {
                    Ok(link) => link.send(&self.head, body),
                    Err(error) => {
                        tracing::debug!(error = &error as &dyn std::error::Error, "no connection to a pod");
                        return Err(if error.is_local() { Failure::NoResource } else { another_slot(lease) });
                    }
                };
                let answered;
                lease.watch(self.body.watched());
                if lease.limited() {
                    // The exchange goes on without its client, when this is dropped.
                    let progress = Arc::clone(self.body.progress());
                    (answered, lease) = Sent::new(Box::pin(sending), lease, progress).await;
                } else {
                    answered = sending.await;
                }
                match answered {
                    Ok(response) => return Ok((response, lease)),
                    Err(SendError { never_sent, source }) => {
                        // Its stream is over, or its connection.
                        lease.watch(None);
                        tracing::debug!(
                            error = &source as &dyn std::error::Error,
                            never_sent,
                            "no response head"
                        );
                        if !never_sent {
                            return Err(self.no_head(lease));
                        }
                        if !lease.connection_failed() || want == Want::New {
                            return Err(another_slot(lease));
                        }
                        want = Want::New;
                    }
                }
            }
        }
    }

    fn no_head(&self, mut lease: Lease) -> Failure {
        let progress = Arc::clone(self.body.progress());
        let failure = match (progress.malformed(), progress.broken()) {
            (Some(what), _) => Failure::Malformed(what),
            (None, true) => Failure::ClientLeft,
            (None, false) => {
                lease.blame();
                Failure::NoHead
            }
        };
        lease.break_off(progress);
        failure
    }

    /// The response as the client gets it.
    fn answer(
        mut self: Box<Self>,
        mut response: Response<PodBody>,
        mut lease: Lease,
    ) -> Response<ResponseBody> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(response, lease);
        }
        let from_http2 = response.version() == Version::HTTP_2;
        let endless = (self.asker.grpc && from_http2) || headers::is_event_stream(response.headers());
        lease.keep_alive = headers::clean_response(response.headers_mut());
        let to_http1 = from_http2 && self.client.protocol == Protocol::Http1;
        let chunked = to_http1
            && !response.body().is_end_stream()
            && headers::announce_trailers(response.headers_mut());
        if let Some(phases) = self.record.phases() {
            timing::report(response.headers_mut(), phases);
        }
        self.record.head_sent(response.status().as_u16());
        if self.asker.grpc {
            self.record.grpc_answered(headers::grpc_status(response.headers()));
        }
        let Self { body, record, .. } = *self;
        body.release();
        response.map(|incoming| ResponseBody::pod(incoming, chunked, endless, lease, record))
    }

    /// The pod takes up the protocol that the client asked for.
    fn switch(mut self: Box<Self>, response: Response<PodBody>, lease: Lease) -> Response<ResponseBody> {
        let (mut head, body) = response.into_parts();
        let protocol = head.headers.get(http::header::UPGRADE).cloned();
        let asked = lease.slot().is_some_and(|slot| self.head.upgrade(slot.protocol()).is_some());
        let (Some(protocol), Some(pod), true) = (protocol, body.into_stream(), asked) else {
            let detail = "the pod switched protocols without being asked";
            let refusal = self.refusal(Reason::UpstreamReset, detail);
            let Self { record, asker, .. } = *self;
            return refuse(record, &refusal, &asker);
        };
        headers::clean_response(&mut head.headers);
        headers::switching(&mut head.headers, protocol);
        if let Some(phases) = self.record.phases() {
            timing::report(&mut head.headers, phases);
        }
        self.record.head_sent(head.status.as_u16());
        Response::from_parts(head, ResponseBody::switched(Tunnel::new(pod, lease, self.record)))
    }
}

/// Nothing reached the pod: its slot can be exchanged for another.
fn another_slot(lease: Lease) -> Failure {
    lease.into_slot().map_or(Failure::NoHead, |slot| Failure::NeverSent(Box::new(slot)))
}

/// Our own answer.
fn refuse(mut record: Record, refusal: &Refusal, asker: &Asker) -> Response<ResponseBody> {
    record.refused(refusal);
    let response = answer::refuse(refusal, asker);
    record.head_sent(response.status().as_u16());
    response.map(|bytes| ResponseBody::own(bytes, record))
}
