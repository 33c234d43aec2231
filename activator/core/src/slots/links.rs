//! Contact with the other activators: who they are, whether they answer, and from when on one that does not is given up.
//!
//! A state machine without I/O, one for the process. Two times count. An activator that was not *heard* for
//! [`GIVEN_UP_AFTER`] is as good as gone. And this one owns nothing for longer than [`OWNED_FOR`] without an answer, because by
//! then the other may have given it up.

use super::Fence;
use crate::activator::PeerState;
use catnap_wire::message::PodUid;
use catnap_wire::peer::PeerFrame;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A silent activator is given up after this time.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(5);
/// One that never was in contact: it may be that it has not heard of this one yet, and owns slots.
const STRANGER_GIVEN_UP_AFTER: Duration = Duration::from_secs(30);
/// An owner stops this long after it asked for the last sign of life that was answered. The other heard it ask later than that,
/// so what lies between this and [`GIVEN_UP_AFTER`] is for clocks that do not run equally fast.
const OWNED_FOR: Duration = Duration::from_millis(4_500);
const OWNED_FOR_BESIDE_STRANGER: Duration = Duration::from_secs(20);
/// Each link is pinged this often.
const PING: Duration = Duration::from_secs(1);
/// The others may have given this activator up when it did not run for this long.
const MISSED_AFTER: Duration = Duration::from_secs(3);
/// When more time than this lies between two ticks, the process did not run: silence in that time was its own.
const LONGEST_BETWEEN_TICKS: Duration = Duration::from_millis(1_500);

/// One start of one activator.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId {
    /// UID of its pod.
    pub pod: PodUid,
    /// Random, new with every start of the process.
    pub boot: u64,
}

impl fmt::Display for PeerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({:016x})", self.pod, self.boot)
    }
}

/// One connection to another activator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub(crate) u64);

/// Another activator as the API server shows it. Those whose pods are gone are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The latest start of it.
    pub id: PeerId,
    /// Its pod is not on its way out.
    pub live: bool,
    /// Its container runs.
    pub runs: bool,
}

/// What all revisions are told of the other activators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// This activator drains.
    pub leaving: bool,
    /// All others that were not given up.
    pub peers: Vec<PeerView>,
}

/// What is needed to share slots with the others.
#[derive(Debug)]
pub(crate) struct Neighbours {
    /// UID of the own pod.
    pub(crate) own: PodUid,
    pub(crate) fence: Arc<Fence>,
    pub(crate) view: View,
}

/// One of the other activators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Which.
    pub id: PeerId,
    /// The connection to it, if there is one.
    pub link: Option<LinkId>,
    /// It is neither on its way out nor draining: it is to own its share.
    pub candidate: bool,
    /// It has not said good-bye: nobody owns anything against it.
    pub counts: bool,
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEffect {
    /// Send on this link.
    Send(LinkId, PeerFrame),
    /// End this link.
    Close(LinkId),
}

/// What is known of one of them.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Contact {
    /// It is the latest start of its activator.
    listed: bool,
    live: bool,
    runs: bool,
    leaving: bool,
    done: bool,
    link: Option<LinkId>,
    /// It is sure to have learnt of this activator, and counts on hearing of it.
    met: bool,
    /// When it last said something, or was first known; time in which this process did not run is left out.
    heard: Duration,
    /// When the ping was sent that it answered last.
    confirmed: Option<Duration>,
    first_known: Duration,
    pinged: Option<Duration>,
    given_up: bool,
}

impl Contact {
    fn new(now: Duration) -> Self {
        Self {
            listed: true,
            live: true,
            runs: true,
            leaving: false,
            done: false,
            link: None,
            met: false,
            heard: now,
            confirmed: None,
            first_known: now,
            pinged: None,
            given_up: false,
        }
    }

    fn given_up_at(&self) -> Duration {
        let stranger = !self.met && self.runs;
        self.heard + if stranger { STRANGER_GIVEN_UP_AFTER } else { GIVEN_UP_AFTER }
    }

    /// When this activator must stop owning for its sake, if it does not run until then.
    fn owned_until(&self, ticked_at: Duration) -> Duration {
        if self.done || !self.runs {
            return Duration::MAX;
        }
        if self.given_up {
            // It may be the other way round by the time that this process runs again.
            return ticked_at + OWNED_FOR;
        }
        self.confirmed.map_or(self.first_known + OWNED_FOR_BESIDE_STRANGER, |confirmed| confirmed + OWNED_FOR)
    }
}

