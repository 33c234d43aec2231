//! An open loop: requests fall due at random moments of a fixed rate, whatever became of those before them.
//!
//! A latency is counted from the moment a request was due, not from when it was sent: the wait behind a slow answer is part of it
//! (no coordinated omission). One thread; a timer of the kernel, as epoll's own timeouts are too coarse.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::Context;
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::closed::{connect, send};
use super::response::ResponseReader;
use crate::statistics::quantile;

const TIMER: Token = Token(usize::MAX);

/// When requests fall due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrivals {
    /// Requests a second.
    pub(crate) rate: f64,
    /// How long.
    pub(crate) length: Duration,
    /// How long the last ones are waited for; what is not answered then is lost.
    pub(crate) patience: Duration,
    /// The same seed, the same moments.
    pub(crate) seed: u64,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// From due to answered with success, in microseconds.
    pub(super) latencies: Vec<f64>,
    /// From due to sent, in microseconds.
    pub(super) lags: Vec<f64>,
    /// Answered with another status than 200.
    pub(crate) refused: usize,
    /// Not answered, by a closed connection or in time.
    pub(crate) lost: usize,
}

/// Open connections to one address, used in turns.
#[derive(Debug)]
pub(crate) struct OpenLoop {
    poll: Poll,
    timer: OwnedFd,
    address: SocketAddr,
    connections: Vec<Connection>,
    idle: VecDeque<usize>,
    request: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    response: ResponseReader,
    /// When the request that is under way was due.
    due: Option<Instant>,
}

impl Outcome {
    /// Microseconds.
    pub(crate) fn latency(&self, share: f64) -> anyhow::Result<f64> {
        quantile(&self.latencies, share).context("nothing was answered")
    }

    /// How late the callers themselves were, in microseconds.
    pub(crate) fn lag(&self, share: f64) -> anyhow::Result<f64> {
        quantile(&self.lags, share).context("nothing was sent")
    }
}

impl OpenLoop {
    pub(crate) fn connect(address: SocketAddr, connections: usize, request: Vec<u8>) -> anyhow::Result<Self> {
        let poll = Poll::new().context("no epoll")?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK);
        let timer = timer.context("no timer")?;
        poll.registry()
            .register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)
            .context("no epoll")?;
        let open = |number| Connection::open(&poll, address, number);
        let connections: Vec<_> = (0..connections).map(open).collect::<anyhow::Result<_>>()?;
        let idle = (0..connections.len()).collect();
        Ok(Self { poll, timer, address, connections, idle, request })
    }

    /// Sends what falls due and waits for the answers.
    pub(crate) fn run(&mut self, arrivals: Arrivals) -> anyhow::Result<Outcome> {
        let Arrivals { rate, length, patience, seed } = arrivals;
        let mut random = StdRng::seed_from_u64(seed);
        // Times between the arrivals of a Poisson process.
        let mut gap = || Duration::from_secs_f64(-(1.0 - random.random::<f64>()).ln() / rate);
        let mut outcome = Outcome::default();
        let mut events = Events::with_capacity(256);
        let mut buffer = vec![0; 64 * 1024];
        let mut waiting: VecDeque<Instant> = VecDeque::new();
        let started = Instant::now();
        let end = started + length;
        let (mut next, mut armed) = (started + gap(), None);
        loop {
            let now = Instant::now();
            while next <= now && next < end {
                waiting.push_back(next);
                next += gap();
            }
            while let Some(due) = waiting.front().copied()
                && let Some(number) = self.idle.pop_front()
            {
                waiting.pop_front();
                self.send(number, due, &mut outcome)?;
            }
            let under_way = self.connections.len() - self.idle.len();
            if next >= end && waiting.is_empty() && under_way == 0 {
                break;
            }
            if now >= end + patience {
                outcome.lost += waiting.len();
                self.give_up(&mut outcome)?;
                break;
            }
            if next < end && armed != Some(next) {
                self.arm(next.saturating_duration_since(now))?;
                armed = Some(next);
            }
            let longest = (end + patience).saturating_duration_since(now).min(Duration::from_millis(100));
            match self.poll.poll(&mut events, Some(longest)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled.context("epoll failed")?,
            }
            for event in events.iter().filter(|event| event.token() != TIMER) {
                self.receive(event.token().0, &mut buffer, &mut outcome)?;
            }
        }
        Ok(outcome)
    }

    fn send(&mut self, number: usize, due: Instant, outcome: &mut Outcome) -> anyhow::Result<()> {
        let connection = &mut self.connections[number];
        outcome.lags.push(microseconds(due.elapsed()));
        if send(&mut connection.stream, &self.request).is_err() {
            outcome.lost += 1;
            return self.renew(number);
        }
        connection.due = Some(due);
        Ok(())
    }

    fn receive(&mut self, number: usize, buffer: &mut [u8], outcome: &mut Outcome) -> anyhow::Result<()> {
        let Some(connection) = self.connections.get_mut(number) else { return Ok(()) };
        match connection.response.read(&mut connection.stream, buffer) {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                // An answer to nothing is not counted, and ends the connection.
                let Some(due) = connection.due.take() else { return self.renew_idle(number) };
                if status == 200 {
                    outcome.latencies.push(microseconds(due.elapsed()));
                } else {
                    outcome.refused += 1;
                }
                self.idle.push_back(number);
                Ok(())
            }
            Err(_) if connection.due.is_some() => {
                outcome.lost += 1;
                self.renew(number)
            }
            // A server may close what is idle.
            Err(_) => self.renew_idle(number),
        }
    }

    fn give_up(&mut self, outcome: &mut Outcome) -> anyhow::Result<()> {
        for number in 0..self.connections.len() {
            if self.connections[number].due.is_some() {
                outcome.lost += 1;
                self.renew(number)?;
            }
        }
        Ok(())
    }

    fn renew_idle(&mut self, number: usize) -> anyhow::Result<()> {
        self.connections[number] = Connection::open(&self.poll, self.address, number)?;
        Ok(())
    }

    /// Another connection in the place of one with a request under way.
    fn renew(&mut self, number: usize) -> anyhow::Result<()> {
        self.renew_idle(number)?;
        self.idle.push_back(number);
        Ok(())
    }

    fn arm(&self, after: Duration) -> anyhow::Result<()> {
        // Zero would disarm it.
        let after = after.max(Duration::from_nanos(1));
        let it_value = Timespec::try_from(after).context("too far away for a timer")?;
        let it_interval = Timespec::default();
        let set =
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value });
        set.map(drop).context("cannot set a timer")
    }
}

impl Connection {
    fn open(poll: &Poll, address: SocketAddr, number: usize) -> anyhow::Result<Self> {
        let mut stream = connect(address)?;
        poll.registry().register(&mut stream, Token(number), Interest::READABLE).context("no epoll")?;
        Ok(Self { stream, response: ResponseReader::default(), due: None })
    }
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
