//! Packets that are in a capture twice are copies; packets that were sent twice are retransmits.

mod support;

use lab::carrier::{ethertype, frame, tagged};
use support::wire::{
    ACK, CLIENT, ETHERNET, FIN, MS, PSH, S, SERVER, START, SYN, Said, Segment, Shot, Talk, US, enhanced,
    json, named, pcap, section, shots,
};

/// Every packet once more, so much later, as `copy` makes it; in the order of time.
fn doubled(segments: &[(u64, Segment)], gap_ns: u64, copy: impl Fn(&Segment) -> Vec<u8>) -> Vec<Shot> {
    let first = segments.iter().map(|(time_ns, segment)| Shot::new(*time_ns, segment.ethernet()));
    let second = segments.iter().map(|(time_ns, segment)| Shot::new(time_ns + gap_ns, copy(segment)));
    let mut shots: Vec<_> = first.chain(second).collect();
    shots.sort_by_key(|shot| shot.time_ns);
    shots
}

/// Tagged, as behind a router.
fn routed(segment: &Segment) -> Vec<u8> {
    let ip = segment.clone().ttl(segment.ttl - 1).ip();
    frame(0x8100, &tagged(20, ethertype(&ip), &ip))
}

fn without_idents(segments: &mut [(u64, Segment)]) {
    segments.iter_mut().for_each(|(_, segment)| segment.ident = 0);
}

fn assert_copies(said: &Said, data_segments: usize, copies: usize) {
    said.assert_one_handshake();
    let summary = said.summary();
    assert_eq!(
        (&summary["data_segments"], &summary["retransmits"]),
        (&data_segments.into(), &0.into()),
        "{said:?}"
    );
    assert_eq!(summary["copies"], copies, "{said:?}");
}

#[test]
fn what_a_mirror_port_shows_twice_counts_once() {
    let segments = Talk::v4(40_001).whole(START, 5);
    for gap_ns in [0, 1, 5 * US, 50 * US, MS, 9 * MS] {
        for copy in [Segment::ethernet, routed] {
            let said = json(&pcap(ETHERNET, &doubled(&segments, gap_ns, copy)), &[]);
            assert_copies(&said, 10, segments.len());
        }
    }
    // Three times, and the copy first by its time to live.
    let mut thrice = doubled(&segments, 5 * US, routed);
    thrice.extend(
        shots(&segments, Segment::ethernet)
            .into_iter()
            .map(|shot| Shot { time_ns: shot.time_ns + 9 * US, ..shot }),
    );
    thrice.sort_by_key(|shot| shot.time_ns);
    assert_copies(&json(&pcap(ETHERNET, &thrice), &[]), 10, 2 * segments.len());
}

/// Without an identification the gap decides, and equal ACKs are no copies for certain.
#[test]
fn copies_without_an_identification_come_too_soon_for_a_sender() {
    for v6 in [false, true] {
        let mut segments = if v6 { Talk::v6(40_001) } else { Talk::v4(40_001) }.whole(START, 5);
        without_idents(&mut segments);
        // SYN, SYN-ACK, ten segments of data and two FINs.
        for gap_ns in [1, 5 * US, 50 * US, 900 * US] {
            for copy in [Segment::ethernet, routed] {
                let said = json(&pcap(ETHERNET, &doubled(&segments, gap_ns, copy)), &[]);
                assert_copies(&said, 10, 14);
            }
        }
    }
}

/// A hairpin at line rate: many packets pass between a packet and its copy.
#[test]
fn copies_of_a_burst_are_known_behind_the_burst() {
    let mut talk = Talk::v4(40_001);
    let mut segments = talk.handshake(START);
    segments.extend((0..500).map(|n| (START + 30 * MS + n * 2 * US, talk.send(SERVER, ACK, 1_000))));
    let said = json(&pcap(ETHERNET, &doubled(&segments, MS, routed)), &[]);
    assert_copies(&said, 500, segments.len());
}

