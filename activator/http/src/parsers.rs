//! Properties of everything here that reads what a client or a pod wrote: no input makes it panic, and what it lets through
//! is what the rest of the crate relies on.

use std::time::Duration;

use catnap_activator_core::Reason;
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Version};
use proptest::prelude::*;

use crate::config::Network;
use crate::forwarded::{self, Caller};
use crate::head::Head;
use crate::headers;

/// Names that mean something to a proxy, and others.
const NAMES: [&str; 16] = [
    "connection",
    "keep-alive",
    "te",
    "upgrade",
    "transfer-encoding",
    "trailer",
    "content-length",
    "host",
    "catnap-reason",
    "catnap-",
    "x-forwarded-for",
    "forwarded",
    "traceparent",
    "x-request-id",
    "x-one",
    "x-two",
];

/// Bytes that are allowed in a value, those that separate things more often than others.
fn value() -> impl Strategy<Value = HeaderValue> {
    let byte = prop_oneof![
        Just(b','),
        Just(b';'),
        Just(b'='),
        Just(b' '),
        Just(b'"'),
        Just(b'-'),
        b'0'..=b'9',
        b'a'..=b'z',
        b' '..=b'~',
        128_u8..=255,
    ];
    let words = prop::sample::select(vec![
        "close, upgrade",
        "trailers;q=0.5",
        "h2c",
        "timeout=99999999999999999999",
        "timeout=5, max=1",
        "Host, catnap-reason, x-one",
        "chunked",
        "5",
    ]);
    prop_oneof![
        prop::collection::vec(byte, 0..60).prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap()),
        words.prop_map(HeaderValue::from_static),
        prop::sample::select(NAMES.to_vec()).prop_map(HeaderValue::from_static),
    ]
}

fn fields() -> impl Strategy<Value = HeaderMap> {
    let field = (prop::sample::select(NAMES.to_vec()), value());
    prop::collection::vec(field, 0..12).prop_map(|fields| {
        fields.into_iter().map(|(name, value)| (HeaderName::from_static(name), value)).fold(
            HeaderMap::new(),
            |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            },
        )
    })
}

