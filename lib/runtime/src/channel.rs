//! Connections to other processes of Catnap, their certificates pinned, pinged; and the token to show to the leading autoscaler.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use crate::leader::Leader;
use crate::tls::{TlsError, pinning_client_config};

/// How often the connection is pinged.
pub const PING_INTERVAL: Duration = Duration::from_secs(1);
/// A ping that stays unanswered for this long ends the connection.
pub const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The token that proves who we are cannot be read.
    #[error("cannot read the token in {}", path.display())]
    ReadToken {
        /// Where it should be.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// The token cannot be sent.
    #[error("the token in {} is no header value", path.display())]
    BadToken {
        /// Where it is.
        path: PathBuf,
    },
    /// TLS could not be set up.
    #[error("cannot set up TLS")]
    Configure {
        /// What is wrong.
        #[source]
        source: TlsError,
    },
    /// The leader cannot be reached, or has another certificate than its Lease says.
    #[error("cannot connect")]
    Connect {
        /// What the network or TLS said.
        #[source]
        source: tonic::transport::Error,
    },
}

/// The value of the `authorization` header, with the token in this file. To be read for each connection: kubelet replaces the
/// token long before it expires.
pub async fn authorization(token_file: &Path) -> Result<MetadataValue<Ascii>, ChannelError> {
    let path = || token_file.to_owned();
    let token = tokio::fs::read_to_string(token_file)
        .await
        .map_err(|source| ChannelError::ReadToken { path: path(), source })?;
    let mut value = MetadataValue::try_from(format!("Bearer {}", token.trim()))
        .map_err(|_| ChannelError::BadToken { path: path() })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Connects to the leader; it takes as long as the network lets it.
pub async fn open(leader: &Leader) -> Result<Channel, ChannelError> {
    let tls = pinning_client_config(leader.fingerprint, &[b"h2"])
        .map_err(|source| ChannelError::Configure { source })?;
    connect(leader.address, tls).await.map_err(|source| ChannelError::Connect { source })
}

/// Connects under TLS that pins the certificate of whoever is there, and pings the connection from then on.
pub async fn connect(
    address: SocketAddr,
    tls: Arc<ClientConfig>,
) -> Result<Channel, tonic::transport::Error> {
    let tls = TlsConnector::from(tls);
    let connector = tower::service_fn(move |_: tonic::transport::Uri| {
        let tls = tls.clone();
        async move {
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            // The name is not checked: the certificate is pinned.
            let socket = tls.connect(ServerName::IpAddress(address.ip().into()), socket).await?;
            Ok::<_, std::io::Error>(TokioIo::new(socket))
        }
    });
    // The connector does TLS itself, so the scheme must not ask for it again.
    Endpoint::from_shared(format!("http://{address}"))?
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
}
