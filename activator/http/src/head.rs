//! The head of a request: checked, cleaned, and written again for each pod that it is sent to.

use std::sync::Arc;
use std::time::Duration;

use catnap_activator_core::{Protocol, Reason, Refusal};
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Uri, Version};
use http_body::Body;

use crate::config::{HEAD_FIELDS, URI_BYTES};
use crate::forwarded::Caller;
use crate::headers::{self, Removed};
use crate::http1::write_field;
use crate::request_body::RequestBody;
use crate::trace::{self, Sampling, Trace};

const NO_HOST: &str = "the request has no Host: exactly one is needed";
const CHUNKED: HeaderValue = HeaderValue::from_static("chunked");
/// What a held request takes besides the bytes of its head: its task, its places in lists.
const OVERHEAD_BYTES: usize = 2 * 1024;

/// What of a request's head goes on to the function.
#[derive(Debug)]
pub(crate) struct Head {
    method: Method,
    path: PathAndQuery,
    /// `Host` or `:authority`, as the client sent it.
    host: HeaderValue,
    headers: HeaderMap,
    removed: Removed,
    version: Version,
    /// Who sent it; `None`: we.
    caller: Option<Arc<Caller>>,
}

impl Head {
    /// Checks what the parser does not.
    pub(crate) fn check(parts: &Parts) -> Result<(), Refusal> {
        if parts.method == Method::CONNECT || parts.method == Method::TRACE {
            let detail = format!("{} is not served: every method but CONNECT and TRACE is", parts.method);
            return Err(Refusal::new(Reason::MethodNotAllowed, detail));
        }
        let path = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
        let length = path + parts.uri.authority().map_or(0, |authority| authority.as_str().len());
        if length > URI_BYTES {
            return Err(Refusal::new(
                Reason::UriTooLong,
                format!("{length} bytes; at most {URI_BYTES} are allowed"),
            ));
        }
        let fields = parts.headers.len();
        if fields > HEAD_FIELDS {
            return Err(Refusal::new(
                Reason::HeadTooLarge,
                format!("{fields} header fields; at most {HEAD_FIELDS} are allowed"),
            ));
        }
        match target_problem(parts).or_else(|| length_problem(&parts.headers)) {
            Some(problem) => Err(Refusal::new(Reason::BadRequest, problem)),
            None => Ok(()),
        }
    }

