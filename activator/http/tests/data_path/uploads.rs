//! Clients that go away before the end of their upload, or behind it, and streams whose upload is not over with their response.

use crate::bed::{Bed, Setup, until, within};
use crate::client::{Raw, get, half, http2, request};
use crate::hardening::frames::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, block, frame};
use crate::pod::{Open, Pod, Reply, reply};
use bytes::Bytes;
use catnap_activator_core::{Protocol, Timeouts};
use catnap_activator_http::Outcome;
use http::header::CONTENT_LENGTH;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use rstest::rstest;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};

fn limited(limit: u32) -> Setup {
    Setup { limit, ..Setup::default() }
}

#[tokio::test]
async fn a_half_sent_upload_frees_its_slot_when_the_pod_closes() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        // Works on what it got, until the end of it.
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    })
    .await;
    bed.function_with("hello", limited(1), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: 1000\r\n\r\nhalf").await;
    until("the pod has it", || pod.connections() == 1).await;
    drop(client);
    until("the pod ended it", || pod.seen.open_connections.load(SeqCst) == 0).await;
    until("the slot is free", || bed.state("hello").in_flight == 0).await;
}

/// A pod that reads a request's head, then nothing until it is told to.
async fn late_reader(reads: &Arc<Notify>) -> (Pod, Arc<AtomicUsize>) {
    let (reads, read) = (Arc::clone(reads), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&read);
    let pod = Pod::raw(move |_, mut stream| {
        let (reads, counted) = (Arc::clone(&reads), Arc::clone(&counted));
        async move {
            let mut buffer = vec![0; 64 * 1024];
            while !buffer[..counted.load(SeqCst)].windows(4).any(|end| end == b"\r\n\r\n") {
                let read = counted.load(SeqCst);
                counted.fetch_add(stream.read(&mut buffer[read..=read]).await.unwrap(), SeqCst);
            }
            counted.store(0, SeqCst);
            reads.notified().await;
            loop {
                match stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => counted.fetch_add(count, SeqCst),
                };
            }
        }
    })
    .await;
    (pod, read)
}

/// Sends so much of an upload as all buffers on the way take, then leaves. Gives its length.
async fn upload_to_nobody(bed: &Bed, promised: usize, most: usize) -> usize {
    let mut client = Raw::connect(bed.address()).await;
    client
        .send(format!("POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: {promised}\r\n\r\n"))
        .await;
    let chunk = vec![1; 64 * 1024];
    let mut sent = 0;
    while sent < most {
        let part = &chunk[..chunk.len().min(most - sent)];
        let Ok(written) = tokio::time::timeout(Duration::from_secs(2), client.stream.write(part)).await
        else {
            // Full buffers do not stop a reset.
            client.stream.set_zero_linger().unwrap();
            break;
        };
        sent += written.unwrap();
    }
    sent
}

#[tokio::test]
async fn a_half_sent_upload_frees_the_slot_of_a_pod_that_reads_nothing() {
    let bed = Bed::start();
    let (pod, _) = late_reader(&Arc::default()).await;
    bed.function_with("hello", limited(1), &[pod.address]);
    upload_to_nobody(&bed, 500_000_000, 500_000_000).await;
    bed.until_ended(1).await;
    let free = until("the slot is free", || bed.state("hello").in_flight == 0);
    tokio::time::timeout(Duration::from_secs(3), free).await.unwrap();
}

#[tokio::test]
async fn a_half_sent_upload_over_http2_frees_it_too() {
    let bed = Bed::start();
    let (pod, _) = late_reader(&Arc::default()).await;
    bed.function_with("hello", limited(1), &[pod.address]);
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let piece = Bytes::from(vec![1; 64 * 1024]);
    let pieces = futures::stream::repeat_with(move || {
        counted.fetch_add(1, SeqCst);
        Ok(Frame::data(piece.clone()))
    });
    let mut call = request("POST", "http://hello.default/", StreamBody::new(pieces).boxed());
    call.headers_mut().insert(CONTENT_LENGTH, 500_000_000.into());
    let mut client = http2(bed.address()).await;
    let leaves = tokio::spawn(client.send_request(call));
    // Until no window on the way is open.
    let mut look = tokio::time::interval(Duration::from_millis(500));
    let mut before = 0;
    let stands_still = async {
        while before == 0 || before < taken.load(SeqCst) {
            before = taken.load(SeqCst);
            look.tick().await;
        }
    };
    within("nothing more is taken", stands_still).await;
    leaves.abort();
    bed.until_ended(1).await;
    let free = until("the slot is free", || bed.state("hello").in_flight == 0);
    tokio::time::timeout(Duration::from_secs(3), free).await.unwrap();
}

