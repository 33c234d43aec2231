//! What time alone makes happen.

use super::{Effects, Revision};
use crate::effect::Effect;
use std::time::Duration;

impl<W> Revision<W> {
    /// Does what is due. Returns the time of the next thing to do that is known, if any.
    pub fn tick(&mut self, now: Duration, out: &mut Effects<W>) -> Option<Duration> {
        self.expire(now, out);
        self.fail_hopeless(now, out);
        let sharing = self.slots.as_mut().and_then(|slots| slots.tick(now));
        self.release(now, out);
        let expiry = self.queue.oldest().map(|arrived| arrived + self.route.policy.activation);
        let spreading = self.spread_until.filter(|until| !self.queue.is_empty() && now < *until);
        let waking = self.wake(now, out);
        let probing = self.probe(now, out);
        let telling = self.tell(now, out);
        [expiry, spreading, sharing, waking, probing, telling].into_iter().flatten().min()
    }

    fn expire(&mut self, now: Duration, out: &mut Effects<W>) {
        while let Some((ticket, held)) = self.queue.pop_expired(now, self.route.policy.activation) {
            let trouble = self.timed_out();
            self.measure.ended(now);
            out.push(Effect::Fail { ticket, waiter: held.waiter, trouble });
        }
        self.settle(now);
    }

    /// Time will change nothing here until something else happens.
    pub fn at_rest(&self) -> bool {
        self.queue.is_empty()
            && self.gate.at_rest()
            && !self.wake.busy()
            && self.slots.as_ref().is_none_or(|slots| slots.at_rest())
            && self.measure.requests() == 0
            && self.capacity.pods().all(|(_, state)| !state.set_aside())
            // Without a leader nothing can be told, and the next hello tells everything.
            && (!self.link.connected || self.all_told())
    }

    fn all_told(&self) -> bool {
        self.measure.at_rest() && self.link.pods_told == self.capacity.reports(&self.gate)
    }

    /// When the leader is to be told of held requests, or the activator to act without it: known without looking at pods.
    pub fn urgent_at(&self) -> Option<Duration> {
        let tell = self.wake.tell_at(self.held()).filter(|_| self.link.connected);
        let waiting = self.wake.busy() || self.no_permit;
        let alone = self.alone_due().map(|due| due.at).filter(|_| !waiting);
        let sharing = self.slots.as_ref().and_then(|slots| slots.due());
        [tell, alone, sharing].into_iter().flatten().min()
    }
}
