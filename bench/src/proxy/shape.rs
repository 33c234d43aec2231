//! What requests look like, and callers that send them.

use std::net::SocketAddr;
use std::time::Duration;

use crate::load::{Call, ClosedLoop, Http2ClosedLoop, get};
use crate::subject::Wire;
use crate::subject::peers::{PLAIN, Wires};

/// The function's host name. Peers take any.
const HOST: &str = "bench.default";
/// Bytes of a message of gRPC.
const MESSAGE: usize = 100;

/// One kind of requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) wires: Wires,
    connections: usize,
    /// Under way on each connection; over HTTP/1.1 always 1.
    streams: usize,
    /// Of a response's body or message.
    pub(super) body_bytes: usize,
    /// System calls are counted as well.
    pub(super) calls_counted: bool,
}

impl Shape {
    /// Everything that is measured on one hop, in this order.
    pub(super) const ALL: [Self; 5] = [
        Self { connections: 1, ..Self::plain("1 connection, 100 bytes") },
        Self { calls_counted: true, ..Self::plain("32 connections, 100 bytes") },
        Self { connections: 4, body_bytes: 1024 * 1024, ..Self::plain("4 connections, 1 MiB") },
        Self {
            connections: 4,
            streams: 8,
            wires: Wires { callers: Wire::Http2, pod: Wire::Http1 },
            ..Self::plain("h2c callers, 4 x 8 streams, 100 bytes")
        },
        Self {
            connections: 4,
            streams: 8,
            wires: Wires { callers: Wire::Http2, pod: Wire::Http2 },
            body_bytes: MESSAGE,
            ..Self::plain("gRPC unary, 4 x 8 streams, 100 bytes")
        },
    ];

    /// 32 callers over HTTP/1.1.
    pub(super) const fn plain(name: &'static str) -> Self {
        Self { name, wires: PLAIN, connections: 32, streams: 1, body_bytes: 100, calls_counted: false }
    }

    /// What the backend is called with: the protocol that it speaks, and as many requests under way.
    fn direct(self) -> Self {
        if self.wires.pod == Wire::Http1 {
            Self { wires: PLAIN, connections: self.connections * self.streams, streams: 1, ..self }
        } else {
            self
        }
    }
}

/// Callers of one address.
pub(super) enum Load {
    Http1(ClosedLoop),
    Http2(Http2ClosedLoop),
}

impl Load {
    /// `direct`: there is no proxy between.
    pub(super) fn connect(address: SocketAddr, shape: Shape, direct: bool) -> anyhow::Result<Self> {
        let shape = if direct { shape.direct() } else { shape };
        let call = if shape.wires.pod == Wire::Http2 { Call::Unary(MESSAGE) } else { Call::Get };
        Ok(match shape.wires.callers {
            Wire::Http1 => {
                Self::Http1(ClosedLoop::connect(address, shape.connections, get(HOST, "/some/path"))?)
            }
            Wire::Http2 => {
                Self::Http2(Http2ClosedLoop::connect(address, shape.connections, shape.streams, HOST, call)?)
            }
        })
    }

    /// Number of answers and the time that they took.
    pub(super) fn run(&mut self, length: Duration) -> anyhow::Result<(usize, Duration)> {
        match self {
            Self::Http1(load) => load.run(length),
            Self::Http2(load) => load.run(length),
        }
    }
}
