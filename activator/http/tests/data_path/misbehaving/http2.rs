//! Pods that break the rules of HTTP/2.

use super::{LIMITS, impatient, reason, say};
use crate::bed::{Bed, Setup, until, within};
use crate::client::{Raw, empty, get, half, http2, request};
use crate::hardening::frames::{
    DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
};
use crate::pod::{Pod, describe};
use catnap_activator_core::Protocol;
use catnap_activator_http::Outcome;
use http::Response;
use http_body_util::BodyExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// What an HTTP/2 pod does with a request.
type Respond = fn(h2::server::SendResponse<bytes::Bytes>) -> Option<h2::SendStream<bytes::Bytes>>;

/// An HTTP/2 pod, and the requests that it read.
async fn over_http2(respond: Respond) -> (Pod, Arc<AtomicUsize>) {
    let read = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    let pod = Pod::raw(move |_, stream| {
        let read = Arc::clone(&counted);
        async move {
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            let mut kept = Vec::new();
            while let Some(Ok((_, answer))) = connection.accept().await {
                read.fetch_add(1, SeqCst);
                kept.extend(respond(answer));
            }
        }
    })
    .await;
    (pod, read)
}

fn h2c(limit: u32) -> Setup {
    Setup { protocol: Protocol::H2c, ..impatient(limit) }
}

#[tokio::test]
async fn a_stream_that_is_reset_before_its_head_is_asked_again_only_where_that_is_safe() {
    for limit in LIMITS {
        let bed = Bed::start();
        let (pod, read) = over_http2(|mut answer| {
            answer.send_reset(h2::Reason::INTERNAL_ERROR);
            None
        })
        .await;
        bed.function_with("hello", h2c(limit), &[pod.address]);
        let mut client = Raw::connect(bed.address()).await;
        client.post("hello.default", b"").await;
        assert_eq!(reason(&client.answer().await), (502, Some("UpstreamReset")));
        assert_eq!(read.load(SeqCst), 1);
        client.put("hello.default", b"body").await;
        assert_eq!(reason(&client.answer().await), (502, Some("UpstreamReset")));
        assert_eq!(read.swap(1, SeqCst), 3);
        client.get("hello.default", "/").await;
        assert_eq!(reason(&client.answer().await), (502, Some("UpstreamReset")));
        assert_eq!((read.load(SeqCst), pod.connections()), (3, 1));
        until("the slot is free", || bed.state("hello").in_flight == 0).await;
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_after_its_head_is_passed_on() {
    // Without an error it is not whole either.
    let resets = [
        (h2::Reason::INTERNAL_ERROR, None),
        (h2::Reason::NO_ERROR, None),
        (h2::Reason::NO_ERROR, Some("100")),
    ];
    for (limit, (reason, length)) in LIMITS.into_iter().flat_map(|limit| resets.map(|reset| (limit, reset))) {
        let bed = Bed::start();
        let seen = Arc::new(tokio::sync::Notify::new());
        let told = Arc::clone(&seen);
        let pod = Pod::raw(move |_, stream| {
            let seen = Arc::clone(&told);
            async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut answer))) = connection.accept().await {
                    let seen = Arc::clone(&seen);
                    tokio::spawn(async move {
                        let mut head = Response::builder();
                        if let Some(length) = length {
                            head = head.header("content-length", length);
                        }
                        let mut body = answer.send_response(head.body(()).unwrap(), false).unwrap();
                        body.send_data("hello".into(), false).unwrap();
                        // A reset overtakes what was not sent yet.
                        seen.notified().await;
                        body.send_reset(reason);
                    });
                }
            }
        })
        .await;
        bed.function_with("hello", h2c(limit), &[pod.address]);
        let mut client = Raw::connect(bed.address()).await;
        client.get("hello.default", "/").await;
        client.through(b"hello").await;
        seen.notify_one();
        assert!(!client.rest().await.ends_with(b"0\r\n\r\n"));
        let mut multiplexed = http2(bed.address()).await;
        let response =
            multiplexed.send_request(request("GET", "http://hello.default/", empty())).await.unwrap();
        let mut body = response.into_body();
        assert_eq!(within("a frame", body.frame()).await.unwrap().unwrap().into_data().unwrap(), "hello");
        seen.notify_one();
        assert!(within("the end", body.frame()).await.unwrap().is_err());
        until("the slot is free", || bed.state("hello").in_flight == 0).await;
        assert_eq!(pod.connections(), 1, "the connection goes on");
        let ended = bed.until_ended(2).await;
        assert!(ended.iter().all(|end| (end.outcome, end.attempts) == (Outcome::BrokenOff, 1)), "{ended:?}");
    }
}

