//! Callers that go in step: each round sends one request on every connection, then reads every answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};

/// Longest wait for an answer: what counts makes everything slow.
const SOON: Duration = Duration::from_secs(30);

/// Open connections, and what is asked on each.
pub(super) struct Callers {
    connections: Vec<TcpStream>,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Callers {
    /// `fields`: header fields beside those that every request has.
    pub(super) fn connect(address: SocketAddr, connections: usize, fields: usize) -> anyhow::Result<Self> {
        let connect = |_| -> anyhow::Result<TcpStream> {
            let stream =
                TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(SOON))?;
            Ok(stream)
        };
        let field =
            |number: usize| format!("x-field-{number:02}: a value of thirty-two bytes, {number:09}\r\n");
        let more: String = (0..fields).map(field).collect();
        let request = format!(
            "GET /some/path HTTP/1.1\r\nhost: bench.default\r\nuser-agent: catnap-bench\r\naccept: */*\r\n{more}\r\n"
        );
        let connections = (0..connections).map(connect).collect::<anyhow::Result<_>>()?;
        Ok(Self { connections, request: request.into_bytes(), buffer: vec![0; 64 * 1024] })
    }

    /// So many requests on every connection.
    pub(super) fn rounds(&mut self, count: usize) -> anyhow::Result<()> {
        for _ in 0..count {
            for connection in &mut self.connections {
                connection.write_all(&self.request).context("cannot send a request")?;
            }
            for connection in &mut self.connections {
                read_answer(connection, &mut self.buffer)?;
            }
        }
        Ok(())
    }
}

fn read_answer(connection: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<()> {
    let mut filled = 0;
    loop {
        match connection.read(&mut buffer[filled..]).context("cannot read a response")? {
            0 => bail!("the connection was closed"),
            count => filled += count,
        }
        if let Some(end) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n")
            && filled >= end + 4 + body_bytes(&buffer[..end])?
        {
            return Ok(());
        }
    }
}

fn body_bytes(head: &[u8]) -> anyhow::Result<usize> {
    let head = std::str::from_utf8(head).context("the response's head is no text")?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("the response is {head}");
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    length.context("the response has no length")
}
