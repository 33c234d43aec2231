//! A connection's socket, what was read of it and not used, and what is still to be written.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use super::Http1Error;
use super::upload::Upload;
use crate::io::Io;
use crate::request_body::RequestBody;
use crate::socket::Socket;

/// Room for a read while nothing is known of its length.
const READ_LEAST: usize = 8 * 1024;
/// Most room for one read.
const READ_MOST: usize = 64 * 1024;

/// A connection to a pod.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) socket: Arc<Socket>,
    pub(super) read: BytesMut,
    pub(super) upload: Upload,
}

/// What an exchange left of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Nothing,
    /// A part of the request.
    Upload,
    /// Bytes that belong to no response, or a request that broke off.
    Unusable,
}

impl Connection {
    /// Over a connected socket.
    pub(crate) fn new(socket: Arc<Socket>) -> Self {
        Self { socket, read: BytesMut::new(), upload: Upload::default() }
    }

    /// Begins a request, which is written as it is polled. `write_head` says whether the body goes in chunks.
    pub(crate) fn begin(
        &mut self,
        write_head: impl FnOnce(&mut Vec<u8>, &RequestBody) -> bool,
        body: RequestBody,
    ) {
        self.upload.begin(write_head, body);
    }

    pub(super) fn rest(&self) -> Rest {
        if !self.read.is_empty() || self.upload.failed() {
            Rest::Unusable
        } else if self.upload.ended() {
            Rest::Nothing
        } else {
            Rest::Upload
        }
    }

    /// Nothing came since the last exchange, not even an end. Asks no kernel: the event loop knows.
    pub(super) fn is_quiet(&self) -> bool {
        self.socket.stream.poll_read_ready(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Writes what there is of the request. Ready when all of it is with the kernel.
    pub(super) fn poll_upload(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Http1Error>> {
        let Self { socket, upload, .. } = self;
        while upload.poll_next(context).map_err(Http1Error::Request)?.is_ready() {
            let Some(slices) = upload.unwritten() else { return Poll::Ready(Ok(())) };
            match ready!(poll_write(socket, context, &slices)) {
                Ok(count) => upload.written(count),
                Err(error) => {
                    upload.fail();
                    return Poll::Ready(Err(Http1Error::Io(error)));
                }
            }
        }
        Poll::Pending
    }

    /// Reads once. `expected`: bytes that are known to come. Gives the number of bytes; 0 is the end.
    pub(super) fn poll_fill(&mut self, context: &mut Context<'_>, expected: u64) -> Poll<io::Result<usize>> {
        let room = usize::try_from(expected).unwrap_or(READ_MOST).clamp(READ_LEAST, READ_MOST);
        let stream = &self.socket.stream;
        loop {
            ready!(stream.poll_read_ready(context))?;
            self.read.reserve(room);
            let room = self.read.capacity() - self.read.len();
            match stream.try_read_buf(&mut self.read) {
                Ok(count) => {
                    if count > 0 && count < room {
                        // A short read: there was no more. Asking once more would cost a system call.
                        let _ = stream
                            .try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                    }
                    self.socket.count_received(count, false);
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// The bytes themselves, for a connection that switched to another protocol.
    pub(super) fn into_stream(self) -> Stream {
        Stream { read: self.read, io: Io::upstream(self.socket) }
    }
}

fn poll_write(socket: &Socket, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.stream.poll_write_ready(context))?;
        let written = match slices {
            [one] => socket.stream.try_write(one),
            several => socket.stream.try_write_vectored(several),
        };
        match written {
            Ok(count) => {
                socket.count_sent(count);
                return Poll::Ready(Ok(count));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

/// A connection that carries another protocol: what came behind the response's head is read first.
#[derive(Debug)]
pub(crate) struct Stream {
    read: BytesMut,
    io: Io,
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.read.is_empty() {
            return Pin::new(&mut this.io).poll_read(context, buffer);
        }
        let count = this.read.len().min(buffer.remaining());
        buffer.put_slice(&this.read[..count]);
        this.read.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(context, buffer)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}
