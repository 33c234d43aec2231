//! What goes wrong, and what the API server shows of it: activators and pods come and go, links break, processes stop.

use super::activator::Activator;
use super::ms;
use super::network::Arrival;
use super::world::{BUSY_UNTIL, Event, World};
use crate::slots::{Member, PeerId};
use catnap_wire::message::PodUid;
use std::time::Duration;

impl World {
    pub(super) fn fault(&mut self) {
        let index = self.random.below(self.activators.len());
        let runs = self.activators[index].runs(self.now);
        let many = self.activators.iter().filter(|one| one.alive).count();
        match self.random.below(7) {
            0 if self.faults.joins && many < 5 => self.join(),
            1 if self.faults.joins && runs && many > 1 && !self.activators[index].leaving => {
                self.leave(index);
            }
            2 if self.faults.links && !self.connections.is_empty() => {
                let connection = self.random.below(self.connections.len());
                if self.connections[connection].open {
                    self.tell(&format!("link {:?} breaks", self.connections[connection].ends));
                    self.break_off(connection);
                }
            }
            3 if self.faults.kills && runs => self.kill(index),
            4 if self.faults.pauses && runs => {
                let long = self.chance(3);
                let lasts = if long { self.between(4_000, 9_000) } else { self.between(10, 2_800) };
                self.tell(&format!("{index} is stopped for {lasts:?}"));
                self.activators[index].stopped_until = self.now + lasts;
                if long {
                    let its = self.open.iter_mut().filter(|((of, _), _)| *of == index);
                    its.for_each(|(_, (_, given_up))| *given_up = true);
                }
            }
            5 if self.faults.partitions && index > 0 => self.cut_off(index),
            6 if self.faults.expulsions && runs && many > 1 => self.expel(index),
            _ => {}
        }
        if self.now < BUSY_UNTIL {
            let after = if self.chance(2) { self.between(0, 300) } else { self.between(300, 3_000) };
            self.at(after, Event::Fault);
        }
    }

    /// Somebody deletes its pod by force, and its process goes on.
    fn expel(&mut self, index: usize) {
        if std::mem::replace(&mut self.activators[index].expelled, true) {
            return;
        }
        self.tell(&format!("{index} is expelled"));
        let pod = PodUid::clone(&self.activators[index].id.pod);
        self.change_members(|members| members.retain(|member| member.id.pod != pod));
        // Documented, as for one that is killed.
        let its = self.open.iter_mut().filter(|((of, _), _)| *of == index);
        its.for_each(|(_, (_, given_up))| *given_up = true);
    }

    fn cut_off(&mut self, one: usize) {
        let other = self.random.below(one);
        let lasts = self.between(3_000, 9_000);
        self.tell(&format!("{one} and {other} do not reach each other for {lasts:?}"));
        self.cut_off.push(([one, other], self.now + lasts));
        self.sides = true;
        for connection in 0..self.connections.len() {
            if self.connections[connection].ends == [one, other] && self.connections[connection].open {
                self.break_off(connection);
            }
        }
    }

    pub(super) fn join(&mut self) {
        let index = self.activators.len();
        let id = PeerId { pod: format!("activator-{index}").into(), boot: 1 };
        self.tell(&format!("{index} joins"));
        self.start(id);
    }

    fn start(&mut self, id: PeerId) {
        let index = self.activators.len();
        self.activators.push(Activator::new(id.clone(), self.limit, &[], self.now));
        self.shown.push([(0, self.now); 2]);
        // First it can be seen, then it looks: of any two, one knows the other.
        self.change_members(|members| {
            members.retain(|member| member.id.pod != id.pod);
            members.push(Member { id, live: true, runs: true });
        });
        let (members, pods) =
            (self.members.last().expect("one").clone(), self.pods.last().expect("one").clone());
        self.act(index, |one, now| {
            one.set_members(&members, now);
            one.set_pods(pods, now);
        });
        self.at(Duration::ZERO, Event::Tick(index));
    }

