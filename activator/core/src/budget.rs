//! What all revisions of the process share: how many requests are held and how many bytes of them, how many wakes and probes
//! are under way.
//!
//! Places and bytes for held requests are divided between namespaces by a dynamic threshold (Choudhury and Hahne, "Dynamic
//! queue length thresholds for shared-memory packet switches", 1998, with alpha 1): a namespace may have as many as are free.
//! One alone gets half of all, and whoever comes later always finds some.

use crate::reason::Trouble;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Counts that must not be exceeded by the whole process.
#[derive(Debug)]
pub struct Budgets {
    held: Count,
    bytes: Count,
    wakes: Count,
    probes: Mutex<Bucket>,
    /// By namespace; only those that are in use.
    shares: Mutex<HashMap<Arc<str>, Weak<Share>>>,
}

/// What one namespace has of the places and bytes for held requests.
#[derive(Debug)]
pub(crate) struct Share {
    namespace: Arc<str>,
    held: AtomicUsize,
    bytes: AtomicUsize,
    budgets: Arc<Budgets>,
}

/// Whether a request was let in before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has just arrived.
    New,
    /// It is tried again: it had its place, and only the process as a whole may be without one.
    Admitted,
}

impl Budgets {
    /// Budgets of a process: requests held, bytes of them, `/scale` conversations at once, probe attempts a second.
    pub fn new(
        max_held: usize,
        max_held_bytes: usize,
        max_wakes: usize,
        max_probes_per_second: u32,
    ) -> Arc<Self> {
        Arc::new(Self {
            held: Count::new(max_held),
            bytes: Count::new(max_held_bytes),
            wakes: Count::new(max_wakes),
            probes: Mutex::new(Bucket::new(max_probes_per_second)),
            shares: Mutex::default(),
        })
    }

    /// The share of a namespace, to be kept by whoever holds requests for it: looking it up takes a lock.
    pub(crate) fn share(self: &Arc<Self>, namespace: &Arc<str>) -> Arc<Share> {
        let mut shares = self.shares.lock();
        if let Some(share) = shares.get(namespace).and_then(Weak::upgrade) {
            return share;
        }
        let namespace = Arc::clone(namespace);
        let share = Arc::new(Share {
            namespace: Arc::clone(&namespace),
            held: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            budgets: Arc::clone(self),
        });
        shares.insert(namespace, Arc::downgrade(&share));
        share
    }

    pub(crate) fn wake(self: &Arc<Self>) -> Option<WakePermit> {
        self.wakes.take(1, |free| free > 0).ok().map(|()| WakePermit(Arc::clone(self)))
    }

    /// One probe attempt may begin now; if not, one may at the time returned.
    pub(crate) fn probe(&self, now: Duration) -> Result<(), Duration> {
        self.probes.lock().take(now)
    }

    /// Requests held now in the whole process.
    pub fn held(&self) -> usize {
        self.held.value.load(Ordering::Relaxed)
    }

    /// Bytes of held requests in the whole process.
    pub fn held_bytes(&self) -> usize {
        self.bytes.value.load(Ordering::Relaxed)
    }
}

impl Share {
    /// A place for one more held request.
    pub(crate) fn hold(self: &Arc<Self>, standing: Standing) -> Result<HeldPermit, Trouble> {
        // Counted first, so that no two requests of the namespace see the same count.
        let held = self.held.fetch_add(1, Ordering::Relaxed);
        let allowed = |free: usize| free > 0 && (standing == Standing::Admitted || held < free);
        match self.budgets.held.take(1, allowed) {
            Ok(()) => Ok(HeldPermit(Arc::clone(self))),
            Err(free) => {
                self.held.fetch_sub(1, Ordering::Relaxed);
                Err(if free == 0 { Trouble::overloaded() } else { Trouble::share_used(held, free) })
            }
        }
    }