#[tokio::test]
async fn a_response_is_whole_although_its_stream_is_reset_behind_its_end() {
    // `:status: 200` (RFC 7541 appendix A), a body, and that nothing more of the upload is wanted (RFC 9113 8.1): all at once.
    let answer = [
        frame(HEADERS, END_HEADERS, 1, &[0x88]),
        frame(DATA, END_STREAM, 1, b"hello"),
        frame(RST_STREAM, 0, 1, &[0; 4]),
    ]
    .concat();
    for (limit, multiplexed) in LIMITS.into_iter().flat_map(|limit| [(limit, false), (limit, true)]) {
        let bed = Bed::start();
        let bytes = answer.clone();
        let pod = Pod::raw(move |_, mut stream| {
            let bytes = bytes.clone();
            async move {
                accept(&mut stream).await.unwrap();
                say(stream, &bytes).await;
            }
        })
        .await;
        bed.function_with("hello", h2c(limit), &[pod.address]);
        if multiplexed {
            let mut client = http2(bed.address()).await;
            let upload = request("POST", "http://hello.default/", half("begun"));
            let response = within("a head", client.send_request(upload)).await.unwrap();
            let body = within("the body", response.into_body().collect()).await.unwrap();
            assert_eq!(body.to_bytes(), "hello");
        } else {
            let mut client = Raw::connect(bed.address()).await;
            client.send("POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: 9\r\n\r\nbegun").await;
            let answer = client.answer().await;
            assert_eq!((answer.status, answer.text()), (200, "hello"));
        }
        assert_eq!(bed.until_ended(1).await[0].outcome, Outcome::Answered);
        until("the slot is free", || bed.state("hello").in_flight == 0).await;
    }
}

#[tokio::test]
async fn a_pod_that_refuses_every_stream_is_set_aside_until_the_time_is_over() {
    let bed = Bed::start();
    let (pod, read) = over_http2(|mut answer| {
        answer.send_reset(h2::Reason::REFUSED_STREAM);
        None
    })
    .await;
    bed.function_with("hello", h2c(0), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.post("hello.default", b"any method").await;
    let answer = client.answer().await;
    let known = ["ConnectFailed", "PodUnreachable", "ActivationTimeout"];
    assert!(answer.header("catnap-reason").is_some_and(|reason| known.contains(&reason)), "{answer:?}");
    assert!(read.load(SeqCst) < 200, "{} attempts within a second", read.load(SeqCst));
    until("the slot is free", || bed.state("hello").in_flight == 0).await;
}

#[tokio::test]
async fn a_connection_that_ends_with_an_error_fails_its_streams() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let _answer = connection.accept().await;
        connection.abrupt_shutdown(h2::Reason::INTERNAL_ERROR);
        let _ = std::future::poll_fn(|context| connection.poll_closed(context)).await;
    })
    .await;
    bed.function_with("hello", h2c(0), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.post("hello.default", b"").await;
    assert_eq!(reason(&client.answer().await), (502, Some("UpstreamReset")));
    assert_eq!(pod.connections(), 1, "sent once");
    client.get("hello.default", "/").await;
    assert_eq!(reason(&client.answer().await), (502, Some("UpstreamReset")));
    assert_eq!(pod.connections(), 3, "sent twice");
    until("the slot is free", || bed.state("hello").in_flight == 0).await;
}

#[tokio::test]
async fn a_pod_that_does_not_speak_http2_is_no_secret() {
    let answers: [&[u8]; 2] = [b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", &[0xff; 64]];
    for bytes in answers {
        let bed = Bed::start();
        let pod = Pod::raw(move |_, stream| say(stream, bytes)).await;
        bed.function_with("hello", h2c(0), &[pod.address]);
        let answer = get(bed.address(), "hello.default", "/").await;
        assert!(matches!(answer.status, 502 | 503), "{answer:?}");
        until("the slot is free", || bed.state("hello").in_flight == 0).await;
        until("the pod is told", || pod.seen.open_connections.load(SeqCst) == 0).await;
    }
}

#[tokio::test]
async fn a_stream_with_a_wrong_length_is_broken_off() {
    for (promised, name) in [("3", "too short"), ("100", "too long")] {
        let bed = Bed::start();
        let pod = Pod::raw(move |_, stream| async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut answer))) = connection.accept().await {
                let head = Response::builder().header("content-length", promised).body(()).unwrap();
                let mut body = answer.send_response(head, false).unwrap();
                body.send_data("hello".into(), true).unwrap();
            }
        })
        .await;
        bed.function_with("hello", h2c(1), &[pod.address]);
        let mut client = Raw::connect(bed.address()).await;
        client.get("hello.default", "/").await;
        let all = String::from_utf8(client.rest().await).unwrap();
        let body = all.split_once("\r\n\r\n").unwrap().1;
        assert!(all.starts_with("HTTP/1.1 200") && "hello".starts_with(body), "{name}: {all}");
        until("the slot is free", || bed.state("hello").in_flight == 0).await;
    }
}

