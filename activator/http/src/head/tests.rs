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
    assert_eq!(Head::host(&parts("GET", "http://a.b/", &[])).unwrap(), "a.b");
    assert_eq!(Head::host(&parts("GET", "http://a.b/", &[("host", "A.b")])).unwrap(), "A.b");
    for bad in [
        parts("GET", "/", &[]),
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
    let caller = Caller::new("192.0.2.1".parse().unwrap(), false, &[]);
    let parts = parts("GET", "http://hello.default/a?b=c", &[]);
    let host = Head::host(&parts).unwrap();
    let (head, _) = Head::new(parts, host, &caller, None);
    let mut http1 = Vec::new();
    assert!(!head.write(&mut http1, &RequestBody::empty()));
    let http1 = String::from_utf8(http1).unwrap();
    assert!(http1.starts_with("GET /a?b=c HTTP/1.1\r\nhost: hello.default\r\n"), "{http1}");
    assert!(http1.ends_with("\r\n\r\n"), "{http1}");
    let http2 = head.http2_request(RequestBody::empty());
    assert_eq!(http2.uri(), "http://hello.default/a?b=c");
    assert!(!http2.headers().contains_key("host"));
    assert_eq!(http2.headers()["x-forwarded-for"], "192.0.2.1");
}

#[test]
fn only_methods_that_may_be_repeated_are() {
    let caller = Caller::new("192.0.2.1".parse().unwrap(), false, &[]);
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
