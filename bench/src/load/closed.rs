//! A closed loop: a fixed number of keep-alive connections, each with one request under way at any time, in one thread.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::PATIENCE;
use super::response::ResponseReader;

/// Open connections to one address.
#[derive(Debug)]
pub(crate) struct ClosedLoop {
    poll: Poll,
    connections: Vec<Connection>,
    request: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    response: ResponseReader,
}

impl ClosedLoop {
    pub(crate) fn connect(address: SocketAddr, connections: usize, request: Vec<u8>) -> anyhow::Result<Self> {
        let poll = Poll::new().context("no epoll")?;
        let open = |number| -> anyhow::Result<Connection> {
            let mut stream = connect(address)?;
            poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
            Ok(Connection { stream, response: ResponseReader::default() })
        };
        let connections = (0..connections).map(open).collect::<anyhow::Result<_>>()?;
        Ok(Self { poll, connections, request })
    }

    /// Keeps one request under way on each connection for this long, then lets them end. Gives the number of answers and the time.
    pub(crate) fn run(&mut self, length: Duration) -> anyhow::Result<(usize, Duration)> {
        let started = Instant::now();
        let end = started + length;
        let (mut answered, mut under_way) = (0, 0);
        let mut events = Events::with_capacity(256);
        let mut buffer = vec![0; 256 * 1024];
        for connection in &mut self.connections {
            connection.send(&self.request)?;
            under_way += 1;
        }
        while under_way > 0 {
            match self.poll.poll(&mut events, Some(PATIENCE)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled.context("epoll failed")?,
            }
            if events.is_empty() {
                bail!("no answer within {PATIENCE:?}");
            }
            let go_on = Instant::now() < end;
            for event in &events {
                let Some(connection) = self.connections.get_mut(event.token().0) else { continue };
                match connection.response.read(&mut connection.stream, &mut buffer)? {
                    None => {}
                    Some(200) => {
                        answered += 1;
                        if go_on {
                            connection.send(&self.request)?;
                        } else {
                            under_way -= 1;
                        }
                    }
                    Some(status) => bail!("the response is {status}"),
                }
            }
        }
        Ok((answered, started.elapsed()))
    }
}

impl Connection {
    fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        send(&mut self.stream, request)
    }
}

/// A connection that does not block.
pub(super) fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream =
        std::net::TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

/// Sends a request, which is small, at once.
pub(super) fn send(stream: &mut TcpStream, request: &[u8]) -> anyhow::Result<()> {
    let count = stream.write(request).context("cannot send a request")?;
    if count < request.len() {
        bail!("the kernel did not take a whole request");
    }
    Ok(())
}
