//! What the connections to pods are used for, and when they are not used again.

use std::sync::atomic::Ordering::SeqCst;

use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::net::TcpStream;

use crate::bed::{Bed, Setup, until, within};
use crate::client::{Raw, get};
use crate::pod::Pod;

/// Reads a head and what follows it in the same piece.
async fn read_head(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    while !read.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
    Some(read)
}

/// A pod that gives the same response to every request.
async fn saying(response: Vec<u8>) -> Pod {
    Pod::raw(move |_, mut stream| {
        let response = response.clone();
        async move {
            while read_head(&mut stream).await.is_some() {
                if stream.write_all(&response).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_response_of_any_size() {
    for size in [0, 1, 7_000, 8_192, 16_384, 65_536, 100_000, 300_000] {
        let bed = Bed::start();
        let mut response = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").into_bytes();
        response.resize(response.len() + size, b'x');
        let pod = saying(response).await;
        bed.function_with("hello", Setup::default(), &[pod.address]);
        let mut client = Raw::connect(bed.address()).await;
        for _ in 0..3 {
            client.get("hello.default", "/").await;
            assert_eq!(client.answer().await.body.len(), size);
            until("the exchange is over", || bed.state("hello").in_flight == 0).await;
        }
        assert_eq!(pod.seen.connections.load(SeqCst), 1, "{size} bytes");
    }
}

#[tokio::test]
async fn a_connection_with_bytes_that_nobody_asked_for_is_not_used_again() {
    for stray in [&b"x"[..], b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"] {
        let bed = Bed::start();
        let mut response = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown".to_vec();
        response.extend_from_slice(stray);
        let pod = saying(response).await;
        bed.function_with("hello", Setup::default(), &[pod.address]);
        for _ in 0..3 {
            assert_eq!(get(bed.address(), "hello.default", "/").await.text(), "own");
        }
        assert_eq!(pod.seen.connections.load(SeqCst), 3);
    }
}

#[tokio::test]
async fn an_upload_goes_on_while_its_client_does_not_read_the_response() {
    const BYTES: usize = 32 * 1024 * 1024;
    let bed = Bed::start();
    // It answers with as much as it reads, at the same time.
    let pod = Pod::raw(|_, mut stream| async move {
        let Some(head) = read_head(&mut stream).await else { return };
        let begun = head.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let read = head.len() - begun;
        let (mut from, mut to) = split(stream);
        let answer = async {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n");
            to.write_all(head.as_bytes()).await.unwrap();
            to.write_all(&vec![b'a'; BYTES]).await.unwrap();
        };
        let upload = async {
            let mut left = BYTES - read;
            let mut buffer = vec![0; 64 * 1024];
            while left > 0 {
                left -= from.read(&mut buffer).await.unwrap();
            }
        };
        tokio::join!(answer, upload);
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    // All of it is sent before a byte of the response is read.
    within("the upload", client.post("hello.default", &vec![b'b'; BYTES])).await;
    assert_eq!(client.answer().await.body.len(), BYTES);
}

#[tokio::test]
async fn a_body_that_is_none_is_not_held_against_the_pod() {
    let bed = Bed::start();
    let pod = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown".to_vec()).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    for _ in 0..4 {
        let mut client = Raw::connect(bed.address()).await;
        client
            .send("POST / HTTP/1.1\r\nHost: hello.default\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n")
            .await;
        assert_eq!(client.head().await.status, 400);
    }
    let state = bed.state("hello");
    assert!(state.pods.iter().all(|pod| pod.usable && !pod.set_aside), "{state:?}");
    assert_eq!(get(bed.address(), "hello.default", "/").await.text(), "own");
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_upload_reaches_the_client() {
    for _ in 0..20 {
        let bed = Bed::start();
        let pod = Pod::raw(|_, mut stream| async move {
            if read_head(&mut stream).await.is_some() {
                // Closing with unread bytes resets the connection right behind the answer.
                let _ = stream
                    .write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .await;
            }
        })
        .await;
        bed.function_with("hello", Setup::default(), &[pod.address]);
        let mut client = Raw::connect(bed.address()).await;
        let size = 200_000;
        client
            .send(format!("POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: {size}\r\n\r\n"))
            .await;
        client.send(&vec![b'x'; size / 2]).await;
        assert_eq!(client.head().await.status, 413);
    }
}
