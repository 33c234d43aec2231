//! Fewer replicas, but not none: which pods go, and what happens before the round about them.
//!
//! The victims get no new request while others have capacity. Those that are empty are given the deletion cost that makes the
//! ReplicaSet controller take them, and when that was seen and has had its time, a round closes their gates.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use catnap_wire::{LeaderFrame, PodUid};

use super::Revision;
use crate::context::Context;
use crate::effect::{Effect, StreamId};
use crate::gate::{Phase, Scope};
use crate::leader::PodFact;

/// Patience, and pauses between rounds that fail, double at most so often.
const DOUBLINGS: u32 = 5;

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Shrink {
    /// Pods that are avoided, and since when.
    victims: BTreeMap<PodUid, Duration>,
    /// Those of them that were empty together, and are to go next.
    going: Option<Going>,
    /// Pods that did not get empty in their time, and how often: others go first.
    put_back: BTreeMap<PodUid, u32>,
    /// Rounds in a row that ended without a removal.
    failures: u32,
    /// Marks that were asked for and have not been seen: they may still land.
    asked: BTreeMap<PodUid, Asked>,
}

/// That a pod is marked, or not any more.
#[derive(Debug)]
struct Asked {
    marked: bool,
    at: Duration,
}

#[derive(Debug)]
struct Going {
    pods: BTreeSet<PodUid>,
    /// Since when our watch shows the cost at them, and at no others.
    marked: Option<Duration>,
}

impl Shrink {
    /// Pods that are meant to go.
    pub(super) fn victims(&self) -> Vec<PodUid> {
        self.victims.keys().cloned().collect()
    }

    /// There is nothing to do as time passes.
    fn is_nothing(&self) -> bool {
        self.victims.is_empty() && self.asked.is_empty()
    }

    /// Forgets pods that are no more.
    fn retain(&mut self, pods: &[PodFact]) {
        let living: HashSet<&PodUid> =
            pods.iter().filter(|pod| !pod.terminating).map(|pod| &pod.uid).collect();
        self.put_back.retain(|uid, _| living.contains(uid));
        self.going.take_if(|going| !going.pods.iter().all(|uid| living.contains(uid)));
    }

    fn patience(&self, pod: &PodUid, base: Duration) -> Duration {
        base * (1 << self.put_back.get(pod).copied().unwrap_or(0).min(DOUBLINGS))
    }
}

impl Revision {
    /// Fewer replicas are needed than there are: chooses who goes, and looks how far they are.
    pub(super) fn shrink(&mut self, desired: u32, context: &mut Context<'_>) {
        let Some(scale) = &self.scale else { return };
        let surplus = usize::try_from(scale.replicas.saturating_sub(desired)).unwrap_or(usize::MAX);
        let settled =
            matches!(self.phase(), Some(Phase::Up(None))) && scale.observed && scale.one_replica_set;
        // What the controllers are about to change comes first.
        if !settled || !self.knows_all_pods() {
            return;
        }
        self.shrink.retain(&self.pods);
        if self.shrink.going.as_ref().is_none_or(|going| !self.fits(going, surplus)) {
            self.shrink.going = None;
            self.choose_victims(surplus, context);
        }
        self.advance_shrink(context);
    }

    /// No more go than are too many, unless pods that are not ready make it more: of those the controllers choose.
    fn fits(&self, going: &Going, surplus: usize) -> bool {
        going.pods.len() <= surplus.max(self.unready().count())
            && self.all_unready_in(|uid| going.pods.contains(uid))
    }

    /// Pods that are not Ready: the ReplicaSet controller takes these before it looks at any cost.
    fn unready(&self) -> impl Iterator<Item = &PodFact> {
        self.pods.iter().filter(|pod| !pod.terminating && !pod.ready)
    }

    /// No pod outside of these would be taken before them.
    pub(super) fn all_unready_in(&self, named: impl Fn(&PodUid) -> bool) -> bool {
        self.unready().all(|pod| named(&pod.uid))
    }

