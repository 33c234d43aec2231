//! HTTP/1.1 (RFC 9112), as a server of clients (`server`), and as a client of pods: one exchange at a time on a connection, driven by
//! whoever waits for it.
//!
//! No task, channel or timer belongs to a connection to a pod: the exchange that uses it reads and writes the socket itself. While
//! nobody does, it lies in its [`Home`], from where the pool takes it again.

mod body;
mod chunked;
mod coding;
mod connection;
mod exchange;
mod head;
mod outgoing;
#[cfg(any(test, fuzzing))]
pub(crate) mod parsers;
pub(crate) mod server;

use std::sync::Arc;
use std::task::Poll;

use parking_lot::Mutex;

pub(crate) use body::Http1Body;
pub(crate) use connection::Connection;
pub(crate) use exchange::Sending;
pub(crate) use outgoing::write_field;
pub(crate) use server::{Http1RequestBody, Http1RequestBodyError};

use crate::request_body::RequestBodyError;

/// Longest head of a response, and of all interim responses before it, in bytes.
const HEAD_BYTES: usize = crate::config::HEAD_BYTES;
/// Most header fields of a response.
const HEAD_FIELDS: usize = 256;

/// Why an exchange with a pod broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Http1Error {
    /// The kernel says that the connection is broken.
    #[error("the connection to the pod broke")]
    Io(#[source] std::io::Error),
    /// The pod closed the connection.
    #[error("the pod closed the connection before the end of its response's {0}")]
    Closed(&'static str),
    /// What the pod sent is not HTTP/1.1.
    #[error("the pod's response is malformed: {0}")]
    Malformed(&'static str),
    /// The request's own body broke off.
    #[error("the request broke off")]
    Request(#[source] RequestBodyError),
    /// The request's body is not as long as its head says.
    #[error("the request is not as long as it says")]
    RequestLength,
    /// Another exchange uses the connection.
    #[error("the connection is in use")]
    InUse,
}

/// Where a connection is between exchanges.
#[derive(Debug, Default)]
pub(crate) struct Home(Mutex<Place>);

#[derive(Debug, Default)]
enum Place {
    /// An exchange has it, or it was closed.
    #[default]
    Away,
    /// It takes a request.
    Idle(Box<Connection>),
    /// The pod answered before the whole request was sent: the rest of it is still on its way.
    Uploading(Box<Connection>),
}

impl Home {
    /// The home of a connection that takes a request.
    pub(crate) fn of(connection: Connection) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Place::Idle(Box::new(connection)))))
    }

    /// Takes the connection for an exchange.
    pub(crate) fn take(&self) -> Option<Box<Connection>> {
        let mut place = self.0.lock();
        match std::mem::take(&mut *place) {
            Place::Idle(connection) => Some(connection),
            other => {
                *place = other;
                None
            }
        }
    }

    /// The exchange is over. A connection whose pod sent more than it should is not used again.
    fn put(&self, mut connection: Box<Connection>) {
        connection.shrink();
        *self.0.lock() = match connection.rest() {
            connection::Rest::Nothing => Place::Idle(connection),
            connection::Rest::Upload => Place::Uploading(connection),
            connection::Rest::Unusable => Place::Away,
        };
    }

    /// True when it takes a request now: the pod neither closed it nor sent anything on its own.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(&*self.0.lock(), Place::Idle(connection) if connection.is_quiet())
    }

    /// True while the rest of a request is on its way.
    pub(crate) fn is_uploading(&self) -> bool {
        matches!(&*self.0.lock(), Place::Uploading(_))
    }

    /// Waits until the rest of a request is sent. False: it will take no other.
    pub(crate) async fn ready(&self) -> bool {
        let connection = match std::mem::take(&mut *self.0.lock()) {
            Place::Away => return false,
            Place::Idle(connection) | Place::Uploading(connection) => connection,
        };
        let mut connection = connection;
        let uploaded = std::future::poll_fn(|context| {
            if !connection.poll_quiet(context) {
                // The pod closed it meanwhile, or says what nobody asked for.
                return Poll::Ready(false);
            }
            connection.poll_upload(context).map(|uploaded| uploaded.is_ok())
        });
        if !uploaded.await {
            return false;
        }
        self.put(connection);
        self.is_ready()
    }
}