/// All other activators.
#[derive(Debug, Default)]
pub struct Links {
    contacts: BTreeMap<PeerId, Contact>,
    fence: Arc<Fence>,
    leaving: bool,
    /// The API server has no pod of this process any more, so none of the others counts on it.
    own_gone: bool,
    last_link: u64,
    ticked_at: Duration,
    effects: Vec<LinkEffect>,
}

impl Links {
    /// What the slots of all revisions obey.
    pub fn fence(&self) -> &Arc<Fence> {
        &self.fence
    }

    /// What is to be done since the last call, in order.
    pub fn take_effects(&mut self) -> Vec<LinkEffect> {
        std::mem::take(&mut self.effects)
    }

    /// What revisions are to know.
    pub fn view(&self) -> View {
        let known = self.contacts.iter().filter(|(_, contact)| !contact.given_up);
        let peers = known.map(|(id, contact)| PeerView {
            id: id.clone(),
            link: contact.link,
            candidate: contact.live && contact.runs && !contact.leaving && !contact.done,
            counts: !contact.done,
        });
        View { leaving: self.leaving || self.own_gone, peers: peers.collect() }
    }

    /// The other activators that there are, and whether the pod of this one still is. An earlier start of one is over.
    pub fn set_members(&mut self, members: &[Member], own_gone: bool, now: Duration) {
        self.own_gone = own_gone;
        let pods: HashSet<&PodUid> = members.iter().map(|member| &member.id.pod).collect();
        let effects = &mut self.effects;
        self.contacts.retain(|id, contact| {
            // The process is gone, or will be, but what it had open may not be: until it would have been given up anyway.
            (contact.listed, contact.live, contact.runs) = (false, false, false);
            if pods.contains(&id.pod) {
                return true;
            }
            // A pod object that somebody deletes by force can be outlived by its process.
            effects.extend(contact.link.take().map(LinkEffect::Close));
            !contact.done && !contact.given_up
        });
        for member in members {
            let contact = self.contacts.entry(member.id.clone()).or_insert_with(|| Contact::new(now));
            (contact.listed, contact.live, contact.runs) = (true, member.live, member.runs);
        }
        self.refresh(now);
    }

    /// There is a connection to this one, in the stead of an earlier one. `None`: nobody knows it (any more).
    pub fn connected(&mut self, id: &PeerId, now: Duration) -> Option<LinkId> {
        let contact = self.contacts.get_mut(id).filter(|contact| contact.listed)?;
        self.effects.extend(contact.link.take().map(LinkEffect::Close));
        self.last_link += 1;
        let link = LinkId(self.last_link);
        contact.link = Some(link);
        contact.heard = now;
        if std::mem::take(&mut contact.given_up) {
            // While it was given up, each may have owned what the other did.
            self.fence.lapse();
        }
        if self.leaving {
            self.effects.push(LinkEffect::Send(link, PeerFrame::Leaving));
        }
        self.ping(id, now);
        self.refresh(now);
        Some(link)
    }

    /// The connection is gone. False when it was replaced before.
    pub fn lost(&mut self, link: LinkId, now: Duration) -> bool {
        let Some(id) = self.peer(link) else { return false };
        if let Some(contact) = self.contacts.get_mut(&id) {
            contact.link = None;
        }
        self.refresh(now);
        true
    }

