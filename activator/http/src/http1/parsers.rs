//! What a pod may send, whole and in pieces: the same must come of both.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::chunked::{Chunked, Decoded};
use super::head::{self, Length};

/// A section of fields.
pub(crate) fn fields(bytes: &Bytes) -> Result<HeaderMap, &'static str> {
    head::parse_fields(bytes)
}

/// A body, its trailers, and what came after it.
type Whole = (Vec<u8>, Option<HeaderMap>, Vec<u8>);

/// The first byte says how long the pieces are.
pub(crate) fn chunked(bytes: &[u8]) {
    let Some((length, bytes)) = bytes.split_first() else { return };
    let whole = decode(bytes, bytes.len().max(1), false);
    for hurried in [false, true] {
        let pieces = decode(bytes, usize::from(*length).max(1), hurried);
        match (&whole, &pieces) {
            (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces),
            (whole, pieces) => assert_eq!(whole.is_err(), pieces.is_err(), "{whole:?} {pieces:?}"),
        }
    }
}

/// Decodes what comes in pieces of this length. `hurried`: small chunks are taken together, and the end with the last one.
fn decode(body: &[u8], length: usize, hurried: bool) -> Result<Whole, &'static str> {
    let (mut chunked, mut read) = (Chunked::default(), BytesMut::new());
    let (mut data, mut trailers) = (Vec::new(), None);
    let mut rest = body.chunks(length);
    loop {
        let decoded = if hurried { chunked.decode_ahead(&mut read) } else { chunked.decode(&mut read) };
        match decoded? {
            Decoded::Data(bytes) => {
                assert!(!bytes.is_empty(), "an empty piece would be the last chunk where it goes");
                data.extend_from_slice(&bytes);
            }
            Decoded::Trailers(fields) => trailers = Some(fields),
            Decoded::End => {
                let left = rest.flatten().copied();
                return Ok((data, trailers, read.iter().copied().chain(left).collect()));
            }
            Decoded::Missing => read.extend_from_slice(rest.next().ok_or("incomplete")?),
        }
    }
}

/// The first byte says how long the pieces are.
pub(crate) fn response_head(bytes: &[u8]) {
    let Some((length, bytes)) = bytes.split_first() else { return };
    let whole = head::fields_end(bytes, &mut 0);
    let mut seen = 0;
    let length = usize::from(*length).max(1);
    let ends = (0..bytes.len()).step_by(length).map(|from| bytes.len().min(from + length));
    let pieces = ends.into_iter().find_map(|end| head::fields_end(&bytes[..end], &mut seen));
    assert_eq!(whole, pieces);
    let Some(end) = whole else { return };
    let Ok(mut head) = head::parse(&Bytes::copy_from_slice(&bytes[..end])) else { return };
    assert!(head::may_begin(bytes));
    head.keeps_alive();
    let interim = head.interim();
    match head.length(false) {
        Ok(Length::Known(bytes)) if bytes > 0 => {
            assert!(!interim && !head.headers.contains_key("transfer-encoding"));
            let said: Vec<_> = head.headers.get_all("content-length").iter().collect();
            assert_eq!(said.len(), 1);
        }
        Ok(Length::Chunked) => assert!(!head.headers.contains_key("content-length")),
        Ok(Length::Known(_) | Length::UntilClose) | Err(_) => {}
    }
    if let Ok(length) = head.length(true) {
        assert_eq!(length, Length::Known(0));
    }
}