#[tokio::test]
async fn an_upload_that_is_here_goes_on_without_its_client() {
    /// More than any reads at once, less than all on the way take.
    const UPLOAD: usize = 3_000_000;
    let bed = Bed::start();
    let reads = Arc::new(Notify::new());
    let (pod, read) = late_reader(&reads).await;
    bed.function_with("hello", limited(1), &[pod.address]);
    assert_eq!(upload_to_nobody(&bed, UPLOAD, UPLOAD).await, UPLOAD);
    bed.until_ended(1).await;
    // Longer than a slot is kept whose upload broke off.
    let kept = until("the slot is free", || bed.state("hello").in_flight == 0);
    tokio::time::timeout(Duration::from_millis(1_500), kept).await.unwrap_err();
    reads.notify_one();
    until("all of it is with the pod", || read.load(SeqCst) == UPLOAD).await;
}

#[tokio::test]
async fn a_half_sent_upload_frees_its_slot_after_a_second_at_most() {
    let bed = Bed::start();
    let pod = Pod::raw(|_, mut stream| async move {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        std::future::pending::<()>().await;
    })
    .await;
    bed.function_with("hello", limited(1), &[pod.address]);
    let mut client = Raw::connect(bed.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: hello.default\r\nContent-Length: 1000\r\n\r\nhalf").await;
    until("the pod has it", || pod.connections() == 1).await;
    drop(client);
    bed.until_ended(1).await;
    let free = until("the slot is free", || bed.state("hello").in_flight == 0);
    tokio::time::timeout(Duration::from_secs(3), free).await.unwrap();
}

#[tokio::test]
async fn a_half_sent_upload_over_http2_frees_its_slot_after_a_second_at_most() {
    for protocol in [Protocol::Http1, Protocol::H2c] {
        let bed = Bed::start();
        let handler = |request: http::Request<hyper::body::Incoming>| async {
            let _ = request.into_body().collect().await;
            reply("ok")
        };
        let pod = match protocol {
            Protocol::Http1 => Pod::http1(handler).await,
            Protocol::H2c => Pod::h2c(handler).await,
        };
        bed.function_with("hello", Setup { protocol, limit: 1, ..Setup::default() }, &[pod.address]);
        let mut client = http2(bed.address()).await;
        let upload = request("POST", "http://hello.default/", half("half of it"));
        let leaves = tokio::spawn(client.send_request(upload));
        until("the pod has it", || pod.seen.open_requests.load(SeqCst) == 1).await;
        leaves.abort();
        assert_eq!(bed.until_ended(1).await[0].outcome, Outcome::ClientLeft);
        let free = until("the slot is free", || bed.state("hello").in_flight == 0);
        tokio::time::timeout(Duration::from_secs(3), free).await.unwrap();
        until("the pod is told", || pod.seen.open_requests.load(SeqCst) == 0).await;
    }
}

/// An error code (RFC 9113 7).
const CANCEL: u32 = 8;
/// What an HTTP/2 pod takes of an upload before it reads any.
const WINDOW: u32 = 1_000;

/// Begins an upload over HTTP/2 and sends so much of it, but not its end.
async fn upload_over_http2(bed: &Bed, path: &str, promised: usize, sends: usize) -> Frames {
    // The pod's window is known from its first answer on.
    assert_eq!(get(bed.address(), "hello.default", "/").await.status, 200);
    let mut client = Frames::connect(bed.address(), &[]).await;
    let length = promised.to_string();
    let head = [(":method", "POST"), (":scheme", "http"), (":authority", "hello.default"), (":path", path)];
    let fields = [&head[..], &[("content-length", &length)]].concat();
    assert!(client.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).await);
    let mut left = sends;
    while left > 0 {
        let piece = left.min(16_384);
        left -= piece;
        assert!(client.send(&frame(DATA, 0, 1, &vec![1; piece])).await);
    }
    client
}

