//! Pods of a revision come, answer, fail and go.

use super::{Effects, Revision};
use crate::effect::Effect;
use crate::pod::Pod;
use crate::probe::Attempt;
use crate::reason::{Reason, Trouble};
use catnap_wire::message::PodUid;
use std::sync::Arc;
use std::time::Duration;

/// Held requests wait for the other pods of the same activation at most this long after the first one is up.
const SPREAD: Duration = Duration::from_secs(1);

impl<W> Revision<W> {
    /// All pods of the revision, as the watch shows them now.
    pub fn set_pods(&mut self, pods: Vec<Pod>, now: Duration, out: &mut Effects<W>) {
        if self.wake.needed() && pods.iter().any(|pod| !pod.terminating && !self.gate.condemned(&pod.uid)) {
            self.wake.written.get_or_insert(now);
        }
        for gone in self.capacity.set(pods, now) {
            self.gate.forget(&gone);
        }
        self.pressing.changed();
        self.count_new_elsewhere();
        self.changed(now, out);
        self.fail_hopeless(now, out);
    }

    /// The pod's port answered, or not.
    pub fn probed(&mut self, uid: &PodUid, answered: bool, now: Duration, out: &mut Effects<W>) {
        if let Some(state) = self.capacity.by_uid(uid) {
            state.probed(answered, now);
            self.changed(now, out);
        }
    }

    /// Fails what is held when no pod can come.
    pub(super) fn fail_hopeless(&mut self, now: Duration, out: &mut Effects<W>) {
        if !self.queue.is_empty()
            && let Some(trouble) = self.hopeless()
        {
            self.fail_held(&trouble, now, out);
        }
    }

    /// There are pods, none is usable, and each has a trouble that does not pass by waiting.
    pub(super) fn hopeless(&self) -> Option<Trouble> {
        let mut first = None;
        for (_, state) in self.capacity.pods().filter(|(_, state)| state.lives()) {
            if self.gate.condemned(&state.pod.uid) {
                continue;
            }
            let trouble = state.hopeless()?;
            first.get_or_insert(trouble);
        }
        first.cloned()
    }

    /// More pods are on their way, and the first one is not up for long.
    pub(super) fn spreading(&self, now: Duration) -> bool {
        self.spread_until.is_some_and(|until| now < until) && self.more_expected()
    }

    /// The first pod of an activation is up: from now on its share is limited for a while.
    pub(super) fn start_spreading(&mut self, now: Duration) {
        if self.capacity.usable() == 0 {
            self.spread_until = None;
        } else if self.stuck {
            // Not decided anew yet: these are the first pods since requests had to be held.
            self.spread_until = Some(now + SPREAD);
        }
    }

    fn more_expected(&self) -> bool {
        let said = usize::try_from(self.wake.expected).unwrap_or(usize::MAX);
        self.capacity.usable() < self.capacity.living(&self.gate).max(said)
    }

    /// What to answer when the time is over: what is known to be wrong, or only that it is.
    pub(super) fn timed_out(&self) -> Trouble {
        let lasting = |trouble: &&Trouble| !trouble.reason.ends_wait();
        let living = || self.capacity.pods().map(|(_, state)| state).filter(|state| state.lives());
        if let Some(trouble) = living().find_map(|state| state.pod.trouble.as_ref()) {
            return trouble.clone();
        }
        if let Some(trouble) = self.route.trouble.as_ref().filter(lasting) {
            return trouble.clone();
        }
        let waited = self.route.policy.activation.as_secs_f64();
        let pods = living().count();
        if let Some(state) = living().find(|state| state.pod.ready && state.set_aside()) {
            let address = state.pod.address.map_or_else(String::new, |address| address.to_string());
            let detail = format!("pod {} is ready but {address} does not answer", state.pod.uid).into();
            return Trouble { reason: Reason::PodUnreachable, detail };
        }
        let detail = if self.capacity.usable() > 0 {
            format!("all {pods} pods were busy for {waited} s")
        } else {
            format!("no pod answered within {waited} s ({pods} known)")
        };
        Trouble { reason: Reason::ActivationTimeout, detail: detail.into() }
    }

    /// Tries the ports of pods that may soon be used: all that do not answer while requests are held, and at any time those
    /// that were set aside, of which only a connection is asked. Returns when the next attempt is due.
    pub(super) fn probe(&mut self, now: Duration, out: &mut Effects<W>) -> Option<Duration> {
        let holding = !self.queue.is_empty();
        let mut next: Option<Duration> = None;
        for state in self.capacity.states_mut() {
            let set_aside = state.set_aside();
            let Some(address) = state.pod.address else { continue };
            let wanted = state.lives()
                && state.reachable().is_none()
                && state.probing_helps()
                && (holding || set_aside)
                && !self.gate.condemned(&state.pod.uid);
            if !wanted {
                continue;
            }
            let due = state.probe.next(now, set_aside);
            let allowed = if due <= now { self.budgets.probe(now) } else { Err(due) };
            let due = if let Err(later) = allowed {
                later
            } else {
                let attempt = if set_aside { Attempt::Connect } else { Attempt::Readiness };
                state.probe.started(attempt, now);
                out.push(Effect::Probe(crate::effect::Probe {
                    uid: PodUid::clone(&state.pod.uid),
                    address,
                    protocol: self.route.protocol,
                    path: match attempt {
                        Attempt::Readiness => Arc::clone(&self.route.readiness_path),
                        Attempt::Connect => Arc::from(""),
                    },
                    timeout: attempt.timeout(),
                }));
                state.probe.next(now, set_aside)
            };
            next = Some(next.map_or(due, |next| next.min(due)));
        }
        next
    }
}
