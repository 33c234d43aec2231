//! What the activators want of a revision: held requests, pressure, pods in use, and since when nothing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use catnap_wire::{Bucket, LeaderFrame, PodReport, PodUid, Pressure, WakeAnswer};

use super::Revision;
use crate::context::Context;
use crate::effect::StreamId;
use crate::gate::{Gate, Phase};
use crate::moment::{Moment, SECOND, moment, span};

/// Pressure that does not stand and is not repeated for this long is over; an activator repeats it every 100 ms and tells
/// its end.
const PRESSURE_OVER: Duration = Duration::from_millis(350);

/// What one connected activator said last.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    wake: Option<Waking>,
    pressure: Option<Pressed>,
    pods: Vec<PodReport>,
}

/// Requests held without a usable pod, those that arrived in a second, and when that was said.
#[derive(Clone, Copy, Debug)]
struct Waking {
    held: u64,
    arrivals: u64,
    at: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Pressed {
    requests: u64,
    since: Duration,
    at: Duration,
    /// It is not repeated.
    standing: bool,
}

impl Pressed {
    fn is_current(&self, now: Duration) -> bool {
        self.standing || now.saturating_sub(self.at) < PRESSURE_OVER
    }
}

impl View {
    /// It says of no request.
    pub(super) fn is_quiet(&self) -> bool {
        self.wake.is_none() && self.pressure.is_none() && self.in_flight() == 0
    }

    fn in_flight(&self) -> u64 {
        sum(self.pods.iter().map(|pod| pod.in_flight))
    }
}

/// What several activators say may be absurd together, too.
fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

/// Since when a revision is idle: the latest of all that counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdleClock {
    since: Moment,
}

impl Default for IdleClock {
    fn default() -> Self {
        Self { since: Moment::MIN }
    }
}

impl IdleClock {
    /// A request was there, or a pod began to wait for the first one.
    pub(crate) fn restart(&mut self, now: Duration) {
        self.restart_at(moment(now));
    }

    fn restart_at(&mut self, at: Moment) {
        self.since = self.since.max(at);
    }

    /// The idle time has passed. What ended before this leader and the youngest activator started, nobody remembers.
    pub(crate) fn passed(
        self,
        idle_after: Duration,
        youngest: Option<Moment>,
        context: &Context<'_>,
    ) -> bool {
        let mut since = self.since;
        if context.age() < idle_after {
            since = since.max(youngest.unwrap_or_else(|| moment(context.started)));
        }
        moment(context.now).saturating_sub(since) >= span(idle_after)
    }
}

/// Neither this leader nor the youngest activator has seen a whole window.
pub(super) fn history_is_short(window: Duration, youngest: Option<Moment>, context: &Context<'_>) -> bool {
    let young = youngest.is_none_or(|booted| moment(context.now) - booted < span(window));
    context.age() < window && young
}

impl Revision {
    /// Pods that could serve if no gate were closed.
    pub(super) fn ready(&self) -> u32 {
        let alive = || self.pods.iter().filter(|pod| !pod.terminating);
        let mut ready = alive().filter(|pod| pod.ready).count();
        if alive().any(|pod| !pod.ready) {
            let reports = self.views.values().flat_map(|view| &view.pods);
            let usable: HashSet<&PodUid> =
                reports.filter(|report| report.usable).map(|report| &report.uid).collect();
            ready += alive().filter(|pod| !pod.ready && usable.contains(&pod.uid)).count();
        }
        u32::try_from(ready).unwrap_or(u32::MAX)
    }

    /// Requests in flight, from all activators that are connected, on each pod that has some.
    pub(super) fn in_flight_by_pod(&self) -> HashMap<&PodUid, u64> {
        let mut counts: HashMap<&PodUid, u64> = HashMap::new();
        for report in self.serving() {
            let count = counts.entry(&report.uid).or_default();
            *count = count.saturating_add(report.in_flight);
        }
        counts
    }

    /// What is said of pods that have requests in flight.
    pub(super) fn serving(&self) -> impl Iterator<Item = &PodReport> {
        self.views.values().flat_map(|view| &view.pods).filter(|report| report.in_flight > 0)
    }

