//! What a person sees of a local run: one line of state, and a line for each decision with its reasons.

use std::fmt;

use catnap_activator_core::Snapshot;
use catnap_autoscaler_core::{Decision, Event, Reason};

/// The state of the one revision at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Replicas that answer.
    pub(crate) ready: usize,
    /// Replicas that are not on their way out.
    pub(crate) replicas: usize,
    /// Requests at replicas.
    pub(crate) in_flight: u64,
    /// Requests that wait.
    pub(crate) held: u64,
    /// Replicas that the autoscaler wants.
    pub(crate) wanted: u32,
    /// Why it wants them.
    pub(crate) reasons: String,
}

impl State {
    /// Puts together what the three parts say.
    pub(crate) fn new(
        (ready, replicas): (usize, usize),
        snapshot: &Snapshot,
        decision: Option<&Decision>,
    ) -> Self {
        let held = snapshot.revisions.iter().map(|revision| revision.held);
        Self {
            ready,
            replicas,
            in_flight: snapshot.revisions.iter().map(|revision| revision.in_flight).sum(),
            held: held.sum(),
            wanted: decision.map_or(0, |decision| decision.desired),
            reasons: decision.map(|decision| reasons(&decision.reasons)).unwrap_or_default(),
        }
    }

    /// Where it is in its life.
    pub(crate) fn word(&self) -> String {
        match (self.ready, self.replicas) {
            (0, 0) => "zero".to_owned(),
            (0, starting) => format!("waking ({starting} starting)"),
            (ready, replicas) if ready < replicas => format!("ready {ready} ({} starting)", replicas - ready),
            (ready, _) => format!("ready {ready}"),
        }
    }

    /// True when the two differ in more than counts of requests: worth a line of its own.
    pub(crate) fn differs(&self, before: &Self) -> bool {
        (self.ready, self.replicas) != (before.ready, before.replicas)
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (in_flight, held) = (self.in_flight, self.held);
        write!(formatter, "{} | in flight {in_flight} | held {held} | wants {}", self.word(), self.wanted)?;
        if !self.reasons.is_empty() {
            write!(formatter, ": {}", self.reasons)?;
        }
        Ok(())
    }
}

/// What the autoscaler did and why, as one line.
pub(crate) fn describe(event: &Event) -> String {
    match event {
        Event::ScaledUp { from, to, decision, .. } => {
            format!("scaled up from {from} to {to}: {}", reasons(&decision.reasons))
        }
        Event::Woken { to, decision, .. } => format!("woken, to {to}: {}", reasons(&decision.reasons)),
        Event::ScaledDown { from, to, decision, .. } => {
            format!("scaled down from {from} to {to}: {}", reasons(&decision.reasons))
        }
        Event::ScaledToZero { from, decision, .. } => {
            format!("scaled from {from} to zero: {}", reasons(&decision.reasons))
        }
        Event::ForeignScale { known, found, .. } => format!("the count was {known}, somebody wrote {found}"),
        Event::WriteRefused { replicas, .. } => format!("a write of {replicas} was refused"),
        Event::ActivatorSilent { pod } => format!("the activator {pod} is silent: nothing goes to zero"),
    }
}

fn reasons(reasons: &[Reason]) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_a_word() {
        for (ready, replicas, word) in
            [(0, 0, "zero"), (0, 2, "waking (2 starting)"), (1, 3, "ready 1 (2 starting)"), (3, 3, "ready 3")]
        {
            assert_eq!(State { ready, replicas, ..State::default() }.word(), word);
        }
    }

    #[test]
    fn the_line_says_what_is_wanted_and_why() {
        let decision = Decision {
            desired: 2,
            reasons: [Reason::Held { held: 7, capacity: 5, need: 2 }].into_iter().collect(),
            ..Decision::default()
        };
        let snapshot = Snapshot {
            leader: true,
            draining: false,
            peers: Vec::new(),
            functions: Vec::new(),
            revisions: Vec::new(),
        };
        let line = State::new((0, 2), &snapshot, Some(&decision)).to_string();
        assert_eq!(
            line,
            "waking (2 starting) | in flight 0 | held 0 | wants 2: 7 requests held without a usable pod, 5 a replica: 2"
        );
    }
}
