//! Ending HTTP/2 connections: what was said to a client arrives, and whoever does not answer holds nobody up.

use crate::bed::{Bed, Setup, until, within};
use crate::client::Raw;
use crate::hardening::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PING, SETTINGS, WINDOW_UPDATE, frame, get,
};
use crate::pod::{Pod, reply};
use catnap_activator_http::Drained;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(60);
const INITIAL_WINDOW_SIZE: u16 = 4;
/// No stream in particular is the last one (RFC 9113 6.8).
const ANY: [u8; 4] = (u32::MAX >> 1).to_be_bytes();

/// What fits into the buffers of the kernel, whose client takes its time.
const BYTES: usize = 1 << 20;

/// A client whose connection a drain ends and whose response, of [`BYTES`], is in the kernel; and the drain.
async fn with_the_kernel(stall_timeout: Duration) -> (Frames, JoinHandle<Drained>) {
    let bed = Bed::configured(|config| config.stall_timeout = stall_timeout);
    let finish = Arc::new(Notify::new());
    let gate = Arc::clone(&finish);
    let pod = Pod::http1(move |_| {
        let finish = Arc::clone(&gate);
        async move {
            finish.notified().await;
            reply(vec![1; BYTES])
        }
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    let stream = socket.connect(bed.address()).await.unwrap();
    let mut client = Frames::over(stream, &[(INITIAL_WINDOW_SIZE, 1 << 30)]).await;
    client.send(&frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes())).await;
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("hello.default", "/"))).await;
    until("the pod has it", || pod.requests() == 1).await;
    let counts = Arc::clone(&bed.counts);
    let drain = tokio::spawn(bed.handle.drain(Duration::ZERO, LONG));
    loop {
        let next = client.next().await.expect("the last GOAWAY");
        match next.kind {
            PING if next.flags & ACK == 0 => {
                client.send(&frame(PING, ACK, 0, &next.payload)).await;
            }
            GOAWAY if next.payload[..4] != ANY => break,
            _ => {}
        }
    }
    finish.notify_one();
    until("all of it left the server", || counts.ended.lock().len() == 1).await;
    (client, drain)
}

#[tokio::test]
async fn the_rest_of_a_response_is_not_lost_with_its_connection() {
    let (mut client, drain) = with_the_kernel(LONG).await;
    let mut read = 0;
    while let Some(next) = client.next().await {
        if next.kind == DATA {
            read += next.payload.len();
        }
        // What arrives for a socket that is closed has it reset.
        client.send(&frame(PING, 0, 0, &[0; 8])).await;
    }
    assert_eq!(read, BYTES);
    drop(client);
    assert_eq!(within("the drain", drain).await.unwrap(), Drained { cut_off: 0 });
}

#[tokio::test]
async fn a_client_that_reads_little_of_it_holds_no_drain_up() {
    let (mut client, drain) = with_the_kernel(Duration::from_secs(2)).await;
    let reading = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        while client.stream.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {
            pace.tick().await;
        }
    });
    assert_eq!(within("the drain", drain).await.unwrap(), Drained { cut_off: 1 });
    reading.abort();
}

#[tokio::test]
async fn a_client_that_answers_no_ping_holds_no_drain_up() {
    let bed = Bed::start();
    let mut client = Frames::connect(bed.address(), &[]).await;
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("nobody.default", "/"))).await;
    while client.next().await.expect("an answer").kind != HEADERS {}
    let drained = within("the drain", bed.handle.drain(Duration::ZERO, LONG)).await;
    assert_eq!(drained, Drained { cut_off: 0 });
    let mut said = Vec::new();
    while let Some(next) = client.next().await {
        said.push(next.kind);
    }
    assert!(said.contains(&GOAWAY) && !said.contains(&SETTINGS), "{said:?}");
}

#[tokio::test]
async fn only_what_had_a_request_on_it_is_cut_off() {
    let bed = Bed::start();
    let pod = Pod::http1(|_| async {
        std::future::pending::<()>().await;
        reply("never")
    })
    .await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut client = Frames::connect(bed.address(), &[]).await;
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("hello.default", "/"))).await;
    until("the pod has it", || pod.seen.open_requests.load(SeqCst) == 1).await;
    // One says nothing yet, one is idle and answers nothing.
    let _silent = Raw::connect(bed.address()).await;
    let mut idle = Frames::connect(bed.address(), &[]).await;
    idle.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("nobody.default", "/"))).await;
    while idle.next().await.expect("an answer").kind != HEADERS {}
    let drained = within("the drain", bed.handle.drain(Duration::ZERO, Duration::from_millis(50))).await;
    assert_eq!(drained, Drained { cut_off: 1 });
}