    /// Requests held without a usable pod, as far as said lately.
    pub(super) fn held(&self, context: &Context<'_>) -> u64 {
        sum(self.wakes(context).map(|wake| wake.held))
    }

    /// Requests that arrived in one second where requests are held without a usable pod, as far as said lately.
    pub(super) fn arrivals(&self, context: &Context<'_>) -> u64 {
        sum(self.wakes(context).map(|wake| wake.arrivals))
    }

    fn wakes(&self, context: &Context<'_>) -> impl Iterator<Item = Waking> {
        let lately = |wake: &Waking| context.now.saturating_sub(wake.at) < context.settings.wake;
        self.views.values().filter_map(|view| view.wake).filter(lately)
    }

    /// All requests in the revision while some activator has had no free capacity for long enough; else 0.
    pub(super) fn pressed(&self, context: &Context<'_>) -> u64 {
        let now = context.now;
        let current = |pressed: &Pressed| pressed.is_current(now);
        let lasting = |pressed: &Pressed| {
            current(pressed) && now.saturating_sub(pressed.since) >= context.settings.pressure
        };
        if !self.views.values().filter_map(|view| view.pressure.as_ref()).any(lasting) {
            return 0;
        }
        sum(self.views.values().map(|view| {
            view.pressure.filter(current).map_or_else(|| view.in_flight(), |pressed| pressed.requests)
        }))
    }

    /// Something is in flight.
    pub(super) fn is_serving(&self) -> bool {
        self.serving().next().is_some()
    }

    /// Somebody holds a request and has said so lately.
    pub(super) fn wanted(&self, context: &Context<'_>) -> bool {
        self.held(context) > 0
    }

    /// Finished seconds of an activator process whose second 0 began at `booted`.
    pub(crate) fn measured(
        &mut self,
        boot: u64,
        booted: Moment,
        buckets: &[Bucket],
        context: &mut Context<'_>,
    ) {
        let now = moment(context.now);
        for bucket in buckets.iter().filter(|bucket| bucket.request_microseconds > 0 || bucket.arrivals > 0) {
            self.series.record(boot, *bucket);
            let end = Moment::try_from(bucket.index + 1).unwrap_or(0).saturating_mul(SECOND);
            let end = booted.saturating_add(end).min(now);
            self.idle.restart_at(end);
            self.pulse(end.saturating_sub(SECOND), end, context);
        }
    }

    /// What an activator says of all its pods.
    pub(crate) fn pods_reported(
        &mut self,
        stream: StreamId,
        pods: Vec<PodReport>,
        context: &mut Context<'_>,
    ) {
        let up = self.gate.as_ref().is_some_and(Gate::lets_use);
        let view = self.views.entry(stream).or_default();
        let usable = |pods: &[PodReport]| pods.iter().filter(|pod| pod.usable).count();
        self.news |= usable(&view.pods) != usable(&pods);
        let busy = view.in_flight() > 0 || pods.iter().any(|pod| pod.in_flight > 0);
        // A usable pod ends the wake; the requests may go on waiting for capacity. Not one that goes with a zero.
        if pods.iter().any(|pod| pod.usable) && up {
            view.wake = None;
        }
        view.pods = pods;
        if busy {
            self.requested(context);
        }
    }

    /// There is a request now.
    fn requested(&mut self, context: &mut Context<'_>) {
        self.idle.restart(context.now);
        self.pulse(moment(context.now), moment(context.now), context);
    }

    /// An activator holds requests and has no usable pod.
    pub(crate) fn woken(&mut self, stream: StreamId, held: u64, arrivals: u64, context: &mut Context<'_>) {
        let at = context.now;
        self.views.entry(stream).or_default().wake = Some(Waking { held, arrivals, at });
        self.requested(context);
        self.news = true;
        if matches!(self.phase(), Some(Phase::Closing(_))) {
            self.open_all(context);
        }
        self.answer_wake(stream, context);
    }

