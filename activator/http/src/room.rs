//! Room for connections: when there are as many as there may be, the one that has been quiet for longest is closed for a new
//! one, and when none is quiet the new one is turned away with a reason. Shared by all workers.

use std::io::Read;
use std::net::{Shutdown, TcpStream as StdTcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::connections::Connections;
use crate::socket::Socket;

/// What a connection is told that there is no room for. It has not said anything yet, not even its protocol; most speak this.
const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nCatnap-Reason: ProcessOverloaded\r\nRetry-After: 1\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";
/// How long one that was turned away may take to read that, and how many may be taking their time at once.
const LINGER: Duration = Duration::from_secs(1);
const LINGERING: usize = 256;
/// Looking for quiet connections takes longer the more there are, so so many are found at once,
const FOUND_AT_ONCE: usize = 64;
/// and when there was none, nobody looks again for so many times as long as that took.
const REST: u32 = 10;

/// How many connections there may be, and which can go.
#[derive(Debug)]
pub(crate) struct Room {
    most: usize,
    /// Of all workers.
    connections: Vec<Arc<Connections>>,
    quiet: Mutex<Quiet>,
    lingering: AtomicUsize,
}

#[derive(Debug, Default)]
struct Quiet {
    /// Those that were quiet when last looked for, the longest quiet last, with the beginning of their silence.
    found: Vec<(Instant, Weak<Socket>)>,
    /// There was none: nobody looks before.
    rests_until: Option<Instant>,
}

impl Room {
    pub(crate) fn new(most: usize, connections: Vec<Arc<Connections>>) -> Arc<Self> {
        Arc::new(Self { most, connections, quiet: Mutex::default(), lingering: AtomicUsize::new(0) })
    }

    /// True when one more connection may be served, if need be in place of a quiet one.
    pub(crate) fn admits(&self) -> bool {
        let open: usize = self.connections.iter().map(|connections| connections.open()).sum();
        open < self.most || self.close_longest_quiet()
    }

    /// Closes the connection that nobody has had anything to do with for longest. False: there is none.
    pub(crate) fn close_longest_quiet(&self) -> bool {
        let mut quiet = self.quiet.lock();
        loop {
            while let Some((since, socket)) = quiet.found.pop() {
                // It may have become busy since, or gone; or be about to, with a request that nobody has read yet.
                let still =
                    |socket: &Arc<Socket>| socket.quiet_since() == Some(since) && !socket.has_unread();
                if let Some(socket) = socket.upgrade().filter(still) {
                    end(&socket);
                    return true;
                }
            }
            let began = Instant::now();
            if quiet.rests_until.is_some_and(|until| began < until) {
                return false;
            }
            quiet.found = self.longest_quiet();
            quiet.rests_until = None;
            if quiet.found.is_empty() {
                quiet.rests_until = Some(Instant::now() + REST * began.elapsed());
                return false;
            }
        }
    }

    fn longest_quiet(&self) -> Vec<(Instant, Weak<Socket>)> {
        let mut quiet = Vec::new();
        for connections in &self.connections {
            connections.add_quiet(&mut quiet);
        }
        if quiet.len() > FOUND_AT_ONCE {
            quiet.select_nth_unstable_by_key(FOUND_AT_ONCE - 1, |(since, _)| *since);
            quiet.truncate(FOUND_AT_ONCE);
        }
        quiet.sort_unstable_by_key(|(since, _)| std::cmp::Reverse(*since));
        quiet.into_iter().map(|(since, socket)| (since, Arc::downgrade(&socket))).collect()
    }

    /// Tells a new connection that there is no room for it, and closes it. `tls`: it would not understand that.
    pub(crate) fn turn_away(self: &Arc<Self>, stream: TcpStream, tls: bool) {
        tell(&SockRef::from(&stream), tls);
        if self.lingering.fetch_add(1, Relaxed) < LINGERING
            && let Ok(socket) = stream.peer_addr().and_then(|peer| Socket::new(stream, peer))
        {
            let room = Arc::clone(self);
            tokio::spawn(async move {
                socket.linger(LINGER).await;
                room.lingering.fetch_sub(1, Relaxed);
            });
        } else {
            self.lingering.fetch_sub(1, Relaxed);
        }
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

/// An HTTP/2 client is told to go, and the sweep closes what stays.
fn end(socket: &Socket) {
    if socket.is_multiplexed() {
        socket.ask_to_leave();
    } else {
        socket.close();
    }
}

#[cfg(test)]
mod tests;
