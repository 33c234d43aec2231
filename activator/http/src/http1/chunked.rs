//! The chunked transfer coding (RFC 9112 7.1), decoded as strictly as it is defined: extensions are dropped, and a line ends with
//! CR LF and nothing else.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;
use memchr::memchr;

use super::head::{self, fields_end};

/// Longest line with a chunk's size, extensions included.
const LINE_BYTES: usize = 4 * 1024;
/// Longest trailer section.
const TRAILER_BYTES: usize = 16 * 1024;
/// A chunk of less is rather copied than a piece of its own, each of which costs whoever passes it on.
const SMALL_BYTES: usize = 1024;

/// How far the body is.
#[derive(Debug, Default)]
pub(super) enum Chunked {
    /// A chunk's size is expected.
    #[default]
    Size,
    /// This many bytes of a chunk are to come.
    Data(u64),
    /// The line break behind a chunk.
    DataEnd,
    /// The trailer section, of which this many bytes were looked at.
    Trailers(usize),
    Ended,
}

/// What was decoded.
#[derive(Debug)]
pub(super) enum Decoded {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    /// More has to be read.
    Missing,
}

impl Decoded {
    /// `None`: the end.
    pub(super) fn into_frame(self) -> Option<Frame<Bytes>> {
        match self {
            Self::Data(data) => Some(Frame::data(data)),
            Self::Trailers(trailers) => Some(Frame::trailers(trailers)),
            Self::End | Self::Missing => None,
        }
    }
}

impl Chunked {
    /// The next piece of the body.
    pub(super) fn decode(&mut self, read: &mut BytesMut) -> Result<Decoded, &'static str> {
        loop {
            match self {
                Self::Size => {
                    let Some(size) = take_size(read)? else { return Ok(Decoded::Missing) };
                    *self = if size == 0 { Self::Trailers(0) } else { Self::Data(size) };
                }
                Self::Data(_) if read.is_empty() => return Ok(Decoded::Missing),
                Self::Data(left) => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
                    *left -= count as u64;
                    if *left == 0 {
                        *self = Self::DataEnd;
                    }
                    return Ok(Decoded::Data(read.split_to(count).freeze()));
                }
                Self::DataEnd => {
                    if !b"\r\n".starts_with(&read[..read.len().min(2)]) {
                        return Err("a chunk is longer than its size");
                    }
                    if read.len() < 2 {
                        return Ok(Decoded::Missing);
                    }
                    read.advance(2);
                    *self = Self::Size;
                }
                Self::Trailers(_) if read.starts_with(b"\r\n") => {
                    read.advance(2);
                    *self = Self::Ended;
                    return Ok(Decoded::End);
                }
                Self::Trailers(seen) => {
                    let end = fields_end(read, seen);
                    if end.unwrap_or(read.len()) > TRAILER_BYTES {
                        return Err("the trailers have more than 16 KiB");
                    }
                    let Some(end) = end else { return Ok(Decoded::Missing) };
                    let trailers = head::parse_fields(&read.split_to(end).freeze())?;
                    *self = Self::Ended;
                    return Ok(Decoded::Trailers(trailers));
                }
                Self::Ended => return Ok(Decoded::End),
            }
        }
    }

    /// As `decode`; a piece comes with what is here whole behind it: other small chunks when it is a small one, and the end of a
    /// body without trailers. What is wrong behind it is found the next time.
    pub(super) fn decode_ahead(&mut self, read: &mut BytesMut) -> Result<Decoded, &'static str> {
        let mut data = match self.decode(read)? {
            Decoded::Data(data) => data,
            other => return Ok(other),
        };
        if data.len() < SMALL_BYTES && matches!(self, Self::DataEnd) {
            data = join_small(data, read);
        }
        self.skip_to_end(read);
        Ok(Decoded::Data(data))
    }

    /// Takes the end of a body without trailers, when it is here whole: most often it came with the last chunk.
    fn skip_to_end(&mut self, read: &mut BytesMut) {
        const END: &[u8] = b"\r\n0\r\n\r\n";
        if matches!(self, Self::DataEnd) && read.starts_with(END) {
            read.advance(END.len());
            *self = Self::Ended;
        }
    }

    /// Bytes that are known to come.
    pub(super) fn expected(&self) -> u64 {
        match self {
            Self::Data(left) => *left,
            _ => 0,
        }
    }

    pub(super) fn ended(&self) -> bool {
        matches!(self, Self::Ended)
    }
}

/// A small chunk with the small ones behind it that are here whole. `read` begins with the line break behind it, as afterwards.
fn join_small(first: Bytes, read: &mut BytesMut) -> Bytes {
    let mut joined = BytesMut::new();
    while let Some(chunk) = small_chunk(read) {
        if joined.is_empty() {
            joined.reserve(SMALL_BYTES);
            joined.extend_from_slice(&first);
        }
        joined.extend_from_slice(&read[chunk.clone()]);
        read.advance(chunk.end);
    }
    if joined.is_empty() { first } else { joined.freeze() }
}

/// Where the data of the next chunk is, behind a line break and the line with its size, if it is a small one and here whole.
fn small_chunk(read: &[u8]) -> Option<Range<usize>> {
    const BREAK: &[u8] = b"\r\n";
    let (size, line) = size_line(read.strip_prefix(BREAK)?).ok()??;
    let size = usize::try_from(size).ok().filter(|size| (1..SMALL_BYTES).contains(size))?;
    let begin = BREAK.len() + line;
    Some(begin..begin + size).filter(|chunk| chunk.end <= read.len())
}

/// Takes the line with a size. `None`: it is not complete.
fn take_size(read: &mut BytesMut) -> Result<Option<u64>, &'static str> {
    let Some((size, line)) = size_line(read)? else { return Ok(None) };
    read.advance(line);
    Ok(Some(size))
}

/// The size that the first line says, and the length of the line with its end. `None`: it is not complete.
fn size_line(read: &[u8]) -> Result<Option<(u64, usize)>, &'static str> {
    let Some(end) = memchr(b'\n', read) else {
        // The line's end may have begun.
        return if read.len() > LINE_BYTES + 1 {
            Err("the line of a chunk's size has more than 4 KiB")
        } else {
            Ok(None)
        };
    };
    let line = read[..end].strip_suffix(b"\r").ok_or("a chunk's size does not end with CR LF")?;
    if line.len() > LINE_BYTES || line.contains(&b'\r') {
        return Err("the line of a chunk's size has more than 4 KiB or a CR in it");
    }
    let digits = line.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next().unwrap_or_default();
    // Sixteen hexadecimal digits are all that 64 bits hold.
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err("a chunk's size is no hexadecimal number");
    }
    let rest = &line[digits.len()..];
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    if !matches!(rest.get(blanks), None | Some(b';')) {
        return Err("a chunk's size is no hexadecimal number");
    }
    let size = std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let size = size.ok_or("a chunk's size is no hexadecimal number")?;
    Ok(Some((size, end + 1)))
}

#[cfg(test)]
mod tests;