    /// All that are not ready; then those that were not put back, those that were chosen before, those with the fewest
    /// requests, and the youngest.
    fn choose_victims(&mut self, surplus: usize, context: &mut Context<'_>) {
        let mut pods: Vec<&PodFact> = self.pods.iter().filter(|pod| !pod.terminating).collect();
        let (unready, in_flight) = (self.unready().count(), self.in_flight_by_pod());
        pods.sort_by_cached_key(|pod| {
            (
                pod.ready,
                self.shrink.put_back.get(&pod.uid).copied().unwrap_or(0),
                !self.shrink.victims.contains_key(&pod.uid),
                in_flight.get(&pod.uid).copied().unwrap_or(0),
                Reverse(pod.created),
                Arc::clone(&pod.uid),
            )
        });
        let chosen = pods.into_iter().take(surplus.max(unready));
        let since = |uid: &PodUid| self.shrink.victims.get(uid).copied().unwrap_or(context.now);
        let victims: BTreeMap<_, _> = chosen.map(|pod| (Arc::clone(&pod.uid), since(&pod.uid))).collect();
        self.set_victims(victims, context);
    }

    fn set_victims(&mut self, victims: BTreeMap<PodUid, Duration>, context: &mut Context<'_>) {
        let same = victims.keys().eq(self.shrink.victims.keys());
        self.shrink.victims = victims;
        if !same {
            context.send_all(&self.avoid());
        }
    }

    fn avoid(&self) -> LeaderFrame {
        LeaderFrame::Avoid { revision: self.id.clone(), pods: self.shrink.victims() }
    }

    /// An activator that has just connected knows of no victims.
    pub(super) fn tell_victims(&self, stream: StreamId, context: &mut Context<'_>) {
        if !self.shrink.victims.is_empty() {
            context.send(stream, self.avoid());
        }
    }

    /// No pod is too many: all are used as before, and none is to be taken first.
    pub(super) fn stay(&mut self, context: &mut Context<'_>) {
        self.shrink.going = None;
        self.shrink.failures = 0;
        self.shrink.put_back.clear();
        self.set_victims(BTreeMap::new(), context);
    }

    /// Somebody is to go, or was and is not any more.
    pub(super) fn is_shrinking(&self) -> bool {
        let marked = || self.pods.iter().any(|pod| pod.marked && !pod.terminating);
        matches!(self.phase(), Some(Phase::Up(None))) && (!self.shrink.is_nothing() || marked())
    }

    /// Time passes, or something was told: who is empty goes on to the next step.
    pub(super) fn advance_shrink(&mut self, context: &mut Context<'_>) {
        if !self.is_shrinking() {
            return;
        }
        self.set_out(context);
        self.mark(context);
        if self.is_ripe(context)
            && let Some(scale) = &self.scale
        {
            self.candidate = Some(Arc::clone(&scale.resource_version));
        }
    }

    /// Who goes next: all victims, once they are empty together; else those that are, once the others have had their time.
    fn set_out(&mut self, context: &mut Context<'_>) {
        if self.shrink.going.as_ref().is_some_and(|going| !self.all_empty(&going.pods)) {
            self.shrink.going = None;
        }
        if self.shrink.going.is_some() || self.shrink.victims.is_empty() {
            return;
        }
        let (mut empty, mut late) = (BTreeMap::new(), Vec::new());
        let (in_flight, mut waiting) = (self.in_flight_by_pod(), false);
        for (uid, since) in &self.shrink.victims {
            let patience = self.shrink.patience(uid, context.settings.drain);
            if !in_flight.contains_key(uid) {
                empty.insert(Arc::clone(uid), *since);
            } else if context.now >= *since + patience {
                late.push(Arc::clone(uid));
            } else {
                waiting = true;
            }
        }
        if waiting {
            return;
        }
        let put_back = !late.is_empty();
        for uid in late {
            *self.shrink.put_back.entry(uid).or_default() += 1;
        }
        let pods: BTreeSet<PodUid> = empty.keys().cloned().collect();
        if put_back {
            self.news = true;
            self.set_victims(empty, context);
        }
        if !pods.is_empty() && self.all_unready_in(|uid| pods.contains(uid)) {
            self.shrink.going = Some(Going { pods, marked: None });
        }
    }

