use std::time::Duration;

use http::header::{CONNECTION, HeaderName};
use proptest::prelude::*;

use super::*;

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
    fn no_bytes_break_a_promise(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for (_, parser) in PARSERS {
            parser(&bytes);
        }
    }

    /// Fields as lines, which arbitrary bytes hardly ever are.
    #[test]
    fn no_lines_break_a_promise(headers in fields(), end in prop::sample::select(vec!["\r\n", "\n", "", " ", "0"])) {
        let mut lines = Vec::new();
        for (name, value) in &headers {
            lines.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        lines.extend_from_slice(end.as_bytes());
        for (_, parser) in PARSERS {
            parser(&lines);
        }
    }

    #[test]
    fn nothing_of_the_connection_passes(fields in fields()) {
        passes_nothing_of_the_connection(&fields);
    }

    #[test]
    fn a_grpc_timeout_is_digits_and_a_unit(digits in "[0-9]{0,9}", unit in "[HMSmunx]") {
        grpc_timeout(format!("{digits}{unit}").as_bytes());
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
        leaves_one_trace(headers);
    }

    #[test]
    fn a_request_id_is_a_plain_token_afterwards(headers in fields()) {
        leaves_a_plain_request_id(headers);
    }

    #[test]
    fn a_host_needs_no_quoting(host in value(), mut headers in fields()) {
        headers.insert("host", host);
        let mut request = Request::new(());
        *request.headers_mut() = headers;
        *request.version_mut() = Version::HTTP_11;
        names_a_host_that_needs_no_quoting(request.into_parts().0);
    }

    #[test]
    fn a_head_that_passes_has_one_length_at_most(headers in fields()) {
        let mut request = Request::new(());
        *request.headers_mut() = headers;
        has_one_length_at_most(&request.into_parts().0);
    }

    #[test]
    fn a_connection_field_names_what_it_names(mut headers in fields(), named in prop::sample::subsequence(vec!["x-one", "x-two"], 0..=2)) {
        headers.insert(CONNECTION, named.join(" ,\t").parse().unwrap());
        let before = headers.clone();
        headers::clean_request(Version::HTTP_11, &mut headers);
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
