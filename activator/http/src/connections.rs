//! The client connections of one worker, and the sweep that closes what is late.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::socket::{Phase, Socket};

/// How long a connection counts as new.
const NEW: Duration = Duration::from_secs(1);

/// How long an HTTP/2 client that was asked to leave may be silent before it is taken for one that knows.
const SILENT: Duration = Duration::from_secs(1);

/// How long a client's connection may stay in a phase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PhaseLimits {
    pub(crate) head: Duration,
    pub(crate) idle: Duration,
    /// How long the client may be waited for while it moves next to nothing.
    pub(crate) stall: Duration,
}

/// The connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    sockets: Mutex<Sockets>,
    next: AtomicU64,
    open: AtomicUsize,
    emptied: Notify,
    cut_off: AtomicUsize,
}

/// Sockets by their number, and in the order in which they may have become quiet.
///
/// A request changes nothing here: what is known of a socket is the earliest time since which it can be quiet, and somebody
/// who looks for a quiet one learns more.
#[derive(Debug, Default)]
struct Sockets {
    known: HashMap<u64, Known>,
    order: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Known {
    socket: Arc<Socket>,
    not_quiet_before: Instant,
}

impl Sockets {
    fn all(&self) -> impl Iterator<Item = &Arc<Socket>> {
        self.known.values().map(|known| &known.socket)
    }

    fn add(&mut self, number: u64, socket: &Arc<Socket>) {
        let not_quiet_before = socket.opened();
        self.order.insert((not_quiet_before, number));
        self.known.insert(number, Known { socket: Arc::clone(socket), not_quiet_before });
    }

    fn remove(&mut self, number: u64) {
        if let Some(known) = self.known.remove(&number) {
            self.order.remove(&(known.not_quiet_before, number));
        }
    }

    /// Looks at no more sockets than `most`.
    fn longest_quiet(&mut self, quiet_after: Duration, most: usize) -> Search {
        let now = Instant::now();
        let mut search = Search { found: None, looks: 0 };
        while let Some(&(before, number)) = self.order.first() {
            // From here on they have not been quiet for long enough; who is not quiet at all was put here by this search.
            if before + quiet_after >= now || search.looks == most {
                break;
            }
            search.looks += 1;
            let Some(known) = self.known.get_mut(&number) else { break };
            // A request that nobody has read yet waits for an answer.
            let since = known.socket.quiet_since().filter(|_| !known.socket.has_unread());
            if since == Some(before) {
                search.found = Some((before, Arc::clone(&known.socket)));
                break;
            }
            known.not_quiet_before = since.unwrap_or(now);
            self.order.insert((known.not_quiet_before, number));
            self.order.remove(&(before, number));
        }
        search
    }
}

/// What came of looking for the connection that has been quiet for longest.
#[derive(Debug)]
pub(crate) struct Search {
    /// With the beginning of its silence.
    pub(crate) found: Option<(Instant, Arc<Socket>)>,
    /// Connections that were looked at.
    pub(crate) looks: usize,
}

impl Connections {
    /// Connections that are open now, without the lock.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Counts a connection that is about to come, until the registration is dropped.
    pub(crate) fn reserve(self: &Arc<Self>) -> Registration {
        self.open.fetch_add(1, Relaxed);
        Registration { connections: Arc::clone(self), number: None }
    }

    /// Ends every connection whose head or next request is late, or whose client dawdles.
    pub(crate) fn end_late(&self, limits: PhaseLimits) {
        let now = Instant::now();
        for socket in self.sockets.lock().all() {
            let dawdles = socket.pace.is_late(socket.so_far(), limits.stall, now);
            if dawdles || socket.head_age().is_some_and(|age| age > limits.head) {
                socket.close();
                continue;
            }
            match socket.phase() {
                Phase::Head if socket.phase_age() > limits.head => socket.close(),
                Phase::Idle if socket.is_multiplexed() => send_off(socket, limits.idle),
                Phase::Idle if socket.phase_age() > limits.idle => {
                    socket.ask_to_leave();
                }
                Phase::Head | Phase::Idle | Phase::Busy => {}
            }
        }
    }

    /// Looks for the connection that nobody has had anything to do with for longest, and for longer than `quiet_after`: at no
    /// more than `most`, those first that may have been quiet for longest.
    pub(crate) fn longest_quiet(&self, quiet_after: Duration, most: usize) -> Search {
        self.sockets.lock().longest_quiet(quiet_after, most)
    }

    /// Asks every connection to leave that no request is on; of HTTP/2 those with requests, too. A new one gets a moment to say what
    /// it was opened for.
    pub(crate) fn close_quiet(&self) {
        for socket in self.sockets.lock().all() {
            let leaves = socket.is_multiplexed()
                || match socket.phase() {
                    Phase::Head => socket.received() == 0 && socket.phase_age() > NEW,
                    Phase::Idle => !socket.pace.unsent(),
                    Phase::Busy => false,
                };
            if leaves && !socket.is_leaving() {
                socket.ask_to_leave();
            }
        }
    }

    /// Closes everything. Whatever had a request on it, or the rest of a response, counts as cut off.
    pub(crate) fn close_all(&self) {
        for socket in self.sockets.lock().all() {
            let under_way = match socket.phase() {
                // The codec is done, but the kernel may not be.
                _ if socket.is_let_go() => socket.is_multiplexed() && !socket.all_sent(),
                Phase::Head => socket.received() > 0,
                Phase::Idle => socket.pace.unsent(),
                Phase::Busy => true,
            };
            if under_way {
                self.count_cut_off();
            }
            socket.close();
        }
    }

    /// A connection ended before what was on it, because the server does.
    pub(crate) fn count_cut_off(&self) {
        self.cut_off.fetch_add(1, Relaxed);
    }

    /// Connections that ended before what was on them, because the server does.
    pub(crate) fn cut_off(&self) -> usize {
        self.cut_off.load(Relaxed)
    }

    /// Waits until no connection is left.
    pub(crate) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.open() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

/// An idle HTTP/2 client is asked to leave, and let go when it does not answer: a request that it sent before it heard of that is
/// here by then.
fn send_off(socket: &Socket, longest: Duration) {
    match socket.leaving_for() {
        None if !socket.is_leaving() && socket.phase_age() > longest => {
            socket.ask_to_leave();
        }
        Some(age) if age >= SILENT => {
            if !socket.pace.unsent() && socket.head_age().is_none() && !socket.has_unread() {
                socket.let_go();
            }
        }
        None | Some(_) => {}
    }
}

/// Counts a connection, and keeps its socket known to the worker once it has one.
#[derive(Debug)]
pub(crate) struct Registration {
    connections: Arc<Connections>,
    number: Option<u64>,
}

impl Registration {
    /// Makes the socket known to the sweep.
    pub(crate) fn attach(&mut self, socket: &Arc<Socket>) {
        let number = self.connections.next.fetch_add(1, Relaxed);
        self.connections.sockets.lock().add(number, socket);
        self.number = Some(number);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.connections.sockets.lock().remove(number);
        }
        if self.connections.open.fetch_sub(1, Relaxed) == 1 {
            self.connections.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests;
