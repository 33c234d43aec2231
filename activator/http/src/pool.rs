//! Connections to pods that are open and idle, and HTTP/2 ones that have room.
//!
//! Every worker has a pool of its own; pods with a concurrency limit share one per process, so that open connections to
//! such a pod never exceed its limit.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use catnap_activator_core::{Protocol, Slot};
use catnap_wire::message::PodUid;
use foldhash::HashMap;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::upstream::{ConnectError, Link};
pub(crate) use unfinished::Unfinished;

mod unfinished;

/// Idle connections are closed after this time: some servers close theirs after 5 s.
const IDLE: Duration = Duration::from_secs(4);
/// A request that cannot be sent again takes only a connection that was idle for less.
const FRESH: Duration = Duration::from_millis(500);
/// Idle connections that a pod keeps however few were used.
const FEWEST: usize = 2;
/// Seconds over which the peak of used connections counts.
const PEAK_SECONDS: usize = 4;
/// A pod's own keep-alive timeout is undercut by this.
const MARGIN: Duration = Duration::from_secs(1);

/// Open connections by pod.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    pods: Mutex<HashMap<PodUid, Connections>>,
}

#[derive(Debug, Default)]
struct Connections {
    idle: Vec<Idle>,
    /// HTTP/2 connections; each counts as one use of itself.
    shared: Vec<Idle>,
    unfinished: Vec<Unfinished>,
    connecting: Option<Connecting>,
    used: usize,
    peaks: [usize; PEAK_SECONDS],
}

/// An HTTP/2 connection that several exchanges wait for.
type Connecting = Shared<BoxFuture<'static, Result<(), ConnectError>>>;

#[derive(Debug)]
struct Idle {
    link: Link,
    since: Instant,
    /// Closed at this time if still idle.
    until: Instant,
}

/// How a connection is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Any that is open.
    Any,
    /// One that the pod has hardly had time to close: the request cannot be sent again.
    Recent,
    /// A new one, over HTTP/1.1.
    New,
}

impl Pool {
    /// A connection to the slot's pod, pooled or new. An HTTP/2 connection is made once for all who wait for it.
    pub(crate) async fn link(
        self: &Arc<Self>,
        slot: &Slot,
        want: Want,
        timeout: Duration,
    ) -> Result<Link, ConnectError> {
        if slot.protocol() == Protocol::H2c {
            return self.shared_link(slot, timeout).await;
        }
        if let Some(link) = self.take(slot, want) {
            return Ok(link);
        }
        // Not often needed, and large: it is not to be in every exchange.
        Box::pin(Link::connect(slot.address(), Protocol::Http1, timeout)).await
    }

    /// Takes an idle connection. When there is none to be used and the pod has a limit, one that is not to be used is
    /// closed, to make room for the new one.
    fn take(&self, slot: &Slot, want: Want) -> Option<Link> {
        let mut pods = self.pods.lock();
        let idle = &mut pods.get_mut(slot.pod())?.idle;
        let now = Instant::now();
        if want != Want::New {
            while let Some(Idle { mut link, since, until }) = idle.pop() {
                let recent = want == Want::Any || (now - since < FRESH && !link.socket().hung_up());
                if recent && now < until && link.is_ready() {
                    link.reused = true;
                    return Some(link);
                }
                link.socket().close();
                if want == Want::Recent {
                    break;
                }
            }
        } else if slot.limited()
            && let Some(spare) = idle.pop()
        {
            spare.link.socket().close();
        }
        None
    }

    /// Whoever connects has a stream of that connection for itself, so that no exchange connects more than once.
    async fn shared_link(self: &Arc<Self>, slot: &Slot, timeout: Duration) -> Result<Link, ConnectError> {
        loop {
            let (connecting, own) = {
                let mut pods = self.pods.lock();
                let connections = pods.entry(Arc::clone(slot.pod())).or_default();
                if let Some(link) = connections.shared.iter_mut().find_map(Idle::share) {
                    return Ok(link);
                }
                let over = connections.take_finished();
                if !over.is_empty() {
                    // These had the places.
                    drop(pods);
                    drop(over);
                    continue;
                }
                if let Some(connecting) = &connections.connecting {
                    (connecting.clone(), None)
                } else {
                    let (connecting, own) = self.connect_shared(slot, timeout);
                    (connections.connecting.insert(connecting).clone(), Some(own))
                }
            };
            connecting.await?;
            if let Some(own) = own {
                return own.await.map_err(|_| ConnectError::GivenUp);
            }
        }
    }

