//! Answering an activator that connects: every revision by its state (11).

use catnap_wire::{Closed, LeaderFrame, RevisionReport};

use super::Revision;
use crate::context::Context;
use crate::effect::StreamId;
use crate::gate::Phase;

/// What a Hello said that the answer depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said {
    closed: bool,
    served: bool,
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
        self.hello_view(stream, held, in_flight, pods, idle_milliseconds, context.now);
        Said { closed: closed.is_some(), served: in_flight > 0 || idle_milliseconds.is_some() }
    }

    /// How the welcome lists this revision. An open one with condemned pods is told by a frame before the welcome, because
    /// what a welcome does not list is open with nothing condemned.
    pub(crate) fn welcome(
        &mut self,
        stream: StreamId,
        said: Said,
        context: &mut Context<'_>,
    ) -> Option<Closed> {
        let gate = self.gate.as_mut()?;
        let verdict = gate.verdict(&self.id);
        let nothing_condemned = gate.condemns_nothing();
        match &mut gate.phase {
            Phase::Up(None) if nothing_condemned => None,
            Phase::Up(None) => {
                context.send(stream, LeaderFrame::Open(verdict));
                None
            }
            Phase::Up(Some(settling)) if settling.rested => Some(Closed { verdict, zero: true }),
            // What serves goes on serving; what is closed, or was only just started, waits for the controllers.
            Phase::Up(Some(settling)) if said.closed || !said.served => {
                settling.closed.insert(stream);
                Some(Closed { verdict, zero: false })
            }
            Phase::Up(Some(_)) => None,
            // A round that is not committed ended when this activator began its hello.
            Phase::Closing(_) | Phase::Commit(_) => Some(Closed { verdict, zero: false }),
            Phase::Zero => Some(Closed { verdict, zero: true }),
        }
    }
}
