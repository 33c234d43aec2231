//! Objects that somebody changes again whenever they are put right, by another way than a webhook. They are still put right,
//! but less and less often: two controllers that answer each other's writes at once would never rest.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Writes in a row that are put down to people and to controllers that have just come.
const FREE: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// An object that is left alone for this long after it was put right is at peace.
const PEACE: Duration = Duration::from_secs(60);
/// Objects remembered at most. Beyond that all are forgotten, which gives each of them its free writes again.
const MOST: usize = 10_000;

/// Objects that were put right lately, by UID.
#[derive(Debug, Default)]
pub(crate) struct Contests(Mutex<HashMap<String, Contest>>);

/// What is known of one of them.
#[derive(Clone, Debug)]
struct Contest {
    /// How often in a row it was put right.
    writes: u32,
    last: Instant,
    /// The first field that was not as it should be.
    path: String,
}

impl Contests {
    /// The field for which a write to the object with this UID has to wait; `None` when it may be written.
    pub(crate) fn pause(&self, uid: &str) -> Option<String> {
        self.path(uid, |contest| contest.last.elapsed() < contest.pause())
    }

    /// The field of an object that was fought over until a moment ago.
    pub(crate) fn last(&self, uid: &str) -> Option<String> {
        self.path(uid, |contest| contest.writes >= FREE && contest.last.elapsed() < PEACE)
    }

    /// Counts that `path` of an object was put right.
    pub(crate) fn wrote(&self, uid: &str, path: &str) {
        let mut known = self.0.lock();
        let before = known.get(uid).filter(|contest| !contest.is_over()).map_or(0, |contest| contest.writes);
        if known.len() >= MOST {
            known.clear();
        }
        let contest =
            Contest { writes: before.saturating_add(1), last: Instant::now(), path: path.to_owned() };
        known.insert(uid.to_owned(), contest);
    }

    fn path(&self, uid: &str, holds: impl FnOnce(&Contest) -> bool) -> Option<String> {
        let known = self.0.lock();
        known.get(uid).filter(|contest| holds(contest)).map(|contest| contest.path.clone())
    }
}

impl Contest {
    /// How long after the last write the next one may be.
    fn pause(&self) -> Duration {
        let doublings = self.writes.checked_sub(FREE);
        doublings.map_or(Duration::ZERO, |count| {
            FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(count)).min(LONGEST_PAUSE)
        })
    }

    /// Whether it stayed as it was put for so long that the next change is the first one of another story.
    fn is_over(&self) -> bool {
        self.last.elapsed() > self.pause().saturating_mul(2) + PEACE
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_answers_every_write_is_answered_less_and_less_often() {
        let contests = Contests::default();
        for _ in 1..FREE {
            assert_eq!((contests.pause("u"), contests.last("u")), (None, None));
            contests.wrote("u", "spec.a");
        }
        assert_eq!(contests.last("u"), None);
        contests.wrote("u", "spec.b");
        for seconds in [30, 60, 120, 240, 480, 600, 600] {
            assert_eq!(contests.last("u").as_deref(), Some("spec.b"));
            advance(Duration::from_secs(seconds - 1)).await;
            assert_eq!(contests.pause("u").as_deref(), Some("spec.b"), "{seconds}");
            assert_eq!(contests.pause("v"), None, "another one's");
            advance(Duration::from_secs(1)).await;
            assert_eq!(contests.pause("u"), None, "{seconds}");
            contests.wrote("u", "spec.b");
        }
        advance(PEACE).await;
        assert_eq!(contests.last("u"), None, "told for a minute, whatever the pause is");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_alone_for_long_enough_is_forgotten() {
        let contests = Contests::default();
        for _ in 0..10 {
            contests.wrote("u", "spec.a");
            advance(PEACE + Duration::from_secs(1)).await;
        }
        assert_eq!((contests.pause("u"), contests.last("u")), (None, None));
        for _ in 0..=FREE {
            contests.wrote("u", "spec.a");
        }
        assert_eq!(contests.0.lock()["u"].pause(), Duration::from_secs(60));
        advance(Duration::from_secs(180)).await;
        contests.wrote("u", "spec.a");
        assert_eq!(contests.0.lock()["u"].writes, FREE + 2);
        advance(Duration::from_secs(301)).await;
        contests.wrote("u", "spec.a");
        assert_eq!(contests.0.lock()["u"].writes, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_is_bounded() {
        let contests = Contests::default();
        for index in 0..=MOST {
            contests.wrote(&index.to_string(), "spec.a");
        }
        assert!(contests.0.lock().len() <= MOST);
    }
}
