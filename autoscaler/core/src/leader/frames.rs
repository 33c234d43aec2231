//! What an activator may say, and in which order: a Hello first, then the rest; what breaks the rules is refused and counted.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use catnap_wire::limits::{
    MAX_BUCKETS, MAX_LIFE_SECONDS, MAX_PODS, MAX_REQUEST_MICROSECONDS, MAX_REQUESTS, welcome_parts,
};
use catnap_wire::message::HELLO_PART;
use catnap_wire::{ActivatorFrame, Bucket, Hello, LeaderFrame, PodUid, RevisionId, Welcome};

use super::Leader;
use crate::effect::{Effect, StreamId};
use crate::revision::{Revision, Said};

/// Parts of a Hello: a million revisions, or 8 GB.
const MOST_PARTS: usize = 1_000;
/// No process runs this long, so no clock shows it.
const LONGEST_LIFE: Duration = Duration::from_secs(MAX_LIFE_SECONDS);

/// Why something that an activator said was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Measured later than now, or by a clock that has jumped there.
    Future,
    /// More entries than a message may have.
    Oversized,
    /// A value that cannot be.
    Malformed,
    /// About a revision that this leader does not know.
    UnknownRevision,
    /// Not this pod's stream, or not this frame's turn.
    Protocol,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// A Hello of which not all parts have come.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    parts: usize,
    said: BTreeMap<RevisionId, Said>,
}

impl Leader {
    /// An authenticated activator connected. Its first frame must be a Hello.
    pub fn stream_opened(&mut self, stream: StreamId, pod: PodUid, now: Duration) {
        self.at(now);
        self.activators.opened(stream, pod, now);
    }

    /// A stream ended, whoever ended it.
    pub fn stream_closed(&mut self, stream: StreamId, now: Duration) {
        self.at(now);
        self.greetings.remove(&stream);
        if self.activators.closed(stream).is_some() {
            self.each(|revision, context| revision.disconnected(stream, context));
        }
    }

    /// A frame of an activator, in the order of its stream.
    pub fn activator_frame(&mut self, stream: StreamId, frame: ActivatorFrame, now: Duration) {
        self.at(now);
        let Some(known) = self.activators.stream(stream) else { return };
        let boot = known.boot.filter(|_| known.welcomed);
        match (frame, boot) {
            (ActivatorFrame::Hello(hello), None) if hello.pod_uid == known.pod => self.greet(stream, hello),
            (ActivatorFrame::Hello(_), _) | (_, None) => {
                self.refuse(Refusal::Protocol);
                self.disconnect(stream, "hello expected, once, of the pod that was authenticated");
            }
            (frame, Some(_)) if !is_possible(&frame) => self.refuse(Refusal::Malformed),
            (frame, Some(boot)) => self.heard(stream, boot, frame),
        }
    }

    fn heard(&mut self, stream: StreamId, boot: u64, frame: ActivatorFrame) {
        let now = self.now;
        match frame {
            // How requests end decides nothing here.
            ActivatorFrame::Hello(_) | ActivatorFrame::Outcomes(_) => {}
            ActivatorFrame::Buckets { revision, buckets } => self.measured(&revision, boot, &buckets),
            ActivatorFrame::Through { index } => {
                if self.activators.finished(boot, index, now) {
                    self.activators.through(boot, index);
                } else {
                    // The next hello ties its clock anew.
                    self.refuse(Refusal::Future);
                    self.disconnect(stream, "a second of the future is said to be over");
                }
            }
            ActivatorFrame::Wake { revision, held, arrivals } => {
                self.about(&revision, |revision, context| {
                    revision.woken(stream, held, arrivals, context);
                    revision.decide(context);
                });
            }
            ActivatorFrame::Pressure(list) => {
                for pressure in &list {
                    self.about(&pressure.revision, |revision, context| {
                        revision.pressed_by(stream, pressure, context);
                        revision.decide(context);
                    });
                }
            }
            ActivatorFrame::Pods { revision, pods } if pods.len() <= MAX_PODS => {
                self.about(&revision, |revision, context| revision.pods_reported(stream, pods, context));
            }
            ActivatorFrame::Pods { .. } => self.refuse(Refusal::Oversized),
            ActivatorFrame::Ack { revision, gate } => {
                self.about(&revision, |revision, context| revision.acknowledged(stream, gate, context));
            }
            ActivatorFrame::Busy { revision, gate } => {
                self.about(&revision, |revision, context| revision.refused(gate, context));
            }
        }
    }

