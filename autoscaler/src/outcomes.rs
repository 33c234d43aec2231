//! How requests end, by revision, as the activators tell it: for the operator, which moves requests between revisions.
//!
//! Kept only while somebody asks. What an activator process tells is a sum since its start, so the sums of all processes are
//! added up, of those that are gone too; a new leader begins with what the activators tell it anew.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use catnap_autoscaler_core::{Leader, StreamId};
use catnap_runtime::CancellationToken;
use catnap_wire::limits::{MAX_COUNTED, MAX_ENDED};
use catnap_wire::rates::{CountOf, Counted};
use catnap_wire::{LeaderFrame, Outcomes as Told, RevisionId};
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;
use tonic::Status;

/// How often those who ask are told what is new.
const INTERVAL: Duration = Duration::from_secs(1);
/// Operators that ask at once: one acts, and some are on their way out.
const MAX_WATCHERS: usize = 8;
/// Processes that are added up for one revision: more activators than anybody has, started again many times.
const MAX_PROCESSES: usize = 10_000;
/// Frames that may wait for an operator; one that does not take them is let go.
pub(crate) const WAITING_FRAMES: usize = 16;

/// Somebody who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WatcherId(u64);

/// Where the answers go; the stream lives as long as this.
#[derive(Debug)]
pub(crate) struct Listener {
    frames: mpsc::Sender<Result<Counted, Status>>,
    /// Ends the reading half too.
    _ended: DropGuard,
}

impl Listener {
    pub(crate) fn new(frames: mpsc::Sender<Result<Counted, Status>>, ended: &CancellationToken) -> Self {
        Self { frames, _ended: ended.clone().drop_guard() }
    }

    /// False: it does not take it. A status ends the stream.
    pub(crate) fn tell(&self, counted: Result<Counted, Status>) -> bool {
        self.frames.try_send(counted).is_ok()
    }
}

#[derive(Debug)]
struct Watcher {
    listener: Listener,
    /// In an order, so that of too many it is always the same ones that are counted.
    wanted: BTreeSet<RevisionId>,
    sent: HashMap<RevisionId, CountOf>,
}

/// One activator's stream.
#[derive(Debug)]
struct Telling {
    boot: u64,
    /// Its whole hello was answered: it may be asked, and tell.
    welcomed: bool,
    told: HashSet<RevisionId>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    ended: u64,
    errors: u64,
}

/// All that is asked for, and what is known of it.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    watchers: BTreeMap<WatcherId, Watcher>,
    next_watcher: u64,
    streams: HashMap<StreamId, Telling>,
    /// By revision, then by boot of the process.
    revisions: HashMap<RevisionId, HashMap<u64, Tally>>,
    due: Duration,
}

impl Outcomes {
    /// Somebody may ask from now on; of too many the one who came first may not any more.
    pub(crate) fn watch(&mut self, listener: Listener) -> WatcherId {
        while self.watchers.len() >= MAX_WATCHERS {
            self.watchers.pop_first();
        }
        let id = WatcherId(self.next_watcher);
        self.next_watcher += 1;
        let watcher = Watcher { listener, wanted: BTreeSet::new(), sent: HashMap::new() };
        self.watchers.insert(id, watcher);
        id
    }

    /// One wants to know of these, and of no others. Gives what is to be asked of every activator, when that is new.
    pub(crate) fn want(&mut self, watcher: WatcherId, wanted: Vec<RevisionId>) -> Option<LeaderFrame> {
        let watcher = self.watchers.get_mut(&watcher)?;
        watcher.wanted = wanted.into_iter().collect();
        watcher.sent.retain(|revision, _| watcher.wanted.contains(revision));
        self.follow_wanted()
    }

    /// One does not ask any more.
    pub(crate) fn leave(&mut self, watcher: WatcherId) -> Option<LeaderFrame> {
        self.watchers.remove(&watcher)?;
        self.follow_wanted()
    }

    /// Nobody is answered any more, and nothing is known.
    pub(crate) fn end(&mut self, why: &'static str) {
        for watcher in std::mem::take(&mut self.watchers).into_values() {
            // A full queue ends the stream just as well, without the reason.
            watcher.listener.tell(Err(Status::unavailable(why)));
        }
        self.streams.clear();
        self.revisions.clear();
    }

    fn follow_wanted(&mut self) -> Option<LeaderFrame> {
        let Self { watchers, streams, revisions, .. } = self;
        let wanted = shared_out(watchers.values().map(|watcher| &watcher.wanted));
        if wanted.len() == revisions.len() && wanted.iter().all(|known| revisions.contains_key(*known)) {
            return None;
        }
        revisions.retain(|revision, _| wanted.contains(revision));
        for telling in streams.values_mut() {
            telling.told.retain(|revision| wanted.contains(revision));
        }
        for revision in wanted {
            if !revisions.contains_key(revision) {
                revisions.insert(revision.clone(), HashMap::new());
            }
        }
        Some(self.question())
    }

    fn question(&self) -> LeaderFrame {
        LeaderFrame::Count { revisions: self.revisions.keys().cloned().collect() }
    }

    /// A stream is of this process.
    pub(crate) fn greeted(&mut self, stream: StreamId, boot: u64) {
        self.streams.entry(stream).or_insert_with(|| Telling { boot, welcomed: false, told: HashSet::new() });
    }

