use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Wake, Waker};

use bytes::BytesMut;
use futures::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{Full, StreamBody};
use proptest::{collection::vec, option};
use rstest::rstest;

use super::*;
use crate::http1::chunked::Decoded;
use crate::http1::coding::Coding;
use crate::http1::head::Length;

/// What is written of a body of these pieces, and how that ends.
async fn written(delimited: Delimited, pieces: &[&'static str]) -> (String, bool) {
    let frames =
        pieces.iter().map(|piece| Ok::<_, io::Error>(Frame::data(Bytes::from_static(piece.as_bytes()))));
    let mut outgoing = Outgoing::default();
    outgoing.begin(|_, _| delimited, StreamBody::new(stream::iter(frames.collect::<Vec<_>>())));
    let mut bytes = Vec::new();
    let sent = poll_fn(|context| {
        outgoing.poll(context, |_, slices| {
            let before = bytes.len();
            for slice in slices {
                bytes.extend_from_slice(slice);
            }
            Poll::Ready(Ok(bytes.len() - before))
        })
    })
    .await;
    assert!(matches!(sent, Ok(()) | Err(OutgoingError::Length)), "{sent:?}");
    assert_eq!(outgoing.failed(), sent.is_err());
    assert!(outgoing.failed() || outgoing.ended());
    (String::from_utf8(bytes).unwrap(), sent.is_ok())
}

#[rstest]
#[case(0, &[], "", true)]
#[case(5, &["he", "", "llo"], "hello", true)]
#[case(5, &[], "", false)]
#[case(6, &["he", "llo"], "hello", false)]
// Nothing is written behind the end.
#[case(4, &["he", "llo"], "he", false)]
#[case(0, &["hello"], "", false)]
#[tokio::test]
async fn a_body_is_as_long_as_its_head_says(
    #[case] length: u64,
    #[case] pieces: &[&'static str],
    #[case] expected: &str,
    #[case] whole: bool,
) {
    assert_eq!(written(Delimited::Length(length), pieces).await, (expected.into(), whole));
}

#[rstest]
#[case(OnBreak::Write, false)]
#[case(OnBreak::WriteAtOnce, true)]
fn a_break_waits_for_who_has_a_use_for_what_came_before(#[case] on_break: OnBreak, #[case] told: bool) {
    let mut outgoing = Outgoing::new(on_break);
    let pieces = [Ok(Frame::data(Bytes::from_static(b"hello"))), Err(())];
    outgoing.begin(|_, _| Delimited::Close, StreamBody::new(stream::iter(pieces)));
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(outgoing.poll(&mut context, |_, _| Poll::Pending).is_ready(), told);
    if !told {
        let polled = outgoing.poll(&mut context, |_, _| Poll::Ready(Ok(5)));
        assert!(matches!(polled, Poll::Ready(Err(OutgoingError::Body(())))), "{polled:?}");
    }
    assert!(outgoing.failed());
}

#[tokio::test]
async fn a_body_without_a_length_is_as_long_as_it_is() {
    assert_eq!(written(Delimited::Close, &["he", "llo"]).await, ("hello".into(), true));
    let chunks = "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
    assert_eq!(written(Delimited::Chunks, &["he", "llo"]).await, (chunks.into(), true));
}

/// Large pieces are written from where they were read.
#[rstest]
#[case(Length::Known(16_384), Delimited::Length(16_384))]
#[case(Length::Known(16_384), Delimited::Chunks)]
#[case(Length::UntilClose, Delimited::Close)]
#[case(Length::Chunked, Delimited::ChunksAndTrailers)]
#[tokio::test]
async fn a_body_is_not_copied_on_its_way(#[case] length: Length, #[case] delimited: Delimited) {
    let body = vec![b'x'; 16_384];
    let mut read = BytesMut::new();
    if length == Length::Chunked {
        read.extend_from_slice(b"4000\r\n");
    }
    read.extend_from_slice(&body);
    let begin = read.as_ptr().addr() + read.len() - body.len();
    let mut coding = Coding::new(length);
    let Ok(Decoded::Data(piece)) = coding.decode(&mut read) else { panic!("no piece") };
    let mut outgoing = Outgoing::default();
    outgoing.begin(|_, _| delimited, Full::new(piece));
    let mut written = Vec::new();
    let sent = poll_fn(|context| {
        outgoing.poll(context, |_, slices| {
            written.extend(slices.iter().map(|slice| (slice.as_ptr().addr(), slice.len())));
            Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
        })
    })
    .await;
    assert!(sent.is_ok(), "{sent:?}");
    assert!(written.contains(&(begin, body.len())), "{begin}: {written:?}");
    let others: usize =
        written.iter().filter(|piece| **piece != (begin, body.len())).map(|(_, size)| size).sum();
    assert!(others < 32, "all else is what is around chunks: {written:?}");
}

/// Pieces of so many bytes each, and how many of them were taken.
fn pieces(
    size: usize,
    count: usize,
) -> (StreamBody<impl Stream<Item = io::Result<Frame<Bytes>>> + Unpin>, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let frames = stream::iter(0..count).map(move |_| {
        counted.fetch_add(1, Relaxed);
        Ok(Frame::data(Bytes::from(vec![b'x'; size])))
    });
    (StreamBody::new(frames), taken)
}

#[rstest]
#[case(Delimited::Length(300))]
#[case(Delimited::Close)]
#[case(Delimited::ChunksAndTrailers)]
#[tokio::test]
async fn small_pieces_go_with_the_head_as_one(#[case] delimited: Delimited) {
    let mut outgoing = Outgoing::default();
    let write_head = |buffer: &mut Vec<u8>, _: &_| {
        buffer.extend_from_slice(b"head\r\n\r\n");
        delimited
    };
    outgoing.begin(write_head, pieces(100, 3).0);
    let mut writes = Vec::new();
    let sent = poll_fn(|context| {
        outgoing.poll(context, |_, slices| {
            writes.push(slices.len());
            Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
        })
    })
    .await;
    assert!(sent.is_ok(), "{sent:?}");
    assert_eq!(writes, [1], "one write of one piece");
}

#[tokio::test]
async fn of_a_body_that_the_socket_does_not_take_little_is_taken() {
    let mut outgoing = Outgoing::default();
    let (body, taken) = pieces(SMALL_BYTES, 100);
    outgoing.begin(|_, _| Delimited::Chunks, body);
    for _ in 0..20 {
        let sent = poll_fn(|context| Poll::Ready(outgoing.poll(context, |_, _| Poll::Pending).map_err(drop)));
        assert!(sent.await.is_pending());
    }
    let taken = taken.load(Relaxed);
    assert!(taken <= ENOUGH_BYTES / SMALL_BYTES, "{taken} pieces");
}

/// A body that brings one of these each time it is asked; `None`: nothing yet.
struct Script {
    steps: VecDeque<Option<Result<Vec<u8>, ()>>>,
    /// It ends with these.
    trailers: Option<HeaderMap>,
    /// It knows when it is over.
    foresees: bool,
}

impl Body for Script {
    type Data = Bytes;
    type Error = ();

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
        let this = self.get_mut();
        match this.steps.pop_front() {
            Some(Some(step)) => Poll::Ready(Some(step.map(|piece| Frame::data(piece.into())))),
            Some(None) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.foresees && self.steps.is_empty() && self.trailers.is_none()
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

proptest::proptest! {
    #[test]
    fn however_the_socket_takes_it_the_message_is_the_same(
        chunked: bool,
        length: bool,
        breaks_off: bool,
        at_once: bool,
        foresees: bool,
        trailers: bool,
        with_trailers: bool,
        head in 1_usize..6_000,
        pieces in vec(option::weighted(0.7, 0_usize..2_500), 0..30),
        takes in vec(0_usize..3_000, 1..20),
    ) {
        let mut expected = vec![b'h'; head];
        let mut steps = VecDeque::new();
        for (piece, letter) in pieces.iter().zip((b'a'..=b'z').cycle()) {
            let piece = piece.map(|size| vec![letter; size]);
            if let Some(piece) = piece.as_ref().filter(|piece| !piece.is_empty()) {
                if chunked {
                    expected.extend(format!("{:x}\r\n", piece.len()).into_bytes());
                }
                expected.extend(piece);
                if chunked {
                    expected.extend(b"\r\n");
                }
            }
            steps.push_back(piece.map(Ok));
        }
        if breaks_off {
            steps.push_back(Some(Err(())));
        } else if chunked {
            expected.extend(b"0\r\n");
            if trailers && with_trailers {
                expected.extend(b"x: y\r\n");
            }
            expected.extend(b"\r\n");
        }
        let fields = HeaderMap::from_iter([(HeaderName::from_static("x"), HeaderValue::from_static("y"))]);
        let trailers = trailers.then_some(fields);
        let write_head = |buffer: &mut Vec<u8>, _: &Script| {
            buffer.resize(head, b'h');
            match (chunked, length) {
                (true, _) if with_trailers => Delimited::ChunksAndTrailers,
                (true, _) => Delimited::Chunks,
                (false, true) => Delimited::Length((expected.len() - head) as u64),
                (false, false) => Delimited::Close,
            }
        };
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut takes = takes.into_iter().chain([1_000]).cycle();
        let mut outgoing = Outgoing::new(if at_once { OnBreak::WriteAtOnce } else { OnBreak::Write });
        // What a message leaves behind is not the next one's.
        for _ in 0..2 {
            let script = Script { steps: steps.clone(), trailers: trailers.clone(), foresees };
            outgoing.begin(write_head, script);
            let mut written = Vec::new();
            let mut most = 0;
            let sent = loop {
                let mut full = false;
                let polled = outgoing.poll(&mut context, |_, slices| {
                    let mut left = takes.next().unwrap();
                    let before = written.len();
                    for slice in slices {
                        let part = &slice[..slice.len().min(left)];
                        written.extend_from_slice(part);
                        left -= part.len();
                    }
                    full = written.len() == before;
                    if full { Poll::Pending } else { Poll::Ready(Ok(written.len() - before)) }
                });
                most = most.max(outgoing.capacity());
                if let Poll::Ready(sent) = polled {
                    break sent;
                }
                assert!(full || woken.0.swap(false, Relaxed), "nobody will ask again");
            };
            assert_eq!(sent.is_err(), breaks_off, "{sent:?}");
            assert_eq!((outgoing.failed(), outgoing.ended()), (breaks_off, true));
            if breaks_off && (at_once || written.len() < head) {
                assert!(expected.starts_with(&written));
            } else {
                assert!(written == expected, "{} bytes of {}", written.len(), expected.len());
            }
            assert!(most < 2 * (head + 2 * ENOUGH_BYTES), "{most} bytes of buffer");
            if breaks_off {
                break;
            }
        }
    }
}

#[test]
fn a_buffer_that_is_never_empty_does_not_grow() {
    let mut outgoing = Outgoing::default();
    outgoing.begin(|_, _| Delimited::Chunks, pieces(SMALL_BYTES, 1_000).0);
    let mut most = 0;
    let mut context = Context::from_waker(Waker::noop());
    let mut take = false;
    loop {
        let polled = outgoing.poll(&mut context, |_, slices| {
            take = !take;
            let waits: usize = slices.iter().map(|slice| slice.len()).sum();
            if take { Poll::Ready(Ok(waits.min(SMALL_BYTES))) } else { Poll::Pending }
        });
        if polled.is_ready() {
            break;
        }
        most = most.max(outgoing.capacity());
    }
    assert!(most < 4 * ENOUGH_BYTES, "{most} bytes of buffer");
}
