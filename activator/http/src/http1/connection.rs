//! A connection's socket, what was read of it and not used, and what is still to be written.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio_util::task::AbortOnDropHandle;

use super::Http1Error;
use super::outgoing::{Delimited, OnBreak, Outgoing, OutgoingError, poll_write};
use crate::io::{Io, Stream};
use crate::request_body::RequestBody;
use crate::socket::Socket;

/// Room for a read while nothing is known of its length.
const READ_LEAST: usize = 8 * 1024;
/// With less room than this there is more made before a read.
pub(super) const READ_AGAIN: usize = 4 * 1024;
/// Most room for one read.
const READ_MOST: usize = 64 * 1024;

/// A request on its way to a pod.
type Upload = Outgoing<RequestBody>;

/// None yet.
fn upload() -> Upload {
    Upload::new(OnBreak::WriteAtOnce)
}

/// A connection to a pod.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) socket: Arc<Socket>,
    pub(super) read: BytesMut,
    upload: Uploading,
}

/// Where the request is written.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is that of nearly every request")]
enum Uploading {
    /// By whoever waits for the response.
    Here(Upload),
    /// By a task of its own.
    Apart(AbortOnDropHandle<(Upload, Result<(), Http1Error>)>),
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
        Self { socket, read: BytesMut::new(), upload: Uploading::Here(upload()) }
    }

    /// Begins a request, which is written as it is polled. `write_head` says how long the body is; `None`: it goes in chunks.
    pub(crate) fn begin(
        &mut self,
        write_head: impl FnOnce(&mut Vec<u8>, &RequestBody) -> Option<u64>,
        body: RequestBody,
    ) {
        // A connection comes home only when its upload did.
        if let Uploading::Here(upload) = &mut self.upload {
            let delimited =
                |length: Option<u64>| length.map_or(Delimited::ChunksAndTrailers, Delimited::Length);
            upload.begin(|buffer, body| delimited(write_head(buffer, body)), body);
        }
    }

    pub(super) fn rest(&self) -> Rest {
        match &self.upload {
            _ if !self.read.is_empty() => Rest::Unusable,
            Uploading::Here(upload) if upload.failed() => Rest::Unusable,
            Uploading::Here(upload) if upload.ended() => Rest::Nothing,
            Uploading::Here(_) | Uploading::Apart(_) => Rest::Upload,
        }
    }

    /// Nothing came since the last exchange, not even an end. The kernel is asked only when the event loop heard of something.
    pub(super) fn is_quiet(&self) -> bool {
        let read = self.socket.stream.try_read(&mut [0; 1]);
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// As `is_quiet`; wakes when that may change.
    pub(super) fn poll_quiet(&self, context: &mut Context<'_>) -> bool {
        loop {
            match self.socket.stream.poll_read_ready(context) {
                Poll::Pending => return true,
                // What the event loop heard of was read already. Now it knows, and only now it will wake us.
                Poll::Ready(Ok(())) if self.is_quiet() => {}
                Poll::Ready(_) => return false,
            }
        }
    }

    /// Gives back large buffers, which an idle connection would keep.
    pub(super) fn shrink(&mut self) {
        if self.read.capacity() > READ_LEAST {
            self.read = BytesMut::new();
        }
        if let Uploading::Here(upload) = &mut self.upload
            && upload.capacity() > READ_LEAST
        {
            upload.shrink();
        }
    }

    /// Writes what there is of the request. Ready when all of it is with the kernel.
    pub(super) fn poll_upload(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Http1Error>> {
        match &mut self.upload {
            Uploading::Here(upload) => poll_upload(upload, &self.socket, context),
            Uploading::Apart(task) => {
                let (upload, result) = match ready!(Pin::new(task).poll(context)) {
                    Ok(ended) => ended,
                    // It was ended with its runtime, and every connection with it.
                    Err(_) => (Upload::unfinished(), Err(Http1Error::InUse)),
                };
                self.upload = Uploading::Here(upload);
                Poll::Ready(result)
            }
        }
    }

    /// Lets the rest of the request go on by itself: whoever waits for the response may ask for no more of it before its client
    /// has sent all.
    pub(super) fn upload_apart(&mut self) {
        if let Uploading::Here(upload) = &mut self.upload
            && !upload.ended()
        {
            let mut upload = std::mem::replace(upload, self::upload());
            let socket = Arc::clone(&self.socket);
            let task = tokio::spawn(async move {
                let result = poll_fn(|context| poll_upload(&mut upload, &socket, context)).await;
                (upload, result)
            });
            self.upload = Uploading::Apart(AbortOnDropHandle::new(task));
        }
    }

    /// Reads once. `expected`: bytes that are known to come. Gives the number of bytes; 0 is the end.
    pub(super) fn poll_fill(&mut self, context: &mut Context<'_>, expected: u64) -> Poll<io::Result<usize>> {
        // One more than what is to come: a read that fills the buffer leaves open whether there is more.
        let room = usize::try_from(expected.saturating_add(1)).unwrap_or(READ_MOST);
        loop {
            ready!(self.socket.stream.poll_read_ready(context))?;
            if self.read.capacity() - self.read.len() < READ_AGAIN {
                self.read.reserve(room.clamp(READ_LEAST, READ_MOST));
            }
            match self.socket.try_read(&mut self.read) {
                Ok(count) => {
                    self.socket.count_received(count);
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// The bytes themselves, for a connection that switched to another protocol.
    /// `None` while the request is not sent: its rest would be taken for the other protocol.
    pub(super) fn into_stream(self) -> Option<Stream<Io>> {
        let Uploading::Here(upload) = &self.upload else { return None };
        upload.ended().then(|| Stream::new(self.read, Io::upstream(self.socket)))
    }
}

fn poll_upload(
    upload: &mut Upload,
    socket: &Socket,
    context: &mut Context<'_>,
) -> Poll<Result<(), Http1Error>> {
    upload.poll(context, |context, slices| poll_write(socket, context, slices)).map_err(|error| match error {
        OutgoingError::Body(error) => Http1Error::Request(error),
        OutgoingError::Length => Http1Error::RequestLength,
        OutgoingError::Io(error) => Http1Error::Io(error),
    })
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;
    use std::time::Duration;

    use socket2::SockRef;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn an_idle_connection_has_no_large_buffer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pod = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let mut connection = Connection::new(Arc::new(Socket::new(stream, peer).unwrap()));
        let write_head = |buffer: &mut Vec<u8>, _: &RequestBody| {
            buffer.resize(8 * READ_LEAST, b'x');
            Some(0)
        };
        connection.begin(write_head, RequestBody::empty());
        poll_fn(|context| connection.poll_upload(context)).await.unwrap();
        connection.read.reserve(8 * READ_LEAST);
        connection.shrink();
        let Uploading::Here(upload) = &connection.upload else { panic!("it is not here") };
        assert_eq!((connection.read.capacity(), upload.capacity()), (0, 0));
        drop(pod);
    }

    #[tokio::test]
    async fn what_comes_after_a_rumour_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut pod = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let socket = Arc::new(Socket::new(stream, peer).unwrap());
        pod.write_all(b"x").await.unwrap();
        socket.stream.readable().await.unwrap();
        // Behind the event loop's back: it goes on believing that there is something to read.
        assert_eq!(SockRef::from(&socket.stream).recv(&mut [MaybeUninit::uninit()]).unwrap(), 1);
        let connection = Connection::new(socket);
        let looked = Arc::new(Notify::new());
        let looking = Arc::clone(&looked);
        let noticed = tokio::spawn(poll_fn(move |context| {
            let quiet = connection.poll_quiet(context);
            looking.notify_one();
            if quiet { Poll::Pending } else { Poll::Ready(()) }
        }));
        looked.notified().await;
        pod.write_all(b"y").await.unwrap();
        tokio::time::timeout(Duration::from_secs(5), noticed).await.unwrap().unwrap();
    }
}
