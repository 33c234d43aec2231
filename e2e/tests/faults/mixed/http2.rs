//! Callers that speak HTTP/2, on the codec itself: it tells a GOAWAY from a connection that just ends.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{Reason, client::SendRequest};
use hyper::{Method, Request};
use tokio::time::interval;

use super::http1::{lines_of, stream_path, stream_text};
use super::journal::{Caller, Event};
use super::traffic::{Shared, WARM};

/// One connection of one caller.
struct Connection<'shared> {
    shared: &'shared Shared,
    caller: Caller,
    local: SocketAddr,
    sender: SendRequest<Bytes>,
}

/// Why no more requests go over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The activator said so, without an error.
    GoAway,
    /// It broke.
    Broken,
    /// The caller was told to stop.
    Stopped,
}

/// Over one connection after the other: short requests, and beside them one long response after the other, so that there
/// is always one in flight when a GOAWAY comes.
pub(crate) async fn call(shared: Arc<Shared>, caller: Caller, period: Duration) -> anyhow::Result<()> {
    while !shared.is_stopped() {
        let Some((stream, local)) = shared.connect(caller).await else { break };
        let Ok((sender, driver)) = h2::client::handshake(stream).await else {
            shared.journal.note(caller, Event::Unsent);
            continue;
        };
        let driver = tokio::spawn(driver);
        let connection = Connection { shared: &shared, caller, local, sender };
        let (short, long) = tokio::join!(connection.short_requests(period), connection.long_responses());
        drop(connection);
        // Ends once both sides have: after the last stream.
        let ended = driver.await?;
        match (short, long, ended) {
            (End::GoAway, End::GoAway, Ok(())) => shared.journal.note(caller, Event::GoAway),
            (End::Stopped, _, Ok(())) | (_, End::Stopped, Ok(())) => {}
            // A request that was on it has told of it; one that was not sent is not lost.
            _ => shared.journal.note(caller, Event::Unsent),
        }
    }
    Ok(())
}

impl Connection<'_> {
    async fn short_requests(&self, period: Duration) -> End {
        let mut every = interval(period);
        while self.shared.next(&mut every).await {
            let id = self.shared.id(self.caller);
            if let Err(end) = self.exchange(Method::POST, "/echo", id.clone(), &id).await {
                return end;
            }
        }
        End::Stopped
    }

    async fn long_responses(&self) -> End {
        let lines = lines_of(self.caller);
        while !self.shared.is_stopped() {
            let path = stream_path(lines);
            if let Err(end) = self.exchange(Method::GET, &path, String::new(), &stream_text(lines)).await {
                return end;
            }
        }
        End::Stopped
    }

    /// One exchange on a stream of its own, whose answer must be this text. An error: the connection takes no more.
    async fn exchange(&self, method: Method, path: &str, body: String, expected: &str) -> Result<(), End> {
        let mut sender = self.sender.clone().ready().await.map_err(|error| why(&error))?;
        let Ok(request) = Request::builder().method(method).uri(self.shared.url(WARM, path)).body(()) else {
            return Err(End::Broken);
        };
        let sent = Instant::now();
        let (response, mut upload) =
            sender.send_request(request, body.is_empty()).map_err(|error| why(&error))?;
        // From here on the request is out, or about to be.
        let lost = |error: h2::Error| {
            let what = format!("{error:?}");
            self.shared.journal.note(self.caller, Event::Lost { local: self.local, what });
            End::Broken
        };
        if !body.is_empty() {
            upload.send_data(body.into(), true).map_err(lost)?;
        }
        let answered = match response.await {
            // What the codec has not written yet when the last GOAWAY comes is beyond the last stream that it names, which says
            // that it was not processed (RFC 9113, section 6.8): it goes over another connection.
            Err(error) if why(&error) == End::GoAway => return Err(End::GoAway),
            answered => answered.map_err(lost)?,
        };
        let (head, mut body) = answered.into_parts();
        let mut received = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.map_err(lost)?;
            body.flow_control().release_capacity(data.len()).map_err(lost)?;
            if received.is_empty() && data.len() < expected.len() {
                self.shared.journal.note(self.caller, Event::Began { sent });
            }
            received.extend_from_slice(&data);
        }
        let text = String::from_utf8_lossy(&received);
        let event = if head.status == 200 && text == expected {
            Event::Answered { sent }
        } else {
            let what = format!("answered {} {:?} {text:?}, not {expected:?}", head.status, head.headers);
            Event::Wrong { what }
        };
        self.shared.journal.note(self.caller, event);
        Ok(())
    }
}

fn why(error: &h2::Error) -> End {
    let told = error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
    if told { End::GoAway } else { End::Broken }
}
