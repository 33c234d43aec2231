//! What a client may send as the head of a request, whole and in pieces: the same must come of both.

use bytes::BytesMut;

use super::request::{Head, Unparsable, take};
use crate::http1::head::Length;
use crate::parsers::{has_one_length_at_most, names_a_host_that_needs_no_quoting};

/// The first byte says how long the pieces are.
pub(crate) fn request_head(bytes: &[u8]) {
    let Some((length, bytes)) = bytes.split_first() else { return };
    let whole = take_from(bytes, bytes.len().max(1));
    let pieces = take_from(bytes, usize::from(*length).max(1));
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(format!("{whole:?}"), format!("{pieces:?}")),
        (whole, pieces) => assert_eq!(whole.is_err(), pieces.is_err(), "{whole:?} {pieces:?}"),
    }
    if let Err(unparsable) = &whole {
        let detail = unparsable.error.to_string();
        assert!(detail.len() < 256 && detail.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{detail:?}");
    }
    let Ok(Some((head, _))) = whole else { return };
    let headers = head.request.headers();
    let lengths = headers.get_all("content-length").iter().count();
    match head.length {
        Length::Known(0) => assert!(lengths <= 1),
        Length::Known(_) => assert!(lengths == 1 && !headers.contains_key("transfer-encoding")),
        Length::Chunked => assert!(lengths == 0 && headers.contains_key("transfer-encoding")),
        Length::UntilClose => unreachable!("a request does not end with its connection"),
    }
    let (parts, ()) = head.request.into_parts();
    has_one_length_at_most(&parts);
    names_a_host_that_needs_no_quoting(parts);
}

/// Takes a head out of what comes in pieces of this length. Gives what is left, too.
fn take_from(bytes: &[u8], length: usize) -> Result<Option<(Head, Vec<u8>)>, Unparsable> {
    let (mut read, mut seen) = (BytesMut::new(), 0);
    let mut rest = bytes.chunks(length);
    loop {
        if let Some(head) = take(&mut read, &mut seen)? {
            let left = rest.flatten().copied();
            return Ok(Some((head, read.iter().copied().chain(left).collect())));
        }
        let Some(piece) = rest.next() else { return Ok(None) };
        read.extend_from_slice(piece);
    }
}
