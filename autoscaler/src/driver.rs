//! The one task that owns the leader: everything that happens goes in as an [`Input`], and what the leader wants is carried out.
//!
//! Inputs are handled one after the other without waiting for anything, so that a Wake is on its way to the API server within
//! the same turn. Reads, writes and streams run beside it and answer with inputs of their own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use catnap_autoscaler_core::{Effect, Leader, Settings, StreamId, Token};
use catnap_runtime::admin::{DebugQuery, Readiness};
use catnap_runtime::events::Notice;
use catnap_runtime::lease::Leadership;
use catnap_runtime::{CancellationToken, failpoint};
use catnap_wire::{ActivatorFrame, LeaderFrame, PodUid, Term};
use k8s_openapi::jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;
use tonic::Status;

use crate::cluster::{Cluster, ClusterChange};
use crate::marks::{Mark, MarkClient};
use crate::metrics::Metrics;
use crate::outcomes::Outcomes;
use crate::patterns::{Job, PatternClient, Shelf};
use crate::scale::{Answer, ScaleClient, Urgency, Write};

mod answers;
mod look;
mod notice;
mod rates;

use answers::ask;
pub(crate) use look::{Look, describe};
pub(crate) use rates::Asked;

/// How often the leader sees time pass while something is under way, or a revision has its turn.
const TICK: Duration = Duration::from_millis(20);
/// How often it does where all rest: what is looked at then, activators that fall silent and schedules, is late by no more.
const REST: Duration = Duration::from_millis(100);
/// Inputs that are taken in after each tick before the next one is due.
const TURNS: usize = 64;
/// Inputs that may wait; then streams and watches wait to hand theirs in.
pub(crate) const INPUTS: usize = 4_096;
/// Frames that may wait for one activator; one that is so far behind is disconnected and says hello again. Enough for a gate to
/// be closed and its round to end in each of 10,000 functions at once, and 5 MB when none is read.
pub(crate) const OUTGOING_FRAMES: usize = 32_768;
/// How long a process that stops waits for answers that nobody's safety depends on. The next leader has decided within a
/// second of the signal.
const LAST_ANSWERS: Duration = Duration::from_millis(300);
/// How long it waits until every write of zero is settled: as long as the leader itself tries, and longer than any lease lasts.
const LAST_ZEROS: Duration = Duration::from_secs(15);

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// A watch saw a change.
    Cluster(ClusterChange),
    /// An authenticated activator wants to talk.
    Open(Opening),
    /// A frame of an open stream, and when it came.
    Frame(StreamId, ActivatorFrame, Instant),
    /// A stream ended.
    Closed(StreamId),
    /// The API server answered the leader of this reign.
    Answered(Reigns, Answer),
    /// An operator asks how requests end.
    Rates(Asked),
    /// Somebody asks for the state, or a part of it.
    Debug(DebugQuery, oneshot::Sender<Look>),
}

/// An activator that wants to talk.
#[derive(Debug)]
pub(crate) struct Opening {
    /// UID of its pod.
    pub(crate) pod: PodUid,
    /// Where its frames go.
    pub(crate) outgoing: Outgoing,
    /// Told whether it may.
    pub(crate) answer: oneshot::Sender<Result<StreamId, Refusal>>,
}

/// The sending half of a stream, which lives as long as this.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// A status ends the stream.
    pub(crate) frames: mpsc::Sender<Result<LeaderFrame, Status>>,
    /// Ends the reading half too.
    pub(crate) _ended: DropGuard,
}

/// Why an authenticated activator may not talk (yet).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Another process leads, or none.
    NotLeading,
    /// The watch has not seen such a pod, or not any more.
    UnknownPod,
}

/// How often this process began to decide. One that lost its lease for a moment may decide anew in the same term, and counts its
/// questions anew: an answer to the leader before is none to the new one.
pub(crate) type Reigns = u64;

/// One time of deciding.
struct Reign {
    number: Reigns,
    leader: Leader,
    leadership: Leadership,
    /// What was learned, on its way to and from the API server.
    shelf: Shelf,
    /// When the Wake came that led to a question to the API server, for the metric.
    wakes: HashMap<Token, Instant>,
}