    /// Memory for a request that is held.
    pub(crate) fn hold_bytes(self: &Arc<Self>, bytes: usize) -> Result<HeldBytes, Trouble> {
        let held = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Both after the taking: a large request must not leave less than its namespace has.
        let allowed = |free: usize| held.saturating_add(bytes) <= free.saturating_sub(bytes);
        match self.budgets.bytes.take(bytes, allowed) {
            Ok(()) => Ok(HeldBytes { bytes, share: Arc::clone(self) }),
            Err(free) => {
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
                Err(Trouble::bytes_used(held, free))
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shares = self.budgets.shares.lock();
        // A new one may have taken its place by now.
        if shares.get(&self.namespace).is_some_and(|share| share.strong_count() == 0) {
            shares.remove(&self.namespace);
        }
    }
}

/// Gives its place back when dropped.
#[derive(Debug)]
pub(crate) struct HeldPermit(Arc<Share>);

impl Drop for HeldPermit {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
        self.0.budgets.held.give(1);
    }
}

/// Memory of a request that is held, free again when dropped.
#[derive(Debug)]
pub struct HeldBytes {
    bytes: usize,
    share: Arc<Share>,
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.share.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.share.budgets.bytes.give(self.bytes);
    }
}

/// Gives its place back when dropped.
#[derive(Debug)]
pub(crate) struct WakePermit(Arc<Budgets>);

impl Drop for WakePermit {
    fn drop(&mut self) {
        self.0.wakes.give(1);
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

    /// Takes so many if that is allowed with this many free ones, and says how many there were if not. Never allow it with
    /// fewer.
    fn take(&self, amount: usize, allowed: impl Fn(usize) -> bool) -> Result<(), usize> {
        let free = |value| self.most.saturating_sub(value);
        let next = |value| allowed(free(value)).then_some(value + amount);
        let taken = self.value.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        taken.map(drop).map_err(free)
    }

    fn give(&self, amount: usize) {
        self.value.fetch_sub(amount, Ordering::Relaxed);
    }
}

/// Until the next token of a bucket that gets none.
const NEVER: Duration = Duration::from_secs(3_600);

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

    fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let rate = f64::from(self.per_second);
        self.tokens =
            (self.tokens + now.saturating_sub(self.filled).as_secs_f64() * rate).min((rate / 10.0).max(1.0));
        self.filled = self.filled.max(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let missing = Duration::try_from_secs_f64((1.0 - self.tokens) / rate).unwrap_or(NEVER);
        // Rounded up: at that time the token is whole.
        Err(now + missing + Duration::from_micros(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_free_again_when_dropped() {
        let budgets = Budgets::new(1, 1_000, 1, 1);
        let share = budgets.share(&"a".into());
        let permit = share.hold(Standing::New).expect("a place");
        assert_eq!(budgets.held(), 1);
        assert_eq!(share.hold(Standing::New).expect_err("full"), Trouble::overloaded());
        drop(permit);
        assert_eq!(budgets.held(), 0);
        share.hold(Standing::New).expect("the place that is free again");
    }

    /// Permits of the namespace until one is refused, and why that one is.
    fn fill(budgets: &Arc<Budgets>, namespace: &str) -> (Vec<HeldPermit>, Trouble) {
        let mut permits = Vec::new();
        loop {
            // Asked for anew each time, as each queue of the namespace does.
            match budgets.share(&namespace.into()).hold(Standing::New) {
                Ok(permit) => permits.push(permit),
                Err(trouble) => return (permits, trouble),
            }
        }
    }

    #[test]
    fn a_namespace_holds_no_more_than_what_is_free() {
        let budgets = Budgets::new(1_000, 1_000, 1, 1);
        let (first, refused) = fill(&budgets, "a");
        assert_eq!((first.len(), refused), (500, Trouble::share_used(500, 500)));
        let (second, _) = fill(&budgets, "b");
        assert_eq!(second.len(), 250);
        let (third, _) = fill(&budgets, "c");
        assert_eq!(third.len(), 125);
        assert!(fill(&budgets, "a").0.is_empty(), "it has more than its share by now");
        drop(first);
        assert_eq!(fill(&budgets, "c").0.len(), 250, "what is given back is for all");
    }

    #[test]
    fn bytes_are_shared_like_places() {
        let budgets = Budgets::new(1, 1_000, 1, 1);
        let (first, second) = (budgets.share(&"a".into()), budgets.share(&"b".into()));
        let permit = first.hold_bytes(400).expect("less than half");
        assert_eq!(first.hold_bytes(200).expect_err("more than half"), Trouble::bytes_used(400, 600));
        let small = first.hold_bytes(100).expect("half of all");
        assert!(first.hold_bytes(1).is_err());
        let other = second.hold_bytes(250).expect("half of what is left");
        assert!(second.hold_bytes(1).is_err());
        assert_eq!(budgets.held_bytes(), 750);
        drop((permit, other));
        assert_eq!(budgets.held_bytes(), 100);
        second.hold_bytes(450).expect("half of what is free");
        drop(small);
        assert!(first.hold_bytes(usize::MAX).is_err());
        assert_eq!(budgets.held_bytes(), 0);
    }

    #[test]
    fn who_was_admitted_before_is_not_refused_for_the_share() {
        let budgets = Budgets::new(10, 1_000, 1, 1);
        let (first, _) = fill(&budgets, "a");
        let share = budgets.share(&"a".into());
        let again: Vec<_> = std::iter::from_fn(|| share.hold(Standing::Admitted).ok()).collect();
        assert_eq!((first.len(), again.len()), (5, 5));
        assert_eq!(share.hold(Standing::Admitted).expect_err("full"), Trouble::overloaded());
    }

    #[test]
    fn a_namespace_without_queues_is_forgotten() {
        let budgets = Budgets::new(10, 1_000, 1, 1);
        let (permits, _) = fill(&budgets, "a");
        assert_eq!(budgets.shares.lock().len(), 1);
        drop(permits);
        assert!(budgets.shares.lock().is_empty());
    }

    #[test]
    fn threads_never_hold_more_than_there_are_places() {
        let budgets = Budgets::new(100, 1_000, 1, 1);
        std::thread::scope(|scope| {
            for namespace in ["a", "a", "b", "b"] {
                let share = budgets.share(&namespace.into());
                scope.spawn(move || {
                    for _ in 0..1_000 {
                        let permits: Vec<_> = (0..60).map_while(|_| share.hold(Standing::New).ok()).collect();
                        assert!(share.budgets.held() <= 100);
                        drop(permits);
                    }
                });
            }
        });
        assert_eq!(budgets.held(), 0);
        assert_eq!(fill(&budgets, "a").0.len(), 50, "nothing is lost or counted twice");
    }

    #[test]
    fn who_finds_no_token_is_told_when_there_is_one() {
        let budgets = Budgets::new(1, 1_000, 1, 3);
        let mut now = Duration::ZERO;
        for _ in 0..10 {
            if budgets.probe(now).is_ok() {
                now = budgets.probe(now).expect_err("the only one is taken");
            } else {
                now = budgets.probe(now).expect_err("none yet");
            }
            assert!(now <= Duration::from_secs(5), "{now:?}");
        }
        assert!(now >= Duration::from_secs(3), "{now:?}");
    }

    #[test]
    fn probes_are_limited_by_the_second() {
        let budgets = Budgets::new(1, 1_000, 1, 2_000);
        let allowed = |milliseconds: u64| {
            (0..1_000).take_while(|_| budgets.probe(Duration::from_millis(milliseconds)).is_ok()).count()
        };
        assert_eq!(allowed(0), 200);
        assert_eq!(allowed(10), 20);
        assert_eq!(allowed(5_000), 200);
    }
}