/// How an upload ends of which the pod has not read all.
#[rstest]
// The client is gone: it has said all that it had to say.
#[case(END_STREAM, None, true)]
// It takes it back.
#[case(0, Some(CANCEL), false)]
#[tokio::test]
async fn an_upload_that_is_here_goes_on_without_its_http2_connection(
    #[case] last: u8,
    #[case] reset: Option<u32>,
    #[case] whole: bool,
) {
    const UPLOAD: usize = 40_000;
    let bed = Bed::start();
    let reads = Arc::new(Notify::new());
    let (waits, (tell, mut told)) = (Arc::clone(&reads), mpsc::unbounded_channel());
    let pod = Pod::h2c_with_window(WINDOW, move |request| {
        let (reads, tell) = (Arc::clone(&waits), tell.clone());
        async move {
            if request.method() == "POST" {
                reads.notified().await;
                let body = request.into_body().collect().await;
                tell.send(body.map(|body| body.to_bytes().len()).ok()).unwrap();
            }
            reply("ok")
        }
    })
    .await;
    bed.function_with("hello", Setup { protocol: Protocol::H2c, ..limited(1) }, &[pod.address]);
    let mut client = upload_over_http2(&bed, "/", UPLOAD, UPLOAD - 1).await;
    until("the pod has it", || pod.requests() == 2).await;
    assert!(client.send(&frame(DATA, last, 1, &[1])).await);
    if let Some(code) = reset {
        assert!(client.send(&frame(RST_STREAM, 0, 1, &code.to_be_bytes())).await);
    }
    client.stream.shutdown().await.unwrap();
    bed.until_ended(2).await;
    assert_eq!(bed.state("hello").in_flight, 1);
    reads.notify_one();
    let read = within("the pod's end of it", told.recv()).await.unwrap();
    assert_eq!(read, whole.then_some(UPLOAD));
    until("the slot is free", || bed.state("hello").in_flight == 0).await;
}

/// A pod that answers before it reads.
struct EarlyAnswerer {
    pod: Pod,
    /// Streams of uploads whose response has begun and never ends; nothing is read of them.
    open: Arc<AtomicUsize>,
    /// What was read of an upload to `/whole`, whose response is whole before.
    read: Arc<AtomicUsize>,
    /// Lets a request for `/long` be answered, or what goes to `/whole` be read.
    go: Arc<Notify>,
}

