//! Header fields that must not pass a proxy, or not as they are (RFC 9110 7.6.1), in both directions.

use std::time::Duration;

use http::Version;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, COOKIE, EXPECT,
    FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use crate::http1::write_field;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// Fields of our own: nobody outside may set them.
const OWN_PREFIX: &str = "catnap-";
const FORWARDED_PREFIX: &str = "x-forwarded-";
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const UPGRADE_OPTION: HeaderValue = HeaderValue::from_static("upgrade");
pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// Trailer fields of a gRPC response, announced so that HTTP/1.1 carries them.
const GRPC_TRAILERS: HeaderValue =
    HeaderValue::from_static("grpc-status, grpc-message, grpc-status-details-bin");

/// What the removed fields of a request said.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    /// The client asked to switch to this protocol.
    pub(crate) upgrade: Option<HeaderValue>,
    /// The client takes trailers.
    pub(crate) takes_trailers: bool,
}

/// The protocol that a client asks to switch to (RFC 9110 7.8).
pub(crate) fn upgrade(version: Version, headers: &HeaderMap) -> Option<&HeaderValue> {
    headers
        .get(UPGRADE)
        .filter(|_| version == Version::HTTP_11)
        // A pod that took it up would speak HTTP/2 with the client behind our back (RFC 9113 3.1).
        .filter(|_| !lists(headers, &UPGRADE, "h2c"))
        .filter(|_| lists(headers, &CONNECTION, "upgrade"))
}

/// Takes out of a request's head what is for us alone.
pub(crate) fn clean_request(version: Version, headers: &mut HeaderMap) -> Removed {
    // Most requests have nothing of the kind, which one look at each name tells sooner than a search for each kind.
    let is_removed = |name: &str| matches!(name, "expect" | "http2-settings" | "proxy-authorization");
    let for_us = |name: &str| is_removed(name) || is_hop_by_hop(name) || is_ours(name);
    if !headers.keys().any(|name| for_us(name.as_str())) {
        return Removed::default();
    }
    let takes_trailers = lists(headers, &TE, "trailers");
    let upgrade = upgrade(version, headers).cloned();
    remove_hop_by_hop(headers);
    headers.remove(PROXY_AUTHORIZATION);
    headers.remove(HTTP2_SETTINGS);
    headers.remove(EXPECT);
    if headers.keys().any(|name| is_ours(name.as_str())) {
        let own: Vec<_> = headers.keys().filter(|name| is_ours(name.as_str())).cloned().collect();
        for name in own {
            headers.remove(name);
        }
    }
    Removed { upgrade, takes_trailers }
}

/// True for a field that nobody outside may set, and for one that another reader may take for a field that we set or remove: CGI
/// and what came of it tell `_` and `-` not apart.
fn is_ours(name: &str) -> bool {
    name.starts_with(OWN_PREFIX) || (has_underscore(name.as_bytes()) && resembles_ours(name))
}

/// As `contains`, in half the instructions: it is asked of every field of every request.
fn has_underscore(name: &[u8]) -> bool {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    let found = |word: &[u8; 8]| {
        // A byte borrows from its highest bit only when it is zero.
        let differs = u64::from_ne_bytes(*word) ^ (EACH * 0x5f);
        differs.wrapping_sub(EACH) & !differs & (EACH << 7) != 0
    };
    match name.last_chunk() {
        Some(last) => found(last) || name.as_chunks().0.iter().any(found),
        None => name.contains(&b'_'),
    }
}

fn resembles_ours(name: &str) -> bool {
    const NAMES: [&str; 7] = [
        "content-length",
        "http2-settings",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "transfer-encoding",
        "x-request-id",
    ];
    let name = name.replace('_', "-");
    name.starts_with(OWN_PREFIX) || name.starts_with(FORWARDED_PREFIX) || NAMES.contains(&&*name)
}

/// Takes out of trailers what only a head may say (RFC 9110 6.5.1): whoever merges them into its fields would believe it of the
/// whole message.
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    let names: Vec<HeaderName> = trailers.keys().filter(|name| only_in_a_head(name)).cloned().collect();
    for name in names {
        trailers.remove(name);
    }
}

