//! HTTP/1.1 with clients, where a codec can go wrong: what arrives in pieces, or too early, or not at all.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catnap_activator_http::Outcome;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use crate::bed::{Bed, Setup, until, within};
use crate::broken::read_request;
use crate::client::{Raw, get};
use crate::pod::{Pod, Reply, describe, reply};

/// A pod that says which method and path it was asked for, and what it was sent.
async fn echo(request: Request<Incoming>) -> Reply {
    let asked = format!("{} {} ", request.method(), request.uri().path()).into_bytes();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    Response::new(
        Full::new(Bytes::from([&asked, &body[..]].concat())).map_err(|never| match never {}).boxed(),
    )
}

async fn bed() -> (Bed, Pod) {
    let bed = Bed::start();
    let pod = Pod::http1(echo).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    (bed, pod)
}

/// Two requests, and what they are answered with.
const TWO: &str = "POST /one HTTP/1.1\r\nHost: hello.default\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n1;x=y\r\n \r\na\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n\
                   PUT /two HTTP/1.1\r\nHost: hello.default\r\nContent-Length: 3\r\n\r\nabc";

async fn both_are_answered(client: &mut Raw) {
    assert_eq!(client.answer().await.text(), "POST /one hello 0123456789");
    assert_eq!(client.answer().await.text(), "PUT /two abc");
}

#[tokio::test]
async fn requests_may_arrive_byte_by_byte() {
    let (bed, _pod) = bed().await;
    let mut client = Raw::connect(bed.address()).await;
    client.stream.set_nodelay(true).unwrap();
    for byte in TWO.as_bytes() {
        client.send([*byte]).await;
        tokio::task::yield_now().await;
    }
    both_are_answered(&mut client).await;
}

#[tokio::test]
async fn requests_may_be_cut_anywhere() {
    let (bed, _pod) = bed().await;
    let mut client = Raw::connect(bed.address()).await;
    client.stream.set_nodelay(true).unwrap();
    for cut in 0..TWO.len() {
        let (first, second) = TWO.split_at(cut);
        client.send(first).await;
        tokio::task::yield_now().await;
        client.send(second).await;
        both_are_answered(&mut client).await;
    }
}

#[tokio::test]
async fn a_long_pipeline_is_answered_in_order_and_in_bounded_memory() {
    const COUNT: usize = 2_000;
    let (bed, _pod) = bed().await;
    let client = Raw::connect(bed.address()).await;
    let (from, mut to) = client.stream.into_split();
    // Lengths that meet every boundary of a buffer sooner or later.
    let name = |number: usize| format!("{number}{}", "x".repeat(number % 257));
    let sending = tokio::spawn(async move {
        for number in 0..COUNT {
            let body = "b".repeat(number % 131);
            let head = format!("POST /{} HTTP/1.1\r\nHost: hello.default\r\n", name(number));
            let framed = if number % 2 == 0 {
                format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
            } else if body.is_empty() {
                format!("{head}\r\n")
            } else {
                format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
            };
            to.write_all(framed.as_bytes()).await.unwrap();
        }
        to
    });
    let mut answers = Raw::over(tokio::io::join(from, tokio::io::sink()));
    for number in 0..COUNT {
        let expected = format!("POST /{} {}", name(number), "b".repeat(number % 131));
        assert_eq!(answers.answer().await.text(), expected);
    }
    within("the rest", sending).await.unwrap();
}

#[tokio::test]
async fn a_refusal_comes_in_place_of_100() {
    let (bed, _pod) = bed().await;
    let mut client = Raw::connect(bed.address()).await;
    let head = "Content-Length: 43\r\nExpect: 100-continue\r\n\r\n";
    client.send(format!("POST / HTTP/1.1\r\nHost: nobody.default\r\n{head}")).await;
    let answer = client.answer().await;
    // Whether the body comes all the same is not certain, so nothing that comes is a request.
    assert_eq!((answer.status, answer.header("connection")), (404, Some("close")));
    let _ = client.stream.write_all(b"GET /evil HTTP/1.1\r\nHost: hello.default\r\n\r\n").await;
    assert_eq!(client.rest().await, b"");
    assert_eq!(bed.until_ended(1).await.len(), 1);
}

