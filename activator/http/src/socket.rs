//! One TCP connection as the data path sees it: what it is doing, since when, how many bytes went each way, and whether
//! the peer went away.
//!
//! The socket is shared between the codec that reads and writes it ([`Io`](crate::io::Io)), the sweep that closes what is
//! late, and the exchange that asks whether its client is still there.

use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BufMut;
use futures::task::AtomicWaker;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::pace::{Pace, SoFar};

/// A peer that disappeared without a word is noticed after 30 s + 3 x 10 s.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// How far a connection is on its way to its end, next to the moment at which it was asked to leave.
const STAYS: u64 = 0;
const LET_GO: u64 = u64::MAX - 1;
const CLOSED: u64 = u64::MAX;

/// What a client's connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// The head of a request is expected or arriving.
    Head,
    /// Between requests.
    Idle,
    /// At least one request is being served.
    Busy,
}

/// A TCP connection, its counters and its phase.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    opened: Instant,
    phase: AtomicU8,
    /// Milliseconds after `opened` at which the phase began.
    phase_since: AtomicU64,
    exchanges: AtomicU32,
    /// It speaks HTTP/2: many requests at once, and a way to say goodbye.
    multiplexed: AtomicBool,
    /// Milliseconds after `opened` at which a head began to arrive over HTTP/2, plus 1; 0 while none does.
    head_since: AtomicU64,
    leave: Notify,
    /// Whoever waits for the next request of HTTP/1.
    listener: AtomicWaker,
    /// Milliseconds after `opened` at which it was asked to leave, plus 1, or one of the constants above. It only grows.
    leaving: AtomicU64,
    /// The end of the connection would say that a response is whole which is not.
    delimited_by_close: AtomicBool,
    received: AtomicU64,
    sent: AtomicU64,
    pub(crate) pace: Pace,
}

