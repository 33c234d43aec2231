//! The yardstick: a backend that does the least that answering HTTP/1.1 takes, in one thread around epoll.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::process::Command;

use anyhow::Context;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::process::Process;
use super::{Subject, answers, free_address};

/// What the backend's own process is told.
#[derive(Debug, clap::Args)]
pub(crate) struct BackendArgs {
    /// Where it listens.
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Bytes of each response's body.
    #[arg(long)]
    pub(crate) body_bytes: usize,
}

const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    /// Bytes of responses that are still to be written.
    owed: Vec<u8>,
}

/// Starts one in a process of its own.
pub(crate) async fn start(core: usize, body_bytes: usize) -> anyhow::Result<Subject> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.args(["backend", "--listen", &address.to_string(), "--body-bytes", &body_bytes.to_string()]);
    let process = Process::start(core, &command)?;
    answers(address).await?;
    Ok(Subject { name: "backend", address, processes: vec![process] })
}

/// Answers until the process is ended.
pub(crate) fn serve(arguments: &BackendArgs) -> anyhow::Result<()> {
    let BackendArgs { listen, body_bytes } = *arguments;
    let mut response = format!("HTTP/1.1 200 OK\r\ncontent-length: {body_bytes}\r\n\r\n").into_bytes();
    response.resize(response.len() + body_bytes, b'x');
    let mut poll = Poll::new().context("no epoll")?;
    let mut events = Events::with_capacity(256);
    let mut listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).context("no epoll")?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled.context("epoll failed")?,
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let _ = stream.set_nodelay(true);
                    let both = Interest::READABLE | Interest::WRITABLE;
                    poll.registry()
                        .register(&mut stream, Token(connections.len()), both)
                        .context("no epoll")?;
                    connections.push(Some(Connection { stream, read: Vec::new(), owed: Vec::new() }));
                }
            } else if let Some(slot) = connections.get_mut(event.token().0)
                && let Some(connection) = slot
                && connection.advance(&mut buffer, &response).is_err()
            {
                *slot = None;
            }
        }
    }
}

impl Connection {
    /// Reads what is there and writes what it can. An error: the connection is over.
    fn advance(&mut self, buffer: &mut [u8], response: &[u8]) -> std::io::Result<()> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let bytes = &buffer[..count];
            // Requests have no body: whatever ends in an empty line is one. Almost always it came in one piece.
            let requests = if self.read.is_empty() && bytes.ends_with(b"\r\n\r\n") {
                heads(bytes)
            } else {
                self.read.extend_from_slice(bytes);
                let complete = heads(&self.read);
                if self.read.ends_with(b"\r\n\r\n") {
                    self.read.clear();
                }
                complete
            };
            for _ in 0..requests {
                self.answer(response)?;
            }
            if count < buffer.len() {
                break;
            }
        }
        self.flush()
    }

    fn answer(&mut self, response: &[u8]) -> std::io::Result<()> {
        let written = if self.owed.is_empty() { written(self.stream.write(response))? } else { 0 };
        self.owed.extend_from_slice(&response[written..]);
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        while !self.owed.is_empty() {
            let count = written(self.stream.write(&self.owed))?;
            if count == 0 {
                break;
            }
            self.owed.drain(..count);
        }
        Ok(())
    }
}

fn heads(bytes: &[u8]) -> usize {
    if bytes.ends_with(b"\r\n\r\n") {
        bytes.windows(4).filter(|window| *window == b"\r\n\r\n").count()
    } else {
        0
    }
}

/// Bytes that the kernel took; none when its buffer is full.
fn written(result: std::io::Result<usize>) -> std::io::Result<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