/// How a gRPC call ended, as its trailers say, or its head when there is nothing else.
pub(crate) fn grpc_status(fields: &HeaderMap) -> Option<u8> {
    fields.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// True for a field that means nothing good in trailers.
fn only_in_a_head(name: &HeaderName) -> bool {
    const NAMES: [HeaderName; 19] = [
        AUTHORIZATION,
        CONNECTION,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        COOKIE,
        EXPECT,
        FORWARDED,
        HOST,
        KEEP_ALIVE,
        PROXY_AUTHORIZATION,
        PROXY_CONNECTION,
        TE,
        TRACEPARENT,
        TRACESTATE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    let text = name.as_str();
    is_ours(text) || text.starts_with(FORWARDED_PREFIX) || NAMES.contains(name)
}

/// Takes out of a response's head what is for us alone. Gives the server's own keep-alive timeout.
pub(crate) fn clean_response(headers: &mut HeaderMap) -> Option<Duration> {
    if !headers.keys().any(|name| *name == PROXY_AUTHENTICATE || is_hop_by_hop(name.as_str())) {
        return None;
    }
    let keep_alive = headers.get(KEEP_ALIVE).and_then(keep_alive_timeout);
    remove_hop_by_hop(headers);
    headers.remove(PROXY_AUTHENTICATE);
    keep_alive
}

/// Writes the fields that a request to an HTTP/1.1 pod has, but for the host and the length. `from_http2`: the client may have split its cookies,
/// which HTTP/1.1 may not (RFC 9113 8.2.3). `replaced`: the fields that are left out.
pub(crate) fn write_for_http1_pod(
    buffer: &mut Vec<u8>,
    headers: &HeaderMap,
    removed: &Removed,
    from_http2: bool,
    replaced: impl Fn(&HeaderName) -> bool,
) {
    let join_cookies = from_http2 && headers.get_all(COOKIE).iter().nth(1).is_some();
    for (name, value) in headers {
        let apart = *name == HOST || *name == CONTENT_LENGTH || (join_cookies && *name == COOKIE);
        if !apart && !replaced(name) {
            write_field(buffer, name.as_str(), value.as_bytes());
        }
    }
    if join_cookies {
        let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        write_field(buffer, COOKIE.as_str(), &cookies.join(&b"; "[..]));
    }
    if removed.takes_trailers {
        write_field(buffer, TE.as_str(), b"trailers");
        write_field(buffer, CONNECTION.as_str(), b"te");
    }
    if let Some(protocol) = &removed.upgrade {
        write_field(buffer, UPGRADE.as_str(), protocol.as_bytes());
        write_field(buffer, CONNECTION.as_str(), b"upgrade");
    }
}

/// The fields that a request to an HTTP/2 pod has besides those of the client. The host is in `:authority`.
pub(crate) fn for_http2_pod(headers: &mut HeaderMap, removed: &Removed) {
    headers.remove(HOST);
    if removed.takes_trailers || is_grpc(headers) {
        headers.insert(TE, TRAILERS);
    }
}

/// Readies the head of an HTTP/2 response that may have trailers for HTTP/1.1, which carries only announced ones, and only
/// behind chunks: without them a gRPC call would have no status. True when the body must be sent in chunks.
pub(crate) fn announce_trailers(headers: &mut HeaderMap) -> bool {
    if is_grpc(headers) && !headers.contains_key(TRAILER) {
        headers.insert(TRAILER, GRPC_TRAILERS);
    }
    let announced = headers.contains_key(TRAILER);
    if announced {
        headers.remove(CONTENT_LENGTH);
    }
    announced
}

/// The fields of a response that switches protocols.
pub(crate) fn switching(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(UPGRADE, protocol);
    headers.insert(CONNECTION, UPGRADE_OPTION);
}

/// True for a gRPC message of any encoding. gRPC-Web has another media type.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        value
            .strip_prefix(b"application/grpc")
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    })
}

/// True for server-sent events, which go on for as long as their client likes.
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        value.as_bytes().split_at_checked(EVENT_STREAM.len()).is_some_and(|(kind, rest)| {
            kind.eq_ignore_ascii_case(EVENT_STREAM)
                && matches!(rest.first(), None | Some(b';' | b' ' | b'\t'))
        })
    })
}

/// The client's deadline of a gRPC call: up to eight digits and a unit.
pub(crate) fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(&GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// A deadline of a gRPC call that is so far away, rounded down: whoever believes it gives up no later than the client.
pub(crate) fn grpc_timeout_of(left: Duration) -> HeaderValue {
    let milliseconds = left.as_millis();
    // The number has eight digits at most.
    let text = if milliseconds < 100_000_000 {
        format!("{milliseconds}m")
    } else {
        format!("{}S", left.as_secs().min(99_999_999))
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("0m"))
}

/// True for what [`remove_hop_by_hop`] removes, but for what only a `Connection` field names.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "proxy-connection" | "te" | "transfer-encoding" | "upgrade")
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = members(headers, &CONNECTION)
            .filter_map(|option| HeaderName::from_bytes(option).ok())
            // Without it nothing could be routed; no sender may name it.
            .filter(|name| name != HOST)
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

/// True when the comma-separated field lists the token.
pub(crate) fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    members(headers, name).any(|member| {
        // One of `TE` may carry a weight.
        let name = member.split(|byte| *byte == b';').next().unwrap_or_default();
        name.trim_ascii_end().eq_ignore_ascii_case(token.as_bytes())
    })
}

/// The members of a comma-separated field. One that is no token hides none beside it.
pub(crate) fn members<'headers>(
    headers: &'headers HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'headers [u8]> {
    let values = headers.get_all(name).into_iter();
    values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// `timeout` of a `Keep-Alive` field, in seconds.
fn keep_alive_timeout(value: &HeaderValue) -> Option<Duration> {
    let seconds = value
        .to_str()
        .ok()?
        .split(',')
        .filter_map(|parameter| parameter.trim().split_once('='))
        .find_map(|(name, seconds)| name.trim().eq_ignore_ascii_case("timeout").then_some(seconds))?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests;
