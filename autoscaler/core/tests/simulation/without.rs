//! How a run does without a rule that the state machines keep: what reaches them is altered on its way, so that they act as
//! if it were not there. Rules of the world itself (writes, lists, watches) are taken away where they are made.

use catnap_wire::{ActivatorFrame, GateId, LeaderFrame, RevisionId, WakeAnswer};

use crate::options::Rule;
use crate::world::World;

impl World {
    /// What an activator is told in place of a frame.
    pub(crate) fn altered(&self, mut frame: LeaderFrame) -> LeaderFrame {
        match &mut frame {
            LeaderFrame::Open(verdict) | LeaderFrame::Zero(verdict) if self.without(Rule::Condemned) => {
                verdict.condemned.clear();
            }
            LeaderFrame::Welcome(welcome) if self.without(Rule::HelloByState) => welcome.closed.clear(),
            LeaderFrame::Welcome(welcome) if self.without(Rule::Condemned) => {
                welcome.closed.iter_mut().for_each(|closed| closed.verdict.condemned.clear());
            }
            LeaderFrame::Close { pods, .. } if self.without(Rule::Condemned) => pods.clear(),
            // Of all answers this one does no more than start the patience again.
            LeaderFrame::WakeReply { answer, .. }
                if self.without(Rule::Patience) && *answer == WakeAnswer::Queued =>
            {
                *answer = WakeAnswer::Open;
            }
            _ => {}
        }
        frame
    }

    /// Answers Close in place of an activator, which does not hear of it. True if so.
    pub(crate) fn answers_close(&mut self, index: usize, revision: &RevisionId, gate: GateId) -> bool {
        let repeated = self.activators[index].is_closed_for(gate);
        let answers = self.without(Rule::Busy)
            || (repeated && self.without(Rule::LeaderTalks))
            || (repeated && self.without(Rule::ReadForThisGate) && self.activators[index].reads.is_some());
        if answers {
            self.send_frame(index, ActivatorFrame::Ack { revision: revision.clone(), gate });
        }
        answers
    }

    /// Answers Drain in place of an activator, which does not hear of it. True if so.
    pub(crate) fn answers_drain(&mut self, index: usize, revision: &RevisionId, gate: GateId) -> bool {
        let answers = self.without(Rule::DrainBusy);
        if answers {
            self.send_frame(index, ActivatorFrame::Ack { revision: revision.clone(), gate });
        }
        answers
    }

    /// What an activator condemned by itself it forgets when all pods seem to go and come back.
    pub(crate) fn forget_condemned(&mut self, index: usize) {
        if self.without(Rule::Condemned) {
            let pods = self.activators[index].pods.clone();
            self.act(index, |revision, now, out| revision.set_pods(Vec::new(), now, out));
            self.act(index, |revision, now, out| revision.set_pods(pods, now, out));
        }
    }
}
