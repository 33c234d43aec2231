//! The end of an HTTP/2 connection: what the codec has written may still be in the kernel, megabytes of it.
//!
//! Its client goes on to answer pings and to open windows, and a byte that arrives for a closed socket has the kernel reset the
//! connection and drop what it did not send. So the socket is kept, and read, until all of that is on its way.

use std::time::Duration;

use tokio::time::{Instant, interval};

use crate::socket::Socket;

/// How long a client may take to end its side once it was sent everything.
const LINGER: Duration = Duration::from_secs(2);
/// The kernel is asked this often what it has left.
const LOOK: Duration = Duration::from_millis(50);
/// So much is read from one look to the next: more than a client has to say, and little enough for one that floods us.
const READ_A_LOOK: usize = 16 * 1024;

impl Socket {
    /// Sends what the kernel has, then the end of the connection, and waits a moment for the client's. `longest`: for a client
    /// that takes little. One that takes nothing is [given up](Socket::give_up_after) by the kernel.
    pub(crate) async fn linger_until_sent(&self, longest: Duration) {
        self.let_go();
        if let Err(error) = self.watch_unsent() {
            tracing::debug!(peer = %self.peer, %error, "the end of a connection may come early");
        }
        let mut until = Instant::now() + longest;
        let mut finished = false;
        let mut look = interval(LOOK);
        let mut room = 0;
        loop {
            tokio::select! {
                biased;
                now = look.tick() => {
                    room = READ_A_LOOK;
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
                // An error is found by the read.
                _ = self.stream.readable(), if room > 0 => match self.stream.try_read(&mut [0; 4096]) {
                    Ok(0) => return,
                    Ok(count) => room = room.saturating_sub(count),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                },
            }
        }
    }
}
