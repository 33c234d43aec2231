//! HTTP/2 clients that make work for nothing (RFC 9113 10.5): told to go or cut off, in bounded memory, while others are
//! served.

use std::time::Duration;

use super::Good;
use super::alone::{alone, resident_mebibytes};
use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Ending, Frames, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, block, frame, get, post,
};
use crate::bed::{Bed, Setup, until};
use crate::pod::{Pod, reply};
use catnap_activator_http::Outcome;

/// The client should slow down (RFC 9113 7).
const ENHANCE_YOUR_CALM: u32 = 11;
const NO_ERROR: u32 = 0;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// A function `hello` with a pod, and one `cold` without.
async fn bed() -> (Bed, Pod) {
    let bed = Bed::configured(|config| {
        config.head_timeout = Duration::from_secs(5);
        config.stall_timeout = Duration::from_secs(1);
    });
    let pod = Pod::http1(|_| async { reply("ok") }).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    bed.function("cold", Setup::default());
    (bed, pod)
}

/// Sends the frames again and again, next to a good client, until the server ends the connection. `first`: what comes before.
/// At most as many are sent as `most` and what fits into the buffers of the sockets.
async fn flood(first: &[u8], most: u32, bytes: impl Fn(u32) -> Vec<u8>) -> Ending {
    let (bed, _pod) = bed().await;
    let good = Good::start(bed.address(), "hello.default");
    let mut client = Frames::connect(bed.address(), &[]).await;
    client.send(first).await;
    let (sent, ending) = client.flood(bytes).await;
    assert!(sent < most, "{sent} were taken");
    good.stop().await;
    until("nothing is held", || bed.state("cold").held == 0).await;
    ending
}

/// Floods in a process of their own, which grows by little.
fn costs_little(name: &str, floods: impl Future<Output = ()>) {
    alone(&format!("hardening::floods::{name}"), async {
        let before = resident_mebibytes();
        floods.await;
        let grown = resident_mebibytes().saturating_sub(before);
        assert!(grown < 50, "{grown} MiB");
    });
}

#[test]
fn rapid_resets_end_the_connection() {
    costs_little("rapid_resets_end_the_connection", async {
        let ending = flood(&[], 500_000, |number| {
            let stream = 2 * number + 1;
            let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &get("hello.default", "/"));
            bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
            bytes
        })
        .await;
        assert!(ending.goaway.contains(&ENHANCE_YOUR_CALM), "{ending:?}");
    });
}

#[test]
fn made_you_reset_ends_the_connection() {
    costs_little("made_you_reset_ends_the_connection", async {
        // The server itself has to reset each stream: its window is opened too far (RFC 9113 6.9.1).
        let ending = flood(&[], 500_000, |number| {
            let stream = 2 * number + 1;
            let mut bytes = frame(HEADERS, END_HEADERS, stream, &post("hello.default"));
            bytes.extend(frame(WINDOW_UPDATE, 0, stream, &(u32::MAX >> 1).to_be_bytes()));
            bytes
        })
        .await;
        assert!((100..5_000).contains(&ending.resets.len()), "{} streams were reset", ending.resets.len());
        assert!(ending.goaway.contains(&ENHANCE_YOUR_CALM), "{:?}", ending.goaway);
    });
}

#[test]
fn a_head_without_end_ends_the_connection() {
    costs_little("a_head_without_end_ends_the_connection", async {
        let first = frame(HEADERS, END_STREAM, 1, &get("hello.default", "/"));
        for block in [vec![], block(&[("x", "y")]), block(&[("x", &"y".repeat(1_000))])] {
            let ending = flood(&first, 500_000, |_| frame(CONTINUATION, 0, 1, &block)).await;
            assert!(ending.goaway.contains(&ENHANCE_YOUR_CALM), "{ending:?}");
        }
    });
}

