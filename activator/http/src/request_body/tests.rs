use super::*;
use http_body_util::BodyExt;
use std::collections::VecDeque;

/// Frames that a client sends, and its end.
struct Client(VecDeque<Bytes>);

impl Client {
    fn sends(sizes: &[usize]) -> Replay<Self> {
        let frames = (0_u8..).zip(sizes).map(|(index, size)| Bytes::from(vec![index; *size]));
        Replay::new(Self(frames.collect()), Arc::default(), None)
    }
}

impl Body for Client {
    type Data = Bytes;
    type Error = ClientBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientBodyError>>> {
        Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|data| data.len() as u64).sum())
    }
}

async fn read(body: RequestBody<Client>) -> Bytes {
    body.collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn a_small_body_is_read_again_from_its_beginning() {
    let replay = Client::sends(&[10, 20, 30]);
    assert!(replay.small());
    let mut first = replay.attempt().unwrap();
    first.frame().await.unwrap().unwrap();
    first.frame().await.unwrap().unwrap();
    let second = replay.attempt().unwrap();
    assert!(matches!(first.frame().await, Some(Err(RequestBodyError::Superseded))));
    assert_eq!(second.size_hint().exact(), Some(60));
    assert_eq!(read(second).await.len(), 60);
    assert_eq!(replay.progress().request_bytes(), 60, "what is read again counts once");
    let third = read(replay.attempt().unwrap()).await;
    assert_eq!((third[0], third[10], third[30]), (0, 1, 2));
}

#[tokio::test]
async fn a_large_body_is_not_kept() {
    let replay = Client::sends(&[REPLAY_BYTES, 1]);
    assert!(!replay.small());
    let mut first = replay.attempt().unwrap();
    first.frame().await.unwrap().unwrap();
    let mut second = replay.attempt().expect("64 KiB are kept");
    second.frame().await.unwrap().unwrap();
    second.frame().await.unwrap().unwrap();
    assert!(second.is_end_stream());
    assert!(replay.attempt().is_none(), "one byte more is not");
}

#[tokio::test]
async fn nothing_is_kept_once_the_response_began() {
    let replay = Client::sends(&[10, 10]);
    let mut body = replay.attempt().unwrap();
    body.frame().await.unwrap().unwrap();
    let source = Arc::clone(body.source.as_ref().unwrap());
    replay.release();
    body.frame().await.unwrap().unwrap();
    assert!(source.lock().kept.is_empty());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn no_body_can_be_sent_any_number_of_times() {
    let replay = Client::sends(&[]);
    assert!(replay.small() && !replay.outstanding());
    for _ in 0..3 {
        let body = replay.attempt().unwrap();
        assert!(body.is_end_stream());
        assert!(read(body).await.is_empty());
    }
}
