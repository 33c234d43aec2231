//! What the HTTP side of an activator is configured with, and its fixed limits.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use catnap_activator_core::{BUSY_LIMIT, Listener};

use crate::certificates::Certificates;
use crate::trace::Sampling;

/// Longest request head in bytes, request line included.
pub(crate) const HEAD_BYTES: usize = 64 * 1024;
/// Most header fields of a request.
pub(crate) const HEAD_FIELDS: usize = 100;
/// Longest URI in bytes.
pub(crate) const URI_BYTES: usize = 16 * 1024;
/// Streams that one HTTP/2 connection may have open.
pub(crate) const STREAMS: u32 = 250;
/// Bytes of a request body that one HTTP/2 stream may send ahead.
pub(crate) const STREAM_WINDOW: u32 = 64 * 1024;
/// A held upload must not stop the other streams of its connection, so every stream's window fits at once.
pub(crate) const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;
/// Bytes of a body that wait in the codec for the window of one HTTP/2 stream, or for the connection to take them.
pub(crate) const STREAM_SEND_BYTES: usize = 64 * 1024;
/// Streams that a client may have reset before anybody looked at them; more are an attack (CVE-2023-44487).
pub(crate) const PENDING_RESETS: usize = 20;
/// Requests for one function that one HTTP/2 connection may have waiting.
pub(crate) const STREAMS_HELD: u32 = STREAMS / 2;
/// Request body that is kept so that the request can be sent again.
pub(crate) const REPLAY_BYTES: usize = 64 * 1024;

/// Settings of the listeners.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen. Port 0 takes a free one; [`Handle::addresses`](crate::Handle::addresses) tells which.
    pub listeners: Vec<(Listener, SocketAddr)>,
    /// Where to listen under TLS; nowhere by default.
    pub tls: Option<Tls>,
    /// Threads that move bytes; at least 1.
    pub workers: usize,
    /// Peers whose `Forwarded` and `X-Forwarded-*` are extended instead of replaced.
    pub trusted_proxies: Vec<Network>,
    /// Longest time for a whole request head to arrive.
    pub head_timeout: Duration,
    /// How long a connection may stay without a request. Longer than the 600 s of the clouds' load balancers.
    pub idle_timeout: Duration,
    /// How long a client may be waited for that moves less than 500 bytes a second: the rest of an upload (without a length
    /// one byte is enough), or reading a response.
    pub stall_timeout: Duration,
    /// Most connections of clients; `None`: what the limit of descriptors allows.
    pub max_connections: Option<usize>,
    /// How long a connection must have been silent to make room for another one: the request of one that was just made is on its
    /// way, and whoever asks again and again is silent for moments only.
    pub quiet_after: Duration,
    /// Part of a worker's time, from 0 to 1, that it may be busy before new requests of the heaviest function are refused.
    pub busy_limit: f64,
    /// Which traces are sampled; `None`: nobody takes any, and what callers send passes as it is. Whose callers decide is known
    /// by their connections.
    pub sampling: Option<Sampling>,
    /// Longest time for a TCP connection to a pod.
    pub connect_timeout: Duration,
}

impl Config {
    /// The defaults, with the given listeners and one worker.
    pub fn new(listeners: Vec<(Listener, SocketAddr)>) -> Self {
        Self {
            listeners,
            tls: None,
            workers: 1,
            trusted_proxies: Vec::new(),
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(620),
            stall_timeout: Duration::from_secs(60),
            max_connections: None,
            quiet_after: Duration::from_millis(100),
            busy_limit: BUSY_LIMIT,
            sampling: None,
            connect_timeout: Duration::from_secs(2),
        }
    }
}

/// Listeners that speak TLS: HTTP/2 and HTTP/1.1, by ALPN.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Where to listen, as in [`Config::listeners`].
    pub listeners: Vec<(Listener, SocketAddr)>,
    /// What is shown to clients.
    pub certificates: Arc<Certificates>,
}

/// A block of IP addresses, written `10.0.0.0/8`; a lone address is a block of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no [`Network`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NetworkError {
    /// The part before the slash is no IP address.
    #[error("`{0}` is no IP address")]
    Address(String),
    /// The part after the slash is no prefix length of that address family.
    #[error("`{0}` is no prefix length")]
    Prefix(String),
}

impl Network {
    /// True when the address is in the block. An IPv4 address in IPv6 clothes counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.prefix);
                own.to_bits().checked_shr(shift) == other.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.prefix);
                own.to_bits().checked_shr(shift) == other.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address(address.to_owned()))?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|prefix| *prefix <= longest)
                .ok_or_else(|| NetworkError::Prefix(prefix.to_owned()))?,
        };
        Ok(Self { address, prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_configures_is_as_documented() {
        let config = Config::new(Vec::new());
        assert_eq!(config.head_timeout, Duration::from_secs(10));
        assert_eq!(config.idle_timeout, Duration::from_secs(620));
        assert_eq!(config.stall_timeout, Duration::from_secs(60));
        assert_eq!(config.connect_timeout, Duration::from_secs(2));
        assert_eq!(config.quiet_after, Duration::from_millis(100));
        assert!((config.busy_limit - 0.8).abs() < f64::EPSILON);
        assert_eq!((config.workers, config.max_connections, config.sampling), (1, None, None));
        assert!(config.tls.is_none() && config.trusted_proxies.is_empty());
        assert_eq!((HEAD_BYTES, HEAD_FIELDS, URI_BYTES, REPLAY_BYTES), (65_536, 100, 16_384, 65_536));
        assert_eq!((STREAMS, STREAMS_HELD, STREAM_WINDOW, PENDING_RESETS), (250, 125, 65_536, 20));
    }

    #[test]
    fn a_network_contains_its_addresses() {
        let network: Network = "10.1.0.0/16".parse().unwrap();
        assert!(network.contains("10.1.255.3".parse().unwrap()));
        assert!(network.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!network.contains("10.2.0.1".parse().unwrap()));
        let everything: Network = "0.0.0.0/0".parse().unwrap();
        assert!(everything.contains("203.0.113.9".parse().unwrap()));
        assert!(!everything.contains("2001:db8::1".parse().unwrap()));
        let one: Network = "2001:db8::1".parse().unwrap();
        assert!(one.contains("2001:db8::1".parse().unwrap()));
        assert!(!one.contains("2001:db8::2".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        assert_eq!("host/8".parse::<Network>(), Err(NetworkError::Address("host".into())));
        assert_eq!("10.0.0.0/33".parse::<Network>(), Err(NetworkError::Prefix("33".into())));
        assert_eq!("::/129".parse::<Network>(), Err(NetworkError::Prefix("129".into())));
    }
}