/// A retransmit of the `nth` of some segments, so long after it: with another identification, as senders count.
fn with_retransmit(
    mut segments: Vec<(u64, Segment)>,
    nth: usize,
    after_ns: u64,
    ident: impl Fn(u16) -> u16,
) -> Vec<Shot> {
    let (time_ns, segment) = segments[nth].clone();
    let again = segment.clone().ident(ident(segment.ident));
    segments.push((time_ns + after_ns, again));
    segments.sort_by_key(|(time_ns, _)| *time_ns);
    shots(&segments, Segment::ethernet)
}

/// A connection on a LAN: the handshake takes so long, and then some data goes out at once.
fn lan(talk: &mut Talk, rtt_ns: u64) -> Vec<(u64, Segment)> {
    let mut segments = vec![
        (START, talk.send(CLIENT, SYN, 0)),
        (START + rtt_ns - US, talk.send(SERVER, SYN | ACK, 0)),
        (START + rtt_ns, talk.send(CLIENT, ACK, 0)),
    ];
    segments.extend((0..20).map(|n| (START + 10 * MS + n * 5 * US, talk.send(CLIENT, ACK | PSH, 1_000))));
    segments
}

#[test]
fn a_fast_retransmit_is_no_copy() {
    for after_ns in [110 * US, 300 * US, 900 * US, 5 * MS] {
        // By its identification.
        let shots = with_retransmit(lan(&mut Talk::v4(40_001), 100 * US), 8, after_ns, |ident| ident + 200);
        let said = json(&pcap(ETHERNET, &shots), &[]);
        let summary = said.summary();
        assert_eq!(
            (&summary["data_retransmits"], &summary["copies"]),
            (&1.into(), &0.into()),
            "{after_ns} {said:?}"
        );
        // By the time that a sender needs to learn of the loss.
        for talk in [&mut Talk::v6(40_001), &mut Talk::v4(40_001)] {
            let mut segments = lan(talk, 100 * US);
            without_idents(&mut segments);
            let said = json(&pcap(ETHERNET, &with_retransmit(segments, 8, after_ns, |_| 0)), &[]);
            let summary = said.summary();
            assert_eq!(
                (&summary["data_retransmits"], &summary["copies"]),
                (&1.into(), &0.into()),
                "{after_ns} {said:?}"
            );
        }
    }
}

/// Some senders give all packets the same identification: it says nothing then.
#[test]
fn a_sender_that_does_not_count_makes_no_copies() {
    for ident in [1, 0x1234] {
        let mut segments = lan(&mut Talk::v4(40_001), 100 * US);
        segments.iter_mut().for_each(|(_, segment)| segment.ident = ident);
        let said = json(&pcap(ETHERNET, &with_retransmit(segments, 8, 2 * MS, |ident| ident)), &[]);
        let summary = said.summary();
        assert_eq!((&summary["data_retransmits"], &summary["copies"]), (&1.into(), &0.into()), "{said:?}");
    }
}

/// A timestamp that differs is another packet.
#[test]
fn another_timestamp_is_another_packet() {
    let mut talk = Talk::v6(40_001);
    let mut segments = talk.handshake(START);
    for number in 0..5 {
        let segment = talk.send(CLIENT, ACK | PSH, 1_000).stamped(number, 7);
        let again = segment.clone().stamped(number + 1, 7);
        let at_ns = START + 50 * MS + u64::from(number) * MS;
        segments.extend([(at_ns, segment.clone()), (at_ns + 3 * US, segment), (at_ns + 500 * US, again)]);
    }
    let said = json(&pcap(ETHERNET, &shots(&segments, Segment::ethernet)), &[]);
    let summary = said.summary();
    assert_eq!((&summary["data_retransmits"], &summary["copies"]), (&5.into(), &5.into()), "{said:?}");
}

