//! An HTTP function that listens only a while after its start, as one does that first loads a model or warms up.
//!
//! `$START_DELAY_MS` says how long (3,000 when left out). It answers every request with the time that it took to start,
//! and on SIGTERM finishes what is in flight. It knows nothing of Catnap or Kubernetes.

use std::convert::Infallible;
use std::env;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let begun = Instant::now();
    let port: u16 = number("PORT", 8080)?;
    let delay = Duration::from_millis(number("START_DELAY_MS", 3_000)?);
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        _ = terminate.recv() => return Ok(()),
    }
    // One socket for both families; where IPv6 is off, IPv4 alone.
    let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind(("0.0.0.0", port)).await.with_context(|| format!("port {port}"))?,
    };
    let text = Bytes::from(format!("Started after {} ms\n", begun.elapsed().as_millis()));
    let connections = GracefulShutdown::new();
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                // The client left before it was accepted: the next one may do better.
                Err(_) => continue,
            },
            _ = terminate.recv() => break,
        };
        let text = text.clone();
        let service = service_fn(move |_| {
            let text = text.clone();
            async move { Ok::<_, Infallible>(Response::new(Full::new(text))) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // A client that hangs up in the middle is its own business.
            let _ = connection.await;
        });
    }
    drop(listener);
    connections.shutdown().await;
    Ok(())
}

/// A whole number in the environment, or what stands for it when it is absent or empty.
fn number<N: std::str::FromStr>(variable: &str, otherwise: N) -> anyhow::Result<N>
where
    N::Err: std::error::Error + Send + Sync + 'static,
{
    match env::var(variable) {
        Ok(text) if !text.is_empty() => {
            text.parse().with_context(|| format!("{variable}={text} is not a whole number in range"))
        }
        _ => Ok(otherwise),
    }
}
