//! An API server for tests: a function from calls to replies, behind a real client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// A request as the API server sees it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Value,
}

/// What becomes of it.
pub(crate) enum Reply {
    Json(u16, Value),
    /// After some time.
    Later(Duration, u16, Value),
    /// 429 as the API server's filter writes it, with this `Retry-After`.
    Throttled(&'static str),
    /// As a proxy before the API server writes it.
    Text(u16, &'static str),
    /// The head of a 200, and never a body.
    Unfinished,
    /// No answer at all.
    Silence,
    /// The connection breaks.
    Broken,
}

impl Reply {
    /// The Status object of a refusal.
    pub(crate) fn refusal(code: u16, reason: &str) -> Self {
        Self::Json(
            code,
            json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code }),
        )
    }
}

pub(crate) fn client(answer: impl Fn(Call) -> Reply + Send + Sync + 'static) -> Client {
    slow_client(move |call| std::future::ready(answer(call)))
}

/// As [`client`], with replies that may take their time.
pub(crate) fn slow_client<F>(answer: impl Fn(Call) -> F + Send + Sync + 'static) -> Client
where
    F: Future<Output = Reply> + Send + 'static,
{
    let answer = Arc::new(answer);
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = Arc::clone(&answer);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
            let reply = answer(Call { method: parts.method.to_string(), path, body }).await;
            if let Reply::Later(delay, ..) = reply {
                tokio::time::sleep(delay).await;
            }
            match reply {
                Reply::Json(code, value) | Reply::Later(_, code, value) => {
                    let body = whole(serde_json::to_vec(&value).map_err(io::Error::other)?);
                    Response::builder().status(code).body(body).map_err(io::Error::other)
                }
                Reply::Throttled(seconds) => {
                    let body = whole(b"Too many requests, please try again later.".to_vec());
                    let response = Response::builder().status(429).header("retry-after", seconds);
                    response.body(body).map_err(io::Error::other)
                }
                Reply::Text(code, text) => {
                    let body = whole(text.as_bytes().to_vec());
                    Response::builder().status(code).body(body).map_err(io::Error::other)
                }
                Reply::Unfinished => {
                    let frames = futures::stream::pending::<Result<Frame<Bytes>, io::Error>>();
                    Ok(Response::new(StreamBody::new(frames).boxed_unsync()))
                }
                Reply::Silence => std::future::pending().await,
                Reply::Broken => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
            }
        }
    });
    Client::new(service, "default")
}

fn whole(bytes: Vec<u8>) -> UnsyncBoxBody<Bytes, io::Error> {
    Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync()
}

/// Waits for something that must come, with a bound.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it must happen soon")
}