    /// Asks for the cost at those that go, and for none at the others. What was asked for before and has not been seen may land
    /// at any moment, also the contrary of what is wanted now; so until then nothing else is asked for, and nobody goes.
    fn mark(&mut self, context: &mut Context<'_>) {
        let (now, landing) = (context.now, context.settings.landing);
        let Shrink { going, asked, .. } = &mut self.shrink;
        asked.retain(|_, asked| now < asked.at + landing);
        let goes = |uid: &PodUid| going.as_ref().is_some_and(|going| going.pods.contains(uid));
        let mut as_wanted = true;
        for pod in self.pods.iter().filter(|pod| !pod.terminating) {
            if asked.get(&pod.uid).is_some_and(|asked| asked.marked == pod.marked) {
                asked.remove(&pod.uid);
            }
            let marked = goes(&pod.uid);
            let pending = asked.contains_key(&pod.uid);
            as_wanted &= pod.marked == marked && !pending;
            if pod.marked != marked && !pending {
                asked.insert(Arc::clone(&pod.uid), Asked { marked, at: now });
                let (revision, pod) = (self.id.clone(), Arc::clone(&pod.uid));
                context.effects.push(Effect::MarkPod { revision, pod, marked });
            }
        }
        if let Some(going) = going {
            going.marked = as_wanted.then(|| going.marked.unwrap_or(now));
        }
    }

    /// The controllers have had the time to see the cost, and nothing speaks against a round.
    pub(super) fn is_ripe(&self, context: &Context<'_>) -> bool {
        let Some(going) = &self.shrink.going else { return false };
        let marked = going.marked.is_some_and(|since| context.now >= since + context.settings.marked);
        marked
            && self.question.is_none()
            && context.now >= self.round_after
            && self.knows_all_pods()
            && self.all_empty(&going.pods)
            && self.all_unready_in(|uid| going.pods.contains(uid))
            && self.pressed(context) == 0
            && !self.wanted(context)
    }

    /// What a round about the pods that go is about, and the count that it is to write.
    pub(super) fn drain_scope(&self, replicas: u32) -> Option<(Scope, u32)> {
        let going = &self.shrink.going.as_ref()?.pods;
        let (_, decision) = self.decision.as_ref()?;
        let surplus = replicas.saturating_sub(decision.desired);
        let fewer = u32::try_from(going.len()).unwrap_or(u32::MAX).min(surplus);
        let alive = || self.pods.iter().filter(|pod| !pod.terminating).map(|pod| &pod.uid);
        let kept = alive().filter(|uid| !going.contains(*uid)).cloned().collect();
        let named = going.iter().cloned().collect();
        (fewer > 0 && fewer < replicas)
            .then(|| (Scope { named, kept: Some(kept), replicas }, replicas - fewer))
    }

    /// A round about some pods ended without a removal: the next one takes its time.
    pub(super) fn drain_failed(&mut self, context: &Context<'_>) {
        let pause = context.settings.pause * (1 << self.shrink.failures.min(DOUBLINGS));
        self.shrink.failures += 1;
        self.round_after = self.round_after.max(context.now + pause);
    }

    /// These pods go: they are no victims any more.
    pub(super) fn drained(&mut self, named: &[PodUid], context: &mut Context<'_>) {
        self.shrink.going = None;
        self.shrink.failures = 0;
        let mut rest = self.shrink.victims.clone();
        for uid in named {
            rest.remove(uid);
        }
        self.set_victims(rest, context);
    }

    fn all_empty(&self, pods: &BTreeSet<PodUid>) -> bool {
        !self.serving().any(|report| pods.contains(&report.uid))
    }
}
