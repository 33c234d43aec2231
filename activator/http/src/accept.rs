//! Accepting connections on one listener of one worker: as many as there is room for, and when descriptors ran out, enough to
//! tell the others why they are turned away.

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::net::TcpListener;

use crate::listen::Endpoint;
use crate::room::turn_away_at_once;
use crate::server::Stage;
use crate::upstream::out_of_descriptors;
use crate::worker::Worker;

/// When a connection cannot be accepted, because descriptors or memory ran out, the next attempt waits this long.
const PAUSE: Duration = Duration::from_millis(5);
/// That is said at most this often.
const SAID: Duration = Duration::from_secs(1);

/// Accepts until the server closes, then what is left in the backlog. The listener closes last.
pub(crate) async fn accept(worker: Arc<Worker>, endpoint: Endpoint, socket: TcpListener) {
    let mut stage = worker.stage.clone();
    let mut spare = spare_descriptor();
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
    loop {
        match socket.accept() {
            Ok((stream, _)) => {
                if stream.set_nonblocking(true).is_ok() {
                    worker.take_over(endpoint, stream, worker.connections.reserve());
                }
            }
            Err(error) if of_one_connection(&error) => {}
            // Nobody waits any more.
            Err(_) => return,
        }
    }
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

fn spare_descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}

/// The connection died before it was accepted; the listener is well.
fn of_one_connection(error: &Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
