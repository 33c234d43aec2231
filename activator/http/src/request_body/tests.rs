use super::*;
use crate::http2_body::Http2Error;
use http_body_util::BodyExt;

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
    assert!(replay.is_kept());
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
    assert!(replay.attempt().is_none() && !replay.is_kept(), "one byte more is not");
}

/// One byte of a buffer, which lives as long as somebody has the byte.
struct Piece {
    byte: [u8; 1],
    _buffer: Arc<()>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.byte
    }
}

#[tokio::test]
async fn what_is_kept_of_small_pieces_holds_no_buffers_of_theirs() {
    let buffers = Arc::new(());
    let bytes = (0..=u8::MAX).cycle().take(REPLAY_BYTES);
    let pieces =
        bytes.clone().map(|byte| Bytes::from_owner(Piece { byte: [byte], _buffer: Arc::clone(&buffers) }));
    let replay = Replay::new(Client(pieces.collect()), Arc::default(), None);
    let body = replay.attempt().unwrap();
    let source = Arc::clone(body.source.as_ref().unwrap());
    assert!(read(body).await.iter().copied().eq(bytes.clone()));
    assert_eq!(Arc::strong_count(&buffers) - 1, 1, "the first one's");
    assert!(source.lock().kept.others.capacity() <= 2 * REPLAY_BYTES);
    let mut again = replay.attempt().expect("64 KiB are kept, however they came");
    assert!(again.again.len() <= 2);
    let first = again.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.iter().copied().chain(read(again).await).eq(bytes));
}

#[tokio::test]
async fn nothing_is_kept_once_the_response_began() {
    let replay = Client::sends(&[10, 10]);
    let mut body = replay.attempt().unwrap();
    body.frame().await.unwrap().unwrap();
    let source = Arc::clone(body.source.as_ref().unwrap());
    replay.release();
    assert_eq!(source.lock().kept.bytes(), 0, "what was kept is given back at once");
    body.frame().await.unwrap().unwrap();
    assert_eq!(source.lock().kept.bytes(), 0);
    assert!(body.frame().await.is_none());
}

/// A body that is reset, of which so much is said to be missing.
struct Broken(Option<u64>);

impl Body for Broken {
    type Data = Bytes;
    type Error = ClientBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientBodyError>>> {
        Poll::Ready(Some(Err(ClientBodyError::Http2(Http2Error::CutShort))))
    }

    fn size_hint(&self) -> SizeHint {
        self.0.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[tokio::test]
async fn a_body_that_was_reset_is_not_whole_though_all_of_its_length_came() {
    for missing in [Some(0), Some(1), None] {
        let replay = Replay::new(Broken(missing), Arc::default(), None);
        let mut body = replay.attempt().unwrap();
        assert!(matches!(body.frame().await, Some(Err(RequestBodyError::Client(_)))), "{missing:?}");
        assert!(!body.is_end_stream() && replay.progress().broken());
    }
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
