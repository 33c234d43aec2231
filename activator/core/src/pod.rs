//! Pods of a revision: what the watch says of them and what the activator knows itself.

use crate::phases::Milestones;
use crate::probe::{Attempt, Schedule};
use crate::reason::Trouble;
use catnap_wire::message::PodUid;
use std::net::SocketAddr;
use std::time::Duration;

/// How a function speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 by prior knowledge.
    H2c,
}

/// A pod as the watch shows it. Pods that are gone are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
pub struct Pod {
    /// UID of the pod.
    pub uid: PodUid,
    /// Pod IP and the revision's port; `None` until it has one.
    pub address: Option<SocketAddr>,
    /// The function's container runs.
    pub started: bool,
    /// Kubernetes' condition `Ready`.
    pub ready: bool,
    /// Takes requests only while it is `ready`: that its port answers is not enough.
    pub requires_ready: bool,
    /// Being deleted, or `Succeeded` or `Failed`: takes no new request.
    pub terminating: bool,
    /// What keeps it from starting, when known.
    pub trouble: Option<Trouble>,
}

/// Names a pod inside its revision, for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodKey(pub(crate) u32);

/// A pod that refused this many connections in a row is set aside until a probe succeeds.
pub(crate) const FAILURES_ALLOWED: u32 = 2;

/// Everything known of one pod.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
pub(crate) struct PodState {
    pub(crate) pod: Pod,
    /// The watch no longer shows it; kept only until its exchanges ended.
    pub(crate) gone: bool,
    pub(crate) in_flight: u32,
    /// Exchanges that other activators have open, as far as they count here.
    pub(crate) elsewhere: u32,
    /// Its port answered a probe since it was last not Ready.
    pub(crate) answered: bool,
    /// Connections refused in a row.
    pub(crate) failures: u32,
    /// Its last exchange ended without the head of a response.
    pub(crate) broke_off: bool,
    pub(crate) seen: Milestones,
    pub(crate) probe: Schedule,
    /// May take requests, limits aside, as of the last decision about that.
    pub(crate) usable: bool,
    /// Others are used first.
    pub(crate) avoided: bool,
}

impl PodState {
    pub(crate) fn new(pod: Pod, now: Duration) -> Self {
        let mut state = Self {
            pod: Pod { ready: false, started: false, address: None, ..pod.clone() },
            gone: false,
            in_flight: 0,
            elsewhere: 0,
            answered: false,
            failures: 0,
            broke_off: false,
            seen: Milestones::default(),
            probe: Schedule::default(),
            usable: false,
            avoided: false,
        };
        state.update(pod, now);
        state
    }

    /// Takes over what the watch shows now.
    pub(crate) fn update(&mut self, pod: Pod, now: Duration) {
        if pod.address.is_some() && pod.address == self.pod.address {
            // A pod that was Ready, or a container that ran, and is not any more, has to show again that it answers.
            if self.pod.ready && !pod.ready || self.pod.started && !pod.started {
                self.answered = false;
                self.seen.answered = None;
            }
            // What refused connections may be another server by now, or one that only lacked time to listen.
            if !self.pod.ready && pod.ready || !self.pod.started && pod.started {
                self.trust_again();
            }
        } else {
            self.answered = false;
            self.seen = Milestones::default();
            self.trust_again();
            if pod.address.is_some() {
                self.seen.addressed = Some(now);
            }
        }
        if pod.started {
            self.seen.started.get_or_insert(now);
        } else {
            self.seen.started = None;
        }
        if pod.ready {
            self.seen.answered.get_or_insert(now);
        }
        self.gone = false;
        self.pod = pod;
    }

    /// Its port answered, or not.
    pub(crate) fn probed(&mut self, answered: bool, now: Duration) {
        let connected_only = self.probe.finished(now) == Some(Attempt::Connect);
        if answered {
            self.trust_again();
            // A connection says nothing of a readiness path: whoever was not known to be ready still has to show it.
            if !connected_only {
                self.answered = true;
                self.seen.answered.get_or_insert(now);
            }
        }
    }

    fn trust_again(&mut self) {
        self.failures = 0;
        self.broke_off = false;
        self.probe.restart();
    }

    /// Refused so often that only a successful probe brings it back.
    pub(crate) fn set_aside(&self) -> bool {
        self.failures >= FAILURES_ALLOWED
    }

    /// It just refused a connection or broke off: others are to be preferred.
    pub(crate) fn just_failed(&self) -> bool {
        self.failures > 0 || self.broke_off
    }

    /// What counts against the limit.
    pub(crate) fn load(&self) -> u32 {
        self.in_flight.saturating_add(self.elsewhere)
    }

    /// Neither gone nor on its way out.
    pub(crate) fn lives(&self) -> bool {
        !self.gone && !self.pod.terminating
    }

    /// Where to send requests; `None` when the pod cannot take any, gates and limits aside.
    pub(crate) fn reachable(&self) -> Option<SocketAddr> {
        let answers = self.pod.ready || self.answered && !self.pod.requires_ready;
        self.pod.address.filter(|_| self.lives() && answers && !self.set_aside())
    }

    /// Whether an answer of its port could make it reachable.
    pub(crate) fn probing_helps(&self) -> bool {
        self.pod.ready || !self.pod.requires_ready
    }

    /// Trouble that will not pass by waiting, while the pod does not answer.
    pub(crate) fn hopeless(&self) -> Option<&Trouble> {
        self.pod.trouble.as_ref().filter(|trouble| trouble.reason.ends_wait() && self.reachable().is_none())
    }
}
