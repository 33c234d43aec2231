//! Connections between the simulated activators: frames arrive late, in order, or not at all when the connection ends.

use crate::slots::PeerId;
use catnap_wire::peer::PeerFrame;
use std::collections::VecDeque;
use std::time::Duration;

/// What one end of a connection learns, in this order.
#[derive(Debug)]
pub(super) enum Arrival {
    Connected { peer: PeerId },
    Frame(PeerFrame),
    Lost,
}

/// One connection: numbers of the two activators, and what is on its way to each.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) ends: [usize; 2],
    pub(super) open: bool,
    /// To each end: what arrives when.
    pub(super) to: [VecDeque<(Duration, Arrival)>; 2],
}

impl Connection {
    pub(super) fn new(ends: [usize; 2]) -> Self {
        Self { ends, open: true, to: [VecDeque::new(), VecDeque::new()] }
    }

    /// Which end the activator is.
    pub(super) fn side(&self, activator: usize) -> usize {
        usize::from(self.ends[1] == activator)
    }

    /// Puts something on its way to one end, after what is already.
    pub(super) fn push(&mut self, side: usize, at: Duration, arrival: Arrival) {
        let last = self.to[side].back().map_or(Duration::ZERO, |(at, _)| *at);
        self.to[side].push_back((at.max(last), arrival));
    }

    /// The connection ends: of what is on its way, only what has arrived by `now` counts, and at one end not even that.
    pub(super) fn end(&mut self, now: Duration, noticed: [Duration; 2]) {
        if std::mem::replace(&mut self.open, false) {
            for (side, noticed) in noticed.into_iter().enumerate() {
                // What came before has been taken out, or lies with an activator that is stopped.
                self.to[side]
                    .retain(|(at, arrival)| *at <= now || matches!(arrival, Arrival::Connected { .. }));
                self.push(side, noticed, Arrival::Lost);
            }
        }
    }

    pub(super) fn is_over(&self) -> bool {
        !self.open && self.to.iter().all(VecDeque::is_empty)
    }
}
