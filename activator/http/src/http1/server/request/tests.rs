use catnap_activator_core::Reason;
use proptest::prelude::*;
use rstest::rstest;

use super::error::Part;
use super::*;
use crate::config::URI_BYTES;

/// Takes one head out of what comes in pieces of this length. Gives what is left, too.
fn take_pieces(text: &[u8], pieces: usize) -> Result<(Option<Head>, Vec<u8>), Unparsable> {
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
    let (head, rest) = take_pieces(text.as_bytes(), text.len()).map_err(|unparsable| unparsable.error)?;
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

fn field(name: &str) -> Part {
    Part::Field(Some(name.into()))
}

/// A request with these lines between its request line and the end of its head.
fn with(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n")
}

const NO_NAME: Part = Part::Field(None);
const NO_NUMBER: &str = "Content-Length is no number";

#[rstest]
#[case("P(ST / HTTP/1.1\r\n\r\n", RequestError::Method)]
#[case(" GET / HTTP/1.1\r\n\r\n", RequestError::Method)]
#[case("GET\t/ HTTP/1.1\r\n\r\n", RequestError::Method)]
#[case("GET  / HTTP/1.1\r\n\r\n", RequestError::RequestLine)]
#[case("GET /  HTTP/1.1\r\n\r\n", RequestError::RequestLine)]
#[case("GET /\tHTTP/1.1\r\n\r\n", RequestError::RequestLine)]
#[case("GET / HTTP/1.1 \r\n\r\n", RequestError::RequestLine)]
#[case("GET /\r\n\r\n", RequestError::RequestLine)]
#[case("GET /a\0b HTTP/1.1\r\n\r\n", RequestError::Target)]
#[case("GET /a\x7fb HTTP/1.1\r\n\r\n", RequestError::Target)]
#[case("GET http://a:b:c/ HTTP/1.1\r\n\r\n", RequestError::Target)]
#[case("GET / HTTP/1.2\r\n\r\n", RequestError::Version)]
#[case("GET / http/1.1\r\n\r\n", RequestError::Version)]
#[case("GET / HTTP/1.1\r\r\n\r\n", RequestError::BareCarriageReturn(Part::RequestLine))]
#[case(with("Name: a\rb"), RequestError::BareCarriageReturn(field("Name")))]
#[case(with("Name: a\r"), RequestError::BareCarriageReturn(field("Name")))]
#[case(with("Na\rme: a"), RequestError::BareCarriageReturn(NO_NAME))]
#[case(with(" Name: a"), RequestError::Folded(Part::RequestLine))]
#[case(with("X: y\r\nName: a\r\n\tb"), RequestError::Folded(field("Name")))]
#[case(with("Name"), RequestError::NoColon)]
#[case(with("Name : a"), RequestError::BlankBeforeColon(field("Name")))]
#[case(with("Name\t: a"), RequestError::BlankBeforeColon(field("Name")))]
#[case(with(": a"), RequestError::FieldName)]
#[case(with("Na me: a"), RequestError::FieldName)]
#[case(with("N\u{e4}me: a"), RequestError::FieldName)]
#[case(with("Name: a\0b"), RequestError::FieldValue(field("Name")))]
#[case(with("Name: a\x7f"), RequestError::FieldValue(field("Name")))]
#[case(with(&format!("{}: \0", "n".repeat(64))), RequestError::FieldValue(field(&"n".repeat(64))))]
#[case(with(&format!("{}: \0", "n".repeat(65))), RequestError::FieldValue(NO_NAME))]
#[case("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", RequestError::CodingInHttp10)]
#[case(with("Transfer-Encoding: gzip, chunked"), RequestError::Coding)]
#[case(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), RequestError::Coding)]
#[case(with("Content-Length: +5"), RequestError::Length(NO_NUMBER))]
#[case(with("Content-Length:"), RequestError::Length(NO_NUMBER))]
#[case(with("Content-Length: 18446744073709551616"), RequestError::Length(NO_NUMBER))]
#[case(
    with("Content-Length: 5\r\nContent-Length: 6"),
    RequestError::Length("two Content-Length fields differ")
)]
#[case(with("Content-Length: 9223372036854775808"), RequestError::Length("Content-Length is too large"))]
fn what_has_no_one_meaning_is_refused_with_a_reason(
    #[case] text: impl AsRef<str>,
    #[case] error: RequestError,
) {
    let text = text.as_ref().as_bytes();
    for pieces in [1, 5, 1000] {
        let unparsable = take_pieces(text, pieces).unwrap_err();
        assert_eq!(unparsable.error.reason(), Reason::BadRequest, "in pieces of {pieces}");
        assert_eq!(unparsable.error, error, "in pieces of {pieces}");
    }
}

#[rstest]
#[case(b"\x16\x03\x01\x02\0\x01")]
#[case(b"SSH-2.0\x00")]
#[case(b" ")]
fn what_begins_like_no_request_is_refused_at_once(#[case] bytes: &[u8]) {
    assert_eq!(take_pieces(bytes, bytes.len()).unwrap_err().error, RequestError::Method);
}

