//! The time limits of exchanges with pods: one list for each worker, and one sweep that ends what is late.
//!
//! An exchange costs a place in the list and no timer. A list that has nothing urgent is looked through once a second.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use catnap_activator_core::Timeouts;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::Client;
use crate::io::Protocol;
use crate::progress::{Expiry, Progress, Stage};

/// The list is looked through at least this often.
const SELDOM: Duration = Duration::from_secs(1);
/// The list is looked through at most this often, so that a limit is exceeded by no more.
const OFTEN: Duration = Duration::from_millis(50);

/// What goes on without its client ends after this time, where no request is limited.
const UNATTENDED: Duration = Duration::from_secs(300);

/// The limits of one exchange, counted from its dispatch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    dispatched: Instant,
    timeouts: Timeouts,
}

/// Exchanges of one worker that have a limit.
#[derive(Debug)]
pub(crate) struct Deadlines {
    list: Mutex<List>,
    /// One is due before the next look.
    earlier: Notify,
}

#[derive(Debug)]
struct List {
    exchanges: Vec<Exchange>,
    next_look: Instant,
}

#[derive(Debug)]
struct Exchange {
    /// Nothing happens to it before; `None`: nothing at all.
    due: Option<Instant>,
    limits: Limits,
    progress: Arc<Progress>,
    client: Arc<Client>,
    /// Bytes that had moved when it was last looked at, and since when it is no more.
    moved: u64,
    still_since: Instant,
}

impl Limits {
    pub(crate) fn from_now(timeouts: Timeouts) -> Self {
        Self { dispatched: Instant::now(), timeouts }
    }

    /// What counts while there is a client. A gRPC call has a deadline of its own, or none on purpose.
    fn attended(self, grpc: bool) -> Self {
        let timeouts = Timeouts { request: self.timeouts.request.filter(|_| !grpc), ..self.timeouts };
        Self { timeouts, ..self }
    }

    /// The last moment of what goes on without its client.
    pub(crate) fn unattended(&self) -> Instant {
        self.dispatched + self.timeouts.request.unwrap_or(UNATTENDED)
    }

    /// What a caller is told who got no response.
    pub(crate) fn detail(&self, expiry: Expiry) -> String {
        let Timeouts { first_byte, request, inactivity } = self.timeouts;
        let text = |limit: Option<Duration>| format!("{:?}", limit.unwrap_or_default());
        match expiry {
            Expiry::FirstByte => format!("no response began within {}", text(first_byte)),
            Expiry::Request => format!("no response ended within {}", text(request)),
            Expiry::Inactivity => format!("no byte moved for {}", text(inactivity)),
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        let list = List { exchanges: Vec::new(), next_look: Instant::now() };
        Self { list: Mutex::new(list), earlier: Notify::new() }
    }
}

impl Deadlines {
    /// Lists an exchange that is given to a pod, unless it may take for ever.
    pub(crate) fn watch(&self, progress: &Arc<Progress>, client: &Arc<Client>, limits: Limits, grpc: bool) {
        let mut exchange = Exchange {
            due: None,
            limits: limits.attended(grpc),
            progress: Arc::clone(progress),
            client: Arc::clone(client),
            moved: 0,
            still_since: limits.dispatched,
        };
        exchange.moved = exchange.count_moved();
        exchange.due = exchange.next_due(limits.dispatched);
        let Some(due) = exchange.due else { return };
        let mut list = self.list.lock();
        list.exchanges.push(exchange);
        progress.place.store(list.exchanges.len(), Relaxed);
        if due < list.next_look {
            // Once is enough until the list was looked through.
            list.next_look = due;
            drop(list);
            self.earlier.notify_one();
        }
    }

    /// Takes an exchange off the list, if it is on it.
    pub(crate) fn forget(&self, progress: &Progress) {
        let Some(place) = progress.place.swap(0, Relaxed).checked_sub(1) else { return };
        let _forgotten = {
            let mut list = self.list.lock();
            let forgotten = list.exchanges.swap_remove(place);
            if let Some(moved) = list.exchanges.get(place) {
                moved.progress.place.store(place + 1, Relaxed);
            }
            forgotten
        };
    }

    /// Looks through the list for ever.
    pub(crate) async fn keep(&self) {
        loop {
            let next_look = self.sweep(Instant::now());
            tokio::select! {
                () = sleep_until(next_look) => {}
                () = self.earlier.notified() => sleep(OFTEN).await,
            }
        }
    }

    /// Ends what is late. Gives when to look again.
    fn sweep(&self, now: Instant) -> Instant {
        let mut late = Vec::new();
        let next_look = {
            let mut list = self.list.lock();
            let mut next_look = now + SELDOM;
            for exchange in &mut list.exchanges {
                if exchange.due.is_some_and(|due| due <= now)
                    && let Some(expiry) = exchange.look(now)
                {
                    late.push((Arc::clone(&exchange.progress), Arc::clone(&exchange.client), expiry));
                }
                if let Some(due) = exchange.due {
                    next_look = next_look.min(due);
                }
            }
            list.next_look = next_look.max(now + OFTEN);
            list.next_look
        };
        for (progress, client, expiry) in late {
            let begun = progress.expire(expiry);
            // One that does not read is not asked for its response's next bytes, and so would not notice.
            if begun && client.protocol == Protocol::Http1 {
                client.socket.close();
            }
        }
        next_look
    }
}

impl Exchange {
    /// The limit that it exceeded, after which it is not due any more; or it is due later.
    fn look(&mut self, now: Instant) -> Option<Expiry> {
        let moved = self.count_moved();
        if moved != self.moved {
            (self.moved, self.still_since) = (moved, now);
        }
        let exceeded = self.ends().into_iter().find(|(_, end)| end.is_some_and(|end| end <= now));
        self.due = if exceeded.is_some() { None } else { self.next_due(now) };
        exceeded.map(|(expiry, _)| expiry)
    }

    /// When each limit is reached if nothing happens.
    fn ends(&self) -> [(Expiry, Option<Instant>); 3] {
        let Limits { dispatched, timeouts: Timeouts { first_byte, request, inactivity } } = self.limits;
        let stage = self.progress.stage();
        let (head, body) = (stage == Stage::Head, stage == Stage::Body);
        [
            (Expiry::FirstByte, first_byte.filter(|_| head).map(|limit| dispatched + limit)),
            (Expiry::Request, request.filter(|_| head || body).map(|limit| dispatched + limit)),
            (
                Expiry::Inactivity,
                inactivity.filter(|_| stage != Stage::Ended).map(|limit| self.still_since + limit),
            ),
        ]
    }

    /// When to look at it next: bytes have to be counted more often than the limit says, to know when they stopped.
    fn next_due(&self, now: Instant) -> Option<Instant> {
        let ends = self.ends().into_iter().filter_map(|(_, end)| end);
        let count = self.limits.timeouts.inactivity.map(|limit| now + (limit / 10).clamp(OFTEN, SELDOM));
        ends.chain(count).min()
    }

    /// Bytes of the exchange in both directions, heads too where the client's connection is not shared.
    fn count_moved(&self) -> u64 {
        let connection = match self.client.protocol {
            Protocol::Http1 => self.client.socket.sent() + self.client.socket.received(),
            Protocol::Http2 => u64::from(self.progress.stage() != Stage::Head),
        };
        self.progress.request_bytes() + self.progress.response_bytes() + connection
    }
}
