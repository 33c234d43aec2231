//! Everything around the simulated activators: the API server, the network, the pods, the callers and the faults; and what must
//! hold at every moment.

use super::activator::Activator;
use super::ms;
use super::network::{Arrival, Connection};
use crate::random::Random;
use crate::slots::{LinkEffect, Member};
use catnap_wire::message::PodUid;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

/// Faults and requests come until then; afterwards everybody must be served.
pub(super) const BUSY_UNTIL: Duration = ms(9_000);
/// By then, whatever happened.
pub(super) const END: Duration = ms(70_000);
/// Nobody waits longer than this beside a free slot.
pub(super) const BESIDE_FREE: Duration = ms(100);

/// What may go wrong.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Faults {
    pub(super) joins: bool,
    pub(super) links: bool,
    pub(super) kills: bool,
    pub(super) pauses: bool,
    /// Two activators do not reach each other for so long that each gives the other up. Documented: until they do again, the
    /// limit holds on each side.
    pub(super) partitions: bool,
    /// Pod objects go before their processes.
    pub(super) expulsions: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Request,
    End(usize, u64),
    Arrives(usize, usize),
    Members(usize, usize),
    Pods(usize, usize),
    Tick(usize),
    Dial,
    Fault,
    PodsChange,
    Restart(usize),
    Gone(usize),
    Dead(usize),
    Check,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Violation {
    #[error("at {at:?} pod {pod} has {open} exchanges, the limit is {limit}")]
    OverLimit { at: Duration, pod: PodUid, open: u32, limit: u32 },
    #[error("at {at:?} somebody has waited beside a free slot of pod {pod} since {since:?}: {who}")]
    BesideFree { at: Duration, since: Duration, pod: PodUid, who: String },
    #[error("{waiting} requests wait for ever: {who}")]
    Forever { waiting: usize, who: String },
}

