//! `tcpEStatsAppTable`.

use super::extremes::Extreme;
use probe_common::sums::Fact;

use super::{EXACT, EstatsValue, Facts, Variable, low_half};
use crate::socket::InfoField;

pub(super) static VARIABLES: [Variable; 12] = [
    Variable::counted("SndUna", "", EXACT, "snd_una", |_, sums| {
        Some(EstatsValue::Number(sums.fact(Fact::SndUna)))
    }),
    Variable::counted("SndNxt", "", EXACT, "snd_nxt", |_, sums| {
        Some(EstatsValue::Number(sums.fact(Fact::SndNxt)))
    }),
    Variable::counted("SndMax", "", EXACT, "snd_nxt: Linux never takes it back", |_, sums| {
        Some(EstatsValue::Number(sums.fact(Fact::SndNxt)))
    }),
    Variable::derived("ThruOctetsAcked", "octets", "as HCThruOctetsAcked, its lower 32 bits", |facts| {
        facts.octets_acked().map(|octets| EstatsValue::Number(low_half(octets)))
    }),
    Variable::derived(
        "HCThruOctetsAcked",
        "octets",
        "tcpi_bytes_sent - tcpi_bytes_retrans - (idiag_wqueue - tcpi_notsent_bytes, less 1 for a FIN that was sent)",
        |facts| facts.octets_acked().map(EstatsValue::Number),
    ),
    Variable::counted("RcvNxt", "", EXACT, "rcv_nxt", |_, sums| {
        Some(EstatsValue::Number(sums.fact(Fact::RcvNxt)))
    }),
    Variable::derived(
        "ThruOctetsReceived",
        "octets",
        "as HCThruOctetsReceived, its lower 32 bits",
        |facts| facts.octets_received().map(|octets| EstatsValue::Number(low_half(octets))),
    ),
    Variable::derived(
        "HCThruOctetsReceived",
        "octets",
        "tcpi_bytes_received, less 1 for a FIN that was received",
        |facts| facts.octets_received().map(EstatsValue::Number),
    ),
    Variable::exact("CurAppWQueue", "octets", "tcpi_notsent_bytes", |facts| {
        facts.number(InfoField::NotsentBytes)
    }),
    Variable::approximate("MaxAppWQueue", "octets", "the largest CurAppWQueue of all lists", |facts| {
        facts.extreme(Extreme::MaxAppWQueue)
    }),
    Variable::derived(
        "CurAppRQueue",
        "octets",
        "idiag_rqueue, less 1 for a FIN that was not read",
        |facts| facts.info().map(|_| EstatsValue::Number(facts.unread())),
    ),
    Variable::approximate("MaxAppRQueue", "octets", "the largest CurAppRQueue of all lists", |facts| {
        facts.extreme(Extreme::MaxAppRQueue)
    }),
];

impl Facts<'_> {
    /// Bytes of the application that the peer has acknowledged. `tcpi_bytes_acked` counts the SYN of an active open, which nothing
    /// tells from a passive one.
    fn octets_acked(&self) -> Option<u64> {
        let [sent, retransmitted] =
            [InfoField::BytesSent, InfoField::BytesRetrans].map(|field| self.get(field));
        sent?.checked_sub(retransmitted? + self.unacknowledged()?)
    }

    /// Bytes of the peer's application that came in order.
    pub(super) fn octets_received(&self) -> Option<u64> {
        Some(self.get(InfoField::BytesReceived)?.saturating_sub(u64::from(self.has_peers_fin())))
    }
}
