//! Everything here that reads what a client or a pod wrote, for the property tests and for fuzzing: no input makes it panic, and
//! what it lets through is what the rest of the crate relies on.
//!
//! A new parser is added to [`PARSERS`], and both try it. A broken promise is a failed assertion.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use catnap_activator_core::Reason;
use http::header::{HeaderMap, HeaderValue};
use http::{Request, Uri, Version, request};

use crate::config::Network;
use crate::forwarded::{self, Caller};
use crate::head::Head;
use crate::{frames, headers, http1, trace};

/// What reads bytes of any kind.
pub type Parser = fn(&[u8]);

/// The parsers by name.
pub const PARSERS: &[(&str, Parser)] = &[
    ("request_head", http1::server::parsers::request_head),
    ("chunked", http1::parsers::chunked),
    ("response_head", http1::parsers::response_head),
    ("fields", fields),
    ("frames", frames::parsers::frames),
    ("authority", authority),
    ("grpc_timeout", grpc_timeout),
    ("traceparent", traceparent),
    ("network", network),
];

/// Fields of a head or of trailers, as lines.
fn fields(bytes: &[u8]) {
    let Ok(fields) = http1::parsers::fields(&Bytes::copy_from_slice(bytes)) else { return };
    passes_nothing_of_the_connection(&fields);
    leaves_one_trace(fields.clone());
    leaves_a_plain_request_id(fields.clone());
    let mut request = Request::new(());
    *request.headers_mut() = fields;
    has_one_length_at_most(&request.into_parts().0);
}

/// A request's target, and behind a line break its `Host`.
fn authority(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (target, host) = (parts.next().unwrap_or_default(), parts.next());
    let mut request = Request::new(());
    if let Ok(target) = Uri::try_from(target) {
        *request.uri_mut() = target;
    }
    if let Some(host) = host.and_then(|host| HeaderValue::from_bytes(host).ok()) {
        request.headers_mut().insert("host", host);
    }
    *request.version_mut() = Version::HTTP_11;
    names_a_host_that_needs_no_quoting(request.into_parts().0);
}

fn grpc_timeout(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let mut headers = HeaderMap::new();
    headers.insert("grpc-timeout", value);
    let expected = match bytes {
        [digits @ .., unit] if digits.len() <= 8 => grpc_duration(digits, *unit),
        _ => None,
    };
    assert_eq!(headers::grpc_timeout(&headers), expected);
}

/// What digits and a unit mean, reckoned in another way than the parser does.
fn grpc_duration(digits: &[u8], unit: u8) -> Option<Duration> {
    let nanoseconds = match unit {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return None,
    };
    let digit = |digit: &u8| digit.is_ascii_digit().then(|| u128::from(digit - b'0'));
    let first = digits.first().and_then(digit)?;
    let amount = digits[1..].iter().try_fold(first, |amount, next| Some(amount * 10 + digit(next)?))?;
    Some(Duration::from_nanos_u128(amount * nanoseconds))
}

fn traceparent(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        headers.insert("traceparent", value);
    }
    leaves_one_trace(headers);
}

fn network(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(network) = text.parse::<Network>() else { return };
    let address = text.split('/').next().and_then(|address| address.parse::<IpAddr>().ok());
    // An IPv4 address in IPv6 clothes counts as IPv4, also where the network is written so.
    let contained =
        address.is_some_and(|address| address != address.to_canonical() || network.contains(address));
    assert!(contained, "{network:?}");
}

/// What is for one connection alone, and what only we may say, is gone.
fn passes_nothing_of_the_connection(fields: &HeaderMap) {
    let (mut request, mut response, mut trailers) = (fields.clone(), fields.clone(), fields.clone());
    let removed = headers::clean_request(Version::HTTP_11, &mut request);
    headers::clean_response(&mut response);
    headers::clean_trailers(&mut trailers);
    for headers in [&request, &response, &trailers] {
        for name in ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"] {
            assert!(!headers.contains_key(name), "{name}");
        }
    }
    for headers in [&request, &trailers] {
        assert!(headers.keys().all(|name| !name.as_str().starts_with("catnap-")));
    }
    let mut written = Vec::new();
    headers::write_for_http1_pod(&mut written, &request, &removed, true, |_| false);
    written.extend_from_slice(b"\r\n");
    assert!(http1::parsers::fields(&Bytes::from(written)).is_ok(), "a pod reads what is written to it");
    headers::announce_trailers(&mut response);
    headers::for_http2_pod(&mut request, &removed);
}

fn leaves_one_trace(mut headers: HeaderMap) {
    let mut untraced = headers.clone();
    trace::pass_on(&mut untraced, None);
    assert!(untraced.get_all("traceparent").iter().count() <= 1);
    trace::pass_on(&mut headers, Some(trace::Sampling { ratio: 0.5, caller_decides: true }));
    let values: Vec<_> = headers.get_all("traceparent").iter().collect();
    assert_eq!(values.len(), 1);
    let parts: Vec<&[u8]> = values[0].as_bytes().split(|byte| *byte == b'-').collect();
    assert!(parts.len() >= 4, "{values:?}");
    assert_eq!(parts[..4].iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 32, 16, 2]);
    let hex = |part: &&[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    assert!(parts[..4].iter().all(hex), "{values:?}");
}

fn leaves_a_plain_request_id(mut headers: HeaderMap) {
    let id = forwarded::identify(&mut headers);
    assert!((1..=128).contains(&id.len()));
    assert!(id.as_bytes().iter().all(|byte| byte.is_ascii_graphic() && !b"\"\\<>,;".contains(byte)));
    assert_eq!(headers.get("x-request-id"), Some(&id));
}

pub(crate) fn names_a_host_that_needs_no_quoting(mut parts: request::Parts) {
    match Head::host(&parts) {
        Ok(host) => {
            assert!(host.to_str().is_ok_and(|host| host.parse::<http::uri::Authority>().is_ok()), "{host:?}");
            assert!(!host.as_bytes().iter().any(|byte| b"\"\\@/?# ".contains(byte)), "{host:?}");
            let caller = Caller::new(Ipv4Addr::LOCALHOST.into(), false, &[]);
            caller.describe(&mut parts.headers, &host);
            for name in ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"] {
                assert_eq!(parts.headers.get_all(name).iter().count(), 1, "{name}");
            }
        }
        Err(refusal) => assert_eq!(refusal.reason, Reason::BadRequest),
    }
}

pub(crate) fn has_one_length_at_most(parts: &request::Parts) {
    if Head::check(parts).is_ok() {
        let all = |name: &str| parts.headers.get_all(name).iter().cloned().collect::<Vec<_>>();
        let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
        assert!(lengths.len() <= 1 && codings.len() <= 1);
        assert!(lengths.iter().all(|length| length.as_bytes().iter().all(u8::is_ascii_digit)));
        assert!(codings.iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")));
    }
}

#[cfg(test)]
mod tests;
