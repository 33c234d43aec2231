//! Reads HTTP/1.1 responses that announce their length off a socket that does not block.

use std::io::{ErrorKind, Read};

use anyhow::{Context, bail};

/// The response that a connection is in the middle of.
#[derive(Debug, Default)]
pub(super) struct ResponseReader {
    head: Vec<u8>,
    /// Status, and the bytes of the body that are still to come; `None` while the head does.
    body: Option<(u16, usize)>,
}

impl ResponseReader {
    /// Reads what is there. Gives the status once the response is complete; an error when the connection is of no more use.
    pub(super) fn read(&mut self, stream: &mut impl Read, buffer: &mut [u8]) -> anyhow::Result<Option<u16>> {
        loop {
            let count = match stream.read(buffer) {
                Ok(0) => bail!("the connection was closed"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error).context("cannot read a response"),
            };
            let mut bytes = &buffer[..count];
            let (status, missing) = if let Some(body) = self.body {
                body
            } else {
                self.head.extend_from_slice(bytes);
                let Some(end) = self.head.windows(4).position(|window| window == b"\r\n\r\n") else {
                    continue;
                };
                let announced = announced(&self.head[..end])?;
                let of_body = self.head.len() - end - 4;
                bytes = &bytes[bytes.len() - of_body..];
                self.head.clear();
                announced
            };
            if bytes.len() > missing {
                bail!("more bytes than the response announced");
            }
            let left = missing - bytes.len();
            self.body = (left > 0).then_some((status, left));
            if left == 0 {
                return Ok(Some(status));
            }
        }
    }
}

/// Status and length.
fn announced(head: &[u8]) -> anyhow::Result<(u16, usize)> {
    let head = std::str::from_utf8(head).context("the response's head is no text")?;
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.with_context(|| format!("no response: {head}"))?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Ok((status, length.context("the response has no length")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the reader makes of these bytes, of which the socket gives `step` at a time.
    fn read(text: &str, step: usize) -> anyhow::Result<Option<u16>> {
        let mut bytes = text.as_bytes();
        ResponseReader::default().read(&mut bytes, &mut vec![0; step])
    }

    #[test]
    fn a_response_is_complete_with_its_last_byte() {
        let whole = "HTTP/1.1 503 Busy\r\nContent-Length: 3\r\n\r\nabc";
        for step in [1, 5, whole.len()] {
            assert_eq!(read(whole, step).unwrap(), Some(503), "{step}");
        }
        let error = read(&whole[..whole.len() - 1], 1_000).unwrap_err();
        assert_eq!(error.to_string(), "the connection was closed");
    }

    #[test]
    fn what_is_no_response_of_known_length_is_an_error() {
        for wrong in
            ["HTTP/1.1 200 OK\r\n\r\n", "SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab"]
        {
            assert!(read(wrong, 1_000).is_err(), "{wrong}");
        }
    }
}
