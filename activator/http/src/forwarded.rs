//! Who called, told to the function: `Forwarded` (RFC 7239), `X-Forwarded-*`, `X-Request-Id` and `traceparent`.
//!
//! What a client says of itself is believed only from a trusted proxy; from anybody else it is replaced.

use std::net::IpAddr;

use bytes::BytesMut;
use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};

use crate::config::Network;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
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
    let mut digits = [0; 32];
    write_hex(rand::random(), &mut digits);
    let id = plain_value(&digits);
    headers.insert(REQUEST_ID, id.clone());
    id
}

/// Keeps a valid W3C trace context, else begins one.
pub(crate) fn trace(headers: &mut HeaderMap) {
    let mut values = headers.get_all(TRACEPARENT).iter();
    if let (Some(only), None) = (values.next(), values.next())
        && valid_traceparent(only.as_bytes())
    {
        return;
    }
    headers.remove(TRACESTATE);
    // Zero is not a valid id; flags 00: the sampling decision is left to whoever traces.
    let mut value = *b"00-00000000000000000000000000000000-0000000000000000-00";
    write_hex(rand::random::<u128>() | 1, &mut value[3..35]);
    write_hex(u128::from(rand::random::<u64>() | 1), &mut value[36..52]);
    headers.insert(TRACEPARENT, plain_value(&value));
}

/// Writes a number as hexadecimal digits, most significant first, in all of the field.
fn write_hex(mut number: u128, field: &mut [u8]) {
    for digit in field.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 0xf) as usize];
        number >>= 4;
    }
}

/// Digits and dashes are no trouble in a header value.
fn plain_value(bytes: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(bytes).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

fn valid_request_id(id: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    !id.is_empty() && id.len() <= REQUEST_ID_BYTES && id.iter().all(plain)
}

/// `version-trace-parent-flags` in lower-case hexadecimal; a later version may have more after another dash.
fn valid_traceparent(value: &[u8]) -> bool {
    let hex = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let id = |bytes: &[u8]| hex(bytes) && bytes.iter().any(|byte| *byte != b'0');
    let (Some(version), Some(trace), Some(parent), Some(flags)) =
        (value.get(..2), value.get(3..35), value.get(36..52), value.get(53..55))
    else {
        return false;
    };
    let dashes = [2, 35, 52].iter().all(|position| value.get(*position) == Some(&b'-'));
    let rest = match version {
        b"ff" => false,
        b"00" => value.len() == 55,
        _ => value.get(55).is_none_or(|next| *next == b'-'),
    };
    dashes && rest && hex(version) && id(trace) && id(parent) && hex(flags)
}

#[cfg(test)]
mod tests;
