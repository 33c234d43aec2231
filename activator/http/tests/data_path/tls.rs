//! Listeners under TLS: what is agreed on, which certificate is shown, and handshakes that do not end.

mod material;
mod replacing;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use catnap_activator_core::{Listener, Protocol};
use catnap_activator_http::{Certificates, Config, Tls};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bed::{Bed, Setup, until, within};
use crate::client::{Raw, full, http2_over, request};
use crate::pod::{Pod, describe};
use crate::tunnels;
pub(crate) use material::connect;
use material::{Issued, Secret, hello_record};

const HTTP1: &[&[u8]] = &[b"http/1.1"];
const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];

/// A server that listens in the cluster and at the edge under TLS, too, with what the secrets hold.
pub(crate) fn bed(secrets: &[&Secret], configure: impl FnOnce(&mut Config)) -> (Bed, Arc<Certificates>) {
    let directories = secrets.iter().map(|secret| secret.path().to_owned()).collect();
    let certificates = Arc::new(Certificates::load(directories));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let tls = Tls {
        listeners: vec![(Listener::InCluster, any), (Listener::Edge, any)],
        certificates: Arc::clone(&certificates),
    };
    let bed = Bed::configured(|config| {
        config.tls = Some(tls);
        configure(config);
    });
    (bed, certificates)
}

pub(crate) fn one() -> (Issued, Secret) {
    let issued = Issued::to(&["hello.default"]);
    let secret = Secret::mounted(&issued.certificate, &issued.key);
    (issued, secret)
}

/// Where the in-cluster listener under TLS is.
pub(crate) fn address(bed: &Bed) -> SocketAddr {
    bed.handle.addresses()[2].1
}

#[tokio::test]
async fn the_protocol_is_agreed_on_and_the_function_learns_of_https() {
    let (_, secret) = one();
    let (bed, _) = bed(&[&secret], |_| {});
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let told = |text: &str| {
        assert!(text.contains("\nx-forwarded-proto: https\n"), "{text}");
        assert!(text.contains("\nforwarded: for=127.0.0.1;proto=https;host=\"hello.default\"\n"), "{text}");
    };
    for offered in [HTTP1, &[]] {
        let stream = connect(address(&bed), "hello.default", offered).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), offered.first().copied());
        let mut client = Raw::over(stream);
        for _ in 0..2 {
            client.put("hello.default", b"12345").await;
            let answer = client.answer().await;
            told(answer.text());
            assert!(answer.text().ends_with("body: 5\n"), "{}", answer.text());
        }
        client.send("GET / HTTP/1.1\r\nHost: hello.default\r\nConnection: close\r\n\r\n").await;
        client.answer().await;
        let mut after = [0; 1];
        let end = within("the end", client.stream.read(&mut after)).await;
        assert_eq!(end.unwrap(), 0, "the end is announced: nobody could have cut it off");
    }
    let stream = connect(address(&bed), "hello.default", BOTH).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = http2_over(stream).await;
    for _ in 0..2 {
        let call = request("PUT", "https://hello.default/", full("12345"));
        let response = client.send_request(call).await.unwrap();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        told(std::str::from_utf8(&text).unwrap());
    }
    assert_eq!(pod.connections(), 1, "connections to pods are as ever");
    let other: &[&[u8]] = &[b"spdy/3"];
    assert!(connect(address(&bed), "hello.default", other).await.is_err(), "nothing in common");
}

#[tokio::test]
async fn the_edge_under_tls_serves_no_cluster_local_name() {
    let (_, secret) = one();
    let (bed, _) = bed(&[&secret], |_| {});
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let edge = bed.handle.addresses()[3].1;
    let mut client = Raw::over(connect(edge, "hello.default", HTTP1).await.unwrap());
    client.get("hello.default", "/").await;
    assert_eq!(client.answer().await.status, 404);
    assert_eq!(pod.requests(), 0);
}

#[tokio::test]
async fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let first = Issued::to(&["first.example", "*.wild.example"]);
    let second = Issued::to(&["second.example"]);
    let secrets = [&first, &second].map(|issued| Secret::mounted(&issued.certificate, &issued.key));
    let (bed, _) = bed(&[&secrets[0], &secrets[1]], |_| {});
    for (name, expected) in [
        ("first.example", &first),
        ("second.example", &second),
        ("SECOND.example", &second),
        ("any.wild.example", &first),
        ("deep.any.wild.example", &first),
        ("unknown.example", &first),
        // An address is not asked for by name.
        ("127.0.0.1", &first),
    ] {
        let stream = connect(address(&bed), name, HTTP1).await.unwrap();
        let shown = &stream.get_ref().1.peer_certificates().unwrap()[0];
        assert!(**shown == *expected.der, "{name} got the wrong certificate");
    }
}

