//! The body of a response, read as it is asked for. With its end the connection goes home, or is closed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::chunked::Decoded;
use super::coding::Coding;
use super::connection::Connection;
use super::head::Length;
use super::{Home, Http1Error};
use crate::io::{Io, Stream};

/// A body on its way from a pod. Dropping it before its end closes the connection.
#[derive(Debug)]
pub(crate) struct Http1Body {
    home: Arc<Home>,
    /// `None` after the end.
    connection: Option<Box<Connection>>,
    coding: Coding,
    keeps_alive: bool,
}

impl Http1Body {
    pub(super) fn new(
        home: Arc<Home>,
        connection: Box<Connection>,
        length: Length,
        keeps_alive: bool,
    ) -> Self {
        let coding = Coding::new(length);
        let keeps_alive = keeps_alive && length != Length::UntilClose;
        let mut body = Self { home, connection: Some(connection), coding, keeps_alive };
        if matches!(body.coding, Coding::Length(0)) && body.keeps_alive {
            body.go_home();
        }
        body
    }

    /// The connection itself, when the response switched to another protocol.
    pub(crate) fn into_stream(self) -> Option<Stream<Io>> {
        self.connection.and_then(|connection| connection.into_stream())
    }

    fn go_home(&mut self) {
        if let Some(connection) = self.connection.take().filter(|_| self.keeps_alive) {
            self.home.put(connection);
        }
    }

    fn poll_decoded(&mut self, context: &mut Context<'_>) -> Poll<Result<Decoded, Http1Error>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(Decoded::End)) };
        // The request may still be on its way; that the pod takes no more of it says nothing of the response.
        match connection.poll_upload(context) {
            Poll::Ready(Err(error @ Http1Error::Request(_))) => return Poll::Ready(Err(error)),
            Poll::Ready(_) | Poll::Pending => {}
        }
        loop {
            let decoded = self.coding.decode(&mut connection.read).map_err(Http1Error::Malformed)?;
            if !matches!(decoded, Decoded::Missing) {
                return Poll::Ready(Ok(decoded));
            }
            let count =
                ready!(connection.poll_fill(context, self.coding.expected())).map_err(Http1Error::Io)?;
            if count == 0 {
                return Poll::Ready(match self.coding {
                    Coding::UntilClose => Ok(Decoded::End),
                    Coding::Length(_) | Coding::Chunked(_) => Err(Http1Error::Closed("body")),
                });
            }
        }
    }
}

impl Body for Http1Body {
    type Data = Bytes;
    type Error = Http1Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Http1Error>>> {
        let this = self.get_mut();
        let decoded = match ready!(this.poll_decoded(context)) {
            Ok(decoded) => decoded,
            Err(error) => {
                this.connection = None;
                return Poll::Ready(Some(Err(error)));
            }
        };
        if this.coding.ended() || matches!(decoded, Decoded::End) {
            this.go_home();
        }
        Poll::Ready(decoded.into_frame().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none() || self.coding.ended()
    }

    fn size_hint(&self) -> SizeHint {
        match self.coding {
            Coding::Chunked(_) | Coding::UntilClose if self.connection.is_none() => SizeHint::with_exact(0),
            _ => self.coding.size_hint(),
        }
    }
}
