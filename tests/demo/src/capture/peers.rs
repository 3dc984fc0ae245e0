//! The capture that the screenshots are made from: five minutes on a host with healthy peers, one that gets slow, one
//! that stops answering, one that refuses and one whose packets are lost.

use fastrand::Rng;
use lab::conversation::{EPHEMERAL_PORTS, v4};
use probe_common::{Endpoint, SegmentRecord};

use super::connection::Connection;

pub(super) const MS: u64 = 1_000_000;
pub(super) const S: u64 = 1_000 * MS;
/// It ends on 2 January 2026 at 14:02:31 UTC.
const END_NS: u64 = 1_767_362_551 * S;
/// Its length.
const LENGTH_NS: u64 = 281 * S;

/// How a peer behaves for some time.
#[derive(Clone, Copy)]
enum Behaviour {
    /// Answers after the first time plus up to the second, in microseconds.
    Answers(u64, u64),
    /// The same, and one in ten segments is lost.
    Loses(u64, u64),
    Refuses,
    Ignores,
}

use Behaviour::{Answers, Ignores, Loses, Refuses};

/// A peer, and how it behaves from which time on, in seconds before the end.
struct Peer {
    service: Endpoint,
    /// Whether it connects to the captured host.
    comes_here: bool,
    /// Connections per minute.
    per_min: u64,
    behaviours: &'static [(u64, Behaviour)],
}

fn v6(tail: [u16; 6], port: u16) -> Endpoint {
    let mut address = [0; 16];
    let words = [0x2001, 0x0db8].into_iter().chain(tail);
    for (bytes, word) in address.chunks_exact_mut(2).zip(words) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    Endpoint { address, port }
}

/// The captured host's end, whose addresses `--local` names.
fn host(peer: &Endpoint, port: u16) -> Endpoint {
    if peer.address[..10] == [0; 10] { v4([10, 20, 0, 5], port) } else { v6([0x20, 0, 0, 0, 0, 5], port) }
}

fn peers() -> Vec<Peer> {
    let to = |service, per_min, behaviours| Peer { service, comes_here: false, per_min, behaviours };
    let from = |service, per_min, behaviours| Peer { service, comes_here: true, per_min, behaviours };
    vec![
        to(v4([10, 20, 9, 7], 443), 36, &[(300, Answers(7_800, 900)), (48, Ignores)]),
        to(v4([10, 20, 4, 2], 6379), 50, &[(300, Answers(420, 120)), (62, Refuses)]),
        to(v4([10, 20, 3, 14], 5432), 66, &[(300, Answers(1_150, 600)), (161, Answers(178_000, 90_000))]),
        to(v6([0, 0, 0, 0, 0, 0x8d], 443), 54, &[(300, Answers(10_400, 1_800)), (95, Loses(10_400, 4_000))]),
        to(v4([10, 20, 1, 10], 8080), 130, &[(300, Answers(840, 700))]),
        to(v6([1, 0, 0, 0, 0, 0x10], 443), 40, &[(300, Answers(10_100, 1_500))]),
        to(
            v4([10, 20, 7, 21], 9092),
            30,
            &[(300, Answers(2_300, 500)), (236, Refuses), (214, Answers(2_300, 500))],
        ),
        from(v6([0x85a3, 0x8d3, 0x1319, 0x8a2e, 0x370, 0x7348], 443), 34, &[(300, Answers(24_600, 6_000))]),
        from(v4([10, 9, 0, 40], 443), 44, &[(300, Answers(30_200, 4_000))]),
    ]
}

/// All packets in order of time.
pub(super) fn packets() -> Vec<SegmentRecord> {
    let mut rng = Rng::with_seed(5);
    let mut records = Vec::new();
    for (number, peer) in (0_u16..).zip(peers()) {
        let mut port = EPHEMERAL_PORTS.start + 2_911 * number;
        let gap_ns = 60 * S / peer.per_min;
        let mut at_ns = rng.u64(0..gap_ns);
        while at_ns < LENGTH_NS {
            let start_ns = END_NS - LENGTH_NS + at_ns;
            let behaviour = behaviour(&peer, END_NS - start_ns);
            let connection = Connection::new(ends(&peer, port), start_ns, peer.comes_here);
            records.extend(held(connection, behaviour, &mut rng));
            port += rng.u16(1..9);
            at_ns += gap_ns * rng.u64(80..120) / 100;
        }
    }
    records.extend(one_offs());
    records.retain(|record| record.time_ns <= END_NS);
    records.sort_by_key(|record| record.time_ns);
    records
}

fn behaviour(peer: &Peer, before_end_ns: u64) -> Behaviour {
    let begun = peer.behaviours.iter().rev().find(|(from_s, _)| from_s * S >= before_end_ns);
    begun.map_or(Ignores, |(_, behaviour)| *behaviour)
}

/// Opener and responder.
fn ends(peer: &Peer, port: u16) -> [Endpoint; 2] {
    if peer.comes_here {
        let client = Endpoint { port, ..peer.service };
        [client, host(&client, peer.service.port)]
    } else {
        [host(&peer.service, port), peer.service]
    }
}

fn held(mut connection: Connection, behaviour: Behaviour, rng: &mut Rng) -> Vec<SegmentRecord> {
    let rtt_ns = |(least_us, spread_us): (u64, u64), rng: &mut Rng| {
        // Most are close to the minimum, few far from it.
        let far = if rng.u8(0..30) == 0 { 3 } else { 1 };
        (least_us + spread_us * far * rng.u64(0..1_000) * rng.u64(0..1_000) / 1_000_000) * 1_000
    };
    match behaviour {
        Answers(least, spread) => connection.whole(rtt_ns((least, spread), rng), false, false),
        Loses(least, spread) => {
            let [syn, data] = [rng.u8(0..10) == 0, rng.u8(0..10) < 2];
            connection.whole(rtt_ns((least, spread), rng), syn, data);
        }
        Refuses => connection.refused(400_000 + rng.u64(0..90_000)),
        Ignores => connection.unanswered(),
    }
    connection.into_segments()
}

/// Single events: an SSH session, a handshake that is never completed, a connection that is reset.
fn one_offs() -> Vec<SegmentRecord> {
    let at = |before_end_s: u64| END_NS - before_end_s * S;
    let here = |port| v4([10, 20, 0, 5], port);
    let mut ssh = Connection::new([v4([192, 0, 2, 7], 50_122), here(22)], at(278), true);
    ssh.opened(38 * MS, false);
    ssh.request(38 * MS, false);
    let mut half_open = Connection::new([v4([10, 9, 0, 66], 41_007), here(443)], at(30), true);
    half_open.half_open();
    let mut reset = Connection::new([here(51_230), v4([10, 20, 1, 10], 8080)], at(21), false);
    reset.opened(900_000, false);
    reset.reset(5 * S);
    [ssh, half_open, reset].map(Connection::into_segments).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_is_the_same_each_time_and_ends_when_it_should() {
        let packets = packets();
        assert_eq!(packets, super::packets());
        let last = packets.last().unwrap().time_ns;
        assert!(last <= END_NS && END_NS - last < S);
    }

    #[test]
    fn both_families_and_both_roles_take_part() {
        let kinds: std::collections::HashSet<_> =
            peers().iter().map(|peer| (peer.comes_here, peer.service.address[..10] == [0; 10])).collect();
        assert_eq!(kinds.len(), 4);
    }
}
