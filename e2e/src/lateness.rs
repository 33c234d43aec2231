//! Whether this machine stood still: a CPU that was taken away for a while, by a virtual machine's host or by what else runs
//! there, makes a measurement say nothing of what was measured.
//!
//! A thread on each CPU sleeps a millisecond at a time and notes when it overslept. No bound grows by it: one that was missed
//! meanwhile, and by no more than that explains, is measured again.

use std::{
    fmt::Display,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::fixture::note;

/// How long a thread sleeps at a time.
const NAP: Duration = Duration::from_millis(1);
/// Shorter ones are how precise a sleep is, not lateness.
const NOTED: Duration = Duration::from_millis(1);
/// Lateness by more than this disturbs a measurement, or by more than a fifth of it where that is less.
const DISTURBS: Duration = Duration::from_millis(100);
/// What a late CPU holds up is held up again by what it is late with then: a bound is missed by this much more at the most.
const HELD_UP: u32 = 4;
/// How often a measurement is taken before it is given up.
const ATTEMPTS: usize = 5;

/// Looks at all CPUs that this process may use, until it is dropped.
#[derive(Debug)]
pub struct Lateness {
    cpus: Vec<Arc<Mutex<Sleeper>>>,
    threads: Vec<JoinHandle<()>>,
    stopped: Arc<AtomicBool>,
}

/// What one thread knows.
#[derive(Debug)]
struct Sleeper {
    /// When it should wake next.
    due: Instant,
    /// From when it should have woken until it did, in order.
    late: Vec<Range<Instant>>,
}

/// A bound that was missed in a span of time.
#[derive(Debug)]
pub struct Missed {
    /// What happened in it decides whether the bound is missed.
    span: Range<Instant>,
    excuse: Excuse,
    what: String,
}

/// What explains that a bound was missed.
#[derive(Debug)]
enum Excuse {
    /// Any disturbance.
    Any,
    /// Disturbances that can have taken so long together, up to a moment.
    HeldUp { by: Duration, until: Instant },
    /// A CPU that was late by this much.
    Late(Duration),
}

impl Missed {
    /// Any disturbance explains it. `what`: tells people of it.
    pub fn new(span: Range<Instant>, what: impl Display) -> Self {
        Self { span, excuse: Excuse::Any, what: what.to_string() }
    }

    /// A CPU that was late by so much explains it.
    pub fn by_late_cpu(span: Range<Instant>, late: Duration, what: impl Display) -> Self {
        Self { span, excuse: Excuse::Late(late), what: what.to_string() }
    }
}

/// Tells whether what began at a moment took less than a bound.
///
/// # Errors
/// When it took longer.
pub fn less_than(bound: Duration, begin: Instant, took: Duration, what: impl Display) -> Result<(), Missed> {
    if took < bound {
        return Ok(());
    }
    // What a stall after that held up was late already.
    let what = format!("{what}: {took:?}, not less than {bound:?}");
    let by = took.saturating_sub(bound);
    // One that never came is not late any more at some time.
    let until = begin.checked_add(took).unwrap_or_else(Instant::now);
    Err(Missed { span: begin..begin + bound, excuse: Excuse::HeldUp { by, until }, what })
}

impl Lateness {
    /// Begins to look.
    ///
    /// # Errors
    /// When there cannot be a thread on each CPU.
    pub fn watch() -> anyhow::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let mut all = Self { cpus: Vec::new(), threads: Vec::new(), stopped: Arc::clone(&stopped) };
        let allowed = sched_getaffinity(Pid::from_raw(0)).context("asking for this process' CPUs")?;
        for cpu in (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu) == Ok(true)) {
            let sleeper = Arc::new(Mutex::new(Sleeper { due: Instant::now() + NAP, late: Vec::new() }));
            let (tell, told) = mpsc::channel();
            let (of_thread, stopped) = (Arc::clone(&sleeper), Arc::clone(&stopped));
            let sleep = move || {
                let pinned = pin_to(cpu);
                let is_pinned = pinned.is_ok();
                // An error: nobody looks any more.
                let _ = tell.send(pinned);
                while is_pinned && !stopped.load(Ordering::Relaxed) {
                    thread::sleep(NAP);
                    of_thread.lock().unwrap_or_else(PoisonError::into_inner).woke(Instant::now());
                }
            };
            let thread = thread::Builder::new().name(format!("lateness-{cpu}")).spawn(sleep);
            all.threads.push(thread.context("starting a thread")?);
            all.cpus.push(sleeper);
            told.recv()?.with_context(|| format!("staying on CPU {cpu}"))?;
        }
        Ok(all)
    }

    /// By how much a CPU was late with anything that overlaps a span of time, at the most.
    pub fn most(&self, span: &Range<Instant>) -> Duration {
        let of_cpu = |cpu: &Arc<Mutex<Sleeper>>| {
            let sleeper = cpu.lock().unwrap_or_else(PoisonError::into_inner);
            sleeper.most(span, Instant::now())
        };
        self.cpus.iter().map(of_cpu).max().unwrap_or_default()
    }

    /// Whether what was measured in a span of time says nothing.
    pub fn disturbed(&self, span: &Range<Instant>) -> bool {
        self.most(span) > disturbs(span)
    }

    /// Whether that explains why a bound was missed.
    fn excuses(&self, missed: &Missed) -> bool {
        match missed.excuse {
            Excuse::Any => self.disturbed(&missed.span),
            Excuse::Late(late) => self.most(&missed.span) >= late,
            Excuse::HeldUp { by, until } => {
                let (least, whole) = (disturbs(&missed.span), missed.span.start..until);
                let of_cpu = |cpu: &Arc<Mutex<Sleeper>>| -> Duration {
                    let sleeper = cpu.lock().unwrap_or_else(PoisonError::into_inner);
                    sleeper.each(&whole, Instant::now()).filter(|late| *late > least).sum()
                };
                let late: Duration = self.cpus.iter().map(of_cpu).sum();
                self.disturbed(&missed.span) && by <= HELD_UP * late
            }
        }
    }

    /// Takes a measurement, which gets the number of those before it, until it keeps its bound. Only where it misses that because
    /// this machine was late meanwhile is it taken again.
    ///
    /// # Errors
    /// When the bound is missed and no CPU was late enough for that, when the machine was late each time, and at once when the measurement itself
    /// fails.
    pub async fn measured<T>(
        &self,
        what: &str,
        take: impl AsyncFnMut(usize) -> anyhow::Result<Result<T, Missed>>,
    ) -> anyhow::Result<T> {
        undisturbed(what, |missed| self.excuses(missed), take).await
    }
}

