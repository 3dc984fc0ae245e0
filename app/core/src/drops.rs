//! Segments that the host itself drops, as the kernel counts them: by its reason and by port.

use std::collections::BTreeMap;
use std::sync::Arc;

/// So many segments were dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The kernel's name of the reason, such as `NETFILTER_DROP`.
    pub reason: Arc<str>,
    /// The port of the service; `None` for all ports that are too many to be counted one by one.
    pub port: Option<u16>,
    /// Whether they are SYNs; not known without a port.
    pub is_syn: bool,
    /// How many.
    pub count: u64,
}

/// The kernel had no socket for a segment: of a SYN, nothing listens.
const NO_SOCKET: &str = "NO_SOCKET";

impl Dropped {
    /// Whether there was no socket for them: of SYNs, nothing listens.
    #[must_use]
    pub fn is_without_socket(&self) -> bool {
        &*self.reason == NO_SOCKET
    }
}

/// What was dropped since the start. Ordered, so that those of one port stand together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drops(BTreeMap<Key, Count>);

type Key = (Option<u16>, bool, Arc<str>);

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    count: u64,
    grown_ns: u64,
}

/// What is known of the SYNs to one port that were dropped since a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PortDrops {
    /// Some were, of whichever peer, for a reason other than that nothing listens.
    pub(crate) is_dropped: bool,
    /// Some were because nothing listens.
    pub(crate) has_no_socket: bool,
}

impl Drops {
    /// The counts as they are at `now_ns`, all of them since the start.
    pub(crate) fn update(&mut self, drops: &[Dropped], now_ns: u64) {
        for dropped in drops {
            let known =
                self.0.entry((dropped.port, dropped.is_syn, Arc::clone(&dropped.reason))).or_default();
            if dropped.count > known.count {
                *known = Count { count: dropped.count, grown_ns: now_ns };
            }
        }
    }

    /// What was dropped since those were counted, the most frequent first.
    pub(crate) fn since(&self, before: &Self) -> Vec<Dropped> {
        let counts = self.0.iter().map(|(key @ (port, is_syn, reason), count)| Dropped {
            reason: Arc::clone(reason),
            port: *port,
            is_syn: *is_syn,
            count: count.count.saturating_sub(before.0.get(key).map_or(0, |before| before.count)),
        });
        let mut counts: Vec<Dropped> = counts.filter(|dropped| dropped.count > 0).collect();
        counts.sort_by_key(|dropped| core::cmp::Reverse(dropped.count));
        counts
    }

    /// What was dropped since those were counted, without what has not grown since a moment.
    pub(crate) fn growing(&self, before: &Self, since_ns: u64) -> Vec<Dropped> {
        let growing = self.0.iter().filter(|(_, count)| count.grown_ns >= since_ns);
        Self(growing.map(|(key, count)| (key.clone(), *count)).collect()).since(before)
    }

    /// What is known of SYNs to a port since a moment.
    pub(crate) fn syns_to(&self, port: u16, since_ns: u64) -> PortDrops {
        let mut drops = PortDrops::default();
        let begin: Key = (Some(port), true, Arc::from(""));
        let of_port =
            self.0.range(begin..).take_while(|((known, is_syn, _), _)| *known == Some(port) && *is_syn);
        for ((.., reason), _) in of_port.filter(|(_, count)| count.grown_ns >= since_ns) {
            if &**reason == NO_SOCKET {
                drops.has_no_socket = true;
            } else {
                drops.is_dropped = true;
            }
        }
        drops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(reason: &str, port: u16, is_syn: bool, count: u64) -> Dropped {
        Dropped { reason: reason.into(), port: Some(port), is_syn, count }
    }

    #[test]
    fn counts_are_those_since_a_moment_the_most_frequent_first() {
        let mut drops = Drops::default();
        drops.update(&[dropped("A", 80, true, 5), dropped("B", 443, false, 9)], 10);
        let before = drops.clone();
        assert_eq!(drops.since(&Drops::default()), [dropped("B", 443, false, 9), dropped("A", 80, true, 5)]);
        let others = Dropped { port: None, ..dropped("B", 0, false, 2) };
        drops.update(&[dropped("A", 80, true, 8), dropped("B", 443, false, 9), others.clone()], 20);
        assert_eq!(drops.since(&before), [dropped("A", 80, true, 3), others]);
    }

    #[test]
    fn what_has_not_grown_since_a_moment_is_told_from_what_has() {
        let mut drops = Drops::default();
        drops.update(&[dropped("A", 80, true, 5), dropped("B", 80, true, 9)], 10);
        drops.update(&[dropped("A", 80, true, 6), dropped("B", 80, true, 9)], 20);
        let none = Drops::default();
        assert_eq!(drops.growing(&none, 10), [dropped("B", 80, true, 9), dropped("A", 80, true, 6)]);
        assert_eq!(drops.growing(&none, 11), [dropped("A", 80, true, 6)]);
        assert_eq!(drops.growing(&none, 21), []);
        assert_eq!(drops.growing(&drops.clone(), 10), [], "none since those were counted");
    }

    #[test]
    fn syns_to_a_port_are_told_from_all_else() {
        let mut drops = Drops::default();
        drops.update(&[dropped("NETFILTER_DROP", 80, true, 5), dropped(NO_SOCKET, 81, true, 1)], 10);
        drops.update(&[dropped("NETFILTER_DROP", 79, false, 5), dropped(NO_SOCKET, 443, false, 1)], 20);
        let of = |port, since_ns| {
            let PortDrops { is_dropped, has_no_socket } = drops.syns_to(port, since_ns);
            (is_dropped, has_no_socket)
        };
        assert_eq!([of(80, 10), of(81, 10)], [(true, false), (false, true)]);
        assert_eq!([of(80, 11), of(79, 0), of(443, 0), of(82, 0)], [(false, false); 4]);
    }
}
