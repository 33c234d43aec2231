//! The access log: a line for a sample of all requests, and for requests that Catnap ended itself, at a bounded rate.
//!
//! A worker never waits for it: lines go through a bounded queue to a thread that writes them to standard output, apart from
//! everything else that is logged, and those that find it full are counted. Nothing in a line is as a client wrote it, but the
//! request's id, which was checked.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use catnap_activator_core::{FunctionName, Phases};
use catnap_activator_http::{Details, Ended, Outcome};
use catnap_runtime::telemetry::{self, LogFormat};
use catnap_wire::PodUid;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;
use tracing::Dispatch;

use crate::metrics::Losses;

/// Lines that may wait for the thread.
const QUEUE: usize = 4_096;

/// Which requests are logged.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct AccessLogArgs {
    /// Part of all requests that get a line in the access log, from 0 to 1.
    #[arg(long, env = "CATNAP_ACCESS_LOG_SAMPLE", value_parser = part, default_value = "0")]
    pub(crate) access_log_sample: f64,
    /// Most lines a second for requests that Catnap ended itself, beyond the sample.
    #[arg(long, env = "CATNAP_ACCESS_LOG_ERRORS", default_value_t = 0)]
    pub(crate) access_log_errors: u32,
}

/// Reads a number from 0 to 1.
pub(crate) fn part(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| format!("`{text}` is not a number from 0 to 1"))
}

/// The workers' end of the log.
#[derive(Debug)]
pub(crate) struct AccessLog {
    sample: f64,
    errors: PerSecond,
    lines: Sender<Line>,
    losses: Arc<Losses>,
}

/// The thread that writes; it ends when nobody logs any more.
#[derive(Debug)]
pub(crate) struct Writing(oneshot::Receiver<()>);

impl Writing {
    /// Waits until the last line is written, or for that long.
    pub(crate) async fn ended(self, longest: Duration) {
        // What is stuck is lost.
        let _ = tokio::time::timeout(longest, self.0).await;
    }
}

impl AccessLog {
    /// Starts the thread that writes, if anything is to be logged. Lines that find the queue full are counted in `losses`.
    pub(crate) fn start(
        args: &AccessLogArgs,
        format: LogFormat,
        losses: Arc<Losses>,
    ) -> io::Result<Option<(Self, Writing)>> {
        let AccessLogArgs { access_log_sample: sample, access_log_errors: errors } = *args;
        if sample <= 0.0 && errors == 0 {
            return Ok(None);
        }
        Self::write_to(telemetry::apart(format, io::stdout), sample, errors, losses).map(Some)
    }

    /// The same, with its lines going elsewhere.
    pub(crate) fn write_to(
        lines_apart: Dispatch,
        sample: f64,
        errors: u32,
        losses: Arc<Losses>,
    ) -> io::Result<(Self, Writing)> {
        let (log, mut lines) = Self::new(sample, errors, QUEUE, losses);
        let (tell, told) = oneshot::channel();
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            tracing::dispatcher::with_default(&lines_apart, || write(&mut lines));
            // Nobody waits when the process ends in another way.
            let _ = tell.send(());
        })?;
        Ok((log, Writing(told)))
    }

    fn new(sample: f64, errors: u32, queue: usize, losses: Arc<Losses>) -> (Self, Receiver<Line>) {
        let (lines, receiver) = channel(queue);
        (Self { sample, errors: PerSecond::new(errors), lines, losses }, receiver)
    }

    /// Logs the request, if it is to be.
    pub(crate) fn ended(&self, exchange: &Ended<'_>) {
        let ours = !matches!(exchange.outcome, Outcome::Answered | Outcome::ClientLeft);
        if (rand::random::<f64>() < self.sample || (ours && self.errors.takes(Instant::now())))
            && let Some(details) = exchange.details
        {
            // A line that there is no room for is not made.
            match self.lines.try_reserve() {
                Ok(room) => room.send(Line::of(exchange, details)),
                Err(_) => {
                    self.losses.lines.fetch_add(1, Relaxed);
                }
            }
        }
    }
}

/// Takes so many a second, the first of each.
#[derive(Debug)]
struct PerSecond {
    most: u32,
    started: Instant,
    /// The second, and below 32 bits how many were taken in it.
    taken: AtomicU64,
}

impl PerSecond {
    fn new(most: u32) -> Self {
        Self { most, started: Instant::now(), taken: AtomicU64::new(0) }
    }

    fn takes(&self, now: Instant) -> bool {
        let second = now.saturating_duration_since(self.started).as_secs() << 32;
        let taken = self.taken.fetch_update(Relaxed, Relaxed, |taken| {
            let count = if taken >= second { taken & u64::from(u32::MAX) } else { 0 };
            (count < self.most.into()).then_some(taken.max(second) + 1)
        });
        taken.is_ok()
    }
}

/// One request.
#[derive(Debug)]
struct Line {
    function: Option<FunctionName>,
    revision: Option<Arc<str>>,
    pod: Option<PodUid>,
    details: Details,
    status: Option<u16>,
    reason: &'static str,
    attempts: u32,
    duration: Duration,
    first_byte: Option<Duration>,
    held: Option<Duration>,
    phases: Option<Phases>,
    request_bytes: u64,
    response_bytes: u64,
}

impl Line {
    fn of(exchange: &Ended<'_>, details: &Details) -> Self {
        Self {
            function: exchange.function.map(|function| function.name().clone()),
            revision: exchange.revision.map(|revision| Arc::clone(&revision.name)),
            pod: details.pod.clone(),
            details: details.clone(),
            status: exchange.status,
            reason: exchange.outcome.reason(),
            attempts: exchange.attempts,
            duration: exchange.duration,
            first_byte: exchange.first_byte,
            held: exchange.held,
            phases: exchange.phases,
            request_bytes: exchange.request_bytes,
            response_bytes: exchange.response_bytes,
        }
    }

    fn write(&self) {
        let Details { method, version, tls, request_id, path_length, pod: _, trace } = &self.details;
        let milliseconds = |length: Duration| length.as_secs_f64() * 1000.0;
        let phase = |of: fn(&Phases) -> Duration| self.phases.as_ref().map(of).map(milliseconds);
        let name = self.function.as_ref();
        tracing::info!(
            target: "access",
            namespace = name.map(|name| &*name.namespace),
            function = name.map(|name| &*name.name),
            revision = self.revision.as_deref(),
            pod = self.pod.as_deref(),
            method,
            version,
            tls,
            path_length,
            request_id = request_id.to_str().ok(),
            trace_id = trace.as_ref().map(|trace| tracing::field::display(Hex(trace.id))),
            status = self.status,
            reason = Some(self.reason).filter(|reason| !reason.is_empty()),
            attempts = self.attempts,
            duration_ms = milliseconds(self.duration),
            first_byte_ms = self.first_byte.map(milliseconds),
            held_ms = self.held.map(milliseconds),
            cold = self.phases.map(|phases| phases.cold),
            wake_ms = phase(|phases| phases.wake),
            schedule_ms = phase(|phases| phases.schedule),
            start_ms = phase(|phases| phases.start),
            ready_ms = phase(|phases| phases.ready),
            queue_ms = phase(|phases| phases.queue),
            request_bytes = self.request_bytes,
            response_bytes = self.response_bytes,
            "request"
        );
    }
}

/// 32 digits.
struct Hex(u128);

impl fmt::Display for Hex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// Writes lines until nobody logs any more.
fn write(lines: &mut Receiver<Line>) {
    while let Some(line) = lines.blocking_recv() {
        line.write();
    }
}

#[cfg(test)]
mod tests;
