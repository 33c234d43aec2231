//! An HTTP function to try Catnap with, and what its end-to-end tests call.
//!
//! It listens on `$PORT`, speaks HTTP/1.1 and HTTP/2 by prior knowledge, and on SIGTERM finishes what is in
//! flight before it exits. The routes are in `routes`; it knows nothing of Catnap or Kubernetes.

mod in_flight;
mod routes;
mod sink;
mod surroundings;
mod websocket;

use std::env;
use std::net::Ipv6Addr;
use std::sync::Arc;

use anyhow::Context;
use hyper::StatusCode;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::in_flight::InFlight;
use crate::routes::Hello;
use crate::sink::Sink;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let port = number("PORT")?.unwrap_or(8080);
    let port = u16::try_from(port).context("PORT is above 65535")?;
    let sink = env::var("SINK_URL").ok().map(|url| url.parse::<Sink>()).transpose()?;
    let in_flight = InFlight::new(number("MAX_CONCURRENCY")?);
    let hello = Arc::new(Hello::new(greeting_name(), greeting_status()?, in_flight, sink));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // One socket for both families; where IPv6 is off, IPv4 alone.
    let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind(("0.0.0.0", port)).await.with_context(|| format!("port {port}"))?,
    };
    let server = auto::Builder::new(TokioExecutor::new());
    let connections = GracefulShutdown::new();
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                // The client left before it was accepted, or descriptors ran out: the next one may do better.
                Err(_) => continue,
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        // Else the last bytes of an HTTP/2 window wait for an acknowledgement that the other side delays. An error: the client
        // left, which the codec finds out.
        let _ = stream.set_nodelay(true);
        let hello = Arc::clone(&hello);
        let service = service_fn(move |request| {
            let hello = Arc::clone(&hello);
            async move { hello.answer(request).await }
        });
        let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // A client that hangs up in the middle is its own business.
            let _ = connection.await;
        });
    }
    drop(listener);
    connections.shutdown().await;
    hello.websockets_ended().await;
    Ok(())
}

/// The name that the greeting gives: the revision, or outside a cluster the host.
fn greeting_name() -> String {
    env::var("K_REVISION")
        .or_else(|_| env::var("HOSTNAME"))
        .or_else(|_| std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()))
        .unwrap_or_else(|_| "hello".to_owned())
}

/// The status of the greeting: with another one than 200 this is a version that should not have been deployed.
fn greeting_status() -> anyhow::Result<StatusCode> {
    let status = number("STATUS")?.unwrap_or(200);
    let code = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    // 1xx are no final answers.
    code.filter(|code| code.as_u16() >= 200)
        .with_context(|| format!("STATUS={status} is not between 200 and 999"))
}

/// A whole number in the environment; absent or empty is `None`.
fn number(variable: &str) -> anyhow::Result<Option<usize>> {
    match env::var(variable) {
        Ok(text) if !text.is_empty() => {
            text.parse().map(Some).with_context(|| format!("{variable}={text} is not a whole number"))
        }
        _ => Ok(None),
    }
}
