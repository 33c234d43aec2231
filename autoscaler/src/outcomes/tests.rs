use catnap_autoscaler_core::Settings;
use catnap_wire::{ActivatorFrame, Hello, Term};

use super::*;

const FIRST: StreamId = StreamId(1);
const SECOND: StreamId = StreamId(2);

fn id(name: &str) -> RevisionId {
    RevisionId { namespace: "shop".into(), name: name.into(), function_uid: "uid".into() }
}

fn told(name: &str, ended: u64, errors: u64) -> Vec<Told> {
    vec![Told { revision: id(name), ended, errors }]
}

/// One operator, and a leader that hears of two activators.
struct Bed {
    outcomes: Outcomes,
    leader: Leader,
    now: Duration,
    watcher: WatcherId,
    counted: mpsc::Receiver<Result<Counted, Status>>,
}

impl Bed {
    fn new() -> Self {
        let now = Duration::from_secs(100);
        let mut leader = Leader::new(Term::default(), Settings::default(), Duration::ZERO);
        leader.set_activators(&["a".into(), "b".into()], now);
        let (watcher, counted, mut outcomes) = watching(Outcomes::default());
        for (stream, pod) in [(FIRST, "a"), (SECOND, "b")] {
            leader.stream_opened(stream, pod.into(), now);
            let (boot, clock_milliseconds) = (stream.0, 100_000);
            let hello =
                Hello { boot, pod_uid: pod.into(), clock_milliseconds, revisions: Vec::new(), more: false };
            leader.activator_frame(stream, ActivatorFrame::Hello(hello), now);
            outcomes.greeted(stream, boot);
            assert!(!outcomes.hears(stream), "it is not welcome yet");
            outcomes.welcomed(stream);
        }
        Self { outcomes, leader, now, watcher, counted }
    }

    /// A second passes; what the operator hears: revision, ended, errors, complete.
    fn second(&mut self) -> Vec<(String, u64, u64, bool)> {
        let index = self.now.as_secs();
        self.now += Duration::from_secs(1);
        for stream in [FIRST, SECOND] {
            self.leader.activator_frame(stream, ActivatorFrame::Through { index }, self.now);
        }
        self.tell(|_| true)
    }

    fn tell(&mut self, is_open: impl Fn(StreamId) -> bool) -> Vec<(String, u64, u64, bool)> {
        assert!(self.outcomes.tell(&self.leader, self.now, is_open).is_empty());
        let Ok(Ok(Counted(counts))) = self.counted.try_recv() else { return Vec::new() };
        let mut counts: Vec<_> = counts
            .into_iter()
            .map(|count| (count.revision.name.to_string(), count.ended, count.errors, count.complete))
            .collect();
        counts.sort();
        counts
    }
}

fn watching(mut outcomes: Outcomes) -> (WatcherId, mpsc::Receiver<Result<Counted, Status>>, Outcomes) {
    let (frames, counted) = mpsc::channel(WAITING_FRAMES);
    let watcher = outcomes.watch(Listener::new(frames, &CancellationToken::new()));
    (watcher, counted, outcomes)
}

fn of(name: &str, ended: u64, errors: u64, complete: bool) -> (String, u64, u64, bool) {
    (name.to_owned(), ended, errors, complete)
}

#[test]
fn processes_are_added_up_and_nothing_counts_twice() {
    let mut bed = Bed::new();
    bed.outcomes.want(bed.watcher, vec![id("old"), id("new")]);
    assert_eq!(bed.second(), [of("new", 0, 0, false), of("old", 0, 0, false)]);
    for stream in [FIRST, SECOND] {
        bed.outcomes.heard(stream, told("new", 0, 0));
        bed.outcomes.heard(stream, told("old", 100, 1));
        bed.outcomes.heard(stream, told("old", 100, 1));
    }
    assert_eq!(bed.second(), [of("new", 0, 0, true), of("old", 200, 2, true)]);
    bed.outcomes.heard(SECOND, told("new", 7, 3));
    assert_eq!(bed.second(), [of("new", 7, 3, true)], "only what is new");
    assert!(bed.second().is_empty());
}

