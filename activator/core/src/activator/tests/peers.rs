//! Several activators of one process each, joined by links without a network: what a client meets when they share a limit.

use super::*;
use crate::{Connection, LinkId, Member, PeerId};
use std::collections::HashMap;

mod leaving;

struct Several {
    clock: Arc<ManualClock>,
    activators: Vec<(Arc<Activator>, UnboundedReceiver<Command>)>,
    /// The other end of each link.
    links: HashMap<(usize, LinkId), (usize, LinkId)>,
    /// The leader's stream of each.
    streams: Vec<Connection>,
    /// What each told the leader since it was last looked at.
    told: Vec<(usize, ActivatorFrame)>,
}

fn name(index: usize) -> PeerId {
    PeerId { pod: format!("activator-{index}").as_str().into(), boot: 1 }
}

impl Several {
    /// That many, which know each other, with one Function whose pods take one request at a time.
    fn new(count: usize) -> Self {
        let clock = Arc::new(ManualClock::default());
        let mut several = Self {
            clock,
            activators: Vec::new(),
            links: HashMap::new(),
            streams: Vec::new(),
            told: Vec::new(),
        };
        for index in 0..count {
            several.start(index);
        }
        several.introduce();
        several
    }

    fn start(&mut self, index: usize) {
        let settings = Settings::new(index as u64, name(index).pod);
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let (activator, commands) = Activator::new(settings, clock);
        let leader = activator.leader_connected();
        let term = Term { transitions: 1, boot: 1 };
        let welcome = Welcome { term, closed: Vec::new(), more: false };
        activator.leader_frame(leader, LeaderFrame::Welcome(welcome));
        activator.set_functions(vec![route(Some("hello-1"), &["hello-1"])]);
        self.activators.push((activator, commands));
        self.streams.push(leader);
    }

    /// All learn of all, and are linked to those that they were not.
    fn introduce(&mut self) {
        let all: Vec<_> = (0..self.activators.len()).collect();
        for one in &all {
            let others = all.iter().filter(|other| *other != one);
            let members = others.map(|other| Member { id: name(*other), live: true, runs: true });
            self.activators[*one].0.set_peers(&members.collect::<Vec<_>>(), false);
        }
        for one in &all {
            for other in &all[..*one] {
                if !self.links.iter().any(|(near, far)| (near.0, far.0) == (*one, *other)) {
                    let near = self.activators[*one].0.peer_connected(&name(*other)).expect("known");
                    let far = self.activators[*other].0.peer_connected(&name(*one)).expect("known");
                    self.links.insert((*one, near), (*other, far));
                    self.links.insert((*other, far), (*one, near));
                }
            }
        }
        self.deliver();
    }

