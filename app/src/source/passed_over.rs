//! What there is besides TCP, counted by what it is: where nothing can be read, that is not because nothing was there.

use std::collections::BTreeMap;

use probe_common::PassedOver;

/// As many kinds are told apart. Ordinary captures have some ten.
const KINDS: usize = 64;

/// Packets by what they were.
#[derive(Clone, Debug, Default)]
pub(super) struct PassedOverCounts {
    counts: BTreeMap<PassedOver, u64>,
    /// Packets of further kinds.
    others: u64,
}

impl PassedOverCounts {
    /// Counts so many packets more; those of `None` are of several further kinds.
    pub(super) fn add(&mut self, what: Option<PassedOver>, packets: u64) {
        let has_room = self.counts.len() < KINDS;
        match what.map(|what| (what, self.counts.get_mut(&what))) {
            Some((_, Some(count))) => *count += packets,
            Some((what, None)) if has_room => _ = self.counts.insert(what, packets),
            Some((_, None)) | None => self.others += packets,
        }
    }

    /// The kinds with their counts, the most frequent first; those that are not told apart last, as `None`.
    pub(super) fn list(&self) -> Vec<(Option<PassedOver>, u64)> {
        let mut counts: Vec<_> = self.counts.iter().map(|(&what, &count)| (Some(what), count)).collect();
        counts.sort_by_key(|&(what, count)| (std::cmp::Reverse(count), what));
        counts.extend((self.others > 0).then_some((None, self.others)));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_bounded_and_no_packet_is_left_out() {
        let mut counts = PassedOverCounts::default();
        for ethertype in 0..1_000 {
            for _ in 0..ethertype % 3 {
                counts.add(Some(PassedOver::EtherType(ethertype)), 1);
            }
        }
        let list = counts.list();
        assert_eq!(list.len(), KINDS + 1);
        assert_eq!(list[0], (Some(PassedOver::EtherType(2)), 2));
        assert_eq!(list.iter().map(|(_, count)| count).sum::<u64>(), 999);
    }
}
