//! The series of a Function and its revisions. They hang on the core's Function, so that a request finds them without a search,
//! counts without a lock, and they go when it goes.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use catnap_activator_core::{FunctionName, Phases};
use catnap_activator_http::Ended;

use super::cold_starts::ColdStarts;
use super::histogram::Histogram;
use super::labels::code_class;
use super::outcomes::{self, Tally};

/// A revision that is gone is shown for so long: whoever scrapes does so at least once in it.
pub(super) const SHOWN_GONE: Duration = Duration::from_secs(180);

/// Phases of a cold start, in order.
pub(super) const PHASES: [&str; 5] = ["wake", "schedule", "start", "ready", "queue"];

/// Items of a list. More is left only where revisions come and go and nobody scrapes, which forgets those that are gone.
const MOST: usize = 256;

/// A list that is read without a lock and rarely grows.
#[derive(Debug)]
pub(super) struct Growing<T> {
    items: ArcSwap<Vec<Arc<T>>>,
    growing: Mutex<()>,
}

impl<T> Default for Growing<T> {
    fn default() -> Self {
        Self { items: ArcSwap::default(), growing: Mutex::default() }
    }
}

impl<T> Growing<T> {
    pub(super) fn all(&self) -> Arc<Vec<Arc<T>>> {
        self.items.load_full()
    }

    /// Uses the item that `is_it` finds, made when there is none. Where it is one too many, the one goes that was `used` longest ago,
    /// of those that may go.
    fn with<R>(
        &self,
        is_it: impl Fn(&T) -> bool,
        new: impl FnOnce() -> T,
        used: impl Fn(&T) -> Option<Instant>,
        count: impl FnOnce(&T) -> R,
    ) -> R {
        let items = self.items.load();
        if let Some(item) = items.iter().find(|item| is_it(item)) {
            return count(item);
        }
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let items = self.items.load_full();
        // Another thread may have been faster.
        if let Some(item) = items.iter().find(|item| is_it(item)) {
            return count(item);
        }
        let item = Arc::new(new());
        // In front: the latest revision's are looked for most.
        let mut all: Vec<_> = [Arc::clone(&item)].into_iter().chain(items.iter().cloned()).collect();
        let others = all.iter().enumerate().skip(1);
        let oldest = others.filter_map(|(place, item)| used(item).map(|at| (at, Reverse(place)))).min();
        if let Some((_, Reverse(place))) = oldest.filter(|_| all.len() > MOST) {
            all.remove(place);
        }
        self.items.store(Arc::new(all));
        count(&item)
    }

    /// Drops what `keep` denies. What is counted in it at the same moment may be lost.
    fn retain(&self, keep: impl Fn(&T) -> bool) {
        if self.items.load().iter().all(|item| keep(item)) {
            return;
        }
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let items = self.items.load_full();
        self.items.store(Arc::new(items.iter().filter(|item| keep(item)).cloned().collect()));
    }
}

/// Of one Function.
#[derive(Debug)]
pub(super) struct FunctionSeries {
    pub(super) name: FunctionName,
    pub(super) uid: Arc<str>,
    pub(super) revisions: Growing<RevisionSeries>,
    cold_starts: Arc<ColdStarts>,
}

/// Of one revision.
#[derive(Debug, Default)]
pub(super) struct RevisionSeries {
    /// Empty: of requests that were refused for no revision in particular.
    pub(super) name: Arc<str>,
    /// When a scrape first found that the core has forgotten it.
    gone_at: Mutex<Option<Instant>>,
    /// How many requests had ended when it was last looked at, and when it was first seen that it were so many.
    used: Mutex<(u64, Option<Instant>)>,
    pub(super) requests: Growing<RequestSeries>,
    pub(super) duration: Histogram,
    pub(super) first_byte: Histogram,
    pub(super) queue: Histogram,
    /// A histogram for each of [`PHASES`].
    pub(super) cold_start: OnceLock<Box<[Histogram; PHASES.len()]>>,
    /// Where the last cold starts of all Functions are kept: here, so that a request that finds a pod has nothing to do with it.
    cold_starts: Arc<ColdStarts>,
    pub(super) retries: AtomicU64,
    /// Of the requests that the function answered, calls that failed though their head was a good one.
    grpc_errors: AtomicU64,
    pub(super) request_bytes: AtomicU64,
    pub(super) response_bytes: AtomicU64,
}

/// Requests that ended in the same way: a handful for each revision.
#[derive(Debug)]
pub(super) struct RequestSeries {
    pub(super) code: &'static str,
    /// Empty when the function answered.
    pub(super) reason: &'static str,
    pub(super) count: AtomicU64,
}

impl FunctionSeries {
    pub(super) fn new(name: FunctionName, uid: Arc<str>, cold_starts: Arc<ColdStarts>) -> Self {
        Self { name, uid, revisions: Growing::default(), cold_starts }
    }