#[test]
fn a_process_that_is_gone_still_counts_and_one_that_connects_anew_does_not_twice() {
    let mut bed = Bed::new();
    bed.outcomes.want(bed.watcher, vec![id("new")]);
    bed.outcomes.heard(FIRST, told("new", 10, 1));
    bed.outcomes.heard(SECOND, told("new", 20, 2));
    assert_eq!(bed.second(), [of("new", 30, 3, true)]);
    let (again, other) = (StreamId(3), StreamId(4));
    // The first says hello anew; the second was started anew.
    for (stream, boot) in [(again, FIRST.0), (other, 9)] {
        bed.outcomes.greeted(stream, boot);
        assert_eq!(bed.outcomes.welcomed(stream), Some(LeaderFrame::Count { revisions: vec![id("new")] }));
    }
    let only_new = |stream| stream == again || stream == other;
    bed.now += INTERVAL;
    bed.tell(only_new);
    bed.outcomes.heard(again, told("new", 11, 1));
    bed.outcomes.heard(other, told("new", 5, 5));
    bed.now += INTERVAL;
    let counts = bed.tell(only_new);
    assert_eq!((counts[0].1, counts[0].2), (36, 8));
}

#[test]
fn what_an_older_stream_of_a_process_still_brings_is_no_news() {
    let mut bed = Bed::new();
    bed.outcomes.want(bed.watcher, vec![id("new")]);
    bed.outcomes.heard(SECOND, told("new", 0, 0));
    let again = StreamId(3);
    bed.outcomes.greeted(again, FIRST.0);
    bed.outcomes.heard(FIRST, told("new", 10, 1));
    assert_eq!(bed.second(), [of("new", 10, 1, true)], "the newer one may not tell yet");
    bed.outcomes.welcomed(again);
    bed.outcomes.heard(again, told("new", 12, 1));
    bed.outcomes.heard(FIRST, told("new", 11, 1));
    assert_eq!(bed.second(), [of("new", 12, 1, true)]);
    // Its series may have been dropped in the meantime, so that it begins anew.
    bed.outcomes.heard(again, told("new", 3, 0));
    assert_eq!(bed.second(), [of("new", 3, 0, true)]);
}

#[test]
fn it_is_complete_when_everybody_has_told() {
    let mut bed = Bed::new();
    bed.outcomes.want(bed.watcher, vec![id("new")]);
    bed.outcomes.heard(FIRST, told("new", 10, 1));
    assert_eq!(bed.second(), [of("new", 10, 1, false)]);
    bed.outcomes.heard(SECOND, told("new", 0, 0));
    assert_eq!(bed.second(), [of("new", 10, 1, true)]);
    bed.leader.set_activators(&["a".into(), "b".into(), "c".into()], bed.now);
    assert_eq!(bed.second(), [of("new", 10, 1, false)], "one exists that never connected");
}

#[test]
fn what_nobody_asks_for_is_not_kept() {
    let mut bed = Bed::new();
    bed.outcomes.heard(FIRST, told("new", 10, 1));
    assert_eq!(bed.outcomes.want(bed.watcher, Vec::new()), None, "nothing new to ask");
    let question = bed.outcomes.want(bed.watcher, vec![id("new")]);
    assert_eq!(question, Some(LeaderFrame::Count { revisions: vec![id("new")] }));
    assert_eq!(bed.second(), [of("new", 0, 0, false)]);
    bed.outcomes.heard(FIRST, told("other", 10, 1));
    assert_eq!(bed.outcomes.revisions.len(), 1);
    assert_eq!(bed.outcomes.want(bed.watcher, vec![id("new")]), None, "asked already");
    let (second, _counted, outcomes) = watching(std::mem::take(&mut bed.outcomes));
    bed.outcomes = outcomes;
    assert_eq!(bed.outcomes.want(second, vec![id("new")]), None, "asked for another one");
    assert_eq!(bed.outcomes.leave(bed.watcher), None, "another one still asks");
    assert_eq!(bed.outcomes.leave(second), Some(LeaderFrame::Count { revisions: Vec::new() }));
    assert!(bed.outcomes.revisions.is_empty());
}

