//! Leaders that come close: renewals are late or lost, and a process is paused after it looked at its lease and before it
//! writes. Beyond the bounds of the protocol somebody deletes the lease, and two act at the same time.

use std::time::Duration;

use crate::event::{Event, Message, Process, Question};
use crate::options::Faults;
use crate::world::World;

const RENEW: Duration = Duration::from_secs(2);
/// A renewal that failed is tried again so soon.
const RETRY: Duration = Duration::from_millis(500);
/// No answer to a renewal is waited for longer, in milliseconds.
const TIMEOUT: u64 = 1_000;

impl World {
    fn leaders_overlap(&self) -> bool {
        self.options.faults == Faults::Leaders && !self.quiet
    }

    /// A leader renews: its time counts from now, if it hears that the renewal was accepted.
    pub(crate) fn send_renewal(&mut self, leader: usize) {
        let sent = self.now();
        let lost = self.api_fault();
        if !lost {
            let delay = self.api_delay(TIMEOUT);
            self.agenda.after(delay, Event::Renewal { leader, sent });
        }
        let next = if lost { RETRY } else { RENEW };
        self.agenda.after(next, Event::To(Process::Leader(leader), Message::Renew));
    }

    /// A renewal reaches the API server, which accepts it if nobody else has written the lease.
    pub(crate) fn renewal_arrives(&mut self, leader: usize, sent: Duration) {
        let holds = self.lease.holder == Some(leader);
        if holds {
            self.lease.renewed = self.now();
        }
        if !self.api_fault() {
            let delay = self.api_delay(TIMEOUT);
            let answer = Message::Renewed(holds.then_some(sent));
            self.agenda.after(delay, Event::To(Process::Leader(leader), answer));
        }
    }

    /// A leader hears of its renewal; without one, that the lease is another's.
    pub(crate) fn renewed(&mut self, leader: usize, sent: Option<Duration>) {
        match sent {
            Some(sent) => self.leaders[leader].renewed = self.leaders[leader].renewed.max(sent),
            None => self.end_leader(leader),
        }
    }

    /// Another leader is elected while this one acts on.
    pub(crate) fn delete_lease(&mut self) {
        self.note(|| "somebody deletes the lease".into());
        self.lease.holder = None;
        self.tell_lease();
    }

    /// The process stands still after it looked at its lease: what it raises goes out long after, whoever leads then. True if so.
    /// Not asked about a lower count, whose write has a time after which it is not sent.
    pub(crate) fn sends_late(
        &mut self,
        leader: usize,
        question: Question,
        replicas: u32,
        version: &std::sync::Arc<str>,
    ) -> bool {
        if !self.leaders_overlap() || !self.random.once_in(6) {
            return false;
        }
        let length = self.random.milliseconds(1_000, 9_000);
        self.note(|| {
            format!("leader {leader} is paused for {length:?} before its PUT {replicas} on {version}")
        });
        self.leaders[leader].paused_until = self.now() + length;
        let (from, version) = (Process::Leader(leader), std::sync::Arc::clone(version));
        self.agenda.after(length, Event::Put { from, question, replicas, version, answered: true });
        true
    }
}
