//! HTTP/1.1 as a server of clients (RFC 9112): one request at a time on a connection, driven by the connection's task.
//!
//! Between requests a connection has no buffer, and what serves a request is made for it. The body of a request is read by
//! whoever wants it, which may go on after the response: see [`Downstream`].

mod body;
mod downstream;
#[cfg(any(test, fuzzing))]
pub(crate) mod parsers;
mod request;
mod response;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use catnap_activator_core::Refusal;
use http::{Method, Response};
use http_body::Body;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;

use super::outgoing::{Outgoing, OutgoingError};
use crate::answer::{self, Asker};
use crate::body::ClientBody;
use crate::client::Client;
use crate::io::{Stream, Transport};
use crate::pace::{AwaitedUpload, Upload};
use crate::response_body::ResponseBody;
use crate::socket::Socket;
use crate::tunnel::Tunnel;
use crate::{exchange, forwarded, record};
pub(crate) use body::{Http1RequestBody, Http1RequestBodyError};
use downstream::{Downstream, Reading};
use request::{Head, Unparsable};
use response::{Asked, Shape};

/// How much of a head is expected, more or less.
const HEAD_ROOM: usize = 512;

/// What becomes of a connection after an exchange.
enum After {
    Next,
    /// It ends in the way of its protocol.
    End,
    /// A response was not sent to its end.
    BrokenOff {
        until_close: bool,
    },
    ClientLeft,
    Switched(Box<Tunnel>),
}

/// What is to become of a connection's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The client may still be reading, or sending.
    Linger,
    /// Nobody is interested any more.
    Close,
    /// A close would be taken for the end of a response.
    Reset,
}

/// Serves the requests of a connection until one side ends it.
pub(crate) async fn serve(client: &Arc<Client>, mut transport: Transport) -> Ending {
    let read = transport.take_unread();
    let mut downstream = Arc::new(Mutex::new(Downstream::new(transport, read)));
    loop {
        let head = match next_head(client, &downstream).await {
            Ok(Some(head)) => head,
            Ok(None) if client.socket.is_leaving() => return Ending::Close,
            Ok(None) => return Ending::Linger,
            Err(unparsable) => {
                client.socket.exchange_began(Instant::now());
                refuse(client, &downstream, &unparsable).await;
                break;
            }
        };
        // Longer than the exchange itself: a connection whose request is still read, or which is about to end, is not quiet.
        let began = Instant::now();
        client.socket.exchange_began(began);
        if client.socket.is_closed() {
            // It came when the sweep had given the connection up, and nobody would hear what becomes of it.
            return Ending::Close;
        }
        // In the heap for as long as it lasts: a connection is small while nothing is asked of it. Made there, for it is large.
        match Box::into_pin(Box::write(Box::new_uninit(), exchange(client, &downstream, head, began))).await {
            After::Next => client.socket.exchange_ended(Instant::now()),
            After::End => break,
            After::BrokenOff { until_close } => {
                downstream.lock().give_up_body();
                return if until_close { Ending::Reset } else { Ending::Linger };
            }
            After::ClientLeft => return Ending::Close,
            After::Switched(tunnel) => match Arc::try_unwrap(downstream) {
                Ok(downstream) => {
                    let Downstream { transport, read, .. } = downstream.into_inner();
                    Box::pin(tunnel.run(Stream::new(read, transport))).await;
                    // What the pod said last is not to be lost to what the client sends meanwhile.
                    return Ending::Linger;
                }
                Err(shared) => {
                    // A part of the request is still being read, by somebody who must not get bytes of the other protocol.
                    downstream = shared;
                    downstream.lock().give_up_body();
                    break;
                }
            },
        }
    }
    let _ = poll_fn(|context| Pin::new(&mut downstream.lock().transport).poll_shutdown(context)).await;
    // A pod may still be getting the request, which nobody else may read meanwhile.
    poll_fn(|context| downstream.lock().poll_let_go(context)).await;
    downstream.lock().give_up_body();
    Ending::Linger
}

/// The next request's head. `None`: one side ends the connection.
async fn next_head(client: &Client, downstream: &Mutex<Downstream>) -> Result<Option<Head>, Unparsable> {
    poll_fn(|context| match downstream.lock().poll_head(context) {
        Poll::Pending => client.socket.poll_leaves(context).map(|()| Ok(None)),
        ready @ Poll::Ready(_) => ready,
    })
    .await
}

/// Answers what is no request.
async fn refuse(client: &Client, downstream: &Mutex<Downstream>, unparsable: &Unparsable) {
    let Unparsable { error, line } = unparsable;
    let refusal = Refusal::new(error.reason(), error.to_string());
    let to_head = line.method == Method::HEAD.as_str();
    let asker = Asker { grpc: false, head: to_head, request_id: forwarded::new_request_id() };
    let answer = answer::refuse(&refusal, &asker);
    record::unparsable(client, *line, refusal.reason, &asker.request_id);
    let mut bytes = Vec::with_capacity(HEAD_ROOM + answer.body().len());
    response::write_last(&mut bytes, answer, to_head, &client.worker.date);
    write_all(downstream, &bytes).await;
}

