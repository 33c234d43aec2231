//! When to tell the leader that requests wait, and when to act without it.
//!
//! Waking is a state: while requests are held and no pod is usable, the leader is told again and again. Without a leader,
//! without an answer, or when its patience is over, the activator reads `/scale` and raises it itself.

use crate::budget::WakePermit;
use crate::random::Random;
use catnap_wire::message::{PodUid, WakeAnswer};
use std::time::Duration;

/// Requests that arrive this close together are told in one frame: one write of what all of them need is over sooner than
/// two, of which the second meets a Deployment that its controller is changing.
const COALESCE: Duration = Duration::from_millis(2);
/// The first of them does not wait longer for others.
const LONGEST_COALESCE: Duration = Duration::from_millis(10);
/// More requests are told again after this time.
const UPDATE: Duration = Duration::from_millis(10);
/// Repeated this often until answered.
const REPEAT_UNANSWERED: Duration = Duration::from_millis(100);
/// Repeated this often once answered.
const REPEAT_ANSWERED: Duration = Duration::from_millis(500);
/// A leader without an answer for this long is silent.
pub(crate) const SILENCE: Duration = Duration::from_millis(250);
/// How long the leader may take to write once it has answered.
const PATIENCE: Duration = Duration::from_secs(3);
/// Head start of the activator that is first for the revision.
const HEAD_START: Duration = Duration::from_millis(250);
const SHORTEST_BACK_OFF: Duration = Duration::from_millis(50);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(3);

/// How long an activator waits for the one that is first for the revision.
pub(crate) fn head_start(first: bool) -> Duration {
    if first { Duration::ZERO } else { HEAD_START }
}

/// What a GET of `/scale` may lead to.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) number: u64,
    /// Gives its place back when the conversation is over.
    _permit: WakePermit,
    /// Pods known when the GET was sent.
    pub(crate) known: Vec<PodUid>,
    /// What an answer above zero allows.
    pub(crate) allows: Allows,
    /// The leader has spoken of the gate since: the answer is about another state (6).
    pub(crate) stale: bool,
    /// The PUT was sent.
    pub(crate) raising: bool,
}

/// What may follow when `/scale` turns out to be above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allows {
    /// Waiting on: the leader talks (3).
    Nothing,
    /// Pardoning those condemned long ago: the leader is silent, but the gate is too young (5).
    Pardon,
    /// Opening the gate as well.
    Opening,
}

/// Why the activator would act without the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// When.
    pub(crate) at: Duration,
    /// Because the leader is silent; else because its patience is over.
    pub(crate) silent: bool,
}

/// Waking of one revision.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    since: Option<Duration>,
    /// The newest of the held requests came.
    newest: Duration,
    /// Requests that were held since then.
    arrivals: u64,
    told: Option<(Duration, u64)>,
    unanswered: Option<Duration>,
    patience_from: Duration,
    attempt: Option<Attempt>,
    attempts: u64,
    not_before: Duration,
    failures: u32,
    /// Replicas were written or seen in this activation.
    pub(crate) written: Option<Duration>,
    /// Replicas that somebody said there will be.
    pub(crate) expected: u32,
}

impl Wake {
    /// Requests are held and no pod is usable, from now on or still; or no more.
    pub(crate) fn set_needed(&mut self, needed: bool, now: Duration) {
        if !needed {
            self.since = None;
        } else if self.since.is_none() {
            let (attempt, attempts) = (self.attempt.take(), self.attempts);
            // Failures of an earlier activation do not slow this one, but a conversation under way goes on.
            *self = Self { since: Some(now), patience_from: now, attempt, attempts, ..Self::default() };
        }
    }

    /// One more request is held.
    pub(crate) fn arrived(&mut self, now: Duration) {
        self.newest = now;
        self.arrivals += 1;
    }

    /// Requests that came so far, while no second has passed in which they did.
    pub(crate) fn arrivals(&self, now: Duration) -> Option<u64> {
        let since = self.since?;
        (now.saturating_sub(since) < Duration::from_secs(1)).then_some(self.arrivals)
    }

    pub(crate) fn needed(&self) -> bool {
        self.since.is_some()
    }

    /// A conversation about `/scale` is under way.
    pub(crate) fn busy(&self) -> bool {
        self.attempt.is_some()
    }

