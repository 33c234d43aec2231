//! A request given to a pod, until the head of its response is here. The request's body goes on meanwhile, and after it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Response, StatusCode};

use super::body::Http1Body;
use super::connection::Connection;
use super::head::{self, Head};
use super::{HEAD_BYTES, Home, Http1Error};

/// Waits for a response's head. Dropping it closes the connection.
pub(crate) struct Sending {
    home: Arc<Home>,
    /// `None` once it resolved.
    connection: Option<Box<Connection>>,
    to_head: bool,
    /// Bytes of the head that were looked at.
    seen: usize,
    /// Bytes of interim responses that were dropped.
    dropped: usize,
    /// Why the pod cannot be sent the rest of the request. What it said before comes first.
    failed: Option<Http1Error>,
}

impl Sending {
    /// `connection` has the request's beginning to write; it comes home after the response. `to_head`: the method is HEAD.
    pub(crate) fn new(home: Arc<Home>, connection: Box<Connection>, to_head: bool) -> Self {
        Self { home, connection: Some(connection), to_head, seen: 0, dropped: 0, failed: None }
    }

    /// The head, once it is complete. Interim responses are dropped.
    fn poll_head(
        &mut self,
        connection: &mut Connection,
        context: &mut Context<'_>,
    ) -> Poll<Result<Head, Http1Error>> {
        // A pod may answer and close before it has read all: what it said comes first.
        match connection.poll_upload(context) {
            Poll::Ready(Err(error @ Http1Error::Io(_))) => self.failed = Some(error),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        loop {
            while let Some(end) = head::fields_end(&connection.read, &mut self.seen) {
                self.seen = 0;
                let bytes = connection.read.split_to(end).freeze();
                let head = head::parse(&bytes).map_err(Http1Error::Malformed)?;
                if !head.interim() {
                    return Poll::Ready(Ok(head));
                }
                self.dropped += end;
            }
            if !head::may_begin(&connection.read) {
                return Poll::Ready(Err(Http1Error::Malformed("it does not begin with HTTP/1.")));
            }
            if self.dropped + connection.read.len() > HEAD_BYTES {
                return Poll::Ready(Err(Http1Error::Malformed("the head is too long")));
            }
            match connection.poll_fill(context, 0) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(self.failed.take().unwrap_or(Http1Error::Closed("head"))));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Http1Error::Io(error))),
                // A connection that cannot be written to is about to be readable: to its end.
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Future for Sending {
    type Output = Result<Response<Http1Body>, Http1Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Some(mut connection) = this.connection.take() else { return Poll::Pending };
        let mut head = match this.poll_head(&mut connection, context) {
            Poll::Ready(head) => head?,
            Poll::Pending => {
                this.connection = Some(connection);
                return Poll::Pending;
            }
        };
        let length = head.length(this.to_head).map_err(Http1Error::Malformed)?;
        connection.upload_apart();
        let switched = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let keeps_alive = head.keeps_alive() && !switched;
        let body = Http1Body::new(Arc::clone(&this.home), connection, length, keeps_alive);
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.version_mut() = head.version;
        *response.headers_mut() = head.headers;
        Poll::Ready(Ok(response))
    }
}