#[tokio::test]
async fn nothing_is_said_while_a_request_is_held() {
    let bed = Bed::start();
    bed.function("hello", Setup::default());
    let mut client = Raw::connect(bed.address()).await;
    let head = "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    client.send(format!("POST / HTTP/1.1\r\nHost: hello.default\r\n{head}")).await;
    bed.until_held("hello", 1).await;
    // What was said before this answer is here with it.
    assert_eq!(get(bed.address(), "nobody.default", "/").await.status, 404);
    let early = client.stream.try_read(&mut [0; 64]);
    assert!(early.is_err(), "{early:?}");
    let pod = Pod::http1(describe).await;
    bed.pods("hello", &[pod.address]);
    assert_eq!(client.head().await.status, 100);
    client.send("hello").await;
    assert!(client.answer().await.text().ends_with("body: 5\n"));
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_behind_its_next_request() {
    for more in ["", "GET /next HTTP/1.1\r\nHost: hello.default\r\n\r\n", "GE"] {
        let bed = Bed::start();
        let pod = Pod::http1(|_| async {
            std::future::pending::<()>().await;
            reply("never")
        })
        .await;
        bed.function_with("hello", Setup::default(), &[pod.address]);
        let mut client = Raw::connect(bed.address()).await;
        client.get("hello.default", "/").await;
        until("the pod has it", || pod.requests() == 1).await;
        client.send(more).await;
        client.stream.shutdown().await.unwrap();
        let ended = bed.until_ended(1).await;
        assert_eq!((ended.len(), ended[0].outcome), (1, Outcome::ClientLeft), "{more:?}");
        until("the slot is free", || bed.state("hello").in_flight == 0).await;
        assert_eq!(pod.requests(), 1, "the next one was not begun");
    }
}

#[tokio::test]
async fn an_old_client_may_keep_its_connection() {
    let (bed, _pod) = bed().await;
    let mut client = Raw::connect(bed.address()).await;
    for _ in 0..3 {
        client.send("GET /old HTTP/1.0\r\nHost: hello.default\r\nConnection: Keep-Alive\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!((answer.text(), answer.header("connection")), ("GET /old ", Some("keep-alive")));
    }
}

#[tokio::test]
async fn to_an_old_client_a_broken_response_does_not_look_whole() {
    let bed = Bed::start();
    let read = Arc::new(Notify::new());
    let (told, begun) =
        (Arc::clone(&read), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    let pod = Pod::raw(move |_, mut stream| {
        let read = Arc::clone(&told);
        async move {
            if read_request(&mut stream, 0).await {
                stream.write_all(begun.as_bytes()).await.unwrap();
                read.notified().await;
            }
        }
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.send("GET / HTTP/1.0\r\nHost: hello.default\r\n\r\n").await;
    client.through(b"hello").await;
    read.notify_one();
    // Its end is all that says that a response is whole.
    let end = within("the end", client.stream.read(&mut [0; 16])).await;
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(bed.until_ended(1).await[0].outcome, Outcome::BrokenOff);
}

#[tokio::test]
async fn an_early_answer_and_the_rest_of_the_upload_leave_a_clean_connection() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        // It answers at the head, and reads the body nevertheless.
        while read_request(&mut stream, 0).await {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            let mut body = [0; 10];
            if stream.read_exact(&mut body).await.is_err() {
                return;
            }
        }
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    for _ in 0..5 {
        client.send("POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: 10\r\n\r\n").await;
        assert_eq!(client.answer().await.text(), "ok");
        client.send("0123456789").await;
    }
}

#[tokio::test]
async fn a_chunked_response_ends_with_its_last_piece() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        while read_request(&mut stream, 0).await {
            let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
            stream.write_all(chunked).await.unwrap();
        }
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    for _ in 0..3 {
        client.get("hello.default", "/").await;
        // Head, chunk and end leave in one write, and so arrive in one piece.
        let mut piece = [0; 4_096];
        let count = within("the response", client.stream.read(&mut piece)).await.unwrap();
        assert!(piece[..count].ends_with(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{:?}", &piece[..count]);
    }
}

#[tokio::test]
async fn trailers_are_for_clients_that_take_them() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        while read_request(&mut stream, 0).await {
            let head = "HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n";
            let end = "2\r\nok\r\n0\r\nx-sum: 7\r\nCatnap-Reason: forged\r\nContent-Length: 3\r\n\r\n";
            stream.write_all(format!("{head}{end}").as_bytes()).await.unwrap();
        }
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    for (fields, trailers) in [("TE: trailers\r\nConnection: TE\r\n", "x-sum: 7\r\n"), ("", "")] {
        client.send(format!("GET / HTTP/1.1\r\nHost: hello.default\r\n{fields}\r\n")).await;
        let answer = client.answer().await;
        assert_eq!((answer.text(), &*answer.trailers), ("ok", trailers));
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused_before_it_ends() {
    let bed = Bed::configured(|config| config.head_timeout = Duration::from_secs(60));
    let mut client = Raw::connect(bed.address()).await;
    // The beginning of a TLS handshake.
    client.send(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03").await;
    assert!(client.rest().await.starts_with(b"HTTP/1.1 400 "));
    assert_eq!(get(bed.address(), "nobody.default", "/").await.status, 404);
}

/// Every byte says where it is.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| u8::try_from((place / 251 + place) % 256).unwrap()).collect()
}

#[tokio::test]
async fn a_pod_gets_the_rest_of_a_request_that_it_answered_early() {
    const LENGTH: usize = 8 << 20;
    for connection in ["close", "keep-alive"] {
        let bed = Bed::start();
        let answered = Arc::new(Notify::new());
        let (got, mut body) = tokio::sync::mpsc::unbounded_channel();
        let go_on = Arc::clone(&answered);
        let pod = Pod::raw(move |_, mut stream| {
            let (go_on, got) = (Arc::clone(&go_on), got.clone());
            async move {
                let mut read = Vec::new();
                while !read.windows(4).any(|end| end == b"\r\n\r\n") {
                    stream.read_buf(&mut read).await.unwrap();
                }
                let head = read.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                go_on.notified().await;
                while read.len() < head + LENGTH && stream.read_buf(&mut read).await.unwrap() > 0 {}
                got.send(read.split_off(head)).unwrap();
            }
        })
        .await;
        bed.function_with("hello", Setup::default(), &[pod.address]);
        let client = Raw::connect(bed.address()).await;
        let (from, mut to) = client.stream.into_split();
        let sending = tokio::spawn(async move {
            let head = format!("Connection: {connection}\r\nContent-Length: {LENGTH}\r\n\r\n");
            to.write_all(format!("POST / HTTP/1.1\r\nHost: hello.default\r\n{head}").as_bytes())
                .await
                .unwrap();
            to.write_all(&pattern(LENGTH)).await.unwrap();
            to
        });
        let mut answers = Raw::over(tokio::io::join(from, tokio::io::sink()));
        assert_eq!(answers.answer().await.text(), "ok");
        answered.notify_one();
        let body = within("the body", body.recv()).await.unwrap();
        assert!(body == pattern(LENGTH), "{} of {LENGTH} bytes arrived", body.len());
        within("the client", sending).await.unwrap();
    }
}

#[tokio::test]
async fn a_refused_request_may_send_its_body_later() {
    let (bed, _pod) = bed().await;
    let mut client = Raw::connect(bed.address()).await;
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: nobody.default\r\nContent-Length: 5\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (404, None));
        client.send("hello").await;
    }
    client.get("hello.default", "/next").await;
    assert_eq!(client.answer().await.text(), "GET /next ");
}

#[tokio::test]
async fn a_refused_request_with_much_to_come_is_told_that_it_is_the_last() {
    let (bed, _pod) = bed().await;
    for framing in ["Content-Length: 65537", "Transfer-Encoding: chunked"] {
        let mut client = Raw::connect(bed.address()).await;
        client.send(format!("POST / HTTP/1.1\r\nHost: nobody.default\r\n{framing}\r\n\r\n")).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (404, Some("close")), "{framing}");
    }
}