#[tokio::test]
async fn handshakes_that_do_not_end_keep_nobody_from_theirs() {
    let (_, secret) = one();
    let (bed, _) = bed(&[&secret], |config| config.head_timeout = Duration::from_secs(3));
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let hello = hello_record("hello.default");
    let mut stalled = Vec::new();
    for number in 0..60 {
        let mut stream = TcpStream::connect(address(&bed)).await.unwrap();
        // Some say nothing, some half of their part, some all of it and then no more.
        let said = [0, hello.len() / 2, hello.len()][number % 3];
        stream.write_all(&hello[..said]).await.unwrap();
        stalled.push(stream);
    }
    let mut client = Raw::over(connect(address(&bed), "hello.default", HTTP1).await.unwrap());
    client.get("hello.default", "/").await;
    assert_eq!(client.answer().await.status, 200);
    for mut stream in stalled {
        let mut said = Vec::new();
        // The end or a reset: it is over.
        let _ = within("a stalled handshake is ended", stream.read_to_end(&mut said)).await;
    }
    assert_eq!(bed.counts.unparsable.lock().len(), 0);
}

#[tokio::test]
async fn what_is_no_tls_gets_an_alert_and_the_end() {
    let (_, secret) = one();
    let (bed, _) = bed(&[&secret], |_| {});
    let mut client = Raw::connect(address(&bed)).await;
    client.get("hello.default", "/").await;
    let rest = client.rest().await;
    // Content type 21 of a TLS record (RFC 8446 5.1).
    assert!(rest.is_empty() || rest[0] == 21, "{rest:?}");
}

#[tokio::test]
async fn a_client_that_left_is_noticed_behind_tls() {
    let (_, secret) = one();
    let (bed, _) = bed(&[&secret], |_| {});
    bed.function("hello", Setup::default());
    let mut client = Raw::over(connect(address(&bed), "hello.default", HTTP1).await.unwrap());
    client.post("hello.default", &vec![7; 200_000]).await;
    bed.until_held("hello", 1).await;
    drop(client);
    bed.until_held("hello", 0).await;
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    let (_, secret) = one();
    let (bed, _) = bed(&[&secret], |_| {});
    let pod = Pod::h2c(|request| async move {
        http::Response::new(BodyExt::boxed(request.into_body().map_err(|error| panic!("{error}"))))
    })
    .await;
    bed.function_with("hello", Setup { protocol: Protocol::H2c, ..Setup::default() }, &[pod.address]);
    let body: Vec<u8> = (0_u32..5_000_000).map(|index| (index % 251) as u8).collect();
    let stream = connect(address(&bed), "hello.default", BOTH).await.unwrap();
    let mut client = http2_over(stream).await;
    let call = request("POST", "https://hello.default/", full(body.clone()));
    let response = within("the answer", client.send_request(call)).await.unwrap();
    let back = within("the body", response.into_body().collect()).await.unwrap().to_bytes();
    assert!(back == body, "it came back changed");
    let stream = connect(address(&bed), "hello.default", HTTP1).await.unwrap();
    let (reading, mut writing) = tokio::io::split(stream);
    let mut client = Raw::over(tokio::io::join(reading, tokio::io::sink()));
    let sent = body.clone();
    let upload = tokio::spawn(async move {
        let head =
            format!("POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: {}\r\n\r\n", sent.len());
        writing.write_all(head.as_bytes()).await.unwrap();
        writing.write_all(&sent).await.unwrap();
        writing
    });
    assert!(client.answer().await.body == body, "it came back changed");
    upload.await.unwrap();
}

#[tokio::test]
async fn a_tunnel_passes_through_tls() {
    let (_, secret) = one();
    let (bed, _) = bed(&[&secret], |_| {});
    let pod = tunnels::echo().await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::over(connect(address(&bed), "hello.default", HTTP1).await.unwrap());
    client.send(tunnels::UPGRADE).await;
    assert_eq!(client.head().await.status, 101);
    client.send("there and back").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await, b"readythere and back");
    until("the slot is free", || bed.state("hello").in_flight == 0).await;
}

#[tokio::test]
async fn a_drain_loses_nothing_behind_tls() {
    let (_, secret) = one();
    let (bed, _) = bed(&[&secret], |_| {});
    bed.function("hello", Setup::default());
    let address = address(&bed);
    let mut client = Raw::over(connect(address, "hello.default", HTTP1).await.unwrap());
    client.get("hello.default", "/").await;
    let mut multiplexed = http2_over(connect(address, "hello.default", BOTH).await.unwrap()).await;
    let call = multiplexed.send_request(request("POST", "https://hello.default/", full("x")));
    let call = tokio::spawn(call);
    bed.until_held("hello", 2).await;
    let Bed { activator, handle, .. } = bed;
    let drained = tokio::spawn(handle.drain(Duration::from_millis(50), Duration::from_secs(20)));
    let pod = Pod::http1(describe).await;
    crate::bed::set_pods(&activator, "hello", &[pod.address]);
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(within("the call", call).await.unwrap().unwrap().status(), 200);
    assert_eq!(within("the drain", drained).await.unwrap().cut_off, 0);
}
