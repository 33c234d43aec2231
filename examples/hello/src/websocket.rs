//! A WebSocket (RFC 6455) that gives every message back until its client ends it.

use futures::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Why a request does not become a WebSocket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebSocketError {
    #[error("not an offer to switch to websocket")]
    NoOffer,
    #[error("not version 13")]
    Version,
    #[error("sec-websocket-key is missing")]
    NoKey,
}

/// The answer to the handshake, and what then gives the messages back.
pub(crate) fn accept(
    mut request: Request<Incoming>,
) -> Result<(Response<()>, impl Future<Output = ()> + Send + 'static), WebSocketError> {
    let headers = request.headers();
    let offer = headers.get(UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !offer.eq_ignore_ascii_case("websocket") {
        return Err(WebSocketError::NoOffer);
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(WebSocketError::Version);
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or(WebSocketError::NoKey)?;
    let accept =
        HeaderValue::try_from(derive_accept_key(key.as_bytes())).map_err(|_| WebSocketError::NoKey)?;
    let mut answer = Response::new(());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().extend([
        (CONNECTION, HeaderValue::from_static("upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ]);
    let upgraded = hyper::upgrade::on(&mut request);
    Ok((answer, async move {
        // An error, here and below: the client left, and there is nobody to tell.
        let Ok(upgraded) = upgraded.await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        // Pings and the closing handshake are answered by the library.
        while let Some(Ok(message)) = socket.next().await {
            let is_content = message.is_text() || message.is_binary();
            if is_content && socket.send(message).await.is_err() {
                return;
            }
        }
    }))
}
