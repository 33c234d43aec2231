//! A look at the leader for `/debug/state`: what is copied in the driver's turn, which is as little as can be.
//!
//! Whoever asked puts it into words, so that nobody's Wake waits for that. Bounded: of many revisions those that rest at zero
//! are left out first, and counted.

use std::sync::Arc;
use std::time::Duration;

use catnap_autoscaler_api::state::{Ended, Explained, LeadingTerm, State};
use catnap_autoscaler_core::Explanation;
use catnap_runtime::admin::{DebugQuery, Rendering};
use catnap_wire::Term;
use catnap_wire::rates::CountOf;
use tokio::sync::{mpsc, oneshot};

use super::{Driver, Input, Reign};

/// Revisions that are shown.
const SHOWN: usize = 500;

/// What the process knew at one moment.
#[derive(Debug)]
pub(crate) enum Look {
    /// Another process decides; this one could.
    Standby { synced: bool },
    /// It decides.
    Leading { term: Term, now: Duration, streams: usize, revisions: Vec<Seen>, left_out: usize },
}

/// A revision, the name of its Function, and how its requests ended, where somebody asks for that.
#[derive(Debug)]
pub(crate) struct Seen {
    explanation: Explanation,
    function: Option<Arc<str>>,
    counted: Option<CountOf>,
}

/// What `/debug/state` shows; null when the driver has ended, or ends before it looks.
pub(crate) async fn describe(inputs: mpsc::Sender<Input>, query: DebugQuery) -> Rendering {
    let (ask, asked) = oneshot::channel();
    let taken = inputs.send(Input::Debug(query, ask)).await.is_ok();
    let look = if taken { asked.await.ok() } else { None };
    Box::new(move || serde_json::to_value(look.map(State::from)).unwrap_or_default())
}

impl Driver {
    pub(super) fn look(&self, query: &DebugQuery) -> Look {
        let Some(Reign { leader, .. }) = &self.reign else {
            return Look::Standby { synced: self.cluster.is_synced() };
        };
        let (explanations, known): (Vec<_>, _) = if let Some(function) = &query.function {
            let ids = self.cluster.revisions_of(function);
            (ids.iter().filter_map(|id| leader.explain_one(id)).take(SHOWN).collect(), ids.len())
        } else {
            (leader.explain_most(SHOWN), leader.revision_count())
        };
        let left_out = if explanations.len() < SHOWN { 0 } else { known - SHOWN };
        let seen = |explanation: Explanation| {
            let function = self.cluster.function(&explanation.revision);
            let function = function.map(|function| Arc::clone(&function.name));
            Seen { function, counted: self.outcomes.of(leader, &explanation.revision), explanation }
        };
        Look::Leading {
            term: leader.term(),
            now: self.now(),
            streams: self.streams.len(),
            revisions: explanations.into_iter().map(seen).collect(),
            left_out,
        }
    }
}

impl From<Look> for State {
    fn from(look: Look) -> Self {
        let (Term { transitions, boot }, now, streams, seen, left_out) = match look {
            Look::Standby { synced } => return Self { synced: Some(synced), ..Self::default() },
            Look::Leading { term, now, streams, revisions, left_out } => {
                (term, now, streams, revisions, left_out)
            }
        };
        let ended = |&CountOf { ended, errors, complete, .. }: &CountOf| Ended { ended, errors, complete };
        let explained = |Seen { explanation, function, counted }: &Seen| Explained {
            outcomes: counted.as_ref().map(ended),
            ..Explained::of(explanation, function.as_deref(), now)
        };
        Self {
            leading: true,
            synced: None,
            term: Some(LeadingTerm { transitions, boot: format!("{boot:016x}") }),
            streams,
            revisions: seen.iter().map(explained).collect(),
            left_out,
        }
    }
}