/// The task's state.
pub(crate) struct Driver {
    start: Instant,
    boot: u64,
    cluster: Cluster,
    reign: Option<Reign>,
    reigns: Reigns,
    streams: HashMap<StreamId, Outgoing>,
    next_stream: u64,
    outcomes: Outcomes,
    scale: ScaleClient,
    marks: MarkClient,
    patterns: PatternClient,
    requests: TaskTracker,
    answers: mpsc::Sender<Input>,
    notices: mpsc::Sender<Notice>,
    readiness: Readiness,
    metrics: Metrics,
}

/// What a driver works with.
pub(crate) struct Tools {
    pub(crate) boot: u64,
    pub(crate) scale: ScaleClient,
    pub(crate) marks: MarkClient,
    pub(crate) patterns: PatternClient,
    pub(crate) notices: mpsc::Sender<Notice>,
    /// Set once the watches have listed: this process could lead.
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Metrics,
}

impl Driver {
    /// A driver that does not lead yet. `answers` is the sending half of what [`Driver::run`] receives.
    pub(crate) fn new(tools: Tools, answers: mpsc::Sender<Input>) -> Self {
        let Tools { boot, scale, marks, patterns, notices, readiness, metrics } = tools;
        Self {
            start: Instant::now(),
            boot,
            cluster: Cluster::default(),
            reign: None,
            reigns: 0,
            streams: HashMap::new(),
            next_stream: 0,
            outcomes: Outcomes::default(),
            scale,
            marks,
            patterns,
            requests: TaskTracker::new(),
            answers,
            notices,
            readiness,
            metrics,
        }
    }

