//! What is wrong with a request that is not taken, in words for its sender: what is at fault, and what is allowed instead.
//!
//! The parser only says that it refuses. Its input is then read once more, line by line, to find out why; nothing that is found here
//! makes a request be taken. Of what the client sent only the name of a field is repeated, and only if it is a short token.

use std::fmt;

use catnap_activator_core::Reason;

use crate::config::{HEAD_BYTES, HEAD_FIELDS, URI_BYTES};

/// Longest name of a field that is repeated.
const NAME_BYTES: usize = 64;

/// Why there is no request. It is answered like any other that is refused, and the connection ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    /// RFC 9112 3.1.
    #[error("the request does not begin with a method, which is made of letters, digits and !#$%&'*+-.^_`|~")]
    Method,
    /// RFC 9112 3.
    #[error("the request line is not a method, a target and a version with one space between them")]
    RequestLine,
    /// RFC 9112 3.2.
    #[error("the request's target is no URI: what a URI may not have is percent-encoded")]
    Target,
    /// RFC 9112 2.3.
    #[error("the request line's version is not served here: it is HTTP/1.1 or HTTP/1.0")]
    Version,
    /// RFC 9112 2.2.
    #[error("{0} has a CR that no LF follows: a line ends with CR LF")]
    BareCarriageReturn(Part),
    /// RFC 9112 5.2.
    #[error("{0} goes on in another line, which begins with a blank: each is one line")]
    Folded(Part),
    /// RFC 9112 5.
    #[error("a line of the head has no colon: a header field is a name, a colon and a value")]
    NoColon,
    /// RFC 9112 5.1.
    #[error("{0} has a blank before its colon: the colon follows the name at once")]
    BlankBeforeColon(Part),
    /// RFC 9110 5.1.
    #[error(
        "a header field's name is empty or has another character than letters, digits and !#$%&'*+-.^_`|~"
    )]
    FieldName,
    /// RFC 9110 5.5.
    #[error("{0} has a control character: of those only the tab is allowed in a value")]
    FieldValue(Part),
    /// RFC 9112 6.1.
    #[error("Transfer-Encoding in a request of HTTP/1.0: it is allowed from HTTP/1.1 on")]
    CodingInHttp10,
    /// RFC 9112 6.1.
    #[error("Transfer-Encoding is not `chunked`, once and alone: no other coding is taken")]
    Coding,
    /// RFC 9112 6.3.
    #[error("{0}: it is one number of decimal digits, at most {max}", max = i64::MAX)]
    Length(&'static str),
    #[error("the head has more than {HEAD_FIELDS} header fields, which is the most that is allowed")]
    TooManyFields,
    #[error(
        "the head has more than {HEAD_BYTES} bytes, which is the most that is allowed; its longest part is {0}"
    )]
    TooLong(Part),
    #[error("the request's target has more than {URI_BYTES} bytes, which is the most that is allowed")]
    TargetTooLong,
    /// Nothing of the above, and no request either.
    #[error("the head is not made as RFC 9112 says")]
    Malformed,
}

impl RequestError {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::TooManyFields | Self::TooLong(_) => Reason::HeadTooLarge,
            Self::TargetTooLong => Reason::UriTooLong,
            _ => Reason::BadRequest,
        }
    }

    /// Why this head is none.
    pub(super) fn find(head: &[u8]) -> Self {
        let mut lines = lines(head);
        let mut before = Part::RequestLine;
        if let Some(error) = lines.next().and_then(request_line_error) {
            return error;
        }
        for line in lines.take_while(|line| !line.is_empty()) {
            if let Some(error) = field_error(line, &before) {
                return error;
            }
            before = Part::of(line);
        }
        Self::Malformed
    }

    /// This beginning of a head has as many bytes as a whole one may have.
    pub(super) fn too_long(beginning: &[u8]) -> Self {
        let target = lines(beginning).next().and_then(|line| line.split(|byte| *byte == b' ').nth(1));
        if target.is_some_and(|target| target.len() > URI_BYTES) {
            return Self::TargetTooLong;
        }
        let longest = lines(beginning).enumerate().max_by_key(|(_, line)| line.len());
        Self::TooLong(match longest {
            Some((1.., line)) => Part::of(line),
            _ => Part::RequestLine,
        })
    }
}

/// A part of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    RequestLine,
    /// A header field, and its name where that can be repeated.
    Field(Option<Box<str>>),
}

impl Part {
    fn named(name: &[u8]) -> Self {
        let name = std::str::from_utf8(name).ok().filter(|name| name.len() <= NAME_BYTES);
        Self::Field(name.filter(|name| is_token(name.as_bytes())).map(Box::from))
    }

    /// The field of this line.
    fn of(line: &[u8]) -> Self {
        let colon = line.iter().position(|byte| *byte == b':');
        colon.map_or(Self::Field(None), |colon| Self::named(line[..colon].trim_ascii_end()))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RequestLine => formatter.write_str("the request line"),
            Self::Field(Some(name)) => write!(formatter, "the header field {name}"),
            Self::Field(None) => formatter.write_str("a header field"),
        }
    }
}

/// Lines, without what ends them.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// RFC 9110 5.6.2.
pub(super) fn is_token(text: &[u8]) -> bool {
    let of_a_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(of_a_token)
}

fn request_line_error(line: &[u8]) -> Option<RequestError> {
    if line.contains(&b'\r') {
        return Some(RequestError::BareCarriageReturn(Part::RequestLine));
    }
    let mut parts = line.split(|byte| *byte == b' ');
    if !parts.next().is_some_and(is_token) {
        return Some(RequestError::Method);
    }
    match (parts.next(), parts.next(), parts.next()) {
        (Some(target), Some(_), None) if target.iter().any(u8::is_ascii_control) => {
            Some(RequestError::Target)
        }
        (Some([_, ..]), Some(b"HTTP/1.1" | b"HTTP/1.0"), None) => None,
        (Some([_, ..]), Some(_), None) => Some(RequestError::Version),
        _ => Some(RequestError::RequestLine),
    }
}

/// `before`: what the line is behind, and may want to be more of.
fn field_error(line: &[u8], before: &Part) -> Option<RequestError> {
    if matches!(line, [b' ' | b'\t', ..]) {
        return Some(RequestError::Folded(before.clone()));
    }
    if line.contains(&b'\r') {
        return Some(RequestError::BareCarriageReturn(Part::of(line)));
    }
    let Some(colon) = line.iter().position(|byte| *byte == b':') else { return Some(RequestError::NoColon) };
    let (name, value) = line.split_at(colon);
    let control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    if is_token(name) {
        value.iter().any(control).then(|| RequestError::FieldValue(Part::named(name)))
    } else if is_token(name.trim_ascii_end()) {
        Some(RequestError::BlankBeforeColon(Part::of(line)))
    } else {
        Some(RequestError::FieldName)
    }
}
