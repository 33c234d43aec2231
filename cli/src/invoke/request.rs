//! What is sent: the parts of a request as they are written on the command line.

use std::fs::File;
use std::io::{self, Read};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};

use super::Arguments;

/// Largest body: it is kept in memory, and this is no tool to move files.
pub(super) const MAX_BYTES: u64 = 64 << 20;

/// A header's name and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header(pub(super) HeaderName, pub(super) HeaderValue);

/// Why there is no body to send.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataError {
    /// A file, or standard input, that cannot be read.
    #[error("cannot read the request's body from {from}")]
    Read {
        /// Which.
        from: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// More than is sent.
    #[error("the request's body from {from} is larger than {} MiB", MAX_BYTES >> 20)]
    TooLarge {
        /// Which.
        from: String,
    },
}

/// A method's name.
pub(super) fn method(text: &str) -> Result<Method, String> {
    match Method::from_bytes(text.to_uppercase().as_bytes()) {
        Ok(method) if method != Method::CONNECT => Ok(method),
        _ => Err("write a method such as GET or POST; CONNECT is not served".to_owned()),
    }
}

/// `NAME: VALUE`.
pub(super) fn header(text: &str) -> Result<Header, String> {
    let parsed = text.split_once(':').and_then(|(name, value)| {
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        Some(Header(name, HeaderValue::from_str(value.trim()).ok()?))
    });
    parsed.ok_or_else(|| "write NAME: VALUE, such as 'Accept: text/plain'".to_owned())
}

/// A path with or without a query.
pub(super) fn path(text: &str) -> Result<Uri, String> {
    let parsed = text.parse::<Uri>().ok().filter(|_| text.starts_with('/'));
    parsed.ok_or_else(|| "write a path that begins with '/', and blanks in it as %20".to_owned())
}

/// The bytes that `--data` means: `-` is `input`, `@FILE` a file, everything else itself.
pub(super) fn body(data: &str, input: impl Read) -> Result<Bytes, DataError> {
    if data == "-" {
        return read("standard input", Ok(input));
    }
    match data.strip_prefix('@') {
        Some(path) => read(path, File::open(path)),
        None => Ok(Bytes::copy_from_slice(data.as_bytes())),
    }
}

fn read(from: &str, opened: io::Result<impl Read>) -> Result<Bytes, DataError> {
    let mut bytes = Vec::new();
    let done = opened.and_then(|input| input.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    done.map_err(|source| DataError::Read { from: from.to_owned(), source })?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(DataError::TooLarge { from: from.to_owned() });
    }
    Ok(bytes.into())
}

/// The request; a header of the command line replaces one that would be sent by itself.
pub(super) fn request(
    arguments: &Arguments,
    host: &str,
    body: Option<Bytes>,
) -> Result<Request<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let implied = if body.is_some() { Method::POST } else { Method::GET };
    let mut request = Request::builder()
        .method(arguments.method.clone().unwrap_or(implied))
        .uri(arguments.path.clone())
        .header(HOST, host)
        .header(USER_AGENT, concat!("catnap/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(body.unwrap_or_default()))?;
    let headers = request.headers_mut();
    for Header(name, _) in &arguments.headers {
        headers.remove(name);
    }
    for Header(name, value) in &arguments.headers {
        headers.append(name, value.clone());
    }
    Ok(request)
}
