//! The chunked transfer coding (RFC 9112 7.1), decoded as strictly as it is defined: extensions are dropped, and a line ends with
//! CR LF and nothing else.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::head::{self, fields_end};

/// Longest line with a chunk's size, extensions included.
const LINE_BYTES: usize = 4 * 1024;
/// Longest trailer section.
const TRAILER_BYTES: usize = 16 * 1024;

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
                    let Some(end) = fields_end(read, seen) else {
                        let too_long = read.len() > TRAILER_BYTES;
                        return if too_long {
                            Err("the trailers are too long")
                        } else {
                            Ok(Decoded::Missing)
                        };
                    };
                    let trailers = head::parse_fields(&read.split_to(end).freeze())?;
                    *self = Self::Ended;
                    return Ok(Decoded::Trailers(trailers));
                }
                Self::Ended => return Ok(Decoded::End),
            }
        }
    }

    /// Takes the end of a body without trailers, when it is here whole: most often it came with the last chunk.
    pub(super) fn skip_to_end(&mut self, read: &mut BytesMut) {
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

/// Takes the line with a size. `None`: it is not complete.
fn take_size(read: &mut BytesMut) -> Result<Option<u64>, &'static str> {
    let Some(end) = read.iter().position(|byte| *byte == b'\n') else {
        return if read.len() > LINE_BYTES { Err("a chunk's size is too long") } else { Ok(None) };
    };
    let line = read[..end].strip_suffix(b"\r").ok_or("a chunk's size does not end with CR LF")?;
    if line.len() > LINE_BYTES || line.contains(&b'\r') {
        return Err("a chunk's size is no line");
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
    read.advance(end + 1);
    Ok(Some(size))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// A body, its trailers, and what came after it.
    type Whole = (Vec<u8>, Option<HeaderMap>, Vec<u8>);

    /// Decodes what comes in pieces of this length.
    fn decode(body: &[u8], pieces: usize) -> Result<Whole, &'static str> {
        let (mut chunked, mut read) = (Chunked::default(), BytesMut::new());
        let (mut data, mut trailers) = (Vec::new(), None);
        let mut rest = body.chunks(pieces);
        loop {
            match chunked.decode(&mut read)? {
                Decoded::Data(bytes) => data.extend_from_slice(&bytes),
                Decoded::Trailers(fields) => trailers = Some(fields),
                Decoded::End => {
                    let left = rest.flatten().copied();
                    return Ok((data, trailers, read.iter().copied().chain(left).collect()));
                }
                Decoded::Missing => read.extend_from_slice(rest.next().ok_or("incomplete")?),
            }
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
    #[case(b"5\r;\r\nhello\r\n", "a chunk's size is no line")]
    #[case(b"0\r\nno field\r\n\r\n", "a field is malformed")]
    #[case(b"0\r\n\r\r\n\r\n", "a field is malformed")]
    #[case(b"0\r\n\nHTTP/1.1 200 OK\r\nx: y\r\n\r\n", "a field does not end with CR LF")]
    #[case(b"0\r\nx: y\n\r\n", "a field does not end with CR LF")]
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
        assert_eq!(decode(&size, 100).unwrap_err(), "a chunk's size is too long");
        let mut trailer = b"0\r\nx: ".to_vec();
        trailer.resize(TRAILER_BYTES + 100, b'x');
        assert_eq!(decode(&trailer, 1000).unwrap_err(), "the trailers are too long");
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body: Vec<u8>, pieces in 1_usize..9) {
            let _ = decode(&body, pieces);
        }

        #[test]
        fn what_is_encoded_is_decoded(chunks in proptest::collection::vec(proptest::collection::vec(0_u8.., 1..50), 0..8)) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\n");
            proptest::prop_assert_eq!(decode(&body, 3).unwrap().0, chunks.concat());
        }
    }
}
