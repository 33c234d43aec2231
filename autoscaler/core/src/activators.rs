//! Which activators exist, which of them are connected, and how far their measurements reach.
//!
//! An activator process is known by its boot. Its clock is tied to the leader's by the least delay ever seen; no wall clock
//! is used.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use catnap_wire::PodUid;

use crate::effect::StreamId;
use crate::moment::{Moment, SECOND, moment, span};

/// A process that ended long ago is forgotten: twice the longest window.
const MEMORY: Moment = 2 * 3_600 * SECOND;
/// How late a Hello may have been read: pings end a stream that is slower than 2 s, and a leader that was paused for longer
/// than 4 s leads no more. What would prove a longer delay lies in the future.
const TOLERANCE: Moment = 8 * SECOND;

/// One connection.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    /// The activator's pod, as authenticated.
    pub(crate) pod: PodUid,
    /// Its process, once a Hello named it.
    pub(crate) boot: Option<u64>,
    /// The whole Hello was received and answered.
    pub(crate) welcomed: bool,
}

/// One activator process.
#[derive(Clone, Copy, Debug)]
struct Process {
    /// When its second 0 began, at the latest, by its hellos alone.
    greeted: Moment,
    /// The same by the least delay of all that it said.
    booted: Moment,
    /// Seconds of it that are complete for all revisions.
    complete: u64,
    heard: Moment,
}

/// All activators.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activators {
    existing: BTreeMap<PodUid, Existence>,
    streams: BTreeMap<StreamId, Stream>,
    processes: BTreeMap<u64, Process>,
}

#[derive(Clone, Copy, Debug)]
struct Existence {
    since: Duration,
    reported: bool,
}

impl Activators {
    /// The watch's view of which pods exist.
    pub(crate) fn set_existing(&mut self, pods: &[PodUid], now: Duration) {
        self.existing.retain(|pod, _| pods.contains(pod));
        for pod in pods {
            self.existing.entry(pod.clone()).or_insert(Existence { since: now, reported: false });
        }
    }

    /// A connection was accepted.
    pub(crate) fn opened(&mut self, stream: StreamId, pod: PodUid) {
        self.streams.insert(stream, Stream { pod, boot: None, welcomed: false });
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

    /// A part of a Hello: ties the process's clock to ours. What it says was measured before now, so its second 0 began no
    /// later than this.
    pub(crate) fn hello(&mut self, stream: StreamId, boot: u64, clock: Duration, now: Duration) {
        let booted = moment(now) - span(clock);
        let process = self.processes.entry(boot).or_insert(Process {
            greeted: booted,
            booted,
            complete: 0,
            heard: moment(now),
        });
        process.greeted = process.greeted.min(booted);
        process.booted = process.booted.min(booted);
        process.complete = process.complete.max(clock.as_secs());
        process.heard = moment(now);
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.boot = Some(boot);
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
        let booted = moment(now).saturating_sub(end);
        if booted < process.greeted - TOLERANCE {
            return false;
        }
        process.booted = process.booted.min(booted);
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
        self.processes.get(&boot).map(|process| process.booted)
    }

    /// Up to where a connected process measured.
    fn watermark(&self, stream: &Stream) -> Option<Moment> {
        let process = self.processes.get(&stream.boot?)?;
        Some(process.booted + end_of(process.complete.checked_sub(1)?)?)
    }

    /// Connections that are welcomed, in order.
    pub(crate) fn welcomed_streams(&self) -> impl Iterator<Item = (StreamId, &Stream)> {
        self.streams.iter().filter(|(_, stream)| stream.welcomed).map(|(id, stream)| (*id, stream))
    }

    fn fresh(&self, stream: &Stream, now: Duration, lag: Duration) -> bool {
        stream.welcomed && self.watermark(stream).is_some_and(|mark| moment(now) - mark <= span(lag))
    }

    /// All these pods are connected and fresh, and so is every other connection: a round may be agreed on with them.
    pub(crate) fn quorum(&self, pods: &[PodUid], now: Duration, lag: Duration) -> Option<BTreeSet<StreamId>> {
        let fresh = |stream: &Stream| self.fresh(stream, now, lag);
        let all =
            pods.iter().all(|pod| self.streams.values().any(|stream| stream.pod == *pod && fresh(stream)));
        (all && self.streams.values().all(fresh)).then(|| self.streams.keys().copied().collect())
    }

    /// The lowest watermark of those that keep up; `None` when nobody measures.
    pub(crate) fn lowest_watermark(&self, now: Duration, lag: Duration) -> Option<Moment> {
        self.streams
            .values()
            .filter(|stream| self.fresh(stream, now, lag))
            .filter_map(|stream| self.watermark(stream))
            .min()
    }

    /// Every existing activator is connected and keeps up, and there is one.
    pub(crate) fn complete(&self, now: Duration, lag: Duration) -> bool {
        let keeps_up = |pod: &PodUid| self.streams.values().any(|s| s.pod == *pod && self.fresh(s, now, lag));
        !self.existing.is_empty() && self.existing.keys().all(keeps_up)
    }

    /// Boot of the youngest connected activator.
    pub(crate) fn youngest(&self) -> Option<Moment> {
        self.streams.values().filter_map(|stream| self.booted(stream.boot?)).max()
    }

    /// Activators that exist and were not connected for so long; each is told once until it connects.
    pub(crate) fn silent(&mut self, now: Duration, limit: Duration) -> Vec<PodUid> {
        let mut silent = Vec::new();
        for (pod, existence) in &mut self.existing {
            if self.streams.values().any(|stream| stream.pod == *pod && stream.welcomed) {
                *existence = Existence { since: now, reported: false };
            } else if !existence.reported && now.saturating_sub(existence.since) >= limit {
                existence.reported = true;
                silent.push(pod.clone());
            }
        }
        silent
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
