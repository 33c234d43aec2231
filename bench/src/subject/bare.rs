//! The floor of what a connection and a held request take: a server on hyper alone.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

use super::process::Process;
use super::{Subject, answers, free_address};

/// What its process is told.
#[derive(Debug, clap::Args)]
pub(crate) struct BareArgs {
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
}

/// A request for this path is never answered.
pub(crate) const HOLD: &str = "/hold";
/// Says how many are not.
pub(crate) const COUNT: &str = "/count";

/// Starts one in a process of its own.
pub(crate) async fn start(core: usize) -> anyhow::Result<Subject> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.args(["bare", "--listen", &address.to_string()]);
    let process = Process::start(core, &command)?;
    answers(address).await?;
    Ok(Subject { name: "hyper", address, process })
}

/// Answers until the process is ended.
pub(crate) async fn serve(arguments: &BareArgs) -> anyhow::Result<()> {
    let listener = TcpListener::bind(arguments.listen).await.context("cannot listen")?;
    let held = Arc::new(AtomicUsize::new(0));
    loop {
        let (stream, _) = listener.accept().await.context("cannot accept")?;
        let held = Arc::clone(&held);
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let held = Arc::clone(&held);
                async move { Ok::<_, Infallible>(answer(&request, &held).await) }
            });
            // Callers that leave are no news.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(request: &Request<Incoming>, held: &AtomicUsize) -> Response<Full<Bytes>> {
    match request.uri().path() {
        HOLD => {
            held.fetch_add(1, Relaxed);
            std::future::pending().await
        }
        COUNT => Response::new(Full::new(held.load(Relaxed).to_string().into())),
        _ => {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}
