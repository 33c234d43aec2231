//! A pod that writes down every byte it gets and reads them as strictly as RFC 9112 allows, so that it agrees with nobody
//! about anything doubtful.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::pod::Pod;

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) line: String,
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

pub(super) struct Recorder {
    pub(super) pod: Pod,
    requests: Arc<Mutex<Vec<Request>>>,
    doubts: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    /// Answers 200 to every whole request, and to one for `/early` as soon as it has its head.
    pub(super) async fn start() -> Self {
        let (requests, doubts) =
            (Arc::<Mutex<Vec<Request>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (seen, doubtful) = (Arc::clone(&requests), Arc::clone(&doubts));
        let pod = Pod::raw(move |_, mut stream| {
            let (seen, doubtful) = (Arc::clone(&seen), Arc::clone(&doubtful));
            async move {
                let mut unread = Vec::new();
                let mut early = false;
                loop {
                    match parse(&unread) {
                        Ok(Some((request, used))) => {
                            unread.drain(..used);
                            let answer = !early;
                            early = false;
                            seen.lock().push(request);
                            if answer
                                && stream
                                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                                    .await
                                    .is_err()
                            {
                                return;
                            }
                            continue;
                        }
                        Ok(None)
                            if !early
                                && unread.starts_with(b"POST /early ")
                                && head_end(&unread).is_some() =>
                        {
                            early = true;
                            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                        }
                        Ok(None) => {}
                        Err(doubt) => {
                            doubtful.lock().push(doubt);
                            return;
                        }
                    }
                    if !matches!(stream.read_buf(&mut unread).await, Ok(1..)) {
                        return;
                    }
                }
            }
        })
        .await;
        Self { pod, requests, doubts }
    }

    /// The whole requests so far. Nothing in them was doubtful.
    pub(super) fn requests(&self) -> Vec<Request> {
        assert!(self.doubts.lock().is_empty(), "{:?}", self.doubts.lock());
        self.requests.lock().clone()
    }

    pub(super) fn clear(&self) {
        self.requests.lock().clear();
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// The first request, and how many bytes it has. `None`: there is more to come.
fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
    let Some(end) = head_end(bytes) else { return Ok(None) };
    let doubt = |what: &str| Err(format!("{what}: {}", String::from_utf8_lossy(bytes)));
    let head = &bytes[..end - 4];
    let without_ends = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    if head.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r')
        || without_ends.clone().any(|line| line.iter().any(|byte| matches!(byte, b'\r' | 0)))
    {
        return doubt("a bare control character");
    }
    let mut lines = without_ends.map(|line| String::from_utf8_lossy(line).into_owned());
    let line = lines.next().unwrap_or_default();
    if line.split(' ').count() != 3 || !line.ends_with(" HTTP/1.1") {
        return doubt("no request line");
    }
    let mut fields = Vec::new();
    for line in lines {
        match line.split_once(':') {
            Some((name, value)) if !name.is_empty() && !name.contains([' ', '\t']) => {
                fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
            }
            _ => return doubt("no field line"),
        }
    }
    let all = |name: &str| -> Vec<&str> {
        fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str()).collect()
    };
    let rest = &bytes[end..];
    let (body, used) = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => (Vec::new(), 0),
        ([length], []) if length.bytes().all(|digit| digit.is_ascii_digit()) => {
            let length: usize = length.parse().map_err(|_| "a length that is too long".to_owned())?;
            match rest.get(..length) {
                Some(body) => (body.to_vec(), length),
                None => return Ok(None),
            }
        }
        ([], ["chunked"]) => match chunks(rest)? {
            Some(body) => body,
            None => return Ok(None),
        },
        _ => return doubt("no clear length"),
    };
    if all("host").len() != 1 {
        return doubt("not one host");
    }
    Ok(Some((Request { line, fields, body }, end + used)))
}

/// A chunked body and how many bytes it has. Neither extensions nor trailers are to arrive here.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let rest = &bytes[at..];
        let Some(line_end) = rest.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let line = String::from_utf8_lossy(&rest[..line_end]);
        if !line.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(format!("no chunk size: {line}"));
        }
        let size = usize::from_str_radix(&line, 16).map_err(|_| format!("no chunk size: {line}"))?;
        let Some(chunk) = rest.get(line_end + 2..line_end + 2 + size + 2) else { return Ok(None) };
        if !chunk.ends_with(b"\r\n") {
            return Err("a chunk without its end".to_owned());
        }
        body.extend(&chunk[..size]);
        at += line_end + 2 + size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}
