//! What a request holds while Catnap has it: a place in the queue, then a slot of a pod.

use crate::budget::{HeldBytes, Standing};
use crate::destination::Destination;
use crate::effect::Grant;
use crate::phases::Phases;
use crate::pod::Protocol;
use crate::queue::Ticket;
use crate::reason::{FunctionName, Reason, Refusal};
use crate::shared::{How, SharedRevision};
use crate::sync::oneshot;
use catnap_wire::message::{PodUid, RevisionId};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What becomes of a request.
#[derive(Debug)]
pub enum Admission {
    /// It goes to a pod now.
    Dispatch(Slot),
    /// It is held.
    Held(Waiting),
    /// It is answered with an error now.
    Refused(Refusal),
}

/// The handle that a queue keeps of a held request.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) sender: oneshot::Sender<Result<Slot, Refusal>>,
    pub(crate) destination: Destination,
}

/// A held request. Dropping it leaves the queue.
#[derive(Debug)]
pub struct Waiting {
    receiver: oneshot::Receiver<Result<Slot, Refusal>>,
    destination: Destination,
    ticket: Ticket,
    standing: Standing,
    ended: bool,
}

impl Waiting {
    /// A held request and the handle for its queue.
    pub(crate) fn pair(destination: &Destination, ticket: Ticket, standing: Standing) -> (Waiter, Self) {
        let (sender, receiver) = oneshot::channel();
        let waiter = Waiter { sender, destination: destination.clone() };
        (waiter, Self { receiver, destination: destination.clone(), ticket, standing, ended: false })
    }

    /// Memory for the request for as long as it is held. One that was let in before needs no share of it any more.
    pub fn hold_bytes(&self, bytes: usize) -> Result<HeldBytes, Refusal> {
        self.destination.function().hold_bytes(bytes, self.standing)
    }
}

impl Future for Waiting {
    type Output = Result<Slot, Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(context).map(|received| {
            self.ended = true;
            // Queues answer before they drop a handle; one that goes with the whole process is no exception worth more.
            let ending =
                |_| Err(self.destination.function().refusal(Reason::Draining, "the activator ends".into()));
            received.unwrap_or_else(ending)
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.ended {
            // A grant that is already on its way comes back by the slot's own drop, together with the channel.
            self.destination.function().leave(self.ticket);
        }
    }
}

/// One exchange with a pod. Dropping it gives it back.
///
/// With a limit it must live until the pod ended the exchange, even when the client has left.
#[derive(Debug)]
pub struct Slot {
    grant: Grant,
    how: How,
    revision: Arc<SharedRevision>,
    destination: Destination,
    broke_off: bool,
    returned: bool,
}

impl Slot {
    pub(crate) fn new(
        grant: Grant,
        how: How,
        revision: Arc<SharedRevision>,
        destination: Destination,
    ) -> Self {
        Self { grant, how, revision, destination, broke_off: false, returned: false }
    }

    /// Where the pod listens.
    pub fn address(&self) -> SocketAddr {
        self.grant.address
    }

    /// UID of the pod.
    pub fn pod(&self) -> &PodUid {
        &self.grant.uid
    }

    /// How the pod speaks.
    pub fn protocol(&self) -> Protocol {
        self.how.protocol
    }

    /// The revision, for labels.
    pub fn revision(&self) -> &RevisionId {
        self.revision.id()
    }

    /// The function, for labels.
    pub fn function(&self) -> &FunctionName {
        self.destination.function().name()
    }

    /// The revision has a `concurrency.limit`: the exchange counts until the pod ended it, not until the client left.
    pub fn limited(&self) -> bool {
        self.how.limited
    }

    /// How the wait was spent; `None` when the request did not wait.
    pub fn phases(&self) -> Option<Phases> {
        self.grant.phases
    }

    /// The connection was refused, timed out, or was closed before the first byte left: nothing was sent. The request is
    /// tried again in its old place and within its old time.
    pub fn connect_failed(mut self) -> Admission {
        self.returned = true;
        self.destination.retry(&self.revision, &self.grant)
    }

    /// The pod ended the exchange without the head of a response. For a while others are preferred.
    pub fn broke_off(&mut self) {
        self.broke_off = true;
    }

    /// The pod ended the exchange.
    pub fn finished(self) {
        drop(self);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        match (self.returned, self.broke_off) {
            (true, _) => {}
            (false, true) => self.revision.broke_off(self.grant.key),
            (false, false) => self.revision.finished(self.grant.key),
        }
    }
}
