//! Which flows each peer has, the newest first: found without a search through all flows.

use hashbrown::HashTable;

/// No flow.
const NONE: u32 = u32::MAX;

/// The flows of one peer.
#[derive(Clone, Copy, Debug)]
struct Chain {
    newest: u32,
    len: u32,
}

/// The neighbours of a flow among those of its peer.
#[derive(Clone, Copy, Debug)]
struct Link {
    newer: u32,
    older: u32,
}

/// The flows of every peer, by their slots. The caller knows the peer of a flow: chains are found by a hash of the peer and by
/// their newest flow.
#[derive(Debug, Default)]
pub(super) struct Chains {
    chains: HashTable<Chain>,
    links: Vec<Link>,
}

impl Chains {
    /// Adds the newest flow of a peer with this `hash`. `is_peers` returns whether a flow is the peer's, `hash_of` the hash of
    /// any flow's peer.
    pub(super) fn join(
        &mut self,
        slot: u32,
        hash: u64,
        is_peers: impl Fn(u32) -> bool,
        hash_of: impl Fn(u32) -> u64,
    ) {
        let index = slot as usize;
        if self.links.len() <= index {
            self.links.resize(index + 1, Link { newer: NONE, older: NONE });
        }
        self.links[index] = Link { newer: NONE, older: NONE };
        match self.chains.find_mut(hash, |chain| is_peers(chain.newest)) {
            Some(chain) => {
                self.links[index].older = chain.newest;
                self.links[chain.newest as usize].newer = slot;
                *chain = Chain { newest: slot, len: chain.len + 1 };
            }
            None => {
                let chain = Chain { newest: slot, len: 1 };
                self.chains.insert_unique(hash, chain, |chain| hash_of(chain.newest));
            }
        }
    }

    /// Takes a flow out. `is_peers` must still hold for it.
    pub(super) fn leave(&mut self, slot: u32, hash: u64, is_peers: impl Fn(u32) -> bool) {
        let Link { newer, older } = self.links[slot as usize];
        if let Some(link) = self.links.get_mut(newer as usize) {
            link.older = older;
        }
        if let Some(link) = self.links.get_mut(older as usize) {
            link.newer = newer;
        }
        let Ok(mut entry) = self.chains.find_entry(hash, |chain| is_peers(chain.newest)) else { return };
        if entry.get().len == 1 {
            entry.remove();
            return;
        }
        let chain = entry.get_mut();
        chain.len -= 1;
        if chain.newest == slot {
            chain.newest = older;
        }
    }

    /// The flows of a peer, the newest first.
    pub(super) fn of(&self, hash: u64, is_peers: impl Fn(u32) -> bool) -> impl Iterator<Item = u32> {
        let newest = self.chains.find(hash, |chain| is_peers(chain.newest)).map(|chain| chain.newest);
        let older = |slot: &u32| Some(self.links[*slot as usize].older).filter(|older| *older != NONE);
        core::iter::successors(newest, older)
    }

    /// How many flows a peer has.
    #[must_use]
    pub(super) fn len_of(&self, hash: u64, is_peers: impl Fn(u32) -> bool) -> usize {
        self.chains.find(hash, |chain| is_peers(chain.newest)).map_or(0, |chain| chain.len as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slots belong to the peer of their remainder by 3; two of the three peers have equal hashes.
    const fn peer(slot: u32) -> u32 {
        slot % 3
    }

    fn hash(slot: u32) -> u64 {
        u64::from(peer(slot).min(1))
    }

    fn of(chains: &Chains, who: u32) -> Vec<u32> {
        let slots: Vec<u32> = chains.of(u64::from(who.min(1)), |slot| peer(slot) == who).collect();
        assert_eq!(chains.len_of(u64::from(who.min(1)), |slot| peer(slot) == who), slots.len());
        slots
    }

    #[test]
    fn flows_are_found_by_their_peer_the_newest_first() {
        let mut chains = Chains::default();
        let join = |chains: &mut Chains, slot: u32| {
            chains.join(slot, hash(slot), |other| peer(other) == peer(slot), hash);
        };
        let leave = |chains: &mut Chains, slot: u32| {
            chains.leave(slot, hash(slot), |other| peer(other) == peer(slot));
        };
        (0..9).for_each(|slot| join(&mut chains, slot));
        assert_eq!(
            (of(&chains, 0), of(&chains, 1), of(&chains, 2)),
            (vec![6, 3, 0], vec![7, 4, 1], vec![8, 5, 2])
        );
        [6, 4, 2].into_iter().for_each(|slot| leave(&mut chains, slot));
        assert_eq!((of(&chains, 0), of(&chains, 1), of(&chains, 2)), (vec![3, 0], vec![7, 1], vec![8, 5]));
        join(&mut chains, 6);
        [3, 0, 7, 1].into_iter().for_each(|slot| leave(&mut chains, slot));
        assert_eq!((of(&chains, 0), of(&chains, 1), of(&chains, 2)), (vec![6], vec![], vec![8, 5]));
    }
}
