//! What all revisions of the process share: how many requests are held and how many bytes of them, how many wakes and probes
//! are under way.
//!
//! Places and bytes for held requests are divided by dynamic thresholds (Choudhury and Hahne, "Dynamic queue length thresholds
//! for shared-memory packet switches", 1998, with alpha 1), twice: a namespace may have as many as are free, and a function as
//! many as its namespace may have beyond what it has. A function alone gets a third of all, a namespace half. What each gets
//! is a part of what those before it left, soon next to nothing; so the last of it is for functions that hold little: dozens
//! that come later still find some.

use crate::reason::Trouble;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A function holds little with this part of all: with the defaults 97 requests, or 512 KiB of them.
const LITTLE: usize = 1_024;
/// When its namespace may have no more than this part of all, only a function that holds little gets any of it.
const LAST: usize = 16;

/// Counts that must not be exceeded by the whole process.
#[derive(Debug)]
pub struct Budgets {
    held: Count,
    bytes: Count,
    wakes: Count,
    probes: Mutex<Bucket>,
    /// Only those with functions.
    namespaces: Mutex<HashMap<Arc<str>, Weak<Namespace>>>,
}

/// What all functions of a namespace have of the places and bytes for held requests.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: Arc<str>,
    held: AtomicUsize,
    bytes: AtomicUsize,
    /// By UID of the function; only of those that hold something.
    shares: Mutex<HashMap<Arc<str>, Weak<Share>>>,
    budgets: Arc<Budgets>,
}

/// What one function has of them.
#[derive(Debug)]
pub(crate) struct Share {
    function_uid: Arc<str>,
    held: AtomicUsize,
    bytes: AtomicUsize,
    namespace: Arc<Namespace>,
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
            namespaces: Mutex::default(),
        })
    }

    /// What a namespace has, to be kept by whoever holds requests for its functions.
    pub(crate) fn namespace(self: &Arc<Self>, name: &Arc<str>) -> Arc<Namespace> {
        let mut namespaces = self.namespaces.lock();
        if let Some(namespace) = namespaces.get(name).and_then(Weak::upgrade) {
            return namespace;
        }
        let namespace = Arc::new(Namespace {
            name: Arc::clone(name),
            held: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            shares: Mutex::default(),
            budgets: Arc::clone(self),
        });
        namespaces.insert(Arc::clone(name), Arc::downgrade(&namespace));
        namespace
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

impl Namespace {
    /// What a function of it has, or nothing yet.
    pub(crate) fn share(self: &Arc<Self>, function_uid: &Arc<str>) -> Arc<Share> {
        let mut shares = self.shares.lock();
        if let Some(share) = shares.get(function_uid).and_then(Weak::upgrade) {
            return share;
        }
        let share = Arc::new(Share {
            function_uid: Arc::clone(function_uid),
            held: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            namespace: Arc::clone(self),
        });
        shares.insert(Arc::clone(function_uid), Arc::downgrade(&share));
        share
    }
}

impl Share {
    /// A place for one more held request.
    pub(crate) fn hold(self: &Arc<Self>, standing: Standing) -> Result<HeldPermit, Trouble> {
        // Counted first, so that no two requests see the same counts.
        let held = self.held.fetch_add(1, Ordering::Relaxed);
        let of_all = self.namespace.held.fetch_add(1, Ordering::Relaxed);
        let budget = &self.namespace.budgets.held;
        let fair = |free: usize| budget.is_fair(held + 1, free.saturating_sub(of_all));
        let allowed = |free: usize| free > 0 && (standing == Standing::Admitted || fair(free));
        match budget.take(1, allowed) {
            Ok(()) => Ok(HeldPermit(Arc::clone(self))),
            Err(free) => {
                self.held.fetch_sub(1, Ordering::Relaxed);
                self.namespace.held.fetch_sub(1, Ordering::Relaxed);
                Err(match () {
                    () if free == 0 => Trouble::overloaded(),
                    () if of_all >= free => Trouble::share_used(of_all, free),
                    () => Trouble::function_share_used(held, free - of_all),
                })
            }
        }
    }

    /// Memory for a request that is held.
    pub(crate) fn hold_bytes(
        self: &Arc<Self>,
        bytes: usize,
        standing: Standing,
    ) -> Result<HeldBytes, Trouble> {
        let held = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let of_all = self.namespace.bytes.fetch_add(bytes, Ordering::Relaxed);
        // All after the taking: a large request must not leave less than its function and its namespace have.
        let after = |had: usize| had.saturating_add(bytes);
        let left = |free: usize| free.saturating_sub(bytes).checked_sub(after(of_all));
        let budget = &self.namespace.budgets.bytes;
        let fair = |free: usize| left(free).is_some_and(|left| budget.is_fair(after(held), left));
        let allowed = |free: usize| free >= bytes && (standing == Standing::Admitted || fair(free));
        match budget.take(bytes, allowed) {
            Ok(()) => Ok(HeldBytes { bytes, share: Arc::clone(self) }),
            Err(free) => {
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
                self.namespace.bytes.fetch_sub(bytes, Ordering::Relaxed);
                Err(Trouble::bytes_used(held, of_all, free))
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shares = self.namespace.shares.lock();
        // A new one may have taken its place by now.
        if shares.get(&self.function_uid).is_some_and(|share| share.strong_count() == 0) {
            shares.remove(&self.function_uid);
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let mut namespaces = self.budgets.namespaces.lock();
        if namespaces.get(&self.name).is_some_and(|namespace| namespace.strong_count() == 0) {
            namespaces.remove(&self.name);
        }
    }
}

/// Gives its place back when dropped.
#[derive(Debug)]
pub(crate) struct HeldPermit(Arc<Share>);

impl Drop for HeldPermit {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
        self.0.namespace.held.fetch_sub(1, Ordering::Relaxed);
        self.0.namespace.budgets.held.give(1);
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
        self.share.namespace.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.share.namespace.budgets.bytes.give(self.bytes);
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

    /// A function may have so much where its namespace may have `left` more.
    fn is_fair(&self, held: usize, left: usize) -> bool {
        let little = held <= (self.most / LITTLE).max(1);
        left > 0 && (little || held <= left && left > self.most / LAST)
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
mod tests;