pub(super) struct World {
    pub(super) random: Random,
    pub(super) faults: Faults,
    pub(super) now: Duration,
    pub(super) limit: u32,
    pub(super) agenda: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    pub(super) sequence: u64,
    pub(super) activators: Vec<Activator>,
    pub(super) connections: Vec<Connection>,
    /// As the API server has them, with every state that they ever had.
    pub(super) members: Vec<Vec<Member>>,
    pub(super) pods: Vec<BTreeSet<PodUid>>,
    /// What each activator's watches have shown it last, and when.
    pub(super) shown: Vec<[(usize, Duration); 2]>,
    /// What is really open, per activator and exchange.
    pub(super) open: BTreeMap<(usize, u64), (PodUid, bool)>,
    pub(super) free_since: BTreeMap<PodUid, Duration>,
    pub(super) agreed_since: Option<Duration>,
    /// Which two do not reach each other, and until when.
    pub(super) cut_off: Vec<([usize; 2], Duration)>,
    /// There are, or were since all agreed for the last time.
    pub(super) sides: bool,
    pub(super) story: Vec<String>,
    pub(super) granted: u64,
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        let mut world = Self {
            random: Random::new(seed.wrapping_add(1)),
            faults,
            now: Duration::ZERO,
            limit: 1,
            agenda: BinaryHeap::new(),
            sequence: 0,
            activators: Vec::new(),
            connections: Vec::new(),
            members: vec![Vec::new()],
            pods: vec![BTreeSet::new()],
            shown: Vec::new(),
            open: BTreeMap::new(),
            free_since: BTreeMap::new(),
            agreed_since: None,
            cut_off: Vec::new(),
            sides: false,
            story: Vec::new(),
            granted: 0,
        };
        world.limit = 1 + u32::try_from(world.random.below(3)).unwrap();
        for _ in 0..=world.random.below(3) {
            world.join();
        }
        for event in [Event::Request, Event::Dial, Event::PodsChange, Event::Check, Event::Fault] {
            world.at(Duration::ZERO, event);
        }
        world
    }

    /// What happened, the latest last.
    pub(super) fn story(&self) -> String {
        self.story.iter().rev().take(60).rev().cloned().collect::<Vec<_>>().join("\n")
    }

    pub(super) fn run(&mut self) -> Result<(), Violation> {
        while let Some(Reverse((at, _, event))) = self.agenda.pop() {
            if at > END {
                break;
            }
            self.now = at;
            self.happen(event);
            self.check_limit()?;
            if at > BUSY_UNTIL
                && at > ms(16_000)
                && self.activators.iter().all(|one| !one.serves() || one.waiting.is_empty())
            {
                break;
            }
            self.check_waiting()?;
        }
        let waiting = self.activators.iter().filter(|one| one.serves()).map(|one| one.waiting.len()).sum();
        if waiting > 0 { Err(Violation::Forever { waiting, who: self.who() }) } else { Ok(()) }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Request => self.request(),
            Event::End(index, number) => self.end(index, number),
            Event::Arrives(connection, side) => self.arrives(connection, side),
            Event::Members(index, version) => {
                if self.awake_for(index, Event::Members(index, version)) {
                    let members = self.members[version].clone();
                    self.act(index, |one, now| one.set_members(&members, now));
                }
            }
            Event::Pods(index, version) => {
                if self.awake_for(index, Event::Pods(index, version)) {
                    let pods = self.pods[version].clone();
                    self.act(index, |one, now| one.set_pods(pods, now));
                }
            }
            Event::Tick(index) => self.tick(index),
            Event::Dial => self.dial(),
            Event::Fault => self.fault(),
            Event::PodsChange => self.change_pods(),
            Event::Restart(index) => self.restart(index),
            Event::Gone(index) => {
                let pod = PodUid::clone(&self.activators[index].id.pod);
                self.change_members(|members| members.retain(|member| member.id.pod != pod));
            }
            Event::Dead(index) => {
                let id = self.activators[index].id.clone();
                self.change_members(|members| {
                    members
                        .iter_mut()
                        .filter(|member| member.id == id)
                        .for_each(|member| member.runs = false);
                });
            }
            Event::Check => {
                self.leave_when_done();
                self.at(ms(5), Event::Check);
            }
        }
    }

    pub(super) fn at(&mut self, after: Duration, event: Event) {
        self.sequence += 1;
        self.agenda.push(Reverse((self.now + after, self.sequence, event)));
    }

    pub(super) fn between(&mut self, least: u64, most: u64) -> Duration {
        let spread = usize::try_from((most - least) * 1_000).unwrap();
        ms(least) + Duration::from_micros(self.random.below(spread + 1) as u64)
    }

    /// One time in `of`.
    pub(super) fn chance(&mut self, of: usize) -> bool {
        self.random.below(of) == 0
    }

    pub(super) fn tell(&mut self, what: &str) {
        self.story.push(format!("{:?} {what}", self.now));
    }

    /// Puts off what a stopped activator cannot see yet; a dead one never sees it.
    fn awake_for(&mut self, index: usize, event: Event) -> bool {
        let one = &self.activators[index];
        if one.alive && !one.runs(self.now) {
            let after = one.stopped_until.saturating_sub(self.now);
            self.at(after, event);
        }
        self.activators[index].runs(self.now)
    }

    /// Lets an activator do something, and sends what it says.
    pub(super) fn act(&mut self, index: usize, event: impl FnOnce(&mut Activator, Duration)) {
        let now = self.now;
        event(&mut self.activators[index], now);
        let effects = self.activators[index].take_frames();
        for effect in effects {
            match effect {
                LinkEffect::Send(link, frame) => {
                    let delay = if self.chance(50) { self.between(0, 20) } else { self.between(0, 1) };
                    let Some(connection) = self.activators[index].connections.get(&link).copied() else {
                        continue;
                    };
                    let at = now + delay;
                    let side = 1 - self.connections[connection].side(index);
                    if self.connections[connection].open {
                        self.connections[connection].push(side, at, Arrival::Frame(frame));
                        let at = self.connections[connection].to[side].back().map_or(at, |(at, _)| *at);
                        self.at(at.saturating_sub(now), Event::Arrives(connection, side));
                    }
                }
                LinkEffect::Close(link) => {
                    if let Some(connection) = self.activators[index].connections.remove(&link) {
                        self.break_off(connection);
                    }
                }
            }
        }
        for number in std::mem::take(&mut self.activators[index].begun) {
            self.granted += 1;
            let of = |exchange: &&super::activator::Exchange| exchange.number == number;
            let pod = PodUid::clone(&self.activators[index].open.iter().find(of).expect("just begun").pod);
            self.free_since.remove(&pod);
            let gone = !self.pods.last().expect("at least one").contains(&pod);
            self.open.insert((index, number), (pod, self.sides));
            let lasts = if gone {
                ms(1)
            } else if self.chance(20) {
                self.between(100, 900)
            } else {
                self.between(1, 30)
            };
            self.at(lasts, Event::End(index, number));
        }
    }

    fn request(&mut self) {
        let now = self.now;
        let ready: Vec<usize> = (0..self.activators.len())
            .filter(|index| self.activators[*index].runs(now) && !self.activators[*index].leaving)
            .collect();
        if !ready.is_empty() {
            // Bursts, and long quiet.
            for _ in 0..=self.random.below(4) {
                let index = ready[self.random.below(ready.len())];
                self.act(index, Activator::arrive);
            }
        }
        if now < BUSY_UNTIL {
            let after = if self.chance(40) { self.between(100, 900) } else { self.between(1, 30) };
            self.at(after, Event::Request);
        }
    }

    fn end(&mut self, index: usize, number: u64) {
        self.open.remove(&(index, number));
        if self.awake_for(index, Event::End(index, number)) {
            self.act(index, |one, now| one.end(number, now));
        }
    }

    fn tick(&mut self, index: usize) {
        if !self.awake_for(index, Event::Tick(index)) {
            return;
        }
        self.act(index, Activator::tick);
        let next = self.activators[index].ticks_at.saturating_sub(self.now);
        self.at(next.min(ms(100)), Event::Tick(index));
    }

    fn arrives(&mut self, connection: usize, side: usize) {
        let index = self.connections[connection].ends[side];
        if !self.awake_for(index, Event::Arrives(connection, side)) {
            return;
        }
        let due = self.connections[connection].to[side].front().is_some_and(|(at, _)| *at <= self.now);
        if !due {
            return;
        }
        let Some((_, arrival)) = self.connections[connection].to[side].pop_front() else { return };
        match arrival {
            Arrival::Connected { peer } => {
                self.act(index, |one, now| match one.links.connected(&peer, now) {
                    Some(link) => {
                        one.connections.insert(link, connection);
                        one.view_changed(now);
                    }
                    // It does not know whom it talks to: as if the handshake had failed.
                    None => one.connections.retain(|_, known| *known != connection),
                });
            }
            Arrival::Frame(frame) => self.act(index, |one, now| {
                let link =
                    one.connections.iter().find(|(_, known)| **known == connection).map(|(link, _)| *link);
                if let Some(link) = link {
                    one.frame(link, frame, now);
                }
            }),
            Arrival::Lost => self.act(index, |one, now| {
                let link =
                    one.connections.iter().find(|(_, known)| **known == connection).map(|(link, _)| *link);
                if let Some(link) = link {
                    one.connections.remove(&link);
                    if one.links.lost(link, now) {
                        one.view_changed(now);
                    }
                }
            }),
        }
        let known = self.activators[index].connections.values().any(|known| *known == connection);
        if !known && self.connections[connection].open {
            self.break_off(connection);
        }
    }

    pub(super) fn break_off(&mut self, connection: usize) {
        let noticed = [self.now + self.between(0, 50), self.now + self.between(0, 50)];
        self.connections[connection].end(self.now, noticed);
        for side in 0..2 {
            let pending = self.connections[connection].to[side].len();
            for _ in 0..pending {
                let at = self.connections[connection].to[side].back().map_or(self.now, |(at, _)| *at);
                self.at(at.saturating_sub(self.now), Event::Arrives(connection, side));
            }
        }
    }

    /// Everybody who knows another one connects to it.
    fn dial(&mut self) {
        for one in 0..self.activators.len() {
            for other in 0..one {
                let (first, second) = (&self.activators[one], &self.activators[other]);
                let connected =
                    self.connections.iter().any(|known| known.ends == [one, other] && !known.is_over());
                if self.cut_off.iter().any(|(ends, until)| *ends == [one, other] && *until > self.now) {
                    continue;
                }
                if connected || !first.runs(self.now) || !second.runs(self.now) || self.chance(3) {
                    continue;
                }
                let (first, second) = (&self.activators[one], &self.activators[other]);
                if !first.links.knows(&second.id) || !second.links.knows(&first.id) {
                    continue;
                }
                let ids = [first.id.clone(), second.id.clone()];
                let mut connection = Connection::new([one, other]);
                let number = self.connections.len();
                for side in 0..2 {
                    let at = self.now + self.between(0, 5);
                    connection.push(side, at, Arrival::Connected { peer: ids[1 - side].clone() });
                    self.at(at.saturating_sub(self.now), Event::Arrives(number, side));
                }
                self.connections.push(connection);
            }
        }
        self.at(ms(20), Event::Dial);
    }
}
