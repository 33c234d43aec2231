//! What goes wrong, and when: at random, and more often just when a round is under way.

use std::time::Duration;

use crate::event::{Event, Process};
use crate::options::{Faults, Rule};
use crate::world::World;

/// A pause counts as lag of the watches, which is bounded: not one right after the other.
const BETWEEN_PAUSES: Duration = Duration::from_secs(3);
/// How long a clock stands still: longer than measurements may lag.
const STUN: Duration = Duration::from_secs(3);

impl World {
    /// A fault, and the next one later.
    pub(crate) fn fault(&mut self) {
        if self.quiet {
            return;
        }
        let pause = self.random.milliseconds(300, 8_000);
        self.agenda.after(pause, Event::Fault);
        self.something_happens();
    }

    /// The protocol is at a step where a request or a fault is most dangerous: often one comes.
    pub(crate) fn tempt(&mut self) {
        if self.quiet {
            return;
        }
        if self.random.once_in(6) {
            let delay = self.random.milliseconds(0, 40);
            self.request_somewhere(delay);
        } else if self.random.once_in(12) {
            let delay = self.random.milliseconds(0, 2_500);
            self.request_somewhere(delay);
        }
        if self.options.faults != Faults::None && self.random.once_in(12) {
            self.something_happens();
        }
    }

    fn something_happens(&mut self) {
        let kinds = match self.options.faults {
            Faults::None | Faults::Network => 4,
            Faults::Processes => 10,
            Faults::Leaders => 11,
        };
        let activator = self.random.below(self.activators.len() as u64);
        let activator = usize::try_from(activator).unwrap();
        let alive = self.activators[activator].is_up();
        match self.random.below(kinds) {
            0 | 1 => {
                if let Some(link) = self.activators[activator].link {
                    self.break_link(link);
                }
            }
            2 => self.cluster.touch(),
            3 => self.evict_somebody(),
            4 | 5 if alive && self.now() > self.activators[activator].paused_until + BETWEEN_PAUSES => {
                let length = self.random.milliseconds(10, 2_000);
                self.note(|| format!("activator {activator} is paused for {length:?}"));
                self.activators[activator].paused_until = self.now() + length;
                if self.options.clocks && length.as_millis().is_multiple_of(3) {
                    let now = self.now();
                    self.activators[activator].clock.stand_still(now, STUN);
                }
            }
            6 if alive => {
                self.kill_activator(activator);
                let delay = self.random.milliseconds(200, 3_000);
                self.agenda.after(delay, Event::Restart { activator });
            }
            7 if alive && self.activators.iter().filter(|other| other.takes_requests()).count() > 1 => {
                self.note(|| format!("activator {activator} is told to end"));
                self.drain_activator(activator);
            }
            kind => self.leader_fault(kind),
        }
    }

    fn leader_fault(&mut self, kind: u64) {
        let Some(leader) = self.lease.holder.filter(|leader| self.leaders[*leader].leader.is_some()) else {
            return;
        };
        match kind {
            // What waits for a paused process keeps its order only if no second pause begins in between.
            8 if self.now() > self.leaders[leader].paused_until => {
                let length = self.random.milliseconds(50, 7_000);
                self.note(|| format!("leader {leader} is paused for {length:?}"));
                self.leaders[leader].paused_until = self.now() + length;
            }
            9 if self.random.once_in(2) => self.end_leader(leader),
            10 if self.without(Rule::Lease) => self.delete_lease(),
            10 => {}
            _ => self.leaders[leader].stopping = true,
        }
    }

    /// What loses a write may stop its sender as well: a leader is silent in COMMIT, and then goes on.
    pub(crate) fn sender_may_pause(&mut self, sender: Process) {
        if let Process::Leader(leader) = sender
            && self.options.faults.of_processes()
            && self.random.once_in(6)
        {
            let length = self.random.milliseconds(1_800, 3_900);
            self.note(|| format!("leader {leader} is paused for {length:?}"));
            self.leaders[leader].paused_until = self.now() + length;
        }
    }

    /// The answer to an activator's GET is most dangerous just when a silent leader speaks again: often it comes then.
    pub(crate) fn answer_when_dangerous(&mut self, reader: Process) -> Option<Duration> {
        let leader = self.lease.holder.filter(|_| matches!(reader, Process::Activator(_)))?;
        let silent = self.leaders[leader].paused_until.saturating_sub(self.now());
        let soon = !silent.is_zero() && silent < Duration::from_millis(300);
        (soon && self.random.once_in(2)).then(|| silent + self.random.milliseconds(0, 150))
    }

    fn evict_somebody(&mut self) {
        let candidates: Vec<usize> =
            (0..self.cluster.pods.len()).filter(|pod| !self.cluster.pods[*pod].is_terminating()).collect();
        if let Some(pod) = self.random.choose(&candidates) {
            self.note(|| format!("pod-{pod} is evicted"));
            self.evict(pod);
        }
    }
}
