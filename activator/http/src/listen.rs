//! Listening sockets: every worker has its own on the same address (`SO_REUSEPORT`), so that the kernel spreads new
//! connections and no lock is shared.

use std::fs::File;
use std::io;
use std::net::SocketAddr;

use catnap_activator_core::Listener;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that wait in the kernel while a worker is busy. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// What is served on a listening socket, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoint {
    pub(crate) listener: Listener,
    pub(crate) tls: bool,
}

/// A listening socket, until its worker runs.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) endpoint: Endpoint,
    pub(crate) socket: std::net::TcpListener,
    /// For [`crate::accept::accept`], which needs it when there is none to be had.
    pub(crate) spare: Option<File>,
}

/// A descriptor to give to a client for which there is no other.
pub(crate) fn spare_descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Binds one address `count` times. Port 0 takes one free port for all of them.
pub(crate) fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let mut listeners = Vec::with_capacity(count);
    let mut actual = address;
    for _ in 0..count {
        let listener = bind_one(actual)?;
        actual = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn bind_one(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` serves both families.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Registers a listener with the runtime of the calling worker.
pub(crate) fn register(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    TcpListener::from_std(listener)
}