#[tokio::test]
async fn a_stream_whose_end_nobody_waits_for_is_an_answer() {
    // None of the pods ends its stream.
    let heads: [Respond; 2] = [
        |mut answer| answer.send_response(Response::new(()), false).ok(),
        |mut answer| answer.send_response(Response::builder().status(204).body(()).unwrap(), false).ok(),
    ];
    for (respond, (method, status)) in heads.into_iter().zip([("HEAD", 200), ("GET", 204)]) {
        let bed = Bed::start();
        let (pod, _) = over_http2(respond).await;
        bed.function_with("hello", h2c(0), &[pod.address]);
        let mut client = Raw::connect(bed.address()).await;
        for count in 1..=2 {
            client.send(format!("{method} / HTTP/1.1\r\nHost: hello.default\r\n\r\n")).await;
            assert_eq!(client.head().await.status, status);
            assert_eq!(bed.until_ended(count).await[count - 1].outcome, Outcome::Answered, "{method}");
        }
        until("the slot is free", || bed.state("hello").in_flight == 0).await;
    }
}

/// Reads a client's frames until a request came, and says hello.
async fn accept(stream: &mut TcpStream) -> std::io::Result<()> {
    // Our settings, and that we know theirs (RFC 9113 6.5).
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0]).await?;
    stream.read_exact(&mut [0; 24]).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        tokio::io::copy(&mut stream.take(u64::from(length)), &mut tokio::io::sink()).await?;
        if head[3] == 1 {
            return Ok(());
        }
    }
}

#[tokio::test]
async fn a_flood_of_interim_responses_ends_in_time_and_others_are_served() {
    // HEADERS with `:status: 103`, a literal with a name from the static table (RFC 7541 6.2.2).
    const INTERIM: &[u8] = &[0, 0, 5, 1, 4, 0, 0, 0, 1, 8, 3, b'1', b'0', b'3'];
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        if accept(&mut stream).await.is_ok() {
            let flood = INTERIM.repeat(1_000);
            while stream.write_all(&flood).await.is_ok() {}
        }
    })
    .await;
    bed.function_with("hello", h2c(1), &[pod.address]);
    let well = Pod::http1(describe).await;
    bed.function_with("well", Setup::default(), &[well.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.get("hello.default", "/").await;
    until("the pod floods", || pod.connections() > 0).await;
    for _ in 0..5 {
        assert_eq!(get(bed.address(), "well.default", "/").await.status, 200, "by the same worker");
    }
    let answer = client.answer().await;
    assert!(matches!(answer.status, 502 | 504), "{answer:?}");
    until("the slot is free", || bed.state("hello").in_flight == 0).await;
    until("the pod is told", || pod.seen.open_connections.load(SeqCst) == 0).await;
}

#[tokio::test]
async fn little_is_taken_for_a_pod_that_lets_all_come_and_reads_nothing() {
    const UPLOADS: usize = 40;
    // The largest windows that there are (RFC 9113 6.9.1), of each stream and of the connection.
    let windows = [
        frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]),
        frame(WINDOW_UPDATE, 0, 0, &(0x7fff_ffff_u32 - 65_535).to_be_bytes()),
    ]
    .concat();
    let bed = Bed::start();
    let pod = Pod::raw(move |_, mut stream| {
        let windows = windows.clone();
        async move {
            if accept(&mut stream).await.is_ok() && stream.write_all(&windows).await.is_ok() {
                std::future::pending::<()>().await;
            }
        }
    })
    .await;
    bed.function_with("hello", Setup { protocol: Protocol::H2c, ..Setup::default() }, &[pod.address]);
    let sent = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..UPLOADS {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(16_384).unwrap();
        let (address, sent) = (bed.address(), Arc::clone(&sent));
        clients.spawn(async move {
            let mut stream = socket.connect(address).await.unwrap();
            let head = "POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: 100000000\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            let piece = vec![1; 16_384];
            while let Ok(count) = stream.write(&piece).await {
                sent.fetch_add(count, SeqCst);
            }
        });
    }
    until("all of them have their stream", || bed.state("hello").in_flight == UPLOADS as u64).await;
    let (mut last, mut since) = (0, Instant::now());
    until("nothing more is taken", || {
        let now = sent.load(SeqCst);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(500)
    })
    .await;
    clients.shutdown().await;
    let ended = bed.until_ended(UPLOADS).await;
    let taken: u64 = ended.iter().map(|ended| ended.request_bytes).sum();
    // What the kernel has for the pod is among it, megabytes perhaps.
    assert!(taken < 30 << 20, "{taken} bytes for {UPLOADS} uploads");
}
