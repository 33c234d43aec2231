//! Places for connections on a port that everybody can reach.
//!
//! Who comes always gets one. What must go for it is the oldest connection of the address that holds the most, so that one
//! peer with many connections is in nobody's way but its own.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// A number of places. Clones share them.
#[derive(Clone, Debug)]
pub struct Places {
    total: usize,
    per_address: usize,
    taken: Arc<Mutex<Taken>>,
}

/// Those in use, by the order in which they were taken.
#[derive(Debug, Default)]
struct Taken {
    next: u64,
    places: BTreeMap<u64, (IpAddr, CancellationToken)>,
}

/// One place, free again when dropped.
#[derive(Debug)]
pub struct Place {
    number: u64,
    lost: CancellationToken,
    taken: Arc<Mutex<Taken>>,
}

impl Places {
    /// At most `total` places, and at most `per_address` for one address; each at least one.
    pub fn new(total: usize, per_address: usize) -> Self {
        Self { total: total.max(1), per_address: per_address.max(1), taken: Arc::default() }
    }

    /// A place for a connection from `peer`, if need be in the stead of another one.
    pub fn take(&self, peer: IpAddr) -> Place {
        // An IPv4 peer of a socket for both families.
        let peer = peer.to_canonical();
        let mut taken = self.taken.lock();
        if let Some(number) = taken.in_the_way(peer, self.total, self.per_address)
            && let Some((_, lost)) = taken.places.remove(&number)
        {
            lost.cancel();
        }
        let (number, lost) = (taken.next, CancellationToken::new());
        taken.next += 1;
        taken.places.insert(number, (peer, lost.clone()));
        Place { number, lost, taken: Arc::clone(&self.taken) }
    }
}

impl Place {
    /// Returns when the place is needed for somebody else: the connection must be closed now.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.lock().places.remove(&self.number);
    }
}

impl Taken {
    /// The place that one more connection from `peer` costs.
    fn in_the_way(&self, peer: IpAddr, total: usize, per_address: usize) -> Option<u64> {
        // With the one that comes: what it makes too many is its own.
        let mut held = HashMap::from([(peer, 1)]);
        for (address, _) in self.places.values() {
            *held.entry(*address).or_default() += 1;
        }
        if held[&peer] > per_address {
            return self.oldest(|address| *address == peer);
        }
        let most = held.values().copied().max().filter(|_| self.places.len() >= total)?;
        self.oldest(|address| held[address] == most)
    }

    fn oldest(&self, of: impl Fn(&IpAddr) -> bool) -> Option<u64> {
        self.places.iter().find(|(_, (address, _))| of(address)).map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn lost(places: &[Place]) -> Vec<usize> {
        let lost = places.iter().enumerate().filter(|(_, place)| place.lost.is_cancelled());
        lost.map(|(index, _)| index).collect()
    }

    #[test]
    fn a_crowd_of_one_address_is_in_nobody_elses_way() {
        let places = Places::new(4, 4);
        let taken: Vec<Place> = [1, 2, 2, 2, 3, 4, 2].map(|last| places.take(address(last))).into();
        assert_eq!(lost(&taken), [1, 2, 3], "each of them the oldest of the address that held the most");
    }

    #[test]
    fn among_equals_the_oldest_goes() {
        let places = Places::new(3, 3);
        let taken: Vec<Place> = [1, 2, 3, 4].map(|last| places.take(address(last))).into();
        assert_eq!(lost(&taken), [0]);
    }

    #[test]
    fn one_address_has_its_share_in_whatever_form_it_is_written() {
        let places = Places::new(100, 2);
        let mapped: IpAddr = std::net::Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().into();
        let taken =
            [places.take(address(1)), places.take(address(2)), places.take(mapped), places.take(mapped)];
        assert_eq!(lost(&taken), [0]);
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let places = Places::new(2, 2);
        let first = places.take(address(1));
        drop(places.take(address(1)));
        let _third = places.take(address(1));
        assert_eq!(lost(&[first]), [] as [usize; 0]);
    }
}
