use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::BytesMut;
use futures::{Stream, StreamExt as _, stream};
use http_body_util::{Full, StreamBody};
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
#[case(0, &[], true)]
#[case(5, &["he", "", "llo"], true)]
#[case(5, &[], false)]
#[case(6, &["he", "llo"], false)]
#[case(4, &["he", "llo"], false)]
#[case(0, &["hello"], false)]
#[tokio::test]
async fn a_body_is_as_long_as_its_head_says(
    #[case] length: u64,
    #[case] pieces: &[&'static str],
    #[case] whole: bool,
) {
    let (bytes, ended_well) = written(Delimited::Length(length), pieces).await;
    assert_eq!(ended_well, whole);
    assert!(bytes.len() as u64 <= length, "nothing is written behind the end: {bytes}");
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
async fn of_a_body_no_more_is_taken_than_the_socket_takes() {
    let mut outgoing = Outgoing::default();
    let (body, taken) = pieces(SMALL, 100);
    outgoing.begin(|_, _| Delimited::Chunks, body);
    for _ in 0..20 {
        let sent = poll_fn(|context| Poll::Ready(outgoing.poll(context, |_, _| Poll::Pending).map_err(drop)));
        assert!(sent.await.is_pending());
    }
    let taken = taken.load(Relaxed);
    assert!(taken <= ENOUGH / SMALL, "{taken} pieces");
}
