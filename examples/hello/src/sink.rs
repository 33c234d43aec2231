//! Reports the id of each recorded request to a server outside the pod, over plain HTTP/1.1.
//!
//! A test finds a request that was served twice there, even when the pod that served it is gone.

use std::str::FromStr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Where ids go: an `http://` address.
pub(crate) struct Sink {
    authority: String,
    address: String,
    path: String,
}

/// Why an id was not recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SinkError {
    #[error("SINK_URL must be http://host[:port][/path], not {url}")]
    Address { url: String },
    #[error("connecting to the sink at {address}")]
    Connect { address: String, source: std::io::Error },
    #[error("sending the id to the sink")]
    Send { source: hyper::Error },
    #[error("building the sink's request")]
    Request { source: hyper::http::Error },
    #[error("the sink answered {status}")]
    Refused { status: StatusCode },
}

impl FromStr for Sink {
    type Err = SinkError;

    fn from_str(url: &str) -> Result<Self, SinkError> {
        let wrong = || SinkError::Address { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong());
        }
        let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { authority: authority.to_string(), address, path })
    }
}

impl Sink {
    /// POSTs the id as the body; returns once the sink has answered 2xx.
    pub(crate) async fn record(&self, id: &str) -> Result<(), SinkError> {
        let stream = TcpStream::connect(&self.address)
            .await
            .map_err(|source| SinkError::Connect { address: self.address.clone(), source })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|source| SinkError::Send { source })?;
        tokio::spawn(connection);
        let request = Request::post(&self.path)
            .header(HOST, &self.authority)
            .body(Full::new(Bytes::copy_from_slice(id.as_bytes())))
            .map_err(|source| SinkError::Request { source })?;
        let response = sender.send_request(request).await.map_err(|source| SinkError::Send { source })?;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(SinkError::Refused { status: response.status() })
        }
    }
}