#[test]
fn what_is_sent_again_later_is_a_retransmit_though_it_is_the_same() {
    let mut talk = Talk::v6(40_001);
    let syn = talk.send(CLIENT, SYN, 0);
    let syn_ack = talk.send(SERVER, SYN | ACK, 0);
    let ack = talk.send(CLIENT, ACK, 0);
    let fin = talk.send(CLIENT, FIN | ACK, 0);
    let at = |ms: u64| START + ms * MS;
    let segments = [
        (at(0), syn.clone()),
        (at(1_000), syn),
        (at(1_020), syn_ack.clone()),
        (at(2_020), syn_ack),
        (at(2_040), ack),
        (at(3_000), fin.clone()),
        (at(3_300), fin),
    ];
    let said = json(&pcap(ETHERNET, &shots(&segments, Segment::ethernet)), &[]);
    let kinds: Vec<_> = said.retransmits().into_iter().map(|retransmit| retransmit["kind"].clone()).collect();
    assert_eq!(kinds, ["syn", "syn_ack", "fin"], "{said:?}");
    assert_eq!(said.summary()["copies"], 0);
}

/// A pcapng with these interfaces.
fn pcapng(names: &[&str], packets: &[(u32, u64, Segment)]) -> Vec<u8> {
    let mut file = section();
    file.extend(names.iter().flat_map(|name| named(ETHERNET, name)));
    for (interface, time_ns, segment) in packets {
        let shot = Shot { interface: *interface, ..Shot::new(*time_ns, segment.ethernet()) };
        file.extend(enhanced(*time_ns, &shot));
    }
    file
}

#[test]
fn the_two_interfaces_of_a_tap_are_one() {
    let segments = Talk::v4(40_001).whole(START, 5);
    for (client, server, names) in [(0, 1, ["", ""]), (1, 0, ["rx", "tx"]), (0, 1, ["eth1", "eth0"])] {
        let packets: Vec<_> = segments
            .iter()
            .map(|(time_ns, segment)| {
                (if segment.source.1 == 443 { server } else { client }, *time_ns, segment.clone())
            })
            .collect();
        let said = json(&pcapng(&names, &packets), &[]);
        assert_copies(&said, 10, 0);
    }
    // Many connections, of both directions, and interfaces that nobody uses.
    let mut packets = Vec::new();
    for number in 0..200_u16 {
        let mut talk = Talk::v4(20_000 + number);
        if number % 2 == 1 {
            talk.ends.swap(0, 1);
        }
        let inside = talk.ends[usize::from(number % 2)];
        packets.extend(
            talk.whole(START + u64::from(number) * MS, 1)
                .into_iter()
                .map(|(time_ns, segment)| (if segment.source == inside { 3 } else { 1 }, time_ns, segment)),
        );
    }
    packets.sort_by_key(|(_, time_ns, _)| *time_ns);
    let said = json(&pcapng(&["a", "b", "c", "d"], &packets), &[]);
    said.assert_faultless(200, (20 * MS, MS));
}

#[test]
fn the_interfaces_of_a_router_are_two() {
    let segments = Talk::v4(40_001).whole(START, 5);
    let mut packets = Vec::new();
    for (time_ns, segment) in segments {
        let (first, second) = if segment.source.1 == 443 { (1, 0) } else { (0, 1) };
        packets.push((first, time_ns, segment.clone()));
        packets.push((second, time_ns + 30 * US, segment.ttl(63)));
    }
    let said = json(&pcapng(&["lan", "wan"], &packets), &[]);
    assert_eq!((said.handshakes().len(), said.retransmits().len()), (2, 0), "{said:?}");
    let names: Vec<_> = said.handshakes().iter().map(|handshake| handshake["interface"].clone()).collect();
    assert_eq!(names, ["lan", "wan"]);
    assert_eq!(said.summary()["copies"], 0, "what passes another interface is no copy");
    let late = said.handshakes().iter().map(|handshake| handshake["rtt_ns"].as_u64()).collect::<Vec<_>>();
    assert_eq!(late, [Some(21 * MS), Some(21 * MS)], "{S} {said:?}");
}