    /// Connects in a task of its own: the exchange that began it may end before the others have their connection.
    fn connect_shared(
        self: &Arc<Self>,
        slot: &Slot,
        timeout: Duration,
    ) -> (Connecting, oneshot::Receiver<Link>) {
        let address = slot.address();
        let attempt = Attempt { pool: Arc::clone(self), pod: Arc::clone(slot.pod()) };
        let (sender, own) = oneshot::channel();
        let connecting = async move {
            let link = Link::connect(address, Protocol::H2c, timeout).await?;
            // When the exchange is over already, its stream is another's.
            let _ = sender.send(attempt.connected(link, address)?);
            Ok(())
        };
        // Begun by the first poll, when the pool is not locked: a runtime that ends drops the task at once.
        let connecting = async move { tokio::spawn(connecting).await.unwrap_or(Err(ConnectError::GivenUp)) };
        (connecting.boxed().shared(), own)
    }

    /// Begins no more streams on an HTTP/2 connection that refused one; those that are open go on.
    pub(crate) fn forget(&self, pod: &PodUid, link: &Link) {
        if let Some(connections) = self.pods.lock().get_mut(pod) {
            connections.shared.retain(|shared| !Arc::ptr_eq(shared.link.connected(), link.connected()));
        }
    }

    /// Keeps a stream until its upload is over.
    pub(crate) fn keep(&self, pod: &PodUid, stream: Unfinished) {
        self.pods.lock().entry(Arc::clone(pod)).or_default().unfinished.push(stream);
    }

    /// Counts a use of a pod's connections, from the dispatch to `unused`.
    pub(crate) fn used(&self, pod: &PodUid) {
        let mut pods = self.pods.lock();
        let connections = pods.entry(Arc::clone(pod)).or_default();
        connections.used += 1;
        connections.peaks[0] = connections.peaks[0].max(connections.used);
    }

    /// The counterpart of `used`.
    pub(crate) fn unused(&self, pod: &PodUid) {
        if let Some(connections) = self.pods.lock().get_mut(pod) {
            connections.used = connections.used.saturating_sub(1);
        }
    }

    /// Takes back an HTTP/1.1 connection whose exchange ended well. `keep_alive`: the pod's own timeout, when it named one.
    pub(crate) fn put(&self, pod: &PodUid, link: Link, keep_alive: Option<Duration>) {
        let longest = keep_alive.map_or(IDLE, |keep_alive| IDLE.min(keep_alive.saturating_sub(MARGIN)));
        let mut pods = self.pods.lock();
        let connections = pods.entry(Arc::clone(pod)).or_default();
        let most = connections.peaks.iter().copied().max().unwrap_or(0).max(FEWEST);
        if longest.is_zero() || connections.idle.len() >= most {
            link.socket().close();
        } else {
            connections.idle.push(Idle::new(link, longest));
        }
    }

    /// Once a second: closes what was idle for long or is of no more use, and forgets pods that have no connection.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        // Whose slot is next may have its request sent at once: not under the lock.
        let mut over = Vec::new();
        self.pods.lock().retain(|_, connections| {
            connections.idle.retain(|idle| {
                let keep = now < idle.until && idle.link.is_ready();
                if !keep {
                    idle.link.socket().close();
                }
                keep
            });
            over.append(&mut connections.take_finished());
            connections.end_stuck(now);
            connections.shared.retain_mut(|shared| shared.keep_shared(now));
            connections.peaks.rotate_right(1);
            connections.peaks[0] = connections.used;
            connections.used > 0
                || connections.connecting.is_some()
                || !(connections.idle.is_empty()
                    && connections.shared.is_empty()
                    && connections.unfinished.is_empty())
        });
        drop(over);
    }
}

/// Connecting to a pod over HTTP/2. However it ends, by a panic or with its runtime too, the next exchange may try again.
struct Attempt {
    pool: Arc<Pool>,
    pod: PodUid,
}

impl Attempt {
    /// Pools the connection, unless the pod closed it at once. Gives the first stream.
    fn connected(&self, link: Link, address: SocketAddr) -> Result<Link, ConnectError> {
        let first = link.share().ok_or(ConnectError::Closed { address })?;
        let mut pods = self.pool.pods.lock();
        pods.entry(Arc::clone(&self.pod)).or_default().shared.push(Idle::new(link, IDLE));
        Ok(first)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(connections) = self.pool.pods.lock().get_mut(&self.pod) {
            connections.connecting = None;
        }
    }
}

impl Idle {
    fn new(link: Link, longest: Duration) -> Self {
        let since = Instant::now();
        Self { link, since, until: since + longest }
    }

    fn share(&mut self) -> Option<Link> {
        let link = self.link.share()?;
        self.until = Instant::now() + IDLE;
        Some(link)
    }

    /// Only the pool's own use is left, for long; or the pod closed it.
    fn keep_shared(&mut self, now: Instant) -> bool {
        if self.link.connected().uses() > 1 {
            self.until = now + IDLE;
        }
        now < self.until && self.link.is_ready()
    }
}

#[cfg(test)]
mod tests;
