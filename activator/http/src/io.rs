//! What the codecs read and write: a [`Socket`] with the first bytes that protocol detection took put back in front.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connections::Registration;
use crate::socket::Socket;

/// Beginning of every HTTP/2 connection with prior knowledge (RFC 9113 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// A socket for a codec.
#[derive(Debug)]
pub(crate) struct Io {
    socket: Arc<Socket>,
    /// Lives as long as the bytes flow, which for a tunnel is longer than the HTTP connection.
    _registration: Option<Arc<Registration>>,
    detected: [u8; PREFACE.len()],
    detected_from: usize,
    detected_to: usize,
    starts_head: bool,
}

impl Io {
    /// A client's connection. It stays registered until this is dropped.
    pub(crate) fn downstream(socket: Arc<Socket>, registration: Arc<Registration>) -> Self {
        Self { _registration: Some(registration), ..Self::upstream(socket) }
    }

    /// A connection to a pod.
    pub(crate) fn upstream(socket: Arc<Socket>) -> Self {
        Self {
            socket,
            _registration: None,
            detected: [0; PREFACE.len()],
            detected_from: 0,
            detected_to: 0,
            starts_head: false,
        }
    }

    /// Reads until it is clear whether the client speaks HTTP/2 with prior knowledge. The bytes are given to the codec
    /// afterwards. `None`: the client left. The sweep ends the wait for a silent one.
    pub(crate) async fn detect(&mut self) -> io::Result<Option<Protocol>> {
        loop {
            self.socket.stream.readable().await?;
            match self.socket.stream.try_read(&mut self.detected[self.detected_to..]) {
                Ok(0) => return Ok(None),
                Ok(count) => {
                    self.socket.count_received(count, false);
                    self.detected_to += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            let read = &self.detected[..self.detected_to];
            let protocol = if read == PREFACE {
                Protocol::Http2
            } else if PREFACE.starts_with(read) {
                continue;
            } else {
                Protocol::Http1
            };
            self.speaks(protocol);
            return Ok(Some(protocol));
        }
    }

    /// It is known what the client speaks.
    pub(crate) fn speaks(&mut self, protocol: Protocol) {
        match protocol {
            Protocol::Http1 => self.starts_head = true,
            Protocol::Http2 => self.socket.multiplex(),
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.detected_from < this.detected_to {
            let waiting = &this.detected[this.detected_from..this.detected_to];
            let count = waiting.len().min(buffer.remaining());
            buffer.put_slice(&waiting[..count]);
            this.detected_from += count;
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(this.socket.stream.poll_read_ready(context))?;
            match this.socket.try_read(buffer) {
                Ok(count) => {
                    this.socket.count_received(count, this.starts_head);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Io {
    fn poll_send(
        &self,
        context: &mut Context<'_>,
        mut send: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let Poll::Ready(ready) = self.socket.stream.poll_write_ready(context) else {
                self.socket.pace.sending(true);
                return Poll::Pending;
            };
            ready?;
            match send() {
                Ok(count) => {
                    self.socket.count_sent(count);
                    self.socket.pace.sending(false);
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(context, || self.socket.stream.try_write(buffer))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, || self.socket.stream.try_write_vectored(buffers))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.finish())
    }
}

#[cfg(test)]
mod tests;
