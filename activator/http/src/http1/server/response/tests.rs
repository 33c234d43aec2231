use http::Response;
use rstest::rstest;

use super::*;

const GET: Asked = Asked { version: Version::HTTP_11, head: false, takes_trailers: true, keeps_alive: true };
const OLD: Asked = Asked { version: Version::HTTP_10, ..GET };
const HEAD: Asked = Asked { head: true, ..GET };
const LAST: Asked = Asked { keeps_alive: false, ..GET };

/// The head of a response with these fields, without its date, and how it is sent. `length`: of the body, where it is known.
fn written(status: u16, fields: &[(&str, &str)], length: Option<u64>, asked: Asked) -> (String, Shape) {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    let (head, ()) = response.body(()).unwrap().into_parts();
    let size = length.map_or_else(SizeHint::default, SizeHint::with_exact);
    let shape = Shape::new(&head, &size, asked);
    let mut buffer = Vec::new();
    shape.write(&mut buffer, &head, asked, &Date::default());
    let text = String::from_utf8(buffer).unwrap();
    let dateless = text.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect();
    (dateless, shape)
}

#[rstest]
#[case(200, &[("x", "y")], Some(5), GET, "HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 5\r\n\r\n")]
#[case(200, &[("content-length", "5")], Some(5), GET, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")]
#[case(200, &[], Some(0), GET, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]
#[case(200, &[], None, GET, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")]
#[case(200, &[], None, OLD, "HTTP/1.0 200 OK\r\n\r\n")]
#[case(200, &[], Some(1), OLD, "HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n")]
#[case(200, &[("content-length", "5")], Some(0), HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")]
#[case(200, &[], None, HEAD, "HTTP/1.1 200 OK\r\n\r\n")]
#[case(204, &[("content-length", "5")], Some(0), GET, "HTTP/1.1 204 No Content\r\n\r\n")]
#[case(304, &[("content-length", "5")], Some(0), GET, "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n")]
#[case(200, &[], Some(1), LAST, "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\n")]
#[case(799, &[], Some(1), GET, "HTTP/1.1 799 \r\ncontent-length: 1\r\n\r\n")]
#[case(
    101,
    &[("upgrade", "a"), ("connection", "upgrade")],
    Some(0),
    GET,
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: a\r\nconnection: upgrade\r\n\r\n"
)]
fn heads(
    #[case] status: u16,
    #[case] fields: &[(&str, &str)],
    #[case] length: Option<u64>,
    #[case] asked: Asked,
    #[case] expected: &str,
) {
    assert_eq!(written(status, fields, length, asked).0, expected);
}

#[test]
fn what_we_close_says_so_and_is_not_used_again() {
    let (text, shape) = written(400, &[("connection", "close")], Some(1), GET);
    assert_eq!(text.matches("connection: close\r\n").count(), 1, "{text}");
    assert!(!shape.keeps_alive);
}

#[test]
fn a_body_without_a_length_ends_as_the_client_can_tell() {
    let (_, shape) = written(200, &[], None, GET);
    assert_eq!((shape.delimited, shape.until_close), (Delimited::ChunksAndTrailers, false));
    let (_, shape) = written(200, &[], None, Asked { takes_trailers: false, ..GET });
    assert_eq!(shape.delimited, Delimited::Chunks);
    let (_, shape) = written(200, &[], None, OLD);
    assert_eq!((shape.delimited, shape.until_close, shape.keeps_alive), (Delimited::Close, true, false));
    let (_, shape) = written(200, &[], None, HEAD);
    assert!(shape.bodiless && shape.keeps_alive);
}

#[test]
fn a_date_is_sent_once() {
    let (head, ()) = Response::builder().header("date", "then").body(()).unwrap().into_parts();
    let size = SizeHint::with_exact(0);
    let mut buffer = Vec::new();
    Shape::new(&head, &size, GET).write(&mut buffer, &head, GET, &Date::default());
    let text = String::from_utf8(buffer).unwrap();
    assert_eq!(text.matches("date: ").count(), 1, "{text}");
}

#[test]
fn the_last_answer_is_whole_and_says_that_it_is_the_last() {
    for (to_head, length, body) in [(false, "content-length: 3\r\n", "why"), (true, "", "")] {
        let answer = Response::builder().status(400).header("x", "y").body(Bytes::from("why")).unwrap();
        let mut buffer = Vec::new();
        write_last(&mut buffer, answer, to_head, &Date::default());
        let text = String::from_utf8(buffer).unwrap();
        let (before, after) = text.split_once("date: ").expect("a date");
        assert_eq!(before, format!("HTTP/1.1 400 Bad Request\r\nx: y\r\n{length}connection: close\r\n"));
        assert_eq!(after.split_once("\r\n\r\n").unwrap().1, body);
    }
}
