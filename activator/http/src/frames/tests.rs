use super::received::{BYTES_A_WINDOW_UPDATE, EMPTY_FRAMES};
use super::walk::HEADER_BYTES;
use super::*;
use proptest::prelude::*;

/// A frame's bytes on stream 1.
fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
    let [_, high, middle, low] = u32::try_from(payload).unwrap().to_be_bytes();
    let mut bytes = vec![high, middle, low, kind, flags, 0, 0, 0, 1];
    bytes.resize(HEADER_BYTES + payload, 7);
    bytes
}

/// A client of whom the preface was read.
fn client() -> (Received, Instant) {
    let now = Instant::now();
    let mut client = Received::new(now);
    client.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, || now).unwrap();
    (client, now)
}

#[test]
fn too_many_empty_frames_in_a_second_are_a_flood() {
    for (kind, flags) in
        [(DATA, 0), (CONTINUATION, 0), (2, 0), (3, 0), (4, 0), (6, 1), (WINDOW_UPDATE, 0), (99, 0)]
    {
        let (mut client, now) = client();
        let payload = if kind == DATA { 0 } else { 4 };
        for _ in 0..EMPTY_FRAMES {
            client.read(&frame(kind, flags, payload), 0, || panic!("the time does not matter yet")).unwrap();
        }
        let within = now + SECOND / 2;
        assert_eq!(client.read(&frame(kind, flags, payload), 0, || within), Err(Flood), "type {kind}");
    }
}

#[test]
fn as_many_over_a_longer_time_are_none() {
    let (mut client, now) = client();
    let ping = frame(6, 0, 8);
    for second in 1..5 {
        for _ in 0..=EMPTY_FRAMES {
            client.read(&ping, 0, || now + SECOND * second).unwrap();
        }
    }
}

#[test]
fn frames_with_content_are_never_a_flood() {
    let (mut client, now) = client();
    for _ in 0..5 * EMPTY_FRAMES {
        client.read(&frame(HEADERS, END_HEADERS, 10), 0, || now).unwrap();
        client.read(&frame(DATA, 0, 1), 0, || now).unwrap();
        client.read(&frame(DATA, END_STREAM, 0), 0, || now).unwrap();
    }
    // A client that measures the bandwidth pings once for each DATA frame.
    for _ in 0..5 * EMPTY_FRAMES {
        client.pings += 1;
        client.read(&frame(PING, 0, 8), 0, || now).unwrap();
    }
    let mut sent = 0;
    for _ in 0..5 * EMPTY_FRAMES {
        sent += BYTES_A_WINDOW_UPDATE;
        client.read(&frame(WINDOW_UPDATE, 0, 4), sent, || now).unwrap();
    }
}

#[test]
fn a_head_is_open_until_its_last_byte() {
    let (mut client, now) = client();
    let mut read = |bytes: &[u8]| {
        client.read(bytes, 0, || now).unwrap();
        client.head_open
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

#[test]
fn settings_count_when_all_of_them_are_here() {
    let (mut client, now) = client();
    client.read(&frame(HEADERS, END_HEADERS, 4), 0, || now).unwrap();
    client.windows.answer(1);
    // `INITIAL_WINDOW_SIZE`, many times, and last 0.
    let mut bytes = vec![0, 0, 18, SETTINGS, 0, 0, 0, 0, 0];
    bytes.extend([0, 4, 0, 0, 0, 0, 0, 4, 0, 0, 255, 255, 0, 4, 0, 0, 0, 0]);
    for byte in &bytes[..bytes.len() - 1] {
        client.read(&[*byte], 0, || now).unwrap();
        assert!(!client.windows.waits(1) && !client.windows.want_a_look());
    }
    client.read(&bytes[bytes.len() - 1..], 0, || now).unwrap();
    assert!(client.windows.waits(1));
}

#[test]
fn a_stream_is_open_until_its_end_left() {
    let (mut client, now) = client();
    let on = |stream: u8, mut bytes: Vec<u8>| {
        bytes[8] = stream;
        bytes
    };
    for stream in [1, 3, 5, 7] {
        client.read(&on(stream, frame(HEADERS, END_HEADERS, 4)), 0, || now).unwrap();
    }
    // Trailers, and a reset.
    client.read(&on(3, frame(HEADERS, END_HEADERS | END_STREAM, 4)), 0, || now).unwrap();
    client.read(&on(7, frame(RST_STREAM, 0, 4)), 0, || now).unwrap();
    assert_eq!([1, 3, 5, 7].map(|stream| client.windows.has(stream)), [true, true, true, false]);
    let mut written = Walk::new(0);
    let mut ended = Vec::new();
    let answers = [
        on(1, frame(HEADERS, END_HEADERS, 4)),
        on(1, frame(DATA, 0, 4)),
        on(1, frame(DATA, END_STREAM, 4)),
        on(3, frame(HEADERS, END_HEADERS | END_STREAM, 4)),
        on(5, frame(RST_STREAM, 0, 4)),
        // The flag means something else there.
        on(9, frame(6, END_STREAM, 8)),
    ];
    written.go(&answers.concat(), |passed| {
        if let Passed::Header(header) = passed
            && header.ends_stream()
        {
            ended.push(header.stream);
        }
    });
    assert_eq!(ended, [1, 3, 5]);
}

proptest! {
    #[test]
    fn how_reads_are_cut_does_not_matter(
        frames in prop::collection::vec((0_u8..12, any::<u8>(), 0_usize..40), 0..30),
        cuts in prop::collection::vec(1_usize..50, 1..50),
    ) {
        let bytes: Vec<u8> =
            frames.iter().flat_map(|&(kind, flags, payload)| frame(kind, flags, payload)).collect();
        let (mut whole, now) = client();
        let _ = whole.read(&bytes, 0, || now);
        let (mut pieces, _) = client();
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
            (whole.empty, whole.head_open, whole.walk, whole.windows),
            (pieces.empty, pieces.head_open, pieces.walk, pieces.windows)
        );
    }
}
