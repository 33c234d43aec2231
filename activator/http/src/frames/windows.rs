//! How much of each response the client lets come (RFC 9113 5.2 and 6.9), and which ones it does not take.
//!
//! The codec knows as much and does not tell. What a client takes is a matter of each stream: one that stands still is no
//! reason to end the others.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::STREAMS;
use crate::pace::least_bytes;

/// What a client lets the connection, and each stream, have until it says otherwise, in bytes.
const FIRST_WINDOW: i64 = 65_535;

/// Most streams that are followed: more than the codec serves at once, with those that it is about to refuse. Once it said its last
/// word on new ones (GOAWAY) it passes over them without an answer, so that nothing would ever end them here.
const MOST: usize = 4 * STREAMS as usize;

/// The windows of one connection's client, and its streams whose answer has not left whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Windows {
    connection: i64,
    /// Of a stream that begins.
    first: i64,
    /// The highest stream so far.
    latest: u32,
    streams: HashMap<u32, Stream>,
    /// Some stream's window may have come to its end since the last look.
    look: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Stream {
    window: i64,
    /// The head of its response left.
    answered: bool,
    /// Bytes of its response that left.
    sent: u64,
    mark: Option<Mark>,
}

/// Where a response was when its client began to be waited for, or when it last took enough.
#[derive(Debug, PartialEq, Eq)]
struct Mark {
    at: Instant,
    sent: u64,
}

impl Stream {
    /// There may be more of the response, and the client has to open the window for it.
    fn waits(&self) -> bool {
        self.answered && self.window <= 0
    }
}

impl Windows {
    pub(super) fn new() -> Self {
        Self {
            connection: FIRST_WINDOW,
            first: FIRST_WINDOW,
            latest: 0,
            streams: HashMap::new(),
            look: false,
        }
    }

    /// A head arrived: of a request, or the trailers of one.
    pub(super) fn begin(&mut self, stream: u32) {
        if stream > self.latest {
            self.latest = stream;
            if self.streams.len() < MOST {
                let begun = Stream { window: self.first, answered: false, sent: 0, mark: None };
                self.streams.insert(stream, begun);
            }
        }
    }

    /// Nothing more of its response comes.
    pub(super) fn end(&mut self, stream: u32) {
        self.streams.remove(&stream);
    }

    /// The client takes this many bytes more. Stream 0: of all streams together.
    pub(super) fn open(&mut self, stream: u32, bytes: u32) {
        if stream == 0 {
            self.connection = self.connection.saturating_add(bytes.into());
        } else if let Some(stream) = self.streams.get_mut(&stream) {
            stream.window = stream.window.saturating_add(bytes.into());
        }
    }

    /// The client wants its streams to begin with this window, those that have begun included (RFC 9113 6.9.2).
    pub(super) fn set_first(&mut self, bytes: u32) {
        let more = i64::from(bytes) - self.first;
        self.first = bytes.into();
        for stream in self.streams.values_mut() {
            stream.window = stream.window.saturating_add(more);
        }
        self.look = true;
    }