    /// All of them, for people.
    pub(crate) fn states(&self) -> impl Iterator<Item = PeerState> + '_ {
        self.contacts.iter().map(|(id, contact)| PeerState {
            id: id.clone(),
            linked: contact.link.is_some(),
            given_up: contact.given_up,
        })
    }

    /// It is one of the other activators.
    pub fn knows(&self, id: &PeerId) -> bool {
        self.contacts.contains_key(id)
    }

    /// Whose connection it is.
    pub fn peer(&self, link: LinkId) -> Option<PeerId> {
        let mut contacts = self.contacts.iter();
        contacts.find(|(_, contact)| contact.link == Some(link)).map(|(id, _)| id.clone())
    }

    /// Something was said on a connection. True when revisions have to be told of the view.
    pub fn heard(&mut self, link: LinkId, frame: &PeerFrame, now: Duration) -> bool {
        let Some(id) = self.peer(link) else { return false };
        let Some(contact) = self.contacts.get_mut(&id) else { return false };
        contact.heard = now;
        match frame {
            PeerFrame::Ping { number, met } => {
                contact.met |= met;
                self.effects.push(LinkEffect::Send(link, PeerFrame::Pong { number: *number }));
                false
            }
            PeerFrame::Pong { number } => {
                // Its number is the time at which the ping was sent.
                let sent = Duration::from_nanos(*number);
                if sent > now {
                    return false;
                }
                if contact.confirmed.is_none() {
                    contact.confirmed = Some(sent);
                    // So that it soon knows that it is counted on.
                    self.ping(&id, now);
                } else {
                    contact.confirmed = contact.confirmed.max(Some(sent));
                }
                self.refresh(now)
            }
            PeerFrame::Leaving => !std::mem::replace(&mut contact.leaving, true),
            PeerFrame::Bye => {
                contact.done = true;
                // By this it learns that it was heard.
                self.effects.extend(contact.link.take().map(LinkEffect::Close));
                self.refresh(now);
                true
            }
            PeerFrame::Slots { .. } => false,
        }
    }

    /// This activator drains.
    pub fn leave(&mut self) {
        if !std::mem::replace(&mut self.leaving, true) {
            self.tell_all(&PeerFrame::Leaving);
        }
    }

    /// This activator ends; the last thing that it says. Whoever hears it hangs up.
    pub fn end(&mut self) {
        self.tell_all(&PeerFrame::Bye);
    }

    /// Does what is due. Returns when to call again, and whether revisions have to be told of the view.
    pub fn tick(&mut self, now: Duration) -> (Option<Duration>, bool) {
        let gap = now.saturating_sub(std::mem::replace(&mut self.ticked_at, now));
        let stopped = gap.saturating_sub(LONGEST_BETWEEN_TICKS);
        let mut changed = false;
        let mut due: Vec<PeerId> = Vec::new();
        for (id, contact) in &mut self.contacts {
            contact.heard = (contact.heard + stopped).min(now);
            if contact.runs && gap >= MISSED_AFTER {
                // In the meantime it may have taken over what was owned here. It gets its whole time to say so.
                contact.heard = now;
                changed |= std::mem::take(&mut contact.given_up);
            }
            if !contact.given_up && now >= contact.given_up_at() {
                contact.given_up = true;
                changed = true;
                self.effects.extend(contact.link.take().map(LinkEffect::Close));
            }
            if contact.link.is_some() && contact.pinged.is_none_or(|sent| now >= sent + PING) {
                due.push(id.clone());
            }
        }
        for id in due {
            self.ping(&id, now);
        }
        // An earlier start of an activator is forgotten once it does not matter any more.
        self.contacts.retain(|_, contact| contact.listed || !contact.given_up);
        changed |= self.refresh(now);
        let next = self.contacts.values().flat_map(|contact| {
            let look = Some(now + OWNED_FOR_BESIDE_STRANGER / 2);
            let ping = contact.link.and(contact.pinged).map(|sent| sent + PING);
            [look, ping, (!contact.given_up).then(|| contact.given_up_at())]
        });
        (next.flatten().min(), changed)
    }

    fn ping(&mut self, id: &PeerId, now: Duration) {
        let Some(contact) = self.contacts.get_mut(id) else { return };
        let Some(link) = contact.link else { return };
        contact.pinged = Some(now);
        let number = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let ping = PeerFrame::Ping { number, met: contact.confirmed.is_some() };
        self.effects.push(LinkEffect::Send(link, ping));
    }

    fn tell_all(&mut self, frame: &PeerFrame) {
        let links = self.contacts.values().filter_map(|contact| contact.link);
        self.effects.extend(links.map(|link| LinkEffect::Send(link, frame.clone())));
    }

    /// True when owning is allowed again from now on.
    fn refresh(&self, now: Duration) -> bool {
        let contacts = self.contacts.values().map(|contact| contact.owned_until(self.ticked_at));
        let until = contacts.min().map_or(Duration::MAX, |until| {
            // One that does not run now may have come, waited and taken over by the time that this process runs again.
            until.min(self.ticked_at.max(now) + OWNED_FOR_BESIDE_STRANGER)
        });
        self.fence.set(if self.own_gone { Duration::ZERO } else { until }, now)
    }
}