    fn answer_wake(&self, stream: StreamId, context: &mut Context<'_>) {
        let (Some(gate), Some(scale)) = (&self.gate, &self.scale) else { return };
        let written = WakeAnswer::Written { replicas: scale.replicas };
        let answer = match &gate.phase {
            Phase::Up(None) if gate.has_usable(&self.pods) => {
                context.send(stream, LeaderFrame::Open(gate.verdict(&self.id)));
                WakeAnswer::Open
            }
            _ if gate.lets_use() => written,
            Phase::Up(_) | Phase::Closing(_) | Phase::Commit(_) | Phase::Zero { .. } => WakeAnswer::Queued,
        };
        context.send(stream, LeaderFrame::WakeReply { revision: self.id.clone(), answer });
    }

    /// Nobody has said lately that requests are held, and nobody says that they are not: it would never rest.
    pub(super) fn forget_wakes(&mut self) {
        for view in self.views.values_mut() {
            view.wake = None;
        }
    }

    /// Tells all that wait for a write that it was made, once they may use what it brings.
    pub(super) fn answer_written(&self, replicas: u32, context: &mut Context<'_>) {
        if !self.gate.as_ref().is_some_and(Gate::lets_use) {
            return;
        }
        for (stream, view) in &self.views {
            if view.wake.is_some() {
                let answer = WakeAnswer::Written { replicas };
                context.send(*stream, LeaderFrame::WakeReply { revision: self.id.clone(), answer });
            }
        }
    }

    /// An activator has no free capacity, or again some.
    pub(crate) fn pressed_by(&mut self, stream: StreamId, pressure: &Pressure, context: &mut Context<'_>) {
        let now = context.now;
        let view = self.views.entry(stream).or_default();
        if pressure.held == 0 {
            // What did not last was in no decision.
            let counted = |over: Pressed| now.saturating_sub(over.since) >= context.settings.pressure;
            self.news |= view.pressure.take().is_some_and(counted);
            return;
        }
        let lasts = view.pressure.filter(|old| old.is_current(now));
        let since = lasts.map_or(now, |old| old.since);
        let requests = pressure.held.saturating_add(pressure.in_flight);
        view.pressure = Some(Pressed { requests, since, at: now, standing: pressure.standing });
        self.requested(context);
        // Without the pods that are closed there is too little capacity.
        if let Some(Phase::Closing(_)) = self.phase() {
            self.open_all(context);
        }
        self.news |= now.saturating_sub(since) >= context.settings.pressure;
        let at_max = self.decision.as_ref().is_some_and(|(_, decision)| decision.at_max);
        if at_max && self.scale.as_ref().is_some_and(|scale| self.policy_max() <= scale.replicas) {
            let answer = WakeAnswer::AtMax;
            context.send(stream, LeaderFrame::WakeReply { revision: self.id.clone(), answer });
        }
    }

    fn policy_max(&self) -> u32 {
        self.policy.as_ref().map_or(0, |(policy, _)| policy.max)
    }

    /// A connection is gone, and with it what it said.
    pub(crate) fn disconnected(&mut self, stream: StreamId, context: &mut Context<'_>) {
        if let Some(view) = self.views.remove(&stream)
            && (view.wake.is_some() || view.in_flight() > 0)
        {
            self.requested(context);
            self.news = true;
        }
        if matches!(self.phase(), Some(Phase::Closing(_))) {
            self.open_all(context);
        }
    }

    /// Takes over what a Hello says of this moment.
    pub(super) fn hello_view(
        &mut self,
        stream: StreamId,
        held: u64,
        in_flight: u64,
        pods: Vec<PodReport>,
        idle: Option<u64>,
        context: &mut Context<'_>,
    ) {
        let now = context.now;
        if held > 0 || in_flight > 0 {
            self.requested(context);
        } else if let Some(idle) = idle {
            let ended = moment(now).saturating_sub(span(Duration::from_millis(idle)));
            self.idle.restart_at(ended);
            self.times.ended(ended);
        }
        let usable = pods.iter().any(|pod| pod.usable);
        let wake = (held > 0 && !usable).then_some(Waking { held, arrivals: 0, at: now });
        self.views.insert(stream, View { wake, pressure: None, pods });
        self.news = true;
    }
}
