use super::*;

fn host() -> HeaderValue {
    HeaderValue::from_static("hello.default:8080")
}

fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[test]
fn a_strangers_word_is_replaced() {
    let mut headers = HeaderMap::new();
    headers.insert(FORWARDED, HeaderValue::from_static("for=1.2.3.4"));
    headers.insert(FORWARDED_FOR, HeaderValue::from_static("1.2.3.4"));
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
    headers.insert(FORWARDED_HOST, HeaderValue::from_static("bank.example"));
    Caller::new("::ffff:192.0.2.7".parse().unwrap(), false, &[]).describe(&mut headers, &host());
    assert_eq!(all(&headers, "forwarded"), ["for=192.0.2.7;proto=http;host=\"hello.default:8080\""]);
    assert_eq!(all(&headers, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(all(&headers, "x-forwarded-proto"), ["http"]);
    assert_eq!(all(&headers, "x-forwarded-host"), ["hello.default:8080"]);
}

#[test]
fn a_trusted_proxys_word_is_extended() {
    let mut headers = HeaderMap::new();
    headers.insert(FORWARDED_FOR, HeaderValue::from_static("1.2.3.4"));
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
    let trusted = ["2001:db8::/32".parse().unwrap()];
    Caller::new("2001:db8::9".parse().unwrap(), false, &trusted).describe(&mut headers, &host());
    assert_eq!(all(&headers, "forwarded"), ["for=\"[2001:db8::9]\";proto=http;host=\"hello.default:8080\""]);
    assert_eq!(all(&headers, "x-forwarded-for"), ["1.2.3.4", "2001:db8::9"]);
    assert_eq!(all(&headers, "x-forwarded-proto"), ["https"]);
    assert_eq!(all(&headers, "x-forwarded-host"), ["hello.default:8080"]);
}

#[test]
fn a_valid_request_id_is_kept_and_any_other_made_anew() {
    let mut headers = HeaderMap::new();
    headers.insert(REQUEST_ID, HeaderValue::from_static("order-17/a"));
    assert_eq!(identify(&mut headers), "order-17/a");
    for bad in ["", "two words", "quo\"te"] {
        headers.insert(REQUEST_ID, HeaderValue::from_str(bad).unwrap());
        let made = identify(&mut headers);
        assert_eq!(made.len(), 32, "{bad:?}");
        assert_eq!(headers[REQUEST_ID], made);
    }
    headers.insert(REQUEST_ID, HeaderValue::from_str(&"x".repeat(129)).unwrap());
    assert_eq!(identify(&mut headers).len(), 32);
}
