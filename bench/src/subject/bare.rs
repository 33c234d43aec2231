//! A server on hyper alone: the floor of what a connection and a held request take, and a pod that does what it is asked.

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
    pub(crate) listen: SocketAddr,
}

/// A request for this path is never answered.
pub(crate) const HOLD: &str = "/hold";
/// Says how many are not.
pub(crate) const COUNT: &str = "/count";
/// Says how many came for this path before.
pub(crate) const TURN: &str = "/turn";
/// Has a body of 16 MiB.
pub(crate) const LARGE: &str = "/large";
const LARGE_BYTES: usize = 16 << 20;

/// What has been asked for.
#[derive(Debug, Default)]
struct Counts {
    held: AtomicUsize,
    turns: AtomicUsize,
}

/// Starts one in a process of its own.
pub(crate) async fn start(core: usize) -> anyhow::Result<Subject> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.args(["bare", "--listen", &address.to_string()]);
    let process = Process::start(core, &command)?;
    answers(address).await?;
    Ok(Subject { name: "hyper", address, processes: vec![process] })
}

/// Answers until the process is ended.
pub(crate) async fn serve(arguments: &BareArgs) -> anyhow::Result<()> {
    let listener = TcpListener::bind(arguments.listen).await.context("cannot listen")?;
    let counts = Arc::new(Counts::default());
    let large = Bytes::from(vec![b'x'; LARGE_BYTES]);
    loop {
        let (stream, _) = listener.accept().await.context("cannot accept")?;
        let (counts, large) = (Arc::clone(&counts), large.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (counts, large) = (Arc::clone(&counts), large.clone());
                async move { Ok::<_, Infallible>(answer(&request, &counts, large).await) }
            });
            // Callers that leave are no news.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(request: &Request<Incoming>, counts: &Counts, large: Bytes) -> Response<Full<Bytes>> {
    match request.uri().path() {
        HOLD => {
            counts.held.fetch_add(1, Relaxed);
            std::future::pending().await
        }
        COUNT => Response::new(Full::new(counts.held.load(Relaxed).to_string().into())),
        TURN => Response::new(Full::new(counts.turns.fetch_add(1, Relaxed).to_string().into())),
        LARGE => Response::new(Full::new(large)),
        _ => {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}
