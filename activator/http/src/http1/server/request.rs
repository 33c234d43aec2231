//! Heads of requests: found in what was read, parsed, and what they say of the body and of the connection (RFC 9112 2.2, 3, 6, 9).

mod error;

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT, HeaderMap, TE};
use http::{Method, Request, Uri, Version};
use httparse::{ParserConfig, Status};

use crate::config::{HEAD_BYTES, HEAD_FIELDS};
use crate::headers::lists;
use crate::http1::head::{self, Counts, Length, fields_end};
use crate::observe::Line;
pub(super) use error::RequestError;
use error::is_token;

/// Of the beginning of a request so much is looked at before its head is here whole.
const BEGINNING_BYTES: usize = 32;

/// A request that is not taken: why, and what the log may tell of it.
#[derive(Clone, Debug)]
pub(super) struct Unparsable {
    pub(super) error: RequestError,
    pub(super) line: Line,
}

impl Unparsable {
    /// `read`: what there is of its head.
    fn new(read: &[u8], error: RequestError) -> Self {
        let method = read.split(|byte| *byte == b' ').next().unwrap_or_default();
        Self { error, line: Line::unparsable(method) }
    }
}

/// A request's head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) request: Request<()>,
    pub(super) length: Length,
    /// The client wants to send another request on the connection.
    pub(super) keeps_alive: bool,
    /// The client waits for 100 (Continue) before it sends the body.
    pub(super) expects_continue: bool,
    pub(super) takes_trailers: bool,
}

/// Takes a head out of what was read. `None`: it is not here whole. `seen`: bytes that were looked at before.
pub(super) fn take(read: &mut BytesMut, seen: &mut usize) -> Result<Option<Head>, Unparsable> {
    skip_empty_lines(read, seen);
    let end = fields_end(read, seen);
    if end.unwrap_or(read.len() + 1) > HEAD_BYTES {
        return Err(Unparsable::new(read, RequestError::too_long(&read[..HEAD_BYTES])));
    }
    let Some(end) = end else {
        return if may_begin(read) { Ok(None) } else { Err(Unparsable::new(read, RequestError::Method)) };
    };
    *seen = 0;
    // The fields keep what they are parts of; nothing else should be in it.
    let bytes = if end == read.len() { std::mem::take(read) } else { read.split_to(end) };
    let bytes = bytes.freeze();
    parse(&bytes).map(Some).map_err(|error| Unparsable::new(&bytes, error))
}

/// A client may send empty lines before a request (RFC 9112 2.2).
fn skip_empty_lines(read: &mut BytesMut, seen: &mut usize) {
    loop {
        let length = match &read[..] {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => return,
        };
        read.advance(length);
        *seen = 0;
    }
}

/// False when what was read so far is no beginning of a request: its end may never come.
fn may_begin(read: &[u8]) -> bool {
    let beginning = &read[..read.len().min(BEGINNING_BYTES)];
    let method = beginning.split(|byte| *byte == b' ').next().unwrap_or_default();
    matches!(read, [] | [b'\r']) || is_token(method)
}

/// Parses a whole head.
fn parse(bytes: &Bytes) -> Result<Head, RequestError> {
    let mut fields = [const { MaybeUninit::uninit() }; HEAD_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    match ParserConfig::default().parse_request_with_uninit_headers(&mut parsed, bytes, &mut fields) {
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(RequestError::TooManyFields),
        Ok(_) | Err(_) => return Err(RequestError::find(bytes)),
    }
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
        return Err(RequestError::RequestLine);
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| RequestError::Method)?;
    // It shares the bytes that were read.
    let uri = Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes()));
    let uri = uri.map_err(|_| RequestError::Target)?;
    let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let (mut headers, counts) =
        head::header_map(bytes, parsed.headers).map_err(|_| RequestError::Malformed)?;
    let keeps_alive = head::keeps_alive(&headers, version, counts);
    let (length, clear) = length(&mut headers, version, counts)?;
    let expects = counts.expect > 0
        && version == Version::HTTP_11
        && length != Length::Known(0)
        && headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let takes_trailers = counts.te > 0 && lists(&headers, &TE, "trailers");
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = version;
    *request.headers_mut() = headers;
    // Whoever sent both lengths may be of another mind about where it ends (RFC 9112 6.3).
    Ok(Head { request, length, keeps_alive: keeps_alive && clear, expects_continue: expects, takes_trailers })
}

/// How long the body is (RFC 9112 6.3), and whether nothing else was said of that. What says it wrongly, or a second time, is
/// removed.
fn length(headers: &mut HeaderMap, version: Version, counts: Counts) -> Result<(Length, bool), RequestError> {
    if counts.transfer_encoding > 0 {
        if version == Version::HTTP_10 {
            return Err(RequestError::CodingInHttp10);
        }
        if !head::only_chunked(headers) {
            return Err(RequestError::Coding);
        }
        let clear = headers.remove(CONTENT_LENGTH).is_none();
        return Ok((Length::Chunked, clear));
    }
    let Some(length) = head::content_length(headers, counts).map_err(RequestError::Length)? else {
        return Ok((Length::Known(0), true));
    };
    // Whoever counts with a sign would be lost.
    if i64::try_from(length).is_err() {
        return Err(RequestError::Length("Content-Length is too large"));
    }
    head::single_length(headers, counts);
    Ok((Length::Known(length), true))
}

#[cfg(test)]
mod tests;
