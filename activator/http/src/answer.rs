//! Answers that Catnap gives itself: a problem document (RFC 9457), or for gRPC callers a response of trailers only.

use std::fmt::Write;

use bytes::Bytes;
use catnap_activator_core::{Reason, Refusal};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, Response, StatusCode};
use serde_json::json;

const REASON: HeaderName = HeaderName::from_static("catnap-reason");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// What an answer must know of the request.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) grpc: bool,
    pub(crate) head: bool,
    pub(crate) request_id: HeaderValue,
}

impl Asker {
    pub(crate) fn new(method: &Method, headers: &HeaderMap, request_id: HeaderValue) -> Self {
        Self { grpc: crate::headers::is_grpc(headers), head: *method == Method::HEAD, request_id }
    }
}

/// The whole answer to a refused request.
pub(crate) fn refuse(refusal: &Refusal, asker: &Asker) -> Response<Bytes> {
    let reason = refusal.reason;
    let mut response = if asker.grpc { grpc(refusal) } else { problem(refusal, asker) };
    let headers = response.headers_mut();
    headers.insert(REASON, HeaderValue::from_static(reason.name()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(wait) = reason.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
    }
    if reason == Reason::MethodNotAllowed {
        headers.insert(ALLOW, METHODS);
    }
    response
}

fn problem(refusal: &Refusal, asker: &Asker) -> Response<Bytes> {
    let reason = refusal.reason;
    let document = json!({
        "type": format!("https://catnap.dev/reasons/{reason}"),
        "title": reason.title(),
        "status": reason.status(),
        "detail": &*refusal.detail,
        "function": refusal.function.as_ref().map(ToString::to_string),
        "reason": reason.name(),
        "requestId": asker.request_id.to_str().ok(),
    });
    let body = if asker.head { Bytes::new() } else { Bytes::from(format!("{document}\n")) };
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

fn grpc(refusal: &Refusal) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(refusal.reason.grpc_status())));
    let message = percent_encode(&format!("{}: {}", refusal.reason, refusal.detail));
    if let Ok(message) = HeaderValue::from_str(&message) {
        headers.insert(GRPC_MESSAGE, message);
    }
    response
}

/// `grpc-message` carries UTF-8 with everything but plain ASCII percent-encoded.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use catnap_activator_core::FunctionName;

    fn asker(grpc: bool, head: bool) -> Asker {
        Asker { grpc, head, request_id: HeaderValue::from_static("id-1") }
    }

    #[test]
    fn every_reason_has_its_problem_document() {
        for reason in Reason::ALL {
            let refusal = Refusal {
                function: Some(FunctionName { namespace: "default".into(), name: "hello".into() }),
                ..Refusal::new(reason, "why")
            };
            let response = refuse(&refusal, &asker(false, false));
            assert_eq!(response.status().as_u16(), reason.status());
            assert_eq!(response.headers()["catnap-reason"], reason.name());
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            let wait = reason.retry_after().map(|wait| wait.as_secs().to_string());
            let told = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(told, wait);
            let document: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(document["type"], format!("https://catnap.dev/reasons/{}", reason.name()));
            assert_eq!(document["title"], reason.title());
            assert_eq!(document["status"], reason.status());
            assert_eq!(document["detail"], "why");
            assert_eq!(document["function"], "default/hello");
            assert_eq!(document["reason"], reason.name());
            assert_eq!(document["requestId"], "id-1");
        }
    }

    #[test]
    fn grpc_callers_get_trailers_only() {
        let refusal = Refusal::new(Reason::ActivationTimeout, "100 % späť");
        let response = refuse(&refusal, &asker(true, false));
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.body().is_empty());
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert_eq!(response.headers()["grpc-status"], "14");
        assert_eq!(response.headers()["grpc-message"], "ActivationTimeout: 100 %25 sp%C3%A4%C5%A5");
        assert_eq!(response.headers()["catnap-reason"], "ActivationTimeout");
    }

    #[test]
    fn a_head_request_gets_no_body_and_a_wrong_method_the_list() {
        let response = refuse(&Refusal::new(Reason::MethodNotAllowed, "TRACE"), &asker(false, true));
        assert!(response.body().is_empty());
        assert!(response.headers()["allow"].to_str().unwrap().contains("GET"));
    }
}
