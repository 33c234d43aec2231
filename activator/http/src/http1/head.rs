//! Heads of responses: found, parsed, and what they say of the body's length (RFC 9112 6.3) and of the connection's future.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING,
};
use http::{StatusCode, Version};
use httparse::{Header, ParserConfig, Status};
use memchr::memchr;

use super::HEAD_FIELDS;
use crate::headers::members;

/// The head of a response.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    counts: Counts,
}

/// How many there were of the fields that a codec acts on, when the head was parsed. What is not there is not searched for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) content_length: u16,
    pub(super) transfer_encoding: u16,
    pub(super) connection: u16,
    pub(super) te: u16,
    pub(super) expect: u16,
}

impl Counts {
    fn note(&mut self, name: &HeaderName) {
        self.content_length += u16::from(*name == CONTENT_LENGTH);
        self.transfer_encoding += u16::from(*name == TRANSFER_ENCODING);
        self.connection += u16::from(*name == CONNECTION);
        self.te += u16::from(*name == TE);
        self.expect += u16::from(*name == EXPECT);
    }
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// Bytes.
    Known(u64),
    Chunked,
    /// The pod closes the connection.
    UntilClose,
}

/// Where the empty line behind a section of fields ends. `seen`: bytes that were looked at before.
pub(super) fn fields_end(read: &[u8], seen: &mut usize) -> Option<usize> {
    // A line end may have been the last byte so far.
    let mut from = seen.saturating_sub(2);
    while let Some(position) = memchr(b'\n', &read[from..]) {
        let after = from + position + 1;
        match &read[after..] {
            [b'\n', ..] => return Some(after + 1),
            [b'\r', b'\n', ..] => return Some(after + 2),
            _ => from = after,
        }
    }
    *seen = read.len();
    None
}

/// False when what was read so far is no beginning of a head: its end may never come.
pub(super) fn may_begin(read: &[u8]) -> bool {
    const BEGINNING: &[u8] = b"HTTP/1.";
    let length = read.len().min(BEGINNING.len());
    read[..length] == BEGINNING[..length]
}

/// Parses a whole head.
pub(super) fn parse(bytes: &Bytes) -> Result<Head, &'static str> {
    // The parser would skip empty lines, which are refused where they come by themselves.
    if !may_begin(bytes) {
        return Err("it does not begin with HTTP/1.");
    }
    let mut fields = [const { MaybeUninit::uninit() }; HEAD_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed =
        ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut fields);
    match parsed {
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        Ok(Status::Complete(_)) => return Err("the head ends before its end"),
        Ok(Status::Partial) => return Err("the head is incomplete"),
        Err(httparse::Error::TooManyHeaders) => return Err("too many header fields"),
        Err(_) => return Err("the head is malformed"),
    }
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    let (headers, counts) = header_map(bytes, response.headers)?;
    Ok(Head {
        status: status.ok_or("the status code is out of range")?,
        version: if response.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 },
        headers,
        counts,
    })
}

/// Parses a section of fields that ends with an empty line.
pub(super) fn parse_fields(bytes: &Bytes) -> Result<HeaderMap, &'static str> {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    if !lines.all(|line| line.ends_with(b"\r\n")) {
        return Err("a trailer does not end with CR LF");
    }
    let mut fields = [httparse::EMPTY_HEADER; HEAD_FIELDS];
    match httparse::parse_headers(bytes, &mut fields) {
        Ok(Status::Complete((length, fields))) if length == bytes.len() => {
            header_map(bytes, fields).map(|(fields, _)| fields)
        }
        Ok(_) | Err(_) => Err("a trailer is no field, or there are more than 256"),
    }
}

/// The values share the bytes that were read.
pub(super) fn header_map(bytes: &Bytes, fields: &[Header<'_>]) -> Result<(HeaderMap, Counts), &'static str> {
    let mut counts = Counts::default();
    // Room for what a proxy adds.
    let mut headers = HeaderMap::with_capacity(fields.len() + 2);
    for field in fields {
        let name =
            HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| "a field's name is malformed")?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value));
        counts.note(&name);
        headers.append(name, value.map_err(|_| "a field's value is malformed")?);
    }
    Ok((headers, counts))
}

impl Head {
    /// An interim response, which another one follows.
    pub(super) fn interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    /// How long the body is. `to_head`: the request's method was HEAD. Fields that only say it wrongly are removed.
    pub(super) fn length(&mut self, to_head: bool) -> Result<Length, &'static str> {
        let coded = self.counts.transfer_encoding > 0;
        let length = content_length(&self.headers, self.counts)?;
        if coded && self.version == Version::HTTP_10 {
            return Err("HTTP/1.0 has no transfer codings");
        }
        if self.status.is_informational() || matches!(self.status.as_u16(), 204 | 304) || to_head {
            return Ok(Length::Known(0));
        }
        if coded {
            if length.is_some() {
                return Err("it has both a length and a transfer coding");
            }
            return if only_chunked(&self.headers) {
                Ok(Length::Chunked)
            } else {
                Err("its transfer coding is unknown")
            };
        }
        single_length(&mut self.headers, self.counts);
        Ok(length.map_or(Length::UntilClose, Length::Known))
    }

    /// The pod takes another request on this connection.
    pub(super) fn keeps_alive(&self) -> bool {
        keeps_alive(&self.headers, self.version, self.counts)
    }
}