#[test]
fn heads_have_limits() {
    let with = |fields: usize, length: usize| {
        format!("GET / HTTP/1.1\r\n{}\r\n", format!("x: {}\r\n", "v".repeat(length)).repeat(fields))
    };
    let too_long = |part: Part| (RequestError::TooLong(part), Reason::HeadTooLarge);
    let refused = |text: &str, pieces: usize| {
        let error = take_pieces(text.as_bytes(), pieces).unwrap_err().error;
        let reason = error.reason();
        (error, reason)
    };
    assert_eq!(one(&with(HEAD_FIELDS, 1)).unwrap().request.headers().len(), HEAD_FIELDS);
    assert_eq!(
        refused(&with(HEAD_FIELDS + 1, 1), 1_000),
        (RequestError::TooManyFields, Reason::HeadTooLarge)
    );
    assert!(one(&with(63, 1_000)).is_ok());
    assert_eq!(refused(&with(66, 1_000), 100_000), too_long(field("x")));
    let endless = format!("GET /{}", "x".repeat(HEAD_BYTES));
    let target_too_long = (RequestError::TargetTooLong, Reason::UriTooLong);
    for pieces in [100, 8_192, 100_000] {
        assert_eq!(refused(&endless, pieces), target_too_long);
    }
    // Where something else is what makes the head too long.
    let target = |length: usize| format!("/{}", "x".repeat(length - 1));
    let long = "y".repeat(HEAD_BYTES);
    for (length, expected) in [(URI_BYTES, too_long(field("Cookie"))), (URI_BYTES + 1, target_too_long)] {
        let text = format!("GET {} HTTP/1.1\r\nCookie: {long}", target(length));
        assert_eq!(refused(&text, 8_192), expected, "{length}");
    }
    let halves = "n: v\r\n".repeat(HEAD_BYTES / 6);
    let text = format!("GET {} HTTP/1.1\r\n{halves}", target(URI_BYTES));
    assert_eq!(refused(&text, 8_192), too_long(Part::RequestLine));
    assert_eq!(refused(&long, 8_192), too_long(Part::RequestLine));
    let cookies = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {}", "x".repeat(HEAD_BYTES));
    assert_eq!(refused(&cookies, 100), too_long(field("Cookie")));
    let nameless = format!("GET / HTTP/1.1\r\n{}", "x".repeat(HEAD_BYTES));
    assert_eq!(refused(&nameless, 100), too_long(NO_NAME));
}

#[rstest]
#[case("HEAD / HTTP/1.1\r\nname\r\n\r\n", "HEAD")]
#[case("HEADING / HTTP/1.1\r\nname\r\n\r\n", "_OTHER")]
#[case("POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", "POST")]
#[case("\x16\x03\x01\x02\0\x01", "_OTHER")]
fn the_method_is_known_as_far_as_it_is_there(#[case] text: &str, #[case] method: &str) {
    assert_eq!(take_pieces(text.as_bytes(), text.len()).unwrap_err().line.method, method);
}

#[test]
fn expectations_and_trailers_are_what_the_client_says() {
    let head = one(
        "PUT / HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-Continue\r\nTE: gzip, trailers;q=0.5\r\n\r\n",
    )
    .unwrap();
    assert!(head.expects_continue && head.takes_trailers);
    let head =
        one("PUT / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\nTE: gzip\r\n\r\n").unwrap();
    assert!(!head.expects_continue && !head.takes_trailers, "HTTP/1.0 has no interim responses");
    let head = one("PUT / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n").unwrap();
    assert!(!head.expects_continue, "there is no body to wait for");
}

#[test]
fn a_head_keeps_nothing_else_alive() {
    let mut read = BytesMut::from(&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..]);
    take(&mut read, &mut 0).unwrap().unwrap();
    assert_eq!(read.capacity(), 0, "its buffer went with it");
}

proptest! {
    #[test]
    fn whatever_is_refused_has_a_reason_and_repeats_a_name_at_most(
        line in prop_oneof![Just("GET / HTTP/1.1".to_owned()), "[A-Z (]{0,4}[ \t]{0,2}/[a-z\0 ]{0,2}[ ]{0,2}HTTP/[12][.][019]"],
        fields in prop::collection::vec("[a-b \t(\u{e4}]{0,3}[ :\0]{0,2}[c \t\r\0\u{e4}]{0,3}", 0..4),
        end in prop::sample::select(vec!["\n", "\r\n", "\r\r\n"]),
    ) {
        let text = [&[line][..], &fields].concat().join(end) + "\r\n\r\n";
        if let Err(Unparsable { error, .. }) = take_pieces(text.as_bytes(), text.len()) {
            prop_assert_ne!(&error, &RequestError::Malformed, "{:?}", text);
            let detail = error.to_string();
            prop_assert!(detail.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{detail:?} of {text:?}");
        }
    }

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
        let told = |taken: Result<(Option<Head>, Vec<u8>), Unparsable>| {
            let taken = taken.map_err(|unparsable| unparsable.error);
            taken.map(|(head, rest)| (head.map(|head| (head.length, head.request.headers().clone())), rest))
        };
        prop_assert_eq!(told(whole), told(cut));
    }
}
