//! Frames as a client may send them, whole and in pieces.

use std::time::Instant;

use super::received::Received;

/// The first byte says how long the pieces are; the preface comes first of the others.
pub(crate) fn frames(bytes: &[u8]) {
    let Some((length, bytes)) = bytes.split_first() else { return };
    let now = Instant::now();
    let (mut whole, mut pieces) = (Received::new(now), Received::new(now));
    let flood = whole.read(bytes, bytes.len() as u64, || now);
    let mut floods = 0;
    for piece in bytes.chunks(usize::from(*length).max(1)) {
        floods += usize::from(pieces.read(piece, bytes.len() as u64, || now).is_err());
    }
    assert_eq!(flood.is_err(), floods > 0);
    assert_eq!(
        (whole.empty, whole.head_open, whole.walk, whole.windows),
        (pieces.empty, pieces.head_open, pieces.walk, pieces.windows)
    );
}
