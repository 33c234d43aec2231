//! Whose turn it is to ask the API server: a bounded number at once, so that what requests wait for is never behind much else.
//!
//! A server that answers 429 is left alone by everybody, for as long as it says, and by lists alone when it was a list that it
//! refused: lists cost it more, and no request waits for one. A server that is slow is given more time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::pause::Pause;

/// Shortest and longest time that an answer is waited for.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(8);

/// Whether requests wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Raises, and reads for them.
    Now,
    /// Lower counts, and lists for them: they have at most half of the turns.
    Later,
}

/// The turns of one process.
#[derive(Debug)]
pub(super) struct Turns {
    all: Semaphore,
    later: Semaphore,
    /// The API server wants to be left alone.
    pause: Pause,
    /// By lists.
    list_pause: Pause,
    /// Milliseconds that an answer is waited for.
    patience: AtomicU64,
}

/// One turn; over when it is dropped.
pub(super) struct Turn<'turns> {
    _later: Option<SemaphorePermit<'turns>>,
    _any: Option<SemaphorePermit<'turns>>,
}

impl Turns {
    pub(super) fn new(at_once: usize) -> Self {
        let at_once = at_once.max(1);
        Self {
            all: Semaphore::new(at_once),
            later: Semaphore::new((at_once / 2).max(1)),
            pause: Pause::new(),
            list_pause: Pause::new(),
            patience: AtomicU64::new(milliseconds(SHORTEST)),
        }
    }

    /// Waits for a turn, and for the end of a pause.
    pub(super) async fn take(&self, urgency: Urgency) -> Turn<'_> {
        // No semaphore here is ever closed, so there is always a permit.
        let later = match urgency {
            Urgency::Now => None,
            Urgency::Later => self.later.acquire().await.ok(),
        };
        let any = self.all.acquire().await.ok();
        self.pause.over().await;
        Turn { _later: later, _any: any }
    }

    /// As [`Self::take`], for a list, which waits for the end of a pause of lists, too; it takes nobody's turn meanwhile.
    pub(super) async fn take_for_list(&self) -> Turn<'_> {
        loop {
            self.list_pause.over().await;
            let turn = self.take(Urgency::Later).await;
            if self.list_pause.is_over() {
                return turn;
            }
        }
    }

    /// Nobody asks for so long.
    pub(super) fn pause(&self, length: Duration) {
        self.pause.extend(length);
    }

    /// Nobody lists for so long.
    pub(super) fn pause_lists(&self, length: Duration) {
        self.list_pause.extend(length);
    }

    /// How long an answer is waited for now.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience.load(Ordering::Relaxed))
    }

    /// An answer came after so long: a server that is fast again is waited for less.
    pub(super) fn answered(&self, after: Duration) {
        let patience = self.patience();
        if after < patience / 4 {
            self.change(patience, (patience / 2).max(SHORTEST));
        }
    }

    /// No answer came, though it was waited for so long: what is only slow must be given the time one day.
    pub(super) fn gave_up(&self, after: Duration) {
        self.change(after, (2 * after).min(LONGEST));
    }

    /// Only once for all that waited equally long.
    fn change(&self, from: Duration, to: Duration) {
        let (from, to) = (milliseconds(from), milliseconds(to));
        // Somebody else has changed it then.
        let _ = self.patience.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }
}

fn milliseconds(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::time::{Instant, advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_can_wait_leaves_half_of_the_turns_to_what_cannot() {
        let turns = Turns::new(8);
        let mut taken = Vec::new();
        while let Some(turn) = turns.take(Urgency::Later).now_or_never() {
            taken.push(turn);
        }
        assert_eq!(taken.len(), 4);
        while let Some(turn) = turns.take(Urgency::Now).now_or_never() {
            taken.push(turn);
        }
        assert_eq!(taken.len(), 8);
        assert!(Turns::new(1).take(Urgency::Later).now_or_never().is_some(), "a single one is for both");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_for_everybody_and_the_longest_counts() {
        let turns = Turns::new(8);
        turns.pause(Duration::from_secs(5));
        turns.pause(Duration::from_secs(2));
        let began = Instant::now();
        drop(turns.take(Urgency::Now).await);
        assert_eq!(began.elapsed(), Duration::from_secs(5));
        drop(turns.take(Urgency::Later).await);
        assert_eq!(began.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_for_those_too_that_wait_for_their_turn_when_it_begins() {
        let turns = Turns::new(1);
        let began = Instant::now();
        let first = turns.take(Urgency::Now).await;
        let next = async {
            drop(turns.take(Urgency::Now).await);
            began.elapsed()
        };
        let throttled = async {
            advance(Duration::from_secs(1)).await;
            turns.pause(Duration::from_secs(3));
            drop(first);
        };
        assert_eq!(futures::join!(next, throttled).0, Duration::from_secs(4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_lists_is_for_them_alone_and_takes_no_turn() {
        let turns = Turns::new(2);
        turns.pause_lists(Duration::from_secs(5));
        let began = Instant::now();
        let mut list = std::pin::pin!(turns.take_for_list());
        assert!(list.as_mut().now_or_never().is_none());
        assert!(turns.take(Urgency::Later).now_or_never().is_some());
        drop(list.await);
        assert_eq!(began.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_server_is_given_more_time_and_a_fast_one_less_again() {
        let turns = Turns::new(8);
        advance(Duration::from_secs(1)).await;
        for _ in 0..32 {
            turns.gave_up(Duration::from_secs(1));
        }
        assert_eq!(turns.patience(), Duration::from_secs(2), "they all waited for the same");
        for waited in [2, 4, 8, 8] {
            turns.gave_up(Duration::from_secs(waited));
        }
        assert_eq!(turns.patience(), LONGEST);
        turns.gave_up(Duration::from_secs(1));
        assert_eq!(turns.patience(), LONGEST, "a zero, or a call of before, was waited for less");
        turns.answered(Duration::from_secs(5));
        assert_eq!(turns.patience(), LONGEST, "it was needed");
        for _ in 0..9 {
            turns.answered(Duration::from_millis(3));
        }
        assert_eq!(turns.patience(), SHORTEST);
    }
}
