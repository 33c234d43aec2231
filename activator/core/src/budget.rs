//! What all revisions of the process share: how many requests are held, how many wakes and probes are under way.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Counts that must not be exceeded by the whole process.
#[derive(Debug)]
pub struct Budgets {
    held: Count,
    wakes: Count,
    probes: Mutex<Bucket>,
}

impl Budgets {
    /// Budgets of a process: requests held, `/scale` conversations at once, probe attempts a second.
    pub fn new(max_held: usize, max_wakes: usize, max_probes_per_second: u32) -> Arc<Self> {
        Arc::new(Self {
            held: Count::new(max_held),
            wakes: Count::new(max_wakes),
            probes: Mutex::new(Bucket::new(max_probes_per_second)),
        })
    }

    /// A place for one more request of a queue that holds `already`. One queue gets half of the places at most, so that
    /// no Function alone can take them from all others.
    pub(crate) fn hold(self: &Arc<Self>, already: usize) -> Option<HeldPermit> {
        let allowed = already < self.held.most.div_ceil(2);
        (allowed && self.held.take()).then(|| HeldPermit(Arc::clone(self)))
    }

    pub(crate) fn wake(self: &Arc<Self>) -> Option<WakePermit> {
        self.wakes.take().then(|| WakePermit(Arc::clone(self)))
    }

    pub(crate) fn probe(&self, now: Duration) -> bool {
        self.probes.lock().take(now)
    }

    /// Requests held now in the whole process.
    pub fn held(&self) -> usize {
        self.held.value.load(Ordering::Relaxed)
    }
}

/// Gives its place back when dropped.
#[derive(Debug)]
pub(crate) struct HeldPermit(Arc<Budgets>);

impl Drop for HeldPermit {
    fn drop(&mut self) {
        self.0.held.give();
    }
}

/// Gives its place back when dropped.
#[derive(Debug)]
pub(crate) struct WakePermit(Arc<Budgets>);

impl Drop for WakePermit {
    fn drop(&mut self) {
        self.0.wakes.give();
    }
}

#[derive(Debug)]
struct Count {
    value: AtomicUsize,
    most: usize,
}

impl Count {
    fn new(most: usize) -> Self {
        Self { value: AtomicUsize::new(0), most }
    }

    fn take(&self) -> bool {
        self.value
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |value| {
                (value < self.most).then_some(value + 1)
            })
            .is_ok()
    }

    fn give(&self) {
        self.value.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Token bucket that holds a tenth of a second's worth.
#[derive(Debug)]
struct Bucket {
    per_second: u32,
    tokens: f64,
    filled: Duration,
}

impl Bucket {
    fn new(per_second: u32) -> Self {
        Self { per_second, tokens: f64::from(per_second) / 10.0, filled: Duration::ZERO }
    }

    fn take(&mut self, now: Duration) -> bool {
        let rate = f64::from(self.per_second);
        self.tokens =
            (self.tokens + now.saturating_sub(self.filled).as_secs_f64() * rate).min((rate / 10.0).max(1.0));
        self.filled = self.filled.max(now);
        let free = self.tokens >= 1.0;
        if free {
            self.tokens -= 1.0;
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_free_again_when_dropped() {
        let budgets = Budgets::new(1, 1, 1);
        let permit = budgets.hold(0);
        assert!(permit.is_some());
        assert!(budgets.hold(0).is_none());
        drop(permit);
        assert!(budgets.hold(0).is_some());
    }

    #[test]
    fn one_queue_gets_half_of_the_places() {
        let budgets = Budgets::new(10, 1, 1);
        let greedy: Vec<_> = (0..20).map_while(|already| budgets.hold(already)).collect();
        assert_eq!(greedy.len(), 5);
        assert!(budgets.hold(0).is_some());
    }

    #[test]
    fn probes_are_limited_by_the_second() {
        let budgets = Budgets::new(1, 1, 2_000);
        let allowed = |milliseconds: u64| {
            (0..1_000).take_while(|_| budgets.probe(Duration::from_millis(milliseconds))).count()
        };
        assert_eq!(allowed(0), 200);
        assert_eq!(allowed(10), 20);
        assert_eq!(allowed(5_000), 200);
    }
}
