//! Functions to look at again: at once, or together with what else happens to them within a second.
//!
//! While a Function wakes, its Deployment and pods change a dozen times within a few hundred milliseconds, in which the
//! API server and the node have better things to do than to take a new status for each; and while a thousand wake together, than
//! to take a thousand statuses. What needs an answer from here does not wait.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::time::{DelayQueue, delay_queue::Key};

/// How old the news gets that only a status tells.
pub(crate) const SOON: Duration = Duration::from_secs(1);
/// Such news come one after another, at this distance: fifty statuses a second leave room for what requests wait for.
const APART: Duration = Duration::from_millis(20);
/// However many there are, none gets older than this.
const LATEST: Duration = Duration::from_secs(10);

/// Something to look at again.
#[derive(Debug)]
pub(crate) struct Touch<T> {
    pub(crate) what: T,
    pub(crate) when: When,
}

/// When to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Now,
    /// After [`SOON`], once for all that is touched until then.
    Soon,
    /// As [`When::Soon`], or when its turn comes where many are touched.
    InTurn,
}

/// Touches in the order in which they are due; ends with the last sender.
#[derive(Debug)]
pub(crate) struct Touches<T> {
    received: mpsc::UnboundedReceiver<Touch<T>>,
    waiting: DelayQueue<T>,
    keys: HashMap<T, Key>,
    /// When the last of those that wait is due, or was.
    last: Option<Instant>,
}

impl<T: Clone + Eq + Hash> Touches<T> {
    pub(crate) fn new() -> (mpsc::UnboundedSender<Touch<T>>, Self) {
        let (sender, received) = mpsc::unbounded_channel();
        (sender, Self { received, waiting: DelayQueue::new(), keys: HashMap::new(), last: None })
    }

    /// Lets it wait; what waits for its turn may have to come sooner now.
    fn put(&mut self, what: T, in_turn: bool) {
        let now = Instant::now();
        let due = if in_turn { turn(now, self.last) } else { now + SOON };
        match self.keys.entry(what) {
            Entry::Vacant(entry) => {
                let what = entry.key().clone();
                entry.insert(self.waiting.insert_at(what, due));
                if in_turn {
                    self.last = Some(due);
                }
            }
            Entry::Occupied(entry) if due < self.waiting.deadline(entry.get()) => {
                self.waiting.reset_at(entry.get(), due);
            }
            Entry::Occupied(_) => {}
        }
    }
}

impl<T: Clone + Eq + Hash + Unpin> Stream for Touches<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        while let Poll::Ready(received) = this.received.poll_recv(task) {
            match received {
                None => return Poll::Ready(None),
                Some(Touch { what, when: When::Now }) => {
                    if let Some(key) = this.keys.remove(&what) {
                        this.waiting.remove(&key);
                    }
                    return Poll::Ready(Some(what));
                }
                Some(Touch { what, when }) => this.put(what, when == When::InTurn),
            }
        }
        match this.waiting.poll_expired(task) {
            Poll::Ready(Some(due)) => {
                let what = due.into_inner();
                this.keys.remove(&what);
                Poll::Ready(Some(what))
            }
            // Empty: the next touch wakes the task.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// When what is touched now is looked at, behind the `last` one.
fn turn(now: Instant, last: Option<Instant>) -> Instant {
    let turn = last.map_or(now, |last| last + APART);
    turn.clamp(now + SOON, now + LATEST)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    fn touch(what: &'static str, when: When) -> Touch<&'static str> {
        Touch { what, when }
    }

    #[tokio::test(start_paused = true)]
    async fn many_changes_are_one_look_a_second_after_the_first() {
        let (sender, mut touches) = Touches::new();
        let start = Instant::now();
        for what in ["a", "b", "a", "a"] {
            sender.send(touch(what, When::Soon)).unwrap();
        }
        assert_eq!(touches.next().await, Some("a"));
        assert!(start.elapsed() >= SOON && start.elapsed() < SOON + Duration::from_millis(5));
        assert_eq!(touches.next().await, Some("b"));
        sender.send(touch("a", When::Soon)).unwrap();
        assert_eq!(touches.next().await, Some("a"));
        assert!(start.elapsed() >= 2 * SOON);
        drop(sender);
        assert_eq!(touches.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn many_come_one_after_another_and_none_too_late() {
        let (sender, mut touches) = Touches::new();
        let start = Instant::now();
        for what in 0..1_000 {
            sender.send(Touch { what, when: When::InTurn }).unwrap();
        }
        let mut came = Vec::new();
        while came.len() < 1_000 {
            touches.next().await.unwrap();
            came.push(start.elapsed());
        }
        let by = |time: Duration| came.iter().filter(|at| **at <= time).count();
        assert_eq!(by(SOON + APART / 2), 1);
        assert!((190..=202).contains(&by(Duration::from_secs(5))), "{came:?}");
        assert_eq!(by(LATEST + APART), 1_000, "{came:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_urgent_comes_at_once_and_takes_the_rest_along() {
        let (sender, mut touches) = Touches::new();
        let start = Instant::now();
        sender.send(touch("a", When::Soon)).unwrap();
        sender.send(touch("b", When::Soon)).unwrap();
        sender.send(touch("a", When::Now)).unwrap();
        assert_eq!(touches.next().await, Some("a"));
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(touches.next().await, Some("b"));
        drop(sender);
        assert_eq!(touches.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_soon_does_not_wait_behind_what_waits_for_its_turn() {
        let (sender, mut touches) = Touches::new();
        let start = Instant::now();
        for what in 0..1_000 {
            sender.send(Touch { what, when: When::InTurn }).unwrap();
        }
        for what in [999, 1_000] {
            sender.send(Touch { what, when: When::Soon }).unwrap();
        }
        let mut came = HashMap::new();
        while came.len() < 1_001 {
            let what = touches.next().await.unwrap();
            assert_eq!(came.insert(what, start.elapsed()), None, "{what} came twice");
        }
        let limit = SOON + Duration::from_millis(5);
        assert!(came[&999] <= limit && came[&1_000] <= limit, "{:?} {:?}", came[&999], came[&1_000]);
        assert!(came[&998] > 5 * SOON, "{:?}", came[&998]);
    }
}