/// One request, from its head to the last byte of its response, and of its body. It begins with the call, not with the first poll.
// No `async fn`, see `exchange::serve`.
fn exchange(
    client: &Arc<Client>,
    downstream: &Arc<Mutex<Downstream>>,
    head: Head,
    began: Instant,
) -> impl Future<Output = After> + Send {
    let Head { request, length, keeps_alive, expects_continue, takes_trailers } = head;
    let asked = Asked {
        version: request.version(),
        head: *request.method() == Method::HEAD,
        takes_trailers,
        keeps_alive,
    };
    let (body, here) = Downstream::begin(downstream, length, expects_continue);
    let request = request.map(|()| ClientBody::Http1(body));
    async move {
        // Futures are awaited where they were made: `await` and `select!` would move what all of their states need.
        let mut served = pin!(async move {
            let response = pin!(exchange::serve(Arc::clone(client), request, began)).await;
            match response {
                Ok(response) => pin!(respond(client, downstream, response, asked)).await,
                Err(exchange::ClientLeft) => After::ClientLeft,
            }
        });
        let mut left = pin!(async move {
            // Nobody reads what is here already from the socket.
            if here { client.socket.hang_up_unread().await } else { client.socket.hang_up().await }
        });
        tokio::select! {
            biased;
            after = &mut served => after,
            () = &mut left => After::ClientLeft,
        }
    }
}

/// Sends a response, then waits for the end of the request if somebody still reads it.
// No `async fn`, see `exchange::serve`.
fn respond(
    client: &Client,
    downstream: &Mutex<Downstream>,
    response: Response<ResponseBody>,
    mut asked: Asked,
) -> impl Future<Output = After> + Send {
    let (head, mut body) = response.into_parts();
    async move {
        let interim = downstream.lock().end_interim();
        if let Some(rest) = interim {
            write_all(downstream, rest).await;
        }
        asked.keeps_alive &= poll_fn(|context| Poll::Ready(downstream.lock().may_reach_end(context))).await;
        let tunnel = body.take_tunnel();
        let shape = Shape::new(&head, &body.size_hint(), asked);
        let mut outgoing = Outgoing::default();
        let write_head = |buffer: &mut Vec<u8>, _: &ResponseBody| {
            buffer.reserve(HEAD_ROOM);
            shape.write(buffer, &head, asked, &client.worker.date);
            shape.delimited
        };
        if shape.bodiless {
            // The pod may take its time with an end that nobody waits for.
            body = body.without_rest();
        }
        outgoing.begin(write_head, body);
        drop(head);
        match send(&client.socket, downstream, &mut outgoing, shape.until_close).await {
            Ok(()) => {}
            Err(OutgoingError::Io(_)) => return After::ClientLeft,
            Err(OutgoingError::Body(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a response broke off");
                return After::BrokenOff { until_close: shape.until_close };
            }
            Err(OutgoingError::Length) => {
                tracing::debug!("a response was not as long as it said");
                return After::BrokenOff { until_close: false };
            }
        }
        drop(outgoing);
        if let Some(tunnel) = tunnel {
            return After::Switched(tunnel);
        }
        if !shape.keeps_alive {
            return After::End;
        }
        let mut awaited = AwaitedUpload::new(Some(Arc::clone(&client.socket)), Upload::Sized);
        let ended = poll_fn(|context| {
            let mut downstream = downstream.lock();
            let ended = downstream.poll_body_end(context);
            // Who else reads it notes for itself whether the client is waited for.
            awaited.note(ended.is_pending() && downstream.reading == Reading::Abandoned);
            ended
        });
        if ended.await { After::Next } else { After::End }
    }
}

/// Sends what was begun. `until_close`: the end of the connection is its end.
async fn send<B: Body<Data = Bytes> + Unpin>(
    socket: &Socket,
    downstream: &Mutex<Downstream>,
    outgoing: &mut Outgoing<B>,
    until_close: bool,
) -> Result<(), OutgoingError<B::Error>> {
    socket.delimit_by_close(until_close);
    let sent = poll_fn(|context| {
        let sent = outgoing.poll(context, |context, pieces| downstream.lock().poll_write(context, pieces));
        // What waits for more of the body must not wait in a buffer of TLS.
        let flushed = Pin::new(&mut downstream.lock().transport).poll_flush(context);
        ready!(sent)?;
        flushed.map_err(OutgoingError::Io)
    });
    let sent = sent.await;
    if let Err(OutgoingError::Body(_) | OutgoingError::Length) = sent {
        // Of a body that broke off all that came is with the kernel, under TLS too. A reset may still take it back.
        let _ = poll_fn(|context| Pin::new(&mut downstream.lock().transport).poll_flush(context)).await;
    }
    sent?;
    // It is whole: a reset would take back what the client has not read yet.
    socket.delimit_by_close(false);
    Ok(())
}

async fn write_all(downstream: &Mutex<Downstream>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let written =
            poll_fn(|context| Pin::new(&mut downstream.lock().transport).poll_write(context, bytes)).await;
        match written {
            Ok(count @ 1..) => bytes = &bytes[count..],
            // Whoever reads finds out.
            Ok(0) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests;
