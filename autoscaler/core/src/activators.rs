//! Which activators exist, which of them are connected, and how far their measurements reach.
//!
//! An activator process is known by its boot. Its clock is tied to the leader's by the least delay seen lately; no wall
//! clock is used.

mod clock;
mod health;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use catnap_wire::PodUid;

use crate::effect::StreamId;
use crate::moment::{Moment, SECOND, moment, span};
use clock::Clock;
use health::Health;

/// A process that ended long ago is forgotten: twice the longest window.
const MEMORY: Moment = 2 * 3_600 * SECOND;
/// Processes of one pod that are remembered: more than a container that is started again and again has in that time.
const PROCESSES: usize = 32;
/// A connection that keeps up for this long is well: watermarks come every second.
const STREAM_WELL: Duration = Duration::from_millis(1_500);
/// An activator that keeps up for this long is well: longer than a Hello alone makes it look so.
const ACTIVATOR_WELL: Duration = Duration::from_secs(5);

/// One connection.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    /// The activator's pod, as authenticated.
    pub(crate) pod: PodUid,
    /// Its process, once a Hello named it.
    pub(crate) boot: Option<u64>,
    /// The whole Hello was received and answered.
    pub(crate) welcomed: bool,
    health: Health,
}

/// One activator process.
#[derive(Clone, Debug)]
struct Process {
    pod: PodUid,
    clock: Clock,
    /// Seconds of it that are complete for all revisions.
    complete: u64,
    heard: Moment,
}

impl Stream {
    /// Up to where its process measured.
    fn watermark(&self, processes: &BTreeMap<u64, Process>) -> Option<Moment> {
        let process = processes.get(&self.boot?)?;
        Some(process.clock.second_zero() + end_of(process.complete.checked_sub(1)?)?)
    }

    fn is_fresh(&self, processes: &BTreeMap<u64, Process>, now: Duration, lag: Duration) -> bool {
        self.welcomed && self.watermark(processes).is_some_and(|mark| moment(now) - mark <= span(lag))
    }
}

/// How far the measurements of all activators reach at one moment: the same for every revision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// The lowest watermark of those that keep up; `None` when nobody measures.
    pub(crate) watermark: Option<Moment>,
    /// Every existing activator is connected and keeps up, and there is one.
    pub(crate) complete: bool,
    /// Boot of the youngest connected activator.
    pub(crate) youngest: Option<Moment>,
}

/// All activators.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activators {
    existing: BTreeMap<PodUid, Existence>,
    streams: BTreeMap<StreamId, Stream>,
    processes: BTreeMap<u64, Process>,
}

/// A pod that should be connected and keep up.
#[derive(Clone, Copy, Debug)]
struct Existence {
    health: Health,
    reported: bool,
}

impl Activators {
    /// The watch's view of which pods exist.
    pub(crate) fn set_existing(&mut self, pods: &[PodUid], now: Duration) {
        self.existing.retain(|pod, _| pods.contains(pod));
        for pod in pods {
            self.existing
                .entry(pod.clone())
                .or_insert(Existence { health: Health::new(now), reported: false });
        }
    }

    /// A connection was accepted.
    pub(crate) fn opened(&mut self, stream: StreamId, pod: PodUid, now: Duration) {
        self.streams.insert(stream, Stream { pod, boot: None, welcomed: false, health: Health::new(now) });
    }

    /// A connection ended; tells what it was.
    pub(crate) fn closed(&mut self, stream: StreamId) -> Option<Stream> {
        self.streams.remove(&stream)
    }

    /// One connection.
    pub(crate) fn stream(&self, stream: StreamId) -> Option<&Stream> {
        self.streams.get(&stream)
    }

    /// Older connections of the same pod: a process has one stream, so they are dead.
    pub(crate) fn replaced_by(&self, stream: StreamId) -> Vec<StreamId> {
        let Some(pod) = self.streams.get(&stream).map(|stream| &stream.pod) else { return Vec::new() };
        self.streams
            .iter()
            .filter(|(id, other)| **id < stream && other.pod == *pod)
            .map(|(id, _)| *id)
            .collect()
    }

    /// A part of a Hello: what it says was measured before now, so its process's second 0 began no later than this. The first
    /// part on a stream ties the clock anew. False: not this pod's process, or not the one that the first part named.
    pub(crate) fn hello(&mut self, stream: StreamId, boot: u64, clock: Duration, now: Duration) -> bool {
        let Some(stream) = self.streams.get_mut(&stream) else { return false };
        let second_zero = moment(now) - span(clock);
        let first = stream.boot.is_none();
        let process = self.processes.entry(boot).or_insert_with(|| Process {
            pod: stream.pod.clone(),
            clock: Clock::tied(second_zero, moment(now)),
            complete: 0,
            heard: moment(now),
        });
        if process.pod != stream.pod || stream.boot.is_some_and(|named| named != boot) {
            return false;
        }
        if first {
            process.clock = Clock::tied(second_zero, moment(now));
        } else {
            process.clock.observe(second_zero, moment(now));
        }
        process.complete = process.complete.max(clock.as_secs());
        process.heard = moment(now);
        stream.boot = Some(boot);
        let pod = stream.pod.clone();
        self.forget_oldest(&pod);
        true
    }

    /// The clock of a Hello is far ahead of what the process said before: all that it measured would be moved into the past.
    pub(crate) fn has_jumped(&self, boot: u64, clock: Duration, now: Duration) -> bool {
        let second_zero = moment(now) - span(clock);
        self.processes.get(&boot).is_some_and(|process| !process.clock.allows(second_zero))
    }