/// Lateness by more than this disturbs what was measured in a span of time.
fn disturbs(span: &Range<Instant>) -> Duration {
    DISTURBS.min(span.end.saturating_duration_since(span.start) / 5)
}

async fn undisturbed<T>(
    what: &str,
    excused: impl Fn(&Missed) -> bool,
    mut take: impl AsyncFnMut(usize) -> anyhow::Result<Result<T, Missed>>,
) -> anyhow::Result<T> {
    for attempt in 0..ATTEMPTS {
        // On the heap: what a measurement waits for adds up.
        match Box::pin(take(attempt)).await? {
            Ok(kept) => return Ok(kept),
            Err(missed) => {
                anyhow::ensure!(excused(&missed), "{what}: {}", missed.what);
                note(&format!(
                    "{what}: this machine stood still meanwhile, which says nothing: {}",
                    missed.what
                ));
            }
        }
    }
    anyhow::bail!("{what}: this machine stood still during each of {ATTEMPTS} measurements")
}

impl Drop for Lateness {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Sleeper {
    fn woke(&mut self, now: Instant) {
        if now.saturating_duration_since(self.due) > NOTED {
            self.late.push(self.due..now);
        }
        self.due = now + NAP;
    }

    /// By how much it was late each time in a span of time; it may be late right now, too.
    fn each(&self, span: &Range<Instant>, now: Instant) -> impl Iterator<Item = Duration> {
        let overlaps = |late: &Range<Instant>| late.start < span.end && late.end > span.start;
        let all = self.late.iter().cloned().chain([self.due..now]).filter(overlaps);
        all.map(|late| late.end.saturating_duration_since(late.start))
    }

    fn most(&self, span: &Range<Instant>, now: Instant) -> Duration {
        self.each(span, now).max().unwrap_or_default()
    }
}

/// Keeps the calling thread on one CPU.
fn pin_to(cpu: usize) -> nix::Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &only)
}

#[cfg(test)]
mod tests;