    pub(super) fn count(&self, exchange: &Ended<'_>) {
        let name = exchange.revision.map_or("", |revision| &*revision.name);
        self.revisions.with(
            |revision| *revision.name == *name,
            || {
                let cold_starts = Arc::clone(&self.cold_starts);
                RevisionSeries { name: name.into(), cold_starts, ..RevisionSeries::default() }
            },
            RevisionSeries::used,
            |revision| revision.count(exchange),
        );
    }

    /// Drops the series of revisions that `exists` has denied for long enough that everybody has seen their last counts.
    pub(super) fn retain(&self, now: Instant, exists: impl Fn(&str) -> bool) {
        self.revisions.retain(|revision| {
            let mut gone_at = revision.gone_at.lock().unwrap_or_else(PoisonError::into_inner);
            let gone = !revision.name.is_empty() && !exists(&revision.name);
            *gone_at = if gone { gone_at.or(Some(now)) } else { None };
            gone_at.is_none_or(|at| now < at + SHOWN_GONE)
        });
    }
}

impl RevisionSeries {
    /// When requests were last seen to have ended in it, which is looked at whenever another revision is new; `None` for what may
    /// not go.
    fn used(&self) -> Option<Instant> {
        let ended = self.requests.all().iter().map(|requests| requests.count.load(Relaxed)).sum();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.1.is_none() || used.0 != ended {
            *used = (ended, Some(Instant::now()));
        }
        used.1.filter(|_| !self.name.is_empty())
    }

    fn count(&self, exchange: &Ended<'_>) {
        let (code, reason) = (code_class(exchange.status), exchange.outcome.reason());
        self.requests.with(
            |requests| requests.code == code && requests.reason == reason,
            || RequestSeries { code, reason, count: AtomicU64::new(0) },
            |_| None,
            |requests| requests.count.fetch_add(1, Relaxed),
        );
        self.duration.observe(exchange.duration);
        if let Some(first_byte) = exchange.first_byte {
            self.first_byte.observe(first_byte);
        }
        if let Some(held) = exchange.held {
            self.queue.observe(held);
        }
        if let Some(phases) = exchange.phases.filter(|phases| phases.cold) {
            self.count_cold_start(&phases);
            self.cold_starts.ended(exchange, &phases, Instant::now());
        }
        for (counter, count) in [
            (&self.retries, u64::from(exchange.attempts.saturating_sub(1))),
            (&self.grpc_errors, u64::from(outcomes::is_failed_call(exchange))),
            (&self.request_bytes, exchange.request_bytes),
            (&self.response_bytes, exchange.response_bytes),
        ] {
            if count > 0 {
                counter.fetch_add(count, Relaxed);
            }
        }
    }

    /// How its requests ended, added up from what is counted anyway.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally { ended: 0, errors: self.grpc_errors.load(Relaxed) };
        for requests in self.requests.all().iter() {
            let RequestSeries { code, reason, count } = &**requests;
            tally.add(outcomes::weigh(code, reason), count.load(Relaxed));
        }
        // A call that ends at this moment may show in one counter and not yet in the other.
        Tally { errors: tally.errors.min(tally.ended), ..tally }
    }

    fn count_cold_start(&self, phases: &Phases) {
        let lengths = [phases.wake, phases.schedule, phases.start, phases.ready, phases.queue];
        let histograms = self.cold_start.get_or_init(Box::default);
        for (histogram, length) in histograms.iter().zip(lengths) {
            histogram.observe(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nobody_scrapes_the_oldest_go_that_count_nothing_any_more() {
        let revisions = Growing::<RevisionSeries>::default();
        let count = |name: &str| {
            let new = || RevisionSeries { name: name.into(), ..RevisionSeries::default() };
            let end = || RequestSeries { code: "2xx", reason: "", count: AtomicU64::new(0) };
            revisions.with(
                |it| &*it.name == name,
                new,
                RevisionSeries::used,
                |it| {
                    it.requests.with(
                        |_| true,
                        end,
                        |_| None,
                        |requests| requests.count.fetch_add(1, Relaxed),
                    );
                },
            );
        };
        let rounds = 10 * MOST;
        for number in 0..rounds {
            count("lives");
            count(&format!("hello-{number}"));
        }
        let left = revisions.all();
        assert_eq!((left.len(), &*left[0].name), (MOST, &*format!("hello-{}", rounds - 1)));
        let kept = left.iter().find(|revision| &*revision.name == "lives").unwrap();
        assert_eq!(kept.requests.all()[0].count.load(Relaxed), rounds as u64, "nothing of it was lost");
    }

    #[test]
    fn there_are_never_more_errors_than_ends() {
        let series = RevisionSeries::default();
        // The call's end is on its way from another core.
        series.grpc_errors.store(1, Relaxed);
        assert_eq!(series.tally(), Tally { ended: 0, errors: 0 });
        let requests = RequestSeries { code: "2xx", reason: "", count: AtomicU64::new(1) };
        series.requests.with(|_| false, || requests, |_| None, |_| ());
        assert_eq!(series.tally(), Tally { ended: 1, errors: 1 });
    }
}
