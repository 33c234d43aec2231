//! Streams between activators and leaders: ordered, slow at times, and broken rather than lossy.
//!
//! A stream is one call over one connection, so no frame comes twice or out of order; what is doubled is said again on a new one.

use std::time::Duration;

use catnap_wire::{ActivatorFrame, LeaderFrame};

use crate::event::{Event, Message, Process};
use crate::options::Faults;
use crate::world::World;

/// A dead connection is noticed by pings within this time, in milliseconds.
const NOTICED: u64 = 2_000;

#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) activator: usize,
    pub(crate) leader: usize,
    network: Network,
    /// The ends that have not noticed an end.
    activator_open: bool,
    leader_open: bool,
    last_up: Duration,
    last_down: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    Works,
    /// Nothing arrives any more.
    Broken,
    /// Nothing arrives any more but what was on its way to the leader.
    BrokenDownwards,
}

impl World {
    pub(crate) fn open_link(&mut self, activator: usize, leader: usize) -> usize {
        let link = self.links.len();
        self.links.push(Link {
            activator,
            leader,
            network: Network::Works,
            activator_open: true,
            leader_open: true,
            last_up: self.now(),
            last_down: self.now(),
        });
        self.up(link, Message::Opened { link });
        link
    }

    pub(crate) fn send_up(&mut self, link: usize, frame: ActivatorFrame) {
        self.up(link, Message::Up { link, frame });
    }

    fn up(&mut self, link: usize, message: Message) {
        if self.links[link].network != Network::Works || !self.links[link].activator_open {
            return;
        }
        let at = (self.now() + self.latency()).max(self.links[link].last_up);
        self.links[link].last_up = at;
        let leader = self.links[link].leader;
        self.agenda.at(at, Event::To(Process::Leader(leader), message));
    }

    pub(crate) fn send_down(&mut self, link: usize, frame: LeaderFrame) {
        if self.links[link].network != Network::Works || !self.links[link].leader_open {
            return;
        }
        let at = (self.now() + self.latency()).max(self.links[link].last_down);
        self.links[link].last_down = at;
        let activator = self.links[link].activator;
        self.agenda.at(at, Event::To(Process::Activator(activator), Message::Down { link, frame }));
    }

    /// A frame arrives at the leader's end.
    pub(crate) fn arrives_up(&self, link: usize) -> bool {
        let link = &self.links[link];
        link.leader_open && link.network != Network::Broken
    }

    /// A frame arrives at the activator's end.
    pub(crate) fn arrives_down(&self, link: usize) -> bool {
        let link = &self.links[link];
        link.activator_open && link.network == Network::Works
    }

    /// The network between two processes breaks; each notices by itself.
    pub(crate) fn break_link(&mut self, link: usize) {
        if self.links[link].network != Network::Works {
            return;
        }
        let broken = [Network::Broken, Network::BrokenDownwards];
        self.links[link].network = self.random.choose(&broken).unwrap();
        self.note(|| format!("link {link} breaks"));
        let (activator, leader) = (self.links[link].activator, self.links[link].leader);
        let at = self.now() + self.random.milliseconds(0, NOTICED);
        self.agenda.at(at, Event::To(Process::Activator(activator), Message::Lost { link }));
        let at = (self.now() + self.random.milliseconds(0, NOTICED)).max(self.links[link].last_up);
        self.agenda.at(at, Event::To(Process::Leader(leader), Message::Lost { link }));
    }

    /// The activator's end is closed: it died, or it follows another leader. What it has sent arrives.
    pub(crate) fn close_from_activator(&mut self, link: usize) {
        self.links[link].activator_open = false;
        let noticed = self.fin();
        let at = (self.now() + noticed).max(self.links[link].last_up);
        let leader = self.links[link].leader;
        self.agenda.at(at, Event::To(Process::Leader(leader), Message::Lost { link }));
    }

    /// The leader's end is closed: it died, stopped, or refuses the activator.
    pub(crate) fn close_from_leader(&mut self, link: usize) {
        self.links[link].leader_open = false;
        let noticed = self.fin();
        let at = (self.now() + noticed).max(self.links[link].last_down);
        let activator = self.links[link].activator;
        self.agenda.at(at, Event::To(Process::Activator(activator), Message::Lost { link }));
    }

    /// An end is noticed; true the first time.
    pub(crate) fn notice_at_leader(&mut self, link: usize) -> bool {
        std::mem::take(&mut self.links[link].leader_open)
    }

    /// An end is noticed; true the first time.
    pub(crate) fn notice_at_activator(&mut self, link: usize) -> bool {
        std::mem::take(&mut self.links[link].activator_open)
    }

    /// How long until the other side sees that a connection was closed; a packet may be lost.
    fn fin(&mut self) -> Duration {
        if self.random.once_in(4) {
            self.random.milliseconds(0, NOTICED)
        } else {
            self.random.milliseconds(0, 5)
        }
    }

    fn latency(&mut self) -> Duration {
        if self.options.faults != Faults::None && !self.quiet && self.random.once_in(60) {
            return self.random.milliseconds(1, 1_500);
        }
        if self.random.once_in(20) {
            self.random.milliseconds(1, 200)
        } else {
            self.random.milliseconds(0, 3)
        }
    }
}
