//! Which of a Function's revisions gets a request: by its tag, or drawn by the shares of the traffic.

use crate::random::Random;
use crate::route::{FunctionRoute, Share, TagRoute};
use crate::shared::SharedRevision;
use crate::split::Split;
use catnap_wire::message::RevisionId;
use std::sync::Arc;

/// The revisions of one Function. Most have one, and need no more than that.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    /// The one that gets every request without a tag; `None` where that are several, or none.
    only: Option<Arc<SharedRevision>>,
    revisions: Box<[Arc<SharedRevision>]>,
    several: Option<Box<Several>>,
}

#[derive(Debug)]
struct Several {
    split: Split<Arc<SharedRevision>>,
    tags: Vec<(Arc<str>, Arc<SharedRevision>)>,
    random: Random,
}

impl Routing {
    /// Takes over what the route says. `revisions` are the route's, in the same order; `seed` spreads the choices. Returns the
    /// revisions that were there before and are not among them.
    pub(crate) fn update(
        &mut self,
        route: &FunctionRoute,
        revisions: Vec<Arc<SharedRevision>>,
        seed: u64,
    ) -> Vec<Arc<SharedRevision>> {
        let before = std::mem::replace(&mut self.revisions, revisions.into());
        let known = |name: &Arc<str>| self.revisions.iter().find(|known| known.id().name == *name).cloned();
        let shares = route.traffic.iter();
        let split = Split::new(shares.filter_map(|share| Some((share.percent, known(&share.revision)?))));
        let tags = route.tags.iter();
        let tags: Vec<_> =
            tags.filter_map(|tag| Some((Arc::clone(&tag.tag), known(&tag.revision)?))).collect();
        self.only = split.only().cloned();
        let is_simple = tags.is_empty() && (self.only.is_some() || split.is_empty());
        let random = self.several.take().map_or_else(|| Random::new(seed), |several| several.random);
        self.several = (!is_simple).then(|| Box::new(Several { split, tags, random }));
        let is_gone = |old: &Arc<SharedRevision>| !self.revisions.iter().any(|new| Arc::ptr_eq(old, new));
        before.into_iter().filter(is_gone).collect()
    }

    /// Forgets all revisions, and returns them.
    pub(crate) fn clear(&mut self) -> Box<[Arc<SharedRevision>]> {
        std::mem::take(self).revisions
    }

    /// Where a request goes. `of`: it was at this revision before, and stays there if it may.
    pub(crate) fn choose(
        &mut self,
        tag: Option<&Arc<str>>,
        of: Option<&RevisionId>,
    ) -> Option<Arc<SharedRevision>> {
        // Nearly every request.
        if let (None, None, Some(only)) = (tag, of, &self.only) {
            return Some(Arc::clone(only));
        }
        let before = of.and_then(|of| self.revisions.iter().find(|known| known.id() == of));
        if let Some(before) = before.filter(|before| self.keeps(tag, before)) {
            return Some(Arc::clone(before));
        }
        let chosen = match (tag, &self.only) {
            (Some(tag), _) => self.tagged(tag),
            (None, Some(only)) => Some(only),
            (None, None) => {
                let several = self.several.as_deref_mut()?;
                several.split.choose(&mut several.random)
            }
        };
        chosen.cloned()
    }

    /// Whether a request that is at this revision may stay there. With a tag that is gone it may, for as long as the revision
    /// takes requests at all.
    pub(crate) fn keeps(&self, tag: Option<&Arc<str>>, revision: &Arc<SharedRevision>) -> bool {
        match tag.map(|tag| self.tagged(tag)) {
            None => self.sharing().any(|(_, known)| Arc::ptr_eq(known, revision)),
            Some(Some(tagged)) => Arc::ptr_eq(tagged, revision),
            Some(None) => self.routes(revision),
        }
    }

    /// Whether it takes requests.
    pub(crate) fn routes(&self, revision: &Arc<SharedRevision>) -> bool {
        let sharing = self.sharing().map(|(_, known)| known);
        sharing.chain(self.tagging().map(|(_, known)| known)).any(|known| Arc::ptr_eq(known, revision))
    }

    fn tagged(&self, tag: &str) -> Option<&Arc<SharedRevision>> {
        self.tagging().find(|(known, _)| ***known == *tag).map(|(_, revision)| revision)
    }

    fn tagging(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<SharedRevision>)> {
        let tags = self.several.iter().flat_map(|several| &several.tags);
        tags.map(|(tag, revision)| (tag, revision))
    }

    fn sharing(&self) -> impl Iterator<Item = (u32, &Arc<SharedRevision>)> {
        let several = self.several.iter().filter(|_| self.only.is_none());
        let shares = several.flat_map(|several| several.split.iter());
        self.only.iter().map(|only| (100, only)).chain(shares)
    }

    /// Those of the Function's status.
    pub(crate) fn revisions(&self) -> &[Arc<SharedRevision>] {
        &self.revisions
    }

    pub(crate) fn shares(&self) -> impl Iterator<Item = Share> {
        self.sharing().map(|(percent, revision)| Share { revision: Arc::clone(&revision.id().name), percent })
    }

    pub(crate) fn tags(&self) -> impl Iterator<Item = TagRoute> {
        self.tagging().map(|(tag, revision)| TagRoute {
            tag: Arc::clone(tag),
            revision: Arc::clone(&revision.id().name),
        })
    }
}
