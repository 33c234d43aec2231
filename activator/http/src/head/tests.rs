use super::*;

fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn reason(result: Result<HeaderValue, Refusal>) -> Option<Reason> {
    result.err().map(|refusal| refusal.reason)
}

#[test]
fn one_authority_is_needed() {
    assert_eq!(
        Head::host(&parts("GET", "/", &[("host", "Hello.default:8080")])).unwrap(),
        "Hello.default:8080"
    );
    for version in [Version::HTTP_10, Version::HTTP_2] {
        let mut without = parts("GET", "http://a.b/", &[]);
        without.version = version;
        assert_eq!(Head::host(&without).unwrap(), "a.b");
    }
    assert_eq!(Head::host(&parts("GET", "http://a.b/", &[("host", "A.b")])).unwrap(), "A.b");
    for bad in [
        parts("GET", "/", &[]),
        parts("GET", "http://a.b/", &[]),
        parts("GET", "/", &[("host", "a"), ("host", "a")]),
        parts("GET", "http://a.b/", &[("host", "c.d")]),
        parts("GET", "http://me@a.b/", &[]),
        parts("GET", "/", &[("host", "me@a.b")]),
        parts("GET", "/", &[("host", "a b")]),
        parts("GET", "/", &[("host", "")]),
    ] {
        assert_eq!(reason(Head::host(&bad)), Some(Reason::BadRequest), "{bad:?}");
    }
}

#[test]
fn methods_and_sizes_are_limited() {
    let refused = |parts: &Parts| Head::check(parts).err().map(|refusal| refusal.reason);
    assert_eq!(refused(&parts("TRACE", "/", &[])), Some(Reason::MethodNotAllowed));
    assert_eq!(refused(&parts("CONNECT", "a.b:1", &[])), Some(Reason::MethodNotAllowed));
    assert_eq!(refused(&parts("GET", &format!("/{}", "x".repeat(URI_BYTES - 1)), &[])), None);
    assert_eq!(refused(&parts("GET", &format!("/{}", "x".repeat(URI_BYTES)), &[])), Some(Reason::UriTooLong));
    let many = vec![("x-field", "1"); HEAD_FIELDS + 1];
    assert_eq!(refused(&parts("GET", "/", &many[1..])), None);
    assert_eq!(refused(&parts("GET", "/", &many)), Some(Reason::HeadTooLarge));
}

#[test]
fn each_protocol_names_the_host_in_its_way() {
    let caller = Arc::new(Caller::new("192.0.2.1".parse().unwrap(), false, &[]));
    let parts = parts("GET", "http://hello.default/a?b=c", &[("host", "hello.default")]);
    let host = Head::host(&parts).unwrap();
    let (head, _) = Head::new(parts, host, &caller, None);
    let mut http1 = Vec::new();
    assert_eq!(head.write(&mut http1, &RequestBody::empty()), Some(0));
    let http1 = String::from_utf8(http1).unwrap();
    assert!(http1.starts_with("GET /a?b=c HTTP/1.1\r\nhost: hello.default\r\n"), "{http1}");
    assert!(http1.ends_with("\r\n\r\n"), "{http1}");
    let http2 = head.http2_request(RequestBody::empty());
    assert_eq!(http2.uri(), "http://hello.default/a?b=c");
    assert!(!http2.headers().contains_key("host"));
    assert_eq!(http2.headers()["x-forwarded-for"], "192.0.2.1");
}

#[test]
fn a_query_alone_gets_a_path() {
    let caller = Arc::new(Caller::new("192.0.2.1".parse().unwrap(), false, &[]));
    for (target, path) in [("http://a.b?x=/1?y", "/?x=/1?y"), ("http://a.b?", "/?"), ("http://a.b", "/")] {
        let parts = parts("GET", target, &[("host", "a.b")]);
        assert!(Head::check(&parts).is_ok(), "{target}");
        let host = Head::host(&parts).unwrap();
        let (head, _) = Head::new(parts, host, &caller, None);
        let mut http1 = Vec::new();
        head.write(&mut http1, &RequestBody::empty());
        let http1 = String::from_utf8(http1).unwrap();
        assert!(http1.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{http1}");
        let http2 = head.http2_request(RequestBody::empty());
        assert_eq!(http2.uri().path_and_query().unwrap().as_str(), path);
    }
}

#[test]
fn only_methods_that_may_be_repeated_are() {
    let caller = Arc::new(Caller::new("192.0.2.1".parse().unwrap(), false, &[]));
    for (method, repeated) in [
        ("GET", true),
        ("HEAD", true),
        ("OPTIONS", true),
        ("PUT", true),
        ("DELETE", true),
        ("POST", false),
        ("PATCH", false),
        ("REPORT", false),
    ] {
        let (head, _) = Head::new(parts(method, "/", &[]), HeaderValue::from_static("a"), &caller, None);
        assert_eq!(head.idempotent(), repeated, "{method}");
    }
}

proptest::proptest! {
    #[test]
    fn what_is_a_host_is_one_for_every_library(text in "[]a-z0-9.:%@/\\[ ,_~-]{0,16}") {
        if is_host(&text) {
            let authority: Authority = text.parse().unwrap();
            proptest::prop_assert!(!authority.host().is_empty() && !text.contains('@'));
        }
    }
}

#[test]
fn hosts_are_names_and_addresses_with_or_without_a_port() {
    for host in
        ["hello.default", "A_b.c:80", "a:", "192.0.2.1:8080", "[2001:db8::1]", "[::ffff:192.0.2.1]:80"]
    {
        assert!(is_host(host) && host.parse::<Authority>().is_ok(), "{host}");
    }
    for other in ["", ":80", "a b", "me@a", "a/b", "a:80:90", "[a", "[::1]80", "[]", "a%20b", "a:8o", "\"a\""]
    {
        assert!(!is_host(other), "{other}");
    }
}

#[test]
fn a_pod_is_told_of_the_caller_in_either_protocol() {
    let fields = [
        ("host", "hello.default"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=6.6.6.6"),
        ("x-kept", "1"),
    ];
    let trusted = ["192.0.2.0/24".parse().unwrap()];
    for (trusted, lists) in [(&[][..], 1), (&trusted[..], 2)] {
        let caller = Arc::new(Caller::new("192.0.2.1".parse().unwrap(), false, trusted));
        let parts = parts("GET", "http://hello.default/", &fields);
        let host = Head::host(&parts).unwrap();
        let (head, _) = Head::new(parts, host, &caller, None);
        let http2 = head.http2_request(RequestBody::empty());
        let mut http1 = Vec::new();
        head.write(&mut http1, &RequestBody::empty());
        let http1 = String::from_utf8(http1).unwrap();
        for (name, count) in [
            ("forwarded", lists),
            ("x-forwarded-for", lists),
            ("x-forwarded-proto", 1),
            ("x-forwarded-host", 1),
        ] {
            let lines: Vec<&str> =
                http1.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect();
            let values: Vec<&HeaderValue> = http2.headers().get_all(name).iter().collect();
            assert_eq!(
                (lines.len(), &lines),
                (count, &values.iter().map(|value| value.to_str().unwrap()).collect())
            );
        }
        assert!(http1.contains("\r\nx-kept: 1\r\n"), "{http1}");
    }
}