    /// The one authority that the client names (RFC 9112 3.2, RFC 9113 8.3.1).
    pub(crate) fn host(parts: &Parts) -> Result<HeaderValue, Refusal> {
        let bad = |detail: &str| Err(Refusal::new(Reason::BadRequest, detail));
        let mut hosts = parts.headers.get_all(HOST).iter();
        let host = hosts.next();
        if hosts.next().is_some() {
            return bad("the request has more than one Host: exactly one is needed");
        }
        match (parts.uri.authority(), host) {
            (None, None) => bad(NO_HOST),
            (None, Some(host)) => match host.to_str() {
                Ok(text) if is_host(text) => Ok(host.clone()),
                _ => bad("Host is no host: a name or an address, and perhaps a colon and a port"),
            },
            (Some(authority), _) if authority.as_str().contains('@') => {
                bad("the request's authority names a user: it is a host, and perhaps a colon and a port")
            }
            (Some(authority), Some(host))
                if !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) =>
            {
                bad("the request's authority and its Host differ: both name the same host")
            }
            (Some(_), Some(host)) => Ok(host.clone()),
            // Whoever reads only that would find none (RFC 9112 3.2).
            (Some(_), None) if parts.version == Version::HTTP_11 => bad(NO_HOST),
            (Some(authority), None) => match HeaderValue::from_str(authority.as_str()) {
                Ok(host) => Ok(host),
                Err(_) => bad(
                    "the request's authority is no host: a name or an address, and perhaps a colon and a port",
                ),
            },
        }
    }

    /// Takes the head over, cleaned. Gives the trace too, when it is sampled.
    pub(crate) fn new(
        parts: Parts,
        host: HeaderValue,
        caller: &Arc<Caller>,
        sampling: Option<Sampling>,
    ) -> (Self, Option<Box<Trace>>) {
        let Parts { method, uri, version, mut headers, .. } = parts;
        let removed = headers::clean_request(version, &mut headers);
        let trace = trace::pass_on(&mut headers, sampling);
        let path = uri.into_parts().path_and_query.map_or_else(|| PathAndQuery::from_static("/"), rooted);
        let caller = Some(Arc::clone(caller));
        (Self { method, path, host, headers, removed, version, caller }, trace)
    }

    /// A GET of our own.
    pub(crate) fn get(path: PathAndQuery, host: HeaderValue, headers: HeaderMap) -> Self {
        let (method, version) = (Method::GET, Version::HTTP_11);
        Self { method, path, host, headers, removed: Removed::default(), version, caller: None }
    }

    /// True when sending it twice does what sending it once does (RFC 9110 9.2.2).
    pub(crate) fn idempotent(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
    }

    /// True when the client wants another protocol on its connection.
    pub(crate) fn asks_to_switch(&self) -> bool {
        self.removed.upgrade.is_some()
    }

    /// The protocol that the client wants to switch to, when the pod could.
    pub(crate) fn upgrade(&self, pod: Protocol) -> Option<&HeaderValue> {
        self.removed.upgrade.as_ref().filter(|_| pod == Protocol::Http1)
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The caller of a gRPC call waits for so much longer.
    pub(crate) fn set_grpc_timeout(&mut self, left: Duration) {
        self.headers.insert(headers::GRPC_TIMEOUT, headers::grpc_timeout_of(left));
    }

    /// Memory that it takes, more or less, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let fields = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        self.path.as_str().len() + self.host.len() + fields.sum::<usize>() + OVERHEAD_BYTES
    }

    /// True when the response has no body, whatever its head says.
    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// Writes the head as a pod gets it over HTTP/1.1. Gives the length of the body; `None`: it goes in chunks.
    pub(crate) fn write(&self, buffer: &mut Vec<u8>, body: &RequestBody) -> Option<u64> {
        buffer.extend_from_slice(self.method.as_str().as_bytes());
        buffer.push(b' ');
        buffer.extend_from_slice(self.path.as_str().as_bytes());
        buffer.extend_from_slice(b" HTTP/1.1\r\n");
        write_field(buffer, HOST.as_str(), self.host.as_bytes());
        let replaced = |name: &HeaderName| self.caller.as_ref().is_some_and(|caller| caller.replaces(name));
        let from_http2 = self.version == Version::HTTP_2;
        headers::write_for_http1_pod(buffer, &self.headers, &self.removed, from_http2, replaced);
        if let Some(caller) = &self.caller {
            caller.write(buffer, &self.headers, &self.host);
        }
        // What the body is counts, not what the client said of it: it may have had the field removed by naming it in `Connection`.
        let length = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
        match length {
            Some(0) if !self.headers.contains_key(CONTENT_LENGTH) => {}
            Some(length) => {
                write_field(buffer, CONTENT_LENGTH.as_str(), itoa::Buffer::new().format(length).as_bytes());
            }
            None => write_field(buffer, TRANSFER_ENCODING.as_str(), CHUNKED.as_bytes()),
        }
        buffer.extend_from_slice(b"\r\n");
        length
    }

    /// The request as a pod gets it over HTTP/2.
    pub(crate) fn http2_request(&self, body: RequestBody) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Authority::try_from(self.host.as_bytes()).ok();
        uri.path_and_query = Some(self.path.clone());
        *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
        *request.version_mut() = Version::HTTP_2;
        let mut headers = self.headers.clone();
        if let Some(caller) = &self.caller {
            caller.describe(&mut headers, &self.host);
        }
        headers::for_http2_pod(&mut headers, &self.removed);
        *request.headers_mut() = headers;
        request
    }
}

/// A target in absolute form may have a query and no path; that of the pod's request has one (RFC 9112 3.2.1).
fn rooted(path: PathAndQuery) -> PathAndQuery {
    if path.as_str().starts_with('?') {
        return PathAndQuery::try_from(format!("/{}", path.as_str())).unwrap_or(path);
    }
    path
}

/// A host and perhaps a port (RFC 3986 3.2.2, 3.2.3), without escapes and without a user; looked at where it is.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, port))) => (address, port),
        Some(None) => return false,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let literal = text.starts_with('[');
    let of_a_host = |byte: u8| match byte {
        b':' | b'.' => literal || byte == b'.',
        _ if literal => byte.is_ascii_hexdigit(),
        _ => byte.is_ascii_alphanumeric() || b"-_~!$&'()*+,;=".contains(&byte),
    };
    let is_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
    !host.is_empty() && host.bytes().all(of_a_host) && is_port
}

/// What is wrong with the request's target (RFC 9112 3.2): each form belongs to its methods.
fn target_problem(parts: &Parts) -> Option<&'static str> {
    let path = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
    match path {
        "" => Some("the request's target has no path: it begins with / or is an absolute URI"),
        "*" if parts.method != Method::OPTIONS => {
            Some("the request's target * is for OPTIONS alone: others name a path")
        }
        _ => None,
    }
}

/// What is wrong with the fields that say how long the body is (RFC 9112 6). The parser is content with lists whose members
/// agree, and with codings that nobody here can undo; another reader may not be.
fn length_problem(headers: &HeaderMap) -> Option<&'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => {}
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(CHUNKED.as_bytes()) => {}
        _ => return Some("Transfer-Encoding is not `chunked`, once and alone: no other coding is taken"),
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => None,
        (Some(length), None) if !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit) => {
            None
        }
        _ => Some("Content-Length is not one number of decimal digits"),
    }
}

#[cfg(test)]
mod tests;
