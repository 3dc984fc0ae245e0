//! Interfaces that belong together: a tap has one for each direction, and a host with two paths sends over one and receives
//! over the other.
//!
//! Whoever captures at several interfaces sees a connection at each of them, and they are kept apart. But where one of
//! them has shown what one end sends and nothing else, and another shows only what the other end sends, both are halves of
//! one view.

use std::collections::HashMap;
use std::mem;

use probe_common::Endpoint;

/// At which interfaces which direction of a connection was seen: those that matter. A connection that passes more is seen
/// apart at each further one.
type Views = [View; 4];

#[derive(Clone, Copy, Debug, Default)]
struct View {
    /// 0 for none.
    interface: u32,
    /// That of the view it is the other half of, or its own.
    shown_at: u32,
    /// Whether the lower end, and whether the higher one, was seen to send here.
    sends: [bool; 2],
}

/// Both ends, the lower one first.
type Ends = [Endpoint; 2];

/// The connections of late. What is not looked for while as many others are is forgotten.
#[derive(Debug)]
pub(super) struct Taps {
    young: HashMap<Ends, Views>,
    old: HashMap<Ends, Views>,
    most: usize,
}

impl Taps {
    /// Remembers `connections` at least, and twice as many at the most.
    pub(super) fn new(connections: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), most: connections.max(1) }
    }

    /// The interface that a packet is to be counted at which was seen at `interface`.
    pub(super) fn interface(&mut self, source: Endpoint, destination: Endpoint, interface: u32) -> u32 {
        let from_high = source > destination;
        let ends = if from_high { [destination, source] } else { [source, destination] };
        if !self.young.contains_key(&ends) {
            if self.young.len() >= self.most {
                self.old = mem::take(&mut self.young);
            }
            let views = self.old.remove(&ends).unwrap_or_default();
            self.young.insert(ends, views);
        }
        let views = self.young.get_mut(&ends).expect("it is there, or was inserted");
        place(views, interface, usize::from(from_high))
    }
}

/// Where what one end sends is shown, if it was seen at this interface.
fn place(views: &mut Views, interface: u32, side: usize) -> u32 {
    let Some(at) = views.iter().position(|view| view.interface == interface || view.interface == 0) else {
        return interface;
    };
    if views[at].interface == 0 {
        let mut sends = [false; 2];
        sends[side] = true;
        let is_other_half =
            |view: &&View| view.shown_at == view.interface && !view.sends[side] && view.interface != 0;
        let half = views.iter().find(is_other_half).map(|view| view.interface);
        let is_taken = |half| views.iter().any(|view| view.shown_at == half && view.interface != half);
        let shown_at = half.filter(|&half| !is_taken(half)).unwrap_or(interface);
        views[at] = View { interface, shown_at, sends };
        return shown_at;
    }
    if !views[at].sends[side] {
        // It shows both: it is no half of anything, and has none.
        views[at].sends[side] = true;
        views[at].shown_at = interface;
        views
            .iter_mut()
            .filter(|view| view.shown_at == interface)
            .for_each(|view| view.shown_at = view.interface);
    }
    views[at].shown_at
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where packets are shown that were seen at these interfaces, sent by these sides.
    fn shown(packets: &[(u32, usize)]) -> Vec<u32> {
        let mut views = Views::default();
        packets.iter().map(|&(interface, side)| place(&mut views, interface, side)).collect()
    }

    #[test]
    fn halves_are_put_together() {
        assert_eq!(shown(&[(1, 0), (2, 1), (1, 0), (2, 1)]), [1, 1, 1, 1]);
        assert_eq!(shown(&[(2, 1), (1, 0), (2, 1), (1, 0)]), [2, 2, 2, 2]);
    }

    #[test]
    fn interfaces_that_show_both_are_kept_apart() {
        // A router, the answer of which passes the other interface first.
        assert_eq!(shown(&[(1, 0), (2, 0), (2, 1), (1, 1), (1, 0), (2, 0)]), [1, 2, 2, 1, 1, 2]);
    }

    #[test]
    fn what_turns_out_to_show_both_is_taken_apart() {
        // The capture began between the two times that the first packet passed.
        assert_eq!(shown(&[(1, 0), (2, 1), (1, 1), (2, 1), (2, 0), (1, 0)]), [1, 1, 1, 2, 2, 1]);
        assert_eq!(shown(&[(1, 0), (2, 1), (2, 0), (2, 1), (1, 0)]), [1, 1, 2, 2, 1]);
    }

    #[test]
    fn a_half_has_one_other() {
        // A tap whose one direction is in the capture twice.
        assert_eq!(shown(&[(1, 0), (2, 1), (3, 1), (1, 0), (2, 1), (3, 1)]), [1, 1, 3, 1, 1, 3]);
        // More than anybody has.
        assert_eq!(shown(&[(1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (5, 1)]), [1, 2, 3, 4, 5, 5]);
    }
}
