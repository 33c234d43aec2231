//! How far one exchange with a pod got: shared by the request's body, the response's, and the sweep that ends what is late.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use catnap_activator_core::{BYTES_OF_WORK, Function, Reason};
use futures::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};

use crate::body::PodBody;
use crate::lease::Lease;
use crate::worker::Worker;

/// One exchange, from its request's head to its end. It is made once and outlives the attempts and the bodies.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
    broken: AtomicBool,
    /// What of the request's body is none.
    malformed: OnceLock<&'static str>,
    stage: AtomicU8,
    /// The limit that ended the exchange; 0 while none did.
    expiry: AtomicU8,
    /// Whoever waits for the exchange. There is one at a time: the exchange itself, its response's body or its tunnel.
    waker: AtomicWaker,
    /// The rest of the response. It is here, and not with the response's body, because nobody asks that for more while a
    /// client does not read.
    rest: Mutex<Option<Rest>>,
    /// Where the worker's [`Deadlines`](crate::deadlines::Deadlines) list it, counted from 1; 0 when they do not.
    pub(crate) place: AtomicUsize,
    account: Option<Account>,
}

/// Whose work the bytes are, and who has it. Not the client: what goes on without it does not keep its connection.
#[derive(Debug)]
struct Account {
    worker: Arc<Worker>,
    function: Arc<Function>,
}

/// The rest of a response, and the slot and connection that it comes from.
pub(crate) type Rest = (PodBody, Lease);

/// Which limits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// No head of a response yet: all of them.
    Head,
    /// A response is on its way: not the one on its head.
    Body,
    /// A tunnel or a stream of events may go on for as long as bytes move.
    Stream,
    /// The pod sent its last byte.
    Ended,
}

/// The limit that ended an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Expiry {
    FirstByte = 1,
    Request,
    Inactivity,
}

impl Expiry {
    /// The reason to answer with, where that is still possible, and to count.
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::FirstByte => Reason::FirstByteTimeout,
            Self::Request | Self::Inactivity => Reason::RequestTimeout,
        }
    }
}

impl Progress {
    /// Bytes of the request's body that were read, those that were sent again not counted.
    pub(crate) fn request_bytes(&self) -> u64 {
        self.request_bytes.load(Relaxed)
    }

    pub(crate) fn count_request(&self, bytes: usize) {
        let before = self.request_bytes.fetch_add(bytes as u64, Relaxed);
        self.charge(before, bytes as u64);
    }

    /// Bytes of the response's body, or of what a tunnel carried to the client.
    pub(crate) fn response_bytes(&self) -> u64 {
        self.response_bytes.load(Relaxed)
    }

    pub(crate) fn count_response(&self, bytes: u64) {
        let before = self.response_bytes.fetch_add(bytes, Relaxed);
        self.charge(before, bytes);
    }

    /// The bytes are work for this function, beyond that of its request.
    pub(crate) fn belong_to(&mut self, worker: &Arc<Worker>, function: &Arc<Function>) {
        self.account = Some(Account { worker: Arc::clone(worker), function: Arc::clone(function) });
    }

    fn charge(&self, before: u64, bytes: u64) {
        let work = (before + bytes) / BYTES_OF_WORK - before / BYTES_OF_WORK;
        if work > 0
            && let Some(Account { worker, function }) = &self.account
        {
            worker.load.moved(function.name(), work);
        }
    }

    /// True when the client broke its request off.
    pub(crate) fn broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    /// `malformed`: by sending what is no body, and why it is none.
    pub(crate) fn break_request(&self, malformed: Option<&'static str>) {
        if let Some(what) = malformed {
            // The first time counts.
            let _ = self.malformed.set(what);
        }
        self.broken.store(true, Relaxed);
    }

    /// Set when the client sent what is no body, and waits for an answer: why it is none.
    pub(crate) fn malformed(&self) -> Option<&'static str> {
        self.malformed.get().copied()
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Relaxed) {
            0 => Stage::Head,
            1 => Stage::Body,
            2 => Stage::Stream,
            _ => Stage::Ended,
        }
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Relaxed);
    }

    /// The limit that ended the exchange.
    pub(crate) fn expiry(&self) -> Option<Expiry> {
        match self.expiry.load(Relaxed) {
            0 => None,
            1 => Some(Expiry::FirstByte),
            2 => Some(Expiry::Request),
            _ => Some(Expiry::Inactivity),
        }
    }

    /// Waits until a limit ends the exchange.
    pub(crate) async fn expired(&self) -> Expiry {
        poll_fn(|context| {
            // Before it looks: the sweep of another thread could be missed otherwise.
            self.wake_on_expiry(context);
            self.expiry().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    pub(crate) fn wake_on_expiry(&self, context: &Context<'_>) {
        self.waker.register(context.waker());
    }

    /// The rest of the response, while it is to be had.
    pub(crate) fn rest(&self) -> MutexGuard<'_, Option<Rest>> {
        self.rest.lock()
    }

    /// A limit ends the exchange: for the pod it is as if the client had left, which frees the slot of one without a limit
    /// at once. True when a response had begun.
    pub(crate) fn expire(self: &Arc<Self>, expiry: Expiry) -> bool {
        self.expiry.store(expiry as u8, Relaxed);
        let rest = self.rest().take();
        let begun = rest.is_some();
        if let Some((incoming, lease)) = rest {
            lease.leave(incoming, Arc::clone(self), false);
        }
        self.waker.wake();
        begun
    }
}
