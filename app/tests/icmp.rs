//! Hard cases `icmp-errors` and `mtu-black-hole`: captures with ICMP errors, and what `tcptop replay` makes of them.

use std::path::PathBuf;
use std::process::Command;

use lab::capture::{Format, packet};
use lab::carrier::{ethernet, outer, udp, vxlan};
use lab::conversation::{segment, v4};
use lab::icmp::IcmpError;
use probe_common::{Endpoint, SegmentRecord, TcpFlags};
use serde_json::Value;

const RAW_IP: u16 = 101;
const RAW: Format = Format { link_type: RAW_IP, ..Format::USUAL };
/// 2026-01-01T00:00:00Z.
const START_NS: u64 = 1_767_225_600_000_000_000;
const ISN: u32 = 100_000;
const SYN_ACK: TcpFlags = TcpFlags::SYN.with(TcpFlags::ACK);
const ROUTER: [u8; 4] = [10, 9, 9, 1];
const PROHIBITED: (u8, u8) = (3, 13);
const HOST_UNREACHABLE: (u8, u8) = (3, 1);
const PORT_UNREACHABLE: (u8, u8) = (3, 3);
const REJECTIONS: [(u8, u8); 3] = [PORT_UNREACHABLE, PROHIBITED, HOST_UNREACHABLE];
const FRAGMENTATION_NEEDED: (u8, u8) = (3, 4);

/// A capture under way.
struct Capture {
    name: &'static str,
    link: Format,
    file: Vec<u8>,
    local: &'static str,
}

/// What `tcptop replay` wrote.
struct Replayed {
    objects: Vec<Value>,
}

/// The opener, 10.1.0.1, and port 443 of 10.1.0.2.
fn ends(port: u16) -> [Endpoint; 2] {
    [v4([10, 1, 0, 1], port), v4([10, 1, 0, 2], 443)]
}

fn ends_v6(port: u16) -> [Endpoint; 2] {
    let end = |host, port| Endpoint { address: [0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host], port };
    [end(1, port), end(2, 443)]
}

fn syn([from, to]: [Endpoint; 2]) -> SegmentRecord {
    SegmentRecord { seq: ISN, ..segment(from, to, TcpFlags::SYN) }
}

fn syn_ack([to, from]: [Endpoint; 2]) -> SegmentRecord {
    SegmentRecord { seq: 7, ack: ISN + 1, ..segment(from, to, SYN_ACK) }
}

fn ack([from, to]: [Endpoint; 2]) -> SegmentRecord {
    SegmentRecord { seq: ISN + 1, ack: 8, ..segment(from, to, TcpFlags::ACK) }
}

fn ip(record: &SegmentRecord) -> Vec<u8> {
    packet(record, RAW_IP)
}

/// The error of a router about a segment, of which it quotes 8 bytes behind the IP header.
fn from_router((icmp_type, code): (u8, u8), record: &SegmentRecord) -> Vec<u8> {
    IcmpError::new(ROUTER.into(), icmp_type, code).packet(&ip(record)[..28])
}

impl Capture {
    fn new(name: &'static str) -> Self {
        Self { name, link: RAW, file: RAW.pcap_header(), local: "10.1.0.1" }
    }

    fn at_us(&mut self, at_us: u64, packet: &[u8]) -> &mut Self {
        self.file.extend(self.link.pcap_frame(START_NS + at_us * 1_000, packet));
        self
    }

    fn segment(&mut self, at_us: u64, record: &SegmentRecord) -> &mut Self {
        self.at_us(at_us, &ip(record))
    }

    /// A complete handshake that begins then.
    fn handshake(&mut self, at_us: u64, ends: [Endpoint; 2]) -> &mut Self {
        self.segment(at_us, &syn(ends)).segment(at_us + 10, &syn_ack(ends)).segment(at_us + 20, &ack(ends))
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("icmp-{}", self.name))
    }

    fn output(&self, arguments: &[&str]) -> String {
        let path = self.path();
        // Another test may read a file of this name: it keeps the one that it has opened.
        let new = path.with_extension(format!("{:?}", std::thread::current().id()));
        std::fs::write(&new, &self.file).expect("the target directory is ours");
        std::fs::rename(&new, &path).expect("the target directory is ours");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tcptop"));
        let command = command.arg("replay").arg(&path).args(["--local", self.local]).args(arguments);
        let output = command.output().expect("it was built");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn replay(&self) -> Replayed {
        let lines = self.output(&["--json"]);
        Replayed { objects: lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect() }
    }
}

