//! Answers that Catnap gives itself, and clients that do not get one.

use crate::bed::{Bed, Setup, revision};
use crate::client::{Raw, empty, get, http2, request};
use crate::pod::{NOBODY, Pod, describe};
use catnap_activator_core::{Reason, Trouble};
use catnap_activator_http::Outcome;
use std::time::Duration;

fn expect(answer: &crate::client::Answer, reason: Reason) {
    assert_eq!(answer.status, reason.status(), "{reason}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.header("catnap-reason"), Some(reason.name()));
    assert_eq!(answer.json()["reason"], reason.name());
    assert_eq!(answer.json()["status"], reason.status());
}

#[tokio::test]
async fn a_request_that_cannot_be_routed_is_told_why() {
    let bed = Bed::start();
    bed.function("hello", Setup::default());
    for (head, reason) in [
        ("GET / HTTP/1.1\r\nHost: nobody.default\r\nX-Request-Id: id-7\r\n", Reason::UnknownHost),
        ("GET / HTTP/1.1\r\n", Reason::BadRequest),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n", Reason::BadRequest),
        ("GET http://a.b/ HTTP/1.1\r\nHost: c.d\r\n", Reason::BadRequest),
        ("TRACE / HTTP/1.1\r\nHost: hello.default\r\n", Reason::MethodNotAllowed),
    ] {
        let mut client = Raw::connect(bed.address()).await;
        client.send(format!("{head}\r\n")).await;
        let answer = client.answer().await;
        expect(&answer, reason);
        // After what cannot be understood, nothing is certain about the next request.
        assert_eq!(answer.header("connection"), (reason == Reason::BadRequest).then_some("close"));
        if reason == Reason::UnknownHost {
            assert_eq!(answer.json()["requestId"], "id-7");
        }
    }
    let mut client = Raw::connect(bed.address()).await;
    client.get("hello.default", &format!("/{}", "x".repeat(17_000))).await;
    expect(&client.answer().await, Reason::UriTooLong);
    client.send("CONNECT hello.default:80 HTTP/1.1\r\nHost: hello.default:80\r\n\r\n").await;
    expect(&client.answer().await, Reason::MethodNotAllowed);
    let ended = bed.until_ended(7).await;
    assert_eq!(ended[0].outcome, Outcome::Refused(Reason::UnknownHost));
    assert_eq!(ended[0].function, None);
}

#[tokio::test]
async fn only_the_authority_says_which_function_is_asked() {
    // What a trusted proxy says of its client is for the function.
    let bed = Bed::configured(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    for field in [
        "X-Forwarded-Host: hello.default",
        "Forwarded: for=10.0.0.1;host=hello.default",
        "X-Host: hello.default",
        "X-Original-Host: hello.default",
        "X-Original-URL: http://hello.default/",
        "X-Rewrite-URL: http://hello.default/",
        "Catnap-Function: hello.default",
    ] {
        let mut client = Raw::connect(bed.address()).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: nobody.default\r\n{field}\r\n\r\n")).await;
        expect(&client.answer().await, Reason::UnknownHost);
        let mut client = Raw::connect(bed.address()).await;
        let other = field.replace("hello", "nobody");
        client.send(format!("GET / HTTP/1.1\r\nHost: hello.default\r\n{other}\r\n\r\n")).await;
        assert_eq!(client.answer().await.status, 200, "{field}");
    }
}

#[tokio::test]
async fn the_edge_serves_no_cluster_local_name() {
    let bed = Bed::start();
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    expect(&get(bed.edge(), "hello.default", "/").await, Reason::UnknownHost);
    assert_eq!(get(bed.address(), "hello.default.svc.cluster.local", "/").await.status, 200);
}

#[tokio::test]
async fn what_is_no_http_is_told_why_and_counted() {
    let bed = Bed::start();
    let hello = "GET / HTTP/1.1\r\nHost: hello.default\r\n";
    let most = "more than 65536 bytes, which is the most that is allowed; its longest part is the header field X-Long";
    for (bytes, reason, told) in [
        ("what is this\r\n\r\n".to_owned(), Reason::BadRequest, "the request line"),
        ("GET / HTTP/3.0\r\n\r\n".to_owned(), Reason::BadRequest, "HTTP/1.1 or HTTP/1.0"),
        (
            format!("{hello}X-Odd : 1\r\n\r\n"),
            Reason::BadRequest,
            "the header field X-Odd has a blank before",
        ),
        (
            format!("{hello}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            Reason::BadRequest,
            "9223372036854775807",
        ),
        (format!("{hello}X-Long: {}", "x".repeat(70_000)), Reason::HeadTooLarge, most),
        (format!("GET /{}", "x".repeat(70_000)), Reason::UriTooLong, "more than 16384 bytes"),
        (
            format!("{hello}{}\r\n", "X-Many: 1\r\n".repeat(100)),
            Reason::HeadTooLarge,
            "more than 100 header fields",
        ),
    ] {
        let mut client = Raw::connect(bed.address()).await;
        client.send(&bytes).await;
        let answer = client.answer().await;
        expect(&answer, reason);
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(answer.json()["detail"].as_str().unwrap().contains(told), "{:?}", answer.json());
        assert_eq!(answer.json()["requestId"].as_str().unwrap().len(), 32);
        assert!(client.rest().await.is_empty(), "it is the last one");
    }
    let mut client = Raw::connect(bed.address()).await;
    client.send("HEAD / HTTP/1.1\r\nHost : hello.default\r\n\r\n").await;
    let answer = client.head().await;
    assert_eq!((answer.status, answer.header("catnap-reason")), (400, Some("BadRequest")));
    assert!(client.rest().await.is_empty(), "an answer to HEAD has no body");
    let counted = bed.counts.unparsable.lock().clone();
    let (bad, large) = (Reason::BadRequest, Reason::HeadTooLarge);
    assert_eq!(counted, [bad, bad, bad, bad, large, Reason::UriTooLong, large, bad]);
    assert!(bed.counts.ended.lock().is_empty(), "there was no request");
}

#[tokio::test]
async fn a_function_that_cannot_come_up_says_so() {
    let bed = Bed::start();
    let stalled = Trouble { reason: Reason::ImagePullFailed, detail: "no such image".into() };
    bed.function("broken", Setup { stalled: Some(stalled), ..Setup::default() });
    let answer = get(bed.address(), "broken.default", "/").await;
    expect(&answer, Reason::ImagePullFailed);
    assert_eq!(answer.json()["detail"], "no such image");
    assert_eq!(answer.json()["function"], "default/broken");
    assert_eq!(answer.header("retry-after"), Some("30"));
}

#[tokio::test]
async fn the_activation_timeout_ends_a_hold() {
    let bed = Bed::start();
    bed.function("slow", Setup { activation: Duration::from_millis(50), ..Setup::default() });
    expect(&get(bed.address(), "slow.default", "/").await, Reason::ActivationTimeout);
    assert_eq!(bed.activator.held(), 0);
    let ended = bed.until_ended(1).await;
    assert!(ended[0].held > Some(Duration::ZERO), "it waited, though in vain: {ended:?}");
    assert_eq!(ended[0].revision, Some(revision("slow")), "it is the revision that did not come up");
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let bed = Bed::start();
    bed.function("hello", Setup { max_requests: 2, ..Setup::default() });
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut client = Raw::connect(bed.address()).await;
        client.get("hello.default", "/").await;
        waiting.push(client);
    }
    bed.until_held("hello", 2).await;
    let answer = get(bed.address(), "hello.default", "/").await;
    expect(&answer, Reason::QueueFull);
    assert_eq!(answer.header("retry-after"), Some("1"));
    let pod = Pod::http1(describe).await;
    bed.pods("hello", &[pod.address]);
    for mut client in waiting {
        assert_eq!(client.answer().await.status, 200);
    }
}

#[tokio::test]
async fn a_deleted_function_fails_what_it_holds() {
    let bed = Bed::start();
    bed.function("hello", Setup::default());
    let mut client = Raw::connect(bed.address()).await;
    client.get("hello.default", "/").await;
    bed.until_held("hello", 1).await;
    let name = catnap_activator_core::FunctionName { namespace: "default".into(), name: "hello".into() };
    bed.activator.remove_function(&name);
    expect(&client.answer().await, Reason::Deleted);
}

#[tokio::test]
async fn a_pod_that_nobody_reaches_fails_within_the_activation_timeout() {
    let bed = Bed::start();
    let setup = Setup { activation: Duration::from_millis(200), ..Setup::default() };
    bed.function_with("hello", setup, &[NOBODY]);
    let answer = get(bed.address(), "hello.default", "/").await;
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let reason = Reason::from_name(answer.header("catnap-reason").unwrap()).unwrap();
    assert!(
        matches!(reason, Reason::ConnectFailed | Reason::ActivationTimeout | Reason::PodUnreachable),
        "{reason}"
    );
}

#[tokio::test]
async fn a_grpc_caller_gets_trailers_only() {
    let bed = Bed::start();
    let mut client = http2(bed.address()).await;
    let mut call = request("POST", "http://nobody.default/pkg.Service/Call", empty());
    call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    let response = client.send_request(call).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "12");
    assert_eq!(response.headers()["catnap-reason"], "UnknownHost");
    assert!(hyper::body::Body::is_end_stream(response.body()), "headers are all there is");
}

#[tokio::test]
async fn a_grpc_deadline_ends_a_hold_and_is_no_fault_of_the_revision() {
    let bed = Bed::start();
    bed.function_with("hello", Setup::default(), &[NOBODY]);
    let mut client = http2(bed.address()).await;
    let mut call = request("POST", "http://hello.default/pkg.Service/Call", empty());
    call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    call.headers_mut().insert("grpc-timeout", "30m".parse().unwrap());
    let response = client.send_request(call).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "14");
    assert_eq!(response.headers()["catnap-reason"], "ActivationTimeout");
    bed.until_held("hello", 0).await;
    let ended = bed.until_ended(1).await;
    assert!(ended[0].attempts > 0, "its pod was asked: {ended:?}");
    assert_eq!(ended[0].revision, None);
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let bed = Bed::configured(|config| config.head_timeout = Duration::from_millis(50));
    let mut silent = Raw::connect(bed.address()).await;
    let mut slow = Raw::connect(bed.address()).await;
    slow.send("GET / HTTP/1.1\r\nHost: hel").await;
    assert!(silent.rest().await.is_empty());
    assert!(slow.rest().await.is_empty());
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let bed = Bed::configured(|config| config.idle_timeout = Duration::from_millis(50));
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.get("hello.default", "/").await;
    assert_eq!(client.answer().await.status, 200);
    assert!(client.rest().await.is_empty());
}