    /// Until nobody has anything more to say.
    fn deliver(&mut self) {
        let mut quiet = false;
        while !quiet {
            quiet = true;
            for index in 0..self.activators.len() {
                while let Ok(command) = self.activators[index].1.try_recv() {
                    quiet = false;
                    match command {
                        Command::SendPeer { link, frame } => {
                            if let Some((other, link)) = self.links.get(&(index, link)) {
                                self.activators[*other].0.peer_frame(*link, frame);
                            }
                        }
                        Command::ClosePeer { link } => {
                            if let Some((other, far)) = self.links.remove(&(index, link)) {
                                self.links.remove(&(other, far));
                                self.activators[other].0.peer_lost(far);
                            }
                        }
                        Command::Send { frame, .. } => self.told.push((index, frame)),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Nothing is heard of it any more.
    fn kill(&mut self, index: usize) {
        let links: Vec<_> = self.links.keys().filter(|(of, _)| *of == index).copied().collect();
        for near in links {
            if let Some((other, far)) = self.links.remove(&near) {
                self.links.remove(&(other, far));
                self.activators[other].0.peer_lost(far);
            }
        }
        self.deliver();
    }

    fn set_pods(&mut self, pods: &[&str]) {
        for (activator, _) in &self.activators {
            activator.set_pods(&id("hello-1"), pods.iter().map(|uid| pod(uid)).collect());
        }
        self.deliver();
    }

    fn admit(&mut self, index: usize) -> Admission {
        self.clock.advance(ms(1));
        let function = self.activators[index].0.route(Listener::InCluster, "hello.default").expect("found");
        let admission = function.admit();
        self.deliver();
        admission
    }

    /// A request that is served at once, by whatever way.
    fn dispatched(&mut self, index: usize) -> Slot {
        match self.admit(index) {
            Admission::Dispatch(slot) => slot,
            Admission::Held(waiting) => waiting.now_or_never().expect("granted").expect("a slot"),
            Admission::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    fn held(&mut self, index: usize) -> Waiting {
        match self.admit(index) {
            Admission::Held(mut waiting) => {
                assert!((&mut waiting).now_or_never().is_none(), "it is held");
                waiting
            }
            other => panic!("not held: {other:?}"),
        }
    }

    fn end(&mut self, slot: Slot) {
        drop(slot);
        self.deliver();
    }

    fn pass(&mut self, step: Duration) {
        let mut left = step;
        while !left.is_zero() {
            let part = left.min(ms(200));
            left -= part;
            self.clock.advance(part);
            for index in 0..self.activators.len() {
                self.activators[index].0.tick();
            }
            self.deliver();
        }
    }

    fn role(&self, index: usize) -> Option<&'static str> {
        self.activators[index].0.snapshot().revisions[0].slots
    }

    fn owner(&self) -> usize {
        let owners: Vec<_> =
            (0..self.activators.len()).filter(|index| self.role(*index) == Some("owner")).collect();
        assert_eq!(owners.len(), 1, "one owns");
        owners[0]
    }
}

fn granted(waiting: &mut Waiting) -> Option<Slot> {
    waiting.now_or_never().map(|received| received.expect("a slot"))
}

#[test]
fn one_limit_holds_wherever_requests_come_in() {
    let mut several = Several::new(3);
    several.set_pods(&["a"]);
    let first = several.dispatched(0);
    let mut waiting: Vec<_> = [1, 2, 0, 1].map(|index| several.held(index)).into();
    several.end(first);
    // In the order in which they came, across activators.
    for place in 0..4 {
        let slot = granted(&mut waiting[place]).expect("its turn");
        assert!(waiting[place + 1..].iter_mut().all(|later| granted(later).is_none()), "at {place}");
        several.end(slot);
    }
    let owner = several.owner();
    assert_eq!(several.activators[owner].0.snapshot().revisions[0].pods[0].elsewhere, 0);
}

#[test]
fn alone_nothing_is_asked_of_anybody() {
    let mut several = Several::new(1);
    several.set_pods(&["a"]);
    let Admission::Dispatch(slot) = several.admit(0) else { panic!("at once") };
    assert_eq!(several.role(0), None);
    let mut next = several.held(0);
    several.end(slot);
    assert!(granted(&mut next).is_some());
}

#[test]
fn a_pod_that_only_the_asking_activator_knows_to_answer_is_granted() {
    let mut several = Several::new(2);
    several.set_pods(&["a"]);
    several.dispatch_once_to_find_the_owner();
    let owner = several.owner();
    let other = 1 - owner;
    several.set_pods(&[]);
    let mut waiting = several.held(other);
    let starting = Pod { ready: false, ..pod("new") };
    several.activators[other].0.set_pods(&id("hello-1"), vec![starting]);
    several.deliver();
    assert!(granted(&mut waiting).is_none());
    several.activators[other].0.probed(&id("hello-1"), &"new".into(), true);
    several.deliver();
    assert!(granted(&mut waiting).is_some(), "it was probed there, and nowhere else");
}

#[test]
fn one_that_joins_counts_what_was_open_before() {
    let mut several = Several::new(1);
    several.set_pods(&["a"]);
    let first = several.dispatched(0);
    several.start(1);
    several.introduce();
    several.set_pods(&["a"]);
    let mut waiting = several.held(1);
    assert!(granted(&mut waiting).is_none());
    several.end(first);
    assert!(granted(&mut waiting).is_some());
}

#[test]
fn an_owner_that_drains_hands_over_with_what_it_has_open() {
    let mut several = Several::new(3);
    several.set_pods(&["a"]);
    several.dispatch_once_to_find_the_owner();
    let before = several.owner();
    let open = several.dispatched(before);
    let other = (before + 1) % 3;
    let mut waiting = several.held(other);
    several.activators[before].0.drain();
    several.deliver();
    assert_ne!(several.owner(), before);
    assert!(granted(&mut waiting).is_none(), "what it has open still counts");
    let mut last = several.held(before);
    several.end(open);
    let slot = granted(&mut waiting).expect("the pod is free");
    several.end(slot);
    assert!(granted(&mut last).is_some(), "one that drains still serves");
    several.activators[before].0.end_peers();
    several.deliver();
    assert!(!several.links.keys().any(|(of, _)| *of == before), "all hang up");
    drop(last);
    let slot = several.dispatched(other);
    several.end(slot);
}

#[test]
fn what_a_killed_activator_had_open_counts_for_five_seconds() {
    let mut several = Several::new(2);
    several.set_pods(&["a"]);
    several.dispatch_once_to_find_the_owner();
    let owner = several.owner();
    let other = 1 - owner;
    // The one that does not own is killed: the owner goes on at once, but counts what it granted.
    let lost = several.dispatched(other);
    let mut waiting = several.held(owner);
    several.kill(other);
    several.pass(ms(4_800));
    assert!(granted(&mut waiting).is_none());
    several.pass(ms(400));
    assert!(granted(&mut waiting).is_some());
    drop(lost);
}

#[test]
fn another_one_owns_five_seconds_after_the_owner_was_killed() {
    let mut several = Several::new(3);
    several.set_pods(&["a"]);
    several.dispatch_once_to_find_the_owner();
    let owner = several.owner();
    several.pass(ms(3_000));
    several.kill(owner);
    let mut waiting = several.held((owner + 1) % 3);
    several.pass(ms(4_600));
    assert!(granted(&mut waiting).is_none());
    several.pass(ms(600));
    assert!(granted(&mut waiting).is_some());
}

#[test]
fn a_request_that_finds_no_pod_there_is_tried_again_by_the_same_rules() {
    let mut several = Several::new(2);
    several.set_pods(&["a", "b"]);
    several.dispatch_once_to_find_the_owner();
    let other = 1 - several.owner();
    let refused = several.dispatched(other);
    let first = Arc::clone(refused.pod());
    let again = refused.connect_failed();
    several.deliver();
    let slot = match again {
        Admission::Held(waiting) => waiting.now_or_never().expect("granted").expect("a slot"),
        other => panic!("{other:?}"),
    };
    let mut third = several.dispatched(other);
    assert_ne!(slot.pod(), third.pod());
    assert!([slot.pod(), third.pod()].contains(&&first), "its slot came back");
    third.broke_off();
    several.end(third);
}

#[test]
fn a_short_queue_is_not_full_of_requests_that_only_wait_for_an_answer() {
    let mut several = Several::new(2);
    several.set_pods(&["a", "b", "c"]);
    several.dispatch_once_to_find_the_owner();
    let other = 1 - several.owner();
    let policy = FunctionPolicy { max_requests: 1, ..FunctionPolicy::default() };
    let short = FunctionRoute { policy, ..route(Some("hello-1"), &["hello-1"]) };
    several.activators[other].0.upsert_function(short);
    let function = several.activators[other].0.route(Listener::InCluster, "hello.default").expect("found");
    // At once: nothing is delivered in between.
    let admitted: Vec<_> = (0..5).map(|_| function.admit()).collect();
    let refused = admitted.iter().filter(|one| matches!(one, Admission::Refused(_))).count();
    assert_eq!(refused, 1, "three for the pods, and one to wait");
    several.deliver();
    let served = admitted.into_iter().filter_map(|one| match one {
        Admission::Held(waiting) => waiting.now_or_never(),
        _ => None,
    });
    let slots: Vec<Slot> = served.map(|received| received.expect("a slot")).collect();
    assert_eq!(slots.len(), 3);
}

#[test]
fn slots_that_nobody_uses_are_forgotten_by_all() {
    let mut several = Several::new(3);
    several.set_pods(&["a"]);
    several.dispatch_once_to_find_the_owner();
    several.set_pods(&[]);
    several.pass(ms(62_000));
    for index in 0..3 {
        assert_ne!(several.role(index), Some("following"), "{index}");
        assert_ne!(several.role(index), Some("owner"), "{index}");
    }
}

impl Several {
    fn dispatch_once_to_find_the_owner(&mut self) {
        let slot = self.dispatched(0);
        self.end(slot);
    }
}

#[test]
fn a_request_that_waits_for_another_activator_s_answer_is_no_pressure_yet() {
    let mut several = Several::new(2);
    several.set_pods(&["a"]);
    // By this they agree on who owns.
    drop(several.dispatched(0));
    drop(several.dispatched(1));
    several.deliver();
    let asks = |(activator, _): &(Arc<Activator>, _)| {
        activator.snapshot().revisions.iter().any(|state| state.slots == Some("following"))
    };
    let index = several.activators.iter().position(asks).expect("one that follows");
    let (activator, commands) = &mut several.activators[index];
    let function = activator.route(Listener::InCluster, "hello.default").expect("found");
    let Admission::Held(waiting) = function.admit() else { panic!("not held") };
    let mut pressed = |at: u64| {
        several.clock.advance(ms(at));
        let wait = activator.tick();
        let told = std::iter::from_fn(|| commands.try_recv().ok())
            .filter(|command| matches!(command, Command::Send { frame: ActivatorFrame::Pressure(_), .. }));
        (told.count(), wait)
    };
    let (told, wait) = pressed(1);
    assert_eq!(told, 0, "the answer is on its way");
    assert!(wait <= ms(20), "it looks again in time: {wait:?}");
    assert_eq!(pressed(20).0, 1, "no answer: no room");
    // A pod that is on its way is for what was told: that stands.
    activator.set_pods(&id("hello-1"), vec![pod("a"), Pod { address: None, ready: false, ..pod("b") }]);
    assert_eq!(pressed(100).0, 1);
    // At a high rate there is always one that waits for its answer.
    let Admission::Held(_next) = function.admit() else { panic!("not held") };
    drop(waiting);
    assert_eq!(pressed(1).0, 1, "its end");
    assert_eq!(pressed(1).0, 0, "told once");
}