    /// The head of a response left.
    pub(super) fn answer(&mut self, stream: u32) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.answered = true;
            self.look |= stream.waits();
        }
    }

    /// Bytes of a response left.
    pub(super) fn send(&mut self, stream: u32, bytes: u32) {
        self.connection = self.connection.saturating_sub(bytes.into());
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.window = stream.window.saturating_sub(bytes.into());
            stream.sent += u64::from(bytes);
            self.look |= stream.waits();
        }
    }

    /// Streams whose answer has not left whole.
    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    #[cfg(test)]
    pub(super) fn has(&self, stream: u32) -> bool {
        self.streams.contains_key(&stream)
    }

    /// True when a look at [`Windows::late`] is due, some time from now.
    pub(super) fn want_a_look(&self) -> bool {
        self.look
    }

    /// True when the response stands still because of its own window.
    pub(super) fn waits(&self, stream: u32) -> bool {
        self.streams.get(&stream).is_some_and(Stream::waits)
    }

    /// True when it is the connection's window alone that stops responses.
    pub(super) fn connection_closed(&self) -> bool {
        self.connection <= 0
            && self.streams.values().any(|stream| stream.answered)
            && !self.streams.values().any(Stream::waits)
    }

    /// To be asked once a second while somebody [wants](Windows::want_a_look) that. The streams whose client took too little
    /// in the `longest` time that it was waited for.
    pub(super) fn late(&mut self, longest: Duration, now: Instant) -> Vec<u32> {
        let mut late = Vec::new();
        self.look = false;
        for (number, stream) in &mut self.streams {
            if !stream.waits() {
                stream.mark = None;
                continue;
            }
            self.look = true;
            match &stream.mark {
                Some(mark) if now.saturating_duration_since(mark.at) < longest => {}
                Some(mark) if stream.sent - mark.sent < least_bytes(longest) => late.push(*number),
                _ => stream.mark = Some(Mark { at: now, sent: stream.sent }),
            }
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::LEAST_BYTES_A_SECOND;

    const LONGEST: Duration = Duration::from_secs(60);

    /// In which second a stream is late whose client opens its window by so many bytes in each.
    fn late_after(opened: u32) -> Option<u64> {
        let start = Instant::now();
        let mut windows = Windows::new();
        windows.begin(1);
        windows.answer(1);
        windows.send(1, 65_535);
        (0..200).find(|second| {
            windows.open(1, opened);
            windows.send(1, opened);
            windows.late(LONGEST, start + Duration::from_secs(*second)) == [1]
        })
    }

    #[test]
    fn who_takes_too_little_is_late() {
        let enough = u32::try_from(LEAST_BYTES_A_SECOND).unwrap();
        assert_eq!(late_after(0), Some(60));
        assert_eq!(late_after(enough - 1), Some(60), "a drop now and then buys no time");
        assert_eq!(late_after(enough), None);
    }

    #[test]
    fn only_what_stands_still_because_of_its_client_is_late() {
        let start = Instant::now();
        let mut windows = Windows::new();
        for stream in [1, 3, 5, 7] {
            windows.begin(stream);
        }
        // Nothing of 1 came yet, 3 takes more, 5 and 7 do not.
        windows.set_first(10);
        for stream in [3, 5, 7] {
            windows.answer(stream);
        }
        windows.send(3, 9);
        windows.send(5, 10);
        windows.send(7, 10);
        assert!(windows.want_a_look());
        assert!(windows.late(LONGEST, start).is_empty());
        windows.open(7, 1);
        assert!(windows.late(LONGEST, start + LONGEST / 2).is_empty());
        windows.send(7, 1);
        assert_eq!(windows.late(LONGEST, start + LONGEST), [5], "7 was taken on meanwhile");
        windows.end(5);
        windows.end(7);
        assert!(windows.late(LONGEST, start + 3 * LONGEST).is_empty());
        assert!(!windows.want_a_look());
    }

    #[test]
    fn no_more_streams_are_followed_than_there_may_be() {
        let mut windows = Windows::new();
        for number in 0..100_000 {
            windows.begin(2 * number + 1);
        }
        assert_eq!(windows.streams(), MOST);
        windows.end(1);
        windows.begin(300_001);
        assert!(windows.has(300_001), "there is room again");
    }

    #[test]
    fn a_smaller_first_window_may_stop_a_response() {
        let mut windows = Windows::new();
        windows.begin(1);
        windows.answer(1);
        windows.send(1, 100);
        assert!(!windows.waits(1));
        windows.set_first(100);
        assert!(windows.waits(1) && windows.want_a_look());
    }

    #[test]
    fn the_connections_window_counts_when_no_stream_is_to_blame() {
        let mut windows = Windows::new();
        windows.set_first(100_000);
        windows.begin(1);
        windows.begin(3);
        windows.answer(1);
        windows.send(1, 65_535);
        assert!(windows.connection_closed() && !windows.waits(1));
        windows.open(0, 34_465);
        assert!(!windows.connection_closed());
        windows.send(1, 34_465);
        assert!(windows.waits(1) && !windows.connection_closed());
    }
}