    /// Runs until `stop`, and then for as long as a write is under way, which is no time at all in most cases. When it returns
    /// nothing acts any more. False when the outcome of a write of zero is not settled: the Lease must then expire, so that the
    /// next leader opens nothing before the write has landed.
    pub(crate) async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut leadership: watch::Receiver<Option<Leadership>>,
        stop: CancellationToken,
    ) -> bool {
        let mut ticked = None;
        let mut electing = true;
        let mut stopping = None;
        loop {
            let mut woken_at = None;
            // Inputs have their turn after a tick, however long it took.
            let mut turns = 0;
            tokio::select! {
                biased;
                () = stop.cancelled(), if stopping.is_none() => {
                    stopping = Some(Instant::now());
                    let now = self.now();
                    if let Some(reign) = &mut self.reign {
                        reign.leader.resign(now);
                        let jobs = reign.shelf.last(&mut reign.leader);
                        self.keep_patterns(jobs, &self.requests);
                    }
                }
                changed = leadership.changed(), if electing => electing = changed.is_ok(),
                // Before the inputs, which may never end while activators are busy.
                () = sleep_until(self.next_tick(ticked, stopping.is_some())) => {
                    ticked = Some(Instant::now());
                    turns = TURNS;
                    // Whoever was frozen may have lost the lease in the meantime.
                    self.follow_election(leadership.borrow().clone(), stopping.is_some());
                    let now = self.now();
                    let told = self.reign.as_mut().map(|reign| (&mut reign.leader, now));
                    self.cluster.advance(Timestamp::now(), told);
                    if let Some(reign) = &mut self.reign {
                        reign.leader.tick(now);
                        let jobs = reign.shelf.due(&mut reign.leader, now);
                        self.metrics.statements_refused(reign.leader.refused());
                        self.metrics.activators_silent(reign.leader.silent_activators());
                        // In no tracker that is waited for: nobody needs the answers when the process stops.
                        self.keep_patterns(jobs, &TaskTracker::new());
                    }
                    self.tell_outcomes();
                }
                Some(input) = inputs.recv() => woken_at = self.take_in(input),
            }
            let current = leadership.borrow_and_update().clone();
            self.follow_election(current, stopping.is_some());
            if self.carry_out(woken_at) {
                failpoint::reach("idle-sent").await;
            }
            while turns > 0
                && let Ok(input) = inputs.try_recv()
            {
                turns -= 1;
                let woken_at = self.take_in(input);
                self.follow_election(leadership.borrow().clone(), stopping.is_some());
                if self.carry_out(woken_at) {
                    failpoint::reach("idle-sent").await;
                }
            }
            if stopping.is_some_and(|since| self.may_stop(since.elapsed())) {
                break;
            }
        }
        let settled = self.reign.as_ref().is_none_or(|reign| !reign.leader.is_committing());
        self.abdicate("this process stops");
        settled
    }

    fn keep_patterns(&self, jobs: Vec<Job>, requests: &TaskTracker) {
        let Some(reign) = &self.reign else { return };
        for job in jobs {
            let (patterns, leadership) = (self.patterns.clone(), reign.leadership.clone());
            ask(requests, &self.answers, reign.number, async move {
                Answer::Patterns(patterns.carry_out(job, &leadership).await)
            });
        }
    }

    /// Nothing is under way any more that the next leader should not meet, or it has taken too long.
    fn may_stop(&self, stopping: Duration) -> bool {
        let Some(reign) = &self.reign else { return true };
        if reign.leader.is_committing() {
            return stopping >= LAST_ZEROS;
        }
        // A raise that lands later does no harm.
        self.requests.is_empty() || stopping >= LAST_ANSWERS
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// When time is looked at next, after it was last.
    fn next_tick(&self, ticked: Option<Instant>, stopping: bool) -> Instant {
        let Some(ticked) = ticked else { return self.start };
        let turn = self.reign.as_ref().map_or(Duration::MAX, |reign| reign.leader.next_turn());
        ticked + pause(ticked.saturating_duration_since(self.start), turn, stopping)
    }

    /// The moment a Wake came, when it was one, or that this is the answer to a question that one led to.
    fn take_in(&mut self, input: Input) -> Option<Instant> {
        let now = self.now();
        match input {
            Input::Cluster(change) => {
                let told = self.reign.as_mut().map(|reign| (&mut reign.leader, now));
                self.cluster.apply(change, told);
                self.readiness.set(self.cluster.is_synced());
            }
            Input::Open(opening) => self.open(opening, now),
            Input::Closed(stream) => {
                if self.streams.remove(&stream).is_some() {
                    self.metrics.streams(self.streams.len());
                    if let Some(reign) = &mut self.reign {
                        reign.leader.stream_closed(stream, now);
                    }
                }
            }
            Input::Frame(stream, frame, came) => {
                // Frames of a stream that was closed from here may still be under way.
                let reign = self.reign.as_mut().filter(|_| self.streams.contains_key(&stream))?;
                let frame = rates::hear(&mut self.outcomes, stream, frame)?;
                let wake = matches!(frame, ActivatorFrame::Wake { .. });
                reign.leader.activator_frame(stream, frame, now);
                return wake.then_some(came);
            }
            Input::Answered(number, answer) => {
                let reign = self.reign.as_mut().filter(|reign| reign.number == number)?;
                return reign.take_answer(answer, now, &self.metrics);
            }
            Input::Rates(asked) => self.asked(asked),
            Input::Debug(query, asked) => {
                // Nobody waits for it any more: nothing to do.
                let _ = asked.send(self.look(&query));
            }
        }
        None
    }

    fn open(&mut self, opening: Opening, now: Duration) {
        let Opening { pod, outgoing, answer } = opening;
        let Some(reign) = &mut self.reign else {
            let _ = answer.send(Err(Refusal::NotLeading));
            return;
        };
        if !self.cluster.is_activator(&pod) {
            let _ = answer.send(Err(Refusal::UnknownPod));
            return;
        }
        let stream = StreamId(self.next_stream);
        self.next_stream += 1;
        if answer.send(Ok(stream)).is_ok() {
            self.streams.insert(stream, outgoing);
            self.metrics.streams(self.streams.len());
            reign.leader.stream_opened(stream, pod, now);
        }
    }

    /// Begins to lead once the watches have listed, ends when leadership is lost, and does both for another term.
    fn follow_election(&mut self, current: Option<Leadership>, stopping: bool) {
        // Who stops takes up nothing new.
        let current = current.filter(|_| !stopping || self.reign.is_some());
        let current = current.filter(|leadership| leadership.is_valid(Instant::now()));
        let leads = self.reign.as_ref().map(|reign| reign.leadership.transitions);
        if leads == current.as_ref().map(|leadership| leadership.transitions) {
            return;
        }
        self.abdicate("another process may lead");
        let Some(leadership) = current.filter(|_| self.cluster.is_synced()) else { return };
        let term = Term { transitions: leadership.transitions, boot: self.boot };
        let now = self.now();
        let mut leader = Leader::new(term, Settings::default(), now);
        self.cluster.load(&mut leader, now);
        self.reigns += 1;
        self.reign = Some(Reign {
            number: self.reigns,
            leader,
            leadership,
            shelf: self.patterns.shelf(),
            wakes: HashMap::new(),
        });
        self.metrics.leading(true);
        tracing::info!(transitions = term.transitions, "deciding");
    }

    fn abdicate(&mut self, why: &'static str) {
        if self.reign.take().is_none() {
            return;
        }
        tracing::info!(why, "no longer deciding");
        for (_, outgoing) in self.streams.drain() {
            // A full queue ends the stream just as well, without the reason.
            let _ = outgoing.frames.try_send(Err(Status::unavailable(why)));
        }
        self.outcomes.end(why);
        self.metrics.leading(false);
        self.metrics.streams(0);
        self.metrics.activators_silent(0);
    }

    /// Does what the leader wants; true when it asked for a gate to be closed.
    fn carry_out(&mut self, woken_at: Option<Instant>) -> bool {
        let mut closing = false;
        let mut ended = Vec::new();
        let Some(reign) = &mut self.reign else { return false };
        for effect in reign.leader.take_effects() {
            match effect {
                Effect::Send { stream, frame } => {
                    closing |= matches!(frame, LeaderFrame::Close { .. } | LeaderFrame::Drain { .. });
                    let question = rates::behind(&mut self.outcomes, stream, &frame);
                    let mut frames = std::iter::once(frame).chain(question);
                    let outgoing = self.streams.get(&stream);
                    if outgoing.is_some_and(|to| frames.any(|frame| to.frames.try_send(Ok(frame)).is_err())) {
                        tracing::warn!(stream = stream.0, "an activator does not take its frames");
                        ended.push(stream);
                    }
                }
                Effect::Disconnect { stream, reason } => {
                    if let Some(outgoing) = self.streams.get(&stream) {
                        tracing::warn!(stream = stream.0, reason, "disconnecting an activator");
                        self.metrics.frame_refused();
                        let _ = outgoing.frames.try_send(Err(Status::invalid_argument(reason)));
                        ended.push(stream);
                    }
                }
                Effect::ReadScale { revision, urgent, token } => {
                    reign.wakes.extend(woken_at.map(|at| (token, at)));
                    let scale = self.scale.clone();
                    ask(&self.requests, &self.answers, reign.number, async move {
                        let urgency = if urgent { Urgency::Now } else { Urgency::Later };
                        Answer::Read(token, scale.read(&revision, urgency).await)
                    });
                }
                Effect::PutScale { revision, replicas, resource_version, not_after, token } => {
                    reign.wakes.extend(woken_at.map(|at| (token, at)));
                    let scale = self.scale.clone();
                    let leadership = reign.leadership.clone();
                    let not_after = not_after.map(|not_after| self.start + not_after);
                    let write = Write { revision, replicas, resource_version, not_after, leadership };
                    ask(&self.requests, &self.answers, reign.number, async move {
                        Answer::Written(token, scale.write(&write).await)
                    });
                }
                Effect::MarkPod { revision, pod, marked } => {
                    // One that is not there any more needs no mark.
                    if let Some(name) = self.cluster.pod_name(&revision, &pod) {
                        let mark = Mark {
                            namespace: revision.namespace,
                            name: Arc::clone(name),
                            uid: pod,
                            marked,
                            asked: Instant::now(),
                            leadership: reign.leadership.clone(),
                        };
                        self.marks.send(mark);
                    }
                }
                Effect::ListActivators { token } => {
                    let scale = self.scale.clone();
                    ask(&self.requests, &self.answers, reign.number, async move {
                        Answer::Activators(token, scale.list_activators().await)
                    });
                }
                Effect::Report(event) => {
                    if let Some(notice) = notice::of(&event, &self.cluster)
                        && self.notices.try_send(notice).is_err()
                    {
                        self.metrics.event("Dropped");
                    }
                }
            }
        }
        let now = self.start.elapsed();
        for stream in ended {
            if self.streams.remove(&stream).is_some() {
                reign.leader.stream_closed(stream, now);
            }
        }
        self.metrics.streams(self.streams.len());
        closing
    }
}

/// How long time is not looked at after it was at `ticked`, where it changes nothing in any revision before `turn`.
fn pause(ticked: Duration, turn: Duration, stopping: bool) -> Duration {
    // Who stops waits for answers, whose end is seen by looking.
    if stopping { TICK } else { turn.saturating_sub(ticked).clamp(TICK, REST) }
}

#[cfg(test)]
mod tests;