impl Socket {
    /// Takes a connected stream, switches Nagle's algorithm off and TCP keep-alive on.
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_PROBES);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(Self {
            stream,
            peer,
            opened: Instant::now(),
            phase: AtomicU8::new(Phase::Head as u8),
            phase_since: AtomicU64::new(0),
            exchanges: AtomicU32::new(0),
            multiplexed: AtomicBool::new(false),
            head_since: AtomicU64::new(0),
            leave: Notify::new(),
            listener: AtomicWaker::new(),
            leaving: AtomicU64::new(STAYS),
            delimited_by_close: AtomicBool::new(false),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            pace: Pace::default(),
        })
    }

    /// Has the kernel end the connection when the peer takes nothing of what was sent for this long. It knows better than
    /// we do: what fits into its buffers is gone for us.
    pub(crate) fn give_up_after(&self, longest: Duration) -> io::Result<()> {
        SockRef::from(&self.stream).set_tcp_user_timeout(Some(longest))
    }

    /// When the connection was made, or came to us.
    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Head,
            1 => Phase::Idle,
            _ => Phase::Busy,
        }
    }

    /// How long the present phase lasts.
    pub(crate) fn phase_age(&self) -> Duration {
        self.opened.elapsed().saturating_sub(Duration::from_millis(self.phase_since.load(Relaxed)))
    }

    /// Since when nobody has anything to do with the connection. `None`: somebody has, or it is ending.
    pub(crate) fn quiet_since(&self) -> Option<Instant> {
        let quiet = match self.phase() {
            Phase::Head => self.received() == 0,
            // The exchange ends with the body's last byte, which may be in the codec still.
            Phase::Idle => !self.pace.unsent(),
            Phase::Busy => false,
        };
        let since = Duration::from_millis(self.phase_since.load(Relaxed));
        (quiet && !self.is_leaving()).then(|| self.opened + since)
    }

    fn age_milliseconds(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.opened).as_millis()).unwrap_or(u64::MAX)
    }

    fn enter(&self, phase: Phase, now: Instant) {
        self.phase_since.store(self.age_milliseconds(now), Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    /// The client speaks HTTP/2. No head is awaited then: its frames say when a request begins.
    pub(crate) fn multiplex(&self) {
        self.multiplexed.store(true, Relaxed);
        self.enter(Phase::Idle, Instant::now());
    }

    pub(crate) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Relaxed)
    }

    /// A head began to arrive over HTTP/2, or ended: there it is no phase of the connection.
    pub(crate) fn head_under_way(&self, under_way: bool) {
        self.head_since.store(if under_way { self.age_milliseconds(Instant::now()) + 1 } else { 0 }, Relaxed);
    }

    /// For how long a head has been arriving over HTTP/2.
    pub(crate) fn head_age(&self) -> Option<Duration> {
        let since = self.head_since.load(Relaxed).checked_sub(1)?;
        Some(self.opened.elapsed().saturating_sub(Duration::from_millis(since)))
    }

    /// Asks the codec to end the connection in the way of its protocol. False: somebody did before.
    pub(crate) fn ask_to_leave(&self) -> bool {
        let now = self.age_milliseconds(Instant::now()) + 1;
        // The first time counts.
        let asked = self.leaving.compare_exchange(STAYS, now, Relaxed, Relaxed).is_ok();
        self.leave.notify_one();
        self.listener.wake();
        asked
    }

    /// For a task that waits for the next request of HTTP/1. Ready once it was asked to leave and nothing of a request is here: what
    /// came before the end is still served.
    pub(crate) fn poll_leaves(&self, context: &Context<'_>) -> Poll<()> {
        self.listener.register(context.waker());
        let silent = match self.phase() {
            Phase::Head => self.received() == 0,
            Phase::Idle => true,
            Phase::Busy => false,
        };
        if self.is_leaving() && silent && !self.has_unread() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// There is nothing for the codec to do any more, or its client does not end the connection in the way of its protocol.
    pub(crate) fn let_go(&self) {
        self.leaving.fetch_max(LET_GO, Relaxed);
        self.leave.notify_one();
    }

    /// The connection was asked to end, or is ending.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed) != STAYS
    }

    /// For how long the codec has been asked to end the connection, while it is at it.
    pub(crate) fn leaving_for(&self) -> Option<Duration> {
        let since = Some(self.leaving.load(Relaxed)).filter(|since| (1..LET_GO).contains(since))?;
        Some(self.opened.elapsed().saturating_sub(Duration::from_millis(since - 1)))
    }

    /// The codec has nothing to do any more.
    pub(crate) fn is_let_go(&self) -> bool {
        self.leaving.load(Relaxed) >= LET_GO
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.leaving.load(Relaxed) == CLOSED
    }

    /// Waits until the codec is asked to end the connection.
    pub(crate) async fn asked_to_leave(&self) {
        while !self.is_leaving() {
            self.leave.notified().await;
        }
    }

    /// Waits until the codec is to have nothing to do any more.
    pub(crate) async fn told_to_go(&self) {
        while !self.is_let_go() {
            self.leave.notified().await;
        }
    }

    /// A request of this connection began.
    pub(crate) fn exchange_began(&self, now: Instant) {
        if self.exchanges.fetch_add(1, Relaxed) == 0 {
            self.enter(Phase::Busy, now);
        }
    }

    /// A request of this connection ended.
    pub(crate) fn exchange_ended(&self, now: Instant) {
        if self.exchanges.fetch_sub(1, Relaxed) == 1 {
            self.enter(Phase::Idle, now);
        }
    }

    /// Counts bytes that arrived.
    pub(crate) fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    /// On an idle connection the beginning of a head is here (HTTP/1.1).
    pub(crate) fn head_began(&self) {
        if self.phase() == Phase::Idle {
            self.enter(Phase::Head, Instant::now());
        }
    }

    /// Counts bytes that the kernel took.
    pub(crate) fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    /// Bytes that arrived since the connection was made.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Reads what is there, in one system call. After a short read there was no more: asking again would cost a second one.
    pub(crate) fn try_read(&self, buffer: &mut impl BufMut) -> io::Result<usize> {
        let room = buffer.chunk_mut().len();
        self.try_read_by(room, || self.stream.try_read_buf(buffer))
    }

    /// `read`: the system call.
    fn try_read_by(&self, room: usize, mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
        let mut done = None;
        // The readiness that is given up is the one from before the call: what arrives meanwhile is not missed, on whichever
        // thread the event loop is.
        let tried = self.stream.try_io(Interest::READABLE, || {
            let count = read()?;
            done = Some(count);
            if 0 < count && count < room { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match (done, tried) {
            (Some(count), _) => Ok(count),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Bytes that the kernel took since the connection was made.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    pub(crate) fn so_far(&self) -> SoFar {
        SoFar { received: self.received(), sent: self.sent() }
    }

    /// True once the peer's FIN or reset arrived, even behind bytes that nobody has read. Asks the kernel.
    pub(crate) fn hung_up(&self) -> bool {
        self.poll_now(PollFlags::RDHUP).intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
    }

    /// True once the kernel has nothing left that it did not send at least once. To be asked after [`Self::watch_unsent`].
    pub(crate) fn all_sent(&self) -> bool {
        self.poll_now(PollFlags::OUT).contains(PollFlags::OUT)
    }

    /// From now on the kernel says that there is room only when it has nothing left to send.
    pub(crate) fn watch_unsent(&self) -> io::Result<()> {
        SockRef::from(&self.stream).set_tcp_notsent_lowat(1)
    }

    /// True when bytes (or the end) wait in the kernel.
    pub(crate) fn has_unread(&self) -> bool {
        self.poll_now(PollFlags::IN).contains(PollFlags::IN)
    }

    /// Most bytes that wait in the kernel.
    pub(crate) fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.stream).unwrap_or(u64::MAX)
    }

    fn poll_now(&self, flags: PollFlags) -> PollFlags {
        let mut descriptors = [PollFd::new(&self.stream, flags)];
        match poll(&mut descriptors, Some(&Timespec::default())) {
            Ok(_) => descriptors[0].revents(),
            // Nothing is known; the codec will find out.
            Err(_) => PollFlags::empty(),
        }
    }

    /// Waits until the peer's FIN or reset arrived, without reading.
    pub(crate) async fn hang_up(&self) {
        // Of the interests, this one alone is not woken by bytes that wait unread: tokio reports `READ_CLOSED` with it.
        let interest = Interest::PRIORITY;
        loop {
            match self.stream.ready(interest).await {
                Ok(ready) if !ready.is_read_closed() => {
                    let _ = self.stream.try_io(interest, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                }
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// As `hang_up`, while nobody reads or waits for something to read: costs less.
    pub(crate) async fn hang_up_unread(&self) {
        let readable = poll_fn(|context| self.stream.poll_read_ready(context)).await;
        // Most often it is the end; else the next request, which may wait.
        if readable.is_ok() && !self.hung_up() {
            self.hang_up().await;
        }
    }

    /// A response begins. `delimited`: only the end of the connection says where it ends, so that a close before [`Self::finish`]
    /// has to be a reset.
    pub(crate) fn delimit_by_close(&self, delimited: bool) {
        self.delimited_by_close.store(delimited, Relaxed);
    }

    /// Ends the connection in both directions at once. Whoever reads it gets the end of stream. What would be taken for the end
    /// of a response is a reset instead, which comes once nobody has the connection any more.
    pub(crate) fn close(&self) {
        self.leaving.store(CLOSED, Relaxed);
        let ways = if self.delimited_by_close.load(Relaxed) {
            self.reset_when_dropped();
            // This one tells the peer nothing, and wakes whoever waits for it.
            Shutdown::Read
        } else {
            Shutdown::Both
        };
        // It fails when the peer already closed it, which is what was wanted.
        let _ = SockRef::from(&self.stream).shutdown(ways);
    }

    /// Ends the connection, with a reset once its codec has let it go. Without one a peer that is sending to us hears of the
    /// end only when it has room to send more, which may be never.
    pub(crate) fn reset(&self) {
        self.reset_when_dropped();
        self.close();
    }

    /// The connection ends with a reset, and with nothing else, once nobody has it any more.
    pub(crate) fn reset_when_dropped(&self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Ends the sending side.
    pub(crate) fn finish(&self) -> io::Result<()> {
        self.delimit_by_close(false);
        SockRef::from(&self.stream).shutdown(Shutdown::Write)
    }
}

#[cfg(test)]
mod tests;
