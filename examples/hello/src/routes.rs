//! What the function answers. Each route exists because a test or a demonstration calls it.

mod query;

use std::convert::Infallible;
use std::env;

use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::time;
use tokio_util::task::TaskTracker;

use crate::in_flight::{Counted, InFlight};
use crate::sink::Sink;
use crate::surroundings;
use crate::websocket;
use query::{Query, QueryError};

/// The header of the 500 that says that more requests came at once than `MAX_CONCURRENCY`.
pub(crate) const MARKER: &str = "hello-concurrency-exceeded";

/// The header that says for how many milliseconds there was no request before this one.
const FREE: &str = "hello-free-ms";

type Content = UnsyncBoxBody<Bytes, hyper::Error>;
type Answer = Response<Content>;

/// The function: stateless but for its counters.
pub(crate) struct Hello {
    name: String,
    greets_with: StatusCode,
    in_flight: InFlight,
    sink: Option<Sink>,
    /// They outlive the connections that they began as.
    websockets: TaskTracker,
}

impl Hello {
    /// `name` goes into the greeting, `greets_with` is its status.
    pub(crate) fn new(
        name: String,
        greets_with: StatusCode,
        in_flight: InFlight,
        sink: Option<Sink>,
    ) -> Self {
        Self { name, greets_with, in_flight, sink, websockets: TaskTracker::new() }
    }

    /// Waits until every WebSocket has ended. Nobody opens one any more.
    pub(crate) async fn websockets_ended(&self) {
        self.websockets.close();
        self.websockets.wait().await;
    }

    /// Answers one request; counts it as in flight until the body is sent, or the WebSocket ended.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Counted<Content>>, Infallible> {
        // Not work: a kubelet's probe or a test's question must not disturb what is being counted.
        let asked_about_itself = matches!(request.uri().path(), "/concurrency" | "/healthz");
        if asked_about_itself {
            return Ok(self.route(request).await.map(|body| Counted::new(body, None)));
        }
        let (guard, free_for, within) = self.in_flight.enter();
        let mut answer = match within {
            Ok(()) if request.uri().path() == "/websocket" => {
                return Ok(match websocket::accept(request) {
                    Ok((answer, messages)) => {
                        self.websockets.spawn(async move {
                            messages.await;
                            drop(guard);
                        });
                        answer.map(|()| Counted::new(empty(), None))
                    }
                    Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n"))
                        .map(|body| Counted::new(body, Some(guard))),
                });
            }
            Ok(()) => self.route(request).await,
            Err(exceeded) => {
                let detail = format!("{} requests at once, {} allowed\n", exceeded.now, exceeded.limit);
                let mut answer = text(StatusCode::INTERNAL_SERVER_ERROR, detail);
                answer.headers_mut().insert(MARKER, exceeded.now.into());
                answer
            }
        };
        let free_for = u64::try_from(free_for.as_millis()).unwrap_or(u64::MAX);
        answer.headers_mut().insert(FREE, free_for.into());
        Ok(answer.map(|body| Counted::new(body, Some(guard))))
    }

    async fn route(&self, request: Request<Incoming>) -> Answer {
        let query = Query::of(request.uri());
        let path = request.uri().path();
        match (request.method(), path) {
            (&Method::GET, "/") => text(self.greets_with, format!("Hello from {}\n", self.name)),
            (&Method::GET, "/healthz") => text(StatusCode::OK, "ok\n"),
            (&Method::GET, "/concurrency") => text(StatusCode::OK, format!("{}\n", self.in_flight.highest())),
            (&Method::GET, "/env") => text(StatusCode::OK, environment()),
            (&Method::GET, "/headers") => text(StatusCode::OK, headers(request.headers())),
            (&Method::GET, "/surroundings") => text(StatusCode::OK, surroundings::look().await),
            (&Method::GET, "/stream") => or_bad_request(chunks(&query)),
            (&Method::GET, "/sleep") => match query.milliseconds("ms", 0) {
                Ok(pause) => {
                    time::sleep(pause).await;
                    text(StatusCode::OK, format!("slept {} ms\n", pause.as_millis()))
                }
                Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
            },
            (&Method::POST, "/echo") => echo(request),
            (&Method::POST, "/record") => self.record(query.text("id")).await,
            (_, path) => match path.strip_prefix("/status/").and_then(|code| code.parse().ok()) {
                Some(code) => status(code),
                None => text(StatusCode::NOT_FOUND, "no such route\n"),
            },
        }
    }

    async fn record(&self, id: Option<&str>) -> Answer {
        match (id, &self.sink) {
            (None, _) => text(StatusCode::BAD_REQUEST, "id is missing\n"),
            (_, None) => text(StatusCode::NOT_IMPLEMENTED, "SINK_URL is not set\n"),
            (Some(id), Some(sink)) => match sink.record(id).await {
                Ok(()) => text(StatusCode::OK, format!("{id}\n")),
                Err(error) => text(StatusCode::BAD_GATEWAY, format!("{error}\n")),
            },
        }
    }
}

/// Gives the body back as it arrives, with its type and its trailers.
fn echo(request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let mut answer = Response::new(body.boxed_unsync());
    copy_content_type(&head.headers, answer.headers_mut());
    answer
}

fn copy_content_type(from: &HeaderMap, to: &mut HeaderMap) {
    if let Some(kind) = from.get(hyper::header::CONTENT_TYPE) {
        to.insert(hyper::header::CONTENT_TYPE, kind.clone());
    }
}

/// `chunks` lines, one each `interval_ms`; the first at once.
fn chunks(query: &Query<'_>) -> Result<Answer, QueryError> {
    let count = query.number("chunks", 5)?;
    let interval = query.milliseconds("interval_ms", 100)?;
    let lines = stream::unfold(0, move |index| async move {
        if index == count {
            return None;
        }
        if index > 0 {
            time::sleep(interval).await;
        }
        Some((Ok(Frame::data(Bytes::from(format!("chunk {index}\n")))), index + 1))
    });
    Ok(Response::new(StreamBody::new(lines).boxed_unsync()))
}

fn status(code: u16) -> Answer {
    // 1xx are no final answers.
    match StatusCode::from_u16(code) {
        Ok(code) if code.as_u16() >= 200 => text(code, format!("{code}\n")),
        _ => text(StatusCode::BAD_REQUEST, "not a status between 200 and 999\n"),
    }
}

fn environment() -> String {
    let mut lines: Vec<String> = env::vars_os()
        .map(|(name, value)| format!("{}={}\n", name.to_string_lossy(), value.to_string_lossy()))
        .collect();
    lines.sort();
    lines.concat()
}

/// As they came, a line each.
fn headers(headers: &HeaderMap) -> String {
    let line =
        |(name, value): (_, &HeaderValue)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    let mut lines: Vec<String> = headers.iter().map(line).collect();
    lines.push(String::new());
    lines.join("\n")
}

fn or_bad_request(answer: Result<Answer, QueryError>) -> Answer {
    answer.unwrap_or_else(|error| text(StatusCode::BAD_REQUEST, format!("{error}\n")))
}

fn empty() -> Content {
    Full::default().map_err(|never| match never {}).boxed_unsync()
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}
