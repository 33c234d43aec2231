//! What the leader was told of a revision without free capacity, and when there is no more to say.
//!
//! It is told every 100 ms until more would change nothing: the leader has answered that there can be no more pods, or pods
//! are on their way for all that it was told of. Then one last statement stands, until half as many requests are left while
//! the pods are on their way: the leader counts on what it was told, and would keep the peak. The end is told always, or two short waits
//! would look like one that lasts.

/// What was told on this stream.
#[derive(Debug, Default)]
pub(crate) struct Pressing {
    told: Option<Told>,
    /// The leader said so, and neither pods nor settings have changed since.
    at_max: bool,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    /// Requests held and in flight.
    requests: u64,
    standing: bool,
}

impl Pressing {
    /// So many requests are in the revision, and some are held. `Some`: to be told, and whether it stands.
    pub(crate) fn tell(&mut self, requests: u64, pods_pending: bool) -> Option<bool> {
        let told = self.told;
        let standing = self.at_max || pods_pending && told.is_some_and(|told| requests <= told.requests);
        let fell = !self.at_max && told.is_some_and(|told| requests <= told.requests / 2);
        if standing && !fell && told.is_some_and(|told| told.standing) {
            return None;
        }
        self.told = Some(Told { requests, standing });
        Some(standing)
    }

    /// There is free capacity again, or nothing is held. True: the leader is to be told.
    pub(crate) fn over(&mut self) -> bool {
        self.told.take().is_some()
    }

    /// There are as many replicas as there may be.
    pub(crate) fn at_max(&mut self) {
        self.at_max = true;
    }

    /// Pods or settings changed: there may be more by now.
    pub(crate) fn changed(&mut self) {
        self.at_max = false;
    }

    /// A new stream, or none: nothing was told on it yet.
    pub(crate) fn link_changed(&mut self) {
        *self = Self::default();
    }
}