    pub(super) fn leave(&mut self, index: usize) {
        self.tell(&format!("{index} leaves"));
        self.activators[index].leaving = true;
        let pod = PodUid::clone(&self.activators[index].id.pod);
        self.change_members(|members| {
            members.iter_mut().filter(|member| member.id.pod == pod).for_each(|member| member.live = false);
        });
        self.act(index, |one, now| {
            one.links.leave();
            one.view_changed(now);
        });
    }

    pub(super) fn leave_when_done(&mut self) {
        for index in 0..self.activators.len() {
            let one = &self.activators[index];
            if !one.runs(self.now) || !one.leaving || !one.waiting.is_empty() || !one.open.is_empty() {
                continue;
            }
            self.tell(&format!("{index} is gone"));
            self.act(index, |one, _| one.links.end());
            self.activators[index].alive = false;
            for connection in 0..self.connections.len() {
                let known = &mut self.connections[connection];
                if known.ends.contains(&index) && known.open {
                    // What was said before still arrives.
                    known.open = false;
                    let side = known.side(index);
                    known.to[side].clear();
                    known.push(1 - side, Duration::ZERO, Arrival::Lost);
                    let at = known.to[1 - side].back().map_or(self.now, |(at, _)| *at);
                    self.at(at.saturating_sub(self.now), Event::Arrives(connection, 1 - side));
                }
            }
            let after = self.between(0, 500);
            self.at(after, Event::Gone(index));
        }
    }

    fn kill(&mut self, index: usize) {
        self.tell(&format!("{index} is killed"));
        self.activators[index].alive = false;
        // Documented: what it had open is counted for a while, and then no more.
        self.open.retain(|(of, _), _| *of != index);
        for connection in 0..self.connections.len() {
            if self.connections[connection].ends.contains(&index) && self.connections[connection].open {
                self.break_off(connection);
            }
        }
        if self.chance(2) && !self.activators[index].expelled {
            let seen = self.between(100, 1_000);
            self.at(seen, Event::Dead(index));
            let restarts = self.between(500, 2_500);
            self.at(restarts, Event::Restart(index));
        } else {
            let gone = self.between(100, 8_000);
            self.at(gone, Event::Gone(index));
        }
    }

    pub(super) fn restart(&mut self, index: usize) {
        let PeerId { pod, boot } = self.activators[index].id.clone();
        self.tell(&format!("{index} starts again as {}", self.activators.len()));
        self.start(PeerId { pod, boot: boot + 1 });
    }

    pub(super) fn change_members(&mut self, change: impl FnOnce(&mut Vec<Member>)) {
        let mut members = self.members.last().expect("at least one").clone();
        change(&mut members);
        self.members.push(members);
        let version = self.members.len() - 1;
        self.show(0, version);
    }

    pub(super) fn change_pods(&mut self) {
        let mut pods = self.pods.last().expect("at least one").clone();
        if pods.len() < 3 && !self.chance(3) {
            pods.insert(format!("pod-{}", self.pods.len()).into());
        } else if let Some(gone) = pods.iter().nth(self.random.below(4)).cloned()
            && self.now < BUSY_UNTIL
        {
            pods.remove(&gone);
            let ended: Vec<_> =
                self.open.iter().filter(|(_, (pod, _))| *pod == gone).map(|(key, _)| *key).collect();
            for (index, number) in ended {
                self.at(ms(1), Event::End(index, number));
            }
        }
        if pods.is_empty() && self.now >= BUSY_UNTIL {
            pods.insert("pod-last".into());
        }
        self.pods.push(pods);
        let version = self.pods.len() - 1;
        self.show(1, version);
        if self.now < BUSY_UNTIL {
            let after = self.between(50, 3_000);
            self.at(after.min((BUSY_UNTIL + ms(1)).saturating_sub(self.now)), Event::PodsChange);
        }
    }

    /// Each watch shows it after a while, in order.
    fn show(&mut self, watch: usize, version: usize) {
        for index in 0..self.activators.len() {
            let at = (self.now + self.between(0, 60)).max(self.shown[index][watch].1);
            self.shown[index][watch] = (version, at);
            let event = if watch == 0 { Event::Members(index, version) } else { Event::Pods(index, version) };
            self.at(at.saturating_sub(self.now), event);
        }
    }
}
