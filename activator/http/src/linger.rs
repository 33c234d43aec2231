//! The end of a connection: what its peer still sends is read and dropped for a while, for a byte that arrives for a closed
//! socket has the kernel reset the connection, and a reset can overtake what was sent (RFC 9112 9.6).
//!
//! Over HTTP/2 that may be megabytes which the kernel still has: the client goes on to answer pings and to open windows, so the
//! socket is kept, and read, until all of it is on its way.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::task::coop::consume_budget;
use tokio::time::{Instant, interval, sleep_until, timeout};

use crate::socket::Socket;

/// How long a client may take to end its side once it was sent everything.
const LINGER: Duration = Duration::from_secs(2);
/// The kernel is asked this often what it has left.
const LOOK: Duration = Duration::from_millis(50);
/// So much of an upload that was refused is dropped from one look to the next: few clients send faster, and none takes much of
/// the worker's time.
const DROPPED_A_LOOK: usize = 1024 * 1024;
/// The same, over HTTP/2: more than a client has to say, and little enough for one that floods us.
const READ_A_LOOK: usize = 16 * 1024;

impl Socket {
    /// Ends the sending side, then reads and drops until the peer ends its own or `longest` passed.
    pub(crate) async fn linger(&self, longest: Duration) {
        if self.finish().is_ok() {
            let _ = timeout(longest, self.drop_received(DROPPED_A_LOOK)).await;
        }
    }

    /// Ends the sending side, then waits until the peer ends its own or `longest` passed. Of what it sends meanwhile no more than
    /// `most` bytes are read: beyond that the kernel has it wait.
    pub(crate) async fn linger_briefly(&self, longest: Duration, most: usize) {
        if self.finish().is_ok() {
            let ends = async {
                if !self.drop_some(most).await {
                    self.hang_up().await;
                }
            };
            let _ = timeout(longest, ends).await;
        }
    }

    /// Sends what the kernel has, then the end of the connection, and waits a moment for the client's. `longest`: for a client
    /// that takes little. One that takes nothing is [given up](Socket::give_up_after) by the kernel.
    pub(crate) async fn linger_until_sent(&self, longest: Duration) {
        self.let_go();
        if let Err(error) = self.watch_unsent() {
            tracing::debug!(peer = %self.peer, %error, "the end of a connection may come early");
        }
        tokio::select! {
            biased;
            () = self.finish_once_sent(longest) => {}
            () = self.drop_received(READ_A_LOOK) => {}
        }
    }

    /// Ends the sending side when the kernel has sent everything, then gives the client a moment.
    async fn finish_once_sent(&self, longest: Duration) {
        let mut until = Instant::now() + longest;
        let mut finished = false;
        let mut look = interval(LOOK);
        loop {
            let now = look.tick().await;
            if !finished && self.all_sent() {
                if self.finish().is_err() {
                    return;
                }
                finished = true;
                until = until.min(now + LINGER);
            }
            if now >= until {
                return;
            }
        }
    }

    /// Reads and drops until the peer ends its side or the connection fails, at most `room` bytes a look.
    async fn drop_received(&self, room: usize) {
        loop {
            let next = Instant::now() + LOOK;
            if self.drop_some(room).await {
                return;
            }
            sleep_until(next).await;
        }
    }

    /// Reads and drops so many bytes. True: the peer ended its side, or the connection failed.
    async fn drop_some(&self, mut left: usize) -> bool {
        while left > 0 {
            // The socket is readable at once for as long as there are bytes, and others want their turn.
            consume_budget().await;
            if self.stream.readable().await.is_err() {
                return true;
            }
            // A buffer that is only needed now: whoever waits would keep it.
            match self.stream.try_read(&mut [0; 4096][..left.min(4096)]) {
                Ok(0) => return true,
                Ok(count) => left -= count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return true,
            }
        }
        false
    }
}