impl EarlyAnswerer {
    async fn start() -> Self {
        let (open, read, go) =
            (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
        let shared = (Arc::clone(&open), Arc::clone(&read), Arc::clone(&go));
        let pod = Pod::h2c_with_window(WINDOW, move |request| {
            let (open, read, go) = shared.clone();
            async move {
                match (request.method().as_str(), request.uri().path()) {
                    ("POST", "/whole") => {
                        tokio::spawn(async move {
                            go.notified().await;
                            let body = request.into_body().collect().await;
                            read.store(body.map_or(0, |body| body.to_bytes().len()), SeqCst);
                        });
                    }
                    ("POST", _) => {
                        let body = futures::stream::once(async move {
                            let _unread = request.into_body();
                            let _open = Open::count(&AtomicUsize::new(0), &open, &AtomicUsize::new(0));
                            std::future::pending().await
                        });
                        return Reply::new(StreamBody::new(body).boxed());
                    }
                    (_, "/long") => go.notified().await,
                    _ => {}
                }
                reply("ok")
            }
        })
        .await;
        Self { pod, open, read, go }
    }

    /// Waits until requests go over another connection than the first, which stays as it is.
    async fn until_left_alone(&self, bed: &Bed) {
        let asking = async {
            while self.pod.connections() == 1 {
                assert_eq!(get(bed.address(), "hello.default", "/").await.status, 200);
            }
        };
        within("the connection gets no more streams", asking).await;
        // Longer than it takes to see that no stream is left but those that are stuck.
        let reset = until("it is reset", || self.open.load(SeqCst) == 0);
        tokio::time::timeout(Duration::from_millis(1_500), reset).await.unwrap_err();
    }
}

/// An upload whose response has begun is left half-sent.
async fn leave_half_sent(bed: &Bed, pod: &EarlyAnswerer, ended: usize) {
    let mut client = upload_over_http2(bed, "/", 500_000_000, 65_535).await;
    assert_eq!(client.until_answered(1).await.heads.len(), 1);
    until("the pod has its stream", || pod.open.load(SeqCst) == 1).await;
    drop(client);
    bed.until_ended(ended).await;
}

#[tokio::test]
async fn a_half_sent_upload_ends_at_an_http2_pod_that_answers_and_reads_nothing() {
    for limit in [1, 0] {
        let bed = Bed::start();
        let pod = EarlyAnswerer::start().await;
        bed.function_with("hello", Setup { protocol: Protocol::H2c, ..limited(limit) }, &[pod.pod.address]);
        leave_half_sent(&bed, &pod, 2).await;
        assert_eq!(bed.state("hello").in_flight, u64::from(limit));
        until("the pod has it no more", || pod.open.load(SeqCst) == 0).await;
        until("the slot is free", || bed.state("hello").in_flight == 0).await;
    }
}

#[tokio::test]
async fn a_half_sent_upload_keeps_its_slot_while_others_use_its_connection() {
    let bed = Bed::start();
    let pod = EarlyAnswerer::start().await;
    bed.function_with("hello", Setup { protocol: Protocol::H2c, ..limited(3) }, &[pod.pod.address]);
    let address = bed.address();
    let other = tokio::spawn(async move { get(address, "hello.default", "/long").await });
    until("the pod has it", || pod.pod.requests() == 1).await;
    leave_half_sent(&bed, &pod, 2).await;
    pod.until_left_alone(&bed).await;
    assert_eq!(bed.state("hello").in_flight, 2);
    pod.go.notify_one();
    assert_eq!(within("the other's answer", other).await.unwrap().status, 200);
    until("the pod has the upload no more", || pod.open.load(SeqCst) == 0).await;
    until("the slots are free", || bed.state("hello").in_flight == 0).await;
}

#[tokio::test]
async fn an_upload_goes_on_behind_its_response_beside_one_that_was_left() {
    const UPLOAD: usize = 40_000;
    let bed = Bed::start();
    let pod = EarlyAnswerer::start().await;
    bed.function_with("hello", Setup { protocol: Protocol::H2c, ..limited(3) }, &[pod.pod.address]);
    let mut client = upload_over_http2(&bed, "/whole", UPLOAD, UPLOAD - 1).await;
    assert_eq!(client.until_answered(1).await.heads.len(), 1);
    assert!(client.send(&frame(DATA, END_STREAM, 1, &[1])).await);
    bed.until_ended(2).await;
    assert_eq!(bed.state("hello").in_flight, 0, "its response was whole");
    leave_half_sent(&bed, &pod, 4).await;
    pod.until_left_alone(&bed).await;
    pod.go.notify_one();
    until("all of it is with the pod", || pod.read.load(SeqCst) == UPLOAD).await;
    until("the pod has the other no more", || pod.open.load(SeqCst) == 0).await;
}

#[tokio::test]
async fn an_upload_that_is_not_read_behind_its_response_ends_with_the_time_of_its_request() {
    let bed = Bed::start();
    let pod = EarlyAnswerer::start().await;
    let timeouts = Timeouts { request: Some(Duration::from_secs(1)), ..Timeouts::default() };
    let setup = Setup { protocol: Protocol::H2c, timeouts, ..limited(1) };
    bed.function_with("hello", setup, &[pod.pod.address]);
    let mut client = upload_over_http2(&bed, "/whole", 500_000_000, 65_535).await;
    assert_eq!(client.until_answered(1).await.heads.len(), 1);
    drop(client);
    until("its connection ended", || pod.pod.seen.open_connections.load(SeqCst) == 0).await;
}
