//! Room for connections: when there are as many as there may be, the one that has been quiet for longest is closed for a new
//! one, and when none is quiet the new one is turned away with a reason. Shared by all workers.

use std::io::Read;
use std::net::{Shutdown, TcpStream as StdTcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::connections::Connections;
use crate::descriptors::is_reserved;
use crate::socket::Socket;

/// What a connection is told that there is no room for, whatever its protocol is; most speak this.
const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nCatnap-Reason: ProcessOverloaded\r\nRetry-After: 1\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";
/// How long one that is turned away may take to read that, and how many may be taking their time at once.
const LINGER: Duration = Duration::from_secs(1);
const LINGERING: usize = 256;
/// So much of what it sends is read, which is more than most requests have: there is no room for it, and none for its bytes.
const READ: usize = 64 * 1024;
/// Connections of a worker that are looked at for a new one. Those that are not quiet are looked at again last, so that the next search
/// goes on where this one ended.
const LOOKS: usize = 64;
/// How often one is looked for: others look for one, too, and find the same.
const TRIES: usize = 8;

/// How many connections there may be, and which can go.
#[derive(Debug)]
pub(crate) struct Room {
    most: usize,
    /// How long a connection must have been silent to be quiet.
    quiet_after: Duration,
    /// Of all workers.
    connections: Vec<Arc<Connections>>,
    lingering: AtomicUsize,
}

impl Room {
    pub(crate) fn new(most: usize, quiet_after: Duration, connections: Vec<Arc<Connections>>) -> Arc<Self> {
        Arc::new(Self { most, quiet_after, connections, lingering: AtomicUsize::new(0) })
    }

    /// True when one more connection may be served, if need be in place of a quiet one.
    pub(crate) fn admits(&self) -> bool {
        let open: usize = self.connections.iter().map(|connections| connections.open()).sum();
        open < self.most || self.close_longest_quiet()
    }

    /// Closes the connection that nobody has had anything to do with for longest. False: there is none among so many.
    pub(crate) fn close_longest_quiet(&self) -> bool {
        for _ in 0..TRIES {
            let Some((since, socket)) = self.longest_quiet() else { return false };
            // It may have become busy since, or been closed by another worker.
            if end(&socket, since) {
                return true;
            }
        }
        false
    }

    fn longest_quiet(&self) -> Option<(Instant, Arc<Socket>)> {
        let search =
            |connections: &Arc<Connections>| connections.longest_quiet(self.quiet_after, LOOKS).found;
        self.connections.iter().filter_map(search).min_by_key(|(since, _)| *since)
    }

    /// Tells a new connection that there is no room for it, and closes it. `tls`: it would not understand that.
    ///
    /// It is told when it has asked: many a client takes an answer that comes before for a fault of the connection.
    pub(crate) fn turn_away(self: &Arc<Self>, stream: TcpStream, tls: bool) {
        let Some(place) = Place::take(self).filter(|_| !is_reserved(&stream)) else {
            if let Ok(stream) = stream.into_std() {
                turn_away_at_once(stream, tls);
            }
            return;
        };
        tokio::spawn(async move {
            let Ok(socket) = stream.peer_addr().and_then(|peer| Socket::new(stream, peer)) else { return };
            let asks = !tls && timeout(place.0.quiet_after, socket.stream.peek(&mut [0])).await.is_ok();
            tell(&SockRef::from(&socket.stream), tls);
            // Its first message may be on its way.
            if tls || asks {
                socket.linger_briefly(LINGER, READ).await;
            }
        });
    }
}

/// One of the places for connections that are turned away, until it is dropped.
struct Place(Arc<Room>);

impl Place {
    fn take(room: &Arc<Room>) -> Option<Self> {
        let place = Self(Arc::clone(room));
        (room.lingering.fetch_add(1, Relaxed) < LINGERING).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lingering.fetch_sub(1, Relaxed);
    }
}

/// Tells a new connection that there is no room for it, and closes it at once: its descriptor is needed.
pub(crate) fn turn_away_at_once(mut stream: StdTcpStream, tls: bool) {
    tell(&SockRef::from(&stream), tls);
    // Closing with unread bytes would send a reset, which may overtake the answer. Most requests fit.
    let _ = stream.read(&mut [0; 4096]);
}

/// Writes the answer, as far as the client is there to read it.
fn tell(socket: &SockRef<'_>, tls: bool) {
    if tls || socket.send(NO_ROOM).is_ok() {
        let _ = socket.shutdown(Shutdown::Write);
    }
}

/// Asks a connection to leave. False: it is not what it was any more, or leaves for somebody else.
fn end(socket: &Socket, quiet_since: Instant) -> bool {
    socket.quiet_since() == Some(quiet_since) && socket.ask_to_leave()
}

#[cfg(test)]
mod tests;