impl Replayed {
    fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.objects.iter().filter(move |object| object["type"] == kind)
    }

    fn only<'a>(&'a self, kind: &'a str) -> &'a Value {
        let all: Vec<&Value> = self.all(kind).collect();
        let [one] = all[..] else { panic!("{kind}: {all:?}") };
        one
    }

    fn outcomes(&self) -> Vec<&str> {
        self.all("handshake").map(|one| one["outcome"].as_str().expect("a word")).collect()
    }
}

/// Hard case `syn-series-from-its-middle`: the opener ignores the error, and goes on after its patience.
#[test]
fn an_attempt_that_was_unreachable_may_be_answered_at_last() {
    let (first, ends) = (syn(ends(40_000)), ends(40_000));
    let mut capture = Capture::new("answered-at-last");
    capture.segment(0, &first).at_us(4_000, &from_router(REJECTIONS[0], &first)).segment(8_000_000, &first);
    capture.segment(8_000_010, &syn_ack(ends)).segment(8_000_020, &ack(ends));
    let replayed = capture.replay();
    assert_eq!(replayed.outcomes(), ["unreachable", "established"]);
    let corrected: Vec<&Value> = replayed.all("handshake").map(|one| &one["corrects"]).collect();
    assert_eq!(corrected, [&Value::Null, &Value::from("unreachable")]);
    assert_fields(
        replayed.only("summary"),
        &[("handshakes", Value::from(1)), ("established", Value::from(1)), ("unreachable", Value::from(0))],
    );
}

#[track_caller]
fn assert_fields(object: &Value, fields: &[(&str, Value)]) {
    for (field, value) in fields {
        assert_eq!(object[field], *value, "{field}: {object}");
    }
}

/// The three answers of firewalls and routers, each 4 ms after its SYN, and a connection that is established.
fn rejected() -> Capture {
    let mut capture = Capture::new("why");
    for (number, error) in (0..).zip(REJECTIONS) {
        let syn = syn(ends(40_000 + u16::try_from(number).expect("three")));
        capture
            .segment(number * 1_000_000, &syn)
            .at_us(number * 1_000_000 + 4_000, &from_router(error, &syn));
    }
    capture.handshake(20_000_000, ends(40_009));
    capture
}

#[test]
fn an_icmp_error_says_why() {
    let seen = rejected().replay();
    let reasons = ["port_unreachable", "prohibited", "host_unreachable"];
    for ((one, reason), (icmp_type, code)) in seen.all("handshake").zip(reasons).zip(REJECTIONS) {
        assert_fields(
            one,
            &[
                ("outcome", "unreachable".into()),
                ("icmp_error", reason.into()),
                ("icmp_type", icmp_type.into()),
                ("icmp_code", code.into()),
                ("icmp_from", "10.9.9.1".into()),
                ("icmp_count", 1.into()),
                ("unreachable_ns", 4_000_000.into()),
                ("refusal_ns", Value::Null),
                ("rtt_ns", Value::Null),
            ],
        );
        let time = one["time"].as_str().expect("a time");
        assert!(
            time.ends_with(".004000000Z"),
            "when the error came, not when the opener had given up: {time}"
        );
    }
    let summary = seen.only("summary");
    let parts = [
        ("handshakes", 4.into()),
        ("unreachable", 3.into()),
        ("unanswered", 0.into()),
        ("established", 1.into()),
    ];
    assert_fields(summary, &parts);
    assert_fields(summary, &[("icmp_errors", 3.into()), ("icmp_unmatched", 0.into()), ("missed", 0.into())]);
    // A verdict of its own, and not that nobody answers.
    let verdicts = seen.only("peer")["verdicts"].as_array().expect("a list");
    let names: Vec<&Value> = verdicts.iter().map(|verdict| &verdict["verdict"]).collect();
    assert_eq!(names, ["unreachable"]);
}

