//! Heads of requests: found in what was read, parsed, and what they say of the body and of the connection (RFC 9112 2.2, 3, 6, 9).

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use catnap_activator_core::Reason;
use http::header::{CONTENT_LENGTH, EXPECT, HeaderMap, TE, TRANSFER_ENCODING};
use http::{Method, Request, StatusCode, Uri, Version};
use httparse::{ParserConfig, Status};

use crate::config::{HEAD_BYTES, HEAD_FIELDS};
use crate::headers::lists;
use crate::http1::head::{self, Length, fields_end};

/// Of the beginning of a request so much is looked at before its head is here whole.
const BEGINNING_BYTES: usize = 32;

/// Why there is no request. It is answered with a bare status, and the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    /// It is no HTTP/1.x, or its end could be read in two ways.
    #[error("the request is malformed: {0}")]
    Malformed(&'static str),
    /// Its head has more bytes or fields than are taken.
    #[error("the request's head is too large")]
    TooLarge,
}

impl RequestError {
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Malformed(_) => Reason::BadRequest,
            Self::TooLarge => Reason::HeadTooLarge,
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
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
pub(super) fn take(read: &mut BytesMut, seen: &mut usize) -> Result<Option<Head>, RequestError> {
    skip_empty_lines(read, seen);
    let Some(end) = fields_end(read, seen) else {
        return if read.len() >= HEAD_BYTES {
            Err(RequestError::TooLarge)
        } else if may_begin(read) {
            Ok(None)
        } else {
            Err(RequestError::Malformed("it does not begin with a method"))
        };
    };
    *seen = 0;
    if end > HEAD_BYTES {
        return Err(RequestError::TooLarge);
    }
    // The fields keep what they are parts of; nothing else should be in it.
    let bytes = if end == read.len() { std::mem::take(read) } else { read.split_to(end) };
    parse(&bytes.freeze()).map(Some)
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
    let method = read.iter().take(BEGINNING_BYTES).take_while(|byte| **byte != b' ');
    matches!(read, [] | [b'\r']) || (read[0] != b' ' && method.copied().all(is_token))
}

/// RFC 9110 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Parses a whole head.
fn parse(bytes: &Bytes) -> Result<Head, RequestError> {
    let malformed = RequestError::Malformed;
    let mut fields = [const { MaybeUninit::uninit() }; HEAD_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    match ParserConfig::default().parse_request_with_uninit_headers(&mut parsed, bytes, &mut fields) {
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(malformed("the head does not end where it ends")),
        Err(httparse::Error::TooManyHeaders) => return Err(RequestError::TooLarge),
        Err(_) => return Err(malformed("the head is malformed")),
    }
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
        return Err(malformed("there is no request line"));
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| malformed("the method is none"))?;
    // It shares the bytes that were read.
    let uri = Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes()));
    let uri = uri.map_err(|_| malformed("the target is malformed"))?;
    let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut headers = head::header_map(bytes, parsed.headers).map_err(malformed)?;
    let mut keeps_alive = head::keeps_alive(&headers, version);
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        // Whoever sent it may be of another mind about where it ends (RFC 9112 6.3).
        keeps_alive = false;
    }
    let length = length(&mut headers, version).map_err(malformed)?;
    let expects = version == Version::HTTP_11
        && headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let takes_trailers = headers.contains_key(TE) && lists(&headers, &TE, "trailers");
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = version;
    *request.headers_mut() = headers;
    Ok(Head { request, length, keeps_alive, expects_continue: expects, takes_trailers })
}

/// How long the body is (RFC 9112 6.3). What says it wrongly, or a second time, is removed.
fn length(headers: &mut HeaderMap, version: Version) -> Result<Length, &'static str> {
    if headers.contains_key(TRANSFER_ENCODING) {
        if version == Version::HTTP_10 {
            return Err("HTTP/1.0 has no transfer codings");
        }
        if !head::only_chunked(headers) {
            return Err("a transfer coding other than chunked");
        }
        headers.remove(CONTENT_LENGTH);
        return Ok(Length::Chunked);
    }
    let length = head::content_length(headers)?;
    head::single_length(headers);
    match length {
        // Whoever counts with a sign would be lost.
        Some(length) if i64::try_from(length).is_err() => Err("its length is too large"),
        length => Ok(Length::Known(length.unwrap_or(0))),
    }
}

#[cfg(test)]
mod tests;
