use proptest::prelude::*;
use rstest::rstest;

use super::*;

/// Takes one head out of what comes in pieces of this length. Gives what is left, too.
fn take_pieces(text: &[u8], pieces: usize) -> Result<(Option<Head>, Vec<u8>), RequestError> {
    let (mut read, mut seen) = (BytesMut::new(), 0);
    let mut rest = text.chunks(pieces);
    loop {
        if let Some(head) = take(&mut read, &mut seen)? {
            let left = rest.flatten().copied();
            return Ok((Some(head), read.iter().copied().chain(left).collect()));
        }
        let Some(piece) = rest.next() else { return Ok((None, read.to_vec())) };
        read.extend_from_slice(piece);
    }
}

fn one(text: &str) -> Result<Head, RequestError> {
    let (head, rest) = take_pieces(text.as_bytes(), text.len())?;
    assert!(rest.is_empty(), "{rest:?}");
    Ok(head.expect("a whole head"))
}

#[rstest]
fn a_head_is_the_same_however_it_arrives(#[values(1, 2, 3, 7, 20, 1000)] pieces: usize) {
    let text =
        b"\r\n\nPOST /a?b HTTP/1.1\r\nHost: a.b\r\nX-Two: 1\r\nx-two:  2 \r\nContent-Length: 3\r\n\r\nabcGET";
    let (head, rest) = take_pieces(text, pieces).unwrap();
    let head = head.unwrap();
    assert_eq!((head.request.method(), head.request.uri().path()), (&Method::POST, "/a"));
    assert_eq!(head.request.headers().get_all("x-two").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!((head.length, head.keeps_alive), (Length::Known(3), true));
    assert_eq!(rest, b"abcGET");
}

#[rstest]
#[case("GET / HTTP/1.1\r\n\r\n", Length::Known(0), true)]
#[case("GET / HTTP/1.0\r\n\r\n", Length::Known(0), false)]
#[case("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", Length::Known(0), true)]
#[case("GET / HTTP/1.1\r\nConnection: x\r\nConnection: y, Close\r\n\r\n", Length::Known(0), false)]
#[case("POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", Length::Known(5), true)]
#[case("POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n", Length::Chunked, true)]
#[case("POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", Length::Chunked, false)]
fn heads_say_how_long_they_and_their_connections_last(
    #[case] text: &str,
    #[case] length: Length,
    #[case] keeps_alive: bool,
) {
    let head = one(text).unwrap();
    assert_eq!((head.length, head.keeps_alive), (length, keeps_alive));
    let lengths = head.request.headers().get_all(CONTENT_LENGTH).iter().count();
    assert_eq!(lengths, usize::from(matches!(length, Length::Known(1..))), "one, and only if it counts");
}

#[rstest]
#[case("GET / HTTP/1.2\r\n\r\n")]
#[case("GET  / HTTP/1.1\r\n\r\n")]
#[case("GET /\r\n\r\n")]
#[case(" GET / HTTP/1.1\r\n\r\n")]
#[case("GET / HTTP/1.1\r\nname : value\r\n\r\n")]
#[case("GET / HTTP/1.1\r\nname: value\r\n folded\r\n\r\n")]
#[case("GET / HTTP/1.1\r\nname: a\rb\r\n\r\n")]
#[case("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n")]
#[case("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")]
#[case("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n")]
#[case("POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n")]
#[case("POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n")]
#[case("POST / HTTP/1.1\r\nContent-Length: 9223372036854775808\r\n\r\n")]
fn what_has_no_one_meaning_is_refused(#[case] text: &str) {
    for pieces in [1, 5, 1000] {
        let error = take_pieces(text.as_bytes(), pieces).unwrap_err();
        assert_eq!(error.reason(), Reason::BadRequest, "in pieces of {pieces}");
    }
}

#[rstest]
#[case(b"\x16\x03\x01\x02\0\x01")]
#[case(b"SSH-2.0\x00")]
#[case(b" ")]
fn what_begins_like_no_request_is_refused_at_once(#[case] bytes: &[u8]) {
    assert!(take_pieces(bytes, bytes.len()).is_err());
}

#[test]
fn heads_have_limits() {
    let with = |fields: usize, length: usize| {
        format!("GET / HTTP/1.1\r\n{}\r\n", format!("x: {}\r\n", "v".repeat(length)).repeat(fields))
    };
    assert_eq!(one(&with(HEAD_FIELDS, 1)).unwrap().request.headers().len(), HEAD_FIELDS);
    assert_eq!(one(&with(HEAD_FIELDS + 1, 1)).unwrap_err(), RequestError::TooLarge);
    assert!(one(&with(63, 1_000)).is_ok());
    assert_eq!(one(&with(66, 1_000)).unwrap_err(), RequestError::TooLarge);
    let endless = format!("GET /{}", "x".repeat(HEAD_BYTES));
    for pieces in [100, 8_192, 100_000] {
        assert_eq!(take_pieces(endless.as_bytes(), pieces).unwrap_err(), RequestError::TooLarge);
    }
}

#[test]
fn expectations_and_trailers_are_what_the_client_says() {
    let head = one("PUT / HTTP/1.1\r\nExpect: 100-Continue\r\nTE: gzip, trailers;q=0.5\r\n\r\n").unwrap();
    assert!(head.expects_continue && head.takes_trailers);
    let head = one("PUT / HTTP/1.0\r\nExpect: 100-continue\r\nTE: gzip\r\n\r\n").unwrap();
    assert!(!head.expects_continue && !head.takes_trailers, "HTTP/1.0 has no interim responses");
}

#[test]
fn a_head_keeps_nothing_else_alive() {
    let mut read = BytesMut::from(&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..]);
    take(&mut read, &mut 0).unwrap().unwrap();
    assert_eq!(read.capacity(), 0, "its buffer went with it");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, pieces in 1_usize..9) {
        let _ = take_pieces(&bytes, pieces);
    }

    #[test]
    fn where_it_is_cut_changes_nothing(
        lines in prop::collection::vec("[ -~\r\n\t]{0,12}", 0..6),
        end in prop::sample::select(vec!["\r\n\r\n", "\n\n", "\n\r\n", "\r\n"]),
        cut in 0_usize..80,
    ) {
        let text = format!("GET / HTTP/1.1\r\n{}{end}", lines.join("\r\n"));
        let cut = cut.min(text.len());
        let whole = take_pieces(text.as_bytes(), text.len());
        let (mut read, mut seen) = (BytesMut::from(&text.as_bytes()[..cut]), 0);
        let cut = take(&mut read, &mut seen).and_then(|head| {
            read.extend_from_slice(&text.as_bytes()[cut..]);
            let head = if head.is_none() { take(&mut read, &mut seen)? } else { head };
            Ok((head, read.to_vec()))
        });
        let told = |taken: Result<(Option<Head>, Vec<u8>), RequestError>| {
            taken.map(|(head, rest)| (head.map(|head| (head.length, head.request.headers().clone())), rest))
        };
        prop_assert_eq!(told(whole), told(cut));
    }
}
