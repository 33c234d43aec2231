use super::*;
use proptest::prelude::*;

/// A frame's bytes on stream 1.
fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
    let [_, high, middle, low] = u32::try_from(payload).unwrap().to_be_bytes();
    let mut bytes = vec![high, middle, low, kind, flags, 0, 0, 0, 1];
    bytes.resize(HEADER_BYTES + payload, 7);
    bytes
}

/// A meter that has seen the preface.
fn meter() -> (Meter, Instant) {
    let now = Instant::now();
    let mut meter = Meter::new(now);
    meter.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, || now).unwrap();
    (meter, now)
}

#[test]
fn too_many_empty_frames_in_a_second_are_a_flood() {
    for (kind, flags) in
        [(DATA, 0), (CONTINUATION, 0), (2, 0), (3, 0), (4, 0), (6, 1), (WINDOW_UPDATE, 0), (99, 0)]
    {
        let (mut meter, now) = meter();
        let payload = if kind == DATA { 0 } else { 4 };
        for _ in 0..EMPTY_FRAMES {
            meter.read(&frame(kind, flags, payload), 0, || panic!("the time does not matter yet")).unwrap();
        }
        let within = now + SECOND / 2;
        assert_eq!(meter.read(&frame(kind, flags, payload), 0, || within), Err(Flood), "type {kind}");
    }
}

#[test]
fn as_many_over_a_longer_time_are_none() {
    let (mut meter, now) = meter();
    let ping = frame(6, 0, 8);
    for second in 1..5 {
        for _ in 0..=EMPTY_FRAMES {
            meter.read(&ping, 0, || now + SECOND * second).unwrap();
        }
    }
}

#[test]
fn frames_with_content_are_never_a_flood() {
    let (mut meter, now) = meter();
    for _ in 0..5 * EMPTY_FRAMES {
        meter.read(&frame(HEADERS, END_HEADERS, 10), 0, || now).unwrap();
        meter.read(&frame(DATA, 0, 1), 0, || now).unwrap();
        meter.read(&frame(DATA, END_STREAM, 0), 0, || now).unwrap();
    }
    let mut sent = 0;
    for _ in 0..5 * EMPTY_FRAMES {
        sent += BYTES_A_WINDOW_UPDATE;
        meter.read(&frame(WINDOW_UPDATE, 0, 4), sent, || now).unwrap();
    }
}

#[test]
fn a_head_is_open_until_its_last_byte() {
    let (mut meter, now) = meter();
    let mut read = |bytes: &[u8]| {
        meter.read(bytes, 0, || now).unwrap();
        meter.head_open
    };
    assert!(!read(&frame(DATA, 0, 3)));
    let headers = frame(HEADERS, END_HEADERS, 5);
    assert!(read(&headers[..HEADER_BYTES]));
    assert!(read(&headers[HEADER_BYTES..][..4]));
    assert!(!read(&headers[HEADER_BYTES + 4..]));
    assert!(read(&frame(HEADERS, 0, 5)));
    assert!(read(&frame(CONTINUATION, 0, 0)));
    assert!(!read(&frame(CONTINUATION, END_HEADERS, 0)));
}

proptest! {
    #[test]
    fn how_reads_are_cut_does_not_matter(
        frames in prop::collection::vec((0_u8..12, any::<u8>(), 0_usize..40), 0..30),
        cuts in prop::collection::vec(1_usize..50, 1..50),
    ) {
        let bytes: Vec<u8> =
            frames.iter().flat_map(|&(kind, flags, payload)| frame(kind, flags, payload)).collect();
        let (mut whole, now) = meter();
        let _ = whole.read(&bytes, 0, || now);
        let (mut pieces, _) = meter();
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            let _ = pieces.read(piece, 0, || now);
            rest = after;
        }
        prop_assert_eq!(
            (whole.empty, whole.head_open, whole.payload_left, whole.header_bytes),
            (pieces.empty, pieces.head_open, pieces.payload_left, pieces.header_bytes)
        );
    }

    #[test]
    fn arbitrary_bytes_are_followed(bytes in prop::collection::vec(any::<u8>(), 0..2_000), sent in any::<u64>()) {
        let (mut meter, now) = meter();
        let _ = meter.read(&bytes, sent, || now);
    }
}
