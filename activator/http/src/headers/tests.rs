use super::*;

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn hop_by_hop_fields_and_our_own_do_not_pass() {
    let mut headers = map(&[
        ("host", "hello.default"),
        ("connection", "X-Private, close, Host"),
        ("x-private", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic eA=="),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
        ("expect", "100-continue"),
        ("catnap-reason", "QueueFull"),
        ("catnap-revision", "forged"),
        ("accept", "*/*"),
    ]);
    let removed = clean_request(Version::HTTP_11, &mut headers);
    assert_eq!(headers, map(&[("host", "hello.default"), ("accept", "*/*")]));
    assert!(removed.upgrade.is_none());
    assert!(!removed.takes_trailers);
}

#[test]
fn what_another_reader_takes_for_ours_does_not_pass() {
    let fields = [
        ("catnap_reason", "QueueFull"),
        ("x_forwarded_for", "6.6.6.6"),
        ("x-forwarded_proto", "https"),
        ("x_request_id", "1"),
        ("transfer_encoding", "chunked"),
        ("content_length", "1"),
        ("keep_alive", "1"),
        ("proxy_authorization", "1"),
        ("http2_settings", "1"),
        ("x_own", "1"),
        ("x-own", "2"),
    ];
    let (mut head, mut trailers) = (map(&fields), map(&fields));
    clean_request(Version::HTTP_11, &mut head);
    clean_trailers(&mut trailers);
    let passed = map(&[("x_own", "1"), ("x-own", "2")]);
    assert_eq!((&head, &trailers), (&passed, &passed));
}

#[test]
fn an_underscore_is_found_wherever_it_is() {
    for length in 0..40 {
        for fill in [b'-', b'^', b'`', 0x80, 0xdf] {
            let mut name = vec![fill; length];
            assert!(!has_underscore(&name));
            for at in 0..length {
                name[at] = b'_';
                assert!(has_underscore(&name), "{at} of {length}");
                name[at] = fill;
            }
        }
    }
}

#[test]
fn a_member_that_is_no_token_hides_none_beside_it() {
    let mut headers = map(&[("host", "hello.default"), ("x-hop", "1"), ("upgrade", "websocket")]);
    headers.insert(CONNECTION, HeaderValue::from_bytes(b"X-Hop, \xff, upgrade").unwrap());
    assert_eq!(upgrade(Version::HTTP_11, &headers).unwrap(), "websocket");
    headers.append(UPGRADE, HeaderValue::from_bytes(b"\xff,h2c").unwrap());
    assert!(clean_request(Version::HTTP_11, &mut headers).upgrade.is_none());
    assert_eq!(headers, map(&[("host", "hello.default")]));
}

#[test]
fn an_upgrade_counts_only_when_connection_names_it() {
    let mut asked = map(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
    assert_eq!(clean_request(Version::HTTP_11, &mut asked).upgrade.unwrap(), "websocket");
    let mut alone = map(&[("upgrade", "websocket")]);
    assert!(clean_request(Version::HTTP_11, &mut alone).upgrade.is_none());
    for version in [Version::HTTP_10, Version::HTTP_2] {
        let asked = map(&[("connection", "upgrade"), ("upgrade", "websocket")]);
        assert!(upgrade(version, &asked).is_none());
    }
}

#[test]
fn trailers_are_asked_for_in_the_way_of_each_protocol() {
    let mut headers = map(&[("te", "gzip, trailers;q=0.5"), ("connection", "te")]);
    let removed = clean_request(Version::HTTP_11, &mut headers);
    assert!(removed.takes_trailers);
    assert_eq!(written(&headers, &removed, false), "te: trailers\r\nconnection: te\r\n");
    for_http2_pod(&mut headers, &removed);
    assert_eq!(headers, map(&[("te", "trailers")]));
}

#[test]
fn split_cookies_are_joined_for_http1() {
    let headers = map(&[("cookie", "a=1"), ("cookie", "b=2")]);
    assert_eq!(written(&headers, &Removed::default(), true), "cookie: a=1; b=2\r\n");
    assert_eq!(written(&headers, &Removed::default(), false), "cookie: a=1\r\ncookie: b=2\r\n");
}

fn written(headers: &HeaderMap, removed: &Removed, from_http2: bool) -> String {
    let mut buffer = Vec::new();
    write_for_http1_pod(&mut buffer, headers, removed, from_http2, |_| false);
    String::from_utf8(buffer).unwrap()
}

#[test]
fn the_pods_keep_alive_timeout_is_read_and_removed() {
    let mut headers =
        map(&[("connection", "keep-alive"), ("keep-alive", "max=100, timeout=5"), ("etag", "x")]);
    assert_eq!(clean_response(&mut headers), Some(Duration::from_secs(5)));
    assert_eq!(headers, map(&[("etag", "x")]));
}

#[test]
fn grpc_is_told_from_what_resembles_it() {
    for yes in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"] {
        assert!(is_grpc(&map(&[("content-type", yes)])), "{yes}");
    }
    for no in ["application/grpc-web", "application/json"] {
        assert!(!is_grpc(&map(&[("content-type", no)])), "{no}");
    }
}

#[test]
fn grpc_timeouts_have_a_unit() {
    for (text, expected) in [
        ("2S", Some(Duration::from_secs(2))),
        ("250m", Some(Duration::from_millis(250))),
        ("1H", Some(Duration::from_secs(3600))),
        ("99999999n", Some(Duration::from_nanos(99_999_999))),
        ("123456789S", None),
        ("S", None),
        ("5", None),
        ("-1S", None),
    ] {
        assert_eq!(grpc_timeout(&map(&[("grpc-timeout", text)])), expected, "{text}");
    }
    for (left, expected) in [
        (Duration::from_micros(1_999), "1m"),
        (Duration::from_millis(99_999_999), "99999999m"),
        (Duration::from_millis(100_000_999), "100000S"),
        (Duration::MAX, "99999999S"),
    ] {
        assert_eq!(grpc_timeout_of(left), expected);
    }
}
