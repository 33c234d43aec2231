//! How requests end: from the activators' streams to the operators that ask, past the leader, which decides nothing by it.

use catnap_autoscaler_core::StreamId;
use catnap_wire::{ActivatorFrame, LeaderFrame, RevisionId};
use tokio::sync::oneshot;

use super::{Driver, Refusal};
use crate::outcomes::{Listener, Outcomes, WatcherId};

/// What an operator says.
#[derive(Debug)]
pub(crate) enum Asked {
    /// It wants to ask.
    Watch(Listener, oneshot::Sender<Result<WatcherId, Refusal>>),
    /// It wants to know of these, and of no others.
    Want(WatcherId, Vec<RevisionId>),
    /// It is gone.
    Leave(WatcherId),
}

impl Driver {
    pub(super) fn asked(&mut self, asked: Asked) {
        let question = match asked {
            Asked::Watch(_, answer) if self.reign.is_none() => {
                let _ = answer.send(Err(Refusal::NotLeading));
                None
            }
            Asked::Watch(listener, answer) => {
                let watcher = self.outcomes.watch(listener);
                // Nobody waits for the answer any more.
                if answer.send(Ok(watcher)).is_err() { self.outcomes.leave(watcher) } else { None }
            }
            Asked::Want(watcher, revisions) => self.outcomes.want(watcher, revisions),
            Asked::Leave(watcher) => self.outcomes.leave(watcher),
        };
        self.question(question);
    }

    /// Call it with every tick.
    pub(super) fn tell_outcomes(&mut self) {
        let (Some(reign), now) = (&self.reign, self.now()) else { return };
        let is_open = |stream| self.streams.contains_key(&stream);
        for deaf in self.outcomes.tell(&reign.leader, now, is_open) {
            tracing::warn!("an operator does not take what it asked for");
            let question = self.outcomes.leave(deaf);
            self.question(question);
        }
    }

    fn question(&self, question: Option<LeaderFrame>) {
        let Some(question) = question else { return };
        for stream in self.outcomes.asked() {
            if let Some(outgoing) = self.streams.get(&stream) {
                // One that takes no frames is found out by the leader's.
                let _ = outgoing.frames.try_send(Ok(question.clone()));
            }
        }
    }
}

/// Takes out of an activator's frames what is for the operators; the leader gets the rest, and what comes before its turn.
pub(super) fn hear(
    outcomes: &mut Outcomes,
    stream: StreamId,
    frame: ActivatorFrame,
) -> Option<ActivatorFrame> {
    match frame {
        ActivatorFrame::Outcomes(told) if outcomes.hears(stream) => {
            outcomes.heard(stream, told);
            return None;
        }
        ActivatorFrame::Hello(ref hello) => outcomes.greeted(stream, hello.boot),
        _ => {}
    }
    Some(frame)
}

/// What is asked of an activator right behind this frame of the leader.
pub(super) fn behind(outcomes: &mut Outcomes, stream: StreamId, frame: &LeaderFrame) -> Option<LeaderFrame> {
    match frame {
        LeaderFrame::Welcome(welcome) if !welcome.more => outcomes.welcomed(stream),
        _ => None,
    }
}
