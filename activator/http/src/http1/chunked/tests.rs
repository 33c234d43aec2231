use rstest::rstest;

use super::*;

/// A body, its trailers, and what came after it.
type Whole = (Vec<u8>, Option<HeaderMap>, Vec<u8>);
type Step = fn(&mut Chunked, &mut BytesMut) -> Result<Decoded, &'static str>;

/// Decodes what comes in pieces of this length, in both ways.
fn decode(body: &[u8], pieces: usize) -> Result<Whole, &'static str> {
    let (mut data, mut data_ahead) = (Vec::new(), Vec::new());
    let ended = decode_by(Chunked::decode, body, pieces, &mut data);
    let ended_ahead = decode_by(Chunked::decode_ahead, body, pieces, &mut data_ahead);
    assert_eq!((&data, &ended), (&data_ahead, &ended_ahead));
    ended.map(|(trailers, rest)| (data, trailers, rest))
}

/// Gives the trailers, and what came after the body.
fn decode_by(
    step: Step,
    body: &[u8],
    pieces: usize,
    data: &mut Vec<u8>,
) -> Result<(Option<HeaderMap>, Vec<u8>), &'static str> {
    let (mut chunked, mut read, mut trailers) = (Chunked::default(), BytesMut::new(), None);
    let mut rest = body.chunks(pieces);
    loop {
        match step(&mut chunked, &mut read)? {
            Decoded::Data(bytes) => data.extend_from_slice(&bytes),
            Decoded::Trailers(fields) => trailers = Some(fields),
            Decoded::End => {
                let left = rest.flatten().copied();
                return Ok((trailers, read.iter().copied().chain(left).collect()));
            }
            Decoded::Missing => read.extend_from_slice(rest.next().ok_or("incomplete")?),
        }
    }
}

/// The pieces of a body that is here, and why there are no more.
fn pieces(body: &[u8]) -> (Vec<Bytes>, Result<Decoded, &'static str>) {
    let (mut chunked, mut read) = (Chunked::default(), BytesMut::from(body));
    let mut pieces = Vec::new();
    loop {
        match chunked.decode_ahead(&mut read) {
            Ok(Decoded::Data(piece)) => pieces.push(piece),
            other => return (pieces, other),
        }
    }
}

#[test]
fn small_chunks_that_are_here_are_one_piece() {
    let (given, end) = pieces(&b"1\r\nx\r\n".repeat(1_365));
    assert_eq!((given, end.is_ok()), (vec![Bytes::from(vec![b'x'; 1_365])], true));
    let large = format!("400\r\n{}\r\n", "y".repeat(SMALL_BYTES));
    let body = format!("1\r\na\r\n2\r\nbc\r\n{large}{large}1\r\nd\r\n3\r\nefg\r\n0\r\n\r\n");
    let (given, _) = pieces(body.as_bytes());
    let lengths: Vec<usize> = given.iter().map(Bytes::len).collect();
    assert_eq!(lengths, [3, SMALL_BYTES, SMALL_BYTES, 4], "a large one is not copied");
}

#[rstest]
#[case(b"1\r\na\r\n1\r\nb\r\nx\r\n", Err("a chunk's size is no hexadecimal number"))]
#[case(b"1\r\na\r\n1\r\nbc\r\n", Err("a chunk is longer than its size"))]
#[case(
    b"1\r\na\r\n1\r\nb\r\n0\r\nno field\r\n\r\n",
    Err("a trailer is no field, or there are more than 256")
)]
#[case(b"1\r\na\r\n1\r\nb\r\n0\r\nx: y\r\n\r\n", Ok(()))]
#[case(b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n", Ok(()))]
fn what_comes_behind_small_chunks_is_not_lost(
    #[case] body: &[u8],
    #[case] expected: Result<(), &'static str>,
) {
    let (given, end) = pieces(body);
    assert_eq!((given, end.map(|_| ())), (vec![Bytes::from("ab")], expected));
}

#[rstest]
fn limits_are_the_same_however_it_arrives(#[values(1_000, 1_001, 1_000_000)] pieces: usize) {
    let trailers = |bytes: usize| format!("0\r\nx: {}\r\n\r\n", "y".repeat(bytes - "x: \r\n\r\n".len()));
    assert!(decode(trailers(TRAILER_BYTES).as_bytes(), pieces).is_ok());
    let too_long = decode(trailers(TRAILER_BYTES + 1).as_bytes(), pieces);
    assert_eq!(too_long, Err("the trailers have more than 16 KiB"));
    let size = |bytes: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "y".repeat(bytes - "1;".len()));
    for pieces in [pieces, LINE_BYTES + 1] {
        assert!(decode(size(LINE_BYTES).as_bytes(), pieces).is_ok());
        assert!(decode(size(LINE_BYTES + 1).as_bytes(), pieces).is_err());
    }
}

