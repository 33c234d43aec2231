//! The yardstick over HTTP/2: a function that answers every call of gRPC with a message of its length, on the h2 crate alone.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::Context;
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};
use tokio::net::{TcpListener, TcpStream};

use super::process::Process;
use super::{Subject, answers, free_address};
use crate::load::http2::{message, read};

/// What its process is told.
#[derive(Debug, clap::Args)]
pub(crate) struct GrpcArgs {
    /// Where it listens.
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Bytes of each response's message.
    #[arg(long)]
    pub(crate) message_bytes: usize,
}

/// Starts one in a process of its own.
pub(crate) async fn start(core: usize, message_bytes: usize) -> anyhow::Result<Subject> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.args(["grpc", "--listen", &address.to_string(), "--message-bytes", &message_bytes.to_string()]);
    let process = Process::start(core, &command)?;
    answers(address).await?;
    Ok(Subject { name: "backend", address, processes: vec![process] })
}

/// Answers until the process is ended.
pub(crate) async fn serve(arguments: &GrpcArgs) -> anyhow::Result<()> {
    let GrpcArgs { listen, message_bytes } = *arguments;
    let listener = TcpListener::bind(listen).await.context("cannot listen")?;
    loop {
        let (stream, _) = listener.accept().await.context("cannot accept")?;
        // Callers that leave are no news.
        tokio::spawn(async move { drop(connection(stream, message(message_bytes)).await) });
    }
}

async fn connection(stream: TcpStream, answer: Bytes) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (request, respond) = request?;
        let answer = answer.clone();
        tokio::spawn(async move { drop(call(request.into_body(), respond, answer).await) });
    }
    Ok(())
}

async fn call(mut body: RecvStream, mut respond: SendResponse<Bytes>, answer: Bytes) -> anyhow::Result<()> {
    read(&mut body).await?;
    let head = Response::builder().header("content-type", "application/grpc").body(())?;
    let mut stream = respond.send_response(head, false)?;
    stream.send_data(answer, false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers).context("cannot end the call")
}
