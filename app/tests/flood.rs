//! `tcptop replay` on a flood of SYNs from forged addresses beside real connections.

mod support;

use std::collections::HashMap;
use std::process::{Command, Stdio};

use lab::capture::Format;
use probe_common::SegmentRecord;
use serde_json::Value;
use support::{Connection, MS, S, v4};

const START: u64 = 1_767_225_600 * S;
const REAL: u16 = 400;
const FORGED: u32 = 100_000;
/// One forged SYN after another, so that some 200 pass within the handshake of a real connection.
const FORGED_GAP_NS: u64 = 50_000;
const ROOM: &str = "2000";

fn real(number: u16) -> Connection {
    Connection::from(v4(10, 20, 0, 9, 30_000 + number), 443)
}

/// How long its peer takes: 5 to 9.99 ms, a little longer for each.
fn client_leg_ns(number: u16) -> u64 {
    5 * MS + u64::from(number) * 12_500
}

/// Real connections are opened all the time, and all are closed at the end.
fn packets() -> Vec<SegmentRecord> {
    let end = START + u64::from(FORGED) * FORGED_GAP_NS;
    let mut packets = Vec::new();
    for number in 0..REAL {
        let (connection, begin) =
            (real(number), START + u64::from(number) * (end - START - S) / u64::from(REAL));
        packets.push(connection.syn(begin));
        packets.push(connection.syn_ack(begin + 40_000));
        packets.push(connection.ack(begin + 40_000 + client_leg_ns(number)));
        packets.push(connection.fin_of_opener(end + MS));
        packets.push(connection.fin_of_responder(end + 2 * MS));
    }
    for number in 0..FORGED {
        let [_, b, c, d] = number.to_be_bytes();
        let mut forged = Connection::from(v4(198, b, c, d, 1_024), 443);
        forged.isn = number;
        packets.push(forged.syn(START + u64::from(number) * FORGED_GAP_NS));
    }
    packets.sort_by_key(|packet| packet.time_ns);
    packets
}

/// Hard case `syn-flood`: established flows are untouched, handshakes between the forged SYNs are timed as usual, and
/// evicted flows are reported and counted.
#[test]
fn real_connections_go_through_a_flood() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("flood.pcapng");
    std::fs::write(&path, Format::USUAL.pcapng(&packets())).expect("the target directory is ours");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptop"));
    command.arg("replay").arg(&path).args(["--json", "--max-flows", ROOM]).stderr(Stdio::inherit());
    let output = command.output().expect("it was built");
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let objects: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();

    let (mut legs, mut closes, mut forged) = (HashMap::new(), 0, 0);
    for object in &objects {
        let ours = object["remote_ip"] == "10.20.0.9";
        match (object["type"].as_str().expect("text"), object["outcome"].as_str(), ours) {
            ("handshake", Some("established"), true) => {
                let port = object["remote_port"].as_u64().expect("a port");
                assert!(legs.insert(port, object["rtt_ns"].as_u64()).is_none(), "twice: {object}");
            }
            ("close", Some("closed"), true) => {
                assert!(object["lifetime_ns"].is_u64(), "its handshake was forgotten: {object}");
                closes += 1;
            }
            ("handshake", Some("pending" | "unanswered"), false) => forged += 1,
            ("peer" | "summary" | "retransmit", ..) => {}
            _ => panic!("{object}"),
        }
    }
    for number in 0..REAL {
        assert_eq!(legs.get(&u64::from(30_000 + number)), Some(&Some(client_leg_ns(number))), "{number}");
    }
    assert_eq!((closes, forged), (REAL, FORGED));
    let summary = objects.last().expect("a summary");
    let reported = u64::from(FORGED) + u64::from(REAL);
    assert_eq!(summary["handshakes"], reported, "{summary}");
    // All forged ones but those that still had room were evicted early, here and in the source, and none is missed.
    let strangers = |what: &str| summary["strangers"][what].as_u64().expect("a count");
    assert!((u64::from(FORGED) - 2_000..=u64::from(FORGED)).contains(&strangers("evicted")), "{summary}");
    assert_eq!(summary["missed"], 0, "{summary}");
    // But for a hundred they have no object each.
    assert_eq!(strangers("attempts"), u64::from(FORGED) - 100);
    assert!(strangers("addresses").abs_diff(u64::from(FORGED)) < u64::from(FORGED) / 20, "{summary}");
    let peers: Vec<_> = objects.iter().filter(|object| object["type"] == "peer").collect();
    assert!(peers.len() <= 101 && peers.iter().any(|peer| peer["remote_ip"] == "10.20.0.9"), "{peers:?}");
}