#[rstest]
fn a_body_is_the_same_however_it_arrives(#[values(1, 2, 3, 7, 1000)] pieces: usize) {
    let body = b"5\r\nhello\r\n1;name=\"v\"\r\n \r\n000a ;x\r\n0123456789\r\n0\r\n\r\nHTTP";
    let (data, trailers, rest) = decode(body, pieces).unwrap();
    assert_eq!(data, b"hello 0123456789");
    assert!(trailers.is_none());
    assert_eq!(rest, b"HTTP", "what follows is another's");
}

#[rstest]
fn trailers_are_given(#[values(1, 4, 1000)] pieces: usize) {
    let (data, trailers, rest) =
        decode(b"1\r\na\r\n0\r\ngrpc-status: 0\r\nX-Sum:  7 \r\n\r\n", pieces).unwrap();
    let trailers = trailers.unwrap();
    assert_eq!((data.as_slice(), rest.len()), (&b"a"[..], 0));
    assert_eq!(
        (&trailers["grpc-status"], &trailers["x-sum"]),
        (&"0".parse().unwrap(), &"7".parse().unwrap())
    );
}

#[rstest]
#[case(b"5\nhello\r\n0\r\n\r\n", "a chunk's size does not end with CR LF")]
#[case(b"5\r\nhelloo\r\n0\r\n\r\n", "a chunk is longer than its size")]
#[case(b"5\r\nhello\n0\r\n\r\n", "a chunk is longer than its size")]
#[case(b"\r\nhello", "a chunk's size is no hexadecimal number")]
#[case(b"+5\r\nhello\r\n", "a chunk's size is no hexadecimal number")]
#[case(b"0x5\r\nhello\r\n", "a chunk's size is no hexadecimal number")]
#[case(b"5 5\r\nhello\r\n", "a chunk's size is no hexadecimal number")]
#[case(b"-1\r\n", "a chunk's size is no hexadecimal number")]
#[case(b"11111111111111111\r\n", "a chunk's size is no hexadecimal number")]
#[case(b"5\r;\r\nhello\r\n", "the line of a chunk's size has more than 4 KiB or a CR in it")]
#[case(b"0\r\nno field\r\n\r\n", "a trailer is no field, or there are more than 256")]
#[case(b"0\r\n\r\r\n\r\n", "a trailer is no field, or there are more than 256")]
#[case(b"0\r\n\nHTTP/1.1 200 OK\r\nx: y\r\n\r\n", "a trailer does not end with CR LF")]
#[case(b"0\r\nx: y\n\r\n", "a trailer does not end with CR LF")]
#[case(b"5\r\nhel", "incomplete")]
fn what_is_not_chunked_is_refused(#[case] body: &[u8], #[case] expected: &str) {
    for pieces in [1, 3, 1000] {
        assert_eq!(decode(body, pieces).unwrap_err(), expected, "in pieces of {pieces}");
    }
}

#[test]
fn an_endless_line_is_refused() {
    let mut size = b"5;".to_vec();
    size.resize(LINE_BYTES + 10, b'x');
    assert_eq!(decode(&size, 100).unwrap_err(), "the line of a chunk's size has more than 4 KiB");
    let mut trailer = b"0\r\nx: ".to_vec();
    trailer.resize(TRAILER_BYTES + 100, b'x');
    assert_eq!(decode(&trailer, 1000).unwrap_err(), "the trailers have more than 16 KiB");
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body: Vec<u8>, pieces in 1_usize..9) {
        let _ = decode(&body, pieces);
    }

    #[test]
    fn nearly_chunks_have_one_meaning(
        body in "(1\r\n[xy]\r\n|2;z\r\nxx\r\n|[0-3x;]|\r\n|0\r\n\r\n|0\r\na: b\r\n\r\n){0,12}",
        pieces in 1_usize..99,
    ) {
        let _ = decode(body.as_bytes(), pieces);
    }

    #[test]
    fn what_is_encoded_is_decoded(
        lengths in proptest::collection::vec(proptest::prop_oneof![1..50_usize, 1_000..1_050_usize], 0..8),
        pieces in 1_usize..2_000,
    ) {
        let chunks: Vec<Vec<u8>> = (0_u8..).zip(lengths).map(|(byte, length)| vec![byte; length]).collect();
        let mut body = Vec::new();
        for chunk in &chunks {
            body.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        proptest::prop_assert_eq!(decode(&body, pieces).unwrap().0, chunks.concat());
    }
}
