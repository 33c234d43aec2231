//! What callers met, with times: everything that a test asserts about its traffic is computed from this afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// One caller of one kind; callers are numbered within their kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Caller {
    pub(crate) kind: Kind,
    pub(crate) number: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// HTTP/1.1, one request after the other over a connection that is kept.
    KeepAlive,
    /// HTTP/1.1, each request over a new connection.
    NewConnections,
    /// HTTP/2: short requests beside a response that takes long.
    Http2,
    /// Requests to functions that went to zero before.
    Cold,
    /// HTTP/1.1 responses that take many seconds.
    Streaming,
    /// A `WebSocket` whose client says goodbye after many seconds.
    WebSocket,
    /// A `WebSocket` whose client never says goodbye.
    Endless,
}

/// What happened to a caller.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// The whole answer to a request, or an echo through a tunnel, as expected.
    Answered { sent: Instant },
    /// The beginning of an answer that takes many seconds.
    Began { sent: Instant },
    /// An answer that says that it waited for a function to wake.
    Cold,
    /// An HTTP/1.1 connection was ended as an answer on it had announced.
    Closed,
    /// An HTTP/2 connection was ended by GOAWAY without an error, after its last stream.
    GoAway,
    /// A tunnel was ended by a FIN.
    Fin { local: SocketAddr },
    /// Nobody took a connection.
    Refused,
    /// A connection ended before the request went out.
    Unsent,
    /// A request that went out and was not answered, or not to the end.
    Lost { local: SocketAddr, what: String },
    /// An answer that is not the one that belongs to the request.
    Wrong { what: String },
}

/// Everything that happened, in order.
#[derive(Default)]
pub(crate) struct Journal {
    entries: Mutex<Vec<(Instant, Caller, Event)>>,
}

impl Journal {
    pub(crate) fn note(&self, caller: Caller, event: Event) {
        // One clock, and ordered as it says: the time is taken under the lock.
        let mut entries = self.entries.lock();
        entries.push((Instant::now(), caller, event));
    }

    /// Goes through all of it.
    pub(crate) fn each(&self, mut visit: impl FnMut(Instant, Caller, &Event)) {
        self.entries.lock().iter().for_each(|(at, caller, event)| visit(*at, *caller, event));
    }

    /// How many events are as asked for.
    pub(crate) fn count(&self, mut is: impl FnMut(Instant, Caller, &Event) -> bool) -> usize {
        let mut count = 0;
        self.each(|at, caller, event| count += usize::from(is(at, caller, event)));
        count
    }

    /// When something happened last.
    pub(crate) fn last(&self, mut is: impl FnMut(&Event) -> bool) -> Option<Instant> {
        let mut last = None;
        self.each(|at, _, event| {
            if is(event) {
                last = Some(at);
            }
        });
        last
    }

    /// Requests answered between two moments; echoes through tunnels are none.
    pub(crate) fn answered(&self, from: Instant, until: Instant) -> usize {
        self.count(|at, caller, event| {
            matches!(event, Event::Answered { .. })
                && !matches!(caller.kind, Kind::WebSocket | Kind::Endless)
                && (from..until).contains(&at)
        })
    }

    /// Fails if anything bad happened that is not `expected`: requests that were lost, wrong answers, connections that
    /// nobody took, and tunnels that were ended by the other side.
    pub(crate) fn nothing_bad_but(
        &self,
        mut expected: impl FnMut(Instant, &Event) -> bool,
    ) -> anyhow::Result<()> {
        let mut bad = Vec::new();
        self.each(|at, caller, event| {
            let is_bad = match event {
                Event::Lost { .. } | Event::Wrong { .. } | Event::Refused => true,
                Event::Fin { .. } => caller.kind == Kind::Endless,
                _ => false,
            };
            if is_bad && !expected(at, event) {
                bad.push(format!("{caller}: {event}"));
            }
        });
        anyhow::ensure!(bad.is_empty(), "{} in all:\n{}", bad.len(), bad[..bad.len().min(20)].join("\n"));
        Ok(())
    }

    /// The callers to whom something happened.
    pub(crate) fn callers(&self, mut is: impl FnMut(Instant, Caller, &Event) -> bool) -> BTreeSet<Caller> {
        let mut callers = BTreeSet::new();
        self.each(|at, caller, event| {
            if is(at, caller, event) {
                callers.insert(caller);
            }
        });
        callers
    }

    /// For each caller, how long after a moment it had its first answer to something that it sent after that moment.
    pub(crate) fn first_answers_after(&self, moment: Instant) -> BTreeMap<Caller, Duration> {
        let mut first = BTreeMap::new();
        self.each(|at, caller, event| {
            if let Event::Answered { sent } | Event::Began { sent } = event
                && *sent >= moment
            {
                first.entry(caller).or_insert(at - moment);
            }
        });
        first
    }

    /// How often each thing happened, for people.
    pub(crate) fn summary(&self) -> String {
        let mut counts: BTreeMap<(Kind, &str), usize> = BTreeMap::new();
        self.each(|_, caller, event| *counts.entry((caller.kind, event.name())).or_default() += 1);
        let line = |((kind, name), count): (&(Kind, &str), &usize)| format!("{kind:?} {name}: {count}");
        counts.iter().map(line).collect::<Vec<_>>().join(", ")
    }
}

impl Event {
    /// Whether the caller has to look for another connection now, without having been told to.
    pub(crate) fn interrupts(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Unsent | Self::Refused)
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Answered { .. } => "answered",
            Self::Began { .. } => "began",
            Self::Cold => "cold",
            Self::Closed => "closed",
            Self::GoAway => "goaway",
            Self::Fin { .. } => "fin",
            Self::Refused => "refused",
            Self::Unsent => "unsent",
            Self::Lost { .. } => "lost",
            Self::Wrong { .. } => "wrong",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { local, what } => write!(formatter, "lost a request from {local}: {what}"),
            Self::Fin { local } => write!(formatter, "its tunnel from {local} was ended"),
            Self::Wrong { what } => write!(formatter, "{what}"),
            other => write!(formatter, "{}", other.name()),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} caller {}", self.kind, self.number)
    }
}
