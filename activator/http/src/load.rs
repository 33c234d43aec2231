//! How busy a worker is, and what it refuses while it is too busy: asked with each new request, and once a second.

use std::time::{Duration, Instant};

use catnap_activator_core::{Admission, Destination, FunctionName, Overload, Reason};
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Handle;

/// The load of one worker.
#[derive(Debug)]
pub(crate) struct Load {
    started: Instant,
    overload: Mutex<Overload>,
}

impl Load {
    /// `limit`: part of its time that the worker may be busy.
    pub(crate) fn new(limit: f64) -> Self {
        Self { started: Instant::now(), overload: Mutex::new(Overload::new(limit)) }
    }

    /// Admits a new request of the function, unless the worker is too busy for it. On the worker's own thread.
    pub(crate) fn admit(&self, destination: &Destination, now: Instant) -> Admission {
        let function = destination.function();
        let admitted = {
            let mut overload = self.overload.lock();
            self.sample(&mut overload, now);
            overload.admit(function.name())
        };
        if admitted {
            return destination.admit();
        }
        let detail = "this process has too much to do, and most of it is for this function";
        Admission::Refused(function.refusal(Reason::ProcessOverloaded, detail.into()))
    }

    /// Counts work beyond requests' heads.
    pub(crate) fn moved(&self, function: &FunctionName, work: u64) {
        self.overload.lock().moved(function, work);
    }

    /// Part of the last second in which the worker was busy, and whether it refuses requests. On the worker's own thread.
    pub(crate) fn look(&self, now: Instant) -> (f64, bool) {
        let mut overload = self.overload.lock();
        self.sample(&mut overload, now);
        (overload.busy(), overload.refuses())
    }

    fn sample(&self, overload: &mut Overload, now: Instant) {
        let now = now.saturating_duration_since(self.started);
        if overload.due(now) {
            overload.sample(now, busy());
        }
    }
}

/// How long this thread has run tasks, and how long it had a CPU. The first counts waiting for a CPU that others have, the
/// second what the event loop does between tasks.
fn busy() -> [Duration; 2] {
    // There is no runtime only when the worker ends.
    let tasks = Handle::try_current()
        .map_or(Duration::ZERO, |runtime| runtime.metrics().worker_total_busy_duration(0));
    let cpu = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(cpu.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(cpu.tv_nsec).unwrap_or_default();
    [tasks, Duration::new(seconds, nanoseconds)]
}