/// What the sender of a head wants of the connection (RFC 9112 9.3).
pub(super) fn keeps_alive(headers: &HeaderMap, version: Version, counts: Counts) -> bool {
    if counts.connection == 0 {
        return version != Version::HTTP_10;
    }
    let says =
        |option: &str| members(headers, &CONNECTION).any(|said| said.eq_ignore_ascii_case(option.as_bytes()));
    if version == Version::HTTP_10 {
        return says("keep-alive") && !says("close");
    }
    !says("close")
}

/// Several lengths that agree: one is enough.
pub(super) fn single_length(headers: &mut HeaderMap, counts: Counts) {
    if counts.content_length > 1
        && let Some(first) = headers.remove(CONTENT_LENGTH)
    {
        headers.insert(CONTENT_LENGTH, first);
    }
}

/// The one length that all `Content-Length` fields name.
pub(super) fn content_length(headers: &HeaderMap, counts: Counts) -> Result<Option<u64>, &'static str> {
    let mut length = None;
    if counts.content_length == 0 {
        return Ok(length);
    }
    for value in headers.get_all(CONTENT_LENGTH) {
        let digits = value.as_bytes();
        // `u64::from_str` takes a sign, which a length has not.
        let number = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit));
        let number: u64 =
            number.and_then(|digits| digits.parse().ok()).ok_or("Content-Length is no number")?;
        if length.is_some_and(|length| length != number) {
            return Err("two Content-Length fields differ");
        }
        length = Some(number);
    }
    Ok(length)
}

pub(super) fn only_chunked(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    let only = values.next().filter(|_| values.next().is_none());
    only.is_some_and(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn head(text: &str) -> Result<Head, &'static str> {
        parse(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[rstest]
    #[case("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", Ok(Length::Known(5)))]
    #[case("HTTP/1.1 200 \r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", Ok(Length::Known(5)))]
    #[case("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", Ok(Length::Chunked))]
    #[case("HTTP/1.1 200 OK\r\n\r\n", Ok(Length::UntilClose))]
    #[case("HTTP/1.0 200 OK\r\n\r\n", Ok(Length::UntilClose))]
    #[case("HTTP/1.1 204 No Content\r\n\r\n", Ok(Length::Known(0)))]
    #[case("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", Ok(Length::Known(0)))]
    #[case("HTTP/1.1 101 Switching Protocols\r\n\r\n", Ok(Length::Known(0)))]
    #[case(
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        Err("two Content-Length fields differ")
    )]
    #[case("HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n", Err("Content-Length is no number"))]
    #[case("HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\n", Err("Content-Length is no number"))]
    #[case("HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\n", Err("Content-Length is no number"))]
    #[case(
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        Err("it has both a length and a transfer coding")
    )]
    #[case(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        Err("its transfer coding is unknown")
    )]
    #[case(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
        Err("its transfer coding is unknown")
    )]
    #[case("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Err("HTTP/1.0 has no transfer codings"))]
    fn lengths(#[case] text: &str, #[case] expected: Result<Length, &'static str>) {
        assert_eq!(head(text).unwrap().length(false), expected);
    }

    #[test]
    fn a_response_to_head_has_no_body() {
        let mut head = head("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").unwrap();
        assert_eq!(head.length(true), Ok(Length::Known(0)));
        assert_eq!(head.headers[CONTENT_LENGTH], "5", "it says what GET would give");
    }

    #[rstest]
    #[case("HTTP/1.1 200 OK\r\n\r\n", true)]
    #[case("HTTP/1.1 200 OK\r\nconnection: Close\r\n\r\n", false)]
    #[case("HTTP/1.1 200 OK\r\nconnection: x\r\nconnection: y, close\r\n\r\n", false)]
    #[case("HTTP/1.1 200 OK\r\nconnection: close, \u{e9}\r\n\r\n", false)]
    #[case("HTTP/1.0 200 OK\r\n\r\n", false)]
    #[case("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\n", true)]
    fn connections_are_kept_as_the_pod_says(#[case] text: &str, #[case] kept: bool) {
        assert_eq!(head(text).unwrap().keeps_alive(), kept);
    }

    #[rstest]
    #[case("HTTP/2 200 OK\r\n\r\n")]
    #[case("HTTP/1.1 99 OK\r\n\r\n")]
    #[case("\r\nHTTP/1.1 200 OK\r\n\r\n")]
    #[case("HTTP/1.1 200 OK\r\nname : value\r\n\r\n")]
    #[case("HTTP/1.1 200 OK\r\nname: value\r\n folded\r\n\r\n")]
    #[case("HTTP/1.1 200 OK\r\nname: a\0b\r\n\r\n")]
    #[case("HTTP/1.1 200 OK\r\nno field\r\n\r\n")]
    #[case("SSH-2.0-OpenSSH\r\n\r\n")]
    fn what_is_no_head_is_refused(#[case] text: &str) {
        assert!(head(text).is_err());
    }

    #[test]
    fn the_end_of_a_head_is_found_however_it_arrives() {
        let text = b"HTTP/1.1 200 OK\r\na: b\r\n\r\nbody\n\n";
        let mut seen = 0;
        let found = (0..=text.len()).find_map(|end| fields_end(&text[..end], &mut seen));
        assert_eq!(found, Some(text.len() - b"body\n\n".len()));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = parse(&Bytes::from(bytes.clone())).map(|mut head| (head.length(false), head.keeps_alive()));
            let _ = parse_fields(&Bytes::from(bytes));
        }
    }
}
