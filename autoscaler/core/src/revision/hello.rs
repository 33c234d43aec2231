//! Answering an activator that connects: every revision by its state (11).

use std::collections::{BTreeSet, HashSet};

use catnap_wire::{Closed, LeaderFrame, PodUid, RevisionReport, Verdict};

use super::Revision;
use crate::context::Context;
use crate::effect::StreamId;
use crate::gate::{Member, Phase, Settling};
use crate::leader::PodFact;

/// What a Hello said that the answer depends on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    closed: bool,
    /// Pods that this activator could use and has not condemned.
    usable: HashSet<PodUid>,
}

impl Revision {
    /// What a Hello says of this revision at this moment.
    pub(crate) fn introduced(
        &mut self,
        stream: StreamId,
        report: RevisionReport,
        context: &mut Context<'_>,
    ) -> Said {
        let RevisionReport { closed, held, in_flight, idle_milliseconds, pods, .. } = report;
        let usable = pods.iter().filter(|pod| pod.usable).map(|pod| pod.uid.clone()).collect();
        self.hello_view(stream, held, in_flight, pods, idle_milliseconds, context);
        Said { closed: closed.is_some(), usable }
    }

    /// How the welcome lists this revision. An open one with condemned pods is told by a frame before the welcome, because
    /// what a welcome does not list is open with nothing condemned.
    pub(crate) fn welcome(
        &mut self,
        stream: StreamId,
        said: &Said,
        context: &mut Context<'_>,
    ) -> Option<Closed> {
        self.tell_victims(stream, context);
        let gate = self.gate.as_mut()?;
        let verdict = gate.verdict(&self.id);
        let nothing_condemned = gate.condemns_nothing();
        let before = match &gate.phase {
            Phase::Up(Some(Settling { drained: Some(scope), .. })) => Some(scope),
            Phase::Commit(round) if round.scope.kept.is_some() => Some(&round.scope),
            _ => None,
        };
        if let Some(scope) = before {
            // The others go on; what goes is not used, whatever is answered to the wish.
            context.send(stream, LeaderFrame::Open(gate.verdict_while(scope, &self.id)));
            context.send(stream, scope.frame(&self.id, gate.id));
        }
        match &mut gate.phase {
            Phase::Up(Some(settling)) if settling.drained.is_some() => {
                settling.closed.insert(stream);
                None
            }
            Phase::Commit(round) if round.scope.kept.is_some() => {
                let sent = [context.now].into();
                round.members.insert(stream, Member { sent, acknowledged: None });
                None
            }
            Phase::Up(None) if nothing_condemned => None,
            Phase::Up(None) => {
                context.send(stream, LeaderFrame::Open(verdict));
                None
            }
            Phase::Up(Some(settling)) if settling.rested => Some(Closed { verdict, zero: true }),
            // What is closed, or was only just started, waits for the controllers.
            Phase::Up(Some(settling)) if said.closed || said.usable.is_empty() => {
                settling.closed.insert(stream);
                Some(Closed { verdict, zero: false })
            }
            // What serves goes on serving until then, and uses nothing else.
            Phase::Up(Some(_)) => {
                let unused = |pod: &&PodFact| !said.usable.contains(&pod.uid);
                let others = self.pods.iter().filter(unused).map(|pod| pod.uid.clone());
                let condemned = verdict.condemned.iter().cloned().chain(others).collect::<BTreeSet<_>>();
                let condemned = condemned.into_iter().collect();
                context.send(stream, LeaderFrame::Open(Verdict { condemned, ..verdict }));
                None
            }
            // Before COMMIT the round ended when this activator began its hello; in it, its gate counts, too.
            Phase::Closing(round) | Phase::Commit(round) => {
                round.members.insert(stream, Member::default());
                Some(Closed { verdict, zero: false })
            }
            Phase::Zero { .. } => Some(Closed { verdict, zero: true }),
        }
    }
}