    /// The activator is welcomed. Gives what it is to be asked.
    pub(crate) fn welcomed(&mut self, stream: StreamId) -> Option<LeaderFrame> {
        self.streams.get_mut(&stream)?.welcomed = true;
        (!self.revisions.is_empty()).then(|| self.question())
    }

    /// The activators that may be asked.
    pub(crate) fn asked(&self) -> impl Iterator<Item = StreamId> {
        self.streams.iter().filter(|(_, telling)| telling.welcomed).map(|(stream, _)| *stream)
    }

    /// It may tell how requests ended.
    pub(crate) fn hears(&self, stream: StreamId) -> bool {
        self.streams.get(&stream).is_some_and(|telling| telling.welcomed)
    }

    /// What an activator tells. It may still be about what nobody wants to know any more.
    pub(crate) fn heard(&mut self, stream: StreamId, outcomes: Vec<Told>) {
        if self.is_replaced(stream) {
            return;
        }
        let Some(telling) = self.streams.get_mut(&stream) else { return };
        for Told { revision, ended, errors } in outcomes {
            let Some(processes) = self.revisions.get_mut(&revision) else { continue };
            if processes.len() < MAX_PROCESSES || processes.contains_key(&telling.boot) {
                processes.insert(telling.boot, Tally { ended, errors });
            }
            telling.told.insert(revision);
        }
    }

    /// Its process has a newer stream, on which everything is told anew: what this one still brings is older than that.
    fn is_replaced(&self, stream: StreamId) -> bool {
        let Some(Telling { boot, .. }) = self.streams.get(&stream) else { return false };
        self.streams
            .iter()
            .any(|(other, telling)| *other > stream && telling.welcomed && telling.boot == *boot)
    }

    /// Tells those who ask what is new, once a second; `is_open` says which streams there are yet. Gives those who do not take it,
    /// who are to [leave](Self::leave).
    pub(crate) fn tell(
        &mut self,
        leader: &Leader,
        now: Duration,
        is_open: impl Fn(StreamId) -> bool,
    ) -> Vec<WatcherId> {
        if now < self.due {
            return Vec::new();
        }
        self.due = now + INTERVAL;
        self.streams.retain(|stream, _| is_open(*stream));
        if self.revisions.is_empty() {
            return Vec::new();
        }
        let complete = leader.hears_all();
        let counts: HashMap<&RevisionId, CountOf> =
            self.revisions.keys().map(|revision| (revision, self.count(revision, complete))).collect();
        let mut deaf = Vec::new();
        for (id, watcher) in &mut self.watchers {
            let is_new = |count: &CountOf| watcher.sent.get(&count.revision) != Some(count);
            let count =
                |revision: &RevisionId| counts.get(revision).cloned().unwrap_or_else(|| unknown(revision));
            let news: Vec<_> = watcher.wanted.iter().map(count).filter(is_new).collect();
            if news.is_empty() {
                continue;
            }
            watcher.sent.extend(news.iter().map(|count| (count.revision.clone(), count.clone())));
            if !watcher.listener.tell(Ok(Counted(news))) {
                deaf.push(*id);
            }
        }
        deaf
    }

    /// What is known of a revision, when it is counted.
    pub(crate) fn of(&self, leader: &Leader, revision: &RevisionId) -> Option<CountOf> {
        self.revisions.contains_key(revision).then(|| self.count(revision, leader.hears_all()))
    }

    fn count(&self, revision: &RevisionId, complete: bool) -> CountOf {
        let mut sum = Tally::default();
        for Tally { ended, errors } in self.revisions.get(revision).into_iter().flat_map(HashMap::values) {
            sum.ended = sum.ended.saturating_add(*ended).min(MAX_ENDED);
            sum.errors = sum.errors.saturating_add(*errors).min(sum.ended);
        }
        let mut asked = self.streams.values().filter(|telling| telling.welcomed);
        CountOf {
            revision: revision.clone(),
            ended: sum.ended,
            errors: sum.errors,
            complete: complete && asked.all(|telling| telling.told.contains(revision)),
        }
    }
}

/// What is asked of the activators, which take no more than so much in one question: of each who asks the next one in turn, so
/// that one who asks for much leaves the others their part.
fn shared_out<'a>(wanted: impl Iterator<Item = &'a BTreeSet<RevisionId>>) -> HashSet<&'a RevisionId> {
    let mut asking: Vec<_> = wanted.map(BTreeSet::iter).collect();
    let mut shared = HashSet::new();
    while !asking.is_empty() {
        asking.retain_mut(|rest| {
            let Some(revision) = rest.next() else { return false };
            if shared.len() < MAX_COUNTED {
                shared.insert(revision);
                return true;
            }
            if !shared.contains(revision) {
                tracing::warn!(most = MAX_COUNTED, %revision, "more revisions are asked for than are counted");
            }
            false
        });
    }
    shared
}

/// Of what is not counted, because too much is asked for.
fn unknown(revision: &RevisionId) -> CountOf {
    CountOf { revision: revision.clone(), ended: 0, errors: 0, complete: false }
}

#[cfg(test)]
mod tests;