#[test]
fn frames_without_content_end_the_connection() {
    costs_little("frames_without_content_end_the_connection", async {
        let held = frame(HEADERS, END_HEADERS, 1, &post("cold.default"));
        let mut goodbyes = 0;
        for bytes in [
            frame(DATA, 0, 1, &[]),
            // Nothing but padding.
            frame(DATA, 8, 1, &[4, 0, 0, 0, 0]),
            frame(DATA, 0, 1, b"x"),
            frame(SETTINGS, 0, 0, &[]),
            frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]),
            frame(PING, 0, 0, &[0; 8]),
            frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]),
            frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
            frame(99, 0, 1, b"unknown"),
        ] {
            let kind = bytes[3];
            let ending = flood(&held, 2_000_000, |_| bytes.clone()).await;
            assert!(ending.heads.iter().all(|(_, head)| head[0] != 0x88), "type {kind}: {ending:?}");
            // Told to go first, and cut off when it goes on; one that is faster than the codec comes to speak is cut off alone.
            let told = |code: &u32| matches!(*code, NO_ERROR | ENHANCE_YOUR_CALM);
            assert!(ending.goaway.iter().all(told), "type {kind}: {ending:?}");
            goodbyes += ending.goaway.len();
        }
        assert!(goodbyes > 0);
    });
}

#[test]
fn a_client_that_reads_nothing_costs_bounded_memory() {
    alone("hardening::floods::a_client_that_reads_nothing_costs_bounded_memory", async {
        let (bed, _pod) = bed().await;
        let before = resident_mebibytes();
        let good = Good::start(bed.address(), "hello.default");
        // Each asks for an answer, and none is read.
        for bytes in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])] {
            let mut client = Frames::connect(bed.address(), &[]).await;
            let bytes = bytes.repeat(1_000);
            let mut sent = 0;
            while sent < 100_000 && client.send(&bytes).await {
                sent += 1;
            }
            assert!(sent < 100_000);
        }
        good.stop().await;
        let grown = resident_mebibytes().saturating_sub(before);
        assert!(grown < 50, "{grown} MiB");
    });
}

#[test]
fn a_head_that_unpacks_to_megabytes_is_refused_in_bounded_memory() {
    alone("hardening::floods::a_head_that_unpacks_to_megabytes_is_refused_in_bounded_memory", async {
        let (bed, pod) = bed().await;
        let before = resident_mebibytes();
        let good = Good::start(bed.address(), "hello.default");
        for round in 0..50 {
            let mut client = Frames::connect(bed.address(), &[]).await;
            // A field of 4,000 bytes that goes into the table (RFC 7541 6.2.1), then thousands of references to it, entry 62
            // (6.1).
            let mut head = get("hello.default", "/");
            let field = block(&[("x", &"y".repeat(4_000))]);
            head.push(0x40);
            head.extend(&field[1..]);
            head.extend([0xbe].repeat(10_000));
            client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head)).await;
            let ending = client.until_answered(1).await;
            assert!(ending.heads.iter().all(|(_, head)| head[0] != 0x88), "{round}: {ending:?}");
            assert!(
                !ending.heads.is_empty() || !ending.goaway.is_empty() || !ending.resets.is_empty(),
                "{round}"
            );
        }
        good.stop().await;
        let grown = resident_mebibytes().saturating_sub(before);
        assert!(grown < 50, "{grown} MiB");
        assert!(pod.requests() > 0);
    });
}

