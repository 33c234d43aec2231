//! Who called, told to the function: `Forwarded` (RFC 7239), `X-Forwarded-*` and `X-Request-Id`.
//!
//! What a client says of itself is believed only from a trusted proxy; from anybody else it is replaced.

use std::net::IpAddr;

use bytes::BytesMut;
use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};

use crate::config::Network;
use crate::http1::write_field;
use crate::trace::{plain_value, write_hex};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTPS: HeaderValue = HeaderValue::from_static("https");
/// Longer request ids are replaced.
const REQUEST_ID_BYTES: usize = 128;

/// The caller of a connection, worked out once for all its requests.
#[derive(Debug)]
pub(crate) struct Caller {
    trusted: bool,
    address: HeaderValue,
    scheme: HeaderValue,
    /// `for=…;proto=…;host=`, to be followed by the quoted host.
    forwarded: Box<[u8]>,
}

impl Caller {
    /// `tls`: the caller's connection is under it.
    pub(crate) fn new(address: IpAddr, tls: bool, trusted: &[Network]) -> Self {
        let address = address.to_canonical();
        let text = address.to_string();
        let scheme = if tls { "https" } else { "http" };
        let node = if address.is_ipv6() { format!("\"[{text}]\"") } else { text.clone() };
        Self {
            trusted: trusted.iter().any(|network| network.contains(address)),
            // An IP address has no character that a header value may not have.
            address: HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            scheme: if tls { HTTPS } else { HTTP },
            forwarded: format!("for={node};proto={scheme};host=").into_bytes().into_boxed_slice(),
        }
    }

    /// True when its connection is under TLS.
    pub(crate) fn tls(&self) -> bool {
        self.scheme == HTTPS
    }

    /// True when what it says of others is believed.
    pub(crate) fn trusted(&self) -> bool {
        self.trusted
    }

    /// Writes the fields on where the request came from. `host`: the authority as the client sent it.
    pub(crate) fn describe(&self, headers: &mut HeaderMap, host: &HeaderValue) {
        let mut element = BytesMut::with_capacity(self.forwarded.len() + host.len() + 2);
        element.extend_from_slice(&self.forwarded);
        element.extend_from_slice(b"\"");
        element.extend_from_slice(host.as_bytes());
        element.extend_from_slice(b"\"");
        if let Ok(element) = HeaderValue::from_maybe_shared(element.freeze()) {
            self.extend(headers, FORWARDED, element);
        }
        self.extend(headers, FORWARDED_FOR, self.address.clone());
        self.keep(headers, FORWARDED_PROTO, self.scheme.clone());
        self.keep(headers, FORWARDED_HOST, host.clone());
    }

    /// True for a field of a client that is not believed: what `write` says comes in its place.
    pub(crate) fn replaces(&self, name: &HeaderName) -> bool {
        // As texts: asked of every field, and names would be made and dropped each time.
        let told = matches!(
            name.as_str(),
            "forwarded" | "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host"
        );
        told && !self.trusted
    }

    /// As `describe`, written behind those fields of the head that are not replaced.
    pub(crate) fn write(&self, buffer: &mut Vec<u8>, headers: &HeaderMap, host: &HeaderValue) {
        buffer.extend_from_slice(FORWARDED.as_str().as_bytes());
        for piece in [b": ", &*self.forwarded, b"\"", host.as_bytes(), b"\"\r\n"] {
            buffer.extend_from_slice(piece);
        }
        write_field(buffer, FORWARDED_FOR.as_str(), self.address.as_bytes());
        for (name, value) in [(FORWARDED_PROTO, &self.scheme), (FORWARDED_HOST, host)] {
            if !self.trusted || !headers.contains_key(&name) {
                write_field(buffer, name.as_str(), value.as_bytes());
            }
        }
    }

    /// A list to which every proxy adds an element.
    fn extend(&self, headers: &mut HeaderMap, name: HeaderName, element: HeaderValue) {
        if self.trusted {
            headers.append(name, element);
        } else {
            headers.insert(name, element);
        }
    }

    /// A value that the first proxy sets.
    fn keep(&self, headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
        if !self.trusted || !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    }
}

/// Keeps the request's id when it is a plain token, else makes one. Gives it.
pub(crate) fn identify(headers: &mut HeaderMap) -> HeaderValue {
    if let Some(id) = headers.get(REQUEST_ID).filter(|id| valid_request_id(id.as_bytes())) {
        return id.clone();
    }
    let id = new_request_id();
    headers.insert(REQUEST_ID, id.clone());
    id
}

pub(crate) fn new_request_id() -> HeaderValue {
    let mut digits = [0; 32];
    write_hex(rand::random(), &mut digits);
    plain_value(&digits)
}

fn valid_request_id(id: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    !id.is_empty() && id.len() <= REQUEST_ID_BYTES && id.iter().all(plain)
}

#[cfg(test)]
mod tests;
