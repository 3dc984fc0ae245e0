//! The largest and the smallest values of a socket, as far as they were seen.

use probe_common::sums::Fact;

use super::Facts;
use crate::socket::{InfoField, Socket, SocketSums};

/// What is kept of a socket from one list to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extreme {
    MaxPipe,
    MaxRwinSent,
    MaxRwinRcvd,
    MaxRto,
    MinRto,
    MaxSsCwnd,
    MaxCaCwnd,
    MaxSsthresh,
    MinSsthresh,
    MaxMss,
    MinMss,
    MaxRetxQueue,
    MaxAppWQueue,
    MaxAppRQueue,
    MaxReasm,
}

const COUNT: usize = Extreme::MaxReasm as usize + 1;

/// The extremes of one socket over the lists that it was in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extremes {
    values: [Option<u64>; COUNT],
    lists: u64,
}

impl Extremes {
    /// Takes a socket as it is listed now into account, with what events tell of it.
    pub fn note(&mut self, socket: &Socket, sums: Option<&SocketSums>) {
        let facts = Facts::of(socket);
        self.lists += 1;
        let cwnd = facts.in_bytes(InfoField::SndCwnd);
        // Without a threshold slow start has not ended.
        let is_slow_start = facts
            .get(InfoField::SndSsthresh)
            .is_none_or(|ssthresh| facts.get(InfoField::SndCwnd).is_some_and(|cwnd| cwnd < ssthresh));
        let (ssthresh, mss, rto) =
            (facts.in_bytes(InfoField::SndSsthresh), facts.get(InfoField::SndMss), facts.get(InfoField::Rto));
        for (extreme, value) in [
            (Extreme::MaxPipe, facts.pipe()),
            (Extreme::MaxRwinSent, facts.get(InfoField::RcvWnd)),
            (Extreme::MaxRwinRcvd, facts.get(InfoField::SndWnd)),
            (Extreme::MaxRto, rto),
            (Extreme::MinRto, rto),
            (Extreme::MaxSsCwnd, cwnd.filter(|_| is_slow_start)),
            (Extreme::MaxCaCwnd, cwnd.filter(|_| !is_slow_start)),
            (Extreme::MaxSsthresh, ssthresh),
            (Extreme::MinSsthresh, ssthresh),
            (Extreme::MaxMss, mss),
            (Extreme::MinMss, mss),
            (Extreme::MaxRetxQueue, facts.unacknowledged()),
            (Extreme::MaxAppWQueue, facts.get(InfoField::NotsentBytes)),
            (Extreme::MaxAppRQueue, facts.info().map(|_| facts.unread())),
            (Extreme::MaxReasm, sums.map(|sums| sums.fact(Fact::Reassembly))),
        ] {
            let known = &mut self.values[extreme as usize];
            let is_least = matches!(extreme, Extreme::MinRto | Extreme::MinSsthresh | Extreme::MinMss);
            let pick = if is_least { u64::min } else { u64::max };
            *known = match (*known, value) {
                (Some(before), Some(now)) => Some(pick(before, now)),
                (before, now) => before.or(now),
            };
        }
    }

    /// One of them. A single list has no extremes.
    pub(super) fn get(&self, extreme: Extreme) -> Option<u64> {
        self.values[extreme as usize].filter(|_| self.lists > 1)
    }
}
