//! What must hold at every moment.

use super::world::{BESIDE_FREE, Violation, World};
use catnap_wire::message::PodUid;
use std::collections::BTreeSet;

impl World {
    fn count(&self, pod: &PodUid, given_up: bool) -> u32 {
        let open = self.open.values().filter(|(of, up)| of == pod && (given_up || !up));
        u32::try_from(open.count()).unwrap()
    }

    pub(super) fn check_limit(&self) -> Result<(), Violation> {
        let pods: BTreeSet<&PodUid> = self.open.values().map(|(pod, _)| pod).collect();
        for pod in pods {
            let open = self.count(pod, false);
            if open > self.limit {
                return Err(Violation::OverLimit { at: self.now, pod: pod.clone(), open, limit: self.limit });
            }
        }
        Ok(())
    }

    /// All that run know exactly each other, and talk to each other.
    fn agree(&self) -> bool {
        let alive: Vec<usize> =
            (0..self.activators.len()).filter(|index| self.activators[*index].serves()).collect();
        alive.iter().all(|index| {
            let one = &self.activators[*index];
            let view = one.links.view();
            one.runs(self.now)
                && self.shown[*index].iter().all(|(_, at)| *at <= self.now)
                && one.links.fence().open(self.now).is_some()
                && view.peers.len() + 1 == alive.len()
                && view.peers.iter().all(|peer| {
                    let other = alive.iter().find(|other| self.activators[**other].id == peer.id);
                    peer.link.is_some()
                        && other.is_some_and(|other| {
                            let back = self.activators[*other].links.view();
                            back.peers.iter().any(|peer| peer.id == one.id && peer.link.is_some())
                        })
                })
        })
    }

    pub(super) fn check_waiting(&mut self) -> Result<(), Violation> {
        if !self.agree() {
            self.agreed_since = None;
            self.free_since.clear();
            return Ok(());
        }
        self.sides &= self.cut_off.iter().any(|(_, until)| *until > self.now);
        let agreed = *self.agreed_since.get_or_insert(self.now);
        for pod in self.pods.last().expect("at least one").clone() {
            let alive = self.activators.iter().filter(|one| one.serves());
            let wanted = alive.into_iter().any(|one| !one.waiting.is_empty() && one.usable.contains(&pod));
            if !wanted || self.count(&pod, true) >= self.limit {
                self.free_since.remove(&pod);
                continue;
            }
            let since = (*self.free_since.entry(pod.clone()).or_insert(self.now)).max(agreed);
            if self.now > since + BESIDE_FREE {
                return Err(Violation::BesideFree { at: self.now, since, pod, who: self.who() });
            }
        }
        Ok(())
    }

    pub(super) fn who(&self) -> String {
        let alive = self.activators.iter().enumerate().filter(|(_, one)| one.alive);
        let lines = alive.map(|(index, one)| {
            format!(
                "\n{index} {:?} waits {} has {:?}\n  {:?}",
                one.id,
                one.waiting.len(),
                one.open,
                one.slots
            )
        });
        lines.collect()
    }
}
