//! Accepting connections on one listener of one worker: as many as there is room for, and when descriptors ran out, enough to
//! tell the others why they are turned away.

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use socket2::{SockFilter, SockRef};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::listen::{Endpoint, spare_descriptor};
use crate::room::turn_away_at_once;
use crate::server::Stage;
use crate::upstream::out_of_descriptors;
use crate::worker::Worker;

/// When a connection cannot be accepted, because descriptors or memory ran out, the next attempt waits this long.
const PAUSE: Duration = Duration::from_millis(5);
/// That is said at most this often.
const SAID: Duration = Duration::from_secs(1);

/// How long connections that are being made get to be made, once no other may begin.
const HANDSHAKES: Duration = Duration::from_millis(100);

/// Accepts until the server closes, then what is left in the backlog. The listener closes last: what is in its backlog then is
/// reset, so nothing new may come into it.
///
/// `spare`: a descriptor with which a client is told that there is no other. `_accepting`: for as long as connections may come.
pub(crate) async fn accept(
    worker: Arc<Worker>,
    endpoint: Endpoint,
    socket: TcpListener,
    mut spare: Option<File>,
    _accepting: TaskTrackerToken,
) {
    let mut stage = worker.stage.clone();
    let mut said: Option<Instant> = None;
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => worker.place(endpoint, stream),
                Err(error) if of_one_connection(&error) => {}
                Err(error) => {
                    if said.is_none_or(|said| said.elapsed() > SAID) {
                        said = Some(Instant::now());
                        tracing::warn!(%error, "cannot accept");
                    }
                    let told = out_of_descriptors(&error)
                        && !worker.room.close_longest_quiet()
                        && turn_one_away(&worker, endpoint, &socket, &mut spare);
                    if !told {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            },
            () = Stage::Closing.reached(&mut stage) => break,
        }
    }
    let Ok(socket) = socket.into_std() else { return };
    let begun = begin_no_more(&SockRef::from(&socket));
    if let Err(error) = &begun {
        tracing::warn!(%error, "a connection that is made in the last moment may be lost");
    }
    let take = |(stream, _): (std::net::TcpStream, _)| {
        if stream.set_nonblocking(true).is_ok() {
            worker.take_over(endpoint, stream, worker.connections.reserve());
        }
    };
    accept_rest(|| socket.accept(), take, begun.is_ok(), &stage).await;
}

/// Accepts what waits, and what is being made meanwhile. `ends`: no other connection begins, so that nobody waits some time.
async fn accept_rest<T>(
    mut accept: impl FnMut() -> Result<T, Error>,
    mut take: impl FnMut(T),
    ends: bool,
    stage: &watch::Receiver<Stage>,
) {
    let made = tokio::time::Instant::now() + HANDSHAKES;
    while *stage.borrow() < Stage::Ended {
        let all_made = tokio::time::Instant::now() >= made;
        match accept() {
            Ok(accepted) => {
                take(accepted);
                // Those that were accepted want their turn.
                yield_now().await;
            }
            Err(error) if of_one_connection(&error) => yield_now().await,
            Err(error) if error.kind() == ErrorKind::WouldBlock && all_made => return,
            // Nobody waits yet, or there are no descriptors before other connections end.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
        if all_made && !ends {
            return;
        }
    }
}

/// Lets no connection begin any more: the kernel drops the SYN, and its sender tries again in a second, when the listener is gone.
/// What has begun goes on.
fn begin_no_more(listener: &SockRef<'_>) -> Result<(), Error> {
    // Classic BPF. It is given the TCP header (RFC 9293 3.1), whose byte 13 has the flags.
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    listener.attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

/// Gives the spare descriptor to one client, for long enough to tell it that there is no other.
fn turn_one_away(
    worker: &Worker,
    endpoint: Endpoint,
    socket: &TcpListener,
    spare: &mut Option<File>,
) -> bool {
    *spare = None;
    let accepted = socket.accept().now_or_never();
    let told = match accepted {
        Some(Ok((stream, _))) => {
            worker.observer.turned_away();
            if let Ok(stream) = stream.into_std() {
                turn_away_at_once(stream, endpoint.tls);
            }
            true
        }
        // Somebody else was faster to open a file.
        Some(Err(_)) | None => false,
    };
    *spare = spare_descriptor();
    told
}

/// The connection died before it was accepted; the listener is well.
fn of_one_connection(error: &Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{Read, Write};
    use std::net::{TcpListener as StdTcpListener, TcpStream as StdTcpStream};

    use super::*;

    #[test]
    fn what_has_begun_goes_on_and_nothing_else_begins() {
        let listener = StdTcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut before = StdTcpStream::connect(address).unwrap();
        begin_no_more(&SockRef::from(&listener)).unwrap();
        let late = StdTcpStream::connect_timeout(&address, Duration::from_millis(200));
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
        let (mut accepted, _) = listener.accept().unwrap();
        drop(listener);
        before.write_all(b"request").unwrap();
        let mut read = [0; 7];
        accepted.read_exact(&mut read).unwrap();
        accepted.write_all(&read).unwrap();
        before.read_exact(&mut read).unwrap();
        assert_eq!(StdTcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }

    /// What is accepted when the kernel says this, and then that nobody waits.
    async fn accepted(said: Vec<Result<u8, Error>>, stage: Stage) -> Vec<u8> {
        let (_keep, stage) = watch::channel(stage);
        let mut said = said.into_iter();
        let mut accepted = Vec::new();
        let accept = || said.next().unwrap_or_else(|| Err(ErrorKind::WouldBlock.into()));
        accept_rest(accept, |connection| accepted.push(connection), true, &stage).await;
        accepted
    }

    #[tokio::test]
    async fn a_backlog_waits_for_descriptors_and_for_handshakes() {
        let no_descriptor = || Err(Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error()));
        let nobody = || Err(ErrorKind::WouldBlock.into());
        let reset = || Err(ErrorKind::ConnectionAborted.into());
        let said = vec![Ok(1), no_descriptor(), Ok(2), reset(), nobody(), nobody(), Ok(3)];
        assert_eq!(accepted(said, Stage::Closing).await, [1, 2, 3]);
        let said = std::iter::repeat_with(no_descriptor).take(50).chain([Ok(1)]).collect();
        assert_eq!(accepted(said, Stage::Closing).await, [1], "even later than handshakes are waited for");
        assert!(accepted(vec![no_descriptor(), Ok(1)], Stage::Ended).await.is_empty(), "but not for ever");
    }

    #[tokio::test]
    async fn a_backlog_leaves_others_their_turn() {
        let (_keep, stage) = watch::channel(Stage::Closing);
        let turns = Cell::new(0);
        let mut said = 0..1_000;
        let accept = || said.next().ok_or_else(|| Error::from(ErrorKind::WouldBlock));
        let others = async {
            loop {
                turns.set(turns.get() + 1);
                yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = accept_rest(accept, |turn| assert_eq!(turns.get(), turn), true, &stage) => {}
            () = others => {}
        }
    }

    #[tokio::test]
    async fn a_backlog_that_never_ends_is_left_when_handshakes_had_their_time() {
        let (_keep, stage) = watch::channel(Stage::Closing);
        let mut accepted = 0;
        let accepting = accept_rest(|| Ok(()), |()| accepted += 1, false, &stage);
        tokio::time::timeout(Duration::from_secs(10), accepting).await.expect("an end");
        assert!(accepted > 0);
    }
}
