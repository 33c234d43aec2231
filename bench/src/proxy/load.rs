//! The callers: a fixed number of keep-alive connections, each with one request under way at any time, in one thread.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// The function's host name. Peers take any.
pub(super) const HOST: &str = "bench.default";

/// What requests look like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    name: &'static str,
    connections: usize,
    body_bytes: usize,
}

impl Shape {
    /// Everything that is measured, in this order.
    pub(super) const ALL: [Self; 3] = [
        Self { name: "1 connection, 100 bytes", connections: 1, body_bytes: 100 },
        Self { name: "32 connections, 100 bytes", connections: 32, body_bytes: 100 },
        Self { name: "4 connections, 1 MiB", connections: 4, body_bytes: 1024 * 1024 },
    ];

    pub(super) fn name(self) -> &'static str {
        self.name
    }

    /// Of a response's body.
    pub(super) fn body_bytes(self) -> usize {
        self.body_bytes
    }
}

/// Open connections to one address.
#[derive(Debug)]
pub(super) struct Load {
    poll: Poll,
    connections: Vec<Connection>,
    request: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    head: Vec<u8>,
    /// Bytes of the body that are still to come; `None` while the head does.
    missing: Option<usize>,
}

impl Load {
    pub(super) fn connect(address: SocketAddr, shape: Shape) -> anyhow::Result<Self> {
        let poll = Poll::new().context("no epoll")?;
        let mut connections = Vec::new();
        for number in 0..shape.connections {
            let stream = std::net::TcpStream::connect(address)
                .with_context(|| format!("cannot connect to {address}"))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
            connections.push(Connection { stream, head: Vec::new(), missing: None });
        }
        let request = format!(
            "GET /some/path HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: catnap-bench\r\naccept: */*\r\n\r\n"
        );
        Ok(Self { poll, connections, request: request.into_bytes() })
    }

    /// Keeps one request under way on each connection for this long, then lets them end. Gives the number of answers and the time.
    pub(super) fn run(&mut self, length: Duration) -> anyhow::Result<(usize, Duration)> {
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
            match self.poll.poll(&mut events, Some(Duration::from_secs(5))) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled.context("epoll failed")?,
            }
            if events.is_empty() {
                bail!("no answer within 5 s");
            }
            let go_on = Instant::now() < end;
            for event in &events {
                let Some(connection) = self.connections.get_mut(event.token().0) else { continue };
                if connection.read(&mut buffer)? {
                    answered += 1;
                    if go_on {
                        connection.send(&self.request)?;
                    } else {
                        under_way -= 1;
                    }
                }
            }
        }
        Ok((answered, started.elapsed()))
    }
}

impl Connection {
    fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        let count = self.stream.write(request).context("cannot send a request")?;
        if count < request.len() {
            bail!("the kernel did not take a whole request");
        }
        Ok(())
    }

    /// True when the response is complete.
    fn read(&mut self, buffer: &mut [u8]) -> anyhow::Result<bool> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => bail!("the connection was closed"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error).context("cannot read a response"),
            };
            let mut bytes = &buffer[..count];
            let missing = if let Some(missing) = self.missing {
                missing
            } else {
                self.head.extend_from_slice(bytes);
                let Some(end) = self.head.windows(4).position(|window| window == b"\r\n\r\n") else {
                    continue;
                };
                let length = content_length(&self.head[..end])?;
                let of_body = self.head.len() - end - 4;
                bytes = &bytes[bytes.len() - of_body..];
                self.head.clear();
                length
            };
            if bytes.len() > missing {
                bail!("more bytes than the response announced");
            }
            let left = missing - bytes.len();
            self.missing = (left > 0).then_some(left);
            if left == 0 {
                return Ok(true);
            }
        }
    }
}

fn content_length(head: &[u8]) -> anyhow::Result<usize> {
    let head = std::str::from_utf8(head).context("the response's head is no text")?;
    let status = head.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200") {
        bail!("the response is {status}");
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    length.context("the response has no length")
}
