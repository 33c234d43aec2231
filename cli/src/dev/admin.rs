//! `/debug/state` of a local run, as the autoscaler's admin server has it in a cluster: what `catnap explain` asks.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use catnap_autoscaler_api::state::State;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

/// Questions that may wait for the session.
const QUESTIONS: usize = 16;

/// Pause after a connection that could not be accepted.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Somebody who wants to know.
type Asked = oneshot::Sender<State>;

/// The listener, until it is dropped.
#[derive(Debug)]
pub(crate) struct Admin {
    address: SocketAddr,
    questions: mpsc::Receiver<Asked>,
    serving: AbortHandle,
}

impl Admin {
    /// Listens on `address`.
    pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<Self> {
        let cannot = || format!("cannot listen on {address} for `catnap explain`");
        let listener = TcpListener::bind(address).await.with_context(cannot)?;
        let address = listener.local_addr().with_context(cannot)?;
        let (ask, questions) = mpsc::channel(QUESTIONS);
        let serving = tokio::spawn(serve(listener, ask)).abort_handle();
        Ok(Self { address, questions, serving })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next one who asks.
    pub(crate) async fn asked(&mut self) -> Asked {
        match self.questions.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, ask: mpsc::Sender<Asked>) {
    // They end with the listener.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Mostly for want of file descriptors, which come back.
            tokio::time::sleep(AFTER_FAILURE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let ask = ask.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let ask = ask.clone();
            async move { Ok::<_, Infallible>(answer(&request, &ask).await) }
        });
        // A connection that breaks has nobody to tell.
        connections
            .spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

async fn answer(request: &Request<Incoming>, ask: &mpsc::Sender<Asked>) -> Response<Full<Bytes>> {
    if (request.method(), request.uri().path()) != (&Method::GET, "/debug/state") {
        return respond(StatusCode::NOT_FOUND, "text/plain", "GET /debug/state is all there is\n");
    }
    let (tell, told) = oneshot::channel();
    let state = match ask.send(tell).await {
        Ok(()) => told.await.ok(),
        Err(_) => None,
    };
    match state.and_then(|state| serde_json::to_string_pretty(&state).ok()) {
        Some(text) => respond(StatusCode::OK, "application/json", text + "\n"),
        None => respond(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "the run is over\n"),
    }
}

fn respond(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