#[test]
fn closed_windows_cost_bounded_memory_and_end_their_streams() {
    alone("hardening::floods::closed_windows_cost_bounded_memory_and_end_their_streams", async {
        let (bed, _pod) = bed().await;
        let body = bytes::Bytes::from(vec![1; 4 << 20]);
        let large = Pod::http1(move |_| std::future::ready(reply(body.clone()))).await;
        bed.function_with("large", Setup::default(), &[large.address]);
        let good = Good::start(bed.address(), "hello.default");
        let before = resident_mebibytes();
        let mut clients = Vec::new();
        for _ in 0..4 {
            let mut client = Frames::connect(bed.address(), &[(INITIAL_WINDOW_SIZE, 0)]).await;
            for number in 0..50 {
                let head = get("large.default", "/");
                client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &head)).await;
            }
            clients.push(client);
        }
        for client in &mut clients {
            let ending = client.until_reset(50).await;
            assert_eq!((ending.heads.len(), ending.resets.len()), (50, 50), "they began to be answered");
            assert!(ending.goaway.is_empty());
        }
        let grown = resident_mebibytes().saturating_sub(before);
        assert!(grown < 100, "{grown} MiB for 200 responses of 4 MiB");
        good.stop().await;
        until("the slots are free", || bed.state("large").in_flight == 0).await;
    });
}

#[tokio::test]
async fn answers_that_wait_in_the_codec_are_reset() {
    let (bed, _pod) = bed().await;
    // The whole answer is in the codec as soon as its first byte may go.
    let small = Pod::http1(|_| async { reply(vec![1; 4_000]) }).await;
    bed.function_with("small", Setup::default(), &[small.address]);
    let mut client = Frames::connect(bed.address(), &[(INITIAL_WINDOW_SIZE, 1)]).await;
    for number in 0..100 {
        let head = get("small.default", "/");
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &head)).await;
    }
    let ended = bed.until_ended(100).await;
    assert!(ended.iter().all(|ended| ended.outcome == Outcome::Answered), "all is said and done");
    let ending = client.until_reset(100).await;
    assert_eq!((ending.heads.len(), ending.resets.len()), (100, 100));
}

#[tokio::test]
async fn a_response_that_stands_still_is_reset_alone() {
    let (bed, _pod) = bed().await;
    let body = bytes::Bytes::from(vec![1; 30 << 20]);
    let large = Pod::http1(move |_| std::future::ready(reply(body.clone()))).await;
    bed.function_with("large", Setup::default(), &[large.address]);
    let mut client = Frames::connect(bed.address(), &[(INITIAL_WINDOW_SIZE, 1_000)]).await;
    for stream in [1, 3] {
        let head = get("large.default", "/");
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &head)).await;
    }
    // It takes what comes on stream 3, and nothing of what is on stream 1.
    let (mut reset, mut after) = (Vec::new(), 0);
    while after < 20 {
        let next = client.next().await.expect("the connection goes on");
        match next.kind {
            DATA => {
                let length = u32::try_from(next.payload.len()).unwrap().to_be_bytes();
                client.send(&frame(WINDOW_UPDATE, 0, 0, &length)).await;
                if next.stream == 3 {
                    client.send(&frame(WINDOW_UPDATE, 0, 3, &length)).await;
                    after += reset.len();
                }
            }
            RST_STREAM => reset.push(next.stream),
            GOAWAY => panic!("the connection goes on"),
            _ => {}
        }
    }
    assert_eq!(reset, [1]);
    let ended = bed.until_ended(1).await;
    assert_eq!(ended[0].outcome, Outcome::ClientLeft);
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 5, &get("hello.default", "/"))).await;
    assert_eq!(client.until_answered(5).await.heads.len(), 1, "and may be asked for more");
}

#[tokio::test]
async fn a_connection_that_stands_still_is_closed() {
    let (bed, _pod) = bed().await;
    let body = bytes::Bytes::from(vec![1; 1 << 20]);
    let large = Pod::http1(move |_| std::future::ready(reply(body.clone()))).await;
    bed.function_with("large", Setup::default(), &[large.address]);
    // No stream is to blame.
    let mut client = Frames::connect(bed.address(), &[(INITIAL_WINDOW_SIZE, 1 << 20)]).await;
    let head = get("large.default", "/");
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head)).await;
    let ending = client.ending().await;
    assert_eq!(ending.heads.len(), 1);
    assert!(ending.resets.is_empty());
    assert_eq!(bed.until_ended(1).await[0].outcome, Outcome::ClientLeft);
}