    /// A new stream, or none: nothing was told on it yet.
    pub(crate) fn link_changed(&mut self, now: Duration) {
        self.told = None;
        self.unanswered = None;
        self.patience_from = now;
    }

    /// When the leader is to be told next.
    pub(crate) fn tell_at(&self, held: u64) -> Option<Duration> {
        let since = self.since?;
        Some(match self.told {
            None => (self.newest.max(since) + COALESCE).min(since + LONGEST_COALESCE),
            Some((at, count)) if held > count => at + UPDATE,
            Some((at, _)) if self.unanswered.is_some() => at + REPEAT_UNANSWERED,
            Some((at, _)) => at + REPEAT_ANSWERED,
        })
    }

    pub(crate) fn told(&mut self, held: u64, now: Duration) {
        self.told = Some((now, held));
        self.unanswered.get_or_insert(now);
    }

    /// What the leader said to a wake. (4) Patience runs on through every answer but `Written` and `Open`.
    pub(crate) fn answered(&mut self, answer: WakeAnswer, now: Duration) {
        self.unanswered = None;
        if let Some(attempt) = &mut self.attempt {
            attempt.allows = Allows::Nothing;
        }
        match answer {
            WakeAnswer::Written { replicas } => self.seen(replicas, now),
            WakeAnswer::Open => self.seen(1, now),
            WakeAnswer::Queued | WakeAnswer::AtMax => {}
        }
    }

    /// The leader spoke of the gate. (6) A GET sent before that is about another state.
    pub(crate) fn gate_spoken(&mut self, opened: bool, now: Duration) {
        self.unanswered = None;
        if opened {
            self.patience_from = now;
        }
        if let Some(attempt) = &mut self.attempt {
            attempt.stale = true;
        }
    }

    /// There are, or will be, replicas.
    pub(crate) fn seen(&mut self, replicas: u32, now: Duration) {
        self.patience_from = now;
        self.expected = self.expected.max(replicas);
        self.written.get_or_insert(now);
    }

    /// When to read `/scale` without the leader, as far as waking is concerned.
    pub(crate) fn alone_at(&self, connected: bool, first: bool) -> Option<Due> {
        let since = self.since?;
        let rank = head_start(first);
        let patience = self.patience_from + PATIENCE + rank;
        let (at, silent) = match self.unanswered {
            _ if !connected => (since + COALESCE + rank, true),
            Some(unanswered) if unanswered + SILENCE + rank <= patience => {
                (unanswered + SILENCE + rank, true)
            }
            _ => (patience, false),
        };
        Some(Due { at: at.max(self.not_before), silent })
    }

    /// Not earlier than this, after a failure or a read that changed nothing.
    pub(crate) fn not_before(&self) -> Duration {
        self.not_before
    }

    /// A GET is sent.
    pub(crate) fn begin(&mut self, permit: WakePermit, known: Vec<PodUid>, allows: Allows) -> u64 {
        self.attempts += 1;
        let number = self.attempts;
        self.attempt = Some(Attempt { number, _permit: permit, known, allows, stale: false, raising: false });
        number
    }

    /// Takes the conversation that an answer belongs to.
    pub(crate) fn take(&mut self, number: u64, raising: bool) -> Option<Attempt> {
        self.attempt.take_if(|attempt| attempt.number == number && attempt.raising == raising)
    }

    /// The GET said zero: the PUT follows in the same conversation.
    pub(crate) fn raise(&mut self, attempt: Attempt) {
        self.attempt = Some(Attempt { raising: true, ..attempt });
    }

    /// Somebody wrote in between: read again very soon.
    pub(crate) fn retry_soon(&mut self, now: Duration, random: &mut Random) {
        self.not_before = now + Duration::from_millis(5 + random.below(15) as u64);
    }

    /// The next read is not put off beyond this time, unless it is over.
    pub(crate) fn not_later(&mut self, than: Option<Duration>, now: Duration) {
        if let Some(than) = than.filter(|than| *than > now) {
            self.not_before = self.not_before.min(than);
        }
    }

    /// Nothing came of it: wait longer each time.
    pub(crate) fn back_off(&mut self, now: Duration, random: &mut Random) {
        let pause = (SHORTEST_BACK_OFF * 2_u32.pow(self.failures.min(6))).min(LONGEST_BACK_OFF);
        self.failures += 1;
        let jitter = pause.mul_f64(random.below(256) as f64 / 1_024.0);
        self.not_before = now + pause + jitter;
    }
}