proptest! {
    #[test]
    fn nothing_of_the_connection_passes(mut request in fields(), mut trailers in fields()) {
        let mut response = request.clone();
        headers::clean_request(&mut request);
        headers::clean_response(&mut response);
        headers::clean_trailers(&mut trailers);
        for headers in [&request, &response, &trailers] {
            for name in ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"] {
                prop_assert!(!headers.contains_key(name), "{}", name);
            }
        }
        for headers in [&request, &trailers] {
            prop_assert!(headers.keys().all(|name| !name.as_str().starts_with("catnap-")));
        }
    }

    #[test]
    fn a_grpc_timeout_is_digits_and_a_unit(value in value(), digits in "[0-9]{1,9}", unit in "[HMSmunx]") {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", value);
        headers::grpc_timeout(&headers);
        headers.insert("grpc-timeout", format!("{digits}{unit}").parse().unwrap());
        let amount: u64 = digits.parse().unwrap();
        let expected = match (&*unit, digits.len()) {
            (_, 9..) | ("x", _) => None,
            ("H", _) => Some(Duration::from_secs(amount * 3_600)),
            ("M", _) => Some(Duration::from_secs(amount * 60)),
            ("S", _) => Some(Duration::from_secs(amount)),
            ("m", _) => Some(Duration::from_millis(amount)),
            ("u", _) => Some(Duration::from_micros(amount)),
            _ => Some(Duration::from_nanos(amount)),
        };
        prop_assert_eq!(headers::grpc_timeout(&headers), expected);
    }

    #[test]
    fn a_keep_alive_timeout_is_in_seconds(value in value(), seconds in any::<u64>(), space in "[ \t]{0,2}") {
        let mut headers = HeaderMap::new();
        headers.insert("keep-alive", value);
        headers::clean_response(&mut headers);
        headers.insert("keep-alive", format!("max=3,{space}Timeout{space}={space}{seconds}").parse().unwrap());
        prop_assert_eq!(headers::clean_response(&mut headers), Some(Duration::from_secs(seconds)));
    }

    #[test]
    fn a_trace_is_valid_afterwards(mut headers in fields(), parent in "[0-9a-fA-F-]{50,60}") {
        headers.append("traceparent", parent.parse().unwrap());
        forwarded::trace(&mut headers);
        let values: Vec<_> = headers.get_all("traceparent").iter().collect();
        prop_assert_eq!(values.len(), 1);
        let parts: Vec<&str> = values[0].to_str().unwrap().split('-').collect();
        prop_assert_eq!(parts[..4].iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 32, 16, 2]);
        let hex = |part: &&str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        prop_assert!(parts[..4].iter().all(hex), "{:?}", parts);
    }

    #[test]
    fn a_request_id_is_a_plain_token_afterwards(mut headers in fields()) {
        let id = forwarded::identify(&mut headers);
        prop_assert!((1..=128).contains(&id.len()));
        prop_assert!(id.as_bytes().iter().all(|byte| byte.is_ascii_graphic() && !b"\"\\<>,;".contains(byte)));
        prop_assert_eq!(headers.get("x-request-id"), Some(&id));
    }

    #[test]
    fn a_host_needs_no_quoting(host in value(), mut headers in fields()) {
        headers.insert("host", host);
        let mut request = Request::new(());
        *request.headers_mut() = headers;
        *request.version_mut() = Version::HTTP_11;
        let (mut parts, ()) = request.into_parts();
        match Head::host(&parts) {
            Ok(host) => {
                prop_assert!(!host.as_bytes().iter().any(|byte| b"\"\\@/?# ".contains(byte)), "{:?}", host);
                let caller = Caller::new("192.0.2.1".parse().unwrap(), false, &[]);
                caller.describe(&mut parts.headers, &host);
                for name in ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"] {
                    prop_assert_eq!(parts.headers.get_all(name).iter().count(), 1, "{}", name);
                }
            }
            Err(refusal) => prop_assert_eq!(refusal.reason, Reason::BadRequest),
        }
    }

    #[test]
    fn a_head_that_passes_has_one_length_at_most(headers in fields()) {
        let mut request = Request::new(());
        *request.headers_mut() = headers;
        let (parts, ()) = request.into_parts();
        if Head::check(&parts).is_ok() {
            let all = |name: &str| parts.headers.get_all(name).iter().cloned().collect::<Vec<_>>();
            let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
            prop_assert!(lengths.len() <= 1 && codings.len() <= 1);
            prop_assert!(lengths.iter().all(|length| length.as_bytes().iter().all(u8::is_ascii_digit)));
            prop_assert!(codings.iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")));
        }
    }

    #[test]
    fn a_connection_field_names_what_it_names(mut headers in fields(), named in prop::sample::subsequence(vec!["x-one", "x-two"], 0..=2)) {
        headers.insert(CONNECTION, named.join(" ,\t").parse().unwrap());
        let before = headers.clone();
        headers::clean_request(&mut headers);
        for name in ["x-one", "x-two"] {
            let kept = before.contains_key(name) && !named.contains(&name);
            prop_assert_eq!(headers.contains_key(name), kept, "{}", name);
        }
    }

    #[test]
    fn a_network_contains_its_own_address(text in ".{0,40}", address in any::<std::net::IpAddr>().prop_map(|address| address.to_canonical()), prefix in 0_u8..=130) {
        drop(text.parse::<Network>());
        let longest = if address.is_ipv4() { 32 } else { 128 };
        match format!("{address}/{prefix}").parse::<Network>() {
            Ok(network) => prop_assert!(network.contains(address) && prefix <= longest),
            Err(_) => prop_assert!(prefix > longest),
        }
    }
}
