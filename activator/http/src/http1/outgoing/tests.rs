use std::future::poll_fn;

use futures::stream;
use http_body_util::StreamBody;
use rstest::rstest;

use super::*;

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
