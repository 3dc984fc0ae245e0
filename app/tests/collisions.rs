//! Flows that differ in their ports only, all open at the same time.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::process::{Command, Stdio};
use std::thread;

use lab::capture::Format;
use serde::Deserialize;
use support::{Connection, S, v4};

const SERVICES: Range<u16> = 8_000..8_016;
/// The ephemeral ports of Linux (`ip_local_port_range`), all of them.
const EPHEMERAL: Range<u16> = 32_768..61_000;
const FLOWS: usize = (SERVICES.end - SERVICES.start) as usize * (EPHEMERAL.end - EPHEMERAL.start) as usize;
const START: u64 = 1_767_362_551 * S;

/// A flow, identified by its two ports.
#[derive(Clone, Copy, Debug)]
struct Flow {
    client: u16,
    service: u16,
}

impl Flow {
    fn all() -> impl Iterator<Item = Self> {
        SERVICES.flat_map(|service| EPHEMERAL.map(move |client| Self { client, service }))
    }

    /// Its index among all.
    fn number(self) -> usize {
        let per_service = usize::from(EPHEMERAL.end - EPHEMERAL.start);
        usize::from(self.service - SERVICES.start) * per_service + usize::from(self.client - EPHEMERAL.start)
    }

    /// Times of its SYN, SYN-ACK and ACK. The steps differ, so that no segment of another flow gives the same
    /// leg; all are late enough for every flow to be open at once, and early enough for none to be given up.
    fn times_ns(self) -> [u64; 3] {
        let number = self.number() as u64;
        [START + number * 2_000, START + S + number * 3_000, START + 5 * S / 2 + number * 4_000]
    }
}

/// Where the ports stand in a packet of a pcap file: behind its header, Ethernet and IPv4.
const PORTS_AT: usize = 16 + 14 + 20;

/// All SYNs, then all SYN-ACKs, then all ACKs. Flows differ in their ports only: there is one packet of each kind, into
/// which times and ports are written. (Building each packet would take most of the time.)
fn write(mut output: impl Write) -> std::io::Result<()> {
    let any = Connection::to(v4(10, 20, 1, 10, 0), 0);
    let packets = [any.syn(START), any.syn_ack(START), any.ack(START)];
    let mut file = Format::USUAL.pcap_header();
    for (step, packet) in packets.iter().map(|record| Format::USUAL.pcap_packet(record)).enumerate() {
        for flow in Flow::all() {
            let (client, service) = (flow.client.to_be_bytes(), flow.service.to_be_bytes());
            let ports = if step == 1 { [service, client] } else { [client, service] };
            let time_ns = flow.times_ns()[step];
            let time =
                [time_ns / S, time_ns % S].map(|part| u32::try_from(part).expect("32 bits").to_le_bytes());
            let at = file.len();
            file.extend_from_slice(&packet);
            file[at..at + 8].copy_from_slice(time.as_flattened());
            file[at + PORTS_AT..at + PORTS_AT + 4].copy_from_slice(ports.as_flattened());
            if file.len() > 1 << 20 {
                output.write_all(&file)?;
                file.clear();
            }
        }
    }
    output.write_all(&file)
}

#[derive(Debug, Deserialize)]
struct Handshake<'a> {
    r#type: &'a str,
    local_port: u16,
    remote_port: u16,
    outcome: &'a str,
    tries: Option<u32>,
    server_leg_ns: Option<u64>,
    client_leg_ns: Option<u64>,
    setup_ns: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Summary<'a> {
    r#type: &'a str,
    handshakes: usize,
    established: usize,
    missed: u64,
    unmatched: u64,
}

impl Handshake<'_> {
    /// The index of the flow that it is about, if everything that it says is right.
    fn checked(&self) -> usize {
        assert!(EPHEMERAL.contains(&self.local_port) && SERVICES.contains(&self.remote_port), "{self:?}");
        let flow = Flow { client: self.local_port, service: self.remote_port };
        let [syn_ns, syn_ack_ns, ack_ns] = flow.times_ns();
        let legs = (self.server_leg_ns, self.client_leg_ns, self.setup_ns);
        let expected = (Some(syn_ack_ns - syn_ns), Some(ack_ns - syn_ack_ns), Some(ack_ns - syn_ns));
        assert_eq!(legs, expected, "{self:?}");
        assert_eq!(
            (self.r#type, self.outcome, self.tries),
            ("handshake", "established", Some(1)),
            "{self:?}"
        );
        flow.number()
    }
}

/// Hard case `hash-collisions`: 16 services of one address and every port of one client. The sums of such ports'
/// hashes collide by structure, not by chance; with any hash, no flow may get the time of another.
#[test]
fn flows_that_differ_in_ports_only_are_never_mixed_up() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptop"));
    command.args(["replay", "-", "--json", "--max-flows", "524288"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let writer = thread::spawn(move || write(stdin));

    let mut reported = vec![false; FLOWS];
    let mut lines = BufReader::with_capacity(1 << 20, stdout);
    let mut line = String::new();
    let mut line_count = 0;
    while line_count < FLOWS {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "{line_count} of {FLOWS} handshakes were reported");
        let handshake: Handshake<'_> = serde_json::from_str(&line).unwrap();
        let flow = handshake.checked();
        assert!(!std::mem::replace(&mut reported[flow], true), "reported twice: {handshake:?}");
        line_count += 1;
    }
    loop {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "there is no summary");
        if !line.starts_with(r#"{"type":"peer","#) {
            break;
        }
    }
    let summary: Summary<'_> = serde_json::from_str(&line).unwrap();
    assert_eq!((summary.r#type, summary.handshakes, summary.established), ("summary", FLOWS, FLOWS));
    assert_eq!((summary.missed, summary.unmatched), (0, 0), "{line}");
    writer.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success());
}
