//! Starting the workers, and ending them without losing what arrived.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use catnap_activator_core::{Activator, Listener};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{oneshot, watch};

use crate::config::Config;
use crate::descriptors::RESERVED;
use crate::listen::{self, Bound, Endpoint};
use crate::observe::Observer;
use crate::tls;
use crate::worker::{self, CUTTING_OFF};

/// What is held when the drain timed out gets this long to receive its answers.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

const LEAST_CONNECTIONS: usize = 64;

/// How far the end of the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Business as usual.
    Serving,
    /// Responses ask their clients to leave; new connections are still accepted.
    Draining,
    /// The backlog is accepted, then the listeners close; what is in flight ends.
    Closing,
    /// Whatever is left is cut off.
    Ended,
}

impl Stage {
    /// Waits until the server is at least this far.
    pub(crate) async fn reached(self, stage: &mut watch::Receiver<Self>) {
        // An error: the server is gone, which is as far as it gets.
        let _ = stage.wait_for(|stage| *stage >= self).await;
    }
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No listener on the address.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address as configured.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// TLS cannot be spoken.
    #[error("cannot configure TLS")]
    Tls {
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// A worker has no event loop.
    #[error("cannot make the runtime of worker {worker}")]
    Runtime {
        /// Number of the worker, from 0.
        worker: usize,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A worker has no thread.
    #[error("cannot start the thread of worker {worker}")]
    Thread {
        /// Number of the worker, from 0.
        worker: usize,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// The data path of one activator.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Listens and starts the workers, each on a thread of its own. It needs no runtime.
    pub fn start(
        config: Config,
        activator: Arc<Activator>,
        observer: Arc<dyn Observer>,
    ) -> Result<Handle, StartError> {
        let descriptors = raise_descriptor_limit();
        let most_connections = config.max_connections.unwrap_or_else(|| most_connections(descriptors));
        let count = config.workers.max(1);
        let mut addresses = Vec::new();
        let mut listeners: Vec<Vec<Bound>> = (0..count).map(|_| Vec::new()).collect();
        let certificates = config.tls.as_ref().map(|tls| Arc::clone(&tls.certificates));
        let tls =
            certificates.map(tls::configuration).transpose().map_err(|source| StartError::Tls { source })?;
        for (endpoint, address) in endpoints(&config) {
            let bound =
                listen::bind(address, count).map_err(|source| StartError::Listen { address, source })?;
            let actual = bound.first().map(std::net::TcpListener::local_addr).transpose();
            addresses.push((endpoint.listener, actual.ok().flatten().unwrap_or(address)));
            for (own, socket) in listeners.iter_mut().zip(bound) {
                own.push(Bound { endpoint, socket, spare: listen::spare_descriptor() });
            }
        }
        let (stage, _) = watch::channel(Stage::Serving);
        let mut ended = Vec::with_capacity(count);
        let config = Arc::new(config);
        let workers =
            worker::prepare(&config, tls.as_ref(), &activator, observer, &stage, count, most_connections);
        for ((number, prepared), listeners) in workers.into_iter().enumerate().zip(listeners) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|source| StartError::Runtime { worker: number, source })?;
            let (tell, told) = oneshot::channel();
            std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || {
                    let cut_off = runtime.block_on(prepared.run(listeners));
                    // Nobody waits when the handle is gone.
                    let _ = tell.send(cut_off);
                })
                .map_err(|source| StartError::Thread { worker: number, source })?;
            ended.push(told);
        }
        Ok(Handle { addresses, stage, activator, ended })
    }
}

/// A running server. Dropping it cuts everything off.
#[derive(Debug)]
pub struct Handle {
    addresses: Vec<(Listener, SocketAddr)>,
    stage: watch::Sender<Stage>,
    activator: Arc<Activator>,
    /// One for each worker: connections that it cut off.
    ended: Vec<oneshot::Receiver<usize>>,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were closed with a request on them, or the rest of a response, because the time was over.
    pub cut_off: usize,
}

impl Handle {
    /// Where the server listens, in the order of the configuration, those under TLS last, with the ports that were taken
    /// for 0.
    pub fn addresses(&self) -> &[(Listener, SocketAddr)] {
        &self.addresses
    }

    /// Ends the server without losing a request. For `delay` it goes on accepting while every response asks its client to
    /// leave; then it accepts the backlog, closes its listeners, and gives what is in flight until `timeout`.
    /// What is held then is answered `Draining`. It takes at most a few seconds longer than the two, whatever a worker does.
    pub async fn drain(mut self, delay: Duration, timeout: Duration) -> Drained {
        self.activator.drain();
        self.stage.send_replace(Stage::Draining);
        tokio::time::sleep(delay).await;
        self.stage.send_replace(Stage::Closing);
        let mut cut_off = 0;
        let mut workers: FuturesUnordered<_> = std::mem::take(&mut self.ended).into_iter().collect();
        let all = async {
            while let Some(worker) = workers.next().await {
                cut_off += worker.unwrap_or(0);
            }
        };
        let mut all = std::pin::pin!(all);
        if tokio::time::timeout(timeout, all.as_mut()).await.is_err() {
            self.activator.give_up_held();
            if tokio::time::timeout(LAST_ANSWERS, all.as_mut()).await.is_err() {
                self.stage.send_replace(Stage::Ended);
                if tokio::time::timeout(2 * CUTTING_OFF, all).await.is_err() {
                    // Whatever keeps it busy must not keep the process from ending.
                    tracing::error!("the thread of a worker does not end, and is left to itself");
                }
            }
        }
        Drained { cut_off }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stage.send_replace(Stage::Ended);
    }
}

/// Everything to listen on, in the order of [`Handle::addresses`].
fn endpoints(config: &Config) -> impl Iterator<Item = (Endpoint, SocketAddr)> {
    let of = |tls| move |&(listener, address): &(Listener, SocketAddr)| (Endpoint { listener, tls }, address);
    let under_tls = config.tls.iter().flat_map(|tls| &tls.listeners);
    config.listeners.iter().map(of(false)).chain(under_tls.map(of(true)))
}

/// The soft limit of descriptors is often 1,024; every request may need two. Gives the limit, if there is one.
fn raise_descriptor_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open descriptors stays as it is");
            current
        }
    }
}

/// Most connections of clients when nobody says: each may need one to a pod, too.
fn most_connections(descriptors: Option<u64>) -> usize {
    let others = descriptors.unwrap_or(u64::MAX).saturating_sub(RESERVED);
    usize::try_from(others / 2).unwrap_or(usize::MAX).max(LEAST_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_half_of_the_descriptors_that_nothing_else_needs() {
        assert_eq!(most_connections(Some(1_048_576)), 524_160);
        assert_eq!(most_connections(Some(1_024)), 384);
        assert_eq!(most_connections(Some(0)), LEAST_CONNECTIONS);
    }
}