    /// Of a pod's processes only the last ones are remembered.
    fn forget_oldest(&mut self, pod: &PodUid) {
        let of_pod = || self.processes.iter().filter(|(_, process)| process.pod == *pod);
        if of_pod().count() > PROCESSES
            && let Some((oldest, _)) = of_pod().min_by_key(|(_, process)| process.heard)
        {
            let oldest = *oldest;
            self.processes.remove(&oldest);
        }
    }

    /// The last part of a Hello was answered.
    pub(crate) fn welcomed(&mut self, stream: StreamId) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.welcomed = true;
        }
    }

    /// A second that a process claims is over: ties its clock closer. False: it lies in the future.
    pub(crate) fn finished(&mut self, boot: u64, index: u64, now: Duration) -> bool {
        let Some(process) = self.processes.get_mut(&boot) else { return false };
        let Some(end) = end_of(index) else { return false };
        if !process.clock.observe(moment(now).saturating_sub(end), moment(now)) {
            return false;
        }
        process.heard = moment(now);
        true
    }

    /// All seconds up to `index` are complete.
    pub(crate) fn through(&mut self, boot: u64, index: u64) {
        if let Some(process) = self.processes.get_mut(&boot) {
            process.complete = process.complete.max(index + 1);
        }
    }

    /// When a process's second 0 began.
    pub(crate) fn booted(&self, boot: u64) -> Option<Moment> {
        self.processes.get(&boot).map(|process| process.clock.second_zero())
    }

    /// Connections that are welcomed, in order.
    pub(crate) fn welcomed_streams(&self) -> impl Iterator<Item = (StreamId, &Stream)> {
        self.streams.iter().filter(|(_, stream)| stream.welcomed).map(|(id, stream)| (*id, stream))
    }

    fn fresh(&self, stream: &Stream, now: Duration, lag: Duration) -> bool {
        stream.is_fresh(&self.processes, now, lag)
    }

    /// All these pods are connected and fresh, and so is every other connection: a round may be agreed on with them.
    pub(crate) fn quorum(&self, pods: &[PodUid], now: Duration, lag: Duration) -> Option<BTreeSet<StreamId>> {
        let fresh = |stream: &Stream| self.fresh(stream, now, lag);
        let all =
            pods.iter().all(|pod| self.streams.values().any(|stream| stream.pod == *pod && fresh(stream)));
        (all && self.streams.values().all(fresh)).then(|| self.streams.keys().copied().collect())
    }

    /// How far measurements reach now, of activators that are behind by no more than `lag`.
    pub(crate) fn reach(&self, now: Duration, lag: Duration) -> Reach {
        let (watermark, complete) = (self.lowest_watermark(now, lag), self.complete(now, lag));
        Reach { watermark, complete, youngest: self.youngest() }
    }

    /// The lowest watermark of those that keep up; `None` when nobody measures.
    fn lowest_watermark(&self, now: Duration, lag: Duration) -> Option<Moment> {
        self.streams
            .values()
            .filter(|stream| self.fresh(stream, now, lag))
            .filter_map(|stream| stream.watermark(&self.processes))
            .min()
    }

    /// Every existing activator is connected and keeps up, and there is one.
    fn complete(&self, now: Duration, lag: Duration) -> bool {
        let keeps_up = |pod: &PodUid| self.streams.values().any(|s| s.pod == *pod && self.fresh(s, now, lag));
        !self.existing.is_empty() && self.existing.keys().all(keeps_up)
    }

    /// Boot of the youngest connected activator.
    fn youngest(&self) -> Option<Moment> {
        self.streams.values().filter_map(|stream| self.booted(stream.boot?)).max()
    }

    /// Connections that have not kept up for so long, or were not welcomed: a new one ties the clock anew. Call it with every
    /// tick.
    pub(crate) fn behind(&mut self, now: Duration, lag: Duration, limit: Duration) -> Vec<StreamId> {
        let Self { streams, processes, .. } = self;
        let mut behind = Vec::new();
        for (id, stream) in streams {
            let fresh = stream.is_fresh(processes, now, lag);
            stream.health.look(fresh, now, STREAM_WELL);
            if stream.health.ill(now) >= limit {
                behind.push(*id);
            }
        }
        behind
    }

    /// Activators that exist and were not connected, or did not keep up, for so long; each is told once until it is well. Call
    /// it with every tick.
    pub(crate) fn silent(&mut self, now: Duration, lag: Duration, limit: Duration) -> Vec<PodUid> {
        let mut silent = Vec::new();
        let Self { existing, streams, processes } = self;
        for (pod, existence) in existing {
            let fresh =
                streams.values().any(|stream| stream.pod == *pod && stream.is_fresh(processes, now, lag));
            existence.health.look(fresh, now, ACTIVATOR_WELL);
            let ill = existence.health.ill(now);
            if ill.is_zero() {
                existence.reported = false;
            } else if !fresh && !existence.reported && ill >= limit {
                existence.reported = true;
                silent.push(pod.clone());
            }
        }
        silent
    }

    /// Activators of which [`Activators::silent`] told, and that have not connected since.
    pub(crate) fn silent_count(&self) -> usize {
        self.existing.values().filter(|existence| existence.reported).count()
    }

    /// Forgets processes that ended long ago.
    pub(crate) fn age_out(&mut self, now: Duration) {
        let streams = &self.streams;
        self.processes.retain(|boot, process| {
            streams.values().any(|stream| stream.boot == Some(*boot)) || moment(now) - process.heard < MEMORY
        });
    }
}

/// The end of a second, as a span since its process's boot; `None` for an absurd index.
fn end_of(index: u64) -> Option<Moment> {
    Moment::try_from(index).ok()?.checked_add(1)?.checked_mul(SECOND)
}

#[cfg(test)]
mod tests;
