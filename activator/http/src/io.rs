//! What the codecs read and write: a [`Socket`] with the first bytes that protocol detection took put back in front.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::connections::Registration;
use crate::socket::Socket;

/// Beginning of every HTTP/2 connection with prior knowledge (RFC 9113 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// More than TLS has read at any time and not given: a record, and what it decrypted of another (RFC 8446 5.1).
const TLS_HOLDS: u64 = 64 * 1024;

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
    /// What the detection of the protocol read.
    unread: BytesMut,
}

impl Io {
    /// A client's connection. It stays registered until this is dropped.
    pub(crate) fn downstream(socket: Arc<Socket>, registration: Arc<Registration>) -> Self {
        Self { _registration: Some(registration), ..Self::upstream(socket) }
    }

    /// A connection to a pod.
    pub(crate) fn upstream(socket: Arc<Socket>) -> Self {
        Self { socket, _registration: None, unread: BytesMut::new() }
    }

    /// Reads until it is clear whether the client speaks HTTP/2 with prior knowledge. The bytes are given to the codec
    /// afterwards. `None`: the client left. The sweep ends the wait for a silent one.
    pub(crate) async fn detect(&mut self) -> io::Result<Option<Protocol>> {
        // What is read goes behind what was read before, not before it.
        let mut read = BytesMut::new();
        let protocol = loop {
            if poll_fn(|context| poll_read_some(self, context, &mut read)).await? == 0 {
                return Ok(None);
            }
            if read.starts_with(PREFACE) {
                break Protocol::Http2;
            }
            if !PREFACE.starts_with(&read) {
                break Protocol::Http1;
            }
        };
        self.unread = read;
        if protocol == Protocol::Http2 {
            self.socket.multiplex();
        }
        Ok(Some(protocol))
    }
}

/// Most that is read at once while nothing is known of its length.
const READ_MOST: usize = 8 * 1024;

/// Reads what is there, behind what the buffer has. It gets the room that it needs, and none while nothing is there. Gives the
/// number of bytes; 0 is the end.
pub(crate) fn poll_read_some<R: AsyncRead + Unpin>(
    reader: &mut R,
    context: &mut Context<'_>,
    buffer: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    let mut room = [MaybeUninit::uninit(); READ_MOST];
    let mut read = ReadBuf::uninit(&mut room);
    ready!(Pin::new(reader).poll_read(context, &mut read))?;
    buffer.extend_from_slice(read.filled());
    Poll::Ready(Ok(read.filled().len()))
}

/// A client's connection, under TLS or not.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(Io),
    Tls(Box<TlsStream<Io>>),
}

impl Transport {
    fn io(&mut self) -> &mut Io {
        match self {
            Self::Plain(io) => io,
            Self::Tls(stream) => stream.get_mut().0,
        }
    }

    /// Most bytes that are here and were not read yet.
    pub(crate) fn unread(&self) -> u64 {
        match self {
            Self::Plain(io) => io.socket.unread(),
            Self::Tls(stream) => stream.get_ref().0.socket.unread().saturating_add(TLS_HOLDS),
        }
    }

    /// What was read of it already.
    pub(crate) fn take_unread(&mut self) -> BytesMut {
        std::mem::take(&mut self.io().unread)
    }

    /// Bytes of a head are here.
    pub(crate) fn note_head(&mut self) {
        self.io().socket.head_began();
    }

    /// Ready when reading makes sense.
    pub(crate) fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(io) => io.socket.stream.poll_read_ready(context),
            // Its own buffers may have something.
            Self::Tls(_) => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, buffer),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(context, buffers),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, buffers),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
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
        if !this.unread.is_empty() {
            take_from(&mut this.unread, buffer);
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(this.socket.stream.poll_read_ready(context))?;
            match this.socket.try_read(buffer) {
                Ok(count) => {
                    this.socket.count_received(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// Moves what fits.
fn take_from(read: &mut BytesMut, buffer: &mut ReadBuf<'_>) {
    let count = read.len().min(buffer.remaining());
    buffer.put_slice(&read[..count]);
    read.advance(count);
    if read.is_empty() {
        *read = BytesMut::new();
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
        if self.socket.is_multiplexed() {
            // When all of it left: see `Socket::linger_until_sent`.
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(self.socket.finish())
    }
}

/// A connection that carries another protocol than HTTP: what was read of it already comes first.
#[derive(Debug)]
pub(crate) struct Stream<T> {
    read: BytesMut,
    inner: T,
}

impl<T> Stream<T> {
    pub(crate) fn new(read: BytesMut, inner: T) -> Self {
        Self { read, inner }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Stream<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.read.is_empty() {
            return Pin::new(&mut this.inner).poll_read(context, buffer);
        }
        take_from(&mut this.read, buffer);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Stream<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, buffer)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