#[test]
fn an_icmp_error_is_said_in_words() {
    let capture = rejected();
    let text = capture.output(&["--text"]);
    for words in [
        "port unreachable at 10.9.9.1 (ICMP 3/3) after 4.00ms",
        "prohibited by 10.9.9.1 (ICMP 3/13) after 4.00ms",
        "host unreachable at 10.9.9.1 (ICMP 3/1) after 4.00ms",
        "U 10.1.0.2:443 unreachable 3 of 4",
        "3 ICMP errors: 3 about a segment in flight",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let report = capture.output(&["--report"]);
    assert!(report.contains("UNRCH") && report.contains("U: unreachable 10%"), "{report}");
    let filtered = capture.output(&["--text", "--filter", "outcome:unreachable"]);
    assert_eq!(filtered.lines().filter(|line| line.contains(" unreachable ")).count(), 4, "{filtered}");
    let filtered = capture.output(&["--text", "--filter", "unreachable>3"]);
    assert!(filtered.contains("0 of 1 peer"), "{filtered}");
}

/// What Linux gives up at once is decided when its next SYN would have come; what may pass, when an unanswered one is.
#[test]
fn the_outcome_falls_when_the_opener_must_have_given_up() {
    let order = |error| {
        let mut capture = Capture::new(if error == PROHIBITED { "hard" } else { "soft" });
        let syn = syn(ends(40_000));
        capture.segment(0, &syn).at_us(4_000, &from_router(error, &syn));
        for (number, at_us) in (1..).zip([1_000_000, 2_000_000, 6_500_000, 8_000_000]) {
            capture.handshake(at_us, ends(40_000 + number));
        }
        let seen = capture.replay();
        let place = seen.outcomes().iter().position(|outcome| *outcome == "unreachable");
        place.expect("it is reported before the end")
    };
    assert_eq!(order(PROHIBITED), 1, "1.5 s after the SYN");
    assert_eq!(order(HOST_UNREACHABLE), 3, "7 s after the SYN");
}

/// An error does not keep a handshake from being completed: what came later counts.
#[test]
fn a_handshake_that_completes_in_spite_of_an_error_is_established() {
    for error in [PROHIBITED, HOST_UNREACHABLE, PORT_UNREACHABLE] {
        let mut capture = Capture::new("in-spite");
        let (ends, mut last_us) = (ends(40_000), 0);
        for at_us in [0, 1_000_000, 3_000_000] {
            capture.segment(at_us, &syn(ends)).at_us(at_us + 4_000, &from_router(error, &syn(ends)));
            last_us = at_us;
        }
        capture.segment(last_us + 50_000, &syn_ack(ends)).segment(last_us + 50_010, &ack(ends));
        capture.handshake(30_000_000, self::ends(40_001));
        let seen = capture.replay();
        assert_eq!(seen.outcomes(), ["established", "established"], "{error:?}");
        let first = seen.all("handshake").next().expect("two");
        assert_fields(
            first,
            &[
                ("tries", 3.into()),
                ("setup_ns", 3_050_010_000_u64.into()),
                ("icmp_count", 3.into()),
                ("unreachable_ns", Value::Null),
            ],
        );
        assert_eq!(seen.only("summary")["unreachable"], 0);
        // The SYNs were not lost: they were rejected.
        assert!(seen.all("retransmit").all(|one| one["no_loss"] == "unreachable"), "{:?}", seen.objects);
        assert_eq!(seen.only("peer")["verdicts"], Value::Array(Vec::new()));
    }
    let mut capture = Capture::new("in-spite-at-once");
    let ends = ends(40_000);
    capture.segment(0, &syn(ends)).at_us(100, &from_router(PROHIBITED, &syn(ends)));
    capture.segment(40_000, &syn_ack(ends)).segment(40_010, &ack(ends));
    assert_eq!(capture.replay().outcomes(), ["established"]);
}

/// An opener that goes on, and whose last SYNs nobody answers at all, is not silent: the error is what is known.
#[test]
fn errors_that_come_again_are_one_outcome() {
    let mut capture = Capture::new("again");
    let syn = syn(ends(40_000));
    for at_us in [0, 1_000_000, 3_000_000, 7_000_000] {
        capture.segment(at_us, &syn);
        if at_us < 7_000_000 {
            // Some routers answer twice, others limit how often they do.
            capture.at_us(at_us + 4_000, &from_router(HOST_UNREACHABLE, &syn));
            capture.at_us(at_us + 4_500, &from_router(HOST_UNREACHABLE, &syn));
        }
    }
    capture.handshake(60_000_000, ends(40_001));
    let seen = capture.replay();
    assert_eq!(seen.outcomes(), ["unreachable", "established"]);
    let first = seen.all("handshake").next().expect("two");
    let fields = [("tries", 4.into()), ("icmp_count", 6.into()), ("unreachable_ns", 4_000_000.into())];
    assert_fields(first, &fields);
}

/// IPv6, a router on the way, with the extensions of RFC 4884; and 8 bytes of the segment only.
#[test]
fn time_exceeded_for_ipv6() {
    let router = "fd09::1".parse().expect("an address");
    for with_extensions in [true, false] {
        let mut capture = Capture { local: "fd01::1", ..Capture::new("v6") };
        let ends = ends_v6(40_000);
        let quoted = ip(&syn(ends));
        let error = IcmpError::new(router, 3, 0);
        let error =
            if with_extensions { error.packet_with_extensions(&quoted) } else { error.packet(&quoted[..48]) };
        capture.segment(0, &syn(ends)).at_us(12_000, &error).handshake(20_000_000, ends_v6(40_001));
        let seen = capture.replay();
        assert_eq!(seen.outcomes(), ["unreachable", "established"]);
        let fields = [
            ("icmp_error", "time_exceeded".into()),
            ("icmp_from", "fd09::1".into()),
            ("unreachable_ns", 12_000_000.into()),
        ];
        assert_fields(seen.all("handshake").next().expect("two"), &fields);
        let text = capture.output(&["--text"]);
        assert!(text.contains("time exceeded at fd09::1 (ICMPv6 3/0)"), "{text}");
    }
}

/// Nobody can make an attempt unreachable who does not know its number; the other side of a translation is no match either.
#[test]
fn forged_errors_change_nothing() {
    let mut capture = Capture::new("forged");
    let (real, ends) = (syn(ends(40_000)), ends(40_000));
    capture.segment(0, &real);
    let translated = SegmentRecord { source: v4([192, 0, 2, 7], 40_000), ..real };
    let forged = [
        SegmentRecord { seq: ISN + 1, ..real },
        SegmentRecord { source: v4([10, 1, 0, 1], 40_001), ..real },
        SegmentRecord { destination: v4([10, 1, 0, 2], 444), ..real },
        translated,
    ];
    for record in &forged {
        capture.at_us(100, &from_router(PROHIBITED, record));
    }
    let (icmp_type, code) = PROHIBITED;
    let elsewhere = IcmpError::new(ROUTER.into(), icmp_type, code).packet_elsewhere(&ip(&real), ends[1]);
    capture.at_us(200, &elsewhere).handshake(30_000_000, self::ends(40_002));
    let seen = capture.replay();
    assert_eq!(seen.outcomes(), ["unanswered", "established"]);
    let summary = seen.only("summary");
    let counted = [("icmp_errors", 0.into()), ("icmp_unmatched", 5.into()), ("missed", 0.into())];
    assert_fields(summary, &counted);
}

/// This host's own firewall rejects, and the client's network cannot be reached.
#[test]
fn errors_at_the_responder() {
    let rejected = syn(ends(40_000));
    let mut capture = Capture { local: "10.1.0.2", ..Capture::new("responder") };
    let own = IcmpError::new([10, 1, 0, 2].into(), 3, 3).packet(&ip(&rejected)[..28]);
    capture.segment(0, &rejected).at_us(50, &own);
    let answered = ends(40_001);
    capture.segment(1_000_000, &syn(answered)).segment(1_000_050, &syn_ack(answered));
    capture.at_us(1_020_000, &from_router(HOST_UNREACHABLE, &syn_ack(answered)));
    capture.handshake(90_000_000, ends(40_002));
    let seen = capture.replay();
    assert_eq!(seen.outcomes(), ["unreachable", "unreachable", "established"]);
    let all: Vec<&Value> = seen.all("handshake").collect();
    let own =
        [("role", "server".into()), ("icmp_from", "10.1.0.2".into()), ("unreachable_ns", 50_000.into())];
    assert_fields(all[0], &own);
    let back = [("role", "server".into()), ("syn_acks", 1.into()), ("unreachable_ns", 19_950_000.into())];
    assert_fields(all[1], &back);
    assert_eq!(seen.only("summary")["half_open"], 0);
}

/// A connection outlasts errors; those about the size of packets say how large they may be.
#[test]
fn errors_about_connections_are_notes() {
    let mut capture = Capture::new("notes");
    let ends @ [client, server] = ends(40_000);
    let data =
        SegmentRecord { payload_len: 1_460, seq: ISN + 1, ack: 8, ..segment(client, server, TcpFlags::ACK) };
    capture.handshake(0, ends).segment(100_000, &data);
    capture.at_us(104_000, &from_router(HOST_UNREACHABLE, &data));
    let (icmp_type, code) = FRAGMENTATION_NEEDED;
    let too_big = IcmpError { mtu: 1_400, ..IcmpError::new(ROUTER.into(), icmp_type, code) };
    capture.at_us(105_000, &too_big.packet(&ip(&data)[..28]));
    for (at_us, seq, len) in [(110_000, ISN + 1, 1_360), (110_100, ISN + 1_361, 100)] {
        capture.segment(at_us, &SegmentRecord { seq, payload_len: len, ..data });
    }
    let end = SegmentRecord {
        seq: ISN + 1_461,
        ack: 8,
        ..segment(client, server, TcpFlags::FIN.with(TcpFlags::ACK))
    };
    let back = SegmentRecord { seq: 8, ack: ISN + 1_462, ..segment(server, client, end.flags) };
    capture.segment(200_000, &end).segment(210_000, &back);
    capture.handshake(30_000_000, self::ends(40_001));
    let seen = capture.replay();
    assert_eq!(seen.outcomes(), ["established", "established"]);
    let close = seen.only("close");
    let fields = [
        ("outcome", "closed".into()),
        ("icmp_error", "host_unreachable".into()),
        ("path_mtu", 1_400.into()),
        ("path_mtu_from", "10.9.9.1".into()),
        ("stuck_segment_bytes", Value::Null),
    ];
    assert_fields(close, &fields);
    assert_fields(seen.only("summary"), &[("icmp_errors", 2.into()), ("unreachable", 0.into())]);
}

/// Within a tunnel, or about one, errors are counted by what they are.
#[test]
fn errors_of_tunnels_are_counted() {
    let mut capture = Capture::new("tunnel");
    let syn = syn(ends(40_000));
    let error = from_router(PROHIBITED, &syn);
    let about = IcmpError::new(ROUTER.into(), 3, 4).packet(&outer(false, 47, &[0; 28]));
    capture
        .segment(0, &syn)
        .at_us(10, &outer(false, 17, &udp(4789, &vxlan(&ethernet(&error)))))
        .at_us(20, &about);
    let echo = IcmpError::new(ROUTER.into(), 8, 0).packet(&ip(&syn));
    capture.at_us(30, &echo).handshake(30_000_000, ends(40_001));
    let seen = capture.replay();
    assert_eq!(seen.outcomes(), ["unanswered", "established"]);
    let summary = seen.only("summary");
    assert_fields(summary, &[("icmp_tunnel", 2.into()), ("icmp_unmatched", 0.into()), ("missed", 0.into())]);
    assert_eq!(summary["passed_over"], 3, "{summary}");
    let text = capture.output(&["--text"]);
    assert!(text.contains("2 of ICMP error in or about a tunnel, 1 of IP protocol 1 (ICMP)"), "{text}");
    assert!(text.contains("2 in or about a tunnel (not looked into)"), "{text}");
}

/// A response whose first full-size segment is sent again and again, while all that is small gets through.
fn black_hole(name: &'static str, retransmits_us: &[u64], payload_len: u32) -> Capture {
    let mut capture = Capture { local: "10.1.0.2", ..Capture::new(name) };
    let ends @ [client, server] = ends(40_000);
    let request =
        SegmentRecord { payload_len: 200, seq: ISN + 1, ack: 8, ..segment(client, server, TcpFlags::ACK) };
    capture.handshake(0, ends).segment(10_000, &request);
    let response =
        SegmentRecord { payload_len, seq: 8, ack: ISN + 201, ..segment(server, client, TcpFlags::ACK) };
    let tail = SegmentRecord { payload_len: 300, seq: 8 + payload_len, ..response };
    capture.segment(20_000, &response).segment(20_010, &tail);
    for at_us in retransmits_us {
        capture.segment(*at_us, &response);
    }
    capture
}

#[test]
fn full_size_segments_that_do_not_get_through() {
    let words = "full-size segments (1448 bytes of payload) do not get through: path MTU?";
    let of_peer = "10.1.0.1→:443: full-size segments do not get through in 1 connection: path MTU?";
    let capture = black_hole("stuck", &[220_000, 620_000, 1_420_000, 3_020_000], 1_448);
    let seen = capture.replay();
    let stuck: Vec<&Value> = seen.all("retransmit").map(|one| &one["stuck_segment_bytes"]).collect();
    assert_eq!(stuck, [&Value::Null, &Value::Null, &1_448.into(), &1_448.into()], "from the third on");
    assert_eq!(seen.only("peer")["stuck_connections"], 1);
    assert_eq!(seen.only("summary")["stuck_connections"], 1);
    let explained = seen.only("peer");
    let sentence = "Full-size segments do not get through in 1 connection: path MTU?";
    assert_eq!(
        (&explained["why"], &explained["explanation"][1]),
        (&"large_segments".into(), &sentence.into())
    );
    let text = capture.output(&["--text"]);
    assert_eq!(text.matches(words).count(), 1, "{text}");
    assert!(text.contains(of_peer), "{text}");
    let report = capture.output(&["--report"]);
    assert!(report.contains(of_peer), "{report}");

    // Two are enough where nothing more is seen, and the other end gives up.
    let [client, server] = ends(40_000);
    let mut capture = black_hole("two", &[220_000, 620_000], 1_448);
    capture.segment(5_000_000, &SegmentRecord { seq: ISN + 201, ..segment(client, server, TcpFlags::RST) });
    capture.handshake(30_000_000, ends(40_001));
    let seen = capture.replay();
    assert_eq!(seen.only("close")["stuck_segment_bytes"], 1_448);
    let capture = black_hole("two-at-the-end", &[220_000, 620_000], 1_448);
    assert_eq!(capture.replay().only("summary")["stuck_connections"], 1);
}

#[test]
fn loss_is_no_black_hole() {
    // One retransmit; small segments; and a segment that arrived at last, as the other end's FIN says.
    assert_eq!(black_hole("once", &[220_000], 1_448).replay().only("summary")["stuck_connections"], 0);
    let small = black_hole("small", &[220_000, 620_000, 1_420_000, 3_020_000], 1_000);
    assert_eq!(small.replay().only("summary")["stuck_connections"], 0);
    let mut arrived = black_hole("arrived", &[220_000, 620_000], 1_448);
    let [client, server] = ends(40_000);
    let end = |from, to, seq, ack| SegmentRecord {
        seq,
        ack,
        ..segment(from, to, TcpFlags::FIN.with(TcpFlags::ACK))
    };
    arrived.segment(700_000, &end(client, server, ISN + 201, 8 + 1_748));
    arrived.segment(710_000, &end(server, client, 8 + 1_748, ISN + 202));
    let seen = arrived.replay();
    assert_eq!(seen.only("close")["stuck_segment_bytes"], Value::Null);
    assert_eq!(seen.only("summary")["stuck_connections"], 0);
}
