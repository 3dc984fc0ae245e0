//! `tcpEStatsTuneTable`.

use probe_common::sums::Fact;

use super::{DERIVED, EXACT, EstatsValue, Facts, Missing, Variable};
use crate::socket::SocketSums;

/// No limit: `snd_cwnd_clamp` is set to all ones at first.
const NO_LIMIT: u64 = u32::MAX as u64;

pub(super) static VARIABLES: [Variable; 4] = [
    Variable::counted(
        "LimCwnd",
        "octets",
        EXACT,
        "snd_cwnd_clamp * mss_cache; null without a limit",
        |_, sums| sums.window_limit().map(EstatsValue::Number),
    ),
    Variable::missing("LimSsthresh", "octets", Missing::Interface),
    Variable::counted("LimRwin", "octets", EXACT, "window_clamp", |_, sums| {
        Some(EstatsValue::Number(sums.fact(Fact::WindowClamp)))
    }),
    Variable::counted(
        "LimMSS",
        "octets",
        DERIVED,
        "user_mss (TCP_MAXSEG), or else mss_clamp; null before the peer said it",
        |facts, sums| sums.segment_limit(facts).map(EstatsValue::Number),
    ),
];

impl SocketSums {
    fn window_limit(&self) -> Option<u64> {
        let clamp = Some(self.fact(Fact::CwndClamp)).filter(|clamp| *clamp != NO_LIMIT);
        Some(clamp? * self.fact(Fact::MssCache))
    }

    fn segment_limit(&self, facts: &Facts<'_>) -> Option<u64> {
        Some(self.fact(Fact::UserMss)).filter(|own| *own != 0).or_else(|| self.peers_limit(facts))
    }
}