#[test]
fn sums_stay_within_what_a_frame_may_say() {
    let mut bed = Bed::new();
    bed.outcomes.want(bed.watcher, vec![id("new")]);
    for stream in [FIRST, SECOND] {
        bed.outcomes.heard(stream, told("new", MAX_ENDED, MAX_ENDED));
    }
    assert_eq!(bed.second(), [of("new", MAX_ENDED, MAX_ENDED, true)]);
}

/// So many revisions, by names of their own.
fn many(prefix: &str, count: usize) -> Vec<RevisionId> {
    (0..count).map(|number| id(&format!("{prefix}-{number:05}"))).collect()
}

fn questioned(question: Option<LeaderFrame>) -> HashSet<RevisionId> {
    let Some(LeaderFrame::Count { revisions }) = question else { panic!("a question, not {question:?}") };
    assert!(revisions.len() <= MAX_COUNTED, "{} are refused by every activator", revisions.len());
    revisions.into_iter().collect()
}

#[test]
fn no_more_is_asked_than_activators_take_and_each_operator_has_its_part() {
    let mut bed = Bed::new();
    let all_of_one = bed.outcomes.want(bed.watcher, many("one", MAX_COUNTED));
    assert_eq!(questioned(all_of_one).len(), MAX_COUNTED);
    for stream in [FIRST, SECOND] {
        bed.outcomes.heard(stream, told("one-19999", 5, 1));
        bed.outcomes.heard(stream, told("one-00000", 5, 1));
    }
    assert!(bed.second().contains(&of("one-19999", 10, 2, true)));
    let (other, mut counted, outcomes) = watching(std::mem::take(&mut bed.outcomes));
    bed.outcomes = outcomes;
    let asked = questioned(bed.outcomes.want(other, many("other", 10)));
    assert!(many("other", 10).iter().all(|revision| asked.contains(revision)), "a few find room");
    assert_eq!(asked.len(), MAX_COUNTED);
    // What is not counted any more is not known, and the rest is as it was.
    assert_eq!(bed.second(), [of("one-19999", 0, 0, false)]);
    assert_eq!(counted.try_recv().unwrap().unwrap().0.len(), 10);

    let asked = questioned(bed.outcomes.want(other, many("other", MAX_COUNTED)));
    for prefix in ["one", "other"] {
        let half = many(prefix, MAX_COUNTED / 2);
        assert!(half.iter().all(|revision| asked.contains(revision)), "half of it for {prefix}");
    }
    let whole = questioned(bed.outcomes.leave(other));
    assert_eq!(whole.len(), MAX_COUNTED, "there is room again");
}

#[test]
fn of_too_many_operators_the_first_goes_and_one_that_is_deaf_is_named() {
    let mut bed = Bed::new();
    bed.outcomes.want(bed.watcher, vec![id("new")]);
    let mut others = Vec::new();
    for _ in 0..MAX_WATCHERS {
        let (_, counted, outcomes) = watching(std::mem::take(&mut bed.outcomes));
        bed.outcomes = outcomes;
        others.push(counted);
    }
    assert!(bed.counted.is_closed());
    let (deaf, counted, outcomes) = watching(std::mem::take(&mut bed.outcomes));
    bed.outcomes = outcomes;
    drop(counted);
    bed.outcomes.want(deaf, vec![id("new")]);
    bed.now += INTERVAL;
    assert_eq!(bed.outcomes.tell(&bed.leader, bed.now, |_| true), [deaf]);
}