    fn greet(&mut self, stream: StreamId, hello: Hello) {
        let now = self.now;
        let clock = Duration::from_millis(hello.clock_milliseconds);
        if clock > LONGEST_LIFE || hello.revisions.len() > HELLO_PART {
            self.refuse(if clock > LONGEST_LIFE { Refusal::Malformed } else { Refusal::Oversized });
            self.disconnect(stream, "hello out of bounds");
            return;
        }
        if self.activators.has_jumped(hello.boot, clock, now) {
            self.refuse(Refusal::Future);
            self.disconnect(stream, "the clock has jumped since an earlier hello");
            return;
        }
        if !self.activators.hello(stream, hello.boot, clock, now) {
            self.refuse(Refusal::Protocol);
            self.disconnect(stream, "hello of another process");
            return;
        }
        let greeting = self.greetings.entry(stream).or_default();
        greeting.parts += 1;
        if greeting.parts > MOST_PARTS || (hello.more && hello.revisions.is_empty()) {
            self.refuse(Refusal::Oversized);
            self.disconnect(stream, "hello in too many parts");
            return;
        }
        // Until it is welcomed no round begins, so that once is enough.
        if greeting.parts == 1 {
            for old in self.activators.replaced_by(stream) {
                self.disconnect(old, "the activator connected anew");
            }
            self.each(|revision, context| {
                revision.take_over(context);
                revision.stranger(context);
            });
        }
        for report in hello.revisions {
            let id = report.revision.clone();
            if report.pods.len() > MAX_PODS {
                self.refuse(Refusal::Oversized);
                continue;
            }
            let in_pods = report.pods.iter().map(|pod| pod.in_flight);
            if !are_possible([report.held, report.in_flight].into_iter().chain(in_pods)) {
                self.refuse(Refusal::Malformed);
                continue;
            }
            self.measured(&id, hello.boot, &report.buckets);
            let said = self.about(&id, |revision, context| revision.introduced(stream, report, context));
            if let Some(said) = said {
                self.greetings.entry(stream).or_default().said.insert(id, said);
            }
        }
        if !hello.more {
            self.welcome(stream);
        }
    }

    fn welcome(&mut self, stream: StreamId) {
        let said = self.greetings.remove(&stream).unwrap_or_default().said;
        let (mut closed, nothing) = (Vec::new(), Said::default());
        self.each(|revision, context| {
            revision.take_over(context);
            let said = said.get(revision.id()).unwrap_or(&nothing);
            closed.extend(revision.welcome(stream, said, context));
        });
        let term = self.term;
        let mut parts = welcome_parts(closed).into_iter().peekable();
        while let Some(closed) = parts.next() {
            let frame = LeaderFrame::Welcome(Welcome { term, closed, more: parts.peek().is_some() });
            self.effects.push(Effect::Send { stream, frame });
        }
        self.activators.welcomed(stream);
        self.each(Revision::decide);
    }

    fn measured(&mut self, id: &RevisionId, boot: u64, buckets: &[Bucket]) {
        let now = self.now;
        if buckets.len() > MAX_BUCKETS {
            self.refuse(Refusal::Oversized);
            return;
        }
        let mut good = Vec::with_capacity(buckets.len());
        for bucket in buckets {
            if bucket.request_microseconds > MAX_REQUEST_MICROSECONDS || bucket.arrivals > MAX_REQUESTS {
                self.refuse(Refusal::Malformed);
            } else if !self.activators.finished(boot, bucket.index, now) {
                self.refuse(Refusal::Future);
            } else {
                good.push(*bucket);
            }
        }
        if let Some(booted) = self.activators.booted(boot) {
            self.about(id, |revision, context| revision.measured(boot, booted, &good, context));
        }
    }

    fn about<T>(
        &mut self,
        id: &RevisionId,
        step: impl FnOnce(&mut Revision, &mut crate::context::Context<'_>) -> T,
    ) -> Option<T> {
        let done = self.with_revision(id, step);
        if done.is_none() {
            self.refuse(Refusal::UnknownRevision);
        }
        done
    }

    fn refuse(&mut self, refusal: Refusal) {
        *self.refused.entry(refusal).or_default() += 1;
    }

    pub(super) fn disconnect(&mut self, stream: StreamId, reason: &'static str) {
        self.stream_closed(stream, self.now);
        self.effects.push(Effect::Disconnect { stream, reason });
    }
}

/// No count in it is more than one process can have. Those of a Hello are looked at report by report, of buckets one by one.
fn is_possible(frame: &ActivatorFrame) -> bool {
    match frame {
        ActivatorFrame::Wake { held, arrivals, .. } => are_possible([*held, *arrivals]),
        ActivatorFrame::Pressure(list) => {
            are_possible(list.iter().flat_map(|pressure| [pressure.held, pressure.in_flight]))
        }
        ActivatorFrame::Pods { pods, .. } => are_possible(pods.iter().map(|pod| pod.in_flight)),
        ActivatorFrame::Hello(_)
        | ActivatorFrame::Outcomes(_)
        | ActivatorFrame::Buckets { .. }
        | ActivatorFrame::Through { .. }
        | ActivatorFrame::Ack { .. }
        | ActivatorFrame::Busy { .. } => true,
    }
}

fn are_possible(counts: impl IntoIterator<Item = u64>) -> bool {
    counts.into_iter().all(|count| count <= MAX_REQUESTS)
}
