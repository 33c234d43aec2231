//! An HTTP/2 client frame by frame, which may send what no library would.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bed::within;

/// Types of frames (RFC 9113 6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// How the server ended a connection.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// Error codes of GOAWAY frames.
    pub(crate) goaway: Vec<u32>,
    /// Streams that were reset.
    pub(crate) resets: Vec<u32>,
    /// First bytes of the heads of responses, with their streams: 0x88 is status 200 (RFC 7541 appendix A).
    pub(crate) heads: Vec<(u32, Vec<u8>)>,
}

pub(crate) struct Frames<S = TcpStream> {
    pub(crate) stream: S,
}

/// One frame's bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Header fields as literals that are not indexed (RFC 7541 6.2.2), whatever they contain.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            integer(&mut bytes, text.len());
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// An integer with a prefix of seven bits (RFC 7541 5.1).
fn integer(bytes: &mut Vec<u8>, mut value: usize) {
    if value < 127 {
        bytes.push(u8::try_from(value).unwrap());
        return;
    }
    bytes.push(127);
    value -= 127;
    while value >= 128 {
        bytes.push(u8::try_from(value % 128).unwrap() | 128);
        value /= 128;
    }
    bytes.push(u8::try_from(value).unwrap());
}

/// The head of a plain request.
pub(crate) fn get(host: &str, path: &str) -> Vec<u8> {
    block(&[(":method", "GET"), (":scheme", "http"), (":authority", host), (":path", path)])
}

pub(crate) fn post(host: &str) -> Vec<u8> {
    block(&[(":method", "POST"), (":scheme", "http"), (":authority", host), (":path", "/")])
}

impl Frames {
    /// Connects and sends the preface and these settings.
    pub(crate) async fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), settings).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// Sends the preface and these settings.
    pub(crate) async fn over(stream: S, settings: &[(u16, u32)]) -> Self {
        let mut frames = Self { stream };
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend(name.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &payload));
        assert!(frames.send(&bytes).await);
        frames
    }

    /// False once the server closed the connection.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut header = [0; 9];
        within("a frame", self.stream.read_exact(&mut header)).await.ok()?;
        let [high, middle, low, kind, flags, stream @ ..] = header;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap()];
        within("a frame's payload", self.stream.read_exact(&mut payload)).await.ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// Reads to the end of the connection, answering nothing but settings and pings.
    pub(crate) async fn ending(&mut self) -> Ending {
        let mut ending = Ending::default();
        while let Some(frame) = self.next().await {
            self.note(&mut ending, frame).await;
        }
        ending
    }

    /// Reads until so many streams are reset, or the connection ended.
    pub(crate) async fn until_reset(&mut self, streams: usize) -> Ending {
        let mut ending = Ending::default();
        while ending.resets.len() < streams
            && let Some(frame) = self.next().await
        {
            self.note(&mut ending, frame).await;
        }
        ending
    }

    /// Reads until the stream has a response or is reset, or the connection ended.
    pub(crate) async fn until_answered(&mut self, stream: u32) -> Ending {
        let mut ending = Ending::default();
        while let Some(frame) = self.next().await {
            let last = frame.stream == stream && matches!(frame.kind, HEADERS | RST_STREAM);
            self.note(&mut ending, frame).await;
            if last {
                break;
            }
        }
        ending
    }

    async fn note(&mut self, ending: &mut Ending, frame: Frame) {
        match frame.kind {
            GOAWAY => ending.goaway.push(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap())),
            RST_STREAM => ending.resets.push(frame.stream),
            HEADERS => ending.heads.push((frame.stream, frame.payload)),
            SETTINGS if frame.flags & ACK == 0 => {
                self.send(&self::frame(SETTINGS, ACK, 0, &[])).await;
            }
            PING if frame.flags & ACK == 0 => {
                self.send(&self::frame(PING, ACK, 0, &frame.payload)).await;
            }
            _ => {}
        }
    }

    /// Sends the same bytes again and again until the server closes the connection, and reads what it says meanwhile.
    /// Gives how often they were sent.
    pub(crate) async fn flood(self, bytes: impl Fn(u32) -> Vec<u8>) -> (u32, Ending) {
        let (mut reading, mut writing) = tokio::io::split(self.stream);
        let sending = async {
            let mut sent = 0;
            while writing.write_all(&bytes(sent)).await.is_ok() {
                sent += 1;
            }
            sent
        };
        let mut received = Vec::new();
        let (sent, _) =
            within("the end of a flood", async { tokio::join!(sending, reading.read_to_end(&mut received)) })
                .await;
        (sent, ending_of(&received))
    }
}

/// What the frames in these bytes say. The last one may be cut off.
fn ending_of(mut bytes: &[u8]) -> Ending {
    let mut ending = Ending::default();
    while let Some((header, rest)) = bytes.split_at_checked(9) {
        let length = usize::try_from(u32::from_be_bytes([0, header[0], header[1], header[2]])).unwrap();
        let Some((payload, after)) = rest.split_at_checked(length) else { break };
        let stream = u32::from_be_bytes(header[5..9].try_into().unwrap());
        match header[3] {
            GOAWAY => ending.goaway.push(u32::from_be_bytes(payload[4..8].try_into().unwrap())),
            RST_STREAM => ending.resets.push(stream),
            HEADERS => ending.heads.push((stream, payload.to_vec())),
            _ => {}
        }
        bytes = after;
    }
    ending
}
