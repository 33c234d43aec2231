//! Heads of responses, as a client gets them: how the body ends, and what becomes of the connection (RFC 9112 6, 9).

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{Response, StatusCode, Version, response};
use http_body::SizeHint;

use crate::date::Date;
use crate::http1::outgoing::{Delimited, write_field};

/// What a response must know of its request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) version: Version,
    /// The method is HEAD: the response has no body, whatever its head says.
    pub(super) head: bool,
    pub(super) takes_trailers: bool,
    /// The connection may take another request.
    pub(super) keeps_alive: bool,
}

/// How a response is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) delimited: Delimited,
    /// There is no body, whatever was given for one.
    pub(super) bodiless: bool,
    /// The connection goes on afterwards.
    pub(super) keeps_alive: bool,
    /// The body ends with the connection.
    pub(super) until_close: bool,
}

impl Shape {
    /// `size`: of the body.
    pub(super) fn new(head: &response::Parts, size: &SizeHint, asked: Asked) -> Self {
        let status = head.status;
        let bodiless = asked.head || status.is_informational() || matches!(status.as_u16(), 204 | 304);
        let unknown = !bodiless && size.exact().is_none();
        let until_close = unknown && asked.version == Version::HTTP_10;
        let closes = head.headers.get(CONNECTION).is_some_and(|value| value == "close");
        let delimited = match size.exact() {
            _ if bodiless => Delimited::Length(0),
            Some(length) => Delimited::Length(length),
            None if until_close => Delimited::Close,
            None if asked.takes_trailers => Delimited::ChunksAndTrailers,
            None => Delimited::Chunks,
        };
        Self { delimited, bodiless, keeps_alive: asked.keeps_alive && !until_close && !closes, until_close }
    }

    /// Writes the head.
    pub(super) fn write(self, buffer: &mut Vec<u8>, head: &response::Parts, asked: Asked, date: &Date) {
        write_status_line(buffer, asked.version, head.status);
        let fields = &head.headers;
        let switching = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let mut dated = false;
        for (name, value) in fields {
            dated |= *name == DATE;
            // What the body is counts, not what is said of it; only to HEAD and 304 it is what another response would have.
            let of_the_body = *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING;
            let told = *name == CONTENT_LENGTH && (asked.head || head.status == StatusCode::NOT_MODIFIED);
            if (!of_the_body || told) && (switching || *name != CONNECTION) {
                write_field(buffer, name.as_str(), value.as_bytes());
            }
        }
        match self.delimited {
            Delimited::Length(_) if self.bodiless => {}
            Delimited::Length(length) => write_length(buffer, length),
            Delimited::Close => {}
            Delimited::Chunks | Delimited::ChunksAndTrailers => {
                write_field(buffer, TRANSFER_ENCODING.as_str(), b"chunked");
            }
        }
        match asked.version {
            _ if switching => {}
            Version::HTTP_10 if self.keeps_alive => write_field(buffer, CONNECTION.as_str(), b"keep-alive"),
            Version::HTTP_10 => {}
            _ if self.keeps_alive => {}
            _ => write_field(buffer, CONNECTION.as_str(), b"close"),
        }
        if !dated {
            date.write_field(buffer);
        }
        buffer.extend_from_slice(b"\r\n");
    }
}

/// Writes a whole answer of our own to a request that was not parsed, after which the connection ends.
pub(super) fn write_last(buffer: &mut Vec<u8>, answer: Response<Bytes>, to_head: bool, date: &Date) {
    let asked = Asked { version: Version::HTTP_11, head: to_head, takes_trailers: false, keeps_alive: false };
    let (head, body) = answer.into_parts();
    let shape = Shape::new(&head, &SizeHint::with_exact(body.len() as u64), asked);
    shape.write(buffer, &head, asked, date);
    if !shape.bodiless {
        buffer.extend_from_slice(&body);
    }
}

fn write_status_line(buffer: &mut Vec<u8>, version: Version, status: StatusCode) {
    let version: &[u8] = if version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " };
    buffer.extend_from_slice(version);
    buffer.extend_from_slice(status.as_str().as_bytes());
    buffer.push(b' ');
    buffer.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    buffer.extend_from_slice(b"\r\n");
}

fn write_length(buffer: &mut Vec<u8>, length: u64) {
    write_field(buffer, CONTENT_LENGTH.as_str(), itoa::Buffer::new().format(length).as_bytes());
}

#[cfg(test)]
mod tests;
