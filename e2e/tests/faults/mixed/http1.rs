//! Callers that speak HTTP/1.1.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use catnap_e2e::fixture::within;
use catnap_e2e::functions::PATIENCE;
use futures::future::join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, body::Incoming, client::conn::http1, http::response::Parts};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use tokio::time::interval;

use super::journal::{Caller, Event};
use super::traffic::{Shared, WARM};

/// Between two lines of a response that takes long.
pub(crate) const LINE_INTERVAL: Duration = Duration::from_millis(200);
/// Requests that a cold function gets at once.
const AT_ONCE: usize = 3;

/// One connection of one caller.
struct Connection<'shared> {
    shared: &'shared Shared,
    caller: Caller,
    local: SocketAddr,
    sender: http1::SendRequest<Full<Bytes>>,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// As it should, and the connection takes the next request.
    Answered,
    /// As it should, and it said that it was the last one of its connection.
    Last,
    /// Otherwise; what happened is noted.
    Broken,
}

/// Lines of a response that takes long: 5 to 14 seconds, so that callers do not go in step.
pub(crate) fn lines_of(caller: Caller) -> usize {
    25 + 15 * caller.number
}

pub(crate) fn stream_path(lines: usize) -> String {
    format!("/stream?chunks={lines}&interval_ms={}", LINE_INTERVAL.as_millis())
}

pub(crate) fn stream_text(lines: usize) -> String {
    (0..lines).map(|line| ["chunk ", &line.to_string(), "\n"].concat()).collect()
}

impl<'shared> Connection<'shared> {
    /// `None`: told to stop.
    async fn open(shared: &'shared Shared, caller: Caller) -> Option<Self> {
        loop {
            let (stream, local) = shared.connect(caller).await?;
            if let Ok((sender, connection)) = http1::handshake(TokioIo::new(stream)).await {
                tokio::spawn(connection);
                return Some(Self { shared, caller, local, sender });
            }
            shared.journal.note(caller, Event::Unsent);
        }
    }

    fn note(&self, event: Event) {
        self.shared.journal.note(self.caller, event);
    }

    fn lost(&self, error: &hyper::Error) {
        self.note(Event::Lost { local: self.local, what: format!("{error:?}") });
    }

    /// Sends a request and waits for the head of its answer. `None`: the connection ended.
    async fn send(&mut self, request: Request<Full<Bytes>>) -> Option<(Parts, Incoming)> {
        if self.sender.ready().await.is_err() {
            self.note(Event::Unsent);
            return None;
        }
        let sent = self.sender.try_send_request(request).await;
        match sent {
            Ok(response) => Some(response.into_parts()),
            Err(mut error) => {
                match error.take_message() {
                    // It comes back when nothing of it was written.
                    Some(_) => self.note(Event::Unsent),
                    None => self.lost(&error.into_error()),
                }
                None
            }
        }
    }

    /// One exchange to its end, whose answer must be this text.
    async fn exchange(&mut self, request: Request<Full<Bytes>>, expected: &str) -> Ended {
        let sent = Instant::now();
        let Some((head, mut body)) = self.send(request).await else { return Ended::Broken };
        let mut received = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => data,
                // Trailers.
                Ok(Err(_)) => continue,
                Err(error) => {
                    self.lost(&error);
                    return Ended::Broken;
                }
            };
            if received.is_empty() && data.len() < expected.len() {
                self.note(Event::Began { sent });
            }
            received.extend_from_slice(&data);
        }
        let text = String::from_utf8_lossy(&received);
        if head.status != 200 || text != expected {
            let what = format!("answered {} {:?} {text:?}, not {expected:?}", head.status, head.headers);
            self.note(Event::Wrong { what });
            return Ended::Broken;
        }
        self.note(Event::Answered { sent });
        let says = |name: &str, word: &str| {
            let value = head.headers.get(name).and_then(|value| value.to_str().ok());
            value.is_some_and(|value| value.contains(word))
        };
        if says("server-timing", "desc=cold") {
            self.note(Event::Cold);
        }
        if says("connection", "close") {
            self.note(Event::Closed);
            return Ended::Last;
        }
        Ended::Answered
    }

    fn request(&self, method: Method, function: &str, path: &str, body: String) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = method;
        if let (Ok(path), Ok(host)) = (path.parse(), self.shared.host(function).parse()) {
            *request.uri_mut() = path;
            request.headers_mut().insert("host", host);
        }
        request
    }

    /// Has an id given back, so that an answer to another request would show.
    async fn echo(&mut self) -> Ended {
        let id = self.shared.id(self.caller);
        self.exchange(self.request(Method::POST, WARM, "/echo", id.clone()), &id).await
    }

    /// Has an id reported to the test by the function, so that a request that was served twice would show.
    async fn record(&mut self, function: &str) {
        let id = self.shared.id(self.caller);
        let request = self.request(Method::POST, function, &format!("/record?id={id}"), String::new());
        let ended = self.exchange(request, &format!("{id}\n")).await;
        if ended != Ended::Broken {
            self.shared.recorded.lock().push(id);
        }
    }
}

/// Asks again and again over one connection, and over another one when that ends.
pub(crate) async fn keep_alive(shared: Arc<Shared>, caller: Caller, period: Duration) -> anyhow::Result<()> {
    let mut every = interval(period);
    let mut kept = None;
    while shared.next(&mut every).await {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => match Connection::open(&shared, caller).await {
                Some(connection) => connection,
                None => break,
            },
        };
        if connection.echo().await == Ended::Answered {
            kept = Some(connection);
        }
    }
    Ok(())
}

/// Asks each time over a new connection; one request in five is one that the function reports.
pub(crate) async fn new_connections(
    shared: Arc<Shared>,
    caller: Caller,
    period: Duration,
) -> anyhow::Result<()> {
    let mut every = interval(period);
    for count in 0_usize.. {
        if !shared.next(&mut every).await {
            break;
        }
        let Some(mut connection) = Connection::open(&shared, caller).await else { break };
        if count % 5 == 0 {
            connection.record(WARM).await;
        } else {
            connection.echo().await;
        }
    }
    Ok(())
}

/// Waits until a function rests, then wakes it with a few requests at once.
pub(crate) async fn cold(
    shared: Arc<Shared>,
    caller: Caller,
    function: &'static str,
    deployments: Api<Deployment>,
    deployment: String,
) -> anyhow::Result<()> {
    while !shared.is_stopped() {
        let at_zero = |found: &Deployment| found.spec.as_ref().is_some_and(|spec| spec.replicas == Some(0));
        tokio::select! {
            rests = within(PATIENCE, &deployments, &deployment, at_zero) => rests.map(drop)?,
            () = shared.stopping() => break,
        }
        join_all((0..AT_ONCE).map(async |_| {
            if let Some(mut connection) = Connection::open(&shared, caller).await {
                connection.record(function).await;
            }
        }))
        .await;
    }
    Ok(())
}

/// Takes one response after the other that goes on for many seconds, each over a new connection.
pub(crate) async fn streaming(shared: Arc<Shared>, caller: Caller) -> anyhow::Result<()> {
    let lines = lines_of(caller);
    while !shared.is_stopped() {
        let Some(mut connection) = Connection::open(&shared, caller).await else { break };
        let request = connection.request(Method::GET, WARM, &stream_path(lines), String::new());
        connection.exchange(request, &stream_text(lines)).await;
    }
    Ok(())
}
