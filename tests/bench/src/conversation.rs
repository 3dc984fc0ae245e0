//! Connections of many clients to many servers, as captured near the clients.

use std::vec::IntoIter;

use fastrand::Rng;
use lab::conversation::{Conversation, EPHEMERAL_PORTS, End, PSH, v4};
use probe_common::{Endpoint, SegmentRecord, TcpFlags};

const MS: u64 = 1_000_000;
/// What fits into a segment on Ethernet beside the timestamp option.
const MSS: u32 = 1_448;
const ACK: TcpFlags = TcpFlags::ACK;

/// Ports without a dissector in tshark, which would spend more time on the payload.
const PORTS: [u16; 4] = [7_101, 7_102, 7_103, 7_104];
const SERVERS: u32 = 500;
const CLIENTS: u32 = 2_000;

/// What a segment does to its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It opens it.
    Opens,
    /// It completes it.
    Establishes,
    /// It refuses it.
    Refuses,
}

/// A segment, and what it does to its handshake.
pub(super) type Segment = (SegmentRecord, Option<Step>);

/// The segments of one connection, in order of time. No two of the first 56 million numbers have the same addresses and
/// ports.
pub(super) fn connection(number: u32, start_ns: u64, rng: &mut Rng) -> IntoIter<Segment> {
    let mut talk = Conversation::new(ends(number, rng), [rng.u32(..), rng.u32(..)], start_ns);
    if rng.u8(0..10) > 0 {
        talk = talk.with_timestamps([rng.u32(..), rng.u32(..)]);
    }
    let rtt_ns = rng.u64(MS / 5..120 * MS);
    talk.send(End::Opener, TcpFlags::SYN, 0, 0);
    // The segment that decides the handshake, if there is one.
    let decided = match rng.u8(0..100) {
        0..3 => {
            talk.send(End::Responder, TcpFlags::RST.with(ACK), 0, rtt_ns);
            Some((1, Step::Refuses))
        }
        3..5 => {
            talk.send_again(1_000 * MS);
            talk.send_again(2_000 * MS);
            None
        }
        5..8 => {
            talk.send_again(1_000 * MS);
            answer(&mut talk, rtt_ns, rng);
            Some((3, Step::Establishes))
        }
        _ => {
            answer(&mut talk, rtt_ns, rng);
            Some((2, Step::Establishes))
        }
    };
    let step = |at| match decided {
        _ if at == 0 => Some(Step::Opens),
        Some((decides, step)) => (at == decides).then_some(step),
        None => None,
    };
    let segments = talk.into_segments().into_iter().enumerate();
    segments.map(|(at, segment)| (segment, step(at))).collect::<Vec<_>>().into_iter()
}

/// Everything after the SYN.
fn answer(talk: &mut Conversation, rtt_ns: u64, rng: &mut Rng) {
    let turn_ns = rng.u64(5_000..60_000);
    talk.send(End::Responder, TcpFlags::SYN.with(ACK), 0, rtt_ns);
    talk.send(End::Opener, ACK, 0, turn_ns);
    for _ in 0..rng.u32(1..4) {
        exchange(talk, rtt_ns, rng);
    }
    if rng.u8(0..20) == 0 {
        return talk.send(End::Opener, TcpFlags::RST.with(ACK), 0, turn_ns);
    }
    talk.send(End::Opener, TcpFlags::FIN.with(ACK), 0, turn_ns);
    talk.send(End::Responder, TcpFlags::FIN.with(ACK), 0, rtt_ns);
    talk.send(End::Opener, ACK, 0, turn_ns);
}

/// A request and an answer of a few segments; every second segment is acknowledged.
fn exchange(talk: &mut Conversation, rtt_ns: u64, rng: &mut Rng) {
    talk.send(End::Opener, ACK.with(PSH), rng.u32(80..900), rng.u64(0..50 * MS));
    let mut gap_ns = rtt_ns;
    for segment in 0..rng.u32(0..6) {
        talk.send(End::Responder, ACK, MSS, gap_ns);
        gap_ns = rng.u64(2_000..200_000);
        if segment % 2 == 1 {
            talk.send(End::Opener, ACK, 0, 5_000);
        }
    }
    talk.send(End::Responder, ACK.with(PSH), rng.u32(1..MSS), gap_ns);
    talk.send(End::Opener, ACK, 0, 5_000);
}

/// Client and server; three in ten connections use IPv6.
fn ends(number: u32, rng: &mut Rng) -> [Endpoint; 2] {
    let ports = u32::from(EPHEMERAL_PORTS.end - EPHEMERAL_PORTS.start);
    let port = u16::try_from(number / CLIENTS % ports).map_or(u16::MAX, |port| EPHEMERAL_PORTS.start + port);
    let end = |net: u8, host: u32, port| {
        let [.., high, low] = host.to_be_bytes();
        if number % 10 < 3 {
            let address = [0x20, 1, 0xd, 0xb8, 0, net, 0, 0, 0, 0, 0, 0, 0, 0, high, low];
            Endpoint { address, port }
        } else {
            v4([10, net, high, low], port)
        }
    };
    [end(1, number % CLIENTS, port), end(2, rng.u32(0..SERVERS), PORTS[rng.usize(0..PORTS.len())])]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The benchmark checks tcptop's output against the contents of the capture, so these must be valid.
    #[test]
    fn each_opens_once_and_its_times_go_forward() {
        let mut rng = Rng::with_seed(7);
        for number in 0..500 {
            let segments: Vec<_> = connection(number, 5, &mut rng).collect();
            assert_eq!(segments[0].1, Some(Step::Opens));
            assert_eq!(segments.iter().filter(|(_, step)| *step == Some(Step::Opens)).count(), 1);
            assert!(segments.iter().filter(|(_, step)| step.is_some()).count() <= 2);
            for (segment, step) in &segments {
                let flags = match step {
                    Some(Step::Opens) => TcpFlags::SYN,
                    Some(Step::Establishes) => ACK,
                    Some(Step::Refuses) => TcpFlags::RST.with(ACK),
                    None => continue,
                };
                assert_eq!(segment.flags, flags, "{step:?}");
            }
            assert!(segments.is_sorted_by_key(|(segment, _)| segment.time_ns));
        }
    }
}
