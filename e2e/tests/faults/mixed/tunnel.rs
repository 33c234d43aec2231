//! Callers with a WebSocket, over which messages come back.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{SinkExt as _, StreamExt as _};
use tokio::{io::AsyncReadExt as _, time::interval};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, error::ProtocolError},
};

use super::journal::{Caller, Event};
use super::traffic::{Shared, Transport, WARM};

/// Messages over a WebSocket before its client says goodbye: for 5 to 15 seconds.
fn messages_of(caller: Caller) -> usize {
    50 + 20 * caller.number
}

/// Opens one WebSocket after the other, uses each for a while and says goodbye; then the other side must end the
/// connection, by a FIN.
pub(crate) async fn web_sockets(shared: Arc<Shared>, caller: Caller, period: Duration) -> anyhow::Result<()> {
    while !shared.is_stopped() {
        let Some((mut socket, local)) = open(&shared, caller).await else { continue };
        let mut every = interval(period);
        let mut outcome = Ok(());
        for _ in 0..messages_of(caller) {
            every.tick().await;
            outcome = echo(&shared, caller, &mut socket).await;
            if outcome.is_err() {
                break;
            }
        }
        if outcome.is_ok() {
            outcome = goodbye(socket).await;
        }
        let event = match outcome {
            Ok(()) => Event::Fin { local },
            Err(error) => Event::Lost { local, what: format!("{error:?}") },
        };
        shared.journal.note(caller, event);
    }
    Ok(())
}

/// Uses one WebSocket until the other side ends it, which it may by a FIN only.
pub(crate) async fn endless(shared: Arc<Shared>, caller: Caller, period: Duration) -> anyhow::Result<()> {
    while !shared.is_stopped() {
        let Some((mut socket, local)) = open(&shared, caller).await else { continue };
        let mut every = interval(period);
        let mut outcome = Ok(());
        while outcome.is_ok() && shared.next(&mut every).await {
            outcome = echo(&shared, caller, &mut socket).await;
        }
        match outcome {
            // Told to stop.
            Ok(()) => goodbye(socket).await?,
            // The library's word for an end of the stream that no goodbye announced; a reset is an error of the socket.
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                shared.journal.note(caller, Event::Fin { local });
            }
            Err(error) => {
                shared.journal.note(caller, Event::Lost { local, what: format!("{error:?}") });
            }
        }
    }
    Ok(())
}

async fn open(shared: &Shared, caller: Caller) -> Option<(WebSocketStream<Transport>, SocketAddr)> {
    let (stream, local) = shared.connect(caller).await?;
    let url = format!("ws://{}/websocket", shared.host(WARM));
    match client_async(url, stream).await {
        Ok((socket, _)) => return Some((socket, local)),
        Err(Error::Http(answer)) => {
            shared.journal.note(caller, Event::Wrong { what: format!("no WebSocket but {answer:?}") });
        }
        Err(error) => shared.journal.note(caller, Event::Lost { local, what: format!("{error:?}") }),
    }
    None
}

/// Sends a message and waits for it to come back.
async fn echo(shared: &Shared, caller: Caller, socket: &mut WebSocketStream<Transport>) -> Result<(), Error> {
    let id = shared.id(caller);
    let sent = Instant::now();
    socket.send(Message::text(id.clone())).await?;
    let event = match socket.next().await.unwrap_or(Err(Error::ConnectionClosed))? {
        Message::Text(text) if text == id => Event::Answered { sent },
        Message::Close(_) => return Err(Error::ConnectionClosed),
        other => Event::Wrong { what: format!("{other:?} came back, not {id}") },
    };
    shared.journal.note(caller, event);
    Ok(())
}

/// The closing handshake, after which the server ends the connection (RFC 6455 7.1.1): by a FIN.
async fn goodbye(mut socket: WebSocketStream<Transport>) -> Result<(), Error> {
    socket.close(None).await?;
    while let Some(message) = socket.next().await {
        message?;
    }
    let mut rest = Vec::new();
    socket.into_inner().read_to_end(&mut rest).await?;
    Ok(())
}
