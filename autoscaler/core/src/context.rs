//! What every step of a revision needs of the leader around it: the time, the activators, and the way out.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::time::Duration;

use catnap_wire::{LeaderFrame, RevisionId, Term};

use crate::activators::{Activators, Reach};
use crate::effect::{Effect, Event, StreamId, Token};
use crate::revision::Patterns;
use crate::settings::Settings;

/// One step.
pub(crate) struct Context<'a> {
    pub(crate) now: Duration,
    /// When this leader started.
    pub(crate) started: Duration,
    pub(crate) term: Term,
    pub(crate) settings: &'a Settings,
    pub(crate) activators: &'a Activators,
    /// Looked at once for all revisions that are decided in this step.
    pub(crate) reach: OnceCell<Reach>,
    pub(crate) patterns: &'a mut Patterns,
    pub(crate) questions: &'a mut Questions,
    pub(crate) effects: &'a mut Vec<Effect>,
}

/// Questions about `/scale` that are not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    asked: u64,
    open: HashMap<Token, RevisionId>,
}

impl Questions {
    /// A new token.
    pub(crate) fn token(&mut self) -> Token {
        self.asked += 1;
        Token(self.asked)
    }

    /// Whose question this token answers; only once.
    pub(crate) fn answered(&mut self, token: Token) -> Option<RevisionId> {
        self.open.remove(&token)
    }
}

impl Context<'_> {
    pub(crate) fn ask(&mut self, revision: &RevisionId) -> Token {
        let token = self.questions.token();
        self.questions.open.insert(token, revision.clone());
        token
    }

    pub(crate) fn send(&mut self, stream: StreamId, frame: LeaderFrame) {
        self.effects.push(Effect::Send { stream, frame });
    }

    pub(crate) fn send_all(&mut self, frame: &LeaderFrame) {
        for (stream, _) in self.activators.welcomed_streams() {
            self.effects.push(Effect::Send { stream, frame: frame.clone() });
        }
    }

    pub(crate) fn report(&mut self, event: Event) {
        self.effects.push(Effect::Report(event));
    }

    /// How far the activators' measurements reach.
    pub(crate) fn reach(&self) -> Reach {
        *self.reach.get_or_init(|| self.activators.reach(self.now, self.settings.lag))
    }

    /// Time since this leader started.
    pub(crate) fn age(&self) -> Duration {
        self.now.saturating_sub(self.started)
    }
}
